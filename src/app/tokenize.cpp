#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "app/commands.h"
#include "rft/io/files.h"
#include "rft/io/rows.h"
#include "rft/text/tokenizer.h"

namespace rft::app {
namespace {

struct Options {
  std::string model, in, out;
  bool decode = false;
};

void run(const Options& options) {
  Rows rows = Rows::load(options.in);
  const char* column = options.decode ? "ids" : "text";
  for (int64_t i = 0; i < rows.size(); ++i)  // all rows are checked before any work is done
    options.decode ? void(rows.ints(i, column)) : void(rows.string(i, column));
  Tokenizer tokenizer = Tokenizer::load(options.model);
  std::string out;
  for (int64_t i = 0; i < rows.size(); ++i) {
    nlohmann::json row;
    if (options.decode) row["text"] = tokenizer.decode(rows.ints(i, column));
    else row["ids"] = tokenizer.encode(rows.string(i, column));
    out += row.dump() + "\n";
  }
  write_text(options.out, out);
}

}  // namespace

void add_tokenize(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* command = program.add_subcommand("tokenize", "texts to token ids, or back");
  command->add_option("model", options->model, "Hugging Face model directory (its tokenizer.json is read)")->required();
  command->add_option("--in", options->in, "JSONL: {\"text\": \"...\"} a line; with --decode {\"ids\": [...]}")->required();
  command->add_option("--out", options->out, "JSONL: {\"ids\": [...]} a line; with --decode {\"text\": \"...\"}")->required();
  command->add_flag("--decode", options->decode, "ids to texts, special tokens included");
  command->footer("Example:\n  rft tokenize models/tiny --in texts.jsonl --out ids.jsonl");
  command->callback([options] { run(*options); });
}

}  // namespace rft::app
