// Targets: one source text compiled for several instruction sets, where a function is too small to be called through
// a pointer but its caller isn't: the whole look-up of a key (engine/reads-inl.h).
//
//   #include what follows needs, once
//   #define TERN_TARGET avx2                  a namespace
//   #define TERN_TARGET_LEVEL TERN_LEVEL_AVX2
//   TERN_BEFORE_AVX2
//   #include "..-inl.h"                       opens namespace TERN_TARGET inside its own
//   TERN_AFTER_TARGET
//
// Everything that is defined in between may use the target's instructions; what it calls from outside is compiled for
// the baseline, and inlined where it is marked so (a callee's instruction set must be part of its caller's).
// No function with an instruction set of its own is visible under a name that the baseline's code could call: that
// is what the namespace is for. Highway's foreach_target does the same for sources that can afford its headers.
#ifndef TERN_SIMD_TARGETS_H_
#define TERN_SIMD_TARGETS_H_

#define TERN_LEVEL_BASE 0
#define TERN_LEVEL_AVX2 1    // x86-64-v3: Haswell, Zen and later
#define TERN_LEVEL_AVX512 2  // x86-64-v4 on Intel: Skylake-X, Ice Lake, Sapphire Rapids and later

// Not under ThreadSanitizer, which has to see each load of a word.
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
#define TERN_MANY_TARGETS 1
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#undef TERN_MANY_TARGETS
#endif
#endif
#endif

#if defined(TERN_MANY_TARGETS)
#define TERN_TARGET_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define TERN_BEFORE_TARGET(list) \
  TERN_TARGET_PRAGMA(clang attribute push(__attribute__((target(list))), apply_to = function))
#define TERN_AFTER_TARGET _Pragma("clang attribute pop")
#else
#define TERN_BEFORE_TARGET(list) _Pragma("GCC push_options") TERN_TARGET_PRAGMA(GCC target list)
#define TERN_AFTER_TARGET _Pragma("GCC pop_options")
#endif
#define TERN_FEATURES_AVX2 "avx2,bmi,bmi2"
#define TERN_FEATURES_AVX512 "avx512f,avx512bw,avx512dq,avx512vl,avx2,bmi,bmi2"
#define TERN_BEFORE_AVX2 TERN_BEFORE_TARGET(TERN_FEATURES_AVX2)
#define TERN_BEFORE_AVX512 TERN_BEFORE_TARGET(TERN_FEATURES_AVX512)

namespace tern::simd {

// The best level of this machine. Zen 4 has AVX-512 too, and a look-up in 512-bit words is a sixth slower there.
inline int best_level() noexcept {
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("bmi2")) return TERN_LEVEL_BASE;
  const bool wide = __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                    __builtin_cpu_supports("avx512vl") && __builtin_cpu_is("intel");
  return wide ? TERN_LEVEL_AVX512 : TERN_LEVEL_AVX2;
}

}  // namespace tern::simd
#endif

#endif  // TERN_SIMD_TARGETS_H_
