// One thread's share of a save: it takes shard after shard, walks the view through it, and writes what it finds.
//
//   under a guard   some steps of the walk; records that fit are copied to the open block, long ones are held
//   outside of it   full blocks go to the file together, held values go there from where they lie
//
// So no file operation delays reclamation, and memory is a few blocks, their entries in the directory and nothing that grows
// with values. A block of 64 KiB is what a first get waits for, and would be a small piece to write: the system takes a quarter
// less time for the same bytes in pieces of 256 KiB. While another thread writes, up to twice as much is gathered. A block ends at the end of a step: its keys are all those of one piece of the walk's line. Blocks take
// their places in the file as they are done, whoever writes them, so nothing is left between them.
//
// Edges
//   shard-written   a shard is walked to its end / who gives up what is kept for the shards before: that nobody walks them
#ifndef TERN_PERSIST_WALKER_H_
#define TERN_PERSIST_WALKER_H_

#include <atomic>
#include <cstdint>

#include <tern/snapshot.h>

#include "alloc/platform.h"
#include "engine/look_ahead.h"
#include "engine/store_core.h"
#include "engine/views.h"
#include "persist/codec.h"
#include "persist/early_sync.h"
#include "persist/fault.h"
#include "persist/format.h"
#include "persist/generations.h"
#include "persist/planted_bug.h"

namespace tern::persist {

// Entries of the directory as they come.
class BlockList {
 public:
  BlockList() = default;
  ~BlockList();
  BlockList(const BlockList&) = delete;
  BlockList& operator=(const BlockList&) = delete;
  bool add(const BlockEntry& e) noexcept;  // false: no memory
  std::uint64_t count() const noexcept { return count_; }
  const BlockEntry* data() const noexcept { return entries_; }
  BlockEntry& operator[](std::uint64_t i) noexcept { return entries_[i]; }

 private:
  BlockEntry* entries_ = nullptr;
  std::uint64_t count_ = 0;
  std::uint64_t room_ = 0;
};

// What the threads of one save share. Counts are relaxed: each is read alone, and the last time when the threads have ended.
struct SaveWork {
  detail::StoreCore& store;
  const SaveOptions& options;
  const FileName& temporary;
  const Header& header;  // seed, generation and version alone
  alloc::platform::File file{};
  detail::ViewHandle<detail::StdSync> view{};
  std::uint64_t wall_ms = 0;  // of the view's moment
  Codec codec = Codec::kNone;
  std::uint64_t started_ns = 0;
  // By shard: what its writer says. `first_block` counts in that thread's own list.
  struct ShardDone {
    ShardEntry entry;
    unsigned walker;
    std::atomic<bool> written;
  };
  ShardDone* shards = nullptr;
  std::atomic<unsigned> next_shard{0};
  std::atomic<unsigned> given_up{0};  // shards whose versions the view needs no more
  std::atomic<std::uint64_t> end{kHeaderBytes};  // of the blocks that have their places
  std::atomic<std::uint64_t> entries_written{0};
  std::atomic<std::uint64_t> bytes_written{kHeaderBytes};
  std::atomic<bool> is_written_to{false};  // some thread is in a call that does
  std::atomic<bool> stops{false};  // one has failed, or it was given up
  std::atomic<unsigned> at_work{0};  // threads beside the caller's
  EarlySync early_sync{};
};

// Bugs to plant in it.
enum class WalkBug : std::uint8_t {
  kNone,
  kCopiesUnguarded,  // a step's records are copied when its guard has ended
  kCopiesUnmasked,   // ... with what their words mean in the arena alone
  kWaitsToWrite,     // who finds another writing to the file waits for that
};

class Walker {
 public:
  using Thr = detail::Thread<detail::StdSync>;

  Walker(SaveWork& work, unsigned number) noexcept : work_(work), core_(work.store.core), number_(number) {}
  ~Walker();
  Walker(const Walker&) = delete;
  Walker& operator=(const Walker&) = delete;

  bool prepare() noexcept;  // false: no memory
  // Until no shard is left, or one of the threads has failed or was stopped. `goes_on` is asked after each block.
  void run(Thr& t, FunctionRef<bool()> goes_on) noexcept;

  // After run, by whoever has seen it end.
  const Trouble& trouble() const noexcept { return trouble_; }
  const BlockList& blocks() const noexcept { return blocks_; }
  std::uint64_t version_max() const noexcept { return version_max_; }
  bool has_metadata() const noexcept { return has_metadata_; }  // some entry that it wrote

 private:
  using ViewsNow = detail::Views<detail::StdSync>;
  struct Long {
    FileRecord record;
    std::uint64_t offset;
    std::uint64_t place;
  };
  static constexpr std::uint64_t kWriteBytes = 256 << 10;
  static constexpr std::uint64_t kWriteBytesMax = 2 * kWriteBytes;  // while another is at it
  static constexpr std::size_t kBufferBytes = kWriteBytesMax + kBlockBytes + ViewsNow::kStepKeys * (kRecordInBlockMax + 8);
  static_assert(kWriteBytesMax + kPackedPlainMax <= kBufferBytes, "a record that is packed alone fits");
  static constexpr unsigned kNotHeld = ~0u;
  static constexpr unsigned kStepsAGuard = 8;  // about 35 entries

  // False, as the rest answers what has failed or was stopped.
  bool refuse(Error why, const char* what) noexcept;
  bool failed(const char* what, int system_error) noexcept;
  bool walk(Thr& t, unsigned shard, FunctionRef<bool()> goes_on) noexcept;
  void give_up(Thr& t) noexcept;
  FileRecord file_record(const detail::Head<detail::StdSync>& h, std::string_view key) const noexcept;
  unsigned take(Thr& t, std::uint64_t first) noexcept;  // of a step: how many are held; kNotHeld: one can't be
  std::uint64_t open_bytes() const noexcept { return used_ - block_at_; }
  bool end_block(FunctionRef<bool()> goes_on) noexcept;
  bool write_some() noexcept;  // unless another thread is just writing, and there is room
  bool write_out() noexcept;
  void send(std::uint64_t at, std::uint64_t bytes) noexcept;
  bool add(const BlockEntry& b) noexcept;
  bool write_long(const Long& l, FunctionRef<bool()> goes_on) noexcept;
  bool put_block(BlockEntry b, FunctionRef<bool()> goes_on) noexcept;
  bool after_block(const BlockEntry& b, FunctionRef<bool()> goes_on) noexcept;

  SaveWork& work_;
  detail::Core<detail::StdSync>& core_;
  const unsigned number_;  // among the save's walkers
  Trouble trouble_;
  BlockList blocks_;
  std::uint64_t version_max_ = 0;
  bool has_metadata_ = false;
  std::uint64_t entries_ = 0;  // of the shard
  char* buffer_ = nullptr;
  Packer packer_;
  std::uint64_t unplaced_ = 0;  // of blocks_: the first that may have no place yet
  // The open block, behind those that are full.
  std::uint64_t block_at_ = 0;
  std::uint64_t used_ = 0;
  std::uint32_t records_ = 0;
  std::uint64_t first_place_ = 0;
  std::uint64_t last_place_ = 0;
  detail::LookAhead<detail::StdSync> look_ahead_;
  ViewsNow::Step step_;
  Long long_[ViewsNow::kStepKeys];  // held, of the last step
};

}  // namespace tern::persist

#endif  // TERN_PERSIST_WALKER_H_
