// Views that are read, walked, ended and closed beside writers, growth and trimming: each shows one moment, to the byte and
// for its life, or says that it has ended; what they kept is counted, and goes. (Stamps and chains: versions_test.cc.)
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/engine/schedules/exploring.h"

namespace tern::concurrency {
namespace {

using tern::detail::Guard;
using tern::detail::ViewOwner;

template <Mutant M>
struct Viewed {
  explicit Viewed(int threads, unsigned views = 1) : rig(threads) {
    KeyFinder finder;
    first = finder.in_bucket(16);  // of bucket 0 until there are 17
    second = finder.in_bucket(0);
    third = finder.in_bucket(16);
    absent = finder.in_bucket(16);
    mortal = finder.in_bucket(3);
    const int own = rig.own_index();
    for (const Key* key : {&first, &second, &third}) rig.set(own, *key, "0");
    rig.set(own, mortal, "0", {.has_deadline = true, .deadline_ms = 1000});
    for (unsigned i = 0; i != views; ++i) {
      view.push_back({rig.core().space.views.open(ViewOwner::kUser), 0});
      if (i + 1 != views) rig.set(own, first, "0");
    }
    rig.freeze();
  }

  std::vector<std::string> contents() const {
    std::vector<std::string> all;
    for (const Key* key : {&first, &second, &third, &mortal}) all.push_back(key->bytes + "=0");
    std::sort(all.begin(), all.end());
    return all;
  }
  void expect_contents(int t) {
    const auto seen = rig.view_walk(t, view[0]);
    if (seen != contents()) rig.complain("a walk of " + std::to_string(seen.size()) + " keys isn't the view's");
  }
  // The same twice, unless it ends between; then it stays so.
  void expect_one_moment(int t, const Key& key, const char* value) {
    const std::string once = rig.view_get(t, view[0], key);
    const std::string again = rig.view_get(t, view[0], key);
    if (once != value && once != "!") rig.complain("a view shows '" + once + "' instead of '" + value + "'");
    if (again != once && again != "!") rig.complain("a view shows '" + once + "', then '" + again + "'");
  }
  void end_and_trim(int t, const Key& key) {
    rig.core().space.views.end_oldest();
    rig.set(t, key, "9");
  }
  void close_and_review(int t, unsigned i = 0) { typename Rig<M>::Views(rig.core()).close(&rig.thread(t), view[i]); }

  // A view whose reader is done with everything: what was kept goes, whatever comes between, and nothing more is kept.
  void review_all(int t) {
    auto& core = rig.core();
    const Guard<typename Rig<M>::Sync> guard(core.space, rig.thread(t));
    for (unsigned i = 0; i != core.table.shard_count(); ++i) {
      core.kept_keys()->ask_again(core.table.shard(i));
      core.kept_keys()->review(rig.thread(t), core.table.shard(i), 64);
    }
  }
  Threads giving_up_beside_a_writer() {
    rig.at_end = [this] {
      const int own = rig.own_index();
      review_all(own);
      rig.set(own, third, "1");
      if (rig.core().space.views.kept_versions() != 0) rig.complain("a version is kept for a view that gave it up");
    };
    return {[&] {
              rig.core().space.views.give_up(view[0].opened, rig.core().table.shard_count());
              review_all(0);
            },
            [&] {
              rig.set(1, first, "1");
              rig.del(1, second);
            }};
  }

  Threads reader_beside_writers() {
    return {[&] {
              rig.set(0, first, "1");
              rig.set(0, first, "2");
            },
            [&] { rig.del(1, first); },
            [&] { expect_one_moment(2, first, "0"); }};
  }
  Threads reader_beside_pressure() {
    return {[&] {
              rig.set(0, first, "1");
              end_and_trim(0, first);
            },
            [&] { expect_one_moment(1, first, "0"); }};
  }
  Threads remover_beside_the_end() {
    return {[&] {
              rig.del(0, first);
              rig.set(0, first, "1");
              rig.del(0, first);
            },
            [&] { close_and_review(1); }};
  }
  Threads writer_beside_the_end() {
    return {[&] { rig.set(0, first, "1"); },
            [&] {
              rig.core().space.views.close(view[0].opened);
              rig.set(1, first, "2");
            }};
  }
  Threads two_reviews() {
    return {[&] { close_and_review(0, 0); }, [&] { close_and_review(1, 1); }, [&] { rig.set(2, first, "1"); }};
  }
  Threads walk_beside_growth() {
    return {[&] {
              rig.grow(0);
              rig.set(0, first, "1");
            },
            [&] { expect_contents(1); }};
  }
  Threads walk_beside_writers() {
    return {[&] {
              rig.set(0, absent, "1");
              rig.del(0, third);
            },
            [&] { expect_contents(1); }};
  }
  // Two versions above the view's, as another view wants the one between.
  Threads walk_beside_overwrites() {
    return {[&] {
              rig.set(0, first, "1");
              const auto between = rig.core().space.views.open(ViewOwner::kUser);
              rig.set(0, first, "2");
              rig.core().space.views.close(between);
            },
            [&] { expect_contents(1); }};
  }
  // The touch was judged before the time came; the view is opened after it.
  Threads time_beside_a_touch(std::uint64_t deadline_ms, std::uint64_t view_ms) {
    return {[this, deadline_ms] { rig.expire(0, mortal, deadline_ms); },
            [this, view_ms] {
              typename Rig<M>::View late{rig.core().space.views.open(ViewOwner::kUser), view_ms};
              if (!late.opened.ok()) return;
              const std::string once = rig.view_get(1, late, mortal);
              const std::string again = rig.view_get(1, late, mortal);
              if (once != again) rig.complain("an entry came to a view, or left it: '" + once + "', '" + again + "'");
              rig.core().space.views.close(late.opened);
            }};
  }
  // A get moves the deadline of what has an idle time, whether a view is open or not.
  Threads idle_beside_a_get() {
    rig.set(rig.own_index(), mortal, "0", {.has_deadline = true, .deadline_ms = 1000, .span = tern::detail::Span::idle(1000)});
    rig.freeze();
    return {[&] {
              rig.now_ms = 500;
              (void)rig.copy(0, mortal);
            },
            [&] {
              const typename Rig<M>::View own{rig.core().space.views.open(ViewOwner::kUser), 0};
              std::uint64_t due[2] = {};
              for (auto& ms : due) {
                (void)typename Rig<M>::Views(rig.core()).read(rig.thread(1), own, mortal.hash, mortal.view(), [&](const auto& head) {
                  ms = head.deadline_ms;
                });
                step(nullptr);
              }
              if (due[0] != due[1]) rig.complain("a deadline moves in a view");
              rig.core().space.views.close(own.opened);
            }};
  }
  Threads time_goes_on() {
    return {[&] { rig.now_ms = 5000; }, [&] { expect_one_moment(1, mortal, "0"); }};
  }
  // Nobody waits for an opener that stands half-way, and it may be ended.
  Threads opener_beside_writers() {
    return {[&] {
              const auto own = rig.core().space.views.open(ViewOwner::kUser);
              const std::string value = rig.view_get(0, {own, 0}, first);
              if (value != rig.view_get(0, {own, 0}, first) && rig.core().space.views.is_open(own)) {
                rig.complain("a view that was just opened moves");
              }
              rig.core().space.views.close(own);
            },
            [&] {
              rig.set(1, first, "1");
              rig.core().space.views.end_oldest();
              rig.core().space.views.end_oldest();
              rig.set(1, first, "2");
            }};
  }

  Rig<M> rig;
  std::vector<typename Rig<M>::View> view;
  Key first, second, third, absent, mortal;
};

TEST(Views, ReadBesideAWriterAndARemover) {
  Viewed<Mutant::kNone> v(3);
  expect_holds("views, readers", v.rig, v.reader_beside_writers(), {.preemptions = 2});
}
TEST(Views, EndedUnderTheirReader) {
  Viewed<Mutant::kNone> v(2);
  expect_holds("views, pressure", v.rig, v.reader_beside_pressure());
}
TEST(Views, ClosedBesideARemover) {
  Viewed<Mutant::kNone> v(2);
  expect_holds("views, remover and end", v.rig, v.remover_beside_the_end(), {.preemptions = 2});
}
TEST(Views, ClosedBesideAWriter) {
  Viewed<Mutant::kNone> v(2);
  v.rig.audit_always = true;  // whose counts are what may be wrong here
  expect_holds("views, writer and end", v.rig, v.writer_beside_the_end(), {.preemptions = 2});
}
TEST(Views, TwoThatClose) {
  Viewed<Mutant::kNone> v(3, 2);
  expect_holds("views, two ends", v.rig, v.two_reviews(), {.preemptions = 2, .schedules = 30'000});
}
TEST(Views, GivenUpBesideAWriterAndARemover) {
  Viewed<Mutant::kNone> v(2);
  expect_holds("views, given up", v.rig, v.giving_up_beside_a_writer(), {.preemptions = 2, .schedules = 30'000});
}
TEST(Views, WalkedBesideGrowth) {
  Viewed<Mutant::kNone> v(2);
  expect_holds("views, walk and growth", v.rig, v.walk_beside_growth(), {.preemptions = 2});
}
TEST(Views, WalkedBesideAnInserterAndARemover) {
  Viewed<Mutant::kNone> v(2);
  expect_holds("views, walk and writers", v.rig, v.walk_beside_writers(), {.preemptions = 2});
}
TEST(Views, SavedBesideGrowth) {
  Viewed<Mutant::kNone> v(2);
  v.rig.walks_whole = true;
  expect_holds("views, save and growth", v.rig, v.walk_beside_growth(), {.preemptions = 2});
}
TEST(Views, SavedBesideAnInserterAndARemover) {
  Viewed<Mutant::kNone> v(2);
  v.rig.walks_whole = true;
  expect_holds("views, save and writers", v.rig, v.walk_beside_writers(), {.preemptions = 2});
}
TEST(Views, SavedBesideOverwrites) {
  Viewed<Mutant::kNone> v(2);
  v.rig.walks_whole = true;
  expect_holds("views, save and overwrites", v.rig, v.walk_beside_overwrites(), {.preemptions = 2});
}
TEST(Views, OpenedBesideATouch) {
  Viewed<Mutant::kNone> v(2, 0);
  v.rig.clock_orders = false;
  expect_holds("views, touch", v.rig, v.time_beside_a_touch(2000, 1000));
}
TEST(Views, TimeBesideATouchBackwards) {
  Viewed<Mutant::kNone> v(2, 0);
  expect_holds("views, touch backwards", v.rig, v.time_beside_a_touch(400, 500));
}
TEST(Views, IdleTimesStandStillInThem) {
  Viewed<Mutant::kNone> v(2, 0);
  expect_holds("views, idle", v.rig, v.idle_beside_a_get());
}
TEST(Views, TimeStandsStillInThem) {
  Viewed<Mutant::kNone> v(2);
  expect_holds("views, time", v.rig, v.time_goes_on());
}
TEST(Views, OpenedBesideOneThatEndsThem) {
  Viewed<Mutant::kNone> v(2);
  expect_holds("views, opener", v.rig, v.opener_beside_writers(), {.preemptions = 2});
}
TEST(Views, NobodyWaitsForAStoppedOpener) {
  Viewed<Mutant::kNone> v(2);
  expect_holds("views, stopped opener", v.rig, v.opener_beside_writers(),
               {.preemptions = 1, .freeze = Freeze::kAllButOne});
}
TEST(Views, NobodyWaitsForAStoppedReaderWalkerOrCloser) {
  Viewed<Mutant::kNone> v(2);
  expect_holds("views, stopped walker", v.rig, v.walk_beside_growth(), {.preemptions = 1, .freeze = Freeze::kAllButOne});
  Viewed<Mutant::kNone> w(2);
  expect_holds("views, stopped closer", w.rig, w.remover_beside_the_end(), {.preemptions = 1, .freeze = Freeze::kAllButOne});
}

TEST(ViewMutants, NotLookedAtAgain) {
  Viewed<Mutant::kViewNotLookedAtAgain> v(2);
  expect_found("view not looked at again", v.rig, v.reader_beside_pressure());
}
TEST(ViewMutants, ClockStands) {
  Viewed<Mutant::kViewClockStands> v(2);
  expect_found("view clock stands", v.rig, v.reader_beside_pressure());
}
TEST(ViewMutants, RegistryIgnored) {
  Viewed<Mutant::kTrimNeeded> v(3);
  expect_found("registry ignored", v.rig, v.reader_beside_writers());
}
TEST(ViewMutants, GivenUpIsKept) {
  Viewed<Mutant::kGivenUpIsKept> v(2);
  expect_found("given up is kept", v.rig, v.giving_up_beside_a_writer());
}
TEST(ViewMutants, UnhookUnmarked) {
  Viewed<Mutant::kUnhookUnmarked> v(2);
  v.rig.audit_always = true;
  expect_found("unhook unmarked", v.rig, v.writer_beside_the_end());
}
TEST(ViewMutants, WalkWithoutHomeCheck) {
  Viewed<Mutant::kWalkWithoutHomeCheck> v(2);
  expect_found("walk without home check", v.rig, v.walk_beside_growth());
}
TEST(ViewMutants, WholeYounger) {
  Viewed<Mutant::kWholeYounger> v(2);
  v.rig.walks_whole = true;
  expect_found("whole younger", v.rig, v.walk_beside_writers());
}
TEST(ViewMutants, WholeBelowUnjudged) {
  Viewed<Mutant::kWholeBelowUnjudged> v(2);
  v.rig.walks_whole = true;
  expect_found("whole below unjudged", v.rig, v.walk_beside_overwrites());
}
TEST(ViewMutants, ReadsUnfrozen) {
  Viewed<Mutant::kViewReadsUnfrozen> v(2, 0);
  expect_found("view reads unfrozen", v.rig, v.idle_beside_a_get());
}
TEST(ViewMutants, TimeGoesOn) {
  Viewed<Mutant::kViewTimeGoesOn> v(2);
  expect_found("view time goes on", v.rig, v.time_goes_on());
}

}  // namespace
}  // namespace tern::concurrency
