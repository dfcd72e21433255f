#include "rft/rollout/reprompt.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/core/text_template.h"
#include "rft/policy/reads_prompts.h"

namespace rft {
namespace {

constexpr char kBlock[] = "rollout.reprompt", kLevel[] = "level", kSolution[] = "solution";

const ReadsPrompts& reader(const Policy& policy) {
  auto* out = dynamic_cast<const ReadsPrompts*>(&policy);
  if (!out) bad_input(kBlock, "the policy's prompts are no texts that can be put otherwise; causal_lm's are");
  return *out;
}

std::string column(const Experience& batch, const std::string& name, size_t row) {
  return batch.context.text(name).at(row);
}

/// Each row's level, -1 where its reward is NaN or, of quantiles, like all others.
std::vector<int64_t> levels_of(const std::vector<double>& reward, const RepromptOptions& options) {
  std::vector<double> sorted;
  for (double r : reward)
    if (!std::isnan(r)) sorted.push_back(r);
  std::sort(sorted.begin(), sorted.end());
  const auto count = static_cast<int64_t>(sorted.size());
  std::vector<int64_t> out;
  for (double r : reward) {
    if (std::isnan(r) || (options.quantiles && sorted.front() == sorted.back())) {
      out.push_back(-1);
    } else if (options.quantiles) {
      int64_t worse = std::lower_bound(sorted.begin(), sorted.end(), r) - sorted.begin();
      out.push_back(r == sorted.back() ? *options.quantiles - 1 : worse * *options.quantiles / count);
    } else {
      out.push_back(std::count_if(options.levels.begin(), options.levels.end(), [&](double l) { return r >= l; }));
    }
  }
  return out;
}

/// Of each row the first other one of its group that is good enough, or -1.
std::vector<int64_t> solutions_of(const std::vector<double>& reward, const Tensor& group, double solved) {
  Tensor numbers = group.cpu().contiguous();
  const auto* g = numbers.const_data_ptr<int64_t>();
  std::map<int64_t, std::vector<int64_t>> good;  // of each group the first two: a row is not its own solution
  for (size_t i = 0; i < reward.size(); ++i)
    if (reward[i] >= solved && good[g[i]].size() < 2) good[g[i]].push_back(static_cast<int64_t>(i));
  std::vector<int64_t> out;
  for (size_t i = 0; i < reward.size(); ++i) {
    int64_t found = -1;
    for (int64_t k : good[g[i]])
      if (found < 0 && k != static_cast<int64_t>(i)) found = k;
    out.push_back(found);
  }
  return out;
}

std::vector<double> rewards_of_rows(const Experience& batch) {
  if (!batch.reward.defined()) return std::vector<double>(static_cast<size_t>(batch.rows()), std::nan(""));
  Tensor rewards = batch.reward.to(at::kCPU, at::kDouble);
  if (rewards.dim() == 2) rewards = at::where(batch.mask.cpu(), rewards, at::zeros({}, at::kDouble)).sum(1);
  rewards = rewards.contiguous();
  return {rewards.const_data_ptr<double>(), rewards.const_data_ptr<double>() + rewards.numel()};
}

}  // namespace

void RepromptOptions::visit(OptionVisitor& v) {
  v.option("asked", asked,
           "the prompt that is answered: a text in which {prompt} and {COLUMN} stand for theirs; empty: the prompt");
  v.option("learned", learned,
           "the prompt on which the answer is learned; {level} is its reward's level (reward tokens: Quark, LeTI); "
           "empty: what was answered");
  v.option("judged", judged,
           "the prompt that the reference reads, a teacher that knows more; {solution} is another answer of the group "
           "that is right (SDFT, SDPO); empty: what the policy reads");
  v.option("levels", levels, "{level}: how many of these a reward reaches");
  v.option("quantiles", quantiles, "{level}: the reward's quantile among the rollout's, of so many", between(2, 1000));
  v.option("solved", solved, "{solution}: the reward at which an answer is right");
}

std::vector<std::string> RepromptOptions::columns() const {
  std::set<std::string> out;
  for (const std::string* text : {&asked, &learned, &judged})
    for (const std::string& name : TextTemplate(*text).names())
      if (name != extra::prompt && name != extra::completion && name != kLevel && name != kSolution) out.insert(name);
  return {out.begin(), out.end()};
}

void RepromptOptions::check() const {
  TextTemplate ask(asked), learn(learned), judge(judged);
  for (const char* name : {extra::completion, kLevel, kSolution})
    if (ask.has(name)) bad_input(kBlock, "`asked` is put before there is an answer; it can't have {", name, "}");
  if (judge.has(kLevel) || learn.has(kSolution))
    bad_input(kBlock, "{level} belongs to `learned` and {solution} to `judged`");
  bool given = !levels.empty() || quantiles;
  if (learn.has(kLevel) != given || (!levels.empty() && quantiles))
    bad_input(kBlock, "{level} in `learned` needs `levels` or `quantiles`, one of the two, and these need {level}");
}

void ask_otherwise(const Policy& policy, Experience& contexts, const RepromptOptions& options) {
  if (options.asked.empty()) return;
  TextTemplate text(options.asked);
  std::vector<std::string> prompts;
  for (size_t i = 0; i < static_cast<size_t>(contexts.context.rows()); ++i)
    prompts.push_back(text.fill([&](const std::string& name) { return column(contexts, name, i); }));
  reader(policy).set_prompts(contexts, prompts, /*of_reference=*/false);
}

void learn_otherwise(const Policy& policy, Experience& batch, const RepromptOptions& options, Metrics& metrics) {
  if (!options.changes_rows() || batch.rows() == 0) return;
  const std::vector<double> reward = rewards_of_rows(batch);
  const TextTemplate learn(options.learned), judge(options.judged);
  const std::vector<int64_t> level = levels_of(reward, options);
  const std::vector<int64_t> solution = solutions_of(reward, batch.group, options.solved);
  std::vector<std::string> learned, judged;
  batch.mask = batch.mask.clone();
  double left_out = 0;
  for (size_t i = 0; i < reward.size(); ++i) {
    bool lacks = (learn.has(kLevel) && level[i] < 0) || (judge.has(kSolution) && solution[i] < 0);
    if (lacks) batch.mask[static_cast<int64_t>(i)].fill_(false), ++left_out;
    auto value = [&](const std::string& name) {
      if (name == kLevel) return std::to_string(level[i]);
      if (name != kSolution) return column(batch, name, i);
      return solution[i] < 0 ? std::string() : column(batch, extra::completion, static_cast<size_t>(solution[i]));
    };
    learned.push_back(learn.fill(value)), judged.push_back(judge.fill(value));
  }
  metrics.add("reprompt/left_out", left_out / static_cast<double>(batch.rows()), static_cast<double>(batch.rows()));
  if (!options.judged.empty()) reader(policy).set_prompts(batch, judged, /*of_reference=*/true);
  if (options.learned.empty()) return;
  reader(policy).set_prompts(batch, learned, /*of_reference=*/false);
  batch.logp = Tensor();
}

}  // namespace rft
