// What the benchmark asks of the machine: clocks, pinning, memory use, a description of itself, and
// the limit that group calls are measured against (random cache lines a second).
#ifndef TERN_BENCH_MACHINE_H_
#define TERN_BENCH_MACHINE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#if defined(__x86_64__)
#include <x86intrin.h>
#else
#include <time.h>
#endif

namespace tern::bench {

double wall_seconds() noexcept;        // CLOCK_MONOTONIC
double thread_cpu_seconds() noexcept;  // CLOCK_THREAD_CPUTIME_ID

// Ticks around one operation: what came before has finished when they are read. Without rdtscp: the
// system's clock.
inline std::uint64_t ticks() noexcept {
#if defined(__x86_64__)
  unsigned processor;
  const std::uint64_t t = __rdtscp(&processor);
  _mm_lfence();
  return t;
#else
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000u +
         static_cast<std::uint64_t>(t.tv_nsec);
#endif
}
double nanoseconds_per_tick() noexcept;  // measured once, 20 ms
// What two reads of ticks() with nothing between them differ by.
std::uint64_t ticks_overhead() noexcept;

// Processors that this process may use.
std::vector<int> processors();
// Pins the calling thread to the index-th of them (modulo their number).
bool pin(unsigned index) noexcept;

struct MemoryUse {
  std::uint64_t resident_bytes = 0;
  std::uint64_t huge_bytes = 0;  // of them in transparent huge pages
  std::uint64_t heap_bytes = 0;  // handed out by malloc, with its headers
};
MemoryUse memory_use();

struct Machine {
  std::string processor;
  std::string kernel;
  std::string compiler;
  std::string governor;  // empty: not told
  std::string huge_pages;
  unsigned processors = 0;
  std::uint64_t memory_bytes = 0;
  std::uint64_t last_cache_bytes = 0;
  double load = 0;  // of the machine, last minute
};
Machine describe_machine();
std::string commit();  // "unknown" outside of a checkout

// Memory with huge pages asked for (or refused), touched.
class Region {
 public:
  Region(std::size_t bytes, bool huge);
  ~Region();
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;
  char* data() const noexcept { return data_; }
  std::size_t size() const noexcept { return size_; }

 private:
  char* data_ = nullptr;
  std::size_t size_ = 0;
};

// Random lines of `region` a second (millions of the thread's CPU time), `in_flight` of them
// prefetched into the second-level cache (`second_level`) or the first before they are read.
double random_lines_mops(const Region& region, unsigned in_flight, bool second_level,
                         double seconds);

}  // namespace tern::bench

#endif  // TERN_BENCH_MACHINE_H_
