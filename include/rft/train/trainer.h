#pragma once
/// The loop: contexts -> rollout -> reward -> credit -> select -> objective -> step, stage after stage.
#include <string>

#include "rft/train/recipe.h"

namespace rft {

struct TrainRequest {
  bool resume =
      false;  ///< go on from the newest whole checkpoint of the run directory; from the start where there is none
  bool dry_run = false;  ///< load everything, run one step of every stage, write nothing
  bool quiet = false;    ///< no progress
};

/// What a finished (or dry) run came to.
struct TrainResult {
  std::string directory;        ///< the run directory
  int64_t steps = 0;            ///< optimizer steps over all stages
  double seconds_per_step = 0;  ///< of the last stage
  double peak_bytes = 0;        ///< largest resident memory of the process
  bool reports = true;          ///< of several processes one says what came of it
};

/// Runs a recipe, with the other processes that the environment names (RANK, WORLD_SIZE, ...; see dist/communicator.h):
/// every one has the whole model, samples its share of a rollout and evaluates its share of the micro-batches; rank 0
/// writes. The result is that of one process but for the order in which gradients are added up. Throws UserError
/// (recipe, data, model), RunError (a stopped run: what, where, what to do) and Interrupted (a signal; a checkpoint has
/// been saved). An earlier run in the same directory is moved aside, not overwritten, unless it is resumed.
TrainResult train(const Recipe& recipe, const TrainRequest& request = {});

}  // namespace rft
