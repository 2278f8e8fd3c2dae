// Invalidation points beside reads, writes, batches, views, growth and each other: a clear is one moment for all of them,
// whoever stands where; what came after it stays; and when it is swept nothing dead comes back. With each planted bug found.
#include <gtest/gtest.h>

#include "tests/engine/schedules/batch_rig.h"

namespace tern::concurrency {
namespace {

template <Mutant M>
struct Cleared {
  explicit Cleared(int threads, StoreKind kind = StoreKind::kPlain) : b(threads, Chains::kShort, kind) {}

  Threads beside_gets() {
    return {[&] {
              b.clear(0);
              b.sweep(0);
            },
            [&] {
              b.get(1, 0);
              b.get(1, 1);
            }};
  }
  // What a get missed stays missed, and what was found by a moment of its own is a moment's.
  Threads beside_moments() {
    return {[&] {
              b.clear(0);
              b.sweep(0);
            },
            [&] {
              b.read(1, {0, 1, 2});
              b.get(1, 1);
            }};
  }
  Threads beside_a_view() {
    return {[&] {
              b.clear(0);
              b.sweep(0);
            },
            [&] {
              b.view(1, {0, 1});
              b.get(1, 0);
            }};
  }
  Threads beside_a_writer() {
    return {[&] {
              b.clear(0);
              b.sweep(0);
            },
            [&] {
              b.set(1, 0, '5');
              b.get(1, 1);
            }};
  }
  // What is added to is dead, or it isn't.
  Threads beside_an_adder() {
    return {[&] {
              b.clear(0);
              b.sweep(0);
            },
            [&] {
              b.set(1, 0, '5');
              b.add(1, 0);
            }};
  }
  // What is added to may have come after the removal, however early the addition began.
  Threads and_a_set_beside_an_adder() {
    return {[&] {
              b.clear(0);
              b.set(0, 0, '5');
              b.get(0, 0);
            },
            [&] { b.add(1, 0); }};
  }
  Threads beside_a_batch() {
    return {[&] {
              b.clear(0);
              b.sweep(0);
            },
            [&] { b.batch(1, {{What::kRequireValue, 0, '0'}, {What::kSet, 1, '5'}, {What::kDel, 2}, {What::kSet, 3, '5'}}); },
            [&] { b.get(2, 3); }};
  }
  // A writer that judged before, a view after: the view meets what is dead below what the writer put over it.
  Threads writer_and_view() {
    return {[&] {
              b.clear(0);
              b.sweep(0);
            },
            [&] { b.set(1, 0, '5'); }, [&] { b.view(2, {0}); }};
  }
  Threads two() {
    return {[&] {
              b.clear(0);
              b.sweep(0);
            },
            [&] {
              b.clear_one(1, 0);
              b.get(1, 1);
            },
            [&] { b.get(2, 0); }};
  }
  Threads two_sweepers() {
    return {[&] {
              b.clear_one(0, 0);
              b.sweep(0);
            },
            [&] {
              b.sweep(1);
              b.set(1, 0, '5');
            },
            [&] { b.sweep(2); }};
  }
  Threads beside_growth() {
    return {[&] {
              b.clear(0);
              b.sweep(0);
              b.get(0, 0);
            },
            [&] {
              for (int i = 0; i != 6; ++i) b.rig.grow(1);  // key 0's bucket among them
            }};
  }

  // The tag that a removal is for is gone from what replaces the record that it kills.
  Threads beside_new_tags() {
    return {[&] {
              b.clear_digits(0);
              b.sweep(0);
            },
            [&] {
              b.set_letter(1, 0, 'x');
              b.get(1, 1);
            },
            [&] { b.get(2, 0); }};
  }
  // A set comes before the removal; a read that has seen what it replaced, after. As the set is done only if the key is there,
  // nobody can have missed it.
  Threads a_get_that_was_late() {
    return {[&] { b.clear_digits(0); }, [&] { b.set_letter(1, 0, 'x'); }, [&] { b.get(2, 0); }};
  }
  Threads new_tags_and_a_view() {
    return {[&] {
              b.clear_digits(0);
              b.sweep(0);
            },
            [&] { b.set_letter(1, 0, 'x'); }, [&] { b.view(2, {0, 1}); }};
  }
  Threads new_tags_and_a_batch() {
    return {[&] {
              b.clear_digits(0);
              b.sweep(0);
            },
            [&] { b.set_letter(1, 0, 'x'); }, [&] { b.batch(2, {{What::kRequirePresent, 0}, {What::kSet, 0, 'y'}, {What::kSet, 3, 'y'}}); }};
  }
  Threads new_tags_and_growth() {
    return {[&] {
              b.clear_digits(0);
              b.sweep(0);
            },
            [&] { b.set_letter(1, 0, 'x'); },
            [&] {
              for (int i = 0; i != 6; ++i) b.rig.grow(2);
              b.get(2, 0);
            }};
  }

  BatchRig<M> b;
};

#define TERN_HOLDS(test, scene, threads, ...)                       \
  TEST(Points, test) {                                              \
    Cleared<Mutant::kNone> c(threads);                              \
    expect_holds("points, " #scene, c.b, c.scene(), {__VA_ARGS__}); \
  }

TERN_HOLDS(BesideGets, beside_gets, 2, .preemptions = 2, .random = 2'000)
TERN_HOLDS(BesideMoments, beside_moments, 2, .preemptions = 2, .schedules = 12'000, .random = 3'000)
TERN_HOLDS(BesideAView, beside_a_view, 2, .preemptions = 2, .schedules = 12'000, .random = 3'000)
TERN_HOLDS(BesideAWriter, beside_a_writer, 2, .preemptions = 2, .schedules = 12'000, .random = 3'000)
TERN_HOLDS(BesideAnAdder, beside_an_adder, 2, .preemptions = 2, .schedules = 12'000, .random = 3'000)
TERN_HOLDS(AndASetBesideAnAdder, and_a_set_beside_an_adder, 2, .preemptions = 2, .schedules = 12'000, .random = 3'000)
TERN_HOLDS(BesideABatch, beside_a_batch, 3, .preemptions = 2, .schedules = 12'000, .random = 3'000)
TERN_HOLDS(BesideAWriterAndAView, writer_and_view, 3, .preemptions = 2, .schedules = 12'000, .random = 3'000)
TERN_HOLDS(TwoAtOnce, two, 3, .preemptions = 2, .schedules = 12'000, .random = 3'000)
TERN_HOLDS(TwoSweepers, two_sweepers, 3, .preemptions = 2, .schedules = 12'000, .random = 3'000)
TERN_HOLDS(BesideGrowth, beside_growth, 2, .preemptions = 2, .schedules = 12'000, .random = 3'000)

#define TERN_TAGS_HOLD(test, scene)                                                                                    \
  TEST(Points, test) {                                                                                               \
    Cleared<Mutant::kNone> c(3, StoreKind::kTagged);                                                                               \
    expect_holds("points, " #scene, c.b, c.scene(), {.preemptions = 2, .schedules = 10'000, .random = 2'000});       \
  }
TERN_TAGS_HOLD(BesideNewTags, beside_new_tags)
TERN_TAGS_HOLD(AGetThatWasLate, a_get_that_was_late)
TERN_TAGS_HOLD(NewTagsAndAView, new_tags_and_a_view)
TERN_TAGS_HOLD(NewTagsAndABatch, new_tags_and_a_batch)
TERN_TAGS_HOLD(NewTagsAndGrowth, new_tags_and_growth)

TEST(Points, NobodyWaitsForAStoppedThread) {
  Cleared<Mutant::kNone> c(2);
  expect_holds("points, stopped, adder", c.b, c.beside_an_adder(),
               {.preemptions = 1, .schedules = 6'000, .random = 0, .freeze = Freeze::kAllButOne});
  Cleared<Mutant::kNone> d(3);
  expect_holds("points, stopped, sweepers", d.b, d.two_sweepers(),
               {.preemptions = 1, .schedules = 6'000, .random = 0, .freeze = Freeze::kAllButOne});
  Cleared<Mutant::kNone> e(3);
  expect_holds("points, stopped, batch", e.b, e.beside_a_batch(),
               {.preemptions = 1, .schedules = 6'000, .random = 0, .freeze = Freeze::kAllButOne});
  Cleared<Mutant::kNone> f(3, StoreKind::kTagged);
  expect_holds("points, stopped, new tags", f.b, f.new_tags_and_a_batch(),
               {.preemptions = 1, .schedules = 6'000, .random = 0, .freeze = Freeze::kAllButOne});
}

#define TERN_FOUND(test, mutant, scene, threads, ...)                           \
  TEST(PointMutants, test) {                                                   \
    Cleared<mutant> c(threads);                                                \
    expect_found("points, planted " #test, c.b, c.scene(), {__VA_ARGS__});     \
  }

TERN_FOUND(StampFirst, Mutant::kPointStampFirst, beside_a_view, 2)
TERN_FOUND(CountLate, Mutant::kPointCountLate, beside_a_view, 2)
TERN_FOUND(CountAfter, Mutant::kPointCountAfter, beside_gets, 2)
TERN_FOUND(NotHelped, Mutant::kPointNotHelped, beside_a_view, 2)
TERN_FOUND(NotLookedAgain, Mutant::kPointNotLookedAgain, beside_gets, 2)
TERN_FOUND(DroppedEarly, Mutant::kPointDroppedEarly, writer_and_view, 3, .preemptions = 1, .schedules = 40'000)
TERN_FOUND(Outlived, Mutant::kPointOutlived, beside_an_adder, 2)
TERN_FOUND(MadeBeforeItsHead, Mutant::kMadeBeforeItsHead, and_a_set_beside_an_adder, 2)
TERN_FOUND(KillsNewer, Mutant::kPointKillsNewer, beside_a_writer, 2)
TERN_FOUND(MetAlive, Mutant::kPointMetAlive, beside_an_adder, 2)

TEST(PointMutants, DeadBelieved) {
  Cleared<Mutant::kPointDeadBelieved> c(3, StoreKind::kTagged);
  expect_found("points, planted DeadBelieved", c.b, c.a_get_that_was_late());
}
TEST(PointMutants, Retagged) {
  Cleared<Mutant::kPointRetagged> c(3, StoreKind::kTagged);
  expect_found("points, planted Retagged", c.b, c.beside_new_tags(), {.preemptions = 2, .schedules = 8'000});
}

}  // namespace
}  // namespace tern::concurrency
