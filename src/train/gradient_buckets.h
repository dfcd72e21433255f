#pragma once
/// Gradients added up over processes, a bucket at a time, while the backward pass goes on.
#include <deque>
#include <functional>
#include <vector>

#include "rft/dist/communicator.h"
#include "rft/train/flat_layout.h"

namespace rft {

/// Parameters first <= i < last of an optimizer's.
struct ParameterRange {
  size_t first = 0, last = 0;
};

/// A bucket is some parameters that follow each other. Once all of them have their gradients its sum begins, so that
/// the network works while earlier layers' gradients are computed. All processes sum the buckets in one order: that in
/// which they were ready on the first one. What a bucket comes to does not depend on that order.
class GradientBuckets {
 public:
  /// What a process has after end(): all sums, in a flat buffer; its own ones in their places there; or, in a buffer of
  /// what it owns, its own ones alone, added to what was there, while the gradients themselves are gone as soon as they
  /// are sent (ZeRO-2).
  enum class Keep { all, own_in_place, own_alone };

  /// All must outlive this. `layers`: parameters whose gradients are sent by send_layer() alone. `early`: the others'
  /// are sent as soon as they are there; else at the end, as where layers' weights are gathered meanwhile, whose
  /// messages need an order. `gradient`: [layout.size()], of which the parameters' gradients are views, or
  /// [layout.own_size()].
  GradientBuckets(const FlatLayout& layout, std::vector<Parameter>& parameters, Communicator& processes, Keep keep,
                  const Tensor& gradient, bool early, const std::vector<ParameterRange>& layers = {});
  ~GradientBuckets();
  GradientBuckets(const GradientBuckets&) = delete;
  GradientBuckets& operator=(const GradientBuckets&) = delete;

  /// Before the backward pass whose gradients (with what was accumulated before) are to be added up, and after it; on
  /// all processes, also those that have none.
  void begin();
  void end();
  /// Between them: sends the gradients of a layer, or zeros where there are none.
  void send_layer(size_t layer);

 private:
  struct Bucket {
    ParameterRange range;
    bool layer = false;          ///< sent by send_layer()
    int64_t begin = 0, end = 0;  ///< in the flat buffer
    FlatLayout::Rows rows = {};
    size_t waiting = 0;                ///< for so many parameters' gradients
    bool sent = false, stale = false;  ///< stale: a gradient came after it was sent
    Tensor sum = {};                   ///< of what this process owns, [rows * granule]
  };
  struct Flight {
    size_t bucket;
    Tensor parts;  ///< [owners, rows, granule]
    std::function<void()> finish;
  };
  class Ready;

  void make_buckets(const std::vector<ParameterRange>& layers);
  void ready(size_t parameter);
  void send(size_t bucket);
  void settle();
  void settle_all();
  void agree();
  void share();
  void place_own();
  void add_own(const Bucket& bucket, const Tensor& sum);

  const FlatLayout& layout_;
  std::vector<Parameter>& parameters_;
  Communicator& processes_;
  Keep keep_;
  Tensor gradient_;
  std::vector<Bucket> buckets_;
  std::vector<size_t> layers_;        ///< each layer's bucket
  std::vector<size_t> bucket_of_;     ///< of each parameter
  std::vector<bool> came_;            ///< each parameter's gradient, in this pass
  std::vector<size_t> order_, seen_;  ///< in which buckets are sent, and became ready
  size_t next_ = 0;                   ///< in order_
  bool open_ = false, ordered_ = false;
  bool early_;  ///< false once a gradient came in several pieces: buckets are then sent when all are there
  std::deque<Flight> flights_;
};

}  // namespace rft
