#include "rft/policy/mlp_actor.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <nlohmann/json.hpp>

#include "policy/action_distribution.h"
#include "policy/demonstrated.h"
#include "policy/q_critics.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/core/rng.h"
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

std::vector<int64_t> widths(int64_t in, const std::vector<double>& hidden, int64_t out) {
  std::vector<int64_t> all{in};
  for (double width : hidden) all.push_back(static_cast<int64_t>(width));
  all.push_back(out);
  return all;
}

Tensor of_vector(const std::vector<double>& x) { return at::tensor(x, at::kDouble); }
std::vector<double> vector_of(const Tensor& x) {
  Tensor all = x.to(at::kDouble).contiguous();
  return {all.const_data_ptr<double>(), all.const_data_ptr<double>() + all.numel()};
}

/// Networks mean what the distribution makes of them.
void check_distribution(const std::string& directory, const std::string& name) {
  std::string file = directory + "/config.json";
  auto json = nlohmann::json::parse(read_text(file), nullptr, false);
  if (!json.is_object() || !json.contains("distribution") || !json["distribution"].is_string())
    bad_input(file, "this is not the directory of a policy for control");
  std::string there = json["distribution"];
  if (there != name)
    bad_input(file, "the policy there is a ", there, "; the recipe's is a ", name,
              ": type, squash and state_std must agree");
}

}  // namespace

void MlpActor::Options::visit(OptionVisitor& v) {
  v.option("path", path, "a directory that such a policy was saved to, to go on from; empty = untrained");
  v.option("hidden", hidden, "widths of the hidden layers, of the policy and of the critic", at_least(1));
  v.option("activation", activation, "after each hidden layer", one_of({"tanh", "relu", "elu", "silu"}));
  v.option("normalize_observations", normalize_observations,
           "subtract the observations' running mean and divide by their deviation, within +-10; kept with the weights");
}

MlpActor::MlpActor(Options options, std::unique_ptr<ActionDistribution> distribution)
    : options_(std::move(options)), distribution_(std::move(distribution)) {}

MlpActor::~MlpActor() = default;

void MlpActor::enter(const EnvironmentSpec& world, const Needs& needs, uint64_t seed) {
  check(world);
  world_ = world;
  distribution_->enter(world.action);
  // A last layer near 0: the first policy does not prefer any action (Andrychowicz et al. 2021, arXiv:2006.05990).
  actor_ = Mlp(widths(world.observation, options_.hidden, distribution_->outputs()), options_.activation, 0.01,
               mix(seed, 1));
  if (needs.value) critic_ = Mlp(widths(world.observation, options_.hidden, 1), options_.activation, 1, mix(seed, 2));
  moments_ = RunningMoments(static_cast<size_t>(world.observation));
  if (needs.q) {
    if (options_.normalize_observations)
      bad_input("policy", "critics learn from observations as they are: set normalize_observations: false");
    q_needs_ = needs.q;
    q_ = std::make_unique<QCritics>(needs.q->critics,
                                    widths(world.observation + world.action.size(), options_.hidden, 1),
                                    options_.activation, mix(seed, 3));
    if (needs.q->slow_policy) slow_actor_ = actor_.frozen_copy();
  }
  if (!options_.path.empty()) load(options_.path);
  if (!needs.ref_logp) return;
  reference_ = actor_.frozen_copy();
  reference_distribution_ = distribution_->frozen_copy();
}

Tensor MlpActor::normalized(const Tensor& observation) const {
  int64_t D = world_.observation, rows = observation.size(0);
  int64_t scaled = options_.normalize_observations ? D - (world_.action.masked ? world_.action.choices : 0) : 0;
  Tensor out = at::empty({rows, D}, at::kFloat);
  const double* from = observation.const_data_ptr<double>();
  float* to = out.data_ptr<float>();
  for (int64_t i = 0; i < rows * D; ++i)
    to[i] = static_cast<float>(i % D < scaled ? moments_.normalized(from[i], i % D, kBound) : from[i]);
  return out;
}

/// What the distribution is made from; choices that are not allowed can't be made.
Tensor MlpActor::output_of(const Mlp& network, const Tensor& observation) const {
  Tensor out = network(observation);
  if (!world_.action.masked) return out;
  Tensor allowed = observation.narrow(-1, world_.observation - world_.action.choices, world_.action.choices);
  return out.masked_fill(allowed.eq(0), kImpossible);
}

Decisions MlpActor::act(const Tensor& observation, const std::vector<uint64_t>& keys, bool greedy, bool learn) {
  if (learn && options_.normalize_observations)
    moments_.add({observation.const_data_ptr<double>(), static_cast<size_t>(observation.numel())});
  Decisions out;
  out.observation = normalized(observation);
  std::tie(out.action, out.logp) = distribution_->draw(output_of(actor_, out.observation), keys, greedy);
  out.command = distribution_->command(out.action);
  return out;
}

Tensor MlpActor::value(const Tensor& observation, bool observed) {
  if (critic_.empty()) run_failed("policy", "there is no critic: the recipe asked for none");
  return critic_(observed ? observation : normalized(observation)).squeeze(-1);
}

Decisions MlpActor::random(const Tensor& observation, const std::vector<uint64_t>& keys) {
  Decisions out;
  out.observation = normalized(observation);
  out.command = distribution_->uniform(keys);
  out.action = distribution_->recorded(out.command);
  out.logp = distribution_->logp(output_of(actor_, out.observation), out.action);
  return out;
}

Evaluation MlpActor::evaluate(const Experience& batch, const Needs& needs) {
  if (needs.q) {
    Evaluation out;
    estimate(batch, needs, out);
    return out;
  }
  const Tensor& observation = batch.context.tensor(extra::observation);
  Tensor output = output_of(actor_, observation);
  Evaluation out;
  out.logp = distribution_->logp(output, batch.action);
  if (needs.entropy) out.entropy = distribution_->entropy(output, out.logp);
  if (needs.value) out.value = value(observation, true);
  return out;
}

Tensor MlpActor::ref_logp(const Experience& batch, const Needs&) {
  at::NoGradGuard no_grad;
  if (!reference_distribution_) run_failed("policy", "there is no reference policy: the recipe asked for none");
  Tensor output = output_of(reference_, batch.context.tensor(extra::observation));
  return reference_distribution_->logp(output, batch.action);
}

std::vector<std::pair<std::string, Tensor>> MlpActor::tensors() const {
  auto out = actor_.tensors("actor");
  for (auto& part : {distribution_->tensors(), critic_.tensors("critic"),
                     q_ ? q_->tensors() : std::vector<std::pair<std::string, Tensor>>()})
    out.insert(out.end(), part.begin(), part.end());
  return out;
}

std::vector<std::pair<std::string, Tensor>> MlpActor::slow_tensors() const {
  auto out = slow_actor_.tensors("slow_actor");
  if (!q_) return out;
  auto some = q_->slow_tensors();
  out.insert(out.end(), some.begin(), some.end());
  return out;
}

std::vector<Parameter> MlpActor::parameters() {
  std::vector<Parameter> out;
  for (const auto& [name, value] : tensors()) {
    bool critic = name.starts_with("critic.") || name.starts_with("q.");
    out.push_back({name, value, value.dim() > 1, critic ? groups::critic : groups::policy});
  }
  return out;
}

void MlpActor::stepped(int64_t step) {
  if (!q_ || step % q_needs_->target_every != 0) return;
  q_->follow(q_needs_->tau);
  if (!slow_actor_.empty()) follow(slow_actor_, actor_, q_needs_->tau);
}

std::string MlpActor::config_json() const {
  nlohmann::ordered_json json{{"model_type", "rft_mlp_actor"},
                              {"distribution", distribution_->name()},
                              {"environment", world_.name},
                              {"observation_size", world_.observation},
                              {"hidden", options_.hidden},
                              {"activation", options_.activation},
                              {"normalize_observations", options_.normalize_observations}};
  if (world_.action.discrete())
    json["choices"] = world_.action.choices;
  else
    json["action_low"] = world_.action.low, json["action_high"] = world_.action.high;
  return json.dump(2) + "\n";
}

void MlpActor::save(const std::string& directory) const {
  write_text(directory + "/config.json", config_json());
  std::map<std::string, Tensor> all;
  for (const auto& part : {tensors(), slow_tensors()})
    for (const auto& [name, value] : part) all[name] = value.detach().contiguous();
  all[kMean] = of_vector(moments_.mean), all[kVariance] = of_vector(moments_.variance);
  all[kCount] = at::tensor({moments_.count}, at::kDouble);
  save_hf_tensors(directory, all);
}

void MlpActor::load(const std::string& directory) {
  at::NoGradGuard no_grad;
  check_distribution(directory, distribution_->name());
  auto found = load_hf_tensors(directory);
  auto take = [&](const std::string& name, at::IntArrayRef sizes) {
    auto at = found.find(name);
    if (at == found.end() || at->second.sizes() != sizes)
      bad_input(directory, "'", name, "' must be there and be ", sizes,
                at == found.end() ? std::string("; it is missing") : cat("; it is ", at->second.sizes()),
                ". Was the policy saved with other layers, or for another environment?");
    return at->second;
  };
  // A policy that was trained without a critic starts one.
  auto starts = [&](const std::string& name) {
    for (const char* network : {"critic.", "q.", "slow_q.", "slow_actor."})
      if (name.starts_with(network)) {
        auto first = found.lower_bound(network);
        return first == found.end() || !first->first.starts_with(network);
      }
    return false;
  };
  for (const auto& part : {tensors(), slow_tensors()})
    for (const auto& [name, value] : part)
      if (!starts(name)) Tensor(value).copy_(take(name, value.sizes()));
  if (!slow_actor_.empty() && starts("slow_actor.")) follow(slow_actor_, actor_, 1);
  moments_.mean = vector_of(take(kMean, {world_.observation}));
  moments_.variance = vector_of(take(kVariance, {world_.observation}));
  moments_.count = take(kCount, {1}).item<double>();
}

State MlpActor::state() const {
  State out;
  if (!reference_distribution_) return out;
  for (auto& [name, value] : reference_.tensors("reference.actor")) out[name] = value;
  for (auto& [name, value] : reference_distribution_->tensors()) out["reference." + name] = value;
  return out;
}

void MlpActor::load_state(const State& state) {
  at::NoGradGuard no_grad;
  for (auto& [name, value] : this->state()) {
    auto found = state.find(name);
    if (found == state.end() || found->second.sizes() != value.sizes())
      bad_input("checkpoint", "'", name, "' is missing or does not fit");
    Tensor(value).copy_(found->second);
  }
}

Experience MlpActor::demonstrations(const Rows& rows) {
  auto episodes = read_demonstrations(rows, world_);
  if (options_.normalize_observations && moments_.count < 1)
    for (const auto& one : episodes)
      moments_.add({one.observation.const_data_ptr<double>(), static_cast<size_t>(one.observation.numel())});
  std::vector<Tensor> observations, actions, masks;
  for (const auto& one : episodes) {
    observations.push_back(normalized(one.observation).unsqueeze(0));
    actions.push_back(distribution_->recorded(one.action).unsqueeze(0));
    masks.push_back(at::ones({1, one.action.size(0)}, at::kBool));
  }
  Experience out;
  out.context.set(extra::observation, concat_rows(observations));
  out.action = concat_rows(actions), out.mask = concat_rows(masks);
  out.group = at::arange(rows.size(), at::kLong);
  return out;
}

void GaussianActor::Options::visit(OptionVisitor& v) {
  MlpActor::Options::visit(v);
  v.option("log_std", log_std, "logarithm of the first standard deviation of every action");
  v.option("squash", squash, "send actions through tanh to the environment's bounds, instead of clipping them");
  v.option("state_std", state_std, "the network gives the deviations too, times exp(log_std)");
}

GaussianActor::GaussianActor(Options options)
    : MlpActor(options, gaussian_distribution(options.log_std, options.squash, options.state_std)) {}

void GaussianActor::check(const EnvironmentSpec& world) const {
  if (world.action.discrete())
    bad_input("policy", "gaussian gives numbers, and the actions of '", world.name, "' are one of ",
              world.action.choices, " choices: use categorical");
}

void DeterministicActor::Options::visit(OptionVisitor& v) {
  MlpActor::Options::visit(v);
  v.option("noise", noise, "deviation of the exploration noise, of half the action's range", above(0));
}

DeterministicActor::DeterministicActor(Options options)
    : MlpActor(options, deterministic_distribution(options.noise)) {}

void DeterministicActor::check(const EnvironmentSpec& world) const {
  if (world.action.discrete())
    bad_input("policy", "deterministic gives numbers, and the actions of '", world.name, "' are one of ",
              world.action.choices, " choices: use categorical");
}

CategoricalActor::CategoricalActor(Options options) : MlpActor(options, categorical_distribution()) {}

void CategoricalActor::check(const EnvironmentSpec& world) const {
  if (!world.action.discrete())
    bad_input("policy", "categorical gives one of several choices, and the actions of '", world.name, "' are ",
              world.action.size(), " numbers: use gaussian");
}

}  // namespace rft
