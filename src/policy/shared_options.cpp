#include "policy/shared_options.h"

namespace rft {

at::ScalarType dtype_of(const std::string& name) {
  if (name == "bfloat16") return at::kBFloat16;
  return name == "float64" ? at::kDouble : at::kFloat;
}

void lora_options(OptionVisitor& v, bool& use, LoraConfig& config, int64_t& seed, const char* targets) {
  v.optional_block(
      "lora", use,
      [&](OptionVisitor& in) {
        in.option("rank", config.rank, "rank of the low-rank addition", at_least(1));
        in.option("alpha", config.alpha, "scale: alpha / rank", above(0));
        in.option("target_modules", config.target_modules, targets);
        in.option("rslora", config.rslora, "scale alpha / sqrt(rank) instead");
        in.option("seed", seed, "seed of the adapters' first weights", at_least(0));
      },
      "train low-rank adapters and leave the model as it is; the reference policy is the model without them");
}

}  // namespace rft
