#pragma once
/// What the transformers among the denoisers have in common (Peebles and Xie 2022, arXiv:2212.09748).
#include <optional>
#include <string>
#include <vector>

#include "nn/timestep_embedding.h"
#include "rft/nn/denoiser.h"
#include "rft/nn/recompute.h"

namespace rft {

/// LayerNorm without weights, turned by what the model is told: norm(x) * (1 + scale) + shift. x [N, L, D], the others
/// [N, D].
Tensor modulated(const Tensor& x, const Tensor& shift, const Tensor& scale);

/// x + gate * y; x, y [N, L, D], gate [N, D].
Tensor gated(const Tensor& x, const Tensor& gate, const Tensor& y);

/// Shifts, scales and gates of a block: `count` vectors of one linear layer.
struct Modulation {
  std::shared_ptr<Linear> linear;
  int64_t count = 0;
  Modulation() = default;
  /// Takes NAME.linear.
  Modulation(const WeightSource& source, const std::string& name, int64_t width, int64_t count);
  /// told [N, D], after its SiLU -> `count` of [N, D].
  std::vector<Tensor> operator()(const Tensor& told) const;
};

/// Two linear layers, four times as wide between them (diffusers' FeedForward).
struct FeedForward {
  std::shared_ptr<Linear> up, down;
  std::string activation = "gelu-approximate";
  FeedForward() = default;
  /// Takes NAME.net.0.proj and NAME.net.2.
  FeedForward(const WeightSource& source, const std::string& name, int64_t width);
  Tensor operator()(const Tensor& x) const;
};

/// Noise level, pooled text and, where the model is distilled for it, guidance as one vector (diffusers'
/// CombinedTimestep(Guidance)TextProjEmbeddings).
struct TextTimeEmbedding {
  TimestepMlp time, text;
  std::optional<TimestepMlp> guidance;
  TextTimeEmbedding() = default;
  TextTimeEmbedding(const WeightSource& source, int64_t width, int64_t pooled_width, bool guided);
  /// t, scale [N] in 0..1000 and thousandths, pooled [N, P] -> [N, D].
  Tensor operator()(const Tensor& t, const Tensor& pooled, const Tensor& scale = {}) const;
};

/// The text [N, L, width] and pooled text [N, pooled_width] that the rows tell, in `dtype`. Throws UserError where they
/// have none, or of another width.
std::pair<Tensor, Tensor> told_text(const Conditioning& told, int64_t width, int64_t pooled_width,
                                    at::ScalarType dtype);

/// Throws UserError where `sample` isn't [N, channels, h, w] with h and w multiples of `patch`, or a ControlNet is
/// given.
void check_sample(const Tensor& sample, int64_t channels, int64_t patch, const ControlResiduals* control);

/// The parts of Denoiser that don't depend on the architecture.
class TransformerDenoiser : public Denoiser {
 public:
  explicit TransformerDenoiser(std::string config_json) : config_json_(std::move(config_json)) {}
  const Weights& weights() const override { return weights_; }
  const std::string& config_json() const override { return config_json_; }
  void set_gradient_checkpointing(bool on) override { checkpoint_ = on; }

 protected:
  /// block(inputs), computed again in the backward pass where checkpointing is on.
  Tensor through(const BodyOfMany& block, const std::vector<Tensor>& inputs) const;
  Weights weights_;

 private:
  std::string config_json_;
  bool checkpoint_ = false;
};

}  // namespace rft
