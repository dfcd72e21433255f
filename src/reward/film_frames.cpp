#include "rft/reward/film_frames.h"

#include <ATen/ATen.h>

#include "reward/images.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/reward/weighted_sum.h"

namespace rft {

void FilmFrames::Options::visit(OptionVisitor& v) {
  v.option("frames", frames, "how many frames a strip has: rollout.frames", at_least(1).in("frames"));
  v.option("attenuation", attenuation,
           "a frame counts e^-attenuation less for each frame that it is from the middle; 0 = all alike", at_least(0));
  v.option("segments", segments, "score the middle frame of each of so many pieces alone; 0 = every frame",
           at_least(0));
  v.option("rewards", rewards, "blocks {type, weight: 1, name, ...}, of a picture", required());
}

FilmFrames::FilmFrames(const Options& options) : options_(options) {
  if (options.segments > options.frames)
    bad_input("film_frames.segments", "must be at most the ", options.frames, " frames; got ", options.segments);
  WeightedSum::Options inner;
  inner.rewards = options.rewards;
  rewards_ = std::make_unique<WeightedSum>(inner);
}

std::vector<int64_t> FilmFrames::scored() const {
  const int64_t pieces = options_.segments ? options_.segments : options_.frames;
  std::vector<int64_t> out;
  for (int64_t i = 0; i < pieces; ++i) out.push_back((2 * i + 1) * options_.frames / (2 * pieces));
  return out;
}

Rewards FilmFrames::score(const Experience& batch) {
  Tensor strips = images_of(batch, "film_frames");
  const int64_t B = strips.size(0), F = options_.frames, height = strips.size(2);
  if (height % F)
    run_failed("film_frames", "a strip of ", F, " frames must be a multiple of that high; the samples have ", height,
               " pixels");
  const std::vector<int64_t> chosen = scored();
  const auto K = static_cast<int64_t>(chosen.size());
  Tensor places = at::tensor(chosen, at::kLong);
  Tensor frames = strips.view({B, strips.size(1), F, height / F, strips.size(3)}).index_select(2, places);
  Experience each = batch.select(at::arange(B, at::kLong).repeat_interleave(K));
  each.extra.set(extra::image, frames.transpose(1, 2).flatten(0, 1));
  Rewards of_frames = rewards_->score(each);

  Tensor away = places.to(at::kDouble).sub((static_cast<double>(F) - 1) / 2).abs();
  Tensor weight = away.mul(-options_.attenuation).exp();
  weight = weight.div(weight.sum());
  auto of_videos = [&](const Tensor& value) { return value.view({B, K}).mul(weight.to(value.scalar_type())).sum(1); };
  Rewards out;
  out.value = of_videos(of_frames.value);
  for (const auto& part : of_frames.components)
    out.components.push_back({part.name, of_videos(part.value), part.weight});
  out.errors.assign(static_cast<size_t>(B), "");
  for (size_t i = 0; i < of_frames.errors.size(); ++i)
    if (std::string& message = out.errors[i / static_cast<size_t>(K)]; message.empty() && !of_frames.errors[i].empty())
      message = cat("frame ", chosen[i % static_cast<size_t>(K)], ": ", of_frames.errors[i]);
  return out;
}

}  // namespace rft
