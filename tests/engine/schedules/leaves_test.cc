// The ordered index in a whole store: whatever inserters, helpers, removers and growth do beside each other, a key of the
// table has its leaf, a scan of a view shows what a walk over its buckets does, and nothing is left behind.
// (The index alone: ordered_index_test.cc. Model: tests/models/leaf_table.pml.)
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "engine/scans.h"
#include "tests/engine/schedules/exploring.h"
#include "tests/engine/schedules/leaf_check.h"

namespace tern::concurrency {
namespace {

using tern::detail::Guard;
using tern::detail::KeyRange;
using tern::detail::ViewOwner;

struct Ordered {
  using R = RigOf<OneEngineSync>;
  using Sync = typename R::Sync;
  using Scans = tern::detail::Scans<Sync>;

  // `more`: entries that may come beside those that are there.
  explicit Ordered(Mutant planted, int threads, std::size_t more = 0)
      : rig(planted, threads, std::size_t{4} << 20, [more](tern::detail::CoreOptions& o) {
          o.ordered = true;
          if (more != 0) o.entries_max = 3 + more;
        }) {
    KeyFinder finder;
    first = finder.in_bucket(16);  // of bucket 0 until there are 17
    second = finder.in_bucket(0);
    third = finder.in_bucket(16);
    absent = finder.in_bucket(16);
    other = finder.in_bucket(16);
    twin = finder.twin_of(first, 16);
    const int own = rig.own_index();
    for (const Key* key : {&first, &second, &third}) rig.set(own, *key, "0");
    rig.more_sizes = {80, 96, 112, 128, 144, 160, 176, 192};  // nodes
    rig.freeze();
  }

  // A view of its own, both ways, against the walk over the buckets.
  void scan(int t) {
    const typename R::View view{rig.core().space.views.open(ViewOwner::kUser), 0};
    if (!view.opened.ok()) return;
    auto walked = rig.view_walk(t, view);
    for (const bool reverse : {false, true}) {
      const auto scanned = in_order(t, view, reverse);
      if (scanned != walked) {
        rig.complain("a scan of " + std::to_string(scanned.size()) + " keys beside a walk of " + std::to_string(walked.size()));
      }
      std::reverse(walked.begin(), walked.end());
    }
    rig.core().space.views.close(view.opened);
    Guard<Sync> guard(rig.core().space, rig.thread(t));
    rig.core().kept_keys()->review(rig.thread(t), rig.shard(), 16);
  }
  std::vector<std::string> in_order(int t, const typename R::View& view, bool reverse) {
    std::vector<std::string> all;
    KeyRange range;
    range.reverse = reverse;
    Scans scans(rig.core(), view);
    for (;;) {
      Guard<Sync> guard(rig.core().space, rig.thread(t));
      const auto outcome = scans.step(range, nullptr, 2, found);
      if (outcome == Scans::Outcome::kEnded) return {"!"};
      for (unsigned i = 0; i != found.count; ++i) {
        all.push_back(std::string(found.key[i]) + "=" + std::string(found.value(i)));
      }
      if (outcome != Scans::Outcome::kMore) return all;
    }
  }

  // Key by key in one guard, by one who writes whenever a key is shown: that has the guard announced anew.
  void scan_and_write(int t) {
    const typename R::View view{rig.core().space.views.open(ViewOwner::kUser), 0};
    if (!view.opened.ok()) return;
    const auto walked = rig.view_walk(t, view);
    std::vector<std::string> scanned;
    {
      Scans scans(rig.core(), view);
      Guard<Sync> guard(rig.core().space, rig.thread(t));
      for (auto outcome = Scans::Outcome::kMore; outcome == Scans::Outcome::kMore;) {
        outcome = scans.step({}, nullptr, 1, found);
        if (outcome == Scans::Outcome::kEnded) scanned.push_back("!");
        const typename tern::detail::Core<Sync>::Visit visit(rig.core(), rig.thread(t), found.record, found.count);
        for (unsigned i = 0; i != found.count; ++i) {
          scanned.push_back(std::string(found.key[i]) + "=" + std::string(found.value(i)));
          rig.set(t, third, "2");
        }
        scans.shown(visit);
        if (visit.was_renewed() && scans.stands()) rig.complain("a scan stands in nodes that nothing holds");
      }
      scans.leave();
    }
    if (scanned != walked) {
      rig.complain("a scan of " + std::to_string(scanned.size()) + " keys by one who writes beside a walk of " + std::to_string(walked.size()));
    }
    rig.core().space.views.close(view.opened);
    Guard<Sync> guard(rig.core().space, rig.thread(t));
    rig.core().kept_keys()->review(rig.thread(t), rig.shard(), 16);
  }

  std::string check() {
    const bool all_ended = frozen_threads() == 0;
    const std::string found_wrong = check_leaves(rig, all_ended);
    if (!found_wrong.empty()) return found_wrong;
    return all_ended ? rig.check() : rig.check_stopped();
  }
  Body body(const Threads& threads) {
    return {[this] { rig.restore(); }, threads, [this] { return check(); }};
  }

  Threads two_inserters_and_a_remover() {
    return {[this] { rig.set(0, absent, "1"); }, [this] { rig.set(1, absent, "2"); }, [this] { rig.del(2, absent); }};
  }
  Threads remover_and_inserter() {
    return {[this] { rig.del(0, first); }, [this] { rig.set(1, first, "1"); }};
  }
  Threads inserter_that_is_helped() {
    return {[this] { rig.del(0, first); }, [this] { rig.set(1, first, "1"); }, [this] { rig.set(2, first, "2"); }};
  }
  Threads scan_beside_an_inserter() {
    return {[this] { rig.set(0, absent, "1"); },
            [this] {
              rig.get(1, absent);  // which puts it before the view
              scan(1);
            }};
  }
  Threads scan_beside_a_remover() {
    return {[this] {
              rig.del(0, first);
              rig.set(0, first, "1");
            },
            [this] { scan(1); }};
  }
  Threads scan_by_one_who_writes() {
    return {[this] {
              rig.set(0, absent, "1");  // another node, and the old one is free as soon as it may be
              rig.del(0, absent);
              rig.set(0, absent, "1");
            },
            [this] { scan_and_write(1); }};
  }
  // Nobody can tell the two but by their keys.
  Threads scan_of_twins() {
    return {[this] { rig.set(0, twin, "1"); },
            [this] {
              scan(1);
              rig.set(1, first, "2");
              scan(1);
            }};
  }
  Threads growth() {
    return {[this] { rig.del(0, first); }, [this] { rig.set(1, absent, "1"); }, [this] { rig.grow(2); }};
  }
  // Growth kills the tentative word, and then there is no room for another.
  Threads killed_for_good() {
    return {[this] { rig.set(0, absent, "1"); },
            [this] {
              rig.grow(1);
              rig.set(1, other, "1");
            }};
  }

  R rig;
  static inline typename Scans::Step found;  // by one thread of a test
  Key first, second, third, absent, other, twin;
};

void expect_leaves_hold(const std::string& name, Ordered& o, const Threads& threads, const Bounds& bounds = {}) {
  expect_body_holds(name, o.body(threads), bounds);
}
void expect_leaves_fail(const std::string& name, Ordered& o, const Threads& threads, const Bounds& bounds = {}) {
  expect_body_fails(name, o.body(threads), bounds);
}

// Thread `who` stops for ever at the point, wherever it comes to it.
Result explore_parked(Ordered& o, const Threads& threads, int who, const char* point, std::uint64_t schedules) {
  Options options;
  options.name = std::string("leaves, stopped at ") + point;
  options.preemptions = 2;
  options.max_schedules = schedules;
  options.parks = {{who, point, 1}};
  options.trace_failure = false;
  Points::are_steps = true;
  const Result r = explore(options, {[&o] { o.rig.restore(); }, threads, [&o] {
                                       const std::string wrong = check_leaves(o.rig, false);
                                       return wrong.empty() ? o.rig.check_stopped() : wrong;
                                     }});
  Points::are_steps = false;
  return r;
}

TEST(Leaves, TwoInsertersAndARemover) {
  Ordered o(Mutant::kNone, 3);
  expect_leaves_hold("leaves, inserters and remover", o, o.two_inserters_and_a_remover(), {.preemptions = 2, .schedules = 15'000});
}
TEST(Leaves, RemoverAndInserter) {
  Ordered o(Mutant::kNone, 2);
  expect_leaves_hold("leaves, remover and inserter", o, o.remover_and_inserter(), {.preemptions = 2, .schedules = 15'000});
}
TEST(Leaves, AnInserterThatIsHelped) {
  Ordered o(Mutant::kNone, 3);
  expect_leaves_hold("leaves, helped", o, o.inserter_that_is_helped(), {.preemptions = 2, .schedules = 15'000});
}
TEST(Leaves, ScanBesideAnInserter) {
  Ordered o(Mutant::kNone, 2);
  expect_leaves_hold("leaves, scan and inserter", o, o.scan_beside_an_inserter(), {.preemptions = 2, .schedules = 15'000});
}
TEST(Leaves, ScanBesideARemover) {
  Ordered o(Mutant::kNone, 2);
  expect_leaves_hold("leaves, scan and remover", o, o.scan_beside_a_remover(), {.preemptions = 2, .schedules = 15'000});
}
TEST(Leaves, ScanOfKeysOfOneTag) {
  Ordered o(Mutant::kNone, 2);
  expect_leaves_hold("leaves, scan of twins", o, o.scan_of_twins(), {.preemptions = 2, .schedules = 15'000});
}
TEST(Leaves, ScanByOneWhoWrites) {
  Ordered o(Mutant::kNone, 2);
  expect_leaves_hold("leaves, scan by one who writes", o, o.scan_by_one_who_writes(), {.preemptions = 2, .schedules = 15'000});
}
TEST(Leaves, HintsOfOtherKeysDoNoHarm) {
  Ordered o(Mutant::kIndexHintWrong, 2);
  expect_leaves_hold("leaves, wrong hints", o, o.scan_beside_a_remover(), {.preemptions = 2, .schedules = 10'000});
  Ordered p(Mutant::kIndexHintWrong, 2);
  expect_leaves_hold("leaves, wrong hints of an inserter", p, p.scan_beside_an_inserter(), {.preemptions = 2, .schedules = 10'000});
}
TEST(Leaves, Growth) {
  Ordered o(Mutant::kNone, 3);
  expect_leaves_hold("leaves, growth", o, o.growth(), {.preemptions = 2, .schedules = 15'000});
}
TEST(Leaves, AnInsertThatIsKilledForGood) {
  Ordered o(Mutant::kNone, 2, 1);
  expect_leaves_hold("leaves, killed for good", o, o.killed_for_good(), {.preemptions = 2, .schedules = 15'000});
}
TEST(Leaves, NobodyWaitsForAStoppedThread) {
  Ordered o(Mutant::kNone, 3);
  const Bounds stopped{.preemptions = 1, .schedules = 20'000, .random = 1'000, .freeze = Freeze::kAllButOne};
  expect_leaves_hold("leaves, stopped inserter", o, o.two_inserters_and_a_remover(), stopped);
  Ordered p(Mutant::kNone, 2);
  expect_leaves_hold("leaves, stopped remover", p, p.remover_and_inserter(), stopped);
  Ordered q(Mutant::kNone, 2);
  expect_leaves_hold("leaves, stopped scan", q, q.scan_beside_a_remover(), stopped);
}

TEST(Leaves, NobodyWaitsForAThreadStoppedAtAPoint) {
  const auto expect_held = [](const Result& r) {
    EXPECT_TRUE(r.ok) << r.failure << "\nTERN_SCHEDULE='" << r.schedule << "'";
    EXPECT_GT(r.frozen, 0u);
  };
  Ordered o(Mutant::kNone, 3);
  expect_held(explore_parked(o, o.inserter_that_is_helped(), 1, "leaf.confirm", 10'000));
  expect_held(explore_parked(o, o.inserter_that_is_helped(), 0, "leaf.left", 10'000));
  Ordered p(Mutant::kNone, 2);
  expect_held(explore_parked(p, p.scan_beside_a_remover(), 1, "scan.looked", 10'000));
  Ordered q(Mutant::kNone, 2, 1);
  expect_held(explore_parked(q, q.killed_for_good(), 0, "leaf.withdraw", 10'000));
}

TEST(LeafMutants, AfterLive) {
  Ordered o(Mutant::kLeafAfterLive, 2);
  expect_leaves_fail("leaf after live", o, o.scan_beside_an_inserter());
}
TEST(LeafMutants, HelperSkips) {
  Ordered o(Mutant::kLeafHelperSkips, 3);
  const Result r = explore_parked(o, o.inserter_that_is_helped(), 1, "leaf.confirm", 150'000);
  EXPECT_FALSE(r.ok) << "a planted bug was not found in " << r.schedules << " schedules";
}
TEST(LeafMutants, Unconfirmed) {
  Ordered o(Mutant::kLeafUnconfirmed, 2);
  expect_leaves_fail("leaf unconfirmed", o, o.remover_and_inserter());
}
TEST(LeafMutants, BeforeEmpty) {
  Ordered o(Mutant::kLeafBeforeEmpty, 2);
  expect_leaves_fail("leaf before empty", o, o.remover_and_inserter());
}
TEST(LeafMutants, ScanTrustsHint) {
  Ordered o(Mutant::kScanTrustsHint, 2);
  expect_leaves_fail("scan trusts a hint", o, o.scan_of_twins());
}
TEST(LeafMutants, ScanMissByHint) {
  Ordered o(Mutant::kScanMissByHint, 2);
  expect_leaves_fail("scan misses by a hint", o, o.scan_beside_a_remover());
}
TEST(LeafMutants, ScanStaysWhereItStood) {
  Ordered o(Mutant::kScanStaysWhereItStood, 2);
  expect_leaves_fail("scan stays where it stood", o, o.scan_by_one_who_writes());
}
TEST(LeafMutants, LeftOfKilled) {
  Ordered o(Mutant::kLeafLeftOfKilled, 2, 1);
  expect_leaves_fail("leaf of killed", o, o.killed_for_good());
}

}  // namespace
}  // namespace tern::concurrency
