#pragma once
/// How long the answers to a context were, and so how long the next ones may be.
#include <vector>

#include "rft/core/experience.h"
#include "rft/core/state.h"

namespace rft {

/// What is expected decides which process samples what.
class AnswerLengths : public Stateful {
 public:
  explicit AnswerLengths(int64_t contexts) : last_(static_cast<size_t>(contexts), -1) {}

  /// Notes the mean length of each context's answers in `batch`, whose extra::row [B] says which it is.
  void note(const Experience& batch);
  /// Of each context in `rows` [C] int64 the last mean length; the mean of all that are known where it has none, 0
  /// where none is known. Decisions.
  std::vector<double> expected(const Tensor& rows) const;
  State state() const override;
  void load_state(const State& state) override;

 private:
  std::vector<double> last_;  ///< -1: unknown
};

}  // namespace rft
