#include "reward/frechet_distance.h"

#include <ATen/ATen.h>

#include <Eigen/Eigenvalues>
#include <cmath>

namespace rft {
namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

Eigen::SelfAdjointEigenSolver<Matrix> solve(const Tensor& symmetric, int options) {
  Tensor values = symmetric.to(at::kDouble).contiguous();
  Eigen::Map<const Matrix> view(values.data_ptr<double>(), values.size(0), values.size(1));
  return Eigen::SelfAdjointEigenSolver<Matrix>(view, options);
}

/// The trace of a positive semidefinite matrix's square root.
double root_trace(const Tensor& symmetric) {
  return solve(symmetric, Eigen::EigenvaluesOnly).eigenvalues().cwiseMax(0).cwiseSqrt().sum();
}

Tensor square_root(const Tensor& symmetric) {
  auto solver = solve(symmetric, Eigen::ComputeEigenvectors);
  Matrix root = solver.eigenvectors() * solver.eigenvalues().cwiseMax(0).cwiseSqrt().asDiagonal() *
                solver.eigenvectors().transpose();
  return at::from_blob(root.data(), {root.rows(), root.cols()}, at::kDouble).clone();
}

/// What the distance is made of where there are fewer rows than dimensions: products of rows less the reference's mean.
/// The eigenvalues of C C' that are not 0 are those of the [N, N] matrix of products under C'.
struct Products {
  Tensor plain;    ///< [N, N], x_i . x_j
  Tensor weighed;  ///< [N, N], x_i . C' x_j
};

Products products_of(const Tensor& rows, const Gaussian& reference) {
  Tensor x = rows - reference.mean;
  return {x.mm(x.t()), x.mm(reference.covariance).mm(x.t())};
}

double distance_of(const Products& products, double reference_trace) {
  auto n = static_cast<double>(products.plain.size(0));
  double between = products.plain.sum().item<double>() / (n * n);
  double trace = (products.plain.trace().item<double>() - n * between) / (n - 1);
  Tensor k = products.weighed;
  Tensor centred = k - k.mean(0, true) - k.mean(1, true) + k.mean();
  return between + trace + reference_trace - 2 * root_trace(centred / (n - 1));
}

/// The same where there are more rows than dimensions.
double distance_of(const Tensor& rows, const Gaussian& reference, const Tensor& root) {
  Gaussian own = gaussian_of(rows);
  double between = (own.mean - reference.mean).square().sum().item<double>();
  double traces = (own.covariance.trace() + reference.covariance.trace()).item<double>();
  return between + traces - 2 * root_trace(root.mm(own.covariance).mm(root));
}

/// All numbers below `count` but `left_out`.
Tensor others(int64_t count, int64_t left_out) {
  return at::cat({at::arange(left_out, at::kLong), at::arange(left_out + 1, count, at::kLong)});
}

}  // namespace

Gaussian gaussian_of(const Tensor& rows) {
  Tensor x = rows.to(at::kDouble), mean = x.mean(0), centred = x - mean;
  return {mean, centred.t().mm(centred) / static_cast<double>(x.size(0) - 1)};
}

double frechet_distance(const Tensor& rows, const Gaussian& reference) {
  Tensor x = rows.to(at::kDouble);
  if (x.size(0) > x.size(1)) return distance_of(x, reference, square_root(reference.covariance));
  return distance_of(products_of(x, reference), reference.covariance.trace().item<double>());
}

std::vector<double> frechet_gains(const Tensor& rows, const Gaussian& reference) {
  Tensor x = rows.to(at::kDouble);
  const int64_t n = x.size(0);
  std::vector<double> out;
  if (n > x.size(1)) {
    Tensor root = square_root(reference.covariance);
    double all = distance_of(x, reference, root);
    for (int64_t i = 0; i < n; ++i) out.push_back(distance_of(x.index_select(0, others(n, i)), reference, root) - all);
    return out;
  }
  Products products = products_of(x, reference);
  double trace = reference.covariance.trace().item<double>(), all = distance_of(products, trace);
  for (int64_t i = 0; i < n; ++i) {
    Tensor kept = others(n, i);
    auto part = [&](const Tensor& m) { return m.index_select(0, kept).index_select(1, kept); };
    out.push_back(distance_of({part(products.plain), part(products.weighed)}, trace) - all);
  }
  return out;
}

double vendi_score(const Tensor& similarity) {
  auto values = solve(similarity / static_cast<double>(similarity.size(0)), Eigen::EigenvaluesOnly).eigenvalues();
  double entropy = 0;
  for (double value : values)
    if (value > 1e-12) entropy -= value * std::log(value);
  return std::exp(entropy);
}

}  // namespace rft
