#include "rft/io/gif.h"

#include <ATen/ATen.h>
#include <gif_lib.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "rft/core/error.h"
#include "rft/io/files.h"
#include "rft/io/image.h"

namespace rft {
namespace {

constexpr int kColours = 256;

int append(GifFileType* gif, const GifByteType* bytes, int count) {
  static_cast<std::string*>(gif->UserData)->append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(count));
  return count;
}

struct Close {
  void operator()(GifFileType* gif) const { EGifCloseFile(gif, nullptr); }
};
struct Free {
  void operator()(ColorMapObject* map) const { GifFreeMapObject(map); }
};

/// A frame's colours and which of them each pixel has. `pixels` [3, H, W] bytes.
std::unique_ptr<ColorMapObject, Free> palette(const Tensor& pixels, std::vector<GifByteType>& index) {
  std::unique_ptr<ColorMapObject, Free> map(GifMakeMapObject(kColours, nullptr));
  int count = kColours;
  auto plane = [&](int64_t c) { return pixels[c].mutable_data_ptr<uint8_t>(); };
  index.resize(static_cast<size_t>(pixels[0].numel()));
  bool made = map && GifQuantizeBuffer(static_cast<unsigned>(pixels.size(2)), static_cast<unsigned>(pixels.size(1)),
                                       &count, plane(0), plane(1), plane(2), index.data(), map->Colors) == GIF_OK;
  return made ? std::move(map) : nullptr;
}

bool write_frame(GifFileType* gif, const Tensor& pixels, int hundredths) {
  std::vector<GifByteType> index;
  auto map = palette(pixels, index);
  if (!map) return false;
  GraphicsControlBlock control{DISPOSE_DO_NOT, false, hundredths, NO_TRANSPARENT_COLOR};
  GifByteType bytes[4];
  EGifGCBToExtension(&control, bytes);
  int height = static_cast<int>(pixels.size(1)), width = static_cast<int>(pixels.size(2));
  if (EGifPutExtension(gif, GRAPHICS_EXT_FUNC_CODE, sizeof bytes, bytes) != GIF_OK ||
      EGifPutImageDesc(gif, 0, 0, width, height, false, map.get()) != GIF_OK)
    return false;
  for (int row = 0; row < height; ++row)
    if (EGifPutLine(gif, index.data() + row * width, width) != GIF_OK) return false;
  return true;
}

/// Netscape's extension: play it again and again.
bool repeat_for_ever(GifFileType* gif) {
  const GifByteType again[] = {1, 0, 0};
  return EGifPutExtensionLeader(gif, APPLICATION_EXT_FUNC_CODE) == GIF_OK &&
         EGifPutExtensionBlock(gif, 11, "NETSCAPE2.0") == GIF_OK &&
         EGifPutExtensionBlock(gif, sizeof again, again) == GIF_OK && EGifPutExtensionTrailer(gif) == GIF_OK;
}

}  // namespace

void write_gif(const std::string& file, const Tensor& frames, double frames_a_second) {
  if (!frames.defined() || frames.dim() != 4 || frames.size(1) != 3 || frames.numel() == 0 || frames.size(2) > 65535 ||
      frames.size(3) > 65535)
    run_failed(file, "frames must be [N, 3, H, W]; got ", frames.defined() ? cat(frames.sizes()) : "nothing");
  std::string content;
  int error = 0;
  GifFileType* opened = EGifOpen(&content, append, &error);
  if (!opened) run_failed(file, "can't make a GIF: ", GifErrorString(error));
  std::unique_ptr<GifFileType, Close> gif(opened);
  EGifSetGifVersion(opened, true);
  int hundredths = std::max(2, static_cast<int>(std::lround(100 / frames_a_second)));
  Tensor bytes = frames.detach().to(at::kCPU).clamp(0, 1).mul(255).round().to(at::kByte).contiguous();
  bool good = EGifPutScreenDesc(opened, static_cast<int>(frames.size(3)), static_cast<int>(frames.size(2)), 8, 0,
                                nullptr) == GIF_OK &&
              repeat_for_ever(opened);
  for (int64_t i = 0; good && i < bytes.size(0); ++i) good = write_frame(opened, bytes[i], hundredths);
  std::string message = good ? "" : GifErrorString(opened->Error) ? GifErrorString(opened->Error) : "out of memory";
  good = EGifCloseFile(gif.release(), &error) == GIF_OK && good;
  if (!good) run_failed(file, "can't make a GIF: ", message);
  write_text(file, content);
}

void write_episode(const std::string& stem, const Tensor& frames) {
  constexpr double kFramesASecond = 20;
  constexpr int64_t kStills = 8, kColumns = 4;
  write_gif(stem + ".gif", frames, kFramesASecond);
  Tensor some = at::linspace(0, static_cast<double>(frames.size(0) - 1), std::min(kStills, frames.size(0))).round();
  write_png(stem + ".png", contact_sheet(frames.index_select(0, some.to(at::kLong)), kColumns));
}

}  // namespace rft
