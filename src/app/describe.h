#pragma once
/// The registry and the recipe's blocks as text: for `rft list`, `rft describe` and docs/options.md.
#include <string>
#include <vector>

#include "rft/core/options.h"

namespace rft::app {

struct DescribedEntry {
  std::string name, summary, source;
  std::vector<OptionInfo> options;
  std::vector<OptionInfo> rollout;  ///< options a policy reads from `rollout:`
};
struct DescribedSlot {
  std::string kind;  ///< "policies", "rewards", ...
  std::vector<DescribedEntry> entries;
};

std::vector<DescribedSlot> all_slots();
std::vector<std::string> slot_kinds();
/// Throws UserError with the nearest name.
std::string describe_text(const std::string& name);
/// All of it, in Markdown.
std::string options_page();

}  // namespace rft::app
