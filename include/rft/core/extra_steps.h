#pragma once
/// Names of what is recorded of each of the C actions that a decision of an actor holds, where it holds a chunk of them
/// (else C = 1); 0 of those that were not carried out any more, since the episode was over (extra::duration).
namespace rft::extra {

inline constexpr char step_observation[] = "step_observation";  ///< [B, T, C, D] float64, raw, before the action
inline constexpr char step_reward[] = "step_reward";            ///< [B, T, C] float64, before it was normalised

}  // namespace rft::extra
