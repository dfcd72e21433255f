#pragma once
/// Transformers of tests/parity/data/dits and what they must do, whatever their architecture.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <map>
#include <nlohmann/json.hpp>

#include "nn/denoisers.h"
#include "rft/io/hf_directory.h"
#include "rft/io/safetensors.h"
#include "support.h"

namespace rft::dits {

using Make = std::unique_ptr<Denoiser> (*)(const std::string&, const WeightSource&, const std::string&);
using Tensors = std::map<std::string, Tensor>;

/// Of outputs whose largest values are about 3.
constexpr double kClose = 2e-5;

inline std::string directory_of(const std::string& name) { return testing::fixture("parity/data/dits/" + name); }
inline std::string config_of(const std::string& name) {
  return testing::read_file(directory_of(name) + "/config.json");
}
inline Tensors case_of(const std::string& name) {
  return load_safetensors(directory_of(name) + "/case.safetensors").tensors;
}
inline Tensors tensors_of(const std::string& name) {
  return load_hf_tensors(directory_of(name), "diffusion_pytorch_model");
}

inline std::unique_ptr<Denoiser> load(Make make, const std::string& name, at::ScalarType dtype = at::kFloat) {
  return make(config_of(name), WeightSource(tensors_of(name), dtype, "here"), "here");
}

inline Conditioning told_of(const Tensors& given) {
  Conditioning told;
  told.class_labels = given.at("class_labels"), told.guidance = given.at("guidance");
  told.text = given.at("text"), told.pooled = given.at("pooled");
  return told;
}

inline double difference(const Tensor& a, const Tensor& b) { return a.sub(b).abs().max().item<double>(); }

struct Judged {
  Tensor output;
  Tensors grads;
};

/// One forward and backward pass over the fixture's sample.
inline Judged judge(Denoiser& model, const Tensors& given) {
  for (const auto& [name, value] : model.weights().tensors)
    Tensor(value).requires_grad_(true).mutable_grad() = Tensor();
  Tensor sample = given.at("sample").clone().requires_grad_();
  Judged out;
  out.output = model.forward(sample, given.at("timestep"), told_of(given));
  out.output.mul(given.at("direction")).sum().backward();
  out.grads["grad.sample"] = sample.grad();
  for (const auto& [name, value] : model.weights().tensors) out.grads["grad." + name] = value.grad();
  return out;
}

inline void expect_diffusers_outputs_and_gradients(Make make, const std::string& name, size_t watched) {
  Tensors given = case_of(name);
  auto model = load(make, name);
  Judged got = judge(*model, given);
  EXPECT_LE(difference(got.output, given.at("output")), kClose);
  size_t compared = 0;
  for (const auto& [key, value] : given)
    if (key.starts_with("grad.")) {
      EXPECT_LE(difference(got.grads.at(key), value), 1e-5 * (1 + value.abs().max().item<double>())) << key;
      ++compared;
    }
  EXPECT_EQ(compared, watched);
}

inline void expect_diffusers_output_at_another_size(Make make, const std::string& name) {
  Tensors given = case_of(name);
  at::NoGradGuard no_grad;
  Tensor got = load(make, name)->forward(given.at("other_sample"), given.at("timestep"), told_of(given));
  EXPECT_LE(difference(got, given.at("other_output")), kClose);
}

inline void expect_checkpointing_changes_no_gradient(Make make, const std::string& name) {
  Tensors given = case_of(name);
  auto plain = load(make, name), again = load(make, name);
  again->set_gradient_checkpointing(true);
  Judged expected = judge(*plain, given), got = judge(*again, given);
  EXPECT_TRUE(got.output.equal(expected.output));
  for (const auto& [key, value] : expected.grads) {
    ASSERT_EQ(got.grads.at(key).defined(), value.defined()) << key;
    if (value.defined()) {
      EXPECT_LE(difference(got.grads.at(key), value), 1e-5 * (1 + value.abs().max().item<double>())) << key;
    }
  }
}

inline void expect_an_untrained_one_has_diffusers_tensors(Make make, const std::string& name) {
  auto shapes = nlohmann::json::parse(testing::read_file(directory_of(name) + "/shapes.json"));
  auto model = make(config_of(name), WeightSource::random(at::kFloat, 1), "random");
  EXPECT_EQ(model->weights().tensors.size(), shapes.size());
  for (const auto& [key, value] : model->weights().tensors) {
    ASSERT_TRUE(shapes.contains(key)) << key;
    EXPECT_EQ(value.sizes().vec(), shapes[key].get<std::vector<int64_t>>()) << key;
  }
  Tensors given = case_of(name);
  EXPECT_TRUE(model->forward(given.at("sample"), given.at("timestep"), told_of(given)).isfinite().all().item<bool>());
}

inline void expect_diffusers_output_in_bfloat16(Make make, const std::string& name) {
  Tensors given = case_of(name);
  at::NoGradGuard no_grad;
  Tensor expected = given.at("bfloat16_output");
  Tensor got = load(make, name, at::kBFloat16)
                   ->forward(given.at("sample").to(at::kBFloat16), given.at("timestep"), told_of(given));
  EXPECT_EQ(got.scalar_type(), at::kBFloat16);
  EXPECT_LE(difference(got.to(at::kFloat), expected.to(at::kFloat)), 0.02 * expected.abs().max().item<double>());
}

/// What is said of the fixture's config.json with `changes` made to it.
inline std::string refusal(Make make, const std::string& name, const nlohmann::json& changes) {
  auto config = nlohmann::json::parse(config_of(name));
  config.update(changes);
  return testing::message_of([&] { make(config.dump(), WeightSource::random(at::kFloat, 1), "here"); });
}

/// What is said of the fixture's tensors with `changes` made to them; an undefined one is left out.
inline std::string tensors_refusal(Make make, const std::string& name, const Tensors& changes) {
  Tensors tensors = tensors_of(name);
  for (const auto& [key, value] : changes) {
    if (value.defined())
      tensors[key] = value;
    else
      tensors.erase(key);
  }
  return testing::message_of([&] { make(config_of(name), WeightSource(tensors, at::kFloat, "here"), "here"); });
}

/// What is said of a sample and of what the rows tell.
inline std::string call_refusal(Make make, const std::string& name, const Tensor& sample, const Conditioning& told) {
  auto model = load(make, name);
  return testing::message_of([&] { model->forward(sample, at::full({sample.size(0)}, 5.0), told); });
}

inline void expect_names(const std::string& message, const std::string& part) {
  EXPECT_NE(message.find(part), std::string::npos) << message;
}

}  // namespace rft::dits
