#include "rft/policy/text_scorer.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>

#include "policy/shared_options.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/core/text_template.h"
#include "rft/io/rows.h"
#include "rft/nn/expert_mixture.h"
#include "rft/nn/text_scores.h"

namespace rft {
namespace {

constexpr char kSteps[] = "completions", kVerdicts[] = "labels";  // columns of rows of steps

CausalLm::Options as_language_model(const TextScorer::Options& o) {
  CausalLm::Options out;
  out.path = o.path, out.adapter = o.adapter, out.dtype = o.dtype,
  out.gradient_checkpointing = o.gradient_checkpointing;
  out.max_length = o.max_length, out.too_long = o.too_long;
  out.use_lora = o.use_lora, out.lora = o.lora, out.lora_seed = o.lora_seed;
  out.lora.modules_to_save.push_back("score");  // as PEFT does with task_type SEQ_CLS
  return out;
}

/// The rows with all their tokens, and the place of each row's last one and of all its completion's.
struct Placed {
  Packed packed;
  std::vector<int64_t> last;     // [B]
  std::vector<int64_t> decided;  // [M]: tokens under the mask
  std::vector<int64_t> cell;     // [M]: b * T + t
};

Placed lay_out(const Experience& batch) {
  int64_t B = batch.action.size(0), T = batch.action.size(1);
  auto prompts = batch.context.tensor("prompt_ids").contiguous(),
       lengths = batch.context.tensor("prompt_length").contiguous();
  auto action = batch.action.contiguous(), mask = batch.mask.contiguous();
  std::vector<int64_t> ids;
  Placed out;
  for (int64_t b = 0; b < B; ++b) {
    const int64_t *prompt = prompts.const_data_ptr<int64_t>() + b * prompts.size(1),
                  *token = action.const_data_ptr<int64_t>() + b * T;
    const bool* kept = mask.const_data_ptr<bool>() + b * T;
    int64_t P = lengths.const_data_ptr<int64_t>()[b], count = T;
    while (count > 0 && !kept[count - 1]) --count;
    int64_t start = static_cast<int64_t>(ids.size());
    ids.insert(ids.end(), prompt, prompt + P), ids.insert(ids.end(), token, token + count);
    for (int64_t t = 0; t < count; ++t)
      if (kept[t]) out.decided.push_back(start + P + t), out.cell.push_back(b * T + t);
    out.last.push_back(start + P + count - 1);
    out.packed.lengths.push_back(P + count);
  }
  out.packed.ids = at::tensor(ids, at::kLong);
  return out;
}

}  // namespace

void TextScorer::Options::visit(OptionVisitor& v) {
  v.option("path", path, "a Hugging Face directory, of a reward model or of a language model to become one",
           required());
  v.option("adapter", adapter, "a PEFT adapter directory to go on from; its rank and targets replace `lora`");
  v.option("dtype", dtype, "what weights and activations are kept in", one_of({"float32", "bfloat16", "float64"}));
  v.option("step_separator", step_separator, "text that follows each step of an answer, at whose end it is judged");
  v.option("prompt_template", prompt_template,
           "what is read before an answer: a text in which {prompt} and {COLUMN} stand for the row's (POLAR: "
           "'{prompt}{reference}<|reward|>{prompt}'); empty: the prompt");
  v.option("experts", experts,
           "PEFT adapter directories of this reward model, each trained on one point: they are frozen, and the "
           "perceptron that makes a score of their states is trained (DMoERM). Those that `path` holds replace these");
  v.option("gradient_checkpointing", gradient_checkpointing,
           "recompute each layer in the backward pass instead of keeping its activations");
  length_options(v, max_length, too_long);
  lora_options(v, use_lora, lora, lora_seed, "names such as q_proj; empty = all linear layers but the head");
}

TextScorer::TextScorer(Options options) : CausalLm(as_language_model(options), nullptr), options_(std::move(options)) {}
TextScorer::~TextScorer() = default;

void TextScorer::prepare(const Needs& needs, uint64_t seed) {
  if (!needs.score)
    bad_input("objective", "a reward model is trained by one that reads scores: bradley_terry, process_reward");
  bool every_token = needs.data == Needs::Data::steps;
  const DecoderConfig& config = decoder_->config();
  if (config.labels == 0) {
    // A path that is an adapter's has become its base model's.
    decoder_ = with_new_score_head(*decoder_, every_token, std::max<int64_t>(tokenizer().pad_id(), 0),
                                   dtype_of(options_.dtype), seed);
    for (auto& [name, value] : decoder_->weights().named()) value.requires_grad_(true);
  } else if (config.head_bias != every_token) {
    bad_input("policy.path", "'", options_.path, "' (", config.architecture, ") scores ",
              config.head_bias ? "steps" : "whole answers", ", the objective trains on ",
              every_token ? "steps" : "whole answers");
  }
  add_adapters();
  add_experts(seed);
}

CausalLm::TokenRow TextScorer::prompt_row(const Rows& rows, int64_t i) const {
  if (options_.prompt_template.empty()) return CausalLm::prompt_row(rows, i);
  return {tokenizer().encode(TextTemplate(options_.prompt_template).fill([&](const std::string& name) {
            return name == extra::prompt ? rows.string(i, name) : rows.text(i, name);
          })),
          {}};
}

CausalLm::TokenRow TextScorer::uncut_row(const Rows& rows, int64_t i, bool append_eos,
                                         const std::string& column) const {
  if (!options_.prompt_template.empty()) rows.string(i, extra::prompt);  // it puts texts together, not conversations
  if (column != kSteps) return CausalLm::uncut_row(rows, i, append_eos, column);
  TokenRow row = prompt_row(rows, i);
  const auto texts = rows.strings(i, kSteps);
  const auto verdicts = rows.verdicts(i, kVerdicts);
  if (texts.empty() || texts.size() != verdicts.size())
    bad_input(rows.where(i), "`completions` and `labels` must be as many, at least one; got ", texts.size(), " and ",
              verdicts.size());
  for (double verdict : verdicts)
    if (verdict < 0 || verdict > 1) bad_input(rows.where(i), "`labels` must lie in 0 .. 1; got ", verdict);
  for (size_t k = 0; k < texts.size(); ++k) {
    auto ids = tokenizer().encode(texts[k] + options_.step_separator, false);
    if (ids.empty()) bad_input(rows.where(i), "`completions`[", k, "] has no tokens");
    row.completion.insert(row.completion.end(), ids.begin(), ids.end());
    row.learned.resize(row.completion.size());
    row.learned.back() = true;
  }
  return row;
}

/// A step's verdict is at its last token; of an answer that was cut the last steps may be missing.
Experience TextScorer::steps(const Rows& rows) const {
  std::vector<TokenRow> encoded;
  for (int64_t i = 0; i < rows.size(); ++i) encoded.push_back(completion_row(rows, i, false, kSteps));
  Experience out = pack(encoded);
  Tensor label = at::full(out.action.sizes(), std::numeric_limits<float>::quiet_NaN(), at::kFloat);
  for (int64_t b = 0; b < rows.size(); ++b) {
    const auto verdicts = rows.verdicts(b, kVerdicts);
    const std::vector<bool>& ends = encoded[static_cast<size_t>(b)].learned;
    size_t step = 0;
    for (size_t t = 0; t < ends.size(); ++t)
      if (ends[t])
        label.data_ptr<float>()[b * label.size(1) + static_cast<int64_t>(t)] = static_cast<float>(verdicts[step++]);
  }
  out.extra.set(extra::step_label, label);
  const Fields columns = rows.columns();
  for (const auto& [name, column] : columns.texts()) out.context.set_text(name, column);
  out.group = at::arange(rows.size(), at::kLong);
  return out;
}

Experience TextScorer::sample(const Experience&, const SampleRequest&) {
  bad_input("policy", "a reward model scores texts and writes none: a language model is needed here");
}

Tensor TextScorer::ref_logp(const Experience&, const Needs&) {
  bad_input("objective", "a reward model has no log-probabilities");
}

Evaluation TextScorer::evaluate(const Experience& batch, const Needs&) {
  Placed layout = lay_out(batch);
  Decoder::Forward forward{.checkpoint = options_.gradient_checkpointing};
  Evaluation out;
  if (mixture_) {
    out.score = mixture_->scores(layout.packed, at::tensor(layout.last, at::kLong));
    return out;
  }
  if (!decoder_->config().head_bias) {
    out.score = text_scores(*decoder_, layout.packed, at::tensor(layout.last, at::kLong), forward);
    return out;
  }
  Tensor scores = text_scores(*decoder_, layout.packed, at::tensor(layout.decided, at::kLong), forward);
  out.score = at::zeros({batch.action.numel()}, scores.options())
                  .index_copy(0, at::tensor(layout.cell, at::kLong), scores)
                  .view(batch.action.sizes());
  return out;
}

}  // namespace rft
