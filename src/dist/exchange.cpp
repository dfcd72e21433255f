#include "rft/dist/exchange.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>

#include "rft/core/error.h"

namespace rft {
namespace {

/// Numbers, texts and tensors one after another; both sides are this program on the same kind of machine.
class Writer {
 public:
  void number(int64_t value) { out.append(reinterpret_cast<const char*>(&value), sizeof value); }
  void real(double value) { out.append(reinterpret_cast<const char*>(&value), sizeof value); }
  void text(const std::string& value) { number(static_cast<int64_t>(value.size())), out += value; }
  void tensor(const Tensor& value) {
    Tensor plain = value.detach().to(at::kCPU).contiguous();
    number(static_cast<int64_t>(plain.scalar_type())), number(plain.dim());
    for (int64_t size : plain.sizes()) number(size);
    out.append(static_cast<const char*>(plain.const_data_ptr()), plain.nbytes());
  }
  void fields(const Fields& fields) {
    number(static_cast<int64_t>(fields.tensors().size()));
    for (const auto& [name, value] : fields.tensors()) text(name), tensor(value);
    number(static_cast<int64_t>(fields.texts().size()));
    for (const auto& [name, column] : fields.texts()) {
      text(name), number(static_cast<int64_t>(column.size()));
      for (const auto& one : column) text(one);
    }
  }

  std::string out;
};

class Reader {
 public:
  explicit Reader(const std::string& bytes) : bytes_(bytes) {}
  int64_t number() {
    int64_t value;
    std::memcpy(&value, take(sizeof value), sizeof value);
    return value;
  }
  double real() {
    double value;
    std::memcpy(&value, take(sizeof value), sizeof value);
    return value;
  }
  std::string text() {
    auto size = static_cast<size_t>(number());
    return {take(size), size};
  }
  Tensor tensor() {
    auto type = static_cast<at::ScalarType>(number());
    std::vector<int64_t> shape(static_cast<size_t>(number()));
    for (int64_t& size : shape) size = number();
    Tensor value = at::empty(shape, type);
    if (value.numel()) std::memcpy(value.data_ptr(), take(value.nbytes()), value.nbytes());
    return value;
  }
  Fields fields() {
    Fields out;
    for (int64_t left = number(); left > 0; --left) {
      std::string name = text();
      out.set(name, tensor());
    }
    for (int64_t left = number(); left > 0; --left) {
      std::string name = text();
      std::vector<std::string> column(static_cast<size_t>(number()));
      for (auto& one : column) one = text();
      out.set_text(name, std::move(column));
    }
    return out;
  }
  bool ended() const { return at_ == bytes_.size(); }

 private:
  const char* take(size_t size) {
    if (size > bytes_.size() - at_) run_failed("dist", "what another process sent ends too soon");
    at_ += size;
    return bytes_.data() + at_ - size;
  }

  const std::string& bytes_;
  size_t at_ = 0;
};

}  // namespace

Share share_of(const Communicator* processes, int64_t n) {
  return processes ? share_of(n, processes->rank(), processes->size()) : Share{0, n};
}

Share share_of(int64_t n, int64_t rank, int64_t size) {
  int64_t first = n * rank / size;
  return {first, n * (rank + 1) / size - first};
}

std::string pack_experience(const Experience& rows) {
  Writer writer;
  writer.fields(rows.context), writer.fields(rows.extra);
  for (const auto& [name, member] : experience_columns()) {
    const Tensor& column = rows.*member;
    writer.number(column.defined());
    if (column.defined()) writer.tensor(column);
  }
  return std::move(writer.out);
}

Experience unpack_experience(const std::string& bytes) {
  Reader reader(bytes);
  Experience rows;
  rows.context = reader.fields(), rows.extra = reader.fields();
  for (const auto& [name, member] : experience_columns())
    if (reader.number()) rows.*member = reader.tensor();
  return rows;
}

Experience gather_rows(Communicator& processes, const Experience& mine) {
  std::vector<Experience> parts;
  for (const std::string& bytes : processes.gather(pack_experience(mine))) {
    Experience part = unpack_experience(bytes);
    if (part.rows()) parts.push_back(std::move(part));
  }
  return parts.empty() ? Experience() : Experience::concat(parts);
}

Tensor gather_rows(Communicator& processes, const Tensor& mine) {
  Writer writer;
  if (mine.defined()) writer.tensor(mine);
  std::vector<Tensor> parts;
  for (const std::string& bytes : processes.gather(writer.out))
    if (!bytes.empty()) parts.push_back(Reader(bytes).tensor());
  return parts.empty() ? Tensor() : concat_rows(parts);
}

Metrics gather_metrics(Communicator& processes, const Metrics& mine) {
  Writer writer;
  for (const auto& [name, entry] : mine.entries()) writer.text(name), writer.real(entry.sum), writer.real(entry.weight);
  Metrics all;
  for (const std::string& bytes : processes.gather(writer.out)) {
    Reader reader(bytes);
    while (!reader.ended()) {
      std::string name = reader.text();
      double sum = reader.real(), weight = reader.real();
      all.add_sum(name, sum, weight);
    }
  }
  return all;
}

}  // namespace rft
