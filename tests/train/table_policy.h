#pragma once
/// A policy small enough to be enumerated: C contexts, answers of T tokens out of V, each token's logits a table over
/// what came before. So that the best policy is known, and every objective can be held against it.
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>

#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/ops/linear_divergence.h"
#include "rft/policy/policy.h"

namespace rft::testing {

class TablePolicy : public Policy {
 public:
  TablePolicy(int64_t contexts, int64_t tokens, int64_t length, uint64_t seed)
      : contexts_(contexts), tokens_(tokens), length_(length), generator_(at::detail::createCPUGenerator(seed)) {
    for (int64_t t = 0, states = contexts; t < length; ++t, states *= tokens) {
      reference_.push_back(at::randn({states, tokens}, generator_));
      logits_.push_back(reference_.back().clone().set_requires_grad(true));
    }
    value_ = at::zeros({contexts, length}).set_requires_grad(true);
  }

  int64_t answers() const { return static_cast<int64_t>(std::pow(tokens_, length_)); }
  int64_t context_count() const { return contexts_; }

  /// Rows of `context` [B] int64 with `answer` [B] int64, its tokens the digits to base V, the first one leading.
  Experience rows(const Tensor& context, const Tensor& answer) const {
    Experience out;
    std::vector<Tensor> digits(static_cast<size_t>(length_));
    Tensor rest = answer;
    for (int64_t t = length_ - 1; t >= 0; --t) {
      digits[static_cast<size_t>(t)] = rest.remainder(tokens_);
      rest = rest.floor_divide(tokens_);
    }
    out.action = at::stack(digits, 1);
    out.mask = at::ones(out.action.sizes(), at::kBool);
    out.context.set("row", context);
    out.group = context;
    return out;
  }
  /// [B]: the number of each row's answer.
  Tensor answer_of(const Experience& batch) const {
    Tensor out = at::zeros({batch.rows()}, at::kLong);
    for (int64_t t = 0; t < length_; ++t) out = out.mul(tokens_).add(batch.action.select(1, t));
    return out;
  }
  /// Every answer to every context, and [C, A] their probabilities.
  Experience all_rows() const {
    Tensor context = at::arange(contexts_, at::kLong).repeat_interleave(answers());
    return rows(context, at::arange(answers(), at::kLong).repeat({contexts_}));
  }
  Tensor probabilities() const { return table(logits_); }
  Tensor reference_probabilities() const { return table(reference_); }

  /// `group` samples of every context, judged by the policy that made them and by the reference.
  Experience sample_all(int64_t group) {
    at::NoGradGuard no_grad;
    Tensor context = at::arange(contexts_, at::kLong).repeat_interleave(group);
    Tensor answer = at::multinomial(probabilities().index_select(0, context), 1, true, generator_).squeeze(1);
    Experience out = rows(context, answer);
    out.logp = judge(logits_, out), out.ref_logp = judge(reference_, out);
    out.extra.set(extra::old_value, value_.detach().index_select(0, context));
    return out;
  }

  Evaluation evaluate(const Experience& batch, const Needs& needs) override {
    Evaluation out;
    out.logp = judge(logits_, batch);
    if (needs.value) out.value = value_.index_select(0, batch.context.tensor("row"));
    Tensor entropy = at::zeros_like(out.logp.detach()), divergence = at::zeros_like(entropy);
    std::vector<Tensor> entropies, divergences;
    for_each_token(batch, [&](int64_t t, const Tensor& state) {
      Tensor logp = at::log_softmax(logits_[t].index_select(0, state), 1);
      entropies.push_back(logp.exp().mul(logp).sum(1).neg());
      if (needs.divergence)
        divergences.push_back(
            ops::divergence_of(logp, at::log_softmax(reference_[t].index_select(0, state), 1), *needs.divergence));
    });
    out.entropy = at::stack(entropies, 1);
    if (needs.divergence) out.extra.set(extra::divergence, at::stack(divergences, 1));
    return out;
  }
  Tensor ref_logp(const Experience& batch, const Needs&) override { return judge(reference_, batch); }
  std::vector<Parameter> parameters() override {
    std::vector<Parameter> out;
    for (const Tensor& x : logits_) out.push_back({"logits", x});
    out.push_back({"value", value_, true, groups::critic});
    return out;
  }

  Experience contexts(const Rows&) const override { run_failed("table", "reads no rows"); }
  Experience demonstrations(const Rows&) override { run_failed("table", "reads no rows"); }
  void visit_rollout(OptionVisitor&) override {}
  Experience sample(const Experience&, const SampleRequest&) override { run_failed("table", "use sample_all"); }
  void save(const std::string&) const override {}
  void load(const std::string&) override {}

 private:
  template <class Body>
  void for_each_token(const Experience& batch, const Body& body) const {
    Tensor state = batch.context.tensor("row");
    for (int64_t t = 0; t < length_; ++t) {
      body(t, state);
      state = state.mul(tokens_).add(batch.action.select(1, t));
    }
  }
  Tensor judge(const std::vector<Tensor>& logits, const Experience& batch) const {
    std::vector<Tensor> out;
    for_each_token(batch, [&](int64_t t, const Tensor& state) {
      Tensor logp = at::log_softmax(logits[static_cast<size_t>(t)].index_select(0, state), 1);
      out.push_back(logp.gather(1, batch.action.select(1, t).unsqueeze(1)).squeeze(1));
    });
    return at::stack(out, 1);
  }
  Tensor table(const std::vector<Tensor>& logits) const {
    at::NoGradGuard no_grad;
    return judge(logits, all_rows()).sum(1).exp().view({contexts_, answers()});
  }

  int64_t contexts_, tokens_, length_;
  mutable at::Generator generator_;
  std::vector<Tensor> reference_, logits_;
  Tensor value_;
};

}  // namespace rft::testing
