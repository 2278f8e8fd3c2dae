// commit: the only place where a key changes its meaning (writes-inl.h has its short form). Every write is one call with a
// Change that says what it wants; an eviction is one too (EvictChange in eviction.h), and an expiry (expiry.h).
//
//   locate the key           (finishing a split or a tentative entry in the way)
//   decide the head          stamp it (rule Q3), read its deadline; a batch that is under way here is finished first
//   change.judge(head)       keep, put or remove, from the state that the swap will be made from
//   freeze the deadline      (rule Q5) and judge again if it moved
//   swap the slot            from exactly the word that was judged: else again from the top
//   stamp, trim, retire      the new record's place among views; what no view needs goes to the limbo
//   tell                     if somebody listens: the head before the swap, the new record after its stamp (events.h)
//   bury                     a tomb with nothing below it leaves its slot
//
// A write is linearized at the clock read of its stamp; one that changes nothing, at the load of the head that it
// judged; one that finds the key absent, at the miss. Lock-free: an attempt fails only because another write of the
// same key, or a split of its bucket, succeeded.
//
// Edges
//   publish   the swap / find. Also carries version and link.
//   deadline  freezing X / touch(): an extension either is seen by the replacement or fails and looks again
#ifndef TERN_ENGINE_COMMIT_H_
#define TERN_ENGINE_COMMIT_H_

#include <algorithm>
#include <cstdint>
#include <string_view>

#include <tern/options.h>

#include "engine/events.h"
#include "engine/growth.h"
#include "engine/insertion.h"
#include "engine/kept.h"
#include "engine/prefetch.h"
#include "engine/table.h"
#include "engine/tickets.h"
#include "engine/versions.h"

namespace tern::detail {

// The store's clock in milliseconds; read only for records with a deadline.
struct Time {
  std::uint64_t (*now_ms)(const void*) = nullptr;
  const void* source = nullptr;
  std::uint64_t now() const noexcept { return now_ms(source); }
  // One that stands still, at `ms`, which is to live as long: for many looks, or one that was taken already.
  static Time at(const std::uint64_t& ms) noexcept {
    return {[](const void* at) noexcept { return *static_cast<const std::uint64_t*>(at); }, &ms};
  }
};

// A key's state, as a Change judges it and a read answers it.
template <class Sync>
struct Head {
  Record<Sync>* record = nullptr;  // null: nothing in the table
  Stamp stamp{0};
  bool present = false;  // neither absent, nor a tomb, nor past its deadline
  bool expired = false;
  bool known_absent = false;  // a loader said so, and its word is still good
  std::uint64_t version = 0;
  bool has_deadline = false;
  std::uint64_t deadline_ms = 0;
  Deadline x{0};  // the word of the deadline; 0: there is none
  Span span;
  const char* value = nullptr;
  std::uint64_t value_size = 0;

  std::string_view bytes() const noexcept { return {value, value_size}; }
};

enum class Decision : std::uint8_t { kKeep, kPut, kRemove };

struct Committed {
  // kFull: more entries, or more weight, than there may be.
  enum class Outcome : std::uint8_t { kKept, kPut, kRemoved, kOutOfMemory, kFull };
  Outcome outcome = Outcome::kKept;
  std::uint64_t version = 0;
};

// Entries of the whole store, or their weight, counted only when they are bounded.
template <class Sync>
struct EntryBound {
  typename Sync::template Atomic<std::uint64_t> entries{};
  std::uint64_t max = 0;  // 0: no bound
  WeigherFn weigher = nullptr;
  void* weigher_user = nullptr;

  bool take(std::uint64_t weight) noexcept {
    if (max == 0) return true;
    // A swap: one that adds first and looks afterwards refuses others while it stands in between.
    std::uint64_t now = entries.load(std::memory_order_relaxed);  // a bound, not an order
    do {
      if (weight > max || now > max - weight) return false;
    } while (!entries.compare_exchange_weak(now, now + weight, std::memory_order_relaxed));  // as above
    return true;
  }
  // Past the bound if need be: what was counted on has changed.
  void force(std::uint64_t weight) noexcept {
    if (max != 0) entries.fetch_add(weight, std::memory_order_relaxed);  // as above
  }
  void give_back(std::uint64_t weight) noexcept {
    if (max != 0) entries.fetch_sub(weight, std::memory_order_relaxed);  // as above
  }
};

template <class Sync>
class Eviction;
template <class Sync>
class Batches;
template <class Sync>
class Invalidation;
template <class Sync>
class Leases;

// Change has
//   Decision judge(const Head&)                     may be called again, with another head
//   std::uint64_t record(Thread&, const Head&)      for kPut: a built record, unpublished; 0: no memory. May be called
//                                                   again; what an earlier call gave is then the Change's to discard
//   void used()                                     the record given last was published: not to be discarded
//   static constexpr bool kInheritsKeep             the new record is never evicted if the old one wasn't to be
//   static constexpr RemovalCause kCause            of a removal of a present key
//   static constexpr bool kDerives, depends()       whether what it puts may depend on the head, and whether it does: then
//                                                   it doesn't outlive it where an invalidation point kills that (points.h)
//   static constexpr bool kSilent                   what it puts is no change of value: nobody is told
//   static constexpr bool kMaySayAbsent             its record may be a negative answer
//   static constexpr bool kHelps                    whether it finishes a batch under way that it meets (batch.h), or
//                                                   leaves the key alone: what nobody waits for
template <class Sync>
class Commit {
 public:
  using Tbl = Table<Sync>;
  using Shd = Shard<Sync>;
  using Thr = Thread<Sync>;
  using Rec = Record<Sync>;
  using Ins = Insertion<Sync>;
  using Outcome = Committed::Outcome;

  // `eviction` is null where nothing is evicted.
  Commit(Tbl& table, const Time& time, EntryBound<Sync>& bound, Eviction<Sync>* eviction) noexcept
      : table_(table), space_(table.space()), time_(time), bound_(bound), eviction_(eviction) {}

  // A batch in the way that there is no memory to finish is given up: its owner begins again.
  void give_up_batches() noexcept { gives_up_batches_ = true; }

  // What a record says at this moment. `r` is decided.
  [[gnu::always_inline]] static Head<Sync> head_of(const Space<Sync>& space, const Time& time, Rec& r, Stamp s, std::size_t key_size) noexcept {
    Head<Sync> h;
    h.record = &r;
    h.stamp = s;
    h.version = r.hold_word().version();
    if (s.tomb()) return h;
    h.present = true;
    if (s.has_x()) {
      const Deadline x = r.shown_deadline();
      h.x = x;
      h.span = Tickets<Sync>::span_of(r, s);
      h.has_deadline = !x.never();
      h.deadline_ms = x.ms();
      // Dead from the deadline's instant on.
      h.expired = h.has_deadline && time.now() >= h.deadline_ms && !planted<Sync>(Mutant::kExpiredIsPresent);
      if (h.expired && !x.frozen()) [[unlikely]] end_for_good(time, r, h);
      h.present = !h.expired;
    }
    if (s.absent()) {
      h.known_absent = h.present;
      h.present = false;
      return h;
    }
    const auto v = space.value_of(r, s, key_size);
    h.value = v.data;
    h.value_size = v.size;
    return h;
  }

  // Who says that a record has expired sees to it that no touch which began before can bring it back.
  [[gnu::noinline]] static void end_for_good(const Time& time, Rec& r, Head<Sync>& h) noexcept {
    if (planted<Sync>(Mutant::kExpiredUnfrozen)) return;
    h.x = Deadline(r.x().fetch_or(Deadline::kFrozen, std::memory_order_seq_cst) | Deadline::kFrozen);  // [deadline] seq_cst
    h.has_deadline = !h.x.never();
    h.deadline_ms = h.x.ms();
    h.expired = h.has_deadline && time.now() >= h.deadline_ms;
  }

  // Inside a guard. `hash` is the key's. `known`: where somebody found it, in this guard; null: it is looked up.
  template <class Change>
  [[gnu::always_inline]] Committed commit(Thr& t, std::uint64_t hash, std::string_view key, Change& change,
                                          const Place<Sync>* known = nullptr) noexcept {
    Shd& s = table_.shard_of(hash);
    std::uint64_t tomb = 0;
    bool silent = false;
    bool husk = false;  // an attempt has left one
    for (;;) {
      const std::uint64_t made_at = Change::kDerives ? space_.views.now() : 0;
      const bool points = space_.has_points();
      const Place<Sync> place = known != nullptr ? *known : Ins::locate(table_, t, s, hash, key);
      known = nullptr;
      if (place.out_of_memory) return refused(t, tomb);
      if (!place.found) {
        const Decision wanted = change.judge(Head<Sync>{});
        if (wanted != Decision::kPut) return kept(t, tomb, 0);
        if (auto done = enter(t, s, place, hash, key, change)) {
          if (tomb != 0) space_.discard(t, tomb);
          return *done;
        }
        continue;
      }
      const std::uint64_t old = place.found.word.offset();
      std::uint64_t judged = old;
      Stamp os = place.found.stamp;
      if (!planted<Sync>(Mutant::kReplaceUnstamped)) os = Versions<Sync>::finalise(space_, *place.found.record);
      if (os.intent()) [[unlikely]] {
        using Met = typename Batches<Sync>::Met;
        const Met met = Batches<Sync>(*this).meet(t, hash, place, Change::kHelps);
        if (met.what == Met::kAgain) continue;
        if (met.what == Met::kStands) return kept(t, tomb, 0);
        if (met.what == Met::kNoMemory) return refused(t, tomb);
        judged = met.below;
        os = space_.record(judged)->stamp_word();
      }
      Rec& o = *space_.record(judged);
      if (points) [[unlikely]] {
        using Met = typename Invalidation<Sync>::Met;
        const Met met = Invalidation<Sync>(*this).meet(t, hash, key, place, judged, os);
        if (met == Met::kAgain) continue;
        if (met == Met::kNoMemory) return refused(t, tomb);
      }
      Head<Sync> head = head_now(o, os, key.size());
      Decision wanted = change.judge(head);
      if (wanted == Decision::kKeep || (wanted == Decision::kRemove && os.tomb())) {
        if (head.expired && !is_still(place, o)) [[unlikely]] continue;
        if (husk) [[unlikely]] Batches<Sync>(*this).review(t, old);
        return kept(t, tomb, head.version);
      }
      if (os.has_x() && !planted<Sync>(Mutant::kReplaceWithoutFreeze)) {
        o.x().fetch_or(Deadline::kFrozen, std::memory_order_seq_cst);  // [deadline] seq_cst
        Sync::point("commit.frozen");
        const Head<Sync> final_head = head_now(o, os, key.size());
        head.x = final_head.x;
        if (final_head.deadline_ms != head.deadline_ms || final_head.present != head.present) {
          head = final_head;
          wanted = change.judge(head);
          if (wanted == Decision::kKeep) {
            if (head.expired && !is_still(place, o)) [[unlikely]] continue;
            return kept(t, tomb, head.version);
          }
        }
      }
      // An entry appears where a tomb stood (an expired record counts until it is buried or replaced).
      const bool appears = os.tomb() && wanted == Decision::kPut;
      std::uint64_t own;
      if (wanted == Decision::kPut) {
        own = change.record(t, head);
      } else {
        if (tomb == 0) tomb = space_.build_tomb(t, key, old);
        own = tomb;
      }
      if (own == 0) return refused(t, tomb);
      Rec& r = *space_.record(own);
      std::uint64_t more = appears ? 1 : 0;  // what it counts beyond what stood here
      std::uint64_t less = wanted == Decision::kRemove && !os.tomb() ? 1 : 0;
      if (bound_.weigher != nullptr) [[unlikely]] weigh(key, wanted == Decision::kPut ? &r : nullptr, os.tomb() ? nullptr : &o, more, less);
      if (more != 0 && !take_entry(t, more)) return refused(t, tomb, Outcome::kFull);
      if (!planted<Sync>(Mutant::kEventReplacedUntold)) Events<Sync>::notify(space_, t, s, o);
      if (Change::kSilent || os.absent() || silent || (Change::kMaySayAbsent && r.stamp_word().absent())) [[unlikely]] {
        silent = mark_silent(r, wanted == Decision::kPut, Change::kSilent, !os.tomb() && !os.absent());
      }
      const LifetimeChange lifetime = lifetime_of(t, r, head);
      const std::uint64_t version = space_.next_version(head.version);
      const Hold before = o.hold_word();
      Hold mine(r.meta.load(std::memory_order_relaxed));  // nobody else sees it
      if (!planted<Sync>(Mutant::kAccessNotInherited)) mine = mine.with_access(before.access());
      if (Change::kInheritsKeep && wanted == Decision::kPut && before.keep() && head.present) mine = mine.kept();
      r.meta.store(mine.with_version(version).word(), std::memory_order_relaxed);  // [publish] comes with the slot's swap
      // Another incarnation: none of eviction's queues knows it.
      const bool enters = wanted == Decision::kPut && (os.tomb() || (before.keep() && !mine.keep()));
      const SlotWord to = enters ? place.found.word.reborn(static_cast<unsigned>(Ins::next_random(t)), own)
                                 : place.found.word.replaced(own);
      if constexpr (Change::kDerives && !requires { Sync::kUnstamped; }) {
        if (wanted == Decision::kPut) {
          const Stamp born(r.w0.load(std::memory_order_relaxed));  // nobody else sees it
          const bool made = head.present && change.depends();
          // What it was made from may be younger than the look at the clock: a point before that doesn't concern it.
          const std::uint64_t since = planted<Sync>(Mutant::kMadeBeforeItsHead) ? made_at : std::max(made_at, os.stamp());
          Stamp made_from = made ? born.made_at(since) : born.made_of_nothing();
          if (made && (head.has_deadline || os.has_ext()) && outlives(r, born, head)) [[unlikely]] made_from = made_from.outliving();
          r.w0.store(made_from.word(), std::memory_order_relaxed);  // [publish]
        }
      }
      Link link = r.link_word().over(old).after_expired(head.expired);
      if (wanted == Decision::kRemove) link = link.with_reason(head.expired ? TombReason::kExpired : reason_of(Change::kCause));
      r.link.store(link.word(), std::memory_order_relaxed);  // [publish] as above
      std::uint64_t expected = place.found.word.word();
      if (planted<Sync>(Mutant::kSwapFromStaleWord)) {
        expected = place.found.slot->load(std::memory_order_seq_cst);
        if (!SlotWord(expected).is_live()) expected = place.found.word.word();
      }
      if (planted<Sync>(Mutant::kStampBeforePublish)) Versions<Sync>::finalise(space_, r);
      Sync::point("commit.swap");
      if (!place.found.slot->compare_exchange_strong(expected, to.word(),
                                                     std::memory_order_seq_cst)) {  // [publish] release
        if (more != 0) bound_.give_back(more);
        if (wanted == Decision::kRemove && key.size() > kShortKeyMax) {  // it refers to a record that may go
          space_.discard(t, tomb);
          tomb = 0;
        }
        continue;
      }
      const bool early = planted<Sync>(Mutant::kEventBeforeStamp) && !Events<Sync>::wanted(space_);
      const Trimmed trimmed = Versions<Sync>::stamp_own(space_, t, own, old);
      if (Change::kDerives && trimmed.husk) [[unlikely]] {
        // What it was made from has died: once more, with a copy. Whoever buries or replaces what is dead takes the husk with it.
        husk = true;
        if (more != 0) bound_.give_back(more);
        const std::uint64_t copy = space_.copy_of(t, own);
        change.used();
        if (copy == 0) return refused(t, tomb);
        change.replace_record(copy);
        continue;
      }
      if (is_named(key)) [[unlikely]] count_name(key, wanted == Decision::kPut ? own : 0, os.tomb() ? 0 : judged);
      if (!early) Events<Sync>::notify(space_, t, s, r);
      if (less != 0) bound_.give_back(less);
      if (before.keep() != mine.keep()) [[unlikely]] space_.count_kept(t, mine.keep() ? r : o, mine.keep(), head.expired);
      if (space_.removal_hook.call != nullptr && (wanted == Decision::kRemove || head.expired)) [[unlikely]] {
        if (!os.tomb() && !os.absent()) {
          tell_removed(t, judged, head.expired ? RemovalCause::kExpired : Change::kCause);
        }
      }
      if (lifetime.has || lifetime.had) [[unlikely]] Tickets<Sync>::carry_out(table_, t, s, hash, lifetime);
      if (wanted == Decision::kPut) {
        change.used();
        if (appears) s.live.fetch_add(1, std::memory_order_relaxed);  // a count
        if (tomb != 0) space_.discard(t, tomb);
        if (trimmed.note) Kept<Sync>(table_, this).note(t, s, hash);
        if ((enters || planted<Sync>(Mutant::kEntryPushedTwice)) && eviction_ != nullptr) [[unlikely]] eviction_->inserted(t, hash, key, to.gen(), mine.keep());
        return {Outcome::kPut, version};
      }
      if (!os.tomb()) {
        s.live.fetch_sub(1, std::memory_order_relaxed);  // a count
      }
      if (trimmed.note) Kept<Sync>(table_, this).note(t, s, hash);
      if (const Stamp stamp = r.stamp_word(); !trimmed.left && Versions<Sync>::alone(r, stamp)) {
        // Where it was put, if it is still there.
        if (!Kept<Sync>(table_, this).empty_slot(t, s, {place.found.slot, &r, to, stamp}, version)) bury(t, s, hash, key, own);
      }
      return {Outcome::kRemoved, version};
    }
  }

  // For a removal without a Change (expiry.h): each entry counts as one; so many went.
  bool counts_entries() const noexcept { return bound_.weigher == nullptr; }
  void forget_entries(std::uint64_t count) noexcept { bound_.give_back(count); }

  // enter() for a set that has made `own`, which nobody has seen, inside its guard: its version. 0: it is to go on with commit, and
  // with `own`. (insert looks itself whether the key is there: what its caller has seen need not be true any more.)
  [[gnu::always_inline]] std::uint64_t enter_plain(Thr& t, Shd& s, const Place<Sync>& place, std::uint64_t hash, std::string_view key,
                                                   std::uint64_t& own) noexcept {
    if (eviction_ != nullptr) eviction_->expect(hash);
    if (bound_.weigher != nullptr || !take_entry(t, 1)) [[unlikely]] return 0;
    const auto gen = static_cast<unsigned>(Ins::next_random(t));
    if (planted<Sync>(Mutant::kStampBeforePublish)) Versions<Sync>::finalise(space_, *space_.record(own));
    typename Ins::Outcome outcome = Ins::Outcome::kRetry;
    if (table_.ordered() == nullptr) [[likely]] outcome = Ins::insert_at_home(table_, s, place, hash, key, own, gen);
    if (outcome == Ins::Outcome::kRetry) outcome = Ins::insert(table_, t, s, place, hash, key, own, gen);
    if (outcome == Ins::Outcome::kLive) [[likely]] return entered(t, s, hash, key, own, gen, {});
    bound_.give_back(1);
    if (outcome == Ins::Outcome::kKilled && !planted<Sync>(Mutant::kKillWithoutCopy)) own = copy_of_killed(t, own);
    return 0;
  }

  // A removal of what almost every victim of eviction is, found inside this guard: a plain record, or one with a deadline that isn't past
  // at `now_ms`, of an entry that nobody weighs, of no namespace, while no point is active. False: it isn't so, or something has changed
  // since; nothing has happened, but that its deadline may be frozen.
  [[gnu::always_inline]] bool evict_plain(Thr& t, std::uint64_t hash, const typename Tbl::Found& found, std::uint64_t now_ms) noexcept {
    Rec& o = *found.record;
    const bool has_x = found.stamp.has_x();
    const std::string_view key(o.bytes() + kRecordHeaderBytes + (has_x ? 8 : 0), found.stamp.klen8());
    if (!found.stamp.plain_but_for_deadline() || bound_.weigher != nullptr || space_.has_points() || is_named(key)) return false;
    const std::uint64_t own = space_.tomb_of_victim(t, key);
    if (own == 0) return false;
    Shd& s = table_.shard_of(hash);
    LifetimeChange lifetime;
    if (has_x) {
      const Deadline x(o.x().fetch_or(Deadline::kFrozen, std::memory_order_seq_cst));  // [deadline] seq_cst
      Sync::point("commit.frozen");
      lifetime.had = !x.never();
      if (lifetime.had && x.ms() <= now_ms) {
        space_.discard(t, own);
        return false;
      }
    }
    if (!found.stamp.told()) Events<Sync>::notify(space_, t, s, o);
    Rec& r = *space_.record(own);
    const std::uint64_t old = found.word.offset(), version = space_.next_version(o.hold_word().version());
    r.link.store(Link::first(0).over(old).with_reason(TombReason::kEvicted).word(), std::memory_order_relaxed);  // [publish] comes with the slot's swap
    r.meta.store(Hold(0).with_version(version).word(), std::memory_order_relaxed);                           // [publish] as above
    const SlotWord to = found.word.replaced(own);
    std::uint64_t expected = found.word.word();
    Sync::point("commit.swap");
    if (!found.slot->compare_exchange_strong(expected, to.word(), std::memory_order_seq_cst)) [[unlikely]] {  // [publish] release
      space_.discard(t, own);
      return false;
    }
    Trimmed trimmed;
    bool cut = true;
    if constexpr (!requires { Sync::kUnstamped; }) {
      Sync::point("version.stamp_own");
      Stamp pending = r.stamp_word();
      cut = !pending.stamped() && Versions<Sync>::stamp_and_cut(space_, r, pending, o);
    }
    if (cut) [[likely]] {
      space_.retire_at_hand(t, old);
    } else {
      trimmed = Versions<Sync>::trim(space_, t, own);
    }
    Events<Sync>::notify(space_, t, s, r);
    bound_.give_back(1);
    if (space_.removal_hook.call != nullptr) [[unlikely]] tell_removed(t, old, RemovalCause::kEvicted);
    if (lifetime.had) Tickets<Sync>::carry_out(table_, t, s, hash, lifetime);
    s.live.fetch_sub(1, std::memory_order_relaxed);  // a count
    if (trimmed.note) [[unlikely]] Kept<Sync>(table_, this).note(t, s, hash);
    if (const Stamp stamp = r.stamp_word(); !trimmed.left && Versions<Sync>::alone(r, stamp)) [[likely]] {
      if (!Kept<Sync>(table_, this).template empty_slot<true>(t, s, {found.slot, &r, to, stamp}, version)) [[unlikely]] bury(t, s, hash, key, own);
    }
    return true;
  }

  // Moves the deadline of a record in place, which is present by `head`. False: it is frozen, or has none, or is to have none, or an idle
  // time, or has expired since by another deadline, or others look at it, or a view is open that would see it move: it must be replaced.
  //
  // It says so first, then asks for views. A view that is opened too late to be seen finds the deadline moved, or freezes it, as
  // Views::at does; and so does whoever shows it meanwhile as it was, for that may be after the view was opened.
  bool touch(Thr& t, std::uint64_t hash, const Head<Sync>& head, std::uint64_t deadline_ms) noexcept {
    Rec& r = *head.record;
    if (!head.stamp.has_x() || head.span.idle_ms() != 0 || space_.views.open_count() != 0) return false;
    std::uint64_t x = planted<Sync>(Mutant::kTouchedUnjudged) ? r.x().load(std::memory_order_seq_cst) : head.x.word();  // [deadline] seq_cst
    for (int attempt = 0; attempt != kTouchAttempts && !Deadline(x).frozen(); ++attempt) {
      if (attempt != 0 && time_.now() >= Deadline(x).ms() && !planted<Sync>(Mutant::kTouchedUnjudged)) return false;
      LifetimeChange lifetime{!Deadline(x).never(), deadline_ms != Deadline::kNever};
      std::uint64_t number = Deadline(x).ticket();
      if (!lifetime.has) {
        number = 0;
      } else if (number == 0 || (deadline_ms < Deadline(x).ms() && !planted<Sync>(Mutant::kTicketAlwaysInherited))) {
        number = lifetime.number = Tickets<Sync>::new_number(t);
        lifetime.due = deadline_ms + head.span.stale_ms();
      }
      const std::uint64_t to = Deadline::at(deadline_ms, number).word();
      if (to == Deadline(x).thawed().word()) return true;
      // None has no number, so its word might come back, and with it the mark of a touch that stands still and asked for views long ago.
      if (!lifetime.has && !planted<Sync>(Mutant::kTouchedToNever)) return false;
      std::uint64_t moving = x | Deadline::kMoving;
      if (planted<Sync>(Mutant::kTouchUnsaid)) {
        moving = x;
      } else if (!r.x().compare_exchange_strong(x, moving, std::memory_order_seq_cst)) {  // [deadline] seq_cst
        continue;
      }
      if (space_.views.is_any_open()) return false;
      Sync::point("commit.touch");
      if (r.x().compare_exchange_strong(moving, to, std::memory_order_seq_cst)) {  // [deadline] seq_cst
        if (lifetime.number != 0 || lifetime.has != lifetime.had) {
          Tickets<Sync>::carry_out(table_, t, table_.shard_of(hash), hash, lifetime);
        }
        return true;
      }
      x = moving;
    }
    return false;
  }

 private:
  static constexpr int kTouchAttempts = 8;

  friend class Batches<Sync>;
  friend class Invalidation<Sync>;
  struct MaybeCommitted {
    bool done = false;
    Committed value;
    explicit operator bool() const noexcept { return done; }
    const Committed& operator*() const noexcept { return value; }
  };

  // What putting `r`, the caller's own, in the place of `head` does to the key's lifetime.
  [[gnu::always_inline]] LifetimeChange lifetime_of(Thr& t, Rec& r, const Head<Sync>& head) const noexcept {
    LifetimeChange change;
    change.had = head.has_deadline;
    if (r.stamp_word().has_x()) [[unlikely]] {
      Tickets<Sync>::prepare(t, [this] { return time_.now(); }, r, head.x, head.span, change);
    }
    return change;
  }

  // `r`, in the making, will be there when what `head` says has gone by itself.
  [[gnu::noinline]] bool outlives(Rec& r, Stamp born, const Head<Sync>& head) const noexcept {
    if (planted<Sync>(Mutant::kDeadlineOutlived)) return false;
    if (head.has_deadline && !(born.has_x() && Deadline(r.x().load(std::memory_order_relaxed)).ms() <= head.deadline_ms)) return true;  // as above
    const std::uint64_t lease = Leases<Sync>::of(space_, *head.record, head.stamp);
    return lease != 0 && Leases<Sync>::of(space_, r, born) != lease;
  }
  // `o`, which has expired or gone with its lease, was the key's until then.
  [[gnu::noinline]] bool is_still(const Place<Sync>& place, const Rec& o) const noexcept {
    return planted<Sync>(Mutant::kExpiredKept) || Leases<Sync>::is_still(space_, place.found, o);
  }

  // With the lease asked that the record may have.
  [[gnu::always_inline]] Head<Sync> head_now(Rec& r, Stamp s, std::size_t key_size) noexcept {
    Head<Sync> h = head_of(space_, time_, r, s, key_size);
    if (s.has_ext()) [[unlikely]] Leases<Sync>(table_, time_).judge(h, r, s);
    return h;
  }

  Committed kept(Thr& t, std::uint64_t tomb, std::uint64_t version) noexcept {
    if (tomb != 0) space_.discard(t, tomb);
    return {Outcome::kKept, version};
  }
  Committed refused(Thr& t, std::uint64_t tomb, Outcome why = Outcome::kOutOfMemory) noexcept {
    if (tomb != 0) space_.discard(t, tomb);
    return {why, 0};
  }

  // Whether what the caller is about to publish is a change that nobody can see: it is born with the flag.
  // `shown`: a value, or one that has expired, stands there.
  [[gnu::noinline]] static bool mark_silent(Rec& r, bool puts, bool quiet, bool shown) noexcept {
    const Stamp s = r.stamp_word();
    const bool silent = puts && !s.absent() ? quiet : !shown;
    r.w0.store(silent ? s.word() | Stamp::kTold : s.word() & ~Stamp::kTold, std::memory_order_relaxed);  // [publish] with the swap
    return silent;
  }
  static constexpr TombReason reason_of(RemovalCause cause) noexcept {
    return cause == RemovalCause::kEvicted   ? TombReason::kEvicted
           : cause == RemovalCause::kExpired ? TombReason::kExpired
                                             : TombReason::kDeleted;
  }

  template <class Change>
  [[gnu::noinline]] MaybeCommitted enter(Thr& t, Shd& s, const Place<Sync>& place, std::uint64_t hash, std::string_view key,
                       Change& change) noexcept {
    if (eviction_ != nullptr) eviction_->expect(hash);
    const std::uint64_t own = change.record(t, Head<Sync>{});
    if (own == 0) return {true, {Outcome::kOutOfMemory, 0}};
    std::uint64_t weight = 1;
    if (bound_.weigher != nullptr) [[unlikely]] weight = weight_of(key, *space_.record(own));
    if (!take_entry(t, weight)) return {true, {Outcome::kFull, 0}};
    space_.record(own)->link.store(space_.record(own)->link_word().over(0).word(),
                                   std::memory_order_relaxed);  // [publish] comes with the slot's swap
    if constexpr (Change::kDerives && !requires { Sync::kUnstamped; }) {  // an earlier attempt may have met a head
      auto& w0 = space_.record(own)->w0;
      w0.store(Stamp(w0.load(std::memory_order_relaxed)).made_of_nothing().word(), std::memory_order_relaxed);  // [publish]
    }
    auto& meta = space_.record(own)->meta;
    meta.store(Hold(meta.load(std::memory_order_relaxed)).with_version(0).word(), std::memory_order_relaxed);  // [publish]
    if (Change::kMaySayAbsent && space_.record(own)->stamp_word().absent()) mark_silent(*space_.record(own), true, false, false);
    const auto gen = static_cast<unsigned>(Ins::next_random(t));
    const LifetimeChange lifetime = lifetime_of(t, *space_.record(own), Head<Sync>{});
    if (planted<Sync>(Mutant::kStampBeforePublish)) Versions<Sync>::finalise(space_, *space_.record(own));
    switch (Ins::insert(table_, t, s, place, hash, key, own, gen)) {
      case Ins::Outcome::kRetry:
        bound_.give_back(weight);
        return {};
      case Ins::Outcome::kNoLeaf:
        bound_.give_back(weight);
        return {true, {Outcome::kOutOfMemory, 0}};
      case Ins::Outcome::kNoBucket:
        bound_.give_back(weight);
        if (free_a_slot(t, s, *place.home)) return {};
        return {true, {Outcome::kOutOfMemory, 0}};
      case Ins::Outcome::kKilled: {
        // Others may have seen it: never placed again. The Change goes on with a copy.
        bound_.give_back(weight);
        if (planted<Sync>(Mutant::kKillWithoutCopy)) return {};
        const std::uint64_t copy = copy_of_killed(t, own);
        change.used();
        if (copy == 0) return {true, {Outcome::kOutOfMemory, 0}};
        change.replace_record(copy);
        return {};
      }
      case Ins::Outcome::kLive:
        break;
    }
    change.used();
    return {true, {Outcome::kPut, entered(t, s, hash, key, own, gen, lifetime)}};
  }

  // What is left to do when `own` is LIVE where nothing was: its version.
  [[gnu::always_inline]] std::uint64_t entered(Thr& t, Shd& s, std::uint64_t hash, std::string_view key, std::uint64_t own, unsigned gen,
                                               const LifetimeChange& lifetime) noexcept {
    Rec& r = *space_.record(own);
    if (!planted<Sync>(Mutant::kStampBeforePublish)) Versions<Sync>::stamp_own(space_, t, own, 0);
    Events<Sync>::notify(space_, t, s, r);
    const Hold hold = r.hold_word();
    const std::uint64_t version = hold.version();
    if (hold.keep()) space_.count_kept(t, r, true);
    const std::uint64_t live = s.live.fetch_add(1, std::memory_order_relaxed) + 1;  // a count
    if (is_named(key)) [[unlikely]] count_name(key, own, 0);
    if (lifetime.has) [[unlikely]] Tickets<Sync>::carry_out(table_, t, s, hash, lifetime);
    if (Growth<Sync>::is_due(live, Tbl::size_of(s))) [[unlikely]] Growth<Sync>::grow_one(table_, t, s);
    if (space_.heap.met_fresh()) [[unlikely]] space_.upkeep.ask();  // to have memory touched before it is wanted
    if (eviction_ != nullptr) eviction_->inserted(t, hash, key, gen, hold.keep());
    return version;
  }

  // Others may have seen what was killed: it is never placed again. 0: no memory.
  [[gnu::noinline, gnu::cold]] std::uint64_t copy_of_killed(Thr& t, std::uint64_t own) noexcept {
    const std::uint64_t copy = space_.copy_of(t, own);
    space_.retire(t, own);
    return copy;
  }

  // There is no memory to lengthen a chain: one of its own slots, of a removed key that no view needs any more, or of a
  // victim.
  [[gnu::noinline]] bool free_a_slot(Thr& t, Shd& s, Bucket<Sync>& home) noexcept {
    // Each record of the chain will be looked at: one wait for all of them.
    if constexpr (!Sync::kWordwise) {
      table_.for_each_slot(home, [&](auto&, SlotWord w) {
        if (w.is_current()) prefetch_near(space_.record(w.offset()));
        return true;
      });
    }
    return Kept<Sync>(table_, this).empty_one(t, s, home) || (eviction_ != nullptr && eviction_->evict_from(t, home));
  }

  // One more entry, in place of others if there are as many as there may be. What this makes room for may be taken by
  // another thread.
  bool take_entry(Thr& t, std::uint64_t weight) noexcept {
    if (bound_.take(weight)) return true;
    if (eviction_ == nullptr || weight > bound_.max) return false;
    for (std::uint64_t attempt = 0; attempt != 64 + weight; ++attempt) {
      if (eviction_->evict_one(t) == 0) return false;
      if (bound_.take(weight)) return true;
    }
    return false;
  }

  std::uint64_t weight_of(std::string_view key, std::string_view value) const noexcept {
    if (is_named(key) && name_of(key) > kNamesMax) return 1;  // no user's
    return std::max<std::uint64_t>(1, bound_.weigher(bound_.weigher_user, own_key(key), value));
  }
  std::uint64_t weight_of(std::string_view key, const Rec& r) const noexcept {
    const auto v = space_.value_of(r, r.stamp_word(), key.size());
    return weight_of(key, {v.data, v.size});
  }
  [[gnu::noinline]] void weigh(std::string_view key, const Rec* after, const Rec* before, std::uint64_t& more,
                               std::uint64_t& less) const noexcept {
    const std::uint64_t a = after != nullptr ? weight_of(key, *after) : 0;
    const std::uint64_t b = before != nullptr ? weight_of(key, *before) : 0;
    more = a > b ? a - b : 0;
    less = b > a ? b - a : 0;
  }

  // What stood for the key, and what does now; 0: nothing.
  [[gnu::noinline]] void count_name(std::string_view key, std::uint64_t after, std::uint64_t before) noexcept {
    space_.names.count(key, std::uint64_t{after != 0} - std::uint64_t{before != 0},
                       (after != 0 ? space_.bytes_of(after) : 0) - (before != 0 ? space_.bytes_of(before) : 0));
  }

  [[gnu::noinline]] void tell_removed(Thr& t, std::uint64_t record, RemovalCause cause) noexcept {
    if (planted<Sync>(Mutant::kRemovalUntold)) return;
    if (planted<Sync>(Mutant::kRemovalToldTwice)) Removals(space_, t).note(record, cause);
    Removals(space_, t).note(record, cause);
  }

  // The tomb at `own` leaves its slot: nothing below it, so absence says the same.
  [[gnu::noinline]] void bury(Thr& t, Shd& s, std::uint64_t hash, std::string_view key, std::uint64_t own) noexcept {
    for (;;) {
      const Place<Sync> place = Ins::locate(table_, t, s, hash, key);
      if (place.out_of_memory || !place.found || place.found.word.offset() != own) return;
      if (Kept<Sync>(table_, this).empty_slot(t, s, place.found)) return;
    }
  }

  Tbl& table_;
  Space<Sync>& space_;
  const Time& time_;
  EntryBound<Sync>& bound_;
  Eviction<Sync>* eviction_;
  bool gives_up_batches_ = false;
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_COMMIT_H_
