// Growth: linear hashing, one bucket at a time, in place, by anyone.
//
//   grow_one   N = n -> n+1, if the split of bucket n-8 is complete: so at most 8 splits are open
//   help_split(q), p the source; each step can be repeated by others, and whoever comes is finished by whoever comes
//     1 freeze  every entry of p that belongs to q: TENT is killed, LIVE is stamped and becomes FROZEN; until none is left
//     2 copy    q's slots leave UNINIT: the frozen entries in order, the rest EMPTY; then q's ctl
//     3 clear   the frozen entries in p become EMPTY
//     4 ready   q's ctl gets READY
//
// Why helpers agree: after one complete pass 1 the set is fixed (a TENT that is placed later fails its check of N
// before it becomes LIVE), nothing in p is cleared before all of q is initialised, and q's words leave UNINIT once.
// A slow helper that sees a half-cleared p can only issue swaps that fail.
// Model: tests/models/slots_and_growth.pml, overflow_chain.pml. Work: one chain of p for each call. Lock-free; a
// thread that is stopped half-way loses at most one private overflow bucket.
#ifndef TERN_ENGINE_GROWTH_H_
#define TERN_ENGINE_GROWTH_H_

#include <bit>
#include <cstdint>
#include <string_view>

#include "engine/table.h"
#include "engine/versions.h"

namespace tern::detail {

template <class Sync>
class Growth {
 public:
  using Tbl = Table<Sync>;
  using Bkt = Bucket<Sync>;
  using Shd = Shard<Sync>;
  using Thr = Thread<Sync>;

  // Buckets of a shard for so many entries: a power of two if that isn't a quarter more than growth would come to. Between
  // two, the buckets that aren't split yet are twice as full as the others, and two to three times as many keys overflow.
  static constexpr std::uint64_t buckets_for(std::uint64_t entries) noexcept {
    const std::uint64_t least = entries / 35 * 8 + entries % 35 * 8 / 35 + 1;
    const std::uint64_t round = std::bit_ceil(least);
    return round - least <= least / 4 ? round : least;
  }

  // 35/8 entries a bucket: a twelfth of the keys then lie in overflow buckets just before a doubling, a twentieth
  // after it. At 5.0 grouped misses are 40 % slower, below 4 the table outweighs what it saves.
  static bool is_due(std::uint64_t live, ShardSize size) noexcept {
    return live * 8 > std::uint64_t{size.buckets()} * 35;
  }

  // One bucket more. False: no memory for it; the chains get longer instead.
  [[gnu::noinline]] static bool grow_one(Tbl& table, Thr& t, Shd& s) noexcept {
    const ShardSize size = Tbl::size_of(s);
    const std::uint32_t n = size.buckets();
    if (n >= 1u << 31) return false;
    if (n - kSplitsOpenMax >= kFirstBuckets && !help_split(table, t, s, n - kSplitsOpenMax)) return false;
    // A split that is open must be completed, so none is opened on the reserve's account.
    if (!table.space().heap.has_bucket() || !table.ensure_bucket(s, n)) return false;
    std::uint64_t expected = size.word();
    Sync::point("growth.open");
    if (s.head->size.compare_exchange_strong(expected, ShardSize::of(n + 1).word(), std::memory_order_seq_cst)) {  // [grow]
      return help_split(table, t, s, n);
    }
    return true;
  }

  // Completes the split that opens bucket q (q < N). False: it needs an overflow bucket and there is no memory.
  [[gnu::noinline]] static bool help_split(Tbl& table, Thr& t, Shd& s, std::uint32_t q) noexcept {
    Bkt& target = table.bucket(s, q);
    if (target.control().ready()) return true;
    Bkt& source = table.bucket(s, split_source(q));
    prefetch_records(table, source);
    if (!planted<Sync>(Mutant::kSplitClearsEarly)) {
      freeze(table, source, q);
      if (!copy(table, t, source, target, q)) return false;
      clear(table, source, q);
    } else {
      freeze(table, source, q);
      SlotWord kept[kSlots] = {SlotWord(0), SlotWord(0), SlotWord(0), SlotWord(0), SlotWord(0), SlotWord(0), SlotWord(0)};
      unsigned n = 0;
      for_each_frozen(table, source, q, [&](auto&, SlotWord w) { if (n < kSlots) kept[n++] = w; });
      clear(table, source, q);
      for (unsigned i = 0; i != kSlots; ++i) settle(target.slot[i], i < n ? kept[i].moved() : SlotWord::empty());
      settle_ctl(target, Ctl::split_target(0, 0));
    }
    Sync::point("growth.cleared");
    Ctl c = target.control();
    while (!c.ready()) {
      std::uint64_t word = c.word();
      if (target.ctl.compare_exchange_strong(word, c.made_ready().word(), std::memory_order_seq_cst)) break;  // [ready]
      c = Ctl(word);
    }
    return true;
  }

 private:
  static std::uint64_t hash_of_entry(const Tbl& table, SlotWord w) noexcept {
    const auto& r = *table.space().record(w.offset());
    const auto key = table.space().key_of(r, r.stamp_word());
    return table.hash_of({key.data, key.size});
  }

  static void prefetch_records(const Tbl& table, Bkt& source) noexcept {
    for (unsigned i = 0; i != kSlots; ++i) {
      const SlotWord w = source.at(i);
      if (w.is_current()) prefetch_near(table.space().record(w.offset()));
    }
  }

  static void freeze(const Tbl& table, Bkt& source, std::uint32_t q) noexcept {
    for (bool clean = false; !clean;) {
      clean = true;
      table.for_each_slot(source, [&](auto& slot, SlotWord w) {
        if (!w.is_tentative() && !w.is_live()) return true;
        if (!belongs_to_target(hash_of_entry(table, w), q)) return true;
        clean = false;
        std::uint64_t expected = w.word();
        if (w.is_tentative()) {
          slot.compare_exchange_strong(expected, SlotWord::empty().word(), std::memory_order_seq_cst);  // [publish]
        } else {
          // Stamped before it leaves LIVE: its inserter must be able to tell that it was live.
          Versions<Sync>::finalise(table.space(), *table.space().record(w.offset()));
          Sync::point("growth.freeze");
          slot.compare_exchange_strong(expected, w.frozen().word(), std::memory_order_seq_cst);  // [publish] seq_cst
        }
        return true;
      });
    }
  }

  template <class Fn>
  static void for_each_frozen(const Tbl& table, Bkt& source, std::uint32_t q, Fn&& fn) noexcept {
    table.for_each_slot(source, [&](auto& slot, SlotWord w) {
      if (w.is_frozen() && belongs_to_target(hash_of_entry(table, w), q)) fn(slot, w);
      return true;
    });
  }

  // UNINIT -> what it is to be; somebody else's word stands.
  static void settle(typename Tbl::Word& slot, SlotWord to) noexcept {
    std::uint64_t uninit = SlotWord::uninit().word();
    if (slot.load(std::memory_order_seq_cst) != uninit) return;  // [publish] seq_cst
    Sync::point("growth.copy");
    slot.compare_exchange_strong(uninit, to.word(), std::memory_order_seq_cst);  // [publish] seq_cst
  }
  static bool settle_ctl(Bkt& target, Ctl to) noexcept {
    std::uint64_t uninit = 0;
    return target.ctl.compare_exchange_strong(uninit, to.word(), std::memory_order_seq_cst);  // [chain] seq_cst
  }

  static bool copy(Tbl& table, Thr& t, Bkt& source, Bkt& target, std::uint32_t q) noexcept {
    unsigned count = 0;
    std::uint16_t bloom = 0;
    std::uint64_t first = 0;  // of the private overflow chain
    Bkt* last = nullptr;
    bool short_of_memory = false;
    for_each_frozen(table, source, q, [&](auto&, SlotWord w) {
      const unsigned index = count++;
      if (index < kSlots) {
        settle(target.slot[index], w.moved());
        return;
      }
      if (target.control().initialised() || short_of_memory) return;
      const unsigned slot = (index - kSlots) % kSlots;
      if (slot == 0) {
        const std::uint64_t more = table.new_overflow(t, Tbl::For::kSplit);
        if (more == 0) {
          short_of_memory = true;
          return;
        }
        if (last == nullptr) {
          first = more;
        } else {
          last->ctl.store(last->control().with_overflow(more).word(), std::memory_order_relaxed);  // still private
        }
        last = table.space().heap.template at<Bkt>(more);
      }
      last->slot[slot].store(w.moved().word(), std::memory_order_relaxed);  // private; [chain] publishes it
      bloom |= Ctl::bloom_of(w.tag());
    });
    if (short_of_memory && !target.control().initialised()) {
      free_chain(table, t, first);
      return false;
    }
    for (unsigned i = count; i < kSlots; ++i) settle(target.slot[i], SlotWord::empty());
    if (target.control().initialised() || !settle_ctl(target, Ctl::split_target(first, bloom))) {
      free_chain(table, t, first);
    }
    return true;
  }

  static void free_chain(Tbl& table, Thr& t, std::uint64_t first) noexcept {
    while (first != 0) {
      const std::uint64_t next = table.space().heap.template at<Bkt>(first)->control().overflow();
      table.space().heap.free(t.cache, first);
      first = next;
    }
  }

  static void clear(const Tbl& table, Bkt& source, std::uint32_t q) noexcept {
    for_each_frozen(table, source, q, [&](auto& slot, SlotWord w) {
      std::uint64_t expected = w.word();
      Sync::point("growth.clear");
      slot.compare_exchange_strong(expected, SlotWord::empty().word(), std::memory_order_seq_cst);  // [publish] seq_cst
    });
  }
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_GROWTH_H_
