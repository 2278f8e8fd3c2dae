// The hard budget: one word that holds the limit and what is charged against it.
//
// Both in one word, because a limit beside a counter lets a charge that was judged against the old
// limit land after `resize` has lowered it. The charge comes before the memory: a counter that is
// raised first and checked afterwards is over the limit in between, and two such calls refuse each
// other although one had room.
//
// Progress: lock-free; a failed exchange means that another thread's charge went through.
#ifndef TERN_ALLOC_BUDGET_H_
#define TERN_ALLOC_BUDGET_H_

#include <cstddef>
#include <cstdint>

#include "alloc/platform.h"
#include "alloc/sync.h"

namespace tern::alloc {

struct BudgetWord {
  static constexpr unsigned kUsedBits = 32, kLimitBits = 32;
  static_assert(kUsedBits + kLimitBits == 64, "used and limit in pages fill the word");
  std::uint64_t raw = 0;

  static constexpr BudgetWord of(std::uint64_t limit, std::uint64_t used) {
    return {limit << kUsedBits | used};
  }
  constexpr std::uint64_t used() const { return raw & 0xFFFF'FFFFu; }
  constexpr std::uint64_t limit() const { return raw >> kUsedBits; }
  constexpr bool has_room(std::uint64_t pages) const { return pages <= limit() - used(); }
  constexpr BudgetWord charged(std::uint64_t pages) const { return {raw + pages}; }
  constexpr BudgetWord with_limit(std::uint64_t pages) const { return of(pages, used()); }
};

template <class Sync>
class Budget {
 public:
  static constexpr std::uint64_t kPagesMax = 0xFFFF'FFFFu;
  static constexpr std::uint64_t pages_of(std::size_t bytes) {
    return bytes / platform::kPageBytes + (bytes % platform::kPageBytes != 0);
  }

  // Once, before anybody else looks.
  void open(std::uint64_t limit_pages) noexcept {
    word_.store(BudgetWord::of(limit_pages, 0).raw, std::memory_order_relaxed);
    target_.store(limit_pages, std::memory_order_relaxed);
  }

  // False, and nothing changed: no room.
  bool try_charge(std::uint64_t pages) noexcept {
    if (detail::planted<Sync>(detail::Mutant::kBudgetCheckedAfter)) {
      const BudgetWord before{word_.fetch_add(pages, std::memory_order_relaxed)};
      Sync::point("budget.charged");
      if (before.used() + pages <= before.limit()) return true;
      word_.fetch_sub(pages, std::memory_order_relaxed);
      return false;
    }
    // Relaxed: the word guards a number, not memory; whoever frees memory publishes it by its own
    // edge.
    BudgetWord word{word_.load(std::memory_order_relaxed)};
    do {
      if (!word.has_room(pages)) return false;
    } while (!word_.compare_exchange_weak(word.raw, word.charged(pages).raw,
                                          std::memory_order_relaxed, std::memory_order_relaxed));
    Sync::point("budget.charged");
    return true;
  }

  void refund(std::uint64_t pages) noexcept {
    const BudgetWord before{word_.fetch_sub(pages, std::memory_order_relaxed)};
    if (before.limit() > target()) [[unlikely]] lower();
  }

  // Where the limit is to go. Below what is in use it gets there in time: it follows what is in use
  // downwards, so that used <= limit holds at every instant and nothing that was given up can be
  // taken again.
  void set_target(std::uint64_t pages) noexcept {
    target_.store(pages, std::memory_order_relaxed);
    lower();
  }
  std::uint64_t target() const noexcept { return target_.load(std::memory_order_relaxed); }

  // The limit at once. False, and nothing changed: more than that is in use.
  bool try_set_limit(std::uint64_t limit_pages) noexcept {
    BudgetWord word{word_.load(std::memory_order_relaxed)};
    do {
      if (word.used() > limit_pages) return false;
    } while (!word_.compare_exchange_weak(word.raw, word.with_limit(limit_pages).raw,
                                          std::memory_order_relaxed, std::memory_order_relaxed));
    return true;
  }

  BudgetWord look() const noexcept { return {word_.load(std::memory_order_relaxed)}; }

 private:
  void lower() noexcept {
    BudgetWord word{word_.load(std::memory_order_relaxed)};
    for (;;) {
      const std::uint64_t goal = target();
      const std::uint64_t limit = word.used() > goal ? word.used() : goal;
      if (word.limit() <= limit) return;
      if (word_.compare_exchange_weak(word.raw, word.with_limit(limit).raw,
                                      std::memory_order_relaxed, std::memory_order_relaxed)) {
        return;
      }
    }
  }

  typename Sync::template Atomic<std::uint64_t> word_{0};
  typename Sync::template Atomic<std::uint64_t> target_{0};  // pages; the limit, but while it sinks
};

}  // namespace tern::alloc

#endif  // TERN_ALLOC_BUDGET_H_
