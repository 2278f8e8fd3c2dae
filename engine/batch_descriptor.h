// BatchDescriptor: what all records of one batch refer to until they are settled (batch.h): one word that decides for
// all, the keys in the one order in which everybody installs them, and what the batch asks of the state before it.
//
//   state   63..62 phase | 47..0 stamp                                       COMMITTED
//           63..62 phase | 33..32 why | 31..16 entry | 15..0 operation      ABORTED
//
// Lies in the value of a record of its own that no slot knows, so that it is made, freed and counted as records are.
#ifndef TERN_ENGINE_BATCH_DESCRIPTOR_H_
#define TERN_ENGINE_BATCH_DESCRIPTOR_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "engine/space.h"

namespace tern::detail {

inline constexpr std::size_t kBatchMax = 4'096;  // operations

class BatchState {
 public:
  enum class Phase : std::uint8_t {
    kUndecided = 0,
    kCommitting = 1,  // every record is installed and every condition held; whoever comes next gives the stamp
    kCommitted = 2,
    kAborted = 3,
  };
  enum class Why : std::uint8_t {
    kCondition = 0,  // the operation's was not met
    kKept = 1,       // a lifetime to be kept turned out to be of another kind, or metadata to be others: its owner tries again
    kMemory = 2,     // there was none to go on with
    // An invalidation point, a deadline or a lease's end came between its conditions and its stamp, or the first listener: its
    // owner tries again.
    kPoint = 3,
  };
  constexpr explicit BatchState(std::uint64_t word) noexcept : word_(word) {}
  static constexpr BatchState undecided() noexcept { return BatchState(0); }
  static constexpr BatchState in_commit() noexcept { return BatchState(std::uint64_t{1} << 62); }
  static constexpr BatchState committed_at(std::uint64_t stamp) noexcept {
    return BatchState(std::uint64_t{2} << 62 | (stamp & kStampMask));
  }
  static constexpr BatchState aborted_at(Why why, std::size_t entry, std::size_t operation) noexcept {
    return BatchState(std::uint64_t{3} << 62 | std::uint64_t(why) << 32 | std::uint64_t{entry} << 16 | operation);
  }
  constexpr std::uint64_t word() const noexcept { return word_; }
  constexpr Phase phase() const noexcept { return static_cast<Phase>(word_ >> 62); }
  constexpr bool is_undecided() const noexcept { return phase() == Phase::kUndecided; }
  constexpr bool committing() const noexcept { return phase() == Phase::kCommitting; }
  constexpr bool committed() const noexcept { return phase() == Phase::kCommitted; }
  constexpr bool aborted() const noexcept { return phase() == Phase::kAborted; }
  constexpr std::uint64_t stamp() const noexcept { return word_ & kStampMask; }
  constexpr Why why() const noexcept { return static_cast<Why>(word_ >> 32 & 3); }
  constexpr std::uint32_t entry() const noexcept { return static_cast<std::uint32_t>(word_ >> 16 & 0xFFFF); }
  constexpr std::uint32_t operation() const noexcept { return static_cast<std::uint32_t>(word_ & 0xFFFF); }

 private:
  std::uint64_t word_;
};
static_assert(kBatchMax <= 0xFFFF, "an entry's and an operation's number fit the state");

// One key of a batch.
struct BatchEntry {
  std::uint64_t hash = 0;
  std::uint64_t record = 0;    // what is to be the key's
  std::uint64_t reserved = 0;  // of the bound on entries
  // With conditions, the number of the first. Without, for the owner alone: where it found the key (short_batch.h), or 0.
  std::uint64_t first_condition_or_slot = 0;
  std::uint32_t operation = 0;
  std::uint16_t condition_count = 0;
  std::uint8_t gen = 0;            // of the incarnation that may begin
  bool keeps_lifetime = false;     // of what it replaces
};
static_assert(sizeof(BatchEntry) == 40);

struct BatchCondition {
  enum class Kind : std::uint8_t { kAbsent, kPresent, kVersion, kValue };
  std::uint64_t version_or_size = 0;
  std::uint64_t value_at = 0;  // from the descriptor's beginning
  std::uint32_t operation = 0;
  Kind kind = Kind::kAbsent;
  bool negated = false;
  bool is_of_kept = false;  // nobody's: by what is there, the metadata were read that a set is to keep
};
static_assert(sizeof(BatchCondition) == 24);

template <class Sync>
struct BatchDescriptor {
  typename Sync::template Atomic<std::uint64_t> state;
  // Written before the first record is installed, and never again.
  std::uint64_t now_ms;  // by which lifetimes are judged
  std::uint64_t began;   // the view clock then, plus one, if anything depends on the state before; else 0
  std::uint64_t home;    // the record that it lies in
  typename Sync::template Atomic<std::uint64_t> mortal;  // 1: something that it depends on has a deadline or a lease
  typename Sync::template Atomic<std::uint64_t> told;    // of how many changes listeners will hear, plus one; 0: not counted
  std::uint32_t count;   // of entries, in order of (hash, key)
  std::uint32_t conditions_at;
  bool is_named;         // its records have room for what listeners are told of it
  BatchEntry* entries() noexcept { return reinterpret_cast<BatchEntry*>(this + 1); }
  BatchCondition* conditions() noexcept {
    return reinterpret_cast<BatchCondition*>(reinterpret_cast<char*>(this) + conditions_at);
  }
  std::string_view value_of(const BatchCondition& c) const noexcept {
    return {reinterpret_cast<const char*>(this) + c.value_at, c.version_or_size};
  }

  static BatchDescriptor& at(const Space<Sync>& space, std::uint64_t offset) noexcept {
    return *space.heap.template at<BatchDescriptor>(offset);
  }
  std::uint64_t offset(const Space<Sync>& space) const noexcept {
    return static_cast<std::uint64_t>(reinterpret_cast<const std::byte*>(this) - space.heap.base()) / alloc::kUnitBytes;
  }
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_BATCH_DESCRIPTOR_H_
