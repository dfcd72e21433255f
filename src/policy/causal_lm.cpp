#include "rft/policy/causal_lm.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "policy/adapter_directory.h"
#include "policy/divided_head.h"
#include "policy/reference_prompts.h"
#include "policy/shared_options.h"
#include "policy/token_layout.h"
#include "policy/token_rows.h"
#include "policy/value_head.h"
#include "rft/core/device.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/io/adapter_files.h"
#include "rft/io/files.h"
#include "rft/io/hf_directory.h"
#include "rft/io/safetensors.h"
#include "rft/ops/gather_rows.h"
#include "rft/ops/linear_divergence.h"
#include "rft/policy/lm_sampler.h"

namespace rft {
namespace {

constexpr char kCritic[] = "/critic";

/// Where the decisions of `batch` lie in `decoder`'s states.
TokenLayout layout_of(const Experience& batch, const Decoder& decoder) {
  return TokenLayout::of(batch.context.tensor("prompt_ids"), batch.context.tensor("prompt_length"), batch.action,
                         batch.mask)
      .to(decoder.device());
}

}  // namespace

std::unique_ptr<Decoder> CausalLm::load_decoder(const std::string& directory, at::ScalarType dtype,
                                                const at::Device& device, const std::string& quantize) {
  std::string file = directory + "/config.json";
  if (!file_exists(file)) bad_input(directory, "this is not a Hugging Face model directory: there is no config.json");
  return std::make_unique<Decoder>(DecoderConfig::from_json(read_text(file), file), load_hf_tensors(directory),
                                   at::TensorOptions().dtype(dtype).device(device), directory,
                                   DecoderReading{quantize, release_pages});
}

std::unique_ptr<Decoder> CausalLm::load_decoder(const std::string& directory, const std::string& quantize) const {
  return load_decoder(directory, dtype_of(options_.dtype), device_of(options_.device, "policy.device"), quantize);
}

void CausalLm::Options::visit(OptionVisitor& v) {
  v.option("path", path, "a Hugging Face model directory (or a PEFT adapter directory)", required());
  v.option("adapter", adapter, "a PEFT adapter directory to go on from; its rank and targets replace `lora`");
  v.option(
      "frozen_adapters", frozen_adapters,
      "PEFT adapter directories that are part of the base: added to it, never trained, and read by the reference too "
      "(PEFT's set_adapter of several, of which one is trained). They are saved beside what is trained, and those "
      "that an adapter directory holds replace these");
  v.option("dtype", dtype, "what weights and activations are kept in", one_of({"float32", "bfloat16", "float64"}));
  v.option("device", device, "where the model is and computes: cpu, cuda or cuda:N (docs/gpu.md)");
  v.option(
      "quantize", quantize,
      "keep the frozen weights of linear layers in 8 or 4 bits a number, under adapters (QLoRA, arXiv:2305.14314); "
      "on the CPU; empty = as dtype says",
      one_of({"", "int8", "nf4"}));
  v.option(
      "assistant_turns", assistant_turns,
      "of a conversation that is learned (`messages`): the last answer, every one, or what the chat template marks "
      "with {% generation %} (TRL's assistant_only_loss)",
      one_of({"last", "all", "marked"}));
  length_options(v, max_length, too_long);
  v.option(
      "gradient_checkpointing", gradient_checkpointing,
      "recompute each layer in the backward pass instead of keeping its activations: less memory, a third more time");
  v.option("router_aux_weight", router_aux_weight,
           "weight of the load-balancing loss of a mixture of experts (Switch, arXiv:2101.03961), a micro-batch at a "
           "time; without it config.json's router_aux_loss_coef where output_router_logits is true, else 0",
           at_least(0));
  lora_options(v, use_lora, lora, lora_seed, "names such as q_proj; empty = all linear layers but the head");
  v.option(
      "critic", critic,
      "what estimates returns where an objective asks: a head on the model, or on a copy of it (a model of its own)",
      one_of({"head", "model"}));
  v.option(
      "reference", reference,
      "the model directory of the reference policy, or of a teacher with the same vocabulary; empty = the policy as "
      "it was before training");
  v.option("sync_reference", sync_reference,
           "move the reference policy towards the trained one now and then (TR-DPO; TRL's sync_ref_model)");
  v.option("reference_mixup", reference_mixup, "at each move: reference = mixup * policy + (1 - mixup) * reference",
           between(0, 1));
  v.option("reference_every", reference_every, "optimizer steps between moves", at_least(1).in("steps"));
}

void CausalLm::Rollout::visit(OptionVisitor& v) {
  v.option("max_new_tokens", max_new_tokens, "a completion is cut off after so many tokens", at_least(1).in("tokens"));
  v.option("temperature", temperature, "logits are divided by it, in sampling and in training alike; 0 = greedy",
           at_least(0));
  v.option("top_p", top_p, "sample from the smallest set of tokens that holds this much probability", between(0, 1));
  v.option("top_k", top_k, "sample from the so many likeliest tokens; 0 = all", at_least(0));
  v.option("min_p", min_p, "leave out tokens less likely than this share of the likeliest one's probability",
           between(0, 1));
  v.option("repetition_penalty", repetition_penalty,
           "divides (multiplies, where negative) the logits of tokens already seen", above(0));
  v.option("stop", stop, "texts that end a completion");
  v.option("mask_top_p", mask_top_p,
           "sample from the tokens alone that make up this much of the reference's probability, and learn their "
           "probabilities among these (NLPO; policy.sync_reference lets the reference follow); on the CPU",
           between(0, 1));
  v.option("reference_mixture", reference_mixture,
           "the reference's answers (reference_answers) are sampled from p_ref^(1 - this) p^this (Nash-MD); on the CPU",
           between(0, 1));
  v.option("decode_batch_size", decode_batch_size, "completions decoded at once; 0 = chosen", at_least(0));
}

SamplerOptions CausalLm::Rollout::sampler(std::vector<int64_t> eos_ids, int64_t first_row) const {
  SamplerOptions options;
  options.max_new_tokens = max_new_tokens, options.temperature = temperature, options.top_p = top_p;
  options.top_k = top_k, options.min_p = min_p, options.repetition_penalty = repetition_penalty, options.stop = stop;
  options.batch_size = decode_batch_size, options.eos_ids = std::move(eos_ids), options.first_row = first_row;
  return options;
}

CausalLm::~CausalLm() = default;

CausalLm::CausalLm(Options options) : CausalLm(std::move(options), nullptr) {
  if (decoder_->config().labels)
    bad_input("policy.path", "'", options_.path, "' is a reward model (", decoder_->config().architecture,
              "), not a language model; the policy type reward_model trains it, the reward of that type uses it");
  add_adapters();
}

/// The path of an adapter is that of its base model and its own.
void CausalLm::read_adapters() {
  follow_adapter(options_.path, options_.adapter, options_.lora, options_.use_lora);
  if (!options_.adapter.empty())
    if (auto held = adapters_within(options_.adapter, kFrozenAdapters); !held.empty())
      options_.frozen_adapters = std::move(held);
  if (options_.frozen_adapters.empty()) return;
  constexpr char kWhere[] = "policy.frozen_adapters";
  if (!options_.use_lora)
    bad_input(kWhere, "stand beside adapters that are trained (policy.lora); `rft merge` makes a whole model of them");
  if (options_.lora.dora)
    bad_input(kWhere,
              "can't stand beside DoRA's, which look at the base's rows; `rft merge` makes a model of them first");
  for (const std::string& directory : options_.frozen_adapters)
    if (!is_adapter_directory(directory))
      bad_input(kWhere, "'", directory, "' is no adapter directory (adapter_config.json, adapter_model.safetensors)");
}

void CausalLm::add_frozen_adapters(Decoder& decoder) const {
  for (const std::string& directory : options_.frozen_adapters) add_adapter_set(decoder, directory, Adapter::kFrozen);
}

CausalLm::CausalLm(Options options, std::unique_ptr<Decoder> decoder)
    : decoder_(std::move(decoder)), options_(std::move(options)) {
  read_adapters();
  if (!decoder_) decoder_ = load_decoder(options_.path, options_.quantize);
  tokenizer_ = Tokenizer::load(options_.path);
  eos_ids_ = end_ids(options_.path, tokenizer_);
  if (tokenizer_.size() > decoder_->config().vocab_size)
    bad_input(options_.path, "the tokenizer has ", tokenizer_.size(), " ids, the model only ",
              decoder_->config().vocab_size);
  if (!options_.reference.empty()) {
    if (options_.sync_reference) bad_input("policy.sync_reference", "a `reference` of its own does not move");
    reference();  // whatever is wrong with it is said before any work is done
  }
  if (options_.use_lora && options_.sync_reference)
    bad_input("policy.sync_reference",
              "the reference of a model with adapters is the model without them, which does not move");
  if (options_.quantize.empty())
    for (auto& [name, value] : decoder_->weights().named()) value.requires_grad_(true);
}

void CausalLm::add_adapters() {
  add_frozen_adapters(*decoder_);
  if (options_.use_lora) add_lora(*decoder_, options_.lora, static_cast<uint64_t>(options_.lora_seed));
  if (!options_.adapter.empty()) load_adapter(*decoder_, options_.adapter);
  for (size_t i = 0; i < options_.adapter_sets.size(); ++i)
    add_adapter_set(*decoder_, options_.adapter_sets[i], static_cast<int64_t>(i) + 1);
}

void CausalLm::prepare(const Needs& needs, uint64_t seed) {
  Policy::prepare(needs, seed);
  if (!needs.value) return;
  auto options = decoder_->weights().token_embedding.options().requires_grad(false);
  value_head_ = std::make_unique<ValueHead>(decoder_->config().hidden_size, options, seed);
  value_head_->load(options_.path);
  if (options_.critic != "model") return;
  std::string saved = options_.path + kCritic;
  critic_ = load_decoder(file_exists(saved + "/config.json") ? saved : options_.path);
  for (auto& [name, value] : critic_->weights().named()) value.requires_grad_(name != "head");
}

Experience CausalLm::sample(const Experience& contexts, const SampleRequest& request) {
  return sample_from(*decoder_, own_guide(request.greedy), contexts, request);
}

/// With adapters the sampler would read them too: a copy of the model without them is what answers.
Experience CausalLm::sample_reference(const Experience& contexts, const SampleRequest& request) {
  Guide guide;
  if (rollout_.reference_mixture > 0) guide = {decoder_.get(), rollout_.reference_mixture, 1};
  return sample_from(reference(), guide, contexts, request);
}

Experience CausalLm::sample_from(const Decoder& decoder, const Guide& guide, const Experience& contexts,
                                 const SampleRequest& request) const {
  SamplerOptions options = rollout_.sampler(eos_ids_, request.first_row());
  options.guide = guide;
  auto sampled = sample_rows(decoder, &tokenizer_, prompts_of(contexts), request.group_size, request.seed,
                             request.greedy, options, request.progress);
  return rollout_of(contexts, request.group_size, sampled, tokenizer_);
}

/// [M]: what the critic expects at the decisions of `layout`; `states` [M, D] are the policy's own.
Tensor CausalLm::values(const TokenLayout& layout, const Tensor& states) const {
  if (!value_head_) run_failed("causal_lm", "values were asked for, and prepare() was not told");
  if (!critic_) return value_head_->values(states);
  Tensor hidden = critic_->forward(layout.packed, {.checkpoint = options_.gradient_checkpointing});
  return value_head_->values(ops::gather_rows(hidden, layout.hidden_index, layout.decision));
}

/// [M]: of the states that predict the decisions of `batch`, hidden [M, D] those of the policy.
Tensor CausalLm::divergence(const Experience& batch, const Tensor& hidden, const Divergence& divergence,
                            double temperature) {
  Tensor ref_hidden;
  const Decoder& teacher = reference_model();
  const TokenLayout layout = layout_of(as_reference_reads(batch), teacher);
  {
    at::NoGradGuard no_grad;
    ref_hidden = teacher.forward(layout.packed, {.adapters = false}).index_select(0, layout.hidden_index);
  }
  return ops::linear_divergence(hidden, decoder_->weights().head, ref_hidden, teacher.weights(false).head, divergence,
                                temperature, decoder_->config().logit_softcap, teacher.config().logit_softcap);
}

/// Experiences stay on the CPU: tokens go to the model's device, and numbers a decision come back, with their graph.
Evaluation CausalLm::judge(const Decoder& decoder, const Experience& batch, const Needs& needs, bool adapters) {
  int64_t B = batch.action.size(0), T = batch.action.size(1);
  auto cells = [&](const Tensor& values, const Tensor& cell) { return to_cells(values, cell, B, T).to(at::kCPU); };
  const TokenLayout layout = layout_of(batch, decoder);
  Evaluation out;
  if (layout.empty()) {
    out.logp = at::zeros({B, T}, decoder.weights().head.options().dtype(at::kFloat).device(at::kCPU));
    if (needs.entropy) out.entropy = at::zeros_like(out.logp);
    if (needs.divergence) out.extra.set(extra::divergence, at::zeros_like(out.logp));
    if (needs.value) out.value = at::zeros_like(out.logp);
    return out;
  }
  bool rollout = needs.data == Needs::Data::rollout;
  double temperature = rollout && rollout_.temperature > 0 ? rollout_.temperature : 1.0;
  Decoder::Forward how{.adapters = adapters, .checkpoint = options_.gradient_checkpointing};
  double balance_weight = options_.router_aux_weight.value_or(decoder.config().experts.balance_weight);
  bool balances = balance_weight > 0 && at::GradMode::is_enabled();
  auto [hidden, balance] = balances ? decoder.forward_balanced(layout.packed, how)
                                    : Decoder::Balanced{decoder.forward(layout.packed, how), {}};
  if (balance.defined()) out.auxiliary = balance.mul(balance_weight).to(at::kCPU);
  Tensor states = ops::gather_rows(hidden, layout.hidden_index, layout.decision);
  bool masked = rollout && adapters && rollout_.mask_top_p < 1;
  auto result = masked ? masked_logp(layout, states, temperature, needs.entropy)
                       : token_logp(decoder, states, layout.target, {temperature, needs.entropy, adapters});
  out.logp = cells(result.logp, layout.cell);
  if (needs.entropy) out.entropy = cells(result.entropy, layout.cell);
  if (needs.value) out.value = cells(values(layout, states), layout.cell);
  if (needs.divergence)
    out.extra.set(extra::divergence, cells(divergence(batch, states, *needs.divergence, temperature), layout.cell));
  return out;
}

Evaluation CausalLm::evaluate(const Experience& batch, const Needs& needs) {
  return judge(*decoder_, batch, needs, true);
}

Tensor CausalLm::ref_logp(const Experience& batch, const Needs& needs) {
  at::NoGradGuard no_grad;
  Needs only_logp;
  only_logp.data = needs.data;
  return judge(reference_model(), as_reference_reads(batch), only_logp, false).logp;
}

std::vector<Parameter> CausalLm::parameters() {
  std::vector<Parameter> out;
  if (value_head_) value_head_->add_parameters(out, "value_head.");
  if (critic_)
    for (const auto& [name, value] : critic_->weights().named())
      if (value.requires_grad()) out.push_back({"critic." + name, value, value.dim() > 1, groups::critic});
  if (options_.use_lora) {
    for (const auto& layer : decoder_->weights().layers)
      for (const Linear* linear : {&layer.qkv, &layer.out, &layer.gate_up, &layer.down}) add_parameters(out, *linear);
    for (const auto& [name, value] : decoder_->whole_tensors()) out.push_back({name, value, value.dim() > 1});
    return out;
  }
  if (!options_.quantize.empty())
    bad_input("policy.quantize", "quantized weights can't be trained; train adapters beside them (policy.lora)");
  for (const auto& [name, value] : decoder_->weights().named()) out.push_back({name, value, value.dim() > 1});
  return out;
}

std::vector<std::string> CausalLm::layer_prefixes() const {
  if (options_.sync_reference)
    bad_input("train.shard",
              "'parameters' gathers whole layers: policy.sync_reference reads all weights after a step; use "
              "'gradients'");
  std::vector<std::string> out;
  for (int64_t i = 0; i < decoder_->config().layers; ++i) out.push_back("layers." + std::to_string(i) + ".");
  return out;
}

/// The matrices, or their codes; what is small (norms, biases, scales, a router beside codes) stays whole.
std::vector<Parameter> CausalLm::frozen_layers() const {
  std::vector<Parameter> out;
  if (!options_.use_lora) return out;
  const auto type = decoder_->weights().layers.at(0).qkv.weight.scalar_type();
  for (const auto& [name, value] : decoder_->weights().named())
    if (name.starts_with("layers.") && value.dim() > 1 && value.scalar_type() == type) out.push_back({name, value});
  return out;
}

void CausalLm::merge_adapters() {
  merge_lora(*decoder_);
  options_.use_lora = false;
}

void CausalLm::save(const std::string& directory) const {
  if (!options_.quantize.empty() && !options_.use_lora)
    bad_input(
        "policy.quantize",
        "quantized weights are not written: save the model without quantize, or adapters beside it (policy.lora)");
  copy_text_files(options_.path, directory);
  if (value_head_) value_head_->save(directory);
  if (critic_) {
    make_directories(directory + kCritic);
    write_text(directory + kCritic + "/config.json", critic_->config().json);
    save_hf_tensors(directory + kCritic, critic_->hugging_face_tensors());
  }
  if (options_.use_lora) {
    copy_adapters_into(directory, kFrozenAdapters, options_.frozen_adapters);
    return save_adapter(*decoder_, options_.lora, options_.path, directory);
  }
  write_text(directory + "/config.json", decoder_->config().json);
  save_hf_tensors(directory, decoder_->group() ? gathered_ : decoder_->hugging_face_tensors());
}

void CausalLm::load(const std::string& directory) {
  at::NoGradGuard no_grad;
  auto copy = [&](const std::string& from, Decoder& to) {
    auto saved = load_decoder(from, dtype_of(options_.dtype));  // on the CPU
    if (to.group()) saved->divide(*to.group());
    auto theirs = saved->weights().named(), ours = to.weights().named();
    for (size_t i = 0; i < ours.size(); ++i) ours[i].second.copy_(theirs[i].second);
  };
  if (value_head_) value_head_->load(directory);
  if (critic_) copy(directory + kCritic, *critic_);
  if (options_.use_lora) return load_adapter(*decoder_, directory);
  copy(directory, *decoder_);
}

}  // namespace rft
