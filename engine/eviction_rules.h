// EvictionRules: the settings of eviction and what each of them decides. EvictionPolicy runs the rules for the cache,
// Miniature runs them for small copies of it, one for each setting.
//
//          missed                    one hit (loose), a duel won (strict)
//   key ───────────> small (FIFO) ───────────────────────────────────> main (CLOCK) ──┐ counter > 0: again
//    │ remembered (loose),       │ else                                 ^    │   ^────┘
//    │ or always (open)          │                                      │    │ counter == 0
//    └───────────────────────────│──────────────────────────────────────┘    │
//                                └───────────────> out <─────────────────────┘
//                                                   │
//                                                 Ghost: fingerprints of the keys that left
//
// No setting is good everywhere. Shares of the gap between LRU and the optimum that are closed, in percent, over the 48 tuning
// cells and over the four kinds of traces that part the settings (bench/README.md says what is measured):
//
//                     all cells   loop   multi2   orm-night   sprite   cloudphysics
//   loose,  10 %          22        0      56       -13         -1         29
//   loose,   1 %          15        0      55       -33        -24         28
//   strict,  1 %          10       98      77       -69       -140         20
//   strict, 10 %          25       89      72       -12        -73         23
//   strict, 25 %          28       75      63        -1        -22         20
//   strict, 40 %          27       60      52        11         -8         16
//   open                   6        0       8        -5          2         -3
//   best in hindsight     44       98      77        28         13         30
//   as chosen             42       98      73        28          6         27
//
// * loose is S3-FIFO's rule. A scan passes through the small queue and leaves main alone; but a loop over more keys than
//   fit never gives a key its second hit, and nothing is kept.
// * strict asks the sketch. A newcomer must have been wanted more often, by more than one, than the key that it would
//   replace. That keeps a part of a loop, and it starves a workload that forgets: each new favourite has to beat counts of
//   the past. The larger the small queue, the more recency it gives back.
// * open is CLOCK: the nearest to LRU that needs no work at a hit. It is there for the workloads that LRU serves best: without
//   it the worst cell loses 3.3 points to LRU instead of 0.4.
// * Five settings (without the second and the fifth) close 40 %. A loose gate at 40 % adds nothing, bypassing main at random
//   loses to the sketch everywhere, one bit of access instead of two costs 2 points.
//
// The first fill of a strict cache goes to main without duels: who came first stays, as in a loop it should. Two details
// decide everything in a loop: that rule, without which main stays empty, and the margin of one in a duel.
#ifndef TERN_ENGINE_EVICTION_RULES_H_
#define TERN_ENGINE_EVICTION_RULES_H_

#include <cstddef>
#include <cstdint>

#include "engine/ghost.h"
#include "engine/prefetch.h"

namespace tern::detail {

inline constexpr unsigned kAccessMax = 3;  // two bits in the record
// Keys that are taken from main to find a victim for one duel; if all of them were hit, the newcomer has lost.
inline constexpr unsigned kDuelSteps = 64;

enum class EvictionQueue : std::uint8_t { kSmall, kMain };

struct EvictionVerdict {
  enum Kind : std::uint8_t { kEvict, kPromote, kDuel, kAgain } kind;
  std::uint8_t access;  // what the record's counter becomes, unless it is evicted
};

struct EvictionSetting {
  enum Gate : std::uint8_t {
    kLoose,   // main is entered with one hit in the small queue, or when the ghost remembers the key
    kStrict,  // main is entered by winning a duel
    kOpen,    // every key enters main at once, the small queue runs empty
  } gate;
  std::uint16_t small_permille;  // the small queue's share of all entries
};

inline constexpr EvictionSetting kEvictionSettings[] = {
    {EvictionSetting::kLoose, 100},  {EvictionSetting::kLoose, 10},   {EvictionSetting::kStrict, 10},
    {EvictionSetting::kStrict, 100}, {EvictionSetting::kStrict, 250}, {EvictionSetting::kStrict, 400},
    {EvictionSetting::kOpen, 0},
};
inline constexpr unsigned kEvictionSettingCount = sizeof kEvictionSettings / sizeof kEvictionSettings[0];

// `hash` is the key's whole hash, or another number of the key that has all bits mixed.
template <class Sync>
class EvictionRules {
 public:
  using Word = typename Sync::template Atomic<std::uint64_t>;

  static constexpr std::size_t words(std::uint64_t entries) noexcept {
    return Sketch<Sync>::words(entries) + Ghost<Sync>::words(entries);
  }

  void open(Word* words, std::uint64_t entries) noexcept {
    sketch_.open(words, entries);
    ghost_.open(words + Sketch<Sync>::words(entries), entries);
  }

  void fit(std::uint64_t entries) noexcept {
    sketch_.fit(entries);
    ghost_.fit(entries);
  }

  // What will be said of the key is on its way.
  void prefetch(std::uint64_t hash) const noexcept {
    prefetch_near(sketch_.line_of(hash));
    prefetch_near(ghost_.line_of(hash));
  }

  // A key that wasn't there enters: the queue that takes it. `remembered`: it had left lately, as far as is known.
  EvictionQueue missed(EvictionSetting setting, std::uint64_t hash, bool& remembered) noexcept {
    sketch_.add(hash);
    remembered = ghost_.take(hash);
    const bool enters = setting.gate == EvictionSetting::kOpen ||
                        (setting.gate == EvictionSetting::kLoose && remembered);
    return enters ? EvictionQueue::kMain : EvictionQueue::kSmall;
  }

  EvictionQueue missed(EvictionSetting setting, std::uint64_t hash) noexcept {
    bool remembered;
    return missed(setting, hash, remembered);
  }

  // What `missed` answers while nothing was evicted yet, but for the counting.
  static EvictionQueue entered_first(EvictionSetting setting) noexcept {
    return setting.gate == EvictionSetting::kOpen ? EvictionQueue::kMain : EvictionQueue::kSmall;
  }
  void count(std::uint64_t hash) noexcept { sketch_.add(hash); }

  // Which queue gives the next key; not an empty one, unless both are.
  static EvictionQueue next(EvictionSetting setting, std::uint64_t small, std::uint64_t main) noexcept {
    if (main == 0) return EvictionQueue::kSmall;
    return small != 0 && small >= share(setting, small + main) ? EvictionQueue::kSmall : EvictionQueue::kMain;
  }

  // A key at the head of the small queue; the lengths without it.
  static EvictionVerdict leave_small(EvictionSetting setting, unsigned access, std::uint64_t small,
                                     std::uint64_t main) noexcept {
    if (setting.gate != EvictionSetting::kStrict)
      return {access >= 1 ? EvictionVerdict::kPromote : EvictionVerdict::kEvict, 0};
    const std::uint64_t all = small + main + 1;
    if (main < all - share(setting, all)) return {EvictionVerdict::kPromote, 0};  // main isn't full yet
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

  void evicted(std::uint64_t hash) noexcept { ghost_.insert(hash); }

 private:
  static constexpr std::uint64_t share(EvictionSetting setting, std::uint64_t all) noexcept {
    const std::uint64_t entries = all * setting.small_permille / 1000;
    return entries == 0 ? 1 : entries;
  }

  Sketch<Sync> sketch_;
  Ghost<Sync> ghost_;
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_EVICTION_RULES_H_
