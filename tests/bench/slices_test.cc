// Every store that this build has, under every workload, for an instant: the checks of a slice must
// hold, and must notice a store that lies.
#include <gtest/gtest.h>

#include <map>
#include <mutex>

#include "bench/slice.h"

namespace tern::bench {
namespace {

constexpr std::uint64_t kKeys = 20'000;

StoreConfig config() {
  StoreConfig c;
  c.entries = kKeys;
  c.key_bytes_max = 24;
  c.value_bytes_max = 64;
  c.key_bytes_mean = 20;
  c.value_bytes_mean = 64;
  c.fixed_value = true;
  c.huge_pages = false;
  return c;
}

SliceSpec spec(const Workload& w, Mode mode, unsigned threads, unsigned batch) {
  SliceSpec s;
  s.workload = w;
  s.mode = mode;
  s.threads = threads;
  s.batch = batch;
  // Ended by the count; the time only bounds it.
  s.operations = 20'000;
  s.seconds = 60;
  s.seed = 1;
  return s;
}

void run_all(StoreRunner& runner, const StoreKind& kind) {
  auto result = std::make_unique<SliceResult>();
  runner.run(spec(*find_workload("fill"), Mode::kPlain, 1, 1), *result);
  ASSERT_FALSE(result->failed) << result->error;
  for (const Workload& w : named_workloads()) {
    if (w.fill) continue;
    for (const unsigned threads : {1u, 2u}) {
      if (kind.yardstick && threads != 1) continue;
      std::vector<std::pair<Mode, unsigned>> modes = {{Mode::kPlain, 1}};
      if (kind.groups) modes.insert(modes.end(), {{Mode::kBatch, 64}, {Mode::kBatch, 7}});
      if (kind.sessions) modes.insert(modes.end(), {{Mode::kSession, 1}, {Mode::kPrefetch, 1}});
      for (const auto& [mode, batch] : modes) {
        runner.run(spec(w, mode, threads, batch), *result);
        EXPECT_FALSE(result->failed)
            << result->error << ", threads " << threads << ", batch " << batch;
        EXPECT_GT(result->operations, 0u);
        EXPECT_GT(result->latency.count(), 0u);
      }
    }
  }
}

TEST(Slices, EveryStoreAnswersEveryWorkload) {
  const KeyMaker maker(Sizes(16, 24), Sizes(64, 64));
  const ZipfDraws draws(kKeys, 100'000, 1);
  for (const StoreKind& kind : all_stores()) {
    if (kind.why_absent != nullptr) {
      std::printf("%s is left out: %s\n", kind.name, kind.why_absent);
      continue;
    }
    SCOPED_TRACE(kind.name);
    const auto runner = kind.make(config(), maker, draws);
    run_all(*runner, kind);
  }
}

TEST(Slices, SizesOfEveryKindAreServed) {
  const KeyMaker maker(Sizes(8, 300), Sizes(8, 5000));
  const ZipfDraws draws(kKeys, 100'000, 1);
  StoreConfig c = config();
  c.key_bytes_max = 300;
  c.value_bytes_max = 5000;
  c.key_bytes_mean = 154;
  c.value_bytes_mean = 2504;
  c.fixed_value = false;
  c.entries = 2'000;
  for (const StoreKind& kind : all_stores()) {
    if (kind.why_absent != nullptr) continue;
    SCOPED_TRACE(kind.name);
    const auto runner = kind.make(c, maker, draws);
    auto result = std::make_unique<SliceResult>();
    for (const char* const name : {"fill", "ycsb-a"}) {
      runner->run(spec(*find_workload(name), Mode::kPlain, 1, 1), *result);
      EXPECT_FALSE(result->failed) << result->error;
    }
  }
}

// A store that is right but for one fault.
enum class Fault { kNone, kWrongBytes, kForgets, kInvents, kRefuses };
Fault planted_fault = Fault::kNone;

class FaultyAdapter {
 public:
  explicit FaultyAdapter(const StoreConfig&) {}
  class Worker {
   public:
    explicit Worker(FaultyAdapter& a) : a_(a) {}
    bool get(std::string_view key, char* out) {
      const std::lock_guard lock(a_.mutex_);
      const bool now = ++a_.calls_ % 1000 == 0;
      const auto at = a_.map_.find(std::string(key));
      if (at == a_.map_.end()) return now && planted_fault == Fault::kInvents;
      if (now && planted_fault == Fault::kForgets) return false;
      std::memcpy(out, at->second.data(), at->second.size());
      if (now && planted_fault == Fault::kWrongBytes) out[0] = static_cast<char>(out[0] + 1);
      return true;
    }
    bool set(std::string_view key, std::string_view value) {
      const std::lock_guard lock(a_.mutex_);
      if (++a_.calls_ % 1000 == 0 && planted_fault == Fault::kRefuses) return false;
      a_.map_.insert_or_assign(std::string(key), std::string(value));
      return true;
    }
    bool del(std::string_view key) {
      const std::lock_guard lock(a_.mutex_);
      return a_.map_.erase(std::string(key)) != 0;
    }

   private:
    FaultyAdapter& a_;
  };
  std::uint64_t bytes_used() const { return 0; }

 private:
  std::mutex mutex_;
  std::map<std::string, std::string> map_;
  std::uint64_t calls_ = 0;
};

bool noticed(Fault fault, const char* workload) {
  const KeyMaker maker(Sizes(16, 24), Sizes(64, 64));
  const ZipfDraws draws(kKeys, 100'000, 1);
  planted_fault = Fault::kNone;
  Runner<FaultyAdapter> runner(config(), maker, draws);
  auto result = std::make_unique<SliceResult>();
  runner.run(spec(*find_workload("fill"), Mode::kPlain, 1, 1), *result);
  EXPECT_FALSE(result->failed) << result->error;
  planted_fault = fault;
  runner.run(spec(*find_workload(workload), Mode::kPlain, 1, 1), *result);
  return result->failed;
}

TEST(Slices, AStoreThatLiesIsFound) {
  EXPECT_FALSE(noticed(Fault::kNone, "get-uniform"));
  EXPECT_FALSE(noticed(Fault::kNone, "get-miss"));
  EXPECT_TRUE(noticed(Fault::kWrongBytes, "get-uniform"));
  EXPECT_TRUE(noticed(Fault::kForgets, "get-zipf"));
  EXPECT_TRUE(noticed(Fault::kInvents, "get-miss"));
  EXPECT_TRUE(noticed(Fault::kRefuses, "ycsb-a"));
}

}  // namespace
}  // namespace tern::bench
