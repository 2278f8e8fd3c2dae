// The event ring on the engine's real code: writers of one key, removals, moves, splits, rings that wrap, floors that
// move, listeners that come and go; and each planted bug.
#include <gtest/gtest.h>

#include <string>

#include "tests/engine/schedules/batch_rig.h"
#include "tests/engine/schedules/event_rig.h"

namespace tern::concurrency {
namespace {

template <Mutant M>
struct Eventful : EventRig<M> {
  using Base = EventRig<M>;
  using Base::Base;
  using Base::key, Base::other, Base::absent, Base::rig;

  Threads two_writers() {
    return {[&] { this->set(0, key, "1"); },
            [&] { this->set(1, key, "2"); },
            [&] { this->poll(2); }};
  }
  // Each position is filled again while others are at it.
  Threads wrapping() {
    return {[&] {
              this->set(0, key, "1");
              this->set(0, other, "2");
            },
            [&] {
              this->set(1, key, "3");
              this->set(1, other, "4");
            },
            [&] {
              this->poll(2, 1);
              this->poll(2);
            }};
  }
  Threads removing() {
    return {[&] { this->del(0, key); },
            [&] { this->set_nx(1, key, "1"); },
            [&] { this->poll(2); }};
  }
  // Whoever goes over the buckets finds a tomb whose remover stands still, and empties its slot.
  Threads burying() {
    return {[&] { this->del(0, key); },
            [&] {
              {
                tern::detail::Guard<typename Base::Sync> guard(rig.core().space, rig.thread(1));
                rig.core().space.kept_sweep.lost.store(1, std::memory_order_relaxed);
                rig.core().kept_keys()->sweep(rig.thread(1), 64);
                rig.core().space.kept_sweep.lost.store(0, std::memory_order_relaxed);
              }
              this->set_nx(1, key, "1");
            }};
  }
  Threads moving() {
    return {[&] { this->move(0); },
            [&] { this->set(1, key, "1"); },
            [&] {
              this->set(2, key, "2");
              this->poll(2);
            }};
  }
  // A record of a writer that stands still between stamp and ring is moved, and told once.
  Threads moving_what_is_new() {
    return {[&] { this->set(0, key, "1"); },
            [&] {
              this->move(1);
              this->set(1, key, "2");
            }};
  }
  Threads splitting() {
    return {[&] { this->set(0, key, "1"); },
            [&] {
              rig.grow(1);
              this->set(1, key, "2");
            },
            [&] { this->poll(2); }};
  }
  Threads shortening() {
    this->may_lose = true;
    return {[&] {
              this->set(0, key, "1");
              this->set(0, key, "2");
            },
            [&] {
              this->pass(1);
              rig.reclaim(1);
              this->pass(1, 2);
            },
            [&] { this->poll(2); }};
  }
  Threads reading_what_gives_way() {
    this->may_lose = true;
    return {[&] {
              this->set(0, key, "1");
              this->set(0, key, "2");
              rig.reclaim(0);
              this->pass(0, 2);
              rig.reclaim(0);
              this->set(0, other, "3");
            },
            [&] { this->poll(1); }};
  }
  Threads past_the_share() {
    this->may_lose = true;
    return {[&] {
              for (const char* value : {"1", "2", "3", "4", "5"}) {
                this->set(0, key, value);
                rig.reclaim(0);
              }
            },
            [&] {
              this->poll(1);
              this->set(1, other, "1");
            }};
  }
  // The same, of what lies behind the value.
  Threads reading_tags_of_what_gives_way() {
    this->may_lose = true;
    return {[&] {
              this->set_tagged(0, key, "1");
              this->set(0, key, "2");
              rig.reclaim(0);
              this->pass(0, 2);
              rig.reclaim(0);
              this->set_tagged(0, other, "3");
            },
            [&] {
              this->incomplete();  // what it polls isn't noted
              this->poll_tag(1);
            }};
  }
  // Whoever copies stands still in the middle while the ring wraps twice under it.
  Threads reading_while_it_wraps() {
    this->may_lose = true;
    return {[&] {
              for (const char* value : {"1", "2", "3", "4"}) {
                this->set(0, key, value);
                rig.reclaim(0);
              }
            },
            [&] {
              this->poll(1, 1);
              this->poll(1, 1);
            }};
  }
  // A view, and every change after it.
  Threads coming_with_a_view() {
    return {[&] {
              this->set(0, key, "1");
              this->set(0, key, "2");
            },
            [&] {
              if (!this->enter()) rig.complain("nobody may listen");
              const auto view = typename Base::R::Views(rig.core()).open();
              this->listen_with(view);
              std::uint64_t version = 0;
              (void)typename Base::R::Views(rig.core()).read(rig.thread(1), view, key.hash, key.view(),
                                                              [&](const auto& head) { version = head.version; });
              this->know_from(0, version);
              typename Base::R::Views(rig.core()).close(&rig.thread(1), view);
            },
            [&] { this->set(2, key, "3"); }};
  }
  // Told for another listener after this one has read the tails, and before its view.
  Threads came_before() {
    this->another_listens();
    return {[&] { this->set(0, key, "1"); },
            [&] {
              if (!this->enter()) rig.complain("nobody may listen");
              const auto view = typename Base::R::Views(rig.core()).open();
              this->listen_with(view);
              std::uint64_t version = 0;
              (void)typename Base::R::Views(rig.core()).read(rig.thread(1), view, key.hash, key.view(),
                                                              [&](const auto& head) { version = head.version; });
              this->know_from(0, version);
              typename Base::R::Views(rig.core()).close(&rig.thread(1), view);
            }};
  }
  Threads coming_beside_another() {
    this->another_listens();
    return coming_with_a_view();
  }
  Threads leaving() {
    return {[&] {
              this->set(0, key, "1");
              this->set(0, other, "2");
            },
            [&] { this->leave(1); },
            [&] { this->set(2, key, "3"); }};
  }

  // From the second set on the short way is taken (writes-inl.h): a block is at hand.
  Threads leaving_a_writer() {
    return {[&] {
              this->set(0, other, "1");
              for (const char* value : {"2", "3", "4"}) this->set(0, key, value);
              rig.reclaim(0);
            },
            [&] { this->leave(1); }};
  }
  // The short way twice, at one key and one ring: in turns.
  Threads two_in_turns() {
    return {[&] {
              for (const char* value : {"1", "2", "3"}) this->set(0, key, value);
            },
            [&] {
              for (const char* value : {"4", "5"}) this->set(1, key, value);
            }};
  }
  // What a writer hasn't stamped yet is stamped by a view's reader, then seen in another view, from which on somebody listens.
  Threads stamped_by_another() {
    this->another_listens();
    return {[&] {
              this->set(0, other, "1");
              this->set(0, key, "2");
            },
            [&] {
              typename Base::R::Views views(rig.core());
              const auto first = views.open();
              (void)views.read(rig.thread(1), first, key.hash, key.view(), [](const auto&) {});
              views.close(&rig.thread(1), first);
              if (!this->enter()) rig.complain("nobody may listen");
              const auto view = views.open();
              this->listen_with(view);
              std::uint64_t version = 0;
              (void)views.read(rig.thread(1), view, key.hash, key.view(), [&](const auto& head) { version = head.version; });
              this->know_from(0, version);
              (void)views.read(rig.thread(1), view, other.hash, other.view(), [&](const auto& head) { version = head.version; });
              this->know_from(1, version);
              views.close(&rig.thread(1), view);
            }};
  }

  Body body(const Threads& threads) {
    return {[this] { this->restore(); }, threads, [this] { return this->check(); }};
  }
};

constexpr Bounds kBounds{.preemptions = 3, .schedules = 8'000, .random = 1'000};
using Plain = Eventful<Mutant::kNone>;

#define TERN_EVENTS_HOLD(name, scene, threads, ...)                                    \
  TEST(Events, name) {                                                                \
    Plain e(threads, __VA_ARGS__);                                                    \
    expect_body_holds("events, " #scene, e.body(e.scene()), kBounds);                 \
  }
TERN_EVENTS_HOLD(TwoWritersOfAKey, two_writers, 3, 8)
TERN_EVENTS_HOLD(ARingThatWraps, wrapping, 3, 2)
TERN_EVENTS_HOLD(ARemovalBesideAnInsert, removing, 3, 8)
TERN_EVENTS_HOLD(AnotherBuries, burying, 2, 8)
TERN_EVENTS_HOLD(BesideAMove, moving, 3, 8)
TERN_EVENTS_HOLD(WhatIsNewIsMoved, moving_what_is_new, 2, 8)
TERN_EVENTS_HOLD(BesideASplit, splitting, 3, 8)
TERN_EVENTS_HOLD(BesideAFloorThatMoves, shortening, 3, 2)
TERN_EVENTS_HOLD(WhatIsReadGivesWay, reading_what_gives_way, 2, 4)
TERN_EVENTS_HOLD(TagsOfWhatGivesWay, reading_tags_of_what_gives_way, 2, 4)
TERN_EVENTS_HOLD(WhatIsReadWrapsAway, reading_while_it_wraps, 2, 2)
TERN_EVENTS_HOLD(AListenerComesWithAView, coming_with_a_view, 3, 8, false)
TERN_EVENTS_HOLD(AListenerComesBesideAnother, coming_beside_another, 3, 8, false)
TERN_EVENTS_HOLD(TheLastListenerLeaves, leaving, 3, 4)
TERN_EVENTS_HOLD(TheLastListenerLeavesAWriter, leaving_a_writer, 2, 8)
TERN_EVENTS_HOLD(TwoWritersInTurns, two_in_turns, 2, 4)
TERN_EVENTS_HOLD(AnotherStamps, stamped_by_another, 2, 8, false)

// Past the rings' share (64 bytes: one record) each record that is told pushes others out.
TEST(Events, PastTheShareTheOldestGiveWay) {
  Plain e(2, 8, true, 64);
  expect_body_holds("events, share", e.body(e.past_the_share()), kBounds);
}

TEST(Events, NobodyWaitsForAStoppedThread) {
  for (const unsigned cells : {2u, 8u}) {
    Plain e(3, cells);
    expect_body_holds("events, stopped", e.body(e.wrapping()),
                      {.preemptions = 1, .schedules = 5'000, .random = 500, .freeze = Freeze::kAllButOne});
  }
}

#define TERN_EVENTS_FAIL(name, mutant, scene, threads, ...)                                        \
  TEST(EventMutants, name) {                                                                      \
    Eventful<mutant> e(threads, __VA_ARGS__);                                                     \
    e.rig.audit_always = true;                                                                    \
    expect_body_fails("events, " #name, e.body(e.scene()), {.preemptions = 3, .schedules = 30'000}); \
  }
TERN_EVENTS_FAIL(EventFlagBeforeTail, Mutant::kEventFlagBeforeTail, two_writers, 3, 8)
TERN_EVENTS_FAIL(EventTurnTakenLate, Mutant::kEventTurnTakenLate, two_in_turns, 2, 8)
TERN_EVENTS_FAIL(EventTailBeforeFlag, Mutant::kEventTailBeforeFlag, two_writers, 3, 8)
TERN_EVENTS_FAIL(EventLoserHolds, Mutant::kEventLoserHolds, two_writers, 3, 8)
TERN_EVENTS_FAIL(EventUntoldHolds, Mutant::kEventUntoldHolds, leaving_a_writer, 2, 8)
TERN_EVENTS_FAIL(EventFlagRestamps, Mutant::kEventFlagRestamps, stamped_by_another, 2, 8, false)
TERN_EVENTS_FAIL(EventReleasedAtOnce, Mutant::kEventReleasedAtOnce, reading_what_gives_way, 2, 4)
TERN_EVENTS_FAIL(EventReleasedAtOnceUnderTags, Mutant::kEventReleasedAtOnce, reading_tags_of_what_gives_way, 2, 4)
TEST(EventMutants, EventReleasedAtOnceWhileTheRingWraps) {
  Eventful<Mutant::kEventReleasedAtOnce> e(2, 2);
  e.rig.audit_always = true;
  expect_body_fails("events, released while it wraps", e.body(e.reading_while_it_wraps()), {.preemptions = 3, .schedules = 30'000});
}
TERN_EVENTS_FAIL(EventGapSwallowed, Mutant::kEventGapSwallowed, wrapping, 3, 2)
TERN_EVENTS_FAIL(EventFloorPastTail, Mutant::kEventFloorPastTail, shortening, 3, 2)
TERN_EVENTS_FAIL(LetGoTwice, Mutant::kLetGoTwice, past_the_share, 2, 8, true, 64)
TERN_EVENTS_FAIL(EventReplacedUntold, Mutant::kEventReplacedUntold, two_writers, 3, 8)
TERN_EVENTS_FAIL(EventBuriedUntold, Mutant::kEventBuriedUntold, burying, 2, 8)
TERN_EVENTS_FAIL(EventOldDelivered, Mutant::kEventOldDelivered, came_before, 2, 8, false)
TERN_EVENTS_FAIL(EventBeforeStamp, Mutant::kEventBeforeStamp, coming_with_a_view, 3, 8, false)

// A batch that may fail beside a writer of the key that it asks for.
template <Mutant M>
struct ToldBatch {
  using Sub = tern::detail::Subscription<typename Rig<M>::Sync>;
  BatchRig<M> b{2};
  std::uint64_t positions[1] = {};
  alignas(Sub) unsigned char storage[sizeof(Sub)] = {};
  unsigned char saved[sizeof(Sub)] = {};
  std::uint64_t saved_position = 0;
  Sub* sub = new (storage) Sub(b.rig.core());
  bool committed = false;
  bool removes;  // key 3, which isn't there, instead of setting it
  bool listens;  // from before

  explicit ToldBatch(bool removes_absent = false, bool listening = true) : removes(removes_absent), listens(listening) {
    (void)sub->enter(0, 1, positions);
    if (listening) {
      sub->begin();
    } else {
      sub->end(b.rig.own());  // the rings are there
    }
    b.rig.audit_always = true;
    b.rig.freeze();
    std::memcpy(saved, storage, sizeof storage);
    saved_position = positions[0];
  }
  Body body() {
    return {[&] {
              b.restore();
              std::memcpy(static_cast<void*>(storage), saved, sizeof storage);
              positions[0] = saved_position;
              committed = false;
            },
            {[&] { committed = b.batch(0, {{What::kSet, 0, 'a'}, {What::kRequireValue, 1, '0'}, {removes ? What::kDel : What::kSet, 3, 'a'}}); },
             [&] {
               b.set(1, 1, 'b');
               b.set(1, 0, 'c');
             }},
            [&] { return check(); }};
  }
  // The listener comes while the batch is under way: then it is told as a whole, by its name, or not at all.
  Body coming() {
    Body all = body();
    all.threads[1] = [&] {
      if (!sub->enter(0, 1, positions)) b.rig.complain("nobody may listen");
      sub->begin();
    };
    return all;
  }
  // What an event says of its batch: it alone has the stamp, and how many there are.
  const char* misnamed(tern::detail::Record<typename Rig<M>::Sync>& r, tern::detail::Stamp s, bool is_batchs) {
    const bool named = tern::detail::ViewClock<typename Rig<M>::Sync>::is_of_batch(s.stamp());
    if (named != is_batchs) return named ? "a set has a batch's stamp" : "a batch is told without its name";
    if (!named) return nullptr;
    const std::uint64_t size = b.rig.core().space.word_behind(r, s).load(std::memory_order_relaxed);
    return size == (removes ? 1u : 2u) ? nullptr : "a batch is told with another size";
  }
  std::string check() {
    unsigned of_batch = 0, of_writer = 0;
    {
      tern::detail::Guard<typename Rig<M>::Sync> guard(b.rig.core().space, b.rig.own());
      typename Sub::Next next;
      while (sub->next(next)) {
        if (next.what == tern::detail::EventSeen::kGap) return "a gap in a ring that has room for everything";
        auto& r = *b.rig.core().space.record(next.record);
        const auto key = b.rig.core().space.key_of(r, next.stamp);
        const auto v = b.rig.core().space.value_of(r, next.stamp, key.size);
        if (next.stamp.tomb()) return "a removal is told that nobody asked for";
        (v.data[0] == 'a' ? of_batch : of_writer)++;
        if (const char* wrong = misnamed(r, next.stamp, v.data[0] == 'a')) return wrong;
      }
    }
    if (!listens) {
      if (of_batch != 0 && of_batch != (removes ? 1u : 2u)) return "a part of a batch is told";
      return b.check();
    }
    if (of_batch != (!committed ? 0u : removes ? 1u : 2u)) return "a batch is told that failed, or isn't told";
    if (of_writer != 2) return "a set isn't told";
    return b.check();
  }
};
TEST(Events, ABatchIsToldIfItCommits) {
  ToldBatch<Mutant::kNone> told;
  expect_body_holds("events, batch", told.body(), kBounds);
}
TEST(Events, ABatchesRemovalOfNothingIsNotTold) {
  ToldBatch<Mutant::kNone> told(true);
  expect_body_holds("events, batch that removes nothing", told.body(), kBounds);
}
TEST(Events, AListenerComesBesideABatch) {
  ToldBatch<Mutant::kNone> told(false, false);
  expect_body_holds("events, batch beside a listener that comes", told.coming(), kBounds);
}
TEST(EventMutants, kBatchToldUnnamed) {
  ToldBatch<Mutant::kBatchToldUnnamed> told(false, false);
  expect_body_fails("events, kBatchToldUnnamed", told.coming(), {.preemptions = 3, .schedules = 30'000});
}
TEST(EventMutants, kBatchStampShared) {
  ToldBatch<Mutant::kBatchStampShared> told;
  expect_body_fails("events, kBatchStampShared", told.body(), {.preemptions = 2, .schedules = 10'000});
}
TEST(EventMutants, kBatchMiscounted) {
  ToldBatch<Mutant::kBatchMiscounted> told(true);
  expect_body_fails("events, kBatchMiscounted", told.body(), {.preemptions = 2, .schedules = 10'000});
}
TEST(EventMutants, kBatchAbsentTold) {
  ToldBatch<Mutant::kBatchAbsentTold> told(true);
  expect_body_fails("events, kBatchAbsentTold", told.body(), {.preemptions = 2, .schedules = 10'000});
}
TEST(EventMutants, kEventAbortedTold) {
  ToldBatch<Mutant::kEventAbortedTold> told;
  expect_body_fails("events, kEventAbortedTold", told.body(), {.preemptions = 3, .schedules = 30'000});
}

TEST(EventMutants, kBatchPlaceholderTold) {
  ToldBatch<Mutant::kBatchPlaceholderTold> told;
  expect_body_fails("events, kBatchPlaceholderTold", told.body(), {.preemptions = 2, .schedules = 10'000});
}

}  // namespace
}  // namespace tern::concurrency
