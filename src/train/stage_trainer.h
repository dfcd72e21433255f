#pragma once
/// One stage of a run: owns the slots, moves step by step, saves and loads everything that a resumed run needs.
#include <memory>
#include <optional>
#include <string>

#include "rft/core/clock.h"
#include "rft/dist/mesh.h"
#include "rft/io/rows.h"
#include "rft/rollout/ahead_sampler.h"
#include "rft/rollout/collector.h"
#include "rft/train/adaptive_rate.h"
#include "rft/train/optimizer.h"
#include "rft/train/recipe.h"

namespace rft {

class BiLevel;
class DividesWeights;
struct UpdateOptions;

class StageTrainer {
 public:
  /// Loads policy and data and checks that they fit; nothing is trained yet.
  /// Work is shared with the processes of `mesh`, whose groups must outlive this.
  StageTrainer(const StageConfig& config, uint64_t seed, const Mesh& mesh = {});

  /// One optimizer step, rolling out first where that is due. Adds to `metrics`; a skipped (non-finite or empty) step
  /// is counted there. Throws RunError after train.max_nonfinite_steps skipped ones in a row, with the batch saved as
  /// `rescue`.safetensors where that is not empty.
  void step(Metrics& metrics, const std::string& rescue);
  /// Answers the held-out rows greedily and scores them: eval/reward, eval/rewards/NAME/mean, eval/...; nothing where
  /// the recipe has no data.eval or no reward.
  void evaluate(Metrics& metrics);

  int64_t steps_done() const { return steps_; }
  int64_t steps_total() const { return total_; }
  double epoch() const { return cursor_.epoch(ahead_ ? ahead_->contexts() : 0); }
  int64_t tokens_seen() const { return tokens_; }
  const StageConfig& config() const { return config_; }
  Policy& policy() { return *policy_; }
  int64_t parameter_count() const { return optimizer_->parameter_count(); }
  /// The first images that the last evaluate() made, [N, 3, H, W]; undefined where the answers are not images.
  const Tensor& evaluated_images() const { return eval_images_; }
  /// The first episode of the last evaluation at the stage's end, [frames, 3, H, W]; undefined elsewhere.
  const Tensor& evaluated_frames() const { return eval_frames_; }
  /// The rows of the last rollout (or the last demonstrations), for samples.jsonl.
  const Experience& last_rollout() const { return batch_; }
  /// XXH3 of the training rows.
  const std::string& data_fingerprint() const { return fingerprint_; }
  /// Throws RunError where the processes' weights are not the same bit for bit: they would drift apart unseen.
  void compare_weights() const;

  /// All weights are in every process until the next step, where the recipe shards them; every process must call it.
  void gather_weights() { optimizer_->gather_weights(); }
  /// Before save(), in every process; the one that saves must `keep` them.
  void gather_to_save(bool keep);
  /// Processes hold parts of the optimizer's state: all must call save_optimizer() beside what the first one saves.
  bool in_parts() const { return optimizer_->sharded() || tensor_; }
  /// Writes the policy's own files and trainer/* into `directory`, and reads them back; save_optimizer writes this
  /// process's part of the optimizer's state, which save does not. load takes the state of any number of processes.
  void save(const std::string& directory) const;
  void save_optimizer(const std::string& directory) const;
  void load(const std::string& directory);

 private:
  void next_batch(Metrics& metrics);
  void next_rollout(Metrics& metrics);
  void open_ahead();
  void draw_ahead(const CollectOptions& options);
  /// Writes what was drawn ahead to files that begin with `stem`, and gives the JSON that load_ahead() needs beside
  /// them.
  std::string save_ahead(const std::string& stem) const;
  void load_ahead(const std::string& stem, const std::string& json);
  uint64_t rollout_seed(int64_t number) const;
  int64_t rollouts_taken() const;
  void make_optimizer();
  DividedWeights divide();
  void read_rows();
  void order_rows(const Rows& rows);
  void report_packing(const Rows& rows) const;
  int64_t contexts_in(const Experience& data) const;
  void enter_worlds();
  void open_replay(bool given);
  Experience decisions_of(Experience batch) const;
  int64_t updates_for(int64_t decisions) const;
  void refill_replay(Metrics& metrics);
  Experience draw_decisions();
  CollectOptions collect_options();
  int64_t total_steps() const;
  bool single_decisions() const;
  void evaluate_episodes(Metrics& metrics);
  void evaluate_scores(Metrics& metrics);
  Experience draw_rows();
  Experience draw_rows_of(const Experience& data, RowCursor& cursor, uint64_t seed);
  void read_meta_rows();
  Experience meta_batch(Metrics& metrics);
  void learn_outer(Experience& batch, const UpdateOptions& options, Metrics& metrics);
  Experience next_chunk();
  int64_t group_size() const;
  int64_t rollout_batch_size() const;
  int64_t updates_of(int64_t rows) const;
  void skipped(const std::string& problem, const Experience& batch, const std::string& rescue, Metrics& metrics);

  StageConfig config_;
  uint64_t seed_;
  Communicator* all_;        ///< null where there is one process
  Communicator* processes_;  ///< who shares the work: those with the same weights; may be null
  Communicator* tensor_;     ///< who has the other parts of the weights; may be null
  std::unique_ptr<Objective> objective_;
  std::unique_ptr<RewardModel> reward_;
  std::unique_ptr<Credit> credit_;
  std::unique_ptr<Selector> selector_;
  std::unique_ptr<Policy> policy_;
  DividesWeights* divided_ = nullptr;             ///< policy_, where its weights are divided
  std::unique_ptr<Worlds> worlds_, eval_worlds_;  ///< where the policy acts in an environment
  Actor* actor_ = nullptr;                        ///< policy_, there
  std::unique_ptr<Replay> replay_, given_;  ///< of off-policy objectives: what was collected, and the dataset's rows
  Needs needs_;
  bool online_pairs_ = false;
  Experience data_;  ///< all training rows, encoded: contexts or demonstrations
  Experience gold_;  ///< with rollout.given_answers: the rows' own answers
  Experience eval_;
  BiLevel* levels_ = nullptr;  ///< objective_, where it has two levels
  Experience meta_;            ///< data.meta's rows
  RowCursor meta_cursor_;
  Tensor eval_images_, eval_frames_;
  std::string fingerprint_;
  RowCursor cursor_;
  std::unique_ptr<AnswerLengths> lengths_;  ///< where several processes sample answers to the rows
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<AdaptiveRate> rate_;  ///< of schedule.type adaptive

  Experience batch_;     ///< what is being learned from: a whole rollout, or one step's demonstrations
  Experience shuffled_;  ///< the batch in the order of this pass over it
  int64_t shuffled_pass_ = -1;
  int64_t update_ = 0, updates_ = 0;  ///< optimizer steps taken and to take on batch_
  int64_t steps_ = 0, total_ = 0, rollouts_ = 0, tokens_ = 0, skipped_in_row_ = 0, skipped_ = 0;

  std::unique_ptr<AheadSampler> ahead_;  ///< with rollout.ahead; last: it uses the slots
};

}  // namespace rft
