// An objective and a reward of one's own. The program has all of rft's commands: ./custom train recipe.yaml
#include <rft/app/app.h>
#include <rft/core/registry.h>
#include <rft/objective/objective.h>
#include <rft/reward/function_reward.h>

/// REINFORCE with a temper: -mean over tokens of A * logp + weight * logp^2.
class TemperedReinforce : public rft::Objective {
 public:
  struct Options {
    double weight = 0.0;
    void visit(rft::OptionVisitor& v) { v.option("weight", weight, "pull towards certainty", rft::at_least(0)); }
  };
  explicit TemperedReinforce(Options options) : options_(options) {}
  rft::Needs needs() const override { return {.reward = true, .advantage = true}; }
  rft::Loss loss(const rft::Evaluation& now, const rft::Experience& batch) const override {
    auto per_token = now.logp.mul(batch.advantage).neg().add(now.logp.square(), options_.weight);
    return rft::Loss(per_token.mul(batch.mask).sum().div(batch.totals.tokens));
  }

 private:
  Options options_;
};

int main(int argc, char** argv) {
  rft::registry<rft::Objective>().add<TemperedReinforce>("tempered_reinforce",
                                                         "REINFORCE with a pull towards certainty", "this example");
  rft::add_reward("ends_well", "1 where the completion ends with a full stop", [](const rft::Completion& row) {
    return !row.completion.empty() && row.completion.back() == '.' ? 1.0 : 0.0;
  });
  return rft::run(argc, argv);
}
