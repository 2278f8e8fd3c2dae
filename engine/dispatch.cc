#include "engine/dispatch.h"

#include <tern/namespace.h>

#include <algorithm>
#include <new>
#include <utility>

#include "alloc/platform.h"
#include "alloc/private_memory.h"
#include "engine/feed_set.h"

namespace tern {

namespace detail {

namespace {

// Whose address says which thread this is.
thread_local char here;

}  // namespace

bool Dispatch::is_inside() const noexcept { return owner_.load(std::memory_order_relaxed) == &here; }  // only this thread writes this one

Dispatch::Turn::Turn(Dispatch& dispatch) noexcept : dispatch_(dispatch), is_inner_(dispatch.is_inside()) {
  if (is_inner_) return;
  dispatch_.waiting_.fetch_add(1, std::memory_order_relaxed);  // a hint
  dispatch_.turn_.lock();
  dispatch_.waiting_.fetch_sub(1, std::memory_order_relaxed);  // as above
  dispatch_.owner_.store(&here, std::memory_order_relaxed);    // see is_inside()
}
Dispatch::Turn::Turn(Dispatch& dispatch, std::try_to_lock_t) noexcept : dispatch_(dispatch), is_inner_(dispatch.is_inside()) {
  is_mine_ = !is_inner_ && dispatch_.turn_.try_lock();
  if (is_mine_) dispatch_.owner_.store(&here, std::memory_order_relaxed);  // see is_inside()
}
Dispatch::Turn::~Turn() {
  if (is_inner_ || !is_mine_) return;
  dispatch_.sweep();
  dispatch_.owner_.store(nullptr, std::memory_order_relaxed);  // see is_inside()
  dispatch_.turn_.unlock();
}

Result<Dispatch*> Dispatch::open(const Store& store, const Context& context, DispatchOn on) noexcept {
  const Call call(context);
  if (!call.ok()) return call.error();
  void* memory = alloc::private_allocate_aligned(sizeof(Dispatch), alignof(Dispatch));
  if (memory == nullptr) return Status::kOutOfMemory;
  Dispatch* d = new (memory) Dispatch(store, context);
  d->on_ = on;
  const auto turn = [](void* self) { return static_cast<Dispatch*>(self)->take_turn(); };
  if (on == DispatchOn::kThread && !d->worker_.start(turn, d, "tern dispatcher")) {
    d->is_finished_ = true;
    d->drop();
    return Status::kIo;
  }
  if (on == DispatchOn::kTick) d->core().bus.ticks.add(*d);
  return d;
}

void Dispatch::drop() noexcept {
  if (users_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;  // [handle] acq_rel
  alloc::private_free(of_filter_);
  alloc::private_free(called_);
  this->~Dispatch();
  alloc::private_free(this);
}

// By the dispatcher, once.
void Dispatch::close() noexcept {
  if (is_inside()) {
    ended_inside_ = true;
    ends_.store(true, std::memory_order_release);  // [dispatch] release
    if (worker_.is_current()) worker_.abandon();
    return;
  }
  ends_.store(true, std::memory_order_release);  // [dispatch] release
  wake();
  worker_.stop();
  finish();
  drop();
}

// Every listener goes; what is left of them is their subscriptions'. Who waits is told, and finds that there is nothing more.
void Dispatch::finish() noexcept {
  if (on_ == DispatchOn::kTick) core().bus.ticks.remove(*this);
  const Turn turn(*this);
  is_finished_ = true;
  for (std::size_t f = 0; f != filters_room_; ++f) {
    if (of_filter_[f] != nullptr) kill(*of_filter_[f]);
  }
  for (Listener* l = first_; l != nullptr; l = l->next) {
    if (l->is_dead) continue;
    kill(*l);
    if (l->kind == Listener::Kind::kReady) l->ready.call(l->ready.user);
  }
  set_.close();
  store_ = Store();
}

Result<Listener*> Dispatch::enter(const Listener& as) noexcept {
  void* memory = alloc::private_allocate(sizeof(Listener));
  if (memory == nullptr) return Status::kOutOfMemory;
  Listener* l = new (memory) Listener{as.kind};
  l->filter = as.filter;
  l->handler = as.handler;
  l->awaited = as.awaited;
  l->ready = as.ready;
  users_.fetch_add(1, std::memory_order_relaxed);  // the caller is one
  if (l->kind == Listener::Kind::kFilter) return l;
  l->previous = last_;
  (last_ != nullptr ? last_->next : first_) = l;
  last_ = l;
  return l;
}

// For one filter more than there are.
bool Dispatch::make_room() noexcept {
  if (set_.size() < filters_room_) return true;
  const std::size_t to = filters_room_ == 0 ? 16 : filters_room_ * 2;
  auto** of_filter = static_cast<Listener**>(alloc::private_allocate(to * sizeof(Listener*)));
  auto** called = static_cast<Listener**>(alloc::private_allocate(to * sizeof(Listener*)));
  // Inside a callback those that are being called are looked at.
  if (of_filter == nullptr || called == nullptr) {
    alloc::private_free(of_filter);
    alloc::private_free(called);
    return false;
  }
  std::fill(std::copy_n(of_filter_, filters_room_, of_filter), of_filter + to, nullptr);
  std::copy_n(called_, filters_room_, called);
  alloc::private_free(std::exchange(of_filter_, of_filter));
  alloc::private_free(std::exchange(called_, called));
  filters_room_ = to;
  return true;
}

Result<Listener*> Dispatch::on(WatchKind kind, std::string_view text, char separator, bool fold_case, ChangeHandler* handler) noexcept {
  const Turn turn(*this);
  if (is_finished_ || ends_.load(std::memory_order_acquire)) return Status::kClosed;  // [dispatch] acquire
  if (!set_.is_open()) {
    Result<WatchSet> set = WatchSet::open(context_, {});
    if (!set) return set.error();
    set_ = std::move(*set);
  }
  if (!make_room()) return Status::kOutOfMemory;
  Result<std::uint32_t> filter = Status::kInvalidArgument;
  switch (kind) {
    case WatchKind::kKey: filter = set_.add_key(text); break;
    case WatchKind::kPrefix: filter = set_.add_prefix(text); break;
    case WatchKind::kGlob: filter = set_.add_glob(text, {separator, fold_case}); break;
    case WatchKind::kRegex: filter = set_.add_regex(text, {fold_case}); break;
  }
  if (!filter) return filter.error();
  Listener as{Listener::Kind::kFilter};
  as.filter = *filter;
  as.handler = handler;
  const Result<Listener*> l = enter(as);
  if (!l) {
    set_.remove(*filter);
    return l.error();
  }
  of_filter_[*filter] = *l;
  return *l;
}

Result<Listener*> Dispatch::add(Watch&& watch, ChangeHandler* handler) noexcept {
  if (!watch.is_open()) return Status::kClosed;
  const Turn turn(*this);
  if (is_finished_ || ends_.load(std::memory_order_acquire)) return Status::kClosed;  // [dispatch] acquire
  Listener as{Listener::Kind::kWatch};
  as.handler = handler;
  const Result<Listener*> l = enter(as);
  if (!l) return l.error();
  (*l)->watch = std::move(watch);
  if (!turn.is_inner()) wake();
  return *l;
}

Error Dispatch::when_ready(Watch& watch, const Dispatcher::Ready& ready) noexcept {
  if (!watch.is_open()) return {Status::kClosed, Field::kNone};
  const Turn turn(*this);
  if (is_finished_ || ends_.load(std::memory_order_acquire)) return {Status::kClosed, Field::kNone};  // [dispatch] acquire
  Listener as{Listener::Kind::kReady};
  as.awaited = &watch;
  as.ready = ready;
  const Result<Listener*> l = enter(as);
  if (!l) return l.error();
  *ready.subscription = Dispatcher::subscription(this, *l);
  if (!turn.is_inner()) wake();
  return {};
}

// No callback of it begins any more.
void Dispatch::kill(Listener& l) noexcept {
  if (l.is_dead) return;
  l.is_dead = true;
  sweep_later(l);
  if (l.kind != Listener::Kind::kFilter) return;
  set_.remove(l.filter);
  of_filter_[l.filter] = nullptr;
}

void Dispatch::cancel(Listener* l) noexcept {
  {
    const Turn turn(*this);
    kill(*l);
    l->is_cancelled = true;
    sweep_later(*l);
  }
  drop();
}

void Dispatch::sweep_later(Listener& l) noexcept {
  if (l.is_to_sweep) return;
  l.is_to_sweep = true;
  l.next_to_sweep = std::exchange(to_sweep_, &l);
}

// At the end of a turn: what the dead have is destroyed (which may call in here once more), and the cancelled are freed.
void Dispatch::sweep() noexcept {
  while (Listener* l = to_sweep_) {
    delete std::exchange(l->handler, nullptr);
    l->watch.close();
    l->awaited = nullptr;
    if (to_sweep_ != l) continue;  // others have come before it: they go first
    to_sweep_ = l->next_to_sweep;
    l->is_to_sweep = false;
    if (!l->is_cancelled) continue;
    if (l->kind != Listener::Kind::kFilter) {
      (l->previous != nullptr ? l->previous->next : first_) = l->next;
      (l->next != nullptr ? l->next->previous : last_) = l->previous;
    }
    l->~Listener();
    alloc::private_free(l);
  }
}

std::size_t Dispatch::deliver_set() noexcept {
  const Result<std::size_t> some = set_.poll(changes_);
  if (!some) return 0;
  for (std::size_t i = 0; i != *some && !ends_.load(std::memory_order_relaxed); ++i) {  // this thread's own, or soon enough
    const Change& c = changes_[i];
    std::size_t count = 0;
    if (c.kind == ChangeKind::kGap) {
      for (std::size_t f = 0; f != filters_room_; ++f) {
        if (of_filter_[f] != nullptr) called_[count++] = of_filter_[f];
      }
    } else {
      set_.for_each_filter(c, [&](std::uint32_t filter) { called_[count++] = of_filter_[filter]; });
    }
    for (std::size_t k = 0; k != count; ++k) {
      if (!called_[k]->is_dead) called_[k]->handler->on(c);
    }
  }
  return *some;
}

std::size_t Dispatch::deliver_watch(Listener& l) noexcept {
  const Result<std::size_t> some = l.watch.poll(changes_);
  if (!some) {
    if (some.status() == Status::kViewExpired) {
      Change cut;
      cut.kind = ChangeKind::kGap;
      l.handler->on(cut);
    }
    kill(l);
    return 0;
  }
  for (std::size_t i = 0; i != *some && !l.is_dead && !ends_.load(std::memory_order_relaxed); ++i) l.handler->on(changes_[i]);  // as above
  return *some;
}

std::size_t Dispatch::deliver(std::size_t changes) noexcept {
  std::size_t n = 0;
  for (bool more = true; more && n < changes && !ends_.load(std::memory_order_relaxed);) {  // as above
    const std::size_t before = n;
    if (set_.is_open()) n += deliver_set();
    for (Listener* l = first_; l != nullptr && !ends_.load(std::memory_order_relaxed); l = l->next) {  // as above
      if (l->is_dead) continue;
      if (l->kind == Listener::Kind::kWatch) n += deliver_watch(*l);
      if (l->kind != Listener::Kind::kReady) continue;
      const Result<bool> is_ready = l->awaited->wait(std::chrono::milliseconds(0));
      if (is_ready && !*is_ready) continue;
      kill(*l);
      ++n;
      l->ready.call(l->ready.user);
    }
    more = n != before;
  }
  return n;
}

std::size_t Dispatch::dispatch(std::size_t changes) noexcept {
  if (on_ == DispatchOn::kThread || is_inside()) return 0;
  std::size_t n = 0;
  bool ends = false;
  {
    const Turn turn(*this);
    n = deliver(changes);
    ends = std::exchange(ended_inside_, false);
  }
  if (ends) end_after_turn();
  return n;
}
void Dispatch::end_after_turn() noexcept {
  finish();
  drop();
}

void Dispatch::on_tick() noexcept {
  bool ends = false;
  {
    const Turn turn(*this, std::try_to_lock);
    if (!turn || is_finished_) return;
    (void)deliver(kTurnChanges);
    ends = std::exchange(ended_inside_, false);
  }
  if (ends) end_after_turn();
}

std::uint64_t Dispatch::take_turn() noexcept {
  std::size_t n = 0;
  bool ends = false;
  const bool is_last = core().is_closed();  // before: whoever waits is to hear of it
  {
    const Turn turn(*this);
    n = deliver(kTurnChanges);
    ends = ended_inside_;
  }
  if (ends) {
    end_after_turn();
    return alloc::platform::Worker::kEnd;
  }
  if (is_last || ends_.load(std::memory_order_acquire)) return alloc::platform::Worker::kEnd;  // [dispatch] acquire
  if (n == 0) sleep();
  // Who waits for a turn gets one.
  while (waiting_.load(std::memory_order_relaxed) != 0) alloc::platform::yield_processor();  // a hint
  return 0;
}

// How long there may be nothing to do if nobody rings. 0: there is something.
std::uint64_t Dispatch::idle_ns() noexcept {
  const Turn turn(*this);
  std::uint64_t ns = kSleepNs;
  if (set_.is_open() && set_.set_->feed().is_ready()) return 0;
  for (Listener* l = first_; l != nullptr; l = l->next) {
    if (l->is_dead || l->kind == Listener::Kind::kFilter) continue;
    const Watch& w = l->kind == Listener::Kind::kWatch ? l->watch : *l->awaited;
    if (w.feed_ == nullptr || w.feed_->is_ready()) return 0;
    ns = std::min(ns, w.feed_->timer_ns());
  }
  return ns;
}

void Dispatch::sleep() noexcept {
  StoreCore& store = core();
  const std::uint32_t rung = store.bus.bell.rung();
  Events<StdSync>(store.core.space).announce_sleep();
  const std::uint64_t ns = idle_ns();
  if (ns == 0 || ends_.load(std::memory_order_acquire) || store.is_closed()) return;  // [dispatch] acquire
  store.bus.bell.sleep(rung, ns);
}

}  // namespace detail

Subscription& Subscription::operator=(Subscription&& other) noexcept {
  Subscription moved(std::move(other));
  std::swap(dispatch_, moved.dispatch_);
  std::swap(listener_, moved.listener_);
  return *this;
}
void Subscription::cancel() noexcept {
  if (detail::Dispatch* d = std::exchange(dispatch_, nullptr)) d->cancel(listener_);
}

Result<Dispatcher> Dispatcher::open(const Store& store, DispatchOn on) noexcept {
  const Result<detail::Dispatch*> d = detail::Dispatch::open(store, store.context(), on);
  if (!d) return d.error();
  return Result<Dispatcher>(Dispatcher(*d));
}
Result<Dispatcher> Dispatcher::open(const Namespace& ns, DispatchOn on) noexcept {
  const Result<detail::Dispatch*> d = detail::Dispatch::open(ns.store(), ns.context(), on);
  if (!d) return d.error();
  return Result<Dispatcher>(Dispatcher(*d));
}
Dispatcher& Dispatcher::operator=(Dispatcher&& other) noexcept {
  Dispatcher moved(std::move(other));
  std::swap(dispatch_, moved.dispatch_);
  return *this;
}
void Dispatcher::close() noexcept {
  if (detail::Dispatch* d = std::exchange(dispatch_, nullptr)) d->close();
}

Result<Subscription> Dispatcher::on(detail::WatchKind kind, std::string_view text, char separator, bool fold_case,
                                    detail::ChangeHandler* handler) noexcept {
  if (handler == nullptr) return Status::kOutOfMemory;
  Result<detail::Listener*> l = Status::kClosed;
  if (dispatch_ != nullptr) l = dispatch_->on(kind, text, separator, fold_case, handler);
  if (l) return Subscription(dispatch_, *l);
  delete handler;
  return l.error();
}
Result<Subscription> Dispatcher::add_watch(Watch&& watch, detail::ChangeHandler* handler) noexcept {
  if (handler == nullptr) return Status::kOutOfMemory;
  Result<detail::Listener*> l = Status::kClosed;
  if (dispatch_ != nullptr) l = dispatch_->add(std::move(watch), handler);
  if (l) return Subscription(dispatch_, *l);
  delete handler;
  return l.error();
}
Error Dispatcher::when_ready(Watch& watch, const Ready& ready) noexcept {
  if (dispatch_ == nullptr) return {Status::kClosed, Field::kNone};
  return dispatch_->when_ready(watch, ready);
}
std::size_t Dispatcher::dispatch(std::size_t changes) noexcept { return dispatch_ == nullptr ? 0 : dispatch_->dispatch(changes); }

}  // namespace tern
