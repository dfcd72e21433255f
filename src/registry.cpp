#include "rft/core/registry.h"

#include "rft/credit/baselines.h"
#include "rft/credit/gae.h"
#include "rft/credit/group_normalized.h"
#include "rft/credit/leave_one_out.h"
#include "rft/credit/optimal_value.h"
#include "rft/credit/posterior.h"
#include "rft/credit/reward_to_go.h"
#include "rft/credit/win_rate.h"
#include "rft/env/classic.h"
#include "rft/env/driving.h"
#include "rft/env/hypergrid.h"
#include "rft/env/outcome_conditioned.h"
#include "rft/env/point_mass.h"
#include "rft/env/privileged_actions.h"
#include "rft/env/robots.h"
#include "rft/objective/a2po.h"
#include "rft/objective/amft.h"
#include "rft/objective/bradley_terry.h"
#include "rft/objective/covariance.h"
#include "rft/objective/cpo.h"
#include "rft/objective/ctrl_u.h"
#include "rft/objective/dft.h"
#include "rft/objective/diffusion_nft.h"
#include "rft/objective/distillation.h"
#include "rft/objective/dpo.h"
#include "rft/objective/dqn.h"
#include "rft/objective/draft.h"
#include "rft/objective/dream_prm.h"
#include "rft/objective/dro.h"
#include "rft/objective/gflownet.h"
#include "rft/objective/gmpo.h"
#include "rft/objective/grpo.h"
#include "rft/objective/inverse_q.h"
#include "rft/objective/iql.h"
#include "rft/objective/kto.h"
#include "rft/objective/orpo.h"
#include "rft/objective/ppo.h"
#include "rft/objective/prdp.h"
#include "rft/objective/process_reward.h"
#include "rft/objective/reg_grpo.h"
#include "rft/objective/reinforce.h"
#include "rft/objective/rloo.h"
#include "rft/objective/rwr.h"
#include "rft/objective/sac.h"
#include "rft/objective/sampled_distillation.h"
#include "rft/objective/sft.h"
#include "rft/objective/td3.h"
#include "rft/policy/causal_lm.h"
#include "rft/policy/chain_actor.h"
#include "rft/policy/diffusion.h"
#include "rft/policy/episode_scorer.h"
#include "rft/policy/image_classifier.h"
#include "rft/policy/masked_diffusion.h"
#include "rft/policy/mlp_actor.h"
#include "rft/policy/q_network.h"
#include "rft/policy/recurrent_actor.h"
#include "rft/policy/seq2seq_lm.h"
#include "rft/policy/text_scorer.h"
#include "rft/reward/dense_rewards.h"
#include "rft/reward/distribution_rewards.h"
#include "rft/reward/episode_reward.h"
#include "rft/reward/exact_match.h"
#include "rft/reward/film_frames.h"
#include "rft/reward/image_rewards.h"
#include "rft/reward/language_model_rewards.h"
#include "rft/reward/length.h"
#include "rft/reward/math_answer.h"
#include "rft/reward/optimal_transport.h"
#include "rft/reward/reasoning_judge.h"
#include "rft/reward/regex.h"
#include "rft/reward/routed.h"
#include "rft/reward/sequence_rewards.h"
#include "rft/reward/text_encoder_rewards.h"
#include "rft/reward/text_reward.h"
#include "rft/reward/vision_rewards.h"
#include "rft/reward/weighted_sum.h"
#include "rft/select/all.h"
#include "rft/select/best_of_n.h"
#include "rft/select/best_worst.h"
#include "rft/select/dynamic_sampling.h"
#include "rft/select/gvm.h"
#include "rft/select/pass_rate.h"
#include "rft/select/ranked_groups.h"

/// The one file that names every implementation.

namespace rft {
namespace {

void register_policies() {
  auto& table = registry<Policy>();
  table.add<CausalLm>("causal_lm", "a decoder-only language model (Qwen2, Qwen3, Llama, GPT-2)",
                      "transformers' AutoModelForCausalLM");
  table.add<Seq2SeqLm>("seq2seq_lm",
                       "an encoder-decoder language model (T5, BART); a decision is a token of the answer",
                       "transformers' AutoModelForSeq2SeqLM; T5, Raffel et al. 2020, arXiv:1910.10683; BART, Lewis et "
                       "al. 2020, arXiv:1910.13461");
  table.add<TextScorer>("reward_model", "a model that scores texts, to become a reward",
                        "transformers' AutoModelForSequenceClassification; TRL RewardTrainer, PRMTrainer");
  table.add<Diffusion>("diffusion", "an image model that predicts noise; a decision is a denoising step",
                       "diffusers' pipelines; DDPO, Black et al. 2023, arXiv:2305.13301");
  table.add<Flow>("flow", "an image model that predicts a velocity; a decision is a step of its SDE",
                  "diffusers' pipelines; Flow-GRPO, Liu et al. 2025, arXiv:2505.05470");
  table.add<MaskedDiffusion>("masked_diffusion", "sequences of tokens, unmasked in steps; a decision is a token",
                             "MDLM, Sahoo et al. 2024, arXiv:2406.07524; DRAKES, arXiv:2410.13643");
  table.add<ImageClassifier>("image_classifier", "a classifier or regressor of images, to become a reward",
                             "transformers' ViTForImageClassification");
  table.add<EpisodeScorer>("episode_scorer", "a model that scores what actors do, to become a reward",
                           "Christiano et al. 2017, arXiv:1706.03741; Gen-Drive, arXiv:2410.05582");
  table.add<GaussianActor>("gaussian", "control: actions are numbers, from a multi-layer perceptron",
                           "Stable-Baselines3's MlpPolicy");
  table.add<DeterministicActor>("deterministic", "control: actions are numbers, with noise for exploration alone",
                                "Stable-Baselines3's TD3 policy; Fujimoto et al. 2018, arXiv:1802.09477");
  table.add<CategoricalActor>("categorical", "control: an action is one of several choices",
                              "Stable-Baselines3's MlpPolicy");
  table.add<QNetwork>("q_network", "control: the choice of which most is expected, and now and then any",
                      "Mnih et al. 2015, doi:10.1038/nature14236; Stable-Baselines3's DQN policy");
  table.add<RecurrentActor>("recurrent", "control: an actor that remembers, LSTM or GRU", "sb3-contrib's RecurrentPPO");
  table.add<FlowActor>("flow_actor", "control: a few steps of a flow, with a learned noise, make an action",
                       "ReinFlow, Zhang et al. 2025, arXiv:2505.22094");
  table.add<DiffusionActor>("diffusion_actor", "control: the steps of a diffusion make an action",
                            "DPPO, Ren et al. 2024, arXiv:2409.00588");
}

void register_environments() {
  auto& table = registry<Environment>();
  table.add<Acrobot>("acrobot", "two links swing up by a torque at their elbow", "Gymnasium Acrobot-v1");
  table.add<Ant>("ant", "a four-legged robot runs", "Gymnasium Ant-v5");
  table.add<CartPole>("cart_pole", "a cart moves left or right under its pole", "Gymnasium CartPole-v1");
  table.add<Driving>("driving", "vehicles at a crossing of two roads, all moved by one policy",
                     "a scene as in Gen-Drive, Huang et al. 2024, arXiv:2410.05582");
  table.add<HalfCheetah>("half_cheetah", "a two-legged robot runs in the plane", "Gymnasium HalfCheetah-v5");
  table.add<Hopper>("hopper", "a one-legged robot hops in the plane", "Gymnasium Hopper-v5");
  table.add<Hypergrid>("hypergrid", "a walk over a grid whose end is an object with a reward",
                       "Bengio et al. 2021, arXiv:2106.04399");
  table.add<InvertedPendulum>("inverted_pendulum", "a cart balances a pole", "Gymnasium InvertedPendulum-v5");
  table.add<MountainCar>("mountain_car", "an engine rocks a car up a hill", "Gymnasium MountainCarContinuous-v0");
  table.add<Pendulum>("pendulum", "a torque swings a pendulum up", "Gymnasium Pendulum-v1");
  table.add<PointMass>("point_mass", "points accelerate to their goals in the plane; one or several agents", "");
  table.add<Pusher>("pusher", "an arm pushes a cylinder to a place", "Gymnasium Pusher-v5");
  table.add<Reacher>("reacher", "a two-jointed arm reaches for a point", "Gymnasium Reacher-v5");
  table.add<Walker2d>("walker2d", "a two-legged robot walks in the plane", "Gymnasium Walker2d-v5");
}

void register_wrappers() {
  auto& table = registry<EnvironmentWrapper>();
  table.add<OutcomeConditioned>("outcome_conditioned", "asks for the object that an episode shall make",
                                "OC-GFN, Pan et al. 2024, arXiv:2310.03419");
  table.add<PrivilegedActions>("privileged_actions", "virtual forces and weaker constraints, less and less over a run",
                               "Mao et al. 2025, arXiv:2502.15442");
}

void register_rewards() {
  auto& table = registry<RewardModel>();
  table.add<Aesthetic>("aesthetic", "how good a picture looks: a head on CLIP's image features",
                       "LAION's aesthetic predictor");
  table.add<ClipSimilarity>("clip_similarity", "how well a picture goes with a text, by CLIP",
                            "CLIPScore, Hessel et al. 2021, arXiv:2104.08718");
  table.add<ColourTarget>("colour_target", "how near a picture's mean colour is to another", "");
  table.add<DepthConsistency>("depth_consistency", "how well a picture's depth follows the condition, by a depth model",
                              "ControlNet++, Li et al. 2024, arXiv:2404.07987");
  table.add<DragonReward>("dragon", "how near the patches of one picture are to those of a reference set",
                          "DRAGON, Bai et al. 2025, arXiv:2504.15217");
  table.add<EdgeConsistency>("edge_consistency", "how well a picture's edges follow the condition",
                             "ControlNet++, Li et al. 2024, arXiv:2404.07987");
  table.add<EpisodeReward>("episode_model", "what a model that was trained from preferences says of an episode's steps",
                           "Christiano et al. 2017, arXiv:1706.03741; Gen-Drive, arXiv:2410.05582");
  table.add<ExactMatch>("exact_match", "whether the completion is what a column of the dataset says", "");
  table.add<FeatureCosine>("feature_cosine", "how much a picture resembles another, by an encoder's features",
                           "ID-Aligner, Chen et al. 2024, arXiv:2404.15449");
  table.add<FrechetReward>("frechet", "how much nearer a picture brings the samples to a reference set",
                           "DRAGON, arXiv:2504.15217; FID, Heusel et al. 2017, arXiv:1706.08500");
  table.add<ImageClassifierReward>("image_classifier",
                                   "what a classifier says of a picture's class, or a regressor of it",
                                   "transformers' ViTForImageClassification");
  table.add<JpegSize>("jpeg_size", "how small (or large) a picture is as a JPEG file",
                      "Black et al. 2023, arXiv:2305.13301; ddpo-pytorch jpeg_compressibility");
  table.add<ImplicitReward>("implicit", "by how much likelier a model trained on preferences makes the completion",
                            "Rafailov et al. 2023, arXiv:2305.18290");
  table.add<Judge>("judge",
                   "the verdict of a language model that is asked about the completion, alone or beside another",
                   "Zheng et al. 2023, arXiv:2306.05685");
  table.add<LengthReward>("length", "by the length of the completion",
                          "DAPO, arXiv:2503.14476; TRL get_soft_overlong_punishment");
  table.add<MathAnswer>("math_answer", "whether the final answer equals the dataset's",
                        "verifiable rewards, arXiv:2411.15124");
  table.add<MotifReward>("motif", "how often motifs occur in a sequence", "");
  table.add<OptimalTransport>("optimal_transport", "how much an episode of control goes like those that were shown",
                              "RAPL, Tian et al. 2024, arXiv:2310.07932");
  table.add<PixelTarget>("pixel_target", "how near a picture's pixels are to another's", "");
  table.add<ReasoningJudge>("reasoning_judge",
                            "the verdict that a language model writes after reasoning about the completion",
                            "Zheng et al. 2023, arXiv:2306.05685; generative verifiers, arXiv:2408.15240");
  table.add<RegexReward>("regex", "whether the completion matches a regular expression", "PCRE2");
  table.add<TextReward>("reward_model", "what a reward model says of prompt and completion, or of its steps",
                        "Ouyang et al. 2022, arXiv:2203.02155; Lightman et al. 2023, arXiv:2305.20050");
  table.add<Routed>("routed", "of several rewards the one that a column of the dataset names",
                    "DMoERM, Quan 2024, arXiv:2403.01197");
  table.add<SegmentationConsistency>("segmentation_consistency",
                                     "how well a picture's segmentation follows the condition, by a segmentation model",
                                     "ControlNet++, Li et al. 2024, arXiv:2404.07987");
  table.add<SequenceClassifierReward>("sequence_classifier", "what a classifier or regressor says of a sequence",
                                      "transformers' EsmForSequenceClassification");
  table.add<TextClassifierReward>("text_classifier", "what a classifier says of a text: its sentiment, how toxic it is",
                                  "transformers' AutoModelForSequenceClassification of BERT, RoBERTa, DistilBERT");
  table.add<TextSimilarity>("text_similarity", "how alike the completion and a column of the dataset are in meaning",
                            "Sentence-BERT, Reimers & Gurevych 2019, arXiv:1908.10084");
  table.add<VendiReward>("vendi", "how much more diverse a picture makes the samples",
                         "DRAGON, arXiv:2504.15217; Friedman & Dieng 2023, arXiv:2210.02410");
  table.add<FilmFrames>("film_frames", "rewards of pictures on the frames of a video, less towards its ends",
                        "InstructVideo, arXiv:2312.12490");
  table.add<WeightedSum>("weighted_sum", "the weighted sum of several rewards", "TRL reward_weights");
}

void register_objectives() {
  auto& table = registry<Objective>();
  table.add<Sft>("sft", "supervised fine-tuning: the likelihood of given completions", "TRL SFTTrainer");
  table.add<Dft>("dft", "the likelihood of given completions, each token weighed by how likely it is",
                 "Wu et al. 2025, arXiv:2508.05629; TRL SFTTrainer loss_type dft");
  table.add<Asft>("asft", "dft, anchored to the reference by a divergence", "Zhu et al. 2025, arXiv:2509.23753");
  table.add<Distillation>("distillation", "the policy's distributions drawn to a teacher's, on given or its own tokens",
                          "GKD, Agarwal et al. 2024, arXiv:2306.13649; TRL GKDTrainer");
  table.add<SampledDistillation>("sampled_distillation", "the policy drawn to a teacher by the tokens that it samples",
                                 "IW-OPD; TRL IWOPDTrainer");
  table.add<InverseQ>("inverse_q", "the likelihood of given completions, and rewards that explain them",
                      "IQ-Learn, Garg et al. 2021, arXiv:2106.12142; Wulfmeier et al. 2024, arXiv:2409.01369");
  table.add<Raft>("raft", "reward-ranked fine-tuning: the likelihood of the best of several samples",
                  "Dong et al. 2023, arXiv:2304.06767");
  table.add<Grpo>("grpo", "group-relative policy optimisation and its variants",
                  "Shao et al. 2024, arXiv:2402.03300; TRL GRPOTrainer");
  table.add<Amft>("amft", "grpo and the likelihood of given answers, in a balance that is learned on other rows",
                  "He et al. 2025, arXiv:2508.06944");
  table.add<Gmpo>("gmpo", "geometric-mean policy optimisation", "Zhao et al. 2025, arXiv:2507.20673; TRL GMPOTrainer");
  table.add<Rloo>("rloo", "REINFORCE leave-one-out with a clipped sequence ratio",
                  "Ahmadian et al. 2024, arXiv:2402.14740; TRL RLOOTrainer");
  table.add<Reinforce>("reinforce", "the plain policy gradient, for batches of the present policy",
                       "Williams 1992, doi:10.1007/BF00992696");
  table.add<Ppo>("ppo", "proximal policy optimisation with a critic",
                 "Schulman et al. 2017, arXiv:1707.06347; TRL PPOTrainer");
  table.add<Covariance>("covariance",
                        "policy gradient that spares the tokens by which entropy is lost: Clip-Cov, KL-Cov",
                        "Cui et al. 2025, arXiv:2505.22617; verl clip_cov, kl_cov");
  table.add<Dro>("dro", "policy gradient held near its anchor by a squared log-ratio, on-policy or not",
                 "Richemond et al. 2024, arXiv:2405.19107; verl dro");
  table.add<RegGrpo>("reg_grpo", "regression of a group's normalised log-ratios to its advantages",
                     "DeepVideo-R1, Park et al. 2025, arXiv:2506.07464");
  table.add<A2po>("a2po", "regression of log-ratios to optimal advantages",
                  "A*-PO, Brantley et al. 2025, arXiv:2505.20686; TRL A2POTrainer");
  table.add<Dpo>("dpo", "direct preference optimisation and its variants, of pairs",
                 "Rafailov et al. 2023, arXiv:2305.18290; TRL DPOTrainer");
  table.add<Cpo>("cpo", "preferences without a reference: CPO, SimPO, AlphaPO",
                 "Xu et al. 2024, arXiv:2401.08417; Meng et al. 2024, arXiv:2405.14734; TRL CPOTrainer");
  table.add<Orpo>("orpo", "likelihood and the odds ratio of two answers, without a reference",
                  "Hong et al. 2024, arXiv:2403.07691; TRL ORPOTrainer");
  table.add<BradleyTerry>("bradley_terry", "trains a reward model: the chosen answer's score above the rejected one's",
                          "Ouyang et al. 2022, arXiv:2203.02155; TRL RewardTrainer");
  table.add<ProcessReward>("process_reward", "trains a reward model of an answer's steps, by a verdict on each",
                           "Lightman et al. 2023, arXiv:2305.20050; TRL PRMTrainer");
  table.add<DreamPrm>("dream_prm",
                      "trains a reward model of steps on several domains, whose weights are learned on other rows",
                      "Cao et al. 2025, arXiv:2505.20241");
  table.add<Kto>("kto", "learning from answers that were found good or bad, one by one",
                 "Ethayarajh et al. 2024, arXiv:2402.01306; TRL KTOTrainer; BCO, Jung et al. 2024, arXiv:2404.04656");
  table.add<Prdp>("prdp", "the difference of two answers' rewards, predicted by their log-ratios",
                  "Deng et al. 2024, arXiv:2402.08714");
  table.add<Rwr>("rwr", "reward-weighted regression on the policy's own samples",
                 "Peters & Schaal 2007; Flow-RWR, Liu et al. 2025, arXiv:2501.13918");
  table.add<DiffusionNft>("diffusion_nft", "the forward process of finished samples, towards good and from bad ones",
                          "DiffusionNFT, Zheng et al. 2025, arXiv:2509.16117");
  table.add<Draft>("draft", "reward backpropagation through the sampler's last steps",
                   "Clark et al. 2024, arXiv:2309.17400; AlignProp, arXiv:2310.03739");
  table.add<Refl>("refl", "reward backpropagation through one denoised estimate", "Xu et al. 2023, arXiv:2304.05977");
  table.add<Sac>("sac", "soft actor-critic: off-policy, with an entropy bonus",
                 "Haarnoja et al. 2018, arXiv:1812.05905; Stable-Baselines3 SAC");
  table.add<Td3>("td3", "twin delayed deterministic policy gradient: off-policy",
                 "Fujimoto et al. 2018, arXiv:1802.09477; Stable-Baselines3 TD3");
  table.add<Dqn>("dqn", "deep Q-learning of choices, double or not: off-policy",
                 "Mnih et al. 2015, doi:10.1038/nature14236; van Hasselt et al. 2016, arXiv:1509.06461; "
                 "Stable-Baselines3 DQN");
  table.add<Iql>("iql", "implicit Q-learning: from decisions that others made",
                 "Kostrikov et al. 2021, arXiv:2110.06169");
  table.add<CalQl>("cal_ql", "calibrated conservative Q-learning: from offline data to online",
                   "Nakamoto et al. 2023, arXiv:2303.05479; CQL, arXiv:2006.04779");
  table.add<GFlowNet>("gflownet",
                      "objects in proportion to their reward: trajectory, detailed or sub-trajectory balance",
                      "Malkin et al. 2022, arXiv:2201.13259; Madan et al. 2023, arXiv:2209.12782");
  table.add<CtrlU>("ctrl_u", "agreement with the condition, weighed by the reward's uncertainty",
                   "Zhang et al. 2025, arXiv:2410.11236; ControlNet++, arXiv:2404.07987");
}

void register_credits() {
  auto& table = registry<Credit>();
  table.add<GroupNormalized>("group_normalized",
                             "a reward less its group's mean, over the group's or the batch's spread",
                             "Shao et al. 2024, arXiv:2402.03300");
  table.add<WinRate>("win_rate", "how likely an answer is to beat others to the same context",
                     "Nash-MD, Munos et al. 2023, arXiv:2312.00886; BRPO, arXiv:2506.00103");
  table.add<LeaveOneOut>("leave_one_out", "a reward less the mean of the others in its group",
                         "Ahmadian et al. 2024, arXiv:2402.14740");
  table.add<RewardToGo>("reward_to_go", "discounted rewards still to come, whitened over the batch",
                        "REINFORCE++, Hu et al. 2025, arXiv:2501.03262; PURE, arXiv:2504.15275");
  table.add<GreedyBaseline>("greedy_baseline", "a reward less that of the most likely answer",
                            "ReMax, Li et al. 2024, arXiv:2310.10505");
  table.add<LengthBaseline>("length_baseline", "a reward less its group's length-weighted mean",
                            "OPO, Hao et al. 2025, arXiv:2505.23585");
  table.add<MaxAtK>("max_at_k", "what a row adds to the best of k answers", "PKPO, arXiv:2505.15201");
  table.add<OptimalValue>("optimal_value", "a reward less the value of the best policy under a KL penalty",
                          "A*-PO, Brantley et al. 2025, arXiv:2505.20686");
  table.add<Posterior>("posterior", "draws the policy to p_ref exp(reward / beta) by an f-divergence",
                       "f-DPG, Go et al. 2023, arXiv:2302.08215; GDC, arXiv:2012.11635");
  table.add<Gae>("gae", "generalised advantage estimation with a critic",
                 "Schulman et al. 2016, arXiv:1506.02438; TRL PPOTrainer");
}

void register_selectors() {
  auto& table = registry<Selector>();
  table.add<SelectAll>("all", "every row", "");
  table.add<OwnAnswers>("own_answers", "the rows that the policy made itself; others' where it fails, if asked",
                        "AHPO, Zhao et al. 2025, arXiv:2510.08540; HPT, arXiv:2509.04419");
  table.add<BestOfN>("best_of_n", "the best rows of each group", "Dong et al. 2023, arXiv:2304.06767");
  table.add<BestWorst>("best_worst", "the best and the worst row of each group, as a pair",
                       "online DPO, arXiv:2402.04792; D3PO, arXiv:2311.13231");
  table.add<DynamicSampling>("dynamic_sampling", "groups whose rewards differ; more is drawn until the batch is full",
                             "DAPO, Yu et al. 2025, arXiv:2503.14476");
  table.add<PassRate>("pass_rate", "groups that are neither too easy nor too hard",
                      "Bae et al. 2025, arXiv:2504.03380");
  table.add<RankedGroups>("ranked_groups", "the groups whose rewards vary most, or the hardest ones",
                          "variance-aware sampling, arXiv:2509.21268");
  table.add<SpreadRows>("spread_rows", "of each group the rows whose rewards vary most", "PODS, arXiv:2504.13818");
  table.add<Gvm>("gvm", "more answers where the gradient varies more; of each context its right ones",
                 "Yao et al. 2025, arXiv:2505.02391");
}

}  // namespace

void register_builtins() {
  static const bool once = [] {
    register_policies(), register_environments(), register_wrappers(), register_rewards(), register_objectives(),
        register_credits(), register_selectors();
    return true;
  }();
  (void)once;
}

}  // namespace rft
