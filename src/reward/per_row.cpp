#include "reward/per_row.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>

namespace rft {

Rewards score_rows(const Experience& batch, const std::string& name, const std::function<double(int64_t)>& score) {
  int64_t rows = batch.rows();
  Rewards out;
  out.value = at::full({rows}, std::numeric_limits<float>::quiet_NaN(), at::kFloat);
  out.errors.assign(rows, "");
  float* value = out.value.data_ptr<float>();
  for (int64_t i = 0; i < rows; ++i) {
    try {
      auto given = static_cast<float>(score(i));
      if (std::isfinite(given))
        value[i] = given;
      else
        out.errors[i] = "the reward must be a finite number; got " + std::to_string(given);
    } catch (const std::exception& error) {
      out.errors[i] = error.what();
    }
  }
  out.components = {{name, out.value, 1.0}};
  return out;
}

}  // namespace rft
