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
/// activation. Of `tensor` processes each has its heads' and its rows of the MLP.
double kept_of_layer(const DecoderConfig& c, int64_t tensor) {
  int64_t q = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim, wide = c.intermediate_size;
  return of(4 * c.hidden_size) + of(q + 2 * kv + 2 * q + (c.gated_mlp ? 3 : 2) * wide) / of(tensor);
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

/// The optimizer's two moments in float32, and a master copy where weights are narrower.
double optimizer_bytes(const PlanModel& model) { return model.bytes < 4 ? 12 : 8; }

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
    layers[name.substr(0, name.find('.', 7))] += mine;
  }
  for (const auto& [name, count] : layers) out.largest_layer = std::max(out.largest_layer, count);
  out.layers = config.layers, out.hidden = config.hidden_size, out.vocabulary = config.vocab_size;
  out.head = config.heads * config.head_dim / setting.tensor,
  out.kv = config.kv_heads * config.head_dim / setting.tensor;
  out.whole_trained = setting.lora ? adapter_weights(config, *setting.lora) : out.whole;
  out.trained = setting.lora ? out.whole_trained : out.weights;
  double layer = kept_of_layer(config, setting.tensor);
  out.kept = (setting.checkpointing ? of(config.hidden_size) : layer) * of(config.layers);
  out.layer = layer, out.recomputed = setting.checkpointing ? layer : 0;
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
  if (layered)
    out.weights = bytes * (model.weights / P + model.weights - model.layer_weights + 3 * model.largest_layer);
  out.gradients = model.trained * bytes / part(Sharding::gradients);
  out.optimizer = model.trained * optimizer_bytes(model) / part(Sharding::optimizer);
  out.others = model.others * bytes;
  // The backward pass holds the gradients of what it goes through: about one layer's.
  out.activations = bytes * tokens * (model.kept + model.recomputed + model.layer + 4 * of(model.hidden));
  // Three buckets of gradients under way, each beside its parts and what comes from the others.
  double bucket = std::max(model.trained / 8, layered ? model.largest_layer : 0);
  if (processes > 1) out.buffers = bytes * 6 * std::min(bucket, std::max(of(1 << 24), layered ? bucket : 0));
  return out;
}

PlanTime plan_time(const PlanModel& model, const PlanLoad& load, const PlanCluster& cluster, Sharding sharding) {
  double P = of(cluster.processes), bytes = of(model.bytes), mine = std::ceil(load.rows / P);
  double tokens = mine * load.tokens;
  // 2 operations a weight and token forward, and a token sees half of the row on average (Kaplan et al. 2020,
  // arXiv:2001.08361, section 2.1); twice that backward.
  double forward = tokens * (2 * model.weights + 2 * of(model.layers * model.head) * load.tokens) / cluster.flops;
  PlanTime out;
  out.training = forward * (model.checkpointing ? 4 : 3);
  if (model.trained < model.weights) out.training -= forward;  // frozen weights have no gradients
  out.judging = forward * load.judged / load.updates;
  if (load.answer > 0) {
    double read = weight_bytes(model) / cluster.memory_bandwidth;  // every step of all rows reads all weights
    double compute = mine * 2 * model.weights / cluster.flops;
    out.sampling = load.answer * std::max(read, compute) / load.updates;
  }
  if (model.tensor > 1) {
    // The stream is summed twice a layer, on the way back and where it is computed again too; each process sends
    // 2 (N - 1) / N of it (Megatron-LM, arXiv:1909.08053, section 3).
    double once =
        2 * (of(model.tensor) - 1) / of(model.tensor) * bytes * of(model.hidden * model.layers) / cluster.network;
    out.waiting = 2 * once * tokens * (model.checkpointing ? 3 : 2);
    out.judging += 2 * once * tokens * load.judged / load.updates;
    out.sampling += 2 * once * mine * load.answer / load.updates;
  }
  if (cluster.processes == 1) return out;
  double once = model.trained * bytes * (P - 1) / P / cluster.network;
  double micro = load.micro_rows > 0 ? std::ceil(mine / load.micro_rows) : 1;
  double backward = out.training - forward;
  if (sharding <= Sharding::optimizer) out.waiting += std::max(0.0, once - backward / micro) + once;
  if (sharding == Sharding::gradients) out.waiting += std::max(0.0, once * micro - backward) + once;
  if (sharding == Sharding::parameters) {
    double layers = model.layer_weights * bytes * (P - 1) / P / cluster.network;
    out.waiting += std::max(0.0, layers * micro - forward) + std::max(0.0, (layers + once) * micro - backward) +
                   (once - layers) + (load.answer > 0 ? once / load.updates : 0);
  }
  return out;
}

}  // namespace rft::app
