#include "io/gzip.h"

#include <zlib.h>

#include <algorithm>
#include <limits>
#include <memory>

#include "rft/core/error.h"

namespace rft {

std::string gunzip(const std::string& packed, const std::string& file, size_t limit) {
  constexpr int gzip_only = 16 + MAX_WBITS;
  constexpr size_t step = size_t{1} << 20;
  z_stream stream{};
  if (inflateInit2(&stream, gzip_only) != Z_OK) run_failed("gzip", "out of memory");
  std::unique_ptr<z_stream, int (*)(z_stream*)> guard(&stream, inflateEnd);
  std::string out;
  size_t read = 0;
  bool ended = false;
  while (true) {
    if (stream.avail_in == 0) {
      size_t piece = std::min<size_t>(packed.size() - read, std::numeric_limits<uInt>::max());
      if (piece == 0) break;
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data() + read));
      stream.avail_in = static_cast<uInt>(piece);
      read += piece;
    }
    if (ended) inflateReset(&stream), ended = false;  // a further member
    size_t used = out.size();
    out.resize(used + step);
    stream.next_out = reinterpret_cast<Bytef*>(out.data() + used);
    stream.avail_out = step;
    int status = inflate(&stream, Z_NO_FLUSH);
    out.resize(used + step - stream.avail_out);
    if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR)
      bad_input(file, "is not a whole gzip file: ", stream.msg ? stream.msg : "damaged");
    if (out.size() > limit) bad_input(file, "holds more than ", limit, " bytes");
    ended = status == Z_STREAM_END;
  }
  if (!ended) bad_input(file, "is cut short: the gzip stream does not end");
  return out;
}

}  // namespace rft
