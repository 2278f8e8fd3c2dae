#include "tests/engine/parts/filter_sequence.h"

#include <algorithm>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/filter_set.h"

namespace tern::test {
namespace {

using detail::FilterSet;
using detail::KeyFilter;

struct Known {
  KeyFilter filter;
  std::uint64_t from = 0;
  std::string text;
};

class Bytes {
 public:
  Bytes(const std::uint8_t* data, std::size_t size) : at_(data), end_(data + size) {}
  bool empty() const { return at_ == end_; }
  unsigned next() { return empty() ? 0 : *at_++; }
  // Few bytes, so that texts begin alike.
  std::string text(std::string_view alphabet) {
    std::string s;
    for (unsigned n = next() % 9; n != 0; --n) s += alphabet[next() % alphabet.size()];
    return s;
  }

 private:
  const std::uint8_t* at_;
  const std::uint8_t* end_;
};

}  // namespace

std::string run_filters(const std::uint8_t* data, std::size_t size, FilterCounts* counts) {
  FilterCounts own;
  FilterCounts& n = counts != nullptr ? *counts : own;
  Bytes bytes(data, size);
  FilterSet set(bytes.next());
  std::map<std::uint32_t, Known> known;
  std::uint64_t clock = 1;
  while (!bytes.empty()) {
    const unsigned what = bytes.next();
    if (what % 8 < 4) {
      const auto kind = static_cast<KeyFilter::Kind>(what % 4);
      const bool fold = (what & 16) != 0;
      const char separator = (what & 32) != 0 ? '/' : '.';
      const std::string_view alphabet = kind == KeyFilter::Kind::kGlob    ? "ab./*?[]{,}!-\\A\n"
                                        : kind == KeyFilter::Kind::kRegex ? "ab.*?[]()|^\\A"
                                                                          : "ab./";
      const std::string text = bytes.text(alphabet);
      Known k;
      k.text = text;
      k.from = clock;
      const Error alone = k.filter.open(kind, text, separator, fold);
      std::uint32_t number = 0;
      const Error error = set.add(kind, text, separator, fold, clock, number);
      if (!(error == alone)) return "the set and a filter disagree on '" + text + "'";
      if (error.status != Status::kOk) {
        ++n.refused;
        continue;
      }
      if (known.count(number) != 0) return "a number was given twice";
      known.emplace(number, std::move(k));
      ++n.added;
    } else if (what % 8 == 4 && !known.empty()) {
      auto at = known.begin();
      std::advance(at, bytes.next() % known.size());
      if (!set.remove(at->first)) return "a filter can't be removed";
      if (set.remove(at->first)) return "a filter was removed twice";
      known.erase(at);
      ++n.removed;
    } else {
      clock += bytes.next() % 2;
      const std::string key = bytes.text("ab./A\n");
      std::vector<std::uint32_t> got, wanted;
      set.find(key, clock, [&](std::uint32_t number) {
        got.push_back(number);
        return true;
      });
      for (const auto& [number, k] : known) {
        if (clock > k.from && k.filter.matches(key)) wanted.push_back(number);
      }
      std::sort(got.begin(), got.end());
      if (got != wanted) {
        std::string s = "other filters match '" + key + "':";
        for (const auto& [number, k] : known) {
          const bool is_in = std::binary_search(got.begin(), got.end(), number);
          if (is_in != std::binary_search(wanted.begin(), wanted.end(), number)) s += " '" + k.text + "'";
        }
        return s;
      }
      n.matches += got.size();
      ++n.keys;
      unsigned calls = 0;
      set.find(key, clock, [&](std::uint32_t) {
        ++calls;
        return false;
      });
      if (calls != (wanted.empty() ? 0u : 1u)) return "it goes on after it was told to stop";
    }
    if (set.size() != known.size()) return "the number of filters is wrong";
  }
  return {};
}

}  // namespace tern::test
