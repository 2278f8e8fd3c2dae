// A full store of three entries under the scheduler: every insert makes room, beside overwrites, removals, holds, views
// and splits of the keys that are to go. A record that has taken a victim's place stays; what is held or marked KEEP
// stays; each key that can be evicted keeps exactly one entry in the queues; each eviction is told once, and a miss is
// legal only after one that was told.
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "tests/engine/schedules/exploring.h"

namespace tern::concurrency {
namespace {

using tern::detail::EvictionSetting;
using tern::RemovalCause;

constexpr unsigned kLoose = 0;
constexpr unsigned kStrict = 3;  // newcomers fight duels
static_assert(tern::detail::kEvictionSettings[kLoose].gate == EvictionSetting::kLoose &&
              tern::detail::kEvictionSettings[kStrict].gate == EvictionSetting::kStrict);

struct Full {
  using R = RigOf<OneEngineSync>;
  using Sync = typename R::Sync;
  static constexpr unsigned kRoom = 3;

  // `deadline_ms`: of those that are there; 0: they have none.
  explicit Full(Mutant planted, int threads, unsigned setting = kLoose, std::uint64_t deadline_ms = 0)
      : rig(planted, threads, std::size_t{4} << 20, [&](tern::detail::CoreOptions& o) {
          o.eviction = true;
          o.entries_max = kRoom;
          o.eviction_setting = setting;
          o.removal_hook = {&Full::told_of, this};
        }) {
    KeyFinder finder;
    for (Key& key : there) key = finder.in_bucket(16);  // bucket 0 until there are 17
    for (Key& key : fresh) key = finder.in_bucket(16);
    rig.keys_told = fresh[1].id;
    rig.now_ms = 50;
    const int own = rig.own_index();
    for (const Key& key : there) rig.set(own, key, "0", {.has_deadline = deadline_ms != 0, .deadline_ms = deadline_ms});
    rig.core().space.epoch.set_limits(1 << 18, 64);
    settle();
    rig.freeze();
    told_before = told;
    rig.at_end = [this] { finish(); };
  }

  static void told_of(void* user, std::string_view key, std::string_view, RemovalCause cause) {
    auto& self = *static_cast<Full*>(user);
    if (cause != RemovalCause::kEvicted) return;
    ++self.told;
    for (const Key* k : self.keys()) {
      if (k->view() == key) return self.rig.evicted(k->id);
    }
    self.rig.complain("a key was evicted that nobody knows");
  }
  std::vector<const Key*> keys() const { return {&there[0], &there[1], &there[2], &fresh[0], &fresh[1]}; }

  // --- what threads do ---

  void put(int t, const Key& key, std::string_view value) {
    if (rig.set(t, key, value) == 0) rig.complain("a set was refused");
  }
  void keep(int t, const Key& key) {
    kept = rig.set(t, key, "k", {.keep = true}) != 0 ? &key : nullptr;
    if (kept == nullptr) rig.complain("a set was refused");
  }
  void hold(int t, const Key& key) { rig.hold_for_a_step(t, key); }
  void evict(int t) {
    {
      tern::detail::Guard<Sync> guard(rig.core().space, rig.thread(t));
      (void)rig.core().eviction.evict_one(rig.thread(t));
    }
    rig.core().hand_out_removals(rig.thread(t));
  }

  // --- what must be so in the end ---

  // What threads hold back goes to the queues.
  void settle() {
    tern::detail::Guard<Sync> guard(rig.core().space, rig.own());
    rig.core().space.for_each_thread_state([&](auto& t) { rig.core().eviction.settle(t); });
  }

  void finish() {
    const int own = rig.own_index();
    for (const Key* key : keys()) rig.get(own, *key);
    if (kept != nullptr && rig.get(own, *kept) != "k") rig.complain("an entry that is never evicted has gone");
    auto& core = rig.core();
    std::uint64_t evicted = 0;
    core.space.for_each_thread_state([&](auto& t) { evicted += t.counters.evicted.get(); });
    if (evicted != told) {
      rig.complain(std::to_string(told) + " evictions were told of " + std::to_string(evicted));
    }
    if (core.bound.entries.load(std::memory_order_relaxed) != core.live_entries()) {
      rig.complain("the bound counts " + std::to_string(core.bound.entries.load(std::memory_order_relaxed)) +
                   " entries of " + std::to_string(core.live_entries()));
    }
    const auto& format = core.eviction.queues().format();
    settle();
    for (const Key* key : keys()) {
      tern::detail::Guard<Sync> guard(core.space, rig.own());
      const auto found = core.table.find(key->hash, key->view());
      if (!found || found.stamp.tomb() || found.record->hold_word().keep()) continue;
      const auto name = [&](std::uint64_t entry) {
        return format.pack(format.hash(entry), format.gen(entry));
      };
      const std::uint64_t wanted = format.pack(key->hash, found.word.gen());
      unsigned entries = 0;
      core.eviction.queues().walk([&](std::uint64_t entry, bool) { entries += name(entry) == wanted; });
      if (entries != 1) {
        rig.complain(std::string(key->view()) + " has " + std::to_string(entries) + " entries in the queues");
      }
    }
  }
  void restore() {
    rig.restore();
    told = told_before;
    kept = nullptr;
  }
  std::string check() { return rig.check(); }
  std::string check_stopped() { return rig.check_stopped(); }

  // --- bodies ---

  Threads two_inserts() {
    return {[this] { put(0, fresh[0], "1"); }, [this] { put(1, fresh[1], "2"); }};
  }
  // Some were read: they change their queue.
  Threads inserts_and_reads() {
    return {[this] { put(0, fresh[0], "1"); }, [this] { put(1, fresh[1], "2"); },
            [this] { rig.copy(2, there[0]), rig.copy(2, there[1]); }};
  }
  Threads beside_an_overwrite() {
    return {[this] { put(0, fresh[0], "1"); }, [this] { put(1, there[0], "2"); },
            [this] { rig.get(2, there[0]); }};
  }
  Threads beside_a_keep() {
    return {[this] { put(0, fresh[0], "1"); }, [this] { keep(1, there[0]); }};
  }
  Threads beside_a_removal() {
    return {[this] { put(0, fresh[0], "1"); },
            [this] {
              rig.del(1, there[0]);
              rig.set_nx(1, there[0], "2");
            }};
  }
  Threads one_key() {
    return {[this] { put(0, fresh[0], "1"); },
            [this] {
              rig.del(1, fresh[0]);
              put(1, fresh[0], "2");
            },
            [this] { evict(2); }};
  }
  Threads beside_a_hold() {
    return {[this] {
              put(0, fresh[0], "1");
              rig.reclaim(0);
            },
            [this] { hold(1, there[0]); }, [this] { put(2, fresh[1], "2"); }};
  }
  // The victim's deadline is moved.
  Threads beside_a_touch() {
    return {[this] { put(0, fresh[0], "1"); },
            [this] {
              rig.expire(1, there[0], 200);
              rig.get(1, there[0]);
            },
            [this] { put(2, there[1], "2"); }};
  }
  Threads beside_a_view() {
    return {[this] { put(0, fresh[0], "1"); }, [this] { rig.look(1, {&there[0], &there[1]}); },
            [this] { put(2, there[0], "2"); }};
  }
  Threads beside_a_split() {
    return {[this] { put(0, fresh[0], "1"); }, [this] { rig.grow(1); }, [this] { rig.copy(2, there[0]); }};
  }

  R rig;
  Key there[3], fresh[2];
  const Key* kept = nullptr;
  std::uint64_t told = 0, told_before = 0;
};

constexpr Bounds kTwo{.preemptions = 2, .schedules = 40'000, .random = 3'000};

TEST(Eviction, OfTwoInserts) {
  for (const unsigned setting : {kLoose, kStrict}) {
    Full f(Mutant::kNone, 2, setting);
    expect_holds("eviction, inserts " + std::to_string(setting), f, f.two_inserts(), kTwo);
  }
}
TEST(Eviction, BesideReadsThatCount) {
  for (const unsigned setting : {kLoose, kStrict}) {
    Full f(Mutant::kNone, 3, setting);
    expect_holds("eviction, reads " + std::to_string(setting), f, f.inserts_and_reads(), kTwo);
  }
}
TEST(Eviction, BesideAnOverwriteOfTheVictim) {
  for (const unsigned setting : {kLoose, kStrict}) {
    Full f(Mutant::kNone, 3, setting);
    expect_holds("eviction, overwrite " + std::to_string(setting), f, f.beside_an_overwrite(), kTwo);
  }
}
TEST(Eviction, BesideTheVictimsBecomingOneThatStays) {
  for (const unsigned setting : {kLoose, kStrict}) {
    Full f(Mutant::kNone, 2, setting);
    expect_holds("eviction, keep " + std::to_string(setting), f, f.beside_a_keep(), kTwo);
  }
}
TEST(Eviction, BesideTheVictimsRemovalAndReturn) {
  Full f(Mutant::kNone, 2);
  expect_holds("eviction, removal", f, f.beside_a_removal(), kTwo);
}
TEST(Eviction, OfAKeyThatComesAndGoes) {
  Full f(Mutant::kNone, 3);
  expect_holds("eviction, one key", f, f.one_key(), kTwo);
}
TEST(Eviction, BesideAHold) {
  Full f(Mutant::kNone, 3);
  f.rig.check_accounts = false;  // a record that its last holder is to free is in no limbo
  expect_holds("eviction, hold", f, f.beside_a_hold(), kTwo);
}
TEST(Eviction, BesideATouchOfTheVictim) {
  for (const unsigned setting : {kLoose, kStrict}) {
    Full f(Mutant::kNone, 3, setting, 100);
    expect_holds("eviction, touch " + std::to_string(setting), f, f.beside_a_touch(), kTwo);
  }
}
TEST(Eviction, OfMortalsBesideAView) {
  Full f(Mutant::kNone, 3, kLoose, 100);
  expect_holds("eviction, mortals and a view", f, f.beside_a_view(), kTwo);
}
TEST(Eviction, OfMortalsBesideAnOverwrite) {
  Full f(Mutant::kNone, 3, kLoose, 100);
  expect_holds("eviction, mortals and an overwrite", f, f.beside_an_overwrite(), kTwo);
}
TEST(Eviction, BesideAView) {
  Full f(Mutant::kNone, 3);
  expect_holds("eviction, view", f, f.beside_a_view(), kTwo);
}
TEST(Eviction, BesideASplit) {
  Full f(Mutant::kNone, 3);
  expect_holds("eviction, split", f, f.beside_a_split(), kTwo);
}
TEST(Eviction, NobodyWaitsForAStoppedThread) {
  constexpr Bounds stopped{.preemptions = 1, .schedules = 40'000, .random = 3'000, .freeze = Freeze::kAllButOne};
  Full f(Mutant::kNone, 3, kStrict);
  expect_holds("eviction, stopped", f, f.inserts_and_reads(), stopped);
  Full g(Mutant::kNone, 3);
  expect_holds("eviction, stopped beside an overwrite", g, g.beside_an_overwrite(), stopped);
}

TEST(EvictionMutants, EvictUnjudged) {
  Full f(Mutant::kEvictUnjudged, 2);
  expect_found("evict unjudged", f, f.beside_a_keep(), kTwo);
}
TEST(EvictionMutants, EvictEntryLost) {
  Full f(Mutant::kEvictEntryLost, 3);
  expect_found("evict, entry lost", f, f.beside_an_overwrite(), kTwo);
}
TEST(EvictionMutants, EntryPushedTwice) {
  Full f(Mutant::kEntryPushedTwice, 3);
  expect_found("entry pushed twice", f, f.beside_an_overwrite(), kTwo);
}
TEST(EvictionMutants, RemovalToldTwice) {
  Full f(Mutant::kRemovalToldTwice, 2);
  expect_found("removal told twice", f, f.two_inserts(), kTwo);
}
TEST(EvictionMutants, RemovalUntold) {
  Full f(Mutant::kRemovalUntold, 2);
  expect_found("removal untold", f, f.two_inserts(), kTwo);
}

}  // namespace
}  // namespace tern::concurrency
