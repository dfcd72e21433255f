#pragma once
/// Mean and variance of numbers that keep coming (Chan et al. 1979's update), as Stable-Baselines3's VecNormalize has
/// them: the count starts at 1e-4 with mean 0 and variance 1.
#include <cmath>
#include <span>
#include <vector>

namespace rft {

class RunningMoments {
 public:
  explicit RunningMoments(size_t size = 0) : mean(size, 0.0), variance(size, 1.0) {}
  size_t size() const { return mean.size(); }

  /// Adds rows of size() numbers each, one after another.
  void add(std::span<const double> rows) {
    size_t count_of_rows = size() ? rows.size() / size() : 0;
    if (count_of_rows == 0) return;
    double n = static_cast<double>(count_of_rows), total = count + n;
    for (size_t j = 0; j < size(); ++j) {
      double sum = 0, squares = 0;
      for (size_t i = 0; i < count_of_rows; ++i) sum += rows[i * size() + j];
      double m = sum / n;
      for (size_t i = 0; i < count_of_rows; ++i) squares += (rows[i * size() + j] - m) * (rows[i * size() + j] - m);
      double delta = m - mean[j];
      mean[j] += delta * n / total;
      variance[j] = (variance[j] * count + squares + delta * delta * count * n / total) / total;
    }
    count = total;
  }
  /// (x - mean) / sqrt(variance + 1e-8) of number j, within +-bound.
  double normalized(double x, size_t j, double bound) const {
    double z = (x - mean[j]) / std::sqrt(variance[j] + 1e-8);
    return z < -bound ? -bound : z > bound ? bound : z;
  }

  std::vector<double> mean, variance;
  double count = 1e-4;
};

}  // namespace rft
