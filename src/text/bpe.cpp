#include "text/bpe.h"

#include <algorithm>
#include <cstdio>
#include <mutex>
#include <queue>
#include <tuple>

#include "text/byte_level.h"
#include "text/utf8.h"

namespace rft::text {
namespace {

constexpr size_t kLongPiece = 48;  // symbols; beyond, a heap is faster than looking for the best pair again and again

/// Joins the best pair, the leftmost first, until there is none. Quadratic, and the fastest for words.
void merge_short(std::vector<int32_t>& symbols, const MergeTable& merges) {
  std::array<Merge, kLongPiece> pairs;
  size_t n = symbols.size();
  for (size_t i = 0; i + 1 < n; ++i) pairs[i] = merges.find(symbols[i], symbols[i + 1]);
  while (n > 1) {
    size_t best = n;
    for (size_t i = 0; i + 1 < n; ++i)
      if (pairs[i].rank >= 0 && (best == n || pairs[i].rank < pairs[best].rank)) best = i;
    if (best == n) break;
    symbols[best] = pairs[best].id;
    std::copy(symbols.begin() + best + 2, symbols.begin() + n, symbols.begin() + best + 1);
    for (size_t i = best + 1; i + 2 < n; ++i) pairs[i] = pairs[i + 1];
    --n;
    if (best > 0) pairs[best - 1] = merges.find(symbols[best - 1], symbols[best]);
    if (best + 1 < n) pairs[best] = merges.find(symbols[best], symbols[best + 1]);
  }
  symbols.resize(n);
}

/// The same with a heap and a linked list: n log n.
void merge_long(std::vector<int32_t>& symbols, const MergeTable& merges) {
  struct Node {
    int64_t previous, next;
    bool gone;
  };
  auto n = static_cast<int64_t>(symbols.size());
  std::vector<Node> nodes(symbols.size());
  using Candidate = std::tuple<int32_t, int64_t, int32_t>;  // rank, position of the left one, new id
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  auto offer = [&](int64_t left) {
    int64_t right = left < 0 ? -1 : nodes[left].next;
    if (right < 0) return;
    Merge merge = merges.find(symbols[left], symbols[right]);
    if (merge.rank >= 0) queue.emplace(merge.rank, left, merge.id);
  };
  for (int64_t i = 0; i < n; ++i) nodes[i] = {i - 1, i + 1 < n ? i + 1 : -1, false};
  for (int64_t i = 0; i < n; ++i) offer(i);
  while (!queue.empty()) {
    auto [rank, left, id] = queue.top();
    queue.pop();
    int64_t right = nodes[left].next;
    if (nodes[left].gone || right < 0) continue;
    if (merges.find(symbols[left], symbols[right]).id != id) continue;  // a neighbour has been joined since
    symbols[left] = id;
    nodes[right].gone = true;
    nodes[left].next = nodes[right].next;
    if (nodes[right].next >= 0) nodes[nodes[right].next].previous = left;
    offer(nodes[left].previous), offer(left);
  }
  size_t kept = 0;
  for (int64_t i = 0; i < n; ++i)
    if (!nodes[i].gone) symbols[kept++] = symbols[i];
  symbols.resize(kept);
}

}  // namespace

void MergeTable::reserve(size_t n) {
  size_t size = 2;
  while (size < 2 * n + 2) size *= 2;
  slots_.assign(size, Slot{});
  mask_ = size - 1;
}

void MergeTable::set(int32_t left, int32_t right, Merge merge) {
  uint64_t key = key_of(left, right);
  size_t at = slot(key);
  while (slots_[at].merge.rank >= 0 && slots_[at].key != key) at = (at + 1) & mask_;
  slots_[at] = {key, merge};
}

/// Pieces seen before. It stops growing when full, so that hostile text can't fill the memory.
struct Bpe::Cache {
  static constexpr size_t kShards = 16, kEntries = 8192, kMaxPiece = 64;
  struct Shard {
    std::mutex mutex;
    std::unordered_map<std::string, std::vector<int32_t>, StringHash, std::equal_to<>> entries;
  };
  std::array<Shard, kShards> shards;

  Shard& shard(std::string_view piece) { return shards[(StringHash{}(piece) >> 7) % kShards]; }
  bool find(std::string_view piece, std::vector<int64_t>& out) {
    Shard& s = shard(piece);
    std::lock_guard lock(s.mutex);
    auto found = s.entries.find(piece);
    if (found == s.entries.end()) return false;
    out.insert(out.end(), found->second.begin(), found->second.end());
    return true;
  }
  void add(std::string_view piece, const std::vector<int32_t>& ids) {
    Shard& s = shard(piece);
    std::lock_guard lock(s.mutex);
    if (s.entries.size() < kEntries) s.entries.emplace(piece, ids);
  }
};

Bpe::Bpe(const Spec& spec) : cache_(std::make_unique<Cache>()) {
  const Spec dropout = spec.at("dropout");
  if (!dropout.null() && !(dropout.value().is_number() && dropout.value().get<double>() == 0))
    dropout.refuse("is not supported: ids must not depend on chance; got ", dropout.value().dump());
  prefix_ = spec.text("continuing_subword_prefix", ""), suffix_ = spec.text("end_of_word_suffix", "");
  fuse_unknown_ = spec.flag("fuse_unk", false), ignore_merges_ = spec.flag("ignore_merges", false);
  read_vocabulary(spec);
  read_merges(spec);
  if (spec.has("unk_token")) {
    auto found = vocabulary_.find(spec.text("unk_token"));
    unknown_ = found == vocabulary_.end() ? -2 : found->second;
  }
  if (spec.flag("byte_fallback", false)) byte_tokens_ = byte_tokens(vocabulary_);
}

Bpe::~Bpe() = default;

void Bpe::read_vocabulary(const Spec& spec) {
  Spec vocab = spec.at("vocab");
  if (!vocab.value().is_object()) vocab.refuse("must be an object of token: id; got ", vocab.value().type_name());
  vocabulary_.reserve(vocab.value().size() * 2);
  for (const auto& item : vocab.value().items()) {
    Spec id(item.value(), spec.file(), vocab.path() + "." + item.key());
    vocabulary_.emplace(item.key(), static_cast<int32_t>(id.as_integer()));
  }
  small_.fill(-1);
  for (char32_t code = 0; code < small_.size(); ++code) {
    std::string character;
    append_code(character, code);
    small_[code] = static_cast<int32_t>(id(character));
  }
}

void Bpe::read_merges(const Spec& spec) {
  Spec merges = spec.at("merges");
  const auto& list = merges.value();
  if (!list.is_array()) merges.refuse("must be a list; got ", list.type_name());
  merges_.reserve(list.size());
  int32_t rank = 0;
  for (const auto& item : list) {
    if (item.is_string()) {
      const auto& text = item.get_ref<const std::string&>();
      if (text.starts_with("#version")) continue;
      size_t space = text.find(' ');
      if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos)
        merges.refuse("must be pairs of tokens with one space between; number ", rank, " is '", text, "'");
      add_merge(merges, text.substr(0, space), text.substr(space + 1), rank++);
    } else if (item.is_array() && item.size() == 2 && item[0].is_string() && item[1].is_string()) {
      add_merge(merges, item[0].get<std::string>(), item[1].get<std::string>(), rank++);
    } else {
      merges.refuse("must be pairs of tokens; number ", rank, " is not");
    }
  }
}

void Bpe::add_merge(const Spec& spec, const std::string& left, const std::string& right, int32_t rank) {
  if (right.size() < prefix_.size()) spec.refuse("number ", rank, " has '", right, "', which lacks the subword prefix");
  auto known = [&](const std::string& token) {
    auto found = vocabulary_.find(token);
    if (found == vocabulary_.end())
      spec.refuse("number ", rank, " needs '", token, "', which is not in the vocabulary");
    return found->second;
  };
  int32_t l = known(left), r = known(right);
  merges_.set(l, r, {rank, known(left + right.substr(prefix_.size()))});
}

void Bpe::append_unknown(std::string_view character, std::vector<int32_t>& symbols, bool& pending) const {
  if (!byte_tokens_.empty()) {
    std::vector<int32_t> bytes;
    for (char c : character) bytes.push_back(byte_tokens_[static_cast<unsigned char>(c)]);
    if (std::find(bytes.begin(), bytes.end(), -1) == bytes.end())
      return void(symbols.insert(symbols.end(), bytes.begin(), bytes.end()));
  }
  if (unknown_ == -2)
    bad_input("tokenizer", "'", character, "' is not in the vocabulary, and neither is the token for unknown ones");
  if (unknown_ < 0) return;  // as the library does: dropped
  if (pending && !fuse_unknown_) symbols.push_back(unknown_);
  pending = true;
}

std::vector<int32_t> Bpe::symbols_of(std::string_view piece) const {
  std::vector<int32_t> symbols;
  symbols.reserve(piece.size());
  bool pending = false;  // an unknown token that later unknown characters may join
  bool plain = prefix_.empty() && suffix_.empty();
  for (size_t i = 0; i < piece.size();) {
    Decoded next = decode_at(piece, i);
    std::string_view character = piece.substr(i, next.size);
    int64_t found;
    if (plain) {
      found = next.code < small_.size() ? small_[next.code] : id(character);
      if (found < 0) append_unknown(character, symbols, pending);
    } else {
      bool last = i + next.size == piece.size();
      std::string affixed = cat(i == 0 ? "" : prefix_, character, last ? suffix_ : "");
      found = id(affixed);
      if (found < 0) append_unknown(affixed, symbols, pending);
    }
    if (found >= 0) {
      if (pending) symbols.push_back(unknown_), pending = false;
      symbols.push_back(static_cast<int32_t>(found));
    }
    i += next.size;
  }
  if (pending) symbols.push_back(unknown_);
  return symbols;
}

void Bpe::encode(std::string_view piece, std::vector<int64_t>& out) const {
  if (piece.empty()) return;
  if (ignore_merges_)
    if (int64_t whole = id(piece); whole >= 0) return out.push_back(whole);
  bool small = piece.size() <= Cache::kMaxPiece;
  if (small && cache_->find(piece, out)) return;
  std::vector<int32_t> symbols = symbols_of(piece);
  if (symbols.size() <= kLongPiece)
    merge_short(symbols, merges_);
  else
    merge_long(symbols, merges_);
  if (small) cache_->add(piece, symbols);
  out.insert(out.end(), symbols.begin(), symbols.end());
}

}  // namespace rft::text
