#include "app/methods.h"

#include <map>

namespace rft::app {

const std::vector<Method>& methods() {
  static const std::vector<Method> all = {
      {"Supervised", "SFT", "TRL SFTTrainer", "-(1/N) sum m logp", "objective: {type: sft}", "arithmetic/base.yaml"},
      {"Supervised", "DFT", "arXiv:2508.05629", "-(1/N) sum m sg[p] logp", "objective: {type: dft}",
       "arithmetic/dft.yaml"},
      {"Supervised", "ASFT", "arXiv:2509.23753", "DFT + kl_weight KL(ref || policy)",
       "objective: {type: asft, kl_weight: 0.1}", "arithmetic/asft.yaml"},
      {"Supervised", "RAFT, expert iteration", "arXiv:2304.06767", "SFT on the best of n samples",
       "objective: {type: raft}\nselect: {type: best_of_n, keep: 1, min_reward: 1}", "arithmetic/raft.yaml"},
      {"Supervised", "SuperHF", "arXiv:2310.16763", "RAFT + kl_weight k3",
       "objective: {type: raft, kl_weight: 0.1}\nselect: {type: best_of_n, keep: 1}", "arithmetic/superhf.yaml"},
      {"Supervised", "GVM-RAFT", "arXiv:2505.02391", "RAFT; samples in proportion to G / sqrt(p + penalty / p)",
       "objective: {type: raft}\nselect: {type: gvm}", "arithmetic/gvm_raft.yaml"},
      {"Supervised", "RWR", "Peters & Schaal 2007", "-(1/N) sum m e^(A / temperature) logp",
       "objective: {type: rwr, temperature: 0.5}", "arithmetic/rwr.yaml"},
      {"Supervised", "Knowledge distillation", "arXiv:1503.02531", "KL(teacher || policy) on given answers",
       "objective: {type: distillation, beta: 0}", "arithmetic/distillation.yaml"},
      {"Supervised", "GKD", "arXiv:2306.13649",
       "generalised Jensen-Shannon divergence to the teacher, on given and own answers by the group's shares",
       "objective: {type: distillation, beta: 0.5, on_policy: true}\nrollout: {group_size: 2, given_answers: true}",
       "arithmetic/gkd.yaml"},
      {"Supervised", "On-policy distillation", "arXiv:2306.13649", "KL(policy || teacher) on its own answers",
       "objective: {type: distillation, beta: 1, on_policy: true}", "arithmetic/on_policy_distillation.yaml"},
      {"Supervised", "IW-OPD, sampled on-policy distillation", "TRL IWOPDTrainer",
       "-w (ref_logp - logp) logp of its own answers' tokens",
       "policy: {type: causal_lm, path: a, reference: b}\nobjective: {type: sampled_distillation}",
       "arithmetic/sampled_distillation.yaml"},
      {"Supervised", "Quark", "arXiv:2205.13636",
       "-logp behind the reward's quantile + divergence_weight KL(ref || policy); of the present rollout, not of a "
       "pool",
       "objective: {type: raft, divergence_weight: 0.05}\nselect: {type: all}\nrollout: {reprompt: {asked: "
       "'4;{prompt}', learned: '{level};{prompt}', judged: '{prompt}', quantiles: 5}}",
       "arithmetic/quark.yaml"},
      {"Supervised", "LeTI's reward tokens", "arXiv:2305.10314",
       "-logp behind a token that says whether the answer is right; without the paper's textual feedback",
       "objective: {type: raft}\nselect: {type: all}\nrollout: {reprompt: {asked: '1;{prompt}', learned: "
       "'{level};{prompt}', levels: [1]}}",
       "arithmetic/leti.yaml"},
      {"Supervised", "SDFT, self-distillation", "arXiv:2601.19897; TRL SDFTTrainer",
       "a divergence to the model itself when it reads the answer too, on the policy's own answers",
       "objective: {type: distillation, on_policy: true, beta: 0.5}\nrollout: {reprompt: {judged: "
       "'{answer};{prompt}'}}",
       "arithmetic/sdft.yaml"},
      {"Supervised", "SDPO, self-distillation of right answers", "arXiv:2601.20802; TRL SDPOTrainer",
       "the same with a teacher, a moving average, that reads another right answer of the group",
       "policy: {type: causal_lm, path: a, sync_reference: true, reference_mixup: 0.05, reference_every: 1}\n"
       "objective: {type: sampled_distillation, prefix_weight: 0}\nrollout: {reprompt: {judged: "
       "'{solution};{prompt}'}}",
       "arithmetic/sdpo.yaml"},
      {"Supervised", "IQ-Learn, inverse soft Q", "arXiv:2409.01369", "-logp + td_weight (V + logp - gamma V')^2",
       "objective: {type: inverse_q}", "arithmetic/inverse_q.yaml"},
      {"Policy gradient", "REINFORCE", "doi:10.1007/BF00992696", "-A logp", "objective: {type: reinforce}",
       "arithmetic/reinforce.yaml"},
      {"Policy gradient", "GRPO", "arXiv:2402.03300", "clipped ratio; A = (r - mean) / std of the group; mean of rows",
       "objective: {type: grpo, variant: grpo, kl_weight: 0.001}\ncredit: {type: group_normalized}",
       "arithmetic/grpo.yaml"},
      {"Policy gradient", "Dr. GRPO", "arXiv:2503.20783", "GRPO without std, over a constant length",
       "objective: {type: grpo, variant: dr_grpo, max_completion_length: 40}\ncredit: {type: group_normalized, scale: "
       "none}",
       "arithmetic/dr_grpo.yaml"},
      {"Policy gradient", "DAPO", "arXiv:2503.14476", "GRPO over tokens, clip-higher, dynamic sampling",
       "objective: {type: grpo, variant: dapo, clip_low: 0.2, clip_high: 0.28}\nselect: {type: dynamic_sampling, "
       "max_rounds: 3}",
       "arithmetic/dapo.yaml"},
      {"Policy gradient", "GSPO", "arXiv:2507.18071", "the ratio of the row, e^(mean log-ratio)",
       "objective: {type: grpo, variant: grpo, ratio_level: sequence, clip_low: 0.003, clip_high: 0.004}",
       "arithmetic/gspo.yaml"},
      {"Policy gradient", "CISPO", "arXiv:2506.13585", "-sg[min(ratio, cap)] A logp",
       "objective: {type: grpo, variant: cispo, clip_high: 5}", "arithmetic/cispo.yaml"},
      {"Policy gradient", "SAPO", "arXiv:2511.20347", "a sigmoid of the ratio in place of clipping",
       "objective: {type: grpo, variant: sapo}", "arithmetic/sapo.yaml"},
      {"Policy gradient", "LUSPO", "TRL loss_type luspo", "sequence ratio, sums over tokens",
       "objective: {type: grpo, variant: luspo, ratio_level: sequence}", "arithmetic/luspo.yaml"},
      {"Policy gradient", "VESPO", "arXiv:2602.10693", "-sg[phi(w)] A logp, w the product of ratios",
       "objective: {type: grpo, variant: vespo}", "arithmetic/vespo.yaml"},
      {"Policy gradient", "GMPO", "arXiv:2507.20673", "the geometric mean of clipped ratios", "objective: {type: gmpo}",
       "arithmetic/gmpo.yaml"},
      {"Policy gradient", "80/20 entropy tokens", "arXiv:2506.01939",
       "the policy gradient of the tokens of highest entropy", "objective: {type: grpo, entropy_quantile: 0.2}", ""},
      {"Policy gradient", "THR, token hidden reward", "arXiv:2510.03669",
       "A 1[|THR| > t] (1 + p sign THR), THR = sign(A) <a token's gradient in the head, the right answers'>",
       "objective: {type: grpo, thr: 0.2, thr_threshold: 0}", "arithmetic/thr.yaml"},
      {"Policy gradient", "Off-policy sequence masking", "arXiv:2512.02556",
       "rows of negative advantage that went off-policy are dropped",
       "objective: {type: grpo, off_policy_threshold: 0.1}", ""},
      {"Policy gradient", "Truncated importance sampling", "Yao et al. 2025", "times min(policy / sampler, 3)",
       "objective: {type: grpo, sampler_correction: token_truncate}", ""},
      {"Policy gradient", "GDPO", "arXiv:2601.05242", "each reward normalised in its group, then summed",
       "objective: {type: grpo}\ncredit: {type: group_normalized, aggregation: normalize_then_sum}", ""},
      {"Policy gradient", "RLOO", "arXiv:2402.14740",
       "the ratio of the row; A = r - mean of the others, KL in the reward",
       "objective: {type: rloo}\ncredit: {type: leave_one_out, kl_weight: 0.01}", "arithmetic/rloo.yaml"},
      {"Policy gradient", "REINFORCE++", "arXiv:2501.03262", "clipped ratio; rewards to go with KL, whitened",
       "objective: {type: ppo, value_weight: 0}\ncredit: {type: reward_to_go, kl_weight: 0.01}",
       "arithmetic/reinforce_pp.yaml"},
      {"Policy gradient", "REINFORCE++ baseline", "arXiv:2501.03262",
       "A = r - mean of the group, whitened over the batch",
       "objective: {type: ppo, value_weight: 0}\ncredit: {type: reward_to_go, baseline: group}", ""},
      {"Policy gradient", "ReMax", "arXiv:2310.10505", "A = r - r of the greedy answer",
       "objective: {type: reinforce}\ncredit: {type: greedy_baseline}", "arithmetic/remax.yaml"},
      {"Policy gradient", "OPO", "arXiv:2505.23585", "A = r - the length-weighted mean",
       "objective: {type: reinforce}\ncredit: {type: length_baseline}", "arithmetic/opo.yaml"},
      {"Policy gradient", "GPG", "arXiv:2504.02546", "A = (rows / informative rows)(r - mean)",
       "objective: {type: reinforce}\ncredit: {type: group_normalized, scale: none, rescale: true}",
       "arithmetic/gpg.yaml"},
      {"Policy gradient", "PKPO, pass@k", "arXiv:2505.15201", "what a row adds to the best of k",
       "objective: {type: reinforce}\ncredit: {type: max_at_k, k: 4}", "arithmetic/pkpo.yaml"},
      {"Policy gradient", "PURE", "arXiv:2504.15275",
       "a model of steps rewards each step, and these count as about their least",
       "objective: {type: ppo, value_weight: 0}\nreward: {type: reward_model, path: a, step_separator: ',', aggregate: "
       "steps}\ncredit: {type: reward_to_go, form: min, baseline: group}",
       "arithmetic/pure.yaml"},
      {"Policy gradient", "MRT's progress bonus", "arXiv:2503.07572",
       "right answers + by how much each step raised a step model's verdict (in place of forced answers' success)",
       "objective: {type: ppo, value_weight: 0}\nreward: [{type: math_answer}, {type: reward_model, path: a, "
       "step_separator: ',', aggregate: progress, weight: 0.5}]\ncredit: {type: reward_to_go, baseline: group}",
       "arithmetic/mrt.yaml"},
      {"Policy gradient", "PPO", "arXiv:1707.06347", "clipped ratio, GAE, clipped value loss",
       "objective: {type: ppo}\ncredit: {type: gae}", "arithmetic/ppo.yaml"},
      {"Policy gradient", "PPO with an adaptive KL penalty", "arXiv:1909.08593", "the KL's weight follows a target",
       "objective: {type: ppo, kl_weight: 0.05, kl_target: 0.02}\ncredit: {type: gae}", ""},
      {"Policy gradient", "PPO with an adaptive learning rate", "arXiv:2509.10771",
       "rsl_rl's: the learning rate follows how far the policy moves",
       "objective: {type: ppo}\ncredit: {type: gae}\ntrain: {iterations: 5, schedule: {type: adaptive}}", ""},
      {"Policy gradient", "NLPO", "arXiv:2210.01241",
       "PPO on what is left of the policy among the likely tokens of a masking policy, a copy of some steps ago, with "
       "a "
       "divergence of the whole distributions from it",
       "policy: {type: causal_lm, path: a, sync_reference: true, reference_mixup: 1, reference_every: 20}\n"
       "objective: {type: ppo, divergence_weight: 0.3, divergence: reverse_kl}\ncredit: {type: gae}\nrollout: "
       "{mask_top_p: 0.9}",
       "arithmetic/nlpo.yaml"},
      {"Policy gradient", "Dual-clip PPO", "arXiv:1912.09729", "the ratio capped where A is negative",
       "objective: {type: ppo, clip_delta: 3}\ncredit: {type: gae}", ""},
      {"Policy gradient", "V-trace", "arXiv:1802.01561", "GAE under truncated ratios to who acted",
       "objective: {type: ppo}\ncredit: {type: gae, correction: v_trace}", ""},
      {"Policy gradient", "DPH-RL", "arXiv:2509.07430",
       "a forward KL or Jensen-Shannon divergence of whole distributions to the reference",
       "objective: {type: ppo, value_weight: 0, divergence_weight: 0.1, divergence: forward_kl}", ""},
      {"Policy gradient", "Clip-Cov", "arXiv:2505.22617", "no gradient of the tokens of highest covariance",
       "objective: {type: covariance}", "arithmetic/clip_cov.yaml"},
      {"Policy gradient", "KL-Cov", "arXiv:2505.22617", "|log-ratio| added for the tokens of highest covariance",
       "objective: {type: covariance, variant: kl_cov}", "arithmetic/kl_cov.yaml"},
      {"Policy gradient", "DRO", "arXiv:2405.19107", "-(A logp - beta / 2 (log-ratio)^2)",
       "objective: {type: dro, beta: 0.05}", "arithmetic/dro.yaml"},
      {"Policy gradient", "A*-PO", "arXiv:2505.20686", "(beta log-ratio - (r - V*))^2",
       "objective: {type: a2po, beta: 0.05}\ncredit: {type: optimal_value, beta: 0.5}", "arithmetic/a2po.yaml"},
      {"Policy gradient", "Reg-GRPO", "arXiv:2506.07464", "(z(log-ratio) - A)^2, z in the group as A is",
       "objective: {type: reg_grpo}\ntrain: {iterations: 2}", "arithmetic/reg_grpo.yaml"},
      {"Policy gradient", "f-DPG, GDC", "arXiv:2302.08215", "an f-divergence to p_ref e^(r / beta) / Z",
       "objective: {type: reinforce}\ncredit: {type: posterior, beta: 0.1, divergence: jensen_shannon}",
       "arithmetic/f_dpg.yaml"},
      {"Policy gradient", "LUFFY", "arXiv:2504.14945", "gold answers in the group, A p / (p + 0.1) for them",
       "objective: {type: grpo, given_shaping: 0.1}\nrollout: {given_answers: true}", "arithmetic/luffy.yaml"},
      {"Policy gradient", "SFT and RL together", "arXiv:2508.11408", "GRPO + the likelihood of gold answers",
       "objective: {type: grpo, given_nll_weight: 0.1}\nrollout: {given_answers: true}", "arithmetic/sft_and_rl.yaml"},
      {"Policy gradient", "AMFT", "arXiv:2508.06944, withdrawn by its authors",
       "mu the likelihood of gold answers + (1 - mu) GRPO; mu by the gradient on other rows",
       "objective: {type: amft}\ncredit: {type: group_normalized, given: apart}\ndata: {prompts: gold.jsonl, meta: "
       "gold_test.jsonl}\nrollout: {given_answers: true}",
       "arithmetic/amft.yaml"},
      {"Policy gradient", "TempSamp-R1", "arXiv:2509.18056",
       "gold answers in the group; rewards flat from 0.8 on, steep below, so that these outweigh nothing",
       "objective: {type: grpo}\ncredit: {type: group_normalized, shape_threshold: 0.8}\nrollout: {given_answers: "
       "true}",
       "arithmetic/tempsamp_r1.yaml"},
      {"Policy gradient", "ViSurf", "arXiv:2510.10606",
       "gold answers in the group; one that is matched counts as the mean of the own answers",
       "objective: {type: grpo}\ncredit: {type: group_normalized, given: smoothed}\nrollout: {given_answers: true}",
       "arithmetic/visurf.yaml"},
      {"Policy gradient", "AHPO", "arXiv:2510.08540",
       "GRPO + the likelihood of gold answers where less than a share of the own answers is right",
       "objective: {type: grpo, given_nll_weight: 1}\ncredit: {type: group_normalized, given: apart}\nselect: {type: "
       "own_answers, given_below: 0.25}\nrollout: {given_answers: true}",
       "arithmetic/ahpo.yaml"},
      {"Policy gradient", "HPT", "arXiv:2509.04419",
       "each problem by GRPO, or where too few own answers are right by its gold answer's likelihood",
       "objective: {type: grpo, given_nll_weight: 1}\ncredit: {type: group_normalized, given: apart}\nselect: {type: "
       "own_answers, given_below: 0.25, instead: true}\nrollout: {given_answers: true}",
       "arithmetic/hpt.yaml"},
      {"Policy gradient", "Difficulty filter", "arXiv:2504.03380", "groups of a mean reward in [0.2, 0.8]",
       "objective: {type: grpo}\nselect: {type: pass_rate, min: 0.2, max: 0.8, max_rounds: 3}",
       "arithmetic/pass_rate.yaml"},
      {"Policy gradient", "Variance-aware sampling", "arXiv:2509.21268", "the groups whose rewards vary most",
       "objective: {type: grpo}\nselect: {type: ranked_groups, keep: 0.5}", "arithmetic/variance_sampling.yaml"},
      {"Policy gradient", "PODS", "arXiv:2504.13818", "of each group the rows whose rewards vary most",
       "objective: {type: grpo}\nselect: {type: spread_rows, keep: 4}", "arithmetic/pods.yaml"},
      {"Preferences", "DPO", "arXiv:2305.18290", "-log s(beta (x - y)), x, y the log-ratios", "objective: {type: dpo}",
       "arithmetic/dpo.yaml"},
      {"Preferences", "Step-DPO", "arXiv:2406.18629", "DPO of the first step at which two answers part",
       "objective: {type: dpo}\ndata: {train: step_pairs.jsonl}", "arithmetic/step_dpo.yaml"},
      {"Preferences", "DDRO", "arXiv:2504.05181", "DPO between the names of a relevant and an irrelevant document",
       "objective: {type: dpo}\ndata: {train: cards.jsonl}", "arithmetic/ddro.yaml"},
      {"Preferences", "IPO", "arXiv:2310.12036", "(x - y - 1 / (2 beta))^2 of means",
       "objective: {type: dpo, variant: ipo}", "arithmetic/ipo.yaml"},
      {"Preferences", "RPO-alpha", "arXiv:2404.19733", "DPO + alpha the likelihood of the chosen",
       "objective: {type: dpo, variant: [sigmoid, sft], loss_weights: [1, 1]}", "arithmetic/rpo_alpha.yaml"},
      {"Preferences", "MPO", "arXiv:2411.10442", "0.8 DPO + 0.2 BCO + the likelihood of the chosen",
       "objective: {type: dpo, variant: [sigmoid, bco_pair, sft], loss_weights: [0.8, 0.2, 1]}", ""},
      {"Preferences", "SPPO", "arXiv:2405.00675", "(x - 1/(2 beta))^2 + (y + 1/(2 beta))^2",
       "objective: {type: dpo, variant: sppo_hard}", ""},
      {"Preferences", "APO", "arXiv:2408.06266", "anchored: up with the chosen, down with the rejected",
       "objective: {type: dpo, variant: apo_zero}", ""},
      {"Preferences", "AOT", "arXiv:2406.05882", "sorted margins against sorted margins",
       "objective: {type: dpo, variant: aot}", ""},
      {"Preferences", "f-DPO", "arXiv:2309.16240", "DPO under another divergence",
       "objective: {type: dpo, f_divergence: js_divergence}", ""},
      {"Preferences", "Reward-weighted DPO (RPO)", "arXiv:2407.12164", "labels as sure as the rewards are",
       "objective: {type: dpo, variant: soft_label}\nreward: {type: math_answer}", ""},
      {"Preferences", "Online DPO, iterative DPO", "arXiv:2402.04792", "DPO of the best and the worst of n own answers",
       "objective: {type: dpo}\nreward: {type: math_answer}\nselect: {type: best_worst}", "arithmetic/online_dpo.yaml"},
      {"Preferences", "XPO", "arXiv:2405.21046", "online DPO beside the reference's answer + alpha its likelihood",
       "objective: {type: dpo, exploration_weight: 1.0e-5}\nreward: {type: math_answer}\nrollout: {group_size: 2, "
       "reference_answers: 1}\nselect: {type: best_worst}",
       "arithmetic/xpo.yaml"},
      {"Preferences", "WPO", "arXiv:2406.11827", "DPO of pairs by e^(mean logp of both)",
       "objective: {type: dpo, weighting: true}", "arithmetic/wpo.yaml"},
      {"Preferences", "Nash-MD", "arXiv:2312.00886",
       "A = P(beats an answer of p^m p_ref^(1 - m)) - 1/2, KL in the loss",
       "objective: {type: reinforce, kl_weight: 0.01, kl_estimator: k2}\ncredit: {type: win_rate, against: given}\n"
       "select: {type: own_answers}\nrollout: {group_size: 8, reference_answers: 4, reference_mixture: 0.5}",
       "arithmetic/nash_md.yaml"},
      {"Preferences", "BRPO", "arXiv:2506.00103", "A = which is better, a row or one row of its group",
       "objective: {type: grpo}\ncredit: {type: win_rate, against: one, temperature: 0}", "arithmetic/brpo.yaml"},
      {"Preferences", "PRDP, CoPG, REBEL", "arXiv:2402.08714", "(x - y - (r_x - r_y) / beta)^2",
       "objective: {type: prdp, beta: 0.2}\nreward: {type: math_answer}", "arithmetic/prdp.yaml"},
      {"Preferences", "CPO", "arXiv:2401.08417", "DPO without a reference + likelihood", "objective: {type: cpo}",
       "arithmetic/cpo.yaml"},
      {"Preferences", "TPO", "arXiv:2405.16681",
       "DPO without a reference + the likelihood of a gold answer beside the pair",
       "objective: {type: cpo, gold: true, beta: 0.01}\ndata: {train: triples.jsonl}", "arithmetic/tpo.yaml"},
      {"Preferences", "SimPO", "arXiv:2405.14734", "-log s(beta (mean logp difference) - gamma)",
       "objective: {type: cpo, variant: simpo, beta: 2, gamma: 1, nll_weight: 0}", "arithmetic/simpo.yaml"},
      {"Preferences", "AlphaPO", "arXiv:2501.03884", "SimPO of (1 - p^-alpha) / alpha",
       "objective: {type: cpo, variant: simpo, alpha: 0.25, beta: 2.5, gamma: 0.3, nll_weight: 0}", ""},
      {"Preferences", "ORPO", "arXiv:2403.07691", "likelihood - beta log s(log odds ratio)", "objective: {type: orpo}",
       "arithmetic/orpo.yaml"},
      {"Preferences", "KTO", "arXiv:2402.01306", "answers found good or bad, against a reference point",
       "objective: {type: kto}", "arithmetic/kto.yaml"},
      {"Preferences", "BCO", "arXiv:2404.04656", "good from bad answers, against the mean reward so far",
       "objective: {type: kto, variant: bco}", "arithmetic/bco.yaml"},
      {"Reward models", "Bradley-Terry", "arXiv:2203.02155", "-log s(r_w - r_l - margin)",
       "policy: {type: reward_model}\nobjective: {type: bradley_terry, center_weight: 0.01}",
       "arithmetic/reward_model.yaml"},
      {"Reward models", "POLAR, policy discrimination", "arXiv:2507.05197",
       "-log s(r(a, a') - r(a, b)), a and a' answers of one policy, b of another; then the same of ranked answers; "
       "r(reference, answer) is the reward",
       "policy: {type: reward_model, prompt_template: '{prompt}{reference}<|reward|>{prompt}'}\nobjective: {type: "
       "bradley_terry}",
       "arithmetic/polar.yaml"},
      {"Reward models", "DMoERM, experts of points", "arXiv:2403.01197",
       "w PReLU(W [h_1; ..; h_K]), h_k what LoRA expert k has at the last token; a model each task, by a column of the "
       "dataset (its router is not trained)",
       "policy: {type: reward_model, path: a, experts: [b, c]}\nobjective: {type: bradley_terry}\nreward: {type: "
       "routed, "
       "rewards: [{for: sums, type: reward_model, path: d}, {for: words, type: reward_model, path: e}]}",
       "arithmetic/dmoerm.yaml"},
      {"Reward models", "Process reward model", "arXiv:2305.20050", "cross-entropy of each step's verdict",
       "policy: {type: reward_model}\nobjective: {type: process_reward}", "arithmetic/process_reward.yaml"},
      {"Reward models", "DreamPRM", "arXiv:2505.20241",
       "squared error of each step's verdict, each domain by a weight that is learned on other rows",
       "policy: {type: reward_model}\nobjective: {type: dream_prm, domains: [a, b]}\ndata: {train: a_and_b.jsonl, "
       "meta: "
       "others.jsonl}",
       "arithmetic/dream_prm.yaml"},
      {"Reward models", "Rewards from preferences between episodes", "arXiv:1706.03741",
       "Bradley-Terry of what the steps are worth in sum",
       "policy: {type: episode_scorer, episodes: trajectories.jsonl}\nobjective: {type: bradley_terry}",
       "gen_drive_evaluator.yaml"},
      {"Reward models", "Ensembles", "arXiv:2310.02743", "the least of several, or their mean less their variance",
       "reward: {type: weighted_sum, mean: worst_case, rewards: [{type: reward_model, path: a}, {type: reward_model, "
       "path: b}]}",
       ""},
      {"Reward models", "Implicit reward", "arXiv:2305.18290", "beta (logp - ref_logp) of a model that DPO made",
       "reward: {type: implicit, path: a, reference: b}", ""},
      {"Reward models", "Judge", "arXiv:2306.05685", "the mean of a language model's verdict; a pair's in both orders",
       "reward: {type: judge, path: a, template: 'Is {completion} right?'}", ""},
      {"Reward models", "Judge that reasons", "arXiv:2408.15240",
       "the verdict in what a language model writes, by a pattern; samples averaged, a pair's in both orders",
       "reward: {type: reasoning_judge, path: a, template: 'Is {completion} right?', verdict: 'verdict: (yes|no)', "
       "choices: ['yes', 'no']}",
       "arithmetic/reasoning_judge.yaml"},
      {"Images", "DDPO", "arXiv:2305.13301", "denoising steps as decisions",
       "policy: {type: diffusion}\nobjective: {type: ppo, value_weight: 0, clip_low: 1.0e-4}", "digits_ddpo.yaml"},
      {"Images", "Flow-GRPO", "arXiv:2505.05470", "steps of the flow's SDE as decisions",
       "policy: {type: flow}\nobjective: {type: grpo, variant: grpo, clip_low: 1.0e-4, kl_weight: 0.04}", ""},
      {"Images", "MixGRPO", "arXiv:2507.21802", "steps in a sliding window as decisions, the others deterministic",
       "policy: {type: flow}\nrollout: {window: {size: 4, move: slide, every: 25}}\nobjective: {type: grpo, variant: "
       "grpo}",
       ""},
      {"Images", "Flow-GRPO-Fast", "arXiv:2505.05470", "a window of two steps, at random, as decisions",
       "policy: {type: flow}\nrollout: {window: {size: 2, move: random}}\nobjective: {type: grpo, variant: grpo}", ""},
      {"Images", "D3PO", "arXiv:2311.13231", "DPO of denoising steps",
       "policy: {type: diffusion}\nobjective: {type: dpo}\nselect: {type: best_worst}", ""},
      {"Images", "DRaFT, AlignProp", "arXiv:2309.17400", "the reward's gradient through the last steps",
       "policy: {type: diffusion}\nobjective: {type: draft}", "digits_draft.yaml"},
      {"Images", "ID-Aligner", "arXiv:2404.15449", "the likeness to a reference picture, through the last step",
       "policy: {type: diffusion}\nreward: [{type: feature_cosine, column: image}]\nobjective: {type: draft, "
       "last_steps: "
       "1}",
       "digits_identity.yaml"},
      {"Images", "InstructVideo", "arXiv:2312.12490", "rewards of a video's frames, less towards its ends",
       "policy: {type: diffusion}\nrollout: {frames: 16, strength: 0.5}\nreward: {type: film_frames, segments: 4, "
       "attenuation: 1}\nobjective: {type: draft, last_steps: 1}",
       "instruct_video.yaml"},
      {"Images", "ReFL", "arXiv:2304.05977", "the reward's gradient through one denoised estimate",
       "policy: {type: diffusion}\nobjective: {type: refl}", ""},
      {"Images", "Ctrl-U", "arXiv:2410.11236", "consistency weighed by the reward's doubt",
       "policy: {type: diffusion}\nobjective: {type: ctrl_u}", "digits_ctrl_u.yaml"},
      {"Images", "DiffusionNFT", "arXiv:2509.16117", "the forward process, towards good and from bad samples",
       "policy: {type: diffusion}\nobjective: {type: diffusion_nft}", "digits_nft.yaml"},
      {"Images", "DRAKES", "arXiv:2410.13643", "reward gradients through Gumbel-softmax trajectories",
       "policy: {type: masked_diffusion}\nobjective: {type: draft}", "names_drakes.yaml"},
      {"Control", "SAC", "arXiv:1812.05905", "soft actor-critic", "objective: {type: sac}", "sac_half_cheetah.yaml"},
      {"Control", "TD3", "arXiv:1802.09477", "twin delayed deterministic policy gradient", "objective: {type: td3}",
       "td3_hopper.yaml"},
      {"Control", "DQN, double DQN", "arXiv:1509.06461", "deep Q-learning of choices",
       "policy: {type: q_network, normalize_observations: false}\nobjective: {type: dqn}", "dqn_cart_pole.yaml"},
      {"Control", "IQL", "arXiv:2110.06169", "expectile regression from given decisions", "objective: {type: iql}",
       "iql.yaml"},
      {"Control", "Cal-QL", "arXiv:2303.05479", "conservative Q-learning, calibrated", "objective: {type: cal_ql}",
       "cal_ql.yaml"},
      {"Control", "DPPO", "arXiv:2409.00588", "PPO of the steps of a diffusion actor",
       "policy: {type: diffusion_actor}\nobjective: {type: ppo, clip_base: 0.001}", "half_cheetah_dppo.yaml"},
      {"Control", "ReinFlow", "arXiv:2505.22094", "PPO of a flow actor with learned noise",
       "policy: {type: flow_actor}\nobjective: {type: ppo}", "half_cheetah_reinflow.yaml"},
      {"Control", "AC-Flow", "arXiv:2510.18072",
       "flow matching weighted by a critic of the states between noise and action, that learns first; its advantages "
       "are clipped",
       "policy: {type: flow_actor, decision: step, critic: steps, judge: forward}\ncredit: {type: gae, advantage_clip: "
       "2}\nobjective: {type: rwr, value_weight: 0.5, critic_warmup: 200, kl_weight: 0.1}",
       "half_cheetah_ac_flow.yaml"},
      {"Control", "Gen-Drive", "arXiv:2410.05582",
       "a diffusion of scenes, tuned by PPO of its steps to what an evaluator that learned from pairs says",
       "policy: {type: diffusion_actor}\nreward: {type: episode_model}\nobjective: {type: ppo, clip_base: 0.001}",
       "gen_drive.yaml"},
      {"Control", "Privileged actions", "arXiv:2502.15442",
       "PPO with virtual forces and weaker constraints, annealed to nothing",
       "environment: {type: mountain_car, wrappers: [{type: privileged_actions, force: 1, slack: 0, anneal_steps: "
       "150000}]}\nobjective: {type: ppo}",
       "mountain_car_privileged.yaml"},
      {"Control", "GFlowNet", "arXiv:2201.13259", "balance of flows: objects in proportion to reward",
       "objective: {type: gflownet}", "hypergrid.yaml"},
      {"Control", "OC-GFN", "arXiv:2310.03419",
       "a GFlowNet pre-trained to make the outcome it is asked for, then fine-tuned to a reward",
       "environment: {type: hypergrid, wrappers: [{type: outcome_conditioned, asked: 0.75}]}\nrollout: {hindsight: "
       "0.5}\nobjective: {type: gflownet, balance: subtb}",
       "hypergrid_oc_gfn.yaml"},
  };
  return all;
}

std::vector<std::string> methods_with(const std::string& type) {
  std::vector<std::string> out;
  for (const auto& method : methods()) {
    size_t at = method.composition.find("type: " + type);
    if (at == std::string::npos) continue;
    size_t end = at + 6 + type.size();
    if (end < method.composition.size() && (method.composition[end] == ',' || method.composition[end] == '}'))
      out.push_back(method.name);
  }
  return out;
}

std::string methods_page() {
  std::string out =
      "# Methods\n\n"
      "Published methods, and the blocks of a recipe that make each. Made by `rft list methods --markdown`; the "
      "options "
      "of every block are in [options.md](options.md). Where a recipe is named, `rft train configs/RECIPE` runs it; "
      "those "
      "of `arithmetic/` start from `rft data --out runs/arithmetic/data` and `rft train "
      "configs/arithmetic/base.yaml`.\n";
  std::string group;
  for (const auto& method : methods()) {
    if (method.group != group) out += "\n## " + (group = method.group) + "\n";
    out += "\n**" + method.name + "** (" + method.paper + "): " + method.formula + ".";
    if (!method.recipe.empty()) out += " Recipe: [" + method.recipe + "](../configs/" + method.recipe + ").";
    out += "\n\n```yaml\n" + method.composition + "\n```\n";
  }
  return out;
}

}  // namespace rft::app
