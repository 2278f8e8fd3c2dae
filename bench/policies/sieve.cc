// SIEVE (Zhang et al., NSDI 2024): one queue by age and a hand that walks from old to young. It
// clears the mark of keys that were hit and takes the first one without; keys keep their places.
#include "bench/policies/lists.h"

namespace tern::bench {
namespace {

class Sieve final : public Policy {
 public:
  Sieve(const DenseTrace& trace, std::uint64_t capacity)
      : sizes_(trace.sizes),
        capacity_(capacity),
        links_(trace.objects()),
        list_(links_, sizes_),
        state_(trace.objects()) {}

  bool access(Key key) override {
    if (state_[key] != 0) {
      state_[key] = kMarked;
      return true;
    }
    if (sizes_[key] > capacity_) return false;
    while (list_.size() + sizes_[key] > capacity_) evict();
    list_.push(key);
    state_[key] = kThere;
    return false;
  }
  std::uint64_t used() const override { return list_.size(); }

 private:
  enum : std::uint8_t { kAbsent, kThere, kMarked };

  void evict() {
    Key at = hand_ == kNoKey ? list_.oldest() : hand_;
    while (state_[at] == kMarked) {
      state_[at] = kThere;
      at = list_.younger(at);
      if (at == kNoKey) at = list_.oldest();
    }
    hand_ = list_.younger(at);
    list_.remove(at);
    state_[at] = kAbsent;
  }

  const std::vector<std::uint32_t>& sizes_;
  const std::uint64_t capacity_;
  Links links_;
  List list_;
  std::vector<std::uint8_t> state_;
  Key hand_ = kNoKey;
};

}  // namespace

std::unique_ptr<Policy> make_sieve(const DenseTrace& trace, std::uint64_t capacity) {
  return std::make_unique<Sieve>(trace, capacity);
}

}  // namespace tern::bench
