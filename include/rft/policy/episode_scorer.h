#pragma once
/// A reward model of what actors do, in training: what is trained gives a score, not decisions.
#include <optional>
#include <string>
#include <vector>

#include "rft/nn/episode_model.h"
#include "rft/policy/policy.h"

namespace rft {

/// The score [B] of an episode, or a piece of one, is the sum over its steps of what an EpisodeModel finds each worth,
/// as Christiano et al. (2017, arXiv:1706.03741) learn rewards from preferences. Pairs are rows {"chosen", "rejected"},
/// each an episode {"observations": [[..], ..], "actions": [[..], ..]}, as `rft act --pairs` writes them. An untrained
/// one takes its sizes, and what is usual of observations and actions, from `episodes`. It samples nothing.
class EpisodeScorer : public Policy {
 public:
  struct Options {
    std::string path, episodes;
    std::vector<double> hidden{128, 128};
    std::string activation = "relu";
    void visit(OptionVisitor& v);
  };
  /// Throws UserError where neither `path` nor `episodes` is given, or what they name does not fit.
  explicit EpisodeScorer(Options options);

  void prepare(const Needs& needs, uint64_t seed) override;
  Experience contexts(const Rows& rows) const override;
  Experience demonstrations(const Rows& rows) override;
  Experience pairs(const Rows& rows) const override;
  void visit_rollout(OptionVisitor&) override {}
  Experience sample(const Experience& contexts, const SampleRequest& request) override;
  Evaluation evaluate(const Experience& batch, const Needs& needs) override;
  Tensor ref_logp(const Experience& batch, const Needs& needs) override;
  std::vector<Parameter> parameters() override;
  void save(const std::string& directory) const override;
  void load(const std::string& directory) override;

 private:
  Options options_;
  std::optional<EpisodeModel> model_;
};

}  // namespace rft
