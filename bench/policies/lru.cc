// LRU: the key that was asked for longest ago leaves.
#include "bench/policies/lists.h"

namespace tern::bench {
namespace {

class Lru final : public Policy {
 public:
  Lru(const DenseTrace& trace, std::uint64_t capacity)
      : sizes_(trace.sizes),
        capacity_(capacity),
        links_(trace.objects()),
        list_(links_, sizes_),
        there_(trace.objects()) {}

  bool access(Key key) override {
    if (there_[key] != 0) {
      list_.remove(key);
      list_.push(key);
      return true;
    }
    if (sizes_[key] > capacity_) return false;
    while (list_.size() + sizes_[key] > capacity_) there_[list_.pop()] = 0;
    list_.push(key);
    there_[key] = 1;
    return false;
  }
  std::uint64_t used() const override { return list_.size(); }

 private:
  const std::vector<std::uint32_t>& sizes_;
  const std::uint64_t capacity_;
  Links links_;
  List list_;
  std::vector<std::uint8_t> there_;
};

}  // namespace

std::unique_ptr<Policy> make_lru(const DenseTrace& trace, std::uint64_t capacity) {
  return std::make_unique<Lru>(trace, capacity);
}

}  // namespace tern::bench
