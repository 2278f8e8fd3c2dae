// BlockGate: who brings a block of a snapshot that serves while it is loaded, and who waits for that.
//
//   state   WAITING -> BUSY -> DONE              its records are in the store, or left out
//                           -> FAILED            damaged, for good
//                           -> WAITING           no memory just now
//
// One thread brings a block; others that want it wait until it isn't BUSY. The last block that is DONE is told once, when
// nobody brings any other. A template over the atomics, so that the tests can interleave it; `Bug` plants a mistake there.
//
// Edges
//   arrival   a block's state becoming DONE / looking at it: its records
#ifndef TERN_PERSIST_BLOCK_GATE_H_
#define TERN_PERSIST_BLOCK_GATE_H_

#include <atomic>
#include <cstdint>

namespace tern::persist {

enum class GateBug : std::uint8_t {
  kNone,
  kClaimByStore,   // two that see a block waiting both bring it
  kBusyIsDone,     // a block that another brings is taken for brought
  kDoneFirst,      // it is DONE before its records are there
  kCountedFirst,   // it counts as brought while it is being brought
  kFailedIsDone,   // want of memory is taken for the end of it
};

template <class Sync, GateBug kBug = GateBug::kNone>
class BlockGate {
 public:
  enum State : std::uint8_t { kWaiting, kBusy, kDone, kFailed };
  using Word = typename Sync::template Atomic<std::uint8_t>;

  // Nobody else is here.
  void begin(std::uint64_t blocks) noexcept { left_.store(blocks, std::memory_order_relaxed); }  // as said
  std::uint64_t left() const noexcept { return left_.load(std::memory_order_relaxed); }          // a count

  // The block's state in the end: DONE, FAILED, or WAITING if this call found no memory. `load` brings it and answers
  // the state; `wait` lets others run; `last` is called if this was the last block.
  template <class Load, class Wait, class Last>
  State bring(Word& state, Load&& load, Wait&& wait, Last&& last) noexcept {
    for (;;) {
      std::uint8_t now = state.load(std::memory_order_acquire);  // [arrival] acquire
      if (now == kDone || now == kFailed) return static_cast<State>(now);
      if (kBug == GateBug::kBusyIsDone && now == kBusy) return kDone;
      if (now == kWaiting) {
        if (kBug == GateBug::kClaimByStore) {
          state.store(kBusy, std::memory_order_release);  // [arrival] release
          break;
        }
        if (state.compare_exchange_strong(now, kBusy, std::memory_order_acq_rel)) break;  // [arrival] acquire
      }
      wait();
    }
    if (kBug == GateBug::kDoneFirst) state.store(kDone, std::memory_order_release);  // [arrival] release
    bool is_last = kBug == GateBug::kCountedFirst && count();
    const State now = load();
    state.store(kBug == GateBug::kFailedIsDone && now == kWaiting ? kDone : now, std::memory_order_release);  // [arrival] release
    if (now == kDone && kBug != GateBug::kCountedFirst) is_last = count();
    if (is_last) last();
    return now;
  }

 private:
  bool count() noexcept { return left_.fetch_sub(1, std::memory_order_acq_rel) == 1; }  // [arrival] acq_rel: nobody reads the file any more

  typename Sync::template Atomic<std::uint64_t> left_{0};  // blocks that aren't DONE
};

}  // namespace tern::persist

#endif  // TERN_PERSIST_BLOCK_GATE_H_
