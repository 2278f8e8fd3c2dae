// A bell that any number of threads sleep on (futex), and descriptors that an epoll loop can wait for (eventfd). Part of
// the platform interface (platform.h). Only who sleeps or rings makes system calls.
#ifndef TERN_ALLOC_PLATFORM_BELL_H_
#define TERN_ALLOC_PLATFORM_BELL_H_

#include <atomic>
#include <cstdint>

namespace tern::alloc::platform {

class Bell {
 public:
  // Before looking whether there is reason to sleep.
  std::uint32_t rung() const noexcept { return rings_.load(std::memory_order_seq_cst); }  // [bell] seq_cst
  // Until it was rung after `seen`, or `ns` have gone by; sometimes earlier.
  void sleep(std::uint32_t seen, std::uint64_t ns) const noexcept;
  void ring() noexcept;

 private:
  std::atomic<std::uint32_t> rings_{0};
};

// A descriptor that is readable once it was raised and until it is lowered; -1: the system refused.
int open_flag() noexcept;
void raise_flag(int descriptor) noexcept;
void lower_flag(int descriptor) noexcept;
void close_flag(int descriptor) noexcept;

}  // namespace tern::alloc::platform

#endif  // TERN_ALLOC_PLATFORM_BELL_H_
