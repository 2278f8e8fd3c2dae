// Letting go of a file's lock, and knowing whether it is this process that has it. Part of the platform interface (platform.h, which takes
// the lock: lock_file).
#ifndef TERN_ALLOC_PLATFORM_LOCK_H_
#define TERN_ALLOC_PLATFORM_LOCK_H_

#include <cstdint>

#include "alloc/platform.h"

namespace tern::alloc::platform {

// Lets go of the file's lock for all copies of the descriptor. Closing one lets go only with the last of them, and a forked child may
// live on with its own. So only the process that took the lock may call this: a child would let go of its parent's.
void unlock_file(File file) noexcept;

// Of this process: another one in a forked child. Never 0.
std::uint64_t process_id() noexcept;

}  // namespace tern::alloc::platform

#endif  // TERN_ALLOC_PLATFORM_LOCK_H_
