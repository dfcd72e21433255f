#pragma once
/// What one process answers of a rollout.
#include <functional>

#include "rft/dist/number_series.h"
#include "rft/policy/samples_pieces.h"
#include "rft/rollout/spread.h"

namespace rft {

/// Samples contexts from the first row number on that the request says.
using SampleContexts = std::function<Experience(const Experience& contexts, const SampleRequest& request)>;

/// What `sample` answers to this process's share of `contexts`, which is known beforehand, with groups numbered as in
/// all of them; all of it where `processes` is null, and no rows where there are fewer contexts than processes.
Experience own_share(Communicator* processes, const Experience& contexts, const SampleRequest& request,
                     const SampleContexts& sample);

/// A sampling's name among the processes, where they take its pieces as they come (new_series()); "" where each has its
/// share. All processes call it alike, on the training thread, before anything is sampled.
std::string series_of(const Sharing& sharing, const Experience& contexts, int64_t group_size);

/// This process's answers to `contexts`, and with `reward`, which must score every row by itself, what they are worth:
/// its share, or with a `series` the pieces that nobody else took, in any order. Groups are numbered as in all of them.
Experience own_answers(const Sharing& sharing, const std::string& series, SamplesPieces& sampler, RewardModel* reward,
                       const Experience& contexts, const SampleRequest& request, ScoringSpent& spent);

/// All processes' rows, in the order of their groups: collective.
Experience all_answers(Communicator* processes, Experience mine);

}  // namespace rft
