/// Numbers that say how good a reward model is: small tables by hand, and what they estimate.
#include "rft/reward/assessment.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

namespace rft::assessment_test {
namespace {

const double kNan = std::nan("");

TEST(Assessment, OfPairsByHand) {
  double logit = std::log(3.0);  // says 0.75
  auto got = assess_pairs({logit, 0, 0.5, kNan, 1}, {0, logit, 0.5, 0, kNan});
  EXPECT_EQ(got.pairs, 3);
  EXPECT_NEAR(got.accuracy, 1.5 / 3, 1e-15);  // right, wrong, equal
  EXPECT_NEAR(got.margin, 0, 1e-15);
  // Two say 0.75 and one of them is right; one says 0.5 and is half right.
  EXPECT_NEAR(got.calibration_error, 2 * 0.25 / 3, 1e-15);
  EXPECT_EQ(assess_pairs({kNan}, {1}).pairs, 0);
  EXPECT_NEAR(assess_pairs({1e6}, {0}).calibration_error, 0, 1e-15);
}

TEST(Assessment, AModelThatIsRightAsOftenAsItSaysIsCalibrated) {
  std::mt19937 random(3);
  std::normal_distribution<double> normal;
  std::uniform_real_distribution<double> uniform;
  std::vector<double> better, worse;
  for (int i = 0; i < 40000; ++i) {
    double margin = 2 * normal(random);
    bool holds = uniform(random) < 1 / (1 + std::exp(-margin));
    better.push_back(holds ? margin : -margin), worse.push_back(0);
  }
  EXPECT_LT(assess_pairs(better, worse).calibration_error, 0.015);
  for (double& x : better) x *= 3;  // sure of itself
  EXPECT_GT(assess_pairs(better, worse).calibration_error, 0.1);
}

TEST(Assessment, AreaUnderTheCurveCountsPairs) {
  EXPECT_NEAR(area_under_roc({1, 2, 3, 3, kNan}, {false, true, true, false, true}), (1 + 1 + 0.5) / 4, 1e-15);
  EXPECT_EQ(area_under_roc({1, 2, 3}, {false, true, true}), 1);
  EXPECT_TRUE(std::isnan(area_under_roc({1, 2}, {true, true})));
}

TEST(Assessment, BestOfNIsTheMeanOverAllSubsets) {
  std::vector<double> score{0.3, -1, 2, 0.3, 0.9}, worth{1, 5, -2, 3, 0.5};
  for (int n = 1; n <= 5; ++n) {
    double sum = 0, subsets = 0;
    for (int set = 0; set < 32; ++set) {
      if (__builtin_popcount(static_cast<unsigned>(set)) != n) continue;
      double best = -1e9, total = 0, tied = 0;
      for (size_t i = 0; i < 5; ++i)
        if (set >> i & 1) best = std::max(best, score[i]);
      for (size_t i = 0; i < 5; ++i)
        if ((set >> i & 1) && score[i] == best) total += worth[i], tied += 1;
      sum += total / tied, subsets += 1;
    }
    EXPECT_NEAR(best_of_n(score, worth, n), sum / subsets, 1e-12) << n;
  }
  EXPECT_TRUE(std::isnan(best_of_n(score, worth, 6)));
  EXPECT_NEAR(best_of_n({1, kNan, 2}, {7, 9, kNan}, 1), 7, 1e-15);
  EXPECT_EQ(best_of_n_kl(1), 0);
  EXPECT_NEAR(best_of_n_kl(4), std::log(4.0) - 0.75, 1e-15);
}

}  // namespace
}  // namespace rft::assessment_test
