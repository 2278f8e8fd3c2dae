// Random sequences on a full store and on the model of its eviction (eviction_sequence.h), and the planted bugs that
// they must find.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cstdio>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "tests/engine/parts/eviction_sequence.h"

namespace tern::test {
namespace {

using detail::Mutant;

RC_GTEST_PROP(EvictionModel, AShortSequenceEvictsAsTheModel, ()) {
  const auto bytes = *rc::gen::resize(600, rc::gen::arbitrary<std::vector<std::uint8_t>>());
  const std::string difference = EvictionSequence<PlantedSync>().run(bytes);
  if (!difference.empty()) RC_FAIL(difference);
}

std::vector<std::uint8_t> random_bytes(std::uint64_t seed, std::size_t count) {
  std::mt19937_64 random(seed);
  std::vector<std::uint8_t> bytes(count);
  for (std::uint8_t& b : bytes) b = static_cast<std::uint8_t>(random());
  // Half of the sequences on fewer keys than others, that come back.
  if (seed % 2 == 0) {
    for (std::size_t i = 3; i < count; i += 2) bytes[i] %= 24;
  }
  return bytes;
}

TEST(EvictionModel, LongSequencesEvictAsTheModel) {
  std::uint64_t evictions = 0;
  for (std::uint64_t seed = 1; seed <= 400; ++seed) {
    EvictionSequence<PlantedSync> sequence;
    ASSERT_EQ(sequence.run(random_bytes(seed, 4'000)), "") << "seed " << seed;
    evictions += sequence.evictions();
  }
  std::printf("%llu evictions\n", static_cast<unsigned long long>(evictions));
  EXPECT_GT(evictions, 50'000u);
}

void expect_found(Mutant m, const char* name) {
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    PlantedSync::mutant = m;
    const std::string difference = EvictionSequence<PlantedSync>().run(random_bytes(seed, 4'000));
    PlantedSync::mutant = Mutant::kNone;
    if (difference.empty()) continue;
    std::printf("%s: found in sequence %llu: %s\n", name, static_cast<unsigned long long>(seed), difference.c_str());
    return;
  }
  ADD_FAILURE() << name << ": a planted bug was not found";
}

// Keys that the policy doesn't follow alone fill their count, and only a store of many entries has some. One of them is hit
// behind one that isn't full: whether that one was counted.
bool is_counted_before_a_full_one() {
  using Sync = PlantedSync;
  namespace base = detail::base;
  detail::Core<Sync> core;
  detail::CoreOptions o;
  o.memory_bytes = std::size_t{8} << 20;
  o.seed = 1;
  o.huge_pages = false;
  o.eviction = true;
  o.entries_max = 4'096;
  o.time = {[](const void*) { return std::uint64_t{1}; }, nullptr};
  if (core.open(o) != alloc::Error::kNone) return false;
  auto& thread = *core.space.register_thread(1);
  const auto name = [](unsigned n) { return "key" + std::to_string(n); };
  char out[16];
  const auto access = [&](unsigned n) {
    const detail::Guard<Sync> guard(core.space, thread);
    return core.table.find(core.hash_of(name(n)), name(n)).record->hold_word().access();
  };
  const auto get_shortly = [&](unsigned n) {
    const std::string key = name(n);
    const std::uint64_t hash = core.hash_of(key), size = base::copy_plain<base::KeySize::kAny>(thread, hash, key, out, sizeof out);
    if (size == base::kOtherLength) (void)base::copy_other(thread, key, out, sizeof out);
  };
  unsigned full = 0;
  for (unsigned n = 0; n != 20; ++n) {  // so few that none lies in an overflow bucket
    const std::string key = name(n);
    detail::SetChange<Sync> change(core.space, thread, key, "value", {});
    (void)core.write(thread, core.hash_of(key), key, change);
    if (n == 0) continue;
    for (int i = 0; i != 4; ++i) (void)core.copy(thread, core.hash_of(key), key, out, sizeof out);
    if (access(n) == detail::kAccessMax) full = n;
  }
  get_shortly(0);
  get_shortly(full);
  EXPECT_TRUE(full != 0 && thread.short_hits.get() == 2) << "not what is to be looked at";
  const detail::Guard<Sync> guard(core.space, thread);
  core.eviction.count_hits(thread);
  return access(0) == 1;
}

TEST(EvictionHits, AreCountedBeforeOneThatIsFull) {
  EXPECT_TRUE(is_counted_before_a_full_one());
  PlantedSync::mutant = Mutant::kHitsAsTheLast;
  EXPECT_FALSE(is_counted_before_a_full_one());
  PlantedSync::mutant = Mutant::kNone;
}

struct FullStore {
  explicit FullStore(std::size_t memory_bytes, bool size_aware = false, unsigned shards = 1) {
    detail::CoreOptions o;
    o.memory_bytes = memory_bytes;
    o.shard_count = shards;
    o.seed = 1;
    o.huge_pages = false;
    o.eviction = true;
    o.size_aware = size_aware;
    o.time = {[](const void*) { return std::uint64_t{1}; }, nullptr};
    EXPECT_EQ(core.open(o), alloc::Error::kNone);
    thread = core.space.register_thread(1);
  }
  bool set(unsigned n, std::size_t size) {
    const std::string key = "key" + std::to_string(n), value(size, 'v');
    detail::SetChange<PlantedSync> change(core.space, *thread, key, value, {});
    return core.write(*thread, core.hash_of(key), key, change).outcome == detail::Committed::Outcome::kPut;
  }
  void remove(unsigned n) {
    const std::string key = "key" + std::to_string(n);
    detail::RemoveChange<PlantedSync> change(core.space, *thread, key);
    core.write(*thread, core.hash_of(key), key, change, true);
  }
  detail::Core<PlantedSync> core;
  detail::Thread<PlantedSync>* thread = nullptr;
};

// A store that has room and isn't written to counts hits for a while, then none. Whether it does again when it grows by a 64th of its
// budget, and, once more at rest, when something has to go.
struct Wakes {
  bool by_growth;
  bool by_eviction;
};
Wakes wakes() {
  constexpr std::size_t kBytes = std::size_t{8} << 20;
  FullStore store(kBytes);
  char out[200];
  const auto key = [](unsigned n) { return "key" + std::to_string(n); };
  const auto access = [&](unsigned n) {
    const detail::Guard<PlantedSync> guard(store.core.space, *store.thread);
    return store.core.table.find(store.core.hash_of(key(n)), key(n)).record->hold_word().access();
  };
  const auto get = [&](unsigned n) {
    EXPECT_EQ(store.core.copy(*store.thread, store.core.hash_of(key(n)), key(n), out, sizeof out), 100u);
  };
  const auto bring_to_rest = [&] {
    unsigned turns = 0;
    for (; store.core.eviction.counts_hits() && turns != 100; ++turns) store.core.eviction.rest(*store.thread, kBytes / 1024 / 4);
    EXPECT_GE(turns, 4u) << "hits that were too few to tell";
    EXPECT_LT(turns, 100u) << "not at rest";
  };
  unsigned n = 0;
  for (; n != 1'000; ++n) EXPECT_TRUE(store.set(n, 100));
  get(0);
  EXPECT_EQ(access(0), 1u);
  bring_to_rest();
  get(1);
  EXPECT_EQ(access(1), 0u) << "counted at rest";
  Wakes w{};
  for (const unsigned end = n + 2 * static_cast<unsigned>(kBytes / 64 / 128); n != end; ++n) EXPECT_TRUE(store.set(n, 100));
  get(2);
  w.by_growth = access(2) == 1;
  if (store.core.eviction.counts_hits()) bring_to_rest();
  EXPECT_EQ(store.thread->counters.evicted.get(), 0u);
  (void)store.core.eviction.evict_one(*store.thread);
  w.by_eviction = store.core.eviction.counts_hits();
  for (int i = 0; i != 2; ++i) store.core.eviction.rest(*store.thread, kBytes);
  EXPECT_EQ(store.core.eviction.counts_hits(), w.by_eviction) << "what evicts doesn't rest";
  return w;
}

TEST(EvictionHits, AreNotCountedAtRest) {
  const Wakes sound = wakes();
  EXPECT_TRUE(sound.by_growth && sound.by_eviction);
  PlantedSync::mutant = Mutant::kRestsForEver;
  const Wakes planted = wakes();
  EXPECT_FALSE(planted.by_growth || planted.by_eviction);
  PlantedSync::mutant = Mutant::kNone;
}

// How many entries the first refused write has evicted, while another thread stands inside a call, little is in limbo, and nothing
// is free.
std::uint64_t evicted_in_vain() {
  FullStore store(std::size_t{64} << 20);
  auto& other = *store.core.space.register_thread(2);
  unsigned n = 0;
  for (; store.thread->counters.evicted.get() < 20'000; ++n) EXPECT_TRUE(store.set(n, 100));
  store.core.space.epoch.enter(other.epoch);
  std::vector<alloc::Offset> taken;
  while (const alloc::Offset block = store.core.space.heap.allocate(store.thread->cache, 136)) taken.push_back(block);
  std::uint64_t before = 0;
  do {
    before = store.thread->counters.evicted.get();
  } while (store.set(n++, 100));
  EXPECT_FALSE(store.core.eviction.stands_still(100)) << "or there would be nothing to see";
  store.core.space.epoch.leave(other.epoch);
  EXPECT_TRUE(store.set(n, 100));
  for (const alloc::Offset block : taken) store.core.space.heap.free(store.thread->cache, block);
  return store.thread->counters.evicted.get() - before;
}

TEST(EvictionInVain, IsGivenUpWhileTheEpochsStand) {
  EXPECT_LT(evicted_in_vain(), 64u);
  PlantedSync::mutant = Mutant::kStuckEpochEvicted;
  EXPECT_GT(evicted_in_vain(), 256u);
  PlantedSync::mutant = Mutant::kNone;
}

// Half of the budget lies in free blocks, each beside one in use. How many entries a write of another size evicts.
std::uint64_t evicted_for_another_size() {
  FullStore store(std::size_t{64} << 20);
  unsigned n = 0;
  for (; store.thread->counters.evicted.get() < 500; ++n) EXPECT_TRUE(store.set(n, 8'000));
  for (unsigned i = 0; i < n; i += 2) EXPECT_TRUE(store.set(i, 100));
  EXPECT_TRUE(store.core.space.heap.is_scattered());
  const std::uint64_t before = store.thread->counters.evicted.get();
  for (unsigned i = 0; i != 300; ++i) EXPECT_TRUE(store.set(n++, 40'000)) << i;
  EXPECT_TRUE(store.core.space.heap.verify());
  return store.thread->counters.evicted.get() - before;
}

TEST(EvictionOfManySizes, TakesTheRoomThatIsThereFirst) {
  EXPECT_EQ(evicted_for_another_size(), 0u);
  PlantedSync::mutant = Mutant::kRoomEvictedFirst;
  EXPECT_GT(evicted_for_another_size(), 0u);
  PlantedSync::mutant = Mutant::kNone;
}

// In how many groups a store has keys that was full of small records and is full of large ones by now, but for a few of the small
// that are read again and again.
unsigned groups_after_a_shift() {
  FullStore store(std::size_t{64} << 20, false, 4);
  char out[1'000];
  unsigned n = 0;
  for (; store.thread->counters.evicted.get() < 5'000; ++n) EXPECT_TRUE(store.set(n, 1'000));
  EXPECT_EQ(store.core.eviction.queues().groups_with_keys(), 4u) << "of sixty thousand";
  const unsigned last = n;
  for (; n != last + 5'000; ++n) {
    (void)store.set(n, 60'000);
    for (unsigned i = 0; i != 4; ++i) {
      const std::string key = "key" + std::to_string(last - 1 - (4 * n + i) % 200);
      (void)store.core.copy(*store.thread, store.core.hash_of(key), key, out, sizeof out);
    }
  }
  return store.core.eviction.queues().groups_with_keys();
}

TEST(EvictionOfManySizes, TheGroupsFollowTheEntries) {
  EXPECT_EQ(groups_after_a_shift(), 1u);
  PlantedSync::mutant = Mutant::kEvictStaysWhereItLeaves;
  EXPECT_GT(groups_after_a_shift(), 1u);
  PlantedSync::mutant = Mutant::kNone;
}

TEST(EvictionOfRemovedKeys, TheirEntriesGoAFewWithEachInsert) {
  FullStore store(std::size_t{8} << 20);
  unsigned n = 0;
  for (; store.thread->counters.evicted.get() < 500; ++n) EXPECT_TRUE(store.set(n, 100));
  for (unsigned i = 0; i != n; ++i) store.remove(i);
  const auto length = [&] {
    const auto lengths = store.core.eviction.queues().lengths();
    return lengths.small + lengths.main;
  };
  constexpr unsigned kInserts = 15'000;
  const std::uint64_t before = length();
  ASSERT_GT(before, 2 * kInserts + 5'000);
  std::uint64_t now = before, most = 0;
  for (unsigned i = 0; i != kInserts; ++i) {
    EXPECT_TRUE(store.set(n++, 100));
    const std::uint64_t then = std::exchange(now, length());
    if (then > now) most = std::max(most, then - now);
  }
  EXPECT_EQ(most, 1u) << "one came, two went";
  EXPECT_LE(now, 2 * kInserts + 1'024 + 64) << "half of what is there, and a constant";
}

unsigned hits_of_two_sizes(bool size_aware) {
  FullStore store(std::size_t{8} << 20, size_aware);
  std::mt19937_64 random(1);
  unsigned hits = 0;
  char out[4'096];
  for (unsigned i = 0; i < 30'000; ++i) {
    const unsigned n = static_cast<unsigned>(random() % 8'000);
    const std::string key = "key" + std::to_string(n);
    if (store.core.copy(*store.thread, store.core.hash_of(key), key, out, sizeof out) != detail::kMissing) {
      ++hits;
    } else {
      EXPECT_TRUE(store.set(n, n % 2 == 0 ? 100 : 4'000));
    }
  }
  return hits;
}

TEST(EvictionBySize, KeepsWhatIsLight) {
  const unsigned hits = hits_of_two_sizes(false);
  EXPECT_GT(hits_of_two_sizes(true), hits * 11 / 10);
  PlantedSync::mutant = Mutant::kLightNotKept;
  EXPECT_EQ(hits_of_two_sizes(true), hits);
  PlantedSync::mutant = Mutant::kNone;
}

TEST(EvictionModelMutants, AreFound) {
  expect_found(Mutant::kEvictKept, "evict kept");
  expect_found(Mutant::kEvictHeld, "evict held");
  expect_found(Mutant::kEvictOtherIncarnation, "evict another incarnation");
  expect_found(Mutant::kEvictExpiredInTurn, "evict expired in turn");
  expect_found(Mutant::kEvictAsideUncounted, "evict, aside uncounted");
  expect_found(Mutant::kEvictMainNeverFull, "evict, main never full");
  expect_found(Mutant::kAccessNotInherited, "access not inherited");
  expect_found(Mutant::kHitNotedBeside, "hit noted beside");
  expect_found(Mutant::kHitOfWhoeverIsThere, "hit of whoever is there");
  expect_found(Mutant::kHitsForgotten, "hits forgotten");
  expect_found(Mutant::kEntryPushedTwice, "entry pushed twice");
  expect_found(Mutant::kRemovalToldTwice, "removal told twice");
  expect_found(Mutant::kRemovalUntold, "removal untold");
}

}  // namespace
}  // namespace tern::test
