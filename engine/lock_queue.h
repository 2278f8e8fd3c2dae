// LockQueue: who waits for a lock, in the order in which they came: within this process.
//
// This is waiting by design, and no get or set comes here: a mutex for each of 16 groups of names, held for a few
// instructions. The first of a name's waiters waits for the lock itself, by the bus (lock.cc); each of the others sleeps on a
// bell of its own until those before it have gone. So a release wakes one thread, and nobody overtakes for ever.
//
// What waiting is made of is a parameter, so that the tests' scheduler drives it.
#ifndef TERN_ENGINE_LOCK_QUEUE_H_
#define TERN_ENGINE_LOCK_QUEUE_H_

#include <cstdint>
#include <mutex>
#include <string_view>

#include "alloc/platform.h"
#include "alloc/platform_bell.h"
#include "alloc/sync.h"

namespace tern::detail {

struct SystemWaiting {
  using Sync = StdSync;
  using Mutex = std::mutex;
  using Bell = alloc::platform::Bell;
  static std::uint64_t now_ns() noexcept { return alloc::platform::monotonic_ns(); }
};

template <class Waiting>
class BasicLockQueue {
 public:
  using Sync = typename Waiting::Sync;
  using Mutex = typename Waiting::Mutex;
  static constexpr unsigned kGroups = 16;

  // On its thread's stack, from enter() to leave().
  struct Waiter {
    std::string_view key;
    std::uint64_t hash = 0;
    Waiter* next = nullptr;
    typename Waiting::Bell bell;
  };

  bool has_any(std::string_view key, std::uint64_t hash) noexcept {
    const std::lock_guard<Mutex> lock(group(hash).mutex);
    return first_of(key, hash) != nullptr;
  }
  // At the end.
  void enter(Waiter& w) noexcept {
    Group& g = group(w.hash);
    const std::lock_guard<Mutex> lock(g.mutex);
    Waiter** at = &g.first;
    while (*at != nullptr) at = &(*at)->next;
    *at = &w;
  }
  // Until it is the first of its name (true), or the time is `end_ns` (false).
  bool wait_for_turn(Waiter& w, std::uint64_t end_ns) noexcept {
    for (;;) {
      std::uint32_t rung = w.bell.rung();  // before the look: who leaves after that rings
      if (is_first(w)) return true;
      if (planted<Sync>(Mutant::kLockBellReadLate)) rung = w.bell.rung();
      const std::uint64_t now = Waiting::now_ns();
      if (now >= end_ns) return false;
      w.bell.sleep(rung, end_ns - now);
    }
  }
  void leave(Waiter& w) noexcept {
    Group& g = group(w.hash);
    g.mutex.lock();
    Waiter** at = &g.first;
    while (*at != &w) at = &(*at)->next;
    *at = w.next;
    Waiter* const next = planted<Sync>(Mutant::kLockTurnUnrung) ? nullptr : first_of(w.key, w.hash);
    if (planted<Sync>(Mutant::kLockRungOutside)) g.mutex.unlock();
    // Under the mutex: it can't leave, and its bell with it, while it is rung.
    if (next != nullptr) next->bell.ring();
    if (!planted<Sync>(Mutant::kLockRungOutside)) g.mutex.unlock();
  }

 private:
  struct Group {
    Mutex mutex;
    Waiter* first = nullptr;
  };
  Group& group(std::uint64_t hash) noexcept { return groups_[hash >> 20 & (kGroups - 1)]; }
  Waiter* first_of(std::string_view key, std::uint64_t hash) noexcept {
    for (Waiter* w = group(hash).first; w != nullptr; w = w->next) {
      if (w->hash == hash && w->key == key) return w;
    }
    return nullptr;
  }
  bool is_first(Waiter& w) noexcept {
    const std::lock_guard<Mutex> lock(group(w.hash).mutex);
    return first_of(w.key, w.hash) == &w;
  }

  Group groups_[kGroups];
};
using LockQueue = BasicLockQueue<SystemWaiting>;

}  // namespace tern::detail

#endif  // TERN_ENGINE_LOCK_QUEUE_H_
