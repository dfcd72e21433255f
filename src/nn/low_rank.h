#pragma once
/// What LoRA (Hu et al. 2021) is for every kind of model: which modules, first weights, names, filling from a file.
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "rft/core/pattern.h"
#include "rft/core/rng.h"
#include "rft/nn/decoder.h"
#include "rft/nn/weights.h"

namespace rft {

/// A regular expression of module paths (PCRE2's, which for such patterns is Python's). Cheap to copy.
class PathPattern {
 public:
  /// Throws UserError naming `where` on a pattern that does not compile.
  PathPattern(const std::string& pattern, const std::string& where);
  /// Whether the whole path matches. Throws UserError where that takes too many steps.
  bool matches(const std::string& path) const;

 private:
  std::string where_;
  Pattern pattern_;
};

/// PEFT's rank_pattern and alpha_pattern: a module has the number of the first pattern that matches its path, or the
/// end of it after a dot.
class PatternNumbers {
 public:
  PatternNumbers() = default;
  PatternNumbers(const NamedNumbers& numbers, const std::string& where);
  double of(const std::string& path, double otherwise) const;

 private:
  std::vector<std::pair<PathPattern, double>> numbers_;
};

/// What B A x is multiplied by.
double lora_scale(double alpha, int64_t rank, bool rslora);

/// "to_q" of "mid_block.attn1.to_q"; a number with the part before it, "to_out.0".
std::string last_part(const std::string& path);

/// As PEFT matches: the whole path, or its last parts.
bool names_module(const std::string& target, const std::string& path);
bool names_module(const std::vector<std::string>& targets, const std::string& path);

/// Throws UserError, with the nearest name and a remark on what can be named, on a target that names none of the
/// modules.
void check_targets(const std::vector<std::string>& targets, const std::vector<std::string>& paths,
                   const std::string& remark = "");

/// Which of a model's linear layers a configuration names, and how large their adapters are.
class LoraPlan {
 public:
  /// `paths` are the layers that can have adapters, `defaults` what is named where nothing is (empty: all of them).
  /// Throws UserError where the configuration asks for what is not implemented or names no layer, saying `remark`.
  LoraPlan(const LoraConfig& config, const std::vector<std::string>& paths, std::vector<std::string> defaults = {},
           const std::string& remark = "");
  bool names(const std::string& path) const;
  int64_t rank(const std::string& path) const;
  double scale(const std::string& path) const;
  /// For rows first.. of a layer, whose weight may be quantized, from the stream of `rng`; its tensors are of
  /// `options`.
  Adapter adapter(const std::string& path, const Linear& linear, int64_t first, int64_t rows,
                  const at::TensorOptions& options, const Rng& rng) const;

 private:
  LoraConfig config_;
  std::vector<std::string> targets_;
  std::vector<PathPattern> pattern_;  ///< none or one
  PatternNumbers ranks_, alphas_;
};

/// The paths of the layers that can have adapters.
std::vector<std::string> paths_of(const Weights& weights);
/// The model's tensors don't require gradients any more.
void freeze(Weights& weights);
/// Adapters on the layers that `plan` names, whose first weights come of `seed` and a layer's place in the model: they
/// start the same whichever others have adapters. The rest is frozen. Throws UserError where a layer has one already.
void add_adapters(Weights& weights, const LoraPlan& plan, uint64_t seed);

/// Adds the layer's adapters to its weight and takes them away.
void merge_adapters(Linear& linear);

/// An adapter for `rows` rows of a weight [out, in] from row `first`: A uniform in +-1/sqrt(in), which is nn.Linear's
/// Kaiming-uniform with a = sqrt(5), B zero; both trainable, of `options`.
Adapter first_adapter(const std::string& module, int64_t in, int64_t first, int64_t rows, int64_t rank, double scale,
                      const at::TensorOptions& options, const Rng& rng);

/// A PEFT configuration's rank_pattern or alpha_pattern, in its order; nothing where it is missing or null. Throws
/// nlohmann::json::exception on other things than numbers.
NamedNumbers pattern_numbers(const nlohmann::ordered_json& fields, const std::string& name);

/// A whole number is written as one: PEFT's lora_alpha is an int.
nlohmann::json plain_number(double value);

/// Appends to `problems` what keeps `value` from being copied into a tensor of `shape`; true where nothing does.
bool fits(const std::string& name, const Tensor& value, at::IntArrayRef shape, std::vector<std::string>& problems);

}  // namespace rft
