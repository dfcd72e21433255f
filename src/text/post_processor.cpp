#include "text/post_processor.h"

namespace rft::text {
namespace {

constexpr int64_t kText = -1;  // the place of the text in a template

PostProcessor surround(std::vector<int64_t> pattern) {
  return [pattern = std::move(pattern)](std::vector<int64_t> ids) {
    std::vector<int64_t> out;
    for (int64_t item : pattern) {
      if (item == kText)
        out.insert(out.end(), ids.begin(), ids.end());
      else
        out.push_back(item);
    }
    return out;
  };
}

PostProcessor read_template(const Spec& spec) {
  std::vector<int64_t> pattern;
  Spec tokens = spec.at("special_tokens");
  for (const Spec& piece : spec.items("single")) {
    if (piece.has("Sequence")) {
      if (piece.at("Sequence").text("id") != "A") piece.refuse("must name the text A; a single text has no other");
      pattern.push_back(kText);
    } else if (piece.has("SpecialToken")) {
      std::string name = piece.at("SpecialToken").text("id");
      if (!tokens.has(name.c_str())) piece.refuse("names '", name, "', which `special_tokens` lacks");
      for (const Spec& id : tokens.at(name.c_str()).items("ids")) pattern.push_back(id.as_integer());
    } else {
      piece.refuse("must hold a `Sequence` or a `SpecialToken`");
    }
  }
  return surround(std::move(pattern));
}

/// ["[CLS]", 101]
int64_t read_pair(const Spec& spec, const char* key) {
  auto items = spec.items(key);
  if (items.size() != 2) spec.at(key).refuse("must be a token and its id");
  return items[1].as_integer();
}

}  // namespace

PostProcessor make_post_processor(const Spec& spec) {
  auto identity = [](std::vector<int64_t> ids) { return ids; };
  if (spec.null()) return identity;
  std::string type = spec.text("type");
  if (type == "ByteLevel") return identity;  // it moves offsets, not ids
  if (type == "TemplateProcessing") return read_template(spec);
  if (type == "BertProcessing" || type == "RobertaProcessing")
    return surround({read_pair(spec, "cls"), kText, read_pair(spec, "sep")});
  if (type != "Sequence")
    spec.unknown_type({"ByteLevel", "TemplateProcessing", "BertProcessing", "RobertaProcessing", "Sequence"});
  std::vector<PostProcessor> steps;
  for (const Spec& item : spec.items("processors")) steps.push_back(make_post_processor(item));
  return [steps](std::vector<int64_t> ids) {
    for (const auto& step : steps) ids = step(std::move(ids));
    return ids;
  };
}

}  // namespace rft::text
