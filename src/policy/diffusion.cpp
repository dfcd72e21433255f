#include "rft/policy/diffusion.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "policy/conditioner.h"
#include "policy/shared_options.h"
#include "policy/weight_average.h"
#include "rft/core/device.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/io/rows.h"
#include "rft/io/safetensors.h"

namespace rft {
void Diffusion::Options::visit(OptionVisitor& v) {
  v.option("path", path, "a diffusers directory (model_index.json and its parts)", required());
  v.option("dtype", dtype, "what weights and activations are kept in", one_of({"float32", "bfloat16", "float64"}));
  v.option("device", device, "where the networks are and compute: cpu, cuda or cuda:N (docs/gpu.md)");
  v.option("trained", trained, "which part is trained", one_of({"denoiser", "controlnet"}));
  v.option("gradient_checkpointing", gradient_checkpointing,
           "recompute each block in the backward pass instead of keeping its activations: less memory, more time");
  v.option("null_class", null_class,
           "the class that stands for none, for guidance; -1 = there is none, or for a DiT the one past its last class",
           at_least(-1));
  v.option("condition_dropout", condition_dropout,
           "share of demonstrations that are told neither prompt nor class, so that guidance can be learned",
           between(0, 1));
  v.option("level_sampling", level_sampling, "how noise levels of demonstrations are drawn",
           one_of({"uniform", "logit_normal"}));
  v.option("snr_gamma", snr_gamma,
           "min-SNR weighting of the denoising error (Hang et al. 2023, arXiv:2303.09556), usually 5; 0 = unweighted",
           at_least(0));
  v.option(
      "consistency_levels", consistency_levels,
      "consistency distillation: demonstrations are judged by how far the clean samples predicted at neighbours of "
      "this many noise levels are apart, the lower one reached by a step of the model as it was loaded (Song et al. "
      "2023, arXiv:2303.01469; lcm's original_inference_steps, usually 50); 0 = by the denoising error",
      at_least(0).in("levels"));
  v.option("ema_decay", ema_decay,
           "keep an average of the weights, which is what the stage saves in the end; 0 = off, else such as 0.999",
           between(0, 1));
  v.option("control_scale", control_scale, "weight of the ControlNet's residuals", at_least(0));
  v.option("adapter", adapter,
           "a directory with pytorch_lora_weights.safetensors to go on from; its layers and ranks replace `lora`");
  lora_options(v, use_lora, lora, lora_seed,
               "names such as to_q; empty = the attention layers, as diffusers' scripts choose them");
}

void Diffusion::Window::visit(OptionVisitor& v) {
  v.option("size", size, "how many steps are random", at_least(1).in("steps"));
  v.option("first", first, "the step that it begins at, of 0 .. steps - 1", at_least(0));
  v.option("last", last, "where it moves: the last step that it may begin at; null = as far as it fits", at_least(0));
  v.option("move", move,
           "none: it stays; slide: on by a step every `every` optimizer steps, and after `last` at `first` again "
           "(MixGRPO); random: anywhere, drawn for each rollout (Flow-GRPO-Fast)",
           one_of({"none", "slide", "random"}));
  v.option("every", every, "move slide: optimizer steps between two moves", at_least(1).in("steps"));
}

void Diffusion::Window::check(const Config& block, int64_t steps) const {
  auto place = [&](const char* name) {
    const Config* given = block.find(name);
    return (given ? *given : block).place();
  };
  const int64_t fits = steps - size;
  if (fits < 0) bad_input(place("size"), "the window has ", size, " steps, the run only ", steps);
  if (first > fits)
    bad_input(place("first"), "a window of ", size, " steps can't begin at step ", first, " of a run of ", steps,
              ": at most at ", fits);
  if (last && move == "none")
    bad_input(place("last"), "says how far the window moves; with move: none it stays at `first`");
  if (last && (*last < first || *last > fits))
    bad_input(place("last"), "the window's last place must be from `first`, ", first, ", to ", fits,
              ", where it ends with the run; got ", *last);
  if (every != Window().every && move != "slide")
    bad_input(place("every"), "is for move: slide; got move: ", move,
              move == "random" ? ", which draws a place for each rollout" : "");
}

void Diffusion::Rollout::visit(OptionVisitor& v) {
  v.option("steps", steps, "denoising steps of a sample", at_least(1).in("steps"));
  v.option("guidance", guidance,
           "classifier-free guidance, in sampling and in training alike; 1 or less = none; a model that is told its "
           "guidance (Flux) is told this",
           at_least(0));
  v.option("scheduler", scheduler, "ddim, ddpm, euler_ancestral, ...; empty = the directory's own");
  v.option("eta", eta, "how random the steps of ddim are (0 .. 1), or the noise level of a flow's steps", at_least(0));
  v.option("eval_eta", eval_eta, "the same in evaluations, whose seed is fixed; null = eta", at_least(0));
  v.option("sde", sde, "how a flow's steps are made random; empty = not at all",
           one_of({"", "flow_grpo", "dance", "cps"}));
  v.option("height", height, "pixels; 0 = what the model was trained at", at_least(0).in("pixels"));
  v.option("width", width, "pixels; 0 = what the model was trained at", at_least(0).in("pixels"));
  v.option(
      "frames", frames,
      "of a video (UNetMotionModel): samples and pictures are film strips then, frame under frame, and height is a "
      "frame's",
      at_least(1).in("frames"));
  v.option("logp", logp, "a step's log-probability is the mean over dimensions, as in DDPO and Flow-GRPO, or the sum",
           one_of({"mean", "sum"}));
  v.option("strength", strength,
           "image to image: a run starts from the row's `image`, noised so that this share of its steps is left; 1 = "
           "from noise",
           between(0, 1));
  v.option(
      "judge", judge,
      "what log-probabilities are: of the random steps, or the denoising error of the finished sample, noised again",
      one_of({"steps", "forward"}));
  v.option("levels", levels, "judge forward: noise levels that a sample is judged at", at_least(1));
  v.option("shared_noise", shared_noise,
           "judge forward: a group's samples are judged at the same noise, which compares them best; false where each "
           "sample is learned by itself (raft, rwr)");
  v.option("behaviour_decay", behaviour_decay,
           "rollouts are sampled with a moving average of the weights (DiffusionNFT's old policy); 0 = as they are",
           between(0, 1));
  v.option("sampling_batch_size", sampling_batch_size, "images made at once; 0 = all of a rollout", at_least(0));
  v.optional_block(
      "window", has_window, [this](OptionVisitor& w) { window.visit(w); },
      "only the steps of a window are random and learned from, the others are deterministic; evaluations and rft "
      "sample "
      "know no window. For ddim, and for flow models with `sde`. Source: MixGRPO, Li et al. 2025, arXiv:2507.21802");
  const auto* reader = dynamic_cast<const OptionReader*>(&v);
  if (reader && has_window) window.check(*reader->node().find("window"), steps);
}

Diffusion::Diffusion(Options options)
    : Diffusion(
          [options] {
            return load_image_pipeline(options.path, dtype_of(options.dtype),
                                       device_of(options.device, "policy.device"));
          },
          options) {}

Diffusion::Diffusion(std::function<ImagePipeline()> make, Options options)
    : options_(std::move(options)),
      make_(std::move(make)),
      pipeline_(make_()),
      average_(std::make_unique<WeightAverage>()),
      behaviour_(std::make_unique<WeightAverage>()) {
  if (options_.trained == "controlnet" && !pipeline_.controlnet)
    bad_input("policy.trained", "'", options_.path, "' has no controlnet");
  int64_t null_class = options_.null_class, classes = pipeline_.denoiser->num_classes();
  bool dit = classes > 0 && pipeline_.denoiser_part == "transformer";
  if (dit && null_class < 0) null_class = classes;
  if (null_class >= classes + (dit ? 1 : 0))
    bad_input("policy.null_class", "the model has ", classes, " classes; got ", null_class);
  conditioner_ = std::make_unique<Conditioner>(pipeline_, null_class);
  if (options_.gradient_checkpointing) {
    pipeline_.denoiser->set_gradient_checkpointing(true);
    if (pipeline_.codec) pipeline_.codec->set_gradient_checkpointing(true);
    if (pipeline_.controlnet) pipeline_.controlnet->set_gradient_checkpointing(true);
  }
  if (options_.use_lora || !options_.adapter.empty())
    add_adapters();
  else
    for (auto& parameter : parameters()) parameter.value.requires_grad_(true);
}

/// New adapters, those of a file, or new ones filled from it.
void Diffusion::add_adapters() {
  if (options_.trained == "controlnet")
    bad_input("policy.lora", "adapters are for the denoiser; a ControlNet is trained whole");
  if (options_.ema_decay > 0) bad_input("policy.ema_decay", "is for models that are trained whole; got adapters too");
  Weights weights = pipeline_.denoiser->weights();  // its layers are shared, so they get the adapters
  if (options_.adapter.empty()) return add_lora(weights, options_.lora, static_cast<uint64_t>(options_.lora_seed));
  std::string file = options_.adapter + "/" + kDiffusersLoraFile;
  auto loaded = load_safetensors(file);
  load_diffusers_lora(weights, loaded.tensors, loaded.metadata, pipeline_.denoiser_part, file);
  options_.use_lora = true;
}

Diffusion::~Diffusion() = default;

Flow::Flow(Options options) : Diffusion(std::move(options)) {
  if (!pipeline().scheduler->flow())
    bad_input("policy.type", "'", pipeline().directory, "' is not a flow model: use type diffusion");
}

void Diffusion::visit_rollout(OptionVisitor& visitor) {
  rollout_.visit(visitor);
  if (!rollout_.scheduler.empty())
    pipeline_.scheduler =
        make_scheduler(pipeline_.scheduler->config_json(), rollout_.scheduler, pipeline_.directory + "/scheduler");
  if (rollout_.behaviour_decay > 0 && options_.use_lora)
    bad_input("rollout.behaviour_decay", "is for models that are trained whole; got adapters too");
  if (rollout_.levels > 1 && rollout_.judge == "steps")
    bad_input("rollout.levels", "is for judge forward; got ", rollout_.levels, " and judge steps");
  if (rollout_.has_window && rollout_.judge == "forward")
    bad_input("rollout.window", "says which steps are decisions; with judge forward none is");
  if (!rollout_.sde.empty() && !pipeline_.scheduler->flow())
    bad_input("rollout.sde", "is for flow models; this one's steps are random already (see eta)");
  pipeline_.denoiser->set_frames(rollout_.frames);
  if (rollout_.frames > 1 && pipeline_.controlnet)
    bad_input("rollout.frames", "a ControlNet steers pictures, not videos; '", pipeline_.directory, "' has one");
  for (int64_t side : {height() / rollout_.frames, width()})
    if (side % pipeline_.factor())
      bad_input("rollout", "height and width must be multiples of ", pipeline_.factor(), "; got ", side);
}

void Flow::visit_rollout(OptionVisitor& visitor) {
  Rollout defaults;
  static_cast<Diffusion::Rollout&>(rollout_) = defaults;
  Diffusion::visit_rollout(visitor);
}

int64_t Diffusion::height() const {
  return rollout_.frames * (rollout_.height ? rollout_.height : pipeline_.denoiser->sample_size() * pipeline_.factor());
}

int64_t Diffusion::width() const {
  return rollout_.width ? rollout_.width : pipeline_.denoiser->sample_size() * pipeline_.factor();
}

at::ScalarType Diffusion::latent_type() const {
  return at::promote_types(pipeline_.denoiser->weights().tensors.front().second.scalar_type(), at::kFloat);
}

const Weights& Diffusion::trained() const {
  return options_.trained == "controlnet" ? pipeline_.controlnet->weights() : pipeline_.denoiser->weights();
}

Experience Diffusion::contexts(const Rows& rows) const {
  Experience out;
  out.context = conditioner_->contexts(rows, height(), width());
  if (rollout_.strength < 1) out.context.set("start", encode_images(rows, "image"));
  return out;
}

/// Pictures [N, 3, H, W] in [-1, 1] -> latents, of film strips frame by frame; themselves where there is no codec.
Tensor Diffusion::encode(const Tensor& images) const {
  if (!pipeline_.codec) return images;
  return film_strips(pipeline_.codec->encode(film_frames(images, rollout_.frames)), rollout_.frames);
}

/// Clean latents [N, C, h, w] of the PNG files that a column names.
Tensor Diffusion::encode_images(const Rows& rows, const std::string& column) const {
  constexpr int64_t kAtOnce = 32;
  at::NoGradGuard no_grad;
  rows.require(column);
  std::vector<Tensor> latents, batch;
  for (int64_t i = 0; i < rows.size(); ++i) {
    Tensor image = sized_row_image(rows, i, column, height(), width()).mul(2).sub(1);
    if (pipeline_.denoiser->in_channels() == 1 && !pipeline_.codec) image = image.mean(0, true);
    batch.push_back(image);
    if (static_cast<int64_t>(batch.size()) < kAtOnce && i + 1 < rows.size()) continue;
    Tensor images = at::stack(batch);
    latents.push_back(encode(images));
    batch.clear();
  }
  return at::cat(latents);
}

Experience Diffusion::demonstrations_of(const Rows& rows, const std::string& column) const {
  Experience out;
  out.context = conditioner_->contexts(rows, height(), width());
  out.action = encode_images(rows, column).unsqueeze(1);
  out.mask = at::ones({rows.size(), 1}, at::kBool);
  out.group = at::arange(rows.size(), at::kLong);
  return out;
}

Experience Diffusion::demonstrations(const Rows& rows) { return demonstrations_of(rows, "image"); }

Experience Diffusion::pairs(const Rows& rows) const {
  Experience out = Experience::concat({demonstrations_of(rows, "chosen"), demonstrations_of(rows, "rejected")});
  out.group = at::arange(rows.size(), at::kLong).repeat({2});
  return out;
}

std::vector<Parameter> Diffusion::parameters() {
  std::vector<Parameter> out;
  if (options_.use_lora) {
    for (const auto& [name, linear] : pipeline_.denoiser->weights().linears)
      for (const Adapter& adapter : linear->adapters) {
        out.push_back({name + ".lora_A", adapter.a, true});
        out.push_back({name + ".lora_B", adapter.b, true});
      }
    return out;
  }
  for (const auto& [name, value] : trained().tensors)
    if (!trained().buffers.count(name)) out.push_back({name, value, value.dim() > 1});
  return out;
}

void Diffusion::merge_adapters() {
  Weights weights = pipeline_.denoiser->weights();
  merge_lora(weights);
  options_.use_lora = false;
}

void Diffusion::save(const std::string& directory) const {
  if (!options_.use_lora) return save_image_pipeline(pipeline_, directory);
  const Weights& weights = pipeline_.denoiser->weights();
  save_safetensors(directory + "/" + kDiffusersLoraFile, diffusers_lora_tensors(weights, pipeline_.denoiser_part),
                   diffusers_lora_metadata(weights, options_.lora, pipeline_.denoiser_part));
}

void Diffusion::load(const std::string& directory) {
  if (options_.use_lora) {
    Weights weights = pipeline_.denoiser->weights();
    std::string file = directory + "/" + kDiffusersLoraFile;
    auto loaded = load_safetensors(file);
    return load_diffusers_lora(weights, loaded.tensors, loaded.metadata, pipeline_.denoiser_part, file);
  }
  load_part(trained(), directory, options_.trained == "controlnet" ? "controlnet" : pipeline_.denoiser_part);
}

void Diffusion::stepped(int64_t) {
  ++version_;
  if (options_.ema_decay > 0) average_->add(trained(), options_.ema_decay);
  if (!behaviour_->empty()) behaviour_->add(trained(), rollout_.behaviour_decay);
}

void Diffusion::finish() { average_->put(trained()); }

void Diffusion::report(Metrics& metrics) {
  if (mismatch_count_ > 0) metrics.add("logp_mismatch", mismatch_ / mismatch_count_, mismatch_count_);
  mismatch_ = mismatch_count_ = 0;
}

State Diffusion::state() const {
  State state{{"version", at::scalar_tensor(version_, at::kLong)}};
  average_->save(trained(), "average", state), behaviour_->save(trained(), "behaviour", state);
  return state;
}

void Diffusion::load_state(const State& state) {
  if (auto found = state.find("version"); found != state.end()) version_ = found->second.item<int64_t>();
  average_->load(trained(), "average", state), behaviour_->load(trained(), "behaviour", state);
}

}  // namespace rft
