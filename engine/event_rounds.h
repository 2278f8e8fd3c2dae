// EventRounds: up to where everybody who listens has read, without anybody knowing another's place. What everybody has read needs no
// place in a ring; and a ring that lies in the cache costs its writers a third of one that doesn't.
//
//   word    63 HISTORY | 62..18 number | 17..0 arrived      a round is on while the number is odd
//
// A listener that has read much opens a round. Each that comes to the end of the rings, in a poll that began after that, arrives;
// the last one closes it. A writer notes the tail of its ring, then the number n (RoundMark): what lay before that tail was read by
// everybody once a round is closed that was opened later: at the first even number past n + 1.
//
// Why: that round was opened after the number was read, which was after the tail. Who was listening then has looked at each ring since
// it was opened. Who has come since began at tails of after it was opened. Who leaves takes back that it has arrived, first.
//
// HISTORY: somebody has a token (Watch::token), and may ask for what was read. Rounds rest until nobody listens; the rings keep
// what their share allows.
//
// A listener that doesn't poll keeps rounds from closing. Then the rings keep what their share allows, too.
//
// Edges
//   round    opening, arriving, closing / a listener before it reads, a writer after it has read a tail: who has read what
// Lock-free; an attempt fails only because another one has opened, arrived or closed.
#ifndef TERN_ENGINE_EVENT_ROUNDS_H_
#define TERN_ENGINE_EVENT_ROUNDS_H_

#include <cstdint>

#include "alloc/sync.h"

namespace tern::detail {

inline constexpr unsigned kListenersBits = 18;  // how many may listen

// Which tail a ring had at which number. Of both the low bits: what is too old to be told apart is taken for newer.
class RoundMark {
 public:
  static constexpr unsigned kTailBits = 40;
  static constexpr std::uint64_t kTailMask = (std::uint64_t{1} << kTailBits) - 1;
  static constexpr std::uint64_t kNumberMask = (std::uint64_t{1} << (64 - kTailBits)) - 1;

  constexpr explicit RoundMark(std::uint64_t word) noexcept : word_(word) {}
  static constexpr RoundMark of(std::uint64_t number, std::uint64_t tail) noexcept {
    return RoundMark((number & kNumberMask) << kTailBits | (tail & kTailMask));
  }
  constexpr std::uint64_t word() const noexcept { return word_; }
  // Whether a round was opened after it, and closed. Not by a number from before the noted one, as of who read it long ago.
  constexpr bool is_read_at(std::uint64_t number) const noexcept {
    const std::uint64_t noted = word_ >> kTailBits, later = (number - noted) & kNumberMask;
    return later >= 2 + (noted & 1) && later <= kNumberMask / 2;
  }
  // As a whole, not past `now`: one that is too old to be told apart seems later than it was.
  constexpr std::uint64_t number_before(std::uint64_t now) const noexcept { return now - ((now - (word_ >> kTailBits)) & kNumberMask); }
  // As a whole, near `tail`: on either side, as who notes a tail may have read it long ago.
  constexpr std::uint64_t tail_near(std::uint64_t tail) const noexcept {
    const auto ahead = static_cast<std::int64_t>((word_ - tail) << (64 - kTailBits)) >> (64 - kTailBits);
    return tail + static_cast<std::uint64_t>(ahead);
  }

 private:
  std::uint64_t word_;
};
static_assert(RoundMark::of(4, 7).is_read_at(6) && !RoundMark::of(4, 7).is_read_at(5), "round 5 is opened later");
static_assert(RoundMark::of(5, 7).is_read_at(8) && !RoundMark::of(5, 7).is_read_at(7), "round 5 was on before");
static_assert(!RoundMark::of(4, 7).is_read_at(2) && RoundMark::of(RoundMark::kNumberMask, 7).is_read_at(RoundMark::kNumberMask + 3));
static_assert(RoundMark::of(5, 7).number_before(9) == 5 && RoundMark::of(RoundMark::kNumberMask, 7).number_before(RoundMark::kNumberMask + 2) == RoundMark::kNumberMask);
static_assert(RoundMark::of(5, RoundMark::kTailMask).tail_near(RoundMark::kTailMask + 3) == RoundMark::kTailMask, "40 bits wrap");
static_assert(RoundMark::of(5, 9).tail_near(7) == 9, "a tail that was read before the noted one");

template <class Sync>
class EventRounds {
 public:
  using Word = typename Sync::template Atomic<std::uint64_t>;
  static constexpr std::uint64_t kEventsEach = 256;  // that a listener reads before it opens one

  // A listener reads this before it reads the rings, a writer after it has read a tail.
  std::uint64_t number() const noexcept { return number_of(word_.load(std::memory_order_seq_cst)); }  // [round] seq_cst

  // A listener has found the rings empty, and had read the number before it looked at the first. `arrived` is its own: the
  // round in which it arrived last. `has_read_much`: it wants a round. True: it has opened one.
  bool come_to_end(std::uint64_t number_before, std::uint64_t& arrived, std::uint64_t listeners, bool has_read_much) noexcept {
    std::uint64_t w = word_.load(std::memory_order_seq_cst);  // [round] seq_cst
    if ((w & kHistory) != 0 && !planted<Sync>(Mutant::kRoundPastToken)) return false;
    const std::uint64_t n = number_of(w);
    if (!is_on(n)) {
      if (!has_read_much) return false;
      Sync::point("round.open");
      return word_.compare_exchange_strong(w, word_of(n + 1, 0), std::memory_order_seq_cst);  // [round] seq_cst
    }
    if (n != number_before && !planted<Sync>(Mutant::kRoundArrivesUnread)) return false;
    const bool arrives = arrived != n;
    for (;;) {
      const std::uint64_t count = arrived_of(w) + (arrives ? 1 : 0);
      if (!arrives && count < listeners) return false;
      Sync::point("round.arrive");
      const std::uint64_t to = count >= listeners ? word_of(n + 1, 0) : word_of(n, count);
      if (word_.compare_exchange_strong(w, to, std::memory_order_seq_cst)) break;  // [round] seq_cst
      if (number_of(w) != n || (w & kHistory) != 0) return false;
    }
    arrived = n;
    return false;
  }

  // Before a listener leaves.
  void leave(std::uint64_t arrived) noexcept {
    if (planted<Sync>(Mutant::kRoundLeaverStays)) return;
    std::uint64_t w = word_.load(std::memory_order_seq_cst);  // [round] seq_cst
    while (is_on(arrived) && number_of(w) == arrived) {
      if (word_.compare_exchange_strong(w, w - 1, std::memory_order_seq_cst)) return;  // [round] seq_cst
    }
  }

  void keep_history() noexcept { word_.fetch_or(kHistory, std::memory_order_seq_cst); }  // [round] seq_cst
  // Tokens of before are void.
  void forget_history() noexcept { word_.fetch_and(~kHistory, std::memory_order_seq_cst); }  // [round] seq_cst

 private:
  static constexpr std::uint64_t kHistory = std::uint64_t{1} << 63;
  static constexpr unsigned kArrivedBits = kListenersBits;
  static constexpr bool is_on(std::uint64_t number) noexcept { return number % 2 != 0; }
  static constexpr std::uint64_t number_of(std::uint64_t w) noexcept { return (w & ~kHistory) >> kArrivedBits; }
  static constexpr std::uint64_t arrived_of(std::uint64_t w) noexcept { return w & ((std::uint64_t{1} << kArrivedBits) - 1); }
  static constexpr std::uint64_t word_of(std::uint64_t number, std::uint64_t arrived) noexcept {
    return (number << kArrivedBits | arrived) & ~kHistory;
  }

  Word word_{};
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_EVENT_ROUNDS_H_
