#include "engine/keeper.h"

#include "alloc/platform.h"
#include "engine/store_core.h"

namespace tern::detail {

using alloc::platform::Worker;

void Keeper::open() noexcept {
  Upkeep& upkeep = store_.core.space.upkeep;
  upkeep.answer = [](void* keeper) noexcept { static_cast<Keeper*>(keeper)->answer(); };
  upkeep.keeper = this;
  upkeep.state.store(Upkeep::kAsleep, std::memory_order_release);  // [keeper] release
}

// One of those that find it asked for gets past the swap.
void Keeper::answer() noexcept {
  auto& state = store_.core.space.upkeep.state;
  Upkeep::State asked = Upkeep::kAsked;
  if (!state.compare_exchange_strong(asked, Upkeep::kAwake, std::memory_order_acquire)) return;  // [keeper] acquire
  if (started_) return worker_.wake();
  const std::uint64_t now = alloc::platform::monotonic_ns();
  if (now >= next_start_ns_) {
    started_ = true;  // before the thread is there: it may go to rest before this one runs again
    const auto turn = [](void* keeper) noexcept { return static_cast<Keeper*>(keeper)->take_turn(); };
    if (worker_.start(turn, this, "tern keeper")) return;
    started_ = false;
    next_start_ns_ = now + Pace<StdSync>::kRestNs;
    if (failed_starts_.fetch_add(1, std::memory_order_relaxed) == 0) {  // statistics
      store_.log("no thread for maintenance: writes do what they can; tick() does the rest");
    }
  }
  state.store(Upkeep::kAsleep, std::memory_order_release);  // [keeper] release
}

bool Keeper::stop() noexcept {
  if (worker_.is_current()) {
    store_is_over_ = true;
    store_.core.space.removal_hook = {};  // nobody else is inside, and what it is called with may be gone
    return false;
  }
  worker_.stop();
  return true;
}

std::uint64_t Keeper::take_turn() noexcept {
  if (store_.is_closed()) return Worker::kEnd;
  auto* thread = store_.thread();
  if (thread == nullptr) return Pace<StdSync>::kPauseNsMax;  // no memory for it now
  turns_.fetch_add(1, std::memory_order_relaxed);  // statistics
  StoreCore::Ticked done;
  std::uint64_t took_ns = 0;
  {
    const std::lock_guard<std::mutex> lock(turn_);
    // Its own time: a turn that had to wait for a processor hasn't done more.
    const std::uint64_t begin_ns = alloc::platform::thread_cpu_ns();
    done = store_.tick(*thread, alloc::platform::monotonic_ns() + Pace<StdSync>::kTickNs, true);
    took_ns = alloc::platform::thread_cpu_ns() - begin_ns;
  }
  if (store_is_over_) {
    worker_.abandon();
    store_.let_go();  // and with it, as a rule, this object
    return Worker::kEnd;
  }
  return pause_after({done.worked, done.out_of_time, done.worked || store_.is_watching(), took_ns});
}

std::uint64_t Keeper::pause_after(const Pace<StdSync>::Turn& turn) noexcept {
  auto& state = store_.core.space.upkeep.state;
  if (turn.worked || turn.watches) {
    // Woken by nobody, perhaps.
    if (state.load(std::memory_order_relaxed) == Upkeep::kAsleep) {  // its own, but for a hint
      state.store(Upkeep::kAwake, std::memory_order_relaxed);        // as above
    }
  }
  const auto next = pace_.after(turn);
  if (next.rests) {
    Upkeep::State awake = Upkeep::kAwake;
    state.compare_exchange_strong(awake, Upkeep::kAsleep, std::memory_order_release,  // [keeper] release
                                  std::memory_order_relaxed);
  }
  return next.pause_ns;
}

}  // namespace tern::detail
