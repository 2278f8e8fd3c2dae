// R5: a thread that is stopped for ever, at any named step of any operation and at any atomic step
// of it, costs the others nothing: everything they do on the same keys ends and succeeds. (The
// whole library with real threads: tests/engine/api/progress_test.cc.)
#include <gtest/gtest.h>

#include <cstdio>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "tests/engine/schedules/exploring.h"

namespace tern::concurrency {
namespace {

class Stopping {
 public:
  struct Action {
    const char* name;
    std::function<void()> act;  // by thread 0
  };

  Stopping() : rig_(2) {
    KeyFinder finder;
    there_ = finder.in_bucket(16);  // bucket 0 until there are 17
    absent_ = finder.in_bucket(16);
    mortal_ = finder.in_bucket(0);
    const int own = rig_.own_index();
    rig_.set(own, there_, "0");
    rig_.set(own, mortal_, "0", {.has_deadline = true, .deadline_ms = 1000});
    // Two more would go to the overflow bucket.
    for (int i = 0; i != 4; ++i) rig_.set(own, finder.in_bucket(0), "x");
    rig_.core().space.epoch.set_limits(1 << 18, 64);
    rig_.freeze();
    actions_ = {
        {"get", [this] { rig_.get(0, there_); }},
        {"copy", [this] { rig_.copy(0, there_); }},
        {"get of a missing key", [this] { rig_.copy(0, absent_); }},
        {"insert", [this] { rig_.set(0, absent_, "1"); }},
        {"overwrite", [this] { rig_.set(0, there_, "1"); }},
        {"conditional set", [this] { rig_.set_nx(0, absent_, "1"); }},
        {"del", [this] { rig_.del(0, there_); }},
        {"compare_and_swap", [this] { rig_.cas(0, there_, "0", "1"); }},
        {"compare_and_swap of a mortal key", [this] { rig_.cas(0, mortal_, "0", "1"); }},
        {"expire", [this] { rig_.expire(0, mortal_, 2000); }},
        {"expire of a key without a deadline", [this] { rig_.expire(0, there_, 2000); }},
        {"hold", [this] { hold(); }},
        {"get_many at one moment",
         [this] {
           rig_.moment(0, {&there_, &mortal_});
         }},
        {"get_many at one moment, one missing",
         [this] {
           rig_.moment(0, {&there_, &absent_});
         }},
        {"view",
         [this] {
           rig_.look(0, {&there_, &mortal_});
         }},
        {"split", [this] { rig_.grow(0); }},
        {"move", [this] { move(there_); }},
        {"move of a mortal key", [this] { move(mortal_); }},
        {"reclaim",
         [this] {
           rig_.set(0, there_, "1");
           rig_.reclaim(0);
         }},
    };
  }

  const std::vector<Action>& actions() const { return actions_; }

  // The points on an action's way, as it comes by them alone and beside others.
  std::set<std::string> points_of(const Action& action) {
    std::set<std::string> seen;
    Options o;
    o.name = std::string("points of ") + action.name;
    o.strategy = Strategy::kRandom;
    o.max_schedules = 200;
    o.quiet = true;
    Points::seen = &seen;
    const Result r =
        explore(o, {[this] { rig_.restore(); }, {action.act}, [this] { return rig_.check(); }});
    const Result beside = explore(o, {[this] { rig_.restore(); },
                                      {action.act, [this] { everything(2); }},
                                      [this] { return rig_.check(); }});
    Points::seen = nullptr;
    EXPECT_TRUE(r.ok) << r.failure;
    EXPECT_TRUE(beside.ok) << beside.failure;
    return seen;
  }

  // Thread 0 stops at the point, the other goes on: before, while and after that, by bound 0 and at
  // random. Answers in how many schedules somebody was stopped.
  std::uint64_t stop_at(const Action& action, const std::string& point, unsigned occurrence) {
    std::uint64_t stopped = 0;
    Points::are_steps = true;
    for (Strategy strategy : {Strategy::kDfs, Strategy::kRandom}) {
      Options o;
      o.name = std::string(action.name) + " stopped at " + point;
      o.strategy = strategy;
      o.preemptions = 0;
      o.max_schedules = strategy == Strategy::kDfs ? 10 : (is_long() ? 500 : 10);
      o.parks = {{0, point, occurrence}};
      o.quiet = true;
      const Result r = Explorer(o).explore({[this] { rig_.restore(); },
                                            {action.act, [this] { everything(12); }},
                                            [this] { return rig_.check_stopped(); }});
      EXPECT_TRUE(r.ok) << o.name << ": " << r.failure << "\nTERN_SCHEDULE='" << r.schedule << "'";
      stopped += r.frozen;
    }
    Points::are_steps = false;
    return stopped;
  }

  // At each atomic step.
  Result stop_anywhere(const Action& action) {
    Options o;
    o.name = std::string(action.name) + " stopped anywhere";
    o.preemptions = 1;
    o.max_schedules = is_long() ? 1'000'000 : 20'000;
    o.freeze = Freeze::kOne;
    o.quiet = true;
    return explore(
        o, {[this] { rig_.restore(); },
            {action.act, [this] { everything(1); }},
            [this] { return frozen_threads() == 0 ? rig_.check() : rig_.check_stopped(); }});
  }

 private:
  using Sync = Rig<>::Sync;

  void move(const Key& key) {
    tern::detail::Guard<Sync> guard(rig_.core().space, rig_.thread(0));
    const auto found = rig_.core().table.find(key.hash, key.view());
    if (found) (void)rig_.core().mover().move(rig_.thread(0), found);
  }
  void hold() {
    std::uint64_t offset = 0;
    {
      tern::detail::Guard<Sync> guard(rig_.core().space, rig_.thread(0));
      const auto found = rig_.core().table.find(there_.hash, there_.view());
      if (!found || !rig_.core().space.try_hold(*found.record)) return;
      offset = found.word.offset();
    }
    step(nullptr);
    rig_.core().space.drop_hold(rig_.thread(0), offset);
  }

  // What the others do: every operation, on the same keys, growth of their bucket included. None
  // may be refused.
  void everything(int rounds) {
    for (int i = 0; i != rounds; ++i) {
      if (rig_.set(1, there_, "a") == 0) rig_.complain("a set was refused");
      rig_.get(1, there_);
      rig_.set_nx(1, absent_, "b");
      rig_.cas(1, there_, "a", "c");
      rig_.expire(1, mortal_, 3000);
      if (i == 1) rig_.grow(1);
      rig_.moment(1, {&there_, &absent_});
      rig_.del(1, absent_);
      rig_.copy(1, absent_);
      if (rig_.set(1, mortal_, "d", {.has_deadline = true, .deadline_ms = 1000}) == 0) {
        rig_.complain("a set with a lifetime was refused");
      }
      rig_.del(1, there_);
      if (rig_.set(1, there_, "e") == 0) rig_.complain("an insert was refused");
      rig_.reclaim(1);
    }
  }

  Rig<> rig_;
  Key there_, absent_, mortal_;
  std::vector<Action> actions_;
};

TEST(Progress, AThreadStoppedAtANamedStepDelaysNobody) {
  Stopping s;
  std::set<std::string> all;
  std::uint64_t stopped = 0;
  unsigned pairs = 0;
  for (const auto& action : s.actions()) {
    const std::set<std::string> points = s.points_of(action);
    EXPECT_FALSE(points.empty()) << action.name;
    for (const std::string& point : points) {
      for (unsigned occurrence : {1u, 2u}) stopped += s.stop_at(action, point, occurrence);
      ++pairs;
    }
    all.insert(points.begin(), points.end());
  }
  std::printf(
      "[tern] progress: %zu operations, %zu points, %u pairs, stopped in %llu schedules; points:",
      s.actions().size(), all.size(), pairs, static_cast<unsigned long long>(stopped));
  for (const std::string& point : all) std::printf(" %s", point.c_str());
  std::printf("\n");
  EXPECT_GT(stopped, pairs);
}

TEST(Progress, AThreadStoppedAnywhereDelaysNobody) {
  Stopping s;
  for (const auto& action : s.actions()) {
    const Result r = s.stop_anywhere(action);
    EXPECT_TRUE(r.ok) << action.name << ": " << r.failure << "\nTERN_SCHEDULE='" << r.schedule
                      << "'";
    EXPECT_GT(r.frozen, 0u) << action.name;
  }
}

}  // namespace
}  // namespace tern::concurrency
