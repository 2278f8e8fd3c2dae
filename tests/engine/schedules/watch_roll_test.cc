// The roll of the watches under the scheduler: nobody shares a line, and who looks sees what one watch has said of itself.
#include <gtest/gtest.h>

#include <string>

#include "engine/watch_roll.h"
#include "tests/engine/schedules/exploring.h"
#include "tests/engine/schedules/private_arena.h"

namespace tern::concurrency {
namespace {

struct Coming {
  using Roll = tern::detail::WatchRoll<OneEngineSync>;

  explicit Coming(Mutant planted) { OneEngineSync::mutant = planted; }
  ~Coming() { OneEngineSync::mutant = Mutant::kNone; }

  void restore() {
    PrivateArena::rewind(0);
    roll = new (storage) Roll;
    complaint.clear();
    for (auto& n : numbers) n = 0;
    count = 0;
  }
  void complain(const char* what) {
    if (complaint.empty()) complaint = what;
  }
  // As a watch of `number` shards that has read as many changes, since that millisecond. It writes nothing else until it leaves.
  Roll::Line* come(unsigned number) {
    Roll::Line* line = roll->enter();
    if (line == nullptr) {
      complain("there is memory for a line");
      return nullptr;
    }
    numbers[count++] = line->id();
    line->begin(number, number, number, number);
    return line;
  }
  void leave(Roll::Line* line, unsigned number) {
    if (line == nullptr) return;
    if (!line->is_told(number)) complain("two have one line");
    roll->leave(*line);
  }
  void come_and_go(unsigned number) { leave(come(number), number); }
  void look() {
    roll->for_each([&](const Roll::Seen& s) {
      if (s.number == 0 || s.count == 0 || s.first != s.count || s.read != s.count || s.since_ms != s.count) complain("what is seen is nobody's");
    });
  }

  Body body(const Threads& threads) {
    return {[this] { restore(); }, threads, [this] {
              for (unsigned i = 0; i != count; ++i) {
                for (unsigned j = 0; j != i; ++j) {
                  if (numbers[i] == numbers[j]) complain("a number comes twice");
                }
              }
              if (frozen_threads() != 0) return complaint;
              roll->for_each([&](const Roll::Seen&) { complain("a line stays that nobody has"); });
              come(1);  // and there is one for who comes next
              return complaint;
            }};
  }
  // More than a chunk has lines, so that chunks are linked, and lines given back meanwhile.
  Threads three() {
    return {[this] { come_and_go(1); },
            [this] {
              come_and_go(2);
              come_and_go(3);
            },
            [this] { come_and_go(4); }};
  }
  Threads beside_who_looks() {
    return {[this] {
              come_and_go(1);
              come_and_go(2);
            },
            [this] { look(); },
            [this] { come_and_go(3); }};
  }

  alignas(64) static inline unsigned char storage[sizeof(Roll)];
  Roll* roll = nullptr;
  std::string complaint;
  std::uint64_t numbers[8] = {};
  unsigned count = 0;
};

constexpr Bounds kRollBounds{.preemptions = 3, .schedules = 8'000, .random = 1'000};

TEST(WatchRoll, EachHasALineOfItsOwn) {
  Coming c(Mutant::kNone);
  expect_body_holds("watch roll, three", c.body(c.three()), kRollBounds);
}
TEST(WatchRoll, BesideWhoLooks) {
  Coming c(Mutant::kNone);
  expect_body_holds("watch roll, beside who looks", c.body(c.beside_who_looks()), kRollBounds);
}
TEST(WatchRoll, NobodyWaitsForAStoppedThread) {
  Coming c(Mutant::kNone);
  expect_body_holds("watch roll, stopped", c.body(c.beside_who_looks()),
                    {.preemptions = 1, .schedules = 3'000, .random = 0, .freeze = Freeze::kAllButOne});
}
TEST(WatchRollMutants, ALineIsTakenBlindly) {
  Coming c(Mutant::kRollClaimedBlindly);
  expect_body_fails("watch roll, kRollClaimedBlindly", c.body(c.three()), kRollBounds);
}
TEST(WatchRollMutants, WhoseItIsIsntAskedAgain) {
  Coming c(Mutant::kRollUnasked);
  expect_body_fails("watch roll, kRollUnasked", c.body(c.beside_who_looks()), kRollBounds);
}

}  // namespace
}  // namespace tern::concurrency
