// One store under one workload for a fraction of a second: what to do, what came out, and the
// threads that do it.
//
// A store's adapter is a class with
//   explicit Adapter(const StoreConfig&)         reserved to its size
//   class Adapter::Worker                        one for each thread, made from Adapter&, with
//     bool get(std::string_view key, char* out)  copies the whole value out
//     bool set(std::string_view key, std::string_view value)
//     bool del(std::string_view key)
//   std::uint64_t bytes_used() const             what it knows itself; 0: the heap's figure counts
// and, where the store has them, get_many, set_many, prefetch and a get of what prefetch answered,
// and Session. All of it is bound at compile time: the timed loop makes no virtual call. Keys lie
// zero-padded in slots of at least 24 bytes.
#ifndef TERN_BENCH_SLICE_H_
#define TERN_BENCH_SLICE_H_

#include <array>
#include <atomic>
#include <barrier>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "bench/histogram.h"
#include "bench/machine.h"
#include "bench/stream.h"
#include "bench/workload.h"

namespace tern::bench {

inline constexpr unsigned kBatchMax = 1024;
inline constexpr unsigned kThreadsMax = 256;

struct StoreConfig {
  std::uint64_t entries = 0;
  std::uint32_t key_bytes_max = 0;
  std::uint32_t value_bytes_max = 0;
  double key_bytes_mean = 0;
  double value_bytes_mean = 0;
  bool fixed_value = false;
  bool huge_pages = true;
  std::uint64_t memory_bytes = 0;  // Tern's budget; 0: chosen from the sizes
};

enum class Mode : std::uint8_t { kPlain, kSession, kPrefetch, kBatch };

struct SliceSpec {
  Workload workload;
  Mode mode = Mode::kPlain;
  unsigned threads = 1;
  unsigned batch = 1;
  double warm_up_seconds = 0;
  double seconds = 0;
  std::uint64_t operations = 0;  // of each thread, after which the slice ends; 0: only time ends it
  std::uint64_t seed = 0;
};

// Trivially copyable: lies in memory shared with the process that drives the run.
struct SliceResult {
  std::uint64_t operations = 0;
  std::uint64_t hits = 0;
  std::uint64_t misses = 0;
  std::uint64_t refused = 0;  // writes that the store didn't take
  std::uint64_t sum = 0;      // of the first eight bytes of every value that was read
  std::uint64_t sum_expected = 0;
  double mops_cpu = 0;   // sum over threads: operations by their CPU time
  double mops_wall = 0;  // sum over threads: operations by the wall time of the timed part
  bool pinned = true;
  bool failed = false;
  char error[120] = {};
  Histogram latency;  // ns; of one call: a whole group where batch > 1
};

struct Memory {
  std::uint64_t used_bytes = 0;      // by the store's own account, else what its heap grew by
  std::uint64_t resident_bytes = 0;  // what the process grew by
  std::uint64_t huge_bytes = 0;
  std::uint64_t buckets = 0;
  double record_bytes = 0;  // a block that holds a record; 0: not told
};

// One thread's tally; a line of its own.
struct alignas(128) Tally {
  std::uint64_t operations = 0, hits = 0, misses = 0, refused = 0, sum = 0, sum_expected = 0;
  double cpu = 0, wall = 0;
  bool pinned = true;
  std::unique_ptr<Histogram> latency = std::make_unique<Histogram>();
};

// The compiler must assume that all of *p is read.
inline void keep(const void* p) noexcept { __asm__ volatile("" : : "r"(p) : "memory"); }

inline std::uint64_t head_of(const char* value) noexcept {
  std::uint64_t head;
  std::memcpy(&head, value, sizeof head);
  return head;
}

template <class W>
concept TakesGroups = requires(W& w, std::span<const std::string_view> keys, char* out, Tally& t) {
  w.get_many(keys, out, std::size_t{}, t);
  w.set_many(keys, static_cast<const char*>(out), std::size_t{}, std::span<const std::uint32_t>{},
             t);
};
template <class W>
concept Prefetches = requires(W& w, std::string_view key) {
  w.prefetch(key);
};
template <class A>
concept HasSession = requires {
  typename A::Session;
};

template <class Worker, bool kMayMiss>
class Loop {
 public:
  Loop(Worker& worker, std::uint32_t value_bytes_max, unsigned batch)
      : worker_(worker),
        stride_((value_bytes_max + 63) / 64 * 64),
        memory_(std::size_t{2} * std::max(batch, 1u) * stride_ + 64, 'v'),
        out_(align(memory_.data())),
        value_(out_ + std::size_t{std::max(batch, 1u)} * stride_) {}

  void run_single(const Chunk& c, Tally& t) {
    for (std::size_t i = 0; i < c.size; ++i) one(c, i, t);
  }

  // Each operation timed alone: what came before has retired, so nothing overlaps.
  void run_single_timed(const Chunk& c, Tally& t, std::uint64_t* spent) {
    for (std::size_t i = 0; i < c.size; ++i) {
      const std::uint64_t from = ticks();
      one(c, i, t);
      spent[i] = ticks() - from;
    }
  }

  // Hashes and prefetches four keys ahead of the get.
  void run_prefetched(const Chunk& c, Tally& t) requires Prefetches<Worker> {
    constexpr std::size_t kAhead = 4;
    decltype(worker_.prefetch(std::string_view{})) tokens[kAhead];
    for (std::size_t i = 0; i < std::min(kAhead, c.size); ++i)
      tokens[i] = worker_.prefetch(c.keys[i]);
    for (std::size_t i = 0; i < c.size; ++i) {
      if (c.kinds[i] == Kind::kGet) {
        found(worker_.get(tokens[i % kAhead], out_, stride_), c, i, t);
      } else {
        one(c, i, t);
      }
      if (i + kAhead < c.size) tokens[i % kAhead] = worker_.prefetch(c.keys[i + kAhead]);
    }
  }

  template <class Around>
  void run_groups(const Chunk& c, unsigned batch, Tally& t,
                  Around&& around) requires TakesGroups<Worker> {
    for (std::size_t at = 0; at < c.size; at += batch) {
      const std::size_t n = std::min<std::size_t>(batch, c.size - at);
      around(at / batch, [&] {
        const std::span<const std::string_view> keys(&c.keys[at], n);
        if (c.kinds[at] == Kind::kGet || c.kinds[at] == Kind::kReadModifyWrite) {
          worker_.get_many(keys, out_, stride_, t);
          keep(out_);
        }
        if (c.kinds[at] != Kind::kGet) {
          for (std::size_t i = 0; i < n; ++i)
            std::memcpy(value_ + i * stride_, &c.heads[at + i], 8);
          worker_.set_many(keys, value_, stride_,
                           std::span<const std::uint32_t>(&c.value_bytes[at], n), t);
        }
      });
    }
  }

 private:
  static char* align(char* p) {
    return reinterpret_cast<char*>((reinterpret_cast<std::uintptr_t>(p) + 63) &
                                   ~std::uintptr_t{63});
  }

  void found(bool hit, const Chunk& c, std::size_t i, Tally& t) {
    keep(out_);
    if (hit) {
      ++t.hits;
      t.sum += head_of(out_);
      if constexpr (kMayMiss) t.sum_expected += c.heads[i];
    } else {
      ++t.misses;
    }
  }

  void one(const Chunk& c, std::size_t i, Tally& t) {
    switch (c.kinds[i]) {
      case Kind::kReadModifyWrite:
      case Kind::kGet:
        found(worker_.get(c.keys[i], out_), c, i, t);
        if (c.kinds[i] == Kind::kGet) return;
        [[fallthrough]];
      case Kind::kSet:
      case Kind::kInsert:
        std::memcpy(value_, &c.heads[i], 8);
        if (!worker_.set(c.keys[i], {value_, c.value_bytes[i]})) ++t.refused;
        return;
      case Kind::kDelete:
        worker_.del(c.keys[i]);
        return;
    }
  }

  Worker& worker_;
  std::size_t stride_;
  std::vector<char> memory_;
  char* out_;
  char* value_;
};

// One thread's slice. `start` releases all threads together.
template <class Worker, bool kMayMiss>
void run_thread(Worker& worker, const SliceSpec& spec, ChunkMaker& maker,
                std::uint32_t value_bytes_max, std::barrier<>& start, Tally& t) {
  constexpr unsigned kTimedEvery =
      16;  // chunks: the calls of one are timed one by one and count for latency alone
  constexpr unsigned kTimedFirst = 3;
  Loop<Worker, kMayMiss> loop(worker, value_bytes_max, spec.batch);
  std::vector<std::uint64_t> spent(maker.chunk_size());
  const double tick = nanoseconds_per_tick();
  const std::uint64_t overhead = ticks_overhead();
  const bool fill = spec.workload.fill;
  Tally warm_up;
  start.arrive_and_wait();
  const double begin = wall_seconds();
  const double counted_from = begin + spec.warm_up_seconds, end = counted_from + spec.seconds;
  std::uint64_t number = 0;
  // On a busy machine a slice may be over before it began: it goes on until every kind of chunk was
  // there.
  for (double now = begin; fill || now < end || number < kTimedEvery;) {
    if (spec.operations != 0 && t.operations >= spec.operations) break;
    const Chunk& c = maker.next();
    if (c.size == 0) break;
    const bool counts = fill || now >= counted_from;
    const bool timed = counts && ++number % kTimedEvery == kTimedFirst;
    // A chunk whose calls are timed one by one is checked like every other, but is no part of the
    // rate.
    Tally& into = counts ? t : warm_up;
    const double cpu = thread_cpu_seconds(), wall = wall_seconds();
    std::size_t samples = 0;
    if (spec.mode == Mode::kBatch) {
      if constexpr (TakesGroups<Worker>) {
        if (timed) {
          loop.run_groups(c, spec.batch, into, [&](std::size_t i, auto&& group) {
            const std::uint64_t from = ticks();
            group();
            spent[i] = ticks() - from;
            samples = i + 1;
          });
        } else {
          loop.run_groups(c, spec.batch, into, [](std::size_t, auto&& group) { group(); });
        }
      }
    } else if (timed) {
      loop.run_single_timed(c, into, spent.data());
      samples = c.size;
    } else if (spec.mode == Mode::kPrefetch) {
      if constexpr (Prefetches<Worker>) loop.run_prefetched(c, into);
    } else {
      loop.run_single(c, into);
    }
    const double wall_after = wall_seconds(), cpu_after = thread_cpu_seconds();
    if constexpr (!kMayMiss) into.sum_expected += spec.workload.missing_keys ? 0 : c.heads_sum;
    if (counts && !timed) {
      t.cpu += cpu_after - cpu;
      t.wall += wall_after - wall;
      t.operations += c.size;
    }
    if (counts) {
      for (std::size_t i = 0; i < samples; ++i) {
        const std::uint64_t net = spent[i] - std::min(spent[i], overhead);
        t.latency->record(static_cast<std::uint64_t>(static_cast<double>(net) * tick));
      }
    }
    maker.settle([&](std::string_view key) { worker.del(key); });
    now = wall_after;
  }
  std::vector<char> value(value_bytes_max, 'v');
  maker.restore([&](std::string_view key) { worker.del(key); },
                [&](std::string_view key, std::uint64_t head, std::uint32_t size) {
                  std::memcpy(value.data(), &head, 8);
                  worker.set(key, {value.data(), size});
                });
  t.refused += warm_up.refused;
}

// What the process of a store does on command. One virtual call a slice.
class StoreRunner {
 public:
  virtual ~StoreRunner() = default;
  virtual void run(const SliceSpec& spec, SliceResult& result) = 0;
  virtual void describe(Memory& memory) = 0;
};

void sum_up(const SliceSpec& spec, std::span<const Tally> tallies, SliceResult& result);

template <class Adapter>
class Runner : public StoreRunner {
 public:
  Runner(const StoreConfig& config, const KeyMaker& maker, const ZipfDraws& draws)
      : config_(config), maker_(maker), draws_(draws), adapter_(config) {}

  void run(const SliceSpec& spec, SliceResult& result) override {
    if constexpr (HasSession<Adapter>) {
      if (spec.mode == Mode::kSession) return run_with<typename Adapter::Session>(spec, result);
    }
    run_with<typename Adapter::Worker>(spec, result);
  }

  void describe(Memory& memory) override {
    memory.used_bytes = adapter_.bytes_used();
    if constexpr (requires { adapter_.describe(memory, maker_); })
      adapter_.describe(memory, maker_);
  }

 private:
  template <class Worker>
  void run_with(const SliceSpec& spec, SliceResult& result) {
    std::vector<Tally> tallies(spec.threads);
    std::barrier<> start(static_cast<std::ptrdiff_t>(spec.threads));
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < spec.threads; ++i) {
      threads.emplace_back([&, i] {
        Tally& t = tallies[i];
        t.pinned = pin(i);
        ChunkMaker chunks(spec.workload, maker_, &draws_,
                          {.entries = config_.entries,
                           .thread = i,
                           .threads = spec.threads,
                           .batch = spec.batch,
                           .seed = spec.seed});
        Worker worker(adapter_);
        if (spec.workload.may_miss()) {
          run_thread<Worker, true>(worker, spec, chunks, config_.value_bytes_max, start, t);
        } else {
          run_thread<Worker, false>(worker, spec, chunks, config_.value_bytes_max, start, t);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    sum_up(spec, tallies, result);
  }

  StoreConfig config_;
  const KeyMaker& maker_;
  const ZipfDraws& draws_;
  Adapter adapter_;
};

// A store that the program was built with, or the reason why not.
struct StoreKind {
  const char* name = nullptr;
  const char* what = nullptr;
  const char* why_absent = nullptr;  // null: it is here
  bool required = false;             // by --suite core
  bool yardstick = false;            // no peer: one thread, only where it is asked for by name, never the best
  bool groups = false;
  bool sessions = false;
  std::unique_ptr<StoreRunner> (*make)(const StoreConfig&, const KeyMaker&,
                                       const ZipfDraws&) = nullptr;
};

template <class Adapter>
std::unique_ptr<StoreRunner> make_runner(const StoreConfig& config, const KeyMaker& maker,
                                         const ZipfDraws& draws) {
  return std::make_unique<Runner<Adapter>>(config, maker, draws);
}

// One for each file in peers/.
StoreKind tern_store();
StoreKind tbb_store();
StoreKind cuckoo_store();
StoreKind abseil_store();
StoreKind unordered_store();
StoreKind cds_store();
StoreKind bare_store();
std::vector<StoreKind> all_stores();

}  // namespace tern::bench

#endif  // TERN_BENCH_SLICE_H_
