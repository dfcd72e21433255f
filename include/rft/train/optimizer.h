#pragma once
/// All trained tensors in one flat buffer: AdamW, the gradient's norm and zeroing are a single pass each.
#include <map>
#include <set>
#include <string>
#include <vector>

#include "rft/core/state.h"
#include "rft/policy/policy.h"
#include "rft/train/options.h"

namespace rft {

/// Learning rate of update `step` (0-based) out of `total`, with the numbers of transformers' get_scheduler: the rate
/// rises linearly from 0 over the warm-up, then falls as `type` says.
double learning_rate(const ScheduleOptions& schedule, double lr, int64_t step, int64_t total);

/// AdamW (Loshchilov & Hutter 2019), PyTorch's numbers, each group of parameters for itself. The parameters' storage is
/// moved into the flat buffer, their gradients are views of another. Parameters below float32 get a float32 master
/// copy.
class Optimizer {
 public:
  Optimizer(std::vector<Parameter> parameters, const OptimizerOptions& options);

  void zero_grad();
  /// The L2 norm of all gradients, float64 accumulation is not needed: float32 blocks are summed in float64.
  double grad_norm() const;
  void scale_grad(double factor);
  /// [n]: all gradients, in the parameters' dtype; what is written there is what step() takes.
  const Tensor& gradient() const { return grad_; }
  /// One step of every group, or of the groups in `only`. `lr` is the policy's; the critics' is options.critic_lr times
  /// what the schedule has left of it.
  void step(double lr, const std::set<std::string>& only = {});
  int64_t parameter_count() const { return flat_.numel(); }

  /// A hash of the trained weights.
  std::string fingerprint() const;
  /// First and second moments, step count and, below float32, the master copy.
  State state() const;
  void load_state(const State& state);
  /// Call after the parameters were set from outside (resume).
  void refresh_master();

 private:
  OptimizerOptions options_;
  std::vector<Parameter> parameters_;
  /// A run of elements that are stepped alike.
  struct Part {
    std::string group;
    bool decay;
    int64_t begin, length;
  };
  std::vector<Part> parts_;
  Tensor flat_, grad_;                    ///< [n] in the parameters' dtype
  Tensor master_;                         ///< [n] float32 (float64 for float64): flat_ itself unless the dtype is lower
  Tensor mean_, square_;                  ///< [n], Adam's moments
  std::map<std::string, int64_t> steps_;  ///< of each group
};

}  // namespace rft
