// Seeded 64-bit hash of byte strings: the definition, inline, and a batch form in SIMD lanes.
//
// What it is. A key of up to 32 bytes is four words, its first and its last 16 bytes, which overlap
// when it is shorter. Each word is taken as a Gaussian integer: low half + i high half.
//
//     w0 = [0,8)  w1 = [8,16)  w2 = [n-16,n-8)  w3 = [n-8,n)      16 to 32 bytes
//     w0 = w1 = [0,8)          w2 = w3 = [n-8,n)                   8 to 15 bytes
//     all four = tiny_word: [0,4) [n-4,n), or bytes 0, n/2, n-1    0 to 7 bytes
//     z = (w0+k0)(w2+k2) + (w1+k1)(w3+k3)         sums of words by halves, modulo 2^32
//     z = (z.re ^ (n * odd constant)) * z.im      each of the two 64 bits, again as low + i high
//     hash = z.re ^ rotl(z.im, 32)                real and imaginary parts modulo 2^64
//
// Before that, a longer key's bytes up to its last 32 go through two chains of 64 x 64 -> 128-bit
// products (`absorb`), whose states then stand for k0 to k3. k0 to k3 come from the seed by two
// 128-bit products, so that no difference between two of them is known without it.
//
// Why this one.
//  * Lanes. Vector units multiply 32 x 32 -> 64 (vpmuludq, umull), nothing wider. The usual
//    multiply-and-fold of 64 x 64 bits (wyhash, rapidhash, XXH3 up to 240 bytes) takes 17 vector
//    instructions there, most of them carrying; a complex product takes 8 and carries nothing.
//  * Proof. The first line is NH (UMAC, Black et al. 1999) over Gaussian integers instead of
//    integers. They have no zero divisors, so for independent random k and two different inputs of
//    one length at most four values of the last key make z equal: probability <= 2^-62 of a
//    128-bit z, for the price of NH's two 32-bit passes. NH's own pass gives 2^-32.
//    Here the keys come from one seed, so that is an argument, not a promise.
//  * Crafted keys. Every factor of the first line contains a secret key, so there is no word that
//    makes a product zero whatever the seed (wyhash and its heirs have one: a word equal to a
//    public constant erases its neighbour). A pair of keys that collides under one seed has no more
//    than the chance of any other pair under the next. Words never meet the length linearly: keys
//    of two lengths with the same four words differ in the second product, by a multiple of
//    secrets.
//  * Who knows the seed can make collisions at will, as with any hash of this speed: a store keeps
//    its seed secret.
//
// Measured (figures in README.md) and rejected: the same shape with 64 x 64-bit folds, 1.85 times
// slower in lanes; a branch at 16 bytes, a tenth faster when lengths can be foreseen and a quarter
// slower when they mix. One key alone costs some 6 TSC cycles more latency than XXH3, which folds.
// Not measured: AES rounds, which baseline x86-64 lacks where the scalar form is inlined; XXH3's
// 32-bit self-products (lo(x) * hi(x) + neighbour), a few multiplications less, where two words
// changed by opposite differences cancel with probability 2^-32, for many differences at once.
// The tests of quality found, and rule out now: chains that shared keys in another order, and a
// guessable seed that made k0 zero.
//
// Limits: little-endian only. Not cryptographic. The values are frozen (tests/simd): public API and
// files depend on them.
#ifndef TERN_SIMD_HASH_H_
#define TERN_SIMD_HASH_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace tern::simd {

static_assert(std::endian::native == std::endian::little,
              "the hash is defined on little-endian words; byte swaps for other machines are not "
              "written because nothing would test them");

// What a seed becomes. Callers that keep one seed for long may keep this instead, near whatever
// else a lookup reads: it saves ten instructions a call.
struct alignas(16) HashKeys {
  std::uint64_t key[4];
};

namespace hash_parts {

// SHA-256 of "tern hash", odd: numbers that nobody picks as a seed by hand.
inline constexpr std::uint64_t kSeedXor0 = 0xE4C7420206E23F1DU;
inline constexpr std::uint64_t kSeedXor1 = 0x0157B14206418579U;
inline constexpr std::uint64_t kSeedFactor0 = 0x7AA078555B116D7DU;
inline constexpr std::uint64_t kSeedFactor1 = 0x0C4B860FEE4BA54DU;
inline constexpr std::uint32_t kSizeFactor = 0x9E3779B1U;
inline constexpr std::size_t kWordBytes = 8;
inline constexpr std::size_t kShortBytesMax = 32;
inline constexpr std::uint64_t kHalf = 0xFFFFFFFFU;

struct Product {
  std::uint64_t low;
  std::uint64_t high;
};

inline Product multiply(std::uint64_t a, std::uint64_t b) noexcept {
#if defined(__SIZEOF_INT128__)
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return {static_cast<std::uint64_t>(product), static_cast<std::uint64_t>(product >> 64)};
#else
  const std::uint64_t low = (a & kHalf) * (b & kHalf);
  const std::uint64_t middle = (a >> 32) * (b & kHalf) + (low >> 32);
  const std::uint64_t middle2 = (a & kHalf) * (b >> 32) + (middle & kHalf);
  return {(middle2 << 32) | (low & kHalf),
          (a >> 32) * (b >> 32) + (middle >> 32) + (middle2 >> 32)};
#endif
}

inline std::uint64_t word_at(const unsigned char* at) noexcept {
  std::uint64_t word;
  std::memcpy(&word, at, sizeof(word));
  return word;
}

// The eight bytes that stand for a key of 0 to 7 bytes.
inline std::uint64_t tiny_word(const unsigned char* p, std::size_t size) noexcept {
  if (size >= 4) {
    std::uint32_t first, last;
    std::memcpy(&first, p, 4);
    std::memcpy(&last, p + size - 4, 4);
    return first | static_cast<std::uint64_t>(last) << 32;
  }
  if (size == 0) return 0;
  return p[0] | static_cast<std::uint64_t>(p[size / 2]) << 8 |
         static_cast<std::uint64_t>(p[size - 1]) << 16;
}

// How far w1 lies behind w0, and w2 before w3: one formula without a branch for 8 to 32 bytes.
inline std::size_t inner_offset(std::size_t size) noexcept {
  return static_cast<std::size_t>(size >= 2 * kWordBytes) * kWordBytes;
}

inline std::uint64_t add_halves(std::uint64_t a, std::uint64_t b) noexcept {
  return ((a + b) & kHalf) | (((a >> 32) + (b >> 32)) << 32);
}

struct Complex {
  std::uint64_t re;
  std::uint64_t im;
};

// (a + bi)(c + di) for x = a + 2^32 b and y = c + 2^32 d.
inline Complex multiply_complex(std::uint64_t x, std::uint64_t y) noexcept {
  const std::uint64_t a = x & kHalf, b = x >> 32;
  const std::uint64_t c = y & kHalf, d = y >> 32;
  return {a * c - b * d, a * d + b * c};
}

// The definition for four words.
inline std::uint64_t mix_words(std::uint64_t w0, std::uint64_t w1, std::uint64_t w2,
                               std::uint64_t w3, std::size_t size, const HashKeys& keys) noexcept {
  const Complex p = multiply_complex(add_halves(w0, keys.key[0]), add_halves(w2, keys.key[2]));
  const Complex q = multiply_complex(add_halves(w1, keys.key[1]), add_halves(w3, keys.key[3]));
  const Complex h = multiply_complex((p.re + q.re) ^ (size * kSizeFactor), p.im + q.im);
  return h.re ^ std::rotl(h.im, 32);
}

// Two words and the four keys in what the processor likes best: SSE2 does two of the four products
// of a line at once, on every x86-64; elsewhere (umull, umaddl) plain registers are as good.
#if defined(__SSE2__)
struct Pair {
  __m128i v;
};
inline Pair pair(std::uint64_t low, std::uint64_t high) noexcept {
  return {_mm_set_epi64x(static_cast<long long>(high), static_cast<long long>(low))};
}
inline Pair pair_at(const unsigned char* low, const unsigned char* high) noexcept {
  const __m128i v = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(low));
  return {
      _mm_castps_si128(_mm_loadh_pi(_mm_castsi128_ps(v), reinterpret_cast<const __m64*>(high)))};
}
inline Pair block_pair_at(const unsigned char* at) noexcept {
  return {_mm_loadu_si128(reinterpret_cast<const __m128i*>(at))};
}
inline Pair key_pair(const HashKeys& keys, std::size_t index) noexcept {
  return {_mm_load_si128(reinterpret_cast<const __m128i*>(keys.key + index))};
}

inline std::uint64_t mix_pairs(Pair w01, Pair w23, std::size_t size, Pair k01, Pair k23) noexcept {
  const __m128i x = _mm_add_epi32(w01.v, k01.v);
  const __m128i y = _mm_add_epi32(w23.v, k23.v);
  const __m128i b = _mm_srli_epi64(x, 32);
  const __m128i d = _mm_srli_epi64(y, 32);
  const __m128i re = _mm_sub_epi64(_mm_mul_epu32(x, y), _mm_mul_epu32(b, d));
  const __m128i im = _mm_add_epi64(_mm_mul_epu32(x, d), _mm_mul_epu32(b, y));
  __m128i z = _mm_add_epi64(_mm_unpacklo_epi64(re, im), _mm_unpackhi_epi64(re, im));
  z = _mm_xor_si128(z, _mm_cvtsi64_si128(static_cast<long long>(size * kSizeFactor)));
  const __m128i ab = _mm_shuffle_epi32(z, _MM_SHUFFLE(1, 1, 0, 0));
  const __m128i ac_bd = _mm_mul_epu32(ab, _mm_shuffle_epi32(z, _MM_SHUFFLE(3, 3, 2, 2)));
  const __m128i ad_bc = _mm_mul_epu32(ab, _mm_shuffle_epi32(z, _MM_SHUFFLE(2, 2, 3, 3)));
  const __m128i re2 = _mm_sub_epi64(ac_bd, _mm_unpackhi_epi64(ac_bd, ac_bd));
  const __m128i im2 = _mm_add_epi64(ad_bc, _mm_unpackhi_epi64(ad_bc, ad_bc));
  const __m128i rotated = _mm_shuffle_epi32(im2, _MM_SHUFFLE(0, 1, 0, 1));
  return static_cast<std::uint64_t>(_mm_cvtsi128_si64(_mm_xor_si128(re2, rotated)));
}
#else
struct Pair {
  std::uint64_t low;
  std::uint64_t high;
};
inline Pair pair(std::uint64_t low, std::uint64_t high) noexcept { return {low, high}; }
inline Pair pair_at(const unsigned char* low, const unsigned char* high) noexcept {
  return {word_at(low), word_at(high)};
}
inline Pair block_pair_at(const unsigned char* at) noexcept { return pair_at(at, at + 8); }
inline Pair key_pair(const HashKeys& keys, std::size_t index) noexcept {
  return {keys.key[index], keys.key[index + 1]};
}

inline std::uint64_t mix_pairs(Pair w01, Pair w23, std::size_t size, Pair k01, Pair k23) noexcept {
  return mix_words(w01.low, w01.high, w23.low, w23.high, size,
                   {{k01.low, k01.high, k23.low, k23.high}});
}
#endif

struct Chain {
  std::uint64_t a;
  std::uint64_t b;
};

// 32 bytes into a chain. The products stay whole and crosswise (folding a product's halves by xor
// lets two inverted words collide with probability (3/4)^64), and the factors' sums go along, so
// that a zero factor erases nothing.
inline Chain absorb(Chain s, std::uint64_t k2, std::uint64_t k3, const unsigned char* p) noexcept {
  const std::uint64_t x0 = word_at(p) ^ s.a;
  const std::uint64_t x1 = word_at(p + 8) ^ s.b;
  const std::uint64_t x2 = word_at(p + 16) ^ k2;
  const std::uint64_t x3 = word_at(p + 24) ^ k3;
  const Product m = multiply(x0, x3);
  const Product n = multiply(x1, x2);
  return {m.low ^ n.high ^ (x0 + x1), m.high ^ n.low ^ (x2 + x3)};
}

// More than 32 bytes.
[[gnu::noinline]] inline std::uint64_t hash_long(const unsigned char* p, std::size_t size,
                                                 const HashKeys& keys) noexcept {
  const std::uint64_t* const k = keys.key;
  const unsigned char* const tail = p + size - kShortBytesMax;
  Chain s{k[0], k[1]};
  // The second chain has keys of its own: with k0 to k3 in other places, blocks put from one chain
  // into the other, their words in another order, gave equal sums at the end, whatever the seed.
  const Product start = multiply(k[0] ^ kSeedXor1, k[2] ^ kSeedFactor0);
  const Product own = multiply(k[1] ^ kSeedXor0, k[3] ^ kSeedFactor1);
  Chain t{start.low ^ k[3], start.high ^ k[2]};
  for (; tail - p > 32; p += 64) {
    s = absorb(s, k[2], k[3], p);
    t = absorb(t, own.low ^ k[1], own.high ^ k[0], p + 32);
  }
  if (p < tail) s = absorb(s, k[2], k[3], p);
  return mix_pairs(pair_at(tail, tail + 8), pair_at(tail + 16, tail + 24), size, pair(s.a, s.b),
                   pair(t.a, t.b));
}

inline std::uint64_t hash_short(const unsigned char* p, std::size_t size, Pair k01,
                                Pair k23) noexcept {
  const std::size_t inner = inner_offset(size);
  const unsigned char* const last = p + size - kWordBytes;
  return mix_pairs(pair_at(p, p + inner), pair_at(last - inner, last), size, k01, k23);
}

inline std::uint64_t hash_tiny(const unsigned char* p, std::size_t size, Pair k01,
                               Pair k23) noexcept {
  const std::uint64_t word = tiny_word(p, size);
  return mix_pairs(pair(word, word), pair(word, word), size, k01, k23);
}

}  // namespace hash_parts

inline HashKeys derive_keys(std::uint64_t seed) noexcept {
  using namespace hash_parts;
  const std::uint64_t turned = std::rotl(seed, 32);
  const Product p = multiply(seed ^ kSeedXor0, kSeedFactor0);
  const Product q = multiply(turned ^ kSeedXor1, kSeedFactor1);
  // Dense even where a product is zero. Each key takes every value for some seed, zero too: that
  // seed is a bad one for words of zero, and one of 2^64 that nothing leads to.
  return {{p.low ^ kSeedFactor1, p.high ^ seed, q.high ^ turned, q.low ^ kSeedFactor0}};
}

// The hash of `size` bytes at `data` (which may be null if size is 0). Equal on every machine and
// target. Reads nothing outside the bytes. Wait-free, no state. `keys` as by derive_keys(seed).
inline std::uint64_t hash_bytes(const void* data, std::size_t size, const HashKeys& keys) noexcept {
  using namespace hash_parts;
  const auto* p = static_cast<const unsigned char*>(data);
  if (size - kWordBytes <= kShortBytesMax - kWordBytes) [[likely]] {
    return hash_short(p, size, key_pair(keys, 0), key_pair(keys, 2));
  }
  if (size < kWordBytes) return hash_tiny(p, size, key_pair(keys, 0), key_pair(keys, 2));
  return hash_long(p, size, keys);
}

// The same for 16 to 32 bytes: two loads instead of four, no arithmetic on addresses.
[[gnu::always_inline]] inline std::uint64_t hash_blocks(const void* data, std::size_t size, const HashKeys& keys) noexcept {
  using namespace hash_parts;
  const auto* p = static_cast<const unsigned char*>(data);
  return mix_pairs(block_pair_at(p), block_pair_at(p + size - 16), size, key_pair(keys, 0), key_pair(keys, 2));
}

inline std::uint64_t hash_bytes(const void* data, std::size_t size, std::uint64_t seed) noexcept {
  using namespace hash_parts;
  const HashKeys keys = derive_keys(seed);
  const auto* p = static_cast<const unsigned char*>(data);
  // Built from registers: a 16-byte load of what two 8-byte stores just wrote would wait for both.
  const Pair k01 = pair(keys.key[0], keys.key[1]);
  const Pair k23 = pair(keys.key[2], keys.key[3]);
  if (size - kWordBytes <= kShortBytesMax - kWordBytes) [[likely]] {
    return hash_short(p, size, k01, k23);
  }
  if (size < kWordBytes) return hash_tiny(p, size, k01, k23);
  return hash_long(p, size, keys);
}

// out[i] = hash_bytes(keys[i].data(), keys[i].size(), seed) for i < count, several keys at a time.
// One indirect call for the array. Keys of 8 to 32 bytes are hashed in lanes when a whole vector of
// neighbours has such lengths, fastest from 16 bytes on; others one by one.
void hash_batch(const std::string_view* keys, std::size_t count, const HashKeys& derived,
                std::uint64_t* out) noexcept;
inline void hash_batch(const std::string_view* keys, std::size_t count, std::uint64_t seed,
                       std::uint64_t* out) noexcept {
  hash_batch(keys, count, derive_keys(seed), out);
}

}  // namespace tern::simd

#endif  // TERN_SIMD_HASH_H_
