// TickCalls: whoever is to be called within Store::tick(): dispatchers without a thread of their own.
//
// Nobody is called under the list's mutex: each is found by its number, held, called and let go. So it may leave, or others may come,
// while it is called.
#ifndef TERN_ENGINE_TICK_CALLS_H_
#define TERN_ENGINE_TICK_CALLS_H_

#include <atomic>
#include <cstdint>
#include <mutex>

namespace tern::detail {

class TickCall {
 public:
  virtual void on_tick() noexcept = 0;
  // It is called, and mustn't be destroyed meanwhile. hold() is under the list's mutex.
  virtual void hold() noexcept = 0;
  virtual void drop() noexcept = 0;

 protected:
  ~TickCall() = default;

 private:
  friend class TickCalls;
  TickCall* next_call_ = nullptr;
  std::uint64_t number_ = 0;
};

class TickCalls {
 public:
  void add(TickCall& call) noexcept {
    const std::lock_guard lock(mutex_);
    TickCall** at = &first_;
    while (*at != nullptr) at = &(*at)->next_call_;
    *at = &call;
    call.number_ = ++last_number_;
    some_.store(true, std::memory_order_relaxed);  // a tick that begins later has a look
  }
  void remove(TickCall& call) noexcept {
    const std::lock_guard lock(mutex_);
    for (TickCall** at = &first_; *at != nullptr; at = &(*at)->next_call_) {
      if (*at != &call) continue;
      *at = call.next_call_;
      break;
    }
    some_.store(first_ != nullptr, std::memory_order_relaxed);  // as above
  }
  // One relaxed load where there is none.
  void call() noexcept {
    if (!some_.load(std::memory_order_relaxed)) [[likely]] return;  // as above
    for (std::uint64_t number = 0; TickCall* const next = take_after(number);) {
      next->on_tick();
      next->drop();
    }
  }

 private:
  // Held; null: there is none.
  TickCall* take_after(std::uint64_t& number) noexcept {
    const std::lock_guard lock(mutex_);
    TickCall* at = first_;
    while (at != nullptr && at->number_ <= number) at = at->next_call_;
    if (at == nullptr) return nullptr;
    number = at->number_;
    at->hold();
    return at;
  }

  std::mutex mutex_;
  TickCall* first_ = nullptr;  // by their numbers
  std::uint64_t last_number_ = 0;
  std::atomic<bool> some_{false};
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_TICK_CALLS_H_
