// BatchWriter: a batch from the caller's list to its end: what is wrong with memory is found out here, before anybody
// sees anything of it.
//
//   gather    a descriptor with one entry an operation; sort by (hash, key); merge those of one key: the last set or del
//             counts, conditions add up
//   build     every record, PENDING -> BATCH; what there is no room for is made room for, or nothing was done
//   run       inside one guard: conditions that are already false, the bound on entries, then Batches::run
//
// Ops gives
//   std::uint32_t count() const; std::string_view key(i) const; void read(i, BatchOperation&) const;
//   bool all_plain() const                  each operation is
//   bool plain(i)                           a set of nothing but a value, or a removal: no conditions, no lifetime
//   void read_plain(i, kind, value) const   such a one, in fewer words
//   void tell(i, std::uint64_t version)     what set number i got, if it is its key's last
#ifndef TERN_ENGINE_BATCH_WRITER_H_
#define TERN_ENGINE_BATCH_WRITER_H_

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <new>
#include <string_view>
#include <utility>

#include "engine/batch.h"
#include "engine/core.h"
#include "engine/reads.h"
#include "simd/hash.h"

namespace tern::detail {

struct BatchOperation {
  enum class Kind : std::uint8_t { kSet, kDel, kRequire };
  Kind kind = Kind::kSet;
  BatchCondition::Kind require = BatchCondition::Kind::kAbsent;
  bool negated = false;
  std::uint64_t version = 0;
  std::string_view value{};  // of a set or a condition
  SetTerms terms{};          // of a set; its conditions are the batch's
};

template <class Sync, class Ops>
class BatchWriter {
 public:
  using Thr = Thread<Sync>;
  using Rec = Record<Sync>;
  using Descriptor = BatchDescriptor<Sync>;
  using Why = BatchState::Why;

  struct Answer {
    enum What : std::uint8_t { kDone, kConflict, kOutOfMemory } what = kDone;
    std::uint32_t operation = 0;  // whose condition failed
  };

  BatchWriter(Core<Sync>& core, Thr& t, Ops& ops) noexcept : core_(core), space_(core.space), thread_(t), ops_(ops) {}

  // At least one operation, at most kBatchMax, all of them checked.
  Answer write() noexcept {
    core_.let_limbo_drain(thread_);
    if (space_.heap.wants_back(thread_.cache)) [[unlikely]] core_.give_back(thread_);
    Answer answer{Answer::kOutOfMemory, 0};
    typename Core<Sync>::Room room;
    for (bool again = true; again;) {
      again = false;
      if (!gather() || !build()) break;
      BatchState state = BatchState::undecided();
      {
        const Guard<Sync> guard(space_, thread_);
        Commit<Sync> commit = core_.committer();
        Batches<Sync> batches(commit);
        if (!space_.epoch.admit(space_, thread_)) {
          again = true;
        } else if (const std::uint32_t failing = next_condition_ == 0 ? kBatchMax : batches.first_failing(*d_);
                   failing != kBatchMax) {
          answer = {Answer::kConflict, failing};
        } else if (batches.reserve(thread_, *d_)) {
          if (core_.evicts) core_.eviction.make_room_for(thread_, d_->count);
          state = batches.run(thread_, *d_, [&](std::uint32_t i, std::uint64_t version) { ops_.tell(i, version); });
        }
      }
      if (state.is_undecided()) {
        drop();
      } else if (state.committed()) {
        answer = {Answer::kDone, 0};
      } else {
        again = state.why() != Why::kCondition;
        if (!again) answer = {Answer::kConflict, state.operation()};
      }
      // A lifetime of another kind is built for; anything else lacks room.
      if (again && (state.is_undecided() || state.why() == Why::kMemory)) again = core_.find_room(thread_, bytes_, room);
    }
    if (answer.what == Answer::kOutOfMemory) {
      thread_.counters.refused.add();
      space_.upkeep.ask();
    }
    core_.hand_out_removals(thread_);
    space_.upkeep.pass_on();
    return answer;
  }

 private:
  // Blocks of what `make` asks for, with room made for it as for any write. Outside of guards.
  template <class Make>
  std::uint64_t with_room(std::uint64_t bytes, Make&& make) noexcept {
    typename Core<Sync>::Room room;
    std::uint64_t made = make();
    while (made == 0 && core_.find_room(thread_, bytes, room)) made = make();
    return made;
  }

  bool gather() noexcept {
    const std::uint32_t n = ops_.count();
    std::uint32_t conditions = 0;
    std::uint64_t bytes = 0;
    bool depends = false;
    BatchOperation op;
    const bool all_plain = ops_.all_plain();
    for (std::uint32_t i = 0; i != n && !all_plain; ++i) {
      if (ops_.plain(i)) continue;
      ops_.read(i, op);
      if (op.kind == BatchOperation::Kind::kRequire) {
        ++conditions;
        if (op.require == BatchCondition::Kind::kValue) bytes += op.value.size();
      } else if (op.kind == BatchOperation::Kind::kSet) {
        conditions += op.terms.if_absent + op.terms.if_present + op.terms.if_version.has_value() + op.terms.keep_metadata;
        depends = depends || op.terms.keep_deadline;
      }
    }
    depends = depends || conditions != 0;
    const std::uint64_t conditions_at = sizeof(Descriptor) + n * sizeof(BatchEntry);
    const std::uint64_t values_at = conditions_at + conditions * sizeof(BatchCondition);
    if (values_at + bytes > kValueMax) return false;
    char* at = nullptr;
    bytes_ = values_at + bytes + kRecordHeaderBytes + sizeof kKey;
    const std::uint64_t home = with_room(bytes_, [&] {
      const auto built = space_.build(thread_, {{kKey, sizeof kKey}, values_at + bytes});
      at = built.value;
      return built.offset;
    });
    if (home == 0) return false;
    d_ = new (at) Descriptor;
    d_->state.store(BatchState::undecided().word(), std::memory_order_relaxed);  // [publish] comes with the first install
    d_->mortal.store(0, std::memory_order_relaxed);  // [publish] as above
    d_->told.store(0, std::memory_order_relaxed);    // [publish] as above
    d_->is_named = Events<Sync>::wanted(space_);
    d_->home = home;
    d_->conditions_at = static_cast<std::uint32_t>(conditions_at);
    d_->count = n;
    d_->now_ms = core_.time.now();
    d_->began = depends ? space_.views.now() + 1 : 0;
    next_value_at_ = values_at;
    next_condition_ = 0;
    BatchEntry* const entries = d_->entries();
    for (std::uint32_t first = 0; first < n; first += kGroupKeys) {
      const std::uint32_t count = std::min<std::uint32_t>(kGroupKeys, n - first);
      std::string_view keys[kGroupKeys];
      std::uint64_t hash[kGroupKeys];
      for (std::uint32_t i = 0; i != count; ++i) keys[i] = ops_.key(first + i);
      simd::hash_batch(keys, count, space_.geometry.hash_keys, hash);
      for (std::uint32_t i = 0; i != count; ++i) {
        core_.prefetch_bucket(hash[i]);
        BatchEntry* e = new (entries + first + i) BatchEntry;
        e->hash = hash[i];
        e->operation = first + i;
      }
    }
    if (n <= kFewMax) {
      sort_few(entries, n);
    } else {
      sort_many(entries, n);
    }
    bool alone = conditions == 0;  // one plain operation a key: there is nothing to merge
    for (std::uint32_t i = 1; i < n && alone; ++i) alone = entries[i - 1].hash != entries[i].hash;
    if (!alone) merge();
    return true;
  }
  // Of two operations whose keys have one hash.
  [[gnu::noinline]] bool comes_before(std::uint32_t a, std::uint32_t b) const noexcept {
    const int order = ops_.key(a).compare(ops_.key(b));
    return order != 0 ? order < 0 : a < b;
  }
  // Fresh entries are a hash and a number each: those alone are moved.
  void sort_few(BatchEntry* entries, std::uint32_t n) const noexcept {
    struct Item {
      std::uint64_t hash;
      std::uint32_t operation;
    } items[kFewMax];
    for (std::uint32_t i = 0; i != n; ++i) {
      const Item item{entries[i].hash, i};
      std::uint32_t at = i;
      for (; at != 0; --at) {
        const Item& before = items[at - 1];
        if (before.hash < item.hash || (before.hash == item.hash && comes_before(before.operation, i))) break;
        items[at] = before;
      }
      items[at] = item;
    }
    for (std::uint32_t i = 0; i != n; ++i) {
      entries[i].hash = items[i].hash;
      entries[i].operation = items[i].operation;
    }
  }

  // By the highest bits of their hashes, in place, into as many parts as there are entries (American flag sort: McIlroy,
  // Bostic and McIlroy, 1993); then each part: an entry or two, as hashes are seeded in secret, but for what is of one key.
  [[gnu::noinline]] void sort_many(BatchEntry* entries, std::uint32_t n) const noexcept {
    const unsigned bits = std::min(12u, static_cast<unsigned>(std::bit_width(n - 1)));
    const std::uint32_t parts = 1u << bits;
    std::uint16_t next[1u << 12], end[1u << 12];
    const auto part_of = [&](std::uint64_t hash) { return static_cast<std::uint32_t>(hash >> (64 - bits)); };
    std::fill_n(end, parts, std::uint16_t{0});
    for (std::uint32_t i = 0; i != n; ++i) ++end[part_of(entries[i].hash)];
    std::uint16_t sum = 0;
    for (std::uint32_t p = 0; p != parts; ++p) {
      next[p] = sum;
      end[p] = sum = static_cast<std::uint16_t>(sum + end[p]);
    }
    for (std::uint32_t p = 0; p != parts; ++p) {
      while (next[p] != end[p]) {
        BatchEntry& here = entries[next[p]];
        std::uint64_t hash = here.hash;
        std::uint32_t operation = here.operation;
        for (std::uint32_t q; (q = part_of(hash)) != p;) {
          BatchEntry& there = entries[next[q]++];
          std::swap(there.hash, hash);
          std::swap(there.operation, operation);
        }
        here.hash = hash;
        here.operation = operation;
        ++next[p];
      }
    }
    std::uint32_t first = 0;
    for (std::uint32_t p = 0; p != parts; first = end[p++]) {
      if (end[p] - first < 2) continue;
      std::sort(entries + first, entries + end[p], [&](const BatchEntry& a, const BatchEntry& b) {
        return a.hash != b.hash ? a.hash < b.hash : comes_before(a.operation, b.operation);
      });
    }
  }

  // Entries of one key become one: the operation of the last write, or the first of those that only ask.
  void merge() noexcept {
    BatchEntry* const entries = d_->entries();
    const std::uint32_t n = d_->count;
    std::uint32_t out = 0;
    BatchOperation op;
    for (std::uint32_t i = 0; i != n;) {
      BatchEntry whole = entries[i];
      whole.first_condition_or_slot = next_condition_;
      const std::string_view key = ops_.key(whole.operation);
      bool writes = false;
      do {
        const std::uint32_t operation = entries[i].operation;
        if (ops_.plain(operation)) {
          whole.operation = operation;
          writes = true;
          continue;
        }
        ops_.read(operation, op);
        if (op.kind == BatchOperation::Kind::kRequire) {
          require(operation, op.require, op.negated, op.version, op.value);
          continue;
        }
        if (op.kind == BatchOperation::Kind::kSet) {
          if (op.terms.if_absent) require(operation, BatchCondition::Kind::kAbsent, false, 0, {});
          if (op.terms.if_present) require(operation, BatchCondition::Kind::kPresent, false, 0, {});
          if (op.terms.if_version) require(operation, BatchCondition::Kind::kVersion, false, *op.terms.if_version, {});
        }
        whole.operation = operation;
        writes = true;
      } while (++i != n && entries[i].hash == whole.hash && ops_.key(entries[i].operation) == key);
      if (writes && !ops_.plain(whole.operation)) {
        ops_.read(whole.operation, op);
        if (op.kind == BatchOperation::Kind::kSet && op.terms.keep_metadata) require(whole.operation, BatchCondition::Kind::kAbsent, false, 0, {});
      }
      whole.condition_count = static_cast<std::uint16_t>(next_condition_ - whole.first_condition_or_slot);
      // Marks, until it is built, that it only asks.
      whole.record = writes ? 0 : 1;
      entries[out++] = whole;
    }
    d_->count = out;
  }
  void require(std::uint32_t operation, BatchCondition::Kind kind, bool negated, std::uint64_t version,
               std::string_view value) noexcept {
    BatchCondition* c = new (d_->conditions() + next_condition_++) BatchCondition;
    c->operation = operation;
    c->kind = kind;
    c->negated = negated;
    c->version_or_size = version;
    if (kind != BatchCondition::Kind::kValue) return;
    c->version_or_size = value.size();
    c->value_at = next_value_at_;
    if (!value.empty()) std::memcpy(reinterpret_cast<char*>(d_) + next_value_at_, value.data(), value.size());
    next_value_at_ += value.size();
  }

  // False: no room for one of the records; then there are none.
  bool build() noexcept {
    const std::uint64_t where = d_->offset(space_);
    const auto gen = static_cast<std::uint8_t>(Insertion<Sync>::next_random(thread_));
    BatchOperation op;
    for (std::uint32_t i = 0; i != d_->count; ++i) {
      BatchEntry& e = d_->entries()[i];
      e.gen = (gen + i) & 63;
      const bool only_asks = std::exchange(e.record, 0) != 0;
      const bool plain = ops_.plain(e.operation);
      if (plain) [[likely]] {
        ops_.read_plain(e.operation, op.kind, op.value);
      } else {
        ops_.read(e.operation, op);
      }
      const std::string_view key = ops_.key(e.operation);
      const std::uint64_t bytes = kRecordHeaderBytes + key.size() + op.value.size();
      bytes_ += bytes;
      const bool sets = !only_asks && op.kind == BatchOperation::Kind::kSet;
      if (plain && sets && build_at_hand(e, key, op.value, where)) [[likely]] continue;
      const auto make = [&] { return !sets ? build_tomb(key, false) : plain ? build_plain(key, op.value) : build_value(e, key, op); };
      // Evictions, which make the room, need the reserve: it comes last.
      const bool removes = !sets && !only_asks;
      e.record = removes && takes_reserve_ ? make() : with_room(bytes, make);
      if (e.record == 0 && removes) {
        takes_reserve_ = true;
        e.record = build_tomb(key, true);
      }
      if (e.record == 0) {
        d_->count = i;
        drop();
        return false;
      }
      Rec& r = *space_.record(e.record);
      const Stamp s = r.stamp_word();
      r.w0.store(s.with_flags(sets ? 0 : Stamp::kTomb | (only_asks ? Stamp::kAbsent : 0)).in_batch(where).word(),
                 std::memory_order_relaxed);  // [publish] comes with its install
    }
    return true;
  }

  // An ordinary record, in a block that the thread has. False: it is none, or there is no such block.
  [[gnu::always_inline]] bool build_at_hand(BatchEntry& e, std::string_view key, std::string_view value, std::uint64_t where) noexcept {
    if (d_->is_named || key.size() > kShortKeyMax || value.size() > Space<Sync>::kShortWayBytesMax) [[unlikely]] return false;
    const std::size_t bytes = space_.plain_bytes(key.size(), value.size());
    std::uint64_t at = space_.heap.allocate_at_hand(thread_.cache, bytes);
    if (at == 0 && space_.epoch.take_back(space_, thread_)) [[unlikely]] at = space_.heap.allocate_at_hand(thread_.cache, bytes);
    if (at == 0) [[unlikely]] return false;
    e.record = at;
    Rec& r = *new (space_.heap.at(at)) Rec;
    r.w0.store(Stamp::pending(0, static_cast<std::uint8_t>(key.size())).in_batch(where).word(),
               std::memory_order_relaxed);                                        // [publish] comes with its install
    r.link.store(Link::first(value.size()).word(), std::memory_order_relaxed);    // [publish] as above
    r.meta.store(space_.birth_meta, std::memory_order_relaxed);                   // [publish] as above
    char* const to = r.bytes() + kRecordHeaderBytes;
    Sync::plain_write(to, key.size() + value.size());
    copy(to, key);
    copy(to + key.size(), value);
    return true;
  }
  // The sizes of most keys and values without a call.
  [[gnu::always_inline]] static void copy(char* to, std::string_view from) noexcept {
    if (from.size() - 16 <= 16) {
      simd::copy_one_or_two_blocks(to, from.data(), from.size());
    } else if (from.size() - 33 <= 31) {
      simd::copy_blocks(to, from.data(), from.size());
    } else if (!from.empty()) {
      simd::copy_bytes(to, from.data(), from.size());
    }
  }

  std::uint64_t build_plain(std::string_view key, std::string_view value) noexcept {
    typename Space<Sync>::Spec spec{key, value.size()};
    spec.has_word = d_->is_named;
    const auto built = space_.build(thread_, spec);
    if (built.offset != 0 && !value.empty()) simd::copy_bytes(built.value, value.data(), value.size());
    return built.offset;
  }
  std::uint64_t build_value(BatchEntry& e, std::string_view key, const BatchOperation& op) noexcept {
    const SetTerms& terms = op.terms;
    typename Space<Sync>::Spec spec{key, op.value.size(), terms.has_deadline, terms.deadline_ms, false, terms.keep, terms.span, terms.tags};
    spec.has_word = d_->is_named;
    e.keeps_lifetime = terms.keep_deadline;
    TagBlock block;
    if (terms.keep_deadline || terms.keep_metadata) {
      const Guard<Sync> guard(space_, thread_);
      const Head<Sync> h = core_.head(e.hash, key);
      if (terms.keep_deadline) {
        spec.has_deadline = true;
        spec.deadline_ms = 0;  // Deadline::kUnset
        spec.span = h.present && h.has_deadline ? h.span : Span();
      }
      if (terms.keep_metadata) {
        block.set_metadata(terms.tags, h.present ? space_.metadata_of(*h.record, h.stamp) : std::string_view{});
        spec.tags = block.block();
        // They are those of this version, or of none.
        BatchCondition& same = d_->conditions()[e.first_condition_or_slot + e.condition_count - 1];
        same.is_of_kept = true;
        same.kind = h.present ? BatchCondition::Kind::kVersion : BatchCondition::Kind::kAbsent;
        same.version_or_size = h.version;
      }
    }
    const auto built = space_.build(thread_, spec);
    if (built.offset == 0) return 0;
    if (!op.value.empty()) simd::copy_bytes(built.value, op.value.data(), op.value.size());
    if (terms.has_deadline) {
      auto& x = space_.record(built.offset)->x();
      const Deadline born(x.load(std::memory_order_relaxed));  // nobody else sees it
      x.store(born.with_ticket(Tickets<Sync>::new_number(thread_)).word(), std::memory_order_relaxed);  // as above
    }
    return built.offset;
  }
  // A removal, or an entry that only asks; `removes`: of the reserve, too. A long key lies in the record itself: what it will replace isn't known yet.
  std::uint64_t build_tomb(std::string_view key, bool removes) noexcept {
    if (key.size() <= kShortKeyMax && !d_->is_named) return space_.build_tomb(thread_, key, 0, removes);
    typename Space<Sync>::Spec spec{key};
    spec.has_word = d_->is_named;
    return space_.build(thread_, spec).offset;
  }

  // What was not run is nobody else's.
  void drop() noexcept {
    for (std::uint32_t i = 0; i != d_->count; ++i) space_.discard(thread_, d_->entries()[i].record);
    space_.discard(thread_, d_->home);
  }

  static constexpr std::uint32_t kFewMax = 16;  // past it a sort by insertion takes longer than std::sort
  static constexpr char kKey[8] = {};  // a descriptor's home needs one; what follows it is then aligned
  static constexpr std::uint64_t kValueMax = std::uint64_t{1} << 31;

  Core<Sync>& core_;
  Space<Sync>& space_;
  Thr& thread_;
  Ops& ops_;
  Descriptor* d_ = nullptr;
  std::uint64_t next_value_at_ = 0;
  std::uint32_t next_condition_ = 0;
  std::uint64_t bytes_ = 0;  // of everything
  bool takes_reserve_ = false;  // there was no other room for a removal
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_BATCH_WRITER_H_
