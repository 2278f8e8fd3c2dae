#include "alloc/platform_shared.h"

#include <cerrno>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace tern::alloc::platform {

void* map_shared(File file, std::uint64_t at, std::size_t bytes, std::size_t alignment) noexcept {
  // Addresses first, as the kernel doesn't align mappings of a file.
  void* const room = reserve(bytes, alignment);
  if (room == nullptr) return nullptr;
  void* const mapped = mmap(room, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file.descriptor, static_cast<off_t>(at));
  if (mapped != MAP_FAILED) return mapped;
  release(room, bytes);
  return nullptr;
}

const void* map_for_reading(File file, std::size_t bytes) noexcept {
  if (fault(Site::kReserve) != 0) return nullptr;
  void* const mapped = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, file.descriptor, 0);
  return mapped != MAP_FAILED ? mapped : nullptr;
}

int back_file(File file, std::uint64_t at, std::uint64_t bytes) noexcept {
  if (const int planned = fault({.site = Site::kBack, .descriptor = file.descriptor, .bytes = bytes, .at = at})) return planned;
  while (::fallocate(file.descriptor, 0, static_cast<off_t>(at), static_cast<off_t>(bytes)) != 0) {
    if (errno != EINTR) return errno;
  }
  return 0;
}

bool decommit_shared(void* at, std::size_t bytes) noexcept {
  return fault(Site::kDecommit) == 0 && madvise(at, bytes, MADV_REMOVE) == 0;
}

int next_data(File file, std::uint64_t at, std::uint64_t* begin, std::uint64_t* end) noexcept {
  if (const int planned = fault({.site = Site::kRead, .descriptor = file.descriptor, .at = at})) return planned;
  const off_t first = ::lseek(file.descriptor, static_cast<off_t>(at), SEEK_DATA);
  if (first < 0) return errno;
  const off_t last = ::lseek(file.descriptor, first, SEEK_HOLE);
  if (last < 0) return errno;
  *begin = static_cast<std::uint64_t>(first);
  *end = static_cast<std::uint64_t>(last);
  return 0;
}

bool make_private(void* at, std::size_t bytes, File file, std::uint64_t file_at) noexcept {
  return mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, file.descriptor,
              static_cast<off_t>(file_at)) != MAP_FAILED;
}

bool boot_id(char (&id)[kBootIdBytes]) noexcept {
  for (char& c : id) c = 0;
  int error = 0;
  File file = open_file("/proc/sys/kernel/random/boot_id", OpenMode::kRead, &error);
  if (error != 0) return false;
  const IoResult got = read_file(file, id, kBootIdBytes - 1, 0);
  close_file(file);
  for (char& c : id) {
    if (c == '\n') c = 0;
  }
  return got.ok() && id[0] != 0;
}

}  // namespace tern::alloc::platform
