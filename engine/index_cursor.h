// Cursor: a walk over the leaves of an ordered index, in order, from a key on or back from it (ordered_index.h).
//
// Leaves lie anywhere in memory, and each is a cache miss. So next() takes their addresses from the nodes as many at a time as
// the user will ask for, and fetches them before the first is handed out. What a leaf says of its key is read when it is
// handed out, not when it is fetched.
//
// meet() reads no leaf at all. It hands out what the nodes know: the hint, and the bytes that lead to the leaf, which are
// those of no other key in the tree. Inside one guard.
#ifndef TERN_ENGINE_INDEX_CURSOR_H_
#define TERN_ENGINE_INDEX_CURSOR_H_

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "alloc/private_memory.h"
#include "engine/ordered_index.h"
#include "engine/prefetch.h"

namespace tern::detail {

template <class Sync>
class OrderedIndex<Sync>::Cursor {
 public:
  enum Direction : int { kForward = 1, kBackward = -1 };
  static constexpr std::size_t kPathMax = 96;  // the longest path that is known

  // From the first key on; backward, from the last.
  Cursor(const OrderedIndex& index, Direction direction) noexcept : index_(index), direction_(direction) {
    enter(index_.root_.load(std::memory_order_seq_cst), 0);  // [branch] seq_cst, [announce] seq_cst
  }
  // From the first key that isn't less than `bound` (backward: greater); `included` says whether it may be `bound`. Of the
  // bound's first bytes `common` are those of every leaf that it hands out: it ends where they end.
  Cursor(const OrderedIndex& index, std::string_view bound, Direction direction, bool included, std::size_t common = 0) noexcept
      : index_(index), direction_(direction) {
    seek(bound, included, common);
  }
  Cursor(const Cursor&) = delete;
  Cursor& operator=(const Cursor&) = delete;
  ~Cursor() { alloc::private_free(more_); }

  // How many leaves are fetched before the first is looked at, up to kAheadMax: no more than will be asked for.
  void look_ahead(unsigned count) noexcept { ahead_ = std::clamp(count, 1u, kAheadMax); }
  // About how many leaves will be asked for.
  void expect(unsigned leaves) noexcept { nodes_ahead_ = std::clamp(leaves / kLeavesANode, 1u, kNodesAheadMax); }

  // Null: there is no other, or failed().
  const Leaf* next() noexcept {
    for (;;) {
      if (first_ == count_) {
        fetch();
        if (count_ == 0) return nullptr;
      }
      const Leaf* leaf = fetched_[first_++];
      const LeafState::Kind kind = leaf->seen().kind();
      if (kind == LeafState::kLive || (kind == LeafState::kDead && !planted<Sync>(Mutant::kIndexScanSkipsDead))) return leaf;
    }
  }

  // Instead of next(), of one cursor: leaves that may be REMOVED, unread. begin(path) -> bool whether their hints are of use, before
  // the first of some that lie in one node; each(leaf, hint or 0, next) -> bool whether to go on. Of the keys that have been in the
  // tree all the time the leaf's is the only one that begins with `path` and the byte `next`, or is `path` if that is kWhole. A
  // path without data: not known.
  // True: there is no other, or failed().
  template <class Begin, class Each>
  [[gnu::always_inline]] bool meet(Begin&& begin, Each&& each) noexcept {
    while (first_ != count_) {  // the bound's own
      (void)begin(std::string_view());
      if (!each(*fetched_[first_++], std::uint64_t{0}, kWhole)) return false;
    }
    while (depth_ != 0) {
      Frame& f = frames()[depth_ - 1];
      const Node& n = *f.node;
      // All that the loop reads beside the words, for which a compiler would read it again behind each of them.
      const unsigned words = n.words();
      const Word* const child = &n.child(0);
      const Hint* hint = nullptr;
      const unsigned char* const bytes = n.count == 256 ? kAllBytes.byte : n.bytes();
      const std::byte* const base = index_.space_.heap.base();
      const int direction = direction_;
      bool has_begun = false;
      std::uint64_t word = 0;
      int at = f.at;
      for (; static_cast<unsigned>(at) < words; at += direction) {
        word = child[at].load(std::memory_order_seq_cst);  // [branch] seq_cst
        if (offset_of(word) == 0) continue;
        if (is_inner(word)) break;
        if (!has_begun) {
          const bool is_known = begin(f.path <= kPathMax ? std::string_view(path_, f.path) : std::string_view());
          if (is_known && n.has_hints != 0) hint = &n.hint(0);
          has_begun = true;
        }
        const bool ends = at == 0 || planted<Sync>(Mutant::kIndexMetTooShort);
        const auto& leaf = *reinterpret_cast<const Leaf*>(base + offset_of(word) * alloc::kUnitBytes);
        if (!each(leaf, hint != nullptr ? std::uint64_t{hint[at]} : 0, ends ? kWhole : bytes[at - 1])) {
          f.at = static_cast<std::int16_t>(at + direction);
          return false;
        }
      }
      f.at = static_cast<std::int16_t>(at + direction);
      if (static_cast<unsigned>(at) < words) {
        descend(f, at, word);
      } else {
        --depth_;
      }
    }
    return true;
  }
  static constexpr int kWhole = -1;

  // No private memory for a path of more than kFrames nodes; the scan is incomplete.
  bool failed() const noexcept { return failed_; }

 private:
  struct Frame {
    const typename OrderedIndex::Node* node;
    std::int16_t at;     // the child to visit next
    std::int16_t asked;  // the first in its direction that isn't on its way yet
    std::uint32_t path;  // bytes of each key below it, its prefix among them
  };
  static constexpr unsigned kFrames = 24;
  static constexpr unsigned kAheadMax = 64;
  static constexpr unsigned kNodesAheadMax = 8, kLeavesANode = 8;

  // Of a node's children behind its own one, where they are all there.
  struct AllBytes {
    unsigned char byte[256];
    constexpr AllBytes() noexcept : byte() {
      for (unsigned i = 0; i != 256; ++i) byte[i] = static_cast<unsigned char>(i);
    }
  };
  static constexpr AllBytes kAllBytes{};

  // Into the inner node that is child `at` of the innermost one.
  void descend(Frame& f, int at, std::uint64_t word) noexcept {
    const Node& n = *f.node;
    if ((at - f.asked) * direction_ >= 0) f.asked = ask(n, at);
    const std::size_t path = f.path;
    if (path < kPathMax) path_[path] = static_cast<char>(n.byte(static_cast<unsigned>(at)));
    enter(word, path + 1);
  }
  // The next inner nodes of one, from child `at` on: they lie anywhere, too. All right behind each other, so that the searches for
  // their pages go side by side.
  std::int16_t ask(const Node& n, int at) const noexcept {
    for (unsigned left = nodes_ahead_; left != 0 && static_cast<unsigned>(at) < n.words(); at += direction_) {
      const std::uint64_t ahead = n.child(at).load(std::memory_order_relaxed);  // a hint
      if (!is_inner(ahead)) continue;
      index_.prefetch_node(ahead);
      index_.prefetch_hints(ahead);
      --left;
    }
    return static_cast<std::int16_t>(at);
  }
  // The next leaves, up to `ahead_`.
  void fetch() noexcept {
    first_ = count_ = 0;
    const auto any = [](std::string_view) noexcept { return false; };
    meet(any, [this](const Leaf& leaf, std::uint64_t, int) noexcept {
      take(leaf);
      return count_ != ahead_;
    });
  }
  void take(const Leaf& leaf) noexcept {
    fetched_[count_++] = &leaf;
    if (ahead_ != 1) {
      prefetch_second_level(&leaf);
      prefetch_second_level(leaf.data() + 19);  // the end of a key of 20 bytes
    }
  }

  Frame* frames() noexcept { return more_ != nullptr ? more_ : frames_; }

  // What `word` leads to, by the first `path` bytes of path_.
  void enter(std::uint64_t word, std::size_t path) noexcept {
    if (offset_of(word) == 0) return;
    if (is_inner(word)) {
      const Node& n = index_.node_of(word);
      push(n, direction_ == kForward ? 0 : static_cast<int>(n.words()) - 1, path);
    } else {
      take(index_.leaf_of(word));
    }
  }

  void push(const Node& n, int at, std::size_t path) noexcept {
    if (depth_ == capacity_) {
      auto* more = static_cast<Frame*>(alloc::private_allocate(std::size_t{capacity_} * 2 * sizeof(Frame)));
      if (more == nullptr) {
        failed_ = true;
        depth_ = 0;
        return;
      }
      std::memcpy(more, frames(), depth_ * sizeof(Frame));
      alloc::private_free(more_);
      more_ = more;
      capacity_ *= 2;
    }
    const std::string_view prefix = n.prefix();
    append(path, prefix);
    const auto first = static_cast<std::int16_t>(at);
    frames()[depth_++] = {&n, first, first, static_cast<std::uint32_t>(path + prefix.size())};
  }

  void append(std::size_t path, std::string_view bytes) noexcept {
    if (path < kPathMax && !bytes.empty()) std::memcpy(path_ + path, bytes.data(), std::min(bytes.size(), kPathMax - path));
  }

  // Along the bound: what lies on its far side at each node is pushed, to be visited later; not where only nodes further down
  // have all of the common bytes.
  void seek(std::string_view bound, bool included, std::size_t common) noexcept {
    append(0, bound);
    std::size_t depth = 0;
    std::uint64_t word = index_.root_.load(std::memory_order_seq_cst);  // [branch] seq_cst, [announce] seq_cst
    while (offset_of(word) != 0) {
      if (!is_inner(word)) {
        const Leaf& leaf = index_.leaf_of(word);
        const std::string_view key = leaf.key();
        if (!key.starts_with(bound.substr(0, common))) return;
        const int order = key.compare(bound) * direction_;
        if (order > 0 || (order == 0 && included)) take(leaf);
        return;
      }
      index_.prefetch_node(word);
      const Node& n = index_.node_of(word);
      const std::string_view rest = bound.substr(depth);
      const std::string_view prefix = n.prefix();
      const std::size_t agreed = agreement(prefix, rest);
      if (agreed != prefix.size()) {
        // A bound that ends inside the prefix is less than all below it.
        const bool is_less = agreed == rest.size() || static_cast<unsigned char>(rest[agreed]) < static_cast<unsigned char>(prefix[agreed]);
        if (depth + agreed >= common && is_less == (direction_ == kForward)) enter(word, depth);
        return;
      }
      const std::size_t path = depth;
      depth += agreed;
      const bool is_within = planted<Sync>(Mutant::kIndexScanWithinTooLittle) ? depth > common
                                                                               : depth >= common || planted<Sync>(Mutant::kIndexScanPastItsPrefix);
      if (depth == bound.size()) {  // the bound is the node's own key, the others are greater
        if (direction_ == kForward) return push(n, included ? 0 : 1, path);
        if (included) push(n, 0, path);
        return;
      }
      const auto byte = static_cast<unsigned char>(bound[depth++]);
      const int at = static_cast<int>(n.lower(byte));
      const bool exact = at < static_cast<int>(n.words()) && n.byte(static_cast<unsigned>(at)) == byte;
      if (is_within) push(n, direction_ == kForward ? at + (exact ? 1 : 0) : at - 1, path);
      if (!exact || failed_) return;
      word = n.child(at).load(std::memory_order_seq_cst);  // [branch] seq_cst
    }
  }

  const OrderedIndex& index_;
  const Direction direction_;
  bool failed_ = false;
  unsigned depth_ = 0;
  unsigned capacity_ = kFrames;
  unsigned ahead_ = 1;
  unsigned nodes_ahead_ = kNodesAheadMax;
  unsigned first_ = 0;  // of `count_` that were fetched, the next one to be handed out
  unsigned count_ = 0;
  const Leaf* fetched_[kAheadMax];
  Frame* more_ = nullptr;
  Frame frames_[kFrames];
  char path_[kPathMax];  // to the innermost frame; what is longer isn't kept
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_INDEX_CURSOR_H_
