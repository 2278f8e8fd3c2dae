// Dispatcher: changes by callback, on a thread of its own, within Store::tick(), or where the program calls dispatch().
//
//   auto dispatcher = tern::Dispatcher::open(store);
//   auto flags = dispatcher->on_prefix("flag:", [&](const tern::Change& c) { reload(c.key, c.value); });
//   auto limits = dispatcher->add(*store.watch_key("limits", {.initial = true}), [&](const tern::Change& c) { ... });
//
// One callback at a time. It may call the store, subscribe, cancel any subscription, its own too, and end the dispatcher;
// it mustn't throw. A change's bytes are good until it returns. A slow callback makes its dispatcher's watches late, then sees
// gaps: it never holds up a writer.
//
// What on_key, on_prefix, on_glob and on_regex want is compiled together (watch_set.h): ten thousand of them cost what one does. A
// gap is told to each of them. add() takes a watch with options of its own (initial contents, a token, what it was before);
// each of those is polled for itself.
#ifndef TERN_DISPATCHER_H_
#define TERN_DISPATCHER_H_

#include <tern/store.h>
#include <tern/watch.h>
#include <tern/watch_set.h>

#include <cstddef>
#include <cstdint>
#include <new>
#include <string_view>
#include <type_traits>
#include <utility>

namespace tern {

class Dispatcher;

namespace detail {

class Dispatch;
struct Listener;

// What is called, and destroyed with its subscription.
class ChangeHandler {
 public:
  virtual ~ChangeHandler() = default;
  virtual void on(const Change& change) noexcept = 0;
};
template <class F>
class ChangeHandlerOf final : public ChangeHandler {
 public:
  explicit ChangeHandlerOf(F&& f) : f_(std::move(f)) {}
  explicit ChangeHandlerOf(const F& f) : f_(f) {}
  void on(const Change& change) noexcept override { f_(change); }

 private:
  F f_;
};

}  // namespace detail

// A callback that is subscribed, as long as this lives. Any thread may cancel it.
class TERN_API Subscription {
 public:
  Subscription() noexcept = default;
  Subscription(Subscription&& other) noexcept : dispatch_(other.dispatch_), listener_(other.listener_) { other.dispatch_ = nullptr; }
  Subscription& operator=(Subscription&& other) noexcept;
  Subscription(const Subscription&) = delete;
  Subscription& operator=(const Subscription&) = delete;
  ~Subscription() { cancel(); }

  // Afterwards the callback isn't called, and isn't running either; if this is called inside a callback of the same dispatcher, the
  // one that runs comes to its end. What the callback holds is destroyed by then, or at the end of the dispatcher's turn. Waits
  // for callbacks of the dispatcher that run: whoever holds a lock that they want must not call it. Idempotent.
  void cancel() noexcept;
  bool is_active() const noexcept { return dispatch_ != nullptr; }

 private:
  friend class Dispatcher;
  Subscription(detail::Dispatch* dispatch, detail::Listener* listener) noexcept : dispatch_(dispatch), listener_(listener) {}

  detail::Dispatch* dispatch_ = nullptr;
  detail::Listener* listener_ = nullptr;
};

enum class DispatchOn : std::uint8_t {
  kThread,  // one of the dispatcher's own
  kCaller,  // whoever calls dispatch(): a game, once a frame
  kTick,    // whoever calls Store::tick(), which ends with it: up to about 1,024 changes, whatever the tick's budget. A tick passes over a
            // dispatcher whose callbacks run on another thread; maintenance's own thread calls nobody
};

class TERN_API Dispatcher {
 public:
  // io: the system refused a thread; out_of_memory; closed.
  static Result<Dispatcher> open(const Store& store, DispatchOn on = DispatchOn::kThread) noexcept;
  // on_key and the like are for keys of this namespace then; add() takes any watch of the store.
  static Result<Dispatcher> open(const Namespace& ns, DispatchOn on = DispatchOn::kThread) noexcept;

  Dispatcher() noexcept = default;
  Dispatcher(Dispatcher&& other) noexcept : dispatch_(other.dispatch_) { other.dispatch_ = nullptr; }
  Dispatcher& operator=(Dispatcher&& other) noexcept;
  Dispatcher(const Dispatcher&) = delete;
  Dispatcher& operator=(const Dispatcher&) = delete;
  ~Dispatcher() { close(); }

  // No callback runs afterwards (but for the one inside of which this is called); subscriptions that are left do nothing, and
  // coroutines that wait go on. When the store is closed, callbacks end too. Idempotent.
  void close() noexcept;
  bool is_open() const noexcept { return dispatch_ != nullptr; }

  // fn(const Change&), copied or moved to the heap. Errors: those of the watch or filter; out_of_memory.
  template <class F>
  Result<Subscription> on_key(std::string_view key, F&& fn) noexcept {
    return on(detail::WatchKind::kKey, key, '.', false, handler(std::forward<F>(fn)));
  }
  template <class F>
  Result<Subscription> on_prefix(std::string_view prefix, F&& fn) noexcept {
    return on(detail::WatchKind::kPrefix, prefix, '.', false, handler(std::forward<F>(fn)));
  }
  template <class F>
  Result<Subscription> on_glob(std::string_view glob, F&& fn, const PatternOptions& options = {}) noexcept {
    return on(detail::WatchKind::kGlob, glob, options.separator, options.fold_case, handler(std::forward<F>(fn)));
  }
  template <class F>
  Result<Subscription> on_regex(std::string_view expression, F&& fn, const RegexOptions& options = {}) noexcept {
    return on(detail::WatchKind::kRegex, expression, '.', options.fold_case, handler(std::forward<F>(fn)));
  }
  // A watch of the same store; it belongs to the dispatcher now.
  template <class F>
  Result<Subscription> add(Watch&& watch, F&& fn) noexcept {
    return add_watch(std::move(watch), handler(std::forward<F>(fn)));
  }

  // call(user) once, as a callback, when a poll of the watch has something; nobody may use the watch until then. `subscription`, which
  // cancels it, is set before that, since the call may come before this returns. What `co_await` is made of (coroutine.h).
  // out_of_memory, closed.
  struct Ready {
    void (*call)(void* user) noexcept = nullptr;
    void* user = nullptr;
    Subscription* subscription = nullptr;
  };
  Error when_ready(Watch& watch, const Ready& ready) noexcept;

  // With kCaller or kTick: calls back for what has happened, up to about `changes` of them; how many it was. Otherwise, and inside a
  // callback, 0.
  std::size_t dispatch(std::size_t changes = 1024) noexcept;

 private:
  friend class detail::Dispatch;
  static Subscription subscription(detail::Dispatch* dispatch, detail::Listener* listener) noexcept { return {dispatch, listener}; }
  explicit Dispatcher(detail::Dispatch* dispatch) noexcept : dispatch_(dispatch) {}
  template <class F>
  static detail::ChangeHandler* handler(F&& fn) noexcept {
    return new (std::nothrow) detail::ChangeHandlerOf<std::decay_t<F>>(std::forward<F>(fn));
  }
  Result<Subscription> on(detail::WatchKind kind, std::string_view text, char separator, bool fold_case,
                          detail::ChangeHandler* handler) noexcept;
  Result<Subscription> add_watch(Watch&& watch, detail::ChangeHandler* handler) noexcept;

  detail::Dispatch* dispatch_ = nullptr;
};

}  // namespace tern

#endif  // TERN_DISPATCHER_H_
