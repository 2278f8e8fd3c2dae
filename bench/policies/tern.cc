// Tern's own policy: engine/eviction_policy.h, with the records and the two queues simulated. What
// the store adds on top (threads, several queues) costs what `tern replay` shows.
#include <atomic>

#include "bench/policies/lists.h"
#include "engine/eviction_policy.h"

namespace tern::bench {
namespace {

using detail::EvictionQueue;
using detail::EvictionVerdict;

// Stands in for the engine's hash of the key's bytes.
std::uint64_t hash_of(Key key) {
  std::uint64_t h = key + 0x9E37'79B9'7F4A'7C15u;
  h = (h ^ h >> 30) * 0xBF58'476D'1CE4'E5B9u;
  h = (h ^ h >> 27) * 0x94D0'49BB'1331'11EBu;
  return h ^ h >> 31;
}

class Tern final : public Policy {
 public:
  Tern(const DenseTrace& trace, std::uint64_t capacity)
      : sizes_(trace.sizes),
        capacity_(capacity),
        links_(trace.objects()),
        small_(links_, sizes_),
        main_(links_, sizes_),
        where_(trace.objects()),
        hits_(trace.objects()) {
    const std::uint64_t bytes = trace.bytes();
    // As many entries as there would be at the mean size, and no more than there are objects. The store
    // knows its mean size when it is full, and tells the policy by `fit`.
    const std::uint64_t entries =
        bytes <= capacity
            ? trace.objects()
            : static_cast<std::uint64_t>(static_cast<double>(capacity) * trace.objects() /
                                         static_cast<double>(bytes));
    entries_max_ =
        std::max<std::uint64_t>(entries, detail::EvictionPolicy<detail::StdSync>::kEntriesMin);
    memory_ = std::vector<std::atomic<std::uint64_t>>(
        detail::EvictionPolicy<detail::StdSync>::words(entries_max_));
    policy_.open(memory_.data(), entries_max_);
  }

  bool access(Key key) override {
    const std::uint64_t hash = hash_of(key);
    if (where_[key] != kAbsent) {
      if (hits_[key] < detail::kAccessMax) ++hits_[key];
      if (policy_.sampled(hash)) policy_.offer(hash);
      return true;
    }
    if (sizes_[key] > capacity_) return false;
    const EvictionQueue queue = policy_.missed(hash);
    while (used() + sizes_[key] > capacity_) make_room();
    enter(key, queue, 0);
    return false;
  }
  std::uint64_t used() const override { return small_.size() + main_.size(); }

 private:
  enum : std::uint8_t { kAbsent, kSmall, kMain };

  void enter(Key key, EvictionQueue queue, std::uint8_t hits) {
    hits_[key] = hits;
    where_[key] = queue == EvictionQueue::kSmall ? kSmall : kMain;
    (queue == EvictionQueue::kSmall ? small_ : main_).push(key);
  }
  void leave(Key key) {
    where_[key] = kAbsent;
    policy_.evicted(hash_of(key));
  }

  void make_room() {
    if (policy_.next(small_.count(), main_.count()) == EvictionQueue::kMain) {
      const Key key = main_.pop();
      const EvictionVerdict verdict = policy_.leave_main(hash_of(key), hits_[key]);
      if (verdict.kind == EvictionVerdict::kEvict) return leave(key);
      return enter(key, EvictionQueue::kMain, verdict.access);
    }
    const Key key = small_.pop();
    const EvictionVerdict verdict =
        policy_.leave_small(hash_of(key), hits_[key], small_.count(), main_.count());
    if (verdict.kind == EvictionVerdict::kPromote ||
        (verdict.kind == EvictionVerdict::kDuel && duel(key)))
      return enter(key, EvictionQueue::kMain, verdict.access);
    leave(key);
  }

  bool duel(Key key) {
    for (unsigned step = 0; step < detail::kDuelSteps; ++step) {
      const Key victim = main_.oldest();
      const EvictionVerdict verdict = policy_.leave_main(hash_of(victim), hits_[victim]);
      if (verdict.kind == EvictionVerdict::kAgain) {
        main_.remove(victim);
        enter(victim, EvictionQueue::kMain, verdict.access);
        continue;
      }
      if (!policy_.wins(hash_of(key), hits_[key], hash_of(victim))) return false;
      main_.remove(victim);
      leave(victim);
      return true;
    }
    return false;
  }

  const std::vector<std::uint32_t>& sizes_;
  const std::uint64_t capacity_;
  Links links_;
  List small_, main_;
  std::vector<std::uint8_t> where_, hits_;
  std::uint64_t entries_max_ = 0;
  std::vector<std::atomic<std::uint64_t>> memory_;
  detail::EvictionPolicy<detail::StdSync> policy_;
};

}  // namespace

std::unique_ptr<Policy> make_tern(const DenseTrace& trace, std::uint64_t capacity) {
  return std::make_unique<Tern>(trace, capacity);
}

}  // namespace tern::bench
