// SegQueue: a lock-free queue of 8-byte entries whose memory lies in the store's budget. What the
// queues of eviction and the positions of the timing wheel are made of: thousands of them, most of
// them empty, so an empty one is one or two words and holds no memory.
//
//   head ──> segment ──next──> segment ──next──> segment (the last: next is 0, or CLOSED on its way
//   out)
//                │ last, a hint                      ^
//                └───────────────────────────────────┘
//   segment, a heap block of 64 B, each next one twice as large up to 4 KiB, or, where the heap has none of that size, of whatever
//   its thread has at hand:
//     pushed   63 CLOSED | 31..0 cells given out (may run past their number)
//     popped   all cells below are TAKEN; may lag
//     next     offset of the next segment, 0, or CLOSED
//     last     hint: a segment at or after the next one; 0: none. Means something in the first
//     segment only cell[]   0, then an entry, then TAKEN; or TAKEN at once, if the entry's owner
//     was too slow
//
// push  walks to the last segment, takes a cell by fetch_add, and swaps 0 for the entry. Was the
// cell TAKEN meanwhile,
//       it takes another. No cell left: it links a new segment that has the entry in its first
//       cell.
// pop   takes the first cell that isn't TAKEN: swaps its entry for TAKEN. A cell that was given out
// and is still empty
//       is made TAKEN: its owner stands still, and those behind it don't wait. Several at once are as many pops, one behind
//       the other, that move `popped` once. A segment without
//       cells to come is unlinked and goes to the limbo (Space::retire_block), for somebody may
//       still be reading it.
// push_run links a whole segment that was filled before anybody sees it, so it costs one swap for all
// of its entries. The segment before it may then have cells to come: a pop closes it once it is empty.
// An emptied segment with cells to come stays, or is closed first (WhenEmpty::kRelease): the swap
// of `pushed` from exactly the number that was popped says that nobody has taken a cell meanwhile
// and nobody will.
//
// Invariants
//   1 an entry is in one cell only, and leaves it by one swap: it is popped once.
//   2 a cell that a push has filled is not passed over: `popped` only moves past TAKEN.
//   3 nothing is appended to a segment that was unlinked as the last: its `next` was CLOSED before,
//   by a swap from 0. 4 `last` of a segment leads to segments behind it, and they are unlinked
//   later: whoever read the first from `head`
//     inside its guard may follow it.
// Hence FIFO: of two entries whose pushes don't overlap, the earlier is popped first.
//
// Progress: lock-free; push and pop fail to go on only because another push or pop did. A thread
// stopped for ever in the middle of a push costs its entry, if that isn't in its cell yet; in the
// middle of a pop, the entries it took; else nothing. All calls are made inside a guard of the epoch.
// Cost: an atomic add and a swap a push, a swap a pop, on lines that only this queue's users touch;
// memory 8 bytes an entry and at most 4 KiB.
//
// Edges
//   segment   linking one (head, next, the hint) / following it: its words are initialised
//   entry     filling a cell / popping it: what its owner did before. seq_cst with the look at
//   `pushed`, so that "push,
//             then look elsewhere" against "write elsewhere, then pop" misses nothing (the wheel,
//             wheel.h)
//
// Source: the segments of Morrison and Afek, "Fast concurrent queues for x86 processors" (PPoPP
// 2013), with a swap instead of their double-width one, as entries are never 0; Michael and Scott's
// list of them, without a pointer to its end that would have to be kept in step with `head`.
#ifndef TERN_ENGINE_SEG_QUEUE_H_
#define TERN_ENGINE_SEG_QUEUE_H_

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <new>

#include "alloc/sync.h"
#include "engine/space.h"

namespace tern::detail {

// Bytes of a queue's first segment and of its largest. Tests make them small.
struct SegmentSizes {
  static constexpr std::size_t kFirst = 64;
  static constexpr std::size_t kLargest = 4096;
  static constexpr std::size_t kRun = 512;
};

template <class Sync>
struct Segment {
  using Word = typename Sync::template Atomic<std::uint64_t>;
  Word pushed;
  Word popped;
  Word next;
  Word last;

  Word& cell(std::uint64_t i) noexcept { return reinterpret_cast<Word*>(this + 1)[i]; }
  static constexpr std::uint64_t cells_of(std::size_t bytes) noexcept {
    return (bytes - sizeof(Segment)) / sizeof(std::uint64_t);
  }
};
static_assert(sizeof(Segment<StdSync>) == 32 && Segment<StdSync>::cells_of(64) == 4,
              "half of the first block is cells");

// One word; zero is the empty queue.
template <class Sync, class Sizes = SegmentSizes>
class SegList {
 public:
  using Word = typename Sync::template Atomic<std::uint64_t>;
  using Seg = Segment<Sync>;
  using Thr = Thread<Sync>;

  enum class WhenEmpty : std::uint8_t { kKeep, kRelease };
  static constexpr std::uint64_t kTaken = ~std::uint64_t{0};  // 0 and this are no entries

  // False: no memory for another segment; nothing was pushed.
  bool push(Space<Sync>& space, Thr& t, std::uint64_t entry) noexcept {
    std::uint64_t fresh = 0;
    for (;;) {
      const std::uint64_t first =
          head_.load(std::memory_order_seq_cst);  // [segment] seq_cst, [announce] seq_cst
      if (first == 0) {
        if (fresh == 0 && (fresh = make(space, t, Sizes::kFirst, &entry, 1)) == 0) return false;
        std::uint64_t none = 0;
        if (head_.compare_exchange_strong(none, fresh, link_order()))
          return true;  // [segment] release, [entry] seq_cst
        continue;
      }
      const End end = find_end(space, first);
      Seg& s = *space.heap.template at<Seg>(end.last);
      if (end.closed) {
        drop(space, t, end.last, 0);
        continue;
      }
      const std::uint64_t cells = Seg::cells_of(space.heap.block_bytes(end.last));
      if (s.pushed.load(std::memory_order_relaxed) <
          cells) {  // only a hint: no need to add to what is full
        const std::uint64_t i =
            s.pushed.fetch_add(1, std::memory_order_seq_cst);  // [entry] seq_cst
        Sync::point("queue.cell");
        if (i < cells) {
          std::uint64_t empty = 0;
          if (planted<Sync>(Mutant::kQueueCellByStore)) {
            s.cell(i).store(entry, std::memory_order_seq_cst);  // [entry] seq_cst
          } else if (!s.cell(i).compare_exchange_strong(
                         empty, entry, std::memory_order_seq_cst)) {  // [entry] seq_cst
            continue;
          }
          if (fresh != 0) space.heap.free(t.cache, fresh);  // nobody saw it
          return true;
        }
      }
      if (fresh == 0) {
        const std::size_t twice = std::bit_ceil(space.heap.block_bytes(end.last) + 1);
        fresh = make(space, t, std::clamp(twice, Sizes::kFirst, Sizes::kLargest), &entry, 1);
        if (fresh == 0) return false;
      }
      std::uint64_t none = 0;
      if (s.next.compare_exchange_strong(none, fresh,
                                         link_order())) {  // [segment] release, [entry] seq_cst
        Sync::point("queue.linked");
        space.heap.template at<Seg>(first)->last.store(
            fresh, std::memory_order_release);  // [segment] release
        return true;
      }
    }
  }

  // Entries that push_run takes at once.
  static constexpr unsigned kRunEntries =
      static_cast<unsigned>((Sizes::kRun - sizeof(Seg)) / sizeof(std::uint64_t));

  // Pushes kRunEntries entries, one behind the other. False: no memory for a segment; nothing was
  // pushed.
  bool push_run(Space<Sync>& space, Thr& t, const std::uint64_t* entries) noexcept {
    const std::uint64_t fresh = make(space, t, Sizes::kRun, entries, kRunEntries);
    if (fresh == 0) return false;
    for (;;) {
      const std::uint64_t first =
          head_.load(std::memory_order_seq_cst);  // [segment] seq_cst, [announce] seq_cst
      if (first == 0) {
        std::uint64_t none = 0;
        if (head_.compare_exchange_strong(none, fresh, link_order()))
          return true;  // [segment] release, [entry] seq_cst
        continue;
      }
      const End end = find_end(space, first);
      if (end.closed) {
        drop(space, t, end.last, 0);
        continue;
      }
      std::uint64_t none = 0;
      if (space.heap.template at<Seg>(end.last)->next.compare_exchange_strong(none, fresh,
                                         link_order())) {  // [segment] release, [entry] seq_cst
        Sync::point("queue.linked");
        space.heap.template at<Seg>(first)->last.store(
            fresh, std::memory_order_release);  // [segment] release
        return true;
      }
    }
  }

  // The oldest entry; 0: there is none.
  std::uint64_t pop(Space<Sync>& space, Thr& t, WhenEmpty when_empty = WhenEmpty::kKeep) noexcept {
    std::uint64_t entry = 0;
    return pop_some(space, t, &entry, 1, when_empty) != 0 ? entry : 0;
  }

  // The oldest entries, up to `count` that lie in one segment. Answers how many; 0: there is none.
  [[gnu::always_inline]] unsigned pop_some(Space<Sync>& space, Thr& t, std::uint64_t* out, unsigned count,
                                           WhenEmpty when_empty = WhenEmpty::kKeep) noexcept {
    for (;;) {
      const std::uint64_t first =
          head_.load(std::memory_order_seq_cst);  // [segment] seq_cst, [announce] seq_cst
      if (first == 0) return 0;
      Seg& s = *space.heap.template at<Seg>(first);
      const std::uint64_t cells = Seg::cells_of(space.heap.block_bytes(first));
      std::uint64_t i = s.popped.load(std::memory_order_acquire);  // [entry] acquire
      std::uint64_t pushed = s.pushed.load(std::memory_order_seq_cst);   // [entry] seq_cst
      if (i >= cells || (pushed & kClosed) != 0) {
        unlink_first(space, t, first);
        continue;
      }
      if (i >= pushed) {
        // [segment] seq_cst. Behind it a run was linked: what comes goes there, but for pushes under way.
        const bool is_last = s.next.load(std::memory_order_seq_cst) == 0;
        if (is_last && when_empty == WhenEmpty::kKeep) return 0;
        Sync::point("queue.close");
        if (!is_last && planted<Sync>(Mutant::kQueuePassOpenSegment)) {
          unlink_first(space, t, first);
          continue;
        }
        if (planted<Sync>(Mutant::kQueueCloseByStore)) {
          s.pushed.store(pushed | kClosed, std::memory_order_seq_cst);  // [entry] seq_cst
        } else {
          s.pushed.compare_exchange_strong(pushed, pushed | kClosed,
                                           std::memory_order_seq_cst);  // [entry] seq_cst
        }
        continue;
      }
      unsigned got = 0;
      for (const std::uint64_t end = std::min(pushed, cells); got != count && i != end; ++i) {
        std::uint64_t entry = s.cell(i).load(std::memory_order_seq_cst);  // [entry] seq_cst
        const std::uint64_t seen = entry;
        if (entry != kTaken) {
          if (planted<Sync>(Mutant::kQueuePopByStore)) {
            s.cell(i).store(kTaken, std::memory_order_seq_cst);  // [entry] seq_cst
          } else if (!s.cell(i).compare_exchange_strong(
                         entry, kTaken, std::memory_order_seq_cst)) {  // [entry] seq_cst
            break;
          }
        }
        if (seen != 0 && seen != kTaken) out[got++] = seen;
      }
      // Not a swap: a slower thread may put it back, and then the next one passes some TAKEN cells
      // again.
      s.popped.store(i, std::memory_order_release);  // [entry] release
      if (got != 0) return got;
    }
  }

  // No segment at this moment. False says little: what it has may be about to be released.
  bool looks_empty() const noexcept {
    return head_.load(std::memory_order_seq_cst) == 0;  // [segment] seq_cst, [entry] seq_cst
  }

  // What will be popped after so many others, if it lies in the first segment; 0: unknown. Hints for prefetching.
  struct Peeked {
    std::uint64_t sooner = 0, soon = 0;
  };
  Peeked peek(Space<Sync>& space, std::uint64_t sooner, std::uint64_t soon) const noexcept {
    const std::uint64_t first = head_.load(std::memory_order_seq_cst);  // [segment] seq_cst, [announce] seq_cst
    if (first == 0) return {};
    Seg& s = *space.heap.template at<Seg>(first);
    const std::uint64_t cells = Seg::cells_of(space.heap.block_bytes(first));
    const std::uint64_t i = s.popped.load(std::memory_order_relaxed);  // a hint
    const auto entry_at = [&](std::uint64_t at) noexcept {
      const std::uint64_t entry = at < cells ? s.cell(at).load(std::memory_order_relaxed) : 0;  // a hint
      return entry != kTaken ? entry : 0;
    };
    return {entry_at(i + sooner), entry_at(i + soon)};
  }

  // Nobody pushes or pops meanwhile. fn(entry) for each; answers the bytes of heap blocks that the
  // queue holds.
  template <class Fn>
  std::uint64_t walk(const Space<Sync>& space, Fn&& fn) const noexcept {
    std::uint64_t bytes = 0;
    for (std::uint64_t at = head_.load(std::memory_order_acquire);
         at != 0 && at != kEnd;) {  // [segment] acquire
      Seg& s = *space.heap.template at<Seg>(at);
      const std::size_t block = space.heap.block_bytes(at);
      bytes += block;
      for (std::uint64_t i = 0; i != Seg::cells_of(block); ++i) {
        const std::uint64_t entry = s.cell(i).load(std::memory_order_acquire);  // [entry] acquire
        if (entry != 0 && entry != kTaken) fn(entry);
      }
      at = s.next.load(std::memory_order_acquire);  // [segment] acquire
    }
    return bytes;
  }

 private:
  static constexpr std::uint64_t kClosed = std::uint64_t{1} << 63;
  static constexpr std::uint64_t kEnd = ~std::uint64_t{0};  // in `next`: nothing will follow
  static constexpr std::size_t kSpareMax = 256;             // a block that may be taken though less would do
  static constexpr std::memory_order link_order() noexcept {  // [segment] release, [entry] seq_cst
    return planted<Sync>(Mutant::kQueueLinkRelaxed) ? std::memory_order_relaxed : std::memory_order_seq_cst;
  }

  struct End {
    std::uint64_t last;
    bool closed;
  };

  static End find_end(Space<Sync>& space, std::uint64_t first) noexcept {
    Word& hint = space.heap.template at<Seg>(first)->last;
    const std::uint64_t guess = hint.load(std::memory_order_acquire);  // [segment] acquire
    std::uint64_t at = guess != 0 ? guess : first;
    for (;;) {
      const std::uint64_t next =
          space.heap.template at<Seg>(at)->next.load(std::memory_order_seq_cst);  // [segment]
      if (next == 0 || next == kEnd) {
        if (at != first && at != guess)
          hint.store(at, std::memory_order_release);  // [segment] release
        return {at, next == kEnd};
      }
      at = next;
    }
  }

  // A segment with `count` entries in its first cells; 0: no memory. For one entry it may be of another size than `bytes`.
  static std::uint64_t make(Space<Sync>& space, Thr& t, std::size_t bytes,
                            const std::uint64_t* entries, unsigned count) noexcept {
    const std::size_t least = count == 1 ? std::min(Sizes::kFirst, SegmentSizes::kFirst) : bytes;
    const std::uint64_t at = space.heap.allocate_between(t.cache, least, bytes, std::max(bytes, kSpareMax));
    if (at == 0) return 0;
    Sync::plain_write(space.heap.at(at), space.heap.block_bytes(at));
    Seg& s = *new (space.heap.at(at)) Seg;
    s.pushed.store(
        count,
        std::memory_order_relaxed);  // [segment] comes with the swap that links it; the others too
    s.popped.store(0, std::memory_order_relaxed);
    s.next.store(0, std::memory_order_relaxed);
    s.last.store(0, std::memory_order_relaxed);
    const std::uint64_t cells = Seg::cells_of(space.heap.block_bytes(at));
    for (std::uint64_t i = 0; i != cells; ++i)
      (new (&s.cell(i)) Word)->store(i < count ? entries[i] : 0, std::memory_order_relaxed);  // [segment]
    return at;
  }

  // The first segment has no entries and gets no more.
  void unlink_first(Space<Sync>& space, Thr& t, std::uint64_t first) noexcept {
    Seg& s = *space.heap.template at<Seg>(first);
    std::uint64_t next = s.next.load(std::memory_order_seq_cst);  // [segment] seq_cst
    if (next == 0 && !planted<Sync>(Mutant::kQueueDropOpenEnd)) {
      Sync::point("queue.end");
      if (s.next.compare_exchange_strong(next, kEnd, std::memory_order_seq_cst))
        next = kEnd;  // [segment] seq_cst
    }
    if (next == kEnd || next == 0) return drop(space, t, first, 0);
    // The next one has no hint yet, unless somebody else is here too.
    const std::uint64_t hint = s.last.load(std::memory_order_acquire);  // [segment] acquire
    if (hint != 0 && hint != next) {
      space.heap.template at<Seg>(next)->last.store(
          hint, std::memory_order_release);  // [segment] release
    }
    drop(space, t, first, next);
  }

  void drop(Space<Sync>& space, Thr& t, std::uint64_t first, std::uint64_t next) noexcept {
    std::uint64_t expected = first;
    Sync::point("queue.unlink");
    if (!head_.compare_exchange_strong(expected, next, std::memory_order_seq_cst))
      return;  // [segment] seq_cst
    if (planted<Sync>(Mutant::kQueueFreeAtOnce)) {
      space.free_block(t, first);
    } else {
      space.retire_block(t, first);
    }
  }

  Word head_{};
};

// The same with a count.
template <class Sync, class Sizes = SegmentSizes>
class SegQueue {
 public:
  using List = SegList<Sync, Sizes>;
  using WhenEmpty = typename List::WhenEmpty;
  using Thr = Thread<Sync>;

  bool push(Space<Sync>& space, Thr& t, std::uint64_t entry) noexcept {
    // Before the entry, so that the count is never below what can be popped.
    count_.fetch_add(1, std::memory_order_relaxed);  // a count
    if (list_.push(space, t, entry)) return true;
    count_.fetch_sub(1, std::memory_order_relaxed);  // as above
    return false;
  }
  bool push_run(Space<Sync>& space, Thr& t, const std::uint64_t* entries) noexcept {
    count_.fetch_add(List::kRunEntries, std::memory_order_relaxed);  // as above
    if (list_.push_run(space, t, entries)) return true;
    count_.fetch_sub(List::kRunEntries, std::memory_order_relaxed);  // as above
    return false;
  }
  std::uint64_t pop(Space<Sync>& space, Thr& t, WhenEmpty when_empty = WhenEmpty::kKeep) noexcept {
    const std::uint64_t entry = list_.pop(space, t, when_empty);
    if (entry != 0) count_.fetch_sub(1, std::memory_order_relaxed);  // a count
    return entry;
  }
  std::uint64_t peek(Space<Sync>& space, std::uint64_t ahead) const noexcept { return list_.peek(space, ahead, ahead).sooner; }
  auto peek(Space<Sync>& space, std::uint64_t sooner, std::uint64_t soon) const noexcept { return list_.peek(space, sooner, soon); }
  // Entries, and pushes under way. Exact when nobody else is here.
  std::uint64_t count() const noexcept { return count_.load(std::memory_order_relaxed); }
  template <class Fn>
  std::uint64_t walk(const Space<Sync>& space, Fn&& fn) const noexcept {
    return list_.walk(space, fn);
  }

 private:
  List list_;
  typename Sync::template Atomic<std::uint64_t> count_{};
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_SEG_QUEUE_H_
