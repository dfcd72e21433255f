#pragma once
/// Actor: a policy that lives in an environment and decides step by step from what it observes.
#include "rft/core/action_space.h"
#include "rft/policy/policy.h"

namespace rft {

/// One decision of each of N agents.
struct Decisions {
  Tensor observation;  ///< [N, D] float32, what was decided on: normalised where the policy normalises
  Tensor action;       ///< [N, ...] float32 or int64, what is recorded and judged
  Tensor command;      ///< [N, action.size()] float64, what the environment is told; box actions are within bounds
  Tensor logp;         ///< [N] float32, nats
  Tensor step_logp;    ///< [N, S] of each step, where a decision is made in S steps; else undefined
  Tensor memory;       ///< [N, M] what the agents remember now; undefined for an actor without memory
  Tensor value;        ///< [N] the critic's estimate, where only act() can make it (it remembers too); else undefined
};

/// Its Experience has extra::observation [B, T, D] in `context`; rows are segments or episodes, as the runner made
/// them.
class Actor : public Policy {
 public:
  using ActsInEnvironment = void;  ///< what the registry knows an actor by
  /// Called once, before anything else, with the world to act in and what the recipe needs (a critic where
  /// needs.value, a reference where needs.ref_logp). Makes the networks, or checks that the loaded ones fit; `seed`
  /// determines untrained ones. Throws UserError where they don't fit.
  virtual void enter(const EnvironmentSpec& world, const Needs& needs, uint64_t seed) = 0;
  /// Decides from raw observations [N, D] float64. Row i's random numbers are those of keys[i]. `learn`: running
  /// statistics take the observations in first. Called without gradients.
  virtual Decisions act(const Tensor& observation, const std::vector<uint64_t>& keys, bool greedy, bool learn) = 0;
  /// The same with actions drawn uniformly, from between their bounds or among the choices; their logp is the policy's.
  /// Nothing is learned from the observations. Throws UserError where the policy can't be trained off-policy.
  virtual Decisions random(const Tensor& observation, const std::vector<uint64_t>& keys);
  /// Numbers that an agent remembers from one decision to the next; 0: none. Who runs the agents keeps them, zeros
  /// where an episode begins.
  virtual int64_t memory() const { return 0; }
  /// act() of agents that remember `memory` [N, memory()] float32; called where memory() is not 0.
  virtual Decisions act_from(const Tensor& memory, const Tensor& observation, const std::vector<uint64_t>& keys,
                             bool greedy, bool learn);
  /// The critic's estimate [N] of the return from raw observations [N, D] float64 (`observed` false) or from
  /// Decisions::observation (true). Throws RunError where there is no critic.
  virtual Tensor value(const Tensor& observation, bool observed) = 0;
  /// The same of raw observations by agents that remember `memory` [N, memory()]; called where memory() is not 0.
  virtual Tensor value_from(const Tensor& memory, const Tensor& observation);
  /// A rollout's rows as rows of one decision each, [B * T] rows that were decided, to be learned from in any order.
  /// advantage, returns and values are carried over. An actor with memory is judged along its rows and has none.
  virtual Experience decisions(const Experience& batch) const;
  /// Rows of one episode each, {"observations", "actions", "rewards", "terminated"}, as demonstrations() with reward,
  /// extra::last, next_observation, terminated, and returns, the rewards to the episode's end discounted by `gamma`.
  /// With chunks of n actions a decision's reward is that of its n steps, discounted, and extra::duration is n.
  /// Throws UserError naming file and line.
  Experience transitions(const Rows& rows, int64_t chunk, double gamma);

  // An actor is given no rows to answer.
  Experience contexts(const Rows& rows) const override;
  Experience sample(const Experience& contexts, const SampleRequest& request) override;
};

}  // namespace rft
