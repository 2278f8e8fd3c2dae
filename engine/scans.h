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
// Steps in one guard go on where the last one stood, if no callback has had the guard announced anew. Between guards, and after
// that, a step begins with a seek behind a copy of the last key: so a scan holds back reclamation for a bounded number of keys,
// and stands in no node that was let go. A key that the view has keeps its slot while the view is open, and hence
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
#include "simd/key_equal.h"

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
    if (!cursor_.has_value() && !seek(range)) return Outcome::kNoMemory;
    Wanted keys;
    Cells cells;
    unsigned count = 0;
    const Leaf* last = nullptr;
    const bool at_end = filter != nullptr ? collect(range, *filter, wanted, keys, cells, count, last)
                                          : collect(range, wanted, keys, cells, count, last);
    if (cursor_->failed()) return Outcome::kNoMemory;
    if (!look(keys, cells, count, out)) return Outcome::kEnded;
    if (at_end) return Outcome::kAtEnd;
    // Behind another key that begins as the leaf's does is as good: see above.
    if (!place_.assign(has_last_ ? out.key[out.count - 1] : last->key())) return Outcome::kNoMemory;
    is_under_way_ = true;
    return Outcome::kMore;
  }
  // After the callbacks that saw the last step, the visit being still there: has one of them had the guard announced anew?
  void shown(const typename Core<Sync>::Visit& visit) noexcept {
    if (visit.was_renewed() && !planted<Sync>(Mutant::kScanStaysWhereItStood)) leave();
  }
  // Before the guard of the last step ends.
  void leave() noexcept { cursor_.reset(); }
  // In nodes, where the next step goes on.
  bool stands() const noexcept { return cursor_.has_value(); }

  // Whose records are looked for: each by its key, or by a leaf and the bytes that led there.
  struct Wanted {
    struct Item {
      const Leaf* leaf;    // null: the key is given
      const char* data;
      std::uint32_t size;  // of the key, or of its first bytes
      std::int32_t next;   // the byte behind them; Cursor::kWhole: the key ends there
      std::string_view bytes() const noexcept { return {data, size}; }
    };
    Item item[kStepKeys];
    char bytes[kStepKeys * 32];

    void put(unsigned i, const Leaf* leaf, std::string_view key) noexcept {
      item[i] = {leaf, key.data(), static_cast<std::uint32_t>(key.size()), Cursor::kWhole};
    }
  };

  // What the view has of the keys with these hashes, in their order, without those that it hasn't. Their buckets are on the
  // way (fetch_buckets). False: the view was ended.
  bool look(const Wanted& keys, Cells& cells, unsigned count, Step& out) noexcept {
    out.count = 0;
    base::fetch_records(core_.table, count, cells);
    // Later points don't concern the view.
    const bool points = core_.space.points.in_table() != 0;
    const std::byte* const base = core_.space.heap.base();
    const std::uint64_t stamp = view_.opened.stamp;
    unsigned n = 0, before_last = 0;
    for (unsigned i = 0; i != count; ++i) {
      before_last = n;
      const std::uint64_t at = cells.candidate[i];
      const auto& item = keys.item[i];
      if (at > Cells::kLate && !points) [[likely]] {
        const Rec& r = *reinterpret_cast<const Rec*>(base + at * alloc::kUnitBytes);
        const Stamp s = r.stamp_word();
        // The newest version, as plain as almost all are, is the view's.
        if (s.plain() && s.stamp() <= stamp && is_of(r, s.klen8(), item)) [[likely]] {
          out.whole[n] = &r;
          out.key[n] = {r.bytes() + kRecordHeaderBytes, s.klen8()};
          out.record[n++] = at;
          continue;
        }
      } else if (at == Cells::kNone &&
                 (item.leaf == nullptr || item.leaf->hash == cells.hash[i] || planted<Sync>(Mutant::kScanMissByHint))) {
        continue;
      }
      out.count = n;
      if (item.leaf == nullptr) {
        look_up(item.bytes(), cells.hash[i], out);
      } else {
        look_up(item.leaf->key(), item.leaf->hash, out);
      }
      n = out.count;
    }
    out.count = n;
    has_last_ = n != before_last;
    Sync::point("scan.looked");
    if (core_.space.views.is_open(view_.opened)) return true;
    out.count = 0;
    return false;
  }

 private:
  using Rec = Record<Sync>;

  // The next leaves of the range, unread; true: the range ends with them.
  bool collect(const KeyRange& range, unsigned wanted, Wanted& keys, Cells& cells, unsigned& count, const Leaf*& last) noexcept {
    const bool is_open = begins_ && !range.is_cut();
    auto side = KeyRange::Side::kInside;  // of all that begin with the path
    std::uint64_t unread = 0;             // a set of what must be read after all
    unsigned n = 0;
    std::size_t used = 0;
    std::string_view path;
    bool is_past = false;
    const auto begin = [&](std::string_view to) noexcept {
      if (!is_open) [[unlikely]] side = to.data() == nullptr ? KeyRange::Side::kEither : range.side_of(to);
      path = {};
      if (to.data() == nullptr || to.size() > sizeof keys.bytes - used) [[unlikely]] return false;
      path = {keys.bytes + used, to.size()};
      simd::copy_bytes(keys.bytes + used, to.data(), to.size());
      used += to.size();
      return true;
    };
    const auto each = [&](const Leaf& leaf, std::uint64_t hint, int next) noexcept {
      if (side != KeyRange::Side::kInside) [[unlikely]] {
        is_past = side == KeyRange::Side::kPast || !range.begins(leaf.key()) || range.is_cut_off(leaf.key());
        if (is_past) return false;  // and so are those behind it
      }
      keys.item[n] = {&leaf, path.data(), static_cast<std::uint32_t>(path.size()), next};
      cells.hash[n] = hint;
      if (hint == 0) [[unlikely]] {
        prefetch_leaf(leaf);
        unread |= std::uint64_t{1} << n;
      }
      if (++n % base::kTogether == 0) ask(cells, n - base::kTogether, n);
      return n != wanted;
    };
    cursor_->expect(wanted);
    const bool at_end = cursor_->meet(begin, each) || is_past;
    ask(cells, n - n % base::kTogether, n);
    for (; unread != 0; unread &= unread - 1) {
      const auto i = static_cast<unsigned>(std::countr_zero(unread));
      const Leaf& leaf = *keys.item[i].leaf;
      keys.put(i, &leaf, leaf.key());
      cells.hash[i] = leaf.hash;
      base::fetch_bucket(core_.table, i, cells);
    }
    count = n;
    if (n != 0) last = keys.item[n - 1].leaf;
    return at_end;
  }
  // The same of those that the filter lets through.
  bool collect(const KeyRange& range, const KeyTest& filter, unsigned wanted, Wanted& keys, Cells& cells, unsigned& count,
               const Leaf*& last) noexcept {
    const bool is_cut = range.is_cut();
    cursor_->look_ahead(wanted);
    for (unsigned looks = 0; count != wanted && looks != kLooksMax; ++looks) {
      const Leaf* const leaf = cursor_->next();
      if (leaf == nullptr) return true;
      const std::string_view at = leaf->key();
      if ((!begins_ && !range.begins(at)) || (is_cut && range.is_cut_off(at))) return true;  // and so are those behind it
      last = leaf;
      if (!filter(at)) continue;
      keys.put(count, leaf, at);
      cells.hash[count] = leaf->hash;
      base::fetch_bucket(core_.table, count++, cells);
    }
    return false;
  }
  // The buckets of keys `from` to before `to`, one right behind the other (base::kTogether).
  [[gnu::noinline]] void ask(Cells& cells, unsigned from, unsigned to) const noexcept {
    base::locate_buckets(core_.space.geometry, from, to, cells);
    for (unsigned i = from; i != to; ++i) prefetch_second_level(cells.bucket[i]);
  }

  static void prefetch_leaf(const Leaf& leaf) noexcept {
    prefetch_second_level(&leaf);
    prefetch_second_level(leaf.data() + 19);  // the end of a key of 20 bytes
  }
  // Whether the key of a plain record is the one that is looked for.
  [[gnu::always_inline]] static bool is_of(const Rec& r, std::size_t size, const typename Wanted::Item& item) noexcept {
    if (planted<Sync>(Mutant::kScanTrustsHint)) return true;
    const bool ends = item.next == Cursor::kWhole;
    if (ends ? size != item.size : size <= item.size) [[unlikely]] return false;
    const char* const own = r.bytes() + kRecordHeaderBytes;
    Sync::plain_read(own, size);
    if (!ends && static_cast<unsigned char>(own[item.size]) != item.next) [[unlikely]] return false;
    return base::is_one_or_two_blocks(item.size) ? simd::blocks_equal(own, item.data, item.size) : simd::key_equal(own, item.data, item.size);
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
  bool seek(const KeyRange& range) noexcept {
    if (!range.reverse) {
      const std::string_view from = is_under_way_ ? place_.view() : range.prefix > range.low ? range.prefix : range.low;
      const bool included = !is_under_way_ && (range.low_included || range.prefix > range.low);
      begins_ = from.starts_with(range.prefix);  // else the range is empty
      cursor_.emplace(core_.index, from, Cursor::kForward, included, begins_ ? range.prefix.size() : 0);
      return true;
    }
    if (is_under_way_) {
      cursor_.emplace(core_.index, place_.view(), Cursor::kBackward, false);
      return true;
    }
    // Past the prefix, unless the bound comes before that.
    if (!range.prefix.empty()) {
      if (!place_.assign(range.prefix)) return false;
      place_.to_successor();
      const std::string_view end = place_.view();
      if (!end.empty() && (!range.has_high || end <= range.high)) {
        cursor_.emplace(core_.index, end, Cursor::kBackward, false);
        return true;
      }
    }
    if (range.has_high) {
      cursor_.emplace(core_.index, range.high, Cursor::kBackward, range.high_included);
    } else {
      cursor_.emplace(core_.index, Cursor::kBackward);
    }
    return true;
  }

  Core<Sync>& core_;
  const Handle view_;
  bool is_under_way_ = false;
  bool begins_ = false;    // all that the cursor hands out has the prefix
  bool has_last_ = false;  // the view has the last key that was looked for
  KeyBytes place_;         // of the last leaf that was looked at
  std::optional<Cursor> cursor_;  // behind it, inside a guard
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_SCANS_H_
