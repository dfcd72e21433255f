#include "rft/env/classic.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "env/canvas.h"
#include "env/draws.h"

namespace rft {
namespace {

constexpr double kPi = std::numbers::pi;
constexpr Colour kDark{0.15f, 0.15f, 0.2f}, kWood{0.8f, 0.6f, 0.4f}, kJoint{0.5f, 0.5f, 0.8f}, kRed{0.8f, 0.3f, 0.3f},
    kGrey{0.75f, 0.75f, 0.75f};

EnvironmentSpec choices(const char* name, int64_t observation, int64_t count, int64_t max_steps) {
  EnvironmentSpec out;
  out.name = name, out.observation = observation, out.action.choices = count, out.max_steps = max_steps;
  return out;
}

/// Into [-pi, pi) as Gymnasium's Pendulum has it.
double normalized_angle(double x) { return x + kPi - 2 * kPi * std::floor((x + kPi) / (2 * kPi)) - kPi; }

double wrapped(double x) {
  while (x > kPi) x -= 2 * kPi;
  while (x < -kPi) x += 2 * kPi;
  return x;
}

}  // namespace

CartPole::CartPole(Options) : FlatWorld(choices("cart_pole", 4, 2, 500), 4) {}

void CartPole::place(Draws& draws) {
  for (double& x : now_) x = draws.uniform(-0.05, 0.05);
}
void CartPole::observe(std::span<double> out) const { std::copy(now_.begin(), now_.end(), out.begin()); }

bool CartPole::advance(std::span<const double> action, std::span<double> reward) {
  constexpr double kGravity = 9.8, kPole = 0.1, kTotal = 1.1, kHalfLength = 0.5, kForce = 10, kTau = 0.02;
  double force = action[0] >= 0.5 ? kForce : -kForce;
  auto [x, speed, angle, turning] = std::array{now_[0], now_[1], now_[2], now_[3]};
  double sine = std::sin(angle), cosine = std::cos(angle);
  double pushed = (force + kPole * kHalfLength * turning * turning * sine) / kTotal;
  double turn = (kGravity * sine - cosine * pushed) / (kHalfLength * (4.0 / 3.0 - kPole * cosine * cosine / kTotal));
  double push = pushed - kPole * kHalfLength * turn * cosine / kTotal;
  now_ = {x + kTau * speed, speed + kTau * push, angle + kTau * turning, turning + kTau * turn};
  reward[0] = 1;
  return std::abs(now_[0]) > 2.4 || std::abs(now_[2]) > 12 * 2 * kPi / 360;
}

Tensor CartPole::render(int64_t height, int64_t width) const {
  Canvas canvas(height, width, {0, 0.7}, 1.2);
  canvas.line({-5, 0}, {5, 0}, 0.01, kDark);
  canvas.box({now_[0] - 0.2, -0.1}, {now_[0] + 0.2, 0.1}, kDark);
  canvas.line({now_[0], 0.05}, {now_[0] + std::sin(now_[2]), 0.05 + std::cos(now_[2])}, 0.08, kWood);
  canvas.disc({now_[0], 0.05}, 0.04, kJoint);
  return canvas.picture();
}

void MountainCar::Options::visit(OptionVisitor& v) {
  v.option("goal_velocity", goal_velocity, "speed that it must have at the goal");
}

MountainCar::MountainCar(Options options) : FlatWorld({}, 2), options_(options) {
  spec_.name = "mountain_car", spec_.observation = 2, spec_.max_steps = 999;
  spec_.action.low = {-1}, spec_.action.high = {1};
}

void MountainCar::place(Draws& draws) { now_ = {draws.uniform(-0.6, -0.4), 0}; }
void MountainCar::observe(std::span<double> out) const { std::copy(now_.begin(), now_.end(), out.begin()); }

bool MountainCar::advance(std::span<const double> action, std::span<double> reward) {
  constexpr double kPower = 0.0015, kSlope = 0.0025, kLeft = -1.2, kRight = 0.6, kFastest = 0.07, kGoal = 0.45;
  double engines = std::clamp(action[0], -1.0, 1.0) + force_;
  double pull = kSlope * (1 - slack_) * std::cos(3 * now_[0]);
  double speed = std::clamp(now_[1] + engines * kPower - pull, -kFastest, kFastest);
  double x = std::clamp(now_[0] + speed, kLeft, kRight);
  if (x == kLeft && speed < 0) speed = 0;
  now_ = {x, speed};
  bool there = x >= kGoal && speed >= options_.goal_velocity;
  reward[0] = (there ? 100 : 0) - 0.1 * action[0] * action[0];
  return there;
}

Tensor MountainCar::render(int64_t height, int64_t width) const {
  Canvas canvas(height, width, {-0.3, 0.5}, 0.9);
  auto ground = [](double x) { return 0.45 * std::sin(3 * x) + 0.1; };
  for (double x = -1.2; x < 0.6; x += 0.05) canvas.line({x, ground(x)}, {x + 0.05, ground(x + 0.05)}, 0.02, kDark);
  canvas.line({0.45, ground(0.45)}, {0.45, ground(0.45) + 0.3}, 0.02, kRed);
  canvas.disc({now_[0], ground(now_[0]) + 0.06}, 0.06, kJoint);
  return canvas.picture();
}

void Pendulum::Options::visit(OptionVisitor& v) {
  v.option("gravity", gravity, "acceleration downwards", unit("m/s^2"));
}

Pendulum::Pendulum(Options options) : FlatWorld({}, 2), options_(options) {
  spec_.name = "pendulum", spec_.observation = 3, spec_.max_steps = 200;
  spec_.action.low = {-2}, spec_.action.high = {2};
}

void Pendulum::place(Draws& draws) { now_ = {draws.uniform(-kPi, kPi), draws.uniform(-1, 1)}; }
void Pendulum::observe(std::span<double> out) const {
  out[0] = std::cos(now_[0]), out[1] = std::sin(now_[0]), out[2] = now_[1];
}

bool Pendulum::advance(std::span<const double> action, std::span<double> reward) {
  double torque = std::clamp(action[0], -2.0, 2.0), angle = now_[0], speed = now_[1];
  double off = normalized_angle(angle);
  reward[0] = -(off * off + 0.1 * speed * speed + 0.001 * torque * torque);
  double gravity = options_.gravity * (1 - slack_), turning = torque + 2 * force_;
  speed = std::clamp(speed + (1.5 * gravity * std::sin(angle) + 3 * turning) * 0.05, -8.0, 8.0);
  now_ = {angle + speed * 0.05, speed};
  return false;
}

Tensor Pendulum::render(int64_t height, int64_t width) const {
  Canvas canvas(height, width, {}, 1.3);
  canvas.line({0, 0}, {-std::sin(now_[0]), std::cos(now_[0])}, 0.2, kRed);
  canvas.disc({0, 0}, 0.05, kDark);
  return canvas.picture();
}

namespace {

using Links = std::array<double, 4>;  ///< both angles, both speeds

/// The "book" form of Sutton & Barto's dynamics: lengths and masses 1, centres of mass in the middle.
Links acrobot_slope(const Links& s, double torque) {
  constexpr double kGravity = 9.8;
  double d1 = 0.25 + (1 + 0.25 + std::cos(s[1])) + 2, d2 = 0.25 + 0.5 * std::cos(s[1]) + 1;
  double phi2 = 0.5 * kGravity * std::cos(s[0] + s[1] - kPi / 2);
  double phi1 = -0.5 * s[3] * s[3] * std::sin(s[1]) - s[3] * s[2] * std::sin(s[1]) +
                1.5 * kGravity * std::cos(s[0] - kPi / 2) + phi2;
  double second = (torque + d2 / d1 * phi1 - 0.5 * s[2] * s[2] * std::sin(s[1]) - phi2) / (0.25 + 1 - d2 * d2 / d1);
  return {s[2], s[3], -(d2 * second + phi1) / d1, second};
}

Links moved(const Links& s, const Links& slope, double by) {
  return {s[0] + by * slope[0], s[1] + by * slope[1], s[2] + by * slope[2], s[3] + by * slope[3]};
}

}  // namespace

Acrobot::Acrobot(Options) : FlatWorld(choices("acrobot", 6, 3, 500), 4) {}

void Acrobot::place(Draws& draws) {
  for (double& x : now_) x = draws.uniform(-0.1, 0.1);
}

void Acrobot::observe(std::span<double> out) const {
  out[0] = std::cos(now_[0]), out[1] = std::sin(now_[0]), out[2] = std::cos(now_[1]), out[3] = std::sin(now_[1]);
  out[4] = now_[2], out[5] = now_[3];
}

bool Acrobot::advance(std::span<const double> action, std::span<double> reward) {
  constexpr double kStep = 0.2;
  double torque = action[0] - 1;
  Links s{now_[0], now_[1], now_[2], now_[3]};
  Links k1 = acrobot_slope(s, torque), k2 = acrobot_slope(moved(s, k1, kStep / 2), torque);
  Links k3 = acrobot_slope(moved(s, k2, kStep / 2), torque), k4 = acrobot_slope(moved(s, k3, kStep), torque);
  for (size_t i = 0; i < 4; ++i) s[i] += kStep / 6 * (k1[i] + 2 * k2[i] + 2 * k3[i] + k4[i]);
  now_ = {wrapped(s[0]), wrapped(s[1]), std::clamp(s[2], -4 * kPi, 4 * kPi), std::clamp(s[3], -9 * kPi, 9 * kPi)};
  bool above = -std::cos(now_[0]) - std::cos(now_[1] + now_[0]) > 1;
  reward[0] = above ? 0 : -1;
  return above;
}

Tensor Acrobot::render(int64_t height, int64_t width) const {
  Canvas canvas(height, width, {}, 2.2);
  Point elbow{std::sin(now_[0]), -std::cos(now_[0])};
  Point end{elbow.x + std::sin(now_[0] + now_[1]), elbow.y - std::cos(now_[0] + now_[1])};
  canvas.line({-5, 1}, {5, 1}, 0.02, kGrey);
  canvas.line({0, 0}, elbow, 0.2, kRed), canvas.line(elbow, end, 0.2, kWood);
  canvas.disc({0, 0}, 0.1, kDark), canvas.disc(elbow, 0.1, kDark);
  return canvas.picture();
}

}  // namespace rft
