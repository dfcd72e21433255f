#pragma once
/// Answers requests on one thread, as many at once as the engine takes.
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>

#include "app/openai_api.h"
#include "rft/policy/causal_lm.h"
#include "rft/policy/lm_engine.h"

namespace rft::app {

/// A request in the making, between the engine's thread and the connection's.
class Ticket {
 public:
  /// Pieces of any choice in the order in which they were made; waits up to a tenth of a second for the first.
  /// `ended` once nothing follows. Throws ApiError where the engine failed.
  std::deque<ApiPiece> take(bool& ended);
  /// Whoever asked has gone: the samples end at their next token.
  void abandon() { gone_ = true; }
  const ApiUsage& usage() const { return usage_; }  ///< once ended

 private:
  friend class CompletionService;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<ApiPiece> pieces_;
  std::atomic<bool> gone_ = false;
  int64_t open_ = 0;  ///< choices that have not ended
  std::string problem_;
  ApiUsage usage_;
};

/// The methods may be called from any thread.
class CompletionService {
 public:
  /// `most_waiting`: requests beyond those being answered; more are told to come later (429).
  CompletionService(const CausalLm& policy, int64_t batch_size, int64_t max_new_tokens, int64_t most_waiting,
                    uint64_t seed);
  ~CompletionService();

  /// Throws ApiError where the request does not fit the model.
  std::shared_ptr<Ticket> submit(const ApiRequest& request);
  int64_t active() const { return active_; }

 private:
  struct Choice;
  std::vector<int64_t> encode(const ApiRequest& request, const nlohmann::ordered_json& prompt);
  void run();
  bool token_made(Ticket& ticket, Choice& choice, const SampledRow& row, bool done);
  void fail_all(const std::string& problem);

  const CausalLm& policy_;
  int64_t batch_size_, max_new_tokens_, most_waiting_;
  std::atomic<uint64_t> next_seed_;
  std::atomic<int64_t> active_ = 0;
  std::mutex encoding_;  ///< the policy reads its chat template when it is first needed
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::shared_ptr<LmRequest>> arrived_;
  std::vector<std::weak_ptr<Ticket>> tickets_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace rft::app
