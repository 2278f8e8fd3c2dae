// Opening, closing, handles, threads that come and go, fork.
#include <sys/wait.h>
#include <tern/store.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <latch>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

template <class Handle>
void expect_closed(const Handle& handle) {
  for (const auto& [call, error] : every_keyed_call(handle, "k")) {
    EXPECT_EQ(error.status, Status::kClosed) << call;
  }
  for (const auto& [call, error] : every_many_call(handle)) {
    EXPECT_EQ(error.status, Status::kClosed) << call;
  }
}

void expect_closed_store(const Store& store) {
  EXPECT_FALSE(store.is_open());
  expect_closed(store);
  EXPECT_EQ(store.session().status(), Status::kClosed);
  EXPECT_EQ(store.tick(1ms).status(), Status::kClosed);
  EXPECT_EQ(store.memory_usage("k").status(), Status::kClosed);
  EXPECT_EQ(store.inspect("k").status(), Status::kClosed);
  EXPECT_EQ(store.resize(64 * kMiB).status(), Status::kClosed);
  EXPECT_EQ(store.verify().status(), Status::kClosed);
  store.holders([](const Holder&) { ADD_FAILURE(); });
  EXPECT_EQ(store.stats().entries, 0u);
}

class LifecycleTest : public StoreTest {};

TEST(DefaultStoreTest, ADefaultStoreIsClosed) {
  const Store store;
  expect_closed_store(store);
  const Session session;
  expect_closed(session);
}

TEST_F(LifecycleTest, EveryCallAfterCloseAnswersClosed) {
  ASSERT_TRUE(store.set("k", "v"));
  const Store copy = store;
  Result<Session> session = store.session();
  ASSERT_TRUE(session);
  EXPECT_TRUE(copy.is_open());
  store.close();
  expect_closed_store(store);
  expect_closed_store(copy);
  expect_closed(*session);
  store.close();
  expect_closed_store(copy);
}

TEST_F(LifecycleTest, CloseThroughOneHandleClosesAll) {
  Store a = store;
  Store b;
  b = a;
  a.close();
  EXPECT_FALSE(b.is_open());
  EXPECT_FALSE(store.is_open());
}

TEST_F(LifecycleTest, CopiesAreTheSameStoreAndTheLastOneCloses) {
  Store own = open_or_fail(small_options());
  ASSERT_TRUE(own.set("k", "v"));
  auto copy = std::make_unique<Store>(own);
  own = Store();
  EXPECT_EQ(value_of(*copy, "k"), "v");
  Store moved(std::move(*copy));
  copy.reset();
  EXPECT_TRUE(moved.is_open());
  EXPECT_EQ(value_of(moved, "k"), "v");
  Store& itself = moved;
  moved = itself;
  EXPECT_EQ(value_of(moved, "k"), "v");
  moved = std::move(itself);
  EXPECT_EQ(value_of(moved, "k"), "v");
}

TEST_F(LifecycleTest, AMovedFromStoreIsClosed) {
  Store a = open_or_fail(small_options());
  const Store b(std::move(a));
  EXPECT_EQ(a.set("k", "v").status(), Status::kClosed);
  EXPECT_TRUE(b.set("k", "v"));
}

TEST_F(LifecycleTest, ASessionKeepsTheStoreOpen) {
  Result<Session> session;
  {
    Store own = open_or_fail(small_options());
    ASSERT_TRUE(own.set("k", "v"));
    session = own.session();
  }
  EXPECT_EQ(value_of(*session, "k"), "v");
  EXPECT_TRUE(session->set("k", "w"));
  EXPECT_EQ(value_of(*session, "k"), "w");
}

TEST_F(LifecycleTest, SessionsMove) {
  Session a = std::move(*store.session());
  ASSERT_TRUE(a.set("k", "v"));
  Session b(std::move(a));
  EXPECT_EQ(value_of(b, "k"), "v");
  EXPECT_EQ(a.set("k", "w").status(), Status::kClosed);
  a = std::move(b);
  EXPECT_EQ(value_of(a, "k"), "v");
}

TEST_F(LifecycleTest, SeveralSessionsOfOneThread) {
  std::vector<Session> sessions;
  for (unsigned i = 0; i < 20; ++i) {
    sessions.push_back(std::move(*store.session()));
    ASSERT_TRUE(sessions.back().set(numbered("k", i), "v"));
  }
  for (unsigned i = 0; i < 20; ++i) {
    ASSERT_EQ(value_of(sessions[19 - i], numbered("k", i)), "v");
  }
}

TEST_F(LifecycleTest, StoresAreIndependentOfEachOther) {
  std::vector<Store> stores;
  for (unsigned i = 0; i < 20; ++i) {
    Options options = small_options();
    options.memory_bytes = 4 * kMiB;
    stores.push_back(open_or_fail(options));
    ASSERT_TRUE(stores.back().set("k", numbered("store ", i)));
  }
  // One thread between many stores, some of which close meanwhile.
  for (unsigned i = 0; i < 20; i += 3) stores[i].close();
  for (unsigned round = 0; round < 3; ++round) {
    for (unsigned i = 0; i < 20; ++i) {
      if (i % 3 == 0) {
        ASSERT_EQ(stores[i].get("k").status(), Status::kClosed);
      } else {
        ASSERT_EQ(value_of(stores[i], "k"), numbered("store ", i));
      }
    }
  }
}

TEST_F(LifecycleTest, AStoreAtTheSameAddressIsAnotherStore) {
  // A thread's memory of the last store must not be taken for the next one.
  for (unsigned i = 0; i < 50; ++i) {
    Options options = small_options();
    options.memory_bytes = 4 * kMiB;
    const Store own = open_or_fail(options);
    ASSERT_EQ(value_of(own, "k"), std::nullopt) << i;
    ASSERT_TRUE(own.set("k", "v"));
    ASSERT_EQ(own.stats().entries, 1u);
    ASSERT_EQ(own.stats().sets, 1u);
  }
}

// --- what is left behind
// ---------------------------------------------------------------------------------------

struct Footprint {
  std::size_t mappings = 0, descriptors = 0, threads = 0, resident_bytes = 0;
};

Footprint footprint() {
  Footprint f;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) ++f.mappings;
  for ([[maybe_unused]] const auto& fd : std::filesystem::directory_iterator("/proc/self/fd"))
    ++f.descriptors;
  for ([[maybe_unused]] const auto& t : std::filesystem::directory_iterator("/proc/self/task"))
    ++f.threads;
  std::ifstream statm("/proc/self/statm");
  std::size_t pages = 0;
  statm >> pages >> pages;
  f.resident_bytes = pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return f;
}

void expect_no_growth(const Footprint& before, const Footprint& after, std::size_t slack_bytes) {
  EXPECT_LE(after.descriptors, before.descriptors);
  EXPECT_LE(after.threads, before.threads);
  if (!kSanitized) {  // whose shadow grows
    EXPECT_LE(after.mappings, before.mappings + 8);
    EXPECT_LE(after.resident_bytes, before.resident_bytes + slack_bytes);
  }
}

TEST_F(LifecycleTest, OpenAndCloseManyTimesLeavesNothing) {
  const auto once = [](unsigned i) {
    Options options = small_options();
    options.memory_bytes = 4 * kMiB;
    options.hash_seed.reset();
    Store own = open_or_fail(options);
    ASSERT_TRUE(own.set(numbered("k", i), pattern(1'000)));
    ASSERT_TRUE(own.del("k"));
    const Result<Session> session = own.session();
    ASSERT_TRUE(session->set("s", "v"));
    if (i % 2 == 0) own.close();
  };
  for (unsigned i = 0; i < 100; ++i) once(i);
  const Footprint before = footprint();
  const unsigned count = quick_or_long(1'000u, 10'000u);
  for (unsigned i = 0; i < count; ++i) once(i);
  expect_no_growth(before, footprint(), 4 * kMiB);
}

TEST_F(LifecycleTest, StoresClosedWithHeldValuesAndDraftsLeaveNothing) {
  const auto once = [] {
    Options options = small_options();
    options.memory_bytes = 4 * kMiB;
    HeldValue held;
    {
      Store own = open_or_fail(options);
      ASSERT_TRUE(own.set("k", pattern(1'000)));
      held = std::move(*own.hold("k"));
      Result<Draft> draft = own.allocate("d", 100);
      ASSERT_TRUE(draft);
      own.close();
    }
    ASSERT_EQ(held.view(), pattern(1'000));
  };
  for (int i = 0; i < 50; ++i) once();
  const Footprint before = footprint();
  for (int i = 0; i < 300; ++i) once();
  expect_no_growth(before, footprint(), 4 * kMiB);
}

TEST_F(LifecycleTest, ThreadsThatComeAndGoLeaveNothing) {
  const auto once = [&](unsigned i) {
    std::jthread([&, i] {
      for (unsigned n = 0; n < 20; ++n) ASSERT_TRUE(store.set(numbered("k", n), pattern(200, i)));
      const Result<Session> session = store.session();
      ASSERT_TRUE(session->get("k1"));
      ASSERT_TRUE(store.del("k2"));
    }).join();
  };
  for (unsigned i = 0; i < 50; ++i) once(i);
  const Footprint before = footprint();
  const std::uint64_t states = store.stats().threads;
  for (unsigned i = 0; i < quick_or_long(1'000u, 10'000u); ++i) once(i);
  expect_no_growth(before, footprint(), 4 * kMiB);
  EXPECT_LE(store.stats().threads, states + 1) << "a state is passed on to the next thread";
  EXPECT_EQ(store.stats().entries, 19u);
}

TEST_F(LifecycleTest, ThreadsThatGoBesideOthersThatWork) {
  std::vector<std::jthread> workers;
  for (unsigned t = 0; t < 3; ++t) {
    workers.emplace_back([&, t](std::stop_token stop) {
      for (unsigned i = 0; !stop.stop_requested(); ++i) {
        (void)store.set(numbered("w", (t * 97 + i) % 200), pattern(i % 400, i));
        (void)store.get(numbered("w", i % 200));
      }
    });
  }
  for (unsigned i = 0; i < 300; ++i) {
    std::jthread([&, i] {
      // Refused while a worker that is off the processor keeps the limbo full.
      const Result<std::uint64_t> r = store.set("brief", pattern(i));
      ASSERT_TRUE(r.ok() || r.status() == Status::kOutOfMemory)
          << testing::PrintToString(r.error());
    }).join();
  }
  for (std::jthread& w : workers) w.request_stop();
  workers.clear();
  EXPECT_LE(store.stats().threads, 16u);
  EXPECT_TRUE(store.set("brief", "and now there is room"));
}

TEST_F(LifecycleTest, AThreadMayOutliveTheStoreItUsed) {
  std::latch used(1), closed(1);
  Store own = open_or_fail(small_options());
  std::jthread thread([&] {
    ASSERT_TRUE(own.set("k", "v"));
    used.count_down();
    closed.wait();
    // Ends after the store has gone, and meets another one in its place first.
    const Store other = open_or_fail(small_options());
    ASSERT_TRUE(other.set("k", "w"));
  });
  used.wait();
  own = Store();
  closed.count_down();
}

TEST_F(LifecycleTest, CloseDuringCallsOfOthersAnswersClosedAndBreaksNothing) {
  for (unsigned round = 0; round < 30; ++round) {
    Options options = small_options();
    options.memory_bytes = 4 * kMiB;
    Store own = open_or_fail(options);
    std::latch running(3);
    std::vector<std::jthread> threads;
    for (unsigned t = 0; t < 3; ++t) {
      threads.emplace_back([&running, copy = own, t] {
        Value scratch;
        for (unsigned i = 0;; ++i) {
          if (i == 50) running.count_down();
          const Status w = copy.set(numbered("k", i % 50), pattern(i % 300, t)).status();
          if (w == Status::kClosed) {
            if (i < 50) running.count_down();
            return;
          }
          ASSERT_TRUE(w == Status::kOk || w == Status::kOutOfMemory);
          const Lookup<Value> r = copy.get(numbered("k", (i * 7) % 50));
          ASSERT_TRUE(r.found() || r.missing() || r.status() == Status::kClosed);
        }
      });
    }
    running.wait();
    own.close();
    threads.clear();
    EXPECT_FALSE(own.is_open());
  }
}

// --- fork
// ------------------------------------------------------------------------------------------------------

// Runs `child` in a forked process: its exit status, or -1 if it died.
template <class Fn>
int in_forked_child(Fn&& child) {
  std::fflush(nullptr);
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(child());
  int status = 0;
  if (pid < 0 || ::waitpid(pid, &status, 0) != pid || !WIFEXITED(status)) return -1;
  return WEXITSTATUS(status);
}

TEST_F(LifecycleTest, AForkedChildGetsClosedAndTheParentGoesOn) {
  ASSERT_TRUE(store.set("k", "v"));
  Result<Session> session = store.session();
  const Lookup<HeldValue> held = store.hold("k");
  const int wrong = in_forked_child([&] {
    int n = 0;
    for (const auto& [call, error] : every_keyed_call(store, "k")) {
      if (error.status != Status::kClosed) {
        std::fprintf(stderr, "in the child %s answered %s\n", call, status_name(error.status));
        ++n;
      }
    }
    for (const auto& [call, error] : every_keyed_call(*session, "k")) {
      if (error.status != Status::kClosed) {
        std::fprintf(stderr, "in the child the session's %s answered %s\n", call,
                     status_name(error.status));
        ++n;
      }
    }
    for (const auto& [call, error] : every_many_call(store)) n += error.status != Status::kClosed;
    n += store.is_open();
    return n;
  });
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(value_of(store, "k"), "v");
  EXPECT_EQ(held->view(), "v");
  EXPECT_TRUE(session->set("k", "w"));
  EXPECT_EQ(value_of(store, "k"), "w");
}

TEST_F(LifecycleTest, AForkedChildMayDropItsHandlesAndOpenAStoreOfItsOwn) {
  ASSERT_TRUE(store.set("k", "v"));
  const int wrong = in_forked_child([&] {
    store.close();
    store = Store();
    Result<Store> own = Store::open(small_options());
    if (!own) return 1;
    for (unsigned i = 0; i < 1'000; ++i) {
      if (!own->set(numbered("k", i), "child's")) return 2;
    }
    const Lookup<Value> r = own->get("k7");
    return r && *r == "child's" ? 0 : 3;
  });
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(value_of(store, "k"), "v") << "what the child did to its handle is its own";
  EXPECT_TRUE(store.set("k2", "v2"));
}

TEST_F(LifecycleTest, AForkAmidWritersLeavesTheParentWhole) {
  std::vector<std::jthread> writers;
  for (unsigned t = 0; t < 2; ++t) {
    writers.emplace_back([&, t](std::stop_token stop) {
      for (unsigned i = 0; !stop.stop_requested(); ++i) {
        (void)store.set(numbered("k", (i * 13 + t) % 300), pattern(i % 200, t));
        (void)store.del(numbered("k", (i * 17) % 300));
      }
    });
  }
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(in_forked_child([&] { return store.get("k1").status() == Status::kClosed ? 0 : 1; }),
              0);
  }
  for (std::jthread& w : writers) w.request_stop();
  writers.clear();
}

}  // namespace
}  // namespace tern::test
