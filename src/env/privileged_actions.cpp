#include "rft/env/privileged_actions.h"

#include <algorithm>
#include <utility>

#include "rft/core/error.h"

namespace rft {
namespace {

class HelpedWorld : public Environment, public Annealed {
 public:
  HelpedWorld(std::unique_ptr<Environment> inner, const PrivilegedActions::Options& options)
      : inner_(std::move(inner)),
        assisted_(dynamic_cast<Assisted*>(inner_.get())),
        options_(options),
        spec_(inner_->spec()) {
    if (!assisted_ || spec_.agents != 1 || spec_.action.discrete())
      bad_input("privileged_actions",
                "must be around an environment of one agent that can be helped and whose actions ",
                "are numbers, as mountain_car and hopper are; got '", spec_.name, "'");
    own_ = spec_.action.low.size();
    force_.resize(static_cast<size_t>(assisted_->force_size()));
    spec_.action.low.resize(own_ + force_.size(), -1.0), spec_.action.high.resize(own_ + force_.size(), 1.0);
  }
  const EnvironmentSpec& spec() const override { return spec_; }
  const Environment& unwrapped() const override { return inner_->unwrapped(); }

  void reset(uint64_t seed, std::span<double> observation) override { inner_->reset(seed, observation); }

  bool step(std::span<const double> action, std::span<double> observation, std::span<double> reward) override {
    double square = 0;
    for (size_t i = 0; i < force_.size(); ++i) {
      double x = std::clamp(action[own_ + i], -1.0, 1.0);
      force_[i] = left_ * options_.force * x, square += x * x;
    }
    assisted_->assist(force_, left_ * options_.slack);
    bool ended = inner_->step(action.first(own_), observation, reward);
    if (left_ > 0) reward[0] -= options_.force_cost * left_ * square / static_cast<double>(force_.size());
    return ended;
  }

  double progress(int64_t steps) override {
    double after = static_cast<double>(std::max<int64_t>(steps - options_.hold_steps, 0));
    return left_ = std::max(1 - after / static_cast<double>(options_.anneal_steps), 0.0);
  }

  std::vector<double> state() const override { return inner_->state(); }
  void set_state(const std::vector<double>& state) override { inner_->set_state(state); }

 private:
  std::unique_ptr<Environment> inner_;
  Assisted* assisted_;  ///< inner_
  PrivilegedActions::Options options_;
  EnvironmentSpec spec_;
  size_t own_ = 0;             ///< numbers of an action that are the environment's
  std::vector<double> force_;  ///< of this step
  double left_ = 0;
};

}  // namespace

void PrivilegedActions::Options::visit(OptionVisitor& v) {
  v.option("force", force, "the strongest virtual force, in the environment's units", at_least(0));
  v.option("slack", slack, "how far constraints give way at first", between(0, 1));
  v.option("force_cost", force_cost, "taken off the reward, for a virtual force at its strongest", at_least(0));
  v.option("hold_steps", hold_steps, "the help stays whole for so long", at_least(0).in("steps of all environments"));
  v.option("anneal_steps", anneal_steps, "and then goes to nothing in so long",
           at_least(1).in("steps of all environments").must());
}

std::unique_ptr<Environment> PrivilegedActions::around(std::unique_ptr<Environment> inner) const {
  return std::make_unique<HelpedWorld>(std::move(inner), options_);
}

}  // namespace rft
