#include "rft/env/outcome_conditioned.h"

#include <algorithm>
#include <utility>

#include "env/draws.h"
#include "rft/core/error.h"
#include "rft/core/rng.h"

namespace rft {
namespace {

/// The inner environment, looked at from each of its sides.
struct Sides {
  std::unique_ptr<Environment> environment;
  const Makes* makes;
  const Reversible* reversible;
};

Sides sides_of(std::unique_ptr<Environment> inner) {
  const EnvironmentSpec& spec = inner->spec();
  Sides out{nullptr, dynamic_cast<const Makes*>(inner.get()), dynamic_cast<const Reversible*>(inner.get())};
  if (!out.makes || !out.reversible || spec.agents != 1)
    bad_input("outcome_conditioned", "must be around an environment of one agent that makes objects step by step, as ",
              "hypergrid is; got '", spec.name, "'");
  out.environment = std::move(inner);
  return out;
}

class AskingWorld : public Environment, public Reversible, public Conditioned {
 public:
  AskingWorld(std::unique_ptr<Environment> inner, const OutcomeConditioned::Options& options)
      : inner_(sides_of(std::move(inner))), options_(options), spec_(inner_.environment->spec()) {
    auto size = static_cast<size_t>(inner_.makes->name_size());
    wanted_.resize(size), made_.resize(size), seen_.resize(static_cast<size_t>(spec_.observation));
    first_ = spec_.observation - (spec_.action.masked ? spec_.action.choices : 0);
    spec_.observation += inner_.makes->name_size();
  }
  const EnvironmentSpec& spec() const override { return spec_; }

  void reset(uint64_t seed, std::span<double> observation) override {
    inner_.environment->reset(seed, seen_);
    asked_ = Draws(mix(seed, 1)).uniform(0, 1) < options_.asked;
    if (asked_)
      inner_.makes->name_any(mix(seed, 2), wanted_);
    else
      std::fill(wanted_.begin(), wanted_.end(), 0.0);
    tell(observation);
  }

  bool step(std::span<const double> action, std::span<double> observation, std::span<double> reward) override {
    bool ended = inner_.environment->step(action, seen_, reward);
    own_ = options_.own_reward ? reward[0] : ended ? 1 : 0;
    inner_.makes->name_made(made_);
    reward[0] = asked_ && ended && made_ != wanted_ ? 0 : own_;
    tell(observation);
    return ended;
  }

  double backward_logp() const override { return inner_.reversible->backward_logp(); }

  std::optional<Hindsight> hindsight() const override {
    if (!asked_) return std::nullopt;
    return Hindsight{first_, made_, own_};
  }

  std::vector<double> state() const override {
    std::vector<double> out = wanted_, inner = inner_.environment->state();
    out.insert(out.end(), inner.begin(), inner.end());
    return out;
  }
  void set_state(const std::vector<double>& state) override {
    if (state.size() < wanted_.size())
      bad_input("outcome_conditioned", "a state begins with the ", wanted_.size(),
                " numbers of what is asked for; got ", state.size());
    auto inner = state.begin() + static_cast<std::ptrdiff_t>(wanted_.size());
    inner_.environment->set_state({inner, state.end()});
    wanted_.assign(state.begin(), inner);
    asked_ = std::any_of(wanted_.begin(), wanted_.end(), [](double x) { return x != 0; });
  }

  const Environment& unwrapped() const override { return inner_.environment->unwrapped(); }

 private:
  /// What the inner environment shows, and what is asked for before the choices that it allows.
  void tell(std::span<double> out) const {
    auto choices = seen_.begin() + static_cast<std::ptrdiff_t>(first_);
    auto to = std::copy(seen_.begin(), choices, out.begin());
    to = std::copy(wanted_.begin(), wanted_.end(), to);
    std::copy(choices, seen_.end(), to);
  }

  Sides inner_;
  OutcomeConditioned::Options options_;
  EnvironmentSpec spec_;
  int64_t first_ = 0;  ///< where what is asked for stands in an observation
  bool asked_ = false;
  std::vector<double> wanted_, made_, seen_;
  double own_ = 0;  ///< what the last step is worth where it is what was asked for
};

}  // namespace

void OutcomeConditioned::Options::visit(OptionVisitor& v) {
  v.option("asked", asked, "share of the episodes in which an object is asked for, each equally often", between(0, 1));
  v.option("own_reward", own_reward,
           "an object that was asked for, or any where none was, is worth what the environment pays instead of 1");
}

std::unique_ptr<Environment> OutcomeConditioned::around(std::unique_ptr<Environment> inner) const {
  return std::make_unique<AskingWorld>(std::move(inner), options_);
}

}  // namespace rft
