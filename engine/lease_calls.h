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

// Once true, for ever (leases.h).
bool lease_is_over(const Call& call, LeaseId id, bool* lone = nullptr) noexcept;
// Before an entry is attached to it: why it can't be. Outside of guards, the first time: the lease may lie elsewhere in a snapshot
// that is being loaded.
Error lease_error(const Call& call, LeaseId id) noexcept;
// An entry was attached: its lease's end will be swept, though it be a lock's own; and now, if it has ended meanwhile, as the
// sweep may have passed the entry. Whether it has.
bool swept_if_late(const Call& call, LeaseId id) noexcept;

}  // namespace tern::detail

#endif  // TERN_ENGINE_LEASE_CALLS_H_
