// The heap: one reserved range of memory under one hard budget.
//
//   base: offset 0
//   | table range       | accounts | granule | granule | granule |  ...                |
//   | chunks, committed | fixed    | spans of one class ...  ->  <- ... extents        |
//   | by the engine     | overhead |                                                   |
//
// The bytes. Everything that lives here is named by its offset from base in units of 8 bytes; 0
// names nothing. The page range is cut into granules of 64 KiB (granules.h). A span is one granule,
// 8 (512 KiB) in a heap of 128 MiB and more, 32 (2 MiB) in one of 2 GiB and more; it holds blocks of one size class
// (spans.h). An extent is a run of granules for one large value. The accounts lie in the range too, so that a
// caller's region holds all there is.
//
// A block's way. `allocate` pops the thread's magazine for the class; an empty magazine takes a
// batch from the lowest span with free blocks; without such a span an empty span of any class, or
// fresh granules, become one of this class; without those a free block of up to a quarter more serves;
// without such the magazines of this thread go back and it looks once more. `free` pushes; a full magazine gives its older half back, neighbours of one
// bitmap word together. What may be of many sizes (allocate_between) takes what the thread has at hand rather.
//
// Conservation, in pages of 4 KiB, at every instant:
//
//   limit >= used >= table chunks + span granules + extent granules + accounts
//
// with equality on the right when no call is under way: a charge comes before its memory is taken,
// a refund after it was let go. The reserve for removals is charged at open and its spans serve
// allocate_reserve alone. The resident set is held to the limit too: granules that were let go keep
// their memory while there is room, and give it back to the kernel when something else needs it.
//
// Concurrency. All of allocate, allocate_reserve, free, allocate_extent, free_extent, commit_table,
// uncommit_table, resize and the figures may run at once, each thread with a Cache of its own; open
// and the destructor alone; for_each_block and verify while nobody allocates or frees. Lock-free
// throughout. A thread stopped for ever keeps what its Cache holds, and at most one batch, one span
// or one extent that it was moving.
//
// Edges (memory order): [block], [span-state], [listed] in spans.h; [granule] in granules.h;
// [drain] in drain-inl.h.
//
// Cost: allocate and free from the magazine are about ten instructions each and touch the thread's
// lines and one line of a byte table; a batch costs one exchange on the span's state and one on
// each bitmap word.
#ifndef TERN_ALLOC_HEAP_H_
#define TERN_ALLOC_HEAP_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "alloc/budget.h"
#include "alloc/granules.h"
#include "alloc/platform.h"
#include "alloc/platform_shared.h"
#include "alloc/poison.h"
#include "alloc/private_memory.h"
#include "alloc/size_classes.h"
#include "alloc/spans.h"
#include "alloc/sync.h"
#include "alloc/table_range.h"

namespace tern::alloc {

enum class Error : std::uint8_t {
  kNone,
  kOutOfMemory,      // the system refused the mapping, or memory to fault it in: ask for less
  kInvalidArgument,  // a size below its least, not a multiple as stated, or a region too small
  kTooLarge,  // past what offsets of 40 bits or a budget of 32 bits of pages can name (8 TiB)
};

struct HeapOptions {
  std::size_t memory_bytes = 0;  // the hard budget, over everything in the range; at least 4 MiB
  std::size_t memory_bytes_max = 0;  // what resize may raise it to; 0: memory_bytes
  std::size_t table_bytes_max = 0;   // range for the table at the front; a multiple of 64 KiB
  void* region = nullptr;            // the caller's memory instead of a mapping; kept by the caller
  std::size_t region_bytes = 0;
  // Instead of a mapping of no file: the range is this file's from `file_at` on, a multiple of 2 MiB, and the file gets as long as
  // that. Outlives the heap. Small pages, unless the file system gives others by itself.
  platform::File file{};
  std::uint64_t file_at = 0;
  bool huge_pages = true;  // ask for them; refusal is no error
  bool prefault = false;   // fault memory_bytes in at open
  // What a thread's magazine of one class may hold: this many bytes, and no more than 1/512 of the
  // budget, and this many blocks; but at least 2 blocks of up to 16 KiB, and none that are larger.
  std::size_t magazine_bytes = 32 << 10;
  std::uint32_t magazine_blocks_max = 128;
};

struct ClassStats {
  std::size_t block_bytes = 0;
  std::size_t spans = 0;
  std::size_t blocks_total = 0;
  std::size_t blocks_free = 0;  // in bitmaps; blocks in magazines count as handed out
};

struct Stats {
  std::size_t limit_bytes = 0;
  std::size_t used_bytes = 0;   // the sum of the next four
  std::size_t table_bytes = 0;  // chunks committed
  std::size_t span_bytes = 0;   // with the reserve's
  std::size_t extent_bytes = 0;
  std::size_t overhead_bytes = 0;      // accounts
  std::size_t reserve_bytes = 0;       // spans kept for removals
  std::size_t resident_bytes = 0;      // estimate: memory that the kernel keeps for the range
  std::size_t decommitted_bytes = 0;   // given back to the kernel since open
  std::size_t huge_asked_bytes = 0;    // ranges for which huge pages were asked
  std::size_t huge_granted_bytes = 0;  // ... and the kernel took the advice
  std::size_t class_count = 0;
  ClassStats classes[kAllClasses] = {};  // the last is the reserve's
};

// Sizes that tests make small.
struct DefaultShape {
  static constexpr std::size_t kGranuleBytes = 64 << 10;
  static constexpr std::size_t kMemoryBytesMin = 4 << 20;
  static constexpr std::size_t kMiddleSpansFrom = 128 << 20;  // memory_bytes
  static constexpr unsigned kMiddleSpanGranules = 8;
  static constexpr std::size_t kLargeSpansFrom = std::size_t{2} << 30;
  static constexpr unsigned kLargeSpanGranules = 32;
  static constexpr std::size_t kSmallSpanLargest = (8 << 10) + kBesideRound;
  static constexpr std::size_t kMiddleSpanLargest = (72 << 10) + kBesideRound;  // a value of 64 KiB with its header is no extent
  static constexpr std::size_t kLargeSpanLargest = (128 << 10) + kBesideRound;
  static constexpr std::size_t kReserveBytesMin = 64 << 10;
};

template <class Sync, class Shape = DefaultShape>
class BasicHeap {
 public:
  static constexpr std::size_t kGranuleBytes = Shape::kGranuleBytes;
  static constexpr std::size_t kPageBytes = platform::kPageBytes;
  static constexpr std::size_t kNone = ~std::size_t{0};
  static_assert(kGranuleBytes % kPageBytes == 0, "a granule is charged in pages");
  static_assert(Shape::kLargeSpanGranules <= 64, "a span's granules lie in one word");
  static_assert(Shape::kSmallSpanLargest <= kGranuleBytes / Spans<Sync>::kBlocksMin &&
                    Shape::kMiddleSpanLargest <= kGranuleBytes * Shape::kMiddleSpanGranules / Spans<Sync>::kBlocksMin &&
                    Shape::kLargeSpanLargest <= kGranuleBytes * Shape::kLargeSpanGranules / Spans<Sync>::kBlocksMin,
                "a span of the largest class still has that many blocks");
  static_assert(Shape::kLargeSpanLargest <= kClassBytesMax);

  // A thread's magazines: free blocks that only it sees, the one freed last on top. Used by one
  // thread at a time. The arrays come with the first use (about 25 KiB of private memory for the
  // default sizes); if there is no memory for them, allocate() answers 0 and free() gives blocks
  // back one by one.
  class Cache {
   public:
    Cache() = default;
    ~Cache() { private_free(memory_); }
    Cache(const Cache&) = delete;
    Cache& operator=(const Cache&) = delete;

    // Bytes of free blocks held here. Any thread may ask; exact for the owner.
    std::size_t held_bytes() const noexcept {
      std::size_t sum = 0;
      for (unsigned c = 0; c < kClassCount; ++c) {
        sum += magazines_[c].count.load(std::memory_order_relaxed) * class_bytes(c);
      }
      return sum;
    }

   private:
    friend class BasicHeap;
    struct Magazine {
      // Written by the owner alone; atomic and relaxed so that held_bytes may look. Compiles to
      // plain moves.
      std::atomic<std::uint32_t> count{0};
      std::uint32_t capacity = 0;
      Offset* blocks = nullptr;
    };
    Magazine magazines_[kAllClasses];
    void* memory_ = nullptr;
    std::uint64_t drain_round_ = 0;  // marks that this thread has answered
  };

  BasicHeap() = default;
  ~BasicHeap() { close(); }
  BasicHeap(const BasicHeap&) = delete;
  BasicHeap& operator=(const BasicHeap&) = delete;

  // Once, before any other call. After an error the heap may be opened again.
  Error open(const HeapOptions& options) noexcept;

  // --- addresses -----------------------------------------------------------------------

  std::byte* base() const noexcept { return base_; }
  // Bytes from base() on that belong to the heap; most of them untouched.
  std::size_t range_bytes() const noexcept { return range_bytes_; }
  // In a forked child, of a heap in a file: what it writes from here on is its own. False: the system refuses.
  bool make_private() noexcept {
    return file_.is_open() && platform::make_private(base_, range_bytes_, file_, file_at_);
  }
  template <class T = std::byte>
  T* at(Offset offset) const noexcept {
    return reinterpret_cast<T*>(base_ + offset * kUnitBytes);
  }

  // --- blocks --------------------------------------------------------------------------

  // A block of at least `bytes`; 0: no room, or more than largest_block(). No room is also what a
  // thread finds while another makes a span of the last granules. Contents are undefined. Aligned
  // to the largest power of two that divides the class's size, up to 4096: 8 always, 16 and 64
  // where the size is a multiple of them.
  [[nodiscard]] Offset allocate(Cache& cache, std::size_t bytes) noexcept {
    if (bytes > largest_block_) [[unlikely]]
      return 0;
    const unsigned cls = class_of(bytes);
    const Offset offset = pop(cache, cls);
    return offset != 0 ? offset : allocate_slow(cache, cls);
  }

  // The same from what this thread has at hand: no call of another function. 0: it has none, allocate() may find one.
  // `bytes` is at most kClassBytesMax; past largest_block() nothing is ever at hand.
  [[nodiscard, gnu::always_inline]] Offset allocate_at_hand(Cache& cache, std::size_t bytes) noexcept {
    return pop(cache, class_of(bytes));
  }

  // The same, but this thread's magazines of other sizes are left as they are when there is no room: for what has
  // another place to turn to.
  [[nodiscard]] Offset allocate_if_easy(Cache& cache, std::size_t bytes) noexcept {
    if (bytes > largest_block_) [[unlikely]]
      return 0;
    const unsigned cls = class_of(bytes);
    const Offset offset = pop(cache, cls);
    return offset != 0 ? offset : allocate_slow(cache, cls, false);
  }

  // The same where a free block or span is listed: what is asked for again and again of a full heap costs two looks there.
  [[nodiscard]] Offset allocate_if_listed(Cache& cache, std::size_t bytes) noexcept {
    const unsigned cls = class_of(bytes);
    if (const Offset offset = pop(cache, cls); offset != 0) return offset;
    if (!spans_.has_listed(cls) && !spans_.has_listed(Spans<Sync>::kEmptyRow)) return 0;
    return allocate_slow(cache, cls, false);
  }

  // One of about `wanted` bytes for what can be of many sizes: where that isn't easy, what this thread has at hand of at least
  // `least`, the largest below `wanted` first, then of up to `most`; then `least` as allocate(). least <= wanted <= most <= largest_block().
  [[nodiscard]] Offset allocate_between(Cache& cache, std::size_t least, std::size_t wanted, std::size_t most) noexcept;

  // A block of kReserveBlockBytes out of the reserve, for removals when allocate() has failed. 0:
  // the reserve is out too.
  [[nodiscard]] Offset allocate_reserve(Cache&) noexcept {
    std::uint64_t units = 0;
    if (spans_.take(kReserveClass, &units, 1) == 0) return 0;
    const Offset offset = first_unit_ + units;
    unpoison(at(offset), kReserveBlockBytes);
    return offset;
  }

  // A block of kBucketBytes, aligned to its size, in a span that holds nothing else. 0: no room.
  [[nodiscard]] Offset allocate_bucket() noexcept;
  // Whether there seems to be room for one. A load or two while there are free ones.
  bool has_bucket() noexcept;

  // Gives back a block of allocate, allocate_reserve or allocate_bucket, of any thread. Never fails.
  void free(Cache& cache, Offset offset) noexcept {
    if (free_at_hand(cache, offset)) [[likely]] return;
    const unsigned cls = class_by_span_[offset >> span_shift_];
    poison(at(offset), class_bytes(cls));
    free_slow(cache, cls, offset);
  }

  // The same if there is room for it at hand; false: nothing has happened, free() takes it.
  [[gnu::always_inline]] bool free_at_hand(Cache& cache, Offset offset) noexcept {
    const unsigned cls = class_by_span_[offset >> span_shift_];
    auto& magazine = cache.magazines_[cls];
    const std::uint32_t count = magazine.count.load(std::memory_order_relaxed);
    if (count >= magazine.capacity) [[unlikely]]
      return false;
    poison(at(offset), class_bytes(cls));
    magazine.blocks[count] = offset;
    magazine.count.store(count + 1, std::memory_order_relaxed);
    return true;
  }

  // Size of the class that a live block belongs to.
  std::size_t block_bytes(Offset offset) const noexcept {
    return class_bytes(class_by_span_[offset >> span_shift_]);
  }
  bool is_of_reserve(Offset offset) const noexcept { return class_by_span_[offset >> span_shift_] == kReserveClass; }
  std::size_t largest_block() const noexcept { return largest_block_; }
  std::size_t span_bytes() const noexcept { return span_granules_ * kGranuleBytes; }

  // Empties the magazines into the heap (end of a thread) and frees their arrays.
  void release_cache(Cache& cache) noexcept;

  // --- draining (drain-inl.h) ------------------------------------------------------------

  // Marks spans that are to be emptied so that `bytes` find room (a block's size or an extent's):
  // they serve nobody from now on, and once empty any class or extent can have them. False: there
  // is nothing whose emptying would help. Bounded: at most kPickSpans states are read.
  bool drain_for(std::size_t bytes) noexcept;
  // Number of the lowest draining span from `from` on; kNone.
  std::size_t next_draining(std::size_t from) noexcept { return spans_.next_draining(from); }
  // Up to 64 blocks that seem to be in use in a draining span, of `bytes` each; kNone: this walk is
  // complete. Several threads share one walk. What it finds may be free by now, or lie in a
  // magazine, or be somebody's that is still being written.
  std::size_t walk(std::size_t span, Offset* out, std::size_t& bytes) noexcept;
  // Begins another walk if the last one is complete. False: it drains no more, as it is empty and
  // gone, or as it was walked often enough.
  bool walk_again(std::size_t span) noexcept;
  void undrain(std::size_t span) noexcept { spans_.undrain(span); }
  bool is_draining(Offset block) const noexcept {
    return spans_.state((block - first_unit_) >> span_shift_).draining();
  }
  // Whether spans were marked since this thread last sifted. Two loads; relaxed, as sift looks
  // properly.
  bool wants_back(const Cache& cache) const noexcept {
    return cache.drain_round_ != drain_round_.load(std::memory_order_relaxed);
  }
  // Gives back what the magazines hold of draining spans. O(blocks in magazines).
  void sift(Cache& cache) noexcept;

  // --- extents -------------------------------------------------------------------------

  // A run of whole granules of at least `bytes` together, aligned to a granule. 0: no room, or
  // `bytes` is 0. O(granules / 64), and as much again for each empty span it takes back.
  [[nodiscard]] Offset allocate_extent(std::size_t bytes) noexcept;
  void free_extent(Offset offset, std::size_t bytes) noexcept;

  // --- the table's range ---------------------------------------------------------------

  std::byte* table() const noexcept { return base_; }
  // Charges a chunk of the table; both multiples of 4 KiB. False: the budget is full. The memory is
  // zero. A chunk may be charged by two threads at once if all but one take it back before anybody
  // writes there.
  [[nodiscard]] bool commit_table(std::size_t at, std::size_t bytes) noexcept;
  void uncommit_table(std::size_t at, std::size_t bytes) noexcept;

  // --- accounts ------------------------------------------------------------------------

  std::size_t used_bytes() const noexcept { return budget_.look().used() * kPageBytes; }
  std::size_t budget_bytes() const noexcept { return budget_.look().limit() * kPageBytes; }
  // What the budget has left, in whole spans; and the free blocks of all classes but the reserve's, without those in
  // magazines.
  std::size_t unassigned_bytes() const noexcept {
    const BudgetWord budget = budget_.look();
    const std::uint64_t left = budget.limit() > budget.used() ? budget.limit() - budget.used() : 0;
    return (left & ~(span_pages() - 1)) * kPageBytes;
  }
  std::size_t free_bytes() const noexcept { return spans_.free_bytes(); }
  // More than a sixteenth of the budget lies in free blocks: what a size lacks, others have, and emptying a span gives it back.
  bool is_scattered() const noexcept { return free_bytes() / kPageBytes > budget_.look().limit() / 16; }
  // Of the budget, what no block can have: the table and the accounts.
  std::size_t fixed_bytes() const noexcept { return (table_.pages() + overhead_pages_) * kPageBytes; }
  // Sets the budget, up to memory_bytes_max. Empty spans are given up for it; if more than
  // `memory_bytes` is in use then, or it is out of range, false and the budget is as before.
  bool resize(std::size_t memory_bytes) noexcept;
  // The same, but what is in use may be more: the budget then sinks as memory comes free, down to
  // `memory_bytes`. Empty spans go at once and the resident set follows; for the rest the caller
  // empties spans (drain_to_shrink) and calls give_up_empty. False: out of range.
  bool resize_in_time(std::size_t memory_bytes) noexcept;
  // By how much the budget has yet to sink.
  std::size_t shrinking_bytes() const noexcept {
    const std::uint64_t limit = budget_.look().limit(), target = budget_.target();
    return limit > target ? (limit - target) * kPageBytes : 0;
  }
  bool drain_to_shrink() noexcept { return drain_for(1); }
  // Gives up empty spans for a budget that sinks. True: it has arrived.
  bool give_up_empty() noexcept;
  // What the budget can't sink below, however well blocks are packed: those in use, extents, the
  // table, the accounts and the reserve that `memory_bytes` has. O(spans).
  std::size_t least_bytes(std::size_t memory_bytes) const noexcept;
  // O(spans). Exact when no call is under way.
  Stats stats() const noexcept;
  // Bytes of the range that huge pages back now; slow, see platform.h.
  std::size_t huge_bytes() const noexcept {
    return base_ ? platform::huge_bytes(base_, range_bytes_) : 0;
  }
  // Memory that will be wanted soon gets its pages now, one group (a span, or a huge page) of at most `bytes_max` a call, until
  // kTouchedAheadBytes lie ready (a 32nd of a small budget), if more is in use than when that much lay ready last. For maintenance: whoever takes
  // a span of memory that nobody has touched waits for the kernel to clear it, 2 MiB at a time where pages are huge. True: some was touched.
  static constexpr std::size_t kTouchedAheadBytes = std::size_t{8} << 20;
  bool touch_ahead(std::size_t bytes_max) noexcept;
  // Somebody did wait for that, in a heap that holds kTouchedAheadBytes at least; until enough lies ready. A hint.
  [[gnu::always_inline]] bool met_fresh() const noexcept { return met_fresh_.load(std::memory_order_relaxed); }

  // Estimate of the memory that the kernel keeps for the range.
  std::size_t resident_bytes() const noexcept {
    return resident_.load(std::memory_order_relaxed) * kPageBytes;
  }

  // fn(Offset, bytes, free_in_bitmap) for each block of each span, the reserve's too. Quiescent.
  template <class Fn>
  void for_each_block(Fn&& fn) const;
  // The sum of the blocks that are not free, by the bitmaps. Quiescent.
  std::uint64_t taken_bytes() const noexcept;
  // Bitmaps against counts, counts against rows, granules and table against the budget. Quiescent.
  [[nodiscard]] bool verify() const noexcept;

 private:
  static constexpr std::uint32_t kBackAtOnce = 4;  // blocks that a full magazine gives back
  static constexpr std::size_t kMagazineBlockMax = (16 << 10) + kBesideRound;  // larger ones go back at once
  static constexpr std::size_t kPickSpans = 16384;  // states read by one pick
  static constexpr std::size_t kRunUnits = 2048;    // the longest run of spans that is emptied
  static constexpr std::uint64_t kGranulePages = kGranuleBytes / kPageBytes;
  static constexpr std::uint32_t kBatchMax = 64;

  struct Layout;
  struct Picture;
  Error plan(const HeapOptions& options, Layout& layout) noexcept;
  void close() noexcept;
  bool fault_in() noexcept;
  std::uint64_t span_pages() const noexcept { return span_granules_ * kGranulePages; }
  std::byte* granule_at(std::size_t granule) const noexcept {
    return pages_ + granule * kGranuleBytes;
  }

  // The last block of a magazine; 0: it is empty.
  [[gnu::always_inline]] Offset pop(Cache& cache, unsigned cls) noexcept {
    auto& magazine = cache.magazines_[cls];
    const std::uint32_t count = magazine.count.load(std::memory_order_relaxed);
    if (count == 0) [[unlikely]]
      return 0;
    magazine.count.store(count - 1, std::memory_order_relaxed);
    const Offset offset = magazine.blocks[count - 1];
    unpoison(at(offset), class_bytes(cls));
    return offset;
  }
  Offset allocate_slow(Cache& cache, unsigned cls, bool may_flush = true) noexcept;
  Offset allocate_larger(Cache& cache, unsigned cls) noexcept;
  void free_slow(Cache& cache, unsigned cls, Offset offset) noexcept;
  bool prepare(Cache& cache) noexcept;
  void flush(Cache& cache) noexcept;
  void give_back(unsigned cls, const Offset* blocks, std::size_t count) noexcept;
  void prefetch_bitmaps(unsigned cls, const Offset* blocks, std::size_t count) noexcept;

  bool drain_span(Picture& picture, std::size_t span) noexcept;
  std::size_t drain_cheapest(Picture& picture, std::size_t start, std::size_t end,
                             std::size_t wanted) noexcept;
  std::size_t drain_run(Picture& picture, std::size_t start, std::size_t end,
                        std::size_t bytes) noexcept;
  std::uint32_t price_of_place(std::size_t span) const noexcept;

  std::size_t new_span(unsigned cls) noexcept;
  std::uint64_t reserve_spans_for(std::uint64_t limit_pages) const noexcept;
  bool fill_reserve(std::uint64_t limit_pages) noexcept;
  void thin_out_reserve(std::uint64_t limit_pages) noexcept;
  bool release_empty_span() noexcept;
  bool charge(std::uint64_t pages) noexcept;
  bool become_resident(std::size_t first, std::size_t granules) noexcept;
  // Of memory in a file: its pages are there before they are touched. False: the file system has no room.
  bool back(const std::byte* at, std::size_t bytes) noexcept {
    return !file_.is_open() || platform::back_file(file_, file_at_ + static_cast<std::uint64_t>(at - base_), bytes) == 0;
  }
  void add_resident(std::uint64_t pages) noexcept;

  // Read by every call, written by open.
  std::byte* base_ = nullptr;
  // Class of the span at base + i spans; a span's owner writes it.
  std::uint8_t* class_by_span_ = nullptr;
  unsigned span_shift_ = 0;  // log2 of a span's units
  std::size_t largest_block_ = 0;
  Offset first_unit_ = 0;  // offset of the page range
  std::byte* pages_ = nullptr;
  std::size_t span_granules_ = 1;
  std::size_t first_span_ = 0;  // spans before the page range: table and accounts
  std::uint32_t capacity_[kAllClasses] = {};
  typename Sync::template Atomic<std::uint64_t> drain_round_{0};  // rarely written: marks so far
  typename Sync::template Atomic<bool> met_fresh_{false};         // as above: a store's growth
  Spans<Sync> spans_;

  // Written by the slow paths.
  alignas(128) Budget<Sync> budget_;
  Granules<Sync> granules_;
  TableRange<Sync> table_;
  typename Sync::template Atomic<std::uint64_t> resident_{0};  // pages
  typename Sync::template Atomic<std::uint64_t> decommitted_{0};
  typename Sync::template Atomic<std::uint64_t> touched_for_{0};  // pages in use when memory was touched ahead
  typename Sync::template Atomic<std::uint64_t> extent_granules_{0};
  typename Sync::template Atomic<std::uint64_t> reserve_spans_{0};
  typename Sync::template Atomic<std::uint64_t> pick_from_{0};  // where the next pick begins
  std::uint64_t overhead_pages_ = 0;
  std::uint64_t limit_pages_max_ = 0;
  std::size_t range_bytes_ = 0;
  std::size_t pages_bytes_ = 0;
  std::size_t accounts_bytes_ = 0;
  std::byte* accounts_ = nullptr;
  void* mapping_ = nullptr;  // null: the caller's region
  platform::File file_;      // what is mapped, if it is a file
  std::uint64_t file_at_ = 0;
  bool huge_ = false;
  std::uint64_t huge_asked_ = 0, huge_advised_ = 0;  // bytes of the page range
};

using Heap = BasicHeap<detail::StdSync>;

}  // namespace tern::alloc

#include "alloc/heap-inl.h"
#include "alloc/drain-inl.h"

#endif  // TERN_ALLOC_HEAP_H_
