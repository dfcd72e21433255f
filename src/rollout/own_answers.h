#pragma once
/// What one process answers of a rollout.
#include <functional>

#include "rft/policy/samples_pieces.h"
#include "rft/rollout/spread.h"

namespace rft {

/// Samples contexts from the first row number on that the request says.
using SampleContexts = std::function<Experience(const Experience& contexts, const SampleRequest& request)>;

/// What `sample` answers to this process's share of `contexts`, which is known beforehand, with groups numbered as in
/// all of them; all of it where `processes` is null, and no rows where there are fewer contexts than processes.
Experience own_share(Communicator* processes, const Experience& contexts, const SampleRequest& request,
                     const SampleContexts& sample);

/// Of `pieces` those that process `rank` of `size` answers, in their order: each, those of most expected decisions
/// first, goes to whoever has fewest so far (Graham's rule of the longest first, doi:10.1137/0117039); where nothing is
/// expected they go round. All know whose is what: what a row's neighbours are decides its last bits, so it must not
/// depend on time.
std::vector<Piece> pieces_of_process(const std::vector<Piece>& pieces, const std::vector<double>& expected,
                                     int64_t rank, int64_t size);

/// This process's answers to `contexts`, and with `reward`, which must score every row by itself, what they are worth.
/// Groups are numbered as in all of them.
Experience own_answers(const Sharing& sharing, SamplesPieces& sampler, RewardModel* reward, const Experience& contexts,
                       const SampleRequest& request, ScoringSpent& spent);

/// All processes' rows, in the order of their groups: collective.
Experience all_answers(Communicator* processes, Experience mine);

}  // namespace rft
