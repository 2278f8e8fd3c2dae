// Doubly linked lists of dense keys, a key in one list at most: links in two arrays that several
// lists share.
#ifndef TERN_BENCH_POLICIES_LISTS_H_
#define TERN_BENCH_POLICIES_LISTS_H_

#include <cstdint>
#include <vector>

#include "bench/policies/policy.h"

namespace tern::bench {

inline constexpr Key kNoKey = ~Key{0};

struct Links {
  explicit Links(std::uint32_t objects) : older(objects, kNoKey), younger(objects, kNoKey) {}
  std::vector<Key> older, younger;
};

// Keys enter at the young end and leave at the old one, or from the middle. `size` is the sum of
// the keys' sizes.
class List {
 public:
  List(Links& links, const std::vector<std::uint32_t>& sizes) : links_(links), sizes_(sizes) {}
  bool empty() const { return oldest_ == kNoKey; }
  Key oldest() const { return oldest_; }
  Key youngest() const { return youngest_; }
  Key younger(Key key) const { return links_.younger[key]; }
  std::uint64_t size() const { return size_; }
  std::uint64_t count() const { return count_; }

  void push(Key key) {
    links_.older[key] = youngest_;
    links_.younger[key] = kNoKey;
    (youngest_ == kNoKey ? oldest_ : links_.younger[youngest_]) = key;
    youngest_ = key;
    size_ += sizes_[key];
    ++count_;
  }
  void remove(Key key) {
    const Key older = links_.older[key], younger = links_.younger[key];
    (older == kNoKey ? oldest_ : links_.younger[older]) = younger;
    (younger == kNoKey ? youngest_ : links_.older[younger]) = older;
    size_ -= sizes_[key];
    --count_;
  }
  Key pop() {
    const Key key = oldest_;
    remove(key);
    return key;
  }

 private:
  Links& links_;
  const std::vector<std::uint32_t>& sizes_;
  Key oldest_ = kNoKey, youngest_ = kNoKey;
  std::uint64_t size_ = 0, count_ = 0;
};

}  // namespace tern::bench

#endif  // TERN_BENCH_POLICIES_LISTS_H_
