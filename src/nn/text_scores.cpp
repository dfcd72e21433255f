#include "rft/nn/text_scores.h"

#include <ATen/ATen.h>

#include "rft/core/error.h"
#include "rft/core/noise.h"
#include "rft/ops/gather_rows.h"

namespace rft {

Tensor text_scores(const Decoder& model, const Packed& rows, const Tensor& index, const Decoder::Forward& options) {
  int64_t labels = model.config().labels;
  if (labels != 1 && labels != 2) run_failed("reward model", "a score head of one label or two is read; got ", labels);
  Tensor hidden = model.forward(rows, options);
  Tensor inverse = at::full({hidden.size(0)}, -1, at::kLong);
  inverse.index_copy_(0, index, at::arange(index.numel(), at::kLong));
  const DecoderWeights& weights = model.weights(options.adapters);
  Tensor logits = apply(Linear{weights.head, weights.head_bias, {}}, ops::gather_rows(hidden, index, inverse));
  Tensor score = labels == 1 ? logits.select(1, 0) : logits.select(1, 1).sub(logits.select(1, 0));
  return score.to(hidden.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
}

std::unique_ptr<Decoder> with_new_score_head(const Decoder& model, bool every_token, int64_t pad_id,
                                             at::ScalarType dtype, uint64_t seed) {
  int64_t labels = every_token ? 2 : 1;
  DecoderConfig config = model.config().with_score_head(labels, every_token, pad_id);
  auto tensors = model.hugging_face_tensors();
  tensors.erase("lm_head.weight");
  tensors["score.weight"] =
      standard_normal({seed}, {labels, config.hidden_size}).squeeze(0).mul(config.initializer_range);
  if (every_token) tensors["score.bias"] = at::zeros({labels});
  return std::make_unique<Decoder>(config, tensors, dtype, "reward model");
}

}  // namespace rft
