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
        in.option("target_regex", config.target_regex, "in their place: a regular expression of whole module paths");
        in.option("rank_pattern", config.rank_pattern,
                  "other ranks: {PATTERN: RANK}, a regular expression of a module's path or of its end after a dot",
                  at_least(1));
        in.option("alpha_pattern", config.alpha_pattern, "other alphas, likewise", above(0));
        in.option("rslora", config.rslora, "scale alpha / sqrt(rank) instead");
        in.option("dora", config.dora, "DoRA (arXiv:2402.09353): the lengths of the weights' rows are trained too");
        in.option("seed", seed, "seed of the adapters' first weights", at_least(0));
      },
      "train low-rank adapters and leave the model as it is; the reference policy is the model without them");
}

}  // namespace rft
