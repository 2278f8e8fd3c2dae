// Views: reads of the store as it stood when a view was opened.
//
// read    find the key's slot, tombs included, walk the chain to the first version that isn't younger than the view,
//         freeze its deadline, and look at the register once more. A key that the view has keeps its slot while the view
//         is open (a tomb with a version below stays in it), so a miss is one; and a version that the view needs is only
//         unhooked after the view was ended, so what was found before the second look is right.
// walk    every key that the view has, once, while buckets split and records move. Each key has a place of its own in
//         one line, its hash read from the lowest bit upwards; growth by linear hashing cuts that line finer and never
//         differently:
//
//           place   0 ................................................................ 2^64
//           N = 16  |  bucket 0   |  bucket 8   |  bucket 4   |  bucket 12  |  ...        bucket b begins at reverse(b)
//           N = 17  | 0    | 16   |  bucket 8   | ...                                     a split halves its source
//
//         The walk goes along the line in steps. A step takes the bucket that covers its place and gives out the keys
//         whose places lie in that bucket's part of the line, and no others: so no key is given out twice, whatever is
//         met on the way. None is missed: an overwrite stays in its slot, keys leave a bucket only for one that is split
//         from it, and N has moved before they do. So a step reads the bucket (where its own split is under way, the
//         source before it, as find does), then N: if no bucket was split from it, all of its keys were in it;
//         if one was, the step begins again with a shorter part.
//
// A record that a view has shown may not change: its deadline, which moves in place, is frozen first (rule Q5), and the
// next touch makes a record of its own.
//
// Reads and steps are lock-free, wait for nobody, and write nothing but stamps and frozen bits. A step begins again only when its bucket was split meanwhile, which happens once in a doubling.
//
// Source of the walk: reverse binary iteration, as P. Noordhuis' scan of Redis' dictionaries, there for tables of a power
// of two and with repetitions; here with N of any size, and with a part of the line for each step in place of them.
#ifndef TERN_ENGINE_VIEWS_H_
#define TERN_ENGINE_VIEWS_H_

#include <bit>
#include <cstdint>
#include <string_view>

#include "engine/core.h"

namespace tern::detail {

// A view that is open: where it stands, and the time by which it judges deadlines.
template <class Sync>
struct ViewHandle {
  typename ViewClock<Sync>::Opened opened;
  std::uint64_t now_ms = 0;
};

// The next place of a walk.
struct ViewCursor {
  unsigned shard = 0;
  std::uint64_t place = 0;
};

template <class Sync>
class Scans;

template <class Sync>
class Views {
 public:
  using Tbl = Table<Sync>;
  using Thr = Thread<Sync>;
  using Rec = Record<Sync>;
  using HeadT = Head<Sync>;
  using Handle = ViewHandle<Sync>;

  enum class Outcome : std::uint8_t { kFound, kAbsent, kEnded };
  static constexpr unsigned kStepKeys = 64;
  static constexpr unsigned kReviewedAtClose = 64;
  static constexpr std::uint64_t kReclaimedAtClose = 512;

  explicit Views(Core<Sync>& core) noexcept : core_(core) {}

  Handle open(ViewOwner owner = ViewOwner::kUser) noexcept {
    Handle view;
    view.opened = core_.space.views.open_at_one_time(owner, core_.time, view.now_ms);
    if (view.opened.ok()) core_.space.views.opened_at(view.opened, view.now_ms);
    return view;
  }
  // `t` may be null: then nothing is gone over.
  void close(Thr* t, const Handle& view) noexcept {
    core_.space.views.close(view.opened);
    if (t == nullptr || core_.space.views.kept_versions() == 0) return;
    {
      Guard<Sync> guard(core_.space, *t);
      core_.kept_keys()->review_any(*t, kReviewedAtClose);
    }
    if (core_.space.views.kept_versions() != 0) {  // the rest
      core_.space.upkeep.ask();
      core_.space.upkeep.pass_on();
    }
    core_.space.epoch.reclaim(core_.space, *t, kReclaimedAtClose);
  }

  // fn(const Head&) if the key was there, inside the guard.
  template <class Fn>
  Outcome read(Thr& t, const Handle& view, std::uint64_t hash, std::string_view key, Fn&& fn) noexcept {
    Guard<Sync> guard(core_.space, t);
    const auto found = core_.table.find(hash, key);
    HeadT head;
    if (found) head = at(view, found.word.offset(), key.size());
    Sync::point("view.read");
    if (!core_.space.views.is_open(view.opened)) return Outcome::kEnded;
    if (!head.present) return Outcome::kAbsent;
    fn(static_cast<const HeadT&>(head));
    return Outcome::kFound;
  }

  // What a step has found: the first `count` of each.
  struct Step {
    Step() noexcept {}  // NOLINT(modernize-use-equals-default): in the unions nothing is set, which would take as long as finding it

    union {
      HeadT head[kStepKeys];  // not of what lies in `whole`
    };
    // PlainRecords::kWhole, and of a scan: a record that is all there is to its entry. Else null.
    const Rec* whole[kStepKeys];
    union {
      std::string_view key[kStepKeys];
    };
    std::uint64_t record[kStepKeys];
    std::uint64_t hash[kStepKeys];
    unsigned count = 0;

    std::uint64_t place(unsigned i) const noexcept { return reverse(hash[i]); }
    std::string_view value(unsigned i) const noexcept {
      if (whole[i] == nullptr) [[unlikely]] return head[i].bytes();
      return {key[i].data() + key[i].size(), static_cast<std::size_t>(whole[i]->link_word().length18())};
    }
    std::uint64_t version(unsigned i) const noexcept {
      return whole[i] == nullptr ? head[i].version : whole[i]->hold_word().version();
    }
  };

  // How a step shows a record without deadline, tags and extent of up to kWholeBytesMax. Whoever copies them as they are saves the making
  // of a head and the taking of it apart, two thirds of a walk.
  enum class PlainRecords : std::uint8_t { kAsHeads, kWhole };
  static constexpr std::uint64_t kWholeBytesMax = 16 << 10;

  // Inside the caller's guard, whose end is the end of what the step refers to. False: the walk is over, or the view has
  // ended (`ended`). A step may be empty.
  template <PlainRecords kPlain = PlainRecords::kAsHeads>
  bool step(const Handle& view, ViewCursor& cursor, Step& out, bool& ended) noexcept {
    ended = false;
    out.count = 0;
    if (cursor.shard == core_.table.shard_count()) return false;
    auto& s = core_.table.shard(cursor.shard);
    const std::uint64_t hash = reverse(cursor.place);
    Part part;
    for (;;) {
      const ShardSize size = Tbl::size_of(s);
      const std::uint32_t home = size.home(hash);
      const unsigned bits = bits_of(size, hash);
      part = Part(cursor.place, hash, bits);
      Bucket<Sync>& b = core_.table.bucket(s, home);
      out.count = 0;
      if (!b.control().ready()) gather<kPlain>(view, core_.table.bucket(s, split_source(home)), part, out);
      gather<kPlain>(view, b, part, out);
      Sync::point("view.walked");
      if (planted<Sync>(Mutant::kWalkWithoutHomeCheck)) break;
      if (bits_of(Tbl::size_of(s), hash) == bits) break;
    }
    if (!core_.space.views.is_open(view.opened)) {
      out.count = 0;
      ended = true;
      return false;
    }
    cursor.place = part.last + 1;
    if (cursor.place == 0) ++cursor.shard;
    return true;
  }

  // The place of a hash, and the hash of a place.
  static constexpr std::uint64_t reverse(std::uint64_t x) noexcept {
    x = (x >> 1 & 0x5555555555555555) | (x & 0x5555555555555555) << 1;
    x = (x >> 2 & 0x3333333333333333) | (x & 0x3333333333333333) << 2;
    x = (x >> 4 & 0x0F0F0F0F0F0F0F0F) | (x & 0x0F0F0F0F0F0F0F0F) << 4;
    return __builtin_bswap64(x);
  }
  static_assert(reverse(1) == std::uint64_t{1} << 63 && reverse(0x8000000000000006) == 0x6000000000000001);
  // The last place of the part of the line that the bucket of `hash` covers, from `place` within it.
  static constexpr std::uint64_t end_of(ShardSize size, std::uint64_t hash, std::uint64_t place) noexcept {
    return place | (~std::uint64_t{0} >> bits_of(size, hash));
  }

 private:
  friend class Scans<Sync>;

  // How many of the hash's low bits its bucket's keys have in common.
  static constexpr unsigned bits_of(ShardSize size, std::uint64_t hash) noexcept {
    const auto log = static_cast<unsigned>(std::bit_width(size.buckets())) - 1;
    const std::uint64_t half = std::uint64_t{1} << log;
    return (hash & (half - 1)) + half < size.buckets() ? log + 1 : log;
  }

  // A step's part of the line, and which hashes have their place there: where it is all of a bucket's, those with its low bits.
  struct Part {
    Part() = default;
    Part(std::uint64_t place, std::uint64_t hash_there, unsigned bits) noexcept
        : first(place), last(place | (~std::uint64_t{0} >> bits)), hash(hash_there), common(~(~std::uint64_t{0} << bits)),
          is_whole((place & (~std::uint64_t{0} >> bits)) == 0) {}
    bool has(std::uint64_t h) const noexcept {
      if (is_whole) [[likely]] return ((h ^ hash) & common) == 0;
      const std::uint64_t place = reverse(h);
      return place >= first && place <= last;
    }
    void end_at(std::uint64_t place) noexcept { last = place, is_whole = false; }

    std::uint64_t first = 0, last = 0;
    std::uint64_t hash = 0, common = 0;
    bool is_whole = false;
  };

  // The version that the view has, as a read finds it.
  HeadT at(const Handle& view, std::uint64_t head, std::size_t key_size) noexcept {
    const std::uint64_t found = Versions<Sync>::at_view(core_.space, head, view.opened.stamp);
    if (found == 0) return {};
    Rec& r = *core_.space.record(found);
    const Stamp s = r.stamp_word();
    if (Versions<Sync>::is_dead_at(core_.space, found, view.opened.stamp)) return {};
    if (s.has_x() && !s.tomb() && !planted<Sync>(Mutant::kViewReadsUnfrozen)) {
      if (!Deadline(r.x().load(std::memory_order_seq_cst)).frozen()) {           // [deadline] seq_cst
        r.x().fetch_or(Deadline::kFrozen, std::memory_order_seq_cst);            // [deadline] seq_cst
      }
    }
    const Time fixed{[](const void* ms) { return *static_cast<const std::uint64_t*>(ms); }, &view.now_ms};
    if (const std::uint64_t lease = Leases<Sync>::of(core_.space, r, s); lease != 0) [[unlikely]] {
      if (Leases<Sync>::is_over_at(core_.table, lease, view.opened.stamp, view.now_ms)) return {};
    }
    return Commit<Sync>::head_of(core_.space, planted<Sync>(Mutant::kViewTimeGoesOn) ? core_.time : fixed, r, s, key_size);
  }

  // Adds the keys of a chain whose places are in the part. If they are too many, its end comes down, and those past it go.
  template <PlainRecords kPlain>
  void gather(const Handle& view, Bucket<Sync>& chain, Part& part, Step& out) noexcept {
    if (kPlain != PlainRecords::kWhole) {  // who wants whole records sees to that himself, longer before
      core_.table.for_each_slot(chain, [&](auto&, SlotWord w) {
        if (w.is_current()) prefetch_near(core_.space.record(w.offset()));
        return true;
      });
    }
    // Of points that the view sees there are never more again, so one look will do.
    const bool may_be_whole = kPlain == PlainRecords::kWhole && core_.space.points.in_table() == 0;
    const unsigned of_source = out.count;  // those were met before; a key is in a chain once
    core_.table.for_each_slot(chain, [&](auto&, SlotWord w) {
      if (!w.is_current()) return true;
      const Rec& newest = *core_.space.record(w.offset());
      const Stamp s = newest.stamp_word();
      const Rec* const whole = may_be_whole ? whole_at(newest, s, view.opened.stamp) : nullptr;
      std::string_view key;
      if (whole != nullptr) {
        key = {whole->bytes() + kRecordHeaderBytes, whole->stamp_word().klen8()};
      } else {
        const auto k = core_.space.key_of(newest, s);
        key = {k.data, k.size};
      }
      const std::uint64_t hash = core_.table.hash_of(key);
      if (!part.has(hash)) return true;
      for (unsigned i = 0; i < of_source && i < out.count; ++i) {
        if (out.hash[i] == hash && out.key[i] == key) return true;
      }
      if (whole != nullptr) {
        if (!make_room(hash, part, out)) return true;
        out.whole[out.count] = whole;
        out.hash[out.count] = hash;
        out.key[out.count++] = key;
        return true;
      }
      const HeadT head = at(view, w.offset(), key.size());
      if (!head.present || !make_room(hash, part, out)) return true;
      out.whole[out.count] = nullptr;
      out.hash[out.count] = hash;
      out.head[out.count] = head;
      // The version's own bytes: the newest record may go when somebody who holds it lets go.
      const auto own = core_.space.key_of(*head.record, head.stamp);
      out.key[out.count] = {own.data, own.size};
      out.record[out.count++] = core_.space.offset_of(*head.record);
      return true;
    });
  }
  // What the view sees of a chain, if that is one of the two newest and a plain record.
  const Rec* whole_at(const Rec& newest, Stamp s, std::uint64_t view_stamp) const noexcept {
    const Rec* r = &newest;
    if (s.stamped() && s.stamp() > view_stamp && !s.nolink() && !planted<Sync>(Mutant::kWholeYounger)) {
      const std::uint64_t older = newest.link_word().older();
      if (older == 0) return nullptr;
      r = core_.space.record(older);
      s = r->stamp_word();
    }
    const bool is_seen = s.stamp() <= view_stamp || planted<Sync>(Mutant::kWholeYounger) ||
                         (r != &newest && planted<Sync>(Mutant::kWholeBelowUnjudged));
    const bool fits = s.plain() && is_seen && kRecordHeaderBytes + s.klen8() + r->link_word().length18() <= kWholeBytesMax;
    return fits ? r : nullptr;
  }
  // For one more, at this place. False: it is past what this step has now.
  static bool make_room(std::uint64_t hash, Part& part, Step& out) noexcept {
    if (out.count != kStepKeys) [[likely]] return true;
    while (out.count == kStepKeys && part.last != part.first) {
      part.end_at(part.first + (part.last - part.first) / 2);
      drop_past(part.last, out);
    }
    // As many keys of one 64-bit hash, which is seeded in secret, as a step has room for: not in this world.
    return reverse(hash) <= part.last && out.count != kStepKeys;
  }
  static void drop_past(std::uint64_t last, Step& out) noexcept {
    unsigned n = 0;
    for (unsigned i = 0; i != out.count; ++i) {
      if (out.place(i) > last) continue;
      out.head[n] = out.head[i];
      out.whole[n] = out.whole[i];
      out.key[n] = out.key[i];
      out.record[n] = out.record[i];
      out.hash[n++] = out.hash[i];
    }
    out.count = n;
  }

  Core<Sync>& core_;
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_VIEWS_H_
