// The lines that a view's walk will read next, on their way while it is busy with this bucket: the bucket four steps on,
// and the records of the one two steps on. A walk goes through memory in an order that no processor guesses, and without
// this it waits for most of its records.
#ifndef TERN_PERSIST_LOOK_AHEAD_H_
#define TERN_PERSIST_LOOK_AHEAD_H_

#include <bit>
#include <cstdint>

#include "engine/core.h"
#include "engine/prefetch.h"
#include "engine/views.h"
#include "persist/format.h"

namespace tern::persist {

// Hints alone: what growth changes meanwhile makes them worthless, never wrong. Inside the walk's guard.
inline void look_ahead(detail::Core<detail::StdSync>& core, const detail::ViewCursor& cursor) noexcept {
  using Tbl = detail::Table<detail::StdSync>;
  constexpr unsigned kRecords = 2, kBuckets = 4;
  auto& shard = core.table.shard(cursor.shard);
  const detail::ShardSize size = Tbl::size_of(shard);
  const std::uint64_t half = std::bit_floor(std::uint64_t{size.buckets()});
  std::uint64_t place = cursor.place;
  for (unsigned i = 1;; ++i) {
    // The next bucket's first place; see Views::step.
    const std::uint64_t hash = place_of(place);
    const unsigned bits = std::countr_zero(half) + ((hash & (half - 1)) + half < size.buckets() ? 1 : 0);
    if (bits == 0) return;
    place = (place | ~std::uint64_t{0} >> bits) + 1;
    if (place == 0) return;
    if (i != kRecords && i != kBuckets) continue;
    auto& bucket = core.table.bucket(shard, size.home(place_of(place)));
    if (i == kBuckets) return detail::prefetch_near(&bucket);
    for (unsigned slot = 0; slot != detail::kSlots; ++slot) {
      const detail::SlotWord w(bucket.slot[slot].load(std::memory_order_relaxed));  // a hint
      if (!w.is_current()) continue;
      const char* record = core.space.record(w.offset())->bytes();
      detail::prefetch_near(record);
      detail::prefetch_near(record + 64);
    }
  }
}

}  // namespace tern::persist

#endif  // TERN_PERSIST_LOOK_AHEAD_H_
