// Events: every change that can be read is told once, in its shard's ring, while somebody listens.
//
// A ring is that of one shard, or of a few that lie side by side: there are as many as keep the processors' writers apart
// (CoreOptions::ring_count), and no more. Each costs every poll a look, and its cells and heads a writer's cache a few lines.
//
//   commit      the head is told before it is replaced, the new record once it is stamped (rule Q5)
//   batch       the same at the install, and when a record is settled; a husk is never told
//   buried      a tomb is told before it leaves its slot
//   moved, healed    what is copied is told before, and the copy carries the flag
//
// Who listens is one word on the line of the view clock, which each write reads anyway:
//
//   listeners   63..46 how many | 45..0 from, in units of 4     0: nobody
//
// A record needs to be told if its stamp is past `from`, and it isn't told yet. A listener is in the word before it moves
// the clock to take its own stamp, s; so whoever stamps past s sees it, although the word is read relaxed. `from` is not
// past any listener's s: it was the clock when the first of those who listen came. What was stamped before is told to
// nobody, however late it is replaced; a listener passes over what has a stamp of s or less, so what was told in between
// does no harm, nor what is told because `from` is rounded down.
//
// Records that change nothing for a reader are born with the flag and so never told: a batch's placeholders, a negative
// answer over nothing and its end, a record that only got another deadline.
//
// Memory. The rings are one extent, made when somebody listens for the first time, and kept: a store without listeners
// pays nothing for them. A record that is current costs the ring nothing; one that was replaced or removed stays while a
// cell names it. The bytes of such records are counted where they become so (Space::reclaim): past the rings' share
// each record that is told pushes up to kPassedEach of its ring's oldest out. What a ring lets go counts as gone at once,
// although it goes with the grace period: else each record told until then would push out as much again. So does what was pushed
// out before reclamation came by to count it: nobody knows yet whether it is current, so of that no more than half a share. A write that found no room, although it
// has evicted what it could, does so on all rings (shorten). What everybody who listens has read goes before that (event_rounds.h).
//
// Who sleeps sets `sleepers` and looks at the tails once more; who told moved the tail before it looks at `sleepers`.
//
// Edges: those of event_ring.h; and
//   listen    entering and leaving the word; the rings' place
//   sleep     setting `sleepers` / a writer's look at it
// Lock-free, but for what the system does when a sleeper is woken. That a batch wrote a record, and which, its stamp says: while
// somebody listens, batches take stamps that nobody else has (Versions::state_of, ViewClock::move_for_batch).
#ifndef TERN_ENGINE_EVENTS_H_
#define TERN_ENGINE_EVENTS_H_

#include <algorithm>
#include <bit>
#include <cstdint>
#include <new>

#include "engine/event_ring.h"
#include "engine/point_events.h"
#include "engine/prefetch.h"
#include "engine/space.h"
#include "engine/table.h"
#include "engine/versions.h"

namespace tern::detail {

template <class Sync>
class Events {
 public:
  using Spc = Space<Sync>;
  using Thr = Thread<Sync>;
  using Rec = Record<Sync>;
  using Ring = EventRing<Sync>;
  using State = EventState<Sync>;

  static constexpr unsigned kPassedEach = 4;
  static constexpr std::uint64_t kListenersMax = (1 << kListenersBits) - 1;

  explicit Events(Spc& space) noexcept : space_(space), state_(space.events) {}

  // --- for writers, inside a guard -----------------------------------------------------------------------------

  // The one load that a write pays where nobody listens.
  [[gnu::always_inline]] static bool wanted(const Spc& space) noexcept {
    // Relaxed: who stamps past a listener's stamp has read the clock after it was moved, and so sees this.
    return space.views.listeners().load(std::memory_order_relaxed) != 0;
  }

  // A record that this thread is about to make will be told, where somebody listens: where, as long as nobody else comes between. All that
  // can be done before the record is there is done here, while the table is on its way.
  struct Turn {
    Ring* ring;  // null: that is found out later
    typename Ring::Turn turn;
  };
  [[gnu::always_inline]] static Turn take_turn(Spc& space, Thr& t, const Shard<Sync>& shard) noexcept {
    Turn turn;
    turn.ring = nullptr;
    Events events(space);
    const unsigned number = ring_of(space, shard);
    Ring* const ring = events.ring(number);
    if (ring == nullptr) [[unlikely]] return turn;
    Host host{space, t, number};
    std::uint64_t round = planted<Sync>(Mutant::kRoundNotedLate) ? events.state_.rounds.number() : 0;
    const bool is_free = ring->take_turn(host, turn.turn);
    if (!planted<Sync>(Mutant::kRoundNotedLate)) round = events.state_.rounds.number();
    ring->let_go_of_read(host, turn.turn.position, round);
    events.keep_to_share(host, *ring);
    if (is_free) [[likely]] turn.ring = ring;
    return turn;
  }
  // `r` is the newest decided record of a key of this shard, or was when the guard found it.
  template <class Where>
  [[gnu::always_inline]] static void notify(Spc& space, Thr& t, const Where& shard, Rec& r) noexcept {
    if (wanted(space)) [[unlikely]] tell(space, t, shard, r);
  }
  // The same, where somebody listens.
  [[gnu::noinline]] static void tell(Spc& space, Thr& t, const Shard<Sync>& shard, Rec& r) noexcept {
    tell(space, t, ring_of(space, shard), r);
  }
  static void tell(Spc& space, Thr& t, unsigned number, Rec& r) noexcept {
    const Stamp s = r.stamp_word();
    const bool husk = planted<Sync>(Mutant::kEventAbortedTold) && s.aborted();
    if ((!s.stamped() && !husk) || s.told()) return;
    const std::uint64_t word = space.views.listeners().load(std::memory_order_relaxed);  // see wanted()
    if (word == 0 || (s.stamp() <= from_of(word) && !husk)) return;
    Events events(space);
    Ring* ring = events.ring(number);
    if (ring == nullptr) return;  // then the listener's stamp isn't before this one either
    if (space.has_points()) [[unlikely]] events.tell_points(t, number, s);
    events.put(t, *ring, number, r);
  }

  // The same of a record that this thread has made and stamped, with a hold for its cell: `s` is its word. Nothing is added to that
  // word from now on but the flag, so that is no swap. `turn` was taken before the record was published.
  [[gnu::always_inline]] static void tell_own(Spc& space, Thr& t, const Shard<Sync>& shard, Rec& r, Stamp s, const Turn& turn) noexcept {
    if (turn.ring != nullptr && wanted(space) && !space.has_points()) [[likely]] {
      if (planted<Sync>(Mutant::kEventFlagRestamps)) s = s.stamped_at(space.views.now());
      OwnHost host{{space, t, 0}, s.word() | Stamp::kTold};
      if (turn.ring->publish_at(host, turn.turn, space.offset_of(r))) [[likely]] {
        if (space.events.sleepers.load(std::memory_order_seq_cst) != 0) [[unlikely]] Events(space).wake();  // [sleep] seq_cst
        return;
      }
    }
    tell_own(space, t, shard, r, s);
  }
  [[gnu::noinline]] static void tell_own(Spc& space, Thr& t, const Shard<Sync>& shard, Rec& r, Stamp s) noexcept {
    const std::uint64_t word = space.views.listeners().load(std::memory_order_relaxed);  // see wanted()
    const unsigned number = ring_of(space, shard);
    Events events(space);
    Ring* const ring = word == 0 || !s.stamped() || s.stamp() <= from_of(word) ? nullptr : events.ring(number);
    if (ring == nullptr) [[unlikely]] {
      if (!planted<Sync>(Mutant::kEventUntoldHolds)) space.drop_hold(t, space.offset_of(r));
      return;
    }
    if (space.has_points()) [[unlikely]] events.tell_points(t, number, s);
    if (planted<Sync>(Mutant::kEventFlagRestamps)) s = s.stamped_at(space.views.now());
    OwnHost host{{space, t, number}, s.word() | Stamp::kTold};
    events.put(host, *ring, r, true);
  }

  // The point's event in this ring, if it has one. Inside the guard that found it.
  static void tell_point(Spc& space, Thr& t, unsigned number, Point<Sync>& p) noexcept {
    if (p.events == 0 || PointEvents<Sync>::of(space, p, number).stamp_word().told()) return;
    const std::uint64_t word = space.views.listeners().load(std::memory_order_relaxed);  // see wanted()
    Rec& r = PointEvents<Sync>::stamped(space, p, number);
    if (word == 0 || r.stamp_word().stamp() <= from_of(word)) return;
    Events events(space);
    if (Ring* ring = events.ring(number)) events.put(t, *ring, number, r);
  }

  // Gives up to `count` of each ring's oldest events up. False: there were none.
  bool shorten(Thr& t, unsigned count) noexcept {
    bool some = false;
    for (unsigned i = 0; i != state_.rings; ++i) {
      Host host{space_, t, i};
      Ring* r = ring(i);
      if (r == nullptr) return false;
      for (unsigned n = 0; n != count && r->pass(host); ++n) some = true;
    }
    if (some) state_.shortened.fetch_add(1, std::memory_order_relaxed);  // a figure
    return some;
  }

  // Nobody listens any more: what the ring still holds goes. How many of up to `count`.
  unsigned drain(Thr& t, unsigned number, unsigned count) noexcept {
    Ring* r = ring(number);
    if (r == nullptr || wanted(space_)) return 0;
    Host host{space_, t, number};
    unsigned n = 0;
    while (n != count && r->pass(host)) ++n;
    return n;
  }

  // --- for those who listen ------------------------------------------------------------------------------------

  // In three steps, in this order: enter, read the tails, move the clock (or open a view). False: no memory for the rings,
  // or too many listen.
  bool enter() noexcept {
    if (!open_rings()) return false;
    auto& word = space_.views.listeners();
    const std::uint64_t from = space_.views.now();
    std::uint64_t w = word.load(std::memory_order_relaxed);  // the swap decides
    for (;;) {
      if (count_of(w) == kListenersMax) return false;
      const std::uint64_t to = w == 0 ? kOne | from >> kFromShift : w + kOne;
      if (w == 0) {
        // Before it listens, in this order: a token names a session, then keeps what was read. One that another listener has taken
        // meanwhile is void.
        state_.rounds.forget_history();
        state_.session.fetch_add(1, std::memory_order_seq_cst);  // [listen] seq_cst
      }
      Sync::point("event.listen");
      if (word.compare_exchange_weak(w, to, std::memory_order_seq_cst)) return true;  // [listen] seq_cst
    }
  }
  // True: nobody listens any more; the rings are to be drained.
  bool leave() noexcept {
    auto& word = space_.views.listeners();
    std::uint64_t w = word.load(std::memory_order_relaxed);  // the swap decides
    while (!word.compare_exchange_weak(w, count_of(w) == 1 ? 0 : w - kOne, std::memory_order_seq_cst)) {  // [listen]
    }
    return count_of(w) == 1;
  }
  std::uint64_t listeners() const noexcept { return count_of(space_.views.listeners().load(std::memory_order_seq_cst)); }  // [listen] seq_cst
  // Grows when somebody listens after nobody did: positions of another session mean nothing.
  std::uint64_t session() const noexcept { return state_.session.load(std::memory_order_seq_cst); }  // [listen] seq_cst

  EventRounds<Sync>& rounds() noexcept { return state_.rounds; }
  unsigned rings() const noexcept { return state_.rings; }
  static unsigned ring_of(const Spc& space, unsigned shard) noexcept { return shard >> space.events.shard_shift; }
  static unsigned ring_of(const Spc& space, const Shard<Sync>& shard) noexcept { return ring_of(space, static_cast<unsigned>(&shard - space.geometry.shards)); }
  std::uint64_t cells() const noexcept { return state_.cells; }
  Ring* ring(unsigned number) const noexcept {
    const std::uint64_t at = state_.place.load(std::memory_order_acquire);  // [listen] acquire
    if (at == 0) return nullptr;
    return reinterpret_cast<Ring*>(space_.heap.template at<std::byte>(at) + number * Ring::bytes_for(state_.cells));
  }

  // A listener is about to sleep: whoever tells something from now on wakes it. It looks at the tails after this.
  void announce_sleep() noexcept { state_.sleepers.store(1, std::memory_order_seq_cst); }  // [sleep] seq_cst
  void wake() noexcept {
    if (state_.sleepers.exchange(0, std::memory_order_seq_cst) == 0) return;  // [sleep] seq_cst
    if (state_.wake != nullptr) state_.wake(state_.user);
  }

 private:
  static constexpr unsigned kFromShift = 2;
  static constexpr unsigned kFromBits = 64 - kListenersBits;
  static_assert(kFromBits + kFromShift == 48, "how many, and a stamp");
  static constexpr std::uint64_t kOne = std::uint64_t{1} << kFromBits;
  static constexpr std::uint64_t count_of(std::uint64_t word) noexcept { return word >> kFromBits; }
  static constexpr std::uint64_t from_of(std::uint64_t word) noexcept { return (word & (kOne - 1)) << kFromShift; }

  struct Host {
    Spc& space;
    Thr& t;
    unsigned number;  // the ring's
    bool is_told(std::uint64_t record) const noexcept { return space.record(record)->stamp_word().told(); }
    void tell(std::uint64_t record) const noexcept {
      space.record(record)->w0.fetch_or(Stamp::kTold, std::memory_order_seq_cst);  // [told] seq_cst
    }
    bool is_late(std::uint64_t record) const noexcept {
      const Rec& r = *space.record(record);
      const Stamp s = r.stamp_word();
      return !is_point(r, s) && PointEvents<Sync>::is_late(space, number, r, s);
    }
    void tell_own(std::uint64_t record) const noexcept { tell(record); }
    void hold(std::uint64_t record) const noexcept {
      space.record(record)->meta.fetch_add(Hold::kOne, std::memory_order_acq_rel);  // [hold] inside the guard that found it
    }
    void unhold(std::uint64_t record) const noexcept { space.drop_hold(t, record); }
    void release(std::uint64_t record) const noexcept { space.retire_hold(t, record); }
    void drop(std::uint64_t record) const noexcept { space.drop_hold(t, record); }
    void drop_soon(std::uint64_t record) const noexcept {
      if (record != 0) prefetch_to_write(space.record(record));
    }
    std::uint64_t moment() const noexcept { return space.epoch.moment(); }
    bool has_passed(std::uint64_t moment) const noexcept { return space.epoch.has_passed(moment); }
    void release_soon(std::uint64_t record) const noexcept {
      if (record == 0) return;
      prefetch_to_write(space.record(record));
      prefetch_to_write(space.record(record)->bytes() + 64);
    }
  };

  struct OwnHost : Host {
    std::uint64_t told;
    void tell_own(std::uint64_t record) const noexcept {
      this->space.record(record)->w0.store(told, std::memory_order_release);  // [told] release: moving the tail comes after it
    }
  };

  static bool is_point(const Rec& r, Stamp s) noexcept { return s.tomb() && r.link_word().reason() == TombReason::kInvalidated; }

  void put(Thr& t, Ring& ring, unsigned number, Rec& r) noexcept {
    Host host{space_, t, number};
    put(host, ring, r, false);
  }
  template <class H>
  [[gnu::always_inline]] void put(H& host, Ring& ring, Rec& r, bool held) noexcept {
    std::uint64_t round = planted<Sync>(Mutant::kRoundNotedLate) ? state_.rounds.number() : 0;
    const std::uint64_t tail = ring.publish(host, space_.offset_of(r), held);
    if (!planted<Sync>(Mutant::kRoundNotedLate)) round = state_.rounds.number();
    ring.let_go_of_read(host, tail, round);
    keep_to_share(host, ring);
    if (state_.sleepers.load(std::memory_order_seq_cst) != 0) [[unlikely]] wake();  // [sleep] seq_cst
  }
  // Points that came before what has this stamp are told before it.
  [[gnu::noinline]] void tell_points(Thr& t, unsigned number, Stamp s) noexcept {
    if (planted<Sync>(Mutant::kPointEventBehind)) return;
    space_.points.for_each(space_, [&](unsigned, std::uint64_t, Point<Sync>& p) {
      if (p.events != 0 && Points<Sync>::stamp_of(space_, p) < s.stamp()) tell_point(space_, t, number, p);
    });
  }

  struct PassingHost : Host {
    void release(std::uint64_t record) const noexcept { this->space.retire_hold(this->t, record, this->space.events.bytes_max / 2); }
  };
  void keep_to_share(const Host& host, Ring& ring) noexcept {
    if (!is_past_share()) [[likely]] return;
    PassingHost passing{host};
    const unsigned most = planted<Sync>(Mutant::kEventPassedAtOnce) ? ~0u : kPassedEach;
    for (unsigned n = 0; n != most && is_past_share(); ++n) {
      if (!ring.pass(passing)) return;
    }
  }
  bool is_past_share() const noexcept {
    const std::uint64_t left = space_.orphan_bytes();
    if (left <= state_.bytes_max) [[likely]] return false;
    return left > state_.bytes_max + (state_.held_bytes != nullptr ? state_.held_bytes(state_.user) : 0);
  }

  bool open_rings() noexcept {
    if (state_.place.load(std::memory_order_acquire) != 0) return true;  // [listen] acquire
    const std::uint64_t bytes = Ring::bytes_for(state_.cells) * state_.rings;
    const std::uint64_t at = space_.heap.allocate_extent(bytes);
    if (at == 0) return false;
    std::byte* memory = space_.heap.template at<std::byte>(at);
    std::memset(memory, 0, bytes);
    for (unsigned i = 0; i != state_.rings; ++i) {
      (new (memory + i * Ring::bytes_for(state_.cells)) Ring)->open(state_.cells);
    }
    std::uint64_t none = 0;
    Sync::point("event.open");
    if (!state_.place.compare_exchange_strong(none, at, std::memory_order_acq_rel)) space_.heap.free_extent(at, bytes);  // [listen]
    return true;
  }

  Spc& space_;
  State& state_;
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_EVENTS_H_
