// EvictionPolicy: who makes room. It decides; the queues, the records and the removals are the caller's.
//
//          missed                    counter >= enter, or a duel won
//   key ───────────> small (FIFO) ───────────────────────────────────> main (CLOCK) ──┐ counter > 0: again
//    │ remembered                │ else                                 ^    │   ^────┘
//    └───────────────────────────│──────────────────────────────────────┘    │ counter == 0
//                                └───────────────> out <─────────────────────┘
//                                                   │
//                                                 Ghost: fingerprints of the keys that left
//
// A hit does nothing but raise a two-bit counter in the record while that is below 3 (and, for one key in many, hand the
// key's hash to the miniature simulation). Both queues take keys at the tail and give them at the head, no key ever moves
// within one. A caller runs it like this, with `hash` the key's whole hash and `access` the record's counter:
//
//   a key enters          queue = missed(hash); push(queue, key)
//   room is needed        next(small, main) says which queue gives a key
//     from small          leave_small(hash, access, main_share):
//                           kEvict     remove it, then evicted(hash)
//                           kPromote   counter = 0, push(main)
//                           kDuel      take keys from main until leave_main says kEvict, kDuelSteps at most.
//                                      wins(hash, access, victim's hash): evict the victim, promote this one;
//                                      else put the victim back at main's head and evict this one
//     from main           leave_main(hash, access):
//                           kAgain     counter = the judgement's, push(main)
//                           kEvict     remove it, then evicted(hash)
//
// All calls are wait-free and touch at most two cache lines of the policy's memory; any number of threads may call
// them at once. `open` and `fit` are for one caller at a time.
#ifndef TERN_ENGINE_EVICTION_POLICY_H_
#define TERN_ENGINE_EVICTION_POLICY_H_

#include <cstddef>
#include <cstdint>

#include "alloc/sync.h"
#include "engine/ghost.h"

namespace tern::detail {

inline constexpr unsigned kAccessMax = 3;  // two bits in the record
inline constexpr unsigned kDuelSteps = 64;

enum class EvictionQueue : std::uint8_t { kSmall, kMain };

struct EvictionVerdict {
  enum Kind : std::uint8_t { kEvict, kPromote, kDuel, kAgain } kind;
  std::uint8_t access;  // what the record's counter becomes, unless it is evicted
};

// One of a few ways to run the two queues.
struct EvictionSetting {
  enum Gate : std::uint8_t {
    kLoose,   // main is entered with one hit in the small queue, or when the ghost remembers the key
    kStrict,  // main is entered by winning a duel
    kOpen,    // every key enters main at once: CLOCK, with nothing in the small queue
  } gate;
  std::uint16_t small_permille;  // the small queue's share of all entries
};

inline constexpr EvictionSetting kEvictionSettings[] = {
    {EvictionSetting::kLoose, 100}, {EvictionSetting::kStrict, 100}, {EvictionSetting::kStrict, 10},
    {EvictionSetting::kStrict, 400}, {EvictionSetting::kOpen, 0},
};
inline constexpr unsigned kEvictionSettingCount = sizeof kEvictionSettings / sizeof kEvictionSettings[0];

template <class Sync>
class EvictionPolicy {
 public:
  using Word = typename Sync::template Atomic<std::uint64_t>;
  static constexpr std::uint64_t kEntriesMin = 16;

  // Words of memory that a cache of so many entries needs: about 9 bytes an entry.
  static constexpr std::size_t words(std::uint64_t entries) noexcept {
    return Sketch<Sync>::words(entries) + Ghost<Sync>::words(entries);
  }

  // `words(entries_max)` words of zeros, at a cache line's begin; the caller keeps them. The setting is for tests
  // and for stores that want no other.
  void open(Word* words, std::uint64_t entries_max, unsigned setting = 0) noexcept {
    setting_.store(setting, std::memory_order_relaxed);
    entries_max_ = entries_max;
    sketch_.open(words, entries_max);
    ghost_.open(words + Sketch<Sync>::words(entries_max), entries_max);
    entries_.store(entries_max, std::memory_order_relaxed);  // relaxed: before anybody else looks
  }

  // The cache holds about `entries` now: with a budget in bytes nobody knows before. To be told now and then (by
  // maintenance, or each `entries / 8` evictions); small differences change nothing.
  void fit(std::uint64_t entries) noexcept {
    if (entries < kEntriesMin) entries = kEntriesMin;
    if (entries > entries_max_) entries = entries_max_;
    const std::uint64_t now = entries_.load(std::memory_order_relaxed);  // relaxed: a hint
    if (entries >= now - now / 4 && entries <= now + now / 4) return;
    entries_.store(entries, std::memory_order_relaxed);
    sketch_.fit(entries);
    ghost_.fit(entries);
  }

  // One key in many is followed by the miniature simulation: `offer` its hash at a hit; `missed` does it itself.
  bool sampled(std::uint64_t) const noexcept { return false; }
  void offer(std::uint64_t) noexcept {}

  // A key that wasn't there enters: the queue that takes it.
  EvictionQueue missed(std::uint64_t hash) noexcept {
    sketch_.add(hash);
    const bool remembered = ghost_.take(hash);
    const EvictionSetting::Gate gate = setting().gate;
    const bool enters = gate == EvictionSetting::kOpen || (gate == EvictionSetting::kLoose && remembered);
    return enters ? EvictionQueue::kMain : EvictionQueue::kSmall;
  }

  // Which queue gives the next key, by their lengths (void entries may be counted).
  EvictionQueue next(std::uint64_t small, std::uint64_t main) const noexcept {
    if (main == 0) return EvictionQueue::kSmall;
    return small != 0 && small >= small_share(small + main) ? EvictionQueue::kSmall : EvictionQueue::kMain;
  }

  // `small` and `main`: the lengths without this key.
  EvictionVerdict leave_small(std::uint64_t, unsigned access, std::uint64_t small, std::uint64_t main) const noexcept {
    if (setting().gate != EvictionSetting::kStrict) return {access >= 1 ? EvictionVerdict::kPromote : EvictionVerdict::kEvict, 0};
    const std::uint64_t all = small + main + 1;
    if (main < all - small_share(all)) return {EvictionVerdict::kPromote, 0};  // main isn't full yet
    return {main == 0 ? EvictionVerdict::kEvict : EvictionVerdict::kDuel, 0};
  }

  // A key at the head of main, also one that is sought for a duel.
  EvictionVerdict leave_main(std::uint64_t hash, unsigned access) noexcept {
    if (access == 0) return {EvictionVerdict::kEvict, 0};
    sketch_.add(hash);  // its hits count when the hand passes, since they may not when they happen
    return {EvictionVerdict::kAgain, static_cast<std::uint8_t>(access - 1)};
  }

  // By more than one: the newcomer's miss was counted just now, the victim's last hits perhaps not yet. In a loop over
  // more keys than fit this one count decides between keeping a part of them (0.18 of 0.20 possible) and nothing (0.00).
  bool wins(std::uint64_t hash, unsigned access, std::uint64_t victim) noexcept {
    return sketch_.count(hash) + access > sketch_.count(victim) + 1;
  }

  // The key left to make room, from either queue (not: removed, expired).
  void evicted(std::uint64_t hash) noexcept { ghost_.insert(hash); }

 private:
  const EvictionSetting& setting() const noexcept {
    return kEvictionSettings[setting_.load(std::memory_order_relaxed)];  // relaxed: a number
  }
  std::uint64_t small_share(std::uint64_t all) const noexcept {
    const std::uint64_t share = all * setting().small_permille / 1000;
    return share == 0 ? 1 : share;
  }

  std::uint64_t entries_max_ = 0;
  typename Sync::template Atomic<std::uint64_t> entries_{0};
  typename Sync::template Atomic<std::uint32_t> setting_{0};
  Sketch<Sync> sketch_;
  Ghost<Sync> ghost_;
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_EVICTION_POLICY_H_
