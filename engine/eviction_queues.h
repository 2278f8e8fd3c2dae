// EvictionQueues: the keys that may make room, in the order in which they came.
//
// Two queues in each of a few groups: enough that threads don't meet, few enough that each holds thousands of entries (one
// group where entries_max or the budget is small, or as few entries fill it: sixteen groups of 300 entries each cost a real trace 3
// points of 25, as it was chance which key had to go). New keys go to one group
// after the other. Which group gives the victim: of two at random the one whose head is older; how old a head is, is the
// age of the entry that was popped last, a number of the store that moves with the pushes. So the whole store is one queue
// but for a few entries; a split of the budget by shards was measured to cost a real trace 7 points of 17.
//
// A key enters a queue once in its life (queue_entry.h). Before anything has to go, each thread gathers its new keys and
// pushes 60 at once, as a segment that it links: one by one they cost an insert as much as its cache misses do, as their
// locked operations end what overlaps. A thread that looks for a victim pushes its own first. Where a thousandth of all keys
// is fewer than 60, so many are gathered at most; fewer than 60 are pushed one by one. In a store that evicts each key goes
// to its queue at once: what the policy has to look up for 60 made one insert in 60 take 16 us.
//
// Void entries may be half of what there is, and a constant.
//
// An entry can be lost: no memory for a queue's segment, a thread that stopped between the slot and the push, or between
// pop and push. Not in a queue either: what a thread has gathered that stands outside of any call. Who needs such keys
// walks the buckets.
//
// Any thread may call anything, inside a guard. Lock-free.
#ifndef TERN_ENGINE_EVICTION_QUEUES_H_
#define TERN_ENGINE_EVICTION_QUEUES_H_

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

#include "alloc/private_memory.h"
#include "engine/eviction_rules.h"
#include "engine/growth.h"
#include "engine/insertion.h"
#include "engine/queue_entry.h"
#include "engine/seg_queue.h"
#include "engine/shares.h"
#include "engine/table.h"

namespace tern::detail {

// One size: a size class takes a span for the first block of it.
struct EvictionSegments {
  static constexpr std::size_t kFirst = 512;
  static constexpr std::size_t kLargest = 512;
  static constexpr std::size_t kRun = 512;
};

template <class Sync>
class EvictionQueues {
 public:
  using Tbl = Table<Sync>;
  using Shd = Shard<Sync>;
  using Thr = Thread<Sync>;
  using Word = typename Sync::template Atomic<std::uint64_t>;
  using Queue = SegQueue<Sync, EvictionSegments>;

  static constexpr std::uint64_t kEntriesAGroup = 4096;
  static constexpr unsigned kGroupsMax = 64;
  static constexpr std::size_t kBytesAGroup = std::size_t{16} << 20;
  static constexpr std::uint64_t kVoidMax = 1024;
  static constexpr unsigned kPushesANumber = 16;  // of the clock of ages
  static constexpr unsigned kNumbersASum = 64;

  struct alignas(128) Group {
    Queue small;
    Word small_age;  // of the entry popped last
    alignas(64) Queue main;
    Word main_age;
    Word aside;  // an entry that stands before main's head; 0: none

    // With the one aside. Without it a strict gate takes main for not full, and lets in every other newcomer unfought.
    std::uint64_t main_count() const noexcept {
      const bool one_aside = aside.load(std::memory_order_relaxed) != 0 && !planted<Sync>(Mutant::kEvictAsideUncounted);  // a count
      return main.count() + one_aside;
    }
  };

  using Pools = Shares<Sync, Group>;
  using Pool = typename Pools::Pool;

  EvictionQueues() = default;
  EvictionQueues(const EvictionQueues&) = delete;
  EvictionQueues& operator=(const EvictionQueues&) = delete;
  ~EvictionQueues() { alloc::private_free(groups_); }

  // False: no memory.
  bool open(Tbl& table, std::uint64_t entries_max, std::size_t table_bytes_max) noexcept {
    table_ = &table;
    const unsigned shards = table.shard_count();
    format_ = EntryFormat(shards, table_bytes_max / sizeof(Bucket<Sync>) / shards);
    if (format_.age_bits() < EntryFormat::kAgeBitsMin) return false;
    std::uint64_t groups = std::min<std::uint64_t>(space().heap.budget_bytes() / kBytesAGroup, kGroupsMax);
    if (entries_max != 0) groups = std::min(groups, entries_max / kEntriesAGroup);
    groups = std::min<std::uint64_t>(std::bit_floor(std::max<std::uint64_t>(groups, 1)), shards);
    group_count_ = static_cast<unsigned>(groups);
    follows_ = entries_max == 0;
    taking_.store(entries_max != 0 ? groups : 1, std::memory_order_relaxed);  // a hint
    used_.store(taking(), std::memory_order_relaxed);                         // as above
    // Where a thousandth of all keys is less, threads hold back fewer.
    const std::uint64_t entries = entries_max != 0 ? entries_max : space().heap.budget_bytes() / 128;
    entering_max_ = static_cast<unsigned>(std::clamp<std::uint64_t>(entries / 1024, 1, kEnteringMax));
    void* memory = alloc::private_allocate_aligned(sizeof(Group) * group_count_, alignof(Group));
    if (memory == nullptr) return false;
    groups_ = static_cast<Group*>(memory);
    for (unsigned i = 0; i != group_count_; ++i) new (groups_ + i) Group{};
    return true;
  }

  const EntryFormat& format() const noexcept { return format_; }
  Pools& pools() noexcept { return pools_; }
  const Pools& pools() const noexcept { return pools_; }

  // --- entering ------------------------------------------------------------------------------------------------

  // A key has entered the table. True: it's time to settle.
  bool enter(Thr& t, std::uint64_t hash, unsigned gen) noexcept {
    if (t.void_owed != 0) [[unlikely]] drop_void(t, group_of(t.age));
    t.entering[t.entering_count++] = format_.pack(hash, gen);
    return t.entering_count >= entering_max_;
  }
  // Gives this thread's new keys their places. queue_of(entry) says which queue takes one, and may set its kCounted.
  template <class QueueOf>
  void settle(Thr& t, QueueOf&& queue_of) noexcept {
    static_assert(Queue::List::kRunEntries == kEnteringMax, "all that a thread may hold back is one run");
    unsigned small = 0, main = 0;
    std::uint64_t to_main[kEnteringMax];
    const unsigned count = std::exchange(t.entering_count, 0);
    for (unsigned i = 0; i != count; ++i) {
      std::uint64_t entry = t.entering[i];
      (queue_of(entry) == EvictionQueue::kMain ? to_main[main++] : t.entering[small++]) = entry;
    }
    push_all(t, &Group::small, t.entering, small);
    push_all(t, &Group::main, to_main, main);
  }

  // One that isn't held back.
  void enter_now(Thr& t, EvictionQueue queue, std::uint64_t entry) noexcept {
    std::uint64_t entries[] = {entry};
    push_all(t, queue == EvictionQueue::kMain ? &Group::main : &Group::small, entries, 1);
  }

  // One of a namespace with a share.
  void enter_pool(Thr& t, Pool& pool, EvictionQueue queue, std::uint64_t entry) noexcept {
    Group& g = pool.queues;
    push(t, queue == EvictionQueue::kMain ? g.main : g.small, renewed(t, entry));
    pushed(t, g);
  }

  void push(Thr& t, Queue& queue, std::uint64_t entry) noexcept {
    if (!queue.push(space(), t, entry)) lost_.fetch_add(1, std::memory_order_relaxed);  // a hint for the sweep
  }
  // The entry of a key whose time begins anew.
  std::uint64_t renewed(Thr& t, std::uint64_t entry) noexcept { return format_.with_age(entry, next_age(t)); }

  // --- leaving -------------------------------------------------------------------------------------------------

  Group& random_group(Thr& t) const noexcept {
    const std::uint64_t groups = taking();
    return groups_[groups == 1 ? 0 : Insertion<Sync>::next_random(t) & (groups - 1)];
  }
  // A few entries of a group that takes no more keys go to one that does, behind those that it has.
  [[gnu::always_inline]] void gather(Thr& t) noexcept {
    if (used_.load(std::memory_order_relaxed) > taking()) [[unlikely]] gather_some(t);  // a hint
  }
  // Where an entry of `g` that stays goes.
  Group& staying_group(Group& g) const noexcept {
    const std::uint64_t at = (reinterpret_cast<std::uintptr_t>(&g) - reinterpret_cast<std::uintptr_t>(groups_)) / sizeof(Group);
    const std::uint64_t groups = taking();
    // A pool's are elsewhere.
    return at < groups || at >= group_count_ || planted<Sync>(Mutant::kEvictStaysWhereItLeaves) ? g : groups_[at & (groups - 1)];
  }
  // A store of a budget in bytes has about so many entries.
  void fit(std::uint64_t entries) noexcept {
    const std::uint64_t now = taking();
    const std::uint64_t wanted = std::clamp<std::uint64_t>(std::bit_floor(entries / kEntriesAGroup), 1, group_count_);
    if (wanted == now || (wanted < now && 4 * wanted > now)) return;
    taking_.store(wanted, std::memory_order_relaxed);  // a hint
    used_.store(group_count_, std::memory_order_relaxed);  // as above: those that are empty are passed over
  }
  Group& pick(Group& a, Group& b, bool small) const noexcept {
    if (&a == &b) return a;
    const std::uint64_t counts[] = {small ? a.small.count() : a.main_count(), small ? b.small.count() : b.main_count()};
    if (counts[0] == 0) return b;
    if (counts[1] == 0) return a;
    const Word& x = small ? a.small_age : a.main_age;
    const Word& y = small ? b.small_age : b.main_age;
    return format_.older(y.load(std::memory_order_relaxed), x.load(std::memory_order_relaxed)) ? b : a;  // hints
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

  // Buckets and records of entries that will be taken soon, on their way; fn(hash) for one of them.
  template <class Fn>
  void ahead(const Queue& queue, Fn&& fn) const noexcept {
    if constexpr (Sync::kWordwise) return;  // there are no cache lines to fetch where a scheduler counts the loads
    const auto [sooner, soon] = queue.peek(space(), kSooner, kSoon);
    if (soon != 0) prefetch_near(&home_of(format_.hash(soon)));
    if (sooner == 0) return;
    const std::uint64_t hash = format_.hash(sooner);
    const auto& bucket = home_of(hash);
    if (const unsigned m = bucket.matches(tag_of(hash)); m != 0) {
      const SlotWord w = bucket.at(static_cast<unsigned>(std::countr_zero(m)));
      if (w.is_current()) prefetch_near(space().record(w.offset()));
    }
    fn(hash);
  }

  // An entry back before main's head.
  void put_aside(Thr& t, Group& g, std::uint64_t entry) noexcept {
    std::uint64_t none = 0;
    if (!g.aside.compare_exchange_strong(none, entry, std::memory_order_acq_rel)) {  // [entry] release
      Sync::point("evict.back");
      push(t, g.main, entry);
    }
  }

  struct Named {
    bool found = false;
    bool in_the_way = false;  // a split that can't be completed for want of memory: it may be there
    SlotWord word{0};
    typename Tbl::Word* slot = nullptr;
    Bucket<Sync>* home = nullptr;
    std::uint32_t home_index = 0;
  };
  // The slot that the entry names, whose hash is `hash`, LIVE, its home bucket ready.
  [[gnu::always_inline]] Named find(Thr& t, std::uint64_t entry, std::uint64_t hash) noexcept {
    const unsigned gen = EntryFormat::gen(entry);
    const std::uint16_t tag = tag_of(hash);
    Shd& s = table_->shard_of(hash);
    for (int attempt = 0; attempt != 4; ++attempt) {
      const ShardSize size = Tbl::size_of(s);
      const std::uint32_t home = size.home(hash);
      Bucket<Sync>& b = table_->bucket(s, home);
      if (!b.control().ready() && !Growth<Sync>::help_split(*table_, t, s, home)) return {false, true};
      bool frozen = false;
      const bool overflows = b.control().may_overflow(tag);
      for (Bucket<Sync>* at = &b; at != nullptr; at = overflows ? table_->overflow(at->control()) : nullptr) {
        for (unsigned m = at->matches(tag); m != 0; m &= m - 1) {
          const auto i = static_cast<unsigned>(std::countr_zero(m));
          const SlotWord w = at->at(i);
          if (!w.is_current_of(tag)) continue;
          if (w.gen() != gen && !planted<Sync>(Mutant::kEvictOtherIncarnation)) continue;
          if (w.is_live()) return {true, false, w, &at->slot[i], &b, home};
          frozen = true;
        }
      }
      if (!frozen && Tbl::size_of(s).home(hash) == home) return {};
    }
    return {false, true};
  }

  // --- figures -------------------------------------------------------------------------------------------------

  struct Lengths {
    std::uint64_t small = 0, main = 0;
  };
  Lengths lengths() const noexcept {
    Lengths sum;
    for_each_group([&](const Group& g) {
      sum.small += g.small.count();
      sum.main += g.main_count();
    });
    return sum;
  }
  unsigned groups_with_keys() const noexcept {
    unsigned sum = 0;
    for (unsigned i = 0; i != group_count_; ++i) sum += groups_[i].small.count() + groups_[i].main_count() != 0;
    return sum;
  }
  // Nobody else is inside. fn(entry, in_small); answers the bytes of blocks that the queues hold.
  template <class Fn>
  std::uint64_t walk(Fn&& fn) const noexcept {
    std::uint64_t bytes = 0;
    for_each_group([&](const Group& g) {
      bytes += g.small.walk(space(), [&](std::uint64_t e) { fn(e, true); });
      bytes += g.main.walk(space(), [&](std::uint64_t e) { fn(e, false); });
      if (const std::uint64_t e = g.aside.load(std::memory_order_relaxed); e != 0) fn(e, false);  // alone
    });
    return bytes;
  }

 private:
  static constexpr std::uint64_t kSoon = 3, kSooner = 1;

  static constexpr unsigned kGatheredAtOnce = 8;

  Space<Sync>& space() const noexcept { return table_->space(); }
  [[gnu::noinline]] void gather_some(Thr& t) noexcept {
    std::uint64_t used = used_.load(std::memory_order_relaxed);  // a hint
    for (unsigned n = 0; n != kGatheredAtOnce && used > taking(); ++n) {
      Group& last = groups_[used - 1];
      ++t.work;
      if (const std::uint64_t entry = take_small(t, last); entry != 0) {
        push(t, staying_group(last).small, entry);
      } else if (const std::uint64_t other = take_main(t, last); other != 0) {
        push(t, staying_group(last).main, other);
      } else if (used_.compare_exchange_strong(used, used - 1, std::memory_order_relaxed)) {  // as above
        --used;  // who has chosen it before and pushes now leaves what the sweep finds
      }
    }
  }
  template <class Fn>
  void for_each_group(Fn&& fn) const noexcept {
    for (unsigned i = 0; i != group_count_; ++i) fn(groups_[i]);
    pools_.for_each([&](const Pool& p) { fn(p.queues); });
  }
  const Bucket<Sync>& home_of(std::uint64_t hash) const noexcept {
    const auto& s = table_->head_of(hash);
    return table_->bucket(s, Tbl::size_of(s).home(hash));
  }
  std::uint64_t next_age(Thr& t) noexcept {
    if (t.pushes == 0) {
      t.pushes = kPushesANumber;
      t.age = age_clock_.fetch_add(1, std::memory_order_relaxed);  // a number, not an order
    }
    --t.pushes;
    return t.age;
  }
  // Which group takes what is pushed under the number `age`: one after the other.
  Group& group_of(std::uint64_t age) const noexcept { return groups_[age & (taking() - 1)]; }
  std::uint64_t taking() const noexcept { return taking_.load(std::memory_order_relaxed); }  // a hint
  void push_all(Thr& t, Queue Group::*queue, std::uint64_t* entries, unsigned count) noexcept {
    if (count == kEnteringMax) {
      t.pushes = 0;
      t.age = age_clock_.fetch_add(1, std::memory_order_relaxed);  // a number, not an order
      const EntryFormat format = format_;  // its own, so that what doesn't change is worked out once
      const std::uint64_t age = t.age;
      for (unsigned i = 0; i != count; ++i) entries[i] = format.with_age(entries[i], age);
      Group& g = group_of(t.age);
      if (!(g.*queue).push_run(space(), t, entries)) lost_.fetch_add(count, std::memory_order_relaxed);  // as above
      look_for_void(t, g, count);
      return;
    }
    for (unsigned i = 0; i != count; ++i) {
      const std::uint64_t entry = renewed(t, entries[i]);
      Group& g = group_of(t.age);
      push(t, g.*queue, entry);
      pushed(t, g);
    }
  }
  // One by itself.
  void pushed(Thr& t, Group& g) noexcept {
    if (t.void_owed != 0) [[unlikely]] drop_void(t, g);
    if (t.pushes == 0) look_for_void(t, g, kPushesANumber);
  }

  // Void entries may be half of the queues and a constant; beyond, each of the next `pushes` looks at two entries more (one that
  // looked at them for all took 8 us). The store's entries are summed up now and then, and when it matters.
  void look_for_void(Thr& t, Group& g, unsigned pushes) noexcept {
    const std::uint64_t entries = g.small.count() + g.main.count();
    if (entries <= kVoidMax || (entries <= most() && t.age % kNumbersASum != 0)) return;
    std::uint64_t live = 0;
    for (unsigned i = 0; i != table_->shard_count(); ++i) {
      live += table_->shard(i).live.load(std::memory_order_relaxed);  // a count
    }
    live_.store(live, std::memory_order_relaxed);  // as above
    if (follows_) fit(live);
    if (entries > most()) t.void_owed = 2 * pushes;
  }
  [[gnu::noinline]] void drop_void(Thr& t, Group& g) noexcept {
    for (unsigned i = 0; i != 2 && t.void_owed != 0; ++i, --t.void_owed) {
      auto& queue = g.small.count() > g.main.count() ? g.small : g.main;
      const bool is_over = g.small.count() + g.main.count() > most();
      const std::uint64_t entry = is_over ? queue.pop(space(), t) : 0;
      if (entry == 0) {
        t.void_owed = 0;
        return;
      }
      const Named named = find(t, entry, format_.hash(entry));
      if (named.found || named.in_the_way) push(t, queue, entry);
    }
  }
  std::uint64_t most() const noexcept { return 2 * live_.load(std::memory_order_relaxed) / taking() + kVoidMax; }  // a count

  Tbl* table_ = nullptr;
  Group* groups_ = nullptr;
  unsigned group_count_ = 0;
  bool follows_ = false;  // nobody has said how many entries there may be
  unsigned entering_max_ = 1;
  EntryFormat format_;
  Pools pools_;
  Word taking_{};  // groups that new keys go to
  Word used_{};    // groups that may have entries
  alignas(128) Word age_clock_{};
  Word lost_{};
  Word live_{};  // entries of the store, when somebody last summed them up
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_EVICTION_QUEUES_H_
