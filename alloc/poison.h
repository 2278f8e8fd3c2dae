// Free blocks are poisoned under AddressSanitizer: a use after free inside the arena is found like
// one of malloc's.
#ifndef TERN_ALLOC_POISON_H_
#define TERN_ALLOC_POISON_H_

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#define TERN_ALLOC_POISONS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TERN_ALLOC_POISONS 1
#endif
#endif

#if defined(TERN_ALLOC_POISONS)
#include <sanitizer/asan_interface.h>
#endif

namespace tern::alloc {

inline void poison([[maybe_unused]] const volatile void* at,
                   [[maybe_unused]] std::size_t bytes) noexcept {
#if defined(TERN_ALLOC_POISONS)
  ASAN_POISON_MEMORY_REGION(at, bytes);
#endif
}

inline void unpoison([[maybe_unused]] const volatile void* at,
                     [[maybe_unused]] std::size_t bytes) noexcept {
#if defined(TERN_ALLOC_POISONS)
  ASAN_UNPOISON_MEMORY_REGION(at, bytes);
#endif
}

}  // namespace tern::alloc

#endif  // TERN_ALLOC_POISON_H_
