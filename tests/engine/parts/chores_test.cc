// Maintenance goes in steps of bounded work, whatever has piled up: judged by the units that are counted where the work is
// done, never by time.
#include "engine/chores.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <memory>
#include <string>

#include "engine/changes.h"
#include "tests/engine/parts/planted_sync.h"

namespace tern::test {
namespace {

using detail::Mutant;
using Sync = PlantedSync;
using Chores = detail::Chores<Sync>;

constexpr std::size_t kMiB = std::size_t{1} << 20;
constexpr unsigned kMillion = 1'000'000;

struct Store {
  explicit Store(std::size_t memory_bytes, const std::function<void(detail::CoreOptions&)>& with = {})
      : core(std::make_unique<detail::Core<Sync>>()) {
    detail::CoreOptions o;
    o.memory_bytes = memory_bytes;
    o.shard_count = 4;
    o.seed = 1;
    o.huge_pages = false;
    o.time = {[](const void* ms) { return *static_cast<const std::uint64_t*>(ms); }, &now_ms};
    if (with) with(o);
    if (core->open(o) != alloc::Error::kNone) std::abort();
    thread = core->space.register_thread(1);
    other = core->space.register_thread(2);
  }

  bool set(unsigned n, std::string_view value, std::uint64_t deadline_ms = 0) {
    const std::string key = "k" + std::to_string(n);
    detail::SetTerms terms;
    terms.has_deadline = deadline_ms != 0;
    terms.deadline_ms = deadline_ms;
    detail::SetChange<Sync> change(core->space, *thread, key, value, terms);
    return core->write(*thread, core->hash_of(key), key, change).outcome == detail::Committed::Outcome::kPut;
  }

  std::uint64_t now_ms = 1;
  std::unique_ptr<detail::Core<Sync>> core;
  detail::Thread<Sync>* thread = nullptr;
  detail::Thread<Sync>* other = nullptr;
};

struct Done {
  std::uint64_t steps = 0, units = 0, most = 0;
};

// Maintenance by thread `t` until a round has nothing to do.
Done maintain(Store& store, detail::Thread<Sync>& t) {
  Done done;
  for (Chores chores(*store.core, t, 0); !chores.is_over(); ++done.steps) {
    const std::uint64_t before = t.work;
    (void)chores.step();
    done.units += t.work - before;
    done.most = std::max(done.most, t.work - before);
  }
  return done;
}

TEST(ChoresTest, AMillionRecordsInLimboAreFreedInBoundedSteps) {
  Store store(96 * kMiB);
  store.core->space.epoch.set_limits(96 * kMiB, kMiB);  // so many are wanted here
  ASSERT_TRUE(store.set(0, "v"));
  store.core->space.epoch.enter(store.other->epoch);  // a reader that stands
  for (unsigned i = 0; i < kMillion; ++i) ASSERT_TRUE(store.set(i % 64, "v")) << i;
  EXPECT_LE(maintain(store, *store.thread).most, Chores::kUnitsMax) << "while nothing may be freed";
  EXPECT_GT(store.core->space.epoch.limbo_bytes(), std::uint64_t{kMillion - 1'000} * 32);
  store.core->space.epoch.leave(store.other->epoch);
  // By another thread than the one whose limbo it is, which isn't busy any more.
  for (int i = 0; i != 2; ++i) store.core->space.epoch.see_who_is_busy(store.core->space);
  const Done done = maintain(store, *store.other);
  EXPECT_LE(done.most, Chores::kUnitsMax);
  EXPECT_GE(done.units, std::uint64_t{kMillion} - 1'000);
  EXPECT_EQ(store.core->space.epoch.limbo_bytes(), 0u);
}

TEST(ChoresTest, AMillionThatExpireAtOneInstantGoInBoundedSteps) {
  Store store(256 * kMiB);
  for (unsigned i = 0; i < kMillion; ++i) ASSERT_TRUE(store.set(i, "v", 1'000)) << i;
  store.now_ms = 2'000;
  const Done done = maintain(store, *store.thread);
  EXPECT_LE(done.most, Chores::kUnitsMax);
  EXPECT_GE(done.units, std::uint64_t{kMillion});
  EXPECT_EQ(store.core->live_entries(), 0u);
  EXPECT_EQ(store.thread->counters.expired.get(), std::uint64_t{kMillion});
}

// A table that is far too small for its entries, as one is that found no memory to grow for long.
TEST(ChoresTest, AGrowthThatIsFarBehindGoesInBoundedSteps) {
  Store store(64 * kMiB);
  for (unsigned i = 0; i < 100'000; ++i) ASSERT_TRUE(store.set(i, "v"));
  const auto buckets = [&] {
    std::uint64_t sum = 0;
    for (unsigned i = 0; i != 4; ++i) sum += detail::Table<Sync>::size_of(store.core->table.shard(i)).buckets();
    return sum;
  };
  const std::uint64_t before = buckets();
  for (unsigned i = 0; i != 4; ++i) store.core->table.shard(i).live.fetch_add(100'000, std::memory_order_relaxed);
  const Done done = maintain(store, *store.thread);
  for (unsigned i = 0; i != 4; ++i) store.core->table.shard(i).live.fetch_sub(100'000, std::memory_order_relaxed);
  EXPECT_LE(done.most, Chores::kUnitsMax);
  EXPECT_GT(buckets(), 4 * before);
  EXPECT_GE(done.units, buckets() - before);
}

// Or writers would make the room themselves for as long as maintenance is busy with what has expired.
TEST(ChoresTest, RoomIsMadeBesideWhatHasExpired) {
  Store store(64 * kMiB, [](detail::CoreOptions& o) { o.eviction = true; });
  for (unsigned i = 0; i < 400'000; ++i) ASSERT_TRUE(store.set(i, std::string(100, 'v')));
  for (unsigned i = 400'000; i < 500'000; ++i) ASSERT_TRUE(store.set(i, "v", 1'000));
  store.core->eviction.owe(16 * kMiB);
  store.now_ms = 2'000;
  const std::uint64_t evicted = store.thread->counters.evicted.get(), expired = store.thread->counters.expired.get();
  unsigned begun = 0;  // shards
  for (Chores chores(*store.core, *store.thread, 0); begun != 4;) {
    const unsigned shard = chores.shard();
    (void)chores.step();
    begun += chores.shard() != shard;
  }
  EXPECT_GE(store.thread->counters.evicted.get() - evicted, 4u * detail::Core<Sync>::kVictimsASlice);
  EXPECT_GE(store.thread->counters.expired.get() - expired, 4u * detail::Core<Sync>::kExpireSlice / 2);
}

// As ticks with a budget of nothing do: one step each, while there is always something to reclaim.
struct StepByStep {
  std::uint64_t expired = 0;
  unsigned over = 0;  // times that a part of a round was taken for all of it
  unsigned rounds = 0;
};
constexpr unsigned kChoresOfAShard = 6;  // of places
StepByStep step_by_step(Mutant mutant) {
  PlantedSync::mutant = mutant;
  Store store(64 * kMiB);
  StepByStep done;
  for (unsigned i = 0; i < 1'000; ++i) EXPECT_TRUE(store.set(i, "v", 1'000));
  store.now_ms = 2'000;
  unsigned place = 0;
  for (unsigned n = 0; n != 2'000; ++n) {
    for (unsigned i = 0; i != 200; ++i) EXPECT_TRUE(store.set(kMillion + i % 64, "v"));
    Chores chores(*store.core, *store.other, place);
    (void)chores.step();
    done.over += chores.is_over() && place != 0;
    done.rounds += chores.place() % kChoresOfAShard == 0;
    place = chores.place();
  }
  done.expired = store.other->counters.expired.get();
  PlantedSync::mutant = Mutant::kNone;
  return done;
}

TEST(ChoresTest, StepByStepEveryChoreHasItsTurn) {
  const StepByStep done = step_by_step(Mutant::kNone);
  EXPECT_EQ(done.expired, 1'000u);
  EXPECT_EQ(done.over, 0u);
  EXPECT_GT(done.rounds, 100u) << "moves come at a round's end";
}
TEST(ChoresMutants, FromTheStart) { EXPECT_LT(step_by_step(Mutant::kChoresFromTheStart).expired, 1'000u); }
TEST(ChoresMutants, PartIsWhole) { EXPECT_GT(step_by_step(Mutant::kChoresPartIsWhole).over, 0u); }

// Where all that could go was read often, a victim takes more visits than one step has.
TEST(ChoresTest, RoomIsMadeOfWhatIsReadOftenInBoundedSteps) {
  Store store(16 * kMiB, [](detail::CoreOptions& o) { o.eviction = true; });
  for (unsigned i = 0; i < 100'000; ++i) ASSERT_TRUE(store.set(i, std::string(100, 'v')));
  const auto read_all = [&] {
    for (unsigned i = 0; i < 100'000; ++i) {
      const std::string key = "k" + std::to_string(i);
      for (int n = 0; n != 4; ++n) (void)store.core->read(*store.thread, store.core->hash_of(key), key, [](const char*, std::uint64_t) {});
    }
  };
  read_all();
  store.core->eviction.owe(2 * kMiB);
  const std::uint64_t before = store.thread->counters.evicted.get();
  std::uint64_t most = 0;
  unsigned steps = 0;
  for (; store.core->eviction.owed_bytes() != 0 && steps != 100'000; ++steps) {
    const std::uint64_t work = store.thread->work;
    ASSERT_TRUE(store.core->maintain_room(*store.thread)) << steps;
    most = std::max(most, store.thread->work - work);
    if (steps % 4'096 == 4'095) read_all();
  }
  EXPECT_EQ(store.core->eviction.owed_bytes(), 0u);
  EXPECT_GT(store.thread->counters.evicted.get() - before, 2 * kMiB / 200);
  EXPECT_LE(most, Chores::kUnitsMax / 2);
}

// Whoever has little time is told which step's time was the kernel's, and can forbid such steps.
TEST(ChoresTest, FreshMemoryIsTouchedWhereItMayBe) {
  Store store(64 * kMiB);
  unsigned touched[2] = {};
  for (unsigned i = 0; i < 200'000; ++i) {
    ASSERT_TRUE(store.set(i, std::string(100, 'v')));
    if (i % 10'000 != 0) continue;
    for (const bool may : {false, true}) {
      for (Chores chores(*store.core, *store.thread, 0); !chores.is_over();) {
        const std::size_t before = store.core->space.heap.resident_bytes();
        (void)chores.step(may ? 2 * kMiB : 0);
        EXPECT_EQ(chores.touched(), store.core->space.heap.resident_bytes() > before);
        touched[may] += chores.touched();
      }
    }
  }
  EXPECT_EQ(touched[false], 0u);
  EXPECT_GT(touched[true], 2u);
}

// Nothing may go: a round is over all the same.
TEST(ChoresTest, RoundsEndWhereNothingMayGo) {
  Store store(16 * kMiB, [](detail::CoreOptions& o) { o.eviction = true; });
  unsigned held = 0;
  for (unsigned i = 0; i < 100'000; ++i) {
    if (!store.set(i, std::string(100, 'v'))) break;
    const std::string key = "k" + std::to_string(i);
    detail::Guard<Sync> guard(store.core->space, *store.thread);
    const auto head = store.core->head(store.core->hash_of(key), key);
    if (head.present && store.core->space.try_hold(*head.record)) ++held;
  }
  ASSERT_GT(held, 50'000u);
  store.core->eviction.owe(8 * kMiB);
  unsigned steps = 0;
  for (Chores chores(*store.core, *store.thread, 0); !chores.is_over() && steps != 10'000; ++steps) (void)chores.step();
  EXPECT_LT(steps, 10'000u);
}

TEST(ChoresTest, ABudgetThatSinksIsEvictedForInBoundedSteps) {
  Store store(64 * kMiB, [](detail::CoreOptions& o) { o.eviction = true; });
  for (unsigned i = 0; i < 400'000; ++i) ASSERT_TRUE(store.set(i, std::string(100, 'v')));
  const std::uint64_t before = store.core->live_entries();
  store.core->eviction.owe(16 * kMiB);  // as a write of that size that found no room
  const Done done = maintain(store, *store.thread);
  EXPECT_LE(done.most, Chores::kUnitsMax);
  EXPECT_LT(store.core->live_entries(), before - 16 * kMiB / 200);
  EXPECT_EQ(store.core->eviction.owed_bytes(), 0u);
}

// Rings that shards share lie in one extent, which others lie behind: a step of each shard drains the rings that there are.
TEST(ChoresTest, WhereShardsShareRingsNothingBehindThemIsDrained) {
  Store store(64 * kMiB, [](detail::CoreOptions& o) {
    o.shard_count = 64;
    o.ring_count = 2;
    o.ring_cells = 1'024;
  });
  detail::Events<Sync> events(store.core->space);
  const std::string small(100, 's');
  // Such that words of it would do for a ring with something to drain.
  std::string large(100'000, '\0');
  for (std::size_t i = 0; i != large.size(); ++i) large[i] = static_cast<char>(i / 8 * 37 % 251);
  constexpr unsigned kLarge = 400;
  for (unsigned i = 0; i != kLarge / 2; ++i) ASSERT_TRUE(store.set(i, large));
  ASSERT_TRUE(events.enter());  // the rings are made
  (void)store.core->space.views.move();  // from now on changes are told
  ASSERT_EQ(events.rings(), 2u);
  for (unsigned i = kLarge / 2; i != kLarge; ++i) ASSERT_TRUE(store.set(i, large));
  for (unsigned i = kLarge; i != kLarge + 1'000; ++i) ASSERT_TRUE(store.set(i, small));
  EXPECT_GT(events.ring(0)->tail() + events.ring(1)->tail(), 1'000u);
  ASSERT_TRUE(events.leave());
  EXPECT_GT(maintain(store, *store.thread).steps, 0u);
  for (unsigned i = 0; i != 2; ++i) EXPECT_EQ(events.ring(i)->floor(), events.ring(i)->tail()) << "ring " << i;
  for (unsigned i = 0; i != kLarge; ++i) {
    const std::string key = "k" + std::to_string(i);
    detail::Guard<Sync> guard(store.core->space, *store.thread);
    const auto head = store.core->head(store.core->hash_of(key), key);
    ASSERT_TRUE(head.present && head.bytes() == large) << key;
  }
}

}  // namespace
}  // namespace tern::test
