// Leases: entries that live as long as another one does.
//
//   lease    an ordinary entry, never evicted: its key has the id, its deadline is the lease's, its value the ttl
//   member   an entry whose record names a lease, before its tags (tags.h)
//   end      the lease's entry is gone, or past its deadline: one swap of one slot, or one instant
//
// So a lease ends at one moment for all of its members, however many, and nothing is done to them: whoever finds a member's
// record asks for its lease. The whole of it is what an entry has anyway: keep_alive moves a deadline, revoke is a
// removal, a view finds the lease as it was, a snapshot has it, and no end costs one of the 64 invalidation points.
//
//   read     the member's record -> its lease, looked up like any key -> over: is the record still in its slot? then a miss
//   write    a head whose lease is over is expired: absent for every condition, buried or replaced like what is past its deadline
//   batch    the same; and buried before an intent is installed over it, so that all helpers judge alike
//   view     the lease at the view's stamp, by the view's time
//   moment   get_many at one moment reads members from a view: two looks at slots say nothing about a lease between them
//   sweep    after an end a lap over the buckets buries the members, by maintenance; ends of one lap share it
//
// An id is given once, also across lives of a snapshot, so an end is for ever; and who sees a deadline that has passed freezes
// it first, so that no keep_alive which began before can bring it back.
//
// A set that is under way while its lease ends is set and gone at once: its key is absent from the swap on, and what was
// there before is replaced. A set with a condition on a member, without its lease, comes to nothing if the lease ends before
// its stamp, and is judged again (Versions::decided).
//
// Cost: a read of a member is two look-ups; of any other entry nothing (a flag in EXT, which such a record has). Lock-free.
#ifndef TERN_ENGINE_LEASES_H_
#define TERN_ENGINE_LEASES_H_

#include <cstdint>
#include <string_view>

#include "engine/changes.h"
#include "engine/commit.h"
#include "engine/lease_key.h"
#include "engine/versions.h"

namespace tern::detail {

// Buries the record that it was made for if its lease is over. (What is past its own deadline goes, too.)
template <class Sync>
class LeaseEndChange : public ChangeBase<Sync> {
 public:
  static constexpr bool kHelps = false;
  LeaseEndChange(Space<Sync>& space, Thread<Sync>& t, std::string_view key, const Record<Sync>& record) noexcept
      : ChangeBase<Sync>(space, t, key), judged_(&record) {}
  Decision judge(const Head<Sync>& head) noexcept {
    this->note(head);
    return head.record == judged_ && head.expired ? Decision::kRemove : Decision::kKeep;
  }
  std::uint64_t record(Thread<Sync>&, const Head<Sync>&) noexcept { return 0; }

 private:
  const Record<Sync>* judged_;
};

template <class Sync>
class Leases {
 public:
  using Tbl = Table<Sync>;
  using Thr = Thread<Sync>;
  using Rec = Record<Sync>;
  using Ver = Versions<Sync>;

  Leases(const Tbl& table, const Time& time) noexcept : table_(table), space_(table.space()), time_(time) {}

  // The lease that the record names; 0: none. Inside the guard that found it.
  [[gnu::always_inline]] static std::uint64_t of(const Space<Sync>& space, const Rec& r, Stamp s) noexcept {
    if (!s.has_ext()) [[likely]] return 0;
    return r.ext(s).may_have_lease() ? lease_in(space.tags_of(r, s)) : 0;
  }

  // From true on it stays so. Where it isn't over `lone`, which may be null, is told whether it is a lock's own. Inside a guard.
  [[gnu::noinline]] bool is_over(std::uint64_t id, bool* lone = nullptr) const noexcept {
    const LeaseKey key(id);
    const std::uint64_t hash = table_.hash_of(key.view());
    for (;;) {
      const auto found = table_.find(hash, key.view());
      if (!found) return true;
      const auto seen = Ver::resolve(space_, *found.record);
      if (seen.record == nullptr || seen.stamp.tomb()) return true;
      if (found.points) [[unlikely]] {
        if (space_.points.killer(space_, *seen.record, seen.stamp, seen.stamp.stamp())) return true;
        if (found.slot->load(std::memory_order_seq_cst) != found.word.word()) continue;  // [publish] seq_cst: see points.h
      }
      if (!is_past(*seen.record, seen.stamp, time_)) {
        if (lone != nullptr) *lone = terms_of(*seen.record, seen.stamp).lone;
        return false;
      }
      // It may have been replaced, by one with a later deadline, before it was past.
      if (planted<Sync>(Mutant::kLeaseMovedUnseen) || found.slot->load(std::memory_order_seq_cst) == found.word.word()) return true;  // [publish] seq_cst
    }
  }

  // The same for a view. The view's slot is looked at afterwards.
  [[gnu::noinline]] static bool is_over_at(const Tbl& table, std::uint64_t id, std::uint64_t view_stamp, std::uint64_t now_ms) noexcept {
    const LeaseKey key(id);
    const auto found = table.find(table.hash_of(key.view()), key.view());
    if (!found) return true;
    Space<Sync>& space = table.space();
    const std::uint64_t at = Ver::at_view(space, found.word.offset(), view_stamp);
    if (at == 0 || Ver::is_dead_at(space, at, view_stamp)) return true;
    Rec& r = *space.record(at);
    const Stamp s = r.stamp_word();
    if (s.tomb()) return true;
    // A view shows no deadline that may still move (views.h).
    if (s.has_x()) r.x().fetch_or(Deadline::kFrozen, std::memory_order_seq_cst);  // [deadline] seq_cst
    return is_past(r, s, Time::at(now_ms));
  }

  // What a head says once its lease was asked: of one that is over, that it has expired.
  [[gnu::always_inline]] void judge(Head<Sync>& head, const Rec& r, Stamp s) const noexcept {
    const std::uint64_t lease = of(space_, r, s);
    if (lease != 0) [[unlikely]] judge_member(head, lease);
  }

  // A record, found where `found` says, that has expired, or whose lease is over, or which a point has killed: whether it was the
  // key's all the while.
  static bool is_still(Space<Sync>& space, const typename Tbl::Found& found, const Rec& record) noexcept {
    Sync::point("lease.looked");
    if (planted<Sync>(Mutant::kLeaseNotLookedAgain)) return true;
    if (!planted<Sync>(Mutant::kPointBatchUnseen) && Ver::resolve(space, *found.record).record != &record) return false;  // a batch was decided meanwhile
    return found.slot->load(std::memory_order_seq_cst) == found.word.word();  // [publish] seq_cst
  }

  // --- the sweep -----------------------------------------------------------------------------------------------

  // Ends since the beginning of the last lap that is over.
  static std::uint64_t owed(const Space<Sync>& space) noexcept {
    const std::uint64_t ended = space.leases.ended.load(std::memory_order_seq_cst);             // [lease] seq_cst
    return (ended - space.leases.swept.load(std::memory_order_relaxed)) & LeaseHand::kEndsMask;  // a hint
  }
  static bool owes(const Space<Sync>& space) noexcept { return owed(space) != 0; }

  // Goes over up to `count` buckets and buries members whose lease is over. Answers how many it has looked at; 0: nothing is
  // to be done, or there is no memory. Inside a guard. Several threads may be at one bucket. A lap that began after an end
  // meets each of its members, for keys move to later buckets only.
  unsigned sweep(Commit<Sync>& commit, Thr& t, unsigned count) const noexcept {
    auto& w = space_.leases;
    unsigned done = 0;
    while (done != count) {
      std::uint64_t word = w.at.load(std::memory_order_seq_cst);  // [lease] seq_cst
      const LeaseHand at(word);
      if (w.incoming.load(std::memory_order_relaxed) != 0) return done;  // its leases may come after their members; a hint
      if (word == 0) {
        if (!owes(space_)) return done;
        const LeaseHand first = LeaseHand::first(w.ended.load(std::memory_order_seq_cst));     // [lease] seq_cst
        w.at.compare_exchange_strong(word, first.word(), std::memory_order_seq_cst);           // [lease] seq_cst
        continue;
      }
      if (at.shard() == table_.shard_count()) {
        // Whoever is late with it makes one lap more.
        w.swept.store(at.ends(), std::memory_order_relaxed);                      // a hint
        w.at.compare_exchange_strong(word, 0, std::memory_order_seq_cst);  // [lease] seq_cst
        continue;
      }
      auto& s = table_.shard(at.shard());
      LeaseHand next = at.next_shard();
      if (at.bucket() < Tbl::size_of(s).buckets()) {
        ++done;
        ++t.work;
        if (!bury_chain(commit, t, s, at.bucket())) return 0;
        next = at.next_bucket();
      }
      w.at.compare_exchange_strong(word, next.word(), std::memory_order_seq_cst);  // [lease] seq_cst
    }
    return done;
  }
  // Members of a lease that has ended may lie anywhere.
  static void owe(Space<Sync>& space) noexcept {
    space.leases.ended.fetch_add(1, std::memory_order_seq_cst);  // [lease] seq_cst
    space.upkeep.ask();
  }

  // False: there was no memory for a tomb.
  bool bury(Commit<Sync>& commit, Thr& t, const Rec& r, Stamp s) const noexcept {
    const auto k = space_.key_of(r, s);
    const std::string_view key(k.data, k.size);
    LeaseEndChange<Sync> change(space_, t, key, r);
    const Committed done = commit.commit(t, table_.hash_of(key), key, change);
    if (done.outcome == Committed::Outcome::kRemoved) t.counters.expired.add();
    return done.outcome != Committed::Outcome::kOutOfMemory;
  }

 private:
  LeaseTerms terms_of(const Rec& r, Stamp s) const noexcept {
    LeaseTerms terms;
    const auto value = space_.value_of(r, s, LeaseKey::kBytes);
    (void)terms.read({value.data, value.size});
    return terms;
  }
  static bool is_past(Rec& r, Stamp s, const Time& time) noexcept {
    if (!s.has_x()) return false;
    const Deadline x = r.shown_deadline();
    const std::uint64_t now = time.now();
    if (now < x.ms()) return false;
    if (planted<Sync>(Mutant::kLeaseUnfrozen)) return true;
    // What it is for good.
    return now >= Deadline(r.x().fetch_or(Deadline::kFrozen, std::memory_order_seq_cst)).ms();  // [deadline] seq_cst
  }

  [[gnu::noinline]] void judge_member(Head<Sync>& head, std::uint64_t lease) const noexcept {
    if (!head.present && !head.known_absent) return;
    if (!is_over(lease) || planted<Sync>(Mutant::kLeaseMetAlive)) return;
    head.present = head.known_absent = false;
    head.expired = true;
    head.value = nullptr;  // nor for readers of stale values
    head.value_size = 0;
  }

  bool bury_chain(Commit<Sync>& commit, Thr& t, Shard<Sync>& s, std::uint32_t index) const noexcept {
    Bucket<Sync>& b = table_.bucket(s, index);
    // A split that is under way has its source's keys: they come here, and the source has been passed.
    if (!b.control().ready() && !Growth<Sync>::help_split(const_cast<Tbl&>(table_), t, s, index)) return false;
    bool all = true;
    table_.for_each_slot(b, [&](auto&, SlotWord w) {
      if (!w.is_current()) return true;
      const auto seen = Ver::resolve(space_, *space_.record(w.offset()));
      if (seen.record == nullptr || seen.stamp.tomb()) return true;
      const std::uint64_t lease = of(space_, *seen.record, seen.stamp);
      if (lease == 0 || !is_over(lease)) return true;
      all = bury(commit, t, *seen.record, seen.stamp);
      return all;
    });
    return all;
  }

  const Tbl& table_;
  Space<Sync>& space_;
  const Time& time_;
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_LEASES_H_
