#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "nn/image_lora_names.h"
#include "nn/low_rank.h"
#include "rft/core/error.h"
#include "rft/core/text.h"
#include "rft/nn/image_lora.h"

namespace rft {
namespace {

/// One tensor of a file.
struct Entry {
  std::string name;
  Tensor value;
};

/// What a file has for one layer.
struct Found {
  Entry down, up, alpha;
};

/// The file's tensors by the paths of their layers.
std::map<std::string, Found> sorted_tensors(const LoraNames& names, const std::map<std::string, Tensor>& tensors,
                                            std::vector<std::string>& problems) {
  std::map<std::string, Found> out;
  for (const auto& [name, value] : tensors) {
    if (names.is_foreign(name)) continue;
    auto read = names.read(name);
    if (!read) {
      problems.push_back("'" + name + "' is no LoRA tensor that is known");
      continue;
    }
    Found& found = out[read->path];
    Entry& entry = read->side == LoraSide::down ? found.down : read->side == LoraSide::up ? found.up : found.alpha;
    if (entry.value.defined()) problems.push_back("'" + name + "' and '" + entry.name + "' are for one layer");
    entry = {name, value};
  }
  return out;
}

/// The adapter that the file gives a layer, of which the model may have one already; `problems` grows where it can't.
class Reader {
 public:
  Reader(const LoraScales& scales, std::vector<std::string>& problems) : scales_(scales), problems_(problems) {}

  Adapter adapter(const NamedLinear& layer, const Found& found) {
    size_t before = problems_.size();
    for (const auto& [mine, other] : {std::pair(&found.down, &found.up), std::pair(&found.up, &found.down)})
      if (!mine->value.defined()) {
        const Entry& present = other->value.defined() ? *other : found.alpha;
        problems_.push_back(
            cat("the ", mine == &found.down ? "down (A)" : "up (B)", " tensor beside '", present.name, "' is missing"));
      }
    if (problems_.size() > before) return {};
    const Tensor& weight = layer.linear->weight;
    const auto& have = layer.linear->adapters;
    bool ranked = found.down.value.dim() == 2 && found.down.value.size(0) > 0;
    int64_t rank = !have.empty() ? have[0].a.size(0) : ranked ? found.down.value.size(0) : 1;
    fits(found.down.name, found.down.value, {rank, weight.size(1)}, problems_);
    fits(found.up.name, found.up.value, {weight.size(0), rank}, problems_);
    double scale = scale_of(layer.name, found.alpha, rank);
    return {layer.name, found.down.value, found.up.value, 0, weight.size(0), scale};
  }

 private:
  double scale_of(const std::string& path, const Entry& alpha, int64_t rank) {
    if (!alpha.value.defined()) return scales_.given() ? scales_.scale(path, rank) : 1;
    if (scales_.given())
      problems_.push_back("'" + alpha.name + "' stands beside metadata that gives the scale too");
    else if (alpha.value.numel() != 1)
      problems_.push_back(cat("'", alpha.name, "' must be one number, is ", alpha.value.sizes()));
    else
      return alpha.value.item<double>() / static_cast<double>(rank);
    return 1;
  }

  const LoraScales& scales_;
  std::vector<std::string>& problems_;
};

/// Into the layer's own adapter where it has one: optimizers may hold its tensors.
void place(Linear& linear, const Adapter& read) {
  at::NoGradGuard no_grad;
  if (linear.adapters.empty()) {
    auto options = linear.weight.options().requires_grad(false);
    auto own = [&](const Tensor& value) {
      return value.detach().to(options, /*non_blocking=*/false, /*copy=*/true).contiguous().requires_grad_();
    };
    linear.adapters.push_back({read.module, own(read.a), own(read.b), read.first, read.rows, read.scale});
    return;
  }
  Adapter& adapter = linear.adapters[0];
  adapter.a.copy_(read.a), adapter.b.copy_(read.b);
  adapter.scale = read.scale;
}

}  // namespace

void load_diffusers_lora(Weights& weights, const std::map<std::string, Tensor>& tensors,
                         const std::map<std::string, std::string>& metadata, const std::string& part,
                         const std::string& where) {
  check_lora_part(part);
  std::vector<std::string> problems, paths;
  LoraScales scales(metadata, part, where);
  auto found = sorted_tensors(LoraNames(weights, part), tensors, problems);
  if (found.empty() && problems.empty()) bad_input(where, "holds no LoRA tensors for the ", part);
  bool continued = false;
  for (const NamedLinear& layer : weights.linears) {
    continued = continued || !layer.linear->adapters.empty();
    paths.push_back(layer.name);
  }
  Reader reader(scales, problems);
  std::vector<std::pair<Linear*, Adapter>> read;
  for (const NamedLinear& layer : weights.linears) {
    auto entry = found.extract(layer.name);
    bool has = !layer.linear->adapters.empty();
    if (!entry.empty() && (has || !continued))
      read.emplace_back(layer.linear.get(), reader.adapter(layer, entry.mapped()));
    else if (!entry.empty())
      problems.push_back("'" + layer.name + "' has no adapter in the model, but has one in the file");
    else if (has)
      problems.push_back("the adapter of '" + layer.name + "' is missing");
  }
  for (const auto& [path, rest] : found) {
    std::string near = nearest(path, paths);
    problems.push_back("the model has no linear layer '" + path + "'" +
                       (near.empty() ? "" : " (the nearest is '" + near + "')"));
  }
  if (!problems.empty()) bad_input(where, "the tensors do not fit the model's adapters: ", join(problems, "; "));
  for (const auto& [linear, adapter] : read) place(*linear, adapter);
  freeze(weights);
}

}  // namespace rft
