#pragma once
/// What a policy on a two-dimensional hypergrid makes, exactly: the probability of every cell, by enumeration.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <optional>

#include "rft/core/extra.h"
#include "rft/core/registry.h"
#include "rft/env/hypergrid.h"
#include "rft/policy/actor.h"

namespace rft::testing {

/// What a saved policy says in every cell: `choice` [side * side, 3] probabilities, `flow` [side * side] log F.
struct GridPolicy {
  Tensor choice, flow;
};

class GridReader {
 public:
  /// `asks`: the policy was trained in outcome_conditioned.
  GridReader(const std::string& directory, const Hypergrid::Options& options, bool asks)
      : grid_(options), side_(options.side), asks_(asks) {
    policy_ = registry<Policy>().make(Config::parse(
        "{type: categorical, hidden: [64, 64], activation: relu, normalize_observations: false, path: " + directory +
        "}"));
    EnvironmentSpec spec = grid_.spec();
    if (asks) spec.observation += 2 * side_;
    Needs needs;
    needs.value = true;
    actor().enter(spec, needs, 0);
  }

  /// Asked for cell `wanted`, or for nothing.
  GridPolicy read(std::optional<int64_t> wanted = {}) {
    at::NoGradGuard no_grad;
    GridPolicy out;
    std::vector<Tensor> choice;
    Tensor seen = observations(wanted);
    for (int64_t c = 0; c < 3; ++c) {
      Experience batch;
      batch.context.set(extra::observation, seen.unsqueeze(1));
      batch.action = at::full({seen.size(0), 1, 1}, c, at::kLong), batch.mask = at::ones({seen.size(0), 1}, at::kBool);
      choice.push_back(actor().evaluate(batch, {}).logp.squeeze(1).exp().to(at::kDouble));
    }
    out.choice = at::stack(choice, 1).contiguous();
    out.flow = actor().value(seen, true).to(at::kDouble).contiguous();
    return out;
  }

  /// The policy for the grid's reward that the conditioned ones add up to: in proportion to sum_y R(y) F(s | y) P(. |
  /// s, y) (Pan et al. 2024, equation 6), over all outcomes.
  Tensor marginal() {
    Tensor sum = at::zeros({side_ * side_, 3}, at::kDouble);
    for (int64_t y = 0; y < side_ * side_; ++y) {
      GridPolicy one = read(y);
      sum.add_(one.choice.mul(one.flow.exp().unsqueeze(1)).mul(reward(y)));
    }
    return sum.div(sum.sum(1, true));
  }

  /// [side * side]: the probability that an episode of these choices ends there.
  Tensor ends(const Tensor& choice) const {
    auto p = choice.accessor<double, 2>();
    int64_t N = side_ * side_;
    Tensor arrives = at::zeros({N + side_}, at::kDouble), out = at::zeros({N}, at::kDouble);
    auto *come = arrives.data_ptr<double>(), *end = out.data_ptr<double>();
    come[0] = 1;
    for (int64_t cell = 0; cell < N; ++cell) {
      if (cell / side_ + 1 < side_) come[cell + side_] += come[cell] * p[cell][0];
      if (cell % side_ + 1 < side_) come[cell + 1] += come[cell] * p[cell][1];
      end[cell] = come[cell] * p[cell][2];
    }
    return out;
  }

  /// The sum over cells of |the probability to end there - its reward's share|.
  double distance(const Tensor& choice) const {
    Tensor target = at::zeros({side_ * side_}, at::kDouble);
    for (int64_t cell = 0; cell < side_ * side_; ++cell) target[cell] = reward(cell);
    return ends(choice).sub(target.div(target.sum())).abs().sum().item<double>();
  }

 private:
  Actor& actor() { return dynamic_cast<Actor&>(*policy_); }
  double reward(int64_t cell) const {
    double x[] = {static_cast<double>(cell / side_), static_cast<double>(cell % side_)};
    return grid_.reward_of(x);
  }
  Tensor observations(std::optional<int64_t> wanted) const {
    int64_t N = side_ * side_, block = 2 * side_;
    Tensor cell = at::arange(N), row = cell.div(side_, "floor"), column = cell.remainder(side_);
    Tensor name = at::cat({at::one_hot(row, side_), at::one_hot(column, side_)}, 1).to(at::kFloat);
    Tensor asked = at::zeros({N, asks_ ? block : 0});
    if (wanted) asked.copy_(name[*wanted].expand({N, block}));
    Tensor allowed = at::stack({row.lt(side_ - 1), column.lt(side_ - 1), at::ones({N}, at::kBool)}, 1).to(at::kFloat);
    return at::cat({name, asked, allowed}, 1);
  }

  Hypergrid grid_;
  int64_t side_;
  bool asks_;
  std::unique_ptr<Policy> policy_;
};

}  // namespace rft::testing
