#include "rft/reward/film_frames.h"

#include <cmath>

#include "image_support.h"
#include "rft/core/config.h"
#include "rft/core/registry.h"

namespace rft::film_frames_test {
namespace {

using testing::message_of;
using testing::pictures;

FilmFrames made(const std::string& text) {
  register_builtins();
  return FilmFrames(read_options<FilmFrames::Options>(Config::parse(text, "test")));
}

/// Strips [2, 3, 5 * 2, 2] whose frames have one brightness each.
const std::vector<std::vector<float>> kBrightness{{0.1, 0.9, 0.5, 0.3, 0.7}, {0.2, 0.2, 0.8, 0.6, 0.4}};
Tensor strips() {
  Tensor out = at::zeros({2, 3, 10, 2});
  for (int64_t b = 0; b < 2; ++b)
    for (int64_t f = 0; f < 5; ++f) out[b].narrow(1, 2 * f, 2).fill_(kBrightness[b][f]);
  return out;
}
/// What colour_target says of a grey picture where black is wanted.
double worth(double brightness) { return -3 * brightness * brightness; }

TEST(FilmFrames, AreWeighedLessTowardsTheEnds) {
  for (double lambda : {0.0, 0.5, 1.0}) {
    FilmFrames reward =
        made(cat("{frames: 5, attenuation: ", lambda, ", rewards: [{type: colour_target, colour: [0, 0, 0]}]}"));
    Rewards got = reward.score(pictures(strips()));
    for (size_t b = 0; b < 2; ++b) {
      double sum = 0, weights = 0;
      for (int f = 0; f < 5; ++f) {
        double weight = std::exp(-lambda * std::abs(f - 2));
        sum += weight * worth(kBrightness[b][static_cast<size_t>(f)]), weights += weight;
      }
      EXPECT_NEAR(got.value[static_cast<int64_t>(b)].item<double>(), sum / weights, 1e-6) << lambda;
    }
    ASSERT_EQ(got.components.size(), 1u);
    EXPECT_TRUE(got.components[0].value.equal(got.value));
  }
}

TEST(FilmFrames, ASegmentIsScoredByItsMiddleFrame) {
  Rewards one =
      made("{frames: 5, segments: 1, rewards: [{type: colour_target, colour: [0, 0, 0]}]}").score(pictures(strips()));
  EXPECT_NEAR(one.value[0].item<double>(), worth(0.5), 1e-6);
  Rewards two =
      made("{frames: 5, segments: 2, rewards: [{type: colour_target, colour: [0, 0, 0]}]}").score(pictures(strips()));
  EXPECT_NEAR(two.value[0].item<double>(), (worth(0.9) + worth(0.3)) / 2, 1e-6);
}

TEST(FilmFrames, GradientReachesTheFramesThatCountAlone) {
  Tensor x = strips().requires_grad_();
  made("{frames: 5, segments: 1, rewards: [{type: colour_target, colour: [0, 0, 0]}]}")
      .score(pictures(x))
      .value.sum()
      .backward();
  EXPECT_EQ(x.grad().narrow(2, 0, 4).abs().max().item<double>(), 0);
  EXPECT_EQ(x.grad().narrow(2, 6, 4).abs().max().item<double>(), 0);
  EXPECT_NEAR(x.grad()[0][0][4][0].item<double>(), -2 * 0.5 / 4, 1e-6);  // d/dx of -(mean of 4 pixels)^2
}

TEST(FilmFrames, AFrameThatCanNotBeScoredIsNamed) {
  Tensor bad = strips();
  bad[1].narrow(1, 6, 2).fill_(std::nan(""));
  Rewards got = made("{frames: 5, rewards: [{type: colour_target, colour: [0, 0, 0]}]}").score(pictures(bad));
  EXPECT_TRUE(std::isfinite(got.value[0].item<double>()));
  EXPECT_TRUE(std::isnan(got.value[1].item<double>()));
  EXPECT_EQ(got.errors[0], "");
  EXPECT_EQ(got.errors[1].rfind("frame 3: ", 0), 0u) << got.errors[1];
  std::string message = message_of<RunError>(
      [&] { made("{frames: 4, rewards: [{type: colour_target, colour: [0, 0, 0]}]}").score(pictures(strips())); });
  EXPECT_NE(message.find("a strip of 4 frames"), std::string::npos) << message;
  EXPECT_THROW(made("{frames: 4, segments: 5, rewards: [{type: colour_target, colour: [0, 0, 0]}]}"), UserError);
}

}  // namespace
}  // namespace rft::film_frames_test
