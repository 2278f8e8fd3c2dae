// Intake: records of an earlier life of the store take their places before anybody else is here.
//
// A record enters with the version, the deadline, the access count and the flags that it had, and with stamp 0: older than
// every view. Its slot is stored, not swapped, since one thread alone works on a shard until the store is handed out;
// threads on different shards share what is made for sharing: heap, bound, eviction's queues.
//
// The table is sized for the entries at open. Chains that get longer than that are split as an insert would.
#ifndef TERN_ENGINE_INTAKE_H_
#define TERN_ENGINE_INTAKE_H_

#include <cstdint>
#include <string_view>

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
    const auto built = space_.build(t, {in.key, in.value.size(), in.has_deadline, in.deadline_ms, false, in.keep, in.span});
    if (built.offset == 0) return no_memory(weight);
    Sync::plain_write(built.value, in.value.size());
    simd::copy_bytes(built.value, in.value.data(), in.value.size());
    if (table_.ordered() != nullptr && Leaves<Sync>::expect(table_, t, hash, in.key) == nullptr) {
      Leaves<Sync>::withdraw(table_, t, hash, in.key);
      space_.discard(t, built.offset);
      return no_memory(weight);
    }
    Rec& r = *space_.record(built.offset);
    Hold meta = Hold(r.meta.load(std::memory_order_relaxed)).with_version(in.version);  // nobody else sees it
    if (core_.evicts) meta = meta.with_access(in.access);
    r.meta.store(meta.word(), std::memory_order_relaxed);                               // [publish] with the slot
    r.link.store(r.link_word().of_type(in.type).word(), std::memory_order_relaxed);     // [publish] as above
    r.w0.store(r.stamp_word().stamped_at(0).word(), std::memory_order_relaxed);         // [publish] as above
    LifetimeChange lifetime;
    if (in.has_deadline) {
      lifetime.has = true;
      lifetime.number = Tickets<Sync>::new_number(t);
      lifetime.due = Tickets<Sync>::due_of(Deadline::at(in.deadline_ms), in.span);
      r.x().store(Deadline::at(in.deadline_ms, lifetime.number).word(), std::memory_order_relaxed);  // [publish] as above
    }
    if (in_overflow) home.ctl.fetch_or(Ctl(0).with_tag(tag).word(), std::memory_order_seq_cst);  // [chain] seq_cst
    const auto gen = static_cast<unsigned>(Insertion<Sync>::next_random(t));
    slot->store(SlotWord::tentative(tag, gen, built.offset).validated().word(), std::memory_order_seq_cst);  // [publish]
    const std::uint64_t live = s.live.fetch_add(1, std::memory_order_relaxed) + 1;  // a count
    if (in.keep) t.counters.kept.add();
    if (lifetime.has) Tickets<Sync>::carry_out(table_, t, s, hash, lifetime);
    if (Growth<Sync>::is_due(live, Tbl::size_of(s))) Growth<Sync>::grow_one(table_, t, s);
    if (core_.evicts) core_.eviction.entered(t, hash, gen, in.keep);
    return Outcome::kPlaced;
  }

  // Where something is evicted: whether as much is left as eviction always keeps ready. Past it, taking more in would
  // have to be undone at once.
  bool has_room() const noexcept {
    return !core_.evicts || core_.eviction.room_bytes() > space_.heap.budget_bytes() / 64;
  }

 private:
  std::uint64_t weight_of(const TakenIn& in) const noexcept {
    return std::max<std::uint64_t>(1, core_.bound.weigher(core_.bound.weigher_user, in.key, in.value));
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
