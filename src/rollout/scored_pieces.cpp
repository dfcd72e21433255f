#include "rollout/scored_pieces.h"

#include <ATen/ATen.h>

#include <map>

#include "rft/core/clock.h"
#include "rft/core/error.h"
#include "rft/rollout/reward_columns.h"
#include "rollout/scoring_thread.h"

namespace rft {
namespace {

/// Answers of a piece, at least: a group, which is soon there, or of small groups some.
constexpr int64_t kPieceRows = 4;

/// One after another, as one batch.
Experience joined(std::vector<Experience> parts) {
  for (Experience& part : parts) {
    if (!part.reward.defined() || part.reward.dim() == parts[0].reward.dim()) continue;
    // A reward of decisions that failed as a whole has one value a row.
    std::string said;
    for (Experience& one : parts)
      for (const std::string& error : take_reward_columns(one).errors)
        if (said.empty()) said = error;
    run_failed("reward", "some rows were given one value, others one a decision: ", said);
  }
  return parts.size() == 1 ? std::move(parts[0]) : Experience::concat(parts);
}

}  // namespace

std::vector<Piece> pieces_of(int64_t contexts, int64_t group_size) {
  const int64_t each = (kPieceRows + group_size - 1) / group_size, count = std::max<int64_t>(contexts / each, 1);
  std::vector<Piece> out;
  for (int64_t k = 0; k < count; ++k) out.push_back({k * each, k + 1 < count ? each : contexts - k * each});
  return out;
}

Experience sample_scored(SamplesPieces& sampler, RewardModel* reward, const Experience& contexts,
                         const SampleRequest& request, const std::vector<Piece>& pieces, ScoringSpent& spent) {
  if (pieces.empty()) return {};
  std::map<int64_t, Experience> made;
  std::optional<ScoringThread> scoring;
  if (reward) scoring.emplace(*reward);
  size_t at = 0;
  PieceWork work;
  work.next = [&]() -> std::optional<Piece> {
    if (at == pieces.size()) return {};
    return pieces[at++];
  };
  work.finished = [&](const Piece& piece, Experience rows) {
    rows.group = rows.group.add(piece.first);
    if (scoring)
      scoring->add(piece.first, std::move(rows));
    else
      made.emplace(piece.first, std::move(rows));
  };
  sampler.sample_pieces(contexts, request, work);
  std::vector<Experience> parts;
  if (scoring) {
    Clock clock;
    spent.beside += scoring->seconds();
    parts = scoring->finish();
    spent.waited += clock.seconds();
  }
  for (auto& [first, rows] : made) parts.push_back(std::move(rows));
  return joined(std::move(parts));
}

}  // namespace rft
