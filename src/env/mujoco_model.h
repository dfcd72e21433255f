#pragma once
/// What of MuJoCo a simulation is made of; for simulation.cpp and ray_caster.cpp alone.
#include <mujoco/mujoco.h>

#include <memory>
#include <string>

#include "env/simulation.h"

namespace rft {

struct Simulation::Impl {
  std::shared_ptr<const mjModel> model;
  std::unique_ptr<mjData, void (*)(mjData*)> data{nullptr, mj_deleteData};
  int frame_skip = 1;
  bool contact_forces = false;
  double force[3] = {0, 0, 0}, lift = 0;  ///< of assist()
  void apply_assistance();
  std::string name;
};

}  // namespace rft
