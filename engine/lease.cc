// Leases as their users have them: arguments are checked here, and nowhere below.
#include <tern/lease.h>
#include <tern/namespace.h>

#include <algorithm>

#include "engine/lease_calls.h"
#include "engine/leases.h"
#include "engine/store_core.h"
#include "engine/stored_key.h"
#include "engine/views.h"

namespace tern {

using detail::Call;
using detail::LeaseKey;
using detail::LeaseTerms;
using detail::StdSync;
using LeasesNow = detail::Leases<StdSync>;
using HeadNow = detail::Head<StdSync>;
using Outcome = detail::Committed::Outcome;

namespace detail {

bool lease_is_over(const Call& call, LeaseId id, bool* lone) noexcept {
  const Guard<StdSync> guard(call.core().space, call.thread());
  return LeasesNow(call.core().table, call.core().time).is_over(id, lone);
}

namespace {

// The same entry with another lease.
class AttachChange : public ChangeBase<StdSync> {
 public:
  static constexpr bool kSilent = true;
  AttachChange(Space<StdSync>& space, Thread<StdSync>& t, std::string_view key, std::uint64_t lease) noexcept
      : ChangeBase<StdSync>(space, t, key), lease_(lease) {}

  Decision judge(const HeadNow& head) noexcept {
    this->note(head);
    return head.present ? Decision::kPut : Decision::kKeep;
  }
  std::uint64_t record(Thread<StdSync>&, const HeadNow& head) noexcept {
    const std::string_view has = head.stamp.has_ext() ? space_.tags_of(*head.record, head.stamp) : std::string_view{};
    block_.set_lease(has, lease_);
    this->tags = block_.block();
    return this->build_from(head.bytes(), head.has_deadline, head.deadline_ms, head.span);
  }

 private:
  std::uint64_t lease_;
  TagBlock block_;
};

}  // namespace

Result<LeaseId> grant(const Call& call, std::chrono::milliseconds ttl, bool lone) noexcept {
  auto& core = call.core();
  if (ttl.count() <= 0) return {Status::kInvalidArgument, Field::kTtl};
  const DeadlineAt d = deadline_after(call, ttl.count());
  if (d.error.status != Status::kOk) return d.error;
  auto& leases = core.space.leases;
  const std::uint64_t count_max = std::min<std::uint64_t>(kLeasesMax, core.space.heap.budget_bytes() / 1024);
  // Threads that look at once may pass it, by one each.
  if (leases.count.load(std::memory_order_relaxed) >= count_max) return {Status::kOutOfMemory, Field::kLeases};  // a count
  // Past all of earlier lives, as versions are, and past what this one was told of.
  const std::uint64_t id = core.space.version_base + leases.given.fetch_add(1, std::memory_order_relaxed) + 1;  // shared out
  const LeaseKey key(id);
  char value[LeaseTerms::kBytes];
  LeaseTerms{static_cast<std::uint64_t>(ttl.count()), lone}.write(value);
  SetTerms terms;
  terms.has_deadline = true;
  terms.deadline_ms = d.ms;
  terms.keep = true;
  SetChange<StdSync> change(core.space, call.thread(), key.view(), {value, sizeof value}, terms);
  const Committed done = core.write(call.thread(), core.hash_of(key.view()), key.view(), change);
  if (done.outcome != Outcome::kPut) return Status::kOutOfMemory;
  return id;
}

Result<bool> end_lease(const Call& call, LeaseId id) noexcept {
  auto& core = call.core();
  const LeaseKey key(id);
  RemoveChange<StdSync> change(core.space, call.thread(), key.view());
  const Committed done = core.write(call.thread(), core.hash_of(key.view()), key.view(), change, true);
  if (done.outcome == Outcome::kOutOfMemory) return Status::kOutOfMemory;
  return done.outcome == Outcome::kRemoved && change.existed;
}

Result<std::chrono::milliseconds> keep_alive(const Call& call, LeaseId id) noexcept {
  auto& core = call.core();
  const LeaseKey key(id);
  const std::uint64_t hash = core.hash_of(key.view());
  // That it has ended is said only once that is for ever. Each turn in vain means that its deadline has moved.
  while (!lease_is_over(call, id)) {
    LeaseTerms terms;
    {
      const Guard<StdSync> guard(core.space, call.thread());
      const HeadNow h = core.head(hash, key.view());
      if (!h.present) continue;
      if (!terms.read(h.bytes())) break;
    }
    const auto ttl = static_cast<std::int64_t>(terms.ttl_ms);
    const DeadlineAt d = deadline_after(call, ttl);
    if (d.error.status != Status::kOk) return d.error;
    const auto done = core.set_deadline(call.thread(), hash, key.view(), d.ms);
    if (done.outcome == Outcome::kOutOfMemory) return Status::kOutOfMemory;
    if (done.existed) return std::chrono::milliseconds(ttl);
  }
  return {Status::kNotFound, Field::kLease};
}

Lookup<std::chrono::milliseconds> lease_remaining(const Call& call, LeaseId id) noexcept {
  auto& core = call.core();
  const LeaseKey key(id);
  while (!lease_is_over(call, id)) {  // as above
    const Guard<StdSync> guard(core.space, call.thread());
    const HeadNow h = core.head(core.hash_of(key.view()), key.view());
    if (!h.present) continue;
    const std::uint64_t now = core.time.now();
    return std::chrono::milliseconds(h.deadline_ms > now ? h.deadline_ms - now : 1);
  }
  return {Status::kNotFound, Field::kLease};
}

// False: there is no such entry.
static Result<bool> attach(Context c, std::string_view key, LeaseId id) noexcept {
  const Call call(c, key);
  if (!call.ok()) return call.otherwise(c, key, [&](Context d, std::string_view k) { return attach(d, k, id); });
  auto& core = call.core();
  if (const Error e = lease_error(call, id); e.status != Status::kOk) return e;
  AttachChange change(core.space, call.thread(), key, id);
  const auto done = core.write(call.thread(), core.hash_of(key), key, change);
  if (done.outcome == Outcome::kOutOfMemory) return Status::kOutOfMemory;
  swept_if_late(call, id);
  return done.outcome == Outcome::kPut;
}

Error lease_error(const Call& call, LeaseId id) noexcept {
  const Call all({&call.store(), reinterpret_cast<ThreadState*>(&call.thread())});
  if (!all.ok()) return all.error();
  return id == 0 || lease_is_over(all, id) ? Error{Status::kNotFound, Field::kLease} : Error{};
}

bool swept_if_late(const Call& call, LeaseId id) noexcept {
  auto& leases = call.core().space.leases;
  bool lone = false;
  if (!lease_is_over(call, id, &lone)) {
    if (!lone || leases.shared.load(std::memory_order_seq_cst) != 0) return false;  // [lease] seq_cst
    // Whoever ends the lease asks after that (Space::count_kept); who attaches says so before he asks whether it is over.
    leases.shared.store(1, std::memory_order_seq_cst);  // [lease] seq_cst
    if (!lease_is_over(call, id)) return false;
  }
  LeasesNow::owe(call.core().space);
  call.core().space.upkeep.pass_on();
  return true;
}

}  // namespace detail

Result<Lease> Store::lease(std::chrono::milliseconds ttl) const noexcept {
  const Call call(context());
  if (!call.ok()) return call.error();
  const Result<LeaseId> id = detail::grant(call, ttl, false);
  if (!id) return id.error();
  core_->add_handle();
  return Result<Lease>(Lease(core_, *id));
}

Lease Store::lease_of(LeaseId id) const noexcept {
  if (core_ == nullptr) return {};
  core_->add_handle();
  return Lease(core_, id);
}

Lease::Lease(const Lease& other) noexcept : core_(other.core_), id_(other.id_) {
  if (core_ != nullptr) core_->add_handle();
}
Lease::~Lease() {
  if (core_ != nullptr) core_->drop_handle();
}

Result<std::chrono::milliseconds> Lease::keep_alive() const noexcept {
  const Call call(context());
  if (!call.ok()) return call.error();
  return detail::keep_alive(call, id_);
}

Result<bool> Lease::revoke() const noexcept {
  const Call call(context());
  if (!call.ok()) return call.error();
  const Result<bool> done = detail::end_lease(call, id_);
  if (done && *done) {
    LeasesNow::owe(call.core().space);  // also of one that was given out for a single lock
    call.core().space.upkeep.pass_on();
  }
  return done;
}

Lookup<std::chrono::milliseconds> Lease::remaining() const noexcept {
  const Call call(context());
  if (!call.ok()) return call.error();
  return detail::lease_remaining(call, id_);
}

Result<bool> Lease::attach(std::string_view key) const noexcept { return detail::attach(context(), key, id_); }

Result<bool> Lease::attach(const Namespace& ns, std::string_view key) const noexcept {
  if (ns.context().core != core_) return {Status::kInvalidArgument, Field::kName};
  return detail::attach(ns.context(), key, id_);
}

Result<std::uint64_t> Lease::visit_keys(FunctionRef<void(std::string_view, std::string_view)> fn) const noexcept {
  using ViewsNow = detail::Views<StdSync>;
  const Call call(context());
  if (!call.ok()) return call.error();
  if (id_ == 0) return std::uint64_t{0};  // entries without a lease are nobody's
  auto& core = call.core();
  auto& t = call.thread();
  call.store().learn_names();
  ViewsNow views(core);
  const auto view = views.open(detail::ViewOwner::kStore);
  if (!view.opened.ok()) return {Status::kTooLarge, Field::kViews};
  detail::ViewCursor cursor;
  ViewsNow::Step step;
  std::uint64_t count = 0;
  bool ended = false;
  for (;;) {
    const detail::Guard<StdSync> guard(core.space, t);
    if (!views.step(view, cursor, step, ended)) break;
    const detail::Core<StdSync>::Visit visit(core, t, step.record, step.count);
    for (unsigned i = 0; i != step.count; ++i) {
      if (LeasesNow::of(core.space, *step.head[i].record, step.head[i].stamp) != id_) continue;
      const std::string_view stored = step.key[i];
      if (detail::name_of(stored) > detail::kNamesMax) continue;  // a lock
      ++count;
      const auto* const slot = core.space.names.find(detail::name_of(stored));
      const detail::NameRules* const of = slot != nullptr ? slot->rules_or_null() : nullptr;
      fn(of != nullptr ? of->name_view() : std::string_view(), detail::own_key(stored));
    }
  }
  views.close(&t, view);
  if (ended) return Status::kViewExpired;
  return count;
}

}  // namespace tern
