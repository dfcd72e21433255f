#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "app/commands.h"
#include "app/load_reward.h"
#include "app/model_options.h"
#include "rft/core/clock.h"
#include "rft/core/error.h"
#include "rft/core/noise.h"
#include "rft/core/rng.h"
#include "rft/io/files.h"
#include "rft/io/gif.h"
#include "rft/io/image.h"
#include "rft/io/rows.h"
#include "rft/io/safetensors.h"
#include "rft/policy/steering.h"
#include "rft/train/progress.h"

namespace rft::app {
namespace {

struct SampleArguments {
  std::string model, out, prompts, noise, scheduler, lora, image;
  ModelOptions kept;
  int64_t steps = 20, samples = 1, height = 0, width = 0, frames = 1;
  uint64_t seed = 0;
  double guidance = 1, eta = 0, strength = 1;
  bool quiet = false;
  std::string reward;  ///< rewards that steer, as `rft score` takes them
  SteerOptions steer;
  bool steered = false;
};

/// `--noise` holds "noise" [N, C, h, w] and, for stochastic schedulers, "step_noise" [steps, N, C, h, w].
struct GivenNoise {
  Tensor noise, step_noise;
};

GivenNoise read_noise(const SampleArguments& arguments, int64_t rows) {
  if (arguments.noise.empty()) return {};
  auto tensors = load_safetensors(arguments.noise).tensors;
  auto found = tensors.find("noise");
  if (found == tensors.end()) bad_input(arguments.noise, "the tensor 'noise' [N, C, h, w] is needed");
  GivenNoise out{found->second.to(at::kFloat), {}};
  if (out.noise.dim() != 4 || out.noise.size(0) != rows)
    bad_input(arguments.noise, "'noise' must be [", rows, ", C, h, w], a row an image; got ", out.noise.sizes());
  if (auto step = tensors.find("step_noise"); step != tensors.end()) {
    out.step_noise = step->second.to(at::kFloat);
    if (out.step_noise.dim() != 5 || out.step_noise.size(0) < arguments.steps ||
        out.step_noise[0].sizes() != out.noise.sizes())
      bad_input(arguments.noise, "'step_noise' must be [", arguments.steps, ", ", rows, ", C, h, w] as 'noise'; got ",
                out.step_noise.sizes());
  }
  return out;
}

/// Rollout options as a recipe would give them.
void set_rollout(Diffusion& policy, const SampleArguments& arguments) {
  Config block = Config::map();
  auto set = [&](const char* name, const std::string& value, bool text = false) {
    block.set(name, Config::scalar(value, text));
  };
  set("steps", std::to_string(arguments.steps)), set("guidance", number_text(arguments.guidance));
  set("scheduler", arguments.scheduler, true), set("eta", number_text(arguments.eta));
  set("strength", number_text(arguments.strength));
  set("height", std::to_string(arguments.height)), set("width", std::to_string(arguments.width));
  set("frames", std::to_string(arguments.frames));
  OptionReader reader(block);
  policy.visit_rollout(reader);
}

/// The rows of --prompts, or one without anything; with --image each starts from it, unless it names its own.
Rows prompt_rows(const SampleArguments& arguments) {
  Rows rows = arguments.prompts.empty() ? Rows::parse({"{}"}, "--prompts") : Rows::load(arguments.prompts);
  if (arguments.image.empty()) return rows;
  std::string image = std::filesystem::absolute(arguments.image).string();
  std::vector<std::string> lines;
  for (int64_t i = 0; i < rows.size(); ++i) {
    auto row = nlohmann::json::parse(rows.json(i));
    if (!row.contains("image")) row["image"] = image;
    lines.push_back(row.dump());
  }
  return Rows::parse(lines, rows.file());
}

/// Of videos also NNN.gif.
void write_images(const std::string& directory, const Tensor& images, int64_t frames) {
  constexpr double kFramesASecond = 8;  // AnimateDiff's
  make_directories(directory);
  for (int64_t i = 0; i < images.size(0); ++i) {
    char name[32];
    std::snprintf(name, sizeof name, "/%03lld", static_cast<long long>(i));
    write_png(directory + name + ".png", images[i]);
    if (frames > 1) write_gif(directory + name + ".gif", film_frames(images.narrow(0, i, 1), frames), kFramesASecond);
  }
  write_png(directory + "/contact_sheet.png", contact_sheet(images));
}

Tensor plain_latents(Diffusion& policy, const Fields& context, const Tensor& noise, const Tensor& step_noise,
                     const SampleArguments& arguments) {
  Progress progress("sample", arguments.quiet);
  progress.begin("", 0, noise.size(0) * arguments.steps, "steps");
  Tensor latents = policy.run(context, noise, step_noise, arguments.seed, arguments.eta,
                              [&](int64_t done) { progress.update(done * noise.size(0), {}); });
  progress.finish();
  return latents;
}

Tensor steered_latents(Diffusion& policy, const Fields& context, const Tensor& noise,
                       const SampleArguments& arguments) {
  at::AutoGradMode gradients(arguments.steer.method == "reno");
  for (auto& parameter : policy.parameters()) parameter.value.requires_grad_(false);
  if (arguments.reward.empty())
    return steer(policy, context, noise, arguments.seed, arguments.eta, arguments.steer, nullptr);
  auto reward = load_reward(arguments.reward);
  for (const auto& column : reward->columns())
    if (!context.has_text(column))
      bad_input("--prompts", "the reward reads the column '", column, "', which is missing");
  return steer(policy, context, noise, arguments.seed, arguments.eta, arguments.steer,
               [&](const Experience& sample) { return reward->score(sample).value; });
}

void add_steering(CLI::App& command, SampleArguments& arguments) {
  command.add_option("--steer", arguments.steer.method, "steer towards a reward, without training")
      ->check(CLI::IsMember(steering_methods()));
  command.add_option("--reward", arguments.reward, "the rewards that steer: a recipe or its `reward:` block (.yaml)");
  auto positive = CLI::Range(int64_t{1}, int64_t{1} << 20);
  command.add_option("--particles", arguments.steer.particles, "best_of_n, fk, svdd: candidates of each image")
      ->check(CLI::Range(int64_t{2}, int64_t{1} << 20))
      ->capture_default_str();
  command.add_option("--steer-temperature", arguments.steer.temperature, "fk, svdd: rewards are divided by it")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_option("--steer-every", arguments.steer.every, "fk: resample every so many steps")
      ->check(positive)
      ->capture_default_str();
  command.add_option("--steer-iterations", arguments.steer.iterations, "reno: gradient steps on the first noise")
      ->check(positive)
      ->capture_default_str();
  command.add_option("--steer-lr", arguments.steer.lr, "reno: length of a step, in tenths of the noise's norm")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_option("--noise-weight", arguments.steer.noise_weight, "reno: weight of the noise's log-likelihood")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command.add_option("--base", arguments.steer.base, "rlg: the diffusers directory that the model was tuned from");
  command.add_option("--base-weight", arguments.steer.base_weight, "rlg: 0 is base, 1 the tuned model, 2 beyond it")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
}

void run_sample(const SampleArguments& arguments) {
  Diffusion::Options options;
  options.path = arguments.model, options.adapter = arguments.lora;
  take_model_options(arguments.kept, options);
  Diffusion policy(options);
  set_rollout(policy, arguments);
  at::NoGradGuard no_grad;
  Experience contexts = policy.contexts(prompt_rows(arguments));
  int64_t rows = contexts.context.rows() * arguments.samples;
  Fields repeated =
      contexts.context.select(at::arange(contexts.context.rows(), at::kLong).repeat_interleave(arguments.samples));
  GivenNoise given = read_noise(arguments, rows);
  Tensor noise = given.noise.defined() ? given.noise : policy.noise(rows, arguments.seed);
  Clock clock;
  Tensor latents = arguments.steered ? steered_latents(policy, repeated, noise, arguments)
                                     : plain_latents(policy, repeated, noise, given.step_noise, arguments);
  double sampled = clock.lap();
  Tensor images = policy.decode(latents);
  double decoded = clock.lap();
  write_images(arguments.out, images, arguments.frames);
  std::printf("%s: %lld images of %lld x %lld pixels; %lld steps in %.3f s, decoded in %.3f s\n", arguments.out.c_str(),
              static_cast<long long>(images.size(0)), static_cast<long long>(images.size(3)),
              static_cast<long long>(images.size(2)), static_cast<long long>(arguments.steps), sampled, decoded);
  save_safetensors(arguments.out + "/latents.safetensors", {{"latents", latents.to(at::kFloat).contiguous()}});
}

}  // namespace

void add_sample(CLI::App& program) {
  auto arguments = std::make_shared<SampleArguments>();
  auto* command = program.add_subcommand("sample", "images from a diffusion or flow model");
  command->footer(
      "Example: rft sample models/sd15 --prompts prompts.jsonl --out images --steps 30 --guidance 7.5\n"
      "A row of --prompts is {\"prompt\": TEXT} (and \"negative_prompt\"), {\"class_label\": N}, and {\"control\": "
      "FILE.png}\n"
      "for a ControlNet. Writes 000.png, ..., contact_sheet.png and latents.safetensors.");
  command->add_option("model", arguments->model, "a diffusers directory")->required();
  command->add_option("--out", arguments->out, "the directory to write")->required();
  command->add_option("--prompts", arguments->prompts, "rows to make images for (.jsonl)");
  command->add_option("--noise", arguments->noise,
                      "safetensors with noise [N, C, h, w] and step_noise [steps, N, C, h, w]");
  command->add_option("--lora", arguments->lora, "a directory with pytorch_lora_weights.safetensors");
  command->add_option("--scheduler", arguments->scheduler,
                      "ddim, ddpm, euler, euler_ancestral, dpmsolver++, pndm, lcm, "
                      "flow_match_euler; without it the directory's own");
  auto positive = CLI::Range(int64_t{1}, int64_t{1} << 20);
  command->add_option("--steps", arguments->steps, "denoising steps")->check(positive)->capture_default_str();
  command->add_option("--guidance", arguments->guidance, "classifier-free guidance; 1 is none")->capture_default_str();
  command->add_option("--eta", arguments->eta, "ddim: how random the steps are")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--image", arguments->image, "a PNG to start from; a row of --prompts may name its own `image`");
  command
      ->add_option("--strength", arguments->strength,
                   "image to image: the share of the steps that is made; 1: from noise")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command->add_option("--samples", arguments->samples, "images of each row")->check(positive)->capture_default_str();
  command->add_option("--height", arguments->height, "pixels; 0: what the model was trained at")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--width", arguments->width, "pixels; 0: what the model was trained at")
      ->check(CLI::NonNegativeNumber);
  command
      ->add_option("--frames", arguments->frames,
                   "of a video (UNetMotionModel): NNN.png is a film strip, frame under frame, and NNN.gif plays it")
      ->check(positive)
      ->capture_default_str();
  command->add_option("--seed", arguments->seed, "the same seed gives the same images")->capture_default_str();
  add_model_options(*command, arguments->kept);
  add_steering(*command, *arguments);
  command->callback([arguments, command, &program] {
    if (command->count("--image") && arguments->strength == 1) bad_input("--image", "needs --strength below 1");
    arguments->steered = command->count("--steer") > 0;
    arguments->quiet = program.count("--quiet") > 0;
    run_sample(*arguments);
  });
}

}  // namespace rft::app
