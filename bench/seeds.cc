#include "bench/seeds.h"

#include <tern/store.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <functional>
#include <thread>

namespace tern::bench {
namespace {

using std::chrono::milliseconds;

std::string name_of(const char* kind, std::uint64_t i) {
  char text[40];
  std::snprintf(text, sizeof text, "%s.%06llu", kind, static_cast<unsigned long long>(i));
  return text;
}

std::vector<std::string> names(const char* kind, std::uint64_t count) {
  std::vector<std::string> out;
  for (std::uint64_t i = 0; i < count; ++i) out.push_back(name_of(kind, i));
  return out;
}

class Seeds {
 public:
  explicit Seeds(Results& results) : results_(results) {}

  // p99 of `calls` timed calls of fn(i), in milliseconds.
  void p99(const char* id, double limit_ms, const char* against, std::uint64_t calls,
           const std::function<bool(std::uint64_t)>& fn) {
    Histogram h;
    for (std::uint64_t i = 0; i < calls; ++i) {
      const std::uint64_t from = ticks();
      const bool ok = fn(i);
      h.record(nanoseconds(ticks() - from));
      count(ok);
    }
    slowest_ns_ = std::max(slowest_ns_, h.percentile(0.9999));
    const auto ms = [&](double share) { return static_cast<double>(h.percentile(share)) / 1e6; };
    add(id, {ms(0.99), ms(0.5), static_cast<double>(h.max()) / 1e6}, limit_ms, against,
        "ms, p99; p50 to the slowest");
  }

  // Milliseconds of a whole call, the median of nine.
  void once(const char* id, double limit_ms, const char* against, const std::function<bool()>& fn) {
    std::vector<double> ms;
    for (int i = 0; i < 9; ++i) {
      const std::uint64_t from = ticks();
      const bool ok = fn();
      ms.push_back(static_cast<double>(nanoseconds(ticks() - from)) / 1e6);
      count(ok);
    }
    add(id, spread(ms), limit_ms, against, "ms");
  }

  void add(const char* id, Spread value, double limit, const char* against, const char* unit,
           bool less = true) {
    results_.add_target(id, value, unit, against, limit, less);
  }

  void require(bool ok, const char* what) {
    if (!ok) results_.errors.push_back(what);
  }

  void finish() {
    const double slowest = static_cast<double>(slowest_ns_) / 1e6;
    add("seed-any-operation", {slowest, slowest, slowest}, 10, "seed 2: any basic operation",
        "ms, the worst p99.99 above");
    const double share =
        100 * static_cast<double>(right_) / static_cast<double>(std::max<std::uint64_t>(calls_, 1));
    add("seed-success", {share, share, share}, 99.9, "seed 2: operations that succeed", "per cent",
        false);
  }

 private:
  static std::uint64_t nanoseconds(std::uint64_t spent) {
    return static_cast<std::uint64_t>(static_cast<double>(spent) * nanoseconds_per_tick());
  }
  void count(bool ok) {
    ++calls_;
    right_ += ok;
  }

  Results& results_;
  std::uint64_t slowest_ns_ = 0;
  std::uint64_t calls_ = 0;
  std::uint64_t right_ = 0;
};

// A registry: names registered, looked up, refreshed, and all listed by the names it keeps.
void registry(Seeds& seeds, const Store& store, const char* kind, std::uint64_t size, bool nodes) {
  const std::vector<std::string> all = names(kind, size);
  const std::string value(120, 'a');
  char out[256];
  Random random(size);
  if (nodes) {
    SetOptions lives;
    lives.ttl = milliseconds(10'000);
    for (const std::string& n : all) seeds.require(store.set(n, value, lives).ok(), "a set failed");
    seeds.p99("seed-node-lookup", 1, "seed 1: lookup among 1,000 nodes", 100'000,
              [&](std::uint64_t) {
                return store.get(all[random.below(size)], std::span<char>(out)).found();
              });
    seeds.p99("seed-node-refresh", 2, "seed 1: refresh of a node's lifetime", 100'000,
              [&](std::uint64_t) {
                const Result<bool> r = store.expire(all[random.below(size)], milliseconds(10'000));
                return r && *r;
              });
  } else {
    seeds.p99("seed-actor-register", 5, "seed 1: register among 10,000 actors", size,
              [&](std::uint64_t i) { return store.set(all[i], value).ok(); });
    seeds.p99("seed-actor-lookup", 1, "seed 1: lookup among 10,000 actors", 100'000,
              [&](std::uint64_t) {
                return store.get(all[random.below(size)], std::span<char>(out)).found();
              });
  }
  const std::vector<std::string_view> views(all.begin(), all.end());
  seeds.once(
      nodes ? "seed-node-list" : "seed-actor-list", nodes ? 100 : 50,
      nodes ? "seed 1: all of 1,000 nodes, by name" : "seed 1: all of 10,000 actors, by name", [&] {
        std::size_t found = 0;
        const Result<void> r =
            store.visit_many(views, [&](std::size_t, Lookup<std::string_view> v) {
              found += v.found() && v->size() == value.size();
            });
        return r.ok() && found == size;
      });
  const std::string prefix = std::string(kind) + ".";
  seeds.once(
      nodes ? "seed-node-list-prefix" : "seed-actor-list-prefix", nodes ? 100 : 50,
      nodes ? "seed 1: all of 1,000 nodes, by prefix" : "seed 1: all of 10,000 actors, by prefix", [&] {
        std::size_t found = 0;
        const Result<bool> r = store.iterate(prefix, [&](std::string_view, std::string_view v) {
          found += v.size() == value.size();
          return true;
        });
        return r.ok() && found == size;
      });
}

void hundred_writers(Seeds& seeds, const Store& store) {
  constexpr unsigned kWriters = 100;
  constexpr std::uint64_t kEach = 200;
  std::atomic<std::uint64_t> failures{0};
  const auto writer = [&](unsigned w) {
    for (std::uint64_t i = 0; i < kEach; ++i) {
      const std::string own = name_of("writer", w * kEach + i);
      failures += !store.increment("shared.counter").ok();
      failures += !store.set(own, own).ok();
    }
  };
  seeds.once("seed-100-writers", 1000, "seed 4: 100 writers at once, all correct", [&] {
    if (!store.set("shared.counter", "0")) return false;
    std::vector<std::thread> threads;
    for (unsigned w = 0; w < kWriters; ++w) threads.emplace_back(writer, w);
    for (std::thread& t : threads) t.join();
    bool right = failures == 0;
    const Lookup<Value> sum = store.get("shared.counter");
    right = right && sum && sum->view() == std::to_string(kWriters * kEach);
    for (std::uint64_t i = 0; i < kWriters * kEach; ++i) {
      const std::string own = name_of("writer", i);
      const Lookup<Value> v = store.get(own);
      right = right && v && v->view() == own;
    }
    seeds.require(right, "seed-100-writers: a write was lost or wrong");
    return right;
  });
}

}  // namespace

void run_seeds(Results& results) {
  Seeds seeds(results);
  Result<Store> opened =
      Store::open({.memory_bytes = std::size_t{256} << 20, .ordered = true, .hash_seed = 1, .name = "seeds"});
  if (!opened) {
    results.errors.push_back(std::string("Store::open: ") + status_name(opened.status()));
    return;
  }
  const Store store = *opened;
  char out[256];
  registry(seeds, store, "actor", 10'000, false);
  registry(seeds, store, "node", 1'000, true);

  const std::vector<std::string> keys = names("app.config", 100'000);
  const std::string value(64, 'v');
  for (const std::string& k : keys) seeds.require(store.set(k, value).ok(), "a set failed");
  Random random(7);
  seeds.p99("seed-point-lookup", 1, "seed 1: point look-up", 200'000, [&](std::uint64_t) {
    return store.get(keys[random.below(keys.size())], std::span<char>(out)).found();
  });
  seeds.once("seed-stats", 50, "seed 1: statistics over 100,000 keys",
             [&] { return store.stats().entries >= keys.size(); });

  const std::vector<std::string> batch_keys = names("batch", 1'000);
  std::vector<Item> items;
  for (const std::string& k : batch_keys) items.push_back({k, value, std::nullopt});
  std::vector<Result<std::uint64_t>> answers(items.size());
  seeds.once("seed-batch-insert", 100, "seed 1: 1,000 keys in one batch", [&] {
    const bool ok = store.set_many(items, answers).ok();
    return ok && std::all_of(answers.begin(), answers.end(), [](const auto& a) { return a.ok(); });
  });
  std::vector<Result<bool>> removed(items.size());
  const std::vector<std::string_view> batch_views(batch_keys.begin(), batch_keys.end());
  seeds.once("seed-batch-delete", 100, "seed 4: 1,000 keys in one batch", [&] {
    if (!store.set_many(items, answers)) return false;
    const bool ok = store.del_many(batch_views, removed).ok();
    return ok &&
           std::all_of(removed.begin(), removed.end(), [](const auto& r) { return r.ok() && *r; });
  });

  const auto key = [&] { return std::string_view(keys[random.below(keys.size())]); };
  seeds.p99("seed-set", 10, "seed 2: any basic operation", 100'000,
            [&](std::uint64_t) { return store.set(key(), value).ok(); });
  seeds.p99("seed-compare-and-swap", 10, "seed 2: any basic operation", 100'000,
            [&](std::uint64_t) {
              const Result<bool> r = store.compare_and_swap(key(), value, value);
              return r && *r;
            });
  seeds.p99("seed-exists", 10, "seed 2: any basic operation", 100'000, [&](std::uint64_t) {
    const Result<bool> r = store.exists(key());
    return r && *r;
  });
  seeds.p99("seed-delete", 10, "seed 2: any basic operation", 100'000, [&](std::uint64_t) {
    const std::string_view k = key();
    const Result<bool> r = store.del(k);
    return r && *r && store.set(k, value).ok();
  });
  const auto scan = [&] {  // the hundred keys of a random prefix
    const std::string_view prefix = key();
    std::size_t found = 0;
    const Result<bool> r = store.iterate(prefix.substr(0, prefix.size() - 2), [&](std::string_view, std::string_view v) {
      found += v.size() == value.size();
      return true;
    });
    return r.ok() && found == 100;
  };
  seeds.p99("seed-prefix-100", 10, "seed 1: a prefix query of 100 keys among 100,000", 20'000, [&](std::uint64_t) { return scan(); });
  seeds.p99("seed-mix-95-4-1", 10, "seed 1: 95 % reads, 4 % writes, 1 % scans", 200'000, [&](std::uint64_t i) {
    if (i % 100 == 0) return scan();
    return i % 25 == 1 ? store.set(key(), value).ok() : store.get(key(), std::span<char>(out)).found();
  });
  hundred_writers(seeds, store);
  seeds.finish();
}

}  // namespace tern::bench
