#pragma once
/// What a world looks like to those who act in it.
#include <cstdint>
#include <string>
#include <vector>

namespace rft {

/// What an agent may decide: numbers between bounds, or one of several choices.
struct ActionSpace {
  int64_t choices = 0;  ///< > 0: an action is one number, 0 .. choices - 1
  /// With choices: the last `choices` numbers of an observation are 1 where a choice is allowed and 0 where it is not.
  bool masked = false;
  std::vector<double> low, high;  ///< else: an action is so many numbers, with these bounds

  bool discrete() const { return choices > 0; }
  /// Numbers of an action.
  int64_t size() const { return discrete() ? 1 : static_cast<int64_t>(low.size()); }
};

struct EnvironmentSpec {
  std::string name;
  int64_t agents = 1;       ///< that act at the same time
  int64_t observation = 0;  ///< numbers that one agent observes
  ActionSpace action;       ///< of one agent
  int64_t chunk = 1;        ///< actions of a decision, one after another: `action` names the numbers of them all
  int64_t max_steps = 0;    ///< an episode is cut off (truncated) after so many steps by who runs it; 0: never
};

}  // namespace rft
