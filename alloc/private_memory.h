// Memory that is private to the process and outside the store's budget: thread states, buffers,
// magazines.
//
// Over mimalloc's explicit calls or the system's malloc, as the build option TERN_ALLOCATOR says.
// The host program's malloc is never replaced. Bounded by what the callers document; never on a
// read's or write's path.
#ifndef TERN_ALLOC_PRIVATE_MEMORY_H_
#define TERN_ALLOC_PRIVATE_MEMORY_H_

#include <cstddef>
#include <cstdint>

namespace tern::alloc {

// A block of at least `bytes` (0 counts as 1), aligned to 16; nullptr when memory is out. Any
// thread may free.
[[nodiscard]] void* private_allocate(std::size_t bytes) noexcept;
// `alignment` is a power of two; `private_free` frees it too.
[[nodiscard]] void* private_allocate_aligned(std::size_t bytes, std::size_t alignment) noexcept;
void private_free(void* block) noexcept;

// A standard-style allocator for containers off the hot path. `allocate` answers nullptr when
// memory is out, as the library builds without exceptions: use it with containers that are reserved
// and checked, or with code that tests the pointer.
template <class T>
struct PrivateAllocator {
  using value_type = T;
  PrivateAllocator() = default;
  template <class U>
  PrivateAllocator(const PrivateAllocator<U>&) noexcept {}

  [[nodiscard]] T* allocate(std::size_t count) noexcept {
    if (count > SIZE_MAX / sizeof(T)) return nullptr;
    if constexpr (alignof(T) > 16) {
      return static_cast<T*>(private_allocate_aligned(count * sizeof(T), alignof(T)));
    } else {
      return static_cast<T*>(private_allocate(count * sizeof(T)));
    }
  }
  void deallocate(T* block, std::size_t) noexcept { private_free(block); }

  template <class U>
  bool operator==(const PrivateAllocator<U>&) const noexcept {
    return true;
  }
};

}  // namespace tern::alloc

#endif  // TERN_ALLOC_PRIVATE_MEMORY_H_
