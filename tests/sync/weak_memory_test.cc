// The weak memory machine against what the C++20 memory model says: for each classic litmus test
// the exact set of outcomes, then small programs whose only fault is an order that is too weak.
#include "tests/sync/weak_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "tests/sync/scheduler.h"

namespace tern::concurrency {
namespace {

using ::testing::Contains;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

constexpr auto kRlx = std::memory_order_relaxed;
constexpr auto kAcq = std::memory_order_acquire;
constexpr auto kRel = std::memory_order_release;
constexpr auto kAcqRel = std::memory_order_acq_rel;
constexpr auto kSc = std::memory_order_seq_cst;

using Sync = WeakSync<>;
using Word = Sync::Atomic<std::uint64_t>;
using Outcomes = std::set<std::string>;

// Three words and four registers, zero at first; collects every outcome of the registers.
struct Litmus {
  Word x{0}, y{0}, z{0};
  std::uint64_t r[4] = {};

  Outcomes outcomes(std::vector<std::function<void()>> threads, unsigned registers) {
    Outcomes seen;
    Options options;
    options.name = "litmus";
    options.preemptions = 6;
    options.quiet = true;
    const Result result = Explorer(options).explore(
        [this] {
          for (Word* w : {&x, &y, &z}) w->store(0);
          for (auto& v : r) v = 0;
        },
        std::move(threads),
        [&]() -> std::string {
          std::string text;
          for (unsigned i = 0; i < registers; ++i) text += static_cast<char>('0' + r[i]);
          seen.insert(text);
          return {};
        });
    EXPECT_TRUE(result.ok) << result.failure;
    EXPECT_TRUE(result.complete);
    return seen;
  }
};

// --- two threads
// ----------------------------------------------------------------------------------------------

Outcomes store_buffering(std::memory_order store, std::memory_order load) {
  Litmus t;
  return t.outcomes({[&] {
                       t.x.store(1, store);
                       t.r[0] = t.y.load(load);
                     },
                     [&] {
                       t.y.store(1, store);
                       t.r[1] = t.x.load(load);
                     }},
                    2);
}

TEST(Litmus, StoreBuffering) {
  EXPECT_THAT(store_buffering(kSc, kSc), UnorderedElementsAre("01", "10", "11"));
  for (auto [store, load] : {std::pair{kRel, kAcq}, {kRlx, kRlx}, {kSc, kAcq}, {kRel, kSc}}) {
    EXPECT_THAT(store_buffering(store, load), UnorderedElementsAre("00", "01", "10", "11"));
  }
}

TEST(Litmus, StoreBufferingWithExchanges) {
  auto run = [](std::memory_order update, std::memory_order load) {
    Litmus t;
    return t.outcomes({[&] {
                         t.x.exchange(1, update);
                         t.r[0] = t.y.load(load);
                       },
                       [&] {
                         t.y.exchange(1, update);
                         t.r[1] = t.x.load(load);
                       }},
                      2);
  };
  EXPECT_THAT(run(kSc, kSc), Not(Contains("00")));
  // A seq_cst exchange doesn't order an acquire load elsewhere: x86 never shows it, ARM64 does.
  EXPECT_THAT(run(kSc, kAcq), Contains("00"));
  EXPECT_THAT(run(kAcqRel, kSc), Contains("00"));
}

Outcomes message_passing(std::memory_order store, std::memory_order load) {
  Litmus t;
  return t.outcomes({[&] {
                       t.x.store(1, kRlx);
                       t.y.store(1, store);
                     },
                     [&] {
                       t.r[0] = t.y.load(load);
                       t.r[1] = t.x.load(kRlx);
                     }},
                    2);
}

TEST(Litmus, MessagePassing) {
  EXPECT_THAT(message_passing(kRel, kAcq), UnorderedElementsAre("00", "01", "11"));
  EXPECT_THAT(message_passing(kSc, kSc), UnorderedElementsAre("00", "01", "11"));
  for (auto [store, load] : {std::pair{kRlx, kRlx}, {kRel, kRlx}, {kRlx, kAcq}}) {
    EXPECT_THAT(message_passing(store, load), UnorderedElementsAre("00", "01", "10", "11"));
  }
}

TEST(Litmus, LoadBufferingNeverShows) {
  Litmus t;
  EXPECT_THAT(t.outcomes({[&] {
                            t.r[0] = t.x.load(kRlx);
                            t.y.store(1, kRlx);
                          },
                          [&] {
                            t.r[1] = t.y.load(kRlx);
                            t.x.store(1, kRlx);
                          }},
                         2),
              UnorderedElementsAre("00", "01", "10"));
}

TEST(Litmus, ReadsOfOneAddressAreCoherent) {
  Litmus t;
  EXPECT_THAT(t.outcomes({[&] {
                            t.x.store(1, kRlx);
                            t.x.store(2, kRlx);
                          },
                          [&] {
                            t.r[0] = t.x.load(kRlx);
                            t.r[1] = t.x.load(kRlx);
                          }},
                         2),
              UnorderedElementsAre("00", "01", "02", "11", "12", "22"));
}

TEST(Litmus, ReleaseSequenceGoesOnThroughRmwOnly) {
  auto run = [](bool rmw) {
    Litmus t;
    return t.outcomes({[&] {
                         t.x.store(1, kRlx);
                         t.y.store(1, kRel);
                       },
                       [&] {
                         if (rmw) {
                           std::uint64_t one = 1;
                           t.y.compare_exchange_strong(one, 2, kRlx, kRlx);
                         } else if (t.y.load(kRlx) == 1) {
                           t.y.store(2, kRlx);
                         }
                       },
                       [&] {
                         t.r[0] = t.y.load(kAcq);
                         t.r[1] = t.x.load(kRlx);
                       }},
                      2);
  };
  EXPECT_THAT(run(true), Not(Contains("20")));
  EXPECT_THAT(run(false), Contains("20"));
}

TEST(Litmus, RmwsNeverLoseAnUpdate) {
  Litmus t;
  const auto seen = t.outcomes(
      {[&] { t.r[0] = t.x.fetch_add(1, kRlx); }, [&] { t.r[1] = t.x.fetch_add(1, kRlx); },
       [&] { t.r[2] = t.x.fetch_add(1, kRlx); }},
      3);
  EXPECT_THAT(seen, UnorderedElementsAre("012", "021", "102", "120", "201", "210"));
}

TEST(Litmus, AFailedCasMayHaveSeenAnOlderValue) {
  Litmus t;
  const auto seen = t.outcomes({[&] {
                                  t.x.store(1, kRlx);
                                  t.y.store(1, kRlx);
                                },
                                [&] {
                                  t.r[0] = t.y.load(kRlx);
                                  std::uint64_t expected = 1;
                                  t.r[1] = t.x.compare_exchange_strong(expected, 2, kRlx, kRlx);
                                }},
                               2);
  EXPECT_THAT(seen, UnorderedElementsAre("00", "01", "10", "11"));
}

// --- three and four threads
// ---------------------------------------------------------------------------------

TEST(Litmus, IndependentReadsOfIndependentWrites) {
  auto run = [](std::memory_order store, std::memory_order load) {
    Litmus t;
    return t.outcomes({[&] { t.x.store(1, store); }, [&] { t.y.store(1, store); },
                       [&] {
                         t.r[0] = t.x.load(load);
                         t.r[1] = t.y.load(load);
                       },
                       [&] {
                         t.r[2] = t.y.load(load);
                         t.r[3] = t.x.load(load);
                       }},
                      4);
  };
  EXPECT_THAT(run(kRel, kAcq), Contains("1010"));
  EXPECT_THAT(run(kRlx, kRlx), Contains("1010"));
  const Outcomes sc = run(kSc, kSc);
  EXPECT_THAT(sc, Not(Contains("1010")));
  EXPECT_EQ(sc.size(), 15u);
  EXPECT_EQ(run(kRel, kAcq).size(), 16u);
}

TEST(Litmus, CausalityIsTransitive) {
  auto run = [](std::memory_order middle) {
    Litmus t;
    return t.outcomes({[&] { t.x.store(1, kRel); },
                       [&] {
                         if (t.x.load(middle) == 1) t.y.store(1, kRel);
                       },
                       [&] {
                         t.r[0] = t.y.load(kAcq);
                         t.r[1] = t.x.load(kRlx);
                       }},
                      2);
  };
  EXPECT_THAT(run(kAcq), Not(Contains("10")));
  // With a relaxed load in the middle, coherence alone raises the middle thread's view of x, and
  // its release hands that on: write-to-read causality on one and the same address holds in C++
  // whatever the order.
  EXPECT_THAT(run(kRlx), Not(Contains("10")));
}

TEST(Litmus, CausalityThroughAnotherAddressNeedsAcquire) {
  auto run = [](std::memory_order middle) {
    Litmus t;
    return t.outcomes({[&] {
                         t.x.store(1, kRlx);
                         t.y.store(1, kRel);
                       },
                       [&] {
                         if (t.y.load(middle) == 1) t.z.store(1, kRel);
                       },
                       [&] {
                         t.r[0] = t.z.load(kAcq);
                         t.r[1] = t.x.load(kRlx);
                       }},
                      2);
  };
  EXPECT_THAT(run(kAcq), Not(Contains("10")));
  EXPECT_THAT(run(kRlx), Contains("10"));
}

TEST(Litmus, TheSequentiallyConsistentSchedulerShowsNoneOfThis) {
  SchedSync<>::Atomic<std::uint64_t> x{0}, y{0};
  std::uint64_t r[2] = {};
  bool both_zero = false;
  Options options;
  options.name = "store buffering under SchedSync";
  options.preemptions = 4;
  options.quiet = true;
  Explorer(options).explore(
      [&] {
        x.store(0);
        y.store(0);
      },
      {[&] {
         x.store(1, kRlx);
         r[0] = y.load(kRlx);
       },
       [&] {
         y.store(1, kRlx);
         r[1] = x.load(kRlx);
       }},
      [&]() -> std::string {
        both_zero |= r[0] == 0 && r[1] == 0;
        return {};
      });
  EXPECT_FALSE(both_zero);
}

// --- mutual exclusion and publication
// -----------------------------------------------------------------------

Result explore(const char* name, const Body& body, unsigned preemptions = 3) {
  Options options;
  options.name = name;
  options.preemptions = preemptions;
  options.step_limit = 300;
  options.stale_reads = 4;
  options.trace_failure = false;
  return Explorer(options).explore(body);
}

// Peterson's lock, one attempt each (a thread that would have to wait leaves), so that schedules
// are finite.
Result peterson(std::memory_order store, std::memory_order load) {
  struct Data {
    Word flag[2] = {0, 0};
    Word turn{0};
    std::uint64_t counter = 0;
  };
  static Data data;
  auto thread = [store, load] {
    const auto me = static_cast<std::uint64_t>(current_thread());
    data.flag[me].store(1, store);
    data.turn.store(1 - me, store);
    if (data.flag[1 - me].load(load) == 0 || data.turn.load(load) == me) {
      checked_write(data.counter, checked_read(data.counter) + 1);
    }
    data.flag[me].store(0, kRel);
  };
  return explore("peterson", {[] {
                                data.flag[0].store(0);
                                data.flag[1].store(0);
                                data.turn.store(0);
                                data.counter = 0;
                              },
                              {thread, thread},
                              {}});
}

TEST(WeakMemory, PetersonsLockNeedsSequentialConsistency) {
  EXPECT_TRUE(peterson(kSc, kSc).ok);
  EXPECT_FALSE(peterson(kRel, kAcq).ok);
  EXPECT_FALSE(peterson(kRlx, kRlx).ok);
}

TEST(WeakMemory, PublishedPlainDataIsOrderedByReleaseAndAcquire) {
  struct Data {
    std::uint64_t payload = 0;
    Word ready{0};
  };
  static Data data;
  auto run = [](std::memory_order store, std::memory_order load) {
    return explore("publish", {[] {
                                 data.payload = 0;
                                 data.ready.store(0);
                               },
                               {[store] {
                                  checked_write(data.payload, std::uint64_t{42});
                                  data.ready.store(1, store);
                                },
                                [load] {
                                  if (data.ready.load(load) != 0) {
                                    require(checked_read(data.payload) == 42, "half published");
                                  }
                                }},
                               {}});
  };
  EXPECT_TRUE(run(kRel, kAcq).ok);
  const Result relaxed = run(kRlx, kAcq);
  EXPECT_FALSE(relaxed.ok);
  EXPECT_NE(relaxed.failure.find("data race"), std::string::npos);
  EXPECT_FALSE(run(kRel, kRlx).ok);
}

TEST(WeakMemory, NeighbouringBytesDontRace) {
  static std::uint8_t bytes[8];
  const Result apart = explore("neighbours", {{},
                                              {[] { checked_write(bytes[0], std::uint8_t{1}); },
                                               [] { checked_write(bytes[1], std::uint8_t{1}); }},
                                              {}});
  EXPECT_TRUE(apart.ok) << apart.failure;
  const Result same = explore("one byte", {{},
                                           {[] { checked_write(bytes[0], std::uint8_t{1}); },
                                            [] { checked_write(bytes[0], std::uint8_t{2}); }},
                                           {}});
  EXPECT_FALSE(same.ok);
}

TEST(WeakMemory, PlainWriteRacesWithAnAtomicOfTheSameBytes) {
  static Word word{0};
  const Result r = explore(
      "plain against atomic",
      {{}, {[] { word.store(1, kRel); }, [] { Sync::plain_write(&word, sizeof word); }}, {}});
  EXPECT_FALSE(r.ok);
}

TEST(WeakMemory, ReplayReproducesStaleReads) {
  static Word x{0}, y{0};
  static std::uint64_t r0, r1;
  const Body body = {[] {
                       x.store(0);
                       y.store(0);
                     },
                     {[] {
                        x.store(1, kRel);
                        r0 = y.load(kAcq);
                      },
                      [] {
                        y.store(1, kRel);
                        r1 = x.load(kAcq);
                      }},
                     []() -> std::string { return r0 == 0 && r1 == 0 ? "both read zero" : ""; }};
  for (Strategy strategy : {Strategy::kDfs, Strategy::kPct, Strategy::kRandom}) {
    Options options;
    options.name = "stale replay";
    options.strategy = strategy;
    options.max_schedules = 10'000;
    options.quiet = true;
    const Result found = Explorer(options).explore(body);
    ASSERT_FALSE(found.ok);
    options.replay = found.schedule;
    const Result again = Explorer(options).explore(body);
    EXPECT_EQ(again.failure, found.failure);
    EXPECT_EQ(again.schedule, found.schedule);
  }
}

// --- announce and scan: PROTOCOLS.md C
// ----------------------------------------------------------------------

// The orders that the protocol argues for, each of which a row of the test below weakens.
struct EpochOrders {
  std::memory_order epoch_load = kSc;  // a reader's load of G
  std::memory_order announce = kSc;    // its exchange of the announcement
  std::memory_order slot_load = kSc;
  std::memory_order leave = kRel;
  std::memory_order unlink = kSc;
  std::memory_order label = kSc;  // the retiring thread's load of G after the unlink
  std::memory_order advance = kSc;
  std::memory_order scan = kSc;
  std::uint64_t slack = 0;  // 0: free when every announced epoch is above the label
};

struct EpochModel {
  static constexpr int kReaders = 2;
  static constexpr std::uint64_t kPoison = 99;

  Word epoch{1};
  Word announced[kReaders] = {0, 0};
  Word slot{0};                  // index of the current record
  std::uint64_t record[2] = {};  // plain bytes

  void reset() {
    epoch.store(1);
    for (Word& a : announced) a.store(0);
    slot.store(0);
    record[0] = 10;
    record[1] = 11;
  }
  void read(int reader, const EpochOrders& o) {
    announced[reader].exchange(epoch.load(o.epoch_load), o.announce);
    const std::uint64_t r = slot.load(o.slot_load);
    require(checked_read(record[r]) != kPoison, "use after free");
    announced[reader].store(0, o.leave);
  }
  void replace(const EpochOrders& o) {
    std::uint64_t old = 0;
    slot.compare_exchange_strong(old, 1, o.unlink, kRlx);
    const std::uint64_t label = epoch.load(o.label);
    epoch.fetch_add(1, o.advance);
    for (Word& a : announced) {
      const std::uint64_t e = a.load(o.scan);
      if (e != 0 && e + o.slack <= label) return;  // somebody may still read it: not now
    }
    checked_write(record[0], kPoison);
  }
};

Result epoch(const char* name, const EpochOrders& orders, int readers, int rounds) {
  static EpochModel model;
  Body body;
  body.setup = [] { model.reset(); };
  for (int i = 0; i < readers; ++i) {
    body.threads.push_back([i, orders, rounds] {
      for (int round = 0; round < rounds; ++round) model.read(i, orders);
    });
  }
  body.threads.push_back([orders] { model.replace(orders); });
  return explore(name, body, readers * rounds < 4 ? 3 : 2);  // the largest: seconds, not minutes
}

TEST(EpochModel, TheProtocolAsWrittenNeverFreesWhatAReaderHolds) {
  const EpochOrders orders;
  for (auto [readers, rounds] : {std::pair{1, 1}, {1, 2}, {2, 1}, {2, 2}}) {
    const Result r = epoch("epoch as written", orders, readers, rounds);
    EXPECT_TRUE(r.ok) << r.failure << " " << r.schedule;
    EXPECT_TRUE(r.complete);
  }
}

TEST(EpochModel, EachWeakerOrderIsAUseAfterFree) {
  struct Row {
    const char* name;
    EpochOrders orders;
  };
  std::vector<Row> rows;
  auto weaken = [&rows](const char* name, auto change) {
    EpochOrders o;
    change(o);
    rows.push_back({name, o});
  };
  weaken("epoch load relaxed", [](EpochOrders& o) { o.epoch_load = kRlx; });
  weaken("announce acq_rel", [](EpochOrders& o) { o.announce = kAcqRel; });
  weaken("announce relaxed", [](EpochOrders& o) { o.announce = kRlx; });
  weaken("slot load acquire", [](EpochOrders& o) { o.slot_load = kAcq; });
  weaken("slot load relaxed", [](EpochOrders& o) { o.slot_load = kRlx; });
  weaken("scan acquire", [](EpochOrders& o) { o.scan = kAcq; });
  weaken("scan relaxed", [](EpochOrders& o) { o.scan = kRlx; });
  weaken("leave relaxed", [](EpochOrders& o) { o.leave = kRlx; });
  weaken("unlink acq_rel", [](EpochOrders& o) { o.unlink = kAcqRel; });
  weaken("free at the equal epoch", [](EpochOrders& o) { o.slack = 1; });
  for (const Row& row : rows) {
    Result r = epoch(row.name, row.orders, 1, 2);
    EXPECT_FALSE(r.ok) << row.name;
  }
}

// --- stamps and views: PROTOCOLS.md D
// ------------------------------------------------------------------------

// A writer publishes a record and stamps it with the clock; a view takes its place on the clock and
// reads the key twice, helping the stamp: both reads must answer the same.
struct StampModel {
  Word clock{1};
  Word slot{0};
  Word stamp_of[2] = {1, 0};
  std::memory_order clock_load, slot_load, open;

  void reset() {
    clock.store(1);
    slot.store(0);
    stamp_of[0].store(1);
    stamp_of[1].store(0);
  }
  std::uint64_t stamp(std::uint64_t record) {
    std::uint64_t s = stamp_of[record].load(kAcq);
    if (s == 0) {
      const std::uint64_t now = clock.load(clock_load);
      if (stamp_of[record].compare_exchange_strong(s, now, kSc)) s = now;
    }
    return s;
  }
  void write() {
    std::uint64_t old = 0;
    slot.compare_exchange_strong(old, 1, kSc);
    stamp(1);
  }
  std::uint64_t read(std::uint64_t at) {
    const std::uint64_t record = slot.load(slot_load);
    return record == 1 && stamp(1) > at ? 0 : record;
  }
  void view() {
    const std::uint64_t at = clock.fetch_add(1, open);
    const std::uint64_t first = read(at);
    require(first == read(at), "the view moved");
  }
};

Result stamps(const char* name, std::memory_order clock_load, std::memory_order slot_load,
              std::memory_order open) {
  static StampModel model;
  model.clock_load = clock_load;
  model.slot_load = slot_load;
  model.open = open;
  return explore(name, {[] { model.reset(); }, {[] { model.write(); }, [] { model.view(); }}, {}},
                 4);
}

TEST(ViewStampModel, AViewStandsStillOnlyWithSequentiallyConsistentLoads) {
  const Result right = stamps("view stamp as written", kSc, kSc, kSc);
  EXPECT_TRUE(right.ok) << right.failure << " " << right.schedule;
  EXPECT_TRUE(right.complete);
  EXPECT_FALSE(stamps("view stamp, clock load acquire", kAcq, kSc, kSc).ok);
  EXPECT_FALSE(stamps("view stamp, slot load acquire", kSc, kAcq, kSc).ok);
  EXPECT_FALSE(stamps("view stamp, open acq_rel", kSc, kSc, kAcqRel).ok);
}

}  // namespace
}  // namespace tern::concurrency
