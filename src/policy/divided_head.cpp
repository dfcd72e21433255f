#include "policy/divided_head.h"

#include <ATen/ATen.h>

#include "rft/dist/exchange.h"
#include "rft/dist/tensor_sums.h"

namespace rft {

ops::LinearLogp token_logp(const Decoder& decoder, const Tensor& states, const Tensor& target,
                           const TokenLogpOptions& options) {
  const Tensor& head = decoder.weights(options.adapters).head;
  double softcap = decoder.config().logit_softcap;
  Communicator* group = decoder.group();
  if (!group) return ops::linear_logp(states, head, target, options.temperature, options.with_entropy, softcap);
  ops::VocabularyPart part{decoder.vocabulary().first, decoder.config().vocab_size, [group](const Tensor& mine) {
                             Tensor all = at::zeros({group->size(), mine.numel()}, mine.options());
                             all[group->rank()].copy_(mine.reshape({-1}));
                             group->share_parts(all.view({-1}));
                             return all.view({group->size(), mine.size(0), mine.size(1)});
                           }};
  return ops::linear_logp(into_parts(states, group), head, target, options.temperature, options.with_entropy, softcap,
                          &part);
}

}  // namespace rft
