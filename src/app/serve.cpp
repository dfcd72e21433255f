/// rft serve: an OpenAI-compatible server on one model.
#include <CLI/CLI.hpp>
#include <atomic>
#include <cstdio>
#include <ctime>
#include <memory>
#include <set>
#include <thread>

#include "app/commands.h"
#include "app/completion_service.h"
#include "app/model_options.h"
#include "rft/core/error.h"
#include "rft/core/log.h"
#include "rft/core/text.h"
#include "rft/train/signals.h"
#ifdef RFT_HAS_HTTP
#include <httplib.h>
#endif

namespace rft::app {
namespace {

struct ServeArguments {
  std::string model, host = "127.0.0.1", name, api_key;
  ModelOptions kept;
  int64_t port = 8000, batch_size = 0, max_new_tokens = 4096, most_waiting = 256;
  uint64_t seed = 0;
  std::vector<std::string> adapters;  ///< NAME=DIRECTORY

  /// What requests may call the model: its own name, and its adapters'.
  std::vector<std::string> names() const {
    std::vector<std::string> out{name};
    for (const auto& adapter : adapters) out.push_back(adapter.substr(0, adapter.find('=')));
    return out;
  }
};

#ifdef RFT_HAS_HTTP

constexpr size_t kMostBytes = size_t{16} << 20;  // of a request
constexpr int kConnections = 128;

class Api {
 public:
  Api(const ServeArguments& arguments, CompletionService& service)
      : arguments_(arguments), names_(arguments.names()), service_(service), started_(std::time(nullptr)) {}

  void attach(httplib::Server& server) {
    server.Get("/health", [this](const auto&, auto& out) {
      out.set_content(cat("{\"status\":\"ok\",\"active\":", service_.active(), "}"), "application/json");
    });
    server.Get("/v1/models", guarded([this](const auto&, auto& out) {
                 out.set_content(models_json(names_, started_), "application/json");
               }));
    for (bool chat : {false, true})
      server.Post(chat ? "/v1/chat/completions" : "/v1/completions",
                  guarded([this, chat](const auto& in, auto& out) { answer(in.body, chat, out); }));
    server.set_error_handler([](const httplib::Request& in, httplib::Response& out) {
      if (!out.body.empty()) return;
      std::string what = out.status == 404   ? "there is no " + in.path + " here"
                         : out.status == 413 ? cat("a request may have at most ", kMostBytes, " bytes")
                                             : cat("HTTP status ", out.status);
      out.set_content(ApiError{out.status, what}.json(), "application/json");
    });
  }

 private:
  using Handler = std::function<void(const httplib::Request&, httplib::Response&)>;

  /// With the key checked, and errors as the API writes them.
  Handler guarded(Handler handler) const {
    return [this, handler](const httplib::Request& in, httplib::Response& out) {
      try {
        if (!arguments_.api_key.empty() && in.get_header_value("Authorization") != "Bearer " + arguments_.api_key)
          throw ApiError{401, "Incorrect API key provided", "invalid_request_error", "", "invalid_api_key"};
        handler(in, out);
      } catch (const ApiError& error) {
        out.status = error.status;
        out.set_content(error.json(), "application/json");
      } catch (const std::exception& error) {
        out.status = 500;
        out.set_content(ApiError{500, error.what(), "server_error"}.json(), "application/json");
      }
    };
  }

  void answer(const std::string& body, bool chat, httplib::Response& out) {
    auto request = std::make_shared<ApiRequest>(read_request(body, chat, names_));
    auto ticket = service_.submit(*request);
    auto said =
        std::make_shared<ApiAnswer>(ApiAnswer{*request, cat(chat ? "chatcmpl-" : "cmpl-", ++answers_, "-", started_),
                                              names_[request->model], std::time(nullptr)});
    // Both kinds are written piece by piece: so it shows when whoever asked has hung up.
    if (request->stream)
      stream(request, ticket, said, out);
    else
      whole(request, ticket, said, out);
  }

  /// False, which ends the connection, where whoever asked has gone: their places become free.
  static bool hand_over(httplib::DataSink& sink, const std::string& text, bool ended, Ticket& ticket) {
    bool there = sink.is_writable() && (text.empty() || sink.write(text.data(), text.size()));
    if (!there) ticket.abandon();
    if (there && ended) sink.done();
    return there;
  }

  static void stream(std::shared_ptr<ApiRequest> request, std::shared_ptr<Ticket> ticket,
                     std::shared_ptr<ApiAnswer> said, httplib::Response& out) {
    auto begun = std::make_shared<std::set<int64_t>>();
    out.set_chunked_content_provider("text/event-stream", [=](size_t, httplib::DataSink& sink) {
      bool ended = false;
      std::string events;
      try {
        for (const ApiPiece& piece : ticket->take(ended))
          events += said->event(piece, begun->insert(piece.choice).second);
        if (ended && request->include_usage) events += said->usage_event(ticket->usage());
        if (ended) events += "data: [DONE]\n\n";
      } catch (const ApiError& error) {
        events = "data: " + error.json() + "\n\n", ended = true;
      }
      return hand_over(sink, events, ended, *ticket);
    });
  }

  static void whole(std::shared_ptr<ApiRequest> request, std::shared_ptr<Ticket> ticket,
                    std::shared_ptr<ApiAnswer> said, httplib::Response& out) {
    auto choices = std::make_shared<std::vector<ApiPiece>>(request->prompts.size() * static_cast<size_t>(request->n));
    out.set_chunked_content_provider("application/json", [=](size_t, httplib::DataSink& sink) {
      bool ended = false;
      std::string text;
      try {
        for (ApiPiece& piece : ticket->take(ended)) {
          ApiPiece& choice = (*choices)[static_cast<size_t>(piece.choice)];
          choice.choice = piece.choice, choice.text += piece.text, choice.finish_reason = piece.finish_reason;
          choice.tokens.insert(choice.tokens.end(), piece.tokens.begin(), piece.tokens.end());
          choice.logps.insert(choice.logps.end(), piece.logps.begin(), piece.logps.end());
        }
        if (ended) text = said->whole(*choices, ticket->usage());
      } catch (const ApiError& error) {
        text = error.json(), ended = true;
      }
      return hand_over(sink, text, ended, *ticket);
    });
  }

  const ServeArguments& arguments_;
  std::vector<std::string> names_;
  CompletionService& service_;
  int64_t started_;
  std::atomic<int64_t> answers_ = 0;
};

void listen(const ServeArguments& arguments, CompletionService& service) {
  httplib::Server server;
  server.new_task_queue = [] { return new httplib::ThreadPool(kConnections); };
  server.set_payload_max_length(kMostBytes);
  Api api(arguments, service);
  api.attach(server);
  int port = static_cast<int>(arguments.port);
  bool bound =
      port == 0 ? (port = server.bind_to_any_port(arguments.host)) > 0 : server.bind_to_port(arguments.host, port);
  if (!bound)
    run_failed("serve", "can't listen on ", arguments.host, ":", port,
               "; is the port in use? (--port 0 takes a free one)");
  std::printf("%s is served at http://%s:%d/v1\n", arguments.name.c_str(), arguments.host.c_str(), port);
  std::fflush(stdout);
  StopOnSignals signals;
  std::atomic<bool> ended = false;
  std::thread watch([&] {
    while (!ended && !StopOnSignals::requested()) std::this_thread::sleep_for(std::chrono::milliseconds(50));
    server.stop();
  });
  server.listen_after_bind();
  ended = true;
  watch.join();
}

/// DIRECTORY of NAME=DIRECTORY.
std::string adapter_directory(const std::string& adapter) {
  const size_t equals = adapter.find('=');
  if (equals == 0 || equals == std::string::npos || equals + 1 == adapter.size())
    bad_input("--adapter", "must be NAME=DIRECTORY; got '", adapter, "'");
  return adapter.substr(equals + 1);
}

void serve(ServeArguments arguments) {
  CausalLm::Options options;
  options.path = arguments.model;
  take_model_options(arguments.kept, options);
  for (const std::string& adapter : arguments.adapters) options.adapter_sets.push_back(adapter_directory(adapter));
  if (!options.adapter_sets.empty() && options.device != "cpu")
    bad_input("--adapter", "further adapters are for models on the CPU; got --device ", options.device);
  const CausalLm policy(options);
  while (arguments.model.size() > 1 && arguments.model.ends_with('/')) arguments.model.pop_back();
  if (arguments.name.empty()) arguments.name = arguments.model.substr(arguments.model.rfind('/') + 1);
  int64_t batch_size = arguments.batch_size
                           ? arguments.batch_size
                           : default_batch_size(policy.decoder(), policy.decoder().config().max_positions);
  const std::vector<std::string> names = arguments.names();
  if (std::set<std::string>(names.begin(), names.end()).size() < names.size())
    bad_input("--adapter", "each adapter needs a name of its own, other than the model's; got '", join(names, "', '"),
              "'");
  CompletionService service(policy, batch_size, arguments.max_new_tokens, arguments.most_waiting, arguments.seed);
  listen(arguments, service);
}

#else

void serve(const ServeArguments&) {
  bad_input("serve", "this build of rft has no HTTP library; bash cmake/bootstrap.sh installs libcpp-httplib-dev");
}

#endif

}  // namespace

void add_serve(CLI::App& program) {
  auto arguments = std::make_shared<ServeArguments>();
  CLI::App* command =
      program.add_subcommand("serve", "an OpenAI-compatible server: /v1/completions, /v1/chat/completions");
  command->footer("Example: rft serve runs/quickstart/final --port 8000");
  command->add_option("model", arguments->model, "Hugging Face model directory, or PEFT adapter directory")->required();
  command->add_option("--host", arguments->host, "the address to listen on; the default is this machine alone")
      ->capture_default_str();
  command->add_option("--port", arguments->port, "0 takes a free one")
      ->check(CLI::Range(0, 65535))
      ->capture_default_str();
  command->add_option("--name", arguments->name, "what requests call the model; the directory's name where not given");
  command->add_option("--adapter", arguments->adapters,
                      "NAME=DIRECTORY, any number of times: a PEFT adapter of this model, which requests call NAME");
  command->add_option("--api-key", arguments->api_key, "what requests must carry as their bearer token");
  add_quantize_option(*command, arguments->kept);
  add_model_options(*command, arguments->kept);
  command->add_option("--batch-size", arguments->batch_size, "samples in the making at once; 0 is chosen")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--max-new-tokens", arguments->max_new_tokens, "no answer has more, whatever is asked for")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30))
      ->capture_default_str();
  command->add_option("--max-waiting", arguments->most_waiting, "samples that may wait; more are refused (429)")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--seed", arguments->seed, "of requests without a seed of their own")->capture_default_str();
  command->callback([arguments] { serve(*arguments); });
}

}  // namespace rft::app
