#pragma once
/// What is trained.
#include <string>

#include "rft/core/tensor.h"

namespace rft {

/// Groups of parameters: a term of a loss may train some alone, and critics may have a learning rate of their own.
namespace groups {
inline constexpr char policy[] = "policy";        ///< what decides
inline constexpr char critic[] = "critic";        ///< what estimates returns
inline constexpr char objective[] = "objective";  ///< an objective's own (a temperature)
}  // namespace groups

/// One trained tensor. The trainer may move its storage (set_data), so holders share the Tensor, not its data pointer.
struct Parameter {
  std::string name;
  Tensor value;       ///< a leaf that requires a gradient
  bool decay = true;  ///< weight decay applies (false for biases and norms)
  std::string group = groups::policy;
};

}  // namespace rft
