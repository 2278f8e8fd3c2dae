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
// Edges
//   stamp    the winning swap of w0 / stamp_word(): everybody sees one stamp
//   unhook   closing and swinging `link` / link_word(): a walker inside a guard may still be on what was unhooked
// Models: tests/models/views_and_batches.pml, adjacent_trim.pml. All steps are bounded and lock-free.
#ifndef TERN_ENGINE_VERSIONS_H_
#define TERN_ENGINE_VERSIONS_H_

#include <cstdint>

#include "engine/record.h"
#include "engine/space.h"

namespace tern::detail {

inline constexpr int kTrimSteps = 4;

template <class Sync>
class Versions {
 public:
  using Rec = Record<Sync>;
  using Thr = Thread<Sync>;

  // Decides the record if nobody has: at most one compare-and-swap. What it answers is STAMPED.
  static Stamp finalise(Space<Sync>& space, Rec& r) noexcept {
    Stamp s = r.stamp_word();
    if (s.stamped()) [[likely]] return s;
    const std::uint64_t now = space.views.now();
    Sync::point("version.stamp");
    std::uint64_t pending = s.word();
    if (r.w0.compare_exchange_strong(pending, s.stamped_at(now).word(), std::memory_order_seq_cst)) {  // [stamp]
      return s.stamped_at(now);
    }
    return Stamp(pending);
  }

  // The writer of `r`, which has just replaced `old` (0: nothing): stamps it, and retires what it replaced if it can
  // be told at once that no view needs it. True: versions are left for a view.
  [[gnu::always_inline]] static bool stamp_own(Space<Sync>& space, Thr& t, std::uint64_t own, std::uint64_t old) noexcept {
    Rec& r = *space.record(own);
    Stamp s = r.stamp_word();
    if (old == 0) {
      finalise(space, r);
      return false;
    }
    Sync::point("version.stamp_own");
    if (!s.stamped()) {
      const std::uint64_t now = space.views.now();
      const Rec& o = *space.record(old);
      const Stamp os = o.stamp_word();
      const bool nothing_below = os.nolink() || o.link_word().older() == 0;
      const bool cut = nothing_below && (os.stamp() == now || planted<Sync>(Mutant::kNolinkOnUnequalStamp));
      std::uint64_t pending = s.word();
      const Stamp stamped = cut ? s.stamped_without_link_at(now) : s.stamped_at(now);
      if (r.w0.compare_exchange_strong(pending, stamped.word(), std::memory_order_seq_cst)) {  // [stamp] seq_cst
        if (cut) {
          space.retire(t, old);
          return false;
        }
      }
    }
    return trim(space, t, own);
  }

  // Unhooks what no view needs below `head`, in a bounded number of steps. True: something is left for a view.
  [[gnu::noinline]] static bool trim(Space<Sync>& space, Thr& t, std::uint64_t head) noexcept {
    bool kept = false;
    Rec* r = space.record(head);
    Stamp rs = r->stamp_word();
    for (int step = 0; step != kTrimSteps; ++step) {
      if (!rs.stamped() || rs.nolink()) return kept;
      const Link l = r->link_word();
      if (l.closed() || l.older() == 0) return kept;
      const std::uint64_t below = l.older();
      Rec* p = space.record(below);
      const Stamp ps = finalise(space, *p);
      if (space.views.needed(ps.stamp(), rs.stamp())) {
        kept = true;
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
      if (r->link.compare_exchange_strong(expected, l.trimmed_to(next).word(), std::memory_order_seq_cst)) {  // [unhook]
        space.retire(t, below);
      }
    }
    return true;
  }

  // Whether the chain below holds nothing any more: then a tomb may leave its slot.
  static bool alone(const Rec& r, Stamp s) noexcept { return s.nolink() || r.link_word().older() == 0; }

  // The version that a view with this stamp sees: 0 if there is none. May answer a tomb.
  static std::uint64_t at_view(Space<Sync>& space, std::uint64_t head, std::uint64_t view_stamp) noexcept {
    for (std::uint64_t at = head; at != 0;) {
      Rec& r = *space.record(at);
      const Stamp s = finalise(space, r);
      if (s.stamp() <= view_stamp) return at;
      at = s.nolink() ? 0 : r.link_word().older();
    }
    return 0;
  }
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_VERSIONS_H_
