// One execution of a test body under one schedule: the inside of the scheduler. Tests use
// scheduler.h.
#ifndef TERN_TESTS_SYNC_EXECUTION_H_
#define TERN_TESTS_SYNC_EXECUTION_H_

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/sync/fiber.h"
#include "tests/sync/schedule_text.h"
#include "tests/sync/scheduler.h"

namespace tern::concurrency {

extern constinit thread_local Scheduler*
    t_exploration;  // as t_scheduler, but also during setup and check
extern constinit thread_local std::uint64_t
    t_schedules;  // executed by this thread, over all explorations

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {  // splitmix64
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  std::uint64_t below(std::uint64_t bound) { return bound == 0 ? 0 : next() % bound; }

 private:
  std::uint64_t state_;
};

// Which threads have touched an address, over all schedules of an exploration.
class SharedAddresses {
 public:
  SharedAddresses() : entries_(1024) {}

  // True if more than one thread is known to use `address`. Sets `grew` when that becomes known
  // now.
  bool note(const void* address, unsigned thread_bit, bool& grew) {
    Entry& entry = find(address);
    if ((entry.threads & thread_bit) == 0) {
      if (std::has_single_bit(entry.threads)) grew = true;
      entry.threads |= thread_bit;
    }
    return !std::has_single_bit(entry.threads);
  }

 private:
  struct Entry {
    const void* address = nullptr;
    unsigned threads = 0;
  };

  Entry& find(const void* address) {
    std::size_t i = hash(address) & (entries_.size() - 1);
    while (entries_[i].address != address) {
      if (entries_[i].address == nullptr) {
        if (2 * ++used_ > entries_.size()) {
          grow();
          return find(address);
        }
        entries_[i].address = address;
        return entries_[i];
      }
      i = (i + 1) & (entries_.size() - 1);
    }
    return entries_[i];
  }
  void grow() {
    std::vector<Entry> old(entries_.size() * 2);
    old.swap(entries_);
    used_ = 0;
    for (const Entry& e : old) {
      if (e.address != nullptr) find(e.address).threads = e.threads;
    }
  }
  static std::size_t hash(const void* address) {
    auto x = reinterpret_cast<std::uintptr_t>(address);
    return static_cast<std::size_t>((x * 0x9e3779b97f4a7c15u) >> 20);
  }

  std::vector<Entry> entries_;
  std::size_t used_ = 0;
};

struct Event {
  const void* address;
  std::uint64_t value;
  const char* name;
  Op op;
  std::uint8_t order;
  std::int8_t thread;
};

void print_event(const Event& event);

class Scheduler {
 public:
  enum class Mode : std::uint8_t { kScript, kDfs, kPct, kRandom };

  Scheduler(const Options& options, const Body& body)
      : options_(options), body_(body), count_(static_cast<int>(body.threads.size())) {
    if (count_ < 1 || count_ > kThreadsMax) {
      std::fprintf(stderr, "exploration '%s': 1 to %d threads\n", options.name.c_str(),
                   kThreadsMax);
      std::abort();
    }
    main_ = std::make_unique<Fiber>();
    for (int i = 0; i < count_; ++i) {
      fibers_[i] = std::make_unique<Fiber>(options.stack_bytes);
      arguments_[i] = {this, i};
    }
    stale_fibers_ = all();
  }

  // --- one schedule ---

  // Returns what went wrong, or the empty string.
  const std::string& run(Mode mode, std::uint64_t run_seed) {
    mode_ = mode;
    random_ = Random(run_seed);
    failure_.clear();
    trace_.clear();
    events_ = 0;
    steps_ = decisions_ = 0;
    preemptions_ = 0;
    stale_left_ = options_.stale_reads;
    depth_ = script_position_ = 0;
    enabled_ = unstarted_ = all();
    frozen_ = 0;
    solo_ = false;
    freeze_possible_ = options_.freeze != Freeze::kNone;
    freeze_at_ = random_.below(length_ + 1);
    for (auto& count : park_counts_) count.fill(0);
    park_counts_.resize(options_.parks.size());
    current_ = -1;
    number_ = ++t_schedules;
    if (mode == Mode::kPct) draw_priorities();
    if (body_.setup) body_.setup();
    for (int i = 0; i < count_; ++i) {
      if (stale_fibers_ >> i & 1) fibers_[i]->reset(&fiber_main, &arguments_[i]);
    }
    stale_fibers_ = 0;
    t_scheduler = this;
    const int first = pick(false);
    current_ = first;
    Fiber::switch_to(*main_, *fibers_[first]);
    t_scheduler = nullptr;
    current_ = -1;
    stale_fibers_ = enabled_ | frozen_;  // those that didn't come to their end
    length_ = std::max(length_, decisions_);
    if (failure_.empty() && body_.check) {
      std::string wrong = body_.check();
      if (failure_.empty()) failure_ = std::move(wrong);
    }
    return failure_;
  }

  // The next path of the depth-first search; false when there is none.
  bool next_path() {
    while (!path_.empty() && path_.back().index + 1 >= path_.back().count) path_.pop_back();
    if (path_.empty()) return false;
    ++path_.back().index;
    return true;
  }
  void restart_search() { path_.clear(); }
  void set_bound(unsigned preemptions) {
    bound_ = preemptions;
    path_.clear();
  }
  void set_script(std::vector<std::uint8_t> script) { script_ = std::move(script); }
  void set_verbose(bool verbose) { verbose_ = verbose; }
  bool take_shared_grew() { return std::exchange(shared_grew_, false); }

  std::uint64_t steps() const { return steps_; }
  unsigned frozen() const { return frozen_; }
  std::uint64_t number() const { return number_; }
  int current() const { return current_; }
  int count() const { return count_; }
  const std::vector<std::uint8_t>& trace() const { return trace_; }
  const Options& options() const { return options_; }

  void print_last_events(std::uint64_t how_many) const {
    const std::uint64_t held = std::min<std::uint64_t>({events_, kEvents, how_many});
    for (std::uint64_t i = events_ - held; i < events_; ++i) print_event(ring_[i % kEvents]);
  }

  // --- called by the running thread ---

  void on_step(const void* address) {
    count_step();
    const bool starts = (unstarted_ & current_bit()) != 0;
    if (options_.points_only && mode_ != Mode::kScript && address != nullptr && !starts) {
      trace_.push_back(static_cast<std::uint8_t>(current_));
      return;
    }
    if (mode_ == Mode::kDfs) {
      // To be chosen first and to take the first step are one decision, not two.
      const bool first = (unstarted_ & current_bit()) != 0;
      unstarted_ &= ~current_bit();
      const bool shared = address == nullptr || !options_.shared_addresses_only ||
                          shared_.note(address, current_bit(), shared_grew_);
      if (first || !shared) {
        trace_.push_back(static_cast<std::uint8_t>(current_));
        return;
      }
    }
    go_to(pick(false));
  }

  void on_yield() {
    count_step();
    record({nullptr, 0, "gives way", Op::kYield, 9, static_cast<std::int8_t>(current_)});
    go_to(pick(true));
  }

  void on_named_point(const char* name) {
    count_step();
    go_to(pick(false));
    record({nullptr, 0, name, Op::kPoint, 9, static_cast<std::int8_t>(current_)});
    for (std::size_t i = 0; i < options_.parks.size(); ++i) {
      const ParkRule& rule = options_.parks[i];
      if (rule.thread != kAnyThread && rule.thread != current_) continue;
      if (rule.point != name) continue;
      if (++park_counts_[i][static_cast<std::size_t>(current_)] != rule.occurrence) continue;
      if (rule.thread == kAnyThread && park_counts_[i][kThreadsMax]++ != 0) continue;
      record({nullptr, 0, "parked for ever", Op::kFreeze, 9, static_cast<std::int8_t>(current_)});
      stop_current();
    }
  }

  unsigned on_choose(unsigned count) {
    count = std::min(count, kChoicesMax);
    if (count <= 1) return 0;
    unsigned choice = 0;
    switch (mode_) {
      case Mode::kScript:
        if (script_position_ < script_.size() && is_value(script_[script_position_])) {
          choice = std::min(value_of(script_[script_position_++]), count - 1);
        }
        break;
      case Mode::kDfs:
        choice = dfs_choose(stale_left_ == 0 ? 1 : count);
        if (choice != 0) --stale_left_;
        break;
      case Mode::kPct:
      case Mode::kRandom:
        choice = (random_.next() & 1) != 0 ? 0 : static_cast<unsigned>(random_.below(count));
        break;
    }
    trace_.push_back(value_code(choice));
    return choice;
  }

  void record(const Event& event) {
    ring_[events_++ % kEvents] = event;
    if (verbose_) print_event(event);
  }

  void on_fail(std::string_view what) {
    if (failure_.empty()) failure_ = what;
    if (t_scheduler == nullptr) return;  // setup or check: they return by themselves
    end_run();
  }

 private:
  static constexpr std::uint64_t kEvents = 256;
  static constexpr unsigned kChoicesMax = 64;

  struct Node {
    std::uint8_t index;
    std::uint8_t count;
  };
  struct Argument {
    Scheduler* scheduler;
    int thread;
  };

  unsigned all() const { return (1u << count_) - 1; }
  unsigned current_bit() const { return current_ < 0 ? 0 : 1u << current_; }

  static void fiber_main(void* argument) {
    auto [self, thread] = *static_cast<Argument*>(argument);
    for (;;) {  // once for each schedule: a fiber that came to its end is reused as it stands
      self->body_.threads[static_cast<std::size_t>(thread)]();
      self->enabled_ &= ~(1u << thread);
      self->leave_for_next();
    }
  }

  // The current thread is at its end or stopped: run somebody else, or go back to run().
  void leave_for_next() {
    Fiber& from = *fibers_[current_];
    if (enabled_ == 0) {
      Fiber::switch_to(from, *main_);
    } else {
      const int next = pick(false);
      current_ = next;
      Fiber::switch_to(from, *fibers_[next]);
    }
  }

  void stop_current() {
    enabled_ &= ~current_bit();
    frozen_ |= current_bit();
    leave_for_next();
    std::abort();  // a stopped thread never runs again
  }

  void end_run() {
    Fiber::switch_to(*fibers_[current_], *main_);
    std::abort();
  }

  void go_to(int next) {
    if (next == current_) return;
    Fiber& from = *fibers_[current_];
    if (enabled_ & current_bit()) {
      current_ = next;
      Fiber::switch_to(from, *fibers_[next]);
      return;
    }
    current_ = next;
    Fiber::switch_to(from, *fibers_[next]);
    std::abort();  // the thread was frozen by this decision
  }

  void count_step() {
    if (++steps_ > options_.step_limit) {
      failure_ = "no end after " + std::to_string(options_.step_limit) +
                 " steps: livelock, or the step limit is too low";
      end_run();
    }
    if (solo_ && --solo_left_ == 0) {
      failure_ = "thread " + std::to_string(current_) + ", alone, didn't end within " +
                 std::to_string(options_.solo_steps) + " steps: it waits for a stopped thread";
      end_run();
    }
  }

  // Decides who takes the next step. May freeze threads. `yielding`: the current thread wants
  // others first.
  int pick(bool yielding) {
    ++decisions_;
    int next = -1;
    switch (mode_) {
      case Mode::kScript:
        next = pick_script();
        break;
      case Mode::kDfs:
        next = pick_dfs(yielding);
        break;
      case Mode::kPct:
        next = pick_pct(yielding);
        break;
      case Mode::kRandom:
        next = pick_random(yielding);
        break;
    }
    trace_.push_back(static_cast<std::uint8_t>(next));
    return next;
  }

  int lowest_enabled() const { return std::countr_zero(enabled_); }

  int pick_script() {
    while (script_position_ < script_.size()) {
      const std::uint8_t code = script_[script_position_++];
      if (is_freeze(code)) {
        apply_freeze(static_cast<int>(freeze_of(code)));
      } else if (!is_value(code)) {
        if (code < count_ && (enabled_ >> code & 1)) return code;
        break;  // the program has changed since the schedule was written
      }
    }
    return (enabled_ & current_bit()) ? current_ : lowest_enabled();
  }

  int pick_dfs(bool yielding) {
    for (;;) {
      const unsigned others = enabled_ & ~current_bit();
      const bool may_stay = (enabled_ & current_bit()) && (!yielding || others == 0);
      const bool may_switch = others != 0 && (!may_stay || preemptions_ < bound_);
      const unsigned stay = may_stay ? 1u : 0u;
      const unsigned switches = may_switch ? static_cast<unsigned>(std::popcount(others)) : 0u;
      const unsigned freezes = freeze_possible_ && current_ >= 0 && std::popcount(enabled_) >= 2
                                   ? static_cast<unsigned>(std::popcount(enabled_))
                                   : 0u;
      unsigned k = dfs_choose(stay + switches + freezes);
      if (k < stay) return current_;
      k -= stay;
      if (k < switches) {
        if (may_stay) ++preemptions_;
        return nth_bit(others, k);
      }
      apply_freeze(nth_bit(enabled_, k - switches));
      if (enabled_ & current_bit()) return current_;
    }
  }

  int pick_pct(bool yielding) {
    if (yielding && current_ >= 0) priority_[current_] = --priority_lowest_;
    for (std::size_t i = 0; i < drops_.size(); ++i) {
      // The i-th drop goes below all starting priorities, and below the drops before it.
      if (drops_[i] == decisions_ && current_ >= 0) priority_[current_] = -static_cast<int>(i) - 1;
    }
    random_freeze();
    int best = -1;
    for (int i = 0; i < count_; ++i) {
      if ((enabled_ >> i & 1) && (best < 0 || priority_[i] > priority_[best])) best = i;
    }
    return best;
  }

  int pick_random(bool yielding) {
    random_freeze();
    unsigned candidates = enabled_;
    if (yielding && (candidates & ~current_bit())) candidates &= ~current_bit();
    return nth_bit(
        candidates,
        static_cast<unsigned>(random_.below(static_cast<unsigned>(std::popcount(candidates)))));
  }

  void random_freeze() {
    if (!freeze_possible_ || decisions_ < freeze_at_ || std::popcount(enabled_) < 2) return;
    apply_freeze(nth_bit(enabled_, static_cast<unsigned>(random_.below(
                                       static_cast<unsigned>(std::popcount(enabled_))))));
  }

  // kOne: `thread` stops; kAllButOne: all others do.
  void apply_freeze(int thread) {
    const unsigned bit = 1u << thread;
    if (options_.freeze == Freeze::kNone || (enabled_ & bit) == 0) return;
    freeze_possible_ = false;
    const unsigned stopped = options_.freeze == Freeze::kOne ? bit : enabled_ & ~bit;
    frozen_ |= stopped;
    enabled_ &= ~stopped;
    if (options_.freeze == Freeze::kAllButOne) {
      solo_ = true;
      solo_left_ = options_.solo_steps;
    }
    trace_.push_back(freeze_code(static_cast<unsigned>(thread)));
    for (int i = 0; i < count_; ++i) {
      if (stopped >> i & 1) {
        record({nullptr, 0, "stopped for ever", Op::kFreeze, 9, static_cast<std::int8_t>(i)});
      }
    }
  }

  unsigned dfs_choose(unsigned count) {
    if (count <= 1) return 0;
    if (depth_ < path_.size()) {
      const Node node = path_[depth_];
      if (node.count != count) {
        on_fail("the body isn't deterministic: a repeated prefix met another number of choices");
      }
      ++depth_;
      return node.index;
    }
    path_.push_back({0, static_cast<std::uint8_t>(count)});
    ++depth_;
    return 0;
  }

  void draw_priorities() {
    for (int i = 0; i < count_; ++i) priority_[i] = i;
    for (int i = count_ - 1; i > 0; --i) {
      std::swap(priority_[i], priority_[random_.below(static_cast<unsigned>(i) + 1)]);
    }
    drops_.clear();
    for (unsigned i = 1; i < options_.pct_depth; ++i) drops_.push_back(1 + random_.below(length_));
    priority_lowest_ = -static_cast<int>(options_.pct_depth) - 1;
  }

  static int nth_bit(unsigned mask, unsigned n) {
    for (; n > 0; --n) mask &= mask - 1;
    return std::countr_zero(mask);
  }

  const Options& options_;
  const Body& body_;
  const int count_;
  std::unique_ptr<Fiber> main_;
  std::unique_ptr<Fiber> fibers_[kThreadsMax];
  Argument arguments_[kThreadsMax] = {};
  unsigned stale_fibers_ = 0;  // need a fresh start: never run, or abandoned

  // of the schedule under way
  Mode mode_ = Mode::kScript;
  Random random_{0};
  std::string failure_;
  std::vector<std::uint8_t> trace_;
  std::uint64_t number_ = 0;
  std::uint64_t steps_ = 0;
  std::uint64_t decisions_ = 0;
  unsigned preemptions_ = 0;
  unsigned stale_left_ = 0;
  unsigned enabled_ = 0;    // bits: neither at their end nor stopped
  unsigned unstarted_ = 0;  // bits: no step taken yet
  unsigned frozen_ = 0;
  int current_ = -1;
  bool solo_ = false;
  bool freeze_possible_ = false;
  std::uint64_t solo_left_ = 0;
  std::uint64_t freeze_at_ = 0;
  std::vector<std::array<unsigned, kThreadsMax + 1>> park_counts_;
  std::uint64_t events_ = 0;
  Event ring_[kEvents] = {};
  bool verbose_ = false;

  // of the strategies
  std::vector<std::uint8_t> script_;
  std::size_t script_position_ = 0;
  unsigned bound_ = 0;
  std::vector<Node> path_;
  std::size_t depth_ = 0;
  SharedAddresses shared_;
  bool shared_grew_ = false;
  std::uint64_t length_ = 1;  // of the longest schedule so far, in decisions
  int priority_[kThreadsMax] = {};
  int priority_lowest_ = 0;
  std::vector<std::uint64_t> drops_;
};

}  // namespace tern::concurrency

#endif  // TERN_TESTS_SYNC_EXECUTION_H_
