// The steps of a look-up that an instruction set makes shorter, once for each TERN_TARGET: see simd/targets.h. What the
// baseline does is in tag_match.h and key_equal.h. No include guard: each inclusion is another namespace.
//
// How many look-ups a processor has in flight is its window divided by their instructions (Sapphire Rapids, a table past
// the second-level cache: 80 instructions more, 0.69 of the rate; 160 more, 0.5). So AVX-512 serves here to do the
// same with fewer instructions, on registers from 16 on, which need no vzeroupper.
//
// By inline assembly: for a variable of 32 bytes g++ aligns the stack anew, in six instructions, and it knows no way to
// branch on a mask register without moving it.

namespace tern::simd::TERN_TARGET {

#if TERN_TARGET_LEVEL == TERN_LEVEL_AVX512

// Which of the eight words of a cache line have `wanted` in the bits from kShift on: a bit each.
template <unsigned kShift, class Line>
[[gnu::always_inline]] inline unsigned match_words(const Line& line, std::uint64_t wanted) noexcept {
  static_assert(sizeof(Line) == 64 && alignof(Line) == 64);
  unsigned equal;
  __asm__ __volatile__(
      "vpbroadcastq %[wanted], %%zmm16\n\t"
      "vpsrlq %[shift], %[line], %%zmm17\n\t"
      "vpcmpeqq %%zmm16, %%zmm17, %%k1\n\t"
      "kmovb %%k1, %[equal]"
      : [equal] "=r"(equal)
      : [wanted] "r"(wanted), [shift] "n"(kShift), [line] "m"(line)
      : "xmm16", "xmm17", "k1");
  return equal;
}

// The bits of `value`, lowest first, where `places` has ones. Not on processors that do it in microcode (Zen 1, Zen 2).
[[gnu::always_inline]] inline std::uint64_t deposit(std::uint64_t value, std::uint64_t places) noexcept {
  std::uint64_t placed;
  __asm__("pdepq %[places], %[value], %[placed]" : [placed] "=r"(placed) : [value] "r"(value), [places] "rm"(places));
  return placed;
}

// Whether [a, a+n) equals [b, b+n), 16 <= n <= 32.
[[gnu::always_inline]] inline bool blocks_equal(const char* a, const char* b, std::size_t n) noexcept {
  using Block = const char(*)[16];
  bool equal;
  __asm__("vmovdqu64 %[a_first], %%xmm16\n\t"
          "vmovdqu64 %[a_last], %%xmm17\n\t"
          "vpxorq (%[b]), %%xmm16, %%xmm16\n\t"
          "vpternlogq $0xDE, -16(%[b],%[n]), %%xmm16, %%xmm17\n\t"  // xmm16 | (xmm17 ^ memory)
          "vptestmq %%xmm17, %%xmm17, %%k1\n\t"
          "kortestb %%k1, %%k1"
          : "=@ccz"(equal)
          : [a_first] "m"(*reinterpret_cast<Block>(a)), [a_last] "m"(*reinterpret_cast<Block>(a + n - 16)),
            [b] "r"(b), [n] "r"(n), "m"(*reinterpret_cast<const char(*)[32]>(b))
          : "xmm16", "xmm17", "k1");
  return equal;
}

// memcpy of 33 to 64 bytes.
[[gnu::always_inline]] inline void copy_blocks(char* to, const char* from, std::size_t n) noexcept {
  using Block = char(*)[32];
  using ConstBlock = const char(*)[32];
  __asm__(
      "vmovdqu64 %[from_first], %%ymm16\n\t"
      "vmovdqu64 %[from_last], %%ymm17\n\t"
      "vmovdqu64 %%ymm16, %[to_first]\n\t"
      "vmovdqu64 %%ymm17, %[to_last]"
      : [to_first] "=m"(*reinterpret_cast<Block>(to)), [to_last] "=m"(*reinterpret_cast<Block>(to + n - 32))
      : [from_first] "m"(*reinterpret_cast<ConstBlock>(from)), [from_last] "m"(*reinterpret_cast<ConstBlock>(from + n - 32))
      : "xmm16", "xmm17");
}

#elif TERN_TARGET_LEVEL == TERN_LEVEL_AVX2

template <unsigned kShift, class Line>
[[gnu::always_inline]] inline unsigned match_words(const Line& line, std::uint64_t wanted) noexcept {
  static_assert(sizeof(Line) == 64 && alignof(Line) == 64);
  unsigned low, high;
  __asm__ __volatile__(
      "vmovq %[wanted], %%xmm0\n\t"
      "vpbroadcastq %%xmm0, %%ymm0\n\t"
      "vmovdqa %[line], %%ymm1\n\t"
      "vmovdqa 32%[line], %%ymm2\n\t"
      "vpsrlq %[shift], %%ymm1, %%ymm1\n\t"
      "vpsrlq %[shift], %%ymm2, %%ymm2\n\t"
      "vpcmpeqq %%ymm0, %%ymm1, %%ymm1\n\t"
      "vpcmpeqq %%ymm0, %%ymm2, %%ymm2\n\t"
      "vmovmskpd %%ymm1, %[low]\n\t"
      "vmovmskpd %%ymm2, %[high]\n\t"
      "vzeroupper"
      : [low] "=&r"(low), [high] "=r"(high)
      : [wanted] "r"(wanted), [shift] "n"(kShift), [line] "o"(line)
      : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",
        "xmm13", "xmm14", "xmm15", "memory");  // all that vzeroupper may change
  return low | high << 4;
}

#endif

}  // namespace tern::simd::TERN_TARGET
