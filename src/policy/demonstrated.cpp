#include "policy/demonstrated.h"

#include <ATen/ATen.h>

#include "rft/core/error.h"
#include "rft/io/rows.h"

namespace rft {
namespace {

/// Choices must be whole numbers among those that there are.
Tensor choices_of(const Tensor& numbers, int64_t choices, const std::string& where) {
  if (numbers.numel() &&
      (numbers.lt(0).any().item<bool>() || numbers.ge(static_cast<double>(choices)).any().item<bool>() ||
       numbers.ne(numbers.floor()).any().item<bool>()))
    bad_input(where, "`actions` must be whole numbers from 0 to ", choices - 1);
  return numbers.to(at::kLong);
}

}  // namespace

std::vector<Demonstrated> read_demonstrations(const Rows& rows, const EnvironmentSpec& world) {
  std::vector<Demonstrated> out;
  const int64_t chunk = world.chunk, width = world.action.size() / chunk;
  for (int64_t i = 0; i < rows.size(); ++i) {
    Tensor seen = rows.numbers(i, "observations", world.observation), done = rows.numbers(i, "actions", width);
    if (seen.size(0) != done.size(0) && seen.size(0) != done.size(0) + 1)
      bad_input(rows.where(i), "`observations` must be one for every action (or one more); got ", seen.size(0),
                " observations and ", done.size(0), " actions");
    if (done.size(0) < chunk)
      bad_input(rows.where(i), "an episode must hold at least the ", chunk, " actions of one chunk; got ",
                done.size(0));
    if (!seen.isfinite().all().item<bool>() || !done.isfinite().all().item<bool>())
      bad_input(rows.where(i), "observations and actions must be finite numbers");
    int64_t decisions = done.size(0) - chunk + 1;
    Tensor action =
        world.action.discrete() ? choices_of(done, world.action.choices, rows.where(i)) : done.to(at::kFloat);
    if (chunk > 1) action = action.unfold(0, chunk, 1).transpose(1, 2).reshape({decisions, chunk * width});
    out.push_back({seen.narrow(0, 0, decisions).contiguous(), action.contiguous()});
  }
  return out;
}

}  // namespace rft
