#pragma once
/// Rows of a dataset file: JSONL (also gzipped), or Parquet with the same columns; of episodes also HDF5, as D4RL and
/// Minari keep them: a row is an episode with arrays `observations`, `actions`, `rewards` and whether it `terminated`.
#include <memory>
#include <string>
#include <vector>

#include "rft/core/fields.h"

namespace rft {

class Rows {
 public:
  /// Reads all rows of `file` (JSON lines; .gz: packed ones; .parquet; .hdf5 and .h5: episodes). A Parquet file's line
  /// numbers are its rows', from 1; a null there is a column that the row lacks. Throws UserError with file:line where
  /// a row does not parse, is not an object, or nests deeper than 64; and where the file is missing or holds no rows.
  static Rows load(const std::string& file);
  /// The rows of several files, one after another.
  static Rows load(const std::vector<std::string>& files);
  /// Rows from JSON texts; `name` stands for the file in messages.
  static Rows parse(const std::vector<std::string>& lines, const std::string& name = "<text>");

  int64_t size() const;
  /// The first one's.
  const std::string& file() const;
  /// Of load()'s files, how many rows each has.
  const std::vector<int64_t>& file_sizes() const;
  /// "file:line" of row i.
  std::string where(int64_t i) const;
  /// Row i as JSON text.
  std::string json(int64_t i) const;

  bool has(int64_t i, const std::string& column) const;
  /// A string column's value; any other JSON value as JSON text. Throws UserError with file:line where it is missing.
  std::string text(int64_t i, const std::string& column) const;
  /// As text(), but the value must be a JSON string.
  std::string string(int64_t i, const std::string& column) const;
  std::vector<int64_t> ints(int64_t i, const std::string& column) const;
  int64_t integer(int64_t i, const std::string& column) const;
  double number(int64_t i, const std::string& column) const;
  /// A list of texts. Throws UserError naming the place in the list.
  std::vector<std::string> strings(int64_t i, const std::string& column) const;
  /// A list of numbers, true being 1 and false 0. Throws UserError naming the place in the list.
  std::vector<double> verdicts(int64_t i, const std::string& column) const;
  /// [L, width] float64 from a list of lists of `width` numbers, or an array; with width 1 also from a list of numbers.
  /// Throws UserError naming the place in the list.
  Tensor numbers(int64_t i, const std::string& column, int64_t width) const;
  /// Throws UserError naming the first row that lacks `column`, with the nearest column it has.
  void require(const std::string& column) const;

  /// file_sizes() are those of the rows that are left where `index` ascends, and empty otherwise.
  Rows select(const std::vector<int64_t>& index) const;
  /// All columns as text; a row that lacks one has "".
  Fields columns() const;
  /// XXH3 of the content, hex: a resumed run checks that its data is the same.
  std::string fingerprint() const;

  struct Impl;

 private:
  std::shared_ptr<const Impl> impl_;
};

}  // namespace rft
