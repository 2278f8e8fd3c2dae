// The operations on single keys: arguments are checked here, and nowhere below.
#include <tern/operations.h>

#include <cmath>
#include <utility>

#include "engine/changes.h"
#include "engine/lease_calls.h"
#include "engine/store_core.h"
#include "engine/stored_key.h"
#include "simd/key_equal.h"

namespace tern::detail {

Error fill(TagBlock& block, const SetOptions& o) noexcept {
  if (o.metadata.size() > kMetadataBytesMax) return {Status::kTooLarge, Field::kMetadata};
  if (!block.set(o.tags, o.lease)) return {Status::kInvalidArgument, Field::kTags};
  if (!o.metadata.empty()) block.set_metadata(o.metadata);
  return {};
}

Error make_terms(const Call& call, const SetOptions& o, SetTerms& terms, TagBlock& tags) noexcept {
  if (o.if_absent && (o.if_present || o.if_version)) return {Status::kInvalidArgument, Field::kConditions};
  if (o.ttl && o.keep_ttl) return {Status::kInvalidArgument, Field::kTtl};
  if (o.idle && (o.ttl || o.keep_ttl)) return {Status::kInvalidArgument, Field::kIdle};
  if (o.if_fence) return {Status::kInvalidArgument, Field::kFence};  // a set sees to it before, and nothing else has it
  terms.if_absent = o.if_absent;
  terms.if_present = o.if_present;
  terms.if_version = o.if_version;
  terms.keep_deadline = o.keep_ttl;
  terms.keep = !o.evictable;
  if (o.keep_metadata && !o.metadata.empty()) return {Status::kInvalidArgument, Field::kMetadata};
  if (!o.tags.empty() || o.lease != 0 || !o.metadata.empty()) {
    if (const Error e = fill(tags, o); e.status != Status::kOk) return e;
    terms.tags = tags.block();
  }
  terms.keep_metadata = o.keep_metadata;
  terms.block = &tags;
  if (o.ttl) {
    if (o.ttl->count() <= 0) return {Status::kInvalidArgument, Field::kTtl};
    const DeadlineAt d = deadline_after(call, o.ttl->count());
    if (d.error.status != Status::kOk) return d.error;
    terms.has_deadline = true;
    terms.deadline_ms = d.ms;
  }
  if (o.idle) {
    if (o.idle->count() <= 0) return {Status::kInvalidArgument, Field::kIdle};
    if (o.idle->count() > static_cast<std::int64_t>(Span::kMsMax)) return {Status::kOutOfRange, Field::kIdle};
    terms.span = Span::idle(static_cast<std::uint64_t>(o.idle->count()));
    const DeadlineAt d = deadline_after(call, static_cast<std::int64_t>(terms.span.idle_ms()));
    if (d.error.status != Status::kOk) return {d.error.status, Field::kIdle};
    terms.has_deadline = true;
    terms.deadline_ms = d.ms;
  }
  return o.lease != 0 ? lease_error(call, o.lease) : Error{};
}

namespace {

using Outcome = Committed::Outcome;
using HeadT = Head<StdSync>;

bool copy_to_value(void* to, std::string_view bytes) noexcept { return static_cast<Value*>(to)->assign(bytes); }

Result<std::uint64_t> answer(const SetChange<StdSync>& change, const Committed& c) noexcept {
  if (c.outcome == Outcome::kPut) return c.version;
  if (c.outcome == Outcome::kOutOfMemory) return Status::kOutOfMemory;
  return change.status;
}

// The same of a set, which a full store may drop.
Result<std::uint64_t> answer_set(const Call& call, std::uint64_t hash, std::string_view key,
                                 const SetChange<StdSync>& change, const Committed& c) noexcept {
  if (c.outcome == Outcome::kOutOfMemory) return call.store().refuse_or_drop(call.thread(), hash, key);
  return answer(change, c);
}

}  // namespace

Lookup<Value> get(Context c, std::string_view key) noexcept {
  const Call call(c, key);
  if (!call.ok()) [[unlikely]] return call.read_otherwise(c, key, [&](Context d, std::string_view k) { return get(d, k); });
  Lookup<Value> answer{Value()};
  bool copied = true;
  const bool found = call.core().read(call.thread(), call.core().hash_of(key), key,
                                      [&](const char* v, std::uint64_t n) { copied = answer->assign({v, n}); });
  if (!found) return Status::kNotFound;
  if (!copied) return Status::kOutOfMemory;
  return answer;
}

Lookup<Entry> get_entry(Context c, std::string_view key) noexcept {
  const Call call(c, key);
  if (!call.ok()) return call.read_otherwise(c, key, [&](Context d, std::string_view k) { return get_entry(d, k); });
  Lookup<Entry> answer{Entry()};
  auto& core = call.core();
  bool copied = true;
  const bool found = core.read_head(call.thread(), key, [&](const HeadT& h) {
    answer->version = h.version;
    if (h.has_deadline) {
      const std::uint64_t now = core.time.now();
      answer->ttl = std::chrono::milliseconds(h.deadline_ms > now ? h.deadline_ms - now : 1);
    }
    copied = answer->value.assign(h.bytes()) && answer->metadata.assign(core.space.metadata_of(*h.record, h.stamp));
  });
  if (!found) return Status::kNotFound;
  if (!copied) return Status::kOutOfMemory;
  return answer;
}

Lookup<Value> get_metadata(Context c, std::string_view key) noexcept {
  const Call call(c, key);
  if (!call.ok()) return call.read_otherwise(c, key, [&](Context d, std::string_view k) { return get_metadata(d, k); });
  Lookup<Value> answer{Value()};
  auto& core = call.core();
  bool copied = true;
  const bool found = core.read_head(call.thread(), key, [&](const HeadT& h) { copied = answer->assign(core.space.metadata_of(*h.record, h.stamp)); });
  if (!found) return Status::kNotFound;
  if (!copied) return Status::kOutOfMemory;
  return answer;
}

Lookup<HeldValue> hold(Context c, std::string_view key) noexcept {
  const Call call(c, key);
  if (!call.ok()) return call.read_otherwise(c, key, [&](Context d, std::string_view k) { return hold(d, k); });
  return call.store().hold(call.thread(), key);
}

Lookup<bool> visit(Context c, std::string_view key, VisitFn fn) noexcept {
  const Call call(c, key);
  if (!call.ok()) return call.read_otherwise(c, key, [&](Context d, std::string_view k) { return visit(d, k, fn); });
  auto& core = call.core();
  const bool found = core.read_head(call.thread(), key, [&](const HeadT& h) {
    const std::uint64_t record = core.space.offset_of(*h.record);
    const Core<StdSync>::Visit visit(core, call.thread(), &record, 1);
    fn(h.bytes());
  });
  if (!found) return Status::kNotFound;
  return true;
}

Result<bool> exists(Context c, std::string_view key) noexcept {
  const Call call(c, key);
  if (!call.ok()) return call.read_otherwise(c, key, [&](Context d, std::string_view k) { return exists(d, k); });
  return call.core().read(call.thread(), call.core().hash_of(key), key, [](const char*, std::uint64_t) {});
}

namespace {

// The set and the lock's entry are judged and changed at one moment: so nobody who gets the lock can come between.
Result<std::uint64_t> set_fenced(Context c, std::string_view key, std::string_view value, SetOptions o) noexcept {
  if (o.if_fence->lock.empty() || o.if_fence->lock.size() > kLockNameBytesMax) return {Status::kInvalidArgument, Field::kFence};
  if (o.return_previous != nullptr) return {Status::kInvalidArgument, Field::kReturnPrevious};
  WriteBatch batch;
  batch.require_fence(*o.if_fence);
  o.if_fence.reset();
  batch.set(key, value, o);
  const Result<void> done = write(c, batch);
  if (done) return batch.version(1);
  if (done.status() != Status::kConflict) return done.error();
  if (batch.failed() == 0) return {Status::kMismatch, Field::kFence};
  return o.if_absent ? Status::kExists : o.if_version ? Status::kMismatch : Status::kNotFound;
}

}  // namespace

// Nothing is asked beside the value.
static bool asks_nothing(const SetOptions& o) noexcept {
  const bool conditions = o.if_absent || o.if_present || o.if_version || o.return_previous != nullptr;
  const bool lifetime = o.ttl || o.idle || o.keep_ttl || !o.evictable;
  return !conditions && !lifetime && o.tags.empty() && o.lease == 0 && o.metadata.empty() && !o.keep_metadata;
}

Result<std::uint64_t> set(Context c, std::string_view key, std::string_view value, const SetOptions& o) noexcept {
  if (o.if_fence) [[unlikely]] return set_fenced(c, key, value, o);
  if (asks_nothing(o)) return set(c, key, value);
  const Call call(c, key);
  if (!call.ok()) return call.otherwise(c, key, [&](Context d, std::string_view k) { return set(d, k, value, o); });
  if (value.size() > call.store().value_bytes_max) return {Status::kTooLarge, Field::kValue};
  auto& core = call.core();
  SetTerms terms;
  TagBlock tags;
  if (const Error e = make_terms(call, o, terms, tags); e.status != Status::kOk) return e;
  const std::uint64_t hash = core.hash_of(key);
  core.prefetch_bucket(hash);
  SetChange<StdSync> change(core.space, call.thread(), key, value, terms);
  if (o.return_previous != nullptr) change.copy_previous(copy_to_value, o.return_previous);
  const Committed done = core.write(call.thread(), hash, key, change);
  if (o.lease != 0) swept_if_late(call, o.lease);
  return answer_set(call, hash, key, change, done);
}

Lookup<Value> get_and_set(Context c, std::string_view key, std::string_view value) noexcept {
  const Call call(c, key);
  if (!call.ok()) return call.otherwise(c, key, [&](Context d, std::string_view k) { return get_and_set(d, k, value); });
  if (value.size() > call.store().value_bytes_max) return {Status::kTooLarge, Field::kValue};
  auto& core = call.core();
  Lookup<Value> previous{Value()};
  SetChange<StdSync> change(core.space, call.thread(), key, value, {});
  change.copy_previous(copy_to_value, &*previous);
  const Result<std::uint64_t> r = answer(change, core.write(call.thread(), core.hash_of(key), key, change));
  if (!r) return r.error();
  if (!change.existed) return Status::kNotFound;
  return previous;
}

namespace {

// `expect` tells the change what the key must have.
template <class Expect>
Result<bool> swap_if(Context c, std::string_view key, std::string_view desired, Expect&& expect) noexcept {
  const Call call(c, key);
  if (!call.ok()) return call.otherwise(c, key, [&](Context d, std::string_view k) { return swap_if(d, k, desired, expect); });
  if (desired.size() > call.store().value_bytes_max) return {Status::kTooLarge, Field::kValue};
  auto& core = call.core();
  SwapChange<StdSync> change(core.space, call.thread(), key, desired);
  expect(change);
  const Committed done = core.write(call.thread(), core.hash_of(key), key, change);
  if (done.outcome == Outcome::kOutOfMemory) return Status::kOutOfMemory;
  return done.outcome == Outcome::kPut;
}

// del and its kin: whether a live entry was removed; `previous` (may be null) gets its value.
template <class Change = RemoveChange<StdSync>>
Result<bool> remove_if(Context c, std::string_view key, const std::string_view* expected, Value* previous) noexcept {
  const Call call(c, key);
  if (!call.ok()) return call.otherwise(c, key, [&](Context d, std::string_view k) { return remove_if<Change>(d, k, expected, previous); });
  auto& core = call.core();
  Change change(core.space, call.thread(), key);
  if (expected != nullptr) change.only_if(*expected);
  if (previous != nullptr) change.copy_previous(copy_to_value, previous);
  const Committed done = core.write(call.thread(), core.hash_of(key), key, change, true);
  if (done.outcome == Outcome::kOutOfMemory || change.status != Status::kOk) return Status::kOutOfMemory;
  return done.outcome == Outcome::kRemoved && change.existed;
}

}  // namespace

Result<bool> compare_and_swap(Context c, std::string_view key, std::string_view expected,
                              std::string_view desired) noexcept {
  return swap_if(c, key, desired, [&](SwapChange<StdSync>& change) { change.expect_value(expected); });
}

Result<bool> compare_and_swap_version(Context c, std::string_view key, std::uint64_t expected,
                                      std::string_view desired) noexcept {
  return swap_if(c, key, desired, [&](SwapChange<StdSync>& change) { change.expect_version(expected); });
}

Result<bool> del(Context c, std::string_view key) noexcept { return remove_if(c, key, nullptr, nullptr); }

namespace {

Result<bool> expire_now(Context c, std::string_view key) noexcept {
  return remove_if<ExpireNowChange<StdSync>>(c, key, nullptr, nullptr);
}

}  // namespace

Result<bool> compare_and_delete(Context c, std::string_view key, std::string_view expected) noexcept {
  return remove_if(c, key, &expected, nullptr);
}

Lookup<Value> get_and_del(Context c, std::string_view key) noexcept {
  Lookup<Value> previous{Value()};
  const Result<bool> removed = remove_if(c, key, nullptr, &*previous);
  if (!removed) return removed.error();
  if (!*removed) return Status::kNotFound;
  return previous;
}

namespace {

template <class Number>
Result<Number> add(Context c, std::string_view key, Number delta, Number initial) noexcept {
  const Call call(c, key);
  if (!call.ok()) return call.otherwise(c, key, [&](Context d, std::string_view k) { return add(d, k, delta, initial); });
  auto& core = call.core();
  AddChange<StdSync, Number> change(core.space, call.thread(), key, delta, initial);
  const Committed done = core.write(call.thread(), core.hash_of(key), key, change);
  if (done.outcome == Outcome::kPut) return change.sum;
  if (done.outcome == Outcome::kOutOfMemory) return Status::kOutOfMemory;
  return {change.status, change.status == Status::kOutOfRange ? Field::kDelta : Field::kValue};
}

}  // namespace

Result<std::int64_t> increment(Context c, std::string_view key, std::int64_t delta, std::int64_t initial) noexcept {
  return add(c, key, delta, initial);
}

Result<double> increment_float(Context c, std::string_view key, double delta, double initial) noexcept {
  if (!std::isfinite(delta) || !std::isfinite(initial)) {
    const Call call(c, key);
    if (!call.ok()) return call.otherwise(c, key, [&](Context d, std::string_view k) { return increment_float(d, k, delta, initial); });
    return {Status::kOutOfRange, Field::kDelta};
  }
  return add(c, key, delta, initial);
}

Result<std::size_t> append(Context c, std::string_view key, std::string_view bytes) noexcept {
  const Call call(c, key);
  if (!call.ok()) return call.otherwise(c, key, [&](Context d, std::string_view k) { return append(d, k, bytes); });
  auto& core = call.core();
  AppendChange<StdSync> change(core.space, call.thread(), key, bytes, call.store().value_bytes_max);
  const Committed done = core.write(call.thread(), core.hash_of(key), key, change);
  if (done.outcome == Outcome::kPut) return static_cast<std::size_t>(change.size);
  if (done.outcome == Outcome::kOutOfMemory) return Status::kOutOfMemory;
  return {Status::kTooLarge, Field::kValue};
}

Result<Update::Kind> update(Context c, std::string_view key, UpdateFn fn) noexcept {
  const Call call(c, key);
  if (!call.ok()) return call.otherwise(c, key, [&](Context d, std::string_view k) { return update(d, k, fn); });
  auto& core = call.core();
  UpdateChange<StdSync, UpdateFn, Update> change(core.space, call.thread(), key, fn, call.store().value_bytes_max);
  const Committed done = core.write(call.thread(), core.hash_of(key), key, change);
  if (done.outcome == Outcome::kOutOfMemory) return Status::kOutOfMemory;
  if (change.status != Status::kOk) {
    return {change.status, change.status == Status::kTooLarge ? Field::kValue : Field::kNone};
  }
  return change.answer.kind();
}

Result<bool> set_metadata(Context c, std::string_view key, std::string_view metadata) noexcept {
  const Call call(c, key);
  if (!call.ok()) return call.otherwise(c, key, [&](Context d, std::string_view k) { return set_metadata(d, k, metadata); });
  if (metadata.size() > kMetadataBytesMax) return {Status::kTooLarge, Field::kMetadata};
  auto& core = call.core();
  MetadataChange<StdSync> change(core.space, call.thread(), key, metadata);
  const Committed done = core.write(call.thread(), core.hash_of(key), key, change);
  if (done.outcome == Outcome::kOutOfMemory) return Status::kOutOfMemory;
  return done.outcome == Outcome::kPut;
}

namespace {

Result<bool> set_deadline(const Call& call, std::string_view key, std::uint64_t deadline_ms) noexcept {
  auto& core = call.core();
  const auto done = core.set_deadline(call.thread(), core.hash_of(key), key, deadline_ms);
  if (done.outcome == Outcome::kOutOfMemory) return Status::kOutOfMemory;
  return done.existed;
}

}  // namespace

Result<bool> expire(Context c, std::string_view key, std::chrono::milliseconds ttl) noexcept {
  if (ttl.count() <= 0) return expire_now(c, key);
  const Call call(c, key);
  if (!call.ok()) return call.otherwise(c, key, [&](Context d, std::string_view k) { return expire(d, k, ttl); });
  const DeadlineAt d = deadline_after(call, ttl.count());
  if (d.error.status != Status::kOk) return d.error;
  return set_deadline(call, key, d.ms);
}

Result<bool> expire_at(Context c, std::string_view key, std::chrono::milliseconds deadline) noexcept {
  const Call call(c, key);
  if (!call.ok()) return call.otherwise(c, key, [&](Context d, std::string_view k) { return expire_at(d, k, deadline); });
  const std::uint64_t now = call.core().time.now();
  if (deadline.count() <= 0 || static_cast<std::uint64_t>(deadline.count()) <= now) return expire_now(c, key);
  const std::uint64_t ms = static_cast<std::uint64_t>(deadline.count());
  if (ms >= Deadline::kNever || ms - now > static_cast<std::uint64_t>(kTtlMsMax)) {
    return {Status::kOutOfRange, Field::kTtl};
  }
  return set_deadline(call, key, ms);
}

Result<bool> persist(Context c, std::string_view key) noexcept {
  const Call call(c, key);
  if (!call.ok()) return call.otherwise(c, key, [&](Context d, std::string_view k) { return persist(d, k); });
  auto& core = call.core();
  const auto done = core.set_deadline(call.thread(), core.hash_of(key), key, Deadline::kNever);
  if (done.outcome == Outcome::kOutOfMemory) return Status::kOutOfMemory;
  return done.had_deadline;
}

Result<DraftState> allocate(Context c, std::string_view key, std::size_t size) noexcept {
  const Call call(c, key);
  if (!call.ok()) return call.otherwise(c, key, [&](Context d, std::string_view k) { return allocate(d, k, size); });
  if (size > call.store().value_bytes_max) return {Status::kTooLarge, Field::kValue};
  auto& core = call.core();
  // With the word of a deadline, whatever publish is asked for later.
  Core<StdSync>::Room room;
  auto built = core.space.build(call.thread(), {key, size, true, Deadline::kNever, false, false});
  while (built.offset == 0 && core.find_room(call.thread(), size + key.size(), room)) {
    built = core.space.build(call.thread(), {key, size, true, Deadline::kNever, false, false});
  }
  core.hand_out_removals(call.thread());
  if (built.offset == 0) {
    call.thread().counters.refused.add();
    core.space.upkeep.ask();
    core.space.upkeep.pass_on();
    return Status::kOutOfMemory;
  }
  call.store().drafts.fetch_add(1, std::memory_order_relaxed);  // statistics
  return DraftState{c, built.offset, built.value, size, key.size()};
}

Result<std::uint64_t> publish(DraftState& draft, const SetOptions& o) noexcept {
  if (draft.record == 0) return {Status::kInvalidArgument, Field::kValue};
  const Call call(draft.context);
  if (!call.ok()) return call.error();
  auto& core = call.core();
  const auto& r = *core.space.record(draft.record);
  const auto k = core.space.key_of(r, r.stamp_word());
  const std::string_view key(k.data, k.size);
  SetTerms terms;
  TagBlock tags;
  if (o.idle) return {Status::kInvalidArgument, Field::kIdle};  // the record is made, and has no word for it
  if (!o.tags.empty()) return {Status::kInvalidArgument, Field::kTags};  // nor room for these
  if (o.lease != 0) return {Status::kInvalidArgument, Field::kLease};    // as above
  if (!o.metadata.empty() || o.keep_metadata) return {Status::kInvalidArgument, Field::kMetadata};  // as above
  if (const Error e = make_terms(call, o, terms, tags); e.status != Status::kOk) return e;
  SetChange<StdSync> change(core.space, call.thread(), key, terms, draft.record);
  if (o.return_previous != nullptr) change.copy_previous(copy_to_value, o.return_previous);
  const Result<std::uint64_t> done = answer(change, core.write(call.thread(), core.hash_of(key), key, change));
  if (done) {
    draft = {};
    call.store().drafts.fetch_sub(1, std::memory_order_relaxed);  // statistics
    return done;
  }
  // Another insert of the key may have killed the draft's record, which then goes on as a copy.
  draft.record = change.take_back();
  if (draft.record == 0) {
    draft = {};
    call.store().drafts.fetch_sub(1, std::memory_order_relaxed);  // statistics
    return done;
  }
  const auto& again = *core.space.record(draft.record);
  draft.data = const_cast<char*>(core.space.value_of(again, again.stamp_word(), draft.key_size).data);
  return done;
}

void abandon(DraftState& draft) noexcept {
  if (draft.record == 0) return;
  StoreCore& store = *draft.context.core;
  if (Thread<StdSync>* t = store.thread(draft.context)) store.core.space.discard(*t, draft.record);
  store.drafts.fetch_sub(1, std::memory_order_relaxed);  // statistics
  draft = {};
}

}  // namespace tern::detail
