// A reader's find against a writer's replacement and reclamation under the weak memory machine: the table's slots, the
// announcement and the scan together. (The epochs alone, and the orders of announce and scan: tests/sync.)
#include <gtest/gtest.h>

#include <string>

#include "tests/engine/schedules/exploring.h"
#include "tests/sync/weak_memory.h"

namespace tern::concurrency {
namespace {

template <Mutant M>
struct Recycled {
  Recycled() : rig(2) {
    KeyFinder finder;
    key = finder.in_bucket(5);
    rig.set(rig.own_index(), key, "0");
    rig.core().space.epoch.set_limits(1 << 16, 16);
    rig.freeze();
  }
  // The second call is the one: its announcement may still be on its way when it looks at the slot.
  Threads threads() {
    return {[&] {
              rig.copy(0, key);
              rig.copy(0, key);
            },
            [&] {
              rig.set(1, key, "1");
              rig.reclaim(1);
            }};
  }
  Rig<M, WeakSync> rig;
  Key key;
};

template <Mutant M>
Result search(const char* name, unsigned preemptions, std::uint64_t schedules, Strategy strategy) {
  Recycled<M> b;
  Options o;
  o.name = name;
  o.preemptions = preemptions;
  o.stale_reads = 1;
  o.max_schedules = schedules * (is_long() ? 40 : 1);
  o.trace_failure = false;
  o.strategy = strategy;
  const Body body{[&] { b.rig.restore(); }, b.threads(), [&] { return b.rig.check(); }};
  return Explorer(o).explore(body);
}

TEST(WeakMemory, AReaderKeepsItsRecord) {
  const Result all = search<Mutant::kNone>("weak", 1, 30'000, Strategy::kDfs);
  EXPECT_TRUE(all.ok) << all.failure << "\nTERN_SCHEDULE='" << all.schedule << "'";
  const Result some = search<Mutant::kNone>("weak, at random", 0, 20'000, Strategy::kRandom);
  EXPECT_TRUE(some.ok) << some.failure << "\nTERN_SCHEDULE='" << some.schedule << "'";
}

template <Mutant M>
void expect_weak(const char* name) {
  Result r = search<M>(name, 2, 100'000, Strategy::kDfs);
  if (r.ok) r = search<M>(name, 0, 200'000, Strategy::kRandom);
  EXPECT_FALSE(r.ok) << name << ": a planted bug was not found in " << r.schedules << " schedules";
}
TEST(WeakMemoryMutants, RelaxedAnnounce) { expect_weak<Mutant::kRelaxedAnnounce>("weak, relaxed announce"); }
TEST(WeakMemoryMutants, ScanRelaxed) { expect_weak<Mutant::kScanRelaxed>("weak, relaxed scan"); }
TEST(WeakMemoryMutants, RelaxedSlotLoad) { expect_weak<Mutant::kRelaxedSlotLoad>("weak, relaxed slot load"); }

}  // namespace
}  // namespace tern::concurrency
