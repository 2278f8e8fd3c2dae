// Moment: many keys as they were at one moment.
//
// First an optimistic double collect: all slots inside one guard, then all slot words again. A word never comes back
// (rule Q1), so "unchanged" means that every record was current between the two looks. A key without a record has no
// word to compare, and an intent's word says little; then, and after two failures, a private view gives the moment, and each key is read at its stamp.
// Whether a point has killed a record is asked between the two looks, for the moment of the collect; points.h.
// Bounded: two collects and one walk of each chain; waits for nobody.
#ifndef TERN_ENGINE_MOMENT_H_
#define TERN_ENGINE_MOMENT_H_

#include <cstdint>
#include <string_view>

#include "engine/core.h"

namespace tern::detail {

template <class Sync>
class Moment {
 public:
  using Tbl = Table<Sync>;
  using Thr = Thread<Sync>;
  using Rec = Record<Sync>;

  // One key's scratch space.
  struct Cell {
    std::uint64_t hash;
    const typename Tbl::Word* slot;
    std::uint64_t word;
    bool dead;
  };

  enum class Outcome : std::uint8_t {
    kDone,
    kTooManyViews,
    kViewEnded,  // to make room; some keys may have been handed out
  };

  // sink(i, const char* value or null, std::uint64_t size) for each key, inside the guard. `keys` of length 0 are
  // handed out as missing.
  template <class Sink>
  static Outcome read(Core<Sync>& core, Thr& t, const std::string_view* keys, std::size_t count, Cell* cells,
                      Sink&& sink) noexcept {
    Guard<Sync> guard(core.space, t);
    for (std::size_t i = 0; i != count; ++i) cells[i].hash = core.hash_of(keys[i]);
    for (int attempt = 0; attempt != 2; ++attempt) {
      if (!collect(core, keys, count, cells)) break;
      const std::uint64_t now = core.time.now();
      const std::uint64_t clock = core.space.views.now();
      for (std::size_t i = 0; i != count; ++i) {
        cells[i].dead = core.space.points.in_table() != 0 && clock != 0 && is_dead(core, cells[i].word, clock - 1);
      }
      Sync::point("moment.collected");
      bool same = true;
      for (std::size_t i = 0; i != count && same; ++i) {
        same = cells[i].slot->load(std::memory_order_seq_cst) == cells[i].word;  // [publish] seq_cst
      }
      if (!same) continue;
      for (std::size_t i = 0; i != count; ++i) {
        hand_out(core, cells[i].dead ? 0 : SlotWord(cells[i].word).offset(), keys[i], now, i, sink);
      }
      return Outcome::kDone;
    }
    std::uint64_t now;
    const auto view = core.space.views.open_at_one_time(ViewOwner::kStore, core.time, now);
    if (!view.ok()) return Outcome::kTooManyViews;
    Outcome done = Outcome::kDone;
    for (std::size_t i = 0; i != count; ++i) {
      const auto found = core.table.find(cells[i].hash, keys[i]);
      std::uint64_t at =
          found ? Versions<Sync>::at_view(core.space, found.word.offset(), view.stamp) : std::uint64_t{0};
      if (at != 0 && Versions<Sync>::is_dead_at(core.space, at, view.stamp)) at = 0;
      if (at != 0) {
        const Rec& r = *core.space.record(at);
        const Stamp s = r.stamp_word();
        const std::uint64_t lease = s.tomb() ? 0 : Leases<Sync>::of(core.space, r, s);
        if (lease != 0 && Leases<Sync>::is_over_at(core.table, lease, view.stamp, now)) at = 0;
      }
      if (!core.space.views.is_open(view)) {
        done = Outcome::kViewEnded;
        break;
      }
      hand_out(core, at, keys[i], now, i, sink);
    }
    core.space.views.close(view);
    // What writers kept for this view alone.
    for (std::size_t i = 0; i != count; ++i) core.kept_keys()->review(t, core.table.shard_of(cells[i].hash), 4);
    return done;
  }

 private:
  static bool is_dead(Core<Sync>& core, std::uint64_t word, std::uint64_t upto) noexcept {
    const Rec& r = *core.space.record(SlotWord(word).offset());
    const Stamp s = r.stamp_word();
    return !s.tomb() && core.space.points.killer(core.space, r, s, s.stamp(), upto);
  }
  // False: a key has no record, or a batch is under way on it.
  static bool collect(Core<Sync>& core, const std::string_view* keys, std::size_t count, Cell* cells) noexcept {
    for (std::size_t i = 0; i != count; ++i) core.prefetch_bucket(cells[i].hash);
    for (std::size_t i = 0; i != count; ++i) {
      const auto found = core.table.find(cells[i].hash, keys[i]);
      if (!found) return false;
      // What an intent says may change without its word, and so does what a lease does to its members.
      const Stamp s = Versions<Sync>::finalise(core.space, *found.record);
      if (s.intent()) return false;
      if (Leases<Sync>::of(core.space, *found.record, s) != 0 && !planted<Sync>(Mutant::kLeaseInCollect)) return false;
      cells[i].slot = found.slot;
      cells[i].word = found.word.word();
    }
    return true;
  }

  template <class Sink>
  static void hand_out(Core<Sync>& core, std::uint64_t at, std::string_view key, std::uint64_t now, std::size_t i,
                       Sink&& sink) noexcept {
    if (at != 0) {
      Rec& r = *core.space.record(at);
      const Time fixed{[](const void* ms) { return *static_cast<const std::uint64_t*>(ms); }, &now};
      const Head<Sync> h = Commit<Sync>::head_of(core.space, fixed, r, r.stamp_word(), key.size());
      if (h.present) return sink(i, h.value, h.value_size);
    }
    sink(i, static_cast<const char*>(nullptr), std::uint64_t{0});
  }
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_MOMENT_H_
