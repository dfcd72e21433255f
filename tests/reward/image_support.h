#pragma once
/// What the tests of rewards on images share.
#include <ATen/ATen.h>

#include "rft/core/experience.h"
#include "rft/core/extra.h"
#include "rft/io/safetensors.h"
#include "rft/reward/reward_model.h"
#include "support.h"

namespace rft::testing {

inline std::string image_data(const std::string& name) { return fixture("parity/data/image_rewards/" + name); }

/// What the peers computed (make_image_rewards.py).
inline const Tensor& peer(const std::string& name) {
  static const auto tensors = load_safetensors(image_data("values.safetensors")).tensors;
  return tensors.at(name);
}

/// A batch of these pictures with the text column `column` (empty texts where none are given).
inline Experience pictures(const Tensor& images, const std::string& column = "prompt",
                           std::vector<std::string> texts = {}) {
  Experience batch;
  texts.resize(static_cast<size_t>(images.size(0)));
  batch.context.set_text(column, std::move(texts));
  batch.extra.set(extra::image, images);
  return batch;
}

/// The largest difference between the gradient of the reward's sum and central differences, in float64.
inline double gradient_error(RewardModel& model, Experience batch, const Tensor& images, double step = 1e-5) {
  Tensor x = images.to(at::kDouble).clone().requires_grad_(true);
  batch.extra.set(extra::image, x);
  model.score(batch).value.sum().backward();
  Tensor gradient = x.grad().flatten(), probe = x.detach().clone();
  double worst = 0;
  for (int64_t i = 0; i < probe.numel(); i += 7) {
    auto at_shift = [&](double shift) {
      Tensor moved = probe.clone();
      moved.view(-1)[i] += shift;
      batch.extra.set(extra::image, moved);
      return model.score(batch).value.sum().item<double>();
    };
    double difference = (at_shift(step) - at_shift(-step)) / (2 * step);
    worst = std::max(worst, std::abs(difference - gradient[i].item<double>()));
  }
  return worst;
}

}  // namespace rft::testing
