#include "nn/recompute.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

namespace rft {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

struct Body : torch::CustomClassHolder {
  std::function<Tensor(const Tensor&)> run;
};

struct Recompute : torch::autograd::Function<Recompute> {
  static Variable forward(AutogradContext* context, const Variable& x, const Variable& anchor,
                          c10::intrusive_ptr<Body> body) {
    (void)anchor;  // requires a gradient, so that the node exists where x itself needs none (a frozen embedding)
    context->save_for_backward({x});
    context->saved_data["body"] = c10::IValue::make_capsule(body);
    context->saved_data["needs_x"] = x.requires_grad();
    at::NoGradGuard no_grad;
    return body->run(x);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    auto body = c10::static_intrusive_pointer_cast<Body>(context->saved_data["body"].toCapsule());
    bool needs_x = context->saved_data["needs_x"].toBool();
    auto x = context->get_saved_variables()[0].detach().requires_grad_(needs_x);
    at::AutoGradMode grad(true);
    auto y = body->run(x);
    y.backward(gradients[0]);
    return {needs_x ? x.grad() : Variable(), Variable(), Variable()};
  }
};

}  // namespace

Tensor recompute_in_backward(std::function<Tensor(const Tensor&)> body, const Tensor& x) {
  auto holder = c10::make_intrusive<Body>();
  holder->run = std::move(body);
  static const Tensor anchor = at::zeros({1}).requires_grad_();
  return Recompute::apply(x, anchor, holder);
}

}  // namespace rft
