#include "rft/ops/linear_divergence.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>

#include "ops/two_model_tiles.h"
#include "rft/core/error.h"

namespace rft::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;
using Kind = Divergence::Kind;

/// log((1 - mix) p + mix q).
Tensor log_mixture(const Tensor& logp, const Tensor& ref, double mix) {
  return at::logaddexp(logp.add(std::log1p(-mix)), ref.add(std::log(mix)));
}

/// [n, V]: p times the derivative of the divergence in p, up to a multiple of p (which a softmax doesn't feel).
Tensor weighted_slope(const Tensor& logp, const Tensor& ref, const Divergence& d) {
  switch (d.kind) {
    case Kind::reverse_kl:
      return logp.exp().mul(logp.sub(ref));
    case Kind::forward_kl:
      return ref.exp().neg();
    case Kind::jensen_shannon:
      return logp.exp().mul(logp.sub(log_mixture(logp, ref, d.mix))).mul(1 - d.mix);
    case Kind::alpha:
      return logp.mul(d.mix).add(ref, 1 - d.mix).exp().div(d.mix - 1);
  }
  run_failed("linear_divergence", "unknown kind");
}

/// Calls body(tile, logp, ref) with both models' log-probabilities of each tile.
template <class Body>
void for_each_tile(const variable_list& in, const TwoModelShape& shape, const Body& body) {
  for_each_two_model_tile(in, shape, [&](const TwoModelTile& tile) {
    body(tile, at::log_softmax(tile.logits, 1), at::log_softmax(tile.ref, 1));
  });
}

class LinearDivergence : public torch::autograd::Function<LinearDivergence> {
 public:
  static Variable forward(AutogradContext* ctx, const Variable& hidden, const Variable& weight,
                          const Tensor& ref_hidden, const Tensor& ref_weight, int64_t kind, double mix,
                          double temperature, double softcap, double ref_softcap) {
    ctx->save_for_backward({hidden, weight, ref_hidden, ref_weight});
    ctx->saved_data["kind"] = kind, ctx->saved_data["mix"] = mix, ctx->saved_data["temperature"] = temperature;
    ctx->saved_data["softcap"] = softcap, ctx->saved_data["ref_softcap"] = ref_softcap;
    Divergence divergence{static_cast<Kind>(kind), mix};
    Tensor out = at::empty({hidden.size(0)}, hidden.options().dtype(accumulate_type(hidden)));
    for_each_tile({hidden, weight, ref_hidden, ref_weight}, {temperature, softcap, temperature, ref_softcap},
                  [&](const TwoModelTile& tile, const Tensor& logp, const Tensor& ref) {
                    out.narrow(0, tile.first, tile.rows).copy_(divergence_of(logp, ref, divergence));
                  });
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    auto saved = ctx->get_saved_variables();
    Divergence divergence{static_cast<Kind>(ctx->saved_data["kind"].toInt()), ctx->saved_data["mix"].toDouble()};
    const double temperature = ctx->saved_data["temperature"].toDouble();
    const TwoModelShape shape{temperature, ctx->saved_data["softcap"].toDouble(), temperature,
                              ctx->saved_data["ref_softcap"].toDouble()};
    Tensor grad = grads[0].to(accumulate_type(saved[0])).unsqueeze(1);
    TwoModelGradients out(saved[0], saved[1], ctx->needs_input_grad(0), ctx->needs_input_grad(1));
    for_each_tile(saved, shape, [&](const TwoModelTile& tile, const Tensor& logp, const Tensor& ref) {
      Tensor slope = weighted_slope(logp, ref, divergence);
      slope = slope.sub(logp.exp().mul(slope.sum(1, /*keepdim=*/true)));
      out.add(tile, slope.mul_(grad.narrow(0, tile.first, tile.rows)), temperature);
    });
    return {out.hidden(), out.weight(), {}, {}, {}, {}, {}, {}, {}};
  }
};

void check(const Tensor& hidden, const Tensor& weight, const Tensor& ref_hidden, const Tensor& ref_weight,
           const Divergence& divergence, double temperature) {
  const char* where = "linear_divergence";
  for (auto [x, w] : {std::pair{hidden, weight}, {ref_hidden, ref_weight}})
    if (x.dim() != 2 || w.dim() != 2 || x.size(1) != w.size(1))
      run_failed(where, "hidden [N, D] and weight [V, D] must share D; got ", x.sizes(), " and ", w.sizes());
  if (hidden.size(0) != ref_hidden.size(0) || weight.size(0) != ref_weight.size(0))
    run_failed(where, "both models must have the same rows and the same vocabulary; got ", hidden.size(0), " and ",
               ref_hidden.size(0), " rows, ", weight.size(0), " and ", ref_weight.size(0), " tokens");
  bool mixes = divergence.kind == Kind::jensen_shannon || divergence.kind == Kind::alpha;
  if (mixes && (divergence.mix == 0 || divergence.mix == 1))
    run_failed(where, "mix must not be 0 or 1; got ", divergence.mix);
  if (!(temperature > 0)) run_failed(where, "temperature must be above 0; got ", temperature);
}

}  // namespace

Tensor divergence_of(const Tensor& logp, const Tensor& ref, const Divergence& d) {
  auto kl = [](const Tensor& from, const Tensor& to) { return from.exp().mul(from.sub(to)).sum(-1); };
  switch (d.kind) {
    case Kind::reverse_kl:
      return kl(logp, ref);
    case Kind::forward_kl:
      return kl(ref, logp);
    case Kind::jensen_shannon: {
      Tensor mixture = log_mixture(logp, ref, d.mix);
      return kl(ref, mixture).mul(d.mix).add(kl(logp, mixture), 1 - d.mix);
    }
    case Kind::alpha:
      return logp.mul(d.mix).add(ref, 1 - d.mix).exp().sum(-1).sub(1).div(d.mix * (d.mix - 1));
  }
  run_failed("divergence", "unknown kind");
}

Tensor linear_divergence(const Tensor& hidden, const Tensor& weight, const Tensor& ref_hidden, const Tensor& ref_weight,
                         const Divergence& divergence, double temperature, double softcap, double ref_softcap) {
  check(hidden, weight, ref_hidden, ref_weight, divergence, temperature);
  return LinearDivergence::apply(hidden, weight, ref_hidden.detach(), ref_weight.detach(),
                                 static_cast<int64_t>(divergence.kind), divergence.mix, temperature, softcap,
                                 ref_softcap);
}

}  // namespace rft::ops
