// What page moves cost: moves a second, the pause of a slice, and the time of a write that has to make
// its own room beside one that finds it. A program, not a test.
//
//   bench_moves [MIB]     the store's budget, 64 by default
#include <tern/store.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

double us_since(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

std::string key(const char* name, unsigned n) { return name + std::to_string(n); }

// Full of 64-byte values, of which one of `n` is left.
void thin_out(const tern::Store& store, unsigned n) {
  const std::string value(64, 'v');
  unsigned count = 0;
  while (store.set(key("k", count), value)) ++count;
  for (unsigned i = 0; i < count; ++i) {
    if (i % n != 0) (void)store.del(key("k", i));
  }
}

void print(const char* what, std::vector<double>& us) {
  if (us.empty()) return;
  std::sort(us.begin(), us.end());
  const auto at = [&](double share) { return us[static_cast<std::size_t>(share * static_cast<double>(us.size() - 1))]; };
  std::printf("  %-44s %6zu times, us: p50 %7.1f  p90 %7.1f  p99 %7.1f  max %8.1f\n", what, us.size(), at(0.5), at(0.9),
              at(0.99), us.back());
}

void run(std::size_t memory_bytes, unsigned n) {
  std::printf("%zu MiB full of 64-byte values, 1 of %u left\n", memory_bytes >> 20, n);
  tern::Options options;
  options.memory_bytes = memory_bytes;
  options.hash_seed = 1;
  options.prefault = true;
  for (const std::size_t bytes : {std::size_t{60'000}, std::size_t{1} << 20}) {
    const tern::Store store = *tern::Store::open(options);
    const std::string value(bytes, 'x');
    std::vector<double> plain, making, refused;
    for (unsigned i = 0; i < 100; ++i) {  // into an empty store
      const auto start = Clock::now();
      (void)store.set("plain", value);
      plain.push_back(us_since(start));
    }
    (void)store.del("plain");
    thin_out(store, n);
    for (unsigned i = 0;; ++i) {
      const std::uint64_t moves = store.stats().moves;
      const auto start = Clock::now();
      const bool ok = store.set(key("large", i), value).ok();
      const double us = us_since(start);
      if (!ok) {
        refused.push_back(us);
        break;
      }
      if (store.stats().moves != moves) making.push_back(us);
    }
    std::printf(" values of %zu bytes: %llu moves\n", bytes, static_cast<unsigned long long>(store.stats().moves));
    print("a set that finds room", plain);
    print("a set that makes its room", making);
    print("a set that is refused", refused);
  }
  options.memory_bytes_max = memory_bytes;
  const tern::Store store = *tern::Store::open(options);
  thin_out(store, n);
  if (!store.resize(memory_bytes / 2)) return;
  std::vector<double> slices;
  const std::uint64_t before = store.stats().moves;
  const auto start = Clock::now();
  for (;;) {
    const auto slice = Clock::now();
    const auto owed = store.tick(std::chrono::microseconds(50));
    slices.push_back(us_since(slice));
    if (owed->shrink_bytes == 0 || slices.size() > 1'000'000) break;
  }
  const double seconds = us_since(start) / 1e6;
  std::printf(" to half of the budget by ticks of 50 us: %.2f s, %.1f M moves a second\n", seconds,
              static_cast<double>(store.stats().moves - before) / seconds / 1e6);
  print("a tick of 50 us", slices);
}

}  // namespace

int main(int argc, char** argv) {
  const std::size_t memory_bytes = static_cast<std::size_t>(argc > 1 ? std::atoi(argv[1]) : 64) << 20;
  run(memory_bytes, 16);
  run(memory_bytes, 4);
}
