#pragma once
/// What policy-gradient objectives share: masked columns, averages, metrics.
#include <optional>
#include <string>
#include <vector>

#include "rft/core/experience.h"
#include "rft/core/metrics.h"

namespace rft::objective {

/// The columns of one micro-batch in logp's dtype, [B, T], all exactly 0 where masked: whatever stood there (garbage,
/// inf, NaN) reaches neither value nor gradient. Undefined where the batch has none.
struct Columns {
  Tensor mask;          ///< bool
  Tensor weight;        ///< the mask as numbers
  Tensor logp;          ///< now, with gradient
  Tensor old_logp;      ///< at the start of this batch's updates; logp without gradient where the batch has none
  Tensor sampler_logp;  ///< of the policy that acted (NaN = unknown); old_logp where the batch has none
  Tensor ref_logp;      ///< -inf, of what the reference can't do at all, is -1e4
  Tensor advantage;
  Tensor entropy;     ///< with gradient
  Tensor divergence;  ///< extra::divergence of the Evaluation, with gradient
};

/// Reads the columns under `mask` [B, T] bool.
Columns read_columns(const Evaluation& now, const Experience& batch, const Tensor& mask);

/// The first `rows` rows of every column.
Columns first_rows(const Columns& c, int64_t rows);

/// `x`, which `objective` was promised through needs(). Throws RunError where it is undefined.
const Tensor& required(const Tensor& x, const char* name, const char* objective);

/// x where `mask` is true, 0 elsewhere.
Tensor zero_where_masked(const Tensor& x, const Tensor& mask);
/// [B, 1]: sum over decisions of x * weight, and the same by max(sum of weight, 1).
Tensor row_sum(const Tensor& x, const Tensor& weight);
Tensor row_mean(const Tensor& x, const Tensor& weight);
/// Schulman's k3 estimate of KL(now || reference) from now's samples: e^x - x - 1 with x = ref_logp - logp.
Tensor k3(const Tensor& logp, const Tensor& ref_logp);
/// The estimate of KL(now || reference) that `estimator` names, x = logp - ref_logp: k1 = x, k2 = x^2 / 2, k3 as above.
Tensor kl_estimate(const Tensor& logp, const Tensor& ref_logp, const std::string& estimator);
/// The `quantile` [] of the entropies of all tokens under `mask`, linearly interpolated in float32; +inf where there is
/// no token.
Tensor entropy_quantile(const Tensor& entropy, const Tensor& mask, double quantile);

/// Metrics as device scalars; one copy to the host brings them all.
class MetricSums {
 public:
  /// The mean of x [B, T] over the tokens.
  void tokens(const std::string& name, const Tensor& x, const Tensor& weight);
  /// The mean over the rows that have a token, each its own mean over its tokens.
  void rows(const std::string& name, const Tensor& x, const Tensor& weight);
  void add_to(Metrics& metrics) const;

 private:
  void keep(const std::string& name, const Tensor& sum, const Tensor& count);
  std::vector<std::string> names_;
  std::vector<Tensor> values_;
  Metrics known_;  ///< what was summed on the host already
};

}  // namespace rft::objective
