#include "tests/engine/parts/gather_sequence.h"

#include <algorithm>
#include <map>
#include <vector>

#include "engine/gather.h"

namespace tern::test {
namespace {

struct Stamped {
  std::uint64_t value = 0;
  std::uint64_t stamp() const { return value; }
};
struct Next {
  std::uint64_t record = 0;  // a number of its own; 0: a gap
  Stamped stamp;
};
using Gather = detail::Gather<Next>;

// The same as its comment says it: all that waits, in a list that is kept in order; ready is what lies before the first
// change of a batch that is missed.
class Model {
 public:
  bool is_empty() const { return list_.empty(); }
  const Next* ready() const {
    if (list_.empty()) return nullptr;
    const Next& first = list_.front().next;
    if (list_.front().sealed) return &first;
    return missing_.contains(first.stamp.value) ? nullptr : &first;
  }
  void pop() {
    const std::uint64_t stamp = list_.front().next.stamp.value;
    telling_ = stamp % 2 != 0 ? stamp : 0;  // a batch's
    list_.erase(list_.begin());
  }
  void see(std::uint64_t batch, std::uint64_t size) {
    if (batch <= given_up_ || size <= 1) return;
    const auto at = missing_.find(batch);
    if (at == missing_.end()) {
      missing_[batch] = size - 1;
    } else if (--at->second == 0) {
      missing_.erase(at);
      ++whole;
    }
  }
  void add(const Next& next) {
    auto at = list_.end();
    while (at != list_.begin()) {
      const Waiting& before = *(at - 1);
      if (before.sealed || before.next.stamp.value <= next.stamp.value || before.next.stamp.value == telling_) break;
      --at;
    }
    list_.insert(at, {next, false});
  }
  void add_last(const Next& next) {
    list_.push_back({next, true});
    for (Waiting& w : list_) w.sealed = true;
  }
  void give_up(std::uint64_t upto) {
    given_up_ = std::max(given_up_, upto);
    std::erase_if(missing_, [&](const auto& m) { return m.first <= upto; });
  }
  std::size_t size() const { return list_.size(); }

  std::uint64_t whole = 0;

 private:
  struct Waiting {
    Next next;
    bool sealed;
  };
  std::vector<Waiting> list_;
  std::map<std::uint64_t, std::uint64_t> missing_;
  std::uint64_t given_up_ = 0, telling_ = 0;
};

}  // namespace

std::string run_gather(const std::uint8_t* data, std::size_t size, GatherCounts* counts) {
  GatherCounts own;
  GatherCounts& n = counts != nullptr ? *counts : own;
  Gather* const gather = Gather::make();
  if (gather == nullptr) return {};
  Model model;
  std::string wrong;
  // Batches that are under way: which changes of it come yet. Their stamps are odd, and each is nobody else's.
  struct Batch {
    std::uint64_t stamp, size, left;
  };
  std::vector<Batch> batches;
  std::uint64_t clock = 2, records = 0;
  const auto tell = [&](std::size_t most) {
    for (; most != 0; --most) {
      const Next* const got = gather->ready();
      const Next* const wanted = model.ready();
      if ((got == nullptr) != (wanted == nullptr)) return wrong = got == nullptr ? "what is ready isn't told" : "what isn't ready is told", void();
      if (got == nullptr) return;
      if (got->record != wanted->record) return wrong = "another change is told first", void();
      gather->pop();
      model.pop();
      ++n.told;
    }
  };
  for (const std::uint8_t* at = data; at != data + size && wrong.empty(); ++at) {
    const unsigned what = *at;
    if (gather->is_full()) {
      gather->give_up(clock);
      model.give_up(clock);
      tell(Gather::kMax);
      continue;
    }
    switch (what % 8) {
      case 0:
      case 1: {  // one change by itself, perhaps of a little before
        const Next next{++records, {clock - std::min<std::uint64_t>(clock, what / 64 * 2)}};
        if (!gather->add(next)) break;
        model.add(next);
        break;
      }
      case 2:  // a batch commits
        batches.push_back({clock + 1, 1 + what / 8 % 6, 1 + what / 8 % 6});
        clock += 2;
        break;
      case 3:
      case 4:
      case 5: {  // a change of one that is under way, for this watch or for others
        if (batches.empty()) break;
        Batch& b = batches[what / 16 % batches.size()];
        if ((what & 8) != 0) {
          const Next next{++records, {b.stamp}};
          if (!gather->add(next)) break;
          model.add(next);
        }
        gather->see(b.stamp, b.size);
        model.see(b.stamp, b.size);
        if (--b.left == 0) batches.erase(batches.begin() + (&b - batches.data()));
        break;
      }
      case 6: {
        if (what < 32) {  // a gap: who knows what was in it
          const Next gap{0, {0}};
          if (!gather->add_last(gap)) break;
          model.add_last(gap);
          gather->give_up(clock);
          model.give_up(clock);
          ++n.gaps;
        } else if (what < 64) {
          const std::uint64_t upto = batches.empty() ? clock : batches.front().stamp;
          gather->give_up(upto);
          model.give_up(upto);
          ++n.given_up;
        } else {
          clock += 2;
        }
        break;
      }
      default:
        tell(1 + what / 8);
        break;
    }
    if (wrong.empty() && gather->is_empty() != model.is_empty()) wrong = "one has something, the other nothing";
  }
  if (wrong.empty()) {
    gather->give_up(clock + 2);
    model.give_up(clock + 2);
    tell(model.size() + 1);
    if (wrong.empty() && !gather->is_empty()) wrong = "given up, and not told";
  }
  n.whole_batches += model.whole;
  Gather::destroy(gather);
  return wrong;
}

}  // namespace tern::test
