#pragma once
/// What a language model's training takes, by counting: memory of a process and seconds of a step.
#include <string>
#include <vector>

#include "rft/nn/decoder.h"
#include "rft/train/optimizer.h"

namespace rft::app {

/// What one process has of the model that the recipe trains (all of it, or with train.tensor_parallel its part), in
/// weights (not bytes).
struct PlanModel {
  double whole = 0;          ///< all processes' together
  double whole_trained = 0;  ///< of them, or the adapters'
  double weights = 0;
  double layer_weights = 0;  ///< of them those that ZeRO-3 gathers layer by layer
  double largest_layer = 0;
  double experts = 0;          ///< of them those of experts, of which a token goes through a part:
  double expert_share = 1;     ///< experts of a token / experts
  double adapters = 0;         ///< of adapters beside them, trained and frozen ones
  double frozen_adapters = 0;  ///< of those the frozen ones
  double trained = 0;          ///< all, or the adapters'
  bool frozen = false;         ///< adapters are trained beside frozen layers
  double others = 0;      ///< of models beside it that only judge (a reference), and a critic's that are trained too
  double layer = 0;       ///< numbers that a layer makes of a token
  double kept = 0;        ///< numbers that a layer keeps of a token for its backward pass, all layers together
  double recomputed = 0;  ///< with gradient checkpointing: of the layer that is computed again
  int64_t layers = 0, hidden = 0, head = 0, kv = 0, vocabulary = 0;  ///< head, kv: numbers of all heads of a token
  int64_t bytes = 4;                                                 ///< of a weight
  double layer_bytes = 4;                                            ///< of one in a layer's matrices
  bool checkpointing = false;
  int64_t tensor = 1;    ///< processes that have a part of the layers each
  bool offload = false;  ///< the optimizer's state is in the host's memory
};

/// How the model is trained.
struct PlanSetting {
  int64_t bytes = 4;  ///< of a weight
  bool checkpointing = false;
  const LoraConfig* lora = nullptr;  ///< null: all is trained
  int64_t tensor = 1;
  std::string quantize = "";                            ///< policy.quantize
  std::vector<const LoraConfig*> frozen_adapters = {};  ///< of policy.frozen_adapters
};
/// Counts `config`'s weights, and the adapters as add_lora() makes them.
PlanModel plan_model(const DecoderConfig& config, const PlanSetting& setting);

/// What a step works on.
struct PlanLoad {
  double rows = 0;        ///< trajectories of an optimizer step
  double micro_rows = 0;  ///< in memory at once in all; 0: all of them
  double tokens = 0;      ///< of a row, prompt and answer
  double answer = 0;      ///< sampled ones of a row; 0: nothing is sampled
  double judged = 0;      ///< forward passes of each row beside the trained one (reference)
  double updates = 1;     ///< optimizer steps that a rollout is used for
};

/// One of `processes`, which share the rows (of those that share the layers, too, one counts), with a device of its
/// own.
struct PlanCluster {
  int64_t processes = 1;
  double flops = 0;             ///< a second, of a device, as reached
  double network = 0;           ///< bytes a second that a process sends
  double memory_bandwidth = 0;  ///< bytes a second that sampling reads weights with
  double host_bandwidth = 0;    ///< bytes a second of the host's memory that a process has for itself
};

struct PlanMemory {
  double weights = 0, gradients = 0, optimizer = 0, others = 0, activations = 0, buffers = 0;
  double host = 0;  ///< of the optimizer's state where it is offloaded; not in total()
  double total() const { return weights + gradients + optimizer + others + activations + buffers; }
};
/// Bytes of a process at the fullest moment of an update. With Sharding::parameters a rollout and a checkpoint have
/// whole weights, and no activations.
PlanMemory plan_memory(const PlanModel& model, const PlanLoad& load, int64_t processes, Sharding sharding);

struct PlanTime {
  double sampling = 0, judging = 0, training = 0, waiting = 0;  ///< waiting: for the network, where nothing hides it
  double host = 0;                                              ///< steps of an offloaded optimizer
  double total() const { return sampling + judging + training + waiting + host; }
};
PlanTime plan_time(const PlanModel& model, const PlanLoad& load, const PlanCluster& cluster, Sharding sharding);

}  // namespace rft::app
