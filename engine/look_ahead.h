// The lines that a view's walk will read next, on their way while it is busy with this bucket: the bucket eight steps on, every four
// steps the records of the four that are two to five steps on, two lines each, and of the next one their ends and what was replaced
// since the view was opened.
// A walk goes through memory in an order that no processor guesses, and without this it waits for most of its records. A prefetch waits
// for its page's address, which in gigabytes is a miss of its own: those of four buckets, with no branch between them, wait together. What writers
// count isn't looked at: each look would take the line from them.
#ifndef TERN_ENGINE_LOOK_AHEAD_H_
#define TERN_ENGINE_LOOK_AHEAD_H_

#include <cstdint>

#include "engine/core.h"
#include "engine/prefetch.h"
#include "engine/views.h"

namespace tern::detail {

// Of one walk. Hints alone: what growth changes meanwhile makes them worthless, never wrong.
template <class Sync>
class LookAhead {
 public:
  // Before each step, inside the walk's guard.
  void before(Core<Sync>& core, const ViewCursor& cursor, std::uint64_t view_stamp) noexcept {
    if (cursor.shard == core.table.shard_count()) return;
    auto& shard = core.table.shard(cursor.shard);
    const ShardSize size = Table<Sync>::size_of(shard);
    if (cursor.shard != shard_) {
      shard_ = cursor.shard;
      ahead_ = 0;
      place_ = cursor.place;
    }
    // One a step; at the beginning as many as it is to be ahead.
    for (unsigned n = ahead_ == 0 ? kBuckets : 1; n != 0; --n) {
      Bucket<Sync>* next = nullptr;
      if (place_ != kEnd) {
        const std::uint64_t hash = Views<Sync>::reverse(place_);
        next = &core.table.bucket(shard, size.home(hash));
        prefetch_near(next);
        place_ = Views<Sync>::end_of(size, hash, place_) + 1;
        if (place_ == 0) place_ = kEnd;
      }
      bucket_[ahead_++ % kBuckets] = next;
    }
    if (ahead_ % kGroup == 0) prefetch_group(core);
    for_each_record(core, bucket_[(ahead_ - kBuckets + 1) % kBuckets], [&](const Record<Sync>& r) noexcept {
      const Stamp s = r.stamp_word();
      const std::uint64_t last = kRecordHeaderBytes + s.klen8() + r.link_word().length18() - 1;
      if (last < kToTheEndMax && (reinterpret_cast<std::uintptr_t>(r.bytes()) % 64 + last) / 64 > 1) prefetch_near(r.bytes() + last);
      if (!s.stamped() || s.nolink() || s.stamp() <= view_stamp) return;
      if (const std::uint64_t older = r.link_word().older(); older != 0) prefetch_record(*core.space.record(older));
    });
  }

 private:
  static constexpr unsigned kRecords = 2, kGroup = 4, kBuckets = 8;
  static_assert(kRecords + kGroup <= kBuckets && kBuckets % kGroup == 0);
  static constexpr std::uint64_t kEnd = ~std::uint64_t{0};  // no bucket begins there
  static constexpr std::uint64_t kToTheEndMax = 512;         // longer ones are lines in a row, which processors do guess

  static void prefetch_record(const Record<Sync>& r) noexcept {
    prefetch_near(r.bytes());
    prefetch_near(r.bytes() + 64);
  }
  void prefetch_group(Core<Sync>& core) const noexcept {
    std::uint64_t offset[kGroup * kSlots];
    unsigned records = 0;
    for (unsigned i = 0; i != kGroup; ++i) {
      const Bucket<Sync>* const bucket = bucket_[(ahead_ - kBuckets + kRecords + i) % kBuckets];
      if (bucket == nullptr) break;
      for (unsigned slot = 0; slot != kSlots; ++slot) {
        const SlotWord w(bucket->slot[slot].load(std::memory_order_relaxed));  // the address alone
        offset[records] = w.offset();
        records += w.is_current();
      }
    }
    for (unsigned i = 0; i != records; ++i) prefetch_record(*core.space.record(offset[i]));
  }
  template <class Fn>
  static void for_each_record(Core<Sync>& core, const Bucket<Sync>* bucket, Fn&& fn) noexcept {
    if (bucket == nullptr) return;
    for (unsigned slot = 0; slot != kSlots; ++slot) {
      const SlotWord w(bucket->slot[slot].load(std::memory_order_acquire));  // [publish] acquire: stamps and links are read
      if (w.is_current()) fn(*core.space.record(w.offset()));
    }
  }

  const Bucket<Sync>* bucket_[kBuckets] = {};  // from this step's on
  unsigned ahead_ = 0;
  unsigned shard_ = ~0u;
  std::uint64_t place_ = 0;  // where the one after the last in bucket_ begins
};

// The same for the next keys that a round over a shard's kept versions looks at (kept.h): bucket, record and the version below are
// three misses each, one after the other, and here those of all keys are on their way together. Before Kept::review of as many,
// inside the same guard. A note is all of the hash that a tag and a home are made of.
inline constexpr unsigned kKeptAhead = 16;
template <class Sync>
void look_ahead_of_kept(Core<Sync>& core, const Shard<Sync>& shard) noexcept {
  const ShardSize size = Table<Sync>::size_of(shard);
  std::uint64_t hash[kKeptAhead];
  const Bucket<Sync>* bucket[kKeptAhead];
  const Record<Sync>* record[kKeptAhead];
  unsigned notes = 0, records = 0;
  for (; notes != kKeptAhead; ++notes) {
    hash[notes] = shard.kept.peek(core.space, notes);
    if (hash[notes] == 0) break;
    bucket[notes] = &core.table.bucket(shard, size.home(hash[notes]));
    prefetch_near(bucket[notes]);
  }
  for (unsigned i = 0; i != notes; ++i) {
    const std::uint16_t tag = tag_of(hash[i]);
    for (unsigned slot = 0; slot != kSlots; ++slot) {
      const SlotWord w(bucket[i]->slot[slot].load(std::memory_order_acquire));  // [publish] acquire: stamps and links are read
      if (!w.is_current_of(tag)) continue;
      record[records] = core.space.record(w.offset());
      prefetch_near(record[records++]);
      break;
    }
  }
  for (unsigned i = 0; i != records; ++i) {
    if (record[i]->stamp_word().nolink()) continue;
    if (const std::uint64_t older = record[i]->link_word().older(); older != 0) prefetch_near(core.space.record(older));
  }
}

}  // namespace tern::detail

#endif  // TERN_ENGINE_LOOK_AHEAD_H_
