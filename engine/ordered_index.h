// OrderedIndex: the keys of a store in the order of their bytes. A radix tree whose memory lies in the store's budget,
// lock-free for readers and writers, touched when a key appears or disappears and never by an overwrite.
//
//   root ──> node { prefix "user:" | own | a b c ... } ──> leaf { state, hash, key }
//                                     │    └─> node ...
//                                     └─> the leaf of the key that ends here, "user:" itself
//
//   child word   63 FROZEN | 62 INNER | 39..0 offset; 0: nobody. The root is one too, never frozen
//   node         count, length of the prefix, where its words begin | coming | bytes of its children | prefix |
//                own, children in order | their hints, if any of them was a leaf when it was made
//                up to 48 children as many as it needs, beyond that 256 found by their byte
//   hint         the hash of the key of the leaf in the child word, or 0: not known
//   leaf state   63..2 counter | 1..0 LIVE, DEAD, REMOVED
//   leaf         state, hash, length of the key | key, or where it lies: an extent, for one that fits into no block
//
// find: from the root, the prefix must agree, then the child of the next byte. A node's bytes never change: only its
// child words do. A word is swapped where that suffices (a child where there is none, another leaf, none in place of a
// leaf). Everything else replaces the node: FROZEN is set in all its words, what they then hold is copied into a new
// node, and the word above is swapped. A leaf for which a node has no word is first put into its word `coming`: so
// whoever replaces the node brings it along, and helping completes an insertion instead of undoing it. Whoever meets a
// frozen word replaces the node it lies in first, and starts again.
//
// It holds a superset of the keys, and the table decides (rule of leaves):
//   * ensure() is called when the key's entry is in the table, tentative, before it becomes LIVE (or before that, if the
//     leaf is then looked at again: leaves.h).
//   * remove() is called after the slot was emptied: LIVE -> DEAD, look into the table, then DEAD -> REMOVED or back to
//     LIVE. "Write the slot, then look at the leaf" against "write the leaf, then look at the slot" is Dekker's pattern:
//     one sees the other. The counter moves with each DEAD, so that a remover that slept can't finish another's removal.
//   * readers take LIVE and DEAD leaves (DEAD may be a probe of a key that is there) and ask the table about each.
//
// Invariants
//   1 a word that isn't frozen lies in a node that can be reached: nodes are unlinked after all their words are frozen.
//   2 a leaf that is LIVE or DEAD can be reached; one that is REMOVED never lives again.
//   3 below each node there is a leaf, or a removal of one is under way; a node with a single leaf gives way to it.
// So a reader that stands in an old node sees every leaf that was there when it began and is still.
//
// A hint saves a scan the leaf's line: the hash says where the key's record is looked for. It is stored after the leaf is
// linked, relaxed, and copied or lost with the node, so it may be another key's; whoever uses it doesn't believe it (scans.h).
//
// Progress: lock-free. An attempt fails because another succeeded, or ends in finishing another's replacement. A thread
// that stops for ever leaves at most one leaf behind that is REMOVED and still linked, or on its way in; it goes with its key's
// next insertion or removal. When memory ran out while a node was replaced, nothing new enters below it until there is some
// again; removals do their work, and what they couldn't unlink goes when its node is replaced. All calls are made inside a guard.
// Limits and cost: a key that fits into no block takes an extent, 64 KiB. ensure: a descent (a cache miss for each node
// and one for the leaf), a leaf, and the copy of a node of up to 48 children or a swap. Memory: the key and 20 bytes, and
// about 20 to 30 a key for nodes. A node from which keys were removed is copied smaller when three
// quarters of its words are empty, one of 256 when 24 are in use.
//
// Edges
//   branch   swapping and freezing child words / following them: a node's bytes, a leaf's key
//   leaf     swapping a leaf's state / reading it: what the owner of the key did to the table before; seq_cst, see above
//
// Sources: Leis, Kemper and Neumann, "The Adaptive Radix Tree" (ICDE 2013), for the tree; Prokopec, Bronson, Bagwell
// and Odersky, "Concurrent Tries with Efficient Non-Blocking Snapshots" (PPoPP 2012), and Brown, Ellen and Ruppert, "A
// General Technique for Non-blocking Trees" (PPoPP 2014), for freezing and helping. Rejected: ROWEX (a writer that stops
// inside its lock stops all others below that node); a skip list (a miss a level: twice the time of a descent here).
// Model of the rule of leaves: tests/models/leaf_table.pml.
#ifndef TERN_ENGINE_ORDERED_INDEX_H_
#define TERN_ENGINE_ORDERED_INDEX_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <string_view>

#include "alloc/private_memory.h"
#include "alloc/sync.h"
#include "engine/prefetch.h"
#include "engine/space.h"

namespace tern::detail {

// What a leaf says about its key.
class LeafState {
 public:
  enum Kind : std::uint64_t { kLive = 0, kDead = 1, kRemoved = 2 };
  constexpr explicit LeafState(std::uint64_t word) noexcept : word_(word) {}
  constexpr std::uint64_t word() const noexcept { return word_; }
  constexpr Kind kind() const noexcept { return static_cast<Kind>(word_ & 3); }
  constexpr LeafState to(Kind kind) const noexcept { return LeafState((word_ & ~std::uint64_t{3}) | kind); }
  constexpr LeafState counted() const noexcept { return LeafState(word_ + 4); }

 private:
  std::uint64_t word_;
};

template <class Sync>
class OrderedIndex {
  struct Node;

 public:
  using Word = typename Sync::template Atomic<std::uint64_t>;
  using Thr = Thread<Sync>;

  struct Leaf {
    Word state;
    std::uint64_t hash;
    std::uint32_t length;  // of the key, and kFar

    char* data() const noexcept { return reinterpret_cast<char*>(const_cast<Leaf*>(this)) + kLeafHeaderBytes; }
    bool is_far() const noexcept { return (length & kFar) != 0; }
    // The extent, in units from the leaf.
    std::int64_t& distance() const noexcept { return reinterpret_cast<std::int64_t*>(const_cast<Leaf*>(this))[3]; }
    std::string_view key() const noexcept {
      const char* at = data();
      if (is_far()) [[unlikely]] at = far();
      Sync::plain_read(at, length & ~kFar);
      return {at, length & ~kFar};
    }
    char* far() const noexcept {
      return reinterpret_cast<char*>(const_cast<Leaf*>(this)) + distance() * static_cast<std::int64_t>(alloc::kUnitBytes) +
             sizeof(typename Space<Sync>::ExtentHeader);
    }
    LeafState seen() const noexcept { return LeafState(state.load(std::memory_order_seq_cst)); }  // [leaf] seq_cst
  };
  static constexpr std::size_t kLeafHeaderBytes = 20;
  static constexpr std::uint32_t kFar = std::uint32_t{1} << 31;
  static_assert(sizeof(Leaf) == 24, "the distance of a far key is the word after it");

  explicit OrderedIndex(Space<Sync>& space) noexcept : space_(space) {}
  OrderedIndex(const OrderedIndex&) = delete;
  OrderedIndex& operator=(const OrderedIndex&) = delete;

  // A leaf of the key that was LIVE, and linked, at one moment during the call. Null: no memory.
  const Leaf* ensure(Thr& t, std::string_view key, std::uint64_t hash) noexcept {
    std::uint64_t fresh = 0;
    const Leaf* found = nullptr;
    for (;;) {
      const Spot spot = find(t, key);
      if (spot.kind == Spot::kStuck) break;
      if (spot.kind == Spot::kLeaf) {
        Leaf& leaf = leaf_of(spot.word);
        if (leaf.key() == key) {
          LeafState s = leaf.seen();
          std::uint64_t seen = s.word();
          if (s.kind() == LeafState::kDead) {
            Sync::point("index.revive");
            if (!leaf.state.compare_exchange_strong(seen, s.to(LeafState::kLive).word(), std::memory_order_seq_cst)) {  // [leaf]
              continue;
            }
            s = s.to(LeafState::kLive);
          }
          if (s.kind() == LeafState::kLive) {
            found = &leaf;
            break;
          }
        }
      }
      if (fresh == 0 && (fresh = make_leaf(t, key, hash)) == 0) break;
      const std::uint64_t mine = fresh;
      const Linked linked = link(t, spot, key, fresh);
      if (linked == Linked::kYes) found = &leaf_of(mine);
      if (linked != Linked::kAgain && linked != Linked::kNoMemory) fresh = 0;
      if (linked != Linked::kAgain && linked != Linked::kComing) break;
    }
    if (fresh != 0) free_leaf(t, fresh);  // nobody saw it
    return found;
  }

  // Whether the key has a leaf that is LIVE.
  bool contains(std::string_view key) const noexcept {
    const Spot spot = look(key);
    return spot.kind == Spot::kLeaf && leaf_of(spot.word).key() == key && leaf_of(spot.word).seen().kind() == LeafState::kLive;
  }

  // The key's slot was emptied. in_table() -> bool: whether there is an entry of the key now, tentative or not. Needs no
  // memory: where a replacement is in the way that can't be finished, the REMOVED leaf stays until it is.
  template <class InTable>
  void remove(Thr& t, std::string_view key, InTable&& in_table) noexcept {
    for (;;) {
      Spot spot = find(t, key);
      if (spot.kind != Spot::kLeaf) spot = look(key);  // in a node that waits for memory, or on its way into one
      if (spot.kind != Spot::kLeaf) return;
      Leaf& leaf = leaf_of(spot.word);
      if (leaf.key() != key) return;
      const LeafState live = leaf.seen();
      if (live.kind() == LeafState::kRemoved) return unlink(t, key, spot.word);
      if (live.kind() != LeafState::kLive) return;  // its remover looks into the table after this
      const bool early = planted<Sync>(Mutant::kIndexLookFirst) && in_table();
      const LeafState dead = planted<Sync>(Mutant::kIndexUncounted) ? live.to(LeafState::kDead) : live.counted().to(LeafState::kDead);
      std::uint64_t expected = live.word();
      Sync::point("index.probe");
      if (!leaf.state.compare_exchange_strong(expected, dead.word(), std::memory_order_seq_cst)) return;  // [leaf] seq_cst
      expected = dead.word();
      Sync::point("index.probed");
      if (planted<Sync>(Mutant::kIndexLookFirst) ? early : in_table()) {
        if (!leaf.state.compare_exchange_strong(expected, dead.to(LeafState::kLive).word(), std::memory_order_seq_cst)) {  // [leaf]
          return;
        }
        if (in_table()) return;  // gone meanwhile: its remover may have found the leaf DEAD
        continue;
      }
      if (leaf.state.compare_exchange_strong(expected, dead.to(LeafState::kRemoved).word(), std::memory_order_seq_cst)) {  // [leaf]
        unlink(t, key, spot.word);
      }
      return;
    }
  }

  // Asks for what stands on the way to the leaves of up to kWaysMax keys, level by level and that of all keys together. Answers how
  // many of the ways lead to a leaf, of that key or another. Inside a guard.
  unsigned prefetch_ways(const std::string_view* keys, unsigned count) const noexcept {
    struct Way {
      std::uint64_t node;
      unsigned key;
      std::uint32_t depth;
    };
    Way way[kWaysMax];
    unsigned leaves = 0, ways = 0;
    const std::uint64_t root = root_.load(std::memory_order_seq_cst);  // [branch] seq_cst, [announce] seq_cst
    for (; is_inner(root) && ways != count; ++ways) way[ways] = {root, ways, 0};
    while (ways != 0) {
      unsigned longer = 0;
      for (unsigned i = 0; i != ways; ++i) {
        const Way w = way[i];
        const Node& n = node_of(w.node);
        const std::string_view prefix = n.prefix();
        const std::string_view rest = keys[w.key].substr(w.depth);
        if (!rest.starts_with(prefix)) continue;
        const bool ends = rest.size() == prefix.size();
        const unsigned at = ends ? 0 : n.find(static_cast<unsigned char>(rest[prefix.size()]));
        if (at == 0 && !ends) continue;
        const std::uint64_t word = n.child(static_cast<int>(at)).load(std::memory_order_seq_cst);  // [branch] seq_cst
        if (offset_of(word) == 0) continue;
        prefetch_node(word);
        if (!is_inner(word)) {
          ++leaves;
          continue;
        }
        prefetch_hints(word);
        way[longer++] = {word, w.key, static_cast<std::uint32_t>(w.depth + prefix.size() + 1)};
      }
      ways = longer;
    }
    return leaves;
  }
  static constexpr unsigned kWaysMax = 64;

  // --- in order ----------------------------------------------------------------------------------------------------

  // Leaves that aren't REMOVED, from a bound on, forward or backward. Valid inside the guard in which it was made; what
  // is inserted and removed meanwhile may be met or not, all else is met once.
  //   for (Cursor c(index, from, Cursor::kForward, true); const Leaf* leaf = c.next();) ...
  class Cursor;  // index_cursor.h

  // Alone. fn(offset of each block); answers the bytes of all.
  template <class Fn>
  std::uint64_t walk(Fn&& fn) const noexcept {
    return walk_from(root_.load(std::memory_order_acquire), fn);  // [branch] acquire
  }

 private:
  static constexpr std::uint64_t kFrozen = std::uint64_t{1} << 63;
  static constexpr std::uint64_t kInner = std::uint64_t{1} << 62;
  static constexpr std::uint64_t kOffset = (std::uint64_t{1} << 40) - 1;
  static constexpr unsigned kSortedMax = 48;
  static constexpr unsigned kPrefixMax = 255;

  static constexpr std::uint64_t offset_of(std::uint64_t word) noexcept { return word & kOffset; }
  static constexpr bool is_inner(std::uint64_t word) noexcept { return (word & kInner) != 0; }

  using Hint = Setting;
  static_assert(sizeof(Hint) == sizeof(Word));

  struct Node {
    std::uint16_t count;  // children beside the own one; 256: found by their byte
    std::uint16_t prefix_bytes;
    std::uint16_t words_at;
    std::uint16_t has_hints;

    unsigned words() const noexcept { return count + 1u; }
    Word& coming() const noexcept { return *reinterpret_cast<Word*>(const_cast<Node*>(this) + 1); }  // a leaf
    unsigned char* bytes() const noexcept { return reinterpret_cast<unsigned char*>(&coming() + 1); }
    unsigned char byte(unsigned i) const noexcept { return count == 256 ? static_cast<unsigned char>(i - 1) : bytes()[i - 1]; }
    char* prefix_data() const noexcept { return reinterpret_cast<char*>(bytes() + (count == 256 ? 0 : count)); }
    std::string_view prefix() const noexcept {
      Sync::plain_read(prefix_data(), prefix_bytes);
      return {prefix_data(), prefix_bytes};
    }
    Word& child(int i) const noexcept {  // 0: the own one
      return reinterpret_cast<Word*>(reinterpret_cast<char*>(const_cast<Node*>(this)) + words_at)[i];
    }
    Hint& hint(int i) const noexcept { return *reinterpret_cast<Hint*>(&child(i) + words()); }
    std::uint64_t hint_or_none(int i) const noexcept { return has_hints != 0 ? std::uint64_t{hint(i)} : 0; }
    // The word of `byte`, or 0: there is none (that is the own child's).
    unsigned find(unsigned char wanted) const noexcept {
      if (count == 256) return wanted + 1u;
      Sync::plain_read(bytes(), count);
      const void* at = count == 0 ? nullptr : std::memchr(bytes(), wanted, count);
      return at == nullptr ? 0 : static_cast<unsigned>(static_cast<const unsigned char*>(at) - bytes()) + 1;
    }
    // The first word whose byte isn't less; words() if there is none.
    unsigned lower(unsigned char wanted) const noexcept {
      if (count == 256) return wanted + 1u;
      Sync::plain_read(bytes(), count);
      return static_cast<unsigned>(std::lower_bound(bytes(), bytes() + count, wanted) - bytes()) + 1;
    }
    static std::size_t words_behind(unsigned count, std::size_t prefix_bytes) noexcept {
      return (sizeof(Node) + sizeof(Word) + (count == 256 ? 0 : count) + prefix_bytes + sizeof(Word) - 1) / sizeof(Word) * sizeof(Word);
    }
    static std::size_t size_of(unsigned count, std::size_t prefix_bytes, bool has_hints) noexcept {
      return words_behind(count, prefix_bytes) + (count + 1u) * (sizeof(Word) + (has_hints ? sizeof(Hint) : 0));
    }
  };
  static_assert(sizeof(Node) == 8);

  // A child word, and the hint beside it.
  struct Child {
    std::uint64_t word;
    std::uint64_t hint;
    bool is_leaf() const noexcept { return word != 0 && !is_inner(word); }
  };

  // What a node is made of.
  struct Entries {
    Child own{};
    unsigned count = 0;
    bool has_leaf = false;
    unsigned char byte[256];
    Child child[256];

    Entries() noexcept {}  // NOLINT(modernize-use-equals-default): the arrays stay as they are
    void add(int at, const Child& c) noexcept {  // -1: the own one
      has_leaf |= c.is_leaf();
      if (at < 0) {
        own = c;
        return;
      }
      unsigned i = count++;
      for (; i != 0 && byte[i - 1] > at; --i) {
        byte[i] = byte[i - 1];
        child[i] = child[i - 1];
      }
      byte[i] = static_cast<unsigned char>(at);
      child[i] = c;
    }
  };

  // A word that leads on: the root, or one of a node.
  struct Slot {
    Word* word = nullptr;
    const Node* node = nullptr;  // null: the root

    void note(const Child& c) const noexcept {
      if (node == nullptr || node->has_hints == 0 || !c.is_leaf()) return;
      Sync::point("index.hint");
      reinterpret_cast<Hint&>(word[node->words()]) = c.hint;
    }
  };

  // Where a descent ended.
  struct Spot {
    enum Kind : std::uint8_t {
      kEmpty,   // `slot` is 0
      kLeaf,    // a leaf, of this key or another
      kNoByte,  // `word` is a node without a child of the next byte
      kPrefix,  // `word` is a node whose prefix agrees in `agreed` bytes only
      kStuck,   // another's replacement is in the way, and there is no memory to finish it
    };
    Kind kind = kStuck;
    Slot slot;
    std::uint64_t word = 0;
    std::size_t depth = 0;  // bytes of the key before `slot`
    std::size_t agreed = 0;
    Slot above;  // the slot of the node that `slot` lies in; no word: `slot` is the root
    std::uint64_t node = 0;
    std::size_t node_depth = 0;
  };
  // kComing: it is the node's to bring along, see whether that has happened. kLater: the same, and there is no memory.
  enum class Linked : std::uint8_t { kYes, kAgain, kComing, kLater, kNoMemory };
  enum class Replaced : std::uint8_t { kYes, kNo, kNoMemory };

  const Node& node_of(std::uint64_t word) const noexcept { return *space_.heap.template at<Node>(offset_of(word)); }
  Leaf& leaf_of(std::uint64_t word) const noexcept { return *space_.heap.template at<Leaf>(offset_of(word)); }
  // A node's beginning, bytes and words lie on two or three lines.
  void prefetch_node(std::uint64_t word) const noexcept {
    const char* const at = space_.heap.template at<char>(offset_of(word));
    prefetch_near(at);
    prefetch_near(at + 64);
    prefetch_near(at + 120);
  }
  void prefetch_hints(std::uint64_t word) const noexcept { prefetch_near(space_.heap.template at<char>(offset_of(word)) + 184); }

  // For a writer: finishes the replacements that it meets.
  Spot find(Thr& t, std::string_view key) noexcept {
    for (;;) {
      Spot spot;
      spot.slot.word = &root_;
      for (;;) {
        spot.word = spot.slot.word->load(std::memory_order_seq_cst);  // [branch] seq_cst, [announce] seq_cst
        if ((spot.word & kFrozen) != 0) {
          if (replace(t, spot.above, spot.node, spot.node_depth) == Replaced::kNoMemory) return {};
          break;
        }
        if (spot.word == 0 || !is_inner(spot.word)) {
          spot.kind = spot.word == 0 ? Spot::kEmpty : Spot::kLeaf;
          return spot;
        }
        prefetch_node(spot.word);
        const Node& n = node_of(spot.word);
        const std::string_view rest = key.substr(spot.depth);
        const std::string_view prefix = n.prefix();
        spot.agreed = agreement(prefix, rest);
        if (spot.agreed != prefix.size()) {
          spot.kind = Spot::kPrefix;
          return spot;
        }
        unsigned at = 0;
        if (rest.size() != prefix.size()) {
          at = n.find(static_cast<unsigned char>(rest[prefix.size()]));
          if (at == 0) {
            spot.kind = Spot::kNoByte;
            return spot;
          }
        }
        spot.above = spot.slot;
        spot.node = spot.word;
        spot.node_depth = spot.depth;
        spot.slot = {&n.child(static_cast<int>(at)), &n};
        spot.depth += prefix.size() + (at != 0 ? 1 : 0);
      }
    }
  }

  // The same for one that finishes nothing, through frozen words too: kLeaf, or kEmpty for whatever else. A leaf of the key
  // that is on its way in counts.
  Spot look(std::string_view key) const noexcept {
    Spot spot;
    spot.kind = Spot::kEmpty;
    spot.word = root_.load(std::memory_order_seq_cst);  // [branch] seq_cst, [announce] seq_cst
    for (std::string_view rest = key; offset_of(spot.word) != 0;) {
      spot.word &= ~kFrozen;
      if (!is_inner(spot.word)) {
        spot.kind = Spot::kLeaf;
        return spot;
      }
      const Node& n = node_of(spot.word);
      const std::uint64_t coming = n.coming().load(std::memory_order_seq_cst) & ~kFrozen;  // [branch] seq_cst
      if (coming != 0 && leaf_of(coming).key() == key) {
        spot.kind = Spot::kLeaf;
        spot.word = coming;
        return spot;
      }
      const std::string_view prefix = n.prefix();
      if (!rest.starts_with(prefix)) return spot;
      rest.remove_prefix(prefix.size());
      unsigned at = 0;
      if (!rest.empty()) {
        at = n.find(static_cast<unsigned char>(rest[0]));
        if (at == 0) return spot;
        rest.remove_prefix(1);
      }
      spot.word = n.child(static_cast<int>(at)).load(std::memory_order_seq_cst);  // [branch] seq_cst
    }
    return spot;
  }

  // Puts the leaf `fresh` where find() ended.
  Linked link(Thr& t, const Spot& spot, std::string_view key, std::uint64_t fresh) noexcept {
    if (spot.kind == Spot::kNoByte || spot.kind == Spot::kPrefix) {
      std::uint64_t none = 0;
      Sync::point("index.coming");
      const bool is_mine = node_of(spot.word).coming().compare_exchange_strong(none, fresh, std::memory_order_seq_cst);  // [branch]
      const Replaced r = replace(t, spot.slot, spot.word, spot.depth);
      if (is_mine) return r == Replaced::kNoMemory ? Linked::kLater : r == Replaced::kYes ? Linked::kYes : Linked::kComing;
      return r == Replaced::kNoMemory ? Linked::kNoMemory : Linked::kAgain;
    }
    std::uint64_t to = fresh;
    std::uint64_t made[2 + 65536 / kPrefixMax];
    unsigned made_count = 0;
    bool replaces_leaf = false;
    if (spot.kind == Spot::kLeaf) {
      const std::string_view other = leaf_of(spot.word).key();
      if (other == key) {
        replaces_leaf = true;
      } else {
        const std::size_t both = std::min(other.size(), key.size());
        std::size_t same = spot.depth;
        while (same != both && other[same] == key[same]) ++same;
        Entries e;
        e.add(next_of(other, same), child_of(spot.word));
        e.add(next_of(key, same), child_of(fresh));
        to = make_path(t, key.substr(spot.depth, same - spot.depth), e, made, made_count);
        if (to == 0) return Linked::kNoMemory;
      }
    }
    std::uint64_t expected = spot.word;
    Sync::point("index.link");
    if (planted<Sync>(Mutant::kIndexLinkIntoFrozen)) {
      expected = spot.slot.word->load(std::memory_order_seq_cst);  // [branch] seq_cst
      if (offset_of(expected) != offset_of(spot.word)) expected = spot.word;
    }
    const Child linked = is_inner(to) ? Child{to, 0} : child_of(to);
    if (!spot.slot.word->compare_exchange_strong(expected, to, std::memory_order_seq_cst)) {  // [branch] seq_cst
      while (made_count != 0) free_node(t, made[--made_count]);
      return Linked::kAgain;
    }
    spot.slot.note(linked);
    if (replaces_leaf) retire_leaf(t, offset_of(spot.word));
    return Linked::kYes;
  }

  // The leaf at `word` is REMOVED. Without the memory to get at it, it stays until its node is replaced.
  void unlink(Thr& t, std::string_view key, std::uint64_t word) noexcept {
    for (;;) {
      const Spot spot = find(t, key);
      if (spot.kind != Spot::kLeaf && look(key).word == word) {
        left_behind_.store(1, std::memory_order_relaxed);  // a hint for whoever replaces its node
        break;
      }
      if (spot.kind != Spot::kLeaf || spot.word != word) break;
      std::uint64_t expected = word;
      Sync::point("index.unlink");
      if (spot.slot.word->compare_exchange_strong(expected, 0, std::memory_order_seq_cst)) {  // [branch] seq_cst
        retire_leaf(t, offset_of(word));
        break;
      }
    }
    // What has become sparse is made smaller or goes, from below upwards.
    for (;;) {
      const Spot spot = find(t, key);
      if (spot.kind == Spot::kStuck) return;
      const bool in_it = spot.kind == Spot::kNoByte || spot.kind == Spot::kPrefix;
      const Slot slot = in_it ? spot.slot : spot.above;
      const std::uint64_t node = in_it ? spot.word : spot.node;
      if (slot.word == nullptr || !is_sparse(node_of(node))) return;
      if (replace(t, slot, node, in_it ? spot.depth : spot.node_depth) == Replaced::kNoMemory) return;
    }
  }

  static bool is_sparse(const Node& n) noexcept {
    unsigned used = 0;
    bool leaves_only = true;
    for (unsigned i = 0; i != n.words(); ++i) {
      const std::uint64_t w = n.child(static_cast<int>(i)).load(std::memory_order_relaxed);  // a hint
      if (offset_of(w) == 0) continue;
      ++used;
      leaves_only &= !is_inner(w);
    }
    const unsigned few = n.count == 256 ? kSortedMax / 2 : n.words() > 4 ? n.words() / 4 : 0;  // what becomes smaller then
    return used <= few || used == 0 || (used == 1 && leaves_only);
  }

  Child child_of(std::uint64_t leaf) const noexcept {
    const std::uint64_t hash = leaf_of(leaf).hash;
    return {leaf, planted<Sync>(Mutant::kIndexHintWrong) || planted<Sync>(Mutant::kScanMissByHint) ? ~hash : hash};
  }
  static int next_of(std::string_view key, std::size_t at) noexcept {
    return at == key.size() ? -1 : static_cast<int>(static_cast<unsigned char>(key[at]));
  }
  static std::size_t agreement(std::string_view a, std::string_view b) noexcept {
    const std::size_t both = std::min(a.size(), b.size());
    std::size_t same = 0;
    while (same != both && a[same] == b[same]) ++same;
    return same;
  }
  static std::uint64_t freeze(Word& word) noexcept {
    if (planted<Sync>(Mutant::kIndexCopyUnfrozen)) return word.load(std::memory_order_seq_cst) & ~kFrozen;  // [branch]
    return word.fetch_or(kFrozen, std::memory_order_seq_cst) & ~kFrozen;                                    // [branch] seq_cst
  }

  // The node `word`, in `slot` and `depth` bytes down its keys, gives way to a copy of its words as they are once all are
  // frozen, without empty ones and REMOVED leaves and with the leaf that is coming. kNo: another has replaced it, or the node above.
  Replaced replace(Thr& t, const Slot& slot, std::uint64_t word, std::size_t depth) noexcept {
    const Node& n = node_of(word);
    for (int i = 0; n.has_hints != 0 && i < static_cast<int>(n.words()); i += 8) prefetch_near(&n.hint(i));
    const std::string_view prefix = n.prefix();
    Entries below, above;
    std::uint64_t gone[258];
    unsigned gone_count = 0;
    // Each leaf is a cache miss, so they are looked at only once some remover has left one behind.
    const bool looks = left_behind_.load(std::memory_order_relaxed) != 0;  // what it misses the next replacement finds
    for (unsigned i = 0; i != n.words(); ++i) {
      const std::uint64_t w = freeze(n.child(static_cast<int>(i)));
      if (w == 0) continue;
      if (looks && !is_inner(w) && leaf_of(w).seen().kind() == LeafState::kRemoved) {
        gone[gone_count++] = offset_of(w);  // its remover hasn't come to it, or couldn't
      } else {
        below.add(i == 0 ? -1 : n.byte(i), {w, is_inner(w) ? 0 : n.hint_or_none(static_cast<int>(i))});
      }
    }
    std::uint64_t coming = freeze(n.coming());
    if (coming != 0 && leaf_of(coming).seen().kind() == LeafState::kRemoved) {  // waited for memory until nobody needed it
      gone[gone_count++] = offset_of(coming);
      coming = 0;
    }
    Sync::point("index.frozen");
    std::size_t split_at = prefix.size();
    if (coming != 0) {
      const std::string_view key = leaf_of(coming).key();
      split_at = agreement(prefix, key.substr(depth));
      (split_at == prefix.size() ? below : above).add(next_of(key, depth + split_at), child_of(coming));
    }
    std::uint64_t made[2];
    unsigned made_count = 0;
    bool no_memory = false;
    Child to{};
    if (split_at != prefix.size()) {
      const Child rest = make(t, prefix.substr(split_at + 1), below, made, made_count, no_memory);
      if (rest.word != 0) above.add(static_cast<unsigned char>(prefix[split_at]), rest);
      if (!no_memory) to = make(t, prefix.substr(0, split_at), above, made, made_count, no_memory);
    } else {
      to = make(t, prefix, below, made, made_count, no_memory);
    }
    std::uint64_t expected = word;
    Sync::point("index.replace");
    if (!no_memory && slot.word->compare_exchange_strong(expected, to.word, std::memory_order_seq_cst)) {  // [branch] seq_cst
      slot.note(to);
      t.counters.index_bytes.add(0 - space_.heap.block_bytes(offset_of(word)));
      space_.retire_block(t, offset_of(word));
      while (gone_count != 0) retire_leaf(t, gone[--gone_count]);
      return Replaced::kYes;
    }
    while (made_count != 0) free_node(t, made[--made_count]);  // nobody saw them
    return no_memory ? Replaced::kNoMemory : Replaced::kNo;
  }

  // The word of a node with these entries; of the leaf, if that is all there is; 0 if there is nothing.
  Child make(Thr& t, std::string_view prefix, const Entries& e, std::uint64_t* made, unsigned& made_count,
             bool& no_memory) noexcept {
    const unsigned used = e.count + (e.own.word != 0 ? 1 : 0);
    if (used == 0) return {};
    const Child& first = e.own.word != 0 ? e.own : e.child[0];
    if (used == 1 && first.is_leaf()) return first;
    const unsigned count = e.count > kSortedMax ? 256 : e.count;
    const std::size_t bytes = Node::size_of(count, prefix.size(), e.has_leaf);
    const std::uint64_t at = allocate(t, bytes);
    if (at == 0) {
      no_memory = true;
      return {};
    }
    made[made_count++] = at;
    t.counters.index_bytes.add(space_.heap.block_bytes(at));
    Sync::plain_write(space_.heap.at(at), bytes);
    Node& n = *new (space_.heap.at(at)) Node{static_cast<std::uint16_t>(count), static_cast<std::uint16_t>(prefix.size()),
                                             static_cast<std::uint16_t>(Node::words_behind(count, prefix.size())), e.has_leaf};
    const auto put = [&n](int i, const Child& c) {
      (new (&n.child(i)) Word)->store(c.word, std::memory_order_relaxed);  // [branch] comes with the swap that links it, for all of them
      if (n.has_hints != 0) *new (&n.hint(i)) Hint = c.hint;
    };
    (new (&n.coming()) Word)->store(0, std::memory_order_relaxed);  // the same
    for (int i = 1; count == 256 && i != 257; ++i) put(i, {});
    put(0, e.own);
    for (unsigned i = 0; i != e.count; ++i) {
      if (count != 256) n.bytes()[i] = e.byte[i];
      put(count == 256 ? e.byte[i] + 1 : static_cast<int>(i) + 1, e.child[i]);
    }
    std::memcpy(n.prefix_data(), prefix.data(), prefix.size());
    return {at | kInner, 0};
  }

  // The same below a prefix of any length: nodes with one child, as long as it is longer than a node's may be.
  std::uint64_t make_path(Thr& t, std::string_view prefix, const Entries& e, std::uint64_t* made, unsigned& made_count) noexcept {
    bool no_memory = false;
    const auto last = [&] { return prefix.substr(prefix.size() - std::min<std::size_t>(prefix.size(), kPrefixMax)); };
    std::string_view part = last();
    std::uint64_t word = make(t, part, e, made, made_count, no_memory).word;
    while (word != 0 && part.size() != prefix.size()) {
      prefix.remove_suffix(part.size());
      Entries one;
      one.add(static_cast<unsigned char>(prefix.back()), {word, 0});
      prefix.remove_suffix(1);
      part = last();
      word = make(t, part, one, made, made_count, no_memory).word;
    }
    if (word == 0) {
      while (made_count != 0) free_node(t, made[--made_count]);
    }
    return word;
  }

  std::uint64_t make_leaf(Thr& t, std::string_view key, std::uint64_t hash) noexcept {
    std::size_t bytes = kLeafHeaderBytes + key.size();
    std::uint64_t extent = 0;
    if (bytes > space_.heap.largest_block()) {
      bytes = sizeof(Leaf) + sizeof(std::int64_t);
      extent = space_.new_extent(t, key.size());
      if (extent == 0) return 0;
    }
    const std::uint64_t at = allocate(t, std::max(bytes, sizeof(Leaf)));
    if (at == 0) {
      if (extent != 0) space_.free_extent(extent);
      return 0;
    }
    Sync::plain_write(space_.heap.at(at), bytes);
    Leaf& leaf = *new (space_.heap.at(at)) Leaf;
    leaf.state.store(LeafState::kLive, std::memory_order_relaxed);  // [branch] comes with the swap that links it
    leaf.hash = hash;
    leaf.length = static_cast<std::uint32_t>(key.size()) | (extent != 0 ? kFar : 0);
    if (extent != 0) leaf.distance() = static_cast<std::int64_t>(extent) - static_cast<std::int64_t>(at);
    std::memcpy(extent != 0 ? leaf.far() : leaf.data(), key.data(), key.size());
    t.counters.index_bytes.add(bytes_of_leaf(at));
    return at;
  }

  // In a full store any free block that is large enough will do, up to four times: what makes room there removes entries,
  // whose sizes are others, and the index's own blocks can't be moved together.
  std::uint64_t allocate(Thr& t, std::size_t bytes) noexcept {
    const std::uint64_t short_of = t.short_of;
    std::uint64_t at = space_.allocate(t, bytes);
    for (std::size_t more = bytes; at == 0 && more < 4 * bytes;) {
      more += more / 4 + 8;
      at = space_.heap.allocate_if_easy(t.cache, more);
      if (at != 0) t.short_of = short_of;
    }
    return at;
  }

  std::uint64_t extent_of(std::uint64_t leaf) const noexcept {
    return leaf + static_cast<std::uint64_t>(leaf_of(leaf).distance());
  }
  std::uint64_t bytes_of_leaf(std::uint64_t at) const noexcept {
    const Leaf& leaf = leaf_of(at);
    return space_.heap.block_bytes(at) + (leaf.is_far() ? leaf.length & ~kFar : 0);
  }
  // Nobody saw it.
  void free_leaf(Thr& t, std::uint64_t at) noexcept {
    t.counters.index_bytes.add(0 - bytes_of_leaf(at));
    if (leaf_of(at).is_far()) space_.free_extent(extent_of(at));
    space_.free_block(t, at);
  }
  void free_node(Thr& t, std::uint64_t at) noexcept {
    t.counters.index_bytes.add(0 - space_.heap.block_bytes(at));
    space_.free_block(t, at);
  }
  // Unlinked.
  void retire_leaf(Thr& t, std::uint64_t at) noexcept {
    t.counters.index_bytes.add(0 - bytes_of_leaf(at));
    if (leaf_of(at).is_far()) space_.retire_extent(t, extent_of(at));
    space_.retire_block(t, at);
  }

  template <class Fn>
  std::uint64_t walk_from(std::uint64_t word, Fn& fn) const noexcept {
    const std::uint64_t at = offset_of(word);
    if (at == 0) return 0;
    fn(at);
    std::uint64_t bytes = space_.heap.block_bytes(at);
    if (!is_inner(word)) return bytes;
    const Node& n = node_of(word);
    bytes += walk_from(n.coming().load(std::memory_order_acquire), fn);  // [branch] acquire
    for (unsigned i = 0; i != n.words(); ++i) {
      bytes += walk_from(n.child(static_cast<int>(i)).load(std::memory_order_acquire), fn);  // [branch] acquire
    }
    return bytes;
  }

  Space<Sync>& space_;
  Word root_{};
  // 1: a REMOVED leaf was left where it is once, for want of memory or on its way in. Stays so.
  Word left_behind_{};
};

}  // namespace tern::detail

#include "engine/index_cursor.h"

#endif  // TERN_ENGINE_ORDERED_INDEX_H_
