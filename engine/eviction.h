// Eviction: who makes room, and when.
//
// One budget over all sizes and shards. A key enters a queue once in its life, by an entry that names it without an
// offset (rule Q2), so queues hold back no memory and nobody has to take an entry out when its key goes:
//
//   entry   63..58 gen6 | 57..43 tag15 | 42..  shard and bucket, as many bits as this store's table can have | age
//
// That says which slot: the one in its bucket's chain with this tag and this generation. None has: the entry is void,
// and dropped when it is met. (Another key of the same chain, tag and generation: one in some millions, and a cache may
// evict it.) An overwrite keeps the slot's generation and the record's access count, and so the key's place; a key that
// comes back gets another generation.
//
// Which queue a key enters, which gives the next victim and what becomes of it is eviction_policy.h's to say. A duel's
// winner from main goes back before main's head: into a word that is looked at first.
//
// Two queues in each of a few groups of shards: enough that threads don't meet, few enough that each holds hundreds of
// entries (one group where entries_max or the budget is small: hash-partitioned queues of fewer than 256 entries lose
// hits). Which group gives the victim: of two at random the one whose head is older; how old a head is, is the age of
// the entry that was popped last, a number of the store that moves with the pushes. So the whole store is one queue but
// for a few entries; a split of the budget by shards was measured to cost a real trace 7 points of 17.
//
// When. Room is what the heap can still hand out, plus the limbo: what is in limbo will be free soon, unless a thread
// stands still inside a call, and then evicting would empty the cache without giving a byte back. An insert that finds
// less room than the reserve evicts up to two; so memory is ready before it is needed, and the grace period passes
// meanwhile. The reserve follows the limbo: a 64th of the budget, and what was seen to be in limbo at most and a
// quarter more, up to the limbo's cap. Memory can also be short of one size alone: then the write itself evicts, a
// bounded number (make_room), and answers out_of_memory if that gave nothing; what it would have needed is owed, and
// maintenance goes on.
//
// A victim goes through commit, by the record that was judged: a record that replaced it meanwhile stays. Not victims:
// a held record, an entry under way, one that is marked KEEP. An expired one goes first, wherever it is met. An access
// count comes down by one at each visit, and half-way through a call's visits it isn't looked at any more: a victim is
// found in a bounded number of steps.
//
// A key whose entry is lost (no memory for a queue's segment; a thread stopped between the slot and the push, or
// between pop and push) is still found by the sweep, which walks the buckets where the queues have nothing.
//
// Any thread may call anything, inside a guard. Lock-free; no waiting. Cost of an eviction: a pop, the slot's and the
// record's lines, a removal through commit.
#ifndef TERN_ENGINE_EVICTION_H_
#define TERN_ENGINE_EVICTION_H_

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <new>
#include <string_view>

#include "alloc/private_memory.h"
#include "engine/changes.h"
#include "engine/commit.h"
#include "engine/eviction_policy.h"
#include "engine/growth.h"
#include "engine/insertion.h"
#include "engine/seg_queue.h"
#include "engine/table.h"

namespace tern::detail {

// How an entry is packed in one store.
class EntryFormat {
 public:
  EntryFormat() = default;
  EntryFormat(unsigned shard_count, std::uint64_t buckets_max) noexcept
      : shard_bits_(static_cast<unsigned>(std::countr_zero(shard_count))),
        bucket_bits_(static_cast<unsigned>(std::bit_width(buckets_max | kFirstBuckets))),
        age_bits_(64 - kGenBits - kTagBits - shard_bits_ - bucket_bits_) {}

  // What a table with this many buckets a shard can name: a home's mask may be one bit wider than N.
  static constexpr unsigned kGenBits = 6;
  static constexpr unsigned kTagBits = 15;
  static constexpr unsigned kAgeBitsMin = 6;

  unsigned age_bits() const noexcept { return age_bits_; }
  // Never 0 and never all ones, which queues keep for themselves.
  std::uint64_t pack(std::uint64_t hash, unsigned gen, std::uint64_t age) const noexcept {
    const std::uint64_t range = (std::uint64_t{1} << age_bits_) - 2;
    std::uint64_t place = hash & mask(bucket_bits_);
    if (shard_bits_ != 0) place |= hash >> (64 - shard_bits_) << bucket_bits_;
    return std::uint64_t{gen & 63} << (64 - kGenBits) |
           (hash >> 33 & mask(kTagBits)) << (64 - kGenBits - kTagBits) | place << age_bits_ | (age % range + 1);
  }
  static unsigned gen(std::uint64_t entry) noexcept { return static_cast<unsigned>(entry >> (64 - kGenBits)); }
  std::uint64_t age(std::uint64_t entry) const noexcept { return entry & mask(age_bits_); }
  // The hash, as far as the table asks for it: shard, tag and bucket.
  std::uint64_t hash(std::uint64_t entry) const noexcept {
    const std::uint64_t place = entry >> age_bits_;
    std::uint64_t h = (place & mask(bucket_bits_)) | (entry >> (64 - kGenBits - kTagBits) & mask(kTagBits)) << 33;
    if (shard_bits_ != 0) h |= (place >> bucket_bits_ & mask(shard_bits_)) << (64 - shard_bits_);
    return h;
  }
  // Whether `a` was pushed before `b`, both being the ages of entries that are in queues now.
  bool older(std::uint64_t a, std::uint64_t b) const noexcept {
    const std::uint64_t range = (std::uint64_t{1} << age_bits_) - 2;
    const std::uint64_t ahead = b >= a ? b - a : b + range - a;
    return ahead != 0 && ahead < range / 2;
  }

 private:
  static constexpr std::uint64_t mask(unsigned bits) noexcept { return (std::uint64_t{1} << bits) - 1; }
  unsigned shard_bits_ = 0;
  unsigned bucket_bits_ = 0;
  unsigned age_bits_ = 0;
};

// A removal of one record: if another has taken its place, that one stays.
template <class Sync>
class EvictChange : public ChangeBase<Sync> {
 public:
  static constexpr RemovalCause kCause = RemovalCause::kEvicted;
  EvictChange(Space<Sync>& space, Thread<Sync>& t, std::string_view key, const Record<Sync>& judged,
              bool only_if_expired) noexcept
      : ChangeBase<Sync>(space, t, key), judged_(&judged), only_if_expired_(only_if_expired) {}

  Decision judge(const Head<Sync>& head) noexcept {
    this->note(head);
    if (head.record == nullptr) return Decision::kKeep;
    if (head.record != judged_) return Decision::kKeep;
    if (only_if_expired_ && !head.expired) return Decision::kKeep;  // its lifetime was extended meanwhile
    return Decision::kRemove;
  }
  std::uint64_t record(Thread<Sync>&, const Head<Sync>&) noexcept { return 0; }

 private:
  const Record<Sync>* judged_;
  bool only_if_expired_;
};

struct EvictionOptions {
  std::uint64_t entries_max = 0;
  std::size_t table_bytes_max = 0;
};

template <class Sync>
class Eviction {
 public:
  using Tbl = Table<Sync>;
  using Shd = Shard<Sync>;
  using Thr = Thread<Sync>;
  using Rec = Record<Sync>;
  using Word = typename Sync::template Atomic<std::uint64_t>;

  static constexpr std::uint64_t kEntriesAQueue = 256;
  static constexpr unsigned kGroupsMax = 64;
  static constexpr std::size_t kBytesAGroup = std::size_t{16} << 20;
  static constexpr unsigned kVisitsMax = 128;     // entries that one call of evict_one looks at
  static constexpr unsigned kSweptMax = 64;       // buckets
  static constexpr std::uint64_t kVoidMax = 1024;
  static constexpr unsigned kPushesANumber = 16;  // of the clock of ages

  Eviction() = default;
  Eviction(const Eviction&) = delete;
  Eviction& operator=(const Eviction&) = delete;
  ~Eviction() { alloc::private_free(groups_); }

  // False: no memory. `bound` and `time` as Commit's.
  bool open(Tbl& table, const Time& time, EntryBound<Sync>& bound, const EvictionOptions& o) noexcept {
    table_ = &table;
    time_ = &time;
    bound_ = &bound;
    const unsigned shards = table.shard_count();
    format_ = EntryFormat(shards, o.table_bytes_max / sizeof(Bucket<Sync>) / shards);
    if (format_.age_bits() < EntryFormat::kAgeBitsMin) return false;
    std::uint64_t groups = std::min<std::uint64_t>(space().heap.budget_bytes() / kBytesAGroup, kGroupsMax);
    if (o.entries_max != 0) groups = std::min(groups, o.entries_max / kEntriesAQueue / 16);
    groups = std::min<std::uint64_t>(std::bit_floor(std::max<std::uint64_t>(groups, 1)), shards);
    group_count_ = static_cast<unsigned>(groups);
    shards_a_group_shift_ = static_cast<unsigned>(std::countr_zero(shards) - std::countr_zero(group_count_));
    void* memory = alloc::private_allocate_aligned(sizeof(Group) * group_count_, alignof(Group));
    if (memory == nullptr) return false;
    groups_ = static_cast<Group*>(memory);
    for (unsigned i = 0; i != group_count_; ++i) new (groups_ + i) Group{};
    set_budget(space().heap.budget_bytes());
    // What the policy remembers: for as many entries as there may be, or for records of half a kilobyte; for more it
    // remembers a part.
    std::uint64_t entries = std::max<std::uint64_t>(space().heap.budget_bytes() / 512, EvictionPolicy<Sync>::kEntriesMin);
    if (o.entries_max != 0) entries = std::min<std::uint64_t>(o.entries_max, space().heap.budget_bytes() / 128);
    const std::size_t bytes = EvictionPolicy<Sync>::words(entries) * sizeof(Word);
    const std::uint64_t at = space().heap.allocate_extent(bytes);
    if (at == 0) return false;
    Word* words = space().heap.template at<Word>(at);
    for (std::size_t i = 0; i != bytes / sizeof(Word); ++i) new (words + i) Word(0);
    policy_.open(words, entries);
    return true;
  }

  void set_budget(std::size_t memory_bytes) noexcept {
    reserve_min_ = memory_bytes / 64;
    reserve_max_ = memory_bytes / 8;
    set_aside_ = std::max<std::uint64_t>(memory_bytes / 128, space().heap.span_bytes());
    // Nothing has been in limbo yet; with one thread alone it comes down soon.
    reserve_.store(memory_bytes / 16, std::memory_order_relaxed);  // a threshold
  }

  // --- for commit, inside a guard ------------------------------------------------------------------------------

  // The key has entered the table in this incarnation.
  void inserted(Thr& t, std::uint64_t hash, unsigned gen, bool keep) noexcept {
    t.counters.inserts.add();
    // Before its own entry is there to be taken. More than one, until the reserve is there.
    if (std::uint64_t missing = missing_room(); missing != 0) {
      const unsigned count = missing > reserve_.load(std::memory_order_relaxed) / 2 ? 4 : 2;  // a threshold
      for (unsigned i = 0; i != count && missing != 0; ++i, missing = missing_room()) {
        if (evict_one(t) == 0) break;
        follow_limbo(t);
      }
    }
    Sync::point("evict.push");
    if (keep) return;
    Group& g = group_of(hash);
    const std::uint64_t entry = format_.pack(hash, gen, next_age(t));
    const bool to_main = policy_.missed(key_of(format_.hash(entry))) == EvictionQueue::kMain;
    if (!push(t, to_main ? g.main : g.small, entry)) lost_.fetch_add(1, std::memory_order_relaxed);  // a hint for the sweep
    if (t.pushes == 0) drop_void(t, g);
  }

  // --- for reads -----------------------------------------------------------------------------------------------

  // A hit of a record whose count isn't full. The keys that the policy follows never fill theirs, so that each of their
  // hits comes here.
  // `hash` is its key's.
  [[gnu::noinline]] void count_hit(Rec& r, Hold hold, std::uint64_t hash) noexcept {
    const std::uint64_t key = key_of(format_.hash(format_.pack(hash, 0, 0)));
    unsigned most = kAccessMax;
    if (policy_.sampled(key)) {
      policy_.offer(key);
      most = kAccessMax - 1;
    }
    if (hold.access() >= most) return;
    Sync::point("hit.count");
    std::uint64_t expected = hold.word();
    // Relaxed: a count. One try: another reader has counted, or somebody takes a hold.
    r.meta.compare_exchange_strong(expected, hold.read_once_more().word(), std::memory_order_relaxed);  // as above
  }

  // The limbo has what is wanted and more, and doesn't give it: a thread stands still inside a call.
  bool stands_still(std::uint64_t bytes) const noexcept {
    return space().epoch.limbo_bytes() > std::max(reserve_max_ / 2, 4 * bytes);
  }

  // Removes one entry. Answers what it took of the budget; 0: none of those that were looked at could go.
  std::uint64_t evict_one(Thr& t) noexcept {
    unsigned empty = 0;
    for (unsigned n = 0; n != kVisitsMax; ++n) {
      Group& a = random_group(t);
      Group& b = random_group(t);
      const std::uint64_t small = a.small.count() + b.small.count();
      const std::uint64_t main = a.main.count() + b.main.count();
      const bool from_small = policy_.next(small, main) == EvictionQueue::kSmall;
      Group& g = pick(a, b, from_small);
      const std::uint64_t entry = from_small ? take_small(t, g) : take_main(t, g);
      if (entry == 0) {
        if (++empty >= 4) break;
        continue;
      }
      const bool whatever = n >= kVisitsMax / 2;
      const std::uint64_t bytes = from_small ? visit_small(t, g, entry, small, main, whatever) : visit_main(t, g, entry, whatever);
      if (bytes != 0) return bytes;
    }
    return sweep(t);
  }

  // A slot in the chain of `home`, where there is no memory for another overflow bucket: one of its own entries goes.
  // (Chains have their worst day once, and overflow buckets stay: a full store has none to spare for them.)
  bool evict_from(Thr& t, Bucket<Sync>& home) noexcept {
    for (unsigned least = 0; least <= kAccessMax; ++least) {
      if (evict_in_chain(t, home, least, false) != 0) return true;
    }
    return false;
  }

  // How much less room there is than the reserve.
  std::uint64_t missing_room() const noexcept {
    const std::uint64_t wanted = reserve_.load(std::memory_order_relaxed);  // a threshold
    const std::uint64_t room = room_bytes();
    return room < wanted ? wanted - room : 0;
  }
  // Some of what the budget has left is for the table, for tombs and queues: records would take all of it.
  std::uint64_t room_bytes() const noexcept {
    const auto& heap = space().heap;
    const std::uint64_t left = heap.unassigned_bytes();
    std::uint64_t room = heap.free_bytes() + (left > set_aside_ ? left - set_aside_ : 0);
    room += space().epoch.limbo_bytes();
    return room;
  }

  // --- for a write that found no memory, outside of its guard --------------------------------------------------

  // Room for `bytes`, by a part of the `victims` that the call may take. False: nothing was done; more won't help.
  bool make_room(Thr& t, std::uint64_t bytes, unsigned& victims) noexcept {
    auto& epoch = space().epoch;
    raise_reserve();
    if (stands_still(bytes)) return false;
    std::uint64_t freed = 0;
    epoch.enter(t.epoch);
    for (unsigned n = 0; n != kRoundVictims && victims != 0 && freed < bytes + bytes / 4; ++n, --victims) {
      const std::uint64_t one = evict_one(t);
      if (one == 0) break;
      freed += one;
    }
    epoch.leave(t.epoch);
    epoch.reclaim_all(space(), t);
    return freed != 0;
  }
  // A bounded share of it for one call: a constant, and what n bytes take the place of if they are all small.
  static unsigned victims_for(std::uint64_t bytes) noexcept {
    return static_cast<unsigned>(std::min<std::uint64_t>(64 + bytes / 32, std::uint64_t{1} << 30));
  }
  void owe(std::uint64_t bytes) noexcept {
    std::uint64_t owed = owed_.load(std::memory_order_relaxed);  // a figure
    while (owed < bytes && !owed_.compare_exchange_weak(owed, bytes, std::memory_order_relaxed)) {  // as above
    }
  }

  // --- maintenance ---------------------------------------------------------------------------------------------

  // One bounded step, inside a guard: up to `count` go while there is less room than there should be. True: some did.
  bool step(Thr& t, unsigned count) noexcept {
    bool some = false;
    for (; count != 0 && owed_bytes() != 0; --count) {
      if (evict_one(t) == 0) break;
      follow_limbo(t);
      some = true;
    }
    if (owed_bytes() == 0) owed_.store(0, std::memory_order_relaxed);  // a figure
    return some;
  }
  // Room that is missing.
  std::uint64_t owed_bytes() const noexcept {
    const std::uint64_t wanted =
        reserve_.load(std::memory_order_relaxed) + owed_.load(std::memory_order_relaxed);  // figures
    const std::uint64_t room = room_bytes();
    return room < wanted ? wanted - room : 0;
  }

  // --- figures -------------------------------------------------------------------------------------------------

  struct Lengths {
    std::uint64_t small = 0, main = 0;
  };
  Lengths lengths() const noexcept {
    Lengths sum;
    for (unsigned i = 0; i != group_count_; ++i) {
      sum.small += groups_[i].small.count();
      sum.main += groups_[i].main.count();
    }
    return sum;
  }
  std::uint64_t reserve_bytes() const noexcept { return reserve_.load(std::memory_order_relaxed); }  // a figure
  unsigned group_count() const noexcept { return group_count_; }
  // Entries beyond two for each key, at most.
  std::uint64_t void_max() const noexcept { return group_count_ * (kVoidMax + 2 * kPushesANumber * 64); }
  const EntryFormat& format() const noexcept { return format_; }
  // Nobody else is inside. fn(entry, in_small); answers the bytes of blocks that the queues hold.
  template <class Fn>
  std::uint64_t walk(Fn&& fn) const noexcept {
    std::uint64_t bytes = 0;
    for (unsigned i = 0; i != group_count_; ++i) {
      bytes += groups_[i].small.walk(space(), [&](std::uint64_t e) { fn(e, true); });
      bytes += groups_[i].main.walk(space(), [&](std::uint64_t e) { fn(e, false); });
    }
    return bytes;
  }

 private:
  static constexpr unsigned kRoundVictims = 4096;

  struct alignas(128) Group {
    SegQueue<Sync> small;
    Word small_age;  // of the entry popped last
    alignas(64) SegQueue<Sync> main;
    Word main_age;
    Word aside;  // an entry that stands before main's head; 0: none
  };

  Space<Sync>& space() const noexcept { return table_->space(); }
  Group& group_of(std::uint64_t hash) const noexcept {
    return groups_[table_->shard_index(hash) >> shards_a_group_shift_];
  }
  Group& random_group(Thr& t) const noexcept {
    return groups_[group_count_ == 1 ? 0 : Insertion<Sync>::next_random(t) & (group_count_ - 1)];
  }
  Group& pick(Group& a, Group& b, bool small) const noexcept {
    if (&a == &b) return a;
    const std::uint64_t counts[] = {small ? a.small.count() : a.main.count(), small ? b.small.count() : b.main.count()};
    if (counts[0] == 0) return b;
    if (counts[1] == 0) return a;
    const Word& x = small ? a.small_age : a.main_age;
    const Word& y = small ? b.small_age : b.main_age;
    return format_.older(y.load(std::memory_order_relaxed), x.load(std::memory_order_relaxed)) ? b : a;  // hints
  }
  std::uint64_t next_age(Thr& t) noexcept {
    if (t.pushes == 0) {
      t.pushes = kPushesANumber;
      t.age = age_clock_.fetch_add(1, std::memory_order_relaxed);  // a number, not an order
    }
    --t.pushes;
    return t.age;
  }
  bool push(Thr& t, SegQueue<Sync>& queue, std::uint64_t entry) noexcept { return queue.push(space(), t, entry); }

  // Void entries may be half of the queues and a constant; beyond, each push looks at two entries more.
  void drop_void(Thr& t, Group& g) noexcept {
    const std::uint64_t entries = g.small.count() + g.main.count();
    if (entries <= kVoidMax) return;
    std::uint64_t live = 0;
    const unsigned first = static_cast<unsigned>(&g - groups_) << shards_a_group_shift_;
    for (unsigned i = 0; i != 1u << shards_a_group_shift_; ++i) {
      live += table_->shard(first + i).live.load(std::memory_order_relaxed);  // a count
    }
    if (entries <= 2 * live + kVoidMax) return;
    for (unsigned i = 0; i != 2 * kPushesANumber; ++i) {
      auto& queue = g.small.count() > g.main.count() ? g.small : g.main;
      const std::uint64_t entry = queue.pop(space(), t);
      if (entry == 0) return;
      const Named named = find(t, entry);
      if ((named.found || named.in_the_way) && !push(t, queue, entry)) {
        lost_.fetch_add(1, std::memory_order_relaxed);  // a hint
      }
    }
  }

  struct Named {
    bool found = false;
    bool in_the_way = false;  // a split that can't be completed for want of memory: it may be there
    SlotWord word{0};
  };
  // The slot that the entry names, LIVE.
  Named find(Thr& t, std::uint64_t entry) noexcept {
    const std::uint64_t hash = format_.hash(entry);
    const unsigned gen = EntryFormat::gen(entry);
    const std::uint16_t tag = tag_of(hash);
    Shd& s = table_->shard_of(hash);
    for (int attempt = 0; attempt != 4; ++attempt) {
      const ShardSize size = Tbl::size_of(s);
      const std::uint32_t home = size.home(hash);
      Bucket<Sync>& b = table_->bucket(s, home);
      if (!b.control().ready() && !Growth<Sync>::help_split(*table_, t, s, home)) return {false, true};
      Named named;
      bool frozen = false;
      table_->for_each_slot(b, [&](auto&, SlotWord w) {
        if (!w.is_current_of(tag) || w.gen() != gen) return true;
        frozen = w.is_frozen();
        named.found = !frozen;
        named.word = w;
        return frozen;
      });
      if (named.found) return named;
      if (!frozen && Tbl::size_of(s).home(hash) == home) return {};
    }
    return {false, true};
  }

  std::uint64_t take_small(Thr& t, Group& g) noexcept {
    const std::uint64_t entry = g.small.pop(space(), t);
    if (entry != 0) g.small_age.store(format_.age(entry), std::memory_order_relaxed);  // a hint
    Sync::point("evict.popped");
    return entry;
  }
  // One that lost no duel but won it as the older stands before the head.
  std::uint64_t take_main(Thr& t, Group& g) noexcept {
    std::uint64_t entry = g.aside.load(std::memory_order_relaxed);  // the exchange decides
    if (entry != 0) entry = g.aside.exchange(0, std::memory_order_acq_rel);  // [entry] acquire
    if (entry == 0) entry = g.main.pop(space(), t);
    if (entry != 0) g.main_age.store(format_.age(entry), std::memory_order_relaxed);  // a hint
    Sync::point("evict.popped");
    return entry;
  }

  // An entry that was popped, as its record stands.
  struct Judged {
    enum Kind : std::uint8_t { kVoid, kStays, kExpired, kCandidate } kind = kVoid;
    std::uint64_t record = 0;
    Stamp stamp{0};
    Hold hold{0};
  };
  Judged judge(Thr& t, std::uint64_t entry) noexcept {
    Judged j;
    const Named named = find(t, entry);
    if (named.in_the_way) j.kind = Judged::kStays;
    if (!named.found) return j;
    j.record = named.word.offset();
    Rec& r = *space().record(j.record);
    j.hold = r.hold_word();
    if (j.hold.keep()) return j;
    j.stamp = Versions<Sync>::finalise(space(), r);
    if (j.stamp.tomb()) return j;
    j.kind = is_expired(r, j.stamp) ? Judged::kExpired : Judged::kCandidate;
    if (j.hold.holds() != 0) j.kind = Judged::kStays;
    return j;
  }

  // Both answer the bytes that were removed; 0: the entry was void, or goes round once more. `whatever`: it has been
  // long enough, reads don't count any more.
  std::uint64_t visit_small(Thr& t, Group& g, std::uint64_t entry, std::uint64_t small, std::uint64_t main,
                            bool whatever) noexcept {
    const Judged j = judge(t, entry);
    if (j.kind == Judged::kVoid) return 0;
    if (j.kind == Judged::kStays) return stays(t, g.main, entry);
    if (j.kind == Judged::kExpired || whatever) return remove_or_stay(t, g, entry, j);
    const std::uint64_t key = key_of(format_.hash(entry));
    const EvictionVerdict v = policy_.leave_small(key, j.hold.access(), small - 1, main);
    if (v.kind == EvictionVerdict::kEvict) return remove_or_stay(t, g, entry, j);
    if (v.kind == EvictionVerdict::kPromote) {
      set_access(*space().record(j.record), j.hold, v.access);
      return stays(t, g.main, renewed(t, entry));
    }
    // A duel with the one whose turn it is in main.
    for (unsigned n = 0; n != kDuelSteps; ++n) {
      const std::uint64_t other = take_main(t, g);
      if (other == 0) break;
      const Judged o = judge(t, other);
      if (o.kind == Judged::kVoid) continue;
      if (o.kind == Judged::kStays) {
        stays(t, g.main, other);
        continue;
      }
      const std::uint64_t other_key = key_of(format_.hash(other));
      if (o.kind == Judged::kCandidate) {
        const EvictionVerdict ov = policy_.leave_main(other_key, o.hold.access());
        if (ov.kind == EvictionVerdict::kAgain) {
          set_access(*space().record(o.record), o.hold, ov.access);
          stays(t, g.main, renewed(t, other));
          continue;
        }
      }
      if (o.kind == Judged::kExpired || policy_.wins(key, j.hold.access(), other_key)) {
        set_access(*space().record(j.record), j.hold, 0);
        stays(t, g.main, renewed(t, entry));
        return remove_or_stay(t, g, other, o);
      }
      std::uint64_t none = 0;
      if (!g.aside.compare_exchange_strong(none, other, std::memory_order_acq_rel)) {  // [entry] release
        stays(t, g.main, other);
      }
      break;
    }
    return remove_or_stay(t, g, entry, j);
  }

  std::uint64_t visit_main(Thr& t, Group& g, std::uint64_t entry, bool whatever) noexcept {
    const Judged j = judge(t, entry);
    if (j.kind == Judged::kVoid) return 0;
    if (j.kind == Judged::kStays) return stays(t, g.main, entry);
    if (j.kind == Judged::kCandidate && !whatever) {
      const EvictionVerdict v = policy_.leave_main(key_of(format_.hash(entry)), j.hold.access());
      if (v.kind == EvictionVerdict::kAgain) {
        set_access(*space().record(j.record), j.hold, v.access);
        return stays(t, g.main, renewed(t, entry));
      }
    }
    return remove_or_stay(t, g, entry, j);
  }

  std::uint64_t remove_or_stay(Thr& t, Group& g, std::uint64_t entry, const Judged& j) noexcept {
    const std::uint64_t hash = format_.hash(entry);
    const std::uint64_t bytes = remove(t, j.record, j.stamp, hash, j.kind == Judged::kExpired);
    if (bytes == 0) return stays(t, g.main, entry);
    if (j.kind != Judged::kExpired) policy_.evicted(key_of(hash));
    return bytes;
  }
  std::uint64_t renewed(Thr& t, std::uint64_t entry) noexcept {
    return format_.pack(format_.hash(entry), EntryFormat::gen(entry), next_age(t));
  }
  // What the policy knows a key by: of the hash, what an entry keeps, spread over all bits.
  static std::uint64_t key_of(std::uint64_t entry_hash) noexcept {
    const std::uint64_t x = entry_hash * 0x9E3779B97F4A7C15u;
    return (x ^ x >> 32) * 0xD6E8FEB86659FD93u;
  }

  std::uint64_t stays(Thr& t, SegQueue<Sync>& queue, std::uint64_t entry) noexcept {
    Sync::point("evict.back");
    if (!push(t, queue, entry)) lost_.fetch_add(1, std::memory_order_relaxed);  // a hint for the sweep
    return 0;
  }
  static void set_access(Rec& r, Hold seen, unsigned access) noexcept {
    std::uint64_t expected = seen.word();
    r.meta.compare_exchange_strong(expected, seen.with_access(access).word(), std::memory_order_relaxed);  // a count
  }
  bool is_expired(Rec& r, Stamp s) const noexcept {
    if (!s.has_x()) return false;
    const Deadline x(r.x().load(std::memory_order_seq_cst));  // [deadline] seq_cst
    return !x.never() && time_->now() >= x.ms();
  }

  // By way of commit. 0: it isn't there any more, or there is no memory for the tomb.
  std::uint64_t remove(Thr& t, std::uint64_t record, Stamp s, std::uint64_t hash, bool expired) noexcept {
    const Rec& r = *space().record(record);
    const std::uint64_t bytes = space().bytes_of(record);
    const auto k = space().key_of(r, s);
    const std::string_view key(k.data, k.size);
    EvictChange<Sync> change(space(), t, key, r, expired);
    Sync::point("evict.remove");
    const Committed c = Commit<Sync>(*table_, *time_, *bound_, this).commit(t, hash, key, change);
    if (c.outcome != Committed::Outcome::kRemoved) return 0;
    (change.expired ? t.counters.expired : t.counters.evicted).add();
    return bytes;
  }

  // Bucket after bucket, what the queues don't know. As evict_one.
  std::uint64_t sweep(Thr& t) noexcept {
    for (unsigned n = 0; n != kSweptMax; ++n) {
      const std::uint64_t at = hand_.fetch_add(1, std::memory_order_relaxed);  // a place to look, whoever looks
      Shd& s = table_->shard(static_cast<unsigned>(at & (table_->shard_count() - 1)));
      const auto b = static_cast<std::uint32_t>(at / table_->shard_count() % Tbl::size_of(s).buckets());
      Bucket<Sync>& bucket = table_->bucket(s, b);
      if (!bucket.control().ready()) continue;
      const std::uint64_t bytes = evict_in_chain(t, bucket, n < kSweptMax / 2 ? 0 : kAccessMax, true);
      if (bytes != 0) return bytes;
    }
    return 0;
  }

  // The first entry of a chain that was read at most so often; the others' counts come down if `forget`.
  std::uint64_t evict_in_chain(Thr& t, Bucket<Sync>& first, unsigned access_max, bool forget) noexcept {
    std::uint64_t bytes = 0;
    table_->for_each_slot(first, [&](auto&, SlotWord w) {
      if (!w.is_live()) return true;
      Rec& r = *space().record(w.offset());
      const Hold hold = r.hold_word();
      const Stamp stamp = Versions<Sync>::finalise(space(), r);
      if (stamp.tomb() || hold.keep() || hold.holds() != 0) return true;
      const bool expired = is_expired(r, stamp);
      if (!expired && hold.access() > access_max) {
        if (forget) set_access(r, hold, hold.access() - 1);
        return true;
      }
      const auto k = space().key_of(r, stamp);
      bytes = remove(t, w.offset(), stamp, table_->hash_of({k.data, k.size}), expired);
      return bytes == 0;
    });
    return bytes;
  }

  // The reserve is what the limbo takes and a quarter more, beside the least: up at once, down slowly.
  void follow_limbo(Thr& t) noexcept {
    const std::uint64_t limbo = space().epoch.limbo_bytes();
    // Several threads: one of them may be taken off its processor at any time.
    const std::uint64_t threads = std::clamp<std::uint64_t>(space().thread_count(), 1, 4);
    const std::uint64_t wanted = std::min(reserve_min_ * threads + limbo + limbo / 4, reserve_max_);
    const std::uint64_t now = reserve_.load(std::memory_order_relaxed);  // a threshold, whoever sets it
    if (wanted > now) {
      reserve_.store(wanted, std::memory_order_relaxed);  // as above
    } else if ((t.counters.evicted.get() & 255) == 0) {
      reserve_.store(now - (now - wanted) / 8, std::memory_order_relaxed);  // as above
      if ((t.counters.evicted.get() & 1023) == 0 && bound_->max == 0) fit();
    }
  }
  // How many entries a budget in bytes holds is seen when it is full.
  [[gnu::noinline]] void fit() noexcept {
    std::uint64_t live = 0;
    for (unsigned i = 0; i != table_->shard_count(); ++i) {
      live += table_->shard(i).live.load(std::memory_order_relaxed);  // a count
    }
    policy_.fit(live);
  }
  void raise_reserve() noexcept {
    const std::uint64_t now = reserve_.load(std::memory_order_relaxed);  // a threshold
    reserve_.store(std::min(now + now / 8, reserve_max_), std::memory_order_relaxed);  // as above
  }
  Tbl* table_ = nullptr;
  const Time* time_ = nullptr;
  EntryBound<Sync>* bound_ = nullptr;
  Group* groups_ = nullptr;
  unsigned group_count_ = 0;
  unsigned shards_a_group_shift_ = 0;
  EntryFormat format_;
  EvictionPolicy<Sync> policy_;
  std::uint64_t reserve_min_ = 0;
  std::uint64_t reserve_max_ = 0;
  std::uint64_t set_aside_ = 0;
  alignas(128) Word reserve_{};
  alignas(128) Word age_clock_{};
  Word lost_{};
  Word owed_{};
  Word hand_{};
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_EVICTION_H_
