// The typed face.
#include <tern/store.h>
#include <tern/typed.h>

#include <cstdint>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

struct Position {
  float x, y, z;
  friend bool operator==(const Position&, const Position&) = default;
};

struct CellId {
  std::int32_t x, y;
};

class TypedTest : public StoreTest {};

TEST_F(TypedTest, StructsComeBackAsTheyWere) {
  const Typed<std::uint64_t, Position> positions(store);
  EXPECT_TRUE(positions.get(1).missing());
  ASSERT_TRUE(positions.set(1, {1, 2, 3}));
  ASSERT_TRUE(positions.set(2, {4, 5, 6}));
  EXPECT_EQ(*positions.get(1), (Position{1, 2, 3}));
  EXPECT_EQ(*positions.get(2), (Position{4, 5, 6}));
  EXPECT_TRUE(*positions.exists(1));
  EXPECT_TRUE(*positions.del(1));
  EXPECT_FALSE(*positions.exists(1));
  EXPECT_TRUE(positions.get(1).missing());
}

TEST_F(TypedTest, KeysMayBeStructsWithoutPadding) {
  const Typed<CellId, std::uint32_t> cells(store);
  for (int x = -20; x < 20; ++x) {
    for (int y = -20; y < 20; ++y) {
      ASSERT_TRUE(cells.set({x, y}, static_cast<std::uint32_t>(x * 100 + y)));
    }
  }
  for (int x = -20; x < 20; ++x) {
    for (int y = -20; y < 20; ++y) {
      ASSERT_EQ(*cells.get({x, y}), static_cast<std::uint32_t>(x * 100 + y));
    }
  }
}

TEST_F(TypedTest, ASessionServesAsWell) {
  const Result<Session> session = store.session();
  const Typed<std::uint64_t, Position, Session> positions(*session);
  ASSERT_TRUE(positions.set(7, {1, 1, 1}));
  EXPECT_EQ((*Typed<std::uint64_t, Position>(store).get(7)), (Position{1, 1, 1}));
}

TEST_F(TypedTest, OptionsApply) {
  const Typed<std::uint64_t, Position> positions(store);
  ASSERT_TRUE(positions.set(1, {1, 2, 3}, {.ttl = 10ms}));
  EXPECT_EQ(positions.set(1, {}, {.if_absent = true}).status(), Status::kExists);
  EXPECT_FALSE(*positions.set_nx(1, {}));
  clock.advance(10ms);
  EXPECT_TRUE(positions.get(1).missing());
  EXPECT_TRUE(*positions.set_nx(1, {9, 9, 9}));
}

TEST_F(TypedTest, AnotherSizeUnderTheSameKeyIsTheWrongType) {
  const Typed<std::uint64_t, Position> positions(store);
  const Typed<std::uint64_t, double> others(store);
  ASSERT_TRUE(positions.set(1, {1, 2, 3}));
  EXPECT_EQ(others.get(1).status(), Status::kWrongType);
  EXPECT_EQ(others.modify(1, [](double& d) { d = 1; }).status(), Status::kWrongType);
  EXPECT_EQ(*positions.get(1), (Position{1, 2, 3}));
}

TEST_F(TypedTest, ModifyChangesInPlaceAndAnswersTheResult) {
  const Typed<std::uint64_t, Position> positions(store);
  EXPECT_TRUE(positions.modify(1, [](Position& p) { p.x = 1; }).missing());
  EXPECT_TRUE(positions.get(1).missing());
  ASSERT_TRUE(positions.set(1, {1, 2, 3}, {.ttl = 50ms}));
  const Lookup<Position> r = positions.modify(1, [](Position& p) { p.y += 10; });
  ASSERT_TRUE(r);
  EXPECT_EQ(*r, (Position{1, 12, 3}));
  EXPECT_EQ(*positions.get(1), (Position{1, 12, 3}));
  clock.advance(50ms);
  EXPECT_TRUE(positions.get(1).missing()) << "modify keeps the lifetime";
}

TEST_F(TypedTest, CompareAndSwapComparesObjectBytes) {
  const Typed<std::uint64_t, std::uint64_t> numbers(store);
  ASSERT_TRUE(numbers.set(1, 10));
  EXPECT_FALSE(*numbers.compare_and_swap(1, 11, 12));
  EXPECT_TRUE(*numbers.compare_and_swap(1, 10, 12));
  EXPECT_EQ(*numbers.get(1), 12u);
}

TEST_F(TypedTest, AClosedStoreAnswersClosed) {
  const Typed<std::uint64_t, std::uint64_t> numbers(store);
  store.close();
  EXPECT_EQ(numbers.get(1).status(), Status::kClosed);
  EXPECT_EQ(numbers.set(1, 1).status(), Status::kClosed);
  EXPECT_EQ(numbers.modify(1, [](std::uint64_t& n) { ++n; }).status(), Status::kClosed);
}

}  // namespace
}  // namespace tern::test
