#pragma once
#include <cstdint>
#include <string>

namespace rft::app {

struct DigitsArguments {
  std::string from = "examples/digits";  ///< digits.png and labels.txt
  std::string out;
  int64_t seed = 0;
  int64_t width = 32;                  ///< channels of the denoiser's first level
  std::string prediction = "epsilon";  ///< prediction_type of model/
  bool flow = false;                   ///< a flow model instead of a diffusion model
};

/// Real images for the image quick start: PNG files, train.jsonl and test.jsonl (image, control: a coarse picture of
/// it, class_label, digit), classes.jsonl (a row a class, to sample from), unreliable.jsonl (half of train.jsonl,
/// the labels of 5 to 9 mixed up), unseen.jsonl (the other half), and the untrained models.
void write_digits(const DigitsArguments& arguments);

/// model/ (a diffusers directory: a class-conditional U-Net on pixels), controlled/ (a U-Net that is told nothing, and
/// its ControlNet; not for flows) and classifier/ (a ViT).
void write_digit_models(const DigitsArguments& arguments);

}  // namespace rft::app
