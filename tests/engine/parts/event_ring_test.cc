// When a ring lets go of what everybody has read: at once, if nobody is inside who was so when that was found; else half of the ring
// waits for him before anything goes by the bag. What goes by the bag is freed late, each with a place in it: a listener that the
// system stops inside its poll for a few milliseconds made that the way of seven in ten.
#include "engine/event_ring.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <new>
#include <set>

#include "alloc/sync.h"

namespace tern {
namespace {

using Ring = detail::EventRing<detail::StdSync>;
constexpr std::uint64_t kCells = 64;

struct Host {
  std::set<std::uint64_t> told, held;
  unsigned dropped = 0, released = 0;
  std::uint64_t safe = 0;

  bool is_told(std::uint64_t record) const { return told.contains(record); }
  void tell(std::uint64_t record) { told.insert(record); }
  void tell_own(std::uint64_t record) { told.insert(record); }
  bool is_late(std::uint64_t) const { return false; }
  void hold(std::uint64_t record) { held.insert(record); }
  void unhold(std::uint64_t record) { EXPECT_EQ(held.erase(record), 1u); }
  void release(std::uint64_t record) {
    unhold(record);
    ++released;
  }
  void drop(std::uint64_t record) {
    unhold(record);
    ++dropped;
  }
  void release_soon(std::uint64_t) {}
  void drop_soon(std::uint64_t) {}
  std::uint64_t moment() const { return 1; }
  bool has_passed(std::uint64_t moment) const { return safe > moment; }
};

class EventRingLetsGo : public testing::Test {
 protected:
  EventRingLetsGo() { open(0); }
  // At this position, as if all before it had been given up long ago. A multiple of kCells * 2^24: laps begin anew.
  void open(std::uint64_t position) {
    const std::size_t bytes = Ring::bytes_for(kCells);
    memory_.reset(static_cast<std::byte*>(::operator new(bytes, std::align_val_t{alignof(Ring)})));
    std::memset(memory_.get(), 0, bytes);
    ring = new (memory_.get()) Ring;
    ring->open(kCells);
    std::memcpy(memory_.get(), &position, sizeof position);  // its tail
    std::memcpy(memory_.get() + sizeof position, &position, sizeof position);  // its floor
  }
  // Tells changes up to this position, each of them seen by a writer while the round has this number.
  void tell_to(std::uint64_t position, std::uint64_t round) {
    while (ring->tail() <= position) ring->let_go_of_read(host, ring->publish(host, ++record_), round);
  }

  Ring* ring;
  Host host;

 private:
  struct Free {
    void operator()(std::byte* p) const { ::operator delete(p, std::align_val_t{alignof(Ring)}); }
  };
  std::unique_ptr<std::byte, Free> memory_;
  std::uint64_t record_ = 0;
};

TEST_F(EventRingLetsGo, AtOnceWhereNobodyIsInside) {
  host.safe = 2;
  tell_to(15, 0);
  tell_to(19, 2);  // notes the tail 16
  tell_to(20, 4);  // a round has closed: what lies before 16 was read
  EXPECT_EQ(ring->floor(), 0u);
  tell_to(24, 4);
  EXPECT_EQ(ring->floor(), 8u);
  tell_to(40, 4);
  EXPECT_EQ(ring->floor(), 16u) << "and no further";
  EXPECT_EQ(host.dropped, 16u);
  EXPECT_EQ(host.released, 0u);
  EXPECT_EQ(host.held.size(), 41u - 16);
}

TEST_F(EventRingLetsGo, HalfOfTheRingWaitsForWhoIsInside) {
  tell_to(15, 0);
  tell_to(19, 2);
  tell_to(kCells / 2 - 1, 4);
  EXPECT_EQ(ring->floor(), 0u);
  EXPECT_EQ(host.released + host.dropped, 0u);
  tell_to(kCells / 2, 4);
  EXPECT_EQ(ring->floor(), 8u);
  EXPECT_EQ(host.released, 8u);
  host.safe = 2;  // he has left
  tell_to(kCells / 2 + 4, 4);
  EXPECT_EQ(ring->floor(), 16u);
  EXPECT_EQ(host.released, 8u);
  EXPECT_EQ(host.dropped, 8u);
}

// Who takes his turn in a ring that is full makes room for it.
TEST_F(EventRingLetsGo, ATurnInAFullRing) {
  tell_to(kCells - 1, 0);
  for (unsigned i = 0; i != 2 * kCells; ++i) {
    Ring::Turn turn;
    ASSERT_TRUE(ring->take_turn(host, turn)) << i;
    host.hold(1000 + i);
    ASSERT_TRUE(ring->publish_at(host, turn, 1000 + i)) << i;
    EXPECT_EQ(host.held.size(), kCells);
  }
  EXPECT_EQ(host.released, 2 * kCells);
}

// Marks of 40 bits: one of long ago, when rounds last closed, seems to be ahead of the tail.
TEST_F(EventRingLetsGo, NothingByAMarkThatIsTooOld) {
  constexpr std::uint64_t kFar = (std::uint64_t{1} << 39) + kCells * (std::uint64_t{1} << 24);
  open(kFar);
  host.safe = 2;
  ASSERT_EQ(ring->tail(), kFar);
  ASSERT_EQ(ring->floor(), kFar);
  tell_to(kFar + 40, 1);
  EXPECT_EQ(ring->floor(), kFar);
  EXPECT_EQ(host.held.size(), 41u);
  tell_to(kFar + 44, 4);  // notes the tail
  tell_to(kFar + 60, 6);  // it was read
  EXPECT_EQ(ring->floor(), kFar + 16) << "and goes, as ever";
}

// One that never leaves: the ring comes round, and each position's record goes once.
TEST_F(EventRingLetsGo, EachOnceHoweverLongHeStays) {
  for (std::uint64_t round = 0; round != 100; ++round) {
    tell_to(16 * round + 15, 2 * round);
    EXPECT_LE(host.held.size(), kCells);
    EXPECT_EQ(host.held.size() + host.released, host.told.size());
  }
  EXPECT_EQ(host.dropped, 0u);
  host.safe = 2;
  while (ring->pass(host)) {
  }
  EXPECT_TRUE(host.held.empty());
}

}  // namespace
}  // namespace tern
