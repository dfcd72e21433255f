#pragma once
/// Weights of which each process keeps its part, gathered a layer at a time (ZeRO-3).
#include <c10/core/Allocator.h>

#include <functional>
#include <string>
#include <vector>

#include "rft/nn/layer_gate.h"
#include "rft/train/flat_layout.h"
#include "train/gradient_buckets.h"

namespace rft {

/// Of each layer, whose parameters' names begin so, those that are decayed, which follow each other: all but its norms
/// and biases. Throws RunError where they do not.
std::vector<ParameterRange> ranges_of(const std::vector<std::string>& layers, const std::vector<Parameter>& parameters);

/// Every layer's weights are gathered before it computes, the next one's meanwhile, and freed behind it; its gradients
/// are sent and freed when the backward pass has left it. What belongs to no layer (embeddings, head) and what is small
/// (norms, biases) is gathered for a whole update. The parameters stay views of their storage, which comes and goes.
/// Frozen ones, which may be codes of quantized weights, have no gradients to send.
///
/// All processes must gather alike. One that has nothing to compute, where others have, calls end_forward() and
/// end_backward() instead.
class LayerWeights : public LayerGate {
 public:
  /// `layers`: of each the parameters that are gathered with it. `own`: [layout.own_size()], this process's weights,
  /// taken from the parameters here. All must outlive this. Everything is there at first.
  LayerWeights(const FlatLayout& layout, std::vector<Parameter>& parameters, Communicator& processes,
               const std::vector<ParameterRange>& layers, const Tensor& own);

  /// Who sends a layer's gradients; nobody of frozen weights.
  void set_gradients(GradientBuckets* gradients) { gradients_ = gradients; }
  /// From now on all weights are there; until release(), from which on layers' weights are where they compute.
  void gather();
  void release();
  /// The parameters' values, set from outside while all were there, become this process's own part.
  void take();
  /// This process's part has changed: what is there is out of date.
  void changed();

  /// After the forward pass (or so many of them, one after another), and after the backward pass.
  void end_forward(int64_t passes = 1);
  void end_backward();

  void enter(int64_t layer, Pass pass) override;
  void leave(int64_t layer, Pass pass) override;

 private:
  /// Parameters that follow each other.
  struct Unit {
    int64_t begin = 0, end = 0;  ///< in the flat buffer
    FlatLayout::Rows rows = {};
    Tensor whole = {};             ///< [rows * owners * granule], of which the parameters are views
    bool there = true;             ///< and up to date
    bool spare = false;            ///< its storage is one that any layer fits into
    Tensor room = {};              ///< [largest_] or more, of which parts is a view
    Tensor parts = {};             ///< [owners, rows, granule], under way
    std::function<void()> finish;  ///< empty where nothing is
  };
  Unit unit_of(size_t first, size_t last);
  void make_room(Unit& unit);
  void begin(Unit& unit);
  void finish(Unit& unit);
  void drop(Unit& unit);
  void gather_all(std::vector<Unit>& units);
  int64_t count() const { return static_cast<int64_t>(layers_.size()); }

  const FlatLayout& layout_;
  std::vector<Parameter>& parameters_;
  Communicator& processes_;
  Tensor own_;
  std::vector<Unit> layers_, others_;
  /// Storage of layers that are not there, for the next ones. Freed and asked for again it would not be the same piece:
  /// glibc's allocator wants more for an aligned piece than it then uses, so that holes as large as a layer stay empty.
  std::vector<at::DataPtr> spare_;
  std::vector<Tensor> spare_room_;  ///< [largest_]
  int64_t largest_ = 0;             ///< elements of the largest layer, in whole rows
  GradientBuckets* gradients_ = nullptr;
  bool gathered_ = true;
  int64_t forward_ = 0, backward_ = 0;  ///< layers that these passes have left
};

}  // namespace rft
