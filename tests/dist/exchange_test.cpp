#include "rft/dist/exchange.h"

#include <ATen/ATen.h>

#include <cstdlib>
#include <map>

#include "support.h"

namespace rft::exchange_test {
namespace {

using testing::message_of;

/// Rank `rank` of several, whose collectives answer with what the test says the others sent.
class Scripted : public Communicator {
 public:
  Scripted(int64_t rank, int64_t size, std::vector<std::string> others = {})
      : rank_(rank), size_(size), others_(std::move(others)) {}
  int64_t rank() const override { return rank_; }
  int64_t size() const override { return size_; }
  void sum(const Tensor&) override {}
  void sum_parts(const Tensor&) override {}
  void share_parts(const Tensor&) override {}
  int64_t bytes_sent() const override { return 0; }
  std::vector<std::string> gather(const std::string& mine) override {
    auto all = others_;
    all.insert(all.begin() + rank_, mine);
    return all;
  }
  void at(const std::string&) override {}
  void leave() override {}
  std::unique_ptr<Communicator> subgroup(const std::string&, const std::vector<int64_t>&) override { return nullptr; }

 private:
  int64_t rank_, size_;
  std::vector<std::string> others_;
};

/// Two ranks that find the same.
class Twins : public Scripted {
 public:
  Twins() : Scripted(0, 2) {}
  std::vector<std::string> gather(const std::string& mine) override { return {mine, mine}; }
};

Experience rows_of(int64_t rows, int64_t length, int64_t first) {
  Experience out;
  out.action = at::arange(first, first + rows * length, at::kLong).view({rows, length});
  out.mask = at::ones({rows, length}, at::kBool);
  out.logp = at::randn({rows, length});
  out.group = at::arange(rows, at::kLong);
  out.context.set("half", at::randn({rows, 2}).to(at::kBFloat16));
  std::vector<std::string> texts;
  for (int64_t i = 0; i < rows; ++i) texts.push_back(std::string("\xff\0x", 3) + std::to_string(first + i));
  out.context.set_text("completion", texts);
  return out;
}

TEST(Exchange, RowsSurviveTheWireBitForBit) {
  Experience sent = rows_of(3, 5, 0), got = unpack_experience(pack_experience(sent));
  EXPECT_TRUE(got.action.equal(sent.action) && got.mask.equal(sent.mask) && got.logp.equal(sent.logp));
  EXPECT_TRUE(got.context.tensor("half").equal(sent.context.tensor("half")));
  EXPECT_EQ(got.context.text("completion"), sent.context.text("completion"));
  EXPECT_FALSE(got.reward.defined());
  EXPECT_EQ(unpack_experience(pack_experience(Experience())).rows(), 0);
  std::string bytes = pack_experience(sent);
  EXPECT_THROW(unpack_experience(bytes.substr(0, bytes.size() / 2)), RunError);
}

TEST(Exchange, RowsOfAllRanksStandInTheirOrderPaddedToTheLongest) {
  Experience a = rows_of(2, 3, 0), b = rows_of(1, 5, 100);
  Scripted second(1, 3, {pack_experience(a), pack_experience(Experience())});
  Experience all = gather_rows(second, b);
  ASSERT_EQ(all.rows(), 3);
  EXPECT_EQ(all.action.size(1), 5);
  EXPECT_EQ(all.action[2][4].item<int64_t>(), 104);
  EXPECT_EQ(all.mask.sum(1)[0].item<int64_t>(), 3);
  EXPECT_EQ(all.context.text("completion")[2], b.context.text("completion")[0]);
}

TEST(Exchange, SharesCoverEveryRowOnce) {
  for (int64_t n : {0, 1, 5, 64, 1000})
    for (int64_t size : {1, 2, 3, 7}) {
      int64_t next = 0;
      for (int64_t rank = 0; rank < size; ++rank) {
        Scripted one(rank, size);
        Share share = share_of(&one, n);
        EXPECT_EQ(share.first, next);
        EXPECT_LE(std::abs(share.count - n / size), 1);
        next += share.count;
      }
      EXPECT_EQ(next, n);
    }
  EXPECT_EQ(share_of(nullptr, 9).count, 9);
}

TEST(Exchange, MetricsAddUpOverRanks) {
  Metrics mine;
  mine.add("loss", 2.0, 3);
  mine.add("other", 5.0);
  Twins twins;
  Metrics all = gather_metrics(twins, mine);
  EXPECT_DOUBLE_EQ(all.mean("loss"), 2.0);
  EXPECT_DOUBLE_EQ(all.entries().at("loss").weight, 6);
  EXPECT_DOUBLE_EQ(all.mean("other"), 5.0);
}

constexpr const char* kVariables[] = {"RANK",
                                      "WORLD_SIZE",
                                      "MASTER_ADDR",
                                      "MASTER_PORT",
                                      "SLURM_PROCID",
                                      "SLURM_NTASKS",
                                      "SLURM_STEP_NODELIST",
                                      "OMPI_COMM_WORLD_RANK",
                                      "OMPI_COMM_WORLD_SIZE",
                                      "TORCHELASTIC_USE_AGENT_STORE",
                                      "TORCHELASTIC_RESTART_COUNT"};

/// Sets variables for its lifetime, all others of a launcher being unset.
class Environment {
 public:
  explicit Environment(const std::map<std::string, std::string>& values) {
    for (const char* name : kVariables) unsetenv(name);
    for (const auto& [name, value] : values) setenv(name.c_str(), value.c_str(), 1);
  }
  ~Environment() {
    for (const char* name : kVariables) unsetenv(name);
  }
};

TEST(Launch, IsOneProcessWhereNobodySaysOtherwise) {
  Environment none({});
  EXPECT_EQ(Launch::from_environment().size, 1);
  EXPECT_EQ(join_processes(Launch::from_environment()), nullptr);
}

TEST(Launch, ReadsTorchrunsVariables) {
  Environment torchrun({{"RANK", "3"},
                        {"WORLD_SIZE", "8"},
                        {"MASTER_ADDR", "host"},
                        {"MASTER_PORT", "29500"},
                        {"TORCHELASTIC_USE_AGENT_STORE", "True"},
                        {"TORCHELASTIC_RESTART_COUNT", "2"}});
  Launch launch = Launch::from_environment();
  EXPECT_EQ(launch.rank, 3);
  EXPECT_EQ(launch.size, 8);
  EXPECT_EQ(launch.address, "host");
  EXPECT_EQ(launch.port, 29500);
  EXPECT_TRUE(launch.agent_store);
  EXPECT_EQ(launch.prefix, "rft/2/");
}

TEST(Launch, ReadsSlurmsAndOpenMpisVariables) {
  for (auto [list, host] : {std::pair{"node[03-06,9],b", "node03"}, {"gpu7,gpu8", "gpu7"}, {"one", "one"}}) {
    Environment slurm(
        {{"SLURM_PROCID", "1"}, {"SLURM_NTASKS", "2"}, {"SLURM_STEP_NODELIST", list}, {"MASTER_PORT", "1234"}});
    EXPECT_EQ(Launch::from_environment().address, host);
  }
  Environment mpi(
      {{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "2"}, {"MASTER_ADDR", "h"}, {"MASTER_PORT", "1"}});
  EXPECT_EQ(Launch::from_environment().rank, 1);
}

TEST(Launch, NamesAVariableThatMakesNoSense) {
  auto says = [](const std::map<std::string, std::string>& values, const std::string& expected) {
    Environment environment(values);
    EXPECT_EQ(message_of([] { Launch::from_environment(); }), expected);
  };
  says({{"WORLD_SIZE", "2"}}, "[RANK] must be set where several processes are started; torchrun and Slurm set it");
  says({{"WORLD_SIZE", "two"}}, "[WORLD_SIZE] must be a whole number in 1 .. 1048576; got 'two'");
  says({{"WORLD_SIZE", "2"}, {"RANK", "2"}}, "[RANK] must be a whole number in 0 .. 1; got '2'");
  says({{"WORLD_SIZE", "2"}, {"RANK", "0"}},
       "[MASTER_ADDR] must name the host of rank 0 where several processes are started");
  says({{"WORLD_SIZE", "2"}, {"RANK", "0"}, {"MASTER_ADDR", "h"}, {"MASTER_PORT", "99999"}},
       "[MASTER_PORT] must be a whole number in 1 .. 65535; got '99999'");
}

}  // namespace
}  // namespace rft::exchange_test
