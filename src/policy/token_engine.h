#pragma once
/// How an LmEngine makes its samples: on the CPU (cpu_engine), or on a GPU by the CUDA part once that is loaded.
#include <memory>

#include "rft/policy/lm_engine.h"

namespace rft {

/// LmEngine's functions.
class TokenEngine {
 public:
  virtual ~TokenEngine() = default;
  virtual void add(std::shared_ptr<LmRequest> request) = 0;
  virtual bool step() = 0;
  virtual int64_t tokens_sampled() const = 0;
  virtual int64_t samples_done() const = 0;
};

using TokenEngineMaker = std::unique_ptr<TokenEngine> (*)(const Decoder& decoder, const Tokenizer* tokenizer,
                                                          int64_t batch_size);
/// The maker of engines for decoders on a GPU; the CUDA part sets it when it is loaded.
TokenEngineMaker& gpu_engine();

}  // namespace rft
