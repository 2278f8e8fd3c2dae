// How the schedule tests explore: bounds, how long, and what is expected of the code as it is and
// of a planted bug.
#ifndef TERN_TESTS_ENGINE_SCHEDULES_EXPLORING_H_
#define TERN_TESTS_ENGINE_SCHEDULES_EXPLORING_H_

#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "tests/engine/schedules/rig.h"

namespace tern::concurrency {

// TERN_TEST_LONG in the environment: the bounds of the night.
inline bool is_long() { return std::getenv("TERN_TEST_LONG") != nullptr; }

struct Bounds {
  unsigned preemptions = 3;
  std::uint64_t schedules = 150'000;
  std::uint64_t random = 5'000;  // more of them by PCT
  Freeze freeze = Freeze::kNone;
};

inline Options options_for(const std::string& name, const Bounds& bounds) {
  Options o;
  o.name = name;
  o.preemptions = bounds.preemptions + (is_long() ? 1 : 0);
  o.max_schedules = bounds.schedules * (is_long() ? 40 : 1);
  o.freeze = bounds.freeze;
  o.trace_failure = false;
  return o;
}

using Threads = std::vector<std::function<void()>>;

template <class R>
Body body_of(R& rig, const Threads& threads) {
  return {[&rig] { rig.restore(); }, threads,
          [&rig] { return frozen_threads() == 0 ? rig.check() : rig.check_stopped(); }};
}

// The code as it is: no schedule within the bound, and none of the random ones, goes wrong.
inline void expect_body_holds(const std::string& name, const Body& body, const Bounds& bounds = {}) {
  const Result all = explore(options_for(name, bounds), body);
  EXPECT_TRUE(all.ok) << all.failure << "\nTERN_SCHEDULE='" << all.schedule << "'";
  if (!all.ok || bounds.random == 0) return;
  Options pct = options_for(name + ", at random", bounds);
  pct.strategy = Strategy::kPct;
  pct.pct_depth = 5;
  pct.max_schedules = bounds.random * (is_long() ? 100 : 1);
  const Result some = explore(pct, body);
  EXPECT_TRUE(some.ok) << some.failure << "\nTERN_SCHEDULE='" << some.schedule << "'";
}
template <class R>
void expect_holds(const std::string& name, R& rig, const Threads& threads,
                  const Bounds& bounds = {}) {
  expect_body_holds(name, body_of(rig, threads), bounds);
}

// The planted bug is found, depth first or at random.
inline Result expect_body_fails(const std::string& name, const Body& body,
                                const Bounds& bounds = {}) {
  Options o = options_for(name, bounds);
  Result r = explore(o, body);
  if (r.ok) {
    o.name = name + ", at random";
    o.strategy = Strategy::kPct;
    o.pct_depth = 5;
    o.max_schedules = bounds.schedules;
    r = explore(o, body);
  }
  EXPECT_FALSE(r.ok) << name << ": a planted bug was not found in " << r.schedules << " schedules";
  if (!r.ok) {
    std::printf("[tern] %s: found after %llu schedules: %s\n", name.c_str(),
                static_cast<unsigned long long>(r.schedules),
                r.failure.substr(0, r.failure.find('\n')).c_str());
  }
  return r;
}
template <class R>
Result expect_found(const std::string& name, R& rig, const Threads& threads,
                    const Bounds& bounds = {}) {
  return expect_body_fails(name, body_of(rig, threads), bounds);
}

}  // namespace tern::concurrency

#endif  // TERN_TESTS_ENGINE_SCHEDULES_EXPLORING_H_
