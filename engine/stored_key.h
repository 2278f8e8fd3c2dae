// StoredKey: a key, as who calls names it, becomes the one that the table has (names.h): with its namespace's mark before it,
// and as the namespace's rules want it.
#ifndef TERN_ENGINE_STORED_KEY_H_
#define TERN_ENGINE_STORED_KEY_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <span>
#include <string_view>

#include <tern/operations.h>
#include <tern/path.h>
#include <tern/pattern.h>

#include "alloc/private_memory.h"
#include "engine/key_bytes.h"
#include "engine/store_core.h"

namespace tern::detail {

// ASCII letters in lower case, in place.
inline void fold(char* bytes, std::size_t size) noexcept {
  for (std::size_t i = 0; i != size; ++i) {
    if (bytes[i] >= 'A' && bytes[i] <= 'Z') bytes[i] = static_cast<char>(bytes[i] + ('a' - 'A'));
  }
}

// Patterns of a namespace are for its separator and its case, whatever is asked for.
inline PatternOptions pattern_options(const NameRules* rules, PatternOptions asked) noexcept {
  if (rules == nullptr) return asked;
  return {rules->separator, asked.fold_case || rules->fold_case};
}

// What is wrong with a key of the namespace, whose rules these are.
inline Error rule_error(const NameRules& rules, std::string_view key) noexcept {
  if (const Error e = Call::key_error(key, kKeyBytesMax); e.status != Status::kOk) return e;
  return rules.check_paths ? check_path(key, {rules.separator, rules.fold_case}) : Error{};
}
// The key, at `bytes`, as the rules want it: its size.
inline std::size_t apply(const NameRules& rules, char* bytes, std::size_t size) noexcept {
  if (rules.normalise_paths) return normalise_path({bytes, size}, {bytes, size}, {rules.separator, rules.fold_case});
  if (rules.fold_case) fold(bytes, size);
  return size;
}

// Private memory for keys of more than 101 bytes.
class StoredKey {
 public:
  // Whether the key of the call isn't stored as it is.
  static bool is_needed(const Context& c, std::string_view key) noexcept {
    if (rules_of(c) != nullptr) return true;
    return !has_stored_key(c) && key.size() - 1 < kKeyBytesMax && is_named(key);
  }

  StoredKey(const Context& c, std::string_view key) noexcept : context_(c), view_(key) {
    const NameRules* const rules = rules_of(c);
    if (!is_needed(c, key)) return;
    context_ = detail::with_stored_key(c);
    if (rules != nullptr) error_ = rule_error(*rules, key);
    if (error_.status != Status::kOk) return;
    if (!bytes_.assign(NameMark(name_of(c)), key)) {
      error_ = {Status::kOutOfMemory, Field::kNone};
      return;
    }
    if (rules != nullptr) {
      bytes_.shorten(kNameBytes + apply(*rules, bytes_.data() + kNameBytes, key.size()));
      if (bytes_.view().size() == kNameBytes) error_ = {Status::kInvalidKey, Field::kKey};  // nothing but separators
    }
    view_ = bytes_.view();
  }

  Error error() const noexcept { return error_; }
  std::string_view view() const noexcept { return view_; }
  // For the call that is made with it.
  Context context() const noexcept { return context_; }

 private:
  Context context_;
  std::string_view view_;
  Error error_{};
  KeyBytes bytes_;
};

// The beginning of keys, or a bound on them: anything, and whole keys too.
class StoredBound {
 public:
  // `is_text`: the caller's, which namespaces that fold case fold. False: no memory.
  bool assign(const Context& c, std::string_view bytes, bool is_text = true) noexcept {
    const NameRules* const rules = rules_of(c);
    if (rules == nullptr && (bytes.empty() || !is_named(bytes))) {
      view_ = bytes;
      return true;
    }
    if (!bytes_.assign(NameMark(name_of(c)), bytes)) return false;
    if (is_text && rules != nullptr && rules->fold_case) fold(bytes_.data() + kNameBytes, bytes.size());
    view_ = bytes_.view();
    return true;
  }
  std::string_view view() const noexcept { return view_; }

 private:
  std::string_view view_{};
  KeyBytes bytes_;
};

// The keys of a call that has many. A bad one stays bad: it fails alone.
class StoredKeys {
 public:
  // Whether any of them isn't stored as it is, or is none. `at(i)` is the key.
  template <class At>
  static bool are_needed(const Context& c, std::size_t count, At&& at) noexcept {
    if (c.thread != nullptr && rules_of(c) != nullptr) [[unlikely]] return true;
    bool any = false;
    for (std::size_t i = 0; i != count; ++i) {
      const std::string_view key = at(i);
      any = any || key.size() - 1 >= kKeyBytesMax || is_named(key);
    }
    return any && !has_stored_key(c);
  }

  static bool are_needed(const Context& c, std::span<const std::string_view> keys) noexcept {
    return are_needed(c, keys.size(), [&](std::size_t i) { return keys[i]; });
  }

  StoredKeys() noexcept = default;
  StoredKeys(const StoredKeys&) = delete;
  StoredKeys& operator=(const StoredKeys&) = delete;
  ~StoredKeys() {
    alloc::private_free(keys_);
    alloc::private_free(bytes_);
  }

  // A key as its owner knows it, and whose it is; without rules it is taken as it is.
  struct Own {
    std::string_view key;
    const NameRules* rules;
    unsigned name;
  };
  // False: no memory.
  template <class At>
  bool assign(const Context& c, std::size_t count, At&& at) noexcept {
    const NameRules* const rules = rules_of(c);
    const unsigned name = name_of(c);
    return assign_each(count, [&](std::size_t i) { return Own{at(i), rules, name}; });
  }
  // The same with each key's own namespace.
  template <class OwnAt>
  bool assign_each(std::size_t count, OwnAt&& own_at) noexcept {
    std::size_t bytes = 0;
    for (std::size_t i = 0; i != count; ++i) bytes += kNameBytes + own_at(i).key.size();
    keys_ = static_cast<std::string_view*>(alloc::private_allocate((count + 1) * sizeof(std::string_view)));
    bytes_ = static_cast<char*>(alloc::private_allocate(bytes + 1));
    if (keys_ == nullptr || bytes_ == nullptr) return false;
    count_ = count;
    char* to = bytes_;
    for (std::size_t i = 0; i != count; ++i) {
      const auto [key, rules, name] = own_at(i);
      Error e = rules != nullptr ? rule_error(*rules, key) : Call::key_error(key, kKeyBytesMax);
      std::string_view stored = key;
      if (e.status == Status::kOk && (name != kDefaultName || is_named(key))) {
        const NameMark mark(name);
        std::memcpy(to, mark.bytes, kNameBytes);
        std::memcpy(to + kNameBytes, key.data(), key.size());
        const std::size_t size = rules != nullptr ? apply(*rules, to + kNameBytes, key.size()) : key.size();
        stored = {to, kNameBytes + size};
        to += kNameBytes + size;
        if (size == 0) e = {Status::kInvalidKey, Field::kKey};
      }
      // Nobody reads the bytes of one that is too long.
      if (e.status == Status::kTooLarge) stored = {bytes_, kStoredKeyBytesMax + 1};
      if (e.status == Status::kInvalidKey) stored = {};
      new (keys_ + i) std::string_view(stored);
    }
    return true;
  }
  bool assign(const Context& c, std::span<const std::string_view> keys) noexcept {
    return assign(c, keys.size(), [&](std::size_t i) { return keys[i]; });
  }
  std::span<const std::string_view> keys() const noexcept { return {keys_, count_}; }

 private:
  std::string_view* keys_ = nullptr;
  char* bytes_ = nullptr;
  std::size_t count_ = 0;
};

template <class Again>
auto Call::otherwise(const Context& c, std::string_view key, Again&& again) const noexcept -> decltype(again(c, key)) {
  if (!is_elsewhere_) return error(key);
  const StoredKey stored(c, key);
  if (stored.error().status != Status::kOk) return stored.error();
  return again(stored.context(), stored.view());
}

inline bool is_hit(const Result<bool>& exists) noexcept { return exists && *exists; }
template <class T>
bool is_hit(const Lookup<T>& read) noexcept {
  return read.found();
}
inline bool is_miss(const Result<bool>& exists) noexcept { return exists && !*exists; }
template <class T>
bool is_miss(const Lookup<T>& read) noexcept {
  return read.missing();
}

template <class Again>
auto Call::read_otherwise(const Context& c, std::string_view key, Again&& again) const noexcept -> decltype(again(c, key)) {
  auto answer = otherwise(c, key, again);
  const NameRules* const rules = rules_of(c);
  if (rules == nullptr || core_ == nullptr) return answer;
  auto* const slot = core_->core.space.names.find(rules->number);
  // Threads' states lie in pages of their own.
  const auto thread = reinterpret_cast<std::uintptr_t>(core_->thread()) >> 12;
  auto& reads = slot->reads[(thread ^ thread >> 3) % slot->kStripes];
  if (is_hit(answer)) {
    reads.hits.fetch_add(1, std::memory_order_relaxed);  // a figure
  } else if (is_miss(answer)) {
    reads.misses.fetch_add(1, std::memory_order_relaxed);  // a figure
  }
  return answer;
}

}  // namespace tern::detail

#endif  // TERN_ENGINE_STORED_KEY_H_
