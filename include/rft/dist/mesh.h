#pragma once
/// The processes of a run as a table.
#include <memory>
#include <string>

#include "rft/dist/communicator.h"

namespace rft {

/// `tensor` neighbours in the order of the ranks, a row of the table, compute with each other: each has its part of the
/// same weights (tensor parallelism). A column are those that have the same part, and share the work (data
/// parallelism). All of a row see the same numbers, bit for bit, but of what is divided.
class Mesh {
 public:
  /// One process.
  Mesh() = default;
  /// `all` may be null (one process), and must outlive this. Every process calls it at once, with the same `name`,
  /// which is that of no other mesh of the run. Throws UserError where the number of processes is no multiple of
  /// `tensor`.
  Mesh(Communicator* all, int64_t tensor, const std::string& name);

  Communicator* all() const { return all_; }        ///< null where there is one process
  Communicator* data() const { return data_; }      ///< this process's column; null where that is itself alone
  Communicator* tensor() const { return tensor_; }  ///< its row; the same

 private:
  Communicator *all_ = nullptr, *data_ = nullptr, *tensor_ = nullptr;
  std::unique_ptr<Communicator> column_, row_;  ///< where they are not `all`
};

}  // namespace rft
