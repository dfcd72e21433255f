#include "rft/reward/assessment.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

namespace rft {
namespace {

/// The numbers of `x` in increasing order, with their first and one past their last place among equal ones.
struct Tie {
  size_t first, end;
};
std::vector<Tie> ties_of(const std::vector<std::pair<double, double>>& sorted) {
  std::vector<Tie> out;
  for (size_t i = 0; i < sorted.size(); i = out.back().end) {
    size_t end = i;
    while (end < sorted.size() && sorted[end].first == sorted[i].first) ++end;
    out.push_back({i, end});
  }
  return out;
}

}  // namespace

PairAssessment assess_pairs(const std::vector<double>& better, const std::vector<double>& worse, int bins) {
  struct Bin {
    double count = 0, right = 0, said = 0;
  };
  std::vector<Bin> bin(static_cast<size_t>(bins));
  PairAssessment out;
  for (size_t i = 0; i < better.size(); ++i) {
    double margin = better[i] - worse[i];
    if (std::isnan(margin)) continue;
    double right = margin > 0 ? 1 : margin == 0 ? 0.5 : 0, said = 1 / (1 + std::exp(-std::abs(margin)));
    auto place = static_cast<size_t>((said - 0.5) * 2 * bins);
    Bin& at = bin[std::min(place, bin.size() - 1)];
    at.count += 1, at.right += right, at.said += said;
    out.pairs += 1, out.accuracy += right, out.margin += margin;
  }
  if (out.pairs == 0) return out;
  out.accuracy /= out.pairs, out.margin /= out.pairs;
  for (const Bin& at : bin) out.calibration_error += std::abs(at.right - at.said) / out.pairs;
  return out;
}

double area_under_roc(const std::vector<double>& score, const std::vector<bool>& good) {
  std::vector<std::pair<double, double>> sorted;
  for (size_t i = 0; i < score.size(); ++i)
    if (!std::isnan(score[i])) sorted.emplace_back(score[i], good[i] ? 1 : 0);
  std::sort(sorted.begin(), sorted.end());
  double below = 0, won = 0, all = 0;  // bad rows below; good rows' wins; good rows
  for (const Tie& tie : ties_of(sorted)) {
    double here = 0;
    for (size_t i = tie.first; i < tie.end; ++i) here += sorted[i].second;
    double bad = static_cast<double>(tie.end - tie.first) - here;
    won += here * (below + bad / 2), below += bad, all += here;
  }
  return all > 0 && below > 0 ? won / (all * below) : std::numeric_limits<double>::quiet_NaN();
}

double best_of_n(const std::vector<double>& score, const std::vector<double>& worth, int n) {
  std::vector<std::pair<double, double>> sorted;
  for (size_t i = 0; i < score.size(); ++i)
    if (!std::isnan(score[i]) && !std::isnan(worth[i])) sorted.emplace_back(score[i], worth[i]);
  std::sort(sorted.begin(), sorted.end());
  const auto m = static_cast<double>(sorted.size());
  if (n < 1 || m < n) return std::numeric_limits<double>::quiet_NaN();
  auto log_choose = [](double a, double b) { return std::lgamma(a + 1) - std::lgamma(b + 1) - std::lgamma(a - b + 1); };
  double sum = 0;
  for (const Tie& tie : ties_of(sorted)) {
    double chance = 0, total = 0;
    for (size_t i = tie.first; i < tie.end; ++i) {
      auto rank = static_cast<double>(i);
      if (rank >= n - 1) chance += std::exp(log_choose(rank, n - 1) - log_choose(m, n));
      total += sorted[i].second;
    }
    sum += chance * total / static_cast<double>(tie.end - tie.first);
  }
  return sum;
}

double best_of_n_kl(int n) { return std::log(n) - (n - 1.0) / n; }

}  // namespace rft
