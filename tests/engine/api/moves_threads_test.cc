// Moves beside real threads that write, read, touch, hold and remove the records which are moved; and
// with memory of the process failing at every call.
#include <gtest/gtest.h>
#include <tern/store.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "alloc/platform.h"
#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

constexpr unsigned kKeys = 20'000;

std::string value_for(unsigned key, std::uint64_t version) {
  return pattern(40, key) + "." + std::to_string(version);
}
std::uint64_t version_in(const std::string& value, unsigned key) {
  const std::string start = pattern(40, key) + ".";
  if (value.compare(0, start.size(), start) != 0) return ~std::uint64_t{0};
  return std::stoull(value.substr(start.size()));
}

// Sizes come and go, so that spans are drained all the time.
void churn(const Store& store, unsigned rounds, std::atomic<std::uint64_t>& large_sets,
           std::uint64_t& refused) {
  for (unsigned round = 0; round < rounds; ++round) {
    unsigned small = 0;
    while (store.set(numbered("small", small), pattern(64)).ok()) ++small;
    for (unsigned i = 0; i < small; ++i) {
      if (i % 16 != 0) (void)store.del(numbered("small", i));
    }
    unsigned large = 0;
    // What it lacks may lie in the limbo behind a reader that the system took off the processor.
    for (unsigned ticks = 0; large < 50 && ticks < 200;) {
      if (store.set(numbered("large", large), pattern(60'000)).ok()) {
        ++large;
      } else {
        ++refused;
        ++ticks;
        (void)store.tick(1ms);
      }
    }
    large_sets += large;
    (void)store.tick(1ms);
    for (unsigned i = 0; i < large; ++i) (void)store.del(numbered("large", i));
    for (unsigned i = 0; i < small; i += 16) (void)store.del(numbered("small", i));
  }
}

TEST(MovesThreadsTest, NoWriteIsLostAndNoReadGoesBack) {
  Options options = small_options();
  options.memory_bytes = 12 * kMiB;
  options.eviction = false;
  const Store store = open_or_fail(options);
  for (unsigned k = 0; k < kKeys; ++k) ASSERT_TRUE(store.set(numbered("k", k), value_for(k, 0)));
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> wrong{0}, large_sets{0}, writes{0}, reads{0};
  std::uint64_t refused = 0;
  std::vector<std::uint64_t> written(kKeys);  // each by its own writer
  const auto writer = [&](unsigned parity) {
    for (unsigned n = 0; !stop.load(); ++n) {
      const unsigned k = (n * 7919u) % (kKeys / 2) * 2 + parity;
      const std::string key = numbered("k", k);
      if (n % 5 == 0) (void)store.expire(key, std::chrono::hours(1));
      const std::uint64_t next = written[k] + 1;
      if (store.set(key, value_for(k, next))) {
        written[k] = next;
        ++writes;
      }
    }
  };
  const auto reader = [&] {
    std::vector<std::uint64_t> seen(kKeys);
    for (unsigned n = 0; !stop.load(); ++n) {
      const unsigned k = (n * 104'729u) % kKeys;
      const std::string key = numbered("k", k);
      std::string value;
      if (n % 7 == 0) {
        const Lookup<HeldValue> held = store.hold(key);
        if (held.found()) value = held->view();
      } else {
        const std::optional<std::string> v = value_of(store, key);
        if (v) value = *v;
      }
      const std::uint64_t version = version_in(value, k);
      if (version == ~std::uint64_t{0} || version < seen[k]) ++wrong;
      seen[k] = version;
      ++reads;
    }
  };
  std::thread a(writer, 0), b(writer, 1), c(reader);
  churn(store, quick_or_long(kSanitized ? 2u : 4u, 40u), large_sets, refused);
  stop = true;
  a.join();
  b.join();
  c.join();
  EXPECT_EQ(wrong.load(), 0u);
  for (unsigned k = 0; k < kKeys; ++k) {
    ASSERT_EQ(value_of(store, numbered("k", k)), value_for(k, written[k])) << k;
  }
  EXPECT_GT(store.stats().moves, 0u);
  EXPECT_GT(large_sets.load(), 0u);
  std::printf("[tern] %llu moves, %llu large values, %llu refused at first, %llu writes and %llu reads beside them\n",
              static_cast<unsigned long long>(store.stats().moves),
              static_cast<unsigned long long>(large_sets.load()),
              static_cast<unsigned long long>(refused),
              static_cast<unsigned long long>(writes.load()),
              static_cast<unsigned long long>(reads.load()));
  EXPECT_TRUE(whole(store));
}

// Rings of the limbo and arrays of magazines come from the process's memory; the copies from the
// budget, which is nearly full anyway.
TEST(MovesThreadsTest, MemoryOfTheProcessMayFailAtAnyCall) {
  namespace platform = alloc::platform;
  std::uint64_t calls = 0;
  // The first round fails none: it tells how many there are. Then one of twelve where a sanitizer makes minutes of it;
  // nothing here runs side by side.
  constexpr std::uint64_t kNone = ~std::uint64_t{0};
  constexpr std::uint64_t kEach = kSanitized ? 12 : 1;
  for (std::uint64_t n = kNone; n == kNone || n <= calls; n = n == kNone ? 1 : n + kEach) {
    Options options = small_options();
    options.memory_bytes = 4 * kMiB;
    options.eviction = false;
    const Store store = open_or_fail(options);
    unsigned count = 0;
    while (store.set(numbered("k", count), pattern(64, count))) ++count;
    for (unsigned i = 0; i < count; ++i) {
      if (i % 8 != 0) {
        ASSERT_TRUE(store.del(numbered("k", i)));
      }
    }
    platform::FaultPlan plan;
    plan.sites = platform::site_bit(platform::Site::kPrivateAllocate) | platform::site_bit(platform::Site::kDecommit);
    plan.fail_at = n;
    plan.fail_count = 2;
    unsigned large = 0;
    {
      const platform::FaultScope scope(plan);
      std::thread other([&] {  // its magazines and its first ring are made under the plan
        for (; large < 20; ++large) {
          Status status = store.set(numbered("large", large), pattern(60'000, large)).status();
          if (status != Status::kOk) status = store.set(numbered("large", large), pattern(60'000, large)).status();
          if (status != Status::kOk) break;
        }
      });
      other.join();
    }
    calls = std::max(calls, plan.calls.load());
    for (unsigned i = 0; i < count; i += 8) {
      ASSERT_EQ(value_of(store, numbered("k", i)), pattern(64, i)) << "call " << n;
    }
    for (unsigned i = 0; i < large; ++i) {
      ASSERT_TRUE(value_of(store, numbered("large", i)) == pattern(60'000, i)) << "call " << n;
    }
    ASSERT_TRUE(whole(store)) << "call " << n;
  }
  EXPECT_GT(calls, 2u);
  std::printf("[tern] of %llu calls, one of %llu failed, one by one\n", static_cast<unsigned long long>(calls),
              static_cast<unsigned long long>(kEach));
}

}  // namespace
}  // namespace tern::test
