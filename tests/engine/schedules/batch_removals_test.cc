// Batches beside those who remove without being asked, and beside views that keep what a husk hides: eviction finds intents
// and husks where its victims were, a lifetime ends while a batch has its key, an ordered index follows keys that a batch
// brings in and takes out again.
#include <gtest/gtest.h>

#include <string>

#include "tests/engine/schedules/batch_scenes.h"
#include "tests/engine/schedules/leaf_check.h"

namespace tern::concurrency {
namespace {

// --- a store of three entries, which are there ---------------------------------------------------------------------

struct Full : Scene<Mutant::kNone> {
  explicit Full(int threads) : Scene(threads, Chains::kShort, StoreKind::kFull) {
    b.rig.at_end = [this] { finish(); };
  }
  // The bound counts what is there, and each key that can be a victim has one entry in the queues.
  void finish() {
    auto& core = b.rig.core();
    const std::uint64_t counted = core.bound.entries.load(std::memory_order_relaxed);
    if (counted != core.live_entries()) {
      b.rig.complain("the bound counts " + std::to_string(counted) + " entries of " + std::to_string(core.live_entries()));
    }
    b.settle_queues();
    const auto& format = core.eviction.queues().format();
    for (const Key& key : b.keys) {
      tern::detail::Guard<BatchRig<>::Sync> guard(core.space, b.rig.own());
      const auto found = core.table.find(key.hash, key.view());
      if (!found || found.stamp.tomb()) continue;
      const std::uint64_t wanted = format.pack(key.hash, found.word.gen());
      unsigned entries = 0;
      core.eviction.queues().walk([&](std::uint64_t entry, bool) {
        entries += format.pack(format.hash(entry), format.gen(entry)) == wanted;
      });
      if (entries != 1) b.rig.complain("a key has " + std::to_string(entries) + " entries in the queues");
    }
  }

  Threads beside_an_evictor() {
    return {[&] { b.batch(0, {{kSet, 0, 'a'}, {kDel, 1}}); },
            [&] {
              b.evict(1);
              b.evict(1);
            }};
  }
  // A key comes in, for which another makes room: one of the batch's own, perhaps.
  Threads that_makes_room() {
    return {[&] { b.batch(0, {{kSet, 3, 'a'}, {kSet, 0, 'a'}}); }, [&] { b.set(1, 0, 'c'); }, [&] { b.read(2, {0, 3}); }};
  }
  Threads husks_beside_an_evictor() {
    return {[&] { b.batch(0, {{kSet, 0, 'a'}, {kIs, 1, '0'}, {kSet, 1, 'a'}}); }, [&] { b.set(1, 1, 'c'); },
            [&] {
              b.evict(2);
              b.get(2, 0);
            }};
  }
  Threads two_that_make_room() {
    return {[&] { b.batch(0, {{kSet, 3, 'a'}, {kSet, 1, 'a'}}); },
            [&] {
              b.batch(1, {{kIsThere, 1}, {kDel, 1}, {kSet, 3, 'b'}});
              b.evict(1);
            }};
  }
};

constexpr Bounds kTwo{.preemptions = 2, .schedules = 8'000, .random = 2'000};
constexpr Bounds kFull{.preemptions = 2, .schedules = 3'000, .random = 800};  // what eviction decides takes its time

TEST(BatchesInAFullStore, BesideAnEvictor) {
  Full f(2);
  expect_holds("batches, evictor", f.b, f.beside_an_evictor(), kFull);
}
TEST(BatchesInAFullStore, OneThatMakesRoom) {
  Full f(3);
  expect_holds("batches, room", f.b, f.that_makes_room(), kFull);
}
TEST(BatchesInAFullStore, HusksBesideAnEvictor) {
  Full f(3);
  expect_holds("batches, husks and evictor", f.b, f.husks_beside_an_evictor(), kFull);
}
TEST(BatchesInAFullStore, TwoThatMakeRoom) {
  Full f(2);
  expect_holds("batches, two that make room", f.b, f.two_that_make_room(), kFull);
}

// --- a lifetime that ends ------------------------------------------------------------------------------------------

// A batch judges lifetimes by one reading of the clock, so where each key ends is judged, not when.
template <Mutant M>
struct Due : Scene<M> {
  using Scene<M>::b;
  using Sync = typename BatchRig<M>::Sync;
  explicit Due(int threads) : Scene<M>(threads, Chains::kShort, StoreKind::kDue) { b.rig.audit_always = true; }

  std::string value_of(unsigned key) {
    tern::detail::Guard<Sync> guard(b.rig.core().space, b.rig.own());
    const auto head = b.rig.core().head(b.keys[key].hash, b.keys[key].view());
    return head.present ? std::string(head.bytes()) : "-";
  }
  // The batch is whole or nothing of it is there; what it has written without a lifetime, or with the old one, has that.
  Threads condition_on_it(bool keep_ttl) {
    b.rig.at_end = [this, keep_ttl] {
      b.fire(b.rig.own_index(), b.kDueMs);
      const std::string due = keep_ttl || !done ? "-" : "a";
      if (value_of(1) != (done ? "a" : "0") || value_of(2) != due) {
        b.rig.complain("after a batch that " + std::string(done ? "is done: " : "failed: ") + value_of(1) + value_of(2));
      }
    };
    return {[this, keep_ttl] { done = b.batch(0, {{kIsThere, 2}, {kSet, 2, 'a', keep_ttl}, {kSet, 1, 'a'}}, false); },
            [this] { b.fire(1, b.kDueMs); }};
  }
  // Its deadline was moved on: the ticket is filed anew, whatever a batch that keeps the lifetime has done meanwhile.
  Threads kept_and_moved_on() {
    b.expire(b.rig.own_index(), 2, kMovedToMs);
    b.rig.freeze();
    b.rig.at_end = [this] {
      b.fire(b.rig.own_index(), kMovedToMs);
      tern::detail::Guard<Sync> guard(b.rig.core().space, b.rig.own());
      const auto found = b.rig.core().table.find(b.keys[2].hash, b.keys[2].view());
      if (found && !found.stamp.tomb()) b.rig.complain("what has expired is left: its ticket was lost");
    };
    return {[this] { b.batch(0, {{kSet, 2, 'a', true}, {kSet, 1, 'a'}}, false); }, [this] { b.fire(1, b.kDueMs); }};
  }
  // Its owner stands still and leaves a husk: the ticket is that of what lies below.
  Threads kept_in_vain() {
    return {[this] { b.batch(0, {{kSet, 2, 'a', true}, {What::kRequireAbsent, 3}}, false); },
            [this] {
              b.set(1, 3, 'c');
              b.fire(1, b.kDueMs);
            }};
  }
  static constexpr std::uint64_t kMovedToMs = 200;
  bool done = false;
};

TEST(BatchesAndLifetimes, ConditionOnAKeyThatIsDue) {
  Due<Mutant::kNone> d(2);
  expect_holds("batches, due", d.b, d.condition_on_it(false), kTwo);
}
TEST(BatchesAndLifetimes, ALifetimeThatIsKeptAndDue) {
  Due<Mutant::kNone> d(2);
  expect_holds("batches, due and kept", d.b, d.condition_on_it(true), kTwo);
}

TEST(BatchesAndLifetimes, ALifetimeThatIsKeptAndMovedOn) {
  Due<Mutant::kNone> d(2);
  expect_holds("batches, kept and moved on", d.b, d.kept_and_moved_on(), kTwo);
}
TEST(BatchesAndLifetimes, ALifetimeThatIsKeptInVain) {
  Due<Mutant::kNone> d(2);
  expect_holds("batches, kept in vain", d.b, d.kept_in_vain(), {.preemptions = 2, .schedules = 6'000, .random = 3'000, .freeze = Freeze::kAllButOne});
}

TEST(BatchRemovalMutants, HuskHasTicket) {
  Due<Mutant::kHuskHasTicket> d(2);
  expect_found("batches, planted HuskHasTicket", d.b, d.kept_in_vain(), {.preemptions = 2, .schedules = 6'000, .random = 0, .freeze = Freeze::kAllButOne});
}
TEST(BatchRemovalMutants, TicketLinkAfterX) {
  Due<Mutant::kTicketLinkAfterX> d(2);
  expect_found("batches, planted LinkAfterX", d.b, d.kept_and_moved_on(), {.preemptions = 2, .schedules = 12'000});
}

// --- what a view keeps, below a husk -------------------------------------------------------------------------------

TEST(BatchesAndViews, HusksOverWhatAViewKeeps) {
  Scene<Mutant::kNone> s(3, Chains::kKeptByAView);
  expect_holds("batches, husks over kept versions", s.b, s.failing_beside_a_view(), kTwo);
}
TEST(BatchesAndViews, AViewThatClosesOverAHusk) {
  Scene<Mutant::kNone> s(3);
  auto& b = s.b;
  const Threads threads = {[&] {
                             b.set(0, 0, '1');
                             b.batch(0, {{kSet, 0, 'a'}, {kIs, 1, '0'}});
                             b.get(0, 0);
                           },
                           [&] { b.set(1, 1, 'c'); }, [&] { b.view(2, {0, 1}); }};
  expect_holds("batches, a view that closes over a husk", b, threads, kTwo);
}

// --- in order ------------------------------------------------------------------------------------------------------

struct Ordered : Scene<Mutant::kNone> {
  explicit Ordered(int threads) : Scene(threads, Chains::kShort, StoreKind::kOrdered) {}
  Body body(const Threads& threads) {
    return {[this] { b.restore(); }, threads, [this] {
              const bool all_ended = frozen_threads() == 0;
              std::string wrong = all_ended ? b.check() : b.check_stopped();
              return wrong.empty() ? check_leaves(b.rig, all_ended) : wrong;
            }};
  }
  Threads two_that_swap_keys() {
    return {[&] { b.batch(0, {{kSet, 3, 'a'}, {kDel, 0}}); }, [&] { b.batch(1, {{kDel, 3}, {kSet, 0, 'b'}}); }};
  }
  // The placeholder of a batch that fails has a leaf, too.
  Threads one_that_fails() {
    return {[&] { b.batch(0, {{kSet, 3, 'a'}, {kIs, 1, '0'}, {kSet, 1, 'a'}}); },
            [&] {
              b.set(1, 1, 'c');
              b.scan(1);
            }};
  }
  Threads beside_a_scan() {
    return {[&] { b.batch(0, {{kDel, 0}, {kSet, 3, 'a'}, {kSet, 1, 'a'}}); },
            [&] {
              b.scan(1);
              b.get(1, 3);
            }};
  }
};

TEST(BatchesInOrder, TwoThatSwapKeys) {
  Ordered o(2);
  expect_body_holds("batches in order, two", o.body(o.two_that_swap_keys()), kTwo);
}
TEST(BatchesInOrder, OneThatFails) {
  Ordered o(2);
  expect_body_holds("batches in order, one that fails", o.body(o.one_that_fails()), kTwo);
}
TEST(BatchesInOrder, BesideAScan) {
  Ordered o(2);
  expect_body_holds("batches in order, scan", o.body(o.beside_a_scan()), kTwo);
}
TEST(BatchesInOrder, NobodyWaitsForAStoppedOne) {
  Ordered o(2);
  expect_body_holds("batches in order, stopped", o.body(o.beside_a_scan()),
                    {.preemptions = 2, .schedules = 30'000, .random = 0, .freeze = Freeze::kAllButOne});
}

}  // namespace
}  // namespace tern::concurrency
