#pragma once
/// The rope settings of a decoder's config.json.
#include "nn/config_fields.h"
#include "rft/nn/decoder.h"

namespace rft {

/// Sets config.rotary, and config.local_rotary where layers of their own kind have one. Needs head_dim, max_positions
/// and kinds; lowers max_positions to what the angles hold for (dynamic, longrope). Reads rope_parameters (as
/// transformers 5 writes them) or rope_theta and rope_scaling (as directories on the Hub have them).
/// `theta` is the family's base where they are silent.
void read_rope(const ConfigFields& in, DecoderConfig& config, double theta = 1e4);

}  // namespace rft
