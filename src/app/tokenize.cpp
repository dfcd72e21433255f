#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "app/commands.h"
#include "rft/core/error.h"
#include "rft/io/files.h"
#include "rft/io/rows.h"
#include "rft/text/chat_template.h"
#include "rft/text/tokenizer.h"

namespace rft::app {
namespace {

struct Options {
  std::string model, in, out;
  bool decode = false, chat = false;
};

void check_ids(const Rows& rows, int64_t i, const Tokenizer& tokenizer) {
  for (int64_t id : rows.ints(i, "ids"))
    if (id < 0 || id >= tokenizer.size())
      bad_input(rows.where(i), "`ids` must be in [0, ", tokenizer.size(), "); got ", id);
}

/// {"text", "ids"} of a conversation: the special tokens that stand in the text are theirs, and none is added.
std::string chat_line(const Rows& rows, int64_t i, const ChatTemplate& chat, const Tokenizer& tokenizer) {
  nlohmann::json row;
  try {
    row["text"] = chat.render(rows.json(i));
  } catch (const UserError& error) {
    bad_input(rows.where(i), error.what());
  }
  row["ids"] = tokenizer.encode(row["text"].get<std::string>(), false);
  return row.dump() + "\n";
}

void run_chat(const Options& options) {
  Rows rows = Rows::load(options.in);
  Tokenizer tokenizer = Tokenizer::load(options.model);
  bool tools = false;
  for (int64_t i = 0; i < rows.size(); ++i) tools |= rows.has(i, "tools");
  ChatTemplate plain = ChatTemplate::load(options.model),
               with_tools = tools ? ChatTemplate::load(options.model, true) : plain;
  std::string out;
  for (int64_t i = 0; i < rows.size(); ++i)
    out += chat_line(rows, i, rows.has(i, "tools") ? with_tools : plain, tokenizer);
  write_text(options.out, out);
}

void run(const Options& options) {
  if (options.chat && options.decode) bad_input("rft tokenize", "--chat and --decode exclude each other");
  if (options.chat) return run_chat(options);
  Rows rows = Rows::load(options.in);
  const char* column = options.decode ? "ids" : "text";
  Tokenizer tokenizer = Tokenizer::load(options.model);
  for (int64_t i = 0; i < rows.size(); ++i)  // all rows are checked before any work is done
    options.decode ? check_ids(rows, i, tokenizer) : void(rows.string(i, column));
  std::string out;
  for (int64_t i = 0; i < rows.size(); ++i) {
    nlohmann::json row;
    if (options.decode)
      row["text"] = tokenizer.decode(rows.ints(i, column));
    else
      row["ids"] = tokenizer.encode(rows.string(i, column));
    out += row.dump() + "\n";
  }
  write_text(options.out, out);
}

}  // namespace

void add_tokenize(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* command = program.add_subcommand("tokenize", "texts to token ids, or back");
  command->add_option("model", options->model, "Hugging Face model directory (its tokenizer.json is read)")->required();
  command
      ->add_option(
          "--in", options->in,
          "JSONL: {\"text\": \"...\"} a line; with --decode {\"ids\": [...]}, with --chat {\"messages\": [...]}")
      ->required();
  command
      ->add_option("--out", options->out,
                   "JSONL: {\"ids\": [...]} a line; with --decode {\"text\": \"...\"}, with --chat both")
      ->required();
  command->add_flag("--decode", options->decode, "ids to texts, special tokens included");
  command->add_flag(
      "--chat", options->chat,
      "conversations {\"messages\": [...], \"tools\": [...]?, \"add_generation_prompt\": bool?} to text and "
      "ids, by the model's chat template");
  command->footer("Example: rft tokenize models/tiny --in texts.jsonl --out ids.jsonl");
  command->callback([options] { run(*options); });
}

}  // namespace rft::app
