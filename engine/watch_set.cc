#include <tern/namespace.h>
#include <tern/watch_set.h>

#include <algorithm>
#include <new>
#include <utility>

#include "alloc/private_memory.h"
#include "engine/feed_set.h"
#include "engine/stored_key.h"

namespace tern {

namespace detail {

Result<FeedSet*> FeedSet::open(StoreCore& store, const WatchSetOptions& options, const NameRules* rules) noexcept {
  void* memory = alloc::private_allocate(sizeof(FeedSet));
  if (memory == nullptr) return Status::kOutOfMemory;
  // Secret: whoever chooses keys or filters can't know which of them fall together.
  constexpr char kSeedName[] = "filters of a watch set";
  FeedSet* set = new (memory) FeedSet(store.core.hash_of({kSeedName, sizeof kSeedName}), rules);
  WatchOptions o;
  o.kinds = options.kinds;
  o.keys_only = options.keys_only;
  o.coalesce = options.coalesce;
  o.gather = options.gather;
  o.memory_bytes = options.memory_bytes;
  o.min_interval = options.min_interval;
  o.progress = options.progress;
  const Result<Feed*> feed = Feed::open(store, KeyFilter(), o, set, rules != nullptr ? rules->number : kDefaultName);
  if (feed) {
    set->feed_ = *feed;
    return set;
  }
  set->~FeedSet();
  alloc::private_free(memory);
  return feed.error();
}

void FeedSet::close() noexcept {
  feed_->close();
  this->~FeedSet();
  alloc::private_free(this);
}

Result<std::uint32_t> FeedSet::add(KeyFilter::Kind kind, std::string_view text, char separator, bool fold_case) noexcept {
  StoreCore& store = feed_->store();
  if (store.is_closed()) return Status::kClosed;
  // As the namespace's keys are kept.
  KeyBytes own;
  if (rules_ != nullptr) {
    separator = rules_->separator;
    fold_case = fold_case || rules_->fold_case;
  }
  if (kind == KeyFilter::Kind::kKey) {
    const StoredKey stored(context(), text);
    if (stored.error().status != Status::kOk) return stored.error();
    if (!own.assign(own_key(stored.view()))) return Status::kOutOfMemory;
    text = own.view();
  } else if (kind == KeyFilter::Kind::kPrefix && rules_ != nullptr && rules_->fold_case) {
    if (!own.assign(text)) return Status::kOutOfMemory;
    fold(own.data(), text.size());
    text = own.view();
  }
  std::uint32_t number = 0;
  const Error error = filters.add(kind, text, separator, fold_case, store.core.space.views.move(), number);
  if (error.status != Status::kOk) return error;
  return number;
}

}  // namespace detail

using detail::Call;
using detail::FeedSet;
using detail::KeyFilter;

Result<WatchSet> WatchSet::open(const Store& store, const WatchSetOptions& options) noexcept {
  return open(store.context(), options);
}
Result<WatchSet> WatchSet::open(const Namespace& ns, const WatchSetOptions& options) noexcept { return open(ns.context(), options); }
Result<WatchSet> WatchSet::open(const detail::Context& context, const WatchSetOptions& options) noexcept {
  const Call call(context);
  if (!call.ok()) return call.error();
  const Result<FeedSet*> set = FeedSet::open(call.store(), options, detail::rules_of(context));
  if (!set) return set.error();
  return Result<WatchSet>(WatchSet(*set));
}

WatchSet& WatchSet::operator=(WatchSet&& other) noexcept {
  WatchSet moved(std::move(other));
  std::swap(set_, moved.set_);
  return *this;
}

void WatchSet::close() noexcept {
  if (FeedSet* set = std::exchange(set_, nullptr)) set->close();
}

Result<std::uint32_t> WatchSet::add_key(std::string_view key) noexcept {
  if (set_ == nullptr) return Status::kClosed;
  if (const Error e = Call::key_error(key, kKeyBytesMax); e.status != Status::kOk) return e;
  return set_->add(KeyFilter::Kind::kKey, key, '.', false);
}
Result<std::uint32_t> WatchSet::add_prefix(std::string_view prefix) noexcept {
  if (set_ == nullptr) return Status::kClosed;
  if (prefix.size() > kKeyBytesMax) return {Status::kTooLarge, Field::kKey};
  return set_->add(KeyFilter::Kind::kPrefix, prefix, '.', false);
}
Result<std::uint32_t> WatchSet::add_glob(std::string_view glob, const PatternOptions& options) noexcept {
  if (set_ == nullptr) return Status::kClosed;
  return set_->add(KeyFilter::Kind::kGlob, glob, options.separator, options.fold_case);
}
Result<std::uint32_t> WatchSet::add_regex(std::string_view expression, const RegexOptions& options) noexcept {
  if (set_ == nullptr) return Status::kClosed;
  return set_->add(KeyFilter::Kind::kRegex, expression, '.', options.fold_case);
}
bool WatchSet::remove(std::uint32_t filter) noexcept { return set_ != nullptr && set_->filters.remove(filter); }
std::size_t WatchSet::size() const noexcept { return set_ == nullptr ? 0 : set_->filters.size(); }

Result<std::size_t> WatchSet::poll(std::span<Change> out) noexcept {
  if (set_ == nullptr) return Status::kClosed;
  return set_->feed().poll(out);
}
Result<bool> WatchSet::wait(std::chrono::milliseconds timeout) noexcept {
  if (set_ == nullptr) return Status::kClosed;
  return set_->feed().wait_ms(timeout.count());
}
Result<int> WatchSet::descriptor() noexcept {
  if (set_ == nullptr) return Status::kClosed;
  return set_->feed().descriptor();
}
std::uint64_t WatchSet::lost() const noexcept { return set_ == nullptr ? 0 : set_->feed().lost(); }
std::uint64_t WatchSet::lag() const noexcept { return set_ == nullptr ? 0 : set_->feed().lag(); }
std::uint64_t WatchSet::id() const noexcept { return set_ == nullptr ? 0 : set_->feed().id(); }

void WatchSet::for_each_filter(const Change& change, FunctionRef<void(std::uint32_t)> fn) noexcept {
  if (set_ == nullptr || change.kind == ChangeKind::kGap || change.kind == ChangeKind::kProgress) return;
  const auto tell = [&](std::uint32_t filter) {
    fn(filter);
    return true;
  };
  if (change.kind == ChangeKind::kInvalidate) {
    set_->filters.find_touched(change.scope, change.key, change.stamp, tell);
  } else {
    set_->filters.find(change.key, change.stamp, tell);
  }
}

}  // namespace tern
