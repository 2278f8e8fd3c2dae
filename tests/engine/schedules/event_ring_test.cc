// The event ring alone, with records that are nothing but a flag and a count of holds: whoever publishes them, each is in one
// position, told before the tail passes it, and held by its cell from before it is there until it is given up.
#include <gtest/gtest.h>

#include <cstring>
#include <new>
#include <string>

#include "engine/event_ring.h"
#include "tests/engine/schedules/exploring.h"

namespace tern::concurrency {
namespace {

template <Mutant M>
struct Ringed {
  using Sync = EngineSync<M>;
  using Ring = tern::detail::EventRing<Sync>;
  using Word = typename Sync::template Atomic<std::uint64_t>;
  using Seen = tern::detail::EventSeen;
  static constexpr unsigned kRecords = 8;  // 1 to 7
  static constexpr std::uint64_t kFlag = std::uint64_t{1} << 32;

  struct Host {
    Ringed& r;
    bool is_told(std::uint64_t record) const { return (r.record[record].load(std::memory_order_seq_cst) & kFlag) != 0; }
    void tell(std::uint64_t record) const { r.record[record].fetch_or(kFlag, std::memory_order_seq_cst); }
    void tell_own(std::uint64_t record) const { tell(record); }
    bool is_late(std::uint64_t) const { return false; }
    void hold(std::uint64_t record) const {
      r.record[record].fetch_add(1, std::memory_order_seq_cst);
      ++r.taken[record];
    }
    void unhold(std::uint64_t record) const {
      drop(record);
      --r.taken[record];
    }
    void release(std::uint64_t record) const { drop(record); }
    void release_soon(std::uint64_t) const {}
    void drop(std::uint64_t record) const {
      if ((r.record[record].fetch_sub(1, std::memory_order_seq_cst) & (kFlag - 1)) == 0) r.complain("a hold is dropped that nobody has taken");
    }
    void drop_soon(std::uint64_t) const {}
    std::uint64_t moment() const { return 1; }
    bool has_passed(std::uint64_t) const { return true; }
  };

  explicit Ringed(unsigned cells) {
    Sync::mutant = M;
    std::memset(static_cast<void*>(storage), 0, sizeof storage);  // another's
    ring = new (storage) Ring;
    ring->open(cells);
    for (auto& w : record) w.store(0, std::memory_order_relaxed);
    std::memcpy(saved, storage, sizeof storage);
  }
  void restore() {
    std::memcpy(static_cast<void*>(storage), saved, sizeof storage);
    for (auto& w : record) w.store(0, std::memory_order_relaxed);
    for (auto& n : taken) n = 0;
    for (auto& n : published) n = 0;
    told = 0;
    lost = position = 0;
    is_visible.store(0, std::memory_order_relaxed);
    complaint.clear();
    std::memset(seen, 0, sizeof seen);
  }
  void complain(const char* what) {
    if (complaint.empty()) complaint = what;
  }

  void publish(std::uint64_t r) {
    Host host{*this};
    ring->publish(host, r);
    published[r] = 1;
    if (!host.is_told(r)) complain("published, and not told");
  }
  // Born with a hold for its cell, by the writer whose record it is: it alone, and nobody adds to its word but the flag.
  void publish_own(std::uint64_t r) {
    record[r].fetch_add(1, std::memory_order_seq_cst);
    ++taken[r];
    Host host{*this};
    ring->publish(host, r, true);
    published[r] = 1;
    if (!host.is_told(r)) complain("published, and not told");
  }
  // The same, whose writer takes his turn before others may find it.
  void publish_in_turn(std::uint64_t r) {
    Host host{*this};
    typename Ring::Turn turn;
    if (M == Mutant::kEventTurnTakenLate) is_visible.store(1, std::memory_order_seq_cst);
    const bool is_free = ring->take_turn(host, turn);
    record[r].fetch_add(1, std::memory_order_seq_cst);
    ++taken[r];
    is_visible.store(1, std::memory_order_seq_cst);
    if (!is_free || !ring->publish_at(host, turn, r)) ring->publish(host, r, true);
    published[r] = 1;
    if (!host.is_told(r)) complain("published, and not told");
  }
  void publish_what_is_visible(std::uint64_t r) {
    if (is_visible.load(std::memory_order_seq_cst) != 0) publish(r);
  }
  // As if everybody had read what there is.
  void let_go() {
    Host host{*this};
    for (std::uint64_t round = 0; round != 8; round += 2) ring->let_go_of_read(host, ring->tail(), round);
  }
  void pass() {
    Host host{*this};
    (void)ring->pass(host);
  }
  void read_all() {
    for (;;) {
      const Seen s = ring->read(position, ring->cells());
      if (s.what == Seen::kNothing) return;
      if (s.what == Seen::kGap) {
        if (s.lost == 0) return complain("an empty gap");
        lost += s.lost;
        position += s.lost;
        continue;
      }
      if (s.record == 0 || s.record >= kRecords) return complain("a record that nobody published");
      if (++seen[s.record] != 1) return complain("read twice");
      order[told++] = static_cast<unsigned>(s.record);
      ++position;
    }
  }

  // A thread's own come in its order: `first` to `last` are one thread's.
  void in_order(unsigned first, unsigned last) {
    unsigned before = 0;
    for (unsigned i = 0; i != told; ++i) {
      if (order[i] < first || order[i] > last) continue;
      if (order[i] <= before) complain("a thread's records are out of order");
      before = order[i];
    }
  }
  std::string check(unsigned records) {
    if (frozen_threads() == 0) {
      read_all();
      unsigned in_cells[kRecords] = {};
      ring->for_each([&](std::uint64_t r) { ++in_cells[r]; });
      for (unsigned r = 1; r <= records; ++r) {
        if (published[r] != 0 && taken[r] != 1) complain("a record is in no position, or in two");
        if ((record[r].load(std::memory_order_relaxed) & (kFlag - 1)) != in_cells[r]) complain("holds that are no cell's");
      }
      if (ring->tail() != records) complain("the tail isn't where it should be");
      if (told + lost != records) complain("what is told and what is lost isn't all");
      if (ring->floor() > ring->tail()) complain("the floor is past the tail");
    }
    return complaint;
  }
  Body body(const Threads& threads, unsigned records) {
    return {[this] { restore(); }, threads, [this, records] { return check(records); }};
  }

  // Two find one record, another one's lies between.
  Threads helping() {
    return {[this] { publish(1); }, [this] { publish(1); }, [this] { publish(2); }};
  }
  // The same, one of them by its writer.
  Threads helping_its_writer() {
    return {[this] { publish_own(1); }, [this] { publish(1); }, [this] { publish(2); }};
  }
  // The same, in his turn.
  Threads helping_who_takes_his_turn() {
    return {[this] { publish_in_turn(1); }, [this] { publish_what_is_visible(1); }, [this] { publish(2); }};
  }
  // Two have taken the same turn, or the one that comes round.
  Threads taking_turns() {
    return {[this] {
              publish_in_turn(1);
              publish_in_turn(2);
            },
            [this] {
              publish_in_turn(3);
              publish_in_turn(4);
            },
            [this] { read_all(); }};
  }
  // What is filled again is given up meanwhile.
  Threads letting_go() {
    return {[this] {
              publish(1);
              publish(2);
              publish(3);
            },
            [this] { let_go(); },
            [this] { publish_in_turn(4); }};
  }
  Threads wrapping() {
    return {[this] {
              publish(1);
              publish(2);
              publish(3);
            },
            [this] {
              publish(4);
              publish(5);
            },
            [this] { read_all(); }};
  }
  Threads giving_up() {
    return {[this] {
              publish(1);
              publish(2);
            },
            [this] {
              pass();
              pass();
              pass();
            },
            [this] { read_all(); }};
  }

  alignas(128) static inline unsigned char storage[sizeof(Ring) + 128] = {};
  unsigned char saved[sizeof storage] = {};
  Ring* ring = nullptr;
  static inline Word record[kRecords];
  int taken[kRecords] = {};
  int published[kRecords] = {};
  unsigned seen[kRecords] = {};
  unsigned order[kRecords] = {};
  unsigned told = 0;
  std::uint64_t lost = 0, position = 0;
  static inline Word is_visible;
  std::string complaint;
};

constexpr Bounds kBounds{.preemptions = 3, .schedules = 20'000, .random = 1'000};
using Plain = Ringed<Mutant::kNone>;

TEST(EventRing, WhoeverPublishesARecordItIsThereOnce) {
  for (const unsigned cells : {2u, 4u}) {
    Plain r(cells);
    expect_body_holds("ring, helping", r.body(r.helping(), 2), kBounds);
    expect_body_holds("ring, helping its writer", r.body(r.helping_its_writer(), 2), kBounds);
    expect_body_holds("ring, helping who takes his turn", r.body(r.helping_who_takes_his_turn(), 2), kBounds);
  }
}
TEST(EventRing, ATurnIsOnes) {
  for (const unsigned cells : {2u, 4u}) {
    Plain r(cells);
    Body body = r.body(r.taking_turns(), 4);
    body.check = [&] {
      const std::string complaint = r.check(4);
      r.in_order(1, 2);
      r.in_order(3, 4);
      return complaint.empty() ? r.complaint : complaint;
    };
    expect_body_holds("ring, taking turns", body, kBounds);
  }
}
TEST(EventRing, AHoldIsWhoseMovesTheFloor) {
  Plain r(2);
  expect_body_holds("ring, letting go", r.body(r.letting_go(), 4), kBounds);
}
TEST(EventRing, WhatIsOverrunIsAGap) {
  Plain r(2);
  Body body = r.body(r.wrapping(), 5);
  body.check = [&] {
    const std::string complaint = r.check(5);
    r.in_order(1, 3);
    r.in_order(4, 5);
    return complaint.empty() ? r.complaint : complaint;
  };
  expect_body_holds("ring, wrapping", body, kBounds);
}
TEST(EventRing, WhatIsGivenUpIsAGap) {
  Plain r(2);
  expect_body_holds("ring, giving up", r.body(r.giving_up(), 2), kBounds);
}
TEST(EventRing, NobodyWaitsForAStoppedThread) {
  Plain r(2);
  expect_body_holds("ring, stopped", r.body(r.wrapping(), 5), {.preemptions = 1, .schedules = 5'000, .random = 500, .freeze = Freeze::kAllButOne});
}

#define TERN_RING_FAILS(name, mutant, scene, records)                                                           \
  TEST(EventRingMutants, name) {                                                                       \
    Ringed<mutant> r(2);                                                                                 \
    expect_body_fails("ring, " #name, r.body(r.scene(), records), {.preemptions = 3, .schedules = 30'000}); \
  }
TERN_RING_FAILS(EventFlagBeforeTail, Mutant::kEventFlagBeforeTail, helping, 2)
TERN_RING_FAILS(EventTurnTakenLate, Mutant::kEventTurnTakenLate, helping_who_takes_his_turn, 2)
TERN_RING_FAILS(EventFilledUnpassed, Mutant::kEventFilledUnpassed, letting_go, 4)
TERN_RING_FAILS(EventTailBeforeFlag, Mutant::kEventTailBeforeFlag, helping, 2)
TERN_RING_FAILS(EventLoserHolds, Mutant::kEventLoserHolds, helping, 2)
TERN_RING_FAILS(EventLoserKeepsWhatItIsBornWith, Mutant::kEventLoserHolds, helping_its_writer, 2)
TERN_RING_FAILS(EventFloorPastTail, Mutant::kEventFloorPastTail, giving_up, 2)
TERN_RING_FAILS(EventHoldResurrected, Mutant::kEventHoldResurrected, wrapping, 5)

}  // namespace
}  // namespace tern::concurrency
