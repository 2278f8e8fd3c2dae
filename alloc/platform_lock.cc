#include "alloc/platform_lock.h"

#include <sys/file.h>
#include <unistd.h>

namespace tern::alloc::platform {

void unlock_file(File file) noexcept { ::flock(file.descriptor, LOCK_UN); }

std::uint64_t process_id() noexcept { return static_cast<std::uint64_t>(::getpid()); }

}  // namespace tern::alloc::platform
