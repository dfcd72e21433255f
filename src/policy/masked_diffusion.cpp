#include "rft/policy/masked_diffusion.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "policy/shared_options.h"
#include "policy/weight_average.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/core/text.h"
#include "rft/io/files.h"
#include "rft/io/hf_directory.h"
#include "rft/io/rows.h"

namespace rft {
namespace {

std::unique_ptr<TokenDenoiser> load_denoiser(const std::string& directory, at::ScalarType dtype) {
  std::string config = directory + "/config.json";
  if (!file_exists(config)) bad_input(directory, "this is not a Hugging Face model directory: there is no config.json");
  return make_token_denoiser(read_text(config), WeightSource(load_hf_tensors(directory), dtype, directory), directory);
}

std::string text_or_nothing(const Rows& rows, int64_t i, const std::string& column) {
  return rows.has(i, column) ? rows.string(i, column) : "";
}

}  // namespace

void MaskedDiffusion::Options::visit(OptionVisitor& v) {
  v.option("path", path, "a Hugging Face directory (EsmForMaskedLM and vocab.txt)", required());
  v.option("dtype", dtype, "what weights and activations are kept in", one_of({"float32", "bfloat16", "float64"}));
  v.option("ema_decay", ema_decay,
           "keep an average of the weights, which is what the stage saves in the end; 0 = off, else such as 0.999",
           between(0, 1));
}

void MaskedDiffusion::Rollout::visit(OptionVisitor& v) {
  v.option("length", length, "all sequences are so long, prompt included; 0 = the model's longest",
           at_least(0).in("tokens"));
  v.option("steps", steps, "a sequence is unmasked in so many steps; 0 = one a token", at_least(0).in("steps"));
  v.option("order", order,
           "when a token is unmasked: each at a random step (MDLM), or as many at each step, in a random order or from "
           "left to right",
           one_of({"random", "even", "left_to_right"}));
  v.option("temperature", temperature, "logits are divided by it, in sampling and in training alike; 0 = greedy",
           at_least(0));
  v.option("eval_temperature", eval_temperature, "the same in evaluations, whose seed is fixed; null = temperature",
           at_least(0));
  v.option("judge", judge,
           "what log-probabilities are: of the tokens as they were unmasked, or a bound from masking the finished "
           "sequence again at a random level",
           one_of({"steps", "forward"}));
  v.option("relaxation", relaxation,
           "how reward backpropagation goes through tokens. soft_steps: steps make Gumbel-softmax mixtures, the reward "
           "sees tokens (DRAKES); straight_through: steps make tokens; soft: the reward sees mixtures too",
           one_of({"soft_steps", "straight_through", "soft"}));
  v.option("relaxation_temperature", relaxation_temperature, "of the Gumbel-softmax", above(0));
  v.option("final_relaxation_temperature", final_relaxation_temperature,
           "what it falls or rises to, linearly; null = it stays", above(0));
  v.option("relaxation_steps", relaxation_steps, "optimizer steps that this takes", at_least(0).in("steps"));
}

MaskedDiffusion::MaskedDiffusion(Options options)
    : options_(std::move(options)),
      make_([path = options_.path, dtype = dtype_of(options_.dtype)] { return load_denoiser(path, dtype); }) {
  if (file_exists(options_.path + "/vocab.txt")) vocabulary_ = Vocabulary::load(options_.path);
  start();
}

MaskedDiffusion::MaskedDiffusion(std::function<std::unique_ptr<TokenDenoiser>()> make, Options options)
    : options_(std::move(options)), make_(std::move(make)) {
  start();
}

MaskedDiffusion::~MaskedDiffusion() = default;

void MaskedDiffusion::start() {
  model_ = make_();
  average_ = std::make_unique<WeightAverage>();
  int64_t V = model_->vocab_size();
  if (vocabulary_ && vocabulary_->size() != V)
    bad_input(options_.path, "vocab.txt has ", vocabulary_->size(), " tokens, the model ", V);
  banned_ = at::zeros({V}, at::kBool);
  for (int64_t id = 0; id < V; ++id)
    if (id == model_->mask_id() || id == model_->pad_id() || (vocabulary_ && vocabulary_->is_special(id)))
      banned_[id].fill_(true);
  if (banned_.all().item<bool>()) bad_input(options_.path, "every token is special: none can be chosen");
  for (auto& parameter : parameters()) parameter.value.requires_grad_(true);
}

void MaskedDiffusion::visit_rollout(OptionVisitor& visitor) {
  rollout_.visit(visitor);
  if (length() > model_->max_length())
    bad_input("rollout.length", "the model takes at most ", model_->max_length(), " tokens; got ", length());
}

/// Row i's own tokens: all of them, of which the first `given` are the prompt.
struct MaskedDiffusion::TokenRow {
  std::vector<int64_t> ids;
  int64_t given = 0;
};

MaskedDiffusion::TokenRow MaskedDiffusion::token_row(const Rows& rows, int64_t i, const std::string& column) const {
  TokenRow row;
  bool whole = !column.empty();
  if (rows.has(i, "input_ids")) {
    row.ids = rows.ints(i, "input_ids");
    auto size = static_cast<int64_t>(row.ids.size());
    row.given = whole ? (rows.has(i, "prompt_length") ? rows.integer(i, "prompt_length") : 0) : size;
    if (row.given < 0 || row.given > size)
      bad_input(rows.where(i), "prompt_length must be in 0 .. ", size, "; got ", row.given);
  } else {
    if (!vocabulary_) bad_input(rows.where(i), "the model has no vocab.txt: `input_ids` are needed");
    row.ids = vocabulary_->encode(text_or_nothing(rows, i, "prompt"), rows.where(i));
    row.given = static_cast<int64_t>(row.ids.size());
    if (whole)
      for (int64_t id : vocabulary_->encode(rows.string(i, column), rows.where(i))) row.ids.push_back(id);
  }
  for (int64_t id : row.ids)
    if (id < 0 || id >= model_->vocab_size())
      bad_input(rows.where(i), "input_ids must be in 0 .. ", model_->vocab_size() - 1, "; got ", id);
  return row;
}

Experience MaskedDiffusion::contexts(const Rows& rows) const {
  int64_t N = rows.size(), L = length();
  Tensor tokens = at::full({N, L}, model_->mask_id(), at::kLong);
  for (int64_t i = 0; i < N; ++i) {
    TokenRow row = token_row(rows, i, "");
    auto size = static_cast<int64_t>(row.ids.size());
    if (size > L) bad_input(rows.where(i), "the prompt has ", size, " tokens; rollout.length allows ", L);
    std::copy(row.ids.begin(), row.ids.end(), tokens.data_ptr<int64_t>() + i * L);
    if (!tokens[i].eq(model_->mask_id()).any().item<bool>())
      bad_input(rows.where(i), "the prompt leaves no token to decide; it has ", size, " of ", L);
  }
  Experience out;
  out.context.set("tokens", tokens);
  add_texts(out, rows);
  return out;
}

Experience MaskedDiffusion::whole_sequences(const Rows& rows, const std::string& column) const {
  int64_t N = rows.size(), L = length();
  Experience out;
  out.action = at::zeros({N, L}, at::kLong), out.mask = at::zeros({N, L}, at::kBool);
  for (int64_t i = 0; i < N; ++i) {
    TokenRow row = token_row(rows, i, column);
    if (static_cast<int64_t>(row.ids.size()) != L)
      bad_input(rows.where(i), "the sequence has ", row.ids.size(), " tokens; all must have ", L,
                ", see rollout.length");
    for (int64_t id : row.ids)
      if (id == model_->mask_id()) bad_input(rows.where(i), "a sequence to learn from has no masked tokens");
    std::copy(row.ids.begin(), row.ids.end(), out.action.data_ptr<int64_t>() + i * L);
    std::fill_n(out.mask.data_ptr<bool>() + i * L + row.given, L - row.given, true);
  }
  out.context.set("tokens", at::where(out.mask, at::full({}, model_->mask_id(), at::kLong), out.action));
  add_texts(out, rows);
  return out;
}

Experience MaskedDiffusion::demonstrations(const Rows& rows) {
  Experience out = whole_sequences(rows, "completion");
  out.group = at::arange(rows.size(), at::kLong);
  return out;
}

Experience MaskedDiffusion::pairs(const Rows& rows) const {
  for (int64_t i = 0; i < rows.size(); ++i)
    if (rows.has(i, "input_ids"))
      bad_input(rows.where(i), "a pair's `prompt`, `chosen` and `rejected` are texts; got `input_ids`");
  Experience out = Experience::concat({whole_sequences(rows, "chosen"), whole_sequences(rows, "rejected")});
  out.group = at::arange(rows.size(), at::kLong).repeat({2});
  return out;
}

void MaskedDiffusion::add_texts(Experience& batch, const Rows& rows) const {
  const Fields columns = rows.columns();
  for (const auto& [name, column] : columns.texts())
    if (name != "input_ids") batch.context.set_text(name, column);
  if (batch.context.has_text(extra::prompt)) return;
  Tensor tokens = batch.context.tensor("tokens");
  batch.context.set_text(extra::prompt, texts(tokens, tokens.ne(model_->mask_id())));
}

std::vector<std::string> MaskedDiffusion::texts(const Tensor& tokens, const Tensor& shown) const {
  std::vector<std::string> out;
  for (int64_t b = 0; b < tokens.size(0); ++b) {
    Tensor row = tokens[b].masked_select(shown[b]);
    std::vector<int64_t> ids(row.const_data_ptr<int64_t>(), row.const_data_ptr<int64_t>() + row.numel());
    if (vocabulary_) {
      out.push_back(vocabulary_->decode(ids, true));
      continue;
    }
    std::vector<std::string> numbers;
    for (int64_t id : ids) numbers.push_back(std::to_string(id));
    out.push_back(join(numbers, " "));
  }
  return out;
}

const TokenDenoiser& MaskedDiffusion::reference() {
  if (!reference_) reference_ = make_();
  return *reference_;
}

std::vector<Parameter> MaskedDiffusion::parameters() {
  std::vector<Parameter> out;
  const Weights& weights = model_->weights();
  for (const auto& [name, value] : weights.tensors)
    if (!weights.buffers.count(name)) out.push_back({name, value, value.dim() > 1});
  return out;
}

void MaskedDiffusion::save(const std::string& directory) const {
  copy_text_files(options_.path, directory);
  write_text(directory + "/config.json", model_->config_json());
  std::map<std::string, Tensor> tensors;
  for (const auto& [name, value] : model_->weights().tensors) tensors[name] = value.detach();
  save_hf_tensors(directory, tensors);
}

void MaskedDiffusion::load(const std::string& directory) {
  at::NoGradGuard no_grad;
  auto saved = load_denoiser(directory, dtype_of(options_.dtype));
  const auto &from = saved->weights().tensors, &to = model_->weights().tensors;
  if (from.size() != to.size() || saved->config_json() != model_->config_json())
    bad_input(directory, "its config.json is not the policy's");
  for (size_t i = 0; i < to.size(); ++i) Tensor(to[i].second).copy_(from[i].second);
}

void MaskedDiffusion::stepped(int64_t) {
  ++version_;
  if (options_.ema_decay > 0) average_->add(model_->weights(), options_.ema_decay);
}

void MaskedDiffusion::finish() { average_->put(model_->weights()); }

void MaskedDiffusion::report(Metrics& metrics) {
  if (mismatch_count_ > 0) metrics.add("logp_mismatch", mismatch_ / mismatch_count_, mismatch_count_);
  mismatch_ = mismatch_count_ = 0;
}

State MaskedDiffusion::state() const {
  State state{{"version", at::scalar_tensor(version_, at::kLong)}};
  average_->save(model_->weights(), "average", state);
  return state;
}

void MaskedDiffusion::load_state(const State& state) {
  if (auto found = state.find("version"); found != state.end()) version_ = found->second.item<int64_t>();
  average_->load(model_->weights(), "average", state);
}

}  // namespace rft
