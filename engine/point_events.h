// PointEvents: what listeners are told of an invalidation point: one event in each ring, in place of one for each key
// that it removes.
//
//   point's home -> list, in the value of a record of its own: an offset a ring -> their records, in no slot
//   such a record   a tomb of TombReason::kInvalidated; its key is the point's scope, its value says of what kind that is
//
// They are built before the point is published, and retired with it; a ring's cell holds its own as it holds any record. None, if
// nobody listens then, or there is no memory: then what it kills is told key by key, as it is buried.
//
// Order in a ring, for the point's stamp s and a record r of its shards
//   stamp(r) > s                    the point goes first: whoever tells r tells it before
//   stamp(r) <= s and of the scope  r goes first, or not at all: the point's event alone stands for the put and its removal
//   its tomb                        is never told
// The second is decided in EventRing::publish, as "is r told?" is: after the tail was read. If the point is told, its event is
// in that position or before it, and the swap fails or isn't tried; if it isn't told yet, it comes behind.
// So a listener that forgets the scope when it hears of the point has what the store has, without comparing stamps.
//
// Each ring has its event before the point counts as swept, whoever made it stands still or not. Lock-free.
#ifndef TERN_ENGINE_POINT_EVENTS_H_
#define TERN_ENGINE_POINT_EVENTS_H_

#include <cstdint>
#include <cstring>
#include <new>
#include <string_view>

#include "engine/space.h"

namespace tern::detail {

// The value of an event's record.
struct PointEventScope {
  std::uint32_t kind = 0;  // PointScope::Kind
  std::uint32_t name = kAnyName;
};

template <class Sync>
struct PointEvents {
  using Spc = Space<Sync>;
  using Thr = Thread<Sync>;
  using Rec = Record<Sync>;
  using Pts = Points<Sync>;
  using Pt = Point<Sync>;

  // --- before the point is published ---------------------------------------------------------------------------

  // The list; 0: no memory.
  static std::uint64_t build(Spc& space, Thr& t, const PointScope& scope, unsigned rings) noexcept {
    const auto list = space.build(t, {{Pts::kKey, sizeof Pts::kKey}, rings * sizeof(std::uint64_t)});
    if (list.offset == 0) return 0;
    const PointEventScope what{static_cast<std::uint32_t>(scope.kind), scope.name};
    for (unsigned i = 0; i != rings; ++i) {
      const auto built = space.build(t, {scope.bytes, sizeof what});
      if (built.offset == 0) {
        discard(space, t, list.offset, i);
        return 0;
      }
      std::memcpy(built.value, &what, sizeof what);
      Rec& r = *space.record(built.offset);
      const Stamp s = r.stamp_word();
      r.w0.store(s.with_flags(Stamp::kTomb).word(), std::memory_order_relaxed);  // [publish] comes with the point's
      r.link.store(r.link_word().with_reason(TombReason::kInvalidated).word(), std::memory_order_relaxed);  // [publish] as above
      std::memcpy(list.value + i * sizeof built.offset, &built.offset, sizeof built.offset);
    }
    return list.offset;
  }
  // Of a list that nobody knows yet, with so many events.
  static void discard(Spc& space, Thr& t, std::uint64_t list, unsigned count) noexcept {
    for (unsigned i = 0; i != count; ++i) space.discard(t, in_list(space, list, i));
    space.discard(t, list);
  }

  // --- inside the guard that found the point -------------------------------------------------------------------

  static Rec& of(Spc& space, const Pt& p, unsigned ring) noexcept { return *space.record(in_list(space, p.events, ring)); }

  // Ready to be put on the ring.
  static Rec& stamped(Spc& space, Pt& p, unsigned ring) noexcept {
    Rec& r = of(space, p, ring);
    const Stamp s = r.stamp_word();
    if (s.stamped()) return r;
    std::uint64_t expected = s.word();
    Sync::point("point.event");
    r.w0.compare_exchange_strong(expected, s.stamped_at(Pts::stamp_of(space, p)).word(), std::memory_order_seq_cst);  // [stamp] seq_cst
    return r;
  }

  // Whether a point that kills `r` is told in its ring: then `r` comes too late. Asked after the tail was read.
  static bool is_late(Spc& space, unsigned ring, const Rec& r, Stamp s) noexcept {
    if (!space.has_points()) [[likely]] return false;
    bool late = false;
    space.points.for_each(space, [&](unsigned, std::uint64_t, Pt& p) {
      if (late || p.events == 0 || Pts::stamp_of(space, p) < s.stamp()) return;
      late = of(space, p, ring).stamp_word().told() && Pts::covers(space, p, r, s);
    });
    return late && !planted<Sync>(Mutant::kPointEventOvertaken);
  }

  // With the point, which was unlinked.
  static void retire(Spc& space, Thr& t, const Pt& p) noexcept {
    if (p.events == 0) return;
    for (unsigned i = 0; i != space.events.rings; ++i) space.retire(t, in_list(space, p.events, i));
    space.retire(t, p.events);
  }

  static std::uint64_t in_list(const Spc& space, std::uint64_t list, unsigned ring) noexcept {
    const Rec& r = *space.record(list);
    std::uint64_t offset;
    std::memcpy(&offset, space.value_of(r, r.stamp_word(), sizeof Pts::kKey).data + ring * sizeof offset, sizeof offset);
    return offset;
  }
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_POINT_EVENTS_H_
