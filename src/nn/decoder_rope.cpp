#include "nn/decoder_rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace rft {
namespace {

using Json = nlohmann::json;

/// The rope settings of one kind of layer, with what the model's own fields say where they are silent.
struct RopeSettings {
  ConfigFields fields;
  double theta, max_positions;
  int64_t dim;

  double original_positions() const { return fields.positive("original_max_position_embeddings", max_positions); }
  /// theta^(2i / dim) for i in 0 .. dim / 2.
  std::vector<double> wavelengths() const {
    std::vector<double> out;
    for (int64_t i = 0; i < dim / 2; ++i)
      out.push_back(std::pow(theta, 2.0 * static_cast<double>(i) / static_cast<double>(dim)));
    return out;
  }
  Rotary plain(double factor = 1) const {
    Rotary out;
    for (double w : wavelengths()) out.inv_freq.push_back(1.0 / w / factor);
    return out;
  }
};

/// Llama 3's scaling (transformers' _compute_llama3_parameters): long wavelengths are slowed down, short ones left,
/// those between blended.
Rotary llama3(const RopeSettings& rope) {
  const ConfigFields& in = rope.fields;
  double factor = in.positive("factor", 1), low = in.positive("low_freq_factor", 1),
         high = in.positive("high_freq_factor", 4);
  double original = in.positive("original_max_position_embeddings", 8192);
  if (!(high > low)) bad_input(in.where(), "rope scaling: high_freq_factor must be above low_freq_factor");
  Rotary out = rope.plain();
  for (double& f : out.inv_freq) {
    double wavelength = 2 * std::numbers::pi / f;
    if (wavelength < original / high) continue;
    if (wavelength > original / low) {
      f /= factor;
    } else {
      double smooth = (original / wavelength - low) / (high - low);
      f = (1 - smooth) * f / factor + smooth * f;
    }
  }
  return out;
}

/// YaRN (Peng et al. 2023, arXiv:2309.00071), as transformers' _compute_yarn_parameters: slow pairs are interpolated,
/// fast ones left, those between blended along a ramp; the attention factor scales cos and sin.
Rotary yarn(const RopeSettings& rope) {
  const ConfigFields& in = rope.fields;
  double factor = in.positive("factor", rope.max_positions / rope.original_positions());
  auto attention = [](double scale, double mscale) { return scale <= 1 ? 1 : 0.1 * mscale * std::log(scale) + 1; };
  Rotary out;
  double mscale = in.number("mscale", 0), mscale_all = in.number("mscale_all_dim", 0);
  out.scale =
      mscale != 0 && mscale_all != 0 ? attention(factor, mscale) / attention(factor, mscale_all) : attention(factor, 1);
  out.scale = in.positive("attention_factor", out.scale);
  auto dim = static_cast<double>(rope.dim);
  auto pair_that_turns = [&](double times) {
    return dim * std::log(rope.original_positions() / (times * 2 * std::numbers::pi)) / (2 * std::log(rope.theta));
  };
  double low = pair_that_turns(in.positive("beta_fast", 32)), high = pair_that_turns(in.positive("beta_slow", 1));
  if (in.flag("truncate", true)) low = std::floor(low), high = std::ceil(high);
  low = std::max(low, 0.0), high = std::min(high, dim - 1);
  if (low == high) high += 0.001;
  std::vector<double> wavelengths = rope.wavelengths();
  for (size_t i = 0; i < wavelengths.size(); ++i) {
    double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    out.inv_freq.push_back(ramp / (factor * wavelengths[i]) + (1 - ramp) / wavelengths[i]);
  }
  return out;
}

/// LongRoPE (Ding et al. 2024, arXiv:2402.13753), as Phi-3 has it: each pair is slowed by a factor of its own, by other
/// ones beyond the original length. Rows are kept within that length, where the short ones hold.
Rotary longrope(const RopeSettings& rope, DecoderConfig& config) {
  const ConfigFields& in = rope.fields;
  in.ignore({"long_factor", "factor", "long_mscale", "short_mscale"});
  const Json& factors = in.has("short_factor") ? in.raw("short_factor") : Json();
  if (!factors.is_array() || static_cast<int64_t>(factors.size()) != rope.dim / 2)
    bad_input(in.where(), "'short_factor' must be a list of ", rope.dim / 2, " numbers; got ", factors.dump());
  double original = rope.original_positions(), factor = rope.max_positions / original;
  Rotary out;
  out.scale = in.positive("attention_factor", factor <= 1 ? 1 : std::sqrt(1 + std::log(factor) / std::log(original)));
  std::vector<double> wavelengths = rope.wavelengths();
  for (size_t i = 0; i < wavelengths.size(); ++i) {
    if (!factors[i].is_number() || !(factors[i].get<double>() > 0))
      bad_input(in.where(), "'short_factor'[", i, "] must be a number above 0; got ", factors[i].dump());
    out.inv_freq.push_back(1 / (factors[i].get<double>() * wavelengths[i]));
  }
  config.max_positions = std::min(config.max_positions, static_cast<int64_t>(original));
  return out;
}

Rotary rotary_of(const RopeSettings& rope, DecoderConfig& config) {
  const ConfigFields& in = rope.fields;
  std::string type = in.text("rope_type", in.text("type", "default"));
  in.ignore({"type"});
  if (config.model_type == "phi3" && type == "yarn") type = "longrope";  // its first directories call it so
  if (type == "default") return rope.plain();
  if (type == "linear") return rope.plain(in.positive("factor", 1));
  if (type == "llama3") return llama3(rope);
  if (type == "yarn") return yarn(rope);
  if (type == "longrope" || type == "su") return longrope(rope, config);
  if (type == "dynamic") {  // scales only what lies beyond max_position_embeddings, where no row may go
    in.positive("factor", 1);
    return rope.plain();
  }
  bad_input(in.where(), "the rope type '", type,
            "' is not implemented; known: default, linear, dynamic, llama3, yarn, longrope");
}

Json settings(const ConfigFields& in) {
  bool now = in.has("rope_parameters"), before = in.has("rope_scaling");
  Json rope = now ? in.raw("rope_parameters") : before ? in.raw("rope_scaling") : Json::object();
  if (!rope.is_object()) bad_input(in.where(), "the rope settings must be a JSON object; got ", rope.dump());
  return rope;
}

/// `rope` are the settings of one kind of layer; `theta` its base where they are silent.
Rotary read_one(const ConfigFields& in, const Json& rope, double theta, DecoderConfig& config) {
  if (!rope.is_object()) bad_input(in.where(), "the rope settings must be a JSON object; got ", rope.dump());
  RopeSettings out{ConfigFields(rope, in.where()), 0, static_cast<double>(config.max_positions), 0};
  out.theta = out.fields.positive("rope_theta", theta);
  double partial = out.fields.number("partial_rotary_factor", in.number("partial_rotary_factor", 1.0));
  if (!(partial > 0 && partial <= 1)) bad_input(in.where(), "partial_rotary_factor must be in (0, 1]; got ", partial);
  out.dim = static_cast<int64_t>(static_cast<double>(config.head_dim) * partial);
  if (out.dim % 2) bad_input(in.where(), "partial_rotary_factor must leave an even part of head_dim; got ", partial);
  if (!out.fields.has("original_max_position_embeddings") && in.has("original_max_position_embeddings")) {
    Json with = rope;
    with["original_max_position_embeddings"] = in.raw("original_max_position_embeddings");
    return read_one(in, with, theta, config);
  }
  Rotary rotary = rotary_of(out, config);
  out.fields.finish();
  return rotary;
}

}  // namespace

void read_rope(const ConfigFields& in, DecoderConfig& config, double family_theta) {
  if (config.head_dim % 2) bad_input(in.where(), "head_dim must be even; got ", config.head_dim);
  Json rope = settings(in);
  double theta = in.positive("rope_theta", family_theta);
  double local = in.positive("rope_local_base_freq", 10000.0);
  bool local_layers = std::any_of(config.kinds.begin(), config.kinds.end(), [](auto& kind) { return kind.local_rope; });
  in.ignore({"partial_rotary_factor", "original_max_position_embeddings", "rope_scaling"});
  bool of_kinds = rope.contains("full_attention") || rope.contains("sliding_attention");
  config.rotary = read_one(in, of_kinds ? rope.value("full_attention", Json::object()) : rope, theta, config);
  if (local_layers)
    config.local_rotary =
        read_one(in, of_kinds ? rope.value("sliding_attention", Json::object()) : Json::object(), local, config);
}

}  // namespace rft
