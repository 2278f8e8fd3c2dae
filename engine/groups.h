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
#include "simd/hash.h"

namespace tern::detail {

inline constexpr unsigned kGroupKeys = 64;


template <class Sync>
class Groups {
 public:
  using Tbl = Table<Sync>;
  using Thr = Thread<Sync>;
  using Rec = Record<Sync>;
  using Bkt = Bucket<Sync>;

  explicit Groups(Core<Sync>& core) noexcept : core_(core) {}

  // One key on its way: the bucket first, then what its slot said.
  struct Cell {
    const Bkt* bucket;
    std::uint64_t size;  // N when the home was computed
    std::uint64_t candidate;
  };
  // Candidates that are no offsets of records.
  static constexpr std::uint64_t kMissing = 0;
  static constexpr std::uint64_t kLate = 1;

  // sink(i, record or null, const char* value, std::uint64_t size) for each of `count` <= 64 keys, inside one guard;
  // keys of length 0 are handed out as missing. In any order.
  template <class Sink>
  void read(Thr& t, const std::string_view* keys, unsigned count, Sink&& sink) noexcept {
    std::uint64_t hash[kGroupKeys];
    Cell cell[kGroupKeys];
    std::uint8_t late[kGroupKeys];
    simd::hash_batch(keys, count, core_.space.seed, hash);
    Guard<Sync> guard(core_.space, t);
    fetch_buckets(hash, count, cell);
    unsigned late_count = fetch_records(hash, count, cell, late);
    std::uint64_t hits = 0;
    for (unsigned i = 0; i != count; ++i) {
      const std::uint64_t at = cell[i].candidate;
      if (at <= kLate) [[unlikely]] {
        if (at == kMissing) sink(i, static_cast<Rec*>(nullptr), static_cast<const char*>(nullptr), std::uint64_t{0});
        continue;
      }
      Rec* r = core_.space.record(at);
      const Stamp s = r->stamp_word();
      if (s.plain() && core_.space.has_key(*r, s, keys[i])) [[likely]] {
        ++hits;
        sink(i, r, r->bytes() + kRecordHeaderBytes + keys[i].size(), r->link_word().length18());
      } else {
        late[late_count++] = static_cast<std::uint8_t>(i);
      }
    }
    for (unsigned n = 0; n != late_count; ++n) {
      const unsigned i = late[n];
      const Head<Sync> h = core_.head(hash[i], keys[i]);
      if (h.present) {
        ++hits;
        sink(i, h.record, h.value, h.value_size);
      } else {
        sink(i, static_cast<Rec*>(nullptr), static_cast<const char*>(nullptr), std::uint64_t{0});
      }
    }
    t.counters.hits.add(hits);
    t.counters.misses.add(count - hits);
  }

  // Before a group of writes: hashes, and what they will touch on its way: buckets, then the records that are there
  // (they are replaced, and their memory is what is allocated next).
  void prepare_writes(Thr& t, const std::string_view* keys, unsigned count, std::uint64_t* hash) noexcept {
    Bkt* bucket[kGroupKeys];
    simd::hash_batch(keys, count, core_.space.seed, hash);
    Guard<Sync> guard(core_.space, t);
    const Tbl& table = core_.table;
    for (unsigned i = 0; i != count; ++i) {
      const auto& s = table.shard_of(hash[i]);
      bucket[i] = &table.bucket(s, Tbl::size_of(s).home(hash[i]));
      prefetch_second_level(bucket[i]);
    }
    for (unsigned i = 0; i != count; ++i) {
      const std::uint16_t tag = tag_of(hash[i]);
      const unsigned m = bucket[i]->matches(tag);
      if (m == 0) {
        prefetch_overflow(table, bucket[i]->control());
        continue;
      }
      const SlotWord w = bucket[i]->at(static_cast<unsigned>(std::countr_zero(m)));
      if (w.is_current()) prefetch_block(w.offset());
    }
  }

 private:
  [[gnu::noinline]] void fetch_buckets(const std::uint64_t* hash, unsigned count, Cell* cell) const noexcept {
    const Tbl& table = core_.table;
    for (unsigned i = 0; i != count; ++i) {
      const auto& s = table.shard_of(hash[i]);
      const ShardSize n = Tbl::size_of(s);
      cell[i].size = n.word();
      cell[i].bucket = &table.bucket(s, n.home(hash[i]));
      prefetch_second_level(cell[i].bucket);
    }
  }

  // Answers how many are for the way of a single call, in `late`.
  [[gnu::noinline]] unsigned fetch_records(const std::uint64_t* hash, unsigned count, Cell* cell,
                                           std::uint8_t* late) const noexcept {
    unsigned late_count = 0;
    const Tbl& table = core_.table;
    for (unsigned i = 0; i != count; ++i) {
      const std::uint16_t tag = tag_of(hash[i]);
      const Bkt& b = *cell[i].bucket;
      const Ctl c = b.control();
      const unsigned m = b.matches(tag);
      if (c.ready()) [[likely]] {
        if (m != 0) [[likely]] {
          const SlotWord w = b.at(static_cast<unsigned>(std::countr_zero(m)));
          if (w.is_current() && w.tag() == tag) [[likely]] {
            cell[i].candidate = w.offset();
            prefetch_block(w.offset());
            continue;
          }
        } else if (!c.may_overflow(tag) && Tbl::size_of(table.shard_of(hash[i])).word() == cell[i].size) [[likely]] {
          cell[i].candidate = kMissing;
          continue;
        }
      }
      prefetch_overflow(table, c);
      cell[i].candidate = kLate;
      late[late_count++] = static_cast<std::uint8_t>(i);
    }
    return late_count;
  }

  // Every line of the block and no more: a third line that isn't fetched costs a third of the rate, one too many a
  // tenth.
  [[gnu::always_inline]] void prefetch_block(std::uint64_t offset) const noexcept {
    const char* at = core_.space.heap.template at<char>(offset);
    const std::size_t into = reinterpret_cast<std::uintptr_t>(at) & 63;
    const std::size_t end = into + core_.space.heap.block_bytes(offset);
    const char* line = at - into;
    prefetch_second_level(line);
    if (end > 64) prefetch_second_level(line + 64);
    if (end > 128) prefetch_second_level(line + 128);
    if (end > 192) prefetch_second_level(line + 192);
  }

  static void prefetch_overflow(const Tbl& table, Ctl c) noexcept {
    if (c.overflow() != 0) prefetch_second_level(table.overflow(c));
  }

  Core<Sync>& core_;
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_GROUPS_H_
