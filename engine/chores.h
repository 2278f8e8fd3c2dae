// Chores: a store's maintenance, cut into steps of bounded work, so that whoever does it can stop between any two of them.
//
//   reclaim   what lies in limbo, but for what busy threads come round to themselves
//   room      evicts while there is less room than there should be
//   shards    each in turn: what has expired; then a split that is due and keys whose versions were kept. Room before each, or
//             writers would make it themselves while maintenance is busy with what has expired
//   sweep     with each shard, while there are invalidation points, or leases that have ended: a slice of what they have killed
//   moves     records out of spans that are to serve other sizes, and the budget's way down; memory is touched that a growing
//             store will want next, if that fits
//
// A round has each of them once, and one step for each shard and half of it. Maintenance goes on until a round finds nothing
// to do. A step does kUnitsMax units at most, whatever has piled up: a unit is a record freed, a bag, victim, ticket, block
// or bucket looked at (Thread::work counts them, where they are done). As a rule it does some 50 of them, in 5 to 10 us; what
// takes longer is the system's (memory touched for the first time, a processor that is wanted elsewhere). Whoever has time
// for few steps goes on where the last one stopped (place()), or what comes first in a round would be all that is ever done.
//
// Any thread, several at once. Lock-free.
#ifndef TERN_ENGINE_CHORES_H_
#define TERN_ENGINE_CHORES_H_

#include <cstdint>

#include "engine/core.h"

namespace tern::detail {

template <class Sync>
class Chores {
 public:
  static constexpr std::uint64_t kUnitsMax = 512;

  // From `place` on; 0: the beginning of a round.
  Chores(Core<Sync>& core, Thread<Sync>& t, unsigned place) noexcept
      : core_(core), thread_(t), left_(core.table.shard_count()) {
    if (planted<Sync>(Mutant::kChoresFromTheStart)) place = 0;
    const unsigned shards = left_;
    shard_ = place / kNexts % shards;
    left_ = shards - place / kNexts / shards % (shards + 1);
    next_ = static_cast<Next>(place % kNexts);
    whole_ = next_ == Next::kReclaim || planted<Sync>(Mutant::kChoresPartIsWhole);
  }

  // Outside of guards. `fresh_bytes`: memory that it may touch first. True: there was something to do.
  bool step(std::size_t fresh_bytes = 0) noexcept {
    bool worked = false;
    touched_ = false;
    switch (next_) {
      case Next::kReclaim:
        if (reclaims_) worked = reclaims_ = core_.space.epoch.reclaim(core_.space, thread_, kReclaimUnits, false);
        next_ = Next::kRoom;
        break;
      case Next::kRoom:
        worked = core_.maintain_room(thread_);
        next_ = Next::kExpire;
        break;
      case Next::kExpire:
        worked = core_.expire(thread_, shard_, Core<Sync>::kExpireSlice) != 0;
        next_ = Next::kTend;
        break;
      case Next::kTend:
        worked = core_.tend(thread_, shard_);
        shard_ = (shard_ + 1) % core_.table.shard_count();
        --left_;
        next_ = core_.space.points.in_table() != 0 || Leases<Sync>::owes(core_.space) ? Next::kSweep : after_shard();
        break;
      case Next::kSweep:
        worked = core_.sweep_points(thread_, Core<Sync>::kSweptAtOnce);
        if (!worked) worked = core_.sweep_leases(thread_, Core<Sync>::kSweptAtOnce);
        next_ = after_shard();
        break;
      case Next::kMoves:
        worked = core_.pay_room(thread_);
        if (!worked) worked = touched_ = core_.space.heap.touch_ahead(fresh_bytes);
        left_ = core_.table.shard_count();
        next_ = Next::kReclaim;
        over_ = whole_ && !worked && !worked_;
        worked_ = false;
        whole_ = true;
        return worked;
    }
    worked_ = worked_ || worked;
    return worked;
  }
  // A whole round had nothing to do.
  bool is_over() const noexcept { return over_; }
  // The last step has touched memory first: its time was the kernel's.
  bool touched() const noexcept { return touched_; }
  unsigned shard() const noexcept { return shard_; }
  // Where the next one is to begin.
  unsigned place() const noexcept {
    const unsigned shards = core_.table.shard_count();
    return ((shards - left_) * shards + shard_) * kNexts + static_cast<unsigned>(next_);
  }

 private:
  enum class Next : std::uint8_t { kReclaim, kRoom, kExpire, kTend, kSweep, kMoves };
  static constexpr unsigned kNexts = 6;
  Next after_shard() const noexcept { return left_ == 0 ? Next::kMoves : Next::kRoom; }
  static constexpr std::uint64_t kReclaimUnits = 64;

  Core<Sync>& core_;
  Thread<Sync>& thread_;
  unsigned shard_ = 0;
  unsigned left_;  // shards of this round
  Next next_ = Next::kReclaim;
  bool whole_ = true;     // this round began with its first step
  bool reclaims_ = true;  // there may be more in limbo
  bool worked_ = false;   // in this round
  bool touched_ = false;
  bool over_ = false;
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_CHORES_H_
