#pragma once
/// All trained tensors in one flat buffer: AdamW, the gradient's norm and zeroing are a single pass each.
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "rft/core/state.h"
#include "rft/dist/communicator.h"
#include "rft/dist/weight_part.h"
#include "rft/policy/policy.h"
#include "rft/train/flat_layout.h"
#include "rft/train/options.h"

namespace rft {

class GradientBuckets;
class HostCopies;
class LayerGate;
class LayerWeights;
class OffloadedSteps;
class WholePlaces;
struct ParameterRange;

/// Learning rate of update `step` (0-based) out of `total`, with the numbers of transformers' get_scheduler: the rate
/// rises linearly from 0 over the warm-up, then falls as `type` says.
double learning_rate(const ScheduleOptions& schedule, double lr, int64_t step, int64_t total);

/// What of several processes each keeps only its part of (ZeRO-1, -2 and -3, Rajbhandari et al. 2020,
/// arXiv:1910.02054).
enum class Sharding { none, optimizer, gradients, parameters };
/// `train.shard`'s.
Sharding sharding_of(const std::string& name);

/// Weights that Sharding::parameters gathers layer by layer.
struct LayeredWeights {
  std::vector<std::string> prefixes;  ///< how the names of each layer's parameters begin
  /// The layers' weights, all of one type, where they stand frozen beside what is trained (adapters); none where they
  /// are trained themselves.
  std::vector<Parameter> frozen = {};
};

/// Who has what of weights, gradients and the optimizer's state, and where.
struct Placement {
  Communicator* processes = nullptr;  ///< null: one process
  Sharding sharding = Sharding::none;
  LayeredWeights layers = {};  ///< of Sharding::parameters
  /// Parameters of which the processes of another group have the other parts: they count once in the gradient's norm,
  /// and in state() by their places in the whole model.
  DividedWeights divided = {};
  /// Moments and a master copy are in the host's memory, and steps are computed there; null: where the weights are.
  std::shared_ptr<HostCopies> host = nullptr;
};

/// AdamW (Loshchilov & Hutter 2019), PyTorch's numbers, each group of parameters for itself. The parameters' storage is
/// moved into the flat buffer, their gradients are views of another. Parameters below float32 get a float32 master
/// copy.
///
/// Of several processes each has all weights and its own gradients. With Sharding::optimizer each keeps moments and
/// master copy of the weights that FlatLayout gives it, updates those, and gets the others': gradients are summed a
/// part each and weights shared, which sends no more than summing them everywhere does. With Sharding::gradients it
/// keeps the sums of its own part of the gradients too, and the gradients themselves only until they are sent. The
/// weights are the same bit for bit, whatever is sharded, where each process has one backward pass a step; with more of
/// them Sharding::gradients adds up in another order, and so does Sharding::parameters, which also keeps the weights of
/// whole layers only while the layer computes. Where these are frozen (LayeredWeights), what is trained is shared as
/// with Sharding::gradients.
class Optimizer {
 public:
  /// The groups of `placement` must outlive this. Throws RunError where there is nothing to train.
  Optimizer(std::vector<Parameter> parameters, const OptimizerOptions& options, const Placement& placement = {});
  ~Optimizer();
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  void zero_grad();
  /// Before a backward pass and after it: the processes' gradients are added up, as far as possible meanwhile. Every
  /// one must call them, as what follows, whether it has a backward pass or not; nothing where there is one process.
  void begin_reduction();
  void end_reduction();
  /// Each backward pass must be between them; otherwise only the last one of a step.
  bool reduces_every_pass() const { return sharding_ >= Sharding::gradients; }
  /// With Sharding::parameters: what the network goes through around its layers; otherwise null.
  LayerGate* gate() const;
  /// With Sharding::parameters all weights are there after gather_weights(), as at first, until release_weights(), from
  /// where on layers' weights are there while they compute; every process must call them, and forward_done() after its
  /// forward pass (or so many `passes`), or without one where others have one. Nothing otherwise.
  void gather_weights();
  /// The same of what is trained alone, to save it: where layers are frozen that is there always.
  void gather_trained();
  void release_weights();
  void forward_done(int64_t passes = 1);
  /// The L2 norm of all gradients: float32 blocks are summed in float64, in an order that nothing but the number of
  /// weights changes, and how weights are divided.
  double grad_norm() const;
  /// [n]: all gradients in one row, a view that the next backward pass changes. Throws UserError where processes have
  /// them in parts (train.shard, train.tensor_parallel).
  Tensor gradient() const;
  void scale_grad(double factor);
  /// One step of every group, or of the groups in `only`. `lr` is the policy's; the critics' is options.critic_lr times
  /// what the schedule has left of it.
  void step(double lr, const std::set<std::string>& only = {});
  int64_t parameter_count() const;  ///< of the whole model
  /// Whether each process has only a part of the state.
  bool sharded() const { return sharding_ != Sharding::none; }

  /// Hashes of the trained weights; "" where no process has all of them.
  struct Fingerprints {
    std::string shared, own;  ///< of what all processes have; of what this one's part of divided weights is, too
  };
  Fingerprints fingerprints() const;
  /// First and second moments, step count and, below float32, the master copy: of the weights
  /// range[k][0] <= i < range[k][1], one range after another (of all where the optimizer is not sharded).
  State state() const;
  /// Takes what it needs from states that together hold every weight once, of any number of processes. Throws UserError
  /// where they do not fit these weights, or some are missing.
  void load_state(const std::vector<State>& pieces);
  /// Call after the parameters were set from outside (resume), while all were there.
  void refresh_master();

 private:
  using Piece = FlatLayout::Piece;
  struct Frozen;
  void move_in();
  void make_state(const std::shared_ptr<HostCopies>& host);
  void make_buckets(const std::vector<std::string>& layers);
  /// What this process updates, of one part of the weights after another.
  std::vector<Piece> pieces() const;
  double divided_norm() const;
  std::vector<double> block_sums() const;
  bool keeps_weights() const { return sharding_ != Sharding::parameters; }
  /// Those rows of a flat buffer that this process updates, [rows, n].
  Tensor own_rows(const Tensor& flat) const;
  Tensor own_grad() const;
  bool has_master() const;
  bool saves_master() const;
  void share_weights();
  int64_t take(const State& state);

  OptimizerOptions options_;
  std::vector<Parameter> parameters_;
  Communicator* processes_;
  Sharding sharding_;
  FlatLayout layout_;
  std::unique_ptr<WholePlaces> places_;
  /// [layout size] in the parameters' dtype, zero between and after the parameters; with Sharding::parameters [own
  /// size].
  Tensor flat_;
  Tensor grad_;  ///< the same; from Sharding::gradients on [own size]
  /// [own size] float32, or flat_ itself where that is not lower and steps are computed where it is.
  Tensor master_;
  Tensor mean_, square_;                      ///< [own size], Adam's moments
  std::map<std::string, int64_t> steps_;      ///< of each group
  std::unique_ptr<OffloadedSteps> on_host_;   ///< where state is in the host's memory
  std::unique_ptr<Frozen> frozen_;            ///< of layers_, where those are frozen
  std::unique_ptr<LayerWeights> layers_;      ///< of Sharding::parameters
  std::unique_ptr<GradientBuckets> buckets_;  ///< of several processes
};

}  // namespace rft
