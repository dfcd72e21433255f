#include "rft/ops/decode_linear.h"

#include <ATen/ATen.h>

#include "decode_kernel_sets.h"
#include "support.h"

namespace rft::decode_linear_test {
namespace {

using testing::with_every_kernel_set;

/// Largest |difference| over the largest sum of |products|.
double relative_error(const Tensor& y, const Tensor& exact, const Tensor& magnitude) {
  return ((y.to(at::kDouble) - exact).abs() / magnitude).max().item<double>();
}

void compare(int64_t rows, int64_t in, int64_t out, at::ScalarType dtype, bool with_bias, bool add) {
  SCOPED_TRACE(cat("rows ", rows, " in ", in, " out ", out, " bias ", with_bias, " add ", add));
  const Tensor x = at::randn({rows, in + 3}).narrow(1, 0, in), weight = at::randn({out, in}).to(dtype);
  const Tensor bias = at::randn({out}), before = at::randn({rows, out + 2});
  Tensor y = before.clone();
  ops::decode_linear(x.const_data_ptr<float>(), in + 3, rows, ops::MatrixView::of(weight),
                     with_bias ? bias.const_data_ptr<float>() : nullptr, y.data_ptr<float>(), out + 2, add);
  const Tensor exact_x = x.to(at::kDouble), exact_w = weight.to(at::kDouble);
  Tensor exact = exact_x.matmul(exact_w.t());
  Tensor magnitude = exact_x.abs().matmul(exact_w.t().abs()) + 1;
  if (with_bias) exact = exact + bias.to(at::kDouble), magnitude = magnitude + bias.abs();
  if (add) exact = exact + before.narrow(1, 0, out), magnitude = magnitude + before.narrow(1, 0, out).abs();
  EXPECT_LT(relative_error(y.narrow(1, 0, out), exact, magnitude), 3e-7);
  EXPECT_TRUE(y.narrow(1, out, 2).equal(before.narrow(1, out, 2))) << "columns beyond `out` were written";
}

TEST(DecodeLinear, agrees_with_float64_for_every_number_of_rows_and_awkward_sizes) {
  at::manual_seed(1);
  with_every_kernel_set([] {
    for (int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 33, 48, 50, 64, 65, 130}) {
      for (auto [in, out] : {std::pair{1, 1}, {7, 5}, {16, 16}, {33, 37}, {300, 70}, {520, 24}}) {
        for (auto dtype : {at::kFloat, at::kBFloat16}) compare(rows, in, out, dtype, rows % 2 == 0, rows % 3 == 0);
      }
    }
  });
}

TEST(DecodeLinear, splits_large_products_over_threads) {
  at::manual_seed(2);
  for (int64_t rows : {1, 8, 40}) compare(rows, 768, 3000, at::kFloat, true, true);
}

TEST(DecodeLinear, refuses_weights_it_cannot_read) {
  EXPECT_NE(testing::message_of<RunError>([] {
              ops::MatrixView::of(at::zeros({2, 2}, at::kDouble));
            }).find("float32"),
            std::string::npos);
  EXPECT_THROW(ops::MatrixView::of(at::zeros({2, 4}).t()), RunError);
}

}  // namespace
}  // namespace rft::decode_linear_test
