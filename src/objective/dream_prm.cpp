#include "rft/objective/dream_prm.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "objective/columns.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/core/text.h"

namespace rft {
namespace {

using namespace objective;

/// Scores and labels of steps, 0 where there is none.
struct JudgedSteps {
  Tensor score, label, weight;  ///< [B, T]

  JudgedSteps(const Evaluation& now, const Experience& batch) {
    score = zero_where_masked(required(now.score, "score", "dream_prm"), batch.mask);
    const Tensor given = batch.extra.find(extra::step_label);
    label = zero_where_masked(required(given, extra::step_label, "dream_prm").to(score.scalar_type()), batch.mask);
    weight = batch.mask.to(score.scalar_type());
  }
  /// [B]: the sum over a row's steps of (s(x) - y)^2.
  Tensor squares() const { return score.sigmoid().sub(label).square().mul(weight).sum(1); }
};

}  // namespace

void DreamPrm::Options::visit(OptionVisitor& v) {
  v.option("domain", domain, "the column that says which domain a row is of");
  v.option("domains", domains, "the domains' names, at least two; needed");
  v.option("meta_rate", meta_rate, "how far weights move by the gradient on data.meta's rows", at_least(0));
  v.option("meta_every", meta_every, "steps between two such moves", at_least(1).in("steps"));
}

DreamPrm::DreamPrm(Options options) : options_(std::move(options)), weights_(options_.domains.size(), 1.0) {
  std::set<std::string> different(options_.domains.begin(), options_.domains.end());
  if (different.size() == 1 || different.size() != options_.domains.size())
    bad_input("objective.domains", "must be two different names at least; got ", join(options_.domains, ", "));
}

Needs DreamPrm::needs() const {
  Needs needs;
  needs.data = Needs::Data::steps;
  needs.score = true;
  return needs;
}

Tensor DreamPrm::domains_of(const Experience& batch) const {
  std::vector<int64_t> out;
  if (!batch.context.has_text(options_.domain))
    bad_input("data", "rows need the column `", options_.domain, "`, which says which domain each is of");
  for (const std::string& name : batch.context.text(options_.domain)) {
    auto found = std::find(options_.domains.begin(), options_.domains.end(), name);
    if (found == options_.domains.end())
      bad_input("data", "a row's `", options_.domain, "` is '", name, "'; objective.domains has ",
                join(options_.domains, ", "));
    out.push_back(found - options_.domains.begin());
  }
  return at::tensor(out, at::kLong);
}

Loss DreamPrm::loss(const Evaluation& now, const Experience& batch) const {
  JudgedSteps steps(now, batch);
  Tensor weight = at::tensor(weights_, steps.score.options().requires_grad(false)).index_select(0, domains_of(batch));
  Loss out(steps.squares().mul(weight).sum().div(std::max(batch.totals.tokens, 1.0)));
  MetricSums metrics;
  Tensor x = steps.score.detach();
  metrics.tokens("accuracy", x.ge(0).eq(steps.label.ge(0.5)).to(x.scalar_type()), steps.weight);
  metrics.tokens("mean_reward", x.sigmoid(), steps.weight);
  metrics.add_to(out.metrics);
  for (size_t k = 0; k < weights_.size(); ++k)
    out.metrics.add("weight/" + options_.domains[k], weights_[k], static_cast<double>(batch.rows()));
  return out;
}

Loss DreamPrm::derivative(int64_t k, const Evaluation& now, const Experience& batch) const {
  Tensor squares = JudgedSteps(now, batch).squares();
  return Loss(squares.mul(domains_of(batch).eq(k)).sum().div(std::max(batch.totals.tokens, 1.0)));
}

Loss DreamPrm::outer_loss(const Evaluation& now, const Experience& second) const {
  JudgedSteps steps(now, second);
  Tensor places = at::arange(second.mask.size(1)).add(1).unsqueeze(0).mul(second.mask);  // 0 where there is no step
  Tensor last = places.argmax(1, /*keepdim=*/true);
  Tensor outcome = steps.label.gather(1, last).squeeze(1);
  Tensor mean = row_mean(steps.score, steps.weight).squeeze(1);
  Tensor error = mean.sigmoid().sub(outcome).square().mul(second.mask.any(1));
  return Loss(error.sum().div(std::max(second.totals.rows, 1.0)));
}

void DreamPrm::learn_outer(const std::vector<double>& slopes) {
  double sum = 0;
  for (size_t k = 0; k < weights_.size(); ++k) {
    weights_[k] = std::max(weights_[k] + options_.meta_rate * slopes.at(k), 0.0);
    sum += weights_[k];
  }
  auto count = static_cast<double>(weights_.size());
  for (double& weight : weights_) weight = sum > 0 ? weight * count / sum : 1.0;
}

State DreamPrm::state() const { return {{"weights", at::tensor(weights_, at::kDouble)}}; }

void DreamPrm::load_state(const State& state) {
  auto found = state.find("weights");
  if (found == state.end() || found->second.numel() != outer_weights())
    bad_input("objective state", "`weights` of ", outer_weights(), " domains are needed for dream_prm");
  for (size_t k = 0; k < weights_.size(); ++k) weights_[k] = found->second[static_cast<int64_t>(k)].item<double>();
}

}  // namespace rft
