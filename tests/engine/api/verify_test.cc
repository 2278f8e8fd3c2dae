// verify() where records are kept by more than the table: by events, by tombs of long keys, by views.
#include <tern/store.h>
#include <tern/view.h>
#include <tern/watch.h>

#include <cstdint>
#include <random>
#include <string>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

std::string long_key(std::uint64_t n) {
  std::string key = numbered("key", n);
  key.resize(250 + n % 60, 'x');  // some below the length from which on a tomb leaves the key where it is
  return key;
}

TEST(VerifyTest, ALongKeysRecordIsCountedOnceWhereItsEventAndItsTombKeepIt) {
  const Store store = open_or_fail(small_options());
  const Result<Watch> watch = store.watch_prefix("");
  ASSERT_TRUE(watch.ok());
  for (std::uint64_t n = 0; n < 40; ++n) ASSERT_TRUE(store.set(long_key(n), "value").ok());
  for (std::uint64_t n = 0; n < 40; ++n) ASSERT_TRUE(store.del(long_key(n)).ok());
  EXPECT_TRUE(whole(store));
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(store.tick(1s).ok());  // what was replaced has left the limbo for its holders
  EXPECT_TRUE(whole(store));
}

TEST(VerifyTest, LongKeysBesideViewsEventsDeadlinesAndEvictionAreAccountedFor) {
  for (unsigned seed = 1; seed <= 6; ++seed) {
    ManualClock clock;
    Options options = small_options(&clock);
    options.memory_bytes = 4 * kMiB;
    options.ring_bytes = seed % 2 == 0 ? 4'096 : 256 << 10;  // overrun all the time, or holding long
    options.shard_count = 1;
    const Store store = open_or_fail(options);
    Result<Watch> watch = store.watch_prefix("key");
    ASSERT_TRUE(watch.ok());
    Result<View> view = store.view();
    std::mt19937 random(seed);
    for (unsigned i = 0; i < 12'000; ++i) {
      const std::string key = long_key(random() % 4'000);
      switch (random() % 8) {
        case 0:
        case 1:
          (void)store.del(key);
          break;
        case 2:
          (void)store.set(key, pattern(random() % 2'000), {.ttl = milliseconds(1 + random() % 200)});
          break;
        case 3:
          (void)store.expire(key, 0ms);
          break;
        default:
          (void)store.set(key, pattern(random() % 2'000));
          break;
      }
      if (i % 16 == 0) clock.advance(1ms);
      if (i % 300 == 0) view = store.view();
      if (i % 700 == 0) {
        ASSERT_TRUE(store.tick(1s).ok());
      }
      if (i % 1'500 == 0) {
        ASSERT_TRUE(whole(store)) << "seed " << seed << ", step " << i;
      }
    }
    EXPECT_GT(store.stats().evicted, 0u);
    EXPECT_TRUE(whole(store)) << "seed " << seed;
  }
}

}  // namespace
}  // namespace tern::test
