// The granules of the page range: which are taken, and which have memory behind them.
//
// Two bitmaps, a bit for each granule (64 KiB). `taken`: part of a span or an extent, or out for
// decommitting. `dirty`: touched since it was reserved or given back, so that the kernel keeps
// memory for it. A granule that is dirty and not taken costs memory and serves nobody: the heap
// counts it, and gives such back to the kernel when the resident set would pass the budget.
//
//   spans    grow from the low end: the lowest free granule, or aligned group of granules
//   extents  grow from the high end: large values don't break up groups that spans could have
//
// Claims set bits by compare-and-swap of one word, an extent's word by word; a word that is lost to
// another thread on the way puts back what was taken. A thread stopped inside a claim costs this
// run of granules.
#ifndef TERN_ALLOC_GRANULES_H_
#define TERN_ALLOC_GRANULES_H_

#include <bit>
#include <cstddef>
#include <cstdint>

#include "alloc/sync.h"

namespace tern::alloc {

template <class Sync>
class Granules {
 public:
  using Word = typename Sync::template Atomic<std::uint64_t>;
  static constexpr std::size_t kNone = ~std::size_t{0};

  static constexpr std::size_t words_of(std::size_t granules) { return (granules + 63) / 64; }
  static constexpr std::size_t bytes_of(std::size_t granules) {
    return 2 * words_of(granules) * sizeof(Word);
  }

  // `memory`: bytes_of(count) zero bytes. Bits past the end count as taken for ever.
  void open(void* memory, std::size_t count) noexcept {
    taken_ = static_cast<Word*>(memory);
    words_ = words_of(count);
    dirty_ = taken_ + words_;
    count_ = count;
    if (count % 64 != 0) {
      taken_[words_ - 1].store(~std::uint64_t{0} << (count % 64), std::memory_order_relaxed);
    }
  }

  std::size_t count() const noexcept { return count_; }

  // The lowest free group of `group` granules (a power of two up to 64), aligned to its size. `untouched`: one that has no
  // memory behind it.
  std::size_t claim_group(unsigned group, bool untouched = false) noexcept {
    const std::size_t start =
        low_.load(std::memory_order_relaxed);  // a hint: a full pass follows anyway
    for (std::size_t i = 0; i < words_; ++i) {
      std::size_t w = start + i;
      if (w >= words_) w -= words_;
      std::uint64_t word = taken_[w].load(std::memory_order_relaxed);
      const std::uint64_t passed_over = untouched ? dirty_[w].load(std::memory_order_relaxed) : 0;  // an account
      for (;;) {
        const int bit = lowest_group(word | passed_over, group);
        if (bit < 0) break;
        const std::uint64_t mask = mask_of(static_cast<unsigned>(bit), group);
        // [granule] acquire: what the last owner did to this memory lies behind
        if (taken_[w].compare_exchange_weak(word, word | mask, std::memory_order_acquire,
                                            std::memory_order_relaxed)) {
          if (w != start && !untouched) low_.store(w, std::memory_order_relaxed);
          return w * 64 + static_cast<unsigned>(bit);
        }
      }
    }
    return kNone;
  }

  // A run of `n` free granules, the highest that one pass finds. O(words).
  std::size_t claim_run(std::size_t n) noexcept {
    std::size_t run = 0;  // free granules from `first` on
    std::size_t first = words_ * 64;
    for (std::size_t w = words_; w-- > 0;) {
      const std::uint64_t word = taken_[w].load(std::memory_order_relaxed);
      if (word == ~std::uint64_t{0}) {
        run = 0;
        continue;
      }
      for (unsigned bit = 64; bit-- > 0;) {
        if (word >> bit & 1) {
          run = 0;
          continue;
        }
        first = w * 64 + bit;
        if (++run < n) continue;
        if (claim_exactly(first, n)) return first;
        run = 0;  // lost to another thread: go on below
      }
    }
    return kNone;
  }

  // Gives a claimed run back.
  void release(std::size_t first, std::size_t n) noexcept {
    for_each_word(first, n, [&](std::size_t w, std::uint64_t mask) {
      taken_[w].fetch_and(~mask, std::memory_order_release);  // [granule] release
      if (w < low_.load(std::memory_order_relaxed)) low_.store(w, std::memory_order_relaxed);
      return true;
    });
  }

  // Marks a run as backed by memory; the number of granules that weren't.
  std::size_t mark_dirty(std::size_t first, std::size_t n) noexcept {
    std::size_t fresh = 0;
    for_each_word(first, n, [&](std::size_t w, std::uint64_t mask) {
      // Relaxed: the bits are an account of memory, they publish nothing.
      if ((dirty_[w].load(std::memory_order_relaxed) & mask) == mask) return true;
      const std::uint64_t before = dirty_[w].fetch_or(mask, std::memory_order_relaxed);
      fresh += static_cast<std::size_t>(std::popcount(mask & ~before));
      return true;
    });
    return fresh;
  }

  // Whether all of a run have memory behind them.
  bool is_dirty(std::size_t first, std::size_t n) const noexcept {
    return for_each_word(first, n, [&](std::size_t w, std::uint64_t mask) {
      return (dirty_[w].load(std::memory_order_relaxed) & mask) == mask;  // as above
    });
  }

  // Takes up to `most` granules that are free and dirty out of circulation, from word `w` on
  // downwards, calls drop(first, n) -> bool for each run, and frees them again. The number of
  // granules that were dropped. One word at a time, so that a stopped thread keeps at most 64
  // granules from the others.
  template <class Drop>
  std::size_t drop_free(std::size_t most, Drop&& drop) noexcept {
    std::size_t dropped = 0;
    for (std::size_t w = words_; w-- > 0 && dropped < most;) {
      std::uint64_t taken = taken_[w].load(std::memory_order_relaxed);
      std::uint64_t want = dirty_[w].load(std::memory_order_relaxed) & ~taken;
      while (static_cast<std::size_t>(std::popcount(want)) > most - dropped) want &= want - 1;
      if (want == 0) continue;
      // [granule] acquire: the last owner's writes come before the kernel drops them
      const std::uint64_t got = want & ~taken_[w].fetch_or(want, std::memory_order_acquire);
      for (std::uint64_t left = got; left != 0;) {
        const auto bit = static_cast<unsigned>(std::countr_zero(left));
        const auto length = static_cast<unsigned>(std::countr_one(left >> bit));
        const std::uint64_t mask = mask_of(bit, length);
        left &= ~mask;
        if (drop(w * 64 + bit, std::size_t{length})) {
          dirty_[w].fetch_and(~mask, std::memory_order_relaxed);
          dropped += length;
        }
      }
      taken_[w].fetch_and(~got, std::memory_order_release);  // [granule] release
    }
    return dropped;
  }

  bool is_taken(std::size_t granule) const noexcept {
    return taken_[granule / 64].load(std::memory_order_relaxed) >> (granule % 64) & 1;
  }
  std::size_t taken_count() const noexcept { return population(taken_) - (words_ * 64 - count_); }
  std::size_t dirty_count() const noexcept { return population(dirty_); }

 private:
  static constexpr std::uint64_t mask_of(unsigned bit, unsigned length) {
    return (length == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << length) - 1) << bit;
  }

  static int lowest_group(std::uint64_t word, unsigned group) {
    if (word == ~std::uint64_t{0}) return -1;
    if (group == 1) return std::countr_one(word);
    for (unsigned bit = 0; bit < 64; bit += group) {
      if ((word & mask_of(bit, group)) == 0) return static_cast<int>(bit);
    }
    return -1;
  }

  bool claim_exactly(std::size_t first, std::size_t n) noexcept {
    std::size_t claimed = 0;
    const bool whole = for_each_word(first, n, [&](std::size_t w, std::uint64_t mask) {
      std::uint64_t word = taken_[w].load(std::memory_order_relaxed);
      do {
        if ((word & mask) != 0) return false;
        // [granule] acquire
      } while (!taken_[w].compare_exchange_weak(word, word | mask, std::memory_order_acquire,
                                                std::memory_order_relaxed));
      claimed += static_cast<std::size_t>(std::popcount(mask));
      Sync::point("extent.claim");
      return true;
    });
    if (!whole && claimed != 0) release(first, claimed);
    return whole;
  }

  // fn(word index, mask) for each word of the run, upwards, until it answers false.
  template <class Fn>
  static bool for_each_word(std::size_t first, std::size_t n, Fn&& fn) {
    while (n > 0) {
      const auto bit = static_cast<unsigned>(first % 64);
      const unsigned length = n < 64 - bit ? static_cast<unsigned>(n) : 64 - bit;
      if (!fn(first / 64, mask_of(bit, length))) return false;
      first += length;
      n -= length;
    }
    return true;
  }

  std::size_t population(const Word* words) const noexcept {
    std::size_t sum = 0;
    for (std::size_t w = 0; w < words_; ++w) {
      sum += static_cast<std::size_t>(std::popcount(words[w].load(std::memory_order_relaxed)));
    }
    return sum;
  }

  Word* taken_ = nullptr;
  Word* dirty_ = nullptr;
  std::size_t words_ = 0;
  std::size_t count_ = 0;
  typename Sync::template Atomic<std::uint64_t> low_{
      0};  // no free granule below this word, perhaps
};

}  // namespace tern::alloc

#endif  // TERN_ALLOC_GRANULES_H_
