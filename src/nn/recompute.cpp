#include "rft/nn/recompute.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

namespace rft {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

struct Body : torch::CustomClassHolder {
  BodyOfMany run;
  Tensor known;
};

struct Recompute : torch::autograd::Function<Recompute> {
  static Variable forward(AutogradContext* context, at::TensorList inputs, const Variable& anchor,
                          c10::intrusive_ptr<Body> body) {
    (void)anchor;  // requires a gradient, so that the node exists where no input needs one (a frozen embedding)
    std::vector<Tensor> kept = inputs.vec();
    context->save_for_backward(kept);
    context->saved_data["body"] = c10::IValue::make_capsule(body);
    std::vector<int64_t> needs;
    for (const Tensor& x : kept) needs.push_back(x.requires_grad());
    context->saved_data["needs"] = needs;
    at::NoGradGuard no_grad;
    return body->known.defined() ? body->known.clone() : body->run(kept);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    auto body = c10::static_intrusive_pointer_cast<Body>(context->saved_data["body"].toCapsule());
    auto needs = context->saved_data["needs"].toIntVector();
    std::vector<Tensor> inputs;
    for (const Tensor& saved : context->get_saved_variables())
      inputs.push_back(saved.detach().requires_grad_(needs[inputs.size()] != 0));
    at::AutoGradMode grad(true);
    body->run(inputs).backward(gradients[0]);
    variable_list out;
    for (const Tensor& x : inputs) out.push_back(x.requires_grad() ? x.grad() : Variable());
    out.resize(inputs.size() + 2);
    return out;
  }
};

}  // namespace

Tensor recompute_in_backward(BodyOfMany body, const std::vector<Tensor>& inputs, const Tensor& known) {
  auto holder = c10::make_intrusive<Body>();
  holder->run = std::move(body), holder->known = known;
  static const Tensor anchor = at::zeros({1}).requires_grad_();
  return Recompute::apply(at::TensorList(inputs), anchor, holder);
}

Tensor recompute_in_backward(std::function<Tensor(const Tensor&)> body, const Tensor& x, const Tensor& known) {
  BodyOfMany of_many = [body = std::move(body)](const std::vector<Tensor>& inputs) { return body(inputs[0]); };
  return recompute_in_backward(std::move(of_many), std::vector<Tensor>{x}, known);
}

}  // namespace rft
