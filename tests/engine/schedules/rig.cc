#include "tests/engine/schedules/rig.h"

#include <algorithm>
#include <cstdio>
#include <string>

#include "tests/engine/schedules/rig-inl.h"

namespace tern::concurrency {

template class RigOf<OneEngineSync>;

Result explore(Options options, const Body& body) {
  WrittenAddresses& written = WrittenAddresses::instance();
  written.clear();
  const std::string name = options.name;
  const unsigned bound = options.preemptions;
  std::uint64_t schedules = 0;
  {
    Options random = options;
    random.name = name + ".learn";
    random.strategy = Strategy::kRandom;
    random.max_schedules = std::min<std::uint64_t>(300, options.max_schedules);
    random.quiet = true;
    const Result r = Explorer(random).explore(body);
    if (!r.ok) return r;
    written.merge();
    schedules += r.schedules;
    if (options.strategy == Strategy::kDfs) options.preemptions = std::min(bound, 1u);
  }
  for (int round = 1;; ++round) {
    options.name = name + (round == 1 ? "" : "." + std::to_string(round));
    Options quiet = options;
    quiet.quiet = true;
    quiet.max_schedules = options.max_schedules - std::min(schedules, options.max_schedules - 1);
    Result r = Explorer(quiet).explore(body);
    schedules += r.schedules;
    const bool learnt = written.merge() && options.strategy == Strategy::kDfs;
    const bool deeper = options.strategy == Strategy::kDfs && options.preemptions < bound;
    if (!r.ok || schedules >= options.max_schedules || (!learnt && !deeper)) {
      r.schedules = schedules;
      if (!options.quiet) {
        std::printf("[tern] %s: %s%s%s\n", name.c_str(), r.summary().c_str(), r.ok ? "" : ": ",
                    r.ok ? "" : r.failure.substr(0, r.failure.find('\n')).c_str());
        std::fflush(stdout);
      }
      return r;
    }
    if (!learnt) ++options.preemptions;
  }
}

}  // namespace tern::concurrency
