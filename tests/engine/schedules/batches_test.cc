// Batches against each other and against every other operation: one order of all calls explains all answers, nothing is
// left behind, a thread stopped half-way delays nobody.
#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "tests/engine/schedules/batch_scenes.h"

namespace tern::concurrency {
namespace {

using Plain = Scene<Mutant::kNone>;
constexpr Bounds kTwo{.preemptions = 3, .schedules = 20'000, .random = 5'000};
constexpr Bounds kThree{.preemptions = 2, .schedules = 20'000, .random = 10'000};

#define TERN_HOLDS(suite, test, scene, threads, bounds)                       \
  TEST(suite, test) {                                                        \
    Plain s(threads);                                                        \
    expect_holds("batches, " #scene, s.b, s.scene(), bounds); \
  }

TERN_HOLDS(Batches, TwoOnTheSameKeys, two_batches, 2, kTwo)
TERN_HOLDS(Batches, TwoThatAsk, two_batches_that_ask, 2, kTwo)
TERN_HOLDS(Batches, TwoAndAWriter, two_batches_and_a_writer, 3, kThree)
TERN_HOLDS(Batches, TwoAndAView, two_batches_and_a_view, 3, kThree)
TERN_HOLDS(Batches, ThreeInARing, three_in_a_ring, 3, kThree)
TERN_HOLDS(Batches, BesideGets, beside_gets, 2, kTwo)
TERN_HOLDS(Batches, BesideAWriterAndGets, beside_a_writer_and_gets, 3, kThree)
TERN_HOLDS(Batches, BesideAView, beside_a_view, 2, kTwo)
TERN_HOLDS(Batches, BesideAMoment, beside_a_moment, 2, kTwo)
TERN_HOLDS(Batches, ATokenBetweenAbsentKeys, a_token_between_absent_keys, 2, kTwo)
TERN_HOLDS(Batches, TwoInsertsOfOneKey, two_inserts, 2, kTwo)
TERN_HOLDS(Batches, ALatePlaceholder, late_placeholder, 2, kTwo)
TERN_HOLDS(Batches, AnInsertBesideAnInsert, insert_beside_an_insert, 2, kTwo)
TERN_HOLDS(Batches, AnInsertBesideARemover, insert_beside_a_remover, 2, kTwo)
TERN_HOLDS(Batches, TwoRemovers, two_removers, 2, kTwo)
TERN_HOLDS(Batches, BesideIncrements, beside_increments, 2, kTwo)
TERN_HOLDS(Batches, BesideGrowth, beside_growth, 2, kTwo)
TERN_HOLDS(BatchConditions, TheSame, same_condition, 2, kTwo)
TERN_HOLDS(BatchConditions, BesideAWriter, condition_beside_a_writer, 2, kTwo)
TERN_HOLDS(BatchConditions, OnlyAsking, only_asking, 2, kTwo)
TERN_HOLDS(BatchConditions, OnAnAbsentKey, condition_on_an_absent_key, 2, kTwo)
TERN_HOLDS(BatchConditions, FailingBesideAView, failing_beside_a_view, 3, kThree)
TERN_HOLDS(BatchLifetimes, KeptBesideATouch, keep_ttl_beside_a_touch, 2, kTwo)
TERN_HOLDS(BatchLifetimes, KeptBesideATouchAndAnIncrement, touch_increment_and_batch, 3, kThree)
TERN_HOLDS(BatchMetadata, KeptBesideOthers, keep_metadata_beside_others, 2, kTwo)
TERN_HOLDS(BatchMetadata, KeptBesideOthersAndAHelper, keep_metadata_beside_others_and_a_helper, 3, kThree)

TEST(Batches, TwoOverOlderVersions) {
  Plain s(3, Chains::kKeptByAView);
  expect_holds("batches, two and a writer over older versions", s.b, s.two_batches_and_a_writer(), kThree);
}

TEST(Batches, NobodyWaitsForAStoppedOne) {
  Plain s(3);
  expect_holds("batches, stopped", s.b, s.two_batches_and_a_writer(),
               {.preemptions = 1, .schedules = 20'000, .random = 2'000, .freeze = Freeze::kAllButOne});
}

// A batch that stops for ever at each of its named steps: everybody else goes on, and succeeds.
TEST(Batches, OneStoppedAtANamedStepDelaysNobody) {
  Plain s(2);
  auto& b = s.b;
  const auto stopping = [&] { b.batch(0, {{kSet, 0, 'a'}, {kIs, 1, '0'}, {kDel, 1}, {kSet, 3, 'a'}, {kSet, 2, 'a', true}}); };
  const auto failing = [&] { b.batch(0, {{kSet, 0, 'a'}, {kIs, 1, '0'}, {kSet, 3, 'a'}}); };
  const auto everything = [&] {
    for (int i = 0; i != 2; ++i) {
      b.get(1, 0);
      b.read(1, {0, 1, 2, 3});
      b.view(1, {0, 3});
      if (!b.set(1, 0, 'b')) b.rig.complain("a set was refused");
      b.del(1, 3);
      b.expire(1, 2, 2000);
      if (i == 0) b.rig.grow(1);
      if (!b.batch(1, {{kSet, 0, 'c'}, {kSet, 1, 'c'}, {kSet, 3, 'c'}, {kSet, 2, 'c'}})) b.rig.complain("a batch failed");
      b.set(1, 1, '0');
      b.rig.reclaim(1);
    }
  };
  const std::vector<std::pair<std::string, std::function<void()>>> actions = {{"batch", stopping}, {"failing batch", failing}};
  std::uint64_t stopped = 0;
  std::set<std::string> points;
  for (const auto& [name, act] : actions) {
    std::set<std::string> seen;
    Options look;
    look.name = "points of " + name;
    look.strategy = Strategy::kRandom;
    look.max_schedules = 300;
    look.quiet = true;
    Points::seen = &seen;
    const Result found = explore(look, {[&] { b.restore(); }, {act, everything}, [&] { return b.check(); }});
    Points::seen = nullptr;
    EXPECT_TRUE(found.ok) << found.failure;
    Points::are_steps = true;
    for (const std::string& point : seen) {
      for (unsigned occurrence : {1u, 2u}) {
        for (Strategy strategy : {Strategy::kDfs, Strategy::kRandom}) {
          Options o;
          o.name = name + " stopped at " + point;
          o.strategy = strategy;
          o.preemptions = 0;
          o.max_schedules = strategy == Strategy::kDfs ? 10 : (is_long() ? 500 : 20);
          o.parks = {{0, point, occurrence}};
          o.quiet = true;
          const Result r = Explorer(o).explore({[&] { b.restore(); }, {act, everything}, [&] { return b.check_stopped(); }});
          EXPECT_TRUE(r.ok) << o.name << ": " << r.failure << "\nTERN_SCHEDULE='" << r.schedule << "'";
          stopped += r.frozen;
        }
      }
    }
    Points::are_steps = false;
    points.insert(seen.begin(), seen.end());
  }
  std::printf("[tern] batches: %zu points, stopped in %llu schedules\n", points.size(), static_cast<unsigned long long>(stopped));
  EXPECT_GT(stopped, points.size());
  EXPECT_TRUE(points.contains("batch.install") && points.contains("batch.settle") && points.contains("batch.heal"));
}

}  // namespace
}  // namespace tern::concurrency
