// Versions: the chain of one key's records, newest first. Deciding a record's place among views (stamping), walking
// to the version that a view sees, and unhooking what no view can ask for.
//
//   slot -> R3 --link--> R2 --link--> R1
//
// finalise(r) decides: every operation that returns or replaces a record decides it first, so no answer can be older
// than a view that was opened after it, or newer than one opened before (rule Q3). A record leaves its slot's LIVE
// state only after it was stamped: that is how an inserter tells "was live and is gone" from "was killed".
// trim() unhooks: close p's link, then swing r's past it (a Harris mark), so many may trim one chain.
//
// A batch's records (batch.h) get their stamp together: until then what a record says is its descriptor's to say, and
// resolve() asks. A read never waits for a batch and does none of its work: undecided, it takes the version below.
//
// A version that stays for a view is marked LEFT by the first who finds it so, who also counts it and puts its key on
// the list of those to be looked at when a view ends (kept.h). Whoever unhooks it sets the mark too: one addition to one
// word says who came first, so that what is counted is taken off once.
//
// Edges
//   stamp    the winning swap of w0 / stamp_word(): everybody sees one stamp
//   decide   the swaps of a descriptor's state / its loads: one fate for all records of a batch
//   unhook   closing and swinging `link` / link_word(): a walker inside a guard may still be on what was unhooked
// Models: tests/models/views_and_batches.pml, adjacent_trim.pml. All steps are bounded and lock-free.
#ifndef TERN_ENGINE_VERSIONS_H_
#define TERN_ENGINE_VERSIONS_H_

#include <cstdint>

#include "engine/batch_descriptor.h"
#include "engine/record.h"
#include "engine/space.h"

namespace tern::detail {

inline constexpr int kTrimSteps = 4;
// As many as a chain can have versions and more: one for each view, and what nobody has trimmed yet.
inline constexpr int kTrimAll = 512;

template <class Sync>
class Leases;

struct Trimmed {
  bool left = false;  // something is left below
  bool note = false;  // ... that nobody has put on the list yet
  bool husk = false;  // the record itself came to nothing (Versions::decided)
};

template <class Sync>
class Versions {
 public:
  using Rec = Record<Sync>;
  using Thr = Thread<Sync>;

  // Decides the record if nobody has: at most one compare-and-swap. What it answers is STAMPED; or the word of an
  // intent or a husk as it is: see resolve(), and Batches for those who write.
  static Stamp finalise(Space<Sync>& space, Rec& r) noexcept {
    Stamp s = r.stamp_word();
    if (s.stamped()) [[likely]] return s;
    if (s.intent()) return s;
    const Stamp to = decided(space, r, s, space.views.now());
    Sync::point("version.stamp");
    std::uint64_t pending = s.word();
    if (r.w0.compare_exchange_strong(pending, to.word(), std::memory_order_seq_cst)) return to;  // [stamp] seq_cst
    return Stamp(pending);
  }

  // What becomes of a batch, as far as it is decided; its stamp is agreed on here, by whoever comes first.
  static BatchState state_of(Space<Sync>& space, std::uint64_t descriptor) noexcept {
    auto& state = BatchDescriptor<Sync>::at(space, descriptor).state;
    std::uint64_t word = state.load(std::memory_order_seq_cst);  // [decide] seq_cst
    if (!BatchState(word).committing()) return BatchState(word);
    auto& d = BatchDescriptor<Sync>::at(space, descriptor);
    std::uint64_t now = space.views.now();
    bool is_told_unnamed = false;
    // Relaxed, and after the clock, as for a record of its own (Events::wanted).
    if (space.views.listeners().load(std::memory_order_relaxed) != 0) [[unlikely]] {  // as above
      if (d.is_named) {
        count_told(space, d);
        now = space.views.move_for_batch();
      } else {
        is_told_unnamed = !planted<Sync>(Mutant::kBatchToldUnnamed);
      }
    }
    BatchState committed = BatchState::committed_at(now);
    if (d.began != 0 && d.began - 1 != now && space.points.any_between(space, d.began - 1, now) &&
        !planted<Sync>(Mutant::kPointOutlived)) [[unlikely]] {
      committed = BatchState::aborted_at(BatchState::Why::kPoint, d.count - 1, 0);  // each entry is installed
    }
    if (d.mortal.load(std::memory_order_relaxed) != 0 && some_have_gone(space, d)) [[unlikely]] {  // it came with the state
      committed = BatchState::aborted_at(BatchState::Why::kPoint, d.count - 1, 0);  // as above
    }
    if (is_told_unnamed) [[unlikely]] committed = BatchState::aborted_at(BatchState::Why::kPoint, d.count - 1, 0);  // as above
    Sync::point("batch.stamp");
    if (state.compare_exchange_strong(word, committed.word(), std::memory_order_seq_cst)) return committed;  // [decide]
    return BatchState(word);
  }

  // Of how many changes listeners will hear: not of conditions, nor of removals of what isn't there. Every entry is installed. Who
  // comes so late that a chain was trimmed finds that it is counted.
  [[gnu::noinline]] static void count_told(Space<Sync>& space, BatchDescriptor<Sync>& d) noexcept {
    if (d.told.load(std::memory_order_acquire) != 0) return;  // [decide] acquire
    std::uint64_t n = 0;
    for (std::uint32_t i = 0; i != d.count; ++i) {
      const Rec& r = *space.record(d.entries()[i].record);
      const Stamp s = r.stamp_word();
      if (s.only_asks()) continue;
      const std::uint64_t below = s.tomb() ? below_husks(space, r.link_word().older()) : 0;
      if (s.tomb() && (below == 0 || is_nothing(space.record(below)->stamp_word())) && !planted<Sync>(Mutant::kBatchMiscounted)) continue;
      ++n;
    }
    std::uint64_t none = 0;
    Sync::point("batch.count");
    d.told.compare_exchange_strong(none, n + 1, std::memory_order_acq_rel);  // [decide] acq_rel
  }
  // A removal of it changes nothing that a listener could be told.
  static bool is_nothing(Stamp s) noexcept { return s.tomb() || s.absent(); }

  // Whether what the batch depends on has gone by its deadline, or with its lease. Every entry is installed.
  [[gnu::noinline]] static bool some_have_gone(Space<Sync>& space, BatchDescriptor<Sync>& d) noexcept {
    const BatchEntry* const entries = d.entries();
    for (std::uint32_t i = 0; i != d.count; ++i) {
      if (entries[i].condition_count == 0 && !entries[i].keeps_lifetime) continue;
      const std::uint64_t at = below_husks(space, space.record(entries[i].record)->link_word().older());
      if (at == 0) return false;  // trimmed: long decided
      if (has_gone(space, *space.record(at), d.now_ms)) return true;
    }
    return false;
  }

  // The record that says what the key has, where `r` was found in its slot or further down, and its word as a decided
  // record's; null: there is none. Inside the guard that found `r`. At most one compare-and-swap.
  struct Resolved {
    Rec* record = nullptr;
    Stamp stamp{0};
  };
  [[gnu::noinline]] static Resolved resolve(Space<Sync>& space, Rec& r) noexcept {
    for (Rec* at = &r;;) {
      const Stamp s = finalise(space, *at);
      if (s.stamped()) return {at, s};
      // Before the state: as long as that is undecided, nothing is cut off below. The other way round, what was the
      // key's all the time could be gone from here.
      Link l = at->link_word();
      if (s.batch()) {
        const BatchState state = state_of(space, s.descriptor());
        if (state.committed() && !s.only_asks()) return {at, s.settled_at(state.stamp())};
        if (planted<Sync>(Mutant::kLinkAfterState)) l = at->link_word();
      }
      if (l.older() == 0) return {};
      at = space.record(l.older());
    }
  }

  // Below husks, from a decided record on: what the next version of the key replaces.
  static std::uint64_t below_husks(const Space<Sync>& space, std::uint64_t at) noexcept {
    while (at != 0 && space.record(at)->stamp_word().aborted()) at = space.record(at)->link_word().older();
    return at;
  }

  // The writer of `r`, which has just replaced `old` (0: nothing): stamps it, and retires what it replaced if it can
  // be told at once that no view needs it. Or finds that it came to nothing: then it is a husk, for others to unhook.
  [[gnu::always_inline]] static Trimmed stamp_own(Space<Sync>& space, Thr& t, std::uint64_t own, std::uint64_t old) noexcept {
    if constexpr (requires { Sync::kUnstamped; }) {
      if (old != 0) space.retire(t, old);
      return {};
    }
    Rec& r = *space.record(own);
    Stamp s = r.stamp_word();
    if (old == 0) {
      finalise(space, r);
      return {};
    }
    Sync::point("version.stamp_own");
    if (!s.stamped() && stamp_and_cut(space, r, s, *space.record(old))) {
      space.retire(t, old);
      return {};
    }
    if (s.aborted()) [[unlikely]] return {false, false, true};
    return trim(space, t, own);
  }

  // No view needs `o`, which has a younger stamp from now on, or will. Asked once the clock was read for that: a view that opens later
  // sees what has it.
  [[gnu::noinline]] static bool is_unneeded(const Space<Sync>& space, const Rec& o, Stamp os, Stamp to) noexcept {
    if (planted<Sync>(Mutant::kNolinkOnUnequalStamp)) return true;
    return os.stamped() && !space.views.needed(os.stamp(), to.stamp(), [&] { return space.shard_of(o, os); });
  }
  // What the writer of `r` does at once, where `s` is its PENDING word: stamps it, and cuts `o` off, which it has replaced,
  // if no view can need that. True: `o` is to be retired. False: not so, and `s` is what stands there now.
  [[gnu::always_inline]] static bool stamp_and_cut(Space<Sync>& space, Rec& r, Stamp& s, const Rec& o) noexcept {
    Stamp to = decided(space, r, s, space.views.now());
    const Stamp os = o.stamp_word();
    const bool nothing_below = os.nolink() || o.link_word().older() == 0;
    const bool cut = nothing_below && to.stamped() && (os.stamp() == to.stamp() || is_unneeded(space, o, os, to));
    if (cut) to = to.without_link();
    std::uint64_t word = s.word();
    const bool first = r.w0.compare_exchange_strong(word, to.word(), std::memory_order_seq_cst);  // [stamp] seq_cst
    s = first ? to : Stamp(word);
    return first && cut;
  }

  // Unhooks what no view needs below `head`, in a bounded number of steps, down to the first version that stays: what is
  // below that one was looked at when it was the newest that stayed. With kTrimAll it goes on to the chain's end.
  [[gnu::noinline]] static Trimmed trim(Space<Sync>& space, Thr& t, std::uint64_t head, int steps = kTrimSteps) noexcept {
    Trimmed out;
    Rec* r = space.record(head);
    Stamp rs = r->stamp_word();
    for (int step = 0; step != steps; ++step) {
      if (!rs.stamped() || rs.nolink()) return out;
      const Link l = r->link_word();
      if (l.closed()) {
        // Unhooked by somebody who is now at what is below; looked at again by whoever has taken the key off the list.
        out.left = true;
        return out;
      }
      if (l.older() == 0) return out;
      const std::uint64_t below = l.older();
      Rec* p = space.record(below);
      const Stamp ps = finalise(space, *p);
      if (!ps.aborted() && space.views.needed(ps.stamp(), rs.stamp(), [&] { return space.shard_of(*p, ps); })) {
        out.left = true;
        if (keep(space, below, ps.stamp(), rs.stamp())) out.note = true;
        if (steps != kTrimAll) return out;
        r = p;
        rs = ps;
        continue;
      }
      Sync::point("version.trim");
      Link pl = p->link_word();
      if (!planted<Sync>(Mutant::kTrimWithoutClose)) {
        pl = Link(p->link.fetch_or(Link::kClosed, std::memory_order_seq_cst));  // [unhook] seq_cst
      }
      const std::uint64_t next = ps.nolink() ? 0 : pl.older();
      std::uint64_t expected = l.word();
      const Link to = planted<Sync>(Mutant::kTrimUnmarked) ? l.over(next) : l.trimmed_to(next);
      if (r->link.compare_exchange_strong(expected, to.word(), std::memory_order_seq_cst)) {  // [unhook]
        if (ps.stamp() != rs.stamp()) let_go(space, below);  // with equal stamps nobody can have marked it
        space.retire(t, below);
      }
    }
    out.left = out.note = true;  // for all that is known
    return out;
  }

  // Whether the chain below holds nothing any more: then a tomb may leave its slot.
  static bool alone(const Rec& r, Stamp s) noexcept { return s.nolink() || r.link_word().older() == 0; }

  // Whether an invalidation point has killed what at_view answered. The view's slot is looked at afterwards.
  static bool is_dead_at(Space<Sync>& space, std::uint64_t version, std::uint64_t view_stamp) noexcept {
    if (space.points.in_table() == 0) [[likely]] return false;
    const Rec& r = *space.record(version);
    const Stamp s = r.stamp_word();
    if (s.tomb()) return false;
    const std::uint64_t stamp = s.batch() ? state_of(space, s.descriptor()).stamp() : s.stamp();
    return static_cast<bool>(space.points.killer(space, r, s, stamp, view_stamp));
  }

  // The version that a view with this stamp sees: 0 if there is none. May answer a tomb.
  static std::uint64_t at_view(Space<Sync>& space, std::uint64_t head, std::uint64_t view_stamp) noexcept {
    for (std::uint64_t at = head; at != 0;) {
      Rec& r = *space.record(at);
      const Stamp s = finalise(space, r);
      if (s.intent()) [[unlikely]] {
        const std::uint64_t below = r.link_word().older();  // before the state: see resolve
        if (s.batch() && !s.only_asks()) {
          const BatchState state = state_of(space, s.descriptor());
          if (state.committed() && state.stamp() <= view_stamp) return at;
        }
        at = below;
        continue;
      }
      if (s.stamp() <= view_stamp) return at;
      at = s.nolink() ? 0 : r.link_word().older();
    }
    return 0;
  }

 private:
  // What becomes of a PENDING record when the clock is `now`: it is stamped with that, unless what it was made from has
  // died since (points.h). Was it within the scope of what killed that, it was written just before, and died with it.
  // If not, it would outlive what it was made from: a husk. So it would where that has gone by its deadline, which is
  // frozen, or with its lease: somebody may have missed it.
  [[gnu::always_inline]] static Stamp decided(Space<Sync>& space, const Rec& r, Stamp s, std::uint64_t now) noexcept {
    if (!s.is_made() || (s.made_at() == now && !s.outlives()) || planted<Sync>(Mutant::kPointOutlived)) [[likely]] return s.stamped_at(now);
    return decided_late(space, r, s, now);
  }
  [[gnu::noinline]] static Stamp decided_late(Space<Sync>& space, const Rec& r, Stamp s, std::uint64_t now) noexcept {
    const std::uint64_t older = below_husks(space, r.link_word().older());
    if (s.outlives() && older != 0 && has_gone(space, *space.record(older))) return s.given_up();
    const std::uint64_t own = space.points.first_between(space, r, s, s.made_at(), now);
    if (older == 0 || planted<Sync>(Mutant::kPointRetagged)) return s.stamped_at(own);
    const Rec& o = *space.record(older);
    return space.points.first_between(space, o, o.stamp_word(), s.made_at(), now) < own ? s.given_up() : s.stamped_at(own);
  }

  // Whether `o`, which was replaced, has gone by its deadline since then, or with its lease.
  [[gnu::noinline]] static bool has_gone(Space<Sync>& space, Rec& o, std::uint64_t since_ms = 0) noexcept {
    const Stamp s = o.stamp_word();
    if (s.tomb()) return false;
    if (s.has_x() && !planted<Sync>(Mutant::kDeadlineOutlived)) {
      const std::uint64_t ms = Deadline(o.x().load(std::memory_order_seq_cst)).ms();  // [deadline] seq_cst: frozen
      if (ms > since_ms && ms <= space.time->now()) return true;
    }
    const std::uint64_t lease = Leases<Sync>::of(space, o, s);
    return lease != 0 && Leases<Sync>(*space.table, *space.time).is_over(lease) && !planted<Sync>(Mutant::kLeaseOutlived);
  }

  // True: this call was the first to say so.
  static bool keep(Space<Sync>& space, std::uint64_t version, std::uint64_t own, std::uint64_t next) noexcept {
    Rec& r = *space.record(version);
    if (Hold(r.meta.load(std::memory_order_relaxed)).left()) return false;  // as below
    Sync::point("version.keep");
    // Relaxed: which of two came first is all that is asked, and it guards nothing.
    if (Hold(r.meta.fetch_or(Hold::kLeft, std::memory_order_relaxed)).left()) return false;  // as above
    space.views.keep(own, next, space.bytes_of(version));
    return true;
  }
  // It was unhooked by the caller.
  static void let_go(Space<Sync>& space, std::uint64_t version) noexcept {
    Rec& r = *space.record(version);
    const Hold before(planted<Sync>(Mutant::kUnhookUnmarked) ? r.meta.load(std::memory_order_relaxed)
                                                             : r.meta.fetch_or(Hold::kLeft, std::memory_order_relaxed));  // as above
    if (before.left()) space.views.let_go(space.bytes_of(version));
  }
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_VERSIONS_H_
