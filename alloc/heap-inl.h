// The slow paths of heap.h: opening, batches, spans, extents, the table, accounts.
#ifndef TERN_ALLOC_HEAP_INL_H_
#define TERN_ALLOC_HEAP_INL_H_

#include <algorithm>
#include <bit>
#include <cstring>

#include "alloc/heap.h"

namespace tern::alloc {

// --- opening ---------------------------------------------------------------------------

template <class Sync, class Shape>
struct BasicHeap<Sync, Shape>::Layout {
  std::size_t limit_bytes = 0, limit_bytes_max = 0;
  std::size_t span_bytes = 0;
  std::size_t accounts_at = 0, accounts_bytes = 0;
  std::size_t pages_at = 0, pages_bytes = 0;
  std::size_t range_bytes = 0;
  std::byte* base = nullptr;
  std::size_t reserve_spans = 0;

  static std::size_t round_up(std::size_t n, std::size_t to) { return (n + to - 1) / to * to; }

  // Accounts for `pages` bytes of page range; the table of classes also covers what lies before it.
  std::size_t accounts_for(std::size_t pages, std::size_t table_bytes) const {
    const std::size_t spans = pages / span_bytes;
    const std::size_t before =
        table_bytes / span_bytes + 2 + accounts_bytes_bound(pages) / span_bytes;
    return round_up(Spans<Sync>::bytes_of(spans) + Granules<Sync>::bytes_of(pages / kGranuleBytes) +
                        TableRange<Sync>::bytes_of(table_bytes) + round_up(spans + before, 8),
                    kPageBytes);
  }
  static std::size_t accounts_bytes_bound(std::size_t pages) { return pages / 16 + (1 << 20); }
};

template <class Sync, class Shape>
Error BasicHeap<Sync, Shape>::plan(const HeapOptions& options, Layout& layout) noexcept {
  constexpr std::size_t kBytesMax = std::size_t{1}
                                    << 42;  // table and pages together stay below 2^40 units
  const std::size_t bytes_max =
      options.memory_bytes_max == 0 ? options.memory_bytes : options.memory_bytes_max;
  if (options.memory_bytes < Shape::kMemoryBytesMin || bytes_max < options.memory_bytes ||
      options.table_bytes_max % (64 << 10) != 0 ||
      (options.region == nullptr) != (options.region_bytes == 0)) {
    return Error::kInvalidArgument;
  }
  if (bytes_max > kBytesMax || options.table_bytes_max > kBytesMax ||
      options.region_bytes > 2 * kBytesMax) {
    return Error::kTooLarge;
  }
  const bool large = options.memory_bytes >= Shape::kLargeSpansFrom;
  const bool middle = options.memory_bytes >= Shape::kMiddleSpansFrom;
  span_granules_ = large ? Shape::kLargeSpanGranules : middle ? Shape::kMiddleSpanGranules : 1;
  largest_block_ = large ? Shape::kLargeSpanLargest : middle ? Shape::kMiddleSpanLargest : Shape::kSmallSpanLargest;
  layout.span_bytes = span_granules_ * kGranuleBytes;
  layout.limit_bytes = options.memory_bytes / kPageBytes * kPageBytes;
  layout.limit_bytes_max = bytes_max / kPageBytes * kPageBytes;

  const std::size_t reserve = options.memory_bytes / 64 > Shape::kReserveBytesMin
                                  ? options.memory_bytes / 64
                                  : Shape::kReserveBytesMin;
  layout.reserve_spans = (reserve + layout.span_bytes - 1) / layout.span_bytes;

  // Addresses beyond the budget cost nothing and let extents find runs while spans and decommitting
  // hold others.
  std::size_t pages =
      Layout::round_up(bytes_max + bytes_max / 16 + 8 * layout.span_bytes, layout.span_bytes);
  std::size_t lead = 0;
  std::size_t alignment = platform::kHugePageBytes;
  if (options.region != nullptr) {
    alignment = layout.span_bytes > (64 << 10) ? layout.span_bytes : (64 << 10);
    lead = (alignment - reinterpret_cast<std::uintptr_t>(options.region) % alignment) % alignment;
    const std::size_t accounts = layout.accounts_for(pages, options.table_bytes_max);
    const std::size_t front =
        Layout::round_up(options.table_bytes_max + accounts, layout.span_bytes);
    if (options.region_bytes < lead || options.region_bytes - lead < front ||
        options.region_bytes - lead - front < layout.span_bytes * (layout.reserve_spans + 2)) {
      return Error::kInvalidArgument;
    }
    const std::size_t room =
        (options.region_bytes - lead - front) / layout.span_bytes * layout.span_bytes;
    if (room < pages) pages = room;
    layout.base = static_cast<std::byte*>(options.region) + lead;
  }
  layout.accounts_at = options.table_bytes_max;
  layout.accounts_bytes = layout.accounts_for(pages, options.table_bytes_max);
  layout.pages_at =
      Layout::round_up(layout.accounts_at + layout.accounts_bytes,
                       options.region != nullptr ? layout.span_bytes : platform::kHugePageBytes);
  layout.pages_bytes = pages;
  layout.range_bytes = layout.pages_at + pages;
  if (layout.accounts_bytes + (layout.reserve_spans + 2) * layout.span_bytes > layout.limit_bytes) {
    return Error::kInvalidArgument;
  }
  return Error::kNone;
}

template <class Sync, class Shape>
Error BasicHeap<Sync, Shape>::open(const HeapOptions& options) noexcept {
  Layout layout;
  if (const Error error = plan(options, layout); error != Error::kNone) return error;
  if (options.region == nullptr) {
    file_ = options.file;
    file_at_ = options.file_at;
    if (!file_.is_open()) {
      mapping_ = platform::reserve(layout.range_bytes, platform::kHugePageBytes);
    } else if (platform::truncate_file(file_, file_at_ + layout.range_bytes) == 0) {
      mapping_ = platform::map_shared(file_, file_at_, layout.range_bytes, platform::kHugePageBytes);
    }
    if (mapping_ == nullptr) return close(), Error::kOutOfMemory;
    layout.base = static_cast<std::byte*>(mapping_);
  } else {
    std::memset(layout.base, 0, layout.accounts_at + layout.accounts_bytes);
  }
  base_ = layout.base;
  range_bytes_ = layout.range_bytes;
  pages_ = base_ + layout.pages_at;
  pages_bytes_ = layout.pages_bytes;
  accounts_ = base_ + layout.accounts_at;
  accounts_bytes_ = layout.accounts_bytes;
  span_shift_ = static_cast<unsigned>(std::countr_zero(layout.span_bytes / kUnitBytes));
  first_unit_ = layout.pages_at / kUnitBytes;
  first_span_ = layout.pages_at / layout.span_bytes;
  limit_pages_max_ = layout.limit_bytes_max / kPageBytes;
  overhead_pages_ = layout.accounts_bytes / kPageBytes;
  huge_ = options.huge_pages && !file_.is_open();
  if (!back(accounts_, accounts_bytes_)) return close(), Error::kOutOfMemory;

  std::byte* next = accounts_;
  const std::size_t span_count = layout.pages_bytes / layout.span_bytes;
  spans_.open(next, span_count, pages_, layout.span_bytes);
  next += Spans<Sync>::bytes_of(span_count);
  granules_.open(next, layout.pages_bytes / kGranuleBytes);
  next += Granules<Sync>::bytes_of(layout.pages_bytes / kGranuleBytes);
  table_.open(next, base_, options.table_bytes_max, huge_ && mapping_ != nullptr);
  next += TableRange<Sync>::bytes_of(options.table_bytes_max);
  class_by_span_ = reinterpret_cast<std::uint8_t*>(next);

  // No more than 1/512 of a small budget either: 8 threads with 3 classes hold 5 % of 4 MiB.
  const std::size_t share = layout.limit_bytes / 512;
  for (unsigned c = 0; c < kClassCount; ++c) {
    std::size_t blocks =
        (options.magazine_bytes < share ? options.magazine_bytes : share) / class_bytes(c);
    if (blocks > options.magazine_blocks_max) blocks = options.magazine_blocks_max;
    if (blocks < 2) blocks = 2;
    if (class_bytes(c) > kMagazineBlockMax || class_bytes(c) > largest_block_) blocks = 0;
    capacity_[c] = static_cast<std::uint32_t>(blocks);
  }
  // Blocks of the reserve go back at once: none may hide in the magazine of another thread.
  capacity_[kReserveClass] = 0;

  budget_.open(layout.limit_bytes / kPageBytes);
  resident_.store(0, std::memory_order_relaxed);
  if (!budget_.try_charge(overhead_pages_)) return close(), Error::kInvalidArgument;
  resident_.store(overhead_pages_, std::memory_order_relaxed);
  if (huge_) {
    // Not for the spans of the reserve, which are the first of the range: until a store is full it touches nothing of them
    // but the bitmap that each has inside, and that would be a huge page for the kernel to find and zero, for each, at open.
    const std::size_t reserve = layout.reserve_spans * layout.span_bytes / platform::kHugePageBytes * platform::kHugePageBytes;
    huge_asked_ = pages_bytes_ - reserve;
    if (platform::advise_huge(pages_ + reserve, huge_asked_)) huge_advised_ = huge_asked_;
  }
  huge_ = huge_ && huge_advised_ != 0;
  if (options.prefault && !fault_in()) return close(), Error::kOutOfMemory;
  if (!fill_reserve(layout.limit_bytes / kPageBytes)) return close(), file_.is_open() ? Error::kOutOfMemory : Error::kInvalidArgument;
  return Error::kNone;
}

// Faults in as much as the budget says: a twelfth of it in the table's range, the rest from the low
// end of the page range on. The table's part may come to nothing if the table stays small; R6's
// bound has room for it.
template <class Sync, class Shape>
bool BasicHeap<Sync, Shape>::fault_in() noexcept {
  const std::size_t limit = budget_.look().limit() * kPageBytes;
  std::size_t front = limit / 12 / platform::kHugePageBytes * platform::kHugePageBytes;
  if (front > table_.bytes())
    front = table_.bytes() / platform::kHugePageBytes * platform::kHugePageBytes;
  if (front != 0) {
    if (mapping_ != nullptr && huge_ && platform::advise_huge(base_, front))
      table_.note_advised(front);
    if (!back(base_, front) || !platform::populate(base_, front)) return false;
    resident_.fetch_add(table_.prefaulted(front), std::memory_order_relaxed);
  }
  std::size_t granules = (limit - front - accounts_bytes_) / kGranuleBytes;
  if (granules > granules_.count()) granules = granules_.count();
  if (!platform::populate(accounts_, accounts_bytes_)) return false;
  if (!back(pages_, granules * kGranuleBytes) || !platform::populate(pages_, granules * kGranuleBytes)) return false;
  resident_.fetch_add(granules_.mark_dirty(0, granules) * kGranulePages, std::memory_order_relaxed);
  return true;
}

template <class Sync, class Shape>
void BasicHeap<Sync, Shape>::close() noexcept {
  if (base_ != nullptr) unpoison(pages_, pages_bytes_);
  if (mapping_ != nullptr) platform::release(mapping_, range_bytes_);
  mapping_ = nullptr;
  base_ = nullptr;
  huge_asked_ = huge_advised_ = 0;
  reserve_spans_.store(0, std::memory_order_relaxed);
}

template <class Sync, class Shape>
std::uint64_t BasicHeap<Sync, Shape>::reserve_spans_for(std::uint64_t limit_pages) const noexcept {
  std::uint64_t bytes = limit_pages * kPageBytes / 64;
  if (bytes < Shape::kReserveBytesMin) bytes = Shape::kReserveBytesMin;
  const std::uint64_t span_bytes = span_pages() * kPageBytes;
  return (bytes + span_bytes - 1) / span_bytes;
}

// Brings the spans of the reserve to their share of `limit_pages`. False: no room for all of them.
template <class Sync, class Shape>
bool BasicHeap<Sync, Shape>::fill_reserve(std::uint64_t limit_pages) noexcept {
  const std::uint64_t wanted = reserve_spans_for(limit_pages);
  while (reserve_spans_.load(std::memory_order_relaxed) < wanted) {
    if (new_span(kReserveClass) == kNone) return false;
    reserve_spans_.fetch_add(1, std::memory_order_relaxed);
  }
  return true;
}

// Gives up spans of the reserve beyond its share, as far as nothing in them is in use.
template <class Sync, class Shape>
void BasicHeap<Sync, Shape>::thin_out_reserve(std::uint64_t limit_pages) noexcept {
  const std::uint64_t wanted = reserve_spans_for(limit_pages);
  for (std::size_t s = spans_.count(); s-- > 0 && reserve_spans_.load(std::memory_order_relaxed) > wanted;) {
    const SpanState state = spans_.state(s);
    if (!state.is_span() || state.cls() != kReserveClass || !spans_.claim_whole(s)) continue;
    reserve_spans_.fetch_sub(1, std::memory_order_relaxed);
    granules_.release(s * span_granules_, span_granules_);
    budget_.refund(span_pages());
  }
}

// --- batches ---------------------------------------------------------------------------

template <class Sync, class Shape>
bool BasicHeap<Sync, Shape>::prepare(Cache& cache) noexcept {
  if (cache.memory_ != nullptr) return true;
  std::size_t blocks = 0;
  for (unsigned c = 0; c < kClassCount; ++c) blocks += capacity_[c];
  auto* next = static_cast<Offset*>(private_allocate(blocks * sizeof(Offset)));
  if (next == nullptr) return false;
  cache.memory_ = next;
  for (unsigned c = 0; c < kClassCount; ++c) {
    cache.magazines_[c].blocks = next;
    cache.magazines_[c].capacity = capacity_[c];
    next += capacity_[c];
  }
  return true;
}

template <class Sync, class Shape>
[[gnu::noinline]] Offset BasicHeap<Sync, Shape>::allocate_slow(Cache& cache,
                                                               unsigned cls, bool may_flush) noexcept {
  if (!prepare(cache)) return 0;
  auto& magazine = cache.magazines_[cls];
  std::uint64_t batch[kBatchMax];
  std::size_t want = magazine.capacity / 2;  // half, so that a free right after finds room
  if (want > kBatchMax) want = kBatchMax;
  if (want == 0) want = 1;
  std::size_t got = 0;
  for (bool flushed = false;;) {
    got = spans_.take(cls, batch, want);
    if (got != 0) break;
    if (new_span(cls) != kNone) continue;  // and others may empty it before we look: then once more
    if (detail::planted<Sync>(detail::Mutant::kReserveNotKept)) {
      if (class_bytes(cls) <= kReserveBlockBytes) return allocate_reserve(cache);
    }
    if (const Offset larger = flushed ? 0 : allocate_larger(cache, cls); larger != 0) return larger;
    if (flushed || !may_flush || cache.held_bytes() == 0) return 0;
    flush(cache);  // what this thread holds of other classes may be what keeps a span from being
                   // empty
    flushed = true;
  }
  // The lowest address is handed out first: a fill walks upwards through memory.
  for (std::size_t i = 1; i < got; ++i) magazine.blocks[got - 1 - i] = first_unit_ + batch[i];
  magazine.count.store(static_cast<std::uint32_t>(got - 1), std::memory_order_relaxed);
  const Offset offset = first_unit_ + batch[0];
  unpoison(at(offset), class_bytes(cls));
  return offset;
}

// A free block of a class up to a quarter larger. What comes and goes is seldom of the sizes that went: without it a full heap
// refuses one size while the next has megabytes free.
template <class Sync, class Shape>
Offset BasicHeap<Sync, Shape>::allocate_larger(Cache& cache, unsigned cls) noexcept {
  const std::size_t most = class_bytes(cls) + class_bytes(cls) / 4;
  for (unsigned c = cls + 1; c < kClassCount && class_bytes(c) <= most && class_bytes(c) <= largest_block_; ++c) {
    auto& magazine = cache.magazines_[c];
    const std::uint32_t count = magazine.count.load(std::memory_order_relaxed);
    Offset offset = 0;
    if (count != 0) {
      magazine.count.store(count - 1, std::memory_order_relaxed);
      offset = magazine.blocks[count - 1];
    } else if (std::uint64_t units = 0; spans_.take(c, &units, 1) != 0) {
      offset = first_unit_ + units;
    } else {
      continue;
    }
    unpoison(at(offset), class_bytes(c));
    return offset;
  }
  return 0;
}

// A full heap has seldom anything of a size that is asked for seldom, but this thread has blocks at hand of those that come and go.
template <class Sync, class Shape>
[[gnu::noinline]] Offset BasicHeap<Sync, Shape>::allocate_between(Cache& cache, std::size_t least, std::size_t wanted,
                                                                  std::size_t most) noexcept {
  if (const Offset offset = allocate_if_easy(cache, wanted); offset != 0) return offset;
  const unsigned first = class_of(least), at = class_of(wanted), last = class_of(most);
  for (unsigned c = at; c-- > first;) {
    if (const Offset offset = pop(cache, c); offset != 0) return offset;
  }
  for (unsigned c = at; c++ < last;) {
    if (const Offset offset = pop(cache, c); offset != 0) return offset;
  }
  // Of other threads' before what this one has at hand of others is given back.
  for (unsigned c = first; c <= last; ++c) {
    if (!spans_.has_listed(c)) continue;
    if (const Offset offset = allocate_slow(cache, c, false); offset != 0) return offset;
  }
  return allocate(cache, least);
}

template <class Sync, class Shape>
Offset BasicHeap<Sync, Shape>::allocate_bucket() noexcept {
  std::uint64_t units = 0;
  while (spans_.take(kBucketClass, &units, 1) == 0) {
    if (new_span(kBucketClass) == kNone) return 0;  // and others may empty it before we look
  }
  unpoison(at(first_unit_ + units), kBucketBytes);
  return first_unit_ + units;
}

template <class Sync, class Shape>
bool BasicHeap<Sync, Shape>::has_bucket() noexcept {
  return spans_.has_listed(kBucketClass) || spans_.has_listed(Spans<Sync>::kEmptyRow) ||
         new_span(kBucketClass) != kNone;
}

template <class Sync, class Shape>
[[gnu::noinline]] void BasicHeap<Sync, Shape>::free_slow(Cache& cache, unsigned cls,
                                                         Offset offset) noexcept {
  auto& magazine = cache.magazines_[cls];
  if (cls >= kClassCount || (cache.memory_ == nullptr && !prepare(cache)) || magazine.capacity == 0) {
    give_back(cls, &offset, 1);
    return;
  }
  const std::uint32_t count = magazine.count.load(std::memory_order_relaxed);
  if (count < magazine.capacity) {  // the arrays have just come
    magazine.blocks[count] = offset;
    magazine.count.store(count + 1, std::memory_order_relaxed);
    return;
  }
  // The oldest go; what was freed last is still in this core's cache. Half of them, but a few at a time where these are
  // many: each is three locked operations, as a rule on lines that another core has, and somebody waits for this call (16 at
  // once were 9 us, and one set in a thousand had them). The lines of those that go next are on their way meanwhile.
  const std::uint32_t half = (count + 1) / 2, some = half < kBackAtOnce ? half : kBackAtOnce;
  give_back(cls, magazine.blocks, some);
  for (std::uint32_t i = some; i < count; ++i) magazine.blocks[i - some] = magazine.blocks[i];
  prefetch_bitmaps(cls, magazine.blocks, count - some < some ? count - some : some);
  magazine.blocks[count - some] = offset;
  magazine.count.store(count - some + 1, std::memory_order_relaxed);
}

template <class Sync, class Shape>
void BasicHeap<Sync, Shape>::flush(Cache& cache) noexcept {
  for (unsigned c = 0; c < kClassCount; ++c) {
    auto& magazine = cache.magazines_[c];
    const std::uint32_t count = magazine.count.load(std::memory_order_relaxed);
    if (count == 0) continue;
    magazine.count.store(0, std::memory_order_relaxed);
    give_back(c, magazine.blocks, count);
  }
}

template <class Sync, class Shape>
void BasicHeap<Sync, Shape>::release_cache(Cache& cache) noexcept {
  flush(cache);
  for (auto& magazine : cache.magazines_) {
    magazine.capacity = 0;
    magazine.blocks = nullptr;
  }
  private_free(cache.memory_);
  cache.memory_ = nullptr;
}

template <class Sync, class Shape>
void BasicHeap<Sync, Shape>::prefetch_bitmaps(unsigned cls, const Offset* blocks, std::size_t count) noexcept {
  for (std::size_t i = 0; i < count; ++i) {
    __builtin_prefetch(
        spans_.bitmap_line(spans_.place_of(blocks[i] - first_unit_, span_shift_, cls), cls), 1);
  }
}

// Neighbours of one bitmap word go in one exchange, and neighbours of one span in one count. Blocks
// that were freed in the order of their addresses are neighbours; sorting the others first cost
// more than it saved (25 ns a block against 15 in random order, and as much at every size from 16
// bytes to 8,000).
template <class Sync, class Shape>
void BasicHeap<Sync, Shape>::give_back(unsigned cls, const Offset* blocks,
                                       std::size_t count) noexcept {
  prefetch_bitmaps(cls, blocks, count);
  // Once for all of them. Before they can be taken again: the sum is never short of what the bitmaps have.
  spans_.expect_given(cls, count);
  for (std::size_t i = 0; i < count;) {
    auto place = spans_.place_of(blocks[i] - first_unit_, span_shift_, cls);
    std::uint64_t given = 0;
    for (bool same_span = true; same_span;) {
      auto next = place;
      bool same_word = true;
      do {
        place.mask |= next.mask;
        ++given;
        if (++i == count) {
          same_span = false;
          break;
        }
        next = spans_.place_of(blocks[i] - first_unit_, span_shift_, cls);
        same_span = next.span == place.span;
        same_word = same_span && next.word == place.word;
      } while (same_word);
      if (detail::planted<Sync>(detail::Mutant::kCountBeforeBits)) {
        spans_.count_given(place.span, cls, static_cast<std::uint64_t>(std::popcount(place.mask)));
        given = 0;
      }
      spans_.give(place.span, cls, place.word, place.mask);
      if (same_span) place = next;
    }
    if (given != 0) spans_.count_given(place.span, cls, given);
  }
}

// --- spans and extents -----------------------------------------------------------------

// A new span of class `cls`: an empty one of any class, or fresh granules under the budget.
template <class Sync, class Shape>
std::size_t BasicHeap<Sync, Shape>::new_span(unsigned cls) noexcept {
  std::size_t span = spans_.claim_empty();
  if (span == kNone) {
    if (!budget_.try_charge(span_pages())) return kNone;
    const std::size_t granule = granules_.claim_group(static_cast<unsigned>(span_granules_));
    if (granule == kNone) {
      budget_.refund(span_pages());
      return kNone;
    }
    if (!become_resident(granule, span_granules_)) {
      granules_.release(granule, span_granules_);
      budget_.refund(span_pages());
      return kNone;
    }
    span = granule / span_granules_;
  }
  // Plain: this thread owns the span alone, and others read it only through a block that they were
  // handed.
  class_by_span_[first_span_ + span] = static_cast<std::uint8_t>(cls);
  spans_.assign(span, cls);
  return span;
}

template <class Sync, class Shape>
bool BasicHeap<Sync, Shape>::release_empty_span() noexcept {
  const std::size_t span = spans_.claim_empty();
  if (span == kNone) return false;
  granules_.release(span * span_granules_, span_granules_);
  budget_.refund(span_pages());
  return true;
}

// Charges, and gives up empty spans for it. Each round gives up a span, so it ends.
template <class Sync, class Shape>
bool BasicHeap<Sync, Shape>::charge(std::uint64_t pages) noexcept {
  while (!budget_.try_charge(pages)) {
    if (!release_empty_span()) return false;
  }
  return true;
}

template <class Sync, class Shape>
Offset BasicHeap<Sync, Shape>::allocate_extent(std::size_t bytes) noexcept {
  if (bytes == 0 || bytes > pages_bytes_) return 0;
  const std::size_t granules = (bytes + kGranuleBytes - 1) / kGranuleBytes;
  if (!charge(granules * kGranulePages)) return 0;
  std::size_t first = granules_.claim_run(granules);
  while (first == kNone && release_empty_span()) first = granules_.claim_run(granules);
  if (first != kNone && !become_resident(first, granules)) {
    granules_.release(first, granules);
    first = kNone;
  }
  if (first == kNone) {
    budget_.refund(granules * kGranulePages);
    return 0;
  }
  extent_granules_.fetch_add(granules, std::memory_order_relaxed);
  unpoison(granule_at(first), granules * kGranuleBytes);
  return first_unit_ + first * (kGranuleBytes / kUnitBytes);
}

template <class Sync, class Shape>
void BasicHeap<Sync, Shape>::free_extent(Offset offset, std::size_t bytes) noexcept {
  const std::size_t granules = (bytes + kGranuleBytes - 1) / kGranuleBytes;
  const std::size_t first = (offset - first_unit_) / (kGranuleBytes / kUnitBytes);
  poison(granule_at(first), granules * kGranuleBytes);
  extent_granules_.fetch_sub(granules, std::memory_order_relaxed);
  granules_.release(first, granules);
  budget_.refund(granules * kGranulePages);
}

// --- the table's range -----------------------------------------------------------------

template <class Sync, class Shape>
bool BasicHeap<Sync, Shape>::commit_table(std::size_t at, std::size_t bytes) noexcept {
  if (at > table_.bytes() || bytes > table_.bytes() - at) return false;
  if (!charge(bytes / kPageBytes)) return false;
  if (!back(base_ + at, bytes)) {
    budget_.refund(bytes / kPageBytes);
    return false;
  }
  add_resident(table_.commit(at, bytes, budget_.look().limit() / 16));
  return true;
}

template <class Sync, class Shape>
void BasicHeap<Sync, Shape>::uncommit_table(std::size_t at, std::size_t bytes) noexcept {
  resident_.fetch_sub(table_.uncommit(at, bytes), std::memory_order_relaxed);
  budget_.refund(bytes / kPageBytes);
}

// --- residence -------------------------------------------------------------------------

// Before granules that were claimed are touched: counts them, with their neighbours where a huge
// page will come. False: they lie in a file, and there is no room for its pages.
template <class Sync, class Shape>
bool BasicHeap<Sync, Shape>::become_resident(std::size_t first, std::size_t granules) noexcept {
  if (file_.is_open() && !granules_.is_dirty(first, granules) && !back(granule_at(first), granules * kGranuleBytes)) return false;
  std::size_t end = first + granules;
  if constexpr (kGranuleBytes < platform::kHugePageBytes) {
    constexpr std::size_t kUnit = platform::kHugePageBytes / kGranuleBytes;
    if (huge_) {
      first = first / kUnit * kUnit;
      end = (end + kUnit - 1) / kUnit * kUnit;
      if (end > granules_.count()) end = granules_.count();
    }
  }
  if (const std::size_t fresh = granules_.mark_dirty(first, end - first); fresh != 0) {
    add_resident(fresh * kGranulePages);
    if (budget_.look().used() >= kTouchedAheadBytes / kPageBytes) met_fresh_.store(true, std::memory_order_relaxed);  // a hint
  }
  return true;
}

template <class Sync, class Shape>
void BasicHeap<Sync, Shape>::add_resident(std::uint64_t pages) noexcept {
  const std::uint64_t now = resident_.fetch_add(pages, std::memory_order_relaxed) + pages;
  const std::uint64_t limit = budget_.look().limit();
  if (now <= limit || mapping_ == nullptr)
    return;  // a caller's region is the caller's to give back
  const std::size_t wanted =
      static_cast<std::size_t>((now - limit + kGranulePages - 1) / kGranulePages);
  const std::size_t dropped = granules_.drop_free(wanted, [&](std::size_t first, std::size_t n) {
    return file_.is_open() ? platform::decommit_shared(granule_at(first), n * kGranuleBytes)
                           : platform::decommit(granule_at(first), n * kGranuleBytes);
  });
  resident_.fetch_sub(dropped * kGranulePages, std::memory_order_relaxed);
  decommitted_.fetch_add(dropped * kGranulePages, std::memory_order_relaxed);
}

template <class Sync, class Shape>
bool BasicHeap<Sync, Shape>::touch_ahead(std::size_t bytes_max) noexcept {
  std::size_t group = span_granules_;
  if (huge_ && platform::kHugePageBytes / kGranuleBytes > group) group = platform::kHugePageBytes / kGranuleBytes;
  if (group > 64 || group * kGranuleBytes > bytes_max || mapping_ == nullptr) return false;
  const std::uint64_t pages = group * kGranulePages;
  const BudgetWord budget = budget_.look();
  const std::uint64_t used = budget.used(), resident = resident_.load(std::memory_order_relaxed);
  // A small heap has less ready, and a sixteenth of the budget stays for others to touch: what lies ready beside a full heap
  // serves nobody.
  const std::uint64_t most = std::max<std::uint64_t>(kTouchedAheadBytes / kPageBytes, pages);
  const std::uint64_t ahead = std::clamp<std::uint64_t>(budget.limit() / 32, pages, most);
  const bool is_enough = resident >= used + ahead || resident + pages > budget.limit() - budget.limit() / 16;
  const bool waits = met_fresh();
  const std::uint64_t before = touched_for_.load(std::memory_order_relaxed);
  if (is_enough && waits) met_fresh_.store(false, std::memory_order_relaxed);                                   // a hint
  if ((is_enough || before == 0) && used != before) touched_for_.store(used, std::memory_order_relaxed);  // 0: nobody knew yet whether it grows
  if (is_enough || (!waits && (before == 0 || used <= before))) return false;
  // Taken meanwhile, uncharged: so nobody gives it back to the kernel. There are more addresses than budget.
  const std::size_t first = granules_.claim_group(static_cast<unsigned>(group), true);
  if (first == kNone) return false;
  const bool is_backed = back(granule_at(first), group * kGranuleBytes);
  const std::size_t fresh = is_backed ? granules_.mark_dirty(first, group) : 0;
  if (fresh != 0) {
    resident_.fetch_add(fresh * kGranulePages, std::memory_order_relaxed);
    platform::populate(granule_at(first), group * kGranuleBytes);  // in vain where memory is out: then who needs it finds out
  }
  granules_.release(first, group);
  return fresh != 0;
}

// --- accounts --------------------------------------------------------------------------

template <class Sync, class Shape>
bool BasicHeap<Sync, Shape>::resize(std::size_t memory_bytes) noexcept {
  const std::uint64_t pages = memory_bytes / kPageBytes;
  if (memory_bytes < Shape::kMemoryBytesMin || pages > limit_pages_max_) return false;
  while (!budget_.try_set_limit(pages)) {
    if (!release_empty_span()) return false;
  }
  budget_.set_target(pages);
  fill_reserve(pages);  // what others leave room for; a reserve that stays smaller is no error
  add_resident(0);
  return true;
}

template <class Sync, class Shape>
bool BasicHeap<Sync, Shape>::resize_in_time(std::size_t memory_bytes) noexcept {
  const std::uint64_t pages = memory_bytes / kPageBytes;
  if (memory_bytes < Shape::kMemoryBytesMin || pages > limit_pages_max_) return false;
  if (pages < budget_.look().limit()) thin_out_reserve(pages);
  if (resize(memory_bytes)) return true;
  budget_.set_target(pages);
  give_up_empty();
  return true;
}

template <class Sync, class Shape>
bool BasicHeap<Sync, Shape>::give_up_empty() noexcept {
  while (shrinking_bytes() != 0) {
    if (!release_empty_span()) break;
  }
  add_resident(0);
  return shrinking_bytes() == 0;
}

template <class Sync, class Shape>
std::size_t BasicHeap<Sync, Shape>::least_bytes(std::size_t memory_bytes) const noexcept {
  std::size_t sum = (overhead_pages_ + table_.pages()) * kPageBytes +
                    extent_granules_.load(std::memory_order_relaxed) * kGranuleBytes +
                    reserve_spans_for(memory_bytes / kPageBytes) * span_pages() * kPageBytes;
  for (std::size_t s = 0; s < spans_.count(); ++s) {
    const SpanState state = spans_.state(s);
    if (!state.is_span() || state.cls() == kReserveClass) continue;
    sum += (spans_.info(state.cls()).blocks - static_cast<std::size_t>(state.count())) *
           class_bytes(state.cls());
  }
  return sum;
}

template <class Sync, class Shape>
Stats BasicHeap<Sync, Shape>::stats() const noexcept {
  Stats stats;
  const BudgetWord budget = budget_.look();
  stats.limit_bytes = budget.limit() * kPageBytes;
  stats.used_bytes = budget.used() * kPageBytes;
  stats.table_bytes = table_.pages() * kPageBytes;
  stats.extent_bytes = extent_granules_.load(std::memory_order_relaxed) * kGranuleBytes;
  stats.overhead_bytes = overhead_pages_ * kPageBytes;
  stats.resident_bytes = resident_bytes();
  stats.decommitted_bytes = decommitted_.load(std::memory_order_relaxed) * kPageBytes;
  stats.huge_asked_bytes = huge_asked_ + table_.asked_bytes();
  stats.huge_granted_bytes = huge_advised_ + table_.advised_bytes();
  stats.class_count = kAllClasses;
  for (unsigned c = 0; c < kAllClasses; ++c) stats.classes[c].block_bytes = class_bytes(c);
  for (std::size_t s = 0; s < spans_.count(); ++s) {
    const SpanState state = spans_.state(s);
    if (!state.is_span()) continue;
    ClassStats& cls = stats.classes[state.cls()];
    ++cls.spans;
    cls.blocks_total += spans_.info(state.cls()).blocks;
    cls.blocks_free += static_cast<std::size_t>(state.count());
    stats.span_bytes += span_pages() * kPageBytes;
  }
  stats.reserve_bytes = stats.classes[kReserveClass].spans * span_pages() * kPageBytes;
  return stats;
}

template <class Sync, class Shape>
template <class Fn>
void BasicHeap<Sync, Shape>::for_each_block(Fn&& fn) const {
  for (std::size_t s = 0; s < spans_.count(); ++s) {
    const SpanState state = spans_.state(s);
    if (!state.is_span()) continue;
    const ClassInfo& info = spans_.info(state.cls());
    const Offset start = first_unit_ + (static_cast<Offset>(s) << span_shift_);
    for (std::uint32_t w = 0; w < info.words; ++w) {
      const std::uint64_t free = spans_.bitmap_word(s, state.cls(), w);
      for (std::uint64_t left = info.full_word(s, w); left != 0; left &= left - 1) {  // none under the bitmap
        const int bit = std::countr_zero(left);
        fn(start + (std::uint64_t{w} * 64 + static_cast<unsigned>(bit)) * info.units, std::size_t{info.units} * kUnitBytes,
           (free >> bit & 1) != 0);
      }
    }
  }
}

template <class Sync, class Shape>
std::uint64_t BasicHeap<Sync, Shape>::taken_bytes() const noexcept {
  std::uint64_t bytes = 0;
  for (std::size_t s = 0; s < spans_.count(); ++s) {
    const SpanState state = spans_.state(s);
    if (!state.is_span()) continue;
    const ClassInfo& info = spans_.info(state.cls());
    std::uint64_t taken = 0;
    for (std::uint32_t w = 0; w < info.words; ++w) {
      taken += static_cast<std::uint64_t>(std::popcount(info.full_word(s, w) & ~spans_.bitmap_word(s, state.cls(), w)));
    }
    bytes += taken * info.units * kUnitBytes;
  }
  return bytes;
}

template <class Sync, class Shape>
bool BasicHeap<Sync, Shape>::verify() const noexcept {
  std::uint64_t span_count = 0, reserve_spans = 0, free_bytes = 0;
  for (std::size_t s = 0; s < spans_.count(); ++s) {
    const SpanState state = spans_.state(s);
    if (!state.is_span()) continue;
    const unsigned cls = state.cls();
    if (cls >= kAllClasses || spans_.info(cls).blocks == 0) return false;
    if (class_by_span_[first_span_ + s] != cls) return false;
    const ClassInfo& info = spans_.info(cls);
    std::uint64_t bits = 0;
    for (std::uint32_t w = 0; w < info.words; ++w) {
      const std::uint64_t word = spans_.bitmap_word(s, cls, w);
      if ((word & ~info.full_word(s, w)) != 0) return false;  // a block that isn't one
      bits += static_cast<std::uint64_t>(std::popcount(word));
    }
    if (bits != state.count() || bits > info.blocks) return false;
    if (state.draining() ? !spans_.is_listed(Spans<Sync>::kDrainRow, s)
                         : bits != 0 && !spans_.is_listed(cls, s)) {
      return false;
    }
    if (spans_.is_empty(state) && !spans_.is_listed(Spans<Sync>::kEmptyRow, s)) return false;
    for (std::size_t g = 0; g < span_granules_; ++g) {
      if (!granules_.is_taken(s * span_granules_ + g)) return false;
    }
    ++span_count;
    reserve_spans += cls == kReserveClass;
    if (cls < kClassCount) free_bytes += bits * class_bytes(cls);
  }
  const std::uint64_t extents = extent_granules_.load(std::memory_order_relaxed);
  const BudgetWord budget = budget_.look();
  return reserve_spans == reserve_spans_.load(std::memory_order_relaxed) &&
         free_bytes == spans_.free_bytes() &&
         granules_.taken_count() == span_count * span_granules_ + extents &&
         table_.pages() == table_.counted_pages() && budget.used() <= budget.limit() &&
         budget.used() ==
             overhead_pages_ + table_.pages() + span_count * span_pages() + extents * kGranulePages;
}

}  // namespace tern::alloc

#endif  // TERN_ALLOC_HEAP_INL_H_
