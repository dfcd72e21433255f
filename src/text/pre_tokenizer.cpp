#include "text/pre_tokenizer.h"

#include <utility>

#include "text/byte_level.h"
#include "text/metaspace.h"
#include "text/pattern.h"
#include "text/unicode_tables.h"
#include "text/utf8.h"

namespace rft::text {
namespace {

const char* const kGpt2Pattern = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

enum class Behavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

/// A stretch of the text that is a match or lies between two.
struct Part {
  Span span;
  bool match;
};

std::vector<Part> parts_of(std::string_view text, const Regex& pattern, bool invert) {
  std::vector<Part> parts;
  size_t done = 0;
  pattern.each_match(text, [&](size_t begin, size_t end) {
    if (done != begin) parts.push_back({{done, begin}, invert});
    parts.push_back({{begin, end}, !invert});
    done = end;
  });
  if (done != text.size()) parts.push_back({{done, text.size()}, invert});
  return parts;
}

/// A match joins the part before it, unless that is a match too; `backward` mirrors it.
std::vector<Span> merge_matches(const std::vector<Part>& parts, bool backward) {
  std::vector<Span> out;
  bool previous = false;
  for (size_t i = 0; i < parts.size(); ++i) {
    const Part& part = parts[backward ? parts.size() - 1 - i : i];
    if (part.match && !previous && !out.empty())
      (backward ? out.back().begin = part.span.begin : out.back().end = part.span.end);
    else
      out.push_back(part.span);
    previous = part.match;
  }
  return backward ? std::vector<Span>(out.rbegin(), out.rend()) : out;
}

std::vector<Span> split_spans(const std::vector<Part>& parts, Behavior behavior) {
  if (behavior == Behavior::merged_with_previous) return merge_matches(parts, false);
  if (behavior == Behavior::merged_with_next) return merge_matches(parts, true);
  std::vector<Span> out;
  bool previous = false;
  for (const Part& part : parts) {
    if (behavior == Behavior::removed && part.match) continue;
    if (behavior == Behavior::contiguous && part.match == previous && !out.empty())
      out.back().end = part.span.end;
    else
      out.push_back(part.span);
    previous = part.match;
  }
  return out;
}

/// The commonest behavior without a list of parts between: appends matches and what lies between them.
void isolate(std::string_view text, const Regex& pattern, size_t base, std::vector<Span>& out) {
  size_t done = 0;
  auto add = [&](size_t begin, size_t end) {
    if (begin != end) out.push_back({base + begin, base + end});
  };
  pattern.each_match(text, [&](size_t begin, size_t end) {
    add(done, begin), add(begin, end);
    done = end;
  });
  add(done, text.size());
}

PreTokenizer split(Regex pattern, Behavior behavior, bool invert) {
  return [pattern = std::move(pattern), behavior, invert](Pieces& pieces) {
    std::vector<Span> out;
    for (size_t i = 0; i < pieces.spans.size(); ++i) {
      size_t base = pieces.spans[i].begin;
      if (behavior == Behavior::isolated) {
        isolate(pieces[i], pattern, base, out);
        continue;
      }
      for (Span span : split_spans(parts_of(pieces[i], pattern, invert), behavior))
        if (span.begin != span.end) out.push_back({base + span.begin, base + span.end});
    }
    pieces.spans = std::move(out);
  };
}

/// Each piece through `write`, which appends it to the new text.
template <class Write>
void rewrite(Pieces& pieces, Write write) {
  Pieces out;
  out.first = pieces.first;
  out.text.reserve(pieces.text.size() + pieces.text.size() / 2);
  out.spans.reserve(pieces.spans.size());
  for (size_t i = 0; i < pieces.spans.size(); ++i) {
    size_t begin = out.text.size();
    write(pieces[i], out.text);
    out.spans.push_back({begin, out.text.size()});
  }
  pieces = std::move(out);
}

void to_byte_characters(std::string_view piece, std::string& out) {
  for (char c : piece) out += character_of(static_cast<unsigned char>(c));
}

Behavior read_behavior(const Spec& spec) {
  static const std::vector<std::string> names{"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext",
                                              "Contiguous"};
  std::string name = spec.text("behavior");
  for (size_t i = 0; i < names.size(); ++i)
    if (name == names[i]) return static_cast<Behavior>(i);
  spec.refuse("has no behavior '", name, "'", suggestion(name, names));
}

/// Spaces become `replacement`, which then begins each piece.
PreTokenizer metaspace(const Spec& spec) {
  Metaspace options = read_metaspace(spec);
  Regex exact = Regex::exact(options.replacement, spec.file() + " " + spec.path());
  PreTokenizer cut = options.split ? split(exact, Behavior::merged_with_next, false) : [](Pieces&) {};
  return [options, cut](Pieces& pieces) {
    bool begins = pieces.first && !pieces.spans.empty() && pieces.spans[0].begin == 0;
    rewrite(pieces, [&](std::string_view piece, std::string& out) {
      bool prepend = options.prepend == "always" || (options.prepend == "first" && std::exchange(begins, false));
      if (prepend && !piece.starts_with(' ') && !piece.starts_with(options.replacement)) out += options.replacement;
      for (char c : piece) c == ' ' ? out += options.replacement : out += c;
    });
    cut(pieces);
  };
}

PreTokenizer pre_tokenizers_in_turn(const Spec& spec) {
  std::vector<PreTokenizer> steps;
  for (const Spec& item : spec.items("pretokenizers")) steps.push_back(make_pre_tokenizer(item));
  return [steps](Pieces& pieces) {
    for (const auto& step : steps) step(pieces);
  };
}

PreTokenizer on_character(const Spec& spec) {
  std::string delimiter = spec.text("delimiter");
  return split(Regex::exact(delimiter, spec.file() + " " + spec.path()), Behavior::removed, false);
}

}  // namespace

PreTokenizer byte_level(bool add_prefix_space, bool use_regex) {
  PreTokenizer words = use_regex ? split(Regex(kGpt2Pattern, "ByteLevel"), Behavior::isolated, false) : [](Pieces&) {};
  return [words, add_prefix_space](Pieces& pieces) {
    if (add_prefix_space)
      rewrite(pieces, [](std::string_view piece, std::string& out) {
        if (!piece.starts_with(' ')) out += ' ';
        out += piece;
      });
    words(pieces);
    rewrite(pieces, to_byte_characters);
  };
}

PreTokenizer make_pre_tokenizer(const Spec& spec) {
  if (spec.null()) return [](Pieces&) {};
  std::string type = spec.text("type"), where = spec.file() + " " + spec.path();
  if (type == "ByteLevel") return byte_level(spec.flag("add_prefix_space"), spec.flag("use_regex", true));
  if (type == "Sequence") return pre_tokenizers_in_turn(spec);
  if (type == "Split") return split(read_pattern(spec.at("pattern")), read_behavior(spec), spec.flag("invert"));
  if (type == "Digits")
    return split(Regex(kDigit, where), spec.flag("individual_digits") ? Behavior::isolated : Behavior::contiguous,
                 false);
  if (type == "Punctuation")
    return split(Regex(kPunctuation, where), spec.has("behavior") ? read_behavior(spec) : Behavior::isolated, false);
  if (type == "Whitespace")
    return split(Regex(cat("[", kRustWord, "]+|[^", kRustWord, "\\s]+"), where), Behavior::removed, true);
  if (type == "WhitespaceSplit") return split(Regex("\\s", where), Behavior::removed, false);
  if (type == "BertPreTokenizer") {
    PreTokenizer words = split(Regex("\\s", where), Behavior::removed, false);
    PreTokenizer marks = split(Regex(kPunctuation, where), Behavior::isolated, false);
    return [words, marks](Pieces& pieces) { words(pieces), marks(pieces); };
  }
  if (type == "CharDelimiterSplit") return on_character(spec);
  if (type == "Metaspace") return metaspace(spec);
  spec.unknown_type({"ByteLevel", "Sequence", "Split", "Digits", "Punctuation", "Whitespace", "WhitespaceSplit",
                     "CharDelimiterSplit", "Metaspace", "BertPreTokenizer"});
}

}  // namespace rft::text
