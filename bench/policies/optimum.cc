// The optimum (Belady's MIN with bypass): the key whose next use is furthest away isn't kept, also
// if it is the one that was just asked for. Optimal where all sizes are equal; with sizes it is the
// usual reference, not a bound (the bound is NP-hard).
#include <queue>

#include "bench/policies/policy.h"

namespace tern::bench {
namespace {

class Optimum final : public Policy {
 public:
  Optimum(const DenseTrace& trace, std::uint64_t capacity)
      : sizes_(trace.sizes),
        capacity_(capacity),
        next_of_request_(trace.keys.size()),
        next_(trace.objects(), kNever) {
    for (std::size_t i = trace.keys.size(); i-- > 0;) {
      next_of_request_[i] = next_[trace.keys[i]];
      next_[trace.keys[i]] = static_cast<std::uint32_t>(i);
    }
    next_.assign(trace.objects(), kAbsent);
  }

  bool access(Key key) override {
    const std::uint32_t next = next_of_request_[at_++];
    const bool hit = next_[key] != kAbsent;
    if (next == kNever) {  // never again: gone, or not taken in
      if (hit) used_ -= sizes_[key];
      next_[key] = kAbsent;
      return hit;
    }
    if (!hit) {
      if (sizes_[key] > capacity_) return false;
      used_ += sizes_[key];
    }
    next_[key] = next;
    furthest_.push({next, key});
    while (used_ > capacity_) {
      const Use last = furthest_.top();
      furthest_.pop();
      if (next_[last.key] != last.next) continue;  // used since, or gone
      next_[last.key] = kAbsent;
      used_ -= sizes_[last.key];
    }
    return hit;
  }
  std::uint64_t used() const override { return used_; }

 private:
  static constexpr std::uint32_t kNever = ~std::uint32_t{0}, kAbsent = kNever - 1;
  struct Use {
    std::uint32_t next;
    Key key;
    bool operator<(const Use& other) const { return next < other.next; }
  };

  const std::vector<std::uint32_t>& sizes_;
  const std::uint64_t capacity_;
  std::uint64_t used_ = 0;
  std::size_t at_ = 0;
  std::vector<std::uint32_t> next_of_request_, next_;  // next_: of objects in the cache
  std::priority_queue<Use> furthest_;
};

}  // namespace

std::unique_ptr<Policy> make_optimum(const DenseTrace& trace, std::uint64_t capacity) {
  return std::make_unique<Optimum>(trace, capacity);
}

}  // namespace tern::bench
