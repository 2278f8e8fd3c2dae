// Core: one store's parts put together, and the operations on single keys as reads (find, then look) and writes
// (a Change for commit). Everything takes the calling thread's state, so that the tests drive it with schedulers.
// The operations on groups of keys are in groups.h; the public face is store.cc.
#ifndef TERN_ENGINE_CORE_H_
#define TERN_ENGINE_CORE_H_

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include "alloc/heap.h"
#include "engine/batch.h"
#include "engine/changes.h"
#include "engine/commit.h"
#include "engine/eviction.h"
#include "engine/expiry.h"
#include "engine/invalidation.h"
#include "engine/leases.h"
#include "engine/moves.h"
#include "engine/ordered_index.h"
#include "engine/prefetch.h"
#include "engine/space.h"
#include "engine/table.h"

namespace tern::detail {

// Instead of a value's size, why there is none.
inline constexpr std::uint64_t kMissing = ~std::uint64_t{0};
inline constexpr std::uint64_t kTooLong = kMissing - 1;    // longer than `size_max`: not copied, not counted
inline constexpr std::uint64_t kUndecided = kMissing - 2;  // only on the way of almost every read: ask copy()

struct CoreOptions {
  std::size_t memory_bytes = 0;
  std::size_t memory_bytes_max = 0;
  void* region = nullptr;
  std::size_t region_bytes = 0;
  unsigned shard_count = 1;
  std::uint64_t seed = 0;
  std::size_t entries_max = 0;
  std::size_t view_bytes = ~std::size_t{0};  // what versions kept for views may take
  unsigned ring_count = 0;       // event rings, a power of two; 0: one a shard
  std::uint64_t ring_cells = 0;  // of each, a power of two; 0: the least
  std::uint64_t ring_bytes = 0;  // of replaced records that events keep
  WeigherFn weigher = nullptr;
  void* weigher_user = nullptr;
  bool eviction = false;
  unsigned eviction_setting = 0;  // of kEvictionSettings, to begin with
  bool size_aware = false;
  bool ordered = false;
  RemovalHook removal_hook;
  std::uint32_t first_buckets = kFirstBuckets;  // of each shard
  bool align_records = false;
  bool huge_pages = true;
  bool prefault = false;
  // Where the store lies in a file (alloc/heap.h), and its roots in another part of that (table.h).
  alloc::platform::File file{};
  std::uint64_t file_at = 0;
  std::byte* roots = nullptr;
  Time time;
};

// Inside: what is unlinked stays readable. Nests.
template <class Sync>
class Guard {
 public:
  Guard(Space<Sync>& space, Thread<Sync>& t) noexcept : space_(space), thread_(t) { space_.epoch.enter(thread_.epoch); }
  ~Guard() { space_.epoch.leave(thread_.epoch); }
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;

 private:
  Space<Sync>& space_;
  Thread<Sync>& thread_;
};

template <class Sync>
class Core {
 public:
  using Thr = Thread<Sync>;
  using Rec = Record<Sync>;
  using HeadT = Head<Sync>;
  using Tbl = Table<Sync>;
  using Grd = Guard<Sync>;

  alloc::Error open(const CoreOptions& o) noexcept {
    const unsigned chunk_shift = Tbl::chunk_shift_for(o.memory_bytes, o.shard_count);
    // Half of the budget in address space for the table: it is charged chunk by chunk as it grows. In memory that
    // the caller gave, addresses are bytes: an eighth.
    const std::size_t whole = o.region != nullptr ? o.region_bytes : std::max(o.memory_bytes, o.memory_bytes_max);
    const std::size_t row = std::size_t{o.shard_count} << chunk_shift;
    const std::size_t wanted = whole / (o.region != nullptr ? 8 : 2);
    const std::size_t unit = std::max(row, std::size_t{64} << 10);
    table_bytes_ = std::max(wanted / unit, std::size_t{1}) * unit;
    alloc::HeapOptions h;
    h.memory_bytes = o.memory_bytes;
    h.memory_bytes_max = o.memory_bytes_max;
    h.table_bytes_max = table_bytes_;
    h.region = o.region;
    h.region_bytes = o.region_bytes;
    h.huge_pages = o.huge_pages;
    h.prefault = o.prefault;
    h.file = o.file;
    h.file_at = o.file_at;
    if (const alloc::Error e = space.heap.open(h); e != alloc::Error::kNone) return e;
    space.seed = o.seed;
    space.geometry.hash_keys = simd::derive_keys(o.seed);
    space.geometry.base = space.heap.base();
    space.geometry.epoch = &space.epoch.line();
    space.align_records = o.align_records;
    time = o.time;
    space.table = &table;
    space.time = &time;
    space.removal_hook = o.removal_hook;
    space.views.kept_bytes_max = o.view_bytes;
    space.events.rings = o.ring_count == 0 ? o.shard_count : std::min(o.ring_count, o.shard_count);
    space.events.shard_shift = static_cast<unsigned>(std::countr_zero(o.shard_count) - std::countr_zero(space.events.rings));
    space.events.cells = std::max(o.ring_cells, EventRing<Sync>::kCellsMin);
    space.events.bytes_max = o.ring_bytes;
    bound.max = o.entries_max;
    bound.weigher = o.weigher;
    bound.weigher_user = o.weigher_user;
    space.short_values_below = o.weigher != nullptr ? 0 : Space<Sync>::kShortWayBytesMax + 1;
    set_limbo_limits(o.memory_bytes);
    if (o.roots != nullptr) space.points.lie_in(Roots<Sync>::points(o.roots));
    if (!table.open(space, o.shard_count, chunk_shift, table_bytes_, o.first_buckets, o.roots)) return alloc::Error::kOutOfMemory;
    if (o.ordered) table.set_ordered(&index);
    if (o.eviction) {
      if (!eviction.open(table, time, bound, {o.entries_max, table_bytes_, o.eviction_setting, o.region == nullptr, o.size_aware})) return alloc::Error::kOutOfMemory;
      space.birth_meta = 0;
      evicts = true;
    }
    return alloc::Error::kNone;
  }

  // An eighth of the budget may be in limbo before writes are refused. A thread keeps its last thousand records
  // back, or a 128th of the budget if that is less: eight threads then stay below half of the cap.
  void set_limbo_limits(std::size_t memory_bytes) noexcept {
    space.epoch.set_limits(memory_bytes / 8, std::min<std::size_t>(memory_bytes / 128, std::size_t{1} << 20));
    if (evicts) eviction.set_budget(memory_bytes);
  }

  std::uint64_t hash_of(std::string_view key) const noexcept { return table.hash_of(key); }
  // With the Commit that it needs.
  struct KeptKeys {
    Commit<Sync> commit;
    Kept<Sync> kept;
    explicit KeptKeys(Core& core) noexcept : commit(core.committer()), kept(core.table, &commit) {}
    KeptKeys(const KeptKeys&) = delete;
    KeptKeys& operator=(const KeptKeys&) = delete;
    Kept<Sync>* operator->() noexcept { return &kept; }
  };
  KeptKeys kept_keys() noexcept { return KeptKeys(*this); }
  Commit<Sync> committer() noexcept { return Commit<Sync>(table, time, bound, evicts ? &eviction : nullptr); }

  // The thread goes: what it held for itself goes back.
  void release_thread(Thr& t) noexcept {
    if (evicts && t.entering_count != 0) {
      Grd guard(space, t);
      eviction.settle(t);
    }
    space.release_thread(t);
  }

  // --- reads ---------------------------------------------------------------------------------------------------

  // fn(const char* value, std::uint64_t size) if the key is present, inside the guard.
  template <class Fn>
  bool read(Thr& t, std::uint64_t hash, std::string_view key, Fn&& fn) noexcept {
    Grd guard(space, t);
    const auto found = table.find(hash, key);
    return found ? read_found(t, found, hash, key, fn) : missed(t);
  }

  // A read that wants more than the value: fn(head) if the key is present, counted as a hit before that (fn may write), inside the guard.
  template <class Fn>
  bool read_head(Thr& t, std::string_view key, Fn&& fn) noexcept {
    Grd guard(space, t);
    const std::uint64_t hash = hash_of(key);
    const auto found = table.find(hash, key);
    const HeadT h = found ? look(found, key) : HeadT{};  // in place: visits and holds are on hot paths
    if (!h.present) return missed(t);
    t.counters.hits.add();
    note_hit(t, *h.record, hash);
    accessed(t, key, h);
    fn(h);
    return true;
  }

  // A get in every case, copying up to `size_max` bytes.
  std::uint64_t copy(Thr& t, std::uint64_t hash, std::string_view key, char* out, std::uint64_t size_max) noexcept {
    Grd guard(space, t);
    const HeadT h = head(hash, key);
    if (!h.present) {
      missed(t);
      return kMissing;
    }
    if (h.value_size > size_max) return kTooLong;
    Sync::plain_read(h.value, h.value_size);
    simd::copy_bytes(out, h.value, h.value_size);
    t.counters.hits.add();
    note_hit(t, *h.record, hash);
    accessed(t, key, h);
    return h.value_size;
  }

  template <class Fn>
  bool read_found(Thr& t, const typename Tbl::Found& found, std::uint64_t hash, std::string_view key, Fn& fn) noexcept {
    const HeadT h = look(found, key);
    if (!h.present) return missed(t);
    Sync::plain_read(h.value, h.value_size);
    fn(h.value, h.value_size);
    t.counters.hits.add();
    note_hit(t, *h.record, hash);
    accessed(t, key, h);
    return true;
  }
  // A read has found the record, inside its guard. Two loads and two branches; what is behind them is reached, unless the store is at rest, up to
  // three times in the time that eviction takes to come round, and at each hit of the few keys that the policy follows.
  [[gnu::always_inline]] void note_hit(Thr& t, const Rec& r, std::uint64_t hash) noexcept {
    if (!eviction.counts_hits()) return;
    eviction.rest(t, 1);
    const Hold hold(r.meta.load(std::memory_order_relaxed));  // a count that may miss one; it guards nothing
    if (!hold.access_is_full()) [[unlikely]] eviction.count_hit(const_cast<Rec&>(r), hold, hash);
  }

  static bool missed(Thr& t) noexcept {
    t.counters.misses.add();
    return false;
  }

  // After a read that found the key: an idle time begins anew. The deadline is moved in place, and only when an eighth of
  // the time is over, so that most reads of a key that is read often write nothing.
  [[gnu::always_inline]] void accessed(Thr& t, std::string_view key, const HeadT& h) noexcept {
    if (h.span.idle_ms() != 0) [[unlikely]] begin_idle_time(t, key, h);
  }
  [[gnu::noinline]] void begin_idle_time(Thr& t, std::string_view key, const HeadT& h) noexcept {
    const std::uint64_t deadline = time.now() + h.span.idle_ms();
    if (deadline >= Deadline::kNever || deadline < h.deadline_ms + h.span.idle_ms() / 8) return;
    std::uint64_t x = h.x.word();
    Sync::point("core.accessed");
    if (!h.x.frozen() && h.record->x().compare_exchange_strong(x, h.x.moved_to(deadline).word(),
                                                               std::memory_order_seq_cst)) {  // [deadline] seq_cst
      return;
    }
    if (!Deadline(x).frozen()) return;  // another read was first
    // Somebody is replacing it, or gave up doing so: as a touch that meets that, by a record of its own.
    DeadlineChange<Sync> change(space, t, key, deadline, h.span);
    write(t, hash_of(key), key, change);
  }

  // The head of a key inside the caller's guard, decided. `record` is null if the key has none.
  HeadT head(std::uint64_t hash, std::string_view key) noexcept {
    const auto found = table.find(hash, key);
    return found ? look(found, key) : HeadT{};
  }

  [[gnu::always_inline]] HeadT look(const typename Tbl::Found& found, std::string_view key) noexcept {
    const Stamp s = planted<Sync>(Mutant::kReadUnstamped) ? found.stamp
                                                          : Versions<Sync>::finalise(space, *found.record);
    const bool points = planted<Sync>(Mutant::kPointCountAfter) ? space.has_points() : found.points;
    if (points) [[unlikely]] return look_past_points(found, key);
    if (s.intent()) [[unlikely]] return look_through(found, key);
    if (s.has_ext() && Leases<Sync>::of(space, *found.record, s) != 0) [[unlikely]] return look_past_points(found, key);
    const HeadT h = Commit<Sync>::head_of(space, time, *found.record, s, key.size());
    if (h.expired && !planted<Sync>(Mutant::kExpiredBelieved)) [[unlikely]] return look_past_points(found, key);
    return h;
  }

  [[gnu::noinline]] HeadT look_through(const typename Tbl::Found& found, std::string_view key) noexcept {
    const auto seen = Versions<Sync>::resolve(space, *found.record);
    if (seen.record == nullptr) return {};
    if (Leases<Sync>::of(space, *seen.record, seen.stamp) != 0) [[unlikely]] return look_past_points(found, key);
    const HeadT h = Commit<Sync>::head_of(space, time, *seen.record, seen.stamp, key.size());
    return h.expired ? look_past_points(found, key) : h;
  }

  // The same of what has expired, and while there are points, or a lease, that may kill it.
  [[gnu::noinline]] HeadT look_past_points(typename Tbl::Found found, std::string_view key) noexcept {
    for (;;) {
      const auto seen = Versions<Sync>::resolve(space, *found.record);
      if (seen.record == nullptr) return {};
      HeadT h = Commit<Sync>::head_of(space, time, *seen.record, seen.stamp, key.size());
      if (seen.stamp.tomb()) return h;
      if (!planted<Sync>(Mutant::kLeaseUnasked)) Leases<Sync>(table, time).judge(h, *seen.record, seen.stamp);
      bool gone = h.expired;
      if (space.points.killer(space, *seen.record, seen.stamp, seen.stamp.stamp())) {
        gone = true;
        h.present = h.known_absent = false;
        h.value = nullptr;
        h.value_size = 0;
        if (planted<Sync>(Mutant::kPointDeadBelieved)) return h;
      }
      Sync::point("point.looked");
      if (gone) {
        // A miss, unless something else has taken its place before it went: by its deadline, or with its lease, or by a point
        // whose scope that isn't in.
        if (Leases<Sync>::is_still(space, found, *seen.record)) return h;
      } else {
        // What kills it may have been swept while it was looked for; not before the record itself was.
        if (found.slot->load(std::memory_order_seq_cst) == found.word.word()) return h;  // [publish] seq_cst
        if (planted<Sync>(Mutant::kPointNotLookedAgain)) return h;
      }
      found = table.find_slowly(table.hash_of(key), key);
      if (!found) return {};
    }
  }

  static constexpr unsigned kYieldsMax = 64;
  static constexpr unsigned kYieldsStuckMax = 1'024;  // half a millisecond where nothing else is ready: longer than another write's longest call
  static constexpr std::uint64_t kIndexRoomBytes = 256;  // a leaf and a node's copy
  static constexpr unsigned kRoundsMax = 5;
  static constexpr unsigned kRoundsMaxEvicting = 16;

  // --- writes --------------------------------------------------------------------------------------------------

  // Runs a Change. `removes`: it needs little or no memory and is let through when the limbo is past its cap, and a batch in
  // its way that needs more than there is doesn't stop it.
  template <class Change>
  [[gnu::always_inline]] Committed write(Thr& t, std::uint64_t hash, std::string_view key, Change& change, bool removes = false) noexcept {
    let_limbo_drain(t);
    if (space.heap.wants_back(t.cache)) [[unlikely]] give_back(t);
    Committed c{Committed::Outcome::kOutOfMemory, 0};
    Room room;
    unsigned turns = 0;
    do {
      {
        Grd guard(space, t);
        Commit<Sync> commit = committer();
        if (turns != 0) [[unlikely]] commit.give_up_batches();
        if (space.epoch.admit(space, t) || removes) [[likely]] c = commit.commit(t, hash, key, change);
      }
    } while ((c.outcome == Committed::Outcome::kOutOfMemory &&
              (find_room(t, change.bytes_wanted, room) || (removes && has_a_turn_left(t, turns)))) ||
             (c.outcome == Committed::Outcome::kFull && sweep_for_room(t, room)));
    if (c.outcome == Committed::Outcome::kFull) c.outcome = Committed::Outcome::kOutOfMemory;
    if (c.outcome == Committed::Outcome::kPut) {
      t.counters.sets.add();
    } else if (c.outcome == Committed::Outcome::kRemoved && change.existed) {
      t.counters.deletes.add();
    } else if (c.outcome == Committed::Outcome::kOutOfMemory && !in_group(t)) {
      t.counters.refused.add();  // of a group: once it has been in vain outside too
      space.upkeep.ask();
    }
    if (change.expired && c.outcome != Committed::Outcome::kKept) t.counters.expired.add();
    if (space.has_points() && !in_group(t)) [[unlikely]] sweep_points(t, kSweptByWrite);
    hand_out_removals(t);
    space.upkeep.pass_on();
    return c;
  }

  // For a removal that there was no room for. First it gives up a batch that is in its way; then it gives others their turns, if
  // what they protect is all that is missing.
  [[gnu::noinline]] bool has_a_turn_left(Thr& t, unsigned& turns) noexcept {
    if (turns++ == 0) return true;
    const std::uint64_t safe = space.epoch.safe();
    if (t.epoch.nest != 0 || space.epoch.limbo_bytes() == 0 || stood_at.load(std::memory_order_relaxed) == safe) return false;  // a hint
    if (turns > kYieldsStuckMax) {
      stood_at.store(safe, std::memory_order_relaxed);  // as above
      return false;
    }
    alloc::platform::yield_processor();
    space.epoch.reclaim(space, t, units_for(0));
    return true;
  }

  // What a write that finds no memory has tried.
  struct Room {
    unsigned rounds = 0;
    unsigned victims = 0;  // that it may still take
    unsigned yields = 0;
    unsigned from_views = 0;
    unsigned sweeps = 0;
    unsigned from_events = 0;
    std::uint64_t safe = 0;  // the epoch when it looked last
  };
  // What a write of so many bytes may reclaim at once.
  static constexpr std::uint64_t units_for(std::uint64_t bytes) noexcept { return 1024 + bytes / 32; }
  // Outside of the guard. False: it is to answer out_of_memory.
  [[gnu::noinline]] bool find_room(Thr& t, std::uint64_t bytes, Room& room) noexcept {
    if (table.ordered() != nullptr) bytes += kIndexRoomBytes;
    if (room.rounds++ == 0) {
      // Once more, after what this thread itself protected inside the guard could go too.
      space.epoch.reclaim(space, t, units_for(bytes));
      room.victims = eviction.victims_for(bytes);
      return true;
    }
    if (sweep_for_room(t, room)) {
      --room.rounds;
      return true;
    }
    // And again after room was made out of what other sizes have too much: for an extent, for the record that refers
    // to it, and for the extent again if the record took its room.
    // Inside a group's guard nothing comes back that is freed: there the caller tries again outside.
    if (!evicts) {
      return (!in_group(t) && take_from_views(t, bytes, room)) || (room.rounds < kRoundsMax && make_room(t)) || take_from_events(t, bytes, room);
    }
    if (in_group(t)) return false;
    // What is in limbo would do: with more threads than processors, one that was taken off its own inside a call is
    // what holds it. That thread gets its turn now and not later: with up to kYieldsMax others that are ready to run before it. Once
    // that has been in vain it stands, and until the epochs move on, a write gives way once and is refused.
    // Far below that, too, where the epochs haven't moved since the last round: what was evicted then isn't back yet, and what is
    // evicted now would lie there with it.
    const std::uint64_t safe = space.epoch.safe();
    const bool is_stuck = std::exchange(room.safe, safe) == safe && room.rounds > 2 && space.epoch.limbo_bytes() > bytes;
    const bool stands_still = eviction.stands_still(bytes);
    const bool stands = (is_stuck && !planted<Sync>(Mutant::kStuckEpochEvicted)) || stands_still;
    const unsigned patience = stands_still ? kYieldsMax : kYieldsStuckMax;
    const bool in_vain = stands && stood_at.load(std::memory_order_relaxed) == space.epoch.safe();  // a hint
    if (stands && t.epoch.nest == 0 && room.yields < patience) {
      --room.rounds;
      room.yields += in_vain ? patience : 1;
      if (room.yields >= patience) stood_at.store(space.epoch.safe(), std::memory_order_relaxed);  // as above
      alloc::platform::yield_processor();
      space.epoch.reclaim(space, t, units_for(bytes));
      return true;
    }
    if (room.rounds < kRoundsMaxEvicting && !in_vain) {
      // Where much lies in free blocks of other sizes, they are room that costs no entry. Else victims first: they may be of the
      // size that is wanted. (Of what is evicted or moved now nothing would come back.)
      if (make_room_of_others(t, room)) return true;
      // Twice as much each time: of another size than what is wanted, they may have helped nothing.
      const std::uint64_t enough = bytes << (room.rounds - 2);
      const bool freed = room.victims != 0 && eviction.make_room(t, bytes, enough, room.victims);
      hand_out_removals(t);
      if (freed && room.rounds == 2) return true;
      if (take_from_views(t, bytes, room)) return true;
      if (make_room(t) || freed) return true;
    }
    if (take_from_events(t, bytes, room)) return true;
    eviction.owe(bytes);
    return false;
  }

  // Versions that ended views have left, and what the oldest view keeps: it is ended. A bounded number of keys; the rest
  // is gone over by later calls. False: nothing was found.
  static constexpr unsigned kTakeRoundsMax = 8;
  static constexpr unsigned kTakeInVain = 4;
  bool take_from_views(Thr& t, std::uint64_t bytes, Room& room) noexcept {
    if (space.views.kept_versions() == 0 || room.from_views == kTakeRoundsMax) return false;
    ++room.from_views;
    --room.rounds;
    const auto count = static_cast<unsigned>(std::min<std::uint64_t>(256 + bytes / 32, std::uint64_t{1} << 30));
    const std::uint64_t before = space.views.kept_versions();
    bool some;
    {
      Grd guard(space, t);
      kept_keys()->review_any(t, count);
      some = space.views.kept_versions() < before;
      // What ended views have left may be of no use to this write, round after round: the slots of its chain may be full of
      // removed keys that the view needs.
      const bool in_vain = !some || room.from_views % kTakeInVain == 0;
      if (in_vain && kept_keys()->end_oldest_view()) some = kept_keys()->review_any(t, count) != 0 || some;
    }
    space.epoch.reclaim(space, t, 2 * std::uint64_t{count});
    return some;
  }

  // --- invalidation points -------------------------------------------------------------------------------------

  static constexpr unsigned kSweptByWrite = 2;   // buckets
  static constexpr unsigned kSweptAtOnce = 16;   // a slice of maintenance: what it buries fits a list of removals
  static constexpr unsigned kSweepsForRoom = 64;

  // A removal of everything in the scope, at one moment; `stamp` is where it stands. False: there is no memory.
  [[gnu::noinline]] bool invalidate(Thr& t, const PointScope& scope, std::uint64_t& stamp) noexcept {
    std::uint64_t home = 0;
    const std::uint64_t bytes = sizeof(Point<Sync>) + scope.bytes.size();
    Room room;
    const typename Space<Sync>::Spec spec{{Points<Sync>::kKey, sizeof Points<Sync>::kKey}, bytes};
    do {
      home = space.build(t, spec).offset;
      if (home == 0) home = space.build_from_reserve(t, spec).offset;
    } while (home == 0 && find_room(t, bytes, room));
    if (home == 0) return false;
    const std::uint64_t events = Events<Sync>::wanted(space) ? PointEvents<Sync>::build(space, t, scope, space.events.rings) : 0;
    for (bool again = true;;) {
      {
        Grd guard(space, t);
        Commit<Sync> commit = committer();
        if (Invalidation<Sync>(commit).make(t, home, events, scope, stamp)) return true;
      }
      // There are as many as can be: they are swept first, here if by nobody else. What still needs one after that is a view.
      const bool swept = sweep_points(t, kSweptAtOnce);
      if (swept || again) {
        again = swept;
        continue;
      }
      if (space.has_points() || !space.views.end_oldest()) break;
      again = true;
      if (space.log.call != nullptr) space.log.call(space.log.user, "a view was ended: every invalidation point waited for it");
    }
    if (events != 0) PointEvents<Sync>::discard(space, t, events, space.events.rings);
    space.discard(t, home);
    return false;
  }
  // Up to `buckets` of the sweep. False: nothing was done.
  [[gnu::noinline]] bool sweep_points(Thr& t, unsigned buckets) noexcept {
    if (space.points.in_table() == 0) return false;
    unsigned done;
    {
      Grd guard(space, t);
      space.epoch.admit(space, t);  // what it frees is let through when the limbo is past its cap
      Commit<Sync> commit = committer();
      done = Invalidation<Sync>(commit).sweep(t, buckets);
    }
    hand_out_removals(t);
    return done != 0;
  }
  // The same for members of leases that are over.
  [[gnu::noinline]] bool sweep_leases(Thr& t, unsigned buckets) noexcept {
    if (!Leases<Sync>::owes(space)) return false;
    unsigned done;
    {
      Grd guard(space, t);
      space.epoch.admit(space, t);  // as above
      Commit<Sync> commit = committer();
      done = Leases<Sync>(table, time).sweep(commit, t, buckets);
    }
    hand_out_removals(t);
    return done != 0;
  }
  // What is dead goes before anything else does. True: some was buried, and its memory taken back.
  [[gnu::noinline]] bool sweep_for_room(Thr& t, Room& room) noexcept {
    if ((!space.has_points() && !Leases<Sync>::owes(space)) || in_group(t)) return false;
    const auto buried = [&] { return t.counters.cleared.get() + t.counters.expired.get(); };
    const std::uint64_t before = buried();
    while (room.sweeps != kSweepsForRoom && buried() == before) {
      ++room.sweeps;
      const bool some = sweep_points(t, kSweptAtOnce);
      if (!sweep_leases(t, kSweptAtOnce) && !some) break;
    }
    if (buried() == before) return false;
    space.epoch.reclaim(space, t, units_for(0));
    return true;
  }

  // Events that keep replaced records, the oldest of each shard. False: there were none, or the call has given up its part;
  // a removal, which asks for no bytes, goes on to the last.
  static constexpr unsigned kTakenFromEvents = 8'192;  // at a time, of all rings together
  static constexpr unsigned kTakeEventsMax = 8;
  bool take_from_events(Thr& t, std::uint64_t bytes, Room& room) noexcept {
    if (in_group(t) || (room.from_events == kTakeEventsMax && bytes != 0) || space.orphan_bytes() == 0) return false;
    ++room.from_events;
    t.lacks_tomb = false;
    bool some;
    {
      Grd guard(space, t);
      some = Events<Sync>(space).shorten(t, std::max(kTakenFromEvents / space.events.rings, 1u));
    }
    space.epoch.reclaim(space, t, units_for(bytes));
    if (some && space.log.call != nullptr && space.events.shortened.load(std::memory_order_relaxed) == 1) space.log.call(space.log.user, "memory is short: events that nobody has read yet were given up");
    return some;
  }

  // A write inside the guard of a group of them, no callback of a visit between.
  static bool in_group(const Thr& t) noexcept { return t.epoch.nest != 0 && t.visits == nullptr; }

  // After a call that may have removed something, outside of its guard. A group does it when it has left its own.
  void hand_out_removals(Thr& t) noexcept {
    if (t.removals.count != 0 && !in_group(t)) [[unlikely]] Removals(space, t).hand_out();
  }

  void prefetch_bucket(std::uint64_t hash) const noexcept {
    const auto& s = table.head_of(hash);
    prefetch_near(&table.bucket(s, Tbl::size_of(s).home(hash)));
  }

  // A new deadline (Deadline::kNever: none). In place if the record has the word and nobody is replacing it.
  struct Touched {
    Committed::Outcome outcome = Committed::Outcome::kKept;
    bool existed = false;
    bool had_deadline = false;
  };
  Touched set_deadline(Thr& t, std::uint64_t hash, std::string_view key, std::uint64_t deadline_ms) noexcept {
    bool touched = false;
    bool had_deadline = false;
    {
      Grd guard(space, t);
      const HeadT h = head(hash, key);
      if (h.record == nullptr || !h.present) return {};
      had_deadline = h.has_deadline;
      // A batch's record is replaced, not moved, until somebody has counted what it did to the key's lifetime.
      touched = !h.record->stamp_word().intent() &&
                committer().touch(t, hash, h, deadline_ms);
    }
    if (touched) {
      space.upkeep.pass_on();
      return {Committed::Outcome::kPut, true, had_deadline};
    }
    DeadlineChange<Sync> change(space, t, key, deadline_ms);
    const Committed c = write(t, hash, key, change);
    return {c.outcome, change.existed, change.had_deadline};
  }

  // --- visits --------------------------------------------------------------------------------------------------

  // While a callback looks at `records` inside the guard; see VisitFrame.
  class Visit {
   public:
    Visit(Core& core, Thr& t, const std::uint64_t* records, unsigned count) noexcept : core_(core), thread_(t) {
      frame_.outer = t.visits;
      frame_.records = records;
      frame_.count = count;
      t.visits = &frame_;
    }
    ~Visit() {
      thread_.visits = frame_.outer;
      for (unsigned i = 0; i != frame_.pinned; ++i) core_.space.drop_hold(thread_, frame_.records[i]);
    }
    // Whether the guard may have been announced anew, so that what isn't held may be gone.
    bool was_renewed() const noexcept { return frame_.pinned != 0; }
    Visit(const Visit&) = delete;
    Visit& operator=(const Visit&) = delete;

   private:
    Core& core_;
    Thr& thread_;
    VisitFrame frame_;
  };

  // A write inside a visitor's callback: if all guards around it are visits, their records are held and the guard is
  // announced anew, so that a long visit that writes doesn't fill the limbo.
  void let_limbo_drain(Thr& t) noexcept {
    if (t.visits != nullptr) [[unlikely]] hold_what_is_visited(t);
  }
  [[gnu::noinline]] void hold_what_is_visited(Thr& t) noexcept {
    std::uint64_t frames = 0;
    for (VisitFrame* f = t.visits; f != nullptr; f = f->outer) ++frames;
    if (t.epoch.nest != frames) return;
    for (VisitFrame* f = t.visits; f != nullptr; f = f->outer) {
      for (; f->pinned != f->count; ++f->pinned) {
        if (!space.try_hold(*space.record(f->records[f->pinned]))) return;
      }
    }
    space.epoch.renew(t.epoch);
  }

  // --- room ----------------------------------------------------------------------------------------------------

  Moves<Sync> mover() noexcept { return Moves<Sync>(table, room_owed); }

  // For the size that this thread found no room for. True: there is room now.
  [[gnu::noinline]] bool make_room(Thr& t) noexcept {
    const std::uint64_t bytes = std::exchange(t.short_of, 0);
    return bytes != 0 && mover().make_room(t, bytes);
  }
  [[gnu::noinline]] bool make_room_of_others(Thr& t, const Room& room) noexcept {
    if (t.short_of == 0 || !space.heap.is_scattered() || planted<Sync>(Mutant::kRoomEvictedFirst)) return false;
    if (room.rounds != 2) return make_room(t);
    if (!mover().make_room_of_others(t, t.short_of)) return false;
    t.short_of = 0;
    return true;
  }
  // Another thread empties spans: what this one has of them goes back.
  [[gnu::noinline]] void give_back(Thr& t) noexcept {
    space.epoch.flush(space, t);
    space.heap.sift(t.cache);
  }

  // --- maintenance ---------------------------------------------------------------------------------------------

  // Slices of some 5 to 10 us each, and how much of the limbo one reclaims where that is past its cap.
  static constexpr unsigned kVictimsASlice = 8;
  static constexpr std::uint64_t kUnitsASlice = 32;
  static constexpr std::uint64_t kAdmitUnitsASlice = 128;
  static constexpr std::uint64_t kResizeUnits = 1024;

  // Makes room ahead of need, a bounded step. True: some was made.
  bool maintain_room(Thr& t) noexcept {
    // What is to be removed needs a record that says so, and events may have them all.
    if (Room room; t.lacks_tomb && take_from_events(t, 0, room)) [[unlikely]] return true;
    if (!evicts || !eviction.wants_step()) return false;
    bool some;
    {
      Grd guard(space, t);
      some = eviction.step(t, kVictimsASlice, kUnitsASlice);
    }
    hand_out_removals(t);
    return some;
  }

  static constexpr unsigned kTicketsTended = 16;

  // Of shard `i`: a split that is due, keys whose versions were kept, void tickets. True: there was something.
  bool tend(Thr& t, unsigned i) noexcept {
    Grd guard(space, t);
    auto& s = table.shard(i);
    bool worked = false;
    if (Growth<Sync>::is_due(s.live.load(std::memory_order_relaxed), Tbl::size_of(s))) {  // a count
      const std::uint64_t before = s.head->size.load(std::memory_order_relaxed);                  // only compared
      Growth<Sync>::grow_one(table, t, s);
      worked = before != s.head->size.load(std::memory_order_relaxed);
      ++t.work;
    }
    unsigned looked = kept_keys()->review(t, s, 16);
    if (i < space.events.rings) looked += Events<Sync>(space).drain(t, i, kDrainSlice);  // there may be fewer of them
    if (kept_keys()->owes_sweep()) looked += kept_keys()->sweep(t, 16);
    // What is due is looked at as such, void or not; and what expires comes first.
    if (!s.wheel.is_due(time.now())) looked += Tickets<Sync>::drop_void(table, t, s, kTicketsTended);
    t.work += looked;
    return worked || looked != 0;
  }
  // The budget. Downwards in time: what is free goes at once, spans that are not empty are drained by tick. False,
  // and nothing changed: out of range, or less than what the records that are there take, with an eighth of it for what
  // can't be packed.
  bool resize(Thr& t, std::size_t memory_bytes) noexcept {
    auto& heap = space.heap;
    space.epoch.reclaim(space, t, kResizeUnits);
    if (!heap.resize(memory_bytes)) {
      const std::size_t least = heap.least_bytes(memory_bytes);
      if (least + least / 8 > memory_bytes || !heap.resize_in_time(memory_bytes)) return false;
      space.upkeep.ask();
      space.upkeep.pass_on();
    }
    set_limbo_limits(memory_bytes);
    return true;
  }

  // One bounded slice of the page moves that a write left owed. True: there may be more.
  bool pay_room(Thr& t) noexcept {
    if (space.heap.wants_back(t.cache)) give_back(t);
    return mover().pay(t, kLooksASlice);
  }
  static constexpr unsigned kLooksASlice = 128;  // some 20 us
  static constexpr unsigned kDrainSlice = 64;    // events of a ring that nobody reads any more

  // Up to about `steps` tickets of shard `i` that are due; fewer: nothing more is. Adds the keys that it removed to
  // `removed`.
  static constexpr unsigned kExpireSlice = 32;
  unsigned expire(Thr& t, unsigned i, unsigned steps, std::uint64_t* removed = nullptr) noexcept {
    auto& s = table.shard(i);
    const bool unfiled = s.unfiled.load(std::memory_order_relaxed) != 0;  // a hint
    if (s.wheel.entries() == 0 && !unfiled) return 0;
    unsigned done;
    {
      Grd guard(space, t);
      space.epoch.admit(space, t, kAdmitUnitsASlice);  // what it frees is let through when the limbo is past its cap
      // One look at the clock for all of them.
      const std::uint64_t now = time.now();
      const Time then = Time::at(now);
      Expiry<Sync> expiry(table, Commit<Sync>(table, then, bound, evicts ? &eviction : nullptr), t, s, now);
      done = expiry.step(steps);
      t.work += done;
      if (unfiled && done < steps) done += expiry.sweep();
      if (removed != nullptr) *removed += expiry.expired;
    }
    hand_out_removals(t);
    return done;
  }
  // All that is due, on all shards.
  std::uint64_t expire_all(Thr& t) noexcept {
    std::uint64_t removed = 0;
    for (unsigned i = 0; i != table.shard_count(); ++i) {
      while (expire(t, i, kExpireSlice, &removed) != 0) {}
    }
    return removed;
  }
  bool expiry_is_due(unsigned i) const noexcept {
    const auto& s = table.shard(i);
    return (s.wheel.entries() != 0 && s.wheel.is_due(time.now())) || s.unfiled.load(std::memory_order_relaxed) != 0;  // a hint
  }

  // Whether there is, or will be with time, something for maintenance to do.
  bool awaits_upkeep() const noexcept {
    if (evicts && eviction.owed_bytes() != 0) return true;
    if (space.points.in_table() != 0 || Leases<Sync>::owes(space)) return true;
    if (room_owed.bytes.load(std::memory_order_relaxed) != 0 || space.heap.shrinking_bytes() != 0) return true;  // a hint
    for (unsigned i = 0; i != table.shard_count(); ++i) {
      const auto& s = table.shard(i);
      if (s.wheel.entries() != 0 || s.unfiled.load(std::memory_order_relaxed) != 0) return true;  // a hint
      if (s.kept.count() != 0) return true;
    }
    return false;
  }

  std::uint64_t live_entries() const noexcept {
    std::uint64_t sum = 0;
    for (unsigned i = 0; i != table.shard_count(); ++i) sum += table.shard(i).live.load(std::memory_order_relaxed);
    return sum;
  }

  // Order matters: the table reads the space's heap until it goes.
  Space<Sync> space;
  Tbl table;
  OrderedIndex<Sync> index{space};  // empty unless the store is ordered
  Time time;
  EntryBound<Sync> bound;
  RoomOwed<Sync> room_owed;
  Eviction<Sync> eviction;
  bool evicts = false;
  typename Sync::template Atomic<std::uint64_t> stood_at{~std::uint64_t{0}};  // what was safe when giving way was in vain
  std::size_t table_bytes_ = 0;
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_CORE_H_
