#include "rft/policy/seq2seq_lm.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <nlohmann/json.hpp>

#include "policy/adapter_directory.h"
#include "policy/shared_options.h"
#include "policy/token_layout.h"
#include "policy/token_rows.h"
#include "policy/value_head.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/core/log.h"
#include "rft/core/text.h"
#include "rft/io/files.h"
#include "rft/io/hf_directory.h"
#include "rft/nn/weights_lora.h"
#include "rft/ops/gather_rows.h"
#include "rft/ops/linear_divergence.h"
#include "rft/ops/linear_logp.h"
#include "rft/policy/seq2seq_sampler.h"

namespace rft {
namespace {

constexpr char kSeq2SeqCritic[] = "/critic";

std::unique_ptr<Seq2Seq> load_model(const std::string& directory, at::ScalarType dtype) {
  const std::string file = directory + "/config.json";
  if (!file_exists(file)) bad_input(directory, "this is not a Hugging Face model directory: there is no config.json");
  const std::string config = read_text(file);
  if (!is_seq2seq(config, file)) make_seq2seq(config, WeightSource({}, dtype, directory), file);  // which says why
  return make_seq2seq(config, WeightSource(load_hf_tensors(directory), dtype, directory), file);
}

/// The rows of `layout` as a model takes them: neighbours with the same prompt, as those of a group are, share it.
Seq2SeqRows rows_of(const TokenLayout& layout, const std::vector<std::vector<int64_t>>& prompts) {
  Seq2SeqRows out;
  out.answers = layout.packed;
  std::vector<int64_t> ids;
  const std::vector<int64_t>* last = nullptr;
  for (int64_t b : layout.rows) {
    const std::vector<int64_t>& prompt = prompts[static_cast<size_t>(b)];
    if (last && prompt == *last) {
      ++out.samples.back();
      continue;
    }
    ids.insert(ids.end(), prompt.begin(), prompt.end());
    out.prompts.lengths.push_back(static_cast<int64_t>(prompt.size())), out.samples.push_back(1);
    last = &prompt;
  }
  out.prompts.ids = at::tensor(ids, at::kLong);
  return out;
}

Evaluation nothing_decided(const Experience& batch, const Needs& needs, const at::TensorOptions& options) {
  Evaluation out;
  out.logp = at::zeros(batch.action.sizes(), options.dtype(at::kFloat));
  if (needs.entropy) out.entropy = at::zeros_like(out.logp);
  if (needs.divergence) out.extra.set(extra::divergence, at::zeros_like(out.logp));
  if (needs.value) out.value = at::zeros_like(out.logp);
  return out;
}

void save_model(const Seq2Seq& model, const std::string& directory) {
  write_text(directory + "/config.json", model.config_json());
  std::map<std::string, Tensor> tensors;
  for (const auto& [name, value] : model.weights().tensors) tensors[name] = value.detach();
  save_hf_tensors(directory, tensors);
}

/// Sets the weights of `model` to those that save_model() wrote.
void load_into(const Seq2Seq& model, const std::string& directory, at::ScalarType dtype) {
  const at::NoGradGuard no_grad;
  const auto saved = load_model(directory, dtype);
  const auto &from = saved->weights().tensors, &to = model.weights().tensors;
  if (from.size() != to.size() || saved->config_json() != model.config_json())
    bad_input(directory, "its config.json or its head is not the policy's");
  for (size_t i = 0; i < to.size(); ++i) Tensor(to[i].second).copy_(from[i].second);
}

/// All that is trained, under names that start with `prefix`.
void add_model(std::vector<Parameter>& out, const Seq2Seq& model, const std::string& prefix, const std::string& group) {
  const Weights& weights = model.weights();
  for (const auto& [name, value] : weights.tensors)
    if (!weights.buffers.count(name)) out.push_back({prefix + name, value, value.dim() > 1, group});
}

/// What config.json says of noise in training, which is left out here; said once.
void say_dropout(const std::string& config_json, const std::string& path) {
  const auto json = nlohmann::json::parse(config_json);
  std::vector<std::string> said;
  for (const char* name :
       {"dropout_rate", "dropout", "attention_dropout", "activation_dropout", "encoder_layerdrop", "decoder_layerdrop"})
    if (auto found = json.find(name); found != json.end() && found->is_number() && found->get<double>() > 0)
      said.push_back(cat(name, " ", found->get<double>()));
  if (!said.empty())
    log::info(cat(path, ": trained without dropout; config.json's ", join(said, ", "), said.size() > 1 ? " are" : " is",
                  " not used"));
}

}  // namespace

bool is_seq2seq_directory(const std::string& directory) {
  const std::string file = model_directory(directory) + "/config.json";
  return file_exists(file) && is_seq2seq(read_text(file), file);
}

void Seq2SeqLm::Options::visit(OptionVisitor& v) {
  v.option("path", path,
           "a Hugging Face model directory (T5, mT5, UMT5, BART, mBART, Pegasus), or a PEFT adapter directory",
           required());
  v.option("adapter", adapter, "a PEFT adapter directory to go on from; its rank and targets replace `lora`");
  v.option("dtype", dtype, "what weights and activations are kept in", one_of({"float32", "bfloat16", "float64"}));
  v.option(
      "reference", reference,
      "the model directory of the reference policy, or of a teacher with the same vocabulary; empty = the policy as "
      "it was before training");
  v.option("max_length", max_length,
           "tokens of a prompt at most, and of an answer in the data; null = as many as the model has positions for",
           at_least(2).in("tokens"));
  v.option("too_long", too_long,
           "a row that has more: the run does not start; it is left out; its ends are cut; the prompt's beginning is "
           "(and an answer that is too long left out). How many are is said; special tokens around a prompt stay",
           one_of({"error", "drop", "keep_start", "keep_end"}));
  v.option("critic", critic,
           "what estimates returns where an objective asks: a head on the decoder, or on that of a copy of the model",
           one_of({"head", "model"}));
  lora_options(v, use_lora, lora, lora_seed, "names such as q and wo; empty = all linear layers but the head");
}

namespace {

/// The path of an adapter is that of its base model and its own.
Seq2SeqLm::Options with_base(Seq2SeqLm::Options options) {
  follow_adapter(options.path, options.adapter, options.lora, options.use_lora);
  return options;
}

}  // namespace

Seq2SeqLm::Seq2SeqLm(Options options)
    : options_(with_base(std::move(options))), model_(load_model(options_.path, dtype_of(options_.dtype))) {
  tokenizer_ = Tokenizer::load(options_.path);
  eos_ids_ = end_ids(options_.path, tokenizer_);
  first_id_ = forced_first_id(options_.path);
  const int64_t vocabulary = model_->head().size(0);
  if (first_id_ && (*first_id_ < 0 || *first_id_ >= vocabulary))
    bad_input(options_.path, "forced_bos_token_id must be in 0 .. ", vocabulary - 1, "; got ", *first_id_);
  if (tokenizer_.size() > vocabulary)
    bad_input(options_.path, "the tokenizer has ", tokenizer_.size(), " ids, the model only ", vocabulary);
  if (!options_.reference.empty()) reference();  // whatever is wrong with it is said before any work is done
  if (options_.use_lora)
    add_adapters();
  else
    for (auto& parameter : parameters()) parameter.value.requires_grad_(true);
}

/// The reference stays a model of its own, read from the base's directory.
void Seq2SeqLm::add_adapters() {
  Weights weights = model_->weights();  // shares its layers
  add_peft_lora(weights, options_.lora, static_cast<uint64_t>(options_.lora_seed));
  if (options_.adapter.empty()) return;
  const auto [tensors, file] = read_adapter_tensors(options_.adapter);
  load_peft_tensors(model_->weights(), tensors, file);
}

void Seq2SeqLm::merge_adapters() {
  Weights weights = model_->weights();
  merge_lora(weights);
  options_.use_lora = false;
}

Seq2SeqLm::~Seq2SeqLm() = default;

void Seq2SeqLm::prepare(const Needs& needs, uint64_t seed) {
  Policy::prepare(needs, seed);
  say_dropout(model_->config_json(), options_.path);
  if (!needs.value) return;
  const Tensor& head = model_->head();
  value_head_ = std::make_unique<ValueHead>(head.size(1), head.options().requires_grad(false), seed);
  value_head_->load(options_.path);
  if (options_.critic != "model") return;
  const std::string saved = options_.path + kSeq2SeqCritic;
  critic_ = load_model(file_exists(saved + "/config.json") ? saved : options_.path, dtype_of(options_.dtype));
  for (const auto& parameter : critic_parameters()) parameter.value.requires_grad_(true);
}

/// [M]: what the critic expects at the decisions of `layout`; `states` [M, D] are the policy's own.
Tensor Seq2SeqLm::values(const Seq2SeqRows& rows, const TokenLayout& layout, const Tensor& states) const {
  if (!value_head_) run_failed("seq2seq_lm", "values were asked for, and prepare() was not told");
  if (!critic_) return value_head_->values(states);
  return value_head_->values(ops::gather_rows(critic_->forward(rows), layout.hidden_index, layout.decision));
}

Experience Seq2SeqLm::sample(const Experience& contexts, const SampleRequest& request) {
  if (rollout_.mask_top_p < 1 || rollout_.reference_mixture > 0)
    bad_input("rollout", "mask_top_p and reference_mixture are for causal_lm; seq2seq_lm samples alone");
  auto sampled =
      sample_rows(*model_, &tokenizer_, prompts_of(contexts), request.group_size, request.seed, request.greedy,
                  rollout_.sampler(eos_ids_, request.first_row()), request.progress, first_id_);
  Experience out = rollout_of(contexts, request.group_size, sampled, tokenizer_);
  if (first_id_) out.mask.select(1, 0).fill_(false);
  return out;
}

Evaluation Seq2SeqLm::judge(const Seq2Seq& model, const Experience& batch, const Needs& needs) {
  const int64_t B = batch.action.size(0), T = batch.action.size(1);
  const auto layout = TokenLayout::of(at::full({B, 1}, model.start_id(), at::kLong), at::ones({B}, at::kLong),
                                      batch.action, batch.mask);
  if (layout.empty()) return nothing_decided(batch, needs, model.head().options());
  const Seq2SeqRows rows = rows_of(layout, prompts_of(batch));
  const bool rollout = needs.data == Needs::Data::rollout;
  const double temperature = rollout && rollout_.temperature > 0 ? rollout_.temperature : 1.0;
  const Tensor states = ops::gather_rows(model.forward(rows), layout.hidden_index, layout.decision);
  const auto result = ops::linear_logp(states, model.head(), layout.target, temperature, needs.entropy);
  Evaluation out;
  out.logp = to_cells(result.logp, layout.cell, B, T);
  if (needs.entropy) out.entropy = to_cells(result.entropy, layout.cell, B, T);
  if (needs.value) out.value = to_cells(values(rows, layout, states), layout.cell, B, T);
  if (!needs.divergence) return out;
  const Seq2Seq& teacher = reference();
  Tensor ref_states;
  {
    const at::NoGradGuard no_grad;
    ref_states = teacher.forward(rows).index_select(0, layout.hidden_index);
  }
  const Tensor divergence =
      ops::linear_divergence(states, model.head(), ref_states, teacher.head(), *needs.divergence, temperature);
  out.extra.set(extra::divergence, to_cells(divergence, layout.cell, B, T));
  return out;
}

Evaluation Seq2SeqLm::evaluate(const Experience& batch, const Needs& needs) { return judge(*model_, batch, needs); }

Tensor Seq2SeqLm::ref_logp(const Experience& batch, const Needs& needs) {
  const at::NoGradGuard no_grad;
  Needs only_logp;
  only_logp.data = needs.data;
  return judge(reference(), batch, only_logp).logp;
}

const Seq2Seq& Seq2SeqLm::reference() {
  if (reference_) return *reference_;
  const std::string& path = options_.reference.empty() ? options_.path : options_.reference;
  reference_ = load_model(path, dtype_of(options_.dtype));
  if (reference_->head().size(0) != model_->head().size(0) || reference_->start_id() != model_->start_id())
    bad_input("policy.reference", "'", path, "' has a vocabulary of ", reference_->head().size(0),
              " tokens and the start token ", reference_->start_id(), ", the policy ", model_->head().size(0), " and ",
              model_->start_id());
  return *reference_;
}

std::vector<Parameter> Seq2SeqLm::critic_parameters() const {
  std::vector<Parameter> out;
  if (value_head_) value_head_->add_parameters(out, "value_head.");
  if (!critic_) return out;
  add_model(out, *critic_, "critic.", groups::critic);
  // Nothing reads the vocabulary's head there, where it is not the embedding too.
  std::erase_if(out, [](const Parameter& parameter) { return parameter.name == "critic.lm_head.weight"; });
  return out;
}

std::vector<Parameter> Seq2SeqLm::parameters() {
  std::vector<Parameter> out = critic_parameters();
  if (!options_.use_lora)
    add_model(out, *model_, "", groups::policy);
  else
    for (const NamedLinear& layer : model_->weights().linears) add_parameters(out, *layer.linear);
  return out;
}

void Seq2SeqLm::save(const std::string& directory) const {
  copy_text_files(options_.path, directory);
  if (value_head_) value_head_->save(directory);
  if (critic_) {
    make_directories(directory + kSeq2SeqCritic);
    save_model(*critic_, directory + kSeq2SeqCritic);
  }
  if (!options_.use_lora) return save_model(*model_, directory);
  save_adapter(peft_config_json(model_->weights(), options_.lora, absolute_base(options_.path), "SEQ_2_SEQ_LM"),
               peft_tensors(model_->weights()), directory);
}

void Seq2SeqLm::load(const std::string& directory) {
  if (value_head_) value_head_->load(directory);
  if (critic_) load_into(*critic_, directory + kSeq2SeqCritic, dtype_of(options_.dtype));
  if (!options_.use_lora) return load_into(*model_, directory, dtype_of(options_.dtype));
  const auto [tensors, file] = read_adapter_tensors(directory);
  load_peft_tensors(model_->weights(), tensors, file);
}

}  // namespace rft
