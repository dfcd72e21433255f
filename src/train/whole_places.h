#pragma once
/// Where the weights that this process has are in the whole model.
#include <string>
#include <vector>

#include "rft/dist/weight_part.h"
#include "rft/train/flat_layout.h"

namespace rft {

/// FlatLayout knows the weights that a process has, whole models count them as if nobody had a part (DividedWeights):
/// parameter after parameter in the layout's order, each row-major. A checkpoint is in these numbers, whatever layout
/// writes or reads it.
class WholePlaces {
 public:
  using Piece = FlatLayout::Piece;
  /// `parameters` in the layout's order.
  WholePlaces(const std::vector<Parameter>& parameters, const DividedWeights& divided);

  Communicator* group() const { return group_; }  ///< null: nothing is divided
  int64_t weights() const { return weights_; }
  /// Whether this process has a part of parameter i only.
  bool divided(size_t i) const { return !owners_[i].part.sections.empty(); }
  /// Those of the pieces that this process answers for: what all of the group have is the first one's.
  std::vector<Piece> counted(const std::vector<Piece>& pieces) const;
  /// The pieces, cut so that each lies side by side in the whole too, where its `first` then is.
  std::vector<Piece> in_whole(const std::vector<Piece>& pieces) const;

 private:
  struct Owner {
    int64_t first = 0, count = 0;  ///< among this process's weights
    int64_t whole = 0;             ///< among the whole model's
    WeightPart part = {};          ///< no sections: not divided
    std::vector<int64_t> shape = {};
  };
  template <class Each>
  void for_each_parameter(const std::vector<Piece>& pieces, const Each& each) const;

  Communicator* group_;
  std::vector<Owner> owners_;
  int64_t weights_ = 0;
};

}  // namespace rft
