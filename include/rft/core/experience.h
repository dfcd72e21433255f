#pragma once
/// The one record: every method, on every medium, reads and writes Experience.
#include <optional>
#include <string>

#include "rft/core/fields.h"

namespace rft {

/// What an objective is normalised by: sums over the whole optimizer batch (all micro-batches, all ranks), so that the
/// same data gives the same gradient for any micro-batch size and number of ranks.
struct Totals {
  double rows = 0;    ///< trajectories (for pairs: both halves count)
  double tokens = 0;  ///< decisions: sum of `mask`
  double chosen = 0;  ///< of pairs: the decisions of the chosen answers
  double given = 0;   ///< the decisions of rows that the policy did not make (extra::given)
};

/// One batch of decisions; row = trajectory, column = decision. One device, float32 unless said.
/// Preferences are 2B rows: the chosen ones first, row i + B is the rejected answer to row i; with gold answers beside
/// them 3B, row i + 2B the gold answer.
struct Experience {
  Fields context;  ///< what was asked: prompt tokens, condition images, observations; texts are the dataset's columns
  Tensor action;   ///< [B, T, ...] what was decided
  Tensor mask;     ///< [B, T] bool, true where the policy decided (not prompt, padding, tool output)
  Tensor logp;     ///< [B, T] log-probability under the policy that acted, nats; 0 where masked
  Tensor
      old_logp;  ///< [B, T] the same under the policy at the start of this batch's updates; undefined: the current one
  Tensor ref_logp;   ///< [B, T] under the reference policy; defined where a slot's needs() ask for it
  Tensor group;      ///< [B] int64, rows that answer the same context share a number
  Tensor reward;     ///< [B] or [B, T]; NaN where a reward could not be computed
  Tensor advantage;  ///< [B, T]
  Fields extra;      ///< what a slot adds for another slot; names and shapes in core/extra.h
  Totals totals;     ///< of the whole optimizer batch; see fill_totals

  int64_t rows() const;
  /// T, the number of columns.
  int64_t steps() const;
  /// The rows `index` [K] int64, in that order. `totals` are kept: a micro-batch knows the batch it is part of.
  Experience select(const Tensor& index) const;
  /// `count` rows from `first` on, as views.
  Experience narrow(int64_t first, int64_t count) const;
  /// Rows of all parts one after another, columns padded to the longest; totals are added.
  static Experience concat(const std::vector<Experience>& parts);
  /// Sets `totals` from this batch alone.
  void fill_totals();
};

/// The tensor members that are one row a trajectory, with their names in files.
struct ExperienceColumn {
  const char* name;
  Tensor Experience::*member;
};
const std::vector<ExperienceColumn>& experience_columns();

/// What a policy (or critic, or reward model) says of an Experience now, with gradients.
struct Evaluation {
  Tensor logp;     ///< [B, T] log-probability of `action`, nats; anything where masked
  Tensor entropy;  ///< [B, T] of the whole distribution, nats; where needs().entropy
  Tensor value;    ///< [B, T] expected return; where needs().value
  Tensor score;    ///< [B] or [B, T], a trained reward model's output
  Tensor reward;   ///< [B] a differentiable reward that carries the graph (DRaFT)
  /// Scalar: a loss of the policy's own (experts' load balancing), weighted; the trainer adds it to the objective's,
  /// each micro-batch's by its share of the rows. Undefined: none.
  Tensor auxiliary;
  /// `logp` are the sampler's own numbers: the weights are those that sampled, and nothing had to be computed again.
  bool logp_is_samplers = false;
  Fields extra;
};

/// How samples are made through which a reward's gradient flows back into the policy (reward backpropagation).
struct Pathwise {
  enum class Path {
    chain,        ///< a whole sampling run; gradients flow through its last steps (DRaFT, AlignProp)
    denoised,     ///< a run without gradients to a random step, then one denoised estimate with them (ReFL)
    noised_data,  ///< demonstrations, noised to a random level, and one denoised estimate (ControlNet++, Ctrl-U)
  };
  Path path = Path::chain;
  /// chain: the number of last steps with gradients is drawn uniformly from these, once a batch; 0 = all steps.
  int64_t min_steps = 0, max_steps = 0;
  /// chain: the finished sample is noised again by one level and denoised with gradients so many times, and the rewards
  /// are averaged (DRaFT-LV); 0 = off.
  int64_t noise_repeats = 0;
  /// denoised: the estimate is made at a step drawn uniformly from this share of the run, 0 = start, 1 = end.
  /// noised_data: rows noised to a share of the noise levels above `max_level` get no reward (NaN).
  double min_level = 0, max_level = 1;
  /// chain: also how far the run strays from the reference policy's, extra::path_kl of the Evaluation.
  bool kl = false;
};

/// What an off-policy objective asks of an actor's critics Q(s, a), networks that each estimate the return of a
/// decision, and of their slow copies. Answers are in Evaluation::extra, under the names in core/extra.h.
struct QNeeds {
  int64_t critics = 2;       ///< K
  double gamma = 0.99;       ///< discount of extra::returns
  double tau = 0.005;        ///< slow copies move by this share towards the trained networks,
  int64_t target_every = 1;  ///< every so many optimizer steps
  bool next = false;         ///< next_q, next_logp: the slow critics of what the policy does at the next observation
  bool slow_policy = false;  ///< ... the slow copy of the policy, that is, with noise on it:
  double target_noise = 0, target_noise_clip = 0;  ///< of half the action's range
  bool own = false;                                ///< actor_q, actor_logp: the critics of what the policy does now
  bool slow = false;                               ///< target_q: the slow critics of the batch's action
  bool next_value = false;                         ///< next_value: the critic V of the next observation
  bool behaviour = false;                          ///< Evaluation::logp of the batch's action
  int64_t samples = 0;                             ///< M: sampled_q, sampled_logp
  bool returns = false;  ///< the batch has extra::returns, the discounted rewards that followed in its episode
};

/// [n * blocks] int64: of rows in blocks of `size`, one after another, those that `rows` [n] numbers in each block.
Tensor rows_of_blocks(const Tensor& rows, int64_t size, int64_t blocks);

/// A divergence between the policy's and the reference's whole distributions at a decision, not of the choice made
/// there alone. With p the policy and q the reference:
struct Divergence {
  enum class Kind {
    reverse_kl,      ///< sum p log(p / q)
    forward_kl,      ///< sum q log(q / p)
    jensen_shannon,  ///< mix KL(q || m) + (1 - mix) KL(p || m),  m = (1 - mix) p + mix q  (0 < mix < 1)
    alpha,           ///< (1 - sum p^mix q^(1 - mix)) / (mix (1 - mix))  (mix not 0 or 1)
  };
  Kind kind = Kind::reverse_kl;
  double mix = 0.5;
};

/// What a slot reads; the trainer computes nothing else.
struct Needs {
  /// Where batches come from: sampling; rows that show what to do; pairs of a better and a worse answer; rows with a
  /// verdict (extra::label); contexts alone, answered inside the evaluation (pathwise); single decisions, drawn from
  /// all that were made or given so far; answers in steps, each with a verdict (extra::step_label).
  enum class Data { rollout, demonstrations, pairs, unpaired, contexts, transitions, steps };
  Data data = Data::rollout;
  std::optional<Pathwise> pathwise;  ///< Evaluation::reward with its graph
  std::optional<QNeeds> q;           ///< critics of single decisions (transitions)
  bool gold =
      false;  ///< of pairs: the rows' own answer ("completion") beside them, extra::given, a third block of rows
  int64_t group_size = 0;  ///< rows that a context must have; 0 = as the recipe says
  bool reward = false;
  bool advantage = false;
  bool ref_logp = false;
  bool entropy = false;
  bool value = false;
  bool score = false;       ///< Evaluation::score: what is trained is a reward model
  bool mismatched = false;  ///< Evaluation's extra::kl_logp, kl_ref_logp and kl_mask: answers that belong to others
  bool token_influence = false;          ///< extra::token_influence and influence_anchor, of language models' rollouts
  bool greedy = false;                   ///< extra::greedy_reward: the reward of the context's most likely answer
  std::optional<Divergence> divergence;  ///< Evaluation's extra::divergence
  /// Of rows that are judged by their denoising error: Evaluation's extra::estimate and estimate_scale (and with
  /// `ref_estimate` that of the reference policy), with gradients.
  bool estimate = false, ref_estimate = false;
  bool best_rows = false;  ///< learns from a group's best rows alone: where the recipe has no selector, best_of_n
  std::string credit;      ///< the credit that belongs to it, where a recipe names none; "" = group_normalized
  /// observe() is called with the whole optimizer batch, evaluated without gradients, before its micro-batches.
  bool whole_batch = false;

  /// Rows of one context that a step learns from together, each in a block of its own: 2 of pairs, 3 with gold answers.
  int64_t blocks() const { return data != Data::pairs ? 1 : gold ? 3 : 2; }

  Needs operator|(const Needs& other) const;
};

}  // namespace rft
