// While a call runs, the process's memory fails at its n-th allocation, for every n: the call answers out_of_memory or does without,
// a refused one has changed nothing, the store is whole and does the same call again (R8). The budget is no part of this: limits_test.
#include <tern/dispatcher.h>
#include <tern/namespace.h>
#include <tern/store.h>
#include <tern/watch_set.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "alloc/platform.h"
#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

namespace platform = alloc::platform;

constexpr unsigned kKeys = 60;

using Contents = std::map<std::string, std::string>;

// Of the default namespace, and of one that tests make.
Contents contents_of(const Store& store) {
  Contents all;
  const auto add = [&](const auto& handle, const std::string& prefix) {
    EXPECT_TRUE(handle.scan({}, [&](std::string_view key, std::string_view value) {
      all.emplace(prefix + std::string(key), value);
      return true;
    }));
  };
  add(store, "");
  const Result<Namespace> ns = store.ns("there");
  EXPECT_TRUE(ns);
  add(*ns, "there:");
  return all;
}

Store filled(const Clock* clock) {
  Options options = small_options(clock);
  options.memory_bytes = 8 * kMiB;
  options.ordered = true;
  Store store = open_or_fail(options);
  for (unsigned i = 0; i != kKeys; ++i) EXPECT_TRUE(store.set(numbered("k.", i), pattern(100, i)));
  EXPECT_TRUE(store.set("large", pattern(100'000)));
  EXPECT_TRUE(store.set("number", "5"));
  const std::string_view tags[] = {"red", "round"};
  EXPECT_TRUE(store.set("tagged", "ball", {.tags = tags}));
  EXPECT_TRUE(store.set("mortal", "soul", {.ttl = 1h}));
  const Result<Namespace> ns = store.ns("there");
  EXPECT_TRUE(ns);
  for (unsigned i = 0; i != 10; ++i) EXPECT_TRUE(ns->set(numbered("n.", i), "v"));
  return store;
}

struct Act {
  const char* name;
  std::function<Status(const Store&)> run;
  bool changes = false;  // what others see of the store afterwards
};

template <class R>
Status of(const R& r) {
  return r.error().status;
}

Status many_keys(const Store& s, const std::function<Status(const Store&, std::span<const std::string_view>)>& fn) {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (unsigned i = 0; i != 300; ++i) all.push_back(numbered("k.", i));
    return all;
  }();
  const std::vector<std::string_view> keys(names.begin(), names.end());
  return fn(s, keys);
}

Status write_of(const Store& s, unsigned operations) {
  WriteBatch batch;
  for (unsigned i = 0; i != operations; ++i) batch.set(numbered("k.", i), pattern(i % 300, i));
  batch.del("number");
  return of(s.write(batch));
}

// A watch, a change that it is for, and all that it has.
Status polled(const Store& s, Result<Watch> watch) {
  if (!watch) return of(watch);
  EXPECT_TRUE(s.set("k.1", "told")) << "a watch is no reason to refuse";
  std::array<Change, 16> changes;
  for (;;) {
    const Result<std::size_t> n = watch->poll(changes);
    if (!n) return of(n);
    if (*n == 0) break;
  }
  const Result<Value> token = watch->token();
  return of(token);
}

std::vector<Act> acts() {
  return {
      {"get of a long value", [](const Store& s) { return of(s.get("large")); }},
      {"get_entry of a long value", [](const Store& s) { return of(s.get_entry("large")); }},
      {"hold", [](const Store& s) { return of(s.hold("large")); }},
      {"get_or_load",
       [](const Store& s) {
         return of(s.get_or_load("loaded", [](std::string_view) { return Loaded{Status::kOk, Value(std::string_view("value")), {}}; }));
       },
       true},
      {"set", [](const Store& s) { return of(s.set("new", "value")); }, true},
      {"set of a long value", [](const Store& s) { return of(s.set("large", pattern(200'000, 1))); }, true},
      {"set of a long key", [](const Store& s) { return of(s.set(std::string(60'000, 'k'), "value")); }, true},
      {"set with all that there is",
       [](const Store& s) {
         const std::string_view tags[] = {"red", "blue"};
         SetOptions o;
         o.ttl = 1h;
         o.tags = tags;
         Value previous;
         o.return_previous = &previous;
         o.metadata = "meta";
         return of(s.set("k.1", pattern(3'000), o));
       },
       true},
      {"get_and_del of a long value", [](const Store& s) { return of(s.get_and_del("large")); }, true},
      {"get_and_set of a long value", [](const Store& s) { return of(s.get_and_set("large", "short")); }, true},
      {"compare_and_swap", [](const Store& s) { return of(s.compare_and_swap("number", "5", "6")); }, true},
      {"increment", [](const Store& s) { return of(s.increment("counter")); }, true},
      {"append", [](const Store& s) { return of(s.append("large", "more")); }, true},
      {"update", [](const Store& s) { return of(s.update("k.1", [](std::optional<std::string_view>) { return Update::replace("updated"); })); }, true},
      {"expire", [](const Store& s) { return of(s.expire("k.1", 1h)); }},
      {"allocate and publish",
       [](const Store& s) {
         Result<Draft> draft = s.allocate("drafted", 2'000);
         if (!draft) return of(draft);
         std::ranges::fill(draft->bytes(), 'd');
         return of(draft->publish());
       },
       true},
      {"get_many into values",
       [](const Store& s) {
         return many_keys(s, [](const Store& t, std::span<const std::string_view> keys) {
           Values values;
           return of(t.get_many(keys, values));
         });
       }},
      {"get_many at one moment",
       [](const Store& s) {
         return many_keys(s, [](const Store& t, std::span<const std::string_view> keys) {
           Values values;
           return of(t.get_many_at_one_moment(keys, values));
         });
       }},
      {"visit_many",
       [](const Store& s) {
         return many_keys(s, [](const Store& t, std::span<const std::string_view> keys) {
           return of(t.visit_many(keys, [](std::size_t, Lookup<std::string_view>) {}));
         });
       }},
      {"set_many",
       [](const Store& s) {
         return many_keys(s, [](const Store& t, std::span<const std::string_view> keys) {
           std::vector<Item> items;
           for (const std::string_view key : keys) items.push_back({key, "many", {}});
           std::vector<Result<std::uint64_t>> answers(items.size());
           return of(t.set_many(items, answers));
         });
       },
       true},
      {"set_many in a namespace",
       [](const Store& s) {
         const Result<Namespace> ns = s.ns("there");
         if (!ns) return of(ns);
         const Item items[] = {{"a", "1", {}}, {"b", "2", {}}};
         Result<std::uint64_t> answers[2];
         return of(ns->set_many(items, answers));
       },
       true},
      {"del_many",
       [](const Store& s) {
         return many_keys(s, [](const Store& t, std::span<const std::string_view> keys) {
           std::vector<Result<bool>> answers(keys.size());
           return of(t.del_many(keys, answers));
         });
       },
       true},
      {"clear", [](const Store& s) { return of(s.clear()); }, true},
      {"del_prefix", [](const Store& s) { return of(s.del_prefix("k.1")); }, true},
      {"del_tag", [](const Store& s) { return of(s.del_tag("red")); }, true},
      {"write of ten", [](const Store& s) { return write_of(s, 10); }, true},
      {"write of a thousand", [](const Store& s) { return write_of(s, 1'000); }, true},
      {"transact",
       [](const Store& s) {
         WriteBatch conditions, then, otherwise;
         conditions.require_value("number", "5");
         then.set("number", "6");
         otherwise.del("number");
         return of(s.transact(conditions, then, otherwise));
       },
       true},
      {"a view, read in every way",
       [](const Store& s) {
         const Result<View> view = s.view();
         if (!view) return of(view);
         if (const auto r = view->get("large"); !r) return of(r);
         if (const auto r = view->size(); !r) return of(r);
         if (const auto r = view->for_each([](std::string_view, std::string_view) { return true; }); !r) return of(r);
         if (const auto r = view->scan({.reverse = true}, [](std::string_view, std::string_view) { return true; }); !r) return of(r);
         const std::string_view keys[] = {"k.1", "k.2", "none"};
         Values values;
         return of(view->get_many(keys, values));
       }},
      {"keys", [](const Store& s) { return of(s.keys()); }},
      {"keys of a pattern", [](const Store& s) { return of(s.keys("k.{1,2,[3-5]}*")); }},
      {"keys of an expression",
       [](const Store& s) {
         const Result<Regex> regex = Regex::compile("k\\.[0-9]");
         return regex ? of(s.keys(*regex)) : of(regex);
       }},
      {"scan with a cursor",
       [](const Store& s) {
         ScanCursor cursor;
         while (!cursor.at_end()) {
           if (const auto r = s.scan({.limit = 7}, cursor, [](std::string_view, std::string_view) { return true; }); !r) return of(r);
         }
         return Status::kOk;
       }},
      {"del_pattern", [](const Store& s) { return of(s.del_pattern("k.?")); }, true},
      {"del_subtree", [](const Store& s) { return of(s.del_subtree("k")); }, true},
      {"a namespace, made",
       [](const Store& s) {
         const Result<Namespace> ns = s.ns("other");
         return ns ? of(ns->set("a", "b")) : of(ns);
       }},
      {"watch_key", [](const Store& s) { return polled(s, s.watch_key("k.1")); }},
      {"watch_prefix with what is there", [](const Store& s) { return polled(s, s.watch_prefix("k.", {.initial = true})); }},
      {"watch_glob with previous values", [](const Store& s) { return polled(s, s.watch_glob("k.*", {.previous = true})); }},
      {"watch_regex, coalescing", [](const Store& s) { return polled(s, s.watch_regex("k.*1", {.coalesce = true})); }},
      {"watch_prefix, gathering", [](const Store& s) {
         const Result<Namespace> ns = s.ns("there");
         return ns ? polled(s, ns->watch_prefix("n", {.on_change_only = true, .gather = true})) : of(ns);
       }},
      {"a set of watches",
       [](const Store& s) {
         Result<WatchSet> set = WatchSet::open(s);
         if (!set) return of(set);
         for (unsigned i = 0; i != 20; ++i) {
           if (const auto r = set->add_prefix(numbered("k.", i)); !r) return of(r);
           if (const auto r = set->add_glob(numbered("*", i)); !r) return of(r);
           if (const auto r = set->add_regex(numbered("[k]\\.", i)); !r) return of(r);
         }
         EXPECT_TRUE(s.set("k.1", "told"));
         std::array<Change, 16> changes;
         return of(set->poll(changes));
       }},
      {"callbacks",
       [](const Store& s) {
         Result<Dispatcher> dispatcher = Dispatcher::open(s, DispatchOn::kCaller);
         if (!dispatcher) return of(dispatcher);
         const Result<Subscription> one = dispatcher->on_glob("k.*", [](const Change&) {});
         if (!one) return of(one);
         Result<Watch> watch = s.watch_key("k.2");
         if (!watch) return of(watch);
         const Result<Subscription> other = dispatcher->add(std::move(*watch), [](const Change&) {});
         if (!other) return of(other);
         EXPECT_TRUE(s.set("k.1", "told"));
         EXPECT_LE(dispatcher->dispatch(), 1u);
         return Status::kOk;
       }},
      {"a lease with keys",
       [](const Store& s) {
         const Result<Lease> lease = s.lease(1h);
         if (!lease) return of(lease);
         if (const auto r = lease->attach("k.1"); !r) return of(r);
         if (const auto r = lease->keys([](std::string_view, std::string_view) {}); !r) return of(r);
         return of(lease->revoke());
       }},
      {"a lock, had and given back",
       [](const Store& s) {
         Result<Lock> lock = s.lock("door");
         return lock ? of(lock->unlock()) : of(lock);
       }},
      {"session",
       [](const Store& s) {
         const Result<Session> session = s.session();
         return session ? of(session->set("k.1", "said")) : of(session);
       }},
      {"census", [](const Store& s) { return of(s.census()); }},
      {"stats, holders, inspect",
       [](const Store& s) {
         (void)s.stats();
         s.holders([](const Holder&) {});
         return of(s.inspect("k.1"));
       }},
      {"tick", [](const Store& s) { return of(s.tick(1ms)); }},
      {"resize", [](const Store& s) { return of(s.resize(7 * kMiB)); }},
      {"verify", [](const Store& s) { return of(s.verify()); }},
  };
}

// Returns how many allocations were failed.
std::uint64_t fail_each(const Act& act, bool for_good) {
  SCOPED_TRACE(std::string(act.name) + (for_good ? ", from an allocation on" : ", one allocation"));
  ManualClock clock;
  std::uint64_t failed = 0;
  for (std::uint64_t n = 1;; ++n) {
    const Store store = filled(&clock);
    const Contents before = contents_of(store);
    platform::FaultPlan plan;
    plan.sites = platform::site_bit(platform::Site::kPrivateAllocate);
    plan.fail_at = n;
    plan.fail_count = for_good ? ~std::uint64_t{0} >> 1 : 1;
    Status status;
    {
      const platform::FaultScope scope(plan);
      status = act.run(store);
    }
    if (plan.failed == 0) {
      EXPECT_EQ(status, Status::kOk);
      return failed;
    }
    SCOPED_TRACE("allocation " + std::to_string(n));
    ++failed;
    EXPECT_TRUE(status == Status::kOk || status == Status::kOutOfMemory) << status_name(status);
    if (act.changes && status != Status::kOk) {
      EXPECT_EQ(contents_of(store), before);
    }
    EXPECT_TRUE(whole(store));
    EXPECT_EQ(act.run(store), Status::kOk) << "again, with memory";
    EXPECT_TRUE(whole(store));
    if (testing::Test::HasFailure()) return failed;  // one is enough
  }
}

TEST(FaultsTest, MemoryOfTheProcessMayFailInAnyCall) {
  std::uint64_t failed = 0;
  unsigned reached = 0;
  for (const Act& act : acts()) {
    const std::uint64_t before = failed;
    for (const bool for_good : {false, true}) failed += fail_each(act, for_good);
    reached += failed != before;
    std::printf("[tern] %-36s %llu\n", act.name, static_cast<unsigned long long>(failed - before));
  }
  std::printf("[tern] %llu allocations failed, in %u of %zu calls\n", static_cast<unsigned long long>(failed), reached, acts().size());
  EXPECT_GE(failed, 300u);
}

// The first allocations of an open are those of nobody's store.
TEST(FaultsTest, AnOpenThatFailsLeavesNothing) {
  for (const auto site : {platform::Site::kPrivateAllocate, platform::Site::kReserve, platform::Site::kRandom, platform::Site::kPopulate}) {
    for (std::uint64_t n = 1;; ++n) {
      platform::FaultPlan plan;
      plan.sites = platform::site_bit(site);
      plan.fail_at = n;
      Options options = small_options();
      options.hash_seed = 0;
      Result<Store> store = Status::kClosed;
      {
        const platform::FaultScope scope(plan);
        store = Store::open(options);
      }
      if (store) {
        EXPECT_TRUE(store->set("k", "v"));
        EXPECT_TRUE(whole(*store));
      } else {
        EXPECT_TRUE(store.status() == Status::kOutOfMemory || store.status() == Status::kIo) << status_name(store.status());
      }
      if (plan.failed == 0) break;
      ASSERT_LT(n, 1'000u);
    }
  }
}

}  // namespace
}  // namespace tern::test
