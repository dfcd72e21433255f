#include "rft/objective/kto.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "objective/columns.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"

namespace rft {
namespace {

using namespace objective;

Tensor extra_of(const Evaluation& now, const Experience& batch, const char* name) {
  Tensor x = now.extra.find(name);
  return x.defined() ? x : required(batch.extra.find(name), name, "kto");
}

/// [B, 1] in `like`'s type: 1 for a good answer, 0 for a bad one.
Tensor good_rows(const Experience& batch, const Tensor& like) {
  return required(batch.extra.find(extra::label), extra::label, "kto").ne(0).to(like.scalar_type()).unsqueeze(1);
}

}  // namespace

void Kto::Options::visit(OptionVisitor& v) {
  v.option("variant", variant, "published form of the loss", one_of({"kto", "apo_zero_unpaired", "bco"}));
  v.option("reference_point", reference_point,
           "what a good answer must beat: the batch's KL divergence to the reference on mismatched answers, or zero",
           one_of({"batch", "zero"}));
  v.option("beta", beta, "how closely the policy is held to the reference", above(0));
  v.option("desirable_weight", desirable_weight, "weight of the good answers", at_least(0));
  v.option("undesirable_weight", undesirable_weight, "weight of the bad answers", at_least(0));
}

Needs Kto::needs() const {
  Needs needs;
  needs.data = Needs::Data::unpaired;
  needs.ref_logp = true;
  needs.mismatched = compares();
  needs.whole_batch = shifts();
  return needs;
}

Kto::Whole Kto::measure(const Evaluation& now, const Experience& batch) const {
  Whole whole;
  whole.good = good_rows(batch, at::zeros({}, at::kFloat)).sum(at::kDouble).item<double>();
  whole.bad = static_cast<double>(batch.rows()) - whole.good;
  if (shifts()) {
    Columns c = read_columns(now, batch, batch.mask);
    Tensor ratio = c.logp.sub(required(c.ref_logp, "ref_logp", "kto")).detach();
    double rows = whole.good + whole.bad, sum = options_.beta * ratio.sum(at::kDouble).item<double>();
    whole.delta = (mean_ * seen_ + sum) / std::max(seen_ + rows, 1.0);
  }
  if (!compares()) return whole;
  Tensor mask = extra_of(now, batch, extra::kl_mask).ne(0);
  Tensor difference = extra_of(now, batch, extra::kl_logp).detach().sub(extra_of(now, batch, extra::kl_ref_logp));
  whole.kl = std::max(zero_where_masked(difference, mask).sum(1).mean().item<double>(), 0.0);
  return whole;
}

void Kto::observe(const Evaluation& now, const Experience& whole) { observed_ = measure(now, whole); }

void Kto::stepped(const Metrics&) {
  if (observed_ && shifts()) mean_ = observed_->delta, seen_ += observed_->good + observed_->bad;
  observed_.reset();
}

State Kto::state() const {
  if (!shifts()) return {};
  return {{"delta", at::scalar_tensor(mean_, at::kDouble)}, {"rows", at::scalar_tensor(seen_, at::kDouble)}};
}

void Kto::load_state(const State& state) {
  for (auto [name, value] : {std::pair{"delta", &mean_}, {"rows", &seen_}})
    if (auto found = state.find(name); shifts() && found != state.end()) *value = found->second.item<double>();
}

Loss Kto::loss(const Evaluation& now, const Experience& batch) const {
  Columns c = read_columns(now, batch, batch.mask);
  Tensor good = good_rows(batch, c.logp), bad = good.neg().add(1);
  Tensor logp = c.logp.sum(1, /*keepdim=*/true);
  Tensor ratio = logp.sub(required(c.ref_logp, "ref_logp", "kto").sum(1, /*keepdim=*/true));
  auto rows = static_cast<double>(batch.rows());
  std::optional<Whole> whole = observed_;
  if (!whole && batch.totals.rows == rows) whole = measure(now, batch);
  if (!whole && (compares() || shifts()))
    run_failed("kto", shifts() ? "bco's shift" : "reference_point batch", " is that of all rows, and ", rows, " of ",
               batch.totals.rows, " came without observe()");
  double kl = whole ? whole->kl : 0, delta = whole ? whole->delta : 0;

  Tensor z = ratio.sub(kl).mul(options_.beta).sub(delta);
  Tensor of_good = shifts() ? at::log_sigmoid(z).neg() : z.sigmoid().neg().add(1);
  Tensor of_bad = shifts() ? at::log_sigmoid(z.neg()).neg() : z.sigmoid();  // 1 - s(-z) = s(z)
  Tensor each = good.mul(of_good).mul(options_.desirable_weight).add(bad.mul(of_bad), options_.undesirable_weight);
  Loss out(each.sum().div(std::max(batch.totals.rows, 1.0)));

  MetricSums metrics;
  Tensor reward = ratio.detach().mul(options_.beta);
  metrics.tokens("rewards/chosen", reward, good);
  metrics.tokens("rewards/rejected", reward, bad);
  metrics.tokens("logps/chosen", logp, good);
  metrics.tokens("logps/rejected", logp, bad);
  if (c.entropy.defined()) metrics.tokens("entropy", c.entropy, c.weight);
  if (whole && whole->good > 0 && whole->bad > 0) {
    // A mean over all rows that comes to mean(good) - mean(bad), so that micro-batches add up to it.
    double all = whole->good + whole->bad;
    Tensor sign = good.mul(all / whole->good).sub(bad, all / whole->bad);
    metrics.tokens("rewards/margins", reward.mul(sign), at::ones_like(good));
  }
  metrics.add_to(out.metrics);
  out.metrics.add(shifts() ? "delta" : "kl", shifts() ? delta : kl, rows);
  return out;
}

}  // namespace rft
