#pragma once
/// Metrics that add up exactly over micro-batches and ranks: every one is a weighted mean.
#include <map>
#include <string>

namespace rft {

class Metrics {
 public:
  struct Entry {
    double sum = 0, weight = 0;
  };

  /// Adds an observation: `value` is the mean over `weight` things (rows, tokens). Weight 0 is dropped.
  void add(const std::string& name, double value, double weight = 1) {
    if (weight == 0) return;
    auto& entry = entries_[name];
    entry.sum += value * weight, entry.weight += weight;
  }
  /// Adds what is summed up already.
  void add_sum(const std::string& name, double sum, double weight) {
    entries_[name].sum += sum, entries_[name].weight += weight;
  }
  const std::map<std::string, Entry>& entries() const { return entries_; }
  void merge(const Metrics& other) {
    for (const auto& [name, entry] : other.entries_)
      entries_[name].sum += entry.sum, entries_[name].weight += entry.weight;
  }
  bool has(const std::string& name) const { return entries_.count(name) > 0; }
  /// The weighted mean of what was added under `name`; 0 where nothing was.
  double mean(const std::string& name) const {
    auto found = entries_.find(name);
    return found == entries_.end() ? 0.0 : found->second.sum / found->second.weight;
  }
  std::map<std::string, double> means() const {
    std::map<std::string, double> out;
    for (const auto& [name, entry] : entries_) out[name] = entry.sum / entry.weight;
    return out;
  }

 private:
  std::map<std::string, Entry> entries_;
};

}  // namespace rft
