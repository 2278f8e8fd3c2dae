// A reader's find against a writer's replacement and reclamation under the weak memory machine: the
// table's slots, the announcement and the scan together. (The epochs alone, and the orders of
// announce and scan: tests/sync.)
#include <gtest/gtest.h>

#include <string>

#include "tests/engine/schedules/exploring.h"
#include "tests/engine/schedules/weak_rig.h"

namespace tern::concurrency {
namespace {

template <Mutant M>
struct Recycled {
  Recycled() : rig(2) {
    KeyFinder finder;
    key = finder.in_bucket(5);
    rig.set(rig.own_index(), key, "0");
    rig.core().space.epoch.set_limits(1 << 16, 16);
    rig.clock_orders =
        false;  // what is looked for are races, and the clock's edges would hide some
    rig.freeze();
  }
  // The second call is the one: its announcement may still be on its way when it looks at the slot.
  Threads threads() {
    return {[&] {
              rig.copy(0, key);
              rig.copy(0, key);
            },
            [&] {
              rig.set(1, key, "1");
              rig.reclaim(1);
            }};
  }
  // By way of find, which compares keys before it has looked at the stamp: whatever orders the
  // record's bytes before that comparison is the slot's own load. (The shortest way believes only
  // what is stamped, an edge of its own.)
  Threads reader_and_writer() {
    return {[&] {
              rig.get(0, key);
              rig.get(0, key);
            },
            [&] {
              rig.set(1, key, "1");
              rig.reclaim(1);
            }};
  }
  Rig<M, WeakEngineSync> rig;
  Key key;
};

// A bucket with a free slot before the one that the first inserter takes; and the split of its
// neighbour.
template <Mutant M>
struct Shared {
  Shared() : rig(2) {
    KeyFinder finder;
    key = finder.in_bucket(16);  // bucket 0 until there are 17
    there = finder.in_bucket(16);
    other = finder.in_bucket(0);
    rig.set(rig.own_index(), other, "x");
    rig.set(rig.own_index(), there, "0");
    rig.freeze();
  }
  Threads inserters() {
    return {[&] { rig.set_nx(0, key, "a"); },
            [&] {
              rig.del(1, other);
              rig.set_nx(1, key, "b");
            }};
  }
  Threads split() {
    return {[&] { rig.grow(0); },
            [&] {
              rig.copy(1, there);
              rig.get(1, there);
            }};
  }
  Threads inserter_and_split() {
    return {[&] { rig.set_nx(0, key, "a"); },
            [&] {
              rig.grow(1);
              rig.set_nx(1, key, "b");
            }};
  }
  Threads view() {
    return {[&] { rig.set(0, there, "1"); }, [&] { rig.look(1, {&there}); }};
  }
  Rig<M, WeakEngineSync> rig;
  Key key, there, other;
};

template <class B>
Result search(const char* name, B& b, const Threads& threads, unsigned preemptions,
              std::uint64_t schedules, Strategy strategy) {
  Options o;
  o.name = name;
  o.preemptions = preemptions;
  o.stale_reads = 1;
  o.max_schedules = schedules * (is_long() ? 40 : 1);
  o.trace_failure = false;
  o.strategy = strategy;
  return Explorer(o).explore({[&] { b.rig.restore(); }, threads, [&] { return b.rig.check(); }});
}

template <class B>
void expect_weak_holds(const std::string& name, B& b, const Threads& threads) {
  const Result all = search(name.c_str(), b, threads, is_long() ? 2 : 1, 50'000, Strategy::kDfs);
  EXPECT_TRUE(all.ok) << all.failure << "\nTERN_SCHEDULE='" << all.schedule << "'";
  const Result some =
      search((name + ", at random").c_str(), b, threads, 0, 20'000, Strategy::kRandom);
  EXPECT_TRUE(some.ok) << some.failure << "\nTERN_SCHEDULE='" << some.schedule << "'";
}

TEST(WeakMemory, AReaderKeepsItsRecord) {
  Recycled<Mutant::kNone> b;
  expect_weak_holds("weak, reclamation", b, b.threads());
}
TEST(WeakMemory, TwoInsertersOfOneKey) {
  Shared<Mutant::kNone> b;
  expect_weak_holds("weak, inserters", b, b.inserters());
}
TEST(WeakMemory, AReaderNeverMissesAKeyThatIsAlwaysThere) {
  Shared<Mutant::kNone> b;
  expect_weak_holds("weak, split", b, b.split());
}
TEST(WeakMemory, AnInsertBesideASplit) {
  Shared<Mutant::kNone> b;
  expect_weak_holds("weak, insert and split", b, b.inserter_and_split());
}
TEST(WeakMemory, AViewBesideAWriter) {
  Shared<Mutant::kNone> b;
  expect_weak_holds("weak, view", b, b.view());
}

TEST(WeakMemory, AReaderThatComparesKeysFirstKeepsItsRecord) {
  Recycled<Mutant::kNone> b;
  expect_weak_holds("weak, find", b, b.reader_and_writer());
}

template <class B>
void expect_weak_found(const char* name, B& b, const Threads& threads) {
  Result r = search(name, b, threads, 2, 100'000, Strategy::kDfs);
  if (r.ok) r = search(name, b, threads, 0, 200'000, Strategy::kRandom);
  EXPECT_FALSE(r.ok) << name << ": a planted bug was not found in " << r.schedules << " schedules";
}
TEST(WeakMemoryMutants, RelaxedAnnounce) {
  Recycled<Mutant::kRelaxedAnnounce> b;
  expect_weak_found("weak, relaxed announce", b, b.threads());
}
TEST(WeakMemoryMutants, ScanRelaxed) {
  Recycled<Mutant::kScanRelaxed> b;
  expect_weak_found("weak, relaxed scan", b, b.threads());
}
TEST(WeakMemoryMutants, RelaxedSlotLoad) {
  Recycled<Mutant::kRelaxedSlotLoad> b;
  expect_weak_found("weak, relaxed slot load", b, b.reader_and_writer());
}

}  // namespace
}  // namespace tern::concurrency
