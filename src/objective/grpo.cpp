#include "rft/objective/grpo.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "objective/surrogate.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"

namespace rft {
namespace {

using namespace objective;

bool by_tokens(const std::string& variant) {
  return variant != "grpo" && variant != "sapo" && variant != "dr_grpo" && variant != "luspo";
}

}  // namespace

void Grpo::Options::visit(OptionVisitor& v) {
  v.option("variant", variant, "published form of the loss",
           one_of({"grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo"}));
  v.option("ratio_level", ratio_level, "importance ratio of each token, or of the whole row (GSPO)",
           one_of({"token", "sequence"}));
  v.option("clip_low", clip_low, "the ratio is clipped at 1 - clip_low", at_least(0));
  v.option("clip_high", clip_high,
           "the ratio is clipped at 1 + clip_high; unset: clip_low; cispo: the cap itself, try 5", at_least(0));
  v.option("clip_delta", clip_delta, "upper bound of the ratio where the advantage is negative (two-sided clipping)",
           above(0));
  v.option("kl_weight", kl_weight, "weight of the KL divergence to the reference policy in the loss", at_least(0));
  v.option("kl_ratio_correction", kl_ratio_correction, "multiply the KL estimate by the importance ratio");
  v.option("entropy_weight", entropy_weight, "weight of the mean entropy, which is maximised");
  v.option("entropy_quantile", entropy_quantile, "learn from this share of the tokens, those of highest entropy",
           between(0, 1));
  v.option("entropy_adaptive", entropy_adaptive,
           "move entropy_weight by entropy_weight_delta a step, towards the target");
  v.option("entropy_weight_min", entropy_weight_min, "least adaptive entropy_weight");
  v.option("entropy_weight_max", entropy_weight_max, "largest adaptive entropy_weight");
  v.option("entropy_weight_delta", entropy_weight_delta, "change of the adaptive entropy_weight a step", at_least(0));
  v.option("entropy_target", entropy_target, "the bonus acts while the mean entropy is at or below this", unit("nats"));
  v.option("off_policy_threshold", off_policy_threshold,
           "drop rows of negative advantage whose mean log(sampler / policy) exceeds this", unit("nats"));
  v.option("max_completion_length", max_completion_length, "dr_grpo's divisor, a constant of the run",
           at_least(1).in("tokens"));
  v.option("mask_truncated_completions", mask_truncated_completions,
           "learn nothing from rows that hit the length limit");
  v.option("sampler_correction", sampler_correction,
           "weigh by the ratio of the trainer's to the sampler's probability, truncated to its limits or 0 beyond them",
           one_of({"none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask"}));
  v.option("sampler_correction_max", sampler_correction_max, "upper limit of that ratio", above(0));
  v.option("sampler_correction_min", sampler_correction_min, "lower limit of that ratio", at_least(0));
  v.option("given_shaping", given_shaping,
           "of answers that the dataset gave: A p / (p + this) in place of the clipped ratio (LUFFY); 0 = not",
           at_least(0));
  v.option("given_nll_weight", given_nll_weight, "weight of the likelihood of answers that the dataset gave",
           at_least(0));
  v.option("thr", thr,
           "token hidden reward: how much more is learned from tokens that make right answers likelier, below 0 from "
           "those that leave room for others",
           between(-1, 1));
  v.option(
      "thr_threshold", thr_threshold,
      "learn nothing from tokens whose hidden reward is below this many times the least mean of the right answers'",
      at_least(0));
  v.option("sapo_tau_pos", sapo_tau_pos, "SAPO's temperature where the advantage is positive", above(0));
  v.option("sapo_tau_neg", sapo_tau_neg, "SAPO's temperature elsewhere", above(0));
  v.option("vespo_k_pos", vespo_k_pos, "VESPO's power of the ratio where the advantage is at least 0");
  v.option("vespo_lambda_pos", vespo_lambda_pos, "VESPO's decay where the advantage is at least 0");
  v.option("vespo_k_neg", vespo_k_neg, "VESPO's power of the ratio where the advantage is negative");
  v.option("vespo_lambda_neg", vespo_lambda_neg, "VESPO's decay where the advantage is negative");
}

Grpo::Grpo(Options options)
    : options_(std::move(options)),
      entropy_weight_(options_.entropy_weight),
      last_entropy_(std::numeric_limits<double>::infinity()) {
  if (options_.variant == "dr_grpo" && !options_.max_completion_length)
    bad_input("objective", "variant dr_grpo needs `max_completion_length` (the run's max_new_tokens); got none");
  if (options_.entropy_weight_min > options_.entropy_weight_max)
    bad_input("objective", "entropy_weight_min must not be above entropy_weight_max; got ", options_.entropy_weight_min,
              " and ", options_.entropy_weight_max);
  auto low = options_.sampler_correction_min, high = options_.sampler_correction_max;
  if (low && high && *low > *high)
    bad_input("objective", "sampler_correction_min must not be above sampler_correction_max; got ", *low, " and ",
              *high);
}

Needs Grpo::needs() const {
  Needs needs;
  needs.reward = needs.advantage = true;
  needs.ref_logp = options_.kl_weight != 0;
  needs.token_influence = weighs_tokens();
  needs.entropy = has_bonus() || options_.entropy_quantile < 1;
  needs.whole_batch = options_.entropy_quantile < 1 ||
                      (options_.mask_truncated_completions && (by_tokens(options_.variant) || has_bonus()));
  return needs;
}

Tensor Grpo::mask_of(const Experience& batch) const {
  if (!options_.mask_truncated_completions) return batch.mask;
  Tensor truncated = required(batch.extra.find(extra::truncated), extra::truncated, "grpo").to(at::kBool);
  return batch.mask.logical_and(truncated.logical_not().unsqueeze(1));
}

Grpo::Statistics Grpo::measure(const Evaluation& now, const Experience& batch) const {
  Tensor mask = mask_of(batch);
  Statistics out;
  out.tokens = out.bonus_tokens = mask.sum(at::kDouble).item<double>();
  if (options_.entropy_quantile < 1) {
    const Tensor& entropy = required(now.entropy, "entropy", "grpo");
    out.threshold = entropy_quantile(entropy, mask, 1 - options_.entropy_quantile).item<double>();
    out.bonus_tokens = entropy.ge(out.threshold).logical_and(mask).sum(at::kDouble).item<double>();
  }
  return out;
}

Grpo::Statistics Grpo::statistics(const Evaluation& now, const Experience& batch) const {
  if (!needs().whole_batch) return {batch.totals.tokens, batch.totals.tokens, 0};
  return observed_ ? *observed_ : measure(now, batch);
}

void Grpo::observe(const Evaluation& now, const Experience& whole) { observed_ = measure(now, whole); }

Loss Grpo::loss(const Evaluation& now, const Experience& batch) const {
  Columns c = read_columns(now, batch, mask_of(batch));
  required(c.advantage, "advantage", "grpo");
  Statistics whole = statistics(now, batch);
  MetricSums metrics;
  Ratios r = ratios(c, options_);
  add_approx_kl(metrics, c, r);
  Tensor tokens = token_loss(c, r, options_, metrics);
  Tensor given = batch.extra.find(extra::given);
  if (given.defined() && options_.given_shaping > 0) {
    Tensor p = c.logp.exp();
    Tensor shaped = p.div(p.add(options_.given_shaping)).mul(c.advantage).neg();
    tokens = at::where(given.unsqueeze(1), shaped, tokens);
  }
  if (weighs_tokens()) tokens = tokens.mul(hidden_reward_weight(c, batch, options_, metrics));
  if (options_.off_policy_threshold) tokens = tokens.mul(on_policy(c, *options_.off_policy_threshold));

  Tensor acting = c.weight;  // the tokens that the policy loss acts on
  if (options_.entropy_quantile < 1) {
    acting = required(c.entropy, "entropy", "grpo").detach().ge(whole.threshold).logical_and(c.mask).to(c.weight);
    tokens = tokens.mul(acting);
    metrics.tokens("entropy_selected", c.entropy, acting);
  }
  if (r.sampler.defined()) {
    if (options_.variant != "vespo") tokens = tokens.mul(r.sampler);
    metrics.tokens("sampling/importance_sampling_ratio/mean", r.sampler.expand_as(c.weight), c.weight);
  }
  if (options_.kl_weight != 0) {
    Tensor kl = k3(c.logp, required(c.ref_logp, "ref_logp", "grpo"));
    if (options_.kl_ratio_correction) kl = kl.mul(r.ratio);
    tokens = tokens.add(kl, options_.kl_weight);
    metrics.tokens("kl", kl, c.weight);
  }

  Loss out(reduce(tokens, c, options_, batch.totals.rows, whole.tokens));
  if (c.entropy.defined()) metrics.tokens("entropy", c.entropy, c.weight);
  if (has_bonus()) {
    auto rows = static_cast<double>(batch.rows());
    // The micro-batches' shares sum to the loss; as a mean over rows they are scaled to do so.
    out.metrics.add("policy_loss", out.terms[0].value.item<double>() * batch.totals.rows / rows, rows);
    out.metrics.add("entropy_coef", entropy_weight_, rows);
    Tensor mean = required(c.entropy, "entropy", "grpo").mul(acting).sum().div(std::max(whole.bonus_tokens, 1.0));
    if (bonus_weight() != 0) out.terms.push_back({"entropy_bonus", mean.mul(-bonus_weight())});
  }
  if (given.defined() && options_.given_nll_weight != 0) {
    Tensor likely = c.logp.mul(given.unsqueeze(1).to(c.logp.scalar_type())).sum();
    out.terms.push_back({"given_nll", likely.mul(-options_.given_nll_weight / std::max(whole.tokens, 1.0))});
  }
  metrics.add_to(out.metrics);
  return out;
}

double Grpo::bonus_weight() const {
  if (options_.entropy_adaptive && !(last_entropy_ <= options_.entropy_target)) return 0;
  return entropy_weight_;
}

void Grpo::stepped(const Metrics& metrics) {
  observed_.reset();
  const char* measured = options_.entropy_quantile < 1 ? "entropy_selected" : "entropy";
  if (!options_.entropy_adaptive || !metrics.has(measured)) return;
  last_entropy_ = metrics.mean(measured);
  entropy_weight_ = last_entropy_ <= options_.entropy_target
                        ? std::min(entropy_weight_ + options_.entropy_weight_delta, options_.entropy_weight_max)
                        : std::max(entropy_weight_ - options_.entropy_weight_delta, options_.entropy_weight_min);
}

State Grpo::state() const {
  if (!options_.entropy_adaptive) return {};
  return {{"entropy_weight", at::scalar_tensor(entropy_weight_, at::kDouble)},
          {"last_entropy", at::scalar_tensor(last_entropy_, at::kDouble)}};
}

void Grpo::load_state(const State& state) {
  if (!options_.entropy_adaptive) return;
  for (auto [name, value] : {std::pair{"entropy_weight", &entropy_weight_}, {"last_entropy", &last_entropy_}}) {
    auto found = state.find(name);
    if (found == state.end()) bad_input("objective state", "`", name, "` is needed for entropy_adaptive; got none");
    *value = found->second.item<double>();
  }
}

}  // namespace rft
