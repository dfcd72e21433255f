#pragma once
/// KTO (Ethayarajh et al. 2024, arXiv:2402.01306) and BCO (Jung et al. 2024, arXiv:2404.04656): answers that were found
/// good or bad, one by one, as TRL 1.16's KTOTrainer and the BCOTrainer that TRL had.
///
/// x = sum_t m (logp - ref_logp); b = beta; s the logistic function; good and bad by extra::label (1 and 0)
///   kto                good: desirable_weight (1 - s(b (x - z)))   bad: undesirable_weight (1 - s(b (z - x)))
///   apo_zero_unpaired  good: desirable_weight (1 - s(b x))         bad: undesirable_weight s(b x)   (arXiv:2408.06266)
///   bco                good: -desirable_weight log s(b x - d)      bad: -undesirable_weight log s(d - b x)
/// loss = the mean over the rows of the whole optimizer batch over all ranks.
/// z, the reference point, is held constant: `batch` = max(0, mean over rows of sum_t kl_mask (kl_logp - kl_ref_logp)),
/// where these columns [B, T] of now.extra, or else of batch.extra, judge answers that belong to other prompts; it is
/// the whole batch's of one process: the trainer judges each prompt with its neighbour's answer. `zero` = 0.
/// d, BCO's reward shift, is the mean of b x over all rows seen so far, this batch's included, held constant; it is
/// state. (BCO's weights for where good and bad answers come from different prompts are not here.)
/// Micro-batches need observe() for `batch` and for bco (RunError otherwise).
/// Metrics: kl (z) or delta (d); rewards/{chosen,rejected} (b x) and logps/{chosen,rejected}, means over the good and
/// the bad rows; rewards/margins, their difference, where the whole batch is at hand; entropy over tokens, where it was
/// computed.
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
  State state() const override;
  void load_state(const State& state) override;

 private:
  struct Whole {
    double kl = 0;             ///< z
    double delta = 0;          ///< d
    double good = 0, bad = 0;  ///< rows
  };
  Whole measure(const Evaluation& now, const Experience& batch) const;
  bool compares() const { return options_.variant == "kto" && options_.reference_point == "batch"; }

  bool shifts() const { return options_.variant == "bco"; }

  Options options_;
  std::optional<Whole> observed_;  ///< from observe() to the end of the step
  double mean_ = 0, seen_ = 0;     ///< of b x over the rows of all steps taken
};

}  // namespace rft
