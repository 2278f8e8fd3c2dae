// Locks as their users have them. What a lock is, <tern/lock.h> says: an entry that is set if it is absent and attached to a
// lease; its version is the token.
#include <tern/lock.h>
#include <tern/namespace.h>

#include <algorithm>
#include <utility>

#include "engine/feed.h"
#include "engine/lease_calls.h"
#include "engine/leases.h"
#include "engine/lock_queue.h"
#include "engine/locks.h"
#include "engine/store_core.h"

namespace tern {

using detail::Call;
using detail::Context;
using detail::Feed;
using detail::LeaseKey;
using detail::LockQueue;
using detail::StdSync;
using detail::Thread;
using LocksNow = detail::Locks<StdSync>;
using Outcome = detail::Committed::Outcome;

namespace {

static_assert(kLockNameBytesMax <= kKeyBytesMax && kLockOwnerBytesMax == LocksNow::kOwnerBytesMax);
constexpr Error kLost{Status::kMismatch, Field::kToken};

// The key of the lock's entry, as it is stored (names.h). Not ok: the name is none, or there is no memory.
Error key_of(const Context& c, std::string_view name, Value& key) noexcept {
  if (name.empty()) return {Status::kInvalidKey, Field::kLock};
  if (name.size() > kLockNameBytesMax) return {Status::kTooLarge, Field::kLock};
  const detail::NameMark mark(detail::kLocksName + detail::name_of(c));
  char* to = key.resize(detail::kNameBytes + name.size());
  if (to == nullptr) return {Status::kOutOfMemory, Field::kNone};
  for (const std::string_view part : {std::string_view(mark), name}) to = std::copy(part.begin(), part.end(), to);
  return {};
}

using HeldBy = LocksNow::Holder;
HeldBy holder_of(const Call& call, std::string_view key, Value* owner = nullptr) noexcept {
  return LocksNow(call.core(), call.thread()).holder(key, [&](std::string_view bytes) {
    if (owner != nullptr) (void)owner->assign(bytes);
  });
}

// `held`: somebody else has it. One look and at most two writes.
struct Attempt {
  Error error{};
  bool held = false;
  std::uint64_t token = 0;
  LeaseId lease = 0;
};
Attempt attempt(const Call& call, std::string_view key, const LockOptions& o) noexcept {
  Attempt a;
  if (holder_of(call, key).token != 0) {
    a.held = true;
    return a;
  }
  a.lease = o.lease;
  if (o.lease == 0) {
    const Result<LeaseId> own = detail::grant(call, o.ttl, true);
    if (!own) {
      a.error = own.error();
      return a;
    }
    a.lease = *own;
  } else if (detail::lease_is_over(call, o.lease)) {
    a.error = {Status::kNotFound, Field::kLease};
    return a;
  }
  const detail::Committed done = LocksNow(call.core(), call.thread()).acquire(key, o.owner, a.lease, o.lease == 0);
  if (done.outcome == Outcome::kPut) {
    a.token = done.version;
    // As for any write that attaches: gone at once. One of its own has no others yet.
    const bool may_be_late = o.lease != 0 || detail::lease_is_over(call, a.lease);
    if (may_be_late && detail::swept_if_late(call, a.lease)) a.error = {Status::kNotFound, Field::kLease};
    return a;
  }
  if (o.lease == 0) (void)detail::end_lease(call, a.lease);
  if (done.outcome == Outcome::kOutOfMemory) {
    a.error = {Status::kOutOfMemory, Field::kNone};
  } else {
    a.held = true;
  }
  return a;
}

// Changes that may have freed it: of its entry, and of its holder's lease.
class Release final : public detail::KeyInterest {
 public:
  explicit Release(std::string_view key) noexcept : key_(key) {}
  void held_under(LeaseId lease) noexcept { lease_ = LeaseKey(lease); }
  bool wants(std::string_view key, std::uint64_t) noexcept override { return key == key_ || key == lease_.view(); }

  bool is_touched(ChangeScope scope, std::string_view, std::uint64_t) noexcept override {
    return scope == ChangeScope::kAll;
  }

 private:
  std::string_view key_;
  LeaseKey lease_{0};
};

// Of the first in the queue: until it has the lock, or an error. What happens after the feed was opened wakes it, and it
// looks after that.
Attempt wait_for_it(const Call& call, std::string_view key, const LockOptions& o, std::uint64_t end_ns) noexcept {
  Release release(key);
  WatchOptions watch;
  watch.keys_only = true;
  watch.kinds = kind_bit(ChangeKind::kDelete) | kind_bit(ChangeKind::kExpire) | kind_bit(ChangeKind::kEvict) |
                kind_bit(ChangeKind::kInvalidate);
  const Result<Feed*> feed = Feed::open(call.store(), {}, watch, &release, detail::kAnyName);
  Attempt a;
  if (!feed) {
    a.error = feed.error();
    return a;
  }
  for (;;) {
    a = attempt(call, key, o);
    if (!a.held) break;
    const std::uint64_t now = alloc::platform::monotonic_ns();
    if (now >= end_ns) {
      a.error = {Status::kTimedOut, Field::kLock};
      break;
    }
    const HeldBy holder = holder_of(call, key);
    if (holder.token == 0) continue;
    release.held_under(holder.lease);
    // To the end of the holder's lease, which nobody tells if nobody is there to do maintenance.
    const Lookup<std::chrono::milliseconds> remaining = detail::lease_remaining(call, holder.lease);
    if (remaining.missing()) continue;
    const std::uint64_t rest = static_cast<std::uint64_t>(remaining->count()) * 1'000'000;
    const Result<bool> woken = (*feed)->wait(std::min(end_ns - now, rest));
    Change changes[16];
    Result<std::size_t> seen;
    while (woken && *woken && (seen = (*feed)->poll(changes)) && *seen != 0) {
    }
    if (!woken || !seen) {
      a.error = !woken ? woken.error() : seen.error();
      break;
    }
  }
  (*feed)->close();
  return a;
}

Attempt acquire(const Call& call, std::string_view key, const LockOptions& o) noexcept {
  auto& queue = call.store().locks;
  LockQueue::Waiter me{key, call.core().hash_of(key), nullptr, {}};
  Attempt a;
  a.held = true;
  if (!queue.has_any(key, me.hash)) a = attempt(call, key, o);
  if (!a.held) return a;
  if (o.wait.count() <= 0) {
    a.error = {Status::kTimedOut, Field::kLock};
    return a;
  }
  constexpr std::int64_t kWaitMsMax = std::int64_t{365} * 86'400'000;
  const auto ms = static_cast<std::uint64_t>(std::min<std::int64_t>(o.wait.count(), kWaitMsMax));
  const std::uint64_t end_ns = alloc::platform::monotonic_ns() + ms * 1'000'000;
  queue.enter(me);
  if (queue.wait_for_turn(me, end_ns)) {
    a = wait_for_it(call, key, o, end_ns);
  } else {
    a.error = {Status::kTimedOut, Field::kLock};
  }
  queue.leave(me);
  return a;
}

Result<void> unlock_key(const Call& call, std::string_view key, std::uint64_t token) noexcept {
  const HeldBy holder = holder_of(call, key);
  if (token == 0 || holder.token != token) return kLost;
  const LocksNow::Unlocked done = LocksNow(call.core(), call.thread()).unlock(key, token);
  if (done == LocksNow::Unlocked::kOutOfMemory) return Status::kOutOfMemory;
  // A lease that the lock got for itself goes with it; what others have attached to it is swept.
  if (holder.has_own_lease) (void)detail::end_lease(call, holder.lease);
  if (done != LocksNow::Unlocked::kDone) return kLost;
  return {};
}

}  // namespace

Result<Lock> Store::lock(const Context& c, std::string_view name, const LockOptions& o) noexcept {
  const Call call(c);
  if (!call.ok()) return call.error();
  Value key;
  if (const Error e = key_of(c, name, key); e.status != Status::kOk) return e;
  if (o.owner.size() > kLockOwnerBytesMax) return {Status::kTooLarge, Field::kOwner};
  if (o.lease == 0) {
    if (o.ttl.count() <= 0) return {Status::kInvalidArgument, Field::kTtl};
    if (const Error e = detail::deadline_after(call, o.ttl.count()).error; e.status != Status::kOk) return e;
  }
  const Attempt a = acquire(call, key.view(), o);
  if (a.error.status != Status::kOk) return a.error;
  c.core->add_handle();
  return Result<Lock>(Lock(c.core, std::move(key), a.token, a.lease));
}

Result<void> Store::unlock(const Context& c, std::string_view name, std::uint64_t token) noexcept {
  const Call call(c);
  if (!call.ok()) return call.error();
  Value key;
  if (const Error e = key_of(c, name, key); e.status != Status::kOk) return e;
  return unlock_key(call, key.view(), token);
}

Lookup<LockInfo> Store::lock_info(const Context& c, std::string_view name) noexcept {
  const Call call(c);
  if (!call.ok()) return call.error();
  Value key;
  if (const Error e = key_of(c, name, key); e.status != Status::kOk) return e;
  Lookup<LockInfo> info{LockInfo()};
  const HeldBy holder = holder_of(call, key.view(), &info->owner);
  if (holder.token == 0) return Status::kNotFound;
  const Lookup<std::chrono::milliseconds> remaining = detail::lease_remaining(call, holder.lease);
  if (!remaining) return Status::kNotFound;
  info->token = holder.token;
  info->lease = holder.lease;
  info->remaining = *remaining;
  return info;
}

Lock& Lock::operator=(Lock&& other) noexcept {
  Lock moved(std::move(other));
  std::swap(core_, moved.core_);
  std::swap(key_, moved.key_);
  std::swap(token_, moved.token_);
  std::swap(lease_, moved.lease_);
  return *this;
}
Lock::~Lock() {
  if (token_ != 0) (void)unlock();
  if (core_ != nullptr) core_->drop_handle();
}

std::string_view Lock::name() const noexcept {
  return key_.view().empty() ? key_.view() : detail::own_key(key_.view());
}
Fence Lock::fence() const noexcept {
  const unsigned ns = key_.view().empty() ? detail::kDefaultName : detail::cleared_with(key_.view());
  return {name(), token_, static_cast<std::uint16_t>(ns)};
}

Result<Lock> Store::lock(std::string_view name, const LockOptions& options) const noexcept { return lock(context(), name, options); }
Result<void> Store::unlock(std::string_view name, std::uint64_t token) const noexcept { return unlock(context(), name, token); }
Lookup<LockInfo> Store::lock_info(std::string_view name) const noexcept { return lock_info(context(), name); }
Result<Lock> Namespace::lock(std::string_view name, const LockOptions& options) const noexcept {
  return Store::lock(context_, name, options);
}
Result<void> Namespace::unlock(std::string_view name, std::uint64_t token) const noexcept {
  return Store::unlock(context_, name, token);
}
Lookup<LockInfo> Namespace::lock_info(std::string_view name) const noexcept { return Store::lock_info(context_, name); }

Result<bool> Lock::is_held() const noexcept {
  const Call call({core_, nullptr});
  if (!call.ok()) return call.error();
  return token_ != 0 && holder_of(call, key_.view()).token == token_;
}

Result<std::chrono::milliseconds> Lock::keep_alive() const noexcept {
  const Call call({core_, nullptr});
  if (!call.ok()) return call.error();
  if (token_ == 0 || holder_of(call, key_.view()).token != token_) return kLost;
  const Result<std::chrono::milliseconds> ttl = detail::keep_alive(call, lease_);
  // As long as its lease lives, who has the token has the lock, unless somebody has unlocked it.
  if (ttl.status() == Status::kNotFound) return kLost;
  return ttl;
}

Result<void> Lock::unlock() noexcept {
  const Call call({core_, nullptr});
  if (!call.ok()) return call.error();
  return unlock_key(call, key_.view(), std::exchange(token_, 0));
}

void Lock::release() noexcept { token_ = 0; }

}  // namespace tern
