#pragma once
/// All trained tensors in one flat buffer: AdamW, the gradient's norm and zeroing are a single pass each.
#include <map>
#include <set>
#include <string>
#include <vector>

#include "rft/core/state.h"
#include "rft/dist/communicator.h"
#include "rft/policy/policy.h"
#include "rft/train/options.h"

namespace rft {

/// Learning rate of update `step` (0-based) out of `total`, with the numbers of transformers' get_scheduler: the rate
/// rises linearly from 0 over the warm-up, then falls as `type` says.
double learning_rate(const ScheduleOptions& schedule, double lr, int64_t step, int64_t total);

/// AdamW (Loshchilov & Hutter 2019), PyTorch's numbers, each group of parameters for itself. The parameters' storage is
/// moved into the flat buffer, their gradients are views of another. Parameters below float32 get a float32 master
/// copy.
///
/// Of several processes each has all weights and its own gradients. Where the optimizer is `sharded` (ZeRO-1,
/// Rajbhandari et al. 2020, arXiv:1910.02054) each keeps moments and master copy of one part of size() equal ones,
/// updates it, and gets the others' weights: gradients are summed a part each and weights shared, which sends no more
/// than summing them everywhere does. The weights are the same bit for bit, sharded or not.
class Optimizer {
 public:
  /// `processes` may be null, and must outlive this. Throws RunError where there is nothing to train.
  Optimizer(std::vector<Parameter> parameters, const OptimizerOptions& options, Communicator* processes = nullptr,
            bool sharded = false);

  void zero_grad();
  /// Adds up the processes' gradients; every one must call it, as what follows.
  void reduce_grad();
  /// The L2 norm of all gradients: float32 blocks are summed in float64, in an order that nothing but the number of
  /// weights changes.
  double grad_norm() const;
  void scale_grad(double factor);
  /// One step of every group, or of the groups in `only`. `lr` is the policy's; the critics' is options.critic_lr times
  /// what the schedule has left of it.
  void step(double lr, const std::set<std::string>& only = {});
  int64_t parameter_count() const { return count_; }
  bool sharded() const { return sharded_; }

  /// A hash of the trained weights.
  std::string fingerprint() const;
  /// First and second moments, step count and, below float32, the master copy: of the weights range[0] <= i < range[1]
  /// (of all where the optimizer is not sharded).
  State state() const;
  /// Takes what it needs from states that together hold every weight once, of any number of processes. Throws UserError
  /// where they do not fit these weights, or some are missing.
  void load_state(const std::vector<State>& pieces);
  /// Call after the parameters were set from outside (resume).
  void refresh_master();

 private:
  /// Elements that are stepped alike.
  struct Part {
    std::string group;
    bool decay;
    int64_t begin;         ///< in the flat buffers: a multiple of kLane
    int64_t first, count;  ///< among the weights, which have no gaps
  };
  /// Those of a part that this process updates.
  struct Run {
    const Part* part;
    int64_t begin;  ///< in the moments
    int64_t first, count;
  };
  int64_t lay_out();
  void move_in();
  std::vector<Run> runs() const;
  std::vector<double> block_sums() const;
  Tensor own(const Tensor& flat) const { return flat.narrow(0, own_begin_, own_size_); }
  bool has_master() const;
  int64_t take(const State& piece);

  OptimizerOptions options_;
  std::vector<Parameter> parameters_;
  Communicator* processes_;
  bool sharded_;
  std::vector<Part> parts_;
  int64_t count_ = 0, block_ = 0;
  int64_t own_begin_ = 0, own_size_ = 0;  ///< of the flat buffers, what this process updates
  /// [n] in the parameters' dtype, of size() equal parts of whole blocks; zero between and after the parameters.
  Tensor flat_, grad_;
  Tensor master_;                         ///< [own_size_] float32 (float64 for float64): of flat_ unless that is lower
  Tensor mean_, square_;                  ///< [own_size_], Adam's moments
  std::map<std::string, int64_t> steps_;  ///< of each group
};

}  // namespace rft
