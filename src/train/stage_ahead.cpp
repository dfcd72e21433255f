// Rollouts that are sampled ahead: which, by which weights, and what a checkpoint holds of them.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "rft/core/error.h"
#include "rft/core/rng.h"
#include "rft/train/checkpoint.h"
#include "train/stage_trainer.h"

namespace rft {

void StageTrainer::open_ahead() {
  if (!dynamic_cast<SamplesAhead*>(policy_.get()))
    bad_input(config_.rollout_block.find("ahead")->place(), "policies of type causal_lm can be sampled ahead; got '",
              config_.policy.find("type")->text(), "'");
  ahead_ = std::make_unique<AheadSampler>(reward_.get(), processes_);
}

/// Rollouts that were begun and learned from, the present one included.
int64_t StageTrainer::rollouts_taken() const { return rollouts_ - (ahead_ ? ahead_->waiting() : 0); }

/// Begins rollouts until the next one to learn from and rollout.ahead behind it are under way, by the present weights:
/// so that rollout t is of the weights before the updates on rollout t - ahead. At the end of the stage none is begun
/// that there are no steps for.
void StageTrainer::draw_ahead(const CollectOptions& options) {
  int64_t each = updates_of(selector_->expected_rows(options.batch_size, options.group_size));
  int64_t left = (total_ - steps_ + each - 1) / each;
  int64_t wanted = std::max<int64_t>(std::min(config_.rollout.ahead + 1, left), 1);
  std::shared_ptr<SamplesPieces> now;
  while (ahead_->waiting() < wanted) {
    if (!now) now = dynamic_cast<SamplesAhead&>(*policy_).snapshot();
    // Of a rollout's rounds the first is drawn ahead.
    Asked asked = ask(*selector_, cursor_, mix(rollout_seed(rollouts_++), 0), options);
    Questions questions = questions_of(asked, data_, options);
    ahead_->begin(now, std::move(asked), std::move(questions), steps_);
  }
}

std::string StageTrainer::save_ahead(const std::string& stem) const {
  nlohmann::json out = nlohmann::json::array();
  if (!ahead_) return out.dump();
  for (const AheadSampler::Rollout* rollout : ahead_->finish()) {
    const Asked& asked = rollout->drawn.asked;
    save_experience(cat(stem, out.size()), rollout->drawn.answers);
    out.push_back({{"rows", asked.rows}, {"counts", asked.counts}, {"seed", asked.seed}, {"step", rollout->step}});
  }
  return out.dump();
}

void StageTrainer::load_ahead(const std::string& stem, const std::string& json) {
  size_t number = 0;
  for (const auto& one : nlohmann::json::parse(json)) {
    AheadSampler::Rollout rollout;
    rollout.drawn.asked = {one.at("rows"), one.at("counts"), one.at("seed")};
    rollout.step = one.at("step");
    rollout.drawn.answers = load_experience(cat(stem, number++));
    if (!ahead_)
      bad_input("rollout.ahead", "the checkpoint has rollouts that were sampled ahead: go on with the recipe's own");
    ahead_->restore(std::move(rollout));
  }
}

}  // namespace rft
