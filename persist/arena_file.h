// ArenaFile: the file that a store in shared memory lies in, by one store's life of it.
//
//   0        header: what doesn't change while the store lives; from 2048 on, whether it came to its end in order
//   4096     roots (engine/table.h): homes of points, heads, shards
//   2 MiB    the heap (alloc/heap.h), its table at the front
//
// PATH.lock is locked as long as the store lives. A life begins in PATH.new, with what the one before has left in PATH; then PATH.new
// takes PATH's place. So PATH is whole at every moment, whoever is killed where, and is never written by a life after
// the one that it belongs to.
#ifndef TERN_PERSIST_ARENA_FILE_H_
#define TERN_PERSIST_ARENA_FILE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "alloc/platform.h"
#include "alloc/platform_shared.h"
#include "engine/store_core.h"
#include "persist/fault.h"
#include "persist/generations.h"

namespace tern::persist {

inline constexpr char kArenaMagic[8] = {'T', 'E', 'R', 'N', 'A', 'R', 'E', 'N'};
// Raised when anything that dead_arena.cc reads lies or means otherwise than before.
inline constexpr std::uint32_t kArenaLayout = 1;
inline constexpr std::uint64_t kStateAt = 2048, kRootsAt = 4096, kHeapAt = std::uint64_t{2} << 20;
static_assert(kRootsAt + detail::Roots<detail::StdSync>::bytes(detail::Roots<detail::StdSync>::kShardsMax) <= kHeapAt);

// What of the layout the compiler knows.
constexpr std::uint64_t layout_fingerprint() noexcept {
  using Sync = detail::StdSync;
  std::uint64_t print = 0;
  for (const std::uint64_t part : {std::uint64_t{detail::kSlots}, std::uint64_t{sizeof(detail::Bucket<Sync>)},
                                   std::uint64_t{detail::SlotWord::kTagShift}, std::uint64_t{detail::SlotWord::kStateShift},
                                   std::uint64_t{detail::kSplitsOpenMax}, std::uint64_t{detail::kRecordHeaderBytes},
                                   std::uint64_t{detail::Stamp::kKeyShift}, std::uint64_t{detail::Link::kLengthShift},
                                   std::uint64_t{detail::Deadline::kShift}, std::uint64_t{sizeof(detail::Shard<Sync>)},
                                   std::uint64_t{sizeof(detail::ShardHead<Sync>)}, std::uint64_t{sizeof(detail::Point<Sync>)},
                                   std::uint64_t{sizeof(detail::Space<Sync>::ExtentHeader)}, std::uint64_t{alloc::kUnitBytes}}) {
    print = (print ^ part) * 0x9E3779B97F4A7C15u;
  }
  return print;
}

struct ArenaHeader {
  char magic[8];
  std::uint32_t layout;
  std::uint32_t shard_count;
  std::uint64_t fingerprint;
  std::uint64_t heap_bytes;
  std::uint64_t chunk_shift;
  std::uint64_t hash_seed;
  std::uint64_t version_base;  // this life gives out no version, and no lease's id, below it
  std::uint64_t birth_wall_ms;
  std::uint64_t own_clock;     // 1: deadlines are by Options::clock, 0: by the system's
  char boot[alloc::platform::kBootIdBytes];
  std::uint64_t checksum;      // of all before it

  std::uint64_t sum() const noexcept;
};
static_assert(sizeof(ArenaHeader) == 120 && sizeof(ArenaHeader) <= kStateAt);

class ArenaFile final : public detail::Backing {
 public:
  static constexpr std::uint64_t kInUse = 1, kClosed = 2;

  explicit ArenaFile(std::string_view path) noexcept : names_(path) {}
  ~ArenaFile() override;

  FileName path() const noexcept { return names_.file(0); }
  // unavailable: another store or process has it.
  Error lock(Trouble& trouble) noexcept;
  // PATH.new, empty.
  Error create(Trouble& trouble) noexcept;
  // The store, which lies in it, is complete: PATH.new becomes PATH.
  Error take_place(const detail::StoreCore& store, bool own_clock, Trouble& trouble) noexcept;

  alloc::platform::File file() const noexcept override { return file_; }
  std::uint64_t heap_at() const noexcept override { return kHeapAt; }
  std::byte* roots(unsigned shards) noexcept override;
  void in_forked_child() noexcept override;

 private:
  Generations names_;  // and the lock
  alloc::platform::File file_;
  std::byte* front_ = nullptr;  // what lies before the heap
  bool is_in_place_ = false;
};

}  // namespace tern::persist

#endif  // TERN_PERSIST_ARENA_FILE_H_
