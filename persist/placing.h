// Placing: the records of one block become entries of a store, or are left out: expired, or no room where something is evicted.
#ifndef TERN_PERSIST_PLACING_H_
#define TERN_PERSIST_PLACING_H_

#include <cstdint>

#include "engine/intake.h"
#include "engine/store_core.h"
#include "persist/reader.h"

namespace tern::persist {

// One moment by both clocks.
struct Instant {
  std::uint64_t wall_ms = 0;   // since 1970
  std::uint64_t store_ms = 0;  // the store's clock
};

class Placing {
 public:
  using Thr = detail::Thread<detail::StdSync>;
  // Whether other threads may be at the same shard.
  enum class Others : std::uint8_t { kNone, kInside };

  Placing(const Reader& reader, detail::StoreCore& store, const Instant& opened) noexcept
      : reader_(reader), store_(store), opened_(opened) {}

  // The block is in `buffer`, verified. Without others a key that is there already is damage, and what doesn't fit is
  // out_of_range; with others the first is passed over (the block is brought again after it found no memory), and the second
  // is out_of_memory.
  Error place_block(Thr& t, unsigned shard, std::uint64_t block, const BlockBuffer& buffer, Others others, Trouble& trouble) noexcept;

  std::uint64_t placed = 0;
  std::uint64_t expired = 0;
  std::uint64_t left_out = 0;

 private:
  const Reader& reader_;
  detail::StoreCore& store_;
  const Instant opened_;
};

// To the store's log, if there were any.
void tell_left_out(const detail::StoreCore& store, std::uint64_t entries) noexcept;

}  // namespace tern::persist

#endif  // TERN_PERSIST_PLACING_H_
