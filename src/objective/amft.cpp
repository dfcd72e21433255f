#include "rft/objective/amft.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "objective/columns.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"

namespace rft {
namespace {

using namespace objective;

/// -(1 / N_given) sum m logp over the rows that the dataset gave.
Tensor imitation_nll(const Evaluation& now, const Experience& batch, Metrics& metrics) {
  Tensor given = required(batch.extra.find(extra::given), extra::given, "amft");
  Columns c = read_columns(now, batch, batch.mask.logical_and(given.to(at::kBool).unsqueeze(1)));
  MetricSums sums;
  sums.tokens("imitation_nll", c.logp.neg(), c.weight);
  sums.add_to(metrics);
  return c.logp.sum().div(-std::max(batch.totals.given, 1.0));
}

}  // namespace

void Amft::Options::visit(OptionVisitor& v) {
  rl.visit(v);
  v.option("imitation", imitation, "mu, the weight of the given answers' likelihood, at first", between(0, 1));
  v.option("imitation_min", imitation_min, "least mu", between(0, 1));
  v.option("imitation_max", imitation_max, "largest mu", between(0, 1));
  v.option("meta_rate", meta_rate, "how far mu moves by the gradient on data.meta's rows", at_least(0));
  v.option("meta_every", meta_every, "steps between two such moves", at_least(1).in("steps"));
  v.option("entropy_rate", entropy_rate, "mu rises by this a step for each nat of entropy that is missing",
           at_least(0));
  v.option("entropy_aim", entropy_aim, "entropy below which it is missing; unset: the first step's", unit("nats"));
}

Amft::Amft(Options options)
    : options_(std::move(options)),
      rl_(options_.rl),
      imitation_(options_.imitation),
      entropy_aim_(options_.entropy_aim) {
  const auto& o = options_;
  if (o.rl.given_nll_weight != 0)
    bad_input("objective.given_nll_weight", "amft weighs the given answers' likelihood itself, by `imitation`");
  if (o.imitation_min > o.imitation || o.imitation > o.imitation_max)
    bad_input("objective.imitation", "must lie between imitation_min ", o.imitation_min, " and imitation_max ",
              o.imitation_max, "; got ", o.imitation);
}

Needs Amft::needs() const {
  Needs needs = rl_.needs();
  needs.entropy |= options_.entropy_rate != 0;
  return needs;
}

Loss Amft::loss(const Evaluation& now, const Experience& batch) const {
  Loss out = rl_.loss(now, batch);
  for (auto& term : out.terms) term.value = term.value.mul(1 - imitation_);
  out.terms.push_back({"imitation", imitation_nll(now, batch, out.metrics).mul(imitation_)});
  auto rows = static_cast<double>(batch.rows());
  out.metrics.add("amft/imitation", imitation_, rows), out.metrics.add("amft/slope", slope_, rows);
  return out;
}

Loss Amft::derivative(int64_t, const Evaluation& now, const Experience& batch) const {
  Metrics unused;
  return Loss(imitation_nll(now, batch, unused).sub(rl_.loss(now, batch).total()));
}

void Amft::learn_outer(const std::vector<double>& slopes) {
  slope_ = slopes.at(0);
  move(options_.meta_rate * slope_);
}

void Amft::move(double by) { imitation_ = std::clamp(imitation_ + by, options_.imitation_min, options_.imitation_max); }

void Amft::stepped(const Metrics& metrics) {
  rl_.stepped(metrics);
  if (options_.entropy_rate == 0 || !metrics.has("entropy")) return;
  if (!entropy_aim_) entropy_aim_ = metrics.mean("entropy");
  move(options_.entropy_rate * (*entropy_aim_ - metrics.mean("entropy")));
}

State Amft::state() const {
  State out = rl_.state();
  out["imitation"] = at::scalar_tensor(imitation_, at::kDouble), out["slope"] = at::scalar_tensor(slope_, at::kDouble);
  if (entropy_aim_) out["entropy_aim"] = at::scalar_tensor(*entropy_aim_, at::kDouble);
  return out;
}

void Amft::load_state(const State& state) {
  rl_.load_state(state);
  auto found = state.find("imitation");
  if (found == state.end()) bad_input("objective state", "`imitation` is needed for amft; got none");
  imitation_ = found->second.item<double>();
  if (auto slope = state.find("slope"); slope != state.end()) slope_ = slope->second.item<double>();
  if (auto aim = state.find("entropy_aim"); aim != state.end()) entropy_aim_ = aim->second.item<double>();
}

}  // namespace rft
