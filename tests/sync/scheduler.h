// A deterministic scheduler: runs the threads of a test one step at a time and decides who takes
// the next.
//
// A test body is `setup`, two to eight thread functions, and `check`. The explorer runs the body
// again and again, each time under another schedule. Threads are fibers on the calling thread's own
// system thread, so an execution is a pure function of the decisions taken, and a failure is
// reproduced from one string.
//
//   step          one operation of a policy's atomic (SchedSync, WeakSync), one named point, or one
//   hook for plain
//                 data; before each the scheduler may give the processor to another thread
//   decision      which thread runs next; which of several messages a weakly ordered load returns;
//                 who stops for ever
//   preemption    the scheduler takes a thread off that could have gone on (what a bound counts)
//   schedule      all decisions of one execution, written as a string: "2x5,0x12,v1,2x1,f0,..." =
//                 thread 2 takes five steps, thread 0 twelve, a load returns the second newest
//                 message, ...
//
// Strategies
//   kDfs      every schedule with at most `preemptions` preemptions, fewest first, by re-execution
//   (CHESS).
//             A step at an address that only one thread ever touches is no decision: it commutes
//             with everything else. The set of shared addresses is learnt, and the search starts
//             over when it grows.
//   kPct      probabilistic concurrency testing: random priorities and `pct_depth` - 1 random
//   drops. Finds
//             a bug of depth d among n threads and k steps with probability >= 1/(n k^(d-1)) a run.
//   kRandom   each step of a random thread.
//
// Progress: `freeze` stops threads for ever at every (kDfs) or a random (others) step. kAllButOne
// leaves one thread, which must end within `solo_steps`: obstruction freedom, what "a thread
// stopped at the worst instant" costs the others. kOne stops one, the rest must end within
// `step_limit`. `parks` stops a thread at a named point instead. Lock freedom proper (some thread
// always ends under any schedule) is the step limit's part: an execution that doesn't end is
// reported as a livelock with its last events.
//
// What it can't see: plain memory accesses between two steps are one indivisible block. Put a point
// or the hooks plain_read / plain_write where a thread must be interruptible between two of them.
//
// A frozen or failed thread is abandoned, its destructors don't run: let bodies own memory outside
// of the threads. Bodies must be deterministic: no time, no random numbers of their own, no
// addresses from malloc inside atomics' keys that differ between runs (prefer static storage). What
// the explorer notices of this it reports.
//
// Reproducing: TERN_SCHEDULE='name:2x5,...' in the environment (or Options::replay) runs just this
// schedule in the exploration of that name, and prints every step.
//
// Sources: Musuvathi, Qadeer, "Iterative context bounding" (PLDI 2007); Burckhardt et al., "A
// randomized scheduler with probabilistic guarantees of finding bugs" (ASPLOS 2010).
#ifndef TERN_TESTS_SYNC_SCHEDULER_H_
#define TERN_TESTS_SYNC_SCHEDULER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace tern::concurrency {

enum class Strategy : std::uint8_t { kDfs, kPct, kRandom };
enum class Freeze : std::uint8_t { kNone, kAllButOne, kOne };

inline constexpr int kThreadsMax = 8;
inline constexpr int kAnyThread = -1;

// Stops `thread` for ever when it comes to `point` for the `occurrence`-th time (counted for each
// thread).
struct ParkRule {
  int thread = kAnyThread;
  std::string point;
  unsigned occurrence = 1;
};

struct Options {
  std::string name = "exploration";  // in reports and in TERN_SCHEDULE; unique in a test program
  Strategy strategy = Strategy::kDfs;
  unsigned preemptions = 2;  // kDfs: bound
  std::uint64_t max_schedules = 1'000'000;
  std::uint64_t seed = 1;             // kPct, kRandom
  std::uint64_t step_limit = 20'000;  // of one schedule; reaching it is a failure
  unsigned pct_depth = 3;
  unsigned stale_reads =
      64;  // kDfs: how often in a schedule a load may return an old message (WeakSync)
  bool points_only = false;  // a thread is interrupted at named points alone: what is far apart is then within a small bound
  bool weak_cas_fails = false;        // compare_exchange_weak may fail for no reason
  bool shared_addresses_only = true;  // kDfs: the reduction described above
  Freeze freeze = Freeze::kNone;
  std::uint64_t solo_steps = 2'000;  // kAllButOne: bound for the thread that is left
  std::vector<ParkRule> parks;
  std::string replay;                    // run only this schedule, printing its steps
  bool quiet = false;                    // print neither the summary nor a failure
  bool trace_failure = true;             // print the last events of a failing schedule
  std::size_t stack_bytes = 256 * 1024;  // of each fiber
};

struct Body {
  std::function<void()> setup;  // before each schedule, outside of the scheduler; may be empty
  std::vector<std::function<void()>> threads;
  std::function<std::string()> check;  // after each schedule: what is wrong, or empty; may be empty
};

struct Result {
  bool ok = true;
  bool complete = false;  // kDfs: every schedule within the bound was run
  std::string failure;    // what went wrong
  std::string schedule;   // "name:..." reproduces it
  std::uint64_t schedules =
      0;  // executed, repetitions by the rising bound and by restarts included
  std::uint64_t steps = 0;
  std::uint64_t steps_max = 0;  // of one schedule
  std::uint64_t frozen = 0;     // schedules in which a thread was stopped for ever
  std::uint64_t restarts = 0;   // kDfs: times the set of shared addresses grew
  unsigned preemptions = 0;     // kDfs: of the bound under way at the end or at the failure
  double seconds = 0;

  std::string summary() const;
};

class Explorer {
 public:
  explicit Explorer(Options options) : options_(std::move(options)) {}

  Result explore(const Body& body) const;
  Result explore(std::function<void()> setup, std::vector<std::function<void()>> threads,
                 std::function<std::string()> check) const {
    return explore(Body{std::move(setup), std::move(threads), std::move(check)});
  }

 private:
  Options options_;
};

// --- for thread functions, checks and policies
// -------------------------------------------------------------

// What a step is about to do; for reports and for the race detector.
enum class Op : std::uint8_t {
  kLoad,
  kStore,
  kExchange,
  kCas,
  kCasFailed,
  kAdd,
  kSub,
  kAnd,
  kOr,
  kXor,
  kPoint,
  kYield,
  kPlainRead,
  kPlainWrite,
  kStart,
  kFreeze,
  kNote
};

class Scheduler;
// The scheduler of the exploration that the calling system thread is in while a schedule's threads
// run, else null.
extern constinit thread_local Scheduler* t_scheduler;

// A step that may switch threads; nothing outside of an exploration.
void step(const void* address) noexcept;
// After the operation: notes what it was and the value, for the report of a failure.
void record_event(Op op, const void* address, std::uint64_t value, std::uint8_t order) noexcept;
// A named step; also where Options::parks apply.
void named_point(const char* name) noexcept;
// Gives way: the others go first, without counting as a preemption. For loops that wait.
void yield() noexcept;
// A decision among `count` possibilities; 0 is the unsurprising one. 0 outside of an exploration.
unsigned choose(unsigned count) noexcept;
bool weak_cas_may_fail() noexcept;
// Ends the schedule as a failure. From a thread: never returns. From check or setup: recorded.
void fail(std::string_view what);
inline void require(bool holds, std::string_view what) {
  if (!holds) fail(what);
}
// The running thread's index; -1 in setup, in check, and outside.
int current_thread() noexcept;
int thread_count() noexcept;
// In check: the threads (bits) that were stopped for ever, so didn't finish.
unsigned frozen_threads() noexcept;
// A number for the execution under way: another one for each schedule, never 0 inside one.
std::uint64_t schedule_number() noexcept;

}  // namespace tern::concurrency

#endif  // TERN_TESTS_SYNC_SCHEDULER_H_
