#pragma once
#include "rft/nn/seq2seq.h"

namespace rft {

std::unique_ptr<Seq2Seq> make_t5_seq2seq(const std::string& config_json, const WeightSource& source,
                                         const std::string& where);
std::unique_ptr<Seq2Seq> make_bart(const std::string& config_json, const WeightSource& source,
                                   const std::string& where);
/// The standard deviation that transformers initialises T5's matrix `name` with (T5PreTrainedModel._init_weights).
double t5_deviation(const std::string& name, const Tensor& weight, const std::string& config_json);

}  // namespace rft
