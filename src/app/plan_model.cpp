#include "app/plan_model.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "nn/decoder_layout.h"

namespace rft::app {
namespace {

double of(int64_t n) { return static_cast<double>(n); }

/// What is trained beside a frozen model: adapters, and modules that are trained whole.
double adapter_weights(const DecoderConfig& config, const LoraConfig& lora) {
  std::map<std::string, Tensor> tensors;
  for (const TensorPlace& place : tensor_places(config, allocate_weights(config, at::kMeta)))
    tensors[place.name] = as_stored(place);
  Decoder decoder(config, tensors, at::kMeta, "plan");  // without memory for its weights
  add_lora(decoder, lora, 0);
  double sum = 0;
  for (const DecoderLayer& layer : decoder.weights().layers)
    for (const Linear* linear : {&layer.qkv, &layer.out, &layer.gate_up, &layer.down})
      for (const Adapter& adapter : linear->adapters)
        for (const Tensor& one : {adapter.a, adapter.b, adapter.magnitude}) sum += one.defined() ? of(one.numel()) : 0;
  for (const auto& [name, value] : decoder.whole_tensors()) sum += of(value.numel());
  return sum;
}

/// Numbers of a token that autograd keeps of a layer: the stream before attention and MLP and both normed, q, k and v
/// laid out for the attention, its output twice (by heads, by tokens), the MLP's hidden numbers before and after the
/// activation. Of `tensor` processes each has its heads' and its rows of the MLP. Of each expert that the token goes
/// through the same, what it is given, and what it gives.
double kept_of_layer(const DecoderConfig& c, const LayerKind& kind, int64_t tensor) {
  int64_t q = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim;
  int64_t wide = (c.gated_mlp ? 3 : 2) * (kind.experts ? c.experts.intermediate_size : c.intermediate_size);
  if (kind.experts) wide = c.experts.per_token * (wide + 2 * c.hidden_size) + 2 * c.experts.count;
  return of(4 * c.hidden_size) + of(q + 2 * kv + 2 * q + wide) / of(tensor);
}

/// Tokens of a micro-batch in one process.
double tokens_at_once(const PlanLoad& load, double processes) {
  double share = std::ceil(load.rows / processes), micro = load.micro_rows > 0 ? load.micro_rows : share;
  return std::min(share, micro) * load.tokens;
}

/// Bytes of the weights that a process has, where they are not sharded.
double weight_bytes(const PlanModel& model) {
  return (model.weights - model.layer_weights) * of(model.bytes) + model.layer_weights * model.layer_bytes;
}

/// The optimizer's two moments in float32, and a master copy where weights are narrower, or elsewhere.
double optimizer_bytes(const PlanModel& model) { return model.bytes < 4 || model.offload ? 12 : 8; }

/// Bytes of weights with which a decoding step of so many rows computes: of experts those that some row goes through,
/// if all are as likely.
double read_bytes(const PlanModel& model, double rows) {
  double unread = std::pow(1 - model.expert_share, rows);
  return weight_bytes(model) - unread * model.experts * model.layer_bytes;
}

/// Weights that a token goes through.
double active_weights(const PlanModel& model) {
  return model.weights + model.adapters - (1 - model.expert_share) * model.experts;
}

/// Of a process's share of a step.
struct Computing {
  double forward = 0;  ///< seconds of a forward pass over it
  PlanTime spent;
};

/// Seconds that gradients and weights are waited for: what their sending takes beyond the passes that hide it.
double waiting_for_shares(const PlanModel& model, const PlanLoad& load, const PlanCluster& cluster, Sharding sharding,
                          const Computing& computing) {
  double P = of(cluster.processes), mine = std::ceil(load.rows / P);
  double sent = (P - 1) / P / cluster.network, once = model.trained * of(model.bytes) * sent;
  double micro = load.micro_rows > 0 ? std::ceil(mine / load.micro_rows) : 1;
  double forward = computing.forward, backward = computing.spent.training - forward;
  auto beyond = [](double sending, double hidden) { return std::max(0.0, sending - hidden); };
  if (sharding <= Sharding::optimizer) return beyond(once, backward / micro) + once;
  if (sharding == Sharding::gradients) return beyond(once * micro, backward) + once;
  double layers = model.layer_weights * (model.frozen ? model.layer_bytes : of(model.bytes)) * sent;
  double out = beyond(layers * micro, forward);
  if (!model.frozen)
    return out + beyond((layers + once) * micro, backward) + (once - layers) +
           (load.answer > 0 ? once / load.updates : 0);
  out += beyond(layers * micro, backward) + once * (micro + 1);
  // A rollout has them all; where the reference, which is these layers, judges given rows, they come once more.
  if (load.answer > 0) return out + layers / load.updates;
  return load.judged > 0 && model.others == 0 ? out + beyond(layers, computing.spent.judging) : out;
}

}  // namespace

PlanModel plan_model(const DecoderConfig& config, const PlanSetting& setting) {
  PlanModel out;
  double tensor = of(setting.tensor);
  std::map<std::string, double> layers;
  for (const auto& [name, value] : allocate_weights(config, at::kMeta).named()) {
    bool matrix = value.dim() > 1 && name != "position_embedding";
    double mine = of(value.numel()) / (matrix ? tensor : 1);
    out.whole += of(value.numel()), out.weights += mine;
    if (name.rfind("layers.", 0) != 0 || !matrix) continue;
    out.layer_weights += mine;
    if (name.find(".experts.") != std::string::npos) out.experts += mine;
    layers[name.substr(0, name.find('.', 7))] += mine;
  }
  for (const auto& [name, count] : layers) out.largest_layer = std::max(out.largest_layer, count);
  out.layers = config.layers, out.hidden = config.hidden_size, out.vocabulary = config.vocab_size;
  out.head = config.heads * config.head_dim / setting.tensor,
  out.kv = config.kv_heads * config.head_dim / setting.tensor;
  out.whole_trained = setting.lora ? adapter_weights(config, *setting.lora) : out.whole;
  out.trained = setting.lora ? out.whole_trained : out.weights;
  out.frozen = setting.lora != nullptr;
  for (const LoraConfig* lora : setting.frozen_adapters) out.frozen_adapters += adapter_weights(config, *lora);
  out.adapters = out.frozen_adapters + (setting.lora ? out.trained : 0);
  if (config.experts.count) out.expert_share = of(config.experts.per_token) / of(config.experts.count);
  for (const LayerKind& kind : config.kinds) {
    double layer = kept_of_layer(config, kind, setting.tensor);
    out.kept += setting.checkpointing ? of(config.hidden_size) : layer;
    out.layer = std::max(out.layer, layer);
  }
  out.recomputed = setting.checkpointing ? out.layer : 0;
  // Codes, and a float32 scale for each row (which is little) or each 64 numbers.
  out.layer_bytes = setting.quantize == "int8" ? 1 : setting.quantize == "nf4" ? 0.5 + 4.0 / 64 : of(setting.bytes);
  out.bytes = setting.bytes, out.checkpointing = setting.checkpointing, out.tensor = setting.tensor;
  return out;
}

PlanMemory plan_memory(const PlanModel& model, const PlanLoad& load, int64_t processes, Sharding sharding) {
  double P = of(processes), bytes = of(model.bytes), tokens = tokens_at_once(load, P);
  auto part = [&](Sharding from) { return processes > 1 && sharding >= from ? P : 1; };
  PlanMemory out;
  out.weights = weight_bytes(model);
  bool layered = part(Sharding::parameters) > 1;
  // Its own part, what belongs to no layer, and a layer that computes beside one that comes, twice while it is put
  // in its place.
  double others = bytes * (model.weights - model.layer_weights);
  if (layered && model.frozen)
    out.weights = others + model.layer_bytes * (model.layer_weights / P + 3 * model.largest_layer);
  if (layered && !model.frozen) out.weights = others + bytes * (model.weights / P + 3 * model.largest_layer);
  out.weights += model.adapters * bytes;
  out.gradients = model.trained * bytes / part(Sharding::gradients);
  (model.offload ? out.host : out.optimizer) = model.trained * optimizer_bytes(model) / part(Sharding::optimizer);
  out.others = model.others * bytes;
  // The backward pass holds the gradients of what it goes through: about one layer's.
  out.activations = bytes * tokens * (model.kept + model.recomputed + model.layer + 4 * of(model.hidden));
  // Three buckets of gradients under way, each beside its parts and what comes from the others.
  bool by_layers = layered && !model.frozen;
  double bucket = std::max(model.trained / 8, by_layers ? model.largest_layer : 0);
  if (processes > 1) out.buffers = bytes * 6 * std::min(bucket, std::max(of(1 << 24), by_layers ? bucket : 0));
  return out;
}

PlanTime plan_time(const PlanModel& model, const PlanLoad& load, const PlanCluster& cluster, Sharding sharding) {
  double P = of(cluster.processes), bytes = of(model.bytes), mine = std::ceil(load.rows / P);
  double tokens = mine * load.tokens;
  // 2 operations a weight and token forward, and a token sees half of the row on average (Kaplan et al. 2020,
  // arXiv:2001.08361, section 2.1); twice that backward.
  double forward =
      tokens * (2 * active_weights(model) + 2 * of(model.layers * model.head) * load.tokens) / cluster.flops;
  PlanTime out;
  out.training = forward * (model.checkpointing ? 4 : 3);
  if (model.frozen) out.training -= forward;  // frozen weights have no gradients
  out.judging = forward * load.judged / load.updates;
  if (load.answer > 0) {
    double read = read_bytes(model, mine) / cluster.memory_bandwidth;  // every step of all rows reads the weights
    double compute = mine * 2 * active_weights(model) / cluster.flops;
    out.sampling = load.answer * std::max(read, compute) / load.updates;
  }
  // Gradients come, weights go; the step reads and writes three numbers in float32, and reads and writes those two.
  if (model.offload)
    out.host =
        model.trained / (sharding >= Sharding::optimizer ? P : 1) * (2 * 2 * bytes + 2 * 12) / cluster.host_bandwidth;
  if (model.tensor > 1) {
    // The stream is summed twice a layer, on the way back and where it is computed again too; each process sends
    // 2 (N - 1) / N of it (Megatron-LM, arXiv:1909.08053, section 3).
    double once =
        2 * (of(model.tensor) - 1) / of(model.tensor) * bytes * of(model.hidden * model.layers) / cluster.network;
    out.waiting = 2 * once * tokens * (model.checkpointing ? 3 : 2);
    out.judging += 2 * once * tokens * load.judged / load.updates;
    out.sampling += 2 * once * mine * load.answer / load.updates;
  }
  if (cluster.processes > 1) out.waiting += waiting_for_shares(model, load, cluster, sharding, {forward, out});
  return out;
}

}  // namespace rft::app
