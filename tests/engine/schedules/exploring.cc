#include "tests/engine/schedules/exploring.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <string>

namespace tern::concurrency {

bool is_long() { return std::getenv("TERN_TEST_LONG") != nullptr; }

Options options_for(const std::string& name, const Bounds& bounds) {
  Options o;
  o.name = name;
  o.preemptions = bounds.preemptions + (is_long() ? 1 : 0);
  o.max_schedules = bounds.schedules * (is_long() ? 40 : 1);
  o.freeze = bounds.freeze;
  o.trace_failure = false;
  return o;
}

void expect_body_holds(const std::string& name, const Body& body, const Bounds& bounds) {
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

Result expect_body_fails(const std::string& name, const Body& body, const Bounds& bounds) {
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

}  // namespace tern::concurrency
