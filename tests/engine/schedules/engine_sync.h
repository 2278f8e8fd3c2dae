// EngineSync: the policy under which these tests run the engine. SchedSync with two savings that
// make preemption bound 3 affordable, and with memory that shows when it was freed too early.
//
//   * A load of an address that no thread writes during the schedules is no step: it commutes with
//   everything. The
//     set of written addresses is learnt (explore() in rig.h) and never changes within one
//     exploration.
//   * A named point is no step unless a test asks for points: each lies next to an atomic operation
//   that is one.
//   * Plain bytes that are about to be written, or are freed, are overwritten with kScribble. A
//   reader that looks at
//     a record after it was freed meets them instead of its value.
#ifndef TERN_TESTS_ENGINE_SCHEDULES_ENGINE_SYNC_H_
#define TERN_TESTS_ENGINE_SCHEDULES_ENGINE_SYNC_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "alloc/sync.h"
#include "tests/sync/sched_sync.h"
#include "tests/sync/scheduler.h"

namespace tern::concurrency {

inline constexpr unsigned char kScribble = 0xDB;

// The addresses that are written while schedules run. What is found during an exploration counts
// from the next on.
class WrittenAddresses {
 public:
  static WrittenAddresses& instance() {
    static WrittenAddresses all;
    return all;
  }
  bool contains(const void* address) const {
    for (std::size_t i = hash(address) & mask();; i = (i + 1) & mask()) {
      if (table_[i] == address) return true;
      if (table_[i] == nullptr) return false;
    }
  }
  void note(const void* address) {
    if (contains(address)) return;
    for (const void* known : fresh_) {
      if (known == address) return;
    }
    fresh_.push_back(address);
  }
  // True: something was learnt, so what was skipped so far may have been a decision.
  bool merge() {
    const bool grew = !fresh_.empty();
    for (const void* address : fresh_) insert(address);
    fresh_.clear();
    return grew;
  }
  void clear() {
    table_.assign(1024, nullptr);
    used_ = 0;
    fresh_.clear();
  }

 private:
  std::size_t mask() const { return table_.size() - 1; }
  static std::size_t hash(const void* address) {
    return static_cast<std::size_t>(
        (reinterpret_cast<std::uintptr_t>(address) * 0x9e3779b97f4a7c15u) >> 20);
  }
  void insert(const void* address) {
    if (2 * ++used_ > table_.size()) {
      std::vector<const void*> old(table_.size() * 2, nullptr);
      old.swap(table_);
      for (const void* a : old) {
        if (a != nullptr) place(a);
      }
    }
    place(address);
  }
  void place(const void* address) {
    std::size_t i = hash(address) & mask();
    while (table_[i] != nullptr) i = (i + 1) & mask();
    table_[i] = address;
  }

  std::vector<const void*> table_ = std::vector<const void*>(1024, nullptr);
  std::size_t used_ = 0;
  std::vector<const void*> fresh_;
};

// What named points are to a test.
struct Points {
  static inline bool are_steps = false;
  static inline std::set<std::string>* seen = nullptr;  // by thread 0
};

struct EngineEngine {
  static inline std::uint64_t done = 0;  // outside of schedules: operations on atomic words

  template <class T>
  static T load(const T* p, std::memory_order order) noexcept {
    if (t_scheduler == nullptr) return ++done, *p;
    if (!WrittenAddresses::instance().contains(p) && !is_step_all_the_same()) return *p;
    return SchedEngine::load(p, order);
  }
  template <class T>
  static void store(T* p, T desired, std::memory_order order) noexcept {
    note(p);
    SchedEngine::store(p, desired, order);
  }
  template <class T, class F>
  static T update(T* p, Op op, std::memory_order order, F change) noexcept {
    note(p);
    return SchedEngine::update(p, op, order, change);
  }
  template <class T>
  static bool compare_exchange(T* p, T& expected, T desired, std::memory_order success,
                               std::memory_order failure, bool may_fail) noexcept {
    note(p);
    return SchedEngine::compare_exchange(p, expected, desired, success, failure, may_fail);
  }

 private:
  // A loop that only loads must end in the scheduler's step limit. Counted in each schedule anew, whoever sets its body up: else the same
  // choices would meet other steps in a later one.
  static bool is_step_all_the_same() noexcept {
    if (const std::uint64_t schedule = schedule_number(); schedule != skipped_in_) {
      skipped_in_ = schedule;
      skipped_ = 0;
    }
    return ++skipped_ % 1024 == 0;
  }
  static inline std::uint64_t skipped_ = 0, skipped_in_ = 0;
  static void note(const void* p) noexcept {
    if (t_scheduler == nullptr) return void(++done);
    WrittenAddresses::instance().note(p);
  }
};

struct OneEngineSync {
  template <class T>
  using Atomic = BasicAtomic<T, EngineEngine>;
  static inline tern::detail::Mutant mutant = tern::detail::Mutant::kNone;  // the rig's
  static constexpr bool kWordwise = true;
  static void point(const char* name) noexcept {
    if (t_scheduler == nullptr) return;
    if (Points::seen != nullptr && current_thread() == 0) Points::seen->insert(name);
    if (Points::are_steps) named_point(name);
  }
  static void plain_read(const void* p, std::size_t) noexcept {
    if (t_scheduler != nullptr && WrittenAddresses::instance().contains(p)) step(p);
  }
  static void plain_write(const void* p, std::size_t n) noexcept {
    if (t_scheduler != nullptr) {
      WrittenAddresses::instance().note(p);
      step(p);
    }
    std::memset(const_cast<void*>(p), kScribble, n);
  }
};

// The same for every bug: it is planted when the rig is made, so that the engine is compiled once for a test and not
// once for each bug.
template <tern::detail::Mutant>
using EngineSync = OneEngineSync;

}  // namespace tern::concurrency

#endif  // TERN_TESTS_ENGINE_SCHEDULES_ENGINE_SYNC_H_
