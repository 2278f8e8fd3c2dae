// Scans: a store's keys in the order of their bytes, by prefix, range and pattern, in pages if so wished.
//
//   view->iterate("player:", [&](std::string_view key, std::string_view value) { ...; return true; });
//   store.scan({.prefix = "zone:7:", .limit = 100}, cursor, [&](const ViewEntry& e) { ...; return true; });
//   auto names = store.keys("app.*.port");
//
// On a View these calls show the view; on a Store, a view of the call: one moment, whatever is written meanwhile. The order
// is that of unsigned bytes.
//
// Cost. With Options::ordered, the way down the index to the first key, then for each key what a read costs, several keys'
// cache misses at a time. Without it the whole store is looked at, whatever the bounds are: the keys within them are copied
// into memory outside the budget (their bytes and 24 more each; with a limit of n, at most about 2 n + 1,024 of them for
// each thread), sorted, and read one by one. Up to Options::scan_threads threads look and sort, where there are several
// shards; expressions and patterns are tried on each of them, callbacks run on the caller's alone. Right for a listing now
// and then; not for a loop.
//
// Callbacks get the store's own bytes, good during the call. They may call the store and the view; what they write isn't
// seen. They must not throw. Nothing is allocated for each key; a key of more than 100 bytes that a scan has to remember
// between two steps is copied into private memory.
#ifndef TERN_SCAN_H_
#define TERN_SCAN_H_

#include <tern/function_ref.h>
#include <tern/pattern.h>
#include <tern/regex.h>
#include <tern/result.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>

namespace tern {

namespace detail {
class KeyList;
}

// What for_each and the scans show; the bytes are the store's own, good during the call.
struct ViewEntry {
  std::string_view key{};
  std::string_view value{};
  std::uint64_t version = 0;
  std::optional<std::chrono::milliseconds> ttl{};  // from the view's opening; none: no deadline
  std::string_view metadata{};                     // SetOptions::metadata; empty: it has none
};

// Which keys a scan shows: those for which all of it holds. Refers to the caller's bytes.
struct ScanOptions {
  std::string_view prefix{};  // keys that begin so
  std::string_view from{};    // not less than this
  std::string_view to{};      // less than this; empty: no end
  std::string_view after{};   // behind this key in the scan's direction, whether it exists or not; empty: from the start
  // This key and those that begin with it and `separator`; empty: all.
  std::string_view subtree{};
  char separator = '.';
  // What can match narrows the scan: the pattern's literal start, the expression's first and last key.
  const Pattern* pattern = nullptr;
  const Regex* regex = nullptr;
  std::uint64_t limit = 0;  // entries, at most; 0: all
  bool reverse = false;     // from the last key to the first
  bool keys_only = false;   // values and lifetimes stay empty; without the ordered index saves a read for each key
};

// Where a scan in pages stands: behind the last key that was shown. Outlives the view and the store; the page that it
// begins next may be of a later view. Not for two threads at once.
class TERN_API ScanCursor {
 public:
  ScanCursor() noexcept = default;
  ScanCursor(ScanCursor&& other) noexcept;
  ScanCursor& operator=(ScanCursor&& other) noexcept;
  ScanCursor(const ScanCursor&) = delete;
  ScanCursor& operator=(const ScanCursor&) = delete;
  ~ScanCursor();

  // The last key shown; empty: none.
  std::string_view key() const noexcept { return {key_, size_}; }
  // The last page reached the end of its range.
  bool at_end() const noexcept { return at_end_; }
  // To the beginning.
  void reset() noexcept {
    size_ = 0;
    at_end_ = false;
  }

 private:
  friend class View;
  bool move_to(std::string_view key) noexcept;

  char* key_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
  bool at_end_ = false;
};

// Keys that the caller owns, in order: a copy outside any store's budget (a key's bytes and 24 more).
class TERN_API Keys {
 public:
  class Iterator {
   public:
    using value_type = std::string_view;
    using difference_type = std::ptrdiff_t;
    std::string_view operator*() const noexcept { return (*keys_)[at_]; }
    Iterator& operator++() noexcept {
      ++at_;
      return *this;
    }
    Iterator operator++(int) noexcept { return Iterator(keys_, at_++); }
    friend bool operator==(const Iterator& a, const Iterator& b) noexcept { return a.at_ == b.at_; }

   private:
    friend class Keys;
    Iterator(const Keys* keys, std::size_t at) noexcept : keys_(keys), at_(at) {}
    const Keys* keys_;
    std::size_t at_;
  };

  Keys() noexcept = default;
  Keys(Keys&& other) noexcept : list_(other.list_) { other.list_ = nullptr; }
  Keys& operator=(Keys&& other) noexcept;
  Keys(const Keys&) = delete;
  Keys& operator=(const Keys&) = delete;
  ~Keys();

  std::size_t size() const noexcept;
  bool empty() const noexcept { return size() == 0; }
  std::string_view operator[](std::size_t index) const noexcept;  // index < size()
  Iterator begin() const noexcept { return Iterator(this, 0); }
  Iterator end() const noexcept { return Iterator(this, size()); }

  // False: no memory; it stays as it is.
  bool add(std::string_view key) noexcept;

 private:
  detail::KeyList* list_ = nullptr;
};

namespace detail {

using EntryFn = FunctionRef<bool(const ViewEntry&)>;

}  // namespace detail

// Derived gives
//   Result<bool> scan_entries(const ScanOptions&, ScanCursor*, detail::EntryFn) const noexcept
//   PatternOptions pattern_options(PatternOptions asked) const noexcept     a namespace has its own
//
// Common to all: true: everything in the range was shown; false: fn answered false, or the limit was reached. Errors:
// closed; view_expired: the view was ended to make room (of what was shown before, all was right); too_large (views): on a
// store, as many calls of this kind are under way as there may be; out_of_memory: private memory.
template <class Derived>
class InOrder {
 public:
  // Each entry whose key begins with `prefix` (empty: each), in order, until fn answers false. fn(std::string_view key,
  // std::string_view value) -> bool, fn(const ViewEntry&) -> bool, or fn(std::string_view key) -> bool for keys only.
  template <class Fn>
  Result<bool> iterate(std::string_view prefix, Fn&& fn) const noexcept {
    ScanOptions options;
    options.prefix = prefix;
    return run(options, nullptr, fn);
  }
  template <class Fn>
  Result<bool> scan(const ScanOptions& options, Fn&& fn) const noexcept {
    return run(options, nullptr, fn);
  }
  // A page: begins behind the cursor's key (and behind options.after), and leaves the cursor at the last key shown.
  template <class Fn>
  Result<bool> scan(const ScanOptions& options, ScanCursor& cursor, Fn&& fn) const noexcept {
    return run(options, &cursor, fn);
  }

  // The keys, in order. Allocates: see Keys.
  Result<Keys> keys(const ScanOptions& options = {}) const noexcept {
    Keys all;
    bool whole = true;
    const Result<bool> r = scan(options, [&](std::string_view key) { return whole = all.add(key); });
    if (!r) return r.error();
    if (!whole) return Status::kOutOfMemory;
    return Result<Keys>(std::move(all));
  }
  // Those that the pattern stands for. As text: also what Pattern::compile answers; it is compiled anew for each call.
  Result<Keys> keys(const Pattern& pattern) const noexcept {
    ScanOptions options;
    options.pattern = &pattern;
    return keys(options);
  }
  Result<Keys> keys(std::string_view pattern, const PatternOptions& how = {}) const noexcept {
    const Result<Pattern> p = Pattern::compile(pattern, static_cast<const Derived&>(*this).pattern_options(how));
    if (!p) return p.error();
    return keys(*p);
  }
  Result<Keys> keys(const Regex& regex) const noexcept {
    ScanOptions options;
    options.regex = &regex;
    return keys(options);
  }

  // The same with their values; fn as for iterate.
  template <class Fn>
  Result<bool> get_pattern(const Pattern& pattern, Fn&& fn) const noexcept {
    ScanOptions options;
    options.pattern = &pattern;
    return run(options, nullptr, fn);
  }
  template <class Fn>
  Result<bool> get_pattern(std::string_view pattern, Fn&& fn, const PatternOptions& how = {}) const noexcept {
    const Result<Pattern> p = Pattern::compile(pattern, static_cast<const Derived&>(*this).pattern_options(how));
    if (!p) return p.error();
    return get_pattern(*p, fn);
  }
  template <class Fn>
  Result<bool> get_regex(const Regex& regex, Fn&& fn) const noexcept {
    ScanOptions options;
    options.regex = &regex;
    return run(options, nullptr, fn);
  }
  // A node of a hierarchy and all below it: `node` itself, if it is there, then what begins with it and the separator.
  template <class Fn>
  Result<bool> get_subtree(std::string_view node, Fn&& fn, char separator = '.') const noexcept {
    ScanOptions options;
    options.subtree = node;
    options.separator = separator;
    return run(options, nullptr, fn);
  }

 private:
  template <class Fn>
  Result<bool> run(const ScanOptions& options, ScanCursor* cursor, Fn& fn) const noexcept {
    const auto& self = static_cast<const Derived&>(*this);
    if constexpr (std::is_invocable_r_v<bool, Fn&, std::string_view, std::string_view>) {
      const auto both = [&fn](const ViewEntry& e) -> bool { return fn(e.key, e.value); };
      return self.scan_entries(options, cursor, detail::EntryFn(both));
    } else if constexpr (std::is_invocable_r_v<bool, Fn&, const ViewEntry&>) {
      return self.scan_entries(options, cursor, detail::EntryFn(fn));
    } else {
      ScanOptions only = options;
      only.keys_only = true;
      const auto key = [&fn](const ViewEntry& e) -> bool { return fn(e.key); };
      return self.scan_entries(only, cursor, detail::EntryFn(key));
    }
  }
};

}  // namespace tern

#endif  // TERN_SCAN_H_
