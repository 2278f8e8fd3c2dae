// Changes by co_await, for programs whose compiler has coroutines (C++20); needs neither exceptions nor run-time types.
//
//   Task follow(tern::Store store, tern::Dispatcher& dispatcher) {
//     tern::Watch watch = std::move(*store.watch_prefix("session:"));
//     tern::Change changes[64];
//     for (;;) {
//       const auto n = co_await tern::next_changes(dispatcher, watch, changes);
//       if (!n) co_return;
//       for (const tern::Change& c : std::span(changes).first(*n)) ...
//     }
//   }
//
// The coroutine goes on where its executor says: a callable that gets the handle and resumes it, or hands it to somebody who will.
// Without one it goes on inside the dispatcher, as a callback does. A coroutine that is destroyed while it waits is taken off the
// dispatcher; one whose handle an executor already has is the executor's to account for.
#ifndef TERN_COROUTINE_H_
#define TERN_COROUTINE_H_

#include <tern/dispatcher.h>

#include <coroutine>
#include <cstddef>
#include <span>
#include <utility>

namespace tern {

// Goes on at once, on the thread of whoever found something.
struct ResumeInline {
  void operator()(std::coroutine_handle<> coroutine) const noexcept { coroutine.resume(); }
};

// Of next_changes(); lives in the coroutine that waits.
template <class Executor>
class NextChanges {
 public:
  NextChanges(Dispatcher& dispatcher, Watch& watch, std::span<Change> out, Executor executor) noexcept
      : dispatcher_(dispatcher), watch_(watch), out_(out), executor_(std::move(executor)) {}
  NextChanges(const NextChanges&) = delete;
  NextChanges& operator=(const NextChanges&) = delete;

  bool await_ready() noexcept {
    polled_ = watch_.poll(out_);
    return !polled_.ok() || *polled_ != 0;
  }
  bool await_suspend(std::coroutine_handle<> coroutine) noexcept {
    coroutine_ = coroutine;
    // The dispatcher may resume, and so destroy, this before when_ready() returns: what it answers is kept where that does no harm.
    Dispatcher::Ready ready{&NextChanges::resume, this, &subscription_};
    const Error error = dispatcher_.when_ready(watch_, ready);
    if (error.status == Status::kOk) return true;
    polled_ = error;
    return false;
  }
  // closed, view_expired (watch.h); what when_ready() answers. Never 0 changes but after an executor's call out of turn.
  Result<std::size_t> await_resume() noexcept {
    if (!polled_.ok() || *polled_ != 0) return polled_;
    return watch_.poll(out_);
  }

 private:
  static void resume(void* self) noexcept {
    auto& me = *static_cast<NextChanges*>(self);
    me.executor_(me.coroutine_);
  }

  Dispatcher& dispatcher_;
  Watch& watch_;
  std::span<Change> out_;
  Executor executor_;
  std::coroutine_handle<> coroutine_;
  Subscription subscription_;
  Result<std::size_t> polled_{std::size_t{0}};
};

// Awaits the next changes of the watch: up to out.size(), at least one, or an error. The changes are good until the next poll.
template <class Executor = ResumeInline>
NextChanges<Executor> next_changes(Dispatcher& dispatcher, Watch& watch, std::span<Change> out, Executor executor = {}) noexcept {
  return NextChanges<Executor>(dispatcher, watch, out, std::move(executor));
}

}  // namespace tern

#endif  // TERN_COROUTINE_H_
