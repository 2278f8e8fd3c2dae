// Chunks of operations, made outside of the timed part: 4,096 keys with their bytes, kinds and
// expected values in some 200 KB, so that they wait in the second-level cache as a request just
// parsed would. A stream made once for the whole run was rejected: at ten million keys it competes
// with the store for memory bandwidth.
#ifndef TERN_BENCH_STREAM_H_
#define TERN_BENCH_STREAM_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "bench/workload.h"

namespace tern::bench {

struct Chunk {
  std::vector<std::string_view> keys;
  std::vector<Kind> kinds;
  std::vector<std::uint64_t> heads;  // first eight bytes of the key's value
  std::vector<std::uint32_t> value_bytes;
  std::size_t size = 0;

  // What a correct store answers if no key may be missing.
  std::uint64_t gets = 0;
  std::uint64_t heads_sum = 0;  // over gets
};

// Zipf ranks drawn once, before the processes of the stores are forked, and shared by them.
class ZipfDraws {
 public:
  ZipfDraws() = default;
  ZipfDraws(std::uint64_t n, std::size_t count, std::uint64_t seed);
  std::size_t size() const noexcept { return ranks_.size(); }
  std::uint32_t operator[](std::size_t i) const noexcept { return ranks_[i]; }

 private:
  std::vector<std::uint32_t> ranks_;
};

// One thread's part of a workload.
class ChunkMaker {
 public:
  struct Part {
    std::uint64_t entries = 0;
    unsigned thread = 0;
    unsigned threads = 1;
    unsigned batch = 1;
    std::uint64_t seed = 0;
  };

  ChunkMaker(const Workload& workload, const KeyMaker& maker, const ZipfDraws* draws, Part part);

  // The next chunk. In a fill it ends with the last key: size 0 then.
  const Chunk& next();

  // Workloads that insert: keys to remove after the chunk so that the number of entries stays;
  // then, at the end, what brings the store back to its keys 0 to n-1. Outside of the timed part.
  template <class Remove>
  void settle(Remove&& remove) {
    for (; settled_ < inserted_; ++settled_) remove(key_at(nth_own(settled_)));
  }
  template <class Remove, class Restore>
  void restore(Remove&& remove, Restore&& restore) {
    // Live are the keys inserted_ to own_ + inserted_ - 1 of this thread.
    for (std::uint64_t i = std::max(own_, inserted_); i < own_ + inserted_; ++i)
      remove(key_at(nth_own(i)));
    for (std::uint64_t i = 0; i < std::min(own_, inserted_); ++i) {
      const std::uint64_t index = nth_own(i);
      restore(key_at(index), KeyMaker::value_head(index), maker_.value_bytes(index));
    }
  }

  std::size_t chunk_size() const noexcept { return capacity_; }

 private:
  // Thread t owns the indexes t, t + threads, ...: in a fill and among the latest.
  std::uint64_t nth_own(std::uint64_t n) const noexcept { return n * part_.threads + part_.thread; }
  std::string_view key_at(std::uint64_t index) {
    return {scratch_.data(), maker_.key(index, scratch_.data())};
  }
  std::uint64_t draw() noexcept;
  Kind draw_kind() noexcept;
  void put(std::size_t at, Kind kind, std::uint64_t index);

  Workload workload_;
  const KeyMaker& maker_;
  const ZipfDraws* draws_;
  Part part_;
  Random random_;
  std::size_t capacity_;
  std::size_t draw_at_ = 0;
  std::uint64_t own_ = 0;  // keys of this thread at the start
  std::uint64_t filled_ = 0;
  std::uint64_t inserted_ = 0;
  std::uint64_t settled_ = 0;
  Chunk chunk_;
  std::vector<char> bytes_;
  std::vector<char> scratch_;
};

}  // namespace tern::bench

#endif  // TERN_BENCH_STREAM_H_
