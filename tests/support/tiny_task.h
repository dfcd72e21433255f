#pragma once
/// A language model small enough to train in a second, its data, and a recipe of two stages on them.
#include "support.h"

namespace rft::testing {

class TinyTask {
 public:
  TinyTask() {
    Ran made = rft("data --out " + dir_ / "data" +
                   " --seed 3 --hidden-size 32 --layers 1 --demonstrations 300 --train 100 --test 20");
    EXPECT_EQ(made.code, 0) << made.err;
  }
  std::string data(const std::string& name) const { return dir_ / ("data/" + name); }
  std::string output(const std::string& name) const { return dir_ / name; }

  /// Writes a recipe: the run, the model, and `blocks`. `run` are further options of the run: "threads: 1, ".
  std::string recipe(const std::string& name, const std::string& run, const std::string& blocks) const {
    write_file(output(name), "run: {name: tiny, seed: 5, " + run + "output: " + output("run") + "}\n" +
                                 "policy: {type: causal_lm, path: " + data("model") + "}\n" + blocks);
    return output(name);
  }
  /// sft, then grpo; each of the stages' blocks as given, without its braces.
  std::string two_stages(const std::string& name, const std::string& run, const std::string& sft_train,
                         const std::string& grpo_rollout, const std::string& grpo_train) const {
    return recipe(name, run,
                  R"(rollout: {group_size: 4, max_new_tokens: 16}
reward:
  - {type: math_answer}
  - {type: length, form: linear, scale: 50, weight: 0.5}
stages:
  - objective: {type: sft}
    data: {train: )" + data("sft.jsonl") +
                      "}\n    train: {" + sft_train + R"(}
  - objective: {type: grpo, kl_weight: 0.01}
    data: {prompts: )" +
                      data("train.jsonl") + ", eval: " + data("test.jsonl") +
                      "}\n    rollout: {group_size: 4, max_new_tokens: 16, " + grpo_rollout + "}\n    train: {" +
                      grpo_train + "}\n");
  }

 private:
  TempDir dir_;
};

}  // namespace rft::testing
