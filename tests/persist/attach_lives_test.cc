// A store in shared memory whose process is killed at random, among several threads: life after life of one file. What must be
// there is kept outside, in a page that a kill doesn't reach.
#include <signal.h>
#include <sys/wait.h>
#include <tern/batch.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "persist/dead_arena.h"
#include "tests/persist/attach_fixture.h"

namespace tern::test {
namespace {

using persist::DeadBug;

// What several threads do until they are killed. Each has keys of its own, and says before and after each operation which of
// its states it is about to make: the one that was acknowledged last, or the one that was under way, must be found.
struct RandomLog {
  static constexpr unsigned kThreads = 3, kKeys = 48, kGroups = 8;
  struct Cell {
    std::atomic<std::uint64_t> wanted{0}, done{0};
  };
  Cell key[kThreads][kKeys];
  Cell group[kThreads][kGroups];  // three keys that a batch changes together
  std::atomic<std::uint64_t> incremented[kThreads];  // of one counter that all have
  std::atomic<std::uint64_t> token[kThreads];        // the greatest that was given
  std::atomic<std::uint64_t> version{0};             // about the greatest
  std::atomic<std::uint64_t> clears{0};               // begun
  std::atomic<std::uint64_t> cleared{0};              // returned: the last of them
  // The set that returned last, and how many clears had begun when it did: those after it must have removed it.
  struct Churned {
    std::atomic<std::uint64_t> number{0}, clears{0};
    std::atomic<bool> none_under_way{false};  // from before the set until after it
  };
  static constexpr unsigned kChurned = 200;
  Churned churned[kThreads][kChurned];
  std::atomic<std::uint64_t> started{0};
};

std::string value_for(std::uint64_t n, unsigned key) {
  return numbered("", n) + ":" + pattern(n % 17 == 0 ? 9'000 : (n * 31 + key) % 300, static_cast<unsigned>(n));
}
bool is_removal(std::uint64_t n) { return n % 5 == 4 || n == 0; }
// What a key has in its n-th state; 0: nothing was ever done with it.
std::optional<std::string> state_of(std::uint64_t n, unsigned key) {
  if (is_removal(n)) return std::nullopt;
  return value_for(n, key);
}

class AttachRandomKill : public KillTest {
 protected:
  ~AttachRandomKill() override { persist::planted_bug<DeadBug> = DeadBug::kNone; }

  void work(const Store& store, RandomLog& l, unsigned me, unsigned seed) {
    Random random(seed * 7 + me);
    const std::string mine = numbered("t", me) + ":";
    for (;;) {
      const unsigned k = random() % RandomLog::kKeys;
      auto& cell = l.key[me][k];
      const std::string key = mine + std::to_string(k);
      const auto next = [](RandomLog::Cell& c) {
        const std::uint64_t n = c.done.load() + 1;
        c.wanted.store(n);
        return n;
      };
      switch (random() % 16) {
        case 0: {
          const unsigned g = random() % RandomLog::kGroups;
          const std::uint64_t n = next(l.group[me][g]);
          WriteBatch b;
          for (unsigned i = 0; i != 3; ++i) {
            const std::string name = mine + "g" + std::to_string(g) + "." + std::to_string(i);
            if (is_removal(n)) {
              b.del(name);
            } else {
              b.set(name, value_for(n, i));
            }
          }
          if (store.write(b).ok()) l.group[me][g].done.store(n);
          break;
        }
        case 1:
          if (store.increment("counter").ok()) l.incremented[me].fetch_add(1);
          break;
        case 2: {
          auto lock = store.try_lock("lock" + std::to_string(me), {.ttl = 1h});
          if (!lock.ok()) break;
          l.token[me].store(lock->token());
          (void)lock->unlock();
          break;
        }
        case 3: {
          const auto view = store.view();
          std::uint64_t sum = 0;
          if (view.ok()) (void)view->for_each([&](const ViewEntry& e) { return (sum += e.value.size()) < 20'000; });
          break;
        }
        case 4: (void)store.tick(200us); break;
        case 5:
          if (me == 0) {
            const std::uint64_t n = l.clears.fetch_add(1) + 1;
            if (store.del_prefix("churn:").ok()) l.cleared.store(n);
          } else {
            for (unsigned i = 0; i != 40; ++i) {
              const unsigned c = random() % RandomLog::kChurned;
              auto& churned = l.churned[me][c];
              const std::uint64_t n = churned.number.load() + 1, before = l.clears.load();
              const bool is_quiet = l.cleared.load() == before;
              if (!store.set("churn:" + std::to_string(me) + "." + std::to_string(c), std::to_string(n)).ok()) continue;
              const std::uint64_t clears = l.clears.load();
              churned.none_under_way.store(is_quiet && clears == before);
              churned.clears.store(clears);
              churned.number.store(n);
            }
          }
          break;
        default: {
          const std::uint64_t n = next(cell);
          bool good = false;
          if (is_removal(n)) {
            good = store.del(key).ok();
          } else {
            const auto version = store.set(key, value_for(n, k), random() % 4 == 0 ? SetOptions{.ttl = 1h} : SetOptions{});
            good = version.ok();
            if (good && *version > l.version.load()) l.version.store(*version);
          }
          if (good) cell.done.store(n);
        }
      }
    }
  }

  static bool is_one_of(const std::optional<std::string>& found, const RandomLog::Cell& cell, unsigned key, bool may_miss, std::uint64_t* which) {
    for (const std::uint64_t n : {cell.wanted.load(), cell.done.load()}) {
      if (found == state_of(n, key)) {
        *which = n;
        return true;
      }
    }
    *which = ~std::uint64_t{0};
    return may_miss && !found;
  }

  std::string check(const Store& store, RandomLog& l, bool may_miss) {
    if (!whole(store)) return "verify";
    for (unsigned t = 0; t != RandomLog::kThreads; ++t) {
      const std::string mine = numbered("t", t) + ":";
      for (unsigned k = 0; k != RandomLog::kKeys; ++k) {
        std::uint64_t which = 0;
        if (!is_one_of(value_of(store, mine + std::to_string(k)), l.key[t][k], k, may_miss, &which)) return "key " + mine + std::to_string(k);
        if (which != ~std::uint64_t{0}) l.key[t][k].done = l.key[t][k].wanted = which;
      }
      for (unsigned g = 0; g != RandomLog::kGroups; ++g) {
        std::set<std::uint64_t> states;
        for (unsigned i = 0; i != 3; ++i) {
          std::uint64_t which = 0;
          const std::string name = mine + "g" + std::to_string(g) + "." + std::to_string(i);
          if (!is_one_of(value_of(store, name), l.group[t][g], i, may_miss, &which)) return "batch's key " + name;
          if (which != ~std::uint64_t{0}) states.insert(which);
        }
        if (states.size() > 1) return "half a batch " + mine + std::to_string(g);
        if (states.size() == 1) l.group[t][g].done = l.group[t][g].wanted = *states.begin();
      }
      auto lock = store.try_lock("lock" + std::to_string(t), {.ttl = 1h});
      if (lock.ok() && lock->token() <= l.token[t].load()) return "a fencing token again";
      if (lock.ok()) l.token[t] = lock->token();
      // Else it died with the lock, and keeps it.
      if (!lock.ok()) {
        const auto info = store.lock_info("lock" + std::to_string(t));
        if (!info.found() || info->token < l.token[t].load()) return "a lock of the past";
        (void)store.unlock("lock" + std::to_string(t), info->token);
      }
    }
    std::uint64_t sum = 0;
    for (auto& n : l.incremented) sum += n.load();
    const auto counter = value_of(store, "counter");
    const std::uint64_t counted = counter ? std::stoull(*counter) : 0;
    if (!(may_miss && counted < sum) && (counted < sum || counted > sum + RandomLog::kThreads)) {
      return "counter " + std::to_string(counted) + " of " + std::to_string(sum);
    }
    for (auto& n : l.incremented) n = 0;
    l.incremented[0] = counted;
    std::string wrong;
    for (unsigned t = 0; t != RandomLog::kThreads; ++t) {
      for (unsigned c = 0; c != RandomLog::kChurned; ++c) {
        const std::string key = "churn:" + std::to_string(t) + "." + std::to_string(c);
        auto& churned = l.churned[t][c];
        const auto found = value_of(store, key);
        const std::uint64_t n = found ? std::stoull(*found) : 0;
        if (n != 0 && n == churned.number.load() && l.cleared.load() > churned.clears.load()) wrong = "what was cleared: " + key;
        if (n != 0 && n < churned.number.load()) wrong = "what was replaced: " + key;
        if (n == 0 && churned.number.load() != 0 && churned.none_under_way.load() && l.clears.load() == churned.clears.load() && !may_miss) wrong = "lost: " + key;
        if (n > churned.number.load()) {  // it was under way
          churned.clears = l.clears.load();
          churned.none_under_way = true;
          churned.number = n;
        }
      }
    }
    const auto version = store.set("after", "1");
    if (version.ok() && *version <= l.version.load()) return "a version again";
    return wrong;
  }

  // Lives that follow each other, each killed after a while.
  std::string run(unsigned kills, unsigned seed, bool may_miss) {
    Shared<RandomLog> l;
    Random random(seed);
    for (unsigned n = 0; n != kills; ++n) {
      l->started = 0;
      const pid_t child = ::fork();
      if (child == 0) {
        const Result<Store> store = attach();
        if (!store.ok()) ::_exit(1);
        std::vector<std::thread> all;
        for (unsigned t = 0; t != RandomLog::kThreads; ++t) all.emplace_back([&, t] { work(*store, *l, t, seed * 1'000 + n); });
        l->started = 1;
        for (auto& t : all) t.join();
        ::_exit(0);
      }
      while (l->started.load() == 0 && ::waitpid(child, nullptr, WNOHANG) == 0) ::usleep(100);
      ::usleep(random() % 6'000);
      ::kill(child, SIGKILL);
      ::waitpid(child, nullptr, 0);
      const Result<Store> store = attach();
      if (!store.ok()) return "attach: " + why();
      if (n != 0 && !report.found) return "nothing there";
      if (const std::string wrong = check(*store, *l, may_miss); !wrong.empty()) return wrong + ", kill " + std::to_string(n);
    }
    return "";
  }
};

TEST_F(AttachRandomKill, WhatWasAcknowledgedIsThere) {
  options.shard_count = 2;
  options.memory_bytes = 16 * kMiB;
  options.clock = nullptr;
  threads = 2;
  EXPECT_EQ(run(quick_or_long(40u, 300u), 1, false), "");
}
TEST_F(AttachRandomKill, InOrderAndWithAThreadForMaintenance) {
  options.shard_count = 4;
  options.memory_bytes = 16 * kMiB;
  options.clock = nullptr;
  options.ordered = true;
  options.maintenance = Maintenance::kBackground;
  EXPECT_EQ(run(quick_or_long(30u, 300u), 2, false), "");
}
TEST_F(AttachRandomKill, WhatIsEvictedIsGoneAndNothingOldComesBack) {
  options.clock = nullptr;
  options.eviction = true;
  options.entries_max = 600;
  EXPECT_EQ(run(quick_or_long(30u, 300u), 3, true), "");
}
// Versions that begin anew are found.
TEST_F(AttachRandomKill, ABaseThatStaysIsFound) {
  options.shard_count = 2;
  options.memory_bytes = 16 * kMiB;
  options.clock = nullptr;
  persist::planted_bug<DeadBug> = DeadBug::kBaseStays;
  EXPECT_NE(run(20, 1, false), "");
}

}  // namespace
}  // namespace tern::test
