// A lock beside the end of its owner's lease: one owner at a time, an unlock is never another owner's, and what a stale
// owner writes with its fence lands before the next one has the lock, or not at all. With each planted bug found.
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "engine/locks.h"
#include "tests/engine/schedules/batch_rig.h"

namespace tern::concurrency {
namespace {

struct Locked {
  using Sync = OneEngineSync;
  using Locks = tern::detail::Locks<Sync>;
  using Outcome = tern::detail::Committed::Outcome;
  static constexpr std::string_view kLock{"\xFF\x80\0" "one", 6};
  static constexpr std::uint64_t kEndMs = 500;  // of lease 1; 2 and 3 have longer, and so have the keys

  // Lock `one` is held under lease 1; there is a key for what it protects.
  Locked(Mutant planted, int threads) : b(planted, threads) {
    KeyFinder finder;
    resource = finder.next([](std::uint64_t h) { return (h & 31) == 9; });
    b.rig.now_ms = 50;
    for (const std::uint64_t id : {1, 2, 3}) {
      const tern::detail::LeaseKey lease(id);
      char terms[tern::detail::LeaseTerms::kBytes];
      tern::detail::LeaseTerms{1000, false}.write(terms);
      tern::detail::SetTerms how;
      how.has_deadline = how.keep = true;
      how.deadline_ms = id == 1 ? kEndMs : 9'000;
      tern::detail::SetChange<Sync> change(b.rig.core().space, b.rig.own(), lease.view(), {terms, sizeof terms}, how);
      b.rig.core().write(b.rig.own(), b.rig.core().hash_of(lease.view()), lease.view(), change);
    }
    const auto first = Locks(b.rig.core(), b.rig.own()).acquire(kLock, "a", 1, false);
    if (first.outcome != Outcome::kPut) b.rig.complain("a lock that nobody has can't be had");
    first_token = first.version;
    set(b.rig.own_index(), '0');
    for (const std::size_t size : {40, 48, 56, 64}) b.rig.more_sizes.push_back(size);
    b.rig.freeze();
  }

  void revoke(int t, std::uint64_t id) {
    const tern::detail::LeaseKey lease(id);
    tern::detail::RemoveChange<Sync> change(b.rig.core().space, b.rig.thread(t), lease.view());
    b.rig.core().write(b.rig.thread(t), b.rig.core().hash_of(lease.view()), lease.view(), change, true);
  }
  // 0: somebody else has it.
  std::uint64_t acquire(int t, std::uint64_t lease) {
    const auto c = Locks(b.rig.core(), b.rig.thread(t)).acquire(kLock, "b", lease, false);
    if (c.outcome != Outcome::kPut) return 0;
    if (c.version <= first_token) b.rig.complain("a token isn't greater than those before");
    return token[lease] = c.version;
  }
  void unlock(int t, std::uint64_t of) { (void)Locks(b.rig.core(), b.rig.thread(t)).unlock(kLock, of); }
  std::uint64_t held_with() { return Locks(b.rig.core(), b.rig.own()).holder(kLock).token; }

  void set(int t, char value) {
    const tern::detail::SetTerms none;
    tern::detail::SetChange<Sync> change(b.rig.core().space, b.rig.thread(t), resource.view(), {&value, 1}, none);
    b.rig.core().write(b.rig.thread(t), resource.hash, resource.view(), change);
  }
  char read(int t) {
    const tern::detail::Guard<Sync> guard(b.rig.core().space, b.rig.thread(t));
    const auto head = b.rig.core().head(resource.hash, resource.view());
    return head.present ? head.value[0] : '-';
  }
  // A set with if_fence.
  bool set_fenced(int t, std::uint64_t of, char value) {
    struct List {
      std::string_view resource;
      std::uint64_t token;
      const char* value;
      std::uint32_t count() const { return 2; }
      std::string_view key(std::uint32_t i) const { return i == 0 ? kLock : resource; }
      bool all_plain() const { return false; }
      bool plain(std::uint32_t i) const { return i == 1; }
      void read_plain(std::uint32_t, tern::detail::BatchOperation::Kind& kind, std::string_view& bytes) const {
        kind = tern::detail::BatchOperation::Kind::kSet;
        bytes = {value, 1};
      }
      void read(std::uint32_t i, tern::detail::BatchOperation& out) const {
        out = {};
        if (i == 1) return read_plain(i, out.kind, out.value);
        out.kind = tern::detail::BatchOperation::Kind::kRequire;
        out.require = tern::detail::BatchCondition::Kind::kVersion;
        out.version = token;
      }
      void tell(std::uint32_t, std::uint64_t) {}
    } list{resource.view(), of, &value};
    using Writer = tern::detail::BatchWriter<Sync, List>;
    return Writer(b.rig.core(), b.rig.thread(t), list).write().what == Writer::Answer::kDone;
  }

  void restore() {
    b.restore();
    token[1] = token[2] = token[3] = 0;
    at_acquire = 0;
    written = false;
  }
  // Who got it last and still lives under its lease has it; `live`: the leases that haven't ended.
  std::string check(std::initializer_list<std::uint64_t> live) {
    const std::uint64_t held = held_with();
    unsigned owners = 0;
    for (const std::uint64_t lease : live) {
      if (token[lease] == 0) continue;
      ++owners;
      if (held != token[lease]) return "an owner whose lease lives has lost the lock";
    }
    if (owners > 1) return "two have the lock";
    for (const std::uint64_t a : {2, 3}) {
      if (token[a] != 0 && token[a] == token[5 - a]) return "two have one token";
    }
    if (at_acquire != 0 && read(b.rig.own_index()) != at_acquire) return "a stale owner has written after the next one got the lock";
    return b.check();
  }
  Body body(const Threads& threads, std::initializer_list<std::uint64_t> live) {
    return {[this] { restore(); }, threads,
            [this, live = std::vector<std::uint64_t>(live)] {
              if (frozen_threads() != 0) return b.check_stopped();
              return live.size() == 1 ? check({live[0]}) : check({live[0], live[1]});
            }};
  }

  // Two want it when its owner's lease ends, and nobody unlocks.
  Threads two_acquire() {
    return {[this] {
              revoke(0, 1);
              b.sweep_leases(0);
            },
            [this] { acquire(1, 2); },
            [this] { acquire(2, 3); }};
  }
  // The same where it is over by the clock, and by nobody's doing.
  Threads two_acquire_by_the_clock() {
    return {[this] {
              b.rig.now_ms = kEndMs;
              acquire(0, 2);
            },
            [this] { acquire(1, 3); }};
  }
  // Its own lease ends while it acquires.
  Threads acquire_beside_its_own_end() {
    return {[this] {
              revoke(0, 1);
              acquire(0, 2);
            },
            [this] { revoke(1, 2); },
            [this] { acquire(2, 3); }};
  }
  // The owner unlocks, late.
  Threads unlock_late() {
    return {[this] { unlock(0, first_token); },
            [this] {
              revoke(1, 1);
              acquire(1, 2);
            }};
  }
  Threads unlock_late_by_the_clock() {
    return {[this] { unlock(0, first_token); },
            [this] {
              b.rig.now_ms = kEndMs;
              acquire(1, 2);
            }};
  }
  // The owner writes, late; the next one only looks.
  Threads write_late() {
    return {[this] { written = set_fenced(0, first_token, 's'); },
            [this] {
              revoke(1, 1);
              if (acquire(1, 2) != 0) at_acquire = read(1);
            }};
  }
  Threads write_late_by_the_clock() {
    return {[this] { written = set_fenced(0, first_token, 's'); },
            [this] {
              b.rig.now_ms = kEndMs;
              if (acquire(1, 2) != 0) at_acquire = read(1);
            },
            [this] { b.sweep_leases(2); }};
  }
  // He has unlocked it himself in the meantime.
  Threads write_beside_an_unlock() {
    return {[this] { written = set_fenced(0, first_token, 's'); },
            [this] {
              unlock(1, first_token);
              if (acquire(1, 2) != 0) at_acquire = read(1);
            }};
  }

  BatchRigBase b;
  Key resource;
  std::uint64_t first_token = 0;
  std::uint64_t token[4] = {};  // by the lease
  char at_acquire = 0;
  bool written = false;
};

constexpr Bounds kLockBounds{.preemptions = 2, .schedules = 5'000, .random = 1'000};

#define TERN_LOCKS_HOLD(test, scene, threads, ...)                                           \
  TEST(Locks, test) {                                                                       \
    Locked l(Mutant::kNone, threads);                                                       \
    expect_body_holds("locks, " #scene, l.body(l.scene(), {__VA_ARGS__}), kLockBounds);     \
  }
TERN_LOCKS_HOLD(TwoAcquireAtTheLeasesEnd, two_acquire, 3, 2, 3)
TERN_LOCKS_HOLD(TwoAcquireAtTheDeadline, two_acquire_by_the_clock, 2, 2, 3)
TERN_LOCKS_HOLD(WhoAcquiresLosesItsLease, acquire_beside_its_own_end, 3, 3)
TERN_LOCKS_HOLD(AnUnlockThatComesLate, unlock_late, 2, 2)
TERN_LOCKS_HOLD(AnUnlockPastTheDeadline, unlock_late_by_the_clock, 2, 2)
TERN_LOCKS_HOLD(AWriteThatComesLate, write_late, 2, 2)
TERN_LOCKS_HOLD(AWritePastTheDeadline, write_late_by_the_clock, 3, 2)
TERN_LOCKS_HOLD(AWriteBesideAnUnlock, write_beside_an_unlock, 2, 2)

TEST(Locks, NobodyWaitsForAStoppedThread) {
  Locked l(Mutant::kNone, 3);
  expect_body_holds("locks, stopped", l.body(l.write_late_by_the_clock(), {2}),
                    {.preemptions = 1, .schedules = 2'000, .random = 0, .freeze = Freeze::kAllButOne});
}
// The scenes show what they are for: the write lands in some schedules, and is refused in others.
TEST(Locks, AFencedWriteLandsOrDoesNot) {
  Locked l(Mutant::kNone, 2);
  unsigned landed = 0, refused = 0;
  Body body = l.body(l.write_late(), {2});
  const auto check = body.check;
  body.check = [&] {
    (l.written ? landed : refused)++;
    if (l.written != (l.read(l.b.rig.own_index()) == 's')) return std::string("a write has another answer than effect");
    return check();
  };
  expect_body_holds("locks, landed or not", body, {.preemptions = 2, .schedules = 2'000, .random = 100});
  EXPECT_GT(landed, 0u);
  EXPECT_GT(refused, 0u);
}

#define TERN_LOCKS_FOUND(test, mutant, scene, threads, ...)                                          \
  TEST(LockMutants, test) {                                                                         \
    Locked l(mutant, threads);                                                                      \
    expect_body_fails("locks, planted " #test, l.body(l.scene(), {__VA_ARGS__}), {.preemptions = 2, .schedules = 20'000}); \
  }
TERN_LOCKS_FOUND(SetBlindly, Mutant::kLockSetBlindly, two_acquire, 3, 2, 3)
TERN_LOCKS_FOUND(SetBlindlyAtTheDeadline, Mutant::kLockSetBlindly, two_acquire_by_the_clock, 2, 2, 3)
TERN_LOCKS_FOUND(UnlockedBlindly, Mutant::kLockUnlockedBlindly, unlock_late, 2, 2)
TERN_LOCKS_FOUND(UnlockedBlindlyPastTheDeadline, Mutant::kLockUnlockedBlindly, unlock_late_by_the_clock, 2, 2)
TERN_LOCKS_FOUND(ConditionAskedFirst, Mutant::kConditionAskedFirst, write_late, 2, 2)
TERN_LOCKS_FOUND(ConditionAskedFirstBesideAnUnlock, Mutant::kConditionAskedFirst, write_beside_an_unlock, 2, 2)

}  // namespace
}  // namespace tern::concurrency
