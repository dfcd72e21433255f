// A language model's answers in pieces, and those of the model as it was.
#include <ATen/ATen.h>

#include "policy/decoder_copy.h"
#include "policy/token_rows.h"
#include "rft/core/error.h"
#include "rft/policy/causal_lm.h"
#include "rft/policy/lm_sampler.h"

namespace rft {

void CausalLm::sample_pieces_from(const Decoder& decoder, const Guide& guide, const Experience& contexts,
                                  const SampleRequest& request, const PieceWork& work) const {
  SamplerOptions options = rollout_.sampler(eos_ids_, request.first_row());
  options.guide = guide;
  RowWork rows{work.next, {}, work.rows_at_once};
  rows.finished = [&](const Piece& piece, const std::vector<SampledRow>& sampled) {
    work.finished(piece,
                  rollout_of(contexts.narrow(piece.first, piece.count), request.group_size, sampled, tokenizer_));
  };
  sample_row_pieces(decoder, &tokenizer_, prompts_of(contexts), request.group_size, request.seed, request.greedy,
                    options, rows, request.progress);
}

void CausalLm::sample_pieces(const Experience& contexts, const SampleRequest& request, const PieceWork& work) {
  sample_pieces_from(*decoder_, own_guide(request.greedy), contexts, request, work);
}

class CausalLm::Snapshot : public SamplesPieces {
 public:
  Snapshot(const CausalLm& policy, Decoder decoder) : policy_(policy), decoder_(std::move(decoder)) {}
  void sample_pieces(const Experience& contexts, const SampleRequest& request, const PieceWork& work) override {
    policy_.sample_pieces_from(decoder_, {}, contexts, request, work);
  }

 private:
  const CausalLm& policy_;
  Decoder decoder_;
};

std::unique_ptr<SamplesPieces> CausalLm::snapshot() {
  if (!decoder_->device().is_cpu())
    bad_input("rollout.ahead", "rollouts are sampled ahead on the CPU; use `device: cpu`, or ahead: 0");
  if (decoder_->group()) bad_input("rollout.ahead", "a divided model (train.tensor_parallel) can't be sampled ahead");
  if (rollout_.mask_top_p < 1)
    bad_input("rollout.ahead", "with mask_top_p a rollout is learned from under the mask that it was sampled under");
  return std::make_unique<Snapshot>(*this, copied_trained(*decoder_));
}

}  // namespace rft
