#include "rft/ops/linear_logp.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/linear_logp_chunks.h"
#include "ops/matmul.h"
#include "ops/softmax_rows.h"
#include "rft/core/error.h"

namespace rft::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

constexpr int64_t kTileElements = 1 << 20;  // 4 MiB of float32 logits: stays in the caches between the passes
constexpr int64_t kTileVocabulary = 4096;

struct Tile {
  int64_t row, rows;      // of hidden
  int64_t token, tokens;  // of weight
};

/// Walks all (rows x vocabulary) tiles, vocabulary outermost: a block of the weight is read once for all rows.
template <class Begin, class Each, class End>
void for_each_tile(int64_t rows, int64_t vocabulary, const Begin& begin_block, const Each& each, const End& end_block) {
  int64_t block = std::min(vocabulary, kTileVocabulary);
  int64_t height = std::max<int64_t>(1, std::min(rows, kTileElements / block));
  for (int64_t token = 0; token < vocabulary; token += block) {
    int64_t tokens = std::min(block, vocabulary - token);
    begin_block(token, tokens);
    for (int64_t row = 0; row < rows; row += height) each(Tile{row, std::min(height, rows - row), token, tokens});
    end_block(token, tokens);
  }
}

struct LogitShape {
  double temperature, softcap;  // softcap 0: none
};

/// The logits of one tile at a time, in a buffer that is allocated once.
class Logits {
 public:
  Logits(const Tensor& hidden, const Tensor& weight, const LogitShape& shape)
      : hidden_(hidden), weight_(weight), shape_(shape), type_(accumulate_type(hidden)) {
    int64_t block = std::min(weight.size(0), kTileVocabulary);
    int64_t height = std::max<int64_t>(1, std::min(hidden.size(0), kTileElements / block));
    buffer_ = at::empty({block * height}, hidden.options().dtype(type_));
  }
  void begin_block(int64_t token, int64_t tokens) { block_ = weight_.narrow(0, token, tokens).to(type_); }
  /// [tile.rows, tile.tokens], valid until the next call.
  const Tensor& of(const Tile& tile) {
    rows_ = hidden_.narrow(0, tile.row, tile.rows).to(type_);
    tile_ = buffer_.narrow(0, 0, tile.rows * tile.tokens).view({tile.rows, tile.tokens});
    matmul_into(tile_, rows_, block_.t(), scale(), /*add=*/false);
    if (shape_.softcap > 0) {
      tile_.tanh_();
      if (slope_of_cap_.defined()) {
        auto slope = slope_of_cap_.narrow(0, 0, tile_.numel()).view(tile_.sizes());
        at::mul_out(slope, tile_, tile_), slope.neg_().add_(1);
      }
      tile_.mul_(shape_.softcap / shape_.temperature);
    }
    return tile_;
  }
  /// From now on of() keeps what apply_cap() needs.
  void keep_slopes() {
    if (shape_.softcap > 0) slope_of_cap_ = at::empty_like(buffer_);
  }
  /// Turns the gradient of the last tile's logits into that of its products with scale(), in place.
  void apply_cap(const Tensor& gradient) const {
    if (shape_.softcap <= 0) return;
    gradient.mul_(slope_of_cap_.narrow(0, 0, gradient.numel()).view(gradient.sizes()));
    gradient.mul_(shape_.softcap / shape_.temperature);
  }
  const Tensor& rows() const { return rows_; }
  const Tensor& block() const { return block_; }
  /// What the products are multiplied by before they are capped.
  double scale() const { return 1.0 / (shape_.softcap > 0 ? shape_.softcap : shape_.temperature); }

 private:
  const Tensor& hidden_;
  const Tensor& weight_;
  LogitShape shape_;
  at::ScalarType type_;
  Tensor buffer_, tile_, rows_, block_, slope_of_cap_;
};

template <class Body>
void for_each_row(int64_t rows, int64_t tokens, const Body& body) {
  int64_t grain = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, tokens));
  at::parallel_for(0, rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) body(i);
  });
}

/// What the backward pass needs of each row: [N] float64.
struct RowStatistics {
  Tensor lse;      // log sum exp of the scaled logits
  Tensor entropy;  // nats; undefined unless asked for
  Tensor chosen;   // the target's scaled logit
};

template <class T>
RowStatistics forward_rows(const Tensor& hidden, const Tensor& weight, const Tensor& target, const LogitShape& shape,
                           bool with_entropy) {
  int64_t rows = hidden.size(0);
  auto doubles = hidden.options().dtype(at::kDouble);
  Tensor running = at::zeros({rows, 3}, doubles);
  running.select(1, 0).fill_(-std::numeric_limits<double>::infinity());
  Tensor chosen = at::zeros({rows}, doubles);
  auto* state = reinterpret_cast<SoftmaxSums*>(running.data_ptr<double>());
  auto* chosen_at = chosen.data_ptr<double>();
  const auto* target_at = target.const_data_ptr<int64_t>();
  Logits logits(hidden, weight, shape);
  for_each_tile(
      rows, weight.size(0), [&](int64_t token, int64_t tokens) { logits.begin_block(token, tokens); },
      [&](const Tile& tile) {
        const T* z = logits.of(tile).template const_data_ptr<T>();
        for_each_row(tile.rows, tile.tokens, [&](int64_t i) {
          const T* row = z + i * tile.tokens;
          add_block(state[tile.row + i], row, tile.tokens, with_entropy);
          int64_t t = target_at[tile.row + i] - tile.token;
          if (t >= 0 && t < tile.tokens) chosen_at[tile.row + i] = row[t];
        });
      },
      [](int64_t, int64_t) {});
  RowStatistics out;
  Tensor log_sum = running.select(1, 1).log();
  out.lse = running.select(1, 0).add(log_sum);
  out.chosen = chosen;
  if (with_entropy) out.entropy = log_sum.sub(running.select(1, 2).div(running.select(1, 1)));
  return out;
}

/// What the processes' parts of the vocabulary come to together, with p_r = exp(lse_r - lse) the probability of part r:
/// lse = log sum_r exp lse_r, E[z] = sum_r p_r E_r[z], and of a distribution entropy = lse - E[z]. The target's logit
/// is with one of them, 0 elsewhere.
RowStatistics of_all_parts(const RowStatistics& mine, const VocabularyPart& part) {
  bool with_entropy = mine.entropy.defined();
  Tensor entropy = with_entropy ? mine.entropy : at::zeros_like(mine.lse);
  Tensor all = part.gather(at::stack({mine.lse, mine.chosen, entropy}, 1));
  auto column = [&](int64_t k) { return all.select(2, k); };
  RowStatistics out;
  out.lse = column(0).logsumexp(0), out.chosen = column(1).sum(0);
  if (with_entropy) out.entropy = out.lse.sub(column(0).sub(out.lse).exp().mul(column(0).sub(column(2))).sum(0));
  return out;
}

struct Wanted {
  bool hidden, weight;
};

/// Gradients of hidden and weight; `grad_logp`, `grad_entropy` [N] float64, the latter undefined where not asked for.
template <class T>
std::pair<Tensor, Tensor> backward_rows(const Tensor& hidden, const Tensor& weight, const Tensor& target,
                                        const LogitShape& shape, const RowStatistics& saved, const Tensor& grad_logp,
                                        const Tensor& grad_entropy, Wanted wanted) {
  auto accumulate = hidden.options().dtype(accumulate_type(hidden));
  Tensor grad_hidden = wanted.hidden ? at::zeros(hidden.sizes(), accumulate) : Tensor();
  Tensor grad_weight = wanted.weight ? at::empty(weight.sizes(), weight.options()) : Tensor();
  Tensor grad_block;
  const double* lse = saved.lse.const_data_ptr<double>();
  const double* entropy = grad_entropy.defined() ? saved.entropy.const_data_ptr<double>() : nullptr;
  const double* g = grad_logp.const_data_ptr<double>();
  const double* h = grad_entropy.defined() ? grad_entropy.const_data_ptr<double>() : nullptr;
  const auto* target_at = target.const_data_ptr<int64_t>();
  Logits logits(hidden, weight, shape);
  logits.keep_slopes();
  for_each_tile(
      hidden.size(0), weight.size(0),
      [&](int64_t token, int64_t tokens) {
        logits.begin_block(token, tokens);
        if (wanted.weight) grad_block = at::zeros({tokens, weight.size(1)}, accumulate);
      },
      [&](const Tile& tile) {
        const Tensor& z = logits.of(tile);
        T* data = z.template data_ptr<T>();
        for_each_row(tile.rows, tile.tokens, [&](int64_t i) {
          int64_t row = tile.row + i, t = target_at[row] - tile.token;
          T* at = data + i * tile.tokens;
          to_gradient(at, tile.tokens, static_cast<T>(lse[row]), static_cast<T>(g[row]), static_cast<T>(h ? h[row] : 0),
                      static_cast<T>(h ? entropy[row] : 0));
          if (t >= 0 && t < tile.tokens) at[t] += static_cast<T>(g[row]);
        });
        logits.apply_cap(z);
        if (wanted.hidden) {
          Tensor part = grad_hidden.narrow(0, tile.row, tile.rows);
          matmul_into(part, z, logits.block(), logits.scale(), /*add=*/true);
        }
        if (wanted.weight) matmul_into(grad_block, z.t(), logits.rows(), logits.scale(), /*add=*/true);
      },
      [&](int64_t token, int64_t tokens) {
        if (wanted.weight) grad_weight.narrow(0, token, tokens).copy_(grad_block);
      });
  return {wanted.hidden ? grad_hidden.to(hidden.scalar_type()) : Tensor(), grad_weight};
}

RowStatistics forward_any(const Tensor& hidden, const Tensor& weight, const Tensor& target, const LogitShape& shape,
                          bool with_entropy) {
  return accumulate_type(hidden) == at::kDouble ? forward_rows<double>(hidden, weight, target, shape, with_entropy)
                                                : forward_rows<float>(hidden, weight, target, shape, with_entropy);
}

class LinearLogpFunction : public torch::autograd::Function<LinearLogpFunction> {
 public:
  static variable_list forward(AutogradContext* ctx, const Variable& hidden, const Variable& weight,
                               const Tensor& target, double temperature, bool with_entropy, double softcap,
                               const VocabularyPart* part) {
    RowStatistics rows = forward_any(hidden, weight, target, {temperature, softcap}, with_entropy);
    if (part) rows = of_all_parts(rows, *part);
    ctx->save_for_backward({hidden, weight, target, rows.lse, rows.entropy});
    ctx->saved_data["temperature"] = temperature, ctx->saved_data["softcap"] = softcap;
    variable_list out{rows.chosen.sub(rows.lse).to(accumulate_type(hidden))};
    if (with_entropy) out.push_back(rows.entropy.to(accumulate_type(hidden), /*non_blocking=*/false, /*copy=*/true));
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    if (at::GradMode::is_enabled())
      run_failed("linear_logp", "has no second derivative (create_graph is not possible)");
    auto saved = ctx->get_saved_variables();
    RowStatistics rows{saved[3], saved[4], {}};
    auto doubles = [&](const Tensor& g) { return g.defined() ? g.to(at::kDouble).contiguous() : Tensor(); };
    Tensor grad_logp = doubles(grads[0]);
    if (!grad_logp.defined()) grad_logp = at::zeros_like(rows.lse);
    Tensor grad_entropy = grads.size() > 1 ? doubles(grads[1]) : Tensor();
    Wanted wanted{ctx->needs_input_grad(0), ctx->needs_input_grad(1)};
    LogitShape shape{ctx->saved_data["temperature"].toDouble(), ctx->saved_data["softcap"].toDouble()};
    auto compute = accumulate_type(saved[0]) == at::kDouble ? &backward_rows<double> : &backward_rows<float>;
    auto [hidden, weight] = compute(saved[0], saved[1], saved[2], shape, rows, grad_logp, grad_entropy, wanted);
    return {hidden, weight, {}, {}, {}, {}, {}};
  }
};

/// The same on a GPU.
class ChunkedLogpFunction : public torch::autograd::Function<ChunkedLogpFunction> {
 public:
  static variable_list forward(AutogradContext* ctx, const Variable& hidden, const Variable& weight,
                               const Tensor& target, double temperature, double softcap) {
    ChunkedLogp out = chunked_logp(hidden, weight, target, {temperature, softcap});
    ctx->save_for_backward({hidden, weight, target, out.lse, out.entropy});
    ctx->saved_data["temperature"] = temperature, ctx->saved_data["softcap"] = softcap;
    ctx->set_materialize_grads(false);
    return {out.logp, out.entropy.clone()};  // saved tensors are not outputs
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    if (at::GradMode::is_enabled())
      run_failed("linear_logp", "has no second derivative (create_graph is not possible)");
    auto saved = ctx->get_saved_variables();
    auto as_logp = [&](const Tensor& g) { return g.defined() ? g.to(saved[3].scalar_type()).contiguous() : g; };
    Tensor grad_logp = as_logp(grads[0]), grad_entropy = as_logp(grads[1]);
    if (!grad_logp.defined()) grad_logp = at::zeros_like(saved[3]);
    ChunkedGradients out = chunked_logp_backward(
        saved[0], saved[1], saved[2],
        {ctx->saved_data["temperature"].toDouble(), ctx->saved_data["softcap"].toDouble()}, {{}, saved[3], saved[4]},
        grad_logp, grad_entropy, ctx->needs_input_grad(0), ctx->needs_input_grad(1));
    return {out.hidden, out.weight, {}, {}, {}};
  }
};

void check(const Tensor& hidden, const Tensor& weight, const Tensor& target, const LogitShape& shape,
           int64_t vocabulary) {
  const char* where = "linear_logp";
  if (hidden.dim() != 2 || weight.dim() != 2 || hidden.size(1) != weight.size(1))
    run_failed(where, "hidden [N, D] and weight [V, D] must share D; got ", hidden.sizes(), " and ", weight.sizes());
  if (target.dim() != 1 || target.size(0) != hidden.size(0) || target.scalar_type() != at::kLong)
    run_failed(where, "target must be int64 [N]; got ", target.toString(), " ", target.sizes());
  auto type = hidden.scalar_type();
  if (type != weight.scalar_type() || (type != at::kFloat && type != at::kDouble && type != at::kBFloat16))
    run_failed(where, "hidden and weight must both be float32, float64 or bfloat16; got ", hidden.toString(), " and ",
               weight.toString());
  if (hidden.device() != weight.device() || hidden.device() != target.device())
    run_failed(where, "all tensors must be on one device; got ", hidden.device(), ", ", weight.device(), ", ",
               target.device());
  if (!(shape.temperature > 0)) run_failed(where, "temperature must be above 0; got ", shape.temperature);
  if (!(shape.softcap >= 0)) run_failed(where, "softcap must be at least 0; got ", shape.softcap);
  if (target.numel() == 0 || !target.is_cpu()) return;  // a GPU is not waited for: there logp is NaN
  auto [low, high] = target.aminmax();
  if (low.item<int64_t>() < 0 || high.item<int64_t>() >= vocabulary)
    run_failed(where, "target must lie in 0 .. ", vocabulary - 1, "; got ", low.item<int64_t>(), " .. ",
               high.item<int64_t>());
}

}  // namespace

LinearLogp linear_logp(const Tensor& hidden, const Tensor& weight, const Tensor& target, double temperature,
                       bool with_entropy, double softcap, const VocabularyPart* part) {
  check(hidden, weight, target, {temperature, softcap}, part ? part->whole : weight.size(0));
  if (!hidden.is_cpu()) {
    if (part) run_failed("linear_logp", "parts of a vocabulary are for the CPU; got tensors on ", hidden.device());
    auto out =
        ChunkedLogpFunction::apply(hidden.contiguous(), weight.contiguous(), target.contiguous(), temperature, softcap);
    return {out[0], with_entropy ? out[1] : Tensor()};
  }
  Tensor chosen = part ? target.sub(part->first) : target.contiguous();  // tokens of others are met by no tile
  auto out = LinearLogpFunction::apply(hidden.contiguous(), weight.contiguous(), chosen, temperature, with_entropy,
                                       softcap, part);
  return {out[0], with_entropy ? out[1] : Tensor()};
}

}  // namespace rft::ops
