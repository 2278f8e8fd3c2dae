#include "bench/bus.h"

#include <tern/store.h>
#include <tern/watch.h>
#include <tern/watch_set.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "bench/histogram.h"
#include "bench/peers/callback_queue.h"
#include "bench/peers/redis_server.h"
#include "bench/workload.h"

namespace tern::bench {
namespace {

constexpr unsigned kManyWatches = 10'000;
constexpr std::size_t kAtOnce = 64;  // changes a poll
constexpr std::uint64_t kHotKeys = 10'000;  // of the rates of events: the bus is measured, not the memory behind the keys

class BusSuite {
 public:
  BusSuite(const BenchOptions& options, Results& results)
      : options_(options),
        results_(results),
        count_(options.entries.empty() ? 1'000'000 : options.entries.front()),
        hot_(std::min(count_, kHotKeys)),
        texts_(count_ * kKeyBytes) {
    for (std::uint64_t i = 0; i != count_; ++i) {
      char text[32];
      std::snprintf(text, sizeof text, "account:%012llu", static_cast<unsigned long long>(i));
      std::memcpy(&texts_[i * kKeyBytes], text, kKeyBytes);
    }
  }

  void run() {
    pin(0);
    if (!fill(count_)) return;
    writers();
    delivery();
    // As many keys as the peers have.
    if (fill(hot_)) events();
  }

 private:
  static constexpr std::string_view kValue = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
  static constexpr std::size_t kKeyBytes = 20;

  bool fill(std::uint64_t keys) {
    Options o;
    o.memory_bytes = std::max<std::size_t>(count_ * 320, std::size_t{256} << 20);
    o.entries_expected = keys;
    o.eviction = false;
    o.maintenance = Maintenance::kTick;  // what is measured is these threads'
    o.huge_pages = options_.huge_pages;
    store_ = Store();
    Result<Store> store = Store::open(o);
    require(store.ok(), "bus: the store can't be opened");
    if (!store) return false;
    store_ = std::move(*store);
    for (std::uint64_t i = 0; i != keys; ++i) require(store_.set(key(i), kValue).ok(), "bus: a set of the fill was refused");
    return true;
  }
  std::string_view key(std::uint64_t i) const { return {&texts_[i * kKeyBytes], kKeyBytes}; }
  void require(bool ok, const std::string& what) {
    if (!ok && std::find(results_.errors.begin(), results_.errors.end(), what) == results_.errors.end()) results_.errors.push_back(what);
  }
  Watch watch(std::string_view prefix) {
    Result<Watch> w = store_.watch_prefix(prefix);
    require(w.ok(), "bus: a watch was refused");
    return w ? std::move(*w) : Watch();
  }

  // Polls without a rest, on another processor, until it goes.
  class Poller {
   public:
    template <class W>
    explicit Poller(W& watch) : thread_([this, &watch] { run(watch); }) {
      while (!ready_.load(std::memory_order_acquire)) std::this_thread::yield();
    }
    ~Poller() {
      stops_.store(true, std::memory_order_relaxed);
      thread_.join();
    }

   private:
    template <class W>
    void run(W& watch) {
      pin(1);
      Change changes[kAtOnce];
      ready_.store(true, std::memory_order_release);
      while (!stops_.load(std::memory_order_relaxed)) (void)watch.poll(changes);
    }
    std::atomic<bool> ready_{false}, stops_{false};
    std::thread thread_;
  };

  // Million sets a second of this thread's CPU time.
  double sets(std::uint64_t calls) {
    const double from = thread_cpu_seconds();
    bool ok = true;
    for (std::uint64_t i = 0; i != calls; ++i) ok = store_.set(key(random_.below(count_)), kValue).ok() && ok;
    require(ok, "bus: a set was refused");
    return static_cast<double>(calls) / (thread_cpu_seconds() - from) / 1e6;
  }

  void writers() {
    std::vector<double> polled, idle, many, many_apart;
    const std::uint64_t calls = std::max<std::uint64_t>(count_ / 2, 1000);
    sets(calls);
    for (unsigned r = 0; r != options_.repeats; ++r) {
      const double before = sets(calls);
      Watch one = watch("account:");
      const double with_idle = sets(calls);
      double with_one, with_many, apart;
      {
        const Poller poller(one);
        with_one = sets(calls);
      }
      one.close();
      const double after = sets(calls);
      {
        WatchSet set = prefixes();
        const Poller poller(set);
        with_many = sets(calls);
      }
      {
        std::vector<Watch> watches;
        for (unsigned i = 0; i != kManyWatches; ++i) watches.push_back(watch(prefix(i)));
        const Poller poller(watches.front());
        apart = sets(calls);
      }
      many_apart.push_back(apart / with_one);
      polled.push_back(with_one / ((before + after) / 2));
      idle.push_back(with_idle / ((before + after) / 2));
      many.push_back(with_many / with_one);
    }
    results_.add_target("set-one-subscriber", spread(polled), "ratio", "sets without one; it polls on the other processor", 0.8, false);
    results_.add_target("set-idle-subscriber", spread(idle), "ratio", "sets without one; it never polls", 0, false);
    results_.add_target("set-10000-watches", spread(many), "ratio", "sets with one watch; a set of 10,000 prefixes, polled", 0.5, false);
    results_.add_target("set-10000-watches-apart", spread(many_apart), "ratio", "the same, a watch for each prefix, one of them polled", 0, false);
    filters();
  }

  // Of one key in a hundred, if there are a million.
  std::string prefix(unsigned i) const {
    const std::uint64_t at = std::uint64_t{i} * std::max<std::uint64_t>(count_ / kManyWatches, 1) % count_;
    return std::string(key(at));
  }
  WatchSet prefixes() {
    Result<WatchSet> set = WatchSet::open(store_);
    require(set.ok(), "bus: a watch set was refused");
    if (!set) return WatchSet();
    for (unsigned i = 0; i != kManyWatches; ++i) require(set->add_prefix(prefix(i)).ok(), "bus: a filter was refused");
    return std::move(*set);
  }

  // Changes that a poll looks at, by its CPU time: with a filter, and with many.
  void filters() {
    std::vector<double> ratios, ns;
    for (unsigned r = 0; r != options_.repeats; ++r) {
      Watch one = watch(prefix(0));
      const double alone = looked_at(one);
      one.close();
      WatchSet set = prefixes();
      const double many = looked_at(set);
      ratios.push_back(many / alone);
      ns.push_back(1e3 / many);
    }
    results_.add_target("poll-10000-filters", spread(ratios), "ratio", "changes looked at with one prefix", 0, false);
    results_.add_target("poll-10000-filters-each", spread(ns), "ns", "a change that is looked at", 0, true);
  }
  template <class W>
  double looked_at(W& w) {
    constexpr std::uint64_t kEvents = 200'000, kBurst = 10'000;
    Change changes[kAtOnce];
    double seconds = 0;
    for (std::uint64_t n = 0; n != kEvents; n += kBurst) {
      for (std::uint64_t i = 0; i != kBurst; ++i) (void)store_.set(key(random_.below(count_)), kValue);
      const double from = thread_cpu_seconds();
      for (Result<std::size_t> some = w.poll(changes); some && *some != 0;) some = w.poll(changes);
      seconds += thread_cpu_seconds() - from;
    }
    return static_cast<double>(kEvents) / seconds / 1e6;
  }

  // One writer without a rest, and one subscriber that polls until there is nothing and comes back after 20 us, each on its
  // processor: changes that arrived, by the CPU time of the one of them that took more. (A thread that sleeps on a mutex costs no
  // CPU time: by the wall beside it.)
  struct Rate {
    double cpu = 0, wall = 0;
  };
  template <class Set, class Poll>
  Rate rate(Set set, Poll poll) {
    return rate_of([&] {
      for (unsigned i = 0; i != 1'000; ++i) set(key(random_.below(hot_)));
    }, poll);
  }
  template <class Write, class Poll>
  Rate rate_of(Write write, Poll poll) {
    std::barrier<> start(2);
    std::atomic<bool> stops{false};
    std::uint64_t told = 0;
    double subscriber_cpu = 0;
    std::thread subscriber([&] {
      pin(1);
      start.arrive_and_wait();
      const double cpu = thread_cpu_seconds();
      while (!stops.load(std::memory_order_relaxed)) {
        const std::size_t n = poll();
        told += n;
        if (n == 0) std::this_thread::sleep_for(std::chrono::microseconds(20));
      }
      subscriber_cpu = thread_cpu_seconds() - cpu;
      for (std::size_t n; (n = poll()) != 0;) told += n;
    });
    start.arrive_and_wait();
    const double cpu = thread_cpu_seconds(), wall = wall_seconds();
    while (wall_seconds() - wall < options_.seconds) write();
    stops.store(true, std::memory_order_relaxed);
    const double wall_taken = wall_seconds() - wall, cpu_taken = thread_cpu_seconds() - cpu;
    subscriber.join();
    const double n = static_cast<double>(told) / 1e6;
    return {n / std::max(cpu_taken, subscriber_cpu), n / wall_taken};
  }

  // The same writer with nobody listening, and in groups: what bounds the rate of events.
  double sets_of_hot_keys() {
    constexpr unsigned kCalls = 200'000;
    const double from = thread_cpu_seconds();
    for (unsigned i = 0; i != kCalls; ++i) (void)store_.set(key(random_.below(hot_)), kValue);
    return kCalls / (thread_cpu_seconds() - from) / 1e6;
  }
  void set_a_group() {
    Item items[kAtOnce];
    Result<std::uint64_t> answers[kAtOnce];
    for (Item& i : items) i = {key(random_.below(hot_)), kValue};
    require(store_.set_many(items, answers).ok(), "bus: a group of sets was refused");
  }

  void events() {
    std::vector<double> unwatched, in_groups, tern, tern_wall, alone, to_queue, to_queue_wall, to_queue_at_once, queue_rate, to_redis, to_redis_pipelined, redis_rate, lost;
    RedisServer redis;
    require(redis.error().empty(), "bus: " + redis.error());
    std::uint64_t sum = 0;
    CallbackQueue queue(hot_, std::size_t{1} << 16, [&](std::string_view k, std::string_view v) { sum += k.size() + v.size(); });
    for (unsigned r = 0; r != options_.repeats; ++r) {
      unwatched.push_back(sets_of_hot_keys());
      Watch all = watch("");
      Change changes[kAtOnce];
      const Rate own = rate([&](std::string_view k) { (void)store_.set(k, kValue); },
                            [&] { return told(all, changes, sum); });
      lost.push_back(static_cast<double>(all.lost()));
      tern.push_back(own.cpu);
      tern_wall.push_back(own.wall);
      in_groups.push_back(rate_of([&] { set_a_group(); }, [&] { return told(all, changes, sum); }).cpu);
      all = watch("");
      alone.push_back(drained(all, sum));
      all.close();
      const auto set_queue = [&](std::string_view k) { queue.set(k, kValue); };
      const Rate one = rate(set_queue, [&] { return queue.poll(1); });
      const Rate many = rate(set_queue, [&] { return queue.poll(kAtOnce); });
      to_queue.push_back(own.cpu / one.cpu);
      to_queue_wall.push_back(own.wall / one.wall);
      to_queue_at_once.push_back(own.cpu / many.cpu);
      queue_rate.push_back(one.cpu);
      if (!redis.error().empty()) continue;
      constexpr std::uint64_t kSingle = 10'000, kPipelined = 100'000;
      const double single = redis.tell(kSingle, hot_, 1), pipelined = redis.tell(kPipelined, hot_, 100);
      require(redis.error().empty(), "bus: " + redis.error());
      if (!redis.error().empty()) continue;
      redis_rate.push_back(kSingle / single / 1e6);
      to_redis.push_back(own.wall / redis_rate.back());
      to_redis_pipelined.push_back(own.wall / (kPipelined / pipelined / 1e6));
    }
    require(sum != 0, "bus: nothing was told");
    char text[160];
    results_.add_target("events-rate", spread(tern), "M/s", "one writer, one polling subscriber; 10,000 keys and no others, as the peers have", 10, false);
    results_.add_target("events-rate-unwatched", spread(unwatched), "M/s", "the same writer's sets with nobody listening: a bus that costs nothing", 0, false);
    results_.add_target("events-rate-in-groups", spread(in_groups), "M/s", "the same, its sets in groups of 64", 0, false);
    results_.add_target("events-rate-by-wall", spread(tern_wall), "M/s", "the same", 0, false);
    results_.add_target("events-polled", spread(alone), "M/s", "by the subscriber's CPU time, of rings that were filled before", 0, false);
    results_.add_target("events-lost", spread(lost), "", "in gaps, of a repeat of events-rate", 0, true);
    std::snprintf(text, sizeof text, "a map and a queue of callbacks, one mutex, one event a lock (%.2f M/s)", spread(queue_rate).median);
    results_.add_target("events-vs-queue", spread(to_queue), "ratio", text, 4, false);
    results_.add_target("events-vs-queue-by-wall", spread(to_queue_wall), "ratio", "as above", 0, false);
    results_.add_target("events-vs-queue-64", spread(to_queue_at_once), "ratio", "the same, 64 events a lock", 0, false);
    if (to_redis.empty()) return;
    std::snprintf(text, sizeof text, "Redis over loopback, a SET a round trip (%.3f M/s), by the wall", spread(redis_rate).median);
    results_.add_target("events-vs-redis", spread(to_redis), "ratio", text, 100, false);
    results_.add_target("events-vs-redis-pipelined", spread(to_redis_pipelined), "ratio", "the same, 100 SETs on their way at once", 0, false);
  }
  static std::size_t told(Watch& w, std::span<Change> changes, std::uint64_t& sum) {
    const Result<std::size_t> n = w.poll(changes);
    if (!n) return 0;
    std::size_t puts = 0;
    for (const Change& c : changes.first(*n)) {
      if (c.kind != ChangeKind::kPut) continue;
      ++puts;
      sum += c.key.size() + c.value.size();
    }
    return puts;
  }
  double drained(Watch& w, std::uint64_t& sum) {
    constexpr unsigned kEvents = 100'000, kBurst = 10'000;
    Change changes[kAtOnce];
    std::uint64_t n = 0;
    double seconds = 0;
    while (n < kEvents) {
      for (unsigned i = 0; i != kBurst; ++i) (void)store_.set(key(random_.below(hot_)), kValue);
      const double from = thread_cpu_seconds();
      for (std::size_t got; (got = told(w, changes, sum)) != 0;) n += got;
      seconds += thread_cpu_seconds() - from;
    }
    return static_cast<double>(n) / seconds / 1e6;
  }

  // From before a set to when a subscriber that polls without a rest has its value. A set every few microseconds, so that none
  // waits behind another.
  void delivery() {
    constexpr unsigned kSamples = 20'000;
    constexpr std::uint64_t kPauseTicks = 10'000;
    const double tick = nanoseconds_per_tick();
    std::vector<double> p50, p99, bare50, bare99;
    auto histogram = std::make_unique<Histogram>();
    for (unsigned r = 0; r != options_.repeats; ++r) {
      *histogram = Histogram();
      Watch w = watch("latency:");
      std::atomic<bool> polls{false};
      std::thread subscriber([&] {
        pin(1);
        Change changes[kAtOnce];
        for (unsigned n = 0; n < kSamples;) {
          const Result<std::size_t> some = w.poll(changes);
          const std::uint64_t now = ticks();
          polls.store(true, std::memory_order_relaxed);
          if (!some) break;
          for (const Change& c : std::span(changes).first(*some)) {
            std::uint64_t then = 0;
            if (c.kind == ChangeKind::kGap) n += static_cast<unsigned>(c.lost);
            if (c.kind != ChangeKind::kPut) continue;
            std::memcpy(&then, c.value.data(), std::min(sizeof then, c.value.size()));
            histogram->record(static_cast<std::uint64_t>(static_cast<double>(now > then ? now - then : 0) * tick));
            ++n;
          }
        }
      });
      while (!polls.load(std::memory_order_relaxed)) std::this_thread::yield();  // its start isn't a delivery
      for (unsigned i = 0; i != kSamples; ++i) {
        char text[32];
        const int size = std::snprintf(text, sizeof text, "latency:%04u", i % 1000);
        const std::uint64_t now = ticks();
        require(store_.set({text, static_cast<std::size_t>(size)}, {reinterpret_cast<const char*>(&now), sizeof now}).ok(), "bus: a set was refused");
        while (ticks() - now < kPauseTicks) {
        }
      }
      subscriber.join();
      p50.push_back(static_cast<double>(histogram->percentile(0.5)) / 1e3);
      p99.push_back(static_cast<double>(histogram->percentile(0.99)) / 1e3);
      *histogram = Histogram();
      hand_over(*histogram, kSamples, kPauseTicks);
      bare50.push_back(static_cast<double>(histogram->percentile(0.5)) / 1e3);
      bare99.push_back(static_cast<double>(histogram->percentile(0.99)) / 1e3);
    }
    results_.add_target("delivery-bare-p50", spread(bare50), "us", "a number through one atomic word, the same threads: the machine's own", 0, true);
    results_.add_target("delivery-bare-p99", spread(bare99), "us", "the same: what is past it is the system's scheduling", 0, true);
    results_.add_target("delivery-p50", spread(p50), "us", "set to delivery, polling", 1, true);
    results_.add_target("delivery-p99", spread(p99), "us", "set to delivery, polling", 20, true);
  }

  // The least that a delivery can take here: the time of sending, through one word, to a thread that looks at it without a rest.
  static void hand_over(Histogram& histogram, unsigned samples, std::uint64_t pause_ticks) {
    const double tick = nanoseconds_per_tick();
    alignas(128) std::atomic<std::uint64_t> word{0};
    std::atomic<bool> stops{false};
    std::thread receiver([&] {
      pin(1);
      for (std::uint64_t last = 0; !stops.load(std::memory_order_relaxed);) {
        const std::uint64_t then = word.load(std::memory_order_acquire);
        if (then == last) continue;
        const std::uint64_t now = ticks();
        histogram.record(static_cast<std::uint64_t>(static_cast<double>(now > then ? now - then : 0) * tick));
        last = then;
      }
    });
    for (unsigned i = 0; i != samples; ++i) {
      const std::uint64_t now = ticks();
      word.store(now, std::memory_order_release);
      while (ticks() - now < pause_ticks) {
      }
    }
    stops.store(true, std::memory_order_relaxed);
    receiver.join();
  }

  const BenchOptions& options_;
  Results& results_;
  std::uint64_t count_, hot_;
  std::vector<char> texts_;
  Random random_{1};
  Store store_;
};

}  // namespace

void run_bus(const BenchOptions& options, Results& results) { BusSuite(options, results).run(); }

}  // namespace tern::bench
