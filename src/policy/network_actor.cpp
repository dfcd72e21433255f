#include "rft/policy/network_actor.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <nlohmann/json.hpp>
#include <set>

#include "policy/demonstrated.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/io/files.h"
#include "rft/io/hf_directory.h"
#include "rft/io/rows.h"

namespace rft {
namespace {

/// Normalised observations are kept within this, as VecNormalize does.
constexpr double kBound = 10;
/// Logit of a choice that is not allowed: its probability is 0, and 0 times it is still a number.
constexpr double kImpossible = -1e9;
const char* const kMean = "observation.mean";
const char* const kVariance = "observation.variance";
const char* const kCount = "observation.count";

Tensor of_vector(const std::vector<double>& x) { return at::tensor(x, at::kDouble); }
std::vector<double> vector_of(const Tensor& x) {
  Tensor all = x.to(at::kDouble).contiguous();
  return {all.const_data_ptr<double>(), all.const_data_ptr<double>() + all.numel()};
}

bool of_critic(const std::string& name) { return name.starts_with("critic.") || name.starts_with("q."); }

}  // namespace

NamedTensors joined(NamedTensors first, const NamedTensors& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

void NetworkActor::Options::visit(OptionVisitor& v) {
  v.option("path", path, "a directory that such a policy was saved to, to go on from; empty = untrained");
  v.option("hidden", hidden, "widths of the hidden layers, of the policy and of the critic", at_least(1));
  v.option("activation", activation, "after each hidden layer", one_of({"tanh", "relu", "elu", "silu"}));
  v.option("normalize_observations", normalize_observations,
           "subtract the observations' running mean and divide by their deviation, within +-10; kept with the weights");
}

void NetworkActor::enter(const EnvironmentSpec& world, const Needs& needs, uint64_t seed) {
  check(world);
  world_ = world;
  moments_ = RunningMoments(static_cast<size_t>(world.observation));
  build(needs, seed);
  if (!base_.path.empty()) load(base_.path);
  if (needs.ref_logp || needs.ref_estimate) keep_reference();
}

std::vector<int64_t> NetworkActor::widths(int64_t in, int64_t out) const {
  std::vector<int64_t> all{in};
  for (double width : base_.hidden) all.push_back(static_cast<int64_t>(width));
  all.push_back(out);
  return all;
}

Tensor NetworkActor::normalized(const Tensor& raw) const {
  int64_t D = world_.observation, rows = raw.size(0);
  int64_t scaled = base_.normalize_observations ? D - (world_.action.masked ? world_.action.choices : 0) : 0;
  Tensor out = at::empty({rows, D}, at::kFloat);
  const double* from = raw.const_data_ptr<double>();
  float* to = out.data_ptr<float>();
  for (int64_t i = 0; i < rows * D; ++i)
    to[i] =
        static_cast<float>(i % D < scaled ? moments_.normalized(from[i], static_cast<size_t>(i % D), kBound) : from[i]);
  return out;
}

Tensor NetworkActor::possible(const Tensor& output, const Tensor& observation) const {
  if (!world_.action.masked) return output;
  Tensor allowed = observation.narrow(-1, world_.observation - world_.action.choices, world_.action.choices);
  return output.masked_fill(allowed.eq(0), kImpossible);
}

Tensor NetworkActor::observed(const Tensor& raw, bool learn) {
  if (learn && base_.normalize_observations)
    moments_.add({raw.const_data_ptr<double>(), static_cast<size_t>(raw.numel())});
  return normalized(raw);
}

Experience NetworkActor::demonstrations(const Rows& rows) {
  auto episodes = read_demonstrations(rows, world_);
  if (base_.normalize_observations && moments_.count < 1)
    for (const auto& one : episodes)
      moments_.add({one.observation.const_data_ptr<double>(), static_cast<size_t>(one.observation.numel())});
  std::vector<Tensor> observations, actions, masks;
  for (auto& one : episodes) {
    observations.push_back(normalized(one.observation).unsqueeze(0)),
        actions.push_back(recorded(one.action).unsqueeze(0));
    masks.push_back(at::ones({1, one.action.size(0)}, at::kBool));
  }
  Experience out;
  out.context.set(extra::observation, concat_rows(observations));
  out.action = concat_rows(actions), out.mask = concat_rows(masks);
  out.group = at::arange(rows.size(), at::kLong);
  return out;
}

std::vector<Parameter> NetworkActor::parameters() {
  std::vector<Parameter> out;
  for (const auto& [name, value] : tensors())
    out.push_back({name, value, value.dim() > 1, of_critic(name) ? groups::critic : groups::policy});
  return out;
}

std::string NetworkActor::config_json() const {
  nlohmann::ordered_json json{{"model_type", "rft_" + kind()},
                              {"environment", world_.name},
                              {"observation_size", world_.observation},
                              {"chunk", world_.chunk},
                              {"hidden", base_.hidden},
                              {"activation", base_.activation},
                              {"normalize_observations", base_.normalize_observations}};
  for (const auto& [name, value] : settings()) json[name] = value;
  if (world_.action.discrete())
    json["choices"] = world_.action.choices;
  else
    json["action_low"] = world_.action.low, json["action_high"] = world_.action.high;
  return json.dump(2) + "\n";
}

void NetworkActor::check_config(const std::string& directory) const {
  std::string file = directory + "/config.json";
  auto json = nlohmann::json::parse(read_text(file), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) bad_input(file, "must be a JSON object");
  if (auto type = json.find("model_type"); type == json.end() || *type != "rft_" + kind())
    bad_input(file, "`model_type` must be \"rft_", kind(), "\"; got ", type == json.end() ? "none" : type->dump());
  for (const auto& [name, value] : settings())
    if (auto found = json.find(name); found == json.end() || *found != value)
      bad_input(file, "`", name, "` must be the recipe's, ", value, "; got ",
                found == json.end() ? "none" : found->dump());
  if (auto chunk = json.find("chunk"); chunk != json.end() && *chunk != world_.chunk)
    bad_input(file, "`chunk` must be the recipe's rollout.chunk, ", world_.chunk, "; got ", chunk->dump());
}

void NetworkActor::save(const std::string& directory) const {
  write_text(directory + "/config.json", config_json());
  std::map<std::string, Tensor> all;
  for (const auto& [name, value] : joined(tensors(), followers())) all[name] = value.detach().contiguous();
  all[kMean] = of_vector(moments_.mean), all[kVariance] = of_vector(moments_.variance);
  all[kCount] = at::tensor({moments_.count}, at::kDouble);
  save_hf_tensors(directory, all);
}

void NetworkActor::load(const std::string& directory) {
  at::NoGradGuard no_grad;
  check_config(directory);
  auto found = load_hf_tensors(directory);
  auto take = [&](const std::string& name, at::IntArrayRef sizes) {
    auto at = found.find(name);
    if (at == found.end() || at->second.sizes() != sizes)
      bad_input(directory, "'", name, "' must be there and be ", sizes,
                at == found.end() ? std::string("; it is missing") : cat("; it is ", at->second.sizes()),
                ". Was the policy saved with other layers, or for another environment?");
    return at->second;
  };
  // A policy that was trained without a kind of critic or follower starts one.
  std::set<std::string> begun;
  auto starts = [&](const std::string& name) {
    std::string kind = name.substr(0, name.find('.') + 1);
    auto first = found.lower_bound(kind);
    const bool there = first != found.end() && first->first.starts_with(kind);
    if (!there) begun.insert(kind);
    return !there;
  };
  for (const auto& [name, value] : tensors())
    if (!of_critic(name) || !starts(name)) Tensor(value).copy_(take(name, value.sizes()));
  for (const auto& [name, value] : followers())
    if (!starts(name)) Tensor(value).copy_(take(name, value.sizes()));
  moments_.mean = vector_of(take(kMean, {world_.observation}));
  moments_.variance = vector_of(take(kVariance, {world_.observation}));
  moments_.count = take(kCount, {1}).item<double>();
  for (const auto& kind : begun) begin(kind);
}

State NetworkActor::state() const {
  State out;
  for (const auto& [name, value] : reference_tensors()) out["reference." + name] = value;
  return out;
}

void NetworkActor::load_state(const State& state) {
  at::NoGradGuard no_grad;
  for (auto& [name, value] : this->state()) {
    auto found = state.find(name);
    if (found == state.end() || found->second.sizes() != value.sizes())
      bad_input("checkpoint", "'", name, "' is missing or does not fit");
    Tensor(value).copy_(found->second);
  }
}

}  // namespace rft
