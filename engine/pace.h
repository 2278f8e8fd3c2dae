// Pace: when the keeper takes its next turn, and when it goes to rest. What it decides and why: keeper.h. No clock and no thread,
// so that a test can go through years of it.
//
// One caller, the keeper's thread.
#ifndef TERN_ENGINE_PACE_H_
#define TERN_ENGINE_PACE_H_

#include <algorithm>
#include <cstdint>

#include "alloc/sync.h"

namespace tern::detail {

template <class Sync>
class Pace {
 public:
  static constexpr std::uint64_t kTickNs = 500'000;
  static constexpr std::uint64_t kPauseNsMin = 1'000'000;
  static constexpr std::uint64_t kPauseNsMax = 50'000'000;
  static constexpr std::uint64_t kWorkedPauseNsMax = 16'000'000;  // after a turn that did something
  static constexpr std::uint64_t kRestNs = 1'000'000'000;

  struct Turn {
    bool worked = false;       // it found something to do
    bool out_of_time = false;  // and more than it had time for
    bool watches = false;      // there will be something, which nobody will tell: deadlines, work that is owed
    std::uint64_t took_ns = 0;  // of a processor
  };
  struct Next {
    std::uint64_t pause_ns = 0;
    bool rests = false;  // from now on it has to be woken
  };

  Next after(const Turn& turn) noexcept {
    const bool watches = turn.watches && !planted<Sync>(Mutant::kKeeperRestsWatching);
    if (turn.worked || watches) quiet_ns_ = 0;
    if (turn.worked && !planted<Sync>(Mutant::kKeeperRestsOwed)) {
      if (turn.took_ns > kTickNs / 4 * 3) {
        pause_ns_ = std::max(pause_ns_ / 2, kPauseNsMin);
      } else if (turn.took_ns < kTickNs / 2) {
        pause_ns_ *= 2;
      }
      pause_ns_ = std::min(pause_ns_, kWorkedPauseNsMax);
      const bool at_once = turn.out_of_time && turn.took_ns > kTickNs / 2;
      return {at_once ? (planted<Sync>(Mutant::kKeeperNoPause) ? 0 : kTickNs) : pause_ns_, false};
    }
    const std::uint64_t pause = pause_ns_;
    pause_ns_ = pause * 2 < kPauseNsMax ? pause * 2 : kPauseNsMax;
    if (!planted<Sync>(Mutant::kKeeperNeverRests)) quiet_ns_ += pause;
    if (quiet_ns_ < kRestNs) return {pause, false};
    pause_ns_ = kPauseNsMin;
    return {kRestNs, true};
  }

 private:
  std::uint64_t pause_ns_ = kPauseNsMin;
  std::uint64_t quiet_ns_ = 0;
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_PACE_H_
