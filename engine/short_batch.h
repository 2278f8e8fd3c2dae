// ShortBatch: the short way of a batch's owner, over entries that replace what is ordinary by what is ordinary. Its steps are
// those of Batches (batch.h), in their order; whoever helps takes the long way, and the two meet at any step. What isn't so
// here is left to that: each function says whether it has done its step, and if not, nothing has happened.
//
//   look      before anybody else knows the batch: R_k.link = what the key has, by a store. An agreement like any other, which
//             install finds made, or moved on by who helps; the slot that it was found in is kept, so that no key is looked
//             for or compared again
//   install   link, then the slot, then the batch's state; the slot: from the word that the link names -> R_k; its version
//   settle    R_k's w0 -> STAMPED with NOLINK, where what it replaced has the same stamp and nothing below it
//
// Why the store of look() is as good as a swap: nobody reads R_k before the first install; the owner is in one guard from before
// the look to the last settle, so what the link names isn't used again while anybody may install over it (rule Q1).
// tests/models/two_batches.pml has it (-DPRE).
//
// Edges: publish, agree, decide, version and stamp, as in batch.h.
#ifndef TERN_ENGINE_SHORT_BATCH_H_
#define TERN_ENGINE_SHORT_BATCH_H_

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "engine/batch_descriptor.h"
#include "engine/events.h"
#include "engine/prefetch.h"
#include "engine/table.h"
#include "engine/versions.h"
#include "simd/key_equal.h"

namespace tern::detail {

template <class Sync>
class ShortBatch {
 public:
  using Rec = Record<Sync>;
  using Thr = Thread<Sync>;
  using Word = typename Sync::template Atomic<std::uint64_t>;
  using Descriptor = BatchDescriptor<Sync>;

  explicit ShortBatch(Space<Sync>& space) noexcept : space_(space) {}

  // Records are asked for in groups: their lines come together.
  void look(Descriptor& d, std::uint32_t from = 0) noexcept {
    BatchEntry* const entries = d.entries();
    for (std::uint32_t first = from; first < d.count; first += kGroup) {
      const std::uint32_t end = std::min(first + kGroup, d.count);
      for (std::uint32_t i = first; i != end; ++i) ask_for(entries[i]);
      for (std::uint32_t i = first; i != end; ++i) agree(entries[i]);
    }
  }

  bool install(Descriptor& d, const BatchEntry& e) noexcept {
    if (e.condition_count != 0 || e.first_condition_or_slot == 0) return false;
    Rec& own = *space_.record(e.record);
    const Link link = own.link_word();
    if (space_.has_points()) [[unlikely]] return false;
    Word& slot = *space_.heap.template at<Word>(e.first_condition_or_slot);
    const SlotWord word(slot.load(std::memory_order_seq_cst));  // [publish] seq_cst
    if (!word.is_live() || word.offset() != link.older()) [[unlikely]] return false;
    Sync::point("batch.located");
    if (!BatchState(d.state.load(std::memory_order_seq_cst)).is_undecided() &&  // [decide] seq_cst
        !planted<Sync>(Mutant::kBatchLateInstall)) [[unlikely]] {
      return false;
    }
    const Rec& old = *space_.record(link.older());
    const Stamp os = old.stamp_word();
    const Hold before = old.hold_word();
    if (!os.plain() || before.keep() || (!os.told() && Events<Sync>::wanted(space_))) [[unlikely]] return false;
    std::uint64_t expected = word.word();
    Sync::point("batch.install");
    if (!slot.compare_exchange_strong(expected, word.replaced(e.record).word(), std::memory_order_seq_cst)) [[unlikely]] {  // [publish] release
      return false;
    }
    agree_on_meta(space_, own, before, true);
    return true;
  }

  // What R_k gets from what it replaces, which is fixed by now. Once: a late helper may see a chain that was trimmed meanwhile.
  [[gnu::always_inline]] static void agree_on_meta(const Space<Sync>& space, Rec& own, Hold before, bool with_access) noexcept {
    const std::uint64_t version = space.next_version(before.version());
    std::uint64_t m = own.meta.load(std::memory_order_acquire);  // [version] acquire
    if (planted<Sync>(Mutant::kBatchVersionByStore)) {
      own.meta.store(Hold(m).with_version(version).word(), std::memory_order_release);  // [version] release
      return;
    }
    while (Hold(m).version() == 0) {
      Hold to = Hold(m).with_version(version);
      if (with_access) to = to.with_access(before.access());
      Sync::point("batch.version");
      if (own.meta.compare_exchange_weak(m, to.word(), std::memory_order_acq_rel)) return;  // [version] acq_rel
    }
  }

  // `stamp`: of the committed batch, and of no other (ViewClock::is_of_batch). Nobody weighs entries. Then there is nothing left
  // to do for the entry but to count it.
  bool settle(Thr& t, const BatchEntry& e, std::uint64_t stamp) noexcept {
    if (e.first_condition_or_slot == 0 || e.condition_count != 0 || e.reserved != 0) return false;
    Rec& r = *space_.record(e.record);
    const Stamp s = r.stamp_word();
    const std::uint64_t old = r.link_word().older();
    if (!s.batch() || s.has_flags() || old == 0) [[unlikely]] return false;
    Rec& o = *space_.record(old);
    const Stamp os = o.stamp_word();
    if (!os.plain() || (os.stamp() != stamp && !planted<Sync>(Mutant::kNolinkOnUnequalStamp)) || !Versions<Sync>::alone(o, os)) [[unlikely]] return false;
    if (o.hold_word().keep() || r.hold_word().keep() || is_named({r.bytes() + kRecordHeaderBytes, 1})) [[unlikely]] return false;
    std::uint64_t expected = s.word();
    Sync::point("batch.settle");
    if (!r.w0.compare_exchange_strong(expected, s.settled_at(stamp).without_link().word(), std::memory_order_seq_cst)) {  // [stamp] seq_cst
      return false;
    }
    space_.retire_at_hand(t, old);
    return true;
  }

 private:
  static constexpr std::uint32_t kGroup = 16;

  void ask_for(BatchEntry& e) noexcept {
    if (e.condition_count != 0) return;
    e.first_condition_or_slot = 0;
    if (e.keeps_lifetime) return;
    const auto& head = head_at(space_.geometry, e.hash);
    const Bucket<Sync>* b = &bucket_at(space_.geometry, head, Table<Sync>::size_of(head).home(e.hash));
    // What is still being split off may be read where it was before.
    if (!b->control().ready() && !planted<Sync>(Mutant::kBatchBucketUnready)) [[unlikely]] return;
    unsigned m = b->matches(tag_of(e.hash));
    if (m == 0) [[unlikely]] {
      const Ctl c = b->control();
      if (c.overflow() == 0) return;
      b = space_.heap.template at<Bucket<Sync>>(c.overflow());
      m = b->matches(tag_of(e.hash));
      if (m == 0) return;
    }
    const Word& slot = b->slot[std::countr_zero(m)];
    const SlotWord w(slot.load(std::memory_order_seq_cst));  // [publish] seq_cst
    if (!w.is_live()) return;
    if constexpr (!Sync::kWordwise) {
      const Rec* const r = space_.record(w.offset());
      prefetch_near(r);
      prefetch_near(r->bytes() + 64);
    }
    Rec& own = *space_.record(e.record);
    own.link.store(own.link_word().over(w.offset()).word(), std::memory_order_relaxed);  // [publish] comes with the first install
    const auto at = reinterpret_cast<const std::byte*>(&slot) - space_.heap.base();
    e.first_condition_or_slot = static_cast<std::uint64_t>(at) / alloc::kUnitBytes;
  }
  // Is it the key's, and ordinary?
  void agree(BatchEntry& e) noexcept {
    if (e.condition_count != 0 || e.first_condition_or_slot == 0) return;
    Rec& own = *space_.record(e.record);
    const Link link = own.link_word();
    const Rec& o = *space_.record(link.older());
    const Stamp s = own.stamp_word();
    const std::size_t size = s.klen8();
    if (!s.has_ext() && o.stamp_word().plain_with_key(size)) [[likely]] {
      const char* const key = own.bytes() + kRecordHeaderBytes + (s.has_x() ? 8 : 0);
      const char* const there = o.bytes() + kRecordHeaderBytes;
      Sync::plain_read(there, size);
      if (size - 16 <= 16 ? simd::blocks_equal(there, key, size) : simd::key_equal(there, key, size)) [[likely]] return;
    }
    own.link.store(link.over(0).word(), std::memory_order_relaxed);  // [publish] as above
    e.first_condition_or_slot = 0;
  }

  Space<Sync>& space_;
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_SHORT_BATCH_H_
