#include "text/unigram.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "text/utf8.h"

namespace rft::text {
namespace {

/// How much less than the worst token an unknown character is worth.
constexpr double kUnknownPenalty = 10;

}  // namespace

Unigram::Unigram(const Spec& spec) {
  unknown_ = spec.integer("unk_id");
  Spec vocab = spec.at("vocab");
  const auto& list = vocab.value();
  if (!list.is_array()) vocab.refuse("must be a list of [token, score]; got ", list.type_name());
  double worst = std::numeric_limits<double>::infinity();
  for (const auto& item : list) {
    auto number = static_cast<int32_t>(scores_.size());
    if (!item.is_array() || item.size() != 2 || !item[0].is_string() || !item[1].is_number())
      vocab.refuse("must be a list of [token, score]; number ", number, " is not");
    scores_.push_back(item[1].get<double>());
    if (!std::isfinite(scores_.back())) vocab.refuse("has a score that is not finite, number ", number);
    worst = std::min(worst, scores_.back());
    add_token(item[0].get<std::string>(), number);
  }
  if (unknown_ >= static_cast<int64_t>(scores_.size()))
    spec.at("unk_id").refuse("must be below ", scores_.size(), ", the number of tokens; got ", unknown_);
  unknown_score_ = worst - kUnknownPenalty;
  if (!spec.flag("byte_fallback", false)) return;
  byte_tokens_ = byte_tokens(vocabulary_);
}

/// Of two equal tokens the later one counts, as in the library.
void Unigram::add_token(const std::string& token, int32_t id) {
  vocabulary_[token] = id;
  uint32_t node = 0;
  for (char c : token) {
    auto [entry, made] = next_.try_emplace(uint64_t{node} << 8 | static_cast<unsigned char>(c), nodes_);
    if (made) ++nodes_;
    node = entry->second;
  }
  if (!token.empty()) ends_[node] = id;
}

void Unigram::offer(Best& place, double score, int64_t id, size_t begin) const {
  if (!place.reached || score > place.score) place = {score, id, begin, true};
}

/// Viterbi's algorithm over the ends of tokens: [piece.size() + 1].
std::vector<Unigram::Best> Unigram::segment(std::string_view piece) const {
  std::vector<Best> best(piece.size() + 1);
  for (size_t at = 0, size; at < piece.size(); at += size) {
    size = static_cast<size_t>(decode_at(piece, at).size);
    bool single = false;
    uint32_t node = 0;
    for (size_t end = at; end < piece.size();) {
      auto next = next_.find(uint64_t{node} << 8 | static_cast<unsigned char>(piece[end]));
      if (next == next_.end()) break;
      node = next->second, ++end;
      auto token = ends_.find(node);
      if (token == ends_.end()) continue;
      offer(best[end], best[at].score + scores_[static_cast<size_t>(token->second)], token->second, at);
      single = single || end == at + size;
    }
    if (!single) offer(best[at + size], best[at].score + unknown_score_, unknown_, at);
  }
  return best;
}

/// A run of unknown characters is one token, which may be spelled in bytes.
void Unigram::append(std::string_view token, std::vector<int64_t>& out) const {
  if (int64_t known = id(token); known >= 0) return out.push_back(known);
  std::vector<int64_t> bytes;
  for (char c : token)
    if (!byte_tokens_.empty()) bytes.push_back(byte_tokens_[static_cast<unsigned char>(c)]);
  if (bytes.empty() || std::find(bytes.begin(), bytes.end(), -1) != bytes.end()) return out.push_back(unknown_);
  out.insert(out.end(), bytes.begin(), bytes.end());
}

void Unigram::encode(std::string_view piece, std::vector<int64_t>& out) const {
  if (piece.empty()) return;
  auto best = segment(piece);
  std::vector<std::string_view> tokens;
  for (size_t end = piece.size(); end > 0;) {
    size_t begin = best[end].begin;
    while (best[end].id == unknown_ && begin > 0 && best[begin].id == unknown_) begin = best[begin].begin;
    tokens.push_back(piece.substr(begin, end - begin));
    end = begin;
  }
  for (auto token = tokens.rbegin(); token != tokens.rend(); ++token) append(*token, out);
}

}  // namespace rft::text
