#pragma once
/// Answers made piece by piece, and scored meanwhile.
#include "rft/policy/samples_pieces.h"
#include "rft/reward/reward_model.h"
#include "rft/rollout/spread.h"

namespace rft {

/// `contexts` contexts in pieces of one, or of as many as have 4 answers; the last takes what is over.
std::vector<Piece> pieces_of(int64_t contexts, int64_t group_size);

/// What the policy that `sampler` is answers to these `pieces` of `contexts`; no rows where there are none. Where
/// `reward` is not null, which must score every row by itself, with their rewards (reward_columns.h): each piece is
/// scored on another thread as soon as it is there.
Experience sample_scored(SamplesPieces& sampler, RewardModel* reward, const Experience& contexts,
                         const SampleRequest& request, const std::vector<Piece>& pieces, ScoringSpent& spent);

}  // namespace rft
