// View: the store as it stood at one moment, however long it is read and whatever is written meanwhile.
//
//   auto view = store.view();
//   if (view) view->for_each([&](std::string_view key, std::string_view value) { ...; return true; });
//
// A view is one point in the order of all changes: it has every change whose call had returned before view() was called,
// and none whose call began after it had returned. What it answers never changes, to the byte. Entries that are past
// their deadline when it is opened are not in it, and no entry leaves it later; of deadlines it shows those that stand
// when a key is first read, which a touch that was under way when the view was opened, or an idle time, may have moved.
//
// While a view is open the store keeps each version that is replaced, removed, evicted or expires under it: at most one a
// key for each view, paid out of the budget. Past Options::view_bytes_max, or when a write finds no room, the view that
// has been open longest is ended: from then on its calls answer view_expired. Open another.
//
// A view holds back no reclamation but that of the versions that it needs, and delays no writer. Its reads count neither
// as hits nor for eviction, and begin no idle time anew. Calls on one View may be made from several threads at once;
// closing, moving and destroying it may not run beside them.
#ifndef TERN_VIEW_H_
#define TERN_VIEW_H_

#include <tern/function_ref.h>
#include <tern/result.h>
#include <tern/scan.h>
#include <tern/value.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

namespace tern {

// Views of one store that may be open at once, those that have ended and are not closed included.
inline constexpr unsigned kViewsMax = 64;

namespace detail {
struct NameRules;
}

// Of one namespace (namespace.h): that of the handle which opened it. Counts as a handle of its store: the store stays open while it does, unless close() is called. After that every call
// answers `closed`, as on a View that is default-made, moved from or closed itself.
class TERN_API View : public InOrder<View> {
 public:
  View() noexcept = default;
  View(View&& other) noexcept;
  View& operator=(View&& other) noexcept;
  View(const View&) = delete;
  View& operator=(const View&) = delete;
  ~View() { close(); }

  // Gives up what it keeps: looks at up to 64 keys itself and leaves the others to tick and to writes. Idempotent.
  void close() noexcept;
  // Neither closed nor ended to make room.
  bool is_open() const noexcept;
  // Where it stands in the order of changes (Inspection::stamp); grows from view to view.
  std::uint64_t stamp() const noexcept { return stamp_; }

  // As the store's calls of these names, at the view's moment; and view_expired, closed. A read follows a key's versions:
  // at most one more cache miss for each view that was opened after this one.
  Lookup<Value> get(std::string_view key) const noexcept;
  Lookup<std::size_t> get(std::string_view key, std::span<char> out) const noexcept;
  Lookup<Entry> get_entry(std::string_view key) const noexcept;
  Lookup<Value> get_metadata(std::string_view key) const noexcept;
  Result<bool> exists(std::string_view key) const noexcept;
  // At most 65,536 keys; `out` says nothing if the call fails.
  Result<void> get_many(std::span<const std::string_view> keys, Values& out) const noexcept;

  // Calls fn(std::string_view key, std::string_view value) -> bool, or fn(const ViewEntry&) -> bool, for each entry, once,
  // in no order that means anything, until it answers false. True: all were shown. fn may call the store and the view; it
  // must not throw. The store's memory is reused while it runs only if it writes, so it had better be short. One
  // look at each bucket and each record; no memory.
  template <class Fn>
  Result<bool> for_each(Fn&& fn) const noexcept {
    if constexpr (std::is_invocable_r_v<bool, Fn&, std::string_view, std::string_view>) {
      const auto both = [&fn](const ViewEntry& e) -> bool { return fn(e.key, e.value); };
      return walk(FunctionRef<bool(const ViewEntry&)>(both));
    } else {
      return walk(FunctionRef<bool(const ViewEntry&)>(fn));
    }
  }
  // How many entries there are, counted as for_each goes: O(entries).
  Result<std::uint64_t> size() const noexcept;

 private:
  friend class Store;
  friend class Namespace;
  friend class InOrder<View>;  // scan, iterate, keys and their kin: scan.h
  Result<bool> scan_entries(const ScanOptions& options, ScanCursor* cursor, detail::EntryFn fn) const noexcept;
  Result<bool> walk(FunctionRef<bool(const ViewEntry&)> fn) const noexcept;

  PatternOptions pattern_options(PatternOptions asked) const noexcept;

  detail::StoreCore* core_ = nullptr;
  unsigned index_ = 0;
  std::uint64_t stamp_ = 0;
  std::uint64_t now_ms_ = 0;
  const detail::NameRules* rules_ = nullptr;  // of the namespace whose view it is
};

}  // namespace tern

#endif  // TERN_VIEW_H_
