// Checksum: XXH3 of 64 bits over what is written to disk. Finds damage, not malice. The one door to xxHash, whose code
// is compiled in: nothing is linked.
//
// Source: Y. Collet, XXH3, stable since version 0.8.0: the value is the same on every processor.
#ifndef TERN_SIMD_CHECKSUM_H_
#define TERN_SIMD_CHECKSUM_H_

#include <cstddef>
#include <cstdint>

namespace tern::simd {

// Of all at once. `salt` tells apart what may hold equal bytes in two places.
std::uint64_t checksum(const void* data, std::size_t bytes, std::uint64_t salt) noexcept;

// Of one piece after the other; the same value as all at once.
class Checksum {
 public:
  explicit Checksum(std::uint64_t salt) noexcept;
  void add(const void* data, std::size_t bytes) noexcept;
  std::uint64_t value() const noexcept;

 private:
  alignas(64) unsigned char state_[640];
};

}  // namespace tern::simd

#endif  // TERN_SIMD_CHECKSUM_H_
