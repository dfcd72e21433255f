#include "rft/ops/nucleus_logp.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <limits>

#include "ops/two_model_tiles.h"
#include "rft/core/error.h"
#include "rft/ops/decode_sample.h"

namespace rft::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

/// [n, V]: log-probabilities on the nucleus of each row of `guide`, and on its target; -inf elsewhere.
Tensor masked_logp(const Tensor& logits, const Tensor& guide, const Tensor& target, double top_p) {
  const int64_t rows = logits.size(0), vocab = logits.size(1);
  const Tensor likely = guide.to(at::kFloat).contiguous();
  Tensor out_of = at::ones({rows, vocab}, at::kBool);
  bool* at = out_of.data_ptr<bool>();
  const float* from = likely.const_data_ptr<float>();
  at::parallel_for(0, rows, std::max<int64_t>(1, 16384 / vocab), [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i)
      for (int64_t id : kept_tokens(from + i * vocab, vocab, {.top_p = top_p}, {})) at[i * vocab + id] = false;
  });
  out_of.scatter_(1, target.unsqueeze(1), false);
  return at::log_softmax(logits.masked_fill(out_of, -std::numeric_limits<double>::infinity()), 1);
}

/// [n, V]: p (logp + h), the entropy's derivative in the logits with its sign turned; h = 0: the entropy's terms.
Tensor entropy_terms(const Tensor& logp, const Tensor& h) {
  return logp.exp().mul(at::where(logp.isinf(), at::zeros({}, logp.options()), logp).add(h));
}

class NucleusLogp : public torch::autograd::Function<NucleusLogp> {
 public:
  static variable_list forward(AutogradContext* ctx, const Variable& hidden, const Variable& weight,
                               const Tensor& guide_hidden, const Tensor& guide_weight, const Tensor& target,
                               double top_p, double temperature, double softcap, double guide_softcap) {
    auto options = hidden.options().dtype(accumulate_type(hidden));
    Tensor logp = at::empty({hidden.size(0)}, options), entropy = at::empty({hidden.size(0)}, options);
    for_each_two_model_tile(
        {hidden, weight, guide_hidden, guide_weight}, {temperature, softcap, 1, guide_softcap},
        [&](const TwoModelTile& tile) {
          Tensor chosen = target.narrow(0, tile.first, tile.rows);
          Tensor all = masked_logp(tile.logits, tile.ref, chosen, top_p);
          logp.narrow(0, tile.first, tile.rows).copy_(all.gather(1, chosen.unsqueeze(1)).squeeze(1));
          entropy.narrow(0, tile.first, tile.rows).copy_(entropy_terms(all, at::zeros({}, options)).sum(1).neg());
        });
    ctx->save_for_backward({hidden, weight, guide_hidden, guide_weight, target});
    ctx->saved_data["top_p"] = top_p, ctx->saved_data["temperature"] = temperature;
    ctx->saved_data["softcap"] = softcap, ctx->saved_data["guide_softcap"] = guide_softcap;
    return {logp, entropy};
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    if (at::GradMode::is_enabled()) run_failed("nucleus_logp", "has no second derivative");
    auto saved = ctx->get_saved_variables();
    const double temperature = ctx->saved_data["temperature"].toDouble(), top_p = ctx->saved_data["top_p"].toDouble();
    const TwoModelShape shape{temperature, ctx->saved_data["softcap"].toDouble(), 1,
                              ctx->saved_data["guide_softcap"].toDouble()};
    TwoModelGradients out(saved[0], saved[1], ctx->needs_input_grad(0), ctx->needs_input_grad(1));
    const auto type = accumulate_type(saved[0]);
    for_each_two_model_tile({saved.begin(), saved.begin() + 4}, shape, [&](const TwoModelTile& tile) {
      Tensor chosen = saved[4].narrow(0, tile.first, tile.rows).unsqueeze(1);
      Tensor all = masked_logp(tile.logits, tile.ref, chosen.squeeze(1), top_p);
      auto of_rows = [&](const Tensor& g) { return g.to(type).narrow(0, tile.first, tile.rows).unsqueeze(1); };
      Tensor g = of_rows(grads[0]), slope = all.exp().mul(g.neg());
      slope.scatter_add_(1, chosen, g);
      Tensor entropy = entropy_terms(all, at::zeros({}, all.options())).sum(1, /*keepdim=*/true).neg();
      slope.sub_(entropy_terms(all, entropy).mul_(of_rows(grads[1])));
      out.add(tile, slope, temperature);
    });
    return {out.hidden(), out.weight(), {}, {}, {}, {}, {}, {}, {}};
  }
};

}  // namespace

LinearLogp nucleus_logp(const Tensor& hidden, const Tensor& weight, const Tensor& target, const NucleusOf& guide,
                        double temperature, bool with_entropy, double softcap) {
  const char* where = "nucleus_logp";
  if (!hidden.is_cpu()) run_failed(where, "computes on the CPU");
  if (guide.hidden.size(0) != hidden.size(0) || guide.weight.size(0) != weight.size(0))
    run_failed(where, "both models must have the same rows and the same vocabulary; got ", hidden.size(0), " and ",
               guide.hidden.size(0), " rows, ", weight.size(0), " and ", guide.weight.size(0), " tokens");
  auto out = NucleusLogp::apply(hidden, weight, guide.hidden.detach(), guide.weight.detach(), target, guide.top_p,
                                temperature, softcap, guide.softcap);
  return {out[0], with_entropy ? out[1] : Tensor()};
}

}  // namespace rft::ops
