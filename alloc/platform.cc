#include "alloc/platform.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

// Numbers of the kernel's interface that Debian 12's C library doesn't name.
#if !defined(MADV_POPULATE_WRITE)
#define MADV_POPULATE_WRITE 23
#endif
#if !defined(MADV_COLLAPSE)
#define MADV_COLLAPSE 25
#endif

namespace tern::alloc::platform {

int planned_fault(FaultPlan& plan, Site site, const FileCall* about) noexcept {
  if ((plan.sites & site_bit(site)) == 0) return 0;
  if (plan.watch != nullptr && about != nullptr) plan.watch(plan.watch_user, *about);
  // Relaxed: a counter; which of two concurrent calls is the n-th is nobody's business.
  const std::uint64_t call = plan.calls.fetch_add(1, std::memory_order_relaxed) + 1;
  if (plan.fail_at == 0 || call < plan.fail_at || call - plan.fail_at >= plan.fail_count) return 0;
  plan.failed.fetch_add(1, std::memory_order_relaxed);
  if (plan.error != 0) return plan.error;
  if (site == Site::kStartThread) return EAGAIN;
  if (site == Site::kBack) return ENOSPC;
  return site <= Site::kPopulate || site == Site::kPrivateAllocate ? ENOMEM : EIO;
}

namespace {

template <class Call>
bool advise(Site site, Call call) noexcept {
  if (const int planned = fault(site)) {
    errno = planned;
    return false;
  }
  return call() == 0;
}

std::uint64_t read_clock(clockid_t clock) noexcept {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000u +
         static_cast<std::uint64_t>(t.tv_nsec);
}

// Huge-page bytes of the mappings that overlap the range, from the text that describes the process.
std::size_t huge_bytes_of_mappings(const void* at, std::size_t bytes) noexcept {
  std::FILE* file = std::fopen("/proc/self/smaps", "re");
  if (file == nullptr) return 0;
  constexpr char kField[] = "AnonHugePages:";
  const auto begin = reinterpret_cast<std::uintptr_t>(at);
  std::size_t sum = 0;
  bool inside = false;
  char line[512];
  while (std::fgets(line, sizeof line, file) != nullptr) {
    char* end = nullptr;
    const unsigned long long from = std::strtoull(line, &end, 16);
    if (end != line && *end == '-') {
      const unsigned long long to = std::strtoull(end + 1, &end, 16);
      inside = from < begin + bytes && to > begin;
    } else if (inside && std::strncmp(line, kField, sizeof kField - 1) == 0) {
      sum += std::strtoull(line + sizeof kField - 1, nullptr, 10) * 1024;
    }
  }
  std::fclose(file);
  return sum < bytes ? sum
                     : bytes;  // a neighbour with the same flags may be part of the same mapping
}

}  // namespace

void* reserve(std::size_t bytes, std::size_t alignment) noexcept {
  if (fault(Site::kReserve) != 0) return nullptr;
  if (bytes == 0 || bytes > SIZE_MAX - alignment) return nullptr;
  const std::size_t wide = bytes + alignment;
  void* raw = mmap(nullptr, wide, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (raw == MAP_FAILED) return nullptr;
  auto* first = static_cast<std::byte*>(raw);
  const std::size_t skip =
      (alignment - reinterpret_cast<std::uintptr_t>(raw) % alignment) % alignment;
  if (skip != 0) munmap(first, skip);
  if (const std::size_t rest = wide - skip - bytes; rest != 0) munmap(first + skip + bytes, rest);
  return first + skip;
}

void release(void* at, std::size_t bytes) noexcept {
  if (at != nullptr) munmap(at, bytes);
}

bool decommit(void* at, std::size_t bytes) noexcept {
  return advise(Site::kDecommit, [&] { return madvise(at, bytes, MADV_DONTNEED); });
}

bool advise_huge(void* at, std::size_t bytes) noexcept {
  return advise(Site::kAdviseHuge, [&] { return madvise(at, bytes, MADV_HUGEPAGE); });
}

bool collapse_huge(void* at, std::size_t bytes) noexcept {
  return advise(Site::kAdviseHuge, [&] { return madvise(at, bytes, MADV_COLLAPSE); });
}

bool populate(void* at, std::size_t bytes) noexcept {
  if (fault(Site::kPopulate) != 0) return false;
  while (madvise(at, bytes, MADV_POPULATE_WRITE) != 0) {
    if (errno == EAGAIN || errno == EINTR) continue;
    if (errno != EINVAL) return false;
    // A kernel before 5.14: add nothing to one byte of each page, atomically, as others may use it
    // already.
    auto* first = static_cast<std::byte*>(at);
    for (std::size_t i = 0; i < bytes; i += kPageBytes) {
      std::atomic_ref<unsigned char>(reinterpret_cast<unsigned char&>(first[i]))
          .fetch_add(0, std::memory_order_relaxed);  // relaxed: publishes nothing
    }
    break;
  }
  return true;
}

std::size_t huge_bytes(const void* at, std::size_t bytes) noexcept {
  return huge_bytes_of_mappings(at, bytes);
}

std::size_t resident_bytes(const void* at, std::size_t bytes) noexcept {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  unsigned char pages[4096];
  std::size_t sum = 0;
  auto* next = static_cast<char*>(const_cast<void*>(at));
  while (bytes > 0) {
    const std::size_t part = bytes < page * sizeof pages ? bytes : page * sizeof pages;
    if (mincore(next, part, pages) != 0) return sum;
    for (std::size_t i = 0; i * page < part; ++i) sum += (pages[i] & 1u) * page;
    next += part;
    bytes -= part;
  }
  return sum;
}

std::uint64_t monotonic_ns() noexcept { return read_clock(CLOCK_BOOTTIME); }
std::uint64_t thread_cpu_ns() noexcept { return read_clock(CLOCK_THREAD_CPUTIME_ID); }
std::uint64_t wall_ns() noexcept { return read_clock(CLOCK_REALTIME); }

bool random_bytes(void* to, std::size_t bytes) noexcept {
  if (fault(Site::kRandom) != 0) return false;
  auto* next = static_cast<std::byte*>(to);
  while (bytes > 0) {
    const ssize_t got = getrandom(next, bytes, 0);
    if (got < 0) {
      if (errno == EINTR) continue;
      return false;
    }
    next += got;
    bytes -= static_cast<std::size_t>(got);
  }
  return true;
}

unsigned hardware_threads() noexcept {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    if (const int count = CPU_COUNT(&set); count > 0) return static_cast<unsigned>(count);
  }
  const long online = sysconf(_SC_NPROCESSORS_ONLN);  // more processors than the set can name
  return online > 0 ? static_cast<unsigned>(online) : 1u;
}

bool pin_thread(unsigned n) noexcept {
  if (fault(Site::kPinThread) != 0) return false;
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return false;
  const int count = CPU_COUNT(&allowed);
  if (count <= 0) return false;
  unsigned left = n % static_cast<unsigned>(count);
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed) || left-- != 0) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    return sched_setaffinity(0, sizeof one, &one) == 0;
  }
  return false;
}

void sleep_ns(std::uint64_t ns) noexcept {
  timespec t{};
  t.tv_sec = static_cast<time_t>(ns / 1'000'000'000u);
  t.tv_nsec = static_cast<long>(ns % 1'000'000'000u);
  nanosleep(&t, nullptr);  // interrupted: shorter
}

void yield_processor() noexcept { sched_yield(); }

std::uint64_t thread_id() noexcept { return static_cast<std::uint64_t>(syscall(SYS_gettid)); }

bool at_fork(void (*before)(), void (*in_parent)(), void (*in_child)()) noexcept {
  if (fault(Site::kAtFork) != 0) return false;
  return pthread_atfork(before, in_parent, in_child) == 0;
}

File open_file(const char* path, OpenMode mode, int* error) noexcept {
  *error = fault({.site = Site::kOpen, .path = path, .bytes = static_cast<std::uint64_t>(mode)});
  if (*error != 0) return {};
  int flags = O_CLOEXEC;
  switch (mode) {
    case OpenMode::kRead:
      flags |= O_RDONLY | O_NONBLOCK;  // of a pipe: its end, not its writer
      break;
    case OpenMode::kCreate:
      flags |= O_RDWR | O_CREAT | O_EXCL;
      break;
    case OpenMode::kReadWrite:
      flags |= O_RDWR;
      break;
    case OpenMode::kDirectory:
      flags |= O_RDONLY | O_DIRECTORY;
      break;
    case OpenMode::kKeep:
      flags |= O_RDWR | O_CREAT | O_NOFOLLOW;
      break;
  }
  File file;
  for (;;) {
    file.descriptor = ::open(path, flags, 0600);
    if (file.is_open()) return file;
    if (errno == EINTR) continue;
    // A new file takes the place of what has the name. To cut that off would follow a link, of either kind, to somebody's file.
    if (errno != EEXIST || mode != OpenMode::kCreate || (::unlink(path) != 0 && errno != ENOENT)) break;
  }
  *error = errno;
  return file;
}

void close_file(File& file) noexcept {
  if (file.is_open())
    ::close(file.descriptor);  // not repeated on EINTR: Linux has closed it by then
  file.descriptor = -1;
}

IoResult read_file(File file, void* to, std::size_t bytes, std::uint64_t at) noexcept {
  if (const int planned = fault({.site = Site::kRead, .descriptor = file.descriptor, .bytes = bytes, .at = at})) return {0, planned};
  for (;;) {
    const ssize_t got = ::pread(file.descriptor, to, bytes, static_cast<off_t>(at));
    if (got >= 0) return {static_cast<std::size_t>(got), 0};
    if (errno != EINTR) return {0, errno};
  }
}

IoResult write_file(File file, const void* from, std::size_t bytes, std::uint64_t at) noexcept {
  if (const int planned =
          fault({.site = Site::kWrite, .descriptor = file.descriptor, .data = from, .bytes = bytes, .at = at})) {
    return {0, planned};
  }
  for (;;) {
    const ssize_t put = ::pwrite(file.descriptor, from, bytes, static_cast<off_t>(at));
    if (put >= 0) return {static_cast<std::size_t>(put), 0};
    if (errno != EINTR) return {0, errno};
  }
}

int sync_file(File file) noexcept {
  if (const int planned = fault({.site = Site::kSync, .descriptor = file.descriptor})) return planned;
  return ::fsync(file.descriptor) == 0 ? 0 : errno;
}

int truncate_file(File file, std::uint64_t bytes) noexcept {
  if (const int planned = fault({.site = Site::kTruncate, .descriptor = file.descriptor, .bytes = bytes})) return planned;
  return ::ftruncate(file.descriptor, static_cast<off_t>(bytes)) == 0 ? 0 : errno;
}

int rename_file(const char* from, const char* to) noexcept {
  if (const int planned = fault({.site = Site::kRename, .path = from, .to = to})) return planned;
  return ::rename(from, to) == 0 ? 0 : errno;
}

int remove_file(const char* path) noexcept {
  if (const int planned = fault({.site = Site::kRemove, .path = path})) return planned;
  return ::unlink(path) == 0 ? 0 : errno;
}

IoResult file_size(File file) noexcept {
  if (const int planned = fault({.site = Site::kFileSize, .descriptor = file.descriptor})) return {0, planned};
  struct stat about {};
  if (::fstat(file.descriptor, &about) != 0) return {0, errno};
  return {static_cast<std::size_t>(about.st_size), 0};
}

int lock_file(File file) noexcept {
  if (const int planned = fault({.site = Site::kLock, .descriptor = file.descriptor})) return planned;
  while (::flock(file.descriptor, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EINTR) return errno;
  }
  return 0;
}

void begin_writeback(File file, std::uint64_t at, std::uint64_t bytes) noexcept {
  if (fault({.site = Site::kWriteback, .descriptor = file.descriptor, .bytes = bytes, .at = at}) != 0) return;
  ::sync_file_range(file.descriptor, static_cast<off64_t>(at), static_cast<off64_t>(bytes), SYNC_FILE_RANGE_WRITE);
}

}  // namespace tern::alloc::platform
