#include "text/decoder.h"

#include "text/byte_level.h"
#include "text/metaspace.h"
#include "text/pattern.h"
#include "text/utf8.h"

namespace rft::text {
namespace {

using Texts = std::vector<std::string>;

std::string same(std::string token) { return token; }

Decoder each(std::function<std::string(std::string)> one) {
  auto all = [one](Texts tokens) {
    for (auto& token : tokens) token = one(std::move(token));
    return tokens;
  };
  return {all, one};
}

Decoder byte_level_decoder() {
  auto all = [](Texts tokens) {
    std::string bytes;
    for (const auto& token : tokens) bytes += bytes_of_token(token);
    return Texts{replace_invalid(bytes)};
  };
  return {all, [](std::string token) { return bytes_of_token(token); }};
}

/// "<0xE2>" is the byte E2; -1 where the token is no such name.
int byte_of_name(const std::string& token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return -1;
  size_t used = 0;
  std::string digits = token.substr(3, 2);
  if (digits.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos) return -1;
  return std::stoi(digits, &used, 16);
}

/// A run of byte tokens is a text where it is valid UTF-8, else one U+FFFD for each.
Decoder byte_fallback_decoder() {
  auto all = [](Texts tokens) {
    Texts out;
    std::string bytes;
    auto flush = [&] {
      if (bytes.empty()) return;
      if (is_valid(bytes))
        out.push_back(bytes);
      else
        out.insert(out.end(), bytes.size(), std::string(kReplacement));
      bytes.clear();
    };
    for (auto& token : tokens) {
      int byte = byte_of_name(token);
      if (byte >= 0)
        bytes.push_back(static_cast<char>(byte));
      else
        flush(), out.push_back(std::move(token));
    }
    flush();
    return out;
  };
  auto one = [](std::string token) {
    int byte = byte_of_name(token);
    return byte < 0 ? token : std::string(1, static_cast<char>(byte));
  };
  return {all, one};
}

/// Up to `start` and `stop` times `content` from both ends of each part. In the middle of a text nothing is cut: the
/// decoders that have this cut the first word's space, after their parts are fused.
Decoder strip_decoder(const Spec& spec) {
  std::string content = spec.text("content");
  int64_t start = spec.integer("start"), stop = spec.integer("stop");
  auto all = [=](Texts tokens) {
    for (auto& token : tokens) {
      for (int64_t i = 0; i < start && !content.empty() && token.starts_with(content); ++i)
        token.erase(0, content.size());
      for (int64_t i = 0; i < stop && !content.empty() && token.ends_with(content); ++i)
        token.erase(token.size() - content.size());
    }
    return tokens;
  };
  return {all, same};
}

/// Spaces again; those that the first token begins with were put there, unless nothing is.
Decoder metaspace_decoder(const Spec& spec) {
  Metaspace options = read_metaspace(spec);
  Regex mark = Regex::exact(options.replacement, spec.file() + " " + spec.path());
  auto all = [=](Texts tokens) {
    for (size_t i = 0; i < tokens.size(); ++i)
      tokens[i] = mark.replaced(tokens[i], i == 0 && options.prepend != "never" ? "" : " ");
    return tokens;
  };
  return {all, [=](std::string token) { return mark.replaced(token, " "); }};
}

Decoder replace_decoder(const Spec& spec) {
  Regex pattern = read_pattern(spec.at("pattern"));
  return each(
      [pattern, content = spec.text("content")](std::string token) { return pattern.replaced(token, content); });
}

/// Words with spaces between, continuations joined to what they continue.
Decoder word_piece_decoder(const Spec& spec) {
  static const std::vector<std::pair<std::string, std::string>> tidied{
      {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},   {" n't", "n't"},
      {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  std::string prefix = spec.text("prefix", "##");
  bool cleanup = spec.flag("cleanup", true);
  auto one = [=](std::string token) {
    token = token.starts_with(prefix) ? token.substr(prefix.size()) : " " + token;
    if (cleanup)
      for (const auto& [from, to] : tidied)
        for (size_t at = token.find(from); at != std::string::npos; at = token.find(from, at + to.size()))
          token.replace(at, from.size(), to);
    return token;
  };
  auto all = [=](Texts tokens) {
    for (size_t i = 0; i < tokens.size(); ++i) {
      // The first token stays as it is: it continues nothing, and no space stands before it.
      tokens[i] = one(i == 0 ? prefix + tokens[i] : std::move(tokens[i]));
    }
    return tokens;
  };
  return {all, one};
}

Decoder sequence_decoder(const Spec& spec) {
  std::vector<Decoder> steps;
  for (const Spec& item : spec.items("decoders")) {
    if (item.null()) item.refuse("must be a decoder; got null");
    steps.push_back(make_decoder(item));
  }
  auto all = [steps](Texts tokens) {
    for (const auto& step : steps) tokens = step.all(std::move(tokens));
    return tokens;
  };
  auto one = [steps](std::string token) {
    for (const auto& step : steps) token = step.one(std::move(token));
    return token;
  };
  return {all, one};
}

}  // namespace

Decoder make_decoder(const Spec& spec) {
  if (spec.null()) return {[](Texts tokens) { return Texts{join(tokens, " ")}; }, same};
  std::string type = spec.text("type");
  if (type == "ByteLevel") return byte_level_decoder();
  if (type == "Sequence") return sequence_decoder(spec);
  if (type == "Replace") return replace_decoder(spec);
  if (type == "Strip") return strip_decoder(spec);
  if (type == "ByteFallback") return byte_fallback_decoder();
  if (type == "Metaspace") return metaspace_decoder(spec);
  if (type == "WordPiece") return word_piece_decoder(spec);
  if (type == "Fuse") return {[](Texts tokens) { return Texts{join(tokens, "")}; }, same};
  spec.unknown_type({"ByteLevel", "Sequence", "Replace", "Strip", "ByteFallback", "Metaspace", "Fuse", "WordPiece"});
}

}  // namespace rft::text
