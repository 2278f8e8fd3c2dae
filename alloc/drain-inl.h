// Emptying spans, so that memory goes where the workload goes: the choice of what to empty, the
// walk over its blocks, and getting its blocks out of magazines. What a block holds, and moving it,
// is the engine's business (engine/moves.h).
//
//   drain_for(bytes)    picks the spans that cost least to empty and that make room for `bytes`
//   walk(...)           hands out the blocks in use of a draining span, a bitmap word at a time, or 64 KiB
//   sift(cache)         a thread gives back what its magazines hold of draining spans
//
// The choice. A block's price is its move (a look-up, a copy, a swap: some 200 ns) and its bytes;
// a span's the sum over its blocks in use. However full it is, emptying it gains one span; but the
// class must have room for these blocks elsewhere. For a block the cheapest span is taken, for an extent the cheapest run of granules (the
// free ones among them cost nothing, other extents can't be moved), and if the budget is the
// bottleneck, further spans. The states are read in one pass over at most kPickSpans of them, from
// where the last pick ended: a pick is bounded in a heap of any size (16,384 spans: 128 KiB read).
// The alternative, buckets of spans by free count kept up to date, would cost each batch of frees
// an exchange on a shared word.
//
// Magazines. A block that lies in a thread's magazine counts as in use, and its owner alone can
// touch it. Each mark moves `drain_round`; a thread compares it with its own at each write
// (wants_back) and sifts. A thread that doesn't write any more keeps what it has: the span then
// waits, at most kWalksMax walks, and serves again. So an idle thread costs at most the blocks of
// its magazines, one span each in the worst case, and never a span for good.
//
// Progress: all bounded and lock-free; a thread stopped between marking a span and listing it costs
// this span until it is empty.
#ifndef TERN_ALLOC_DRAIN_INL_H_
#define TERN_ALLOC_DRAIN_INL_H_

#include <bit>

#include "alloc/heap.h"

namespace tern::alloc {

template <class Sync, class Shape>
struct BasicHeap<Sync, Shape>::Picture {
  static constexpr std::uint32_t kNever = ~std::uint32_t{0};
  std::uint32_t free_blocks[kAllClasses] = {};  // of spans that serve
  std::uint32_t tired = 0;

  // What emptying a span would cost; kNever: it can't be emptied.
  static std::uint32_t price(SpanState state, const ClassInfo& info) noexcept {
    if (!state.is_span() || state.cls() >= kClassCount || state.draining()) return kNever;
    const std::uint64_t used = info.blocks - state.count();
    return static_cast<std::uint32_t>(used + used * info.units / 32);
  }
};

// Empty spans cost nothing, and need no mark: they are free already.
template <class Sync, class Shape>
[[gnu::noinline]] bool BasicHeap<Sync, Shape>::drain_for(std::size_t bytes) noexcept {
  const std::size_t count = spans_.count();
  const std::size_t window = count < kPickSpans ? count : kPickSpans;
  const std::size_t start = count <= kPickSpans ? 0 : pick_from_.load(std::memory_order_relaxed) % count;
  const std::size_t end = start + window < count ? start + window : count;
  pick_from_.store(end == count ? 0 : end, std::memory_order_relaxed);  // a cursor: any value will do
  Picture picture;
  for (std::size_t s = start; s < end; ++s) {
    const SpanState state = spans_.state(s);
    if (!state.is_span() || state.draining()) continue;
    picture.free_blocks[state.cls()] += static_cast<std::uint32_t>(state.count());
    picture.tired += state.tired();
  }
  const BudgetWord budget = budget_.look();
  std::size_t spare = (budget.limit() > budget.used() ? budget.limit() - budget.used() : 0) * kPageBytes;
  for (unsigned c = 0; c < kClassCount; ++c) spare += picture.free_blocks[c] * class_bytes(c);
  std::size_t marked = 0;
  if (spare < bytes) {
    // However the blocks are packed there won't be room.
  } else if (bytes <= largest_block_) {
    marked = drain_cheapest(picture, start, end, 1);
  } else {
    marked = drain_run(picture, start, end, bytes);
  }
  if (marked == 0 && picture.tired != 0) {
    for (std::size_t s = start; s < end; ++s) {
      const SpanState state = spans_.state(s);
      if (state.is_span() && state.tired() && !state.draining()) spans_.rest(s, state);
    }
  }
  if (marked != 0) drain_round_.fetch_add(1, std::memory_order_release);  // [drain] release
  return marked != 0;
}

// Whether the class has room elsewhere for what is in use here; and if so, that room is spoken for.
template <class Sync, class Shape>
bool BasicHeap<Sync, Shape>::drain_span(Picture& picture, std::size_t span) noexcept {
  const SpanState state = spans_.state(span);
  const unsigned cls = state.cls();
  if (Picture::price(state, spans_.info(cls < kClassCount ? cls : 0)) == Picture::kNever) return false;
  if (spans_.is_empty(state)) return false;
  const auto here = static_cast<std::uint32_t>(state.count());
  const auto used = static_cast<std::uint32_t>(spans_.info(cls).blocks) - here;
  // Magazines may hold a batch of what the states call free a moment ago.
  if (picture.free_blocks[cls] < here || picture.free_blocks[cls] - here < used) return false;
  if (!spans_.drain(span, state)) return false;
  picture.free_blocks[cls] -= here + used;
  return true;
}

template <class Sync, class Shape>
std::size_t BasicHeap<Sync, Shape>::drain_cheapest(Picture& picture, std::size_t start,
                                                   std::size_t end, std::size_t wanted) noexcept {
  // The few cheapest in order, the dearest of them last.
  constexpr std::size_t kKept = 16;
  struct Priced {
    std::uint32_t price;
    std::size_t span;
  } best[kKept];
  std::size_t marked = 0;
  while (marked < wanted) {
    std::size_t kept = 0;
    for (std::size_t s = end; s-- > start;) {  // high spans first: live blocks gather at the low end
      const SpanState state = spans_.state(s);
      if (!state.is_span() || state.tired() || state.cls() >= kClassCount) continue;
      if (spans_.is_empty(state)) continue;
      const std::uint32_t price = Picture::price(state, spans_.info(state.cls()));
      if (price == Picture::kNever || (kept == kKept && price >= best[kKept - 1].price)) continue;
      std::size_t at = kept < kKept ? kept++ : kKept - 1;
      for (; at > 0 && best[at - 1].price > price; --at) best[at] = best[at - 1];
      best[at] = {price, s};
    }
    std::size_t now = 0;
    for (std::size_t i = 0; i < kept && marked + now < wanted; ++i) now += drain_span(picture, best[i].span);
    if (now == 0) break;
    marked += now;
  }
  return marked;
}

template <class Sync, class Shape>
std::size_t BasicHeap<Sync, Shape>::drain_run(Picture& picture, std::size_t start, std::size_t end,
                                              std::size_t bytes) noexcept {
  const std::size_t granules = (bytes + kGranuleBytes - 1) / kGranuleBytes;
  const std::size_t units = (granules + span_granules_ - 1) / span_granules_;
  if (units > kRunUnits || units > end - start) return 0;
  // The cheapest window of `units` places, each a span or free granules.
  std::uint32_t prices[kRunUnits];
  std::uint64_t sum = 0, least = ~std::uint64_t{0};
  std::size_t best = kNone, run = 0;
  for (std::size_t s = end; s-- > start;) {
    const std::uint32_t price = price_of_place(s);
    if (price == Picture::kNever) {
      run = 0;
      sum = 0;
      continue;
    }
    if (run == units) sum -= prices[(s + units) % units];
    prices[s % units] = price;
    sum += price;
    if (run < units) ++run;
    if (run == units && sum < least) {
      least = sum;
      best = s;
    }
  }
  if (best == kNone) return 0;  // spans of buckets or of the reserve, or other extents, are everywhere
  std::size_t marked = 0, freed = 0;
  for (std::size_t s = best; s < best + units; ++s) {
    const bool drains = drain_span(picture, s);
    marked += drains;
    const SpanState now = spans_.state(s);
    freed += drains || now.draining() || spans_.is_empty(now);
  }
  // A run of free granules is no room while the budget is full: more spans have to go.
  const BudgetWord budget = budget_.look();
  const std::uint64_t room = budget.limit() > budget.used() ? budget.limit() - budget.used() : 0;
  const std::uint64_t needed = granules * kGranulePages;
  if (room + freed * span_pages() < needed) {
    const std::uint64_t lacking = needed - room - freed * span_pages();
    marked += drain_cheapest(picture, start, end, (lacking + span_pages() - 1) / span_pages());
  }
  return marked;
}

template <class Sync, class Shape>
std::uint32_t BasicHeap<Sync, Shape>::price_of_place(std::size_t span) const noexcept {
  const SpanState state = spans_.state(span);
  if (state.is_span()) {
    if (state.cls() >= kClassCount || state.tired()) return Picture::kNever;
    if (spans_.is_empty(state) || state.draining()) return 0;
    return Picture::price(state, spans_.info(state.cls()));
  }
  for (std::size_t g = 0; g < span_granules_; ++g) {
    if (granules_.is_taken(span * span_granules_ + g)) return Picture::kNever;
  }
  return 0;
}

// --- the walk ----------------------------------------------------------------------------

template <class Sync, class Shape>
[[gnu::noinline]] std::size_t BasicHeap<Sync, Shape>::walk(std::size_t span, Offset* out,
                                                           std::size_t& bytes) noexcept {
  const std::size_t step = spans_.next_step(span);
  if (step == kNone) return kNone;
  const SpanState state = spans_.state(span);
  if (!state.draining()) return kNone;
  const ClassInfo& info = spans_.info(state.cls());
  const auto at = static_cast<std::uint32_t>(step) * info.step_bits, w = at / 64;
  if (w >= info.words) return kNone;
  // Whoever claims the emptied span meanwhile makes this a picture of something else: a guess, as
  // all that a walk finds.
  const std::uint64_t part = ~std::uint64_t{0} >> (64 - info.step_bits) << (at % 64);
  const std::uint64_t used = info.full_word(span, w) & ~spans_.bitmap_word(span, state.cls(), w) & part;
  const Offset first = first_unit_ + (static_cast<Offset>(span) << span_shift_);
  std::size_t n = 0;
  for (std::uint64_t left = used; left != 0; left &= left - 1) {
    const std::uint32_t index = w * 64 + static_cast<std::uint32_t>(std::countr_zero(left));
    out[n++] = first + std::uint64_t{index} * info.units;
  }
  bytes = std::size_t{info.units} * kUnitBytes;
  return n;
}

template <class Sync, class Shape>
bool BasicHeap<Sync, Shape>::walk_again(std::size_t span) noexcept {
  if (!spans_.walk_again(span)) return false;
  // Since the last walk the magazines may have got more of it.
  drain_round_.fetch_add(1, std::memory_order_release);  // [drain] release
  return true;
}

template <class Sync, class Shape>
[[gnu::noinline]] void BasicHeap<Sync, Shape>::sift(Cache& cache) noexcept {
  cache.drain_round_ = drain_round_.load(std::memory_order_acquire);  // [drain] acquire
  for (unsigned c = 0; c < kClassCount; ++c) {
    auto& magazine = cache.magazines_[c];
    const std::uint32_t count = magazine.count.load(std::memory_order_relaxed);
    std::uint32_t kept = 0;
    for (std::uint32_t i = 0; i < count; ++i) {
      const Offset block = magazine.blocks[i];
      if (is_draining(block)) {
        give_back(c, &block, 1);
      } else {
        magazine.blocks[kept++] = block;
      }
    }
    magazine.count.store(kept, std::memory_order_relaxed);
  }
}

}  // namespace tern::alloc

#endif  // TERN_ALLOC_DRAIN_INL_H_
