#include "dist/deadline.h"

#include <atomic>
#include <chrono>

#include "support.h"

namespace rft::deadline_test {
namespace {

void sleep(int milliseconds) { std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds)); }

TEST(Deadline, ExpiresOnceAndOnlyWhereItIsNotRenewed) {
  std::atomic<int> missed{0}, kept{0};
  Deadline late(0.2, [&] { ++missed; });
  {
    Deadline renewed(5, [&] { ++kept; });
    for (int i = 0; i < 10; ++i) renewed.renew(), sleep(50);
  }
  EXPECT_EQ(missed, 1);
  EXPECT_EQ(kept, 0);
}

}  // namespace
}  // namespace rft::deadline_test
