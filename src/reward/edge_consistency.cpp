#include <ATen/ATen.h>

#include "reward/images.h"
#include "rft/reward/image_rewards.h"

namespace rft {
namespace {

/// Keeps the square root's derivative finite where there is no edge.
constexpr double kEpsilon = 1e-6;

/// images [B, C, H, W] -> [B, H, W].
Tensor edges(const Tensor& images) {
  Tensor grey = at::replication_pad2d(images.mean(1, true), {1, 1, 1, 1});
  Tensor along = at::tensor({1.0, 2.0, 1.0}, images.options().requires_grad(false)).div(4);
  Tensor across = at::tensor({-1.0, 0.0, 1.0}, images.options().requires_grad(false));
  Tensor kernels = at::stack({at::outer(along, across), at::outer(across, along)}).unsqueeze(1);
  Tensor squared = at::conv2d(grey, kernels).square().sum(1);
  return squared.add(kEpsilon).sqrt().sub(std::sqrt(kEpsilon));
}

}  // namespace

void EdgeConsistency::Options::visit(OptionVisitor& v) {
  v.option("column", column, "the condition: a ControlNet's, or the dataset's column with PNG files");
  directory_option(v, directory);
  v.option("condition", condition, "edges: a map of edges, white on black; picture: its edges are taken",
           one_of({"edges", "picture"}));
}

Rewards EdgeConsistency::score(const Experience& batch) {
  Tensor images = images_of(batch, "edge_consistency");
  RowImages rows = column_images(batch, options_.column, options_.directory);
  Tensor condition = stacked(rows, images.size(2), images.size(3), options_.column).to(images.scalar_type());
  Tensor wanted = options_.condition == "edges" ? condition.mean(1) : edges(condition);
  return image_rewards("edge_consistency", (edges(images) - wanted).square().mean({1, 2}).neg(),
                       std::move(rows.errors));
}

}  // namespace rft
