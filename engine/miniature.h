// Miniature: small caches side by side, one for each setting of eviction, that follow a sample of the keys. The setting with
// the fewest misses lately is the one to run.
//
// A cache of C entries behaves like one of C * r entries that sees only the keys whose hash falls below r (Waldspurger et
// al., "Cache Modeling and Optimization using Miniature Simulations", USENIX ATC 2017). What counts is the number of
// entries of the miniature, not the rate: 64, 256, 1,024 and 2,048 of them close 40.0, 41.5, 41.1 and 41.2 % of the gap between LRU
// and the optimum. So a miniature has an eighth of the cache's entries, from 128 to 512: a cache of 32,768 entries
// samples one key in 64, one of ten million one in 20,000, for 90 KiB in all.
//
// The picture: one node for each key that any of them holds. Its state has four bits for each miniature, so that an
// access that finds the key in all of them, which is the ordinary one, is one look-up and one addition.
//
//   bucket[hash] ──> node  print | state | next      state, for each miniature: 3..2 counter, 1..0 queue (0: not there)
//                     ^
//                     └── number of the node, 16 bits, in the rings of each miniature: small, main
//
// An entry of a ring never goes stale: a key leaves a miniature by its queues alone, and a node is free when it is in none.
//
// Choice: each quarter of a miniature's entries of accesses the misses are summed up with a weight that falls by 1/64 a
// turn. A shorter memory follows noise (a fall by 1/2, 1/4, 1/16, 1/32, 1/64, 1/256 closes 30, 35, 39.8, 40.8, 41.6, 41.4 %); an endless
// one would never learn anew. To replace the present setting another must save a 128th of all accesses or a 64th of the
// misses: where settings are alike a change only disturbs the queues.
//
// Plain memory, no atomics: for one caller at a time (EvictionPolicy's turn). An access costs 9 ns when all hold the
// key, 0.5 us when none does, and ten times as much where the memory isn't in a cache: one set in a thousand would be that slow,
// so the miniatures that miss take the key in one by one, in steps that come with other keys. At most kDuelSteps steps a miniature.
#ifndef TERN_ENGINE_MINIATURE_H_
#define TERN_ENGINE_MINIATURE_H_

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "engine/eviction_rules.h"

namespace tern::detail {

// The atomics policy of memory that one thread at a time uses.
struct PlainSync {
  template <class T>
  class Atomic {
   public:
    constexpr Atomic() noexcept = default;
    constexpr Atomic(T value) noexcept : value_(value) {}
    T load(std::memory_order) const noexcept { return value_; }
    void store(T value, std::memory_order) noexcept { value_ = value; }

   private:
    T value_{};
  };
};

class Miniature {
 public:
  static constexpr std::uint64_t kEntriesMin = 128, kEntriesMax = 512;

  // Entries of a miniature of a cache of so many.
  static constexpr std::uint64_t entries_for(std::uint64_t cache) noexcept {
    const std::uint64_t part = cache / 8;
    const std::uint64_t entries = part < kEntriesMin ? kEntriesMin : part > kEntriesMax ? kEntriesMax : part;
    return cache < entries ? (cache == 0 ? 1 : cache) : entries;
  }

  // Words of memory for miniatures of up to so many entries.
  static constexpr std::size_t words(std::uint64_t entries) noexcept {
    return static_cast<std::size_t>(kEvictionSettingCount * rules_words(entries) + node_count(entries) +
                                    (node_count(entries) + bucket_count(entries) + 3) / 4 +
                                    (2 * kEvictionSettingCount * entries + 3) / 4);
  }

  // `words(entries)` words of zeros, which it keeps.
  void open(std::uint64_t* words, std::uint64_t entries, unsigned setting) noexcept {
    room_ = entries_ = static_cast<std::uint32_t>(entries);
    setting_ = setting;
    for (Cache& cache : caches_) {
      cache.rules.open(reinterpret_cast<PlainSync::Atomic<std::uint64_t>*>(words), entries);
      words += rules_words(entries);
    }
    nodes_ = reinterpret_cast<Node*>(words);
    words += node_count(entries);
    next_ = reinterpret_cast<std::uint16_t*>(words);
    buckets_ = next_ + node_count(entries);
    words += (node_count(entries) + bucket_count(entries) + 3) / 4;
    std::uint16_t* ring = reinterpret_cast<std::uint16_t*>(words);
    for (Cache& cache : caches_) {
      cache.small = Ring{ring, 0, 0};
      cache.main = Ring{ring + entries, 0, 0};
      ring += 2 * entries;
    }
    bucket_mask_ = static_cast<std::uint32_t>(bucket_count(entries) - 1);
    for (std::uint32_t b = 0; b <= bucket_mask_; ++b) buckets_[b] = 0;
  }

  // As many entries from now on, at most as `open` got memory for. Keys that are too many leave one by one.
  void fit(std::uint64_t entries) noexcept {
    const auto fitting = static_cast<std::uint32_t>(entries < room_ ? entries : room_);
    if (fitting == entries_) return;
    entries_ = fitting;
    for (Cache& cache : caches_) cache.rules.fit(fitting);
  }

  // A key of the sample was asked for. The setting to run from now on. What those that don't have the key have to do is left
  // to step(), one at a time, and to the next access.
  unsigned access(std::uint64_t hash) noexcept {
    while (owes()) step();
    if (turn_ >= turn_length()) choose();
    ++turn_;
    const auto print = static_cast<std::uint32_t>(remixed(hash) >> 16);
    std::uint16_t& bucket = buckets_[(print * 0x9E37'79B1u >> 16) & bucket_mask_];
    std::uint16_t number = bucket;
    while (number != 0 && nodes_[number].print != print) number = next_[number];
    if (number == 0) {
      number = free_;
      if (number != 0) {
        free_ = next_[number];
      } else {
        number = static_cast<std::uint16_t>(++fresh_);
      }
      nodes_[number] = {print, 0};
      next_[number] = bucket;
      bucket = number;
    }
    Node& node = nodes_[number];
    const std::uint32_t there = (node.state | node.state >> 1) & kOnes;
    const std::uint32_t full = node.state >> 2 & node.state >> 3 & kOnes;
    node.state += (there & ~full) << 2;
    missing_ = kOnes & ~there;
    missed_ = number;
    expect_step();
    return setting_;
  }

  // One of those that don't have the key yet takes it in.
  bool owes() const noexcept { return missing_ != 0; }
  void step() noexcept {
    const auto i = static_cast<unsigned>(std::countr_zero(missing_)) / 4;
    missing_ &= missing_ - 1;
    miss(i, missed_);
    expect_step();
  }

  unsigned setting() const noexcept { return setting_; }
  // Misses lately, weighted, in parts of the accesses lately, times 2^16.
  std::uint64_t miss_ratio(unsigned setting) const noexcept {
    return weight_ == 0 ? 0 : (caches_[setting].score << 16) / weight_;
  }

 private:
  static_assert(kEvictionSettingCount <= 8, "four bits each fill a state of 32");
  static constexpr std::uint32_t kOnes = 0x1111'1111u >> 4 * (8 - kEvictionSettingCount);
  static constexpr std::uint64_t kPoint = 256;      // scores are in parts of 1/256
  static constexpr unsigned kDecayShift = 6;        // a 64th a turn
  static constexpr unsigned kAllShift = 7;          // the margin: a 128th of all accesses,
  static constexpr unsigned kMissesShift = 6;       // or a 64th of the misses
  static constexpr std::uint32_t kTurnMin = 64;

  struct Node {
    std::uint32_t print, state;
  };
  static_assert(sizeof(Node) == sizeof(std::uint64_t), "a node is a word");

  struct Ring {
    std::uint16_t* at;
    std::uint32_t head, size;
  };

  struct Cache {
    EvictionRules<PlainSync> rules;
    Ring small{}, main{};
    std::uint64_t score = 0;
    std::uint32_t misses = 0;
  };

  static constexpr std::uint64_t rules_words(std::uint64_t entries) noexcept {
    return EvictionRules<PlainSync>::words(entries);
  }
  // Number 0 is none; one more than all of them can hold, for the key that is entering.
  static constexpr std::uint64_t node_count(std::uint64_t entries) noexcept {
    return kEvictionSettingCount * entries + 2;
  }
  static_assert(kEvictionSettingCount * kEntriesMax + 2 < 65'536, "a node's number has 16 bits");
  static constexpr std::uint64_t bucket_count(std::uint64_t entries) noexcept {
    std::uint64_t count = 64;
    while (count < 2 * entries) count *= 2;
    return count;
  }

  std::uint32_t turn_length() const noexcept { return entries_ / 4 < kTurnMin ? kTurnMin : entries_ / 4; }

  // What the rules take for a hash: all bits depend on the print.
  static std::uint64_t hash_of(const Node& node) noexcept {
    const std::uint64_t mixed = (std::uint64_t{node.print} + 1) * 0xD6E8'FEB8'6659'FD93u;
    return mixed ^ mixed >> 32;
  }

  void push(Ring& ring, std::uint16_t number) noexcept {
    std::uint32_t at = ring.head + ring.size++;
    if (at >= room_) at -= room_;
    ring.at[at] = number;
  }
  std::uint16_t pop(Ring& ring) noexcept {
    const std::uint16_t number = ring.at[ring.head];
    if (++ring.head == room_) ring.head = 0;
    --ring.size;
    return number;
  }
  // Back to the head, from which it was just taken.
  void unpop(Ring& ring, std::uint16_t number) noexcept {
    ring.head = ring.head == 0 ? room_ - 1 : ring.head - 1;
    ring.at[ring.head] = number;
    ++ring.size;
  }

  unsigned counter(unsigned i, std::uint16_t number) const noexcept { return nodes_[number].state >> (4 * i + 2) & 3; }
  void set(unsigned i, std::uint16_t number, unsigned queue, unsigned access) noexcept {
    std::uint32_t& state = nodes_[number].state;
    state = (state & ~(15u << 4 * i)) | (queue | access << 2) << 4 * i;
  }
  void enter(unsigned i, std::uint16_t number, EvictionQueue queue, unsigned access) noexcept {
    const bool small = queue == EvictionQueue::kSmall;
    set(i, number, small ? 1 : 2, access);
    push(small ? caches_[i].small : caches_[i].main, number);
  }

  void expect_step() const noexcept {
    if (owes()) caches_[std::countr_zero(missing_) / 4].rules.prefetch(hash_of(nodes_[missed_]));
  }
  void miss(unsigned i, std::uint16_t number) noexcept {
    Cache& cache = caches_[i];
    ++cache.misses;
    const EvictionQueue queue = cache.rules.missed(kEvictionSettings[i], hash_of(nodes_[number]));
    while (cache.small.size + cache.main.size >= entries_) make_room(i);
    enter(i, number, queue, 0);
  }

  // One step: a key leaves, or changes its queue.
  void make_room(unsigned i) noexcept {
    Cache& cache = caches_[i];
    const EvictionSetting setting = kEvictionSettings[i];
    if (EvictionRules<PlainSync>::next(setting, cache.small.size, cache.main.size) == EvictionQueue::kMain) {
      const std::uint16_t number = pop(cache.main);
      const EvictionVerdict verdict = cache.rules.leave_main(hash_of(nodes_[number]), counter(i, number));
      if (verdict.kind == EvictionVerdict::kEvict) return leave(i, number);
      return enter(i, number, EvictionQueue::kMain, verdict.access);
    }
    const std::uint16_t number = pop(cache.small);
    const EvictionVerdict verdict = EvictionRules<PlainSync>::leave_small(setting, counter(i, number),
                                                                          cache.small.size, cache.main.size);
    if (verdict.kind == EvictionVerdict::kPromote) return enter(i, number, EvictionQueue::kMain, verdict.access);
    if (verdict.kind == EvictionVerdict::kDuel && duel(i, number))
      return enter(i, number, EvictionQueue::kMain, verdict.access);
    leave(i, number);
  }

  // Whether the key takes the place of one in main, which has left then.
  bool duel(unsigned i, std::uint16_t number) noexcept {
    Cache& cache = caches_[i];
    for (unsigned step = 0; step < kDuelSteps; ++step) {
      const std::uint16_t victim = pop(cache.main);
      const std::uint64_t hash = hash_of(nodes_[victim]);
      const EvictionVerdict verdict = cache.rules.leave_main(hash, counter(i, victim));
      if (verdict.kind == EvictionVerdict::kAgain) {
        enter(i, victim, EvictionQueue::kMain, verdict.access);
        continue;
      }
      if (cache.rules.wins(hash_of(nodes_[number]), counter(i, number), hash)) {
        leave(i, victim);
        return true;
      }
      unpop(cache.main, victim);
      return false;
    }
    return false;
  }

  void leave(unsigned i, std::uint16_t number) noexcept {
    Node& node = nodes_[number];
    caches_[i].rules.evicted(hash_of(node));
    set(i, number, 0, 0);
    if (node.state != 0) return;
    std::uint16_t* link = &buckets_[(node.print * 0x9E37'79B1u >> 16) & bucket_mask_];
    while (*link != number) link = &next_[*link];
    *link = next_[number];
    next_[number] = free_;
    free_ = number;
  }

  void choose() noexcept {
    weight_ += turn_ * kPoint - (weight_ >> kDecayShift);
    turn_ = 0;
    unsigned best = setting_;
    for (unsigned i = 0; i < kEvictionSettingCount; ++i) {
      Cache& cache = caches_[i];
      cache.score += cache.misses * kPoint - (cache.score >> kDecayShift);
      cache.misses = 0;
    }
    for (unsigned i = 0; i < kEvictionSettingCount; ++i) {
      if (caches_[i].score < caches_[best].score) best = i;
    }
    const std::uint64_t now = caches_[setting_].score;
    const std::uint64_t of_all = weight_ >> kAllShift, of_misses = now >> kMissesShift;
    if (caches_[best].score + (of_all < of_misses ? of_all : of_misses) < now) setting_ = best;
  }

  Cache caches_[kEvictionSettingCount];
  Node* nodes_ = nullptr;
  std::uint16_t* next_ = nullptr;
  std::uint16_t* buckets_ = nullptr;
  std::uint64_t weight_ = 0;
  std::uint32_t room_ = 0, entries_ = 0, bucket_mask_ = 0, turn_ = 0, fresh_ = 0;
  std::uint16_t free_ = 0;
  unsigned setting_ = 0;
  // The key that was asked for last, and who has still to take it in. It is in none of their queues, so nobody frees its node.
  std::uint32_t missing_ = 0;
  std::uint16_t missed_ = 0;
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_MINIATURE_H_
