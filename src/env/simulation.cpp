#include "env/simulation.h"

#include "rft/core/error.h"

#ifdef RFT_HAS_MUJOCO
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <mutex>

#include "env/mujoco_model.h"

namespace rft {
namespace {

using Model = std::shared_ptr<const mjModel>;

/// MuJoCo's own handlers end the process, and write MUJOCO_LOG.TXT.
void take_over_errors() {
  static const bool once = [] {
    mju_user_error = [](const char* message) { run_failed("MuJoCo", message); };
    mju_user_warning = [](const char*) {};  // what matters of it is in mjData::warning
    return true;
  }();
  (void)once;
}

std::string find_model(const std::string& name) {
  if (std::filesystem::exists(name) || name.find('/') != std::string::npos) return name;
  const char* given = std::getenv("RFT_MUJOCO_MODELS");
  return std::string(given ? given : RFT_MUJOCO_MODELS) + "/" + name;
}

/// One model a file in a process: stepping only reads it.
Model load_model(const std::string& name) {
  static std::mutex mutex;
  static std::map<std::string, std::weak_ptr<const mjModel>> loaded;
  std::lock_guard lock(mutex);
  std::string file = find_model(name);
  if (Model there = loaded[file].lock()) return there;
  if (!std::filesystem::exists(file))
    bad_input(file, "there is no such model of a robot; those of Gymnasium are found through RFT_MUJOCO_MODELS");
  char message[1000] = "";
  mjModel* model = mj_loadXML(file.c_str(), nullptr, message, sizeof message);
  if (!model) bad_input(file, "MuJoCo can't load this model: ", message);
  Model out(model, [](const mjModel* m) { mj_deleteModel(const_cast<mjModel*>(m)); });
  loaded[file] = out;
  return out;
}

constexpr int kState = mjSTATE_INTEGRATION;
size_t state_size(const mjModel* model) { return static_cast<size_t>(mj_stateSize(model, kState)); }
size_t positions_size(const mjModel* model) { return static_cast<size_t>(model->nbody) * 3; }

}  // namespace

Simulation::Simulation(const std::string& model, int64_t frame_skip) : impl_(std::make_unique<Impl>()) {
  take_over_errors();
  impl_->model = load_model(model);
  impl_->data.reset(mj_makeData(impl_->model.get()));
  impl_->frame_skip = static_cast<int>(frame_skip);
  impl_->name = model;
}
Simulation::~Simulation() = default;

int64_t Simulation::actuators() const { return impl_->model->nu; }
double Simulation::low(int64_t i) const { return impl_->model->actuator_ctrlrange[2 * i]; }
double Simulation::high(int64_t i) const { return impl_->model->actuator_ctrlrange[2 * i + 1]; }
int64_t Simulation::bodies() const { return impl_->model->nbody; }
double Simulation::dt() const { return impl_->model->opt.timestep * impl_->frame_skip; }

std::span<double> Simulation::qpos() { return {impl_->data->qpos, static_cast<size_t>(impl_->model->nq)}; }
std::span<double> Simulation::qvel() { return {impl_->data->qvel, static_cast<size_t>(impl_->model->nv)}; }
std::span<const double> Simulation::qpos() const { return {impl_->data->qpos, static_cast<size_t>(impl_->model->nq)}; }
std::span<const double> Simulation::qvel() const { return {impl_->data->qvel, static_cast<size_t>(impl_->model->nv)}; }
std::span<const double> Simulation::initial_qpos() const {
  return {impl_->model->qpos0, static_cast<size_t>(impl_->model->nq)};
}

int64_t Simulation::body(const std::string& name) const {
  int id = mj_name2id(impl_->model.get(), mjOBJ_BODY, name.c_str());
  if (id < 0) bad_input(impl_->name, "the task needs a body '", name, "', and the model has none");
  return id;
}
std::span<const double> Simulation::position(int64_t body) const { return {impl_->data->xpos + 3 * body, 3}; }
std::span<const double> Simulation::contact_forces() const {
  return {impl_->data->cfrc_ext, static_cast<size_t>(impl_->model->nbody) * 6};
}
void Simulation::watch_contact_forces() { impl_->contact_forces = true; }

void Simulation::reset() { mj_resetData(impl_->model.get(), impl_->data.get()); }
void Simulation::forward() { mj_forward(impl_->model.get(), impl_->data.get()); }

void Simulation::assist(std::span<const double> force, double lift) {
  for (size_t i = 0; i < 3; ++i) impl_->force[i] = force[i];
  impl_->lift = lift;
}

/// Writes the forces of assist(); the model is shared, so its gravity stays as it is.
void Simulation::Impl::apply_assistance() {
  const mjModel* m = model.get();
  double weight = 0, up = mju_norm3(m->opt.gravity);
  for (int body = 1; body < m->nbody; ++body) {
    weight += m->body_mass[body] * up;
    for (int i = 0; i < 3; ++i) data->xfrc_applied[6 * body + i] = -lift * m->body_mass[body] * m->opt.gravity[i];
  }
  for (int i = 0; i < 3; ++i) data->xfrc_applied[6 + i] += force[i] * weight;
}

void Simulation::step(std::span<const double> action) {
  const mjModel* model = impl_->model.get();
  mjData* data = impl_->data.get();
  impl_->apply_assistance();
  std::copy(action.begin(), action.end(), data->ctrl);
  for (int i = 0; i < impl_->frame_skip; ++i) mj_step(model, data);
  // Where numbers break down MuJoCo starts over on its own, and only counts it.
  for (auto kind : {mjWARN_BADQPOS, mjWARN_BADQVEL, mjWARN_BADQACC, mjWARN_BADCTRL})
    if (data->warning[kind].number > 0)
      run_failed(impl_->name, mju_warningText(kind, static_cast<size_t>(data->warning[kind].lastinfo)));
  // mj_step leaves them out where no sensor asks for them.
  if (impl_->contact_forces) mj_rnePostConstraint(model, data);
}

/// MuJoCo's integration state, and where bodies were, which the next reward may start from.
std::vector<double> Simulation::state() const {
  const mjModel* model = impl_->model.get();
  std::vector<double> out(state_size(model) + positions_size(model));
  mj_getState(model, impl_->data.get(), out.data(), kState);
  std::copy_n(impl_->data->xpos, positions_size(model), out.begin() + static_cast<int64_t>(state_size(model)));
  return out;
}

void Simulation::set_state(const std::vector<double>& state) {
  const mjModel* model = impl_->model.get();
  if (state.size() != state_size(model) + positions_size(model))
    bad_input(impl_->name, "a state of this robot has ", state_size(model) + positions_size(model), " numbers; got ",
              state.size());
  reset();
  mj_setState(model, impl_->data.get(), state.data(), kState);
  std::copy_n(state.begin() + static_cast<int64_t>(state_size(model)), positions_size(model), impl_->data->xpos);
}

}  // namespace rft

#else

namespace rft {

struct Simulation::Impl {};

// The tasks are listed in any build; making one says what is missing.
Simulation::Simulation(const std::string& model, int64_t) {
  bad_input(model, "this rft was built without MuJoCo: run bash cmake/bootstrap.sh, which fetches it, and build again");
}
Simulation::~Simulation() = default;
int64_t Simulation::actuators() const { return 0; }
double Simulation::low(int64_t) const { return 0; }
double Simulation::high(int64_t) const { return 0; }
int64_t Simulation::bodies() const { return 0; }
double Simulation::dt() const { return 0; }
std::span<double> Simulation::qpos() { return {}; }
std::span<double> Simulation::qvel() { return {}; }
std::span<const double> Simulation::qpos() const { return {}; }
std::span<const double> Simulation::qvel() const { return {}; }
std::span<const double> Simulation::initial_qpos() const { return {}; }
int64_t Simulation::body(const std::string&) const { return 0; }
std::span<const double> Simulation::position(int64_t) const { return {}; }
std::span<const double> Simulation::contact_forces() const { return {}; }
void Simulation::watch_contact_forces() {}
void Simulation::reset() {}
void Simulation::forward() {}
void Simulation::assist(std::span<const double>, double) {}
void Simulation::step(std::span<const double>) {}
std::vector<double> Simulation::state() const { return {}; }
void Simulation::set_state(const std::vector<double>&) {}

}  // namespace rft
#endif
