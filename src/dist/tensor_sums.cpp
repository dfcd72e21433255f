#include "rft/dist/tensor_sums.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

namespace rft {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

Tensor summed(const Tensor& x, Communicator& group) {
  Tensor out = x.detach().clone(at::MemoryFormat::Contiguous);
  group.sum(out);
  return out;
}

Communicator& group_at(int64_t address) { return *reinterpret_cast<Communicator*>(address); }

struct IntoParts : torch::autograd::Function<IntoParts> {
  static Variable forward(AutogradContext* context, const Variable& x, int64_t group) {
    context->saved_data["group"] = group;
    return x.view_as(x);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    return {summed(gradients[0], group_at(context->saved_data["group"].toInt())), {}};
  }
};

struct SumOfParts : torch::autograd::Function<SumOfParts> {
  static Variable forward(AutogradContext*, const Variable& x, int64_t group) { return summed(x, group_at(group)); }
  static variable_list backward(AutogradContext*, variable_list gradients) { return {gradients[0], {}}; }
};

}  // namespace

Tensor into_parts(const Tensor& x, Communicator* group) {
  return group ? IntoParts::apply(x, reinterpret_cast<int64_t>(group)) : x;
}

Tensor sum_of_parts(const Tensor& x, Communicator* group) {
  return group ? SumOfParts::apply(x, reinterpret_cast<int64_t>(group)) : x;
}

}  // namespace rft
