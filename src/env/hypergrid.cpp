#include "rft/env/hypergrid.h"

#include <algorithm>
#include <cmath>

#include "env/canvas.h"
#include "env/draws.h"
#include "rft/core/error.h"

namespace rft {

void Hypergrid::Options::visit(OptionVisitor& v) {
  v.option("dimensions", dimensions, "coordinates of an object", at_least(1));
  v.option("side", side, "values that a coordinate takes", at_least(2));
  v.option("base", base, "reward of any object", at_least(0));
  v.option("edge", edge, "added where every coordinate is in the outer half", at_least(0));
  v.option("peak", peak, "added in the modes, one in every corner", at_least(0));
}

Hypergrid::Hypergrid(Options options)
    : FlatWorld({}, static_cast<size_t>(options.dimensions)), options_(std::move(options)) {
  spec_.name = "hypergrid";
  spec_.observation = options_.dimensions * options_.side + options_.dimensions + 1;
  spec_.action.choices = options_.dimensions + 1, spec_.action.masked = true;
  spec_.max_steps = options_.dimensions * (options_.side - 1) + 1;
}

void Hypergrid::place(Draws&) {
  std::fill(now_.begin(), now_.end(), 0.0);
  backward_logp_ = 0;
}

void Hypergrid::observe(std::span<double> out) const {
  auto side = static_cast<size_t>(options_.side), D = now_.size();
  name_made(out.first(D * side));
  for (size_t d = 0; d < D; ++d) out[D * side + d] = now_[d] + 1 < static_cast<double>(options_.side) ? 1 : 0;
  out[D * side + D] = 1;
}

void Hypergrid::name_made(std::span<double> name) const {
  std::fill(name.begin(), name.end(), 0.0);
  auto side = static_cast<size_t>(options_.side);
  for (size_t d = 0; d < now_.size(); ++d) name[d * side + static_cast<size_t>(now_[d])] = 1;
}

void Hypergrid::name_any(uint64_t seed, std::span<double> name) const {
  std::fill(name.begin(), name.end(), 0.0);
  Draws draws(seed);
  for (int64_t d = 0; d < options_.dimensions; ++d)
    name[static_cast<size_t>(d * options_.side + draws.below(options_.side))] = 1;
}

double Hypergrid::reward_of(std::span<const double> x) const {
  bool edge = true, peak = true;
  for (double coordinate : x) {
    double off = std::abs(coordinate / static_cast<double>(options_.side - 1) - 0.5);
    edge = edge && off > 0.25, peak = peak && off > 0.3 && off < 0.4;
  }
  return options_.base + (edge ? options_.edge : 0) + (peak ? options_.peak : 0);
}

bool Hypergrid::advance(std::span<const double> action, std::span<double> reward) {
  auto choice = static_cast<size_t>(action[0]);
  backward_logp_ = 0, reward[0] = 0;
  if (choice == now_.size()) {
    reward[0] = reward_of(now_);
    return true;
  }
  if (now_[choice] + 1 >= static_cast<double>(options_.side))
    run_failed("hypergrid", "coordinate ", choice, " is at its end and can't be added to");
  now_[choice] += 1;
  auto parents = std::count_if(now_.begin(), now_.end(), [](double x) { return x > 0; });
  backward_logp_ = -std::log(static_cast<double>(parents));
  return false;
}

Tensor Hypergrid::render(int64_t height, int64_t width) const {
  double top = options_.base + options_.edge + options_.peak, half = static_cast<double>(options_.side) / 2;
  Canvas canvas(height, width, {half, half}, half * 1.05);
  std::vector<double> x(now_.begin(), now_.end());
  // The plane of the first two coordinates, through where it stands.
  for (int64_t i = 0; i < options_.side; ++i)
    for (int64_t j = 0; j < (x.size() > 1 ? options_.side : 1); ++j) {
      x[0] = static_cast<double>(i);
      if (x.size() > 1) x[1] = static_cast<double>(j);
      auto shade = static_cast<float>(1 - 0.8 * reward_of(x) / top);
      double left = x[0], low = x.size() > 1 ? x[1] : 0;
      canvas.box({left + 0.02, low + 0.02}, {left + 0.98, low + 0.98}, {shade, shade, 1});
    }
  canvas.disc({now_[0] + 0.5, (x.size() > 1 ? now_[1] : 0) + 0.5}, 0.3, {0.85f, 0.35f, 0.25f});
  return canvas.picture();
}

}  // namespace rft
