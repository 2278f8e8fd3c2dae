// Groups: many keys in one call, with their cache misses in flight together instead of one after the other.
//
//   1  hash the group in SIMD lanes; prefetch each key's bucket
//   2  match tags in each bucket; prefetch exactly the lines of the record that matches
//   3  compare keys and hand out the values
//
// What is out of the ordinary in steps 2 and 3 (a split under way, two tags alike, an overflow bucket, a record
// with a deadline) takes the way of a single call, after the others. Prefetches go to the second cache level: the
// first one's miss buffers are too few (twice the rate on Zen 4 and 5). One guard for a group of 64.
//
// Measured in groups of 16 / 32 / 64 / 256 against single calls: see README.md.
#ifndef TERN_ENGINE_GROUPS_H_
#define TERN_ENGINE_GROUPS_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "engine/core.h"
#include "engine/prefetch.h"
#include "engine/reads.h"
#include "simd/hash.h"

namespace tern::detail {

template <class Sync>
class Groups {
 public:
  using Tbl = Table<Sync>;
  using Thr = Thread<Sync>;
  using Rec = Record<Sync>;
  using Bkt = Bucket<Sync>;

  explicit Groups(Core<Sync>& core) noexcept : core_(core) {}

  // sink(i, record or null, const char* value, std::uint64_t size) for each of `count` <= 64 keys, inside one guard;
  // keys of length 0 are handed out as missing. In any order.
  template <class Sink>
  void read(Thr& t, const std::string_view* keys, unsigned count, Sink&& sink) noexcept {
    base::GroupCells<Sync> cells;
    simd::hash_batch(keys, count, core_.space.geometry.hash_keys, cells.hash);
    Guard<Sync> guard(core_.space, t);
    const auto missing = [&](unsigned i) { sink(i, static_cast<Rec*>(nullptr), static_cast<const char*>(nullptr), std::uint64_t{0}); };
    base::read_group(
        core_, t, keys, count, cells,
        [&](unsigned i, const Rec& r) {
          sink(i, const_cast<Rec*>(&r), r.bytes() + kRecordHeaderBytes + keys[i].size(), r.link_word().length18());
          return true;
        },
        missing,
        [&](unsigned i) {
          const Head<Sync> h = core_.head(cells.hash[i], keys[i]);
          if (!h.present) {
            t.counters.misses.add();
            return missing(i);
          }
          t.counters.hits.add();
          core_.note_hit(t, *h.record, cells.hash[i]);
          core_.accessed(t, keys[i], h);
          sink(i, h.record, h.value, h.value_size);
        });
  }

  // Before a group of writes: hashes, and what they will touch on its way: buckets, then the records that are there
  // (they are replaced, and their memory is what is allocated next), and in an ordered store the nodes that lead to the leaves
  // which come or go.
  enum class Write : std::uint8_t { kSet, kDel };
  void prepare_writes(Thr& t, Write write, const std::string_view* keys, unsigned count, std::uint64_t* hash) noexcept {
    Bkt* bucket[kGroupKeys];
    simd::hash_batch(keys, count, core_.space.geometry.hash_keys, hash);
    Guard<Sync> guard(core_.space, t);
    const Tbl& table = core_.table;
    for (unsigned i = 0; i != count; ++i) {
      const auto& s = table.head_of(hash[i]);
      bucket[i] = &table.bucket(s, Tbl::size_of(s).home(hash[i]));
      prefetch_second_level(bucket[i]);
    }
    static_assert(kGroupKeys <= OrderedIndex<Sync>::kWaysMax);
    std::string_view indexed[kGroupKeys];
    unsigned indexed_count = 0;
    for (unsigned i = 0; i != count; ++i) {
      const std::uint16_t tag = tag_of(hash[i]);
      const unsigned m = bucket[i]->matches(tag);
      if ((m == 0) == (write == Write::kSet)) indexed[indexed_count++] = keys[i];  // a few more where keys lie in overflow buckets
      if (m == 0) {
        if (const Ctl c = bucket[i]->control(); c.overflow() != 0) prefetch_second_level(table.overflow(c));
        continue;
      }
      const SlotWord w = bucket[i]->at(static_cast<unsigned>(std::countr_zero(m)));
      if (w.is_current()) base::fetch_block(core_.space, w.offset());
    }
    if (table.ordered() != nullptr) table.ordered()->prefetch_ways(indexed, indexed_count);
  }

 private:
  Core<Sync>& core_;
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_GROUPS_H_
