#include "rft/nn/episode_model.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <nlohmann/json.hpp>

#include "rft/core/error.h"

namespace rft {
namespace {

constexpr char kType[] = "rft_episode_model";
constexpr double kLeastDeviation = 1e-6;
constexpr int64_t kMostNumbers = 1 << 20;

int64_t size_of(const nlohmann::json& json, const char* name, const std::string& where) {
  auto found = json.find(name);
  bool whole = found != json.end() && found->is_number_integer();
  if (!whole || *found < 1 || *found > kMostNumbers)
    bad_input(where, "`", name, "` must be a whole number from 1 to ", kMostNumbers, "; got ",
              found == json.end() ? "none" : found->dump());
  return *found;
}

}  // namespace

EpisodeModel::EpisodeModel(Shape shape, uint64_t seed) : shape_(std::move(shape)) {
  int64_t seen = shape_.observation + shape_.action;
  std::vector<int64_t> widths{seen};
  widths.insert(widths.end(), shape_.hidden.begin(), shape_.hidden.end());
  widths.push_back(1);
  network_ = Mlp(widths, shape_.activation, /*last_gain=*/0.1, seed);
  mean_ = at::zeros({seen}), deviation_ = at::ones({seen});
}

EpisodeModel EpisodeModel::from(const std::string& config, const std::map<std::string, Tensor>& tensors,
                                const std::string& where) {
  auto json = nlohmann::json::parse(config, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || json.value("model_type", nlohmann::json()) != kType)
    bad_input(where, "config.json must have `model_type` \"", kType, "\", a model of episodes");
  Shape shape;
  shape.observation = size_of(json, "observation_size", where), shape.action = size_of(json, "action_size", where);
  const auto hidden = json.value("hidden", nlohmann::json());
  if (!hidden.is_array() || hidden.size() > 64) bad_input(where, "`hidden` must be a list of at most 64 widths");
  for (const auto& width : hidden) shape.hidden.push_back(size_of({{"hidden", width}}, "hidden", where));
  const auto activation = json.value("activation", nlohmann::json());
  if (!activation.is_string()) bad_input(where, "`activation` must be a text");
  shape.activation = activation;
  EpisodeModel out(shape, 0);
  at::NoGradGuard no_grad;
  for (auto& [name, value] : out.tensors()) {
    auto found = tensors.find(name);
    if (found == tensors.end() || found->second.sizes() != value.sizes())
      bad_input(where, "'", name, "' must be there and be ", value.sizes());
    Tensor(value).copy_(found->second);
  }
  return out;
}

Tensor EpisodeModel::operator()(const Tensor& observation, const Tensor& action) const {
  return network_(at::cat({observation, action}, -1).sub(mean_).div(deviation_)).squeeze(-1);
}

void EpisodeModel::standardize(const Tensor& seen) {
  mean_ = seen.mean(0).to(at::kFloat);
  deviation_ = seen.std(0, /*unbiased=*/false).clamp_min(kLeastDeviation).to(at::kFloat);
}

std::string EpisodeModel::config_json() const {
  nlohmann::ordered_json json{{"model_type", kType},
                              {"observation_size", shape_.observation},
                              {"action_size", shape_.action},
                              {"hidden", shape_.hidden},
                              {"activation", shape_.activation}};
  return json.dump(2) + "\n";
}

std::map<std::string, Tensor> EpisodeModel::tensors() const {
  std::map<std::string, Tensor> out{{"mean", mean_}, {"deviation", deviation_}};
  for (const auto& [name, value] : layers()) out[name] = value;
  return out;
}

}  // namespace rft
