// What a change says about the batch that made it; the changes of a batch come together where that is asked for.
#include <tern/batch.h>
#include <tern/store.h>
#include <tern/watch.h>

#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

struct Told {
  std::string key;
  ChangeKind kind;
  std::uint64_t batch = 0;
  std::uint32_t size = 0;
  std::string value;
  bool after_expired = false;
};
std::vector<Told> drain(Watch& watch, std::size_t at_a_time = 64) {
  std::vector<Told> all;
  std::vector<Change> changes(at_a_time);
  for (;;) {
    const Result<std::size_t> n = watch.poll(changes);
    EXPECT_TRUE(n.ok());
    if (!n || *n == 0) return all;
    for (const Change& c : std::span(changes).first(*n)) {
      all.push_back({std::string(c.key), c.kind, c.batch, c.batch_size, std::string(c.value), c.after_expired});
    }
  }
}
Watch must(Result<Watch> watch) {
  EXPECT_TRUE(watch.ok()) << testing::PrintToString(watch.error());
  return std::move(*watch);
}

class WatchBatch : public StoreTest {};

TEST_F(WatchBatch, EachChangeNamesItsBatchAndSaysOfHowManyItConsists) {
  Watch all = must(store.watch_prefix("")), one = must(store.watch_key("b"));
  ASSERT_TRUE(store.set("alone", "1").ok());
  WriteBatch first;
  for (const char* key : {"a", "b", "c"}) first.set(key, "1");
  first.require_absent("asked");
  first.del("never there");
  first.set("a", "2");  // of one key, the last counts
  ASSERT_TRUE(store.write(first).ok());
  WriteBatch second;
  second.del("b");
  second.set(std::string(300, 'k'), std::string(40'000, 'v'), {.ttl = 1s});
  ASSERT_TRUE(store.write(second).ok());
  std::map<std::uint64_t, std::set<std::string>> of;
  for (const Told& t : drain(all)) {
    EXPECT_TRUE(of[t.batch].insert(t.key).second) << t.key;
    EXPECT_EQ(t.size, t.batch == 0 ? 0u : t.key.size() > 1 || t.kind == ChangeKind::kDelete ? 2u : 3u) << t.key;
  }
  ASSERT_EQ(of.size(), 3u);
  auto at = of.begin();
  EXPECT_EQ(at++->second, (std::set<std::string>{"alone"}));
  EXPECT_EQ(at++->second, (std::set<std::string>{"a", "b", "c"}));
  EXPECT_EQ(at++->second, (std::set<std::string>{"b", std::string(300, 'k')}));
  const auto told = drain(one);
  ASSERT_EQ(told.size(), 2u);
  EXPECT_EQ(told[0].size, 3u);
  EXPECT_EQ(told[1].size, 2u);
  EXPECT_LT(told[0].batch, told[1].batch);
  EXPECT_TRUE(whole(store));
}

TEST_F(WatchBatch, ItsRecordsAreMovedSavedAndReplacedAsOthersAre) {
  Watch watch = must(store.watch_prefix(""));
  for (int round = 0; round != 20; ++round) {
    WriteBatch batch;
    for (int i = 0; i != 50; ++i) batch.set(numbered("k", i), std::string(static_cast<std::size_t>(i * 13), 'v'));
    ASSERT_TRUE(store.write(batch).ok());
    for (const Told& t : drain(watch)) EXPECT_EQ(t.size, 50u);
    for (int i = 0; i < 50; i += 3) ASSERT_TRUE(store.append(numbered("k", i), "x").ok());
    for (const Told& t : drain(watch)) EXPECT_EQ(t.batch, 0u);
    ASSERT_TRUE(store.tick(1ms).ok());
  }
  for (int i = 0; i != 50; ++i) EXPECT_EQ(store.get(numbered("k", i))->size(), static_cast<std::size_t>(i * 13) + (i % 3 == 0 ? 1 : 0));
  EXPECT_TRUE(whole(store));
}

TEST_F(WatchBatch, OfABatchFromBeforeNothingIsTold) {
  WriteBatch batch;
  batch.set("a", "1");
  batch.set("b", "1");
  ASSERT_TRUE(store.write(batch).ok());
  Watch watch = must(store.watch_prefix("", {.initial = true}));
  ASSERT_TRUE(store.set("a", "2").ok());
  for (const Told& t : drain(watch)) {
    EXPECT_EQ(t.batch, 0u);
    EXPECT_EQ(t.size, 0u);
  }
}

TEST_F(WatchBatch, APutOverAValueThatHadExpiredSaysSo) {
  Watch watch = must(store.watch_prefix(""));
  const auto expired = [&](const char* key) {
    ASSERT_TRUE(store.set(key, "1", {.ttl = 10ms}).ok());
    (void)drain(watch);
    clock.advance(10ms);
  };
  const auto flags = [&] {
    std::string all;
    for (const Told& t : drain(watch)) all += t.kind == ChangeKind::kPut ? t.after_expired ? 'x' : 'p' : '-';
    return all;
  };
  expired("k");
  ASSERT_TRUE(store.set("k", "2").ok());
  EXPECT_EQ(flags(), "x");
  ASSERT_TRUE(store.set("k", "3").ok());
  EXPECT_EQ(flags(), "p");
  expired("k");
  ASSERT_TRUE(store.set_nx("k", "4").ok());
  ASSERT_TRUE(store.append("k", "5").ok());
  EXPECT_EQ(flags(), "xp");
  expired("k");
  ASSERT_TRUE(store.cleanup_expired().ok());
  ASSERT_TRUE(store.set("k", "6").ok());
  EXPECT_EQ(flags(), "-p");
  expired("k");
  WriteBatch batch;
  batch.set("k", "7");
  batch.set("other", "7");
  ASSERT_TRUE(store.write(batch).ok());
  for (const Told& t : drain(watch)) EXPECT_EQ(t.after_expired, t.key == "k");
  EXPECT_TRUE(whole(store));
}

// Every batch's changes in a row, whatever lies between them in the rings; each key's in order.
TEST_F(WatchBatch, GatheredABatchComesInARow) {
  Watch watch = must(store.watch_prefix("", {.gather = true}));
  std::map<std::string, std::string> last;
  for (int round = 0; round != 30; ++round) {
    for (int i = 0; i != 7; ++i) {
      const std::string key = numbered("k", (round * 5 + i) % 40);
      ASSERT_TRUE(store.set(key, last[key] = "s" + std::to_string(round * 100 + i)).ok());
    }
    WriteBatch batch;
    for (int i = 0; i != 20; ++i) {
      const std::string key = numbered("k", (round * 11 + i) % 40);
      batch.set(key, last[key] = "b" + std::to_string(round * 100 + i));
    }
    ASSERT_TRUE(store.write(batch).ok());
  }
  std::map<std::string, std::string> told;
  std::set<std::uint64_t> over;
  std::uint64_t now = 0;
  std::uint32_t left = 0;
  std::size_t count = 0;
  for (const Told& t : drain(watch, 13)) {
    ++count;
    told[t.key] = t.value;
    if (left == 0 && t.batch != 0) {
      ASSERT_TRUE(over.insert(t.batch).second) << "it had been told before";
      now = t.batch;
      left = t.size;
    }
    if (left == 0) continue;
    ASSERT_EQ(t.batch, now) << "something lies between";
    --left;
  }
  EXPECT_EQ(left, 0u);
  EXPECT_EQ(over.size(), 30u);
  EXPECT_EQ(count, 30u * 27);
  EXPECT_EQ(told, last);
  EXPECT_TRUE(watch.token().ok());
  EXPECT_TRUE(whole(store));
}

TEST_F(WatchBatch, GatheredWhatIsForOthersCountsAndIsNotTold) {
  Watch watch = must(store.watch_prefix("a", {.kinds = kind_bit(ChangeKind::kPut), .gather = true}));
  for (int round = 0; round != 10; ++round) {
    WriteBatch batch;
    for (const char* key : {"a1", "b1", "a2", "b2", "c"}) batch.set(key, std::to_string(round));
    batch.del("a1");
    ASSERT_TRUE(store.write(batch).ok());
  }
  const auto told = drain(watch);
  ASSERT_EQ(told.size(), 10u);
  for (const Told& t : told) EXPECT_EQ(t.key, "a2");
  EXPECT_FALSE(*watch.wait(0ms));
  EXPECT_TRUE(watch.token().ok());
}

// A removal at one moment stands for changes of the batch that nobody will be told.
TEST_F(WatchBatch, GatheredNothingIsWaitedForThatAClearHasKilled) {
  Watch watch = must(store.watch_prefix("", {.gather = true}));
  for (int round = 0; round != 5; ++round) {
    WriteBatch batch;
    for (int i = 0; i != 20; ++i) batch.set(numbered("k", i), "1");
    ASSERT_TRUE(store.write(batch).ok());
    ASSERT_TRUE(store.clear().ok());
    ASSERT_TRUE(store.set("after", "1").ok());
    std::size_t puts = 0;
    for (const Told& t : drain(watch)) puts += t.kind == ChangeKind::kPut;
    EXPECT_EQ(puts, 21u);
    EXPECT_TRUE(watch.token().ok());
  }
}

TEST(WatchBatchGaps, GatheredAGapEndsTheWaiting) {
  ManualClock clock;
  Options options = small_options(&clock);
  options.shard_count = 2;
  options.ring_bytes = 1024;
  const Store store = open_or_fail(options);
  Watch watch = must(store.watch_prefix("", {.gather = true}));
  for (int round = 0; round != 50; ++round) {
    WriteBatch batch;
    for (int i = 0; i != 40; ++i) batch.set(numbered("k", i), std::to_string(round));
    ASSERT_TRUE(store.write(batch).ok());
  }
  std::size_t told = 0;
  for (const Told& t : drain(watch)) told += t.kind == ChangeKind::kPut;
  EXPECT_GT(watch.lost(), 0u);
  EXPECT_EQ(told + watch.lost(), 50u * 40);
  // And what comes afterwards is gathered again.
  WriteBatch batch;
  for (int i = 0; i != 4; ++i) batch.set(numbered("new", i), "1");
  ASSERT_TRUE(store.write(batch).ok());
  EXPECT_EQ(drain(watch).size(), 4u);
  EXPECT_TRUE(watch.token().ok());
}

TEST_F(WatchBatch, GatherIsRefusedTogetherWithCoalesce) {
  EXPECT_EQ(store.watch_prefix("", {.coalesce = true, .gather = true}).error(), (Error{Status::kInvalidArgument, Field::kGather}));
  EXPECT_EQ(store.stats().watches, 0u);
}

}  // namespace
}  // namespace tern::test
