// Prefetches that stay where they were written. g++ takes a function that does nothing but prefetch for one without
// effects and removes its calls; the empty asm statement is an effect.
#ifndef TERN_ENGINE_PREFETCH_H_
#define TERN_ENGINE_PREFETCH_H_

namespace tern::detail {

// Into the first cache level: for what is read next.
[[gnu::always_inline]] inline void prefetch_near(const void* at) noexcept {
  __builtin_prefetch(at, 0, 3);
  __asm__ __volatile__("" ::"r"(at));
}

// Into the second: for groups, which have more misses in flight than the first level's miss buffers.
[[gnu::always_inline]] inline void prefetch_second_level(const void* at) noexcept {
  __builtin_prefetch(at, 0, 2);
  __asm__ __volatile__("" ::"r"(at));
}

}  // namespace tern::detail

#endif  // TERN_ENGINE_PREFETCH_H_
