#include "nn/peft_names.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "nn/low_rank.h"
#include "rft/core/error.h"
#include "rft/core/text.h"

namespace rft {

void for_peft_tensors(const Adapter& adapter, const std::function<void(const std::string&, const Tensor&)>& each) {
  const std::string start = cat(kPeftRoot, adapter.module, ".lora_");
  each(start + "A.weight", adapter.a);
  each(start + "B.weight", adapter.b);
  if (adapter.magnitude.defined()) each(start + "magnitude_vector", adapter.magnitude);
}

void fill_peft_tensors(const NamedTargets& targets, const std::map<std::string, Tensor>& tensors,
                       const std::string& where) {
  std::vector<std::string> problems;
  std::vector<std::pair<Tensor, Tensor>> copies;  // nothing is changed where anything is wrong
  std::set<std::string> used;
  for (const auto& [name, target] : targets) {
    auto found = tensors.find(name);
    used.insert(name);
    if (found == tensors.end())
      problems.push_back("'" + name + "' is missing");
    else if (fits(name, found->second, target.sizes(), problems))
      copies.emplace_back(target, found->second);
  }
  for (const auto& [name, value] : tensors)
    if (!used.count(name)) problems.push_back("'" + name + "' belongs to no adapter");
  if (!problems.empty()) bad_input(where, "the tensors do not fit the adapters: ", join(problems, "; "));
  at::NoGradGuard no_grad;
  for (auto& [target, value] : copies) target.copy_(value);
}

}  // namespace rft
