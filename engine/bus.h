// Bus: what a store's watches share: a bell for those who sleep, and the descriptors of those who wait in an epoll loop.
// Rung by a writer that finds `sleepers` set (events.h): then only. And who is called within ticks, and how far each is.
#ifndef TERN_ENGINE_BUS_H_
#define TERN_ENGINE_BUS_H_

#include <atomic>
#include <cstdint>

#include "alloc/platform.h"
#include "alloc/platform_bell.h"
#include "engine/tick_calls.h"
#include "engine/watch_roll.h"

namespace tern::detail {

class Bus {
 public:
  static constexpr unsigned kDescriptorsMax = 64;

  // -1: no room, -2: the system refused.
  int open_descriptor() noexcept {
    const int descriptor = alloc::platform::open_flag();
    if (descriptor < 0) return -2;
    for (auto& d : descriptors_) {
      int none = -1;
      if (d.compare_exchange_strong(none, descriptor, std::memory_order_acq_rel)) return descriptor;  // [descriptor] acq_rel
    }
    alloc::platform::close_flag(descriptor);
    return -1;
  }
  // Whoever is ringing may write to it once more: it is closed when nobody does.
  void close_descriptor(int descriptor) noexcept {
    for (auto& d : descriptors_) {
      int mine = descriptor;
      if (d.compare_exchange_strong(mine, -1, std::memory_order_acq_rel)) break;  // [descriptor] acq_rel
    }
    while (ringing_.load(std::memory_order_seq_cst) != 0) alloc::platform::yield_processor();  // [descriptor] seq_cst
    alloc::platform::close_flag(descriptor);
  }

  void ring() noexcept {
    bell.ring();
    ringing_.fetch_add(1, std::memory_order_seq_cst);  // [descriptor] seq_cst: before the descriptors are read
    for (auto& d : descriptors_) {
      const int descriptor = d.load(std::memory_order_seq_cst);  // [descriptor] seq_cst
      if (descriptor >= 0) alloc::platform::raise_flag(descriptor);
    }
    ringing_.fetch_sub(1, std::memory_order_seq_cst);  // [descriptor] seq_cst
  }

  alloc::platform::Bell bell;
  TickCalls ticks;
  WatchRoll<StdSync> roll;

 private:
  struct Descriptor : std::atomic<int> {
    Descriptor() noexcept : std::atomic<int>(-1) {}
  };
  Descriptor descriptors_[kDescriptorsMax];
  std::atomic<std::uint32_t> ringing_{0};
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_BUS_H_
