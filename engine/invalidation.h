// Invalidation: what becomes of records that a point has killed (points.h), and of the point.
//
//   meet     a write, before it judges its key's head: a dead one is buried first, so no Change ever sees one
//   bury     a tomb takes its place, with the point's own stamp: the removal happened then, not now. Views before it
//            keep the record, those after it find the tomb; and counts, lifetimes, on_removed are told here and
//            nowhere else, by the winner of the swap
//   sweep    bucket after bucket, by maintenance and a bounded share of every write, until nothing dead is left
//
// The hand of the sweep moves from bucket 0 of the first shard to the end of the last: a lap. Keys move to later buckets
// only, so none is passed by. Several threads may be at one bucket: each moves the hand on only from where it has looked.
// A point is due at the end of the first lap that begins after it was stamped; a batch that is under way where the hand
// is gets helped to its end.
//
// Inside a guard. Lock-free; a slice is bounded by its buckets. A thread stopped anywhere delays no one.
#ifndef TERN_ENGINE_INVALIDATION_H_
#define TERN_ENGINE_INVALIDATION_H_

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <new>
#include <string_view>

#include "engine/changes.h"
#include "engine/commit.h"
#include "engine/points.h"
#include "engine/prefetch.h"

namespace tern::detail {

// Looks at a key and leaves it as it is: commit has buried what was dead.
template <class Sync>
struct SweepChange {
  static constexpr bool kInheritsKeep = false;
  static constexpr bool kDerives = false;
  static constexpr bool kHelps = true;
  static constexpr bool kSilent = false;
  static constexpr bool kMaySayAbsent = false;
  static constexpr RemovalCause kCause = RemovalCause::kCleared;
  Decision judge(const Head<Sync>&) noexcept { return Decision::kKeep; }
  std::uint64_t record(Thread<Sync>&, const Head<Sync>&) noexcept { return 0; }
  void used() noexcept {}
  void replace_record(std::uint64_t) noexcept {}
};

template <class Sync>
class Invalidation {
 public:
  using Thr = Thread<Sync>;
  using Rec = Record<Sync>;
  using Shd = Shard<Sync>;
  using Tbl = Table<Sync>;
  using Pts = Points<Sync>;
  using Pt = Point<Sync>;

  explicit Invalidation(Commit<Sync>& commit) noexcept : commit_(commit), table_(commit.table_), space_(commit.space_) {}

  // --- for writes ----------------------------------------------------------------------------------------------

  enum class Met : std::uint8_t {
    kAlive,
    kAgain,  // it was buried, or has changed
    kNoMemory,
  };
  // `judged`, with the decided word `s`, is the record that counts of what stands in `place`.
  [[gnu::noinline]] Met meet(Thr& t, std::uint64_t hash, std::string_view key, const Place<Sync>& place, std::uint64_t judged,
                             Stamp s) noexcept {
    if (s.tomb() || planted<Sync>(Mutant::kPointMetAlive)) return Met::kAlive;
    Rec& r = *space_.record(judged);
    const auto by = space_.points.killer(space_, r, s, s.stamp());
    if (by) return bury(t, hash, key, place, judged, s, by);
    Sync::point("point.looked");
    const bool stands = place.found.slot->load(std::memory_order_seq_cst) == place.found.word.word();  // [publish] seq_cst
    return stands || planted<Sync>(Mutant::kPointNotLookedAgain) ? Met::kAlive : Met::kAgain;
  }

  // --- making one ----------------------------------------------------------------------------------------------

  // `home`: a record with room for a Point and its scope, the caller's own; then the store's, as are its `events`
  // (point_events.h; 0: none). False: the table is full.
  bool make(Thr& t, std::uint64_t home, std::uint64_t events, const PointScope& scope, std::uint64_t& stamp) noexcept {
    Pt* p = new (&Pts::at(space_, home)) Pt;
    std::uint64_t early = Pt::kPending;
    if (planted<Sync>(Mutant::kPointStampFirst)) early = space_.views.move();
    p->state.store(early, std::memory_order_relaxed);  // [point] comes with its publication
    p->due.store(0, std::memory_order_relaxed);        // [point] as above
    p->swept.store(0, std::memory_order_relaxed);      // [point] as above
    p->tally = space_.points.new_tally();
    p->events = events;
    p->kind = scope.kind;
    p->name = scope.name;
    p->bytes_size = static_cast<std::uint32_t>(scope.bytes.size());
    if (!scope.bytes.empty()) std::memcpy(reinterpret_cast<char*>(p + 1), scope.bytes.data(), scope.bytes.size());
    const bool late = planted<Sync>(Mutant::kPointCountLate);
    if (!late) space_.epoch.line().points.fetch_add(1, std::memory_order_seq_cst);  // [point] seq_cst: before its moment
    Sync::point("point.counted");
    if (!space_.points.publish(home)) {
      space_.epoch.line().points.fetch_sub(1, std::memory_order_seq_cst);  // [point] seq_cst
      return false;
    }
    Sync::point("point.published");
    stamp = Pts::stamp_of(space_, *p);
    if (late) space_.epoch.line().points.fetch_add(1, std::memory_order_seq_cst);  // [point] as above
    space_.points.name_tally(p->tally, stamp);
    tell(t, *p);
    space_.upkeep.ask();
    return true;
  }

  // --- the sweep -----------------------------------------------------------------------------------------------

  // Up to `count` buckets. Answers how many were looked at; 0: nothing is to be swept, or there is no memory for a tomb.
  unsigned sweep(Thr& t, unsigned count) noexcept {
    unsigned done = 0;
    drop_swept(t);
    while (done != count && space_.has_points()) {
      const SweepHand at(space_.points.hand.load(std::memory_order_seq_cst));  // [point] seq_cst
      const Listed listed = enlist();
      if (listed == Listed::kNone) break;
      if (listed == Listed::kAgain) continue;
      if (at.shard() == table_.shard_count()) {
        finish(t, at.lap());
        move(at, at.next_lap());
        continue;
      }
      Shd& s = table_.shard(at.shard());
      if (at.bucket() >= Tbl::size_of(s).buckets()) {
        move(at, at.next_shard());
        continue;
      }
      if (done % kFetchedAtOnce == 0) fetch(s, at.bucket(), std::min(count - done, kFetchedAtOnce));
      if (!bury_chain(t, s, at.bucket())) break;
      ++done;
      ++t.work;
      move(at, at.next_bucket());
    }
    return done;
  }

  std::uint64_t buried_bytes = 0;

 private:
  void move(SweepHand from, SweepHand to) noexcept {
    std::uint64_t expected = from.word();
    Sync::point("point.sweep");
    space_.points.hand.compare_exchange_strong(expected, to.word(), std::memory_order_seq_cst);  // [point] seq_cst
  }

  // Each point that has none yet gets the lap at whose end it is swept: the next one to begin after its stamp.
  enum class Listed : std::uint8_t {
    kNone,   // no point is to be swept: whoever raised the count has none in the table yet
    kAll,
    kAgain,  // it was done here, and the hand may have moved
  };
  Listed enlist() noexcept {
    Listed listed = Listed::kNone;
    std::uint64_t stamped[Pts::kMax];
    unsigned count = 0;
    space_.points.for_each(space_, [&](unsigned, std::uint64_t home, Pt& p) {
      if (p.swept.load(std::memory_order_seq_cst) != 0) return;  // [point] seq_cst
      if (listed == Listed::kNone) listed = Listed::kAll;
      if (p.due.load(std::memory_order_seq_cst) != 0) return;  // [point] seq_cst
      Pts::stamp_of(space_, p);
      stamped[count++] = home;
      listed = Listed::kAgain;
    });
    if (listed != Listed::kAgain) return listed;
    // The hand after their stamps.
    const SweepHand at(space_.points.hand.load(std::memory_order_seq_cst));  // [point] seq_cst
    for (unsigned i = 0; i != count; ++i) {
      std::uint64_t unset = 0;
      Sync::point("point.enlist");
      Pts::at(space_, stamped[i]).due.compare_exchange_strong(unset, kDue | at.next_lap().lap(), std::memory_order_seq_cst);  // [point]
    }
    // Nobody has got further in this lap: the next begins at once.
    if (at.at_start()) move(at, at.next_lap());
    return listed;
  }
  static constexpr std::uint64_t kDue = std::uint64_t{1} << 32;

  void tell(Thr& t, Pt& p) noexcept {
    if (p.events == 0) return;
    for (unsigned i = 0; i != space_.events.rings; ++i) Events<Sync>::tell_point(space_, t, i, p);
  }

  // The end of a lap was reached.
  void finish(Thr& t, std::uint64_t lap) noexcept {
    space_.points.for_each(space_, [&](unsigned, std::uint64_t, Pt& p) {
      const std::uint64_t due = p.due.load(std::memory_order_seq_cst);  // [point] seq_cst
      if (due == 0 || !SweepHand::reached(due & SweepHand::kLapMask, lap)) return;
      std::uint64_t unset = 0;
      if (p.swept.load(std::memory_order_relaxed) != 0) return;  // the swap decides
      tell(t, p);
      const std::uint64_t now = space_.views.now();
      Sync::point("point.swept");
      if (!p.swept.compare_exchange_strong(unset, now + 1, std::memory_order_seq_cst)) return;  // [point] seq_cst
      space_.epoch.line().points.fetch_sub(1, std::memory_order_seq_cst);  // [point] seq_cst
      space_.points.close_tally(p.tally);
    });
    drop_swept(t);
  }

  // Those that no view needs any more.
  void drop_swept(Thr& t) noexcept {
    if (space_.points.in_table() == 0) return;
    space_.points.for_each(space_, [&](unsigned slot, std::uint64_t home, Pt& p) {
      const std::uint64_t swept = p.swept.load(std::memory_order_seq_cst);  // [point] seq_cst
      if (swept == 0) return;
      const std::uint64_t s = p.state.load(std::memory_order_seq_cst);  // [point] seq_cst
      const auto anywhere = [] { return ~0u; };
      if (space_.views.needed(s, swept - 1, anywhere) && !planted<Sync>(Mutant::kPointDroppedEarly)) return;
      if (!space_.points.unlink(slot, home)) return;
      PointEvents<Sync>::retire(space_, t, p);
      space_.retire(t, home);
    });
  }

  // What the next `count` buckets hold is on its way while the first are looked at.
  static constexpr unsigned kFetchedAtOnce = 8;
  void fetch(Shd& s, std::uint32_t first, unsigned count) noexcept {
    const std::uint32_t end = std::min(first + count, Tbl::size_of(s).buckets());
    for (std::uint32_t i = first; i < end; ++i) {
      const Bucket<Sync>& b = table_.bucket(s, i);
      for (unsigned n = 0; n != kSlots; ++n) {
        const SlotWord w = b.at(n);
        if (!w.is_current()) continue;
        const char* const at = space_.heap.template at<char>(w.offset());
        prefetch_second_level(at);
        prefetch_second_level(at + 64);
      }
    }
  }

  // False: there was no memory for a tomb, or to complete a split.
  bool bury_chain(Thr& t, Shd& s, std::uint32_t index) noexcept {
    Bucket<Sync>& b = table_.bucket(s, index);
    if (!b.control().ready() && !Growth<Sync>::help_split(table_, t, s, index)) return false;
    bool all = true;
    table_.for_each_slot(b, [&](auto& slot, SlotWord seen) {
      for (SlotWord w = seen; w.is_current(); w = SlotWord(slot.load(std::memory_order_seq_cst))) {  // [publish] seq_cst
        Rec& r = *space_.record(w.offset());
        const Stamp stamp = Versions<Sync>::finalise(space_, r);
        const auto k = space_.key_of(r, stamp);
        const std::string_view key(k.data, k.size);
        if (!stamp.stamped() || !w.is_live()) {
          SweepChange<Sync> change;
          all = commit_.commit(t, table_.hash_of(key), key, change).outcome != Committed::Outcome::kOutOfMemory;
          return all;
        }
        if (stamp.tomb()) return true;
        const auto by = space_.points.killer(space_, r, stamp, stamp.stamp());
        if (!by) return true;
        Place<Sync> place;
        place.found = {&slot, &r, w, stamp};
        all = bury(t, table_.hash_of(key), key, place, w.offset(), stamp, by) != Met::kNoMemory;
        if (!all) return false;
      }
      return true;
    });
    return all;
  }

  Met bury(Thr& t, std::uint64_t hash, std::string_view key, const Place<Sync>& place, std::uint64_t judged, Stamp s,
           const typename Pts::Killer& by) noexcept {
    Shd& shard = table_.shard_of(hash);
    Rec& o = *space_.record(judged);
    const std::uint64_t old = place.found.word.offset();
    if (s.has_x()) o.x().fetch_or(Deadline::kFrozen, std::memory_order_seq_cst);  // [deadline] seq_cst
    const Head<Sync> head = Commit<Sync>::head_of(space_, commit_.time_, o, s, key.size());
    const std::uint64_t tomb = space_.build_tomb(t, key, old);
    if (tomb == 0) return Met::kNoMemory;
    Rec& r = *space_.record(tomb);
    // Stamped before it is published, unlike everything else: its moment is the point's, which has been.
    r.w0.store(r.stamp_word().stamped_at(by.stamp).word(), std::memory_order_relaxed);  // [publish] comes with the swap
    Events<Sync>::notify(space_, t, shard, o);
    const bool silent = s.absent() || (by.has_events && !planted<Sync>(Mutant::kPointKeysTold));
    if (silent) Commit<Sync>::mark_silent(r, false, false, false);
    r.link.store(r.link_word().over(old).with_reason(head.expired ? TombReason::kExpired : TombReason::kDeleted).word(),
                 std::memory_order_relaxed);  // [publish] as above
    r.meta.store(Hold(0).with_version(space_.next_version(head.version)).word(), std::memory_order_relaxed);  // [publish] as above
    std::uint64_t more = 0, less = 1;
    if (commit_.bound_.weigher != nullptr) commit_.weigh(key, nullptr, &o, more, less);
    const Hold before = o.hold_word();
    std::uint64_t expected = place.found.word.word();
    Sync::point("point.bury");
    if (!place.found.slot->compare_exchange_strong(expected, place.found.word.replaced(tomb).word(),
                                                   std::memory_order_seq_cst)) {  // [publish] release
      space_.discard(t, tomb);
      return Met::kAgain;
    }
    Sync::point("point.buried");
    ++t.work;
    buried_bytes += space_.bytes_of(judged);
    const Trimmed trimmed = Versions<Sync>::trim(space_, t, tomb);
    Events<Sync>::notify(space_, t, shard, r);
    commit_.bound_.give_back(less);
    shard.live.fetch_sub(1, std::memory_order_relaxed);  // a count
    if (is_named(key)) [[unlikely]] commit_.count_name(key, 0, judged);
    if (before.keep()) space_.count_kept(t, o, false, true);
    (head.expired ? t.counters.expired : t.counters.cleared).add();
    if (!s.absent()) {
      if (!head.expired) space_.points.count(by.tally);
      if (space_.removal_hook.call != nullptr) {
        Removals(space_, t).note(judged, head.expired ? RemovalCause::kExpired : RemovalCause::kCleared);
      }
    }
    if (head.has_deadline) {
      LifetimeChange lifetime;
      lifetime.had = true;
      Tickets<Sync>::carry_out(table_, t, shard, hash, lifetime);
    }
    if (trimmed.note) Kept<Sync>(table_, &commit_).note(t, shard, hash);
    if (const Stamp stamp = r.stamp_word(); !trimmed.left && Versions<Sync>::alone(r, stamp)) {
      // Where it was put, if it is still there.
      const typename Tbl::Found put{place.found.slot, &r, place.found.word.replaced(tomb), stamp};
      if (!Kept<Sync>(table_, &commit_).empty_slot(t, shard, put)) commit_.bury(t, shard, hash, key, tomb);
    }
    return Met::kAgain;
  }

  Commit<Sync>& commit_;
  Tbl& table_;
  Space<Sync>& space_;
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_INVALIDATION_H_
