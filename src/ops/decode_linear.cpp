#include "rft/ops/decode_linear.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <optional>

#include "ops/decode_kernels.h"
#include "rft/core/error.h"
#include "rft/ops/quantized.h"

namespace rft::ops {

namespace {

std::optional<MatrixView::Numbers> numbers_of(const Tensor& weight, const Tensor& scale) {
  if (scale.defined() != is_quantized(weight)) return std::nullopt;
  switch (weight.scalar_type()) {
    case at::kFloat:
      return MatrixView::Numbers::float32;
    case at::kBFloat16:
      return MatrixView::Numbers::bfloat16;
    case at::kChar:
      return MatrixView::Numbers::int8;
    case at::kByte:
      return MatrixView::Numbers::nf4;
    default:
      return std::nullopt;
  }
}

}  // namespace

MatrixView MatrixView::of(const Tensor& weight, const Tensor& scale) {
  const auto numbers = numbers_of(weight, scale);
  if (!numbers || weight.dim() != 2 || !weight.is_contiguous() || !weight.device().is_cpu()) {
    run_failed("decode_linear", "a weight is a contiguous [out, in] float32 or bfloat16 tensor on the CPU, or codes ",
               "and their scale; got ", weight.toString(), " ", weight.sizes());
  }
  return {weight.const_data_ptr(), *numbers, weight.size(0), columns(weight),
          scale.defined() ? scale.const_data_ptr<float>() : nullptr};
}

namespace {

/// The same by at::linear.
void library_linear(const LinearArgs& a, int64_t out) {
  const auto view = [](const float* data, int64_t rows, int64_t columns, int64_t stride) {
    return at::from_blob(const_cast<float*>(data), {rows, columns}, {stride, 1}, at::kFloat);
  };
  Tensor y = view(a.y, a.rows, out, a.y_stride);
  const Tensor bias = a.bias ? view(a.bias, 1, out, out).squeeze(0) : Tensor();
  const Tensor product = at::linear(view(a.x, a.rows, a.in, a.x_stride), view(a.weight_float, out, a.in, a.in), bias);
  a.add ? y.add_(product) : y.copy_(product);
}

}  // namespace

void decode_linear(const float* x, int64_t x_stride, int64_t rows, const MatrixView& weight, const float* bias,
                   float* y, int64_t y_stride, bool add) {
  if (rows == 0) return;
  LinearArgs args{};
  args.x = x, args.rows = rows, args.x_stride = x_stride, args.in = weight.in;
  switch (weight.numbers) {
    case MatrixView::Numbers::float32:
      args.weight_float = static_cast<const float*>(weight.data);
      break;
    case MatrixView::Numbers::bfloat16:
      args.weight_bfloat = static_cast<const uint16_t*>(weight.data);
      break;
    case MatrixView::Numbers::int8:
      args.weight_int8 = static_cast<const int8_t*>(weight.data);
      break;
    case MatrixView::Numbers::nf4:
      args.weight_nf4 = static_cast<const uint8_t*>(weight.data);
      break;
  }
  args.scale = weight.scale;
  args.bias = bias, args.y = y, args.y_stride = y_stride, args.add = add;
  if (args.weight_float && rows >= decode_kernels().library_rows) return library_linear(args, weight.out);
  const auto kernel = decode_kernels().linear;
  // A thread's share is worth waking it for from about 30 microseconds of work on.
  const int64_t products = rows * weight.in;
  const int64_t grain = std::max<int64_t>(24, (int64_t{1} << 17) / products);
  at::parallel_for(0, weight.out, grain, [&](int64_t first, int64_t last) { kernel(args, first, last); });
}

}  // namespace rft::ops
