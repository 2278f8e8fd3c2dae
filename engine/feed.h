// Feed: what a Watch has: a place in the rings, the keys that it is for, initial contents on their way, and what its last
// poll has answered, held for the caller.
#ifndef TERN_ENGINE_FEED_H_
#define TERN_ENGINE_FEED_H_

#include <cstdint>
#include <span>
#include <string_view>

#include <tern/watch.h>

#include "engine/gather.h"
#include "engine/key_filter.h"
#include "engine/key_memory.h"
#include "engine/store_core.h"
#include "engine/subscription.h"
#include "engine/views.h"

namespace tern::detail {

// Which keys a feed is for, where one filter doesn't say it.
class KeyInterest {
 public:
  virtual bool wants(std::string_view key, std::uint64_t stamp) noexcept = 0;
  virtual bool is_touched(ChangeScope scope, std::string_view bytes, std::uint64_t stamp) noexcept = 0;

 protected:
  ~KeyInterest() = default;
};

class Feed {
 public:
  using Sync = StdSync;
  using Thr = Thread<Sync>;

  // Takes a handle of the store. `interest`, if there is one, decides instead of the filter, and must outlive the feed.
  // Of the namespace `name` alone (names.h); the filter and the interest are for keys as their owners know them, of any
  // namespace (kAnyName) as they are stored.
  static Result<Feed*> open(StoreCore& store, KeyFilter&& filter, const WatchOptions& options,
                            KeyInterest* interest = nullptr, unsigned name = kDefaultName) noexcept;
  // And everything that it has given out.
  void close() noexcept;

  Result<std::size_t> poll(std::span<Change> out) noexcept;
  Result<bool> wait(std::uint64_t ns) noexcept;
  // Of any number: less than nothing is nothing, more than a year is one.
  Result<bool> wait_ms(std::int64_t ms) noexcept {
    constexpr std::int64_t kYearMs = std::int64_t{365} * 86'400'000;
    return wait(static_cast<std::uint64_t>(ms < 0 ? 0 : ms > kYearMs ? kYearMs : ms) * 1'000'000);
  }
  // Whether a poll may find something.
  bool is_ready() const noexcept {
    if (held_back_ms() != 0) return false;
    return is_listing_ || view_ended_ || is_behind_ || place_.has_more() || (gather_ != nullptr && gather_->ready() != nullptr) || mark_is_due();
  }
  // In how long it may be ready although nobody rings; all ones: never.
  std::uint64_t timer_ns() const noexcept;
  Result<int> descriptor() noexcept;
  Result<Value> token() const noexcept;
  std::uint64_t lost() const noexcept { return lost_; }
  std::uint64_t lag() const noexcept { return place_.lag(); }
  std::uint64_t id() const noexcept { return line_->id(); }
  StoreCore& store() noexcept { return store_; }

 private:
  static constexpr unsigned kScannedMax = 65'536;  // changes that one poll looks at
  static constexpr unsigned kInOneGuard = 64;
  static constexpr unsigned kPendingMax = Views<Sync>::kStepKeys;

  explicit Feed(StoreCore& store) noexcept : store_(store), place_(store.core) {}
  Error begin(const WatchOptions& options, std::uint64_t* positions) noexcept;
  void end(Thr* t) noexcept;
  [[gnu::always_inline]] bool wants(std::string_view stored, std::uint64_t stamp) noexcept {
    if (name_ != kAnyName && name_of(stored) != name_) return false;
    const std::string_view key = name_ == kAnyName ? stored : own_key(stored);
    return interest_ != nullptr ? interest_->wants(key, stamp) : filter_.matches(key);
  }
  bool is_touched(const Change& c, unsigned name) noexcept {
    if (name != kAnyName && name_ != kAnyName && name != name_) return false;
    return interest_ != nullptr ? interest_->is_touched(c.scope, c.key, c.stamp) : filter_.touches(c.scope, c.key);
  }
  bool wants(ChangeKind kind) const noexcept { return (kinds_ & kind_bit(kind)) != 0; }
  void let_go(Thr& t) noexcept;
  bool keep(std::uint64_t record, Change& c) noexcept;
  bool is_for_it(const Subscription<Sync>::Next& next, Change& c) noexcept;
  bool skip(Thr& t) noexcept;
  bool skip_all(Thr& t) noexcept;
  bool list(Thr& t, std::span<Change> out, std::size_t& n) noexcept;
  bool is_superseded(const Subscription<Sync>::Next& next, const Change& c) noexcept;
  bool follow(Thr& t, std::span<Change> out, std::size_t& n) noexcept;
  bool is_wanted(const Subscription<Sync>::Next& next, Change& c) noexcept;
  bool is_wanted_now(const Subscription<Sync>::Next& next, Change& c) noexcept;
  void begin_describing(std::uint64_t record, Stamp s, Change& c) const noexcept;
  // feed_gather.cc
  bool follow_gathered(Thr& t, std::span<Change> out, std::size_t& n) noexcept;
  bool skip_gathered(Thr& t) noexcept;
  bool collect(Thr& t, unsigned& scanned, bool& stuck) noexcept;
  bool put_aside(const Subscription<Sync>::Next& next) noexcept;
  void tell_gathered(Thr& t, std::span<Change> out, std::size_t& n) noexcept;
  void let_go_gathered(Thr& t, std::uint64_t record, bool drops) noexcept;
  std::uint64_t now_ms() const noexcept { return store_.core.time.now(); }
  // Until the interval since the last poll that answered something is over.
  std::uint64_t held_back_ms() const noexcept;
  // Others may ask how far it is.
  void tell_place() noexcept {
    if (!line_->is_told(place_.read())) line_->tell(place_.read(), now_ms());
  }
  void note_gap(std::uint64_t lost) noexcept {
    lost_ += lost;
    auto& events = store_.core.space.events;
    events.lost.fetch_add(lost, std::memory_order_relaxed);  // a figure
    events.gaps.fetch_add(1, std::memory_order_relaxed);     // a figure
  }
  bool mark_is_due() const noexcept {
    return progress_ms_ != 0 && (gather_ == nullptr || gather_->is_empty()) && now_ms() >= next_mark_ms_;
  }
  bool changes_something(const Change& c) const noexcept;
  void remember(Change& c) noexcept;
  void forget(const Change& c) noexcept;
  void describe(std::uint64_t record, Stamp s, std::string_view key, Change& c) const noexcept;
  unsigned scope_of(std::uint64_t record, Stamp s, Change& c) const noexcept;
  // Of one that is told, with a batch's stamp.
  std::uint32_t batch_size_of(std::uint64_t record, Stamp s) const noexcept {
    const auto& space = store_.core.space;
    return static_cast<std::uint32_t>(space.word_behind(*space.record(record), s).load(std::memory_order_relaxed));  // [stamp] came before it
  }

  StoreCore& store_;
  void* memory_start_ = nullptr;  // it lies in
  Subscription<Sync> place_;
  KeyFilter filter_;
  KeyInterest* interest_ = nullptr;
  unsigned name_ = kDefaultName;
  std::uint32_t kinds_ = kEveryKind;
  bool keys_only_ = false;
  bool coalesce_ = false;
  bool previous_ = false;
  bool on_change_only_ = false;
  KeyMemory* memory_ = nullptr;  // if one of these two is wanted
  bool is_behind_ = false;  // the last poll stopped before it had looked at everything
  int descriptor_ = -1;
  std::uint64_t lost_ = 0;
  WatchRoll<Sync>::Line* line_ = nullptr;
  Gather<Subscription<Sync>::Next>* gather_ = nullptr;  // what waits in it is held
  std::size_t gathered_bytes_ = 0, gathered_bytes_max_ = 0;
  std::uint64_t interval_ms_ = 0, not_before_ms_ = 0;
  std::uint64_t progress_ms_ = 0, next_mark_ms_ = 0;

  // Initial contents.
  bool is_listing_ = false;
  bool has_view_ = false;
  bool view_ended_ = false;
  ViewHandle<Sync> view_;
  ViewCursor cursor_;
  unsigned pending_at_ = 0;
  unsigned pending_count_ = 0;
  std::uint64_t pending_[kPendingMax];  // held

  // What the last poll has answered, until the next: copied while it is small, else its record is held. A hold taken and dropped
  // is two swaps of a line that the writer needs back.
  static constexpr std::size_t kCopiedEach = 512;
  unsigned kept_count_ = 0;
  unsigned copied_bytes_ = 0;
  std::uint64_t kept_[Watch::kPollMax];
  char copied_[8 << 10];
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_FEED_H_
