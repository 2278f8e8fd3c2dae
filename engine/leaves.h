// Leaves: what the ordered index is told by whoever enters a key into the table or empties its slot (the rule of leaves in
// ordered_index.h).
//
//   an inserter    expect(): a leaf, before the tentative word is placed; that fails while nobody has seen anything. The
//                  word; then confirm(): is the leaf still LIVE? Between the two a remover may have taken it away. Only
//                  then LIVE. A helper has no leaf at hand and makes sure of one.
//   whoever fails  to make the word LIVE has left a leaf, perhaps, and no key: withdraw()
//   a remover      left(), after the slot is empty
//
// "Place the word, then look at the leaf" against "kill the leaf, then look for the word" is Dekker's pattern; for the
// inserter the look is one load of a line that it has just touched, not a second descent.
//
// All inside a guard, of a store that has an index. Progress and what a stopped thread leaves: see there.
#ifndef TERN_ENGINE_LEAVES_H_
#define TERN_ENGINE_LEAVES_H_

#include <bit>
#include <cstdint>
#include <string_view>

#include "engine/ordered_index.h"
#include "engine/table.h"

namespace tern::detail {

template <class Sync>
class Leaves {
 public:
  using Tbl = Table<Sync>;
  using Thr = Thread<Sync>;
  using Leaf = typename OrderedIndex<Sync>::Leaf;

  // A leaf of the key that was LIVE at one moment. Null: no memory.
  [[gnu::noinline]] static const Leaf* expect(Tbl& table, Thr& t, std::uint64_t hash, std::string_view key) noexcept {
    if (planted<Sync>(Mutant::kLeafAfterLive)) return reinterpret_cast<const Leaf*>(&table);
    return table.ordered()->ensure(t, key, hash);
  }

  // The tentative word is in its slot. `leaf` is expect()'s, or null. False: no memory.
  [[gnu::noinline]] static bool confirm(Tbl& table, Thr& t, std::uint64_t hash, std::string_view key, const Leaf* leaf) noexcept {
    if (planted<Sync>(Mutant::kLeafAfterLive) || (leaf == nullptr && planted<Sync>(Mutant::kLeafHelperSkips))) return true;
    if (leaf != nullptr) {
      Sync::point("leaf.confirm");
      if (leaf->seen().kind() == LeafState::kLive || planted<Sync>(Mutant::kLeafUnconfirmed)) return true;
    }
    return table.ordered()->ensure(t, key, hash) != nullptr;
  }

  // The caller's word didn't become LIVE.
  [[gnu::noinline]] static void withdraw(Tbl& table, Thr& t, std::uint64_t hash, std::string_view key) noexcept {
    if (planted<Sync>(Mutant::kLeafLeftOfKilled)) return;
    Sync::point("leaf.withdraw");
    if (has_entry(table, hash, key)) return;
    table.ordered()->remove(t, key, [&] { return has_entry(table, hash, key); });
  }

  // The slot of the key in `r` was emptied.
  [[gnu::noinline]] static void left(Tbl& table, Thr& t, const Record<Sync>* r, bool early = false) noexcept {
    const auto k = table.space().key_of(*r, r->stamp_word());
    const std::string_view key(k.data, k.size);
    const std::uint64_t hash = table.hash_of(key);
    Sync::point("leaf.left");
    table.ordered()->remove(t, key, [&] { return !early && has_entry(table, hash, key); });
  }

  // Whether the table has an entry of the key, tentative or not. False: at one moment during the call it had none, or one
  // that was placed after the call began, in a slot that was looked at already.
  static bool has_entry(const Tbl& table, std::uint64_t hash, std::string_view key) noexcept {
    auto& s = table.shard_of(hash);
    for (;;) {
      const ShardSize size = Tbl::size_of(s);
      const std::uint32_t home = size.home(hash);
      Bucket<Sync>& b = table.bucket(s, home);
      // The source before the target, as Table::find_slowly.
      if (!b.control().ready() && in_chain(table, table.bucket(s, split_source(home)), hash, key)) return true;
      if (in_chain(table, b, hash, key)) return true;
      const ShardSize now = Tbl::size_of(s);
      if (now == size || now.home(hash) == home) return false;
    }
  }

 private:
  static bool in_chain(const Tbl& table, const Bucket<Sync>& first, std::uint64_t hash, std::string_view key) noexcept {
    const std::uint16_t tag = tag_of(hash);
    for (const Bucket<Sync>* b = &first; b != nullptr; b = table.overflow(b->control())) {
      for (unsigned m = b->matches(tag); m != 0; m &= m - 1) {
        const SlotWord w = b->at(static_cast<unsigned>(std::countr_zero(m)));
        if (w.tag() != tag || (!w.is_current() && !w.is_tentative())) continue;
        const Record<Sync>& r = *table.space().record(w.offset());
        if (table.space().has_key(r, r.stamp_word(), key)) return true;
      }
    }
    return false;
  }
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_LEAVES_H_
