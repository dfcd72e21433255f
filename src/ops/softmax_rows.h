#pragma once
/// The passes over one row of logits that linear_logp is made of.
#include <cstdint>
#include <limits>

namespace rft::ops {

/// Running sums of a softmax over blocks of a row (Milakov & Gimelshein 2018), relative to the largest logit so far.
struct SoftmaxSums {
  double max = -std::numeric_limits<double>::infinity();
  double sum = 0;       ///< sum exp(z - max)
  double weighted = 0;  ///< sum exp(z - max) (z - max), where the entropy is wanted
};

/// Adds the logits z[0 .. n) to a row's sums.
void add_block(SoftmaxSums& sums, const float* z, int64_t n, bool with_entropy);
void add_block(SoftmaxSums& sums, const double* z, int64_t n, bool with_entropy);

/// Replaces z[j] by -p (g + h (log p + entropy)) with log p = z[j] - lse: the gradient of g log p[target] + h entropy
/// with respect to z[j], but for the target's own +g.
void to_gradient(float* z, int64_t n, float lse, float g, float h, float entropy);
void to_gradient(double* z, int64_t n, double lse, double g, double h, double entropy);

}  // namespace rft::ops
