#include "bench/bounds.h"

#include <tern/store.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "bench/hand_caches.h"
#include "bench/workload.h"

namespace tern::bench {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr std::uint32_t kValueBytes = kHandValueBytes;

class SteppedClock final : public Clock {
 public:
  milliseconds now() const noexcept override { return milliseconds(now_.load(std::memory_order_relaxed)); }
  void advance(milliseconds by) noexcept { now_.fetch_add(by.count(), std::memory_order_relaxed); }

 private:
  std::atomic<std::int64_t> now_{1'000'000};
};

std::uint64_t now_ms() noexcept { return static_cast<std::uint64_t>(wall_seconds() * 1000); }

KeyMaker maker() { return KeyMaker(Sizes(16, kHandKeyBytes), Sizes(kValueBytes, kValueBytes)); }

// A key and its value, made outside of what is timed.
class Sample {
 public:
  explicit Sample(const KeyMaker& keys) : keys_(keys) {}
  void make(std::uint64_t index) noexcept {
    key_size_ = keys_.key(index, key_);
    const std::uint64_t head = KeyMaker::value_head(index);
    std::memcpy(value_, &head, sizeof head);
  }
  std::string_view key() const noexcept { return {key_, key_size_}; }
  std::string_view value() const noexcept { return {value_, kValueBytes}; }
  bool is_value(const char* bytes) const noexcept { return std::memcmp(bytes, value_, sizeof(std::uint64_t)) == 0; }

 private:
  const KeyMaker& keys_;
  std::uint32_t key_size_ = 0;
  char key_[kHandKeyBytes + 8] = {};
  char value_[kValueBytes] = {};
};

Result<Store> open(std::uint64_t memory_bytes, const Clock* clock, Maintenance maintenance, bool huge_pages) {
  Options o;
  o.memory_bytes = memory_bytes;
  o.clock = clock;
  o.maintenance = maintenance;
  o.huge_pages = huge_pages;
  o.hash_seed = 1;
  o.name = "bounds";
  return Store::open(o);
}

// `count` entries that expire at one instant. False: a set failed.
bool fill_expiring(const Store& store, const KeyMaker& keys, std::uint64_t first, std::uint64_t count) {
  Sample s(keys);
  SetOptions o;
  o.ttl = milliseconds(1'000);
  for (std::uint64_t i = 0; i != count; ++i) {
    s.make(first + i);
    if (!store.set(s.key(), s.value(), o)) return false;
  }
  return true;
}

// --- expiry ----------------------------------------------------------------------------------------------------

void measure_expiry(const BoundsPlan& plan, Results& results) {
  const KeyMaker keys = maker();
  std::vector<double> thousand_ms, million_rate;
  for (unsigned r = 0; r != plan.repeats; ++r) {
    SteppedClock clock;
    const Result<Store> store =
        open(plan.expiring * 320 + (std::uint64_t{64} << 20), &clock, Maintenance::kTick, results.huge_pages);
    if (!store || !fill_expiring(*store, keys, 0, plan.expiring)) {
      results.errors.push_back("expire-rate: the store refused an entry");
      return;
    }
    clock.advance(milliseconds(2'000));
    const double before = thread_cpu_seconds();
    Result<Owed> owed = store->tick(microseconds(200));
    while (owed && owed->shards_with_expired != 0) owed = store->tick(microseconds(200));
    const double spent = thread_cpu_seconds() - before;
    if (store->stats().entries != 0 || store->stats().expired != plan.expiring) {
      results.errors.push_back("expire-rate: entries were left");
    }
    million_rate.push_back(static_cast<double>(plan.expiring) / spent / 1e6);
    // A thousand, among others that stay.
    Sample s(keys);
    for (std::uint64_t i = 0; i != plan.expiring / 10; ++i) {
      s.make(plan.expiring + i);
      if (!store->set(s.key(), s.value())) results.errors.push_back("expire-1000: the store refused an entry");
    }
    if (!fill_expiring(*store, keys, 0, 1'000)) results.errors.push_back("expire-1000: the store refused an entry");
    clock.advance(milliseconds(2'000));
    const double from = wall_seconds();
    const Result<std::uint64_t> removed = store->cleanup_expired();
    thousand_ms.push_back((wall_seconds() - from) * 1e3);
    if (!removed || *removed != 1'000) results.errors.push_back("expire-1000: not a thousand were removed");
  }
  results.add_target("expire-1000", spread(thousand_ms), "ms", "wall time of cleanup_expired()", 1, true);
  results.add_target("expire-rate", spread(million_rate), "million a second",
             "entries that expire at one instant, in ticks of 200 us", 5, false);
}

// --- tick ------------------------------------------------------------------------------------------------------

// CPU time past a budget, in nanoseconds.
struct Overruns {
  Histogram ticks;
  Histogram loops;  // that only ask for the time until the budget is over: what the machine itself adds

  static void record(Histogram& to, double spent_seconds, microseconds budget) {
    const double over = spent_seconds * 1e9 - static_cast<double>(budget.count()) * 1e3;
    to.record(over > 0 ? static_cast<std::uint64_t>(over) : 0);
  }
};

constexpr unsigned kTicksInVain = 256;  // more than take a store's 64 shards in turn

// While a writer on another processor fills the store. After each tick a loop of the same length.
Overruns overruns(const BoundsPlan& plan, microseconds budget, Results& results) {
  const KeyMaker keys = maker();
  Overruns h;
  SteppedClock clock;
  const Result<Store> store =
      open(plan.expiring * 320 + (std::uint64_t{64} << 20), &clock, Maintenance::kTick, results.huge_pages);
  if (!store) {
    results.errors.push_back("tick-overrun: the store wasn't opened");
    return h;
  }
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    pin(1);
    Sample s(keys);
    SetOptions lives;
    for (std::uint64_t i = 0; !stop.load(std::memory_order_relaxed); ++i) {
      s.make((std::uint64_t{1} << 40) + i % (plan.expiring * 4));
      lives.ttl = milliseconds(100 + i % 5'000);
      (void)store->set(s.key(), s.value(), lives);
    }
  });
  pin(0);
  for (std::uint64_t drain = 0; drain != plan.drains; ++drain) {
    if (!fill_expiring(*store, keys, 0, plan.expiring)) results.errors.push_back("tick-overrun: an entry was refused");
    clock.advance(milliseconds(1'000));
    // Until half of this drain's entries are gone each tick has more than it can do; or until nothing more expires, for the
    // writer has evicted them.
    const std::uint64_t before_drain = store->stats().expired;
    std::uint64_t expired = before_drain;
    unsigned in_vain = 0;
    Result<Owed> owed;
    do {
      const double before = thread_cpu_seconds();
      owed = store->tick(budget);
      const double between = thread_cpu_seconds();
      Overruns::record(h.ticks, between - before, budget);
      const double end = wall_seconds() + static_cast<double>(budget.count()) / 1e6;
      while (wall_seconds() < end) {
      }
      Overruns::record(h.loops, thread_cpu_seconds() - between, budget);
      const std::uint64_t now_expired = store->stats().expired;
      in_vain = now_expired != expired ? 0 : in_vain + 1;
      expired = now_expired;
    } while (owed && owed->shards_with_expired != 0 && expired - before_drain < plan.expiring / 2 && in_vain != kTicksInVain);
  }
  stop = true;
  writer.join();
  return h;
}

void measure_ticks(const BoundsPlan& plan, Results& results) {
  for (const int budget : {200, 50, 1'000}) {
    const Overruns h = overruns(plan, microseconds(budget), results);
    const std::string of_budget = budget == 200 ? std::string() : "-" + std::to_string(budget) + "us";
    const auto add = [&](const char* id, const Histogram& over, const char* what, double limit) {
      const auto us = [&](double share) { return static_cast<double>(over.percentile(share)) / 1e3; };
      char against[160];
      std::snprintf(against, sizeof against, "%s of %d us, one writer beside it; %llu of them; median to p99.99", what, budget,
                    static_cast<unsigned long long>(over.count()));
      results.add_target(id + of_budget, {us(0.999), us(0.5), us(0.9999)}, "us", against, limit, true);
    };
    add("tick-overrun-p999", h.ticks, "ticks", budget == 200 ? 50 : 0);
    add("loop-overrun-p999", h.loops, "loops that only ask for the time, between the ticks,", 0);
  }
}

// --- full caches -----------------------------------------------------------------------------------------------

class TernCache {
 public:
  static constexpr const char* kName = "tern";
  TernCache(std::uint64_t memory_bytes, bool huge_pages)
      : store_(std::move(*open(memory_bytes, nullptr, Maintenance::kBackground, huge_pages))) {}
  bool get(std::string_view key, std::uint64_t, char* out) const {
    return store_.get(key, std::span<char>(out, kValueBytes)).found();
  }
  void set(std::string_view key, const char* value, std::uint64_t ttl_ms) const {
    SetOptions o;
    if (ttl_ms != 0) o.ttl = milliseconds(ttl_ms);
    if (!store_.set(key, {value, kValueBytes}, o)) refused_.fetch_add(1, std::memory_order_relaxed);
  }
  std::size_t size() const { return store_.stats().entries; }
  std::uint64_t refused() const { return refused_.load(std::memory_order_relaxed); }

 private:
  Store store_;
  mutable std::atomic<std::uint64_t> refused_{0};
};

// A deadline is a word there: the clock is read for them outside of what is timed.
template <class Cache>
class Hand {
 public:
  static constexpr const char* kName = Cache::kName;
  Hand(std::uint64_t memory_bytes, bool) : cache_(memory_bytes) {}
  bool get(std::string_view key, std::uint64_t now, char* out) { return cache_.get(key, now, out); }
  void set(std::string_view key, const char* value, std::uint64_t ttl_ms, std::uint64_t now) {
    cache_.set(key, value, ttl_ms != 0 ? now + ttl_ms : kNoDeadline);
  }
  std::size_t size() const { return cache_.size(); }

 private:
  Cache cache_;
};

struct Slice {
  Histogram get, set;
  double gets = 0, sets = 0, cpu_seconds = 0, seconds = 0;
  std::uint64_t hits = 0, wrong = 0;
};

// One cache among those that take turns.
struct Contender {
  std::string name;
  std::function<Slice(unsigned repeat, bool paced)> run;
  std::function<double()> bytes_per_entry;
  std::function<std::uint64_t()> refused;
  std::vector<Slice> slices, paced;

  const std::vector<Slice>& of(bool is_paced) const { return is_paced ? paced : slices; }
};

template <class Cache>
class Full {
 public:
  Full(const BoundsPlan& plan, bool huge_pages, const Zipf& zipf)
      : plan_(plan), zipf_(zipf), keys_(maker()), cache_(plan.memory_bytes, huge_pages) {
    Slice ignored;
    for (std::uint64_t i = 0; i != plan.keys; ++i) write(i, ttl_of(i), ignored, 0);
  }

  Slice run(unsigned repeat, bool paced) {
    Slice parts[2];
    std::vector<std::thread> threads;
    for (unsigned t = 0; t != 2; ++t) {
      threads.emplace_back([&, t] {
        pin(t);
        work(repeat * 2 + t, parts[t], paced ? kPaceNs : 0);
      });
    }
    for (std::thread& t : threads) t.join();
    parts[0].get.add(parts[1].get);
    parts[0].set.add(parts[1].set);
    parts[0].gets += parts[1].gets;
    parts[0].sets += parts[1].sets;
    parts[0].cpu_seconds += parts[1].cpu_seconds;
    parts[0].hits += parts[1].hits;
    parts[0].wrong += parts[1].wrong;
    return parts[0];
  }
  double bytes_per_entry() const {
    return static_cast<double>(plan_.memory_bytes) / static_cast<double>(std::max<std::size_t>(cache_.size(), 1));
  }
  std::uint64_t refused() const {
    if constexpr (requires { cache_.refused(); }) return cache_.refused();
    return 0;
  }

 private:
  // Half of the entries live for 50 ms to 5 s.
  static std::uint64_t ttl_of(std::uint64_t random) noexcept { return random % 2 != 0 ? 50 + mix(random) % 4'950 : 0; }

  static constexpr double kPaceNs = 5'000;

  // A call that is due at a set time is timed from then on, whether the one before it was over by then or not: what waits
  // behind a slow call counts as slow too (no coordinated omission).
  static std::uint64_t begin_call(std::uint64_t due) noexcept {
    if (due == 0) return ticks();
    while (ticks() < due) {
    }
    return due;
  }

  void write(std::uint64_t index, std::uint64_t ttl_ms, Slice& out, std::uint64_t due) {
    Sample s(keys_);
    s.make(index);
    const std::uint64_t now = now_ms();
    const std::uint64_t from = begin_call(due);
    if constexpr (requires { cache_.set(s.key(), s.value().data(), ttl_ms, now); }) {
      cache_.set(s.key(), s.value().data(), ttl_ms, now);
    } else {
      cache_.set(s.key(), s.value().data(), ttl_ms);
    }
    out.set.record(nanoseconds(ticks() - from));
  }

  // Calls as fast as they go, or one each `pace_ns`.
  void work(std::uint64_t seed, Slice& out, double pace_ns) {
    Random random(seed);
    Sample s(keys_);
    char value[kValueBytes];
    const double begin = wall_seconds(), cpu = thread_cpu_seconds();
    std::uint64_t now = now_ms();
    const std::uint64_t first = ticks();
    for (std::uint64_t n = 1;; ++n) {
      const std::uint64_t due =
          pace_ns == 0 ? 0 : first + static_cast<std::uint64_t>(static_cast<double>(n) * pace_ns / nanoseconds_per_tick());
      if (n % 256 == 0) {
        const double at = wall_seconds();
        now = static_cast<std::uint64_t>(at * 1000);
        if (at - begin >= plan_.seconds) break;
      }
      const std::uint64_t index = scramble(zipf_.rank(random.unit()), plan_.keys);
      if (random.below(100) < 5) {
        write(index, ttl_of(random.next()), out, due);
        ++out.sets;
        continue;
      }
      s.make(index);
      const std::uint64_t from = begin_call(due);
      const bool hit = cache_.get(s.key(), now, value);
      out.get.record(nanoseconds(ticks() - from));
      ++out.gets;
      out.hits += hit;
      out.wrong += hit && !s.is_value(value);
    }
    out.cpu_seconds = thread_cpu_seconds() - cpu;
    out.seconds = wall_seconds() - begin;
  }

  static std::uint64_t nanoseconds(std::uint64_t spent) noexcept {
    const std::uint64_t own = ticks_overhead();
    return static_cast<std::uint64_t>(static_cast<double>(spent > own ? spent - own : 0) * nanoseconds_per_tick());
  }

  const BoundsPlan& plan_;
  const Zipf& zipf_;
  KeyMaker keys_;
  Cache cache_;
};

template <class Cache>
Contender contender(const BoundsPlan& plan, bool huge_pages, const Zipf& zipf) {
  auto full = std::make_shared<Full<Cache>>(plan, huge_pages, zipf);
  Contender c;
  c.name = Cache::kName;
  c.run = [full](unsigned repeat, bool paced) { return full->run(repeat, paced); };
  c.bytes_per_entry = [full] { return full->bytes_per_entry(); };
  c.refused = [full] { return full->refused(); };
  return c;
}

std::string workload_of(bool paced, bool sets) {
  return std::string(paced ? "full-95-5-paced" : "full-95-5") + (sets ? "-set" : "-get");
}

void add_row(Results& results, const BoundsPlan& plan, const Contender& c, bool paced, bool sets) {
  Row row;
  row.workload = workload_of(paced, sets);
  row.store = c.name;
  row.keys = plan.keys;
  row.value_bytes = kValueBytes;
  row.threads = 2;
  row.bytes_per_entry = c.bytes_per_entry();
  for (const Slice& s : c.of(paced)) {
    // Of the mixture: the calls of one kind have no time of their own.
    row.mops.push_back((s.gets + s.sets) / s.cpu_seconds * 2 / 1e6);
    row.wall_mops.push_back((s.gets + s.sets) / s.seconds / 1e6);
    row.latency.add(sets ? s.set : s.get);
    row.sum += s.hits;
    row.reads += static_cast<std::uint64_t>(s.gets);
  }
  results.rows.push_back(std::move(row));
}

// Repeat by repeat, Tern's percentile divided by the least of the others'.
void add_latency_target(Results& results, const std::vector<Contender>& all, const char* id, bool paced, bool sets, double share,
                        double limit) {
  std::vector<double> ratios;
  std::string best_name;
  for (std::size_t r = 0; r != all.front().of(paced).size(); ++r) {
    const auto percentile = [&](const Contender& c) {
      return static_cast<double>((sets ? c.of(paced)[r].set : c.of(paced)[r].get).percentile(share));
    };
    double best = 0;
    for (std::size_t i = 1; i != all.size(); ++i) {
      if (best == 0 || percentile(all[i]) < best) {
        best = percentile(all[i]);
        best_name = all[i].name;
      }
    }
    if (best > 0) ratios.push_back(percentile(all.front()) / best);
  }
  const std::string against = "the best of the caches built by hand, " + best_name;
  results.add_target(id, spread(std::move(ratios)), "ratio", against, limit, true);
}

void measure_full(const BoundsPlan& plan, Results& results) {
  const Zipf zipf(plan.keys, kZipfTheta);
  std::vector<Contender> all;
  all.push_back(contender<TernCache>(plan, results.huge_pages, zipf));
  all.push_back(contender<Hand<MutexLru>>(plan, results.huge_pages, zipf));
  all.push_back(contender<Hand<ShardedLru<64>>>(plan, results.huge_pages, zipf));
#if TERN_BENCH_CUCKOO
  all.push_back(contender<Hand<CuckooClock>>(plan, results.huge_pages, zipf));
#else
  results.errors.push_back("--suite bounds needs libcuckoo: apt-get install libcuckoo-dev");
#endif
  for (unsigned r = 0; r != plan.repeats; ++r) {
    for (std::size_t i = 0; i != all.size(); ++i) {
      Contender& c = all[(r + i) % all.size()];
      c.slices.push_back(c.run(r, false));
      c.paced.push_back(c.run(r, true));
      if (c.slices.back().wrong + c.paced.back().wrong != 0) results.errors.push_back(c.name + " gave values that were never set");
    }
  }
  for (const bool paced : {false, true}) {
    for (const bool sets : {false, true}) {
      for (const Contender& c : all) add_row(results, plan, c, paced, sets);
      print_group(results, workload_of(paced, sets), plan.keys);
    }
  }
  for (const Contender& c : all) {
    double hits = 0, gets = 0;
    for (const Slice& s : c.slices) {
      hits += static_cast<double>(s.hits);
      gets += s.gets;
    }
    std::printf("  %-16s hit ratio %.1f %%, %llu writes refused\n", c.name.c_str(), 100 * hits / std::max(gets, 1.0),
                static_cast<unsigned long long>(c.refused()));
  }
  add_latency_target(results, all, "get-p999-full", false, false, 0.999, 0.5);
  add_latency_target(results, all, "set-p999-full", false, true, 0.999, 0.5);
  add_latency_target(results, all, "get-p9999-full", false, false, 0.9999, 0);
  add_latency_target(results, all, "set-p9999-full", false, true, 0.9999, 0);
  add_latency_target(results, all, "get-p999-paced", true, false, 0.999, 0);
  add_latency_target(results, all, "set-p999-paced", true, true, 0.999, 0);
  add_latency_target(results, all, "get-p9999-paced", true, false, 0.9999, 0);
  add_latency_target(results, all, "set-p9999-paced", true, true, 0.9999, 0);
}

}  // namespace

void run_bounds(const BoundsPlan& plan, Results& results) {
  measure_expiry(plan, results);
  measure_ticks(plan, results);
  measure_full(plan, results);
}

}  // namespace tern::bench
