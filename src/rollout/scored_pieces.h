#pragma once
/// Answers made piece by piece, and scored meanwhile.
#include "rft/policy/samples_pieces.h"
#include "rft/reward/reward_model.h"
#include "rft/rollout/spread.h"

namespace rft {

/// `contexts` contexts in pieces of 16 answers or more, of which the last takes what is over.
std::vector<Piece> pieces_of(int64_t contexts, int64_t group_size);

/// What the policy that `sampler` is answers to the pieces of `contexts` that `next` gives, in the order of the
/// contexts; no rows where there are none. Where `reward` is not null, which must score every row by itself, with their
/// rewards (reward_columns.h): each piece is scored on another thread as soon as it is there. `rows_at_once` is
/// PieceWork's.
Experience sample_scored(SamplesPieces& sampler, RewardModel* reward, const Experience& contexts,
                         const SampleRequest& request, std::function<std::optional<Piece>()> next, int64_t rows_at_once,
                         ScoringSpent& spent);

}  // namespace rft
