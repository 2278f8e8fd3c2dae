// Wheel: a hierarchical timing wheel of tickets, lock-free, one for each shard. Knows times and
// tickets; what a ticket means is in tickets.h, what becomes of it in expiry.h.
//
//   level 0   64 positions of 1 ms        time, ms:  ... | 63..12 above | 11..6 level 1 | 5..0
//   level 0 | level 1   64 positions of 64 ms
//   ...                                   due and time are compared digit by digit (of 6 bits): a
//   ticket lies at the level 6   64 positions of 2.2 years   level of the highest digit in which
//   they differ, at the position that is due's level 7   2 positions of 139 years    digit there
//
// Seven levels reach 139 years ahead of a clock that begins at 0; the half of an eighth is there
// because a clock may begin anywhere below 2^43 ms. When the time comes to a position's first
// instant its tickets are looked at: those that are due end, the others are filed again, at a lower
// level. At most one position of all levels begins at one instant.
//
// Memory: a level's 64 positions (512 bytes of the heap) come with the first ticket there; a
// position is a SegList, one word while it is empty. A mark (one bit) for each position that may
// have tickets lets time jump from one to the next, however far the clock has moved.
//
// advance   1 a marked position at or before the time's own digit of its level: it is due. Pop one
// ticket, look. Is it
//             empty, take its mark away, and look once more whether it is.
//           2 none: move the time to the first instant of the next marked position, or to now, by
//           one swap. If this
//             leaves a block (64 positions) of some level, the marks that are left in it are
//             stragglers': their tickets are taken out at once, from the front, up to the first
//             that belongs where it is.
// file      push, set the mark, and read the time again: did it leave the block, so that the mark
// would be taken for one
//           of the next round, the ticket is filed once more where it belongs now. (The first copy
//           is met a round later and does no harm: it names a key that is gone, or is filed again.)
// So: "push and mark, then read the time" against "move the time, then read the marks": one of the
// two sees the other, hence seq_cst.
//
// A thread stopped for ever between pop and file takes up to kAtOnce tickets with it; between moving the time
// and looking at stragglers, or between taking a mark away and the second look, it makes them late
// by a round. Their keys are never read past their deadline all the same, and maintenance's sweep
// finds them (expiry.h). Nobody waits for it.
//
// Edges
//   wheel   setting a mark, moving the time, linking a level / reading them: see above
// Source: Varghese and Lauck, "Hashed and hierarchical timing wheels" (SOSP 1987), with marks as in
// Linux's timers.
#ifndef TERN_ENGINE_WHEEL_H_
#define TERN_ENGINE_WHEEL_H_

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <new>

#include "alloc/sync.h"
#include "engine/seg_queue.h"
#include "engine/space.h"

namespace tern::detail {

template <class Sync>
class Wheel {
 public:
  using Word = typename Sync::template Atomic<std::uint64_t>;
  using List = SegList<Sync>;
  using Thr = Thread<Sync>;

  static constexpr unsigned kDigitBits = 6;
  static constexpr unsigned kPositions = 1u << kDigitBits;
  static constexpr unsigned kLevels = 8;
  // Times past it are filed there: nothing can be due later (Deadline).
  static constexpr std::uint64_t kTimeMax = (std::uint64_t{1} << 43) - 1;
  static_assert(kLevels * kDigitBits >= 43 + 1, "every time has its level, kTimeMax + 1 too");
  // Tickets that advance() takes out together: what they name is fetched while others are looked at.
  static constexpr unsigned kAtOnce = 16;

  // Where a ticket lies that is due at `due`, while the time is `now` < due.
  struct Spot {
    unsigned level;
    unsigned position;
    friend constexpr bool operator==(Spot, Spot) noexcept = default;
  };
  static constexpr Spot spot_of(std::uint64_t due, std::uint64_t now) noexcept {
    const unsigned level = (static_cast<unsigned>(std::bit_width(due ^ now)) - 1) / kDigitBits;
    return {level, digit(due, level)};
  }

  // False: no memory. A `due` that is past is due at the next millisecond. Inside a guard.
  bool file(Space<Sync>& space, Thr& t, std::uint64_t ticket, std::uint64_t due) noexcept {
    for (bool again = false;; again = true) {
      const std::uint64_t now = now_.load(std::memory_order_seq_cst);  // [wheel] seq_cst
      const std::uint64_t at = std::max(std::min(due, kTimeMax), now + 1);
      const Spot spot = spot_of(at, now);
      List* list = positions(space, t, spot.level);
      if (list == nullptr) return again;
      Sync::point("wheel.push");
      entries_.fetch_add(1, std::memory_order_relaxed);  // a count, before the ticket can be popped
      if (!list[spot.position].push(space, t, ticket)) {
        entries_.fetch_sub(1, std::memory_order_relaxed);  // as above
        return again;
      }
      Sync::point("wheel.pushed");
      const std::uint64_t mark = std::uint64_t{1} << spot.position;
      Word& marks = marks_[spot.level];
      if ((marks.load(std::memory_order_seq_cst) & mark) == 0) {  // [wheel] seq_cst
        marks.fetch_or(mark, std::memory_order_seq_cst);          // [wheel] seq_cst
      }
      const std::uint64_t then = now_.load(std::memory_order_seq_cst);  // [wheel] seq_cst
      if (same_block(now, then, spot.level) || planted<Sync>(Mutant::kWheelFileOnce)) return true;
    }
  }

  // Moves the time towards `now`, looking at up to `steps` tickets on the way. Answers how many
  // steps were taken: fewer than `steps` if the time has come to `now` and nothing is due. Inside a
  // guard.
  //   look(ticket)    -> the instant at which it is due, or 0: it has ended
  //   look.soon(ticket), look.sooner(ticket)   it will be looked at, before long and next: for prefetching
  //   look.lost(ticket)          there was no memory to file it again
  template <class Look>
  unsigned advance(Space<Sync>& space, Thr& t, std::uint64_t now, unsigned steps,
                   Look&& look) noexcept {
    now = std::min(now, kTimeMax);
    unsigned done = 0, popped = 0;
    while (done < steps) {
      const std::uint64_t time = now_.load(std::memory_order_seq_cst);  // [wheel] seq_cst
      Spot spot;
      if (!find_due(time, spot)) {
        if (time >= now) break;
        move(space, t, time, now, look, done);
        continue;
      }
      List& list = positions(space, spot.level)[spot.position];
      std::uint64_t tickets[kAtOnce];
      const unsigned got = list.pop_some(space, t, tickets, std::min(steps - done, kAtOnce), List::WhenEmpty::kRelease);
      if (got == 0) {
        ++done;
        unmark(spot, list);
        continue;
      }
      done += got;
      popped += got;
      for (unsigned i = 0; i != got; ++i) look.soon(tickets[i]);
      for (unsigned i = 0; i != got; ++i) look.sooner(tickets[i]);
      for (unsigned i = 0; i != got; ++i) take(space, t, tickets[i], look);
    }
    if (popped != 0) entries_.fetch_sub(popped, std::memory_order_relaxed);  // a count
    return done;
  }

  // Takes one ticket out of a position, of each in turn, and looks at it: what is void goes. For a
  // wheel that has more void tickets than others.
  template <class Look>
  void rotate(Space<Sync>& space, Thr& t, Look&& look) noexcept {
    const std::uint64_t at =
        rotated_.load(std::memory_order_relaxed);  // a place to begin, wherever
    Spot spot{static_cast<unsigned>(at) / kPositions % kLevels,
              static_cast<unsigned>(at) % kPositions};
    for (unsigned n = 0; n <= kLevels; ++n) {
      const std::uint64_t all = marks_[spot.level].load(std::memory_order_seq_cst);  // [wheel] seq_cst
      const std::uint64_t marks = all >> spot.position << spot.position;
      if (marks == 0) {
        spot = {(spot.level + 1) % kLevels, 0};
        continue;
      }
      if (const auto p = static_cast<unsigned>(std::countr_zero(marks)); p != spot.position) {
        spot.position = p;
        rotation_first_.store(0, std::memory_order_relaxed);  // a new round; see below
      }
      List& list = positions(space, spot.level)[spot.position];
      const std::uint64_t ticket = list.pop(space, t);
      // A position is left when its first valid ticket comes round again.
      bool round = ticket == 0;
      if (ticket != 0) {
        entries_.fetch_sub(1, std::memory_order_relaxed);  // a count
        if (take(space, t, ticket, look)) {
          const std::uint64_t first =
              rotation_first_.load(std::memory_order_relaxed);                       // a heuristic
          if (first == 0) rotation_first_.store(ticket, std::memory_order_relaxed);  // as above
          round = first == ticket;
        }
      }
      std::uint64_t next = spot.level * kPositions + spot.position;
      if (round) {
        next = (next + 1) % (kLevels * kPositions);
        rotation_first_.store(0, std::memory_order_relaxed);  // as above
      }
      rotated_.store(next, std::memory_order_relaxed);  // as above
      return;
    }
  }

  std::uint64_t time() const noexcept {
    return now_.load(std::memory_order_seq_cst);
  }  // [wheel] seq_cst
  // Tickets, and pushes under way. Exact when nobody else is here.
  std::uint64_t entries() const noexcept {
    return entries_.load(std::memory_order_relaxed);
  }  // a count

  // Something is due at `now`, or will be when time has moved there. A hint; O(levels).
  bool is_due(std::uint64_t now) const noexcept {
    const std::uint64_t time = this->time();
    Spot spot;
    return find_due(time, spot) || (time < now && next_begin(time, now) != now);
  }

  // Nobody else is here. fn(ticket); answers the bytes of the heap that the wheel holds.
  template <class Fn>
  std::uint64_t walk(const Space<Sync>& space, Fn&& fn) const noexcept {
    std::uint64_t bytes = 0;
    for (unsigned level = 0; level != kLevels; ++level) {
      const std::uint64_t at = levels_[level].load(std::memory_order_seq_cst);  // [wheel] seq_cst
      if (at == 0) continue;
      bytes += space.heap.block_bytes(at);
      for (unsigned p = 0; p != kPositions; ++p)
        bytes += space.heap.template at<List>(at)[p].walk(space, fn);
    }
    return bytes;
  }

 private:
  static constexpr unsigned digit(std::uint64_t time, unsigned level) noexcept {
    return static_cast<unsigned>(time >> (level * kDigitBits)) & (kPositions - 1);
  }
  static constexpr bool same_block(std::uint64_t a, std::uint64_t b, unsigned level) noexcept {
    return (a ^ b) >> ((level + 1) * kDigitBits) == 0;
  }

  List* positions(Space<Sync>& space, unsigned level) const noexcept {
    return space.heap.template at<List>(
        levels_[level].load(std::memory_order_seq_cst));  // [wheel] seq_cst
  }
  // Null: no memory.
  List* positions(Space<Sync>& space, Thr& t, unsigned level) noexcept {
    std::uint64_t at = levels_[level].load(std::memory_order_seq_cst);  // [wheel] seq_cst
    if (at == 0) [[unlikely]] {
      const std::uint64_t fresh = space.heap.allocate(t.cache, sizeof(List) * kPositions);
      if (fresh == 0) return nullptr;
      for (unsigned p = 0; p != kPositions; ++p) new (space.heap.template at<List>(fresh) + p) List;
      if (levels_[level].compare_exchange_strong(at, fresh,
                                                 std::memory_order_seq_cst)) {  // [wheel] seq_cst
        at = fresh;
      } else {
        space.heap.free(t.cache, fresh);  // nobody saw it
      }
    }
    return space.heap.template at<List>(at);
  }

  // The marked positions that have begun, of the lowest level first.
  bool find_due(std::uint64_t time, Spot& spot) const noexcept {
    for (unsigned level = 0; level != kLevels; ++level) {
      const std::uint64_t begun = ~std::uint64_t{0} >> (kPositions - 1 - digit(time, level));
      const std::uint64_t marks =
          marks_[level].load(std::memory_order_seq_cst) & begun;  // [wheel] seq_cst
      if (marks != 0) {
        spot = {level, static_cast<unsigned>(std::countr_zero(marks))};
        return true;
      }
    }
    return false;
  }

  // The first instant of a marked position after `time`, but not after `now`. What a lower level
  // has comes first.
  std::uint64_t next_begin(std::uint64_t time, std::uint64_t now) const noexcept {
    for (unsigned level = 0; level != kLevels; ++level) {
      const std::uint64_t begun = ~std::uint64_t{0} >> (kPositions - 1 - digit(time, level));
      const std::uint64_t marks =
          marks_[level].load(std::memory_order_seq_cst) & ~begun;  // [wheel] seq_cst
      if (marks == 0) continue;
      const unsigned shift = level * kDigitBits;
      const std::uint64_t block = time >> shift >> kDigitBits << kDigitBits << shift;
      return std::min(now, block | std::uint64_t(std::countr_zero(marks)) << shift);
    }
    return now;
  }

  template <class Look>
  void move(Space<Sync>& space, Thr& t, std::uint64_t from, std::uint64_t now, Look&& look,
            unsigned& done) noexcept {
    const std::uint64_t to = next_begin(from, now);
    std::uint64_t expected = from;
    Sync::point("wheel.move");
    if (!now_.compare_exchange_strong(expected, to, std::memory_order_seq_cst))
      return;  // [wheel] seq_cst
    Sync::point("wheel.moved");
    if (planted<Sync>(Mutant::kWheelNoStragglers)) return;
    for (unsigned level = 0; level != kLevels && !same_block(from, to, level); ++level) {
      std::uint64_t marks = marks_[level].load(std::memory_order_seq_cst);  // [wheel] seq_cst
      for (; marks != 0; marks &= marks - 1) {
        const Spot spot{level, static_cast<unsigned>(std::countr_zero(marks))};
        List& list = positions(space, level)[spot.position];
        for (bool strays = true; strays;) {
          const std::uint64_t ticket = list.pop(space, t);
          if (ticket == 0) break;
          ++done;
          entries_.fetch_sub(1, std::memory_order_relaxed);  // a count
          Spot back;
          strays = !take(space, t, ticket, look, &back) || back != spot;
        }
      }
    }
  }

  // A ticket that was popped. True: it is filed again, at `where`.
  template <class Look>
  bool take(Space<Sync>& space, Thr& t, std::uint64_t ticket, Look&& look,
            Spot* where = nullptr) noexcept {
    Sync::point("wheel.popped");
    const std::uint64_t due = look(ticket);
    if (due == 0) return false;
    if (where != nullptr) {
      const std::uint64_t time = this->time();
      *where = spot_of(std::max(std::min(due, kTimeMax), time + 1), time);
    }
    if (file(space, t, ticket, due)) return true;
    look.lost(ticket);
    return false;
  }

  void unmark(Spot spot, const List& list) noexcept {
    const std::uint64_t mark = std::uint64_t{1} << spot.position;
    Sync::point("wheel.unmark");
    marks_[spot.level].fetch_and(~mark, std::memory_order_seq_cst);  // [wheel] seq_cst
    if (planted<Sync>(Mutant::kWheelUnmarkOnce)) return;
    if (!list.looks_empty())
      marks_[spot.level].fetch_or(mark, std::memory_order_seq_cst);  // [wheel] seq_cst
  }

  Word now_{};              // what was due until then has been looked at, or is marked
  Word marks_[kLevels]{};   // positions that may have tickets
  Word levels_[kLevels]{};  // offset of the level's positions; 0: it has never had a ticket
  Word entries_{};
  Word rotated_{};         // where rotate() is
  Word rotation_first_{};  // the first valid ticket that it met there
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_WHEEL_H_
