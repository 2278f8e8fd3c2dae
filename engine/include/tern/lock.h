// Lock: one owner at a time, as long as a lease lives, with a token that fences off those who only believe that they own it.
//
//   auto lock = store.lock("account:7", {.ttl = 10s, .wait = 2s});
//   if (!lock) return lock.status() == tern::Status::kTimedOut ? busy() : failed(lock.error());
//   store.set("account:7:balance", "60", {.if_fence = lock->fence()});  // mismatch (fence), if it is lost by now
//   lock->unlock();                                                     // or by the destructor
//
// A lock ends when its owner unlocks it, or when its lease ends: an owner that is parked or dead loses it after the ttl, to
// the instant, and another can have it. That owner doesn't notice before its next call, hence the token: each owner of a name gets
// a greater one than all before it, across restarts of a snapshot too (it is the version of the lock's entry). A write with
// if_fence, or a batch with require_fence, commits only while the lock is held with that token: never after another has got it.
// For what lies outside the store, hand the token along and let the resource refuse smaller ones than it has seen.
//
// Locks are never evicted. A lock is an entry under a key that no call can name: no scan, pattern or watch meets it, and of
// removals none but clear(), or del_prefix(""), of its store or namespace, which takes the locks too. A snapshot has them, with
// their leases. One with a lease of its own takes about 200 bytes.
//
// Trying and unlocking are lock-free: two or three writes each. Who waits sleeps, and is woken by the store's changes
// (watch.h) when the lock or its lease goes, or at the lease's last instant: nothing polls. Waiters of one name get it in the
// order in which they came; who comes later, try_lock included, doesn't pass them.
#ifndef TERN_LOCK_H_
#define TERN_LOCK_H_

#include <tern/operations.h>
#include <tern/options.h>
#include <tern/result.h>
#include <tern/value.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

namespace tern {

inline constexpr std::size_t kLockNameBytesMax = kKeyBytesMax - 6;
inline constexpr std::size_t kLockOwnerBytesMax = 255;

struct LockOptions {
  // Of a lease that the lock gets for itself; > 0, up to 139 years.
  std::chrono::milliseconds ttl{30'000};
  // Instead: the lock lives as long as this lease, which isn't ended by unlocking, though it be another lock's. Then ttl isn't
  // looked at.
  LeaseId lease = 0;
  // How long to wait for it, by the system's clock; 0: not at all.
  std::chrono::milliseconds wait{0};
  // Shown by lock_info: up to 255 bytes.
  std::string_view owner{};
};

// Who has a lock.
struct LockInfo {
  std::uint64_t token = 0;
  LeaseId lease = 0;
  std::chrono::milliseconds remaining{0};  // of its lease, at least 1 ms
  Value owner{};
};

// Owned: unlocks when it is destroyed. Movable. Counts as a handle of its store. One thread at a time may use it; which
// one doesn't matter.
class TERN_API Lock {
 public:
  Lock() noexcept = default;
  Lock(Lock&& other) noexcept
      : core_(std::exchange(other.core_, nullptr)),
        key_(std::move(other.key_)),
        token_(std::exchange(other.token_, 0)),
        lease_(std::exchange(other.lease_, 0)) {}
  Lock& operator=(Lock&& other) noexcept;
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;
  ~Lock();

  std::string_view name() const noexcept;
  // Greater than that of every owner before. 0: this handle has no lock.
  std::uint64_t token() const noexcept { return token_; }
  LeaseId lease() const noexcept { return lease_; }
  // For SetOptions::if_fence, of writes to any namespace of the store; refers to this handle's name.
  Fence fence() const noexcept;

  // Whether it is held with this token now; another moment may say otherwise.
  Result<bool> is_held() const noexcept;
  // Its lease begins anew: answers for how long. mismatch (token): the lock is lost.
  Result<std::chrono::milliseconds> keep_alive() const noexcept;
  // mismatch (token): it was lost before. Either way this handle has none any more.
  Result<void> unlock() noexcept;
  // Leaves it locked, until its lease ends or somebody unlocks it by its token.
  void release() noexcept;

 private:
  friend class Store;
  Lock(detail::StoreCore* core, Value&& key, std::uint64_t token, LeaseId lease) noexcept  // takes over a handle
      : core_(core), key_(std::move(key)), token_(token), lease_(lease) {}

  detail::StoreCore* core_ = nullptr;
  Value key_{};  // of the lock's entry
  std::uint64_t token_ = 0;
  LeaseId lease_ = 0;
};

}  // namespace tern

#endif  // TERN_LOCK_H_
