#pragma once
/// OpenAI's completions and chat completions as JSON: requests read and checked, answers written.
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "rft/policy/lm_sampler.h"

namespace rft::app {

/// What the API answers where a request can't be served.
struct ApiError {
  int status;           ///< HTTP
  std::string message;  ///< for people
  std::string type = "invalid_request_error";
  std::string param = {}, code = {};  ///< "" is null

  std::string json() const;
};

struct ApiRequest {
  bool chat = false, stream = false, include_usage = false, logprobs = false;
  /// Each a text, or a list of ids; of a chat one, {"messages": [...], "tools": ...} as a dataset's row.
  std::vector<nlohmann::ordered_json> prompts;
  size_t model = 0;  ///< the place of its name among those that are served
  int64_t n = 1;
  std::optional<int64_t> max_tokens;
  std::optional<uint64_t> seed;
  SamplerOptions options;
};

/// Reads a request's body for one of `models`, the first where it names none. Throws ApiError: not JSON, an unknown or
/// unsupported field, a value out of range, another model's name.
ApiRequest read_request(const std::string& body, bool chat, const std::vector<std::string>& models);

/// A piece of a sample's text, or with `finish_reason` its end.
struct ApiPiece {
  int64_t choice = 0;
  std::string text;
  std::vector<std::string> tokens;  ///< with logprobs
  std::vector<float> logps;
  std::string finish_reason;  ///< "", "stop", "length"
};
struct ApiUsage {
  int64_t prompt_tokens = 0, completion_tokens = 0;
};

/// What all messages of one answer share.
struct ApiAnswer {
  const ApiRequest& request;
  std::string id, model;
  int64_t created;

  /// The whole answer; `choices` in order.
  std::string whole(const std::vector<ApiPiece>& choices, const ApiUsage& usage) const;
  /// One server-sent event, "data: {...}\n\n".
  std::string event(const ApiPiece& piece, bool first) const;
  std::string usage_event(const ApiUsage& usage) const;
};

/// The list of models: the base, and those that its sets of adapters make of it.
std::string models_json(const std::vector<std::string>& models, int64_t created);

}  // namespace rft::app
