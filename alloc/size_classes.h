// Size classes: every 8 bytes from 16 to 256, then eight for each doubling (at most 12.5 % apart).
//
// Records of a cache are many and of few sizes; half of the bytes that a block has too many are
// lost for good. Every 8 bytes below 256 costs a byte of class table each and nothing at run time.
//
// Large values are round more often than not: pages, or a power of two. With header and key such a one is just past a
// round size and would lose an eighth, so from 2 KiB on the classes are round sizes and 128 bytes.
#ifndef TERN_ALLOC_SIZE_CLASSES_H_
#define TERN_ALLOC_SIZE_CLASSES_H_

#include <bit>
#include <cstddef>
#include <cstdint>

namespace tern::alloc {

inline constexpr std::size_t kUnitBytes = 8;  // unit of offsets and of class sizes
inline constexpr std::size_t kClassBytesMin = 16;
inline constexpr std::size_t kFineBytesMax = 256;     // every 8 bytes up to here
inline constexpr std::size_t kRoundFrom = 2048;       // past it classes are round sizes and kBesideRound
inline constexpr std::size_t kBesideRound = 128;      // header and key
inline constexpr std::size_t kClassBytesMax = 131072 + kBesideRound;  // the largest class of the largest spans
inline constexpr unsigned kFineClasses = (kFineBytesMax - kClassBytesMin) / kUnitBytes + 1;
inline constexpr unsigned kClassesADoubling = 8;
inline constexpr unsigned kClassCount =
    kFineClasses +
    kClassesADoubling * (std::bit_width(kClassBytesMax) - std::bit_width(kFineBytesMax)) + 1;  // kRoundFrom is there twice

// The reserve for removals is a class of its own that no size leads to.
inline constexpr unsigned kReserveClass = kClassCount;
// Room for a removal of a key of 254 bytes, and a multiple of a cache line: an overflow bucket may lie in one.
inline constexpr std::size_t kReserveBlockBytes = 320;

// Overflow buckets of the table: never moved and never freed once linked, so they have spans to
// themselves. Among records of 64 bytes they would keep each of those spans from ever being empty.
inline constexpr unsigned kBucketClass = kClassCount + 1;
inline constexpr std::size_t kBucketBytes = 64;
inline constexpr unsigned kAllClasses = kClassCount + 2;
static_assert(kAllClasses <= 128, "a class takes 7 bits of a span's state");

// The least class whose blocks have `bytes`; bytes <= kClassBytesMax.
constexpr unsigned class_of(std::size_t bytes) noexcept {
  if (bytes <= kFineBytesMax) {
    const std::size_t held = bytes < kClassBytesMin ? kClassBytesMin : bytes;
    return static_cast<unsigned>((held - kClassBytesMin + kUnitBytes - 1) / kUnitBytes);
  }
  // Within the doubling (2^k, 2^(k+1)] the class is the next three bits, rounded up.
  const bool round = bytes > kRoundFrom;
  const std::size_t last = bytes - 1 - (round ? kBesideRound : 0);
  const unsigned doubling = static_cast<unsigned>(std::bit_width(last)) - 1u;  // 8: 257 to 512
  const unsigned eighth = static_cast<unsigned>(last >> (doubling - 3u)) & 7u;
  return kFineClasses + (doubling - 8u) * kClassesADoubling + eighth + round;
}

namespace size_class_parts {
constexpr std::size_t bytes_of_class(unsigned index) noexcept {
  if (index == kReserveClass) return kReserveBlockBytes;
  if (index == kBucketClass) return kBucketBytes;
  if (index < kFineClasses) return kClassBytesMin + index * kUnitBytes;
  const bool round = index > class_of(kRoundFrom);
  const unsigned coarse = index - kFineClasses - round;
  const std::size_t low = kFineBytesMax << (coarse / kClassesADoubling);
  return low + (low / kClassesADoubling) * (coarse % kClassesADoubling + 1) + (round ? kBesideRound : 0);
}
struct ClassTable {
  std::uint32_t bytes[kAllClasses];
  constexpr ClassTable() noexcept : bytes{} {
    for (unsigned c = 0; c < kAllClasses; ++c) bytes[c] = static_cast<std::uint32_t>(bytes_of_class(c));
  }
};
inline constexpr ClassTable kClassTable;  // asked for on the way of every group of reads
}  // namespace size_class_parts

constexpr std::size_t class_bytes(unsigned index) noexcept { return size_class_parts::kClassTable.bytes[index]; }

static_assert(class_of(0) == 0 && class_of(16) == 0 && class_of(17) == 1 &&
              class_of(256) == kFineClasses - 1);
static_assert(class_of(257) == kFineClasses && class_of(288) == kFineClasses &&
              class_of(289) == kFineClasses + 1);
static_assert(class_of(kRoundFrom + 1) == class_of(kRoundFrom) + 1 && class_bytes(class_of(4096 + 24 + 40)) == 4096 + kBesideRound);
static_assert(class_of(kClassBytesMax) == kClassCount - 1 &&
              class_bytes(kClassCount - 1) == kClassBytesMax);

}  // namespace tern::alloc

#endif  // TERN_ALLOC_SIZE_CLASSES_H_
