// Views as their users have them: handles, arguments, copies.
#include <tern/view.h>

#include <algorithm>
#include <utility>

#include "engine/look_ahead.h"
#include "engine/store_core.h"
#include "engine/stored_key.h"
#include "engine/views.h"
#include "simd/hash.h"
#include "simd/key_equal.h"

namespace tern {

using detail::Call;
using ViewsNow = detail::Views<detail::StdSync>;
using HeadNow = detail::Head<detail::StdSync>;
using SpaceNow = detail::Space<detail::StdSync>;
using LookAheadNow = detail::LookAhead<detail::StdSync>;
using HandleNow = detail::ViewHandle<detail::StdSync>;

static_assert(kViewsMax == detail::ViewClock<detail::StdSync>::kOfUsersMax);

namespace {

HandleNow handle_of(unsigned index, std::uint64_t stamp, std::uint64_t now_ms) noexcept {
  return {{index, stamp}, now_ms};
}

std::optional<std::chrono::milliseconds> ttl_of(const HeadNow& h, const HandleNow& view) noexcept {
  if (!h.has_deadline) return std::nullopt;
  return std::chrono::milliseconds(h.deadline_ms > view.now_ms ? h.deadline_ms - view.now_ms : 1);
}

Status status_of(ViewsNow::Outcome outcome) noexcept {
  switch (outcome) {
    case ViewsNow::Outcome::kFound: return Status::kOk;
    case ViewsNow::Outcome::kAbsent: return Status::kNotFound;
    case ViewsNow::Outcome::kEnded: break;
  }
  return Status::kViewExpired;
}

// fn(space, head) of what the view has of the key, inside the guard; its false: no memory.
template <class Fn>
Error read_one(detail::StoreCore* core, const detail::NameRules* rules, const HandleNow& view, std::string_view key, Fn&& fn) noexcept {
  const detail::StoredKey stored(detail::with_rules(core, rules), key);
  if (stored.error().status != Status::kOk) return stored.error();
  key = stored.view();
  const Call call(stored.context(), key);
  if (!call.ok()) return call.error(key);
  bool whole = true;
  const auto outcome = ViewsNow(call.core()).read(call.thread(), view, call.core().hash_of(key), key, [&](const HeadNow& h) {
    whole = fn(static_cast<const SpaceNow&>(call.core().space), h);
  });
  if (outcome != ViewsNow::Outcome::kFound) return {status_of(outcome), Field::kNone};
  return {whole ? Status::kOk : Status::kOutOfMemory, Field::kNone};
}

}  // namespace

View::View(View&& other) noexcept
    : InOrder<View>(),
      core_(std::exchange(other.core_, nullptr)),
      index_(other.index_),
      stamp_(std::exchange(other.stamp_, 0)),
      now_ms_(other.now_ms_),
      rules_(other.rules_) {}

View& View::operator=(View&& other) noexcept {
  View moved(std::move(other));
  std::swap(core_, moved.core_);
  std::swap(index_, moved.index_);
  std::swap(stamp_, moved.stamp_);
  std::swap(now_ms_, moved.now_ms_);
  std::swap(rules_, moved.rules_);
  return *this;
}

void View::close() noexcept {
  detail::StoreCore* core = std::exchange(core_, nullptr);
  if (core == nullptr) return;
  // A store that was closed keeps nothing for anybody: what is left goes with its memory.
  detail::Thread<detail::StdSync>* t = core->is_closed() ? nullptr : core->thread();
  ViewsNow(core->core).close(t, handle_of(index_, stamp_, now_ms_));
  core->drop_handle();
}

PatternOptions View::pattern_options(PatternOptions asked) const noexcept {
  return detail::pattern_options(rules_, asked);
}

bool View::is_open() const noexcept {
  return core_ != nullptr && !core_->is_closed() && core_->core.space.views.is_open({index_, stamp_});
}

Lookup<Value> View::get(std::string_view key) const noexcept {
  Lookup<Value> answer{Value()};
  const Error e = read_one(core_, rules_, handle_of(index_, stamp_, now_ms_), key,
                           [&](const SpaceNow&, const HeadNow& h) { return answer->assign(h.bytes()); });
  if (e.status != Status::kOk) return e;
  return answer;
}

Lookup<std::size_t> View::get(std::string_view key, std::span<char> out) const noexcept {
  std::size_t size = 0;
  const Error e = read_one(core_, rules_, handle_of(index_, stamp_, now_ms_), key, [&](const SpaceNow&, const HeadNow& h) {
    size = h.value_size;
    if (size <= out.size()) simd::copy_bytes(out.data(), h.value, size);
    return true;
  });
  if (e.status != Status::kOk) return e;
  return size;
}

Lookup<Entry> View::get_entry(std::string_view key) const noexcept {
  const HandleNow view = handle_of(index_, stamp_, now_ms_);
  Lookup<Entry> answer{Entry()};
  const Error e = read_one(core_, rules_, view, key, [&](const SpaceNow& space, const HeadNow& h) {
    answer->version = h.version;
    answer->ttl = ttl_of(h, view);
    return answer->value.assign(h.bytes()) && answer->metadata.assign(space.metadata_of(*h.record, h.stamp));
  });
  if (e.status != Status::kOk) return e;
  return answer;
}

Lookup<Value> View::get_metadata(std::string_view key) const noexcept {
  Lookup<Value> answer{Value()};
  const Error e = read_one(core_, rules_, handle_of(index_, stamp_, now_ms_), key, [&](const SpaceNow& space, const HeadNow& h) {
    return answer->assign(space.metadata_of(*h.record, h.stamp));
  });
  if (e.status != Status::kOk) return e;
  return answer;
}

Result<bool> View::exists(std::string_view key) const noexcept {
  const Error e = read_one(core_, rules_, handle_of(index_, stamp_, now_ms_), key, [](const SpaceNow&, const HeadNow&) { return true; });
  if (e.status != Status::kOk && e.status != Status::kNotFound) return e;
  return e.status == Status::kOk;
}

Result<void> View::get_many(std::span<const std::string_view> keys, Values& out) const noexcept {
  const Call call({core_, nullptr});
  if (!call.ok()) return call.error();
  if (const Error e = Call::count_error(keys.size(), kKeysPerCallMax, keys.size()); e.status != Status::kOk) return e;
  const detail::Context context = detail::with_rules(core_, rules_);
  detail::StoredKeys stored;
  if (detail::StoredKeys::are_needed(context, keys)) {
    if (!stored.assign(context, keys)) return Status::kOutOfMemory;
    keys = stored.keys();
  }
  detail::StoreCore::Answers answers{out};
  if (!answers.begin(keys.size())) return Status::kOutOfMemory;
  const HandleNow view = handle_of(index_, stamp_, now_ms_);
  auto& core = call.core();
  bool whole = true;
  for (std::size_t first = 0; first < keys.size(); first += detail::kGroupKeys) {
    const auto count = static_cast<unsigned>(std::min<std::size_t>(detail::kGroupKeys, keys.size() - first));
    std::uint64_t hash[detail::kGroupKeys];
    simd::hash_batch(keys.data() + first, count, core.space.geometry.hash_keys, hash);
    const detail::Guard<detail::StdSync> guard(core.space, call.thread());
    for (unsigned i = 0; i != count; ++i) core.prefetch_bucket(hash[i]);
    for (unsigned i = 0; i != count; ++i) {
      const std::string_view key = keys[first + i];
      if (const Error e = Call::key_error(key); e.status != Status::kOk) {
        answers.set(first + i, e);
        continue;
      }
      const auto outcome =
          ViewsNow(core).read(call.thread(), view, hash[i], key, [&](const HeadNow& h) {
            whole = answers.add(first + i, h.value, h.value_size) && whole;
          });
      if (outcome == ViewsNow::Outcome::kEnded) return Status::kViewExpired;
      if (outcome == ViewsNow::Outcome::kAbsent) answers.set(first + i, Call::kMiss);
    }
  }
  if (!whole) return Status::kOutOfMemory;
  return {};
}

Result<bool> View::walk(FunctionRef<bool(const ViewEntry&)> fn) const noexcept {
  const Call call({core_, nullptr});
  if (!call.ok()) return call.error();
  auto& core = call.core();
  auto& t = call.thread();
  const HandleNow view = handle_of(index_, stamp_, now_ms_);
  const unsigned name = detail::name_of(detail::with_rules(core_, rules_));
  detail::ViewCursor cursor;
  LookAheadNow ahead;
  ViewsNow::Step step;
  bool ended = false;
  for (;;) {
    if (core_->is_closed()) return Status::kClosed;
    const detail::Guard<detail::StdSync> guard(core.space, t);
    ahead.before(core, cursor, stamp_);
    if (!ViewsNow(core).step(view, cursor, step, ended)) break;
    if (step.count == 0) continue;
    const detail::Core<detail::StdSync>::Visit visit(core, t, step.record, step.count);
    for (unsigned i = 0; i != step.count; ++i) {
      const HeadNow& h = step.head[i];
      if (detail::name_of(step.key[i]) != name) continue;
      if (!fn(ViewEntry{detail::own_key(step.key[i]), h.bytes(), h.version, ttl_of(h, view), core.space.metadata_of(*h.record, h.stamp)})) return false;
    }
  }
  if (ended) return Status::kViewExpired;
  return true;
}

Result<std::uint64_t> View::size() const noexcept {
  const Call call({core_, nullptr});
  if (!call.ok()) return call.error();
  const unsigned name = detail::name_of(detail::with_rules(core_, rules_));
  detail::ViewCursor cursor;
  LookAheadNow ahead;
  ViewsNow::Step step;
  bool ended = false;
  std::uint64_t count = 0;
  for (;;) {
    const detail::Guard<detail::StdSync> guard(call.core().space, call.thread());
    ahead.before(call.core(), cursor, stamp_);
    if (!ViewsNow(call.core()).step(handle_of(index_, stamp_, now_ms_), cursor, step, ended)) break;
    for (unsigned i = 0; i != step.count; ++i) count += detail::name_of(step.key[i]) == name;
  }
  if (ended) return Status::kViewExpired;
  return count;
}

}  // namespace tern
