#include "engine/feed.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "alloc/platform.h"
#include "alloc/private_memory.h"
#include "engine/key_bytes.h"
#include "simd/key_equal.h"

namespace tern::detail {

namespace {

// A token: these, then a position in each ring.
struct Token {
  static constexpr std::uint64_t kMagic = 0x31544157'4E524554;  // "TERNWAT1"
  std::uint64_t magic = kMagic;
  std::uint64_t incarnation = 0;
  std::uint64_t session = 0;
  std::uint64_t stamp = 0;
  std::uint64_t first = 0;
  std::uint64_t count = 0;
  std::uint64_t lost = 0;
};

ChangeKind kind_of(Stamp s, TombReason reason) noexcept {
  if (s.absent()) return ChangeKind::kExpire;  // a negative answer over what had expired
  if (!s.tomb()) return ChangeKind::kPut;
  switch (reason) {
    case TombReason::kDeleted: break;
    case TombReason::kExpired: return ChangeKind::kExpire;
    case TombReason::kEvicted: return ChangeKind::kEvict;
    case TombReason::kInvalidated: return ChangeKind::kInvalidate;
  }
  return ChangeKind::kDelete;
}

unsigned ring_of(const Core<StdSync>& core, std::uint64_t hash) noexcept {
  return Events<StdSync>::ring_of(core.space, core.table.shard_index(hash));
}

}  // namespace

Result<Feed*> Feed::open(StoreCore& store, KeyFilter&& filter, const WatchOptions& options,
                         KeyInterest* interest, unsigned name) noexcept {
  if (options.kinds == 0 || (options.kinds & ~kEveryKind) != 0) return {Status::kInvalidArgument, Field::kKinds};
  if (options.initial && !options.resume.empty()) return {Status::kInvalidArgument, Field::kResume};
  if (options.gather && options.coalesce) return {Status::kInvalidArgument, Field::kGather};
  if (options.min_interval.count() < 0) return {Status::kInvalidArgument, Field::kInterval};
  if (options.progress.count() < 0) return {Status::kInvalidArgument, Field::kProgress};
  // One key lies in one ring.
  const bool one = interest == nullptr && filter.kind() == KeyFilter::Kind::kKey;
  auto& core = store.core;
  KeyBytes stored;
  std::string_view key = filter.start();
  if (one && (name != kDefaultName || is_named(key))) {
    if (!stored.assign(NameMark(name), key)) return Status::kOutOfMemory;
    key = stored.view();
  }
  const unsigned first = one ? ring_of(core, core.hash_of(key)) : 0;
  const unsigned count = one ? 1 : core.space.events.rings;
  // Its place in the rings is before it: with what a poll that finds nothing looks at, on one page.
  const std::size_t before = (count * sizeof(std::uint64_t) + alignof(Feed) - 1) / alignof(Feed) * alignof(Feed);
  void* memory = alloc::private_allocate_aligned(before + sizeof(Feed), alignof(Feed));
  if (memory == nullptr) return Status::kOutOfMemory;
  auto* positions = static_cast<std::uint64_t*>(memory);
  Feed* feed = new (static_cast<std::byte*>(memory) + before) Feed(store);
  feed->memory_start_ = memory;
  feed->filter_ = std::move(filter);
  feed->interest_ = interest;
  feed->name_ = name;
  feed->kinds_ = options.kinds;
  feed->keys_only_ = options.keys_only;
  feed->coalesce_ = options.coalesce;
  feed->previous_ = options.previous;
  feed->on_change_only_ = options.on_change_only;
  if (options.previous || options.on_change_only) feed->memory_ = KeyMemory::make(options.memory_bytes);
  if (options.gather && !one) feed->gather_ = Gather<Subscription<Sync>::Next>::make();  // of one key there is nothing to gather
  feed->gathered_bytes_max_ = options.memory_bytes;
  feed->interval_ms_ = static_cast<std::uint64_t>(options.min_interval.count());
  feed->progress_ms_ = static_cast<std::uint64_t>(options.progress.count());
  feed->next_mark_ms_ = feed->now_ms() + feed->progress_ms_;
  const bool is_whole = (feed->memory_ != nullptr || !(options.previous || options.on_change_only)) &&
                        (feed->gather_ != nullptr || !options.gather || one) && (feed->line_ = store.bus.roll.enter()) != nullptr;
  store.add_handle();
  Error error{Status::kOutOfMemory, is_whole ? Field::kWatches : Field::kNone};
  if (!is_whole) {
    // It is refused.
  } else if (feed->place_.enter(first, count, positions)) {
    error = feed->begin(options, positions);
    if (error.status == Status::kOk) {
      feed->line_->begin(first, count, feed->place_.read(), feed->now_ms());
      return feed;
    }
    if (Thr* t = store.thread()) feed->place_.end(*t);
  } else if (feed->place_.events().listeners() < Events<Sync>::kListenersMax) {
    error.field = Field::kRingBytes;
  }
  if (feed->line_ != nullptr) store.bus.roll.leave(*feed->line_);
  KeyMemory::destroy(feed->memory_);
  Gather<Subscription<Sync>::Next>::destroy(feed->gather_);
  feed->~Feed();
  alloc::private_free(memory);
  store.drop_handle();
  return error;
}

Error Feed::begin(const WatchOptions& options, std::uint64_t*) noexcept {
  if (!options.resume.empty()) {
    Token token;
    const std::size_t bytes = sizeof token + place_.count() * sizeof(std::uint64_t);
    if (options.resume.size() < sizeof token) return {Status::kInvalidArgument, Field::kResume};
    std::memcpy(&token, options.resume.data(), sizeof token);
    if (token.magic != Token::kMagic) return {Status::kInvalidArgument, Field::kResume};
    if (token.incarnation != store_.incarnation()) return {Status::kCompacted, Field::kResume};
    if (options.resume.size() != bytes || token.first != place_.first() || token.count != place_.count()) {
      return {Status::kInvalidArgument, Field::kResume};
    }
    auto* positions = static_cast<std::uint64_t*>(alloc::private_allocate(bytes - sizeof token));
    if (positions == nullptr) return {Status::kOutOfMemory, Field::kNone};
    std::memcpy(positions, options.resume.data() + sizeof token, bytes - sizeof token);
    const bool there = place_.begin_at(token.session, token.stamp, positions);
    alloc::private_free(positions);
    lost_ = token.lost;
    // Its positions may cut batches in two.
    if (gather_ != nullptr) gather_->give_up(store_.core.space.views.now());
    return there ? Error{} : Error{Status::kCompacted, Field::kResume};
  }
  if (!options.initial) {
    place_.begin();
    return {};
  }
  view_ = Views<Sync>(store_.core).open();
  if (!view_.opened.ok()) return {Status::kTooLarge, Field::kViews};
  has_view_ = is_listing_ = true;
  place_.begin_with(view_.opened.stamp);
  return {};
}

void Feed::close() noexcept {
  StoreCore& store = store_;
  // A store that was closed keeps nothing for anybody: what is left goes with its memory.
  Thr* t = store.is_closed() ? nullptr : store.thread();
  end(t);
  KeyMemory::destroy(memory_);
  Gather<Subscription<Sync>::Next>::destroy(gather_);
  void* const memory = memory_start_;
  this->~Feed();
  alloc::private_free(memory);
  store.drop_handle();
}

void Feed::end(Thr* t) noexcept {
  if (t != nullptr) {
    let_go(*t);
    for (; pending_at_ != pending_count_; ++pending_at_) {
      store_.core.space.drop_hold(*t, pending_[pending_at_]);
      store_.core.space.events.pinned.fetch_sub(1, std::memory_order_relaxed);  // a figure
    }
    for (; gather_ != nullptr && !gather_->is_empty(); gather_->pop()) {
      if (gather_->front()->what != EventSeen::kGap) let_go_gathered(*t, gather_->front()->record, true);
    }
  }
  if (has_view_) Views<Sync>(store_.core).close(t, view_);
  if (descriptor_ >= 0) store_.bus.close_descriptor(descriptor_);
  store_.bus.roll.leave(*line_);
  if (t != nullptr) place_.end(*t);
}

void Feed::let_go(Thr& t) noexcept {
  auto& space = store_.core.space;
  copied_bytes_ = 0;
  if (kept_count_ == 0) return;
  for (unsigned i = 0; i != kept_count_; ++i) space.drop_hold(t, kept_[i]);
  space.events.pinned.fetch_sub(kept_count_, std::memory_order_relaxed);  // a figure
  kept_count_ = 0;
}

// What `c` names stays when the guard is over. False: as many hold the record as can.
bool Feed::keep(std::uint64_t record, Change& c) noexcept {
  const std::size_t bytes = c.key.size() + c.value.size() + c.tags.size() + c.metadata.size();
  if (bytes <= std::min(kCopiedEach, sizeof copied_ - copied_bytes_)) {
    char* const key = copied_ + copied_bytes_;
    if (bytes == c.key.size() + c.value.size() && c.key.data() + c.key.size() == c.value.data()) [[likely]] {
      simd::copy_bytes(key, c.key.data(), bytes);
      copied_bytes_ += static_cast<unsigned>(bytes);
      c.key = {key, c.key.size()};
      c.value = {key + c.key.size(), c.value.size()};
      return true;
    }
    char* const value = key + c.key.size();
    char* const tags = value + c.value.size();
    char* const metadata = tags + c.tags.size();
    if (!c.key.empty()) std::memcpy(key, c.key.data(), c.key.size());
    if (!c.value.empty()) std::memcpy(value, c.value.data(), c.value.size());
    if (!c.tags.empty()) std::memcpy(tags, c.tags.data(), c.tags.size());
    if (!c.metadata.empty()) std::memcpy(metadata, c.metadata.data(), c.metadata.size());
    copied_bytes_ += static_cast<unsigned>(bytes);
    c.key = {key, c.key.size()};
    c.value = {value, c.value.size()};
    c.tags = {tags, c.tags.size()};
    c.metadata = {metadata, c.metadata.size()};
    return true;
  }
  if (!store_.core.space.try_hold(*store_.core.space.record(record))) return false;
  kept_[kept_count_++] = record;
  return true;
}

// What is known before the key is looked at.
[[gnu::always_inline]] inline void Feed::begin_describing(std::uint64_t record, Stamp s, Change& c) const noexcept {
  c = Change();
  c.kind = kind_of(s, store_.core.space.record(record)->link_word().reason());
  c.stamp = s.stamp();
}
// The rest of it.
[[gnu::always_inline]] inline void Feed::describe(std::uint64_t record, Stamp s, std::string_view key, Change& c) const noexcept {
  const auto& space = store_.core.space;
  const auto& r = *space.record(record);
  c.key = key;
  c.version = r.hold_word().version();
  if (c.kind != ChangeKind::kPut) return;
  c.after_expired = r.link_word().after_expired();
  if (!keys_only_ || memory_ != nullptr) {
    const auto value = space.value_of(r, s, key.size());
    c.value = {value.data, value.size};
  }
  if (s.has_ext()) [[unlikely]] {
    const std::string_view block = space.tags_of(r, s);
    c.tags = tags_in(block);
    c.metadata = metadata_in(block);
  }
}

bool Feed::changes_something(const Change& c) const noexcept {
  if (!on_change_only_) return true;
  const KeyMemory::Known known = memory_->find(c.key, store_.core.hash_of(c.key));
  const bool is_there = c.kind == ChangeKind::kPut;
  return !known.is_known || known.is_there != is_there || (is_there && known.value != c.value);
}

// It is about to be told.
void Feed::remember(Change& c) noexcept {
  if (memory_ == nullptr) return;
  const std::uint64_t hash = store_.core.hash_of(c.key);
  if (previous_) {
    const KeyMemory::Known known = memory_->find(c.key, hash);
    c.has_previous = known.is_there;
    c.previous = known.value;
  }
  memory_->tell(c.key, hash, c.kind == ChangeKind::kPut, c.value);
  if (keys_only_) c.value = {};
}

// Nothing is known any more of what a point may have removed: tags aren't remembered.
void Feed::forget(const Change& c) noexcept {
  if (memory_ == nullptr) return;
  memory_->forget([&](std::string_view key, std::uint64_t hash) {
    // The hash is of the owner's key, which is stored as another one in a namespace.
    const bool stored_as_it_is = name_ == kDefaultName && !is_named(key);
    if (stored_as_it_is && ring_of(store_.core, hash) != c.shard) return false;
    return c.scope != ChangeScope::kPrefix || key.starts_with(c.key);
  });
}

Result<std::size_t> Feed::poll(std::span<Change> out) noexcept {
  if (store_.is_closed()) return Status::kClosed;
  Thr* t = store_.thread();
  if (t == nullptr) return Status::kOutOfMemory;
  if (view_ended_) return Status::kViewExpired;
  let_go(*t);
  if (memory_ != nullptr) memory_->clear_old();
  out = out.first(std::min(out.size(), Watch::kPollMax));
  if (held_back_ms() != 0) return std::size_t{0};
  const std::uint64_t clock = store_.core.space.views.now();
  const std::uint64_t round = place_.begin_poll();
  is_behind_ = true;
  std::size_t n = 0;
  while (is_listing_ && n != out.size()) {
    if (!list(*t, out, n)) break;
  }
  if (view_ended_ && n == 0) return Status::kViewExpired;
  if (!is_listing_) {
    const unsigned listed = kept_count_;
    is_behind_ = gather_ != nullptr ? follow_gathered(*t, out, n) : follow(*t, out, n);
    if (!is_behind_) place_.read_all(round);
    tell_place();
    if (kept_count_ != listed) store_.core.space.events.pinned.fetch_add(kept_count_ - listed, std::memory_order_relaxed);  // a figure
  }
  if (progress_ms_ != 0 && !is_behind_ && n != out.size() && mark_is_due()) {
    out[n] = Change();
    out[n].kind = ChangeKind::kProgress;
    out[n++].stamp = clock;
    next_mark_ms_ = now_ms() + progress_ms_;
  }
  if (n != 0 && !is_behind_ && interval_ms_ != 0) not_before_ms_ = now_ms() + interval_ms_;
  if (descriptor_ >= 0 && !is_behind_) {
    alloc::platform::lower_flag(descriptor_);
    place_.events().announce_sleep();
    if (place_.has_more() || store_.is_closed()) alloc::platform::raise_flag(descriptor_);
  }
  return n;
}

// A part of the initial contents. False: the view was ended, or something is held too often.
bool Feed::list(Thr& t, std::span<Change> out, std::size_t& n) noexcept {
  auto& core = store_.core;
  for (; pending_at_ != pending_count_ && n != out.size(); ++pending_at_) {
    const std::uint64_t record = pending_[pending_at_];
    const Stamp s = core.space.record(record)->stamp_word();
    kept_[kept_count_++] = record;
    const auto key = core.space.key_of(*core.space.record(record), s);
    begin_describing(record, s, out[n]);
    describe(record, s, {key.data, key.size}, out[n]);
    out[n].key = own_key(out[n].key);
    remember(out[n]);
    out[n++].initial = true;
  }
  if (n == out.size()) return true;
  pending_at_ = pending_count_ = 0;
  Views<Sync>::Step step;
  bool ended = false;
  bool more;
  {
    const Guard<Sync> guard(core.space, t);
    more = Views<Sync>(core).step(view_, cursor_, step, ended);
    for (unsigned i = 0; i != step.count; ++i) {
      if (!wants(ChangeKind::kPut) || !wants(step.key[i], place_.stamp())) continue;
      if (core.space.try_hold(*core.space.record(step.record[i]))) pending_[pending_count_++] = step.record[i];
    }
  }
  core.space.events.pinned.fetch_add(pending_count_, std::memory_order_relaxed);  // a figure
  if (more) return true;
  Views<Sync>(core).close(&t, view_);
  has_view_ = is_listing_ = false;
  view_ended_ = ended;
  if (ended) return false;
  Change synced;
  synced.kind = ChangeKind::kSynced;
  synced.stamp = place_.stamp();
  out[n++] = synced;
  return true;
}

// Whether a later change of the key waits in the ring. A later version alone doesn't say so: of a new deadline, a new lease, the
// removal in a batch of what isn't there nobody is told. What waits in a ring is held by it.
bool Feed::is_superseded(const Subscription<Sync>::Next& next, const Change& c) noexcept {
  auto& core = store_.core;
  const bool tomb = c.kind != ChangeKind::kPut;
  const auto found = core.table.find(core.hash_of(c.key), c.key);
  if (!found) return !tomb && c.tags.empty();  // what a removal by tag has taken is known by its tags alone
  const auto seen = Versions<Sync>::resolve(core.space, *found.record);
  if (seen.record == nullptr) return false;
  const Hold hold = seen.record->hold_word();
  if (hold.version() <= c.version || hold.holds() == 0) return false;
  const Stamp s = seen.record->stamp_word();
  if (tomb || s.tomb()) return true;
  // A value may be held by others, too, and told by nobody: then it is the one that was told before.
  if (store_.held_count() == 0 && core.space.events.pinned.load(std::memory_order_relaxed) == 0) return true;  // figures
  const auto told = core.space.value_of(*core.space.record(next.record), next.stamp, c.key.size());
  const auto last = core.space.value_of(*seen.record, s, c.key.size());
  return std::string_view(told.data, told.size) != std::string_view(last.data, last.size);
}

// What a point's event is for; answers whose namespace.
unsigned Feed::scope_of(std::uint64_t record, Stamp s, Change& c) const noexcept {
  const auto& space = store_.core.space;
  const auto& r = *space.record(record);
  const auto key = space.key_of(r, s);
  PointEventScope of;
  std::memcpy(&of, space.value_of(r, s, key.size).data, sizeof of);
  c.key = {key.data, key.size};
  switch (static_cast<PointScope::Kind>(of.kind)) {
    case PointScope::Kind::kStore: break;
    case PointScope::Kind::kTag: c.scope = ChangeScope::kTag; break;
    case PointScope::Kind::kPrefix:
      c.scope = ChangeScope::kPrefix;
      c.key = own_key(c.key);
      return name_of({key.data, key.size});
  }
  return of.name;
}

// Whether what was next is of a kind and of a key that this feed is for, and as what. Of what isn't: kind, stamp and batch.
[[gnu::always_inline]] inline bool Feed::is_wanted_now(const Subscription<Sync>::Next& next, Change& c) noexcept {
  if (next.what == EventSeen::kGap) [[unlikely]] {
    c = Change();
    c.kind = ChangeKind::kGap;
    c.lost = next.lost;
  } else {
    begin_describing(next.record, next.stamp, c);
    if (ViewClock<Sync>::is_of_batch(c.stamp)) [[unlikely]] {
      c.batch = c.stamp;
      c.batch_size = batch_size_of(next.record, next.stamp);
    }
    if (!wants(c.kind)) return false;
    const auto& space = store_.core.space;
    const auto key = space.key_of(*space.record(next.record), next.stamp);
    if (c.kind == ChangeKind::kInvalidate) [[unlikely]] {
      describe(next.record, next.stamp, {key.data, key.size}, c);
      const unsigned name = scope_of(next.record, next.stamp, c);
      if (!is_touched(c, name)) return false;
    } else {
      if (!wants(std::string_view{key.data, key.size}, c.stamp)) return false;
      describe(next.record, next.stamp, {key.data, key.size}, c);
    }
  }
  c.shard = next.ring;
  c.sequence = next.sequence;
  return true;
}
bool Feed::is_wanted(const Subscription<Sync>::Next& next, Change& c) noexcept { return is_wanted_now(next, c); }

// Whether it is to be told, after what was told before it.
bool Feed::is_for_it(const Subscription<Sync>::Next& next, Change& c) noexcept {
  if (!is_wanted_now(next, c)) return false;
  if (c.kind == ChangeKind::kGap || c.kind == ChangeKind::kInvalidate) return true;
  if (coalesce_ && is_superseded(next, c)) return false;
  c.key = own_key(c.key);
  return changes_something(c);
}

// True: it stopped before the end.
bool Feed::follow(Thr& t, std::span<Change> out, std::size_t& n) noexcept {
  union Room {  // not initialised: that is a third of a poll that finds nothing
    Room() noexcept {}
    Subscription<Sync>::Next group[Subscription<Sync>::kGroup];
  } room;
  auto* const group = room.group;
  for (unsigned scanned = 0; scanned < kScannedMax;) {
    if (n == out.size()) return place_.has_more();
    const Guard<Sync> guard(store_.core.space, t);
    // Each answers one change at most.
    const auto most = static_cast<unsigned>(std::min<std::size_t>(Subscription<Sync>::kGroup, out.size() - n));
    const unsigned taken = place_.take(group, most);
    scanned += taken;
    for (unsigned i = 0; i != taken; ++i) {
      auto& next = group[i];
      if (!place_.is_own(next) || !is_for_it(next, out[n])) continue;
      if (next.what == EventSeen::kGap) {
        note_gap(next.lost);
      } else if (!keep(next.record, out[n])) {  // it is told again next time
        for (unsigned back = taken; back-- != i;) place_.step_back(group[back]);
        return true;
      } else if (out[n].kind == ChangeKind::kInvalidate) {
        forget(out[n]);
      } else {
        remember(out[n]);
      }
      ++n;
    }
    if (taken != most) return false;
  }
  return true;
}

// --- time ------------------------------------------------------------------------------------------------------------

std::uint64_t Feed::held_back_ms() const noexcept {
  if (interval_ms_ == 0 || is_behind_) return 0;
  const std::uint64_t now = now_ms();
  return now < not_before_ms_ ? not_before_ms_ - now : 0;
}

std::uint64_t Feed::timer_ns() const noexcept {
  // The store's clock may be one of the caller's, which goes as it likes.
  constexpr std::uint64_t kLookNs = 100'000'000;
  std::uint64_t ms = held_back_ms();
  if (ms == 0 && progress_ms_ == 0) return ~std::uint64_t{0};
  if (ms == 0) ms = next_mark_ms_ - std::min(next_mark_ms_, now_ms());
  return ms == 0 ? kLookNs : std::min(ms * 1'000'000, kLookNs);
}

// --- waiting ---------------------------------------------------------------------------------------------------------

// Passes over what is for others. True: something is for this feed, or there is too much to look at now.
bool Feed::skip(Thr& t) noexcept {
  const std::uint64_t round = place_.begin_poll();
  const bool some = gather_ != nullptr ? skip_gathered(t) : skip_all(t);
  if (!some) place_.read_all(round);
  tell_place();
  return some;
}
bool Feed::skip_all(Thr& t) noexcept {
  Subscription<Sync>::Next next;
  Change c;
  for (unsigned scanned = 0; scanned < kScannedMax; scanned += kInOneGuard) {
    const Guard<Sync> guard(store_.core.space, t);
    for (unsigned i = 0; i != kInOneGuard; ++i) {
      if (!place_.next(next)) return false;
      if (!is_for_it(next, c)) continue;
      place_.step_back(next);
      return true;
    }
  }
  return true;
}

Result<bool> Feed::wait(std::uint64_t ns) noexcept {
  const std::uint64_t end = alloc::platform::monotonic_ns() + ns;
  Thr* t = store_.is_closed() ? nullptr : store_.thread();
  if (t == nullptr) return store_.is_closed() ? Status::kClosed : Status::kOutOfMemory;
  for (;;) {
    if (store_.is_closed()) return Status::kClosed;
    const bool is_held_back = held_back_ms() != 0;
    if (!is_held_back && (is_listing_ || view_ended_ || (gather_ != nullptr && gather_->ready() != nullptr) ||
                          (place_.has_more() && skip(*t)) || mark_is_due())) {
      return true;
    }
    const std::uint32_t rung = store_.bus.bell.rung();
    place_.events().announce_sleep();
    if ((place_.has_more() && !is_held_back) || store_.is_closed()) continue;
    const std::uint64_t now = alloc::platform::monotonic_ns();
    if (now >= end) return false;
    store_.bus.bell.sleep(rung, std::min(end - now, timer_ns()));
  }
}

Result<int> Feed::descriptor() noexcept {
  if (store_.is_closed()) return Status::kClosed;
  if (interval_ms_ != 0) return {Status::kInvalidArgument, Field::kInterval};
  if (descriptor_ < 0) {
    const int d = store_.bus.open_descriptor();
    if (d == -2) return Status::kIo;
    if (d < 0) return {Status::kTooLarge, Field::kWatches};
    descriptor_ = d;
    alloc::platform::raise_flag(d);  // the first poll finds out, and arms it
  }
  return descriptor_;
}

Result<Value> Feed::token() const noexcept {
  if (store_.is_closed()) return Status::kClosed;
  if (is_listing_ || view_ended_ || (gather_ != nullptr && !gather_->is_empty())) return Status::kUnavailable;
  auto& events = const_cast<Subscription<Sync>&>(place_).events();
  Token head;
  head.incarnation = store_.incarnation();
  head.session = events.session();
  events.rounds().keep_history();  // after that (Events::enter), and before the positions are read
  head.stamp = place_.stamp();
  head.first = place_.first();
  head.count = place_.count();
  head.lost = lost_;
  Value token;
  char* bytes = static_cast<char*>(alloc::private_allocate(sizeof head + head.count * sizeof(std::uint64_t)));
  if (bytes == nullptr) return Status::kOutOfMemory;
  std::memcpy(bytes, &head, sizeof head);
  std::memcpy(bytes + sizeof head, place_.positions(), head.count * sizeof(std::uint64_t));
  const bool whole = token.assign({bytes, sizeof head + head.count * sizeof(std::uint64_t)});
  alloc::private_free(bytes);
  if (!whole) return Status::kOutOfMemory;
  return token;
}

}  // namespace tern::detail
