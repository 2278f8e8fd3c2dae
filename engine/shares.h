// Shares: whose entries make room where namespaces have shares of the budget.
//
// A namespace with a share has queues of its own (a pool); all that have none are one, with what the shares leave. Who has
// most bytes for his share gives the next victim. So a store that is full settles where all who want more have equally much
// of their shares, what one doesn't use is the others', and nobody loses what is within his share to another's writes.
//
// An entry may stand in the queues that all share although its namespace has a pool: it came before the share was known.
// It moves when its turn comes.
//
// Pools are added while others look, and stay: 100 of them at most, a list in private memory. Wait-free but for the list's
// swap; O(pools) a victim.
//
// Edges
//   share   linking a pool / following the list
#ifndef TERN_ENGINE_SHARES_H_
#define TERN_ENGINE_SHARES_H_

#include <algorithm>
#include <cstdint>
#include <new>

#include "alloc/private_memory.h"
#include "engine/names.h"

namespace tern::detail {

// Queues is what a pool has.
template <class Sync, class Queues>
class Shares {
 public:
  using Word = typename Sync::template Atomic<std::uint64_t>;
  using Slot = typename Names<Sync>::Slot;

  struct alignas(128) Pool {
    Queues queues;
    const Slot* slot = nullptr;
    unsigned name = 0;
    unsigned percent = 0;
    Pool* next = nullptr;

    std::uint64_t bytes() const noexcept { return Slot::figure(slot->bytes); }
  };

  Shares() = default;
  Shares(const Shares&) = delete;
  Shares& operator=(const Shares&) = delete;
  ~Shares() {
    for (Pool* p = first(); p != nullptr;) {
      Pool* const next = p->next;
      p->~Pool();
      alloc::private_free(p);
      p = next;
    }
  }

  bool any() const noexcept { return first() != nullptr; }

  // Once for each name. False: no memory.
  bool add(const Slot& slot, unsigned name, unsigned percent) noexcept {
    void* memory = alloc::private_allocate_aligned(sizeof(Pool), alignof(Pool));
    if (memory == nullptr) return false;
    Pool* const pool = new (memory) Pool{};
    pool->slot = &slot;
    pool->name = name;
    pool->percent = percent;
    std::uint64_t there = first_.load(std::memory_order_acquire);  // [share] acquire
    do {
      pool->next = reinterpret_cast<Pool*>(there);
      if (planted<Sync>(Mutant::kShareLinkedByStore)) {
        first_.store(reinterpret_cast<std::uint64_t>(pool), std::memory_order_release);  // [share] release
        return true;
      }
    } while (!first_.compare_exchange_weak(there, reinterpret_cast<std::uint64_t>(pool), std::memory_order_acq_rel));  // [share]
    return true;
  }
  Pool* find(unsigned name) const noexcept {
    Pool* p = first();
    while (p != nullptr && p->name != name) p = p->next;
    return p;
  }
  template <class Fn>
  void for_each(Fn&& fn) const noexcept {
    for (Pool* p = first(); p != nullptr; p = p->next) fn(*p);
  }

  // Whose turn it is, if all entries together take `used` bytes; null: one of those without a share.
  Pool* turn(std::uint64_t used) const noexcept {
    Pool* most = nullptr;
    std::uint64_t most_bytes = 0, rest = used;
    unsigned rest_percent = 100;
    for (Pool* p = first(); p != nullptr; p = p->next) {
      const std::uint64_t bytes = p->bytes();
      rest -= std::min(rest, bytes);
      rest_percent -= std::min(rest_percent, p->percent);
      if (most == nullptr || bytes * most->percent > most_bytes * p->percent) {
        most = p;
        most_bytes = bytes;
      }
    }
    if (most == nullptr || most_bytes == 0 || rest * most->percent > most_bytes * rest_percent) return nullptr;
    return most;
  }
  // The pool with most for its share, but for `other`; null: there is none that has anything.
  Pool* fullest(const Pool* other) const noexcept {
    Pool* most = nullptr;
    for (Pool* p = first(); p != nullptr; p = p->next) {
      if (p == other || p->bytes() == 0) continue;
      if (most == nullptr || p->bytes() * most->percent > most->bytes() * p->percent) most = p;
    }
    return most;
  }

 private:
  Pool* first() const noexcept {
    return reinterpret_cast<Pool*>(first_.load(std::memory_order_acquire));  // [share] acquire
  }
  Word first_{};
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_SHARES_H_
