#include "app/describe.h"

#include <algorithm>

#include "app/methods.h"
#include "rft/core/registry.h"
#include "rft/credit/credit.h"
#include "rft/env/environment.h"
#include "rft/objective/objective.h"
#include "rft/policy/policy.h"
#include "rft/reward/reward_model.h"
#include "rft/rollout/replay.h"
#include "rft/rollout/worlds.h"
#include "rft/select/selector.h"
#include "rft/train/options.h"

namespace rft::app {
namespace {

template <class Interface>
DescribedSlot described(const std::string& kind) {
  DescribedSlot slot{kind, {}};
  for (const auto& entry : registry<Interface>().entries())
    slot.entries.push_back({entry.name, entry.summary, entry.source, describe_options(entry.visit),
                            entry.visit_rollout ? describe_options(entry.visit_rollout) : std::vector<OptionInfo>{}});
  return slot;
}

template <class T>
DescribedEntry block(const std::string& name, const std::string& summary) {
  return {name, summary, "", describe_options([](OptionVisitor& v) { T().visit(v); }), {}};
}

DescribedSlot recipe_blocks() {
  return {"blocks",
          {block<RunOptions>("run", "the run as a whole"), block<DataOptions>("data", "the rows"),
           block<RolloutOptions>("rollout", "sampling; the policy's own options stand in the same block"),
           block<WorldsOptions>("environment", "in `rollout:`, for a policy that acts in an environment"),
           block<ReplayOptions>("replay", "`replay:` in `rollout:`, for off-policy objectives"),
           block<TrainOptions>("train", "the loop")}};
}

std::string facts(const OptionInfo& option) {
  std::string out = option.type;
  if (option.default_value != "(required)")
    out += ", default " + (option.default_value.empty() ? "''" : option.default_value);
  else
    out += ", required";
  if (!option.range.empty()) out += ", " + option.range;
  if (!option.unit.empty()) out += ", in " + option.unit;
  return out;
}

std::string table_text(const std::vector<OptionInfo>& options) {
  size_t width = 0;
  for (const auto& option : options) width = std::max(width, option.name.size());
  std::string out;
  for (const auto& option : options)
    out += "  " + option.name + std::string(width - option.name.size() + 2, ' ') + option.help + " (" + facts(option) +
           ")\n";
  return out;
}

std::string cell(std::string text) {
  for (size_t at = 0; (at = text.find('|', at)) != std::string::npos; at += 2) text.insert(at, "\\");
  return text;
}

std::string table_markdown(const std::vector<OptionInfo>& options) {
  if (options.empty()) return "No options.\n";
  std::string out = "| option | type | default | range | unit | meaning |\n|---|---|---|---|---|---|\n";
  for (const auto& o : options)
    out += "| `" + o.name + "` | " + o.type + " | `" + (o.default_value.empty() ? "''" : o.default_value) + "` | " +
           cell(o.range) + " | " + o.unit + " | " + cell(o.help) + " |\n";
  return out;
}

}  // namespace

std::vector<DescribedSlot> all_slots() {
  return {described<Policy>("policies"),
          described<RewardModel>("rewards"),
          described<Objective>("objectives"),
          described<Credit>("credits"),
          described<Selector>("selectors"),
          described<Environment>("environments"),
          described<EnvironmentWrapper>("wrappers")};
}

std::vector<std::string> slot_kinds() {
  std::vector<std::string> out;
  for (const auto& slot : all_slots()) out.push_back(slot.kind);
  return out;
}

std::string describe_text(const std::string& name) {
  std::vector<std::string> names;
  std::string out;
  auto slots = all_slots();
  slots.push_back(recipe_blocks());
  for (const auto& slot : slots) {
    for (const auto& entry : slot.entries) {
      names.push_back(entry.name);
      if (entry.name != name) continue;
      out += entry.name + " (" + slot.kind + "): " + entry.summary + "\n";
      if (!entry.source.empty()) out += "source: " + entry.source + "\n";
      if (auto made = methods_with(name); !made.empty())
        out += "part of: " + join(made, "; ") + " (rft list methods)\n";
      out += table_text(entry.options);
      if (!entry.rollout.empty()) out += "in rollout:\n" + table_text(entry.rollout);
    }
  }
  if (out.empty()) bad_input("rft describe", "there is no '", name, "'", suggestion(name, names));
  return out;
}

std::string options_page() {
  std::string out = "# Every option\n\nMade by `rft describe --markdown`; a test compares it with the program.\n";
  auto slots = all_slots();
  slots.insert(slots.begin(), recipe_blocks());
  for (const auto& slot : slots) {
    if (slot.entries.empty()) continue;
    out += "\n## " + slot.kind + "\n";
    for (const auto& entry : slot.entries) {
      out += "\n### " + entry.name + "\n\n" + entry.summary +
             (entry.source.empty() ? "" : ". Source: " + entry.source) + ".\n\n";
      out += table_markdown(entry.options);
      if (!entry.rollout.empty()) out += "\nIn `rollout:`\n\n" + table_markdown(entry.rollout);
    }
  }
  return out;
}

}  // namespace rft::app
