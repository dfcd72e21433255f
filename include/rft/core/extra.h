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
inline constexpr char label[] = "label";              ///< [B] float, 1 = a good answer, 0 = a bad one (unpaired data)
inline constexpr char old_value[] = "old_value";  ///< [B, T] float, the critic's estimate when the batch was rolled out
inline constexpr char next_value[] = "next_value";  ///< [B, T] float, the critic's estimate of what follows a decision
                                                    ///< (0 at the end of an episode); without it: the next old_value
inline constexpr char last[] = "last";          ///< [B, T] bool, an episode's last decision, where rows hold several
inline constexpr char duration[] = "duration";  ///< [B, T] float, steps of the environment that a decision lasted,
                                                ///< where it may last several
inline constexpr char step_logp[] =
    "step_logp";  ///< [B, T, S] float, of each step of a decision that is made in S steps
inline constexpr char backward_logp[] = "backward_logp";  ///< [B, T] float, log-probability of undoing a decision, nats
inline constexpr char terminated[] = "terminated";  ///< [B, T] bool, the episode ended by itself with this decision
inline constexpr char next_observation[] = "next_observation";  ///< [B, T, D] float, what followed a decision
inline constexpr char returns[] = "returns";                    ///< [B, T] float, what the critic should have said
inline constexpr char raw_observation[] = "raw_observation";    ///< [B, T, D] float64, before a policy normalised it
inline constexpr char command[] = "command";                    ///< [B, T, A] float64, what the environment was told
inline constexpr char row[] = "row";  ///< [B] int64, number of the dataset's row that was asked
inline constexpr char given[] =
    "given";  ///< [B] bool, an answer that the policy did not make: the dataset's own, or the reference's
inline constexpr char greedy_reward[] = "greedy_reward";  ///< [B] float, of the context's most likely answer
inline constexpr char divergence[] = "divergence";  ///< [B, T] float, of Evaluation: needs().divergence, with gradient
inline constexpr char token_influence[] =
    "token_influence";  ///< [B, T] float, by how much raising a token raises its group's right answers (positive
                        ///< advantage), to first order through a language model's head; 0 in groups of one kind alone
inline constexpr char influence_anchor[] =
    "influence_anchor";  ///< [B] float, the least of the means of token_influence in the group's right answers; -inf
                         ///< in groups of one kind alone
inline constexpr char step_label[] = "step_label";  ///< [B, T] float, the verdict on the step that ends at a decision,
                                                    ///< 0 .. 1; NaN elsewhere
inline constexpr char kl_logp[] = "kl_logp";        ///< [B, T] log-probability of answers to other prompts (KTO), nats
inline constexpr char kl_ref_logp[] = "kl_ref_logp";  ///< [B, T] the same under the reference
inline constexpr char kl_mask[] = "kl_mask";          ///< [B, T] bool, true where kl_logp has a decision
inline constexpr char image[] = "image";              ///< [B, 3, H, W] float in [0, 1], the finished sample
inline constexpr char draw[] = "draw";  ///< [B, 2] int64: keys of the random numbers of an evaluation: those that a
                                        ///< group (and both rows of a pair) shares, and the row's own (a pair's)
inline constexpr char one_hot[] = "one_hot";  ///< [B, L, V] float: a sequence whose tokens carry a gradient, each a
                                              ///< distribution over the vocabulary
inline constexpr char path_kl[] = "path_kl";  ///< [B] float, KL divergence of a sampling run to the reference's, nats
// A denoiser's estimates of the clean sample, from T noisy versions of it:
inline constexpr char estimate[] = "estimate";              ///< [B, T, C, h, w] float, of the policy
inline constexpr char old_estimate[] = "old_estimate";      ///< the same, of the policy that made the sample
inline constexpr char ref_estimate[] = "ref_estimate";      ///< the same, of the reference
inline constexpr char estimate_scale[] = "estimate_scale";  ///< [B, T] float, by how much an estimate moves where the
                                                            ///< denoiser's answer moves by 1

// Tensors of Evaluation::extra, of actors with critics Q (QNeeds); K critics. Actions are meant as their numbers scaled
// to [-1, 1], and so are the densities behind these log-probabilities.
inline constexpr char q[] = "q";                  ///< [B, T, K], of the batch's decisions; gradients to the critics
inline constexpr char target_q[] = "target_q";    ///< [B, T, K], the slow critics' of the same; no gradient
inline constexpr char next_q[] = "next_q";        ///< [B, T, K], the slow critics' of the policy's next decision; none
inline constexpr char next_logp[] = "next_logp";  ///< [B, T], of that decision; none
inline constexpr char actor_q[] =
    "actor_q";  ///< [B, T, K], of what the policy decides now; gradients to the policy alone
inline constexpr char actor_logp[] = "actor_logp";  ///< [B, T], of that decision; gradients to the policy
inline constexpr char sampled_q[] = "sampled_q";    ///< [B, T, K, 3M], of M uniform actions, M of the policy here and M
                                                    ///< of the policy at the next observation; gradients to the critics
inline constexpr char sampled_logp[] = "sampled_logp";  ///< [B, T, 3M], of those actions where they were drawn; none

// Of each of the C actions that a decision of an actor holds, where it holds a chunk of them (else C = 1); 0 of those
// that were not carried out any more, since the episode was over (duration):
inline constexpr char step_observation[] = "step_observation";  ///< [B, T, C, D] float64, raw, before the action
inline constexpr char step_reward[] = "step_reward";            ///< [B, T, C] float64, before it was normalised

// Tensors of Experience::context:
inline constexpr char observation[] = "observation";  ///< [B, T, D] float, what each decision of an actor was made on
inline constexpr char memory[] = "memory";  ///< [B, M] float, what an actor remembered when a row's first decision came
inline constexpr char start[] = "start";    ///< [B, K] float, the noise that a row's denoising steps started from

// Text columns of Experience::context (beside the dataset's own):
inline constexpr char prompt[] = "prompt";  ///< the prompt as text
inline constexpr char completion[] =
    "completion";  ///< the decoded actions of a language model, special tokens left out

}  // namespace rft::extra
