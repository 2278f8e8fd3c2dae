// The lines that a view's walk will read next, on their way while it is busy with this bucket: the bucket four steps on, the
// records of the one two steps on, and of the next one what was replaced since the view was opened. A walk goes through memory
// in an order that no processor guesses, and without this it waits for most of its records.
#ifndef TERN_PERSIST_LOOK_AHEAD_H_
#define TERN_PERSIST_LOOK_AHEAD_H_

#include <bit>
#include <cstdint>

#include "engine/core.h"
#include "engine/prefetch.h"
#include "engine/views.h"
#include "persist/format.h"

namespace tern::persist {

// Of one walk. Hints alone: what growth changes meanwhile makes them worthless, never wrong.
class LookAhead {
 public:
  using Core = detail::Core<detail::StdSync>;

  // Before each step, inside the walk's guard.
  void before(Core& core, const detail::ViewCursor& cursor, std::uint64_t view_stamp) noexcept {
    auto& shard = core.table.shard(cursor.shard);
    const detail::ShardSize size = detail::Table<detail::StdSync>::size_of(shard);
    if (cursor.shard != shard_) {
      shard_ = cursor.shard;
      ahead_ = 0;
      place_ = cursor.place;
    }
    // One a step; at the beginning as many as it is to be ahead.
    for (unsigned n = ahead_ == 0 ? kBuckets : 1; n != 0; --n) {
      detail::Bucket<detail::StdSync>* next = nullptr;
      if (place_ != kEnd) {
        const std::uint64_t hash = place_of(place_);
        next = &core.table.bucket(shard, size.home(hash));
        detail::prefetch_near(next);
        place_ = end_of(size, hash, place_) + 1;
        if (place_ == 0) place_ = kEnd;
      }
      bucket_[ahead_++ % kBuckets] = next;
    }
    for_each_record(core, bucket_[(ahead_ - kBuckets + kRecords) % kBuckets], prefetch_record);
    if (core.space.views.kept_versions() == 0) return;
    for_each_record(core, bucket_[(ahead_ - kBuckets + 1) % kBuckets], [&](const Record& r) noexcept {
      const detail::Stamp s = r.stamp_word();
      if (!s.stamped() || s.nolink() || s.stamp() <= view_stamp) return;
      if (const std::uint64_t older = r.link_word().older(); older != 0) prefetch_record(*core.space.record(older));
    });
  }

 private:
  using Record = detail::Record<detail::StdSync>;
  static constexpr unsigned kRecords = 2, kBuckets = 4;
  static constexpr std::uint64_t kEnd = ~std::uint64_t{0};  // no bucket begins there

  // See Views::step.
  static std::uint64_t end_of(detail::ShardSize size, std::uint64_t hash, std::uint64_t place) noexcept {
    const std::uint64_t half = std::bit_floor(std::uint64_t{size.buckets()});
    const int bits = std::countr_zero(half) + ((hash & (half - 1)) + half < size.buckets() ? 1 : 0);
    return place | (bits == 0 ? kEnd : kEnd >> bits);
  }
  static void prefetch_record(const Record& r) noexcept {
    detail::prefetch_near(r.bytes());
    detail::prefetch_near(r.bytes() + 64);
  }
  template <class Fn>
  static void for_each_record(Core& core, const detail::Bucket<detail::StdSync>* bucket, Fn&& fn) noexcept {
    if (bucket == nullptr) return;
    for (unsigned slot = 0; slot != detail::kSlots; ++slot) {
      const detail::SlotWord w(bucket->slot[slot].load(std::memory_order_relaxed));  // a hint
      if (w.is_current()) fn(*core.space.record(w.offset()));
    }
  }

  const detail::Bucket<detail::StdSync>* bucket_[kBuckets] = {};  // from this step's on
  unsigned ahead_ = 0;
  unsigned shard_ = ~0u;
  std::uint64_t place_ = 0;  // where the one after the last in bucket_ begins
};

}  // namespace tern::persist

#endif  // TERN_PERSIST_LOOK_AHEAD_H_
