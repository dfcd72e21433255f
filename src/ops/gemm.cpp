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

/// A block of b, panel after panel, each [depth][32].
class PackedBlock {
 public:
  PackedBlock()
      : data_(static_cast<float*>(::operator new[](kDepth* kColumns * sizeof(float), std::align_val_t(64)))) {}

  void pack(const MatrixOf& b, int64_t row, int64_t depth, int64_t column, int64_t columns) {
    depth_ = depth;
    at::parallel_for(0, divide_up(columns, kPanel), 4, [&](int64_t first, int64_t last) {
      for (int64_t p = first; p < last; ++p) {
        int64_t j = p * kPanel;
        const float* from = b.data + row * b.row_stride + (column + j) * b.column_stride;
        gemm_pack_avx512(from, b.column_stride, b.row_stride, std::min(kPanel, columns - j), depth, kPanel, panel(p));
      }
    });
  }
  float* panel(int64_t p) const { return data_.get() + p * kPanel * depth_; }

 private:
  std::unique_ptr<float, Freed> data_;
  int64_t depth_ = 0;
};

}  // namespace

bool gemm_is_faster() {
  static const bool faster = __builtin_cpu_is("amd") && __builtin_cpu_supports("avx512f") &&
                             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                             __builtin_cpu_supports("avx512vl");
  return faster;
}

void gemm(int64_t m, int64_t n, int64_t k, MatrixOf a, MatrixOf b, const float* bias, float* c) {
  PackedBlock block;
  for (int64_t column = 0; column < n; column += kColumns) {
    int64_t columns = std::min(kColumns, n - column), panels = divide_up(columns, kPanel);
    for (int64_t row = 0; row == 0 || row < k; row += kDepth) {
      int64_t depth = std::min(kDepth, k - row);
      block.pack(b, row, depth, column, columns);
      // A piece of work: some rows of a against half of the panels.
      int64_t halves = panels > 1 ? 2 : 1;
      int64_t grain = std::max<int64_t>(1, (int64_t{1} << 19) / (kTileRows * columns * (depth + 1)));
      at::parallel_for(0, divide_up(m, kTileRows) * halves, grain, [&](int64_t first, int64_t last) {
        alignas(64) float packed[kDepth * kTileStride];
        int64_t packed_rows = -1;
        for (int64_t work = first; work < last; ++work) {
          int64_t i = work / halves * kTileRows, rows = std::min(kTileRows, m - i);
          if (i != packed_rows)
            gemm_pack_avx512(a.data + i * a.row_stride + row * a.column_stride, a.row_stride, a.column_stride,
                             std::min(kTileStride, m - i), depth, kTileStride, packed);
          packed_rows = i;
          int64_t half = work % halves, middle = panels / 2;
          for (int64_t p = half ? middle : 0; p < (halves == 1 || half ? panels : middle); ++p) {
            int64_t j = column + p * kPanel;
            gemm_tile_avx512({packed, block.panel(p), depth, rows, std::min(kPanel, n - j), bias ? bias + j : nullptr,
                              row > 0, c + i * n + j, n});
          }
        }
      });
    }
  }
}

#else

bool gemm_is_faster() { return false; }

void gemm(int64_t, int64_t, int64_t, MatrixOf, MatrixOf, const float*, float*) {
  run_failed("gemm", "needs an x86 CPU with AVX-512");
}

#endif

}  // namespace rft::ops
