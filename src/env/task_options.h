#pragma once
/// Options of every robot's task.
#include <string>

#include "rft/core/options.h"

namespace rft {

inline void task_options(OptionVisitor& v, std::string& model, int64_t& frame_skip) {
  v.option("model", model, "the robot's XML file; a bare name is looked for among Gymnasium's");
  v.option("frame_skip", frame_skip, "substeps of the simulation for one action", at_least(1));
}

}  // namespace rft
