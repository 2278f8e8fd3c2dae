// Deadlines moved in place against replacements that keep them: an extension is seen by the
// replacement, or fails and is made anew; and past its instant a record is never read. Time is the
// test's.
#include <gtest/gtest.h>

#include <string>

#include "tests/engine/schedules/exploring.h"

namespace tern::concurrency {
namespace {

template <Mutant M>
struct Mortal {
  explicit Mortal(int threads, std::uint64_t now_ms = 50) : rig(threads) {
    KeyFinder finder;
    key = finder.in_bucket(9);
    rig.now_ms = 50;
    rig.set(rig.own_index(), key, "0", {.has_deadline = true, .deadline_ms = 100});
    rig.now_ms = now_ms;
    rig.freeze();
    rig.at_end = [this] {
      rig.get(rig.own_index(), key);
      rig.now_ms = 150;
      rig.get(rig.own_index(), key);
      rig.now_ms = 250;
      rig.get(rig.own_index(), key);
    };
  }
  Threads touch_and_swap() {
    return {[&] { rig.cas(0, key, "0", "1"); },
            [&] {
              rig.expire(1, key, 200);
              rig.get(1, key);
            }};
  }
  Threads two_touches_and_a_swap() {
    return {[&] { rig.cas(0, key, "0", "1"); }, [&] { rig.expire(1, key, 200); },
            [&] { rig.expire(2, key, 300); }};
  }
  // A set without a lifetime takes it away.
  Threads touch_and_set() {
    return {[&] { rig.set(0, key, "1"); },
            [&] {
              rig.expire(1, key, 200);
              rig.cas(1, key, "1", "2");
            }};
  }
  Threads touch_and_removal() {
    return {[&] {
              rig.del(0, key);
              rig.set_nx(0, key, "1");
            },
            [&] { rig.expire(1, key, 200); }};
  }
  Threads past_the_deadline() {
    return {[&] { rig.set_nx(0, key, "1"); },
            [&] {
              rig.get(1, key);
              rig.expire(1, key, 200);
              rig.del(1, key);
            }};
  }
  Rig<M> rig;
  Key key;
};

TEST(Lifetimes, AnExtensionIsNotLostToASwap) {
  Mortal<Mutant::kNone> b(2);
  expect_holds("lifetimes, swap", b.rig, b.touch_and_swap());
}
TEST(Lifetimes, TwoExtensionsAndASwap) {
  Mortal<Mutant::kNone> b(3);
  expect_holds("lifetimes, two", b.rig, b.two_touches_and_a_swap());
}
TEST(Lifetimes, AnExtensionBesideASet) {
  Mortal<Mutant::kNone> b(2);
  expect_holds("lifetimes, set", b.rig, b.touch_and_set());
}
TEST(Lifetimes, AnExtensionBesideARemoval) {
  Mortal<Mutant::kNone> b(2);
  expect_holds("lifetimes, removal", b.rig, b.touch_and_removal());
}
TEST(Lifetimes, AnExpiredKeyIsNotThere) {
  Mortal<Mutant::kNone> b(2, 100);
  expect_holds("lifetimes, expired", b.rig, b.past_the_deadline());
}
TEST(Lifetimes, NobodyWaitsForAStoppedExtension) {
  Mortal<Mutant::kNone> b(3);
  expect_holds("lifetimes, stopped", b.rig, b.two_touches_and_a_swap(),
               {.preemptions = 1, .freeze = Freeze::kAllButOne});
}

TEST(LifetimeMutants, ReplaceWithoutFreeze) {
  Mortal<Mutant::kReplaceWithoutFreeze> b(2);
  expect_found("replace without freeze", b.rig, b.touch_and_swap());
}
TEST(LifetimeMutants, ExpiredIsPresent) {
  Mortal<Mutant::kExpiredIsPresent> b(2, 100);
  expect_found("expired is present", b.rig, b.past_the_deadline());
}

}  // namespace
}  // namespace tern::concurrency
