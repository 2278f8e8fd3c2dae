// YieldingSteps: threads that give way at some of the library's steps, so that their calls overlap on few processors too.
// For programs that are linked with the library whose steps are visible (tern_sync_points).
#ifndef TERN_TESTS_ENGINE_API_YIELDING_STEPS_H_
#define TERN_TESTS_ENGINE_API_YIELDING_STEPS_H_

#include <atomic>
#include <cstdint>
#include <thread>

#include "alloc/sync.h"

namespace tern::test {

// Threads yield while one of these lives. There is one at a time.
class YieldingSteps {
 public:
  static constexpr unsigned kThreadsMax = 9;

  YieldingSteps() { detail::StdSync::hook = &pass; }
  ~YieldingSteps() { detail::StdSync::hook = nullptr; }
  YieldingSteps(const YieldingSteps&) = delete;
  YieldingSteps& operator=(const YieldingSteps&) = delete;

  // Each thread sets its own: which of kThreadsMax it is, and a state of its random numbers; 0: it passes every step.
  static inline thread_local unsigned own_slot = 0;
  static inline thread_local std::uint32_t state = 0;
  static inline std::atomic<unsigned> acting{0};  // threads with calls still to make

 private:
  // The steps that each thread has passed. Each writes its own with a plain store: a locked instruction at every step would
  // be a fence that the library doesn't have.
  struct alignas(64) StepCount {
    std::atomic<std::uint64_t> passed;  // 0: they are static
  };
  static inline StepCount steps_[kThreadsMax];

  static std::uint64_t steps_of_others() {
    std::uint64_t sum = 0;
    for (unsigned t = 0; t < kThreadsMax; ++t) {
      if (t != own_slot) sum += steps_[t].passed.load(std::memory_order_relaxed);
    }
    return sum;
  }

  // At some steps a thread gives way until another has passed one: a single yield would hand the processor to whatever else
  // the machine runs, and on a busy one calls would not overlap. Not for ever, as the others may be waiting for what this
  // thread holds.
  static void pass(const char*) {
    if (state == 0) return;
    auto& own = steps_[own_slot].passed;
    own.store(own.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    if (state % 3 != 0) return;
    const std::uint64_t before = steps_of_others();
    for (unsigned patience = 50; patience != 0; --patience) {
      std::this_thread::yield();
      if (acting.load(std::memory_order_relaxed) < 2 || steps_of_others() != before) return;
    }
  }
};

}  // namespace tern::test

#endif  // TERN_TESTS_ENGINE_API_YIELDING_STEPS_H_
