#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "app/commands.h"
#include "app/loss_batch.h"
#include "rft/core/error.h"
#include "rft/core/registry.h"
#include "rft/credit/credit.h"
#include "rft/io/safetensors.h"
#include "rft/objective/objective.h"

namespace rft::app {
namespace {

struct LossArguments {
  std::string file, batch, out;
};

/// The `objective:` and `credit:` blocks of a recipe; or a bare objective block, with `credit` in it where used.
struct Blocks {
  const Config* objective;
  const Config* credit;
};

Blocks blocks_of(const Config& config) {
  const Config* objective = config.find("objective");
  if (!objective) return {&config, config.find("credit")};
  const std::vector<std::string> known{"run",    "policy", "data",      "rollout", "reward",
                                       "credit", "select", "objective", "train"};
  for (const auto& key : config.keys())
    if (std::find(known.begin(), known.end(), key) == known.end())
      bad_input(config.find(key)->place(), "there is no block '", key, "'", suggestion(key, known));
  return {objective, config.find("credit")};
}

std::unique_ptr<Credit> make_credit(const Config* block, const Needs& needs) {
  if (block) return registry<Credit>().make(*block);
  std::string usual = needs.credit.empty() ? "group_normalized" : needs.credit;
  return registry<Credit>().make(Config::parse("{type: " + usual + "}", "the default credit"));
}

/// Whether advantages have to be made from rewards.
bool needs_credit(const Needs& needs, const std::map<std::string, Tensor>& tensors) {
  return needs.advantage && !tensors.count("advantage") && tensors.count("reward") && tensors.count("group");
}

std::map<std::string, Tensor> results(const Loss& loss, const LossBatch& input, const Metrics& metrics) {
  Tensor total = loss.total();
  std::vector<Tensor> leaves;
  for (const auto& [name, x] : input.leaves) leaves.push_back(x);
  auto grads = torch::autograd::grad({total}, leaves, {}, false, false, /*allow_unused=*/true);
  std::map<std::string, Tensor> out{{"loss", total.detach()}};
  for (size_t i = 0; i < leaves.size(); ++i)
    out["grad." + input.leaves[i].first] =
        grads[i].defined() ? grads[i].contiguous() : at::zeros_like(leaves[i]).detach();
  for (const auto& [name, value] : metrics.means()) out["metric." + name] = at::scalar_tensor(value, at::kDouble);
  return out;
}

void run_loss(const LossArguments& arguments) {
  Config config = Config::load(arguments.file);
  Blocks blocks = blocks_of(config);
  auto objective = registry<Objective>().make(*blocks.objective, {"credit"});
  SafetensorsFile file = load_safetensors(arguments.batch);
  Needs needs = objective->needs();
  std::unique_ptr<Credit> credit;
  if (needs_credit(needs, file.tensors)) credit = make_credit(blocks.credit, needs), needs = needs | credit->needs();

  LossBatch input = read_loss_batch(file.tensors, needs, arguments.batch);
  Metrics metrics;
  if (credit) credit->assign(input.batch, metrics);
  Loss loss = objective->loss(input.now, input.batch);
  metrics.merge(loss.metrics);
  save_safetensors(arguments.out, results(loss, input, metrics));
}

}  // namespace

void add_loss(CLI::App& program) {
  auto arguments = std::make_shared<LossArguments>();
  auto* command = program.add_subcommand("loss", "one objective on a saved batch: loss, gradients, metrics");
  command->footer("Example: rft loss objective.yaml --batch batch.safetensors --out result.safetensors");
  command
      ->add_option("OBJECTIVE", arguments->file, "YAML: an objective block, or a recipe's `objective:` and `credit:`")
      ->required();
  command->add_option("--batch", arguments->batch, "safetensors: logp, mask, advantage, ... (docs: `rft loss` batches)")
      ->required();
  command->add_option("--out", arguments->out, "safetensors: loss, grad.NAME, metric.NAME")->required();
  command->callback([arguments] { run_loss(*arguments); });
}

}  // namespace rft::app
