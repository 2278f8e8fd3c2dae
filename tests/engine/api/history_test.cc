// Histories of real threads, judged by the linearizability checker, key by key (R1). Built with the
// library's steps visible: at some of them a thread gives up the processor, as on few cores calls
// would hardly ever overlap.
#include <tern/store.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <latch>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "alloc/sync.h"
#include "tests/engine/api/store_fixture.h"
#include "tests/sync/history.h"
#include "tests/sync/linearizability.h"
#include "tests/sync/register_spec.h"

namespace tern::test {
namespace {

using concurrency::RegisterOp;
using Kind = RegisterOp::Kind;

thread_local std::uint32_t yield_state = 0;  // 0: this thread passes every step

void sometimes_yield(const char*) {
  if (yield_state == 0) return;
  yield_state ^= yield_state << 13;
  yield_state ^= yield_state >> 17;
  yield_state ^= yield_state << 5;
  if (yield_state % 3 == 0) std::this_thread::yield();
}

struct YieldingSteps {
  YieldingSteps() { detail::StdSync::hook = &sometimes_yield; }
  ~YieldingSteps() { detail::StdSync::hook = nullptr; }
};

std::string key_name(std::uint32_t key) { return numbered("key", key); }

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

// `grow`: a further thread inserts other keys all the while.
concurrency::Tally run_histories(unsigned threads, unsigned rounds, bool grow) {
  constexpr unsigned kKeys = 8, kCalls = 60;
  const YieldingSteps yielding;
  concurrency::LinearizabilityChecker<concurrency::RegisterSpec> checker;
  concurrency::Tally tally;
  Options options = small_options();
  options.shard_count = 1;
  Store store = open_or_fail(options);
  for (unsigned round = 0; round < rounds; ++round) {
    if (round % 50 == 0) store = open_or_fail(options);
    for (unsigned k = 0; k < kKeys; ++k) (void)store.del(key_name(k));
    concurrency::Recorder<RegisterOp> recorder(threads, kCalls);
    // Fresh versions: the checker knows nothing of what was before.
    std::latch start(threads + grow);
    std::atomic<unsigned> running{threads};
    std::vector<std::jthread> all;
    for (unsigned t = 0; t < threads; ++t) {
      all.emplace_back([&, t] {
        std::mt19937 random(round * 31 + t);
        yield_state = static_cast<std::uint32_t>(random()) | 1u;
        std::uint64_t version = 1;
        start.arrive_and_wait();
        for (unsigned i = 0; i < kCalls; ++i) {
          // One key for a while: calls of threads that run one after the other can't overlap.
          const std::uint32_t key = (i / 8 + round) % kKeys;
          if (i % 5 == 0) {
            const Lookup<Entry> e = store.get_entry(key_name(key));
            if (e) version = e->version;
          }
          act(store, recorder, t, key, random, version);
        }
        running.fetch_sub(1);
      });
    }
    if (grow) {
      all.emplace_back([&] {
        yield_state = round + 1;
        start.arrive_and_wait();
        for (unsigned i = 0; running.load() != 0 && i < 2'000; ++i) {
          (void)store.set(numbered("filler", round % 50 * 2'000 + i), "");
        }
      });
    }
    all.clear();
    concurrency::check_each_key(checker, recorder.take(), tally);
  }
  EXPECT_TRUE(whole(store));
  return tally;
}

void expect_linearizable(const concurrency::Tally& tally) {
  std::printf("%s\n", tally.summary().c_str());
  EXPECT_EQ(tally.illegal, 0u) << tally.first_illegal;
  EXPECT_EQ(tally.aborted, 0u);
  EXPECT_GE(tally.overlap.ratio(), 0.3) << "calls that don't overlap test nothing";
  EXPECT_GT(tally.histories, 100u);
}

TEST(HistoryTest, CallsOfTwoThreadsOnAKeyAreLinearizable) {
  expect_linearizable(run_histories(2, quick_or_long(400u, 20'000u), false));
}

TEST(HistoryTest, CallsOfManyThreadsOnAKeyAreLinearizable) {
  expect_linearizable(run_histories(4, quick_or_long(250u, 20'000u), false));
  expect_linearizable(run_histories(8, quick_or_long(100u, 10'000u), false));
}

TEST(HistoryTest, CallsDuringGrowthAreLinearizable) {
  expect_linearizable(run_histories(3, quick_or_long(250u, 20'000u), true));
}

}  // namespace
}  // namespace tern::test
