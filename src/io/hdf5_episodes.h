#pragma once
/// Episodes of HDF5 files, as D4RL and Minari keep them.
#include <map>
#include <string>
#include <vector>

#include "rft/core/tensor.h"

namespace rft {

struct Hdf5Episode {
  int64_t number;  ///< from 0: of its group, or the order in a flat file
  std::map<std::string, Tensor>
      arrays;       ///< "observations", "actions", "rewards" where there are any: [L, width] float64
  bool terminated;  ///< the episode ended by itself, not because time or the file ran out
};

/// D4RL (Fu et al. 2020, arXiv:2004.07219): arrays observations, actions, rewards, terminals, timeouts and
/// next_observations side by side (the first two are needed), cut into episodes after every terminal or timeout.
/// Minari: groups episode_0, episode_1, ... with observations (one more than actions), actions, rewards, terminations,
/// truncations. Throws UserError naming the file and the place in it for what is neither; for arrays that are not
/// numbers in one or two dimensions, do not fit together or are too large; and for links, virtual and external data,
/// which would read other files, and filters that are plugins. Without HDF5 in the build it says so.
std::vector<Hdf5Episode> read_hdf5_episodes(const std::string& file);

}  // namespace rft
