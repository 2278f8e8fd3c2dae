#include "bench/machine.h"

#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "bench/workload.h"

namespace tern::bench {
namespace {

double seconds_of(clockid_t clock) noexcept {
  timespec t;
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

std::string first_line(const char* path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

// The number that follows `key` in a file of "key value" lines, in its own unit; 0: not there.
std::uint64_t number_after(const char* path, const std::string& key) {
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    if (line.compare(0, key.size(), key) == 0)
      return std::strtoull(line.c_str() + key.size(), nullptr, 10);
  }
  return 0;
}

std::string compiler_name() {
#if defined(__clang__)
  return "clang " __clang_version__;
#else
  return "g++ " __VERSION__;
#endif
}

}  // namespace

double wall_seconds() noexcept { return seconds_of(CLOCK_MONOTONIC); }
double thread_cpu_seconds() noexcept { return seconds_of(CLOCK_THREAD_CPUTIME_ID); }

double nanoseconds_per_tick() noexcept {
  static const double ratio = [] {
    const double wall = wall_seconds();
    const std::uint64_t from = ticks();
    while (wall_seconds() - wall < 0.02) {
    }
    const std::uint64_t to = ticks();
    return (wall_seconds() - wall) * 1e9 / static_cast<double>(to - from);
  }();
  return ratio;
}

std::uint64_t ticks_overhead() noexcept {
  static const std::uint64_t least = [] {
    std::uint64_t best = ~std::uint64_t{0};
    for (int i = 0; i < 10'000; ++i) {
      const std::uint64_t from = ticks();
      best = std::min(best, ticks() - from);
    }
    return best;
  }();
  return least;
}

std::vector<int> processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> found;
  // The set of the whole process, not that of a thread that is already pinned.
  if (sched_getaffinity(getpid(), sizeof set, &set) == 0) {
    for (int i = 0; i < CPU_SETSIZE; ++i) {
      if (CPU_ISSET(i, &set)) found.push_back(i);
    }
  }
  if (found.empty()) found.push_back(0);
  return found;
}

bool pin(unsigned index) noexcept {
  static const std::vector<int> all = processors();
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<unsigned>(all[index % all.size()]), &set);
  return pthread_setaffinity_np(pthread_self(), sizeof set, &set) == 0;
}

MemoryUse memory_use() {
  MemoryUse use;
  use.resident_bytes = number_after("/proc/self/smaps_rollup", "Rss:") * 1024;
  use.huge_bytes = number_after("/proc/self/smaps_rollup", "AnonHugePages:") * 1024;
  const struct mallinfo2 heap = mallinfo2();
  use.heap_bytes = heap.uordblks + heap.hblkhd;
  return use;
}

Machine describe_machine() {
  Machine m;
  {
    std::ifstream in("/proc/cpuinfo");
    for (std::string line; std::getline(in, line);) {
      if (line.rfind("model name", 0) == 0) {
        m.processor = line.substr(std::min(line.size(), line.find(':') + 2));
        break;
      }
    }
  }
  utsname name{};
  if (uname(&name) == 0)
    m.kernel = std::string(name.sysname) + ' ' + name.release + ' ' + name.machine;
  if (m.processor.empty()) m.processor = name.machine;
  m.compiler = compiler_name();
  m.governor = first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
  m.huge_pages = first_line("/sys/kernel/mm/transparent_hugepage/enabled");
  m.processors = static_cast<unsigned>(processors().size());
  m.memory_bytes = number_after("/proc/meminfo", "MemTotal:") * 1024;
  // What one processor reaches; sysconf tells that of the whole package on some machines.
  for (int level = 4; level >= 0 && m.last_cache_bytes == 0; --level) {
    const std::string size = first_line(
        ("/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(level) + "/size").c_str());
    m.last_cache_bytes = std::strtoull(size.c_str(), nullptr, 10) * 1024;
  }
  std::istringstream(first_line("/proc/loadavg")) >> m.load;
  return m;
}

std::string commit() {
  std::string text;
  if (FILE* git = popen("git describe --always --dirty --abbrev=12 2>/dev/null", "r")) {
    char line[128];
    if (std::fgets(line, sizeof line, git) != nullptr) text = line;
    pclose(git);
  }
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  return text.empty() ? "unknown" : text;
}

Region::Region(std::size_t bytes, bool huge) {
  constexpr std::size_t kHuge = std::size_t{2} << 20;
  size_ = (bytes + kHuge - 1) / kHuge * kHuge;
  void* const at = mmap(nullptr, size_, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) {
    size_ = 0;
    return;
  }
  data_ = static_cast<char*>(at);
  madvise(data_, size_, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  for (std::size_t i = 0; i < size_; i += 64) data_[i] = static_cast<char>(i >> 6);
}

Region::~Region() {
  if (data_ != nullptr) munmap(data_, size_);
}

double random_lines_mops(const Region& region, unsigned in_flight, bool second_level,
                         double seconds) {
  const std::uint64_t lines = region.size() / 64;
  if (lines == 0) return 0;
  constexpr unsigned kInFlightMax = 256;
  in_flight = std::min(in_flight, kInFlightMax);
  std::uint32_t group[2][kInFlightMax];
  // A linear congruential generator: its 1 ns hides behind the memory, which a better one's 3 ns
  // would not.
  std::uint64_t state = mix(lines);
  const auto announce = [&](std::uint32_t* at) {
    for (unsigned i = 0; i < in_flight; ++i) {
      state = state * 0x5851F42D4C957F2Du + 0x14057B7EF767814Fu;
      const auto line = static_cast<std::uint32_t>(((state >> 32) * lines) >> 32);
      at[i] = line;
      const char* address = region.data() + std::uint64_t{line} * 64;
      if (second_level) {
        __builtin_prefetch(address, 0, 2);
      } else {
        __builtin_prefetch(address, 0, 3);
      }
    }
  };
  std::uint64_t sum = 0, count = 0;
  announce(group[0]);
  unsigned turn = 0;
  const double deadline = wall_seconds() + seconds, from = thread_cpu_seconds();
  double cpu = 0;
  do {
    for (unsigned round = 0; round < 1024; ++round, turn ^= 1) {
      // The next group's lines travel while this one's are read: in_flight to twice that many.
      announce(group[turn ^ 1]);
      for (unsigned i = 0; i < in_flight; ++i) {
        sum += static_cast<unsigned char>(region.data()[std::uint64_t{group[turn][i]} * 64]);
      }
    }
    count += std::uint64_t{1024} * in_flight;
    cpu = thread_cpu_seconds() - from;
  } while (wall_seconds() < deadline);
  // The sum is used, so the reads happen.
  return static_cast<double>(count + (sum == ~std::uint64_t{0})) / cpu / 1e6;
}

}  // namespace tern::bench
