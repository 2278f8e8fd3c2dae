// What the ordered index costs beside two ordered maps: an insertion, and a scan of 100 keys from a random prefix on.
// The scan is the index's alone: that of a store looks each key up as well. A program, not a test.
//
//   bench_ordered_index [MILLION KEYS]     1 by default
#include <absl/container/btree_map.h>
#include <tbb/concurrent_map.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <random>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <vector>

#include "engine/ordered_index.h"
#include "tests/engine/parts/bare_core.h"

namespace {

using Sync = tern::test::BareCore::Sync;
using Index = tern::detail::OrderedIndex<Sync>;

// The thread's own time: others use this machine too.
double cpu_us() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_nsec) / 1e3;
}

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

constexpr unsigned kScan = 100;

}  // namespace

int main(int argc, char** argv) {
  const std::size_t count = (argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 1) * 1'000'000;
  // 100 keys a prefix.
  std::vector<std::string> keys;
  for (std::size_t n = 0; n != count; ++n) {
    char key[32];
    keys.emplace_back(key, static_cast<std::size_t>(std::snprintf(key, sizeof key, "user:%07zu:item:%02zu", n / 100, n % 100)));
  }
  std::mt19937_64 random(1);
  std::shuffle(keys.begin(), keys.end(), random);

  tern::test::BareCore bare((count + 100'000) * 192);
  auto& space = bare.space();
  Index index(space);
  tbb::concurrent_map<std::string, std::uint64_t> tbb_map;
  absl::btree_map<std::string, std::uint64_t> btree;
  std::shared_mutex btree_mutex;

  double start = cpu_us();
  for (std::size_t n = 0; n != count; ++n) {
    const tern::detail::Guard<Sync> guard(space, *bare.thread);
    if (!space.epoch.admit(space, *bare.thread) || !index.ensure(*bare.thread, keys[n], n)) return 1;
  }
  const double fill_index = cpu_us() - start;
  start = cpu_us();
  for (std::size_t n = 0; n != count; ++n) tbb_map.emplace(keys[n], n);
  const double fill_tbb = cpu_us() - start;
  start = cpu_us();
  for (std::size_t n = 0; n != count; ++n) {
    const std::unique_lock lock(btree_mutex);
    btree.emplace(keys[n], n);
  }
  const double fill_btree = cpu_us() - start;
  const double per_key = 1e3 / static_cast<double>(count);
  std::printf("ns an insertion:       index %6.0f   tbb %6.0f   btree %6.0f\n", fill_index * per_key, fill_tbb * per_key, fill_btree * per_key);
  std::printf("bytes a key of %zu:     index %6.1f\n", keys[0].size(),
              static_cast<double>(index.walk([](std::uint64_t) {})) / static_cast<double>(count));

  std::vector<double> by_index, by_tbb, by_btree;
  std::uint64_t sums[3] = {};
  constexpr unsigned kScans = 2'000;
  for (unsigned round = 0; round != 7; ++round) {
    std::vector<std::string> froms;
    for (unsigned n = 0; n != kScans; ++n) froms.push_back(keys[random() % count].substr(0, 13));
    start = cpu_us();
    for (const std::string& from : froms) {
      const tern::detail::Guard<Sync> guard(space, *bare.thread);
      Index::Cursor c(index, from, Index::Cursor::kForward, true);
      for (unsigned n = 0; n != kScan; ++n) {
        const auto* leaf = c.next();
        if (leaf == nullptr || !leaf->key().starts_with(from)) break;
        sums[0] += leaf->hash;
      }
    }
    by_index.push_back(cpu_us() - start);
    start = cpu_us();
    for (const std::string& from : froms) {
      unsigned n = 0;
      for (auto i = tbb_map.lower_bound(from); n != kScan && i != tbb_map.end() && i->first.starts_with(from); ++i, ++n) sums[1] += i->second;
    }
    by_tbb.push_back(cpu_us() - start);
    start = cpu_us();
    for (const std::string& from : froms) {
      const std::shared_lock lock(btree_mutex);
      unsigned n = 0;
      for (auto i = btree.lower_bound(from); n != kScan && i != btree.end() && i->first.starts_with(from); ++i, ++n) sums[2] += i->second;
    }
    by_btree.push_back(cpu_us() - start);
  }
  if (sums[0] != sums[1] || sums[0] != sums[2]) return std::printf("the scans differ\n"), 1;
  std::printf("us a scan of %u keys: index %6.2f   tbb %6.2f   btree %6.2f\n", kScan, median(by_index) / kScans, median(by_tbb) / kScans,
              median(by_btree) / kScans);
  return 0;
}
