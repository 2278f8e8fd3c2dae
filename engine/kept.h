// Kept: keys whose older versions stay for views, and what becomes of them when views end.
//
// Whoever finds that a version is needed (versions.h) puts its key's hash on its shard's queue; a key is there once for
// each version that was kept, and stays there while one is. When a view ends, what it alone needed is found by going
// over the queue once: a round. A key whose chain still holds something goes to the queue's end. Who goes over it:
// tick, the view that closes (a bounded number), each write that adds to it (kEachNote), and writes that find no room.
// So without tick, too, what ended views have left falls with the writes.
//
// A note that found no memory is counted, and the next round goes over the buckets instead, whose chains say the same.
//
// Any thread may call anything, inside a guard. Lock-free. A thread stopped for ever between marking a version and its
// note, or between taking a note and looking, leaves one key's versions to that key's next write.
//
// Edges
//   floor     raising version_floor before a slot is emptied / the next inserter's read
//   publish   the slot's swap
#ifndef TERN_ENGINE_KEPT_H_
#define TERN_ENGINE_KEPT_H_

#include <cstdint>

#include "engine/events.h"
#include "engine/growth.h"
#include "engine/leaves.h"
#include "engine/table.h"
#include "engine/versions.h"

namespace tern::detail {

template <class Sync>
class Commit;
template <class Sync>
class Batches;

template <class Sync>
class Kept {
 public:
  using Tbl = Table<Sync>;
  using Shd = Shard<Sync>;
  using Thr = Thread<Sync>;
  using Rec = Record<Sync>;

  static constexpr unsigned kEachNote = 2;  // keys looked at for each that is added

  // `commit` is for what a batch has left on its way.
  Kept(Tbl& table, Commit<Sync>* commit) noexcept : table_(table), space_(table.space()), commit_(commit) {}

  // A version of a key with this hash stays.
  [[gnu::noinline]] void note(Thr& t, Shd& s, std::uint64_t hash) noexcept {
    put(t, s, hash);
    review(t, s, kEachNote);
    if (space_.views.keep_too_much()) [[unlikely]] end_oldest_view();
  }

  // A key with this hash is to be looked at again.
  void put(Thr& t, Shd& s, std::uint64_t hash) noexcept {
    Sync::point("kept.note");
    if (s.kept.push(space_, t, (hash & kHashMask) | kNote)) {
      space_.kept_notes.fetch_add(1, std::memory_order_relaxed);  // a hint
    } else {
      space_.kept_sweep.lost.fetch_add(1, std::memory_order_relaxed);  // a count
    }
  }

  bool end_oldest_view() noexcept {
    if (!space_.views.end_oldest()) return false;
    if (space_.log.call != nullptr) space_.log.call(space_.log.user, "a view was ended: what it kept took too much room");
    return true;
  }

  // Whether a round is due or under way.
  static bool is_due(const Space<Sync>& space, const Shd& s) noexcept {
    if (s.kept.count() == 0) return false;
    return space.views.open_count() == 0 || s.kept_left.load(std::memory_order_relaxed) != 0 ||  // hints
           s.kept_for.load(std::memory_order_relaxed) != space.views.ended();                    // as above
  }

  // A view has given up the shard: another round is due there, and nowhere else.
  void ask_again(Shd& s) noexcept { s.kept_for.store(~std::uint64_t{0}, std::memory_order_relaxed); }  // a hint

  // Goes on with a round: up to `count` keys. Answers how many were looked at.
  unsigned review(Thr& t, Shd& s, unsigned count) noexcept {
    if (!is_due(space_, s)) return 0;
    if (s.kept_left.load(std::memory_order_relaxed) == 0) {  // a count; whoever begins the round
      s.kept_for.store(space_.views.ended(), std::memory_order_relaxed);  // before the count: what ends now asks for another
      s.kept_left.store(s.kept.count(), std::memory_order_relaxed);       // as above
    }
    unsigned done = 0;
    for (; done != count; ++done) {
      const std::uint64_t left = s.kept_left.load(std::memory_order_relaxed);  // as above
      if (left == 0) break;
      const std::uint64_t note = s.kept.pop(space_, t, SegQueue<Sync>::WhenEmpty::kRelease);
      s.kept_left.store(note != 0 ? left - 1 : 0, std::memory_order_relaxed);  // as above
      if (note == 0) break;
      space_.kept_notes.fetch_sub(1, std::memory_order_relaxed);  // a hint
      look(t, s, note);
    }
    return done;
  }

  // The same for up to `count` keys of any shard, or as many buckets where notes were lost.
  unsigned review_any(Thr& t, unsigned count) noexcept {
    unsigned done = 0;
    if (space_.kept_notes.load(std::memory_order_relaxed) != 0) {  // a hint
      for (unsigned n = 0; n != table_.shard_count() && done != count; ++n) {
        const std::uint64_t hand = space_.kept_hand.load(std::memory_order_relaxed);  // wherever
        Shd& s = table_.shard(static_cast<unsigned>(hand & (table_.shard_count() - 1)));
        done += review(t, s, count - done);
        if (!is_due(space_, s)) space_.kept_hand.fetch_add(1, std::memory_order_relaxed);  // as above
      }
    }
    if (done != count) done += sweep(t, count - done);
    return done;
  }

  // Where notes were lost: goes over up to `count` buckets. Answers over how many.
  unsigned sweep(Thr& t, unsigned count) noexcept {
    KeptSweep<Sync>& w = space_.kept_sweep;
    const std::uint64_t lost = w.lost.load(std::memory_order_relaxed);  // a count
    if (lost == 0) return 0;
    std::uint64_t at = w.at.load(std::memory_order_relaxed);  // shared out by the swap below
    if (at == 0) {
      const std::uint64_t ended = space_.views.ended();
      if (space_.views.open_count() != 0 && w.done_for.load(std::memory_order_relaxed) == ended) return 0;  // a hint
      w.done_for.store(ended, std::memory_order_relaxed);  // as above
      w.of.store(lost, std::memory_order_relaxed);         // a count
    }
    auto shard = static_cast<unsigned>(at >> 32);
    auto bucket = static_cast<std::uint32_t>(at);
    unsigned done = 0;
    for (; done != count && shard != table_.shard_count(); ++done) {
      Shd& s = table_.shard(shard);
      if (bucket >= Tbl::size_of(s).buckets()) {
        ++shard;
        bucket = 0;
        continue;
      }
      Bucket<Sync>& b = table_.bucket(s, bucket++);
      if (b.control().ready()) look_at_chain(t, s, b, [](SlotWord) { return true; });
    }
    const bool over = shard == table_.shard_count();
    if (w.at.compare_exchange_strong(at, over ? 0 : std::uint64_t{shard} << 32 | bucket, std::memory_order_relaxed) &&  // as above
        over && space_.views.open_count() == 0 && w.done_for.load(std::memory_order_relaxed) == space_.views.ended()) {
      w.lost.fetch_sub(w.of.load(std::memory_order_relaxed), std::memory_order_relaxed);  // a count
    }
    return done;
  }
  bool owes_sweep() const noexcept {
    const KeptSweep<Sync>& w = space_.kept_sweep;
    if (w.lost.load(std::memory_order_relaxed) == 0) return false;  // hints
    return space_.views.open_count() == 0 || w.at.load(std::memory_order_relaxed) != 0 ||           // as above
           w.done_for.load(std::memory_order_relaxed) != space_.views.ended();                      // as above
  }

  // Trims the keys of one chain and buries its tombs. True: it has an empty slot.
  bool empty_one(Thr& t, Shd& s, Bucket<Sync>& first) noexcept {
    look_at_chain(t, s, first, [](SlotWord) { return true; });
    bool some = false;
    table_.for_each_slot(first, [&](auto&, SlotWord w) { return !(some = some || w.is_empty()); });
    return some;
  }

  // LIVE tomb -> EMPTY. False: the slot changed. `version` is the key's last.
  bool empty_slot(Thr& t, Shd& s, const typename Tbl::Found& found) noexcept {
    return empty_slot(t, s, found, found.record->hold_word().version());
  }
  // kAtHand: the record is short, and freed without a call what is freed in its place (Epoch::retire).
  template <bool kAtHand = false>
  [[gnu::always_inline]] bool empty_slot(Thr& t, Shd& s, const typename Tbl::Found& found, std::uint64_t version) noexcept {
    if (!planted<Sync>(Mutant::kEventBuriedUntold)) Events<Sync>::notify(space_, t, s, *found.record);
    if (!planted<Sync>(Mutant::kFloorAfterEmpty)) raise_floor(s, version);
    Sync::point("commit.bury");
    if (table_.ordered() != nullptr && planted<Sync>(Mutant::kLeafBeforeEmpty)) Leaves<Sync>::left(table_, t, found.record, true);
    std::uint64_t expected = found.word.word();
    if (!found.slot->compare_exchange_strong(expected, SlotWord::empty().word(), std::memory_order_seq_cst)) {  // [publish]
      return false;
    }
    Sync::point("commit.buried");
    if (table_.ordered() != nullptr && !planted<Sync>(Mutant::kLeafBeforeEmpty)) [[unlikely]] Leaves<Sync>::left(table_, t, found.record);
    if (planted<Sync>(Mutant::kFloorAfterEmpty)) raise_floor(s, version);
    if constexpr (kAtHand) {
      space_.retire_at_hand(t, found.word.offset());
    } else {
      space_.retire(t, found.word.offset());
    }
    return true;
  }

 private:
  static void raise_floor(Shd& s, std::uint64_t version) noexcept {
    std::uint64_t floor = s.version_floor.load(std::memory_order_relaxed);  // the swap decides
    while (floor < version &&
           !s.version_floor.compare_exchange_weak(floor, version, std::memory_order_seq_cst)) {  // [floor] seq_cst
    }
  }

  // A note is the hash without its top bits, which the queue's shard knows, and a bit that keeps it from being 0.
  static constexpr std::uint64_t kNote = std::uint64_t{1} << 62;
  static constexpr std::uint64_t kHashMask = (std::uint64_t{1} << 48) - 1;

  // Trims every key with the note's tag in its bucket, and buries tombs.
  void look(Thr& t, Shd& s, std::uint64_t note) noexcept {
    const std::uint64_t hash = note & kHashMask;
    const std::uint16_t tag = tag_of(hash);
    const std::uint32_t home = Tbl::size_of(s).home(hash);
    Bucket<Sync>& b = table_.bucket(s, home);
    Sync::point("kept.look");
    bool again = !b.control().ready() && !Growth<Sync>::help_split(table_, t, s, home);
    if (!again) again = look_at_chain(t, s, b, [tag](SlotWord w) { return w.tag() == tag; });
    // Growth has moved the key on, or is about to.
    if (again || Tbl::size_of(s).home(hash) != home) put(t, s, hash);
  }

  // True: something is left for a view, or was changed by others at the same time.
  template <class Wanted>
  bool look_at_chain(Thr& t, Shd& s, Bucket<Sync>& first, Wanted&& wanted) noexcept {
    bool left = false;
    table_.for_each_slot(first, [&](auto& slot, SlotWord w) {
      if (!w.is_current() || !wanted(w)) return true;
      Rec& r = *space_.record(w.offset());
      const Stamp stamp = Versions<Sync>::finalise(space_, r);
      if (stamp.intent()) [[unlikely]] {  // what lies below is looked at once it is settled, or a husk is gone
        Batches<Sync>(*commit_).review(t, w.offset());
        left = true;
        return true;
      }
      const Trimmed trimmed = Versions<Sync>::trim(space_, t, w.offset(), kTrimAll);
      if (trimmed.left || !Versions<Sync>::alone(r, stamp)) {
        left = true;
      } else if (stamp.tomb()) {
        if (!w.is_live() || !empty_slot(t, s, {&slot, &r, w, stamp})) left = true;
      }
      return true;
    });
    return left;
  }

  Tbl& table_;
  Space<Sync>& space_;
  Commit<Sync>* commit_;
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_KEPT_H_
