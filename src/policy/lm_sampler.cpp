#include "rft/policy/lm_sampler.h"

#include <algorithm>

#include "rft/core/error.h"
#include "rft/policy/lm_engine.h"

namespace rft {

std::string sampled_text(const Tokenizer& tokenizer, const std::vector<int64_t>& ids) {
  std::vector<int64_t> known;
  for (int64_t id : ids)
    if (id < tokenizer.size()) known.push_back(id);
  return tokenizer.decode(known, true);
}

std::vector<SampledRow> sample_rows(const Decoder& decoder, const Tokenizer* tokenizer,
                                    const std::vector<std::vector<int64_t>>& prompts, int64_t group_size, uint64_t seed,
                                    bool greedy, const SamplerOptions& options, const SamplerProgress& progress) {
  if ((!options.stop.empty() || options.pattern) && !tokenizer)
    run_failed("sampler", "stop texts and patterns need a tokenizer");
  std::vector<std::shared_ptr<LmRequest>> requests;
  for (size_t i = 0; i < prompts.size(); ++i) {
    auto request = std::make_shared<LmRequest>(LmRequest{prompts[i], group_size, options, seed, greedy, {}});
    request->options.first_row += static_cast<int64_t>(i) * group_size;
    check_request(*request, decoder.config(), cat("prompt ", i));
    requests.push_back(std::move(request));
  }
  LmEngine engine(decoder, tokenizer,
                  options.batch_size > 0 ? options.batch_size : default_batch_size(decoder, options.max_new_tokens),
                  options.guide);
  for (const auto& request : requests) engine.add(request);
  while (engine.step())
    if (progress) progress(engine.samples_done(), engine.tokens_sampled());
  std::vector<SampledRow> rows;
  for (const auto& request : requests)
    for (SampledRow& row : request->rows) rows.push_back(std::move(row));
  return rows;
}

}  // namespace rft
