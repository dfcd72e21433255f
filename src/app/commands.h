#pragma once
/// The commands of the program, one file each: src/app/NAME.cpp defines add_NAME, which adds a CLI11 subcommand whose
/// callback does the work. Callbacks throw UserError/RunError; app.cpp turns them into messages and exit codes.
namespace CLI {
class App;
}

namespace rft::app {

void add_train(CLI::App& program);
void add_check(CLI::App& program);
void add_list(CLI::App& program);  // list and describe
void add_generate(CLI::App& program);
void add_serve(CLI::App& program);
void add_logprob(CLI::App& program);
void add_merge(CLI::App& program);
void add_tokenize(CLI::App& program);
void add_sample(CLI::App& program);
void add_act(CLI::App& program);
void add_score(CLI::App& program);
void add_assess(CLI::App& program);
void add_loss(CLI::App& program);
void add_mixture(CLI::App& program);
void add_plan(CLI::App& program);
void add_plot(CLI::App& program);
void add_bench(CLI::App& program);
void add_data(CLI::App& program);  // makes the quick start's task

}  // namespace rft::app
