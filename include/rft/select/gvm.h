#pragma once
/// Where to spend samples: the contexts whose gradient varies most get most of them (GVM, Yao et al. 2025, "Optimizing
/// chain-of-thought reasoners via gradient variance minimization", arXiv:2505.02391; github.com/RLHFlow/GVM).
///
/// A rollout's answers are divided among its contexts in proportion to G / sqrt(p + penalty / p), at least `least`
/// each. p is the share of a context's answers so far that reached `solved`, G the mean norm of their gradients: with
/// rejection sampling the gradient's variance is sum G^2 / (n p) over the contexts, least for n in proportion to
/// G / sqrt(p), and `penalty` keeps hopeless contexts from taking everything (the authors' code: alpha 1e-3, beta 2).
/// So contexts that are solved with certainty, whose gradient is 0, get `least`.
///
/// gradient `logits`: the norm of the log-likelihood's gradient at the logits, from what the rollout knows already. Of
/// a decision taken with probability q it is between 1 - q and sqrt(2) (1 - q): (1 - q)^2 + sum of the others' squares,
/// which sum to 1 - q. An answer counts as sqrt(sum_t (1 - q_t)^2). The authors take the norm at the weights of the
/// head or of the embeddings, which is this times the length of the hidden states where these differ by decision;
/// `none`: G = 1.
///
/// What is known of a context is a decaying sum over the answers it got, in place of the paper's pilot samples, which
/// are thus free; it begins with one answer half right, of norm 1. Of each context the rows that reached `solved` are
/// kept, `keep` at most, earlier ones first. All this is state: a resumed run goes on as it was. Metrics: select/kept
/// (share of the rows), select/contexts (share of the contexts of which a row was kept), select/most (the largest
/// number of answers that a context got).
#include <map>
#include <string>
#include <vector>

#include "rft/core/options.h"
#include "rft/select/selector.h"

namespace rft {

class Gvm : public Selector {
 public:
  struct Options {
    double solved = 1, penalty = 0.001, decay = 0.9;
    std::string gradient = "logits";
    int64_t keep = 1, least = 1;
    void visit(OptionVisitor& v);
  };
  explicit Gvm(Options options) : options_(std::move(options)) {}
  Needs needs() const override;
  std::vector<int64_t> allocate(const std::vector<int64_t>& rows, int64_t answers) override;
  Tensor select(const Experience& batch, Metrics& metrics) override;
  int64_t expected_rows(int64_t rows, int64_t group_size) const override;
  State state() const override;
  void load_state(const State& state) override;

 private:
  struct Tally {
    double passed = 0.5, tried = 1, norms = 0.5;  ///< norms: the sum over the answers that passed
  };
  double weight(int64_t row) const;

  Options options_;
  std::map<int64_t, Tally> tallies_;  ///< by the dataset's row
};

}  // namespace rft
