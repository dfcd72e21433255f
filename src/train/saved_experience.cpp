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
                      {"rows", batch.totals.rows},
                      {"tokens", batch.totals.tokens}};
  // A completion may end within a character; that byte is replaced as it is in every text we write.
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
    for (const auto& [name, column] : json.at("context").items())
      batch.context.set_text(name, column.get<std::vector<std::string>>());
    for (const auto& [name, column] : json.at("extra").items())
      batch.extra.set_text(name, column.get<std::vector<std::string>>());
    batch.totals = {json.at("rows").get<double>(), json.at("tokens").get<double>()};
  } catch (const nlohmann::json::exception& error) {
    bad_input(stem + ".json", "this checkpoint's file is damaged: ", error.what());
  }
  return batch;
}

}  // namespace rft
