/// Layers gathered one by one that are frozen under adapters, or have experts: the same runs, and what theory sends.
#include "processes.h"
#include "rft/nn/decoder.h"

namespace rft::layers_test {
namespace {
using namespace testing;

const std::string kWhole = "train.shard=gradients", kLayers = "train.shard=parameters";

/// A model of three layers, random, that reads the task's texts; and recipes on it.
class LayeredTask : public Task {
 public:
  explicit LayeredTask(bool experts = false) {
    fs::copy(data("model"), model());
    auto config = nlohmann::json::parse(read_file(model() + "/config.json"));
    config["hidden_size"] = 64, config["head_dim"] = 16, config["intermediate_size"] = 128;
    config["num_hidden_layers"] = 3, config["initializer_range"] = 0.1;
    if (experts) {
      config["architectures"] = {"Qwen3MoeForCausalLM"}, config["model_type"] = "qwen3_moe";
      config["decoder_sparse_step"] = 1, config["mlp_only_layers"] = {1}, config["moe_intermediate_size"] = 32;
      config["num_local_experts"] = 4, config["num_experts_per_tok"] = 2, config["norm_topk_prob"] = true;
      config["output_router_logits"] = true, config["router_aux_loss_coef"] = 0.1;
    }
    std::string file = model() + "/config.json";
    write_file(file, config.dump(1));
    Decoder decoder = random_decoder(DecoderConfig::from_json(read_file(file), file), at::kFloat, 7);
    tensors_ = decoder.hugging_face_tensors();
    save_safetensors(model() + "/model.safetensors", tensors_);
  }
  std::string model() const { return *this / "layered"; }
  /// `blocks` but for train, of which each process has one micro-batch where the batch is 8, and one of two has none in
  /// the second pass where it is 9.
  std::string layered(const std::string& name, const std::string& policy, const std::string& blocks,
                      int64_t batch = 8) const {
    std::string file = *this / name;
    write_file(file, cat("run: {name: layered, seed: 5}\npolicy: {type: causal_lm, path: ", model(), policy, "}\n",
                         blocks, "train: {steps: 5, batch_size: ", batch, ", micro_batch_size: ", batch == 8 ? 4 : 3,
                         ", checkpoint_every: 0, optimizer: {lr: 1.0e-2}}\n"));
    return file;
  }
  std::string sft(const std::string& objective = "{type: sft}") const {
    return "data: {train: " + data("sft.jsonl") + "}\nobjective: " + objective + "\n";
  }
  std::string dpo() const { return "data: {train: " + data("pairs.jsonl") + "}\nobjective: {type: dpo}\n"; }
  std::string rolled_out(const std::string& objective) const {
    return "data: {prompts: " + data("train.jsonl") +
           "}\nrollout: {group_size: 2, max_new_tokens: 8}\nreward: {type: length, form: linear, scale: 50}\n"
           "objective: " +
           objective + "\n";
  }
  /// Bytes of the layers' matrices.
  double layer_bytes() const {
    double out = 0;
    for (const auto& [name, value] : tensors_)
      if (name.find(".layers.") != std::string::npos && value.dim() == 2) out += static_cast<double>(value.nbytes());
    return out;
  }

 private:
  std::map<std::string, Tensor> tensors_;
};

double bytes_of(const std::string& safetensors) {
  double out = 0;
  for (const auto& [name, value] : load_safetensors(safetensors).tensors) out += static_cast<double>(value.nbytes());
  return out;
}

/// The least that rank 0 sent in a step, but for the first, before which all weights are there.
double least_sent(const std::string& output) {
  double least = HUGE_VAL;
  auto rows = metrics(output);
  for (size_t i = 1; i < rows.size(); ++i) least = std::min(least, rows[i].at("network/bytes_sent").get<double>());
  return least;
}

TEST(FrozenLayers, TrainAdaptersAsWholeOnesDo) {
  LayeredTask task;
  const std::string lora = ", lora: {rank: 4}";
  struct Case {
    std::string name, policy, blocks;
    int64_t batch = 9;
  };
  for (const Case& one :
       {Case{"sft", lora, task.sft()},
        {"last", ", lora: {rank: 4, target_regex: '.*layers.2.*(q|up)_proj'}", task.sft()},
        {"dora", ", gradient_checkpointing: true, lora: {rank: 4, dora: true, modules_to_save: [lm_head]}", task.sft()},
        {"int8", lora + ", quantize: int8", task.dpo()},
        // The reference is asked within an update, too.
        {"nf4", lora + ", quantize: nf4", task.sft("{type: asft, kl_weight: 0.1}")},
        {"ppo", lora, task.rolled_out("{type: ppo, kl_weight: 0.01}"), 8}}) {
    std::string recipe = task.layered(one.name + ".yaml", one.policy, one.blocks, one.batch);
    run(2, recipe, task / one.name, kWhole);
    run(2, recipe, task / (one.name + "-layers"), kLayers);
    expect_alike(task / one.name, task / (one.name + "-layers"), 0);
    if (one.name != "sft") continue;
    run(1, recipe, task / (one.name + "-1"), kLayers);
    run(3, recipe, task / (one.name + "-3"), kLayers);
    for (const char* other : {"-layers", "-3"}) {
      expect_alike(task / (one.name + "-1"), task / (one.name + other), 1e-4);
      EXPECT_NEAR(first_norm(task / (one.name + other)), first_norm(task / (one.name + "-1")),
                  1e-6 * first_norm(task / (one.name + "-1")));
    }
  }
}

TEST(FrozenLayers, AnyNumberOfProcessesGoesOnFromTheirCheckpoints) {
  LayeredTask task;
  std::string recipe = task.layered("dpo.yaml", ", lora: {rank: 4}", task.dpo());
  std::string arguments = "train " + recipe + " --quiet train.steps=12 train.checkpoint_every=2 ";
  run(2, recipe, task / "whole", kLayers + " train.steps=12");
  {
    Processes processes(2, [&](int64_t) { return arguments + kLayers + " run.output=" + task / "cut"; });
    wait_for_rows(task / "cut", 3);
    processes.signal(1, SIGTERM);
    EXPECT_EQ(processes.wait(60), (std::vector<int>{130, 130})) << processes.err(0) << processes.err(1);
  }
  struct Next {
    int64_t size;
    std::string shard;
  };
  for (const Next& next : {Next{2, kLayers}, {1, kLayers}, {3, kLayers}, {2, "train.shard=none"}}) {
    std::string output = task / cat("then", next.size, next.shard);
    fs::copy(task / "cut", output, fs::copy_options::recursive | fs::copy_options::copy_symlinks);
    run(next.size, recipe, output, "--resume train.steps=12 " + next.shard);
    expect_alike(task / "whole", output, 1e-4);
    if (next.size != 2) continue;
    EXPECT_EQ(read_file(weights_file(task / "whole")), read_file(weights_file(output))) << next.shard;
  }
}

TEST(FrozenLayers, SendWhatTheoryCounts) {
  LayeredTask task;
  for (int64_t size : {2, 3})
    for (const std::string name : {"sft", "dpo"}) {
      std::string recipe = task.layered(name + ".yaml", ", lora: {rank: 4}", name == "sft" ? task.sft() : task.dpo());
      std::string output = task / cat(name, size);
      run(size, recipe, output, kLayers + " train.micro_batch_size=null");
      double adapters = bytes_of(weights_file(output)), sent = least_sent(output);
      // Layers for the forward and the backward pass, and where the reference judges; of adapters the gradients and
      // what is new of them.
      double theory = (name == "dpo" ? 3 : 2) * task.layer_bytes() + 2 * adapters;
      theory *= static_cast<double>(size - 1) / static_cast<double>(size);
      EXPECT_GE(sent, theory) << name << size;
      EXPECT_LE(sent, theory * 1.05 + 16384) << name << size;
    }
}

TEST(FrozenLayers, AreNotThereForRolloutsAhead) {
  LayeredTask task;
  std::string recipe = task.layered("ppo.yaml", ", lora: {rank: 4}", task.rolled_out("{type: ppo, value_weight: 0}"));
  Processes processes(
      2, [&](int64_t) { return "train " + recipe + " --quiet rollout.ahead=1 run.output=" + task / "x " + kLayers; });
  EXPECT_EQ(processes.wait(), (std::vector<int>{2, 2}));
  EXPECT_NE(processes.err(0).find("[train.shard] 'parameters' takes frozen layers away between rollouts"),
            std::string::npos)
      << processes.err(0);
}

TEST(LayersOfExperts, AreGatheredAsOthersAre) {
  LayeredTask task(/*experts=*/true);
  for (const char* policy : {"", ", gradient_checkpointing: true", ", lora: {rank: 4}"}) {
    std::string recipe = task.layered("sft.yaml", policy, task.sft()),
                name = cat("experts", std::string(policy).size());
    run(1, recipe, task / (name + "-1"));
    run(2, recipe, task / (name + "-none"), "train.shard=none");
    run(2, recipe, task / (name + "-layers"), kLayers);
    expect_alike(task / (name + "-none"), task / (name + "-layers"), 0);
    expect_alike(task / (name + "-1"), task / (name + "-layers"), 1e-4);
    EXPECT_GT(metrics(task / (name + "-layers"))[0].at("aux_loss").get<double>(), 0);
    double trained = bytes_of(weights_file(task / (name + "-layers")));
    double theory =
        (*policy && std::string(policy).find("lora") != std::string::npos ? 2 : 1) * task.layer_bytes() + 2 * trained;
    EXPECT_GE(least_sent(task / (name + "-layers")), theory / 2) << policy;
    EXPECT_LE(least_sent(task / (name + "-layers")), theory / 2 * 1.05 + 16384) << policy;
  }
  std::string grpo = task.layered("grpo.yaml", "", task.rolled_out("{type: grpo}"));
  run(2, grpo, task / "grpo", kWhole);
  run(2, grpo, task / "grpo-layers", kLayers);
  expect_alike(task / "grpo", task / "grpo-layers", 0);
}

}  // namespace
}  // namespace rft::layers_test
