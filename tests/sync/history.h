// Histories: what each thread called and what it was answered, in an order that can be trusted.
//
// Time is one fetch_add counter. Not the time-stamp counter: on real machines it called correct
// histories illegal (RELIABILITY.md, point 5). The counter's update is seq_cst, so an operation's
// end with a smaller number than another's begin did come first. Each thread writes only its own
// array: recording adds no other synchronisation that could hide a race.
//
//   Recorder<RegisterOp> recorder(threads, operations_of_each);
//   auto& call = recorder.begin(thread, {.kind = kSet, .key = 3, .argument = "x"});
//   call.op.version = store.set(...);         // the answer
//   recorder.end(call);                       // never called: the operation is pending for ever
//   History<RegisterOp> history = recorder.take();
#ifndef TERN_TESTS_SYNC_HISTORY_H_
#define TERN_TESTS_SYNC_HISTORY_H_

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <utility>
#include <vector>

namespace tern::concurrency {

template <class Op>
struct Call {
  static constexpr std::uint64_t kPending = ~std::uint64_t{0};

  Op op = {};
  std::uint64_t begin = 0;
  std::uint64_t end = kPending;  // pending: whether it took effect is unknown
  unsigned thread = 0;

  bool pending() const { return end == kPending; }
};

template <class Op>
using History = std::vector<Call<Op>>;

template <class Op>
class Recorder {
 public:
  // Space for all calls is taken at once: a reallocation inside an operation's window would distort
  // it.
  Recorder(unsigned threads, std::size_t calls_of_each) : calls_(threads) {
    for (auto& list : calls_) list.reserve(calls_of_each);
  }

  Call<Op>& begin(unsigned thread, Op op) {
    auto& list = calls_[thread];
    if (list.size() == list.capacity()) {
      std::fprintf(stderr, "recorder: more calls than announced\n");
      std::abort();
    }
    list.push_back({std::move(op), 0, Call<Op>::kPending, thread});
    list.back().begin = clock_.fetch_add(1);
    return list.back();
  }
  void end(Call<Op>& call) { call.end = clock_.fetch_add(1); }

  // All calls in order of their begin. The recorder is empty afterwards.
  History<Op> take() {
    History<Op> all;
    for (auto& list : calls_) {
      all.insert(all.end(), std::make_move_iterator(list.begin()),
                 std::make_move_iterator(list.end()));
      list.clear();
    }
    std::sort(all.begin(), all.end(),
              [](const auto& a, const auto& b) { return a.begin < b.begin; });
    return all;
  }

 private:
  std::vector<std::vector<Call<Op>>> calls_;
  alignas(64) std::atomic<std::uint64_t> clock_{1};
};

// One history for each key: linearizability is local, so each can be judged alone.
template <class Op>
std::vector<History<Op>> split_by_key(const History<Op>& history) {
  std::map<decltype(Op{}.key), History<Op>> by_key;
  for (const auto& call : history) by_key[call.op.key].push_back(call);
  std::vector<History<Op>> result;
  for (auto& [key, part] : by_key) result.push_back(std::move(part));
  return result;
}

// How much the calls really overlapped: a concurrency test whose calls come one after the other
// tests nothing.
struct Overlap {
  std::uint64_t calls = 0;
  std::uint64_t overlapping = 0;  // with a call of another thread on the same key

  double ratio() const {
    return calls == 0 ? 0 : static_cast<double>(overlapping) / static_cast<double>(calls);
  }
  Overlap& operator+=(const Overlap& other) {
    calls += other.calls;
    overlapping += other.overlapping;
    return *this;
  }
};

// Of calls on one key (or of all calls, if the keys don't matter), in order of their begin.
template <class Op>
Overlap measure_overlap(const History<Op>& history) {
  std::vector<bool> overlaps(history.size(), false);
  for (std::size_t i = 0; i < history.size(); ++i) {
    for (std::size_t j = i + 1; j < history.size() && history[j].begin < history[i].end; ++j) {
      if (history[i].thread != history[j].thread) overlaps[i] = overlaps[j] = true;
    }
  }
  return {history.size(),
          static_cast<std::uint64_t>(std::count(overlaps.begin(), overlaps.end(), true))};
}

}  // namespace tern::concurrency

#endif  // TERN_TESTS_SYNC_HISTORY_H_
