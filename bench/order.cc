#include "bench/order.h"

#include <tern/store.h>

#include <malloc.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "bench/order_peers.h"
#include "bench/workload.h"

namespace tern::bench {
namespace {

constexpr std::uint64_t kKeysAPrefix = 100;
constexpr unsigned kScans = 1'000;  // in a repeat
constexpr std::uint64_t kGets = 300'000;
constexpr std::uint64_t kFew = 1'000'000, kMany = 10'000'000;  // keys, where nothing else is asked for

class OrderSuite {
 public:
  // `has_floors`: the scans are those that the targets are about.
  OrderSuite(const BenchOptions& options, Results& results, std::uint64_t count, bool has_floors)
      : options_(options), results_(results), count_(std::max<std::uint64_t>(count / kKeysAPrefix, 1) * kKeysAPrefix), has_floors_(has_floors) {
    order_.resize(count_);
    for (std::uint64_t i = 0; i != count_; ++i) order_[i] = static_cast<std::uint32_t>(i);
    std::shuffle(order_.begin(), order_.end(), random_);
  }

  // What the index costs and what it is good for, and scans beside the peers.
  void run() {
    Store ordered = open(true);
    {
      const Store plain = open(false);
      if (!ordered.is_open() || !plain.is_open()) return;
      fill_both(ordered, plain);
      results_.add_target("index-bytes", one(static_cast<double>(ordered.stats().index_bytes) / static_cast<double>(count_)), "B",
                          "of the index, a key of 20 bytes", 0, true);
      gets(ordered, plain);
    }
    patterns(ordered);
    listings();
    peers(ordered);
  }
  // The scans alone.
  void run_scans() {
    const Store ordered = open(true);
    if (!ordered.is_open()) return;
    fill(*ordered_tern(ordered), 0, count_);
    peers(ordered);
  }

 private:
  struct Measured {
    const OrderedPeer& peer;
    std::vector<double> ratios{}, us{};
  };

  static Spread one(double value) { return {value, value, value}; }
  void require(bool ok, const char* what) {
    if (!ok && (results_.errors.empty() || results_.errors.back() != what)) results_.errors.push_back(what);
  }
  std::string_view key(std::uint64_t i) {
    const int n = std::snprintf(key_, sizeof key_, "user:%07llu:item:%02llu", static_cast<unsigned long long>(i / kKeysAPrefix),
                                static_cast<unsigned long long>(i % kKeysAPrefix));
    return {key_, static_cast<std::size_t>(n)};
  }
  static InlineValue value(std::uint64_t i) {
    InlineValue v;
    std::memset(v.bytes, static_cast<int>('a' + i % 26), kOrderedValueBytes);
    return v;
  }

  Store open(bool is_ordered) {
    Options o;
    o.memory_bytes = std::max<std::size_t>(count_ * 320, std::size_t{64} << 20);
    o.entries_expected = count_;
    o.eviction = false;
    o.ordered = is_ordered;
    o.huge_pages = options_.huge_pages;
    Result<Store> store = Store::open(o);
    require(store.ok(), "order: the store can't be opened");
    return store ? std::move(*store) : Store();
  }
  // Keys come in any order. Seconds of CPU time.
  double fill(OrderedMap& map, std::uint64_t first, std::uint64_t last) {
    const double from = thread_cpu_seconds();
    bool ok = true;
    for (std::uint64_t i = first; i != last; ++i) ok = map.insert(key(order_[i]), value(order_[i])) && ok;
    require(ok, "order: a set of the fill was refused");
    return thread_cpu_seconds() - from;
  }
  // By turns.
  void fill_both(const Store& ordered, const Store& plain) {
    constexpr std::uint64_t kTurns = 10;
    const auto with = ordered_tern(ordered), without = ordered_tern(plain);
    std::vector<double> ratios;
    for (std::uint64_t i = 0; i != kTurns; ++i) {
      const std::uint64_t first = count_ * i / kTurns, last = count_ * (i + 1) / kTurns;
      const double quick = fill(*without, first, last);
      ratios.push_back(quick / fill(*with, first, last));
    }
    results_.add_target("insert-ordered", spread(ratios), "ratio", "a fill of the same store unordered", 0, false);
  }

  // One peer at a time beside the store, so that ten million keys need no more memory than they must.
  void peers(const Store& store) {
    const auto own = ordered_tern(store);
    std::vector<double> scan_us, mixed_us;
    for (const OrderedPeer& peer : ordered_peers()) {
      if (peer.why_absent != nullptr) {
        results_.notes.push_back(peer.why_absent);
        continue;
      }
      {
        const std::unique_ptr<OrderedMap> map = peer.make(count_);
        require(map != nullptr, "order: a peer can't be opened");
        if (map == nullptr) continue;
        fill(*map, 0, count_);
        require(map->settle(), "order: a peer can't be settled");
        Measured scanned{peer}, mixed{peer};
        scans(*own, *map, scan_us, scanned);
        ycsb_e(store, *own, *map, mixed_us, mixed);
        report("scan100", scanned, has_floors_ ? peer.floor : 0);
        report("ycsb-e", mixed, 0);
      }
      malloc_trim(0);
    }
    if (scan_us.empty()) return;
    results_.add_target("scan100" + size_, spread(scan_us), "us", "100 keys and values by prefix, a view for each", 0, true);
    results_.add_target("ycsb-e" + size_, spread(mixed_us), "us", "an operation", 0, true);
  }
  void report(const std::string& id, const Measured& m, double floor) {
    char against[112];
    std::snprintf(against, sizeof against, "%s, %.1f us; %llu keys", m.peer.name, spread(m.us).median, static_cast<unsigned long long>(count_));
    results_.add_target(id + size_ + "-vs-" + m.peer.id, spread(m.ratios), "ratio", against, floor, false);
  }

  void scans(OrderedMap& own, OrderedMap& peer, std::vector<double>& own_us, Measured& out) {
    for (unsigned r = 0; r != options_.repeats + 1; ++r) {
      std::vector<std::string> prefixes;
      for (unsigned n = 0; n != kScans; ++n) prefixes.emplace_back(key(random_() % count_).substr(0, 13));
      ScanSum expected, sum;
      const double tern = timed(own, prefixes, expected);
      const double us = timed(peer, prefixes, sum);
      require(expected.keys == kScans * kKeysAPrefix, "order: a scan missed keys");
      require(sum == expected, "order: two stores' scans differ");
      if (r == 0) continue;  // the first warms
      own_us.push_back(tern);
      out.us.push_back(us);
      out.ratios.push_back(us / tern);
    }
  }

  // YCSB's workload E: 95 scans of 1 to 100 keys from a key on, drawn by Zipf, to 5 inserts of new keys among them. The store is
  // left as it was.
  void ycsb_e(const Store& store, OrderedMap& own, OrderedMap& peer, std::vector<double>& own_us, Measured& out) {
    struct Step {
      std::string key;
      std::uint64_t keys;  // 0: an insert
    };
    const Zipf zipf(count_, kZipfTheta);
    Random draw(options_.seed);
    std::vector<std::string> inserted;
    for (unsigned r = 0; r != options_.repeats + 1; ++r) {
      std::vector<Step> steps(kScans);
      for (Step& step : steps) {
        step.key = key(scramble(zipf.rank(draw.unit()), count_));
        step.keys = random_() % 100 < 95 ? 1 + random_() % 100 : 0;
        if (step.keys != 0) continue;
        step.key += ":" + std::to_string(inserted.size());
        inserted.push_back(step.key);
      }
      const auto run = [&](OrderedMap& map, ScanSum& sum) {
        bool ok = true;
        const double from = thread_cpu_seconds();
        for (const Step& step : steps) {
          if (step.keys == 0) {
            ok = map.insert(step.key, value(step.key.size())) && ok;
          } else {
            sum.add(map.scan_from(step.key, step.keys));
          }
        }
        require(ok, "order: an insert was refused");
        return (thread_cpu_seconds() - from) / kScans * 1e6;
      };
      ScanSum expected, sum;
      const double tern = run(own, expected);
      const double us = run(peer, sum);
      require(sum == expected, "order: two stores' scans differ");
      if (r == 0) continue;
      own_us.push_back(tern);
      out.us.push_back(us);
      out.ratios.push_back(us / tern);
    }
    for (const std::string& key : inserted) require(*store.del(key), "order: an inserted key is gone");
  }
  // Microseconds a scan.
  static double timed(OrderedMap& map, const std::vector<std::string>& prefixes, ScanSum& sum) {
    const double from = thread_cpu_seconds();
    for (const std::string& prefix : prefixes) sum.add(map.scan(prefix));
    return (thread_cpu_seconds() - from) / static_cast<double>(prefixes.size()) * 1e6;
  }

  void gets(const Store& ordered, const Store& plain) {
    const auto rate = [&](const Store& store) {
      char out[kOrderedValueBytes];
      std::uint64_t found = 0;
      const double from = thread_cpu_seconds();
      for (std::uint64_t i = 0; i != kGets; ++i) found += store.get(key(random_() % count_), std::span<char>(out)).found();
      require(found == kGets, "order: a get missed");
      return static_cast<double>(kGets) / (thread_cpu_seconds() - from);
    };
    std::vector<double> ratios;
    rate(ordered);
    for (unsigned r = 0; r != options_.repeats; ++r) {
      const double before = rate(plain), with = rate(ordered), after = rate(plain);
      ratios.push_back(with / ((before + after) / 2));
    }
    results_.add_target("get-ordered", spread(ratios), "ratio", "the same store unordered", 0.95, false);
  }

  // keys() of a store without the index: all are looked at and sorted, by one thread and by two.
  void listings() {
    const std::uint64_t keys = std::min<std::uint64_t>(count_, 200'000);
    const auto listed = [&](unsigned threads) {
      Options o;
      o.memory_bytes = std::max<std::size_t>(keys * 320, std::size_t{64} << 20);
      o.entries_expected = keys;
      o.eviction = false;
      o.scan_threads = threads;
      o.maintenance = Maintenance::kTick;  // what is measured is the listing's
      o.huge_pages = options_.huge_pages;
      Result<Store> store = Store::open(o);
      if (store.status() == Status::kUnsupported) return Store();
      require(store.ok(), "order: the store can't be opened");
      if (!store) return Store();
      for (std::uint64_t i = 0; i != keys; ++i) require(store->set(key(i), "v").ok(), "order: a set of the fill was refused");
      return std::move(*store);
    };
    const Store alone = listed(1), shared = listed(2);
    if (!alone.is_open()) return;
    if (!shared.is_open()) return results_.notes.push_back("the library was built without oneTBB: scans use one thread");
    struct Spent {
      double wall_ms, processor_ms;  // the latter of the thread that had more to do
    };
    const auto list = [&](const Store& store) -> Spent {
      const double wall = wall_seconds(), own = thread_cpu_seconds();
      const std::clock_t process = std::clock();
      const Result<Keys> all = store.keys();
      require(all && all->size() == keys, "order: a listing missed keys");
      const double own_ms = (thread_cpu_seconds() - own) * 1e3;
      const double process_ms = static_cast<double>(std::clock() - process) * 1e3 / CLOCKS_PER_SEC;
      return {(wall_seconds() - wall) * 1e3, std::max(own_ms, process_ms - own_ms)};
    };
    list(alone);
    list(shared);
    std::vector<double> one, by_wall, by_processor;
    for (unsigned r = 0; r != options_.repeats; ++r) {
      const Spent before = list(alone), with = list(shared), after = list(alone);
      one.push_back(before.processor_ms);
      by_wall.push_back((before.wall_ms + after.wall_ms) / 2 / with.wall_ms);
      by_processor.push_back((before.processor_ms + after.processor_ms) / 2 / with.processor_ms);
    }
    results_.add_target("list-unordered", spread(one), "ms", "keys() of 200,000 without the index, processor time", 0, true);
    results_.add_target("list-two-threads", spread(by_wall), "ratio", "the same by one thread, wall time", 0, false);
    results_.add_target("list-two-threads-processor", spread(by_processor), "ratio", "the same, processor time of the busier thread", 0, false);
  }

  // The pattern's literal start is that of a thousandth of the keys.
  void patterns(const Store& store) {
    const unsigned wild = count_ >= 10'000'000 ? 2 : 1;
    const std::string text = std::string(key(count_ / 2).substr(0, 12 - wild)) + std::string(wild, '?') + ":item:?7";
    const Result<Pattern> pattern = Pattern::compile(text, {.separator = ':'});
    require(pattern.ok(), "order: a pattern was refused");
    std::vector<double> ratios, us;
    for (unsigned r = 0; r != options_.repeats; ++r) {
      constexpr unsigned kCalls = 20;
      std::uint64_t narrow = 0, whole = 0;
      double from = thread_cpu_seconds();
      for (unsigned n = 0; n != kCalls; ++n) narrow += store.keys(*pattern)->size();
      const double by_start = (thread_cpu_seconds() - from) / kCalls;
      const Result<View> view = store.view();
      require(view.ok(), "order: a view was refused");
      from = thread_cpu_seconds();
      const Result<bool> all = view->for_each([&](std::string_view k, std::string_view) {
        whole += pattern->matches(k);
        return true;
      });
      ratios.push_back((thread_cpu_seconds() - from) / by_start);
      us.push_back(by_start * 1e6);
      require(all.ok() && whole != 0 && narrow == kCalls * whole, "order: a pattern's keys differ from the full scan's");
    }
    results_.add_target("pattern-1m", spread(ratios), "ratio", "for_each and the same pattern over all keys", 100, false);
    results_.add_target("pattern-keys", spread(us), "us", "keys(pattern), a thousandth of the keys looked at", 0, true);
  }

  const BenchOptions& options_;
  Results& results_;
  const std::uint64_t count_;
  const bool has_floors_;
  const std::string size_ = has_floors_ ? "" : "-" + std::to_string(count_);
  std::mt19937_64 random_{1};
  std::vector<std::uint32_t> order_;
  char key_[40];
};

}  // namespace

void run_order(const BenchOptions& options, Results& results) {
  if (!options.entries.empty()) return OrderSuite(options, results, options.entries.front(), true).run();
  OrderSuite(options, results, kFew, false).run();
  OrderSuite(options, results, kMany, true).run_scans();
}

}  // namespace tern::bench
