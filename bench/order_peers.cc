#include "bench/order_peers.h"

#include <tern/store.h>

#include <algorithm>
#include <shared_mutex>

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

namespace tern::bench {
namespace {

class Tern : public OrderedMap {
 public:
  explicit Tern(const Store& store) : store_(store) {}
  bool insert(std::string_view key, const InlineValue& value) override {
    return store_.set(key, {value.bytes, kOrderedValueBytes}).ok();
  }
  ScanSum scan(std::string_view prefix) override {
    ScanSum sum;
    const Result<bool> r = store_.iterate(prefix, [&](std::string_view, std::string_view v) { return sum.add(v.data()), true; });
    return r ? sum : ScanSum();
  }
  ScanSum scan_from(std::string_view from, std::uint64_t keys) override {
    ScanSum sum;
    ScanCursor cursor;
    const Result<bool> r =
        store_.scan({.from = from, .limit = keys}, cursor, [&](const ViewEntry& e) { return sum.add(e.value.data()), true; });
    return r ? sum : ScanSum();
  }

 private:
  Store store_;
};

#if TERN_BENCH_TBB
class TbbMap : public OrderedMap {
 public:
  bool insert(std::string_view key, const InlineValue& value) override { return map_.emplace(key, value).second; }
  ScanSum scan(std::string_view prefix) override {
    ScanSum sum;
    for (auto i = map_.lower_bound(prefix); i != map_.end() && i->first.starts_with(prefix); ++i) sum.add(i->second.bytes);
    return sum;
  }
  ScanSum scan_from(std::string_view from, std::uint64_t keys) override {
    ScanSum sum;
    for (auto i = map_.lower_bound(from); i != map_.end() && sum.keys != keys; ++i) sum.add(i->second.bytes);
    return sum;
  }

 private:
  tbb::concurrent_map<std::string, InlineValue, std::less<>> map_;
};
#endif

#if TERN_BENCH_ABSEIL
class BtreeMap : public OrderedMap {
 public:
  bool insert(std::string_view key, const InlineValue& value) override {
    const std::unique_lock lock(mutex_);
    return map_.emplace(key, value).second;
  }
  ScanSum scan(std::string_view prefix) override {
    ScanSum sum;
    const std::shared_lock lock(mutex_);
    for (auto i = at(prefix); i != map_.end() && std::string_view(i->first).starts_with(prefix); ++i) sum.add(i->second.bytes);
    return sum;
  }
  ScanSum scan_from(std::string_view from, std::uint64_t keys) override {
    ScanSum sum;
    const std::shared_lock lock(mutex_);
    for (auto i = at(from); i != map_.end() && sum.keys != keys; ++i) sum.add(i->second.bytes);
    return sum;
  }

 private:
  using Map = absl::btree_map<std::string, InlineValue>;
  Map::iterator at(std::string_view key) { return map_.lower_bound(absl::string_view(key.data(), key.size())); }

  Map map_;
  std::shared_mutex mutex_;
};
#endif

#if TERN_BENCH_ROCKSDB
class Rocks : public OrderedMap {
 public:
  explicit Rocks(std::uint64_t keys) : environment_(rocksdb::NewMemEnv(rocksdb::Env::Default())) {
    rocksdb::Options o;
    o.create_if_missing = true;
    o.env = environment_.get();
    o.compression = rocksdb::kNoCompression;
    o.write_buffer_size = std::size_t{256} << 20;
    rocksdb::BlockBasedTableOptions table;
    table.block_cache = rocksdb::NewLRUCache(std::max<std::size_t>(keys * 160, std::size_t{64} << 20));
    o.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
    rocksdb::DB* opened = nullptr;
    if (rocksdb::DB::Open(o, "/order", &opened).ok()) db_.reset(opened);
  }
  bool is_open() const { return db_ != nullptr; }
  bool insert(std::string_view key, const InlineValue& value) override {
    rocksdb::WriteOptions unlogged;
    unlogged.disableWAL = true;
    return db_->Put(unlogged, {key.data(), key.size()}, {value.bytes, kOrderedValueBytes}).ok();
  }
  ScanSum scan(std::string_view prefix) override {
    ScanSum sum;
    const rocksdb::Slice wanted(prefix.data(), prefix.size());
    const std::unique_ptr<rocksdb::Iterator> i(db_->NewIterator({}));
    for (i->Seek(wanted); i->Valid() && i->key().starts_with(wanted); i->Next()) sum.add(i->value().data());
    return sum;
  }
  ScanSum scan_from(std::string_view from, std::uint64_t keys) override {
    ScanSum sum;
    const std::unique_ptr<rocksdb::Iterator> i(db_->NewIterator({}));
    for (i->Seek({from.data(), from.size()}); i->Valid() && sum.keys != keys; i->Next()) sum.add(i->value().data());
    return sum;
  }
  bool settle() override { return db_->Flush({}).ok() && db_->CompactRange({}, nullptr, nullptr).ok(); }

 private:
  std::unique_ptr<rocksdb::Env> environment_;
  std::unique_ptr<rocksdb::DB> db_;
};
#endif

}  // namespace

std::unique_ptr<OrderedMap> ordered_tern(const Store& store) { return std::make_unique<Tern>(store); }

std::vector<OrderedPeer> ordered_peers() {
  OrderedPeer tbb{"tbb::concurrent_map", "tbb", 2, "oneTBB is absent: apt-get install libtbb-dev", {}};
  OrderedPeer btree{"absl::btree_map and a shared mutex", "btree", 1, "Abseil is absent: apt-get install libabsl-dev", {}};
  OrderedPeer rocks{"RocksDB in memory, compacted, all in its cache", "rocksdb", 4,
                    "RocksDB is absent: apt-get install librocksdb-dev", {}};
#if TERN_BENCH_TBB
  tbb.why_absent = nullptr;
  tbb.make = [](std::uint64_t) { return std::make_unique<TbbMap>(); };
#endif
#if TERN_BENCH_ABSEIL
  btree.why_absent = nullptr;
  btree.make = [](std::uint64_t) { return std::make_unique<BtreeMap>(); };
#endif
#if TERN_BENCH_ROCKSDB
  rocks.why_absent = nullptr;
  rocks.make = [](std::uint64_t keys) -> std::unique_ptr<OrderedMap> {
    auto opened = std::make_unique<Rocks>(keys);
    return opened->is_open() ? std::move(opened) : nullptr;
  };
#endif
  return {tbb, btree, rocks};
}

}  // namespace tern::bench
