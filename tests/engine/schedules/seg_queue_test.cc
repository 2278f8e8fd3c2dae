// A queue with segments of one or two cells under the scheduler, so that every few steps one is
// filled, linked, emptied, closed and freed: no entry is lost or doubled, those of one thread keep
// their order, and nobody waits for a thread that stands still. Then the same under the weak memory
// machine.
#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <string>

#include "engine/seg_queue.h"
#include "tests/engine/schedules/exploring.h"
#include "tests/engine/schedules/weak_rig.h"

namespace tern::concurrency {
namespace {

template <std::size_t kBytes>
struct Tiny {
  static constexpr std::size_t kFirst = kBytes;
  static constexpr std::size_t kLargest = kBytes;
  static constexpr std::size_t kRun = kBytes;
};

template <Mutant M, template <Mutant> class Policy = EngineSync, std::size_t kBytes = 40>
struct Queued {
  using R = Rig<M, Policy>;
  using Sync = typename R::Sync;
  using List = tern::detail::SegList<Sync, Tiny<kBytes>>;
  using WhenEmpty = typename List::WhenEmpty;

  // `before`: entries of nobody's that are there already, 1 to 9.
  Queued(int threads, unsigned before) : rig(threads) {
    rig.core().space.epoch.set_limits(1 << 16, 16);
    list = new (storage) List;
    for (unsigned n = 1; n <= before; ++n) push(rig.own_index(), n);
    rig.clock_orders = false;
    rig.check_accounts = false;  // the queue's own blocks are in none of the audit's places
    rig.freeze();
    std::memcpy(saved, storage, sizeof storage);
  }
  void restore() {
    rig.restore();
    std::memcpy(storage, saved, sizeof storage);
    for (auto& l : log) l.count = 0;
    for (unsigned n = 1; n != 100; ++n) pushed[n] = 0;
  }

  void push(int t, std::uint64_t entry) {
    tern::detail::Guard<Sync> guard(rig.core().space, rig.thread(t));
    pushed[entry] = 1;  // from now on it may be popped
    if (list->push(rig.core().space, rig.thread(t), entry)) {
      pushed[entry] = 2;
    } else {
      rig.complain("a push was refused");
    }
  }
  // Entries first, first + 1, ...: as many as a segment has cells.
  void push_run(int t, std::uint64_t first) {
    tern::detail::Guard<Sync> guard(rig.core().space, rig.thread(t));
    std::uint64_t run[List::kRunEntries];
    for (unsigned n = 0; n != List::kRunEntries; ++n) pushed[run[n] = first + n] = 1;
    if (!list->push_run(rig.core().space, rig.thread(t), run)) rig.complain("a run was refused");
    for (const std::uint64_t entry : run) pushed[entry] = 2;
  }
  std::uint64_t pop(int t, WhenEmpty when_empty = WhenEmpty::kKeep) {
    std::uint64_t entry;
    {
      tern::detail::Guard<Sync> guard(rig.core().space, rig.thread(t));
      entry = list->pop(rig.core().space, rig.thread(t), when_empty);
    }
    if (entry != 0) {
      Log& l = log[t];
      l.entries[l.count++] = entry;
    }
    return entry;
  }
  // What is left is popped by the own thread, into its log.
  std::string check(unsigned before, bool all_ended) {
    while (pop(rig.own_index(), WhenEmpty::kRelease) != 0) {
    }
    unsigned seen[100] = {};
    for (const Log& l : log) {
      for (unsigned i = 0; i != l.count; ++i) {
        if (l.entries[i] >= 100) return "an entry that nobody pushed";
        ++seen[l.entries[i]];
        // Entries are numbered 10 * thread + n, those before 1 to 9.
        for (unsigned j = 0; j != i; ++j) {
          if (l.entries[j] / 10 == l.entries[i] / 10 && l.entries[j] > l.entries[i])
            return "out of order";
        }
      }
    }
    for (unsigned n = 1; n != 100; ++n) {
      if (seen[n] > 1) return "entry " + std::to_string(n) + " was popped twice";
      const bool there = n <= before || pushed[n] == 2;
      if (all_ended && there && seen[n] == 0) return "entry " + std::to_string(n) + " was lost";
      if (seen[n] != 0 && n > before && pushed[n] == 0)
        return "an entry was popped before its push";
    }
    // One that was being popped by a stopped thread may be lost with it, one for each.
    unsigned lost = 0;
    for (unsigned n = 1; n != 100; ++n) lost += (n <= before || pushed[n] == 2) && seen[n] == 0;
    if (lost > static_cast<unsigned>(std::popcount(frozen_threads())))
      return "more was lost than stopped";
    return all_ended ? rig.check() : rig.check_stopped();
  }

  struct Log {
    std::uint64_t entries[32];
    unsigned count = 0;
  };
  R rig;
  alignas(64) static inline unsigned char storage[sizeof(List)] = {};
  unsigned char saved[sizeof(List)] = {};
  List* list = nullptr;
  Log log[kThreadsMax + 1];
  unsigned char pushed[100] = {};
};

template <class Q>
Body body_of(Q& q, unsigned before, const Threads& threads) {
  return {[&q] { q.restore(); }, threads,
          [&q, before] { return q.check(before, frozen_threads() == 0); }};
}

template <class Q>
void expect_queue_holds(const std::string& name, Q& q, unsigned before, const Threads& threads,
                        const Bounds& bounds = {}) {
  expect_body_holds(name, body_of(q, before, threads), bounds);
}
template <class Q>
void expect_queue_bug(const std::string& name, Q& q, unsigned before, const Threads& threads) {
  expect_body_fails(name, body_of(q, before, threads), {.schedules = 100'000});
}

template <class Q>
Threads producer_and_consumer(Q& q) {
  return {[&q] { q.push(0, 10), q.push(0, 11); }, [&q] { q.pop(1), q.pop(1), q.pop(1); }};
}
template <class Q>
Threads producer_and_closer(Q& q) {
  return {[&q] { q.push(0, 10), q.push(0, 11); },
          [&q] { q.pop(1, Q::WhenEmpty::kRelease), q.pop(1, Q::WhenEmpty::kRelease); }};
}
template <class Q>
Threads two_producers_and_closer(Q& q) {
  return {[&q] { q.push(0, 10); }, [&q] { q.push(1, 20), q.push(1, 21); },
          [&q] { q.pop(2, Q::WhenEmpty::kRelease), q.pop(2, Q::WhenEmpty::kRelease); }};
}
template <class Q>
Threads two_consumers(Q& q) {
  return {[&q] { q.pop(0), q.pop(0); }, [&q] { q.pop(1), q.push(1, 20), q.pop(1); }};
}
// Memory comes back while the other is on its way through the list.
template <class Q>
Threads churn(Q& q) {
  return {[&q] { q.push(0, 10), q.pop(0); },
          [&q] {
            q.pop(1, Q::WhenEmpty::kRelease), q.rig.reclaim(1), q.push(1, 20);
            q.pop(1, Q::WhenEmpty::kRelease), q.rig.reclaim(1), q.push(1, 21);
          }};
}

// One entry comes singly where the run of another may be linked behind it; the consumer closes what is empty then.
template <class Q>
Threads run_behind_a_push(Q& q) {
  return {[&q] { q.push(0, 10); }, [&q] { q.push_run(1, 20); }, [&q] { q.pop(2), q.pop(2), q.pop(2); }};
}
template <class Q>
Threads runs(Q& q) {
  return {[&q] { q.push_run(0, 10), q.push_run(0, 12); }, [&q] { q.push_run(1, 20), q.pop(1), q.pop(1); }};
}

template <std::size_t kBytes>
using Sound = Queued<Mutant::kNone, EngineSync, kBytes>;

TEST(SegQueueSchedules, AProducerAndAConsumer) {
  Sound<40> one(2, 1);
  expect_queue_holds("queue, one cell", one, 1, producer_and_consumer(one));
  Sound<48> two(2, 2);
  expect_queue_holds("queue, two cells", two, 2, producer_and_consumer(two));
}
TEST(SegQueueSchedules, AConsumerThatReleases) {
  Sound<40> one(2, 0);
  expect_queue_holds("queue, release, one cell", one, 0, producer_and_closer(one));
  Sound<48> two(2, 1);
  expect_queue_holds("queue, release, two cells", two, 1, producer_and_closer(two));
}
TEST(SegQueueSchedules, TwoProducersAndAConsumerThatReleases) {
  Sound<48> q(3, 1);
  expect_queue_holds("queue, two producers", q, 1, two_producers_and_closer(q), {.preemptions = 2});
}
TEST(SegQueueSchedules, TwoConsumers) {
  Sound<48> q(2, 3);
  expect_queue_holds("queue, two consumers", q, 3, two_consumers(q));
}
TEST(SegQueueSchedules, SegmentsAreFreedUnderTheirReaders) {
  Sound<48> q(2, 2);
  expect_queue_holds("queue, churn", q, 2, churn(q));
}
TEST(SegQueueSchedules, ARunBehindAPush) {
  Sound<48> none(3, 0);
  expect_queue_holds("queue, run, empty", none, 0, run_behind_a_push(none), {.preemptions = 2});
  Sound<48> open(3, 1);
  expect_queue_holds("queue, run, a cell to come", open, 1, run_behind_a_push(open), {.preemptions = 2});
  expect_queue_holds("queue, run, stopped", open, 1, run_behind_a_push(open),
                     {.preemptions = 1, .freeze = Freeze::kAllButOne});
}
TEST(SegQueueSchedules, Runs) {
  Sound<48> q(2, 3);
  expect_queue_holds("queue, runs", q, 3, runs(q));
}
TEST(SegQueueSchedules, NobodyWaitsForAStoppedThread) {
  Sound<48> q(3, 1);
  expect_queue_holds("queue, stopped", q, 1, two_producers_and_closer(q),
                     {.preemptions = 1, .freeze = Freeze::kAllButOne});
  Sound<48> c(2, 2);
  expect_queue_holds("queue, churn stopped", c, 2, churn(c),
                     {.preemptions = 1, .freeze = Freeze::kOne});
}

TEST(SegQueueMutants, CellByStore) {
  Queued<Mutant::kQueueCellByStore, EngineSync, 48> q(2, 0);
  expect_queue_bug("queue, cell by store", q, 0, producer_and_consumer(q));
}
TEST(SegQueueMutants, PopByStore) {
  Queued<Mutant::kQueuePopByStore, EngineSync, 48> q(2, 3);
  expect_queue_bug("queue, pop by store", q, 3, two_consumers(q));
}
TEST(SegQueueMutants, CloseByStore) {
  Queued<Mutant::kQueueCloseByStore, EngineSync, 48> q(2, 1);
  expect_queue_bug("queue, close by store", q, 1, producer_and_closer(q));
}
TEST(SegQueueMutants, DropOpenEnd) {
  Queued<Mutant::kQueueDropOpenEnd, EngineSync, 40> q(2, 1);
  expect_queue_bug("queue, open end", q, 1, producer_and_closer(q));
}
TEST(SegQueueMutants, PassOpenSegment) {
  Queued<Mutant::kQueuePassOpenSegment, EngineSync, 48> q(3, 1);
  expect_queue_bug("queue, open segment passed", q, 1, run_behind_a_push(q));
}
TEST(SegQueueMutants, FreeAtOnce) {
  Queued<Mutant::kQueueFreeAtOnce, EngineSync, 48> q(2, 2);
  expect_queue_bug("queue, freed at once", q, 2, churn(q));
}

// --- weak memory ---------------------------------------------------------------------------------

template <class Q>
Result weak_search(const std::string& name, Q& q, unsigned before, const Threads& threads,
                   Strategy strategy, std::uint64_t schedules) {
  Options o;
  o.name = name;
  o.preemptions = is_long() ? 3 : 2;
  o.stale_reads = 1;
  o.max_schedules = schedules * (is_long() ? 40 : 1);
  o.trace_failure = false;
  o.strategy = strategy;
  return Explorer(o).explore(body_of(q, before, threads));
}

TEST(SegQueueWeakMemory, WhatIsLinkedCanBeRead) {
  Queued<Mutant::kNone, WeakEngineSync, 48> q(2, 1);
  const Result all =
      weak_search("weak, queue", q, 1, producer_and_closer(q), Strategy::kDfs, 50'000);
  EXPECT_TRUE(all.ok) << all.failure << "\nTERN_SCHEDULE='" << all.schedule << "'";
  Queued<Mutant::kNone, WeakEngineSync, 48> c(2, 2);
  const Result some = weak_search("weak, queue, churn", c, 2, churn(c), Strategy::kRandom, 20'000);
  EXPECT_TRUE(some.ok) << some.failure << "\nTERN_SCHEDULE='" << some.schedule << "'";
}
TEST(SegQueueMutants, LinkRelaxed) {
  Queued<Mutant::kQueueLinkRelaxed, WeakEngineSync, 48> q(2, 1);
  Result r = weak_search("weak, queue, relaxed link", q, 1, producer_and_closer(q), Strategy::kDfs,
                         100'000);
  if (r.ok)
    r = weak_search("weak, relaxed link, at random", q, 1, producer_and_closer(q),
                    Strategy::kRandom, 100'000);
  EXPECT_FALSE(r.ok) << "a planted bug was not found in " << r.schedules << " schedules";
}

}  // namespace
}  // namespace tern::concurrency
