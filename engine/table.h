// Table: buckets, shards and how a key is found. Growth is in growth.h, entering in insertion.h.
//
// A shard has N buckets, N from 16 upwards by one at a time (linear hashing): bucket b is split into b and b + 2^L
// when N passes it. All buckets lie in one reserved range of addresses: no directory, a bucket's address is
// arithmetic. Rows of chunks alternate between shards, so that what is used lies together whatever N is:
//
//   [shard 0 chunk 0][shard 1 chunk 0]...[shard S-1 chunk 0][shard 0 chunk 1]...
//
// find: the home bucket's line, then the record whose tag matches. Not there and the control word's filter says no:
// a miss after one line, if N still gives the same home. The order of reading that makes a miss true while a split is
// under way: the source before the target, and N last.
//
// Edges
//   publish   the slot's swap / the slot's load: the record's bytes
//   grow      the swap of N / its load: the memory of bucket N-1 is committed and zero
//   ready     setting READY / the load of ctl: a split is complete
//   chain     linking an overflow bucket / the load of ctl: its words are initialised
#ifndef TERN_ENGINE_TABLE_H_
#define TERN_ENGINE_TABLE_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <new>
#include <string_view>

#include "alloc/private_memory.h"
#include "alloc/sync.h"
#include "engine/prefetch.h"
#include "engine/seg_queue.h"
#include "engine/slot_word.h"
#include "engine/space.h"
#include "engine/wheel.h"
#include "simd/tag_match.h"

namespace tern::detail {

inline constexpr unsigned kSlots = 7;
inline constexpr std::uint32_t kFirstBuckets = 16;
inline constexpr std::uint32_t kSplitsOpenMax = 8;
static_assert(kFirstBuckets > kSplitsOpenMax, "a split's source is never itself being split");

template <class Sync>
struct alignas(64) Bucket {
  typename Sync::template Atomic<std::uint64_t> slot[kSlots];
  typename Sync::template Atomic<std::uint64_t> ctl;

  SlotWord at(unsigned i) const noexcept {
    const auto order =
        planted<Sync>(Mutant::kRelaxedSlotLoad) ? std::memory_order_relaxed : std::memory_order_seq_cst;
    return SlotWord(slot[i].load(order));  // [publish] seq_cst, [announce] seq_cst
  }
  Ctl control() const noexcept { return Ctl(ctl.load(std::memory_order_seq_cst)); }  // [ready] [chain] seq_cst
  unsigned matches(std::uint32_t tag) const noexcept {
    if constexpr (Sync::kWordwise) {
      return simd::match_tags_wordwise(slot, static_cast<std::uint16_t>(tag));
    } else {
      return simd::match_tags(this, tag);
    }
  }
};
static_assert(sizeof(Bucket<StdSync>) == 64, "a bucket is one cache line");

// N and the mask that goes with it, in one word so that a home is found with one load.
class ShardSize {
 public:
  constexpr explicit ShardSize(std::uint64_t word) noexcept : word_(word) {}
  static constexpr ShardSize of(std::uint32_t buckets) noexcept {
    const unsigned log = static_cast<unsigned>(std::bit_width(buckets)) - 1;
    const std::uint64_t mask = (std::uint64_t{2} << log) - 1;
    return ShardSize(mask << 32 | buckets);
  }
  constexpr std::uint64_t word() const noexcept { return word_; }
  constexpr std::uint32_t buckets() const noexcept { return static_cast<std::uint32_t>(word_); }
  constexpr std::uint32_t home(std::uint64_t hash) const noexcept {
    const auto mask = static_cast<std::uint32_t>(word_ >> 32);
    const std::uint32_t b = static_cast<std::uint32_t>(hash) & mask;
    // A shift instead of a choice: a branch here is a coin toss that the processor learns the result of only when
    // the key's bytes are there, and then throws away the next calls that it had begun.
    return b & (mask >> static_cast<unsigned>(b >= buckets()));
  }
  friend constexpr bool operator==(ShardSize a, ShardSize b) noexcept { return a.word_ == b.word_; }

 private:
  std::uint64_t word_;
};
static_assert(ShardSize::of(16).home(0xFFFF) == 15 && ShardSize::of(17).home(16) == 16 &&
                  ShardSize::of(17).home(17) == 1 && ShardSize::of(31).home(31) == 15,
              "bucket b exists from N = b + 1 on; before, its keys live in b - 2^L");

// The bucket that `q` was split from, and whether a key belongs to q once it exists.
constexpr std::uint32_t split_source(std::uint32_t q) noexcept { return q - std::bit_floor(q); }
constexpr bool belongs_to_target(std::uint64_t hash, std::uint32_t q) noexcept {
  return (static_cast<std::uint32_t>(hash) & (std::bit_floor(q) * 2 - 1)) == q;
}

// What each call reads of a shard, written when it grows. Those of all shards lie together, in a few KiB that stay in
// the first-level cache: at the heads of the shards themselves, 512 bytes apart, they fell into an eighth of its sets,
// and a get of a million entries took a sixth more time.
template <class Sync>
struct alignas(16) ShardHead {
  typename Sync::template Atomic<std::uint64_t> size;
  std::byte* first;  // bucket 0
};

template <class Sync>
struct Shard {
  using Word = typename Sync::template Atomic<std::uint64_t>;
  ShardHead<Sync>* head;
  Word chunks;  // committed
  // Written by inserts and removals.
  alignas(128) Word live;    // entries
  Word version_floor;        // no removed key had a greater version
  SegQueue<Sync> kept;       // keys with versions left for views (kept.h)
  Word kept_for;             // which end of a view the round over them is for
  Word kept_left;            // keys that the round has still to look at
  // Written by whoever gives or takes a lifetime.
  alignas(128) Wheel<Sync> wheel;
  Word expiring;     // entries with a deadline
  Word unfiled;      // deadlines that found no memory for their ticket, since maintenance last went over all buckets
  Word sweep_at;     // the bucket where it is
  Word sweep_owed;   // `unfiled` as it was when it began
};

static_assert(sizeof(Shard<StdSync>) == 512, "a shift of the hash gives a shard's offset");

template <class Sync>
[[gnu::always_inline]] inline Shard<Sync>& shard_at(const Geometry<Sync>& g, std::uint64_t hash) noexcept {
  return *reinterpret_cast<Shard<Sync>*>(reinterpret_cast<std::byte*>(g.shards) + (hash >> g.shard_shift & g.shard_mask));
}

template <class Sync>
[[gnu::always_inline]] inline const ShardHead<Sync>& head_at(const Geometry<Sync>& g, std::uint64_t hash) noexcept {
  return *reinterpret_cast<const ShardHead<Sync>*>(reinterpret_cast<const std::byte*>(g.heads) +
                                                   (hash >> g.head_shift & g.head_mask));
}

// Bucket b is at byte b * 64 of the shard's own chunks; each chunk before it is followed by those of the others.
template <class Sync>
[[gnu::always_inline]] inline Bucket<Sync>& bucket_at(const Geometry<Sync>& g, const ShardHead<Sync>& s,
                                                      std::uint32_t b) noexcept {
  const std::uint64_t at = std::uint64_t{b} << 6;
  return *reinterpret_cast<Bucket<Sync>*>(s.first + at + (at & g.chunk_of_row) * g.other_shards);
}

// What is needed beside the heap to find its entries: where points lie, heads, and shards with their version floors. In private memory as
// a rule. Where the heap lies in a file, these lie there too: who finds it after its process has died has what was so at that moment,
// and nothing is kept twice.
template <class Sync>
struct Roots {
  using Word = typename Sync::template Atomic<std::uint64_t>;
  static constexpr unsigned kShardsMax = 1024;
  static constexpr std::size_t kHeadsAt = 4096;  // before them, the homes of the points
  static constexpr std::size_t kShardsAt = kHeadsAt + kShardsMax * sizeof(ShardHead<Sync>);
  static constexpr std::size_t bytes(unsigned shards) noexcept { return kShardsAt + shards * sizeof(Shard<Sync>); }
  static_assert(Points<Sync>::kMax * sizeof(Word) <= kHeadsAt && kShardsAt % alignof(Shard<Sync>) == 0);

  static Word* points(std::byte* at) noexcept { return reinterpret_cast<Word*>(at); }
  static ShardHead<Sync>* heads(std::byte* at) noexcept { return reinterpret_cast<ShardHead<Sync>*>(at + kHeadsAt); }
  static Shard<Sync>* shards(std::byte* at) noexcept { return reinterpret_cast<Shard<Sync>*>(at + kShardsAt); }
};

template <class Sync>
class OrderedIndex;

template <class Sync>
class Table {
 public:
  using Bkt = Bucket<Sync>;
  using Shd = Shard<Sync>;
  using Head = ShardHead<Sync>;
  using Rec = Record<Sync>;
  using Word = typename Sync::template Atomic<std::uint64_t>;

  struct Found {
    Word* slot = nullptr;
    Rec* record = nullptr;
    SlotWord word{0};
    Stamp stamp{0};
    bool points = false;  // whether there was one that might kill it, before it was found
    explicit operator bool() const noexcept { return record != nullptr; }
  };

  Table() = default;
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;
  ~Table() {
    if (in_roots_) return;
    alloc::private_free(shards_);
    alloc::private_free(heads_);
  }

  // A cache line of heads and no more is shared where there are few.
  static constexpr std::size_t kHeadsAlignment = 128;

  static unsigned chunk_shift_for(std::size_t memory_bytes, unsigned shard_count) noexcept {
    const std::size_t wanted = memory_bytes / shard_count / 256;
    unsigned shift = 12;
    while (shift < 16 && (std::size_t{2} << shift) <= wanted) ++shift;
    return shift;
  }

  // The heap is open. `roots`: Roots::bytes(shard_count) zero bytes that outlive the table; null: private memory. False: no memory for the
  // first buckets.
  bool open(Space<Sync>& space, unsigned shard_count, unsigned chunk_shift, std::size_t table_bytes_max,
            std::uint32_t first_buckets, std::byte* roots = nullptr) noexcept {
    space_ = &space;
    shard_count_ = shard_count;
    chunk_shift_ = chunk_shift;
    row_shift_ = chunk_shift + static_cast<unsigned>(std::countr_zero(shard_count));
    chunks_max_ = table_bytes_max >> row_shift_;
    in_roots_ = roots != nullptr;
    shards_ = in_roots_ ? Roots<Sync>::shards(roots)
                        : static_cast<Shd*>(alloc::private_allocate_aligned(sizeof(Shd) * shard_count, alignof(Shd)));
    if (shards_ == nullptr) return false;
    heads_ = in_roots_ ? Roots<Sync>::heads(roots)
                       : static_cast<Head*>(alloc::private_allocate_aligned(sizeof(Head) * shard_count, kHeadsAlignment));
    if (heads_ == nullptr) return false;
    Geometry<Sync>& g = space.geometry;
    g.shards = shards_;
    const auto shard_bits = static_cast<unsigned>(std::countr_zero(shard_count));
    const auto shard_size_bits = static_cast<unsigned>(std::countr_zero(sizeof(Shd)));
    g.shard_shift = 64 - shard_bits - shard_size_bits;
    g.shard_mask = (shard_count - std::uint64_t{1}) << shard_size_bits;
    const auto head_size_bits = static_cast<unsigned>(std::countr_zero(sizeof(Head)));
    g.heads = heads_;
    g.head_shift = 64 - shard_bits - head_size_bits;
    g.head_mask = (shard_count - std::uint64_t{1}) << head_size_bits;
    g.chunk_of_row = ~((std::uint64_t{1} << chunk_shift) - 1);
    g.other_shards = shard_count - 1;
    g.bucket_bits = ~std::uint64_t{63} & ~((shard_count - std::uint64_t{1}) << chunk_shift);
    for (unsigned i = 0; i != shard_count; ++i) {
      Shd& s = *new (shards_ + i) Shd{};
      s.head = new (heads_ + i) Head{};
      s.head->first = space.heap.table() + (std::size_t{i} << chunk_shift);
      s.head->size.store(ShardSize::of(first_buckets).word(), std::memory_order_relaxed);  // nobody else is here yet
    }
    for (unsigned i = 0; i != shard_count; ++i) {
      while (shards_[i].chunks.load(std::memory_order_relaxed) <= (first_buckets - 1) >> (chunk_shift - 6)) {  // alone
        if (!commit_chunk(shards_[i], shards_[i].chunks.load(std::memory_order_relaxed))) return false;  // alone
      }
      for (std::uint32_t b = 0; b != first_buckets; ++b) make_empty(bucket(shards_[i], b), Ctl::fresh());
    }
    return true;
  }

  Space<Sync>& space() const noexcept { return *space_; }
  // Of its keys; null: there is none. Who enters a key or empties a slot tells it (leaves.h).
  OrderedIndex<Sync>* ordered() const noexcept { return ordered_; }
  void set_ordered(OrderedIndex<Sync>* index) noexcept { ordered_ = index; }
  unsigned shard_count() const noexcept { return shard_count_; }
  unsigned chunk_shift() const noexcept { return chunk_shift_; }
  Shd& shard(unsigned i) const noexcept { return shards_[i]; }
  unsigned shard_index(std::uint64_t hash) const noexcept {
    return static_cast<unsigned>(&shard_of(hash) - shards_);
  }
  // The bits of a hash that choose this shard.
  std::uint64_t hash_in(const Shd& s) const noexcept {
    return static_cast<std::uint64_t>(reinterpret_cast<const std::byte*>(&s) - reinterpret_cast<const std::byte*>(shards_))
           << space_->geometry.shard_shift;
  }
  Shd& shard_of(std::uint64_t hash) const noexcept { return shard_at(space_->geometry, hash); }
  std::uint64_t hash_of(std::string_view key) const noexcept {
    return simd::hash_bytes(key.data(), key.size(), space_->geometry.hash_keys);
  }

  static ShardSize size_of(const Head& s) noexcept { return ShardSize(s.size.load(std::memory_order_seq_cst)); }  // [grow]
  static ShardSize size_of(const Shd& s) noexcept { return size_of(*s.head); }
  const Head& head_of(std::uint64_t hash) const noexcept { return head_at(space_->geometry, hash); }

  Bkt& bucket(const Head& s, std::uint32_t b) const noexcept { return bucket_at(space_->geometry, s, b); }
  Bkt& bucket(const Shd& s, std::uint32_t b) const noexcept { return bucket(*s.head, b); }
  Bkt* overflow(Ctl c) const noexcept {
    return c.overflow() == 0 ? nullptr : space_->heap.template at<Bkt>(c.overflow());
  }

  // The key's current record (LIVE or FROZEN), a tomb included; inside a guard. Lock-free; one or two lines.
  //
  // Inlined into each read, with the rare cases outside: an answer that went through memory as two words and were
  // read back as one vector would wait for everything before it, and no two calls' cache misses would overlap.
  [[gnu::always_inline]] Found find(std::uint64_t hash, std::string_view key) const noexcept {
    const Head& s = head_of(hash);
    const std::uint16_t tag = tag_of(hash);
    const bool points = space_->has_points();
    const ShardSize size = size_of(s);
    const Bkt& b = bucket(s, size.home(hash));
    // The control word before the slots: read after them, it could call a bucket ready that was empty when looked at.
    const Ctl before = b.control();
    const unsigned m = b.matches(tag);
    const Ctl c = planted<Sync>(Mutant::kReadyAfterSlots) ? b.control() : before;
    if (c.ready() == planted<Sync>(Mutant::kReadyInverted)) [[unlikely]] return find_slowly(hash, key);
    if (m != 0) [[likely]] {
      const auto i = static_cast<unsigned>(std::countr_zero(m));
      const SlotWord w = b.at(i);
      if (w.is_current_of(tag)) [[likely]] {
        Rec* r = space_->record(w.offset());
        prefetch_near(r->bytes() + 64);
        const Stamp stamp = r->stamp_word();
        if (space_->has_key(*r, stamp, key)) [[likely]] return {const_cast<Word*>(&b.slot[i]), r, w, stamp, points};
      }
      return find_slowly(hash, key);
    }
    if (c.may_overflow(tag)) [[unlikely]] return find_slowly(hash, key);
    Sync::point("find.missed");
    if (planted<Sync>(Mutant::kMissWithoutHomeCheck)) return {};
    if (size_of(s) == size) [[likely]] return {};
    return find_slowly(hash, key);
  }

  // Every case, from the beginning.
  [[gnu::noinline]] Found find_slowly(std::uint64_t hash, std::string_view key) const noexcept {
    const bool points = space_->has_points();
    Found f = find_anywhere(hash, key);
    f.points = points;
    return f;
  }

  // Without asking for points.
  Found find_anywhere(std::uint64_t hash, std::string_view key) const noexcept {
    const Head& s = head_of(hash);
    const std::uint16_t tag = tag_of(hash);
    for (;;) {
      const ShardSize size = size_of(s);
      const std::uint32_t home = size.home(hash);
      const Bkt& b = bucket(s, home);
      const Ctl c = b.control();
      if (c.ready() == planted<Sync>(Mutant::kReadyInverted)) {
        // Source before target: what moves between is then met in one of them.
        if (const Found f = find_in_chain(bucket(s, split_source(home)), tag, key)) return f;
        if (const Found f = find_in_chain(b, tag, key)) return f;
      } else {
        if (const Found f = find_in_bucket(b, tag, key)) return f;
        if (c.may_overflow(tag) && c.overflow() != 0) {
          if (const Found f = find_in_chain(*overflow(c), tag, key)) return f;
        }
      }
      Sync::point("find.missed");
      if (planted<Sync>(Mutant::kMissWithoutHomeCheck)) return {};
      const ShardSize again = size_of(s);
      if (again == size || again.home(hash) == home) return {};
    }
  }

  Found find_in_bucket(const Bkt& b, std::uint16_t tag, std::string_view key) const noexcept {
    for (unsigned m = b.matches(tag); m != 0; m &= m - 1) {
      const auto i = static_cast<unsigned>(std::countr_zero(m));
      const SlotWord w = b.at(i);
      if (!w.is_current_of(tag)) continue;
      Rec* r = space_->record(w.offset());
      const Stamp s = r->stamp_word();
      if (space_->has_key(*r, s, key)) return {const_cast<Word*>(&b.slot[i]), r, w, s};
    }
    return {};
  }

  Found find_in_chain(const Bkt& first, std::uint16_t tag, std::string_view key) const noexcept {
    for (const Bkt* b = &first; b != nullptr; b = overflow(b->control())) {
      if (const Found f = find_in_bucket(*b, tag, key)) return f;
    }
    return {};
  }

  // fn(Word& slot, SlotWord word) -> bool whether to go on, for each slot of a chain in order.
  template <class Fn>
  void for_each_slot(Bkt& first, Fn&& fn) const noexcept {
    for (Bkt* b = &first; b != nullptr; b = overflow(b->control())) {
      for (unsigned i = 0; i != kSlots; ++i) {
        if (!fn(b->slot[i], b->at(i))) return;
      }
    }
  }

  static void make_empty(Bkt& b, Ctl ctl) noexcept {
    for (auto& slot : b.slot) slot.store(SlotWord::empty().word(), std::memory_order_relaxed);  // [chain] or open()
    b.ctl.store(ctl.word(), std::memory_order_release);                                         // [ready] release
  }

  // An empty overflow bucket of the caller's own; 0: no memory. Overflow buckets are never freed once they are
  // linked: a reader needs no guard to touch one. Hence only a split may have one of the reserve, as removals may be
  // waiting for it; an insert that took them would leave the removals none.
  enum class For : std::uint8_t { kInsert, kSplit };
  std::uint64_t new_overflow(Thread<Sync>& t, For what) noexcept {
    static_assert(sizeof(Bkt) == alloc::kBucketBytes, "blocks of the heap's bucket class are buckets");
    std::uint64_t at = space_->heap.allocate_bucket();
    if (at == 0 && what == For::kSplit) at = space_->heap.allocate_reserve(t.cache);
    if (at == 0) {
      t.short_of = kRoomForBucket;
      return 0;
    }
    make_empty(*new (space_->heap.at(at)) Bkt, Ctl::fresh());
    return at;
  }

  // Charges and opens the memory of the chunk that holds bucket `b`. False: no budget, or the range is used up.
  bool ensure_bucket(Shd& s, std::uint32_t b) noexcept {
    const std::uint64_t chunk = b >> (chunk_shift_ - 6);
    const std::uint64_t have = s.chunks.load(std::memory_order_acquire);  // [grow] acquire
    return chunk < have || commit_chunk(s, have);
  }

 private:
  bool commit_chunk(Shd& s, std::uint64_t chunk) noexcept {
    if (chunk >= chunks_max_) return false;
    const std::size_t bytes = std::size_t{1} << chunk_shift_;
    const auto at = static_cast<std::size_t>(s.head->first - space_->heap.table()) + (std::size_t{chunk} << row_shift_);
    if (!space_->heap.commit_table(at, bytes)) return false;
    std::uint64_t expected = chunk;
    if (!s.chunks.compare_exchange_strong(expected, chunk + 1, std::memory_order_acq_rel)) {  // [grow] acq_rel
      space_->heap.uncommit_table(at, bytes);  // another thread was first; it has charged the same chunk
    }
    return true;
  }

  Space<Sync>* space_ = nullptr;
  OrderedIndex<Sync>* ordered_ = nullptr;
  Shd* shards_ = nullptr;
  Head* heads_ = nullptr;
  bool in_roots_ = false;
  unsigned shard_count_ = 0;
  unsigned chunk_shift_ = 0;
  unsigned row_shift_ = 0;
  std::uint64_t chunks_max_ = 0;
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_TABLE_H_
