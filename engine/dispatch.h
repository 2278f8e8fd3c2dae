// Dispatch: what a Dispatcher has: listeners, the set of filters of those that are compiled together, and turns.
//
// A turn is a poll of everything and the callbacks for what came of it, under `turn_`; so is whatever changes the listeners.
// One callback runs at a time, and who cancels waits for it. Inside a turn the thread has the lock already: what goes there is
// marked dead, no callback of it begins any more, and it is taken apart at the end of the turn, when nobody looks at it.
//
// Who is left last, the dispatcher or a subscription, frees it all.
//
// Edges
//   dispatch   the dispatcher ends / its thread before it sleeps or begins another turn
#ifndef TERN_ENGINE_DISPATCH_H_
#define TERN_ENGINE_DISPATCH_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <string_view>

#include <tern/dispatcher.h>

#include "alloc/platform_worker.h"
#include "engine/store_core.h"

namespace tern::detail {

struct Listener {
  enum class Kind : std::uint8_t { kFilter, kWatch, kReady } kind;
  bool is_dead = false;
  bool is_cancelled = false;  // its subscription is gone
  std::uint32_t filter = 0;
  ChangeHandler* handler = nullptr;  // of kFilter, kWatch
  Watch watch{};                     // of kWatch
  Watch* awaited = nullptr;          // of kReady
  Dispatcher::Ready ready{};
  Listener* next = nullptr;  // of those that are polled one by one
  Listener* previous = nullptr;
  Listener* next_to_sweep = nullptr;
  bool is_to_sweep = false;
};

class Dispatch final : public TickCall {
 public:
  // `context`: the store's, or of one of its namespaces.
  static Result<Dispatch*> open(const Store& store, const Context& context, DispatchOn on) noexcept;

  void close() noexcept;
  void cancel(Listener* listener) noexcept;
  Result<Listener*> on(WatchKind kind, std::string_view text, char separator, bool fold_case, ChangeHandler* handler) noexcept;
  Result<Listener*> add(Watch&& watch, ChangeHandler* handler) noexcept;
  Error when_ready(Watch& watch, const Dispatcher::Ready& ready) noexcept;
  std::size_t dispatch(std::size_t changes) noexcept;
  void drop() noexcept override;
  void hold() noexcept override { users_.fetch_add(1, std::memory_order_relaxed); }  // it is in the list
  void on_tick() noexcept override;

 private:
  static constexpr std::size_t kAtOnce = 64;
  static constexpr std::size_t kTurnChanges = 1024;
  static constexpr std::uint64_t kSleepNs = 100'000'000;  // then it looks by itself: nobody rings for a clock

  // Holds the turn, unless the calling thread does already; at its end what is dead goes.
  class Turn {
   public:
    explicit Turn(Dispatch& dispatch) noexcept;
    // Where it is free.
    Turn(Dispatch& dispatch, std::try_to_lock_t) noexcept;
    ~Turn();
    bool is_inner() const noexcept { return is_inner_; }
    explicit operator bool() const noexcept { return is_mine_; }

   private:
    Dispatch& dispatch_;
    bool is_inner_;
    bool is_mine_ = true;
  };

  Dispatch(const Store& store, const Context& context) noexcept : store_(store), context_(context) {}
  ~Dispatch() = default;
  StoreCore& core() const noexcept { return *context_.core; }
  bool is_inside() const noexcept;
  Result<Listener*> enter(const Listener& as) noexcept;
  bool make_room() noexcept;
  void kill(Listener& listener) noexcept;
  void sweep_later(Listener& listener) noexcept;
  void sweep() noexcept;
  void finish() noexcept;
  void wake() noexcept { core().bus.bell.ring(); }
  std::size_t deliver(std::size_t changes) noexcept;
  std::size_t deliver_set() noexcept;
  std::size_t deliver_watch(Listener& listener) noexcept;
  void end_after_turn() noexcept;
  std::uint64_t idle_ns() noexcept;
  std::uint64_t take_turn() noexcept;
  void sleep() noexcept;

  Store store_;  // a handle
  const Context context_;  // of the namespace whose keys the set's filters are for
  WatchSet set_;
  std::mutex turn_;
  std::atomic<const void*> owner_{nullptr};  // a place of the thread whose turn it is
  std::atomic<std::uint32_t> waiting_{0};    // threads that want a turn
  std::atomic<std::uint32_t> users_{1};
  std::atomic<bool> ends_{false};
  bool ended_inside_ = false;  // close() was called in a turn: its end does the rest
  bool is_finished_ = false;
  DispatchOn on_ = DispatchOn::kCaller;
  Listener* first_ = nullptr;  // that are polled one by one
  Listener* last_ = nullptr;
  Listener* to_sweep_ = nullptr;
  // By a filter's number; and room for as many, for those that a change is for.
  Listener** of_filter_ = nullptr;
  Listener** called_ = nullptr;
  std::size_t filters_room_ = 0;
  Change changes_[kAtOnce];
  alloc::platform::Worker worker_;
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_DISPATCH_H_
