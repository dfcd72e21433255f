#pragma once
/// What a denoiser is told of a row: its prompt, class and control image.
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "policy/row_image.h"
#include "rft/core/fields.h"
#include "rft/policy/image_pipeline.h"

namespace rft {

class Conditioner {
 public:
  /// `null_class`: the class that stands for none; -1: the model has no such class.
  Conditioner(const ImagePipeline& pipeline, int64_t null_class);

  /// Columns of rows that the model reads: texts (prompt, negative_prompt, ...), "class_label" [B] int64, "control"
  /// [B, 3, H, W]. Throws UserError with file:line.
  Fields contexts(const Rows& rows, int64_t height, int64_t width) const;
  /// What the denoiser is told of these rows. Texts are encoded once each and kept.
  Conditioning of(const Fields& context, int64_t height, int64_t width);
  /// The same with nothing asked for (negative_prompt, or the null class): the other half of guidance. Throws UserError
  /// where the model has no such condition.
  Conditioning none(const Fields& context, int64_t height, int64_t width);
  /// Rows of `dropped` [B] bool are told nothing (training for guidance).
  Conditioning drop(const Conditioning& told, const Conditioning& nothing, const Tensor& dropped) const;

 private:
  struct Encoded {
    Tensor text;    ///< [L, D]
    Tensor pooled;  ///< [P], or undefined
  };
  const Encoded& encode(const std::string& prompt);
  std::vector<TextEncoder::Output> towers(const std::string& prompt);
  void add_texts(Conditioning& out, const std::vector<std::string>& prompts, bool zero_empty);
  Conditioning wordless(const Fields& context, int64_t height, int64_t width) const;
  Tensor time_ids(int64_t rows, int64_t height, int64_t width) const;

  const ImagePipeline& pipeline_;
  int64_t null_class_;
  std::map<std::string, Encoded> encoded_;
  bool told_truncation_ = false;
};

/// The rows `index` of every field; rows of both, one after another.
Conditioning select(const Conditioning& c, const Tensor& index);
Conditioning concat(const Conditioning& a, const Conditioning& b);

}  // namespace rft
