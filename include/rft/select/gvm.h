#pragma once
/// Where to spend samples: the contexts whose gradient varies most get most of them (GVM, Yao et al. 2025, "Optimizing
/// chain-of-thought reasoners via gradient variance minimization", arXiv:2505.02391), here from the pass rates alone.
///
/// A rollout's answers are divided among its contexts in proportion to 1 / sqrt(p + penalty / p), at least `least`
/// each, p the share of a context's answers so far that reached `solved` (a decaying mean, with half an answer of each
/// kind to begin with): hard contexts get more than easy ones, and hopeless ones few again. Of each context the rows
/// that reached `solved` are kept, `keep` at most, earlier ones first. The pass rates are state: a resumed run goes on
/// as it was. Metrics: select/kept (share of the rows), select/contexts (share of the contexts of which a row was
/// kept), select/most (the largest number of answers that a context got).
#include <map>
#include <vector>

#include "rft/core/options.h"
#include "rft/select/selector.h"

namespace rft {

class Gvm : public Selector {
 public:
  struct Options {
    double solved = 1, penalty = 0.01, decay = 0.9;
    int64_t keep = 1, least = 1;
    void visit(OptionVisitor& v);
  };
  explicit Gvm(Options options) : options_(options) {}
  Needs needs() const override;
  std::vector<int64_t> allocate(const std::vector<int64_t>& rows, int64_t answers) override;
  Tensor select(const Experience& batch, Metrics& metrics) override;
  int64_t expected_rows(int64_t rows, int64_t group_size) const override;
  State state() const override;
  void load_state(const State& state) override;

 private:
  struct Tally {
    double passed = 0.5, tried = 1;
  };
  double weight(int64_t row) const;

  Options options_;
  std::map<int64_t, Tally> tallies_;  ///< by the dataset's row
};

}  // namespace rft
