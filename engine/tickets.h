// Tickets: what the wheel holds for a key with a deadline, and what keeps the two in step.
//
//   ticket   63..49 tag (less one) | 48..17 bucket bits of the hash | 16..0 number      names a key
//   of its shard X of the record: the deadline and the number of the ticket that stands for it
//
// A new deadline, or an earlier one, gets a new number, and its ticket is filed after the record is
// in its slot. A later one inherits the number and files nothing: the ticket is met early, and
// filed again. So at most one ticket of a key is valid; those whose number isn't the record's any
// more are void, and go when they are met. A number passes from record to record only by the swap
// of a slot, so a ticket that was found void can't become valid again.
//
// Void tickets come from removed keys and shortened deadlines. Once there are half as many again as
// deadlines (and 1,024), maintenance looks at some (Wheel::rotate); twice as many, and each that is
// filed has two others looked at: the wheel's memory is bounded by its keys.
//
// No memory for a ticket: the number in X becomes 0, which says that there is none, and the shard
// counts it. The next change of the deadline gives a new one; until then maintenance goes over the
// buckets (Expiry::sweep). Reads look at the deadline itself.
//
// Edges
//   deadline   taking the number out of X, or giving a new one / freezing X, as for any change of
//   it
#ifndef TERN_ENGINE_TICKETS_H_
#define TERN_ENGINE_TICKETS_H_

#include <bit>
#include <cstdint>

#include "engine/insertion.h"
#include "engine/record.h"
#include "engine/table.h"
#include "engine/wheel.h"

namespace tern::detail {

// A key of a shard, as its hash has it, and the number in its record's X.
class Ticket {
 public:
  static constexpr unsigned kNumberBits = Deadline::kTicketBits;
  static constexpr std::uint64_t kNumbers =
      Deadline::kTicketMask - 1;  // 1 to this: 0 is none, all ones not used
  static_assert(15 + 32 + kNumberBits == 64, "tag, bucket, number");

  constexpr explicit Ticket(std::uint64_t word) noexcept : word_(word) {}
  static constexpr Ticket of(std::uint64_t hash, std::uint64_t number) noexcept {
    return Ticket((hash >> 33 & 0x7FFF) << 49 | (hash & 0xFFFFFFFF) << kNumberBits | number);
  }
  constexpr std::uint64_t word() const noexcept { return word_; }
  constexpr std::uint64_t number() const noexcept { return word_ & Deadline::kTicketMask; }
  // The bits of the hash that choose bucket and tag.
  constexpr std::uint64_t hash() const noexcept {
    return word_ >> 49 << 33 | (word_ >> kNumberBits & 0xFFFFFFFF);
  }

 private:
  std::uint64_t word_;
};
static_assert(Ticket::of(0xABCD'EF01'2345'6789, 5).hash() ==
                      (0xABCD'EF01'2345'6789 & 0xFFFE'FFFF'FFFF) &&
                  tag_of(Ticket::of(0xABCD'EF01'2345'6789, 5).hash()) ==
                      tag_of(0xABCD'EF01'2345'6789),
              "a ticket finds bucket and tag");

// What a write does to its key's lifetime; found out before the swap, carried out after it.
struct LifetimeChange {
  bool had = false;          // the record that is replaced has a deadline
  bool has = false;          // the new one
  std::uint64_t number = 0;  // of the ticket to file; 0: none
  std::uint64_t due = 0;
};

template <class Sync>
class Tickets {
 public:
  using Tbl = Table<Sync>;
  using Shd = Shard<Sync>;
  using Thr = Thread<Sync>;
  using Rec = Record<Sync>;
  struct Found {
    const typename Tbl::Word* slot = nullptr;
    Rec* record = nullptr;
    SlotWord word{0};  // of the key's head, `record` or what lies over it
    Stamp stamp{0};
    bool in_batch = false;  // the head is an intent
    Bucket<Sync>* home = nullptr;  // where the key is looked for; null: its split isn't complete
    std::uint32_t home_index = 0;
    explicit operator bool() const noexcept { return record != nullptr; }
  };

  static Span span_of(const Rec& r, Stamp s) noexcept {
    return s.has_ext() ? r.ext(s).span() : Span();
  }

  // When the wheel has to look at a record: its deadline, and as long as readers may want it after
  // that.
  static std::uint64_t due_of(Deadline x, Span span) noexcept { return x.ms() + span.stale_ms(); }

  static std::uint64_t new_number(Thr& t) noexcept {
    return 1 + Insertion<Sync>::next_random(t) % Ticket::kNumbers;
  }

  // `r` has the word X, is the caller's own and about to replace a record whose X is `old` (0: has
  // none), or nothing.
  template <class Now>
  [[gnu::noinline]] static void prepare(Thr& t, Now&& now, Rec& r, Deadline old, Span old_span,
                                        LifetimeChange& change) noexcept {
    const Span span = span_of(r, r.stamp_word());
    Deadline x(r.x().load(std::memory_order_relaxed));  // nobody else sees it
    // A write is an access.
    if (span.idle_ms() != 0) x = Deadline::at(now() + span.idle_ms());
    change.has = !x.never();
    change.due = due_of(x, span);
    change.number = 0;
    std::uint64_t number = 0;
    if (change.has) {
      const bool inherits = old.ticket() != 0 && (due_of(old, old_span) <= change.due ||
                                                  planted<Sync>(Mutant::kTicketAlwaysInherited));
      number = inherits ? old.ticket() : change.number = new_number(t);
    }
    r.x().store(Deadline::at(x.ms(), number).word(),
                std::memory_order_relaxed);  // [publish] comes with the slot's swap
  }

  // After the swap. Inside the guard.
  [[gnu::noinline]] static void carry_out(Tbl& table, Thr& t, Shd& s, std::uint64_t hash,
                                          const LifetimeChange& change) noexcept {
    if (change.has != change.had) {
      s.expiring.fetch_add(change.has ? 1 : ~std::uint64_t{0},
                           std::memory_order_relaxed);  // a count
    }
    if (change.number == 0) return;
    table.space().upkeep.ask();
    Sync::point("ticket.file");
    const Ticket ticket = Ticket::of(hash, change.number);
    if (!s.wheel.file(table.space(), t, ticket.word(), change.due)) return lost(table, s, ticket);
    // Bounded: the wheel's memory by its keys, and this by two tickets.
    if (has_void(s, 2 * kVoidParts)) [[unlikely]] look_for_void(table, t, s, 2);
  }

  // Maintenance's share: up to `count` tickets, before writes have to. Answers how many were looked at. Inside a guard.
  static unsigned drop_void(Tbl& table, Thr& t, Shd& s, unsigned count) noexcept {
    if (!has_void(s, kVoidParts + kVoidParts / 2)) return 0;
    look_for_void(table, t, s, count);
    return count;
  }

  // The same, if that is easily told: the key is in its home bucket's own line and no batch is under way on it. Else none.
  [[gnu::always_inline]] static Found find_at_home(Tbl& table, const Shd& s, Ticket ticket) noexcept {
    const std::uint32_t home = Tbl::size_of(s).home(ticket.hash());
    auto& b = table.bucket(s, home);
    if (!b.control().ready()) return {};
    const std::uint16_t tag = tag_of(ticket.hash());
    for (unsigned m = b.matches(tag); m != 0; m &= m - 1) {
      auto& slot = b.slot[std::countr_zero(m)];
      const SlotWord w = b.at(static_cast<unsigned>(std::countr_zero(m)));
      if (!w.is_current_of(tag)) continue;
      Rec& r = *table.space().record(w.offset());
      const Stamp stamp = r.stamp_word();
      if (!stamp.has_x() || stamp.batch() || (stamp.aborted() && !planted<Sync>(Mutant::kHuskHasTicket))) continue;
      if (Deadline(r.x().load(std::memory_order_seq_cst)).ticket() != ticket.number()) continue;  // [deadline] seq_cst
      return {&slot, &r, w, stamp, false, &b, home};
    }
    return {};
  }

  // The current record whose X has the ticket's number: LIVE or FROZEN, or a true miss. As
  // Table::find_slowly. Of a key on which a batch is under way, any that may turn out to be it; a single write is decided here.
  static Found find(Tbl& table, const Shd& s, Ticket ticket) noexcept {
    const std::uint16_t tag = tag_of(ticket.hash());
    for (;;) {
      const std::uint32_t home = Tbl::size_of(s).home(ticket.hash());
      auto& b = table.bucket(s, home);
      const bool ready = b.control().ready();
      Found found;
      const auto look = [&](auto& slot, SlotWord w) {
        if (!w.is_current() || w.tag() != tag) return true;
        // Intents and husks, and what is below them: which of these counts may not be decided.
        for (std::uint64_t at = w.offset(); at != 0;) {
          Rec& r = *table.space().record(at);
          // Decided: what was made from a record that is over by then is a husk, and the one below comes back with its number.
          const Stamp stamp = planted<Sync>(Mutant::kTicketOfUndecided) ? r.stamp_word() : Versions<Sync>::finalise(table.space(), r);
          // Before X: what is below an intent is cut off only after that has taken over the number. The other way round, a
          // batch could end in between, and the number be found in neither.
          std::uint64_t below = stamp.intent() ? r.link_word().older() : 0;
          if (stamp.has_x() && (!stamp.aborted() || planted<Sync>(Mutant::kHuskHasTicket))) {  // a husk has what it took over, and will never be the key's
            const Deadline x(r.x().load(std::memory_order_seq_cst));  // [deadline] seq_cst
            if (x.ticket() == ticket.number()) {
              const bool in_batch = table.space().record(w.offset())->stamp_word().batch();
              found = {&slot, &r, w, stamp, in_batch, ready ? &b : nullptr, home};
              return false;
            }
          }
          if (planted<Sync>(Mutant::kTicketLinkAfterX) && stamp.intent()) below = r.link_word().older();
          at = below;
        }
        return true;
      };
      if (!ready) table.for_each_slot(table.bucket(s, split_source(home)), look);
      if (!found) table.for_each_slot(b, look);
      if (found) return found;
      Sync::point("ticket.missed");
      if (Tbl::size_of(s).home(ticket.hash()) == home) return {};
    }
  }

  // There is no memory for it: the record's X says so, as long as it is the ticket's.
  static void lost(Tbl& table, Shd& s, Ticket ticket) noexcept {
    s.unfiled.fetch_add(1, std::memory_order_relaxed);  // a count
    if (planted<Sync>(Mutant::kTicketLostUnsaid)) return;
    for (int attempt = 0; attempt != 8;
         ++attempt) {  // what is frozen is about to be replaced, by one that inherits
      const Found f = find(table, s, ticket);
      if (!f) return;
      std::uint64_t x = f.record->x().load(std::memory_order_seq_cst);  // [deadline] seq_cst
      if (Deadline(x).frozen() || Deadline(x).ticket() != ticket.number()) continue;
      if (f.record->x().compare_exchange_strong(x, Deadline(x).with_ticket(0).word(),
                                                std::memory_order_seq_cst)) {  // [deadline]
        return;
      }
    }
  }

  static constexpr std::uint64_t kVoidMax = 1024;

 private:
  static constexpr std::uint64_t kVoidParts = 2;
  // Whether there are more than `parts` / kVoidParts tickets for each deadline.
  static bool has_void(const Shd& s, std::uint64_t parts) noexcept {
    const std::uint64_t deadlines = s.expiring.load(std::memory_order_relaxed);  // counts
    return s.wheel.entries() > parts * deadlines / kVoidParts + kVoidMax;
  }
  [[gnu::noinline]] static void look_for_void(Tbl& table, Thr& t, Shd& s, unsigned count) noexcept {
    for (unsigned i = 0; i != count; ++i) s.wheel.rotate(table.space(), t, Valid{table, s});
  }

  // For rotate: is the ticket still somebody's?
  struct Valid {
    Tbl& table;
    Shd& s;
    std::uint64_t operator()(std::uint64_t word) const noexcept {
      const Found f = find(table, s, Ticket(word));
      if (!f) return 0;
      const Deadline x(f.record->x().load(std::memory_order_seq_cst));  // [deadline] seq_cst
      // Another number by now: void. Frozen or not, and whatever replaces it: the next look will
      // tell.
      return x.ticket() == Ticket(word).number() ? due_of(x, span_of(*f.record, f.stamp)) : 0;
    }
    void lost(std::uint64_t word) const noexcept { Tickets::lost(table, s, Ticket(word)); }
  };
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_TICKETS_H_
