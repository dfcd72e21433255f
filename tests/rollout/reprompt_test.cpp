#include "rft/rollout/reprompt.h"

#include <ATen/ATen.h>

#include <cmath>

#include "rft/core/config.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/core/text_template.h"
#include "rft/policy/reads_prompts.h"
#include "support.h"

namespace rft::reprompt_test {
namespace {

using Texts = std::vector<std::string>;

/// Notes the prompts that it is given.
class Reader : public Policy, public ReadsPrompts {
 public:
  mutable Texts own, of_reference_;
  void set_prompts(Experience&, const Texts& prompts, bool of_reference) const override {
    (of_reference ? of_reference_ : own) = prompts;
  }
  Experience contexts(const Rows&) const override { return {}; }
  Experience demonstrations(const Rows&) override { return {}; }
  void visit_rollout(OptionVisitor&) override {}
  Experience sample(const Experience&, const SampleRequest&) override { return {}; }
  Evaluation evaluate(const Experience&, const Needs&) override { return {}; }
  Tensor ref_logp(const Experience&, const Needs&) override { return {}; }
  std::vector<Parameter> parameters() override { return {}; }
  void save(const std::string&) const override {}
  void load(const std::string&) override {}
};

RepromptOptions options_of(const std::string& yaml) {
  auto out = read_options<RepromptOptions>(Config::parse(yaml));
  out.check();
  return out;
}

/// Two groups of three answers, the first a1, a2, ..., whose rewards are given.
Experience answers(const std::vector<double>& reward) {
  Experience out;
  out.reward = at::tensor(reward, at::kFloat), out.group = at::tensor({4, 4, 4, 2, 2, 2}, at::kLong);
  out.mask = at::ones({6, 2}, at::kBool), out.logp = at::zeros({6, 2});
  Texts prompt(6, "p"), completion, hint;
  for (int i = 1; i <= 6; ++i) completion.push_back("a" + std::to_string(i)), hint.push_back("h" + std::to_string(i));
  out.context.set_text(extra::prompt, prompt), out.context.set_text(extra::completion, completion);
  out.context.set_text("hint", hint);
  return out;
}

std::vector<bool> learned_rows(const Experience& batch) {
  std::vector<bool> out;
  for (int64_t i = 0; i < batch.rows(); ++i) out.push_back(batch.mask[i].all().item<bool>());
  return out;
}

TEST(TextTemplate, FillsNamesAndLeavesLoneBraces) {
  TextTemplate text("{a} is {b}; {a} { x");
  EXPECT_EQ(text.names(), (Texts{"a", "b", "a"}));
  EXPECT_TRUE(text.has("b"));
  EXPECT_FALSE(text.has("x"));
  EXPECT_EQ(text.fill([](const std::string& name) { return name + name; }), "aa is bb; aa { x");
  EXPECT_EQ(TextTemplate("").fill([](const std::string&) { return "?"; }), "");
}

TEST(Reprompt, LevelsCountTheThresholdsThatARewardReaches) {
  Reader policy;
  Metrics metrics;
  Experience batch = answers({0, 0.5, 1, std::nan(""), 0.49, 2});
  learn_otherwise(policy, batch, options_of("{learned: '{level}>{prompt}', levels: [0.5, 1]}"), metrics);
  EXPECT_EQ(policy.own, (Texts{"0>p", "1>p", "2>p", "-1>p", "0>p", "2>p"}));
  EXPECT_TRUE(policy.of_reference_.empty());
  EXPECT_EQ(learned_rows(batch), (std::vector<bool>{true, true, true, false, true, true}));
  EXPECT_NEAR(metrics.mean("reprompt/left_out"), 1.0 / 6, 1e-12);
  EXPECT_FALSE(batch.logp.defined());  // it was another prompt's
}

// Quark's quantiles: of six rewards in three, two each; equal ones go together, the best to the highest.
TEST(Reprompt, QuantilesAreOfTheRolloutAndTheBestIsTheHighest) {
  auto levels = [](const std::vector<double>& reward) {
    Reader policy;
    Metrics metrics;
    Experience batch = answers(reward);
    learn_otherwise(policy, batch, options_of("{learned: '{level}', quantiles: 3}"), metrics);
    return policy.own;
  };
  EXPECT_EQ(levels({0.1, 0.6, 0.3, 0.2, 0.5, 0.4}), (Texts{"0", "2", "1", "0", "2", "1"}));
  EXPECT_EQ(levels({0, 0, 0, 0, 1, 0}), (Texts{"0", "0", "0", "0", "2", "0"}));
  EXPECT_EQ(levels({0, 0, 0, 1, 1, 1}), (Texts{"0", "0", "0", "2", "2", "2"}));
  EXPECT_EQ(levels({0, 0, 0, 0, 0, 0}), (Texts{"-1", "-1", "-1", "-1", "-1", "-1"}));  // left out
}

TEST(Reprompt, TheReferenceReadsASolutionOfTheSameGroupThatIsNotTheRowItself) {
  Reader policy;
  Metrics metrics;
  Experience batch = answers({0, 1, 1, 0, 0, 1});
  learn_otherwise(policy, batch, options_of("{judged: '{hint}:{solution}:{prompt}'}"), metrics);
  EXPECT_EQ(policy.of_reference_, (Texts{"h1:a2:p", "h2:a3:p", "h3:a2:p", "h4:a6:p", "h5:a6:p", "h6::p"}));
  EXPECT_EQ(learned_rows(batch), (std::vector<bool>{true, true, true, true, true, false}));
  EXPECT_TRUE(policy.own.empty());
  EXPECT_TRUE(batch.logp.defined());
}

TEST(Reprompt, WhatIsAskedMayNameColumns) {
  Reader policy;
  Experience contexts = answers({0, 0, 0, 0, 0, 0});
  auto options = options_of("{asked: '2>{prompt}{hint}'}");
  EXPECT_EQ(options.columns(), (Texts{"hint"}));
  ask_otherwise(policy, contexts, options);
  EXPECT_EQ(policy.own.at(5), "2>ph6");
}

TEST(Reprompt, NamesThatDontFitAreSaid) {
  for (std::string wrong : {"{asked: '{level}'}", "{asked: '{completion}'}", "{learned: '{level}'}", "{levels: [1]}",
                            "{learned: '{solution}'}", "{judged: '{level}', levels: [1]}",
                            "{learned: '{level}', levels: [1], quantiles: 2}"})
    EXPECT_THROW(options_of(wrong), UserError) << wrong;
}

}  // namespace
}  // namespace rft::reprompt_test
