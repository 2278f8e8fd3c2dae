// No peer but a yardstick: buckets and records as Tern lays them out and nothing of what it promises. One thread, one size of table,
// no epochs, stamps, versions, budget, expiry or eviction; what is replaced is free at once and comes back warm. What Tern's rates are
// of these is the price of its promises; what these are of the peers' is all that this layout can have on a machine.
#include <sys/mman.h>
#include <tern/hash.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

#include "bench/slice.h"
#include "simd/hash.h"
#include "simd/key_equal.h"
#include "simd/tag_match.h"

namespace tern::bench {
namespace {

class Zeros {
 public:
  Zeros(std::size_t bytes, bool huge_pages) : bytes_((bytes + kHuge - 1) & ~(kHuge - 1)) {
    void* const at = ::mmap(nullptr, bytes_ + kHuge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) {
      std::fprintf(stderr, "tern bench: bare: no memory for %zu bytes\n", bytes_);
      std::_Exit(1);
    }
    mapped_ = static_cast<char*>(at);
    begin_ = reinterpret_cast<char*>((reinterpret_cast<std::uintptr_t>(mapped_) + kHuge - 1) & ~std::uintptr_t{kHuge - 1});
    if (huge_pages) ::madvise(begin_, bytes_, MADV_HUGEPAGE);
  }
  ~Zeros() { ::munmap(mapped_, bytes_ + kHuge); }
  Zeros(const Zeros&) = delete;
  Zeros& operator=(const Zeros&) = delete;
  char* begin() const { return begin_; }
  std::size_t size() const { return bytes_; }

 private:
  static constexpr std::size_t kHuge = std::size_t{2} << 20;
  std::size_t bytes_;
  char* mapped_;
  char* begin_;
};

class BareAdapter {
 public:
  explicit BareAdapter(const StoreConfig& c)
      : homes_(c.entries / kMeanKeys + 1),
        table_((homes_ + homes_ / 4 + 64) * sizeof(Bucket), c.huge_pages),
        arena_((c.entries + c.entries / 4 + 65536) * rounded(sizeof(Header) + c.key_bytes_max + c.value_bytes_max), c.huge_pages),
        buckets_(reinterpret_cast<Bucket*>(table_.begin())),
        next_bucket_(homes_),
        free_(rounded(sizeof(Header) + c.key_bytes_max + c.value_bytes_max) / kGranule + 1) {}

  std::uint64_t bytes_used() const { return next_bucket_ * sizeof(Bucket) + used_; }

  class Worker {
   public:
    explicit Worker(BareAdapter& a) : a_(a) {}
    bool get(std::string_view key, char* out) { return a_.copy_of(key, hash(key), out); }
    bool set(std::string_view key, std::string_view value) { return a_.put(key, hash(key), value); }
    bool del(std::string_view key) { return a_.drop(key, hash(key)); }

    void get_many(std::span<const std::string_view> keys, char* out, std::size_t stride, Tally& t) {
      locate(keys);
      for (std::size_t i = 0; i < keys.size(); ++i) {
        if (a_.copy_of(keys[i], hashes_[i], out + i * stride)) {
          ++t.hits;
          t.sum += head_of(out + i * stride);
        } else {
          ++t.misses;
        }
      }
    }
    void set_many(std::span<const std::string_view> keys, const char* values, std::size_t stride, std::span<const std::uint32_t> sizes,
                  Tally& t) {
      locate(keys);
      for (std::size_t i = 0; i < keys.size(); ++i) t.refused += !a_.put(keys[i], hashes_[i], {values + i * stride, sizes[i]});
    }

   private:
    static std::uint64_t hash(std::string_view key) { return simd::hash_bytes(key.data(), key.size(), kHashKeys); }
    // Buckets' lines first, then those of the records that their tags name.
    void locate(std::span<const std::string_view> keys) {
      hash_keys_batch(keys, kSeed, hashes_);
      for (std::size_t i = 0; i < keys.size(); ++i) __builtin_prefetch(&a_.home(hashes_[i]));
      for (std::size_t i = 0; i < keys.size(); ++i) a_.fetch_record(hashes_[i]);
    }
    BareAdapter& a_;
    std::uint64_t hashes_[kBatchMax];
  };

 private:
  static constexpr unsigned kMeanKeys = 5;  // of the seven slots of a bucket
  static constexpr std::uint64_t kOffset = (std::uint64_t{1} << 40) - 1;
  static constexpr std::size_t kGranule = 8;
  static constexpr std::uint64_t kSeed = 1;
  static inline const simd::HashKeys kHashKeys = simd::derive_keys(kSeed);
  struct alignas(64) Bucket {
    std::uint64_t slots[7];
    std::uint64_t overflow;  // 0: none
  };
  // As long as Tern's.
  struct Header {
    std::uint64_t next_free;
    std::uint64_t unused;
    std::uint32_t key_bytes, value_bytes;
  };

  // Never 0, so that no empty slot matches.
  static std::uint32_t tag_of(std::uint64_t hash) { return static_cast<std::uint32_t>(hash & 0x7FFF) | 0x8000U; }
  Bucket& home(std::uint64_t hash) const {
    __extension__ using Wide = unsigned __int128;
    return buckets_[static_cast<std::uint64_t>(static_cast<Wide>(hash) * homes_ >> 64)];
  }
  Header& record(std::uint64_t slot) const { return *reinterpret_cast<Header*>(arena_.begin() + (slot & kOffset) * kGranule); }
  static char* key_of(Header& h) { return reinterpret_cast<char*>(&h + 1); }

  void fetch_record(std::uint64_t hash) const {
    const Bucket& b = home(hash);
    if (const unsigned mask = simd::match_tags(&b, tag_of(hash)); mask != 0) {
      const char* const at = reinterpret_cast<const char*>(&record(b.slots[__builtin_ctz(mask)]));
      __builtin_prefetch(at);
      __builtin_prefetch(at + 64);
      __builtin_prefetch(at + 107);
    }
  }

  std::uint64_t* find(std::string_view key, std::uint64_t hash) const {
    const std::uint32_t tag = tag_of(hash);
    for (Bucket* b = &home(hash);; b = &buckets_[b->overflow]) {
      for (unsigned mask = simd::match_tags(b, tag); mask != 0; mask &= mask - 1) {
        std::uint64_t& slot = b->slots[__builtin_ctz(mask)];
        Header& h = record(slot);
        if (h.key_bytes == key.size() && simd::key_equal(key_of(h), key.data(), key.size())) return &slot;
      }
      if (b->overflow == 0) return nullptr;
    }
  }

  bool copy_of(std::string_view key, std::uint64_t hash, char* out) const {
    const std::uint64_t* const slot = find(key, hash);
    if (slot == nullptr) return false;
    Header& h = record(*slot);
    simd::copy_bytes(out, key_of(h) + h.key_bytes, h.value_bytes);
    return true;
  }

  bool put(std::string_view key, std::uint64_t hash, std::string_view value) {
    const std::uint64_t made = make(key, value);
    if (made == 0) return false;
    const std::uint64_t word = made | std::uint64_t{tag_of(hash)} << simd::kTagShift;
    if (std::uint64_t* const slot = find(key, hash); slot != nullptr) {
      free(record(*slot), *slot & kOffset);
      *slot = word;
      return true;
    }
    for (Bucket* b = &home(hash);;) {
      for (std::uint64_t& slot : b->slots) {
        if (slot != 0) continue;
        slot = word;
        return true;
      }
      if (b->overflow == 0) {
        if ((next_bucket_ + 1) * sizeof(Bucket) > table_.size()) return false;
        b->overflow = next_bucket_++;
      }
      b = &buckets_[b->overflow];
    }
  }

  bool drop(std::string_view key, std::uint64_t hash) {
    std::uint64_t* const slot = find(key, hash);
    if (slot == nullptr) return false;
    free(record(*slot), *slot & kOffset);
    *slot = 0;
    return true;
  }

  static std::size_t rounded(std::size_t bytes) { return (bytes + kGranule - 1) & ~(kGranule - 1); }
  // 0: no room.
  std::uint64_t make(std::string_view key, std::string_view value) {
    const std::size_t bytes = rounded(sizeof(Header) + key.size() + value.size());
    std::uint64_t& head = free_[bytes / kGranule];
    std::uint64_t at = head;
    if (at != 0) {
      head = record(at).next_free;
    } else {
      if (used_ + bytes > arena_.size()) return 0;
      at = used_ / kGranule;
      used_ += bytes;
    }
    Header& h = record(at);
    h = {.next_free = 0, .unused = 0, .key_bytes = static_cast<std::uint32_t>(key.size()), .value_bytes = static_cast<std::uint32_t>(value.size())};
    simd::copy_bytes(key_of(h), key.data(), key.size());
    simd::copy_bytes(key_of(h) + key.size(), value.data(), value.size());
    return at;
  }
  void free(Header& h, std::uint64_t at) {
    std::uint64_t& head = free_[rounded(sizeof(Header) + h.key_bytes + h.value_bytes) / kGranule];
    h.next_free = head;
    head = at;
  }

  std::uint64_t homes_;
  Zeros table_;
  Zeros arena_;
  Bucket* buckets_;
  std::uint64_t next_bucket_;
  std::size_t used_ = kGranule;  // offset 0 is nobody's
  std::vector<std::uint64_t> free_;  // the first of each size in granules; 0: none
};

}  // namespace

StoreKind bare_store() {
  return {.name = "bare",
          .what = "Tern's layout without any of its promises: what there is to win",
          .yardstick = true,
          .groups = true,
          .make = &make_runner<BareAdapter>};
}

}  // namespace tern::bench
