// ViewClock: the clock that orders every change against every view, and the register of views that are open.
//
// A write reads C after it was published and stamps its record with it; whoever meets an unstamped record stamps it.
// Opening a view moves C, and nothing else does. So "stamp <= s" says exactly: published before the view opened. A
// version is needed only while a view lies between its stamp and the next one's:
//
//   slot word of the register   0 free | PENDING|c0, an opening under way | ACTIVE|s
//
// Edges
//   stamp     the opener's fetch_add of C / a stamper's load: a writer that reads a C past the view's stamp also sees
//             the view in the register, which was written before the fetch_add. So the writer keeps what it needs.
//   register  the opener's write / needed()
// Model: tests/models/views_and_batches.pml, view_stamp.c. Opening and closing are lock-free, O(1) while fewer than
// 64 views are open, and wait for nobody.
#ifndef TERN_ENGINE_VIEW_CLOCK_H_
#define TERN_ENGINE_VIEW_CLOCK_H_

#include <cstdint>

#include "alloc/sync.h"

namespace tern::detail {

template <class Sync>
class ViewClock {
 public:
  using Word = typename Sync::template Atomic<std::uint64_t>;
  static constexpr unsigned kViewsMax = 64;

  struct Opened {
    unsigned index = kViewsMax;  // kViewsMax: the register is full
    std::uint64_t stamp = 0;
    bool ok() const noexcept { return index != kViewsMax; }
  };

  // What a writer stamps with. seq_cst: ordered after the slot's compare-and-swap.
  std::uint64_t now() const noexcept { return clock_.load(std::memory_order_seq_cst); }  // [stamp] seq_cst

  Opened open() noexcept {
    for (unsigned i = 0; i != kViewsMax; ++i) {
      std::uint64_t free = 0;
      if (register_[i].load(std::memory_order_relaxed) != 0) continue;  // a hint; the swap decides
      const std::uint64_t pending = kPending | clock_.load(std::memory_order_seq_cst);
      if (!register_[i].compare_exchange_strong(free, pending, std::memory_order_seq_cst)) continue;  // [register]
      open_count_.fetch_add(1, std::memory_order_seq_cst);  // [register] seq_cst: before C moves
      Sync::point("view.registered");
      const std::uint64_t s = clock_.fetch_add(1, std::memory_order_seq_cst);  // [stamp] seq_cst
      std::uint64_t expected = pending;
      register_[i].compare_exchange_strong(expected, kActive | s, std::memory_order_seq_cst);  // [register] seq_cst
      return {i, s};
    }
    return {};
  }

  void close(const Opened& view) noexcept {
    register_[view.index].store(0, std::memory_order_seq_cst);  // [register] seq_cst
    open_count_.fetch_sub(1, std::memory_order_seq_cst);        // [register] seq_cst
  }

  // Could a view ask for a version with stamp `t1` whose successor has `t2`?
  bool needed(std::uint64_t t1, std::uint64_t t2) const noexcept {
    if (planted<Sync>(Mutant::kTrimNeeded)) return false;
    if (t1 == t2) return false;
    if (open_count_.load(std::memory_order_seq_cst) == 0) return false;  // [register] seq_cst
    for (const Word& word : register_) {
      const std::uint64_t w = word.load(std::memory_order_seq_cst);  // [register] seq_cst
      const std::uint64_t s = w & kStamp;
      if ((w & kActive) != 0 && t1 <= s && s < t2) return true;
      if ((w & kPending) != 0 && s < t2) return true;
    }
    return false;
  }

  std::uint64_t open_count() const noexcept { return open_count_.load(std::memory_order_relaxed); }  // statistics

 private:
  static constexpr std::uint64_t kPending = std::uint64_t{1} << 63;
  static constexpr std::uint64_t kActive = std::uint64_t{1} << 62;
  static constexpr std::uint64_t kStamp = (std::uint64_t{1} << 48) - 1;

  // Read by every write; written by views only.
  alignas(128) Word clock_{};
  Word open_count_{};
  alignas(128) Word register_[kViewsMax]{};
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_VIEW_CLOCK_H_
