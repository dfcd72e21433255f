#pragma once
/// tokenizer.json's `normalizer`.
#include <functional>
#include <string>

#include "text/spec.h"

namespace rft::text {

/// Valid UTF-8 to valid UTF-8. Thread-safe.
using Normalizer = std::function<std::string(std::string)>;

/// The identity for null. Throws UserError on a kind that is not supported.
Normalizer make_normalizer(const Spec& spec);
/// The one of type BertNormalizer.
Normalizer make_bert_normalizer(const Spec& spec);

/// NFD, as the `tokenizers` library has it.
std::string decomposed(std::string text);
std::string lower_case(const std::string& text);

}  // namespace rft::text
