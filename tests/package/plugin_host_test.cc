// A host that knows nothing of Tern loads it with a plugin, late and with global names: the library's thread-local
// storage must still find room, and the host's malloc and operator new must stay its own.
//
//   plugin_host_test LIBTERN.SO
#include "tests/package/allocator_owner.h"

#include <dlfcn.h>

#include <cstdio>
#include <cstring>

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  int foreign = tern::testing::count_foreign();
  void* const library = dlopen(argv[1], RTLD_NOW | RTLD_GLOBAL);
  if (library == nullptr) {
    std::printf("dlopen: %s\n", dlerror());
    return 1;
  }
  // tern::status_name(tern::Status), as any C++ plugin would call it.
  using StatusName = const char* (*)(unsigned char);
  const auto status_name = reinterpret_cast<StatusName>(dlsym(library, "_ZN4tern11status_nameENS_6StatusE"));
  if (status_name == nullptr || std::strlen(status_name(1)) == 0) {
    std::printf("tern::status_name can't be called\n");
    return 1;
  }
  foreign += tern::testing::count_foreign();
  std::printf(foreign == 0 ? "the host's allocator is its own\n" : "the host's allocator was replaced\n");
  return foreign == 0 ? 0 : 1;
}
