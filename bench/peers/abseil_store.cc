// What people write by hand: 64 Abseil flat_hash_maps of strings, a std::shared_mutex on each.
#include "bench/slice.h"

#if TERN_BENCH_ABSEIL
#include <absl/container/flat_hash_map.h>

#include <cmath>
#include <mutex>
#include <shared_mutex>
#include <string>

namespace tern::bench {
namespace {

class AbseilAdapter {
 public:
  static constexpr unsigned kShardBits = 6;
  using Map = absl::flat_hash_map<std::string, std::string>;
  struct alignas(128) Shard {
    std::shared_mutex mutex;
    Map map;
  };

  explicit AbseilAdapter(const StoreConfig& config)
      : shards_(std::make_unique<Shard[]>(1u << kShardBits)) {
    // Shards are not all equally full: six standard deviations of room.
    const double each = static_cast<double>(config.entries) / (1u << kShardBits);
    for (unsigned i = 0; i < 1u << kShardBits; ++i) {
      shards_[i].map.reserve(static_cast<std::size_t>(each + 6 * std::sqrt(each)));
    }
  }

  class Worker {
   public:
    explicit Worker(AbseilAdapter& a) : shards_(a.shards_.get()) {}
    bool get(std::string_view bytes, char* out) {
      const View key(bytes.data(), bytes.size());
      const std::size_t hash = absl::Hash<View>{}(key);
      Shard& shard = shards_[hash >> (64 - kShardBits)];
      const std::shared_lock lock(shard.mutex);
      const auto at = shard.map.find(key, hash);
      if (at == shard.map.end()) return false;
      std::memcpy(out, at->second.data(), at->second.size());
      return true;
    }
    bool set(std::string_view bytes, std::string_view value) {
      const View key(bytes.data(), bytes.size());
      const std::size_t hash = absl::Hash<View>{}(key);
      Shard& shard = shards_[hash >> (64 - kShardBits)];
      const std::unique_lock lock(shard.mutex);
      const auto at = shard.map.find(key, hash);
      if (at != shard.map.end()) {
        at->second.assign(value);
      } else {
        shard.map.emplace(bytes, value);
      }
      return true;
    }
    bool del(std::string_view bytes) {
      const View key(bytes.data(), bytes.size());
      const std::size_t hash = absl::Hash<View>{}(key);
      Shard& shard = shards_[hash >> (64 - kShardBits)];
      const std::unique_lock lock(shard.mutex);
      return shard.map.erase(key) != 0;
    }

   private:
    using View = absl::string_view;  // no std::string_view in Debian's build
    Shard* shards_;
  };

  std::uint64_t bytes_used() const { return 0; }

 private:
  std::unique_ptr<Shard[]> shards_;
};

}  // namespace

StoreKind abseil_store() {
  return {.name = "abseil64",
          .what = "64 x Abseil flat_hash_map<string, string> with a shared_mutex",
          .required = true,
          .make = &make_runner<AbseilAdapter>};
}

}  // namespace tern::bench
#else
namespace tern::bench {
StoreKind abseil_store() {
  return {.name = "abseil64",
          .why_absent = "Abseil was not found by CMake: apt-get install libabsl-dev",
          .required = true};
}
}  // namespace tern::bench
#endif
