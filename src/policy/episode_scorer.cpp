#include "rft/policy/episode_scorer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <nlohmann/json.hpp>

#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/io/files.h"
#include "rft/io/hf_directory.h"
#include "rft/io/rows.h"

namespace rft {
namespace {

EpisodeModel load_episode_model(const std::string& directory) {
  return EpisodeModel::from(read_text(directory + "/config.json"), load_hf_tensors(directory), directory);
}

/// Numbers of an observation, or of an action, of the first row.
int64_t width_of(const Rows& rows, const char* column) {
  auto json = nlohmann::json::parse(rows.text(0, column), nullptr, /*allow_exceptions=*/false);
  if (!json.is_array() || json.empty() || !json[0].is_array() || json[0].empty())
    bad_input(rows.where(0), "`", column, "` must be a list of lists of numbers");
  return static_cast<int64_t>(json[0].size());
}

/// Every step of an episode with an action: observations [T, D] and actions [T, A], float32.
struct Steps {
  Tensor observation, action;
};

Steps read_steps(const Rows& rows, int64_t i, int64_t observation, int64_t action) {
  Tensor seen = rows.numbers(i, "observations", observation), done = rows.numbers(i, "actions", action);
  int64_t T = done.size(0);
  if (T == 0 || (seen.size(0) != T && seen.size(0) != T + 1))
    bad_input(rows.where(i), "`observations` must be one for every action (or one more), at least one; got ",
              seen.size(0), " observations and ", T, " actions");
  if (!seen.isfinite().all().item<bool>() || !done.isfinite().all().item<bool>())
    bad_input(rows.where(i), "observations and actions must be finite numbers");
  return {seen.narrow(0, 0, T).to(at::kFloat), done.to(at::kFloat)};
}

}  // namespace

void EpisodeScorer::Options::visit(OptionVisitor& v) {
  v.option("path", path, "a directory that such a model was saved to, to go on from; empty = untrained");
  v.option("episodes", episodes,
           "of an untrained one: episodes like those it will judge; it takes its sizes, and what is usual, from them");
  v.option("hidden", hidden, "widths of the hidden layers", at_least(1));
  v.option("activation", activation, "after each hidden layer", one_of({"tanh", "relu", "elu", "silu"}));
}

EpisodeScorer::EpisodeScorer(Options options) : options_(std::move(options)) {
  if (options_.path.empty() == options_.episodes.empty())
    bad_input("policy", "one of path (a trained model) and episodes (what an untrained one will judge) is needed");
}

void EpisodeScorer::prepare(const Needs& needs, uint64_t seed) {
  if (!needs.score || needs.data != Needs::Data::pairs)
    bad_input("objective", "a model of episodes is trained by one that reads scores of pairs: bradley_terry");
  if (!options_.path.empty()) {
    model_ = load_episode_model(options_.path);
    return;
  }
  Rows rows = Rows::load(options_.episodes);
  EpisodeModel::Shape shape;
  shape.observation = width_of(rows, "observations"), shape.action = width_of(rows, "actions");
  shape.hidden.assign(options_.hidden.begin(), options_.hidden.end()), shape.activation = options_.activation;
  model_.emplace(shape, seed);
  std::vector<Tensor> seen;
  for (int64_t i = 0; i < rows.size(); ++i) {
    Steps steps = read_steps(rows, i, shape.observation, shape.action);
    seen.push_back(at::cat({steps.observation, steps.action}, 1));
  }
  model_->standardize(at::cat(seen).to(at::kDouble));
}

Experience EpisodeScorer::pairs(const Rows& rows) const {
  const auto& shape = model_->shape();
  std::vector<Tensor> observations, actions, masks;
  for (const char* column : {"chosen", "rejected"})
    for (int64_t i = 0; i < rows.size(); ++i) {
      Rows one = Rows::parse({rows.text(i, column)}, cat(rows.where(i), ": `", column, "`"));
      Steps steps = read_steps(one, 0, shape.observation, shape.action);
      observations.push_back(steps.observation.unsqueeze(0)), actions.push_back(steps.action.unsqueeze(0));
      masks.push_back(at::ones({1, steps.action.size(0)}, at::kBool));
    }
  Experience out;
  out.context.set(extra::observation, concat_rows(observations));
  out.action = concat_rows(actions), out.mask = concat_rows(masks);
  out.group = at::arange(rows.size(), at::kLong).repeat({2});
  return out;
}

Evaluation EpisodeScorer::evaluate(const Experience& batch, const Needs&) {
  Tensor worth = (*model_)(batch.context.tensor(extra::observation), batch.action);
  Evaluation out;
  out.score = worth.mul(batch.mask).sum(1);
  return out;
}

Experience EpisodeScorer::contexts(const Rows&) const {
  bad_input("data", "a model of episodes is trained on pairs: rows {\"chosen\", \"rejected\"} in data.train");
}
Experience EpisodeScorer::demonstrations(const Rows& rows) { return contexts(rows); }
Experience EpisodeScorer::sample(const Experience&, const SampleRequest&) {
  bad_input("policy", "a model of episodes scores what actors do and does nothing itself");
}
Tensor EpisodeScorer::ref_logp(const Experience&, const Needs&) {
  bad_input("objective", "a model of episodes has no log-probabilities");
}

std::vector<Parameter> EpisodeScorer::parameters() {
  std::vector<Parameter> out;
  for (const auto& [name, value] : model_->layers()) out.push_back({name, value, value.dim() > 1});
  return out;
}

void EpisodeScorer::save(const std::string& directory) const {
  write_text(directory + "/config.json", model_->config_json());
  auto tensors = model_->tensors();
  for (auto& [name, value] : tensors) value = value.detach().contiguous();
  save_hf_tensors(directory, tensors);
}

void EpisodeScorer::load(const std::string& directory) {
  at::NoGradGuard no_grad;
  EpisodeModel found = load_episode_model(directory);
  auto from = found.tensors();
  for (auto& [name, value] : model_->tensors()) {
    if (value.sizes() != from[name].sizes())
      bad_input(directory, "'", name, "' must be ", value.sizes(), "; it is ", from[name].sizes());
    Tensor(value).copy_(from[name]);
  }
}

}  // namespace rft
