#pragma once
/// Counter-based random numbers (Philox 4x32-10, Salmon et al. 2011): a draw depends on its key and position alone, so
/// a row's sample is the same whatever else is in the batch, and a resumed run needs no generator state.
#include <array>
#include <cstdint>

namespace rft {

/// Mixes numbers into one 64-bit key (splitmix64).
inline uint64_t mix(uint64_t a, uint64_t b) {
  uint64_t z = a + 0x9E3779B97F4A7C15ull * (b + 1);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

class Rng {
 public:
  explicit Rng(uint64_t seed, uint64_t stream = 0) : key_(seed), stream_(stream) {}

  /// Four 32-bit words at `position` of this stream.
  std::array<uint32_t, 4> block(uint64_t position) const {
    uint32_t k0 = static_cast<uint32_t>(key_), k1 = static_cast<uint32_t>(key_ >> 32);
    std::array<uint32_t, 4> c{static_cast<uint32_t>(position), static_cast<uint32_t>(position >> 32),
                              static_cast<uint32_t>(stream_), static_cast<uint32_t>(stream_ >> 32)};
    for (int round = 0; round < 10; ++round) {
      uint64_t p0 = uint64_t{0xD2511F53} * c[0], p1 = uint64_t{0xCD9E8D57} * c[2];
      c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k0, static_cast<uint32_t>(p1),
           static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k1, static_cast<uint32_t>(p0)};
      k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
    return c;
  }
  /// Uniform in [0, 1), 53 bits.
  double uniform(uint64_t position) const {
    auto b = block(position);
    return static_cast<double>((uint64_t{b[0]} << 21) ^ (b[1] >> 11)) * 0x1.0p-53;
  }
  /// Uniform in 0 .. n-1 (n > 0).
  uint64_t below(uint64_t position, uint64_t n) const {
    auto b = block(position);
    return static_cast<uint64_t>((static_cast<unsigned __int128>((uint64_t{b[0]} << 32) | b[1]) * n) >> 64);
  }

 private:
  uint64_t key_, stream_;
};

}  // namespace rft
