// A file that grows is synchronised again and again by a thread of its own, which sleeps in those calls, so that the sync at the
// end waits for little more than its last piece. That writing has begun (platform::begin_writeback) isn't enough: what a disk took
// into its own cache leaves it when it is told to, half a second a gigabyte on some, and only a sync tells it.
//
// A sync that fails is the file's end: none follows it, and who writes stops. What one of these has missed is the last one's.
#ifndef TERN_PERSIST_EARLY_SYNC_H_
#define TERN_PERSIST_EARLY_SYNC_H_

#include <atomic>
#include <cstdint>

#include "alloc/platform.h"
#include "alloc/platform_worker.h"

namespace tern::persist {

class EarlySync {
 public:
  static constexpr std::uint64_t kBytes = 16 << 20;

  // `stops` is set when a sync has failed. Without a thread, which the system may refuse, the sync at the end does it all.
  void start(alloc::platform::File file, std::atomic<bool>& stops) noexcept {
    file_ = file;
    stops_ = &stops;
    worker_.start([](void* self) noexcept { return static_cast<EarlySync*>(self)->turn(); }, this, "tern-sync");
  }
  // From any of those who write: [at, at + bytes) is in the file now.
  void wrote(std::uint64_t at, std::uint64_t bytes) noexcept {
    if (at / kBytes == (at + bytes) / kBytes) return;
    filled_.store((at + bytes) / kBytes, std::memory_order_relaxed);  // a hint; a lower one that comes late costs a sync
    worker_.wake();
  }
  // When they have ended. The error number of the sync that failed; 0: none did.
  int stop() noexcept {
    worker_.stop();
    return error_;
  }

 private:
  static constexpr std::uint64_t kSleepNs = 1'000'000'000;  // it is woken before

  std::uint64_t turn() noexcept {
    const std::uint64_t filled = filled_.load(std::memory_order_relaxed);  // see wrote
    if (filled == synced_) return kSleepNs;
    synced_ = filled;
    error_ = alloc::platform::sync_file(file_);
    if (error_ == 0) return kSleepNs;
    stops_->store(true, std::memory_order_relaxed);  // a hint: stop() is what is believed
    return alloc::platform::Worker::kEnd;
  }

  alloc::platform::File file_{};
  std::atomic<bool>* stops_ = nullptr;
  std::atomic<std::uint64_t> filled_{0};  // pieces
  std::uint64_t synced_ = 0;              // the thread's own
  int error_ = 0;                         // as above; by stop() it has ended
  alloc::platform::Worker worker_;
};

}  // namespace tern::persist

#endif  // TERN_PERSIST_EARLY_SYNC_H_
