// RocksDB with a checkpoint: a database is filled, a checkpoint taken of it, and that opened again and again.
#ifndef TERN_BENCH_PEERS_ROCKS_CHECKPOINT_H_
#define TERN_BENCH_PEERS_ROCKS_CHECKPOINT_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace tern::bench {

class RocksCheckpoint {
 public:
  // As RedisDump.
  RocksCheckpoint(std::string folder, std::uint64_t count, const std::function<std::string(std::uint64_t)>& key, std::string_view value);
  const std::string& error() const { return error_; }

  // Seconds from the opening of the checkpoint, for writing, to this key's value; 0: see error().
  double open(const std::string& key, std::string_view value);

 private:
  std::string folder_;
  std::string error_;
};

}  // namespace tern::bench

#endif  // TERN_BENCH_PEERS_ROCKS_CHECKPOINT_H_
