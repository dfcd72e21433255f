#pragma once
/// Rows and metrics between the processes of a run.
#include "rft/core/experience.h"
#include "rft/core/metrics.h"
#include "rft/dist/communicator.h"

namespace rft {

/// Rows first .. first + count of n: what each process takes of work that is divided, in order of the ranks. All of
/// them where `processes` is null.
struct Share {
  int64_t first = 0, count = 0;
};
Share share_of(const Communicator* processes, int64_t n);
Share share_of(int64_t n, int64_t rank, int64_t size);

/// The rows of all processes, in order of the ranks; one may have none (an Experience without columns).
Experience gather_rows(Communicator& processes, const Experience& mine);
/// The same of a tensor's rows; undefined where a process has none.
Tensor gather_rows(Communicator& processes, const Tensor& mine);
/// Sums of all processes' observations: the same everywhere.
Metrics gather_metrics(Communicator& processes, const Metrics& mine);

/// An Experience or a tensor as bytes, and back.
std::string pack_experience(const Experience& rows);
Experience unpack_experience(const std::string& bytes);

}  // namespace rft
