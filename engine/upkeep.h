// Upkeep: one word by which whoever leaves work behind tells the thread that does maintenance (keeper.h). Read where work
// appears and at the end of each write; written a few times in a store's life.
//
//   kNobody   there is no such thread: Options::maintenance says so
//   kAsleep   it was never started, or rests: work that appears has to be told
//   kAsked    some appeared: the next write that has left its guard starts or wakes it
//   kAwake    it looks by itself
//
// A hint in both directions: a keeper that goes to rest while work appears, unseen by either side, looks again in a second.
// So it is relaxed, and no policy of atomics sees it.
#ifndef TERN_ENGINE_UPKEEP_H_
#define TERN_ENGINE_UPKEEP_H_

#include <atomic>
#include <cstdint>

namespace tern::detail {

struct Upkeep {
  enum State : std::uint8_t { kNobody, kAsleep, kAsked, kAwake };

  // From anywhere, inside guards too. Lock-free.
  [[gnu::always_inline]] void ask() noexcept {
    if (state.load(std::memory_order_relaxed) != kAsleep) [[likely]] return;  // a hint
    State asleep = kAsleep;
    state.compare_exchange_strong(asleep, kAsked, std::memory_order_relaxed);  // as above
  }
  // Outside of guards.
  [[gnu::always_inline]] void pass_on() noexcept {
    if (state.load(std::memory_order_relaxed) == kAsked) [[unlikely]] answer(keeper);  // a hint
  }

  std::atomic<State> state{kNobody};
  void (*answer)(void* keeper) noexcept = nullptr;
  void* keeper = nullptr;
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_UPKEEP_H_
