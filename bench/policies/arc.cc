// ARC (Megiddo and Modha, FAST 2003): T1 holds keys seen once, T2 keys seen more often, B1 and B2
// remember what left them; a hit in a memory moves the share `p` of T1 its way.
#include <algorithm>

#include "bench/policies/lists.h"

namespace tern::bench {
namespace {

class Arc final : public Policy {
 public:
  Arc(const DenseTrace& trace, std::uint64_t capacity)
      : sizes_(trace.sizes),
        capacity_(capacity),
        links_(trace.objects()),
        t1_(links_, sizes_),
        t2_(links_, sizes_),
        b1_(links_, sizes_),
        b2_(links_, sizes_),
        where_(trace.objects()) {}

  bool access(Key key) override {
    const std::uint64_t size = sizes_[key];
    switch (where_[key]) {
      case kT1:
      case kT2:
        list(where_[key]).remove(key);
        move(key, kT2);
        return true;
      case kB1:
        p_ = std::min(static_cast<double>(capacity_), p_ + step(size, b2_, b1_));
        b1_.remove(key);
        make_room(size, false);
        move(key, kT2);
        return false;
      case kB2:
        p_ = std::max(0.0, p_ - step(size, b1_, b2_));
        b2_.remove(key);
        make_room(size, true);
        move(key, kT2);
        return false;
      default:
        break;
    }
    if (size > capacity_) return false;
    while (t1_.size() + b1_.size() + size > capacity_ && !b1_.empty()) where_[b1_.pop()] = kAbsent;
    if (t1_.size() + size > capacity_) {
      // All of L1 is in the cache: its oldest leaves without a memory.
      while (t1_.size() + size > capacity_) where_[t1_.pop()] = kAbsent;
    }
    make_room(size, false);
    while (t1_.size() + t2_.size() + b1_.size() + b2_.size() + size > 2 * capacity_ && !b2_.empty())
      where_[b2_.pop()] = kAbsent;
    move(key, kT1);
    return false;
  }
  std::uint64_t used() const override { return t1_.size() + t2_.size(); }

 private:
  enum Place : std::uint8_t { kAbsent, kT1, kT2, kB1, kB2 };

  List& list(std::uint8_t place) {
    return place == kT1 ? t1_ : place == kT2 ? t2_ : place == kB1 ? b1_ : b2_;
  }
  void move(Key key, Place place) {
    where_[key] = place;
    list(place).push(key);
  }
  static double step(std::uint64_t size, const List& other, const List& own) {
    const double ratio = static_cast<double>(other.size()) / static_cast<double>(own.size());
    return static_cast<double>(size) * std::max(1.0, ratio);
  }
  // REPLACE of the paper, until there is room.
  void make_room(std::uint64_t size, bool was_in_b2) {
    while (used() + size > capacity_) {
      const double t1 = static_cast<double>(t1_.size());
      const bool from_t1 = !t1_.empty() && (t2_.empty() || t1 > p_ || (was_in_b2 && t1 >= p_));
      move((from_t1 ? t1_ : t2_).pop(), from_t1 ? kB1 : kB2);
    }
  }

  const std::vector<std::uint32_t>& sizes_;
  const std::uint64_t capacity_;
  double p_ = 0;
  Links links_;
  List t1_, t2_, b1_, b2_;
  std::vector<std::uint8_t> where_;
};

}  // namespace

std::unique_ptr<Policy> make_arc(const DenseTrace& trace, std::uint64_t capacity) {
  return std::make_unique<Arc>(trace, capacity);
}

}  // namespace tern::bench
