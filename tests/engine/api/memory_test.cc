// The budget: full stores, removals that always work, memory that comes back, entries_max, resize.
#include <tern/store.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

struct Filled {
  unsigned count = 0;  // keys "k0" to "k<count - 1>" are there
  Status status = Status::kOk;
};

Filled fill(const Store& store, std::size_t value_bytes) {
  Filled f;
  for (;; ++f.count) {
    f.status = store.set(numbered("k", f.count), pattern(value_bytes, f.count)).status();
    if (f.status != Status::kOk) return f;
  }
}

void drain(const Store& store) {
  for (unsigned i = 0; i < 200; ++i) {
    const Result<Owed> owed = store.tick(10ms);
    ASSERT_TRUE(owed);
    if (owed->limbo_bytes == 0) return;
  }
}

Store open_with(std::size_t memory_bytes) {
  Options options = small_options();
  options.memory_bytes = memory_bytes;
  options.eviction = false;
  return open_or_fail(options);
}

class FullStoreTest : public testing::TestWithParam<std::size_t> {};

TEST_P(FullStoreTest, FillsToTheBudgetAndChangesNothingPastIt) {
  const std::size_t size = GetParam();
  const Store store = open_with(4 * kMiB);
  const Filled full = fill(store, size);
  EXPECT_EQ(full.status, Status::kOutOfMemory);
  EXPECT_GT(full.count * (size + 30), 4 * kMiB * 55 / 100)
      << full.count << " entries of " << size << " bytes";
  EXPECT_EQ(store.stats().entries, full.count);
  EXPECT_GE(store.stats().refused, 1u);
  EXPECT_LE(store.stats().memory_used_bytes, store.stats().memory_bytes);
  EXPECT_TRUE(whole(store));
  // What was refused isn't there, what was there is.
  EXPECT_EQ(value_of(store, numbered("k", full.count)), std::nullopt);
  for (unsigned i = 0; i < full.count; ++i) {
    ASSERT_TRUE(value_of(store, numbered("k", i)) == pattern(size, i)) << i;
  }
  // A replacement that finds no room leaves the old value.
  const std::string larger(std::max<std::size_t>(100'000, size * 4), 'x');
  const Result<std::uint64_t> r = store.set("k0", larger);
  if (!r) {
    EXPECT_TRUE(r.status() == Status::kOutOfMemory || r.status() == Status::kTooLarge);
    EXPECT_TRUE(value_of(store, "k0") == pattern(size, 0));
  }
  EXPECT_TRUE(whole(store));
}

TEST_P(FullStoreTest, RemovalsWorkWhenFullAndMakeRoom) {
  const std::size_t size = GetParam();
  const Store store = open_with(4 * kMiB);
  const Filled full = fill(store, size);
  for (unsigned i = 0; i < full.count; ++i) {
    const Result<bool> r = store.del(numbered("k", i));
    ASSERT_TRUE(r) << status_name(r.status()) << " at " << i << " of " << full.count;
    ASSERT_TRUE(*r);
  }
  EXPECT_EQ(store.stats().entries, 0u);
  EXPECT_TRUE(whole(store));
  drain(store);
  const Filled again = fill(store, size);
  EXPECT_EQ(again.status, Status::kOutOfMemory);
  EXPECT_GE(again.count, full.count * 95 / 100) << "of " << full.count;
  EXPECT_TRUE(whole(store));
}

TEST_P(FullStoreTest, RefillsWithoutTicks) {
  const std::size_t size = GetParam();
  const Store store = open_with(4 * kMiB);
  const Filled full = fill(store, size);
  for (unsigned i = 0; i < full.count; ++i) ASSERT_TRUE(*store.del(numbered("k", i)));
  const Filled again = fill(store, size);
  EXPECT_GE(again.count, full.count * 95 / 100) << "of " << full.count;
}

TEST_P(FullStoreTest, OverwritesGoOnInAStoreThatIsNearlyFull) {
  const std::size_t size = GetParam();
  const Store store = open_with(4 * kMiB);
  const Filled full = fill(store, size);
  for (unsigned i = 0; i < std::max(8u, full.count / 10); ++i)
    ASSERT_TRUE(*store.del(numbered("k", i)));
  const unsigned first = std::max(8u, full.count / 10);
  ASSERT_LT(first, full.count);
  for (unsigned n = 0; n < 3 * full.count; ++n) {
    const unsigned i = first + n % (full.count - first);
    const Result<std::uint64_t> r = store.set(numbered("k", i), pattern(size, i + 1));
    ASSERT_TRUE(r) << status_name(r.status()) << " after " << n;
  }
  EXPECT_TRUE(whole(store));
}

INSTANTIATE_TEST_SUITE_P(ValueBytes, FullStoreTest,
                         testing::Values(0, 10, 64, 200, 1'000, 8'000, 60'000, 200'000));

TEST(MemoryTest, RoomMovesBetweenSizes) {
  const Store store = open_with(8 * kMiB);
  const Filled large = fill(store, 60'000);
  for (unsigned round = 0; round < 3; ++round) {
    for (const std::size_t size :
         {std::size_t{64}, std::size_t{4'000}, std::size_t{150'000}, std::size_t{60'000}}) {
      for (unsigned i = 0;; ++i) {
        const Result<bool> r = store.del(numbered("k", i));
        ASSERT_TRUE(r);
        if (!*r) break;
      }
      ASSERT_EQ(store.stats().entries, 0u);
      drain(store);
      const Filled f = fill(store, size);
      EXPECT_EQ(f.status, Status::kOutOfMemory);
      EXPECT_GT(f.count * (size + 30), 8 * kMiB * 55 / 100) << size << " in round " << round;
      if (size == 60'000) {
        EXPECT_GE(f.count, large.count * 75 / 100)
            << "what the table has grown by is missing, no more";
      }
    }
  }
  EXPECT_TRUE(whole(store));
}

TEST(MemoryTest, EveryWriteOfAFullStoreAnswersAndChangesNothingWhenRefused) {
  const Store store = open_with(4 * kMiB);
  ASSERT_TRUE(store.set("number", "1"));
  ASSERT_TRUE(store.set("text", "some text"));
  (void)fill(store, 500);
  (void)fill(store, 60);  // goes on where the larger ones stopped, under keys that exist
  for (unsigned i = 0; store.set(numbered("tiny", i), "").ok(); ++i) {
  }
  const std::string large = pattern(500'000);
  const auto refused_or_done = [&](Status status, const char* what) {
    EXPECT_TRUE(status == Status::kOk || status == Status::kOutOfMemory)
        << what << " " << status_name(status);
  };
  EXPECT_EQ(store.set("text", large).status(), Status::kOutOfMemory);
  EXPECT_EQ(store.append("text", large).status(), Status::kOutOfMemory);
  EXPECT_EQ(store.compare_and_swap("text", "some text", large).status(), Status::kOutOfMemory);
  EXPECT_EQ(store.get_and_set("text", large).status(), Status::kOutOfMemory);
  EXPECT_EQ(store.allocate("text", large.size()).status(), Status::kOutOfMemory);
  EXPECT_EQ(
      store.update("text", [&](std::optional<std::string_view>) { return Update::replace(large); })
          .status(),
      Status::kOutOfMemory);
  EXPECT_EQ(value_of(store, "text"), "some text");
  const Result<std::int64_t> n = store.increment("number");
  refused_or_done(n.status(), "increment");
  EXPECT_EQ(value_of(store, "number"), n ? "2" : "1");
  const Result<bool> e = store.expire("text", 1h);
  refused_or_done(e.status(), "expire");
  EXPECT_EQ(value_of(store, "text"), "some text");
  EXPECT_TRUE(*store.expire("text", 0ms)) << "a removal";
  EXPECT_TRUE(*store.compare_and_delete("number", n ? "2" : "1")) << "a removal";
  EXPECT_TRUE(store.get_and_del("k0").found()) << "a removal";
  EXPECT_TRUE(*store.update("k1", [](std::optional<std::string_view>) {
    return Update::remove();
  }) == Update::Kind::kRemove);
  EXPECT_TRUE(whole(store));
}

TEST(MemoryTest, SetManyOfAFullStoreFailsItemByItem) {
  const Store store = open_with(4 * kMiB);
  (void)fill(store, 1'000);
  const std::string large = pattern(200'000);
  const Item items[] = {{"a", large, {}}, {"b", large, {}}};
  Result<std::uint64_t> answers[2];
  ASSERT_TRUE(store.set_many(items, answers));
  EXPECT_EQ(answers[0].status(), Status::kOutOfMemory);
  EXPECT_EQ(answers[1].status(), Status::kOutOfMemory);
  EXPECT_EQ(value_of(store, "a"), std::nullopt);
}

TEST(MemoryTest, EntriesMaxBoundsTheEntries) {
  Options options = small_options();
  options.entries_max = 100;
  options.eviction = false;
  const Store store = open_or_fail(options);
  for (unsigned i = 0; i < 100; ++i) ASSERT_TRUE(store.set(numbered("k", i), "v"));
  EXPECT_EQ(store.set("one more", "v").status(), Status::kOutOfMemory);
  EXPECT_EQ(store.set_nx("one more", "v").status(), Status::kOutOfMemory);
  EXPECT_EQ(store.increment("one more").status(), Status::kOutOfMemory);
  EXPECT_EQ(store.append("one more", "v").status(), Status::kOutOfMemory);
  EXPECT_EQ(value_of(store, "one more"), std::nullopt);
  EXPECT_EQ(store.stats().entries, 100u);
  for (unsigned i = 0; i < 100; ++i)
    ASSERT_TRUE(store.set(numbered("k", i), "replaced")) << "is no insert";
  ASSERT_TRUE(*store.del("k0"));
  EXPECT_TRUE(store.set("one more", "v"));
  EXPECT_EQ(store.set("and another", "v").status(), Status::kOutOfMemory);
  for (unsigned round = 0; round < 1'000; ++round) {
    ASSERT_TRUE(*store.del("one more"));
    ASSERT_TRUE(store.set("one more", "v"));
  }
  EXPECT_EQ(store.stats().entries, 100u);
  EXPECT_TRUE(whole(store));
}

TEST(MemoryTest, ResizeUpMakesRoomWithinWhatWasReserved) {
  Options options = small_options();
  options.memory_bytes = 4 * kMiB;
  options.memory_bytes_max = 16 * kMiB;
  options.eviction = false;
  const Store store = open_or_fail(options);
  const Filled small = fill(store, 1'000);
  ASSERT_TRUE(store.resize(16 * kMiB));
  EXPECT_EQ(store.stats().memory_bytes, 16 * kMiB);
  unsigned count = small.count;
  while (store.set(numbered("k", count), pattern(1'000, count))) ++count;
  EXPECT_GT(count, small.count * 3);
  for (unsigned i = 0; i < count; i += 7)
    ASSERT_TRUE(value_of(store, numbered("k", i)) == pattern(1'000, i));
  EXPECT_EQ(store.resize(16 * kMiB + 65'536).error(),
            (Error{Status::kOutOfRange, Field::kMemoryBytes}));
  EXPECT_EQ(store.stats().memory_bytes, 16 * kMiB);
  EXPECT_TRUE(whole(store));
}

TEST(MemoryTest, ResizeBelowWhatIsInUseIsRefusedAndChangesNothing) {
  const Store store = open_with(16 * kMiB);
  const Filled full = fill(store, 1'000);
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, 4 * kMiB, 8 * kMiB}) {
    EXPECT_EQ(store.resize(bytes).error(), (Error{Status::kOutOfRange, Field::kMemoryBytes}))
        << bytes;
  }
  EXPECT_EQ(store.stats().memory_bytes, 16 * kMiB);
  EXPECT_EQ(store.stats().entries, full.count);
  EXPECT_EQ(value_of(store, "k0"), pattern(1'000, 0));
  EXPECT_TRUE(whole(store));
}

TEST(MemoryTest, ResizeDownHoldsAndUpAgain) {
  const Store store = open_with(16 * kMiB);
  const Filled before = fill(store, 1'000);
  for (unsigned i = 0; i < before.count; ++i) ASSERT_TRUE(*store.del(numbered("k", i)));
  drain(store);
  ASSERT_TRUE(store.resize(8 * kMiB)) << store.stats().memory_used_bytes << " bytes in use";
  EXPECT_EQ(store.stats().memory_bytes, 8 * kMiB);
  const Filled half = fill(store, 1'000);
  EXPECT_EQ(half.status, Status::kOutOfMemory);
  EXPECT_LT(half.count, before.count * 6 / 10);
  EXPECT_LE(store.stats().memory_used_bytes, 8 * kMiB);
  ASSERT_TRUE(store.resize(16 * kMiB));
  unsigned count = half.count;
  while (store.set(numbered("k", count), pattern(1'000, count))) ++count;
  EXPECT_GE(count, before.count * 95 / 100);
  EXPECT_TRUE(whole(store));
}

}  // namespace
}  // namespace tern::test
