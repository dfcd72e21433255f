#include "rft/io/rows.h"

#include <ATen/ATen.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>

#include "io/gzip.h"
#include "io/hdf5_episodes.h"
#include "io/parquet_file.h"
#include "rft/core/error.h"
#include "rft/core/json_depth.h"
#include "rft/core/text.h"
#include "rft/io/files.h"

namespace rft {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kDeepestRow = 64;
constexpr size_t kMaxFileBytes = size_t{64} << 30;

struct Row {
  std::shared_ptr<const std::string> file;
  int64_t line;                               // from 1; of an HDF5 file the episode's number
  std::string text;                           // as it stood in the file
  Json value;                                 // an object
  std::map<std::string, Tensor> arrays = {};  // of an HDF5 file, [L, width] float64
};

/// nlohmann's message without its own name and place: "syntax error while parsing value - invalid literal; ...".
std::string plain_message(const std::string& what) {
  size_t place = what.find("parse error"), colon = what.find(": ", place == std::string::npos ? 0 : place);
  return colon == std::string::npos ? what : what.substr(colon + 2);
}

Json parse_row(std::string_view text, const std::string& where) {
  if (size_t column = too_deep_at(text, kDeepestRow))
    bad_input(cat(where, ":", column), "a row may nest at most ", kDeepestRow, " deep; this one nests deeper");
  // The parser takes a zero byte for the end of its input.
  if (size_t zero = text.find('\0'); zero != std::string_view::npos)
    bad_input(cat(where, ":", zero + 1), "a row must be one JSON object in one line; got a zero byte");
  Json value;
  try {
    value = Json::parse(text);
  } catch (const Json::parse_error& error) {
    bad_input(cat(where, ":", std::max<size_t>(error.byte, 1)), "a row must be one JSON object in one line; ",
              plain_message(error.what()));
  } catch (const Json::exception& error) {  // a number beyond double's range
    bad_input(where, "a row must be one JSON object in one line; ", error.what());
  }
  if (!value.is_object()) bad_input(where, "a row must be a JSON object, {\"column\": value}; got ", value.type_name());
  return value;
}

bool blank(std::string_view line) { return line.find_first_not_of(" \t\r") == std::string_view::npos; }

/// Calls each(line number, line without its end) for every line.
template <class Each>
void for_lines(std::string_view content, Each each) {
  int64_t number = 1;
  for (size_t begin = 0; begin < content.size(); ++number) {
    size_t end = std::min(content.find('\n', begin), content.size());
    each(number, content.substr(begin, end - begin));
    begin = end + 1;
  }
}

void refuse_other_formats(const std::string& file) {
  for (const char* end : {".zst", ".xz", ".bz2", ".zip"})
    if (file.ends_with(end))
      bad_input(file,
                "datasets are read as JSONL (.jsonl, .jsonl.gz), Parquet or HDF5; got another archive: unpack it");
}

std::string as_text(const Json& value) { return value.is_string() ? value.get<std::string>() : value.dump(); }

}  // namespace

struct Rows::Impl {
  std::shared_ptr<const std::string> file;
  std::vector<std::shared_ptr<const Row>> rows;
  std::vector<int64_t> sizes;

  void add(int64_t line, std::string_view text) {
    if (text.ends_with('\r')) text.remove_suffix(1);
    if (blank(text)) return;
    if (line == 1 && text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
    Json value = parse_row(text, cat(*file, ":", line));
    rows.push_back(std::make_shared<const Row>(Row{file, line, std::string(text), std::move(value)}));
  }

  const Row& at(int64_t i) const {
    if (i < 0 || i >= static_cast<int64_t>(rows.size()))
      run_failed("Rows", "a row must be in [0, ", rows.size(), "); got ", i);
    return *rows[static_cast<size_t>(i)];
  }

  std::string where(int64_t i) const {
    const Row& row = at(i);
    return cat(*row.file, row.arrays.empty() ? ":" : ":episode_", row.line);
  }

  const Json& value(int64_t i, const std::string& column) const {
    const Json& row = at(i).value;
    auto found = row.find(column);
    if (found != row.end()) return *found;
    std::vector<std::string> known;
    for (const auto& item : row.items()) known.push_back(item.key());
    for (const auto& [name, array] : at(i).arrays) {
      if (name == column) bad_input(where(i), "`", column, "` must be a text or a single value; it is an array");
      known.push_back(name);
    }
    bad_input(where(i), "a column `", column, "` is needed",
              known.empty() ? "; the row is empty" : suggestion(column, known));
  }

  int64_t integer(int64_t i, const std::string& column, const Json& value) const {
    constexpr auto max = std::numeric_limits<int64_t>::max();
    bool fits =
        value.is_number_unsigned() ? value.get<uint64_t>() <= static_cast<uint64_t>(max) : value.is_number_integer();
    if (!fits) bad_input(where(i), "`", column, "` must hold whole numbers; got ", value.dump());
    return value.get<int64_t>();
  }
};

namespace {

void read_episodes(const std::string& file, std::vector<std::shared_ptr<const Row>>& rows) {
  auto name = std::make_shared<const std::string>(file);
  for (auto& episode : read_hdf5_episodes(file)) {
    Json value{{"episode", episode.number}, {"terminated", episode.terminated}};
    rows.push_back(
        std::make_shared<const Row>(Row{name, episode.number, value.dump(), value, std::move(episode.arrays)}));
  }
}

}  // namespace

Rows Rows::load(const std::string& file) { return load(std::vector<std::string>{file}); }

Rows Rows::load(const std::vector<std::string>& files) {
  auto impl = std::make_shared<Impl>();
  if (files.empty()) run_failed("Rows", "there is no file to read");
  for (const std::string& file : files) {
    refuse_other_formats(file);
    impl->file = std::make_shared<const std::string>(file);
    size_t before = impl->rows.size();
    bool episodes = file.ends_with(".hdf5") || file.ends_with(".h5");
    if (episodes) {
      read_episodes(file, impl->rows);
    } else if (file.ends_with(".parquet")) {
      int64_t row = 0;
      if (!file_exists(file)) read_text(file);  // says so in the words of every other file
      for_parquet_rows(file, [&](std::string_view text) { impl->add(++row, text); });
    } else {
      std::string content = read_text(file, kMaxFileBytes);
      if (file.ends_with(".gz")) content = gunzip(content, file, kMaxFileBytes);
      for_lines(content, [&](int64_t line, std::string_view text) { impl->add(line, text); });
    }
    impl->sizes.push_back(static_cast<int64_t>(impl->rows.size() - before));
    if (impl->sizes.back() == 0)
      bad_input(file, "a dataset must hold at least one ", episodes ? "episode" : "row", "; got none");
  }
  impl->file = std::make_shared<const std::string>(files[0]);
  Rows out;
  out.impl_ = std::move(impl);
  return out;
}

Rows Rows::parse(const std::vector<std::string>& lines, const std::string& name) {
  auto impl = std::make_shared<Impl>();
  impl->file = std::make_shared<const std::string>(name);
  for (size_t i = 0; i < lines.size(); ++i) impl->add(static_cast<int64_t>(i) + 1, lines[i]);
  if (impl->rows.empty()) bad_input(name, "a dataset must hold at least one row; got none");
  impl->sizes = {static_cast<int64_t>(impl->rows.size())};
  Rows out;
  out.impl_ = std::move(impl);
  return out;
}

int64_t Rows::size() const { return impl_ ? static_cast<int64_t>(impl_->rows.size()) : 0; }

const std::string& Rows::file() const { return *impl_->file; }

const std::vector<int64_t>& Rows::file_sizes() const { return impl_->sizes; }

std::string Rows::where(int64_t i) const { return impl_->where(i); }

std::string Rows::json(int64_t i) const { return impl_->at(i).text; }

bool Rows::has(int64_t i, const std::string& column) const {
  return impl_->at(i).value.contains(column) || impl_->at(i).arrays.count(column) > 0;
}

std::string Rows::text(int64_t i, const std::string& column) const { return as_text(impl_->value(i, column)); }

std::string Rows::string(int64_t i, const std::string& column) const {
  const Json& value = impl_->value(i, column);
  if (!value.is_string()) bad_input(where(i), "`", column, "` must be a string; got ", value.type_name());
  return value.get<std::string>();
}

std::vector<int64_t> Rows::ints(int64_t i, const std::string& column) const {
  const Json& value = impl_->value(i, column);
  if (!value.is_array()) bad_input(where(i), "`", column, "` must be a list of whole numbers; got ", value.type_name());
  std::vector<int64_t> out;
  out.reserve(value.size());
  for (const auto& item : value) out.push_back(impl_->integer(i, column, item));
  return out;
}

Tensor Rows::numbers(int64_t i, const std::string& column, int64_t width) const {
  if (auto array = impl_->at(i).arrays.find(column); array != impl_->at(i).arrays.end()) {
    if (array->second.size(1) != width)
      bad_input(where(i), "`", column, "` must hold ", width, " numbers a step; got ", array->second.size(1));
    return array->second;
  }
  const Json& all = impl_->value(i, column);
  if (!all.is_array()) bad_input(where(i), "`", column, "` must be a list; got ", all.type_name());
  Tensor out = at::empty({static_cast<int64_t>(all.size()), width}, at::kDouble);
  double* to = out.data_ptr<double>();
  auto take = [&](const Json& value, size_t at) {
    if (!value.is_number()) bad_input(where(i), "`", column, "`[", at, "] must hold numbers; got ", value.dump());
    *to++ = value.get<double>();
  };
  for (size_t at = 0; at < all.size(); ++at) {
    const Json& one = all[at];
    if (width == 1 && !one.is_array()) {
      take(one, at);
      continue;
    }
    if (!one.is_array() || static_cast<int64_t>(one.size()) != width)
      bad_input(where(i), "`", column, "`[", at, "] must be a list of ", width, " numbers; got ",
                one.is_array() ? cat(one.size(), " of them") : one.dump());
    for (const Json& value : one) take(value, at);
  }
  return out;
}

int64_t Rows::integer(int64_t i, const std::string& column) const {
  return impl_->integer(i, column, impl_->value(i, column));
}

double Rows::number(int64_t i, const std::string& column) const {
  const Json& value = impl_->value(i, column);
  if (!value.is_number()) bad_input(where(i), "`", column, "` must be a number; got ", value.dump());
  return value.get<double>();
}

std::vector<std::string> Rows::strings(int64_t i, const std::string& column) const {
  const Json& value = impl_->value(i, column);
  if (!value.is_array()) bad_input(where(i), "`", column, "` must be a list of texts; got ", value.type_name());
  std::vector<std::string> out;
  for (size_t at = 0; at < value.size(); ++at) {
    if (!value[at].is_string())
      bad_input(where(i), "`", column, "`[", at, "] must be a text; got ", value[at].type_name());
    out.push_back(value[at].get<std::string>());
  }
  return out;
}

std::vector<double> Rows::verdicts(int64_t i, const std::string& column) const {
  const Json& value = impl_->value(i, column);
  if (!value.is_array()) bad_input(where(i), "`", column, "` must be a list; got ", value.type_name());
  std::vector<double> out;
  for (size_t at = 0; at < value.size(); ++at) {
    if (!value[at].is_boolean() && !value[at].is_number())
      bad_input(where(i), "`", column, "`[", at, "] must be true, false or a number; got ", value[at].dump());
    out.push_back(value[at].is_boolean() ? static_cast<double>(value[at].get<bool>()) : value[at].get<double>());
  }
  return out;
}

void Rows::require(const std::string& column) const {
  for (int64_t i = 0; i < size(); ++i) impl_->value(i, column);
}

Rows Rows::select(const std::vector<int64_t>& index) const {
  auto impl = std::make_shared<Impl>();
  impl->file = impl_->file;
  impl->rows.reserve(index.size());
  if (std::is_sorted(index.begin(), index.end())) {  // the files' rows still follow one another
    int64_t end = 0;
    auto at = index.begin();
    for (int64_t size : impl_->sizes) {
      auto next = std::lower_bound(at, index.end(), end += size);
      impl->sizes.push_back(next - at);
      at = next;
    }
  }
  for (int64_t i : index) impl_->at(i), impl->rows.push_back(impl_->rows[static_cast<size_t>(i)]);
  Rows out;
  out.impl_ = std::move(impl);
  return out;
}

Fields Rows::columns() const {
  std::set<std::string> names;
  for (int64_t i = 0; i < size(); ++i)
    for (const auto& item : impl_->at(i).value.items()) names.insert(item.key());
  Fields out;
  for (const auto& name : names) {
    std::vector<std::string> texts(static_cast<size_t>(size()));
    for (int64_t i = 0; i < size(); ++i)
      if (has(i, name)) texts[static_cast<size_t>(i)] = text(i, name);
    out.set_text(name, std::move(texts));
  }
  return out;
}

std::string Rows::fingerprint() const {
  XXH3_state_t state;
  XXH3_64bits_reset(&state);
  for (int64_t i = 0; i < size(); ++i) {
    std::string line = json(i) + "\n";
    XXH3_64bits_update(&state, line.data(), line.size());
    for (const auto& [name, array] : impl_->at(i).arrays) {
      std::string shape = cat(name, " ", array.sizes(), "\n");
      XXH3_64bits_update(&state, shape.data(), shape.size());
      XXH3_64bits_update(&state, array.const_data_ptr(), array.nbytes());
    }
  }
  char hex[17];
  std::snprintf(hex, sizeof hex, "%016llx", static_cast<unsigned long long>(XXH3_64bits_digest(&state)));
  return hex;
}

}  // namespace rft
