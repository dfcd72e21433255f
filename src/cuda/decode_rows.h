#pragma once
/// The host's side of samples in the making.
#include <memory>
#include <vector>

#include "cuda/decode_pages.h"
#include "kernels/decode_attention.h"
#include "policy/growing_row.h"
#include "rft/policy/lm_engine.h"

namespace rft::cuda {

inline int64_t pages_for(int64_t positions) {
  return (positions + kernels::kPagePositions - 1) / kernels::kPagePositions;
}
inline int64_t prompt_length(const LmRequest& request) { return static_cast<int64_t>(request.prompt.size()); }
/// Pages of a sample beyond those that it shares with its prompt.
inline int64_t own_pages(const LmRequest& request) {
  return pages_for(prompt_length(request) + request.options.max_new_tokens) -
         prompt_length(request) / kernels::kPagePositions;
}

/// A request's prompt, shared by the samples that answer it.
struct DecodeGroup {
  DecodeGroup(std::shared_ptr<LmRequest> asked, PagePool& pool)
      : request(std::move(asked)), pages(pool, pages_for(prompt_length(*request))) {}
  std::shared_ptr<LmRequest> request;
  PageList pages;
  Tensor logits;  ///< [1, V] float32, after the prompt's last token; undefined until it is computed

  /// Its last page, which is partly filled and which samples copy; -1: there is none.
  int open_page() const { return prompt_length(*request) % kernels::kPagePositions ? pages.pages().back() : -1; }
};

struct DecodeRow {
  DecodeRow(int64_t k, std::shared_ptr<DecodeGroup> prompt, PagePool& pool, const Tokenizer* tokenizer)
      : number(k),
        group(std::move(prompt)),
        own(pool, own_pages(*group->request)),
        growing(group->request->options, tokenizer, group->request->prompt, group->request->seed, number,
                group->request->rows[static_cast<size_t>(number)]) {}
  int64_t number;
  std::shared_ptr<DecodeGroup> group;
  PageList own;
  GrowingRow growing;
  int64_t slot = -1;
  int64_t asked = 0;  ///< tokens that enqueued steps make

  int64_t taken() const { return static_cast<int64_t>(growing.row().ids.size()); }
  int64_t remaining() const { return group->request->options.max_new_tokens - asked; }
  /// All pages, in the order of positions.
  std::vector<int> pages() const {
    std::vector<int> out(group->pages.pages().begin(),
                         group->pages.pages().begin() + prompt_length(*group->request) / kernels::kPagePositions);
    out.insert(out.end(), own.pages().begin(), own.pages().end());
    return out;
  }
};

}  // namespace rft::cuda
