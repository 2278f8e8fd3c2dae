// KeySort: many keys put into the order of their bytes, where each lies somewhere in memory.
//
// A comparison of two keys is two cache misses, and a sort makes twenty for each. So the four bytes behind what all have in
// common are taken into the items, which are sorted by these; then each run of equal ones by the next four, and so on.
//
// Source: caching of characters in multikey quicksort, as in Ng and Kakehi, "Cache Efficient Radix Sort for String Sorting"
// (IEICE 2007); the division into runs is that of a radix sort from the first byte on.
#ifndef TERN_ENGINE_KEY_SORT_H_
#define TERN_ENGINE_KEY_SORT_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace tern::detail {

struct KeyItem {
  const char* data;
  std::uint64_t version;
  std::uint32_t size;
  std::uint32_t head;  // for the sort alone
  std::string_view key() const noexcept { return {data, size}; }
};

class KeySort {
 public:
  static void sort(KeyItem* first, KeyItem* last) noexcept { sort_from(first, last, 0, kLevelsMax); }

  // The same in three steps, of which the second and third may be done by several threads: the heads, and where they lie in
  // the keys; the items by their heads; then what lies between two places where the heads differ.
  static std::size_t take_heads(KeyItem* first, KeyItem* last) noexcept { return take_heads(first, last, 0); }
  static bool is_before(const KeyItem& a, const KeyItem& b) noexcept { return a.head < b.head; }
  static void sort_runs(KeyItem* first, KeyItem* last, std::size_t at) noexcept { sort_runs(first, last, at, kLevelsMax); }

 private:
  static constexpr unsigned kLevelsMax = 64;  // then as other sorts do
  static constexpr std::ptrdiff_t kFew = 12;
  static constexpr std::size_t kHeadBytes = sizeof(std::uint32_t);

  static void sort_plainly(KeyItem* first, KeyItem* last, std::size_t at) noexcept {
    std::sort(first, last, [at](const KeyItem& a, const KeyItem& b) { return a.key().substr(at) < b.key().substr(at); });
  }
  // All have the same `at` first bytes.
  static void sort_from(KeyItem* first, KeyItem* last, std::size_t at, unsigned levels) noexcept {
    if (last - first <= kFew || levels == 0) return sort_plainly(first, last, at);
    at = take_heads(first, last, at);
    std::sort(first, last, is_before);
    sort_runs(first, last, at, levels);
  }
  static void sort_runs(KeyItem* first, KeyItem* last, std::size_t at, unsigned levels) noexcept {
    while (first != last) {
      KeyItem* end = first;
      bool has_ended = false;  // a key within its head, and a zero behind it is no byte of it
      for (const std::uint32_t head = first->head; end != last && end->head == head; ++end) has_ended |= end->size < at + kHeadBytes;
      if (end - first > 1) {
        if (has_ended) {
          sort_plainly(first, end, at);
        } else {
          sort_from(first, end, at + kHeadBytes, levels - 1);
        }
      }
      first = end;
    }
  }
  // Where the heads begin: at the first byte that not all have in common.
  static std::size_t take_heads(KeyItem* first, KeyItem* last, std::size_t at) noexcept {
    if (first == last) return at;
    std::size_t same = first->size;
    for (const KeyItem* i = first; i != last && same != at; ++i) {
      same = std::min<std::size_t>(same, i->size);
      if (std::memcmp(first->data + at, i->data + at, same - at) == 0) continue;
      same = static_cast<std::size_t>(std::mismatch(first->data + at, first->data + same, i->data + at).first - first->data);
    }
    for (KeyItem* i = first; i != last; ++i) i->head = head_of(i->key().substr(same));
    return same;
  }
  static std::uint32_t head_of(std::string_view rest) noexcept {
    std::uint32_t head = 0;
    for (std::size_t i = 0; i != kHeadBytes; ++i) head = head << 8 | (i < rest.size() ? static_cast<unsigned char>(rest[i]) : 0u);
    return head;
  }
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_KEY_SORT_H_
