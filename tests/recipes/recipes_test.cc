// The recipes do what their first lines promise.
#include <atomic>
#include <set>
#include <thread>
#include <vector>

#include "tests/engine/api/store_fixture.h"
#include "tests/recipes/feature_flags.h"
#include "tests/recipes/live_config.h"
#include "tests/recipes/service_registry.h"
#include "tests/recipes/unique_ids.h"

namespace tern::recipes {
namespace {

using namespace std::chrono_literals;
using test::small_options;

class Recipes : public test::StoreTest {};

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
  // A later life begins beyond what this one may have given out after the save.
  ASSERT_TRUE(UniqueIds::begin_life(store, "order"));
  UniqueIds later(store, "order");
  EXPECT_GT(*later.next(), *all.rbegin() + UniqueIds::kSkip / 2);
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
