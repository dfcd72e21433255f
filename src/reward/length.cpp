#include "rft/reward/length.h"

#include <ATen/ATen.h>

#include <cmath>

#include "reward/per_row.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"

namespace rft {

void LengthReward::Options::visit(OptionVisitor& v) {
  v.option("form", form, "how the length becomes a reward", one_of({"soft_overlong", "target", "linear"}));
  v.option("unit", unit, "what is counted; characters are Unicode code points", one_of({"tokens", "characters"}));
  v.option("max", max, "soft_overlong: from this length on the reward is -1", at_least(1));
  v.option("cache", cache, "soft_overlong: the reward falls over the last so many before max", at_least(1));
  v.option("target", target, "target: the length that is best", at_least(0));
  v.option("scale", scale, "target, linear: the length that counts 1; negative for linear rewards short completions");
}

LengthReward::LengthReward(Options options) : options_(std::move(options)) {
  auto need = [&](const std::optional<int64_t>& value, const char* name) {
    if (!value) bad_input("length", "the form ", options_.form, " needs the option '", name, "'");
  };
  if (options_.form == "soft_overlong") need(options_.max, "max"), need(options_.cache, "cache");
  if (options_.form == "target") need(options_.target, "target");
  if (options_.form == "soft_overlong" && *options_.cache > *options_.max)
    bad_input("length.cache", "must be at most max ", *options_.max, "; got ", *options_.cache);
  if (options_.scale == 0 || !std::isfinite(options_.scale))
    bad_input("length.scale", "must be finite and not 0; got ", options_.scale);
}

double LengthReward::value(double length) const {
  if (options_.form == "linear") return length / options_.scale;
  if (options_.form == "target") return -std::abs(length - static_cast<double>(*options_.target)) / options_.scale;
  double max = static_cast<double>(*options_.max), cache = static_cast<double>(*options_.cache);
  if (length <= max - cache) return 0;
  return length <= max ? (max - cache - length) / cache : -1;
}

Rewards LengthReward::score(const Experience& batch) {
  if (options_.unit == "tokens") {
    if (!batch.mask.defined())
      run_failed("length", "these completions have no tokens; count characters instead (unit: characters)");
    auto lengths = batch.mask.sum(1).to(at::kLong);
    return score_rows(batch, "length",
                      [&](int64_t row) { return value(static_cast<double>(lengths[row].item<int64_t>())); });
  }
  const auto& completions = batch.context.text(extra::completion);
  return score_rows(batch, "length", [&](int64_t row) {
    int64_t characters = 0;
    for (char c : completions.at(row))
      characters += (static_cast<unsigned char>(c) & 0xC0) != 0x80;  // not a continuation byte
    return value(static_cast<double>(characters));
  });
}

}  // namespace rft
