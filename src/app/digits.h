#pragma once
#include <cstdint>
#include <string>

namespace rft::app {

struct DigitsArguments {
  std::string from = "examples/digits";  ///< digits.png and labels.txt
  std::string out;
  int64_t seed = 0;
  int64_t width = 32;  ///< channels of the denoiser's first level
  bool flow = false;   ///< a flow model instead of a diffusion model
};

/// Real images for the image quick start: PNG files, train.jsonl and test.jsonl (image, class_label, digit),
/// classes.jsonl (a row a class, to sample from), unreliable.jsonl (train.jsonl with most labels of 5 to 9 mixed up),
/// and untrained models: model/ (a diffusers directory: a class-conditional U-Net on pixels), classifier/ (a ViT).
void write_digits(const DigitsArguments& arguments);

}  // namespace rft::app
