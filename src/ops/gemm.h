#pragma once
/// Matrix products in float32 for CPUs where LibTorch's own library leaves half of the vector unit unused: MKL stays
/// with AVX2 on AMD. oneDNN, which LibTorch holds too, is as fast as this for one shape, but compiles a kernel for
/// every new one (2 to 3 ms), and packed rows have a new number of tokens at every step.
#include <cstdint>

namespace rft::ops {

/// An element (i, j) of a matrix lies at data[i * row_stride + j * column_stride].
struct MatrixOf {
  const float* data;
  int64_t row_stride, column_stride;
};

/// MKL keeps to AVX2 on AMD's CPUs with AVX-512 (Zen 4 and later); gemm() is about twice as fast there.
bool gemm_is_faster();

/// What becomes of the sums a b: c = scale * a b + bias, or c += scale * a b.
struct GemmResult {
  float* c;                     ///< [m, n], its columns side by side
  int64_t row_stride;           ///< floats from one row of c to the next
  const float* bias = nullptr;  ///< [n] or null; not with `add`
  float scale = 1;
  bool add = false;
};

/// a [m, k], b [k, n] of any strides (one of each matrix's being 1 is fast). Each element is summed in the same order
/// whatever the number of threads. Needs AVX-512.
void gemm(int64_t m, int64_t n, int64_t k, MatrixOf a, MatrixOf b, const GemmResult& result);

constexpr int64_t kTileRows = 14, kTileStride = 16, kPanel = 32;

/// One tile: c [rows <= 14, columns <= 32] from a packed [k][16] and b packed [k][32].
struct GemmTile {
  const float *a, *b;
  int64_t k, rows, columns;
  const float* bias;  ///< [columns] or null; read where not `add`
  float scale;
  bool add;  ///< c += instead of c =
  float* c;
  int64_t c_stride;
};
void gemm_tile_avx512(const GemmTile& tile);

/// out[j * width + i] = data[i * stride + j * step] for i < lanes, 0 for lanes <= i < width; j < k. width 16 or 32.
void gemm_pack_avx512(const float* data, int64_t stride, int64_t step, int64_t lanes, int64_t k, int64_t width,
                      float* out);

}  // namespace rft::ops
