#include "rollout/own_answers.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

#include "rft/dist/exchange.h"
#include "rollout/scored_pieces.h"

namespace rft {
namespace {

/// Numbers of the pieces, those first whose answers are expected to be longest, as equal ones stand.
std::vector<size_t> longest_first(const std::vector<Piece>& pieces, const std::vector<double>& expected) {
  std::vector<size_t> order(pieces.size());
  std::iota(order.begin(), order.end(), size_t{0});
  if (expected.empty()) return order;
  auto length = [&](size_t k) {
    const auto first = expected.begin() + pieces[k].first;
    return std::accumulate(first, first + pieces[k].count, 0.0);
  };
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return length(a) > length(b); });
  return order;
}

}  // namespace

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

std::string series_of(const Sharing& sharing, const Experience& contexts, int64_t group_size) {
  auto* numbers = dynamic_cast<NumberSeries*>(sharing.processes);
  if (!numbers || sharing.fixed || pieces_of(contexts.context.rows(), group_size).size() < 2) return "";
  return numbers->new_series();
}

Experience own_answers(const Sharing& sharing, const std::string& series, SamplesPieces& sampler, RewardModel* reward,
                       const Experience& contexts, const SampleRequest& request, ScoringSpent& spent) {
  if (series.empty())
    return own_share(sharing.processes, contexts, request, [&](const Experience& asked, const SampleRequest& how) {
      const auto pieces = pieces_of(asked.context.rows(), how.group_size);
      size_t at = 0;
      return sample_scored(
          sampler, reward, asked, how,
          [&]() -> std::optional<Piece> { return at < pieces.size() ? std::optional(pieces[at++]) : std::nullopt; }, 0,
          spent);
    });
  auto& numbers = dynamic_cast<NumberSeries&>(*sharing.processes);
  const auto pieces = pieces_of(contexts.context.rows(), request.group_size);
  const auto order = longest_first(pieces, sharing.expected);
  // With half of its share under way a process takes no more until there is room: the rest goes to whoever is first.
  const int64_t rows = contexts.context.rows() * request.group_size, size = sharing.processes->size();
  return sample_scored(
      sampler, reward, contexts, request,
      [&]() -> std::optional<Piece> {
        const auto number = static_cast<size_t>(numbers.next_number(series));
        return number < order.size() ? std::optional(pieces[order[number]]) : std::nullopt;
      },
      std::max<int64_t>(rows / (2 * size), 1), spent);
}

Experience all_answers(Communicator* processes, Experience mine) {
  if (!processes) return mine;
  Experience all = gather_rows(*processes, mine);
  const Tensor order = at::argsort(all.group, /*stable=*/true);
  return order.equal(at::arange(order.numel(), at::kLong)) ? all : all.select(order);
}

}  // namespace rft
