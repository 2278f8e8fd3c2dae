// When the keeper takes its turns and when it rests, over random histories of turns, and the planted bugs that they find.
#include <gtest/gtest.h>

#include <cstdint>
#include <cstdio>
#include <random>
#include <string>

#include "engine/pace.h"
#include "tests/engine/parts/planted_sync.h"

namespace tern::test {
namespace {

using detail::Mutant;
using P = detail::Pace<PlantedSync>;

constexpr std::uint64_t kSecond = 1'000'000'000;

// What is promised of a history of turns; empty: it was kept.
std::string run(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  P pace;
  std::uint64_t quiet_ns = 0;   // since there was something to do or to wait for
  std::uint64_t worked_ns = 0;  // of a processor, and all time, in turns that followed each other out of time
  std::uint64_t all_ns = 0;
  for (unsigned phase = 0; phase != 40; ++phase) {
    // A stretch of one kind of life: nothing, deadlines alone, little work, more than it can do.
    const unsigned kind = static_cast<unsigned>(random() % 4);
    for (std::uint64_t n = random() % 200; n != 0; --n) {
      P::Turn turn;
      turn.worked = kind >= 2 && random() % 8 != 0;
      turn.watches = turn.worked || kind == 1;
      turn.out_of_time = turn.worked && kind == 3;
      turn.took_ns = turn.out_of_time ? P::kTickNs : turn.worked ? random() % P::kTickNs : 1'000;
      const P::Next next = pace.after(turn);
      if (next.pause_ns == 0) return "no pause";
      if (turn.watches && next.rests) return "it rests although something will be due";
      if (turn.watches && next.pause_ns > P::kPauseNsMax) return "what is due waits longer than 50 ms";
      if (turn.worked && next.pause_ns > P::kWorkedPauseNsMax) return "what is owed waits longer than 16 ms";
      if (turn.out_of_time && next.pause_ns > P::kTickNs) return "it falls behind with half a processor left";
      worked_ns += turn.took_ns;
      all_ns += turn.took_ns + next.pause_ns;
      if (worked_ns > all_ns / 2) return "more than half a processor";
      // But for the pauses of which it can't know yet that nothing will come in them.
      if (next.rests && quiet_ns + 2 * P::kPauseNsMax < kSecond) return "it rests before it was quiet for a second";
      quiet_ns = turn.watches ? 0 : quiet_ns + next.pause_ns;
      if (quiet_ns > kSecond + P::kPauseNsMax && !next.rests) return "it never rests";
    }
  }
  return {};
}

TEST(PaceTest, IsKept) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) ASSERT_EQ(run(seed), "") << seed;
}

TEST(PaceTest, AWatcherIsNeverLeftAlone) {
  P pace;
  for (unsigned n = 0; n != 100'000; ++n) ASSERT_FALSE(pace.after({.watches = true, .took_ns = 1'000}).rests) << n;
}

TEST(PaceTest, ItRestsAfterASecondOfNothingAndLooksOnceASecond) {
  P pace;
  std::uint64_t waited = 0;
  P::Next next;
  while (!next.rests) {
    ASSERT_LT(waited, kSecond);
    next = pace.after({.took_ns = 1'000});
    waited += next.rests ? 0 : next.pause_ns;
  }
  EXPECT_EQ(next.pause_ns, kSecond);
  EXPECT_TRUE(pace.after({.took_ns = 1'000}).rests) << "nothing has come";
  // Woken for something, it begins with short pauses.
  EXPECT_EQ(pace.after({.watches = true, .took_ns = 1'000}).pause_ns, P::kPauseNsMin);
}

TEST(PaceMutants, AreFound) {
  for (const Mutant m : {Mutant::kKeeperRestsWatching, Mutant::kKeeperRestsOwed, Mutant::kKeeperNeverRests, Mutant::kKeeperNoPause}) {
    PlantedSync::mutant = m;
    std::string found;
    for (std::uint64_t seed = 1; seed <= 50 && found.empty(); ++seed) found = run(seed);
    PlantedSync::mutant = Mutant::kNone;
    EXPECT_NE(found, "") << "planted bug " << static_cast<unsigned>(m);
    std::printf("%u: %s\n", static_cast<unsigned>(m), found.c_str());
  }
}

}  // namespace
}  // namespace tern::test
