// R11: a slow watch never slows a writer. What a set does is counted, not timed: its operations on atomic words, on the engine's real
// code, beside watches that never poll, one that stands still in the middle of a poll, and one that goes on after that. However much
// they have yet to read, a set's count stays under a bound; and a writer that does more where there is more to do is found out.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "engine/subscription.h"
#include "engine/writes.h"
#include "tests/engine/schedules/exploring.h"

namespace tern::concurrency {
namespace {

class Work {
 public:
  using R = RigOf<OneEngineSync>;
  using Sync = R::Sync;
  using Sub = tern::detail::Subscription<Sync>;
  static constexpr unsigned kKeys = 16;

  Work(Mutant planted, std::uint64_t cells, std::uint64_t ring_bytes) : rig(planted, 2, std::size_t{4} << 20, [=](auto& o) {
    o.ring_cells = cells;
    o.ring_bytes = ring_bytes;
  }) {
    rig.now_ms = 50;
    KeyFinder finder;
    for (unsigned i = 0; i != kKeys; ++i) keys_.push_back(finder.next([](std::uint64_t) { return true; }));
    sets(4 * kKeys);  // the keys are there, and blocks at hand
  }

  // Another who listens, and never polls.
  void come() {
    auto sub = std::make_unique<Sub>(rig.core());
    positions_.push_back(std::make_unique<std::uint64_t>());
    ASSERT_TRUE(sub->enter(0, 1, positions_.back().get()));
    sub->begin();
    subs_.push_back(std::move(sub));
  }
  std::uint64_t behind() { return subs_.front()->lag(); }
  void leave() {
    for (auto& s : subs_) s->end(rig.own());
    subs_.clear();
  }

  struct Count {
    double mean = 0;
    std::uint64_t most = 0;
  };
  Count sets(unsigned count) {
    Count c;
    std::uint64_t sum = 0;
    for (unsigned i = 0; i != count; ++i) {
      const Key& key = keys_[next_++ % kKeys];
      const std::uint64_t before = EngineEngine::done;
      const auto set = tern::detail::base::put(R::core(), rig.own(), key.hash, key.view(), value_);
      const std::uint64_t n = EngineEngine::done - before;
      EXPECT_EQ(set.outcome, R::Outcome::kPut) << "after " << i;
      sum += n;
      c.most = std::max(c.most, n);
    }
    c.mean = static_cast<double>(sum) / count;
    return c;
  }

  R rig;

 private:
  std::vector<Key> keys_;
  std::string value_ = std::string(100, 'v');
  unsigned next_ = 0;
  std::vector<std::unique_ptr<Sub>> subs_;
  std::vector<std::unique_ptr<std::uint64_t>> positions_;
};

constexpr unsigned kWindow = 512;
// What a bag of retired records costs, now and then, is in the greatest count, and in the mean of a window.
constexpr double kMean = 85;
constexpr std::uint64_t kMost = 600;

std::string text(const Work::Count& c) { return std::to_string(c.mean) + " in the mean, at most " + std::to_string(c.most); }

// Up to what the share holds, past it, and as long again.
void expect_even(Work& work, unsigned windows) {
  for (unsigned w = 0; w != windows; ++w) {
    const auto c = work.sets(kWindow);
    std::printf("behind by %6llu: %s\n", static_cast<unsigned long long>(work.behind()), text(c).c_str());
    EXPECT_LE(c.mean, kMean) << w;
    EXPECT_LE(c.most, kMost) << w;
  }
}

TEST(EventWork, BesideAWatchThatNeverPolls) {
  for (const std::uint64_t cells : {64u, 1024u, 16'384u}) {
    SCOPED_TRACE(cells);
    Work work(Mutant::kNone, cells, 256 << 10);
    const auto before = work.sets(8 * kWindow);
    work.come();
    expect_even(work, 16);
    work.leave();
    work.sets(kWindow);
    const auto after = work.sets(8 * kWindow);
    std::printf("nobody listens: %s; %s\n", text(before).c_str(), text(after).c_str());
    EXPECT_NEAR(after.mean, before.mean, 0.5) << "who is gone costs nothing";
  }
}

TEST(EventWork, HoweverManyTheyAre) {
  Work one(Mutant::kNone, 1024, 256 << 10);
  one.come();
  std::vector<std::uint64_t> alone, beside;
  for (unsigned w = 0; w != 8; ++w) alone.push_back(one.sets(kWindow).most);
  one.leave();
  Work many(Mutant::kNone, 1024, 256 << 10);
  for (unsigned i = 0; i != 1'000; ++i) many.come();
  for (unsigned w = 0; w != 8; ++w) beside.push_back(many.sets(kWindow).most);
  many.leave();
  EXPECT_EQ(beside, alone);
}

// A reader that stands still inside its poll keeps every grace period open, and with it what was replaced since.
Work::Count stop_and_go_on(Mutant planted) {
  Work work(planted, 16'384, 64 << 10);
  work.come();
  work.sets(kWindow);
  {
    const tern::detail::Guard<Work::Sync> guard(work.rig.core().space, work.rig.thread(1));
    expect_even(work, 5);  // as long as the limbo has room
  }
  Work::Count c;
  for (unsigned w = 0; w != 12; ++w) {
    const auto window = work.sets(kWindow);
    std::printf("it went on:  %s\n", text(window).c_str());
    c.mean = std::max(c.mean, window.mean);
    c.most = std::max(c.most, window.most);
  }
  work.leave();
  return c;
}

TEST(EventWork, BesideAWatchThatStandsStillAndGoesOn) {
  const Work::Count c = stop_and_go_on(Mutant::kNone);
  EXPECT_LE(c.mean, 2.5 * kMean);  // four are passed for each that is told
  EXPECT_LE(c.most, 2 * kMost);
}

TEST(EventWorkMutants, EventPassedAtOnce) { EXPECT_GT(stop_and_go_on(Mutant::kEventPassedAtOnce).most, 2 * kMost); }

}  // namespace
}  // namespace tern::concurrency
