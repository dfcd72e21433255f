#pragma once
/// Names of what one slot leaves in Experience::extra for another. B rows, T decisions, K rewards.
namespace rft::extra {

inline constexpr char reward_components[] = "reward_components";  ///< [B, K] float, each reward's value, NaN = failed
inline constexpr char reward_weights[] = "reward_weights";        ///< [B, K] float, the same in every row
inline constexpr char reward_names[] = "reward_names";            ///< text [B]: the K rewards' names, joined by commas
inline constexpr char truncated[] = "truncated";      ///< [B] bool, ended by the length limit, not by itself
inline constexpr char entropy[] = "entropy";          ///< [B, T] float, the sampler's entropy, where it was computed
inline constexpr char reward_std[] = "reward_std";    ///< [B] float, std of the rewards in the row's group
inline constexpr char uncertainty[] = "uncertainty";  ///< [B] float, a reward model's own doubt
inline constexpr char margin[] = "margin";            ///< [B] float, how much better the chosen answer is

// Text columns of Experience::context (beside the dataset's own):
inline constexpr char prompt[] = "prompt";  ///< the prompt as text
inline constexpr char completion[] =
    "completion";  ///< the decoded actions of a language model, special tokens left out

}  // namespace rft::extra
