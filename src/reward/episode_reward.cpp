#include "rft/reward/episode_reward.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>

#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/io/files.h"
#include "rft/io/hf_directory.h"

namespace rft {

void EpisodeReward::Options::visit(OptionVisitor& v) {
  v.option("path", path, "the model's directory, as the policy episode_scorer saves it", required());
}

EpisodeReward::EpisodeReward(Options options)
    : path_(std::move(options.path)),
      model_(EpisodeModel::from(read_text(path_ + "/config.json"), load_hf_tensors(path_), path_)) {}

Rewards EpisodeReward::score(const Experience& batch) {
  at::NoGradGuard no_grad;
  Tensor seen = batch.extra.find(extra::step_observation), command = batch.extra.find(extra::command);
  if (!seen.defined() || !command.defined())
    bad_input("reward", "episode_model judges what actors do in an environment: an `environment` block is needed");
  int64_t B = seen.size(0), T = seen.size(1), n = seen.size(2), D = seen.size(3), A = command.size(2) / n;
  const auto& shape = model_.shape();
  if (shape.observation != D || shape.action != A)
    bad_input(path_, "the model judges ", shape.observation, " numbers of an observation and ", shape.action,
              " of an action; the environment has ", D, " and ", A);
  Tensor worth = model_(seen.to(at::kFloat), command.view({B, T, n, A}).to(at::kFloat));  // [B, T, n]
  if (Tensor duration = batch.extra.find(extra::duration); duration.defined())
    worth = worth.mul(at::arange(n).lt(duration.unsqueeze(2)));
  Rewards out;
  out.value = worth.sum(2).mul(batch.mask);
  Tensor total = out.value.sum(1);
  total.masked_fill_(batch.mask.any(1).logical_not(), std::nan(""));
  out.components.push_back({"episode_model", total, 1});
  return out;
}

}  // namespace rft
