// A bucket is split while its keys are read, written, removed and inserted: a key that is always
// there is never missed, none is there twice, no write is lost.
#include <gtest/gtest.h>

#include <string>

#include "tests/engine/schedules/exploring.h"

namespace tern::concurrency {
namespace {

// Bucket 0 of 16, before the split that opens bucket 16: keys that stay and keys that move.
template <Mutant M>
struct Split {
  explicit Split(int threads, unsigned fill = 0) : rig(threads) {
    KeyFinder finder;
    moves = finder.in_bucket(16);
    stays = finder.in_bucket(0);
    fresh = finder.in_bucket(16);
    for (unsigned i = 0; i != fill; ++i)
      rig.set(rig.own_index(), finder.in_bucket(i % 3 == 2 ? 16 : 0), "x");
    rig.set(rig.own_index(), moves, "m");
    rig.set(rig.own_index(), stays, "s");
    rig.freeze();
  }
  Threads read_beside() {
    return {[&] { rig.grow(0); },
            [&] {
              rig.get(1, moves);
              rig.copy(1, moves);
              rig.get(1, stays);
            }};
  }
  Threads insert_beside() {
    return {[&] { rig.grow(0); },
            [&] {
              rig.set(1, fresh, "1");
              rig.get(1, fresh);
            }};
  }
  Threads insert_on_both_sides() {
    return {[&] { rig.set_nx(0, fresh, "0"); },
            [&] {
              rig.grow(1);
              rig.set_nx(1, fresh, "1");
              rig.get(1, fresh);
            }};
  }
  Threads overwrite_and_remove_beside() {
    return {[&] { rig.grow(0); },
            [&] {
              rig.set(1, moves, "n");
              rig.del(1, moves);
              rig.get(1, moves);
            }};
  }
  Threads four_things_at_once() {
    return {[&] { rig.grow(0); }, [&] { rig.set(1, moves, "n"); },
            [&] {
              rig.copy(2, moves);
              rig.get(2, moves);
            },
            [&] {
              rig.set_nx(3, fresh, "f");
              rig.del(3, stays);
            }};
  }
  Threads two_growers() {
    return {[&] { rig.grow(0); }, [&] { rig.grow(1); },
            [&] {
              rig.get(2, moves);
              rig.set(2, moves, "n");
            }};
  }
  // A write past the split completes it; so does everyone who comes by.
  Threads helpers() {
    return {[&] { rig.grow(0); }, [&] { rig.cas(1, moves, "m", "n"); },
            [&] { rig.cas(2, moves, "n", "o"); }};
  }
  Rig<M> rig;
  Key moves, stays, fresh;
};

TEST(Growth, AReaderNeverMissesAKeyThatIsAlwaysThere) {
  Split<Mutant::kNone> b(2);
  expect_holds("growth, read", b.rig, b.read_beside());
}
TEST(Growth, AReaderNeverMissesAKeyInAnOverflowBucket) {
  Split<Mutant::kNone> b(2, 9);
  expect_holds("growth, read overflow", b.rig, b.read_beside(), {.preemptions = 2});
}
TEST(Growth, AnInsertBesideASplit) {
  Split<Mutant::kNone> b(2);
  expect_holds("growth, insert", b.rig, b.insert_beside());
}
TEST(Growth, InsertsInBothBucketsOfASplit) {
  Split<Mutant::kNone> b(2);
  expect_holds("growth, insert on both sides", b.rig, b.insert_on_both_sides());
}
TEST(Growth, OverwriteAndRemoveBesideASplit) {
  Split<Mutant::kNone> b(2);
  expect_holds("growth, overwrite", b.rig, b.overwrite_and_remove_beside());
}
TEST(Growth, ASplitOfAFullChain) {
  Split<Mutant::kNone> b(2, 14);
  expect_holds("growth, full chain", b.rig, b.insert_on_both_sides(), {.preemptions = 2});
}
TEST(Growth, TwoGrowers) {
  Split<Mutant::kNone> b(3);
  expect_holds("growth, two growers", b.rig, b.two_growers(), {.preemptions = 2});
}
TEST(Growth, Helpers) {
  Split<Mutant::kNone> b(3);
  expect_holds("growth, helpers", b.rig, b.helpers(), {.preemptions = 2});
}
TEST(Growth, FourThingsAtOnce) {
  Split<Mutant::kNone> b(4);
  expect_holds("growth, four", b.rig, b.four_things_at_once(),
               {.preemptions = 2, .random = 20'000});
}
TEST(Growth, NobodyWaitsForAStoppedSplit) {
  Split<Mutant::kNone> b(3);
  expect_holds("growth, stopped", b.rig, b.helpers(),
               {.preemptions = 1, .freeze = Freeze::kAllButOne});
}

TEST(GrowthMutants, MissWithoutHomeCheck) {
  Split<Mutant::kMissWithoutHomeCheck> b(2);
  expect_found("miss without home check", b.rig, b.read_beside());
}
TEST(GrowthMutants, LiveWithoutHomeCheck) {
  Split<Mutant::kLiveWithoutHomeCheck> b(2);
  expect_found("live without home check", b.rig, b.insert_on_both_sides());
}
TEST(GrowthMutants, ReadyAfterSlots) {
  Split<Mutant::kReadyAfterSlots> b(2);
  expect_found("ready after slots", b.rig, b.read_beside());
}
TEST(GrowthMutants, ReadyInverted) {
  Split<Mutant::kReadyInverted> b(2);
  expect_found("ready inverted", b.rig, b.read_beside());
}
TEST(GrowthMutants, SplitClearsEarly) {
  Split<Mutant::kSplitClearsEarly> b(2);
  expect_found("split clears early", b.rig, b.read_beside());
}

// Seven keys fill the bucket, an eighth has opened the overflow bucket and left: the next insert
// goes there. The other inserter finds a place in the bucket itself; with the filter set late it
// meets the key at its second look and misses it at its first, for as long as the first inserter
// stands still.
template <Mutant M>
struct Overflow {
  Overflow() : rig(2) {
    KeyFinder finder;
    key = finder.in_bucket(3);
    const int own = rig.own_index();
    for (int i = 0; i != 7; ++i) rig.set(own, first = finder.in_bucket(3), "x");
    const Key other = finder.next([&](std::uint64_t h) {
      return (h & 31) == 3 &&
             (tern::detail::tag_of(h) & 15) != (tern::detail::tag_of(key.hash) & 15);
    });
    rig.set(own, other, "y");
    rig.del(own, other);
    rig.freeze();
  }
  Threads threads() {
    return {[&] { rig.set_nx(0, key, "0"); },
            [&] {
              rig.del(1, first);
              rig.set_nx(1, key, "1");
              rig.get(1, key);
            }};
  }
  Rig<M> rig;
  Key key, first;
};

TEST(Growth, InsertsIntoAnOverflowBucket) {
  Overflow<Mutant::kNone> b;
  expect_holds("growth, overflow", b.rig, b.threads());
}
TEST(GrowthMutants, OverflowFilterLate) {
  Overflow<Mutant::kOverflowFilterLate> b;
  expect_found("overflow filter late", b.rig, b.threads());
}

}  // namespace
}  // namespace tern::concurrency
