#include "rft/reward/text_reward.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "reward/text_likelihood.h"
#include "rft/core/batches.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/io/adapter_files.h"
#include "rft/io/files.h"
#include "rft/io/safetensors.h"
#include "rft/nn/expert_mixture.h"
#include "rft/nn/text_scores.h"

namespace rft {
namespace {

/// The text in parts that end with `separator`, and what follows the last one.
std::vector<std::string> parts_of(const std::string& text, const std::string& separator) {
  std::vector<std::string> out;
  size_t begin = 0;
  for (size_t at; !separator.empty() && (at = text.find(separator, begin)) != std::string::npos;
       begin = at + separator.size())
    out.push_back(text.substr(begin, at + separator.size() - begin));
  if (begin < text.size()) out.push_back(text.substr(begin));
  return out;
}

std::unique_ptr<ExpertMixture> mixture_in(const std::string& path, const Decoder& base) {
  std::vector<ExpertMixture::Expert> experts;
  for (const std::string& directory : adapters_within(path, kExpert)) {
    const std::string config = directory + kAdapterConfig, tensors = directory + kAdapterTensors;
    experts.push_back({lora_config(read_text(config), config), load_safetensors(tensors).tensors, tensors});
  }
  auto out = std::make_unique<ExpertMixture>(base, experts, 0);
  out->load(load_safetensors(path + kExpertMixture).tensors, path + kExpertMixture);
  return out;
}

}  // namespace

void TextReward::Options::visit(OptionVisitor& v) {
  v.option("path", path, "the reward model's directory", required());
  v.option("dtype", dtype, "what weights and activations are kept in", one_of({"float32", "bfloat16"}));
  v.option("step_separator", step_separator, "a model of steps: what ends a step of the completion");
  v.option("prompt_template", prompt_template,
           "what the model reads before the completion, as it was trained (policy.prompt_template): a text in which "
           "{prompt} and {COLUMN} of the dataset stand for theirs; empty: the prompt");
  v.option("aggregate", aggregate,
           "a model of steps: what the steps' probabilities come to; steps, progress: a "
           "reward at the end of each, its probability, or by how much that rose",
           one_of({"min", "mean", "product", "last", "steps", "progress"}));
  v.option("tokens", tokens, "tokens that are scored together at most", at_least(1).in("tokens"));
}

TextReward::TextReward(Options options)
    : options_(std::move(options)),
      template_(options_.prompt_template),
      tokenizer_(Tokenizer::load(options_.path)),
      eos_ids_(end_ids(options_.path, tokenizer_)),
      model_(load_frozen(options_.path, options_.dtype, /*scores=*/true)) {
  if (each_step() && !model_->config().head_bias)
    bad_input("reward.aggregate", options_.aggregate, " is for models of steps; '", options_.path,
              "' judges whole texts");
  if (template_.has(extra::completion))
    bad_input("reward.prompt_template", "is read before the completion; it can't have {completion}");
  if (file_exists(options_.path + kExpertMixture)) mixture_ = mixture_in(options_.path, *model_);
}
TextReward::~TextReward() = default;

std::vector<std::string> TextReward::columns() const {
  std::vector<std::string> out = template_.names();
  std::erase(out, extra::prompt);
  return out;
}

std::vector<std::string> TextReward::prompts_of(const Experience& batch) const {
  const auto& prompts = batch.context.text(extra::prompt);
  if (options_.prompt_template.empty()) return prompts;
  std::vector<std::string> out;
  for (size_t i = 0; i < prompts.size(); ++i)
    out.push_back(template_.fill([&](const std::string& name) { return batch.context.text(name).at(i); }));
  return out;
}

TextReward::Text TextReward::encode(const std::string& prompt, const std::string& completion, bool finished) const {
  Text out;
  out.ids = tokenizer_.encode(prompt);
  auto add = [&](const std::vector<int64_t>& ids) { out.ids.insert(out.ids.end(), ids.begin(), ids.end()); };
  if (model_->config().head_bias) {
    for (const auto& step : parts_of(completion, options_.step_separator)) {
      add(tokenizer_.encode(step, false));
      out.ends.push_back(static_cast<int64_t>(out.ids.size()) - 1);
    }
  } else {
    add(tokenizer_.encode(completion, false));
    if (finished) end_text(out.ids, eos_ids_);
    out.ends.push_back(static_cast<int64_t>(out.ids.size()) - 1);
  }
  return out;
}

double TextReward::aggregated(const std::vector<double>& steps) const {
  if (steps.empty()) return std::nan("");
  double sum = 0, product = 1, least = steps[0];
  for (double p : steps) sum += p, product *= p, least = std::min(least, p);
  if (options_.aggregate == "mean") return sum / static_cast<double>(steps.size());
  if (options_.aggregate == "product") return product;
  return options_.aggregate == "last" ? steps.back() : least;
}

std::vector<int64_t> TextReward::step_columns(const Experience& batch, int64_t row, std::string& error) const {
  const std::string& completion = batch.context.text(extra::completion)[static_cast<size_t>(row)];
  if (!batch.action.defined() || batch.action.dim() != 2 || !batch.mask.defined()) {
    error = cat("aggregate ", options_.aggregate, " needs the tokens of a rollout, not texts alone");
    return {};
  }
  Tensor ids = batch.action[row].to(at::kLong).cpu().contiguous(), decided = batch.mask[row].cpu().contiguous();
  std::vector<int64_t> out;
  std::string text;
  std::vector<std::string> steps = parts_of(completion, options_.step_separator);
  size_t end = steps.empty() ? 0 : steps[0].size();
  for (int64_t t = 0; t < ids.numel(); ++t) {
    int64_t id = ids.const_data_ptr<int64_t>()[t];
    if (!decided.const_data_ptr<bool>()[t]) continue;
    if (id < 0 || id >= tokenizer_.size()) break;
    if (!tokenizer_.is_special(id)) text += tokenizer_.bytes(id);
    for (; out.size() < steps.size() && text.size() >= end;
         end += out.size() < steps.size() ? steps[out.size()].size() : 0)
      out.push_back(t);
  }
  if (text != completion || out.size() != steps.size())
    error = cat("aggregate ", options_.aggregate,
                " rewards decisions: the completion's tokens must be those of the reward model's tokenizer");
  return out;
}

void TextReward::score_together(const std::vector<Text>& texts, const std::vector<size_t>& part, Tensor& into) const {
  Packed packed;
  std::vector<int64_t> ids, index;
  for (size_t i : part) {
    const Text& text = texts[i];
    for (int64_t end : text.ends) index.push_back(static_cast<int64_t>(ids.size()) + end);
    ids.insert(ids.end(), text.ids.begin(), text.ids.end());
    packed.lengths.push_back(static_cast<int64_t>(text.ids.size()));
  }
  packed.ids = at::tensor(ids, at::kLong);
  const Tensor places = at::tensor(index, at::kLong);
  Tensor scores =
      (mixture_ ? mixture_->scores(packed, places) : text_scores(*model_, packed, places)).to(at::kDouble).contiguous();
  const double* at = scores.const_data_ptr<double>();
  for (size_t i : part) {
    const Text& text = texts[i];
    std::vector<double> steps;
    for (size_t k = 0; k < text.ends.size(); ++k) steps.push_back(*at++);
    double value = steps[0];
    if (model_->config().head_bias) {
      for (double& x : steps) x = 1 / (1 + std::exp(-x));
      value = aggregated(steps);
    }
    if (!each_step()) {
      into[text.row].fill_(value);
      continue;
    }
    into[text.row].fill_(0);
    for (size_t k = 0; k < steps.size(); ++k)
      into[text.row][text.columns[k]].add_(k > 0 && options_.aggregate == "progress" ? steps[k] - steps[k - 1]
                                                                                     : steps[k]);
  }
}

Rewards TextReward::score(const Experience& batch) {
  at::NoGradGuard no_grad;
  int64_t rows = batch.rows();
  Rewards out;
  std::vector<int64_t> shape{rows};
  if (each_step() && batch.mask.defined()) shape.push_back(batch.mask.size(1));
  out.value = at::full(shape, std::numeric_limits<float>::quiet_NaN(), at::kFloat);
  out.errors.assign(static_cast<size_t>(rows), "");
  const std::vector<std::string> prompts = prompts_of(batch);
  const auto& completions = batch.context.text(extra::completion);
  Tensor truncated = batch.extra.find(extra::truncated);
  std::vector<Text> texts;
  for (int64_t i = 0; i < rows; ++i) {
    auto n = static_cast<size_t>(i);
    bool finished = !truncated.defined() || !truncated[i].item<bool>();
    Text text = encode(prompts[n], completions[n], finished);
    text.row = i;
    if (each_step()) text.columns = step_columns(batch, i, out.errors[n]);
    if (!out.errors[n].empty()) continue;
    auto size = static_cast<int64_t>(text.ids.size());
    if (size == 0 || text.ends.empty())
      out.errors[n] = "there is nothing to score: the text has no tokens";
    else if (size > model_->config().max_positions)
      out.errors[n] =
          cat("the text has ", size, " tokens; the reward model takes at most ", model_->config().max_positions);
    else
      texts.push_back(std::move(text));
  }
  std::vector<int64_t> sizes;
  for (const Text& text : texts) sizes.push_back(static_cast<int64_t>(text.ids.size()));
  for (const auto& part : batches_of_like_length(sizes, options_.tokens)) score_together(texts, part, out.value);
  out.components = {{"reward_model", out.value.dim() == 2 ? out.value.sum(1) : out.value, 1.0}};
  return out;
}

}  // namespace rft
