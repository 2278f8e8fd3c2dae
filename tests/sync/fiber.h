// A fiber: a stack of its own that the scheduler switches to and from by hand.
//
// Why not std::thread with a baton: a hand-over between threads costs 2 to 5 microseconds, a switch
// here 5 ns, and the explorer makes hundreds of millions. Why not ucontext: swapcontext saves the
// signal mask with a system call on every switch; it remains as the fallback for processors without
// a routine in fiber.cc.
//
// All fibers of a scheduler run on one system thread: code under test must get its per-thread state
// as an argument, not from thread_local variables. Address- and ThreadSanitizer are told about each
// switch.
#ifndef TERN_TESTS_SYNC_FIBER_H_
#define TERN_TESTS_SYNC_FIBER_H_

#include <cstddef>

namespace tern::concurrency {

class Fiber {
 public:
  using Entry = void (*)(void* argument);

  Fiber();                                 // adopts the calling thread's own stack
  explicit Fiber(std::size_t stack_size);  // owns a stack with a guard page below it
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // The next switch to this fiber calls `entry(argument)`, which must not return. What ran on the
  // stack before is abandoned: its destructors don't run.
  void reset(Entry entry, void* argument);

  // Leaves the running fiber `from` for `to`; returns when somebody switches back.
  static void switch_to(Fiber& from, Fiber& to);

 private:
  [[noreturn]] static void start(void* self);

  void* context_ = nullptr;  // stack pointer of a stopped fiber, or the ucontext_t of the fallback
  char* mapping_ = nullptr;
  std::size_t mapping_size_ = 0;
  const void* stack_bottom_ = nullptr;
  std::size_t stack_size_ = 0;
  Entry entry_ = nullptr;
  void* argument_ = nullptr;
  [[maybe_unused]] void* fake_stack_ = nullptr;  // AddressSanitizer's
  [[maybe_unused]] void* tsan_fiber_ = nullptr;  // ThreadSanitizer's
};

}  // namespace tern::concurrency

#endif  // TERN_TESTS_SYNC_FIBER_H_
