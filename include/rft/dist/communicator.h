#pragma once
/// The processes of a run, and what they tell each other.
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "rft/core/tensor.h"

namespace rft {

/// One of `size()` processes. Every call is collective: all processes make the same ones in the same order, on the
/// training thread, and it returns when all have. Throws RunError where another process is gone or does not come within
/// the time limit; the group is of no use afterwards.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int64_t rank() const = 0;  ///< 0 .. size() - 1
  virtual int64_t size() const = 0;

  /// Sums a tensor (contiguous, floating-point, of one shape everywhere) over all processes, in place. All get the same
  /// bits. bfloat16 is summed in float32.
  virtual void sum(const Tensor& tensor) = 0;
  /// A tensor [n] (contiguous, floating-point, n a multiple of size()) in size() equal parts: part r of process r
  /// becomes the sum of all processes' parts r, added in an order that depends on r alone; elsewhere it stays as it
  /// was. bfloat16 is sent as it is and added in float32. Each process sends (size() - 1) / size() of the tensor.
  virtual void sum_parts(const Tensor& tensor) = 0;
  /// Part r of a tensor [n] as process r has it, on all of them. Each sends (size() - 1) / size() of the tensor.
  virtual void share_parts(const Tensor& tensor) = 0;
  /// The same, going on while the caller computes: what is returned waits for the end, and until then nobody touches
  /// the tensor. All processes begin alike, in the same order; each waits when it likes. Where a group can't do it
  /// meanwhile it is done at once.
  virtual std::function<void()> begin_sum_parts(const Tensor& tensor) {
    sum_parts(tensor);
    return [] {};
  }
  virtual std::function<void()> begin_share_parts(const Tensor& tensor) {
    share_parts(tensor);
    return [] {};
  }
  /// What this process has sent so far, in bytes, as its TCP connections count it: tensors, texts and heartbeats.
  virtual int64_t bytes_sent() const = 0;
  /// Every process's text, by rank; they may differ in length.
  virtual std::vector<std::string> gather(const std::string& mine) = 0;
  /// What this process is at, for the messages of others where it stops answering: "step 12".
  virtual void at(const std::string& where) = 0;
  /// The last call of a run that ended as it should (finished, or interrupted everywhere). A process whose Communicator
  /// goes without it has failed, and the others end.
  virtual void leave() = 0;
  /// A group of some of these processes, in the order of `ranks`, among them this one. All of it call this at once with
  /// the same `name`, which no other group of the run has. It must not outlive this, and needs no at() and leave().
  /// Throws RunError where they do not find each other.
  virtual std::unique_ptr<Communicator> subgroup(const std::string& name, const std::vector<int64_t>& ranks) = 0;
};

/// How processes find each other: torchrun's variables RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT; where
/// they are not set, Slurm's (SLURM_PROCID, SLURM_NTASKS, the first host of SLURM_STEP_NODELIST) or Open MPI's
/// (OMPI_COMM_WORLD_RANK, OMPI_COMM_WORLD_SIZE) in their place.
struct Launch {
  int64_t rank = 0, size = 1;
  std::string address;  ///< of rank 0
  int64_t port = 0;
  bool agent_store = false;  ///< torchrun's agent keeps the store (TORCHELASTIC_USE_AGENT_STORE)
  std::string prefix;        ///< of this start's keys in a store that outlives it (TORCHELASTIC_RESTART_COUNT)

  /// Throws UserError naming a variable that is missing or makes no sense.
  static Launch from_environment();
};

/// Joins the processes over LibTorch's c10d (a TCPStore, Gloo on the CPU). Null for one process. From then on a thread
/// tells the others that this process lives: one that falls silent (killed, stopped, cut off) ends the rest within
/// RFT_SILENCE_SECONDS (20), naming it. Throws RunError where not all come within RFT_JOIN_SECONDS (60).
std::unique_ptr<Communicator> join_processes(const Launch& launch);

}  // namespace rft
