// The wheel beside everything that moves a deadline, under the scheduler: a key is removed at its
// instant, not before and by nobody else; each deadline keeps its ticket; what is filed while time
// goes by is not left to the next round. The audit counts tickets against deadlines after each
// schedule. Time is the test's: it goes by when a thread says so.
#include <gtest/gtest.h>

#include <cstring>
#include <new>
#include <string>

#include "engine/audit.h"
#include "engine/expiry.h"
#include "engine/views.h"
#include "tests/engine/schedules/exploring.h"
#include "tests/engine/schedules/weak_rig.h"

namespace tern::concurrency {
namespace {

// A key that is due at 140. Threads begin at 130.
template <Mutant M, template <Mutant> class Policy = EngineSync>
struct Mortal {
  using R = Rig<M, Policy>;
  using Sync = typename R::Sync;

  explicit Mortal(int threads) : rig(threads) {
    KeyFinder finder;
    key = finder.in_bucket(16);  // bucket 0 until there are 17
    twin = finder.twin_of(key, 16);
    rig.now_ms = 50;
    // Every level that the test meets has its positions (an earlier deadline gets a ticket of its
    // own).
    for (const std::uint64_t ms : {5000, 100, 60}) put(rig.own_index(), twin, "x", ms);
    fire(rig.own_index(), 50, 64);
    put(rig.own_index(), twin, "t", 0);
    put(rig.own_index(), key, "0", 140);
    fire(rig.own_index(), 130, 64);
    rig.now_ms = 130;
    rig.audit_always = true;
    rig.clock_orders = false;  // not histories are judged here, but where each key ends
    rig.freeze();
    rig.at_end = [this] { finish(); };
  }

  void put(int t, const Key& k, std::string_view value, std::uint64_t deadline_ms) {
    tern::detail::SetTerms terms;
    terms.has_deadline = deadline_ms != 0;
    terms.deadline_ms = deadline_ms;
    tern::detail::SetChange<Sync> change(rig.core().space, rig.thread(t), k.view(), value, terms);
    (void)rig.core().write(rig.thread(t), k.hash, k.view(), change);
    if (t != rig.own_index() || k.id == key.id) wanted = deadline_ms != 0 ? deadline_ms : kForEver;
  }
  void touch(int t, std::uint64_t deadline_ms) {
    if (rig.core().set_deadline(rig.thread(t), key.hash, key.view(), deadline_ms).existed) {
      wanted = deadline_ms;
    }
  }
  void remove(int t) {
    tern::detail::RemoveChange<Sync> change(rig.core().space, rig.thread(t), key.view());
    (void)rig.core().write(rig.thread(t), key.hash, key.view(), change, true);
    wanted = 0;
  }
  void fire(int t, std::uint64_t now, unsigned steps) {
    rig.now_ms = std::max(rig.now_ms, now);
    tern::detail::Guard<Sync> guard(rig.core().space, rig.thread(t));
    tern::detail::Expiry<Sync> expiry(rig.core().table, rig.core().committer(), rig.thread(t),
                                      rig.shard(), now);
    for (unsigned done = 0; done < steps;) {
      const unsigned n = expiry.step(steps - done);
      if (n == 0) return;
      done += n;
    }
  }
  bool there(const Key& k) {
    tern::detail::Guard<Sync> guard(rig.core().space, rig.thread(rig.own_index()));
    return static_cast<bool>(rig.core().table.find(k.hash, k.view()));
  }

  // The table has the key until the instant that was asked for last by a call that met it, and not
  // from then on.
  void finish() {
    const int own = rig.own_index();
    if (two_touch) {  // either may have been the last
      tern::detail::Guard<Sync> guard(rig.core().space, rig.thread(own));
      const auto head = rig.core().head(key.hash, key.view());
      wanted = head.deadline_ms;
    }
    fire(own, 150, 64);
    for (const std::uint64_t now : {std::uint64_t{150}, wanted - 1, wanted}) {
      if (wanted == kForEver || wanted == 0 || now < 150) break;
      fire(own, now, 64);
      if (there(key) != (now < wanted)) {
        rig.complain(now < wanted ? "a key was removed before its instant"
                                  : "a key is there past its instant");
      }
    }
    fire(own, 1'000'000, 200);
    if (there(key) != (wanted == kForEver)) rig.complain("the key isn't as it was left");
    if (!there(twin)) rig.complain("another key was removed");
    if (rig.shard().wheel.entries() != 0) rig.complain("a ticket is left");
  }
  void restore() {
    rig.restore();
    wanted = 140;
  }
  std::string check() { return rig.check(); }
  std::string check_stopped() { return rig.check_stopped(); }

  static constexpr std::uint64_t kForEver = ~std::uint64_t{0};
  R rig;
  Key key, twin;
  std::uint64_t wanted = 140;
  bool two_touch = false;
};

// What the view sees of the key doesn't change, and is there if the view's time is before the deadline.
template <class M>
void look_twice(M& m, int t) {
  using Sync = typename M::Sync;
  tern::detail::Views<Sync> views(m.rig.core());
  const auto view = views.open();
  for (int look = 0; look != 2; ++look) {
    bool there = false;
    const auto answer = views.read(m.rig.thread(t), view, m.key.hash, m.key.view(), [&](const auto&) { there = true; });
    if (answer == tern::detail::Views<Sync>::Outcome::kEnded) m.rig.complain("a view was ended");
    if (there != (view.now_ms < 140)) m.rig.complain(there ? "a view shows what had expired before it" : "a view has lost a key that expired after it was opened");
  }
  views.close(&m.rig.thread(t), view);
}
template <class M>
Threads fire_and_view(M& m) {
  return {[&m] { m.fire(0, 150, 4); }, [&m] { look_twice(m, 1); }};
}
template <class M>
Threads fire_and_touch(M& m) {
  return {[&m] { m.fire(0, 150, 4); }, [&m] { m.touch(1, 300); }};
}
template <class M>
Threads fire_and_put(M& m) {
  return {[&m] { m.fire(0, 150, 4); }, [&m] { m.put(1, m.key, "1", 300); }};
}
template <class M>
Threads fire_and_set(M& m) {
  return {[&m] { m.fire(0, 150, 4); }, [&m] { m.put(1, m.key, "1", 0); }};
}
template <class M>
Threads fire_and_removal(M& m) {
  return {[&m] { m.fire(0, 150, 4); },
          [&m] { m.remove(1), m.put(1, m.key, "1", 5000), m.touch(1, 300); }};
}
template <class M>
Threads two_fire_and_touch(M& m) {
  return {[&m] { m.fire(0, 150, 4); }, [&m] { m.fire(1, 160, 4); }, [&m] { m.touch(2, 300); }};
}
template <class M>
Threads two_touches(M& m) {
  m.two_touch = true;
  return {[&m] { m.touch(0, 200); }, [&m] { m.touch(1, 5000); }, [&m] { m.fire(2, 135, 2); }};
}
template <class M>
Threads fire_and_split(M& m) {
  return {[&m] { m.fire(0, 150, 4); }, [&m] { m.rig.grow(1), m.touch(1, 300); }};
}

using Sound = Mortal<Mutant::kNone>;
constexpr Bounds kTwo{.preemptions = 2, .schedules = 60'000, .random = 3'000};

TEST(Expiry, BesideATouch) {
  Sound m(2);
  expect_holds("expiry, touch", m, fire_and_touch(m), kTwo);
}
TEST(Expiry, BesideANewLifetime) {
  Sound m(2);
  expect_holds("expiry, put", m, fire_and_put(m), kTwo);
}
TEST(Expiry, BesideASet) {
  Sound m(2);
  expect_holds("expiry, set", m, fire_and_set(m), kTwo);
}
TEST(Expiry, BesideARemovalAndANewEntry) {
  Sound m(2);
  expect_holds("expiry, removal", m, fire_and_removal(m), kTwo);
}
TEST(Expiry, ByTwoThreads) {
  Sound m(3);
  expect_holds("expiry, two", m, two_fire_and_touch(m),
                      {.preemptions = 2, .schedules = 20'000, .random = 3'000});
}
TEST(Expiry, OfADeadlineThatTwoMove) {
  Sound m(3);
  expect_holds("expiry, two touches", m, two_touches(m), kTwo);
}
TEST(Expiry, BesideAView) {
  Sound m(2);
  expect_holds("expiry, view", m, fire_and_view(m), kTwo);
}
TEST(Expiry, BesideASplit) {
  Sound m(2);
  expect_holds("expiry, split", m, fire_and_split(m), kTwo);
}
TEST(Expiry, NobodyWaitsForAStoppedThread) {
  Sound m(3);
  expect_holds(
      "expiry, stopped", m, two_fire_and_touch(m),
      {.preemptions = 1, .schedules = 60'000, .random = 3'000, .freeze = Freeze::kAllButOne});
}

TEST(ExpiryMutants, ExpireUnjudged) {
  Mortal<Mutant::kExpireUnjudged> m(2);
  expect_found("expire unjudged", m, fire_and_touch(m), {.preemptions = 2, .schedules = 100'000});
}
TEST(ExpiryMutants, ExpireBesideView) {
  Mortal<Mutant::kExpireBesideView> m(2);
  expect_found("expire beside a view", m, fire_and_view(m), {.preemptions = 2, .schedules = 100'000});
}
TEST(ExpiryMutants, TicketAlwaysInherited) {
  Mortal<Mutant::kTicketAlwaysInherited> m(2);
  expect_found("ticket always inherited", m, fire_and_removal(m), {.preemptions = 2, .schedules = 100'000});
}

// --- a ticket that finds no memory ---------------------------------------------------------------

template <Mutant M>
std::string audit_of_a_full_store() {
  Mortal<M> m(1);
  auto& heap = m.rig.core().space.heap;
  for (std::size_t size = 4096; size >= 64; size /= 2) {
    while (heap.allocate(m.rig.own().cache, size) != 0) {
    }
  }
  // Another deadline, for which there is no segment: its position is empty.
  m.touch(m.rig.own_index(), 139);
  std::string found;
  tern::detail::Audit<typename Mortal<M>::Sync> audit(m.rig.core(),
                                                      [&](const char* what) { found = what; });
  return found;
}
TEST(Expiry, ADeadlineWithoutATicketSaysSo) {
  EXPECT_EQ(audit_of_a_full_store<Mutant::kNone>(), "");
}
TEST(ExpiryMutants, TicketLostUnsaid) {
  EXPECT_EQ(audit_of_a_full_store<Mutant::kTicketLostUnsaid>(),
            "wheel: a deadline is without its ticket");
}

// --- the wheel alone: filing while time goes by --------------------------------------------------

template <Mutant M, template <Mutant> class Policy = EngineSync>
struct Turning {
  using R = Rig<M, Policy>;
  using Sync = typename R::Sync;
  using Wheel = tern::detail::Wheel<Sync>;

  // What tickets are due at is their number.
  struct Look {
    Turning& turning;
    std::uint64_t now;
    std::uint64_t operator()(std::uint64_t ticket) noexcept {
      if (ticket > now) return ticket;
      ++turning.ended[ticket];
      return 0;
    }
    void soon(std::uint64_t) noexcept {}
    void sooner(std::uint64_t) noexcept {}
    void lost(std::uint64_t) noexcept { turning.rig.complain("a ticket found no memory"); }
  };

  explicit Turning(int threads) : rig(threads) {
    rig.core().space.epoch.set_limits(1 << 16, 16);
    wheel = new (storage) Wheel;
    for (const std::uint64_t due : {1, 70, 5000}) file(rig.own_index(), due);
    advance(rig.own_index(), 60);
    advance(rig.own_index(), 60);
    rig.check_accounts = false;
    rig.clock_orders = false;
    rig.freeze();
    std::memcpy(saved, storage, sizeof storage);
  }
  void restore() {
    rig.restore();
    std::memcpy(storage, saved, sizeof storage);
    std::memset(ended, 0, sizeof ended);
    std::memset(filed, 0, sizeof filed);
    filed[70] = filed[5000] = true;
  }
  void file(int t, std::uint64_t due) {
    tern::detail::Guard<Sync> guard(rig.core().space, rig.thread(t));
    filed[due] = wheel->file(rig.core().space, rig.thread(t), due, due);
  }
  void advance(int t, std::uint64_t now, unsigned steps = 8) {
    tern::detail::Guard<Sync> guard(rig.core().space, rig.thread(t));
    wheel->advance(rig.core().space, rig.thread(t), now, steps, Look{*this, now});
  }
  // Each ticket has come up by the millisecond after the last that the time was moved to.
  std::string check() {
    for (int i = 0; i != 8; ++i) advance(rig.own_index(), 81, 64);
    for (std::uint64_t due = 1; due != 82; ++due) {
      if (filed[due] && ended[due] == 0) return "ticket " + std::to_string(due) + " is late";
    }
    for (std::uint64_t due = 82; due != 6000; ++due) {
      if (ended[due] != 0) return "ticket " + std::to_string(due) + " came up early";
    }
    return rig.check_stopped();
  }

  R rig;
  Wheel* wheel = nullptr;
  alignas(64) static inline unsigned char storage[sizeof(Wheel)] = {};
  unsigned char saved[sizeof(Wheel)] = {};
  unsigned ended[6000] = {};
  bool filed[6000] = {};
};

template <class T>
Threads file_over_a_boundary(T& w) {
  return {[&w] { w.file(0, 63); }, [&w] { w.advance(1, 66); }};
}
template <class T>
Threads file_into_an_emptied_position(T& w) {
  return {[&w] { w.file(0, 70), w.file(0, 71); }, [&w] { w.advance(1, 70), w.advance(1, 71); }};
}
template <class T>
Threads two_file_and_two_advance(T& w) {
  return {[&w] { w.file(0, 63), w.file(0, 65); }, [&w] { w.advance(1, 65); },
          [&w] { w.advance(2, 80); }};
}

template <class T>
Body turning_body(T& w, const Threads& threads) {
  return {[&w] { w.restore(); }, threads, [&w] { return w.check(); }};
}
template <class T>
void expect_turns(const std::string& name, T& w, const Threads& threads,
                  const Bounds& bounds = {}) {
  expect_body_holds(name, turning_body(w, threads), bounds);
}
template <class T>
void expect_turning_bug(const std::string& name, T& w, const Threads& threads) {
  expect_body_fails(name, turning_body(w, threads), {.schedules = 100'000});
}

TEST(Wheel, WhatIsFiledAsItsBlockEndsIsNotLeftToTheNextRound) {
  Turning<Mutant::kNone> w(2);
  expect_turns("wheel, boundary", w, file_over_a_boundary(w));
}
TEST(Wheel, AMarkIsNotTakenFromATicket) {
  Turning<Mutant::kNone> w(2);
  expect_turns("wheel, mark", w, file_into_an_emptied_position(w), kTwo);
}
TEST(Wheel, TwoMoveTheTimeOfOne) {
  Turning<Mutant::kNone> w(3);
  expect_turns("wheel, two", w, two_file_and_two_advance(w), kTwo);
}

TEST(WheelMutants, FileOnce) {
  Turning<Mutant::kWheelFileOnce> w(2);
  expect_turning_bug("file once", w, file_over_a_boundary(w));
}
TEST(WheelMutants, NoStragglers) {
  Turning<Mutant::kWheelNoStragglers> w(2);
  expect_turning_bug("no stragglers", w, file_over_a_boundary(w));
}
TEST(WheelMutants, UnmarkOnce) {
  Turning<Mutant::kWheelUnmarkOnce> w(2);
  expect_turning_bug("unmark once", w, file_into_an_emptied_position(w));
}

TEST(Wheel, UnderTheWeakMemoryMachine) {
  Turning<Mutant::kNone, WeakEngineSync> w(2);
  for (const auto& threads : {file_over_a_boundary(w), file_into_an_emptied_position(w)}) {
    Options o;
    o.name = "weak, wheel";
    o.strategy = Strategy::kRandom;
    o.stale_reads = 1;
    o.trace_failure = false;
    o.max_schedules = is_long() ? 1'000'000 : 10'000;
    const Result r =
        Explorer(o).explore({[&w] { w.restore(); }, threads, [&w] { return w.check(); }});
    EXPECT_TRUE(r.ok) << r.failure << "\nTERN_SCHEDULE='" << r.schedule << "'";
  }
}

}  // namespace
}  // namespace tern::concurrency
