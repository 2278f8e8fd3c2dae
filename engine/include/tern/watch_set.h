// WatchSet: many filters in one watch. Each change is looked at once, at a cost that follows its key's length and the filters that
// it is for, not how many there are: ten thousand prefixes cost a writer what one does, and whoever polls little more.
//
//   auto set = tern::WatchSet::open(store);
//   const std::uint32_t sessions = *set->add_prefix("session:");
//   const std::uint32_t ports = *set->add_glob("app.*.port");
//   tern::Change changes[64];
//   for (const tern::Change& c : std::span(changes).first(*set->poll(changes))) {
//     set->for_each_filter(c, [&](std::uint32_t filter) { ... });
//   }
//
// A change is answered once, however many filters it is for. Order, gaps and lifetimes are those of Watch (watch.h): a gap is
// answered for the set as a whole, whatever was lost may have been for any filter.
#ifndef TERN_WATCH_SET_H_
#define TERN_WATCH_SET_H_

#include <tern/function_ref.h>
#include <tern/pattern.h>
#include <tern/regex.h>
#include <tern/store.h>
#include <tern/watch.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace tern {

namespace detail {
class Dispatch;
class FeedSet;
}

struct WatchSetOptions {
  std::uint32_t kinds = kEveryKind;  // as in WatchOptions
  bool keys_only = false;
  bool coalesce = false;
  bool gather = false;
  std::size_t memory_bytes = std::size_t{4} << 20;  // of what is gathered
  std::chrono::milliseconds min_interval{0};
  std::chrono::milliseconds progress{0};
};

// Counts as one watch and as a handle of its store. One thread at a time may use it; which one doesn't matter.
class TERN_API WatchSet {
 public:
  static constexpr std::size_t kFiltersMax = std::size_t{1} << 20;

  // Without a filter it answers nothing but gaps. The errors of Store::watch_prefix.
  static Result<WatchSet> open(const Store& store, const WatchSetOptions& options = {}) noexcept;
  // Of the namespace's keys; separator and case as its rules want them.
  static Result<WatchSet> open(const Namespace& ns, const WatchSetOptions& options = {}) noexcept;

  WatchSet() noexcept = default;
  WatchSet(WatchSet&& other) noexcept : set_(other.set_) { other.set_ = nullptr; }
  WatchSet& operator=(WatchSet&& other) noexcept;
  WatchSet(const WatchSet&) = delete;
  WatchSet& operator=(const WatchSet&) = delete;
  ~WatchSet() { close(); }
  void close() noexcept;
  bool is_open() const noexcept { return set_ != nullptr; }

  // A filter from now on, by number: a change from before isn't for it, although it may not have been polled yet. Numbers are
  // small; one that was removed may come again. For what is there already, open a view afterwards: it has every change with a
  // stamp of up to its own, and the filter every later one. Takes memory outside the budget: about 100 bytes, the text, and what
  // a pattern compiles to. invalid_key, invalid_argument, too_large (key; pattern; regex; watches: kFiltersMax), unsupported,
  // out_of_memory, closed. Expressions and globs that begin alike (most often with nothing) are compiled together by the
  // next poll that meets such a key, if there are more than eight: tens of milliseconds for ten thousand.
  Result<std::uint32_t> add_key(std::string_view key) noexcept;
  Result<std::uint32_t> add_prefix(std::string_view prefix) noexcept;
  Result<std::uint32_t> add_glob(std::string_view glob, const PatternOptions& options = {}) noexcept;
  Result<std::uint32_t> add_regex(std::string_view expression, const RegexOptions& options = {}) noexcept;
  // False: there is none of this number. Nothing is told for it any more.
  bool remove(std::uint32_t filter) noexcept;
  std::size_t size() const noexcept;

  // As those of Watch. A poll may allocate (private memory, never the store's) where expressions are compiled together.
  Result<std::size_t> poll(std::span<Change> out) noexcept;
  Result<bool> wait(std::chrono::milliseconds timeout) noexcept;
  Result<int> descriptor() noexcept;
  std::uint64_t lost() const noexcept;
  std::uint64_t lag() const noexcept;
  std::uint64_t id() const noexcept;

  // fn(number) for each filter that a change of the last poll is for, in no order; of kInvalidate all that it touches. Nothing for a gap. Mustn't add or remove.
  void for_each_filter(const Change& change, FunctionRef<void(std::uint32_t filter)> fn) noexcept;

 private:
  friend class detail::Dispatch;
  static Result<WatchSet> open(const detail::Context& context, const WatchSetOptions& options) noexcept;
  explicit WatchSet(detail::FeedSet* set) noexcept : set_(set) {}

  detail::FeedSet* set_ = nullptr;
};

}  // namespace tern

#endif  // TERN_WATCH_SET_H_
