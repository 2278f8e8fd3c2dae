// SchedSync: the atomics policy (alloc/sync.h) under which every operation is a step of the
// deterministic scheduler. Sequentially consistent: for weaker orders see weak_memory.h.
//
// An atomic is exactly its value, so it overlays raw, zero-filled memory; what the scheduler knows
// of an address it keeps beside. All threads of an exploration are fibers of one system thread,
// hence the plain accesses.
#ifndef TERN_TESTS_SYNC_SCHED_SYNC_H_
#define TERN_TESTS_SYNC_SCHED_SYNC_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "alloc/sync.h"
#include "tests/sync/scheduler.h"

namespace tern::concurrency {

// The bits of any value that fits a word, and back.
template <class T>
std::uint64_t to_word(T value) noexcept {
  std::uint64_t word = 0;
  std::memcpy(&word, &value, sizeof value);
  return word;
}
template <class T>
T from_word(std::uint64_t word) noexcept {
  T value;
  std::memcpy(&value, &word, sizeof value);
  return value;
}

// The failure order that the one-order form of compare_exchange implies.
constexpr std::memory_order failure_order(std::memory_order order) noexcept {
  if (order == std::memory_order_acq_rel) return std::memory_order_acquire;
  if (order == std::memory_order_release) return std::memory_order_relaxed;
  return order;
}

// The interface of std::atomic over an engine of eight operations; `Engine` is SchedEngine or
// WeakEngine.
template <class T, class Engine>
class alignas(sizeof(T)) BasicAtomic {
  static_assert(sizeof(T) <= 8 && (sizeof(T) & (sizeof(T) - 1)) == 0, "atomics are words or less");
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  using value_type = T;
  static constexpr bool is_always_lock_free = true;

  constexpr BasicAtomic() noexcept : value_() {}
  constexpr BasicAtomic(T value) noexcept : value_(value) {}
  BasicAtomic(const BasicAtomic&) = delete;
  BasicAtomic& operator=(const BasicAtomic&) = delete;

  bool is_lock_free() const noexcept { return true; }

  T load(std::memory_order order = std::memory_order_seq_cst) const noexcept {
    return Engine::load(&value_, order);
  }
  void store(T desired, std::memory_order order = std::memory_order_seq_cst) noexcept {
    Engine::store(&value_, desired, order);
  }
  T exchange(T desired, std::memory_order order = std::memory_order_seq_cst) noexcept {
    return Engine::update(&value_, Op::kExchange, order, [desired](T) { return desired; });
  }
  bool compare_exchange_strong(T& expected, T desired, std::memory_order success,
                               std::memory_order failure) noexcept {
    return Engine::compare_exchange(&value_, expected, desired, success, failure, false);
  }
  bool compare_exchange_strong(T& expected, T desired,
                               std::memory_order order = std::memory_order_seq_cst) noexcept {
    return compare_exchange_strong(expected, desired, order, failure_order(order));
  }
  bool compare_exchange_weak(T& expected, T desired, std::memory_order success,
                             std::memory_order failure) noexcept {
    return Engine::compare_exchange(&value_, expected, desired, success, failure,
                                    weak_cas_may_fail());
  }
  bool compare_exchange_weak(T& expected, T desired,
                             std::memory_order order = std::memory_order_seq_cst) noexcept {
    return compare_exchange_weak(expected, desired, order, failure_order(order));
  }

  T fetch_add(T by, std::memory_order order =
                        std::memory_order_seq_cst) noexcept requires std::is_integral_v<T> {
    return Engine::update(&value_, Op::kAdd, order, [by](T v) { return static_cast<T>(v + by); });
  }
  T fetch_sub(T by, std::memory_order order =
                        std::memory_order_seq_cst) noexcept requires std::is_integral_v<T> {
    return Engine::update(&value_, Op::kSub, order, [by](T v) { return static_cast<T>(v - by); });
  }
  T fetch_and(T mask, std::memory_order order =
                          std::memory_order_seq_cst) noexcept requires std::is_integral_v<T> {
    return Engine::update(&value_, Op::kAnd, order,
                          [mask](T v) { return static_cast<T>(v & mask); });
  }
  T fetch_or(T mask, std::memory_order order =
                         std::memory_order_seq_cst) noexcept requires std::is_integral_v<T> {
    return Engine::update(&value_, Op::kOr, order,
                          [mask](T v) { return static_cast<T>(v | mask); });
  }
  T fetch_xor(T mask, std::memory_order order =
                          std::memory_order_seq_cst) noexcept requires std::is_integral_v<T> {
    return Engine::update(&value_, Op::kXor, order,
                          [mask](T v) { return static_cast<T>(v ^ mask); });
  }
  operator T() const noexcept { return load(); }

 private:
  T value_;
};

struct SchedEngine {
  template <class T>
  static T load(const T* p, std::memory_order order) noexcept {
    step(p);
    const T value = *p;
    record_event(Op::kLoad, p, to_word(value), static_cast<std::uint8_t>(order));
    return value;
  }
  template <class T>
  static void store(T* p, T desired, std::memory_order order) noexcept {
    step(p);
    *p = desired;
    record_event(Op::kStore, p, to_word(desired), static_cast<std::uint8_t>(order));
  }
  template <class T, class F>
  static T update(T* p, Op op, std::memory_order order, F change) noexcept {
    step(p);
    const T before = *p;
    *p = change(before);
    record_event(op, p, to_word(*p), static_cast<std::uint8_t>(order));
    return before;
  }
  template <class T>
  static bool compare_exchange(T* p, T& expected, T desired, std::memory_order success,
                               std::memory_order failure, bool may_fail) noexcept {
    step(p);
    const T before = *p;
    const bool equal = std::memcmp(&before, &expected, sizeof(T)) == 0;
    if (equal && !(may_fail && choose(2) == 1)) {
      *p = desired;
      record_event(Op::kCas, p, to_word(desired), static_cast<std::uint8_t>(success));
      return true;
    }
    record_event(Op::kCasFailed, p, to_word(before), static_cast<std::uint8_t>(failure));
    expected = before;
    return false;
  }
};

template <class T>
using SchedAtomic = BasicAtomic<T, SchedEngine>;

// The policy. `M` is the bug planted in this instantiation.
template <tern::detail::Mutant M = tern::detail::Mutant::kNone>
struct SchedSync {
  template <class T>
  using Atomic = SchedAtomic<T>;
  static constexpr tern::detail::Mutant mutant = M;
  static constexpr bool kWordwise = true;
  static void point(const char* name) noexcept { named_point(name); }
  // Plain data: a place where the thread can be interrupted, no more (the race detector is
  // WeakSync's).
  static void plain_read(const void* p, std::size_t) noexcept { step(p); }
  static void plain_write(const void* p, std::size_t) noexcept { step(p); }
};

static_assert(sizeof(SchedAtomic<std::uint64_t>) == 8 && alignof(SchedAtomic<std::uint64_t>) == 8);
static_assert(sizeof(SchedAtomic<std::uint8_t>) == 1 && sizeof(SchedAtomic<std::uint16_t>) == 2);

}  // namespace tern::concurrency

#endif  // TERN_TESTS_SYNC_SCHED_SYNC_H_
