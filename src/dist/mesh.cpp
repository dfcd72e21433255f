#include "rft/dist/mesh.h"

#include <vector>

#include "rft/core/error.h"

namespace rft {

Mesh::Mesh(Communicator* all, int64_t tensor, const std::string& name) : all_(all) {
  int64_t size = all ? all->size() : 1;
  if (size % tensor)
    bad_input("train.tensor_parallel", "the number of processes (WORLD_SIZE) must be a multiple of it; got ", tensor,
              " and ", size, size == 1 ? " process" : " processes");
  if (tensor == 1 || tensor == size) {
    (tensor == 1 ? data_ : tensor_) = all;
    return;
  }
  int64_t row = all->rank() / tensor, column = all->rank() % tensor;
  std::vector<int64_t> in_row, in_column;
  for (int64_t k = 0; k < tensor; ++k) in_row.push_back(row * tensor + k);
  for (int64_t k = column; k < size; k += tensor) in_column.push_back(k);
  row_ = all->subgroup(cat(name, "/row", row), in_row), tensor_ = row_.get();
  column_ = all->subgroup(cat(name, "/column", column), in_column), data_ = column_.get();
}

}  // namespace rft
