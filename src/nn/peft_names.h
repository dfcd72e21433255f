#pragma once
/// What PEFT's files look like, whatever the model is.
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "rft/nn/decoder.h"

namespace rft {

/// What stands before a module's path.
inline constexpr char kPeftRoot[] = "base_model.model.";

/// Calls each(name, tensor) for every tensor of an adapter.
void for_peft_tensors(const Adapter& adapter, const std::function<void(const std::string&, const Tensor&)>& each);

/// Tensors by their names in a file; a list, for they are read in its order.
using NamedTargets = std::vector<std::pair<std::string, Tensor>>;
/// Copies `tensors` into `targets`, or names all that is missing, misshapen or left over in one UserError.
void fill_peft_tensors(const NamedTargets& targets, const std::map<std::string, Tensor>& tensors,
                       const std::string& where);

/// What adapter_config.json says of the model.
struct PeftModel {
  std::string task;                ///< "CAUSAL_LM"
  std::set<std::string> adapted;   ///< the last parts of the modules with adapters
  bool stored_transposed = false;  ///< its linear layers are stored as [in, out]
};
std::string peft_config_json(const LoraConfig& config, const std::string& base_model, const PeftModel& model);

}  // namespace rft
