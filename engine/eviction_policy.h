// EvictionPolicy: who makes room. It decides, by the rules of eviction_rules.h under the setting that miniature.h finds to
// miss least; the queues, the records and the removals are the caller's.
//
// A hit does nothing but raise a two-bit counter in the record while that is below 3 and, for one key in many, `offer` the
// key's hash. Both queues take keys at the tail and give them at the head; no key moves within one. A caller runs it
// like this, with `hash` the key's whole hash and `access` the record's counter:
//
//   a hit                 if (sampled(hash)) offer(hash)
//   a key enters          queue = missed(hash); push(queue, key)         (an overwrite keeps its place: no call)
//                         while nothing was evicted yet: queue = entered_first(hash), and count(hash) when it comes to the head
//   room is needed        next(small, main) says which queue gives a key
//     from small          leave_small(hash, access, small, main):
//                           kEvict     remove it, then evicted(hash)
//                           kPromote   counter = 0, push(main)
//                           kDuel      take keys from main until leave_main says kEvict, kDuelSteps at most.
//                                      wins(hash, access, victim's hash): evict the victim, promote this one;
//                                      else put the victim back at main's head and evict this one
//     from main           leave_main(hash, access):
//                           kAgain     counter = the verdict's, push(main)
//                           kEvict     remove it, then evicted(hash)
//
// Figures: over the 48 tuning cells 41.6 % of the gap between LRU and the optimum are closed (S3-FIFO 20, W-TinyLFU 26), the
// worst cell is 0.4 points below LRU; bench/README.md has the table, with each trace left out once.
//
// Threads: any number may call anything at once, but for `open`, which comes first. All calls are wait-free. The rules'
// memory is hints in relaxed words. The miniatures are plain memory behind a turn that is tried, never waited for: whoever
// finds it taken drops the sample. A thread that stops inside its turn leaves the cache with the setting that it has.
//
// Edges: `turn` hands the miniatures from one sampler to the next.
#ifndef TERN_ENGINE_EVICTION_POLICY_H_
#define TERN_ENGINE_EVICTION_POLICY_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "alloc/sync.h"
#include "engine/eviction_rules.h"
#include "engine/miniature.h"

namespace tern::detail {

template <class Sync>
class EvictionPolicy {
 public:
  using Word = typename Sync::template Atomic<std::uint64_t>;
  static constexpr std::uint64_t kEntriesMin = 16;

  // Words of memory that a cache of so many entries needs: 10 bytes an entry and up to 90 KiB.
  static constexpr std::size_t words(std::uint64_t entries) noexcept {
    return EvictionRules<Sync>::words(entries) + Miniature::words(Miniature::entries_for(entries));
  }

  // `words(entries_max)` words of zeros, best at a cache line's begin; the caller keeps them. The setting is where it
  // begins.
  void open(Word* words, std::uint64_t entries_max, unsigned setting = 0) noexcept {
    static_assert(sizeof(Word) == sizeof(std::uint64_t), "an atomic word overlays the plain one");
    entries_max_ = entries_max;
    rules_.open(words, entries_max);
    miniature_.open(reinterpret_cast<std::uint64_t*>(words + EvictionRules<Sync>::words(entries_max)),
                    Miniature::entries_for(entries_max), setting);
    // Relaxed: before anybody else looks.
    setting_.store(setting, std::memory_order_relaxed);
    entries_.store(entries_max, std::memory_order_relaxed);
    sample(entries_max);
  }

  // The cache holds about `entries` now: with a budget in bytes nobody knows before. To be told now and then (by
  // maintenance, or each so many evictions); small differences change nothing.
  void fit(std::uint64_t entries) noexcept {
    if (entries < kEntriesMin) entries = kEntriesMin;
    if (entries > entries_max_) entries = entries_max_;
    const std::uint64_t now = entries_.load(std::memory_order_relaxed);  // relaxed: a hint
    if (entries >= now - now / 4 && entries <= now + now / 4) return;
    if (!take_turn()) return;  // the next one tells it again
    entries_.store(entries, std::memory_order_relaxed);
    rules_.fit(entries);
    miniature_.fit(Miniature::entries_for(entries));
    sample(entries);
    end_turn();
  }

  // Whether the miniatures follow this key. For the path of a hit: one load of a word that hardly ever changes.
  bool sampled(std::uint64_t hash) const noexcept {
    return (hash * 0xA24B'AED4'963E'E407u) >> 32 < sample_below_.load(std::memory_order_relaxed);  // relaxed: a number
  }

  // A sampled key was hit.
  void offer(std::uint64_t hash) noexcept {
    if (!take_turn()) return;
    const unsigned setting = miniature_.access(hash);
    if (setting != setting_.load(std::memory_order_relaxed)) setting_.store(setting, std::memory_order_relaxed);
    leave_steps();
    end_turn();
  }

  void prefetch(std::uint64_t hash) const noexcept { rules_.prefetch(hash); }
  // `remembered`: it was evicted lately, so that a larger cache would have had it.
  EvictionQueue missed(std::uint64_t hash, bool& remembered) noexcept {
    if (sampled(hash)) {
      offer(hash);
    } else if (steps_.load(std::memory_order_relaxed) != 0) [[unlikely]] {  // a hint
      step();
    }
    return rules_.missed(setting(), hash, remembered);
  }
  EvictionQueue missed(std::uint64_t hash) noexcept {
    bool remembered;
    return missed(hash, remembered);
  }
  // The same before anything was evicted, without touching the rules' memory: nothing is remembered yet. The key is to be
  // counted by `count` when its turn to leave comes.
  EvictionQueue entered_first(std::uint64_t hash) noexcept {
    if (sampled(hash)) offer(hash);
    return EvictionRules<Sync>::entered_first(setting());
  }
  void count(std::uint64_t hash) noexcept { rules_.count(hash); }
  // By the queues' lengths; void entries may be counted.
  EvictionQueue next(std::uint64_t small, std::uint64_t main) const noexcept {
    return EvictionRules<Sync>::next(setting(), small, main);
  }
  // The lengths without this key.
  EvictionVerdict leave_small(std::uint64_t, unsigned access, std::uint64_t small, std::uint64_t main) const noexcept {
    return EvictionRules<Sync>::leave_small(setting(), access, small, main);
  }
  EvictionVerdict leave_main(std::uint64_t hash, unsigned access) noexcept { return rules_.leave_main(hash, access); }
  bool wins(std::uint64_t hash, unsigned access, std::uint64_t victim) noexcept {
    return rules_.wins(hash, access, victim);
  }
  // The key left to make room, from either queue (not: removed, expired).
  void evicted(std::uint64_t hash) noexcept { rules_.evicted(hash); }

  // The number of the setting in kEvictionSettings.
  unsigned setting_number() const noexcept { return setting_.load(std::memory_order_relaxed); }

 private:
  EvictionSetting setting() const noexcept { return kEvictionSettings[setting_number()]; }

  void sample(std::uint64_t entries) noexcept {
    const std::uint64_t all = std::uint64_t{1} << 32;
    const std::uint64_t part = Miniature::entries_for(entries);
    sample_below_.store(part >= entries ? all : all / entries * part, std::memory_order_relaxed);
  }

  // Of what a sampled key owes the miniatures, a part: by a key that isn't sampled.
  [[gnu::noinline]] void step() noexcept {
    if (!take_turn()) return;
    if (miniature_.owes()) miniature_.step();
    leave_steps();
    end_turn();
  }
  void leave_steps() noexcept {
    const std::uint32_t owes = miniature_.owes();
    if (steps_.load(std::memory_order_relaxed) != owes) steps_.store(owes, std::memory_order_relaxed);  // a hint
  }

  bool take_turn() noexcept {
    if (turn_.load(std::memory_order_relaxed) != 0) return false;
    return turn_.exchange(1, std::memory_order_acquire) == 0;  // [turn] acquire
  }
  void end_turn() noexcept { turn_.store(0, std::memory_order_release); }  // [turn] release

  std::uint64_t entries_max_ = 0;
  typename Sync::template Atomic<std::uint64_t> entries_{0}, sample_below_{0};
  typename Sync::template Atomic<std::uint32_t> setting_{0}, steps_{0}, turn_{0};
  EvictionRules<Sync> rules_;
  Miniature miniature_;
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_EVICTION_POLICY_H_
