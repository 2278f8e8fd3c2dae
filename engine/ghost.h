// What eviction remembers of keys that are not in the cache: Ghost, the keys that left lately, and Sketch, how often a
// key asked to come in. Both are flat arrays of words, read and written with relaxed loads and stores: two threads that
// meet in one word may lose the other's note, which costs a little of the hit ratio and nothing else. Both hold hints, so
// nothing that they answer may decide whether a read is right.
//
//   Ghost    word     63..48 | 47..32 | 31..16 | 15..0      four fingerprints, the youngest in the lowest place
//   Sketch   block of eight words, one cache line (of the caller's memory, if that begins at one)
//              word 0   63..60 the block's age | fifteen counters of four bits
//              words 1 to 7                      sixteen counters of four bits
//
// Ghost is a queue of the last `entries` keys, cut into words of four: a key's hash picks the word, the oldest of a full
// word falls out. A key stays for four arrivals in its word, `entries` arrivals in the mean. A word's fingerprints are 16 bits:
// one lookup in 16,000 finds a key that was never there. No queue across words is kept, so that there is nothing to
// link, to lock or to sweep.
//
// Sketch is a count-min sketch with conservative update: four counters in one block, the estimate is the least. All
// counts are halved each time that `period` were added. Halving all words at once is a pause, and halving one after the
// other compares a key that was halved with one that wasn't: in a loop over more keys than fit, that alone decides who is
// admitted. So a block carries the number (mod 16) of the halvings that it has had, and makes up for the missing ones when
// it is touched next.
//
// Cost: one cache line each. Who may call: anybody, at any time, but for `open` and `fit`, which one caller at a time may
// call; a note made during `fit` may be lost.
#ifndef TERN_ENGINE_GHOST_H_
#define TERN_ENGINE_GHOST_H_

#include <bit>
#include <cstddef>
#include <cstdint>

#include "alloc/sync.h"

namespace tern::detail {

// The bits of a hash in another order: the table, the shards and the queues use the plain ones.
constexpr std::uint64_t remixed(std::uint64_t hash) noexcept {
  hash *= 0x9E37'79B9'7F4A'7C15u;
  return hash ^ hash >> 32;
}

// A number below n from the upper half of a mixed hash.
constexpr std::uint64_t below(std::uint64_t mixed, std::uint64_t n) noexcept { return (mixed >> 32) * n >> 32; }

template <class Sync>
class Ghost {
 public:
  using Word = typename Sync::template Atomic<std::uint64_t>;
  static constexpr std::uint64_t kEntriesMax = std::uint64_t{1} << 33;

  // Words that a ghost of so many entries needs.
  static constexpr std::size_t words(std::uint64_t entries) noexcept {
    return static_cast<std::size_t>(entries / kPlaces + 1);
  }

  // `words(entries)` words of zeros.
  void open(Word* words, std::uint64_t entries) noexcept {
    words_ = words;
    fit(entries);
  }

  // Remembers `entries` keys from now on, at most as many as there is memory for. What was remembered is lost.
  void fit(std::uint64_t entries) noexcept {
    // Relaxed: a hint; whoever reads the old number puts a note where nobody will look.
    used_.store(words(entries), std::memory_order_relaxed);
  }

  const void* line_of(std::uint64_t hash) const noexcept { return &word_of(remixed(hash)); }

  void insert(std::uint64_t hash) noexcept {
    const std::uint64_t mixed = remixed(hash);
    Word& word = word_of(mixed);
    const std::uint64_t all = word.load(std::memory_order_relaxed);  // relaxed: see the top
    // Only those below the lowest free place move up; if there is none, the oldest falls out.
    const std::uint64_t free = zeros_in(all);
    const unsigned shift = free == 0 ? 64 - kBits : lowest_of(free);
    const std::uint64_t younger = all & ((std::uint64_t{1} << shift) - 1);
    const std::uint64_t older = shift + kBits == 64 ? 0 : all >> (shift + kBits) << (shift + kBits);
    word.store(older | younger << kBits | print_of(mixed), std::memory_order_relaxed);
  }

  // Whether the key is remembered; it is forgotten then.
  bool take(std::uint64_t hash) noexcept {
    const std::uint64_t mixed = remixed(hash), print = print_of(mixed);
    Word& word = word_of(mixed);
    const std::uint64_t all = word.load(std::memory_order_relaxed);  // relaxed: see the top
    const std::uint64_t there = zeros_in(all ^ print * kOnes);
    if (there == 0) [[likely]] return false;
    word.store(all & ~(kMask << lowest_of(there)), std::memory_order_relaxed);
    return true;
  }

 private:
  static constexpr unsigned kBits = 16, kPlaces = 4;
  static constexpr std::uint64_t kMask = 0xFFFF;
  static constexpr std::uint64_t kOnes = 0x0001'0001'0001'0001u;
  static_assert(kBits * kPlaces == 64, "four fingerprints fill a word");

  // Not 0 if a place is zero; then its lowest bit is in the lowest of them.
  static constexpr std::uint64_t zeros_in(std::uint64_t word) noexcept { return (word - kOnes) & ~word & kOnes << (kBits - 1); }
  static constexpr unsigned lowest_of(std::uint64_t zeros) noexcept {
    return static_cast<unsigned>(std::countr_zero(zeros)) / kBits * kBits;
  }

  // Never zero, which is an empty place.
  static constexpr std::uint64_t print_of(std::uint64_t mixed) noexcept {
    const std::uint64_t print = mixed & kMask;
    return print == 0 ? 1 : print;
  }
  Word& word_of(std::uint64_t mixed) const noexcept {
    return words_[below(mixed, used_.load(std::memory_order_relaxed))];
  }

  Word* words_ = nullptr;
  typename Sync::template Atomic<std::size_t> used_{1};
};

template <class Sync>
class Sketch {
 public:
  using Word = typename Sync::template Atomic<std::uint64_t>;
  static constexpr unsigned kCountMax = 15;

  // Sixteen counters an entry.
  static constexpr std::size_t words(std::uint64_t entries) noexcept {
    return static_cast<std::size_t>(blocks(entries) * kBlockWords);
  }

  // `words(entries)` words of zeros.
  void open(Word* words, std::uint64_t entries) noexcept {
    words_ = words;
    fit(entries);
  }

  void fit(std::uint64_t entries) noexcept {
    used_.store(blocks(entries), std::memory_order_relaxed);  // relaxed: a hint
    period_.store(entries * kPeriods + 1, std::memory_order_relaxed);
  }

  const void* line_of(std::uint64_t hash) const noexcept {
    return words_ + below(remixed(hash), used_.load(std::memory_order_relaxed)) * kBlockWords;
  }

  // How often the key was added lately, at most kCountMax.
  unsigned count(std::uint64_t hash) noexcept { return probe(remixed(hash)).least(); }

  void add(std::uint64_t hash) noexcept {
    const Probe at = probe(remixed(hash));
    if (const unsigned least = at.least(); least < kCountMax) {
      // Those that are more keep their word: without a branch for each, which nobody can foresee. Relaxed: see the top; another
      // thread's count may be lost.
      raise(at.first, least), raise(at.second, least), raise(at.third, least), raise(at.fourth, least);
    }
    // Relaxed: a clock that only says when to halve.
    const std::uint64_t added = added_.load(std::memory_order_relaxed) + 1;
    if (added >= period_.load(std::memory_order_relaxed)) {
      added_.store(0, std::memory_order_relaxed);
      age_.store(age_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    } else {
      added_.store(added, std::memory_order_relaxed);
    }
  }

 private:
  static constexpr unsigned kBlockWords = 8, kProbes = 4;
  static constexpr std::uint64_t kPeriods = 10;  // additions between two halvings, for each entry
  static constexpr unsigned kAgeShift = 60;
  static constexpr std::uint64_t kAgeMask = std::uint64_t{15} << kAgeShift;
  static_assert(4 * 15 == kAgeShift, "the first word's last counter is the block's age");

  struct Counter {
    Word* word;
    std::uint64_t all;  // of the word
    unsigned shift;
    unsigned count;
  };
  [[gnu::always_inline]] static void raise(const Counter& c, unsigned least) noexcept {
    c.word->store(c.all + (std::uint64_t{c.count == least} << c.shift), std::memory_order_relaxed);
  }
  struct Probe {
    Counter first, second, third, fourth;
    [[gnu::always_inline]] unsigned least() const noexcept {
      const unsigned a = first.count < second.count ? first.count : second.count;
      const unsigned b = third.count < fourth.count ? third.count : fourth.count;
      return a < b ? a : b;
    }
  };
  static_assert(kProbes == 4);

  static constexpr std::uint64_t blocks(std::uint64_t entries) noexcept { return entries / kBlockWords + 1; }

  // Two words a probe are apart, so the four counters are distinct.
  template <unsigned kProbe>
  [[gnu::always_inline]] static Counter counter_of(Word* block, std::uint64_t bits) noexcept {
    Word* const word = block + 2 * kProbe + (bits >> 8 * kProbe & 1);
    unsigned shift = 4 * (bits >> (8 * kProbe + 1) & 15);
    if (kProbe == 0 && word == block && shift == kAgeShift) shift = 4 * 7;
    const std::uint64_t all = word->load(std::memory_order_relaxed);
    return {word, all, shift, static_cast<unsigned>(all >> shift & 15)};
  }
  [[gnu::always_inline]] Probe probe(std::uint64_t mixed) noexcept {
    Word* const block = words_ + below(mixed, used_.load(std::memory_order_relaxed)) * kBlockWords;
    catch_up(block);
    const std::uint64_t bits = mixed * 0xD6E8'FEB8'6659'FD93u >> 32;
    return {counter_of<0>(block, bits), counter_of<1>(block, bits), counter_of<2>(block, bits), counter_of<3>(block, bits)};
  }

  [[gnu::always_inline]] void catch_up(Word* block) noexcept {
    const std::uint64_t age = age_.load(std::memory_order_relaxed) & 15;
    const std::uint64_t first = block[0].load(std::memory_order_relaxed);
    if (const std::uint64_t behind = (age - (first >> kAgeShift)) & 15; behind != 0) [[unlikely]] halve(block, first, age, behind);
  }
  [[gnu::noinline]] static void halve(Word* block, std::uint64_t first, std::uint64_t age, std::uint64_t behind) noexcept {
    if (behind > 4) behind = 4;  // nothing is left of a count by then
    std::uint64_t keep = 0x1111'1111'1111'1111u * (15u >> behind);
    block[0].store(((first & ~kAgeMask) >> behind & keep) | age << kAgeShift, std::memory_order_relaxed);
    for (unsigned i = 1; i < kBlockWords; ++i)
      block[i].store(block[i].load(std::memory_order_relaxed) >> behind & keep, std::memory_order_relaxed);
  }

  Word* words_ = nullptr;
  typename Sync::template Atomic<std::uint64_t> used_{1}, period_{1}, added_{0}, age_{0};
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_GHOST_H_
