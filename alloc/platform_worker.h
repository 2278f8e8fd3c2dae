// A thread of the library's own: it takes turns at a callback, which says how long it may sleep until
// the next. Part of the platform interface (platform.h).
//
// The thread is born with all signals blocked but those that its own faults raise, so that a host's
// handlers run in the host's threads. It sleeps on a word (futex) for a time on the kernel's
// monotonic clock.
//
// Fork. A child has no worker: there stop() waits for nobody, and wake() wakes nobody.
#ifndef TERN_ALLOC_PLATFORM_WORKER_H_
#define TERN_ALLOC_PLATFORM_WORKER_H_

#include <cstdint>

namespace tern::alloc::platform {

class Worker {
 public:
  // A turn answers the nanoseconds to sleep (0: none, but others that are ready to run come first),
  // or kEnd: the thread is over, and stop() will find it so.
  using Turn = std::uint64_t (*)(void* user);
  static constexpr std::uint64_t kEnd = ~std::uint64_t{0};

  Worker() = default;
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  ~Worker() { stop(); }

  // False: no memory, or the system refused (Site::kStartThread). `name`, of at most 15 bytes, is what
  // the system's tools show. Once in a life.
  bool start(Turn turn, void* user, const char* name) noexcept;

  // From any thread but concurrently with start() and stop(): the sleep that it is in, or the next
  // one, is over at once.
  void wake() noexcept;

  // The turn that runs comes to its end, no other begins, and the thread is gone. Not to be called on
  // the worker itself. Idempotent; nothing if it never started.
  void stop() noexcept;

  // On the worker itself, inside a turn, once start() has returned: nobody will stop it; when the turn is
  // over the thread goes
  // by itself, and touches neither this object nor `user` any more.
  void abandon() noexcept;

  // Whether the calling thread is this worker.
  bool is_current() const noexcept;

 private:
  struct Control;
  static void* run(void* control) noexcept;

  Control* control_ = nullptr;  // what outlives an abandoned worker
};

}  // namespace tern::alloc::platform

#endif  // TERN_ALLOC_PLATFORM_WORKER_H_
