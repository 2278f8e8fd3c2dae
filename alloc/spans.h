// Spans: runs of one or 32 granules cut into the blocks of one class, and which of them have free
// blocks.
//
//   state   one word a span  [63:32] free count | [23:12] walked | [11:10] walks | [9] tired
//           | [8] draining | [7:0] class + 1, 0: no span here
//   bitmap  one bit a block, set: free. Beside the state if 64 bits suffice, else inside the span
//   listed  a row of bits a class: the span may have free blocks of it; a row for empty spans, and
//           one for those that are being drained
//
// Taking blocks is two steps: `reserve` lowers the free count by k, and with it this thread owns k
// of the set bits, whichever; `gather` then clears k bits word by word. Giving sets the bits first
// and raises the count after. So
//
//   (1)  set bits >= free count + blocks reserved and not yet gathered
//   (2)  free count == all blocks  =>  nobody reserves, gathers or gives in this span
//
// and an empty span is taken from its class by one compare-and-swap of its state, whole and exact,
// although other threads race. Reclaiming by claiming every bitmap word was the alternative: it
// needs a way back when the last word is missing, and a thread that counts late would write to the
// span's next life.
//
// The rows are hints in one direction: a listed span may have nothing (whoever finds that unlists
// it, and looks again), but a span that has free blocks is listed, or the thread that freed the
// first is about to list it. The lowest listed span serves: live blocks gather at the low end and
// high spans become empty. A stack of spans (Treiber) was rejected: it serves the span freed last,
// an empty span can't be taken out of its middle, and a thread stopped between pop and push takes
// the span with it.
//
// The bitmap inside a span covers whole blocks at an index that varies with the span's number:
// bitmaps at one and the same place of every 2 MiB page would share a few sets of the cache.
//
// Draining. A span with few blocks in use can be marked: from then on it serves nobody (`serves`),
// what is freed in it stays there, and once it is empty it goes the way of any empty span. The mark
// is a bit of the state, taken back by one exchange; whoever frees or claims sees the same word, so
// nothing else changes. Who moves the blocks away walks the bitmap a word at a time, or a part of one; `walked` says
// how far the present walk has come, so that several may share it. A span that isn't empty after
// the last of its walks serves again, and is passed over until there is nothing better (tired).
//
// Progress: lock-free. A thread stopped in `take` costs the blocks that it has reserved; one
// stopped in `give` the blocks that it hasn't counted, and if it hasn't listed the span, this span
// until it is empty.
#ifndef TERN_ALLOC_SPANS_H_
#define TERN_ALLOC_SPANS_H_

#include <bit>
#include <cstddef>
#include <cstdint>

#include "alloc/poison.h"
#include "alloc/size_classes.h"
#include "alloc/sync.h"

namespace tern::alloc {

using Offset = std::uint64_t;

// What a span says about itself.
struct SpanState {
  static constexpr unsigned kClassBits = 8, kDrainBits = 24, kCountBits = 32;
  static_assert(kClassBits + kDrainBits + kCountBits == 64, "class, drain and count fill the word");
  static constexpr unsigned kCountShift = kClassBits + kDrainBits;
  static constexpr std::uint64_t kDraining = 1u << 8, kTired = 1u << 9;
  static constexpr unsigned kWalksShift = 10, kWalkedShift = 12;
  static constexpr std::uint64_t kWalkedMax = (1u << 12) - 1;  // steps over a bitmap: at most 2^11
  static constexpr unsigned kWalksMax = 3;
  static constexpr std::uint64_t kDrainMask = std::uint64_t{0xFFFF'FF00};
  std::uint64_t raw = 0;

  static constexpr SpanState of(unsigned cls, std::uint64_t count) {
    return {count << kCountShift | (cls + 1)};
  }
  static constexpr std::uint64_t counts(std::uint64_t k) { return k << kCountShift; }
  constexpr bool is_span() const { return (raw & 0xFF) != 0; }
  constexpr unsigned cls() const { return static_cast<unsigned>(raw & 0xFF) - 1u; }
  constexpr std::uint64_t count() const { return raw >> kCountShift; }
  // Of that class, not draining, and with free blocks.
  constexpr bool serves(unsigned wanted) const {
    return (raw & (0xFF | kDraining)) == wanted + 1 && count() != 0;
  }
  constexpr bool has(unsigned wanted) const { return cls() == wanted && count() != 0; }
  constexpr SpanState reserved(std::uint64_t k) const { return {raw - counts(k)}; }

  constexpr bool draining() const { return (raw & kDraining) != 0; }
  constexpr bool tired() const { return (raw & kTired) != 0; }
  constexpr unsigned walks() const { return static_cast<unsigned>(raw >> kWalksShift & 3); }
  constexpr std::uint64_t walked() const { return raw >> kWalkedShift & kWalkedMax; }
  constexpr SpanState drained_from_now() const { return {(raw & ~kDrainMask) | kDraining}; }
  constexpr SpanState walked_one() const { return {raw + (std::uint64_t{1} << kWalkedShift)}; }
  constexpr SpanState walked_again() const {
    return {(raw & ~(kWalkedMax << kWalkedShift)) + (std::uint64_t{1} << kWalksShift)};
  }
  constexpr SpanState serving_again() const { return {(raw & ~kDrainMask) | kTired}; }
  constexpr SpanState rested() const { return {raw & ~kTired}; }
};

// A class as the spans of one heap hold it.
struct ClassInfo {
  std::uint32_t units = 0;          // block size in 8-byte units
  std::uint32_t reciprocal = 0;     // floor(2^32 / units) + 1
  std::uint32_t indexes = 0;        // block indexes of a span, with those under the bitmap
  std::uint32_t blocks = 0;         // blocks to hand out
  std::uint32_t words = 0;          // bitmap words
  std::uint32_t bitmap_blocks = 0;  // indexes that the bitmap covers; 0: it lies beside the state
  std::uint32_t step_bits = 64;     // of a word that one step of a walk looks at: of large blocks kStepBytes
  std::uint32_t steps = 0;          // of a walk
  static constexpr std::size_t kStepBytes = 64 << 10;

  static constexpr ClassInfo of(std::size_t block_bytes, std::size_t span_bytes) {
    ClassInfo info;
    info.units = static_cast<std::uint32_t>(block_bytes / kUnitBytes);
    info.reciprocal = static_cast<std::uint32_t>((std::uint64_t{1} << 32) / info.units) + 1;
    info.indexes = static_cast<std::uint32_t>(span_bytes / block_bytes);
    info.words = (info.indexes + 63) / 64;
    if (info.words > 1) {
      info.bitmap_blocks = static_cast<std::uint32_t>(
          (info.words * sizeof(std::uint64_t) + block_bytes - 1) / block_bytes);
    }
    info.blocks = info.indexes - info.bitmap_blocks;
    while (info.step_bits != 1 && info.step_bits * block_bytes > kStepBytes) info.step_bits /= 2;
    info.steps = (info.indexes + info.step_bits - 1) / info.step_bits;
    return info;
  }
  // Index of the block at `units_in` units from the span's start. Exact: units_in < 2^18 and the
  // error of the reciprocal is at most `units` <= 2^14, so that it doesn't reach 2^32.
  constexpr std::uint32_t index_of(std::uint64_t units_in) const {
    return static_cast<std::uint32_t>(units_in * reciprocal >> 32);
  }
  // First index under the bitmap of span number `span`: within the first quarter, five bitmaps
  // further for each span.
  constexpr std::uint32_t bitmap_at(std::size_t span) const {
    if (bitmap_blocks == 0) return 0;
    const std::uint32_t places = indexes / 4 / bitmap_blocks + 1;
    return static_cast<std::uint32_t>(span * 5 % places) * bitmap_blocks;
  }
  // Word `w` of a span whose blocks are all free.
  constexpr std::uint64_t full_word(std::size_t span, std::uint32_t w) const {
    const std::uint32_t hole = bitmap_at(span);
    return below(indexes, w) & ~(below(hole + bitmap_blocks, w) & ~below(hole, w));
  }
  // Bits of word `w` for indexes below `end`.
  static constexpr std::uint64_t below(std::uint32_t end, std::uint32_t w) {
    if (end <= w * 64) return 0;
    return end - w * 64 >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << (end - w * 64)) - 1;
  }
};

template <class Sync>
class Spans {
 public:
  using Word = typename Sync::template Atomic<std::uint64_t>;
  using Hint = typename Sync::template Atomic<std::uint32_t>;
  static constexpr std::size_t kNone = ~std::size_t{0};
  static constexpr unsigned kEmptyRow = kAllClasses;
  static constexpr unsigned kDrainRow = kAllClasses + 1;
  static constexpr unsigned kRows = kAllClasses + 2;
  static constexpr std::size_t kBlocksMin = 7;  // of a span

  static constexpr std::size_t row_words_of(std::size_t spans) { return (spans + 63) / 64; }
  static constexpr std::size_t bytes_of(std::size_t spans) {
    const std::size_t all = spans * (2 * sizeof(Word) + sizeof(Hint)) +
                            (row_words_of(spans) + 1) * kRows * sizeof(Word);
    return (all + 7) / 8 * 8;
  }

  // `memory`: bytes_of(count) zero bytes. Span number s lies at `first + s * span_bytes`.
  void open(void* memory, std::size_t count, std::byte* first, std::size_t span_bytes) noexcept {
    auto* next = static_cast<std::byte*>(memory);
    const auto part = [&](std::size_t bytes) {
      std::byte* at = next;
      next += bytes;
      return at;
    };
    count_ = count;
    row_words_ = row_words_of(count);
    states_ = reinterpret_cast<Word*>(part(count * sizeof(Word)));
    small_bitmaps_ = reinterpret_cast<Word*>(part(count * sizeof(Word)));
    rows_ = reinterpret_cast<Word*>(part(row_words_ * kRows * sizeof(Word)));
    row_hints_ = reinterpret_cast<Word*>(part(kRows * sizeof(Word)));
    hints_ = reinterpret_cast<Hint*>(part(count * sizeof(Hint)));
    first_ = first;
    span_bytes_ = span_bytes;
    free_units_.store(0, std::memory_order_relaxed);  // nobody else is here yet
    for (unsigned c = 0; c < kAllClasses; ++c) {
      info_[c] = class_bytes(c) * kBlocksMin <= span_bytes ? ClassInfo::of(class_bytes(c), span_bytes)
                                                  : ClassInfo{};
    }
  }

  std::size_t count() const noexcept { return count_; }
  const ClassInfo& info(unsigned cls) const noexcept { return info_[cls]; }
  SpanState state(std::size_t span) const noexcept {
    return {states_[span].load(std::memory_order_acquire)};  // [span-state] acquire
  }

  // --- a span's life -------------------------------------------------------------------

  // Makes a span of class `cls` out of memory that the caller owns alone; all blocks free, listed.
  void assign(std::size_t span, unsigned cls) noexcept {
    const ClassInfo& info = info_[cls];
    Word* words = bitmap(span, cls);
    unpoison(words, info.words * sizeof(Word));
    // Relaxed: nobody looks at the bitmap before the state says what it is.
    for (std::uint32_t w = 0; w < info.words; ++w) {
      words[w].store(info.full_word(span, w), std::memory_order_relaxed);
    }
    hints_[span].store(0, std::memory_order_relaxed);
    poison(first_ + span * span_bytes_, span_bytes_);
    if (info.bitmap_blocks != 0) unpoison(words, info.words * sizeof(Word));
    if (cls < kClassCount) add_free(cls, info.blocks);
    states_[span].store(SpanState::of(cls, info.blocks).raw,
                        std::memory_order_release);  // [span-state] release
    Sync::point("span.assign");
    list(cls, span);
    if (cls != kReserveClass) list(kEmptyRow, span);
  }

  // Takes an empty span from its class: the caller owns its memory alone. kNone: there is none.
  std::size_t claim_empty() noexcept {
    for (;;) {
      const std::size_t span = first_listed(kEmptyRow);
      if (span == kNone) return kNone;
      SpanState state{states_[span].load(std::memory_order_relaxed)};
      while (is_empty(state)) {
        Sync::point("span.reclaim");
        if (detail::planted<Sync>(detail::Mutant::kSpanRelistedTwice)) {
          states_[span].store(
              0, std::memory_order_relaxed);  // whoever judged it empty takes it, twice over
        } else if (!states_[span].compare_exchange_weak(
                       state.raw, 0,
                       std::memory_order_acq_rel,  // [span-state] acquire, release
                       std::memory_order_relaxed)) {
          continue;
        }
        if (state.cls() < kClassCount) take_free(state.cls(), info_[state.cls()].blocks);
        // The rows may keep it listed: whoever meets it there sees the state. Cleared to save them
        // the way; relaxed: this thread alone may list it next.
        row_word(kEmptyRow, span).fetch_and(~bit_of(span), std::memory_order_relaxed);
        if (state.draining())
          row_word(kDrainRow, span).fetch_and(~bit_of(span), std::memory_order_relaxed);
        row_word(state.cls(), span).fetch_and(~bit_of(span), std::memory_order_relaxed);
        return span;
      }
      unlist(kEmptyRow, span);
    }
  }

  // The same for one span, of whatever class. False: something in it is in use.
  bool claim_whole(std::size_t span) noexcept {
    SpanState state{states_[span].load(std::memory_order_relaxed)};
    while (state.is_span() && state.count() == info_[state.cls()].blocks) {
      if (!states_[span].compare_exchange_weak(state.raw, 0,
                                               std::memory_order_acq_rel,  // [span-state] acquire, release
                                               std::memory_order_relaxed)) {
        continue;
      }
      row_word(state.cls(), span).fetch_and(~bit_of(span), std::memory_order_relaxed);  // as above
      return true;
    }
    return false;
  }

  // --- draining ------------------------------------------------------------------------

  // Marks a span that `seen` describes. False: it has changed since.
  bool drain(std::size_t span, SpanState seen) noexcept {
    Sync::point("span.drain");
    if (!states_[span].compare_exchange_strong(
            seen.raw, seen.drained_from_now().raw, std::memory_order_acq_rel,  // [span-state]
            std::memory_order_relaxed)) {
      return false;
    }
    list(kDrainRow, span);
    return true;
  }

  // The lowest draining span with number `from` or more; kNone: there is none.
  std::size_t next_draining(std::size_t from) noexcept {
    for (std::size_t w = from / 64; w < row_words_; ++w) {
      std::uint64_t word = rows_[kDrainRow * row_words_ + w].load(std::memory_order_relaxed);
      if (w == from / 64) word &= ~std::uint64_t{0} << (from % 64);
      for (; word != 0; word &= word - 1) {
        const std::size_t span = w * 64 + static_cast<std::size_t>(std::countr_zero(word));
        if (state(span).draining()) return span;
        unlist(kDrainRow, span);
      }
    }
    return kNone;
  }

  // The next step (ClassInfo) of the walk over a draining span's bitmap, for this thread; kNone: this walk is
  // complete, or the span drains no more.
  std::size_t next_step(std::size_t span) noexcept {
    SpanState state{states_[span].load(std::memory_order_acquire)};  // [span-state] acquire
    for (;;) {
      if (!state.draining() || state.walked() >= info_[state.cls()].steps) return kNone;
      if (states_[span].compare_exchange_weak(state.raw, state.walked_one().raw,
                                              std::memory_order_acq_rel,  // [span-state]
                                              std::memory_order_relaxed)) {
        return state.walked();
      }
    }
  }

  // Begins another walk of a span whose walk is complete; after the last, the span serves again.
  // True: it still drains.
  bool walk_again(std::size_t span) noexcept {
    SpanState state{states_[span].load(std::memory_order_acquire)};  // [span-state] acquire
    for (;;) {
      if (!state.draining()) return false;
      if (state.walked() < info_[state.cls()].steps) return true;
      if (state.walks() + 1 == SpanState::kWalksMax) break;
      if (states_[span].compare_exchange_weak(state.raw, state.walked_again().raw,
                                              std::memory_order_acq_rel,  // [span-state]
                                              std::memory_order_relaxed)) {
        return true;
      }
    }
    undrain(span);
    return false;
  }

  // Takes the mark back: the span serves its class again.
  void undrain(std::size_t span) noexcept {
    SpanState state{states_[span].load(std::memory_order_acquire)};  // [span-state] acquire
    do {
      if (!state.draining()) return;
      Sync::point("span.undrain");
    } while (!states_[span].compare_exchange_weak(
        state.raw, state.serving_again().raw, std::memory_order_acq_rel,  // [span-state]
        std::memory_order_relaxed));
    if (detail::planted<Sync>(detail::Mutant::kUndrainUnlisted)) return;
    // Whoever met it on its row while it drained has unlisted it.
    if (state.count() != 0) list(state.cls(), span);
  }

  // A tired span may be picked again.
  void rest(std::size_t span, SpanState seen) noexcept {
    states_[span].compare_exchange_strong(seen.raw, seen.rested().raw,
                                          std::memory_order_acq_rel,  // [span-state]
                                          std::memory_order_relaxed);
  }

  // --- blocks --------------------------------------------------------------------------

  // Up to `want` free blocks of a class, as addresses in units from the first span's start, lowest
  // first, from as many spans as it takes. The number of blocks. Where they lie scattered, fewer are
  // taken at once: each word of a bitmap is a cache miss then, and one caller in 64 would have had
  // all of them. Where they lie together, each part is twice as large as the one before.
  std::size_t take(unsigned cls, std::uint64_t* out, std::size_t want) noexcept {
    std::size_t got = 0, part = kPartFirst;
    for (unsigned words = 0; got < want && words < kWordsATake;) {
      const std::size_t span = first_listed(cls);
      if (span == kNone) break;
      const std::size_t k = reserve(span, cls, part < want - got ? part : want - got);
      if (k == 0) {
        unlist(cls, span);
        continue;
      }
      words += gather(span, cls, out + got, k);
      got += k;
      part *= 2;
    }
    if (got != 0 && cls < kClassCount) take_free(cls, got);
    return got;
  }
  static constexpr std::size_t kPartFirst = 8;
  static constexpr unsigned kWordsATake = 6;

  bool has_listed(unsigned row) noexcept { return first_listed(row) != kNone; }

  // Gives back the blocks in `mask` of bitmap word `w`. They must be allocated.
  void give(std::size_t span, unsigned cls, std::uint32_t w, std::uint64_t mask) noexcept {
    Word& word = bitmap(span, cls)[w];
    if (detail::planted<Sync>(detail::Mutant::kBitmapLostFree)) {
      const std::uint64_t before = word.load(std::memory_order_relaxed);
      word.store(before | mask, std::memory_order_release);
    } else {
      const auto order = detail::planted<Sync>(detail::Mutant::kGiveRelaxed)
                                 ? std::memory_order_relaxed
                                 : std::memory_order_release;
      word.fetch_or(mask, order);  // [block] release: the last user's reads and writes
    }
    if (w < hints_[span].load(std::memory_order_relaxed))
      hints_[span].store(w, std::memory_order_relaxed);
  }

  // `k` blocks will be given, and counted by count_given, in whatever spans.
  void expect_given(unsigned cls, std::uint64_t k) noexcept {
    if (cls < kClassCount) add_free(cls, k);
  }

  // Counts `k` blocks that were given, and lists the span where that makes a difference.
  void count_given(std::size_t span, unsigned cls, std::uint64_t k) noexcept {
    Sync::point("span.count");
    const SpanState before{states_[span].fetch_add(
        SpanState::counts(k), std::memory_order_acq_rel)};  // [span-state] release
    // From here on the span may be taken from us and get another class: only the rows are touched,
    // as hints.
    Sync::point("span.list");
    if (before.count() == 0) list(cls, span);
    if (before.count() + k == info_[cls].blocks && cls != kReserveClass) list(kEmptyRow, span);
  }

  // Bytes of free blocks in all spans but the reserve's and the buckets'. Relaxed, as all accounts: a figure to
  // decide by; a batch changes it once.
  std::uint64_t free_bytes() const noexcept { return free_units_.load(std::memory_order_relaxed) * kUnitBytes; }

  // Span, bitmap word and bit of the block at `units` from the first span's start.
  struct Place {
    std::size_t span;
    std::uint32_t word;
    std::uint64_t mask;
  };
  Place place_of(std::uint64_t units, unsigned span_shift, unsigned cls) const noexcept {
    const std::uint64_t in = units & ((std::uint64_t{1} << span_shift) - 1);
    const std::uint32_t index = info_[cls].index_of(in);
    return {static_cast<std::size_t>(units >> span_shift), index / 64,
            std::uint64_t{1} << (index % 64)};
  }
  // The line that `give` will write.
  const void* bitmap_line(const Place& place, unsigned cls) const noexcept {
    return &const_cast<Spans*>(this)->bitmap(place.span, cls)[place.word];
  }

  // --- walking (quiescent) -------------------------------------------------------------

  std::uint64_t bitmap_word(std::size_t span, unsigned cls, std::uint32_t w) const noexcept {
    return const_cast<Spans*>(this)->bitmap(span, cls)[w].load(std::memory_order_relaxed);
  }
  bool is_listed(unsigned row, std::size_t span) const noexcept {
    return (rows_[row * row_words_ + span / 64].load(std::memory_order_relaxed) & bit_of(span)) !=
           0;
  }
  bool is_empty(SpanState state) const noexcept {
    return state.is_span() && state.cls() != kReserveClass &&
           state.count() == info_[state.cls()].blocks;
  }

 private:
  static constexpr std::uint64_t bit_of(std::size_t span) {
    return std::uint64_t{1} << (span % 64);
  }
  // Raised before the blocks can be taken and lowered after they were: never below zero.
  void add_free(unsigned cls, std::uint64_t blocks) noexcept {
    free_units_.fetch_add(blocks * info_[cls].units, std::memory_order_relaxed);  // an account
  }
  void take_free(unsigned cls, std::uint64_t blocks) noexcept {
    free_units_.fetch_sub(blocks * info_[cls].units, std::memory_order_relaxed);  // as above
  }
  Word& row_word(unsigned row, std::size_t span) noexcept {
    return rows_[row * row_words_ + span / 64];
  }

  Word* bitmap(std::size_t span, unsigned cls) noexcept {
    const ClassInfo& info = info_[cls];
    if (info.bitmap_blocks == 0) return small_bitmaps_ + span;
    return reinterpret_cast<Word*>(first_ + span * span_bytes_ +
                                   std::size_t{info.bitmap_at(span)} * info.units * kUnitBytes);
  }

  // Lowers the free count by up to `want`; how many blocks this thread may gather now.
  std::size_t reserve(std::size_t span, unsigned cls, std::size_t want) noexcept {
    SpanState state{states_[span].load(std::memory_order_relaxed)};
    for (;;) {
      const bool serves = detail::planted<Sync>(detail::Mutant::kDrainingServes) ? state.has(cls)
                                                                                : state.serves(cls);
      if (!serves) return 0;
      const std::size_t k = state.count() < want ? static_cast<std::size_t>(state.count()) : want;
      Sync::point("span.reserve");
      // [span-state] acquire: the bits behind the count, and the bitmap as `assign` wrote it
      if (states_[span].compare_exchange_weak(state.raw, state.reserved(k).raw,
                                              std::memory_order_acq_rel,
                                              std::memory_order_relaxed)) {
        return k;
      }
    }
  }

  // Clears k set bits. They are there (invariant 1); others may take the ones we see, and leave us
  // theirs. How many words it looked at.
  unsigned gather(std::size_t span, unsigned cls, std::uint64_t* out, std::size_t k) noexcept {
    const ClassInfo& info = info_[cls];
    Word* words = bitmap(span, cls);
    const std::uint64_t start = static_cast<std::uint64_t>(span) * (span_bytes_ / kUnitBytes);
    std::uint32_t w = info.words > 1 ? hints_[span].load(std::memory_order_relaxed) : 0;
    for (unsigned looked = 1;; ++looked) {
      std::uint64_t want = words[w].load(std::memory_order_relaxed);
      if (want != 0) {
        std::uint64_t rest = 0;
        if (static_cast<std::size_t>(std::popcount(want)) > k) {
          rest = want;
          for (std::size_t i = 0; i < k; ++i) rest &= rest - 1;
        }
        want &= ~rest;  // the lowest k
        // [block] acquire: what the blocks' last users did lies behind
        std::uint64_t got = want & words[w].fetch_and(~want, std::memory_order_acq_rel);
        for (; got != 0; got &= got - 1, --k) {
          const std::uint32_t index = w * 64 + static_cast<std::uint32_t>(std::countr_zero(got));
          *out++ = start + std::uint64_t{index} * info.units;
        }
        if (k == 0) {
          if (info.words > 1) hints_[span].store(w, std::memory_order_relaxed);  // a hint, not an account
          return looked;
        }
        if (rest != 0) continue;
      }
      if (++w == info.words) w = 0;
    }
  }

  // The lowest listed span of a row, from the hint on and once around.
  std::size_t first_listed(unsigned row) noexcept {
    const Word* words = rows_ + row * row_words_;
    const std::size_t start =
        static_cast<std::size_t>(row_hints_[row].load(std::memory_order_relaxed));
    for (std::size_t i = 0; i < row_words_; ++i) {
      std::size_t w = start + i;
      if (w >= row_words_) w -= row_words_;
      const std::uint64_t word = words[w].load(std::memory_order_relaxed);
      if (word == 0) continue;
      if (w != start) row_hints_[row].store(w, std::memory_order_relaxed);
      return w * 64 + static_cast<std::size_t>(std::countr_zero(word));
    }
    return kNone;
  }

  void list(unsigned row, std::size_t span) noexcept {
    row_word(row, span).fetch_or(bit_of(span), std::memory_order_release);  // [listed] release
    const std::uint64_t w = span / 64;
    if (w < row_hints_[row].load(std::memory_order_relaxed))
      row_hints_[row].store(w, std::memory_order_relaxed);
  }

  // Takes a span off a row that doesn't deserve it, and puts it back if it came to deserve it in
  // between: a thread that frees raises the count before it lists, so one of the two sees the
  // other.
  void unlist(unsigned row, std::size_t span) noexcept {
    row_word(row, span).fetch_and(~bit_of(span), std::memory_order_acq_rel);  // [listed] acquire
    Sync::point("span.unlist");
    if (detail::planted<Sync>(detail::Mutant::kUnlistWithoutSecondLook)) return;
    const SpanState now = state(span);
    const bool deserves = row == kEmptyRow   ? is_empty(now)
                          : row == kDrainRow ? now.draining()
                                             : now.serves(row);
    if (deserves) list(row, span);
  }

  Word* states_ = nullptr;
  Word* small_bitmaps_ = nullptr;
  Word* rows_ = nullptr;       // kRows rows of row_words_ words
  Word* row_hints_ = nullptr;  // a row's lowest word with a bit, perhaps
  Hint* hints_ = nullptr;      // a span's lowest bitmap word with a bit, perhaps
  std::byte* first_ = nullptr;
  std::size_t span_bytes_ = 0;
  std::size_t count_ = 0;
  std::size_t row_words_ = 0;
  ClassInfo info_[kAllClasses];
  alignas(128) Word free_units_{};
};

}  // namespace tern::alloc

#endif  // TERN_ALLOC_SPANS_H_
