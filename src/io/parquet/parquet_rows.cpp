#include "io/parquet/parquet_rows.h"

#include <arrow/api.h>
#include <arrow/io/file.h>
#include <parquet/arrow/reader.h>
#include <parquet/exception.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

namespace {

using Json = nlohmann::ordered_json;

constexpr int kMaxDepth = 32;
constexpr int64_t kBatchRows = 1024;

[[noreturn]] void fail(const std::string& message) { throw std::runtime_error(message); }

template <class T>
T value_of(arrow::Result<T> result) {
  if (!result.ok()) fail(result.status().message());
  return std::move(result).ValueUnsafe();
}

/// `where` names the column, and the place in it.
Json cell(const arrow::Array& array, int64_t i, const std::string& where, int depth);

template <class List>
Json items(const arrow::Array& array, int64_t i, const std::string& where, int depth) {
  const auto& list = static_cast<const List&>(array);
  Json out = Json::array();
  for (int64_t at = list.value_offset(i); at < list.value_offset(i) + list.value_length(i); ++at)
    out.push_back(cell(*list.values(), at, where + "[]", depth + 1));
  return out;
}

/// Every row, and every struct of a list, has all keys that any has: a null is a key that this one lacks.
Json fields(const arrow::StructArray& array, int64_t i, const std::string& where, int depth) {
  Json out = Json::object();
  const auto& type = static_cast<const arrow::StructType&>(*array.type());
  for (int f = 0; f < type.num_fields(); ++f) {
    const std::string& name = type.field(f)->name();
    Json value = cell(*array.field(f), i, where + "." + name, depth + 1);
    if (!value.is_null()) out[name] = std::move(value);
  }
  return out;
}

Json pairs(const arrow::MapArray& map, int64_t i, const std::string& where, int depth) {
  Json out = Json::object();
  for (int64_t at = map.value_offset(i); at < map.value_offset(i) + map.value_length(i); ++at) {
    Json key = cell(*map.keys(), at, where, depth + 1);
    out[key.is_string() ? key.get<std::string>() : key.dump()] = cell(*map.items(), at, where, depth + 1);
  }
  return out;
}

template <class Array>
Json number(const arrow::Array& array, int64_t i) {
  return static_cast<const Array&>(array).Value(i);
}

template <class Array>
Json text(const arrow::Array& array, int64_t i) {
  return std::string(static_cast<const Array&>(array).GetView(i));
}

Json cell(const arrow::Array& array, int64_t i, const std::string& where, int depth) {
  if (depth > kMaxDepth) fail("the column " + where + " nests too deep");
  if (array.IsNull(i)) return nullptr;
  switch (array.type_id()) {
    case arrow::Type::BOOL:
      return number<arrow::BooleanArray>(array, i);
    case arrow::Type::INT8:
      return number<arrow::Int8Array>(array, i);
    case arrow::Type::INT16:
      return number<arrow::Int16Array>(array, i);
    case arrow::Type::INT32:
      return number<arrow::Int32Array>(array, i);
    case arrow::Type::INT64:
      return number<arrow::Int64Array>(array, i);
    case arrow::Type::UINT8:
      return number<arrow::UInt8Array>(array, i);
    case arrow::Type::UINT16:
      return number<arrow::UInt16Array>(array, i);
    case arrow::Type::UINT32:
      return number<arrow::UInt32Array>(array, i);
    case arrow::Type::UINT64:
      return number<arrow::UInt64Array>(array, i);
    case arrow::Type::FLOAT:
      return number<arrow::FloatArray>(array, i);
    case arrow::Type::DOUBLE:
      return number<arrow::DoubleArray>(array, i);
    case arrow::Type::STRING:
      return text<arrow::StringArray>(array, i);
    case arrow::Type::LARGE_STRING:
      return text<arrow::LargeStringArray>(array, i);
    case arrow::Type::STRING_VIEW:
      return text<arrow::StringViewArray>(array, i);
    case arrow::Type::LIST:
      return items<arrow::ListArray>(array, i, where, depth);
    case arrow::Type::LARGE_LIST:
      return items<arrow::LargeListArray>(array, i, where, depth);
    case arrow::Type::FIXED_SIZE_LIST:
      return items<arrow::FixedSizeListArray>(array, i, where, depth);
    case arrow::Type::STRUCT:
      return fields(static_cast<const arrow::StructArray&>(array), i, where, depth);
    case arrow::Type::MAP:
      return pairs(static_cast<const arrow::MapArray&>(array), i, where, depth);
    case arrow::Type::DICTIONARY: {
      const auto& coded = static_cast<const arrow::DictionaryArray&>(array);
      return cell(*coded.dictionary(), coded.GetValueIndex(i), where, depth + 1);
    }
    case arrow::Type::NA:
      return nullptr;
    case arrow::Type::HALF_FLOAT:
    case arrow::Type::DECIMAL128:
    case arrow::Type::DECIMAL256:
      return Json::parse(value_of(array.GetScalar(i))->ToString());
    case arrow::Type::DATE32:
    case arrow::Type::DATE64:
    case arrow::Type::TIME32:
    case arrow::Type::TIME64:
    case arrow::Type::TIMESTAMP:
    case arrow::Type::DURATION:
      return value_of(array.GetScalar(i))->ToString();
    default:
      fail("the column " + where + " holds " + array.type()->ToString() + ", which a row can't hold");
  }
}

void read_rows(const std::string& file, void* to, bool (*row)(void*, const char*, size_t)) {
  auto input = value_of(arrow::io::ReadableFile::Open(file));
  auto reader = value_of(parquet::arrow::OpenFile(input, arrow::default_memory_pool()));
  reader->set_batch_size(kBatchRows);
  auto batches = value_of(reader->GetRecordBatchReader());
  while (auto batch = value_of(batches->Next())) {
    if (auto status = batch->ValidateFull(); !status.ok()) fail(status.message());
    for (int64_t i = 0; i < batch->num_rows(); ++i) {
      Json out = Json::object();
      for (int c = 0; c < batch->num_columns(); ++c) {
        Json value = cell(*batch->column(c), i, batch->column_name(c), 0);
        if (!value.is_null()) out[batch->column_name(c)] = std::move(value);
      }
      std::string json = out.dump();  // throws where a text is not UTF-8
      if (!row(to, json.data(), json.size())) return;
    }
  }
}

}  // namespace

void rft_parquet_rows(const char* file, void* to, bool (*row)(void*, const char*, size_t),
                      void (*fail)(void*, const char*)) {
  try {
    read_rows(file, to, row);
  } catch (const std::exception& error) {
    fail(to, error.what());
  }
}
