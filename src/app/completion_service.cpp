#include "app/completion_service.h"

#include <algorithm>

#include "rft/core/error.h"
#include "rft/core/log.h"
#include "rft/io/rows.h"

namespace rft::app {

/// One choice of an answer: its text as far as it is sure.
struct CompletionService::Choice {
  int64_t number;
  size_t longest_stop;
  StreamDecoder decoder;
  std::string held;  ///< what may still turn out to be the beginning of a stop text
  std::vector<std::string> tokens;
  std::vector<float> logps;
  size_t drawn = 0;  ///< tokens of the row that were taken note of
};

std::deque<ApiPiece> Ticket::take(bool& ended) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, std::chrono::milliseconds(100),
                    [&] { return !pieces_.empty() || open_ == 0 || !problem_.empty(); });
  if (!problem_.empty()) throw ApiError{500, problem_, "server_error"};
  ended = open_ == 0;
  return std::move(pieces_);
}

CompletionService::CompletionService(const CausalLm& policy, int64_t batch_size, int64_t max_new_tokens,
                                     int64_t most_waiting, uint64_t seed)
    : policy_(policy),
      batch_size_(batch_size),
      max_new_tokens_(max_new_tokens),
      most_waiting_(most_waiting),
      next_seed_(seed) {
  thread_ = std::thread([this] { run(); });
}

CompletionService::~CompletionService() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

std::vector<int64_t> CompletionService::encode(const ApiRequest& request, const nlohmann::ordered_json& prompt) {
  try {
    if (prompt.is_array()) return prompt.get<std::vector<int64_t>>();
    if (prompt.is_string()) return policy_.tokenizer().encode(prompt.get<std::string>());
    std::lock_guard lock(encoding_);
    return policy_.prompt_row(Rows::parse({prompt.dump()}, "messages"), 0).prompt;
  } catch (const UserError& error) {
    throw ApiError{400, error.what(), "invalid_request_error", request.chat ? "messages" : "prompt"};
  }
}

std::shared_ptr<Ticket> CompletionService::submit(const ApiRequest& request) {
  auto ticket = std::make_shared<Ticket>();
  if (request.options.pattern && !policy_.decoder().device().is_cpu())
    throw ApiError{400, "answers of a given form are sampled on the CPU, not on a GPU"};
  uint64_t seed = request.seed.value_or(next_seed_++);
  size_t longest_stop = 0;
  for (const auto& stop : request.options.stop) longest_stop = std::max(longest_stop, stop.size());
  std::vector<std::shared_ptr<LmRequest>> made;
  for (size_t p = 0; p < request.prompts.size(); ++p) {
    auto one = std::make_shared<LmRequest>();
    one->prompt = encode(request, request.prompts[p]);
    one->samples = request.n, one->seed = seed, one->options = request.options;
    one->adapters = static_cast<int64_t>(request.model);
    one->options.first_row = static_cast<int64_t>(p) * request.n;
    one->options.eos_ids = policy_.eos_ids();
    int64_t room = policy_.decoder().config().max_positions - static_cast<int64_t>(one->prompt.size());
    one->options.max_new_tokens = std::min(request.max_tokens.value_or(std::max<int64_t>(room, 1)), max_new_tokens_);
    try {
      check_request(*one, policy_.decoder().config(), "prompt");
    } catch (const UserError& error) {
      throw ApiError{400, error.what(), "invalid_request_error", request.chat ? "messages" : "prompt",
                     room < 1 ? "context_length_exceeded" : ""};
    }
    ticket->usage_.prompt_tokens += static_cast<int64_t>(one->prompt.size());
    auto choices = std::make_shared<std::vector<Choice>>();
    for (int64_t k = 0; k < request.n; ++k)
      choices->push_back({one->options.first_row + k, longest_stop, StreamDecoder(policy_.tokenizer()), {}, {}, {}, 0});
    one->on_token = [this, ticket, choices](int64_t k, const SampledRow& row, bool done) {
      return token_made(*ticket, (*choices)[static_cast<size_t>(k)], row, done);
    };
    made.push_back(std::move(one));
  }
  ticket->open_ = static_cast<int64_t>(request.prompts.size()) * request.n;
  std::lock_guard lock(mutex_);
  if (active_ + ticket->open_ > batch_size_ + most_waiting_)
    throw ApiError{429, cat("there are ", active_.load(), " samples in the making; try again later"),
                   "rate_limit_error"};
  active_ += ticket->open_;
  tickets_.push_back(ticket);
  arrived_.insert(arrived_.end(), made.begin(), made.end());
  changed_.notify_all();
  return ticket;
}

/// On the engine's thread. Text is given out as soon as no stop text can begin in it.
bool CompletionService::token_made(Ticket& ticket, Choice& choice, const SampledRow& row, bool done) {
  bool goes_on = !ticket.gone_;
  const bool drew = row.ids.size() > choice.drawn;  // a row that no token goes on with its pattern ends without one
  if (drew) {
    const int64_t id = row.ids.back();
    choice.held += choice.decoder.push(id);
    choice.tokens.push_back(policy_.tokenizer().bytes(id)), choice.logps.push_back(row.logp.back());
    choice.drawn = row.ids.size();
  }
  size_t sure = choice.held.size();
  if (!row.stop.empty()) {
    sure = std::min(sure, choice.held.find(row.stop));
    choice.held.resize(sure);
  } else if (!done && choice.longest_stop > 0) {
    sure -= std::min(sure, choice.longest_stop - 1);
    while (sure > 0 && sure < choice.held.size() && (static_cast<unsigned char>(choice.held[sure]) & 0xC0) == 0x80)
      --sure;
  }
  bool ends = done || !goes_on;
  std::lock_guard lock(ticket.mutex_);
  ticket.usage_.completion_tokens += drew;
  if (sure > 0 || ends) {
    ApiPiece piece{choice.number, choice.held.substr(0, sure), std::move(choice.tokens), std::move(choice.logps), ""};
    choice.held.erase(0, sure), choice.tokens.clear(), choice.logps.clear();
    if (ends) piece.finish_reason = row.truncated ? "length" : "stop";
    ticket.pieces_.push_back(std::move(piece));
    ticket.changed_.notify_all();
  }
  if (ends) --ticket.open_, --active_;
  return goes_on;
}

void CompletionService::fail_all(const std::string& problem) {
  std::lock_guard lock(mutex_);
  for (const auto& weak : tickets_)
    if (auto ticket = weak.lock()) {
      std::lock_guard inner(ticket->mutex_);
      ticket->problem_ = problem;
      ticket->changed_.notify_all();
    }
  arrived_.clear(), tickets_.clear();
  active_ = 0;
}

void CompletionService::run() {
  auto fresh = [&] { return std::make_unique<LmEngine>(policy_.decoder(), &policy_.tokenizer(), batch_size_); };
  auto engine = fresh();
  bool busy = false;
  while (true) {
    {
      std::unique_lock lock(mutex_);
      if (!busy) changed_.wait(lock, [&] { return stopping_ || !arrived_.empty(); });
      if (stopping_) return;
      for (auto& request : arrived_) engine->add(std::move(request));
      arrived_.clear();
      std::erase_if(tickets_, [](const auto& ticket) { return ticket.expired(); });
    }
    try {
      busy = engine->step();
    } catch (const std::exception& error) {  // logits that are not finite: the others' answers are lost with it
      log::error(error.what());
      fail_all(error.what());
      engine = fresh(), busy = false;
    }
  }
}

}  // namespace rft::app
