// The queue of who waits for a lock: first come, first served, name by name.
#include "engine/lock_queue.h"

#include <gtest/gtest.h>

namespace tern::detail {
namespace {

using namespace std::literals;

bool is_first(LockQueue& queue, LockQueue::Waiter& w) { return queue.wait_for_turn(w, 0); }

TEST(LockQueue, ServesInTheOrderOfArrival) {
  LockQueue queue;
  LockQueue::Waiter a{"one"sv, 1, nullptr, {}}, b{"one"sv, 1, nullptr, {}}, c{"one"sv, 1, nullptr, {}};
  EXPECT_FALSE(queue.has_any("one", 1));
  for (LockQueue::Waiter* w : {&a, &b, &c}) queue.enter(*w);
  EXPECT_TRUE(queue.has_any("one", 1));
  EXPECT_TRUE(is_first(queue, a));
  EXPECT_FALSE(is_first(queue, b));
  // Who is next is told, whoever leaves.
  const std::uint32_t before = b.bell.rung();
  queue.leave(a);
  EXPECT_NE(b.bell.rung(), before);
  EXPECT_TRUE(is_first(queue, b));
  EXPECT_FALSE(is_first(queue, c));
  queue.leave(c);
  EXPECT_TRUE(is_first(queue, b));
  queue.leave(b);
  EXPECT_FALSE(queue.has_any("one", 1));
}

// Two names of one group, even of one hash, don't wait for each other.
TEST(LockQueue, NamesAreApart) {
  LockQueue queue;
  LockQueue::Waiter a{"one"sv, 1, nullptr, {}}, b{"two"sv, 1, nullptr, {}}, c{"one"sv, 2, nullptr, {}};
  for (LockQueue::Waiter* w : {&a, &b, &c}) queue.enter(*w);
  for (LockQueue::Waiter* w : {&a, &b, &c}) EXPECT_TRUE(is_first(queue, *w));
  EXPECT_FALSE(queue.has_any("two", 2));
  for (LockQueue::Waiter* w : {&b, &a, &c}) queue.leave(*w);
}

}  // namespace
}  // namespace tern::detail
