// get_or_load: one loader for a key at a time.
#include <tern/operations.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "engine/changes.h"
#include "engine/insertion.h"
#include "engine/store_core.h"
#include "engine/stored_key.h"

namespace tern::detail {

namespace {

struct Peeked {
  Status status = Status::kNotFound;  // ok: `value` is fresh; not_found: load; out_of_memory: no copy
  bool known_absent = false;
  bool stale = false;  // `value` is past its deadline, and may still be given out
};

// What the store says, as a loading cache sees it. `value` is filled if it is fresh or stale.
Peeked peek(const Call& call, std::uint64_t hash, std::string_view key, std::chrono::milliseconds stale_for,
            Value& value) noexcept {
  auto& core = call.core();
  const Guard<StdSync> guard(core.space, call.thread());
  const Head<StdSync> h = core.head(hash, key);
  Peeked p;
  p.known_absent = h.known_absent;
  if (h.present) {
    core.note_hit(call.thread(), *h.record, hash);
    p.status = value.assign(h.bytes()) ? Status::kOk : Status::kOutOfMemory;
    core.accessed(call.thread(), key, h);
  } else if (h.expired && h.value != nullptr && stale_for.count() > 0) {
    const std::uint64_t now = core.time.now();
    p.stale = now < h.deadline_ms + static_cast<std::uint64_t>(stale_for.count()) && value.assign(h.bytes());
  }
  return p;
}

std::chrono::milliseconds shortened(const Call& call, std::chrono::milliseconds ttl, unsigned percent) noexcept {
  if (percent == 0) return ttl;
  const auto ms = static_cast<std::uint64_t>(ttl.count());
  const std::uint64_t range = ms / 100 * percent + ms % 100 * percent / 100;
  if (range == 0) return ttl;
  const std::uint64_t off = Insertion<StdSync>::next_random(call.thread()) % (range + 1);
  return ttl - std::chrono::milliseconds(static_cast<std::int64_t>(off));
}

Error check(const Call& call, const LoadOptions& o) noexcept {
  for (const auto& ttl : {o.ttl, o.negative_ttl}) {
    if (!ttl) continue;
    if (ttl->count() <= 0) return {Status::kInvalidArgument, Field::kTtl};
    if (const DeadlineAt d = deadline_after(call, ttl->count()); d.error.status != Status::kOk) return d.error;
  }
  if (o.stale.count() < 0) return {Status::kInvalidArgument, Field::kTtl};
  if (o.stale.count() > kTtlMsMax) return {Status::kOutOfRange, Field::kTtl};
  if (o.jitter_percent > 50) return {Status::kOutOfRange, Field::kJitterPercent};
  return {};
}

// A loaded value that can't be stored is given to its caller all the same. It is kept for readers of stale values as long
// past its deadline as the loader's caller takes them.
void store_loaded(const Call& call, std::uint64_t hash, std::string_view key, std::string_view value,
                  std::optional<std::chrono::milliseconds> ttl, std::chrono::milliseconds stale) noexcept {
  auto& core = call.core();
  if (value.size() > call.store().value_bytes_max) return;
  SetTerms terms;
  if (ttl) {
    const DeadlineAt d = deadline_after(call, ttl->count());
    if (d.error.status != Status::kOk) return;
    terms.has_deadline = true;
    terms.deadline_ms = d.ms;
    terms.span = Span::stale(std::min(static_cast<std::uint64_t>(stale.count()), Span::kMsMax));
  }
  SetChange<StdSync> change(core.space, call.thread(), key, value, terms);
  core.write(call.thread(), hash, key, change);
}

void store_absent(const Call& call, std::uint64_t hash, std::string_view key, std::chrono::milliseconds ttl) noexcept {
  auto& core = call.core();
  SetTerms terms;
  terms.has_deadline = true;
  terms.deadline_ms = core.time.now() + static_cast<std::uint64_t>(ttl.count());
  if (terms.deadline_ms >= Deadline::kNever) return;
  terms.if_absent = true;
  SetChange<StdSync> change(core.space, call.thread(), key, std::string_view(), terms);
  change.say_absent();
  core.write(call.thread(), hash, key, change);
}

}  // namespace

Lookup<Value> get_or_load(Context c, std::string_view key, LoadFn loader, const LoadOptions& o) noexcept {
  const Call call(c, key);
  if (!call.ok()) {
    return call.read_otherwise(c, key, [&](Context d, std::string_view k) {
      const auto load = [&](std::string_view) { return loader(key); };
      return get_or_load(d, k, LoadFn(load), o);
    });
  }
  if (const Error e = check(call, o); e.status != Status::kOk) return e;
  const std::uint64_t hash = call.core().hash_of(key);
  auto& counters = call.thread().counters;
  Lookup<Value> answer{Value()};
  const Peeked first = peek(call, hash, key, o.stale, *answer);
  if (first.status == Status::kOk || first.status == Status::kOutOfMemory) {
    counters.hits.add();
    if (first.status == Status::kOutOfMemory) return first.status;
    return answer;
  }
  counters.misses.add();
  if (first.known_absent) return Status::kNotFound;
  Flights::Flight flight;
  flight.key = key;
  flight.hash = hash;
  Status status = Status::kOk;
  Value followed;
  if (!call.store().flights.lead_or_follow(flight, !first.stale, status, followed)) {
    if (first.stale) return answer;
    if (status != Status::kOk) return status;
    return Lookup<Value>(std::move(followed));
  }
  // It may have been loaded between our look and our turn.
  const Peeked again = peek(call, hash, key, std::chrono::milliseconds(0), *answer);
  if (again.status == Status::kOk || again.known_absent) {
    status = again.known_absent ? Status::kNotFound : Status::kOk;
    call.store().flights.land(flight, status, answer->view());
    if (status != Status::kOk) return status;
    return answer;
  }
  Loaded loaded = loader(key);
  if (loaded.status == Status::kOk) {
    auto ttl = loaded.ttl ? loaded.ttl : o.ttl;
    if (ttl && ttl->count() > 0) ttl = shortened(call, *ttl, o.jitter_percent);
    if (!ttl || ttl->count() > 0) store_loaded(call, hash, key, loaded.value.view(), ttl, o.stale);
  } else if (loaded.status == Status::kNotFound && o.negative_ttl) {
    store_absent(call, hash, key, shortened(call, *o.negative_ttl, o.jitter_percent));
  }
  call.store().flights.land(flight, loaded.status, loaded.value.view());
  if (loaded.status != Status::kOk) return loaded.status;
  return Lookup<Value>(std::move(loaded.value));
}

}  // namespace tern::detail
