#include "bench/snapshot.h"

#include <fcntl.h>
#include <tern/store.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "bench/peers/redis_dump.h"
#include "bench/peers/rocks_checkpoint.h"
#include "bench/workload.h"

namespace tern::bench {
namespace {

using Steady = std::chrono::steady_clock;

double seconds_since(Steady::time_point from) { return std::chrono::duration<double>(Steady::now() - from).count(); }

class SnapshotSuite {
 public:
  SnapshotSuite(const BenchOptions& options, Results& results)
      : options_(options),
        results_(results),
        count_(options.entries.empty() ? 1'000'000 : options.entries.front()),
        path_((std::filesystem::path(options.folder.empty() ? "." : options.folder) /
               ("tern-bench-snapshot-" + std::to_string(::getpid())))
                  .string()) {}
  ~SnapshotSuite() {
    for (const char* end : {"", ".1", ".tmp", ".lock", ".dd"}) {
      std::error_code ignored;
      std::filesystem::remove(path_ + end, ignored);
    }
    std::error_code ignored;
    std::filesystem::remove_all(path_ + ".peers", ignored);
  }

  void run() {
    Options o;
    // Every key may be there twice: a save that the view's limit ends would measure nothing.
    o.memory_bytes = std::max<std::size_t>(count_ * 400, std::size_t{64} << 20);
    o.view_bytes_max = o.memory_bytes;
    o.entries_expected = count_;
    o.eviction = false;
    o.huge_pages = options_.huge_pages;
    Result<Store> store = Store::open(o);
    if (!store) return results_.errors.push_back("snapshot: the store can't be opened");
    store_ = std::move(*store);
    for (std::uint64_t i = 0; i != count_; ++i) require(store_.set(key(i, text_), kValue).ok(), "snapshot: a set of the fill was refused");
    saves();
    store_ = Store();
    opens(o);
  }

 private:
  static constexpr std::string_view kValue = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
  using Text = char[32];

  static std::string_view key(std::uint64_t i, Text& text) {
    const int n = std::snprintf(text, sizeof text, "account:%012llu", static_cast<unsigned long long>(i));
    return {text, static_cast<std::size_t>(n)};
  }
  void require(bool ok, const std::string& what) {
    if (!ok && (results_.errors.empty() || results_.errors.back() != what)) results_.errors.push_back(what);
  }
  bool dd(std::uint64_t bytes) {
    const std::string command = "dd if=/dev/zero of=" + path_ + ".dd bs=1M count=" + std::to_string(bytes >> 20) +
                                " conv=fsync status=none && rm " + path_ + ".dd";
    return std::system(command.c_str()) == 0;
  }

  // A thread that overwrites keys without a rest. Rates are calls a second of its own processor time: on a machine with fewer
  // processors than threads the wall's second is the scheduler's to share out.
  struct Writer {
    std::atomic<bool> stops{false};
    std::atomic<std::uint64_t> calls{0};
    bool ok = true;
    double cpu_seconds = 0;
  };
  void write(Writer& w, std::uint64_t seed) {
    Random random(seed);
    Text text;
    const double from = thread_cpu_seconds();
    while (!w.stops.load(std::memory_order_relaxed)) {
      for (unsigned i = 0; i != 1'000; ++i) w.ok = store_.set(key(random.below(count_), text), kValue).ok() && w.ok;
      w.calls.fetch_add(1'000, std::memory_order_relaxed);
    }
    w.cpu_seconds = thread_cpu_seconds() - from;
  }
  template <class Work>
  double writers_rate_during(Work work) {
    Writer w;
    std::thread thread([&] { write(w, ++seed_); });
    while (w.calls.load(std::memory_order_relaxed) < count_ / 50) std::this_thread::yield();
    work();
    w.stops.store(true, std::memory_order_relaxed);
    thread.join();
    require(w.ok, "snapshot: a set was refused");
    return static_cast<double>(w.calls.load(std::memory_order_relaxed)) / w.cpu_seconds;
  }
  void settle() {
    while (store_.stats().kept_versions != 0) require(store_.tick(std::chrono::milliseconds(1)).ok(), "snapshot: tick");
  }

  void saves() {
    std::vector<double> against_dd, alone_against_dd, writers, rate, kept;
    for (unsigned r = 0; r != options_.repeats; ++r) {
      double seconds[2] = {0, 0};
      std::uint64_t bytes = 0;
      const auto save = [&](double& took) {
        SnapshotFault fault;
        SaveOptions how;
        how.fault = &fault;
        how.keep = 1;
        const Steady::time_point from = Steady::now();
        const Result<SaveReport> saved = store_.save(path_, how);
        took = seconds_since(from);
        require(saved.ok(), std::string("snapshot: a save failed: ") + fault.reason);
        if (saved) bytes = saved->bytes;
      };
      settle();
      save(seconds[0]);
      settle();
      const double before = writers_rate_during([&] { std::this_thread::sleep_for(std::chrono::duration<double>(seconds[0])); });
      settle();
      const double during = writers_rate_during([&] { save(seconds[1]); });
      kept.push_back(static_cast<double>(store_.stats().kept_bytes) / 1e6);
      settle();
      const double after = writers_rate_during([&] { std::this_thread::sleep_for(std::chrono::duration<double>(seconds[0])); });
      // Each beside a dd with a writer or without one, as it had.
      double dd_seconds[2] = {0, 0};
      const auto run_dd = [&](double& took) {
        const Steady::time_point from = Steady::now();
        require(dd(bytes), "snapshot: dd failed");
        took = seconds_since(from);
      };
      run_dd(dd_seconds[0]);
      settle();
      writers_rate_during([&] { run_dd(dd_seconds[1]); });
      alone_against_dd.push_back(dd_seconds[0] / seconds[0]);
      against_dd.push_back(dd_seconds[1] / seconds[1]);
      rate.push_back(static_cast<double>(bytes) / seconds[1] / 1e6);
      writers.push_back(during / ((before + after) / 2));
    }
    results_.add_target("save-vs-dd", spread(against_dd), "ratio", "dd with fsync of as many zeros, a writer beside each", 0.8, false);
    results_.add_target("save-alone-vs-dd", spread(alone_against_dd), "ratio", "the same without a writer", 0, false);
    results_.add_target("save-rate", spread(rate), "MB/s", "with a writer", 0, false);
    results_.add_target("save-writers", spread(writers), "ratio", "a writer's rate of its processor time without a save", 0.8, false);
    results_.add_target("save-kept", spread(kept), "MB", "kept for the view at the end of a save", 0, true);
  }

  // The file goes from the page cache, as far as the system does what it is asked.
  void forget() {
    const int file = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
    require(file >= 0 && ::posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED) == 0, "snapshot: the page cache keeps the file");
    if (file >= 0) ::close(file);
  }

  void opens(Options o) {
    o.view_bytes_max = 0;
    o.memory_bytes = std::max<std::size_t>(count_ * 200, std::size_t{64} << 20);
    // Serving at once; copied first, on all processors and on one.
    struct Kind {
      const char* id;
      const char* against;
      double limit;
      bool copy;
      unsigned threads;
      bool cold;
      std::vector<double> ms{};
    };
    Kind kinds[] = {{"open-first-get", "to a get of a random key; the file in the page cache", 20, false, 0, false},
                    {"open-copy-first-get", "the same, everything verified and copied first", 0, true, 0, false},
                    {"open-copy-one-thread", "the same on one thread", 0, true, 1, false},
                    {"open-cold-first-get", "serving at once, the file not in the page cache", 0, false, 0, true}};
    const auto peer_key = [this](std::uint64_t i) { return std::string(key(i, text_)); };
    std::filesystem::create_directories(path_ + ".peers/redis");
    RedisDump redis(path_ + ".peers/redis", count_, peer_key, kValue);
    require(redis.error().empty(), "snapshot: " + redis.error());
    RocksCheckpoint rocks(path_ + ".peers", count_, peer_key, kValue);
    require(rocks.error().empty(), "snapshot: " + rocks.error());
    std::vector<double> redis_ms, rocks_ms, to_redis, to_rocks;
    std::vector<double> all;
    Random random(7);
    for (unsigned r = 0; r != options_.repeats; ++r) {
      for (Kind& kind : kinds) {
        SnapshotFault fault;
        SnapshotOptions how;
        how.own = false;
        how.copy = kind.copy;
        how.threads = kind.threads;
        how.fault = &fault;
        if (kind.cold) forget();
        const Steady::time_point from = Steady::now();
        const Result<Store> store = Store::open(path_, o, how);
        require(store.ok(), std::string("snapshot: the file can't be opened: ") + fault.reason);
        if (!store) return;
        require(store->get(key(random.below(count_), text_)).found(), "snapshot: an entry is missing");
        kind.ms.push_back(seconds_since(from) * 1e3);
        if (!kind.copy && !kind.cold) {
          const Result<View> view = store->view();  // has them all
          all.push_back(seconds_since(from) * 1e3);
          require(view.ok(), "snapshot: a view was refused");
        }
        if (!kind.cold) require(store->stats().entries == count_, "snapshot: entries are missing");
      }
      const auto beside = [&](double seconds, const std::string& error, std::vector<double>& ms, std::vector<double>& ratio) {
        require(error.empty(), "snapshot: " + error);
        if (!error.empty()) return;
        ms.push_back(seconds * 1e3);
        ratio.push_back(seconds * 1e3 / kinds[0].ms.back());
      };
      double seconds = redis.restart(peer_key(random.below(count_)), kValue);
      beside(seconds, redis.error(), redis_ms, to_redis);
      seconds = rocks.open(peer_key(random.below(count_)), kValue);
      beside(seconds, rocks.error(), rocks_ms, to_rocks);
    }
    char text[96];
    if (!to_redis.empty()) {
      std::snprintf(text, sizeof text, "redis-server started with its dump, to a GET (%.0f ms)", spread(redis_ms).median);
      results_.add_target("open-vs-redis", spread(to_redis), "ratio", text, 500, false);
    }
    if (!to_rocks.empty()) {
      std::snprintf(text, sizeof text, "RocksDB opening a checkpoint, to a Get (%.1f ms)", spread(rocks_ms).median);
      results_.add_target("open-vs-rocksdb", spread(to_rocks), "ratio", text, 1, false);
    }
    for (const Kind& kind : kinds) results_.add_target(kind.id, spread(kind.ms), "ms", kind.against, kind.limit, true);
    results_.add_target("open-all", spread(all), "ms", "serving at once, to the first call that needs all entries", 0, true);
    std::vector<double> ns;
    for (const double ms : kinds[2].ms) ns.push_back(ms * 1e6 / static_cast<double>(count_));
    results_.add_target("open-entry", spread(ns), "ns", "an entry, copied on one thread", 0, true);
  }

  const BenchOptions& options_;
  Results& results_;
  std::uint64_t count_;
  std::string path_;
  std::uint64_t seed_ = 0;
  Store store_;
  Text text_;
};

}  // namespace

void run_snapshot(const BenchOptions& options, Results& results) { SnapshotSuite(options, results).run(); }

}  // namespace tern::bench
