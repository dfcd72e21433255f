#include <ATen/ATen.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "app/commands.h"
#include "app/load_reward.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/io/files.h"
#include "rft/io/rows.h"
#include "rft/reward/assessment.h"

namespace rft::app {
namespace {

using Json = nlohmann::ordered_json;
using Numbers = std::vector<double>;

struct AssessArguments {
  std::string file, data, out, category, worth = "worth";
};

Json finite(double x) { return std::isfinite(x) ? Json(x) : Json(); }

/// What the reward says of the rows with `column` as their completion.
Numbers scores_of(RewardModel& reward, const Rows& rows, const std::string& column) {
  Experience batch;
  batch.context = rows.columns();
  if (!batch.context.has_text(extra::prompt))
    batch.context.set_text(extra::prompt, std::vector<std::string>(static_cast<size_t>(rows.size())));
  std::vector<std::string> completions;
  for (int64_t i = 0; i < rows.size(); ++i) completions.push_back(rows.string(i, column));
  batch.context.set_text(extra::completion, completions);
  Tensor value = reward.score(batch).value;
  if (value.dim() != 1) run_failed("assess", "a reward of whole rows is assessed, [B]; got ", value.sizes());
  value = value.to(at::kDouble).contiguous();
  return {value.const_data_ptr<double>(), value.const_data_ptr<double>() + value.numel()};
}

Json of_pairs(const Numbers& better, const Numbers& worse) {
  PairAssessment a = assess_pairs(better, worse);
  return {
      {"pairs", a.pairs}, {"accuracy", a.accuracy}, {"calibration_error", a.calibration_error}, {"margin", a.margin}};
}

/// Rows with "chosen" and "rejected".
Json assess_preferences(RewardModel& reward, const Rows& rows, const AssessArguments& arguments) {
  Numbers better = scores_of(reward, rows, "chosen"), worse = scores_of(reward, rows, "rejected");
  Json out = of_pairs(better, worse);
  Numbers all = better;
  all.insert(all.end(), worse.begin(), worse.end());
  std::vector<bool> good(all.size(), false);
  std::fill(good.begin(), good.begin() + static_cast<int64_t>(better.size()), true);
  out["area_under_roc"] = finite(area_under_roc(all, good));
  if (arguments.category.empty()) return out;
  rows.require(arguments.category);
  std::map<std::string, std::pair<Numbers, Numbers>> parts;
  for (int64_t i = 0; i < rows.size(); ++i) {
    auto& [above, below] = parts[rows.text(i, arguments.category)];
    above.push_back(better[static_cast<size_t>(i)]), below.push_back(worse[static_cast<size_t>(i)]);
  }
  for (const auto& [name, part] : parts) out["categories"][name] = of_pairs(part.first, part.second);
  return out;
}

/// The mean over the prompts of the worth of the best of n = 1, 2, 4, ... answers by `score`.
Json best_of_n_curve(const std::map<std::string, std::pair<Numbers, Numbers>>& prompts) {
  size_t most = 0;
  for (const auto& [prompt, answers] : prompts) most = std::max(most, answers.first.size());
  Json curve = Json::array();
  for (int n = 1; n <= static_cast<int>(most); n *= 2) {
    double worth = 0, said = 0, count = 0;
    for (const auto& [prompt, answers] : prompts) {
      double best = best_of_n(answers.first, answers.second, n);
      if (std::isnan(best)) continue;
      worth += best, said += best_of_n(answers.first, answers.first, n), count += 1;
    }
    if (count > 0)
      curve.push_back(
          {{"n", n}, {"kl", best_of_n_kl(n)}, {"worth", worth / count}, {"reward", said / count}, {"prompts", count}});
  }
  return curve;
}

/// Rows with "completion" and a number that says what each is worth; rows of one prompt are answers to it.
Json assess_answers(RewardModel& reward, const Rows& rows, const AssessArguments& arguments) {
  Numbers score = scores_of(reward, rows, extra::completion), worth;
  std::map<std::string, std::pair<Numbers, Numbers>> prompts;
  std::vector<bool> good;
  bool binary = true;
  for (int64_t i = 0; i < rows.size(); ++i) {
    std::string said_worth = rows.text(i, arguments.worth);
    bool verdict = said_worth == "true" || said_worth == "false";
    worth.push_back(verdict ? said_worth == "true" : rows.number(i, arguments.worth));
    auto& [said, is] = prompts[rows.has(i, extra::prompt) ? rows.text(i, extra::prompt) : ""];
    said.push_back(score[static_cast<size_t>(i)]), is.push_back(worth.back());
    good.push_back(worth.back() > 0.5), binary = binary && (worth.back() == 0 || worth.back() == 1);
  }
  Json out{{"rows", rows.size()}, {"prompts", prompts.size()}};
  if (binary) out["area_under_roc"] = finite(area_under_roc(score, good));
  out["best_of_n"] = best_of_n_curve(prompts);
  return out;
}

void assess(const AssessArguments& arguments) {
  auto reward = load_reward(arguments.file);
  Rows rows = Rows::load(arguments.data);
  for (const auto& column : reward->columns()) rows.require(column);
  bool pairs = rows.has(0, "chosen");
  if (!pairs) rows.require(arguments.worth);
  Json out = pairs ? assess_preferences(*reward, rows, arguments) : assess_answers(*reward, rows, arguments);
  std::string text = out.dump(2) + "\n";
  if (arguments.out.empty())
    std::fputs(text.c_str(), stdout);
  else
    write_text(arguments.out, text);
}

}  // namespace

void add_assess(CLI::App& program) {
  auto arguments = std::make_shared<AssessArguments>();
  auto* command = program.add_subcommand("assess", "how good rewards are, on answers whose worth is known");
  command->footer(
      "Example: rft assess reward.yaml --data pairs_test.jsonl --category kind\n"
      "Of rows with \"chosen\" and \"rejected\": accuracy, expected calibration error of s(chosen - rejected), area\n"
      "under the ROC curve; of rows with \"completion\" and a number \"worth\" (several rows of one \"prompt\"): what\n"
      "the best of n by the rewards is worth, with its KL divergence, and where worth is 0 or 1 the area under the\n"
      "curve. The result is JSON.");
  command->add_option("REWARD", arguments->file, "the rewards, a YAML file")->required();
  command->add_option("--data", arguments->data, "the answers (.jsonl)")->required();
  command->add_option("--out", arguments->out, "the file to write; stdout without it");
  command->add_option("--category", arguments->category, "a column of pairs: also each of its values by itself");
  command->add_option("--worth", arguments->worth, "the column that says what an answer is worth")
      ->capture_default_str();
  command->callback([arguments] { assess(*arguments); });
}

}  // namespace rft::app
