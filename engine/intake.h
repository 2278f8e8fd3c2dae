// Intake: records of an earlier life of the store take their places before anybody else is here.
//
// A record enters with the version, the deadline, the access count and the flags that it had, and with stamp 0: older than
// every view. Its slot is stored, not swapped, since one thread alone works on a shard until the store is handed out;
// threads on different shards share what is made for sharing: heap, bound, eviction's queues.
//
// The table is sized for the entries at open. Chains that get longer than that are split as an insert would.
//
// place_beside_others does the same where the store serves already: then the record enters as any insert's does. Whoever
// calls it sees to it that no call on the key itself runs at the same time, so what is found of it was brought before.
#ifndef TERN_ENGINE_INTAKE_H_
#define TERN_ENGINE_INTAKE_H_

#include <cstdint>
#include <string_view>
#include <utility>

#include "engine/core.h"

namespace tern::detail {

// What a record was, in the words of no arena.
struct TakenIn {
  std::string_view key;
  std::string_view value;
  std::uint64_t version = 0;
  bool has_deadline = false;
  std::uint64_t deadline_ms = 0;  // by the store's clock
  Span span;
  unsigned access = 0;
  unsigned type = 0;
  bool keep = false;
  std::string_view tags{};  // a block (tags.h)
};

template <class Sync>
class Intake {
 public:
  using Tbl = Table<Sync>;
  using Thr = Thread<Sync>;
  using Rec = Record<Sync>;

  enum class Outcome : std::uint8_t { kPlaced, kTwice, kNoMemory, kFull };

  explicit Intake(Core<Sync>& core) noexcept : core_(core), table_(core.table), space_(core.space) {}

  // `hash` is the key's. kTwice: the key is there. After kNoMemory or kFull there may be room for a smaller one.
  Outcome place(Thr& t, std::uint64_t hash, const TakenIn& in) noexcept {
    Shard<Sync>& s = table_.shard_of(hash);
    Bucket<Sync>& home = table_.bucket(s, Tbl::size_of(s).home(hash));
    const std::uint16_t tag = tag_of(hash);
    typename Tbl::Word* slot = nullptr;
    Bucket<Sync>* last = &home;
    bool in_overflow = false;
    for (Bucket<Sync>* b = &home; b != nullptr; b = table_.overflow(b->control())) {
      if (table_.find_in_bucket(*b, tag, in.key)) return Outcome::kTwice;
      last = b;
      for (unsigned i = 0; slot == nullptr && i != kSlots; ++i) {
        if (!b->at(i).is_empty()) continue;
        slot = &b->slot[i];
        in_overflow = b != &home;
      }
    }
    // A chain's length is for the hash to bound; a file made by hand may hold keys that all meet in one.
    const std::uint64_t weight = core_.bound.weigher == nullptr ? 1 : weight_of(in);
    if (!core_.bound.take(weight)) return Outcome::kFull;
    const Guard<Sync> guard(space_, t);
    if (slot == nullptr) {
      const std::uint64_t more = table_.new_overflow(t, Tbl::For::kInsert);
      if (more == 0) return no_memory(weight);
      last->ctl.store(last->control().with_overflow(more).word(), std::memory_order_seq_cst);  // [chain] seq_cst
      slot = &space_.heap.template at<Bucket<Sync>>(more)->slot[0];
      in_overflow = true;
    }
    LifetimeChange lifetime;
    const std::uint64_t own = build(t, in, lifetime);
    if (own == 0) return no_memory(weight);
    if (table_.ordered() != nullptr && Leaves<Sync>::expect(table_, t, hash, in.key) == nullptr) {
      Leaves<Sync>::withdraw(table_, t, hash, in.key);
      space_.discard(t, own);
      return no_memory(weight);
    }
    Rec& r = *space_.record(own);
    r.w0.store(r.stamp_word().stamped_at(0).word(), std::memory_order_relaxed);  // [publish] with the slot
    if (in_overflow) home.ctl.fetch_or(Ctl(0).with_tag(tag).word(), std::memory_order_seq_cst);  // [chain] seq_cst
    const auto gen = static_cast<unsigned>(Insertion<Sync>::next_random(t));
    slot->store(SlotWord::tentative(tag, gen, own).validated().word(), std::memory_order_seq_cst);  // [publish]
    entered(t, s, hash, gen, own, in, lifetime);
    return Outcome::kPlaced;
  }

  // Among others' calls on other keys. kTwice: there is something of the key. May evict; the caller hands out the removals.
  Outcome place_beside_others(Thr& t, std::uint64_t hash, const TakenIn& in) noexcept {
    using Ins = Insertion<Sync>;
    Shard<Sync>& s = table_.shard_of(hash);
    const Guard<Sync> guard(space_, t);
    const std::uint64_t weight = core_.bound.weigher == nullptr ? 1 : weight_of(in);
    if (!core_.bound.take(weight)) return Outcome::kFull;
    std::uint64_t own = 0;
    LifetimeChange lifetime;
    const auto give_up = [&](Outcome why) noexcept {
      if (own != 0) space_.discard(t, own);
      core_.bound.give_back(weight);
      return why;
    };
    for (;;) {
      const Place<Sync> place = Ins::locate(table_, t, s, hash, in.key);
      if (place.out_of_memory) return give_up(Outcome::kNoMemory);
      if (place.found) return give_up(Outcome::kTwice);
      if (own == 0) own = build(t, in, lifetime);
      if (own == 0) return give_up(Outcome::kNoMemory);
      const auto gen = static_cast<unsigned>(Ins::next_random(t));
      switch (Ins::insert(table_, t, s, place, hash, in.key, own, gen)) {
        case Ins::Outcome::kRetry: continue;
        case Ins::Outcome::kNoLeaf: return give_up(Outcome::kNoMemory);
        case Ins::Outcome::kNoBucket:
          if (core_.evicts && core_.eviction.evict_from(t, *place.home)) continue;
          return give_up(Outcome::kNoMemory);
        case Ins::Outcome::kKilled:  // growth has overtaken it; others may have seen it
          space_.retire(t, std::exchange(own, 0));
          continue;
        case Ins::Outcome::kLive: break;
      }
      Versions<Sync>::stamp_own(space_, t, own, 0);
      entered(t, s, hash, gen, own, in, lifetime);
      return Outcome::kPlaced;
    }
  }

  // Where something is evicted: whether as much is left as eviction always keeps ready. Past it, taking more in would
  // have to be undone at once.
  bool has_room() const noexcept {
    return !core_.evicts || core_.eviction.room_bytes() > space_.heap.budget_bytes() / 64;
  }

 private:
  // A record that nobody else sees, but for its stamp. 0: no memory.
  std::uint64_t build(Thr& t, const TakenIn& in, LifetimeChange& lifetime) noexcept {
    const auto built = space_.build(t, {in.key, in.value.size(), in.has_deadline, in.deadline_ms, false, in.keep, in.span, in.tags});
    if (built.offset == 0) return 0;
    Sync::plain_write(built.value, in.value.size());
    simd::copy_bytes(built.value, in.value.data(), in.value.size());
    Rec& r = *space_.record(built.offset);
    Hold meta = Hold(r.meta.load(std::memory_order_relaxed)).with_version(in.version);  // nobody else sees it
    if (core_.evicts) meta = meta.with_access(in.access);
    r.meta.store(meta.word(), std::memory_order_relaxed);                            // [publish] with the slot
    r.link.store(r.link_word().of_type(in.type).word(), std::memory_order_relaxed);  // [publish] as above
    // That it comes is no change: who watches isn't told.
    r.w0.store(r.stamp_word().word() | Stamp::kTold, std::memory_order_relaxed);  // [publish] as above
    if (in.has_deadline) {
      lifetime.has = true;
      lifetime.number = Tickets<Sync>::new_number(t);
      lifetime.due = Tickets<Sync>::due_of(Deadline::at(in.deadline_ms), in.span);
      r.x().store(Deadline::at(in.deadline_ms, lifetime.number).word(), std::memory_order_relaxed);  // [publish] as above
    }
    return built.offset;
  }
  // It is in its slot. Inside the guard.
  void entered(Thr& t, Shard<Sync>& s, std::uint64_t hash, unsigned gen, std::uint64_t own, const TakenIn& in, const LifetimeChange& lifetime) noexcept {
    const std::uint64_t live = s.live.fetch_add(1, std::memory_order_relaxed) + 1;  // a count
    if (in.keep) space_.count_kept(t, *space_.record(own), true);
    if (is_named(in.key)) [[unlikely]] meet_name(in.key, own);
    const std::uint64_t lease = LeaseKey::is_one(in.key) ? LeaseKey::id_of(in.key) : lease_in(in.tags);
    if (lease != 0) space_.leases.note(lease, space_.version_base);
    if (lifetime.has) Tickets<Sync>::carry_out(table_, t, s, hash, lifetime);
    if (Growth<Sync>::is_due(live, Tbl::size_of(s))) Growth<Sync>::grow_one(table_, t, s);
    if (core_.evicts) core_.eviction.entered(t, hash, in.key, gen, in.keep);
  }
  // Of a namespace that nobody has opened yet.
  [[gnu::noinline]] void meet_name(std::string_view key, std::uint64_t own) noexcept {
    const unsigned name = name_of(key);
    if (name == kDefaultName || name > kNamesMax || space_.names.find_or_add(name) == nullptr) return;
    space_.names.count(key, 1, space_.bytes_of(own));
  }
  std::uint64_t weight_of(const TakenIn& in) const noexcept {
    if (is_named(in.key) && name_of(in.key) > kNamesMax) return 1;  // no user's
    return std::max<std::uint64_t>(1, core_.bound.weigher(core_.bound.weigher_user, own_key(in.key), in.value));
  }
  Outcome no_memory(std::uint64_t weight) noexcept {
    core_.bound.give_back(weight);
    return Outcome::kNoMemory;
  }

  Core<Sync>& core_;
  Tbl& table_;
  Space<Sync>& space_;
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_INTAKE_H_
