// A snapshot that serves while it is loaded: at every moment it is the store that was saved, and what was done to it since.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include <tern/namespace.h>

#include "tests/persist/snapshot_fixture.h"

namespace tern::test {
namespace {

constexpr unsigned kEntries = 20'000;

class ServingSnapshot : public SnapshotTest {
 protected:
  ServingSnapshot() : options(small_options(&clock)) {
    options.eviction = false;
    options.memory_bytes = 32 * kMiB;
    options.shard_count = 4;
  }
  // Numbered entries, some with a lifetime, some long.
  void save_numbered(unsigned entries = kEntries) {
    const Store store = open_or_fail(options);
    for (unsigned i = 0; i != entries; ++i) {
      SetOptions how;
      if (i % 10 == 0) how.ttl = milliseconds(1'000 + i);
      ASSERT_TRUE(store.set(numbered("k", i), i % 997 == 0 ? pattern(50'000, i) : pattern(i % 150, i), how).ok());
    }
    before = contents_of(store);
    save_or_fail(store);
  }
  Store serve(SnapshotOptions how = {}) {
    how.copy = false;
    return reopen_or_fail(options, how);
  }
  // Where a block of more than a hundred records begins; persist/README.md draws the file.
  static std::uint64_t block_of_many(const std::string& file) {
    const auto word = [&](std::uint64_t at, std::size_t bytes) {
      std::uint64_t value = 0;
      std::memcpy(&value, file.data() + at, bytes);
      return value;
    };
    for (std::uint64_t entry = word(104, 8) + 32 * word(20, 4); entry + 56 <= file.size(); entry += 56) {
      if (word(entry + 48, 4) > 100) return word(entry, 8);
    }
    ADD_FAILURE() << "no block has as many records";
    return 4096;
  }
  // A tick brings a block at least.
  static std::uint64_t blocks_left(const Store& store) { return store.tick(0s)->snapshot_blocks; }

  Options options;
  Contents before;
};

// What is expected of the table is met block by block, and named where it can't be.
TEST_F(ServingSnapshot, TheTableGrowsToWhatIsExpected) {
  save_numbered(3'000);
  options.entries_expected = 60'000;
  const std::uint64_t wanted = open_or_fail(options).stats().buckets;
  const Store store = serve();
  EXPECT_LT(store.stats().buckets, 200u);
  EXPECT_EQ(store.stats().entries, 0u) << "statistics bring nothing";
  EXPECT_TRUE(store.get("k1").found());
  EXPECT_LT(store.stats().buckets, wanted / 2) << "its share";
  EXPECT_EQ(contents_of(store), before);
  EXPECT_EQ(store.stats().buckets, wanted);
  EXPECT_TRUE(whole(store));
  options.entries_expected = 10'000'000;
  EXPECT_EQ(reopen(options, {.own = false, .copy = false}).error(), (Error{Status::kOutOfRange, Field::kEntriesExpected}));
}

TEST_F(ServingSnapshot, AFirstGetBringsItsBlockAlone) {
  save_numbered();
  const Store store = serve();
  EXPECT_EQ(report.entries, before.size());
  const std::uint64_t all = blocks_left(store);  // a tick brings one at most
  EXPECT_GT(all, 20u);
  EXPECT_EQ(value_of(store, "k7"), before["k7"].value);
  EXPECT_GE(blocks_left(store) + 4, all);
  EXPECT_EQ(value_of(store, "never there"), std::nullopt);
  const Lookup<Entry> e = store.get_entry("k10");
  EXPECT_EQ(e->version, before["k10"].version);
  EXPECT_EQ(e->ttl, before["k10"].ttl);
  EXPECT_GE(blocks_left(store) + 10, all);
  // Ticks bring the rest.
  for (unsigned i = 0; blocks_left(store) != 0; ++i) ASSERT_LT(i, 10 * all);
  EXPECT_EQ(store.stats().entries, before.size());
  EXPECT_EQ(contents_of(store), before);
  EXPECT_TRUE(whole(store));
}

TEST_F(ServingSnapshot, ACallOnManyKeysHasThemAll) {
  save_numbered();
  {
    const Store store = serve({.own = false});
    EXPECT_EQ(contents_of(store), before);
    EXPECT_EQ(blocks_left(store), 0u);
    EXPECT_TRUE(whole(store));
  }
  {
    const Store store = serve({.own = false});
    Values values;
    const std::string_view keys[] = {"k1", "none", "k1994"};
    ASSERT_TRUE(store.get_many(keys, values).ok());
    EXPECT_EQ(values[0]->size(), before["k1"].value.size());
    EXPECT_TRUE(values[1].missing());
    EXPECT_EQ(values[2]->size(), 50'000u);
  }
  {
    Store store = serve();
    ASSERT_TRUE(store.set("k3", "changed").ok());
    ASSERT_TRUE(*store.del("k4"));
    save_or_fail(store);
    Contents wanted = before;
    wanted["k3"] = {"changed", store.get_entry("k3")->version, {}};
    wanted.erase("k4");
    EXPECT_EQ(contents_of(reopen_or_fail(options, {.own = false})), wanted) << "a save has what hadn't come";
  }
}

// The directory's few blocks, whether the namespace is in the file or is to be made.
TEST_F(ServingSnapshot, ANamespaceBringsWhatSaysWhatItsNameMeans) {
  options.memory_bytes = 64 * kMiB;
  {
    const Store store = open_or_fail(options);
    for (unsigned i = 0; i != 3 * kEntries; ++i) ASSERT_TRUE(store.set(numbered("k", i), pattern(100, i)).ok());
    for (const char* name : {"first", "second"}) {
      Result<Namespace> made = store.ns(name, {.separator = '/'});
      ASSERT_TRUE(made.ok());
      ASSERT_TRUE(made->set("k1", name).ok());
    }
    save_or_fail(store);
  }
  const Store store = serve();
  std::uint64_t left = blocks_left(store);
  ASSERT_GT(left, 80u);
  Result<Namespace> second = store.ns("second");
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(second->options().separator, '/');
  EXPECT_GE(blocks_left(store) + 8, left) << "two names, two numbers, the number after them, a tick's own";
  left = blocks_left(store);
  Result<Namespace> third = store.ns("third", {.separator = '.'});
  ASSERT_TRUE(third.ok());
  EXPECT_GE(blocks_left(store) + 5, left) << "the totals, a name, a tick's own";
  ASSERT_TRUE(third->set("k1", "third").ok());
  EXPECT_EQ(store.ns("first", {.separator = '.'}).error(), (Error{Status::kInvalidArgument, Field::kSeparator}));
  EXPECT_GT(blocks_left(store), 60u);
  // As if all had been there: numbers are given out once.
  const auto check = [](const Store& s) {
    for (const char* name : {"first", "second", "third"}) {
      Result<Namespace> n = s.ns(name);
      ASSERT_TRUE(n.ok());
      const auto value = n->get("k1");
      ASSERT_TRUE(value.found());
      EXPECT_EQ(std::string_view(*value), name);
      EXPECT_EQ(n->stats().entries, 1u) << name;
    }
    EXPECT_EQ(contents_of(s).size(), 3 * kEntries);
    EXPECT_TRUE(whole(s));
  };
  check(store);
  save_or_fail(store);
  check(reopen_or_fail(options, {.own = false}));
}

// Operations of all kinds beside a map, from a store that has just been opened, with maintenance here and there.
TEST_F(ServingSnapshot, AnswersAsAStoreThatHasEverything) {
  save_numbered(4'000);
  for (unsigned round = 0; round != quick_or_long(6u, 200u); ++round) {
    std::mt19937 random(round);
    const Store store = serve({.own = false});
    std::map<std::string, std::string> model;
    for (const auto& [key, saved] : before) model[key] = saved.value;
    for (unsigned n = 0; n != 3'000; ++n) {
      const std::string key = numbered("k", random() % 4'400);
      const auto it = model.find(key);
      const bool there = it != model.end();
      switch (random() % 10) {
        case 0:
        case 1:
          ASSERT_EQ(value_of(store, key), there ? std::optional(it->second) : std::nullopt) << key;
          break;
        case 2:
          ASSERT_TRUE(store.set(key, "set").ok());
          model[key] = "set";
          break;
        case 3:
          ASSERT_EQ(*store.del(key), there);
          model.erase(key);
          break;
        case 4:
          ASSERT_EQ(*store.set_nx(key, "nx"), !there);
          if (!there) model[key] = "nx";
          break;
        case 5:
          ASSERT_EQ(*store.append(key, "+"), (there ? it->second.size() : 0) + 1);
          model[key] += "+";
          break;
        case 6:
          ASSERT_EQ(*store.exists(key), there);
          break;
        case 7: {
          const bool right = random() % 2 == 0;
          ASSERT_EQ(*store.compare_and_swap(key, there && right ? it->second : "other", "swapped"), there && right);
          if (there && right) model[key] = "swapped";
          break;
        }
        case 8: {
          const auto hit = store.visit(key, [&](std::string_view v) {
            EXPECT_EQ(v, it->second);
            // A call of the callback's own, on a key that may not have come.
            EXPECT_EQ(store.exists("k17").value(), model.contains("k17"));
          });
          ASSERT_EQ(hit.found(), there);
          break;
        }
        case 9:
          if (random() % 20 == 0) {
            ASSERT_TRUE(store.tick(0s).ok());
          }
          break;
      }
    }
    std::map<std::string, std::string> found;
    for (const auto& [key, saved] : contents_of(store)) found[key] = saved.value;
    ASSERT_EQ(found, model);
    EXPECT_TRUE(whole(store));
  }
}

TEST_F(ServingSnapshot, ThreadsAndMaintenanceMeetWhileItComes) {
  save_numbered();
  options.clock = nullptr;
  options.maintenance = Maintenance::kBackground;
  for (unsigned round = 0; round != quick_or_long(4u, 100u); ++round) {
    const Store store = serve({.own = false});
    constexpr unsigned kThreads = 4;
    std::atomic<unsigned> wrong{0};
    std::vector<std::thread> threads;
    for (unsigned t = 0; t != kThreads; ++t) {
      threads.emplace_back([&, t] {
        std::mt19937 random(round * 10 + t);
        std::map<std::string, std::string> own;  // of the keys that only this thread changes
        for (unsigned n = 0; n != 3'000; ++n) {
          const auto i = static_cast<unsigned>(random() % kEntries);
          const std::string key = numbered("k", i);
          const std::string& saved = before.at(key).value;
          if (i % kThreads != t) {  // others' keys, in whatever state
            wrong += store.get(key).failed();
            continue;
          }
          if (i % 10 == 0) continue;  // those expire meanwhile
          const auto it = own.find(key);
          const std::string& wanted = it != own.end() ? it->second : saved;
          switch (random() % 3) {
            case 0: wrong += value_of(store, key) != wanted; break;
            case 1:
              wrong += !store.set(key, numbered("by ", n)).ok();
              own[key] = numbered("by ", n);
              break;
            case 2:
              wrong += *store.append(key, "x") != wanted.size() + 1;
              own[key] = wanted + "x";
              break;
          }
        }
        for (const auto& [key, value] : own) wrong += value_of(store, key) != value;
      });
    }
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(wrong, 0u);
    EXPECT_TRUE(whole(store));
    EXPECT_EQ(blocks_left(store), 0u);
  }
}

TEST_F(ServingSnapshot, DamageIsMetWhereItIs) {
  save_numbered();
  std::string bytes = bytes_of_file(path);
  const std::uint64_t at = block_of_many(bytes);
  bytes[at + 104] ^= 1;
  write_file(path, bytes);
  std::vector<std::string> logged;
  options.log = [](void* user, const char* line) { static_cast<std::vector<std::string>*>(user)->push_back(line); };
  options.log_user = &logged;
  const Store store = serve({.own = false});
  unsigned damaged = 0;
  for (unsigned i = 0; i != kEntries; ++i) {
    const std::string key = numbered("k", i);
    const Lookup<Value> r = store.get(key);
    if (r.failed()) {
      ++damaged;
      EXPECT_EQ(r.error(), (Error{Status::kCorrupt, Field::kPath}));
      EXPECT_EQ(store.set(key, "v").status(), Status::kCorrupt) << "what isn't known can't be changed";
    } else {
      ASSERT_EQ(r->view(), before[key].value);
    }
  }
  EXPECT_GT(damaged, 100u);
  EXPECT_LT(damaged, 3'000u);
  EXPECT_EQ(store.view().status(), Status::kCorrupt);
  ASSERT_EQ(logged.size(), 1u) << "once";
  EXPECT_NE(logged[0].find("at byte " + std::to_string(at) + ": a block's checksum is wrong"), std::string::npos);
  for (unsigned i = 0; i != 100; ++i) EXPECT_TRUE(store.tick(1ms).ok());
}

TEST_F(ServingSnapshot, AFileThatIsRemovedStillServesAndOneThatIsCutIsAnError) {
  save_numbered();
  {
    const Store store = serve({.own = false});
    std::filesystem::rename(path, path + ".moved");
    EXPECT_EQ(contents_of(store), before);
    std::filesystem::rename(path + ".moved", path);
  }
  const Store store = serve({.own = false});
  std::filesystem::resize_file(path, 100'000);
  unsigned failed = 0;
  for (unsigned i = 0; i != kEntries; ++i) failed += store.get(numbered("k", i)).status() == Status::kCorrupt;
  EXPECT_GT(failed, kEntries / 2);
}

TEST_F(ServingSnapshot, LifetimesGoOnWhileTheyAreInTheFile) {
  save_numbered();
  const Store store = serve();
  clock.advance(1'500ms);
  for (unsigned i = 0; i != kEntries; i += 10) {
    EXPECT_EQ(store.get(numbered("k", i)).found(), 1'000 + i > 1'500) << i;
  }
  EXPECT_EQ(**store.ttl("k1000"), 500ms);
  EXPECT_TRUE(whole(store));
}

TEST_F(ServingSnapshot, ABudgetThatIsTooSmallSaysSo) {
  save_numbered(40'000);
  options.memory_bytes = 4 * kMiB;
  options.shard_count = 0;
  SnapshotOptions how;
  how.copy = false;
  EXPECT_EQ(reopen(options, how).error(), (Error{Status::kOutOfRange, Field::kMemoryBytes})) << "the file is longer";
  // With eviction the budget decides who stays.
  options.eviction = true;
  const Store store = serve();
  unsigned found = 0;
  for (unsigned i = 0; i != kEntries; ++i) {
    const Lookup<Value> r = store.get(numbered("k", i));
    ASSERT_FALSE(r.failed());
    found += r.found();
  }
  EXPECT_GT(found, 1'000u);
  EXPECT_TRUE(whole(store));
}

TEST_F(ServingSnapshot, ClosedWhileItComesIsClosed) {
  save_numbered();
  options.maintenance = Maintenance::kBackground;
  for (unsigned i = 0; i != 20; ++i) {
    Store store = serve();
    EXPECT_TRUE(store.get("k1").found());
    std::thread other([&] {
      for (unsigned n = 0; store.get(numbered("k", n % kEntries)).status() != Status::kClosed; ++n) {}
    });
    store.close();
    other.join();
    EXPECT_EQ(store.get("k1").status(), Status::kClosed);
    EXPECT_EQ(store.view().status(), Status::kClosed);
  }
}

}  // namespace
}  // namespace tern::test
