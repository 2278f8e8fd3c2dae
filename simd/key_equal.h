// Comparing and copying short byte strings inline, by loads that overlap instead of loops and
// tails. Nothing outside [a, a+n) and [b, b+n) is read, nothing outside [to, to+n) is written.
//
// Measured on Zen 4 (TSC cycles, g++ 12, learned / unlearned lengths), against libc:
//     equal keys of 8 to 32 bytes      6.4 / 6.6    memcmp  7.0 / 6.3
//     equal keys of 33 to 64 bytes     6.4 / 6.5    memcmp  7.0 / 7.0
//     copies of 8 to 32 bytes          5.3 / 9.5    memcpy  9.7 / 12.6
//     copies of 1 to 128 bytes         7.6 / 16.2   memcpy  9.3 / 19.5
// Rejected for keys: 16-byte vectors from 16 bytes on and words below, 5.2 when lengths are learned
// but 8.8 when they aren't.
#ifndef TERN_SIMD_KEY_EQUAL_H_
#define TERN_SIMD_KEY_EQUAL_H_

#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace tern::simd {

namespace byte_parts {

template <typename Word>
inline Word load(const unsigned char* from) noexcept {
  Word word;
  std::memcpy(&word, from, sizeof(word));
  return word;
}

template <typename Word>
inline void store(unsigned char* to, Word word) noexcept {
  std::memcpy(to, &word, sizeof(word));
}

// Sixteen bytes: a vector register on x86-64, a pair of registers (ldp, stp) elsewhere.
#if defined(__SSE2__)
using Block = __m128i;
inline Block block_at(const unsigned char* from) noexcept {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
}
inline void put_block(unsigned char* to, Block block) noexcept {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), block);
}
inline Block difference(Block a, Block b) noexcept { return _mm_xor_si128(a, b); }
inline Block either(Block a, Block b) noexcept { return _mm_or_si128(a, b); }
inline bool is_zero(Block a) noexcept {
  return _mm_movemask_epi8(_mm_cmpeq_epi8(a, _mm_setzero_si128())) == 0xFFFF;
}
#else
struct Block {
  std::uint64_t low;
  std::uint64_t high;
};
inline Block block_at(const unsigned char* from) noexcept { return load<Block>(from); }
inline void put_block(unsigned char* to, Block block) noexcept { store(to, block); }
inline Block difference(Block a, Block b) noexcept { return {a.low ^ b.low, a.high ^ b.high}; }
inline Block either(Block a, Block b) noexcept { return {a.low | b.low, a.high | b.high}; }
inline bool is_zero(Block a) noexcept { return (a.low | a.high) == 0; }
#endif

}  // namespace byte_parts

// Whether [a, a+n) equals [b, b+n), 16 <= n <= 32.
inline bool blocks_equal(const void* a, const void* b, std::size_t n) noexcept {
  using namespace byte_parts;
  const auto* const x = static_cast<const unsigned char*>(a);
  const auto* const y = static_cast<const unsigned char*>(b);
  return is_zero(either(difference(block_at(x), block_at(y)),
                        difference(block_at(x + n - 16), block_at(y + n - 16))));
}

// Whether [a, a+n) equals [b, b+n). Inline to 64 bytes, memcmp beyond.
inline bool key_equal(const void* a, const void* b, std::size_t n) noexcept {
  using namespace byte_parts;
  const auto* const x = static_cast<const unsigned char*>(a);
  const auto* const y = static_cast<const unsigned char*>(b);
  if (n - 16 <= 16) [[likely]] {  // 16 to 32
    return blocks_equal(a, b, n);
  }
  if (n - 8 < 8) {
    return ((load<std::uint64_t>(x) ^ load<std::uint64_t>(y)) |
            (load<std::uint64_t>(x + n - 8) ^ load<std::uint64_t>(y + n - 8))) == 0;
  }
  if (n < 8) {
    if (n >= 4) {
      return ((load<std::uint32_t>(x) ^ load<std::uint32_t>(y)) |
              (load<std::uint32_t>(x + n - 4) ^ load<std::uint32_t>(y + n - 4))) == 0;
    }
    return n == 0 || ((x[0] ^ y[0]) | (x[n / 2] ^ y[n / 2]) | (x[n - 1] ^ y[n - 1])) == 0;
  }
  if (n <= 64) {
    const auto differ = [x, y](std::size_t at) {
      return difference(block_at(x + at), block_at(y + at));
    };
    return is_zero(either(either(differ(0), differ(16)), either(differ(n - 32), differ(n - 16))));
  }
  return std::memcmp(a, b, n) == 0;
}

// memcpy of 16 to 32 bytes.
[[gnu::always_inline]] inline void copy_one_or_two_blocks(void* to, const void* from, std::size_t n) noexcept {
  using namespace byte_parts;
  auto* const t = static_cast<unsigned char*>(to);
  const auto* const f = static_cast<const unsigned char*>(from);
  const Block first = block_at(f), last = block_at(f + n - 16);
  put_block(t, first);
  put_block(t + n - 16, last);
}

// memcpy of 33 to 64 bytes.
inline void copy_blocks(void* to, const void* from, std::size_t n) noexcept {
  using namespace byte_parts;
  auto* const t = static_cast<unsigned char*>(to);
  const auto* const f = static_cast<const unsigned char*>(from);
  const Block first = block_at(f), second = block_at(f + 16);
  const Block before_last = block_at(f + n - 32), last = block_at(f + n - 16);
  put_block(t, first);
  put_block(t + 16, second);
  put_block(t + n - 32, before_last);
  put_block(t + n - 16, last);
}

// memcpy, inline to 128 bytes: everything is loaded before anything is stored, in at most eight
// overlapping blocks. The ranges must not overlap (beyond 128 bytes it is memcpy).
inline void copy_bytes(void* to, const void* from, std::size_t n) noexcept {
  using namespace byte_parts;
  auto* const t = static_cast<unsigned char*>(to);
  const auto* const f = static_cast<const unsigned char*>(from);
  if (n <= 16) {
    if (n >= 8) {
      const auto first = load<std::uint64_t>(f);
      const auto last = load<std::uint64_t>(f + n - 8);
      store(t, first);
      store(t + n - 8, last);
    } else if (n >= 4) {
      const auto first = load<std::uint32_t>(f);
      const auto last = load<std::uint32_t>(f + n - 4);
      store(t, first);
      store(t + n - 4, last);
    } else if (n != 0) {
      const unsigned char first = f[0], middle = f[n / 2], last = f[n - 1];
      t[0] = first;
      t[n / 2] = middle;
      t[n - 1] = last;
    }
    return;
  }
  if (n > 128) {
    std::memcpy(to, from, n);
    return;
  }
  const Block first = block_at(f);
  const Block last = block_at(f + n - 16);
  if (n > 32) {
    const Block second = block_at(f + 16);
    const Block before_last = block_at(f + n - 32);
    if (n > 64) {
      const Block third = block_at(f + 32);
      const Block fourth = block_at(f + 48);
      const Block fifth = block_at(f + n - 64);
      const Block sixth = block_at(f + n - 48);
      put_block(t + 32, third);
      put_block(t + 48, fourth);
      put_block(t + n - 64, fifth);
      put_block(t + n - 48, sixth);
    }
    put_block(t + 16, second);
    put_block(t + n - 32, before_last);
  }
  put_block(t, first);
  put_block(t + n - 16, last);
}

}  // namespace tern::simd

#endif  // TERN_SIMD_KEY_EQUAL_H_
