// libcds FeldmanHashSet with hazard pointers: lock-free like Tern. A write replaces the item
// (FeldmanHashMap calls the function that fills a new value when readers can see it already: the
// sums of a run with two threads came out wrong). It tells keys apart by their 64-bit hash alone,
// which spares it the comparison.
#include "bench/slice.h"

#if TERN_BENCH_CDS
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#pragma GCC diagnostic ignored "-Wpedantic"
#endif
#include <cds/container/feldman_hashset_hp.h>
#include <cds/gc/hp.h>
#include <cds/init.h>
#include <cds/threading/model.h>
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

#include <string>

#include "bench/peers/hash.h"

namespace tern::bench {
namespace {

struct ItemViews {
  std::string_view key;
  std::string_view value;
};
struct CdsItem {
  explicit CdsItem(const ItemViews& v) : hash(peer_hash(v.key)), key(v.key), value(v.value) {}
  std::uint64_t hash;
  std::string key;
  std::string value;
};
struct HashOfItem {
  const std::uint64_t& operator()(const CdsItem& item) const noexcept { return item.hash; }
};
struct Traits : cds::container::feldman_hashset::traits {
  using hash_accessor = HashOfItem;
};

class CdsAdapter {
 public:
  using Map = cds::container::FeldmanHashSet<cds::gc::HP, CdsItem, Traits>;

  explicit CdsAdapter(const StoreConfig& config) {
    static cds::gc::HP* const collector = [] {
      cds::Initialize();
      return new cds::gc::HP(Map::c_nHazardPtrCount + 4);
    }();
    static_cast<void>(collector);
    cds::threading::Manager::attachThread();
    unsigned head_bits = 8;
    while (head_bits < 26 && (std::uint64_t{1} << head_bits) < config.entries) ++head_bits;
    map_ = std::make_unique<Map>(head_bits, 4);
  }

  class Worker {
   public:
    explicit Worker(CdsAdapter& a) : map_(*a.map_) { cds::threading::Manager::attachThread(); }
    ~Worker() { cds::threading::Manager::detachThread(); }
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    bool get(std::string_view key, char* out) {
      return map_.find(peer_hash(key), [out](CdsItem& item) {
        std::memcpy(out, item.value.data(), item.value.size());
      });
    }
    bool set(std::string_view key, std::string_view value) {
      return map_.update(ItemViews{key, value}, [](const CdsItem&, const CdsItem*) {}).first;
    }
    bool del(std::string_view key) { return map_.erase(peer_hash(key)); }

   private:
    Map& map_;
  };

  std::uint64_t bytes_used() const { return 0; }

 private:
  std::unique_ptr<Map> map_;
};

}  // namespace

StoreKind cds_store() {
  return {.name = "libcds",
          .what = "libcds FeldmanHashSet, hazard pointers",
          .make = &make_runner<CdsAdapter>};
}

}  // namespace tern::bench
#else
namespace tern::bench {
StoreKind cds_store() {
  return {.name = "libcds",
          .why_absent = "libcds was not found by CMake: apt-get install libcds-dev"};
}
}  // namespace tern::bench
#endif
