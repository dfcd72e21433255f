#include "rft/ops/groups.h"

#include <ATen/ATen.h>

#include <cmath>

#include "support.h"

namespace rft::groups_test {
namespace {

const double kNan = std::nan("");

TEST(Groups, NumbersMayBeAnythingInAnyOrder) {
  ops::Groups groups(at::tensor({900, -3, 900, 7, -3, 900}, at::kLong));
  EXPECT_EQ(groups.count(), 3);
  EXPECT_TRUE(groups.size().equal(at::tensor({3, 2, 3, 1, 2, 3}, at::kLong)));
  Tensor x = at::tensor({1.0, 10.0, 2.0, 5.0, 20.0, 6.0}, at::kDouble);
  EXPECT_TRUE(groups.sum(x).allclose(at::tensor({9.0, 30.0, 9.0, 5.0, 30.0, 9.0}, at::kDouble)));
  EXPECT_TRUE(groups.mean(x).allclose(at::tensor({3.0, 15.0, 3.0, 5.0, 15.0, 3.0}, at::kDouble)));
  EXPECT_NEAR(groups.deviation(x)[0].item<double>(), std::sqrt(7.0), 1e-12);
  EXPECT_EQ(groups.deviation(x)[3].item<double>(), 0);
}

TEST(Groups, NanIsLeftOutOfEveryStatistic) {
  ops::Groups groups(at::tensor({0, 0, 0, 1, 1, 2}, at::kLong));
  Tensor x = at::tensor({1.0, kNan, 3.0, kNan, 4.0, kNan}, at::kDouble);
  EXPECT_TRUE(groups.valid(x).equal(at::tensor({2.0, 2.0, 2.0, 1.0, 1.0, 0.0}, at::kDouble)));
  EXPECT_EQ(groups.mean(x)[1].item<double>(), 2);
  EXPECT_NEAR(groups.deviation(x)[0].item<double>(), std::sqrt(2.0), 1e-12);
  EXPECT_EQ(groups.deviation(x)[4].item<double>(), 0);
  EXPECT_TRUE(std::isnan(groups.mean(x)[5].item<double>()));
  EXPECT_NEAR(ops::nan_mean(x).item<double>(), 8.0 / 3, 1e-12);
  EXPECT_NEAR(ops::nan_deviation(x).item<double>(),
              std::sqrt((2.7777777777777777 + 0.1111111111111111 + 1.7777777777777777) / 2), 1e-12);
}

}  // namespace
}  // namespace rft::groups_test
