// Batches: many keys change at one moment, or none does; whoever meets a batch half-way can finish it.
//
//   slot k -> R_k (BATCH, D) --link--> what it is to replace          D: state | entries by (hash, key) | conditions
//
//   install, for each entry in order
//     agree     R_k.link = the head that is there now              swap from the word that was read before the slot
//     install   slot: that head -> R_k                             from exactly the word that was agreed on
//     judge     version, access bits and kept lifetime of R_k, from what it replaces, which is now fixed for good;
//               then its conditions: one fails: D -> ABORTED
//   D -> COMMITTING -> COMMITTED|t       t is the view clock, read after the swap to COMMITTING
//   settle    each R_k's w0 -> STAMPED|t, or ABORTED: a husk
//   the owner: trims, buries tombs, replaces husks by what they hide; retires D and what was never installed
//
// A read takes D's word for it (Versions::resolve): undecided or aborted, the record below counts. A write helps until
// D is decided, settles the one record that it met, and goes on. What nobody waits for (eviction, expiry, moves, growth)
// leaves intents alone. A batch is linearized at the clock read of the swap to COMMITTED; one whose condition fails, at
// the install of that entry, or at the load of the head if the first look already finds it false.
//
// Invariants; each was an error in a model (tests/models/two_batches.pml) or has a planted bug
//  1 Nothing is installed once D is decided. The state is read after the slot and before the agreement; an abort follows
//    only from an installed entry whose condition is false for everybody, so entries up to it are installed, and nobody
//    has tried those behind it.
//  2 An agreement can't come back: `link` moves along the slot's history, and trim marks it TRIMMED. So R_k replaces
//    exactly what its link names, without a double compare-and-swap.
//  3 The state is read before another batch is helped. So each batch on the stack was undecided when the next was met,
//    keys ascend strictly along it, and no batch is on it twice. Bounded in space: where it grows past kDepth, its
//    middle is forgotten and found again.
//  4 Before it is replaced, a head is decided, stamped and its deadline frozen (rule Q5), as by every write.
//  5 A helper touches records of a batch other than the one it met only if it saw D undecided inside its guard: none of
//    them was retired before that. To settle the others is the owner's alone, who stays in one guard from the first
//    install to the last settle: so whoever meets an intent finds D, its entries and what is below them in place.
//  6 What its conditions, or the lifetimes that it keeps, were judged by mustn't have died since: where an invalidation
//    point came between the beginning and the stamp, whoever would give the stamp aborts it instead, and the owner begins
//    again (Versions::state_of). A head that is dead when an intent is installed is buried first. With leases it is the
//    same: the clock is read, then the leases are asked; an end after that comes after the batch.
//  7 What an entry does to counts, lifetimes, queues and listeners is done once, by whoever settles it: the winner of
//    the swap of w0. Nothing that settle does can meet another batch, or make room: no recursion.
//       live entries, entries never evicted    by the difference between R_k and what it replaces
//       the wheel's tickets                    R_k's number is new and filed; a kept lifetime takes over the old number
//       eviction's queues                      told if an incarnation began (a tomb, or a KEEP entry, was replaced);
//                                              its generation was chosen with the batch, so all installers write one word
//       the bound on entries                   the owner reserved beforehand what it saw; settle corrects the difference
//       on_removed                             what was deleted or had expired; not for a batch that failed
//
// An absent key has no word to install over: a placeholder is inserted first, an ordinary tomb. Whoever places one and
// then finds D decided buries it. If there is no memory for it, which is never the reserve's, a helper's own write is refused;
// the owner gives the batch up at this entry (abandon), which is the one abort that isn't a verdict, and so does a removal that
// has tried everything else. What helpers with more luck may have installed meanwhile, or may still install, is found out by
// recall.
//
// A husk is an ordinary head for writers: they replace it, and trim drops it. The owner heals it: a fresh copy of what
// lies below takes its place with the same version and stamp (never the record itself: rule Q1), or the slot is emptied.
// Without memory for the copy the key is put on its shard's list for maintenance. An entry that only asks settles as a
// husk in both cases.
//
// Lifetimes are judged by one reading of the clock at the beginning of the call, the same for all helpers. Did a deadline pass
// between that and the stamp that a condition depends on, it is as with leases (6).
//
// Where somebody listens when it is stamped, its stamp is its own, and each record has a word behind it in which whoever settles it
// writes of how many changes the batch consists, for its listeners. Built while nobody listened they have none: then it is aborted
// instead (kPoint), and its owner begins again.
//
// Edges
//   agree    the swap of an intent's link / link_word: what it replaces
//   decide   the swaps of D.state / its loads: one fate, and all that was judged before
//   publish, stamp, version, deadline   as in commit.h; an intent's install publishes D with its record
// Cost beyond a set for each entry: a swap of the link; for an absent key a placeholder's insert. Three more for D.
// Lock-free. A thread stopped half-way costs others the rest of its batch once, and holds back reclamation.
#ifndef TERN_ENGINE_BATCH_H_
#define TERN_ENGINE_BATCH_H_

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "engine/batch_descriptor.h"
#include "engine/changes.h"
#include "engine/commit.h"
#include "engine/eviction.h"
#include "engine/short_batch.h"

namespace tern::detail {

template <class Sync>
class Invalidation;
template <class Sync>
class Leases;

template <class Sync>
class Batches {
 public:
  using Thr = Thread<Sync>;
  using Rec = Record<Sync>;
  using Shd = Shard<Sync>;
  using Ins = Insertion<Sync>;
  using Ver = Versions<Sync>;
  using Descriptor = BatchDescriptor<Sync>;

  // `commit` of the same store; everything inside one guard.
  explicit Batches(Commit<Sync>& commit) noexcept : commit_(commit), table_(commit.table_), space_(commit.space_) {}

  // --- for other writes ----------------------------------------------------------------------------------------

  // What a write does that finds an intent or a husk in its slot.
  struct Met {
    enum What : std::uint8_t {
      kJudge,     // go on, from the record `below` husks
      kAgain,     // it is settled
      kStands,    // it is undecided, and not to be helped
      kNoMemory,
    } what = kAgain;
    std::uint64_t below = 0;
  };
  [[gnu::noinline]] Met meet(Thr& t, std::uint64_t hash, const Place<Sync>& place, bool helps) noexcept {
    const std::uint64_t at = place.found.word.offset();
    const Stamp s = place.found.record->stamp_word();
    if (s.stamped()) return {};
    if (s.aborted()) return {Met::kJudge, Ver::below_husks(space_, at)};
    if (Ver::state_of(space_, s.descriptor()).is_undecided()) {
      if (!helps) return {Met::kStands, 0};
      std::uint32_t reached = 0;
      if (!help(t, s.descriptor(), reached)) {
        if (!commit_.gives_up_batches_ || planted<Sync>(Mutant::kBatchRefusesRemoval)) return {Met::kNoMemory, 0};
        abandon(Descriptor::at(space_, s.descriptor()), reached);
      }
    }
    settle(t, at, hash);
    return {};
  }

  // Maintenance comes across an intent or a husk. An undecided one is left to its owner.
  [[gnu::noinline]] void review(Thr& t, std::uint64_t at) noexcept {
    Rec& r = *space_.record(at);
    const Stamp s = r.stamp_word();
    const auto k = space_.key_of(r, s);
    const std::string_view key(k.data, k.size);
    const std::uint64_t hash = table_.hash_of(key);
    if (s.batch()) {
      if (Ver::state_of(space_, s.descriptor()).is_undecided()) return;
      settle(t, at, hash);
    }
    if (r.stamp_word().aborted()) heal(t, hash, key);
  }

  // --- for the owner -------------------------------------------------------------------------------------------

  // Whether the operation's conditions hold at this moment: the first look, which installs nothing. Answers the first
  // operation, in the caller's order, whose condition doesn't; kBatchMax if all do.
  std::uint32_t first_failing(Descriptor& d) noexcept {
    std::uint32_t first = kBatchMax;
    for (std::uint32_t i = 0; i != d.count; ++i) {
      const BatchEntry& e = d.entries()[i];
      if (e.condition_count == 0) continue;
      const Head<Sync> head = current(d, e);
      for (unsigned c = 0; c != e.condition_count; ++c) {
        const BatchCondition& condition = d.conditions()[e.first_condition_or_slot + c];
        if (!condition.is_of_kept && !holds(d, condition, head) && !has_expired_since(head)) first = std::min(first, condition.operation);
      }
    }
    return first;
  }

  // What the entries will count for beyond what is there now. False: there is no room for so many, and nothing is taken.
  bool reserve(Thr& t, Descriptor& d) noexcept {
    if (commit_.bound_.max == 0) return true;
    for (std::uint32_t i = 0; i != d.count; ++i) {
      BatchEntry& e = d.entries()[i];
      const Head<Sync> head = current(d, e);
      std::uint64_t more = 0, less = 0;
      weigh(e, head.record != nullptr && !head.stamp.tomb() ? head.record : nullptr, more, less);
      e.reserved = more;
      if (more != 0 && !commit_.take_entry(t, more)) {
        e.reserved = 0;
        give_back(d);
        return false;
      }
    }
    return true;
  }

  // Runs it to its end. All that it refers to is the store's afterwards; tell(operation, version) hears what was set.
  template <class Tell>
  BatchState run(Thr& t, Descriptor& d, Tell&& tell) noexcept {
    const std::uint64_t where = d.offset(space_);
    ShortBatch<Sync> shortly(space_);
    if (!planted<Sync>(Mutant::kBatchStampEarly)) shortly.look(d);
    std::uint32_t reached = 0;
    for (; reached != d.count && shortly.install(d, d.entries()[reached]); ++reached) {
      if (planted<Sync>(Mutant::kBatchLookLate)) shortly.look(d, reached + 1);
    }
    if (!help(t, where, reached)) abandon(d, reached);
    const BatchState state = Ver::state_of(space_, where);
    std::uint32_t installed = d.count;
    if (state.aborted()) installed = state.why() == BatchState::Why::kMemory ? recall(t, d, state.entry()) : state.entry() + 1;
    const bool plainly = state.committed() && !ViewClock<Sync>::is_of_batch(state.stamp()) && commit_.bound_.weigher == nullptr;
    std::uint32_t sets = 0;
    for (std::uint32_t i = 0; i != installed; ++i) {
      BatchEntry& e = d.entries()[i];
      Rec& r = *space_.record(e.record);
      const bool done = plainly && shortly.settle(t, e, state.stamp());
      if (done) {
        ++sets;
      } else {
        settle(t, e.record, e.hash, &e);
        if (e.condition_count == 0) e.first_condition_or_slot = 0;  // to be tidied
      }
      Events<Sync>::notify(space_, t, table_.shard_of(e.hash), r);
      if (done || (state.committed() && !r.stamp_word().tomb())) tell(e.operation, r.hold_word().version());
    }
    if (sets != 0) t.counters.sets.add(sets);
    if (state.aborted()) give_back(d);
    if (sets != installed) {
      for (std::uint32_t i = 0; i != installed; ++i) {
        const BatchEntry& e = d.entries()[i];
        if (e.condition_count != 0 || e.first_condition_or_slot == 0) tidy(t, e);
      }
    }
    for (std::uint32_t i = installed; i != d.count; ++i) space_.retire(t, d.entries()[i].record);
    space_.retire(t, d.home);
    return state;
  }

 private:
  static constexpr unsigned kDepth = 16;
  enum class Step : std::uint8_t { kInstalled, kDecided, kMet, kNoMemory };
  struct Frame {
    std::uint64_t descriptor;
    std::uint32_t entry;
  };

  bool undecided(const Descriptor& d) const noexcept {
    return BatchState(d.state.load(std::memory_order_seq_cst)).is_undecided();  // [decide] seq_cst
  }
  Time fixed(const Descriptor& d) const noexcept {
    return {[](const void* ms) { return *static_cast<const std::uint64_t*>(ms); }, &d.now_ms};
  }
  std::string_view key_of(const Rec& r) const noexcept {
    const auto k = space_.key_of(r, r.stamp_word());
    return {k.data, k.size};
  }

  // Until `root` is decided; up to `reached` it is installed. False: there is no memory to go on; `reached` is the entry of the
  // root where it stands.
  [[gnu::noinline]] bool help(Thr& t, std::uint64_t root, std::uint32_t& reached) noexcept {
    Frame stack[kDepth];
    stack[0] = {root, reached};
    for (unsigned depth = 0;;) {
      std::uint64_t met = 0;
      switch (advance(t, stack[depth], met)) {
        case Step::kMet:
          if (++depth == kDepth) depth = 1;
          stack[depth] = {met, 0};
          break;
        case Step::kNoMemory:
          reached = stack[0].entry;
          return false;
        default:
          if (depth-- == 0) return true;
      }
    }
  }

  Step advance(Thr& t, Frame& f, std::uint64_t& met) noexcept {
    const std::uint64_t early = planted<Sync>(Mutant::kBatchStampEarly) ? space_.views.now() : 0;
    Descriptor& d = Descriptor::at(space_, f.descriptor);
    for (; f.entry != d.count; ++f.entry) {
      const BatchEntry& e = d.entries()[f.entry];
      const Step step = install(t, d, e, met);
      if (step != Step::kInstalled) return step;
      if (!judge(d, e, f.entry)) return Step::kDecided;
    }
    std::uint64_t expected = BatchState::undecided().word();
    Sync::point("batch.commit");
    const BatchState to = planted<Sync>(Mutant::kBatchStampEarly) ? BatchState::committed_at(early) : BatchState::in_commit();
    d.state.compare_exchange_strong(expected, to.word(), std::memory_order_seq_cst);  // [decide] seq_cst
    return Step::kDecided;
  }

  // R_k into its slot, over what its link names.
  Step install(Thr& t, Descriptor& d, const BatchEntry& e, std::uint64_t& met) noexcept {
    Rec& own = *space_.record(e.record);
    const std::string_view key = key_of(own);
    Shd& s = table_.shard_of(e.hash);
    for (;;) {
      const Link link = own.link_word();
      const bool points = space_.has_points();
      const Place<Sync> place = Ins::locate(table_, t, s, e.hash, key);
      if (place.found && place.found.word.offset() == e.record) return Step::kInstalled;
      Sync::point("batch.located");
      if (!planted<Sync>(Mutant::kBatchLateInstall) && !undecided(d)) return Step::kDecided;
      if (place.out_of_memory) return Step::kNoMemory;
      if (!place.found) {
        if (!place_tomb(t, s, d, place, e, key)) return Step::kNoMemory;
        continue;
      }
      const std::uint64_t old = place.found.word.offset();
      const Stamp os = Ver::finalise(space_, *place.found.record);
      if (os.batch()) {
        if (Ver::state_of(space_, os.descriptor()).is_undecided()) {
          met = os.descriptor();
          return Step::kMet;
        }
        settle(t, old, e.hash);
        continue;
      }
      if (points) [[unlikely]] {
        using Points = Invalidation<Sync>;
        const std::uint64_t counts = Ver::below_husks(space_, old);
        const auto dead = Points(commit_).meet(t, e.hash, key, place, counts, space_.record(counts)->stamp_word());
        if (dead == Points::Met::kNoMemory) return Step::kNoMemory;
        if (dead == Points::Met::kAgain) continue;
      }
      Rec& b = *space_.record(Ver::below_husks(space_, old));
      const Stamp bs = b.stamp_word();
      if (const std::uint64_t lease = Leases<Sync>::of(space_, b, bs); lease != 0 && !bs.tomb()) [[unlikely]] {
        const Leases<Sync> leases(table_, commit_.time_);
        if (leases.is_over(lease)) {
          if (!leases.bury(commit_, t, b, bs)) return Step::kNoMemory;
          continue;
        }
      }
      if (link.older() != old) {
        std::uint64_t expected = link.word();
        Sync::point("batch.agree");
        if (!own.link.compare_exchange_strong(expected, link.over(old).word(), std::memory_order_seq_cst)) continue;  // [agree] seq_cst
      }
      Events<Sync>::notify(space_, t, s, b);
      if (bs.has_x() && !planted<Sync>(Mutant::kBatchWithoutFreeze)) {
        b.x().fetch_or(Deadline::kFrozen, std::memory_order_seq_cst);  // [deadline] seq_cst
      }
      const SlotWord to = begins(own, b, bs) ? place.found.word.reborn(e.gen, e.record) : place.found.word.replaced(e.record);
      std::uint64_t expected = place.found.word.word();
      Sync::point("batch.install");
      // Others can have moved the agreement on meanwhile only if the slot has moved on too, and then this fails.
      if (place.found.slot->compare_exchange_strong(expected, to.word(), std::memory_order_seq_cst)) {  // [publish] release
        return Step::kInstalled;
      }
    }
  }

  // Whether `own` over `b` begins an incarnation: none of eviction's queues knows it.
  static bool begins(const Rec& own, const Rec& b, Stamp bs) noexcept {
    if (own.stamp_word().tomb()) return false;
    return bs.tomb() || (b.hold_word().keep() && !own.hold_word().keep());
  }

  // An absent key gets a tomb. True: look again.
  [[gnu::noinline]] bool place_tomb(Thr& t, Shd& s, Descriptor& d, const Place<Sync>& place, const BatchEntry& e,
                                    std::string_view key) noexcept {
    const std::uint64_t tomb = space_.build_tomb(t, key, e.record, false);
    if (tomb == 0) return false;
    auto& w0 = space_.record(tomb)->w0;
    const std::uint64_t told = planted<Sync>(Mutant::kBatchPlaceholderTold) ? 0 : Stamp::kTold;
    w0.store(w0.load(std::memory_order_relaxed) | told, std::memory_order_relaxed);  // [publish] with its insert
    switch (Ins::insert(table_, t, s, place, e.hash, key, tomb, static_cast<unsigned>(Ins::next_random(t)))) {
      case Ins::Outcome::kRetry:
        space_.discard(t, tomb);
        return true;
      case Ins::Outcome::kNoLeaf:
        space_.discard(t, tomb);
        return false;
      case Ins::Outcome::kNoBucket:
        space_.discard(t, tomb);
        return commit_.free_a_slot(t, s, *place.home);
      case Ins::Outcome::kKilled:
        space_.retire(t, tomb);
        return true;
      case Ins::Outcome::kLive:
        break;
    }
    Ver::finalise(space_, *space_.record(tomb));
    Sync::point("batch.placed");
    if (!undecided(d) && !planted<Sync>(Mutant::kBatchPlaceholderLeft)) commit_.bury(t, s, e.hash, key, tomb);
    return true;
  }

  // R_k is, or was, in its slot: what it replaces is fixed. Everybody who comes by here does the same. False: the batch
  // is decided.
  bool judge(Descriptor& d, const BatchEntry& e, std::uint32_t index) noexcept {
    Rec& own = *space_.record(e.record);
    const std::uint64_t at = Ver::below_husks(space_, own.link_word().older());
    if (at == 0) return false;  // trimmed: long decided
    Rec& b = *space_.record(at);
    const Stamp bs = b.stamp_word();
    if (!own.stamp_word().only_asks()) ShortBatch<Sync>::agree_on_meta(space_, own, b.hold_word(), !bs.tomb());
    if (!e.keeps_lifetime && e.condition_count == 0) return true;
    const Head<Sync> before = Commit<Sync>::head_of(space_, fixed(d), b, bs, key_of(own).size());
    if ((before.present && before.has_deadline) || Leases<Sync>::of(space_, b, bs) != 0) [[unlikely]] {
      d.mortal.store(1, std::memory_order_relaxed);  // [decide] comes with the swap to COMMITTING
    }
    if (e.keeps_lifetime && !agree_on_lifetime(d, own, before)) return abort(d, BatchState::Why::kKept, index, e.operation);
    for (unsigned c = 0; c != e.condition_count; ++c) {
      const BatchCondition& condition = d.conditions()[e.first_condition_or_slot + c];
      if (!holds(d, condition, before) && !planted<Sync>(Mutant::kConditionAskedFirst)) {
        if (condition.is_of_kept && planted<Sync>(Mutant::kBatchStaleMetadata)) continue;
        if (has_expired_since(before)) [[unlikely]] return abort(d, BatchState::Why::kPoint, index, condition.operation);
        return abort(d, condition.is_of_kept ? BatchState::Why::kKept : BatchState::Why::kCondition, index, condition.operation);
      }
    }
    return true;
  }
  // Whether what was there when the batch began, by its time, isn't any more. (Nor need it have been: it may have come too late.)
  bool has_expired_since(const Head<Sync>& head) const noexcept {
    return head.present && head.has_deadline && commit_.time_.now() >= head.deadline_ms && !planted<Sync>(Mutant::kDeadlineOutlived);
  }
  static bool abort(Descriptor& d, BatchState::Why why, std::uint32_t entry, std::uint32_t operation) noexcept {
    std::uint64_t expected = BatchState::undecided().word();
    Sync::point("batch.abort");
    d.state.compare_exchange_strong(expected, BatchState::aborted_at(why, entry, operation).word(),
                                    std::memory_order_seq_cst);  // [decide] seq_cst
    return false;
  }

  // False: the record was built for a lifetime of another kind.
  static bool agree_on_lifetime(const Descriptor& d, Rec& own, const Head<Sync>& before) noexcept {
    const bool inherits = before.present && before.has_deadline;
    const Span span = Tickets<Sync>::span_of(own, own.stamp_word());
    if (span.bits() != (inherits ? before.span.bits() : 0)) return false;
    Deadline to = Deadline::at(Deadline::kNever);
    if (inherits) {
      std::uint64_t ms = before.deadline_ms;
      if (span.idle_ms() != 0) ms = std::max(ms, d.now_ms + span.idle_ms());  // a write is an access
      to = Deadline::at(ms, before.x.ticket());
    }
    std::uint64_t unset = Deadline::kUnset;
    own.x().compare_exchange_strong(unset, to.word(), std::memory_order_seq_cst);  // [deadline] seq_cst
    return true;
  }

  static bool holds(Descriptor& d, const BatchCondition& c, const Head<Sync>& head) noexcept {
    bool yes = false;
    switch (c.kind) {
      case BatchCondition::Kind::kAbsent: yes = !head.present; break;
      case BatchCondition::Kind::kPresent: yes = head.present; break;
      case BatchCondition::Kind::kVersion: yes = head.present && head.version == c.version_or_size; break;
      case BatchCondition::Kind::kValue: yes = head.present && head.bytes() == d.value_of(c); break;
    }
    return yes != c.negated;
  }

  // What the entry's key has at this moment.
  Head<Sync> current(const Descriptor& d, const BatchEntry& e) noexcept {
    const std::string_view key = key_of(*space_.record(e.record));
    for (;;) {
      const auto found = table_.find(e.hash, key);
      if (!found) return {};
      const auto seen = Ver::resolve(space_, *found.record);
      if (seen.record == nullptr) return {};
      const Time then = fixed(d);
      Head<Sync> head = Commit<Sync>::head_of(space_, then, *seen.record, seen.stamp, key.size());
      Leases<Sync>(table_, then).judge(head, *seen.record, seen.stamp);
      const bool dead = found.points && space_.points.killer(space_, *seen.record, seen.stamp, seen.stamp.stamp());
      if (found.points || (head.expired && !planted<Sync>(Mutant::kExpiredAsked))) [[unlikely]] {
        if (!Leases<Sync>::is_still(space_, found, *seen.record)) continue;  // as in every look
      }
      return dead ? Head<Sync>{} : head;
    }
  }

  // --- after the decision --------------------------------------------------------------------------------------

  // D of the record at `at` is decided: the record's own word says so from now on. `entry`: the record's, if it is known.
  [[gnu::noinline]] void settle(Thr& t, std::uint64_t at, std::uint64_t hash, const BatchEntry* entry = nullptr) noexcept {
    Rec& r = *space_.record(at);
    const Stamp s = r.stamp_word();
    if (!s.batch()) return;
    const BatchState state = Ver::state_of(space_, s.descriptor());
    std::uint64_t expected = s.word();
    if (!state.committed() || s.only_asks()) {
      Sync::point("batch.give_up");
      r.w0.compare_exchange_strong(expected, s.given_up().word(), std::memory_order_seq_cst);  // [stamp] seq_cst
      if (planted<Sync>(Mutant::kEventAbortedTold)) Events<Sync>::tell(space_, t, table_.shard_of(hash), r);
      return;
    }
    const std::uint64_t old = r.link_word().older();
    const std::uint64_t below = Ver::below_husks(space_, old);
    if (below == 0) return;  // somebody has settled and trimmed it
    Rec& b = *space_.record(below);
    const Stamp bs = b.stamp_word();
    Descriptor& d = Descriptor::at(space_, s.descriptor());
    Head<Sync> before;  // but for its value, where it is a plain one
    if (bs.plain()) [[likely]] {
      before.stamp = bs;
      before.present = true;
    } else {
      before = Commit<Sync>::head_of(space_, fixed(d), b, bs, key_of(r).size());
    }
    // Read before the swap: after it others may move the deadline, and count that.
    const Deadline x(!s.tomb() && s.has_x() ? r.x().load(std::memory_order_seq_cst) : Deadline::at(Deadline::kNever).word());  // [deadline]
    const bool cut = below == old && Ver::alone(b, bs) && bs.stamp() == state.stamp();
    // A removal of what isn't there changes nothing that a listener could be told; one of what had expired is told as that.
    const bool silent = s.tomb() && Ver::is_nothing(bs) && !planted<Sync>(Mutant::kBatchAbsentTold);
    const std::uint64_t flags = (cut ? Stamp::kNolink : 0) | (silent ? Stamp::kTold : 0);
    const Stamp to = s.settled_at(state.stamp()).with_flags(flags);
    if (before.expired && r.stamp_word().batch()) [[unlikely]] {  // then `old` was still what it replaces
      const std::uint64_t says = s.tomb() ? Link(0).with_reason(TombReason::kExpired).word() : Link::kAfterExpired;
      r.link.fetch_or(says, std::memory_order_seq_cst);  // [agree] seq_cst: fixed since the install
    }
    if (ViewClock<Sync>::is_of_batch(state.stamp())) [[unlikely]] {
      // Everybody writes the same, and the swap publishes it.
      space_.word_behind(r, s).store(d.told.load(std::memory_order_acquire) - 1, std::memory_order_relaxed);  // [decide] acquire
    }
    Sync::point("batch.settle");
    if (!r.w0.compare_exchange_strong(expected, to.word(), std::memory_order_seq_cst)) return;  // [stamp] seq_cst
    account(t, entry != nullptr ? *entry : entry_of(d, hash, at), r, to, x, b, before);
    Events<Sync>::notify(space_, t, table_.shard_of(hash), r);
    if (cut) space_.retire(t, below);
  }

  // By the one who settled it: everything that a write does to counts, queues and listeners.
  void account(Thr& t, const BatchEntry& e, Rec& r, Stamp s, Deadline x, Rec& b, const Head<Sync>& before) noexcept {
    Shd& shard = table_.shard_of(e.hash);
    const bool puts = !s.tomb();
    const bool was = !before.stamp.tomb();
    if (puts && !was) shard.live.fetch_add(1, std::memory_order_relaxed);  // a count
    if (!puts && was) shard.live.fetch_sub(1, std::memory_order_relaxed);  // as above
    if (const std::string_view key = key_of(r); is_named(key)) [[unlikely]] {
      commit_.count_name(key, puts ? space_.offset_of(r) : 0, was ? space_.offset_of(b) : 0);
    }
    const bool keeps = puts && r.hold_word().keep();
    const bool kept = b.hold_word().keep();
    if (keeps != kept) space_.count_kept(t, keeps ? r : b, keeps, before.expired);
    if (puts) {
      t.counters.sets.add();
    } else if (before.present) {
      t.counters.deletes.add();
    }
    if (before.expired) t.counters.expired.add();
    LifetimeChange lifetime;
    lifetime.had = before.has_deadline;
    lifetime.has = !x.never();
    if (lifetime.has && !e.keeps_lifetime) {
      lifetime.number = x.ticket();
      lifetime.due = Tickets<Sync>::due_of(x, Tickets<Sync>::span_of(r, s));
    }
    if (lifetime.has || lifetime.had) Tickets<Sync>::carry_out(table_, t, shard, e.hash, lifetime);
    if (space_.removal_hook.call != nullptr && (!puts || before.expired) && was && !before.stamp.absent()) {
      Removals(space_, t).note(space_.offset_of(b), before.expired ? RemovalCause::kExpired : RemovalCause::kDeleted);
    }
    if (commit_.bound_.max != 0) {
      std::uint64_t more = 0, less = 0;
      weigh(e, was ? &b : nullptr, more, less);
      less += e.reserved;
      if (more > less) commit_.bound_.force(more - less);
      if (less > more) commit_.bound_.give_back(less - more);
    }
    if (commit_.eviction_ != nullptr && begins(r, b, before.stamp)) commit_.eviction_->entered(t, e.hash, key_of(r), e.gen, keeps);
  }

  // The difference that the entry makes to the bound on entries.
  void weigh(const BatchEntry& e, const Rec* before, std::uint64_t& more, std::uint64_t& less) const noexcept {
    const Rec& own = *space_.record(e.record);
    const Rec* after = own.stamp_word().tomb() ? nullptr : &own;
    if (own.stamp_word().only_asks()) after = before;
    if (commit_.bound_.weigher != nullptr) return commit_.weigh(key_of(own), after, before, more, less);
    more = after != nullptr && before == nullptr ? 1 : 0;
    less = after == nullptr && before != nullptr ? 1 : 0;
  }
  void give_back(Descriptor& d) noexcept {
    for (std::uint32_t i = 0; i != d.count; ++i) commit_.bound_.give_back(d.entries()[i].reserved);
  }

  static const BatchEntry& entry_of(Descriptor& d, std::uint64_t hash, std::uint64_t record) noexcept {
    const BatchEntry* e = std::lower_bound(d.entries(), d.entries() + d.count, hash,
                                           [](const BatchEntry& a, std::uint64_t h) { return a.hash < h; });
    while (e->record != record) ++e;
    return *e;
  }

  // The owner's last look at an entry that was installed.
  void tidy(Thr& t, const BatchEntry& e) noexcept {
    Rec& r = *space_.record(e.record);
    Shd& s = table_.shard_of(e.hash);
    const Stamp stamp = r.stamp_word();
    if (stamp.aborted()) {
      if (!planted<Sync>(Mutant::kBatchHuskLeft)) heal(t, e.hash, key_of(r));
      return;
    }
    const Trimmed trimmed = Ver::trim(space_, t, e.record);
    if (stamp.tomb() && !trimmed.left && Ver::alone(r, r.stamp_word())) {
      return commit_.bury(t, s, e.hash, key_of(r), e.record);
    }
    if (trimmed.note || stamp.tomb()) look_again(t, s, e.hash);
    if (Growth<Sync>::is_due(s.live.load(std::memory_order_relaxed), Table<Sync>::size_of(s))) {  // a count
      Growth<Sync>::grow_one(table_, t, s);
    }
  }

  // A husk that is the key's head gives way to what it hides.
  [[gnu::noinline]] void heal(Thr& t, std::uint64_t hash, std::string_view key) noexcept {
    Shd& s = table_.shard_of(hash);
    for (;;) {
      const Place<Sync> place = Ins::locate(table_, t, s, hash, key);
      if (place.out_of_memory) return look_again(t, s, hash);
      if (!place.found || !place.found.record->stamp_word().aborted()) return;
      const std::uint64_t husk = place.found.word.offset();
      const std::uint64_t below = Ver::below_husks(space_, husk);
      Rec& b = *space_.record(below);
      Events<Sync>::notify(space_, t, s, b);
      const Stamp bs = b.stamp_word();
      const bool alone = Ver::alone(b, bs);
      if (bs.tomb() && alone) {
        if (!Kept<Sync>(table_, &commit_).empty_slot(t, s, place.found, b.hold_word().version())) continue;
        retire_from(t, place.found.record->link_word().older(), below);  // the husk itself went with the slot
        space_.retire(t, below);
        return;
      }
      if (bs.has_x()) b.x().fetch_or(Deadline::kFrozen, std::memory_order_seq_cst);  // [deadline] as before each copy
      const std::uint64_t copy = bs.tomb() ? space_.build_tomb(t, key, below, false) : space_.copy_of(t, below);
      if (copy == 0) return look_again(t, s, hash);
      Rec& c = *space_.record(copy);
      // Closed first: nobody trims below it any more, and the copy has the whole of the chain.
      if (!alone) {
        const Link l(b.link.fetch_or(Link::kClosed, std::memory_order_seq_cst));  // [unhook] seq_cst
        c.link.store(c.link_word().over(l.older()).word(), std::memory_order_relaxed);  // [publish] comes with the swap
      }
      const Stamp cs = c.stamp_word();
      if (bs.tomb()) c.link.store(c.link_word().with_reason(b.link_word().reason()).word(), std::memory_order_relaxed);  // [publish]
      const Stamp told = bs.tomb() ? cs.stamped_at(bs.stamp()).with_flags(bs.word() & Stamp::kTold) : bs;
      c.w0.store(told.word(), std::memory_order_relaxed);  // [publish] as above
      c.meta.store(b.hold_word().unheld().word(), std::memory_order_relaxed);                      // [publish] as above
      std::uint64_t expected = place.found.word.word();
      Sync::point("batch.heal");
      if (!place.found.slot->compare_exchange_strong(expected, place.found.word.replaced(copy).word(),
                                                     std::memory_order_seq_cst)) {  // [publish] release
        space_.discard(t, copy);
        continue;
      }
      retire_from(t, husk, below);
      // Its block alone: an extent has passed to the copy.
      space_.epoch.retire(space_, t, below, space_.heap.block_bytes(below));
      if (bs.tomb() || !alone) look_again(t, s, hash);
      return;
    }
  }
  // Maintenance comes back to the key.
  void look_again(Thr& t, Shd& s, std::uint64_t hash) noexcept { Kept<Sync>(table_, &commit_).put(t, s, hash); }
  // Husks from `at` down to `end`, which isn't one.
  void retire_from(Thr& t, std::uint64_t at, std::uint64_t end) noexcept {
    while (at != end) {
      const std::uint64_t next = space_.record(at)->link_word().older();
      space_.retire(t, at);
      at = next;
    }
  }

  // --- without memory ------------------------------------------------------------------------------------------

  // It can't be gone on with at this entry. Somebody else may have, and then it is too late.
  static void abandon(Descriptor& d, std::uint32_t entry) noexcept {
    abort(d, BatchState::Why::kMemory, entry, d.entries()[entry].operation);
  }

  // How many entries were installed in an abandoned batch, for good. Entries follow each other, so one that isn't, and
  // can't be any more, is the end. A helper that has read UNDECIDED may still swap from the word that it and the link
  // agree on, at one entry: who comes first, it or this, makes no difference then.
  [[gnu::noinline]] std::uint32_t recall(Thr& t, Descriptor& d, std::uint32_t given_up_at) noexcept {
    if (planted<Sync>(Mutant::kBatchRecallSkipped)) return given_up_at;
    for (std::uint32_t i = 0; i != d.count; ++i) {
      if (!was_installed(t, d.entries()[i])) return i;
    }
    return d.count;
  }
  bool was_installed(Thr& t, const BatchEntry& e) noexcept {
    Rec& own = *space_.record(e.record);
    const std::string_view key = key_of(own);
    const Link link = planted<Sync>(Mutant::kBatchRecallOpen)
                          ? own.link_word()
                          : Link(own.link.fetch_or(Link::kClosed, std::memory_order_seq_cst));  // [agree] seq_cst: none any more
    for (;;) {
      const auto found = table_.find(e.hash, key);
      // Before it was replaced it was settled.
      if ((found && found.word.offset() == e.record) || own.stamp_word().aborted()) return true;
      if (!found) return false;
      const std::uint64_t there = found.word.offset();
      if (there != link.older() || !found.word.is_live()) {
        const Stamp s = found.record->stamp_word();
        if (s.stamped() && s.tomb() && Ver::alone(*found.record, s)) {
          commit_.bury(t, table_.shard_of(e.hash), e.hash, key, there);  // perhaps a placeholder that nobody needs now
        }
        return false;
      }
      if (Events<Sync>::wanted(space_)) [[unlikely]] {
        Ver::finalise(space_, *found.record);
        Rec& b = *space_.record(Ver::below_husks(space_, there));
        Events<Sync>::tell(space_, t, table_.shard_of(e.hash), b);
      }
      std::uint64_t expected = found.word.word();
      Sync::point("batch.recall");
      if (planted<Sync>(Mutant::kBatchRecallOverwrites)) expected = found.slot->load(std::memory_order_seq_cst);
      if (found.slot->compare_exchange_strong(expected, found.word.replaced(e.record).word(),
                                              std::memory_order_seq_cst)) {  // [publish] release
        return true;
      }
    }
  }

  Commit<Sync>& commit_;
  Table<Sync>& table_;
  Space<Sync>& space_;
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_BATCH_H_
