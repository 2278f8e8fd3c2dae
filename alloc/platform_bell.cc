#include "alloc/platform_bell.h"

#include <climits>

#include <linux/futex.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

namespace tern::alloc::platform {

void Bell::sleep(std::uint32_t seen, std::uint64_t ns) const noexcept {
  static_assert(sizeof(rings_) == sizeof(std::uint32_t), "the kernel looks at the word itself");
  timespec t{};
  t.tv_sec = static_cast<time_t>(ns / 1'000'000'000u);
  t.tv_nsec = static_cast<long>(ns % 1'000'000'000u);
  syscall(SYS_futex, &rings_, FUTEX_WAIT_PRIVATE, seen, &t, nullptr, 0);
}

void Bell::ring() noexcept {
  rings_.fetch_add(1, std::memory_order_seq_cst);  // [bell] seq_cst
  syscall(SYS_futex, &rings_, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}

int open_flag() noexcept { return ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

void raise_flag(int descriptor) noexcept {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(descriptor, &one, sizeof one);  // full: it is raised already
}
void lower_flag(int descriptor) noexcept {
  std::uint64_t count;
  [[maybe_unused]] const auto taken = ::read(descriptor, &count, sizeof count);  // nothing there: it is down already
}
void close_flag(int descriptor) noexcept { ::close(descriptor); }

}  // namespace tern::alloc::platform
