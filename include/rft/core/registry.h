#pragma once
/// One table a slot: name -> how to make it, its options, where it comes from. src/registry.cpp names every built-in.
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "rft/core/error.h"
#include "rft/core/options.h"
#include "rft/core/text.h"

namespace rft {

template <class Interface>
class Registry {
 public:
  struct Entry {
    std::string name;
    std::string summary;  ///< one line
    std::string source;   ///< the paper or peer it comes from
    std::function<std::unique_ptr<Interface>(OptionReader&)> make;
    std::function<Config(OptionReader&)> resolve;       ///< checks a block; returns it with every default written out
    std::function<void(OptionVisitor&)> visit;          ///< visits default options
    std::function<void(OptionVisitor&)> visit_rollout;  ///< policies: the options they read from `rollout:`
    bool acts = false;                                  ///< policies: they act in an environment
  };

  /// T is an Interface with `struct Options { void visit(OptionVisitor&); }` and a constructor T(Options).
  /// Replaces an entry of the same name.
  template <class T>
  void add(const std::string& name, const std::string& summary, const std::string& source) {
    Entry entry{name, summary, source, nullptr, nullptr, nullptr, nullptr};
    entry.make = [](OptionReader& reader) -> std::unique_ptr<Interface> {
      typename T::Options options;
      options.visit(reader);
      reader.finish();
      return std::make_unique<T>(std::move(options));
    };
    entry.resolve = [name](OptionReader& reader) {
      typename T::Options options;
      options.visit(reader);
      reader.finish();
      Config resolved = Config::map();
      resolved.set("type", Config::scalar(name));
      OptionWriter writer(resolved);
      options.visit(writer);
      return resolved;
    };
    entry.visit = [](OptionVisitor& v) { typename T::Options().visit(v); };
    if constexpr (requires { typename T::ActsInEnvironment; }) entry.acts = true;
    if constexpr (requires { typename T::Rollout; })
      entry.visit_rollout = [](OptionVisitor& v) { typename T::Rollout().visit(v); };
    add(std::move(entry));
  }
  /// A ready-made entry; replaces one of the same name.
  void add(Entry entry) {
    for (auto& existing : entries_)
      if (existing.name == entry.name) return void(existing = std::move(entry));
    entries_.push_back(std::move(entry));
  }

  const std::vector<Entry>& entries() const { return entries_; }
  std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (const auto& entry : entries_) out.push_back(entry.name);
    return out;
  }
  /// The entry, or nullptr.
  const Entry* find(const std::string& name) const {
    for (const auto& entry : entries_)
      if (entry.name == name) return &entry;
    return nullptr;
  }
  /// The entry that `block`'s `type` names. Throws UserError with the nearest name.
  const Entry& entry_of(const Config& block) const {
    const Config* type = block.find("type");
    if (!type) bad_input(block.place(), "a `type` is needed; known: ", join(names(), ", "));
    const Entry* entry = find(type->text());
    if (!entry) bad_input(type->place(), "there is no '", type->text(), "'", suggestion(type->text(), names()));
    return *entry;
  }
  /// Makes what a block `{type: NAME, ...options}` describes. `also_allowed` keys are left to the caller.
  std::unique_ptr<Interface> make(const Config& block, const std::vector<std::string>& also_allowed = {}) const {
    const Entry& entry = entry_of(block);
    OptionReader reader = reader_of(block, also_allowed);
    return entry.make(reader);
  }
  /// The block with every default written out; throws UserError where make() would for its options.
  Config resolve(const Config& block, const std::vector<std::string>& also_allowed = {}) const {
    const Entry& entry = entry_of(block);
    OptionReader reader = reader_of(block, also_allowed);
    Config resolved = entry.resolve(reader);
    for (const auto& key : also_allowed)
      if (const Config* given = block.find(key)) resolved.set(key, *given);
    return resolved;
  }

 private:
  static OptionReader reader_of(const Config& block, const std::vector<std::string>& also_allowed) {
    OptionReader reader(block);
    reader.allow("type");
    for (const auto& key : also_allowed) reader.allow(key);
    return reader;
  }

  std::vector<Entry> entries_;
};

/// The table of one slot: registry<Objective>(), registry<RewardModel>(), ...
template <class Interface>
Registry<Interface>& registry() {
  static Registry<Interface> table;
  return table;
}

/// Fills the tables with everything that is built in; later calls do nothing.
void register_builtins();

}  // namespace rft
