#include "bench/order.h"

#include <tern/store.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <shared_mutex>
#include <string>
#include <vector>

#if TERN_BENCH_TBB
#include <tbb/concurrent_map.h>
#endif
#if TERN_BENCH_ABSEIL
#include <absl/container/btree_map.h>
#include <absl/strings/string_view.h>
#endif
#if TERN_BENCH_ROCKSDB
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/iterator.h>
#include <rocksdb/table.h>
#endif

#include "bench/workload.h"

namespace tern::bench {
namespace {

constexpr std::size_t kValueBytes = 64;
constexpr std::uint64_t kKeysAPrefix = 100;
constexpr unsigned kScans = 1'000;  // in a repeat
constexpr std::uint64_t kGets = 300'000;

// In the map's own node: nothing else to fetch.
struct InlineValue {
  char bytes[kValueBytes];
};

// A scan adds up the first bytes of the values, and their number: what it is compared by.
struct Sum {
  std::uint64_t keys = 0;
  std::uint64_t bytes = 0;
  void add(const char* value) {
    ++keys;
    bytes += static_cast<unsigned char>(value[0]);
  }
};

class OrderSuite {
 public:
  OrderSuite(const BenchOptions& options, Results& results)
      : options_(options), results_(results), count_(options.entries.empty() ? 1'000'000 : options.entries.front()) {
    count_ = std::max<std::uint64_t>(count_ / kKeysAPrefix, 1) * kKeysAPrefix;
    order_.resize(count_);
    for (std::uint64_t i = 0; i != count_; ++i) order_[i] = static_cast<std::uint32_t>(i);
    std::shuffle(order_.begin(), order_.end(), random_);
  }

  void run() {
    const Store ordered = open(true);
    const Store plain = open(false);
    if (!ordered.is_open() || !plain.is_open()) return;
    const double fill_plain = fill([&](std::string_view k, const InlineValue& v) { return plain.set(k, {v.bytes, kValueBytes}).ok(); });
    const double fill_ordered = fill([&](std::string_view k, const InlineValue& v) { return ordered.set(k, {v.bytes, kValueBytes}).ok(); });
    results_.add_target("insert-ordered", one(fill_plain / fill_ordered), "ratio", "a fill of the same store unordered, once", 0, false);
    results_.add_target("index-bytes", one(static_cast<double>(ordered.stats().index_bytes) / static_cast<double>(count_)), "B",
                        "of the index, a key of 20 bytes", 0, true);
    peers(ordered);
    gets(ordered, plain);
    patterns(ordered);
    listings();
  }

 private:
  using Scan = std::function<Sum(std::string_view prefix)>;
  // Up to `keys` of them, from the first that isn't less than `from` on.
  using ScanFrom = std::function<Sum(std::string_view from, std::uint64_t keys)>;
  using Insert = std::function<bool(std::string_view key, const InlineValue& value)>;
  struct Peer {
    const char* name;
    const char* id;
    double floor;
    Insert insert;
    Scan scan;
    ScanFrom scan_from;
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
    std::memset(v.bytes, static_cast<int>('a' + i % 26), kValueBytes);
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
  template <class Set>
  double fill(Set&& set) {
    const double from = thread_cpu_seconds();
    bool ok = true;
    for (const std::uint32_t i : order_) ok = set(key(i), value(i)) && ok;
    require(ok, "order: a set of the fill was refused");
    return thread_cpu_seconds() - from;
  }

  void peers(const Store& store) {
    std::vector<Peer> peers;
    Peer own{"tern", "tern", 0, {}, {}, {}};
    own.insert = [&](std::string_view k, const InlineValue& v) { return store.set(k, {v.bytes, kValueBytes}).ok(); };
    own.scan = [&](std::string_view prefix) {
      Sum sum;
      const Result<bool> r = store.iterate(prefix, [&](std::string_view, std::string_view v) { return sum.add(v.data()), true; });
      require(r.ok(), "order: a scan failed");
      return sum;
    };
    own.scan_from = [&](std::string_view from, std::uint64_t keys) {
      Sum sum;
      ScanCursor cursor;
      const Result<bool> r = store.scan({.from = from, .limit = keys}, cursor, [&](const ViewEntry& e) { return sum.add(e.value.data()), true; });
      require(r.ok(), "order: a scan failed");
      return sum;
    };
#if TERN_BENCH_TBB
    tbb::concurrent_map<std::string, InlineValue, std::less<>> tbb_map;
    peers.push_back({"tbb::concurrent_map", "tbb", 2,
                     [&](std::string_view k, const InlineValue& v) { return tbb_map.emplace(k, v).second; },
                     [&](std::string_view prefix) {
                       Sum sum;
                       for (auto i = tbb_map.lower_bound(prefix); i != tbb_map.end() && i->first.starts_with(prefix); ++i) sum.add(i->second.bytes);
                       return sum;
                     },
                     [&](std::string_view from, std::uint64_t keys) {
                       Sum sum;
                       for (auto i = tbb_map.lower_bound(from); i != tbb_map.end() && sum.keys != keys; ++i) sum.add(i->second.bytes);
                       return sum;
                     }});
    fill(peers.back().insert);
#else
    results_.notes.push_back("oneTBB is absent: apt-get install libtbb-dev");
#endif
#if TERN_BENCH_ABSEIL
    absl::btree_map<std::string, InlineValue> btree;
    std::shared_mutex mutex;
    const auto at = [&](std::string_view key) { return btree.lower_bound(absl::string_view(key.data(), key.size())); };
    peers.push_back({"absl::btree_map and a shared mutex", "btree", 1,
                     [&](std::string_view k, const InlineValue& v) {
                       const std::unique_lock lock(mutex);
                       return btree.emplace(k, v).second;
                     },
                     [&](std::string_view prefix) {
                       Sum sum;
                       const std::shared_lock lock(mutex);
                       for (auto i = at(prefix); i != btree.end() && std::string_view(i->first).starts_with(prefix); ++i) sum.add(i->second.bytes);
                       return sum;
                     },
                     [&](std::string_view from, std::uint64_t keys) {
                       Sum sum;
                       const std::shared_lock lock(mutex);
                       for (auto i = at(from); i != btree.end() && sum.keys != keys; ++i) sum.add(i->second.bytes);
                       return sum;
                     }});
    fill(peers.back().insert);
#else
    results_.notes.push_back("Abseil is absent: apt-get install libabsl-dev");
#endif
#if TERN_BENCH_ROCKSDB
    const std::unique_ptr<rocksdb::Env> environment(rocksdb::NewMemEnv(rocksdb::Env::Default()));
    rocksdb::Options o;
    o.create_if_missing = true;
    o.env = environment.get();
    o.compression = rocksdb::kNoCompression;
    o.write_buffer_size = std::size_t{256} << 20;
    rocksdb::BlockBasedTableOptions table;
    table.block_cache = rocksdb::NewLRUCache(std::max<std::size_t>(count_ * 160, std::size_t{64} << 20));
    o.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
    rocksdb::DB* opened = nullptr;
    require(rocksdb::DB::Open(o, "/order", &opened).ok(), "order: RocksDB can't be opened");
    const std::unique_ptr<rocksdb::DB> rocks(opened);
    if (rocks != nullptr) {
      peers.push_back({"RocksDB in memory, compacted, all in its cache", "rocksdb", 4,
                       [&](std::string_view k, const InlineValue& v) {
                         rocksdb::WriteOptions unlogged;
                         unlogged.disableWAL = true;
                         return rocks->Put(unlogged, {k.data(), k.size()}, {v.bytes, kValueBytes}).ok();
                       },
                       [&](std::string_view prefix) {
                         Sum sum;
                         const std::unique_ptr<rocksdb::Iterator> i(rocks->NewIterator({}));
                         for (i->Seek({prefix.data(), prefix.size()}); i->Valid() && i->key().starts_with({prefix.data(), prefix.size()}); i->Next()) {
                           sum.add(i->value().data());
                         }
                         return sum;
                       },
                       [&](std::string_view from, std::uint64_t keys) {
                         Sum sum;
                         const std::unique_ptr<rocksdb::Iterator> i(rocks->NewIterator({}));
                         for (i->Seek({from.data(), from.size()}); i->Valid() && sum.keys != keys; i->Next()) sum.add(i->value().data());
                         return sum;
                       }});
      fill(peers.back().insert);
      require(rocks->Flush({}).ok() && rocks->CompactRange({}, nullptr, nullptr).ok(), "order: RocksDB can't be compacted");
    }
#else
    results_.notes.push_back("RocksDB is absent: apt-get install librocksdb-dev");
#endif
    scans(own, peers);
    ycsb_e(own, peers);
  }

  void scans(const Peer& own, std::vector<Peer>& peers) {
    std::vector<double> own_us;
    for (unsigned r = 0; r != options_.repeats + 1; ++r) {
      std::vector<std::string> prefixes;
      for (unsigned n = 0; n != kScans; ++n) prefixes.emplace_back(key(random_() % count_).substr(0, 13));
      Sum expected;
      const double tern = timed(own.scan, prefixes, expected);
      require(expected.keys == kScans * kKeysAPrefix, "order: a scan missed keys");
      if (r != 0) own_us.push_back(tern);
      for (Peer& peer : peers) {
        Sum sum;
        const double us = timed(peer.scan, prefixes, sum);
        require(sum.keys == expected.keys && sum.bytes == expected.bytes, "order: two stores' scans differ");
        if (r == 0) continue;  // the first warms
        peer.us.push_back(us);
        peer.ratios.push_back(us / tern);
      }
    }
    results_.add_target("scan100", spread(own_us), "us", "100 keys and values by prefix, a view for each", 0, true);
    report("scan100-vs-", peers, true);
  }
  void report(const std::string& id, std::vector<Peer>& peers, bool has_floor) {
    for (Peer& peer : peers) {
      char against[96];
      std::snprintf(against, sizeof against, "%s, %.1f us", peer.name, spread(peer.us).median);
      results_.add_target(id + peer.id, spread(peer.ratios), "ratio", against, has_floor ? peer.floor : 0, false);
      peer.ratios.clear();
      peer.us.clear();
    }
  }

  // YCSB's workload E: 95 scans of 1 to 100 keys from a key on, drawn by Zipf, to 5 inserts of new keys among them.
  void ycsb_e(const Peer& own, std::vector<Peer>& peers) {
    struct Step {
      std::string key;
      std::uint64_t keys;  // 0: an insert
    };
    const Zipf zipf(count_, kZipfTheta);
    Random draw(options_.seed);
    std::vector<double> own_us;
    std::uint64_t inserted = 0;
    for (unsigned r = 0; r != options_.repeats + 1; ++r) {
      std::vector<Step> steps(kScans);
      for (Step& step : steps) {
        step.key = key(scramble(zipf.rank(draw.unit()), count_));
        step.keys = random_() % 100 < 95 ? 1 + random_() % 100 : 0;
        if (step.keys == 0) step.key += ":" + std::to_string(inserted++);
      }
      const auto run = [&](const Peer& store, Sum& sum) {
        bool ok = true;
        const double from = thread_cpu_seconds();
        for (const Step& step : steps) {
          if (step.keys == 0) {
            ok = store.insert(step.key, value(step.key.size())) && ok;
            continue;
          }
          const Sum one = store.scan_from(step.key, step.keys);
          sum.keys += one.keys;
          sum.bytes += one.bytes;
        }
        require(ok, "order: an insert was refused");
        return (thread_cpu_seconds() - from) / kScans * 1e6;
      };
      Sum expected;
      const double tern = run(own, expected);
      if (r != 0) own_us.push_back(tern);
      for (Peer& peer : peers) {
        Sum sum;
        const double us = run(peer, sum);
        require(sum.keys == expected.keys && sum.bytes == expected.bytes, "order: two stores' scans differ");
        if (r == 0) continue;
        peer.us.push_back(us);
        peer.ratios.push_back(us / tern);
      }
    }
    results_.add_target("ycsb-e", spread(own_us), "us", "an operation", 0, true);
    report("ycsb-e-vs-", peers, false);
  }
  // Microseconds a scan.
  static double timed(const Scan& scan, const std::vector<std::string>& prefixes, Sum& sum) {
    const double from = thread_cpu_seconds();
    for (const std::string& prefix : prefixes) {
      const Sum one = scan(prefix);
      sum.keys += one.keys;
      sum.bytes += one.bytes;
    }
    return (thread_cpu_seconds() - from) / static_cast<double>(prefixes.size()) * 1e6;
  }

  void gets(const Store& ordered, const Store& plain) {
    const auto rate = [&](const Store& store) {
      char out[kValueBytes];
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
    const auto ms = [&](const Store& store) {
      const double from = wall_seconds();
      const Result<Keys> all = store.keys();
      require(all && all->size() == keys, "order: a listing missed keys");
      return (wall_seconds() - from) * 1e3;
    };
    ms(alone);
    ms(shared);
    std::vector<double> one, ratios;
    for (unsigned r = 0; r != options_.repeats; ++r) {
      const double before = ms(alone), with = ms(shared), after = ms(alone);
      one.push_back(before);
      ratios.push_back((before + after) / 2 / with);
    }
    results_.add_target("list-unordered", spread(one), "ms", "keys() of 200,000 without the index, wall time", 0, true);
    results_.add_target("list-two-threads", spread(ratios), "ratio", "the same by one thread, wall time", 0, false);
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
  std::uint64_t count_;
  std::mt19937_64 random_{1};
  std::vector<std::uint32_t> order_;
  char key_[40];
};

}  // namespace

void run_order(const BenchOptions& options, Results& results) { OrderSuite(options, results).run(); }

}  // namespace tern::bench
