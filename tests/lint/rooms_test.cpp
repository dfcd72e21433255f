// The house: which room may include which (docs/architecture.md), and what public headers may drag in.
#include <filesystem>
#include <map>
#include <regex>
#include <set>

#include "support.h"

namespace rft::rooms_test {
namespace {
namespace fs = std::filesystem;

const std::set<std::string> kInterfaces = {"rft/policy/policy.h",          "rft/reward/reward_model.h",
                                           "rft/credit/credit.h",          "rft/select/selector.h",
                                           "rft/objective/objective.h",    "rft/policy/actor.h",
                                           "rft/policy/credits_steps.h",   "rft/policy/gathers_layers.h",
                                           "rft/nn/layer_gate.h",          "rft/policy/reference_sampler.h",
                                           "rft/policy/divides_weights.h", "rft/env/environment.h",
                                           "rft/policy/reads_prompts.h",   "rft/policy/judges_tokens.h",
                                           "rft/objective/bi_level.h",     "rft/policy/samples_pieces.h",
                                           "rft/policy/counts_tokens.h"};

/// The sampler of language models, for judges that write before they judge.
const std::set<std::string> kSampler = {"rft/policy/lm_engine.h", "rft/policy/lm_sampler.h"};

/// room -> rooms it may include. `interfaces` stands for the slots' headers alone, `sampler` for kSampler.
const std::map<std::string, std::set<std::string>> kAllowed = {
    {"core", {}},
    {"ops", {"core", "kernels"}},
    {"io", {"core"}},
    {"dist", {"core"}},
    {"text", {"core", "io"}},
    {"nn", {"core", "ops", "dist"}},
    {"diffusion", {"core", "ops"}},
    {"reward", {"core", "ops", "nn", "io", "text", "sampler"}},
    {"env", {"core", "ops", "nn", "io", "text"}},
    {"credit", {"core", "ops"}},
    {"select", {"core", "ops"}},
    {"objective", {"core", "ops"}},
    {"policy", {"core", "ops", "nn", "diffusion", "io", "text", "dist"}},
    {"cuda", {"core", "ops", "dist", "text", "nn", "policy", "kernels"}},
    {"rollout", {"core", "io", "dist", "interfaces"}},
    {"train", {"core", "ops", "io", "dist", "rollout", "interfaces"}},
    {"app",
     {"core", "ops", "io", "text", "nn", "diffusion", "reward", "credit", "select", "objective", "policy", "rollout",
      "train", "env", "dist"}},
};

struct Include {
  std::string file, room, target;
};

std::vector<Include> includes() {
  static const std::regex pattern("^\\s*#include\\s+[\"<]((?:rft/)?([a-z]+)/[^\">]+)[\">]");
  std::vector<Include> out;
  for (const char* top : {"include/rft", "src"}) {
    fs::path root = fs::path(RFT_SOURCE_DIR) / top;
    for (const auto& entry : fs::recursive_directory_iterator(root)) {
      auto ext = entry.path().extension();
      if (!entry.is_regular_file() || (ext != ".h" && ext != ".cpp" && ext != ".cu")) continue;
      auto relative = fs::relative(entry.path(), root);
      if (relative.begin() == --relative.end()) continue;  // registry.cpp names everything
      std::istringstream lines(testing::read_file(entry.path().string()));
      std::smatch match;
      for (std::string line; std::getline(lines, line);)
        if (std::regex_search(line, match, pattern))
          out.push_back({entry.path().string(), relative.begin()->string(), match[1]});
    }
  }
  return out;
}

std::string room_of(const std::string& target) {
  std::string rest = target.rfind("rft/", 0) == 0 ? target.substr(4) : target;
  return rest.substr(0, rest.find('/'));
}

TEST(Rooms, NoIncludeGoesAgainstTheirOrder) {
  auto all = includes();
  ASSERT_GT(all.size(), 50u);
  for (const auto& include : all) {
    std::string target = room_of(include.target);
    if (!kAllowed.count(target) && target != "kernels") continue;  // a system header such as sys/stat.h
    if (target == include.room) continue;
    auto rules = kAllowed.find(include.room);
    ASSERT_NE(rules, kAllowed.end()) << include.file << " is in a room that docs/architecture.md does not have";
    bool allowed = rules->second.count(target) ||
                   (rules->second.count("interfaces") && kInterfaces.count(include.target)) ||
                   (rules->second.count("sampler") && kSampler.count(include.target));
    EXPECT_TRUE(allowed) << include.file << " includes " << include.target << ": " << include.room << " may not use "
                         << target;
  }
}

TEST(Rooms, PublicHeadersStayLight) {
  static const std::regex heavy("#include\\s+<(torch/|ATen/ATen|nlohmann|CLI|yaml-cpp|spdlog)");
  for (const auto& entry : fs::recursive_directory_iterator(fs::path(RFT_SOURCE_DIR) / "include")) {
    if (!entry.is_regular_file()) continue;
    EXPECT_FALSE(std::regex_search(testing::read_file(entry.path().string()), heavy)) << entry.path();
  }
}

TEST(Rooms, KernelsNeverSeeLibTorch) {
  fs::path kernels = fs::path(RFT_SOURCE_DIR) / "kernels";
  static const std::regex torch("#include\\s+[<\"](torch|ATen|c10|rft)/");
  for (const auto& entry : fs::directory_iterator(kernels)) {
    auto name = entry.path().filename().string();
    if (name.rfind("bind", 0) == 0 || !entry.is_regular_file()) continue;  // bind.cpp hands tensors to the kernels
    EXPECT_FALSE(std::regex_search(testing::read_file(entry.path().string()), torch)) << name;
  }
}

}  // namespace
}  // namespace rft::rooms_test
