#pragma once
/// Where the trained weights lie in one flat buffer, and which process updates which of them.
#include <string>
#include <vector>

#include "rft/core/parameter.h"

namespace rft {

/// The flat buffer [rows * owners * granule] in rows of a granule for each owner: granule k belongs to process
/// k % owners, so that every stretch of weights (a layer, say) is spread evenly over all of them. What a process owns
/// lies, where it lies by itself, row after row: [rows * granule].
///
/// Weights that are stepped alike are together (a Part); between parts there are gaps. A granule is a whole number of
/// blocks, by which gradients are summed: they depend on the weights alone, not on the number of owners.
class FlatLayout {
 public:
  struct Part {
    std::string group;
    bool decay = true;
    int64_t begin = 0;             ///< in the flat buffer: a multiple of a vector register's elements
    int64_t first = 0, count = 0;  ///< among the weights, which have no gaps
  };
  /// Elements of one part that lie side by side everywhere.
  struct Piece {
    const Part* part = nullptr;
    int64_t flat = 0;              ///< in the flat buffer
    int64_t own = 0;               ///< among what the process owns
    int64_t first = 0, count = 0;  ///< among the weights
  };
  /// Rows of the flat buffer.
  struct Rows {
    int64_t first = 0, count = 0;
  };

  /// Orders the parameters: groups as they were met, in each the decayed ones first.
  FlatLayout(std::vector<Parameter>& parameters, int64_t owners, int64_t rank);

  int64_t owners() const { return owners_; }
  int64_t rank() const { return rank_; }
  int64_t block() const { return block_; }
  int64_t granule() const { return granule_; }
  int64_t rows() const { return rows_; }
  int64_t size() const { return rows_ * owners_ * granule_; }
  int64_t own_size() const { return rows_ * granule_; }
  int64_t weights() const { return weights_; }
  const std::vector<Part>& parts() const { return parts_; }
  /// Where parameter i, in this order, begins in the flat buffer.
  int64_t begin_of(size_t i) const { return begins_[i]; }
  /// Its place in the order in which they came.
  size_t came_as(size_t i) const { return came_as_[i]; }

  /// What this process owns of the flat elements begin <= i < end, in order.
  std::vector<Piece> owned(int64_t begin, int64_t end) const;
  /// The same of a process that owns everything: `own` is `flat`.
  std::vector<Piece> all() const;
  /// The rows that hold the flat elements begin <= i < end, and perhaps others.
  Rows rows_of(int64_t begin, int64_t end) const;
  /// A flat buffer's rows as [rows, owners, granule], a view.
  Tensor by_rows(const Tensor& flat, const Rows& rows) const;

 private:
  int64_t lay_out(std::vector<Parameter>& parameters);

  int64_t owners_, rank_, block_ = 0, granule_ = 0, rows_ = 0, weights_ = 0;
  std::vector<Part> parts_;
  std::vector<int64_t> begins_;
  std::vector<size_t> came_as_;
};

}  // namespace rft
