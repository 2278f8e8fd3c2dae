// The way of almost every read, single and in groups, compiled once for each instruction set: see simd/targets.h.
// reads.h says who includes this and what for. No include guard: each inclusion is another namespace TERN_TARGET.
//
// A read is on this way while it meets what is ordinary: a key of up to kFastKeyMax bytes, the first match in its home
// bucket or in the overflow bucket behind it, a record that is stamped, of short key and without flags, a value of up to kFastValueMax bytes. What isn't so
// is left, undecided, to Core::copy or Core::head, which know every case. So there is no call in here that returns, and
// few instructions: the processor's window bounds the number of reads whose cache misses overlap. (That counts once a
// copy doesn't wait for its length any more: see copy_from.)
//
// No lambda and no function of another file that isn't marked to be inlined: it would be the baseline's code.

namespace tern::detail::TERN_TARGET {

// What copy_plain answers instead of a value's size.
inline constexpr std::uint64_t kNoMatch = kUndecided - 1;
inline constexpr std::uint64_t kUncounted = kUndecided - 2;
inline constexpr std::uint64_t kOtherLength = kUndecided - 3;

// Values that are copied in blocks that overlap.
inline constexpr std::uint64_t kBlocksMin = 33;
inline constexpr std::uint64_t kBlocksMax = 64;

// The slots of a bucket that hold a current record (LIVE or FROZEN) of this hash's tag. A filter: a word is loaded again
// before it is believed. See simd/tag_match.h for why plain loads will do.
template <class Sync>
[[gnu::always_inline]] inline unsigned match_current(const Bucket<Sync>& b, std::uint64_t hash) noexcept {
#if TERN_TARGET_LEVEL >= TERN_LEVEL_AVX2
  return simd::TERN_TARGET::match_words<SlotWord::kCurrentShift>(b, SlotWord::current_of_hash(hash)) & ((1U << kSlots) - 1U);
#else
  return b.matches(tag_of(hash));
#endif
}

// Copies 33 to 64 bytes, the values of most caches.
[[gnu::always_inline]] inline void copy_blocks(char* to, const char* from, std::size_t n) noexcept {
#if TERN_TARGET_LEVEL >= TERN_LEVEL_AVX512
  simd::TERN_TARGET::copy_blocks(to, from, n);
#else
  simd::copy_blocks(to, from, n);
#endif
}

// Copies `n` bytes if they are at most kFastValueMax; else false.
[[gnu::always_inline]] inline bool copy_value(char* to, const char* from, std::size_t n) noexcept {
  static_assert(kFastValueMax == 128, "as far as simd::copy_bytes goes without a call");
  if (n - kBlocksMin <= kBlocksMax - kBlocksMin) [[likely]] {
    copy_blocks(to, from, n);
    return true;
  }
  if (n > kFastValueMax) [[unlikely]] return false;
  simd::copy_bytes(to, from, n);
  return true;
}

// The bucket that a key lives in.
template <class Sync>
[[gnu::always_inline]] inline Bucket<Sync>& home_of(const Geometry<Sync>& g, std::uint64_t hash) noexcept {
  const ShardHead<Sync>& s = head_at(g, hash);
  const std::uint32_t home = Table<Sync>::size_of(s).home(hash);
#if TERN_TARGET_LEVEL >= TERN_LEVEL_AVX512
  return *reinterpret_cast<Bucket<Sync>*>(s.first + simd::TERN_TARGET::deposit(home, g.bucket_bits));
#else
  return bucket_at(g, s, home);
#endif
}

// Keys of 16 to 32 bytes, the others: what is known of the length saves a dozen instructions of a get.
enum class KeySize : std::uint8_t { kOneOrTwoBlocks, kAny };
[[gnu::always_inline]] inline bool is_one_or_two_blocks(std::size_t n) noexcept { return n - 16 <= 16; }

template <KeySize kSize>
[[gnu::always_inline]] inline bool same_key(const char* a, std::string_view key) noexcept {
  if constexpr (kSize == KeySize::kAny) return simd::key_equal(a, key.data(), key.size());
#if TERN_TARGET_LEVEL >= TERN_LEVEL_AVX512
  return simd::TERN_TARGET::blocks_equal(a, key.data(), key.size());
#else
  return simd::blocks_equal(a, key.data(), key.size());
#endif
}

// Whether a key that had no match in its home surely isn't there. Looks at everything once more, in the order that
// makes a miss true: the control word before the slots (after them, it could call a bucket ready that was empty when
// looked at), and N last. All of it is in the first cache level by now, and a hit has kept nothing of it in registers.
// Needs no guard: it looks at buckets alone, which are never freed.
template <class Sync>
[[gnu::always_inline]] inline bool is_missing(const Geometry<Sync>& g, std::uint64_t hash) noexcept {
  using Tbl = Table<Sync>;
  const ShardHead<Sync>& s = head_at(g, hash);
  const std::uint16_t tag = tag_of(hash);
  const ShardSize size = Tbl::size_of(s);
  const Bucket<Sync>& b = bucket_at(g, s, size.home(hash));
  const Ctl c = b.control();
  if (match_current(b, hash) != 0 || !c.ready() || c.may_overflow(tag)) [[unlikely]] return false;
  Sync::point("find.missed");
  return Tbl::size_of(s) == size;
}

// Eviction counts the reads of a record by a compare-and-swap. Made at once it would wait for the record's line, and all
// loads of the gets behind it would wait for the swap: 500 ns a get instead of 220 (a million entries, Sapphire Rapids). So a
// thread notes which slot it found and what was in it, and counts sixteen hits at a time, by when the lines are there.
// Of what the records' counts were it keeps the conjunction: whether all are full is what it asks. Answers `n`, or that it
// is time to count.
template <class Sync>
[[gnu::always_inline]] inline std::uint64_t hit(Thread<Sync>& t, const Record<Sync>& r, std::uint64_t n) noexcept {
  const std::uint64_t hits = t.short_hits.get() + 1;
  if (planted<Sync>(Mutant::kHitsAsTheLast)) t.hits_meta = ~std::uint64_t{0};
  t.hits_meta &= r.meta.load(std::memory_order_relaxed);  // a count, see Core::note_hit
  t.short_hits.set(hits);
  if (hits % kHitsACount == 0) [[unlikely]] {
    t.hit_length = n;
    return kUncounted;
  }
  Epoch<Sync>::leave_last(t.epoch);
  return n;
}

template <class Sync>
[[gnu::always_inline]] inline std::uint64_t leave_with(Thread<Sync>& t, std::uint64_t answer) noexcept {
  Epoch<Sync>::leave_last(t.epoch);
  return answer;
}

// From the bucket on, inside the guard. See copy_plain.
template <KeySize kSize, class Sync>
[[gnu::always_inline]] inline std::uint64_t copy_from(Thread<Sync>& t, const Bucket<Sync>& b, std::uint64_t hash,
                                                      std::string_view key, char* out, std::uint64_t size_max) noexcept {
  const unsigned m = match_current(b, hash);
  if (m == 0) [[unlikely]] return leave_with(t, kNoMatch);
  const auto i = static_cast<unsigned>(std::countr_zero(m));
  const SlotWord w = b.at(i);
  if (!w.is_current_of_hash(hash)) [[unlikely]] return leave_with(t, kUndecided);
  const std::uint64_t at = t.short_hits.get() % kHitsACount;
  t.hit_slot[at] = &b.slot[planted<Sync>(Mutant::kHitNotedBeside) ? (i + 1) % kSlots : i];
  t.hit_hash[at] = hash;
  const Record<Sync>* const r = t.geometry.template at<Record<Sync>>(w.offset());
  // Half of all records of a hundred bytes lie on three lines. The last would be asked for only when the first
  // has told the value's length: a third miss after the second.
  prefetch_near(r->bytes() + 64);
  prefetch_near(r->bytes() + 127);
  if (!r->stamp_word().plain_with_key(key.size())) [[unlikely]] return leave_with(t, kUndecided);
  const char* const own = r->bytes() + kRecordHeaderBytes;
  Sync::plain_read(own, key.size());
  if (!same_key<kSize>(own, key)) [[unlikely]] return leave_with(t, kUndecided);
  // With addresses that come from a length still on its way, the stores of a copy hold up the loads of the calls behind
  // it: 180 ns a get instead of 135 (a million entries, Zen 4). A compare that is foreseen breaks the dependence.
  // (With a type, or in a link that is closed, the word isn't the length alone: to the other way, too.)
  std::uint64_t n = t.expected_length;
  if (r->link_word().word() >> Link::kLengthShift != n || n > size_max) [[unlikely]] {
    t.other_length = w.offset();
    return kOtherLength;
  }
  __asm__("" : "+r"(n));  // else the compiler, which knows them to be equal, may go on with either
  if (n < kBlocksMin || n > kBlocksMax) __builtin_unreachable();
  Sync::plain_read(own + key.size(), n);
  copy_blocks(out, own + key.size(), n);
  return hit(t, *r, n);
}

// The value's size, copied to `out` if it is at most `size_max`. The thread is outside of any guard, and is so again, but for:
//   kOtherLength  the key is there, its value isn't of the expected length: copy_other has the rest
//   kUncounted    copied, and it is time to count hits: count_hits has the rest
// kNoMatch: ask is_missing. Else kUndecided.
template <KeySize kSize, class Sync>
[[gnu::always_inline]] inline std::uint64_t copy_plain(Thread<Sync>& t, std::uint64_t hash, std::string_view key,
                                                       char* out, std::uint64_t size_max) noexcept {
  const Geometry<Sync>& g = t.geometry;
  const EpochLine<Sync>& line = *g.epoch;
  Epoch<Sync>::enter_first(t.epoch, line);
  if (line.points.load(std::memory_order_seq_cst) != 0) [[unlikely]] {  // [point] seq_cst: what is found may be dead
    return leave_with(t, kUndecided);
  }
  return copy_from<kSize>(t, home_of(g, hash), hash, key, out, size_max);
}

// The same from the overflow bucket of a home that is known not to have the key.
template <class Sync>
[[gnu::always_inline]] inline std::uint64_t copy_overflowed(Thread<Sync>& t, std::uint64_t hash, std::string_view key,
                                                            char* out, std::uint64_t size_max) noexcept {
  const Geometry<Sync>& g = t.geometry;
  const EpochLine<Sync>& line = *g.epoch;
  Epoch<Sync>::enter_first(t.epoch, line);
  if (line.points.load(std::memory_order_seq_cst) != 0) [[unlikely]] return leave_with(t, kUndecided);  // [point] seq_cst
  const Ctl c = home_of(g, hash).control();
  if (c.overflow() == 0) [[unlikely]] return leave_with(t, kUndecided);
  return copy_from<KeySize::kAny>(t, *g.template at<Bucket<Sync>>(c.overflow()), hash, key, out, size_max);
}

// What copy_plain left after kOtherLength: any length up to kFastValueMax. The expected one is what this thread has met
// twice in a row.
template <class Sync>
[[gnu::always_inline]] inline std::uint64_t copy_other(Thread<Sync>& t, std::string_view key, char* out,
                                                       std::uint64_t size_max) noexcept {
  const Record<Sync>* const r = t.geometry.template at<Record<Sync>>(t.other_length);
  const std::uint64_t n = r->link_word().length18();
  if (n == t.last_length && n - kBlocksMin <= kBlocksMax - kBlocksMin) t.expected_length = n;
  t.last_length = n;
  const char* const value = r->bytes() + kRecordHeaderBytes + key.size();
  Sync::plain_read(value, n);
  if (n > size_max || !copy_value(out, value, n)) [[unlikely]] return leave_with(t, kUndecided);
  return hit(t, *r, n);
}

// What copy_plain left: answers the value's size.
template <class Sync>
[[gnu::always_inline]] inline std::uint64_t count_hits(Core<Sync>& core, Thread<Sync>& t) noexcept {
  core.eviction.count_hits(t);
  Epoch<Sync>::leave_last(t.epoch);
  return t.hit_length;
}

// --- groups ------------------------------------------------------------------------------------------------------

// One key on its way: the bucket first, then what its slot said.
template <class Sync>
struct GroupCells {
  std::uint64_t hash[kGroupKeys];
  const Bucket<Sync>* bucket[kGroupKeys];
  std::uint64_t size[kGroupKeys];       // N when the home was computed
  std::uint64_t candidate[kGroupKeys];  // offset of the record that may be the key's, or:
  std::uint8_t late[kGroupKeys];        // indexes of what isn't ordinary
  static constexpr std::uint64_t kNone = 0;  // surely not there
  static constexpr std::uint64_t kLate = 1;
};

template <class Sync>
[[gnu::always_inline]] inline void locate_bucket(const Table<Sync>& table, unsigned i, GroupCells<Sync>& cells) noexcept {
  const ShardHead<Sync>& s = table.head_of(cells.hash[i]);
  const ShardSize n = Table<Sync>::size_of(s);
  cells.size[i] = n.word();
  cells.bucket[i] = &table.bucket(s, n.home(cells.hash[i]));
}

// The same for those from `from` to before `to`, as home_of has it. Behind each load of N a compiler would read the geometry again.
template <class Sync>
[[gnu::always_inline]] inline void locate_buckets(const Geometry<Sync>& g, unsigned from, unsigned to, GroupCells<Sync>& cells) noexcept {
  const auto* const heads = reinterpret_cast<const std::byte*>(g.heads);
  const unsigned shift = g.head_shift;
  const std::uint64_t mask = g.head_mask, chunk = g.chunk_of_row, others = g.other_shards;
  for (unsigned i = from; i != to; ++i) {
    const std::uint64_t hash = cells.hash[i];
    const auto& s = *reinterpret_cast<const ShardHead<Sync>*>(heads + (hash >> shift & mask));
    const ShardSize n = Table<Sync>::size_of(s);
    const std::uint64_t at = std::uint64_t{n.home(hash)} << 6;
    cells.size[i] = n.word();
    cells.bucket[i] = reinterpret_cast<const Bucket<Sync>*>(s.first + at + (at & chunk) * others);
  }
}

template <class Sync>
[[gnu::always_inline]] inline void fetch_bucket(const Table<Sync>& table, unsigned i, GroupCells<Sync>& cells) noexcept {
  locate_bucket(table, i, cells);
  prefetch_second_level(cells.bucket[i]);
}

template <class Sync>
[[gnu::always_inline]] inline void fetch_buckets(const Table<Sync>& table, unsigned count,
                                                 GroupCells<Sync>& cells) noexcept {
  for (unsigned i = 0; i != count; ++i) fetch_bucket(table, i, cells);
}

// All lines of a block, which end-to-end is on three at most in almost every store. Asking twice for one line costs
// less than a branch that can't be foreseen; a third line that isn't fetched costs a third of the rate.
template <class Sync>
[[gnu::always_inline]] inline void fetch_block(const Space<Sync>& space, std::uint64_t offset) noexcept {
  const char* const at = space.heap.template at<char>(offset);
  const std::size_t bytes = space.heap.block_bytes(offset);
  prefetch_second_level(at);
  prefetch_second_level(at + 64);
  prefetch_second_level(at + bytes - 1);
  if (bytes > 192) [[unlikely]] prefetch_second_level(at + 128);
}

// The record that the key's tag leads to in its home bucket. False: neither there nor surely missing; its overflow bucket is on its way.
template <class Sync>
[[gnu::always_inline]] inline bool locate_record(const Table<Sync>& table, unsigned i, GroupCells<Sync>& cells) noexcept {
  using Tbl = Table<Sync>;
  const Bucket<Sync>& b = *cells.bucket[i];
  const Ctl c = b.control();  // before the slots, as in find_plain
  const unsigned m = match_current(b, cells.hash[i]);
  std::uint64_t candidate = GroupCells<Sync>::kLate;
  if (m != 0) [[likely]] {
    const SlotWord w = b.at(static_cast<unsigned>(std::countr_zero(m)));
    if (w.is_current_of_hash(cells.hash[i])) [[likely]] candidate = w.offset();
  } else if (c.ready() && !c.may_overflow(tag_of(cells.hash[i])) &&
             Tbl::size_of(table.head_of(cells.hash[i])).word() == cells.size[i]) {
    candidate = GroupCells<Sync>::kNone;
  }
  cells.candidate[i] = candidate;
  if (candidate == GroupCells<Sync>::kLate) [[unlikely]] {
    if (c.overflow() != 0) prefetch_second_level(table.overflow(c));
    return false;
  }
  return true;
}

// How many keys' lines are asked for one right behind the other. A prefetch isn't done, nor what comes behind it, until its page is
// found, and each instruction between two of them leaves room for fewer such searches in the processor's window.
inline constexpr unsigned kTogether = 8;

// Key i of `count` was located: asks for the records of those since the last time, if it is time.
template <class Sync>
[[gnu::always_inline]] inline void fetch_in_turn(const Space<Sync>& space, unsigned i, unsigned count,
                                                 const GroupCells<Sync>& cells) noexcept {
  const unsigned before = i % kTogether;
  if (before + 1 != kTogether && i + 1 != count) return;
  for (unsigned n = i - before; n <= i; ++n) {
    if (cells.candidate[n] > GroupCells<Sync>::kLate) [[likely]] fetch_block(space, cells.candidate[n]);
  }
}

// The record that the tag leads to in the overflow bucket; 0: none. Of one key in twenty-five, whose record is so on its way with
// the others' (alone, at the end, these cost a third of the group's time).
template <class Sync>
[[gnu::always_inline]] inline std::uint64_t fetch_overflowed(const Table<Sync>& table, unsigned i,
                                                             const GroupCells<Sync>& cells) noexcept {
  const Bucket<Sync>* const b = table.overflow(cells.bucket[i]->control());
  const unsigned m = b != nullptr ? match_current(*b, cells.hash[i]) : 0;
  if (m == 0) return 0;
  const SlotWord w = b->at(static_cast<unsigned>(std::countr_zero(m)));
  if (!w.is_current_of_hash(cells.hash[i])) return 0;
  fetch_block(table.space(), w.offset());
  return w.offset();
}

// Answers how many are in `late`.
template <class Sync>
[[gnu::always_inline]] inline unsigned fetch_records(const Table<Sync>& table, unsigned count,
                                                     GroupCells<Sync>& cells) noexcept {
  unsigned late_count = 0;
  for (unsigned i = 0; i != count; ++i) {
    if (!locate_record(table, i, cells)) [[unlikely]] cells.late[late_count++] = static_cast<std::uint8_t>(i);
    fetch_in_turn(table.space(), i, count, cells);
  }
  unsigned still_late = 0;
  for (unsigned n = 0; n != late_count; ++n) {
    const unsigned i = cells.late[n];
    if (const std::uint64_t found = fetch_overflowed(table, i, cells); found != 0) {
      cells.candidate[i] = found;
    } else {
      cells.late[still_late++] = static_cast<std::uint8_t>(i);
    }
  }
  return still_late;
}

// While records may be dead where they lie (points.h): each takes the way of a single call.
template <class Sync>
inline unsigned all_late(unsigned count, GroupCells<Sync>& cells) noexcept {
  for (unsigned i = 0; i != count; ++i) {
    cells.candidate[i] = GroupCells<Sync>::kLate;
    cells.late[i] = static_cast<std::uint8_t>(i);
  }
  return count;
}

// The record of a candidate if it is the key's and ordinary.
template <class Sync>
[[gnu::always_inline]] inline const Record<Sync>* confirm(const Space<Sync>& space, std::uint64_t candidate,
                                                          std::string_view key) noexcept {
  const Record<Sync>* const r = space.record(candidate);
  if (key.size() > kFastKeyMax || !r->stamp_word().plain_with_key(key.size())) [[unlikely]] return nullptr;
  Sync::plain_read(r->bytes() + kRecordHeaderBytes, key.size());
  const char* const own = r->bytes() + kRecordHeaderBytes;
  if (is_one_or_two_blocks(key.size())) [[likely]] return same_key<KeySize::kOneOrTwoBlocks>(own, key) ? r : nullptr;
  return same_key<KeySize::kAny>(own, key) ? r : nullptr;
}

// How many records are asked for ahead of the one that is looked at: memory has work meanwhile, and no fewer lines are on their
// way than it serves at once (16 are a third slower where a table is far larger than the caches).
inline constexpr unsigned kTakenBehind = 32;

// Up to 64 keys, whose hashes `cells` has, inside a guard: take(i, record) for each that is found on the way of almost every read,
// miss(i) for each that is surely not there; then other(i) for the rest, and for what `take` answers with false.
template <class Sync, class Take, class Miss, class Other>
[[gnu::always_inline]] inline void read_group(Core<Sync>& core, Thread<Sync>& t, const std::string_view* keys, unsigned count,
                                              GroupCells<Sync>& cells, Take&& take, Miss&& miss, Other&& other) noexcept {
  const bool plain = !core.space.has_points();
  unsigned late_count = plain ? 0 : all_late(count, cells);
  std::uint64_t hits = 0;
  if (plain) [[likely]] fetch_buckets(core.table, count, cells);
  for (unsigned turn = 0; plain && turn != count + kTakenBehind; ++turn) {
    if (turn < count) {
      if (!locate_record(core.table, turn, cells)) [[unlikely]] cells.late[late_count++] = static_cast<std::uint8_t>(turn);
      fetch_in_turn(core.space, turn, count, cells);
    }
    for (unsigned n = 0; turn + 1 == count && n != late_count; ++n) (void)fetch_overflowed(core.table, cells.late[n], cells);
    const unsigned i = turn - kTakenBehind;
    if (i >= count) continue;
    const std::uint64_t candidate = cells.candidate[i];
    if (candidate <= GroupCells<Sync>::kLate) [[unlikely]] {
      if (candidate == GroupCells<Sync>::kNone) miss(i);
      continue;
    }
    const Record<Sync>* const r = confirm(core.space, candidate, keys[i]);
    if (r == nullptr || !take(i, *r)) [[unlikely]] {
      cells.late[late_count++] = static_cast<std::uint8_t>(i);
      continue;
    }
    core.note_hit(t, *r, cells.hash[i]);
    ++hits;
  }
  t.counters.hits.add(hits);
  t.counters.misses.add(count - hits - late_count);
  for (unsigned n = 0; n != late_count; ++n) other(static_cast<unsigned>(cells.late[n]));
}

#if defined(TERN_READS_DISPATCHED)

// Up to 64 keys of a get_many into memory of the caller: value i to out + i * stride if it fits.
inline void get_group(StoreCore& store, Thread<StdSync>& t, const std::string_view* keys, unsigned count, char* out,
                      std::size_t stride, Lookup<std::size_t>* answers) noexcept {
  Core<StdSync>& core = store.core;
  GroupCells<StdSync> cells;
  simd::hash_batch(keys, count, core.space.geometry.hash_keys, cells.hash);
  core.space.epoch.enter(t.epoch);
  read_group(
      core, t, keys, count, cells,
      [&](unsigned i, const Record<StdSync>& r) {
        const std::uint64_t n = r.link_word().length18();
        if (n > stride || !copy_value(out + i * stride, r.bytes() + kRecordHeaderBytes + keys[i].size(), n)) [[unlikely]] return false;
        answers[i] = static_cast<std::size_t>(n);
        return true;
      },
      [&](unsigned i) { answers[i] = Call::miss_or_bad(keys[i]); },
      [&](unsigned i) { answers[i] = get_late(store, t, cells.hash[i], keys[i], out + i * stride, stride); });
  core.space.epoch.leave(t.epoch);
}

// These take their arguments in the order of get(), so that a jump passes them on in the registers where they are.
[[gnu::noinline]] inline Answer get_uncounted(Context c) noexcept {
  return count_hits(c.core->core, *reinterpret_cast<Thread<StdSync>*>(c.thread));
}

[[gnu::noinline]] inline Answer get_other(Context c, std::string_view key, char* out, std::size_t out_size) noexcept {
  const std::uint64_t n = copy_other(*reinterpret_cast<Thread<StdSync>*>(c.thread), key, out, out_size);
  if (n <= kFastValueMax) [[likely]] return n;
  return n == kUncounted ? get_uncounted(c) : get_any_answer(c, key, out, out_size);
}

[[gnu::noinline]] inline Answer get_unmatched(Context c, std::string_view key, char* out, std::size_t out_size) noexcept {
  auto* const t = reinterpret_cast<Thread<StdSync>*>(c.thread);
  if (is_missing(t->geometry, t->unmatched_hash)) [[likely]] {
    t->counters.misses.add();
    return kMissAnswer;
  }
  // One key in twenty-five lies in an overflow bucket.
  const std::uint64_t n = copy_overflowed(*t, t->unmatched_hash, key, out, out_size);
  if (n <= kFastValueMax) [[likely]] return n;
  if (n == kUncounted) return get_uncounted(c);
  if (n == kOtherLength) return get_other(c, key, out, out_size);
  return get_any_answer(c, key, out, out_size);
}

template <KeySize kSize>
[[gnu::always_inline]] inline Answer get_as(Context c, std::string_view key, std::uint64_t hash, char* out,
                                                         std::size_t out_size) noexcept {
  auto* const t = reinterpret_cast<Thread<StdSync>*>(c.thread);
  const std::uint64_t size = copy_plain<kSize>(*t, hash, key, out, out_size);
  if (size <= kFastValueMax) [[likely]] return size;
  if (size == kUncounted) return get_uncounted(c);
  if (size == kOtherLength) return get_other(c, key, out, out_size);
  if (size == kNoMatch) {
    t->unmatched_hash = hash;
    return get_unmatched(c, key, out, out_size);
  }
  return get_any_answer(c, key, out, out_size);
}

[[gnu::noinline]] inline Answer get_of_any_size(Context c, std::string_view key, char* out,
                                                             std::size_t out_size) noexcept {
  if (key.size() - 1 >= kFastKeyMax || is_named(key)) [[unlikely]] return get_any_answer(c, key, out, out_size);
  auto* const t = reinterpret_cast<Thread<StdSync>*>(c.thread);
  return get_as<KeySize::kAny>(c, key, simd::hash_bytes(key.data(), key.size(), t->geometry.hash_keys), out, out_size);
}

// Asks for the key's bucket, and for the record of the key that was prepared kPreparedAhead calls ago, whose bucket should be there
// by now: so a get that comes four calls later waits for neither. Needs no guard: what is asked for isn't looked at.
inline std::uint64_t prepare(Context c, std::string_view key) noexcept {
  if (c.core == nullptr || !c.core->short_ways_open() || key.size() - 1 >= kFastKeyMax || is_named(key)) [[unlikely]] {
    return prepare_any(c, key);
  }
  auto* const t = c.core->known_thread(c);
  if (t == nullptr) [[unlikely]] return prepare_any(c, key);
  const Geometry<StdSync>& g = t->geometry;
  const std::uint64_t hash = is_one_or_two_blocks(key.size()) ? simd::hash_blocks(key.data(), key.size(), g.hash_keys)
                                                              : simd::hash_bytes(key.data(), key.size(), g.hash_keys);
  prefetch_near(&home_of(g, hash));
  const unsigned at = t->prepared_at;
  const std::uint64_t before = std::exchange(t->prepared[at], hash);
  t->prepared_at = (at + 1) % kPreparedAhead;
  const Bucket<StdSync>& b = home_of(g, before);
  const unsigned m = match_current(b, before);
  if (m != 0) [[likely]] {
    const char* const record = g.template at<char>(b.at(static_cast<unsigned>(std::countr_zero(m))).offset());
    prefetch_near(record);
    prefetch_near(record + 64);
  }
  return hash;
}

inline Answer get(Context c, std::string_view key, char* out, std::size_t out_size) noexcept {
  if (!may_be_plain(c)) [[unlikely]] return get_any_answer(c, key, out, out_size);
  if (!is_one_or_two_blocks(key.size())) return get_of_any_size(c, key, out, out_size);
  if (is_named(key)) [[unlikely]] return get_any_answer(c, key, out, out_size);
  const auto& keys = reinterpret_cast<Thread<StdSync>*>(c.thread)->geometry.hash_keys;
  return get_as<KeySize::kOneOrTwoBlocks>(c, key, simd::hash_blocks(key.data(), key.size(), keys), out, out_size);
}

inline Answer get_token(Context c, std::string_view key, std::uint64_t hash, char* out,
                                     std::size_t out_size) noexcept {
  if (!may_be_plain(c) || key.size() - 1 >= kFastKeyMax || is_named(key)) [[unlikely]] return get_any_answer(c, key, out, out_size);
  if (is_one_or_two_blocks(key.size())) return get_as<KeySize::kOneOrTwoBlocks>(c, key, hash, out, out_size);
  return get_as<KeySize::kAny>(c, key, hash, out, out_size);
}

#endif

}  // namespace tern::detail::TERN_TARGET
