#pragma once
/// A policy whose answers are numbers that their draws determine, given in pieces.
#include <ATen/ATen.h>

#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/core/rng.h"
#include "rft/policy/samples_pieces.h"

namespace rft::testing {

class Riddles : public Policy, public SamplesPieces {
 public:
  /// Called before each piece is finished, with how many were.
  std::function<void(int64_t)> before_piece;
  int64_t shift = 0;  ///< its "weights": added to every answer

  Experience sample(const Experience& contexts, const SampleRequest& request) override {
    return answers(contexts, request, {0, contexts.context.rows()});
  }
  /// All pieces at once, the last one finished first.
  void sample_pieces(const Experience& contexts, const SampleRequest& request, const PieceWork& work) override {
    std::vector<Piece> pieces;
    while (auto piece = work.next()) pieces.push_back(*piece);
    for (size_t k = 0; k < pieces.size(); ++k) {
      if (before_piece) before_piece(static_cast<int64_t>(k));
      if (request.progress) request.progress(static_cast<int64_t>(k), 0);
      const Piece& piece = pieces[pieces.size() - 1 - k];
      work.finished(piece, answers(contexts, request, piece));
    }
  }

  static Experience contexts(int64_t count) {
    Experience out;
    out.context.set("number", at::arange(count, at::kLong));
    out.context.set_text(extra::prompt, std::vector<std::string>(static_cast<size_t>(count), "?"));
    return out;
  }

  Experience contexts(const Rows&) const override { run_failed("riddles", "reads no rows"); }
  Experience demonstrations(const Rows&) override { run_failed("riddles", "reads no rows"); }
  void visit_rollout(OptionVisitor&) override {}
  Evaluation evaluate(const Experience&, const Needs&) override { return {}; }
  Tensor ref_logp(const Experience&, const Needs&) override { return {}; }
  std::vector<Parameter> parameters() override { return {}; }
  void save(const std::string&) const override {}
  void load(const std::string&) override {}

 private:
  /// Row i of the batch has 1 + i % 3 decisions, as numbers and as text.
  Experience answers(const Experience& contexts, const SampleRequest& request, const Piece& piece) const {
    const int64_t rows = piece.count * request.group_size,
                  before = request.first_row() + piece.first * request.group_size;
    Experience out;
    out.group = at::arange(piece.count, at::kLong).repeat_interleave(request.group_size);
    out.context = contexts.context.narrow(piece.first, piece.count).select(out.group);
    int64_t longest = 0;
    for (int64_t i = 0; i < rows; ++i) longest = std::max(longest, 1 + (before + i) % 3);
    out.action = at::zeros({rows, longest}, at::kLong), out.mask = at::zeros({rows, longest}, at::kBool);
    std::vector<std::string> texts;
    for (int64_t i = 0; i < rows; ++i) {
      const auto stream = static_cast<uint64_t>(before + i);
      std::string text;
      for (int64_t t = 0; t < 1 + (before + i) % 3; ++t) {
        auto digit = static_cast<int64_t>(Rng(request.seed, stream).uniform(static_cast<uint64_t>(t)) * 10);
        out.action[i][t].fill_(digit), out.mask[i][t].fill_(true);
        text += std::to_string(digit);
      }
      texts.push_back(std::to_string(std::stol(text) + shift));
    }
    out.logp = at::zeros({rows, longest}, at::kFloat);
    out.context.set_text(extra::completion, std::move(texts));
    return out;
  }
};

}  // namespace rft::testing
