// Histories of real threads, judged by the linearizability checker, key by key (R1). Built with the
// library's steps visible: at some of them a thread waits for another's, as on few cores calls would
// hardly ever overlap.
#include <tern/store.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <latch>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "tests/engine/api/store_fixture.h"
#include "tests/engine/api/yielding_steps.h"
#include "tests/sync/history.h"
#include "tests/sync/linearizability.h"
#include "tests/sync/register_spec.h"

namespace tern::test {
namespace {

using concurrency::RegisterOp;
using Kind = RegisterOp::Kind;

std::string key_name(std::uint32_t key) { return numbered("key", key); }

enum class Beside : std::uint8_t { kNothing, kGrowth, kEviction };

// Evictions become calls of their own: somewhere in the call that told them.
struct Evictions {
  concurrency::Recorder<RegisterOp>* recorder = nullptr;
  std::atomic<std::uint64_t> told{0};

  static inline thread_local unsigned thread = 0;
  static inline thread_local std::uint64_t call_began = 0;
  static void tell(void* user, std::string_view key, std::string_view, RemovalCause cause) {
    auto& self = *static_cast<Evictions*>(user);
    if (cause != RemovalCause::kEvicted || self.recorder == nullptr || !key.starts_with("key")) return;
    ++self.told;
    RegisterOp op;
    op.kind = Kind::kEvict;
    op.key = static_cast<std::uint32_t>(std::stoul(std::string(key.substr(3))));
    auto& call = self.recorder->begin(thread, std::move(op));
    call.begin = call_began;
    self.recorder->end(call);
  }
};

// One random operation on `key`, recorded with its answer.
void act(const Store& store, concurrency::Recorder<RegisterOp>& recorder, unsigned thread,
         std::uint32_t key, std::mt19937& random, std::uint64_t last_version) {
  const std::string name = key_name(key);
  RegisterOp op;
  op.key = key;
  op.argument = std::to_string(random() % 4);
  op.expected = std::to_string(random() % 4);
  constexpr Kind kKinds[] = {Kind::kGet,
                             Kind::kGet,
                             Kind::kGet,
                             Kind::kSet,
                             Kind::kSet,
                             Kind::kSetNx,
                             Kind::kDel,
                             Kind::kGetAndSet,
                             Kind::kGetAndDel,
                             Kind::kCompareAndSwap,
                             Kind::kCompareAndSwapVersion,
                             Kind::kCompareAndDelete,
                             Kind::kIncrement,
                             Kind::kExists};
  op.kind = kKinds[random() % std::size(kKinds)];
  if (op.kind == Kind::kCompareAndSwapVersion) op.expected_version = last_version;
  const auto answered = [](RegisterOp& o, const auto& r) {
    o.refused = !r.ok();
    if (r.ok()) o.ok = *r;
  };
  auto& call = recorder.begin(thread, op);
  Evictions::call_began = call.begin;
  RegisterOp& o = call.op;
  switch (o.kind) {
    case Kind::kGet: {
      const Lookup<Entry> r = store.get_entry(name);
      o.ok = r.found();
      if (r) {
        o.value = std::string(r->value.view());
        o.version = r->version;
      }
      break;
    }
    case Kind::kExists:
      answered(o, store.exists(name));
      break;
    case Kind::kSet: {
      const Result<std::uint64_t> r = store.set(name, o.argument);
      o.refused = !r.ok();
      o.version = *r;
      break;
    }
    case Kind::kSetNx:
      answered(o, store.set_nx(name, o.argument));
      break;
    case Kind::kDel:
      answered(o, store.del(name));
      break;
    case Kind::kGetAndSet: {
      const Lookup<Value> r = store.get_and_set(name, o.argument);
      o.refused = r.failed();
      o.ok = r.found();
      if (r) o.value = std::string(r->view());
      break;
    }
    case Kind::kGetAndDel: {
      const Lookup<Value> r = store.get_and_del(name);
      o.refused = r.failed();
      o.ok = r.found();
      if (r) o.value = std::string(r->view());
      break;
    }
    case Kind::kCompareAndSwap:
      answered(o, store.compare_and_swap(name, o.expected, o.argument));
      break;
    case Kind::kCompareAndSwapVersion:
      answered(o, store.compare_and_swap_version(name, o.expected_version, o.argument));
      break;
    case Kind::kCompareAndDelete:
      answered(o, store.compare_and_delete(name, o.expected));
      break;
    case Kind::kIncrement: {
      const Result<std::int64_t> r = store.increment(name);
      o.refused = r.status() == Status::kOutOfMemory;
      o.ok = r.ok();
      o.number = *r;
      break;
    }
    default:
      break;
  }
  recorder.end(call);
}

constexpr double kLeastOverlap = 0.3;

// Beside growth a further thread inserts other keys all the while. A machine that gives the threads little
// time together gets up to four times the rounds; one on which a yield costs a time slice stops
// early, once there is enough to judge.
concurrency::Tally run_histories(unsigned threads, unsigned rounds, Beside beside) {
  constexpr unsigned kKeys = 8, kCalls = 60;
  const bool grow = beside == Beside::kGrowth;
  const bool evict = beside == Beside::kEviction;
  const YieldingSteps yielding;
  concurrency::LinearizabilityChecker<concurrency::RegisterSpec> checker;
  concurrency::Tally tally;
  Options options = small_options();
  options.shard_count = 1;
  Evictions evictions;
  if (evict) {
    options.entries_max = 2;
    options.on_removed = &Evictions::tell;
    options.on_removed_user = &evictions;
  }
  Store store = open_or_fail(options);
  const auto began = std::chrono::steady_clock::now();
  const auto enough = [&](unsigned round) {
    if (tally.overlap.ratio() < kLeastOverlap || tally.histories <= 400) return round >= 4 * rounds;
    return round >= rounds || (!long_run() && std::chrono::steady_clock::now() - began > 10s);
  };
  for (unsigned round = 0; !enough(round); ++round) {
    if (round % 50 == 0) store = open_or_fail(options);
    for (unsigned k = 0; k < kKeys; ++k) (void)store.del(key_name(k));
    // An insert evicts again if others take the room that it has made.
    concurrency::Recorder<RegisterOp> recorder(threads, evict ? kCalls * 80 : kCalls);
    evictions.recorder = &recorder;
    // Fresh versions: the checker knows nothing of what was before.
    std::latch start(threads + grow);
    YieldingSteps::acting.store(threads);
    std::vector<std::jthread> all;
    for (unsigned t = 0; t < threads; ++t) {
      all.emplace_back([&, t] {
        std::mt19937 random(round * 31 + t);
        YieldingSteps::own_slot = t;
        Evictions::thread = t;
        YieldingSteps::state = static_cast<std::uint32_t>(random()) | 1u;
        std::uint64_t version = 1;
        start.arrive_and_wait();
        for (unsigned i = 0; i < kCalls; ++i) {
          // One key for a while: calls of threads that run one after the other can't overlap.
          // Where they evict, three: each is the others' victim.
          const std::uint32_t key = (i / 8 + round + (evict ? random() % 3 : 0)) % kKeys;
          if (i % 5 == 0) {
            const Lookup<Entry> e = store.get_entry(key_name(key));
            if (e) version = e->version;
          }
          act(store, recorder, t, key, random, version);
        }
        YieldingSteps::acting.fetch_sub(1);
      });
    }
    if (grow) {
      all.emplace_back([&] {
        YieldingSteps::own_slot = threads;
        YieldingSteps::state = round + 1;
        start.arrive_and_wait();
        for (unsigned i = 0; YieldingSteps::acting.load() != 0 && i < 2'000; ++i) {
          (void)store.set(numbered("filler", round % 50 * 2'000 + i), "");
        }
      });
    }
    all.clear();
    evictions.recorder = nullptr;
    concurrency::check_each_key(checker, recorder.take(), tally);
  }
  EXPECT_TRUE(whole(store));
  if (evict) {
    std::printf("%llu evictions\n", static_cast<unsigned long long>(evictions.told.load()));
    EXPECT_GT(evictions.told, tally.histories);
  }
  return tally;
}

void expect_linearizable(const concurrency::Tally& tally) {
  std::printf("%s\n", tally.summary().c_str());
  EXPECT_EQ(tally.illegal, 0u) << tally.first_illegal;
  EXPECT_EQ(tally.aborted, 0u);
  EXPECT_GE(tally.overlap.ratio(), kLeastOverlap) << "calls that don't overlap test nothing";
  EXPECT_GT(tally.histories, 100u);
}

TEST(HistoryTest, CallsOfTwoThreadsOnAKeyAreLinearizable) {
  expect_linearizable(run_histories(2, quick_or_long(400u, 20'000u), Beside::kNothing));
}

TEST(HistoryTest, CallsOfManyThreadsOnAKeyAreLinearizable) {
  expect_linearizable(run_histories(4, quick_or_long(250u, 20'000u), Beside::kNothing));
  expect_linearizable(run_histories(8, quick_or_long(100u, 10'000u), Beside::kNothing));
}

TEST(HistoryTest, CallsDuringGrowthAreLinearizable) {
  expect_linearizable(run_histories(3, quick_or_long(250u, 20'000u), Beside::kGrowth));
}

// A full store: a miss is legal only after a removal or an eviction that was told.
TEST(HistoryTest, CallsOnAFullStoreAreLinearizable) {
  for (const unsigned threads : {2u, 4u, 8u}) {
    expect_linearizable(run_histories(threads, quick_or_long(120u, 20'000u), Beside::kEviction));
  }
}

}  // namespace
}  // namespace tern::test
