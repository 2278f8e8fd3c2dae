// What everybody has read leaves the rings, on the engine's real code: two who listen, writers, somebody who comes and goes, a token.
// A ring that has room for everything tells everything, whoever stands still where; and each planted bug is a gap in it.
#include <gtest/gtest.h>

#include <cstring>
#include <new>
#include <optional>
#include <string>

#include "engine/subscription.h"
#include "tests/engine/schedules/exploring.h"

namespace tern::concurrency {
namespace {

constexpr unsigned kListeners = 2;
constexpr std::uint64_t kCells = 16;

class RoundsBase {
 public:
  using R = RigOf<OneEngineSync>;
  using Sync = R::Sync;
  using Sub = tern::detail::Subscription<Sync>;
  using Events = tern::detail::Events<Sync>;

  RoundsBase(Mutant planted, int threads, std::uint64_t cells) : rig(planted, threads, std::size_t{4} << 20, [=](auto& o) {
    o.ring_cells = cells;
    o.ring_bytes = 1 << 20;
  }) {
    KeyFinder finder;
    key = finder.in_bucket(16);
    other = finder.in_bucket(16);
    rig.now_ms = 50;
    set(rig.own_index());
    for (unsigned l = 0; l != kListeners; ++l) {
      new (&at(l)) Sub(rig.core());
      come(l);
    }
  }
  // From here on the schedules.
  void freeze() {
    rig.audit_always = true;
    rig.freeze();
    saved = now;
  }
  void restore() {
    rig.restore();
    now = saved;
  }

  void set(int t) { (void)rig.set(t, key, "1"); }
  // Answers what its ring has of it.
  std::uint64_t set_other(int t) {
    (void)rig.set(t, other, "1");
    const auto& ring = *Events(rig.core().space).ring(0);
    return ring.peek(ring.tail() - 1);
  }
  void come(unsigned l) {
    if (!at(l).enter(0, 1, &now.position[l])) rig.complain("nobody may listen");
    at(l).begin();
    now.is_here[l] = true;
  }
  void go(unsigned l, int t) {
    at(l).end(rig.thread(t));
    now.is_here[l] = false;
    for (const bool here : now.is_here) {
      if (here) return;
    }
    now.had_ended = true;
  }
  unsigned poll(unsigned l, int t) {
    const std::uint64_t round = at(l).begin_poll();
    unsigned n = 0;
    {
      tern::detail::Guard<Sync> guard(rig.core().space, rig.thread(t));
      Sub::Next next;
      while (at(l).next(next)) {
        if (next.what == tern::detail::EventSeen::kGap) {
          rig.complain("a gap in a ring that has room for everything");
          return n;
        }
        if (Events(rig.core().space).ring(0)->floor() > next.sequence) rig.complain("given up, and not read by everybody");
        ++n;
      }
    }
    at(l).read_all(round);
    return n;
  }
  void take_token(unsigned l) {
    Events events(rig.core().space);
    now.session = events.session();
    events.rounds().keep_history();
    now.token = now.position[l];
    now.has_token = true;
  }

  std::string check() {
    if (frozen_threads() != 0) return rig.check_stopped();
    const int own = rig.own_index();
    for (unsigned l = 0; l != kListeners; ++l) {
      if (now.is_here[l]) poll(l, own);
    }
    Events events(rig.core().space);
    const bool is_void = now.session != events.session();
    // What the last listener's end has emptied is a gap.
    const auto& ring = *events.ring(0);
    const bool is_gap = now.had_ended && ring.read(now.token, ring.cells()).what != tern::detail::EventSeen::kEvent;
    if (now.has_token && !is_void && ring.floor() > now.token && !is_gap) rig.complain("what a token may ask for is gone");
    events.ring(0)->for_each([&](std::uint64_t record) {
      if (rig.core().space.record(record)->hold_word().holds() != 1) rig.complain("a record in the ring has more holds than its cell's");
    });
    return rig.check();
  }
  bool is_on() { return Events(rig.core().space).rounds().number() % 2 != 0; }
  std::uint64_t tail() { return Events(rig.core().space).ring(0)->tail(); }
  std::uint64_t given_up() { return Events(rig.core().space).ring(0)->floor(); }

  R rig;
  Key key, other;

 private:
  struct State {
    alignas(Sub) unsigned char sub[kListeners][sizeof(Sub)] = {};
    std::uint64_t position[kListeners] = {};
    bool is_here[kListeners] = {};
    std::uint64_t token = 0;
    bool has_token = false;
    bool had_ended = false;     // nobody was here
    std::uint64_t session = 0;  // the token's
  };
  Sub& at(unsigned l) { return *std::launder(reinterpret_cast<Sub*>(now.sub[l])); }

  State now, saved;
};

template <Mutant M>
struct Rounds : RoundsBase {
  explicit Rounds(int threads, std::uint64_t cells = kCells) : RoundsBase(M, threads, cells) {}

  // Both have read what there was, rounds have closed, a mark is noted.
  void begin() {
    const int own = rig.own_index();
    for (unsigned i = 0; i != 4; ++i) {
      set(own);
      for (unsigned l = 0; l != kListeners; ++l) poll(l, own);
      for (unsigned l = 0; l != kListeners; ++l) poll(l, own);
    }
  }
  // The same, and no round is on. Answers the own thread's index.
  int begin_at_rest() {
    begin();
    const int own = rig.own_index();
    while (is_on()) {
      poll(0, own);
      poll(1, own);
    }
    return own;
  }
  Threads reading() {
    begin();
    freeze();
    return {[&] {
              set(0);
              set(0);
              set(0);
            },
            [&] {
              poll(0, 1);
              poll(0, 1);
              poll(0, 1);
            },
            [&] {
              poll(1, 2);
              poll(1, 2);
              poll(1, 2);
            }};
  }
  Threads two_writers() {
    begin();
    freeze();
    return {[&] {
              set(0);
              set(0);
            },
            [&] {
              poll(0, 1);
              poll(1, 1);
              poll(0, 1);
              poll(1, 1);
            },
            [&] {
              set(2);
              set(2);
            }};
  }
  // Who has read the tail stands still, while another notes a later one, and a round closes.
  Threads overtaken() {
    begin();
    freeze();
    return {[&] {
              for (unsigned i = 0; i != 6; ++i) set(0);
            },
            [&] {
              set(1);
              for (unsigned i = 0; i != 3; ++i) {
                poll(0, 1);
                poll(1, 1);
              }
            }};
  }
  // A writer may note its tail, as a round has closed; another one closes before it has told its change, and another writer tells one
  // and stands still before it notes anything.
  Threads two_rounds() {
    const int own = begin_at_rest();
    set(own);  // noted; read by both, each of which opens a round
    poll(0, own);
    poll(1, own);
    poll(0, own);
    freeze();
    return {[&] {
              for (unsigned i = 0; i != 4; ++i) set(0);
            },
            [&] {
              poll(1, 1);
              poll(0, 1);
              poll(1, 1);
              set(1);
            }};
  }
  // A poll that began before a change was told ends after a round was opened that knows of it.
  Threads standing_still() {
    const int own = begin_at_rest();
    set(own);      // notes the tail while no round is on
    poll(0, own);  // opens one
    poll(0, own);  // arrives; the other doesn't yet
    freeze();
    return {[&] { poll(0, 0); },
            [&] {
              set(1);
              poll(1, 1);  // closes
              set(1);
              poll(1, 1);  // opens
              poll(1, 1);  // closes, if the first has arrived
              for (unsigned i = 0; i != 8; ++i) set(1);
            }};
  }
  // One arrives, goes and comes again, while the other stands behind.
  Threads coming_and_going() {
    begin();
    freeze();
    return {[&] {
              for (unsigned i = 0; i != 3; ++i) {
                set(0);
                poll(0, 0);
                poll(0, 0);
                go(0, 0);
                come(0);
                poll(0, 0);
              }
              for (unsigned i = 0; i != 4; ++i) set(0);
            },
            [&] { set(1); }};
  }
  // Another one takes a token and goes, while the first to come still stands in between.
  Threads coming_first() {
    for (unsigned l = 0; l != kListeners; ++l) go(l, rig.own_index());
    freeze();
    return {[&] {
              come(0);
              for (unsigned i = 0; i != 4; ++i) {
                set(0);
                poll(0, 0);
                poll(0, 0);
              }
            },
            [&] {
              come(1);
              take_token(1);
              go(1, 1);
            }};
  }
  Threads with_a_token() {
    begin();
    take_token(0);
    freeze();
    return {[&] {
              for (unsigned i = 0; i != 5; ++i) set(0);
            },
            [&] {
              for (unsigned i = 0; i != 5; ++i) {
                poll(0, 1);
                poll(1, 1);
              }
            }};
  }
  Body body(const Threads& threads) {
    return {[this] { restore(); }, threads, [this] { return check(); }};
  }
};

constexpr Bounds kBounds{.preemptions = 3, .schedules = 4'000, .random = 1'000};
using Plain = Rounds<Mutant::kNone>;

TEST(EventRounds, WhatEverybodyHasReadIsGivenUp) {
  Plain r(1);
  r.begin();
  const std::uint64_t before = r.given_up();
  EXPECT_GT(before, 0u);
  // One that doesn't poll keeps what it hasn't read.
  const int own = r.rig.own_index();
  for (unsigned i = 0; i != 6; ++i) {
    r.set(own);
    r.poll(0, own);
  }
  const std::uint64_t kept = r.given_up();
  EXPECT_LE(kept, before + 2);
  r.poll(1, own);
  for (unsigned i = 0; i != 4; ++i) {
    r.poll(0, own);
    r.poll(1, own);
    r.set(own);
  }
  EXPECT_GT(r.given_up(), kept);
  EXPECT_EQ(r.rig.check(), "");
}

// A poll goes on to another ring after so many of one (Subscription::kInARow), and comes back before it is at the end.
template <Mutant M>
unsigned read_in_one_poll(unsigned count) {
  Rounds<M> r(1, 128);
  const int own = r.rig.own_index();
  for (unsigned i = 0; i != count; ++i) r.set(own);
  const unsigned n = r.poll(0, own);
  EXPECT_EQ(r.rig.check(), "");
  return n;
}
constexpr unsigned kMoreThanARow = RoundsBase::Sub::kInARow + 36;

TEST(EventRounds, APollReadsMoreThanARow) { EXPECT_EQ(read_in_one_poll<Mutant::kNone>(kMoreThanARow), kMoreThanARow); }
TEST(EventRoundsMutants, RoundAfterARow) { EXPECT_LT(read_in_one_poll<Mutant::kRoundAfterARow>(kMoreThanARow), kMoreThanARow); }

// Everybody has read a change, and its ring gives it up; the record is current all the while. How many hold it then?
template <Mutant M>
std::uint64_t holds_when_given_up(bool somebody_is_inside) {
  Rounds<M> r(1, somebody_is_inside ? 64 : 16'384);  // a sixteenth of the ring waits for him
  const int own = r.begin_at_rest();
  auto& space = r.rig.core().space;
  const std::uint64_t record = r.set_other(own), behind = r.tail();
  const auto in_turn = [&] {
    r.set(own);
    for (unsigned i = 0; i != 4; ++i) r.poll(i % 2, own);
  };
  std::uint64_t holds = 0;
  {
    std::optional<tern::detail::Guard<OneEngineSync>> inside;
    if (somebody_is_inside) inside.emplace(space, r.rig.thread(0));
    for (unsigned i = 0; i != 4; ++i) in_turn();
    for (unsigned i = 0; i != 800 && r.given_up() < behind; ++i) r.set(own);  // those move the epoch
    EXPECT_GE(r.given_up(), behind);
    holds = space.record(record)->hold_word().holds();
  }
  EXPECT_EQ(r.rig.check(), "");
  return holds;
}

TEST(EventRounds, WhatEverybodyHasReadComesFreeAtOnce) { EXPECT_EQ(holds_when_given_up<Mutant::kNone>(false), 0u); }
TEST(EventRounds, ButNotWhileSomebodyIsInside) { EXPECT_EQ(holds_when_given_up<Mutant::kNone>(true), 1u); }
TEST(EventRoundsMutants, ReadGoesAtOnce) { EXPECT_EQ(holds_when_given_up<Mutant::kReadGoesAtOnce>(true), 0u); }

#define TERN_ROUNDS_HOLD(name, scene, threads)                            \
  TEST(EventRounds, name) {                                               \
    Plain r(threads);                                                     \
    expect_body_holds("rounds, " #scene, r.body(r.scene()), kBounds);     \
  }
TERN_ROUNDS_HOLD(TwoListenersAndAWriter, reading, 3)
TERN_ROUNDS_HOLD(TwoWriters, two_writers, 3)
TERN_ROUNDS_HOLD(AMarkIsOvertaken, overtaken, 2)
TERN_ROUNDS_HOLD(TwoRoundsClose, two_rounds, 2)
TERN_ROUNDS_HOLD(APollThatStandsStill, standing_still, 2)
TERN_ROUNDS_HOLD(OneComesAndGoes, coming_and_going, 2)
TERN_ROUNDS_HOLD(BehindAToken, with_a_token, 2)
TERN_ROUNDS_HOLD(TheFirstToCome, coming_first, 2)

TEST(EventRounds, NobodyWaitsForAStoppedThread) {
  Plain r(3);
  expect_body_holds("rounds, stopped", r.body(r.reading()), {.preemptions = 1, .schedules = 1'500, .random = 0, .freeze = Freeze::kAllButOne});
}

#define TERN_ROUNDS_FAIL(name, mutant, scene, threads)                                             \
  TEST(EventRoundsMutants, name) {                                                                 \
    Rounds<mutant> r(threads);                                                                     \
    expect_body_fails("rounds, " #name, r.body(r.scene()), {.preemptions = 3, .schedules = 100'000}); \
  }
TERN_ROUNDS_FAIL(RoundNotedLate, Mutant::kRoundNotedLate, two_rounds, 2)
TERN_ROUNDS_FAIL(RoundMarkOvertaken, Mutant::kRoundMarkOvertaken, overtaken, 2)
TERN_ROUNDS_FAIL(RoundOfBefore, Mutant::kRoundOfBefore, two_writers, 3)
TERN_ROUNDS_FAIL(RoundArrivesUnread, Mutant::kRoundArrivesUnread, standing_still, 2)
TERN_ROUNDS_FAIL(RoundLeaverStays, Mutant::kRoundLeaverStays, coming_and_going, 2)
TERN_ROUNDS_FAIL(RoundPastToken, Mutant::kRoundPastToken, with_a_token, 2)

}  // namespace
}  // namespace tern::concurrency
