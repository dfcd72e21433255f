#pragma once
/// The options of a recipe's run:, data:, rollout: and train: blocks. Defaults are TRL 1.16's where TRL has the option.
#include <optional>
#include <string>

#include "rft/core/options.h"
#include "rft/rollout/reprompt.h"

namespace rft {

struct RunOptions {
  std::string name = "run";
  std::string output;  ///< empty: runs/NAME
  int64_t seed = 42;
  int64_t threads = 0;  ///< 0: OMP_NUM_THREADS, else all cores
  void visit(OptionVisitor& v) {
    v.option("name", name, "the run's name, shown in progress and curves");
    v.option("output", output, "the run directory; runs/NAME where empty");
    v.option("seed", seed, "seed of everything random: the same seed gives the same run, bit for bit on the CPU",
             at_least(0));
    v.option("threads", threads, "CPU threads; 0 = OMP_NUM_THREADS, else every core", at_least(0));
  }
};

struct DataOptions {
  std::vector<std::string> prompts, train;
  std::string eval, meta;
  std::vector<double> weights;
  bool shuffle = true;
  int64_t eval_rows = 0;
  void visit(OptionVisitor& v) {
    v.option("prompts", prompts, "rows to train on: a file, or several (.jsonl, .jsonl.gz, .parquet)");
    v.option("train", train,
             "another name for `prompts`, for rows that hold completions or pairs; give one of the two");
    v.option(
        "weights", weights,
        "of several files, how often rows of each come, relative to each other; without it every row comes once an "
        "epoch",
        above(0));
    v.option("eval", eval, "held-out rows, answered greedily and scored every train.eval_every steps (.jsonl)");
    v.option(
        "meta", meta,
        "rows that an objective of two levels (amft) shall serve: it learns weights of its own from them (.jsonl)");
    v.option("shuffle", shuffle, "a new order every epoch, from run.seed; false: the file's order");
    v.option("eval_rows", eval_rows, "use only the first so many rows of eval; 0 = all", at_least(0).in("rows"));
  }
  const std::vector<std::string>& rows() const { return prompts.empty() ? train : prompts; }
};

struct RolloutOptions {
  int64_t group_size = 8;
  std::optional<int64_t> batch_size;
  int64_t ahead = 0;
  bool recompute_logp = false;
  bool given_answers = false;
  int64_t reference_answers = 0;
  RepromptOptions reprompt;
  void visit(OptionVisitor& v) {
    v.option("group_size", group_size, "samples drawn for each prompt", at_least(1).in("samples"));
    v.option("batch_size", batch_size,
             "trajectories sampled at once; a multiple of group_size; null = as many as one optimizer step needs",
             at_least(1).in("trajectories"));
    v.option("ahead", ahead,
             "so many rollouts are sampled while the trainer learns from the one before them, by a copy of the policy "
             "as it was then, so many rollouts' updates old (AReaL, arXiv:2505.24298); 0 = none. causal_lm on the CPU; "
             "a copy of what is trained takes memory for each (docs/asynchronous.md)",
             at_least(0).in("rollouts"));
    v.option("recompute_logp", recompute_logp,
             "judge a rollout once more before its updates and take ratios against that instead of the sampler's own "
             "log-probabilities (useful in bfloat16, and with `ahead`)");
    v.option("given_answers", given_answers,
             "one of each group's answers is the dataset's own, its column `completion` (off-policy gold)");
    v.option("reference_answers", reference_answers,
             "so many of each group's answers are the reference policy's (policy.reference): opponents, or a teacher's",
             at_least(0).in("samples"));
    v.block(
        "reprompt", [&](OptionVisitor& in) { reprompt.visit(in); },
        "prompts put otherwise where an answer is sampled, learned and judged by the reference");
  }
};

struct OptimizerOptions {
  std::string type = "adamw";
  std::optional<double> lr, critic_lr;
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0.0;
  void visit(OptionVisitor& v) {
    v.option("type", type, "the optimizer", one_of({"adamw"}));
    v.option("lr", lr, "learning rate; null = 1e-6 for rollouts and pairs, 2e-5 for demonstrations, 3e-4 off-policy",
             above(0));
    v.option("critic_lr", critic_lr, "learning rate of critics, on the same schedule; null = lr", above(0));
    v.option("beta1", beta1, "decay of the gradient's mean", between(0, 1));
    v.option("beta2", beta2, "decay of the squared gradient's mean", between(0, 1));
    v.option("eps", eps, "added to the root of the squared gradient's mean", above(0));
    v.option("weight_decay", weight_decay, "decoupled weight decay (biases and norms are spared)", at_least(0));
  }
};

struct ScheduleOptions {
  std::string type = "linear";
  int64_t warmup_steps = 0;
  double warmup_ratio = 0, min_ratio = 0;
  double desired_kl = 0.01, min_lr = 1e-5, max_lr = 1e-2;
  void visit(OptionVisitor& v) {
    v.option("type", type,
             "how the learning rate falls after warm-up; adaptive: it has no warm-up, and follows how far the policy "
             "moves (the metric approx_kl, of ppo and grpo): divided by 1.5 where that is above 2 desired_kl, times "
             "1.5 where it is below desired_kl / 2",
             one_of({"linear", "cosine", "constant", "inverse_sqrt", "adaptive"}));
    v.option("desired_kl", desired_kl, "adaptive: KL divergence a decision between what acted and what is trained",
             above(0).in("nats"));
    v.option("min_lr", min_lr, "adaptive: the learning rate never falls below this", above(0));
    v.option("max_lr", max_lr, "adaptive: nor rises above this", above(0));
    v.option("warmup_steps", warmup_steps, "steps over which the learning rate rises from 0", at_least(0).in("steps"));
    v.option("warmup_ratio", warmup_ratio, "the same as a share of all steps; used where warmup_steps is 0",
             between(0, 1));
    v.option("min_ratio", min_ratio, "the learning rate never falls below this share of lr", between(0, 1));
  }
};

struct TrainOptions {
  std::optional<int64_t> steps, timesteps;
  double epochs = 3;
  int64_t batch_size = 8;
  std::optional<int64_t> micro_batch_size, micro_batch_tokens;
  int64_t iterations = 1;
  double max_grad_norm = 1.0;
  int64_t log_every = 1, samples_every = 10, samples = 4;
  std::optional<int64_t> eval_every;
  int64_t checkpoint_every = 500, keep_checkpoints = 2, keep_every = 0;
  bool save_async = false;
  int64_t max_nonfinite_steps = 3;
  double max_reward_failures = 0.5;
  std::string shard = "none", offload = "none";
  int64_t tensor_parallel = 1;
  OptimizerOptions optimizer;
  ScheduleOptions schedule;
  void visit(OptionVisitor& v) {
    v.option("steps", steps, "optimizer steps; null = as many as `epochs` passes over the data take",
             at_least(1).in("steps"));
    v.option("timesteps", timesteps,
             "environments: decisions to make in all, in whole rollouts of rollout.steps; gives the number of steps",
             at_least(1).in("decisions"));
    v.option("epochs", epochs, "passes over the data, where steps is null", above(0));
    v.option("batch_size", batch_size, "trajectories an optimizer step", at_least(1).in("trajectories"));
    v.option("micro_batch_size", micro_batch_size,
             "trajectories in memory at once; null = the whole batch. The gradient is the same for any value",
             at_least(1).in("trajectories"));
    v.option(
        "micro_batch_tokens", micro_batch_tokens,
        "in its place, of policies of text: so many tokens in memory at once, of rows of similar length (a row that "
        "has more is alone). Rows lie end to end, without padding between them, and none sees another",
        at_least(1).in("tokens"));
    v.option("iterations", iterations, "passes over each rollout (TRL's num_iterations)", at_least(1));
    v.option("max_grad_norm", max_grad_norm, "the gradient is scaled down to this norm; 0 = never", at_least(0));
    v.option("log_every", log_every, "a line of metrics.jsonl every so many steps, averaged over them",
             at_least(1).in("steps"));
    v.option("samples_every", samples_every, "rollouts are written to samples.jsonl every so many steps; 0 = never",
             at_least(0).in("steps"));
    v.option("samples", samples, "how many rollouts are written each time", at_least(1));
    v.option("eval_every", eval_every, "held-out evaluation every so many steps; null = only at the end",
             at_least(1).in("steps"));
    v.option("checkpoint_every", checkpoint_every, "a checkpoint every so many steps; 0 = only when interrupted",
             at_least(0).in("steps"));
    v.option("keep_checkpoints", keep_checkpoints, "the newest so many checkpoints are kept; 0 = all", at_least(0));
    v.option("keep_every", keep_every, "besides those, checkpoints whose step is a multiple of this; 0 = none",
             at_least(0).in("steps"));
    v.option("save_async", save_async,
             "training goes on while a checkpoint reaches the disk: only copying it to the system's file cache is "
             "waited for. One that fails is reported at the next step");
    v.option("max_nonfinite_steps", max_nonfinite_steps,
             "a step whose loss or gradient is not finite is skipped; after so many in a row the run stops",
             at_least(1));
    v.option("max_reward_failures", max_reward_failures,
             "the run stops when more than this share of a rollout's rewards could not be computed", between(0, 1));
    v.option(
        "shard", shard,
        "what of several processes each keeps only its part of: nothing, the optimizer's moments and master "
        "weights (ZeRO-1), the gradients too (ZeRO-2), which are then sent in every micro-batch, or also the "
        "parameters, which are gathered layer by layer (ZeRO-3; causal_lm); beside adapters, which are whole, those "
        "of the frozen layers. The weights are the same, bit for bit where each process has one micro-batch a step",
        one_of({"none", "optimizer", "gradients", "parameters"}));
    v.option(
        "offload", offload,
        "what is kept in the host's memory while the model is on a GPU: the optimizer's moments and master weights, "
        "each process's part of them. The step is then computed by the CPU (ZeRO-Offload, arXiv:2101.06840), and "
        "gradients and weights are copied",
        one_of({"none", "optimizer"}));
    v.option(
        "tensor_parallel", tensor_parallel,
        "so many neighbouring processes compute with each other, each with its part of every layer and of the "
        "vocabulary (Megatron-LM; causal_lm and reward models on the CPU); the others share the rows. Attention and "
        "key/value heads must be a multiple of it",
        at_least(1).in("processes"));
    v.block(
        "optimizer", [this](OptionVisitor& in) { optimizer.visit(in); }, "the optimizer");
    v.block(
        "schedule", [this](OptionVisitor& in) { schedule.visit(in); }, "the learning rate over time");
  }
};

}  // namespace rft
