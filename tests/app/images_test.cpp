// Whole runs on images, and on pairs: every stage writes what the next reads, and a resumed run ends the same.
#include <nlohmann/json.hpp>

#include "rft/io/image.h"
#include "support.h"

namespace rft::images_test {
namespace {
namespace fs = std::filesystem;
using testing::Ran;
using testing::read_file;

constexpr char kUnet[] = "/final/unet/diffusion_pytorch_model.safetensors";

/// Digits, a base model that has seen a little of them, and a classifier.
class Digits {
 public:
  Digits() {
    run(cat("data digits --width 8 --from ", RFT_SOURCE_DIR, "/examples/digits --out ", dir_ / "data"));
    train("base", "policy: {type: diffusion, path: " + data("model") + ", ema_decay: 0.5}\ndata: {train: " +
                      data("train.jsonl") + "}\nobjective: {type: sft}\ntrain: {steps: 3, batch_size: 16}");
    train("classifier", "policy: {type: image_classifier, path: " + data("classifier") + "}\ndata: {train: " +
                            data("train.jsonl") + "}\nobjective: {type: sft}\ntrain: {steps: 5, batch_size: 32}");
  }
  std::string data(const std::string& name) const { return dir_ / ("data/" + name); }
  std::string path(const std::string& name) const { return dir_ / name; }
  Ran run(const std::string& arguments, int code = 0) const {
    Ran ran = testing::rft(arguments);
    EXPECT_EQ(ran.code, code) << arguments << "\n" << ran.err;
    return ran;
  }
  Ran train(const std::string& name, const std::string& recipe, const std::string& more = "", int code = 0) const {
    testing::write_file(dir_ / (name + ".yaml"),
                        "run: {seed: 3, threads: 1, output: " + path(name) + "}\n" + recipe + "\n");
    return run("train " + dir_ / (name + ".yaml") + " --quiet " + more, code);
  }
  std::string rewarded(const std::string& objective, const std::string& more = "") const {
    return "policy: {type: diffusion, path: " + path("base/final") + more +
           "}\ndata: {prompts: " + data("classes.jsonl") + ", eval: " + data("classes.jsonl") +
           "}\nrollout: {steps: 4, eta: 1, group_size: 2}\nreward: {type: "
           "image_classifier, path: " +
           path("classifier/final") + ", target: digit}\nobjective: " + objective +
           "\ntrain: {steps: 4, batch_size: 8, micro_batch_size: 6, checkpoint_every: 2, samples_every: 2, optimizer: "
           "{lr: 1.0e-3}}";
  }

 private:
  testing::TempDir dir_;
};

const Digits& digits() {
  static const Digits made;
  return made;
}

nlohmann::json last_metrics(const std::string& run) {
  std::istringstream lines(read_file(run + "/metrics.jsonl"));
  std::string last;
  for (std::string line; std::getline(lines, line);) last = line;
  return nlohmann::json::parse(last);
}

TEST(Images, DdpoResumedFromACheckpointEndsBitForBitTheSame) {
  std::string recipe = digits().rewarded("{type: ppo, clip_low: 1.0e-4, clip_high: 1.0e-4, value_weight: 0}");
  digits().train("ddpo", recipe);
  std::string run = digits().path("ddpo"), weights = read_file(run + kUnet);
  EXPECT_LE(last_metrics(run).at("logp_mismatch").get<double>(), 1e-5);
  Tensor sheet = read_png(run + "/samples/step-4.png");
  EXPECT_GT(sheet.size(2), 64);
  fs::remove_all(run + "/checkpoints/step-4"), fs::remove_all(run + "/final");
  digits().train("ddpo", recipe, "--resume");
  EXPECT_TRUE(read_file(run + kUnet) == weights);
}

TEST(Images, DraftTrainsAdaptersThatSampleReads) {
  digits().train("draft", digits().rewarded("{type: draft, last_steps: 2}", ", lora: {rank: 2, alpha: 4}"));
  std::string run = digits().path("draft");
  EXPECT_TRUE(fs::exists(run + "/final/pytorch_lora_weights.safetensors"));
  EXPECT_TRUE(last_metrics(run).contains("eval/reward"));
  std::string arguments = "sample " + digits().path("base/final") + " --prompts " + digits().data("classes.jsonl") +
                          " --steps 3 --out " + digits().path("pictures");
  digits().run(arguments);
  std::string plain = read_file(digits().path("pictures/003.png"));
  digits().run(arguments + " --lora " + run + "/final");
  Tensor adapted = read_png(digits().path("pictures/003.png"));
  EXPECT_NE(read_file(digits().path("pictures/003.png")), plain);
  digits().run("merge " + run + "/final --base " + digits().path("base/final") + " --out " + digits().path("merged"));
  digits().run("sample " + digits().path("merged") + " --prompts " + digits().data("classes.jsonl") +
               " --steps 3 --out " + digits().path("pictures"));
  EXPECT_LE((read_png(digits().path("pictures/003.png")) - adapted).abs().max().item<double>(), 1.0 / 255 + 1e-6);
}

TEST(Images, VideosAreTunedByARewardOfTheirFrames) {
  std::string model = testing::fixture("parity/data/pipelines/animatediff");
  auto recipe = [&](const std::string& objective, const std::string& rollout) {
    return "policy: {type: diffusion, path: " + model + ", gradient_checkpointing: true}\ndata: {prompts: " + model +
           "/prompts.jsonl}\nrollout: {steps: 3, frames: 3, " + rollout +
           "}\nreward: {type: film_frames, frames: 3, attenuation: 1, rewards: [{type: colour_target, colour: [0.5, "
           "0.5, "
           "0.5]}]}\nobjective: " +
           objective +
           "\ntrain: {steps: 6, batch_size: 4, micro_batch_size: 3, checkpoint_every: 0, optimizer: {lr: 3.0e-3}}";
  };
  digits().train("video", recipe("{type: draft, last_steps: 1}", "eta: 1, group_size: 2"));
  digits().train("video_grpo", recipe("{type: grpo}", "eta: 1, group_size: 2"));
  EXPECT_LE(last_metrics(digits().path("video_grpo")).at("logp_mismatch").get<double>(), 1e-5);
  std::istringstream lines(read_file(digits().path("video/metrics.jsonl")));
  std::string first;
  std::getline(lines, first);
  EXPECT_GT(last_metrics(digits().path("video")).at("reward").get<double>(),
            nlohmann::json::parse(first).at("reward").get<double>());
  digits().run("sample " + digits().path("video/final") + " --frames 3 --steps 3 --prompts " + model +
               "/prompts.jsonl --out " + digits().path("films"));
  EXPECT_EQ(read_png(digits().path("films/000.png")).sizes().vec(), (std::vector<int64_t>{3, 48, 16}));
  EXPECT_EQ(read_file(digits().path("films/001.gif")).substr(0, 6), "GIF89a");
}

TEST(Images, CtrlULearnsFromNoisedData) {
  digits().train("ctrl_u", "policy: {type: diffusion, path: " + digits().path("base/final") +
                               "}\ndata: {train: " + digits().data("train.jsonl") +
                               "}\nreward: {type: image_classifier, path: " + digits().path("classifier/final") +
                               ", target: digit}\nobjective: {type: ctrl_u, uncertainty_scale: 1.0}\ntrain: {steps: 3, "
                               "batch_size: 16, micro_batch_size: 8}");
  auto metrics = last_metrics(digits().path("ctrl_u"));
  for (const char* name : {"uncertainty", "reward", "pretrain_loss"}) EXPECT_TRUE(metrics.contains(name)) << name;
}

TEST(Images, D3poPairsTheBestAndTheWorst) {
  digits().train("d3po", digits().rewarded("{type: dpo, beta: 1.0}"));
  auto metrics = last_metrics(digits().path("d3po"));
  EXPECT_TRUE(metrics.contains("rewards/accuracies")) << metrics.dump();
}

TEST(Images, NftResumedFromACheckpointEndsBitForBitTheSame) {
  std::string recipe = digits().rewarded("{type: diffusion_nft, kl_weight: 0.01}");
  recipe.replace(recipe.find("eta: 1"), 6, "eta: 0, judge: forward, levels: 2, behaviour_decay: 0.5");
  digits().train("nft", recipe);
  std::string run = digits().path("nft"), weights = read_file(run + kUnet);
  auto metrics = last_metrics(run);
  for (const char* name : {"positive_loss", "negative_loss", "kl"})
    EXPECT_GT(metrics.at(name).get<double>(), 0) << name;
  fs::remove_all(run + "/checkpoints/step-4"), fs::remove_all(run + "/final");
  digits().train("nft", recipe, "--resume");
  EXPECT_TRUE(read_file(run + kUnet) == weights);
  recipe.replace(recipe.find("judge: forward, levels: 2"), 25, "judge: steps");
  EXPECT_NE(digits().train("bad", recipe, "", 2).err.find("rollout.judge"), std::string::npos);
}

TEST(Images, ImageToImageKeepsThePicture) {
  std::string image = digits().data("images/0007.png"), row = digits().path("seven.jsonl");
  testing::write_file(row, "{\"class_label\": 7}\n");
  auto off = [&](const std::string& strength) {
    digits().run("sample " + digits().path("base/final") + " --prompts " + row + " --image " + image + " --strength " +
                 strength + " --steps 20 --out " + digits().path("started"));
    return read_png(digits().path("started/000.png")).sub(read_png(image)).abs().mean().item<double>();
  };
  double little = off("0.1"), much = off("0.9");
  EXPECT_LT(little, 0.1);
  EXPECT_GT(much, 1.5 * little);
  auto refused = [&](const std::string& arguments) {
    return digits()
        .run("sample " + digits().path("base/final") + " --prompts " + row + " --out " + digits().path("started") +
                 arguments,
             2)
        .err;
  };
  EXPECT_NE(refused(" --image " + image).find("--strength"), std::string::npos);
  EXPECT_NE(refused(" --strength 0.5").find("image"), std::string::npos);
  EXPECT_NE(refused(" --image " + image + " --strength 0.01").find("strength"), std::string::npos);
}

TEST(Images, AFlowModelLearnsThroughItsSde) {
  digits().run(
      cat("data digits --flow --width 8 --from ", RFT_SOURCE_DIR, "/examples/digits --out ", digits().path("flow")));
  std::string recipe = digits().rewarded("{type: grpo, kl_weight: 0.01}");
  recipe.replace(recipe.find("type: diffusion"), 15, "type: flow");
  recipe.replace(recipe.find(digits().path("base/final")), digits().path("base/final").size(),
                 digits().path("flow/model"));
  recipe.replace(recipe.find("eta: 1"), 6, "sde: cps");
  digits().train("flow_grpo", recipe);
  auto metrics = last_metrics(digits().path("flow_grpo"));
  EXPECT_LE(metrics.at("logp_mismatch").get<double>(), 1e-5);
  EXPECT_TRUE(metrics.contains("kl"));
}

TEST(Images, SteeringRaisesTheReward) {
  std::string reward = digits().path("reward.yaml");
  testing::write_file(reward, "{type: colour_target, colour: [1, 1, 1]}\n");
  auto brightness = [&](const std::string& steer) {
    digits().run("sample " + digits().path("base/final") + " --prompts " + digits().data("classes.jsonl") +
                 " --steps 4 --eta 1 --seed 5 --out " + digits().path("steered") + steer);
    double sum = 0;
    for (int i = 0; i < 10; ++i)
      sum += read_png(digits().path(cat("steered/00", i, ".png"))).mean().item<double>() / 10;
    return sum;
  };
  double plain = brightness("");
  for (const char* method : {"best_of_n", "fk", "svdd", "reno"})
    EXPECT_GT(brightness(cat(" --reward ", reward, " --steer ", method)), plain) << method;
}

TEST(Images, RlgGoesFromTheBaseThroughTheTunedModel) {
  digits().train("tuned", digits().rewarded("{type: draft, last_steps: 1}"));
  auto picture = [&](const std::string& model, const std::string& steer) {
    digits().run("sample " + digits().path(model) + " --prompts " + digits().data("classes.jsonl") +
                 " --steps 3 --seed 2 --out " + digits().path("rlg") + steer);
    return read_png(digits().path("rlg/004.png"));
  };
  auto mixed = [&](const char* weight) {
    return picture("tuned/final", cat(" --steer rlg --base ", digits().path("base/final"), " --base-weight ", weight));
  };
  Tensor base = picture("base/final", ""), tuned = picture("tuned/final", "");
  EXPECT_GT(base.sub(tuned).abs().max().item<double>(), 2.0 / 255);
  EXPECT_LE(mixed("0").sub(base).abs().max().item<double>(), 1.01 / 255);
  EXPECT_LE(mixed("1").sub(tuned).abs().max().item<double>(), 1.01 / 255);
  EXPECT_GT(mixed("3").sub(tuned).abs().max().item<double>(), 1.01 / 255);
}

TEST(Images, BadInputIsNamed) {
  auto draft = digits().rewarded("{type: draft}");
  auto of = [&](const std::string& from, const std::string& to) {
    std::string text = draft;
    text.replace(text.find(from), from.size(), to);
    return digits().train("bad", text, "", 2).err;
  };
  EXPECT_NE(of("type: diffusion", "type: flow").find("is not a flow model"), std::string::npos);
  EXPECT_NE(of("eta: 1", "eta: 1, scheduler: dim").find("did you mean 'ddim'"), std::string::npos);
  EXPECT_NE(of("eta: 1", "eta: 1, scheduler: 'dpmsolver++'").find("depends on the ones before it"), std::string::npos);
  EXPECT_NE(of("target: digit", "target: digits").find("digits"), std::string::npos);
  testing::write_file(digits().data("images/0003.png"), "not a picture");
  auto damaged = digits().train("bad",
                                "policy: {type: diffusion, path: " + digits().path("base/final") + "}\ndata: {train: " +
                                    digits().data("train.jsonl") + "}\nobjective: {type: sft}\ntrain: {steps: 1}",
                                "", 2);
  EXPECT_NE(damaged.err.find("train.jsonl:4"), std::string::npos) << damaged.err;
}

TEST(Pairs, DpoTrainsALanguageModelOnChosenAndRejected) {
  testing::TempDir dir;
  ASSERT_EQ(
      testing::rft("data --hidden-size 32 --layers 1 --demonstrations 50 --train 10 --test 10 --out " + dir / "data")
          .code,
      0);
  testing::write_file(dir / "pairs.jsonl",
                      "{\"prompt\": \"12+34=\", \"chosen\": \"46\", \"rejected\": \"5\"}\n"
                      "{\"prompt\": \"1+1=\", \"chosen\": \"2\", \"rejected\": \"322\"}\n"
                      "{\"prompt\": \"3+4=\", \"chosen\": \"7\", \"rejected\": \"34\"}\n");
  testing::write_file(dir / "dpo.yaml", "policy: {type: causal_lm, path: " + dir / "data/model" +
                                            "}\ndata: {train: " + dir / "pairs.jsonl" +
                                            "}\nobjective: {type: dpo}\ntrain: {steps: 12, batch_size: 3, optimizer: "
                                            "{lr: 3.0e-3}}\n");
  auto train = [&](const std::string& name, const std::string& more) {
    auto ran =
        testing::rft("train " + dir / "dpo.yaml" + " --quiet run.output=" + dir / name + " run.threads=1 " + more);
    EXPECT_EQ(ran.code, 0) << ran.err;
    return last_metrics(dir / name);
  };
  auto whole = train("whole", ""), parts = train("parts", "train.micro_batch_size=1");
  EXPECT_EQ(whole.at("rewards/accuracies").get<double>(), 1);
  EXPECT_GT(whole.at("rewards/margins").get<double>(), 0.05);
  EXPECT_NEAR(parts.at("loss").get<double>(), whole.at("loss").get<double>(), 1e-3);
}

}  // namespace
}  // namespace rft::images_test
