// The operations on many keys: groups of 64, an answer for each.
#include <tern/operations.h>

#include <algorithm>
#include <cstring>

#include "alloc/private_memory.h"
#include "engine/groups.h"
#include "engine/moment.h"
#include "engine/store_core.h"
#include "engine/stored_key.h"
#include "engine/writes.h"
#include "simd/key_equal.h"

namespace tern::detail {

namespace {

using Rec = Record<StdSync>;
using Outcome = Committed::Outcome;

// A key as the engine takes it: one that is past its limit stands as an empty one, which is never found.
std::string_view within_limit(std::string_view key) noexcept {
  return key.size() <= kStoredKeyBytesMax ? key : std::string_view();
}

struct Group {
  union {  // not initialised: a kilobyte of zeros for each group is a tenth of its time
    std::string_view keys[kGroupKeys];
  };
  unsigned count = 0;

  Group(std::span<const std::string_view> all, std::size_t first) noexcept {
    count = static_cast<unsigned>(std::min<std::size_t>(kGroupKeys, all.size() - first));
    for (unsigned i = 0; i != count; ++i) {
      new (keys + i) std::string_view(within_limit(all[first + i]));
    }
  }
};

}  // namespace

bool StoreCore::Answers::begin(std::size_t count) noexcept {
  if (count > values.answers_capacity_) {
    alloc::private_free(values.answers_);
    values.answers_capacity_ = 0;
    values.count_ = 0;
    values.answers_ = static_cast<Values::Answer*>(alloc::private_allocate(count * sizeof(Values::Answer)));
    if (values.answers_ == nullptr) return false;
    values.answers_capacity_ = count;
  }
  values.count_ = count;
  values.used_ = 0;
  return true;
}

bool StoreCore::Answers::add(std::size_t i, const char* value, std::uint64_t size) noexcept {
  if (size > values.bytes_capacity_ - values.used_) {
    const std::size_t capacity = std::max<std::size_t>(values.used_ + size, values.bytes_capacity_ * 2 + 4096);
    auto* bytes = static_cast<char*>(alloc::private_allocate(capacity));
    if (bytes == nullptr) {
      set(i, {Status::kOutOfMemory, Field::kNone});
      return false;
    }
    if (values.used_ != 0) std::memcpy(bytes, values.bytes_, values.used_);
    alloc::private_free(values.bytes_);
    values.bytes_ = bytes;
    values.bytes_capacity_ = capacity;
  }
  simd::copy_bytes(values.bytes_ + values.used_, value, size);
  values.answers_[i] = {values.used_, size, {}};
  values.used_ += size;
  return true;
}

Result<void> get_many(Context c, std::span<const std::string_view> keys, Values& out, bool at_one_moment) noexcept {
  const Call call(c);
  if (!call.ok()) return call.error();
  if (const Error e = Call::count_error(keys.size(), at_one_moment ? kKeysAtOneMomentMax : kKeysPerCallMax, keys.size());
      e.status != Status::kOk) {
    return e;
  }
  if (StoredKeys::are_needed(c, keys)) [[unlikely]] {
    StoredKeys stored;
    if (!stored.assign(c, keys)) return Status::kOutOfMemory;
    return get_many(with_stored_key(c), stored.keys(), out, at_one_moment);
  }
  StoreCore::Answers answers{out};
  if (!answers.begin(keys.size())) return Status::kOutOfMemory;
  bool whole = true;
  if (!at_one_moment) {
    Groups<StdSync> groups(call.core());
    for (std::size_t first = 0; first < keys.size(); first += kGroupKeys) {
      const Group g(keys, first);
      groups.read(call.thread(), g.keys, g.count, [&](unsigned i, Rec* r, const char* value, std::uint64_t size) {
        if (r == nullptr) return answers.set(first + i, Call::miss_or_bad(keys[first + i]));
        whole = answers.add(first + i, value, size) && whole;
      });
    }
  } else {
    using M = Moment<StdSync>;
    const std::size_t n = keys.size();
    auto* cells = static_cast<M::Cell*>(alloc::private_allocate((n + 1) * sizeof(M::Cell)));
    if (cells == nullptr) return Status::kOutOfMemory;
    // A bad key fails alone: it is taken out of what is read together.
    auto* good = static_cast<std::string_view*>(alloc::private_allocate((n + 1) * sizeof(std::string_view)));
    auto* index = static_cast<std::size_t*>(alloc::private_allocate((n + 1) * sizeof(std::size_t)));
    std::size_t count = 0;
    M::Outcome done = M::Outcome::kDone;
    const bool room = good != nullptr && index != nullptr;
    if (room) {
      for (std::size_t i = 0; i != n; ++i) {
        const Error e = Call::key_error(keys[i]);
        if (e.status != Status::kOk) {
          answers.set(i, e);
          continue;
        }
        good[count] = keys[i];
        index[count++] = i;
      }
      done = M::read(call.core(), call.thread(), good, count, cells,
                     [&](std::size_t i, const char* value, std::uint64_t size) {
                       if (value == nullptr) return answers.set(index[i], Call::kMiss);
                       whole = answers.add(index[i], value, size) && whole;
                     });
    }
    alloc::private_free(index);
    alloc::private_free(good);
    alloc::private_free(cells);
    if (!room) return Status::kOutOfMemory;
    if (done != M::Outcome::kDone) return Status::kConflict;
  }
  if (!whole) return Status::kOutOfMemory;
  return {};
}

Result<void> visit_many(Context c, std::span<const std::string_view> keys, VisitManyFn fn) noexcept {
  const Call call(c);
  if (!call.ok()) return call.error();
  if (const Error e = Call::count_error(keys.size(), kKeysPerCallMax, keys.size()); e.status != Status::kOk) return e;
  if (StoredKeys::are_needed(c, keys)) [[unlikely]] {
    StoredKeys stored;
    if (!stored.assign(c, keys)) return Status::kOutOfMemory;
    return visit_many(with_stored_key(c), stored.keys(), fn);
  }
  auto& core = call.core();
  Groups<StdSync> groups(core);
  for (std::size_t first = 0; first < keys.size(); first += kGroupKeys) {
    const Group g(keys, first);
    // The callbacks run when the group has been read: they may write, and what they write may be retired at once.
    std::string_view value[kGroupKeys];
    std::uint64_t records[kGroupKeys];
    unsigned found = 0;
    const Guard<StdSync> guard(core.space, call.thread());
    bool present[kGroupKeys] = {};
    groups.read(call.thread(), g.keys, g.count, [&](unsigned i, Rec* r, const char* v, std::uint64_t size) {
      if (r == nullptr) return;
      present[i] = true;
      value[i] = {v, size};
      records[found++] = static_cast<std::uint64_t>(reinterpret_cast<std::byte*>(r) - core.space.heap.base()) / 8;
    });
    const Core<StdSync>::Visit visit(core, call.thread(), records, found);
    for (unsigned i = 0; i != g.count; ++i) {
      if (present[i]) {
        fn(first + i, value[i]);
      } else {
        fn(first + i, Call::miss_or_bad(keys[first + i]));
      }
    }
  }
  return {};
}

Result<void> set_many(Context c, std::span<const Item> items, std::span<Result<std::uint64_t>> answers) noexcept {
  const Call call(c);
  if (!call.ok()) return call.error();
  if (const Error e = Call::count_error(items.size(), kKeysPerCallMax, answers.size()); e.status != Status::kOk) return e;
  const auto key_at = [&](std::size_t i) { return items[i].key; };
  if (StoredKeys::are_needed(c, items.size(), key_at)) [[unlikely]] {
    StoredKeys stored;
    if (!stored.assign(c, items.size(), key_at)) return Status::kOutOfMemory;
    Item group[kGroupKeys];
    for (std::size_t first = 0; first < items.size(); first += kGroupKeys) {
      const std::size_t count = std::min<std::size_t>(kGroupKeys, items.size() - first);
      for (std::size_t i = 0; i != count; ++i) group[i] = {stored.keys()[first + i], items[first + i].value, items[first + i].ttl};
      const Result<void> r = set_many(with_stored_key(c), {group, count}, answers.subspan(first, count));
      if (!r) return r;
    }
    return {};
  }
  auto& core = call.core();
  Groups<StdSync> groups(core);
  for (std::size_t first = 0; first < items.size(); first += kGroupKeys) {
    const auto count = static_cast<unsigned>(std::min<std::size_t>(kGroupKeys, items.size() - first));
    std::string_view keys[kGroupKeys];
    std::uint64_t hash[kGroupKeys];
    for (unsigned i = 0; i != count; ++i) keys[i] = within_limit(items[first + i].key);
    groups.prepare_writes(call.thread(), Groups<StdSync>::Write::kSet, keys, count, hash);
    // One announcement for the group. What it replaces can't be reused before its end: where that is what a write
    // lacks, the write is tried again outside.
    Thread<StdSync>& t = call.thread();
    auto& epoch = core.space.epoch;
    epoch.enter(t.epoch);
    const auto outside = [&](auto&& fn) {
      epoch.leave(t.epoch);
      fn();
      core.hand_out_removals(t);
      epoch.enter(t.epoch);
    };
    for (unsigned i = 0; i != count; ++i) {
      const Item& item = items[first + i];
      Result<std::uint64_t>& to = answers[first + i];
      if (const Error e = Call::key_error(item.key); e.status != Status::kOk) [[unlikely]] {
        to = e;
        continue;
      }
      if (item.value.size() > call.store().value_bytes_max) [[unlikely]] {
        to = Error{Status::kTooLarge, Field::kValue};
        continue;
      }
      if (item.ttl) [[unlikely]] {
        SetOptions o;
        o.ttl = item.ttl;
        outside([&] { to = set(c, item.key, item.value, o); });
        continue;
      }
      const Committed done = set_in_group(call.store(), t, hash[i], item.key, item.value);
      if (done.outcome == Outcome::kPut) [[likely]] {
        to = done.version;
        // Before the list of them is full.
        if (t.removals.count >= kRemovalsNoted / 2) [[unlikely]] outside([] {});
        continue;
      }
      outside([&] { to = set(c, item.key, item.value); });
    }
    epoch.leave(t.epoch);
    core.hand_out_removals(t);
  }
  return {};
}

Result<void> del_many(Context c, std::span<const std::string_view> keys, std::span<Result<bool>> answers) noexcept {
  const Call call(c);
  if (!call.ok()) return call.error();
  if (const Error e = Call::count_error(keys.size(), kKeysPerCallMax, answers.size()); e.status != Status::kOk) return e;
  if (StoredKeys::are_needed(c, keys)) [[unlikely]] {
    StoredKeys stored;
    if (!stored.assign(c, keys)) return Status::kOutOfMemory;
    return del_many(with_stored_key(c), stored.keys(), answers);
  }
  auto& core = call.core();
  Groups<StdSync> groups(core);
  for (std::size_t first = 0; first < keys.size(); first += kGroupKeys) {
    const Group g(keys, first);
    std::uint64_t hash[kGroupKeys];
    groups.prepare_writes(call.thread(), Groups<StdSync>::Write::kDel, g.keys, g.count, hash);
    for (unsigned i = 0; i != g.count; ++i) {
      const std::string_view key = keys[first + i];
      if (const Error e = Call::key_error(key); e.status != Status::kOk) {
        answers[first + i] = e;
        continue;
      }
      RemoveChange<StdSync> change(core.space, call.thread(), key);
      const Committed done = core.write(call.thread(), hash[i], key, change, true);
      if (done.outcome == Outcome::kOutOfMemory) {
        answers[first + i] = Status::kOutOfMemory;
      } else {
        answers[first + i] = done.outcome == Outcome::kRemoved && change.existed;
      }
    }
  }
  return {};
}

}  // namespace tern::detail
