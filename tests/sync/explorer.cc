#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "tests/sync/execution.h"
#include "tests/sync/schedule_text.h"
#include "tests/sync/scheduler.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TERN_SCHEDULER_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define TERN_SCHEDULER_SANITIZED 1
#endif
#endif
#ifdef TERN_SCHEDULER_SANITIZED
#include <sanitizer/common_interface_defs.h>
#endif

namespace tern::concurrency {

// --- what to print when the process dies inside a schedule
// ---------------------------------------------------

namespace {

void write_all(const char* text, std::size_t size) {
  while (size > 0) {
    const ssize_t n = write(STDERR_FILENO, text, size);
    if (n <= 0) return;
    text += n;
    size -= static_cast<std::size_t>(n);
  }
}

// Async-signal-safe as far as it matters: no allocation, a static buffer, write().
void print_schedule_of_crash() {
  Scheduler* scheduler = t_exploration;
  if (scheduler == nullptr) return;
  static char buffer[1 << 16];
  const char head[] = "\n[tern] crashed in this schedule; reproduce with\n  TERN_SCHEDULE='";
  write_all(head, sizeof head - 1);
  const std::string& name = scheduler->options().name;
  write_all(name.data(), name.size());
  write_all(":", 1);
  write_all(buffer, format_schedule(scheduler->trace(), buffer, sizeof buffer));
  write_all("'\n", 2);
}

class CrashReport {
 public:
  CrashReport() {
#ifdef TERN_SCHEDULER_SANITIZED
    // The sanitizers own the fatal signals; they call back before they exit.
    __sanitizer_set_death_callback(&print_schedule_of_crash);
    install(0, SIGABRT);
#else
    stack_t stack = {};
    stack.ss_sp = stack_memory_.data();
    stack.ss_size = stack_memory_.size();
    sigaltstack(&stack, &old_stack_);
    constexpr int kSignals[kCount] = {SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGFPE};
    for (int i = 0; i < kCount; ++i) install(i, kSignals[i]);
#endif
  }
  ~CrashReport() {
    for (int i = 0; i < kCount; ++i) {
      if (signals_[i] != 0) sigaction(signals_[i], &old_[i], nullptr);
    }
#ifndef TERN_SCHEDULER_SANITIZED
    sigaltstack(&old_stack_, nullptr);
#endif
  }
  CrashReport(const CrashReport&) = delete;
  CrashReport& operator=(const CrashReport&) = delete;

 private:
  static constexpr int kCount = 5;

  void install(int slot, int signal_number) {
    struct sigaction action = {};
    action.sa_handler = [](int number) {
      print_schedule_of_crash();
      signal(number, SIG_DFL);
      raise(number);
    };
    action.sa_flags = SA_ONSTACK | SA_NODEFER;
    sigaction(signal_number, &action, &old_[slot]);
    signals_[slot] = signal_number;
  }

  int signals_[kCount] = {};
  struct sigaction old_[kCount] = {};
  stack_t old_stack_ = {};
  std::vector<char> stack_memory_ = std::vector<char>(64 * 1024);
};

// The part of TERN_SCHEDULE (or Options::replay) that is meant for this exploration.
std::string wanted_schedule(const Options& options) {
  std::string text = options.replay;
  if (text.empty()) {
    if (const char* env = std::getenv("TERN_SCHEDULE")) text = env;
    if (text.rfind(options.name + ":", 0) != 0) return {};
  }
  if (const auto colon = text.rfind(':'); colon != std::string::npos) text.erase(0, colon + 1);
  return text;
}

}  // namespace

// --- the search
// ---------------------------------------------------------------------------------------------

Result Explorer::explore(const Body& body) const {
  using Mode = Scheduler::Mode;
  Result result;
  Scheduler scheduler(options_, body);
  Scheduler* const outer = std::exchange(t_exploration, &scheduler);
  if (outer != nullptr) {
    std::fprintf(stderr, "exploration '%s' inside another\n", options_.name.c_str());
    std::abort();
  }
  const auto start = std::chrono::steady_clock::now();
  {
    CrashReport crash_report;
    auto run = [&](Mode mode, std::uint64_t seed) {
      const std::string& wrong = scheduler.run(mode, seed);
      ++result.schedules;
      result.steps += scheduler.steps();
      result.steps_max = std::max(result.steps_max, scheduler.steps());
      if (scheduler.frozen() != 0) ++result.frozen;
      if (wrong.empty()) return true;
      result.ok = false;
      result.failure = wrong;
      result.schedule = options_.name + ":" + format_schedule(scheduler.trace());
      return false;
    };
    auto search_depth_first = [&] {
      for (unsigned bound = 0; bound <= options_.preemptions; ++bound) {
        scheduler.set_bound(bound);
        result.preemptions = bound;
        for (bool more = true; more;) {
          if (result.schedules >= options_.max_schedules) return;
          if (!run(Mode::kDfs, 0)) return;
          if (scheduler.take_shared_grew()) {
            // Prefixes explored so far skipped decisions at the address that turned out to be
            // shared.
            scheduler.restart_search();
            ++result.restarts;
          } else {
            more = scheduler.next_path();
          }
        }
      }
      result.complete = true;
    };

    const std::string wanted = wanted_schedule(options_);
    if (!wanted.empty()) {
      std::fprintf(stderr, "[tern] %s: one schedule, %s\n", options_.name.c_str(), wanted.c_str());
      scheduler.set_script(parse_schedule(wanted));
      scheduler.set_verbose(!options_.quiet);
      run(Mode::kScript, 0);
    } else if (options_.strategy == Strategy::kDfs) {
      search_depth_first();
    } else {
      const Mode mode = options_.strategy == Strategy::kPct ? Mode::kPct : Mode::kRandom;
      Random seeds(options_.seed);
      // The schedule without preemption first: it measures the length that the random ones draw
      // from.
      bool ok = run(Mode::kScript, 0);
      while (ok && result.schedules < options_.max_schedules) ok = run(mode, seeds.next());
    }
  }
  t_exploration = nullptr;
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (!options_.quiet) {
    if (!result.ok) {
      std::fprintf(stderr, "[tern] %s FAILED: %s\n  reproduce with TERN_SCHEDULE='%s'\n",
                   options_.name.c_str(), result.failure.c_str(), result.schedule.c_str());
      if (options_.trace_failure) {
        std::fprintf(stderr, "  last events:\n");
        scheduler.print_last_events(60);
      }
    }
    std::printf("[tern] %s: %s\n", options_.name.c_str(), result.summary().c_str());
    std::fflush(stdout);
  }
  return result;
}

std::string Result::summary() const {
  char text[256];
  std::snprintf(
      text, sizeof text,
      "%s, %llu schedules%s, %llu steps (longest %llu), %llu with a stopped thread, %.2f s, "
      "%.1f M steps/s",
      ok ? "no error" : "FAILED", static_cast<unsigned long long>(schedules),
      complete ? (" (all to bound " + std::to_string(preemptions) + ")").c_str() : "",
      static_cast<unsigned long long>(steps), static_cast<unsigned long long>(steps_max),
      static_cast<unsigned long long>(frozen), seconds,
      seconds > 0 ? static_cast<double>(steps) / seconds / 1e6 : 0.0);
  return text;
}

}  // namespace tern::concurrency
