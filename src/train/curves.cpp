#include "rft/train/curves.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "rft/core/error.h"
#include "rft/io/files.h"

namespace rft {
namespace {

constexpr size_t kMaxMetricsBytes = size_t{4} << 30, kDefaultPanels = 9;

void add_row(CurveRun& run, std::string_view line, const std::string& where) {
  auto row = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!row.is_object()) bad_input(where, "a line of metrics must be a JSON object; got ", line.substr(0, 80));
  auto step = row.find("step");
  if (step == row.end() || !step->is_number_integer())
    bad_input(where, "a line of metrics must have a whole \"step\"; got ", line.substr(0, 80));
  std::map<std::string, double> values;
  for (const auto& [key, value] : row.items()) {
    if (key == "step" || key == "stage_step") continue;
    if (value.is_number()) values[key] = value.get<double>();
    if (value.is_null()) values[key] = std::numeric_limits<double>::quiet_NaN();
  }
  auto stage = row.find("stage");
  run.add(step->get<int64_t>(), stage != row.end() && stage->is_string() ? stage->get<std::string>() : "", values);
}

bool has_values(const CurveRun& run, const std::string& key) {
  auto found = run.curves.find(key);
  return found != run.curves.end() && std::any_of(found->second.begin(), found->second.end(),
                                                  [](const CurvePoint& p) { return std::isfinite(p.value); });
}

}  // namespace

void CurveRun::add(int64_t step, const std::string& stage, const std::map<std::string, double>& values) {
  if (!stage.empty() && (stages.empty() || stages.back().name != stage)) stages.push_back({step, stage});
  for (const auto& [key, value] : values) curves[key].push_back({step, value});
}

CurveRun read_curves(const std::string& file, const std::string& name) {
  CurveRun run{name, {}, {}};
  std::string content = read_text(file, kMaxMetricsBytes);
  int64_t number = 1;
  for (size_t begin = 0; begin < content.size(); ++number) {
    size_t end = content.find('\n', begin);
    if (end == std::string::npos) break;
    add_row(run, std::string_view(content).substr(begin, end - begin), cat(file, ":", number));
    begin = end + 1;
  }
  return run;
}

std::vector<std::string> default_curve_keys(const std::vector<CurveRun>& runs) {
  std::set<std::string> known;
  for (const auto& run : runs)
    for (const auto& [key, points] : run.curves)
      if (has_values(run, key)) known.insert(key);
  std::vector<std::string> keys;
  for (const char* key : {"eval/reward", "reward", "eval/loss", "loss", "rewards/accuracies", "rewards/margins", "kl",
                          "entropy", "completions/mean_length", "grad_norm", "learning_rate", "tokens_per_second",
                          "logp_mismatch", "reward_std", "clip_ratio/region_mean", "step_time"})
    if (keys.size() < kDefaultPanels && known.erase(key)) keys.push_back(key);
  if (keys.empty())
    keys.assign(known.begin(), std::next(known.begin(), static_cast<long>(std::min(known.size(), kDefaultPanels))));
  return keys;
}

}  // namespace rft
