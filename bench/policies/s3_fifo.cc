// S3-FIFO (Yang et al., SOSP 2023): a small FIFO of a tenth, a main FIFO whose hit keys go round
// again, and a ghost FIFO of the keys that left the small queue, as large as the main one.
#include <algorithm>

#include "bench/policies/lists.h"

namespace tern::bench {
namespace {

class S3Fifo final : public Policy {
 public:
  S3Fifo(const DenseTrace& trace, std::uint64_t capacity)
      : sizes_(trace.sizes),
        capacity_(capacity),
        small_share_(std::max<std::uint64_t>(1, capacity / 10)),
        links_(trace.objects()),
        small_(links_, sizes_),
        main_(links_, sizes_),
        ghost_(links_, sizes_),
        where_(trace.objects()),
        hits_(trace.objects()) {}

  bool access(Key key) override {
    if (where_[key] == kSmall || where_[key] == kMain) {
      if (hits_[key] < 3) ++hits_[key];
      return true;
    }
    if (sizes_[key] > capacity_) return false;
    const bool remembered = where_[key] == kGhost;
    if (remembered) {
      ghost_.remove(key);
      where_[key] = kAbsent;
    }
    while (used() + sizes_[key] > capacity_) make_room();
    hits_[key] = 0;
    enter(key, remembered);
    return false;
  }
  std::uint64_t used() const override { return small_.size() + main_.size(); }

 private:
  enum : std::uint8_t { kAbsent, kSmall, kMain, kGhost };

  void enter(Key key, bool main) {
    (main ? main_ : small_).push(key);
    where_[key] = main ? kMain : kSmall;
  }

  void make_room() {
    if (!small_.empty() && (small_.size() >= small_share_ || main_.empty())) {
      const Key key = small_.pop();
      if (hits_[key] > 1) {
        hits_[key] = 0;
        return enter(key, true);
      }
      where_[key] = kGhost;
      ghost_.push(key);
      while (ghost_.size() > capacity_ - small_share_) where_[ghost_.pop()] = kAbsent;
      return;
    }
    const Key key = main_.pop();
    if (hits_[key] > 0) {
      --hits_[key];
      main_.push(key);
    } else {
      where_[key] = kAbsent;
    }
  }

  const std::vector<std::uint32_t>& sizes_;
  const std::uint64_t capacity_, small_share_;
  Links links_;
  List small_, main_, ghost_;
  std::vector<std::uint8_t> where_, hits_;
};

}  // namespace

std::unique_ptr<Policy> make_s3_fifo(const DenseTrace& trace, std::uint64_t capacity) {
  return std::make_unique<S3Fifo>(trace, capacity);
}

}  // namespace tern::bench
