#include "cuda/decode_slots.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>

namespace rft::cuda {
namespace {

constexpr auto kStateBytes = static_cast<int64_t>(sizeof(kernels::DecodeSlot));

Tensor indices(const std::vector<int64_t>& values, const at::Device& device) {
  return uploaded(at::tensor(values, at::kLong), device);
}

}  // namespace

Tensor uploaded(const Tensor& host, const at::Device& device) {
  Tensor out = pinned(host.sizes(), host.scalar_type());
  out.copy_(host);
  return out.to(device, /*non_blocking=*/true);
}

DecodeSlots::DecodeSlots(int64_t slots, int64_t width, int64_t vocab, const at::Device& device) : vocab_(vocab) {
  const auto ints = at::TensorOptions().device(device).dtype(at::kInt), bytes = ints.dtype(at::kByte);
  token = at::zeros({slots}, ints), position = at::full({slots}, -1, ints), table = at::zeros({slots, width}, ints);
  state_ = at::zeros({slots, kStateBytes}, bytes);
  seen_ = at::zeros({slots, (vocab + 31) / 32}, ints);
  out_ = at::zeros({slots, kRing * static_cast<int64_t>(sizeof(kernels::SampledEntry))}, bytes);
  failed_ = at::zeros({1}, ints);
  const int64_t chunks = (vocab + kernels::kSampleChunk - 1) / kernels::kSampleChunk;
  sums_ = at::zeros({slots, chunks, static_cast<int64_t>(sizeof(kernels::SampleSums))}, bytes);
}

void DecodeSlots::start(const std::vector<SlotStart>& starts) {
  if (starts.empty()) return;
  const auto n = static_cast<int64_t>(starts.size()), width = table.size(1);
  Tensor states = at::zeros({n, kStateBytes}, at::kByte), pages = at::zeros({n, width}, at::kInt);
  std::vector<int64_t> slots, penalised;
  std::vector<int> tokens, positions;
  std::vector<Tensor> seen;
  for (int64_t i = 0; i < n; ++i) {
    const SlotStart& s = starts[static_cast<size_t>(i)];
    std::memcpy(states[i].data_ptr(), &s.state, sizeof(s.state));
    std::copy(s.pages.begin(), s.pages.end(), pages[i].data_ptr<int>());
    slots.push_back(s.slot), tokens.push_back(s.token), positions.push_back(s.position);
    if (s.seen.empty()) continue;
    penalised.push_back(s.slot);
    seen.push_back(at::empty({1, static_cast<int64_t>(s.seen.size())}, at::kInt));
    std::memcpy(seen.back().data_ptr(), s.seen.data(), s.seen.size() * sizeof(unsigned));
  }
  const at::Device device = token.device();
  const Tensor at = indices(slots, device);
  state_.index_copy_(0, at, uploaded(states, device)), table.index_copy_(0, at, uploaded(pages, device));
  token.index_copy_(0, at, uploaded(at::tensor(tokens, at::kInt), device));
  position.index_copy_(0, at, uploaded(at::tensor(positions, at::kInt), device));
  if (!seen.empty()) seen_.index_copy_(0, indices(penalised, device), uploaded(at::cat(seen), device));
}

void DecodeSlots::widen(int64_t width) {
  Tensor wider = at::zeros({table.size(0), width}, table.options());
  wider.narrow(1, 0, table.size(1)).copy_(table);
  table = wider;
}

void DecodeSlots::make_idle(const std::vector<int64_t>& slots) {
  if (!slots.empty()) position.index_fill_(0, indices(slots, position.device()), -1);
}

void DecodeSlots::reorder(const std::vector<int64_t>& order) {
  const auto n = static_cast<int64_t>(order.size());
  if (n > 0) {
    const Tensor from = indices(order, token.device());
    for (const Tensor& t : {token, position, table, state_, seen_, out_})
      t.narrow(0, 0, n).copy_(t.index_select(0, from));
  }
  position.narrow(0, n, position.size(0) - n).fill_(-1);
}

void DecodeSlots::idle_during(const std::function<void()>& work) {
  const Tensor kept = position.clone();
  position.fill_(-1);
  work();
  position.copy_(kept);
}

void DecodeSlots::sample(const Tensor& logits, int64_t count, double softcap, const Tensor& rows, const Tensor& slots) {
  kernels::DecodeSample a;
  a.logits = logits.const_data_ptr<float>(), a.count = static_cast<int>(count), a.vocab = static_cast<int>(vocab_);
  a.row = rows.defined() ? rows.const_data_ptr<int>() : nullptr;
  a.slot = slots.defined() ? slots.const_data_ptr<int>() : nullptr;
  a.softcap = static_cast<float>(softcap), a.slots = static_cast<kernels::DecodeSlot*>(state_.data_ptr());
  a.token = token.data_ptr<int>(), a.position = position.data_ptr<int>();
  a.seen = reinterpret_cast<unsigned*>(seen_.data_ptr<int>());
  a.sums = static_cast<kernels::SampleSums*>(sums_.data_ptr());
  a.out = static_cast<kernels::SampledEntry*>(out_.data_ptr()), a.ring = kRing, a.failed = failed_.data_ptr<int>();
  check(kernels::decode_sample(a, stream()), "decode_sample");
}

DecodeSlots::Copied DecodeSlots::copy(int64_t count) const {
  Copied out{pinned({count, out_.size(1)}, at::kByte), pinned({1}, at::kInt), {}};
  out.entries.copy_(out_.narrow(0, 0, count), /*non_blocking=*/true);
  out.failed.copy_(failed_, /*non_blocking=*/true);
  out.event.record();
  return out;
}

}  // namespace rft::cuda
