// How the schedule tests explore: bounds, how long, and what is expected of the code as it is and
// of a planted bug.
#ifndef TERN_TESTS_ENGINE_SCHEDULES_EXPLORING_H_
#define TERN_TESTS_ENGINE_SCHEDULES_EXPLORING_H_

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "tests/engine/schedules/rig.h"

namespace tern::concurrency {

// TERN_TEST_LONG in the environment: the bounds of the night.
bool is_long();

struct Bounds {
  unsigned preemptions = 3;
  std::uint64_t schedules = 150'000;
  std::uint64_t random = 5'000;  // more of them by PCT
  Freeze freeze = Freeze::kNone;
};

Options options_for(const std::string& name, const Bounds& bounds);

using Threads = std::vector<std::function<void()>>;

template <class R>
Body body_of(R& rig, const Threads& threads) {
  return {[&rig] { rig.restore(); }, threads,
          [&rig] { return frozen_threads() == 0 ? rig.check() : rig.check_stopped(); }};
}

// The code as it is: no schedule within the bound, and none of the random ones, goes wrong.
void expect_body_holds(const std::string& name, const Body& body, const Bounds& bounds = {});
template <class R>
void expect_holds(const std::string& name, R& rig, const Threads& threads,
                  const Bounds& bounds = {}) {
  expect_body_holds(name, body_of(rig, threads), bounds);
}

// The planted bug is found, depth first or at random.
Result expect_body_fails(const std::string& name, const Body& body, const Bounds& bounds = {});
template <class R>
Result expect_found(const std::string& name, R& rig, const Threads& threads,
                    const Bounds& bounds = {}) {
  return expect_body_fails(name, body_of(rig, threads), bounds);
}

}  // namespace tern::concurrency

#endif  // TERN_TESTS_ENGINE_SCHEDULES_EXPLORING_H_
