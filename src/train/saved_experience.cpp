#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

#include "rft/core/error.h"
#include "rft/io/files.h"
#include "rft/io/safetensors.h"
#include "rft/train/checkpoint.h"

namespace rft {
namespace {

std::map<std::string, Tensor> copied(const std::map<std::string, Tensor>& tensors) {
  std::map<std::string, Tensor> out;
  for (const auto& [name, value] : tensors) out[name] = value.clone();
  return out;
}

/// The entries of text columns that JSON can't hold, as bytes: a completion may end within a character.
nlohmann::json bytes_of(const std::map<std::string, std::vector<std::string>>& columns) {
  nlohmann::json out = nlohmann::json::array();
  for (const auto& [name, column] : columns)
    for (size_t row = 0; row < column.size(); ++row) try {
        nlohmann::json(column[row]).dump();
      } catch (const nlohmann::json::type_error&) {
        out.push_back(
            {{"column", name}, {"row", row}, {"bytes", std::vector<uint8_t>(column[row].begin(), column[row].end())}});
      }
  return out;
}

/// Text columns, and what bytes_of() said of them.
void read_texts(const nlohmann::json& columns, const nlohmann::json& bytes, Fields& into) {
  auto texts = columns.get<std::map<std::string, std::vector<std::string>>>();
  for (const auto& entry : bytes) {
    auto raw = entry.at("bytes").get<std::vector<uint8_t>>();
    texts.at(entry.at("column").get<std::string>()).at(entry.at("row")) = std::string(raw.begin(), raw.end());
  }
  for (auto& [name, column] : texts) into.set_text(name, std::move(column));
}

}  // namespace

void save_state(const std::string& file, const State& state) {
  State plain;
  for (const auto& [name, value] : state) plain[name] = value.detach().to(at::kCPU).contiguous();
  save_safetensors(file, plain);
}

State load_state_file(const std::string& file) { return copied(load_safetensors(file).tensors); }

void save_experience(const std::string& stem, const Experience& batch) {
  State tensors;
  for (const auto& [name, member] : experience_columns())
    if ((batch.*member).defined()) tensors[name] = batch.*member;
  for (const auto& [name, value] : batch.context.tensors()) tensors["context." + name] = value;
  for (const auto& [name, value] : batch.extra.tensors()) tensors["extra." + name] = value;
  save_state(stem + ".safetensors", tensors);
  nlohmann::json json{{"context", batch.context.texts()},
                      {"extra", batch.extra.texts()},
                      {"context_bytes", bytes_of(batch.context.texts())},
                      {"extra_bytes", bytes_of(batch.extra.texts())},
                      {"rows", batch.totals.rows},
                      {"tokens", batch.totals.tokens}};
  // What is no text is replaced there, as in every text we write.
  write_text(stem + ".json", json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

Experience load_experience(const std::string& stem) {
  Experience batch;
  auto tensors = load_state_file(stem + ".safetensors");
  for (const auto& [name, member] : experience_columns())
    if (auto found = tensors.find(name); found != tensors.end()) batch.*member = found->second;
  for (const auto& [name, value] : tensors) {
    if (name.rfind("context.", 0) == 0) batch.context.set(name.substr(8), value);
    if (name.rfind("extra.", 0) == 0) batch.extra.set(name.substr(6), value);
  }
  try {
    auto json = nlohmann::json::parse(read_text(stem + ".json"));
    read_texts(json.at("context"), json.value("context_bytes", nlohmann::json()), batch.context);
    read_texts(json.at("extra"), json.value("extra_bytes", nlohmann::json()), batch.extra);
    batch.totals = {json.at("rows").get<double>(), json.at("tokens").get<double>()};
  } catch (const std::exception& error) {
    bad_input(stem + ".json", "this checkpoint's file is damaged: ", error.what());
  }
  return batch;
}

}  // namespace rft
