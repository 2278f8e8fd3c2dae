// KeyFilter: which keys a watch is for: one, those with a prefix, those of a glob or of a regular expression.
#ifndef TERN_ENGINE_KEY_FILTER_H_
#define TERN_ENGINE_KEY_FILTER_H_

#include <cstdint>
#include <cstring>
#include <string_view>
#include <utility>

#include <tern/pattern.h>
#include <tern/regex.h>
#include <tern/watch.h>

#include "alloc/private_memory.h"

namespace tern::detail {

class KeyFilter {
 public:
  enum class Kind : std::uint8_t { kKey, kPrefix, kGlob, kRegex };

  KeyFilter() noexcept = default;
  KeyFilter(KeyFilter&& other) noexcept { *this = std::move(other); }
  KeyFilter& operator=(KeyFilter&& other) noexcept {
    std::swap(kind_, other.kind_);
    std::swap(text_, other.text_);
    std::swap(size_, other.size_);
    glob_ = std::move(other.glob_);
    regex_ = std::move(other.regex_);
    return *this;
  }
  ~KeyFilter() { alloc::private_free(text_); }

  Error open(Kind kind, std::string_view text, char separator, bool fold_case) noexcept {
    kind_ = kind;
    std::string_view start = text;
    if (kind == Kind::kGlob) {
      auto glob = Pattern::compile(text, {separator, fold_case});
      if (!glob) return glob.error();
      glob_ = std::move(*glob);
      start = fold_case ? std::string_view{} : glob_.literal_start();
    } else if (kind == Kind::kRegex) {
      RegexOptions options;
      options.fold_case = fold_case;
      auto regex = Regex::compile(text, options);
      if (!regex) return regex.error();
      regex_ = std::move(*regex);
      start = {};
      if (regex_.is_bounded()) {  // what first and last key begin with
        const std::string_view a = regex_.first(), b = regex_.last();
        std::size_t n = 0;
        while (n < a.size() && n < b.size() && a[n] == b[n]) ++n;
        start = a.substr(0, n);
      }
    }
    if (start.empty()) return {};
    text_ = static_cast<char*>(alloc::private_allocate(start.size()));
    if (text_ == nullptr) return {Status::kOutOfMemory, Field::kNone};
    std::memcpy(text_, start.data(), start.size());
    size_ = start.size();
    return {};
  }

  Kind kind() const noexcept { return kind_; }
  // What every key begins with that it is for; of kKey the key.
  std::string_view start() const noexcept { return {text_, size_}; }

  bool matches(std::string_view key) const noexcept {
    if (kind_ == Kind::kKey) return key == start();
    if (key.size() < size_ || (size_ != 0 && std::memcmp(key.data(), text_, size_) != 0)) return false;
    return kind_ == Kind::kPrefix || matches_rest(key);
  }
  // Whether a removal of this scope may be of a key that it is for.
  bool touches(ChangeScope scope, std::string_view prefix) const noexcept {
    if (scope != ChangeScope::kPrefix || start().starts_with(prefix)) return true;
    return kind_ != Kind::kKey && prefix.starts_with(start());
  }
  // The same for a key that begins so.
  bool matches_rest(std::string_view key) const noexcept {
    switch (kind_) {
      case Kind::kKey: return key.size() == size_;
      case Kind::kPrefix: return true;
      case Kind::kGlob: return glob_.matches(key);
      case Kind::kRegex: break;
    }
    return regex_.matches(key);
  }

 private:
  Kind kind_ = Kind::kPrefix;
  char* text_ = nullptr;
  std::size_t size_ = 0;
  Pattern glob_;
  Regex regex_;
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_KEY_FILTER_H_
