// Every scheduler against diffusers, and flow SDEs against their formulas (tests/parity/make_schedulers.py).
#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

#include "rft/diffusion/scheduler.h"
#include "rft/io/safetensors.h"
#include "support.h"

namespace rft::diffusers_test {
namespace {

using Json = nlohmann::json;

struct Fixture {
  Json cases = Json::parse(testing::read_file(testing::fixture("parity/data/schedulers/cases.json")));
  SafetensorsFile runs = load_safetensors(testing::fixture("parity/data/schedulers/runs.safetensors"));
  SafetensorsFile forward = load_safetensors(testing::fixture("parity/data/schedulers/forward.safetensors"));
};

const Fixture& fixture() {
  static const Fixture loaded;
  return loaded;
}

/// The model that the script runs.
Tensor answer(const Tensor& x, double t, const std::string& channels) {
  Tensor out = x.tanh().mul(0.7).add(x.mul(2).add(t / 100).sin().mul(0.2));
  if (channels == "learned") return at::cat({out, x.sin().square().mul(0.02).add(0.01)}, 1);
  if (channels == "learned_range") return at::cat({out, x.sin()}, 1);
  return out;
}

/// The largest difference, relative to the largest number where that is above 1.
double difference(const Tensor& got, const Tensor& wanted) {
  Tensor want = wanted.to(at::kDouble), off = got.to(at::kDouble).sub(want).abs();
  return off.max().item<double>() / std::max(1.0, want.abs().max().item<double>());
}

/// A run of the scheduler, as the policy makes it.
struct Trajectory {
  std::vector<Tensor> states, logps;
  std::vector<double> stds;
};

Trajectory follow(const Json& c, const Scheduler& scheduler, const Scheduler::Plan& plan, at::ScalarType dtype) {
  Tensor noise = fixture().runs.tensors.at("noise").to(dtype), z = fixture().runs.tensors.at("step_noise").to(dtype);
  StepOptions options{c["sde"], c["eta"]};
  StepHistory history;
  Tensor x = noise.mul(plan.init_noise_sigma);
  Trajectory out;
  for (int64_t i = 0; i < plan.steps(); ++i) {
    Tensor output = answer(scheduler.scale_input(x, plan, i), plan.timesteps[static_cast<size_t>(i)], c["channels"]);
    Transition step = scheduler.step(plan, i, output, x, options, history);
    x = draw_next(step, z[i]);
    out.states.push_back(x);
    double most = step.stds.defined() && step.std > 0 ? step.stds.max().item<double>() : step.std;
    out.stds.push_back(most);
    out.logps.push_back(step.std > 0 ? step_logp(step, x, false) : at::zeros({2}, dtype));
  }
  return out;
}

void expect_plan(const Scheduler::Plan& plan, const Tensor& table, const std::string& name) {
  int64_t n = plan.steps();
  ASSERT_EQ(table.size(1), n + 1) << name;
  EXPECT_LT(difference(at::tensor(plan.timesteps, at::kDouble), table[0].narrow(0, 0, n)), 1e-6) << name;
  EXPECT_LT(std::abs(plan.init_noise_sigma / table[0][n].item<double>() - 1), 1e-6) << name;
  if (table[1].abs().max().item<double>() == 0) return;
  EXPECT_LT(difference(at::tensor(plan.sigmas, at::kDouble), table[1]), 1e-6) << name;
}

TEST(Diffusers, WholeRunsAreTheSame) {
  const auto& tensors = fixture().runs.tensors;
  double worst = 0;
  for (const Json& c : fixture().cases["runs"]) {
    std::string name = c["name"], text = name + " " + c.dump().substr(0, 400);
    bool sde = c["sde"] != "default";
    auto scheduler = make_scheduler(c["config"].dump(), c["as"], name);
    auto plan = scheduler->plan(c["steps"], c["tokens"]);
    ASSERT_NO_FATAL_FAILURE(expect_plan(plan, tensors.at(name + ".plan"), text));
    Trajectory got = follow(c, *scheduler, plan, sde ? at::kDouble : at::kFloat);
    size_t n = got.states.size();
    double off =
        difference(at::stack({got.states[0], got.states[n / 2], got.states[n - 1]}), tensors.at(name + ".states"));
    EXPECT_LT(off, sde ? 1e-6 : 1e-5) << text;
    worst = std::max(worst, off);
    if (sde) {
      EXPECT_LT(difference(at::stack(got.logps), tensors.at(name + ".logp")), 1e-6) << text;
    }
  }
  RecordProperty("worst", cat(worst));
  std::cout << "largest difference " << worst << " in " << fixture().cases["runs"].size() << " runs\n";
}

TEST(Diffusers, StandardDeviationsAreThoseOfTheNoiseThatDiffusersAdds) {
  for (const Json& c : fixture().cases["runs"]) {
    std::string name = c["name"], text = name + " " + c.dump().substr(0, 400);
    auto scheduler = make_scheduler(c["config"].dump(), c["as"], name);
    Trajectory got = follow(c, *scheduler, scheduler->plan(c["steps"], c["tokens"]), at::kFloat);
    Tensor wanted = fixture().runs.tensors.at(name + ".plan")[2].to(at::kDouble).contiguous();
    for (size_t i = 0; i < got.stds.size(); ++i) {
      double want = wanted.data_ptr<double>()[i];
      EXPECT_NEAR(got.stds[i], want, 2e-5 * std::max(1.0, want)) << text << " step " << i;
      // diffusers' 1e-10, which keeps a logarithm finite, changes no sample.
      if (!scheduler->learned_variance()) {
        EXPECT_EQ(got.stds[i] == 0, want < 1e-9) << text << " step " << i;
      }
    }
  }
}

TEST(Diffusers, NoisedSamplesAndTargetsAreTheSame) {
  const auto& tensors = fixture().forward.tensors;
  const Tensor &clean = tensors.at("clean"), &noise = tensors.at("noise"), &t = tensors.at("timesteps");
  for (const Json& c : fixture().cases["forward"]) {
    std::string name = c["name"], prediction = c["config"]["prediction_type"];
    auto scheduler = make_scheduler(c["config"].dump(), "", name);
    Tensor x = scheduler->add_noise(clean, noise, t), target = scheduler->target(clean, noise, t);
    EXPECT_LT(difference(x, tensors.at(name + ".noisy")), 1e-6) << c;
    const Tensor& wanted = prediction == "epsilon"  ? noise
                           : prediction == "sample" ? clean
                                                    : tensors.at(name + ".velocity");
    EXPECT_LT(difference(target, wanted), 1e-6) << c;
    // Where nothing is left of the clean sample, predicted noise does not tell it.
    int64_t known = c["config"].value("rescale_betas_zero_snr", false) && prediction == "epsilon" ? 3 : 4;
    Tensor back = scheduler->denoised(x, target, t).narrow(0, 0, known);
    double tolerance = c["config"].value("beta_schedule", "") == "squaredcos_cap_v2" ? 1e-2 : 1e-5;
    EXPECT_LT(difference(back, clean.narrow(0, 0, known)), tolerance) << c;
  }
}

TEST(Diffusers, EulersNoisedSamplesAreDiffusersDividedBySqrtOfSigmaSquaredPlusOne) {
  auto scheduler = make_scheduler(R"({"_class_name": "EulerDiscreteScheduler"})", "", "euler");
  auto plan = scheduler->plan(20);
  const auto& tensors = fixture().forward.tensors;
  for (int64_t i = 0; i < plan.steps(); ++i) {
    Tensor t = at::full({4}, plan.timesteps[static_cast<size_t>(i)], at::kFloat);
    Tensor x = tensors.at("clean").add(tensors.at("noise").mul(plan.sigmas[static_cast<size_t>(i)]));
    EXPECT_LT(difference(scheduler->add_noise(tensors.at("clean"), tensors.at("noise"), t),
                         scheduler->scale_input(x, plan, i)),
              1e-5)
        << i;
  }
}

}  // namespace
}  // namespace rft::diffusers_test
