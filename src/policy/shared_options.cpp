#include "policy/shared_options.h"

namespace rft {

at::ScalarType dtype_of(const std::string& name) {
  if (name == "bfloat16") return at::kBFloat16;
  return name == "float64" ? at::kDouble : at::kFloat;
}

void length_options(OptionVisitor& v, std::optional<int64_t>& max_length, std::string& too_long) {
  v.option(
      "max_length", max_length,
      "tokens of a row of the data at most, of prompt and completion together (of a prompt that is to be answered, "
      "its own); null = as many as the model has positions for",
      at_least(2).in("tokens"));
  v.option(
      "too_long", too_long,
      "a row that has more: the run does not start; it is left out; its end is cut; its beginning is. How many are "
      "is said; a row with nothing left to learn is left out",
      one_of({"error", "drop", "keep_start", "keep_end"}));
}

void add_parameters(std::vector<Parameter>& out, const Linear& linear) {
  for (const Adapter& adapter : linear.adapters) {
    if (adapter.set != 0) continue;
    out.push_back({adapter.module + ".lora_A", adapter.a, true});
    out.push_back({adapter.module + ".lora_B", adapter.b, true});
    if (adapter.magnitude.defined()) out.push_back({adapter.module + ".lora_magnitude", adapter.magnitude, true});
  }
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
        in.option(
            "modules_to_save", config.modules_to_save,
            "modules of language models that are trained whole beside the adapters: embed_tokens, lm_head, norm; a "
            "name is the end of a module's path");
        in.option("rslora", config.rslora, "scale alpha / sqrt(rank) instead");
        in.option("dora", config.dora, "DoRA (arXiv:2402.09353): the lengths of the weights' rows are trained too");
        in.option("seed", seed, "seed of the adapters' first weights", at_least(0));
      },
      "train low-rank adapters and leave the model as it is; the reference policy is the model without them");
}

}  // namespace rft
