// The functions that every template sees.
#include "text/jinja_builtins.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "text/jinja_arguments.h"

namespace rft::jinja {
namespace {

using ValueKind = Value::Kind;

Value range(const Arguments& a) {
  int64_t first = a.positional.size() > 1 ? whole_argument(a, 0, "start", 0) : 0,
          last = whole_argument(a, a.positional.size() > 1 ? 1 : 0, "stop", 0), step = whole_argument(a, 2, "step", 1);
  if (step == 0) bad_input(kTemplate, "range: the step is 0");
  List out;
  for (int64_t i = first; step > 0 ? i < last : i > last; i += step) {
    if (out.size() >= 100000) bad_input(kTemplate, "range: more than 100000 numbers");
    out.push_back(Value::of(i));
  }
  return Value::of(std::move(out));
}

Map named_entries(const Arguments& a) {
  Map out;
  if (!a.positional.empty() && a.positional[0].is_map()) out = *a.positional[0].entries;
  for (const auto& [name, value] : a.named) {
    auto same = std::find_if(out.begin(), out.end(), [&](const auto& e) { return e.first == name; });
    same == out.end() ? void(out.emplace_back(name, value)) : void(same->second = value);
  }
  return out;
}

}  // namespace

/// The time that a template may write into a prompt. Where SOURCE_DATE_EPOCH is set (seconds since 1970, as
/// reproducible builds have it) it is that: the same conversation gives the same text on another day.
std::tm local_time() {
  std::time_t now = std::time(nullptr);
  if (const char* given = std::getenv("SOURCE_DATE_EPOCH")) {
    const char* end = given + std::strlen(given);
    auto [rest, error] = std::from_chars(given, end, now);
    if (error != std::errc() || rest != end || given == end)
      bad_input("SOURCE_DATE_EPOCH", "must be seconds since 1970, a whole number; got '", given, "'");
  }
  std::tm local{};
  localtime_r(&now, &local);
  return local;
}

Map globals() {
  auto add = [](const char* name, Function body) {
    return std::pair<std::string, Value>(name, Value::function(name, body));
  };
  return {
      add("raise_exception",
          [](const Arguments& a) -> Value {
            bad_input(kTemplate,
                      "the template refuses this conversation: ", a.positional.empty() ? "" : text_of(self(a)));
          }),
      add("strftime_now",
          [](const Arguments& a) {
            std::tm local = local_time();
            char buffer[256];
            return Value::of(
                std::string(buffer, std::strftime(buffer, sizeof buffer, text_or(a, 0, "format", "").c_str(), &local)));
          }),
      add("namespace", [](const Arguments& a) { return Value::of(named_entries(a), ValueKind::space); }),
      add("dict", [](const Arguments& a) { return Value::of(named_entries(a)); }),
      add("range", range),
  };
}

}  // namespace rft::jinja
