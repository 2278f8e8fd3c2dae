// Which of a bucket's seven slots carry a tag.
//
// A bucket is one 64-byte line of eight words; the top 16 bits of words 0 to 6 are tags, word 7 is
// the control word and is never reported. `match_tags` answers with a mask of words worth looking
// at. It is a filter, not a read: each word whose bit is set must be loaded again, atomically, and
// judged by that value.
//
// Why plain vector loads are good enough although other threads store to these words:
//  * The words are 8-byte atomics, naturally aligned, in one cache line. On x86-64 and aarch64 an
//    aligned 16-byte vector load never splits one of its 8-byte halves, so each word seen is a
//    value that the word really held; two words may be from different moments, as with single
//    loads.
//  * Nothing but the mask leaves the function. A bit too many costs one wasted load. A missing bit
//    may decide that a key is absent (PROTOCOLS.md A), so each word must be as fresh as a seq_cst
//    load would have it. On x86-64 a seq_cst load is a plain load. On aarch64 a plain load may pass
//    an earlier seq_cst store, hence `dmb ish` before the loads and `dmb ishld` after them; seven
//    `ldar` would each wait for the one before.
//  * Signal fences on both sides keep the compiler from moving the loads across the caller's
//    atomics. What it may do, in theory, is load twice: then the mask mixes two moments, which is
//    the second point again.
// C++ has no name for that (a vector of atomics), so this is the one place in Tern where a plain
// load meets an atomic store. ThreadSanitizer, rightly, takes it for a race: under it, and on every
// other processor, the words are loaded one at a time with __atomic_load_n. Rejected: Highway's
// dispatch (an indirect call costs more than the probe), AVX2 and AVX-512 (within 5 % of SSE2,
// and the callers are compiled for the baseline).
#ifndef TERN_SIMD_TAG_MATCH_H_
#define TERN_SIMD_TAG_MATCH_H_

#include <atomic>
#include <cstdint>

#if defined(__SANITIZE_THREAD__)
#define TERN_SIMD_TAG_WORDWISE 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TERN_SIMD_TAG_WORDWISE 1
#endif
#endif

#if !defined(TERN_SIMD_TAG_WORDWISE) && defined(__SSE2__)
#include <emmintrin.h>
#define TERN_SIMD_TAG_SSE2 1
#elif !defined(TERN_SIMD_TAG_WORDWISE) && defined(__aarch64__) && defined(__ARM_NEON)
#include <arm_neon.h>
#define TERN_SIMD_TAG_NEON 1
#endif

namespace tern::simd {

// Words of a line that hold tags; the eighth is the control word.
inline constexpr unsigned kTagWords = 7;
inline constexpr unsigned kTagShift = 48;

// The definition, on words that nobody else writes.
inline unsigned match_tags_scalar(const std::uint64_t* words, std::uint16_t tag) noexcept {
  unsigned mask = 0;
  for (unsigned index = 0; index < kTagWords; ++index) {
    mask |= static_cast<unsigned>((words[index] >> kTagShift) == tag) << index;
  }
  return mask;
}

// The same over anything with `load(std::memory_order)`: for atomics policies whose every access
// has to be seen (Sync::kWordwise). seq_cst, because a clear bit may decide that a key is absent.
template <typename Word>
inline unsigned match_tags_wordwise(const Word* words, std::uint16_t tag) noexcept {
  unsigned mask = 0;
  for (unsigned index = 0; index < kTagWords; ++index) {
    const std::uint64_t word = words[index].load(std::memory_order_seq_cst);  // [publish] seq_cst
    mask |= static_cast<unsigned>((word >> kTagShift) == tag) << index;
  }
  return mask;
}

// `line`: 64 bytes, aligned to 64. Bit i (0 to 6) of the result is set if the top 16 bits of word i
// equalled `tag` at some moment during the call. Wait-free; about 2 ns with the line in L1.
[[gnu::always_inline]] inline unsigned match_tags(const void* line, std::uint32_t tag) noexcept {
#if defined(TERN_SIMD_TAG_SSE2)
  std::atomic_signal_fence(std::memory_order_seq_cst);
  const auto* at = static_cast<const __m128i*>(line);
  const __m128 w01 = _mm_castsi128_ps(_mm_load_si128(at));
  const __m128 w23 = _mm_castsi128_ps(_mm_load_si128(at + 1));
  const __m128 w45 = _mm_castsi128_ps(_mm_load_si128(at + 2));
  const __m128 w67 = _mm_castsi128_ps(_mm_load_si128(at + 3));
  std::atomic_signal_fence(std::memory_order_seq_cst);
  // The upper halves of four words, then their upper halves; the shift is arithmetic so that the
  // saturating pack leaves the 16 bits as they are.
  const __m128i high03 = _mm_castps_si128(_mm_shuffle_ps(w01, w23, _MM_SHUFFLE(3, 1, 3, 1)));
  const __m128i high47 = _mm_castps_si128(_mm_shuffle_ps(w45, w67, _MM_SHUFFLE(3, 1, 3, 1)));
  const __m128i tags = _mm_packs_epi32(_mm_srai_epi32(high03, 16), _mm_srai_epi32(high47, 16));
  // Spread from 32 bits: from 16 the compiler may go through memory, and the wider load waits for the store.
  const __m128i wanted = _mm_shuffle_epi32(_mm_cvtsi32_si128(static_cast<int>(tag | tag << 16)), 0);
  const __m128i equal = _mm_cmpeq_epi16(tags, wanted);
  const int mask = _mm_movemask_epi8(_mm_packs_epi16(equal, _mm_setzero_si128()));
  return static_cast<unsigned>(mask) & ((1U << kTagWords) - 1U);
#elif defined(TERN_SIMD_TAG_NEON)
  // The loads below after whatever the caller stored before.
  __asm__ __volatile__("dmb ish" ::: "memory");
  const auto* at = static_cast<const std::uint32_t*>(line);
  const uint32x4_t w01 = vld1q_u32(at);
  const uint32x4_t w23 = vld1q_u32(at + 4);
  const uint32x4_t w45 = vld1q_u32(at + 8);
  const uint32x4_t w67 = vld1q_u32(at + 12);
  // The loads above before whatever the caller loads next.
  __asm__ __volatile__("dmb ishld" ::: "memory");
  const uint16x8_t high03 = vreinterpretq_u16_u32(vuzp2q_u32(w01, w23));
  const uint16x8_t high47 = vreinterpretq_u16_u32(vuzp2q_u32(w45, w67));
  const uint16x8_t equal = vceqq_u16(vuzp2q_u16(high03, high47), vdupq_n_u16(static_cast<std::uint16_t>(tag)));
  static constexpr std::uint16_t kBit[8] = {1, 2, 4, 8, 16, 32, 64, 0};
  return vaddvq_u16(vandq_u16(equal, vld1q_u16(kBit)));
#else
  unsigned mask = 0;
  const auto* words = static_cast<const std::uint64_t*>(line);
  for (unsigned index = 0; index < kTagWords; ++index) {
    const std::uint64_t word = __atomic_load_n(words + index, __ATOMIC_SEQ_CST);
    mask |= static_cast<unsigned>((word >> kTagShift) == tag) << index;
  }
  return mask;
#endif
}

}  // namespace tern::simd

#undef TERN_SIMD_TAG_WORDWISE
#undef TERN_SIMD_TAG_SSE2
#undef TERN_SIMD_TAG_NEON

#endif  // TERN_SIMD_TAG_MATCH_H_
