// The scheduler's own tests: bugs that need one, two or three preemptions are found, correct code
// isn't accused, a found failure is reproduced by its string, and the counts of schedules are the
// ones that combinatorics gives.
#include "tests/sync/scheduler.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "tests/sync/sched_sync.h"
#include "tests/sync/schedule_text.h"

namespace tern::concurrency {
namespace {

using Sync = SchedSync<>;
template <class T>
using Atomic = Sync::Atomic<T>;

Options quiet(const char* name, Strategy strategy = Strategy::kDfs) {
  Options options;
  options.name = name;
  options.strategy = strategy;
  options.trace_failure = false;
  return options;
}

// --- the count of schedules
// -----------------------------------------------------------------------------------

struct TwoByTwo {
  Atomic<std::uint64_t> x{0};
  Body body() {
    auto thread = [this] {
      x.fetch_add(1);
      x.fetch_add(1);
    };
    return {[this] { x.store(0); },
            {thread, thread},
            [this]() -> std::string { return x.load() == 4 ? "" : "lost"; }};
  }
};

TEST(Scheduler, ExhaustsEveryInterleavingOfTwoTimesTwoSteps) {
  TwoByTwo test;
  Options options = quiet("two by two");
  options.preemptions = 4;
  options.shared_addresses_only = false;
  const Result r = Explorer(options).explore(test.body());
  EXPECT_TRUE(r.ok) << r.failure;
  EXPECT_TRUE(r.complete);
  // C(4,2) = 6 interleavings: 2 without preemption, 4 with one or, as the last thread's end is
  // free, two. The rising bound meets them as 2, then 4, then all 6 three times.
  EXPECT_EQ(r.schedules, 2u + 4u + 3 * 6u);
}

TEST(Scheduler, BoundZeroRunsThreadsOneAfterTheOther) {
  TwoByTwo test;
  Options options = quiet("bound zero");
  options.preemptions = 0;
  const Result r = Explorer(options).explore(test.body());
  EXPECT_TRUE(r.complete);
  EXPECT_EQ(r.schedules - r.restarts, 2u);
}

TEST(Scheduler, AddressesOfOneThreadAreNoDecisions) {
  struct Local {
    Atomic<std::uint64_t> mine[2][8];
    Atomic<std::uint64_t> shared{0};
  } data;
  auto thread = [&data] {
    auto& mine = data.mine[current_thread()];
    for (auto& word : mine) word.fetch_add(1);
    data.shared.fetch_add(1);
  };
  Options options = quiet("local addresses");
  options.preemptions = 3;
  const Result reduced = Explorer(options).explore({}, {thread, thread}, {});
  options.shared_addresses_only = false;
  const Result full = Explorer(options).explore({}, {thread, thread}, {});
  EXPECT_TRUE(reduced.complete);
  EXPECT_TRUE(full.complete);
  EXPECT_LT(reduced.schedules * 10, full.schedules);
}

// --- bugs of a known depth
// ----------------------------------------------------------------------------------

struct LostUpdate {
  Atomic<std::uint64_t> x{0};
  Body body() {
    auto thread = [this] { x.store(x.load() + 1); };
    return {[this] { x.store(0); },
            {thread, thread},
            [this]() -> std::string { return x.load() == 2 ? "" : "an increment was lost"; }};
  }
};

TEST(Scheduler, LostUpdateNeedsOnePreemption) {
  LostUpdate test;
  Options options = quiet("lost update, bound 0");
  options.preemptions = 0;
  EXPECT_TRUE(Explorer(options).explore(test.body()).ok);
  options = quiet("lost update, bound 1");
  options.preemptions = 1;
  const Result r = Explorer(options).explore(test.body());
  EXPECT_FALSE(r.ok);
  EXPECT_EQ(r.preemptions, 1u);
  EXPECT_EQ(r.failure, "an increment was lost");
}

TEST(Scheduler, EveryStrategyFindsTheLostUpdate) {
  for (Strategy strategy : {Strategy::kDfs, Strategy::kPct, Strategy::kRandom}) {
    LostUpdate test;
    Options options = quiet("lost update, all strategies", strategy);
    options.max_schedules = 1000;
    EXPECT_FALSE(Explorer(options).explore(test.body()).ok) << static_cast<int>(strategy);
  }
}

// Fails only if thread 0 is interrupted at both of its gaps by thread 1: two preemptions of thread
// 0, and one of thread 1 between its stores.
struct NeedsThree {
  Atomic<std::uint64_t> a{0}, b{0};
  bool seen = false;
  Body body() {
    return {[this] {
              a.store(0);
              b.store(0);
              seen = false;
            },
            {[this] {
               const auto a1 = a.load();
               const auto b1 = b.load();
               const auto a2 = a.load();
               seen = a1 == 0 && b1 == 1 && a2 == 2;
             },
             [this] {
               b.store(1);
               b.store(0);
               a.store(2);
             }},
            [this]() -> std::string { return seen ? "both gaps met" : ""; }};
  }
};

TEST(Scheduler, BoundDecidesWhatIsFound) {
  NeedsThree test;
  Options options = quiet("needs more than one");
  options.preemptions = 1;
  const Result one = Explorer(options).explore(test.body());
  EXPECT_TRUE(one.ok);
  EXPECT_TRUE(one.complete);
  options.preemptions = 3;
  const Result three = Explorer(options).explore(test.body());
  EXPECT_FALSE(three.ok);
  EXPECT_GE(three.preemptions, 2u);
}

// --- a Treiber stack
// ------------------------------------------------------------------------------------------

// Nodes are indices into a pool; popped nodes are pushed again, so that the head may come back to
// an earlier value while its successor is another (ABA). With a tag in the head word that is
// noticed.
template <bool kTagged>
class Stack {
 public:
  static constexpr std::uint64_t kNodes = 3;

  void reset() {
    for (auto& n : next_) n.store(0);
    head_.store(0);
    for (auto& n : held_) n = 0;
    for (std::uint64_t i = kNodes; i >= 1; --i) push(i);
  }
  void push(std::uint64_t node) {
    std::uint64_t head = head_.load();
    for (;;) {
      next_[node].store(index(head));
      if (head_.compare_exchange_strong(head, make(head, node))) return;
    }
  }
  std::uint64_t pop() {
    std::uint64_t head = head_.load();
    while (index(head) != 0) {
      const std::uint64_t next = next_[index(head)].load();
      if (head_.compare_exchange_strong(head, make(head, next))) return index(head);
    }
    return 0;
  }
  // Each node is in the stack or in one thread's hands, never both, never twice.
  std::string check() {
    unsigned count[kNodes + 1] = {};
    std::uint64_t node = index(head_.load());
    for (std::uint64_t i = 0; node != 0 && i <= kNodes; ++i) {
      ++count[node];
      node = next_[node].load();
    }
    for (std::uint64_t n : held_) ++count[n];
    for (std::uint64_t i = 1; i <= kNodes; ++i) {
      if (count[i] != 1)
        return "node " + std::to_string(i) + " is owned " + std::to_string(count[i]) + " times";
    }
    return {};
  }
  void hold(std::uint64_t slot, std::uint64_t node) { held_[slot] = node; }

 private:
  static std::uint64_t index(std::uint64_t word) { return word & 0xffff; }
  static std::uint64_t make(std::uint64_t old, std::uint64_t node) {
    return kTagged ? ((old >> 16) + 1) << 16 | node : node;
  }
  Atomic<std::uint64_t> head_{0};
  Atomic<std::uint64_t> next_[kNodes + 1];
  std::uint64_t held_[4] = {};
};

template <bool kTagged>
Body stack_body(Stack<kTagged>& stack) {
  return {[&stack] { stack.reset(); },
          {[&stack] { stack.hold(0, stack.pop()); },
           [&stack] {
             const std::uint64_t first = stack.pop();
             stack.hold(1, stack.pop());
             if (first != 0) stack.push(first);
           }},
          [&stack] { return stack.check(); }};
}

TEST(Scheduler, FindsAbaInTheUntaggedStackByDepthFirstSearch) {
  Stack<false> stack;
  Options options = quiet("stack aba dfs");
  options.preemptions = 3;
  const Result r = Explorer(options).explore(stack_body(stack));
  EXPECT_FALSE(r.ok);
  EXPECT_LE(r.preemptions, 2u);
}

TEST(Scheduler, FindsAbaInTheUntaggedStackByPct) {
  Stack<false> stack;
  Options options = quiet("stack aba pct", Strategy::kPct);
  options.max_schedules = 20'000;
  EXPECT_FALSE(Explorer(options).explore(stack_body(stack)).ok);
}

TEST(Scheduler, AcceptsTheTaggedStack) {
  Stack<true> stack;
  Options options = quiet("stack tagged dfs");
  options.preemptions = 3;
  const Result dfs = Explorer(options).explore(stack_body(stack));
  EXPECT_TRUE(dfs.ok) << dfs.failure;
  EXPECT_TRUE(dfs.complete);
  options = quiet("stack tagged pct", Strategy::kPct);
  options.max_schedules = 20'000;
  EXPECT_TRUE(Explorer(options).explore(stack_body(stack)).ok);
}

// --- reproduction
// ---------------------------------------------------------------------------------------------

TEST(Scheduler, AScheduleReproducesItsFailure) {
  for (Strategy strategy : {Strategy::kDfs, Strategy::kPct, Strategy::kRandom}) {
    Stack<false> stack;
    Options options = quiet("stack replay", strategy);
    options.preemptions = 3;
    options.max_schedules = 50'000;
    const Result found = Explorer(options).explore(stack_body(stack));
    ASSERT_FALSE(found.ok);
    options.replay = found.schedule;
    options.quiet = true;
    const Result again = Explorer(options).explore(stack_body(stack));
    EXPECT_FALSE(again.ok);
    EXPECT_EQ(again.schedules, 1u);
    EXPECT_EQ(again.failure, found.failure);
    EXPECT_EQ(again.schedule, found.schedule);
  }
}

TEST(Scheduler, TheEnvironmentSelectsAScheduleByName) {
  LostUpdate test;
  Options options = quiet("from environment");
  options.quiet = true;
  ASSERT_EQ(setenv("TERN_SCHEDULE", "from environment:0x2,1x3,0", 1), 0);
  const Result named = Explorer(options).explore(test.body());
  options.name = "another";
  const Result other = Explorer(options).explore(test.body());
  ASSERT_EQ(unsetenv("TERN_SCHEDULE"), 0);
  EXPECT_EQ(named.schedules, 1u);
  EXPECT_FALSE(named.ok);
  EXPECT_GT(other.schedules, 1u);
}

TEST(Scheduler, OneSeedGivesTheSameRun) {
  Stack<false> stack;
  Options options = quiet("same seed", Strategy::kPct);
  options.max_schedules = 50'000;
  options.seed = 7;
  const Result a = Explorer(options).explore(stack_body(stack));
  const Result b = Explorer(options).explore(stack_body(stack));
  EXPECT_EQ(a.schedule, b.schedule);
  EXPECT_EQ(a.steps, b.steps);
}

TEST(ScheduleText, RoundTrips) {
  const std::vector<std::uint8_t> codes = {0, 0, 0, 1, value_code(3), 2, 2, freeze_code(1), 0};
  EXPECT_EQ(format_schedule(codes), "0x3,1,v3,2x2,f1,0");
  EXPECT_EQ(parse_schedule(format_schedule(codes)), codes);
  EXPECT_TRUE(parse_schedule("").empty());
  EXPECT_EQ(parse_schedule("1,?,2"), std::vector<std::uint8_t>{1});
}

// --- progress
// -----------------------------------------------------------------------------------------------

struct SpinLock {
  Atomic<std::uint8_t> locked{0};
  Atomic<std::uint64_t> counter{0};
  Body body() {
    auto thread = [this] {
      while (locked.exchange(1) != 0) yield();
      counter.store(counter.load() + 1);
      locked.store(0);
    };
    return {[this] {
              locked.store(0);
              counter.store(0);
            },
            {thread, thread},
            [this]() -> std::string {
              return frozen_threads() != 0 || counter.load() == 2 ? "" : "lost";
            }};
  }
};

TEST(Progress, ASpinLockExcludesButWaitsForAStoppedThread) {
  SpinLock test;
  Options options = quiet("spin lock");
  options.preemptions = 2;
  options.step_limit = 500;
  const Result excludes = Explorer(options).explore(test.body());
  EXPECT_TRUE(excludes.ok) << excludes.failure;
  for (Strategy strategy : {Strategy::kDfs, Strategy::kPct, Strategy::kRandom}) {
    for (Freeze freeze : {Freeze::kAllButOne, Freeze::kOne}) {
      options.name = "spin lock, stopped holder";
      options.strategy = strategy;
      options.freeze = freeze;
      options.solo_steps = 200;
      options.max_schedules = 20'000;
      const Result waits = Explorer(options).explore(test.body());
      EXPECT_FALSE(waits.ok);
      EXPECT_GT(waits.frozen, 0u);
    }
  }
}

TEST(Progress, AFreezeIsReproduced) {
  SpinLock test;
  Options options = quiet("spin lock replay");
  options.freeze = Freeze::kAllButOne;
  options.solo_steps = 50;
  const Result found = Explorer(options).explore(test.body());
  ASSERT_FALSE(found.ok);
  options.replay = found.schedule;
  options.quiet = true;
  const Result again = Explorer(options).explore(test.body());
  EXPECT_EQ(again.failure, found.failure);
}

TEST(Progress, TheStackNeverWaitsForAStoppedThread) {
  Stack<true> stack;
  Body body = stack_body(stack);
  body.check = {};  // what a stopped thread had in its hands is lost by design
  for (Freeze freeze : {Freeze::kAllButOne, Freeze::kOne}) {
    Options options = quiet("stack, stopped threads");
    options.preemptions = 2;
    options.freeze = freeze;
    options.solo_steps = 100;
    options.step_limit = 500;
    const Result r = Explorer(options).explore(body);
    EXPECT_TRUE(r.ok) << r.failure;
    EXPECT_TRUE(r.complete);
    EXPECT_GT(r.frozen, 100u);
  }
}

TEST(Progress, AThreadParksAtItsNamedPoint) {
  struct Data {
    Atomic<std::uint64_t> x{0};
  } data;
  auto thread = [&data] {
    for (int i = 0; i < 3; ++i) {
      Sync::point("before the add");
      data.x.fetch_add(1);
    }
  };
  for (Strategy strategy : {Strategy::kDfs, Strategy::kRandom}) {
    Options options = quiet("park", strategy);
    options.max_schedules = 500;
    options.preemptions = 1;
    options.parks = {{1, "before the add", 2}};
    const Result r = Explorer(options).explore(
        [&data] { data.x.store(0); }, {thread, thread},
        [&data]() -> std::string {
          if (frozen_threads() != 2u) return "thread 1 wasn't parked";
          return data.x.load() == 4 ? "" : "thread 0 did three steps, thread 1 one: that's not it";
        });
    EXPECT_TRUE(r.ok) << r.failure;
    EXPECT_EQ(r.frozen, r.schedules);
  }
}

TEST(Progress, ALivelockIsReported) {
  struct Data {
    Atomic<std::uint64_t> x{0};
  } data;
  Options options = quiet("livelock");
  options.step_limit = 1000;
  const Result r = Explorer(options).explore({}, {[&data] {
                                               while (data.x.load() == 0) yield();
                                             }},
                                             {});
  EXPECT_FALSE(r.ok);
  EXPECT_NE(r.failure.find("livelock"), std::string::npos);
}

// --- edges
// --------------------------------------------------------------------------------------------------

TEST(Scheduler, AFailureInAThreadEndsTheSchedule) {
  Atomic<std::uint64_t> x{0};
  bool went_on = false;
  const Result r = Explorer(quiet("fail inside"))
                       .explore({}, {[&] {
                                  x.store(1);
                                  require(false, "told so");
                                  went_on = true;
                                }},
                                {});
  EXPECT_FALSE(r.ok);
  EXPECT_EQ(r.failure, "told so");
  EXPECT_FALSE(went_on);
}

TEST(Scheduler, NonDeterministicBodiesAreNoticed) {
  Atomic<std::uint64_t> x{0};
  unsigned runs = 0;
  Options options = quiet("not deterministic");
  options.preemptions = 2;
  options.shared_addresses_only = false;
  const Result r = Explorer(options).explore([&] { ++runs; },
                                             {[&] {
                                                for (unsigned i = 0; i < 2 + runs % 3; ++i)
                                                  choose(2 + runs % 2);
                                              },
                                              [&] { x.store(2); }},
                                             {});
  EXPECT_FALSE(r.ok);
  EXPECT_NE(r.failure.find("deterministic"), std::string::npos);
}

TEST(Scheduler, OperationsOutsideOfAnExplorationAreJustDone) {
  Atomic<std::uint64_t> x{5};
  std::uint64_t expected = 4;
  EXPECT_FALSE(x.compare_exchange_strong(expected, 9));
  EXPECT_EQ(expected, 5u);
  EXPECT_EQ(x.fetch_add(2), 5u);
  EXPECT_EQ(x.fetch_sub(1), 7u);
  EXPECT_EQ(x.fetch_or(8), 6u);
  EXPECT_EQ(x.fetch_and(12), 14u);
  EXPECT_EQ(x.fetch_xor(1), 12u);
  EXPECT_EQ(x.exchange(3), 13u);
  int target = 0;
  Atomic<int*> pointer{nullptr};
  int* none = nullptr;
  EXPECT_TRUE(pointer.compare_exchange_strong(none, &target));
  EXPECT_EQ(pointer.load(), &target);
  EXPECT_EQ(current_thread(), -1);
}

TEST(Scheduler, AtomicsOverlayRawZeroFilledMemory) {
  alignas(8) unsigned char raw[16] = {};
  auto* word = reinterpret_cast<Atomic<std::uint64_t>*>(raw);
  auto* byte = reinterpret_cast<Atomic<std::uint8_t>*>(raw + 8);
  EXPECT_EQ(word->load(), 0u);
  byte->store(7);
  EXPECT_EQ(raw[8], 7);
}

TEST(Scheduler, WeakCasFailsForNoReasonWhenAsked) {
  Atomic<std::uint64_t> x{0};
  unsigned failures = 0;
  Options options = quiet("weak cas");
  options.weak_cas_fails = true;
  options.step_limit = 200;
  options.stale_reads = 2;
  const Result r =
      Explorer(options).explore([&] { x.store(0); }, {[&] {
                                  std::uint64_t expected = 0;
                                  while (!x.compare_exchange_weak(expected, 1)) ++failures;
                                }},
                                [&]() -> std::string { return x.load() == 1 ? "" : "not set"; });
  EXPECT_TRUE(r.ok) << r.failure;
  EXPECT_GT(failures, 0u);
}

TEST(SchedulerDeathTest, ACrashPrintsItsSchedule) {
  Atomic<std::uint64_t> x{0};
  const Body body = {[&] { x.store(0); },
                     {[&] {
                        x.store(1);
                        x.store(0);
                      },
                      [&] {
                        if (x.load() == 1) std::abort();
                      }},
                     {}};
  EXPECT_DEATH(Explorer(quiet("crash")).explore(body), "TERN_SCHEDULE='crash:0x2,1x2'");
}

TEST(Scheduler, IsFastEnough) {
  // 1 to 2 M steps a second is what the budget of schedules assumes; the figure printed is far
  // higher, the bound here only notices a switch that fell back to system calls or a quadratic
  // search.
  Stack<true> stack;
  Body body = stack_body(stack);
  Options options = quiet("speed", Strategy::kRandom);
  options.max_schedules = 20'000;
  const Result r = Explorer(options).explore(body);
  EXPECT_TRUE(r.ok);
  EXPECT_GT(static_cast<double>(r.steps) / r.seconds, 5e4);
}

}  // namespace
}  // namespace tern::concurrency
