// An entry of eviction's queues: names a key's incarnation in the table without an offset (rule Q2), so that queues hold
// back no memory and nobody has to take an entry out when its key goes.
//
//   entry   63..58 gen6 | 57..43 tag15 | 42..  shard and bucket, as many bits as this store's table can have | age | 0 counted
//
// counted: the policy has counted the key's arrival.
// That says which slot: the one in its bucket's chain with this tag and this generation. None has: the entry is void,
// and dropped when it is met. (Another key of the same chain, tag and generation: one in some millions, and a cache may
// evict it.) An overwrite keeps the slot's generation and the record's access count, and so the key's place; a key that
// comes back gets another generation.
#ifndef TERN_ENGINE_QUEUE_ENTRY_H_
#define TERN_ENGINE_QUEUE_ENTRY_H_

#include <bit>
#include <cstdint>

#include "engine/table.h"

namespace tern::detail {

// How an entry is packed in one store.
class EntryFormat {
 public:
  EntryFormat() = default;
  EntryFormat(unsigned shard_count, std::uint64_t buckets_max) noexcept
      : bucket_bits_(static_cast<unsigned>(std::bit_width(buckets_max | kFirstBuckets))) {
    const auto shard_bits = static_cast<unsigned>(std::countr_zero(shard_count));
    age_bits_ = 64 - kGenBits - kTagBits - shard_bits - bucket_bits_ - 1;
    shard_shift_ = (64 - shard_bits) % 64;  // of one shard there is nothing to shift
    bucket_mask_ = mask(bucket_bits_);
    shard_mask_ = mask(shard_bits);
  }

  // What a table with this many buckets a shard can name: a home's mask may be one bit wider than N.
  static constexpr unsigned kGenBits = 6;
  static constexpr unsigned kTagBits = 15;
  static constexpr unsigned kAgeBitsMin = 5;
  static constexpr std::uint64_t kCounted = 1;

  unsigned age_bits() const noexcept { return age_bits_; }
  // An entry without an age, which may be 0.
  std::uint64_t pack(std::uint64_t hash, unsigned gen) const noexcept {
    const std::uint64_t place = (hash & bucket_mask_) | (hash >> shard_shift_ & shard_mask_) << bucket_bits_;
    return std::uint64_t{gen & 63} << (64 - kGenBits) |
           (hash >> 33 & mask(kTagBits)) << (64 - kGenBits - kTagBits) | place << place_shift();
  }
  // Never 0 and never all ones, which queues keep for themselves.
  std::uint64_t with_age(std::uint64_t entry, std::uint64_t age) const noexcept {
    const std::uint64_t range = (std::uint64_t{1} << age_bits_) - 2;
    return (entry & ~(mask(age_bits_) << 1)) | (age % range + 1) << 1;
  }
  static bool counted(std::uint64_t entry) noexcept { return (entry & kCounted) != 0; }
  static unsigned gen(std::uint64_t entry) noexcept { return static_cast<unsigned>(entry >> (64 - kGenBits)); }
  std::uint64_t age(std::uint64_t entry) const noexcept { return entry >> 1 & mask(age_bits_); }
  // The hash, as far as the table asks for it: shard, tag and bucket.
  std::uint64_t hash(std::uint64_t entry) const noexcept {
    const std::uint64_t place = entry >> place_shift();
    return (place & bucket_mask_) | (entry >> (64 - kGenBits - kTagBits) & mask(kTagBits)) << 33 |
           (place >> bucket_bits_ & shard_mask_) << shard_shift_;
  }
  // Whether `a` was pushed before `b`, both being the ages of entries that are in queues now.
  bool older(std::uint64_t a, std::uint64_t b) const noexcept {
    const std::uint64_t range = (std::uint64_t{1} << age_bits_) - 2;
    const std::uint64_t ahead = b >= a ? b - a : b + range - a;
    return ahead != 0 && ahead < range / 2;
  }

 private:
  unsigned place_shift() const noexcept { return age_bits_ + 1; }
  static constexpr std::uint64_t mask(unsigned bits) noexcept { return (std::uint64_t{1} << bits) - 1; }
  unsigned bucket_bits_ = 0;
  unsigned age_bits_ = 0;
  unsigned shard_shift_ = 0;
  std::uint64_t bucket_mask_ = 0;
  std::uint64_t shard_mask_ = 0;
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_QUEUE_ENTRY_H_
