// WeakSync: the atomics policy (alloc/sync.h) whose operations behave as the C++20 memory model
// allows, on top of the deterministic scheduler. x86 hides most of what this shows, a sequentially
// consistent scheduler all of it.
//
// The machine
//   Each address has its modification order: a list of messages {value, view}. A view says for each
//   address which message is the oldest that may still be read; every thread has one, and it only
//   rises. load       takes any message not older than the thread's view of the address (the
//   scheduler chooses; choice 0
//              is the newest) and raises the view to it. acquire: joins the message's view to the
//              thread's.
//   store      appends a message. release: the message carries the thread's view, else nothing.
//   RMW        reads the newest message, appends the next; carries on the view of the message that
//   it read (release
//              sequence), joined with the thread's if it is a release.
//   failed CAS is a load: it may have seen an older message, if that differs from what was
//   expected. seq_cst    also: takes a place in the total order S of C++20. S is kept as the
//   partial order that is forced: by
//              what strongly happens before, and by coherence at the same address. A seq_cst load
//              may return an old message if its place in S can still lie before the newer one's. No
//              view is passed on between addresses: an sc exchange doesn't order a later acquire
//              load elsewhere. (A global view joined by every sc operation is simpler, and was
//              rejected: it hides exactly the missing seq_cst of a slot load behind a seq_cst
//              announcement. S = order of execution was rejected, too: it hides the relaxed load of
//              the epoch, PROTOCOLS.md C.)
//
// Against the standard: every behaviour shown is one that C++20 allows. Not shown are those that
// need a store placed before an older one in modification order (2+2W with relaxed stores), and
// load buffering, which needs a load to see a later store (RC11 forbids it, the standard's wording
// discourages it). Fences: the library doesn't use them. Addresses are taken whole: mixed-size
// access to one word isn't modelled.
//
// Plain data: plain_write / plain_read keep vector clocks (FastTrack's happens-before) and fail the
// schedule on two unordered accesses, one a write; atomic accesses of the same bytes count too. A
// plain write stands for reuse as well: poison what you free with plain_write, and a reader that
// isn't ordered before it is caught.
//
// Memory holds the newest value of each address at any time, so checks read it directly. Memory
// that was rewritten by plain stores since its last message is noticed and starts anew, visible to
// all.
//
// Sources: Kang et al., "A promising semantics for relaxed-memory concurrency" (POPL 2017), without
// promises; Lahav et al., "Repairing sequential consistency in C/C++11" (PLDI 2017); Flanagan,
// Freund, "FastTrack" (PLDI 2009).
#ifndef TERN_TESTS_SYNC_WEAK_MEMORY_H_
#define TERN_TESTS_SYNC_WEAK_MEMORY_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "alloc/sync.h"
#include "tests/sync/sched_sync.h"
#include "tests/sync/scheduler.h"

namespace tern::concurrency {

// The machine's operations on words of 1, 2, 4 or 8 bytes. Each is a step of the scheduler.
namespace weak {
std::uint64_t load(const void* address, unsigned size, std::memory_order order) noexcept;
void store(void* address, unsigned size, std::uint64_t value, std::memory_order order) noexcept;
// An RMW in two halves with no step between them.
std::uint64_t update_read(void* address, unsigned size, std::memory_order order) noexcept;
void update_write(void* address, unsigned size, std::uint64_t value, Op op,
                  std::memory_order order) noexcept;
bool compare_exchange(void* address, unsigned size, std::uint64_t& expected, std::uint64_t desired,
                      std::memory_order success, std::memory_order failure, bool may_fail) noexcept;
// Plain data. No steps: unordered accesses are found in any interleaving.
void note_read(const void* address, std::size_t size) noexcept;
void note_write(const void* address, std::size_t size) noexcept;
}  // namespace weak

struct WeakEngine {
  template <class T>
  static T load(const T* p, std::memory_order order) noexcept {
    return from_word<T>(weak::load(p, sizeof(T), order));
  }
  template <class T>
  static void store(T* p, T desired, std::memory_order order) noexcept {
    weak::store(p, sizeof(T), to_word(desired), order);
  }
  template <class T, class F>
  static T update(T* p, Op op, std::memory_order order, F change) noexcept {
    const T before = from_word<T>(weak::update_read(p, sizeof(T), order));
    weak::update_write(p, sizeof(T), to_word(change(before)), op, order);
    return before;
  }
  template <class T>
  static bool compare_exchange(T* p, T& expected, T desired, std::memory_order success,
                               std::memory_order failure, bool may_fail) noexcept {
    std::uint64_t word = to_word(expected);
    if (weak::compare_exchange(p, sizeof(T), word, to_word(desired), success, failure, may_fail)) {
      return true;
    }
    expected = from_word<T>(word);
    return false;
  }
};

template <class T>
using WeakAtomic = BasicAtomic<T, WeakEngine>;

// The policy. `M` is the bug planted in this instantiation.
template <tern::detail::Mutant M = tern::detail::Mutant::kNone>
struct WeakSync {
  template <class T>
  using Atomic = WeakAtomic<T>;
  static constexpr tern::detail::Mutant mutant = M;
  static constexpr bool kWordwise = true;
  static void point(const char* name) noexcept { named_point(name); }
  static void plain_read(const void* p, std::size_t n) noexcept { weak::note_read(p, n); }
  static void plain_write(const void* p, std::size_t n) noexcept { weak::note_write(p, n); }
};

// Reads and writes of plain data that are also checked for races.
template <class T>
T checked_read(const T& from) noexcept {
  weak::note_read(&from, sizeof from);
  return from;
}
template <class T>
void checked_write(T& to, T value) noexcept {
  weak::note_write(&to, sizeof to);
  to = value;
}

}  // namespace tern::concurrency

#endif  // TERN_TESTS_SYNC_WEAK_MEMORY_H_
