// DeadArena: the file of a store whose process is gone (arena_file.h), read as PROTOCOLS.md K says: what counts of each key, at the
// moment when all of its threads stopped.
//
// That moment is one state of the memory. So everything holds that holds while threads run: what a slot leads to isn't freed, and
// what was published is whole. What is to be decided for each key is what a thread would decide that met it now, alone:
//
//   slot      TENT: nothing.  LIVE: counts.  FROZEN: counts where it is, unless the bucket it was on its way to is initialised: then there
//   bucket    not initialised: what is in it is its source's still
//   record    PENDING: counts, as the last; made from something that a point has killed since: nothing
//             BATCH: committed: counts; else what is below it, for nobody has seen the batch, and its call hasn't returned
//             a husk: what is below it.  A tomb, or what a loader called absent: nothing
//   point     with a stamp: what it covers with a stamp of at most that is dead. PENDING: its call hasn't returned, nobody has seen it
//   deadline  passed: nothing, counted
//
// The allocator's accounts, queues, the wheel, the index, epochs and counts aren't looked at: the new store makes its own.
//
// Nothing of the file is believed: each place is looked up in `data_` before it is touched, which has the pages that hold anything. (A
// page that a mapping of a sparse file has no memory for is a fault if there is none to be had.) So a damaged file, or anything
// else, is an error that says where. A file that somebody cuts off while it is read is a fault: it is its owner's alone.
#ifndef TERN_PERSIST_DEAD_ARENA_H_
#define TERN_PERSIST_DEAD_ARENA_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "alloc/platform.h"
#include "engine/intake.h"
#include "persist/arena_file.h"
#include "persist/fault.h"
#include "persist/planted_bug.h"
#include "simd/hash.h"

namespace tern::persist {

// Bugs to plant in it.
enum class DeadBug : std::uint8_t {
  kNone,
  kTentativeCounts,      // an insert that wasn't finished counts
  kUndecidedCounts,      // a batch that wasn't decided counts
  kFrozenPasses,         // what was on its way to another bucket is taken for moved
  kUninitialisedCounts,  // what is in a bucket that isn't complete counts
  kTombPasses,           // a removal gives way to what is below
  kPointPasses,          // what was cleared counts
  kMadeOutlives,         // what was made from something that was cleared since counts
  kBaseStays,            // versions go on where the life before began
};

class DeadArena {
 public:
  using Sync = detail::StdSync;
  // Where bytes are put together that lie in pages of which the file has only some.
  class Scratch {
   public:
    Scratch() = default;
    ~Scratch();
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    char* room_for(std::uint64_t bytes) noexcept;  // null: no memory

   private:
    char* bytes_ = nullptr;
    std::uint64_t room_ = 0;
  };

  DeadArena() = default;
  ~DeadArena();
  DeadArena(const DeadArena&) = delete;
  DeadArena& operator=(const DeadArena&) = delete;

  // not_found, io, corrupt, unsupported, out_of_memory.
  Error open(const FileName& name, Trouble& trouble) noexcept;

  const ArenaHeader& header() const noexcept { return header_; }
  const char* name() const noexcept { return name_.text; }
  bool was_closed() const noexcept { return was_closed_; }
  // About; as the file says.
  std::uint64_t entries() const noexcept { return entries_; }
  // Of what the shards say of removed keys, and the base: each entry has its own.
  std::uint64_t version_max() const noexcept { return version_max_; }

  // fn(const TakenIn&, std::uint64_t hash) -> Error for each entry of the shard, those past their deadline included; ends at the
  // first error. `keys` are derived from the header's seed. What fn gets is good during the call. `version_max` grows to that of
  // all records met. From several threads, each with its own `scratch` and `trouble`.
  template <class Fn>
  Error for_each_entry(unsigned shard, const simd::HashKeys& keys, Scratch& scratch, std::uint64_t& version_max, Trouble& trouble,
                       Fn&& fn) const noexcept {
    const detail::ShardSize size = sizes_[shard];
    for (std::uint32_t b = 0; b != size.buckets(); ++b) {
      std::uint64_t steps = 0;
      Lines line;
      if (!is_authority(shard, size, b, line)) {
        if (b + detail::kSplitsOpenMax >= size.buckets()) continue;
        return damaged(bucket_at(shard, b), trouble, "a bucket of the table was never made");
      }
      for (std::uint64_t at = bucket_at(shard, b);;) {
        for (unsigned i = 0; i != detail::kSlots; ++i) fetch(detail::SlotWord(line.word[i]));
        for (unsigned i = 0; i != detail::kSlots; ++i) {
          const detail::SlotWord w(line.word[i]);
          detail::TakenIn in;
          std::uint64_t hash = 0;
          const char* wrong = nullptr;
          const Counts counts = look(w, shard, size, b, keys, scratch, version_max, in, hash, wrong);
          if (wrong != nullptr) return damaged(at + 8 * i, trouble, wrong);
          if (counts == Counts::kNoMemory) return no_memory(trouble);
          if (counts == Counts::kNo) continue;
          if (const Error e = fn(static_cast<const detail::TakenIn&>(in), hash); e.status != Status::kOk) return e;
        }
        const std::uint64_t next = detail::Ctl(line.word[detail::kSlots]).overflow();
        if (next == 0) break;
        at = heap_place(next);
        if (++steps > header_.heap_bytes / sizeof(Lines) || !read_line(at, line)) {
          return damaged(at, trouble, "a bucket's overflow lies nowhere");
        }
      }
    }
    return {};
  }

  Error damaged(std::uint64_t at, Trouble& trouble, const char* what) const noexcept {
    return trouble.damaged(name_.text, at, what);
  }

 private:
  static constexpr unsigned kPageShift = 12;
  static constexpr std::uint64_t kNowhere = ~std::uint64_t{0};
  static constexpr unsigned kChainMax = 1 << 16;  // records of one key

  enum class Counts : std::uint8_t { kNo, kYes, kNoMemory };
  // A bucket as it lies.
  struct Lines {
    std::uint64_t word[detail::kSlots + 1];
  };
  // A record's words, and where it lies.
  struct Words {
    std::uint64_t at = 0;  // in the file
    detail::Stamp stamp{0};
    detail::Link link{0};
    detail::Hold hold{0};
  };
  struct Point {
    std::uint64_t stamp;
    unsigned name;
    detail::PointScope::Kind kind;
    std::string_view bytes;
  };

  Error no_memory(Trouble& trouble) const noexcept {
    return trouble.refused(name_.text, {Status::kOutOfMemory, Field::kNone}, "no memory to bring its entries over");
  }

  // Null: not all of it is in the file and holds anything.
  const char* at(std::uint64_t from, std::uint64_t bytes) const noexcept {
    if (from > file_bytes_ || bytes > file_bytes_ - from) return nullptr;
    const std::uint64_t last = (from + bytes - 1) >> kPageShift;
    for (std::uint64_t page = from >> kPageShift; page <= last; ++page) {
      if ((data_[page / 64] >> page % 64 & 1) == 0) return nullptr;
    }
    return map_ + from;
  }
  std::uint64_t word_at(const char* from) const noexcept {
    std::uint64_t word;
    std::memcpy(&word, from, sizeof word);
    return word;
  }
  // Where an offset of the heap lies in the file.
  std::uint64_t heap_place(std::uint64_t offset) const noexcept {
    const std::uint64_t place = offset * alloc::kUnitBytes;
    return offset != 0 && place < header_.heap_bytes ? kHeapAt + place : kNowhere;
  }
  std::uint64_t bucket_at(unsigned shard, std::uint32_t b) const noexcept {
    const std::uint64_t in_shard = std::uint64_t{b} * sizeof(Lines);
    const std::uint64_t chunks = in_shard & ~((std::uint64_t{1} << header_.chunk_shift) - 1);
    return kHeapAt + (std::uint64_t{shard} << header_.chunk_shift) + in_shard + chunks * (header_.shard_count - 1);
  }
  // Of a bucket in a page that holds nothing: zeros, as it was never made.
  bool read_line(std::uint64_t from, Lines& line) const noexcept {
    const char* const found = from % sizeof line == 0 ? at(from, sizeof line) : nullptr;
    if (found == nullptr) return false;
    std::memcpy(&line, found, sizeof line);
    return true;
  }
  bool is_authority(unsigned shard, detail::ShardSize size, std::uint32_t b, Lines& line) const noexcept {
    if (b >= size.buckets() || !read_line(bucket_at(shard, b), line)) return false;
    return detail::Ctl(line.word[detail::kSlots]).initialised() || planted(DeadBug::kUninitialisedCounts);
  }
  void fetch(detail::SlotWord w) const noexcept {
    const std::uint64_t place = w.is_current() ? heap_place(w.offset()) : kNowhere;
    if (const char* const found = place != kNowhere ? at(place, detail::kRecordHeaderBytes) : nullptr) detail::prefetch_near(found);
  }

  // Each answers what is wrong through `wrong`, if anything is.
  Counts look(detail::SlotWord w, unsigned shard, detail::ShardSize size, std::uint32_t b, const simd::HashKeys& keys, Scratch& scratch,
              std::uint64_t& version_max, detail::TakenIn& in, std::uint64_t& hash, const char*& wrong) const noexcept;
  // The record that counts of those from `words` on, and its stamp; false: none does.
  bool resolve(Words& words, std::uint64_t& stamp, const char*& wrong) const noexcept;
  bool is_dead(const Words& words, std::uint64_t stamp, const detail::TakenIn& in, const char*& wrong) const noexcept;
  bool words_at(std::uint64_t offset, Words& words, const char*& wrong) const noexcept;
  // Key, tags, lengths and deadline; the value if `scratch` isn't null. False: wrong, or no memory.
  bool read_record(const Words& words, Scratch* scratch, detail::TakenIn& in, const char*& wrong) const noexcept;
  bool covers(const Point& point, const detail::TakenIn& in) const noexcept;
  const char* bytes_at(std::uint64_t from, std::uint64_t size, Scratch& scratch, const char*& wrong) const noexcept;

  const char* read_pages() noexcept;
  const char* read_roots() noexcept;
  const char* read_points() noexcept;

  FileName name_{};
  alloc::platform::File file_;
  ArenaHeader header_{};
  std::uint64_t file_bytes_ = 0;
  const char* map_ = nullptr;
  std::uint64_t* data_ = nullptr;  // a bit for each page
  detail::ShardSize* sizes_ = nullptr;
  Point points_[detail::Points<Sync>::kMax];
  unsigned point_count_ = 0;
  bool was_closed_ = false;
  std::uint64_t entries_ = 0;
  std::uint64_t version_max_ = 0;
};

}  // namespace tern::persist

#endif  // TERN_PERSIST_DEAD_ARENA_H_
