// Epoch: when memory that was unlinked may be used again. One scope for the whole store.
//
//   enter   announce.exchange(G)            before the first look at the table
//   leave   announce.store(0)               after the last
//   retire  after the unlinking compare-and-swap: into the thread's open bag, labelled with G
//   free    a bag, when every announced epoch is greater than its label
//
// A thread's limbo is a ring of 6 bags of up to 64 records: when the ring comes round to a bag, about four hundred retired
// records later, each record that is put into it takes the place of an old one, which is freed. So each write that retires
// one frees one (a bag at once made one write in 64 ten times as slow as the others), and the memory comes back while it is
// still in the second cache level (65,536 records: a third of the rate of grouped sets; 128: a fifth less). Records that are
// large close a bag early. If a bag can't be freed because a reader stands still, the ring grows by another 6 bags, until
// the store's limbo passes its cap and admit() refuses writes: reads go on. Once that reader has left, each bag that closes
// has two others freed, until the ring's limbo is as small as it was.
// Any thread may free another's closed bags (claim() on the cell), so memory in the limbo of a thread that has
// stopped or gone is not lost; its open bag is.
//
// Edges
//   announce   a reader's exchange in enter / the scanner's loads in scan: who announced late sees the table without
//              what was retired, as its later loads of slots and links are seq_cst too
//   quiesce    a reader's leave / the scanner's loads: what it read was read before the memory is reused
//   bag        a closed cell's contents / whoever claims it
//
// Checked with GenMC under RC11, IMM and TSO (tests/models/epoch_reclaim.c): acquire loads of slots, an acquire scan,
// a relaxed load of G in enter or a relaxed leave are each a use after free.
//
// Work. enter and leave: none. retire: one record freed; closing a bag kClosingUnits beside that. reclaim: as many units as
// it is given, a unit being a record freed or a bag looked at, and one bag's records more; each thread's rings are gone
// over from where the last one stopped. All count their units in the calling thread's `work`.
//
// Progress: enter, leave and retire are wait-free but for the allocation of bags; scan is O(threads), done by the one
// thread whose compare-and-swap moved G, at most once for each bag that it closes. Nobody waits for a scan.
#ifndef TERN_ENGINE_EPOCH_H_
#define TERN_ENGINE_EPOCH_H_

#include <cstddef>
#include <cstdint>
#include <utility>

#include "alloc/sync.h"

namespace tern::detail {

inline constexpr unsigned kBagRecords = 64;
inline constexpr unsigned kRingBags = 6;  // few, so that what is retired comes back while it is in the second-level cache
inline constexpr unsigned kBagsOfLimbo = 16;  // of a thread's part of the limbo, a bag holds that much

// One bag and who may touch it: OPEN and FREE belong to the ring's thread, FULL to whoever claims it.
template <class Sync>
struct Bag {
  enum State : std::uint64_t { kFree = 0, kOpen = 1, kFull = 2, kClaimed = 3 };

  typename Sync::template Atomic<std::uint64_t> state;
  typename Sync::template Atomic<std::uint64_t> label;  // the highest G seen at its retires; final when FULL
  std::uint64_t bytes;
  std::uint64_t old;  // of an OPEN bag: records[count] to records[old - 1] are of its former life, and may be freed
  std::uint64_t count;  // not beside `bytes`: the two would be added to as one vector, which has to be put together first
  std::uint64_t records[kBagRecords];

  std::uint64_t end() const noexcept { return count < old ? old : count; }
};

template <class Sync>
struct BagRing {
  Bag<Sync> bags[kRingBags];
  typename Sync::template Atomic<BagRing*> next;  // grown under a stalled reader; never shrinks
};

// Read by every enter; moves a few thousand times a second. Beside the epoch what else every call asks for.
template <class Sync>
struct alignas(128) EpochLine {
  typename Sync::template Atomic<std::uint64_t> epoch{1};
  typename Sync::template Atomic<std::uint64_t> points{};  // that are not yet swept (points.h)
};

// What a thread owns of the epochs. Lies in the thread's state, zero at birth.
template <class Sync>
struct EpochThread {
  // The announcement has a line pair to itself: it is written on each call and read by scanners.
  alignas(128) typename Sync::template Atomic<std::uint64_t> announce;  // 0: outside
  alignas(128) std::uint64_t nest;
  Bag<Sync>* open;
  BagRing<Sync>* ring_of_open;
  unsigned index_of_open;
  bool over_cap;                     // the limbo was past its cap when last looked at
  std::uint64_t label_of_last;
  typename Sync::template Atomic<std::uint64_t> closed;       // bags, ever
  typename Sync::template Atomic<std::uint64_t> closed_seen, closed_before;  // when maintenance looked last, and before
  typename Sync::template Atomic<BagRing<Sync>*> reclaimed_at;  // where; null: at `ring`
  typename Sync::template Atomic<std::uint64_t> limbo_bytes;  // closed bags of this ring
  BagRing<Sync> ring;
};

// Store gives:  void reclaim(Thread&, std::uint64_t record)   frees one record (after its grace period)
//               bool reclaim_at_hand(Thread&, std::uint64_t record)   the same in the simplest case; false: it isn't
//               void reclaim_soon(std::uint64_t record)       it will be, a few records from now: for prefetching
//               BagRing<Sync>* new_ring()                     null: no memory
//               template for_each_thread(fn(EpochThread<Sync>&))
// and its threads `epoch` and a count of `work`.
template <class Sync>
class Epoch {
 public:
  using Word = typename Sync::template Atomic<std::uint64_t>;
  using Thread = EpochThread<Sync>;

  void enter(Thread& t) noexcept {
    if (t.nest++ != 0) return;
    announce(t, line_.epoch);
  }
  void leave(Thread& t) noexcept {
    if (planted<Sync>(Mutant::kLeaveNestedGuard)) {
      --t.nest;
      t.announce.store(0, std::memory_order_release);
      return;
    }
    if (--t.nest != 0) return;
    t.announce.store(0, std::memory_order_release);  // [quiesce] release
  }
  // The same for a call that the thread is in alone (nest is 0) and that calls nobody back: its guard is the
  // announcement and nothing else. `line` is line().
  static void enter_first(Thread& t, const EpochLine<Sync>& line) noexcept { announce(t, line.epoch); }
  static void leave_last(Thread& t) noexcept { t.announce.store(0, std::memory_order_release); }  // [quiesce] release
  // The same for one that may come to functions that enter again.
  static void enter_outermost(Thread& t, const EpochLine<Sync>& line) noexcept {
    t.nest = 1;
    announce(t, line.epoch);
  }
  static void leave_outermost(Thread& t) noexcept {
    t.nest = 0;
    t.announce.store(0, std::memory_order_release);  // [quiesce] release
  }
  EpochLine<Sync>& line() noexcept { return line_; }
  const EpochLine<Sync>& line() const noexcept { return line_; }
  // Between two groups of a long call, with nothing of the table in hand: lets the limbo drain.
  void renew(Thread& t) noexcept { announce(t, line_.epoch); }

  std::uint64_t current() const noexcept { return line_.epoch.load(std::memory_order_relaxed); }  // for statistics
  std::uint64_t safe() const noexcept { return safe_.load(std::memory_order_relaxed); }           // only compared
  // Who is inside now has announced this epoch or an earlier one.
  std::uint64_t moment() const noexcept { return line_.epoch.load(std::memory_order_seq_cst); }  // [announce] seq_cst
  // Whether each of them has left.
  bool has_passed(std::uint64_t moment) const noexcept { return safe_.load(std::memory_order_acquire) > moment; }  // [scan] acquire
  std::uint64_t limbo_bytes() const noexcept { return limbo_bytes_.load(std::memory_order_relaxed); }
  std::uint64_t limbo_bytes_max() const noexcept { return limbo_bytes_max_; }
  void set_limits(std::uint64_t limbo_bytes_max, std::uint64_t thread_bytes) noexcept {
    limbo_bytes_max_ = limbo_bytes_max;
    thread_bytes_ = thread_bytes;
    bag_bytes_ = thread_bytes / kBagsOfLimbo;
  }

  // Before a write: is there room to retire what it replaces? False: the limbo is past its cap (or there is no
  // memory for another ring), and nothing could be freed.
  template <class Store, class StoreThread>
  bool admit(Store& store, StoreThread& st, std::uint64_t units = kAdmitUnits) noexcept {
    Thread& t = st.epoch;
    if (t.open == nullptr && !open_next(store, st)) [[unlikely]] return false;
    if (!t.over_cap || planted<Sync>(Mutant::kLimboUncounted)) [[likely]] return true;
    reclaim(store, st, units);
    t.over_cap = limbo_bytes() > limbo_bytes_max_;
    return !t.over_cap;
  }

  // `record` was unlinked by the caller, inside its guard. A write is admitted with an open bag, and a bag that fills is
  // followed by the next. Only if there is no private memory for that one while a reader keeps the whole ring, the
  // record's memory is lost to the store, and counted (lost_bytes).
  // kAtHand: what is freed in its place is so without a call, if it is a plain record.
  template <bool kAtHand = false, class Store, class StoreThread>
  [[gnu::always_inline]] void retire(Store& store, StoreThread& st, std::uint64_t record, std::uint64_t bytes) noexcept {
    Thread& t = st.epoch;
    Sync::point("epoch.retire");
    if (t.open == nullptr && !open_next(store, st)) [[unlikely]] {
      lost_.fetch_add(bytes, std::memory_order_relaxed);  // counter only
      return;
    }
    Bag<Sync>& bag = *t.open;
    const std::uint64_t g = line_.epoch.load(std::memory_order_seq_cst);  // [announce] seq_cst: not older than the unlink
    if (g > bag.label.load(std::memory_order_relaxed)) bag.label.store(g, std::memory_order_relaxed);
    const std::uint64_t i = bag.count++;
    const std::uint64_t gone = bag.records[i];
    bag.records[i] = record;
    bag.bytes += bytes;
    if (i < bag.old) [[likely]] {
      if constexpr (kAtHand) {
        free_one<true>(store, st, bag, i, gone);
      } else {
        free_one_called(store, st, bag, i, gone);
      }
    }
    if (bag.count == kBagRecords || bag.bytes >= bag_bytes_) close_bag(store, st);
  }

  // What a retire of this thread puts back to use, so many retires from now; 0: not known. To fetch it ahead.
  static std::uint64_t freed_soon(const Thread& t, unsigned ahead) noexcept {
    const Bag<Sync>& bag = *t.open;
    return bag.count + ahead < bag.old ? bag.records[bag.count + ahead] : 0;
  }

  // Closes the thread's open bag, if it holds anything: a thread that goes, or memory that is short.
  template <class Store, class StoreThread>
  void flush(Store& store, StoreThread& st) noexcept {
    if (st.epoch.open != nullptr && st.epoch.open->count != 0) close_bag(store, st);
  }

  static constexpr std::uint64_t kNoBound = ~std::uint64_t{0};

  // Frees what may be freed: of the caller's open bag, and of closed bags of every thread, in up to about `units` steps.
  // True: some was freed, and there may be more. Outside a guard it reaches what no other thread protects. O(threads)
  // beside that.
  // `from_busy` false: what lies in the ring of another thread that is busy is left to it, unless it is too much: the ring
  // comes round to it soon, and its memory is then where it is wanted.
  template <class Store, class StoreThread>
  [[gnu::noinline]] bool reclaim(Store& store, StoreThread& st, std::uint64_t units = kNoBound, bool from_busy = true) noexcept {
    advance_and_scan(store);
    const std::uint64_t safe = safe_.load(std::memory_order_acquire);  // [scan] acquire
    const std::uint64_t before = st.work;
    bool some = false;
    if (Bag<Sync>* open = st.epoch.open; open != nullptr) {
      free_old(store, st, *open);
      // In place: closing a bag for each refused write would grow the ring for a handful of records.
      if (may_free(open->label.load(std::memory_order_relaxed), safe)) {
        open->old = std::exchange(open->count, 0);
        open->bytes = 0;
        free_old(store, st, *open);
      }
    }
    // From the thread on where the last one stopped.
    const std::uint64_t first = next_thread_.load(std::memory_order_relaxed);  // wherever
    for (const bool late : {false, true}) {
      std::uint64_t index = 0;
      store.for_each_thread([&](Thread& other) {
        const std::uint64_t i = index++;
        if ((i < first) != late || st.work - before >= units) return;
        const std::uint64_t limbo = other.limbo_bytes.load(std::memory_order_relaxed);  // a hint
        if (limbo == 0) return;
        if (!from_busy && &other != &st.epoch && limbo <= 2 * thread_bytes_ && is_busy(other)) return;
        some = free_some(store, st, other, safe, units - (st.work - before), 0) || some;
        if (st.work - before >= units) next_thread_.store(i, std::memory_order_relaxed);  // as above
      });
    }
    return some && st.work - before >= units;
  }
  // For a call that takes many blocks before it retires as many: what the thread itself has retired, a bag of it, the oldest
  // first. Else a ring of it would overflow the magazine later, and its memory be cold when it comes back. True: some was
  // freed. Outside a guard. Looks at up to kTakeBackLooks bags.
  template <class Store, class StoreThread>
  [[gnu::noinline]] bool take_back(Store& store, StoreThread& st) noexcept {
    Thread& t = st.epoch;
    if (t.open == nullptr) return false;
    if (t.open->count < t.open->old) {
      free_old(store, st, *t.open);
      return true;
    }
    if (t.limbo_bytes.load(std::memory_order_relaxed) == 0) return false;  // a hint
    BagRing<Sync>* ring = t.ring_of_open;
    unsigned index = t.index_of_open;
    bool scanned = false;
    for (unsigned looked = 0; looked != kTakeBackLooks; ++looked) {
      if (++index == kRingBags) {
        index = 0;
        ring = ring_after(t, ring->next.load(std::memory_order_relaxed));  // own ring
      }
      Bag<Sync>& bag = ring->bags[index];
      if (bag.state.load(std::memory_order_relaxed) != Bag<Sync>::kFull) continue;  // the claim decides
      if (!scanned && !may_free(bag.label.load(std::memory_order_relaxed), safe_.load(std::memory_order_relaxed))) {  // as above
        advance_and_scan(store);
        scanned = true;
      }
      std::uint64_t safe = safe_.load(std::memory_order_acquire);  // [scan] acquire
      if (planted<Sync>(Mutant::kTakenBackEarly)) safe = ~std::uint64_t{0};
      if (try_free<true>(store, st, t, bag, safe)) return true;
      if (scanned) return false;  // nor would what is younger
    }
    return false;
  }
  // Which threads have closed a bag since this was called last. To be called now and then, by maintenance.
  template <class Store>
  void see_who_is_busy(Store& store) noexcept {
    store.for_each_thread([](Thread& t) {
      t.closed_before.store(t.closed_seen.load(std::memory_order_relaxed), std::memory_order_relaxed);  // hints
      t.closed_seen.store(t.closed.load(std::memory_order_relaxed), std::memory_order_relaxed);         // as above
    });
  }
  static constexpr std::uint64_t kAdmitUnits = 1024;
  static constexpr unsigned kTakeBackLooks = 32;
  static constexpr std::uint64_t kClosingUnits = 2 * kBagRecords;

  // Moves G and looks who is inside. One of several concurrent callers does the work.
  template <class Store>
  void advance_and_scan(Store& store) noexcept {
    std::uint64_t g = line_.epoch.load(std::memory_order_seq_cst);                          // [announce] seq_cst
    if (!line_.epoch.compare_exchange_strong(g, g + 1, std::memory_order_seq_cst)) return;  // [announce] seq_cst
    scan(store);
  }

  std::uint64_t lost_bytes() const noexcept { return lost_.load(std::memory_order_relaxed); }

 private:
  [[gnu::always_inline]] static void announce(Thread& t, const Word& epoch) noexcept {
    const auto order =
        planted<Sync>(Mutant::kRelaxedAnnounce) ? std::memory_order_relaxed : std::memory_order_seq_cst;
    t.announce.exchange(epoch.load(std::memory_order_seq_cst), order);  // [announce] seq_cst
    Sync::point("epoch.enter");
  }

  // safe_ = an epoch such that a bag with a smaller label can be freed.
  template <class Store>
  void scan(Store& store) noexcept {
    std::uint64_t oldest = line_.epoch.load(std::memory_order_seq_cst);
    store.for_each_thread([&](Thread& t) {
      const auto order =
          planted<Sync>(Mutant::kScanRelaxed) ? std::memory_order_relaxed : std::memory_order_seq_cst;
      const std::uint64_t a = t.announce.load(order);  // [announce] seq_cst, [quiesce] acquire
      if (a != 0 && a < oldest) oldest = a;
    });
    std::uint64_t safe = safe_.load(std::memory_order_relaxed);  // only compared; the exchange publishes
    while (safe < oldest &&
           !safe_.compare_exchange_weak(safe, oldest, std::memory_order_acq_rel)) {  // [scan] release
    }
    Sync::point("epoch.scanned");
  }

  template <class Store, class StoreThread>
  [[gnu::noinline]] void close_bag(Store& store, StoreThread& st) noexcept {
    Thread& t = st.epoch;
    Bag<Sync>& bag = *t.open;
    free_old(store, st, bag);  // if it closes early
    const std::uint64_t label = bag.label.load(std::memory_order_relaxed);
    t.limbo_bytes.fetch_add(bag.bytes, std::memory_order_relaxed);                  // statistics
    const std::uint64_t total = limbo_bytes_.fetch_add(bag.bytes, std::memory_order_relaxed) + bag.bytes;
    bag.state.store(Bag<Sync>::kFull, std::memory_order_release);  // [bag] release
    t.open = nullptr;
    t.closed.store(t.closed.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);  // one writer
    // G moves about once for each bag that the busiest thread closes, not once for each bag of each.
    if (label == t.label_of_last) {
      std::uint64_t g = label;
      line_.epoch.compare_exchange_strong(g, g + 1, std::memory_order_seq_cst);
    }
    t.label_of_last = label;
    if (total > limbo_bytes_max_) {
      t.over_cap = true;
    } else if (t.limbo_bytes.load(std::memory_order_relaxed) > thread_bytes_) {
      advance_and_scan(store);
      free_some(store, st, t, safe_.load(std::memory_order_acquire), kClosingUnits, thread_bytes_);  // [scan] acquire
    }
    open_next(store, st);
  }

  // The next bag of the ring, freed if it was full; another ring if it can't be. False: no memory for one.
  template <class Store, class StoreThread>
  [[gnu::noinline]] bool open_next(Store& store, StoreThread& st) noexcept {
    Thread& t = st.epoch;
    if (t.ring_of_open == nullptr) {
      t.ring_of_open = &t.ring;
      t.index_of_open = kRingBags - 1;
    }
    BagRing<Sync>* ring = t.ring_of_open;
    unsigned index = t.index_of_open + 1;
    if (index == kRingBags) {
      index = 0;
      ring = ring->next.load(std::memory_order_relaxed);  // own ring: written by this thread only
      if (ring == nullptr) ring = &t.ring;
    }
    for (int attempt = 0; attempt < 2; ++attempt) {
      Bag<Sync>& bag = ring->bags[index];
      bool mine = false;
      if (bag.state.load(std::memory_order_acquire) == Bag<Sync>::kFull) {  // [bag] acquire
        if (bag.label.load(std::memory_order_relaxed) >= safe_.load(std::memory_order_acquire)) {  // [scan] acquire
          advance_and_scan(store);
        }
        mine = claim(bag, safe_.load(std::memory_order_acquire));  // [scan] acquire
        if (mine) {
          t.limbo_bytes.fetch_sub(bag.bytes, std::memory_order_relaxed);
          limbo_bytes_.fetch_sub(bag.bytes, std::memory_order_relaxed);
        }
      }
      if (mine || bag.state.load(std::memory_order_acquire) == Bag<Sync>::kFree) {  // [bag] acquire
        bag.old = mine ? bag.count : 0;
        bag.count = 0;
        bag.bytes = 0;
        bag.label.store(0, std::memory_order_relaxed);
        bag.state.store(Bag<Sync>::kOpen, std::memory_order_relaxed);  // only this thread opens bags
        t.open = &bag;
        t.ring_of_open = ring;
        t.index_of_open = index;
        return true;
      }
      // Claimed by another thread, or still in use by a reader: grow in front of it.
      if (attempt == 0) {
        BagRing<Sync>* more = store.new_ring();
        if (more == nullptr) return false;
        BagRing<Sync>* at = t.ring_of_open;
        more->next.store(at->next.load(std::memory_order_relaxed), std::memory_order_relaxed);
        at->next.store(more, std::memory_order_release);  // [ring] release
        ring = more;
        index = 0;
      }
    }
    return false;
  }

  template <bool kAtHand, class Store, class StoreThread>
  [[gnu::always_inline]] void free_one(Store& store, StoreThread& st, const Bag<Sync>& bag, std::uint64_t i,
                                       std::uint64_t gone) noexcept {
    if (i + kAhead < bag.old) store.reclaim_soon(bag.records[i + kAhead]);
    Sync::point("epoch.free");
    ++st.work;
    if constexpr (kAtHand) {
      if (store.reclaim_at_hand(st, gone)) [[likely]] return;
    }
    store.reclaim(st, gone);
  }
  template <class Store, class StoreThread>
  [[gnu::noinline]] void free_one_called(Store& store, StoreThread& st, const Bag<Sync>& bag, std::uint64_t i,
                                         std::uint64_t gone) noexcept {
    free_one<false>(store, st, bag, i, gone);
  }
  static constexpr std::uint64_t kAhead = 6;

  // What is left in an open bag of its former life.
  template <class Store, class StoreThread>
  void free_old(Store& store, StoreThread& st, Bag<Sync>& bag) noexcept {
    if (bag.count >= bag.old) return;
    Sync::point("epoch.free");
    st.work += bag.old - bag.count;
    for (std::uint64_t i = bag.count; i != bag.old; ++i) store.reclaim(st, bag.records[i]);
    bag.old = bag.count;
  }

  // Closed bags of `owner`, from where the last one stopped, while its limbo is past `floor_bytes`. True: one at least.
  template <class Store, class StoreThread>
  bool free_some(Store& store, StoreThread& st, Thread& owner, std::uint64_t safe, std::uint64_t units,
                 std::uint64_t floor_bytes) noexcept {
    const std::uint64_t before = st.work;
    bool some = false;
    BagRing<Sync>* const first = ring_after(owner, owner.reclaimed_at.load(std::memory_order_acquire));  // [ring] acquire
    BagRing<Sync>* ring = first;
    do {
      for (Bag<Sync>& bag : ring->bags) {
        if (owner.limbo_bytes.load(std::memory_order_relaxed) <= floor_bytes) return some;
        if (st.work - before >= units) {
          owner.reclaimed_at.store(ring, std::memory_order_release);  // [ring] release
          return some;
        }
        ++st.work;
        some = try_free(store, st, owner, bag, safe) || some;
      }
      ring = ring_after(owner, ring->next.load(std::memory_order_acquire));  // [ring] acquire
    } while (ring != first);
    return some;
  }
  static bool is_busy(const Thread& t) noexcept {
    return t.closed_seen.load(std::memory_order_relaxed) != t.closed_before.load(std::memory_order_relaxed);  // hints
  }
  static BagRing<Sync>* ring_after(Thread& owner, BagRing<Sync>* next) noexcept { return next != nullptr ? next : &owner.ring; }

  static bool may_free(std::uint64_t label, std::uint64_t safe) noexcept {
    return planted<Sync>(Mutant::kFreeAtEqualEpoch) ? label <= safe : label < safe;
  }

  // FULL -> CLAIMED, if nobody can be reading what it holds.
  bool claim(Bag<Sync>& bag, std::uint64_t safe) noexcept {
    std::uint64_t full = Bag<Sync>::kFull;
    if (bag.state.load(std::memory_order_acquire) != full) return false;  // [bag] acquire
    const std::uint64_t label = bag.label.load(std::memory_order_relaxed);
    if (!may_free(label, safe)) return false;
    if (!bag.state.compare_exchange_strong(full, Bag<Sync>::kClaimed, std::memory_order_acq_rel)) return false;  // [bag] acquire
    // Between the look at the label and the claim the owner may have freed and filled it again.
    const std::uint64_t now = bag.label.load(std::memory_order_relaxed);
    if (may_free(now, safe)) return true;
    bag.state.store(Bag<Sync>::kFull, std::memory_order_release);  // [bag] release
    return false;
  }

  template <bool kAtHand = false, class Store, class StoreThread>
  bool try_free(Store& store, StoreThread& st, Thread& owner, Bag<Sync>& bag, std::uint64_t safe) noexcept {
    if (!claim(bag, safe)) return false;
    Sync::point("epoch.free");
    const std::uint64_t bytes = bag.bytes;
    st.work += bag.count;
    for (std::uint64_t i = 0; i != bag.count; ++i) {
      if constexpr (kAtHand) {
        if (i + kAhead < bag.count) store.reclaim_soon(bag.records[i + kAhead]);
        if (store.reclaim_at_hand(st, bag.records[i])) continue;
      }
      store.reclaim(st, bag.records[i]);
    }
    bag.state.store(Bag<Sync>::kFree, std::memory_order_release);  // [bag] release
    owner.limbo_bytes.fetch_sub(bytes, std::memory_order_relaxed);
    limbo_bytes_.fetch_sub(bytes, std::memory_order_relaxed);
    return true;
  }

  EpochLine<Sync> line_;
  alignas(128) Word safe_{};
  Word next_thread_{};  // where reclaim() goes on
  Word limbo_bytes_{};
  Word lost_{};
  alignas(128) Setting limbo_bytes_max_;
  Setting thread_bytes_;
  Setting bag_bytes_;
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_EPOCH_H_
