// Ordered maps beside which scans are measured, and Tern as one of them.
#ifndef TERN_BENCH_ORDER_PEERS_H_
#define TERN_BENCH_ORDER_PEERS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bench/options.h"

namespace tern {
class Store;
}

namespace tern::bench {

inline constexpr std::size_t kOrderedValueBytes = 64;

// In a map's own node: nothing else to fetch.
struct InlineValue {
  char bytes[kOrderedValueBytes];
};

// A scan adds up the first bytes of the values, and their number: what it is compared by.
struct ScanSum {
  std::uint64_t keys = 0;
  std::uint64_t bytes = 0;
  void add(const char* value) {
    ++keys;
    bytes += static_cast<unsigned char>(value[0]);
  }
  void add(const ScanSum& other) {
    keys += other.keys;
    bytes += other.bytes;
  }
  bool operator==(const ScanSum&) const = default;
};

// One virtual call a scan. A failure shows as a sum that is too small.
class OrderedMap {
 public:
  virtual ~OrderedMap() = default;
  virtual bool insert(std::string_view key, const InlineValue& value) = 0;
  virtual ScanSum scan(std::string_view prefix) = 0;
  // Up to `keys` of them, from the first that isn't less than `from` on.
  virtual ScanSum scan_from(std::string_view from, std::uint64_t keys) = 0;
  // Filled: whatever it does to be read fast. False: it can't.
  virtual bool settle() { return true; }
};

std::unique_ptr<OrderedMap> ordered_tern(const Store& store);

struct OrderedPeer {
  const char* name;
  const char* id;   // of its targets, behind "scan100-vs-"
  double floor;     // of scan100 among 10 million keys
  const char* why_absent;  // null: it is here
  // Reserved for so many keys, where it can be. Null: it can't be opened.
  std::function<std::unique_ptr<OrderedMap>(std::uint64_t keys)> make;
};
std::vector<OrderedPeer> ordered_peers();

}  // namespace tern::bench

#endif  // TERN_BENCH_ORDER_PEERS_H_
