#include "bench/peers/rocks_checkpoint.h"

#include <memory>

#include "bench/machine.h"

#if TERN_BENCH_ROCKSDB
#include <rocksdb/db.h>
#include <rocksdb/utilities/checkpoint.h>
#include <rocksdb/write_batch.h>
#endif

namespace tern::bench {

#if TERN_BENCH_ROCKSDB
namespace {

rocksdb::Options options() {
  rocksdb::Options o;
  o.create_if_missing = true;
  o.write_buffer_size = std::size_t{64} << 20;
  o.compression = rocksdb::kNoCompression;
  return o;
}
rocksdb::Slice slice(std::string_view s) { return {s.data(), s.size()}; }

}  // namespace

RocksCheckpoint::RocksCheckpoint(std::string folder, std::uint64_t count, const std::function<std::string(std::uint64_t)>& key,
                                 std::string_view value)
    : folder_(std::move(folder)) {
  const auto refused = [&](const rocksdb::Status& s) {
    if (!s.ok()) error_ = "RocksDB: " + s.ToString();
    return !s.ok();
  };
  rocksdb::DB* made = nullptr;
  if (refused(rocksdb::DB::Open(options(), folder_ + "/rocks", &made))) return;
  const std::unique_ptr<rocksdb::DB> db(made);
  rocksdb::WriteOptions how;
  how.disableWAL = true;
  constexpr std::uint64_t kBatch = 1'000;
  for (std::uint64_t i = 0; i < count; i += kBatch) {
    rocksdb::WriteBatch batch;
    for (std::uint64_t k = i; k != i + kBatch && k != count; ++k) {
      if (refused(batch.Put(key(k), slice(value)))) return;
    }
    if (refused(db->Write(how, &batch))) return;
  }
  if (refused(db->Flush(rocksdb::FlushOptions()))) return;
  rocksdb::Checkpoint* checkpoint = nullptr;
  if (refused(rocksdb::Checkpoint::Create(db.get(), &checkpoint))) return;
  const std::unique_ptr<rocksdb::Checkpoint> owned(checkpoint);
  refused(owned->CreateCheckpoint(folder_ + "/checkpoint"));
}

double RocksCheckpoint::open(const std::string& key, std::string_view value) {
  if (!error_.empty()) return 0;
  const double from = wall_seconds();
  rocksdb::DB* made = nullptr;
  if (const auto s = rocksdb::DB::Open(options(), folder_ + "/checkpoint", &made); !s.ok()) {
    error_ = "RocksDB: " + s.ToString();
    return 0;
  }
  const std::unique_ptr<rocksdb::DB> db(made);
  std::string found;
  if (!db->Get(rocksdb::ReadOptions(), key, &found).ok() || found != value) {
    error_ = "RocksDB's checkpoint doesn't have what was written";
    return 0;
  }
  return wall_seconds() - from;
}

#else

RocksCheckpoint::RocksCheckpoint(std::string, std::uint64_t, const std::function<std::string(std::uint64_t)>&, std::string_view)
    : error_("RocksDB is absent: apt-get install librocksdb-dev") {}
double RocksCheckpoint::open(const std::string&, std::string_view) { return 0; }

#endif

}  // namespace tern::bench
