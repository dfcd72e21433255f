#pragma once
/// Named columns of one batch: tensors and texts whose first dimension is the row.
#include <map>
#include <string>
#include <vector>

#include "rft/core/tensor.h"

namespace rft {

/// Every tensor is [B, ...] and every text column has B entries; B is the same for all. Copying shares tensors.
class Fields {
 public:
  bool has(const std::string& name) const { return tensors_.count(name) > 0; }
  bool has_text(const std::string& name) const { return texts_.count(name) > 0; }

  /// The named tensor. Throws RunError naming the field and the fields that exist.
  const Tensor& tensor(const std::string& name) const;
  /// The named tensor, or an undefined one.
  Tensor find(const std::string& name) const;
  /// The named text column; row i's entry belongs to row i. Throws RunError as `tensor` does.
  const std::vector<std::string>& text(const std::string& name) const;

  void set(const std::string& name, Tensor value) { tensors_[name] = std::move(value); }
  void set_text(const std::string& name, std::vector<std::string> value) { texts_[name] = std::move(value); }
  void erase(const std::string& name) { tensors_.erase(name), texts_.erase(name); }

  const std::map<std::string, Tensor>& tensors() const { return tensors_; }
  const std::map<std::string, std::vector<std::string>>& texts() const { return texts_; }
  bool empty() const { return tensors_.empty() && texts_.empty(); }
  /// B; 0 where there are no columns.
  int64_t rows() const;

  /// The rows `index` [K] int64, in that order; a row may be named several times.
  Fields select(const Tensor& index) const;
  /// `count` rows from `first` on; tensors are views.
  Fields narrow(int64_t first, int64_t count) const;
  /// Rows of all parts one after another. A part that lacks a column of another is an error. Tensors that differ in
  /// dimension 1 are padded there with zeros.
  static Fields concat(const std::vector<Fields>& parts);

 private:
  std::map<std::string, Tensor> tensors_;
  std::map<std::string, std::vector<std::string>> texts_;
};

/// Concatenates along rows; dimension 1 is padded with zeros to the longest. Undefined tensors: all or none.
Tensor concat_rows(const std::vector<Tensor>& parts);

}  // namespace rft
