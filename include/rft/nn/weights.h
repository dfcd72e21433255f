#pragma once
/// How a model's layers get their tensors: from its directory, under the names it has there, or from random numbers.
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "rft/nn/layers.h"

namespace rft {

/// A linear layer under its module path in the directory ("mid_block.attentions.0.proj_in").
struct NamedLinear {
  std::string name;
  std::shared_ptr<Linear> linear;
};

/// All of a model's tensors, in the order in which its layers were built.
struct Weights {
  std::vector<std::pair<std::string, Tensor>>
      tensors;                       ///< by the directory's names; leaves that the model computes with
  std::vector<NamedLinear> linears;  ///< those that can have adapters
  std::set<std::string> buffers;     ///< names of tensors that are saved with the others but not trained (tables)
};

enum class Init { uniform, zeros, ones, normal };

/// Cheap to copy; copies share what was taken. Usage: layers take what they need from `in(...)`, then finish().
class WeightSource {
 public:
  /// `tensors` are named and shaped as `save_pretrained` writes them; `where` names the directory in errors. Weights
  /// are kept in the dtype and on the device of `options`.
  WeightSource(std::map<std::string, Tensor> tensors, const at::TensorOptions& options, std::string where);
  /// An untrained model with PyTorch's default initialisation, determined by `seed` and the tensors' names.
  static WeightSource random(const at::TensorOptions& options, uint64_t seed);

  /// The same source, its names under "NAME.".
  WeightSource in(const std::string& name) const;
  /// Whether the directory has "NAME" or "NAME...." (always false of a random source).
  bool has(const std::string& name) const;
  /// Whether the directory has both tensors, and they are not equal (always false of a random source).
  bool differ(const std::string& name, const std::string& other) const;

  /// A tensor of this shape. Missing and misshapen ones are remembered and stand-ins are given. Random: uniform is
  /// +-1/sqrt(fan_in) (fan_in = product of all dimensions but the first, unless given), normal has variance 1.
  Tensor tensor(const std::string& name, std::vector<int64_t> shape, Init init = Init::uniform,
                int64_t fan_in = 0) const;
  std::shared_ptr<Linear> linear(const std::string& name, int64_t in, int64_t out, bool bias = true) const;
  Conv2d conv(const std::string& name, int64_t in, int64_t out, int64_t kernel, int64_t stride = 1, int64_t padding = 0,
              bool bias = true) const;
  /// A norm's weight (ones) and bias (zeros).
  Norm norm(const std::string& name, int64_t channels, bool bias = true) const;
  Tensor embedding(const std::string& name, int64_t count, int64_t width) const;
  /// A tensor that is saved but not trained; `start` is its shape, and its value where the source is random.
  Tensor buffer(const std::string& name, const Tensor& start) const;
  /// "NAME" and "NAME....": tensors that the directory may hold and the model does not use (position_ids).
  void ignore(const std::string& name) const;
  /// What an older directory calls "OLD_NAME" and "OLD_NAME...." is taken under the name that is written today.
  void rename(const std::string& old_name, const std::string& name) const;

  /// Everything that was taken. Throws one UserError that names all missing, misshapen and unused tensors.
  Weights finish() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
  std::string prefix_;
};

}  // namespace rft
