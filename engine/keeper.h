// Keeper: the thread that does a store's maintenance, so that nobody has to call tick(). One a store, started when there is
// something to look after for the first time (a deadline, a budget that is nearly used up, a write that found no room, a budget
// that is to sink, a write that had to wait for fresh memory once 8 MiB are in use): a store that holds a few entries for ever costs no thread.
//
// It takes turns (pace.h): a tick of kTickNs at most, then sleep. A turn that used its time up is followed by as long a pause: at most
// half a processor, whatever is owed, and callers that are short of room do their own share. A turn that did little is
// followed by twice the last pause, up to 16 ms, one that used three quarters of its time by half of it, down to a millisecond: where all
// processors are busy each turn makes somebody wait, and how many wait, not how long, is what the slowest thousandth of all sets
// shows (of sets in a full store beside 650 turns a second of 170 us, four in ten of these). A turn that found nothing doubles the
// pause too, up to 50 ms. So what has
// expired is reclaimed within 50 ms and the time that it takes. Where no entry has a deadline and nothing is owed for a second, it rests: then
// a write that leaves work wakes it (upkeep.h), and it looks by itself once a second.
//
// Time comes from the store's clock, pauses from the system's: a clock that is moved by hand is seen in the next turn.
//
// Its end. The last handle stops it and waits for its turn, before anything is taken apart. If that handle goes inside a
// turn (in on_removed, on this thread), the turn is finished first, then the store goes, then the thread. In a forked
// child there is no such thread, and nothing to wait for. The system may refuse the thread: that is logged and counted, the store works on
// callers' shares, and the next need, a second later or more, tries again.
//
// Edges
//   keeper   going to rest, a start that failed / starting or waking it: what the last who did so left
#ifndef TERN_ENGINE_KEEPER_H_
#define TERN_ENGINE_KEEPER_H_

#include <atomic>
#include <cstdint>
#include <mutex>

#include "alloc/platform_worker.h"
#include "engine/pace.h"
#include "engine/upkeep.h"

namespace tern::detail {

class StoreCore;

class Keeper {
 public:
  explicit Keeper(StoreCore& store) noexcept : store_(store) {}

  // From now on whoever leaves work asks for it.
  void open() noexcept;

  // False: the calling thread is the keeper's, inside a turn. Then the turn, at its end, lets the store go.
  bool stop() noexcept;

  // While one of these lives, no turn is under way (but for the one that the calling thread is inside of).
  class Pause {
   public:
    explicit Pause(Keeper& keeper) noexcept {
      if (!keeper.worker_.is_current()) lock_ = std::unique_lock<std::mutex>(keeper.turn_);
    }

   private:
    std::unique_lock<std::mutex> lock_;
  };

  std::uint64_t turns() const noexcept { return turns_.load(std::memory_order_relaxed); }              // statistics
  std::uint64_t failed_starts() const noexcept { return failed_starts_.load(std::memory_order_relaxed); }  // as above

 private:
  void answer() noexcept;
  std::uint64_t take_turn() noexcept;
  std::uint64_t pause_after(const Pace<StdSync>::Turn& turn) noexcept;

  StoreCore& store_;
  alloc::platform::Worker worker_;
  // Held for a turn, and by verify(): no read or write of an entry takes it.
  std::mutex turn_;
  // Of whoever moved the upkeep's word to kAwake.
  bool started_ = false;
  std::uint64_t next_start_ns_ = 0;
  // The keeper's own.
  bool store_is_over_ = false;
  Pace<StdSync> pace_;
  std::atomic<std::uint64_t> turns_{0};
  std::atomic<std::uint64_t> failed_starts_{0};
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_KEEPER_H_
