#include "rft/select/mixture.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "rft/core/error.h"

namespace rft {
namespace {

constexpr size_t kMostDomains = 16;

std::vector<double> normalised(std::vector<double> shares) {
  double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
  for (double& x : shares) x /= sum;
  return shares;
}

/// [n, K (K + 1) / 2]: w_i w_j of i <= j, those of two domains counted twice, as in w^T Q w.
Tensor products(const Tensor& shares) {
  int64_t domains = shares.size(1);
  Tensor places = at::triu_indices(domains, domains), twice = places[0].ne(places[1]).to(at::kDouble).add(1);
  return shares.index_select(1, places[0]).mul(shares.index_select(1, places[1])).mul(twice);
}

/// The coefficients of `targets` in `features`, each with a penalty of its own weight in |Q|^2.
Tensor solve(const Tensor& features, const Tensor& targets, const Tensor& penalty) {
  Tensor normal = features.t().matmul(features).add(at::diag(penalty));
  return std::get<0>(at::linalg_lstsq(normal, features.t().matmul(targets).unsqueeze(1), std::nullopt, "gelsd"))
      .squeeze(1);
}

/// What the fits to all other runs are off at each run.
Tensor left_out(const Tensor& features, const Tensor& scores, const Tensor& penalty) {
  std::vector<Tensor> errors;
  for (int64_t i = 0; i < scores.numel(); ++i) {
    Tensor others = at::arange(scores.numel()).ne(i).nonzero().squeeze(1);
    Tensor known = scores.index_select(0, others), mean = known.mean();
    Tensor fitted = solve(features.index_select(0, others), known.sub(mean), penalty);
    errors.push_back(features[i].dot(fitted).add(mean).sub(scores[i]));
  }
  return at::stack(errors);
}

/// Where w^T Q w is stationary on the domains in `set`, sum w = `total`, w > 0 there; empty where that is nowhere.
std::vector<double> stationary(const Tensor& quadratic, const std::vector<int64_t>& set, double total) {
  auto count = static_cast<int64_t>(set.size());
  Tensor places = at::tensor(set, at::kLong);
  Tensor own = quadratic.index_select(0, places).index_select(1, places);
  // 2 Q w = multiplier, sum w = total.
  Tensor system = at::zeros({count + 1, count + 1}, at::kDouble), right = at::zeros({count + 1, 1}, at::kDouble);
  system.narrow(0, 0, count).narrow(1, 0, count).copy_(own.mul(2));
  system.select(1, count).narrow(0, 0, count).fill_(-1), system[count].narrow(0, 0, count).fill_(1);
  right[count][0] = total;
  Tensor found = std::get<0>(at::linalg_lstsq(system, right, std::nullopt, "gelsd"));
  if (system.matmul(found).sub(right).abs().max().item<double>() > 1e-8) return {};
  std::vector<double> out(static_cast<size_t>(quadratic.size(0)), 0.0);
  for (int64_t k = 0; k < count; ++k) {
    double share = found[k][0].item<double>();
    if (share < -1e-12) return {};
    out[static_cast<size_t>(set[static_cast<size_t>(k)])] = std::max(share, 0.0);
  }
  return out;
}

}  // namespace

double MixtureFit::predict(const std::vector<double>& shares) const {
  Tensor w = at::tensor(normalised(shares), at::kDouble);
  return w.dot(quadratic.matmul(w)).item<double>();
}

MixtureFit fit_mixture(const std::vector<std::vector<double>>& shares, const std::vector<double>& scores,
                       double ridge) {
  if (shares.size() != scores.size() || shares.size() < 2)
    bad_input("mixture", "a mixture is fitted to at least two runs, each with a score; got ", shares.size(), " and ",
              scores.size(), " scores");
  size_t domains = shares[0].size();
  if (domains < 2) bad_input("mixture", "a mixture is of at least two domains; got ", domains);
  std::vector<double> flat;
  for (const auto& row : shares) {
    if (row.size() != domains)
      bad_input("mixture", "every run has the same domains; got ", row.size(), " and ", domains);
    for (double x : normalised(row)) flat.push_back(x);
  }
  Tensor features = products(at::tensor(flat, at::kDouble).view({-1, static_cast<int64_t>(domains)}));
  Tensor targets = at::tensor(scores, at::kDouble), mean = targets.mean();
  auto width = static_cast<int64_t>(domains);
  Tensor places = at::triu_indices(width, width), weight = places[0].ne(places[1]).to(at::kDouble).add(1);

  MixtureFit out;
  auto error_at = [&](double x) {
    return left_out(features, targets, weight.mul(x)).square().mean().sqrt().item<double>();
  };
  out.ridge = ridge;
  if (ridge < 0) {
    double best = std::numeric_limits<double>::infinity();
    for (double x = 1e-6; x < 2; x *= 10)
      if (double error = error_at(x); error < best) best = error, out.ridge = x;
  }
  out.left_out_error = error_at(out.ridge);
  auto runs = static_cast<double>(scores.size());
  double spread = targets.var(0, /*unbiased=*/false).item<double>() * std::pow(runs / (runs - 1), 2);
  out.left_out_r2 = 1 - out.left_out_error * out.left_out_error / spread;
  Tensor fitted = solve(features, targets.sub(mean), weight.mul(out.ridge));
  Tensor upper = at::zeros({width, width}, at::kDouble);
  upper.index_put_({places[0], places[1]}, fitted);
  out.quadratic = upper.add(upper.t()).sub(at::diag(upper.diagonal())).add(mean);
  return out;
}

std::vector<double> best_mixture(const MixtureFit& fit, double least) {
  auto domains = static_cast<size_t>(fit.quadratic.size(0));
  if (domains > kMostDomains) bad_input("mixture", "is of at most ", kMostDomains, " domains; got ", domains);
  double total = 1 - least * static_cast<double>(domains);
  if (least < 0 || total < -1e-12)
    bad_input("mixture", "the least share of ", domains, " domains lies in [0, ", 1.0 / static_cast<double>(domains),
              "]; got ", least);
  // w = least + v with v >= 0, sum v = total: w^T Q w = v^T Q' v with the linear part shared out over v's products.
  Tensor ones = at::ones({static_cast<int64_t>(domains)}, at::kDouble), q = fit.quadratic;
  std::vector<double> best(domains, 1.0 / static_cast<double>(domains));
  if (total < 1e-12) return best;
  Tensor linear = q.matmul(ones).mul(least / total);
  Tensor shifted = q.add(linear.unsqueeze(0)).add(linear.unsqueeze(1));
  double most = -std::numeric_limits<double>::infinity();
  for (uint32_t members = 1; members < (1u << domains); ++members) {
    std::vector<int64_t> set;
    for (size_t k = 0; k < domains; ++k)
      if (members >> k & 1) set.push_back(static_cast<int64_t>(k));
    std::vector<double> shares = stationary(shifted, set, total);
    if (shares.empty()) continue;
    for (double& x : shares) x += least;
    if (double score = fit.predict(shares); score > most + 1e-12) most = score, best = shares;
  }
  return best;
}

}  // namespace rft
