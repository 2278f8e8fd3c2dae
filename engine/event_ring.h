// EventRing: the last changes of a few shards (events.h), in the order in which they were told. Writers put records in, any number of
// subscribers read at their own pace, and nobody waits for anybody.
//
//   cell   63..40 lap | 39..0 record        n of them, a power of two
//   tail   positions that are complete      position p is in cell p mod n, in lap p / n + 1 (modulo 2^24)
//   floor  positions that were given up     never ahead of the tail, nor more than n behind it
//   mark   a tail of before, and the number of the round then (event_rounds.h)
//   read   what everybody has read ends here, and the epoch when that was found: it is given up, a few positions at a time
//
//   ... | given up | {lap, record} ... {lap, record} | filled, or of the lap before | ...
//                  ^ floor                           ^ tail
//
// publish(R). Read the tail, then its cell.
//   the cell has this lap     somebody has filled it and not moved the tail: flag its record, move the tail, again
//   a later one               the tail was stale: again
//   else                      is R flagged? then it is in an earlier cell. Give the position up that the cell still stands for, if nobody
//                             has. Hold R, swap the cell, flag R, move the tail
// Exactly once, whoever helps: the tail passes a position only after the record there was flagged. So whoever reads the
// tail and then finds R without its flag knows that R is in no earlier cell; and if R is in this one, his swap fails.
// The flag is the record's own bit (PUB): no number, no second list.
//
// A writer's own record may be born with the cell's hold: then it is dropped if a helper was first, and if it isn't told after all.
// Before anybody can see it, its writer may take his turn: the tail and its cell, read ahead. Then it is in no earlier cell, and if it is
// in this one, the swap fails: a swap, the flag, the tail, and nothing to ask before.
//
// A cell holds its record, so that a record that was replaced can still be read here. The hold is taken before the swap,
// inside the guard in which the record was found in the table. It is whose who moves the floor past it, and nobody else's: the cell
// stands as it is until then, as it isn't filled again before. So what everybody has read is given up by one swap for several
// positions, and their cells stay as they are: nobody looks there again. Of what somebody may still look for, the cell is emptied.
// The hold goes after a grace period, because whoever has read the cell may still be at the record. Who listens isn't, once a round has
// said that he has read it; a writer that helps may be, if he was inside before the round was found closed. So the epoch of then is
// noted, and once who was inside has left, the hold goes at once: no place in a bag. While one stays inside, as much as half of the
// ring waits (a listener that the system takes the processor from inside its poll is one; the share is the bound on bytes); then it goes
// by the bag.
//
// read(position). A cell of this lap that names a record: the event, the tail past it or not yet. One of the lap before: nothing
// yet. Otherwise it was overrun: a gap, up to the floor, whose length is told. So a reader comes near the tail only when
// it was overrun, and the line of the tail stays the writers'. Laps tell the last 2^24 apart: who was away for so long that it may be
// more reads with read_far, which asks the floor first.
//
// A record that stands for no key (an invalidation point: one a ring, STAMPED, in no slot) is published the same way.
//
// Edges
//   event      the swap of a cell; moving the tail / reading tail and cell: the record, its stamp and value
//   event-floor moving the floor, emptying a cell / who fills it again, a reader that was overrun
//   told       setting PUB / reading it: the record is on the ring
//   read       noting what everybody has read / dropping its holds: who listens has read it before its memory is used again
// Model: tests/models/event_ring.pml, with holds. Lock-free: an attempt fails only because another record went in.
// A thread stopped between hold and swap keeps that one record's memory, one stopped after it has moved the floor that of up to kLetGoEach.
#ifndef TERN_ENGINE_EVENT_RING_H_
#define TERN_ENGINE_EVENT_RING_H_

#include <bit>
#include <cstdint>

#include "alloc/sync.h"
#include "engine/event_rounds.h"
#include "engine/prefetch.h"
#include "engine/slot_word.h"

namespace tern::detail {

class EventCell {
 public:
  static constexpr unsigned kLapBits = 24;
  static constexpr std::uint64_t kLapMask = (std::uint64_t{1} << kLapBits) - 1;
  static_assert(kLapBits + kOffsetBits == 64, "lap, record");

  constexpr explicit EventCell(std::uint64_t word) noexcept : word_(word) {}
  static constexpr EventCell of(std::uint64_t lap, std::uint64_t record) noexcept {
    return EventCell(lap << kOffsetBits | record);
  }
  constexpr std::uint64_t word() const noexcept { return word_; }
  constexpr std::uint64_t lap() const noexcept { return word_ >> kOffsetBits; }
  constexpr std::uint64_t record() const noexcept { return word_ & kOffsetMask; }
  constexpr EventCell emptied() const noexcept { return of(lap(), 0); }

 private:
  std::uint64_t word_;
};

// What a subscriber finds at a position.
struct EventSeen {
  enum What : std::uint8_t { kNothing, kEvent, kGap } what = kNothing;
  std::uint64_t record = 0;
  std::uint64_t lost = 0;  // of a gap: positions
};

// Lies in the store's arena, its cells behind it. Host, for publish and pass:
//   bool is_told(record); void tell(record)      the record's flag; tell_own(record): of the one that is published, by whom that is done
//   bool is_late(record)                         it isn't to be told any more (point_events.h)
//   void hold(record); void unhold(record)       inside the guard that found it: never the last hold
//   void release(record)                         a hold, after a grace period
//   void release_soon(record)                    perhaps, a few changes from now; 0: none. A hint: to fetch it ahead
// and for let_go_of_read
//   void drop(record), drop_soon(record)         the same without one
//   moment(), has_passed(moment)                 Epoch's
template <class Sync>
class alignas(128) EventRing {
 public:
  using Word = typename Sync::template Atomic<std::uint64_t>;
  static constexpr std::uint64_t kCellsMin = 2;
  static constexpr std::uint64_t kSoon = 6;
  static constexpr unsigned kWaitPart = Sync::kWordwise ? 16 : 2;
  static constexpr unsigned kLetGoEach = 8;  // positions at a time, of what was read
  static constexpr unsigned kLookEach = 4;   // positions, for what was read

  static constexpr std::uint64_t bytes_for(std::uint64_t cells) noexcept {
    return sizeof(EventRing) + (cells * sizeof(Word) + 127) / 128 * 128;
  }
  // In zeroed memory.
  void open(std::uint64_t cells) noexcept { cells_ = cells; }
  std::uint64_t cells() const noexcept { return cells_; }

  std::uint64_t tail() const noexcept { return tail_.load(std::memory_order_seq_cst); }    // [event] seq_cst
  std::uint64_t floor() const noexcept { return floor_.load(std::memory_order_seq_cst); }  // [event-floor] seq_cst
  // The tail, or one further: filled by somebody who hasn't moved it yet.
  std::uint64_t end() const noexcept {
    const std::uint64_t t = tail();
    return has(t) ? t + 1 : t;
  }

  // The place that is free next, as it seems.
  struct Turn {
    Word* cell;
    std::uint64_t position;
    std::uint64_t found;   // what the cell says
    std::uint64_t filled;  // what it will say, but for the record
  };

  // Inside the guard in which the record was found where it is current. `held`: it was born with a hold for this. A tail that was read.
  template <class Host>
  std::uint64_t publish(Host& host, std::uint64_t record, bool held = false) noexcept {
    const bool early = planted<Sync>(Mutant::kEventFlagBeforeTail) && !host.is_told(record);
    std::uint64_t p;
    for (;;) {
      p = tail();
      Word& cell = at(p);
      const EventCell c(cell.load(std::memory_order_seq_cst));  // [event] seq_cst
      Sync::point("event.cell");
      if (c.lap() == lap_of(p)) {
        if (c.record() != 0) host.tell(c.record());
        move_tail(p);
        continue;
      }
      if (((c.lap() + 1) & EventCell::kLapMask) != lap_of(p)) continue;  // the tail has moved on
      if (!early && host.is_told(record)) break;
      if (host.is_late(record)) [[unlikely]] {  // after the tail, too
        host.tell(record);
        break;
      }
      if (is_taken(p) && !planted<Sync>(Mutant::kEventFilledUnpassed)) {
        (void)pass(host);
        continue;
      }
      if (!held && !planted<Sync>(Mutant::kEventHoldResurrected)) {
        host.hold(record);
        held = true;
      }
      if (!publish_at(host, Turn{&cell, p, c.word(), EventCell::of(lap_of(p), 0).word()}, record)) continue;
      if (planted<Sync>(Mutant::kEventFilledUnpassed) && c.record() != 0) host.release(c.record());
      return p;
    }
    if (held && !planted<Sync>(Mutant::kEventLoserHolds)) host.unhold(record);
    return p;
  }

  // Before anybody can see the record that is to go there. False: somebody has filled it and not moved the tail, or it can't be filled yet.
  template <class Host>
  bool take_turn(Host& host, Turn& turn) noexcept {
    if constexpr (!Sync::kWordwise) prefetch_to_write(this);  // others have looked at both
    const std::uint64_t p = tail();
    turn.position = p;
    turn.cell = &at(p);
    if constexpr (!Sync::kWordwise) {
      prefetch_to_write(turn.cell);
      prefetch_to_write(turn.cell + 64 / sizeof(Word));
    }
    if (is_taken(p)) [[unlikely]] (void)pass(host);  // empties this cell
    turn.found = turn.cell->load(std::memory_order_seq_cst);  // [event] seq_cst
    Sync::point("event.turn");
    const std::uint64_t lap = lap_of(p);
    turn.filled = EventCell::of(lap, 0).word();
    return ((EventCell(turn.found).lap() + 1) & EventCell::kLapMask) == lap && !is_taken(p);
  }
  // One attempt of publish, of a record with a hold. Alone, where nobody could see the record when the turn was taken: so it is in no
  // earlier cell, and if it is in this one, the swap fails. False: publish is to do it.
  template <class Host>
  [[gnu::always_inline]] bool publish_at(Host& host, const Turn& turn, std::uint64_t record) noexcept {
    Sync::point("event.swap");
    std::uint64_t found = turn.found;
    if (!turn.cell->compare_exchange_strong(found, turn.filled | record, std::memory_order_seq_cst)) [[unlikely]] {  // [event] seq_cst
      return false;
    }
    if (planted<Sync>(Mutant::kEventTailBeforeFlag)) move_tail(turn.position);
    Sync::point("event.in");
    if (planted<Sync>(Mutant::kEventHoldResurrected)) host.hold(record);
    host.tell_own(record);
    Sync::point("event.told");
    move_tail(turn.position);
    return true;
  }

  // Gives up some of what everybody has read, if there is enough of it. `t`, a tail, was read before `round`, a number
  // (EventRounds).
  template <class Host>
  void let_go_of_read(Host& host, std::uint64_t t, std::uint64_t round) noexcept {
    if (!Sync::kWordwise && t % kLookEach != 0) return;
    const std::uint64_t p = floor_.load(std::memory_order_relaxed);  // the swap decides
    // While some wait for those who were inside, no more are found: the epoch would be a later one each time. (The tests' rings are short.)
    if (!Sync::kWordwise && is_enough(p)) [[unlikely]] return let_go(host, t, p);
    const std::uint64_t m = mark_.load(std::memory_order_relaxed);  // the swap decides
    const bool by_an_older = planted<Sync>(Mutant::kRoundOfBefore) && round < m >> RoundMark::kTailBits;
    if (RoundMark(m).is_read_at(round) || by_an_older) [[unlikely]] find_read(host, t, round, m);
    if (Sync::kWordwise && is_enough(p)) let_go(host, t, p);
  }

  // Gives up the oldest position. False: there is none.
  template <class Host>
  bool pass(Host& host) noexcept {
    std::uint64_t p = floor();
    if (p >= tail() && !planted<Sync>(Mutant::kEventFloorPastTail)) return false;
    std::uint64_t word = at(p).load(std::memory_order_seq_cst);  // [event] seq_cst
    const EventCell c(word);
    Sync::point("event.pass");
    if (!floor_.compare_exchange_strong(p, p + 1, std::memory_order_seq_cst)) return true;  // [event-floor] seq_cst
    if (c.lap() != lap_of(p) || c.record() == 0) return true;
    Sync::point("event.passed");
    at(p).compare_exchange_strong(word, c.emptied().word(), std::memory_order_seq_cst);  // [event-floor] seq_cst; or it is filled again
    host.release(c.record());
    if constexpr (!Sync::kWordwise) host.release_soon(peek(p + kSoon));
    return true;
  }

  // Inside a guard, whose end is the end of the record that it answers. `cells` is cells(), known without a look at the ring's own line.
  [[gnu::always_inline]] EventSeen read(std::uint64_t position, std::uint64_t cells) const noexcept {
    const EventCell c(at(position, cells).load(std::memory_order_seq_cst));  // [event] seq_cst
    Sync::point("event.read");
    const std::uint64_t lap = lap_of(position, cells);
    if (((c.lap() + 1) & EventCell::kLapMask) == lap) [[likely]] return {};  // of most rings, each time
    if (c.lap() == lap && c.record() != 0) return {EventSeen::kEvent, c.record(), 0};
    return gap_at(position);
  }
  // The same of a position that may be 2^24 laps behind.
  EventSeen read_far(std::uint64_t position) const noexcept {
    return floor() > position ? gap_at(position) : read(position, cells_);
  }
  // Whether there is something at this position, or later.
  bool has(std::uint64_t position) const noexcept {
    const EventCell c(at(position).load(std::memory_order_seq_cst));  // [event] seq_cst
    return ((c.lap() + 1) & EventCell::kLapMask) != lap_of(position) || tail() > position;
  }

  // The same of a position that isn't 2^24 laps behind.
  bool has_now(std::uint64_t position, std::uint64_t cells) const noexcept {
    const EventCell c(at(position, cells).load(std::memory_order_seq_cst));  // [event] seq_cst
    return ((c.lap() + 1) & EventCell::kLapMask) != lap_of(position, cells);
  }

  // The record at a position, if it is there; to fetch it ahead.
  std::uint64_t peek(std::uint64_t position) const noexcept {
    return EventCell(at(position).load(std::memory_order_relaxed)).record();  // a hint
  }

  // fn(record) for each that a cell holds; with nobody else inside.
  template <class Fn>
  void for_each(Fn&& fn) const noexcept {
    for (std::uint64_t p = floor(), to = end(); p < to; ++p) {
      const EventCell c(at(p).load(std::memory_order_acquire));  // [event] acquire
      if (c.lap() == lap_of(p) && c.record() != 0) fn(c.record());
    }
  }

 private:
  template <class Host>
  [[gnu::noinline]] void find_read(Host& host, std::uint64_t t, std::uint64_t round, std::uint64_t m) noexcept {
    const std::uint64_t noted = RoundMark(m).tail_near(t);
    Sync::point("round.mark");
    if (!mark_.compare_exchange_strong(m, RoundMark::of(round, t).word(), std::memory_order_relaxed)) return;  // says nothing of others' words
    const std::uint64_t to = planted<Sync>(Mutant::kRoundMarkOvertaken) && noted > t ? noted + kFarAhead : noted;
    read_.store(RoundMark::of(host.moment(), to).word(), std::memory_order_release);  // [read] release; one that comes late only delays
    expect_to_let_go(host, floor_.load(std::memory_order_relaxed));  // a hint
  }
  template <class Host>
  [[gnu::noinline]] void let_go(Host& host, std::uint64_t t, std::uint64_t p) noexcept {
    const RoundMark read(read_.load(std::memory_order_acquire));  // [read] acquire; an older one will do
    const std::uint64_t to = read.tail_near(p);
    if (static_cast<std::int64_t>(to - p) < let_go_each()) return;
    if (to > t && !planted<Sync>(Mutant::kRoundMarkOvertaken)) [[unlikely]] {
      // Noted by somebody who was faster; or so long ago that it seems to be ahead.
      if (to - t > cells_) read_.store(RoundMark::of(host.moment(), p).word(), std::memory_order_release);  // [read] as above
      return;
    }
    const bool at_once = host.has_passed(read.number_before(host.moment())) || planted<Sync>(Mutant::kReadGoesAtOnce);
    if (!at_once && t - p < cells_ / kWaitPart) return;
    give_up(host, p, static_cast<unsigned>(let_go_each()), at_once);
    expect_to_let_go(host, p + kLetGoEach);
  }
  // Who has read the records that go next has copies of their lines.
  template <class Host>
  void expect_to_let_go(Host& host, std::uint64_t p) noexcept {
    if (Sync::kWordwise || !is_enough(p)) return;
    for (std::uint64_t i = p; i != p + kLetGoEach; ++i) host.drop_soon(peek(i));
  }
  // Several positions from the floor `p` on, each of them told, and read by everybody.
  template <class Host>
  void give_up(Host& host, std::uint64_t p, unsigned count, bool at_once) noexcept {
    std::uint64_t record[kLetGoEach];
    for (unsigned i = 0; i != count; ++i) {
      const EventCell c(at(p + i).load(std::memory_order_seq_cst));  // [event] seq_cst
      record[i] = c.lap() == lap_of(p + i) ? c.record() : 0;
    }
    Sync::point("event.pass");
    if (!floor_.compare_exchange_strong(p, p + count, std::memory_order_seq_cst)) return;  // [event-floor] seq_cst
    for (unsigned i = 0; i != count; ++i) {
      if (record[i] != 0) at_once ? host.drop(record[i]) : host.release(record[i]);
    }
  }
  // Whether the cell of this position, which nobody has filled, still stands for the one a lap before.
  bool is_taken(std::uint64_t p) const noexcept { return floor() + cells_ <= p; }
  // Whether enough of what everybody has read lies there from `p` on.
  bool is_enough(std::uint64_t p) const noexcept {
    const RoundMark read(read_.load(std::memory_order_relaxed));  // an older one will do
    return static_cast<std::int64_t>(read.tail_near(p) - p) >= let_go_each();
  }
  static constexpr std::int64_t let_go_each() noexcept { return Sync::kWordwise ? 1 : kLetGoEach; }  // the tests' rings are short
  static constexpr std::uint64_t kFarAhead = std::uint64_t{1} << 20;
  [[gnu::noinline]] EventSeen gap_at(std::uint64_t position) const noexcept {
    const std::uint64_t to = floor();
    return {EventSeen::kGap, 0, to > position ? to - position : 1};
  }
  static std::uint64_t lap_of(std::uint64_t position, std::uint64_t cells) noexcept {
    return ((position >> std::countr_zero(cells)) + 1) & EventCell::kLapMask;
  }
  std::uint64_t lap_of(std::uint64_t position) const noexcept { return lap_of(position, cells_); }
  Word& at(std::uint64_t position) noexcept { return reinterpret_cast<Word*>(this + 1)[position & (cells_ - 1)]; }
  const Word& at(std::uint64_t position, std::uint64_t cells) const noexcept {
    return reinterpret_cast<const Word*>(this + 1)[position & (cells - 1)];
  }
  const Word& at(std::uint64_t position) const noexcept { return at(position, cells_); }
  void move_tail(std::uint64_t p) noexcept {
    tail_.compare_exchange_strong(p, p + 1, std::memory_order_seq_cst);  // [event] seq_cst
  }

  Word tail_;
  Word floor_;
  Word mark_;
  Word read_;  // a RoundMark, of an epoch instead of a round's number
  std::uint64_t cells_;  // constant once it is open
};

// What a store's rings have in common. The first lines are read by each who tells, and seldom written.
template <class Sync>
struct alignas(64) EventState {
  using Word = typename Sync::template Atomic<std::uint64_t>;
  unsigned rings = 0;
  unsigned shard_shift = 0;  // from a shard's number to that of its ring
  std::uint64_t cells = EventRing<Sync>::kCellsMin;  // of each ring
  std::uint64_t bytes_max = 0;                       // of records that are nowhere but in rings
  void (*wake)(void* user) noexcept = nullptr;       // whoever sleeps
  std::uint64_t (*held_bytes)(void* user) noexcept = nullptr;  // an upper bound on what else holds such records
  void* user = nullptr;
  Word place{};      // of the rings; 0: there are none yet
  Word session{};    // how often somebody came when nobody listened
  Word sleepers{};
  EventRounds<Sync> rounds;
  alignas(64) Word shortened{};  // how often want of memory took events
  Word lost{};       // changes, in all gaps of all listeners
  Word gaps{};
  Word pinned{};     // records that listeners hold for their callers
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_EVENT_RING_H_
