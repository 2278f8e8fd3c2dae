// Scans: a view's keys in the order of their bytes, by the ordered index, step by step.
//
//   step    seek the first leaf behind the last one that was looked at; take up to 64 whose keys are wanted; fetch their
//           buckets, then their records; look each up and walk to the view's version, as a read of the view does; look
//           at the register once more
//
// Each step is a guard of its own and begins with a seek, so a scan holds back no reclamation and stands in no old node:
// what carries it on is a copy of the last key. A key that the view has keeps its slot while the view is open, and hence
// its leaf (ordered_index.h), so the steps together meet each such key once, in order, whatever is written meanwhile;
// what else has a leaf is not in the table, or has no version that the view knows, and is passed over.
//
// Lock-free; writes nothing but stamps and frozen deadlines. A step looks at a bounded number of leaves, so that a scan
// whose filter lets little through gives up its guard, too.
#ifndef TERN_ENGINE_SCANS_H_
#define TERN_ENGINE_SCANS_H_

#include <bit>
#include <cstdint>
#include <optional>
#include <string_view>

#include <tern/function_ref.h>

#include "engine/key_bytes.h"
#include "engine/ordered_index.h"
#include "engine/reads.h"
#include "engine/views.h"

namespace tern::detail {

// Which keys, and in which direction. All of it must hold.
struct KeyRange {
  std::string_view low{};  // no key is empty, so an empty one is no bound
  bool low_included = true;
  std::string_view high{};
  bool has_high = false;
  bool high_included = false;
  std::string_view prefix{};
  bool reverse = false;

  bool is_below(std::string_view key) const noexcept {
    const int order = key.compare(low);
    return order < 0 || (order == 0 && !low_included);
  }
  bool is_above(std::string_view key) const noexcept {
    if (!has_high) return false;
    const int order = key.compare(high);
    return order > 0 || (order == 0 && !high_included);
  }
  bool covers(std::string_view key) const noexcept { return key.starts_with(prefix) && !is_below(key) && !is_above(key); }
  // Nor does any that follows, once the first that may be covered has been reached.
  bool is_past(std::string_view key) const noexcept {
    return !key.starts_with(prefix) || (reverse ? is_below(key) : is_above(key));
  }
  void raise_low(std::string_view to, bool included) noexcept {
    if (to > low || (to == low && !included)) {
      low = to;
      low_included = included;
    }
  }
  void lower_high(std::string_view to, bool included) noexcept {
    if (!has_high || to < high || (to == high && !included)) {
      high = to;
      high_included = included;
      has_high = true;
    }
  }
};

// Whether a key in the range is wanted; null: all are.
using KeyFilter = FunctionRef<bool(std::string_view)>;

template <class Sync>
class Scans {
 public:
  using View = Views<Sync>;
  using Handle = typename View::Handle;
  using Step = typename View::Step;
  using Index = OrderedIndex<Sync>;
  using Cursor = typename Index::Cursor;

  enum class Outcome : std::uint8_t {
    kMore,
    kAtEnd,     // what the step has found is the last
    kEnded,     // the view was ended
    kNoMemory,  // private memory, for a key that is carried on or the path to it
  };
  static constexpr unsigned kStepKeys = View::kStepKeys;
  static constexpr unsigned kLooksMax = 1024;  // leaves whose keys a filter refuses, in a step

  Scans(Core<Sync>& core, const Handle& view) noexcept : core_(core), view_(view) {}

  // The next up to `wanted` <= kStepKeys entries in the range. Inside the caller's guard, whose end is the end of what the
  // step refers to. A step may be empty.
  Outcome step(const KeyRange& range, const KeyFilter* filter, unsigned wanted, Step& out) noexcept {
    out.count = 0;
    std::optional<Cursor> cursor;
    if (!seek(range, cursor)) return Outcome::kNoMemory;
    std::string_view key[kStepKeys], last;
    std::uint64_t hash[kStepKeys];
    unsigned count = 0;
    bool at_end = false;
    for (unsigned looks = 0; count != wanted && looks != kLooksMax; ++looks) {
      const auto* leaf = cursor->next();
      if (leaf == nullptr || range.is_past(leaf->key())) {
        at_end = true;
        break;
      }
      last = leaf->key();
      if (filter != nullptr && !(*filter)(last)) continue;
      core_.prefetch_bucket(leaf->hash);
      key[count] = last;
      hash[count++] = leaf->hash;
    }
    if (cursor->failed()) return Outcome::kNoMemory;
    if (!look(key, hash, count, out)) return Outcome::kEnded;
    if (at_end) return Outcome::kAtEnd;
    if (!place_.assign(last)) return Outcome::kNoMemory;
    is_under_way_ = true;
    return Outcome::kMore;
  }

  // What the view has of these keys, in their order, without those that it hasn't. Buckets are on their way. False: the view
  // was ended.
  bool look(const std::string_view* key, const std::uint64_t* hash, unsigned count, Step& out) noexcept {
    out.count = 0;
    for (unsigned i = 0; i != count; ++i) {
      const auto& s = core_.table.shard_of(hash[i]);
      auto& bucket = core_.table.bucket(s, Table<Sync>::size_of(s).home(hash[i]));
      const unsigned m = bucket.matches(tag_of(hash[i]));
      if (m == 0) continue;
      const SlotWord w = bucket.at(static_cast<unsigned>(std::countr_zero(m)));
      if (w.is_current()) base::fetch_block(core_.space, w.offset());
    }
    for (unsigned i = 0; i != count; ++i) {
      const auto found = core_.table.find(hash[i], key[i]);
      if (!found) continue;
      const auto head = View(core_).at(view_, found.word.offset(), key[i].size());
      if (!head.present) continue;
      out.head[out.count] = head;
      // The version's own bytes, as in a walk.
      const auto own = core_.space.key_of(*head.record, head.stamp);
      out.key[out.count] = {own.data, own.size};
      out.record[out.count++] = core_.space.offset_of(*head.record);
    }
    Sync::point("scan.looked");
    if (core_.space.views.is_open(view_.opened)) return true;
    out.count = 0;
    return false;
  }

 private:
  // False: no memory.
  bool seek(const KeyRange& range, std::optional<Cursor>& cursor) noexcept {
    if (!range.reverse) {
      if (is_under_way_) {
        cursor.emplace(core_.index, place_.view(), Cursor::kForward, false);
      } else if (range.prefix > range.low) {
        cursor.emplace(core_.index, range.prefix, Cursor::kForward, true);
      } else {
        cursor.emplace(core_.index, range.low, Cursor::kForward, range.low_included);
      }
      return true;
    }
    if (is_under_way_) {
      cursor.emplace(core_.index, place_.view(), Cursor::kBackward, false);
      return true;
    }
    // Past the prefix, unless the bound comes before that.
    if (!range.prefix.empty()) {
      if (!place_.assign(range.prefix)) return false;
      place_.to_successor();
      const std::string_view end = place_.view();
      if (!end.empty() && (!range.has_high || end <= range.high)) {
        cursor.emplace(core_.index, end, Cursor::kBackward, false);
        return true;
      }
    }
    if (range.has_high) {
      cursor.emplace(core_.index, range.high, Cursor::kBackward, range.high_included);
    } else {
      cursor.emplace(core_.index, Cursor::kBackward);
    }
    return true;
  }

  Core<Sync>& core_;
  const Handle view_;
  bool is_under_way_ = false;
  KeyBytes place_;  // of the last leaf that was looked at
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_SCANS_H_
