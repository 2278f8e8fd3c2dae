// The ordered index under the scheduler, beside a table of one word a key: a key in the table has a leaf that is LIVE, a
// key that left it has none, a scan meets what stays, and nobody waits for a thread that stands still.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/ordered_index.h"
#include "tests/engine/schedules/exploring.h"

namespace tern::concurrency {
namespace {

constexpr const char* kKeys[] = {"x1", "x2", "x3", "x4", "x1a", "xa1", "xa2", "xa3", "xb", "y"};
enum : unsigned { kX1, kX2, kX3, kX4, kX1a, kXa1, kXa2, kXa3, kXb, kY, kKeyCount };

template <Mutant M>
struct Indexed {
  using R = Rig<M>;
  using Sync = typename R::Sync;
  using Index = tern::detail::OrderedIndex<Sync>;
  using Cursor = typename Index::Cursor;
  using Word = typename Sync::template Atomic<std::uint64_t>;
  enum : std::uint64_t { kAbsent, kTentative, kPresent };

  Indexed(int threads, const std::vector<unsigned>& before) : rig(threads) {
    rig.core().space.epoch.set_limits(1 << 16, 16);
    index = new (storage.index) Index(rig.core().space);
    for (unsigned k = 0; k != kKeyCount; ++k) (new (&storage.table[k]) Word)->store(kAbsent, std::memory_order_relaxed);
    for (const unsigned k : before) insert(rig.own_index(), k);
    rig.clock_orders = false;
    rig.check_accounts = false;  // the index's blocks are in none of the audit's places
    rig.freeze();
    std::memcpy(saved, static_cast<void*>(&storage), sizeof storage);
    std::copy(changes, changes + kKeyCount, changes_before);
  }
  void restore() {
    rig.restore();
    std::memcpy(static_cast<void*>(&storage), saved, sizeof storage);
    std::copy(changes_before, changes_before + kKeyCount, changes);
  }

  static std::string_view key(unsigned k) { return kKeys[k]; }
  bool in_table(unsigned k) { return storage.table[k].load(std::memory_order_seq_cst) != kAbsent; }

  // Nothing if the key is there, or on its way.
  void insert(int t, unsigned k) {
    tern::detail::Guard<Sync> guard(rig.core().space, rig.thread(t));
    std::uint64_t expected = kAbsent;
    if (!storage.table[k].compare_exchange_strong(expected, kTentative, std::memory_order_seq_cst)) return;
    if (!index->ensure(rig.thread(t), key(k), k)) rig.complain("an insertion was refused");
    storage.table[k].store(kPresent, std::memory_order_seq_cst);
    ++changes[k];
  }
  void remove(int t, unsigned k) {
    tern::detail::Guard<Sync> guard(rig.core().space, rig.thread(t));
    std::uint64_t expected = kPresent;
    if (!storage.table[k].compare_exchange_strong(expected, kAbsent, std::memory_order_seq_cst)) return;
    ++changes[k];  // nobody runs between the swap and this
    index->remove(rig.thread(t), key(k), [&] { return in_table(k); });
  }
  // Meets, in order, each key that is there from the beginning to the end.
  void scan(int t, typename Cursor::Direction direction = Cursor::kForward) { scan_from(t, {}, 0, direction); }
  // The same from a key on, and only of those that have its first `common` bytes.
  void scan_from(int t, std::string_view bound, std::size_t common, typename Cursor::Direction direction) {
    tern::detail::Guard<Sync> guard(rig.core().space, rig.thread(t));
    unsigned changes_at_first[kKeyCount];
    bool there[kKeyCount];
    for (unsigned k = 0; k != kKeyCount; ++k) {
      changes_at_first[k] = changes[k];
      const bool is_wanted = key(k).starts_with(bound.substr(0, common)) && key(k).compare(bound) * direction >= 0;
      there[k] = (bound.empty() || is_wanted) && storage.table[k].load(std::memory_order_seq_cst) == kPresent;
    }
    bool met[kKeyCount] = {};
    std::string_view last;
    std::optional<Cursor> c;
    if (bound.empty()) {
      c.emplace(*index, direction);
    } else {
      c.emplace(*index, bound, direction, true, common);
    }
    while (const auto* leaf = c->next()) {
      if (!leaf->key().starts_with(bound.substr(0, common))) rig.complain("a scan leaves its prefix");
      if (!last.empty() && leaf->key().compare(last) * direction <= 0) rig.complain("a scan is out of order");
      last = leaf->key();
      if (leaf->hash >= kKeyCount || last != key(static_cast<unsigned>(leaf->hash))) return rig.complain("a scan meets no leaf");
      met[leaf->hash] = true;
    }
    for (unsigned k = 0; k != kKeyCount; ++k) {
      if (there[k] && changes[k] == changes_at_first[k] && !met[k]) rig.complain("a scan misses " + std::string(key(k)));
    }
  }

  // The same without a look at the leaves: each key that is there all the time is met, and no other place has a beginning of it.
  void meet(int t, typename Cursor::Direction direction) {
    tern::detail::Guard<Sync> guard(rig.core().space, rig.thread(t));
    unsigned changes_at_first[kKeyCount];
    bool there[kKeyCount];
    for (unsigned k = 0; k != kKeyCount; ++k) {
      changes_at_first[k] = changes[k];
      there[k] = storage.table[k].load(std::memory_order_seq_cst) == kPresent;
    }
    bool met[kKeyCount] = {};
    Cursor c(*index, direction);
    std::string path;
    c.meet([&](std::string_view to) { return path = to, true; },
           [&](const typename Index::Leaf& leaf, std::uint64_t, int next) {
             const auto own = static_cast<unsigned>(leaf.hash);
             if (own >= kKeyCount || leaf.key() != key(own)) return rig.complain("no leaf is met"), false;
             for (unsigned k = 0; k != kKeyCount; ++k) {
               const bool begins = next == Cursor::kWhole ? key(k) == path : key(k).starts_with(path + static_cast<char>(next));
               if (k == own) {
                 if (!begins) rig.complain("a leaf is met by the bytes of another");
               } else if (begins && there[k] && changes[k] == changes_at_first[k]) {
                 rig.complain("two keys' leaves are met by the same bytes");
               }
             }
             met[own] = true;
             return true;
           });
    for (unsigned k = 0; k != kKeyCount; ++k) {
      if (there[k] && changes[k] == changes_at_first[k] && !met[k]) rig.complain(std::string(key(k)) + " isn't met");
    }
  }

  // Every key that is there all the time is led to.
  void follow(int t) {
    tern::detail::Guard<Sync> guard(rig.core().space, rig.thread(t));
    std::string_view keys[kKeyCount];
    unsigned changes_at_first[kKeyCount];
    bool there[kKeyCount];
    for (unsigned k = 0; k != kKeyCount; ++k) {
      keys[k] = key(k);
      changes_at_first[k] = changes[k];
      there[k] = storage.table[k].load(std::memory_order_seq_cst) == kPresent;
    }
    const unsigned leaves = index->prefetch_ways(keys, kKeyCount);
    unsigned wanted = 0;
    for (unsigned k = 0; k != kKeyCount; ++k) wanted += there[k] && changes[k] == changes_at_first[k];
    if (leaves < wanted) rig.complain(std::to_string(leaves) + " ways lead to a leaf, of " + std::to_string(wanted));
  }

  std::string check(bool all_ended) {
    bool live[kKeyCount] = {};
    bool linked[kKeyCount] = {};
    {
      tern::detail::Guard<Sync> guard(rig.core().space, rig.own());
      Cursor c(*index, Cursor::kForward);
      while (const auto* leaf = c.next()) {
        linked[leaf->hash] = true;
        live[leaf->hash] = leaf->seen().kind() == tern::detail::LeafState::kLive;
      }
    }
    for (unsigned k = 0; k != kKeyCount; ++k) {
      const bool present = storage.table[k].load(std::memory_order_relaxed) == kPresent;
      if (present && !linked[k]) return std::string(key(k)) + " is in the table and has no leaf";
      if (!all_ended) continue;
      if (present && !live[k]) return std::string(key(k)) + " is in the table and its leaf is dead";
      if (!present && linked[k]) return std::string(key(k)) + " is gone and its leaf has stayed";
    }
    if (!all_ended) return rig.check_stopped();
    // Whatever happened, it can be emptied, and holds nothing then.
    for (unsigned k = 0; k != kKeyCount; ++k) remove(rig.own_index(), k);
    if (index->walk([](std::uint64_t) {}) != 0) return "memory is left in an empty index";
    return rig.check();
  }

  Body body(const Threads& threads) {
    return {[this] { restore(); }, threads, [this] { return check(frozen_threads() == 0); }};
  }

  struct Storage {
    alignas(64) unsigned char index[sizeof(Index)];
    Word table[kKeyCount];
  };
  R rig;
  static inline Storage storage;
  unsigned char saved[sizeof(Storage)] = {};
  Index* index = nullptr;
  unsigned changes[kKeyCount] = {};
  unsigned changes_before[kKeyCount] = {};
};

template <class I>
void expect_index_holds(const std::string& name, I& i, const Threads& threads, const Bounds& bounds = {.schedules = 40'000}) {
  const Body body = i.body(threads);
  const Result all = explore(options_for(name, bounds), body);
  EXPECT_TRUE(all.ok) << all.failure << "\nTERN_SCHEDULE='" << all.schedule << "'";
  Options pct = options_for(name + ", at random", bounds);
  pct.strategy = Strategy::kPct;
  pct.pct_depth = 5;
  pct.max_schedules = bounds.random * (is_long() ? 100 : 1);
  const Result some = explore(pct, body);
  EXPECT_TRUE(some.ok) << some.failure << "\nTERN_SCHEDULE='" << some.schedule << "'";
}

template <class I>
void expect_index_bug(const std::string& name, I& i, const Threads& threads) {
  const Body body = i.body(threads);
  Options o = options_for(name, {.schedules = 100'000});
  Result r = explore(o, body);
  if (r.ok) {
    o.strategy = Strategy::kPct;
    o.pct_depth = 5;
    o.name = name + ", at random";
    r = explore(o, body);
  }
  EXPECT_FALSE(r.ok) << name << ": a planted bug was not found in " << r.schedules << " schedules";
}

template <class I>
Threads two_additions(I& i) {
  return {[&i] { i.insert(0, kX3); }, [&i] { i.insert(1, kX4); }};
}
template <class I>
Threads addition_below_and_beside(I& i) {  // a leaf gives way to a node in a node that gives way to a larger one
  return {[&i] { i.insert(0, kX1a); }, [&i] { i.insert(1, kX3); }};
}
template <class I>
Threads removal_and_addition(I& i) {
  return {[&i] { i.remove(0, kX1); }, [&i] { i.insert(1, kX3), i.insert(1, kX1); }};
}
template <class I>
Threads three_on_one_key(I& i) {
  return {[&i] { i.remove(0, kX1); }, [&i] { i.insert(1, kX1), i.remove(1, kX1); }, [&i] { i.insert(2, kX1); }};
}
template <class I>
Threads probe_and_scan(I& i) {
  return {[&i] { i.remove(0, kX1); }, [&i] { i.insert(1, kX1), i.scan(1); }};
}

template <class I>
Threads changes_and_scan_within(I& i) {  // the node of "xa" comes and goes, and so does what lies beside it
  return {[&i] { i.insert(0, kXa3), i.insert(0, kXb), i.remove(0, kXa1); },
          [&i] { i.scan_from(1, "xa", 2, I::Cursor::kForward), i.scan_from(1, "xa2", 2, I::Cursor::kBackward); }};
}

template <class I>
Threads changes_and_meeting(I& i) {  // a leaf gives way to a node, and a node to a leaf
  return {[&i] { i.insert(0, kX1a), i.insert(0, kXa2), i.remove(0, kXa1); }, [&i] { i.meet(1, I::Cursor::kForward), i.meet(1, I::Cursor::kBackward); }};
}

template <class I>
Threads changes_and_following(I& i) {  // what is replaced is reused as soon as it may be
  return {[&i] { i.insert(0, kX1a), i.insert(0, kXa2), i.remove(0, kXa1), i.rig.reclaim(0); }, [&i] { i.follow(1), i.follow(1); }};
}

using Sound = Indexed<Mutant::kNone>;

TEST(OrderedIndexSchedules, TwoAdditionsToOneNode) {
  Sound i(2, {kX1, kX2});
  expect_index_holds("index, two additions", i, two_additions(i));
  Sound e(2, {});
  expect_index_holds("index, from nothing", e, {[&e] { e.insert(0, kX1), e.insert(0, kX2); }, [&e] { e.insert(1, kY), e.remove(1, kY); }});
}
TEST(OrderedIndexSchedules, ANodeChangesWhileItIsReplaced) {
  Sound i(2, {kX1, kX2});
  expect_index_holds("index, below and beside", i, addition_below_and_beside(i));
  Sound s(2, {kXa1, kXa2});
  expect_index_holds("index, split and addition", s, {[&s] { s.insert(0, kXa3); }, [&s] { s.insert(1, kXb), s.insert(1, kY); }});
}
TEST(OrderedIndexSchedules, RemovalsAndAdditions) {
  Sound i(2, {kX1, kX2});
  expect_index_holds("index, removal and addition", i, removal_and_addition(i));
  Sound b(2, {kXa1, kXa2, kXb});
  expect_index_holds("index, two removals", b, {[&b] { b.remove(0, kXa1), b.remove(0, kXb); }, [&b] { b.remove(1, kXa2); }});
}
TEST(OrderedIndexSchedules, OneKeyComesAndGoes) {
  Sound i(3, {kX1});
  expect_index_holds("index, one key", i, three_on_one_key(i), {.preemptions = 2, .schedules = 40'000});
}
TEST(OrderedIndexSchedules, WaysAreFollowedThroughWhatIsReplaced) {
  Sound i(2, {kX1, kXa1, kY});
  expect_index_holds("index, ways", i, changes_and_following(i));
}
TEST(OrderedIndexSchedules, AScanMeetsWhatStays) {
  Sound i(2, {kX1, kX2});
  expect_index_holds("index, probe and scan", i, probe_and_scan(i));
  Sound s(2, {kXa1, kXa2, kY});
  expect_index_holds("index, scan of what is replaced", s,
                     {[&s] { s.insert(0, kXb), s.remove(0, kXa1), s.rig.reclaim(0); },
                      [&s] { s.scan(1), s.scan(1, Sound::Cursor::kBackward); }});
}
TEST(OrderedIndexSchedules, AScanWithinAPrefixMeetsWhatStaysThere) {
  Sound i(2, {kX1, kXa1, kXa2, kY});
  expect_index_holds("index, scan within a prefix", i, changes_and_scan_within(i));
  Sound one(2, {kX1, kXa2, kY});
  expect_index_holds("index, scan within a leaf's prefix", one, changes_and_scan_within(one));
}
TEST(OrderedIndexSchedules, WhatLeadsToALeafIsOfNoOtherKey) {
  Sound i(2, {kX1, kXa1, kY});
  expect_index_holds("index, met unread", i, changes_and_meeting(i));
}
TEST(OrderedIndexSchedules, NobodyWaitsForAStoppedThread) {
  Sound i(3, {kX1, kX2});
  expect_index_holds("index, stopped", i,
                     {[&i] { i.insert(0, kX3); }, [&i] { i.remove(1, kX2), i.insert(1, kX4); }, [&i] { i.insert(2, kX1a), i.scan(2); }},
                     {.preemptions = 1, .schedules = 40'000, .freeze = Freeze::kAllButOne});
}

TEST(OrderedIndexMutants, CopyUnfrozen) {
  Indexed<Mutant::kIndexCopyUnfrozen> i(2, {kX1, kX2});
  expect_index_bug("index, copied unfrozen", i, addition_below_and_beside(i));
}
TEST(OrderedIndexMutants, LinkIntoFrozen) {
  Indexed<Mutant::kIndexLinkIntoFrozen> i(2, {kX1, kX2});
  expect_index_bug("index, linked into what is frozen", i, addition_below_and_beside(i));
}
TEST(OrderedIndexMutants, LookFirst) {
  Indexed<Mutant::kIndexLookFirst> i(2, {kX1, kX2});
  expect_index_bug("index, look first", i, removal_and_addition(i));
}
TEST(OrderedIndexMutants, Uncounted) {
  Indexed<Mutant::kIndexUncounted> i(3, {kX1});
  expect_index_bug("index, uncounted", i, three_on_one_key(i));
}
TEST(OrderedIndexMutants, ScanSkipsDead) {
  Indexed<Mutant::kIndexScanSkipsDead> i(2, {kX1, kX2});
  expect_index_bug("index, a scan skips the dead", i, probe_and_scan(i));
}
TEST(OrderedIndexMutants, MetByTheBytesOfTheNodeAbove) {
  Indexed<Mutant::kIndexMetTooShort> i(2, {kX1, kXa1, kY});
  expect_index_bug("index, met by too few bytes", i, changes_and_meeting(i));
}
TEST(OrderedIndexMutants, ScanPastItsPrefix) {
  Indexed<Mutant::kIndexScanPastItsPrefix> i(2, {kX1, kXa1, kXa2, kY});
  expect_index_bug("index, a scan leaves its prefix", i, changes_and_scan_within(i));
}
TEST(OrderedIndexMutants, ScanWithinTooLittle) {
  Indexed<Mutant::kIndexScanWithinTooLittle> i(2, {kX1, kXa1, kXa2, kY});
  expect_index_bug("index, a scan loses what is below its prefix", i, changes_and_scan_within(i));
}

}  // namespace
}  // namespace tern::concurrency
