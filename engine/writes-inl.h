// The way of almost every set, single and in groups, compiled once for each instruction set: see simd/targets.h. writes.h
// says who includes this and what for. No include guard: each inclusion is another namespace TERN_TARGET.
//
// A set is on this way while it meets what is ordinary: a key of up to kFastKeyMax bytes, a value of up to
// kShortWayBytesMax, a block at hand, and an entry of that key whose slot is LIVE, in its home bucket or in the overflow
// bucket behind it, whose record is stamped, of short key, without flags and not KEEP; and nobody weighs entries or invalidates. The steps
// are those of Commit::commit, in its order, without a judgement: what stands there is replaced whatever it is. What isn't so
// is left to commit, with the record that was made meanwhile.
//
// Why it is worth a second text: 739 instructions were spent on an overwrite, and few of them on the work.

namespace tern::detail::TERN_TARGET {

// A plain record without its header, from what the thread has at hand; 0: nothing.
template <KeySize kSize, class Sync>
[[gnu::always_inline]] inline std::uint64_t begin_record(Space<Sync>& space, Thread<Sync>& t, std::string_view key,
                                                         std::string_view value) noexcept {
  const std::uint64_t at = space.heap.allocate_at_hand(t.cache, space.plain_bytes(key.size(), value.size()));
  if (at == 0) [[unlikely]] return 0;
  char* const to = t.geometry.template at<Record<Sync>>(at)->bytes() + kRecordHeaderBytes;
  Sync::plain_write(to, key.size() + value.size());
  if constexpr (kSize == KeySize::kOneOrTwoBlocks) {
    simd::copy_one_or_two_blocks(to, key.data(), key.size());
  } else {
    simd::copy_bytes(to, key.data(), key.size());
  }
  if (value.size() - kBlocksMin <= kBlocksMax - kBlocksMin) [[likely]] {
    copy_blocks(to + key.size(), value.data(), value.size());
  } else {
    simd::copy_bytes(to + key.size(), value.data(), value.size());
  }
  return at;
}

// What is left of a replacement that isn't the last of its key's older versions: a view may need them.
template <class Sync>
[[gnu::noinline, gnu::cold]] inline void trim_plain(Core<Sync>& core, Thread<Sync>& t, std::uint64_t hash, std::uint64_t own) noexcept {
  if (Versions<Sync>::trim(core.space, t, own).note) core.kept_keys()->note(t, core.table.shard_of(hash), hash);
}

// Below every version: there is nothing of the key, as it seems.
inline constexpr std::int64_t kNothingThere = -1;

// Puts `own`, which begin_record made, in the place of what the key has: its version. 0, kNothingThere: nothing has happened.
// Inside a guard that has found no point active. `turn`: null where nobody listens, as it seems. `home` is the key's bucket, or was: one that has been
// split since has no LIVE slot of what went elsewhere.
template <KeySize kSize, bool kWatched, class Sync>
[[gnu::always_inline]] inline std::int64_t replace_plain(Core<Sync>& core, Thread<Sync>& t, Bucket<Sync>& home,
                                                          std::uint64_t hash, std::string_view key, std::uint64_t own,
                                                          std::uint64_t value_size, typename Events<Sync>::Turn* turn) noexcept {
  Space<Sync>& space = core.space;
  Bucket<Sync>* b = &home;
  unsigned m = match_current(home, hash);
  const Ctl c = home.control();
  if (!c.ready()) [[unlikely]] return 0;
  if (m == 0) [[unlikely]] {
    if (!c.may_overflow(tag_of(hash))) return kNothingThere;
    if (c.overflow() == 0) return 0;
    b = t.geometry.template at<Bucket<Sync>>(c.overflow());
    m = match_current(*b, hash);
    if (m == 0) return 0;
  }
  auto& slot = b->slot[std::countr_zero(m)];
  const SlotWord word(slot.load(std::memory_order_seq_cst));  // [publish] seq_cst
  if (!word.is_live_of_hash(hash)) [[unlikely]] return 0;
  Record<Sync>& o = *t.geometry.template at<Record<Sync>>(word.offset());
  const Stamp os = o.stamp_word();
  if (!os.plain_with_key(key.size())) [[unlikely]] return 0;
  Sync::plain_read(o.bytes() + kRecordHeaderBytes, key.size());
  if (!same_key<kSize>(o.bytes() + kRecordHeaderBytes, key)) [[unlikely]] return 0;
  const Hold before = o.hold_word();
  if (before.keep()) [[unlikely]] return 0;
  // Asked after its stamp was read, not before: a listener may have come between, and the stamp be past its own.
  if (!os.told() && Events<Sync>::wanted(space) && !planted<Sync>(Mutant::kEventReplacedUntold)) [[unlikely]] {
    Events<Sync>::tell(space, t, core.table.shard_of(hash), o);
  }
  const std::uint64_t version = space.next_version(before.version());
  Hold mine = planted<Sync>(Mutant::kAccessNotInherited) ? Hold(space.birth_meta) : Hold(0).with_access(before.access());
  if constexpr (kWatched) mine = mine.held_once_more();  // its cell's
  Stamp stamp(Space<Sync>::born(Stamp::pending(0, static_cast<std::uint8_t>(key.size()))));
  Record<Sync>& r = *t.geometry.template at<Record<Sync>>(own);
  r.w0.store(stamp.word(), std::memory_order_relaxed);                                              // [publish] comes with the slot's swap
  r.link.store(Link::first(value_size).over(word.offset()).word(), std::memory_order_relaxed);      // [publish] as above
  r.meta.store(mine.with_version(version).word(), std::memory_order_relaxed);                       // [publish] as above
  std::uint64_t expected = word.word();
  if (planted<Sync>(Mutant::kSwapFromStaleWord)) expected = slot.load(std::memory_order_seq_cst);
  if (planted<Sync>(Mutant::kStampBeforePublish)) Versions<Sync>::finalise(space, r);
  Sync::point("commit.swap");
  if (!slot.compare_exchange_strong(expected, word.replaced(own).word(), std::memory_order_seq_cst)) [[unlikely]] return 0;  // [publish] release
  const bool early = planted<Sync>(Mutant::kEventBeforeStamp) && !Events<Sync>::wanted(space);
  Sync::point("version.stamp_own");
  if (kWatched && planted<Sync>(Mutant::kEventTurnTakenLate)) *turn = Events<Sync>::take_turn(space, t, core.table.shard_of(hash));
  bool cut = true;
  if constexpr (!requires { Sync::kUnstamped; }) cut = Versions<Sync>::stamp_and_cut(space, r, stamp, o);
  if (cut) [[likely]] {
    space.retire_at_hand(t, word.offset());
  } else {
    trim_plain(core, t, hash, own);
  }
  if constexpr (kWatched) {
    Events<Sync>::tell_own(space, t, core.table.shard_of(hash), r, stamp, *turn);
  } else if (Events<Sync>::wanted(space) && !early) [[unlikely]] {
    Events<Sync>::tell(space, t, core.table.shard_of(hash), r);
  }
  if (planted<Sync>(Mutant::kEntryPushedTwice) && core.evicts) core.eviction.inserted(t, hash, key, word.gen(), false);
  return static_cast<std::int64_t>(version);
}

// Whether a set is on this way, as far as it shows before the table is looked at.
template <class Sync>
[[gnu::always_inline]] inline bool may_put_plain(const Core<Sync>& core, const Thread<Sync>& t, std::string_view key,
                                                 std::uint64_t value_size) noexcept {
  return key.size() - 1 < kFastKeyMax && value_size < core.space.short_values_below && t.epoch.open != nullptr &&
         !t.epoch.over_cap && !core.space.heap.wants_back(t.cache) && !is_named(key);
}

// Where somebody listens, other cores have read the blocks that come back. The one that a set fills is the one that the set before has
// freed: it is fetched a few sets ahead, its lines all of them, else the set waits for each at its first locked instruction.
template <class Sync>
[[gnu::always_inline]] inline void expect_block(Space<Sync>& space, Thread<Sync>& t, std::size_t bytes) noexcept {
  constexpr unsigned kSetsAhead = 2;
  if constexpr (Sync::kWordwise) return;
  const std::uint64_t soon = Epoch<Sync>::freed_soon(t.epoch, kSetsAhead);
  if (soon == 0 || (soon & Space<Sync>::kMarks) != 0) return;
  const char* const block = space.record(soon)->bytes();
  for (std::size_t i = 0; i < bytes; i += 64) prefetch_to_write(block + i);
  prefetch_to_write(block + bytes - 1);
}

// replace_plain where somebody listens. What is told is prepared first: the table's lines are on their way meanwhile, and little is left between the
// wait for the old record and the next set's key, so that the processor has that one on its way, too.
template <KeySize kSize, class Sync>
[[gnu::noinline]] inline std::int64_t replace_watched(Core<Sync>& core, Thread<Sync>& t, Bucket<Sync>& home, std::uint64_t hash,
                                                      std::string_view key, std::uint64_t own, std::uint64_t value_size) noexcept {
  expect_block(core.space, t, core.space.plain_bytes(key.size(), value_size));
  typename Events<Sync>::Turn turn = Events<Sync>::take_turn(core.space, t, core.table.shard_of(hash));
  if (t.epoch.open == nullptr) [[unlikely]] return 0;  // what the ring has let go took the last place
  return replace_plain<kSize, true>(core, t, home, hash, key, own, value_size, &turn);
}

// Inside a guard: `built` in the place of what the key has. 0, kNothingThere: as replace_plain, and `built` has its header.
template <KeySize kSize, class Sync>
[[gnu::always_inline]] inline std::int64_t put_built(Core<Sync>& core, Thread<Sync>& t, Bucket<Sync>& home, std::uint64_t hash,
                                                      std::string_view key, std::uint64_t built, std::uint64_t value_size) noexcept {
  std::int64_t version = 0;
  if (t.geometry.epoch->points.load(std::memory_order_seq_cst) == 0) [[likely]] {  // [point] seq_cst: what is found may be dead
    version = Events<Sync>::wanted(core.space) ? replace_watched<kSize>(core, t, home, hash, key, built, value_size)
                                               : replace_plain<kSize, false>(core, t, home, hash, key, built, value_size, nullptr);
  }
  if (version > 0) [[likely]] {
    t.counters.sets.add();
  } else {
    core.space.give_header(*t.geometry.template at<Record<Sync>>(built), key.size(), value_size);
  }
  return version;
}

// In `base` alone: little of it is what an instruction set makes shorter.
#if !defined(TERN_WRITES_DISPATCHED)

// After kNothingThere, inside the same guard: the key enters. 0: `built` is for PutChange to go on with. The home is found anew, which costs
// an overwrite no register.
template <class Sync>
[[gnu::noinline]] inline std::uint64_t enter_plain(Core<Sync>& core, Thread<Sync>& t, std::uint64_t hash, std::string_view key,
                                                   std::uint64_t& built) noexcept {
  Shard<Sync>& s = core.table.shard_of(hash);
  Place<Sync> place;
  place.home_index = Table<Sync>::size_of(s).home(hash);
  place.home = &core.table.bucket(s, place.home_index);
  if (!place.home->control().ready()) [[unlikely]] return 0;  // all else is looked at by insertion
  const std::uint64_t version = core.committer().enter_plain(t, s, place, hash, key, built);
  if (version != 0) [[likely]] t.counters.sets.add();
  return version;
}

// The same with the guard's end and what follows it.
template <class Sync>
[[gnu::noinline]] inline std::uint64_t enter_and_leave(Core<Sync>& core, Thread<Sync>& t, std::uint64_t hash, std::string_view key,
                                                       std::uint64_t& built) noexcept {
  const std::uint64_t version = enter_plain(core, t, hash, key, built);
  Epoch<Sync>::leave_outermost(t.epoch);
  core.hand_out_removals(t);
  if (version != 0) [[likely]] core.space.upkeep.pass_on();
  return version;
}

#endif

// A set that may_put_plain, by a thread outside of any guard: the new version. 0: undecided, and `built` is a record that
// PutChange goes on with; 0: there is none.
template <KeySize kSize, class Sync>
[[gnu::always_inline]] inline std::uint64_t put_plain(Core<Sync>& core, Thread<Sync>& t, std::uint64_t hash,
                                                      std::string_view key, std::string_view value,
                                                      std::uint64_t& built) noexcept {
  Bucket<Sync>& home = home_of(t.geometry, hash);
  prefetch_near(&home);
  built = begin_record<kSize>(core.space, t, key, value);
  if (built == 0) [[unlikely]] return 0;
  Epoch<Sync>::enter_outermost(t.epoch, *t.geometry.epoch);
  const std::int64_t version = put_built<kSize>(core, t, home, hash, key, built, value.size());
  if (version < 0) [[unlikely]] return base::enter_and_leave(core, t, hash, key, built);
  Epoch<Sync>::leave_outermost(t.epoch);
  if (version != 0) [[likely]] core.space.upkeep.pass_on();
  return static_cast<std::uint64_t>(version);
}

// The same inside a group's guard, whose end has the rest to do.
template <class Sync>
[[gnu::always_inline]] inline std::uint64_t put_plain_in_group(Core<Sync>& core, Thread<Sync>& t, std::uint64_t hash,
                                                               std::string_view key, std::string_view value,
                                                               std::uint64_t& built) noexcept {
  built = begin_record<KeySize::kAny>(core.space, t, key, value);
  if (built == 0) [[unlikely]] return 0;
  const std::int64_t version = put_built<KeySize::kAny>(core, t, home_of(t.geometry, hash), hash, key, built, value.size());
  return version >= 0 ? static_cast<std::uint64_t>(version) : base::enter_plain(core, t, hash, key, built);
}

// A set without conditions, in every case.
template <class Sync>
[[gnu::noinline]] inline Committed put(Core<Sync>& core, Thread<Sync>& t, std::uint64_t hash, std::string_view key, std::string_view value) noexcept {
  std::uint64_t built = 0;
  if (t.epoch.nest == 0 && may_put_plain(core, t, key, value.size())) {
    if (const std::uint64_t version = put_plain<KeySize::kAny>(core, t, hash, key, value, built); version != 0) {
      return {Committed::Outcome::kPut, version};
    }
  }
  PutChange<Sync> change(core.space, t, key, value, built);
  return core.write(t, hash, key, change);
}

#if defined(TERN_WRITES_DISPATCHED)

template <KeySize kSize>
[[gnu::always_inline]] inline Answer set_as(Context c, std::string_view key, std::uint64_t hash, std::string_view value) noexcept {
  std::uint64_t built;
  auto& t = *reinterpret_cast<Thread<StdSync>*>(c.thread);
  const std::uint64_t version = put_plain<kSize>(c.core->core, t, hash, key, value, built);
  if (version != 0) [[likely]] return version;
  return set_built(c, key, hash, value, built);
}

[[gnu::noinline]] inline Answer set_of_any_size(Context c, std::string_view key, std::string_view value) noexcept {
  const auto& keys = reinterpret_cast<Thread<StdSync>*>(c.thread)->geometry.hash_keys;
  return set_as<KeySize::kAny>(c, key, simd::hash_bytes(key.data(), key.size(), keys), value);
}

inline Answer set(Context c, std::string_view key, std::string_view value) noexcept {
  if (!may_be_plain(c)) [[unlikely]] return set_any(c, key, value);
  auto& t = *reinterpret_cast<Thread<StdSync>*>(c.thread);
  if (!may_put_plain(c.core->core, t, key, value.size())) [[unlikely]] return set_any(c, key, value);
  if (!is_one_or_two_blocks(key.size())) return set_of_any_size(c, key, value);
  return set_as<KeySize::kOneOrTwoBlocks>(c, key, simd::hash_blocks(key.data(), key.size(), t.geometry.hash_keys), value);
}

inline Committed set_in_group(StoreCore& store, Thread<StdSync>& t, std::uint64_t hash, std::string_view key, std::string_view value) noexcept {
  std::uint64_t built = 0;
  if (may_put_plain(store.core, t, key, value.size())) [[likely]] {
    const std::uint64_t version = put_plain_in_group(store.core, t, hash, key, value, built);
    if (version != 0) [[likely]] return {Committed::Outcome::kPut, version};
  }
  return set_in_group_built(store, t, hash, key, value, built);
}

#endif

}  // namespace tern::detail::TERN_TARGET
