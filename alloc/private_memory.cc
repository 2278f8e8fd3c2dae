// mimalloc is loaded, not linked. Linked by libtern.so even privately, Debian's libmimalloc.so puts
// its malloc and operator new into the search order of every program that links Tern; opened with
// RTLD_LOCAL, its names reach nobody but this file. A machine that lacks it runs on the system's
// malloc.
#include "alloc/private_memory.h"

#include <cstdlib>

#include "alloc/platform.h"

#if defined(TERN_ALLOCATOR_MIMALLOC)
#include <dlfcn.h>
#endif

namespace tern::alloc {
namespace {

struct Calls {
  void* (*allocate)(std::size_t);
  void* (*allocate_aligned)(std::size_t, std::size_t);  // bytes, alignment
  void (*free)(void*);
};

// aligned_alloc wants a multiple of the alignment.
void* system_allocate_aligned(std::size_t bytes, std::size_t alignment) {
  return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}

constexpr Calls kSystem{std::malloc, system_allocate_aligned, std::free};

#if defined(TERN_ALLOCATOR_MIMALLOC)
constexpr char kLibrary[] =
    "libmimalloc.so.2";  // mimalloc 2.x: the interface that these three have had since 2.0

template <class Fn>
bool find(void* library, const char* name, Fn& to) noexcept {
  void* const symbol = dlsym(library, name);
  to = reinterpret_cast<Fn>(symbol);
  return symbol != nullptr;
}

Calls choose() noexcept {
  Calls found{};
  void* const library = dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
  const bool complete = library != nullptr && find(library, "mi_malloc", found.allocate) &&
                        find(library, "mi_malloc_aligned", found.allocate_aligned) &&
                        find(library, "mi_free", found.free);
  return complete ? found : kSystem;
}

// Once for the process, and what it decides holds for ever, as a block goes back where it came
// from. A static with its guard: opening a library takes the loader's lock anyway, and nothing on
// the path of a read or write comes here.
const Calls& calls() noexcept {
  static const Calls once = choose();
  return once;
}
#else
const Calls& calls() noexcept { return kSystem; }
#endif

}  // namespace

void* private_allocate(std::size_t bytes) noexcept {
  if (platform::fault(platform::Site::kPrivateAllocate) != 0) return nullptr;
  return calls().allocate(bytes < 16 ? 16 : bytes);  // mimalloc aligns smaller blocks to 8 only
}

void* private_allocate_aligned(std::size_t bytes, std::size_t alignment) noexcept {
  if (platform::fault(platform::Site::kPrivateAllocate) != 0) return nullptr;
  if (alignment < 16) alignment = 16;
  if (bytes > SIZE_MAX - alignment) return nullptr;
  return calls().allocate_aligned(bytes < 16 ? 16 : bytes, alignment);
}

void private_free(void* block) noexcept {
  if (block != nullptr) calls().free(block);
}

}  // namespace tern::alloc
