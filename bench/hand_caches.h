// What people build by hand when they need a bounded cache, as well as that is done: what Tern's latencies are held against.
// Keys of up to 24 and values of 64 bytes lie inline, everything is reserved to size, and nothing is allocated inside a lock
// (libcuckoo's table, which is its own, is made large enough never to grow).
//
//   MutexLru        one lock; intrusive nodes in an array, chains and list by index
//   ShardedLru<64>  the same 64 times, by the hash
//   CuckooClock     libcuckoo for the table; a ring of as many slots as there are entries, a reference bit each, a hand
//
// A deadline is a word of the node; what is past it is a miss, and its node the next to be reused.
#ifndef TERN_BENCH_HAND_CACHES_H_
#define TERN_BENCH_HAND_CACHES_H_

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <string_view>
#include <utility>
#include <vector>

#include "bench/peers/hash.h"

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
#endif

namespace tern::bench {

inline constexpr std::size_t kHandKeyBytes = 24;
inline constexpr std::size_t kHandValueBytes = 64;
inline constexpr std::uint64_t kNoDeadline = ~std::uint64_t{0};

// A key of up to 24 bytes, padded with zeros.
struct HandKey {
  std::uint64_t words[kHandKeyBytes / 8];
  bool operator==(const HandKey&) const noexcept = default;

  static HandKey of(std::string_view key) noexcept {
    HandKey k{};
    std::memcpy(&k, key.data(), key.size());
    return k;
  }
  std::uint64_t hash() const noexcept { return XXH3_64bits(words, sizeof words); }
};

// Not thread-safe: its lock is its owner's.
class LruCore {
 public:
  explicit LruCore(std::size_t entries)
      : nodes_(entries + 1), heads_(std::bit_ceil(entries + entries / 2)), mask_(heads_.size() - 1) {
    for (std::uint32_t i = 1; i <= entries; ++i) {
      nodes_[i].chain = free_;
      free_ = i;
    }
    nodes_[0].older = nodes_[0].newer = 0;  // the list's both ends
  }

  bool get(const HandKey& key, std::uint64_t hash, std::uint64_t now, char* out) noexcept {
    const std::uint32_t n = find(key, hash);
    if (n == 0) return false;
    Node& node = nodes_[n];
    if (node.deadline <= now) {
      remove(n, hash);
      return false;
    }
    unlink(node);
    to_front(n);
    std::memcpy(out, node.value, kHandValueBytes);
    return true;
  }

  void set(const HandKey& key, std::uint64_t hash, const char* value, std::uint64_t deadline) noexcept {
    std::uint32_t n = find(key, hash);
    if (n != 0) {
      unlink(nodes_[n]);
    } else {
      if (free_ == 0) remove(nodes_[0].newer, nodes_[nodes_[0].newer].hash);
      n = std::exchange(free_, nodes_[free_].chain);
      ++live_;
      nodes_[n].key = key;
      nodes_[n].hash = hash;
      nodes_[n].chain = std::exchange(heads_[hash & mask_], n);
    }
    std::memcpy(nodes_[n].value, value, kHandValueBytes);
    nodes_[n].deadline = deadline;
    to_front(n);
  }

  std::size_t size() const noexcept { return live_; }

  struct Node {
    HandKey key;
    std::uint64_t hash;
    std::uint64_t deadline;
    std::uint32_t chain, older, newer, unused;
    char value[kHandValueBytes];
  };
  // Of the node and its share of the table.
  static constexpr std::size_t kBytesAnEntry = sizeof(Node) + 2 * sizeof(std::uint32_t);

 private:
  std::uint32_t find(const HandKey& key, std::uint64_t hash) const noexcept {
    std::uint32_t n = heads_[hash & mask_];
    while (n != 0 && !(nodes_[n].hash == hash && nodes_[n].key == key)) n = nodes_[n].chain;
    return n;
  }
  void unlink(Node& node) noexcept {
    nodes_[node.older].newer = node.newer;
    nodes_[node.newer].older = node.older;
  }
  void to_front(std::uint32_t n) noexcept {
    Node& node = nodes_[n];
    node.newer = 0;
    node.older = nodes_[0].older;
    nodes_[node.older].newer = n;
    nodes_[0].older = n;
  }
  void remove(std::uint32_t n, std::uint64_t hash) noexcept {
    std::uint32_t* at = &heads_[hash & mask_];
    while (*at != n) at = &nodes_[*at].chain;
    *at = nodes_[n].chain;
    unlink(nodes_[n]);
    nodes_[n].chain = free_;
    free_ = n;
    --live_;
  }

  std::vector<Node> nodes_;  // 0 is the list's anchor: older is the newest, newer the oldest
  std::vector<std::uint32_t> heads_;
  std::uint64_t mask_;
  std::uint32_t free_ = 0;
  std::size_t live_ = 0;
};

class MutexLru {
 public:
  static constexpr const char* kName = "lru-mutex";
  explicit MutexLru(std::size_t memory_bytes) : lru_(memory_bytes / LruCore::kBytesAnEntry) {}
  bool get(std::string_view key, std::uint64_t now, char* out) noexcept {
    const HandKey k = HandKey::of(key);
    const std::uint64_t hash = k.hash();
    const std::lock_guard<std::mutex> lock(mutex_);
    return lru_.get(k, hash, now, out);
  }
  void set(std::string_view key, const char* value, std::uint64_t deadline) noexcept {
    const HandKey k = HandKey::of(key);
    const std::uint64_t hash = k.hash();
    const std::lock_guard<std::mutex> lock(mutex_);
    lru_.set(k, hash, value, deadline);
  }
  std::size_t size() const noexcept { return lru_.size(); }

 private:
  std::mutex mutex_;
  LruCore lru_;
};

template <unsigned kShards>
class ShardedLru {
 public:
  static constexpr const char* kName = "lru-sharded-64";
  explicit ShardedLru(std::size_t memory_bytes) {
    for (unsigned i = 0; i != kShards; ++i) {
      shards_.push_back(std::make_unique<Shard>(memory_bytes / kShards / LruCore::kBytesAnEntry));
    }
  }
  bool get(std::string_view key, std::uint64_t now, char* out) noexcept {
    const HandKey k = HandKey::of(key);
    const std::uint64_t hash = k.hash();
    Shard& s = shard(hash);
    const std::lock_guard<std::mutex> lock(s.mutex);
    return s.lru.get(k, hash, now, out);
  }
  void set(std::string_view key, const char* value, std::uint64_t deadline) noexcept {
    const HandKey k = HandKey::of(key);
    const std::uint64_t hash = k.hash();
    Shard& s = shard(hash);
    const std::lock_guard<std::mutex> lock(s.mutex);
    s.lru.set(k, hash, value, deadline);
  }
  std::size_t size() const noexcept {
    std::size_t sum = 0;
    for (const auto& s : shards_) sum += s->lru.size();
    return sum;
  }

 private:
  struct alignas(128) Shard {
    explicit Shard(std::size_t entries) : lru(entries) {}
    std::mutex mutex;
    LruCore lru;
  };
  static_assert(std::has_single_bit(kShards));
  Shard& shard(std::uint64_t hash) noexcept { return *shards_[hash >> 58 & (kShards - 1)]; }

  std::vector<std::unique_ptr<Shard>> shards_;
};

#if TERN_BENCH_CUCKOO
class CuckooClock {
 public:
  static constexpr const char* kName = "libcuckoo-clock";

  explicit CuckooClock(std::size_t memory_bytes)
      : slots_(memory_bytes / kBytesAnEntry), map_(slots_.size() + slots_.size() / 4) {}

  bool get(std::string_view key, std::uint64_t now, char* out) {
    bool alive = false;
    std::uint32_t slot = 0;
    map_.find_fn(HandKey::of(key), [&](const Entry& e) {
      alive = e.deadline > now;
      if (!alive) return;
      std::memcpy(out, e.value, kHandValueBytes);
      slot = e.slot;
    });
    if (!alive) return false;
    auto& used = slots_[slot].used;
    if (!used.load(std::memory_order_relaxed)) used.store(true, std::memory_order_relaxed);
    return true;
  }

  void set(std::string_view key, const char* value, std::uint64_t deadline) {
    const HandKey k = HandKey::of(key);
    const auto overwrite = [&](Entry& e) {
      std::memcpy(e.value, value, kHandValueBytes);
      e.deadline = deadline;
    };
    if (map_.update_fn(k, overwrite)) return;
    const std::uint32_t slot = take_slot();
    Entry e;
    overwrite(e);
    e.slot = slot;
    slots_[slot].key = k;
    slots_[slot].full = true;
    if (!map_.insert(k, e)) {  // another thread was first: its slot stays
      map_.update_fn(k, overwrite);
      slots_[slot].full = false;
    }
    slots_[slot].busy.clear(std::memory_order_release);
  }

  std::size_t size() const { return map_.size(); }

 private:
  struct Entry {
    char value[kHandValueBytes];
    std::uint64_t deadline;
    std::uint32_t slot;
  };
  struct Slot {
    HandKey key{};
    bool full = false;                    // of whoever has `busy`
    std::atomic<bool> used{false};
    std::atomic_flag busy = ATOMIC_FLAG_INIT;
  };
  struct Hash {
    std::size_t operator()(const HandKey& key) const noexcept { return key.hash(); }
  };
  // libcuckoo fills a table of 2^n buckets to four fifths as a rule; counted as if it were full.
  static constexpr std::size_t kBytesAnEntry = sizeof(HandKey) + sizeof(Entry) + sizeof(Slot) + 2;

  // The caller's until it clears `busy`; what was there is gone.
  std::uint32_t take_slot() {
    for (;;) {
      const auto at = static_cast<std::uint32_t>(hand_.fetch_add(1, std::memory_order_relaxed) % slots_.size());
      Slot& s = slots_[at];
      if (s.used.load(std::memory_order_relaxed)) {
        s.used.store(false, std::memory_order_relaxed);
        continue;
      }
      if (s.busy.test_and_set(std::memory_order_acquire)) continue;
      if (s.full) {
        map_.erase_fn(s.key, [at](Entry& e) { return e.slot == at; });
        s.full = false;
      }
      return at;
    }
  }

  std::vector<Slot> slots_;
  libcuckoo::cuckoohash_map<HandKey, Entry, Hash> map_;
  std::atomic<std::uint64_t> hand_{0};
};
#endif

}  // namespace tern::bench

#endif  // TERN_BENCH_HAND_CACHES_H_
