#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "app/commands.h"
#include "app/model_options.h"
#include "rft/core/batches.h"
#include "rft/core/error.h"
#include "rft/io/files.h"
#include "rft/io/rows.h"
#include "rft/policy/causal_lm.h"
#include "rft/policy/seq2seq_lm.h"

namespace rft::app {
namespace {

/// Tokens that are evaluated at once.
constexpr int64_t kBatchTokens = 4096;

struct LogprobArguments {
  std::string model, data, out;
  ModelOptions kept;
};

using TokenRows = std::vector<CausalLm::TokenRow>;

int64_t tokens_of(const CausalLm::TokenRow& row) {
  return static_cast<int64_t>(row.prompt.size() + row.completion.size());
}

/// Log-probabilities of each row's completion.
std::vector<std::vector<float>> score(Policy& policy, const TokenRows& rows) {
  const at::NoGradGuard no_grad;
  Needs needs;
  needs.data = Needs::Data::demonstrations;
  std::vector<std::vector<float>> scores(rows.size());
  std::vector<int64_t> sizes;
  for (const auto& row : rows) sizes.push_back(tokens_of(row));
  for (const auto& batch : batches_of_like_length(sizes, kBatchTokens, /*longest_first=*/true)) {
    TokenRows part;
    for (size_t i : batch) part.push_back(rows[i]);
    const Tensor logp = policy.evaluate(CausalLm::pack(part), needs).logp.to(at::kFloat).contiguous();
    for (size_t b = 0; b < batch.size(); ++b) {
      const float* first = logp.const_data_ptr<float>() + static_cast<int64_t>(b) * logp.size(1);
      scores[batch[b]].assign(first, first + part[b].completion.size());
    }
  }
  return scores;
}

template <class Model>
void run_logprob(const LogprobArguments& arguments) {
  const Rows rows = Rows::load(arguments.data);
  typename Model::Options options;
  options.path = arguments.model;
  take_model_options(arguments.kept, options);
  if (std::is_same_v<Model, Seq2SeqLm>) refuse_for_seq2seq(arguments.kept);
  Model policy(options);
  TokenRows encoded;
  for (int64_t i = 0; i < rows.size(); ++i) encoded.push_back(policy.completion_row(rows, i, false));
  const auto scores = score(policy, encoded);
  std::string out;
  for (size_t i = 0; i < encoded.size(); ++i) {
    nlohmann::json row;
    row["token_ids"] = encoded[i].completion;
    row["logprobs"] = scores[i];
    row["sum"] = std::accumulate(scores[i].begin(), scores[i].end(), 0.0);
    out += row.dump() + "\n";
  }
  write_text(arguments.out, out);
}

}  // namespace

void add_logprob(CLI::App& program) {
  auto arguments = std::make_shared<LogprobArguments>();
  CLI::App* command = program.add_subcommand("logprob", "log-probabilities of given completions");
  command->add_option("model", arguments->model, "Hugging Face model directory, or PEFT adapter directory")->required();
  command
      ->add_option("--data", arguments->data,
                   "JSONL: \"prompt\" and \"completion\", or \"input_ids\" and \"prompt_length\" a row")
      ->required();
  command->add_option("--out", arguments->out, "JSONL: token_ids, logprobs (nats) and their sum a row")->required();
  add_model_options(*command, arguments->kept);
  command->footer("Example: rft logprob models/tiny --data completions.jsonl --out scores.jsonl");
  command->callback([arguments] {
    is_seq2seq_directory(arguments->model) ? run_logprob<Seq2SeqLm>(*arguments) : run_logprob<CausalLm>(*arguments);
  });
}

}  // namespace rft::app
