// What a checkpoint holds beside the policy's own files: trainer/state.json (counters), optimizer.safetensors (or a
// file of each process), slots.safetensors (the slots' states), batch.* (a rollout that is not used up), ahead-* (those
// that were sampled ahead).
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "rft/core/error.h"
#include "rft/core/text.h"
#include "rft/io/files.h"
#include "rft/io/safetensors.h"
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

constexpr char kOptimizer[] = "optimizer", kAhead[] = "/ahead-";

/// The pieces of the optimizer's state, as views of the files.
std::vector<State> optimizer_pieces(const std::string& directory) {
  std::vector<State> out;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    if (entry.path().filename().string().rfind(kOptimizer, 0) == 0)
      out.push_back(load_safetensors(entry.path().string()).tensors);
  return out;
}

}  // namespace

void StageTrainer::save_optimizer(const std::string& directory) const {
  std::string file = kOptimizer;
  if (in_parts()) {
    // Of processes that have the same the first one writes it.
    if (!optimizer_->sharded() && processes_ && processes_->rank() > 0) return;
    const Communicator& parts = optimizer_->sharded() ? *all_ : *tensor_;
    char part[32];
    std::snprintf(part, sizeof part, "-%05lld-of-%05lld", static_cast<long long>(parts.rank() + 1),
                  static_cast<long long>(parts.size()));
    file += part;
  }
  save_state(directory + "/trainer/" + file + ".safetensors", optimizer_->state());
}

void StageTrainer::save(const std::string& directory) const {
  policy_->save(directory);
  std::string inside = directory + "/trainer";
  make_directories(inside);
  State slots;
  add_prefixed(slots, "objective.", objective_.get()), add_prefixed(slots, "credit.", credit_.get());
  add_prefixed(slots, "selector.", selector_.get()), add_prefixed(slots, "reward.", reward_.get());
  add_prefixed(slots, "policy.", policy_.get()), add_prefixed(slots, "worlds.", worlds_.get());
  add_prefixed(slots, "replay.", replay_.get()), add_prefixed(slots, "rate.", rate_.get());
  add_prefixed(slots, "lengths.", lengths_.get());
  save_state(inside + "/slots.safetensors", slots);
  bool pending = !replay_ && update_ < updates_ && batch_.rows() > 0;
  if (pending) save_experience(inside + "/batch", batch_);
  nlohmann::json json{{"stage", config_.name},
                      {"stage_step", steps_},
                      {"cursor", cursor_.position()},
                      {"meta_cursor", meta_cursor_.position()},
                      {"rollouts", rollouts_},
                      {"tokens", tokens_},
                      {"update", update_},
                      {"updates", updates_},
                      {"pending", pending},
                      {"ahead", nlohmann::json::parse(save_ahead(inside + kAhead))},
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
    if (json.contains("ahead")) load_ahead(inside + kAhead, json.at("ahead").dump());
    if (levels_) meta_cursor_.set_position(json.at("meta_cursor"));
  } catch (const nlohmann::json::exception& error) {
    bad_input(file, "this checkpoint's file is damaged: ", error.what());
  }
  policy_->load(directory);
  optimizer_->refresh_master();
  optimizer_->load_state(optimizer_pieces(inside));
  State slots = load_state_file(inside + "/slots.safetensors");
  load_prefixed(slots, "objective.", objective_.get()), load_prefixed(slots, "credit.", credit_.get());
  load_prefixed(slots, "selector.", selector_.get()), load_prefixed(slots, "reward.", reward_.get());
  load_prefixed(slots, "policy.", policy_.get()), load_prefixed(slots, "worlds.", worlds_.get());
  load_prefixed(slots, "replay.", replay_.get()), load_prefixed(slots, "rate.", rate_.get());
  load_prefixed(slots, "lengths.", lengths_.get());
  if (pending) batch_ = load_experience(inside + "/batch");
}

}  // namespace rft
