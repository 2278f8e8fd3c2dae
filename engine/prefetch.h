// Prefetches that stay where they were written. g++ takes a function that does nothing but prefetch for one without
// effects and removes its calls; asm volatile is an effect, and folds the address's arithmetic into the instruction.
#ifndef TERN_ENGINE_PREFETCH_H_
#define TERN_ENGINE_PREFETCH_H_

namespace tern::detail {

// Into the first cache level: for what is read next.
[[gnu::always_inline]] inline void prefetch_near(const void* at) noexcept {
#if defined(__x86_64__)
  __asm__ __volatile__("prefetcht0 %0" ::"m"(*static_cast<const char*>(at)));
#else
  __builtin_prefetch(at, 0, 3);
  __asm__ __volatile__("" ::"r"(at));
#endif
}

// The same, to be written to: another core's copy goes meanwhile.
[[gnu::always_inline]] inline void prefetch_to_write(const void* at) noexcept {
#if defined(__x86_64__)
  __asm__ __volatile__("prefetchw %0" ::"m"(*static_cast<const char*>(at)));
#else
  __builtin_prefetch(at, 1, 3);
  __asm__ __volatile__("" ::"r"(at));
#endif
}

// Into the second: for groups, which have more misses in flight than the first level's miss buffers.
[[gnu::always_inline]] inline void prefetch_second_level(const void* at) noexcept {
#if defined(__x86_64__)
  __asm__ __volatile__("prefetcht1 %0" ::"m"(*static_cast<const char*>(at)));
#else
  __builtin_prefetch(at, 0, 2);
  __asm__ __volatile__("" ::"r"(at));
#endif
}

}  // namespace tern::detail

#endif  // TERN_ENGINE_PREFETCH_H_
