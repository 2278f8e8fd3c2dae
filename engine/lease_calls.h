// What the calls on leases are made of, for those on locks and for writes that attach.
#ifndef TERN_ENGINE_LEASE_CALLS_H_
#define TERN_ENGINE_LEASE_CALLS_H_

#include <chrono>

#include <tern/lease.h>

#include "engine/store_core.h"

namespace tern::detail {

// `lone`: of one lock, which goes before its lease does.
Result<LeaseId> grant(const Call& call, std::chrono::milliseconds ttl, bool lone) noexcept;
Result<std::chrono::milliseconds> keep_alive(const Call& call, LeaseId id) noexcept;
Lookup<std::chrono::milliseconds> lease_remaining(const Call& call, LeaseId id) noexcept;
// Whether it was alive. What it leaves is swept, unless it is lone.
Result<bool> end_lease(const Call& call, LeaseId id) noexcept;
bool lease_is_lone(const Call& call, LeaseId id) noexcept;

// Once true, for ever (leases.h).
bool lease_is_over(const Call& call, LeaseId id) noexcept;
// An entry was attached: if the lease is a lock's own, its end will be swept, too.
void share_if_lone(const Call& call, LeaseId id) noexcept;
// An entry was attached: the sweep may have passed it if the lease has ended meanwhile.
void swept_if_late(const Call& call, LeaseId id) noexcept;

}  // namespace tern::detail

#endif  // TERN_ENGINE_LEASE_CALLS_H_
