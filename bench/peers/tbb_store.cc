// oneTBB concurrent_hash_map<std::string, std::string>, looked up by string_view. Its nodes come
// from malloc as those of every other peer do (its default allocator would ignore the run's
// huge-page setting).
#include "bench/slice.h"

#if TERN_BENCH_TBB
#include <oneapi/tbb/concurrent_hash_map.h>

#include <string>

#include "bench/peers/hash.h"

namespace tern::bench {
namespace {

struct HashCompare {
  using is_transparent = void;
  std::size_t hash(std::string_view key) const noexcept { return peer_hash(key); }
  bool equal(std::string_view a, std::string_view b) const noexcept { return a == b; }
};

class TbbAdapter {
 public:
  explicit TbbAdapter(const StoreConfig& config) : map_(config.entries) {}

  class Worker {
   public:
    explicit Worker(TbbAdapter& a) : map_(a.map_) {}
    bool get(std::string_view key, char* out) {
      Map::const_accessor at;
      if (!map_.find(at, key)) return false;
      std::memcpy(out, at->second.data(), at->second.size());
      return true;
    }
    bool set(std::string_view key, std::string_view value) {
      Map::accessor at;
      map_.insert(at, key);
      at->second.assign(value);
      return true;
    }
    bool del(std::string_view key) { return map_.erase(key); }

   private:
    using Map =
        oneapi::tbb::concurrent_hash_map<std::string, std::string, HashCompare,
                                         std::allocator<std::pair<const std::string, std::string>>>;
    friend class TbbAdapter;
    Map& map_;
  };

  std::uint64_t bytes_used() const { return 0; }

 private:
  Worker::Map map_;
};

}  // namespace

StoreKind tbb_store() {
  return {.name = "tbb",
          .what = "oneTBB concurrent_hash_map<string, string>",
          .required = true,
          .make = &make_runner<TbbAdapter>};
}

}  // namespace tern::bench
#else
namespace tern::bench {
StoreKind tbb_store() {
  return {.name = "tbb",
          .why_absent = "oneTBB was not found by CMake: apt-get install libtbb-dev",
          .required = true};
}
}  // namespace tern::bench
#endif
