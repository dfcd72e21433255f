/// The mixture of domains that is fitted to what runs came to: quadratics are recovered, optima are those of a fine
/// grid, and noise is held down.
#include "rft/select/mixture.h"

#include <ATen/ATen.h>

#include <cmath>

#include "rft/core/rng.h"
#include "support.h"

namespace rft::mixture_test {
namespace {

using Shares = std::vector<double>;

std::vector<Shares> drawn_shares(int64_t runs, size_t domains, uint64_t seed) {
  Rng rng(seed);
  std::vector<Shares> out;
  for (uint64_t i = 0; i < static_cast<uint64_t>(runs); ++i) {
    Shares row;
    for (size_t k = 0; k < domains; ++k) row.push_back(-std::log(1 - rng.uniform(i * 16 + k)));
    out.push_back(row);
  }
  return out;
}

double sum_of(const Shares& shares) {
  double sum = 0;
  for (double x : shares) sum += x;
  return sum;
}

/// 0.3 + w_0 - 0.5 w_2 - 2 (w_0 - 0.4)^2 + w_0 w_1 of shares w.
double bowl(const Shares& shares) {
  double sum = sum_of(shares), a = shares[0] / sum, b = shares[1] / sum, c = shares[2] / sum;
  return 0.3 + a - 0.5 * c - 2 * (a - 0.4) * (a - 0.4) + a * b;
}

TEST(Mixture, RecoversAQuadraticOfTheShares) {
  auto shares = drawn_shares(12, 3, 5);
  std::vector<double> scores;
  for (const auto& row : shares) scores.push_back(bowl(row));
  MixtureFit fit = fit_mixture(shares, scores, 0);
  for (const auto& row : drawn_shares(20, 3, 6)) EXPECT_NEAR(fit.predict(row), bowl(row), 1e-9);
  EXPECT_LT(fit.left_out_error, 1e-8);
  EXPECT_GT(fit.left_out_r2, 1 - 1e-8);
  EXPECT_LT(fit_mixture(shares, scores).ridge, 1e-5);  // a small penalty predicts best where there is no noise
}

TEST(Mixture, FindsTheBestSharesInsideAndAtTheBorder) {
  auto shares = drawn_shares(12, 3, 7);
  auto best_of = [&](auto&& score, double least) {
    std::vector<double> scores;
    for (const auto& row : shares) scores.push_back(score(row));
    MixtureFit fit = fit_mixture(shares, scores, 0);
    Shares got = best_mixture(fit, least), grid;
    double most = -1e9;
    constexpr int n = 400;
    for (int a = 0; a <= n; ++a)
      for (int b = 0; a + b <= n; ++b) {
        Shares at{a / double(n), b / double(n), (n - a - b) / double(n)};
        bool allowed = at[0] >= least - 1e-9 && at[1] >= least - 1e-9 && at[2] >= least - 1e-9;
        if (allowed && score(at) > most) most = score(at), grid = at;
      }
    EXPECT_NEAR(sum_of(got), 1, 1e-9);
    EXPECT_GE(fit.predict(got), most - 1e-9);
    for (size_t k = 0; k < 3; ++k) EXPECT_NEAR(got[k], grid[k], 2.0 / n) << k;
  };
  best_of(bowl, 0.0);
  best_of(bowl, 0.1);
  best_of([](const Shares& w) { return 2 * w[0] / sum_of(w) + w[1] / sum_of(w); }, 0.0);  // one domain alone
  best_of(
      [](const Shares& w) {
        double sum = sum_of(w), a = w[0] / sum - 0.3, b = w[1] / sum - 0.5, c = w[2] / sum - 0.2;
        return -a * a - b * b - c * c;
      },
      0.0);
}

TEST(Mixture, IsHeldNearTheMeanWhereRunsAreFewAndNoisy) {
  auto shares = drawn_shares(7, 4, 8);
  Rng rng(9);
  std::vector<double> scores;
  for (uint64_t i = 0; i < 7; ++i) scores.push_back(0.5 + 0.1 * (rng.uniform(i) - 0.5));
  MixtureFit fit = fit_mixture(shares, scores), bare = fit_mixture(shares, scores, 0);
  EXPECT_LT(fit.left_out_error, bare.left_out_error);
  Shares corner{1, 0, 0, 0};
  EXPECT_NEAR(fit.predict(corner), 0.5, 0.15);
  EXPECT_NE(testing::message_of([&] { fit_mixture({{1, 2}}, {1}); }).find("two runs"), std::string::npos);
  EXPECT_NE(testing::message_of([&] { fit_mixture({{1}, {1}}, {1, 2}); }).find("two domains"), std::string::npos);
  EXPECT_NE(testing::message_of([&] { best_mixture(fit, 0.3); }).find("0.25"), std::string::npos);
}

}  // namespace
}  // namespace rft::mixture_test
