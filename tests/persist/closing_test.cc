// A store that is closed, or whose last handle goes, while its blocks come: before each read of a loader, whoever loads.
#include <atomic>
#include <iterator>
#include <thread>

#include "alloc/platform.h"
#include "tests/persist/snapshot_fixture.h"

namespace tern::test {
namespace {

namespace platform = alloc::platform;
using platform::FaultPlan;
using platform::FileCall;
using platform::Site;

class ClosedWhileItComes : public SnapshotTest {
 protected:
  ClosedWhileItComes() : options(small_options(&clock)) {
    options.memory_bytes = 16 * kMiB;
    options.eviction = false;
    options.shard_count = 2;
    const Store store = open_or_fail(options);
    for (unsigned i = 0; i != 6'000; ++i) EXPECT_TRUE(store.set(numbered("k", i), pattern(100, i)).ok());
    before = contents_of(store);
    save_or_fail(store);
  }
  static std::ptrdiff_t descriptors() {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator());
  }
  // Calls `at` before the n-th read of a block, on the thread that reads.
  template <class At>
  struct AtRead {
    AtRead(std::uint64_t at_read, At what) : n(at_read), at(what) {
      plan.sites = platform::site_bit(Site::kRead);
      plan.watch_user = this;
      plan.watch = [](void* user, const FileCall& call) {
        AtRead& me = *static_cast<AtRead*>(user);
        if (call.at >= 4'096 && me.reads.fetch_add(1) + 1 == me.n) me.at();
      };
    }
    const std::uint64_t n;
    At at;
    FaultPlan plan;
    std::atomic<std::uint64_t> reads{0};
  };

  Options options;
  Contents before;
};

TEST_F(ClosedWhileItComes, BeforeEachReadOfACall) {
  const std::ptrdiff_t open_before = descriptors();
  std::uint64_t n = 1;
  for (bool was_closed = true; was_closed; ++n) {
    SCOPED_TRACE(n);
    {
      Store store = reopen_or_fail(options, {.copy = false});
      AtRead at(n, [&] { store.close(); });
      const platform::FaultScope scope(at.plan);
      const Result<View> all = store.view();
      was_closed = at.reads >= n;
      // The call was under way: it may be told, or have its answer.
      EXPECT_TRUE(all.ok() || (was_closed && all.status() == Status::kClosed)) << testing::PrintToString(all.status());
      EXPECT_EQ(store.get("k1").status(), was_closed ? Status::kClosed : Status::kOk);
      EXPECT_EQ(store.set("k1", "v").ok(), !was_closed);
    }
    EXPECT_EQ(descriptors(), open_before) << "the file and the lock are let go";
  }
  EXPECT_GE(n, 10u) << "as many blocks";
  EXPECT_EQ(contents_of(reopen_or_fail(options, {.copy = false})), before);
}

// The keeper is in the middle of a block when the last handle goes: that waits for its turn, and nothing is left.
TEST_F(ClosedWhileItComes, TheLastHandleGoesBeforeEachReadOfMaintenance) {
  const std::ptrdiff_t open_before = descriptors();
  options.maintenance = Maintenance::kBackground;
  const auto opener = std::this_thread::get_id();
  for (std::uint64_t n = 1; n != 9; ++n) {
    SCOPED_TRACE(n);
    std::atomic<bool> is_reading{false}, is_going{false};
    AtRead at(n + 1, [&] {  // the opener reads the directory
      EXPECT_NE(std::this_thread::get_id(), opener);
      is_reading = true;
      while (!is_going) std::this_thread::yield();
    });
    const platform::FaultScope scope(at.plan);
    {
      Store store = reopen_or_fail(options, {.copy = false});
      while (!is_reading) std::this_thread::yield();
      is_going = true;
    }  // the last handle
  }
  EXPECT_EQ(descriptors(), open_before);
  EXPECT_EQ(contents_of(reopen_or_fail(options, {.copy = false})), before);
}

// One thread is in a block, another waits for it at the gate, a third closes.
TEST_F(ClosedWhileItComes, WhoWaitsForABlockGoesOn) {
  for (std::uint64_t n = 1; n != 9; ++n) {
    SCOPED_TRACE(n);
    Store store = reopen_or_fail(options, {.copy = false});
    std::atomic<bool> is_closed{false};
    AtRead at(n, [&] {
      while (!is_closed) std::this_thread::yield();
    });
    const platform::FaultScope scope(at.plan);
    Status answers[2] = {};
    std::thread callers[2];
    for (unsigned i = 0; i != 2; ++i) {
      callers[i] = std::thread([&, i] { answers[i] = store.view().status(); });
    }
    while (at.reads < n) std::this_thread::yield();
    store.close();
    is_closed = true;
    for (std::thread& c : callers) c.join();
    for (const Status s : answers) EXPECT_TRUE(s == Status::kClosed || s == Status::kOk) << testing::PrintToString(s);
    EXPECT_EQ(store.view().status(), Status::kClosed);
  }
}

}  // namespace
}  // namespace tern::test
