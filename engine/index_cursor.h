// Cursor: a walk over the leaves of an ordered index, in order, from a key on or back from it (ordered_index.h).
//
// Leaves lie anywhere in memory, and each is a cache miss. So their addresses are taken from the nodes as many at a time as
// the user will ask for, and fetched before the first of them is handed out. What a leaf says of its key is read when it is
// handed out, not when it is fetched. Inside one guard.
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

  // From the first key on; backward, from the last.
  Cursor(const OrderedIndex& index, Direction direction) noexcept : index_(index), direction_(direction) {
    enter(index_.root_.load(std::memory_order_seq_cst));  // [branch] seq_cst, [announce] seq_cst
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
  // No private memory for a path of more than kFrames nodes; the scan is incomplete.
  bool failed() const noexcept { return failed_; }

 private:
  struct Frame {
    const typename OrderedIndex::Node* node;
    int at;  // the child to visit next
  };
  static constexpr unsigned kFrames = 24;
  static constexpr unsigned kAheadMax = 64;
  static constexpr int kNodesAhead = 3;

  // The next leaves, up to `ahead_`.
  void fetch() noexcept {
    first_ = count_ = 0;
    while (count_ != ahead_ && depth_ != 0) {
      Frame& f = frames()[depth_ - 1];
      const Node& n = *f.node;
      const int words = static_cast<int>(n.words());
      std::uint64_t word = 0;
      int at = f.at;
      while (at >= 0 && at < words) {
        word = n.child(at).load(std::memory_order_seq_cst);  // [branch] seq_cst
        at += direction_;
        if (is_inner(word)) break;
        if (offset_of(word) == 0) continue;
        take(index_.leaf_of(word));
        if (count_ == ahead_) break;
      }
      f.at = at;
      if (count_ == ahead_) return;
      if (!is_inner(word)) {
        --depth_;
        continue;
      }
      for (int i = 0; i != kNodesAhead; ++i, at += direction_) {  // nodes lie anywhere, too
        if (at < 0 || at >= words) break;
        index_.prefetch_node(n.child(at).load(std::memory_order_relaxed));  // a hint
      }
      enter(word);
    }
  }
  void take(const Leaf& leaf) noexcept {
    fetched_[count_++] = &leaf;
    if (ahead_ != 1) {
      prefetch_second_level(&leaf);
      prefetch_second_level(leaf.data() + 20);  // the end of a key of 20 bytes
    }
  }

  Frame* frames() noexcept { return more_ != nullptr ? more_ : frames_; }

  void enter(std::uint64_t word) noexcept {
    if (offset_of(word) == 0) return;
    if (is_inner(word)) {
      const Node& n = index_.node_of(word);
      push(n, direction_ == kForward ? 0 : static_cast<int>(n.words()) - 1);
    } else {
      take(index_.leaf_of(word));
    }
  }

  void push(const Node& n, int at) noexcept {
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
    frames()[depth_++] = {&n, at};
  }

  // Along the bound: what lies on its far side at each node is pushed, to be visited later; not where only nodes further down
  // have all of the common bytes.
  void seek(std::string_view bound, bool included, std::size_t common) noexcept {
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
        if (depth + agreed >= common && is_less == (direction_ == kForward)) enter(word);
        return;
      }
      depth += agreed;
      const bool is_within = planted<Sync>(Mutant::kIndexScanWithinTooLittle) ? depth > common
                                                                               : depth >= common || planted<Sync>(Mutant::kIndexScanPastItsPrefix);
      if (depth == bound.size()) {  // the bound is the node's own key, the others are greater
        if (direction_ == kForward) return push(n, included ? 0 : 1);
        if (included) push(n, 0);
        return;
      }
      const auto byte = static_cast<unsigned char>(bound[depth++]);
      const int at = static_cast<int>(n.lower(byte));
      const bool exact = at < static_cast<int>(n.words()) && n.byte(static_cast<unsigned>(at)) == byte;
      if (is_within) push(n, direction_ == kForward ? at + (exact ? 1 : 0) : at - 1);
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
  unsigned first_ = 0;  // of `count_` that were fetched, the next one to be handed out
  unsigned count_ = 0;
  const Leaf* fetched_[kAheadMax];
  Frame* more_ = nullptr;
  Frame frames_[kFrames];
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_INDEX_CURSOR_H_
