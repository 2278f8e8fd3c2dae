// Is there an order of the calls, consistent with real time, in which a sequential object gives the
// same answers?
//
// The algorithm of Wing and Gong with Lowe's memoisation: walk the calls and returns in time order;
// linearize any call that the sequential object accepts now; at a return whose call isn't
// linearized yet, go back. A set of linearized calls together with the state that they led to is
// tried once. Calls that never returned may be linearized at any time after they began, or never.
// Exponential in the worst case, hence a step cap: kAborted is no verdict, count it and report it.
//
// The sequential object is a `Spec`:
//   struct Op;  struct State;                      State: copyable, ==
//   static State initial();
//   static bool apply(State&, const Op&, bool pending)   may the operation answer so in this state?
//   if so, the state after.
//                                                  pending: there is no answer, only the effect
//                                                  (always possible)
//   static std::uint64_t hash(const State&);
//   static std::string describe(const Op&);
//
// Sources: Wing, Gong, "Testing and verifying concurrent objects" (1993); Lowe, "Testing for
// linearizability" (2017).
#ifndef TERN_TESTS_SYNC_LINEARIZABILITY_H_
#define TERN_TESTS_SYNC_LINEARIZABILITY_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "tests/sync/history.h"

namespace tern::concurrency {

enum class Verdict : std::uint8_t { kLinearizable, kIllegal, kAborted };

template <class Spec>
class LinearizabilityChecker {
 public:
  using Op = typename Spec::Op;
  using State = typename Spec::State;

  explicit LinearizabilityChecker(std::uint64_t steps_max = 2'000'000) : steps_max_(steps_max) {}

  // `history` in order of begin. May be called any number of times; buffers are kept.
  Verdict check(const History<Op>& history, State state = Spec::initial()) {
    prepare(history);
    if (unlinearized_returns_ == 0) return Verdict::kLinearizable;
    steps_ = 0;
    std::size_t at = next_[kHead];
    for (;;) {
      if (++steps_ > steps_max_) return Verdict::kAborted;
      if (at != kNone && !events_[at].is_return) {
        const std::size_t call = events_[at].call;
        State after = state;
        if (Spec::apply(after, history[call].op, history[call].pending()) &&
            try_once(call, after)) {
          stack_.push_back({at, std::move(state)});
          state = std::move(after);
          take_out(at);
          if (unlinearized_returns_ == 0) return Verdict::kLinearizable;
          at = next_[kHead];
        } else {
          at = next_[at];
        }
        continue;
      }
      // A return whose call comes too late: undo the last decision.
      if (stack_.size() > best_.size()) remember_best();
      if (stack_.empty()) return Verdict::kIllegal;
      state = std::move(stack_.back().before);
      const std::size_t undone = stack_.back().event;
      stack_.pop_back();
      put_back(undone);
      at = next_[undone];
    }
  }

  std::uint64_t steps() const { return steps_; }

  // After kIllegal: the calls, and the longest order that went well.
  std::string explain(const History<Op>& history) const {
    std::string text = "calls (thread: begin to end):\n";
    for (const auto& call : history) {
      text += "  " + std::to_string(call.thread) + ": " + std::to_string(call.begin) + " to " +
              (call.pending() ? std::string("?") : std::to_string(call.end)) + "  " +
              Spec::describe(call.op) + "\n";
    }
    text += "longest order that a sequential object accepts:\n";
    for (std::size_t call : best_) text += "  " + Spec::describe(history[call].op) + "\n";
    return text;
  }

 private:
  static constexpr std::size_t kHead = 0;  // of the linked list of events
  static constexpr std::size_t kNone = 0;  // the list is circular: behind the last comes the head

  struct Event {
    std::uint64_t time;
    std::size_t call;
    bool is_return;
  };
  struct Decision {
    std::size_t event;
    State before;
  };

  void prepare(const History<Op>& history) {
    events_.assign(1, Event{0, 0, false});
    unlinearized_returns_ = 0;
    for (std::size_t i = 0; i < history.size(); ++i) {
      events_.push_back({history[i].begin, i, false});
      if (!history[i].pending()) {
        events_.push_back({history[i].end, i, true});
        ++unlinearized_returns_;
      }
    }
    std::sort(events_.begin() + 1, events_.end(),
              [](const Event& a, const Event& b) { return a.time < b.time; });
    const std::size_t count = events_.size();
    next_.resize(count);
    previous_.resize(count);
    return_of_.assign(history.size(), kNone);
    for (std::size_t i = 0; i < count; ++i) {
      next_[i] = i + 1 == count ? kHead : i + 1;
      previous_[i] = i == 0 ? count - 1 : i - 1;
      if (i != kHead && events_[i].is_return) return_of_[events_[i].call] = i;
    }
    words_ = (history.size() + 63) / 64;
    linearized_.assign(words_, 0);
    stack_.clear();
    best_.clear();
    seen_states_.clear();
    seen_sets_.clear();
    seen_hashes_.clear();
    table_.assign(64, 0);
  }

  void unlink(std::size_t e) {
    next_[previous_[e]] = next_[e];
    previous_[next_[e]] = previous_[e];
  }
  void relink(std::size_t e) {
    next_[previous_[e]] = e;
    previous_[next_[e]] = e;
  }
  void take_out(std::size_t e) {
    const std::size_t call = events_[e].call;
    linearized_[call / 64] |= std::uint64_t{1} << (call % 64);
    unlink(e);
    if (return_of_[call] != kNone) {
      unlink(return_of_[call]);
      --unlinearized_returns_;
    }
  }
  void put_back(
      std::size_t e) {  // in reverse order of take_out, as the links of removed events assume
    const std::size_t call = events_[e].call;
    linearized_[call / 64] &= ~(std::uint64_t{1} << (call % 64));
    if (return_of_[call] != kNone) {
      relink(return_of_[call]);
      ++unlinearized_returns_;
    }
    relink(e);
  }

  // False if the same set of calls has led to the same state before.
  bool try_once(std::size_t call, const State& after) {
    const std::uint64_t bit = std::uint64_t{1} << (call % 64);
    linearized_[call / 64] |= bit;
    const bool fresh = insert(after);
    linearized_[call / 64] &= ~bit;
    return fresh;
  }
  bool insert(const State& state) {
    std::uint64_t hash = Spec::hash(state);
    for (std::uint64_t word : linearized_) {
      hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
      hash ^= hash >> 29;
    }
    for (std::size_t slot = hash & (table_.size() - 1);; slot = (slot + 1) & (table_.size() - 1)) {
      if (table_[slot] == 0) {
        seen_states_.push_back(state);
        seen_sets_.insert(seen_sets_.end(), linearized_.begin(), linearized_.end());
        seen_hashes_.push_back(hash);
        table_[slot] = seen_states_.size();
        if (2 * seen_states_.size() > table_.size()) grow();
        return true;
      }
      const std::size_t entry = table_[slot] - 1;
      if (seen_hashes_[entry] == hash && seen_states_[entry] == state &&
          std::equal(linearized_.begin(), linearized_.end(),
                     seen_sets_.begin() + static_cast<std::ptrdiff_t>(entry * words_))) {
        return false;
      }
    }
  }
  void grow() {
    table_.assign(table_.size() * 2, 0);
    for (std::size_t i = 0; i < seen_hashes_.size(); ++i) {
      std::size_t slot = seen_hashes_[i] & (table_.size() - 1);
      while (table_[slot] != 0) slot = (slot + 1) & (table_.size() - 1);
      table_[slot] = i + 1;
    }
  }

  void remember_best() {
    best_.clear();
    for (const Decision& d : stack_) best_.push_back(events_[d.event].call);
  }

  const std::uint64_t steps_max_;
  std::uint64_t steps_ = 0;
  std::vector<Event> events_;
  std::vector<std::size_t> next_, previous_;
  std::vector<std::size_t> return_of_;
  std::size_t unlinearized_returns_ = 0;
  std::size_t words_ = 0;
  std::vector<std::uint64_t> linearized_;
  std::vector<Decision> stack_;
  std::vector<std::size_t> best_;
  // Tried pairs of (calls, state), with a hash table of indices + 1.
  std::vector<State> seen_states_;
  std::vector<std::uint64_t> seen_sets_;
  std::vector<std::uint64_t> seen_hashes_;
  std::vector<std::size_t> table_;
};

// Judges a history key by key and keeps count.
struct Tally {
  std::uint64_t histories = 0;
  std::uint64_t illegal = 0;
  std::uint64_t aborted = 0;
  Overlap overlap;
  std::string first_illegal;  // explained

  std::string summary() const {
    char text[200];
    std::snprintf(text, sizeof text,
                  "%llu histories, %llu calls, %.1f %% overlapping, %llu illegal, %llu aborted",
                  static_cast<unsigned long long>(histories),
                  static_cast<unsigned long long>(overlap.calls), 100 * overlap.ratio(),
                  static_cast<unsigned long long>(illegal),
                  static_cast<unsigned long long>(aborted));
    return text;
  }
};

template <class Spec>
void check_each_key(LinearizabilityChecker<Spec>& checker,
                    const History<typename Spec::Op>& history, Tally& tally) {
  for (const auto& part : split_by_key(history)) {
    ++tally.histories;
    tally.overlap += measure_overlap(part);
    switch (checker.check(part)) {
      case Verdict::kLinearizable:
        break;
      case Verdict::kAborted:
        ++tally.aborted;
        break;
      case Verdict::kIllegal:
        if (tally.illegal++ == 0) tally.first_illegal = checker.explain(part);
        break;
    }
  }
}

}  // namespace tern::concurrency

#endif  // TERN_TESTS_SYNC_LINEARIZABILITY_H_
