#include <CLI/CLI.hpp>
#include <cstdio>
#include <functional>
#include <memory>

#include "app/commands.h"
#include "app/describe.h"
#include "rft/core/registry.h"

namespace rft::app {

void add_list(CLI::App& program) {
  auto kind = std::make_shared<std::string>();
  auto* list = program.add_subcommand("list", "what is built in");
  list->footer("Example: rft list objectives");
  list->add_option("KIND", *kind, join(slot_kinds(), ", "));
  list->callback([kind] {
    auto kinds = slot_kinds();
    if (!kind->empty() && std::find(kinds.begin(), kinds.end(), *kind) == kinds.end())
      bad_input("rft list", "there is no kind '", *kind, "'", suggestion(*kind, kinds));
    for (const auto& slot : all_slots()) {
      if (!kind->empty() && slot.kind != *kind) continue;
      std::printf("%s\n", slot.kind.c_str());
      if (slot.entries.empty()) std::printf("  (none yet)\n");
      for (const auto& entry : slot.entries) std::printf("  %-18s %s\n", entry.name.c_str(), entry.summary.c_str());
    }
  });

  auto name = std::make_shared<std::string>();
  auto markdown = std::make_shared<bool>();
  auto* describe = program.add_subcommand("describe", "an entry's options: type, default, range, unit, meaning, paper");
  describe->footer("Example: rft describe grpo");
  describe->add_option("NAME", *name, "an entry of `rft list`, or a block of a recipe: run, data, rollout, train");
  describe->add_flag("--markdown", *markdown, "everything there is, as the page docs/options.md");
  describe->callback([name, markdown] {
    if (*markdown) return void(std::fputs(options_page().c_str(), stdout));
    if (name->empty()) bad_input("rft describe", "a NAME is needed; `rft list` shows them");
    std::fputs(describe_text(*name).c_str(), stdout);
  });
}

}  // namespace rft::app
