#pragma once
/// A policy that answers contexts in pieces, each of which is there as soon as its own rows are finished.
#include <functional>
#include <memory>
#include <optional>

#include "rft/policy/policy.h"

namespace rft {

/// Neighbouring contexts of a batch: first .. first + count.
struct Piece {
  int64_t first = 0, count = 0;
};

/// What is to be answered, and where the answers go. Both are called on the sampling thread.
struct PieceWork {
  /// The piece to begin next, asked for when there is room for more rows; nothing where none is left.
  std::function<std::optional<Piece>()> next;
  /// A piece whose rows are all finished: what Policy::sample() gives of its contexts alone, their draws being those of
  /// the whole batch.
  std::function<void(const Piece& piece, Experience rows)> finished;
  int64_t rows_at_once = 0;  ///< pieces are asked for while fewer rows are in the making; 0 = as many as are decoded
};

/// Beside Policy, for those whose rows end at different times; owned and called as it is.
class SamplesPieces {
 public:
  virtual ~SamplesPieces() = default;
  /// Answers the pieces of `contexts` that `work` hands out, and no others; request.group_size answers each. Throws as
  /// Policy::sample() does, and what `work` throws.
  virtual void sample_pieces(const Experience& contexts, const SampleRequest& request, const PieceWork& work) = 0;
};

/// Beside Policy, for those that can be sampled while they learn.
class SamplesAhead {
 public:
  virtual ~SamplesAhead() = default;
  /// The policy as it is now, which answers as the policy itself would: used from one thread, any one, beside this,
  /// whose weights may change meanwhile. This must outlive it. Throws UserError naming `rollout.ahead` where it can't
  /// be.
  virtual std::unique_ptr<SamplesPieces> snapshot() = 0;
};

}  // namespace rft
