// The recipes do what their first lines promise.
#include <algorithm>
#include <atomic>
#include <charconv>
#include <set>
#include <thread>
#include <vector>

#include "tests/persist/snapshot_fixture.h"
#include "tests/recipes/feature_flags.h"
#include "tests/recipes/live_config.h"
#include "tests/recipes/optimistic.h"
#include "tests/recipes/resource_pool.h"
#include "tests/recipes/service_registry.h"
#include "tests/recipes/unique_ids.h"

namespace tern::recipes {
namespace {

using namespace std::chrono_literals;
using test::small_options;

class Recipes : public test::StoreTest {};

template <class Fn>
void on_threads(unsigned count, Fn&& fn) {
  std::vector<std::thread> threads;
  for (unsigned t = 0; t != count; ++t) threads.emplace_back([&fn, t] { fn(t); });
  for (auto& t : threads) t.join();
}
std::int64_t number_in(std::string_view text) {
  std::int64_t n = 0;
  std::from_chars(text.data(), text.data() + text.size(), n);
  return n;
}

TEST_F(Recipes, NoIdComesTwice) {
  constexpr unsigned kThreads = 3, kEach = 5'000;
  std::vector<std::vector<std::int64_t>> got(kThreads);
  std::vector<std::thread> threads;
  for (unsigned t = 0; t != kThreads; ++t) {
    threads.emplace_back([&, t] {
      UniqueIds ids(store, "order");
      for (unsigned i = 0; i != kEach; ++i) {
        const auto id = ids.next();
        ASSERT_TRUE(id);
        got[t].push_back(*id);
      }
    });
  }
  for (auto& t : threads) t.join();
  std::set<std::int64_t> all;
  for (const auto& ids : got) all.insert(ids.begin(), ids.end());
  EXPECT_EQ(all.size(), kThreads * kEach);
  EXPECT_EQ(*all.begin(), 1);
}

// A snapshot's next life begins where the file stands, which is behind what was given out after the save.
TEST(RecipesOfSnapshots, NoIdComesTwiceAcrossLives) {
  const test::Folder folder("recipes");
  test::ManualClock clock;
  std::set<std::int64_t> all;
  const auto take = [&](const Store& store, unsigned count) {
    UniqueIds ids(store, "order");
    for (unsigned i = 0; i != count; ++i) {
      const auto id = ids.next();
      ASSERT_TRUE(id);
      ASSERT_TRUE(all.insert(*id).second) << *id;
    }
  };
  {
    const Store store = test::open_or_fail(small_options(&clock));
    ASSERT_TRUE(UniqueIds::begin_life(store, "order", folder.file()));
    EXPECT_EQ(store.stats().unevictable, 1u);
    take(store, 2'500);
    ASSERT_TRUE(store.save(folder.file()));
    take(store, 2'500);
  }
  for (int life = 0; life != 3; ++life) {
    Result<Store> store = Store::open(folder.file(), small_options(&clock));
    ASSERT_TRUE(store);
    EXPECT_EQ(store->stats().unevictable, 1u);
    ASSERT_TRUE(UniqueIds::begin_life(*store, "order", folder.file()));
    take(*store, 2'500);
    if (life == 1) continue;  // it dies before its first save
    ASSERT_TRUE(store->save(folder.file()));
    take(*store, 10);
  }
}

TEST_F(Recipes, EachResourceHasOneOwner) {
  constexpr unsigned kCount = 16, kThreads = 4;
  const ResourcePool pool(store, "port", kCount);
  std::vector<std::atomic<unsigned>> used(kCount);
  std::atomic<unsigned> clashes{0};
  on_threads(kThreads, [&](unsigned) {
    const Result<Lease> lease = store.lease(10s);
    ASSERT_TRUE(lease);
    for (unsigned round = 0; round != 300; ++round) {
      std::vector<unsigned> mine;
      while (mine.size() != 6) {  // 4 x 6 of 16: some go without
        const Result<unsigned> one = pool.claim(*lease);
        if (!one) {
          ASSERT_EQ(one.status(), Status::kUnavailable);
          break;
        }
        clashes += used[*one].fetch_add(1) != 0;
        mine.push_back(*one);
      }
      for (const unsigned n : mine) {
        used[n].fetch_sub(1);
        ASSERT_TRUE(pool.give_back(*lease, n));
      }
    }
    ASSERT_TRUE(lease->revoke());
  });
  EXPECT_EQ(clashes, 0u);

  const Result<Lease> a = store.lease(10s), b = store.lease(20s);
  std::set<unsigned> all;
  for (unsigned i = 0; i != kCount; ++i) {
    const Result<unsigned> one = pool.claim(i % 2 == 0 ? *a : *b);
    ASSERT_TRUE(one);
    EXPECT_TRUE(all.insert(*one).second);
  }
  EXPECT_EQ(pool.claim(*a).status(), Status::kUnavailable);
  for (unsigned n = 0; n != kCount; ++n) {
    if (pool.owner_of(n) == b->id()) {
      EXPECT_FALSE(pool.give_back(*a, n));
    }
  }
  clock.advance(9'999ms);
  EXPECT_EQ(pool.claim(*b).status(), Status::kUnavailable);
  clock.advance(1ms);  // a's lease has ended
  for (unsigned i = 0; i != kCount / 2; ++i) EXPECT_TRUE(pool.claim(*b));
  EXPECT_EQ(pool.claim(*b).status(), Status::kUnavailable);
  EXPECT_EQ(pool.claim(*a).status(), Status::kNotFound);
  for (unsigned n = 0; n != kCount; ++n) EXPECT_EQ(pool.owner_of(n), b->id()) << n;
}

TEST_F(Recipes, AnEditIsOfWhatWasThere) {
  EXPECT_EQ(look(store, "k")->version, 0u);
  const Seen absent = *look(store, "k");
  ASSERT_TRUE(write_if_unchanged(store, "k", absent, "1"));
  EXPECT_EQ(write_if_unchanged(store, "k", absent, "2").status(), Status::kExists);
  const Seen one = *look(store, "k");
  // It goes, and comes back with the same value: not what was seen.
  ASSERT_TRUE(*store.del("k"));
  EXPECT_EQ(write_if_unchanged(store, "k", one, "2").status(), Status::kMismatch);
  ASSERT_TRUE(store.set("k", "1"));
  EXPECT_EQ(write_if_unchanged(store, "k", one, "2").status(), Status::kMismatch);
  EXPECT_EQ(test::value_of(store, "k"), "1");
  ASSERT_TRUE(store.expire("k", 10s));
  const auto version = edit(store, "k", [](auto now) { return std::optional(std::string(*now) + "2"); });
  ASSERT_TRUE(version);
  EXPECT_EQ(look(store, "k")->version, *version);
  EXPECT_EQ(test::value_of(store, "k"), "12");
  EXPECT_EQ(*store.ttl("k"), 10s);
  EXPECT_EQ(*edit(store, "k", [](auto) { return std::optional<std::string>(); }), *version);
  // Somebody is faster each time.
  unsigned calls = 0;
  EXPECT_EQ(edit(store, "k", [&](auto) {
              ++calls;
              EXPECT_TRUE(store.append("k", "x"));
              return std::optional<std::string>("lost");
            }).status(),
            Status::kConflict);
  EXPECT_EQ(calls, kTurnsMax);
  EXPECT_EQ(test::value_of(store, "k")->size(), 2u + kTurnsMax);
  EXPECT_EQ(edit(store, "", [](auto) { return std::optional<std::string>("x"); }).status(), Status::kInvalidKey);
}

TEST_F(Recipes, NoEditIsLost) {
  constexpr unsigned kThreads = 4, kEach = 500, kAccounts = 5;
  std::vector<std::string> names;
  for (unsigned i = 0; i != kAccounts; ++i) {
    names.push_back("account:" + std::to_string(i));
    ASSERT_TRUE(store.set(names[i], "1000"));
  }
  std::atomic<bool> wrong{false};
  std::atomic<unsigned> turns{0};
  on_threads(kThreads, [&](unsigned t) {
    for (unsigned i = 0; i != kEach; ++i) {
      const auto counted = edit(store, "count", [&](auto now) {
        ++turns;
        std::this_thread::yield();  // it takes its time
        return std::optional(std::to_string(number_in(now.value_or("0")) + 1));
      });
      ASSERT_TRUE(counted);
      const unsigned from = (t + i) % kAccounts, to = (t + 2 * i + 1) % kAccounts;
      if (from == to) continue;
      const auto moved = edit_together(store, {names[from], names[to]}, [&](std::vector<Seen>& all) {
        const std::int64_t rest = number_in(*all[0].value) - 7;
        if (rest < 0) return false;
        std::this_thread::yield();
        all[0].value = std::to_string(rest);
        all[1].value = std::to_string(number_in(*all[1].value) + 7);
        return true;
      });
      ASSERT_TRUE(moved);
      std::vector<std::string_view> keys(names.begin(), names.end());
      Values values;
      const auto read = store.get_many_at_one_moment(keys, values);
      if (!read) continue;
      std::int64_t sum = 0;
      for (unsigned a = 0; a != kAccounts; ++a) sum += number_in(*values[a]);
      if (sum != 1'000 * kAccounts) wrong = true;
    }
  });
  EXPECT_FALSE(wrong) << "money came or went";
  EXPECT_EQ(test::value_of(store, "count"), std::to_string(kThreads * kEach));
  EXPECT_GT(turns, kThreads * kEach) << "nobody was ever faster: this has tested nothing";
  // One that appears, one that goes, at one moment or not at all.
  ASSERT_TRUE(edit_together(store, {"count", "new"}, [](std::vector<Seen>& all) {
    all[1].value = std::exchange(all[0].value, std::nullopt);
    return true;
  }));
  EXPECT_EQ(test::value_of(store, "count"), std::nullopt);
  EXPECT_EQ(test::value_of(store, "new"), std::to_string(kThreads * kEach));
}

// Many who want the same name, and many with names of their own, beside one who lists: a name has one owner, and what was
// registered before a list began is in it.
TEST_F(Recipes, ManyRegisterAtOnce) {
  constexpr unsigned kThreads = 4, kRounds = 200;
  const ServiceRegistry registry(store);
  std::atomic<unsigned> winners{0}, missing{0};
  std::atomic<bool> stop{false};
  std::vector<std::atomic<unsigned>> registered(kThreads);
  std::thread lists([&] {
    while (!stop) {
      unsigned before[kThreads];
      for (unsigned t = 0; t != kThreads; ++t) before[t] = registered[t].load();
      const auto all = registry.list("match");
      if (!std::is_sorted(all.begin(), all.end())) ++missing;
      for (unsigned t = 0; t != kThreads; ++t) {
        const std::string mine = "t" + std::to_string(t) + "-";
        const auto there = std::count_if(all.begin(), all.end(), [&](const auto& e) { return e.first.starts_with(mine); });
        if (static_cast<unsigned>(there) < before[t]) ++missing;
      }
    }
  });
  on_threads(kThreads, [&](unsigned t) {
    for (unsigned i = 0; i != kRounds; ++i) {
      const std::string n = std::to_string(i);
      const auto contended = registry.register_instance("leader", n, "t" + std::to_string(t), 10s);
      if (contended) {
        ++winners;
        EXPECT_EQ(registry.lookup("leader", n), "t" + std::to_string(t));
      } else {
        EXPECT_EQ(contended.status(), Status::kExists);
      }
      const std::string name = "t" + std::to_string(t) + "-" + n;
      ASSERT_TRUE(registry.register_instance("match", name, name, 10s));
      EXPECT_EQ(registry.lookup("match", name), name);
      registered[t].fetch_add(1);
    }
  });
  stop = true;
  lists.join();
  EXPECT_EQ(winners, kRounds) << "each name was somebody's, once";
  EXPECT_EQ(missing, 0u);
  EXPECT_EQ(registry.list("leader").size(), kRounds);
  EXPECT_EQ(registry.list("match").size(), kThreads * kRounds);
  EXPECT_EQ(registry.list_all().size(), (kThreads + 1) * kRounds);
  EXPECT_EQ(store.stats().leases, (kThreads + 1) * kRounds) << "those who lost have left a lease";
  clock.advance(10s);
  EXPECT_TRUE(registry.list_all().empty());
}

// To the millisecond, refreshed or not; what has ended isn't brought back by a refresh that comes late.
TEST_F(Recipes, WhoStopsRefreshingIsGoneAtItsInstant) {
  const ServiceRegistry registry(store);
  const auto steady = registry.register_instance("match", "steady", "1", 100ms);
  const auto dies = registry.register_instance("match", "dies", "2", 100ms);
  ASSERT_TRUE(steady && dies);
  for (int i = 0; i != 30; ++i) {
    clock.advance(30ms);
    EXPECT_TRUE(steady->refresh()) << i;
    EXPECT_EQ(registry.lookup("match", "dies").has_value(), i < 3) << i;
    EXPECT_EQ(registry.list_all().size(), i < 3 ? 2u : 1u) << i;
  }
  EXPECT_FALSE(dies->refresh());
  EXPECT_FALSE(registry.lookup("match", "dies"));
  clock.advance(99ms);
  EXPECT_EQ(registry.lookup("match", "steady"), "1");
  clock.advance(1ms);
  EXPECT_FALSE(registry.lookup("match", "steady"));
  EXPECT_FALSE(steady->refresh());
  // Who follows a service by a watch is told of the death when it is swept.
  Watch watch = std::move(*store.watch_prefix("service:match:"));
  const auto again = registry.register_instance("match", "steady", "3", 100ms);
  ASSERT_TRUE(again);
  clock.advance(100ms);
  for (int i = 0; i != 100; ++i) ASSERT_TRUE(store.tick(1ms));
  Change changes[8];
  const auto n = watch.poll(changes);
  ASSERT_TRUE(n);
  ASSERT_GE(*n, 2u);
  EXPECT_EQ(changes[*n - 1].kind, ChangeKind::kExpire);
  EXPECT_EQ(changes[*n - 1].key, "service:match:steady");
}

TEST_F(Recipes, TheRegistryHasWhoLives) {
  const ServiceRegistry registry(store);
  const auto a = registry.register_instance("match", "a", "10.0.0.1:1", 10s);
  const auto b = registry.register_instance("match", "b", "10.0.0.2:1", 10s);
  ASSERT_TRUE(a && b);
  ASSERT_TRUE(registry.register_instance("chat", "a", "10.0.0.3:1", 10s));
  EXPECT_EQ(registry.register_instance("match", "a", "10.0.0.9:1", 10s).status(), Status::kExists);
  using Listed = std::vector<std::pair<std::string, std::string>>;
  EXPECT_EQ(registry.list("match"), (Listed{{"a", "10.0.0.1:1"}, {"b", "10.0.0.2:1"}}));
  EXPECT_EQ(registry.lookup("match", "b"), "10.0.0.2:1");
  clock.advance(7s);
  EXPECT_TRUE(a->refresh());
  clock.advance(3s);
  EXPECT_EQ(registry.list("match"), (Listed{{"a", "10.0.0.1:1"}}));
  EXPECT_FALSE(b->refresh());
  EXPECT_TRUE(registry.register_instance("match", "b", "10.0.0.4:1", 10s));
  EXPECT_EQ(registry.lookup("match", "b"), "10.0.0.4:1");
  a->withdraw();
  EXPECT_EQ(registry.list("match"), (Listed{{"b", "10.0.0.4:1"}}));
  EXPECT_TRUE(registry.list("chat").empty());
}

TEST_F(Recipes, ConfigurationFollowsItsKeys) {
  ASSERT_TRUE(store.set("config:server:tick_rate", "30"));
  ASSERT_TRUE(store.set("other", "x"));
  auto config = LiveConfig::open(store, "config:server:");
  ASSERT_TRUE(config);
  EXPECT_TRUE(config->poll());
  EXPECT_FALSE(config->poll());
  EXPECT_EQ(config->get("tick_rate", "60"), "30");
  EXPECT_EQ(config->get("name", "none"), "none");
  ASSERT_TRUE(store.set("config:server:tick_rate", "20"));
  ASSERT_TRUE(store.set("config:server:name", "north"));
  ASSERT_TRUE(store.set("other", "y"));
  EXPECT_TRUE(config->poll());
  EXPECT_EQ(config->get("tick_rate"), "20");
  EXPECT_EQ(config->get("name"), "north");
  ASSERT_TRUE(store.set("config:server:name", "north"));
  EXPECT_FALSE(config->poll()) << "the same value is no change";
  ASSERT_TRUE(*store.del("config:server:name"));
  EXPECT_TRUE(config->poll());
  EXPECT_EQ(config->size(), 1u);
  // Far more changes than a ring holds: it begins anew and has the last.
  for (unsigned i = 0; i != 200'000; ++i) ASSERT_TRUE(store.set("config:server:tick_rate", std::to_string(i)));
  EXPECT_TRUE(config->poll());
  EXPECT_EQ(config->get("tick_rate"), "199999");
}

TEST_F(Recipes, FlagsAreSwitchedWhileTheyAreAsked) {
  auto flags = FeatureFlags::open(store, {"lobby", "fast"});
  ASSERT_TRUE(flags);
  EXPECT_FALSE((*flags)->is_on(0, "ann"));
  ASSERT_TRUE(store.set("flag:lobby", "on"));
  ASSERT_TRUE(store.set("flag:fast", "25"));
  (*flags)->poll();
  EXPECT_TRUE((*flags)->is_on(0, "ann"));
  unsigned in = 0;
  for (unsigned i = 0; i != 4'000; ++i) in += (*flags)->is_on(1, "user" + std::to_string(i));
  EXPECT_GT(in, 800u);
  EXPECT_LT(in, 1'200u);
  for (const char* off : {"off", "101", "-1", "x", ""}) {
    ASSERT_TRUE(store.set("flag:lobby", off));
    (*flags)->poll();
    EXPECT_FALSE((*flags)->is_on(0, "ann")) << off;
  }
  std::atomic<bool> stop{false};
  std::thread asks([&] {
    while (!stop) (void)(*flags)->is_on(1, "user");
  });
  for (unsigned i = 0; i != 100; ++i) {
    ASSERT_TRUE(store.set("flag:fast", i % 2 == 0 ? "on" : "off"));
    (*flags)->poll();
  }
  stop = true;
  asks.join();
  EXPECT_FALSE((*flags)->is_on(1, "user"));
}

}  // namespace
}  // namespace tern::recipes
