// get_or_load: one loader for a key at a time.
#include <tern/store.h>

#include <atomic>
#include <latch>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

class LoadTest : public StoreTest {
 protected:
  // Loads `value`, counting.
  auto loader(std::string value) {
    return [this, value](std::string_view) {
      ++loads;
      return Loaded{Status::kOk, Value(value), {}};
    };
  }
  std::string load(std::string_view key, std::string value, const LoadOptions& options = {}) {
    Lookup<Value> r = store.get_or_load(key, loader(std::move(value)), options);
    return r ? std::string(r->view()) : std::string(status_name(r.status()));
  }

  std::atomic<int> loads{0};
};

TEST_F(LoadTest, AMissLoadsAndStores) {
  std::string asked;
  const Lookup<Value> r = store.get_or_load("k", [&](std::string_view key) {
    asked = key;
    return Loaded{Status::kOk, Value("loaded"), {}};
  });
  ASSERT_TRUE(r);
  EXPECT_EQ(r->view(), "loaded");
  EXPECT_EQ(asked, "k");
  EXPECT_EQ(value_of(store, "k"), "loaded");
  EXPECT_EQ(*store.ttl("k"), std::nullopt);
}

TEST_F(LoadTest, AHitLoadsNothing) {
  ASSERT_TRUE(store.set("k", "there"));
  EXPECT_EQ(load("k", "loaded"), "there");
  EXPECT_EQ(loads, 0);
}

TEST_F(LoadTest, AnEmptyValueIsAHit) {
  EXPECT_EQ(load("k", ""), "");
  EXPECT_EQ(load("k", "x"), "");
  EXPECT_EQ(loads, 1);
}

TEST_F(LoadTest, ALongValueComesBackWhole) {
  EXPECT_EQ(load("k", pattern(300'000)), pattern(300'000));
  EXPECT_EQ(load("k", "x"), pattern(300'000));
}

TEST_F(LoadTest, TheLoadersErrorIsHandedOnAndNothingIsStored) {
  for (const Status status :
       {Status::kUnavailable, Status::kTimedOut, Status::kIo, Status::kCancelled}) {
    const Lookup<Value> r = store.get_or_load("k", [&](std::string_view) {
      return Loaded{status, Value("x"), {}};
    });
    EXPECT_TRUE(r.failed());
    EXPECT_EQ(r.status(), status);
    EXPECT_EQ(value_of(store, "k"), std::nullopt);
  }
  EXPECT_EQ(load("k", "loaded"), "loaded") << "an error is not remembered";
}

TEST_F(LoadTest, NotFoundIsAMissAndIsNotRememberedByDefault) {
  const auto none = [&](std::string_view) {
    ++loads;
    return Loaded{};
  };
  EXPECT_TRUE(store.get_or_load("k", none).missing());
  EXPECT_TRUE(store.get_or_load("k", none).missing());
  EXPECT_EQ(loads, 2);
  EXPECT_EQ(store.stats().entries, 0u);
}

TEST_F(LoadTest, ANegativeAnswerIsRememberedForItsTime) {
  const auto none = [&](std::string_view) {
    ++loads;
    return Loaded{};
  };
  const LoadOptions options{.negative_ttl = 100ms};
  EXPECT_TRUE(store.get_or_load("k", none, options).missing());
  clock.advance(99ms);
  EXPECT_TRUE(store.get_or_load("k", none, options).missing());
  EXPECT_EQ(loads, 1);
  EXPECT_EQ(value_of(store, "k"), std::nullopt);
  EXPECT_FALSE(*store.exists("k"));
  clock.advance(1ms);
  EXPECT_TRUE(store.get_or_load("k", none, options).missing());
  EXPECT_EQ(loads, 2);
}

TEST_F(LoadTest, ASetOverridesANegativeAnswer) {
  EXPECT_TRUE(
      store.get_or_load("k", [](std::string_view) { return Loaded{}; }, {.negative_ttl = 1h})
          .missing());
  ASSERT_TRUE(store.set("k", "there"));
  EXPECT_EQ(value_of(store, "k"), "there");
  EXPECT_EQ(load("k", "loaded"), "there");
}

TEST_F(LoadTest, SetNxTakesANegativeAnswerForAbsent) {
  EXPECT_TRUE(
      store.get_or_load("k", [](std::string_view) { return Loaded{}; }, {.negative_ttl = 1h})
          .missing());
  EXPECT_TRUE(*store.set_nx("k", "v"));
  EXPECT_EQ(value_of(store, "k"), "v");
}

TEST_F(LoadTest, TheLifetimeIsThatOfTheOptionsOrOfTheLoader) {
  EXPECT_EQ(load("a", "v", {.ttl = 100ms}), "v");
  EXPECT_EQ(*store.ttl("a"), 100ms);
  ASSERT_TRUE(store.get_or_load("b",
                                [](std::string_view) {
                                  return Loaded{Status::kOk, Value("v"), 30ms};
                                },
                                {.ttl = 100ms}));
  EXPECT_EQ(*store.ttl("b"), 30ms);
  clock.advance(30ms);
  EXPECT_EQ(value_of(store, "b"), std::nullopt);
  clock.advance(70ms);
  EXPECT_EQ(load("a", "again", {.ttl = 100ms}), "again");
  EXPECT_EQ(loads, 2);
}

TEST_F(LoadTest, LifetimesOutOfRangeAreRefusedBeforeLoading) {
  EXPECT_EQ(store.get_or_load("k", loader("v"), {.ttl = 0ms}).status(), Status::kInvalidArgument);
  EXPECT_EQ(store.get_or_load("k", loader("v"), {.ttl = milliseconds::max()}).status(),
            Status::kOutOfRange);
  EXPECT_EQ(store.get_or_load("k", loader("v"), {.negative_ttl = -1ms}).status(),
            Status::kInvalidArgument);
  EXPECT_EQ(store.get_or_load("k", loader("v"), {.ttl = 1s, .jitter_percent = 51}).error(),
            (Error{Status::kOutOfRange, Field::kJitterPercent}));
  EXPECT_EQ(store.get_or_load("k", loader("v"), {.ttl = 1s, .stale = -1ms}).status(),
            Status::kInvalidArgument);
  EXPECT_EQ(loads, 0);
  EXPECT_EQ(value_of(store, "k"), std::nullopt);
}

TEST_F(LoadTest, JitterShortensByNoMoreThanItsShareAndSpreads) {
  const LoadOptions options{.ttl = 1'000ms, .jitter_percent = 20};
  std::set<std::int64_t> seen;
  for (unsigned i = 0; i < 300; ++i) {
    const std::string key = numbered("k", i);
    ASSERT_EQ(load(key, "v", options), "v");
    const auto r = store.ttl(key);
    ASSERT_TRUE(r && r->has_value());
    ASSERT_LE(**r, 1'000ms);
    ASSERT_GE(**r, 800ms);
    seen.insert((*r)->count());
  }
  EXPECT_GT(seen.size(), 50u);
  EXPECT_LT(*seen.begin(), 850) << "the whole range is used";
  EXPECT_GT(*seen.rbegin(), 950);
}

TEST_F(LoadTest, JitterOfTheShortestLifetimeLeavesSomething) {
  for (unsigned i = 0; i < 50; ++i) {
    const std::string key = numbered("k", i);
    ASSERT_EQ(load(key, "v", {.ttl = 1ms, .jitter_percent = 50}), "v");
    ASSERT_EQ(value_of(store, key), "v");
  }
}

TEST_F(LoadTest, AStaleValueIsGivenToOthersWhileOneLoads) {
  const LoadOptions options{.ttl = 100ms, .stale = 1'000ms};
  EXPECT_EQ(load("k", "old", options), "old");
  clock.advance(100ms);
  const Lookup<Value> r = store.get_or_load(
      "k",
      [&](std::string_view) {
        // While this loads anew, another thread asks: it gets the stale value and doesn't wait.
        std::jthread([&] { EXPECT_EQ(load("k", "not needed", options), "old"); }).join();
        return Loaded{Status::kOk, Value("new"), {}};
      },
      options);
  ASSERT_TRUE(r);
  EXPECT_EQ(r->view(), "new");
  EXPECT_EQ(loads, 1);
  EXPECT_EQ(load("k", "not needed", options), "new");
  EXPECT_EQ(loads, 1);
}

TEST_F(LoadTest, AStaleValueIsGoneAfterItsTime) {
  const LoadOptions options{.ttl = 100ms, .stale = 50ms};
  EXPECT_EQ(load("k", "old", options), "old");
  clock.advance(150ms);
  EXPECT_EQ(load("k", "new", options), "new");
  EXPECT_EQ(loads, 2);
}

TEST_F(LoadTest, AStaleValueIsAMissForPlainReads) {
  EXPECT_EQ(load("k", "old", {.ttl = 100ms, .stale = 1'000ms}), "old");
  EXPECT_EQ(*store.ttl("k"), 100ms);
  clock.advance(100ms);
  EXPECT_EQ(value_of(store, "k"), std::nullopt);
  EXPECT_FALSE(*store.exists("k"));
}

TEST_F(LoadTest, ThreadsThatMissTogetherLoadOnce) {
  for (unsigned round = 0; round < 30; ++round) {
    loads = 0;
    const std::string key = numbered("k", round);
    constexpr int kThreads = 8;
    std::latch start(kThreads);
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&] {
        start.arrive_and_wait();
        EXPECT_EQ(load(key, "loaded"), "loaded");
      });
    }
    threads.clear();
    EXPECT_EQ(loads, 1) << round;
  }
}

TEST_F(LoadTest, AThreadThatComesDuringALoadWaitsForIt) {
  std::latch loading(1), second_began(1);
  std::jthread first([&] {
    const Lookup<Value> r = store.get_or_load("k", [&](std::string_view) {
      ++loads;
      loading.count_down();
      second_began.wait();
      return Loaded{Status::kOk, Value("by the first"), {}};
    });
    EXPECT_TRUE(r && *r == "by the first");
  });
  loading.wait();
  std::jthread second([&] {
    second_began.count_down();
    EXPECT_EQ(load("k", "by the second"), "by the first");
  });
  first.join();
  second.join();
  EXPECT_EQ(loads, 1);
}

TEST_F(LoadTest, ThreadsThatWaitedForALoaderThatFailedGetItsErrorOrLoadThemselves) {
  std::latch loading(1), others_began(3);
  std::atomic<int> answered{0};
  std::jthread first([&] {
    const Lookup<Value> r = store.get_or_load("k", [&](std::string_view) {
      loading.count_down();
      others_began.wait();
      return Loaded{Status::kUnavailable, {}, {}};
    });
    EXPECT_EQ(r.status(), Status::kUnavailable);
  });
  loading.wait();
  std::vector<std::jthread> others;
  for (int t = 0; t < 3; ++t) {
    others.emplace_back([&] {
      others_began.count_down();
      const std::string r = load("k", "mine");
      EXPECT_TRUE(r == "mine" || r == "unavailable") << r;
      ++answered;
    });
  }
  first.join();
  others.clear();
  EXPECT_EQ(answered, 3);
}

TEST_F(LoadTest, LoadersOfDifferentKeysRunTogether) {
  // Each loader waits until the other runs: with one lock for all of them this would never end.
  std::latch both(2);
  const auto meet = [&](std::string_view key) {
    both.arrive_and_wait();
    return Loaded{Status::kOk, Value(key), {}};
  };
  std::jthread other([&] { EXPECT_TRUE(store.get_or_load("a", meet)); });
  EXPECT_TRUE(store.get_or_load("b", meet));
}

TEST_F(LoadTest, ALoaderMayCallTheStoreAndLoadOtherKeys) {
  ASSERT_TRUE(store.set("source", "7"));
  const Lookup<Value> r = store.get_or_load("k", [&](std::string_view) {
    EXPECT_EQ(load("other", "nested"), "nested");
    EXPECT_TRUE(store.set("written by loader", "1"));
    return Loaded{Status::kOk, std::move(*store.get("source")), {}};
  });
  ASSERT_TRUE(r);
  EXPECT_EQ(r->view(), "7");
  EXPECT_EQ(value_of(store, "other"), "nested");
}

TEST_F(LoadTest, AValueThatCantBeStoredIsGivenToItsCallerAllTheSame) {
  Options options = small_options(&clock);
  options.value_bytes_max = 100;
  const Store limited = open_or_fail(options);
  const Lookup<Value> r = limited.get_or_load("k", [](std::string_view) {
    return Loaded{Status::kOk, Value(std::string(101, 'x')), {}};
  });
  ASSERT_TRUE(r);
  EXPECT_EQ(r->view(), std::string(101, 'x'));
  EXPECT_EQ(value_of(limited, "k"), std::nullopt);
}

}  // namespace
}  // namespace tern::test
