// YieldingSteps: threads that give way at some of the library's steps, so that their calls overlap on few processors too.
// For programs that are linked with the library whose steps are visible (tern_sync_points).
#ifndef TERN_TESTS_ENGINE_API_YIELDING_STEPS_H_
#define TERN_TESTS_ENGINE_API_YIELDING_STEPS_H_

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

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
  static inline std::mutex mutex_;
  static inline std::condition_variable passed_;
  static inline std::atomic<unsigned> waiting_{0};

  static std::uint64_t steps_of_others() {
    std::uint64_t sum = 0;
    for (unsigned t = 0; t < kThreadsMax; ++t) {
      if (t != own_slot) sum += steps_[t].passed.load(std::memory_order_relaxed);
    }
    return sum;
  }

  // At some steps a thread gives way until another has passed one. It sleeps: a yield would hand the processor to whatever else
  // the machine runs, and a busy one would come to nothing else. Not for long, as the others may be waiting for what this thread
  // holds.
  static void pass(const char*) {
    if (state == 0) return;
    auto& own = steps_[own_slot].passed;
    own.store(own.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    if (waiting_.load(std::memory_order_relaxed) != 0) passed_.notify_all();
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    if (state % 3 != 0) return;
    const std::uint64_t before = steps_of_others();
    const auto is_over = [&] { return acting.load(std::memory_order_relaxed) < 2 || steps_of_others() != before; };
    waiting_.fetch_add(1, std::memory_order_relaxed);
    {
      std::unique_lock lock(mutex_);
      passed_.wait_for(lock, std::chrono::microseconds(100), is_over);
    }
    waiting_.fetch_sub(1, std::memory_order_relaxed);
  }
};

}  // namespace tern::test

#endif  // TERN_TESTS_ENGINE_API_YIELDING_STEPS_H_
