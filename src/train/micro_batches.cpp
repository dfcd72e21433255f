#include "train/micro_batches.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

namespace rft {
namespace {

/// Rows that must stay together.
struct Unit {
  std::vector<int64_t> rows;
  int64_t tokens = 0, longest = 0;
};

std::vector<Unit> units_of(int64_t rows, const MicroBatchOptions& options) {
  const int64_t count = rows / options.blocks;
  const int64_t* tokens = options.row_tokens.defined() ? options.row_tokens.const_data_ptr<int64_t>() : nullptr;
  std::vector<Unit> out;
  for (int64_t first = 0; first < count; first += options.group) {
    Unit unit;
    for (int64_t i = first; i < std::min(first + options.group, count); ++i) {
      for (int64_t block = 0; block < options.blocks; ++block) unit.rows.push_back(i + block * count);
    }
    for (int64_t row : unit.rows) {
      const int64_t length = tokens ? tokens[row] : 0;
      unit.tokens += length, unit.longest = std::max(unit.longest, length);
    }
    out.push_back(std::move(unit));
  }
  return out;
}

/// Block by block: of pairs all that were chosen come first.
Tensor rows_of(const std::vector<Unit>& units, size_t first, size_t last, int64_t blocks) {
  const auto step = static_cast<size_t>(blocks);
  std::vector<int64_t> out;
  for (size_t block = 0; block < step; ++block)
    for (size_t i = first; i < last; ++i)
      for (size_t k = block; k < units[i].rows.size(); k += step) out.push_back(units[i].rows[k]);
  return at::tensor(out, at::kLong);
}

}  // namespace

std::vector<Tensor> micro_batches(int64_t rows, const MicroBatchOptions& options) {
  std::vector<Unit> units = units_of(rows, options);
  const auto count = static_cast<int64_t>(units.size());
  int64_t most = options.rows > 0 ? std::max<int64_t>(options.rows / options.group, 1) : count;
  const int64_t share = (count + options.processes - 1) / options.processes;
  most = std::max<int64_t>(std::min(most, share), 1);
  if (options.tokens > 0)
    std::stable_sort(units.begin(), units.end(), [](const Unit& a, const Unit& b) { return a.longest > b.longest; });
  std::vector<Tensor> out;
  size_t first = 0;
  int64_t tokens = 0;
  for (size_t i = 0; i < units.size(); ++i) {
    const bool full = static_cast<int64_t>(i - first) == most ||
                      (options.tokens > 0 && i > first && tokens + units[i].tokens > options.tokens);
    if (full) out.push_back(rows_of(units, first, i, options.blocks)), first = i, tokens = 0;
    tokens += units[i].tokens;
  }
  if (first < units.size()) out.push_back(rows_of(units, first, units.size(), options.blocks));
  return out;
}

void Packing::add(const std::vector<Tensor>& parts, const Tensor& row_tokens) {
  for (const Tensor& part : parts) {
    const Tensor lengths = row_tokens.index_select(0, part);
    rows += part.numel(), ++packs;
    tokens += lengths.sum().item<int64_t>(), cells += part.numel() * lengths.max().item<int64_t>();
  }
}

double Packing::padding() const { return cells ? 1 - static_cast<double>(tokens) / static_cast<double>(cells) : 0; }

}  // namespace rft
