// Audit: a walk over a whole store that checks every invariant, with nobody else inside. Tests run it after each
// stress phase; Store::verify gives it to users.
#ifndef TERN_ENGINE_AUDIT_H_
#define TERN_ENGINE_AUDIT_H_

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "alloc/private_memory.h"
#include "engine/core.h"

namespace tern::detail {

template <class Sync>
class Audit {
 public:
  using Tbl = Table<Sync>;
  using Bkt = Bucket<Sync>;
  using Rec = Record<Sync>;

  // `report` gets a line for each finding.
  template <class Report>
  Audit(Core<Sync>& core, Report&& report) noexcept {
    const Tbl& table = core.table;
    for (unsigned i = 0; i != table.shard_count(); ++i) check_shard(core, i, report);
    const auto& views = core.space.views;
    if (left_ != views.kept_versions() || left_bytes_ != views.kept_bytes()) {
      fail(report, "kept: what is counted isn't what older versions are marked as");
    }
    if (notes_ != core.space.kept_notes.load(std::memory_order_relaxed)) fail(report, "kept: the notes' sum is wrong");
    core.space.points.for_each(core.space, [&](unsigned, std::uint64_t home, const Point<Sync>& p) {
      table_bytes += block(core, home);
      if (p.events == 0) return;
      table_bytes += block(core, p.events);
      for (unsigned i = 0; i != core.space.events.rings; ++i) table_bytes += block(core, PointEvents<Sync>::in_list(core.space, p.events, i));
    });
    if (core.evicts) {
      std::uint64_t entries = 0;
      table_bytes += core.eviction.queues().walk([&](std::uint64_t, bool) { ++entries; });
      const auto lengths = core.eviction.queues().lengths();
      if (entries != lengths.small + lengths.main) fail(report, "eviction: its queues' counts are wrong");
    }
    core.space.names.for_each([&](unsigned name, auto& slot) {
      const bool agrees = slot.entries.load(std::memory_order_relaxed) == named_[name].entries &&  // nobody is inside
                          slot.bytes.load(std::memory_order_relaxed) == named_[name].bytes;        // as above
      if (!agrees) fail(report, "names: what is counted isn't what a namespace has");
    });
    if (table.ordered() != nullptr) check_index(core, report);
    Events<Sync> events(const_cast<Space<Sync>&>(core.space));
    for (unsigned i = 0; i != events.rings() && events.ring(i) != nullptr; ++i) {
      const auto& ring = *events.ring(i);
      if (ring.floor() > ring.tail()) fail(report, "events: a ring's floor is ahead of its tail");
      ring.for_each([&](std::uint64_t record) {
        const Stamp s = core.space.record(record)->stamp_word();
        if (!s.stamped() || !s.told()) fail(report, "events: a ring holds a record that isn't told");
        if (core.space.record(record)->hold_word().holds() == 0) fail(report, "events: a ring names a record that it doesn't hold");
        note_if_orphan(core, record);
      });
    }
    if (!core.space.heap.verify()) fail(report, "heap: its accounts disagree with its bitmaps");
    allocated_bytes = core.space.heap.taken_bytes();
    core.space.for_each_thread_state([&](Thread<Sync>& t) {
      cached_bytes += t.cache.held_bytes();
      if (t.epoch.nest != 0) fail(report, "a thread is inside a call");
      for (BagRing<Sync>* r = &t.epoch.ring; r != nullptr; r = r->next.load(std::memory_order_acquire)) {  // [ring]
        for (Bag<Sync>& bag : r->bags) {
          const std::uint64_t state = bag.state.load(std::memory_order_acquire);  // [bag] acquire
          if (state != Bag<Sync>::kFull && state != Bag<Sync>::kOpen) continue;
          for (std::uint64_t n = 0; n != bag.end(); ++n) limbo_bytes += in_limbo(core, bag.records[n]);
        }
      }
    });
    count_orphans(core, report);
  }
  ~Audit() { alloc::private_free(orphans_); }
  Audit(const Audit&) = delete;
  Audit& operator=(const Audit&) = delete;

  // Every byte that the heap has handed out is in the table, in limbo or in a magazine; and what only holds keep is counted. Not so while values are held
  // or drafts are open: their records may be in none of these.
  bool accounts_agree() const noexcept { return allocated_bytes == table_bytes + limbo_bytes + cached_bytes && orphans_agree_; }

  unsigned findings = 0;
  std::uint64_t allocated_bytes = 0;
  // Records, older versions, what only holds keep, overflow buckets, notes of kept keys, queues.
  std::uint64_t table_bytes = 0;
  std::uint64_t limbo_bytes = 0;
  std::uint64_t cached_bytes = 0;

 private:
  std::uint64_t expiring_ = 0, with_ticket_ = 0;  // of the shard under way
  std::uint64_t notes_ = 0, left_ = 0, left_bytes_ = 0;
  std::uint64_t slots_ = 0;
  std::int64_t orphan_bytes_ = 0;  // that aren't let go
  std::uint64_t* orphans_ = nullptr;
  std::size_t orphan_count_ = 0, orphans_room_ = 0;
  bool orphans_lost_ = false;
  bool orphans_agree_ = true;
  struct Named {
    std::uint64_t entries = 0, bytes = 0;
  };
  Named named_[kNamesMax + 1];

  static std::uint64_t block(const Core<Sync>& core, std::uint64_t offset) noexcept {
    return core.space.heap.block_bytes(offset);
  }

  // A tomb of a long key may be all that keeps the record which holds the key.
  std::uint64_t with_key_holder(const Core<Sync>& core, std::uint64_t offset) noexcept {
    if ((offset & Space<Sync>::kPlainExtent) != 0) return 0;  // no block
    if ((offset & Space<Sync>::kPlainBlock) != 0) return block(core, offset & ~Space<Sync>::kPlainBlock);
    note_key_holder(core, offset);
    return block(core, offset);
  }
  void note_key_holder(const Core<Sync>& core, std::uint64_t offset) noexcept {
    const Rec& r = *core.space.record(offset);
    const Stamp s = r.stamp_word();
    if (!s.has_ext() || !r.ext(s).key_ref()) return;
    if (core.space.record(r.ref(s))->hold_word().orphan()) note_orphan(r.ref(s));
  }

  // Of a hold that is to be dropped: the record, if it is in no chain any more.
  std::uint64_t in_limbo(const Core<Sync>& core, std::uint64_t offset) noexcept {
    if ((offset & Space<Sync>::kOnlyHold) == 0) return with_key_holder(core, offset);
    const std::uint64_t record = offset & ~Space<Sync>::kMarks;
    note_if_orphan(core, record);
    if ((offset & Space<Sync>::kLetGo) != 0) orphan_bytes_ -= static_cast<std::int64_t>(core.space.bytes_of(record));
    return 0;
  }
  void note_if_orphan(const Core<Sync>& core, std::uint64_t record) noexcept {
    if (!core.space.record(record)->hold_word().orphan()) return;
    note_orphan(record);
    note_key_holder(core, record);
  }

  // What only holds keep is met once for each of them: a long key's record by its event and by its tomb.
  void note_orphan(std::uint64_t record) noexcept {
    if (orphan_count_ == orphans_room_) {
      const std::size_t room = orphans_room_ == 0 ? 256 : 2 * orphans_room_;
      auto* const more = static_cast<std::uint64_t*>(alloc::private_allocate(room * sizeof(std::uint64_t)));
      if (more == nullptr) {
        orphans_lost_ = true;
        return;
      }
      std::copy_n(orphans_, orphan_count_, more);
      alloc::private_free(orphans_);
      orphans_ = more;
      orphans_room_ = room;
    }
    orphans_[orphan_count_++] = record;
  }
  template <class Report>
  void count_orphans(const Core<Sync>& core, Report& report) noexcept {
    if (orphans_lost_) fail(report, "audit: no private memory to note what only holds keep");
    std::sort(orphans_, orphans_ + orphan_count_);
    const std::uint64_t* const end = std::unique(orphans_, orphans_ + orphan_count_);
    for (const std::uint64_t* o = orphans_; o != end; ++o) {
      table_bytes += block(core, *o);
      orphan_bytes_ += static_cast<std::int64_t>(core.space.bytes_of(*o));
    }
    orphans_agree_ = std::max<std::int64_t>(orphan_bytes_, 0) == static_cast<std::int64_t>(core.space.orphan_bytes());
  }

  template <class Report>
  void fail(Report& report, const char* what) noexcept {
    ++findings;
    report(what);
  }

  template <class Report>
  void check_shard(Core<Sync>& core, unsigned index, Report& report) noexcept {
    const Tbl& table = core.table;
    auto& s = table.shard(index);
    const ShardSize size = Tbl::size_of(s);
    std::uint64_t live = 0;
    for (std::uint32_t b = 0; b != size.buckets(); ++b) {
      Bkt& bucket = table.bucket(s, b);
      const Ctl c = bucket.control();
      if (!c.ready() && b + kSplitsOpenMax < size.buckets()) fail(report, "table: an old bucket is not ready");
      for (Ctl o = c; o.overflow() != 0; o = table.overflow(o)->control()) table_bytes += block(core, o.overflow());
      unsigned position = 0;
      table.for_each_slot(bucket, [&](auto& slot, SlotWord w) {
        ++position;
        if (w.is_empty() || (w.is_uninit() && !c.ready())) return true;
        if (w.is_uninit()) {
          fail(report, "table: a slot of a ready bucket was never initialised");
          return true;
        }
        if (w.is_tentative()) {
          fail(report, "table: a tentative entry is left");
          return true;
        }
        check_entry(core, index, s, b, c, slot, w, position, live, report);
        return true;
      });
    }
    if (live != s.live.load(std::memory_order_relaxed)) fail(report, "shard: the count of entries is wrong");
    check_wheel(core, s, report);
    std::uint64_t notes = 0;
    table_bytes += s.kept.walk(core.space, [&](std::uint64_t) { ++notes; });
    if (notes != s.kept.count()) fail(report, "kept: the count of notes is wrong");
    notes_ += notes;
  }

  // Each key of the table, tombs included, has a leaf that is LIVE, and no other has one. What is REMOVED may still be
  // linked (ordered_index.h).
  template <class Report>
  void check_index(Core<Sync>& core, Report& report) noexcept {
    using Index = OrderedIndex<Sync>;
    table_bytes += core.table.ordered()->walk([](std::uint64_t) {});
    typename Index::Cursor cursor(*core.table.ordered(), Index::Cursor::kForward);
    std::uint64_t leaves = 0;
    std::string_view last;
    while (const auto* leaf = cursor.next()) {
      const std::string_view key = leaf->key();
      if (leaves++ != 0 && key <= last) fail(report, "index: out of order");
      last = key;
      if (leaf->seen().kind() != LeafState::kLive) fail(report, "index: a leaf is left DEAD");
      if (leaf->hash != core.table.hash_of(key)) fail(report, "index: a leaf has another key's hash");
      if (!core.table.find(leaf->hash, key)) fail(report, "index: a leaf without its key");
    }
    if (!cursor.failed() && leaves != slots_) fail(report, "index: a key without its leaf");
  }

  // Each deadline has its ticket, unless the record says that it hasn't.
  template <class Report>
  void check_wheel(Core<Sync>& core, Shard<Sync>& s, Report& report) noexcept {
    std::uint64_t tickets = 0, valid = 0;
    table_bytes += s.wheel.walk(core.space, [&](std::uint64_t ticket) {
      ++tickets;
      if (Tickets<Sync>::find(core.table, s, Ticket(ticket))) ++valid;
    });
    if (tickets != s.wheel.entries()) fail(report, "wheel: the count of tickets is wrong");
    if (expiring_ != s.expiring.load(std::memory_order_relaxed)) fail(report, "wheel: the count of deadlines is wrong");
    if (valid < with_ticket_) fail(report, "wheel: a deadline is without its ticket");
    expiring_ = with_ticket_ = 0;
  }

  template <class Report, class Slot>
  void check_entry(Core<Sync>& core, unsigned index, Shard<Sync>& s, std::uint32_t b, Ctl c, Slot& slot, SlotWord w,
                   unsigned position, std::uint64_t& live, Report& report) noexcept {
    const Tbl& table = core.table;
    Rec& r = *core.space.record(w.offset());
    const Stamp stamp = r.stamp_word();
    const auto k = core.space.key_of(r, stamp);
    const std::string_view key(k.data, k.size);
    const std::uint64_t hash = table.hash_of(key);
    if (table.shard_index(hash) != index) fail(report, "entry: in another key's shard");
    if (Tbl::size_of(s).home(hash) != b && !w.is_frozen()) fail(report, "entry: not in its home bucket");
    if (tag_of(hash) != w.tag()) fail(report, "entry: its tag isn't its key's");
    if (position > kSlots && !c.may_overflow(w.tag())) fail(report, "entry: in overflow, but not in the filter");
    // A batch that failed leaves husks where there was no memory to replace them: what they hide is the key's head.
    std::uint64_t head = w.offset();
    for (; core.space.record(head)->stamp_word().aborted(); head = core.space.record(head)->link_word().older()) {
      table_bytes += with_key_holder(core, head);
      if (core.space.record(head)->link_word().older() == 0) {
        fail(report, "entry: a husk hides nothing");
        return;
      }
    }
    Rec& d = *core.space.record(head);
    const Stamp ds = d.stamp_word();
    if (d.hold_word().version() == 0) fail(report, "entry: without a version");
    if (!ds.tomb()) ++live;
    if (const unsigned name = name_of(key); !ds.tomb() && name != kDefaultName && name <= kNamesMax) {
      ++named_[name].entries;
      named_[name].bytes += core.space.bytes_of(head);
    }
    ++slots_;
    if (ds.has_x()) {
      const Deadline x(d.x().load(std::memory_order_acquire));  // [deadline] acquire
      if (!x.never()) ++expiring_;
      if (x.ticket() != 0) ++with_ticket_;
      if (x.never() && x.ticket() != 0) fail(report, "entry: a ticket without a deadline");
    }
    table.for_each_slot(table.bucket(s, b), [&](auto& other, SlotWord o) {
      if (&other == &slot) return false;
      if (!o.is_current() || o.tag() != w.tag()) return true;
      const Rec& q = *core.space.record(o.offset());
      if (core.space.has_key(q, q.stamp_word(), key)) fail(report, "entry: the key is in the table twice");
      return true;
    });
    std::uint64_t newer_version = ~std::uint64_t{0};
    for (std::uint64_t at = head; at != 0;) {
      const Rec& v = *core.space.record(at);
      const Stamp vs = v.stamp_word();
      table_bytes += with_key_holder(core, at);
      if (v.hold_word().left()) {
        ++left_;
        left_bytes_ += core.space.bytes_of(at);
        if (at == head) fail(report, "chain: the newest version is marked as an older one");
      }
      if (!vs.stamped() && at != head) fail(report, "chain: an older version is not stamped");
      if (v.hold_word().version() >= newer_version) fail(report, "chain: versions don't fall");
      newer_version = v.hold_word().version();
      at = vs.nolink() ? 0 : v.link_word().older();
    }
  }
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_AUDIT_H_
