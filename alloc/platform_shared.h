// Memory that outlives the process: a file that is mapped, so that what is written there is the file's. Part of the platform
// interface (platform.h).
#ifndef TERN_ALLOC_PLATFORM_SHARED_H_
#define TERN_ALLOC_PLATFORM_SHARED_H_

#include <cstddef>
#include <cstdint>

#include "alloc/platform.h"

namespace tern::alloc::platform {

// Maps [at, at + bytes) of the file for reading and writing, at a multiple of `alignment`. A page that the file has no room for
// is a fault (SIGBUS): back_file comes before the first touch. nullptr when the kernel refuses; `release` ends it.
void* map_shared(File file, std::uint64_t at, std::size_t bytes, std::size_t alignment) noexcept;
// The first `bytes` for reading alone. Nothing that next_data hasn't named may be touched.
const void* map_for_reading(File file, std::size_t bytes) noexcept;

// Takes the pages of the range from the file system, zero where they hold nothing yet: from here on touching them can't fail. 0, or
// the error number: ENOSPC, or EOPNOTSUPP where the file system can't.
int back_file(File file, std::uint64_t at, std::uint64_t bytes) noexcept;
// Gives the pages of a shared mapping back to the file system; the range then reads as zero. False: nothing has changed.
bool decommit_shared(void* at, std::size_t bytes) noexcept;

// The first run of pages from `at` on that hold something: [*begin, *end). 0, ENXIO: there is none, or another error number.
int next_data(File file, std::uint64_t at, std::uint64_t* begin, std::uint64_t* end) noexcept;

// From here on this process writes to a copy of what it has mapped at `at`, and to the file no more: for a forked child. False:
// the kernel refuses.
bool make_private(void* at, std::size_t bytes, File file, std::uint64_t file_at) noexcept;

// Names this start of the machine, as text that ends in zeros. False: it can't be known.
inline constexpr std::size_t kBootIdBytes = 40;
bool boot_id(char (&id)[kBootIdBytes]) noexcept;

}  // namespace tern::alloc::platform

#endif  // TERN_ALLOC_PLATFORM_SHARED_H_
