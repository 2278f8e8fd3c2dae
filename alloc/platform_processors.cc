#include "alloc/platform_processors.h"

#include <unistd.h>

namespace tern::alloc::platform {

unsigned online_processors() noexcept {
  const long online = sysconf(_SC_NPROCESSORS_ONLN);
  return online > 0 ? static_cast<unsigned>(online) : 1u;
}

}  // namespace tern::alloc::platform
