#pragma once
/// KTO (Ethayarajh et al. 2024, arXiv:2402.01306): answers that were found good or bad, one by one, as TRL 1.16's
/// KTOTrainer.
///
/// x = sum_t m (logp - ref_logp); b = beta; s the logistic function; good and bad by extra::label (1 and 0)
///   kto                good: desirable_weight (1 - s(b (x - z)))   bad: undesirable_weight (1 - s(b (z - x)))
///   apo_zero_unpaired  good: desirable_weight (1 - s(b x))         bad: undesirable_weight s(b x)   (arXiv:2408.06266)
/// loss = the mean over the rows of the whole optimizer batch over all ranks.
/// z, the reference point, is held constant: `batch` = max(0, mean over rows of sum_t kl_mask (kl_logp - kl_ref_logp)),
/// where these columns [B, T] of now.extra, or else of batch.extra, judge answers that belong to other prompts; it is
/// the whole batch's of one process: the trainer judges each prompt with its neighbour's answer. `zero` = 0.
/// Micro-batches need observe() for `batch` (RunError otherwise).
/// Metrics: kl (z); rewards/{chosen,rejected} (b x) and logps/{chosen,rejected}, means over the good and the bad rows;
/// rewards/margins, their difference, where the whole batch is at hand; entropy over tokens, where it was computed.
#include <optional>
#include <string>

#include "rft/core/options.h"
#include "rft/objective/objective.h"

namespace rft {

class Kto : public Objective {
 public:
  struct Options {
    std::string variant = "kto";
    std::string reference_point = "batch";
    double beta = 0.1;
    double desirable_weight = 1, undesirable_weight = 1;
    void visit(OptionVisitor& v);
  };
  explicit Kto(Options options) : options_(std::move(options)) {}
  Needs needs() const override;
  Loss loss(const Evaluation& now, const Experience& batch) const override;
  void observe(const Evaluation& now, const Experience& whole) override;
  void stepped(const Metrics& metrics) override;

 private:
  struct Whole {
    double kl = 0;             ///< z
    double good = 0, bad = 0;  ///< rows
  };
  Whole measure(const Evaluation& now, const Experience& batch) const;
  bool compares() const { return options_.variant == "kto" && options_.reference_point == "batch"; }

  Options options_;
  std::optional<Whole> observed_;  ///< from observe() to the end of the step
};

}  // namespace rft
