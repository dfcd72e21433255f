#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>

#include "rft/core/error.h"
#include "rft/core/json_depth.h"
#include "rft/io/files.h"
#include "rft/io/hf_directory.h"
#include "rft/reward/text_encoder_rewards.h"

namespace rft {
namespace {

using Json = nlohmann::json;

constexpr int64_t kTokens = 16384;  // of a batch, padding included

Json read_json(const std::string& file) {
  std::string text = read_text(file, size_t{1} << 20);
  Json json = too_deep_at(text, 32) ? Json() : Json::parse(text, nullptr, false);
  if (json.is_discarded() || !json.is_structured()) bad_input(file, "this is not a JSON object or list");
  return json;
}

/// A text of an object, "" where it has none.
std::string field(const Json& object, const char* name) {
  bool there = object.is_object() && object.contains(name) && object[name].is_string();
  return there ? object[name].get<std::string>() : "";
}

/// cls, mean or max, by the file of a Pooling module.
std::string pooling_of(const std::string& file) {
  Json pooling = read_json(file);
  std::vector<std::string> on;
  if (std::string mode = field(pooling, "pooling_mode"); !mode.empty()) on.push_back(mode);
  for (auto [key, name] : {std::pair{"pooling_mode_cls_token", "cls"},
                           {"pooling_mode_mean_tokens", "mean"},
                           {"pooling_mode_max_tokens", "max"},
                           {"pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len"},
                           {"pooling_mode_weightedmean_tokens", "weightedmean"},
                           {"pooling_mode_lasttoken", "lasttoken"}})
    if (pooling.contains(key) && pooling[key] == true) on.push_back(name);
  bool known = on.size() == 1 && (on[0] == "cls" || on[0] == "mean" || on[0] == "max");
  if (!known) bad_input(file, "must pool by exactly one of cls, mean and max");
  return on[0];
}

}  // namespace

TextEncoderModel::TextEncoderModel(const std::string& directory) {
  std::string list = directory + "/modules.json", transformer = directory;
  Json modules = file_exists(list) ? read_json(list) : Json::array();
  if (!modules.empty())
    if (std::string path = field(modules.front(), "path"); !path.empty())
      transformer = path_inside(directory, path, list);
  std::string file = transformer + "/config.json";
  if (!file_exists(file)) bad_input(transformer, "this is not a Hugging Face model directory: there is no config.json");
  tokenizer_ = Tokenizer::load(transformer);
  encoder_ =
      make_sentence_encoder(read_text(file), WeightSource(load_hf_tensors(transformer), at::kFloat, transformer), file);
  longest_ = encoder_->max_length();
  if (tokenizer_.max_length() > 0) longest_ = std::min(longest_, tokenizer_.max_length());
  std::string limits = transformer + "/sentence_bert_config.json";
  if (file_exists(limits)) {
    Json json = read_json(limits);
    if (json.contains("max_seq_length") && json["max_seq_length"].is_number_integer())
      longest_ = std::clamp<int64_t>(json["max_seq_length"], 1, longest_);
  }
  for (const Json& module : modules) {
    std::string type = field(module, "type"), kind = type.substr(type.rfind('.') + 1);
    if (kind == "Pooling")
      pooling_ = pooling_of(path_inside(directory, field(module, "path"), list) + "/config.json");
    else if (kind == "Normalize")
      normalize_ = true;
    else if (kind != "Transformer")
      bad_input(list, "the module '", type, "' is not known; known: Transformer, Pooling, Normalize");
  }
}

/// Ids with the special ones around them, the text cut so that all have room.
std::vector<int64_t> TextEncoderModel::cut(const std::string& text) const {
  auto whole = tokenizer_.encode(text);
  auto over = static_cast<int64_t>(whole.size()) - longest_;
  if (over <= 0) return whole;
  auto plain = tokenizer_.encode(text, false);
  auto begin = std::search(whole.begin(), whole.end(), plain.begin(), plain.end());
  auto end = begin + static_cast<int64_t>(plain.size());
  auto kept = std::max<int64_t>(static_cast<int64_t>(plain.size()) - over, 0);
  whole.erase(begin + kept, end);
  return whole;
}

/// judge(ids [n, L], mask [n, L]) of rows of like length together; the results in the rows' order.
template <class Judge>
Tensor TextEncoderModel::batched(const std::vector<std::vector<int64_t>>& rows, const Judge& judge) const {
  at::NoGradGuard no_grad;
  std::vector<size_t> order(rows.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return rows[a].size() < rows[b].size(); });
  std::vector<Tensor> parts;
  std::vector<int64_t> places(rows.size());
  for (size_t begin = 0; begin < order.size();) {
    size_t end = begin + 1;
    while (end < order.size() && static_cast<int64_t>((end + 1 - begin) * rows[order[end]].size()) <= kTokens) ++end;
    auto n = static_cast<int64_t>(end - begin),
         L = std::max<int64_t>(static_cast<int64_t>(rows[order[end - 1]].size()), 1);
    Tensor ids = at::zeros({n, L}, at::kLong), mask = at::zeros({n, L}, at::kBool);
    for (size_t i = begin; i < end; ++i) {
      const auto& row = rows[order[i]];
      auto at = static_cast<int64_t>(i - begin) * L;
      std::copy(row.begin(), row.end(), ids.data_ptr<int64_t>() + at);
      std::fill_n(mask.data_ptr<bool>() + at, row.size(), true);
      places[order[i]] = static_cast<int64_t>(i);
    }
    parts.push_back(judge(ids, mask));
    begin = end;
  }
  return at::cat(parts).index_select(0, at::tensor(places, at::kLong));
}

Tensor TextEncoderModel::pooled(const Tensor& ids, const Tensor& mask) const {
  Tensor hidden = encoder_->hidden(ids, mask), seen = mask.unsqueeze(2);
  Tensor out;
  if (pooling_ == "cls") {
    out = hidden.select(1, 0);
  } else if (pooling_ == "max") {
    out = std::get<0>(hidden.masked_fill(seen.logical_not(), -1e9).max(1));
  } else {
    out = hidden.mul(seen).sum(1).div(seen.sum(1).clamp_min(1));
  }
  return normalize_ ? out.div(out.norm(2, 1, /*keepdim=*/true).clamp_min(1e-12)) : out;
}

Tensor TextEncoderModel::embed(const std::vector<std::string>& texts) const {
  std::vector<std::vector<int64_t>> rows;
  for (const auto& text : texts) rows.push_back(cut(text));
  if (rows.empty()) return at::zeros({0, encoder_->width()});
  return batched(rows, [&](const Tensor& ids, const Tensor& mask) { return pooled(ids, mask); });
}

Tensor TextEncoderModel::logits(const std::vector<std::string>& texts) const {
  auto labels = static_cast<int64_t>(encoder_->labels().size());
  std::vector<std::vector<int64_t>> rows;
  std::vector<int64_t> fit;
  for (size_t i = 0; i < texts.size(); ++i) {
    auto ids = tokenizer_.encode(texts[i]);
    if (ids.empty() || static_cast<int64_t>(ids.size()) > encoder_->max_length()) continue;
    rows.push_back(std::move(ids)), fit.push_back(static_cast<int64_t>(i));
  }
  Tensor out = at::full({static_cast<int64_t>(texts.size()), labels}, std::numeric_limits<float>::quiet_NaN());
  if (rows.empty()) return out;
  Tensor found = batched(rows, [&](const Tensor& ids, const Tensor& mask) { return encoder_->logits(ids, mask); });
  return out.index_copy_(0, at::tensor(fit, at::kLong), found);
}

}  // namespace rft
