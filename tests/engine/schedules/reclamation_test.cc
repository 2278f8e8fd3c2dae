// Memory that was unlinked comes back while readers stand inside guards, while values are held and
// threads come and go: a reader sees one record as long as its guard lasts, whatever is written
// into blocks that were freed.
//
// The limits are set so that each retired record closes its bag and each bag is freed as soon as it
// may be; freed bytes are scribbled over (engine_sync.h).
#include <gtest/gtest.h>

#include <string>

#include "tests/engine/schedules/exploring.h"

namespace tern::concurrency {
namespace {

template <Mutant M>
struct Recycled {
  explicit Recycled(int threads) : rig(threads) {
    KeyFinder finder;
    key = finder.in_bucket(5);
    other = finder.in_bucket(6);
    const int own = rig.own_index();
    rig.set(own, key, "0");
    rig.core().space.epoch.set_limits(1 << 16, 16);
    rig.freeze();
  }

  void churn(int t) {
    rig.set(t, key, "1");
    rig.reclaim(t);
    rig.set(t, other, "z");  // into the block just freed, if it was
  }
  void hold_and_read(int t) {
    std::uint64_t offset = 0;
    std::string value;
    {
      tern::detail::Guard<typename Rig<M>::Sync> guard(rig.core().space, rig.thread(t));
      const auto head = rig.core().head(key.hash, key.view());
      if (!head.present) return;
      const auto found = rig.core().table.find(key.hash, key.view());
      if (!found || found.stamp.tomb()) return;  // removed since
      offset = found.word.offset();
      auto& record = *rig.core().space.record(offset);
      if (!rig.core().space.try_hold(record)) return;
      const auto v = rig.core().space.value_of(record, record.stamp_word(), key.bytes.size());
      value.assign(v.data, v.size);
    }
    step(nullptr);
    auto& record = *rig.core().space.record(offset);
    const auto v = rig.core().space.value_of(record, record.stamp_word(), key.bytes.size());
    if (value != std::string_view(v.data, v.size)) rig.complain("a held value changed");
    rig.core().space.drop_hold(rig.thread(t), offset);
  }

  Threads reader_and_writer() {
    return {[&] { rig.get(0, key); }, [&] { churn(1); }};
  }
  // A call that needs blocks takes back what its own thread has retired.
  void take_back(int t) {
    auto& space = rig.core().space;
    rig.set(t, key, "1");
    space.epoch.take_back(space, rig.thread(t));
    rig.set(t, other, "z");
  }
  Threads reader_and_taker() {
    return {[&] { rig.get(0, key); }, [&] { take_back(1); }};
  }
  // ... while others reclaim it, too.
  Threads reader_taker_and_reclaimer() {
    return {[&] { rig.get(0, key); }, [&] { take_back(1); }, [&] { rig.reclaim(2); }};
  }
  // As a visitor's callback reads, or a write below a guard.
  Threads nested_reader_and_writer() {
    return {[&] {
              tern::detail::Guard<typename Rig<M>::Sync> guard(rig.core().space, rig.thread(0));
              const auto head = rig.core().head(key.hash, key.view());
              if (!head.present) return;
              const std::string before(head.value, head.value_size);
              rig.get(0, other);
              step(nullptr);
              if (before != std::string_view(head.value, head.value_size))
                rig.complain("a value changed in its guard");
            },
            [&] { churn(1); }};
  }
  Threads holder_and_writer() {
    return {[&] {
              hold_and_read(0);
              rig.get(0, key);
            },
            [&] {
              churn(1);
              rig.reclaim(1);
            }};
  }
  Threads two_holders_and_a_remover() {
    return {[&] { hold_and_read(0); }, [&] { hold_and_read(1); },
            [&] {
              rig.del(2, key);
              rig.reclaim(2);
              rig.reclaim(2);
            }};
  }
  Threads two_writers_and_a_reader() {
    return {[&] { churn(0); },
            [&] {
              churn(1);
              rig.reclaim(1);
            },
            [&] {
              rig.copy(2, key);
              rig.get(2, key);
            }};
  }
  // What a thread that goes left in its limbo is freed by another.
  Threads a_thread_goes() {
    return {[&] {
              rig.set(0, key, "1");
              rig.core().space.release_thread(rig.thread(0));
            },
            [&] {
              churn(1);
              rig.reclaim(1);
            },
            [&] { rig.get(2, key); }};
  }
  Rig<M> rig;
  Key key, other;
};

TEST(Reclamation, AReaderKeepsItsRecord) {
  Recycled<Mutant::kNone> b(2);
  expect_holds("reclamation, reader", b.rig, b.reader_and_writer());
}
TEST(Reclamation, AGuardInAGuardEndsWithTheOuter) {
  Recycled<Mutant::kNone> b(2);
  expect_holds("reclamation, nested", b.rig, b.nested_reader_and_writer());
}
TEST(Reclamation, AHeldValueStays) {
  Recycled<Mutant::kNone> b(2);
  expect_holds("reclamation, held", b.rig, b.holder_and_writer());
}
TEST(Reclamation, TheLastHolderFrees) {
  Recycled<Mutant::kNone> b(3);
  expect_holds("reclamation, two holders", b.rig, b.two_holders_and_a_remover(),
               {.preemptions = 2});
}
TEST(Reclamation, WritersFreeEachOthersLimbo) {
  Recycled<Mutant::kNone> b(3);
  expect_holds("reclamation, two writers", b.rig, b.two_writers_and_a_reader(),
               {.preemptions = 2, .random = 20'000});
}
TEST(Reclamation, TheLimboOfAThreadThatWent) {
  Recycled<Mutant::kNone> b(3);
  expect_holds("reclamation, a thread goes", b.rig, b.a_thread_goes(), {.preemptions = 2});
}

TEST(Reclamation, ACallTakesBackWhatItsThreadRetired) {
  Recycled<Mutant::kNone> b(3);
  expect_holds("reclamation, taken back", b.rig, b.reader_taker_and_reclaimer(), {.preemptions = 2});
}

TEST(ReclamationMutants, LeaveNestedGuard) {
  Recycled<Mutant::kLeaveNestedGuard> b(2);
  expect_found("leave nested guard", b.rig, b.nested_reader_and_writer());
}
TEST(ReclamationMutants, FreeAtEqualEpoch) {
  Recycled<Mutant::kFreeAtEqualEpoch> b(2);
  expect_found("free at equal epoch", b.rig, b.reader_and_writer());
}
TEST(ReclamationMutants, TakenBackEarly) {
  Recycled<Mutant::kTakenBackEarly> b(2);
  expect_found("taken back early", b.rig, b.reader_and_taker());
}
TEST(ReclamationMutants, FreeHeld) {
  Recycled<Mutant::kFreeHeld> b(2);
  expect_found("free held", b.rig, b.holder_and_writer());
}
TEST(ReclamationMutants, DropWithoutOrphanTest) {
  Recycled<Mutant::kDropWithoutOrphanTest> b(2);
  expect_found("drop without orphan test", b.rig, b.holder_and_writer());
}

// --- the cap of the limbo: one reader that never leaves
// ------------------------------------------------------------

struct Stalled {
  std::uint64_t limbo_most = 0;
  unsigned refused = 0;
  bool reads_go_on = true;
  bool removals_go_on = false;
  bool recovers = false;
};

constexpr std::uint64_t kCap = 4096;

template <Mutant M>
Stalled write_beside_a_stalled_reader() {
  Rig<M> rig(2);
  KeyFinder finder;
  const Key key = finder.in_bucket(5);
  const Key other = finder.in_bucket(6);
  Stalled s;
  rig.set(1, key, "0");
  rig.set(1, other, "0");
  rig.core().space.epoch.set_limits(kCap, kCap / 16);
  rig.core().space.epoch.enter(rig.thread(0).epoch);
  for (int i = 0; i != 400; ++i) {
    if (rig.set(1, key, "1") == 0) ++s.refused;
    s.limbo_most = std::max(s.limbo_most, rig.core().space.epoch.limbo_bytes());
    s.reads_go_on = s.reads_go_on && !rig.get(1, key).empty();
  }
  s.removals_go_on = rig.del(1, other);
  rig.core().space.epoch.leave(rig.thread(0).epoch);
  s.recovers = rig.set(1, key, "2") != 0;
  return s;
}

TEST(Reclamation, AStalledReaderStopsWritesAtTheCap) {
  const Stalled s = write_beside_a_stalled_reader<Mutant::kNone>();
  EXPECT_LE(s.limbo_most, kCap + kCap / 16);
  EXPECT_GT(s.refused, 0u);
  EXPECT_TRUE(s.reads_go_on);
  EXPECT_TRUE(s.removals_go_on);
  EXPECT_TRUE(s.recovers);
}
TEST(ReclamationMutants, LimboUncounted) {
  EXPECT_GT(write_beside_a_stalled_reader<Mutant::kLimboUncounted>().limbo_most, kCap + kCap / 16);
}

// --- records with more than one part
// --------------------------------------------------------------------------------

template <Mutant M>
std::string value_below_a_long_key() {
  Rig<M> rig(1);
  Key key;
  key.bytes.assign(300, 'k');
  key.hash = rig.core().hash_of(key.view());
  rig.set(0, key, "value");
  return rig.get(0, key);
}

TEST(Records, TheValueBelowALongKey) {
  EXPECT_EQ(value_below_a_long_key<Mutant::kNone>(), "value");
}
TEST(RecordMutants, ValueFromWrongKeyLength) {
  EXPECT_NE(value_below_a_long_key<Mutant::kValueFromWrongKeyLength>(), "value");
}

// Two inserters of a value that lies in an extent: the record that is killed goes on as a copy,
// which shares it.
template <Mutant M>
struct Large {
  Large() : rig(2) {
    KeyFinder finder;
    key = finder.in_bucket(3);
    first = finder.in_bucket(3);
    other = finder.in_bucket(6);
    rig.set(rig.own_index(), first, "x");
    rig.freeze();
    rig.check_accounts = false;  // of blocks alone; extents are counted below
    rig.at_end = [this] {
      const int own = rig.own_index();
      for (int t = 0; t <= own; ++t) rig.reclaim(t);
      rig.set(own, other, std::string(9000, 'z'));  // where an extent was freed, if one was
      rig.get(own, key);
      const std::size_t extents = rig.core().space.heap.stats().extent_bytes >> 16;
      if (extents != 2) rig.complain(std::to_string(extents) + " extents for two large values");
    };
  }
  Threads threads() {
    return {[&] { rig.set(0, key, std::string_view(a)); },
            [&] {
              rig.del(1, first);
              rig.set(1, key, std::string_view(b));
            }};
  }
  Rig<M> rig;
  Key key, first, other;
  std::string a = std::string(9000, 'a');
  std::string b = std::string(9000, 'b');
};

TEST(Records, ACopyOfAKilledRecordSharesItsExtent) {
  Large<Mutant::kNone> b;
  expect_holds("records, extent", b.rig, b.threads(), {.preemptions = 2});
}
TEST(RecordMutants, ExtentHoldLost) {
  Large<Mutant::kExtentHoldLost> b;
  expect_found("extent hold lost", b.rig, b.threads(), {.preemptions = 2});
}

}  // namespace
}  // namespace tern::concurrency
