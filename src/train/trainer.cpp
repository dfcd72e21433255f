#include "rft/train/trainer.h"

#include <ATen/Parallel.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>

#include "rft/core/device.h"
#include "rft/core/error.h"
#include "rft/core/log.h"
#include "rft/core/rng.h"
#include "rft/dist/communicator.h"
#include "rft/io/files.h"
#include "rft/train/checkpoint.h"
#include "rft/train/signals.h"
#include "train/run_directory.h"
#include "train/stage_trainer.h"

namespace rft {
namespace {

double peak_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) * 1024.0;
}

void set_threads(int64_t threads) {
  if (threads > 0) at::set_num_threads(static_cast<int>(threads));
}

/// Throws UserError where `mine` is not the same everywhere.
void agree_on(Communicator* processes, const std::string& what, const std::string& mine) {
  if (!processes) return;
  auto all = processes->gather(mine);
  for (size_t rank = 0; rank < all.size(); ++rank)
    if (all[rank] != all[0])
      bad_input(what, "rank ", rank, " has another ", what, " than rank 0; all processes must be given the same");
}

/// Where a run stands between stages, kept beside each checkpoint.
struct Position {
  size_t stage = 0;
  int64_t steps_before = 0;  ///< optimizer steps of finished stages
  int64_t tokens_before = 0;
};

class Run {
 public:
  Run(const Recipe& recipe, const TrainRequest& request, Communicator* processes)
      : recipe_(recipe),
        request_(request),
        processes_(processes),
        first_(!processes || processes->rank() == 0),
        directory_(recipe, request.resume, request.dry_run || !first_, request.quiet || !first_) {}

  TrainResult go() {
    Position at;
    std::optional<std::string> checkpoint;
    if (request_.resume) checkpoint = newest_checkpoint(directory_.path());
    agree_on(processes_, "recipe", recipe_.resolved().to_yaml());
    agree_on(processes_, "newest checkpoint", checkpoint.value_or("none"));
    if (checkpoint) at = read_position(*checkpoint);
    int64_t resumed_at = 0;
    for (; at.stage < recipe_.stages.size(); ++at.stage) {
      auto stage = open_stage(at);
      if (checkpoint) stage->load(*checkpoint), resumed_at = at.steps_before + stage->steps_done();
      if (!opened_) directory_.open(resumed_at), opened_ = true;
      if (checkpoint) log::info(cat("resumed from ", *checkpoint));
      checkpoint.reset();
      run_stage(*stage, at);
      at.steps_before += stage->steps_done(), at.tokens_before += stage->tokens_seen();
    }
    result_.directory = directory_.path();
    result_.steps = at.steps_before;
    result_.peak_bytes = peak_bytes();
    result_.reports = first_;
    directory_.close();
    if (processes_) processes_->leave();
    return result_;
  }

 private:
  /// Each stage goes on from what the one before it wrote.
  std::unique_ptr<StageTrainer> open_stage(const Position& at) {
    StageConfig config = recipe_.stages[at.stage];
    if (request_.dry_run) config.train.steps = 1;
    if (at.stage > 0 && !request_.dry_run) {
      std::string previous = directory_.stage_path(recipe_.stages[at.stage - 1].name);
      bool adapter =
          file_exists(previous + "/adapter_config.json") || file_exists(previous + "/pytorch_lora_weights.safetensors");
      config.policy.set(adapter ? "adapter" : "path", Config::scalar(previous, true));
    }
    mesh_ = Mesh(processes_, config.train.tensor_parallel, cat("stage", at.stage));
    auto stage = std::make_unique<StageTrainer>(config, mix(static_cast<uint64_t>(recipe_.run.seed), at.stage), mesh_);
    agree_on(processes_, "data", stage->data_fingerprint());
    return stage;
  }

  Position read_position(const std::string& checkpoint) const {
    std::string file = checkpoint + "/trainer/run.json";
    try {
      auto json = nlohmann::json::parse(read_text(file));
      Position at{json.at("stage"), json.at("steps_before"), json.at("tokens_before")};
      if (at.stage >= recipe_.stages.size() || recipe_.stages[at.stage].name != json.at("name").get<std::string>())
        bad_input(file, "the checkpoint is of stage '", json.at("name").get<std::string>(),
                  "', which the recipe does not have in that place");
      return at;
    } catch (const nlohmann::json::exception& error) {
      bad_input(file, "this checkpoint's file is damaged: ", error.what());
    }
  }

  /// Of a sharded optimizer every process writes its part into the directory that the first one has made, which
  /// publishes it once all have.
  void save_optimizer(const StageTrainer& stage, const std::string& into) {
    if (!stage.in_parts()) {
      if (first_) stage.save_optimizer(into);
      return;
    }
    stage.save_optimizer(processes_->gather(into).at(0));
    processes_->gather("");
  }

  void save_checkpoint(StageTrainer& stage, const Position& at) {
    if (request_.dry_run) return;
    stage.gather_to_save(first_);
    if (!first_) return save_optimizer(stage, "");
    int64_t step = at.steps_before + stage.steps_done();
    auto fill = [&](const std::string& into) {
      stage.save(into);
      save_optimizer(stage, into);
      nlohmann::json json{{"stage", at.stage},
                          {"name", stage.config().name},
                          {"steps_before", at.steps_before},
                          {"tokens_before", at.tokens_before}};
      write_text(into + "/trainer/run.json", json.dump(1) + "\n");
    };
    const TrainOptions& options = stage.config().train;
    auto publish = [path = directory_.path(), step, keep = options.keep_checkpoints, every = options.keep_every] {
      publish_checkpoint(path, step, keep, every);
    };
    writer_.write(directory_.path() + "/checkpoints", "step-" + std::to_string(step), fill, publish,
                  options.save_async);
  }

  void run_stage(StageTrainer& stage, const Position& at) {
    const TrainOptions& options = stage.config().train;
    directory_.begin_stage(stage.config().name, stage.steps_done(), stage.steps_total(), stage.parameter_count());
    Metrics metrics;
    Clock since_log;
    tokens_logged_ = at.tokens_before + stage.tokens_seen();
    while (stage.steps_done() < stage.steps_total()) {
      int64_t step = at.steps_before + stage.steps_done() + 1;
      if (processes_) processes_->at(cat("step ", step));
      writer_.check();
      bool rescues = first_ && !request_.dry_run;
      stage.step(metrics, rescues ? directory_.path() + "/nonfinite-step-" + std::to_string(step) : "");
      bool last = stage.steps_done() == stage.steps_total();
      bool evaluated = last || (options.eval_every && stage.steps_done() % *options.eval_every == 0);
      if (evaluated) {
        stage.evaluate(metrics);
        directory_.pictures(cat("eval-", step), stage.evaluated_images());
        directory_.episode(cat("episode-", step), stage.evaluated_frames());
      }
      if (last || evaluated || stage.steps_done() % options.log_every == 0) {
        report(stage, at, step, since_log.lap(), metrics);
        stage.compare_weights();
        metrics = {};
      }
      if (options.samples_every > 0 && (last || stage.steps_done() % options.samples_every == 0))
        directory_.samples(step, stage.config().name, stage.last_rollout(), options.samples);
      if (asked_to_stop()) interrupt(stage, at, step);
      if (options.checkpoint_every > 0 && (last || stage.steps_done() % options.checkpoint_every == 0))
        save_checkpoint(stage, at);
    }
    finish_stage(stage, at);
  }

  void report(const StageTrainer& stage, const Position& at, int64_t step, double seconds, const Metrics& metrics) {
    auto row = metrics.means();
    row.erase("sampled_tokens");
    row["epoch"] = stage.epoch();
    row["num_tokens"] = static_cast<double>(at.tokens_before + stage.tokens_seen());
    row["memory/peak_bytes"] = peak_bytes();
    if (device_in_use().is_cuda())
      row["memory/device_peak_bytes"] = static_cast<double>(device_memory(device_in_use()).peak);
    int64_t tokens = at.tokens_before + stage.tokens_seen();
    if (seconds > 0) row["tokens_per_second"] = static_cast<double>(tokens - tokens_logged_) / seconds;
    tokens_logged_ = tokens;
    result_.seconds_per_step = row.count("step_time") ? row["step_time"] : 0;
    directory_.step(step, stage.config().name, stage.steps_done(), row);
  }

  [[noreturn]] void interrupt(StageTrainer& stage, const Position& at, int64_t step) {
    save_checkpoint(stage, at);
    writer_.wait();
    directory_.close();
    if (processes_) processes_->leave();
    throw Interrupted(cat("interrupted; everything up to step ", step, " is saved in ", directory_.path(),
                          "/checkpoints: go on with --resume"));
  }

  /// A signal to one process stops all, at the same step.
  bool asked_to_stop() {
    bool asked = StopOnSignals::requested();
    if (!processes_) return asked;
    for (const std::string& other : processes_->gather(asked ? "stop" : "")) asked |= !other.empty();
    return asked;
  }

  void finish_stage(StageTrainer& stage, const Position& at) {
    if (request_.dry_run) return;
    writer_.wait();
    stage.policy().finish();
    stage.gather_to_save(first_);
    if (first_) write_result(stage, at);
    if (processes_) processes_->gather("");  // the next stage reads what was written
  }

  void write_result(StageTrainer& stage, const Position& at) {
    bool final = at.stage + 1 == recipe_.stages.size();
    auto fill = [&](const std::string& into) { stage.policy().save(into); };
    if (final)
      write_directory_atomically(directory_.path(), "final", fill);
    else
      write_directory_atomically(directory_.path() + "/stages", stage.config().name, fill);
  }

  const Recipe& recipe_;
  TrainRequest request_;
  Communicator* processes_;
  Mesh mesh_;   ///< of the stage that runs
  bool first_;  ///< the process that writes
  RunDirectory directory_;
  TrainResult result_;
  DirectoryWriter writer_;
  bool opened_ = false;
  int64_t tokens_logged_ = 0;
};

}  // namespace

TrainResult train(const Recipe& recipe, const TrainRequest& request) {
  set_threads(recipe.run.threads);
  StopOnSignals signals;
  auto processes = join_processes(Launch::from_environment());
  if (processes && processes->rank() > 0) log::set_level("warn");  // one of them tells how it goes
  return Run(recipe, request, processes.get()).go();
}

}  // namespace rft
