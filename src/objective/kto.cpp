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
  v.option("variant", variant, "published form of the loss", one_of({"kto", "apo_zero_unpaired"}));
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
  return needs;
}

Kto::Whole Kto::measure(const Evaluation& now, const Experience& batch) const {
  Whole whole;
  whole.good = good_rows(batch, at::zeros({}, at::kFloat)).sum(at::kDouble).item<double>();
  whole.bad = static_cast<double>(batch.rows()) - whole.good;
  if (!compares()) return whole;
  Tensor mask = extra_of(now, batch, extra::kl_mask).ne(0);
  Tensor difference = extra_of(now, batch, extra::kl_logp).detach().sub(extra_of(now, batch, extra::kl_ref_logp));
  whole.kl = std::max(zero_where_masked(difference, mask).sum(1).mean().item<double>(), 0.0);
  return whole;
}

void Kto::observe(const Evaluation& now, const Experience& whole) { observed_ = measure(now, whole); }
void Kto::stepped(const Metrics&) { observed_.reset(); }

Loss Kto::loss(const Evaluation& now, const Experience& batch) const {
  Columns c = read_columns(now, batch, batch.mask);
  Tensor good = good_rows(batch, c.logp), bad = good.neg().add(1);
  Tensor logp = c.logp.sum(1, /*keepdim=*/true);
  Tensor ratio = logp.sub(required(c.ref_logp, "ref_logp", "kto").sum(1, /*keepdim=*/true));
  auto rows = static_cast<double>(batch.rows());
  std::optional<Whole> whole = observed_;
  if (!whole && batch.totals.rows == rows) whole = measure(now, batch);
  if (!whole && compares())
    run_failed("kto", "reference_point batch is that of all rows, and ", rows, " of ", batch.totals.rows,
               " came without observe()");
  double kl = whole ? whole->kl : 0;

  Tensor z = ratio.sub(kl).mul(options_.beta);
  Tensor each = good.mul(z.sigmoid().neg().add(1)).mul(options_.desirable_weight);
  each = each.add(bad.mul(z.sigmoid()), options_.undesirable_weight);  // 1 - s(-z) = s(z)
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
  out.metrics.add("kl", kl, rows);
  return out;
}

}  // namespace rft
