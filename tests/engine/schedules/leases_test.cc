// A lease's end beside reads, writes, batches, views and the sweep: one moment for all of its members, whoever stands where;
// nothing of it comes back. With each planted bug found.
#include <gtest/gtest.h>

#include "engine/leases.h"
#include "tests/engine/schedules/batch_rig.h"

namespace tern::concurrency {
namespace {

template <Mutant M>
struct Leased {
  explicit Leased(int threads) : b(threads) { b.lease_two(); }

  Threads beside_gets() {
    return {[&] {
              b.revoke(0);
              b.sweep_leases(0);
            },
            [&] {
              b.get(1, 0);
              b.get(1, 1);
              b.get(1, 0);
            }};
  }
  Threads beside_moments() {
    return {[&] {
              b.revoke(0);
              b.sweep_leases(0);
            },
            [&] {
              b.read(1, {0, 1, 2});
              b.get(1, 1);
            }};
  }
  Threads beside_a_view() {
    return {[&] {
              b.revoke(0);
              b.sweep_leases(0);
            },
            [&] {
              b.view(1, {0, 1});
              b.get(1, 0);
            }};
  }
  // Detached before or after: never absent between.
  Threads beside_a_writer() {
    return {[&] {
              b.set(0, 0, 'a');
              b.revoke(0);
            },
            [&] {
              b.get(1, 0);
              b.get(1, 1);
            }};
  }
  Threads beside_an_adder() {
    return {[&] {
              b.revoke(0);
              b.sweep_leases(0);
            },
            [&] {
              b.add(1, 0);
              b.get(1, 0);
            }};
  }
  // A key is attached while the lease ends.
  Threads beside_an_attacher() {
    return {[&] {
              b.revoke(0);
              b.sweep_leases(0);
            },
            [&] {
              b.set_member(1, 3, '5');
              b.get(1, 3);
            },
            [&] { b.get(2, 3); }};
  }
  Threads beside_a_batch() {
    return {[&] {
              b.revoke(0);
              b.sweep_leases(0);
            },
            [&] { b.batch(1, {{What::kRequireValue, 0, '4'}, {What::kSet, 3, 'b'}}); },
            [&] {
              b.get(2, 0);
              b.get(2, 3);
            }};
  }
  Threads beside_a_batch_over_members() {
    return {[&] {
              b.revoke(0);
              b.sweep_leases(0);
            },
            [&] { b.batch(1, {{What::kRequirePresent, 1}, {What::kSet, 0, 'a'}, {What::kDel, 2}}); }, [&] { b.get(2, 0); }};
  }
  Threads two_sweepers() {
    return {[&] {
              b.revoke(0);
              b.sweep_leases(0);
            },
            [&] {
              b.sweep_leases(1);
              b.set(1, 0, 'a');
            },
            [&] { b.sweep_leases(2); }};
  }
  Threads beside_growth() {
    return {[&] {
              b.revoke(0);
              b.sweep_leases(0);
              b.get(0, 0);
            },
            [&] {
              for (int i = 0; i != 6; ++i) b.rig.grow(1);
            }};
  }

  // The time passes while somebody keeps it alive: who has missed a member misses it for good. What the answer of
  // keep_alive was doesn't matter.
  Body beside_the_clock() {
    return {[&] { b.restore(); },
            {[&] { b.keep_alive(0, 3000); },
             [&] {
               b.rig.now_ms = 1000;
               const bool first = seen(1, 0);
               const bool second = seen(1, 1);
               if (!first && (second || seen(1, 0))) b.rig.complain("a lease came back");
             }},
            [&] { return b.rig.check(); }};
  }
  bool seen(int t, unsigned key) {
    tern::detail::Guard<typename BatchRig<M>::Sync> guard(b.rig.core().space, b.rig.thread(t));
    return b.rig.core().head(b.keys[key].hash, b.keys[key].view()).present;
  }

  BatchRig<M> b;
};

#define TERN_HOLDS(test, scene, threads, ...)                       \
  TEST(Leases, test) {                                              \
    Leased<Mutant::kNone> c(threads);                               \
    expect_holds("leases, " #scene, c.b, c.scene(), {__VA_ARGS__}); \
  }

TERN_HOLDS(BesideGets, beside_gets, 2, .preemptions = 2, .schedules = 4'000, .random = 500)
TERN_HOLDS(BesideMoments, beside_moments, 2, .preemptions = 2, .schedules = 3'000, .random = 500)
TERN_HOLDS(BesideAView, beside_a_view, 2, .preemptions = 2, .schedules = 3'000, .random = 500)
TERN_HOLDS(BesideAWriter, beside_a_writer, 2, .preemptions = 2, .schedules = 3'000, .random = 500)
TERN_HOLDS(BesideAnAdder, beside_an_adder, 2, .preemptions = 2, .schedules = 3'000, .random = 500)
TERN_HOLDS(BesideAnAttacher, beside_an_attacher, 3, .preemptions = 2, .schedules = 3'000, .random = 500)
TERN_HOLDS(BesideABatch, beside_a_batch, 3, .preemptions = 2, .schedules = 4'000, .random = 1'000)
TERN_HOLDS(BesideABatchOverMembers, beside_a_batch_over_members, 3, .preemptions = 2, .schedules = 4'000, .random = 1'000)
TERN_HOLDS(TwoSweepers, two_sweepers, 3, .preemptions = 2, .schedules = 3'000, .random = 500)
TERN_HOLDS(BesideGrowth, beside_growth, 2, .preemptions = 2, .schedules = 3'000, .random = 500)

TEST(Leases, BesideTheClock) {
  Leased<Mutant::kNone> c(2);
  expect_body_holds("leases, beside_the_clock", c.beside_the_clock(), {.preemptions = 3, .schedules = 3'000, .random = 500});
}

TEST(Leases, NobodyWaitsForAStoppedThread) {
  Leased<Mutant::kNone> c(3);
  expect_holds("leases, stopped, batch", c.b, c.beside_a_batch(),
               {.preemptions = 1, .schedules = 2'000, .random = 0, .freeze = Freeze::kAllButOne});
  Leased<Mutant::kNone> d(3);
  expect_holds("leases, stopped, sweepers", d.b, d.two_sweepers(),
               {.preemptions = 1, .schedules = 2'000, .random = 0, .freeze = Freeze::kAllButOne});
}

#define TERN_FOUND(test, mutant, scene, threads, ...)                      \
  TEST(LeaseMutants, test) {                                              \
    Leased<mutant> c(threads);                                            \
    expect_found("leases, planted " #test, c.b, c.scene(), {__VA_ARGS__}); \
  }

TERN_FOUND(Unasked, Mutant::kLeaseUnasked, beside_gets, 2)
TERN_FOUND(UnaskedOfALateKey, Mutant::kLeaseUnasked, beside_an_attacher, 3)
TERN_FOUND(NotLookedAgain, Mutant::kLeaseNotLookedAgain, beside_a_writer, 2)
TERN_FOUND(MetAlive, Mutant::kLeaseMetAlive, beside_an_adder, 2)
TERN_FOUND(InCollect, Mutant::kLeaseInCollect, beside_moments, 2)
TERN_FOUND(Outlived, Mutant::kLeaseOutlived, beside_a_batch, 3)

TEST(LeaseMutants, Unfrozen) {
  Leased<Mutant::kLeaseUnfrozen> c(2);
  expect_body_fails("leases, planted Unfrozen", c.beside_the_clock());
}

}  // namespace
}  // namespace tern::concurrency
