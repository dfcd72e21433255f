#include <ATen/ATen.h>

#include <map>

#include "reward/images.h"
#include "reward/vision_model.h"
#include "rft/core/error.h"
#include "rft/io/safetensors.h"
#include "rft/reward/vision_rewards.h"

namespace rft {
namespace {

/// "layers.N.weight" and "layers.N.bias", in the order of N.
std::vector<Linear> read_head(const std::string& file) {
  std::map<int64_t, Linear> layers;
  for (const auto& [name, tensor] : load_safetensors(file).tensors) {
    int number = -1, end = 0;
    bool layer = std::sscanf(name.c_str(), "layers.%4d.%n", &number, &end) == 1 && end > 0 && number >= 0;
    std::string part = layer ? name.substr(static_cast<size_t>(end)) : "";
    if (part != "weight" && part != "bias")
      bad_input(file, "an aesthetic head has layers.N.weight and layers.N.bias; got ", name);
    (part == "weight" ? layers[number].weight : layers[number].bias) = tensor.to(at::kFloat);
  }
  if (layers.empty()) bad_input(file, "the head has no layers");
  std::vector<Linear> out;
  for (auto& [number, layer] : layers) {
    if (!layer.weight.defined() || layer.weight.dim() != 2)
      bad_input(file, "layers.", number, ".weight must be [out, in]; ",
                layer.weight.defined() ? cat("it is ", layer.weight.sizes()) : "it is missing");
    if (layer.bias.defined() && layer.bias.sizes() != at::IntArrayRef{layer.weight.size(0)})
      bad_input(file, "layers.", number, ".bias must be [", layer.weight.size(0), "]; it is ", layer.bias.sizes());
    out.push_back(std::move(layer));
  }
  return out;
}

void check_widths(const std::vector<Linear>& head, int64_t width, const std::string& file) {
  for (const Linear& layer : head) {
    if (layer.weight.size(1) != width)
      bad_input(file, "a layer takes ", layer.weight.size(1),
                " numbers, but what comes before it (the encoder or a "
                "layer) gives ",
                width);
    width = layer.weight.size(0);
  }
  if (width != 1) bad_input(file, "the last layer must give one number; it gives ", width);
}

}  // namespace

void Aesthetic::Options::visit(OptionVisitor& v) {
  model_options(v, path, "a Hugging Face directory (CLIPModel, CLIPVisionModelWithProjection)", batch_size);
  v.option("head", head, "a safetensors file with layers.N.weight and layers.N.bias", required());
}

Aesthetic::Aesthetic(Options options)
    : options_(std::move(options)),
      vision_(load_vision_encoder(options_.path, "aesthetic.path")),
      head_(read_head(options_.head)) {
  int64_t side = vision_->image_size();
  check_widths(head_, vision_->forward(at::zeros({1, 3, side, side})).pooled.size(1), options_.head);
}

Rewards Aesthetic::score(const Experience& batch) {
  Tensor x = encode_unit(*vision_, images_of(batch, "aesthetic"), options_.batch_size);
  for (const Linear& layer : head_) x = apply(layer, x);
  return image_rewards("aesthetic", x.squeeze(1));
}

}  // namespace rft
