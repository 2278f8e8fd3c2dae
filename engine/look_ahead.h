// The lines that a view's walk will read next, on their way while it is busy with this bucket: the bucket four steps on, the
// records of the one two steps on, and of the next one what was replaced since the view was opened. A walk goes through memory
// in an order that no processor guesses, and without this it waits for most of its records.
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
    for_each_record(core, bucket_[(ahead_ - kBuckets + kRecords) % kBuckets], prefetch_record);
    if (core.space.views.kept_versions() == 0) return;
    for_each_record(core, bucket_[(ahead_ - kBuckets + 1) % kBuckets], [&](const Record<Sync>& r) noexcept {
      const Stamp s = r.stamp_word();
      if (!s.stamped() || s.nolink() || s.stamp() <= view_stamp) return;
      if (const std::uint64_t older = r.link_word().older(); older != 0) prefetch_record(*core.space.record(older));
    });
  }

 private:
  static constexpr unsigned kRecords = 2, kBuckets = 4;
  static constexpr std::uint64_t kEnd = ~std::uint64_t{0};  // no bucket begins there

  static void prefetch_record(const Record<Sync>& r) noexcept {
    prefetch_near(r.bytes());
    prefetch_near(r.bytes() + 64);
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

}  // namespace tern::detail

#endif  // TERN_ENGINE_LOOK_AHEAD_H_
