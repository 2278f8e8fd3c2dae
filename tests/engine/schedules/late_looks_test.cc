// What a call has found is looked at a moment later: a whole other operation, or two, may have come between. Each scene has
// a thread that does two in a row beside one that changes what it finds, asks for it, or reads many keys at one moment; time
// goes by as one of them. With each planted bug found.
#include <gtest/gtest.h>

#include <string>

#include "engine/leases.h"
#include "engine/views.h"
#include "tests/engine/schedules/batch_scenes.h"

namespace tern::concurrency {
namespace {

template <Mutant M>
struct Late {
  explicit Late(int threads, StoreKind kind = StoreKind::kPlain) : b(threads, Chains::kShort, kind) {}
  using Sync = typename BatchRig<M>::Sync;
  using Deadline = tern::detail::Deadline;

  // --- a removal by point, then a set -----------------------------------------------------------------------------

  Threads cleared_and_set(std::function<void()> beside) {
    return {[&] {
              b.clear(0);
              b.set(0, 0, '5');
              b.get(0, 1);
            },
            std::move(beside)};
  }
  Threads point_and_conditional_set() {
    return cleared_and_set([&] {
      b.set_letter(1, 0, 'x');
      b.get(1, 0);
    });
  }
  Threads point_and_batch() {
    return cleared_and_set([&] { b.batch(1, {{kIs, 0, '5'}, {kSet, 0, 'b'}, {kSet, 1, 'b'}}); });
  }
  Threads point_and_kept_ttl() {
    return {[&] {
              b.clear(0);
              b.set(0, 2, '5');
            },
            [&] {
              b.batch(1, {{kSet, 2, 'b', true}, {kIsThere, 0}});
              b.get(1, 2);
            }};
  }
  Threads point_and_touch() {
    return {[&] {
              b.clear(0);
              b.set(0, 2, '5');
              b.get(0, 2);
            },
            [&] {
              b.expire(1, 2, 2000);
              b.add(1, 2);
            }};
  }
  Threads point_and_moment() {
    return cleared_and_set([&] { b.read(1, {0, 1, 2}); });
  }
  Threads point_and_view() {
    return cleared_and_set([&] { b.view(1, {0, 1, 2}); });
  }
  Threads point_and_remover() {
    return cleared_and_set([&] {
      b.del(1, 0);
      b.add(1, 0);
    });
  }
  Threads set_and_point() {
    return {[&] {
              b.set(0, 0, '5');
              b.clear_one(0, 0);
            },
            [&] {
              b.add(1, 0);
              b.get(1, 0);
            }};
  }
  Threads removed_and_added() {
    return {[&] {
              b.del(0, 0);
              b.add(0, 0);
            },
            [&] { b.batch(1, {{kIsThere, 0}, {kSet, 0, '5'}, {kDel, 1}}); }, [&] { b.add(2, 0); }};
  }
  // The batch comes before the removal, as its condition held; so the key is never absent.
  Threads batch_that_retags(std::function<void()> beside) {
    return {[&] { b.clear_digits(0); }, [&] { b.batch(1, {{kIsThere, 0}, {kSet, 0, 'x'}}); }, std::move(beside)};
  }
  Threads point_batch_and_get() {
    return batch_that_retags([&] { b.get(2, 0); });
  }
  Threads point_batch_and_batch() {
    return batch_that_retags([&] { b.batch(2, {{kIsThere, 0}, {kSet, 3, 'y'}}); });
  }
  Threads point_batch_and_view() {
    return batch_that_retags([&] { b.view(2, {0, 1}); });
  }

  // --- a key leaves its lease, which then ends; a lease ends, and its key is set ------------------------------------

  Threads detached_and_ended(std::function<void()> beside) {
    b.lease_two();
    return {[&] {
              b.set(0, 0, 'a');
              b.revoke(0);
            },
            std::move(beside)};
  }
  Threads lease_and_conditional_set() {
    return detached_and_ended([&] { b.set_letter(1, 0, 'x'); });
  }
  Threads lease_and_batch() {
    return detached_and_ended([&] { b.batch(1, {{kIsThere, 0}, {kSet, 3, 'b'}}); });
  }
  Threads lease_and_moment() {
    return detached_and_ended([&] { b.read(1, {0, 1, 2}); });
  }
  Threads lease_and_view() {
    return detached_and_ended([&] { b.view(1, {0, 1}); });
  }
  Threads lease_and_remover() {
    return detached_and_ended([&] { b.del(1, 0); });
  }
  Threads ended_and_set() {
    b.lease_two();
    return {[&] {
              b.revoke(0);
              b.set(0, 0, '0');
            },
            [&] {
              b.add(1, 0);
              b.get(1, 0);
            }};
  }
  // Whoever has missed a member doesn't find it set because it was there.
  Threads ended_and_conditional_set() {
    b.lease_two();
    return {[&] {
              b.revoke(0);
              b.get(0, 0);
            },
            [&] { b.set_letter(1, 0, 'x'); }};
  }

  // --- time goes by -------------------------------------------------------------------------------------------------

  // A touch comes so late that the time which it names is over, and another between its look and its swap.
  Threads touched_too_late_and_away() {
    b.rig.at_freeze = [] {};  // the wheel's memory may come from the heap's slow ways
    b.mortal_two();
    return {[&] {
              b.pass(0);
              b.touch(0, 2, true);
            },
            [&] { b.touch(1, 2, false); }};
  }
  // A set on condition that the key is there comes to nothing, as the key has expired meanwhile: it has its ticket still, or is gone.
  Threads set_too_late() {
    b.rig.at_freeze = [] {};  // as above
    b.mortal_two();
    return {[&] { b.pass(0); }, [&] { b.set_letter(1, 0, 'x'); }};
  }
  // ... a view is opened meanwhile, and somebody finds the key as it was.
  Threads touched_beside_an_opener() {
    b.rig.at_freeze = [] {};  // as above
    b.mortal_two();
    return {[&] { b.touch(0, 2, true); },
            [&] {
              b.pass(1);
              b.view(1, {2});
            },
            [&] { b.get(2, 2); }};
  }

  // Key 2 is due at 1000.

  Body timed(Threads threads) {
    return {[&] { b.restore(); }, std::move(threads), [&] { return b.rig.check(); }};
  }
  void goes_by() { b.rig.now_ms = 1500; }
  void extend() {
    if (!b.expire(0, 2, 2000)) b.rig.complain("a key that is there was not found");
    goes_by();
  }
  void unbind() {
    b.set(0, 2, 'a');
    goes_by();
  }
  bool seen(unsigned key) {
    tern::detail::Guard<Sync> guard(b.rig.core().space, b.rig.thread(1));
    return b.rig.core().head(b.keys[key].hash, b.keys[key].view()).present;
  }
  void must_see() {
    if (!seen(2)) b.rig.complain("a key was missed that was always there");
  }
  bool put_if_present() {
    const tern::detail::SetTerms terms{.if_present = true};
    tern::detail::SetChange<Sync> change(b.rig.core().space, b.rig.thread(1), b.keys[2].view(), "x", terms);
    return b.rig.core().write(b.rig.thread(1), b.keys[2].hash, b.keys[2].view(), change).outcome == tern::detail::Committed::Outcome::kPut;
  }
  bool batch_if_present() { return b.batch(1, {{kIsThere, 2}, {kSet, 2, 'x'}, {kSet, 1, 'x'}}, false); }

  Body extended_and_get() {
    return timed({[&] { extend(); }, [&] { must_see(); }});
  }
  Body unbound_and_get() {
    return timed({[&] { unbind(); }, [&] { must_see(); }});
  }
  Body unbound_and_conditional_set() {
    return timed({[&] { unbind(); }, [&] {
                    if (!put_if_present()) b.rig.complain("a set found a key absent that was always there");
                  }});
  }
  Body unbound_and_batch() {
    return timed({[&] { unbind(); }, [&] {
                    if (!batch_if_present()) b.rig.complain("a batch found a key absent that was always there");
                  }});
  }
  Body extended_and_moment() {
    return timed({[&] { extend(); }, [&] {
                    std::string_view names[] = {b.keys[2].view(), b.keys[3].view()};
                    typename BatchRigBase::R::Moment::Cell cells[2];
                    bool there = false;
                    (void)BatchRigBase::R::Moment::read(b.rig.core(), b.rig.thread(1), names, 2, cells, [&](std::size_t i, const char* value, std::uint64_t) {
                      there = there || (i == 0 && value != nullptr);
                    });
                    if (!there) b.rig.complain("a moment missed a key that was always there");
                  }});
  }
  // Whoever has missed it, misses it from then on.
  template <class Revive>
  Body missed(Revive revive) {
    return timed({[&, revive] { revive(); }, [&] {
                    b.rig.now_ms = 1000;
                    if (!seen(2) && seen(2)) b.rig.complain("what had expired came back");
                  }});
  }
  Body missed_and_touch() {
    return missed([&] { b.expire(0, 2, 2000); });
  }
  Body missed_and_touch_beside_a_view() {
    (void)b.rig.core().space.views.open(tern::detail::ViewOwner::kUser);  // a record of its own, as a view might show the old one
    b.rig.freeze();
    return missed([&] { b.expire(0, 2, 2000); });
  }
  Body missed_and_conditional_set() {
    return missed([&] { b.set_letter(0, 2, 'x'); });
  }
  Body missed_and_batch() {
    return missed([&] { b.batch(0, {{kIsThere, 2}, {kSet, 2, 'x'}, {kSet, 1, 'x'}}, false); });
  }
  // Three touches have looked at a record, which has no deadline. The first stands still when it has asked for views; the second moves the
  // deadline, and it is taken away again; a view is opened, somebody sees that there is none; and the third, which had seen no view, says
  // that it would move what is there, before it gives up.
  Body touched_to_never_and_back() {
    auto& core = b.rig.core();
    const auto head = [&] { return core.head(b.keys[2].hash, b.keys[2].view()); };
    const auto move = [&, head](int t, const tern::detail::Head<Sync>* seen, std::uint64_t deadline_ms) {
      tern::detail::Guard<Sync> guard(core.space, b.rig.thread(t));
      core.committer().touch(b.rig.thread(t), b.keys[2].hash, seen != nullptr ? *seen : head(), deadline_ms);
    };
    return {[&, head] {
              b.restore();
              wrong = {};
              tern::detail::Guard<Sync> guard(core.space, b.rig.own());
              head().record->x().store(Deadline::at(Deadline::kNever).word(), std::memory_order_relaxed);
              looked = head();
            },
            {[&, move] { move(0, &looked, 2000); },
             [&, head, move] {
               move(1, &looked, 3000);
               move(1, nullptr, Deadline::kNever);
               tern::detail::Views<Sync> views(core);
               const auto view = views.open();
               std::uint64_t shown = 0;
               std::uint64_t viewed = 0;
               {
                 tern::detail::Guard<Sync> guard(core.space, b.rig.thread(1));
                 shown = head().deadline_ms;
               }
               (void)views.read(b.rig.thread(1), view, b.keys[2].hash, b.keys[2].view(), [&](const auto& h) { viewed = h.deadline_ms; });
               if (viewed != shown) wrong = "a view has a deadline that came after it was opened";
               views.close(&b.rig.thread(1), view);
             },
             [&, move] { move(2, &looked, 4000); }},
            [&] { return wrong; }};
  }
  // A lease whose deadline moves by a record of its own, as a view is open.
  void lease_beside_a_view() {
    b.lease_two();
    (void)b.rig.core().space.views.open(tern::detail::ViewOwner::kUser);
    b.rig.freeze();
  }
  Body kept_alive_and_get() {
    lease_beside_a_view();
    return timed({[&] {
                    if (!b.keep_alive(0, 3000)) b.rig.complain("a lease that is alive was not found");
                    goes_by();
                  },
                  [&] {
                    if (!seen(0)) b.rig.complain("a member was missed whose lease was always alive");
                  }});
  }
  Body missed_and_kept_alive() {
    lease_beside_a_view();
    return timed({[&] { b.keep_alive(0, 3000); }, [&] {
                    b.rig.now_ms = 1000;
                    if (!seen(0) && seen(0)) b.rig.complain("a lease came back");
                  }});
  }
  // One key is set, then another expires: no moment has the second change without the first.
  Body view_of_two() {
    return timed({[&] {
                    b.set(0, 1, 'a');
                    goes_by();
                  },
                  [&] {
                    tern::detail::Views<Sync> views(b.rig.core());
                    const auto view = views.open();
                    char one = 0;
                    bool two = false;
                    (void)views.read(b.rig.thread(1), view, b.keys[1].hash, b.keys[1].view(), [&](const auto& h) { one = h.bytes()[0]; });
                    (void)views.read(b.rig.thread(1), view, b.keys[2].hash, b.keys[2].view(), [&](const auto&) { two = true; });
                    if (!two && one != 'a') b.rig.complain("a view shows a key expired without a change before that");
                    views.close(&b.rig.thread(1), view);
                  }});
  }

  BatchRig<M> b;
  tern::detail::Head<Sync> looked;
  std::string wrong;
};

#define TERN_HOLDS(test, scene, threads, ...)                                                                     \
  TEST(LateLooks, test) {                                                                                         \
    Late<Mutant::kNone> c(threads __VA_OPT__(, ) __VA_ARGS__);                                                    \
    expect_holds("late looks, " #scene, c.b, c.scene(), {.preemptions = 2, .schedules = 4'000, .random = 1'000}); \
  }
#define TERN_BODY_HOLDS(test, scene)                                                                           \
  TEST(LateLooks, test) {                                                                                      \
    Late<Mutant::kNone> c(2);                                                                                  \
    expect_body_holds("late looks, " #scene, c.scene(), {.preemptions = 2, .schedules = 3'000, .random = 500}); \
  }

TERN_HOLDS(APointAndAConditionalSet, point_and_conditional_set, 2)
TERN_HOLDS(APointAndABatch, point_and_batch, 2)
TERN_HOLDS(APointAndAKeptLifetime, point_and_kept_ttl, 2)
TERN_HOLDS(APointAndATouch, point_and_touch, 2)
TERN_HOLDS(APointAndAMoment, point_and_moment, 2)
TERN_HOLDS(APointAndAView, point_and_view, 2)
TERN_HOLDS(APointAndARemover, point_and_remover, 2)
TERN_HOLDS(ASetAndAPoint, set_and_point, 2)
TERN_HOLDS(RemovedAndAdded, removed_and_added, 3)
TERN_HOLDS(APointABatchAndAGet, point_batch_and_get, 3, StoreKind::kTagged)
TERN_HOLDS(APointABatchAndABatch, point_batch_and_batch, 3, StoreKind::kTagged)
TERN_HOLDS(APointABatchAndAView, point_batch_and_view, 3, StoreKind::kTagged)
TERN_HOLDS(ALeaseAndAConditionalSet, lease_and_conditional_set, 2)
TERN_HOLDS(ALeaseAndABatch, lease_and_batch, 2)
TERN_HOLDS(ALeaseAndAMoment, lease_and_moment, 2)
TERN_HOLDS(ALeaseAndAView, lease_and_view, 2)
TERN_HOLDS(ALeaseAndARemover, lease_and_remover, 2)
TERN_HOLDS(ALeasesEndAndASet, ended_and_set, 2)
TERN_HOLDS(ALeasesEndAndAConditionalSet, ended_and_conditional_set, 2)
TERN_HOLDS(ASetTooLate, set_too_late, 2)
TERN_HOLDS(TwoTouchesOneTooLate, touched_too_late_and_away, 2)
TERN_BODY_HOLDS(AnExtensionAndAGet, extended_and_get)
TERN_BODY_HOLDS(ASetAndAGet, unbound_and_get)
TERN_BODY_HOLDS(ASetAndAConditionalSet, unbound_and_conditional_set)
TERN_BODY_HOLDS(ASetAndABatch, unbound_and_batch)
TERN_BODY_HOLDS(AnExtensionAndAMoment, extended_and_moment)
TERN_BODY_HOLDS(AMissAndATouch, missed_and_touch)
TERN_BODY_HOLDS(AMissAndATouchBesideAView, missed_and_touch_beside_a_view)
TERN_BODY_HOLDS(AMissAndAConditionalSet, missed_and_conditional_set)
TERN_BODY_HOLDS(AMissAndABatch, missed_and_batch)
TERN_BODY_HOLDS(ALeaseKeptAliveAndAGet, kept_alive_and_get)
TERN_BODY_HOLDS(AMissAndALeaseKeptAlive, missed_and_kept_alive)
TERN_BODY_HOLDS(AViewOfTwoKeys, view_of_two)

TEST(LateLooks, ATouchAnOpenerAndAGet) {
  Late<Mutant::kNone> c(3);
  expect_holds("late looks, touched_beside_an_opener", c.b, c.touched_beside_an_opener(), {.preemptions = 3, .schedules = 25'000});
}

TEST(LateLooks, ATouchToNeverAndBack) {
  Late<Mutant::kNone> c(3);
  expect_body_holds("late looks, touched_to_never_and_back", c.touched_to_never_and_back(), {.preemptions = 3, .schedules = 100'000});
}

TEST(LateLooks, NobodyWaitsForAStoppedThread) {
  Late<Mutant::kNone> c(2);
  expect_holds("late looks, stopped", c.b, c.ended_and_conditional_set(),
               {.preemptions = 1, .schedules = 2'000, .random = 0, .freeze = Freeze::kAllButOne});
}

#define TERN_FOUND(test, mutant, scene, threads, ...)                               \
  TEST(LateLookMutants, test) {                                                     \
    Late<mutant> c(threads __VA_OPT__(, ) __VA_ARGS__);                             \
    expect_found("late looks, planted " #test, c.b, c.scene(), {.preemptions = 2}); \
  }
#define TERN_BODY_FOUND(test, mutant, scene)                                            \
  TEST(LateLookMutants, test) {                                                         \
    Late<mutant> c(2);                                                                  \
    expect_body_fails("late looks, planted " #test, c.scene(), {.preemptions = 2}); \
  }

TERN_FOUND(PointBatchUnseen, Mutant::kPointBatchUnseen, point_batch_and_get, 3, StoreKind::kTagged)
TERN_FOUND(LeaseExpiredKept, Mutant::kExpiredKept, lease_and_conditional_set, 2)
TERN_FOUND(LeaseExpiredAsked, Mutant::kExpiredAsked, lease_and_batch, 2)
TERN_FOUND(LeaseDeadlineOutlived, Mutant::kDeadlineOutlived, ended_and_conditional_set, 2)
TERN_FOUND(TouchedUnjudged, Mutant::kTouchedUnjudged, touched_too_late_and_away, 2)
TERN_FOUND(TicketOfUndecided, Mutant::kTicketOfUndecided, set_too_late, 2)
TERN_FOUND(TouchUnsaid, Mutant::kTouchUnsaid, touched_beside_an_opener, 3)
TERN_FOUND(TouchShown, Mutant::kTouchShown, touched_beside_an_opener, 3)
TERN_BODY_FOUND(ExpiredBelieved, Mutant::kExpiredBelieved, unbound_and_get)
TERN_BODY_FOUND(ExpiredKept, Mutant::kExpiredKept, unbound_and_conditional_set)
TERN_BODY_FOUND(ExpiredUnfrozen, Mutant::kExpiredUnfrozen, missed_and_touch)
TERN_BODY_FOUND(DeadlineOutlived, Mutant::kDeadlineOutlived, missed_and_touch_beside_a_view)
TERN_BODY_FOUND(DeadlineOutlivedByABatch, Mutant::kDeadlineOutlived, missed_and_batch)
TERN_BODY_FOUND(LeaseMovedUnseen, Mutant::kLeaseMovedUnseen, kept_alive_and_get)
TERN_BODY_FOUND(ViewOfTwoTimes, Mutant::kViewOfTwoTimes, view_of_two)

TEST(LateLookMutants, TouchedToNever) {
  Late<Mutant::kTouchedToNever> c(3);
  expect_body_fails("late looks, planted TouchedToNever", c.touched_to_never_and_back(), {.preemptions = 3});
}

}  // namespace
}  // namespace tern::concurrency
