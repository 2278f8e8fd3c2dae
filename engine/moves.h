// Moves: memory goes where the workload goes. Records leave spans that are sparsely used, so that
// the spans can serve other sizes; the heap says which (alloc/drain-inl.h), this file moves.
//
//   move(found)      copy the record to a block elsewhere; freeze its deadline; one compare-and-swap
//                    of the slot from exactly the word that was found; retire the old, or free the copy
//   drain(n)         walks the draining spans and moves what it finds, n blocks at most
//   make_room(n)     for a write that found no room: has spans picked, drains them, takes the memory
//                    back; what doesn't fit into its bound is owed, and done by tick
//   make_room_of_others(n)   a quarter of that, before the write evicts, where much of the budget lies in free blocks
//
// What may move. A record that is LIVE in its slot, decided, no tomb and alone in its chain. The
// copy has its version, stamp, flags, deadline and access bits, and the slot its generation, so
// nobody can tell. A record that a HeldValue or an event holds could move too, as it can be replaced; but its
// block would stay, so it is left where it is. Everything else that lies in a block waits where it
// is: older versions and tombs until the views that need them close, records of a split until it
// is complete, drafts, tentative entries, notes. A move is no change: no event, no new version.
//
// The deadline. A touch moves it in place. It is frozen before it is copied, so that a touch either
// is in the copy or finds X frozen and replaces the record (rule Q5). If the swap then fails because
// of a split, the record stays as it is with X frozen: the next touch replaces it.
//
// From a block to its record. A walk over the blocks of a span finds records, but also overflow
// buckets, notes, blocks in magazines and limbo, and such as are being written this instant. Its
// words are therefore taken for a guess: what would be the key is copied out with bounds checked
// against the block (relaxed loads, as in a sequence lock), hashed, and looked up. Only if the table,
// inside a guard, leads to this very offset is it a record, and then it is the current one. Garbage
// is looked up and not found. The other way, from the table to the blocks, needs no guess, but a pass over
// all entries to empty one span: 7 ms where this takes 15 us (500,000 entries of 64 bytes, 15 of 16
// removed), out of proportion to the write that waits for it. Records with keys past 254 bytes aren't
// found this way, and stay.
//
// Bounds. A slice looks at most at so many blocks (512 bytes of a block are another look, and a step of a walk is 64 KiB at most); a write at kLooksBase (kLooksBaseLarge) and one
// more for each kBytesALook bytes of its size. Lock-free: a move fails only because
// another operation on the key, or a split, succeeded. A thread stopped inside a move costs its
// copy, and as any thread inside a guard, reclamation.
#ifndef TERN_ENGINE_MOVES_H_
#define TERN_ENGINE_MOVES_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "engine/events.h"
#include "engine/prefetch.h"
#include "engine/space.h"
#include "engine/table.h"
#include "engine/versions.h"

// Sanitizers would report what guess_key does on purpose. (Under clang no_sanitize("thread") leaves atomic loads
// instrumented.)
#if defined(__clang__)
#define TERN_READS_GARBAGE __attribute__((noinline, no_sanitize("address"), disable_sanitizer_instrumentation))
#else
#define TERN_READS_GARBAGE __attribute__((noinline, no_sanitize("address"), no_sanitize("thread")))
#endif

namespace tern::detail {

// What the moves of a store have been asked for. One for each store.
template <class Sync>
struct RoomOwed {
  // The largest size that a write found no room for and that is still being made; 0: none.
  typename Sync::template Atomic<std::uint64_t> bytes{};
};

template <class Sync>
class Moves {
 public:
  using Tbl = Table<Sync>;
  using Thr = Thread<Sync>;
  using Rec = Record<Sync>;
  using Found = typename Tbl::Found;

  enum class Outcome : std::uint8_t {
    kMoved,
    kWaits,     // it may not move now
    kLost,      // the key changed meanwhile
    kNoMemory,  // no block for the copy
  };

  // Blocks looked at for one write, and as many more as its size has kBytesALook; so many bytes of a block are another look. A
  // span of 2 MiB that holds records of 64 bytes, one of 16 left, takes 1,700 looks; one of 64 KiB takes 50.
  static constexpr unsigned kLooksBase = 1024;
  static constexpr unsigned kLooksBaseLarge = 4096;
  static constexpr std::size_t kBytesALook = 512;
  // Before it evicts.
  static constexpr unsigned kLooksFirst = 1024;

  Moves(Tbl& table, RoomOwed<Sync>& owed) noexcept
      : table_(table), space_(table.space()), owed_(owed) {}

  // Inside the guard that found the record.
  Outcome move(Thr& t, const Found& found) noexcept {
    if (!found.word.is_live()) return Outcome::kWaits;
    Rec& r = *found.record;
    const Stamp s =
        planted<Sync>(Mutant::kMoveUnstamped) ? r.stamp_word() : Versions<Sync>::finalise(space_, r);
    if (s.tomb() || s.intent()) return Outcome::kWaits;
    if (!Versions<Sync>::alone(r, s) && !planted<Sync>(Mutant::kMoveVersioned)) return Outcome::kWaits;
    if (Events<Sync>::wanted(space_)) [[unlikely]] {
      const auto k = space_.key_of(r, s);
      Events<Sync>::tell(space_, t, table_.shard_of(table_.hash_of({k.data, k.size})), r);
    }
    if (r.hold_word().holds() != 0 && !planted<Sync>(Mutant::kMoveHeld)) return Outcome::kWaits;
    const std::uint64_t old = found.word.offset();
    std::uint64_t copy = space_.copy_of(t, old);
    if (copy != 0 && space_.heap.is_draining(copy)) {
      // What was moved away a thousand records ago comes back through the limbo, and is on top of the magazine.
      space_.discard(t, copy);
      space_.heap.sift(t.cache);
      copy = space_.copy_of(t, old);
    }
    if (copy == 0) return Outcome::kNoMemory;
    Sync::point("move.copied");
    Rec& c = *space_.record(copy);
    if (s.has_x()) {
      std::uint64_t x = r.x().load(std::memory_order_seq_cst);  // [deadline] seq_cst
      if (!planted<Sync>(Mutant::kMoveWithoutFreeze)) {
        x = r.x().fetch_or(Deadline::kFrozen, std::memory_order_seq_cst);  // [deadline] seq_cst
      }
      c.x().store(Deadline(x).thawed().word(), std::memory_order_relaxed);  // [publish] comes with the swap
      Sync::point("move.frozen");
    }
    c.w0.store(s.word() | (r.stamp_word().word() & Stamp::kTold), std::memory_order_relaxed);  // [publish] as above; told, if it is
    const Hold hold = r.hold_word();
    c.meta.store(hold.unheld().word(), std::memory_order_relaxed);  // [publish] as above
    std::uint64_t expected = found.word.word();
    if (planted<Sync>(Mutant::kMoveFromStaleWord)) {
      expected = found.slot->load(std::memory_order_seq_cst);
      if (!SlotWord(expected).is_live()) expected = found.word.word();
    }
    Sync::point("move.swap");
    if (!found.slot->compare_exchange_strong(expected, found.word.replaced(copy).word(),
                                             std::memory_order_seq_cst)) {  // [publish] release
      space_.discard(t, copy);
      return Outcome::kLost;
    }
    Sync::point("move.swapped");
    if (planted<Sync>(Mutant::kMoveFreesOld)) {
      space_.discard(t, old);
      return Outcome::kMoved;
    }
    // Its block alone: an extent has passed to the copy.
    space_.epoch.retire(space_, t, old, space_.heap.block_bytes(old));
    t.counters.moves.add();
    return Outcome::kMoved;
  }

  // Looks at up to `looks` blocks of draining spans; how many it looked at. Each guard covers at
  // most 64 of them.
  unsigned drain(Thr& t, unsigned looks) noexcept {
    auto& heap = space_.heap;
    unsigned looked = 0;
    for (std::size_t span = heap.next_draining(0); span != heap.kNone && looked < looks;
         span = heap.next_draining(span + 1)) {
      while (looked < looks) {
        if (heap.wants_back(t.cache)) heap.sift(t.cache);
        std::uint64_t blocks[64];
        std::size_t bytes = 0;
        const std::size_t count = heap.walk(span, blocks, bytes);
        if (count == heap.kNone) break;
        looked += static_cast<unsigned>(count + count * bytes / kBytesALook) + 1;
        t.work += count + 1;
        if (!move_blocks(t, blocks, count, bytes)) return looked;
      }
    }
    return looked;
  }

  // For a write of `bytes` that found no room, outside of guards. True: there was room when it
  // looked. False: none can be made, or what it takes is owed.
  bool make_room(Thr& t, std::uint64_t bytes) noexcept {
    if (t.epoch.nest != 0) {  // what it moved would stay where it is: the own guard protects it
      owe(bytes);
      return false;
    }
    const unsigned base = space_.heap.span_bytes() > (64 << 10) ? kLooksBaseLarge : kLooksBase;
    return work(t, bytes, base + static_cast<unsigned>(size_of_room(bytes) / kBytesALook), kReclaimLooks);
  }

  // The same before it evicts, where others have free blocks in plenty (BasicHeap::is_scattered): a lesser share, as the rest is owed and made by evicting.
  bool make_room_of_others(Thr& t, std::uint64_t bytes) noexcept {
    if (t.epoch.nest != 0) return false;
    return work(t, bytes, kLooksFirst + static_cast<unsigned>(size_of_room(bytes) / kBytesALook), 1);
  }

  // A slice of what is owed. True: there may be more.
  bool pay(Thr& t, unsigned looks) noexcept {
    const std::uint64_t bytes = owed_.bytes.load(std::memory_order_relaxed);  // a hint
    if (bytes != 0) return !work(t, bytes, looks, 1) && owed_.bytes.load(std::memory_order_relaxed) != 0;  // as above
    return space_.heap.shrinking_bytes() != 0 && shrink(t, looks);
  }

 private:
  static constexpr int kReclaimLooks = 3;
  static constexpr std::uint64_t kTakenBackMax = 512;  // units of reclaiming, each time
  static constexpr std::size_t kGroup = 16;
  struct Guess {
    std::uint64_t offset;
    std::uint64_t hash;
    std::size_t key_size;
    std::uint64_t key[32];
  };
  static_assert(sizeof(Guess::key) >= kShortKeyMax, "any short key");

  // A slice of the budget's way down. True: there may be more.
  bool shrink(Thr& t, unsigned looks) noexcept {
    auto& heap = space_.heap;
    const unsigned looked = drain(t, looks);
    take_back(t, looks);
    if (heap.give_up_empty()) return false;
    if (looked != 0) return true;
    return heap.drain_to_shrink() || walk_again();
  }

  // Nothing more to pick: what drains is held, or lies in magazines or limbo. Once more, and after the last time these
  // spans serve again. True: some still drain.
  bool walk_again() noexcept {
    auto& heap = space_.heap;
    bool some = false;
    for (std::size_t span = heap.next_draining(0); span != heap.kNone; span = heap.next_draining(span + 1)) {
      some = heap.walk_again(span) || some;
    }
    return some;
  }

  static std::size_t size_of_room(std::uint64_t bytes) noexcept {
    return bytes == kRoomForBucket ? alloc::kBucketBytes : bytes;
  }

  bool work(Thr& t, std::uint64_t bytes, unsigned looks, int reclaim_looks) noexcept {
    unsigned looked = 0;
    bool picked = true;
    const std::uint64_t before = t.work;
    while (picked && looked < looks && t.work - before < 4 * looks) {
      looked += drain(t, looks - looked);
      // Others are inside for a fraction of a microsecond: looking again gets past them, if they run.
      for (int look = 0; look != reclaim_looks; ++look) {
        take_back(t, looks);
        if (has_room(t, bytes)) {
          owed_.bytes.store(0, std::memory_order_relaxed);  // a hint: whoever still lacks room says so again
          return true;
        }
      }
      if (looked < looks) picked = space_.heap.drain_for(size_of_room(bytes));
      looked += 16;  // a pick counts, too
      t.work += 16;
    }
    if (!picked) {
      if (!walk_again()) {
        owed_.bytes.store(0, std::memory_order_relaxed);  // as above
        return false;
      }
    }
    owe(bytes);
    return false;
  }

  void owe(std::uint64_t bytes) noexcept {
    if (owed_.bytes.load(std::memory_order_relaxed) < bytes) {
      owed_.bytes.store(bytes, std::memory_order_relaxed);  // a hint: of two, one is remembered
    }
  }

  // What was moved away from goes back to its spans, as far as nobody else protects it.
  void take_back(Thr& t, unsigned looks) noexcept {
    space_.epoch.reclaim(space_, t, std::min<std::uint64_t>(looks, kTakenBackMax));
    space_.heap.sift(t.cache);
  }

  bool has_room(Thr& t, std::uint64_t bytes) noexcept {
    auto& heap = space_.heap;
    if (bytes == kRoomForBucket) {
      const std::uint64_t bucket = heap.allocate_bucket();
      if (bucket != 0) heap.free(t.cache, bucket);
      return bucket != 0;
    }
    if (bytes <= heap.largest_block()) {
      const std::uint64_t block = heap.allocate(t.cache, bytes);
      if (block != 0) heap.free(t.cache, block);
      return block != 0;
    }
    const std::uint64_t extent = heap.allocate_extent(bytes);
    if (extent != 0) heap.free_extent(extent, bytes);
    return extent != 0;
  }

  // False: no memory for copies, or the limbo is full.
  bool move_blocks(Thr& t, const std::uint64_t* blocks, std::size_t count, std::size_t bytes) noexcept {
    const auto& heap = space_.heap;
    for (std::size_t i = 0; i != count; ++i) prefetch_near(heap.at(blocks[i]));
    space_.epoch.enter(t.epoch);
    bool may_go_on = space_.epoch.admit(space_, t);
    for (std::size_t i = 0; i < count && may_go_on; i += kGroup) {
      may_go_on = move_group(t, blocks + i, count - i < kGroup ? count - i : kGroup, bytes);
    }
    space_.epoch.leave(t.epoch);
    return may_go_on;
  }

  bool move_group(Thr& t, const std::uint64_t* blocks, std::size_t count, std::size_t bytes) noexcept {
    Guess guesses[kGroup];
    std::size_t n = 0;
    for (std::size_t i = 0; i != count; ++i) {
      Guess& g = guesses[n];
      if (!guess_key(space_.heap.at(blocks[i]), bytes, g)) continue;
      g.offset = blocks[i];
      g.hash = table_.hash_of({reinterpret_cast<const char*>(g.key), g.key_size});
      const auto& s = table_.shard_of(g.hash);
      prefetch_near(&table_.bucket(s, Tbl::size_of(s).home(g.hash)));
      ++n;
    }
    for (std::size_t i = 0; i != n; ++i) {
      const Guess& g = guesses[i];
      const Found found = table_.find(g.hash, {reinterpret_cast<const char*>(g.key), g.key_size});
      if (!found || found.word.offset() != g.offset) continue;
      if (move(t, found) == Outcome::kNoMemory) return false;
    }
    return true;
  }

  // What would be the key if the block were a record with a short one. Nothing here is known to be
  // anything, and all of it may change under our eyes.
  TERN_READS_GARBAGE static bool guess_key(const std::byte* block, std::size_t bytes, Guess& g) noexcept {
    const auto* words = reinterpret_cast<const std::uint64_t*>(block);
    const std::size_t count = bytes / sizeof(std::uint64_t);
    if (count <= kRecordHeaderBytes / 8) return false;
    const Stamp s(__atomic_load_n(words, __ATOMIC_RELAXED));
    const std::size_t size = s.klen8();
    if (size == 0 || size > kShortKeyMax || s.tomb()) return false;
    std::size_t at = kRecordHeaderBytes / 8 + s.has_x();
    if (s.has_ext()) {
      if (at >= count) return false;
      at += 1 + Ext(__atomic_load_n(words + at, __ATOMIC_RELAXED)).has_ref();
    }
    if (at * 8 + size > bytes) return false;
    for (std::size_t i = 0; i * 8 < size; ++i) g.key[i] = __atomic_load_n(words + at + i, __ATOMIC_RELAXED);
    g.key_size = size;
    return true;
  }

  Tbl& table_;
  Space<Sync>& space_;
  RoomOwed<Sync>& owed_;
};

}  // namespace tern::detail

#undef TERN_READS_GARBAGE

#endif  // TERN_ENGINE_MOVES_H_
