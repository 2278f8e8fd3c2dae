// Batches of several real threads: what they move is never seen twice or not at all, however many meet.
#include <atomic>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

constexpr unsigned kAccounts = 8;
constexpr int kEach = 100;

std::string account(unsigned i) { return "account" + std::to_string(i); }

// Two threads move money between accounts by batches that ask for the values they saw; one sets an account of its own
// beside them in every batch; the reader adds up what it sees at one moment.
TEST(BatchThreads, TransfersNeverChangeTheSum) {
  Store store = open_or_fail(small_options());
  for (unsigned i = 0; i != kAccounts; ++i) ASSERT_TRUE(store.set(account(i), std::to_string(kEach)));
  const int rounds = quick_or_long(kSanitized ? 2'000 : 20'000, 500'000);
  std::atomic<int> moved{0}, conflicts{0};
  std::atomic<unsigned> running{2};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t != 2; ++t) {
    threads.emplace_back([&, t] {
      unsigned random = t + 1;
      WriteBatch batch;
      for (int n = 0; n != rounds; ++n) {
        random = random * 1'664'525u + 1'013'904'223u;
        const std::string from = account((random >> 8) % kAccounts), to = account((random >> 16) % kAccounts);
        if (from == to) continue;
        const auto a = store.get(from), b = store.get(to);
        if (!a || !b) {
          ADD_FAILURE() << "an account is missing";
          break;
        }
        batch.clear();
        batch.require_value(from, a->view());
        batch.require_value(to, b->view());
        batch.set(from, std::to_string(std::stoi(std::string(a->view())) - 1));
        batch.set(to, std::to_string(std::stoi(std::string(b->view())) + 1));
        const auto done = store.write(batch);
        if (done) {
          ++moved;
        } else {
          EXPECT_EQ(done.status(), Status::kConflict);
          ++conflicts;
        }
      }
      --running;
    });
  }
  std::vector<std::string> names;
  for (unsigned i = 0; i != kAccounts; ++i) names.push_back(account(i));
  const std::vector<std::string_view> keys(names.begin(), names.end());
  Values values;
  int looks = 0;
  do {
    ASSERT_TRUE(store.get_many_at_one_moment(keys, values));
    int sum = 0;
    for (unsigned i = 0; i != kAccounts; ++i) sum += std::stoi(std::string(*values[i]));
    ASSERT_EQ(sum, static_cast<int>(kAccounts) * kEach);
    ++looks;
  } while (running != 0);
  for (auto& t : threads) t.join();
  std::printf("[tern] transfers: %d moved, %d conflicts, %d looks\n", moved.load(), conflicts.load(), looks);
  EXPECT_GT(moved.load(), rounds / 2);
  EXPECT_TRUE(whole(store));
}

// Tokens that batches carry between absent keys, while plain writes and other batches meet them, in a store that evicts
// nothing and whose table grows.
TEST(BatchThreads, ATokenIsAlwaysInOnePlace) {
  Store store = open_or_fail(small_options());
  ASSERT_TRUE(store.set("here", "t"));
  std::atomic<bool> over{false};
  std::thread carrier([&] {
    WriteBatch batch;
    const int rounds = quick_or_long(kSanitized ? 2'000 : 20'000, 500'000);
    for (int n = 0; n != rounds; ++n) {
      batch.clear();
      const bool there = n % 2 != 0;
      batch.del(there ? "there" : "here");
      batch.set(there ? "here" : "there", "t");
      for (int i = 0; i != 6; ++i) batch.set(numbered("beside", static_cast<unsigned>(n * 7 + i) % 3000), "x");
      ASSERT_TRUE(store.write(batch));
    }
    over = true;
  });
  std::thread other([&] {
    WriteBatch batch;
    for (unsigned n = 0; !over; ++n) {
      batch.clear();
      for (unsigned i = 0; i != 6; ++i) batch.set(numbered("beside", (n * 11 + i) % 3000), "y", {.ttl = 1h});
      ASSERT_TRUE(store.write(batch));
      (void)store.del(numbered("beside", n % 3000));
    }
  });
  const std::string_view keys[] = {"here", "there"};
  Values values;
  while (!over) {
    ASSERT_TRUE(store.get_many_at_one_moment(keys, values));
    ASSERT_NE(values[0].found(), values[1].found());
  }
  carrier.join();
  other.join();
  EXPECT_TRUE(whole(store));
}

}  // namespace
}  // namespace tern::test
