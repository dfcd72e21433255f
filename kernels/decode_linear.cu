#include "kernels/decode_linear.h"
#include "kernels/decode_linear_parts.h"

namespace rft::kernels {

int decode_slices(int rows, int inner) {
  constexpr int kBlocks = 264;  // two a processor
  const int tiles = (rows + kTile - 1) / kTile, chunks = (inner + kChunk - 1) / kChunk;
  const int wanted = kBlocks / tiles, most = chunks / (2 * kSegments);  // two chunks a warp, or more
  const int slices = wanted < most ? wanted : most, least = (inner + kSliceColumns - 1) / kSliceColumns;
  return slices < least ? least : slices > 8 && least <= 8 ? 8 : slices;
}

int decode_linear(const DecodeLinear& a, void* stream) {
  constexpr int kInvalid = 1;  // cudaErrorInvalidValue
  const bool gate = a.gate != Gate::none;
  if (a.inner % 8 || a.tokens > kLinearTokens || (gate && (a.rows % 16 || a.slices != 1))) return kInvalid;
  if (a.norm.stream && a.slices != 1) return kInvalid;
  return a.tokens == 0 ? 0 : decode_linear_narrow(a, stream);
}

}  // namespace rft::kernels
