// Eviction: who makes room, and when.
//
// One budget over all sizes and shards. Which keys there are, in which order: eviction_queues.h. Which queue a key enters,
// which gives the next victim and what becomes of it: eviction_policy.h. A duel's winner from main goes back before
// main's head: into a word that is looked at first.
//
// When. Room is what the heap can still hand out, plus the limbo: what is in limbo will be free soon, unless a thread
// stands still inside a call, and then evicting would empty the cache without giving a byte back. An insert that finds
// less room than the reserve evicts one, or up to four if that doesn't keep up, and looks at a bounded number of entries;
// so memory is ready before it is needed, the grace period passes meanwhile, and each insert pays an equal share. What
// the next victims will touch is on its way when one goes. The reserve follows the limbo: a 64th of the budget, and what was seen to be in limbo at most and a
// quarter more, up to the limbo's cap. Memory can also be short of one size alone: then the write itself empties a
// span of others', if a sixteenth of the budget lies in their free blocks, or evicts, a
// bounded number (make_room), and answers out_of_memory if that gave nothing; what it would have needed is owed, and
// maintenance goes on.
//
// A victim goes through commit, or its short form for what is ordinary (Commit::evict_plain), by the record that was judged: a record that replaced it meanwhile stays. Not victims:
// a held record, an entry under way, one that is marked KEEP. An expired one goes first, wherever it is met. An access
// count comes down by one at each visit, and half-way through a call's visits it isn't looked at any more: a victim is
// found in a bounded number of steps.
//
// Where size counts (Options::size_aware), a light entry that would leave the small queue enters main instead, as if it had won:
// there it stays for one round. Light is what takes at most half of the mean, which is seen when the store is full.
//
// Until something has to go, the policy's memory isn't touched: a key that enters would miss two cache lines there, to note
// what can be told as well when its turn comes (EntryFormat::kCounted). And a store at rest, which has evicted nothing and doesn't grow
// any more, counts no hits (rest): its reads write to no record.
//
// Where namespaces have shares of the budget, the one that has most of its own gives the victim: shares.h.
//
// A key whose entry is lost is still found by the sweep, which walks the buckets where the queues have nothing.
//
// Any thread may call anything, inside a guard. Lock-free; no waiting. Cost of an eviction: a pop, the slot's and the
// record's lines, a removal through commit.
#ifndef TERN_ENGINE_EVICTION_H_
#define TERN_ENGINE_EVICTION_H_

#include <algorithm>
#include <bit>
#include <cstdint>
#include <string_view>
#include <utility>

#include "engine/changes.h"
#include "engine/commit.h"
#include "engine/eviction_policy.h"
#include "engine/eviction_queues.h"
#include "engine/table.h"

namespace tern::detail {

// A removal of one record: if another has taken its place, that one stays.
template <class Sync>
class EvictChange : public ChangeBase<Sync> {
 public:
  static constexpr RemovalCause kCause = RemovalCause::kEvicted;
  static constexpr bool kHelps = false;
  EvictChange(Space<Sync>& space, Thread<Sync>& t, std::string_view key, const Record<Sync>& judged,
              bool only_if_expired) noexcept
      : ChangeBase<Sync>(space, t, key), judged_(&judged), only_if_expired_(only_if_expired) {}

  Decision judge(const Head<Sync>& head) noexcept {
    this->note(head);
    if (head.record == nullptr) return Decision::kKeep;
    if (head.record != judged_ && !planted<Sync>(Mutant::kEvictUnjudged)) return Decision::kKeep;
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
  unsigned setting = 0;  // the policy's first
  bool zeroed = false;   // fresh memory is all zeros
  bool size_aware = false;
};

template <class Sync>
class Eviction {
 public:
  using Tbl = Table<Sync>;
  using Shd = Shard<Sync>;
  using Thr = Thread<Sync>;
  using Rec = Record<Sync>;
  using Word = typename Sync::template Atomic<std::uint64_t>;
  using Group = typename EvictionQueues<Sync>::Group;
  using Pool = typename EvictionQueues<Sync>::Pool;

  static constexpr unsigned kVisitsMax = 128;  // entries that one call of evict_one looks at
  static constexpr unsigned kVisitsAStep = 32;
  static constexpr unsigned kVictimsAnInsert = 4;
  static constexpr unsigned kVisitsAnInsert = 16;
  // Half of the room that there should be is missing: many keys have expired, and what they left in the queues is void.
  static constexpr unsigned kVisitsFarBehind = 64;
  static constexpr unsigned kSweptMax = 64;    // buckets
  // Inserts of a thread between two looks at the room: one for each MiB above the reserve, at most.
  static constexpr std::uint64_t kRoomALook = std::uint64_t{1} << 20;
  static constexpr unsigned kUnlookedMax = 15;
  static constexpr std::uint64_t kBytesAHit = 16;  // of growth

  Eviction() = default;
  Eviction(const Eviction&) = delete;
  Eviction& operator=(const Eviction&) = delete;

  // False: no memory. `bound` and `time` as Commit's.
  bool open(Tbl& table, const Time& time, EntryBound<Sync>& bound, const EvictionOptions& o) noexcept {
    table_ = &table;
    time_ = &time;
    bound_ = &bound;
    size_aware_ = o.size_aware;
    if (!queues_.open(table, o.entries_max, o.table_bytes_max)) return false;
    counts_hits_.store(1, std::memory_order_relaxed);  // a hint
    set_budget(space().heap.budget_bytes());
    // What the policy remembers: for as many entries as there may be, or for records of half a kilobyte; for more it
    // remembers a part.
    std::uint64_t entries = std::max<std::uint64_t>(space().heap.budget_bytes() / 512, EvictionPolicy<Sync>::kEntriesMin);
    if (o.entries_max != 0) entries = std::min<std::uint64_t>(o.entries_max, space().heap.budget_bytes() / 128);
    const std::size_t bytes = EvictionPolicy<Sync>::words(entries) * sizeof(Word);
    const std::uint64_t at = space().heap.allocate_extent(bytes);
    if (at == 0) return false;
    Word* words = space().heap.template at<Word>(at);
    // Fresh memory of the system's is zero, and stays untouched until something has to go: a store that never fills doesn't
    // pay for what the policy would remember.
    for (std::size_t i = 0; !o.zeroed && i != bytes / sizeof(Word); ++i) new (words + i) Word(0);
    policy_.open(words, entries, o.setting);
    return true;
  }

  void set_budget(std::size_t memory_bytes) noexcept {
    reserve_min_ = memory_bytes / 64;
    reserve_max_ = memory_bytes / 8;
    set_aside_ = std::max<std::uint64_t>(memory_bytes / 128, space().heap.span_bytes());
    growth_ = memory_bytes / 64;
    // Nothing has been in limbo yet; with one thread alone it comes down soon.
    reserve_.store(memory_bytes / 16, std::memory_order_relaxed);  // a threshold
  }

  // --- for commit, inside a guard ------------------------------------------------------------------------------

  // The key has entered the table in this incarnation.
  void inserted(Thr& t, std::uint64_t hash, std::string_view key, unsigned gen, bool keep) noexcept {
    // Before its own entry is there to be taken. Where there is plenty of room it isn't looked at each time.
    std::uint64_t missing = 0;
    if (t.inserts_unlooked != 0) {
      --t.inserts_unlooked;
    } else {
      const std::uint64_t wanted = reserve_.load(std::memory_order_relaxed), room = room_bytes();  // a threshold
      if (!counts_hits()) look_for_growth(room);
      missing = room < wanted ? wanted - room : 0;
      if (missing == 0) t.inserts_unlooked = static_cast<unsigned>(std::min<std::uint64_t>((room - wanted) / kRoomALook, kUnlookedMax));
    }
    if (missing != 0) [[unlikely]] {
      space().upkeep.ask();
      // One for one. More where that doesn't keep up; a call that looks at many entries leaves the rest to the next.
      const std::uint64_t reserve = reserve_.load(std::memory_order_relaxed);  // a threshold
      const unsigned count = missing > reserve / 2 ? kVictimsAnInsert : missing > reserve / 8 ? 2 : 1;
      for (unsigned i = 0; i != count && (i == 0 || missing_room() != 0); ++i) {
        if (evict_one(t, count == kVictimsAnInsert ? kVisitsFarBehind : kVisitsAnInsert) == 0) break;
        follow_limbo(t);
      }
    }
    entered(t, hash, key, gen, keep);
  }
  // The same, by somebody who is to make no room: see make_room_for.
  void entered(Thr& t, std::uint64_t hash, std::string_view key, unsigned gen, bool keep) noexcept {
    t.counters.inserts.add();
    Sync::point("evict.push");
    if (keep) return;
    if (is_named(key)) [[unlikely]] {
      if (Pool* const pool = pool_of(key)) return enter_pool(t, *pool, hash, gen);
    }
    if (evicts_.load(std::memory_order_relaxed) != 0) {  // a hint
      const std::uint64_t entry = queues_.format().pack(hash, gen) | EntryFormat::kCounted;
      queues_.enter_now(t, missed(t, entry), entry);
    } else if (queues_.enter(t, hash, gen)) {
      settle(t);
    }
  }
  // A key is about to enter.
  void expect(std::uint64_t hash) const noexcept {
    if constexpr (Sync::kWordwise) return;  // there are no cache lines to fetch where a scheduler counts the loads
    if (evicts_.load(std::memory_order_relaxed) != 0) policy_.prefetch(key_of(queues_.format().pack(hash, 0)));  // a hint
  }

  // What a thread has entered into the table and not yet into a queue. Before it goes, too.
  [[gnu::noinline]] void settle(Thr& t) noexcept {
    if (t.counted_hits != t.short_hits.get() && !planted<Sync>(Mutant::kHitsForgotten)) count_hits(t);
    const bool counts = evicts_.load(std::memory_order_relaxed) != 0;  // a hint
    const EntryFormat format = queues_.format();
    queues_.settle(t, [&](std::uint64_t& entry) {
      if (!counts) return policy_.entered_first(mixed(format.hash(entry)));
      entry |= EntryFormat::kCounted;
      return missed(t, entry);
    });
  }
  // Ahead of `count` inserts.
  void make_room_for(Thr& t, std::uint64_t count) noexcept {
    for (std::uint64_t i = 0; i != 2 * count && missing_room() != 0; ++i) {
      if (evict_one(t) == 0) return;
      follow_limbo(t);
    }
  }

  // --- for reads -----------------------------------------------------------------------------------------------

  bool counts_hits() const noexcept { return counts_hits_.load(std::memory_order_relaxed) != 0; }  // a hint
  // `hits` were counted. When the store hasn't grown while a thread had as many as it may have entries, about, it is at rest.
  void rest(Thr& t, std::uint64_t hits) noexcept {
    t.hits_of_growth += hits;
    if (t.hits_of_growth < growth_ / kBytesAHit) [[likely]] return;
    t.hits_of_growth = 0;
    const std::uint64_t room = room_bytes(), before = std::exchange(t.room_then, room);
    const bool is_bound = bound_->max != 0 || queues_.pools().any() || evicts_.load(std::memory_order_relaxed) != 0;  // a hint
    if (is_bound || before == 0 || room + growth_ <= before) return;
    room_at_rest_.store(room, std::memory_order_relaxed);  // as above
    counts_hits_.store(0, std::memory_order_relaxed);      // as above
  }

  // Those that the thread has left for later. A record may have gone meanwhile, or made room for another: whatever the
  // slot names now is safe to look at inside the guard, and another key's count is a hint too.
  [[gnu::noinline]] void count_hits(Thr& t) noexcept {
    const std::uint64_t end = t.short_hits.get();
    const Hold all(std::exchange(t.hits_meta, ~std::uint64_t{0}));
    std::uint64_t i = std::exchange(t.counted_hits, end);
    if (counts_hits()) rest(t, end - i);
    if (all.access_is_full() || !counts_hits()) [[likely]] return;
    // Which of them are to be counted first, without a branch that nobody can foresee. A vacant slot's word has the offset
    // 0, where there is memory too.
    Rec* record[kHitsACount];
    unsigned todo = 0;
    for (; i != end; ++i) {
      const std::uint64_t at = i % kHitsACount;
      const SlotWord w(t.hit_slot[at]->load(std::memory_order_seq_cst));  // [publish] seq_cst, [announce] seq_cst
      record[at] = space().record(w.offset());
      const Hold hold(record[at]->meta.load(std::memory_order_relaxed));  // a count
      const bool is_there = w.is_current_of_hash(t.hit_hash[at]) || (planted<Sync>(Mutant::kHitOfWhoeverIsThere) && w.is_live());
      const unsigned counts = unsigned{is_there} & unsigned{!hold.access_is_full()};
      todo |= counts << at;
    }
    for (; todo != 0; todo &= todo - 1) {
      const auto at = static_cast<unsigned>(std::countr_zero(todo));
      count_hit(*record[at], Hold(record[at]->meta.load(std::memory_order_relaxed)), t.hit_hash[at]);  // as above
    }
  }

  // A hit of a record whose count isn't full. The keys that the policy follows never fill theirs, so that each of their
  // hits comes here.
  // `hash` is its key's.
  [[gnu::noinline]] void count_hit(Rec& r, Hold hold, std::uint64_t hash) noexcept {
    const std::uint64_t key = key_of(queues_.format().pack(hash, 0));
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
    return space().epoch.limbo_bytes() > std::max<std::uint64_t>(reserve_max_ / 2, 4 * bytes);
  }

  // Removes one entry. Answers what it took of the budget; 0: none of those that were looked at could go.
  // `before`: visits of earlier calls, all in vain, that this one goes on from.
  std::uint64_t evict_one(Thr& t, unsigned visits = kVisitsMax, unsigned before = 0) noexcept {
    if (evicts_.load(std::memory_order_relaxed) == 0) evicts_.store(1, std::memory_order_relaxed);  // a hint
    // Each time: another thread may have called the store at rest meanwhile.
    if (!counts_hits() && !planted<Sync>(Mutant::kRestsForEver)) counts_hits_.store(1, std::memory_order_relaxed);  // a hint
    const bool noted = t.counted_hits != t.short_hits.get() && !planted<Sync>(Mutant::kHitsForgotten);
    if (t.entering_count != 0 || noted) settle(t);
    if (space().has_points()) [[unlikely]] {  // what is dead goes first
      if (const std::uint64_t bytes = bury_dead(t); bytes != 0) return bytes;
    }
    if (queues_.pools().any()) [[unlikely]] return evict_by_share(t, visits, before);
    bool is_empty = false;
    const std::uint64_t bytes = evict_from_queues(t, nullptr, visits, before, is_empty);
    return bytes != 0 || (!is_empty && before + visits < kVisitsMax) ? bytes : sweep(t);
  }

  // The namespace has a share of the budget, from now on. False: no memory.
  bool add_share(const typename Names<Sync>::Slot& slot, unsigned name, unsigned percent) noexcept {
    counts_hits_.store(1, std::memory_order_relaxed);  // a hint
    return queues_.pools().add(slot, name, percent);
  }

  // A slot in the chain of `home`, where there is no memory for another overflow bucket: one of its own entries goes.
  // (Chains have their worst day once, and overflow buckets stay: a full store has none to spare for them.)
  bool evict_from(Thr& t, Bucket<Sync>& home) noexcept {
    if (queues_.pools().any()) [[unlikely]] {
      const Pool* const turn = queues_.pools().turn(used_bytes());
      for (unsigned least = 0; least <= kAccessMax; ++least) {
        if (evict_in_chain(t, home, least, false, &turn) != 0) return true;
      }
    }
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
    // As what is in limbo, what views keep comes back: evicting more would not bring it sooner.
    room += space().epoch.limbo_bytes() + space().views.kept_bytes();
    return room;
  }

  // --- for a write that found no memory, outside of its guard --------------------------------------------------

  // Room for `bytes`, by a part of the `victims` that the call may take: as much as they free before it is `enough`.
  // False: nothing was done; more won't help.
  bool make_room(Thr& t, std::uint64_t bytes, std::uint64_t enough, unsigned& victims) noexcept {
    auto& epoch = space().epoch;
    // Where others have free blocks in plenty it isn't too little that is kept ready.
    if (!space().heap.is_scattered()) raise_reserve();
    if (stands_still(bytes)) return false;
    std::uint64_t freed = 0;
    epoch.enter(t.epoch);
    for (unsigned n = 0; n != kRoundVictims && victims != 0 && freed < enough + enough / 4; ++n, --victims) {
      const std::uint64_t one = evict_one(t);
      if (one == 0) break;
      freed += one;
      follow_limbo(t);
    }
    epoch.leave(t.epoch);
    epoch.reclaim(space(), t, kRoundUnits);
    return freed != 0;
  }
  // A bounded share of it for one call: a constant, and what n bytes take the place of if they are all small. The constant
  // is for victims of another size: they help once a span is empty of them, or half of one, and moves do the rest.
  static constexpr unsigned kVictimsAWrite = 1024;
  static unsigned victims_for(std::uint64_t bytes) noexcept {
    return static_cast<unsigned>(std::min<std::uint64_t>(kVictimsAWrite + bytes / 32, std::uint64_t{1} << 30));
  }
  void owe(std::uint64_t bytes) noexcept {
    std::uint64_t owed = owed_.load(std::memory_order_relaxed);  // a figure
    while (owed < bytes && !owed_.compare_exchange_weak(owed, bytes, std::memory_order_relaxed)) {  // as above
    }
  }

  // --- maintenance ---------------------------------------------------------------------------------------------

  // One bounded step, inside a guard: up to `count` go while there is less room than there should be and a sixteenth more,
  // until `units` of work are done. True: some did, or may in the next step: where all that is met stays, a victim's visits
  // are shared out over several.
  bool step(Thr& t, unsigned count, std::uint64_t units) noexcept {
    bool some = false;
    const std::uint64_t before = t.work;
    for (; count != 0 && t.work - before < units && wants_step(); --count) {
      const auto in_vain = static_cast<unsigned>(in_vain_.load(std::memory_order_relaxed));  // a count, roughly
      const bool gone = evict_one(t, kVisitsAStep, in_vain) != 0;
      const bool goes_on = !gone && in_vain < kVisitsMax;
      if (gone ? in_vain != 0 : goes_on) in_vain_.store(gone ? 0 : in_vain + kVisitsAStep, std::memory_order_relaxed);  // as above
      some = some || gone || goes_on;
      if (!gone) break;
      follow_limbo(t);
    }
    if (owed_bytes() == 0) owed_.store(0, std::memory_order_relaxed);  // a figure
    return some;
  }
  // Ahead of what is owed: so that writes find room until maintenance comes by again, and evict nothing themselves.
  bool wants_step() const noexcept {
    if (owed_bytes() != 0) return true;
    const std::uint64_t reserve = reserve_.load(std::memory_order_relaxed);  // a figure
    return evicts_.load(std::memory_order_relaxed) != 0 && room_bytes() < reserve + reserve / kAheadPart;  // a hint
  }
  // Room that is missing.
  std::uint64_t owed_bytes() const noexcept {
    const std::uint64_t wanted =
        reserve_.load(std::memory_order_relaxed) + owed_.load(std::memory_order_relaxed);  // figures
    const std::uint64_t room = room_bytes();
    return room < wanted ? wanted - room : 0;
  }

  // --- figures -------------------------------------------------------------------------------------------------

  std::uint64_t reserve_bytes() const noexcept { return reserve_.load(std::memory_order_relaxed); }  // a figure
  const EvictionQueues<Sync>& queues() const noexcept { return queues_; }

 private:
  static constexpr std::uint64_t kAheadPart = 16;
  static constexpr std::uint64_t kLightPart = 2;  // of the mean; 1 to 16 do, see bench/README.md
  static constexpr unsigned kRoundVictims = 4096;
  static constexpr std::uint64_t kRoundUnits = 2 * kRoundVictims + 1024;  // of what they leave, with their tombs

  Space<Sync>& space() const noexcept { return table_->space(); }
  void look_for_growth(std::uint64_t room) noexcept {
    const std::uint64_t then = room_at_rest_.load(std::memory_order_relaxed);     // a figure
    if (room > then) return room_at_rest_.store(room, std::memory_order_relaxed);  // as above
    if (room + growth_ <= then && !planted<Sync>(Mutant::kRestsForEver)) counts_hits_.store(1, std::memory_order_relaxed);  // a hint
  }
  // Of the pool's queues; null: of those that all without a share have. 0: none of those that were looked at could go.
  std::uint64_t evict_from_queues(Thr& t, Pool* pool, unsigned visits, unsigned before, bool& is_empty) noexcept {
    unsigned empty = 0;
    if (pool == nullptr) queues_.gather(t);
    for (unsigned n = 0; n != visits; ++n) {
      Group& a = pool != nullptr ? pool->queues : queues_.random_group(t);
      Group& b = pool != nullptr ? pool->queues : queues_.random_group(t);
      const std::uint64_t small = a.small.count() + (&a == &b ? 0 : b.small.count());
      const std::uint64_t main = a.main_count() + (&a == &b ? 0 : b.main_count());
      const bool from_small = policy_.next(small, main) == EvictionQueue::kSmall;
      Group& g = queues_.pick(a, b, from_small);
      const std::uint64_t entry = counted(from_small ? queues_.take_small(t, g) : queues_.take_main(t, g));
      if (entry == 0) {
        is_empty = ++empty >= 4;
        if (is_empty) return 0;
        continue;
      }
      queues_.ahead(from_small ? g.small : g.main, [&](std::uint64_t hash) { policy_.prefetch(mixed(hash)); });
      const bool whatever = before + n >= kVisitsMax / 2;
      const std::uint64_t bytes = from_small ? visit_small(t, g, entry, small, main, whatever) : visit_main(t, g, entry, whatever);
      if (bytes != 0) return bytes;
    }
    return 0;
  }

  // Where namespaces have shares.
  [[gnu::noinline]] std::uint64_t evict_by_share(Thr& t, unsigned visits, unsigned before) noexcept {
    auto& pools = queues_.pools();
    Pool* const turn = pools.turn(used_bytes());
    bool is_empty = false;
    if (const std::uint64_t bytes = evict_from_queues(t, turn, visits, before, is_empty)) return bytes;
    if (!is_empty && before + visits < kVisitsMax) return 0;
    // It has nothing that could go: whoever has.
    if (turn != nullptr) {
      if (const std::uint64_t bytes = evict_from_queues(t, nullptr, visits, before, is_empty)) return bytes;
    }
    if (Pool* const other = pools.fullest(turn)) {
      if (const std::uint64_t bytes = evict_from_queues(t, other, visits, before, is_empty)) return bytes;
    }
    return sweep(t);
  }
  // About what entries take.
  std::uint64_t used_bytes() const noexcept {
    const auto& heap = space().heap;
    const std::uint64_t others = heap.fixed_bytes() + room_bytes();
    return heap.budget_bytes() > others ? heap.budget_bytes() - others : 0;
  }
  [[gnu::noinline]] void enter_pool(Thr& t, Pool& pool, std::uint64_t hash, unsigned gen) noexcept {
    std::uint64_t entry = queues_.format().pack(hash, gen);
    EvictionQueue queue;
    if (evicts_.load(std::memory_order_relaxed) != 0) {  // a hint
      entry |= EntryFormat::kCounted;
      queue = policy_.missed(key_of(entry));
    } else {
      queue = policy_.entered_first(key_of(entry));
    }
    queues_.enter_pool(t, pool, queue, entry);
  }
  Pool* pool_of(std::string_view key) const noexcept { return is_named(key) ? queues_.pools().find(name_of(key)) : nullptr; }
  // An entry of the queues of `g` that belongs elsewhere: it goes there.
  bool goes_to_its_pool(Thr& t, Group& g, std::uint64_t entry, std::uint64_t record, EvictionQueue queue) noexcept {
    if (!queues_.pools().any() || record == 0) [[likely]] return false;
    if (planted<Sync>(Mutant::kShareNotMoved)) return false;
    const Rec& r = *space().record(record);
    const auto key = space().key_of(r, r.stamp_word());
    Pool* const pool = pool_of({key.data, key.size});
    if (pool == nullptr || &pool->queues == &g) return false;
    queues_.enter_pool(t, *pool, queue, entry);
    return true;
  }

  // An entry that was popped, as its record stands.
  struct Judged {
    enum Kind : std::uint8_t { kVoid, kStays, kExpired, kCandidate } kind = kVoid;
    std::uint64_t record = 0;
    Stamp stamp{0};
    Hold hold{0};
    std::uint64_t now_ms = 0;  // if it has a deadline
    std::uint64_t hash = 0;    // of the entry
    Place<Sync> place{};
  };
  Judged judge(Thr& t, std::uint64_t entry) noexcept {
    Judged j;
    ++t.work;
    j.hash = queues_.format().hash(entry);
    const auto named = queues_.find(t, entry, j.hash);
    if (named.in_the_way) j.kind = Judged::kStays;
    if (!named.found) return j;
    j.record = named.word.offset();
    Rec& r = *space().record(j.record);
    j.hold = r.hold_word();
    if (j.hold.keep() && !planted<Sync>(Mutant::kEvictKept)) return j;
    j.stamp = r.stamp_word();
    if (!j.stamp.stamped()) [[unlikely]] j.stamp = Versions<Sync>::finalise(space(), r);
    if (j.stamp.intent()) [[unlikely]] {
      j.kind = Judged::kStays;  // a batch is under way here, or was
      return j;
    }
    if (j.stamp.tomb()) return j;
    j.place = {{named.slot, &r, named.word, j.stamp}, named.home, named.home_index, false};
    if (j.stamp.has_x()) j.now_ms = time_->now();
    j.kind = is_expired(r, j.stamp, j.now_ms) && !planted<Sync>(Mutant::kEvictExpiredInTurn) ? Judged::kExpired : Judged::kCandidate;
    // One hold of a record that was told is, as a rule, its event's: that gives way with the ring.
    if (j.hold.holds() > (j.stamp.told() ? 1u : 0u) && !planted<Sync>(Mutant::kEvictHeld)) j.kind = Judged::kStays;
    return j;
  }

  // Both answer the bytes that were removed; 0: the entry was void, or goes round once more. `whatever`: it has been
  // long enough, reads don't count any more.
  std::uint64_t visit_small(Thr& t, Group& g, std::uint64_t entry, std::uint64_t small, std::uint64_t main,
                            bool whatever) noexcept {
    const Judged j = judge(t, entry);
    if (j.kind == Judged::kVoid || goes_to_its_pool(t, g, entry, j.record, EvictionQueue::kSmall)) return 0;
    if (j.kind == Judged::kStays) return stays(t, g, entry);
    if (j.kind == Judged::kExpired || whatever) return remove_or_stay(t, g, entry, j);
    const std::uint64_t key = mixed(j.hash);
    const EvictionVerdict v = leave_small(key, j.hold.access(), small, main);
    if (v.kind == EvictionVerdict::kEvict) return leave_light(t, g, entry, j);
    if (v.kind == EvictionVerdict::kPromote) {
      set_access(*space().record(j.record), j.hold, v.access);
      return stays(t, g, queues_.renewed(t, entry));
    }
    // A duel with the one whose turn it is in main.
    for (unsigned n = 0; n != kDuelSteps; ++n) {
      const std::uint64_t other = counted(queues_.take_main(t, g));
      if (other == 0) break;
      const Judged o = judge(t, other);
      if (o.kind == Judged::kVoid) continue;
      if (o.kind == Judged::kStays) {
        stays(t, g, other);
        continue;
      }
      const std::uint64_t other_key = mixed(o.hash);
      if (o.kind == Judged::kCandidate) {
        const EvictionVerdict ov = policy_.leave_main(other_key, o.hold.access());
        if (ov.kind == EvictionVerdict::kAgain) {
          set_access(*space().record(o.record), o.hold, ov.access);
          stays(t, g, queues_.renewed(t, other));
          continue;
        }
      }
      if (o.kind == Judged::kExpired || policy_.wins(key, j.hold.access(), other_key)) {
        set_access(*space().record(j.record), j.hold, 0);
        stays(t, g, queues_.renewed(t, entry));
        return remove_or_stay(t, g, other, o);
      }
      queues_.put_aside(t, g, other);
      break;
    }
    return leave_light(t, g, entry, j);
  }
  // One that has lost; if it is light, its place is main's.
  std::uint64_t leave_light(Thr& t, Group& g, std::uint64_t entry, const Judged& j) noexcept {
    const std::uint64_t light = light_bytes_.load(std::memory_order_relaxed);  // a figure
    const bool is_light = light != 0 && space().bytes_of(j.record) <= light && !planted<Sync>(Mutant::kLightNotKept);
    if (!is_light) [[likely]] return remove_or_stay(t, g, entry, j);
    set_access(*space().record(j.record), j.hold, 0);
    return stays(t, g, queues_.renewed(t, entry));
  }

  // A strict gate lets newcomers in unfought while main isn't full. Of two groups out of many, or with a thread between
  // pop and push, main is short by some as often as not: that many count as there, or main would turn over like a FIFO.
  EvictionVerdict leave_small(std::uint64_t key, unsigned access, std::uint64_t small, std::uint64_t main) const noexcept {
    const std::uint64_t others = small == 0 ? 0 : small - 1;
    const std::uint64_t slack = planted<Sync>(Mutant::kEvictMainNeverFull) ? 0 : std::min(others, 1 + (small + main) / 128);
    return policy_.leave_small(key, access, others - slack, main + slack);
  }

  std::uint64_t visit_main(Thr& t, Group& g, std::uint64_t entry, bool whatever) noexcept {
    const Judged j = judge(t, entry);
    if (j.kind == Judged::kVoid || goes_to_its_pool(t, g, entry, j.record, EvictionQueue::kMain)) return 0;
    if (j.kind == Judged::kStays) return stays(t, g, entry);
    if (j.kind == Judged::kCandidate && !whatever) {
      const EvictionVerdict v = policy_.leave_main(mixed(j.hash), j.hold.access());
      if (v.kind == EvictionVerdict::kAgain) {
        set_access(*space().record(j.record), j.hold, v.access);
        return stays(t, g, queues_.renewed(t, entry));
      }
    }
    return remove_or_stay(t, g, entry, j);
  }

  std::uint64_t remove_or_stay(Thr& t, Group& g, std::uint64_t entry, const Judged& j) noexcept {
    if (j.kind == Judged::kCandidate) [[likely]] {
      if (const std::uint64_t bytes = remove_plain(t, j.hash, j.place.found, j.now_ms); bytes != 0) [[likely]] {
        policy_.evicted(mixed(j.hash));
        return bytes;
      }
    }
    const std::uint64_t bytes = remove(t, j.record, j.stamp, j.hash, j.kind == Judged::kExpired, j.now_ms, &j.place);
    if (bytes == 0) return planted<Sync>(Mutant::kEvictEntryLost) ? 0 : stays(t, g, entry);
    if (j.kind != Judged::kExpired) policy_.evicted(mixed(j.hash));
    return bytes;
  }
  // 0: it is no ordinary one, or has changed since.
  std::uint64_t remove_plain(Thr& t, std::uint64_t hash, const typename Tbl::Found& found, std::uint64_t now_ms) noexcept {
    const std::uint64_t bytes = space().heap.block_bytes(found.word.offset());
    Sync::point("evict.remove");
    if (!Commit<Sync>(*table_, *time_, *bound_, this).evict_plain(t, hash, found, now_ms)) [[unlikely]] return 0;
    t.counters.evicted.add();
    return bytes;
  }
  // Of a key that came before anything had to go, the arrival is counted when its turn comes.
  std::uint64_t counted(std::uint64_t entry) noexcept {
    if (entry == 0 || EntryFormat::counted(entry)) return entry;
    policy_.count(key_of(entry));
    return entry | EntryFormat::kCounted;
  }
  EvictionQueue missed(Thr& t, std::uint64_t entry) noexcept {
    bool remembered = false;
    const EvictionQueue queue = policy_.missed(key_of(entry), remembered);
    if (remembered) t.counters.ghost_hits.add();
    return queue;
  }
  // What the policy knows a key by: of the hash, what an entry keeps, spread over all bits.
  std::uint64_t key_of(std::uint64_t entry) const noexcept { return mixed(queues_.format().hash(entry)); }
  static std::uint64_t mixed(std::uint64_t hash) noexcept {
    const std::uint64_t x = hash * 0x9E3779B97F4A7C15u;
    return (x ^ x >> 32) * 0xD6E8FEB86659FD93u;
  }

  // In main.
  std::uint64_t stays(Thr& t, Group& g, std::uint64_t entry) noexcept {
    Sync::point("evict.back");
    queues_.push(t, queues_.staying_group(g).main, entry);
    return 0;
  }
  static void set_access(Rec& r, Hold seen, unsigned access) noexcept {
    std::uint64_t expected = seen.word();
    r.meta.compare_exchange_strong(expected, seen.with_access(access).word(), std::memory_order_relaxed);  // a count
  }
  static bool is_expired(Rec& r, Stamp s, std::uint64_t now_ms) noexcept {
    if (!s.has_x()) return false;
    const Deadline x(r.x().load(std::memory_order_seq_cst));  // [deadline] seq_cst
    return !x.never() && now_ms >= x.ms();
  }

  // By way of commit, which takes the time to be `now_ms`. 0: it isn't there any more, or there is no memory for the tomb.
  std::uint64_t remove(Thr& t, std::uint64_t record, Stamp s, std::uint64_t hash, bool expired, std::uint64_t now_ms,
                       const Place<Sync>* place) noexcept {
    const Rec& r = *space().record(record);
    const std::uint64_t bytes = space().bytes_of(record);
    const auto k = space().key_of(r, s);
    const std::string_view key(k.data, k.size);
    // Of a record without a deadline nobody has asked the clock; its lease may have one.
    if (now_ms == 0 && s.has_ext()) [[unlikely]] now_ms = time_->now();
    EvictChange<Sync> change(space(), t, key, r, expired);
    Sync::point("evict.remove");
    const Time then = Time::at(now_ms);
    const Committed c = Commit<Sync>(*table_, then, *bound_, this).commit(t, hash, key, change, place);
    if (c.outcome != Committed::Outcome::kRemoved) return 0;
    (change.expired ? t.counters.expired : t.counters.evicted).add();
    if (!change.expired && is_named(key)) [[unlikely]] space().names.count_evicted(key);
    return bytes;
  }

  // What invalidation points have killed, where their sweep is.
  [[gnu::noinline]] std::uint64_t bury_dead(Thr& t) noexcept {
    Commit<Sync> commit(*table_, *time_, *bound_, this);
    Invalidation<Sync> invalidation(commit);
    invalidation.sweep(t, kSweptMax / 16);
    return invalidation.buried_bytes;
  }

  // Bucket after bucket, what the queues don't know. As evict_one.
  std::uint64_t sweep(Thr& t) noexcept {
    const bool pools = queues_.pools().any();
    const Pool* const turn = pools ? queues_.pools().turn(used_bytes()) : nullptr;
    for (unsigned n = 0; n != kSweptMax; ++n) {
      const std::uint64_t at = hand_.fetch_add(1, std::memory_order_relaxed);  // a place to look, whoever looks
      ++t.work;
      Shd& s = table_->shard(static_cast<unsigned>(at & (table_->shard_count() - 1)));
      const auto b = static_cast<std::uint32_t>(at / table_->shard_count() % Tbl::size_of(s).buckets());
      Bucket<Sync>& bucket = table_->bucket(s, b);
      if (!bucket.control().ready()) continue;
      const bool is_early = n < kSweptMax / 2;
      const std::uint64_t bytes = evict_in_chain(t, bucket, is_early ? 0 : kAccessMax, true, pools && is_early ? &turn : nullptr);
      if (bytes != 0) return bytes;
    }
    return 0;
  }

  // The first entry of a chain that was read at most so often; the others' counts come down if `forget`. `only`: of this pool,
  // or of those that have none.
  std::uint64_t evict_in_chain(Thr& t, Bucket<Sync>& first, unsigned access_max, bool forget, const Pool* const* only = nullptr) noexcept {
    std::uint64_t bytes = 0, now_ms = 0;
    table_->for_each_slot(first, [&](auto& slot, SlotWord w) {
      if (!w.is_live()) return true;
      Rec& r = *space().record(w.offset());
      const Hold hold = r.hold_word();
      const Stamp stamp = Versions<Sync>::finalise(space(), r);
      if (stamp.tomb() || stamp.intent() || hold.keep() || hold.holds() != 0) return true;
      if (stamp.has_x() && now_ms == 0) now_ms = time_->now();
      const bool expired = is_expired(r, stamp, now_ms);
      if (!expired && hold.access() > access_max) {
        if (forget) set_access(r, hold, hold.access() - 1);
        return true;
      }
      const auto k = space().key_of(r, stamp);
      if (only != nullptr && !expired && pool_of({k.data, k.size}) != *only) return true;
      const std::uint64_t hash = table_->hash_of({k.data, k.size});
      if (!expired) bytes = remove_plain(t, hash, {&slot, &r, w, stamp}, now_ms);
      if (bytes == 0) bytes = remove(t, w.offset(), stamp, hash, expired, stamp.has_x() ? now_ms : 0, nullptr);
      return bytes == 0;
    });
    return bytes;
  }

  // The reserve is what the limbo takes and a quarter more, beside the least: up at once, down slowly.
  void follow_limbo(Thr& t) noexcept {
    const std::uint64_t limbo = space().epoch.limbo_bytes();
    // Several threads: one of them may be taken off its processor at any time.
    const std::uint64_t threads = std::clamp<std::uint64_t>(space().thread_count(), 1, 4);
    const std::uint64_t wanted = std::min<std::uint64_t>(reserve_min_ * threads + limbo + limbo / 4, reserve_max_);
    const std::uint64_t now = reserve_.load(std::memory_order_relaxed);  // a threshold, whoever sets it
    if (wanted > now) {
      reserve_.store(wanted, std::memory_order_relaxed);  // as above
    } else if ((t.counters.evicted.get() & 255) == 0) {
      reserve_.store(now - (now - wanted) / 8, std::memory_order_relaxed);  // as above
    }
    if ((t.counters.evicted.get() & 255) == 0) fit();
  }
  // How many entries a budget in bytes holds, and of which size they are, is seen when it is full.
  [[gnu::noinline]] void fit() noexcept {
    if (bound_->max != 0 && !size_aware_) return;
    std::uint64_t live = 0;
    for (unsigned i = 0; i != table_->shard_count(); ++i) {
      live += table_->shard(i).live.load(std::memory_order_relaxed);  // a count
    }
    if (size_aware_ && live != 0) light_bytes_.store(used_bytes() / live / kLightPart, std::memory_order_relaxed);  // a figure
    if (bound_->max != 0) return;
    policy_.fit(live);
    queues_.fit(live);
  }
  void raise_reserve() noexcept {
    const std::uint64_t now = reserve_.load(std::memory_order_relaxed);  // a threshold
    reserve_.store(std::min<std::uint64_t>(now + now / 8, reserve_max_), std::memory_order_relaxed);  // as above
  }
  Tbl* table_ = nullptr;
  const Time* time_ = nullptr;
  EntryBound<Sync>* bound_ = nullptr;
  EvictionQueues<Sync> queues_;
  EvictionPolicy<Sync> policy_;
  Setting reserve_min_;
  Setting reserve_max_;
  Setting set_aside_;
  Setting growth_;  // in bytes: what counts as such
  bool size_aware_ = false;
  Word evicts_{};       // 1: something had to go
  Word counts_hits_{};  // 0: the store is at rest, or evicts nothing at all
  Word room_at_rest_{};
  Word light_bytes_{};  // what is light; 0: nothing is
  alignas(128) Word reserve_{};
  alignas(128) Word owed_{};
  Word hand_{};
  Word in_vain_{};  // visits of maintenance's last steps
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_EVICTION_H_
