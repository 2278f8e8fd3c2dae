// FilterSet: many filters asked about one key at a time. What that costs follows the key's length and the filters that match, not
// how many filters there are.
//
//   starts   a hash table: what keys begin with (KeyFilter::start) -> the filters with this start, chained
//   lengths  of starts that are there, ascending
//
// find: a hash of the key's first bytes is carried on from length to length, and each is looked up once: a start that is there is
// compared, and its filters are asked about the rest. A key's own filter is one whose start is all of it; a prefix asks nothing
// more. (Rejected: a trie in the bytes. It takes a cache line a level where this takes one a length, and there are few lengths.)
//
// Globs and expressions that share a start, most often the empty one, are asked one by one while they are few, and together
// (regex_set.h) once they are more than kSeparatelyMax: compiled when a key asks for the first time after one came or went.
//
// One thread at a time. Everything lies in private memory: about 100 bytes a filter and its text, and what it compiles to.
#ifndef TERN_ENGINE_FILTER_SET_H_
#define TERN_ENGINE_FILTER_SET_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "engine/key_filter.h"
#include "engine/regex_set.h"

namespace tern::detail {

class FilterSet {
 public:
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};
  static constexpr unsigned kSeparatelyMax = 8;
  static constexpr std::uint32_t kFiltersMax = 1 << 20;

  explicit FilterSet(std::uint64_t seed) noexcept : seed_(seed) {}
  FilterSet(const FilterSet&) = delete;
  FilterSet& operator=(const FilterSet&) = delete;
  ~FilterSet();

  // Which number it has; a number that was removed may come again. Changes with a stamp of up to `from` aren't for it.
  Error add(KeyFilter::Kind kind, std::string_view text, char separator, bool fold_case, std::uint64_t from, std::uint32_t& number) noexcept;
  bool remove(std::uint32_t number) noexcept;
  std::size_t size() const noexcept { return size_; }

  // fn(number) -> whether to go on, for each that matches and began before `stamp`; in no order.
  template <class Fn>
  void find(std::string_view key, std::uint64_t stamp, Fn&& fn) noexcept {
    std::uint64_t hash = seed_;
    std::size_t hashed = 0;
    for (unsigned i = 0; i != length_count_ && lengths_[i].bytes <= key.size(); ++i) {
      for (; hashed != lengths_[i].bytes; ++hashed) hash = step(hash, key[hashed]);
      Start* s = start_of(key.substr(0, hashed), hash);
      if (s != nullptr && !find_in(*s, key, stamp, fn)) return;
    }
  }

  // The same for a removal of many keys, which may be of theirs; asks all. True: fn has stopped it.
  template <class Fn>
  bool find_touched(ChangeScope scope, std::string_view bytes, std::uint64_t stamp, Fn&& fn) noexcept {
    for (std::uint32_t i = 0; i != filter_room_; ++i) {
      const Filter* f = filters_[i];
      if (f != nullptr && stamp > f->from && f->keys.touches(scope, bytes) && !fn(f->number)) return true;
    }
    return false;
  }

  // Filters that were asked one by one; the tests' count.
  std::uint64_t asked() const noexcept { return asked_; }

 private:
  struct Filter {
    KeyFilter keys;
    std::uint64_t from = 0;
    std::uint32_t number = 0;
    char separator = 0;
    bool fold_case = false;
    bool is_expression = false;
    std::uint32_t text_size = 0;
    char* text = nullptr;  // of an expression
    Filter* next = nullptr;  // of the same start: expressions behind the others
  };
  // Expressions of one start, together.
  struct Together {
    RegexSet set;
    Filter** filters = nullptr;  // by their number in the set
  };
  struct Start {
    std::uint64_t hash = 0;
    Filter* first = nullptr;  // null: nothing is here
    std::uint32_t expressions = 0;
    bool is_apart = false;  // they can't be together
    Together* together = nullptr;
  };
  struct Length {
    std::size_t bytes = 0;
    std::uint32_t starts = 0;
  };

  static std::uint64_t step(std::uint64_t hash, char byte) noexcept {
    hash = (hash ^ static_cast<unsigned char>(byte)) * 0x9E3779B97F4A7C15u;
    return hash ^ hash >> 29;
  }
  std::size_t place_of(std::uint64_t hash) const noexcept { return (hash * 0xD1B54A32D192ED03u >> 32) & (capacity_ - 1); }
  Start* start_of(std::string_view start, std::uint64_t hash) noexcept {
    if (capacity_ == 0) return nullptr;
    for (std::size_t i = place_of(hash);; i = (i + 1) & (capacity_ - 1)) {
      Start& s = starts_[i];
      if (s.first == nullptr) return nullptr;
      if (s.hash == hash && s.first->keys.start() == start) return &s;
    }
  }
  template <class Fn>
  bool find_in(Start& s, std::string_view key, std::uint64_t stamp, Fn& fn) noexcept {
    const bool together = s.expressions > kSeparatelyMax && gather(s);
    for (Filter* f = s.first; f != nullptr; f = f->next) {
      if (f->is_expression && together) break;
      if (!ask(*f, key, stamp, fn)) return false;
    }
    if (!together) return true;
    bool more = true;
    if (s.together->set.match(key, [&](int i) { more = more && ask(*s.together->filters[i], key, stamp, fn); })) return more;
    for (Filter* f = s.first; f != nullptr; f = f->next) {
      if (f->is_expression && !ask(*f, key, stamp, fn)) return false;
    }
    return true;
  }
  template <class Fn>
  bool ask(const Filter& f, std::string_view key, std::uint64_t stamp, Fn& fn) noexcept {
    ++asked_;
    return stamp <= f.from || !f.keys.matches_rest(key) || fn(f.number);
  }
  bool gather(Start& s) noexcept;
  void scatter(Start& s) noexcept;
  bool make_room() noexcept;
  bool count_length(std::size_t bytes) noexcept;
  void uncount_length(std::size_t bytes) noexcept;
  void erase(Start& s) noexcept;
  static void free(Filter* f) noexcept;
  std::uint64_t hash_of(std::string_view start) const noexcept {
    std::uint64_t hash = seed_;
    for (const char c : start) hash = step(hash, c);
    return hash;
  }

  std::uint64_t seed_;
  Start* starts_ = nullptr;
  std::size_t capacity_ = 0;  // a power of two
  std::size_t start_count_ = 0;
  Length* lengths_ = nullptr;
  unsigned length_count_ = 0;
  unsigned length_room_ = 0;
  Filter** filters_ = nullptr;  // by number; null: free
  std::uint32_t filter_room_ = 0;
  std::uint32_t first_free_ = 0;  // none before it
  std::size_t size_ = 0;
  std::uint64_t asked_ = 0;
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_FILTER_SET_H_
