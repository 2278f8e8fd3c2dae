// Expiry: what becomes of a ticket when its time comes, in bounded slices.
//
//   step      tickets that are due, up to a number: void ones go, those whose deadline was moved on
//   are filed again, the
//             rest remove their key
//   sweep     a few buckets of a shard some of whose deadlines have no ticket (tickets.h): removes
//   what is past, gives
//             tickets to what isn't
// A removal is a Change like every other (commit.h): from exactly the record that was judged, with
// a tomb and a stamp, so that views and watchers see it as one. Where there are neither, the slot is emptied at once: the key
// can't be read since its deadline, and a view or a listener that comes judges by a time that is past it too, because it
// says that it is there before it looks at the time.
//
// Any thread may do it, many at once, beside every other operation. Lock-free; a step is bounded by
// its number of tickets, and each by one removal. A thread that is stopped for ever inside one has not counted up to as many
// removals.
#ifndef TERN_ENGINE_EXPIRY_H_
#define TERN_ENGINE_EXPIRY_H_

#include <algorithm>
#include <bit>
#include <cstdint>
#include <string_view>

#include "engine/changes.h"
#include "engine/commit.h"
#include "engine/prefetch.h"
#include "engine/tickets.h"

namespace tern::detail {

// Removes `record` if it is still the key's and past its deadline (and past what readers may want
// of it after that).
template <class Sync>
class ExpireChange : public ChangeBase<Sync> {
 public:
  static constexpr bool kHelps = false;
  ExpireChange(Space<Sync>& space, Thread<Sync>& t, std::string_view key,
               const Record<Sync>& record, std::uint64_t now) noexcept
      : ChangeBase<Sync>(space, t, key), judged_(&record), now_(now) {}
  Decision judge(const Head<Sync>& head) noexcept {
    this->note(head);
    if (planted<Sync>(Mutant::kExpireUnjudged)) return Decision::kRemove;
    const bool past = head.record == judged_ && head.has_deadline &&
                      Tickets<Sync>::due_of(head.x, head.span) <= now_;
    return past ? Decision::kRemove : Decision::kKeep;
  }
  std::uint64_t record(Thread<Sync>&, const Head<Sync>&) noexcept { return 0; }

 private:
  const Record<Sync>* judged_;
  std::uint64_t now_;
};

template <class Sync>
class Expiry {
 public:
  using Tbl = Table<Sync>;
  using Shd = Shard<Sync>;
  using Thr = Thread<Sync>;
  using Rec = Record<Sync>;
  using Tks = Tickets<Sync>;

  Expiry(Tbl& table, Commit<Sync> commit, Thr& t, Shd& s, std::uint64_t now) noexcept
      : table_(table), space_(table.space()), commit_(commit), thread_(t), shard_(s), now_(now) {}

  // Up to about `steps` tickets. Answers how many steps were taken: fewer if nothing more is due.
  // Inside a guard.
  unsigned step(unsigned steps) noexcept {
    const unsigned done = shard_.wheel.advance(space_, thread_, now_, steps, *this);
    if (emptied_ != 0) {
      shard_.live.fetch_sub(emptied_, std::memory_order_relaxed);      // a count
      shard_.expiring.fetch_sub(emptied_, std::memory_order_relaxed);  // as above
      commit_.forget_entries(emptied_);
      thread_.counters.expired.add(emptied_);
      expired += emptied_;
      emptied_ = 0;
    }
    return done;
  }

  // Goes over some buckets if deadlines are without ticket. Answers how many steps that was. 0: there was nothing to do, or a
  // round is over and has left some without, for there still is no memory.
  unsigned sweep() noexcept {
    const std::uint64_t owed = shard_.unfiled.load(std::memory_order_relaxed);  // a count
    if (owed == 0) return 0;
    thread_.work += kSweptAtOnce;
    const std::uint64_t from = shard_.sweep_at.fetch_add(kSweptAtOnce, std::memory_order_relaxed);  // shared out
    if (from == 0) shard_.sweep_owed.store(owed, std::memory_order_relaxed);                   // a count
    const std::uint64_t all = Tbl::size_of(shard_).buckets();
    if (from >= all) {
      // What was counted since the round began asks for another.
      shard_.sweep_at.store(0, std::memory_order_relaxed);                       // as above
      std::uint64_t began = shard_.sweep_owed.load(std::memory_order_relaxed);  // a count
      return shard_.unfiled.compare_exchange_strong(began, 0, std::memory_order_relaxed) ? kSweptAtOnce : 0;  // as above
    }
    const auto to = static_cast<std::uint32_t>(std::min(from + kSweptAtOnce, all));
    for (auto b = static_cast<std::uint32_t>(from); b != to; ++b) fetch_records_of(b);
    for (auto b = static_cast<std::uint32_t>(from); b != to; ++b) sweep_bucket(b);
    return kSweptAtOnce;
  }

  static constexpr std::uint32_t kSweptAtOnce = 8;  // buckets: what lies in them is as much as a slice of tickets

  std::uint64_t expired = 0;  // keys removed

  // --- for the wheel
  // -------------------------------------------------------------------------------------------

  // When the ticket's key is due, if it isn't yet; 0: the ticket has ended, and its key with it if
  // it was due.
  std::uint64_t operator()(std::uint64_t word) noexcept {
    const Ticket ticket(word);
    for (bool at_home = true;; at_home = false) {
      auto found = at_home ? Tks::find_at_home(table_, shard_, ticket) : typename Tks::Found{};
      if (!found) found = Tks::find(table_, shard_, ticket);
      if (!found) return 0;
      const Deadline x(found.record->x().load(std::memory_order_seq_cst));  // [deadline] seq_cst
      if (x.ticket() != ticket.number()) return 0;
      const std::uint64_t due = Tks::due_of(x, Tks::span_of(*found.record, found.stamp));
      if (due > now_) return due;
      Sync::point("expiry.due");
      const Removed removed = remove(ticket, found);
      if (removed == Removed::kYes) return 0;
      if (removed == Removed::kNoMemory) return now_ + 1;
      // A batch is under way on the key: whoever finishes it, the next look will see.
      if (found.in_batch) return now_ + 1;
    }
  }

  void lost(std::uint64_t word) noexcept { Tks::lost(table_, shard_, Ticket(word)); }

  // Bucket, then record, on their way while other tickets are looked at.
  [[gnu::always_inline]] void soon(std::uint64_t word) const noexcept {
    if constexpr (Sync::kWordwise) return;  // there are no cache lines to fetch where a scheduler counts the loads
    prefetch_near(&bucket_of(Ticket(word)));
  }
  [[gnu::always_inline]] void sooner(std::uint64_t word) const noexcept {
    if constexpr (Sync::kWordwise) return;  // as above
    const Ticket ticket(word);
    const auto& b = bucket_of(ticket);
    if (const unsigned m = b.matches(tag_of(ticket.hash())); m != 0) {
      const SlotWord w = b.at(static_cast<unsigned>(std::countr_zero(m)));
      if (!w.is_current()) return;
      const Rec* r = space_.record(w.offset());
      prefetch_near(r);
      prefetch_near(r->bytes() + RecordLayout::kXAt);
    }
  }

 private:
  enum class Removed : std::uint8_t { kYes, kNo, kNoMemory };

  const Bucket<Sync>& bucket_of(Ticket ticket) const noexcept {
    return table_.bucket(shard_, Tbl::size_of(shard_).home(ticket.hash()));
  }

  // The record was the key's a moment ago, and past its deadline. Where it was found, it isn't looked up once more, and the
  // ticket has all bits of the hash that matter.
  Removed remove(Ticket ticket, const typename Tks::Found& found) noexcept {
    const bool is_head = space_.offset_of(*found.record) == found.word.offset();  // else a batch has just ended over it
    const bool there = found.home != nullptr && found.word.is_live() && !found.in_batch && is_head;
    if (there && empty_at_once(found)) return Removed::kYes;
    const Place<Sync> place{{const_cast<typename Tbl::Word*>(found.slot), found.record, found.word, found.stamp}, found.home, found.home_index, false};
    return remove(*found.record, found.stamp, ticket.hash() | table_.hash_in(shard_), there ? &place : nullptr);
  }
  // Without a tomb. False: nothing was done that a removal by commit doesn't do too. The time was read before.
  bool empty_at_once(const typename Tks::Found& found) noexcept {
    Rec& r = *found.record;
    if (!found.stamp.stamped() || !Versions<Sync>::alone(r, found.stamp) || space_.has_points()) return false;
    if (!space_.views.is_alone() && !planted<Sync>(Mutant::kExpireBesideView)) return false;
    if (space_.removal_hook.call != nullptr || !commit_.counts_entries()) return false;
    const Hold hold = r.hold_word();
    if (hold.keep()) return false;
    const auto k = space_.key_of(r, found.stamp);
    if (is_named({k.data, k.size})) return false;  // commit counts what its namespace has
    std::uint64_t x = r.x().load(std::memory_order_seq_cst);  // [deadline] seq_cst
    if (Tks::due_of(Deadline(x), Tks::span_of(r, found.stamp)) > now_) return false;
    Sync::point("expiry.at_once");
    if (!Deadline(x).frozen() && !r.x().compare_exchange_strong(x, x | Deadline::kFrozen, std::memory_order_seq_cst)) {  // [deadline]
      return false;
    }
    Sync::point("expiry.frozen");
    auto* slot = const_cast<typename Tbl::Word*>(found.slot);
    if (!Kept<Sync>(table_, &commit_).empty_slot(thread_, shard_, {slot, &r, found.word, found.stamp}, hold.version())) return false;
    ++emptied_;
    return true;
  }
  Removed remove(const Rec& r, Stamp s) noexcept {
    const auto k = space_.key_of(r, s);
    return remove(r, s, table_.hash_of({k.data, k.size}), nullptr);
  }
  Removed remove(const Rec& r, Stamp s, std::uint64_t hash, const Place<Sync>* place) noexcept {
    const auto k = space_.key_of(r, s);
    const std::string_view key(k.data, k.size);
    ExpireChange<Sync> change(space_, thread_, key, r, now_);
    const Committed done = commit_.commit(thread_, hash, key, change, place);
    if (done.outcome == Committed::Outcome::kOutOfMemory) return Removed::kNoMemory;
    if (done.outcome != Committed::Outcome::kRemoved) return Removed::kNo;
    ++expired;
    thread_.counters.expired.add();
    return Removed::kYes;
  }

  // On their way while others are looked at: of the bucket itself, not of its chain.
  void fetch_records_of(std::uint32_t index) const noexcept {
    if constexpr (Sync::kWordwise) return;  // as above
    const auto& b = table_.bucket(shard_, index);
    for (unsigned i = 0; i != kSlots; ++i) {
      const SlotWord w = b.at(i);
      if (!w.is_live()) continue;
      const Rec* r = space_.record(w.offset());
      prefetch_near(r);
      prefetch_near(r->bytes() + RecordLayout::kXAt);
    }
  }
  void sweep_bucket(std::uint32_t index) noexcept {
    table_.for_each_slot(table_.bucket(shard_, index), [&](auto&, SlotWord w) {
      if (!w.is_live()) return true;
      Rec& r = *space_.record(w.offset());
      const Stamp s = r.stamp_word();
      if (!s.has_x() || s.tomb() || s.intent()) return true;
      std::uint64_t x = r.x().load(std::memory_order_seq_cst);  // [deadline] seq_cst
      if (Deadline(x).never()) return true;
      const std::uint64_t due = Tks::due_of(Deadline(x), Tks::span_of(r, s));
      if (due <= now_) {
        remove(r, s);
      } else if (Deadline(x).ticket() == 0 && !Deadline(x).frozen() && room_) {
        const auto k = space_.key_of(r, s);
        const std::uint64_t number = Tks::new_number(thread_);
        if (!r.x().compare_exchange_strong(x, Deadline(x).with_ticket(number).word(),
                                           std::memory_order_seq_cst)) {  // [deadline] seq_cst
          return true;  // touched meanwhile: it has one now, or says again that it hasn't
        }
        const Ticket ticket = Ticket::of(table_.hash_of({k.data, k.size}), number);
        room_ = shard_.wheel.file(space_, thread_, ticket.word(), due);
        if (!room_) Tks::lost(table_, shard_, ticket);  // counted, hence another round
      }
      return true;
    });
  }

  Tbl& table_;
  Space<Sync>& space_;
  Commit<Sync> commit_;
  Thr& thread_;
  Shd& shard_;
  std::uint64_t now_;
  std::uint64_t emptied_ = 0;  // slots, not yet counted
  bool room_ = true;  // for tickets, as far as this step has found
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_EXPIRY_H_
