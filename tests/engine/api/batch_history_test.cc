// R2: whole histories of real threads over a few keys: batches, transactions, single calls, reads of many keys at one moment,
// views and invalidation points. One order of all calls must explain every answer; key by key isn't enough, as what is promised
// is about keys together. (The millions of a release are the engine's own steps under a scheduler, judged by the same checker: the long
// run of tests/engine/schedules/random_scenes_test.cc. Here real threads call what users call.)
#include <tern/store.h>

#include <array>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <cstdio>
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
#include "tests/sync/map_spec.h"

namespace tern::test {
namespace {

using concurrency::MapOp;
using concurrency::MapSpec;
using concurrency::Verdict;
using What = MapOp::Part::Kind;

constexpr unsigned kKeys = MapOp::kKeys;
constexpr unsigned kNumber = 3;  // this key holds a number, to which is added; the others a letter
constexpr unsigned kCalls = 6;   // of a thread in a history

std::string name_of(unsigned key) { return numbered("key:", key); }
// A value as the model has it, a character, and as it is stored.
std::string stored(unsigned key, char value) { return key == kNumber ? std::to_string(value - '0') : std::string(1, value); }
char modelled(unsigned key, std::string_view value) {
  return key == kNumber ? static_cast<char>('0' + std::stoi(std::string(value))) : value[0];
}

// One thread's calls, drawn at random and recorded with what was answered.
class Caller {
 public:
  Caller(const Store& store, concurrency::Recorder<MapOp>& recorder, unsigned thread)
      : store_(store), recorder_(recorder), thread_(thread), random_(thread * 7'919 + 1) {}

  void act() {
    switch (pick(16)) {
      case 0: return get();
      case 1: return set();
      case 2: return del();
      case 3: return add();
      case 4: return read();
      case 5: return view();
      case 6: return clear();
      case 7: return transact();
      case 8: return pick(2) == 0 ? set_nx() : swap();
      case 9: return exchange();
      default: return batch();
    }
  }
  unsigned conflicts = 0, commits = 0;

 private:
  unsigned pick(unsigned n) { return static_cast<unsigned>(random_() % n); }
  char value(unsigned key) { return static_cast<char>((key == kNumber ? '0' : 'a') + pick(4)); }

  void batch() {
    batch_.clear();
    MapOp op;
    for (unsigned i = 0, n = 1 + pick(5); i != n; ++i) ask(op);
    auto& call = recorder_.begin(thread_, op);
    const Result<void> r = store_.write(batch_);
    answer(call.op, r.status(), batch_.failed());
    recorder_.end(call);
  }
  void ask(MapOp& op) {
    const unsigned key = pick(kKeys);
    const char v = value(key);
    switch (pick(8)) {
      case 0:
        batch_.require_absent(name_of(key));
        return op.add(What::kRequireAbsent, key);
      case 1:
        batch_.require_present(name_of(key));
        return op.add(What::kRequirePresent, key);
      case 2:
        batch_.require_value(name_of(key), stored(key, v));
        return op.add(What::kRequireValue, key, v);
      case 3:
        batch_.del(name_of(key));
        return op.add(What::kDel, key);
      default:
        batch_.set(name_of(key), stored(key, v));
        return op.add(What::kSet, key, v);
    }
  }
  void answer(MapOp& op, Status status, std::size_t failed) {
    op.ok = status == Status::kOk;
    op.refused = status != Status::kOk && status != Status::kConflict;
    op.failed = static_cast<unsigned>(failed);
    EXPECT_FALSE(op.refused) << status_name(status);
    ++(op.ok ? commits : conflicts);
  }
  // One condition, so that its opposite can be asked, too: the branch that was taken is a batch with the one or the other.
  void transact() {
    const unsigned key = pick(kKeys), other = pick(kKeys);
    WriteBatch when, otherwise;
    when.require_absent(name_of(key));
    const char yes = value(key), no = value(other);
    batch_.clear();
    batch_.set(name_of(key), stored(key, yes));
    otherwise.set(name_of(other), stored(other, no));
    otherwise.del(name_of((other + 1) % kKeys));
    auto& call = recorder_.begin(thread_, {});
    const Result<bool> r = store_.transact(when, batch_, otherwise);
    MapOp& op = call.op;
    if (r.status() == Status::kConflict) {
      op.refused = true;  // the condition has changed its mind too often
    } else {
      EXPECT_TRUE(r) << status_name(r.status());
      op.add(*r ? What::kRequireAbsent : What::kRequirePresent, key);
      if (*r) {
        op.add(What::kSet, key, yes);
      } else {
        op.add(What::kSet, other, no);
        op.add(What::kDel, (other + 1) % kKeys);
      }
    }
    recorder_.end(call);
  }
  void set() {
    const unsigned key = pick(kKeys);
    const char v = value(key);
    MapOp op;
    op.add(What::kSet, key, v);
    auto& call = recorder_.begin(thread_, op);
    EXPECT_TRUE(store_.set(name_of(key), stored(key, v)));
    recorder_.end(call);
  }
  void del() {
    const unsigned key = pick(kKeys);
    MapOp op;
    op.asks = true;
    op.add(What::kDel, key);
    auto& call = recorder_.begin(thread_, op);
    const Result<bool> r = store_.del(name_of(key));
    EXPECT_TRUE(r);
    call.op.ok = *r;
    recorder_.end(call);
  }
  void add() {
    MapOp op;
    op.add(What::kAdd, kNumber);
    auto& call = recorder_.begin(thread_, op);
    const Result<std::int64_t> r = store_.increment(name_of(kNumber));
    EXPECT_TRUE(r) << status_name(r.status());
    call.op.parts[0].value = static_cast<char>('0' + *r);
    recorder_.end(call);
  }
  // What depends on the value that is there, by a call of its own: not as a batch, which takes another way.
  void set_nx() {
    const unsigned key = pick(kKeys);
    const char v = value(key);
    MapOp op;
    op.add(What::kRequireAbsent, key);
    op.add(What::kSet, key, v);
    auto& call = recorder_.begin(thread_, op);
    const Result<bool> r = store_.set_nx(name_of(key), stored(key, v));
    EXPECT_TRUE(r);
    call.op.ok = *r;
    recorder_.end(call);
  }
  void swap() {
    const unsigned key = pick(kKeys);
    const char from = value(key), to = value(key);
    MapOp op;
    op.add(What::kRequireValue, key, from);
    op.add(What::kSet, key, to);
    auto& call = recorder_.begin(thread_, op);
    const Result<bool> r = store_.compare_and_swap(name_of(key), stored(key, from), stored(key, to));
    EXPECT_TRUE(r);
    call.op.ok = *r;
    recorder_.end(call);
  }
  void exchange() {
    const unsigned key = pick(kKeys);
    const char v = value(key);
    const bool removes = pick(2) == 0;
    MapOp op;
    op.add(What::kRead, key);
    if (removes) {
      op.add(What::kDel, key);
    } else {
      op.add(What::kSet, key, v);
    }
    auto& call = recorder_.begin(thread_, op);
    const Lookup<Value> r = removes ? store_.get_and_del(name_of(key)) : store_.get_and_set(name_of(key), stored(key, v));
    EXPECT_FALSE(r.failed());
    if (r) call.op.parts[0].value = modelled(key, r->view());
    recorder_.end(call);
  }
  void get() {
    const unsigned key = pick(kKeys);
    MapOp op;
    op.add(What::kRead, key);
    auto& call = recorder_.begin(thread_, op);
    const Lookup<Value> r = store_.get(name_of(key));
    if (r) call.op.parts[0].value = modelled(key, r->view());
    recorder_.end(call);
  }
  void read() {
    MapOp op;
    std::array<std::string, kKeys> names;
    std::array<std::string_view, kKeys> keys;
    for (unsigned k = 0; k != kKeys; ++k) {
      op.add(What::kRead, k);
      keys[k] = names[k] = name_of(k);
    }
    auto& call = recorder_.begin(thread_, op);
    EXPECT_TRUE(store_.get_many_at_one_moment(keys, values_));
    recorder_.end(call);
    for (unsigned k = 0; k != kKeys; ++k) {
      if (values_[k]) call.op.parts[k].value = modelled(k, *values_[k]);
    }
  }
  // Its moment lies in the call that opens it, whenever it is read; each key twice.
  void view() {
    MapOp op;
    for (unsigned k = 0; k != kKeys; ++k) op.add(What::kRead, k);
    auto& call = recorder_.begin(thread_, op);
    const Result<View> view = store_.view();
    recorder_.end(call);
    ASSERT_TRUE(view);
    const std::uint64_t end = std::exchange(call.end, concurrency::Call<MapOp>::kPending);
    for (int pass = 0; pass != 2; ++pass) {
      for (unsigned k = 0; k != kKeys; ++k) {
        const Lookup<Value> r = view->get(name_of(k));
        const char now = r ? modelled(k, r->view()) : '\0';
        if (pass != 0) {
          EXPECT_EQ(now, call.op.parts[k].value) << "a view changed under its reader";
        }
        call.op.parts[k].value = now;
      }
    }
    call.end = end;
  }
  // All keys or one, by an invalidation point; somebody sweeps.
  void clear() {
    const unsigned key = pick(kKeys * 2);
    MapOp op;
    for (unsigned k = 0; k != kKeys; ++k) {
      if (key >= kKeys || key == k) op.add(What::kDel, k);
    }
    auto& call = recorder_.begin(thread_, op);
    EXPECT_TRUE(store_.del_prefix(key >= kKeys ? "key:" : name_of(key)));
    recorder_.end(call);
    EXPECT_TRUE(store_.tick(std::chrono::microseconds(0)));
  }

  const Store& store_;
  concurrency::Recorder<MapOp>& recorder_;
  const unsigned thread_;
  std::mt19937 random_;
  WriteBatch batch_;
  Values values_;
};

enum class Beside : std::uint8_t { kNothing, kGrowth };

constexpr double kLeastOverlap = 0.3;
constexpr unsigned kFillersAHistory = 20;
// Beside growth a store serves for so many histories, then a new one does: what is split most often is a small table.
constexpr unsigned kHistoriesAStore = 200;

// What was called, what was there before it and after it. It is judged while the next one is made.
struct Made {
  concurrency::History<MapOp> history;
  MapSpec::State before{};
  MapOp after;
};

MapOp what_is_there(const Store& store) {
  MapOp all;
  for (unsigned k = 0; k != kKeys; ++k) {
    const auto value = value_of(store, name_of(k));
    all.add(What::kRead, k, value ? modelled(k, *value) : '\0');
  }
  return all;
}

class Judge {
 public:
  void operator()(const Made& made) {
    ++tally_.histories;
    tally_.overlap += concurrency::measure_overlap(made.history);
    // What is there in the end is part of it, and where the next one begins.
    auto judged = made.history;
    judged.push_back({made.after, ~std::uint64_t{0} - 2, ~std::uint64_t{0} - 1, YieldingSteps::kThreadsMax});
    switch (checker_.check(judged, made.before)) {
      case Verdict::kLinearizable: break;
      case Verdict::kAborted: ++tally_.aborted; break;
      case Verdict::kIllegal:
        if (tally_.illegal++ == 0) tally_.first_illegal = checker_.explain(judged);
    }
  }
  const concurrency::Tally& tally() const { return tally_; }

 private:
  concurrency::LinearizabilityChecker<MapSpec> checker_;
  concurrency::Tally tally_;
};

void run_histories(unsigned threads, std::uint64_t histories, Beside beside) {
  Options options = small_options();
  options.memory_bytes = 32 * kMiB;
  options.shard_count = 1;
  Store store = open_or_fail(options);
  const YieldingSteps yielding;
  concurrency::Recorder<MapOp> recorder(threads, kCalls);
  Judge judge;
  std::atomic<bool> over{false};
  std::barrier<> turn(threads + 1);
  std::vector<Caller> callers;
  for (unsigned t = 0; t != threads; ++t) callers.emplace_back(store, recorder, t);
  std::vector<std::jthread> all;
  for (unsigned t = 0; t != threads; ++t) {
    all.emplace_back([&, t] {
      YieldingSteps::own_slot = t;
      for (std::uint32_t round = 1;; ++round) {
        turn.arrive_and_wait();
        if (over.load()) return;
        YieldingSteps::state = round * 2'654'435'761u + t + 1;
        for (unsigned i = 0; i != kCalls; ++i) callers[t].act();
        YieldingSteps::state = 0;
        YieldingSteps::acting.fetch_sub(1);
        turn.arrive_and_wait();
      }
    });
  }
  Made last, made;
  const auto began = std::chrono::steady_clock::now();
  const auto enough = [&](std::uint64_t count) {
    if (judge.tally().illegal != 0 || ::testing::Test::HasFailure() || count == histories) return true;
    return !long_run() && count >= 100 && std::chrono::steady_clock::now() - began > 8s;
  };
  for (std::uint64_t count = 0; !enough(count); ++count) {
    if (beside == Beside::kGrowth && count % kHistoriesAStore == 0 && count != 0) {
      EXPECT_TRUE(whole(store));
      store = open_or_fail(options);
      made.before = {};
    }
    YieldingSteps::acting.store(threads);
    turn.arrive_and_wait();
    const std::uint64_t first = count % kHistoriesAStore * kFillersAHistory;
    for (unsigned i = 0; beside == Beside::kGrowth && i != kFillersAHistory; ++i) EXPECT_TRUE(store.set(numbered("filler", first + i), ""));
    if (count != 0) judge(last);
    if (count % 100'000 == 0 && count != 0) {
      std::printf("%s so far\n", judge.tally().summary().c_str());
      std::fflush(stdout);
    }
    turn.arrive_and_wait();
    made.history = recorder.take();
    made.after = what_is_there(store);
    std::swap(last, made);
    for (unsigned k = 0; k != kKeys; ++k) made.before[k] = last.after.parts[k].value;
    if (made.before[kNumber] > 'P') {
      EXPECT_TRUE(store.del(name_of(kNumber)));
      made.before[kNumber] = 0;
    }
  }
  judge(last);
  over = true;
  turn.arrive_and_wait();
  all.clear();
  unsigned commits = 0, conflicts = 0;
  for (const Caller& c : callers) {
    commits += c.commits;
    conflicts += c.conflicts;
  }
  const concurrency::Tally& tally = judge.tally();
  std::printf("%s; %u batches committed, %u failed\n", tally.summary().c_str(), commits, conflicts);
  EXPECT_EQ(tally.illegal, 0u) << tally.first_illegal;
  EXPECT_EQ(tally.aborted, 0u);
  EXPECT_GE(tally.overlap.ratio(), kLeastOverlap) << "calls that don't overlap test nothing";
  EXPECT_GT(commits, 100u);
  EXPECT_GT(conflicts, 100u);
  EXPECT_TRUE(whole(store));
}

TEST(BatchHistoryTest, TwoThreadsAreStrictlySerialisable) { run_histories(2, quick_or_long(10'000u, 100'000u), Beside::kNothing); }
TEST(BatchHistoryTest, FourThreadsAreStrictlySerialisable) { run_histories(4, quick_or_long(6'000u, 100'000u), Beside::kNothing); }
TEST(BatchHistoryTest, ThreeThreadsBesideGrowthAreStrictlySerialisable) { run_histories(3, quick_or_long(6'000u, 100'000u), Beside::kGrowth); }

}  // namespace
}  // namespace tern::test
