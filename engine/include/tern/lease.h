// Lease: a lifetime that entries share. When it ends, all of them are gone at one moment.
//
//   auto lease = store.lease(10s);
//   store.set("node:7", address, {.lease = lease->id()});
//   store.set("node:7:load", "0.3", {.lease = lease->id()});
//   while (working()) lease->keep_alive();  // every few seconds
//   lease->revoke();                        // or don't, and it ends in 10 s
//
// A lease ends when its time is over, to the instant, by the store's clock, whoever looks and whether or not maintenance has
// come by; or when it is revoked. From then on no read has any of its entries, none comes back, and the id is never given
// again, not by a later life of a snapshot either. A view that was opened before the end keeps them. Their memory comes back
// as maintenance sweeps; on_removed and watches are told then (expired), key by key.
//
// The lease itself is never evicted; its entries may be, unless they are set with evictable = false. A lease takes about 90
// bytes of the budget and counts as an entry. There may be one for each KiB of the budget, and 2^20 at most.
//
// A lease is kept as an entry, under a key that no call can name: no scan, pattern or watch meets it, and of removals none but
// the store's own clear(), or del_prefix(""), which ends all leases. A snapshot has them with their deadlines by the wall clock.
#ifndef TERN_LEASE_H_
#define TERN_LEASE_H_

#include <tern/function_ref.h>
#include <tern/operations.h>
#include <tern/options.h>
#include <tern/result.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>
#include <utility>

namespace tern {

class Namespace;

inline constexpr std::uint64_t kLeasesMax = std::uint64_t{1} << 20;

// A handle: copies stand for the same lease, and dropping them ends nothing. Counts as a handle of its store. Every call is
// thread-safe and lock-free. not_found (lease): it has ended, or there never was one. A closed store answers `closed`.
class TERN_API Lease {
 public:
  Lease() noexcept = default;
  Lease(const Lease& other) noexcept;
  Lease(Lease&& other) noexcept : core_(std::exchange(other.core_, nullptr)), id_(std::exchange(other.id_, 0)) {}
  Lease& operator=(Lease other) noexcept {
    std::swap(core_, other.core_);
    std::swap(id_, other.id_);
    return *this;
  }
  ~Lease();

  // What SetOptions::lease and Store::lease_of take. Ids grow.
  LeaseId id() const noexcept { return id_; }

  // Begins its time anew and answers how long that is: the ttl that it was granted with. About the cost of expire(); more
  // while a view is open. out_of_memory then, too.
  Result<std::chrono::milliseconds> keep_alive() const noexcept;

  // Ends it now: whether it was alive. O(1), whatever its entries; draws on the reserve of a full store.
  Result<bool> revoke() const noexcept;

  // How long it has, at least 1 ms; a miss: it has ended.
  Lookup<std::chrono::milliseconds> remaining() const noexcept;

  // Attaches an entry that is there, in place of the lease that it has; value, tags, metadata and lifetime stay, its version grows.
  // False: there is no such entry. Watches aren't told: no value has changed.
  Result<bool> attach(std::string_view key) const noexcept;
  // One of a namespace of the same store; else invalid_argument (name).
  Result<bool> attach(const Namespace& ns, std::string_view key) const noexcept;

  // Calls fn(std::string_view key) or fn(std::string_view ns, std::string_view key) for each of its entries, but for locks, those of all
  // namespaces, as they are at one moment during the call, in no order; answers how many. `ns` is the namespace's name, empty
  // for the default one. fn may call the store, and mustn't throw. Looks at every entry of the store: for tools, not for hot paths.
  // too_large (views), view_expired, as of a view.
  template <class Fn>
  Result<std::uint64_t> keys(Fn&& fn) const noexcept {
    if constexpr (std::is_invocable_v<Fn&, std::string_view, std::string_view>) {
      return visit_keys(FunctionRef<void(std::string_view, std::string_view)>(fn));
    } else {
      const auto with_key = [&fn](std::string_view, std::string_view key) { fn(key); };
      return visit_keys(FunctionRef<void(std::string_view, std::string_view)>(with_key));
    }
  }

 private:
  friend class Store;
  Lease(detail::StoreCore* core, LeaseId id) noexcept : core_(core), id_(id) {}  // takes over a handle
  detail::Context context() const noexcept { return {core_, nullptr}; }
  Result<std::uint64_t> visit_keys(FunctionRef<void(std::string_view, std::string_view)> fn) const noexcept;

  detail::StoreCore* core_ = nullptr;
  LeaseId id_ = 0;
};

}  // namespace tern

#endif  // TERN_LEASE_H_
