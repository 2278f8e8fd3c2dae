// Records that move beside everything else that happens to their key: overwrites, touches, removals,
// splits, views, held values. A move changes nothing that anybody can see, loses no write, and its
// old block is freed once, after the last reader.
#include <gtest/gtest.h>

#include <string>

#include "tests/engine/schedules/exploring.h"

namespace tern::concurrency {
namespace {

template <Mutant M>
struct Moving {
  using Sync = typename Rig<M>::Sync;
  using Moves = tern::detail::Moves<Sync>;

  explicit Moving(int threads, bool mortal = false) : rig(threads) {
    KeyFinder finder;
    key = finder.in_bucket(16);  // bucket 0 until there are 17
    other = finder.in_bucket(0);
    absent = finder.in_bucket(16);
    rig.now_ms = 50;
    if (mortal) {
      rig.set(rig.own_index(), key, "0", {.has_deadline = true, .deadline_ms = 100});
    } else {
      rig.set(rig.own_index(), key, "0");
    }
    rig.set(rig.own_index(), other, "x");
    rig.core().space.epoch.set_limits(1 << 18, 64);
    rig.freeze();
    rig.at_end = [this, mortal] {
      const int own = rig.own_index();
      rig.get(own, key);
      if (mortal) {
        for (const std::uint64_t ms : {150, 250, 350}) {
          rig.now_ms = ms;
          rig.get(own, key);
        }
      }
    };
  }

  // As the walk does it, of whatever the key has now.
  void move(int t) {
    tern::detail::Guard<Sync> guard(rig.core().space, rig.thread(t));
    const auto found = rig.core().table.find(key.hash, key.view());
    if (found) (void)rig.core().mover().move(rig.thread(t), found);
  }
  void hold(int t) { rig.hold_for_a_step(t, key); }

  Threads beside_overwrites() {
    return {[&] { move(0); },
            [&] {
              rig.cas(1, key, "0", "1");
              rig.get(1, key);
            },
            [&] { rig.set(2, key, "2"); }};
  }
  Threads beside_two_swaps() {
    return {[&] { move(0); }, [&] { rig.cas(1, key, "0", "1"); }, [&] { rig.cas(2, key, "0", "2"); }};
  }
  Threads two_moves() {
    return {[&] { move(0); },
            [&] {
              move(1);
              rig.get(1, key);
            },
            [&] { rig.cas(2, key, "0", "1"); }};
  }
  Threads beside_a_touch() {
    return {[&] { move(0); },
            [&] {
              rig.expire(1, key, 200);
              rig.get(1, key);
            }};
  }
  Threads beside_touches_and_a_swap() {
    return {[&] { move(0); }, [&] { rig.expire(1, key, 200); }, [&] { rig.cas(2, key, "0", "1"); }};
  }
  Threads beside_a_removal() {
    return {[&] { move(0); },
            [&] {
              rig.del(1, key);
              rig.set_nx(1, key, "1");
            },
            [&] { rig.copy(2, key); }};
  }
  Threads beside_an_insert() {
    return {[&] {
              rig.del(0, key);
              rig.set_nx(0, key, "1");
            },
            [&] { move(1); }, [&] { rig.set_nx(2, key, "2"); }};
  }
  Threads beside_a_split() {
    return {[&] { move(0); }, [&] { rig.grow(1); },
            [&] {
              rig.cas(2, key, "0", "1");
              rig.copy(2, key);
            }};
  }
  Threads beside_a_view() {
    return {[&] {
              move(0);
              move(0);
            },
            [&] { rig.look(1, {&key, &other}); }, [&] { rig.set(2, key, "1"); }};
  }
  Threads beside_a_moment() {
    return {[&] { move(0); }, [&] { rig.moment(1, {&key, &other}); }, [&] { rig.set(2, key, "1"); }};
  }
  Threads beside_a_hold() {
    return {[&] {
              move(0);
              rig.reclaim(0);
            },
            [&] { hold(1); }, [&] { rig.set(2, key, "1"); }};
  }
  Threads beside_readers() {
    return {[&] {
              move(0);
              rig.reclaim(0);
              move(0);
            },
            [&] {
              rig.copy(1, key);
              rig.get(1, key);
            }};
  }

  Rig<M> rig;
  Key key, other, absent;
};

TEST(Moves, BesideOverwrites) {
  Moving<Mutant::kNone> b(3);
  expect_holds("moves, overwrites", b.rig, b.beside_overwrites());
}
TEST(Moves, BesideTwoSwaps) {
  Moving<Mutant::kNone> b(3);
  expect_holds("moves, swaps", b.rig, b.beside_two_swaps());
}
TEST(Moves, TwoOfOneRecord) {
  Moving<Mutant::kNone> b(3);
  expect_holds("moves, two", b.rig, b.two_moves());
}
TEST(Moves, BesideATouch) {
  Moving<Mutant::kNone> b(2, true);
  expect_holds("moves, touch", b.rig, b.beside_a_touch());
}
TEST(Moves, BesideATouchAndASwap) {
  Moving<Mutant::kNone> b(3, true);
  expect_holds("moves, touch and swap", b.rig, b.beside_touches_and_a_swap());
}
TEST(Moves, BesideARemoval) {
  Moving<Mutant::kNone> b(3);
  expect_holds("moves, removal", b.rig, b.beside_a_removal());
}
TEST(Moves, BesideAnInsert) {
  Moving<Mutant::kNone> b(3);
  expect_holds("moves, insert", b.rig, b.beside_an_insert());
}
TEST(Moves, BesideASplit) {
  Moving<Mutant::kNone> b(3);
  expect_holds("moves, split", b.rig, b.beside_a_split());
}
TEST(Moves, BesideAView) {
  Moving<Mutant::kNone> b(3);
  expect_holds("moves, view", b.rig, b.beside_a_view());
}
TEST(Moves, BesideAMoment) {
  Moving<Mutant::kNone> b(3);
  expect_holds("moves, moment", b.rig, b.beside_a_moment());
}
TEST(Moves, BesideAHold) {
  Moving<Mutant::kNone> b(3);
  b.rig.check_accounts = false;  // a record that its last holder is to free is in no limbo
  expect_holds("moves, hold", b.rig, b.beside_a_hold());
}
// While somebody holds it: its block would not be free before the hold goes.
template <Mutant M>
bool a_held_record_moves() {
  Moving<M> b(1);
  const int own = b.rig.own_index();
  tern::detail::Guard<typename Moving<M>::Sync> guard(b.rig.core().space, b.rig.thread(own));
  const auto found = b.rig.core().table.find(b.key.hash, b.key.view());
  EXPECT_TRUE(found && b.rig.core().space.try_hold(*found.record));
  b.move(own);
  return b.rig.core().table.find(b.key.hash, b.key.view()).word.offset() != found.word.offset();
}
TEST(Moves, AHeldRecordStays) { EXPECT_FALSE(a_held_record_moves<Mutant::kNone>()); }
TEST(MoveMutants, MoveHeld) { EXPECT_TRUE(a_held_record_moves<Mutant::kMoveHeld>()); }
TEST(Moves, BesideReaders) {
  Moving<Mutant::kNone> b(2);
  expect_holds("moves, readers", b.rig, b.beside_readers());
}
TEST(Moves, NobodyWaitsForAStoppedMove) {
  Moving<Mutant::kNone> b(3, true);
  expect_holds("moves, stopped", b.rig, b.beside_touches_and_a_swap(),
               {.preemptions = 1, .freeze = Freeze::kAllButOne});
  Moving<Mutant::kNone> c(3);
  expect_holds("moves, stopped beside a split", c.rig, c.beside_a_split(),
               {.preemptions = 1, .freeze = Freeze::kAllButOne});
}

TEST(MoveMutants, MoveWithoutFreeze) {
  Moving<Mutant::kMoveWithoutFreeze> b(2, true);
  expect_found("move without freeze", b.rig, b.beside_a_touch());
}
TEST(MoveMutants, MoveFromStaleWord) {
  Moving<Mutant::kMoveFromStaleWord> b(3);
  expect_found("move from a stale word", b.rig, b.beside_overwrites());
}
TEST(MoveMutants, MoveVersioned) {
  Moving<Mutant::kMoveVersioned> b(3);
  expect_found("move of a versioned record", b.rig, b.beside_a_view());
}
TEST(MoveMutants, MoveUnstamped) {
  Moving<Mutant::kMoveUnstamped> b(3);
  expect_found("move of an unstamped record", b.rig, b.beside_an_insert());
}
TEST(MoveMutants, MoveFreesOld) {
  Moving<Mutant::kMoveFreesOld> b(2);
  expect_found("move frees the old block", b.rig, b.beside_readers());
}

}  // namespace
}  // namespace tern::concurrency
