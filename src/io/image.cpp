#include "rft/io/image.h"

#include <ATen/ATen.h>
#include <png.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <csetjmp>
#include <cstring>

#include "rft/core/error.h"
#include "rft/io/files.h"

namespace rft {
namespace {

constexpr int64_t kMaxSide = 16384;
/// Deflate makes at most 1032 bytes of one: a smaller file can't hold the pixels that its header promises.
constexpr uint64_t kMaxInflation = 1032;

/// The content of a PNG file and what libpng says of it.
struct Source {
  const char* data;
  size_t size, read = 0;
  char error[160] = "";
};

void keep_error(png_structp png, png_const_charp message) {
  auto* text = static_cast<char*>(png_get_error_ptr(png));
  std::strncpy(text, message, sizeof(Source::error) - 1);
  png_longjmp(png, 1);
}

void ignore_warning(png_structp, png_const_charp) {}

void read_source(png_structp png, png_bytep into, size_t count) {
  auto* source = static_cast<Source*>(png_get_io_ptr(png));
  if (count > source->size - source->read) png_error(png, "the file is cut off");
  std::memcpy(into, source->data + source->read, count);
  source->read += count;
}

/// What a PNG holds: samples [height, width, channels] of 8 or 16 bits, native byte order. 16-bit samples are kept.
struct Pixels {
  int64_t height = 0, width = 0, channels = 0, bits = 0;
  std::vector<uint8_t> bytes;
  std::vector<png_bytep> rows;
};

/// libpng's structures, freed with their object.
struct Reader {
  png_structp png = nullptr;
  png_infop info = nullptr;
  ~Reader() { png_destroy_read_struct(&png, &info, nullptr); }
};

/// libpng leaves functions by longjmp on errors: this function has no objects of its own with destructors.
bool read_header(Reader& reader, Source& source) {
  if (setjmp(png_jmpbuf(reader.png))) return false;
  png_set_read_fn(reader.png, &source, read_source);
  png_set_user_limits(reader.png, 0x7fffffff, 0x7fffffff);  // sizes are checked by ourselves
  png_read_info(reader.png, reader.info);
  return true;
}

/// As read_header. Palettes become RGB, transparency of any kind an alpha channel, 1, 2 and 4 bits become 8.
bool start_pixels(Reader& reader) {
  if (setjmp(png_jmpbuf(reader.png))) return false;
  png_set_expand(reader.png);
  if (std::endian::native == std::endian::little) png_set_swap(reader.png);
  png_set_interlace_handling(reader.png);
  png_read_update_info(reader.png, reader.info);
  return true;
}

/// As read_header.
bool read_pixels(Reader& reader, Pixels& pixels) {
  if (setjmp(png_jmpbuf(reader.png))) return false;
  png_read_image(reader.png, pixels.rows.data());
  png_read_end(reader.png, nullptr);
  return true;
}

void check_size(const Reader& reader, const std::string& content, const std::string& file) {
  uint64_t width = png_get_image_width(reader.png, reader.info), height = png_get_image_height(reader.png, reader.info);
  if (width > kMaxSide || height > kMaxSide)
    bad_input(file, "a picture may have at most ", kMaxSide, " pixels a side; this one says it has ", width, " x ",
              height);
  if (png_get_rowbytes(reader.png, reader.info) * height / kMaxInflation > content.size())
    bad_input(file, "the PNG is damaged: its ", content.size(), " bytes can't hold the ", width, " x ", height,
              " pixels that its header promises");
}

Pixels decode(const std::string& content, const std::string& file) {
  Source source{content.data(), content.size()};
  Pixels out;
  Reader reader;
  auto damaged = [&] { bad_input(file, "the PNG is damaged: ", source.error); };
  reader.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, source.error, keep_error, ignore_warning);
  if (reader.png) reader.info = png_create_info_struct(reader.png);
  if (!reader.info) run_failed(file, "there is no memory to read the PNG");
  if (!read_header(reader, source)) damaged();
  check_size(reader, content, file);
  if (!start_pixels(reader)) damaged();
  out.height = png_get_image_height(reader.png, reader.info), out.width = png_get_image_width(reader.png, reader.info);
  out.channels = png_get_channels(reader.png, reader.info), out.bits = png_get_bit_depth(reader.png, reader.info);
  size_t row_bytes = png_get_rowbytes(reader.png, reader.info);
  out.bytes.resize(row_bytes * static_cast<size_t>(out.height));
  for (int64_t y = 0; y < out.height; ++y) out.rows.push_back(out.bytes.data() + static_cast<size_t>(y) * row_bytes);
  if (!read_pixels(reader, out)) damaged();
  return out;
}

/// [H, W, channels] float32 in [0, 1].
Tensor as_tensor(Pixels& pixels) {
  std::vector<int64_t> shape = {pixels.height, pixels.width, pixels.channels};
  if (pixels.bits == 8) return at::from_blob(pixels.bytes.data(), shape, at::kByte).to(at::kFloat).div_(255);
  return at::from_blob(pixels.bytes.data(), shape, at::kUInt16).to(at::kFloat).div_(65535);
}

/// What libpng writes, kept in memory.
struct Sink {
  std::string content;
  char error[sizeof(Source::error)] = "";
};

void write_sink(png_structp png, png_bytep data, size_t count) {
  auto* sink = static_cast<Sink*>(png_get_io_ptr(png));
  try {
    sink->content.append(reinterpret_cast<const char*>(data), count);
    return;
  } catch (const std::exception&) {
  }
  png_error(png, "there is no memory for it");
}

void flush_sink(png_structp) {}

struct Writer {
  png_structp png = nullptr;
  png_infop info = nullptr;
  ~Writer() { png_destroy_write_struct(&png, &info); }
};

/// As read_header.
bool write_all(Writer& writer, Sink& sink, int64_t height, int64_t width, bool grey, png_bytepp rows) {
  if (setjmp(png_jmpbuf(writer.png))) return false;
  png_set_write_fn(writer.png, &sink, write_sink, flush_sink);
  png_set_IHDR(writer.png, writer.info, static_cast<png_uint_32>(width), static_cast<png_uint_32>(height), 8,
               grey ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
               PNG_FILTER_TYPE_DEFAULT);
  png_write_info(writer.png, writer.info);
  png_write_image(writer.png, rows);
  png_write_end(writer.png, writer.info);
  return true;
}

std::string shape_text(const Tensor& tensor) { return tensor.defined() ? cat(tensor.sizes()) : "nothing"; }

/// The number of columns whose sheet of `count` cells (width, height) is the nearest to a square.
int64_t squarest(int64_t count, int64_t width, int64_t height) {
  auto skew = [&](int64_t columns) {
    int64_t rows = (count + columns - 1) / columns;
    return std::abs(std::log(static_cast<double>(columns * width) / static_cast<double>(rows * height)));
  };
  int64_t best = 1;
  for (int64_t columns = 2; columns <= count; ++columns)
    if (skew(columns) < skew(best)) best = columns;
  return best;
}

}  // namespace

Tensor read_png(const std::string& file) {
  std::string content = read_text(file);
  if (content.size() < 8 || png_sig_cmp(reinterpret_cast<png_const_bytep>(content.data()), 0, 8) != 0)
    bad_input(file, "this is not a PNG file");
  Pixels pixels = decode(content, file);
  Tensor image = as_tensor(pixels);
  if (pixels.channels % 2 == 0) {
    Tensor alpha = image.narrow(2, pixels.channels - 1, 1);
    image = image.narrow(2, 0, pixels.channels - 1).mul(alpha).add(1 - alpha);
  }
  return image.permute({2, 0, 1}).expand({3, pixels.height, pixels.width}).contiguous();
}

void write_png(const std::string& file, const Tensor& image) {
  if (!image.defined() || image.dim() != 3 || (image.size(0) != 1 && image.size(0) != 3) || image.numel() == 0)
    run_failed(file, "a picture is [1 or 3, H, W]; got ", shape_text(image));
  Tensor bytes = image.detach().to(at::kFloat).nan_to_num(0).clamp(0, 1).mul(255).round().to(at::kByte);
  bytes = bytes.permute({1, 2, 0}).contiguous();
  std::vector<png_bytep> rows;
  for (int64_t y = 0; y < bytes.size(0); ++y) rows.push_back(bytes[y].data_ptr<uint8_t>());
  Sink sink;
  Writer writer;
  writer.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, sink.error, keep_error, ignore_warning);
  if (writer.png) writer.info = png_create_info_struct(writer.png);
  if (!writer.info) run_failed(file, "there is no memory to write the PNG");
  if (!write_all(writer, sink, bytes.size(0), bytes.size(1), image.size(0) == 1, rows.data()))
    run_failed(file, "the PNG can't be written: ", sink.error);
  write_text(file, sink.content);
}

Tensor contact_sheet(const Tensor& images, int64_t columns, int64_t min_side, int64_t gap) {
  if (!images.defined() || images.dim() != 4 || (images.size(1) != 1 && images.size(1) != 3) || images.numel() == 0)
    run_failed("contact_sheet", "pictures are [N, 1 or 3, H, W]; got ", shape_text(images));
  const int64_t count = images.size(0), side = std::min(images.size(2), images.size(3));
  const int64_t factor = std::max<int64_t>(1, (min_side + side - 1) / side);
  Tensor cells = images.detach().repeat_interleave(factor, 2).repeat_interleave(factor, 3);
  const int64_t height = cells.size(2), width = cells.size(3);
  columns = std::min(columns > 0 ? columns : squarest(count, width, height), count);
  const int64_t rows = (count + columns - 1) / columns;
  Tensor sheet = at::ones({images.size(1), rows * (height + gap) - gap, columns * (width + gap) - gap},
                          images.options().requires_grad(false));
  for (int64_t i = 0; i < count; ++i)
    sheet.narrow(1, i / columns * (height + gap), height).narrow(2, i % columns * (width + gap), width).copy_(cells[i]);
  return sheet;
}

}  // namespace rft
