// Insertion: how an absent key enters the table, once.
//
// A tentative slot word carries the whole record. The protocol: place TENT; look at the whole chain again; live
// there: withdraw; an earlier TENT of the key: withdraw; a later one: kill it. Then LIVE. The lower position has
// priority, losers are killed, winners are finished by anyone. (FASTER's published form, "on conflict clear your own
// and retry", lets a stopped thread make every later inserter back off for ever.)
//
// Why at most one is LIVE: were X and Y of one key both LIVE, each was validated by a look that began after its own
// TENT. If X's TENT came first, Y's look met X, and Y died or X was killed. "Place own, then look" against "place own,
// then look" is Dekker's pattern, hence seq_cst.
// Model: tests/models/slots_and_growth.pml, overflow_chain.pml. Without the second look, or without the check of N
// before LIVE, the model finds duplicates.
#ifndef TERN_ENGINE_INSERTION_H_
#define TERN_ENGINE_INSERTION_H_

#include <cstdint>
#include <string_view>

#include "engine/growth.h"
#include "engine/leaves.h"
#include "engine/table.h"
#include "engine/versions.h"

namespace tern::detail {

// Where a key is, for a writer: at `slot` (LIVE, its home bucket ready), or absent from `home`.
template <class Sync>
struct Place {
  typename Table<Sync>::Found found;
  Bucket<Sync>* home = nullptr;
  std::uint32_t home_index = 0;
  bool out_of_memory = false;  // a split in the way could not be completed
};

template <class Sync>
class Insertion {
 public:
  using Tbl = Table<Sync>;
  using Bkt = Bucket<Sync>;
  using Shd = Shard<Sync>;
  using Thr = Thread<Sync>;
  using Word = typename Tbl::Word;

  // kNoBucket, kNoLeaf: no memory for it.
  enum class Outcome : std::uint8_t { kLive, kKilled, kRetry, kNoBucket, kNoLeaf };

  // For a write: completes the split of the key's home, finishes a tentative entry of the key, and answers a slot
  // that may be replaced, or that the key is absent (true at one moment during the call). What almost every overwrite
  // finds is looked at here, inlined as Table::find is, the rest in locate_slowly.
  [[gnu::always_inline]] static Place<Sync> locate(Tbl& table, Thr& t, Shd& s, std::uint64_t hash,
                                                   std::string_view key) noexcept {
    const std::uint32_t tag = tag_of(hash);
    const auto& head = table.head_of(hash);
    const std::uint32_t home = Tbl::size_of(head).home(hash);
    Bkt& b = table.bucket(head, home);
    const unsigned m = b.matches(tag);
    if (b.control().ready() && m != 0) [[likely]] {
      const auto i = static_cast<unsigned>(std::countr_zero(m));
      const SlotWord w = b.at(i);
      if (w.is_live() && w.tag() == tag) [[likely]] {
        auto* r = table.space().record(w.offset());
        const Stamp stamp = r->stamp_word();
        if (table.space().has_key(*r, stamp, key)) [[likely]] return {{&b.slot[i], r, w, stamp}, &b, home, false};
      }
    }
    return locate_slowly(table, t, s, hash, key);
  }

  [[gnu::noinline]] static Place<Sync> locate_slowly(Tbl& table, Thr& t, Shd& s, std::uint64_t hash,
                                                     std::string_view key) noexcept {
    const std::uint16_t tag = tag_of(hash);
    for (;;) {
      Place<Sync> place;
      const ShardSize size = Tbl::size_of(s);
      place.home_index = size.home(hash);
      place.home = &table.bucket(s, place.home_index);
      const Ctl c = place.home->control();
      if (!c.ready()) [[unlikely]] {
        if (!Growth<Sync>::help_split(table, t, s, place.home_index)) {
          place.out_of_memory = true;
          return place;
        }
        continue;
      }
      bool again = false;
      Bkt* b = place.home;
      do {
        for (unsigned m = b->matches(tag); m != 0; m &= m - 1) {
          const auto i = static_cast<unsigned>(std::countr_zero(m));
          const SlotWord w = b->at(i);
          if (w.tag() != tag || (!w.is_current() && !w.is_tentative())) continue;
          auto* r = table.space().record(w.offset());
          const Stamp stamp = r->stamp_word();
          if (!table.space().has_key(*r, stamp, key)) continue;
          if (w.is_live()) [[likely]] {
            place.found = {&b->slot[i], r, w, stamp};
            return place;
          }
          again = true;
          if (w.is_tentative()) {
            if (!planted<Sync>(Mutant::kBackOffFromTentative)) {
              if (table.ordered() == nullptr) [[likely]] {
                finalise_tentative(table, s, *place.home, place.home_index, b->slot[i], w, hash, key, Unordered{});
              } else {
                finalise_tentative(table, s, *place.home, place.home_index, b->slot[i], w, hash, key, WithLeaf{t, nullptr});
              }
            } else {
              Sync::point("insert.backed_off");
            }
          } else {
            // Frozen here, so N has moved on: look where the key's home is now.
            const std::uint32_t home = Tbl::size_of(s).home(hash);
            if (!table.bucket(s, home).control().ready() && !Growth<Sync>::help_split(table, t, s, home)) {
              place.out_of_memory = true;
              return place;
            }
          }
          break;
        }
        if (again) break;
        b = c.may_overflow(tag) ? table.overflow(b->control()) : nullptr;
      } while (b != nullptr);
      if (again) continue;
      Sync::point("locate.missed");
      const ShardSize now = Tbl::size_of(s);
      if (now == size || now.home(hash) == place.home_index) return place;
    }
  }

  // Enters the record at `own` under its key, absent from place.home when last looked. `gen` names the incarnation.
  //   kLive      it is or was in the table. kRetry: nothing was placed; locate again.
  //   kKilled    it was placed and killed: others may have seen it, so the caller goes on with a copy.
  // Where nothing was placed, nobody has seen it.
  [[gnu::noinline]] static Outcome insert(Tbl& table, Thr& t, Shd& s, const Place<Sync>& place, std::uint64_t hash,
                        std::string_view key, std::uint64_t own, unsigned gen) noexcept {
    const std::uint16_t tag = tag_of(hash);
    Word* slot = nullptr;
    Bkt* last = place.home;
    bool in_overflow = false;
    for (Bkt* b = place.home; b != nullptr && slot == nullptr; b = table.overflow(b->control())) {
      last = b;
      for (unsigned m = b->matches(SlotWord::empty().tag()); m != 0; m &= m - 1) {
        const auto i = static_cast<unsigned>(std::countr_zero(m));
        if (!b->at(i).is_empty()) continue;
        slot = &b->slot[i];
        in_overflow = b != place.home;
        break;
      }
    }
    if (slot == nullptr) {
      const std::uint64_t more = table.new_overflow(t, Tbl::For::kInsert);
      if (more == 0) return Outcome::kNoBucket;
      const Ctl c = last->control();
      std::uint64_t expected = c.word();
      if (c.overflow() != 0 ||
          !last->ctl.compare_exchange_strong(expected, c.with_overflow(more).word(), std::memory_order_seq_cst)) {  // [chain]
        table.space().heap.free(t.cache, more);
      }
      return Outcome::kRetry;
    }
    // The filter is right before the slot is taken: a reader that misses by it misses what isn't there yet.
    if (in_overflow && !planted<Sync>(Mutant::kOverflowFilterLate)) {
      if (!place.home->control().may_overflow(tag)) {
        place.home->ctl.fetch_or(Ctl(0).with_tag(tag).word(), std::memory_order_seq_cst);  // [chain] seq_cst
      }
    }
    Outcome outcome;
    if (table.ordered() == nullptr) [[likely]] {
      outcome = enter_slot(table, s, place, *slot, hash, key, own, gen, Unordered{});
    } else {
      const Leaf* const leaf = Leaves<Sync>::expect(table, t, hash, key);
      if (leaf == nullptr) {
        Leaves<Sync>::withdraw(table, t, hash, key);  // it may be on its way in, waiting for memory
        return Outcome::kNoLeaf;
      }
      outcome = enter_slot(table, s, place, *slot, hash, key, own, gen, WithLeaf{t, leaf});
    }
    if (in_overflow && planted<Sync>(Mutant::kOverflowFilterLate)) {
      place.home->ctl.fetch_or(Ctl(0).with_tag(tag).word(), std::memory_order_seq_cst);  // [chain]
    }
    return outcome;
  }

  // The same where the store is unordered and the home bucket has an empty slot. kRetry: it has none, or none any more.
  [[gnu::always_inline]] static Outcome insert_at_home(Tbl& table, Shd& s, const Place<Sync>& place, std::uint64_t hash,
                                                       std::string_view key, std::uint64_t own, unsigned gen) noexcept {
    const unsigned m = place.home->matches(SlotWord::empty().tag());
    if (m == 0) [[unlikely]] return Outcome::kRetry;
    return enter_slot(table, s, place, place.home->slot[std::countr_zero(m)], hash, key, own, gen, Unordered{});
  }

  static std::uint64_t next_random(Thr& t) noexcept {  // xorshift64*: incarnations differ, nothing more is asked
    std::uint64_t x = t.random | 1;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    t.random = x;
    return x * 0x2545F4914F6CDD1Du >> 32;
  }

 private:
  using Leaf = typename Leaves<Sync>::Leaf;
  struct Unordered {
    static constexpr bool kOrdered = false;
  };
  struct WithLeaf {
    static constexpr bool kOrdered = true;
    Thr& thread;
    const Leaf* leaf;  // the owner's; null: a helper
  };

  // insert() from the slot on, which was EMPTY.
  template <class Kind>
  [[gnu::always_inline]] static Outcome enter_slot(Tbl& table, Shd& s, const Place<Sync>& place, Word& slot, std::uint64_t hash,
                                                   std::string_view key, std::uint64_t own, unsigned gen, Kind kind) noexcept {
    const SlotWord tent = SlotWord::tentative(tag_of(hash), gen, own);
    std::uint64_t expected = SlotWord::empty().word();
    Sync::point("insert.tent");
    if (!slot.compare_exchange_strong(expected, tent.word(), std::memory_order_seq_cst)) {  // [publish] release
      if constexpr (kind.kOrdered) Leaves<Sync>::withdraw(table, kind.thread, hash, key);
      return Outcome::kRetry;
    }
    const bool is_live = finalise_tentative(table, s, *place.home, place.home_index, slot, tent, hash, key, kind);
    Sync::point("insert.finalised");
    if (is_live) [[likely]] return Outcome::kLive;
    // Slot first, stamp second: a record leaves LIVE only after it was stamped, and a killed one is never stamped.
    const SlotWord now(slot.load(std::memory_order_seq_cst));  // [publish] seq_cst
    if (now.is_current() && now.offset() == own) return Outcome::kLive;
    return table.space().record(own)->stamp_word().stamped() ? Outcome::kLive : Outcome::kKilled;
  }

  // At another slot of the chain: is it the key's, and comes first? Every later TENT of the key in it is killed before
  // the look goes on.
  static bool gives_way(Tbl& table, Word& other, SlotWord tent, std::string_view key, bool before) noexcept {
    for (;;) {
      const SlotWord w(other.load(std::memory_order_seq_cst));  // [publish] seq_cst
      if (w.tag() != tent.tag() || (!w.is_current() && !w.is_tentative())) return false;
      const auto* r = table.space().record(w.offset());
      if (!table.space().has_key(*r, r->stamp_word(), key)) return false;
      if (w.is_current() || before) return true;
      std::uint64_t expected = w.word();
      other.compare_exchange_strong(expected, SlotWord::empty().word(), std::memory_order_seq_cst);  // [publish]
    }
  }

  // By the owner or by anyone who meets the word: makes it LIVE or kills it. Bounded by the chain's length and the
  // number of later TENTs of the key. True: it was this call that made it LIVE. Compiled for each kind of store: what an
  // unordered one runs has none of the other.
  template <class Kind>
  static bool finalise_tentative(Tbl& table, Shd& s, Bkt& home, std::uint32_t home_index, Word& slot, SlotWord tent,
                                 std::uint64_t hash, std::string_view key, Kind kind) noexcept {
    bool before = true;
    bool killed = false;
    Sync::point("insert.second_look");
    if (!planted<Sync>(Mutant::kNoSecondLook)) {
      for (Bkt* b = &home; b != nullptr && !killed; b = table.overflow(b->control())) {
        for (unsigned m = b->matches(tent.tag()); m != 0 && !killed; m &= m - 1) {
          Word& other = b->slot[std::countr_zero(m)];
          if (&other == &slot) {
            before = false;
          } else {
            killed = gives_way(table, other, tent, key, before);
          }
        }
      }
    }
    std::uint64_t expected = tent.word();
    if (!killed && !planted<Sync>(Mutant::kLiveWithoutHomeCheck)) {
      Sync::point("insert.home_check");
      killed = Tbl::size_of(s).home(hash) != home_index;  // growth has overtaken us
    }
    if constexpr (kind.kOrdered) {
      if (!killed) killed = !Leaves<Sync>::confirm(table, kind.thread, hash, key, kind.leaf);
    }
    if (killed) {
      slot.compare_exchange_strong(expected, SlotWord::empty().word(), std::memory_order_seq_cst);  // [publish] seq_cst
      if constexpr (kind.kOrdered) Leaves<Sync>::withdraw(table, kind.thread, hash, key);
      return false;
    }
    auto& r = *table.space().record(tent.offset());
    const std::uint64_t first = s.version_floor.load(std::memory_order_seq_cst) + 1;  // [floor] seq_cst
    if (planted<Sync>(Mutant::kVersionByStore)) {
      r.meta.store(Hold(r.meta.load(std::memory_order_relaxed)).with_version(first).word(), std::memory_order_release);
    } else {
      std::uint64_t m = r.meta.load(std::memory_order_acquire);  // [version] acquire
      while (Hold(m).version() == 0 &&
             !r.meta.compare_exchange_weak(m, Hold(m).with_version(first).word(), std::memory_order_acq_rel)) {  // [version]
      }
    }
    Sync::point("insert.live");
    const bool is_live =
        slot.compare_exchange_strong(expected, tent.validated().word(), std::memory_order_seq_cst);  // [publish] seq_cst
    if constexpr (kind.kOrdered) {
      if (planted<Sync>(Mutant::kLeafAfterLive)) {
        table.ordered()->ensure(kind.thread, key, hash);
      } else if (!is_live) {
        Leaves<Sync>::withdraw(table, kind.thread, hash, key);
      }
    }
    return is_live;
  }
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_INSERTION_H_
