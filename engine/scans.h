// Scans: a view's keys in the order of their bytes, by the ordered index, step by step.
//
//   step    seek the first leaf behind the last one that was looked at; take up to 64 whose keys are wanted; fetch their
//           buckets, then their records; walk from each to the view's version, as a read of the view does; look at the
//           register once more
//
// The word that was found in a bucket when its record was fetched is as good as one that were found later: the guard keeps
// the record, and what the view has lies at it or below. What is out of the ordinary is looked up again.
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
    if (!high.empty() && static_cast<unsigned char>(key[0]) < static_cast<unsigned char>(high[0])) [[likely]] return false;
    const int order = key.compare(high);
    return order > 0 || (order == 0 && !high_included);
  }
  bool begins(std::string_view key) const noexcept {
    return key.size() >= prefix.size() && simd::key_equal(key.data(), prefix.data(), prefix.size());
  }
  bool covers(std::string_view key) const noexcept { return begins(key) && !is_below(key) && !is_above(key); }
  // Whether the bound at the scan's end takes something away of what begins with the prefix.
  bool is_cut() const noexcept {
    if (reverse) return !low.empty() && low >= prefix;
    return has_high && (high < prefix || high.starts_with(prefix));
  }
  bool is_cut_off(std::string_view key) const noexcept { return reverse ? is_below(key) : is_above(key); }
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
using KeyTest = FunctionRef<bool(std::string_view)>;

template <class Sync>
class Scans {
 public:
  using View = Views<Sync>;
  using Handle = typename View::Handle;
  using Step = typename View::Step;
  using Index = OrderedIndex<Sync>;
  using Cursor = typename Index::Cursor;
  using Cells = base::GroupCells<Sync>;

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
  Outcome step(const KeyRange& range, const KeyTest* filter, unsigned wanted, Step& out) noexcept {
    out.count = 0;
    std::optional<Cursor> cursor;
    bool begins = false;  // all that the cursor hands out has the prefix
    if (!seek(range, cursor, begins)) return Outcome::kNoMemory;
    cursor->look_ahead(wanted);
    std::string_view key[kStepKeys], last;
    Cells cells;
    unsigned count = 0;
    bool at_end = false;
    const bool is_cut = range.is_cut();
    for (unsigned looks = 0; count != wanted && looks != kLooksMax; ++looks) {
      const auto* leaf = cursor->next();
      if (leaf == nullptr) {
        at_end = true;
        break;
      }
      const std::string_view at = leaf->key();
      if ((!begins && !range.begins(at)) || (is_cut && range.is_cut_off(at))) {  // and so are those behind it
        at_end = true;
        break;
      }
      last = at;
      if (filter != nullptr && !(*filter)(at)) continue;
      key[count] = at;
      cells.hash[count] = leaf->hash;
      base::fetch_bucket(core_.table, count++, cells);
    }
    if (cursor->failed()) return Outcome::kNoMemory;
    if (!look(key, cells, count, out)) return Outcome::kEnded;
    if (at_end) return Outcome::kAtEnd;
    if (!place_.assign(last)) return Outcome::kNoMemory;
    is_under_way_ = true;
    return Outcome::kMore;
  }

  // What the view has of the keys with these hashes, in their order, without those that it hasn't. Their buckets are on the
  // way (fetch_bucket). False: the view was ended.
  bool look(const std::string_view* key, Cells& cells, unsigned count, Step& out) noexcept {
    out.count = 0;
    base::fetch_records(core_.table, count, cells);
    // Later points don't concern the view.
    const bool points = core_.space.points.in_table() != 0;
    for (unsigned i = 0; i != count; ++i) {
      const std::uint64_t at = cells.candidate[i];
      if (at == Cells::kNone) continue;
      const Rec* r = at == Cells::kLate || points ? nullptr : base::confirm(core_.space, at, key[i]);
      if (r != nullptr && r->stamp_word().stamp() <= view_.opened.stamp) [[likely]] {
        take(*r, at, key[i].size(), out);
      } else {
        look_up(key[i], cells.hash[i], out);
      }
    }
    Sync::point("scan.looked");
    if (core_.space.views.is_open(view_.opened)) return true;
    out.count = 0;
    return false;
  }

 private:
  using Rec = Record<Sync>;

  // The newest version, as plain as almost all are, is the view's.
  [[gnu::always_inline]] static void take(const Rec& r, std::uint64_t at, std::size_t key_size, Step& out) noexcept {
    Head<Sync>& h = out.head[out.count];
    const char* const key = r.bytes() + kRecordHeaderBytes;
    h.record = const_cast<Rec*>(&r);
    h.stamp = r.stamp_word();
    h.present = true;
    h.expired = h.known_absent = h.has_deadline = false;
    h.version = r.hold_word().version();
    h.value = key + key_size;
    h.value_size = r.link_word().length18();
    out.key[out.count] = {key, key_size};
    out.record[out.count++] = at;
  }
  [[gnu::noinline]] void look_up(std::string_view key, std::uint64_t hash, Step& out) noexcept {
    const auto found = core_.table.find(hash, key);
    if (!found) return;
    const auto head = View(core_).at(view_, found.word.offset(), key.size());
    if (!head.present) return;
    out.head[out.count] = head;
    // The version's own bytes, as in a walk.
    const auto own = core_.space.key_of(*head.record, head.stamp);
    out.key[out.count] = {own.data, own.size};
    out.record[out.count++] = core_.space.offset_of(*head.record);
  }

  // False: no memory.
  bool seek(const KeyRange& range, std::optional<Cursor>& cursor, bool& begins) noexcept {
    if (!range.reverse) {
      const std::string_view from = is_under_way_ ? place_.view() : range.prefix > range.low ? range.prefix : range.low;
      const bool included = !is_under_way_ && (range.low_included || range.prefix > range.low);
      begins = from.starts_with(range.prefix);  // else the range is empty
      cursor.emplace(core_.index, from, Cursor::kForward, included, begins ? range.prefix.size() : 0);
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
