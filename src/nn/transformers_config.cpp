#include "nn/transformers_config.h"

#include "rft/core/error.h"

namespace rft {

const std::vector<const char*>& general_fields() {
  static const std::vector<const char*> names{"architectures",
                                              "transformers_version",
                                              "torch_dtype",
                                              "dtype",
                                              "initializer_range",
                                              "initializer_factor",
                                              "label2id",
                                              "id2label",
                                              "num_labels",
                                              "problem_type",
                                              "finetuning_task",
                                              "task_specific_params",
                                              "tokenizer_class",
                                              "return_dict",
                                              "output_hidden_states",
                                              "output_attentions",
                                              "output_scores",
                                              "return_dict_in_generate",
                                              "torchscript",
                                              "use_bfloat16",
                                              "tf_legacy_loss",
                                              "tie_word_embeddings",
                                              "tie_encoder_decoder",
                                              "is_encoder_decoder",
                                              "gradient_checkpointing",
                                              "use_cache",
                                              "prefix",
                                              "max_length",
                                              "min_length",
                                              "do_sample",
                                              "early_stopping",
                                              "num_beams",
                                              "num_beam_groups",
                                              "diversity_penalty",
                                              "temperature",
                                              "top_k",
                                              "top_p",
                                              "typical_p",
                                              "repetition_penalty",
                                              "length_penalty",
                                              "no_repeat_ngram_size",
                                              "encoder_no_repeat_ngram_size",
                                              "bad_words_ids",
                                              "num_return_sequences",
                                              "forced_bos_token_id",
                                              "forced_eos_token_id",
                                              "remove_invalid_values",
                                              "exponential_decay_length_penalty",
                                              "suppress_tokens",
                                              "begin_suppress_tokens",
                                              "decoder_start_token_id",
                                              "sep_token_id"};
  return names;
}

void ignore_general_fields(ModelConfig& config) {
  config.ignore(general_fields());
  config.only("is_decoder", {false}), config.only("add_cross_attention", {false});
  config.only("chunk_size_feed_forward", {0}), config.only("cross_attention_hidden_size");
  config.only("pruned_heads", {nlohmann::json::object()});
}

Norm norm_of_either_name(const WeightSource& source, const std::string& name, int64_t width) {
  source.rename(name + ".gamma", name + ".weight"), source.rename(name + ".beta", name + ".bias");
  return source.norm(name, width);
}

std::vector<std::string> label_names(ModelConfig& config) {
  const auto& names = config.raw("id2label");
  std::vector<std::string> out;
  if (!names.is_object())
    for (int64_t i = 0; i < config.integer("num_labels", 2); ++i) out.push_back(cat("LABEL_", i));
  for (size_t i = 0; i < names.size(); ++i) {
    auto found = names.find(std::to_string(i));
    if (found == names.end() || !found->is_string()) config.refuse("id2label", "must name the labels 0, 1, 2, ...");
    out.push_back(found->get<std::string>());
  }
  if (out.empty()) config.refuse("id2label", "must name at least one label");
  return out;
}

}  // namespace rft
