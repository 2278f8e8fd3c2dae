// Points: the invalidation points that are active: removals of many keys at one moment (clear, del_prefix, del_tag; a
// namespace is a prefix and a lease a tag).
//
// A walk that removes keys one by one isn't one moment. A point is: it takes a stamp s from the view clock, and from then
// on every record of its scope with a stamp of at most s is dead, wherever it still lies. At time x, for x the stamp of a
// view or the present:   dead(r, x) = there is a matching point with stamp(r) <= s <= x
//
//   make     count of unswept points + 1      on the line of the epoch, which every call loads: no other cost where it is 0
//            the point into the table, PENDING
//            s = C++, PENDING -> s             by whoever meets it first: its moment is the one that wins
//   sweep    buries what is dead, bucket by bucket (invalidation.h); points of one lap go together
//   swept    no slot's record is dead by it: count - 1
//   drop     out of the table, once no view is open that was opened between s and the end of its sweep: these may meet
//            what was dead below what has replaced it
//
// A reader looks at the count before it looks for its record. 0: whatever dies now died after the read began. Else it
// asks killer(), and then looks at the slot again, whatever the answer was. Alive: was the record still there, no point that
// kills it had been swept, so none was missed. Dead: was it still there, it wasn't replaced before it died, by a record with
// other tags. (A view's reader needs neither: a point that its view needs stays while the view is open, and what is
// swapped in after its look is later than the view.)
//
// A record that was made from an older one (an append, a swap, a set with a condition) mustn't bring back what died
// between the look at that one and the swap of the slot. Its w0, as long as it is PENDING, has the clock before the look, or
// the stamp of what was found if that is later: a point before that was nothing to it. Whoever stamps it asks for the first
// point from there on, and stamps it with that one's s instead of the clock: it was written just before, and died with what
// it was made of. A set with a condition can give its key other tags, so that a del_tag which killed the old record isn't
// for the new one: then that is no version at all but a husk, as of a batch that failed, and its writer begins again, on a
// dead key (first_between, Versions::decided).
//
// A point lies in the value of a record that no slot knows. 64 at once; whoever makes the next one sweeps first.
//
// Edges
//   point   the count, the table, a point's stamp / looking at them: who sees one moment's effect sees it everywhere
// Model: tests/models/invalidation.pml, which found that "until no view older than s lives" isn't when a point may go.
// Everything here is lock-free and waits for nobody; killer() is O(points in the table).
#ifndef TERN_ENGINE_POINTS_H_
#define TERN_ENGINE_POINTS_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "alloc/sync.h"
#include "engine/names.h"
#include "engine/record.h"
#include "engine/tags.h"

namespace tern::detail {

struct PointScope {
  enum class Kind : std::uint8_t { kStore, kPrefix, kTag };
  Kind kind = Kind::kStore;
  std::string_view bytes{};
  unsigned name = kAnyName;  // whose keys alone (names.h); a prefix of stored keys says it itself
};

// `bytes_size` bytes of its scope follow it.
template <class Sync>
struct Point {
  using Word = typename Sync::template Atomic<std::uint64_t>;
  static constexpr std::uint64_t kPending = std::uint64_t{1} << 63;
  Word state;  // PENDING, then its stamp
  Word due;    // the lap of the sweep at whose end nothing that it kills is left; 0: not known yet
  Word swept;  // the clock after that, plus one; 0: it isn't
  std::uint64_t tally;
  std::uint64_t events;  // point_events.h; 0: what it kills is told key by key
  std::uint32_t bytes_size;
  std::uint32_t name;
  PointScope::Kind kind;

  std::string_view bytes() const noexcept { return {reinterpret_cast<const char*>(this + 1), bytes_size}; }
};

// Where the sweep is: 63..43 lap | 42..32 shard | 31..0 bucket.
class SweepHand {
 public:
  static constexpr unsigned kLapShift = 43;
  static constexpr std::uint64_t kLapMask = (std::uint64_t{1} << 21) - 1;
  constexpr explicit SweepHand(std::uint64_t word) noexcept : word_(word) {}
  constexpr std::uint64_t word() const noexcept { return word_; }
  constexpr std::uint64_t lap() const noexcept { return word_ >> kLapShift; }
  constexpr unsigned shard() const noexcept { return static_cast<unsigned>(word_ >> 32 & 0x7FF); }
  constexpr std::uint32_t bucket() const noexcept { return static_cast<std::uint32_t>(word_); }
  constexpr bool at_start() const noexcept { return (word_ & ((std::uint64_t{1} << kLapShift) - 1)) == 0; }
  constexpr SweepHand next_bucket() const noexcept { return SweepHand(word_ + 1); }
  constexpr SweepHand next_shard() const noexcept { return SweepHand((word_ >> 32 << 32) + (std::uint64_t{1} << 32)); }
  constexpr SweepHand next_lap() const noexcept { return SweepHand(((lap() + 1) & kLapMask) << kLapShift); }
  // Laps are numbered round: within half of their numbers.
  static constexpr bool reached(std::uint64_t due, std::uint64_t lap) noexcept { return ((lap - due) & kLapMask) <= kLapMask / 2; }

 private:
  std::uint64_t word_;
};
static_assert(SweepHand::reached(5, 5) && SweepHand::reached(5, 6) && !SweepHand::reached(6, 5) &&
              SweepHand::reached(SweepHand::kLapMask, 0) && !SweepHand::reached(0, SweepHand::kLapMask));

template <class Sync>
class Points {
 public:
  using Word = typename Sync::template Atomic<std::uint64_t>;
  using Rec = Record<Sync>;
  using Pt = Point<Sync>;
  static constexpr unsigned kMax = 64;
  static constexpr unsigned kTallies = 256;
  static constexpr std::uint64_t kEver = ~std::uint64_t{0};
  static constexpr char kKey[8] = {};  // of a point's home; what follows it is aligned

  struct Killer {
    bool found = false;
    std::uint64_t stamp = 0;
    std::uint64_t tally = 0;
    bool has_events = false;
    explicit operator bool() const noexcept { return found; }
  };

  // Points in the table: what a view's reader asks, and maintenance.
  std::uint64_t in_table() const noexcept { return used_.load(std::memory_order_seq_cst); }  // [point] seq_cst

  // The first point with a stamp of at most `upto` that kills the record, whose decided stamp is `stamp`. Inside the guard
  // that found it.
  template <class Space>
  [[gnu::noinline]] Killer killer(Space& space, const Rec& r, Stamp flags, std::uint64_t stamp,
                                  std::uint64_t upto = kEver) noexcept {
    return first(space, r, flags, stamp, upto);
  }
  // The stamp of the first point for the record from `from` on and before `now`; or `now`.
  template <class Space>
  [[gnu::noinline]] std::uint64_t first_between(Space& space, const Rec& r, Stamp flags, std::uint64_t from,
                                                std::uint64_t now) noexcept {
    if (now == from) return now;
    const Killer k = first(space, r, flags, from, now - 1);
    return k ? k.stamp : now;
  }
  // Whether one was made, whatever it is for.
  template <class Space>
  [[gnu::noinline]] bool any_between(Space& space, std::uint64_t from, std::uint64_t now) noexcept {
    bool some = false;
    for_each(space, [&](unsigned, std::uint64_t, Pt& p) {
      const std::uint64_t s = stamp_of(space, p);
      some = some || (from <= s && s < now);
    });
    return some;
  }

  template <class Space>
  static bool covers(const Space& space, const Pt& p, const Rec& r, Stamp flags) noexcept {
    return matches(space, p, r, flags);
  }

  // The point's stamp, which it is given here if nobody has.
  template <class Space>
  static std::uint64_t stamp_of(Space& space, Pt& p) noexcept {
    std::uint64_t s = p.state.load(std::memory_order_seq_cst);  // [point] seq_cst
    if ((s & Pt::kPending) == 0) return s;
    const std::uint64_t now = space.views.move();
    Sync::point("point.stamp");
    if (p.state.compare_exchange_strong(s, now, std::memory_order_seq_cst)) return now;  // [point] seq_cst
    return s;
  }

  // --- the table -----------------------------------------------------------------------------------------------

  template <class Space>
  static Pt& at(const Space& space, std::uint64_t home) noexcept {
    const Rec& r = *space.record(home);
    return *reinterpret_cast<Pt*>(const_cast<char*>(space.value_of(r, r.stamp_word(), sizeof kKey).data));
  }
  // fn(unsigned slot, std::uint64_t home, Point&). Inside a guard.
  template <class Space, class Fn>
  void for_each(const Space& space, Fn&& fn) const noexcept {
    const std::uint64_t end = end_.load(std::memory_order_seq_cst);  // [point] seq_cst
    for (unsigned i = 0; i != end; ++i) {
      const std::uint64_t home = home_[i].load(std::memory_order_seq_cst);  // [point] seq_cst
      if (home != 0) fn(i, home, at(space, home));
    }
  }
  // Into a free slot. False: there is none.
  bool publish(std::uint64_t home) noexcept {
    used_.fetch_add(1, std::memory_order_seq_cst);  // [point] seq_cst
    for (unsigned i = 0; i != kMax; ++i) {
      std::uint64_t end = end_.load(std::memory_order_relaxed);  // the swap decides
      while (end <= i && !end_.compare_exchange_weak(end, i + 1, std::memory_order_seq_cst)) {  // [point] seq_cst
      }
      std::uint64_t free = 0;
      if (home_[i].load(std::memory_order_relaxed) != 0) continue;  // a hint; the swap decides
      Sync::point("point.publish");
      if (home_[i].compare_exchange_strong(free, home, std::memory_order_seq_cst)) return true;  // [point] seq_cst
    }
    used_.fetch_sub(1, std::memory_order_seq_cst);  // [point] seq_cst
    return false;
  }
  // Out of its slot: true for one caller, who retires it.
  bool unlink(unsigned slot, std::uint64_t home) noexcept {
    Sync::point("point.drop");
    if (!home_[slot].compare_exchange_strong(home, 0, std::memory_order_seq_cst)) return false;  // [point] seq_cst
    used_.fetch_sub(1, std::memory_order_seq_cst);  // [point] seq_cst
    return true;
  }

  // --- how many each one has removed: figures ------------------------------------------------------------------

  struct Tally {
    Word id{};       // the point's stamp, plus one
    Word removed{};
    Word done{};
  };
  std::uint64_t new_tally() noexcept {
    const std::uint64_t i = next_tally_.fetch_add(1, std::memory_order_relaxed) % kTallies;  // shared out
    tally_[i].id.store(0, std::memory_order_relaxed);       // figures
    tally_[i].removed.store(0, std::memory_order_relaxed);  // as above
    tally_[i].done.store(0, std::memory_order_relaxed);     // as above
    return i;
  }
  void name_tally(std::uint64_t i, std::uint64_t stamp) noexcept {
    tally_[i].id.store(stamp + 1, std::memory_order_relaxed);  // as above
  }
  void count(std::uint64_t i) noexcept { tally_[i].removed.fetch_add(1, std::memory_order_relaxed); }  // as above
  void close_tally(std::uint64_t i) noexcept { tally_[i].done.store(1, std::memory_order_relaxed); }   // as above
  // False: it is none of the last kTallies.
  bool find_tally(std::uint64_t stamp, std::uint64_t& removed, bool& done) const noexcept {
    for (const Tally& t : tally_) {
      if (t.id.load(std::memory_order_relaxed) != stamp + 1) continue;  // as above
      done = t.done.load(std::memory_order_relaxed) != 0;               // as above
      removed = t.removed.load(std::memory_order_relaxed);              // as above
      return t.id.load(std::memory_order_relaxed) == stamp + 1;         // as above
    }
    return false;
  }

  // kMax words that are 0 and that others may read: the homes of its points from here on. Before anything else.
  void lie_in(Word* homes) noexcept { home_ = homes; }

  Word hand{};  // a SweepHand

 private:
  template <class Space>
  Killer first(Space& space, const Rec& r, Stamp flags, std::uint64_t from, std::uint64_t upto) noexcept {
    Killer k;
    for_each(space, [&](unsigned, std::uint64_t, Pt& p) {
      if (planted<Sync>(Mutant::kPointNotHelped) && p.state.load(std::memory_order_seq_cst) >> 63 != 0) return;  // [point]
      const std::uint64_t s = stamp_of(space, p);
      if (s < from && !planted<Sync>(Mutant::kPointKillsNewer)) return;
      if (s > upto || (k.found && k.stamp <= s)) return;
      if (matches(space, p, r, flags)) k = {true, s, p.tally, p.events != 0};
    });
    return k;
  }
  template <class Space>
  static bool matches(const Space& space, const Pt& p, const Rec& r, Stamp flags) noexcept {
    const auto key = [&] {
      const auto k = space.key_of(r, flags);
      return std::string_view(k.data, k.size);
    };
    if (p.name != kAnyName && cleared_with(key()) != p.name) return false;
    switch (p.kind) {
      case PointScope::Kind::kStore:
        return true;
      case PointScope::Kind::kPrefix:
        return key().starts_with(p.bytes());
      case PointScope::Kind::kTag:
        return flags.has_ext() && has_tag(space.tags_of(r, flags), p.bytes());
    }
    return false;
  }

  alignas(128) Word used_{};
  Word end_{};  // slots beyond are free and have always been
  Word next_tally_{};
  Word own_[kMax]{};
  Word* home_ = own_;  // or where the file that the heap lies in has them (table.h)
  Tally tally_[kTallies];
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_POINTS_H_
