#include "app/model_options.h"

#include "rft/core/error.h"

namespace rft::app {

void add_model_options(CLI::App& command, ModelOptions& model, const std::string& scope) {
  command.add_option("--dtype", model.dtype, scope + "what weights are kept in")
      ->check(CLI::IsMember({"float32", "bfloat16", "float64"}))
      ->capture_default_str();
  command.add_option("--device", model.device, scope + "where the model is: cpu, cuda or cuda:N")
      ->capture_default_str();
}

void add_quantize_option(CLI::App& command, ModelOptions& model, const std::string& scope) {
  command.add_option("--quantize", model.quantize, scope + "keep linear layers in 8 or 4 bits a number: int8, nf4")
      ->check(CLI::IsMember({"int8", "nf4"}));
}

void refuse_for_seq2seq(const ModelOptions& model) {
  if (model.device != "cpu")
    bad_input("--device", "encoder-decoder models are computed on the cpu; got ", model.device);
  if (!model.quantize.empty())
    bad_input("--quantize", "encoder-decoder models are kept in the type of --dtype; got ", model.quantize);
}

}  // namespace rft::app
