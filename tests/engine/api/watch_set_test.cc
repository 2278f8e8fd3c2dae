// Many filters in one watch, changes by callback and by co_await.
#include <tern/coroutine.h>
#include <tern/dispatcher.h>
#include <tern/watch_set.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

using Lines = std::vector<std::string>;

std::string line(const Change& c) {
  std::string s = c.kind == ChangeKind::kPut ? "" : c.kind == ChangeKind::kGap ? "gap " : "-";
  s += c.key;
  if (c.kind == ChangeKind::kPut) s += "=" + std::string(c.value);
  if (c.kind == ChangeKind::kGap) s += std::to_string(c.lost);
  return s;
}

class WatchSetTest : public StoreTest {
 protected:
  // Each change with the filters that it is for.
  Lines lines(WatchSet& set) {
    Lines all;
    Change changes[16];
    for (;;) {
      const auto n = set.poll(changes);
      EXPECT_TRUE(n.ok());
      if (!n || *n == 0) break;
      for (const Change& c : std::span(changes).first(*n)) {
        std::vector<std::uint32_t> filters;
        set.for_each_filter(c, [&](std::uint32_t f) { filters.push_back(f); });
        std::sort(filters.begin(), filters.end());
        std::string s = line(c) + ":";
        for (const std::uint32_t f : filters) s += " " + std::to_string(f);
        all.push_back(s);
      }
    }
    std::sort(all.begin(), all.end());
    return all;
  }
  WatchSet open_set(const WatchSetOptions& options = {}) {
    Result<WatchSet> set = WatchSet::open(store, options);
    EXPECT_TRUE(set.ok());
    return std::move(*set);
  }
  Dispatcher open_dispatcher(DispatchOn on) {
    Result<Dispatcher> d = Dispatcher::open(store, on);
    EXPECT_TRUE(d.ok());
    return std::move(*d);
  }
  void set(const std::string& key, const std::string& value) { ASSERT_TRUE(store.set(key, value).ok()); }
};

TEST_F(WatchSetTest, AChangeComesOnceWithAllItsFilters) {
  WatchSet watches = open_set();
  EXPECT_EQ(*watches.add_key("a.b"), 0u);
  EXPECT_EQ(*watches.add_prefix("a."), 1u);
  EXPECT_EQ(*watches.add_glob("*.b"), 2u);
  EXPECT_EQ(*watches.add_prefix(""), 3u);
  EXPECT_EQ(watches.size(), 4u);
  set("a.b", "1");
  set("a.c", "2");
  set("z", "3");
  EXPECT_TRUE(store.del("z").ok());
  EXPECT_EQ(lines(watches), (Lines{"-z: 3", "a.b=1: 0 1 2 3", "a.c=2: 1 3", "z=3: 3"}));
  EXPECT_EQ(store.stats().watches, 1u);
}

TEST_F(WatchSetTest, WhatWasBeforeAFilterIsNotForIt) {
  WatchSet watches = open_set();
  ASSERT_TRUE(watches.add_prefix("a").ok());
  set("a", "before");
  set("b", "before");
  const std::uint32_t b = *watches.add_prefix("b");
  set("b", "after");
  EXPECT_EQ(lines(watches), (Lines{"a=before: 0", "b=after: 1"}));
  set("b", "late");
  EXPECT_TRUE(watches.remove(b));
  EXPECT_FALSE(watches.remove(b));
  EXPECT_EQ(lines(watches), Lines{});
}

TEST_F(WatchSetTest, BadFiltersAreRefusedAndNamed) {
  WatchSet watches = open_set();
  EXPECT_EQ(watches.add_key("").error(), (Error{Status::kInvalidKey, Field::kKey}));
  EXPECT_EQ(watches.add_prefix(std::string(kKeyBytesMax + 1, 'k')).error(), (Error{Status::kTooLarge, Field::kKey}));
  EXPECT_EQ(watches.add_glob("a[").error(), (Error{Status::kInvalidArgument, Field::kPattern, 1}));
  EXPECT_EQ(watches.size(), 0u);
  set("k", "v");
  EXPECT_EQ(lines(watches), Lines{});
  store.close();
  EXPECT_EQ(watches.add_key("k").status(), Status::kClosed);
  EXPECT_EQ(WatchSet::open(store).status(), Status::kClosed);
  EXPECT_EQ(WatchSet().add_key("k").status(), Status::kClosed);
}

TEST_F(WatchSetTest, TenThousandPrefixesInOne) {
  WatchSet watches = open_set();
  for (int i = 0; i != 10'000; ++i) ASSERT_TRUE(watches.add_prefix(numbered("user", i) + ".").ok());
  EXPECT_FALSE(*watches.wait(std::chrono::milliseconds(0)));
  set(numbered("user", 77) + ".x", "1");
  set("nobody", "1");
  EXPECT_TRUE(*watches.wait(std::chrono::milliseconds(0)));
  EXPECT_EQ(lines(watches), Lines{numbered("user", 77) + ".x=1: 77"});
}

// --- what was before ---------------------------------------------------------------------------------------------------

TEST_F(WatchSetTest, PreviousIsWhatWasToldBefore) {
  set("old", "0");
  Watch watch = std::move(*store.watch_prefix("", {.initial = true, .previous = true}));
  Change c[8];
  ASSERT_EQ(*watch.poll(c), 2u);  // and kSynced
  EXPECT_FALSE(c[0].has_previous);
  set("old", "1");
  set("old", "2");
  EXPECT_TRUE(store.del("old").ok());
  set("old", "");
  set("old", "3");
  ASSERT_EQ(*watch.poll(c), 5u);
  const char* const previous[] = {"0", "1", "2", nullptr, ""};
  for (int i = 0; i != 5; ++i) {
    EXPECT_EQ(c[i].has_previous, previous[i] != nullptr) << i;
    if (previous[i] != nullptr) {
      EXPECT_EQ(c[i].previous, previous[i]) << i;
    }
  }
}

TEST_F(WatchSetTest, OnChangeOnlyPassesOverWhatIsTheSame) {
  Watch watch = std::move(*store.watch_prefix("", {.keys_only = true, .on_change_only = true}));
  for (const char* value : {"1", "1", "2", "2", "2", "1", ""}) set("k", value);
  EXPECT_TRUE(store.del("k").ok());
  set("k", "");
  Change c[16];
  ASSERT_TRUE(*watch.wait(std::chrono::milliseconds(0)));  // looks, and forgets nothing
  ASSERT_EQ(*watch.poll(c), 6u);
  EXPECT_EQ(c[4].kind, ChangeKind::kDelete);
  for (int i = 0; i != 6; ++i) EXPECT_TRUE(c[i].value.empty());
  set("k", "");
  EXPECT_EQ(*watch.poll(c), 0u);
  EXPECT_FALSE(*watch.wait(std::chrono::milliseconds(0)));
}

TEST_F(WatchSetTest, WhatIsRememberedIsBounded) {
  Watch watch = std::move(*store.watch_prefix("", {.previous = true, .memory_bytes = 4'000}));
  Change c[8];
  const std::string large(5'000, 'x');
  for (int round = 0; round != 2; ++round) {
    for (int i = 0; i != 100; ++i) {
      set(numbered("k", i), "v");
      ASSERT_EQ(*watch.poll(c), 1u);
      EXPECT_FALSE(c[0].has_previous);  // a hundred keys don't fit
    }
  }
  set(numbered("k", 99), large);
  ASSERT_EQ(*watch.poll(c), 1u);
  EXPECT_EQ(c[0].previous, "v");
  set(numbered("k", 99), "v");
  ASSERT_EQ(*watch.poll(c), 1u);
  EXPECT_FALSE(c[0].has_previous);
}

// --- callbacks ---------------------------------------------------------------------------------------------------------

TEST_F(WatchSetTest, CallbacksWhereTheProgramWantsThem) {
  Dispatcher dispatcher = open_dispatcher(DispatchOn::kCaller);
  Lines told;
  const auto note = [&](const char* who) { return [&told, who](const Change& c) { told.push_back(who + (" " + line(c))); }; };
  set("a.old", "0");
  auto prefix = dispatcher.on_prefix("a.", note("prefix"));
  auto key = dispatcher.on_key("a.k", note("key"));
  auto glob = dispatcher.on_glob("*.k", note("glob"));
  auto own = dispatcher.add(std::move(*store.watch_prefix("a.", {.initial = true})), note("watch"));
  ASSERT_TRUE(prefix.ok() && key.ok() && glob.ok() && own.ok());
  EXPECT_EQ(dispatcher.on_glob("a[", note("bad")).error(), (Error{Status::kInvalidArgument, Field::kPattern, 1}));
  set("a.k", "1");
  set("b", "1");
  EXPECT_TRUE(told.empty());
  EXPECT_GT(dispatcher.dispatch(), 0u);
  std::sort(told.begin(), told.end());
  EXPECT_EQ(told, (Lines{"glob a.k=1", "key a.k=1", "prefix a.k=1", "watch -", "watch a.k=1", "watch a.old=0"}));
  told.clear();
  key->cancel();
  key->cancel();
  EXPECT_EQ(dispatcher.dispatch(), 0u);
  set("a.k", "2");
  EXPECT_GT(dispatcher.dispatch(), 0u);
  std::sort(told.begin(), told.end());
  EXPECT_EQ(told, (Lines{"glob a.k=2", "prefix a.k=2", "watch a.k=2"}));
  EXPECT_EQ(store.stats().watches, 2u);
  dispatcher.close();
  EXPECT_EQ(store.stats().watches, 0u);
  EXPECT_EQ(dispatcher.on_key("k", note("late")).status(), Status::kClosed);
}

TEST_F(WatchSetTest, ACallbackMayDoAnything) {
  Dispatcher dispatcher = open_dispatcher(DispatchOn::kCaller);
  Subscription self, other, later;
  int calls = 0, other_calls = 0, later_calls = 0;
  auto alive = std::make_shared<int>(1);
  self = std::move(*dispatcher.on_prefix("k", [&, alive](const Change& c) {
    ++calls;
    EXPECT_TRUE(store.get(std::string(c.key)).found());
    EXPECT_TRUE(store.set("from a callback", "1").ok());
    other.cancel();
    later = std::move(*dispatcher.on_prefix("", [&](const Change&) { ++later_calls; }));
    self.cancel();
    EXPECT_EQ(*alive, 1);  // what it holds is there until it returns
    EXPECT_EQ(dispatcher.dispatch(), 0u);
  }));
  other = std::move(*dispatcher.on_prefix("k", [&](const Change&) { ++other_calls; }));
  set("k1", "1");
  set("k2", "2");
  const long held = alive.use_count();
  dispatcher.dispatch();
  EXPECT_EQ(alive.use_count(), held - 1);
  EXPECT_EQ(calls, 1);
  EXPECT_LE(other_calls, 1);  // it may have come first
  const int before = later_calls;
  set("k3", "3");
  dispatcher.dispatch();
  EXPECT_EQ(calls, 1);
  EXPECT_GT(later_calls, before);
}

TEST_F(WatchSetTest, ACallbackMayEndItsDispatcher) {
  for (const DispatchOn on : {DispatchOn::kCaller, DispatchOn::kThread}) {
    Dispatcher dispatcher = open_dispatcher(on);
    std::atomic<int> calls{0};
    Subscription s = std::move(*dispatcher.on_prefix("k", [&](const Change&) {
      dispatcher.close();
      ++calls;
    }));
    set("k1", "1");
    set("k2", "2");
    if (on == DispatchOn::kCaller) dispatcher.dispatch();
    while (calls.load() == 0) std::this_thread::yield();
    s.cancel();  // after the turn
    EXPECT_EQ(calls.load(), 1);
  }
  // A thread that ended itself may still be on its way out, and verify() wants nobody else in the store.
  store.close();
}

TEST_F(WatchSetTest, AHandlerMayOwnItsSubscription) {
  Dispatcher dispatcher = open_dispatcher(DispatchOn::kCaller);
  auto own = std::make_shared<Subscription>();
  *own = std::move(*dispatcher.on_prefix("k", [own](const Change&) {}));
  own.reset();
  set("k", "1");
  EXPECT_GT(dispatcher.dispatch(), 0u);
  dispatcher.close();  // frees both
}

TEST_F(WatchSetTest, AfterCancelNoCallbackRuns) {
  Dispatcher dispatcher = open_dispatcher(DispatchOn::kThread);
  std::atomic<bool> stops{false};
  std::thread writer([&] {
    for (int i = 0; !stops.load(); ++i) ASSERT_TRUE(store.set(numbered("k", i % 64), "v").ok());
  });
  for (int round = 0; round != 100; ++round) {
    auto running = std::make_unique<std::atomic<int>>(0);
    std::atomic<int>* r = running.get();
    std::atomic<int> calls{0};
    Subscription s = std::move(*dispatcher.on_prefix("k", [&calls, r](const Change&) {
      r->fetch_add(1);
      calls.fetch_add(1);
      r->fetch_sub(1);
    }));
    while (calls.load() == 0) std::this_thread::yield();
    s.cancel();
    ASSERT_EQ(running->load(), 0);
    running.reset();  // a call that comes late would touch it
  }
  stops.store(true);
  writer.join();
}

TEST_F(WatchSetTest, ASleepingDispatcherIsWoken) {
  Dispatcher dispatcher = open_dispatcher(DispatchOn::kThread);
  std::atomic<int> calls{0};
  Subscription s = std::move(*dispatcher.on_key("k", [&](const Change&) { calls.fetch_add(1); }));
  for (int i = 1; i != 50; ++i) {
    set("k", std::to_string(i));
    while (calls.load() < i) std::this_thread::yield();
  }
}

// --- co_await ----------------------------------------------------------------------------------------------------------

struct Task {
  struct promise_type {
    Task get_return_object() noexcept { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    void unhandled_exception() noexcept { std::abort(); }
  };
};

template <class Executor>
Task follow(Dispatcher& dispatcher, Watch watch, Lines& told, std::atomic<int>& ended, Executor executor) {
  Change changes[2];
  for (;;) {
    const auto n = co_await next_changes(dispatcher, watch, changes, executor);
    if (!n) break;
    for (const Change& c : std::span(changes).first(*n)) told.push_back(line(c));
  }
  ended.fetch_add(1);
}

TEST_F(WatchSetTest, ChangesByCoAwait) {
  Dispatcher dispatcher = open_dispatcher(DispatchOn::kCaller);
  Lines told;
  std::atomic<int> ended{0};
  set("k", "0");
  follow(dispatcher, std::move(*store.watch_key("k")), told, ended, ResumeInline());
  for (const char* value : {"1", "2", "3"}) set("k", value);
  set("other", "1");
  EXPECT_TRUE(told.empty());
  EXPECT_GT(dispatcher.dispatch(), 0u);
  EXPECT_EQ(told, (Lines{"k=1", "k=2", "k=3"}));
  EXPECT_EQ(dispatcher.dispatch(), 0u);
  EXPECT_EQ(ended.load(), 0);
  dispatcher.close();
  EXPECT_EQ(ended.load(), 1);
}

TEST_F(WatchSetTest, ACoroutineGoesOnWhereItsExecutorSays) {
  Dispatcher dispatcher = open_dispatcher(DispatchOn::kThread);
  Lines told;
  std::atomic<int> ended{0};
  std::atomic<void*> posted{nullptr};
  const auto post = [&](std::coroutine_handle<> h) noexcept { posted.store(h.address()); };
  follow(dispatcher, std::move(*store.watch_key("k")), told, ended, post);
  for (int i = 0; i != 20; ++i) {
    set("k", std::to_string(i));
    void* h;
    while ((h = posted.exchange(nullptr)) == nullptr) std::this_thread::yield();
    std::coroutine_handle<>::from_address(h).resume();  // on this thread
    ASSERT_EQ(told.size(), static_cast<std::size_t>(i) + 1);
  }
  store.close();
  void* h;
  while ((h = posted.exchange(nullptr)) == nullptr) std::this_thread::yield();
  std::coroutine_handle<>::from_address(h).resume();
  EXPECT_EQ(ended.load(), 1);
}

}  // namespace
}  // namespace tern::test
