#include "bench/batches.h"

#include <tern/store.h>

#include <algorithm>
#include <barrier>
#include <cstdio>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "bench/peers/hash.h"
#include "bench/workload.h"

#if TERN_BENCH_ROCKSDB
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/write_batch.h>
#endif

namespace tern::bench {
namespace {

constexpr unsigned kThreads = 2;
constexpr std::size_t kKeyBytes = 20;
constexpr std::size_t kValueBytes = 64;

// The keys, end to end.
class KeyBytes {
 public:
  explicit KeyBytes(std::uint64_t count) : bytes_(count * kKeyBytes) {
    for (std::uint64_t i = 0; i != count; ++i) {
      char key[32];  // kKeyBytes of them for less than 10^12 keys
      std::snprintf(key, sizeof key, "account:%012llu", static_cast<unsigned long long>(i));
      std::memcpy(&bytes_[i * kKeyBytes], key, kKeyBytes);
    }
  }
  std::uint64_t size() const { return bytes_.size() / kKeyBytes; }
  std::string_view operator[](std::uint64_t i) const { return {&bytes_[i * kKeyBytes], kKeyBytes}; }

 private:
  std::vector<char> bytes_;
};

// A store's adapter has a Writer for each thread: write() sets all of `keys` to `value` together, false: it was refused.
class TernBatches {
 public:
  static constexpr const char* kName = "tern";
  TernBatches(const BenchOptions& options, const KeyBytes& keys) {
    Options o;
    o.memory_bytes = std::max<std::size_t>(keys.size() * 320, std::size_t{64} << 20);
    o.entries_expected = keys.size();
    o.eviction = false;
    o.huge_pages = options.huge_pages;
    if (Result<Store> store = Store::open(o)) store_ = std::move(*store);
  }
  class Writer {
   public:
    explicit Writer(TernBatches& a) : a_(a) {}
    bool write(const std::vector<std::string_view>& keys, std::string_view value) {
      batch_.clear();
      for (const std::string_view key : keys) batch_.set(key, value);
      return a_.store_.write(batch_).ok();
    }

   private:
    TernBatches& a_;
    WriteBatch batch_;
  };
  bool get(std::string_view key, std::string& value) {
    value.resize(kValueBytes);
    const auto size = store_.get(key, std::as_writable_bytes(std::span(value)));
    return size && *size == kValueBytes;
  }

 private:
  Store store_;
};

// The least that anybody has. Values are assigned in place: once a key is there, nothing is allocated inside the lock.
class MapBatches {
 public:
  static constexpr const char* kName = "unordered";
  MapBatches(const BenchOptions&, const KeyBytes& keys) { map_.reserve(keys.size()); }
  class Writer {
   public:
    explicit Writer(MapBatches& a) : a_(a) {}
    bool write(const std::vector<std::string_view>& keys, std::string_view value) {
      const std::lock_guard lock(a_.mutex_);
      for (const std::string_view key : keys) {
        if (const auto at = a_.map_.find(key); at != a_.map_.end()) {
          at->second.assign(value);
        } else {
          a_.map_.emplace(key, value);
        }
      }
      return true;
    }

   private:
    MapBatches& a_;
  };
  bool get(std::string_view key, std::string& value) {
    const std::lock_guard lock(mutex_);
    const auto at = map_.find(key);
    if (at == map_.end()) return false;
    value = at->second;
    return true;
  }

 private:
  std::unordered_map<std::string, std::string, StringHash, std::equal_to<>> map_;
  alignas(128) std::mutex mutex_;
};

#if TERN_BENCH_ROCKSDB
// In memory, without a log. Its memory tables are written out in the background, as they are where it is used.
class RocksBatches {
 public:
  static constexpr const char* kName = "rocksdb";
  RocksBatches(const BenchOptions&, const KeyBytes&) : environment_(rocksdb::NewMemEnv(rocksdb::Env::Default())) {
    rocksdb::Options o;
    o.env = environment_.get();
    o.create_if_missing = true;
    o.write_buffer_size = std::size_t{256} << 20;
    o.max_write_buffer_number = 4;
    o.compression = rocksdb::kNoCompression;
    rocksdb::DB* db = nullptr;
    if (rocksdb::DB::Open(o, "/batches", &db).ok()) db_.reset(db);
  }
  class Writer {
   public:
    explicit Writer(RocksBatches& a) : a_(a) { options_.disableWAL = true; }
    bool write(const std::vector<std::string_view>& keys, std::string_view value) {
      if (a_.db_ == nullptr) return false;
      batch_.Clear();
      for (const std::string_view key : keys) {
        if (!batch_.Put({key.data(), key.size()}, {value.data(), value.size()}).ok()) return false;
      }
      return a_.db_->Write(options_, &batch_).ok();
    }

   private:
    RocksBatches& a_;
    rocksdb::WriteOptions options_;
    rocksdb::WriteBatch batch_;
  };
  bool get(std::string_view key, std::string& value) {
    return db_ != nullptr && db_->Get(rocksdb::ReadOptions(), {key.data(), key.size()}, &value).ok();
  }

 private:
  std::unique_ptr<rocksdb::Env> environment_;
  std::unique_ptr<rocksdb::DB> db_;
};
#endif

class BatchesSuite {
 public:
  BatchesSuite(const BenchOptions& options, Results& results)
      : options_(options), results_(results), keys_(options.entries.empty() ? 1'000'000 : options.entries.front()) {}

  void run() {
    TernBatches tern(options_, keys_);
    MapBatches map(options_, keys_);
    fill(tern);
    fill(map);
#if TERN_BENCH_ROCKSDB
    RocksBatches rocks(options_, keys_);
    fill(rocks);
#else
    results_.notes.push_back("rocksdb is absent: apt-get install librocksdb-dev");
#endif
    for (const unsigned size : {1U, 10U, 100U, 1000U}) {
      Row row_tern = row(tern, size), row_map = row(map, size);
      std::vector<double> to_map, to_map_by_wall;
#if TERN_BENCH_ROCKSDB
      Row row_rocks = row(rocks, size);
      std::vector<double> to_rocks;
#endif
      for (unsigned r = 0; r != options_.repeats; ++r) {
        const double own = slice(tern, size, row_tern);
        to_map.push_back(own / slice(map, size, row_map));
        to_map_by_wall.push_back(row_tern.wall_mops.back() / row_map.wall_mops.back());
#if TERN_BENCH_ROCKSDB
        to_rocks.push_back(own / slice(rocks, size, row_rocks));
#endif
      }
      const std::string id = "batch" + std::to_string(size);
      results_.add_target(id + "-vs-map", spread(to_map), "ratio", figures("unordered_map and a mutex", row_tern, row_map),
                          size == 10 ? 2 : 0, false);
      results_.add_target(id + "-vs-map-by-wall", spread(to_map_by_wall), "ratio",
                          "as above, by time on the wall: a thread that sleeps on the mutex costs no CPU time", 0, false);
      results_.rows.push_back(std::move(row_tern));
      results_.rows.push_back(std::move(row_map));
#if TERN_BENCH_ROCKSDB
      results_.add_target(id + "-vs-rocksdb", spread(to_rocks), "ratio",
                          figures("RocksDB WriteBatch, memory, no log", results_.rows[results_.rows.size() - 2], row_rocks),
                          size == 10 ? 8 : 0, false);
      results_.rows.push_back(std::move(row_rocks));
#endif
    }
    check(tern);
    check(map);
#if TERN_BENCH_ROCKSDB
    check(rocks);
#endif
  }

 private:
  void error(std::string what) {
    if (std::find(results_.errors.begin(), results_.errors.end(), what) == results_.errors.end()) {
      results_.errors.push_back(std::move(what));
    }
  }
  template <class Adapter>
  void fill(Adapter& a) {
    typename Adapter::Writer writer(a);
    const std::string value(kValueBytes, 'v');
    std::vector<std::string_view> batch;
    for (std::uint64_t i = 0; i != keys_.size(); ++i) {
      batch.push_back(keys_[i]);
      if (batch.size() == 1000 || i + 1 == keys_.size()) {
        if (!writer.write(batch, value)) error(std::string("batches: ") + Adapter::kName + " refused a batch of the fill");
        batch.clear();
      }
    }
  }
  // Every value is whole, and of a batch.
  template <class Adapter>
  void check(Adapter& a) {
    std::string value;
    for (std::uint64_t i = 0; i < keys_.size(); i += 97) {
      if (!a.get(keys_[i], value) || value.size() != kValueBytes || value.find_first_not_of(value.back()) != std::string::npos) {
        return error(std::string("batches: ") + Adapter::kName + " has lost " + std::string(keys_[i]));
      }
    }
  }
  template <class Adapter>
  Row row(const Adapter&, unsigned size) const {
    Row r;
    r.workload = "batch";
    r.store = Adapter::kName;
    r.keys = keys_.size();
    r.value_bytes = kValueBytes;
    r.threads = kThreads;
    r.batch = size;
    r.mode = Mode::kBatch;
    return r;
  }
  static std::string figures(const char* against, const Row& own, const Row& peer) {
    char text[160];
    std::snprintf(text, sizeof text, "%s (two threads, million keys a second: %.2f, %.2f)", against, spread(own.mops).median,
                  spread(peer.mops).median);
    return text;
  }

  // Million keys written a second of CPU time, summed over the threads.
  template <class Adapter>
  double slice(Adapter& a, unsigned size, Row& row) {
    struct alignas(128) Tally {
      double mops = 0, wall_mops = 0;
      bool pinned = true, refused = false;
    } tallies[kThreads];
    std::barrier start(kThreads);
    {
      std::vector<std::jthread> threads;
      for (unsigned t = 0; t != kThreads; ++t) {
        threads.emplace_back([&, t] {
          Tally& tally = tallies[t];
          tally.pinned = pin(t);
          typename Adapter::Writer writer(a);
          Random random(options_.seed + slices_ * kThreads + t);
          std::vector<std::string_view> keys(size);
          std::string value(kValueBytes, ' ');
          std::uint64_t written = 0;
          start.arrive_and_wait();
          const double cpu = thread_cpu_seconds(), wall = wall_seconds();
          do {
            for (unsigned n = 0; n < 1000; n += size) {
              for (std::string_view& key : keys) {
                key = keys_[random.below(keys_.size())];
              }
              value.assign(kValueBytes, static_cast<char>('a' + random.below(26)));
              tally.refused |= !writer.write(keys, value);
              written += size;
            }
          } while (wall_seconds() - wall < options_.seconds);
          tally.mops = static_cast<double>(written) / (thread_cpu_seconds() - cpu) / 1e6;
          tally.wall_mops = static_cast<double>(written) / (wall_seconds() - wall) / 1e6;
        });
      }
    }
    ++slices_;
    double mops = 0, wall_mops = 0;
    for (const Tally& t : tallies) {
      mops += t.mops;
      wall_mops += t.wall_mops;
      row.pinned = row.pinned && t.pinned;
      if (t.refused) error(std::string("batches: ") + Adapter::kName + " refused a batch");
    }
    row.mops.push_back(mops);
    row.wall_mops.push_back(wall_mops);
    return mops;
  }

  const BenchOptions& options_;
  Results& results_;
  KeyBytes keys_;
  std::uint64_t slices_ = 0;
};

}  // namespace

void run_batches(const BenchOptions& options, Results& results) { BatchesSuite(options, results).run(); }

}  // namespace tern::bench
