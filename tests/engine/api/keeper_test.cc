// The thread that does a store's maintenance: when it is there, what it does with nobody calling, and how it ends.
//
// These tests wait for another thread, so they wait for a state, never for a time; what must not happen is looked for after
// something that comes later has.
#include <sys/wait.h>
#include <tern/store.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <latch>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "alloc/platform.h"
#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

namespace platform = alloc::platform;

Options kept(std::size_t memory_bytes = 4 * kMiB, const Clock* clock = nullptr) {
  Options options = small_options(clock);
  options.memory_bytes = memory_bytes;
  options.maintenance = Maintenance::kBackground;
  return options;
}

// Until it is so; a minute is for ever.
template <class Fn>
testing::AssertionResult soon(Fn&& is_so) {
  const auto end = std::chrono::steady_clock::now() + 60s;
  while (!is_so()) {
    if (std::chrono::steady_clock::now() > end) return testing::AssertionFailure() << "not within a minute";
    std::this_thread::sleep_for(200us);
  }
  return testing::AssertionSuccess();
}

unsigned threads_of_process() {
  unsigned n = 0;
  for ([[maybe_unused]] const auto& t : std::filesystem::directory_iterator("/proc/self/task")) ++n;
  return n;
}

// Its thread has ended, but the kernel's list of threads may show it a moment longer.
testing::AssertionResult threads_become(unsigned n) {
  return soon([&] { return threads_of_process() == n; });
}

TEST(KeeperTest, AStoreWithNothingToLookAfterHasNoThread) {
  const unsigned before = threads_of_process();
  std::vector<Store> stores;
  for (int i = 0; i < 50; ++i) stores.push_back(open_or_fail(kept()));
  for (const Store& store : stores) {
    for (unsigned k = 0; k < 200; ++k) ASSERT_TRUE(store.set(numbered("k", k), pattern(100, k)));
    for (unsigned k = 0; k < 200; k += 2) ASSERT_TRUE(store.del(numbered("k", k)));
    ASSERT_TRUE(store.tick(1ms));
    EXPECT_EQ(store.stats().keeper_turns, 0u);
  }
  EXPECT_EQ(threads_of_process(), before);
}

TEST(KeeperTest, TickMeansNoThread) {
  ManualClock clock;
  Options options = kept(4 * kMiB, &clock);
  options.maintenance = Maintenance::kTick;
  const Store store = open_or_fail(options);
  const unsigned before = threads_of_process();
  for (unsigned i = 0; i < 60'000; ++i) ASSERT_TRUE(store.set(numbered("k", i), pattern(100, i)));
  ASSERT_TRUE(store.set("k", "v", {.ttl = 1s}));
  EXPECT_GT(store.stats().evicted, 0u);
  EXPECT_EQ(threads_of_process(), before);
  EXPECT_EQ(store.stats().keeper_turns, 0u);
}

TEST(KeeperTest, WhatHasExpiredGoesWithNoCallAtAll) {
  struct Removed {
    std::atomic<unsigned> expired{0};
    std::atomic<unsigned> others{0};
  } removed;
  const Store store = [&] {
    Options options = kept(16 * kMiB);
    options.on_removed = [](void* user, std::string_view, std::string_view, RemovalCause cause) {
      auto& r = *static_cast<Removed*>(user);
      ++(cause == RemovalCause::kExpired ? r.expired : r.others);
    };
    options.on_removed_user = &removed;
    return open_or_fail(options);
  }();
  for (unsigned i = 0; i < 20'000; ++i) {
    ASSERT_TRUE(store.set(numbered("k", i), pattern(100, i), {.ttl = milliseconds(1 + i % 300)}));
  }
  ASSERT_TRUE(store.set("stays", "v", {.ttl = 1h}));
  // Nobody calls the store now.
  ASSERT_TRUE(soon([&] { return removed.expired == 20'000; }));
  EXPECT_EQ(removed.others, 0u);
  const Stats s = store.stats();
  EXPECT_EQ(s.entries, 1u);
  EXPECT_GT(s.keeper_turns, 0u);
  EXPECT_EQ(s.keeper_failed_starts, 0u);
  EXPECT_EQ(s.owed.shards_with_expired, 0u);
  EXPECT_EQ(value_of(store, "stays"), "v");
  EXPECT_TRUE(whole(store));
}

// Each way in which a deadline comes to a key.
TEST(KeeperTest, EveryWayToADeadlineCallsIt) {
  using Way = void (*)(const Store&);
  const Way ways[] = {
      [](const Store& s) { ASSERT_TRUE(s.set("k", "v", {.ttl = 1s})); },
      [](const Store& s) { ASSERT_TRUE(s.set("k", "v", {.idle = 1s})); },
      [](const Store& s) { ASSERT_TRUE(s.set_nx("k", "v", {.ttl = 1s})); },
      [](const Store& s) {
        ASSERT_TRUE(s.set("k", "v"));
        ASSERT_TRUE(s.expire("k", 1s));
      },
      [](const Store& s) {
        Result<Draft> draft = s.allocate("k", 1);  // has the word of a deadline: touched in place
        draft->bytes()[0] = 'v';
        ASSERT_TRUE(draft->publish());
        ASSERT_TRUE(s.expire("k", 1s));
      },
      [](const Store& s) {
        const Item items[] = {{"k", "v", 1s}};
        Result<std::uint64_t> versions[1];
        ASSERT_TRUE(s.set_many(items, versions));
      },
      [](const Store& s) {
        const auto load = [](std::string_view) { return Loaded{Status::kOk, Value("v"), {}}; };
        ASSERT_TRUE(s.get_or_load("k", load, LoadOptions{.ttl = 1s}));
      },
  };
  for (const Way way : ways) {
    ManualClock clock;
    const Store store = open_or_fail(kept(4 * kMiB, &clock));
    way(store);
    ASSERT_TRUE(soon([&] { return store.stats().keeper_turns != 0; })) << "way " << &way - ways;
    EXPECT_EQ(store.stats().entries, 1u) << "the clock stands still";
    clock.advance(1'500ms);
    ASSERT_TRUE(soon([&] { return store.stats().expired == 1; })) << "way " << &way - ways;
    EXPECT_EQ(store.stats().entries, 0u);
    EXPECT_TRUE(whole(store));
  }
}

TEST(KeeperTest, ARestingKeeperIsWoken) {
  ManualClock clock;
  const Store store = open_or_fail(kept(4 * kMiB, &clock));
  for (int round = 0; round < 2; ++round) {
    ASSERT_TRUE(store.set("k", "v", {.ttl = 1s}));
    clock.advance(2s);
    ASSERT_TRUE(soon([&] { return store.stats().entries == 0; }));
    // At rest it takes one turn a second; awake, twenty.
    ASSERT_TRUE(soon([&] {
      const std::uint64_t before = store.stats().keeper_turns;
      std::this_thread::sleep_for(500ms);
      return store.stats().keeper_turns - before <= 1;
    }));
  }
}

TEST(KeeperTest, PressureRefillsTheReserve) {
  const Store store = open_or_fail(kept(16 * kMiB));
  unsigned i = 0;
  for (; store.stats().evicted == 0; ++i) ASSERT_TRUE(store.set(numbered("k", i), pattern(100, i)));
  for (unsigned n = 0; n < 20'000; ++n, ++i) ASSERT_TRUE(store.set(numbered("k", i), pattern(100, i)));
  ASSERT_TRUE(soon([&] { return store.stats().owed.room_bytes == 0; }));
  const Stats s = store.stats();
  EXPECT_GT(s.keeper_turns, 0u);
  EXPECT_GT(s.entries * 140, 16 * kMiB * 6 / 10) << "a reserve, not the cache";
  // A write of another size, which finds no room by itself, has it soon.
  const std::string large = pattern(kMiB);
  ASSERT_TRUE(soon([&] { return store.set("large", large).ok(); }));
  EXPECT_TRUE(whole(store));
}

TEST(KeeperTest, WithoutEvictionItMakesRoomForWhatWasRefused) {
  Options options = kept(16 * kMiB);
  options.eviction = false;
  const Store store = open_or_fail(options);
  unsigned count = 0;
  while (store.set(numbered("k", count), pattern(100, count))) ++count;
  for (unsigned i = 0; i < count; ++i) {
    if (i % 4 != 0) {
      ASSERT_TRUE(store.del(numbered("k", i)));
    }
  }
  // Three quarters are free, but in holes of a hundred bytes.
  const std::string large = pattern(2 * kMiB);
  ASSERT_TRUE(soon([&] { return store.set("large", large).ok(); }));
  EXPECT_GT(store.stats().keeper_turns, 0u);
  EXPECT_TRUE(whole(store));
}

std::size_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::size_t all = 0, resident = 0;
  statm >> all >> resident;
  return resident * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

// So that a set doesn't wait for the kernel to clear 2 MiB.
TEST(KeeperTest, AStoreThatGrowsFindsMemoryTouched) {
  const std::size_t before = resident_bytes();
  Options options = kept(256 * kMiB);
  options.eviction = false;
  const Store store = open_or_fail(options);
  for (unsigned i = 0; store.stats().memory_used_bytes < 20 * kMiB; ++i) ASSERT_TRUE(store.set(numbered("k", i), pattern(1000, i)));
  // 8 MiB lie ready, while 4 of what is used are the reserve, which isn't touched.
  EXPECT_TRUE(soon([&] { return resident_bytes() >= before + store.stats().memory_used_bytes + 3 * kMiB; }));
  EXPECT_GT(store.stats().keeper_turns, 0u);
  EXPECT_TRUE(whole(store));
}

TEST(KeeperTest, ABudgetSinksByItself) {
  Options options = kept(32 * kMiB);
  options.eviction = false;
  const Store store = open_or_fail(options);
  for (unsigned i = 0; i < 150'000; ++i) ASSERT_TRUE(store.set(numbered("k", i), pattern(100, i)));
  for (unsigned i = 0; i < 150'000; ++i) {
    if (i % 5 != 0) {
      ASSERT_TRUE(store.del(numbered("k", i)));
    }
  }
  ASSERT_TRUE(store.resize(12 * kMiB));
  ASSERT_TRUE(soon([&] { return store.stats().memory_bytes == 12 * kMiB; }));
  EXPECT_EQ(store.stats().owed.shrink_bytes, 0u);
  EXPECT_TRUE(whole(store));
}

TEST(KeeperTest, MemoryAroundTheStoreIsWatchedFromTheBeginning) {
  class Gauge final : public MemoryGauge {
   public:
    MemoryReading read() const noexcept override { return {95 * kMiB, 100 * kMiB, 0}; }
  } gauge;
  ManualClock clock;
  Options options = kept(16 * kMiB, &clock);
  options.shrink_on_pressure = true;
  options.memory_gauge = &gauge;
  const Store store = open_or_fail(options);
  clock.advance(2s);
  EXPECT_TRUE(soon([&] { return store.stats().memory_bytes < 16 * kMiB; }));
}

TEST(KeeperTest, StatsSayWhatIsOwed) {
  ManualClock clock;
  Options options = kept(16 * kMiB, &clock);
  options.maintenance = Maintenance::kTick;
  const Store store = open_or_fail(options);
  EXPECT_EQ(store.stats().owed.shards_with_expired, 0u);
  for (unsigned i = 0; i < 1'000; ++i) ASSERT_TRUE(store.set(numbered("k", i), "v", {.ttl = 1s}));
  clock.advance(2s);
  const Owed owed = store.stats().owed;
  EXPECT_GT(owed.shards_with_expired, 0u);
  EXPECT_EQ(owed.shards_with_expired, store.tick(0us)->shards_with_expired);
  ASSERT_TRUE(store.tick(10s));
  EXPECT_EQ(store.stats().owed.shards_with_expired, 0u);
}

TEST(KeeperTest, VerifyIsSafeBesideIt) {
  ManualClock clock;
  const Store store = open_or_fail(kept(16 * kMiB, &clock));
  for (unsigned round = 0; round < 100; ++round) {
    for (unsigned i = 0; i < 300; ++i) ASSERT_TRUE(store.set(numbered("k", i), pattern(100, i), {.ttl = 10ms}));
    clock.advance(11ms);
    ASSERT_TRUE(whole(store)) << round;
  }
  EXPECT_TRUE(soon([&] { return store.stats().keeper_turns != 0; }));
}

// --- its end ---------------------------------------------------------------------------------------------------

// A store whose keeper has begun, with work of which it isn't through.
Store busy_store(const Options& options, ManualClock& clock, unsigned keys = 3'000) {
  Store store = open_or_fail(options);
  for (unsigned i = 0; i < keys; ++i) {
    EXPECT_TRUE(store.set(numbered("k", i), pattern(100, i), {.ttl = milliseconds(1 + i % 1'000)}));
  }
  clock.advance(500ms);
  return store;
}

TEST(KeeperTest, TheLastHandleStopsIt) {
  const unsigned before = threads_of_process();
  for (unsigned i = 0; i < quick_or_long(100u, 2'000u); ++i) {
    ManualClock clock;
    Store store = busy_store(kept(4 * kMiB, &clock), clock);
    if (i % 2 == 0) store.close();
    if (i % 3 == 0) std::this_thread::yield();
  }
  EXPECT_TRUE(threads_become(before));
}

TEST(KeeperTest, NoCallbackComesAfterTheLastHandle) {
  struct Calls {
    std::atomic<bool> over{false};
    std::atomic<unsigned> late{0};
    std::atomic<unsigned> all{0};
  };
  for (unsigned i = 0; i < 100; ++i) {
    Calls calls;
    ManualClock clock;
    Options options = kept(4 * kMiB, &clock);
    options.on_removed = [](void* user, std::string_view, std::string_view, RemovalCause) {
      auto& c = *static_cast<Calls*>(user);
      ++c.all;
      c.late += c.over;
    };
    options.on_removed_user = &calls;
    HeldValue held;
    {
      Store store = busy_store(options, clock);
      ASSERT_TRUE(store.set("held", "v"));
      held = std::move(*store.hold("held"));
      if (i % 4 != 0) {
        ASSERT_TRUE(soon([&] { return calls.all > 10 * (i % 4); }));
      }
    }
    calls.over = true;
    EXPECT_EQ(held.view(), "v") << "outlives the store, and the keeper doesn't";
    held = {};
    EXPECT_EQ(calls.late, 0u);
  }
}

TEST(KeeperTest, TheLastHandleMayGoInItsOwnCallback) {
  const unsigned before = threads_of_process();
  struct Owner {
    Store store;
    std::mutex mutex;
    std::thread::id main = std::this_thread::get_id();
    std::atomic<unsigned> calls{0};
    std::atomic<bool> dropped{false};
    std::atomic<unsigned> late{0};
    HeldValue held;
  };
  for (const bool with_held_value : {false, true}) {
    for (unsigned i = 0; i < 30; ++i) {
      auto owner = std::make_unique<Owner>();
      static ManualClock clock;  // outlives the keeper, which nobody waits for here
      Options options = kept(4 * kMiB, &clock);
      options.on_removed = [](void* user, std::string_view key, std::string_view, RemovalCause) {
        auto& o = *static_cast<Owner*>(user);
        o.late += o.dropped;
        if (std::this_thread::get_id() == o.main || ++o.calls != 20) return;
        {
          const std::lock_guard<std::mutex> lock(o.mutex);
          // The store may be called here, too.
          EXPECT_TRUE(o.store.set("from the callback", key));
          EXPECT_EQ(value_of(o.store, "from the callback"), key);
          o.store = Store();
          EXPECT_FALSE(o.store.is_open());
        }
        o.dropped = true;
      };
      options.on_removed_user = owner.get();
      {
        const std::lock_guard<std::mutex> lock(owner->mutex);
        owner->store = open_or_fail(options);
        for (unsigned k = 0; k < 500; ++k) {
          ASSERT_TRUE(owner->store.set(numbered("k", k), pattern(100, k), {.ttl = 10ms}));
        }
        ASSERT_TRUE(owner->store.set("held", "v"));
        if (with_held_value) owner->held = std::move(*owner->store.hold("held"));
        clock.advance(20ms);
      }
      ASSERT_TRUE(soon([&] { return owner->dropped.load(); }));
      if (with_held_value) {
        EXPECT_EQ(owner->held.view(), "v");
      }
      owner->held = {};
      // What the callback uses has to be there until the thread is through with the store.
      ASSERT_TRUE(threads_become(before));
      EXPECT_EQ(owner->late, 0u);
    }
  }
}

TEST(KeeperTest, ManyStoresOneAfterTheOtherLeaveNothing) {
  const auto once = [](unsigned i) {
    ManualClock clock;
    Store store = open_or_fail(kept(4 * kMiB, &clock));
    ASSERT_TRUE(store.set("k", "v", {.ttl = 1ms}));
    clock.advance(1s);
    if (i % 2 == 0) std::this_thread::yield();
  };
  const auto resident = [] {
    std::FILE* f = std::fopen("/proc/self/statm", "r");
    unsigned long pages = 0, rss = 0;
    EXPECT_EQ(std::fscanf(f, "%lu %lu", &pages, &rss), 2);
    std::fclose(f);
    return rss * static_cast<unsigned long>(::sysconf(_SC_PAGESIZE));
  };
  for (unsigned i = 0; i < 200; ++i) once(i);
  const unsigned threads = threads_of_process();
  const unsigned long before = resident();
  for (unsigned i = 0; i < quick_or_long(kSanitized ? 100u : 2'000u, 10'000u); ++i) once(i);
  EXPECT_TRUE(threads_become(threads));
  if (!kSanitized) {  // whose shadow grows
    EXPECT_LE(resident(), before + 4 * kMiB);
  }
}

TEST(KeeperTest, AForkedChildHasNoKeeperAndNothingToWaitFor) {
  ManualClock clock;
  Store store = busy_store(kept(16 * kMiB, &clock), clock, 20'000);
  ASSERT_TRUE(soon([&] { return store.stats().keeper_turns != 0; }));
  for (int i = 0; i < 10; ++i) {
    std::fflush(nullptr);
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::alarm(30);  // a join would wait for ever
      if (store.is_open()) ::_exit(1);
      store = Store();
      if (kSanitized) ::_exit(0);  // the thread sanitizer allows no thread after such a fork
      ManualClock own_clock;
      // A store of its own has a keeper of its own.
      Result<Store> own = Store::open(kept(4 * kMiB, &own_clock));
      if (!own || !own->set("k", "v", {.ttl = 1s})) ::_exit(2);
      own_clock.advance(2s);
      if (!soon([&] { return own->stats().expired == 1; })) ::_exit(3);
      *own = Store();
      ::_exit(0);
    }
    int status = -1;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_TRUE(WIFEXITED(status)) << status;
    EXPECT_EQ(WEXITSTATUS(status), 0);
    clock.advance(50ms);
  }
  clock.advance(1s);
  EXPECT_TRUE(soon([&] { return store.stats().entries == 0; })) << "and the parent's goes on";
  EXPECT_TRUE(whole(store));
}

// --- faults ----------------------------------------------------------------------------------------------------

TEST(KeeperTest, AStoreWorksWithoutTheThread) {
  platform::FaultPlan plan;
  plan.sites = platform::site_bit(platform::Site::kStartThread);
  plan.fail_at = 1;
  plan.fail_count = ~std::uint64_t{0} >> 1;
  struct Log {
    std::atomic<unsigned> lines{0};
  } log;
  ManualClock clock;
  Options options = kept(4 * kMiB, &clock);
  options.log = [](void* user, const char* line) {
    if (std::string_view(line).find("thread") != std::string_view::npos) ++static_cast<Log*>(user)->lines;
  };
  options.log_user = &log;
  const unsigned before = threads_of_process();
  Store store;
  {
    const platform::FaultScope scope(plan);
    store = open_or_fail(options);
    for (unsigned i = 0; i < 60'000; ++i) ASSERT_TRUE(store.set(numbered("k", i), pattern(100, i)));
    EXPECT_GT(store.stats().evicted, 0u);
    for (unsigned i = 0; i < 1'000; ++i) ASSERT_TRUE(store.set(numbered("k", i), "v", {.ttl = 1s}));
    EXPECT_EQ(threads_of_process(), before);
    EXPECT_EQ(plan.failed, store.stats().keeper_failed_starts);
    EXPECT_EQ(log.lines, 1u);
    clock.advance(2s);
    EXPECT_EQ(value_of(store, "k999"), std::nullopt);
    ASSERT_TRUE(store.tick(10s));
    EXPECT_EQ(store.stats().expiring, 0u) << "tick does it";
  }
  EXPECT_GE(plan.failed, 1u);
  EXPECT_LE(plan.failed, 60u) << "not at each write";
  // When the system gives threads again the store gets its own, a second later, with the next work that appears.
  ASSERT_TRUE(soon([&, i = 0]() mutable {
    (void)store.set(numbered("later", i++ % 1'000), "v", {.ttl = 1s});
    return store.stats().keeper_turns != 0;
  }));
  clock.advance(2s);
  EXPECT_TRUE(soon([&] { return store.stats().expiring == 0; }));
  EXPECT_TRUE(whole(store));
}

}  // namespace
}  // namespace tern::test
