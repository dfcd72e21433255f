#pragma once
/// How a command keeps the model that it is given: options that several commands have.
#include <CLI/CLI.hpp>
#include <string>

namespace rft::app {

struct ModelOptions {
  std::string dtype = "float32", device = "cpu", quantize;
};

/// --dtype and --device; `scope` is put before what they say ("generate: ").
void add_model_options(CLI::App& command, ModelOptions& model, const std::string& scope = "");
/// --quantize.
void add_quantize_option(CLI::App& command, ModelOptions& model, const std::string& scope = "");

/// The same in a policy's options.
template <class Options>
void take_model_options(const ModelOptions& model, Options& options) {
  options.dtype = model.dtype;
  if constexpr (requires { options.device; }) options.device = model.device;
  if constexpr (requires { options.quantize; }) options.quantize = model.quantize;
}

/// Throws UserError where `model` asks for what encoder-decoder models are not computed with.
void refuse_for_seq2seq(const ModelOptions& model);

}  // namespace rft::app
