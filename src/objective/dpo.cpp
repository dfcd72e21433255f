#include "rft/objective/dpo.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "objective/dpo_pairs.h"
#include "objective/pair_columns.h"
#include "objective/pair_margin.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/core/text.h"

namespace rft {
namespace {

using namespace objective;

const std::vector<std::string> kVariants = {
    "sigmoid", "hinge",        "ipo",      "exo_pair", "nca_pair", "robust", "bco_pair",     "sppo_hard",
    "aot",     "aot_unpaired", "apo_zero", "apo_down", "discopop", "sft",    "sigmoid_norm", "soft_label"};
/// Those that are functions of the f-divergence's score, or of no ratio at all.
const std::vector<std::string> kOfScores = {"sigmoid", "sigmoid_norm", "hinge", "ipo",       "exo_pair",
                                            "robust",  "discopop",     "sft",   "soft_label"};

bool among(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

void Dpo::Options::visit(OptionVisitor& v) {
  v.option("variant", variant, "published form of the loss; several are added up", one_of(kVariants));
  v.option("loss_weights", loss_weights, "weight of each variant; empty: 1");
  v.option("beta", beta, "how closely the policy is held to the reference", above(0));
  v.option("label_smoothing", label_smoothing,
           "share of the pairs that are the wrong way round: robust, exo_pair, aot, aot_unpaired", between(0, 1));
  v.option("f_divergence", f_divergence, "divergence to the reference whose score is compared",
           one_of({"reverse_kl", "forward_kl", "js_divergence", "alpha_divergence"}));
  v.option("f_alpha", f_alpha, "alpha of alpha_divergence");
  v.option("discopop_tau", discopop_tau, "temperature of discopop's blend", above(0));
  v.option("reward_scale", reward_scale, "soft_label: the difference of rewards that is sure to 73 %", above(0));
  v.option("ld_alpha", ld_alpha, "weight of the tokens beyond the shorter answer's length (LD-DPO)", between(0, 1));
  v.option("weighting", weighting, "count a pair by how likely the policy is to give its two answers (WPO)");
  v.option("exploration_weight", exploration_weight,
           "weight of the likelihood, which is lowered, of answers that the policy did not make itself (XPO)",
           at_least(0));
}

Dpo::Dpo(Options options) : options_(std::move(options)) {
  const auto& o = options_;
  if (o.variant.empty()) bad_input("objective", "`variant` must name at least one of ", join(kVariants, ", "));
  if (!o.loss_weights.empty() && o.loss_weights.size() != o.variant.size())
    bad_input("objective", "`loss_weights` must have a number for each of the ", o.variant.size(), " variants; got ",
              o.loss_weights.size());
  for (const auto& variant : o.variant) {
    if (o.f_divergence != "reverse_kl" && !among(kOfScores, variant))
      bad_input("objective", "variant ", variant, " is defined for f_divergence reverse_kl alone; got ", o.f_divergence,
                ", which goes with ", join(kOfScores, ", "));
    if (variant == "robust" && o.label_smoothing >= 0.5)
      bad_input("objective", "variant robust needs label_smoothing in [0, 0.5); got ", o.label_smoothing);
    if (o.weighting && beyond_pairs(variant))
      bad_input("objective", "weighting is of single pairs, and variant ", variant, " compares all of them");
    if (variant == "exo_pair" && (o.label_smoothing == 0 || o.label_smoothing == 1))
      bad_input("objective", "variant exo_pair needs label_smoothing in (0, 1), e.g. 0.001; got ", o.label_smoothing);
  }
}

Needs Dpo::needs() const {
  Needs needs;
  needs.data = Needs::Data::pairs;
  needs.ref_logp = true;
  needs.reward = among(options_.variant, "soft_label");
  needs.whole_batch = std::any_of(options_.variant.begin(), options_.variant.end(), beyond_pairs);
  return needs;
}

void Dpo::observe(const Evaluation& now, const Experience& whole) {
  observed_ = whole_of(read_pairs(read_columns(now, whole, whole.mask), options_));
}
void Dpo::stepped(const Metrics&) { observed_.reset(); }

Loss Dpo::loss(const Evaluation& now, const Experience& batch) const {
  Columns c = read_columns(now, batch, batch.mask);
  Pairs p = read_pairs(c, options_);
  if (among(options_.variant, "soft_label")) p.margin = pair_margin(batch, p.chosen, "dpo");
  std::optional<Whole> whole = observed_;
  if (needs().whole_batch && !whole) {
    if (batch.totals.rows != static_cast<double>(batch.rows()))
      run_failed("dpo", "variants ", join(options_.variant, ", "), " compare all pairs of the batch, and ",
                 batch.rows(), " of ", batch.totals.rows, " rows came without observe()");
    whole = whole_of(p);
  }
  double pairs = std::max(batch.totals.rows / 2, 1.0);
  Tensor each_weight = at::ones({}, c.logp.options().requires_grad(false));
  if (options_.weighting) {
    PairOf mean = pair_means(c.logp.detach(), c.weight, "dpo");
    each_weight = mean.chosen.add(mean.rejected).exp();
  }
  Tensor sum = at::zeros({}, c.logp.options());
  for (size_t k = 0; k < options_.variant.size(); ++k) {
    const std::string& variant = options_.variant[k];
    double weight = options_.loss_weights.empty() ? 1.0 : options_.loss_weights[k];
    if (variant == "sft")
      sum = sum.add(chosen_nll(c, batch.totals.chosen), weight);
    else if (beyond_pairs(variant))
      sum = sum.add(sorted_loss(variant, p, *whole, options_).div(pairs), weight);
    else
      sum = sum.add(pair_loss(variant, p, options_).mul(each_weight).sum().div(pairs), weight);
  }
  Loss out(sum);
  MetricSums metrics;
  if (options_.weighting) metrics.tokens("pair_weight", each_weight, at::ones_like(each_weight));
  if (options_.exploration_weight != 0) {
    Tensor likely =
        c.logp.sum(1).mul(required(batch.extra.find(extra::given), extra::given, "dpo").to(c.logp.scalar_type()));
    out.terms.push_back({"exploration", likely.sum().mul(options_.exploration_weight / pairs)});
  }
  add_pair_metrics(metrics, {p.chosen_ratio.mul(options_.beta), p.rejected_ratio.mul(options_.beta)},
                   {p.chosen, p.rejected}, c);
  metrics.add_to(out.metrics);
  return out;
}

}  // namespace rft
