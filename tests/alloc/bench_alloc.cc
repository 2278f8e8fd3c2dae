// What a block costs: the heap beside the system's malloc and mimalloc (through the library's own
// private door).
//
//   Pair      allocate and free one block: the magazine's hit
//   Batch     allocate n blocks, free them in order or shuffled: magazines overflow and refill
//   Replace   a full cache: a random one of a million blocks is replaced, and what it frees comes
//             back a thousand operations later (as a grace period makes it), in bags of 64
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "alloc/heap.h"
#include "alloc/private_memory.h"

namespace {

using tern::alloc::Heap;
using tern::alloc::HeapOptions;

// One interface over the three: a block is a word.
class OfHeap {
 public:
  OfHeap() {
    HeapOptions options;
    options.memory_bytes = std::size_t{512} << 20;
    options.table_bytes_max = 0;
    options.prefault = true;
    if (heap_.open(options) != tern::alloc::Error::kNone) std::abort();
  }
  ~OfHeap() { heap_.release_cache(cache_); }
  std::uint64_t allocate(std::size_t bytes) { return heap_.allocate(cache_, bytes); }
  void free(std::uint64_t block) { heap_.free(cache_, block); }
  void* at(std::uint64_t block) { return heap_.at(block); }

 private:
  Heap heap_;
  Heap::Cache cache_;
};

class OfSystem {
 public:
  std::uint64_t allocate(std::size_t bytes) {
    return reinterpret_cast<std::uint64_t>(std::malloc(bytes));
  }
  void free(std::uint64_t block) { std::free(reinterpret_cast<void*>(block)); }
  void* at(std::uint64_t block) { return reinterpret_cast<void*>(block); }
};

class OfPrivate {
 public:
  std::uint64_t allocate(std::size_t bytes) {
    return reinterpret_cast<std::uint64_t>(tern::alloc::private_allocate(bytes));
  }
  void free(std::uint64_t block) { tern::alloc::private_free(reinterpret_cast<void*>(block)); }
  void* at(std::uint64_t block) { return reinterpret_cast<void*>(block); }
};

template <class Allocator>
void Pair(benchmark::State& state) {
  Allocator allocator;
  const auto bytes = static_cast<std::size_t>(state.range(0));
  for (auto _ : state) {
    const std::uint64_t block = allocator.allocate(bytes);
    benchmark::DoNotOptimize(block);
    allocator.free(block);
  }
  state.SetItemsProcessed(state.iterations());
}

template <class Allocator>
void Batch(benchmark::State& state) {
  Allocator allocator;
  const auto bytes = static_cast<std::size_t>(state.range(0));
  std::vector<std::uint64_t> blocks(static_cast<std::size_t>(state.range(1)));
  std::vector<std::size_t> order(blocks.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  if (state.range(2) != 0) std::shuffle(order.begin(), order.end(), std::mt19937(1));
  for (auto _ : state) {
    for (auto& block : blocks) block = allocator.allocate(bytes);
    for (const std::size_t i : order) allocator.free(blocks[i]);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(blocks.size()));
}

template <class Allocator>
void Replace(benchmark::State& state) {
  constexpr std::size_t kLive = 1'000'000, kLimbo = 1024, kBag = 64;
  Allocator allocator;
  const auto bytes = static_cast<std::size_t>(state.range(0));
  std::vector<std::uint64_t> live(kLive), limbo(kLimbo, 0);
  for (auto& block : live) block = allocator.allocate(bytes);
  for (auto& block : limbo) block = allocator.allocate(bytes);
  std::uint64_t random = 1;
  std::size_t next = 0;
  for (auto _ : state) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    std::uint64_t& slot = live[(random >> 33) % kLive];
    const std::uint64_t block = allocator.allocate(bytes);
    std::memset(allocator.at(block), 1, 64);
    limbo[next] = std::exchange(slot, block);
    next = (next + 1) % kLimbo;
    if (next % kBag == 0) {
      for (std::size_t i = 0; i < kBag; ++i) allocator.free(limbo[next + i]);  // the oldest bag
    }
  }
  state.SetItemsProcessed(state.iterations());
}

#define TERN_BENCH(name, ...)                      \
  BENCHMARK_TEMPLATE(name, OfHeap) __VA_ARGS__;    \
  BENCHMARK_TEMPLATE(name, OfPrivate) __VA_ARGS__; \
  BENCHMARK_TEMPLATE(name, OfSystem) __VA_ARGS__

TERN_BENCH(Pair, ->Arg(16)->Arg(112)->Arg(1024)->Arg(8192));
TERN_BENCH(Batch, ->ArgsProduct({{112}, {64, 1000, 100'000}, {0, 1}})
                      ->ArgsProduct({{1024}, {10'000}, {0, 1}}));
TERN_BENCH(Replace, ->Arg(112));

}  // namespace

BENCHMARK_MAIN();
