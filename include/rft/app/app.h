#pragma once
/// The command line as a function, so that a program of yours with its own objectives offers the same commands.

namespace rft {

/// Runs `rft ARGS...` and returns the exit code: 0 done, 1 failed while running, 2 the user's input was wrong,
/// 130 interrupted after saving a checkpoint. Built-ins are registered first; what the caller registered stays.
int run(int argc, char** argv);

}  // namespace rft
