// One absent key, several inserters, removers beside them: never two live records of a key,
// versions that only grow, and nobody waits for a thread that stopped after its tentative entry.
//
// The bucket is full of other keys, and some are removed while the inserters look for a place: were
// all to take the first empty slot, they would meet in one word and the second look would never be
// needed.
#include <gtest/gtest.h>

#include <string>

#include "tests/engine/schedules/exploring.h"

namespace tern::concurrency {
namespace {

// Bucket 3 with `fill` other keys in slots 0, 1, ...; `key` and its `twin` (same tag) belong there
// too.
template <Mutant M>
struct Bucket {
  explicit Bucket(int threads, unsigned fill = 1) : rig(threads) {
    KeyFinder finder;
    key = finder.in_bucket(3);
    for (unsigned i = 0; i != 8; ++i) other[i] = finder.in_bucket(3);
    for (unsigned i = 0; i != fill; ++i) rig.set(rig.own_index(), other[i], "x");
  }
  Rig<M> rig;
  Key key;
  Key other[8];
};

// `kSet`: without conditions, which has a way of its own to an absent key (writes-inl.h).
template <Mutant M>
Threads two_writers(Bucket<M>& b, Kind how) {
  const auto put = [&b, how](int t, const char* value) { how == Kind::kSet ? b.rig.set(t, b.key, value) : b.rig.set_nx(t, b.key, value); };
  return {[put] { put(0, "a"); },
          [&b, put] {
            b.rig.del(1, b.other[0]);
            put(1, "b");
            b.rig.get(1, b.key);
          }};
}

template <Mutant M>
Threads three_inserters_and_a_remover(Bucket<M>& b) {
  return {[&] { b.rig.set(0, b.key, "a"); },
          [&] {
            b.rig.del(1, b.other[0]);
            b.rig.set(1, b.key, "b");
          },
          [&] {
            b.rig.set_nx(2, b.key, "c");
            b.rig.del(2, b.key);
          }};
}

// A remover of the key itself, and one whose other key raises the floor.
template <Mutant M>
void age(Bucket<M>& b) {
  const int own = b.rig.own_index();
  b.rig.set(own, b.key, "old");
  b.rig.set(own, b.key, "older");
  b.rig.set(own, b.other[0], "y");
  b.rig.set(own, b.other[0], "y");
  b.rig.set(own, b.other[0], "y");
}

TEST(Insertion, TwoInsertersOfOneKey) {
  Bucket<Mutant::kNone> b(2, 1);
  b.rig.freeze();
  expect_holds("insertion, two", b.rig, two_writers(b, Kind::kSetNx));
}

TEST(Insertion, TwoSetsOfOneKey) {
  Bucket<Mutant::kNone> b(2, 1);
  b.rig.freeze();
  expect_holds("insertion, two sets", b.rig, two_writers(b, Kind::kSet));
}

TEST(Insertion, TwoSetsIntoAFullBucket) {
  Bucket<Mutant::kNone> b(2, 7);
  b.rig.freeze();
  expect_holds("insertion, two sets, full bucket", b.rig, two_writers(b, Kind::kSet));
}

TEST(Insertion, TwoInsertersIntoAFullBucket) {
  Bucket<Mutant::kNone> b(2, 7);
  b.rig.freeze();
  expect_holds("insertion, full bucket", b.rig, two_writers(b, Kind::kSetNx));
}

TEST(Insertion, ThreeInsertersAndARemover) {
  Bucket<Mutant::kNone> b(3, 2);
  b.rig.freeze();
  expect_holds("insertion, three", b.rig, three_inserters_and_a_remover(b), {.preemptions = 2});
}

TEST(Insertion, VersionsGrowAcrossRemovals) {
  Bucket<Mutant::kNone> b(2, 1);
  age(b);
  b.rig.freeze();
  expect_holds("insertion, removal", b.rig,
               {[&] { b.rig.del(0, b.key); },
                [&] {
                  b.rig.set(1, b.key, "b");
                  b.rig.get(1, b.key);
                }});
}

TEST(Insertion, NobodyWaitsForAStoppedInserter) {
  Bucket<Mutant::kNone> b(3, 2);
  b.rig.freeze();
  expect_holds("insertion, stopped", b.rig, three_inserters_and_a_remover(b),
               {.preemptions = 1, .freeze = Freeze::kAllButOne});
}

TEST(InsertionMutants, NoSecondLook) {
  Bucket<Mutant::kNoSecondLook> b(2, 1);
  b.rig.freeze();
  expect_found("no second look", b.rig, two_writers(b, Kind::kSetNx));
}

TEST(InsertionMutants, NoSecondLookBySets) {
  Bucket<Mutant::kNoSecondLook> b(2, 1);
  b.rig.freeze();
  expect_found("no second look, sets", b.rig, two_writers(b, Kind::kSet));
}

TEST(InsertionMutants, FloorAfterEmpty) {
  Bucket<Mutant::kFloorAfterEmpty> b(2, 1);
  age(b);
  b.rig.freeze();
  expect_found("floor after empty", b.rig,
               {[&] { b.rig.del(0, b.key); },
                [&] {
                  b.rig.set(1, b.key, "b");
                  b.rig.get(1, b.key);
                }});
}

template <Mutant M>
Threads helper_beside_a_rising_floor(Bucket<M>& b) {
  return {[&] { b.rig.set_nx(0, b.key, "a"); },
          [&] {
            b.rig.del(1, b.other[0]);
            b.rig.set_nx(1, b.key, "b");
            b.rig.get(1, b.key);
          }};
}

TEST(Insertion, AHelperAgreesOnTheFirstVersion) {
  Bucket<Mutant::kNone> b(2, 1);
  for (int i = 0; i != 3; ++i) b.rig.set(b.rig.own_index(), b.other[0], "y");
  b.rig.freeze();
  expect_holds("insertion, first version", b.rig, helper_beside_a_rising_floor(b));
}

TEST(InsertionMutants, VersionByStore) {
  Bucket<Mutant::kVersionByStore> b(2, 1);
  for (int i = 0; i != 3; ++i) b.rig.set(b.rig.own_index(), b.other[0], "y");
  b.rig.freeze();
  expect_found("version by store", b.rig, helper_beside_a_rising_floor(b));
}

// A helper stands with the key's tentative entry in hand while a split kills it: were the same
// record placed again, the helper would give it the version that it had read before the key was
// written and removed in its new bucket.
template <Mutant M>
struct KilledBySplit {
  KilledBySplit() : rig(3) {
    KeyFinder finder;
    key = finder.in_bucket(16);  // bucket 0 until there are 17
  }
  Threads threads(bool by_sets = false) {
    const auto enter = [this, by_sets](int t, std::string_view value) {
      if (by_sets) {
        rig.set(t, key, value);
      } else {
        rig.set_nx(t, key, value);
      }
    };
    return {[enter] { enter(0, "a"); }, [enter] { enter(1, "b"); },
            [&] {
              rig.grow(2);
              rig.set(2, key, "c");
              rig.del(2, key);
            }};
  }
  Rig<M> rig;
  Key key;
};

TEST(Insertion, ARecordThatASplitKilledIsNotPlacedAgain) {
  KilledBySplit<Mutant::kNone> b;
  b.rig.freeze();
  expect_holds("insertion, killed by a split", b.rig, b.threads(), {.preemptions = 2});
}

TEST(Insertion, ASetsRecordThatASplitKilledIsNotPlacedAgain) {
  KilledBySplit<Mutant::kNone> b;
  b.rig.freeze();
  expect_holds("insertion, a set's killed by a split", b.rig, b.threads(true), {.preemptions = 2});
}

TEST(InsertionMutants, KillWithoutCopy) {
  KilledBySplit<Mutant::kKillWithoutCopy> b;
  b.rig.freeze();
  expect_found("kill without copy", b.rig, b.threads(), {.preemptions = 3, .schedules = 2'000'000});
  if (!is_long()) return;
  KilledBySplit<Mutant::kKillWithoutCopy> c;
  c.rig.freeze();
  expect_found("kill without copy, sets", c.rig, c.threads(true), {.preemptions = 3, .schedules = 2'000'000});
}

TEST(InsertionMutants, BackOffFromTentative) {
  Bucket<Mutant::kBackOffFromTentative> b(2, 1);
  b.rig.freeze();
  expect_found("back off", b.rig, two_writers(b, Kind::kSetNx),
               {.preemptions = 1, .freeze = Freeze::kAllButOne});
}

}  // namespace
}  // namespace tern::concurrency
