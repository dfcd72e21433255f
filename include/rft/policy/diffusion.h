#pragma once
/// Image models as policies: a diffusers directory whose decisions are the steps of a sampling run.
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "rft/nn/image_lora.h"
#include "rft/policy/image_pipeline.h"
#include "rft/policy/policy.h"

namespace rft {

class Conditioner;
struct DenoisingModel;
struct DenoisingRun;
struct NoisedSamples;
class WeightAverage;

/// A rollout: context holds "noise" [B, C, h, w] (standard normal) beside what the model is told; action [B, T, C, h,
/// w] is the sample after each of T = rollout.steps steps (Black et al. 2023, arXiv:2305.13301); mask is false where a
/// step has no randomness. A demonstration: action [B, 1, C, h, w] is the clean latent, logp [B, 1] the negative
/// denoising error (mean over dimensions) at a random noise level, drawn from extra::draw. extra::image [B, 3, H, W]
/// are the pictures. Of a video (UNetMotionModel, rollout.frames) sample and picture are film strips, frame under
/// frame. With `strength` below 1 context also holds "start" [B, C, h, w], the clean latents of the rows' pictures, and
/// the run is the share of its steps that begins with these, noised. With `judge: forward` a rollout becomes T =
/// rollout.levels demonstrations of its finished sample: its denoising error, at noise that its group may share;
/// extra::old_estimate is what the sampling weights denoised them to.
class Diffusion : public Policy {
 public:
  struct Options {
    std::string path;
    std::string dtype = "float32";
    std::string device = "cpu";
    bool gradient_checkpointing = false;
    std::string trained = "denoiser";
    int64_t null_class = -1;
    double condition_dropout = 0;
    std::string level_sampling = "uniform";
    double snr_gamma = 0;
    int64_t consistency_levels = 0;
    double ema_decay = 0;
    double control_scale = 1;
    std::string adapter;
    bool use_lora = false;
    LoraConfig lora;
    int64_t lora_seed = 0;
    void visit(OptionVisitor& v);
  };
  /// Random steps in a window alone, which are the decisions; the others follow the probability-flow ODE. MixGRPO, Li
  /// et al. 2025, arXiv:2507.21802 (`move: slide`); Flow-GRPO-Fast in flow_grpo (`move: random`).
  struct Window {
    int64_t size = 2;
    int64_t first = 0;
    std::optional<int64_t> last;
    std::string move = "none";
    int64_t every = 25;
    void visit(OptionVisitor& v);
    /// Throws UserError, at the option of `block` that it is about, where the window does not fit into runs of `steps`
    /// steps, or an option says nothing of a window that moves so.
    void check(const Config& block, int64_t steps) const;
  };
  struct Rollout {
    int64_t steps = 20;
    double guidance = 1;
    std::string scheduler;
    double eta = 1;
    std::optional<double> eval_eta;
    std::string sde;
    int64_t height = 0, width = 0;
    int64_t frames = 1;
    std::string logp = "mean";
    std::string judge = "steps";
    int64_t levels = 1;
    bool shared_noise = true;
    double strength = 1;
    double behaviour_decay = 0;
    int64_t sampling_batch_size = 0;
    bool has_window = false;
    Window window;
    void visit(OptionVisitor& v);
  };

  explicit Diffusion(Options options);
  /// A pipeline made elsewhere (a denoiser of one's own); `make` is called again where a reference policy is needed.
  Diffusion(std::function<ImagePipeline()> make, Options options);
  ~Diffusion() override;

  Experience contexts(const Rows& rows) const override;
  Experience demonstrations(const Rows& rows) override;
  Experience pairs(const Rows& rows) const override;
  void visit_rollout(OptionVisitor& visitor) override;
  Experience sample(const Experience& contexts, const SampleRequest& request) override;
  Evaluation evaluate(const Experience& batch, const Needs& needs) override;
  Evaluation evaluate_path(const Experience& batch, const Needs& needs, const RewardOfSample& reward) override;
  Tensor ref_logp(const Experience& batch, const Needs& needs) override;
  void stepped(int64_t step) override;
  void report(Metrics& metrics) override;
  void finish() override;
  std::vector<Parameter> parameters() override;
  void save(const std::string& directory) const override;
  void load(const std::string& directory) override;
  State state() const override;
  void load_state(const State& state) override;

  /// Adds the adapters to the weights: the policy computes the same without them and saves a whole pipeline.
  void merge_adapters();

  const ImagePipeline& pipeline() const { return pipeline_; }
  const Rollout& rollout() const { return rollout_; }
  int64_t height() const;  ///< pixels, of a video's film strip: all its frames
  int64_t width() const;
  at::ScalarType latent_type() const;  ///< float32, or float64 where the weights are
  /// Standard normal noise [N, C, h, w] of a sampling run with this seed, row by row.
  Tensor noise(int64_t rows, uint64_t seed) const;
  /// A sampling run from `noise`, without gradients: latents [N, C, h, w]. `step_noise` [steps, N, C, h, w] is used for
  /// the random steps where defined, else `seed`'s own numbers. `progress` is told how many steps are done.
  Tensor run(const Fields& context, const Tensor& noise, const Tensor& step_noise, uint64_t seed, double eta,
             const std::function<void(int64_t)>& progress = nullptr);
  /// Another denoiser whose answers are mixed in: other + weight * (own - other); {} for none.
  struct Mixture {
    const Denoiser* other = nullptr;
    double weight = 1;
  };
  void mix_with(Mixture mixture) { mixture_ = mixture; }
  /// The parts of a sampling run (src/policy/denoise.h): what answers, and the noise levels of some contexts.
  DenoisingModel model() const;
  DenoisingRun begin(const Fields& context, double eta);
  /// Latents as pictures [N, 3, H, W] in [0, 1], with gradients where grad mode is on.
  Tensor decode(const Tensor& latents) const;

 protected:
  Rollout rollout_;

 private:
  DenoisingModel reference();
  Evaluation judge_rollout(const DenoisingModel& model, const Experience& batch, bool current);
  Evaluation judge_demonstrations(const DenoisingModel& model, const Experience& batch, bool estimates);
  Evaluation judge_consistency(const Experience& batch);
  Evaluation judge_by_reference(const Experience& batch, bool estimates);
  Experience run_rollout(const Experience& contexts, const SampleRequest& request);
  void judge_finished(Experience& out, const SampleRequest& request);
  std::vector<bool> windowed_steps(const DenoisingRun& run) const;
  /// Standard normal noise [N, C, h, w], a row a key.
  Tensor start(const std::vector<uint64_t>& keys) const;
  /// What the denoiser is told of these rows, with the guidance scale where it is told that.
  Conditioning told(const Fields& context);
  Conditioning told_of(const Experience& batch, const NoisedSamples& noised);
  NoisedSamples add_noise(const Experience& batch) const;
  Tensor denoising_error(const NoisedSamples& noised, const Tensor& output) const;
  Evaluation chain(const Experience& batch, const Pathwise& path, const RewardOfSample& reward);
  Tensor refined(const DenoisingRun& run, const Tensor& finished, int64_t repeat);
  Evaluation denoised(const Experience& batch, const Pathwise& path, const RewardOfSample& reward);
  Evaluation noised_data(const Experience& batch, const Pathwise& path, const RewardOfSample& reward);
  const Weights& trained() const;
  void add_adapters();
  Tensor encode_images(const Rows& rows, const std::string& column) const;
  Tensor encode(const Tensor& images) const;
  Experience demonstrations_of(const Rows& rows, const std::string& column) const;

  Options options_;
  std::function<ImagePipeline()> make_;
  ImagePipeline pipeline_;
  std::unique_ptr<Conditioner> conditioner_;
  std::unique_ptr<ImagePipeline> reference_;  ///< frozen copies, made when they are first asked for
  std::unique_ptr<WeightAverage> average_;    ///< where ema_decay
  std::unique_ptr<WeightAverage> behaviour_;  ///< where behaviour_decay: what rollouts are sampled with
  Mixture mixture_;
  int64_t version_ = 0;  ///< optimizer steps taken: a rollout of the same version needs no recomputing
  double mismatch_ = 0, mismatch_count_ = 0;
};

/// The same for flow models: velocity between data and noise (SD3, Flux); its steps are made random by an SDE with the
/// same marginals.
class Flow : public Diffusion {
 public:
  struct Rollout : Diffusion::Rollout {
    Rollout() { sde = "flow_grpo", eta = 0.7, eval_eta = 0; }
  };
  explicit Flow(Options options);
  void visit_rollout(OptionVisitor& visitor) override;
};

}  // namespace rft
