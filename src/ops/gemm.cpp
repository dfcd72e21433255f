#include "ops/gemm.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <memory>
#include <new>

#include "rft/core/error.h"

namespace rft::ops {

#ifdef __x86_64__

namespace {

constexpr int64_t kDepth = 512, kColumns = 512;  // a block of b: 1 MiB, the second-level cache of a core

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

struct Freed {
  void operator()(float* p) const { ::operator delete[](p, std::align_val_t(64)); }
};

/// Rows [row, row + depth) and columns [column, column + columns) of b, as panels [depth][32] one after another.
struct Block {
  int64_t row = 0, depth = 0, column = 0, columns = 0;

  int64_t panels() const { return divide_up(columns, kPanel); }
  int64_t panel_columns(int64_t p) const { return std::min(kPanel, columns - p * kPanel); }
  float* panel(int64_t p) const { return data.get() + p * kPanel * depth; }

  std::unique_ptr<float, Freed> data{
      static_cast<float*>(::operator new[](kDepth* kColumns * sizeof(float), std::align_val_t(64)))};
};

void pack(const MatrixOf& b, const Block& block) {
  at::parallel_for(0, block.panels(), 4, [&](int64_t first, int64_t last) {
    for (int64_t p = first; p < last; ++p) {
      const float* from = b.data + block.row * b.row_stride + (block.column + p * kPanel) * b.column_stride;
      gemm_pack_avx512(from, b.column_stride, b.row_stride, block.panel_columns(p), block.depth, kPanel,
                       block.panel(p));
    }
  });
}

/// Adds the block's part to all rows. A piece of work is a tile's rows against half of the panels.
void multiply(int64_t m, const MatrixOf& a, const Block& block, const GemmResult& result) {
  const int64_t parts = block.panels() > 1 ? 2 : 1;
  const int64_t grain = std::max<int64_t>(1, (int64_t{1} << 19) / (kTileRows * block.columns * (block.depth + 1)));
  at::parallel_for(0, divide_up(m, kTileRows) * parts, grain, [&](int64_t first, int64_t last) {
    alignas(64) float packed[kDepth * kTileStride];
    int64_t packed_row = -1;
    for (int64_t work = first; work < last; ++work) {
      const int64_t i = work / parts * kTileRows, part = work % parts;
      const float* from = a.data + i * a.row_stride + block.row * a.column_stride;
      if (i != packed_row)
        gemm_pack_avx512(from, a.row_stride, a.column_stride, std::min(kTileStride, m - i), block.depth, kTileStride,
                         packed);
      packed_row = i;
      for (int64_t p = part * block.panels() / parts; p < (part + 1) * block.panels() / parts; ++p) {
        const int64_t j = block.column + p * kPanel;
        gemm_tile_avx512({packed, block.panel(p), block.depth, std::min(kTileRows, m - i), block.panel_columns(p),
                          result.bias ? result.bias + j : nullptr, result.scale, result.add || block.row > 0,
                          result.c + i * result.row_stride + j, result.row_stride});
      }
    }
  });
}

}  // namespace

bool gemm_is_faster() {
  static const bool faster = __builtin_cpu_is("amd") && __builtin_cpu_supports("avx512f") &&
                             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                             __builtin_cpu_supports("avx512vl");
  return faster;
}

void gemm(int64_t m, int64_t n, int64_t k, MatrixOf a, MatrixOf b, const GemmResult& result) {
  Block block;
  for (block.column = 0; block.column < n; block.column += kColumns) {
    block.columns = std::min(kColumns, n - block.column);
    for (block.row = 0; block.row == 0 || block.row < k; block.row += kDepth) {
      block.depth = std::min(kDepth, k - block.row);
      pack(b, block);
      multiply(m, a, block, result);
    }
  }
}

#else

bool gemm_is_faster() { return false; }

void gemm(int64_t, int64_t, int64_t, MatrixOf, MatrixOf, const GemmResult&) {
  run_failed("gemm", "needs an x86 CPU with AVX-512");
}

#endif

}  // namespace rft::ops
