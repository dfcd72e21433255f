#include "app/openai_api.h"

#include <algorithm>
#include <limits>
#include <set>

#include "rft/core/error.h"
#include "rft/core/json_depth.h"
#include "rft/core/text.h"
#include "rft/text/json_pattern.h"

namespace rft::app {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kMaxDepth = 64;
constexpr int64_t kMostSamples = 128, kMostPrompts = 1024;

std::string dumped(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

[[noreturn]] void refuse(const std::string& param, const std::string& message) {
  throw ApiError{400, "'" + param + "' " + message, "invalid_request_error", param};
}

/// The fields of a body; each that is asked for is known, and finish() refuses the others.
class Body {
 public:
  explicit Body(const Json& json) : json_(json) {}

  const Json* find(const char* name) {
    known_.insert(name);
    auto found = json_.find(name);
    return found == json_.end() || found->is_null() ? nullptr : &*found;
  }
  double number(const char* name, double fallback, double low, double high) {
    const Json* value = find(name);
    if (!value) return fallback;
    if (!value->is_number() || !(value->get<double>() >= low && value->get<double>() <= high))
      refuse(name, cat("must be a number in ", low, " .. ", high, "; got ", dumped(*value)));
    return value->get<double>();
  }
  std::optional<int64_t> integer(const char* name, int64_t low, int64_t high) {
    const Json* value = find(name);
    if (!value) return std::nullopt;
    if (!value->is_number_integer() || value->get<double>() < static_cast<double>(low) ||
        value->get<double>() > static_cast<double>(high))
      refuse(name, cat("must be a whole number in ", low, " .. ", high, "; got ", dumped(*value)));
    return value->get<int64_t>();
  }
  bool flag(const char* name, bool fallback) {
    const Json* value = find(name);
    if (value && !value->is_boolean()) refuse(name, "must be true or false; got " + dumped(*value));
    return value ? value->get<bool>() : fallback;
  }
  /// Only values under which nothing would be otherwise.
  void only(const char* name, const std::vector<Json>& allowed) {
    const Json* value = find(name);
    if (value && std::find(allowed.begin(), allowed.end(), *value) == allowed.end())
      refuse(name, "is not supported here; got " + dumped(*value));
  }
  void ignore(std::initializer_list<const char*> names) { known_.insert(names.begin(), names.end()); }
  void finish() {
    for (const auto& [name, value] : json_.items())
      if (!known_.count(name))
        throw ApiError{
            400, "Unrecognized request argument supplied: " + name + suggestion(name, {known_.begin(), known_.end()}),
            "invalid_request_error", name};
  }

 private:
  const Json& json_;
  std::set<std::string> known_;
};

Json parsed(const std::string& body) {
  if (too_deep_at(body, kMaxDepth)) throw ApiError{400, cat("the body nests deeper than ", kMaxDepth)};
  Json json;
  try {
    json = Json::parse(body);
  } catch (const Json::exception& error) {
    throw ApiError{400, std::string("the body must be a JSON object: ") + error.what()};
  }
  if (!json.is_object()) throw ApiError{400, "the body must be a JSON object; got " + std::string(json.type_name())};
  return json;
}

std::vector<std::string> stops(Body& body) {
  const Json* stop = body.find("stop");
  if (!stop) return {};
  Json list = stop->is_array() ? *stop : Json::array({*stop});
  std::vector<std::string> out;
  for (const Json& one : list) {
    if (!one.is_string() || one.get<std::string>().empty())
      refuse("stop", "must be a text or a list of texts, none of them empty; got " + dumped(*stop));
    out.push_back(one);
  }
  if (out.size() > 16) refuse("stop", cat("may have at most 16 texts; got ", out.size()));
  return out;
}

/// A text, a list of texts, a list of ids, or a list of those.
std::vector<Json> prompts(Body& body) {
  const Json* prompt = body.find("prompt");
  if (!prompt) throw ApiError{400, "'prompt' is needed", "invalid_request_error", "prompt"};
  auto ids = [](const Json& x) {
    return x.is_array() && !x.empty() &&
           std::all_of(x.begin(), x.end(), [](const Json& id) { return id.is_number_integer(); });
  };
  std::vector<Json> out;
  if (prompt->is_string() || ids(*prompt))
    out.push_back(*prompt);
  else if (prompt->is_array())
    out.assign(prompt->begin(), prompt->end());
  bool right =
      !out.empty() && std::all_of(out.begin(), out.end(), [&](const Json& x) { return x.is_string() || ids(x); });
  if (!right) refuse("prompt", "must be a text, a list of token ids, or a list of those");
  if (static_cast<int64_t>(out.size()) > kMostPrompts)
    refuse("prompt", cat("may hold at most ", kMostPrompts, " prompts; got ", out.size()));
  return out;
}

Json conversation(Body& body) {
  const Json* messages = body.find("messages");
  if (!messages) throw ApiError{400, "'messages' is needed", "invalid_request_error", "messages"};
  if (!messages->is_array() || messages->empty()) refuse("messages", "must be a list with at least one message");
  for (const Json& message : *messages)
    if (!message.is_object() || !message.contains("role") || !message["role"].is_string())
      refuse("messages", "must hold objects with a 'role'; got " + dumped(message).substr(0, 200));
  Json out{{"messages", *messages}};
  if (const Json* tools = body.find("tools")) out["tools"] = *tools;
  if (const Json* more = body.find("chat_template_kwargs")) out["chat_template_kwargs"] = *more;
  return out;
}

/// Of an answer that is held to one of these texts.
std::string choice_pattern(const Json& choices) {
  if (!choices.is_array() || choices.empty()) refuse("structured_outputs", "'choice' must be a list of texts");
  std::vector<std::string> out;
  for (const Json& one : choices) {
    if (!one.is_string()) refuse("structured_outputs", "'choice' must be a list of texts; got " + dumped(one));
    out.push_back(literal_pattern(one.get<std::string>()));
  }
  return "(?:" + join(out, "|") + ")";
}

/// vLLM's structured_outputs: {"regex"}, {"choice"}, {"json"} or {"json_object": true}.
std::string structured_pattern(const Json& wanted) {
  if (!wanted.is_object() || wanted.size() != 1)
    refuse("structured_outputs", "must hold one of 'regex', 'choice', 'json' and 'json_object'; got " + dumped(wanted));
  if (wanted.contains("regex") && wanted["regex"].is_string()) return wanted["regex"];
  if (wanted.contains("choice")) return choice_pattern(wanted["choice"]);
  if (wanted.contains("json")) {
    const Json& schema = wanted["json"];
    return json_schema_pattern(schema.is_string() ? schema.get<std::string>() : schema.dump(), "structured_outputs");
  }
  if (wanted.contains("json_object") && wanted["json_object"] == true) return json_object_pattern();
  refuse("structured_outputs", "is not supported here; got " + dumped(wanted));
}

/// OpenAI's response_format.
std::string format_pattern(const Json& wanted) {
  const std::string type = wanted.is_object() ? wanted.value("type", "") : "";
  if (type == "text") return "";
  if (type == "json_object") return json_object_pattern();
  if (type != "json_schema")
    refuse("response_format", "must have a 'type' of text, json_object or json_schema; got " + dumped(wanted));
  const Json named = wanted.value("json_schema", Json());
  if (!named.is_object() || !named.contains("schema"))
    refuse("response_format", "needs 'json_schema': {'schema': ...}");
  return json_schema_pattern(named["schema"].dump(), "response_format");
}

/// What answers are held to.
void read_pattern(Body& body, SamplerOptions& options) {
  const Json *format = body.find("response_format"), *structured = body.find("structured_outputs");
  const char* param = structured ? "structured_outputs" : "response_format";
  try {
    std::string pattern = format ? format_pattern(*format) : "";
    if (structured && !pattern.empty()) refuse(param, "can't be had beside a 'response_format'");
    if (structured) pattern = structured_pattern(*structured);
    if (!pattern.empty()) options.pattern = GrowingPattern(pattern, param);
  } catch (const UserError& error) {
    throw ApiError{400, error.what(), "invalid_request_error", param};
  }
}

void read_options(Body& body, ApiRequest& request) {
  SamplerOptions& options = request.options;
  options.temperature = body.number("temperature", 1, 0, 100);
  options.top_p = body.number("top_p", 1, 0, 1);
  options.min_p = body.number("min_p", 0, 0, 1);
  options.top_k = std::max<int64_t>(body.integer("top_k", -1, 1 << 30).value_or(0), 0);
  options.repetition_penalty = body.number("repetition_penalty", 1, 1e-3, 1e3);
  options.stop = stops(body);
  read_pattern(body, options);
  request.n = body.integer("n", 1, kMostSamples).value_or(1);
  if (auto seed = body.integer("seed", std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max()))
    request.seed = static_cast<uint64_t>(*seed);
  request.stream = body.flag("stream", false);
  if (const Json* more = body.find("stream_options"); more && more->is_object())
    request.include_usage = more->value("include_usage", false);
  body.only("frequency_penalty", {0}), body.only("presence_penalty", {0}), body.only("logit_bias", {Json::object()});
  body.ignore({"user", "metadata", "store", "service_tier", "safety_identifier"});
}

Json token_logprobs(const ApiPiece& piece, bool chat) {
  if (!chat) {
    return {{"tokens", piece.tokens},
            {"token_logprobs", piece.logps},
            {"top_logprobs", nullptr},
            {"text_offset", Json::array()}};
  }
  Json content = Json::array();
  for (size_t i = 0; i < piece.tokens.size(); ++i)
    content.push_back({{"token", piece.tokens[i]},
                       {"logprob", piece.logps[i]},
                       {"bytes", std::vector<int>(piece.tokens[i].begin(), piece.tokens[i].end())},
                       {"top_logprobs", Json::array()}});
  return {{"content", content}, {"refusal", nullptr}};
}

Json reason(const std::string& finish) { return finish.empty() ? Json() : Json(finish); }

Json usage_json(const ApiUsage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.completion_tokens},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens}};
}

Json header(const ApiAnswer& answer, const char* object) {
  return {{"id", answer.id}, {"object", object}, {"created", answer.created}, {"model", answer.model}};
}

}  // namespace

std::string ApiError::json() const {
  auto text = [](const std::string& value) { return value.empty() ? Json() : Json(value); };
  return dumped({{"error", {{"message", message}, {"type", type}, {"param", text(param)}, {"code", text(code)}}}});
}

ApiRequest read_request(const std::string& text, bool chat, const std::vector<std::string>& models) {
  Json json = parsed(text);
  Body body(json);
  ApiRequest request;
  request.chat = chat;
  if (const Json* name = body.find("model")) {
    const auto found = std::find_if(models.begin(), models.end(), [&](const auto& model) { return *name == model; });
    if (found == models.end())
      throw ApiError{404,
                     "the model " + dumped(*name) + " is not served here; '" + join(models, "', '") +
                         (models.size() > 1 ? "' are" : "' is"),
                     "invalid_request_error", "model", "model_not_found"};
    request.model = static_cast<size_t>(found - models.begin());
  }
  read_options(body, request);
  constexpr int64_t most = int64_t{1} << 30;
  request.max_tokens = body.integer("max_tokens", 1, most);
  if (chat) {
    if (auto tokens = body.integer("max_completion_tokens", 1, most)) request.max_tokens = tokens;
    request.prompts.push_back(conversation(body));
    request.logprobs = body.flag("logprobs", false);
    body.only("top_logprobs", {0});
    body.only("parallel_tool_calls", {true, false}), body.only("tool_choice", {"auto", "none"});
    body.only("modalities", {Json::array({"text"})});
  } else {
    if (!request.max_tokens) request.max_tokens = 16;  // OpenAI's
    request.prompts = prompts(body);
    if (const Json* wanted = body.find("logprobs")) {
      if (*wanted != 0) refuse("logprobs", "must be 0 (the sampled tokens' own) or null; got " + dumped(*wanted));
      request.logprobs = true;
    }
    body.only("echo", {false}), body.only("suffix", {""}), body.only("best_of", {request.n});
  }
  body.finish();
  return request;
}

std::string ApiAnswer::whole(const std::vector<ApiPiece>& choices, const ApiUsage& usage) const {
  Json out = header(*this, request.chat ? "chat.completion" : "text_completion");
  out["choices"] = Json::array();
  for (const ApiPiece& piece : choices) {
    Json choice{{"index", piece.choice}};
    if (request.chat)
      choice["message"] = {{"role", "assistant"}, {"content", piece.text}, {"refusal", nullptr}};
    else
      choice["text"] = piece.text;
    choice["logprobs"] = request.logprobs ? token_logprobs(piece, request.chat) : Json();
    choice["finish_reason"] = reason(piece.finish_reason);
    out["choices"].push_back(choice);
  }
  out["usage"] = usage_json(usage);
  return dumped(out);
}

std::string ApiAnswer::event(const ApiPiece& piece, bool first) const {
  Json out = header(*this, request.chat ? "chat.completion.chunk" : "text_completion");
  Json choice{{"index", piece.choice}};
  if (request.chat) {
    Json delta = Json::object();
    if (first) delta["role"] = "assistant";
    if (first || !piece.text.empty()) delta["content"] = piece.text;
    choice["delta"] = delta;
  } else {
    choice["text"] = piece.text;
  }
  choice["logprobs"] = request.logprobs && !piece.tokens.empty() ? token_logprobs(piece, request.chat) : Json();
  choice["finish_reason"] = reason(piece.finish_reason);
  out["choices"] = Json::array({choice});
  return "data: " + dumped(out) + "\n\n";
}

std::string ApiAnswer::usage_event(const ApiUsage& usage) const {
  Json out = header(*this, request.chat ? "chat.completion.chunk" : "text_completion");
  out["choices"] = Json::array();
  out["usage"] = usage_json(usage);
  return "data: " + dumped(out) + "\n\n";
}

std::string models_json(const std::vector<std::string>& models, int64_t created) {
  Json data = Json::array();
  for (const auto& model : models) {
    data.push_back({{"id", model}, {"object", "model"}, {"created", created}, {"owned_by", "rft"}});
    if (&model != &models.front()) data.back()["parent"] = models.front();
  }
  return dumped({{"object", "list"}, {"data", std::move(data)}});
}

}  // namespace rft::app
