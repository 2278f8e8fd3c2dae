// Watches and time: changes in bundles, marks of progress; callbacks within tick.
#include <tern/dispatcher.h>
#include <tern/namespace.h>
#include <tern/store.h>
#include <tern/watch.h>
#include <tern/watch_set.h>

#include <string>
#include <thread>
#include <vector>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

template <class W>
std::string poll_all(W& watch, std::size_t at_a_time = 16) {
  std::string all;
  std::vector<Change> changes(at_a_time);
  const Result<std::size_t> n = watch.poll(changes);
  EXPECT_TRUE(n.ok());
  for (std::size_t i = 0; n && i != *n; ++i) {
    if (!all.empty()) all += ' ';
    all += changes[i].kind == ChangeKind::kProgress ? "mark" : std::string(changes[i].key) + "=" + std::string(changes[i].value);
  }
  return all;
}

class WatchTime : public StoreTest {
 protected:
  void set(const char* key, const char* value) { ASSERT_TRUE(store.set(key, value).ok()); }
};

TEST_F(WatchTime, AnIntervalBundlesChanges) {
  auto watch = std::move(*store.watch_prefix("", {.coalesce = true, .min_interval = 100ms}));
  set("k", "1");
  EXPECT_TRUE(*watch.wait(0ms));
  EXPECT_EQ(poll_all(watch), "k=1");  // the first at once
  set("k", "2");
  set("k", "3");
  EXPECT_FALSE(*watch.wait(0ms));
  EXPECT_EQ(poll_all(watch), "");
  clock.advance(99ms);
  EXPECT_EQ(poll_all(watch), "");
  clock.advance(1ms);
  EXPECT_TRUE(*watch.wait(0ms));
  EXPECT_EQ(poll_all(watch), "k=3");
  clock.advance(1s);
  EXPECT_EQ(poll_all(watch), "");  // nothing came: no interval begins
  set("k", "4");
  EXPECT_EQ(poll_all(watch), "k=4");
}

TEST_F(WatchTime, AnIntervalBeginsWhenTheBundleIsWhole) {
  auto watch = std::move(*store.watch_key("k", {.min_interval = 100ms}));
  for (const char* v : {"1", "2", "3"}) set("k", v);
  EXPECT_EQ(poll_all(watch, 2), "k=1 k=2");
  EXPECT_TRUE(*watch.wait(0ms));
  EXPECT_EQ(poll_all(watch, 2), "k=3");
  set("k", "4");
  EXPECT_EQ(poll_all(watch, 2), "");
  EXPECT_EQ(watch.lag(), 1u);
}

TEST_F(WatchTime, MarksSayThatATokenIsUpToDate) {
  auto watch = std::move(*store.watch_prefix("mine", {.progress = 100ms}));
  set("others", "1");
  EXPECT_EQ(poll_all(watch), "");
  clock.advance(100ms);
  EXPECT_TRUE(*watch.wait(0ms));
  EXPECT_EQ(poll_all(watch), "mark");
  EXPECT_FALSE(*watch.wait(0ms));
  EXPECT_EQ(poll_all(watch), "");
  // The token of the mark goes on behind what was for others.
  const Result<Value> token = watch.token();
  ASSERT_TRUE(token.ok());
  set("mine", "2");
  clock.advance(100ms);
  EXPECT_EQ(poll_all(watch, 1), "mine=2");  // there may be more: no mark
  EXPECT_EQ(poll_all(watch, 1), "mark");
  auto resumed = std::move(*store.watch_prefix("mine", {.resume = token->view()}));
  EXPECT_EQ(resumed.lag(), 1u);
  EXPECT_EQ(poll_all(resumed), "mine=2");
}

TEST_F(WatchTime, NoMarkBeforeTheInitialContentsAreThere) {
  set("k", "1");
  auto watch = std::move(*store.watch_prefix("", {.initial = true, .progress = 1ms}));
  clock.advance(5ms);
  EXPECT_EQ(poll_all(watch, 1), "k=1");
  std::string rest;
  for (int i = 0; i != 4; ++i) rest += poll_all(watch, 1) + ",";
  EXPECT_EQ(rest, "=,mark,,,");  // kSynced, then the mark
}

TEST_F(WatchTime, ASetOfFiltersHasThemToo) {
  auto watched = std::move(*WatchSet::open(store, {.min_interval = 100ms, .progress = 50ms}));
  ASSERT_TRUE(watched.add_prefix("k").ok());
  set("k", "1");
  EXPECT_EQ(poll_all(watched), "k=1");
  set("k", "2");
  clock.advance(60ms);
  EXPECT_EQ(poll_all(watched), "");
  clock.advance(40ms);
  EXPECT_EQ(poll_all(watched), "k=2 mark");
}

TEST_F(WatchTime, BadTimesAreNamed) {
  EXPECT_EQ(store.watch_key("k", {.min_interval = -1ms}).error(), (Error{Status::kInvalidArgument, Field::kInterval}));
  EXPECT_EQ(store.watch_key("k", {.progress = -1ms}).error(), (Error{Status::kInvalidArgument, Field::kProgress}));
  auto watch = std::move(*store.watch_key("k", {.min_interval = 1ms}));
  EXPECT_EQ(watch.descriptor().error(), (Error{Status::kInvalidArgument, Field::kInterval}));
}

TEST_F(WatchTime, AThreadIsNotNeededForTheIntervalToEnd) {
  auto dispatcher = std::move(*Dispatcher::open(store));
  std::atomic<int> seen{0};
  auto subscription = dispatcher.add(std::move(*store.watch_key("k", {.min_interval = 100ms})), [&](const Change&) { ++seen; });
  ASSERT_TRUE(subscription.ok());
  set("k", "1");
  while (seen != 1) std::this_thread::yield();
  set("k", "2");
  clock.advance(100ms);
  while (seen != 2) std::this_thread::yield();
}

// --- callbacks within tick ---

TEST_F(WatchTime, ATickCallsBack) {
  auto dispatcher = std::move(*Dispatcher::open(store, DispatchOn::kTick));
  std::string all;
  auto a = dispatcher.on_prefix("a", [&](const Change& c) { all += std::string(c.key) + " "; });
  auto b = dispatcher.add(std::move(*store.watch_key("b")), [&](const Change& c) { all += std::string(c.key) + " "; });
  ASSERT_TRUE(a.ok() && b.ok());
  set("a1", "1");
  set("b", "1");
  EXPECT_EQ(all, "");
  ASSERT_TRUE(store.tick(0us).ok());
  EXPECT_EQ(all, "a1 b ");
  ASSERT_TRUE(store.tick(1ms).ok());
  EXPECT_EQ(all, "a1 b ");
  set("a2", "1");
  EXPECT_EQ(dispatcher.dispatch(), 1u);  // by hand, too
  dispatcher.close();
  set("a3", "1");
  ASSERT_TRUE(store.tick(1ms).ok());
  EXPECT_EQ(all, "a1 b a2 ");
}

TEST_F(WatchTime, ATicksCallbackMayDoAnything) {
  auto outer = std::move(*Dispatcher::open(store, DispatchOn::kTick)), inner = std::move(*Dispatcher::open(store, DispatchOn::kTick));
  int calls = 0, inner_calls = 0, late_calls = 0;
  Dispatcher late;
  Result<Subscription> late_subscription = Status::kClosed;
  auto i = inner.on_key("k", [&](const Change&) { ++inner_calls; });
  auto o = outer.on_key("k", [&](const Change&) {
    ++calls;
    EXPECT_TRUE(store.tick(0us).ok());  // its own turn is passed over, the other's is taken
    EXPECT_EQ(inner_calls, 1);
    late = std::move(*Dispatcher::open(store, DispatchOn::kTick));
    late_subscription = late.on_key("late", [&](const Change&) { ++late_calls; });
    inner.close();
    outer.close();
    EXPECT_TRUE(store.set("late", "1").ok());
  });
  set("k", "1");
  ASSERT_TRUE(store.tick(0us).ok());
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(late_calls, 1);
  set("k", "2");
  ASSERT_TRUE(store.tick(0us).ok());
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(inner_calls, 1);
}

TEST_F(WatchTime, TheStoreMayGoFirst) {
  auto dispatcher = std::move(*Dispatcher::open(store, DispatchOn::kTick));
  auto a = dispatcher.on_prefix("", [](const Change&) {});
  store.close();
  EXPECT_EQ(store.tick(0us).status(), Status::kClosed);
  store = Store();
}

}  // namespace
}  // namespace tern::test
