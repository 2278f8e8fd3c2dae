// The checker against histories whose verdict is known, then against every order of small random
// histories, then behind real threads over a correct and over a wrong register.
#include "tests/sync/linearizability.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/sync/history.h"
#include "tests/sync/register_spec.h"

namespace tern::concurrency {
namespace {

using Kind = RegisterOp::Kind;
using Calls = History<RegisterOp>;

Verdict judge(Calls history) {
  std::sort(history.begin(), history.end(), [](auto& a, auto& b) { return a.begin < b.begin; });
  return LinearizabilityChecker<RegisterSpec>().check(history);
}
Call<RegisterOp> at(std::uint64_t begin, std::uint64_t end, unsigned thread, RegisterOp op) {
  return {std::move(op), begin, end, thread};
}
constexpr std::uint64_t kNever = Call<RegisterOp>::kPending;

RegisterOp get(std::string value, std::uint64_t version = 0) {
  return {.kind = Kind::kGet, .value = std::move(value), .version = version};
}
RegisterOp miss() { return {.kind = Kind::kGet, .ok = false}; }
RegisterOp set(std::string value, std::uint64_t version = 0) {
  return {.kind = Kind::kSet, .argument = std::move(value), .version = version};
}
RegisterOp del(bool ok) { return {.kind = Kind::kDel, .ok = ok}; }
RegisterOp increment(std::int64_t result) { return {.kind = Kind::kIncrement, .number = result}; }

// --- known verdicts
// -------------------------------------------------------------------------------------------

TEST(Linearizability, EmptyAndSequentialHistoriesAreLegal) {
  EXPECT_EQ(judge({}), Verdict::kLinearizable);
  EXPECT_EQ(judge({at(1, 2, 0, miss()), at(3, 4, 0, set("a", 1)), at(5, 6, 1, get("a", 1)),
                   at(7, 8, 0, del(true)), at(9, 10, 1, miss()), at(11, 12, 1, del(false))}),
            Verdict::kLinearizable);
}

TEST(Linearizability, AnOverlappingReadMaySeeOldOrNew) {
  for (const char* seen : {"a", "b"}) {
    EXPECT_EQ(judge({at(1, 2, 0, set("a")), at(3, 8, 0, set("b")), at(4, 6, 1, get(seen))}),
              Verdict::kLinearizable);
  }
}

TEST(Linearizability, AStaleReadIsIllegal) {
  EXPECT_EQ(judge({at(1, 2, 0, set("a")), at(3, 4, 0, set("b")), at(5, 6, 1, get("a"))}),
            Verdict::kIllegal);
}

TEST(Linearizability, NewThenOldIsIllegalEvenInsideTheWrite) {
  EXPECT_EQ(judge({at(1, 2, 0, set("a")), at(3, 10, 0, set("b")), at(4, 5, 1, get("b")),
                   at(6, 7, 2, get("a"))}),
            Verdict::kIllegal);
}

TEST(Linearizability, ALostUpdateIsIllegal) {
  EXPECT_EQ(judge({at(1, 4, 0, increment(1)), at(2, 3, 1, increment(2))}), Verdict::kLinearizable);
  EXPECT_EQ(judge({at(1, 4, 0, increment(1)), at(2, 3, 1, increment(1))}), Verdict::kIllegal);
}

TEST(Linearizability, AResurrectedValueIsIllegal) {
  EXPECT_EQ(judge({at(1, 2, 0, set("a")), at(3, 4, 0, del(true)), at(5, 6, 1, get("a"))}),
            Verdict::kIllegal);
}

TEST(Linearizability, AMissOfAPresentKeyIsIllegalUnlessItWasEvicted) {
  EXPECT_EQ(judge({at(1, 2, 0, set("a")), at(3, 4, 1, miss())}), Verdict::kIllegal);
  EXPECT_EQ(
      judge({at(1, 2, 0, set("a")), at(3, 6, 0, {.kind = Kind::kEvict}), at(4, 5, 1, miss())}),
      Verdict::kLinearizable);
}

TEST(Linearizability, VersionsOnlyRise) {
  EXPECT_EQ(judge({at(1, 2, 0, set("a", 5)), at(3, 4, 0, set("b", 6))}), Verdict::kLinearizable);
  EXPECT_EQ(judge({at(1, 2, 0, set("a", 5)), at(3, 4, 0, set("b", 5))}), Verdict::kIllegal);
  EXPECT_EQ(judge({at(1, 2, 0, set("a", 5)), at(3, 4, 0, del(true)), at(5, 6, 0, set("b", 5))}),
            Verdict::kIllegal);
  EXPECT_EQ(judge({at(1, 2, 0, set("a", 5)), at(3, 4, 1, get("a", 6))}), Verdict::kIllegal);
  // An unreported version lies above the earlier ones, and is fixed by the first read that tells
  // it.
  EXPECT_EQ(judge({at(1, 2, 0, set("a", 5)), at(3, 4, 0, set("b")), at(5, 6, 1, get("b", 9)),
                   at(7, 8, 1, get("b", 9))}),
            Verdict::kLinearizable);
  EXPECT_EQ(judge({at(1, 2, 0, set("a", 5)), at(3, 4, 0, set("b")), at(5, 6, 1, get("b", 5))}),
            Verdict::kIllegal);
  EXPECT_EQ(judge({at(1, 2, 0, set("a")), at(3, 4, 0, get("a", 9)), at(5, 6, 1, get("a", 8))}),
            Verdict::kIllegal);
}

TEST(Linearizability, ConditionalOperationsAnswerByTheState) {
  auto swap = [](std::string expected, std::string desired, bool ok) {
    return RegisterOp{.kind = Kind::kCompareAndSwap,
                      .argument = std::move(desired),
                      .expected = std::move(expected),
                      .ok = ok};
  };
  auto swap_version = [](std::uint64_t expected, bool ok) {
    return RegisterOp{.kind = Kind::kCompareAndSwapVersion,
                      .argument = "v",
                      .expected_version = expected,
                      .ok = ok};
  };
  EXPECT_EQ(judge({at(1, 2, 0, set("a", 1)), at(3, 6, 0, swap("a", "b", true)),
                   at(4, 5, 1, swap("a", "c", false))}),
            Verdict::kLinearizable);
  EXPECT_EQ(judge({at(1, 2, 0, set("a", 1)), at(3, 6, 0, swap("a", "b", true)),
                   at(4, 5, 1, swap("a", "c", true))}),
            Verdict::kIllegal);
  EXPECT_EQ(judge({at(1, 2, 0, set("a", 1)), at(3, 4, 0, swap("a", "b", false))}),
            Verdict::kIllegal);
  EXPECT_EQ(
      judge({at(1, 2, 0, set("a", 7)), at(3, 4, 0, swap_version(7, true)), at(5, 6, 0, get("v"))}),
      Verdict::kLinearizable);
  EXPECT_EQ(judge({at(1, 2, 0, set("a", 7)), at(3, 4, 0, swap_version(7, false))}),
            Verdict::kIllegal);
  EXPECT_EQ(judge({at(1, 2, 0, set("a", 7)), at(3, 4, 0, swap_version(6, true))}),
            Verdict::kIllegal);
  auto set_nx = [](std::string value, bool ok) {
    return RegisterOp{.kind = Kind::kSetNx, .argument = std::move(value), .ok = ok};
  };
  EXPECT_EQ(judge({at(1, 4, 0, set_nx("a", true)), at(2, 3, 1, set_nx("b", false)),
                   at(5, 6, 1, get("a"))}),
            Verdict::kLinearizable);
  EXPECT_EQ(judge({at(1, 4, 0, set_nx("a", true)), at(2, 3, 1, set_nx("b", true))}),
            Verdict::kIllegal);
  EXPECT_EQ(judge({at(1, 2, 0, set_nx("a", false))}), Verdict::kIllegal);
}

TEST(Linearizability, AppendsAndNumbers) {
  auto append = [](std::string bytes, std::int64_t size) {
    return RegisterOp{.kind = Kind::kAppend, .argument = std::move(bytes), .number = size};
  };
  EXPECT_EQ(
      judge({at(1, 5, 0, append("ab", 2)), at(2, 6, 1, append("c", 3)), at(7, 8, 0, get("abc"))}),
      Verdict::kLinearizable);
  EXPECT_EQ(
      judge({at(1, 5, 0, append("ab", 2)), at(2, 6, 1, append("c", 3)), at(7, 8, 0, get("cab"))}),
      Verdict::kIllegal);
  EXPECT_EQ(judge({at(1, 5, 0, append("ab", 2)), at(2, 6, 1, append("c", 1))}), Verdict::kIllegal);
  // Not a number, and an overflow: refused, and nothing changes.
  RegisterOp no_number = {.kind = Kind::kIncrement, .ok = false};
  EXPECT_EQ(judge({at(1, 2, 0, set("x")), at(3, 4, 0, no_number), at(5, 6, 0, get("x"))}),
            Verdict::kLinearizable);
  EXPECT_EQ(judge({at(1, 2, 0, set("9223372036854775807")), at(3, 4, 0, no_number)}),
            Verdict::kLinearizable);
  EXPECT_EQ(judge({at(1, 2, 0, set("5")), at(3, 4, 0, no_number)}), Verdict::kIllegal);
}

TEST(Linearizability, LifetimesEndAtTheirInstant) {
  auto set_until = [](std::uint64_t deadline, std::uint64_t now) {
    return RegisterOp{.kind = Kind::kSet, .argument = "a", .now_ms = now, .deadline_ms = deadline};
  };
  auto get_at = [](std::uint64_t now, bool ok) {
    return RegisterOp{.kind = Kind::kGet, .now_ms = now, .ok = ok, .value = ok ? "a" : ""};
  };
  EXPECT_EQ(judge({at(1, 2, 0, set_until(10, 5)), at(3, 4, 1, get_at(9, true)),
                   at(5, 6, 1, get_at(10, false))}),
            Verdict::kLinearizable);
  EXPECT_EQ(judge({at(1, 2, 0, set_until(10, 5)), at(3, 4, 1, get_at(10, true))}),
            Verdict::kIllegal);
  EXPECT_EQ(judge({at(1, 2, 0, set_until(10, 5)), at(3, 4, 1, get_at(9, false))}),
            Verdict::kIllegal);
  const RegisterOp persist = {.kind = Kind::kExpire, .now_ms = 6};
  EXPECT_EQ(
      judge({at(1, 2, 0, set_until(10, 5)), at(3, 4, 1, persist), at(5, 6, 1, get_at(99, true))}),
      Verdict::kLinearizable);
}

TEST(Linearizability, APendingCallMayHaveHappenedOrNot) {
  for (RegisterOp seen : {miss(), get("a")}) {
    EXPECT_EQ(judge({at(1, kNever, 0, set("a")), at(2, 3, 1, seen)}), Verdict::kLinearizable);
  }
  EXPECT_EQ(judge({at(1, kNever, 0, set("a")), at(2, 3, 1, get("a")), at(4, 5, 1, miss())}),
            Verdict::kIllegal);
  EXPECT_EQ(judge({at(2, 3, 1, get("a")), at(4, kNever, 0, set("a"))}), Verdict::kIllegal);
}

TEST(Linearizability, ARefusedCallChangesNothing) {
  RegisterOp refused = set("b");
  refused.refused = true;
  EXPECT_EQ(judge({at(1, 2, 0, set("a")), at(3, 4, 0, refused), at(5, 6, 1, get("a"))}),
            Verdict::kLinearizable);
  EXPECT_EQ(judge({at(1, 2, 0, set("a")), at(3, 4, 0, refused), at(5, 6, 1, get("b"))}),
            Verdict::kIllegal);
}

TEST(Linearizability, TheStepCapGivesNoVerdict) {
  Calls hard;  // 20 overlapping writes, none of which wrote what is read
  for (unsigned i = 0; i < 20; ++i) hard.push_back(at(1 + i, 100 + i, i, set(std::to_string(i))));
  hard.push_back(at(200, 201, 20, get("none of them")));
  EXPECT_EQ(LinearizabilityChecker<RegisterSpec>(1000).check(hard), Verdict::kAborted);
}

TEST(Linearizability, AnIllegalHistoryIsExplained) {
  const Calls history = {at(1, 2, 0, set("a", 1)), at(3, 4, 1, get("b", 2))};
  LinearizabilityChecker<RegisterSpec> checker;
  ASSERT_EQ(checker.check(history), Verdict::kIllegal);
  const std::string text = checker.explain(history);
  EXPECT_NE(text.find("get key 0 -> ok 'b' version 2"), std::string::npos) << text;
}

// --- against brute force
// --------------------------------------------------------------------------------------

bool some_order_is_legal(const Calls& history) {
  std::vector<std::size_t> order(history.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  do {
    bool legal = true;
    for (std::size_t i = 0; i < order.size() && legal; ++i) {
      for (std::size_t j = i + 1; j < order.size(); ++j) {
        if (history[order[j]].end < history[order[i]].begin) legal = false;  // against real time
      }
    }
    RegisterSpec::State state = RegisterSpec::initial();
    for (std::size_t i = 0; i < order.size() && legal; ++i) {
      legal = RegisterSpec::apply(state, history[order[i]].op, false);
    }
    if (legal) return true;
  } while (std::next_permutation(order.begin(), order.end()));
  return false;
}

TEST(Linearizability, AgreesWithBruteForceOnRandomHistories) {
  std::mt19937_64 random(11);
  unsigned legal = 0;
  constexpr unsigned kHistories = 3000;
  LinearizabilityChecker<RegisterSpec> checker;
  for (unsigned n = 0; n < kHistories; ++n) {
    // Three threads, two calls each, at random times, with mostly plausible answers.
    std::vector<std::uint64_t> times(12);
    std::iota(times.begin(), times.end(), 1u);
    std::shuffle(times.begin(), times.end(), random);
    Calls history;
    for (unsigned thread = 0; thread < 3; ++thread) {
      std::uint64_t* t = &times[thread * 4];
      std::sort(t, t + 4);
      for (unsigned call = 0; call < 2; ++call) {
        const std::string value(1, static_cast<char>('a' + random() % 2));
        RegisterOp op;
        switch (random() % 4) {
          case 0:
            op = set(value);
            break;
          case 1:
            op = random() % 3 == 0 ? miss() : get(value);
            break;
          case 2:
            op = del(random() % 2 == 0);
            break;
          default:
            op = {.kind = Kind::kSetNx, .argument = value, .ok = random() % 2 == 0};
            break;
        }
        history.push_back(at(t[2 * call], t[2 * call + 1], thread, op));
      }
    }
    std::sort(history.begin(), history.end(), [](auto& a, auto& b) { return a.begin < b.begin; });
    const bool expected = some_order_is_legal(history);
    legal += expected ? 1 : 0;
    ASSERT_EQ(checker.check(history) == Verdict::kLinearizable, expected)
        << checker.explain(history);
  }
  EXPECT_GT(legal, kHistories / 20);
  EXPECT_LT(legal, kHistories - kHistories / 20);
}

// --- behind real threads
// ------------------------------------------------------------------------------------

// A register with increments that are atomic, or that are read, an interruptible gap, and write.
template <bool kAtomic>
class Counter {
 public:
  std::int64_t increment() {
    if constexpr (kAtomic) return value_.fetch_add(1) + 1;
    const std::int64_t old = value_.load();
    std::this_thread::yield();
    value_.store(old + 1);
    return old + 1;
  }
  std::int64_t read() const { return value_.load(); }

 private:
  std::atomic<std::int64_t> value_{0};
};

template <bool kAtomic>
Tally run_threads() {
  constexpr unsigned kThreads = 3;
  constexpr unsigned kCalls = 6;
  constexpr unsigned kRounds = 300;
  LinearizabilityChecker<RegisterSpec> checker;
  Tally tally;
  for (unsigned round = 0; round < kRounds; ++round) {
    Counter<kAtomic> counter;
    Recorder<RegisterOp> recorder(kThreads, kCalls);
    std::atomic<unsigned> ready{0};
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        ready.fetch_add(1);
        while (ready.load() < kThreads) std::this_thread::yield();
        for (unsigned i = 0; i < kCalls; ++i) {
          if (i % 3 == 2) {
            auto& call = recorder.begin(t, {.kind = Kind::kGet});
            std::this_thread::yield();
            const std::int64_t seen = counter.read();
            call.op.ok = seen != 0;
            call.op.value = seen == 0 ? "" : std::to_string(seen);
            recorder.end(call);
          } else {
            auto& call = recorder.begin(t, {.kind = Kind::kIncrement});
            call.op.number = counter.increment();
            recorder.end(call);
          }
        }
      });
    }
    for (auto& thread : threads) thread.join();
    check_each_key(checker, recorder.take(), tally);
  }
  std::printf("[tern] %s\n", tally.summary().c_str());
  return tally;
}

TEST(Recorder, HistoriesOfACorrectRegisterAreLegal) {
  const Tally tally = run_threads<true>();
  EXPECT_EQ(tally.illegal, 0u) << tally.first_illegal;
  EXPECT_EQ(tally.aborted, 0u);
  EXPECT_EQ(tally.histories, 300u);
}

TEST(Recorder, HistoriesOfALossyRegisterAreNot) {
  const Tally tally = run_threads<false>();
  EXPECT_GT(tally.illegal, 0u);
  EXPECT_FALSE(tally.first_illegal.empty());
}

TEST(Recorder, OverlapIsMeasured) {
  const Calls apart = {at(1, 2, 0, miss()), at(3, 4, 1, miss())};
  EXPECT_EQ(measure_overlap(apart).ratio(), 0);
  const Calls half = {at(1, 4, 0, miss()), at(2, 3, 1, miss()), at(5, 6, 0, miss()),
                      at(7, 8, 1, miss())};
  EXPECT_EQ(measure_overlap(half).ratio(), 0.5);
  const Calls own = {at(1, 4, 0, miss()), at(2, 3, 0, miss())};
  EXPECT_EQ(measure_overlap(own).ratio(), 0);
}

TEST(Recorder, KeysAreJudgedApart) {
  Calls history = {at(1, 2, 0, set("a")), at(3, 4, 0, set("b"))};
  history[1].op.key = 1;
  EXPECT_EQ(split_by_key(history).size(), 2u);
}

}  // namespace
}  // namespace tern::concurrency
