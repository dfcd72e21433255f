// A window of random steps: those inside are decisions, those outside follow the deterministic sampler.
#include <ATen/core/grad_mode.h>

#include <set>

#include "linear_denoiser.h"
#include "policy/denoise.h"
#include "rft/core/extra.h"
#include "support.h"

namespace rft::step_window_test {
namespace {

using testing::linear_policy;

Experience roll_out(Diffusion& policy, bool greedy = false) {
  Experience contexts;
  contexts.context.set_text(extra::prompt, {"a", "b", "c"});
  SampleRequest request;
  request.seed = 5, request.group_size = 2, request.greedy = greedy;
  return policy.sample(contexts, request);
}

/// The first decision of a rollout, whose decisions must be the `size` steps from there on, in every row.
int64_t begin_of(const Experience& batch, int64_t size) {
  Tensor steps = batch.mask[0].nonzero().flatten();
  EXPECT_TRUE(batch.mask.eq(batch.mask[0]).all().item<bool>());
  EXPECT_EQ(steps.numel(), size);
  EXPECT_EQ((steps[-1] - steps[0]).item<int64_t>(), size - 1);
  return steps[0].item<int64_t>();
}

TEST(StepWindow, StepsOutsideAreThoseOfTheDeterministicSampler) {
  auto windowed = linear_policy("{steps: 6, window: {size: 2, first: 2}}"), still = linear_policy("{steps: 6, eta: 0}"),
       random = linear_policy("{steps: 6}");
  Experience batch = roll_out(*windowed), straight = roll_out(*still);
  EXPECT_EQ(begin_of(batch, 2), 2);
  EXPECT_TRUE(batch.action.narrow(1, 0, 2).equal(straight.action.narrow(1, 0, 2)));
  EXPECT_FALSE(batch.action.select(1, 2).equal(straight.action.select(1, 2)));
  DenoisingRun run = still->begin(batch.context, 0);
  StepHistory history;
  Tensor after = transition(still->model(), run, 4, batch.action.select(1, 3), history).mean;
  EXPECT_TRUE(batch.action.select(1, 4).equal(after));
  EXPECT_TRUE(roll_out(*windowed, true).action.equal(roll_out(*random, true).action)) << "evaluations know no window";
}

TEST(StepWindow, TheJudgeTakesEachRolloutsOwnWindow) {
  auto policy = linear_policy("{steps: 8, window: {size: 2, first: 1, last: 4, move: slide, every: 3}}");
  std::vector<Experience> rollouts;
  for (int64_t step = 0; step < 15; ++step) {
    if (step % 3 == 0) rollouts.push_back(roll_out(*policy));
    policy->stepped(step + 1);
  }
  const std::vector<int64_t> begins{1, 2, 3, 4, 1};
  for (size_t i = 0; i < rollouts.size(); ++i) {
    const Experience& batch = rollouts[i];
    EXPECT_EQ(begin_of(batch, 2), begins[i]);
    Tensor off = policy->evaluate(batch, {}).logp.sub(batch.logp);
    EXPECT_LE(off.abs().max().item<double>(), 1e-12) << "the weights did not move, the window did";
  }
}

TEST(StepWindow, ARandomWindowBeginsAnywhereInItsRange) {
  auto policy = linear_policy("{steps: 8, window: {size: 3, first: 1, last: 4, move: random}}");
  auto again = linear_policy("{steps: 8, window: {size: 3, first: 1, last: 4, move: random}}");
  std::set<int64_t> begins;
  for (int64_t step = 0; step < 60; ++step) {
    Experience batch = roll_out(*policy);
    begins.insert(begin_of(batch, 3));
    if (step == 30) {
      again->load_state(policy->state());
      EXPECT_TRUE(roll_out(*again).action.equal(batch.action));
    }
    policy->stepped(step + 1);
  }
  EXPECT_EQ(begins, (std::set<int64_t>{1, 2, 3, 4}));
}

TEST(StepWindow, WhatItCannotBeIsSaid) {
  auto said = [](const std::string& rollout) {
    return testing::message_of([&] { roll_out(*linear_policy(rollout)); });
  };
  EXPECT_NE(said("{steps: 4, window: {size: 3, first: 2}}").find("rollout:1:37 window.first"), std::string::npos);
  EXPECT_NE(said("{steps: 4, window: {size: 3, first: 2}}").find("can't begin at step 2"), std::string::npos);
  EXPECT_NE(said("{steps: 4, window: {size: 5}}").find("the window has 5 steps, the run only 4"), std::string::npos);
  EXPECT_NE(said("{steps: 9, window: {last: 4}}").find("window.last] says how far"), std::string::npos);
  EXPECT_NE(said("{steps: 9, window: {last: 8, move: slide}}").find("from `first`, 0, to 7"), std::string::npos);
  EXPECT_NE(said("{steps: 9, window: {first: 3, last: 2, move: random}}").find("got 2"), std::string::npos);
  EXPECT_NE(said("{steps: 9, window: {every: 5, move: random}}").find("window.every] is for move: slide"),
            std::string::npos);
  EXPECT_NE(said("{steps: 4, scheduler: ddpm, window: {size: 2}}").find("random whatever"), std::string::npos);
  EXPECT_NE(said("{steps: 4, judge: forward, window: {size: 2}}").find("rollout.window"), std::string::npos);
}

}  // namespace
}  // namespace rft::step_window_test
