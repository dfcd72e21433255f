#include "policy/conditioner.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/core/log.h"

namespace rft {
namespace {

constexpr char kClass[] = "class_label";
constexpr char kControl[] = "control";
constexpr char kNegative[] = "negative_prompt";
/// Tokens that T5 is given, padded; SD3 without it is told so many zero vectors in its place.
constexpr int64_t kSd3T5Tokens = 256, kFluxT5Tokens = 512;

std::vector<Tensor Conditioning::*> fields() {
  return {&Conditioning::class_labels, &Conditioning::text,     &Conditioning::pooled,
          &Conditioning::time_ids,     &Conditioning::guidance, &Conditioning::control};
}

std::vector<int64_t> padded_ids(const Tokenizer& tokenizer, const std::string& prompt, int64_t length,
                                bool& truncated) {
  auto ids = tokenizer.encode(prompt);
  if (static_cast<int64_t>(ids.size()) > length) {
    int64_t last = ids.back();
    ids.resize(static_cast<size_t>(length)), ids.back() = last, truncated = true;
  }
  int64_t pad = tokenizer.pad_id() >= 0 ? tokenizer.pad_id() : tokenizer.eos_id();
  ids.resize(static_cast<size_t>(length), pad);
  return ids;
}

int64_t joint_width(const Denoiser& denoiser) {
  return nlohmann::json::parse(denoiser.config_json()).value("joint_attention_dim", int64_t{4096});
}

}  // namespace

Conditioner::Conditioner(const ImagePipeline& pipeline, int64_t null_class)
    : pipeline_(pipeline), null_class_(null_class) {}

Fields Conditioner::contexts(const Rows& rows, int64_t height, int64_t width) const {
  Fields out;
  const Fields columns = rows.columns();
  for (const auto& [name, column] : columns.texts()) out.set_text(name, column);
  if (!pipeline_.text_encoders.empty())
    for (int64_t i = 0; i < rows.size(); ++i) rows.string(i, extra::prompt);
  int64_t classes = pipeline_.denoiser->num_classes();
  if (classes > 0) {
    auto labels = at::empty({rows.size()}, at::kLong);
    for (int64_t i = 0; i < rows.size(); ++i) {
      int64_t label = rows.integer(i, kClass);
      if (label < 0 || label >= classes)
        bad_input(rows.where(i), "`", kClass, "` must be in 0 .. ", classes - 1, "; got ", label);
      labels.data_ptr<int64_t>()[i] = label;
    }
    out.set(kClass, labels);
  }
  if (pipeline_.controlnet) {
    std::vector<Tensor> images;
    for (int64_t i = 0; i < rows.size(); ++i) images.push_back(sized_row_image(rows, i, kControl, height, width));
    out.set(kControl, at::stack(images));
  }
  if (!out.has_text(extra::prompt)) out.set_text(extra::prompt, std::vector<std::string>(rows.size()));
  return out;
}

std::vector<TextEncoder::Output> Conditioner::towers(const std::string& prompt) {
  std::vector<TextEncoder::Output> out;
  constexpr int64_t kNone = std::numeric_limits<int64_t>::max();
  int64_t shortest = kNone;
  for (size_t i = 0; i < pipeline_.text_encoders.size(); ++i) {
    const TextEncoder& encoder = *pipeline_.text_encoders[i];
    int64_t told = pipeline_.tokenizers[i].max_length(), most = encoder.max_positions();
    if (most > 0 && told > 0) most = std::min(told, most);
    if (most == 0) most = pipeline_.text_encoders.size() == 2 ? kFluxT5Tokens : kSd3T5Tokens;
    bool cut = false;
    auto ids = padded_ids(pipeline_.tokenizers[i], prompt, most, cut);
    if (cut) shortest = std::min(shortest, most);
    out.push_back(encoder.forward(at::tensor(ids, at::kLong).unsqueeze(0)));
  }
  if (shortest != kNone && !told_truncation_) {
    log::warn(cat("a prompt is longer than the text encoder's ", shortest, " tokens and is cut off (said once): \"",
                  prompt.substr(0, 80), "...\""));
    told_truncation_ = true;
  }
  return out;
}

const Conditioner::Encoded& Conditioner::encode(const std::string& prompt) {
  if (auto found = encoded_.find(prompt); found != encoded_.end()) return found->second;
  at::NoGradGuard no_grad;
  auto towers = this->towers(prompt);
  Encoded out;
  const bool t5 = !towers.back().pooled.defined();
  if (pipeline_.denoiser_part == "transformer" && t5 && towers.size() == 2) {  // Flux
    out.text = towers[1].hidden[0], out.pooled = towers[0].pooled[0];
  } else if (pipeline_.denoiser_part == "transformer") {  // SD3: CLIP's towers side by side, then T5 or its place
    Tensor clip = at::cat({towers[0].penultimate, towers.at(1).penultimate}, -1);
    int64_t width = joint_width(*pipeline_.denoiser);
    clip = at::constant_pad_nd(clip, {0, width - clip.size(2)});
    Tensor more = t5 ? towers[2].hidden : at::zeros({1, kSd3T5Tokens, width}, clip.options());
    out.text = at::cat({clip, more}, 1)[0];
    out.pooled = at::cat({towers[0].pooled, towers[1].pooled}, -1)[0];
  } else if (towers.size() == 2) {  // SDXL
    out.text = at::cat({towers[0].penultimate, towers[1].penultimate}, -1)[0];
    out.pooled = towers[1].pooled[0];
  } else {
    out.text = towers[0].hidden[0];
  }
  return encoded_.emplace(prompt, out).first->second;
}

void Conditioner::add_texts(Conditioning& out, const std::vector<std::string>& prompts, bool zero_empty) {
  std::vector<Tensor> texts, pooled;
  for (const auto& prompt : prompts) {
    const Encoded& one = encode(prompt);
    bool zero = zero_empty && prompt.empty();
    texts.push_back(zero ? at::zeros_like(one.text) : one.text);
    if (one.pooled.defined()) pooled.push_back(zero ? at::zeros_like(one.pooled) : one.pooled);
  }
  out.text = at::stack(texts);
  if (!pooled.empty()) out.pooled = at::stack(pooled);
}

Tensor Conditioner::time_ids(int64_t rows, int64_t height, int64_t width) const {
  bool wanted = pipeline_.denoiser_part == "unet" && pipeline_.text_encoders.size() == 2;
  if (!wanted) return {};
  auto h = static_cast<double>(height), w = static_cast<double>(width);
  return at::tensor({h, w, 0.0, 0.0, h, w}, at::kFloat).unsqueeze(0).expand({rows, 6}).contiguous();
}

/// All but the texts.
Conditioning Conditioner::wordless(const Fields& context, int64_t height, int64_t width) const {
  Conditioning out;
  out.class_labels = context.find(kClass);
  out.control = context.find(kControl);
  out.time_ids = time_ids(context.rows(), height, width);
  return out;
}

Conditioning Conditioner::of(const Fields& context, int64_t height, int64_t width) {
  Conditioning out = wordless(context, height, width);
  if (!pipeline_.text_encoders.empty()) add_texts(out, context.text(extra::prompt), false);
  return out;
}

Conditioning Conditioner::none(const Fields& context, int64_t height, int64_t width) {
  Conditioning out = wordless(context, height, width);
  if (out.class_labels.defined()) {
    if (null_class_ < 0)
      bad_input("policy.null_class", "guidance and condition dropout need the class that stands for none; got none");
    out.class_labels = at::full_like(out.class_labels, null_class_);
  }
  if (!pipeline_.text_encoders.empty()) {
    std::vector<std::string> prompts(static_cast<size_t>(context.rows()));
    if (context.has_text(kNegative)) prompts = context.text(kNegative);
    add_texts(out, prompts, pipeline_.zero_empty_prompt);
  }
  if (!out.class_labels.defined() && !out.text.defined())
    bad_input("rollout.guidance", "the model takes neither prompt nor class: there is nothing to guide; set it to 1");
  return out;
}

Conditioning Conditioner::drop(const Conditioning& told, const Conditioning& nothing, const Tensor& dropped) const {
  Conditioning out = told;
  for (auto field : fields()) {
    if (!(told.*field).defined()) continue;
    std::vector<int64_t> shape((told.*field).dim(), 1);
    shape[0] = dropped.numel();
    out.*field = at::where(dropped.view(shape), nothing.*field, told.*field);
  }
  return out;
}

Conditioning select(const Conditioning& c, const Tensor& index) {
  Conditioning out;
  for (auto field : fields())
    if ((c.*field).defined()) out.*field = (c.*field).index_select(0, index);
  return out;
}

Conditioning concat(const Conditioning& a, const Conditioning& b) {
  Conditioning out;
  for (auto field : fields())
    if ((a.*field).defined()) out.*field = at::cat({a.*field, b.*field});
  return out;
}

}  // namespace rft
