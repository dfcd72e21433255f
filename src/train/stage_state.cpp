// What a checkpoint holds beside the policy's own files: trainer/state.json (counters), optimizer.safetensors,
// slots.safetensors (the slots' states), batch.* (a rollout that is not used up).
#include <nlohmann/json.hpp>

#include "rft/core/error.h"
#include "rft/core/text.h"
#include "rft/io/files.h"
#include "rft/train/checkpoint.h"
#include "train/stage_trainer.h"

namespace rft {
namespace {

void add_prefixed(State& into, const std::string& prefix, const Stateful* slot) {
  if (!slot) return;
  for (const auto& [name, value] : slot->state()) into[prefix + name] = value;
}

void load_prefixed(const State& from, const std::string& prefix, Stateful* slot) {
  if (!slot) return;
  State own;
  for (const auto& [name, value] : from)
    if (name.rfind(prefix, 0) == 0) own[name.substr(prefix.size())] = value;
  slot->load_state(own);
}

}  // namespace

void StageTrainer::save(const std::string& directory) const {
  policy_->save(directory);
  std::string inside = directory + "/trainer";
  make_directories(inside);
  save_state(inside + "/optimizer.safetensors", optimizer_->state());
  State slots;
  add_prefixed(slots, "objective.", objective_.get()), add_prefixed(slots, "credit.", credit_.get());
  add_prefixed(slots, "selector.", selector_.get()), add_prefixed(slots, "reward.", reward_.get());
  add_prefixed(slots, "policy.", policy_.get()), add_prefixed(slots, "worlds.", worlds_.get());
  add_prefixed(slots, "replay.", replay_.get());
  save_state(inside + "/slots.safetensors", slots);
  bool pending = !replay_ && update_ < updates_ && batch_.rows() > 0;
  if (pending) save_experience(inside + "/batch", batch_);
  nlohmann::json json{{"stage", config_.name},
                      {"stage_step", steps_},
                      {"cursor", cursor_.position()},
                      {"rollouts", rollouts_},
                      {"tokens", tokens_},
                      {"update", update_},
                      {"updates", updates_},
                      {"pending", pending},
                      {"skipped", skipped_},
                      {"skipped_in_row", skipped_in_row_},
                      {"data", fingerprint_}};
  write_text(inside + "/state.json", json.dump(1) + "\n");
}

void StageTrainer::load(const std::string& directory) {
  std::string inside = directory + "/trainer", file = inside + "/state.json";
  auto json = nlohmann::json::parse(read_text(file), nullptr, false);
  bool pending = false;
  try {
    if (json.at("data").get<std::string>() != fingerprint_)
      bad_input(join(config_.data.rows(), ", "), "these are not the rows that the checkpoint ", directory,
                " was trained on; restore them or start anew");
    steps_ = json.at("stage_step"), rollouts_ = json.at("rollouts"), tokens_ = json.at("tokens");
    update_ = json.at("update"), updates_ = json.at("updates"), skipped_ = json.at("skipped");
    skipped_in_row_ = json.at("skipped_in_row"), pending = json.at("pending");
    cursor_.set_position(json.at("cursor"));
  } catch (const nlohmann::json::exception& error) {
    bad_input(file, "this checkpoint's file is damaged: ", error.what());
  }
  policy_->load(directory);
  optimizer_->refresh_master();
  optimizer_->load_state(load_state_file(inside + "/optimizer.safetensors"));
  State slots = load_state_file(inside + "/slots.safetensors");
  load_prefixed(slots, "objective.", objective_.get()), load_prefixed(slots, "credit.", credit_.get());
  load_prefixed(slots, "selector.", selector_.get()), load_prefixed(slots, "reward.", reward_.get());
  load_prefixed(slots, "policy.", policy_.get()), load_prefixed(slots, "worlds.", worlds_.get());
  load_prefixed(slots, "replay.", replay_.get());
  if (pending) batch_ = load_experience(inside + "/batch");
}

}  // namespace rft
