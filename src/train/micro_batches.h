#pragma once
/// Which rows of a batch are in memory together.
#include <string>
#include <vector>

#include "rft/core/experience.h"

namespace rft {

struct MicroBatchOptions {
  int64_t rows = 0;        ///< of a block, in a micro-batch at most; 0: all
  int64_t tokens = 0;      ///< the same in tokens; a unit that has more is a micro-batch of its own; 0: any number
  int64_t group = 1;       ///< so many neighbours stay together
  int64_t blocks = 1;      ///< of rows one after another (of pairs 2); row i of each stay together
  int64_t processes = 1;   ///< there is a micro-batch for each, where there are units enough
  Tensor row_tokens = {};  ///< [B] int64; may be undefined where `tokens` is 0
};

/// Row numbers of each micro-batch; every row is in one. Of so many tokens, rows of similar length lie together, the
/// longest first; otherwise rows keep their order.
std::vector<Tensor> micro_batches(int64_t rows, const MicroBatchOptions& options);

/// What becomes of rows that lie end to end in micro-batches: nothing is padded but, on the CPU, the rectangles of the
/// attention.
struct Packing {
  int64_t rows = 0, packs = 0;
  int64_t tokens = 0, cells = 0;  ///< cells: of each pack its rows times its longest one's tokens

  void add(const std::vector<Tensor>& parts, const Tensor& row_tokens);
  /// Share of the cells that hold no token.
  double padding() const;
};

}  // namespace rft
