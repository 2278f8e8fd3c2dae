// hash_bytes and hash_batch beside XXH3, std::hash and absl::Hash, the batch with each target.
//
// Keys lie in random order in 2 MiB of memory at most, so that a hash is measured, not a cache
// miss. `length` 0 stands for 8 to 32 bytes drawn at random: the branches then can't be learned.
// *_chain feeds each hash into the choice of the next key: what a dependent get sees.
#include <absl/hash/hash.h>
#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "simd/hash.h"
#include "simd/key_equal.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace {

constexpr std::size_t kBatch = 64;
constexpr std::uint64_t kSeed = 0x1234567890ABCDEFU;

struct KeySet {
  std::string bytes;
  std::vector<std::string_view> keys;

  explicit KeySet(std::size_t length) {
    std::mt19937_64 random(length + 1);
    const std::size_t count = length > 64 ? 256 : 4096;
    std::vector<std::size_t> sizes(count);
    std::size_t total = 0;
    for (auto& size : sizes) {
      size = length == 0 ? 8 + random() % 25 : length;
      total += size;
    }
    bytes.resize(total);
    for (auto& byte : bytes) byte = static_cast<char>(random());
    std::size_t at = 0;
    for (const std::size_t size : sizes) {
      keys.emplace_back(bytes.data() + at, size);
      at += size;
    }
    std::shuffle(keys.begin(), keys.end(), random);
  }
};

struct TernOne {
  static std::uint64_t hash(std::string_view key) {
    return tern::simd::hash_bytes(key.data(), key.size(), kSeed);
  }
};
struct Xxh3One {
  static std::uint64_t hash(std::string_view key) {
    return XXH3_64bits_withSeed(key.data(), key.size(), kSeed);
  }
};
struct Xxh3Unseeded {
  static std::uint64_t hash(std::string_view key) { return XXH3_64bits(key.data(), key.size()); }
};
struct StdOne {
  static std::uint64_t hash(std::string_view key) { return std::hash<std::string_view>()(key); }
};
struct AbslOne {
  static std::uint64_t hash(std::string_view key) { return absl::Hash<std::string_view>()(key); }
};

template <typename Hash>
void one_by_one(benchmark::State& state) {
  const KeySet set(static_cast<std::size_t>(state.range(0)));
  std::uint64_t out[kBatch];
  std::size_t at = 0;
  for (auto _ : state) {
    for (std::size_t index = 0; index < kBatch; ++index)
      out[index] = Hash::hash(set.keys[at + index]);
    benchmark::DoNotOptimize(out);
    benchmark::ClobberMemory();
    at = (at + kBatch) % set.keys.size();
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations() * kBatch));
}

template <typename Hash>
void chain(benchmark::State& state) {
  const KeySet set(static_cast<std::size_t>(state.range(0)));
  std::uint64_t last = 0;
  for (auto _ : state) {
    for (std::size_t index = 0; index < kBatch; ++index) {
      last = Hash::hash(set.keys[last % set.keys.size()]);
    }
    benchmark::DoNotOptimize(last);
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations() * kBatch));
}

void tern_batch(benchmark::State& state) {
  const KeySet set(static_cast<std::size_t>(state.range(0)));
  std::uint64_t out[kBatch];
  std::size_t at = 0;
  for (auto _ : state) {
    tern::simd::hash_batch(set.keys.data() + at, kBatch, kSeed, out);
    benchmark::DoNotOptimize(out);
    benchmark::ClobberMemory();
    at = (at + kBatch) % set.keys.size();
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations() * kBatch));
}

}  // namespace

#define TERN_LENGTHS \
  ->Arg(0)->Arg(8)->Arg(16)->Arg(20)->Arg(24)->Arg(32)->Arg(64)->Arg(256)->Arg(4096)
BENCHMARK(tern_batch) TERN_LENGTHS;
BENCHMARK_TEMPLATE(one_by_one, TernOne) TERN_LENGTHS;
BENCHMARK_TEMPLATE(one_by_one, Xxh3One) TERN_LENGTHS;
BENCHMARK_TEMPLATE(one_by_one, Xxh3Unseeded) TERN_LENGTHS;
BENCHMARK_TEMPLATE(one_by_one, StdOne) TERN_LENGTHS;
BENCHMARK_TEMPLATE(one_by_one, AbslOne) TERN_LENGTHS;
BENCHMARK_TEMPLATE(chain, TernOne) TERN_LENGTHS;
BENCHMARK_TEMPLATE(chain, Xxh3One) TERN_LENGTHS;
BENCHMARK_TEMPLATE(chain, AbslOne) TERN_LENGTHS;

BENCHMARK_MAIN();
