#include "rft/ops/recurrent.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>

#include "rft/core/error.h"

namespace rft::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

float sigmoid(float x) { return 1 / (1 + std::exp(-x)); }

/// One row of an LSTM's step: gates [4 H] become what they let through, and the cell [H] and output [H] follow.
void lstm_row(float* gates, const float* cell_before, float* cell, float* out, int64_t H) {
  float *i = gates, *f = gates + H, *g = gates + 2 * H, *o = gates + 3 * H;
  for (int64_t k = 0; k < H; ++k) {
    i[k] = sigmoid(i[k]), f[k] = sigmoid(f[k]), g[k] = std::tanh(g[k]), o[k] = sigmoid(o[k]);
    cell[k] = f[k] * cell_before[k] + i[k] * g[k];
    out[k] = o[k] * std::tanh(cell[k]);
  }
}

/// Its derivative: dout, dcell [H] of after the step become d_gates [4 H] and dcell of before it.
void lstm_row_backward(const float* gates, const float* cell_before, const float* cell, const float* dout, float* dcell,
                       float* d_gates, int64_t H) {
  const float *i = gates, *f = gates + H, *g = gates + 2 * H, *o = gates + 3 * H;
  for (int64_t k = 0; k < H; ++k) {
    float t = std::tanh(cell[k]), dc = dcell[k] + dout[k] * o[k] * (1 - t * t);
    d_gates[k] = dc * g[k] * i[k] * (1 - i[k]);
    d_gates[H + k] = dc * cell_before[k] * f[k] * (1 - f[k]);
    d_gates[2 * H + k] = dc * i[k] * (1 - g[k] * g[k]);
    d_gates[3 * H + k] = dout[k] * t * o[k] * (1 - o[k]);
    dcell[k] = dc * f[k];
  }
}

/// One row of a GRU's step: from_input and from_state [3 H] -> gates [4 H]: reset, update, new, and from_state's new.
void gru_row(const float* from_input, const float* from_state, const float* before, float* gates, float* out,
             int64_t H) {
  for (int64_t k = 0; k < H; ++k) {
    float r = sigmoid(from_input[k] + from_state[k]), z = sigmoid(from_input[H + k] + from_state[H + k]);
    float n = std::tanh(from_input[2 * H + k] + r * from_state[2 * H + k]);
    gates[k] = r, gates[H + k] = z, gates[2 * H + k] = n, gates[3 * H + k] = from_state[2 * H + k];
    out[k] = (1 - z) * n + z * before[k];
  }
}

/// dout [H] -> d_input, d_state [3 H], and the part of `before`'s gradient [H] that does not go through the weights.
void gru_row_backward(const float* gates, const float* before, const float* dout, float* d_input, float* d_state,
                      float* d_before, int64_t H) {
  for (int64_t k = 0; k < H; ++k) {
    float r = gates[k], z = gates[H + k], n = gates[2 * H + k], s = gates[3 * H + k];
    float dn = dout[k] * (1 - z) * (1 - n * n), dz = dout[k] * (before[k] - n) * z * (1 - z), dr = dn * s * r * (1 - r);
    d_input[k] = d_state[k] = dr, d_input[H + k] = d_state[H + k] = dz;
    d_input[2 * H + k] = dn, d_state[2 * H + k] = dn * r;
    d_before[k] = dout[k] * z;
  }
}

/// [B, T, ...] -> [T, B, ...], so that a step's rows stand together.
Tensor by_step(const Tensor& x) { return x.transpose(0, 1).contiguous(); }

void check(const char* name, const Tensor& x, const Tensor& state, const Tensor& keep, const RecurrentWeights& w,
           int64_t gates, int64_t states) {
  bool fits = x.dim() == 3 && w.state.dim() == 2 && w.state.size(0) == gates * w.state.size(1) &&
              w.input.size(1) == x.size(2) && state.dim() == 2 && state.size(0) == x.size(0) &&
              state.size(1) == states * w.state.size(1) && keep.sizes() == x.sizes().slice(0, 2);
  if (!fits || !x.is_cpu() || x.scalar_type() != at::kFloat || keep.scalar_type() != at::kFloat)
    run_failed(name, "x [B, T, in], state and keep must be float32 and fit the weights; got ", x.sizes(), ", ",
               state.sizes(), ", ", keep.sizes(), " and weights ", w.input.sizes(), ", ", w.state.sizes());
}

/// Gradients of the weights from those of the gates, [T, B, G] each; `input` is x [T, B, in], `before` [T, B, H].
variable_list weight_gradients(const Tensor& d_input, const Tensor& d_state, const Tensor& input,
                               const Tensor& before) {
  Tensor di = d_input.flatten(0, 1), ds = d_state.flatten(0, 1);
  return {Tensor(),  Tensor(), Tensor(), di.t().mm(input.flatten(0, 1)), ds.t().mm(before.flatten(0, 1)),
          di.sum(0), ds.sum(0)};
}

struct Lstm : torch::autograd::Function<Lstm> {
  static Variable forward(AutogradContext* context, const Tensor& x, const Tensor& state, const Tensor& keep,
                          const Variable& wi, const Variable& ws, const Variable& bi, const Variable& bs) {
    const int64_t B = x.size(0), T = x.size(1), H = ws.size(1);
    Tensor input = by_step(x), kept = by_step(keep);
    Tensor gates = at::addmm(bi.add(bs), input.flatten(0, 1), wi.t()).view({T, B, 4 * H});
    Tensor out = at::empty({T, B, H}, x.options()), cell = at::empty_like(out);
    Tensor before = at::empty_like(out), cell_before = at::empty_like(out), transposed = ws.t();
    Tensor h = state.narrow(1, 0, H), c = state.narrow(1, H, H);
    for (int64_t t = 0; t < T; ++t) {
      Tensor keeps = kept[t].unsqueeze(1), gate = gates[t], hb = before[t], cb = cell_before[t];
      at::mul_out(hb, h, keeps), at::mul_out(cb, c, keeps);
      gate.addmm_(hb, transposed);
      h = out[t], c = cell[t];
      for (int64_t i = 0; i < B; ++i)
        lstm_row(gate.data_ptr<float>() + i * 4 * H, cb.const_data_ptr<float>() + i * H, c.data_ptr<float>() + i * H,
                 h.data_ptr<float>() + i * H, H);
    }
    context->save_for_backward({input, kept, ws, gates, cell, before, cell_before});
    return out.transpose(0, 1).contiguous();
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    auto saved = context->get_saved_variables();
    const Tensor &input = saved[0], &kept = saved[1], &ws = saved[2], &gates = saved[3], &cell = saved[4];
    const Tensor &before = saved[5], &cell_before = saved[6];
    const int64_t T = cell.size(0), B = cell.size(1), H = cell.size(2);
    Tensor dy = by_step(gradients[0]), d_gates = at::empty_like(gates);
    Tensor dh = at::zeros({B, H}, cell.options()), dc = at::zeros_like(dh);
    for (int64_t t = T - 1; t >= 0; --t) {
      dh.add_(dy[t]);
      for (int64_t i = 0; i < B; ++i) {
        int64_t at = (t * B + i) * H;
        lstm_row_backward(gates.const_data_ptr<float>() + 4 * at, cell_before.const_data_ptr<float>() + at,
                          cell.const_data_ptr<float>() + at, dh.const_data_ptr<float>() + i * H,
                          dc.data_ptr<float>() + i * H, d_gates.data_ptr<float>() + 4 * at, H);
      }
      Tensor keeps = kept[t].unsqueeze(1);
      at::mm_out(dh, d_gates[t], ws);
      dh.mul_(keeps), dc.mul_(keeps);
    }
    return weight_gradients(d_gates, d_gates, input, before);
  }
};

struct Gru : torch::autograd::Function<Gru> {
  static Variable forward(AutogradContext* context, const Tensor& x, const Tensor& state, const Tensor& keep,
                          const Variable& wi, const Variable& ws, const Variable& bi, const Variable& bs) {
    const int64_t B = x.size(0), T = x.size(1), H = ws.size(1);
    Tensor input = by_step(x), kept = by_step(keep);
    Tensor from_input = at::addmm(bi, input.flatten(0, 1), wi.t()).view({T, B, 3 * H});
    Tensor out = at::empty({T, B, H}, x.options()), before = at::empty_like(out);
    Tensor gates = at::empty({T, B, 4 * H}, x.options()), from_state = at::empty({B, 3 * H}, x.options());
    Tensor transposed = ws.t(), h = state;
    for (int64_t t = 0; t < T; ++t) {
      Tensor hb = before[t];
      at::mul_out(hb, h, kept[t].unsqueeze(1));
      at::addmm_out(from_state, bs, hb, transposed);
      h = out[t];
      for (int64_t i = 0; i < B; ++i) {
        int64_t at = (t * B + i) * H;
        gru_row(from_input.const_data_ptr<float>() + 3 * at, from_state.const_data_ptr<float>() + i * 3 * H,
                before.const_data_ptr<float>() + at, gates.data_ptr<float>() + 4 * at, out.data_ptr<float>() + at, H);
      }
    }
    context->save_for_backward({input, kept, ws, gates, before});
    return out.transpose(0, 1).contiguous();
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    auto saved = context->get_saved_variables();
    const Tensor &input = saved[0], &kept = saved[1], &ws = saved[2], &gates = saved[3], &before = saved[4];
    const int64_t T = before.size(0), B = before.size(1), H = before.size(2);
    Tensor dy = by_step(gradients[0]), d_input = at::empty({T, B, 3 * H}, before.options());
    Tensor d_state = at::empty_like(d_input), dh = at::zeros({B, H}, before.options()), direct = at::empty_like(dh);
    for (int64_t t = T - 1; t >= 0; --t) {
      dh.add_(dy[t]);
      for (int64_t i = 0; i < B; ++i) {
        int64_t at = (t * B + i) * H;
        gru_row_backward(gates.const_data_ptr<float>() + 4 * at, before.const_data_ptr<float>() + at,
                         dh.const_data_ptr<float>() + i * H, d_input.data_ptr<float>() + 3 * at,
                         d_state.data_ptr<float>() + 3 * at, direct.data_ptr<float>() + i * H, H);
      }
      at::addmm_out(dh, direct, d_state[t], ws);
      dh.mul_(kept[t].unsqueeze(1));
    }
    return weight_gradients(d_input, d_state, input, before);
  }
};

}  // namespace

Tensor lstm(const Tensor& x, const Tensor& state, const Tensor& keep, const RecurrentWeights& w) {
  check("lstm", x, state, keep, w, 4, 2);
  return Lstm::apply(x, state, keep, w.input, w.state, w.input_bias, w.state_bias);
}

Tensor gru(const Tensor& x, const Tensor& state, const Tensor& keep, const RecurrentWeights& w) {
  check("gru", x, state, keep, w, 3, 1);
  return Gru::apply(x, state, keep, w.input, w.state, w.input_bias, w.state_bias);
}

}  // namespace rft::ops
