#pragma once
#include "rft/nn/text_encoder.h"

namespace rft {

std::unique_ptr<TextEncoder> make_t5(const std::string& config_json, const WeightSource& source,
                                     const std::string& where);

/// Throws UserError unless ids are [N, L], L >= 1 and at most `positions` (0: any), each below `vocabulary`.
void check_token_ids(const Tensor& ids, int64_t vocabulary, int64_t positions, const std::string& where);

}  // namespace rft
