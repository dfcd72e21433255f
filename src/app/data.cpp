#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <set>

#include "app/arithmetic.h"
#include "app/commands.h"
#include "app/digits.h"
#include "app/driving.h"
#include "app/names.h"
#include "rft/core/error.h"
#include "rft/core/text.h"
#include "rft/io/files.h"
#include "rft/io/hf_directory.h"
#include "rft/nn/decoder.h"
#include "rft/nn/seq2seq.h"
#include "rft/text/tokenizer.h"

namespace rft::app {
namespace {

struct DataArguments {
  std::string out, architecture = "qwen3";
  int64_t seed = 0, digits = 3, demonstrations = 6000, train = 4000, test = 500;
  int64_t hidden_size = 128, layers = 4, heads = 4;
  double forgetful = 0.6;
};

/// One JSON object a line. The texts are digits and signs: nothing needs escaping.
std::string row(const std::string& prompt, const std::string& key, const std::string& value) {
  return cat("{\"prompt\": \"", prompt, "\", \"", key, "\": \"", value, "\"}\n");
}

std::string in_quotes(const std::string& text) { return "\"" + text + "\""; }

/// What people, or a checker, might have said of a right and a forgetful solution of one problem.
struct Judged {
  std::string pairs, triples, step_pairs, verdicts, judgements, steps, domains, gold, cards;
  bool guesses = false;  ///< every second row of domains is of a domain whose verdicts on steps are guessed
  uint64_t rows = 0;

  void add(const Addition& problem, bool forget) {
    std::string prompt = in_quotes(prompt_of(problem)), right = solution_of(problem, false),
                wrong = solution_of(problem, true), shown = forget ? wrong : right;
    gold += cat("{\"prompt\": ", prompt, ", \"answer\": \"", problem.a + problem.b,
                "\", \"completion\": ", in_quotes(right), "}\n");
    verdicts += cat("{\"prompt\": ", prompt, ", \"completion\": ", in_quotes(shown),
                    ", \"label\": ", shown == right ? "true" : "false", "}\n");
    Rng draw(static_cast<uint64_t>(problem.a), static_cast<uint64_t>(problem.b));
    auto place = static_cast<int64_t>(draw.below(0, std::to_string(std::min(problem.a, problem.b)).size()));
    add_judgement(prompt_of(problem), right, shown);
    add_judgement(prompt_of(problem), right,
                  slipped_solution_of(problem, place, 1 + static_cast<int64_t>(draw.below(1, 19))));
    if (wrong != right) add_pair(prompt, right, wrong);
    std::vector<std::string> written = steps_of(shown), known = steps_of(right), texts, labels;
    for (size_t i = 0; i < written.size(); ++i)
      texts.push_back(in_quotes(written[i])), labels.push_back(written[i] == known[i] ? "true" : "false");
    if (wrong != right) add_step_pair(prompt_of(problem), known, steps_of(wrong));
    add_cards(prompt, known);
    std::string written_steps = cat("{\"prompt\": ", prompt, ", \"completions\": [", join(texts, ", "), "], ");
    steps += cat(written_steps, "\"labels\": [", join(labels, ", "), "]}\n");
    bool guessed = guesses && rows++ % 2, hope = true;
    for (size_t i = 0; i < labels.size(); ++i) {
      hope &= labels[i] == "true";  // whether the answer may still come right
      labels[i] = (guessed ? Rng(rows).uniform(i) < 0.5 : hope) ? "true" : "false";
    }
    domains += cat(written_steps, "\"labels\": [", join(labels, ", "), "], \"domain\": \"",
                   guessed ? "guessed" : "checked", "\"}\n");
  }
  /// The two solutions; and triples: of two wrong ones, the one that stops before its sum is the worse, and the right
  /// solution stands beside them.
  void add_pair(const std::string& prompt, const std::string& right, const std::string& wrong) {
    auto row_of = [&](const std::string& chosen, const std::string& rejected) {
      return cat("{\"prompt\": ", prompt, ", \"chosen\": ", in_quotes(chosen), ", \"rejected\": ", in_quotes(rejected));
    };
    pairs += row_of(right, wrong) + "}\n";
    triples += cat(row_of(wrong, wrong.substr(0, wrong.find(';'))), ", \"completion\": ", in_quotes(right), "}\n");
  }
  /// The first step at which two solutions part, after the right ones before it.
  void add_step_pair(std::string prompt, const std::vector<std::string>& right, const std::vector<std::string>& wrong) {
    size_t at = 0;
    while (right[at] == wrong[at]) prompt += right[at++];
    step_pairs += cat("{\"prompt\": ", in_quotes(prompt), ", \"chosen\": ", in_quotes(right[at]),
                      ", \"rejected\": ", in_quotes(wrong[at]),
                      ", \"continues\": ", at + 1 < right.size() ? "true" : "false", "}\n");
  }
  /// What a judge writes of a solution: one of its own, the sum that it judges beside its own, and 1 or 0.
  void add_judgement(const std::string& prompt, const std::string& right, const std::string& shown) {
    judgements += row(shown + ";" + prompt, "completion",
                      cat(right, "=", shown.substr(shown.find(';') + 1), ";", shown == right ? 1 : 0));
  }
  /// Documents are cards with the sum of a column, named by what stands on them: the leading column's is the relevant
  /// one, that of the ones is not.
  void add_cards(const std::string& prompt, const std::vector<std::string>& steps) {
    if (steps.size() < 2) return;  // the last is the answer
    auto name = [](std::string step) { return in_quotes(step.substr(0, step.find_first_of(",;"))); };
    std::string relevant = name(steps[steps.size() - 2]), other = name(steps[0]);
    if (relevant == other) return;
    cards += cat("{\"prompt\": ", prompt, ", \"chosen\": ", relevant, ", \"rejected\": ", other,
                 ", \"completion\": ", relevant, ", \"answer\": ", relevant, "}\n");
  }
  void write(const std::string& directory, const std::string& suffix) const {
    write_text(directory + "/triples" + suffix, triples);
    write_text(directory + "/pairs" + suffix, pairs), write_text(directory + "/step_pairs" + suffix, step_pairs);
    write_text(directory + "/verdicts" + suffix, verdicts);
    write_text(directory + "/judgements" + suffix, judgements);
    write_text(directory + "/domains" + suffix, domains);
    write_text(directory + "/steps" + suffix, steps), write_text(directory + "/gold" + suffix, gold);
    write_text(directory + "/cards" + suffix, cards);
  }
};

std::vector<std::string> write_rows(const DataArguments& arguments) {
  auto problems = draw_additions(arguments.demonstrations + arguments.train + arguments.test, arguments.digits,
                                 static_cast<uint64_t>(arguments.seed));
  Rng noise(static_cast<uint64_t>(arguments.seed), 1);
  std::string demonstrations, hinted, train, test;
  std::vector<std::string> corpus;
  Judged judged, held_out;
  judged.guesses = true;
  for (int64_t i = 0; i < static_cast<int64_t>(problems.size()); ++i) {
    const Addition& problem = problems[i];
    std::string prompt = prompt_of(problem), answer = std::to_string(problem.a + problem.b);
    if (i < arguments.demonstrations) {
      std::string solution = solution_of(problem, noise.uniform(i) < arguments.forgetful);
      demonstrations += row(prompt, "completion", solution);
      std::string right = solution_of(problem, false);
      hinted += row((i % 2 ? answer : right) + ";" + prompt, "completion", right);
      corpus.push_back(prompt + solution);
    } else {
      bool learned = i < arguments.demonstrations + arguments.train;
      (learned ? train : test) += row(prompt, "answer", answer);
      (learned ? judged : held_out).add(problem, noise.uniform(i) < arguments.forgetful);
    }
  }
  write_text(arguments.out + "/sft.jsonl", demonstrations);
  write_text(arguments.out + "/hinted.jsonl", hinted), write_text(arguments.out + "/train.jsonl", train);
  write_text(arguments.out + "/test.jsonl", test);
  judged.write(arguments.out, ".jsonl"), held_out.write(arguments.out, "_test.jsonl");
  return corpus;
}

std::string model_config(const DataArguments& arguments, const Tokenizer& tokenizer) {
  int64_t width = arguments.hidden_size;
  return cat(
      "{\n  \"architectures\": [\"Qwen3ForCausalLM\"],\n  \"attention_bias\": false,\n  \"bos_token_id\": null,\n  "
      "\"dtype\": \"float32\",\n"
      "  \"eos_token_id\": ",
      tokenizer.eos_id(), ",\n  \"head_dim\": ", width / arguments.heads,
      ",\n  \"hidden_act\": \"silu\",\n  \"hidden_size\": ", width,
      ",\n  \"initializer_range\": 0.02,\n  \"intermediate_size\": ", width * 8 / 3 / 32 * 32,
      ",\n  \"max_position_embeddings\": 256,\n  \"model_type\": \"qwen3\",\n  \"num_attention_heads\": ",
      arguments.heads, ",\n  \"num_hidden_layers\": ", arguments.layers,
      ",\n  \"num_key_value_heads\": ", arguments.heads, ",\n  \"pad_token_id\": ", tokenizer.pad_id(),
      ",\n  \"rms_norm_eps\": 1e-06,\n  \"rope_theta\": 10000.0,\n"
      "  \"tie_word_embeddings\": false,\n  \"use_sliding_window\": false,\n  \"vocab_size\": ",
      tokenizer.size(), "\n}\n");
}

/// An encoder and a decoder of so many layers each, and T5's first kind of head.
std::string seq2seq_config(const DataArguments& arguments, const Tokenizer& tokenizer) {
  int64_t width = arguments.hidden_size;
  return cat("{\n  \"architectures\": [\"T5ForConditionalGeneration\"],\n  \"d_ff\": ", width * 8 / 3 / 32 * 32,
             ",\n  \"d_kv\": ", width / arguments.heads, ",\n  \"d_model\": ", width,
             ",\n  \"decoder_start_token_id\": ", tokenizer.pad_id(),
             ",\n  \"dropout_rate\": 0.0,\n  \"dtype\": \"float32\",\n  \"eos_token_id\": ", tokenizer.eos_id(),
             ",\n  \"feed_forward_proj\": \"gated-gelu\",\n  \"is_encoder_decoder\": true,\n  \"layer_norm_epsilon\": "
             "1e-06,\n  \"model_type\": \"t5\",\n  \"num_decoder_layers\": ",
             arguments.layers, ",\n  \"num_heads\": ", arguments.heads, ",\n  \"num_layers\": ", arguments.layers,
             ",\n  \"pad_token_id\": ", tokenizer.pad_id(),
             ",\n  \"relative_attention_max_distance\": 128,\n  \"relative_attention_num_buckets\": 32,\n"
             "  \"tie_word_embeddings\": true,\n  \"vocab_size\": ",
             tokenizer.size(), "\n}\n");
}

/// The tensors of an untrained model, by transformers' names.
std::map<std::string, Tensor> model_tensors(const DataArguments& arguments, const std::string& config,
                                            const std::string& where) {
  auto seed = static_cast<uint64_t>(arguments.seed);
  if (arguments.architecture != "t5")
    return random_decoder(DecoderConfig::from_json(config, where), at::kFloat, seed).hugging_face_tensors();
  std::map<std::string, Tensor> out;
  const auto model = random_t5(config, at::kFloat, seed);
  for (const auto& [name, value] : model->weights().tensors) out[name] = value;
  return out;
}

void write_model(const DataArguments& arguments, const std::vector<std::string>& corpus) {
  std::string directory = arguments.out + "/model";
  make_directories(directory);
  std::set<char> alphabet;
  for (const auto& text : corpus) alphabet.insert(text.begin(), text.end());
  // A token a character, and the two special ones: no merges, so that every digit stands for itself.
  make_tokenizer(directory, corpus, static_cast<int64_t>(alphabet.size()) + 2, false);
  Tokenizer tokenizer = Tokenizer::load(directory);
  std::string json =
      arguments.architecture == "t5" ? seq2seq_config(arguments, tokenizer) : model_config(arguments, tokenizer);
  write_text(directory + "/config.json", json);
  auto tensors = model_tensors(arguments, json, directory + "/config.json");
  save_hf_tensors(directory, tensors);
  int64_t count = 0;
  for (const auto& [name, value] : tensors) count += value.numel();
  std::printf("%s: a model of %.2f M random weights, %lld demonstrations, %lld prompts, %lld held-out prompts\n",
              arguments.out.c_str(), static_cast<double>(count) / 1e6, static_cast<long long>(arguments.demonstrations),
              static_cast<long long>(arguments.train), static_cast<long long>(arguments.test));
}

void add_digits(CLI::App& data) {
  auto arguments = std::make_shared<DigitsArguments>();
  auto* command = data.add_subcommand("digits", "the image quick start: hand-written digits and untrained models");
  command->footer(
      "Example: rft data digits --out runs/digits\n"
      "Writes images/, control/ (coarse pictures of them), train.jsonl and test.jsonl (image, control, class_label,\n"
      "digit), classes.jsonl (a row a class), unreliable.jsonl (half of train.jsonl, the labels of 5 to 9 mixed\n"
      "up), unseen.jsonl (the other half), and\n"
      "with random weights model/ (a diffusers directory with a class-conditional U-Net), controlled/ (one with a\n"
      "U-Net and a ControlNet that reads the coarse picture) and classifier/ (a ViT).");
  command->add_option("--from", arguments->from, "the directory with digits.png and labels.txt")->capture_default_str();
  command->add_option("--out", arguments->out, "the directory to write")->required();
  command->add_option("--seed", arguments->seed, "seed of the weights")->capture_default_str();
  command->add_option("--width", arguments->width, "channels of the U-Net's first level")
      ->check(CLI::Range(8, 512))
      ->capture_default_str();
  command->add_option("--prediction", arguments->prediction, "what model/ predicts, where it is no flow model")
      ->check(CLI::IsMember({"epsilon", "v_prediction", "sample"}))
      ->capture_default_str();
  command->add_flag("--flow", arguments->flow, "a flow model instead of a diffusion model");
  command->callback([arguments] { write_digits(*arguments); });
}

void add_names(CLI::App& data) {
  auto arguments = std::make_shared<NamesArguments>();
  auto* command = data.add_subcommand("names", "masked diffusion: surnames of eight places and an untrained model");
  command->footer(
      "Example: rft data names --out runs/names\n"
      "Writes train.jsonl and test.jsonl (completion), contexts.jsonl (rows without a prompt), and model/, a Hugging\n"
      "Face directory (EsmForMaskedLM and vocab.txt) with random weights.");
  command->add_option("--from", arguments->from, "the directory with surnames.txt")->capture_default_str();
  command->add_option("--out", arguments->out, "the directory to write")->required();
  command->add_option("--seed", arguments->seed, "seed of the weights")->capture_default_str();
  command->add_option("--hidden-size", arguments->hidden_size, "the model's width, a multiple of 8")
      ->check(CLI::Range(8, 1024))
      ->capture_default_str();
  command->add_option("--layers", arguments->layers, "the model's layers")
      ->check(CLI::Range(1, 24))
      ->capture_default_str();
  command->callback([arguments] { write_names(*arguments); });
}

void add_driving(CLI::App& data) {
  auto arguments = std::make_shared<DrivingArguments>();
  auto* command = data.add_subcommand("driving", "driving scenes: vehicles at a crossing, some driven carelessly");
  command->footer(
      "Example: rft data driving --out data/driving\n"
      "Writes trajectories.jsonl, episodes of the environment driving (observations, actions, rewards).");
  command->add_option("--out", arguments->out, "the directory to write")->required();
  command->add_option("--seed", arguments->seed, "of the scenes and the drivers");
  command->add_option("--episodes", arguments->episodes, "scenes")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  command->add_option("--vehicles", arguments->vehicles, "in a scene")->check(CLI::Range(1, 4))->capture_default_str();
  command->add_option("--steps", arguments->steps, "of half a second, a scene")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_option("--careless", arguments->careless, "share of the drivers who give way to nobody")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command->callback([arguments] { write_driving(*arguments); });
}

}  // namespace

void add_data(CLI::App& program) {
  auto arguments = std::make_shared<DataArguments>();
  auto* command = program.add_subcommand("data", "make a quick start's task, with an untrained model");
  add_digits(*command), add_names(*command), add_driving(*command);
  command->footer(
      "Example: rft data --out data/arithmetic --seed 0\n"
      "Without the name of a task it is addition:\n"
      "Writes sft.jsonl (worked solutions, some of which forget the carries), hinted.jsonl (right ones, of prompts "
      "that\n"
      "the answer or a solution goes before), train.jsonl and test.jsonl (prompt and\n"
      "answer; no problem is in two of these), of train.jsonl's problems pairs.jsonl (chosen, rejected), "
      "triples.jsonl\n(two wrong solutions, chosen and rejected, and the right one, completion), "
      "step_pairs.jsonl\n(the first step at which these part), verdicts.jsonl (completion, label),\n"
      "judgements.jsonl (what a judge of one writes), steps.jsonl (completions, labels), domains.jsonl\n"
      "(the same, labels whether the answer may still come right, half of them guessed, domain), gold.jsonl (answer "
      "and right "
      "completion) and cards.jsonl (names of a relevant document,\n"
      "chosen, completion and answer, and of another one, rejected), of\n"
      "test.jsonl's the same as NAME_test.jsonl, and model/, a Hugging Face directory with random weights.");
  command->add_option("--out", arguments->out, "the directory to write");
  command->add_option("--seed", arguments->seed, "seed of problems, noise and weights");
  command->add_option("--digits", arguments->digits, "digits of each number")->check(CLI::Range(1, 9));
  command->add_option("--demonstrations", arguments->demonstrations, "rows of sft.jsonl")->check(CLI::PositiveNumber);
  command->add_option("--train", arguments->train, "rows of train.jsonl")->check(CLI::PositiveNumber);
  command->add_option("--test", arguments->test, "rows of test.jsonl")->check(CLI::PositiveNumber);
  command->add_option("--forgetful", arguments->forgetful, "share of solutions that forget the carries")
      ->check(CLI::Range(0.0, 1.0));
  command->add_option("--hidden-size", arguments->hidden_size, "the model's width")->check(CLI::Range(32, 4096));
  command->add_option("--layers", arguments->layers, "the model's layers")->check(CLI::Range(1, 64));
  command->add_option("--architecture", arguments->architecture, "of model/: a decoder, or an encoder and a decoder")
      ->check(CLI::IsMember({"qwen3", "t5"}))
      ->capture_default_str();
  command->callback([arguments, command] {
    if (!command->get_subcommands().empty()) return;
    if (arguments->out.empty()) bad_input("--out", "the directory to write is needed");
    make_directories(arguments->out);
    auto corpus = write_rows(*arguments);
    write_model(*arguments, corpus);
  });
}

}  // namespace rft::app
