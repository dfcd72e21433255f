// Sums over processes on GPUs, as far as one process shows them.
#include <ATen/ATen.h>

#include "on_device.h"
#include "rft/dist/device_group.h"
#include "support.h"

namespace rft::nccl_group_test {
namespace {

class OneProcess : public Communicator {
 public:
  int64_t rank() const override { return 0; }
  int64_t size() const override { return 1; }
  void sum(const Tensor&) override {}
  void sum_parts(const Tensor&) override {}
  void share_parts(const Tensor&) override {}
  int64_t bytes_sent() const override { return 0; }
  std::vector<std::string> gather(const std::string& mine) override { return {mine}; }
  void at(const std::string&) override {}
  void leave() override {}
  std::unique_ptr<Communicator> subgroup(const std::string&, const std::vector<int64_t>&) override { return nullptr; }
};

TEST(NcclGroup, OneProcessHasItsOwnSums) {
  if (testing::kEmulated) GTEST_SKIP() << "NCCL needs a GPU";
  ASSERT_TRUE(device_groups());
  OneProcess processes;
  auto group = device_groups()(processes, testing::device());
  for (auto type : {at::kFloat, at::kDouble, at::kBFloat16}) {
    Tensor x = testing::on_device(at::randn({1000}).to(type)), before = x.clone();
    group->sum(x);
    EXPECT_TRUE(x.equal(before));
    group->sum_parts(x);
    EXPECT_TRUE(x.equal(before));
    group->share_parts(x);
    EXPECT_TRUE(x.equal(before));
  }
}

}  // namespace
}  // namespace rft::nccl_group_test
