// Scans as their users have them: which way is taken, pages, removals by pattern.
#include <tern/scan.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "alloc/private_memory.h"
#include "engine/key_bytes.h"
#include "engine/look_ahead.h"
#include "engine/scans.h"
#include "engine/store_core.h"
#include "engine/stored_key.h"
#include "engine/views.h"
#include "engine/workers.h"
#include "simd/hash.h"

namespace tern {

using detail::Call;
using detail::KeyList;
using detail::KeyRange;
using ViewsNow = detail::Views<detail::StdSync>;
using ScansNow = detail::Scans<detail::StdSync>;
using HeadNow = detail::Head<detail::StdSync>;
using GuardNow = detail::Guard<detail::StdSync>;
using VisitNow = detail::Core<detail::StdSync>::Visit;

namespace {

// What a call is about, once its options are put together: bounds as stored keys have them, filters for keys as their owner
// knows them.
class Wanted {
 public:
  Wanted(const detail::Context& c, const ScanOptions& o, std::string_view behind) noexcept
      : context_(c), pattern_(o.pattern), regex_(o.regex) {
    range.reverse = o.reverse;
    // All keys of one namespace lie together (names.h).
    if (detail::rules_of(c) == nullptr) range.lower_high(kEndOfDefault, false);
    begin_with(o.prefix);
    if (!o.from.empty()) range.raise_low(stored(o.from), true);
    if (!o.to.empty()) range.lower_high(stored(o.to), false);
    for (const std::string_view key : {o.after, behind}) {
      if (key.empty()) continue;
      if (o.reverse) {
        range.lower_high(stored(key), false);
      } else {
        range.raise_low(stored(key), false);
      }
    }
    if (pattern_ != nullptr) {
      if (pattern_->is_literal()) {
        only(pattern_->literal_start());
      } else {
        begin_with(pattern_->literal_start());
      }
    }
    if (regex_ != nullptr && regex_->is_bounded()) {
      // Of bytes as they are kept: folded, "A", the first of "[A_]", would come behind "_".
      range.raise_low(stored(regex_->first(), false), true);
      range.lower_high(stored(regex_->last(), false), true);
    }
  }
  Wanted(const Wanted&) = delete;
  Wanted& operator=(const Wanted&) = delete;

  void only(std::string_view key) noexcept {
    const std::string_view one = stored(key);
    range.raise_low(one, true);
    range.lower_high(one, true);
  }
  void begin_with(std::string_view beginning) noexcept {
    const std::string_view prefix = stored(beginning);
    if (prefix.starts_with(range.prefix)) {
      range.prefix = prefix;
    } else if (!range.prefix.starts_with(prefix)) {
      is_nothing = true;
    }
  }
  bool has_filter() const noexcept { return pattern_ != nullptr || regex_ != nullptr; }
  bool matches(std::string_view stored) const noexcept {
    const std::string_view key = detail::own_key(stored);
    return (pattern_ == nullptr || pattern_->matches(key)) && (regex_ == nullptr || regex_->matches(key));
  }

  KeyRange range;
  bool is_nothing = false;
  bool has_failed = false;  // no memory

 private:
  static constexpr std::string_view kEndOfDefault{"\xFF\x00\x01", 3};
  static constexpr unsigned kBoundsMax = 9;

  std::string_view stored(std::string_view bytes, bool is_text = true) noexcept {
    detail::StoredBound& bound = bounds_[count_++];
    if (!bound.assign(context_, bytes, is_text)) has_failed = true;
    return bound.view();
  }

  const detail::Context context_;
  const Pattern* const pattern_;
  const Regex* const regex_;
  unsigned count_ = 0;
  detail::StoredBound bounds_[kBoundsMax];
};

class Scan {
 public:
  // `view` is of the store that `call` is of.
  Scan(const Call& call, const ViewsNow::Handle& view, const ScanOptions& options, detail::EntryFn fn) noexcept
      : call_(call), view_(view), keys_only_(options.keys_only), left_(options.limit != 0 ? options.limit : ~std::uint64_t{0}), fn_(fn) {}

  // What it came to: true, the end of the range; or `stop` says whether the caller wanted no more.
  Result<bool> run(const Wanted& wanted) noexcept {
    if (wanted.has_failed) return Status::kOutOfMemory;
    if (wanted.is_nothing) return true;
    return call_.core().table.ordered() != nullptr ? by_index(wanted) : by_walk(wanted);
  }

  ScanCursor* cursor = nullptr;
  using MoveFn = bool (*)(ScanCursor&, std::string_view);
  MoveFn move = nullptr;

 private:
  Result<bool> by_index(const Wanted& wanted) noexcept {
    auto& core = call_.core();
    ScansNow scans(core, view_);
    const auto test = [&wanted](std::string_view key) { return wanted.matches(key); };
    const detail::KeyTest filter(test);
    ViewsNow::Step step;
    for (;;) {
      const GuardNow guard(core.space, call_.thread());
      for (unsigned n = 0; n != kStepsAGuard; ++n) {
        if (call_.store().is_closed()) return Status::kClosed;
        const auto count = static_cast<unsigned>(std::min<std::uint64_t>(left_, ScansNow::kStepKeys));
        const auto outcome = scans.step(wanted.range, wanted.has_filter() ? &filter : nullptr, count, step);
        if (outcome == ScansNow::Outcome::kEnded) return Status::kViewExpired;
        if (outcome == ScansNow::Outcome::kNoMemory) return Status::kOutOfMemory;
        const Result<bool> r = show(step, scans);
        if (!r || !*r || outcome == ScansNow::Outcome::kAtEnd) return r;
      }
      scans.leave();
    }
  }
  static constexpr unsigned kStepsAGuard = 2;

  // Over all buckets, then sorted.
  Result<bool> by_walk(const Wanted& wanted) noexcept {
    auto& core = call_.core();
    KeyList list;
    if (const Status s = collect(wanted, list); s != Status::kOk) return s;
    ViewsNow::Step step;
    ScansNow scans(core, view_);
    for (std::size_t first = 0; first != list.count();) {
      if (call_.store().is_closed()) return Status::kClosed;
      const auto count = static_cast<unsigned>(std::min<std::size_t>(ScansNow::kStepKeys, list.count() - first));
      if (keys_only_) {
        for (unsigned i = 0; i != count; ++i) {
          const KeyList::Item& item = list[first + i];
          const std::string_view own = detail::own_key(item.key());
          const bool more = wants_more({own, {}, item.version, {}});
          if ((!more || i + 1 == count) && !stand_at(own)) return Status::kOutOfMemory;
          if (!more) return false;
        }
      } else {
        ScansNow::Wanted keys;
        ScansNow::Cells cells;
        std::string_view key[ScansNow::kStepKeys];
        for (unsigned i = 0; i != count; ++i) {
          key[i] = list[first + i].key();
          keys.put(i, nullptr, key[i]);
        }
        simd::hash_batch(key, count, core.space.geometry.hash_keys, cells.hash);
        const GuardNow guard(core.space, call_.thread());
        detail::base::fetch_buckets(core.table, count, cells);
        if (!scans.look(keys, cells, count, step)) return Status::kViewExpired;
        const Result<bool> r = show(step, scans);
        if (!r || !*r) return r;
      }
      first += count;
    }
    return true;
  }
  static constexpr std::size_t kFewKeys = 1024;

  // The keys that are wanted, in order: shard by shard, on several threads if they may and it is worth it.
  Status collect(const Wanted& wanted, KeyList& all) noexcept {
    auto& table = call_.core().table;
    const unsigned shards = table.shard_count();
    unsigned threads = std::min(call_.store().scan_threads, shards);
    if (threads > 1) {
      std::uint64_t buckets = 0;
      for (unsigned i = 0; i != shards; ++i) buckets += table.size_of(table.shard(i)).buckets();
      if (buckets < kBucketsAlone) threads = 1;
    }
    struct Part {
      KeyList list;
      Status status = Status::kOk;
    };
    Part part[detail::kWorkersMax];
    const auto walk = [&](unsigned shard, unsigned worker) {
      Part& p = part[worker];
      if (p.status == Status::kOk) p.status = collect(wanted, shard, p.list);
    };
    detail::share_work(threads, shards, walk);
    for (unsigned i = 0; i != threads; ++i) {
      if (part[i].status != Status::kOk) return part[i].status;
      if (!all.join(part[i].list)) return Status::kOutOfMemory;
    }
    detail::sort_keys(threads, all, wanted.range.reverse);
    return Status::kOk;
  }
  static constexpr std::uint64_t kBucketsAlone = 4096;

  // Those of one shard, for whatever thread this is.
  Status collect(const Wanted& wanted, unsigned shard, KeyList& list) const noexcept {
    auto& core = call_.core();
    auto* const thread = call_.store().thread();
    if (thread == nullptr) return Status::kOutOfMemory;
    ViewsNow::Step step;
    detail::ViewCursor place{shard, 0};
    detail::LookAhead<detail::StdSync> ahead;
    while (place.shard == shard) {
      if (call_.store().is_closed()) return Status::kClosed;
      const GuardNow guard(core.space, *thread);
      ahead.before(core, place, view_.opened.stamp);
      bool ended = false;
      if (!ViewsNow(core).step(view_, place, step, ended)) return Status::kViewExpired;
      for (unsigned i = 0; i != step.count; ++i) {
        if (!wanted.range.covers(step.key[i]) || !wanted.matches(step.key[i])) continue;
        if (!list.add(step.key[i], step.head[i].version)) return Status::kOutOfMemory;
      }
      if (list.count() / 2 >= left_ && list.count() >= kFewKeys && !list.keep_first(left_, wanted.range.reverse)) {
        return Status::kOutOfMemory;
      }
    }
    return Status::kOk;
  }

  // Inside the guard that the step was made in, which may be announced anew meanwhile.
  Result<bool> show(const ViewsNow::Step& step, ScansNow& scans) noexcept {
    const VisitNow visit(call_.core(), call_.thread(), step.record, step.count);
    ViewEntry entry;
    bool has_rest = false;  // what plain records don't have
    for (unsigned i = 0; i != step.count; ++i) {
      entry.key = detail::own_key(step.key[i]);
      entry.version = step.version(i);
      if (!keys_only_) {
        entry.value = step.value(i);
        if (step.whole[i] == nullptr) [[unlikely]] {
          add_rest(step.head[i], entry);
        } else if (has_rest) [[unlikely]] {
          entry.ttl.reset();
          entry.metadata = {};
        }
        has_rest = step.whole[i] == nullptr;
      }
      const bool more = wants_more(entry);
      if ((!more || i + 1 == step.count) && !stand_at(entry.key)) return Status::kOutOfMemory;
      if (!more) return false;
    }
    scans.shown(visit);
    return true;
  }
  [[gnu::noinline]] void add_rest(const HeadNow& h, ViewEntry& entry) const noexcept {
    entry.ttl.reset();
    if (h.has_deadline) entry.ttl = std::chrono::milliseconds(h.deadline_ms > view_.now_ms ? h.deadline_ms - view_.now_ms : 1);
    entry.metadata = call_.core().space.metadata_of(*h.record, h.stamp);
  }
  bool wants_more(const ViewEntry& entry) noexcept {
    const bool more = fn_(entry);
    return --left_ != 0 && more;
  }
  bool stand_at(std::string_view key) noexcept { return cursor == nullptr || move(*cursor, key); }

  const Call& call_;
  const ViewsNow::Handle view_;
  const bool keys_only_;
  std::uint64_t left_;
  detail::EntryFn fn_;
};

}  // namespace

Result<bool> View::scan_entries(const ScanOptions& options, ScanCursor* cursor, detail::EntryFn fn) const noexcept {
  const Call call({core_, nullptr});
  if (!call.ok()) return call.error();
  Scan scan(call, {{index_, stamp_}, now_ms_}, options, fn);
  scan.cursor = cursor;
  scan.move = [](ScanCursor& c, std::string_view key) { return c.move_to(key); };
  detail::KeyBytes began_behind;  // the cursor moves on the way
  if (cursor != nullptr) {
    if (!began_behind.assign(cursor->key())) return Status::kOutOfMemory;
    cursor->at_end_ = false;
  }
  const std::string_view behind = began_behind.view();
  const detail::Context context = detail::with_rules(core_, rules_);
  Result<bool> r = true;
  if (options.subtree.empty()) {
    r = scan.run(Wanted(context, options, behind));
  } else {
    const detail::StoredKey top(context, options.subtree);
    if (top.error().status != Status::kOk) return top.error();
    const std::string_view key = detail::own_key(top.view());
    const char separator = rules_ != nullptr ? rules_->separator : options.separator;
    // Two pieces: between the node and what is below it lie its siblings.
    detail::KeyBytes below;
    if (!below.assign(key, {&separator, 1})) return Status::kOutOfMemory;
    Wanted node(context, options, behind), rest(context, options, behind);
    node.only(key);
    rest.begin_with(below.view());
    r = scan.run(options.reverse ? rest : node);
    if (r && *r) r = scan.run(options.reverse ? node : rest);
  }
  if (cursor != nullptr && r && *r) cursor->at_end_ = true;
  return r;
}

// --- a store's own ---------------------------------------------------------------------------------------------------

Result<bool> Store::scan_entries(const ScanOptions& options, ScanCursor* cursor, detail::EntryFn fn) const noexcept {
  const Result<View> view = view_of_call(context());
  if (!view) return view.error();
  return view->scan_entries(options, cursor, fn);
}

Result<bool> Session::scan_entries(const ScanOptions& options, ScanCursor* cursor, detail::EntryFn fn) const noexcept {
  const Result<View> view = Store::view_of_call(context_);
  if (!view) return view.error();
  return cursor != nullptr ? view->scan(options, *cursor, fn) : view->scan(options, fn);
}

Result<std::uint64_t> Store::del_scanned(const detail::Context& c, const ScanOptions& options) noexcept {
  const Call call(c);
  if (!call.ok()) return call.error();
  // The keys first, and the view closed: what is removed under an open view stays in memory.
  KeyList list;
  bool whole = true;
  {
    ScanOptions keys = options;
    keys.keys_only = true;
    const auto add = [&](const ViewEntry& e) -> bool { return whole = list.add(e.key, e.version); };
    const Result<View> view = view_of_call(c);
    if (!view) return view.error();
    const Result<bool> r = view->scan_entries(keys, nullptr, detail::EntryFn(add));
    if (!r) return r.error();
    if (!whole) return Status::kOutOfMemory;
  }
  auto& core = call.core();
  std::uint64_t removed = 0;
  detail::StoredBound stored;
  for (std::size_t i = 0; i != list.count(); ++i) {
    if (call.store().is_closed()) return Status::kClosed;
    if (!stored.assign(c, list[i].key())) return Status::kOutOfMemory;
    const std::string_view key = stored.view();
    detail::RemoveChange<detail::StdSync> change(core.space, call.thread(), key);
    change.only_if_version(list[i].version);
    const auto done = core.write(call.thread(), core.hash_of(key), key, change, true);
    if (done.outcome == detail::Committed::Outcome::kOutOfMemory) return Status::kOutOfMemory;
    if (done.outcome == detail::Committed::Outcome::kRemoved && change.existed) ++removed;
  }
  return removed;
}

Result<std::uint64_t> Store::del_pattern(const Pattern& pattern) const noexcept {
  ScanOptions options;
  options.pattern = &pattern;
  return del_scanned(context(), options);
}
Result<std::uint64_t> Store::del_pattern(std::string_view pattern, const PatternOptions& how) const noexcept {
  const Result<Pattern> p = Pattern::compile(pattern, how);
  if (!p) return p.error();
  return del_pattern(*p);
}
Result<std::uint64_t> Store::del_regex(const Regex& regex) const noexcept {
  ScanOptions options;
  options.regex = &regex;
  return del_scanned(context(), options);
}
Result<std::uint64_t> Store::del_subtree(std::string_view node, char separator) const noexcept {
  if (node.empty()) return {Status::kInvalidKey, Field::kKey};
  ScanOptions options;
  options.subtree = node;
  options.separator = separator;
  return del_scanned(context(), options);
}

// --- what the caller owns --------------------------------------------------------------------------------------------

ScanCursor::ScanCursor(ScanCursor&& other) noexcept
    : key_(std::exchange(other.key_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      capacity_(std::exchange(other.capacity_, 0)),
      at_end_(std::exchange(other.at_end_, false)) {}
ScanCursor& ScanCursor::operator=(ScanCursor&& other) noexcept {
  ScanCursor moved(std::move(other));
  std::swap(key_, moved.key_);
  std::swap(size_, moved.size_);
  std::swap(capacity_, moved.capacity_);
  std::swap(at_end_, moved.at_end_);
  return *this;
}
ScanCursor::~ScanCursor() { alloc::private_free(key_); }

bool ScanCursor::move_to(std::string_view key) noexcept {
  if (key.size() > capacity_) {
    const std::size_t wanted = std::max<std::size_t>(key.size(), 64);
    auto* larger = static_cast<char*>(alloc::private_allocate(wanted));
    if (larger == nullptr) return false;
    alloc::private_free(key_);
    key_ = larger;
    capacity_ = wanted;
  }
  std::memcpy(key_, key.data(), key.size());
  size_ = key.size();
  return true;
}

Keys& Keys::operator=(Keys&& other) noexcept {
  std::swap(list_, other.list_);
  return *this;
}
Keys::~Keys() {
  if (list_ == nullptr) return;
  list_->~KeyList();
  alloc::private_free(list_);
}
std::size_t Keys::size() const noexcept { return list_ != nullptr ? list_->count() : 0; }
std::string_view Keys::operator[](std::size_t index) const noexcept { return (*list_)[index].key(); }
bool Keys::add(std::string_view key) noexcept {
  if (list_ == nullptr) {
    void* memory = alloc::private_allocate(sizeof(KeyList));
    if (memory == nullptr) return false;
    list_ = new (memory) KeyList;
  }
  return list_->add(key, 0);
}

}  // namespace tern
