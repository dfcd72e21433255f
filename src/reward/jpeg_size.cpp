#include <ATen/ATen.h>
#include <turbojpeg.h>

#include <memory>

#include "reward/images.h"
#include "reward/per_row.h"
#include "rft/core/error.h"
#include "rft/reward/image_rewards.h"

namespace rft {
namespace {

struct Encoder {
  tjhandle handle = tjInitCompress();
  unsigned char* file = nullptr;
  ~Encoder() {
    tjFree(file);
    if (handle) tjDestroy(handle);
  }
};

/// pixels [H, W, 3] uint8 -> bytes of the file.
unsigned long jpeg_bytes(const Tensor& pixels, int quality) {
  Encoder encoder;
  if (!encoder.handle) run_failed("jpeg_size", tjGetErrorStr2(nullptr));
  unsigned long size = 0;
  auto height = static_cast<int>(pixels.size(0)), width = static_cast<int>(pixels.size(1));
  if (tjCompress2(encoder.handle, pixels.data_ptr<uint8_t>(), width, 0, height, TJPF_RGB, &encoder.file, &size,
                  TJSAMP_420, quality, TJFLAG_ACCURATEDCT) != 0)
    run_failed("jpeg_size", tjGetErrorStr2(encoder.handle));
  return size;
}

}  // namespace

void JpegSize::Options::visit(OptionVisitor& v) {
  v.option("incompressible", incompressible, "reward large files instead of small ones");
  v.option("quality", quality, "of the JPEG file", between(1, 100));
}

Rewards JpegSize::score(const Experience& batch) {
  Tensor images = images_of(batch, "jpeg_size").detach();
  Tensor known = images.isfinite().all(1).all(1).all(1).to(at::kCPU);
  Tensor pixels = images.nan_to_num(0).clamp(0, 1).mul(255).round().to(at::kByte).to(at::kCPU);
  pixels = pixels.permute({0, 2, 3, 1}).contiguous();
  return score_rows(batch, "jpeg_size", [&](int64_t row) {
    if (!known[row].item<bool>()) run_failed("jpeg_size", "the picture has values that are not finite");
    double kilobytes = static_cast<double>(jpeg_bytes(pixels[row], static_cast<int>(options_.quality))) / 1000;
    return options_.incompressible ? kilobytes : -kilobytes;
  });
}

}  // namespace rft
