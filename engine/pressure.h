// Pressure: a budget that gives way when the container's memory is short, and comes back when it isn't.
//
// Looked at in maintenance alone, at most once a second. Short is: less than a sixteenth of the bound is left, or
// somebody waited for memory a tenth of the last ten seconds. Then the budget sinks by a sixteenth, not below the floor;
// while memory is plentiful (a quarter of the bound would still be left with the budget at its full size, and nobody
// waits) it rises by a sixteenth, not above what it was opened or resized to. Between the two nothing moves:
// without this gap the budget would swing, as what it gives up is what makes memory plentiful.
#ifndef TERN_ENGINE_PRESSURE_H_
#define TERN_ENGINE_PRESSURE_H_

#include <cstddef>
#include <cstdint>

namespace tern::detail {

template <class Sync>
class Pressure {
 public:
  static constexpr std::uint64_t kIntervalMs = 1000;

  void open(std::size_t full_bytes, std::size_t floor_bytes) noexcept {
    set_full(full_bytes);
    floor_bytes_ = floor_bytes;
  }
  bool is_open() const noexcept { return floor_bytes_ != 0; }
  // The budget that is gone back to: the caller's latest wish.
  void set_full(std::size_t bytes) noexcept { full_bytes_.store(bytes, std::memory_order_relaxed); }

  // Whether it is time to look; one of several callers is told so.
  bool is_due(std::uint64_t now_ms) noexcept {
    std::uint64_t next = next_ms_.load(std::memory_order_relaxed);  // the swap decides
    return now_ms >= next &&
           next_ms_.compare_exchange_strong(next, now_ms + kIntervalMs, std::memory_order_relaxed);
  }

  // The budget that there should be instead of `budget_bytes`; the same: leave it.
  std::size_t judge(std::uint64_t used_bytes, std::uint64_t limit_bytes, unsigned stalled_permille,
                    std::size_t budget_bytes) const noexcept {
    const std::size_t full = full_bytes_.load(std::memory_order_relaxed);  // a number
    const std::uint64_t left = limit_bytes > used_bytes ? limit_bytes - used_bytes : 0;
    const bool bounded = limit_bytes != 0;
    if ((bounded && left < limit_bytes / 16) || stalled_permille >= 100) {
      const std::size_t lower = whole_pages(budget_bytes - budget_bytes / 16);
      const std::size_t least = floor_bytes_ < budget_bytes ? floor_bytes_ : budget_bytes;
      return lower > least ? lower : least;
    }
    if (budget_bytes >= full || stalled_permille >= 10) return budget_bytes;
    if (bounded && left < limit_bytes / 4 + (full - budget_bytes)) return budget_bytes;
    const std::size_t higher = whole_pages(budget_bytes + full / 16);
    return higher < full ? higher : full;
  }

 private:
  static constexpr std::size_t whole_pages(std::size_t bytes) noexcept { return bytes & ~std::size_t{0xFFFF}; }

  typename Sync::template Atomic<std::uint64_t> next_ms_{};
  typename Sync::template Atomic<std::uint64_t> full_bytes_{};
  std::size_t floor_bytes_ = 0;
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_PRESSURE_H_
