// Scans: a view's keys in the order of their bytes, by the ordered index, step by step.
//
//   step    seek the first leaf behind the last one that was looked at; take up to 64 whose keys are wanted; fetch their
//           buckets, then their records; walk from each to the view's version, as a read of the view does; look at the
//           register once more
//
// A leaf isn't read where the node that leads to it does (a third of the lines of a scan). The node's hint says where the
// record may lie, and the record is the leaf's if its key begins with the bytes that led there: a key that the view has had
// its leaf in the tree all the time, and a second one that begins so would have been met at that place. Without a hint,
// and where it leads to nothing or to another key, the leaf is asked; the hint alone never says that a key isn't there.
// Filters are shown keys, so they need leaves, fetched in groups.
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

#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>

#include <tern/function_ref.h>

#include "engine/key_bytes.h"
#include "engine/ordered_index.h"
#include "engine/prefetch.h"
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

  // What the first bytes of a key say of all that begin with them.
  enum class Side : std::uint8_t { kInside, kPast, kEither };
  // Of those that a scan meets from its first bound on.
  Side side_of(std::string_view beginning) const noexcept {
    if (beginning.size() < prefix.size() && prefix.starts_with(beginning)) return Side::kEither;
    if (!begins(beginning)) return Side::kPast;
    const std::string_view end = reverse ? low : high;
    if (reverse ? low.empty() : !has_high) return Side::kInside;
    if (end.starts_with(beginning)) return Side::kEither;
    return (beginning < end) == reverse ? Side::kPast : Side::kInside;
  }
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
  using Leaf = typename Index::Leaf;
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
    Wanted keys;
    Cells cells;
    unsigned count = 0;
    const Leaf* last = nullptr;
    const bool at_end = filter != nullptr ? collect(range, *filter, wanted, *cursor, begins, keys, cells, count, last)
                                          : collect(range, wanted, *cursor, begins, keys, cells, count, last);
    if (cursor->failed()) return Outcome::kNoMemory;
    if (!look(keys, cells, count, out)) return Outcome::kEnded;
    if (at_end) return Outcome::kAtEnd;
    if (!place_.assign(last->key())) return Outcome::kNoMemory;
    is_under_way_ = true;
    return Outcome::kMore;
  }

  // Whose records are looked for: each by its key, or by a leaf and the bytes that led there.
  struct Wanted {
    std::string_view key[kStepKeys];
    const Leaf* leaf[kStepKeys];   // null: the key is given
    std::int16_t next[kStepKeys];  // the byte behind `key`; Cursor::kWhole: the key ends there
    char bytes[kStepKeys * 32];
  };

  // What the view has of the keys with these hashes, in their order, without those that it hasn't. Their buckets are on the
  // way (fetch_buckets). False: the view was ended.
  bool look(const Wanted& keys, Cells& cells, unsigned count, Step& out) noexcept {
    out.count = 0;
    base::fetch_records(core_.table, count, cells);
    // Later points don't concern the view.
    const bool points = core_.space.points.in_table() != 0;
    for (unsigned i = 0; i != count; ++i) {
      const std::uint64_t at = cells.candidate[i];
      const Leaf* const leaf = keys.leaf[i];
      if (at > Cells::kLate && !points) [[likely]] {
        const Rec& r = *core_.space.record(at);
        const Stamp s = r.stamp_word();
        if (s.plain() && s.stamp() <= view_.opened.stamp && is_of(r, s.klen8(), keys, i)) [[likely]] {
          take(r, at, s.klen8(), out);
          continue;
        }
      } else if (at == Cells::kNone && (leaf == nullptr || leaf->hash == cells.hash[i] || planted<Sync>(Mutant::kScanMissByHint))) {
        continue;
      }
      if (leaf == nullptr) {
        look_up(keys.key[i], cells.hash[i], out);
      } else {
        look_up(leaf->key(), leaf->hash, out);
      }
    }
    Sync::point("scan.looked");
    if (core_.space.views.is_open(view_.opened)) return true;
    out.count = 0;
    return false;
  }

 private:
  using Rec = Record<Sync>;

  // The next leaves of the range, unread; true: the range ends with them.
  bool collect(const KeyRange& range, unsigned wanted, Cursor& cursor, bool begins, Wanted& keys, Cells& cells, unsigned& count,
               const Leaf*& last) noexcept {
    const bool is_open = begins && !range.is_cut();
    auto side = KeyRange::Side::kInside;  // of all that begin with the path
    std::uint64_t unread = 0;             // a set of what must be read after all
    unsigned asked = 0;
    std::size_t used = 0;
    std::string_view path;
    bool is_past = false;
    const auto begin = [&](std::string_view to) noexcept {
      if (!is_open) side = to.data() == nullptr ? KeyRange::Side::kEither : range.side_of(to);
      path = {};
      if (to.data() == nullptr || to.size() > sizeof keys.bytes - used) return;
      path = {keys.bytes + used, to.size()};
      std::memcpy(keys.bytes + used, to.data(), to.size());
      used += to.size();
    };
    const auto each = [&](const Leaf& leaf, std::uint64_t hint, int next) noexcept {
      if (side != KeyRange::Side::kInside) [[unlikely]] {
        is_past = side == KeyRange::Side::kPast || !range.begins(leaf.key()) || range.is_cut_off(leaf.key());
        if (is_past) return false;  // and so are those behind it
      }
      last = keys.leaf[count] = &leaf;
      keys.key[count] = path;
      keys.next[count] = static_cast<std::int16_t>(next);
      cells.hash[count] = hint;
      if (hint == 0 || path.data() == nullptr) [[unlikely]] {
        prefetch_leaf(leaf);
        unread |= std::uint64_t{1} << count;
      }
      if (++count - asked == base::kTogether) ask(cells, asked, count);
      return count != wanted;
    };
    const bool at_end = cursor.meet(begin, each) || is_past;
    ask(cells, asked, count);
    for (; unread != 0; unread &= unread - 1) {
      const auto i = static_cast<unsigned>(std::countr_zero(unread));
      keys.key[i] = keys.leaf[i]->key();
      keys.next[i] = Cursor::kWhole;
      cells.hash[i] = keys.leaf[i]->hash;
      base::fetch_bucket(core_.table, i, cells);
    }
    if (last != nullptr && !at_end) prefetch_leaf(*last);
    return at_end;
  }
  // The same of those that the filter lets through.
  bool collect(const KeyRange& range, const KeyTest& filter, unsigned wanted, Cursor& cursor, bool begins, Wanted& keys, Cells& cells,
               unsigned& count, const Leaf*& last) noexcept {
    const bool is_cut = range.is_cut();
    cursor.look_ahead(wanted);
    for (unsigned looks = 0; count != wanted && looks != kLooksMax; ++looks) {
      const Leaf* const leaf = cursor.next();
      if (leaf == nullptr) return true;
      const std::string_view at = leaf->key();
      if ((!begins && !range.begins(at)) || (is_cut && range.is_cut_off(at))) return true;  // and so are those behind it
      last = leaf;
      if (!filter(at)) continue;
      keys.key[count] = at;
      keys.leaf[count] = leaf;
      keys.next[count] = Cursor::kWhole;
      cells.hash[count] = leaf->hash;
      base::fetch_bucket(core_.table, count++, cells);
    }
    return false;
  }
  // The buckets of the next keys, from `asked` to before `to`, one right behind the other (base::kTogether).
  [[gnu::always_inline]] void ask(Cells& cells, unsigned& asked, unsigned to) const noexcept {
    for (unsigned i = asked; i != to; ++i) base::locate_bucket(core_.table, i, cells);
    for (; asked != to; ++asked) prefetch_second_level(cells.bucket[asked]);
  }

  static void prefetch_leaf(const Leaf& leaf) noexcept {
    prefetch_second_level(&leaf);
    prefetch_second_level(leaf.data() + 19);  // the end of a key of 20 bytes
  }
  // Whether the key of a plain record is the one that is looked for.
  [[gnu::always_inline]] static bool is_of(const Rec& r, std::size_t size, const Wanted& keys, unsigned i) noexcept {
    const std::string_view key = keys.key[i];
    const int next = keys.next[i];
    if (planted<Sync>(Mutant::kScanTrustsHint)) return true;
    if (next == Cursor::kWhole ? size != key.size() : size <= key.size()) [[unlikely]] return false;
    const char* const own = r.bytes() + kRecordHeaderBytes;
    Sync::plain_read(own, size);
    return (next == Cursor::kWhole || static_cast<unsigned char>(own[key.size()]) == next) && simd::key_equal(own, key.data(), key.size());
  }
  // The newest version, as plain as almost all are, is the view's.
  [[gnu::always_inline]] static void take(const Rec& r, std::uint64_t at, std::size_t key_size, Step& out) noexcept {
    out.whole[out.count] = &r;
    out.key[out.count] = {r.bytes() + kRecordHeaderBytes, key_size};
    out.record[out.count++] = at;
  }
  [[gnu::noinline]] void look_up(std::string_view key, std::uint64_t hash, Step& out) noexcept {
    const auto found = core_.table.find(hash, key);
    if (!found) return;
    const auto head = View(core_).at(view_, found.word.offset(), key.size());
    if (!head.present) return;
    out.head[out.count] = head;
    out.whole[out.count] = nullptr;
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
