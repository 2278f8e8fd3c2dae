// A program that links Tern keeps the malloc and the operator new that it had before: whichever library they came
// from, it isn't mimalloc. (Linking libmimalloc.so from libtern.so, even privately, replaces operator new in hosts
// whose search order meets it before the C++ library, and from libtern.a malloc as well: so it is loaded instead.)
#include <tern/store.h>

#include "tests/package/allocator_owner.h"

#include <dlfcn.h>

#include <cstddef>
#include <cstdio>
#include <cstring>
#include <new>
#include <string_view>

int main() {
  int foreign = tern::testing::count_foreign();
  tern::Options options;
  options.memory_bytes = std::size_t{8} << 20;
  tern::Result<tern::Store> store = tern::Store::open(options);
  if (!store) {
    std::printf("open: %s\n", tern::status_name(store.status()));
    return 1;
  }
  // A value past what lies in the object itself makes the library allocate from its private memory.
  constexpr std::size_t kSize = 100'000;
  char* const bytes = new char[kSize];
  std::memset(bytes, 'x', kSize);
  const bool was_set = store->set("key", std::string_view(bytes, kSize)).ok();
  const tern::Lookup<tern::Value> copied = store->get("key");
  const bool same = was_set && copied && copied->size() == kSize && std::memcmp(copied->data(), bytes, kSize) == 0;
  delete[] bytes;
  if (!same) {
    std::printf("the store lost a value\n");
    return 1;
  }
  foreign += tern::testing::count_foreign();
#if defined(TERN_EXPECT_MIMALLOC)
  // Else this test would say nothing: mimalloc must be in this process for its names to be kept out of the way.
  if (dlopen("libmimalloc.so.2", RTLD_NOW | RTLD_NOLOAD) == nullptr) {
    std::printf("mimalloc was not loaded\n");
    return 1;
  }
#endif
  std::printf(foreign == 0 ? "the host's allocator is its own\n" : "the host's allocator was replaced\n");
  return foreign == 0 ? 0 : 1;
}
