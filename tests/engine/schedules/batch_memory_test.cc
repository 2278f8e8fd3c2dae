// Batches for which there is no memory half-way: their owner gives them up, while others who have some go on with them; and
// removals that meet a batch which they have none for.
#include <gtest/gtest.h>

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "tests/engine/schedules/batch_scenes.h"

namespace tern::concurrency {
namespace {

// Key 1 isn't there: a batch with it needs a placeholder. The heap has nothing left, and of the threads' blocks those of a
// placeholder's size, and of those that would do instead, are taken away from one of them.
template <Mutant M>
struct Scarce {
  enum class For : std::uint8_t { kTheOwner, kTheOther };
  explicit Scarce(For whom) : b(2) {
    b.rig.at_freeze = [this, whom] { take_away(whom == For::kTheOwner ? 0 : 1); };
    b.begin_without(1);
  }

  Body body(const Threads& threads) {
    return {[this] {
              b.restore();
              points.clear();
              Points::seen = &points;
            },
            threads,
            [this] {
              Points::seen = nullptr;
              recalled += points.contains("batch.recall");
              given_up += points.contains("batch.abort");
              // What is still to be tidied up takes memory.
              auto& own = b.rig.own();
              for (const std::uint64_t block : spare) b.rig.core().space.heap.free(own.cache, block);
              {
                tern::detail::Guard<Sync> guard(b.rig.core().space, own);
                while (b.rig.core().kept_keys()->sweep(own, 64) != 0) {
                }
              }
              return b.check();
            }};
  }
  // The other thread replaces what the batch found beforehand (short_batch.h), meets it and goes on with it.
  Threads beside_a_helper() {
    return {[this] { b.batch(0, {{kSet, 0, 'a'}, {kSet, 1, 'a'}, {kSet, 2, 'a'}}); },
            [this] {
              b.set(1, 2, 'b');
              b.set(1, 0, 'c');
              b.set(1, 1, 'd');
            }};
  }
  Threads beside_a_remover() {
    return {[this] { b.batch(0, {{kSet, 0, 'a'}, {kSet, 1, 'a'}}); },
            [this] {
              if (!b.del(1, 0)) b.rig.complain("a removal was refused");
              b.get(1, 1);
            }};
  }

  BatchRig<M> b;
  std::set<std::string> points;  // of the batch's owner in this schedule
  std::uint64_t recalled = 0, given_up = 0;

 private:
  using Sync = typename BatchRig<M>::Sync;
  static constexpr std::size_t kPlaceholder = 24 + 8, kRecord = 24 + 9;

  // The reserve stays: a placeholder mustn't take from it, a removal may.
  void take_away(int t) {
    auto& heap = b.rig.core().space.heap;
    auto& own = b.rig.own().cache;
    auto& theirs = b.rig.thread(t).cache;
    spare.clear();
    for (const std::size_t bytes : {kPlaceholder, kRecord}) {
      unsigned left = bytes == kRecord && t == 0 ? 3 : 0;  // for the batch's records
      while (const std::uint64_t block = heap.allocate_at_hand(theirs, bytes)) taken_.push_back(block);
      for (; left != 0; --left) {
        heap.free(theirs, taken_.back());
        taken_.pop_back();
      }
    }
    for (const std::size_t bytes : {kPlaceholder, kRecord}) {
      while (const std::uint64_t block = heap.allocate(own, bytes)) {
        if (spare.size() < 16) spare.push_back(block);
      }
    }
  }
  std::vector<std::uint64_t> spare, taken_;
};
using Plain = Scarce<Mutant::kNone>;

// The steps of a batch that is given up are many, and those that matter have names.
template <class S>
Result at_points(S& s, const std::string& name, const Threads& threads, std::uint64_t most) {
  Points::are_steps = true;
  Options o;
  o.name = "batches without memory, " + name;
  o.preemptions = is_long() ? 4 : 3;
  o.max_schedules = is_long() ? 4'000'000 : most;
  o.points_only = true;
  o.trace_failure = false;
  const Result r = explore(o, s.body(threads));
  Points::are_steps = false;
  return r;
}

TEST(BatchMemory, WhatHelpersInstallIsRecalled) {
  Plain s(Plain::For::kTheOwner);
  const Result r = at_points(s, "beside a helper", s.beside_a_helper(), 25'000);
  EXPECT_TRUE(r.ok) << r.failure << "\nTERN_SCHEDULE='" << r.schedule << "'";
  std::printf("[tern] batches without memory: given up in %llu schedules, recalled by a swap in %llu\n",
              static_cast<unsigned long long>(s.given_up), static_cast<unsigned long long>(s.recalled));
  EXPECT_GT(s.given_up, 1'000u);
  EXPECT_GT(s.recalled, 100u);
}
TEST(BatchMemory, AnyStepOfTheirs) {
  Plain s(Plain::For::kTheOwner);
  expect_body_holds("batches without memory", s.body(s.beside_a_helper()), {.preemptions = 2, .schedules = 10'000, .random = 3'000});
}
TEST(BatchMemory, ARemovalIsNotRefused) {
  Plain s(Plain::For::kTheOther);
  expect_body_holds("batches and removals without memory", s.body(s.beside_a_remover()), {.preemptions = 2, .schedules = 10'000, .random = 3'000});
}

#define TERN_FOUND(test, mutant)                                                        \
  TEST(BatchMemoryMutants, test) {                                                      \
    Scarce<mutant> s(Scarce<mutant>::For::kTheOwner);                                   \
    const Result r = at_points(s, "planted " #test, s.beside_a_helper(), 150'000);      \
    EXPECT_FALSE(r.ok) << "a planted bug was not found in " << r.schedules << " schedules"; \
  }
TERN_FOUND(RecallSkipped, Mutant::kBatchRecallSkipped)
TERN_FOUND(RecallOpen, Mutant::kBatchRecallOpen)
TERN_FOUND(RecallOverwrites, Mutant::kBatchRecallOverwrites)
TEST(BatchMemoryMutants, RefusesRemoval) {
  using Planted = Scarce<Mutant::kBatchRefusesRemoval>;
  Planted s(Planted::For::kTheOther);
  expect_body_fails("batches without memory, planted RefusesRemoval", s.body(s.beside_a_remover()));
}

}  // namespace
}  // namespace tern::concurrency
