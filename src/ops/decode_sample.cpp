#include "rft/ops/decode_sample.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "ops/decode_kernels.h"
#include "rft/core/error.h"

namespace rft::ops {
namespace {

constexpr float kNone = -std::numeric_limits<float>::infinity();

/// Logits of one token's distribution and the sums over it.
struct Row {
  const float* logits;
  int64_t vocab;
  double scale;  ///< 1 / temperature
  ExpSums sums;
  const double* blocks;

  double weight(float logit) const { return std::exp(scale * (double{logit} - sums.max)); }
};

Row measure(const float* logits, int64_t vocab, double scale, std::vector<double>& blocks) {
  blocks.resize(static_cast<size_t>((vocab + kSumBlock - 1) / kSumBlock));
  const ExpSums sums = decode_kernels().exp_sums(logits, vocab, static_cast<float>(scale), blocks.data());
  if (!std::isfinite(sums.total) || !std::isfinite(sums.max)) {
    run_failed("sampler", "logits must be finite; the largest is ", sums.max, " and the sum of exponentials ",
               sums.total);
  }
  return {logits, vocab, scale, sums, blocks.data()};
}

/// What the filters leave: logits above `floor`, and the first `ties` of those that equal it.
struct Kept {
  float floor = kNone;
  int64_t ties = std::numeric_limits<int64_t>::max();
};

/// The k-th largest of the logits, k >= 1, in one pass over a buffer of the best so far.
float kth_largest(const float* logits, int64_t vocab, int64_t k) {
  static thread_local std::vector<float> best;
  best.clear();
  const auto limit = static_cast<size_t>(std::max<int64_t>(2 * k, 256));
  float floor = kNone;
  const auto shrink = [&] {
    std::nth_element(best.begin(), best.begin() + (k - 1), best.end(), std::greater<float>());
    best.resize(static_cast<size_t>(k));
    floor = best.back();
  };
  for (int64_t i = 0; i < vocab; ++i) {
    if (!(logits[i] > floor) && floor != kNone) continue;
    best.push_back(logits[i]);
    if (best.size() == limit) shrink();
  }
  shrink();
  return floor;
}

struct Candidate {
  float logit;
  double weight;
};

/// The smallest set of the largest candidates whose weights reach `target`: a quickselect by weight.
Kept heaviest(std::vector<Candidate>& candidates, double target) {
  size_t first = 0, last = candidates.size();
  double above = 0;
  while (last - first > 0) {
    const float pivot = candidates[first + (last - first) / 2].logit;
    const auto begin = candidates.begin();
    const auto larger = std::partition(begin + static_cast<int64_t>(first), begin + static_cast<int64_t>(last),
                                       [&](const Candidate& c) { return c.logit > pivot; });
    const auto equal = std::partition(larger, begin + static_cast<int64_t>(last),
                                      [&](const Candidate& c) { return c.logit == pivot; });
    double larger_weight = 0;
    for (auto c = begin + static_cast<int64_t>(first); c != larger; ++c) larger_weight += c->weight;
    if (above + larger_weight >= target && larger != begin + static_cast<int64_t>(first)) {
      last = static_cast<size_t>(larger - begin);
      continue;
    }
    above += larger_weight;
    const double each = larger->weight, equal_weight = each * static_cast<double>(equal - larger);
    if (above + equal_weight >= target) {
      return {pivot, std::max<int64_t>(1, static_cast<int64_t>(std::ceil((target - above) / each)))};
    }
    above += equal_weight;
    first = static_cast<size_t>(equal - begin);
  }
  return {};
}

/// Top-p among the logits >= floor. The window of logits that is looked at widens until it holds enough weight.
Kept nucleus(const Row& row, double top_p, float floor) {
  static thread_local std::vector<Candidate> candidates;
  for (double width = 6;; width *= 3) {
    const bool all = floor != kNone || width > 80;
    const float bottom = all ? floor : static_cast<float>(row.sums.max - width / row.scale);
    candidates.clear();
    double total = 0;
    for (int64_t i = 0; i < row.vocab; ++i) {
      if (row.logits[i] < bottom) continue;
      candidates.push_back({row.logits[i], row.weight(row.logits[i])});
      total += candidates.back().weight;
    }
    const double mass = all ? total : row.sums.total;
    if (!all && total < top_p * mass) continue;
    const Kept kept = heaviest(candidates, top_p * mass);
    return kept.floor == kNone ? Kept{floor} : kept;
  }
}

Kept filter(const Row& row, const TokenSampling& options) {
  Kept kept;
  if (options.top_k > 0 && options.top_k < row.vocab) kept.floor = kth_largest(row.logits, row.vocab, options.top_k);
  if (options.top_p < 1) {
    const Kept inside = nucleus(row, options.top_p, kept.floor);
    if (inside.floor >= kept.floor) kept = inside;
  }
  if (options.min_p > 0) {
    const auto floor = static_cast<float>(row.sums.max + std::log(options.min_p) / row.scale);
    if (floor > kept.floor) kept = {std::min(floor, row.sums.max), std::numeric_limits<int64_t>::max()};
  }
  return kept;
}

std::vector<int64_t> ids_of(const Row& row, Kept kept) {
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < row.vocab; ++i) {
    if (row.logits[i] < kept.floor) continue;
    if (row.logits[i] > kept.floor || kept.ties-- > 0) ids.push_back(i);
  }
  return ids;
}

/// The id at which the running sum of weights passes `target`; the last with any weight where rounding ran past it.
template <class Id>
int64_t walk(const Row& row, int64_t count, double target, const Id& id) {
  int64_t chosen = id(0);
  double reached = 0;
  for (int64_t i = 0; i < count; ++i) {
    const double weight = row.weight(row.logits[id(i)]);
    if (weight <= 0) continue;
    chosen = id(i);
    reached += weight;
    if (reached > target) break;
  }
  return chosen;
}

int64_t draw_unfiltered(const Row& row, double uniform) {
  double target = uniform * row.sums.total;
  const int64_t blocks = (row.vocab + kSumBlock - 1) / kSumBlock;
  int64_t block = 0, heavy = 0;
  for (; block < blocks && target >= row.blocks[block]; ++block) {
    if (row.blocks[block] > 0) heavy = block;
    target -= row.blocks[block];
  }
  if (block == blocks) block = heavy, target = row.blocks[block];
  const int64_t first = block * kSumBlock;
  return walk(row, std::min(kSumBlock, row.vocab - first), target, [&](int64_t i) { return first + i; });
}

int64_t draw_filtered(const Row& row, const TokenSampling& options, double uniform) {
  const std::vector<int64_t> ids = ids_of(row, filter(row, options));
  double total = 0;
  for (int64_t id : ids) total += row.weight(row.logits[id]);
  return walk(row, static_cast<int64_t>(ids.size()), uniform * total,
              [&](int64_t i) { return ids[static_cast<size_t>(i)]; });
}

/// The logits with the penalty, in a buffer of this thread's.
const float* penalised(const float* logits, int64_t vocab, double penalty, const std::vector<int64_t>& seen) {
  static thread_local std::vector<float> buffer;
  buffer.assign(logits, logits + vocab);
  const auto factor = static_cast<float>(penalty);
  for (int64_t id : seen) {
    const float logit = logits[id];
    buffer[static_cast<size_t>(id)] = logit < 0 ? logit * factor : logit / factor;
  }
  return buffer.data();
}

double scale_of(const TokenSampling& options) { return options.temperature > 0 ? 1 / options.temperature : 1; }

}  // namespace

SampledToken sample_token(const float* logits, int64_t vocab, const TokenSampling& options,
                          const std::vector<int64_t>& seen, double uniform) {
  static thread_local std::vector<double> blocks, penalised_blocks;
  const double scale = scale_of(options);
  const Row row = measure(logits, vocab, scale, blocks);
  Row choice = row;
  if (options.repetition_penalty != 1) {
    choice = measure(penalised(logits, vocab, options.repetition_penalty, seen), vocab, scale, penalised_blocks);
  }
  SampledToken token;
  const bool filtered = (options.top_k > 0 && options.top_k < vocab) || options.top_p < 1 || options.min_p > 0;
  if (options.temperature == 0) {
    token.id = std::find(choice.logits, choice.logits + vocab, choice.sums.max) - choice.logits;
  } else {
    token.id = filtered ? draw_filtered(choice, options, uniform) : draw_unfiltered(choice, uniform);
  }
  const double log_total = std::log(row.sums.total);
  token.logp = static_cast<float>(scale * (double{logits[token.id]} - row.sums.max) - log_total);
  token.entropy = static_cast<float>(log_total - row.sums.weighted / row.sums.total);
  return token;
}

std::vector<int64_t> kept_tokens(const float* logits, int64_t vocab, const TokenSampling& options,
                                 const std::vector<int64_t>& seen) {
  std::vector<double> blocks;
  const float* chosen =
      options.repetition_penalty == 1 ? logits : penalised(logits, vocab, options.repetition_penalty, seen);
  const Row row = measure(chosen, vocab, scale_of(options), blocks);
  return ids_of(row, filter(row, options));
}

}  // namespace rft::ops
