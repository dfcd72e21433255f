/// rft plan: what training takes, by counting.
#include <filesystem>
#include <sstream>

#include "rft/io/safetensors.h"
#include "tiny_task.h"

namespace rft::plan_test {
namespace {

using namespace testing;
namespace fs = std::filesystem;

/// A line of the table: processes, shard, and the columns behind them.
struct Line {
  int64_t processes = 0;
  std::string shard;
  double weights = 0, gradients = 0, optimizer = 0, buffers = 0, activations = 0, total = 0, seconds = 0, sampling = 0,
         waiting = 0;
  double host = 0, step = 0;  ///< where the optimizer is offloaded
  std::string fits;
};

class Plan : public ::testing::Test {
 protected:
  std::vector<Line> lines(const std::string& arguments) {
    out_ = rft("plan " + arguments).out;
    std::vector<Line> found;
    std::istringstream text(out_);
    for (std::string row; std::getline(text, row);) {
      Line line;
      std::istringstream in(row);
      if (in >> line.processes >> line.shard >> line.weights >> line.gradients >> line.optimizer >> line.buffers >>
          line.activations >> line.total >> line.seconds >> line.sampling >> line.waiting) {
        if (out_.find("host GB") != std::string::npos) in >> line.host >> line.step;
        in >> line.fits;
        found.push_back(line);
      }
    }
    return found;
  }
  /// A model of 1.6 billion weights, of which there is only config.json.
  std::string large(const std::string& policy, const std::string& train) {
    fs::create_directories(dir_ / "large");
    write_file(dir_ / "large/config.json", R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama",
"vocab_size": 32000, "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 24, "num_attention_heads": 16,
"num_key_value_heads": 16, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "hidden_act": "silu",
"tie_word_embeddings": false, "rope_theta": 10000.0})");
    write_file(dir_ / "rows.jsonl", "{\"prompt\": \"a\", \"completion\": \"b\"}\n");
    write_file(dir_ / "large.yaml", "policy: {type: causal_lm, path: " + dir_ / "large" + ", dtype: bfloat16" + policy +
                                        "}\ndata: {train: " + dir_ / "rows.jsonl" +
                                        "}\nobjective: {type: sft}\ntrain: {batch_size: 64" + train + "}\n");
    return dir_ / "large.yaml --tokens 1000";
  }

  /// The same with 8 experts in the place of each layer's MLP, of which a token goes through 2.
  std::string mixture(const std::string& policy, const std::string& train) {
    std::string arguments = large(policy, train);
    write_file(dir_ / "large/config.json", R"({"architectures": ["MixtralForCausalLM"], "model_type": "mixtral",
"vocab_size": 32000, "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 24, "num_attention_heads": 16,
"num_key_value_heads": 16, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "hidden_act": "silu",
"tie_word_embeddings": false, "rope_theta": 10000.0, "num_local_experts": 8, "num_experts_per_tok": 2,
"sliding_window": null, "output_router_logits": false, "router_aux_loss_coef": 0.02})");
    return arguments;
  }

  TempDir dir_;
  std::string out_;
};

constexpr double kWidth = 2048, kWide = 8192, kEnds = 2 * 32000 * kWidth, kAttention = 24 * 4 * kWidth * kWidth,
                 kMlps = 24 * 3 * kWidth * kWide;

TEST_F(Plan, CountsWhatEachProcessHolds) {
  auto all = lines(large("", "") + " --gpus 8");
  ASSERT_EQ(all.size(), 13u) << out_;
  // Embeddings and head, and of each layer 4 D^2 + 3 D I; norms are small.
  double D = 2048, I = 8192, layers = 24 * (4 * D * D + 3 * D * I), weights = layers + 2 * 32000 * D;
  for (const Line& line : all) {
    double P = static_cast<double>(line.processes);
    bool optimizer = line.shard != "none", gradients = optimizer && line.shard != "optimizer",
         parameters = line.shard == "parameters";
    EXPECT_NEAR(line.optimizer, 12e-9 * weights / (optimizer ? P : 1), 0.01) << line.processes << line.shard;
    EXPECT_NEAR(line.gradients, 2e-9 * weights / (gradients ? P : 1), 0.01) << line.processes << line.shard;
    double there = parameters ? weights / P + weights - layers + 3 * layers / 24 : weights;
    EXPECT_NEAR(line.weights, 2e-9 * there, 0.01) << line.processes << line.shard;
    EXPECT_NEAR(line.total - line.weights - line.gradients - line.optimizer - line.buffers - line.activations, 0.25,
                0.03);
  }
}

TEST_F(Plan, FindsTheSmallestLayoutThatFits) {
  auto whole = lines(large("", "") + " --gpus 8 --memory 40");
  EXPECT_NE(out_.find("the smallest that fits 40 GB: "), std::string::npos) << out_;
  for (const Line& line : whole) EXPECT_EQ(line.fits == "fits", line.total <= 40) << line.total;
  auto micro = lines(large("", ", micro_batch_size: 1") + " --gpus 8 --memory 40");
  auto less = lines(large(", gradient_checkpointing: true", ", micro_batch_size: 1") + " --gpus 8 --memory 40");
  EXPECT_LT(micro[0].activations, whole[0].activations / 30);
  EXPECT_LT(less[0].activations, micro[0].activations / 2);
  auto lora = lines(large(", lora: {rank: 16}", ", micro_batch_size: 1") + " --gpus 8 --memory 10");
  EXPECT_LT(lora[0].optimizer, 0.3);
  EXPECT_NE(out_.find("the smallest that fits 10 GB: 1 process, train.shard=none"), std::string::npos) << out_;
  auto packed = lines(large(", lora: {rank: 16}, quantize: nf4", ", micro_batch_size: 1") + " --gpus 8 --memory 10");
  EXPECT_LT(packed[0].weights, 0.5 * lora[0].weights);
  EXPECT_GT(packed[0].weights, 0.2 * lora[0].weights);
  lines(large("", "") + " --gpus 2 --memory 1");
  EXPECT_NE(out_.find("none fits 1 GB"), std::string::npos) << out_;
}

TEST_F(Plan, TimeIsOperationsOverWhatADeviceReachesAndBytesOverTheNetwork) {
  auto slow = lines(large("", "") + " --gpus 2 --tflops 100 --network 1"),
       fast = lines(large("", "") + " --gpus 2 --tflops 200 --network 1000");
  EXPECT_NEAR(slow[0].seconds, 2 * fast[0].seconds, 0.01);
  // 6 operations a weight and token, and the attention's.
  double weights = 1.738e9, tokens = 64e3, attention = 6 * 24 * 2048 * 1000;
  EXPECT_NEAR(slow[0].seconds, tokens * (6 * weights + attention) / 100e12, 0.05);
  EXPECT_GT(slow[1].waiting, fast[1].waiting);
}

TEST_F(Plan, OfExpertsThoseOfATokenCompute) {
  auto all = lines(mixture("", ", micro_batch_size: 1") + " --gpus 2 --tflops 100 --network 1000");
  double whole = kEnds + kAttention + 8 * kMlps, active = kEnds + kAttention + 2 * kMlps, tokens = 64e3,
         attention = 6 * 24 * 2048 * 1000;
  EXPECT_NEAR(all[0].weights, 2e-9 * whole, 0.02);
  EXPECT_NEAR(all[0].optimizer, 12e-9 * whole, 0.1);
  EXPECT_NEAR(all[0].seconds, tokens * (6 * active + attention) / 100e12, 0.1);
  // ZeRO-3 gathers all experts of a layer.
  ASSERT_EQ(all.back().shard, "parameters");
  EXPECT_NEAR(all.back().weights, 2e-9 * (whole / 2 + kEnds + 3 * (whole - kEnds) / 24), 0.05);
  auto dense = lines(large("", ", micro_batch_size: 1") + " --gpus 1");
  EXPECT_GT(all[0].activations, dense[0].activations);
  EXPECT_LT(all[0].activations, 2.5 * dense[0].activations);
}

TEST_F(Plan, SamplingReadsTheExpertsThatItsRowsGoThrough) {
  auto sampled = [&](const std::string& rows) {
    std::string arguments = mixture("", ", steps: 1");
    write_file(dir_ / "grpo.yaml", "policy: {type: causal_lm, path: " + dir_ / "large" +
                                       ", dtype: bfloat16}\ndata: {prompts: " + dir_ / "rows.jsonl" +
                                       "}\nrollout: {group_size: 1, max_new_tokens: 100}\nreward: {type: length, max: "
                                       "6, cache: 3}\nobjective: {type: grpo}\ntrain: {steps: 1, batch_size: " +
                                       rows + "}\n");
    return lines(dir_ / "grpo.yaml" + " --tokens 200 --gpus 1 --memory-bandwidth 1000 --tflops 100000")[0].sampling;
  };
  double rest = kEnds + kAttention;
  EXPECT_NEAR(sampled("1"), 100 * 2 * (rest + 2 * kMlps) / 1e12, 0.01);
  EXPECT_NEAR(sampled("2"), 100 * 2 * (rest + 8 * kMlps * (1 - 0.75 * 0.75)) / 1e12, 0.01);
  EXPECT_NEAR(sampled("64"), 100 * 2 * (rest + 8 * kMlps) / 1e12, 0.01);
}

TEST_F(Plan, FrozenLayersAreSharedUnderAdapters) {
  auto all = lines(large(", lora: {rank: 16}", "") + " --gpus 4");
  ASSERT_EQ(all.size(), 9u) << out_;
  double layers = kAttention + kMlps, adapters = 24 * 16 * (4 * 2 * kWidth + 3 * (kWidth + kWide));
  EXPECT_NEAR(all[0].weights, 2e-9 * (kEnds + layers + adapters), 0.01);
  EXPECT_EQ(all[8].shard, "parameters");
  EXPECT_NEAR(all[8].weights, 2e-9 * (kEnds + layers / 4 + 3 * layers / 24 + adapters), 0.01);
  EXPECT_NEAR(all[8].optimizer, 12e-9 * adapters / 4, 0.01);
  auto packed = lines(large(", lora: {rank: 16}, quantize: nf4", "") + " --gpus 4");
  EXPECT_NEAR(packed[8].weights, 2e-9 * (kEnds + adapters) + 0.5625e-9 * (layers / 4 + 3 * layers / 24), 0.01);
}

TEST_F(Plan, AnOffloadedOptimizerTakesTheHostsMemory) {
  auto there = lines(large(", device: cuda", ", micro_batch_size: 1") + " --gpus 2");
  auto host =
      lines(large(", device: cuda", ", micro_batch_size: 1, offload: optimizer") + " --gpus 2 --host-bandwidth 50");
  ASSERT_EQ(host.size(), there.size());
  double weights = kEnds + kAttention + kMlps;
  for (size_t i = 0; i < host.size(); ++i) {
    double share = host[i].shard == "none" ? 1 : 2;
    EXPECT_EQ(host[i].optimizer, 0);
    EXPECT_NEAR(host[i].total, there[i].total - there[i].optimizer, 0.02);
    EXPECT_NEAR(host[i].host, 12e-9 * weights / share, 0.02);
    EXPECT_NEAR(host[i].step, weights / share * 32 / 50e9, 0.01);
    EXPECT_NEAR(host[i].seconds, there[i].seconds + host[i].step, 0.01);
  }
  std::string recipe = large(", device: cuda", ", offload: optimizer"), file = recipe.substr(0, recipe.find(' '));
  Ran cpu = rft("check " + file + " policy.device=cpu");
  EXPECT_EQ(cpu.code, 2);
  EXPECT_NE(cpu.err.find("the policy computes on the CPU (policy.device), so that the optimizer's state is in the "
                         "host's memory already"),
            std::string::npos)
      << cpu.err;
}

TEST_F(Plan, CountsFrozenAdapters) {
  TinyTask task;
  std::string recipe = task.recipe("lora.yaml", "", "data: {train: " + task.data("sft.jsonl") + R"(}
objective: {type: sft}
train: {steps: 1, batch_size: 4, optimizer: {lr: 1.0e-3}}
)");
  std::string out = task.output("made");
  Ran trained = rft("train " + recipe + " 'policy.lora={rank: 4}' --quiet run.output=" + out);
  ASSERT_EQ(trained.code, 0) << trained.err;
  double held = 0;
  for (const auto& [name, value] : load_safetensors(out + "/final/adapter_model.safetensors").tensors)
    held += static_cast<double>(value.numel());
  auto millions = [&](const std::string& policy) {
    std::string said = rft("plan " + recipe + " --gpus 1 " + policy).out;
    size_t colon = said.find(": ");
    return colon == std::string::npos ? -1 : std::stod(said.substr(colon + 2));
  };
  double plain = millions("'policy.lora={rank: 2}'");
  EXPECT_NEAR(millions("'policy.lora={rank: 2}' 'policy.frozen_adapters=[" + out + "/final]'"), plain + held / 1e6,
              1e-6);
  EXPECT_GT(plain, 0);
}

TEST_F(Plan, CountsAdaptersAsTheyAreMade) {
  TinyTask task;
  for (const char* lora : {"{rank: 4}", "{rank: 4, target_modules: [q_proj, down_proj]}",
                           "{rank: 4, rank_pattern: {k_proj: 2}, modules_to_save: [lm_head], dora: true}"}) {
    std::string recipe = task.recipe("lora.yaml", "", "data: {train: " + task.data("sft.jsonl") + R"(}
objective: {type: sft}
train: {steps: 1, batch_size: 4, optimizer: {lr: 1.0e-3}}
)");
    std::string arguments = " 'policy.lora=" + std::string(lora) + "'";
    std::string out = task.output("made"), plan = rft("plan " + recipe + arguments).out;
    Ran trained = rft("train " + recipe + arguments + " --quiet run.output=" + out);
    ASSERT_EQ(trained.code, 0) << trained.err;
    double made = 0;
    for (const auto& [name, value] : load_safetensors(out + "/final/adapter_model.safetensors").tensors)
      made += static_cast<double>(value.numel());
    char counted[64];
    std::snprintf(counted, sizeof counted, ", %.6g million trained", made / 1e6);
    EXPECT_NE(plan.find(counted), std::string::npos) << plan << counted;
    fs::remove_all(out);
  }
}

TEST_F(Plan, ADividedModelTakesItsPartOfALayer) {
  auto whole = lines(large("", ", micro_batch_size: 1") + " --gpus 4"),
       divided = lines(large("", ", micro_batch_size: 1, tensor_parallel: 4") + " --gpus 4");
  ASSERT_EQ(divided.size(), 1u) << out_;
  EXPECT_EQ(divided[0].processes, 4);
  for (auto column : {&Line::weights, &Line::gradients, &Line::optimizer})
    EXPECT_NEAR(divided[0].*column, whole[0].*column / 4, 0.02);
  EXPECT_LT(divided[0].activations, whole[0].activations / 1.5);
  EXPECT_GT(divided[0].waiting, 0);
}

TEST_F(Plan, CheckSaysWhatAProcessTakesAndWhatFits) {
  TinyTask task;
  std::string recipe = task.two_stages("two.yaml", "", "batch_size: 18", "batch_size: 36", "batch_size: 18");
  std::string said = rft("check " + recipe + " --memory 40").out, planned = rft("plan " + recipe + " --memory 40").out;
  for (const char* stage : {"sft", "grpo"})
    EXPECT_NE(said.find(std::string(stage) + ": about 0."), std::string::npos) << said;
  std::string fits = "the smallest that fits 40 GB: 1 process, train.shard=none";
  EXPECT_NE(said.find(" GB of memory on 1 process; " + fits), std::string::npos) << said;
  EXPECT_NE(planned.find(fits), std::string::npos) << planned;
  EXPECT_NE(rft("check " + recipe + " --memory 0.1").out.find("none fits 0.1 GB"), std::string::npos);
  // What can't be estimated is no fault of the recipe's.
  std::string large_recipe = large("", "");
  Ran no_tokenizer = rft("check " + large_recipe.substr(0, large_recipe.find(' ')));
  EXPECT_EQ(no_tokenizer.code, 0) << no_tokenizer.err;
  EXPECT_NE(no_tokenizer.out.find("sft: no estimate of memory: "), std::string::npos) << no_tokenizer.out;
}

TEST_F(Plan, ReadsRowsAndTheTinyModel) {
  TinyTask task;
  std::string recipe = task.two_stages("two.yaml", "", "batch_size: 18", "batch_size: 36", "batch_size: 18");
  auto all = lines(recipe + " --gpus 2");
  EXPECT_EQ(all.size(), 10u) << out_;
  EXPECT_EQ(all[0].sampling, 0);  // sft
  EXPECT_NE(out_.find("grpo: "), std::string::npos) << out_;
  auto wrong = rft("plan " + task.recipe("odd.yaml", "", "policy_: 1\n"));
  EXPECT_EQ(wrong.code, 2);
}

}  // namespace
}  // namespace rft::plan_test
