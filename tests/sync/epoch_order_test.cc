// The engine's own epochs (engine/epoch.h) under the weak memory machine: announce, scan and free
// around one slot. As they are they never free what a reader holds; with each planted order or rule
// they do.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <new>
#include <string>

#include "engine/epoch.h"
#include "tests/sync/scheduler.h"
#include "tests/sync/weak_memory.h"

namespace tern::concurrency {
namespace {

using tern::detail::Mutant;
using tern::detail::planted;

// The least that Epoch asks of a store: three threads, four records of eight plain bytes, one slot.
template <class Sync>
class OneSlotStore {
 public:
  struct Thread {
    tern::detail::EpochThread<Sync> epoch;
    std::uint64_t work;
  };

  void reset() {
    for (Thread& t : threads_) {
      std::memset(static_cast<void*>(&t), 0, sizeof t);  // threads are zero at birth
    }
    epoch_.emplace();
    epoch_.get().set_limits(1000, 1600);  // bags of 100 bytes
    slot_.store(0);
    for (auto& r : record_) r = 1;
    freed_ = 0;
  }
  std::uint64_t freed() const { return freed_; }

  void read(int thread, bool nested) {
    Thread& t = threads_[thread];
    epoch_.get().enter(t.epoch);
    if (nested) {
      epoch_.get().enter(t.epoch);
      epoch_.get().leave(t.epoch);
    }
    constexpr auto order = planted<Sync>(Mutant::kRelaxedSlotLoad) ? std::memory_order_acquire
                                                                   : std::memory_order_seq_cst;
    const std::uint64_t r = slot_.load(order);
    require(checked_read(record_[r]) != kPoison, "use after free");
    epoch_.get().leave(t.epoch);
  }
  void replace(int thread, std::uint64_t by) {
    Thread& t = threads_[thread];
    epoch_.get().enter(t.epoch);
    const std::uint64_t old = slot_.exchange(by);
    epoch_.get().retire(*this, t, old, sizeof record_[0]);
    epoch_.get().leave(t.epoch);
    epoch_.get().reclaim(*this, t);
  }

  // Called by Epoch.
  void reclaim_soon(std::uint64_t) {}
  void reclaim(Thread&, std::uint64_t record) {
    checked_write(record_[record], kPoison);
    ++freed_;
  }
  tern::detail::BagRing<Sync>* new_ring() { return nullptr; }
  template <class F>
  void for_each_thread(F&& f) {
    for (Thread& t : threads_) f(t.epoch);
  }

 private:
  static constexpr std::uint64_t kPoison = 99;

  // An Epoch that can be made anew at the same address.
  class Slot {
   public:
    void emplace() { new (memory_) tern::detail::Epoch<Sync>(); }
    tern::detail::Epoch<Sync>& get() {
      return *std::launder(reinterpret_cast<tern::detail::Epoch<Sync>*>(memory_));
    }

   private:
    alignas(tern::detail::Epoch<Sync>) unsigned char memory_[sizeof(tern::detail::Epoch<Sync>)];
  };

  Thread threads_[3];
  Slot epoch_;
  typename Sync::template Atomic<std::uint64_t> slot_{0};
  std::uint64_t record_[4] = {};
  std::uint64_t freed_ = 0;
};

template <Mutant M>
Result explore(const char* name, bool nested, unsigned preemptions, std::uint64_t& freed) {
  static OneSlotStore<WeakSync<M>> store;
  freed = 0;
  Options options;
  options.name = name;
  options.preemptions = preemptions;
  options.stale_reads = 2;
  options.trace_failure = false;
  return Explorer(options).explore([] { store.reset(); },
                                   {[nested] {
                                      store.read(0, nested);
                                      store.read(0, false);
                                    },
                                    [] { store.replace(1, 1); }},
                                   [&freed]() -> std::string {
                                     freed += store.freed();
                                     return {};
                                   });
}

TEST(EpochOrder, NothingIsFreedUnderAReader) {
  for (bool nested : {false, true}) {
    std::uint64_t freed = 0;
    const Result r = explore<Mutant::kNone>("engine epoch", nested, 3, freed);
    EXPECT_TRUE(r.ok) << r.failure << " " << r.schedule;
    EXPECT_TRUE(r.complete);
    EXPECT_GT(freed, 0u);  // a test in which nothing is ever freed proves nothing
  }
}

template <Mutant M>
void expect_caught(const char* name, bool nested = false) {
  std::uint64_t freed = 0;
  EXPECT_FALSE(explore<M>(name, nested, 3, freed).ok) << name;
}

TEST(EpochOrder, EachPlantedBugIsFound) {
  expect_caught<Mutant::kRelaxedAnnounce>("engine epoch, relaxed announce");
  expect_caught<Mutant::kRelaxedSlotLoad>("engine epoch, acquire slot load");
  expect_caught<Mutant::kScanRelaxed>("engine epoch, relaxed scan");
  expect_caught<Mutant::kFreeAtEqualEpoch>("engine epoch, free at the equal epoch");
  expect_caught<Mutant::kLeaveNestedGuard>("engine epoch, nested guard", true);
}

}  // namespace
}  // namespace tern::concurrency
