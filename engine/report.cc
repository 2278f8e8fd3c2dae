// What a store says about itself, and its maintenance: stats, inspect, holders, verify, tick, resize.
#include <tern/store.h>

#include <algorithm>

#include "alloc/platform.h"
#include "alloc/platform_memory.h"
#include "engine/audit.h"
#include "engine/chores.h"
#include "engine/growth.h"
#include "engine/store_core.h"
#include "engine/stored_key.h"

namespace tern {

using detail::Call;

namespace {

// fn(const Seen&, behind, share) for each watch that hasn't looked at everything: how many positions it is behind, and of what is
// in the rings, the part that it has yet to look at.
template <class Fn>
void for_each_slow_watch(detail::StoreCore& store, Fn&& fn) {
  const detail::Events<detail::StdSync> events(store.core.space);
  if (events.ring(0) == nullptr) return;
  std::uint64_t ends = 0, there = 0;
  const auto there_of = [&](unsigned number, std::uint64_t end) {
    const auto* const ring = events.ring(number);
    const std::uint64_t first = ring != nullptr ? ring->floor() : 0;  // they stay, but that isn't seen by every compiler
    return end > first ? end - first : 0;
  };
  for (unsigned i = 0; i != events.rings(); ++i) {
    const std::uint64_t end = events.ring(i)->end();
    ends += end;
    there += there_of(i, end);
  }
  store.bus.roll.for_each([&](const auto& watch) {
    const bool of_one = watch.count == 1;
    const std::uint64_t end = of_one ? events.ring(watch.first)->end() : ends;
    if (end <= watch.read) return;
    const std::uint64_t behind = end - watch.read;
    const std::uint64_t unread = std::min(behind, of_one ? there_of(watch.first, end) : there);
    fn(watch, behind, there == 0 ? 0.0 : static_cast<double>(unread) / static_cast<double>(there));
  });
}

}  // namespace

Stats Store::stats() const noexcept {
  Stats s;
  const Call call(context(), Call::Keys::kNone);  // of a snapshot that serves: what has come
  if (!call.ok()) return s;
  auto& core = call.core();
  core.space.for_each_thread_state([&](detail::Thread<detail::StdSync>& t) {
    s.hits += t.counters.hits.get() + t.short_hits.get();
    s.misses += t.counters.misses.get();
    s.sets += t.counters.sets.get();
    s.deletes += t.counters.deletes.get();
    s.expired += t.counters.expired.get();
    s.refused += t.counters.refused.get();
    s.moves += t.counters.moves.get();
    s.dropped += t.counters.dropped.get();
    s.inserts += t.counters.inserts.get();
    s.evicted += t.counters.evicted.get();
    s.ghost_hits += t.counters.ghost_hits.get();
    s.cleared += t.counters.cleared.get();
    s.unevictable += t.counters.kept.get();
    s.index_bytes += t.counters.index_bytes.get();
    ++s.threads;
  });
  s.entries = core.live_entries();
  core.space.names.for_each([&](unsigned, const auto& slot) {
    ++s.namespaces;
    // With the two entries by which the store knows it.
    s.namespace_entries += slot.figure(slot.entries) + 2;
  });
  if (s.namespaces != 0) ++s.namespace_entries;  // how many there are
  s.leases = core.space.leases.count.load(std::memory_order_relaxed);  // a count
  for (unsigned i = 0; i != core.table.shard_count(); ++i) {
    s.expiring += core.table.shard(i).expiring.load(std::memory_order_relaxed);  // a count
    s.tickets += core.table.shard(i).wheel.entries();
    s.buckets += detail::Table<detail::StdSync>::size_of(core.table.shard(i)).buckets();
  }
  if (core.evicts) {
    const auto lengths = core.eviction.queues().lengths();
    s.queue_small = lengths.small;
    s.queue_main = lengths.main;
  }
  const alloc::Stats heap = core.space.heap.stats();
  s.memory_bytes = heap.limit_bytes;
  s.memory_used_bytes = heap.used_bytes;
  s.table_bytes = heap.table_bytes;
  s.record_bytes = heap.span_bytes + heap.extent_bytes;
  s.overhead_bytes = heap.overhead_bytes;
  s.huge_page_bytes = heap.huge_granted_bytes;
  s.limbo_bytes = core.space.epoch.limbo_bytes();
  s.limbo_bytes_max = core.space.epoch.limbo_bytes_max();
  s.held_bytes = call.store().held_bytes();
  s.held_values = call.store().held_count();
  s.views = core.space.views.open_count();
  s.views_ended = core.space.views.ended_for_room();
  s.kept_versions = core.space.views.kept_versions();
  s.kept_bytes = core.space.views.kept_bytes();
  s.watches = detail::Events<detail::StdSync>(core.space).listeners();
  s.event_bytes = core.space.orphan_bytes();
  s.events_shortened = core.space.events.shortened.load(std::memory_order_relaxed);  // a figure
  for_each_slow_watch(call.store(), [&](const auto&, std::uint64_t behind, double) { s.watch_lag = std::max(s.watch_lag, behind); });
  s.watch_gaps = core.space.events.gaps.load(std::memory_order_relaxed);  // a figure
  s.watch_lost = core.space.events.lost.load(std::memory_order_relaxed);  // as above
  s.epoch = core.space.epoch.current();
  s.owed = call.store().owed();
  s.keeper_turns = call.store().keeper.turns();
  s.keeper_failed_starts = call.store().keeper.failed_starts();
  if (const auto* p = call.store().periodic.load(std::memory_order_acquire)) p->tell(s);  // [periodic] acquire
  return s;
}

Lookup<std::size_t> Store::memory_usage(std::string_view key) const noexcept {
  const detail::StoredKey stored(context(), key);
  key = stored.view();
  const Call call(stored.context(), key);
  if (!call.ok()) return call.error(key);
  auto& core = call.core();
  const detail::Guard<detail::StdSync> guard(core.space, call.thread());
  const auto h = core.head(core.hash_of(key), key);
  if (!h.present) return Status::kNotFound;
  return static_cast<std::size_t>(core.space.bytes_of(core.space.offset_of(*h.record)));
}

Lookup<Inspection> Store::inspect(std::string_view key) const noexcept {
  const std::size_t key_bytes = key.size();
  const detail::StoredKey stored(context(), key);
  key = stored.view();
  const Call call(stored.context(), key);
  if (!call.ok()) return call.error(key);
  auto& core = call.core();
  const detail::Guard<detail::StdSync> guard(core.space, call.thread());
  const std::uint64_t hash = core.hash_of(key);
  const auto found = core.table.find(hash, key);
  if (!found) return Status::kNotFound;
  const auto h = core.look(found, key);
  if (!h.present) return Status::kNotFound;
  Inspection out;
  out.version = h.version;
  out.stamp = h.stamp.stamp();
  out.key_bytes = key_bytes;
  out.value_bytes = h.value_size;
  out.block_bytes = core.space.bytes_of(core.space.offset_of(*h.record));
  out.holds = static_cast<unsigned>(h.record->hold_word().holds());
  out.shard = core.table.shard_index(hash);
  auto& shard = core.table.shard_of(hash);
  out.bucket = detail::Table<detail::StdSync>::size_of(shard).home(hash);
  unsigned position = 0;
  core.table.for_each_slot(core.table.bucket(shard, static_cast<std::uint32_t>(out.bucket)),
                           [&](auto& slot, detail::SlotWord) {
                             if (&slot == found.slot) {
                               out.slot = position;
                               return false;
                             }
                             ++position;
                             return true;
                           });
  detail::Stamp stamp = h.stamp;
  for (const detail::Record<detail::StdSync>* r = h.record; !stamp.nolink() && r->link_word().older() != 0;) {
    r = core.space.record(r->link_word().older());
    stamp = r->stamp_word();
    ++out.older_versions;
  }
  if (h.has_deadline) {
    const std::uint64_t now = core.time.now();
    out.ttl = std::chrono::milliseconds(h.deadline_ms > now ? h.deadline_ms - now : 1);
  }
  return out;
}

Result<Census> Store::census(FunctionRef<void(std::string_view key, unsigned reads)> fn) const noexcept {
  using Tbl = detail::Table<detail::StdSync>;
  constexpr std::uint32_t kBucketsAGuard = 64;
  const Call call(context());
  if (!call.ok()) return call.error();
  auto& core = call.core();
  Census out;
  const auto count = [](auto& row, std::size_t n) { ++row[std::min(n, row.size() - 1)]; };
  for (unsigned i = 0; i != core.table.shard_count(); ++i) {
    auto& shard = core.table.shard(i);
    for (std::uint32_t b = 0; b < Tbl::size_of(shard).buckets();) {
      const detail::Guard<detail::StdSync> guard(core.space, call.thread());
      for (std::uint32_t n = 0; n != kBucketsAGuard && b < Tbl::size_of(shard).buckets(); ++n, ++b) {
        auto& home = core.table.bucket(shard, b);
        const detail::Ctl control = home.control();
        if (!control.ready()) continue;  // its entries are still where they were
        std::size_t overflow = 0, entries = 0;
        for (const auto* next = core.table.overflow(control); next != nullptr; next = core.table.overflow(next->control())) ++overflow;
        core.table.for_each_slot(home, [&](auto&, detail::SlotWord w) {
          if (!w.is_current()) return true;
          const auto& r = *core.space.record(w.offset());
          const detail::Stamp s = r.stamp_word();
          if (s.tomb()) return true;
          ++entries;
          const unsigned reads = static_cast<unsigned>(r.hold_word().access());
          ++out.by_reads[reads];
          const auto k = core.space.key_of(r, s);
          const std::string_view key(k.data, k.size);
          if (detail::name_of(key) == detail::kDefaultName) fn(detail::own_key(key), reads);
          return true;
        });
        ++out.buckets;
        out.entries += entries;
        count(out.by_entries, entries);
        count(out.by_overflow, overflow);
      }
    }
  }
  return out;
}

void Store::visit_holders(FunctionRef<void(const Holder&)> fn) const noexcept {
  const Call call(context());
  if (!call.ok()) return;
  auto& core = call.core();
  if (call.store().held_count() != 0) {
    fn(Holder{Holder::Kind::kHeldValues, call.store().held_count(), call.store().held_bytes()});
  }
  const std::uint64_t now = core.time.now();
  core.space.views.for_each_view([&](std::uint64_t stamp, std::uint64_t opened_ms, std::uint64_t bytes, bool) {
    fn(Holder{Holder::Kind::kView, stamp, bytes, 0, std::chrono::milliseconds(now > opened_ms ? now - opened_ms : 0)});
  });
  const std::uint64_t epoch = core.space.epoch.current();
  core.space.for_each_thread_state([&](detail::Thread<detail::StdSync>& t) {
    const std::uint64_t announced = t.epoch.announce.load(std::memory_order_relaxed);  // a report
    if (announced == 0 || &t == &call.thread() || announced + 1 >= epoch) return;
    fn(Holder{Holder::Kind::kParkedThread, t.owner.load(std::memory_order_relaxed) - 1,
              t.epoch.limbo_bytes.load(std::memory_order_relaxed), epoch - announced});
  });
  const std::uint64_t orphans = core.space.orphan_bytes(), held = call.store().held_bytes();
  const std::uint64_t in_rings = orphans > held ? orphans - held : 0;
  for_each_slow_watch(call.store(), [&](const auto& watch, std::uint64_t behind, double share) {
    Holder h{Holder::Kind::kSlowWatch, watch.number, static_cast<std::uint64_t>(static_cast<double>(in_rings) * share)};
    h.age = std::chrono::milliseconds(now > watch.since_ms ? now - watch.since_ms : 0);
    h.behind = behind;
    fn(h);
  });
}

namespace detail {

void StoreCore::heed_pressure(Thr& t) noexcept {
  if (!pressure.is_open() || !pressure.is_due(core.time.now())) return;
  MemoryReading now;
  if (gauge_ != nullptr) {
    now = gauge_->read();
  } else {
    alloc::platform::GroupMemory group;
    if (!alloc::platform::read_group_memory(group)) return;
    now = {group.used_bytes, group.limit_bytes, group.stalled_permille};
  }
  // From where the budget is going: while it sinks, it is asked for no more than that.
  auto& heap = core.space.heap;
  const std::size_t budget = heap.budget_bytes() - heap.shrinking_bytes();
  const std::size_t wanted = pressure.judge(now.used_bytes, now.limit_bytes, now.stalled_permille, budget);
  if (wanted == budget) return;
  if (!core.resize(t, wanted)) return log("memory is short, and the store's records need what it has");
  log(wanted < budget ? "memory is short: the budget was lowered" : "memory is plentiful: the budget was raised");
}

StoreCore::Ticked StoreCore::tick(Thr& t, std::uint64_t end_ns, bool waits) noexcept {
  heed_pressure(t);
  // A thread that writes now and then is busy too: it is to have closed a bag since this was looked at last.
  const std::uint64_t now = alloc::platform::monotonic_ns();
  // Each tick begins where the last one ended, so that a small budget comes round to every chore of every shard.
  Chores<Sync> chores(core, t, next_chore_.load(std::memory_order_relaxed));  // wherever
  if (now >= next_busy_look_ns_.load(std::memory_order_relaxed)) {  // a hint
    next_busy_look_ns_.store(now + kBusyLookNs, std::memory_order_relaxed);  // as above
    core.space.epoch.see_who_is_busy(core.space);
  }
  Ticked done;
  unsigned idle = 0;
  bool brought = false;  // of a snapshot that is being loaded, a block a step
  // What doesn't fit isn't begun: the next step may take as long as the longest of late.
  std::uint64_t at = now, longest_ns = step_ns_.load(std::memory_order_relaxed);  // an estimate
  do {
    const std::uint64_t touch_ns = touch_ns_.load(std::memory_order_relaxed);  // as above
    const bool fits = at + (waits ? std::min(touch_ns, kHugeTouchNs) : touch_ns) <= end_ns;
    bool worked = chores.step(fits ? kHugeTouchBytes : kTouchedAtOnce);
    if (Incoming* const rest = incoming()) [[unlikely]] {
      brought = rest->bring_some(t);
      worked = worked || brought;
    } else {
      brought = false;
    }
    done.worked = done.worked || worked;
    if (!worked && ++idle % kIdleStepsALook != 0) continue;  // looking at the time costs as much
    const std::uint64_t then = alloc::platform::monotonic_ns();
    if (chores.touched()) {
      // Where the host of a virtual machine has to find the memory first, a huge page takes it milliseconds.
      touch_ns_.store(std::max(then - at, touch_ns - touch_ns / 4), std::memory_order_relaxed);  // as above
    } else {
      longest_ns = std::max(longest_ns, std::min(then - at, kStepNsMax));
    }
    at = then;
    done.out_of_time = at + longest_ns >= end_ns;
  } while (!done.out_of_time && (!chores.is_over() || brought));
  next_chore_.store(chores.place(), std::memory_order_relaxed);  // as above
  step_ns_.store(longest_ns - longest_ns / 16, std::memory_order_relaxed);  // as above
  const std::uint64_t touch_ns = touch_ns_.load(std::memory_order_relaxed);  // as above
  if (touch_ns > kHugeTouchNs) touch_ns_.store(touch_ns - (touch_ns >> kTouchShift), std::memory_order_relaxed);  // as above
  return done;
}

Owed StoreCore::owed() const noexcept {
  Owed owed;
  owed.limbo_bytes = core.space.epoch.limbo_bytes();
  const std::uint64_t unplaced = core.room_owed.bytes.load(std::memory_order_relaxed);  // a hint
  owed.unplaced_bytes = unplaced == kRoomForBucket ? alloc::kBucketBytes : unplaced;
  owed.shrink_bytes = core.space.heap.shrinking_bytes();
  owed.invalidations = core.space.points.in_table();
  owed.lease_ends = Leases<Sync>::owed(core.space);
  if (core.evicts) owed.room_bytes = core.eviction.owed_bytes();
  if (const Incoming* const rest = incoming()) owed.snapshot_blocks = rest->pieces_left();
  for (unsigned i = 0; i != core.table.shard_count(); ++i) {
    auto& s = core.table.shard(i);
    const std::uint64_t live = s.live.load(std::memory_order_relaxed);  // a count
    const ShardSize size = Table<Sync>::size_of(s);
    if (Growth<Sync>::is_due(live, size)) owed.buckets_to_split += live * 8 / 35 - size.buckets();
    if (Kept<Sync>::is_due(core.space, s)) ++owed.shards_with_kept_keys;
    if (core.expiry_is_due(i)) ++owed.shards_with_expired;
  }
  return owed;
}

}  // namespace detail

Result<Owed> Store::tick(std::chrono::microseconds budget) const noexcept {
  const Call call(context(), Call::Keys::kNone);
  if (!call.ok()) return call.error();
  const std::uint64_t ns = budget.count() > 0 ? static_cast<std::uint64_t>(budget.count()) * 1000 : 0;
  call.store().tick(call.thread(), alloc::platform::monotonic_ns() + ns, false);
  call.store().bus.ticks.call();
  return call.store().owed();
}

Result<std::uint64_t> Store::cleanup_expired() const noexcept {
  const Call call(context());
  if (!call.ok()) return call.error();
  return call.core().expire_all(call.thread());
}

Result<void> Store::resize(std::size_t memory_bytes) const noexcept {
  const Call call(context());
  if (!call.ok()) return call.error();
  auto& core = call.core();
  if (!core.resize(call.thread(), memory_bytes)) return {Status::kOutOfRange, Field::kMemoryBytes};
  call.store().pressure.set_full(memory_bytes);
  return {};
}

Result<void> Store::verify(LogHook report, void* user) const noexcept {
  const Call call(context());
  if (!call.ok()) return call.error();
  const auto line = [&](const char* what) {
    if (report != nullptr) report(user, what);
  };
  const detail::Keeper::Pause pause(call.store().keeper);
  detail::Audit<detail::StdSync> audit(call.core(), line);
  const bool all_in_sight = call.store().held_count() == 0 &&
                            call.core().space.events.pinned.load(std::memory_order_relaxed) == 0 &&  // a figure
                            call.store().drafts.load(std::memory_order_relaxed) == 0 &&  // statistics
                            call.core().space.epoch.lost_bytes() == 0;
  if (all_in_sight && !audit.accounts_agree()) {
    ++audit.findings;
    line("heap: bytes handed out are neither in the table nor in limbo nor in a magazine");
  }
  if (audit.findings != 0) return Status::kCorrupt;
  return {};
}

}  // namespace tern
