#pragma once
/// Weights of which each process of a group has a part (tensor parallelism).
#include <map>
#include <string>
#include <vector>

#include "rft/dist/communicator.h"

namespace rft {

/// How a weight is divided: along `dim`, each of the sections that lie there one after another (q, k and v) by itself.
/// Of a section of n process r has n r / size <= i < n (r + 1) / size.
struct WeightPart {
  int64_t dim = 0;
  std::vector<int64_t> sections;  ///< of the whole weight; they sum to its size along `dim`
};

/// A copy of what process `rank` of `size` has of `whole`.
Tensor part_of(const Tensor& whole, const WeightPart& part, int64_t rank, int64_t size);
/// The whole weight, of which every process of the group gives its part: collective, and on the CPU. Undefined where
/// not `keep`.
Tensor whole_of(const Tensor& mine, const WeightPart& part, Communicator& group, bool keep = true);

/// Elements that lie side by side both in a process's part and in the whole weight (row-major).
struct WeightStretch {
  int64_t mine = 0, whole = 0, count = 0;
};
/// All of a part of the shape `mine`, in order.
std::vector<WeightStretch> stretches_of(const std::vector<int64_t>& mine, const WeightPart& part, int64_t rank,
                                        int64_t size);

/// Which weights are divided among whom.
struct DividedWeights {
  Communicator* group = nullptr;            ///< null: none are
  std::map<std::string, WeightPart> parts;  ///< by the parameters' names; the others are whole in every process
};

}  // namespace rft
