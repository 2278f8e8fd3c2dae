// Space: what every part of the engine shares: the heap, the epochs, the view clock, the threads and the way from an
// offset to a record, its key and its value. Knows records; knows nothing of the table.
#ifndef TERN_ENGINE_SPACE_H_
#define TERN_ENGINE_SPACE_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <string_view>

#include "alloc/heap.h"
#include "alloc/private_memory.h"
#include "alloc/sync.h"
#include "engine/epoch.h"
#include "engine/event_ring.h"
#include "engine/lease_key.h"
#include "engine/names.h"
#include "engine/points.h"
#include "engine/prefetch.h"
#include "engine/record.h"
#include "engine/removals.h"
#include "engine/tags.h"
#include "engine/upkeep.h"
#include "engine/view_clock.h"
#include "simd/hash.h"
#include "simd/key_equal.h"

namespace tern::detail {

// A counter of one thread: written by it alone, read by whoever sums.
template <class Sync>
class Counter {
 public:
  [[gnu::always_inline]] void add(std::uint64_t n = 1) noexcept {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);  // one writer
  }
  void set(std::uint64_t n) noexcept { value_.store(n, std::memory_order_relaxed); }  // as above
  std::uint64_t get() const noexcept { return value_.load(std::memory_order_relaxed); }  // statistics

 private:
  typename Sync::template Atomic<std::uint64_t> value_{};
};

template <class Sync>
struct Counters {
  Counter<Sync> hits, misses, sets, deletes, expired, refused, moves;
  Counter<Sync> inserts, evicted, ghost_hits, dropped, cleared, kept;  // kept: entries that are never evicted, in less out
  Counter<Sync> index_bytes;                      // taken by the ordered index, in less out
};

// Records that a callback of visit() may be looking at. A write below it first turns them into holds, so that the
// guard can be announced anew and the limbo drains.
struct VisitFrame {
  VisitFrame* outer = nullptr;
  const std::uint64_t* records = nullptr;
  unsigned count = 0;
  unsigned pinned = 0;  // the first so many are held
};

// Keys that a thread has entered into the table and not yet into eviction's queues, at most.
inline constexpr unsigned kEnteringMax = 60;

// Calls of prefetch() between that which asks for a key's bucket and that which asks for its record.
inline constexpr unsigned kPreparedAhead = 2;

// Gets of a thread whose hits are counted together.
inline constexpr unsigned kHitsACount = 16;

// Where notes of kept keys were lost for want of memory: the way over all buckets (kept.h).
template <class Sync>
struct KeptSweep {
  typename Sync::template Atomic<std::uint64_t> lost{};
  typename Sync::template Atomic<std::uint64_t> at{};        // 63..32 shard | 31..0 bucket; 0: none is under way
  typename Sync::template Atomic<std::uint64_t> of{};        // `lost` when it began
  typename Sync::template Atomic<std::uint64_t> done_for{};  // which end of a view it is for
};

// Where what degrades is reported.
struct LogTarget {
  LogHook call = nullptr;
  void* user = nullptr;
};

// What there is no room for, if it is a bucket and not so many bytes.
inline constexpr std::uint64_t kRoomForBucket = ~std::uint64_t{0};
template <class Sync>
struct Shard;
template <class Sync>
struct ShardHead;
template <class Sync>
class Table;
struct Time;

// What an ordinary look-up reads beside the table and the record: constant while the store is open, so that each thread
// has a copy in its own lines and a register to reach it by.
template <class Sync>
struct alignas(64) Geometry {
  simd::HashKeys hash_keys;         // derived from the seed once
  const ShardHead<Sync>* heads = nullptr;
  std::uint64_t head_mask = 0;      // of an offset in bytes into `heads`
  unsigned head_shift = 0;          // what brings the hash's top bits there
  std::uint64_t chunk_of_row = 0;   // of a bucket's offset in bytes: the part that counts whole chunks
  std::uint64_t other_shards = 0;
  std::uint64_t bucket_bits = 0;    // the same as bits: those of a bucket's offset that its number gives, the rest are the shard's
  std::byte* base = nullptr;        // of the heap
  const EpochLine<Sync>* epoch = nullptr;
  Shard<Sync>* shards = nullptr;
  std::uint64_t shard_mask = 0;     // of an offset in bytes into `shards`
  unsigned shard_shift = 0;

  template <class T>
  T* at(std::uint64_t offset) const noexcept {
    return reinterpret_cast<T*>(base + offset * alloc::kUnitBytes);
  }
};

// All that a thread owns in one store. Never freed while the store lives; passed on to the next thread that comes.
template <class Sync>
struct Thread {
  EpochThread<Sync> epoch;
  alignas(128) typename Sync::template Atomic<std::uint64_t> owner;  // system thread id + 1; 0: free
  Thread* next;                                                      // of the list of all; set once
  VisitFrame* visits;
  // Of gets, see reads-inl.h.
  std::uint64_t unmatched_hash;   // on its way to the second look
  std::uint64_t prepared[kPreparedAhead];  // hashes of the keys that were prepared last, whose buckets are on their way
  unsigned prepared_at;                    // the oldest of them
  std::uint64_t other_length;        // the record that has another
  std::uint64_t expected_length = 64;  // of a value, when two in a row had it
  std::uint64_t last_length;
  std::uint64_t hit_length;       // of the get whose turn it is to count the hits
  Counter<Sync> short_hits;       // on the short way; the last kHitsACount are noted below, each where this said
  std::uint64_t counted_hits;     // up to where they were looked at again
  std::uint64_t hits_meta = ~std::uint64_t{0};  // the conjunction of the records' meta words
  const typename Sync::template Atomic<std::uint64_t>* hit_slot[kHitsACount];
  std::uint64_t hit_hash[kHitsACount];
  std::uint64_t hits_of_growth;  // since `room_then`, see Eviction::rest
  std::uint64_t room_then;
  std::uint64_t random;
  std::uint64_t work;      // units done, ever: records freed, bags, victims, tickets and blocks looked at
  std::uint64_t short_of;  // bytes of the last block or extent that there was no room for, or kRoomForBucket
  bool lacks_tomb;         // there was none for a removal, in the reserve either
  Counters<Sync> counters;
  Geometry<Sync> geometry;
  // Of eviction's queues, see there.
  unsigned pushes;  // until the thread takes the next number from their clock
  unsigned entering_count;
  unsigned inserts_unlooked;  // that are to come without a look at the room (eviction.h)
  unsigned void_owed;         // entries of eviction's queues to be looked at, two with each push
  std::uint64_t age;
  std::uint64_t entering[kEnteringMax];
  NotedRemovals removals;
  typename alloc::BasicHeap<Sync>::Cache cache;
};

template <class Sync>
class Space {
 public:
  using Word = typename Sync::template Atomic<std::uint64_t>;
  using Rec = Record<Sync>;
  using Thr = Thread<Sync>;

  // Before a value in an extent: who refers to it.
  struct ExtentHeader {
    Word references;
    std::uint64_t bytes;
    char padding[48];
  };
  static_assert(sizeof(ExtentHeader) == 64, "values in extents begin on a cache line");

  struct Bytes {
    const char* data;
    std::uint64_t size;
  };

  // What a new record is made of.
  struct Spec {
    std::string_view key;
    std::uint64_t value_size = 0;
    bool has_deadline = false;
    std::uint64_t deadline_ms = 0;
    bool absent = false;
    bool keep = false;  // never to be evicted
    Span span{};  // only with a deadline
    std::string_view tags{};  // a block (tags.h)
    bool has_word = false;    // one behind all that: word_behind()
  };
  struct Built {
    std::uint64_t offset = 0;  // 0: no memory
    char* value = nullptr;
  };

  alloc::BasicHeap<Sync> heap;
  Epoch<Sync> epoch;
  ViewClock<Sync> views;
  Points<Sync> points;
  Names<Sync> names;
  LeaseState<Sync> leases;
  // For who has a batch's leases to ask (Versions::state_of).
  const Table<Sync>* table = nullptr;
  const Time* time = nullptr;
  std::uint64_t seed = 0;
  Geometry<Sync> geometry;
  bool align_records = false;
  // A set takes the short way with values of fewer bytes than this (writes-inl.h); 0: never.
  std::uint64_t short_values_below = 0;
  // What a record's meta word is born with: an access count that is full, unless something is evicted here.
  std::uint64_t birth_meta = Hold::kAccessMask;
  RemovalHook removal_hook;
  // No version below it is given out: what an earlier life of the same snapshot may have given out. Set at open.
  std::uint64_t version_base = 0;
  std::uint64_t next_version(std::uint64_t before) const noexcept { return (before < version_base ? version_base : before) + 1; }
  Upkeep upkeep;
  EventState<Sync> events;
  LogTarget log;
  Word kept_notes{};  // keys on the queues of kept.h
  Word kept_hand{};   // the shard whose queue is gone over
  KeptSweep<Sync> kept_sweep;

  Space() = default;
  Space(const Space&) = delete;
  Space& operator=(const Space&) = delete;
  ~Space() {
    for (Thr* t = threads_.load(std::memory_order_acquire); t != nullptr;) {  // [threads] acquire
      Thr* next = t->next;
      for (BagRing<Sync>* r = t->epoch.ring.next.load(std::memory_order_relaxed); r != nullptr;) {  // alone
        BagRing<Sync>* more = r->next.load(std::memory_order_relaxed);  // alone
        alloc::private_free(r);
        r = more;
      }
      heap.release_cache(t->cache);
      t->~Thr();
      alloc::private_free(t);
      t = next;
    }
  }

  // Whether a point is active that may kill what is found now. Asked before the look at the table (points.h).
  [[gnu::always_inline]] bool has_points() const noexcept {
    return epoch.line().points.load(std::memory_order_seq_cst) != 0;  // [point] seq_cst
  }

  // An entry that is never evicted came, or went; `expired`: by itself. Leases are such entries, and counted here.
  [[gnu::noinline]] void count_kept(Thr& t, const Rec& r, bool came, bool expired = false) noexcept {
    t.counters.kept.add(came ? 1 : ~std::uint64_t{0});
    const Stamp s = r.stamp_word();
    const Bytes key = key_of(r, s);
    if (!LeaseKey::is_one({key.data, key.size})) return;
    leases.count.fetch_add(came ? 1 : ~std::uint64_t{0}, std::memory_order_relaxed);  // a count
    if (came) return;
    LeaseTerms terms;
    const Bytes value = value_of(r, s, key.size);
    // A lock's own lease, which is given up, has no member any more, unless somebody has attached one; in an earlier life perhaps.
    const bool is_lone = terms.read({value.data, value.size}) && terms.lone && LeaseKey::id_of({key.data, key.size}) > version_base;
    if (is_lone && !expired && leases.shared.load(std::memory_order_seq_cst) == 0) return;  // [lease] seq_cst
    leases.ended.fetch_add(1, std::memory_order_seq_cst);  // [lease] seq_cst
    upkeep.ask();
  }

  // --- threads -------------------------------------------------------------------------------------------------

  // A thread's state: one that is free, or a new one. Null: no memory. Lock-free.
  Thr* register_thread(std::uint64_t owner) noexcept {
    for (Thr* t = threads_.load(std::memory_order_acquire); t != nullptr; t = t->next) {  // [threads] acquire
      std::uint64_t free = 0;
      if (t->owner.load(std::memory_order_relaxed) == 0 &&
          t->owner.compare_exchange_strong(free, owner, std::memory_order_acq_rel)) {  // [owner] acquire
        return t;
      }
    }
    void* memory = alloc::private_allocate_aligned(sizeof(Thr), alignof(Thr));
    if (memory == nullptr) return nullptr;
    Thr* t = new (memory) Thr{};
    t->owner.store(owner, std::memory_order_relaxed);  // not yet in the list
    t->geometry = geometry;
    // By the order of arrival, not by the system's number: one thread with one seed makes the same bytes on each run.
    t->random = seed ^ ((thread_count_.fetch_add(1, std::memory_order_relaxed) + 1) * 0x9E3779B97F4A7C15u);
    Thr* head = threads_.load(std::memory_order_relaxed);  // the swap publishes
    do {
      t->next = head;
    } while (!threads_.compare_exchange_weak(head, t, std::memory_order_release,  // [threads] release
                                             std::memory_order_relaxed));
    return t;
  }

  // The thread goes: what it held for itself goes back. Its limbo stays, for anybody to free.
  void release_thread(Thr& t) noexcept {
    epoch.flush(*this, t);
    heap.release_cache(t.cache);
    t.owner.store(0, std::memory_order_release);  // [owner] release
  }

  template <class Fn>
  void for_each_thread_state(Fn&& fn) const noexcept {
    for (Thr* t = threads_.load(std::memory_order_acquire); t != nullptr; t = t->next) fn(*t);  // [threads] acquire
  }
  template <class Fn>
  void for_each_thread(Fn&& fn) const noexcept {
    for_each_thread_state([&](Thr& t) { fn(t.epoch); });
  }

  // States ever made: a bound on the threads that are inside now.
  std::uint64_t thread_count() const noexcept { return thread_count_.load(std::memory_order_relaxed); }

  BagRing<Sync>* new_ring() noexcept {
    void* memory = alloc::private_allocate_aligned(sizeof(BagRing<Sync>), alignof(BagRing<Sync>));
    return memory == nullptr ? nullptr : new (memory) BagRing<Sync>{};
  }

  // --- from offsets to bytes -----------------------------------------------------------------------------------

  Rec* record(std::uint64_t offset) const noexcept { return heap.template at<Rec>(offset); }
  std::uint64_t offset_of(const Rec& r) const noexcept {
    return static_cast<std::uint64_t>(reinterpret_cast<const std::byte*>(&r) - heap.base()) / alloc::kUnitBytes;
  }

  Bytes key_of(const Rec& r, Stamp s) const noexcept {
    if (!s.has_ext()) [[likely]] {
      return {r.bytes() + kRecordHeaderBytes + (s.has_x() ? 8 : 0), s.klen8()};
    }
    const Ext e = r.ext(s);
    if (e.key_ref()) {
      const Rec& holder = *record(r.ref(s));
      return key_of(holder, holder.stamp_word());
    }
    const std::size_t size = s.klen8() == 255 ? e.key_size() : s.klen8();
    if (e.key_in_extent()) return {heap.template at<char>(r.ref(s)) + sizeof(ExtentHeader), size};
    return {r.bytes() + kRecordHeaderBytes + (s.has_x() ? 8 : 0) + 8 + (e.has_ref() ? 8 : 0), size};
  }

  [[gnu::always_inline]] bool has_key(const Rec& r, Stamp s, std::string_view key) const noexcept {
    if (!s.has_ext()) [[likely]] {
      Sync::plain_read(r.bytes() + kRecordHeaderBytes + (s.has_x() ? 8 : 0), s.klen8());
      return s.klen8() == key.size() &&
             simd::key_equal(r.bytes() + kRecordHeaderBytes + (s.has_x() ? 8 : 0), key.data(), key.size());
    }
    return has_long_key(r, s, key);
  }
  [[gnu::noinline]] bool has_long_key(const Rec& r, Stamp s, std::string_view key) const noexcept {
    const Bytes k = key_of(r, s);
    return k.size == key.size() && simd::key_equal(k.data, key.data(), key.size());
  }

  // Which shard its key lies in.
  [[gnu::noinline]] unsigned shard_of(const Rec& r, Stamp s) const noexcept {
    const Bytes key = key_of(r, s);
    const std::uint64_t at = simd::hash_bytes(key.data, key.size, geometry.hash_keys) >> geometry.shard_shift & geometry.shard_mask;
    return geometry.shard_mask == 0 ? 0 : static_cast<unsigned>(at >> std::countr_zero(geometry.shard_mask));
  }

  // `key_size` is that of the key which was looked up: no dependent load of the stored one.
  Bytes value_of(const Rec& r, Stamp s, std::size_t key_size) const noexcept {
    const std::uint64_t length = r.link_word().length18();
    if (planted<Sync>(Mutant::kValueFromWrongKeyLength)) key_size = s.klen8();
    if (!s.has_ext()) [[likely]] {
      return {r.bytes() + kRecordHeaderBytes + (s.has_x() ? 8 : 0) + key_size, length};
    }
    const Ext e = r.ext(s);
    const std::uint64_t size = length == Link::kLengthMask ? e.value_size() : length;
    if (e.extent()) {
      return {heap.template at<char>(r.ref(s)) + sizeof(ExtentHeader) + (e.key_in_extent() ? key_size : 0), size};
    }
    return {r.bytes() + kRecordHeaderBytes + (s.has_x() ? 8 : 0) + 8 + (e.has_ref() ? 8 : 0) + key_size, size};
  }

  // Of a record with an EXT: its tags, as a block.
  [[gnu::noinline]] std::string_view tags_of(const Rec& r, Stamp s) const noexcept {
    const Ext e = r.ext(s);
    if (!e.tags()) return {};
    const Bytes key = key_of(r, s);
    const std::uint64_t value = e.extent() ? 0 : value_of(r, s, key.size).size;
    const char* at = r.bytes() + RecordLayout::of(s.has_x(), true, e.has_ref(), e.key_in_extent() ? 0 : key.size, value).bytes;
    return {at, tag_block_bytes(at)};
  }

  std::string_view metadata_of(const Rec& r, Stamp s) const noexcept {
    return s.has_ext() ? metadata_in(tags_of(r, s)) : std::string_view{};
  }

  // Of a record that was built with has_word; a copy has none.
  [[gnu::noinline]] Word& word_behind(const Rec& r, Stamp s) const noexcept {
    const Bytes key = key_of(r, s);
    const Ext e = s.has_ext() ? r.ext(s) : Ext(0);
    const std::size_t bytes = RecordLayout::of(s.has_x(), s.has_ext(), e.has_ref(), e.key_in_extent() ? 0 : key.size,
                                               e.extent() ? 0 : value_of(r, s, key.size).size).bytes;
    const std::size_t at = word_at(bytes + (s.has_ext() ? tags_of(r, s).size() : 0));
    return *reinterpret_cast<Word*>(const_cast<char*>(r.bytes()) + at);
  }
  static constexpr std::size_t word_at(std::size_t bytes) noexcept { return (bytes + sizeof(Word) - 1) / sizeof(Word) * sizeof(Word); }

  std::uint64_t bytes_of(std::uint64_t offset) const noexcept {
    const Rec& r = *record(offset);
    const Stamp s = r.stamp_word();
    std::uint64_t bytes = heap.block_bytes(offset);
    if (s.has_ext() && r.ext(s).extent()) bytes += extent(r.ref(s)).bytes;
    return bytes;
  }

  // --- making and freeing records ------------------------------------------------------------------------------

  // A record that nobody else sees, PENDING, with its key in place and room for the value. Frees what may be freed
  // if there is no memory, once.
  [[gnu::always_inline]] Built build(Thr& t, const Spec& spec) noexcept {
    const std::size_t bytes = kRecordHeaderBytes + spec.key.size() + spec.value_size;
    if (!spec.has_deadline && !spec.absent && !spec.keep && spec.tags.empty() && !spec.has_word && spec.key.size() <= kShortKeyMax &&
        bytes <= kPlainBytesMax) [[likely]] {
      const std::uint64_t offset = heap.allocate(t.cache, plain_bytes(spec.key.size(), spec.value_size));
      if (offset != 0) [[likely]] return build_plain(offset, spec);
    }
    return build_any(t, spec);
  }
  static constexpr std::uint64_t born(Stamp s) noexcept {
    if constexpr (requires { Sync::kUnstamped; }) return s.stamped_at(0).without_link().word();
    return s.word();
  }
  // What such a record begins with.
  [[gnu::always_inline]] void give_header(Rec& r, std::size_t key_size, std::uint64_t value_size) noexcept {
    r.w0.store(born(Stamp::pending(0, static_cast<std::uint8_t>(key_size))),
               std::memory_order_relaxed);  // [publish] comes with the slot's swap
    r.link.store(Link::first(value_size).word(), std::memory_order_relaxed);  // [publish] as above
    r.meta.store(birth_meta, std::memory_order_relaxed);                      // [publish] as above
  }
  // What it takes.
  std::size_t plain_bytes(std::size_t key_size, std::uint64_t value_size) const noexcept {
    const std::size_t bytes = kRecordHeaderBytes + key_size + value_size;
    return align_records && bytes > 64 && bytes <= 128 ? 128 : bytes;
  }
  // The same out of the reserve: a small one that makes room, so that it doesn't fail because the budget is used up.
  [[gnu::noinline]] Built build_from_reserve(Thr& t, const Spec& spec) noexcept {
    if (kRecordHeaderBytes + spec.key.size() + spec.value_size > alloc::kReserveBlockBytes) return {};
    const std::uint64_t offset = heap.allocate_reserve(t.cache);
    return offset != 0 ? build_plain(offset, spec) : Built{};
  }
  // Below the largest class of the smallest store, and below the longest value that the header can tell.
  static constexpr std::size_t kPlainBytesMax = 8 << 10;
  static_assert(kPlainBytesMax < kShortValueMax);
  // Of a value on the short way.
  static constexpr std::size_t kShortWayBytesMax = 4 << 10;

  [[gnu::noinline]] Built build_any(Thr& t, const Spec& spec) noexcept {
    const bool long_key = spec.key.size() > kShortKeyMax;
    const bool long_value = spec.value_size > kShortValueMax;
    bool ext = long_key || long_value || spec.span.bits() != 0 || !spec.tags.empty();
    RecordLayout l = RecordLayout::of(spec.has_deadline, ext, false, spec.key.size(), spec.value_size);
    std::uint64_t where = 0;  // what of it lies in an extent
    const auto bytes_with = [&](std::size_t of_it) { return spec.has_word ? word_at(of_it + spec.tags.size()) + sizeof(Word) : of_it + spec.tags.size(); };
    if (bytes_with(l.bytes) > heap.largest_block()) {
      ext = true;
      where = Ext::kExtent;
      l = RecordLayout::of(spec.has_deadline, true, true, spec.key.size(), 0);
      if (bytes_with(l.bytes) > heap.largest_block()) {
        where |= Ext::kKeyInExtent;
        l = RecordLayout::of(spec.has_deadline, true, true, 0, 0);
      }
    }
    const bool key_in_extent = (where & Ext::kKeyInExtent) != 0;
    std::size_t bytes = bytes_with(l.bytes);
    if (align_records && bytes > 64 && bytes <= 128) bytes = 128;
    std::uint64_t extent_at = 0;
    if (where != 0) {
      extent_at = allocate_extent(t, spec.value_size + (key_in_extent ? spec.key.size() : 0));
      if (extent_at == 0) return {};
    }
    const std::uint64_t offset = allocate(t, bytes);
    if (offset == 0) {
      if (extent_at != 0) drop_extent(extent_at);
      return {};
    }
    Rec& r = *new (heap.at(offset)) Rec;
    const std::uint64_t flags = (spec.has_deadline ? Stamp::kHasX : 0) | (ext ? Stamp::kHasExt : 0) |
                                (spec.absent ? Stamp::kAbsent : 0);
    r.w0.store(born(Stamp::pending(flags, static_cast<std::uint8_t>(long_key ? 255 : spec.key.size()))),
               std::memory_order_relaxed);  // [publish] comes with the slot's swap
    r.link.store(Link::first(long_value ? Link::kLengthMask : spec.value_size).word(), std::memory_order_relaxed);
    r.meta.store(spec.keep ? Hold(birth_meta).kept().word() : birth_meta, std::memory_order_relaxed);  // [publish]
    if (spec.has_deadline) {
      new (r.bytes() + RecordLayout::kXAt) Word;
      r.x().store(Deadline::at(spec.deadline_ms).word(), std::memory_order_relaxed);  // [publish] as above
    }
    Sync::plain_write(r.bytes() + l.ext_at, l.bytes + spec.tags.size() - l.ext_at);
    if (ext) {
      const std::uint64_t tagged = spec.tags.empty() ? 0 : Ext::tags_with(where, lease_in(spec.tags) != 0);
      r.put_plain_word(l.ext_at, Ext::of(spec.key.size(), spec.value_size, where | tagged | spec.span.bits() << Ext::kSpanShift).word());
      if (!spec.tags.empty()) std::memcpy(r.bytes() + l.bytes, spec.tags.data(), spec.tags.size());
      if (where != 0) r.put_plain_word(l.ref_at, extent_at);
    }
    if (spec.has_word) {
      Word* const behind = new (r.bytes() + word_at(l.bytes + spec.tags.size())) Word;
      behind->store(0, std::memory_order_relaxed);  // [publish] as above
    }
    char* in_extent = heap.template at<char>(extent_at) + sizeof(ExtentHeader);
    char* key = key_in_extent ? in_extent : r.bytes() + l.key_at;
    simd::copy_bytes(key, spec.key.data(), spec.key.size());
    if (where == 0) return {offset, r.bytes() + l.value_at};
    return {offset, in_extent + (key_in_extent ? spec.key.size() : 0)};
  }

  // The record that says "removed here". A key of more than 254 bytes stays in the record `below`, which gets a hold.
  // `removes`: from the reserve when the budget is used up. What is no removal takes nothing of that.
  [[gnu::noinline]] std::uint64_t build_tomb(Thr& t, std::string_view key, std::uint64_t below, bool removes = true) noexcept {
    const bool by_reference = key.size() > kShortKeyMax;
    const RecordLayout l = RecordLayout::of(false, by_reference, by_reference, by_reference ? 0 : key.size(), 0);
    // An eviction's is one of many: asking in vain must not empty this thread's magazines each time.
    std::uint64_t offset = !removes           ? allocate(t, l.bytes)
                           : birth_meta == 0 ? heap.allocate_if_easy(t.cache, l.bytes)
                                             : heap.allocate(t.cache, l.bytes);
    if (offset == 0 && removes) offset = heap.allocate_reserve(t.cache);
    if (offset == 0 && removes) {
      reclaim_until(t, [&] {
        offset = heap.allocate(t.cache, l.bytes);
        if (offset == 0) offset = heap.allocate_reserve(t.cache);
        return offset != 0;
      });
      if (offset == 0) t.lacks_tomb = true;
    }
    if (offset == 0) return 0;
    Rec& r = *new (heap.at(offset)) Rec;
    r.w0.store(born(Stamp::pending(Stamp::kTomb | (by_reference ? Stamp::kHasExt : 0),
                                   static_cast<std::uint8_t>(by_reference ? 255 : key.size()))),
               std::memory_order_relaxed);                               // [publish] comes with the slot's swap
    r.link.store(Link::first(0).word(), std::memory_order_relaxed);  // [publish] as above
    r.meta.store(0, std::memory_order_relaxed);                          // [publish] as above
    if (by_reference) {
      // If `below` is itself a tomb that refers, its own holder keeps the key: refer to that one.
      std::uint64_t holder = below;
      const Rec& b = *record(below);
      const Stamp s = b.stamp_word();
      if (s.has_ext() && b.ext(s).key_ref()) holder = b.ref(s);
      record(holder)->meta.fetch_add(Hold::kOne, std::memory_order_acq_rel);  // [hold] inside the guard that found it
      r.put_plain_word(l.ext_at, Ext::of(key.size(), 0, Ext::kKeyRef).word());
      r.put_plain_word(l.ref_at, holder);
    } else {
      simd::copy_bytes(r.bytes() + l.key_at, key.data(), key.size());
    }
    return offset;
  }

  // The same of an eviction, of a key in its record's header, from what the thread has at hand, else what is listed, else the
  // reserve: a full heap has nothing else. 0: nothing.
  [[gnu::always_inline]] std::uint64_t tomb_of_victim(Thr& t, std::string_view key) noexcept {
    const std::size_t bytes = kRecordHeaderBytes + key.size();
    std::uint64_t offset = heap.allocate_at_hand(t.cache, bytes);
    if (offset == 0) [[unlikely]] {
      offset = heap.allocate_if_listed(t.cache, bytes);
      if (offset == 0) offset = heap.allocate_reserve(t.cache);
      if (offset == 0) return 0;
    }
    Rec& r = *new (heap.at(offset)) Rec;
    r.w0.store(born(Stamp::pending(Stamp::kTomb, static_cast<std::uint8_t>(key.size()))),
               std::memory_order_relaxed);  // [publish] comes with the slot's swap
    simd::copy_bytes(r.bytes() + kRecordHeaderBytes, key.data(), key.size());
    return offset;
  }

  // The same bytes in a fresh block: a record that was killed in its slot is never placed again (rule Q1). The
  // extent, if there is one, is shared. 0: no memory.
  [[gnu::noinline]] std::uint64_t copy_of(Thr& t, std::uint64_t offset) noexcept {
    const Rec& r = *record(offset);
    const Stamp s = r.stamp_word();
    const Ext e = s.has_ext() ? r.ext(s) : Ext(0);
    const Bytes key = key_of(r, s);
    const std::uint64_t value_size = value_of(r, s, key.size).size;
    const bool extent_value = e.extent();
    const std::size_t bytes = RecordLayout::of(s.has_x(), s.has_ext(), e.has_ref(), e.key_in_extent() ? 0 : key.size,
                                               extent_value ? 0 : value_size)
                                  .bytes +
                              (s.has_ext() ? tags_of(r, s).size() : 0);
    // A block of the same size, whatever it is for: what is counted of a namespace stays as it is.
    const std::uint64_t to = allocate(t, heap.is_of_reserve(offset) ? bytes : heap.block_bytes(offset));
    if (to == 0) return 0;
    Rec& c = *new (heap.at(to)) Rec;
    c.w0.store(Stamp::pending(s.word() & (Stamp::kHasX | Stamp::kHasExt | Stamp::kAbsent), s.klen8()).word(),
               std::memory_order_relaxed);                                             // [publish] with the slot's swap
    c.link.store(Link::first(r.link_word().length18()).word(), std::memory_order_relaxed);  // [publish] as above
    c.meta.store(Hold(r.meta.load(std::memory_order_relaxed)).keep() ? Hold(birth_meta).kept().word() : birth_meta,
                 std::memory_order_relaxed);  // [publish] as above
    std::size_t at = kRecordHeaderBytes;
    if (s.has_x()) {
      new (c.bytes() + RecordLayout::kXAt) Word;
      c.x().store(Deadline(r.x().load(std::memory_order_acquire)).thawed().word(),  // [deadline] acquire
                  std::memory_order_relaxed);                                       // [publish] as above
      at += 8;
    }
    Sync::plain_read(r.bytes() + at, bytes - at);
    Sync::plain_write(c.bytes() + at, bytes - at);
    std::memcpy(c.bytes() + at, r.bytes() + at, bytes - at);
    if (extent_value && !planted<Sync>(Mutant::kExtentHoldLost)) {
      extent(r.ref(s)).references.fetch_add(1, std::memory_order_relaxed);  // holding one already
    }
    return to;
  }

  // A record that nobody ever saw.
  void discard(Thr& t, std::uint64_t offset) noexcept { free_record(t, offset); }

  // A record that was unlinked: freed when nobody can be reading it.
  [[gnu::always_inline]] void retire(Thr& t, std::uint64_t offset) noexcept {
    epoch.retire(*this, t, offset, bytes_of(offset));
  }

  // By the way of almost every set, which has come across a short record's header.
  [[gnu::always_inline]] void retire_at_hand(Thr& t, std::uint64_t offset) noexcept {
    epoch.template retire<true>(*this, t, offset, heap.block_bytes(offset));
  }

  // The same for a heap block, or an extent, that is no record's: a mark in the bag's word says so.
  static constexpr std::uint64_t kPlainBlock = std::uint64_t{1} << 63;
  static constexpr std::uint64_t kPlainExtent = std::uint64_t{1} << 62;
  void retire_block(Thr& t, std::uint64_t offset) noexcept {
    epoch.retire(*this, t, offset | kPlainBlock, heap.block_bytes(offset));
  }
  // Bytes begin behind an ExtentHeader. 0: no memory.
  std::uint64_t new_extent(Thr& t, std::uint64_t bytes) noexcept { return allocate_extent(t, bytes); }
  void retire_extent(Thr& t, std::uint64_t offset) noexcept {
    epoch.retire(*this, t, offset | kPlainExtent, extent(offset).bytes);
  }
  void free_extent(std::uint64_t offset) noexcept { drop_extent(offset); }

  // The same for a hold: whoever found the record through its holder may still be at it. What waits for its last holder counts
  // as gone from now on (kLetGo); so does what may come to that before the hold is dropped (kForeseen), up to so many bytes.
  static constexpr std::uint64_t kOnlyHold = std::uint64_t{1} << 61;
  static constexpr std::uint64_t kLetGo = std::uint64_t{1} << 60;
  static constexpr std::uint64_t kForeseen = std::uint64_t{1} << 59;
  static constexpr std::uint64_t kMarks = kPlainBlock | kPlainExtent | kOnlyHold | kLetGo | kForeseen;
  void retire_hold(Thr& t, std::uint64_t offset, std::uint64_t foreseen_bytes_max = 0) noexcept {
    if (planted<Sync>(Mutant::kEventReleasedAtOnce)) return drop_hold(t, offset);
    std::uint64_t marks = kOnlyHold | kLetGo;
    std::uint64_t bytes = 0;
    if (record(offset)->hold_word().orphan()) {
      bytes = bytes_of(offset);
      orphan_bytes_.fetch_sub(bytes, std::memory_order_relaxed);  // a figure
    } else if (foreseen_bytes_.load(std::memory_order_relaxed) < foreseen_bytes_max) {  // a figure
      foreseen_bytes_.fetch_add(bytes_of(offset), std::memory_order_relaxed);          // as above
      orphan_bytes_.fetch_sub(bytes_of(offset), std::memory_order_relaxed);            // as above
      marks |= kForeseen;
    } else {
      marks = kOnlyHold;
    }
    epoch.retire(*this, t, offset | marks, bytes);
  }
  void reclaim_soon(std::uint64_t offset) const noexcept {
    if constexpr (!Sync::kWordwise) prefetch_near(heap.at(offset & ~kMarks));
  }
  void free_block(Thr& t, std::uint64_t offset) noexcept {
    Sync::plain_write(heap.at(offset), heap.block_bytes(offset));
    heap.free(t.cache, offset);
  }

  // After the grace period. No new hold can appear now: a hold is taken inside a guard that found the record linked.
  void reclaim(Thr& t, std::uint64_t offset) noexcept {
    if ((offset & kMarks) != 0) [[unlikely]] {
      const std::uint64_t at = offset & ~kMarks;
      if ((offset & kPlainExtent) != 0) return free_extent(at);
      if ((offset & kOnlyHold) == 0) return free_block(t, at);
      if ((offset & kForeseen) != 0) foreseen_bytes_.fetch_sub(bytes_of(at), std::memory_order_relaxed);  // a figure
      return (offset & kLetGo) != 0 ? drop_let_go(t, at) : drop_hold(t, at);
    }
    Rec& r = *record(offset);
    std::uint64_t m = r.meta.load(std::memory_order_acquire);  // [hold] acquire
    while (Hold(m).holds() != 0 && !planted<Sync>(Mutant::kFreeHeld)) {
      const std::uint64_t bytes = bytes_of(offset);  // afterwards it may be gone
      if (r.meta.compare_exchange_weak(m, Hold(m).orphaned().word(), std::memory_order_acq_rel)) {  // [hold] release
        orphan_bytes_.fetch_add(bytes, std::memory_order_relaxed);  // a figure
        return;  // the last holder frees it
      }
    }
    free_record(t, offset);
  }

  // Of a plain record that nobody holds, when there is room at hand for its block. False: nothing has happened.
  [[gnu::always_inline]] bool reclaim_at_hand(Thr& t, std::uint64_t offset) noexcept {
    if ((offset & kMarks) != 0) [[unlikely]] return false;
    const Rec& r = *record(offset);
    const Hold hold(r.meta.load(std::memory_order_acquire));  // [hold] acquire
    if (hold.holds() != 0 || r.stamp_word().has_ext()) [[unlikely]] return false;
    Sync::plain_write(r.bytes() + kRecordHeaderBytes, heap.block_bytes(offset) - kRecordHeaderBytes);  // before it is poisoned
    return heap.free_at_hand(t.cache, offset);
  }

  // --- holds ---------------------------------------------------------------------------------------------------

  // Inside the guard that found the record. False: it has as many holds as it can have.
  bool try_hold(Rec& r) noexcept {
    const Hold before(r.meta.fetch_add(Hold::kOne, std::memory_order_acq_rel));  // [hold] acq_rel
    Sync::point("hold.taken");
    if (before.holds() < Hold::kHoldsMax) return true;
    r.meta.fetch_sub(Hold::kOne, std::memory_order_acq_rel);  // [hold] still inside the guard: not the last
    return false;
  }

  void drop_hold(Thr& t, std::uint64_t offset) noexcept {
    const Hold before(record(offset)->meta.fetch_sub(Hold::kOne, std::memory_order_acq_rel));  // [hold] acq_rel
    Sync::point("hold.dropped");
    if (before.holds() == 1 && (before.orphan() || planted<Sync>(Mutant::kDropWithoutOrphanTest))) {
      if (before.orphan()) orphan_bytes_.fetch_sub(bytes_of(offset), std::memory_order_relaxed);  // a figure
      free_record(t, offset);
    }
  }

  // The same of one that is off the account already: if others keep it, or it is current, that was wrong.
  void drop_let_go(Thr& t, std::uint64_t offset) noexcept {
    const std::uint64_t bytes = bytes_of(offset);  // afterwards it may be gone
    const Hold before(record(offset)->meta.fetch_sub(Hold::kOne, std::memory_order_acq_rel));  // [hold] acq_rel
    Sync::point("hold.dropped");
    if (before.holds() != 1 || !before.orphan()) {
      orphan_bytes_.fetch_add(bytes, std::memory_order_relaxed);  // a figure
      return;
    }
    if (planted<Sync>(Mutant::kLetGoTwice)) orphan_bytes_.fetch_sub(bytes, std::memory_order_relaxed);
    free_record(t, offset);
  }

  // In small steps, until found() says that there is what it looks for; a bounded number of them.
  template <class Found>
  void reclaim_until(Thr& t, Found&& found) noexcept {
    for (unsigned step = 0; step != kReclaimSteps; ++step) {
      const bool more = epoch.reclaim(*this, t, kReclaimUnits);
      if (found() || !more) return;
    }
  }
  static constexpr unsigned kReclaimSteps = 8;
  static constexpr std::uint64_t kReclaimUnits = 256;

  // Of records that are in no slot's chain any more and wait for their last holder, if he hasn't let go already.
  std::uint64_t orphan_bytes() const noexcept {
    const std::uint64_t n = orphan_bytes_.load(std::memory_order_relaxed);  // a figure; who takes may be counted first
    return n >> 63 != 0 ? 0 : n;
  }

  std::uint64_t allocate(Thr& t, std::size_t bytes) noexcept {
    std::uint64_t offset = heap.allocate(t.cache, bytes);
    if (offset == 0) [[unlikely]] {
      reclaim_until(t, [&] { return (offset = heap.allocate(t.cache, bytes)) != 0; });
      if (offset == 0) t.short_of = bytes;
    }
    return offset;
  }

 private:
  // An ordinary record into a block that is large enough.
  [[gnu::always_inline]] Built build_plain(std::uint64_t offset, const Spec& spec) noexcept {
    Rec& r = *new (heap.at(offset)) Rec;
    give_header(r, spec.key.size(), spec.value_size);
    char* key = r.bytes() + kRecordHeaderBytes;
    Sync::plain_write(key, spec.key.size() + spec.value_size);
    simd::copy_bytes(key, spec.key.data(), spec.key.size());
    return {offset, key + spec.key.size()};
  }

  std::uint64_t allocate_extent(Thr& t, std::uint64_t value_size) noexcept {
    const std::size_t bytes = value_size + sizeof(ExtentHeader);
    std::uint64_t offset = heap.allocate_extent(bytes);
    if (offset == 0) {
      reclaim_until(t, [&] { return (offset = heap.allocate_extent(bytes)) != 0; });
      if (offset == 0) t.short_of = bytes;
      if (offset == 0) return 0;
    }
    auto* header = new (heap.at(offset)) ExtentHeader;
    header->references.store(1, std::memory_order_relaxed);  // nobody else sees it
    header->bytes = bytes;
    return offset;
  }

  ExtentHeader& extent(std::uint64_t offset) const noexcept { return *heap.template at<ExtentHeader>(offset); }

  void drop_extent(std::uint64_t offset) noexcept {
    ExtentHeader& e = extent(offset);
    if (e.references.fetch_sub(1, std::memory_order_acq_rel) == 1) heap.free_extent(offset, e.bytes);  // [extent]
  }

  void free_record(Thr& t, std::uint64_t offset) noexcept {
    const Rec& r = *record(offset);
    const Stamp s = r.stamp_word();
    if (s.has_ext()) [[unlikely]] {
      const Ext e = r.ext(s);
      if (e.extent()) drop_extent(r.ref(s));
      if (e.key_ref()) drop_hold(t, r.ref(s));
    }
    Sync::plain_write(r.bytes() + kRecordHeaderBytes, heap.block_bytes(offset) - kRecordHeaderBytes);
    heap.free(t.cache, offset);
  }

  typename Sync::template Atomic<Thr*> threads_{};
  Word orphan_bytes_{};
  Word foreseen_bytes_{};  // taken off it before they were on it
  Word thread_count_{};  // states ever made; a number for each
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_SPACE_H_
