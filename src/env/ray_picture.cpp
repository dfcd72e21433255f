// Pictures of a simulation by casting a ray through every pixel (MuJoCo's mj_ray): no graphics card, driver or window.
#include "env/simulation.h"

#ifdef RFT_HAS_MUJOCO
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "env/mujoco_model.h"

namespace rft {
namespace {

using Vector3 = std::array<mjtNum, 3>;
using Radiance = std::array<double, 3>;

/// Rays a pixel, in each direction.
constexpr int kFine = 2;
constexpr double kAmbient = 0.4, kShadow = 0.6, kTile = 1.0;  ///< kTile: metres of the floor's pattern
const Vector3 kToLight = {-0.26, -0.35, 0.9};
const Radiance kSkyLow = {0.93, 0.95, 0.98}, kSkyHigh = {0.55, 0.70, 0.88}, kPlane = {0.80, 0.86, 0.90},
               kOtherTile = {0.66, 0.74, 0.80};

Vector3 along(const Vector3& from, const Vector3& direction, double distance) {
  return {from[0] + direction[0] * distance, from[1] + direction[1] * distance, from[2] + direction[2] * distance};
}
Vector3 unit_length(Vector3 v) {
  mju_normalize3(v.data());
  return v;
}

/// Where one looks from, and what the middle and the edges of the picture are.
struct Camera {
  Vector3 eye, forward, right, up;
  double half_height;  ///< of the picture at distance 1
};

/// The model's first camera, else one that looks down at the model from the side, as MuJoCo's viewer starts.
Camera camera_of(const mjModel* m, const mjData* d) {
  Camera out;
  if (m->ncam > 0) {
    const mjtNum* r = d->cam_xmat;  // columns: right, up, backward
    out.right = {r[0], r[3], r[6]}, out.up = {r[1], r[4], r[7]}, out.forward = {-r[2], -r[5], -r[8]};
    out.eye = {d->cam_xpos[0], d->cam_xpos[1], d->cam_xpos[2]};
    out.half_height = std::tan(m->cam_fovy[0] * mjPI / 360);
    return out;
  }
  double azimuth = m->vis.global.azimuth * mjPI / 180, elevation = m->vis.global.elevation * mjPI / 180;
  out.forward = {std::cos(elevation) * std::cos(azimuth), std::cos(elevation) * std::sin(azimuth), std::sin(elevation)};
  mju_cross(out.right.data(), out.forward.data(), Vector3{0, 0, 1}.data());
  out.right = unit_length(out.right);
  mju_cross(out.up.data(), out.right.data(), out.forward.data());
  Vector3 centre = {m->stat.center[0], m->stat.center[1], m->stat.center[2]};
  out.eye = along(centre, out.forward, -1.5 * m->stat.extent);
  out.half_height = std::tan(m->vis.global.fovy * mjPI / 360);
  return out;
}

Radiance paint_of(const mjModel* m, int geom, const Vector3& at) {
  if (m->geom_type[geom] == mjGEOM_PLANE) {
    auto tile = static_cast<int64_t>(std::floor(at[0] / kTile) + std::floor(at[1] / kTile));
    return tile % 2 == 0 ? kPlane : kOtherTile;
  }
  const float* rgba = m->geom_matid[geom] >= 0 ? m->mat_rgba + 4 * m->geom_matid[geom] : m->geom_rgba + 4 * geom;
  return {rgba[0], rgba[1], rgba[2]};
}

/// The first thing on a ray's way and its distance; -1 where there is nothing. Planes have no end in MuJoCo's physics,
/// but mj_ray() meets them only as far as they are drawn.
int first_hit(const mjModel* m, const mjData* d, const Vector3& eye, const Vector3& ray, double& distance,
              Vector3& normal) {
  int geom = -1;
  distance = mj_ray(m, d, eye.data(), ray.data(), nullptr, 1, -1, &geom, normal.data());
  for (int i = 0; i < m->ngeom; ++i) {
    if (m->geom_type[i] != mjGEOM_PLANE) continue;
    const mjtNum *r = d->geom_xmat + 9 * i, *at = d->geom_xpos + 3 * i;
    Vector3 up = {r[2], r[5], r[8]}, to = {at[0] - eye[0], at[1] - eye[1], at[2] - eye[2]};
    double along_up = mju_dot3(ray.data(), up.data()), far = mju_dot3(to.data(), up.data()) / along_up;
    if (along_up >= 0 || far <= 0 || (geom >= 0 && far >= distance)) continue;
    geom = i, distance = far, normal = up;
  }
  return geom;
}

Radiance seen_along(const mjModel* m, const mjData* d, const Vector3& eye, const Vector3& ray, const Vector3& light) {
  Vector3 normal{};
  double distance = 0;
  int geom = first_hit(m, d, eye, ray, distance, normal);
  Radiance out;
  if (geom < 0) {
    double high = std::clamp(ray[2] * 1.5 + 0.2, 0.0, 1.0);
    for (int c = 0; c < 3; ++c) out[c] = kSkyLow[c] + (kSkyHigh[c] - kSkyLow[c]) * high;
    return out;
  }
  Vector3 at = along(eye, ray, distance);
  if (mju_dot3(normal.data(), ray.data()) > 0) normal = {-normal[0], -normal[1], -normal[2]};
  double facing = std::max(0.0, mju_dot3(normal.data(), light.data()));
  if (facing > 0) {
    int other = -1;
    Vector3 above = along(at, normal, 1e-4);
    if (mj_ray(m, d, above.data(), light.data(), nullptr, 1, -1, &other, nullptr) >= 0) facing *= 1 - kShadow;
  }
  Radiance paint = paint_of(m, geom, at);
  for (int c = 0; c < 3; ++c) out[c] = std::min(1.0, paint[c] * (kAmbient + (1 - kAmbient) * facing));
  return out;
}

}  // namespace

Tensor Simulation::render(int64_t height, int64_t width) const {
  const mjModel* m = impl_->model.get();
  const mjData* d = impl_->data.get();
  Camera camera = camera_of(m, d);
  Vector3 light = unit_length(kToLight);
  Tensor out = at::empty({3, height, width}, at::kFloat);
  float* to = out.data_ptr<float>();
  at::parallel_for(0, height, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin * width; i < end * width; ++i) {
      Radiance sum{};
      for (int fine = 0; fine < kFine * kFine; ++fine) {
        double y = (static_cast<double>(i / width) + (fine / kFine + 0.5) / kFine) / static_cast<double>(height);
        double x = (static_cast<double>(i % width) + (fine % kFine + 0.5) / kFine) / static_cast<double>(width);
        double up = (1 - 2 * y) * camera.half_height;
        double right = (2 * x - 1) * camera.half_height * static_cast<double>(width) / static_cast<double>(height);
        Vector3 ray = unit_length(along(along(camera.forward, camera.right, right), camera.up, up));
        Radiance one = seen_along(m, d, camera.eye, ray, light);
        for (int c = 0; c < 3; ++c) sum[c] += one[c] / (kFine * kFine);
      }
      for (int64_t c = 0; c < 3; ++c) to[c * height * width + i] = static_cast<float>(sum[static_cast<size_t>(c)]);
    }
  });
  return out;
}

}  // namespace rft

#else
#include <ATen/ATen.h>

namespace rft {
Tensor Simulation::render(int64_t height, int64_t width) const { return at::zeros({3, height, width}); }
}  // namespace rft
#endif
