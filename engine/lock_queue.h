// LockQueue: who waits for a lock, in the order in which they came: within this process.
//
// This is waiting by design, and no get or set comes here: a mutex for each of 16 groups of names, held for a few
// instructions. The first of a name's waiters waits for the lock itself, by the bus (lock.cc); each of the others sleeps on a
// bell of its own until those before it have gone. So a release wakes one thread, and nobody overtakes for ever.
#ifndef TERN_ENGINE_LOCK_QUEUE_H_
#define TERN_ENGINE_LOCK_QUEUE_H_

#include <cstdint>
#include <mutex>
#include <string_view>

#include "alloc/platform.h"
#include "alloc/platform_bell.h"

namespace tern::detail {

class LockQueue {
 public:
  static constexpr unsigned kGroups = 16;

  // On its thread's stack, from enter() to leave().
  struct Waiter {
    std::string_view key;
    std::uint64_t hash = 0;
    Waiter* next = nullptr;
    alloc::platform::Bell bell;
  };

  bool has_any(std::string_view key, std::uint64_t hash) noexcept {
    const std::lock_guard<std::mutex> lock(group(hash).mutex);
    return first_of(key, hash) != nullptr;
  }
  // At the end.
  void enter(Waiter& w) noexcept {
    Group& g = group(w.hash);
    const std::lock_guard<std::mutex> lock(g.mutex);
    Waiter** at = &g.first;
    while (*at != nullptr) at = &(*at)->next;
    *at = &w;
  }
  // Until it is the first of its name (true), or the time is `end_ns` (false).
  bool wait_for_turn(Waiter& w, std::uint64_t end_ns) noexcept {
    for (;;) {
      const std::uint32_t rung = w.bell.rung();
      if (is_first(w)) return true;
      const std::uint64_t now = alloc::platform::monotonic_ns();
      if (now >= end_ns) return false;
      w.bell.sleep(rung, end_ns - now);
    }
  }
  void leave(Waiter& w) noexcept {
    Group& g = group(w.hash);
    const std::lock_guard<std::mutex> lock(g.mutex);
    Waiter** at = &g.first;
    while (*at != &w) at = &(*at)->next;
    *at = w.next;
    // Under the mutex: it can't leave, and its bell with it, while it is rung.
    if (Waiter* next = first_of(w.key, w.hash)) next->bell.ring();
  }

 private:
  struct Group {
    std::mutex mutex;
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
    const std::lock_guard<std::mutex> lock(group(w.hash).mutex);
    return first_of(w.key, w.hash) == &w;
  }

  Group groups_[kGroups];
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_LOCK_QUEUE_H_
