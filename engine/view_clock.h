// ViewClock: the clock that orders every change against every view, and the register of views that are open.
//
// A write reads C after it was published and stamps its record with it; whoever meets an unstamped record stamps it.
// Opening a view moves C, and so does a listener that comes (events.h), and a batch while somebody listens; nothing else does. So
// "stamp <= s" says exactly: published before the view opened. A version is needed only while a view lies between its stamp and
// the next one's:
//
//   slot word of the register   0 free | PENDING|c0, an opening under way | ACTIVE|s | ENDED|s, to make room
//
// C moves by two and so is even. A batch that is told takes the odd number that it leapt over: nobody else's record has that stamp,
// and whoever sees it knows that it is a batch's, and which.
//
// Views of users and views that the store opens for itself (moment.h) have slots of their own, so that neither keeps the
// other from opening. An opener that stands still half-way holds versions as a view does, and is ended as one.
//
// Ending a view, then trimming what it alone needed; a reader of it walks, then looks at its slot once more (views.h):
// so a walk of a chain that was half trimmed is never believed.
//
// Edges
//   stamp     the opener's fetch_add of C / a stamper's load: a writer that reads a C past the view's stamp also sees
//             the view in the register, which was written before the fetch_add. So the writer keeps what it needs.
//   register  the opener's write / needed(); ending a view / its reader's second look
// Model: tests/models/views_and_batches.pml, view_stamp.c. Opening and closing are lock-free, O(1) while few views are
// open, and wait for nobody.
#ifndef TERN_ENGINE_VIEW_CLOCK_H_
#define TERN_ENGINE_VIEW_CLOCK_H_

#include <cstdint>

#include "alloc/sync.h"

namespace tern::detail {

constexpr std::uint64_t kClockStep = 2;
constexpr bool is_batch_stamp(std::uint64_t stamp) noexcept { return stamp % kClockStep != 0; }

enum class ViewOwner : std::uint8_t { kUser, kStore };

template <class Sync>
class ViewClock {
 public:
  using Word = typename Sync::template Atomic<std::uint64_t>;
  static constexpr unsigned kOfUsersMax = 64;
  static constexpr unsigned kOfStoreMax = 64;
  static constexpr unsigned kViewsMax = kOfUsersMax + kOfStoreMax;

  struct Opened {
    unsigned index = kViewsMax;  // kViewsMax: the register is full
    std::uint64_t stamp = 0;
    bool ok() const noexcept { return index != kViewsMax; }
  };

  // What a writer stamps with. seq_cst: ordered after the slot's compare-and-swap.
  std::uint64_t now() const noexcept { return clock_.load(std::memory_order_seq_cst); }  // [stamp] seq_cst

  // Who listens to changes (events.h): on the line that each write reads anyway.
  Word& listeners() noexcept { return listeners_; }
  const Word& listeners() const noexcept { return listeners_; }
  // False: who opens a view later finds what the caller has written before it asked.
  bool is_any_open() const noexcept { return open_count_.load(std::memory_order_seq_cst) != 0; }  // [register] seq_cst
  // Nobody has a view or listens to changes. Who comes after this look and reads the time then, reads one that is not before
  // what the caller had read when it asked.
  bool is_alone() const noexcept {
    return !is_any_open() &&
           listeners_.load(std::memory_order_seq_cst) == 0;     // [listen] seq_cst
  }
  // A moment between changes, for an invalidation point or a listener who comes: what is stamped before it has at most what this answers.
  std::uint64_t move() noexcept { return clock_.fetch_add(kStep, std::memory_order_seq_cst); }  // [stamp] seq_cst
  // The same, and a stamp that is nobody else's.
  std::uint64_t move_for_batch() noexcept { return planted<Sync>(Mutant::kBatchStampShared) ? now() : move() + 1; }
  static constexpr bool is_of_batch(std::uint64_t stamp) noexcept { return is_batch_stamp(stamp); }

  Opened open(ViewOwner owner) noexcept {
    const unsigned first = owner == ViewOwner::kUser ? 0 : kOfUsersMax;
    const unsigned end = owner == ViewOwner::kUser ? kOfUsersMax : kViewsMax;
    for (unsigned i = first; i != end; ++i) {
      std::uint64_t free = 0;
      if (register_[i].load(std::memory_order_relaxed) != 0) continue;  // a hint; the swap decides
      raise_end(owner, i + 1);
      const std::uint64_t pending = kPending | clock_.load(std::memory_order_seq_cst);
      if (!register_[i].compare_exchange_strong(free, pending, std::memory_order_seq_cst)) continue;  // [register]
      bytes_[i].store(0, std::memory_order_relaxed);        // a figure
      open_count_.fetch_add(1, std::memory_order_seq_cst);  // [register] seq_cst: before C moves
      Sync::point("view.registered");
      const std::uint64_t s = planted<Sync>(Mutant::kViewClockStands)
                                  ? clock_.load(std::memory_order_seq_cst)
                                  : clock_.fetch_add(kStep, std::memory_order_seq_cst);  // [stamp] seq_cst
      Sync::point("view.stamped");
      // Fails if it was ended meanwhile: then its first reader is told.
      std::uint64_t expected = pending;
      register_[i].compare_exchange_strong(expected, kActive | s, std::memory_order_seq_cst);  // [register] seq_cst
      return {i, s};
    }
    return {};
  }

  // ... and a time that was its moment's: what a view shows expired and what it shows changed are of one instant. Opened
  // anew, a bounded number of times, where the time went on meanwhile.
  template <class Time>
  Opened open_at_one_time(ViewOwner owner, const Time& time, std::uint64_t& now_ms) noexcept {
    now_ms = time.now();
    for (unsigned attempt = 0;; ++attempt) {
      const Opened view = open(owner);
      const std::uint64_t before = now_ms;
      now_ms = time.now();
      if (!view.ok() || now_ms == before || attempt == kOpenedAnewMax || planted<Sync>(Mutant::kViewOfTwoTimes)) return view;
      close(view);
    }
  }
  static constexpr unsigned kOpenedAnewMax = 8;

  void close(const Opened& view) noexcept {
    const bool kept = bytes_[view.index].exchange(0, std::memory_order_relaxed) != 0;  // figures
    given_up_[view.index].store(0, std::memory_order_relaxed);  // [register] publishes it to the slot's next owner
    register_[view.index].store(0, std::memory_order_seq_cst);  // [register] seq_cst
    open_count_.fetch_sub(1, std::memory_order_seq_cst);        // [register] seq_cst
    if (kept) ended_.fetch_add(1, std::memory_order_relaxed);   // a hint
  }

  // Whether what a reader of the view has found is the view's: nothing was taken from it before this look.
  bool is_open(const Opened& view) const noexcept {
    if (planted<Sync>(Mutant::kViewNotLookedAtAgain)) return true;
    return register_[view.index].load(std::memory_order_seq_cst) == (kActive | view.stamp);  // [register] seq_cst
  }

  // The view's only reader is done with the shards below `shards`, and reads them no more: what it keeps there may go.
  void give_up(const Opened& view, unsigned shards) noexcept {
    given_up_[view.index].store(shards, std::memory_order_relaxed);  // the register says whose it is; what was read is over
  }

  // Could a view ask for a version with stamp `t1` whose successor has `t2`? `shard` is called, if that matters, for where
  // its key lies.
  template <class ShardOf>
  bool needed(std::uint64_t t1, std::uint64_t t2, ShardOf&& shard) const noexcept {
    if (planted<Sync>(Mutant::kTrimNeeded)) return false;
    if (t1 == t2) return false;
    if (open_count_.load(std::memory_order_seq_cst) == 0) return false;  // [register] seq_cst
    bool some = false;
    for_each_needing(t1, t2, [&](unsigned i) {
      const std::uint64_t given_up = given_up_[i].load(std::memory_order_relaxed);  // see give_up
      some = given_up == 0 || shard() >= given_up || planted<Sync>(Mutant::kGivenUpIsKept);
      return !some;
    });
    return some;
  }

  // Ends the oldest view, of those that keep versions; one of a user if there is. False: there is none.
  bool end_oldest() noexcept {
    for (const bool any : {false, true}) {
      for (const unsigned first : {0u, kOfUsersMax}) {
        const unsigned end = first == 0 ? kOfUsersMax : kViewsMax;
        for (unsigned attempt = 0; attempt != kOfUsersMax; ++attempt) {
          const unsigned i = oldest(first, end, any);
          if (i == kViewsMax) break;
          std::uint64_t w = register_[i].load(std::memory_order_seq_cst);  // [register] seq_cst
          if ((w & (kPending | kActive)) == 0) continue;
          if (!register_[i].compare_exchange_strong(w, kEnded | (w & kStamp), std::memory_order_seq_cst)) {  // [register]
            continue;
          }
          Sync::point("view.ended");
          bytes_[i].store(0, std::memory_order_relaxed);      // a figure
          ended_.fetch_add(1, std::memory_order_relaxed);     // a hint
          ended_for_room_.fetch_add(1, std::memory_order_relaxed);  // a figure
          return true;
        }
      }
    }
    return false;
  }

  // --- what is kept for views: figures and hints -----------------------------------------------------------------

  // A version with these stamps stays, for each view that can ask for it.
  void keep(std::uint64_t t1, std::uint64_t t2, std::uint64_t bytes) noexcept {
    kept_versions_.fetch_add(1, std::memory_order_relaxed);    // a figure
    kept_bytes_.fetch_add(bytes, std::memory_order_relaxed);   // a figure
    for_each_needing(t1, t2, [&](unsigned i) {
      bytes_[i].fetch_add(bytes, std::memory_order_relaxed);  // a figure
      return true;
    });
  }
  void let_go(std::uint64_t bytes) noexcept {
    kept_versions_.fetch_sub(1, std::memory_order_relaxed);   // a figure
    kept_bytes_.fetch_sub(bytes, std::memory_order_relaxed);  // a figure
  }
  std::uint64_t kept_versions() const noexcept { return at_least_none(kept_versions_); }
  std::uint64_t kept_bytes() const noexcept { return at_least_none(kept_bytes_); }
  // More than they may: a sum over the views that are open, for what ended ones kept is on its way back.
  bool keep_too_much() const noexcept {
    if (kept_bytes() <= kept_bytes_max) return false;
    std::uint64_t sum = 0;
    for (const Word& bytes : bytes_) sum += bytes.load(std::memory_order_relaxed);  // figures
    return sum > kept_bytes_max;
  }
  // Moves whenever versions may have lost the last view that needed them.
  std::uint64_t ended() const noexcept { return ended_.load(std::memory_order_relaxed); }
  std::uint64_t ended_for_room() const noexcept { return ended_for_room_.load(std::memory_order_relaxed); }
  std::uint64_t open_count() const noexcept { return open_count_.load(std::memory_order_relaxed); }

  void opened_at(const Opened& view, std::uint64_t ms) noexcept {
    opened_ms_[view.index].store(ms, std::memory_order_relaxed);  // a figure
  }
  // fn(std::uint64_t stamp, std::uint64_t opened_ms, std::uint64_t bytes, bool ended) for each view that isn't closed.
  template <class Fn>
  void for_each_view(Fn&& fn) const noexcept {
    for (unsigned i = 0; i != kViewsMax; ++i) {
      const std::uint64_t w = register_[i].load(std::memory_order_relaxed);  // a report
      if (w == 0) continue;
      fn(w & kStamp, opened_ms_[i].load(std::memory_order_relaxed),
         bytes_[i].load(std::memory_order_relaxed), (w & kEnded) != 0);  // as above
    }
  }

  std::uint64_t kept_bytes_max = ~std::uint64_t{0};

 private:
  static constexpr std::uint64_t kStep = kClockStep;
  static constexpr std::uint64_t kPending = std::uint64_t{1} << 63;
  static constexpr std::uint64_t kActive = std::uint64_t{1} << 62;
  static constexpr std::uint64_t kEnded = std::uint64_t{1} << 61;
  static constexpr std::uint64_t kStamp = (std::uint64_t{1} << 48) - 1;
  static constexpr unsigned kEndShift = 32;  // of `ends_`: users' slots below, the store's above

  // Slots beyond are free and have always been: the register's part that a writer looks at.
  void raise_end(ViewOwner owner, unsigned end) noexcept {
    const unsigned shift = owner == ViewOwner::kUser ? 0 : kEndShift;
    std::uint64_t now = ends_.load(std::memory_order_relaxed);  // the swap decides
    while ((now >> shift & 0xFFFFFFFF) < end) {
      const std::uint64_t to = (now & ~(std::uint64_t{0xFFFFFFFF} << shift)) | std::uint64_t{end} << shift;
      if (ends_.compare_exchange_weak(now, to, std::memory_order_seq_cst)) return;  // [register] seq_cst
    }
  }

  // fn(index) -> bool whether to go on, for each view that lies between the stamps.
  template <class Fn>
  void for_each_needing(std::uint64_t t1, std::uint64_t t2, Fn&& fn) const noexcept {
    const std::uint64_t ends = ends_.load(std::memory_order_seq_cst);  // [register] seq_cst
    const auto of_users = static_cast<unsigned>(ends & 0xFFFFFFFF);
    const auto of_store = static_cast<unsigned>(ends >> kEndShift);
    const auto is_needing = [&](unsigned i) {
      const std::uint64_t w = register_[i].load(std::memory_order_seq_cst);  // [register] seq_cst
      const std::uint64_t s = w & kStamp;
      if ((w & kActive) != 0) return t1 <= s && s < t2;
      return (w & kPending) != 0 && s < t2;
    };
    for (unsigned i = 0; i != of_users; ++i) {
      if (is_needing(i) && !fn(i)) return;
    }
    for (unsigned i = kOfUsersMax; i < of_store; ++i) {
      if (is_needing(i) && !fn(i)) return;
    }
  }

  unsigned oldest(unsigned first, unsigned end, bool any) const noexcept {
    unsigned found = kViewsMax;
    std::uint64_t least = ~std::uint64_t{0};
    for (unsigned i = first; i != end; ++i) {
      const std::uint64_t w = register_[i].load(std::memory_order_seq_cst);  // [register] seq_cst
      if ((w & (kPending | kActive)) == 0 || (w & kStamp) >= least) continue;
      if (!any && bytes_[i].load(std::memory_order_relaxed) == 0) continue;  // a figure
      least = w & kStamp;
      found = i;
    }
    return found;
  }

  // Who takes away may be counted before who added.
  static std::uint64_t at_least_none(const Word& figure) noexcept {
    const std::uint64_t n = figure.load(std::memory_order_relaxed);  // a figure
    return n >> 63 != 0 ? 0 : n;
  }

  // Read by every write; written by views only.
  alignas(128) Word clock_{};
  Word open_count_{};
  Word listeners_{};
  Word ends_{};
  Word ended_{};
  Word ended_for_room_{};
  alignas(128) Word register_[kViewsMax]{};
  // Written when a version stays or goes.
  alignas(128) Word kept_versions_{};
  Word kept_bytes_{};
  Word bytes_[kViewsMax]{};
  Word given_up_[kViewsMax]{};  // shards that the view reads no more
  Word opened_ms_[kViewsMax]{};
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_VIEW_CLOCK_H_
