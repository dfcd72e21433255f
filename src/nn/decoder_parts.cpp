// A decoder of which each process of a group has its part.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "nn/decoder_layout.h"
#include "rft/core/error.h"
#include "rft/dist/exchange.h"
#include "rft/dist/tensor_sums.h"
#include "rft/nn/decoder.h"

namespace rft {
namespace {

/// How a weight of DecoderWeights::named() is divided: heads and rows of the MLP where a block begins, the columns that
/// belong to them where it ends, tokens of the vocabulary.
std::optional<WeightPart> division_of(const std::string& name, const DecoderConfig& whole) {
  int64_t q = whole.heads * whole.head_dim, kv = whole.kv_heads * whole.head_dim, wide = whole.intermediate_size;
  auto ends = [&](const char* with) { return name.ends_with(with); };
  if (name == "token_embedding" || (name == "head" && !whole.labels)) return WeightPart{0, {whole.vocab_size}};
  if (ends(".qkv.weight") || ends(".qkv.bias")) return WeightPart{0, {q, kv, kv}};
  if (ends(".gate_up.weight") || ends(".gate_up.bias"))
    return whole.gated_mlp ? WeightPart{0, {wide, wide}} : WeightPart{0, {wide}};
  if (ends(".out.weight")) return WeightPart{1, {q}};
  if (ends(".down.weight")) return WeightPart{1, {wide}};
  return std::nullopt;
}

void check_divisible(const DecoderConfig& config, const DecoderWeights& weights, int64_t size) {
  constexpr char kWhere[] = "train.tensor_parallel";
  auto whole_shares = [&](const char* what, int64_t count) {
    if (count % size) bad_input(kWhere, size, " processes can't share ", count, " ", what, " evenly");
  };
  if (config.experts.count) bad_input(kWhere, "a mixture of experts can't be divided");
  if (config.qk_norm_all)
    bad_input(kWhere, "a model that norms all heads together (", config.architecture, ") can't be divided");
  for (const DecoderLayer& layer : weights.layers)
    for (const Linear* linear : {&layer.qkv, &layer.out, &layer.gate_up, &layer.down})
      if (!linear->adapters.empty()) bad_input(kWhere, "a model with adapters (policy.lora) can't be divided");
  whole_shares("attention heads", config.heads);
  whole_shares("key/value heads", config.kv_heads);
  whole_shares("numbers of the MLP (intermediate_size)", config.intermediate_size);
}

}  // namespace

void Decoder::divide(Communicator& group) {
  check_divisible(config_, weights_, group.size());
  at::NoGradGuard no_grad;
  for (auto& [name, value] : weights_.named())
    if (auto part = division_of(name, config_))
      value.set_data(part_of(value.detach(), *part, group.rank(), group.size()));
  group_ = &group, whole_ = config_;
  config_.heads /= group.size(), config_.kv_heads /= group.size(), config_.intermediate_size /= group.size();
}

std::map<std::string, WeightPart> Decoder::parts() const {
  std::map<std::string, WeightPart> out;
  if (!whole_) return out;
  for (const auto& [name, value] : weights_.named())
    if (auto part = division_of(name, *whole_)) out.emplace(name, *part);
  return out;
}

Share Decoder::vocabulary() const { return share_of(group_, config_.vocab_size); }

std::map<std::string, Tensor> Decoder::gathered_tensors(bool keep) const {
  at::NoGradGuard no_grad;
  DecoderWeights whole =
      allocate_weights(*whole_, weights_.token_embedding.options().device(keep ? at::kCPU : at::kMeta));
  auto to = whole.named();
  auto from = weights_.named();
  for (size_t i = 0; i < from.size(); ++i) {
    auto part = division_of(from[i].first, *whole_);
    Tensor value = part ? whole_of(from[i].second, *part, *group_, keep) : from[i].second;
    if (keep) to[i].second.copy_(value);
  }
  std::map<std::string, Tensor> out;
  if (!keep) return out;
  for (const TensorPlace& place : tensor_places(*whole_, whole)) out[place.name] = as_stored(place).contiguous();
  return out;
}

/// [N, D]: each process looks up the tokens that it has.
Tensor Decoder::embedded(const DecoderWeights& weights, const Tensor& ids) const {
  if (!group_) return at::embedding(weights.token_embedding, ids);
  Share mine = vocabulary();
  Tensor local = ids.sub(mine.first), others = local.lt(0).logical_or(local.ge(mine.count));
  Tensor found = at::embedding(weights.token_embedding, local.masked_fill(others, 0));
  return sum_of_parts(found.masked_fill(others.unsqueeze(1), 0), group_);
}

}  // namespace rft
