#include "rft/app/app.h"

#include <c10/util/Exception.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <exception>
#include <new>

#include "app/commands.h"
#include "rft/core/device.h"
#include "rft/core/error.h"
#include "rft/core/log.h"
#include "rft/core/registry.h"

namespace rft {
namespace {

int fail(int code, const std::string& message) {
  std::fprintf(stderr, "rft: %s\n", message.c_str());
  return code;
}

/// How much there is, and what frees some.
std::string out_of_device_memory(const std::string& said) {
  DeviceMemory memory = device_memory(device_in_use());
  auto gib = [](int64_t bytes) { return cat(std::round(static_cast<double>(bytes) / (1 << 30) * 10) / 10, " GiB"); };
  return cat("[memory] the GPU's memory is full: tensors take ", gib(memory.used), " of its ", gib(memory.total),
             " (at most ", gib(memory.peak), ", the allocator holds ", gib(memory.reserved),
             "). What frees some: train.micro_batch_size (activations shrink with it), policy.gradient_checkpointing: "
             "true (one hidden state a layer is kept), policy.lora (14 bytes a weight of gradients, moments and master "
             "copies in bfloat16), rollout.decode_batch_size (keys and values). ",
             said.substr(0, said.find('\n')));
}

void add_commands(CLI::App& program) {
  using namespace app;
  for (auto* add :
       {add_train, add_check, add_list, add_generate, add_serve, add_logprob, add_merge, add_tokenize, add_sample,
        add_act, add_score, add_assess, add_loss, add_mixture, add_plan, add_plot, add_bench, add_data})
    add(program);
}

void add_common_options(CLI::App& program) {
  program.require_subcommand(1);
  program.fallthrough();
  program.set_version_flag("--version", "rft 0.1.0");
  program.add_flag_callback(
      "--quiet,-q", [] { log::set_level("error"); }, "only errors on stderr");
  program.add_option_function<std::string>(
      "--log-level", [](const std::string& level) { log::set_level(level); }, "trace, debug, info, warn, error or off");
}

}  // namespace

int run(int argc, char** argv) {
  try {
    register_builtins();
    CLI::App program("rft fine-tunes models by reward. `rft COMMAND --help` shows a command's options and an example.",
                     "rft");
    add_common_options(program);
    add_commands(program);
    try {
      program.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
      int code = program.exit(error);
      return code == 0 ? 0 : 2;
    }
    return 0;
  } catch (const UserError& error) {
    return fail(2, error.what());
  } catch (const Interrupted& error) {
    return fail(130, error.what());
  } catch (const std::bad_alloc&) {
    return fail(1,
                "[memory] there was not enough memory; a smaller train.micro_batch_size or rollout.decode_batch_size "
                "needs less");
  } catch (const c10::OutOfMemoryError& error) {
    return fail(1, out_of_device_memory(error.what_without_backtrace()));
  } catch (const c10::Error& error) {
    return fail(1, error.what_without_backtrace());
  } catch (const std::exception& error) {
    return fail(1, error.what());
  }
}

}  // namespace rft
