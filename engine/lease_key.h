// The entries that are leases, and how many there are. What a lease does to others: leases.h.
#ifndef TERN_ENGINE_LEASE_KEY_H_
#define TERN_ENGINE_LEASE_KEY_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "engine/names.h"

namespace tern::detail {

// As it is stored (names.h): the mark, and the id, its highest byte first. No call's key becomes one.
class LeaseKey {
 public:
  static constexpr std::size_t kBytes = kNameBytes + sizeof(std::uint64_t);

  explicit LeaseKey(std::uint64_t id) noexcept {
    std::memcpy(bytes_, NameMark(kLeasesName).bytes, kNameBytes);
    for (unsigned i = 0; i != 8; ++i) bytes_[kNameBytes + i] = static_cast<char>(id >> (56 - 8 * i));
  }
  std::string_view view() const noexcept { return {bytes_, kBytes}; }
  static bool is_one(std::string_view stored) noexcept { return stored.size() == kBytes && name_of(stored) == kLeasesName; }
  static std::uint64_t id_of(std::string_view stored) noexcept {
    std::uint64_t id = 0;
    for (unsigned i = 0; i != 8; ++i) id = id << 8 | static_cast<unsigned char>(stored[kNameBytes + i]);
    return id;
  }

 private:
  char bytes_[kBytes];
};

// What a lease's value says.
struct LeaseTerms {
  std::uint64_t ttl_ms = 0;
  bool lone = false;  // of one lock, which goes before its lease does
  static constexpr std::size_t kBytes = 9;

  void write(char* to) const noexcept {
    std::memcpy(to, &ttl_ms, sizeof ttl_ms);
    to[8] = lone ? 1 : 0;
  }
  // False: nothing that was written here.
  bool read(std::string_view value) noexcept {
    if (value.size() != kBytes) return false;
    std::memcpy(&ttl_ms, value.data(), sizeof ttl_ms);
    lone = value[8] != 0;
    return true;
  }
};

// A store's leases, counted.
template <class Sync>
struct LeaseState {
  using Word = typename Sync::template Atomic<std::uint64_t>;
  Word count{};  // leases that are there, those past their deadline included until they are removed
  Word given{};  // ids
  // Ends that may have left members, and those after which all buckets were gone over (leases.h).
  Word ended{};
  Word swept{};
  Word at{};  // a LeaseHand; 0: no lap is under way
  Word shared{};  // 1: something was attached to a lease that a lock had got for itself
  // Of a snapshot that is being loaded.
  Word came{};      // 1: something that names a lease is there
  Word incoming{};  // 1: what names one may be there before the lease is

  // `id` has been given, in this life (past `base`) or before.
  void note(std::uint64_t id, std::uint64_t base) noexcept {
    came.store(1, std::memory_order_relaxed);                    // looked at by who has brought it, or all
    std::uint64_t last = given.load(std::memory_order_relaxed);  // shared out
    while (id > base && last < id - base && !given.compare_exchange_weak(last, id - base, std::memory_order_relaxed)) {  // as above
    }
  }
};

// Where the lap over the buckets is: 63..43 the ends that it is for | 42..32 shard | 31..0 bucket, plus one.
class LeaseHand {
 public:
  static constexpr unsigned kEndsShift = 43;
  static constexpr std::uint64_t kEndsMask = (std::uint64_t{1} << 21) - 1;
  constexpr explicit LeaseHand(std::uint64_t word) noexcept : word_(word) {}
  static constexpr LeaseHand first(std::uint64_t ends) noexcept { return LeaseHand((ends & kEndsMask) << kEndsShift | 1); }
  constexpr std::uint64_t word() const noexcept { return word_; }
  constexpr std::uint64_t ends() const noexcept { return word_ >> kEndsShift; }
  constexpr unsigned shard() const noexcept { return static_cast<unsigned>(word_ >> 32 & 0x7FF); }
  constexpr std::uint32_t bucket() const noexcept { return static_cast<std::uint32_t>(word_) - 1; }
  constexpr LeaseHand next_bucket() const noexcept { return LeaseHand(word_ + 1); }
  constexpr LeaseHand next_shard() const noexcept { return LeaseHand((word_ >> 32 << 32) + (std::uint64_t{1} << 32) + 1); }

 private:
  std::uint64_t word_;
};
static_assert(LeaseHand::first(7).bucket() == 0 && LeaseHand::first(7).next_bucket().bucket() == 1 &&
              LeaseHand::first(7).next_bucket().next_shard().bucket() == 0 && LeaseHand::first(7).next_shard().shard() == 1 &&
              LeaseHand::first(LeaseHand::kEndsMask + 3).ends() == 2);

}  // namespace tern::detail

#endif  // TERN_ENGINE_LEASE_KEY_H_
