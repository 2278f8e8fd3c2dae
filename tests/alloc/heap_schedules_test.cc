// The heap under the deterministic scheduler: spans of one page, magazines of two blocks, so that
// refill, flush, listing, reclaiming, the budget and extents meet within a few steps of each other.
// Each planted bug must be found by the body that is meant for it, and the same body must find
// nothing in the heap as it is.
#include <gtest/gtest.h>

#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "alloc/heap.h"
#include "tests/sync/sched_sync.h"
#include "tests/sync/scheduler.h"
#include "tests/sync/weak_memory.h"

namespace tern::alloc {
namespace {

using concurrency::Body;
using concurrency::Explorer;
using concurrency::Freeze;
using concurrency::Options;
using concurrency::require;
using concurrency::Result;
using concurrency::SchedSync;
using concurrency::Strategy;
using concurrency::WeakSync;
using detail::Mutant;

struct TinyShape {
  static constexpr std::size_t kGranuleBytes = 4096;
  static constexpr std::size_t kMemoryBytesMin = 16 << 10;
  static constexpr std::size_t kLargeSpansFrom = ~std::size_t{0};
  static constexpr unsigned kLargeSpanGranules = 32;
  static constexpr std::size_t kMiddleSpansFrom = ~std::size_t{0};
  static constexpr unsigned kMiddleSpanGranules = 8;
  static constexpr std::size_t kSmallSpanLargest = 512;
  static constexpr std::size_t kMiddleSpanLargest = 512;
  static constexpr std::size_t kLargeSpanLargest = 512;
  static constexpr std::size_t kReserveBytesMin = 4096;
};

constexpr std::size_t kRegionBytes = 1 << 20;
alignas(64 << 10)
    std::byte region[kRegionBytes];  // one place, so that a schedule means the same on every run

// A heap with room for `spans` spans (one page each) beside accounts and reserve, and what its
// threads share.
template <class Sync>
class World {
 public:
  using Heap = BasicHeap<Sync, TinyShape>;

  void open(std::size_t spans) {
    std::memset(owner_, 0, sizeof owner_);
    for (auto& cache : caches_) cache.emplace();
    heap_.emplace();
    HeapOptions options;
    options.memory_bytes = 1 << 16;
    options.table_bytes_max = 0;
    options.region = region;
    options.region_bytes = kRegionBytes;
    options.magazine_blocks_max = 2;
    options.huge_pages = false;
    opened_ = heap_->open(options) == Error::kNone;
    // What is in use now is accounts and reserve; the rest of the budget goes to extents until
    // `spans` are left.
    filler_ = heap_->budget_bytes() - heap_->used_bytes() - spans * 4096;
    opened_ = opened_ && (filler_ == 0 || heap_->allocate_extent(filler_) != 0);
  }

  Heap& heap() { return *heap_; }
  auto& cache(int t) { return *caches_[t]; }

  Offset allocate(int t, std::size_t bytes) {
    const Offset block = heap_->allocate(cache(t), bytes);
    if (block != 0) own(block, heap_->block_bytes(block), t);
    return block;
  }
  Offset extent(int t, std::size_t bytes) {
    const Offset run = heap_->allocate_extent(bytes);
    if (run != 0) own(run, bytes, t);
    return run;
  }
  void free(int t, Offset block) {
    if (block == 0) return;
    disown(block, heap_->block_bytes(block));
    heap_->free(cache(t), block);
  }
  void free_extent(Offset run, std::size_t bytes) {
    if (run == 0) return;
    disown(run, bytes);
    heap_->free_extent(run, bytes);
  }
  void release(int t) { heap_->release_cache(cache(t)); }

  // Everything has come back: bitmaps, counts, rows and budget agree and no block is missing.
  std::string check(bool all_back = true) {
    if (!opened_) return "the heap didn't open";
    if (!heap_->verify()) return "the accounts disagree";
    if (!all_back) return "";
    const Stats stats = heap_->stats();
    for (unsigned c = 0; c < kAllClasses; ++c) {
      if (stats.classes[c].blocks_free != stats.classes[c].blocks_total) return "a block was lost";
    }
    return stats.extent_bytes == filler_ ? "" : "an extent was lost";
  }

 private:
  // Plain on purpose: two owners without an order between them are a race that WeakSync reports.
  void own(Offset at, std::size_t bytes, int t) {
    for (std::size_t i = 0; i < bytes / 8; ++i) {
      require(owner_[at + i] == 0, "memory has two owners");
      owner_[at + i] = static_cast<unsigned char>(t + 1);
    }
    if constexpr (requires { Sync::plain_write(region, 8); }) {
      for (std::size_t i = 0; i < bytes; i += 64) Sync::plain_write(heap_->at(at) + i, 8);
    }
  }
  void disown(Offset at, std::size_t bytes) {
    for (std::size_t i = 0; i < bytes / 8; ++i) owner_[at + i] = 0;
  }

  std::optional<Heap> heap_;
  std::optional<typename Heap::Cache> caches_[4];
  unsigned char owner_[kRegionBytes / 8];
  std::size_t filler_ = 0;
  bool opened_ = false;
};

template <class Sync>
World<Sync> world;  // static: atomics keep their addresses

Options bounded(const char* name, unsigned preemptions) {
  Options options;
  options.name = name;
  options.preemptions = preemptions;
  options.max_schedules = 400'000;
  options.quiet = true;
  return options;
}

void expect_clean(const Options& options, const Body& body) {
  const Result result = Explorer(options).explore(body);
  EXPECT_TRUE(result.ok) << result.failure << "\n" << result.schedule;
  std::printf("%s: %s\n", options.name.c_str(), result.summary().c_str());
}

void expect_caught(const Options& options, const Body& body) {
  const Result result = Explorer(options).explore(body);
  EXPECT_FALSE(result.ok) << "the planted bug was not found";
  std::printf("%s: %s after %llu schedules\n", options.name.c_str(), result.failure.c_str(),
              static_cast<unsigned long long>(result.schedules));
}

// --- bodies ----------------------------------------------------------------------------

// Two threads fill and empty their magazines over one span: refill, flush, lists.
template <class Sync>
Body refill_and_flush(std::size_t bytes) {
  auto& w = world<Sync>;
  const auto thread = [&w, bytes](int t) {
    const Offset a = w.allocate(t, bytes), b = w.allocate(t, bytes);
    require(a != 0 && b != 0, "refused although a span has room");
    w.free(t, a);
    w.free(t, b);
    w.release(t);
  };
  return {[&w, bytes] {
            w.open(1);
            w.free(2, w.allocate(2, bytes));
            w.release(2);
          },
          {[=] { thread(0); }, [=] { thread(1); }},
          [&w] { return w.check(); }};
}

// Both need the first span of their class: one makes it of the last granule, the other may find no
// room.
template <class Sync>
Body first_span() {
  auto& w = world<Sync>;
  const auto thread = [&w](int t) {
    w.free(t, w.allocate(t, 512));
    w.release(t);
  };
  return {
      [&w] { w.open(1); }, {[=] { thread(0); }, [=] { thread(1); }}, [&w] { return w.check(); }};
}

// Blocks of one bitmap word are given back by both at once.
template <class Sync>
Body flush_the_same_word() {
  auto& w = world<Sync>;
  static Offset blocks[2];
  return {
      [&w] {
        w.open(1);
        for (int t = 0; t < 2; ++t) blocks[t] = w.allocate(2, 512);
        w.release(2);
      },
      {[&w] { w.free(0, blocks[0]), w.release(0); }, [&w] { w.free(1, blocks[1]), w.release(1); }},
      [&w] { return w.check(); }};
}

// One takes a span's last blocks and unlists it while the other gives the first one back.
template <class Sync>
Body exhaust_and_relist() {
  auto& w = world<Sync>;
  static Offset blocks[8];
  return {[&w] {
            w.open(1);
            for (Offset& block : blocks) block = w.allocate(2, 512);
            w.release(2);
          },
          {[&w] {
             w.free(0, blocks[0]);
             w.release(0);
           },
           [&w] {
             const Offset a = w.allocate(1, 512), b = w.allocate(1, 512);
             w.free(1, a);
             w.free(1, b);
             w.release(1);
           }},
          [&w]() -> std::string {
            // The span has one free block, and the budget no room for another span.
            const Offset found = w.allocate(3, 512);
            if (found == 0) return "a free block that nobody finds";
            w.free(3, found);
            for (int i = 1; i < 8; ++i) w.free(3, blocks[i]);
            w.release(3);
            for (Offset& block : blocks) {
              block = w.allocate(3, 512);
              if (block == 0) return "free blocks that nobody finds";
            }
            for (const Offset block : blocks) w.free(3, block);
            w.release(3);
            return w.check();
          }};
}

// A span becomes empty by one thread's flush while another needs it for a different class.
template <class Sync>
Body reclaim_while_flushing(std::size_t before, std::size_t after) {
  auto& w = world<Sync>;
  static Offset block;
  return {[&w, before] {
            w.open(1);
            block = w.allocate(2, before);
            w.release(2);
          },
          {[&w] {
             w.free(0, block);
             w.release(0);
           },
           [&w, after] {
             const Offset a = w.allocate(1, after), b = w.allocate(1, after);
             w.free(1, a);
             w.free(1, b);
             w.release(1);
           }},
          [&w, after]() -> std::string {
            const Offset late = w.allocate(3, after);
            if (late == 0) return "an empty span that nobody can take";
            w.free(3, late);
            w.release(3);
            return w.check();
          }};
}

// One empty span, two threads that want it for two classes.
template <class Sync>
Body two_claimers() {
  auto& w = world<Sync>;
  const auto thread = [&w](int t, std::size_t bytes) {
    const Offset a = w.allocate(t, bytes);
    Sync::point("test.owned");
    w.free(t, a);
    w.release(t);
  };
  return {[&w] {
            w.open(1);
            w.free(2, w.allocate(2, 16));
            w.release(2);
          },
          {[=] { thread(0, 512); }, [=] { thread(1, 128); }},
          [&w] { return w.check(); }};
}

// Two charges where one has room; a third thread looks at the account.
template <class Sync>
Body charge_the_last_page() {
  auto& w = world<Sync>;
  static Offset runs[2];
  const auto thread = [&w](int t, std::size_t bytes) { runs[t] = w.extent(t, bytes); };
  return {[&w] { w.open(2); },
          {[=] { thread(0, 4096); }, [=] { thread(1, 2 * 4096); },
           [&w] { require(w.heap().used_bytes() <= w.heap().budget_bytes(), "over the budget"); }},
          [&w]() -> std::string {
            if (runs[0] == 0 && runs[1] == 0) return "both were refused although one had room";
            w.free_extent(runs[0], 4096);
            w.free_extent(runs[1], 2 * 4096);
            return w.check();
          }};
}

// Extents that cross the words of the bitmap, one of them put back on the way.
template <class Sync>
Body extents_over_each_other() {
  auto& w = world<Sync>;
  const auto thread = [&w](int t, std::size_t bytes) {
    const Offset run = w.extent(t, bytes);
    Sync::point("test.owned");
    w.free_extent(run, bytes);
  };
  return {[&w] { w.open(6); },
          {[=] { thread(0, 3 * 4096); }, [=] { thread(1, 3 * 4096); }},
          [&w] { return w.check(); }};
}

// A span and an extent both want the last granule; the span comes from an empty one if the extent
// was first.
template <class Sync>
Body span_against_extent() {
  auto& w = world<Sync>;
  return {[&w] {
            w.open(2);
            w.free(2, w.allocate(2, 64));
            w.release(2);
          },
          {[&w] {
             const Offset run = w.extent(0, 2 * 4096);
             Sync::point("test.owned");
             w.free_extent(run, 2 * 4096);
           },
           [&w] {
             w.free(1, w.allocate(1, 512));
             w.release(1);
           }},
          [&w] { return w.check(); }};
}

// The budget is lowered while others charge.
template <class Sync>
Body resize_while_charging() {
  auto& w = world<Sync>;
  static Offset run;
  static bool lowered;
  return {[&w] { w.open(3); },
          {[&w] { run = w.extent(0, 2 * 4096); },
           [&w] { lowered = w.heap().resize(w.heap().budget_bytes() - 2 * 4096); },
           [&w] { require(w.heap().used_bytes() <= w.heap().budget_bytes(), "over the budget"); }},
          [&w]() -> std::string {
            if (w.heap().used_bytes() > w.heap().budget_bytes()) return "over the budget";
            if (run == 0 && !lowered) return "both were refused although one could go";
            w.free_extent(run, 2 * 4096);
            return w.check();
          }};
}

// One takes a span's mark back while the other takes blocks of its class and gives them
// back: afterwards every block is found.
template <class Sync>
Body drain_and_undrain() {
  auto& w = world<Sync>;
  static Offset blocks[12];
  return {[&w] {
            w.open(2);
            for (Offset& block : blocks) block = w.allocate(2, 512);
            for (int i = 3; i < 10; ++i) w.free(2, blocks[i]);  // one in use in the second span, or two
            w.release(2);
            require(w.heap().drain_for(128), "nothing was marked");
          },
          {[&w] {
             auto& heap = w.heap();
             for (std::size_t s = heap.next_draining(0); s != heap.kNone; s = heap.next_draining(s + 1))
               heap.undrain(s);
           },
           [&w] {
             Offset some[6];  // one more than the other span has
             for (Offset& block : some) block = w.allocate(1, 512);
             for (const Offset block : some) w.free(1, block);
             w.release(1);
           }},
          [&w]() -> std::string {
            for (int i = 3; i < 10; ++i) {
              blocks[i] = w.allocate(3, 512);
              if (blocks[i] == 0) return "free blocks that nobody finds";
            }
            Offset rest[4];
            for (Offset& block : rest) {
              block = w.allocate(3, 512);
              if (block == 0) return "free blocks that nobody finds";
            }
            for (const Offset block : rest) w.free(3, block);
            for (const Offset block : blocks) w.free(3, block);
            w.release(3);
            return w.check();
          }};
}

// One marks and empties a span, whose memory another class then gets; the other frees in it and
// takes blocks of its class.
template <class Sync>
Body drain_and_reuse() {
  auto& w = world<Sync>;
  static Offset blocks[10];
  return {[&w] {
            w.open(2);
            for (Offset& block : blocks) block = w.allocate(2, 512);
            for (int i = 2; i < 8; ++i) w.free(2, blocks[i]);
            w.release(2);
          },
          {[&w] {
             auto& heap = w.heap();
             (void)heap.drain_for(128);
             heap.sift(w.cache(0));
             const Offset other = w.allocate(0, 512);
             require(other == 0 || !heap.is_draining(other), "a block of a span that is being emptied");
             w.free(0, other);
             w.free(0, blocks[8]);
             w.release(0);
             w.free(0, w.allocate(0, 128));
             w.release(0);
           },
           [&w] {
             w.free(1, blocks[9]);
             const Offset a = w.allocate(1, 512);
             w.free(1, a);
             w.release(1);
           }},
          [&w]() -> std::string {
            auto& heap = w.heap();
            for (std::size_t s = heap.next_draining(0); s != heap.kNone; s = heap.next_draining(s + 1))
              heap.undrain(s);
            w.free(3, blocks[0]);
            w.free(3, blocks[1]);
            w.release(3);
            return w.check();
          }};
}

// Two share a walk: each block in use is handed out once.
template <class Sync>
Body two_walkers() {
  auto& w = world<Sync>;
  static Offset blocks[16];
  static int seen[16];
  const auto walker = [&w] {
    Offset some[64];
    std::size_t bytes = 0;
    const std::size_t span = w.heap().next_draining(0);
    if (span == w.heap().kNone) return;
    for (std::size_t n; (n = w.heap().walk(span, some, bytes)) != w.heap().kNone;) {
      for (std::size_t i = 0; i < n; ++i) {
        for (int b = 0; b < 16; ++b) seen[b] += blocks[b] == some[i];
      }
    }
  };
  return {[&w] {
            w.open(2);
            for (Offset& block : blocks) block = w.allocate(2, 16);
            w.release(2);
            Offset filler[500];
            for (Offset& block : filler) block = w.allocate(2, 16);
            for (const Offset block : filler) w.free(2, block);
            w.release(2);
            (void)w.heap().drain_for(512);
            for (int& n : seen) n = 0;
          },
          {walker, walker},
          [&w]() -> std::string {
            if (w.heap().next_draining(0) != w.heap().kNone) {
              for (int b = 0; b < 16; ++b) {
                if (w.heap().is_draining(blocks[b]) != (seen[b] == 1)) return "a block was missed, or found twice";
              }
            }
            return w.check(false);
          }};
}

// The budget sinks with what comes free while another thread takes and gives, and a third looks.
template <class Sync>
Body sink_while_charging() {
  auto& w = world<Sync>;
  static Offset runs[3];
  return {[&w] {
            w.open(3);
            for (Offset& run : runs) run = w.extent(2, 4096);
          },
          {[&w] {
             w.free_extent(runs[0], 4096);
             runs[0] = w.extent(0, 4096);
             w.free_extent(runs[1], 4096);
           },
           [&w] {
             require(w.heap().resize_in_time(w.heap().budget_bytes() - 2 * 4096), "refused");
           },
           [&w] {
             const Stats stats = w.heap().stats();
             require(stats.used_bytes <= stats.limit_bytes, "over the budget");
           }},
          [&w]() -> std::string {
            if (runs[0] != 0) w.free_extent(runs[0], 4096);
            w.free_extent(runs[2], 4096);
            if (w.heap().shrinking_bytes() != 0) return "it never got there";
            if (w.heap().budget_bytes() != (1 << 16) - 2 * 4096) return "it went too far";
            return w.check();
          }};
}

// Removals find their reserve when everything else is full.
template <class Sync>
Body reserve_when_full() {
  auto& w = world<Sync>;
  return {[&w] { w.open(1); },
          {[&w] {
             while (w.heap().allocate(w.cache(0), 256) != 0) {
             }
           },
           [&w] {
             int served = 0;
             while (w.heap().allocate_reserve(w.cache(1)) != 0) ++served;
             require(served == 12 || served == 11, "others took from the reserve");
           }},
          [&w] { return w.check(false); }};
}

// --- nothing is found in the heap as it is ---------------------------------------------

TEST(HeapSchedules, RefillAndFlush) {
  expect_clean(bounded("alloc refill", 2), refill_and_flush<SchedSync<>>(512));
  expect_clean(bounded("alloc refill, bitmap inside", 2), refill_and_flush<SchedSync<>>(16));
}
TEST(HeapSchedules, FirstSpan) {
  expect_clean(bounded("alloc first span", 3), first_span<SchedSync<>>());
}
TEST(HeapSchedules, FlushTheSameWord) {
  expect_clean(bounded("alloc same word", 3), flush_the_same_word<SchedSync<>>());
}
TEST(HeapSchedules, ExhaustAndRelist) {
  expect_clean(bounded("alloc relist", 3), exhaust_and_relist<SchedSync<>>());
}
TEST(HeapSchedules, ReclaimWhileFlushing) {
  expect_clean(bounded("alloc reclaim", 3), reclaim_while_flushing<SchedSync<>>(512, 128));
  expect_clean(bounded("alloc reclaim, bitmap inside", 2),
               reclaim_while_flushing<SchedSync<>>(16, 512));
}
TEST(HeapSchedules, TwoClaimers) {
  expect_clean(bounded("alloc claimers", 3), two_claimers<SchedSync<>>());
}
TEST(HeapSchedules, ChargeTheLastPage) {
  expect_clean(bounded("alloc charge", 2), charge_the_last_page<SchedSync<>>());
}
TEST(HeapSchedules, ExtentsOverEachOther) {
  expect_clean(bounded("alloc extents", 2), extents_over_each_other<SchedSync<>>());
}
TEST(HeapSchedules, SpanAgainstExtent) {
  expect_clean(bounded("alloc span and extent", 2), span_against_extent<SchedSync<>>());
}
TEST(HeapSchedules, ResizeWhileCharging) {
  expect_clean(bounded("alloc resize", 3), resize_while_charging<SchedSync<>>());
}
TEST(HeapSchedules, SinkWhileCharging) {
  expect_clean(bounded("alloc sink", 3), sink_while_charging<SchedSync<>>());
}
TEST(HeapSchedules, ReserveWhenFull) {
  expect_clean(bounded("alloc reserve", 1), reserve_when_full<SchedSync<>>());
}
TEST(HeapSchedules, DrainAndUndrain) {
  expect_clean(bounded("alloc undrain", 3), drain_and_undrain<SchedSync<>>());
}
TEST(HeapSchedules, DrainAndReuse) {
  expect_clean(bounded("alloc drain", 2), drain_and_reuse<SchedSync<>>());
}
TEST(HeapSchedules, TwoWalkers) {
  expect_clean(bounded("alloc walkers", 3), two_walkers<SchedSync<>>());
}
TEST(HeapSchedules, AtRandom) {
  // Deeper than the bound reaches, thinner.
  for (const Body& body :
       {refill_and_flush<SchedSync<>>(512), reclaim_while_flushing<SchedSync<>>(16, 512),
        two_claimers<SchedSync<>>(), extents_over_each_other<SchedSync<>>()}) {
    Options options = bounded("alloc pct", 0);
    options.strategy = Strategy::kPct;
    options.pct_depth = 5;
    options.max_schedules = 10'000;
    expect_clean(options, body);
  }
}

// --- the same under the C++20 memory model ---------------------------------------------

Options weak(const char* name, unsigned preemptions) {
  Options options = bounded(name, preemptions);
  options.weak_cas_fails = true;
  options.stale_reads = 2;
  options.max_schedules = 100'000;
  return options;
}

TEST(HeapWeakMemory, RefillAndFlush) {
  expect_clean(weak("alloc weak refill", 2), refill_and_flush<WeakSync<>>(512));
}
TEST(HeapWeakMemory, ExhaustAndRelist) {
  expect_clean(weak("alloc weak relist", 2), exhaust_and_relist<WeakSync<>>());
}
TEST(HeapWeakMemory, ReclaimWhileFlushing) {
  expect_clean(weak("alloc weak reclaim", 2), reclaim_while_flushing<WeakSync<>>(512, 128));
  expect_clean(weak("alloc weak reclaim, bitmap inside", 2),
               reclaim_while_flushing<WeakSync<>>(16, 512));
}
TEST(HeapWeakMemory, TwoClaimers) {
  expect_clean(weak("alloc weak claimers", 2), two_claimers<WeakSync<>>());
}
TEST(HeapWeakMemory, DrainAndReuse) {
  expect_clean(weak("alloc weak drain", 1), drain_and_reuse<WeakSync<>>());
}
TEST(HeapWeakMemory, ExtentsAndSpans) {
  expect_clean(weak("alloc weak extents", 2), extents_over_each_other<WeakSync<>>());
  expect_clean(weak("alloc weak span and extent", 2), span_against_extent<WeakSync<>>());
}

// --- a thread stopped for ever, at any step --------------------------------------------

// The others end within a bounded number of steps, whatever it was doing; and no memory has two
// owners.
void expect_progress(const char* name, Body body) {
  body.check = {};
  Options options = bounded(name, 1);
  options.freeze = Freeze::kAllButOne;
  options.solo_steps = 1'000;
  const Result result = Explorer(options).explore(body);
  EXPECT_TRUE(result.ok) << result.failure << "\n" << result.schedule;
  EXPECT_GT(result.frozen, 0u);
  std::printf("%s: %s\n", name, result.summary().c_str());
}

TEST(HeapProgress, NobodyWaitsForAStoppedThread) {
  expect_progress("alloc stopped in refill", refill_and_flush<SchedSync<>>(512));
  expect_progress("alloc stopped in refill, bitmap inside", refill_and_flush<SchedSync<>>(16));
  expect_progress("alloc stopped in reclaim", reclaim_while_flushing<SchedSync<>>(16, 512));
  expect_progress("alloc stopped in claim", two_claimers<SchedSync<>>());
  expect_progress("alloc stopped in an extent", extents_over_each_other<SchedSync<>>());
  expect_progress("alloc stopped in draining", drain_and_reuse<SchedSync<>>());
  expect_progress("alloc stopped in undraining", drain_and_undrain<SchedSync<>>());
  expect_progress("alloc stopped in sinking", sink_while_charging<SchedSync<>>());
  expect_progress("alloc stopped in a charge", charge_the_last_page<SchedSync<>>());
}

// --- planted bugs ----------------------------------------------------------------------

TEST(HeapMutants, SpanRelistedTwice) {
  expect_caught(bounded("alloc mutant relisted twice", 3),
                two_claimers<SchedSync<Mutant::kSpanRelistedTwice>>());
}
TEST(HeapMutants, BitmapLostFree) {
  expect_caught(bounded("alloc mutant lost free", 2),
                flush_the_same_word<SchedSync<Mutant::kBitmapLostFree>>());
}
TEST(HeapMutants, BudgetCheckedAfter) {
  expect_caught(bounded("alloc mutant checked after", 2),
                charge_the_last_page<SchedSync<Mutant::kBudgetCheckedAfter>>());
}
TEST(HeapMutants, ReserveNotKept) {
  expect_caught(bounded("alloc mutant reserve", 1),
                reserve_when_full<SchedSync<Mutant::kReserveNotKept>>());
}
TEST(HeapMutants, UnlistWithoutSecondLook) {
  expect_caught(bounded("alloc mutant unlist", 3),
                exhaust_and_relist<SchedSync<Mutant::kUnlistWithoutSecondLook>>());
}
TEST(HeapMutants, CountBeforeBits) {
  expect_caught(bounded("alloc mutant count first", 3),
                reclaim_while_flushing<SchedSync<Mutant::kCountBeforeBits>>(512, 128));
}
TEST(HeapMutants, UndrainUnlisted) {
  expect_caught(bounded("alloc mutant undrain", 3),
                drain_and_undrain<SchedSync<Mutant::kUndrainUnlisted>>());
}
TEST(HeapMutants, DrainingServes) {
  expect_caught(bounded("alloc mutant draining serves", 2),
                drain_and_reuse<SchedSync<Mutant::kDrainingServes>>());
}
TEST(HeapMutants, GiveRelaxed) {
  expect_caught(weak("alloc mutant give relaxed", 2),
                refill_and_flush<WeakSync<Mutant::kGiveRelaxed>>(512));
}

}  // namespace
}  // namespace tern::alloc
