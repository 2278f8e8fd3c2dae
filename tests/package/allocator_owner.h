// Which library serves malloc and operator new in this process; used by the tests that a host's stay its own.
#ifndef TERN_TESTS_PACKAGE_ALLOCATOR_OWNER_H_
#define TERN_TESTS_PACKAGE_ALLOCATOR_OWNER_H_

#include <dlfcn.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

namespace tern::testing {

inline constexpr const char* kNames[] = {
    "malloc", "calloc", "realloc", "free",   "posix_memalign", "aligned_alloc", "malloc_usable_size",
    "_Znwm",  "_Znam",  "_ZdlPv",  "_ZdaPv", "_ZdlPvm",        "_ZnwmSt11align_val_t",
};

inline const char* library_of(const void* address) {
  Dl_info info{};
  return dladdr(address, &info) != 0 && info.dli_fname != nullptr ? info.dli_fname : "(unknown)";
}

inline bool is_foreign(const char* name, const void* address) {
  const char* library = library_of(address);
  const bool foreign = std::strstr(library, "mimalloc") != nullptr || std::strstr(library, "libtern") != nullptr;
  if (foreign) std::printf("replaced: %s is in %s\n", name, library);
  return foreign;
}

// The number of allocation functions that mimalloc or Tern took over; says which.
inline int count_foreign() {
  int count = 0;
  for (const char* name : kNames) {
    const void* address = dlsym(RTLD_DEFAULT, name);
    if (address == nullptr) {
      std::printf("not found: %s\n", name);
      ++count;
    } else if (is_foreign(name, address)) {
      ++count;
    }
  }
  // What this program itself calls, as its own linker resolved it.
  void* (*const volatile own_malloc)(std::size_t) = &std::malloc;
  void* (*const volatile own_new)(std::size_t) = &::operator new;
  if (is_foreign("the program's malloc", reinterpret_cast<const void*>(own_malloc))) ++count;
  if (is_foreign("the program's operator new", reinterpret_cast<const void*>(own_new))) ++count;
  return count;
}

}  // namespace tern::testing

#endif  // TERN_TESTS_PACKAGE_ALLOCATOR_OWNER_H_
