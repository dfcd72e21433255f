#include "rollout/own_answers.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "rft/dist/exchange.h"
#include "rollout/scored_pieces.h"

namespace rft {

Experience own_share(Communicator* processes, const Experience& contexts, const SampleRequest& request,
                     const SampleContexts& sample) {
  if (!processes) return sample(contexts, request);
  Share share = share_of(processes, contexts.context.rows());
  if (share.count == 0) return {};
  SampleRequest part = request;
  part.first_context += share.first;
  Experience mine = sample(contexts.narrow(share.first, share.count), part);
  mine.group = mine.group.add(share.first);
  return mine;
}

std::vector<Piece> pieces_of_process(const std::vector<Piece>& pieces, const std::vector<double>& expected,
                                     int64_t rank, int64_t size) {
  std::vector<double> length;
  for (const Piece& piece : pieces) {
    const auto first = expected.begin() + piece.first;
    length.push_back(expected.empty() ? 0 : std::accumulate(first, first + piece.count, 0.0));
  }
  std::vector<size_t> order(pieces.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return length[a] > length[b]; });
  struct Load {
    double decisions = 0;
    int64_t pieces = 0;
  };
  std::vector<Load> loads(static_cast<size_t>(size));
  std::vector<size_t> mine;
  for (size_t k : order) {
    auto least = std::min_element(loads.begin(), loads.end(), [](const Load& a, const Load& b) {
      return std::pair(a.decisions, a.pieces) < std::pair(b.decisions, b.pieces);
    });
    least->decisions += length[k], ++least->pieces;
    if (least - loads.begin() == rank) mine.push_back(k);
  }
  std::sort(mine.begin(), mine.end());
  std::vector<Piece> out;
  for (size_t k : mine) out.push_back(pieces[k]);
  return out;
}

Experience own_answers(const Sharing& sharing, SamplesPieces& sampler, RewardModel* reward, const Experience& contexts,
                       const SampleRequest& request, ScoringSpent& spent) {
  auto pieces = pieces_of(contexts.context.rows(), request.group_size);
  if (auto* processes = sharing.processes)
    pieces = pieces_of_process(pieces, sharing.expected, processes->rank(), processes->size());
  return sample_scored(sampler, reward, contexts, request, pieces, spent);
}

Experience all_answers(Communicator* processes, Experience mine) {
  if (!processes) return mine;
  Experience all = gather_rows(*processes, mine);
  const Tensor order = at::argsort(all.group, /*stable=*/true);
  return order.equal(at::arange(order.numel(), at::kLong)) ? all : all.select(order);
}

}  // namespace rft
