// A language model of which each process of a group has its part.
#include "rft/core/error.h"
#include "rft/policy/causal_lm.h"

namespace rft {

void CausalLm::divide(Communicator& group, const Needs& needs) {
  auto refuse = [](const char* why) { bad_input("train.tensor_parallel", why); };
  if (decoder_->device() != at::kCPU) refuse("models are divided on the CPU alone; use `device: cpu`, or train.shard");
  if (!options_.quantize.empty()) refuse("quantized weights (policy.quantize) can't be divided");
  if (options_.use_lora) refuse("a model with adapters (policy.lora) can't be divided");
  if (options_.sync_reference) refuse("a reference that moves (policy.sync_reference) can't be divided");
  if (needs.divergence) refuse("divergences of whole distributions (distillation) need the whole vocabulary");
  if (needs.token_influence) refuse("what tokens do to right answers (thr) needs the whole vocabulary");
  decoder_->divide(group);
  if (reference_) reference_->divide(group);
}

void CausalLm::gather_whole(bool keep) {
  gathered_.clear();  // before the new ones: one whole model at a time
  gathered_ = decoder_->hugging_face_tensors(keep);
}

}  // namespace rft
