// Path: hierarchical keys, segments with a separator between them: "app.config.port", "zone/7/player/12".
//
//   for (std::string_view segment : Path("app.config.port")) ...     app, config, port
//   Path("app.config.port").parent()                                 app.config
//
// A store takes any bytes for a key and changes none: what is checked and normalised here is so because the caller asks,
// before the key goes to the store. Subtrees: get_subtree in scan.h, del_subtree in store.h. Nothing here allocates.
#ifndef TERN_PATH_H_
#define TERN_PATH_H_

#include <tern/status.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>

namespace tern {

// Refers to the key's bytes. Constant time unless it says otherwise.
class Path {
 public:
  // Over the segments, from the first on; there is always one, which may be empty.
  class Iterator {
   public:
    using value_type = std::string_view;
    using difference_type = std::ptrdiff_t;
    constexpr std::string_view operator*() const noexcept { return rest_.substr(0, rest_.find(separator_)); }
    constexpr Iterator& operator++() noexcept {
      const std::size_t at = rest_.find(separator_);
      is_end_ = at == std::string_view::npos;
      rest_.remove_prefix(is_end_ ? rest_.size() : at + 1);
      return *this;
    }
    constexpr Iterator operator++(int) noexcept {
      const Iterator before = *this;
      ++*this;
      return before;
    }
    friend constexpr bool operator==(const Iterator& a, const Iterator& b) noexcept {
      return a.is_end_ == b.is_end_ && a.rest_.size() == b.rest_.size();
    }

   private:
    friend class Path;
    constexpr Iterator(std::string_view rest, char separator, bool is_end) noexcept
        : rest_(rest), separator_(separator), is_end_(is_end) {}
    std::string_view rest_;
    char separator_;
    bool is_end_;
  };

  constexpr explicit Path(std::string_view key, char separator = '.') noexcept : key_(key), separator_(separator) {}

  constexpr std::string_view key() const noexcept { return key_; }
  constexpr Iterator begin() const noexcept { return {key_, separator_, false}; }
  constexpr Iterator end() const noexcept { return {key_.substr(key_.size()), separator_, true}; }

  // Segments, at least 1. O(key).
  constexpr std::size_t depth() const noexcept {
    std::size_t n = 1;
    for (const char c : key_) n += c == separator_;
    return n;
  }
  // Segment `i` from 0 on; empty if there is none. O(key).
  constexpr std::string_view segment(std::size_t i) const noexcept {
    for (const std::string_view s : *this) {
      if (i-- == 0) return s;
    }
    return {};
  }
  // The key of the node above; empty: it is a root. O(last segment).
  constexpr std::string_view parent() const noexcept {
    const std::size_t at = key_.rfind(separator_);
    return key_.substr(0, at == std::string_view::npos ? 0 : at);
  }
  // The last segment. O(last segment).
  constexpr std::string_view name() const noexcept {
    const std::size_t at = key_.rfind(separator_);
    return key_.substr(at == std::string_view::npos ? 0 : at + 1);
  }
  // Whether it lies below `node`; no key lies below itself. O(node).
  constexpr bool is_below(std::string_view node) const noexcept {
    return key_.size() > node.size() && key_[node.size()] == separator_ && key_.starts_with(node);
  }

 private:
  std::string_view key_;
  char separator_;
};

struct PathRules {
  char separator = '.';
  bool fold_case = false;  // ASCII letters count, and are written, in lower case
};

// What is wrong with a key as a path: invalid_key with the position of the first byte that is to blame. Empty, a segment that is
// empty (a separator that comes first, last or twice), or a control byte (0 to 31 and 127). ok otherwise. O(key).
constexpr Error check_path(std::string_view key, const PathRules& rules = {}) noexcept {
  const auto at = [](std::size_t i) {
    return Error{Status::kInvalidKey, Field::kKey, static_cast<std::uint16_t>(i < 65'535 ? i : 65'535)};
  };
  if (key.empty()) return at(0);
  bool is_empty = true;
  for (std::size_t i = 0; i != key.size(); ++i) {
    const auto c = static_cast<unsigned char>(key[i]);
    if (c < 32 || c == 127) return at(i);
    if (key[i] == rules.separator && is_empty) return at(i);
    is_empty = key[i] == rules.separator;
  }
  return is_empty ? at(key.size() - 1) : Error{};
}

// The path as it should be: without empty segments, in lower case if the rules say so. Answers its size, which is at most
// the key's; written to `out` only if it fits, as get() does. `out` may be the key's own bytes. O(key).
constexpr std::size_t normalise_path(std::string_view key, std::span<char> out, const PathRules& rules = {}) noexcept {
  std::size_t size = 0;
  const auto each = [&](auto&& put) {
    size = 0;
    for (const std::string_view segment : Path(key, rules.separator)) {
      if (segment.empty()) continue;
      if (size != 0) put(rules.separator);
      for (const char c : segment) put(rules.fold_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c);
    }
  };
  each([&](char) { ++size; });
  if (size <= out.size()) each([&](char c) { out[size++] = c; });
  return size;
}

// The parts with a separator between each two; empty ones are left out. As normalise_path, but `out` must lie elsewhere.
constexpr std::size_t join_path(std::initializer_list<std::string_view> parts, std::span<char> out, char separator = '.') noexcept {
  std::size_t size = 0;
  for (const std::string_view part : parts) {
    if (!part.empty()) size += part.size() + (size != 0 ? 1 : 0);
  }
  if (size > out.size()) return size;
  std::size_t at = 0;
  for (const std::string_view part : parts) {
    if (part.empty()) continue;
    if (at != 0) out[at++] = separator;
    for (const char c : part) out[at++] = c;
  }
  return size;
}

}  // namespace tern

#endif  // TERN_PATH_H_
