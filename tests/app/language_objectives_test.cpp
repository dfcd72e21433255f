/// Language models trained by every kind of objective, through the program: on a tiny model and a task of additions.
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "language_runs.h"
#include "support.h"

namespace rft::language_objectives_test {
namespace {

using nlohmann::json;
using testing::read_file;
using testing::rft;
using testing::write_file;

using Language = testing::LanguageRuns;

const char* kSampled = "reward: {type: length, form: linear, scale: 8}\n";

TEST_F(Language, PpoTrainsACriticThatIsSavedAndResumed) {
  for (std::string critic : {"head", "model"}) {
    std::string name = "ppo_" + critic;
    trains_and_resumes(name, recipe(name, "{type: causal_lm, path: " + path("data/model") + ", critic: " + critic + "}",
                                    rows("train.jsonl"),
                                    "reward: {type: math_answer}\nobjective: {type: ppo}\n"
                                    "rollout: {group_size: 1, batch_size: 16, max_new_tokens: 6}"));
    auto log = metrics(name);
    EXPECT_TRUE(log.at(0).contains("value_loss"));
    EXPECT_EQ(log.at(0).at("clip_ratio/region_mean"), 0.0);  // the first update is on-policy
    EXPECT_EQ(log.at(0).at("logp_mismatch").get<double>() < 1e-5, true);
    EXPECT_TRUE(std::filesystem::exists(path(name) + "/final/value_head.safetensors"));
    EXPECT_EQ(std::filesystem::exists(path(name) + "/final/critic/model.safetensors"), critic == "model");
  }
  std::string before = read_file(path("ppo_model") + "/checkpoints/step-2/critic/model.safetensors");
  EXPECT_NE(before, read_file(path("ppo_model") + "/final/critic/model.safetensors"));
}

TEST_F(Language, KtoJudgesMismatchedAnswersInAnySplit) {
  std::string file = recipe("kto", model(), rows("verdicts.jsonl"), "objective: {type: kto}");
  trains_and_resumes("kto", file);
  ASSERT_EQ(rft("train " + file + " --quiet run.output=" + path("kto-whole") + " train.micro_batch_size=8").code, 0);
  auto split = metrics("kto"), whole = metrics("kto-whole");
  for (size_t i = 0; i < whole.size(); ++i) {
    EXPECT_NEAR(split.at(i).at("loss").get<double>(), whole.at(i).at("loss").get<double>(), 1e-5);
    EXPECT_NEAR(split.at(i).at("kl").get<double>(), whole.at(i).at("kl").get<double>(), 1e-4);
  }
  EXPECT_EQ(whole.at(0).at("kl"), 0.0);  // the policy is still the reference
}

TEST_F(Language, PreferencesSupervisionAndDistillationRun) {
  for (std::string type : {"cpo", "orpo", "dpo"})
    trains_and_resumes(type, recipe(type, model(), rows("pairs.jsonl"), "objective: {type: " + type + "}"));
  trains_and_resumes("bco", recipe("bco", model(), rows("verdicts.jsonl"), "objective: {type: kto, variant: bco}"));
  for (std::string type : {"dft", "asft", "distillation", "inverse_q"})
    trains_and_resumes(type, recipe(type, model(), rows("sft.jsonl"), "objective: {type: " + type + "}"));
  EXPECT_NEAR(metrics("asft").at(0).at("divergence").get<double>(), 0, 1e-5);
  EXPECT_GT(metrics("asft").at(3).at("divergence").get<double>(), 1e-5);
  EXPECT_NEAR(metrics("distillation").at(0).at("divergence").get<double>(), 0, 1e-5);
}

TEST_F(Language, ATeacherOfTheSameVocabularyIsFollowed) {
  ASSERT_EQ(rft("data --out " + path("teacher") +
                " --digits 2 --demonstrations 60 --train 8 --test 8 --hidden-size 64 "
                "--layers 1 --seed 1")
                .code,
            0);
  std::string policy = "{type: causal_lm, path: " + path("data/model") + ", reference: " + path("teacher/model") + "}";
  std::string file = recipe("teacher_run", policy, rows("train.jsonl"),
                            "objective: {type: distillation, on_policy: true, beta: 0}\n"
                            "rollout: {group_size: 1, max_new_tokens: 6}");
  auto ran = rft("train " + file + " --quiet train.steps=30 train.optimizer.lr=0.01 train.checkpoint_every=0");
  ASSERT_EQ(ran.code, 0) << ran.err;
  auto log = metrics("teacher_run");
  EXPECT_LT(log.back().at("divergence").get<double>(), log.front().at("divergence").get<double>() / 2);
}

TEST_F(Language, RowsThatAreTooLongAreCountedNeverCutInSilence) {
  write_file(path("long.jsonl"), R"({"prompt": "1+1=", "completion": "2"})"
                                 "\n"
                                 R"({"prompt": "1+1+1+1=", "completion": "4"})"
                                 "\n"
                                 R"({"prompt": "1+2=", "completion": "333333"})"
                                 "\n");
  std::string data = "{train: " + path("long.jsonl") + ", weights: [1]}";
  auto run = [&](const std::string& how, const std::string& rest) {
    std::string policy = "{type: causal_lm, path: " + path("data/model") + ", max_length: 7, too_long: " + how + "}";
    return rft("train " + recipe("long", policy, data, rest) +
               " train.steps=1 train.batch_size=3 train.micro_batch_size=3 train.checkpoint_every=0");
  };
  auto said = [](const testing::Ran& ran, const std::string& text) {
    EXPECT_NE(ran.err.find(text), std::string::npos) << text << "\nnot in\n" << ran.err;
  };
  const std::string sft = "objective: {type: sft}";
  auto refused = run("error", sft);
  EXPECT_EQ(refused.code, 2);
  said(refused, "long.jsonl:2");
  said(refused, "10 tokens; policy.max_length is 7");
  // 6, 10 and 11 tokens with the end of text; one is short enough.
  said(run("drop", sft), "2 of 3 rows have more than 7 tokens: 0 are cut, 2 left out; the first is");
  EXPECT_EQ(metrics("long").at(0).at("num_tokens"), 6);  // the one row thrice
  said(run("keep_start", sft), "2 of 3 rows have more than 7 tokens: 1 are cut, 1 left out");
  said(run("keep_end", sft), "2 of 3 rows have more than 7 tokens: 1 are cut, 1 left out");
  const std::string grpo =
      "reward: {type: length, form: target, target: 2}\nobjective: {type: grpo}\nrollout: {group_size: 3, "
      "max_new_tokens: 2}";
  said(run("keep_end", grpo), "1 of 3 rows have more than 7 tokens: 1 are cut, 0 left out");
  refused = run("error", grpo);
  EXPECT_EQ(refused.code, 2);
  said(refused, "the prompt has 8 tokens; policy.max_length is 7");
}

TEST_F(Language, ARewardModelOfAdaptersIsMergedAndUsed) {
  std::string policy =
      "{type: reward_model, path: " + path("data/model") + ", lora: {rank: 2, modules_to_save: [norm]}}";
  trains_and_resumes("adapted", recipe("adapted", policy, rows("pairs.jsonl"), "objective: {type: bradley_terry}"));
  auto config = json::parse(read_file(path("adapted") + "/final/adapter_config.json"));
  EXPECT_EQ(config["task_type"], "SEQ_CLS");
  EXPECT_EQ(config["modules_to_save"], (json{"norm", "score"}));
  auto score = [&](const std::string& model) {
    write_file(path("adapted.yaml"), "{type: reward_model, path: " + model + "}\n");
    return rft("score " + path("adapted.yaml") + " --data " + path("data/gold.jsonl") + " --out " + path("a.jsonl"));
  };
  EXPECT_NE(score(path("adapted") + "/final").err.find("rft merge"), std::string::npos);
  auto merged = rft("merge " + path("adapted") + "/final --out " + path("adapted_whole"));
  ASSERT_EQ(merged.code, 0) << merged.err;
  auto scored = score(path("adapted_whole"));
  ASSERT_EQ(scored.code, 0) << scored.err;
  // What was trained goes on from its adapters, and is evaluated alike.
  std::string again = "{type: reward_model, path: " + path("adapted") + "/final}";
  std::string whole = "{type: reward_model, path: " + path("adapted_whole") + "}";
  double loss[2];
  for (int i : {0, 1}) {
    std::string name = i ? "from_whole" : "from_adapters";
    auto ran = rft("train " + recipe(name, i ? whole : again, rows("pairs.jsonl"), "objective: {type: bradley_terry}") +
                   " --quiet train.checkpoint_every=0");
    ASSERT_EQ(ran.code, 0) << ran.err;
    loss[i] = metrics(name).at(0).at("loss");
  }
  EXPECT_NEAR(loss[0], loss[1], 1e-5);
}

TEST_F(Language, AModelOfStepsIsTrainedAndThenUsed) {
  std::string file = recipe("steps", "{type: reward_model, path: " + path("data/model") + ", step_separator: ''}",
                            rows("steps.jsonl"), "objective: {type: process_reward}");
  trains_and_resumes("steps", file);
  EXPECT_TRUE(metrics("steps").at(0).contains("accuracy"));
  for (std::string how : {"min", "mean", "product", "last"}) {
    write_file(path("steps_score.yaml"), "{type: reward_model, path: " + path("steps") +
                                             "/final, step_separator: ',', aggregate: " + how + "}\n");
    auto scored = rft("score " + path("steps_score.yaml") + " --data " + path("data/gold.jsonl") + " --out " +
                      path("steps_scored.jsonl"));
    ASSERT_EQ(scored.code, 0) << scored.err;
    std::istringstream lines(read_file(path("steps_scored.jsonl")));
    for (std::string line; std::getline(lines, line);) {
      double reward = json::parse(line)["reward"];
      EXPECT_GT(reward, 0);
      EXPECT_LT(reward, 1);
    }
  }
}

TEST_F(Language, AModelOfStepsRewardsEachStep) {
  auto made = rft("train " +
                  recipe("step_model", "{type: reward_model, path: " + path("data/model") + ", step_separator: ''}",
                         rows("steps.jsonl"), "objective: {type: process_reward}") +
                  " --quiet");
  ASSERT_EQ(made.code, 0) << made.err;
  auto block = [&](const std::string& how) {
    return "{type: reward_model, path: " + path("step_model") + "/final, step_separator: ',', aggregate: " + how + "}";
  };
  std::string prompts = "{prompts: " + path("data/gold.jsonl") + ", eval: " + path("data/gold.jsonl") + "}";
  std::string rest =
      "\nobjective: {type: ppo, value_weight: 0}\nrollout: {group_size: 4, max_new_tokens: 6, "
      "given_answers: true}\n";
  trains_and_resumes("pure", recipe("pure", model(), prompts,
                                    "reward: " + block("steps") +
                                        "\ncredit: {type: reward_to_go, form: min, baseline: group}" + rest));
  // Each answer has a step at least, and a given one three: their probabilities add up.
  EXPECT_GT(metrics("pure").at(0).at("reward").get<double>(), 0);
  EXPECT_TRUE(metrics("pure").at(0).contains("rewards/reward_model/mean"));
  std::string bonus = block("progress");
  trains_and_resumes("mrt", recipe("mrt", model(), prompts,
                                   "reward: [{type: math_answer}, " + bonus.substr(0, bonus.size() - 1) +
                                       ", weight: 0.5}]\ncredit: {type: reward_to_go, baseline: group}" + rest));
  // The rises of an answer's verdict add up to its last step's probability.
  double last = metrics("mrt").at(0).at("rewards/reward_model/mean").get<double>();
  EXPECT_GT(last, 0);
  EXPECT_LT(last, 1);
  EXPECT_GT(metrics("pure").at(0).at("rewards/reward_model/mean").get<double>(), last);
  // Texts alone have no decisions.
  write_file(path("each.yaml"), block("steps") + "\n");
  auto scored =
      rft("score " + path("each.yaml") + " --data " + path("data/gold.jsonl") + " --out " + path("each.jsonl"));
  EXPECT_NE((scored.err + read_file(path("each.jsonl"))).find("tokens of a rollout"), std::string::npos);
}

TEST_F(Language, StepsAreLearnedWithoutAnEndAndGivenAnswersBesideOwnOnes) {
  std::string rows_of_steps = read_file(path("data/step_pairs.jsonl"));
  EXPECT_NE(rows_of_steps.find("\"continues\": true"), std::string::npos);
  trains_and_resumes("step_dpo", recipe("step_dpo", model(), rows("step_pairs.jsonl"), "objective: {type: dpo}"));
  auto learned = [&](const std::string& row) {
    write_file(path("part.jsonl"), row + "\n");
    return rft("train " + recipe("part", model(), "{train: " + path("part.jsonl") + "}", "objective: {type: sft}") +
               " run.output=" + path("part" + std::to_string(row.size())));
  };
  auto whole = learned(R"({"prompt": "1+1=", "completion": "1+1=2"})");
  auto part = learned(R"({"prompt": "1+1=", "completion": "1+1=2", "continues": true})");
  EXPECT_NE((whole.out + whole.err).find("eos"), std::string::npos);
  EXPECT_NE((part.out + part.err).find("[[1+1=2]]"), std::string::npos) << part.out << part.err;
  auto bad = learned(R"({"prompt": "1+1=", "completion": "1+1=2", "continues": "perhaps"})");
  EXPECT_EQ(bad.code, 2);
  EXPECT_NE(bad.err.find("part.jsonl:1"), std::string::npos) << bad.err;
  trains_and_resumes("gkd", recipe("gkd", model(), "{prompts: " + path("data/gold.jsonl") + "}",
                                   "objective: {type: distillation, on_policy: true}\n"
                                   "rollout: {group_size: 2, max_new_tokens: 6, given_answers: true}"));
}

TEST_F(Language, RowsOfStepsThatAreTooLongAreCountedToo) {
  write_file(path("long_steps.jsonl"),
             R"({"prompt": "1+1=", "completions": ["2"], "labels": [true]})"
             "\n"
             R"({"prompt": "1+1=", "completions": ["1", "111", "1111"], "labels": [true, false, true]})"
             "\n"
             R"({"prompt": "1+1=", "completions": ["1111111"], "labels": [true]})"
             "\n");
  auto run = [&](const std::string& how) {
    return rft("train " +
               recipe("long_steps",
                      "{type: reward_model, path: " + path("data/model") +
                          ", step_separator: '', max_length: 8, too_long: " + how + "}",
                      "{train: " + path("long_steps.jsonl") + "}", "objective: {type: process_reward}") +
               " train.steps=1 train.checkpoint_every=0");
  };
  auto refused = run("error");
  EXPECT_EQ(refused.code, 2);
  EXPECT_NE(refused.err.find("long_steps.jsonl:2"), std::string::npos) << refused.err;
  for (const auto& [how, said] :
       std::map<std::string, std::string>{{"drop", "0 are cut, 2 left out"}, {"keep_start", "1 are cut, 1 left out"}}) {
    auto ran = run(how);
    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_NE(ran.err.find("2 of 3 rows have more than 8 tokens: " + said), std::string::npos) << how << ran.err;
  }
}

TEST_F(Language, RowsArePackedBySoManyTokensAndTheReportSaysHow) {
  std::string file = recipe("packed", model(), rows("sft.jsonl"), "objective: {type: sft}");
  ASSERT_EQ(rft("train " + file + " --quiet train.micro_batch_size=null").code, 0);
  auto whole = metrics("packed");
  EXPECT_EQ(whole.at(0).at("packing/packs"), 1);
  auto ran =
      rft("train " + file + " train.micro_batch_size=null train.micro_batch_tokens=40 run.output=" + path("tokens"));
  ASSERT_EQ(ran.code, 0) << ran.err;
  EXPECT_NE(ran.err.find("micro-batches of at most 40 tokens; "), std::string::npos) << ran.err;
  EXPECT_NE(ran.err.find("60 rows of"), std::string::npos) << ran.err;
  auto packed = metrics("tokens");
  for (size_t i = 0; i < whole.size(); ++i) {
    EXPECT_GT(packed.at(i).at("packing/packs"), 1);
    EXPECT_LT(packed.at(i).at("packing/padding"), whole.at(i).at("packing/padding"));
    EXPECT_NEAR(packed.at(i).at("loss").get<double>(), whole.at(i).at("loss").get<double>(), 1e-4);
  }
  auto both = rft("train " + file + " train.micro_batch_tokens=40");
  EXPECT_EQ(both.code, 2);
  EXPECT_NE(both.err.find("give one"), std::string::npos) << both.err;
}

TEST_F(Language, BadRowsOfStepsAreNamed) {
  auto message = [&](const std::string& row) {
    write_file(path("bad.jsonl"), row + "\n");
    return rft("train " +
               recipe("bad_steps", "{type: reward_model, path: " + path("data/model") + "}",
                      "{train: " + path("bad.jsonl") + "}", "objective: {type: process_reward}") +
               " --quiet");
  };
  auto uneven = message(R"({"prompt": "1+1=", "completions": ["2"], "labels": [true, false]})");
  EXPECT_EQ(uneven.code, 2);
  EXPECT_NE(uneven.err.find("bad.jsonl:1"), std::string::npos) << uneven.err;
  EXPECT_EQ(message(R"({"prompt": "1+1=", "completions": "2", "labels": [true]})").code, 2);
  EXPECT_EQ(message(R"({"prompt": "1+1=", "completions": ["2"], "labels": [1.5]})").code, 2);
  EXPECT_EQ(message(R"({"prompt": "1+1=", "completions": ["2"], "labels": ["yes"]})").code, 2);
}

TEST_F(Language, TheDatasetsAnswersJoinTheirGroups) {
  std::string rest =
      "reward: {type: math_answer}\nobjective: {type: grpo, given_shaping: 0.1, given_nll_weight: 0.1}\n"
      "rollout: {group_size: 4, max_new_tokens: 6, given_answers: true}";
  trains_and_resumes("gold", recipe("gold", model(), "{prompts: " + path("data/gold.jsonl") + "}", rest));
  // An untrained model solves nothing; one answer in four is the dataset's, and right.
  for (const auto& step : metrics("gold")) EXPECT_NEAR(step.at("reward").get<double>(), 0.25, 0.13);
  auto missing = rft("train " + recipe("gold_missing", model(), rows("train.jsonl"), rest) + " --quiet");
  EXPECT_EQ(missing.code, 2);
  EXPECT_NE(missing.err.find("completion"), std::string::npos) << missing.err;
}

TEST_F(Language, TheReferencesAnswersJoinTheirGroups) {
  std::string prompts = "{prompts: " + path("data/gold.jsonl") + "}";
  auto run = [&](const std::string& name, const std::string& rest) {
    trains_and_resumes(name, recipe(name, model(), prompts, std::string(kSampled) + rest));
    return metrics(name);
  };
  run("xpo",
      "objective: {type: dpo, exploration_weight: 0.01}\n"
      "rollout: {group_size: 2, max_new_tokens: 6, reference_answers: 1}");
  auto nash = run("nash",
                  "credit: {type: win_rate, against: given}\nselect: {type: own_answers}\n"
                  "objective: {type: reinforce, kl_weight: 0.1, kl_estimator: k2}\n"
                  "rollout: {group_size: 4, batch_size: 16, max_new_tokens: 6, reference_answers: 2}");
  // Until the first update the policy is the reference: who wins is chance, and no answer is another's copy.
  EXPECT_NEAR(nash.at(0).at("win_rate").get<double>(), 0.5, 0.2);
  EXPECT_NE(nash.at(0).at("win_rate").get<double>(), 0.5);
  EXPECT_NEAR(nash.at(0).at("kl").get<double>(), 0, 1e-6);
  EXPECT_LT(nash.at(0).at("logp_mismatch").get<double>(), 1e-5);
  run("both",
      "objective: {type: grpo}\n"
      "rollout: {group_size: 4, max_new_tokens: 6, reference_answers: 1, given_answers: true}");
  std::string rest = std::string(kSampled) + "objective: {type: grpo}\nrollout: {group_size: 2, reference_answers: 2}";
  auto alone = rft("check " + recipe("alone", model(), prompts, rest));
  EXPECT_EQ(alone.code, 2);
  EXPECT_NE(alone.err.find("reference_answers"), std::string::npos) << alone.err;
}

TEST_F(Language, AnswersAreLearnedAndJudgedOnOtherPrompts) {
  std::string prompts = "{prompts: " + path("data/gold.jsonl") + ", eval: " + path("data/gold.jsonl") + "}";
  std::string rollout = "\nrollout: {group_size: 4, max_new_tokens: 6, reprompt: ";
  auto run = [&](const std::string& name, const std::string& rest) {
    trains_and_resumes(name, recipe(name, model(), prompts, std::string(kSampled) + rest));
    return metrics(name);
  };
  auto quark =
      run("quark", "select: {type: all}\nobjective: {type: raft, divergence_weight: 0.05}" + rollout +
                       "{asked: '4;{prompt}', learned: '{level};{prompt}', judged: '{prompt}', quantiles: 5}}");
  EXPECT_GT(quark.at(0).at("divergence").get<double>(), 1e-6);  // the reference reads no reward token
  EXPECT_FALSE(quark.at(0).contains("logp_mismatch"));
  const std::string distillation = "objective: {type: distillation, on_policy: true, beta: 0.5}";
  auto told = run("sdft", distillation + rollout + "{judged: '{answer};{prompt}'}}");
  EXPECT_GT(told.at(0).at("divergence").get<double>(), 1e-6);
  EXPECT_LT(told.at(0).at("logp_mismatch").get<double>(), 1e-5);
  auto untold = run("sdft_untold", distillation + rollout + "{judged: '{prompt}'}}");
  EXPECT_NEAR(untold.at(0).at("divergence").get<double>(), 0, 1e-5);
  auto sdpo = run(
      "sdpo", "objective: {type: sampled_distillation}" + rollout + "{judged: '{solution};{prompt}', solved: 0.3}}");
  EXPECT_GT(std::abs(sdpo.at(0).at("kl").get<double>()), 1e-6);
  EXPECT_LT(sdpo.at(0).at("reprompt/left_out").get<double>(), 1);
  auto refused = [&](const std::string& reprompt) {
    auto ran =
        rft("train " +
            recipe("refused", model(), prompts, std::string(kSampled) + distillation + rollout + reprompt + "}") +
            " --quiet");
    EXPECT_EQ(ran.code, 2);
    return ran.err;
  };
  EXPECT_NE(refused("{judged: '{missing}'}").find("missing"), std::string::npos);
  EXPECT_NE(refused("{learned: '{level}'}").find("quantiles"), std::string::npos);
  EXPECT_NE(refused("{judged: '{prompt}" + std::string(2000, '1') + "'}").find("positions"), std::string::npos);
}

TEST_F(Language, TheReferenceHasASayInWhatIsSampled) {
  std::string prompts = "{prompts: " + path("data/gold.jsonl") + "}";
  std::string nlpo = "{type: causal_lm, path: " + path("data/model") +
                     ", sync_reference: true, reference_mixup: 1, reference_every: 1}";
  trains_and_resumes(
      "nlpo",
      recipe("nlpo", nlpo, prompts,
             std::string(kSampled) + "objective: {type: ppo, value_weight: 0}\ncredit: {type: reward_to_go}\n"
                                     "rollout: {group_size: 4, batch_size: 24, max_new_tokens: 6, mask_top_p: 0.5}"));
  for (const auto& step : metrics("nlpo"))
    if (step.contains("logp_mismatch")) EXPECT_LT(step.at("logp_mismatch").get<double>(), 1e-5);
  trains_and_resumes("mixture",
                     recipe("mixture", model(), prompts,
                            std::string(kSampled) +
                                "credit: {type: win_rate, against: given}\nselect: {type: own_answers}\n"
                                "objective: {type: reinforce, kl_weight: 0.1, kl_estimator: k2}\n"
                                "rollout: {group_size: 4, batch_size: 16, max_new_tokens: 6, reference_answers: 2, "
                                "reference_mixture: 0.5}"));
}

TEST_F(Language, CreditsAndSelectorsThatLookBeyondTheGroupRun) {
  trains_and_resumes(
      "remax",
      recipe("remax", model(), rows("train.jsonl"),
             std::string(kSampled) + "objective: {type: reinforce}\n"
                                     "credit: {type: greedy_baseline}\nrollout: {group_size: 2, max_new_tokens: 6}"));
  EXPECT_TRUE(metrics("remax").at(0).contains("greedy_reward"));
  trains_and_resumes("gvm", recipe("gvm", model(), "{prompts: " + path("data/gold.jsonl") + "}",
                                   std::string(kSampled) + "objective: {type: raft}\nselect: {type: gvm, solved: 0.1}\n"
                                                           "rollout: {group_size: 4, max_new_tokens: 6}"));
}

}  // namespace
}  // namespace rft::language_objectives_test
