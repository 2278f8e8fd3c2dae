// Memory goes where the workload goes: a store that is full of one size takes another after most of
// the first is gone, however thinly what remains is spread; the accounts hold throughout.
#include <tern/store.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

Store open_with(std::size_t memory_bytes) {
  Options options = small_options();
  options.memory_bytes = memory_bytes;
  return open_or_fail(options);
}

// What is in the store, so that every phase can be checked whole.
class Contents {
 public:
  explicit Contents(const Store& store) : store_(store) {}

  // Sets fresh keys until the store refuses, with a few ticks allowed for each; how many.
  unsigned fill(std::size_t bytes, unsigned ticks = 0) {
    unsigned count = 0;
    for (;; ++count) {
      const std::string key = numbered("k", next_);
      Status status = store_.set(key, pattern(bytes, next_)).status();
      for (unsigned i = 0; status == Status::kOutOfMemory && i < ticks; ++i) {
        (void)store_.tick(1ms);
        status = store_.set(key, pattern(bytes, next_)).status();
      }
      if (status != Status::kOk) {
        EXPECT_EQ(status, Status::kOutOfMemory);
        return count;
      }
      entries_.push_back({next_++, bytes});
    }
  }
  // Keeps one of `n`.
  void thin_out(unsigned n) {
    std::vector<Entry> kept;
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      if (n != 0 && i % n == 0) {
        kept.push_back(entries_[i]);
      } else {
        const Result<bool> removed = store_.del(numbered("k", entries_[i].number));
        ASSERT_TRUE(removed) << status_name(removed.status()) << " at " << i << " of " << entries_.size();
        ASSERT_TRUE(*removed);
      }
    }
    entries_ = kept;
  }
  bool are_there() const {
    for (const Entry& e : entries_) {
      if (value_of(store_, numbered("k", e.number)) != pattern(e.bytes, e.number)) return false;
    }
    return store_.stats().entries == entries_.size();
  }
  std::size_t bytes() const {
    std::size_t sum = 0;
    for (const Entry& e : entries_) sum += e.bytes;
    return sum;
  }
  std::size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    unsigned number;
    std::size_t bytes;
  };
  const Store& store_;
  std::vector<Entry> entries_;
  unsigned next_ = 0;
};

class MovesTest : public testing::TestWithParam<std::size_t> {
 protected:
  void thin_out_and_fill();
};

void MovesTest::thin_out_and_fill() {
  const Store store = open_with(GetParam());
  Contents contents(store);
  (void)contents.fill(64);
  contents.thin_out(16);
  const std::size_t left = contents.bytes();
  const unsigned large = contents.fill(60'000);
  EXPECT_GE(large * std::size_t{60'000}, GetParam() * 65 / 100)
      << large << " values of 64 KiB beside " << left << " bytes, " << store.stats().moves << " moves";
  EXPECT_TRUE(contents.are_there());
  EXPECT_TRUE(whole(store));
}

TEST_P(MovesTest, AThinnedOutStoreTakesLargeValuesWithoutATick) { thin_out_and_fill(); }

TEST_P(MovesTest, SizesShiftBackAndForth) {
  const Store store = open_with(GetParam());
  Contents contents(store);
  for (const std::size_t bytes : {64, 4096, 60'000, 4096, 64, 60'000, 64}) {
    (void)contents.fill(bytes);
    EXPECT_GT(contents.bytes(), GetParam() / 2) << bytes;
    ASSERT_TRUE(contents.are_there()) << bytes;
    ASSERT_TRUE(whole(store)) << bytes;
    contents.thin_out(16);
    ASSERT_TRUE(contents.are_there()) << bytes;
    ASSERT_TRUE(whole(store)) << bytes;
  }
  EXPECT_TRUE(contents.are_there());
  EXPECT_LE(store.stats().memory_used_bytes, store.stats().memory_bytes);
}

INSTANTIATE_TEST_SUITE_P(MemoryBytes, MovesTest, testing::Values(4 * kMiB, 20 * kMiB));

class LargeSpansTest : public MovesTest {};
TEST_P(LargeSpansTest, AThinnedOutStoreTakesLargeValuesWithoutATick) { thin_out_and_fill(); }
// From here on spans are 2 MiB.
INSTANTIATE_TEST_SUITE_P(MemoryBytes, LargeSpansTest,
                         testing::Values(kSanitized ? 8 * kMiB : 256 * kMiB));

}  // namespace
}  // namespace tern::test
