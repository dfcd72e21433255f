#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <functional>
#include <memory>

#include "app/commands.h"
#include "app/describe.h"
#include "app/methods.h"
#include "rft/core/registry.h"
#include "rft/objective/objective.h"

namespace rft::app {
namespace {

void list_methods(bool page) {
  if (page) return void(std::fputs(methods_page().c_str(), stdout));
  std::string group;
  for (const auto& method : methods()) {
    if (method.group != group) std::printf("%s\n", (group = method.group).c_str());
    std::string blocks = method.composition;
    for (size_t at = 0; (at = blocks.find('\n', at)) != std::string::npos;) blocks.replace(at, 1, "  ");
    std::printf("  %-28s %s\n", method.name.c_str(), blocks.c_str());
  }
}

/// The group that an objective belongs to, by what it asks for: of its default options.
std::string group_of(const std::string& objective) {
  Needs needs = registry<Objective>().make(Config::parse("{type: " + objective + "}"))->needs();
  using Data = Needs::Data;
  if (needs.pathwise) return "reward backpropagation";
  if (needs.score) return "reward models";
  switch (needs.data) {
    case Data::pairs:
    case Data::unpaired:
      return "preferences";
    case Data::demonstrations:
      return "supervised";
    case Data::transitions:
      return "off-policy control";
    default:
      return needs.best_rows ? "supervised" : "policy gradient";
  }
}

void list_entry(const DescribedEntry& entry) {
  std::printf("  %-18s %s%s\n", entry.name.c_str(), entry.summary.c_str(),
              entry.source.empty() ? "" : (" (" + entry.source + ")").c_str());
}

void list_entries(const DescribedSlot& slot) {
  if (slot.kind != "objectives") {
    for (const auto& entry : slot.entries) list_entry(entry);
    return;
  }
  std::vector<std::string> groups;
  for (const auto& entry : slot.entries)
    if (auto group = group_of(entry.name); std::find(groups.begin(), groups.end(), group) == groups.end())
      groups.push_back(group);
  for (const auto& group : groups) {
    std::printf(" %s\n", group.c_str());
    for (const auto& entry : slot.entries)
      if (group_of(entry.name) == group) list_entry(entry);
  }
}

}  // namespace

void add_list(CLI::App& program) {
  auto kind = std::make_shared<std::string>();
  auto page = std::make_shared<bool>();
  auto* list = program.add_subcommand("list", "what is built in");
  list->footer("Example: rft list objectives");
  list->add_option("KIND", *kind, join(slot_kinds(), ", ") + ", methods");
  list->add_flag("--markdown", *page, "with methods: the page docs/methods.md");
  list->callback([kind, page] {
    if (*kind == "methods") return list_methods(*page);
    if (*page) bad_input("rft list", "--markdown goes with methods; `rft describe --markdown` has the rest");
    auto kinds = slot_kinds();
    kinds.push_back("methods");
    if (!kind->empty() && std::find(kinds.begin(), kinds.end(), *kind) == kinds.end())
      bad_input("rft list", "there is no kind '", *kind, "'", suggestion(*kind, kinds));
    for (const auto& slot : all_slots()) {
      if (!kind->empty() && slot.kind != *kind) continue;
      std::printf("%s\n", slot.kind.c_str());
      if (slot.entries.empty()) std::printf("  (none yet)\n");
      list_entries(slot);
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
