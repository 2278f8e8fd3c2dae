// Whether a snapshot should be read or mapped: what a block costs until it is verified, through pread and in fresh private
// mappings, and what each read afterwards costs in a file's pages and on huge pages of memory. A program, not a test; beside it
// persist/README.md argues.
//
//   bench_mapping FOLDER [MIB]     a file of so many MiB (256) is made there; it stays in the page cache
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "persist/format.h"
#include "simd/checksum.h"

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kBlock = tern::persist::kBlockBytes;
constexpr unsigned kRounds = 7;

double ns_since(Clock::time_point start) { return std::chrono::duration<double, std::nano>(Clock::now() - start).count(); }

void require(bool ok, const char* what) {
  if (ok) return;
  std::perror(what);
  std::exit(1);
}

double median(std::vector<double> of) {
  std::sort(of.begin(), of.end());
  return of[of.size() / 2];
}

volatile std::uint64_t sink;

// Each line names the next to be read, all of them in one random ring: no read begins before the one before has ended.
double ns_a_read(char* at, std::size_t bytes, std::mt19937_64& random, bool make) {
  const std::size_t lines = bytes / 64;
  if (make) {
    std::vector<std::uint32_t> order(lines);
    std::iota(order.begin(), order.end(), 0u);
    std::shuffle(order.begin(), order.end(), random);
    for (std::size_t i = 0; i != lines; ++i) {
      const std::uint64_t next = std::uint64_t{order[(i + 1) % lines]} * 64;
      std::memcpy(at + std::size_t{order[i]} * 64, &next, sizeof next);
    }
  }
  constexpr unsigned kReads = 400'000;
  std::uint64_t line = random() % lines * 64;
  const Clock::time_point start = Clock::now();
  for (unsigned i = 0; i != kReads; ++i) std::memcpy(&line, at + line, sizeof line);
  const double ns = ns_since(start);
  sink = line;
  return ns / kReads;
}

char* memory(std::size_t bytes, int advice) {
  char* at = static_cast<char*>(::mmap(nullptr, bytes + (2u << 20), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  require(at != MAP_FAILED, "mmap");
  at += (std::size_t{2} << 20) - reinterpret_cast<std::uintptr_t>(at) % (std::size_t{2} << 20);
  require(::madvise(at, bytes, advice) == 0, "madvise");
  return at;
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 2) {
    std::fprintf(stderr, "bench_mapping FOLDER [MIB]\n");
    return 2;
  }
  const std::size_t bytes = (count > 2 ? std::strtoull(arguments[2], nullptr, 10) : 256) << 20;
  const std::string path = std::string(arguments[1]) + "/bench_mapping." + std::to_string(::getpid());
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  require(file >= 0 && ::unlink(path.c_str()) == 0 && ::ftruncate(file, static_cast<off_t>(bytes)) == 0, path.c_str());
  std::mt19937_64 random(1);
  {
    char* all = static_cast<char*>(::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0));
    require(all != MAP_FAILED, "mmap");
    (void)ns_a_read(all, bytes, random, true);  // its contents, too
    require(::munmap(all, bytes) == 0, "munmap");
  }
  char* const huge = memory(bytes, MADV_HUGEPAGE);
  char* const small = memory(bytes, MADV_NOHUGEPAGE);
  for (char* const to : {huge, small}) {
    for (std::size_t done = 0; done != bytes;) {
      const ssize_t n = ::pread(file, to + done, bytes - done, static_cast<off_t>(done));
      require(n > 0, "pread");
      done += static_cast<std::size_t>(n);
    }
  }
  std::vector<char> buffer(kBlock);
  std::vector<std::size_t> order(bytes / kBlock);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::shuffle(order.begin(), order.end(), random);
  order.resize(std::min<std::size_t>(order.size(), 2'000));
  std::uint64_t sum = 0;
  const auto blocks_us = [&](auto verify) {
    const Clock::time_point start = Clock::now();
    for (const std::size_t b : order) sum += verify(b * kBlock);
    return ns_since(start) / 1e3 / static_cast<double>(order.size());
  };
  // In one private mapping, writable as a store would need it; `ask` is told each block before it is touched.
  const auto mapped_us = [&](int flags, auto ask) {
    char* const at = static_cast<char*>(::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | flags, file, 0));
    require(at != MAP_FAILED, "mmap");
    const double us = blocks_us([&](std::size_t block) {
      ask(at + block);
      return tern::simd::checksum(at + block, kBlock, 1);
    });
    require(::munmap(at, bytes) == 0, "munmap");
    return us;
  };
  std::vector<double> by_pread, by_mapping, by_asking, in_file, in_small, in_huge;
  for (unsigned round = 0; round != kRounds; ++round) {
    by_pread.push_back(blocks_us([&](std::size_t block) {
      require(::pread(file, buffer.data(), kBlock, static_cast<off_t>(block)) == static_cast<ssize_t>(kBlock), "pread");
      return tern::simd::checksum(buffer.data(), kBlock, 1);
    }));
    by_mapping.push_back(mapped_us(0, [](char*) {}));
    by_asking.push_back(mapped_us(0, [](char* at) { require(::madvise(at, kBlock, MADV_POPULATE_READ) == 0, "madvise"); }));
    char* const mapped = static_cast<char*>(::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0));
    require(mapped != MAP_FAILED && ::madvise(mapped, bytes, MADV_POPULATE_READ) == 0, "mmap");
    in_file.push_back(ns_a_read(mapped, bytes, random, false));
    require(::munmap(mapped, bytes) == 0, "munmap");
    in_small.push_back(ns_a_read(small, bytes, random, false));
    in_huge.push_back(ns_a_read(huge, bytes, random, false));
  }
  sink = sum;
  const auto print = [](const char* what, const std::vector<double>& of, const char* unit) {
    std::printf("  %-66s %7.1f %s   (%.1f to %.1f)\n", what, median(of), unit, *std::min_element(of.begin(), of.end()),
                *std::max_element(of.begin(), of.end()));
  };
  std::printf("a block of %zu KiB, from the page cache, read and verified; median of %u\n", kBlock >> 10, kRounds);
  print("pread to a buffer", by_pread, "us");
  print("private mapping, touched", by_mapping, "us");
  print("private mapping, asked for with MADV_POPULATE_READ", by_asking, "us");
  std::printf("a read of a random line of %zu MiB that depends on the one before\n", bytes >> 20);
  print("in a file's pages, all mapped", in_file, "ns");
  print("in small pages of memory", in_small, "ns");
  print("in huge pages of memory", in_huge, "ns");
  ::close(file);
  return 0;
}
