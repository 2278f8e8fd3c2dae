// libcuckoo cuckoohash_map. Where keys have at most 24 and values exactly 64 bytes it holds both
// inline (which a general cache can't, and which spares it two misses); otherwise as std::string.
#include "bench/slice.h"

#if TERN_BENCH_CUCKOO
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#endif
#include <libcuckoo/cuckoohash_map.hh>
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

#include <string>

#include "bench/peers/hash.h"

namespace tern::bench {
namespace {

struct FixedKey {
  std::uint64_t words[3];
  bool operator==(const FixedKey&) const noexcept = default;
};
struct FixedHash {
  std::size_t operator()(const FixedKey& key) const noexcept {
    return XXH3_64bits(&key, sizeof key);
  }
};

class FixedCuckooAdapter {
 public:
  using Value = std::array<char, 64>;
  using Map = libcuckoo::cuckoohash_map<FixedKey, Value, FixedHash>;

  explicit FixedCuckooAdapter(const StoreConfig& config) : map_(config.entries) {}

  class Worker {
   public:
    explicit Worker(FixedCuckooAdapter& a) : map_(a.map_) {}
    bool get(std::string_view key, char* out) {
      return map_.find_fn(fixed(key),
                          [out](const Value& v) { std::memcpy(out, v.data(), v.size()); });
    }
    bool set(std::string_view key, std::string_view value) {
      Value v;
      std::memcpy(v.data(), value.data(), v.size());
      map_.insert_or_assign(fixed(key), v);
      return true;
    }
    bool del(std::string_view key) { return map_.erase(fixed(key)); }

   private:
    // Keys lie zero-padded in slots of at least 24 bytes.
    static FixedKey fixed(std::string_view key) noexcept {
      FixedKey k;
      std::memcpy(&k, key.data(), sizeof k);
      return k;
    }
    Map& map_;
  };

  std::uint64_t bytes_used() const { return 0; }

 private:
  Map map_;
};

class StringCuckooAdapter {
 public:
  using Map = libcuckoo::cuckoohash_map<std::string, std::string, StringHash, std::equal_to<>>;

  explicit StringCuckooAdapter(const StoreConfig& config) : map_(config.entries) {}

  class Worker {
   public:
    explicit Worker(StringCuckooAdapter& a) : map_(a.map_) {}
    bool get(std::string_view key, char* out) {
      return map_.find_fn(key,
                          [out](const std::string& v) { std::memcpy(out, v.data(), v.size()); });
    }
    bool set(std::string_view key, std::string_view value) {
      if (map_.update_fn(key, [value](std::string& v) { v.assign(value); })) return true;
      map_.upsert(
          std::string(key), [value](std::string& v) { v.assign(value); }, value);
      return true;
    }
    bool del(std::string_view key) { return map_.erase(key); }

   private:
    Map& map_;
  };

  std::uint64_t bytes_used() const { return 0; }

 private:
  Map map_;
};

std::unique_ptr<StoreRunner> make(const StoreConfig& config, const KeyMaker& maker,
                                  const ZipfDraws& draws) {
  if (config.key_bytes_max <= sizeof(FixedKey) && config.fixed_value &&
      config.value_bytes_max == 64) {
    return make_runner<FixedCuckooAdapter>(config, maker, draws);
  }
  return make_runner<StringCuckooAdapter>(config, maker, draws);
}

}  // namespace

StoreKind cuckoo_store() {
  return {.name = "libcuckoo",
          .what = "libcuckoo cuckoohash_map, keys and values inline where they have a fixed size",
          .required = true,
          .make = &make};
}

}  // namespace tern::bench
#else
namespace tern::bench {
StoreKind cuckoo_store() {
  return {.name = "libcuckoo",
          .why_absent = "libcuckoo was not found by CMake: apt-get install libcuckoo-dev",
          .required = true};
}
}  // namespace tern::bench
#endif
