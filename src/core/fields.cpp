#include "rft/core/fields.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "rft/core/error.h"
#include "rft/core/text.h"

namespace rft {
namespace {

template <class Map>
std::vector<std::string> names_of(const Map& map) {
  std::vector<std::string> names;
  for (const auto& [name, value] : map) names.push_back(name);
  return names;
}

}  // namespace

const Tensor& Fields::tensor(const std::string& name) const {
  auto found = tensors_.find(name);
  if (found == tensors_.end())
    run_failed("Fields", "there is no tensor '", name, "'", suggestion(name, names_of(tensors_)));
  return found->second;
}

Tensor Fields::find(const std::string& name) const {
  auto found = tensors_.find(name);
  return found == tensors_.end() ? Tensor() : found->second;
}

const std::vector<std::string>& Fields::text(const std::string& name) const {
  auto found = texts_.find(name);
  if (found == texts_.end())
    run_failed("Fields", "there is no text column '", name, "'", suggestion(name, names_of(texts_)));
  return found->second;
}

int64_t Fields::rows() const {
  if (!tensors_.empty()) return tensors_.begin()->second.size(0);
  return texts_.empty() ? 0 : static_cast<int64_t>(texts_.begin()->second.size());
}

Fields Fields::select(const Tensor& index) const {
  Fields out;
  for (const auto& [name, value] : tensors_) out.set(name, value.index_select(0, index.to(value.device())));
  auto positions = index.to(at::kCPU, at::kLong).contiguous();
  const int64_t* at = positions.data_ptr<int64_t>();
  for (const auto& [name, value] : texts_) {
    std::vector<std::string> picked;
    for (int64_t i = 0; i < positions.numel(); ++i) picked.push_back(value.at(at[i]));
    out.set_text(name, std::move(picked));
  }
  return out;
}

Fields Fields::narrow(int64_t first, int64_t count) const {
  Fields out;
  for (const auto& [name, value] : tensors_) out.set(name, value.narrow(0, first, count));
  for (const auto& [name, value] : texts_) out.set_text(name, {value.begin() + first, value.begin() + first + count});
  return out;
}

Fields Fields::concat(const std::vector<Fields>& parts) {
  Fields out;
  if (parts.empty()) return out;
  for (const auto& [name, value] : parts.front().tensors_) {
    std::vector<Tensor> pieces;
    for (const auto& part : parts) pieces.push_back(part.tensor(name));
    out.set(name, concat_rows(pieces));
  }
  for (const auto& [name, value] : parts.front().texts_) {
    std::vector<std::string> all;
    for (const auto& part : parts) all.insert(all.end(), part.text(name).begin(), part.text(name).end());
    out.set_text(name, std::move(all));
  }
  return out;
}

Tensor concat_rows(const std::vector<Tensor>& parts) {
  if (parts.empty() || !parts.front().defined()) {
    for (const auto& part : parts) TORCH_CHECK(!part.defined(), "[concat_rows] a column is defined in some parts only");
    return {};
  }
  int64_t widest = 0;
  for (const auto& part : parts) {
    TORCH_CHECK(part.defined(), "[concat_rows] a column is defined in some parts only");
    if (part.dim() > 1) widest = std::max(widest, part.size(1));
  }
  std::vector<Tensor> padded;
  for (const auto& part : parts) {
    if (part.dim() < 2 || part.size(1) == widest) {
      padded.push_back(part);
      continue;
    }
    auto shape = part.sizes().vec();
    shape[1] = widest - shape[1];
    padded.push_back(at::cat({part, at::zeros(shape, part.options())}, 1));
  }
  return at::cat(padded, 0);
}

}  // namespace rft
