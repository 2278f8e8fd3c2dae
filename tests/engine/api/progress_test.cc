// A thread stopped for ever at any named step of any operation delays nobody (R5): with it parked
// there, the operations of another thread all succeed on a store with room. Built with the
// library's steps visible.
#include <tern/namespace.h>
#include <tern/store.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "alloc/sync.h"
#include "tests/engine/api/store_fixture.h"
#include "tests/sync/parked.h"

namespace tern::test {
namespace {

using concurrency::Parking;

constexpr unsigned kKeys = 400;

Store roomy_store(const Clock* clock) {
  Options options = small_options(clock);
  options.memory_bytes = 128 * kMiB;
  options.shard_count = 1;
  options.ordered = true;
  Store store = open_or_fail(options);
  for (unsigned i = 0; i < kKeys; ++i) EXPECT_TRUE(store.set(numbered("k", i), numbered("", i)));
  return store;
}

// Room for memory, none for another entry: whatever enters makes another leave.
Store full_store(const Clock* clock) {
  Options options = small_options(clock);
  options.memory_bytes = 64 * kMiB;
  options.shard_count = 1;
  options.entries_max = kKeys;
  Store store = open_or_fail(options);
  for (unsigned i = 0; i < kKeys; ++i) {
    EXPECT_TRUE(store.set(numbered("k", i), numbered("", i)));
    if (i % 2 == 0) (void)store.get(numbered("k", i));  // some go round
  }
  return store;
}

// Once through an operation that a thread is to be stopped in. `n` makes keys differ from time to
// time.
using Action = void (*)(const Store&, unsigned n);
struct Named {
  const char* name;
  Action act;
};

const Named kActions[] = {
    {"get", [](const Store& s, unsigned n) { (void)s.get(numbered("k", n % kKeys)); }},
    {"get of a missing key",
     [](const Store& s, unsigned n) { (void)s.get(numbered("missing", n)); }},
    {"hold and release",
     [](const Store& s, unsigned n) { (void)s.hold(numbered("k", n % kKeys)); }},
    {"set of a new key",
     [](const Store& s, unsigned n) { (void)s.set(numbered("new", n), pattern(n % 200)); }},
    {"set of a key that is there",
     [](const Store& s, unsigned n) { (void)s.set(numbered("k", n % kKeys), pattern(n % 200)); }},
    {"set of a large value",
     [](const Store& s, unsigned n) { (void)s.set("large", pattern(100'000 + n)); }},
    {"set with a lifetime",
     [](const Store& s, unsigned n) { (void)s.set(numbered("k", n % kKeys), "1", {.ttl = 1h}); }},
    {"expire", [](const Store& s, unsigned n) { (void)s.expire(numbered("k", n % kKeys), 1h); }},
    {"del and set",
     [](const Store& s, unsigned n) {
       (void)s.del(numbered("k", n % kKeys));
       (void)s.set(numbered("k", n % kKeys), "1");
     }},
    {"increment", [](const Store& s, unsigned n) { (void)s.increment(numbered("c", n % 7)); }},
    {"compare_and_swap",
     [](const Store& s, unsigned) { (void)s.compare_and_swap("k1", "1", "1"); }},
    {"get_many",
     [](const Store& s, unsigned) {
       const std::string_view keys[] = {"k1", "k2", "k3", "missing"};
       Values values;
       (void)s.get_many(keys, values);
       (void)s.get_many_at_one_moment(keys, values);
     }},
    {"set_many and del_many",
     [](const Store& s, unsigned n) {
       const std::string a = numbered("m", n), b = numbered("m", n + 1);
       const Item items[] = {{a, "1", {}}, {b, "2", {}}, {"k3", "3", {}}};
       Result<std::uint64_t> versions[3];
       (void)s.set_many(items, versions);
       const std::string_view keys[] = {a, b};
       Result<bool> removed[2];
       (void)s.del_many(keys, removed);
     }},
    {"scan", [](const Store& s, unsigned) { (void)s.iterate("k1", [](std::string_view, std::string_view) { return true; }); }},
    {"del_pattern",
     [](const Store& s, unsigned n) {
       (void)s.set(numbered("p.", n), "1");
       (void)s.del_pattern("p.*");
     }},
    {"keys that share a beginning come and go",  // nodes of the index split, grow and shrink, and a leaf gives way to a node
     [](const Store& s, unsigned n) {
       const std::string key = numbered("zz", n % 300);
       (void)s.set(key, "1");
       (void)s.set(key + "long", "1");
       (void)s.del(key);
       if (n % 3 != 0) (void)s.del(key + "long");
     }},
    {"pages, backward and by pattern",
     [](const Store& s, unsigned) {
       ScanCursor cursor;
       for (unsigned page = 0; page != 3; ++page) {
         (void)s.scan({.prefix = "k", .limit = 5, .reverse = true}, cursor, [](std::string_view) { return true; });
       }
       (void)s.keys("k1?");
       (void)s.get_subtree("k1", [](std::string_view, std::string_view) { return true; });
     }},
    {"a namespace is made, written, listed and cleared",
     [](const Store& s, unsigned n) {
       const Result<Namespace> own = s.ns(numbered("n", n));
       if (!own) return;
       (void)own->set("a", "1");
       (void)own->keys();
       if (n % 40 == 0) (void)own->clear();
     }},
    {"view, its reads and its end",
     [](const Store& s, unsigned n) {
       Result<View> view = s.view();
       if (!view) return;
       (void)s.set("k1", pattern(n % 100));
       (void)view->get("k1");
       const std::string_view keys[] = {"k1", "k2", "missing"};
       Values values;
       (void)view->get_many(keys, values);
       if (n % 50 == 0) (void)view->size();
     }},
    {"write of a batch",
     [](const Store& s, unsigned n) {
       WriteBatch batch;
       batch.require_present("k7");  // an intent that settles as a husk, and is healed
       batch.set(numbered("k", n % kKeys), pattern(n % 100));
       batch.set(numbered("new", n), "1", {.ttl = 1h});
       batch.set("k2", "1", {.keep_ttl = true});
       batch.del(numbered("new", n - 1));
       batch.set("k1", pattern(n % 50));
       (void)s.write(batch);
     }},
    {"write of a batch that asks in vain, and a transaction",
     [](const Store& s, unsigned n) {
       WriteBatch batch, otherwise;
       batch.set("k3", "1");
       batch.require_absent("k1");
       (void)s.write(batch);
       batch.clear();
       batch.require_value("k2", "2");
       otherwise.set("k2", "2");
       WriteBatch then;
       then.set("k2", pattern(n % 10));
       then.del("k5");
       (void)s.transact(batch, then, otherwise);
     }},
    {"write of a batch that is watched",
     [](const Store& s, unsigned n) {
       Result<Watch> watch = s.watch_prefix("k");
       if (!watch) return;
       WriteBatch batch;
       batch.set("k1", pattern(n % 100));
       batch.del("never");
       batch.set("k2", "1");
       (void)s.write(batch);
       Change changes[16];
       (void)watch->poll(changes);
     }},
    {"del_tag and what follows",
     [](const Store& s, unsigned n) {
       const std::string_view tags[] = {"t"};
       (void)s.set(numbered("k", n % kKeys), "1", {.tags = tags});
       if (n % 40 == 0) (void)s.del_tag("t");
       (void)s.append(numbered("k", n % kKeys), "2");
       (void)s.tick(20us);
     }},
    {"clear, del_prefix and what follows",
     [](const Store& s, unsigned n) {
       if (n % 40 == 0) (void)s.clear();
       if (n % 40 == 20) (void)s.del_prefix("k1");
       (void)s.append(numbered("k", n % kKeys), "2");
       (void)s.get(numbered("k", (n + 1) % kKeys));
       (void)s.tick(20us);
     }},
    {"a watch",
     [](const Store& s, unsigned n) {
       Result<Watch> watch = s.watch_prefix("k");
       if (!watch) return;
       (void)s.set("k1", pattern(n % 100));
       (void)s.del("k2");
       Change changes[16];
       (void)watch->poll(changes);
     }},
    {"tick",
     [](const Store& s, unsigned n) {
       (void)s.set("k1", pattern(n % 100));
       (void)s.tick(100us);
     }},
};

const Named kEvictingActions[] = {
    {"set of a new key",
     [](const Store& s, unsigned n) { (void)s.set(numbered("new", n), pattern(n % 200)); }},
    {"set and get of a new key",
     [](const Store& s, unsigned n) {
       (void)s.set(numbered("new", n), "v");
       (void)s.get(numbered("new", n));
     }},
    {"set of new keys",
     [](const Store& s, unsigned n) {
       const std::string a = numbered("m", 2 * n), b = numbered("m", 2 * n + 1);
       const Item items[] = {{a, "1", {}}, {b, "2", {}}};
       Result<std::uint64_t> versions[2];
       (void)s.set_many(items, versions);
     }},
    {"set of a new key, what is held and what stays in the way",
     [](const Store& s, unsigned n) {
       const auto held = s.hold(numbered("k", n % kKeys));
       SetOptions keep;
       keep.evictable = false;
       (void)s.set("kept", "v", keep);
       (void)s.set(numbered("new", n), "v");
       (void)s.set("kept", "v");
     }},
};

// What the others do while the thread is parked: all of it must succeed.
void others(const Store& store, unsigned operations) {
  Values values;
  WriteBatch batch;
  for (unsigned i = 0; i < operations; ++i) {
    const std::string key = numbered("k", i % kKeys);
    switch (i % 11) {
      case 0: {
        const Result<std::uint64_t> r = store.set(key, pattern(i % 100));
        ASSERT_TRUE(r) << status_name(r.status()) << " after " << i;
        break;
      }
      case 1: {
        const Result<std::uint64_t> r = store.set(numbered("others", i), "v");
        ASSERT_TRUE(r) << status_name(r.status()) << " after " << i;
        break;
      }
      case 2:
        ASSERT_TRUE(store.increment("others' counter"));
        break;
      case 3:
        ASSERT_TRUE(store.del(numbered("others", i - 2)));
        break;
      case 4:
        ASSERT_TRUE(store.exists(key));
        break;
      case 5:
        ASSERT_FALSE(store.hold(key).failed());
        break;
      case 6: {
        const std::string_view keys[] = {key, "k1", "large"};
        ASSERT_TRUE(store.get_many(keys, values));
        break;
      }
      case 7: {
        batch.clear();
        for (const std::string_view k : {std::string_view(key), std::string_view("k1"), std::string_view("k2")}) batch.set(k, "v");
        batch.del(numbered("others", i - 6));
        const Result<void> r = store.write(batch);
        ASSERT_TRUE(r) << status_name(r.status()) << " after " << i;
        break;
      }
      case 8: {
        const Result<View> view = store.view();
        ASSERT_TRUE(view);
        ASSERT_FALSE(view->get(key).failed());
        ASSERT_FALSE(view->get("k1").failed());
        break;
      }
      case 9: {  // in order, both ways; of what is under way, what a view has
        ScanOptions options;
        options.from = "k";
        options.to = "l";
        options.reverse = i % 2 != 0;
        options.limit = 20;
        unsigned shown = 0;
        const Result<bool> r = store.scan(options, [&](std::string_view) { return ++shown != 0; });
        ASSERT_TRUE(r) << status_name(r.status()) << " after " << i;
        const Result<Keys> none = store.keys("nothing.*");
        ASSERT_TRUE(none && none->empty());
        break;
      }
      default:
        ASSERT_FALSE(store.get(key).failed());
        break;
    }
  }
}

struct HookGuard {
  HookGuard() { detail::StdSync::hook = &Parking::hook; }
  ~HookGuard() { detail::StdSync::hook = nullptr; }
};

struct Stops {
  unsigned count = 0;
  std::map<std::string, unsigned> where;
};

// A thread stops at each step on the way of each action, in a store made by `make`; the others go on.
Stops stop_everywhere(std::span<const Named> actions, Store (*make)(const Clock*)) {
  const HookGuard hook;
  ManualClock clock;
  const unsigned operations = quick_or_long(kSanitized ? 800u : 4'000u, 100'000u);
  Stops stops;
  unsigned scene = 0;
  for (const Named& action : actions) {
    // The steps that this operation goes through, growth and reclamation included.
    std::vector<std::string> points;
    {
      const Store store = make(&clock);
      Parking parking;
      std::jthread([&] {
        Parking::Role role(parking, 0);
        for (unsigned n = 0; n < 1'000; ++n) action.act(store, n);
      }).join();
      points = parking.seen();
    }
    EXPECT_FALSE(points.empty()) << action.name;
    for (const std::string& point : points) {
      if (kSanitized && stops.where.contains(point) && ++scene % 4 != 0) continue;  // minutes otherwise: each step once, and a fourth of the rest
      SCOPED_TRACE(std::string(action.name) + " stopped at " + point);
      const Store store = make(&clock);
      {
        Parking parking;
        parking.arm(1, point);
        std::jthread stopped([&] {
          Parking::Role role(parking, 1);
          for (unsigned n = 0; n < 1'000; ++n) action.act(store, n);
        });
        if (parking.wait(1)) {
          ++stops.count;
          ++stops.where[point];
          others(store, operations);
        }
        parking.release();
      }
      EXPECT_TRUE(whole(store));
      if (testing::Test::HasFailure()) return stops;
    }
  }
  for (const auto& [point, count] : stops.where) std::printf("%-20s %u\n", point.c_str(), count);
  std::printf("%u times a thread was parked, %u operations of others each time\n", stops.count,
              operations);
  return stops;
}

TEST(ProgressTest, AThreadStoppedAtAnyStepOfAnyOperationDelaysNobody) {
  const Stops stops = stop_everywhere(kActions, &roomy_store);
  EXPECT_GT(stops.count, 40u);
  EXPECT_GT(stops.where.size(), 15u);
  for (const char* point : {"point.counted", "point.publish", "point.stamp", "point.bury", "point.sweep", "point.swept", "point.drop",
                            "view.registered", "view.stamped", "view.read", "version.keep", "kept.note", "kept.look", "batch.located",
                            "batch.agree", "batch.install", "batch.version", "batch.placed", "batch.commit", "batch.stamp", "batch.count",
                            "batch.settle", "batch.give_up", "batch.heal", "event.listen", "event.subscribed", "event.cell", "event.turn",
                            "event.swap", "event.in", "event.told", "event.read", "index.coming", "index.frozen", "index.replace",
                            "index.link", "index.hint", "index.probe", "index.probed", "index.unlink", "leaf.confirm", "leaf.left",
                            "scan.looked"}) {
    EXPECT_TRUE(stops.where.contains(point)) << point;
  }
}

// What an opener that stops half-way keeps is a view's: it ends when it is in the way.
TEST(ProgressTest, AnOpenerThatStopsHalfWayPinsNothing) {
  const HookGuard hook;
  for (const char* point : {"view.registered", "view.stamped"}) {
    SCOPED_TRACE(point);
    ManualClock clock;  // had the time gone on, the view would be opened anew
    Options options = small_options();
    options.clock = &clock;
    options.memory_bytes = 8 * kMiB;
    options.eviction = false;
    const Store store = open_or_fail(options);
    const std::string value = pattern(200);
    constexpr unsigned kFilled = 12'000;  // a third of the budget
    for (unsigned i = 0; i != kFilled; ++i) ASSERT_TRUE(store.set(numbered("k", i), value));
    Status read = Status::kOk;
    {
      Parking parking;
      parking.arm(1, point);
      std::jthread opener([&] {
        Parking::Role role(parking, 1);
        const Result<View> view = store.view();
        EXPECT_TRUE(view);
        read = view->get("k1").status();
      });
      ASSERT_TRUE(parking.wait(1));
      for (unsigned round = 0; round != 6; ++round) {
        ASSERT_TRUE(store.view());  // the clock moves: what is replaced from now on may be the stopped one's
        for (unsigned i = 0; i != kFilled; ++i) {
          const Result<std::uint64_t> r = store.set(numbered("k", i), value);
          ASSERT_TRUE(r) << status_name(r.status()) << " in round " << round;
        }
      }
      EXPECT_EQ(store.stats().views_ended, 1u);
      parking.release();
    }
    EXPECT_EQ(read, Status::kViewExpired);
    for (int i = 0; i != 10'000 && store.stats().kept_versions != 0; ++i) ASSERT_TRUE(store.tick(milliseconds(1)));
    EXPECT_EQ(store.stats().kept_versions, 0u);
    EXPECT_TRUE(whole(store));
  }
}

// Batches of two keys each, which in the order of their hashes follow each other like links: each stops before its second
// key, which the next one has. Whoever meets the first finishes them all, more than it remembers at once.
void finish_a_chain_of_batches(bool inside_a_visit) {
  const HookGuard hook;
  const Store store = open_or_fail(small_options());
  constexpr unsigned kBatches = 40;
  std::vector<std::string> keys;
  for (unsigned i = 0; i != kBatches + 1; ++i) {
    keys.push_back(numbered("k", i));
    ASSERT_TRUE(store.set(keys.back(), "before"));
  }
  std::ranges::sort(keys, {}, [&](const std::string& key) { return store.prefetch(key).hash(); });
  {
    Parking parking;
    std::vector<std::jthread> stopped;
    for (unsigned i = 0; i != kBatches; ++i) {
      parking.arm(static_cast<int>(i), "batch.install", 2);
      stopped.emplace_back([&, i] {
        Parking::Role role(parking, static_cast<int>(i));
        WriteBatch batch;
        batch.set(keys[i], numbered("first of ", i));
        batch.set(keys[i + 1], numbered("second of ", i));
        EXPECT_TRUE(store.write(batch));
      });
      ASSERT_TRUE(parking.wait(static_cast<int>(i)));
    }
    for (const std::string& key : keys) EXPECT_EQ(value_of(store, key), "before") << "a get never helps, and sees no batch half-way";
    if (inside_a_visit) {  // whose guard is around the helping
      ASSERT_TRUE(store.visit(keys[0], [&](std::string_view value) {
        EXPECT_TRUE(store.set(keys[0], "after"));
        EXPECT_EQ(value, "before");
      }));
    } else {
      ASSERT_TRUE(store.set(keys[0], "after"));
    }
    EXPECT_EQ(value_of(store, keys[0]), "after");
    for (unsigned i = 0; i != kBatches; ++i) EXPECT_EQ(value_of(store, keys[i + 1]), numbered("second of ", i));
    const auto view = store.view();
    ASSERT_TRUE(view);
    EXPECT_EQ(value_of(*view, keys[kBatches]), numbered("second of ", kBatches - 1));
    parking.release();
  }
  EXPECT_EQ(value_of(store, keys[0]), "after");
  for (unsigned i = 0; i != kBatches; ++i) EXPECT_EQ(value_of(store, keys[i + 1]), numbered("second of ", i));
  EXPECT_TRUE(whole(store));
}

TEST(ProgressTest, AChainOfStoppedBatchesIsFinishedByWhoMeetsTheFirst) { finish_a_chain_of_batches(false); }
TEST(ProgressTest, AChainOfStoppedBatchesIsFinishedInsideAVisit) { finish_a_chain_of_batches(true); }

// Views that the store opens for itself have a bound of their own: the next read of one moment is told, users' views open.
TEST(ProgressTest, AsManyMomentsAsTheStoreHasViewsFor) {
  const HookGuard hook;
  const Store store = open_or_fail(small_options());
  ASSERT_TRUE(store.set("there", "v"));
  const std::string_view keys[] = {"there", "missing"};
  Values values;
  {
    Parking parking;
    std::vector<std::jthread> stopped;
    for (int i = 0; i != 64; ++i) {
      parking.arm(i, "view.stamped");
      stopped.emplace_back([&, i] {
        Parking::Role role(parking, i);
        Values own;
        EXPECT_TRUE(store.get_many_at_one_moment(keys, own));
        EXPECT_TRUE(own[0] && own[1].missing());
      });
      ASSERT_TRUE(parking.wait(i));
    }
    EXPECT_EQ(store.get_many_at_one_moment(keys, values).status(), Status::kConflict);
    EXPECT_TRUE(store.get_many_at_one_moment(std::span(keys).first(1), values)) << "all are there: no view is needed";
    const auto view = store.view();
    ASSERT_TRUE(view);
    EXPECT_EQ(value_of(*view, "there"), "v");
    ASSERT_TRUE(store.set("there", "w"));
    parking.release();
  }
  EXPECT_TRUE(store.get_many_at_one_moment(keys, values));
  EXPECT_TRUE(whole(store));
}

TEST(ProgressTest, AThreadStoppedAtAnyStepOfAnEvictionDelaysNobody) {
  const Stops stops = stop_everywhere(kEvictingActions, &full_store);
  for (const char* point : {"evict.popped", "evict.remove", "evict.back", "evict.push"}) {
    EXPECT_TRUE(stops.where.contains(point)) << point;
  }
}

}  // namespace
}  // namespace tern::test
