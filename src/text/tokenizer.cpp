#include "rft/text/tokenizer.h"

#include <algorithm>

#include "rft/io/hf_directory.h"
#include "text/added_tokens.h"
#include "text/clip_files.h"
#include "text/decoder.h"
#include "text/model.h"
#include "text/normalizer.h"
#include "text/post_processor.h"
#include "text/pre_tokenizer.h"
#include "text/tokenizer_files.h"
#include "text/utf8.h"

namespace rft {
namespace {

using nlohmann::json;
using text::Spec;

/// The token that tokenizer_config.json names: a text, or an object that holds it; "" where it names none.
std::string named_token(const Spec& config, const char* key) {
  if (!config.has(key)) return "";
  Spec token = config.at(key);
  return token.value().is_object() ? token.text("content") : token.as_text();
}

/// model_max_length; -1 where there is none, which transformers also writes as 1e30.
int64_t length_limit(const Spec& config) {
  Spec length = config.at(config.has("model_max_length") ? "model_max_length" : "max_len");
  if (length.null()) return -1;
  if (!length.value().is_number() || length.value().get<double>() < 1)
    length.refuse("must be a number of at least 1; got ", length.value().dump());
  double number = length.value().get<double>();
  return number < 2147483648.0 ? static_cast<int64_t>(number) : -1;
}

}  // namespace

struct Tokenizer::Impl {
  std::string where;
  std::unique_ptr<text::Model> model;
  text::Normalizer normalizer;
  text::AddedTokens added;
  text::PreTokenizer pre_tokenizer;
  text::PostProcessor post_processor;
  text::Decoder decoder;
  std::unordered_map<int64_t, std::string> tokens;
  int64_t size = 0;
  int64_t eos = -1, pad = -1, bos = -1, max_length = -1;
  bool clip = false;  ///< decoded words have spaces between them

  explicit Impl(const Spec& file)
      : where(file.file()),
        model(text::make_model(file.at("model"))),
        normalizer(text::make_normalizer(file.at("normalizer"))),
        added(file, *model, normalizer),
        pre_tokenizer(text::make_pre_tokenizer(file.at("pre_tokenizer"))),
        post_processor(text::make_post_processor(file.at("post_processor"))),
        decoder(text::make_decoder(file.at("decoder"))) {
    for (const auto& [token, id] : model->vocabulary()) tokens[id] = token;
    for (const auto& [id, token] : added.by_id()) tokens[id] = token.shown;
    for (const auto& entry : tokens) size = std::max(size, entry.first + 1);
  }

  int64_t id(std::string_view token) const {
    int64_t found = added.id(token);
    return found >= 0 ? found : model->id(token);
  }

  const std::string& token(int64_t id) const {
    auto found = tokens.find(id);
    if (found == tokens.end()) bad_input(where, "an id must be in the vocabulary of ", size, " ids; got ", id);
    return found->second;
  }

  /// Text between the added tokens that are looked for before normalisation; `first`: the text begins with it.
  void encode_stretch(std::string_view stretch, bool first, std::vector<int64_t>& ids) const {
    std::string normal = normalizer(std::string(stretch));
    for (const auto& part : added.split(normal, true)) {
      if (part.id >= 0) {
        ids.push_back(part.id);
        continue;
      }
      text::Pieces pieces{normal.substr(part.begin, part.end - part.begin), {{0, part.end - part.begin}}};
      pieces.first = first && part.begin == 0;
      pre_tokenizer(pieces);
      for (size_t i = 0; i < pieces.spans.size(); ++i) model->encode(pieces[i], ids);
    }
  }

  void read_config(const Spec& config) {
    auto find = [&](const char* key) {
      std::string token = named_token(config, key);
      return token.empty() ? -1 : id(token);
    };
    eos = find("eos_token"), pad = find("pad_token"), bos = find("bos_token");
    max_length = length_limit(config);
    clip = text::is_clip(config.value());
  }
};

Tokenizer Tokenizer::parse(const std::string& content, const std::string& where) {
  json file = text::parse_object(content, where);
  Tokenizer out;
  out.impl_ = std::make_shared<Impl>(Spec(file, where));
  return out;
}

Tokenizer Tokenizer::load(const std::string& directory) {
  json config = text::read_tokenizer_config(directory);
  std::string where;
  json content = text::read_tokenizer_file(directory, config, where);
  auto impl = std::make_shared<Impl>(Spec(content, where));
  impl->read_config(Spec(config, directory + "/tokenizer_config.json"));
  Tokenizer out;
  out.impl_ = std::move(impl);
  return out;
}

std::vector<int64_t> Tokenizer::encode(std::string_view content, bool special) const {
  std::string repaired;
  if (!text::is_valid(content)) repaired = text::replace_invalid(content), content = repaired;
  std::vector<int64_t> ids;
  for (const auto& stretch : impl_->added.split(content, false)) {
    if (stretch.id >= 0)
      ids.push_back(stretch.id);
    else
      impl_->encode_stretch(content.substr(stretch.begin, stretch.end - stretch.begin), stretch.begin == 0, ids);
  }
  return special ? impl_->post_processor(std::move(ids)) : ids;
}

std::string Tokenizer::decode(const std::vector<int64_t>& ids, bool skip_special) const {
  std::vector<std::string> tokens;
  for (int64_t id : ids) {
    const std::string& token = impl_->token(id);
    if (!skip_special || !impl_->added.is_special(token)) tokens.push_back(token);
  }
  std::string out = join(impl_->decoder.all(std::move(tokens)), "");
  return impl_->clip ? text::stripped(text::spaced_words(std::move(out))) : out;
}

int64_t Tokenizer::id(std::string_view token) const { return impl_->id(token); }

std::string Tokenizer::token(int64_t id) const { return impl_->token(id); }

bool Tokenizer::is_special(int64_t id) const { return impl_->added.is_special(impl_->token(id)); }

int64_t Tokenizer::size() const { return impl_->size; }

int64_t Tokenizer::eos_id() const { return impl_->eos; }

std::vector<int64_t> end_ids(const std::string& directory, const Tokenizer& tokenizer) {
  std::vector<int64_t> ids = eos_token_ids(directory);
  if (ids.empty() && tokenizer.eos_id() >= 0) ids = {tokenizer.eos_id()};
  return ids;
}

int64_t Tokenizer::pad_id() const { return impl_->pad; }

int64_t Tokenizer::bos_id() const { return impl_->bos; }

int64_t Tokenizer::max_length() const { return impl_->max_length; }

std::string Tokenizer::bytes(int64_t id) const {
  std::string out = impl_->decoder.one(impl_->token(id));
  return impl_->clip ? text::spaced_words(std::move(out)) : out;
}

std::string StreamDecoder::push(int64_t id) {
  if (tokenizer_.is_special(id)) return "";
  pending_ += tokenizer_.bytes(id);
  size_t whole = 0;
  std::string out;
  while (whole < pending_.size()) {
    auto next = text::decode_at(pending_, whole);
    if (next.cut) break;
    out += next.valid ? std::string_view(pending_).substr(whole, next.size) : text::kReplacement;
    whole += next.size;
  }
  pending_.erase(0, whole);
  return out;
}

}  // namespace rft
