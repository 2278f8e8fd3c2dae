// The copying of records into a save's blocks, and their way to the file: as it is, and with each bug that can be planted in it. The store is changed at
// the worst moment: the guard has ended in which a save's last records were found, its view is ended for room, and their memory
// is used again.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <string>
#include <thread>

#include "alloc/platform.h"
#include "alloc/sync.h"
#include "persist/walker.h"
#include "tests/persist/snapshot_fixture.h"

namespace tern::test {
namespace {

namespace platform = alloc::platform;
using persist::WalkBug;

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kAddressesChecked = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
constexpr bool kAddressesChecked = true;
#else
constexpr bool kAddressesChecked = false;
#endif
#else
constexpr bool kAddressesChecked = false;
#endif

class SnapshotWalk : public SnapshotTest {
 protected:
  SnapshotWalk() : options(small_options(&clock)) {
    options.shard_count = 1;
    options.eviction = false;
    options.view_bytes_max = 64 << 10;
    store = open_or_fail(options);
    write('a');
    write('b');  // what lies in the arena has been overwritten, and read
    for (unsigned i = 0; i != kEntries; ++i) EXPECT_TRUE(store.get(numbered("k", i)).found());
    before = contents_of(store);
  }
  ~SnapshotWalk() override {
    detail::StdSync::hook.store(nullptr);
    persist::planted_bug<WalkBug> = WalkBug::kNone;
    walk = nullptr;
  }

  void write(char c) {
    for (unsigned i = 0; i != kEntries; ++i) EXPECT_TRUE(store.set(numbered("k", i), std::string(kValueBytes, c)).ok());
  }
  // A save beside which fn runs at its n-th end of a guard, in a thread of its own; how many it had.
  unsigned save(unsigned n) {
    walk = this;
    at = n;
    ends = 0;
    detail::StdSync::hook.store([](const char* name) {
      if (std::string_view(name) != "save.walked" || std::this_thread::get_id() != walk->saver || ++walk->ends != walk->at) return;
      std::thread([] {
        for (const char c : {'x', 'y', 'z'}) walk->write(c);
      }).join();
      EXPECT_EQ(walk->store.stats().kept_bytes <= walk->options.view_bytes_max, true);
    });
    saved = store.save(path, {.keep = 1, .threads = 1, .wall_now = kSavedAt, .fault = &fault});
    detail::StdSync::hook.store(nullptr);
    return ends;
  }

  static constexpr unsigned kEntries = 4'000;
  static constexpr std::size_t kValueBytes = 200;
  static inline SnapshotWalk* walk = nullptr;
  const std::thread::id saver = std::this_thread::get_id();
  Options options;
  Store store;
  Contents before;
  unsigned at = 0;
  unsigned ends = 0;
  Result<SaveReport> saved = Error{Status::kNotFound, Field::kNone};
};

// The last guard: what comes after an earlier one is found ended, and the save says so.
TEST_F(SnapshotWalk, CopiesWhatItFoundBeforeItsGuardEnds) {
  const unsigned all = save(0);
  ASSERT_TRUE(saved.ok());
  ASSERT_GT(all, 20u);
  EXPECT_EQ(save(all), all);
  ASSERT_TRUE(saved.ok()) << fault.reason;
  EXPECT_EQ(contents_of(reopen_or_fail(options)), before);
  EXPECT_NE(contents_of(store), before);
  write('b');
  EXPECT_EQ(save(all / 2), all / 2);
  EXPECT_EQ(saved.error(), (Error{Status::kViewExpired, Field::kNone}));
}

TEST_F(SnapshotWalk, WouldBeSeenIfItCopiedThemLater) {
  persist::planted_bug<WalkBug> = WalkBug::kCopiesUnguarded;
  if (kAddressesChecked) {  // there a record that it reads too late ends the program, if nobody has its memory by then
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    EXPECT_DEATH(
        {
          save(save(0));
          const Result<Store> reopened = reopen(options);
          if (!reopened.ok() || contents_of(*reopened) != before) {
            std::fputs("not what was there", stderr);
            std::abort();
          }
        },
        "use-after-poison|not what was there");
    return;
  }
  const unsigned all = save(0);
  ASSERT_TRUE(saved.ok());
  EXPECT_EQ(contents_of(reopen_or_fail(options)), before) << "nobody is beside it";
  EXPECT_EQ(save(all), all);
  ASSERT_TRUE(saved.ok()) << fault.reason;
  const Result<Store> reopened = reopen(options);
  EXPECT_TRUE(!reopened.ok() || contents_of(*reopened) != before);
}

TEST_F(SnapshotWalk, WouldBeSeenIfItCopiedWhatTheArenaAloneMeans) {
  persist::planted_bug<WalkBug> = WalkBug::kCopiesUnmasked;
  save(0);
  ASSERT_TRUE(saved.ok());
  EXPECT_EQ(reopen(options).error(), (Error{Status::kCorrupt, Field::kPath}));
}

// Two threads save, and the first that writes blocks stands still in its call until the other one writes: how many bytes that one has by then.
class TwoThatSave : public SnapshotWalk {
 protected:
  TwoThatSave() {
    options = small_options(&clock);
    options.shard_count = 16;
    store = open_or_fail(options);
    for (unsigned i = 0; i != 4 * kEntries; ++i) EXPECT_TRUE(store.set(numbered("k", i), std::string(kValueBytes, 'a')).ok());
  }
  std::uint64_t bytes_of_the_other() {
    platform::FaultPlan plan;
    plan.sites = platform::site_bit(platform::Site::kWrite);
    struct Calls {
      std::atomic<unsigned> made{0};
      std::promise<std::uint64_t> bytes;
      std::shared_future<std::uint64_t> of_the_other = bytes.get_future();
    } calls;
    plan.watch_user = &calls;
    plan.watch = [](void* user, const platform::FileCall& call) {
      if (call.bytes < kPiece) return;  // the lock's file
      auto& c = *static_cast<Calls*>(user);
      switch (c.made++) {
        case 0: (void)c.of_the_other.wait_for(std::chrono::seconds(20)); break;
        case 1: c.bytes.set_value(call.bytes); break;
        default: break;
      }
    };
    const platform::FaultScope scope(plan);
    EXPECT_TRUE(store.save(path, {.keep = 1, .threads = 2, .wall_now = kSavedAt}).ok());
    const bool both = calls.made >= 2;
    EXPECT_TRUE(both) << "one thread wrote it all";
    return both ? calls.of_the_other.get() : 0;
  }
  static constexpr std::uint64_t kPiece = 256 << 10;
};

TEST_F(TwoThatSave, WalksOnWhileTheOtherWrites) {
  EXPECT_GE(bytes_of_the_other(), 2 * kPiece);
  EXPECT_EQ(contents_of(reopen_or_fail(options)), contents_of(store));
}

TEST_F(TwoThatSave, WouldBeSeenIfItWaitedForTheOther) {
  persist::planted_bug<WalkBug> = WalkBug::kWaitsToWrite;
  const std::uint64_t bytes = bytes_of_the_other();
  EXPECT_GE(bytes, kPiece);
  EXPECT_LT(bytes, 2 * kPiece);
}

}  // namespace
}  // namespace tern::test
