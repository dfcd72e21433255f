/// rft serve: OpenAI's API over HTTP, and the service behind it.
#ifdef RFT_HAS_HTTP
#include <httplib.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "app/completion_service.h"
#include "support.h"

namespace rft::serve_test {
namespace {

using nlohmann::json;
using testing::read_file;
using testing::TempDir;
using testing::write_file;

class Serve : public ::testing::Test {
 protected:
  void SetUp() override {
    auto made = testing::rft("data --out " + dir_ / "data" +
                             " --digits 2 --demonstrations 40 --train 8 --test 8 --hidden-size 32 --layers 1");
    ASSERT_EQ(made.code, 0) << made.err;
    write_file(model() + "/chat_template.jinja", "{% for m in messages %}{{ m.content }}{% endfor %}=");
  }
  void TearDown() override {
    if (pid_ > 0) kill(pid_, SIGTERM), waitpid(pid_, nullptr, 0);
  }
  std::string model() const { return dir_ / "data/model"; }

  /// Starts a server and waits until it says where it listens.
  httplib::Client start(const std::string& more = "") {
    std::string out = dir_ / "out";
    pid_ = fork();
    if (pid_ == 0) {
      std::string command = "exec " + std::string(RFT_PROGRAM) + " serve " + model() + " --name tiny --port 0 " + more +
                            " >" + out + " 2>" + dir_ / "err";
      execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
      _exit(127);
    }
    std::string said;
    for (int i = 0; i < 600 && said.find("/v1") == std::string::npos; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      if (std::filesystem::exists(out)) said = read_file(out);
    }
    size_t colon = said.rfind(':');
    EXPECT_NE(colon, std::string::npos) << read_file(dir_ / "err");
    port_ = std::stoi(said.substr(colon + 1));
    return httplib::Client("127.0.0.1", port_);
  }
  static json post(httplib::Client& client, const std::string& path, const json& body, int status = 200) {
    auto answer = client.Post(path, body.is_string() ? body.get<std::string>() : body.dump(), "application/json");
    EXPECT_TRUE(answer);
    if (!answer) return {};
    EXPECT_EQ(answer->status, status) << answer->body;
    return json::parse(answer->body);
  }
  /// The text of a stream's first choice, and whether it ended as it should.
  static std::string streamed(httplib::Client& client, const std::string& path, const json& body) {
    auto answer = client.Post(path, body.dump(), "application/json");
    EXPECT_TRUE(answer);
    std::string text, line;
    std::istringstream lines(answer->body);
    bool done = false;
    while (std::getline(lines, line)) {
      if (line.empty()) continue;
      EXPECT_EQ(line.rfind("data: ", 0), 0u) << line;
      if (line == "data: [DONE]") {
        done = true;
        continue;
      }
      auto choice = json::parse(line.substr(6))["choices"][0];
      text += choice.contains("delta") ? choice["delta"].value("content", "") : choice["text"].get<std::string>();
    }
    EXPECT_TRUE(done) << answer->body;
    return text;
  }

  TempDir dir_;
  pid_t pid_ = 0;
  int port_ = 0;
};

TEST_F(Serve, GivesTheTextThatGenerateGives) {
  write_file(dir_ / "in.jsonl", "{\"prompt\": \"1+2=\"}\n");
  auto made = testing::rft("generate " + model() + " --prompts " + dir_ / "in.jsonl" + " --out " + dir_ / "o.jsonl" +
                           " --temperature 0 --max-new-tokens 12 --quiet");
  ASSERT_EQ(made.code, 0) << made.err;
  auto expected = json::parse(read_file(dir_ / "o.jsonl"));
  auto client = start();
  json body{{"model", "tiny"}, {"prompt", "1+2="}, {"max_tokens", 12}, {"temperature", 0}};
  auto answer = post(client, "/v1/completions", body);
  EXPECT_EQ(answer["choices"][0]["text"], expected["completion"]);
  EXPECT_EQ(answer["choices"][0]["finish_reason"], expected["finish_reason"]);
  EXPECT_EQ(answer["usage"]["completion_tokens"], expected["token_ids"].size());
  json chat{{"messages", {{{"role", "user"}, {"content", "1+2"}}}}, {"max_tokens", 12}, {"temperature", 0}};
  EXPECT_EQ(post(client, "/v1/chat/completions", chat)["choices"][0]["message"]["content"], expected["completion"]);
  body["stream"] = chat["stream"] = true;
  EXPECT_EQ(streamed(client, "/v1/completions", body), expected["completion"].get<std::string>());
  EXPECT_EQ(streamed(client, "/v1/chat/completions", chat), expected["completion"].get<std::string>());
}

TEST_F(Serve, CutsBeforeAStopTextAlsoInAStream) {
  auto client = start();
  json body{{"prompt", "1+2="}, {"max_tokens", 20}, {"seed", 4}};
  std::string whole = post(client, "/v1/completions", body)["choices"][0]["text"];
  ASSERT_GT(whole.size(), 6u);
  body["stop"] = {whole.substr(3, 2), "never"};
  auto answer = post(client, "/v1/completions", body)["choices"][0];
  std::string cut = whole.substr(0, whole.find(whole.substr(3, 2)));
  EXPECT_EQ(answer["text"], cut);
  EXPECT_EQ(answer["finish_reason"], "stop");
  body["stream"] = true;
  EXPECT_EQ(streamed(client, "/v1/completions", body), cut);
}

/// The tiny model knows no letters: what it is asked for are numbers.
TEST_F(Serve, AnswersOfAGivenForm) {
  auto digits = [](const std::string& text) {
    return !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
  };
  write_file(dir_ / "in.jsonl", "{\"prompt\": \"1+2=\"}\n");
  write_file(dir_ / "schema.json", R"({"type": "integer"})");
  auto generated = [&](const std::string& more, int code = 0) {
    auto made = testing::rft("generate " + model() + " --prompts " + dir_ / "in.jsonl" + " --out " + dir_ / "o.jsonl" +
                             " --max-new-tokens 9 --quiet " + more);
    EXPECT_EQ(made.code, code) << made.err;
    return code ? made.err : json::parse(read_file(dir_ / "o.jsonl"))["completion"].get<std::string>();
  };
  const std::string plus = generated("--regex '[0-9]{2}\\+[0-9]'");
  ASSERT_EQ(plus.size(), 4u);
  EXPECT_EQ(plus[2], '+');
  const std::string integer = generated("--json-schema " + dir_ / "schema.json");
  EXPECT_TRUE(digits(integer)) << integer;
  EXPECT_NE(generated("--regex 'a(b'", 2).find("--regex"), std::string::npos);
  write_file(dir_ / "schema.json", R"({"type": "integer", "minimum": 3})");
  EXPECT_NE(generated("--json-schema " + dir_ / "schema.json", 2).find("'minimum'"), std::string::npos);

  auto client = start();
  json body{
      {"prompt", "1+2="}, {"max_tokens", 9}, {"structured_outputs", {{"regex", "[0-9]{2}\\+[0-9]"}}}, {"seed", 0}};
  auto answer = post(client, "/v1/completions", body);
  const std::string text = answer["choices"][0]["text"];
  EXPECT_EQ(text.size(), 4u);
  EXPECT_EQ(text.substr(2, 1), "+");
  EXPECT_EQ(answer["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(answer["usage"]["completion_tokens"], 4);
  body["stream"] = true;
  EXPECT_EQ(streamed(client, "/v1/completions", body), text);
  body["structured_outputs"] = {{"choice", {"12", "345"}}}, body["stream"] = false;
  const std::string chosen = post(client, "/v1/completions", body)["choices"][0]["text"];
  EXPECT_TRUE(chosen == "12" || chosen == "345") << chosen;
  json chat{{"messages", {{{"role", "user"}, {"content", "1+2"}}}}, {"max_tokens", 9}};
  chat["response_format"] = {{"type", "json_schema"},
                             {"json_schema", {{"name", "x"}, {"schema", {{"type", "integer"}}}}}};
  EXPECT_TRUE(digits(post(client, "/v1/chat/completions", chat)["choices"][0]["message"]["content"]));
  // No token of this vocabulary begins an object: the answer is empty, and says that it was cut.
  chat["response_format"] = {{"type", "json_object"}};
  auto stuck = post(client, "/v1/chat/completions", chat);
  EXPECT_EQ(stuck["choices"][0]["message"]["content"], "");
  EXPECT_EQ(stuck["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(stuck["usage"]["completion_tokens"], 0);
  for (const json& wrong : {json{{"type", "xml"}}, json{{"type", "json_schema"}}, json(3)}) {
    chat["response_format"] = wrong;
    EXPECT_EQ(post(client, "/v1/chat/completions", chat, 400)["error"]["param"], "response_format");
  }
  body["structured_outputs"] = {{"regex", "a(b"}};
  EXPECT_EQ(post(client, "/v1/completions", body, 400)["error"]["param"], "structured_outputs");
}

TEST_F(Serve, AnswersManyAtOnceEachAsIfAlone) {
  auto client = start("--batch-size 3");
  auto body = [](int i) {
    return json{{"prompt", std::to_string(i) + "+1="}, {"max_tokens", 20}, {"seed", i}, {"stream", true}};
  };
  std::vector<std::string> alone, together(8);
  for (int i = 0; i < 8; ++i) alone.push_back(streamed(client, "/v1/completions", body(i)));
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&, i] {
      httplib::Client own("127.0.0.1", port_);
      together[static_cast<size_t>(i)] = streamed(own, "/v1/completions", body(i));
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(together, alone);
}

TEST_F(Serve, RequestsChooseAmongAdapters) {
  for (const char* seed : {"1", "2"}) {
    write_file(dir_ / "recipe.yaml", cat("run: {name: adapted, seed: ", seed, ", output: ", dir_ / "adapted", seed,
                                         "}\npolicy: {type: causal_lm, path: ", model(),
                                         ", lora: {rank: 4}}\ndata: {train: ", dir_ / "data/sft.jsonl",
                                         "}\nobjective: {type: sft}\ntrain: {steps: 12, batch_size: 16, "
                                         "checkpoint_every: 0, samples_every: 0, optimizer: {lr: 3.0e-2}}\n"));
    ASSERT_EQ(testing::rft("train " + dir_ / "recipe.yaml" + " --quiet").code, 0);
  }
  const std::string first = dir_ / "adapted1/final", second = dir_ / "adapted2/final";
  write_file(dir_ / "in.jsonl", "{\"prompt\": \"1+2=\"}\n");
  auto generated = [&](const std::string& from) {
    auto made = testing::rft("generate " + from + " --quantize int8 --prompts " + dir_ / "in.jsonl" + " --out " +
                             dir_ / "o.jsonl" + " --temperature 0 --max-new-tokens 12 --quiet");
    EXPECT_EQ(made.code, 0) << made.err;
    return json::parse(read_file(dir_ / "o.jsonl"))["completion"].get<std::string>();
  };
  const std::map<std::string, std::string> expected{
      {"tiny", generated(model())}, {"first", generated(first)}, {"second", generated(second)}};
  EXPECT_NE(expected.at("tiny"), expected.at("first"));
  auto client = start("--quantize int8 --adapter first=" + first + " --adapter second=" + second);
  std::vector<std::thread> threads;
  std::mutex mutex;
  for (int i = 0; i < 9; ++i)
    threads.emplace_back([&, i] {
      const std::string name = std::next(expected.begin(), i % 3)->first;
      httplib::Client own("127.0.0.1", port_);
      auto answer =
          post(own, "/v1/completions", {{"model", name}, {"prompt", "1+2="}, {"max_tokens", 12}, {"temperature", 0}});
      std::lock_guard lock(mutex);
      EXPECT_EQ(answer["choices"][0]["text"], expected.at(name)) << name;
      EXPECT_EQ(answer["model"], name);
    });
  for (auto& thread : threads) thread.join();
  auto models = json::parse(client.Get("/v1/models")->body)["data"];
  ASSERT_EQ(models.size(), 3u);
  EXPECT_EQ(models[2]["id"], "second");
  EXPECT_EQ(models[2]["parent"], "tiny");
  EXPECT_EQ(post(client, "/v1/completions", {{"model", "third"}, {"prompt", "1"}}, 404)["error"]["param"], "model");
  auto said = [&](const std::string& adapter) {
    auto ran = testing::rft("serve " + model() + " --name tiny --port 0 --adapter " + adapter);
    EXPECT_EQ(ran.code, 2);
    return ran.err;
  };
  EXPECT_NE(said(first).find("NAME=DIRECTORY"), std::string::npos);
  EXPECT_NE(said("tiny=" + first).find("a name of its own"), std::string::npos);
}

TEST_F(Serve, SaysWhatIsWrongAsTheApiDoes) {
  auto client = start("--api-key secret");
  EXPECT_EQ(post(client, "/v1/completions", {{"prompt", "1"}}, 401)["error"]["code"], "invalid_api_key");
  client.set_bearer_token_auth("secret");
  auto param = [&](const json& body, int status, const std::string& path = "/v1/completions") {
    auto error = post(client, path, body, status)["error"];
    EXPECT_FALSE(error["message"].get<std::string>().empty());
    return error["param"].is_string() ? error["param"].get<std::string>() : "";
  };
  EXPECT_EQ(param({{"prompt", "1"}, {"model", "other"}}, 404), "model");
  EXPECT_EQ(param({{"prompt", "1"}, {"max_tokens", 0}}, 400), "max_tokens");
  EXPECT_EQ(param({{"prompt", "1"}, {"temperature", -1}}, 400), "temperature");
  EXPECT_EQ(param({{"prompt", "1"}, {"stop", ""}}, 400), "stop");
  EXPECT_EQ(param({{"prompt", "1"}, {"logit_bias", {{"5", 1}}}}, 400), "logit_bias");
  EXPECT_EQ(param({{"prompt", "1"}, {"tempature", 1}}, 400), "tempature");
  EXPECT_EQ(param({{"prompt", json::array()}}, 400), "prompt");
  EXPECT_EQ(param({{"prompt", {1, 100000}}}, 400), "prompt");
  EXPECT_EQ(param({{"prompt", {{{"a", 1}}}}}, 400), "prompt");
  EXPECT_EQ(param(json::object(), 400), "prompt");
  EXPECT_EQ(param({{"messages", 3}}, 400, "/v1/chat/completions"), "messages");
  EXPECT_EQ(param({{"messages", {{{"content", "x"}}}}}, 400, "/v1/chat/completions"), "messages");
  EXPECT_EQ(param("{\"prompt\": ", 400), "");
  EXPECT_EQ(param("[1]", 400), "");
  EXPECT_EQ(param(std::string(1000, '['), 400), "");
  EXPECT_EQ(post(client, "/v1/completions", {{"prompt", std::string(5000, '1')}}, 400)["error"]["code"],
            "context_length_exceeded");
  EXPECT_EQ(post(client, "/v1/nothing", json::object(), 404)["error"]["type"], "invalid_request_error");
  EXPECT_EQ(post(client, "/v1/completions", std::string(17 << 20, 'x'), 413)["error"]["type"], "invalid_request_error");
  EXPECT_EQ(json::parse(client.Get("/v1/models")->body)["data"][0]["id"], "tiny");
  auto more = post(client, "/v1/completions", {{"prompt", "1"}, {"n", 3}, {"logprobs", 0}, {"max_tokens", 2}});
  EXPECT_EQ(more["choices"].size(), 3u);
  EXPECT_EQ(more["choices"][2]["logprobs"]["token_logprobs"].size(), 2u);
}

TEST_F(Serve, WhoHangsUpFreesTheirPlaceAndTooManyAreRefused) {
  CausalLm::Options options;
  options.path = model();
  const CausalLm policy(options);
  app::CompletionService service(policy, 1, 1000, 63, 0);
  // One sample after another: whoever leaves at once has most of them before them.
  auto many = app::read_request(R"({"prompt": "1+2=", "max_tokens": 40, "n": 64})", false, {"tiny"});
  auto first = service.submit(many);
  first->abandon();
  for (int i = 0; i < 2000 && service.active() > 0; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(service.active(), 0);
  EXPECT_LT(first->usage().completion_tokens, 64 * 40);
  auto more = app::read_request(R"({"prompt": "1+2=", "n": 65})", false, {"tiny"});
  try {
    service.submit(more);
    ADD_FAILURE() << "the 65th sample found a place";
  } catch (const app::ApiError& error) {
    EXPECT_EQ(error.status, 429);
  }
  auto one = app::read_request(R"({"prompt": "1+2=", "max_tokens": 40, "seed": 1})", false, {"tiny"});
  auto last = service.submit(one);
  bool ended = false;
  for (int i = 0; i < 600 && !ended; ++i) last->take(ended);
  EXPECT_TRUE(ended);
}

}  // namespace
}  // namespace rft::serve_test
#endif
