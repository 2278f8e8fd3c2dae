// Batches of several real threads: what they move is never seen twice or not at all, however many meet.
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <map>
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

// Values that batches swap and turn round: whoever looks at one moment, or by a view, sees each of them once.
TEST(BatchThreads, APermutationStaysOne) {
  constexpr unsigned kPlaces = 12;
  Store store = open_or_fail(small_options());
  std::vector<std::string> names;
  for (unsigned i = 0; i != kPlaces; ++i) {
    names.push_back(numbered("place", i));
    ASSERT_TRUE(store.set(names[i], std::string(1, static_cast<char>('a' + i))));
  }
  const std::vector<std::string_view> keys(names.begin(), names.end());
  std::atomic<int> moved{0};
  std::atomic<unsigned> running{2};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t != 2; ++t) {
    threads.emplace_back([&, t] {
      const int rounds = quick_or_long(kSanitized ? 1'000 : 10'000, 300'000);
      unsigned random = 77 * (t + 1);
      WriteBatch batch;
      for (int n = 0; n != rounds; ++n) {
        random = random * 1'664'525u + 1'013'904'223u;
        const unsigned first = (random >> 8) % kPlaces, size = 2 + (random >> 20) % 4;
        std::vector<std::string> now;
        batch.clear();
        for (unsigned i = 0; i != size; ++i) {
          const auto value = store.get(names[(first + i) % kPlaces]);
          if (!value) break;
          now.emplace_back(value->view());
          batch.require_value(names[(first + i) % kPlaces], now.back());
        }
        if (now.size() != size) {
          ADD_FAILURE() << "a place is empty";
          break;
        }
        for (unsigned i = 0; i != size; ++i) batch.set(names[(first + i) % kPlaces], now[(i + 1) % size]);
        const auto done = store.write(batch);
        if (done) {
          ++moved;
        } else if (done.status() != Status::kConflict) {
          ADD_FAILURE() << "neither done nor in conflict";
          break;
        }
      }
      --running;
    });
  }
  const auto is_permutation = [&](std::string seen) {
    std::sort(seen.begin(), seen.end());
    for (unsigned i = 0; i != kPlaces; ++i) {
      if (seen.size() != kPlaces || seen[i] != static_cast<char>('a' + i)) return false;
    }
    return true;
  };
  Values values;
  do {
    std::string seen;
    EXPECT_TRUE(store.get_many_at_one_moment(keys, values));
    for (unsigned i = 0; i != kPlaces; ++i) seen += std::string(*values[i]);
    EXPECT_TRUE(is_permutation(seen)) << seen;
    if (auto view = store.view()) {
      for (int pass = 0; pass != 2; ++pass) {
        std::string by_view;
        for (const std::string& name : names) {
          if (const auto value = view->get(name)) by_view += std::string(value->view());
        }
        EXPECT_TRUE(is_permutation(by_view)) << by_view;
        if (pass == 0) seen = by_view;
        EXPECT_EQ(seen, by_view) << "a view changed under its reader";
      }
    }
  } while (running != 0 && !::testing::Test::HasFailure());
  for (auto& t : threads) t.join();
  EXPECT_GT(moved.load(), 100);
  EXPECT_TRUE(whole(store));
}

// Batches that each append their number to two of three lists. The lists in the end tell in which order the batches
// came key by key; all of it together, and what was over before another began, must be one order: no cycle.
TEST(BatchThreads, ListsOfAppendsHaveNoCycle) {
  using Clock = std::chrono::steady_clock;
  constexpr unsigned kLists = 3, kAppends = 120;
  const int histories = quick_or_long(kSanitized ? 10 : 60, 5'000);
  Store store = open_or_fail(small_options());
  for (int h = 0; h != histories && !::testing::Test::HasFailure(); ++h) {
    std::array<std::string, kLists> names;
    for (unsigned k = 0; k != kLists; ++k) ASSERT_TRUE(store.set(names[k] = numbered("list", k), ""));
    struct Append {
      Clock::time_point begin, end;
      unsigned lists[2];
    };
    std::map<char16_t, Append> appends;  // by number
    std::map<char16_t, Append> of_thread[2];
    std::vector<std::thread> threads;
    for (unsigned t = 0; t != 2; ++t) {
      threads.emplace_back([&, t] {
        unsigned random = static_cast<unsigned>(h) * 2 + t + 1;
        WriteBatch batch;
        for (char16_t n = 1; n <= kAppends / 2; ++n) {
          random = random * 1'664'525u + 1'013'904'223u;
          const auto number = static_cast<char16_t>(n * 2 + t);
          Append append{Clock::now(), {}, {(random >> 10) % kLists, 0}};
          append.lists[1] = (append.lists[0] + 1 + (random >> 20) % (kLists - 1)) % kLists;
          for (bool done = false; !done;) {
            batch.clear();
            for (const unsigned k : append.lists) {
              const auto value = store.get(names[k]);
              std::string list(value ? value->view() : "");
              batch.require_value(names[k], list);
              list.append(reinterpret_cast<const char*>(&number), sizeof number);
              batch.set(names[k], list);
            }
            done = static_cast<bool>(store.write(batch));
          }
          append.end = Clock::now();
          of_thread[t][number] = append;
        }
      });
    }
    for (auto& t : threads) t.join();
    for (auto& part : of_thread) appends.merge(part);
    std::map<char16_t, std::vector<char16_t>> after;  // edges
    std::map<char16_t, unsigned> before;              // how many are unexplained
    for (const auto& [number, append] : appends) before[number] = 0;
    const auto edge = [&](char16_t from, char16_t to) {
      after[from].push_back(to);
      ++before[to];
    };
    for (unsigned k = 0; k != kLists; ++k) {
      const auto value = store.get(names[k]);
      ASSERT_TRUE(value);
      std::vector<char16_t> list(value->view().size() / sizeof(char16_t));
      std::memcpy(list.data(), value->view().data(), value->view().size());
      const auto of_list = std::count_if(appends.begin(), appends.end(), [&](const auto& a) {
        return a.second.lists[0] == k || a.second.lists[1] == k;
      });
      ASSERT_EQ(static_cast<std::ptrdiff_t>(list.size()), of_list) << "an append was lost or came twice";
      for (std::size_t i = 1; i < list.size(); ++i) edge(list[i - 1], list[i]);
    }
    for (const auto& [a, first] : appends) {
      for (const auto& [b, second] : appends) {
        if (first.end < second.begin) edge(a, b);
      }
    }
    std::vector<char16_t> ready;
    for (const auto& [number, count] : before) {
      if (count == 0) ready.push_back(number);
    }
    std::size_t explained = 0;
    while (!ready.empty()) {
      const char16_t number = ready.back();
      ready.pop_back();
      ++explained;
      for (const char16_t next : after[number]) {
        if (--before[next] == 0) ready.push_back(next);
      }
    }
    EXPECT_EQ(explained, appends.size()) << "no order of the batches explains the lists of history " << h;
  }
  EXPECT_TRUE(whole(store));
}

// Batches for whose new keys there may be no room half-way, when they are installed in part and others help them: what was given
// up leaves nothing, for anybody.
TEST(BatchThreads, GivenUpHalfWayTheyLeaveNothing) {
  Options options = small_options();
  options.memory_bytes = 4 * kMiB;
  options.eviction = false;
  Store store = open_or_fail(options);
  constexpr unsigned kOwn = 3'000, kShared = 8, kThreads = 2;
  std::vector<std::string> shared;
  for (unsigned i = 0; i != kShared; ++i) ASSERT_TRUE(store.set(shared.emplace_back(numbered("shared", i)), "none"));
  unsigned filled = 0;
  while (store.set(numbered("f", filled), std::string(4'000, 'f'))) ++filled;
  while (store.set(numbered("f", filled), "")) ++filled;
  std::atomic<unsigned> committed{0}, refused{0}, gone{0}, running{kThreads};
  const unsigned rounds = quick_or_long(kSanitized ? 40u : 200u, 10'000u);
  std::vector<std::jthread> threads;
  for (unsigned t = 0; t != kThreads; ++t) {
    threads.emplace_back([&, t] {
      WriteBatch batch;
      for (unsigned n = 0; n != rounds && !::testing::Test::HasFailure(); ++n) {
        const auto own = [&](unsigned i) { return numbered("own", (t * 100 + n % 7) * 10'000ull + i); };
        const unsigned size = 200 + (n * 997 + t * 331) % (kOwn - 200);
        const std::string mark = std::to_string(t) + "." + std::to_string(n);
        batch.clear();
        for (const std::string& key : shared) batch.set(key, mark);
        for (unsigned i = 0; i != size; ++i) batch.set(own(i), "");
        // About as much room as one needs: a little more after each refusal, less after each commit.
        if (const auto r = store.write(batch)) {
          ++committed;
          (void)store.set(numbered("f", --gone), std::string(4'000, 'f'));
          batch.clear();
          for (unsigned i = 0; i != size; ++i) {
            if (i % 31 == 0) {
              EXPECT_TRUE(store.get(own(i)).found());
            }
            batch.del(own(i));
          }
          if (!store.write(batch)) {
            // One by one; a guard of the other's may keep the reserve for removals from coming back for a while.
            for (unsigned i = 0; i != size; ++i) {
              Result<bool> gone_too = store.del(own(i));
              for (int again = 0; again != 100'000 && !gone_too; ++again) {
                std::this_thread::yield();
                gone_too = store.del(own(i));
              }
              EXPECT_TRUE(gone_too && *gone_too);
            }
          }
        } else {
          EXPECT_EQ(r.status(), Status::kOutOfMemory);
          ++refused;
          (void)store.del(numbered("f", gone++));
        }
        for (unsigned i = 0; i < size; i += 7) EXPECT_TRUE(store.get(own(i)).missing());
      }
      --running;
    });
  }
  // Whoever meets a batch finishes it, or is refused as it was. The shared keys are always of one batch.
  const std::vector<std::string_view> keys(shared.begin(), shared.end());
  Values values;
  for (unsigned n = 0; running != 0; ++n) {
    if (n % 16 == 0) (void)store.tick(std::chrono::microseconds(100));
    const auto r = store.get_many_at_one_moment(keys, values);
    if (r.status() == Status::kConflict) continue;
    ASSERT_TRUE(r);
    for (unsigned i = 1; i != kShared; ++i) ASSERT_EQ(*values[i], *values[0]);
  }
  threads.clear();
  std::printf("[tern] %u batches committed, %u refused\n", committed.load(), refused.load());
  EXPECT_GT(refused, 0u);
  EXPECT_GT(committed, 0u);
  ASSERT_TRUE(store.del_prefix("f"));
  for (int i = 0; i != 1'000 && store.stats().entries != kShared; ++i) ASSERT_TRUE(store.tick(1ms));
  EXPECT_EQ(store.stats().entries, kShared);
  EXPECT_TRUE(whole(store));
}

// Removals have a reserve, of which the placeholders of new keys take nothing; and a batch in the way of one, for which there is no
// memory, doesn't stop it. (But for a thread that was taken off its processor inside its guard for longer than a removal waits.)
TEST(BatchThreads, RemovalsOfAFullStoreGoOnBesideThousandsOfNewKeys) {
  Options options = small_options();
  options.memory_bytes = 4 * kMiB;
  options.eviction = false;
  Store store = open_or_fail(options);
  constexpr unsigned kOwn = 3'000, kShared = 8;
  for (unsigned i = 0; i != kOwn; ++i) ASSERT_TRUE(store.set(numbered("d", i), ""));
  unsigned filled = 0;
  while (store.set(numbered("f", filled), std::string(4'000, 'f'))) ++filled;
  while (store.set(numbered("f", filled), "")) ++filled;
  std::atomic<bool> over{false};
  std::atomic<unsigned> committed{0}, refused{0};
  std::jthread writer([&] {
    WriteBatch batch;
    unsigned gone = 0;
    for (unsigned n = 0; !over; ++n) {
      const unsigned size = 200 + n * 997 % 3'800;
      const auto own = [&](unsigned i) { return numbered("own", n % 7 * 10'000ull + i); };
      batch.clear();
      for (unsigned i = 0; i != kShared; ++i) batch.set(numbered("shared", i), "");
      for (unsigned i = 0; i != size; ++i) batch.set(own(i), "");
      // About as much room as one needs, as above.
      if (store.write(batch)) {
        ++committed;
        (void)store.set(numbered("f", --gone), std::string(4'000, 'f'));
        for (unsigned i = 0; i != size; ++i) (void)store.del(own(i));
      } else {
        ++refused;
        (void)store.del(numbered("f", gone++));
      }
    }
  });
  const unsigned rounds = quick_or_long(kSanitized ? 5'000u : 20'000u, 1'000'000u);
  unsigned removals_refused = 0;
  for (unsigned n = 0; n != rounds; ++n) {
    const std::string key = n % 5 == 0 ? numbered("shared", n % kShared) : numbered("d", n % kOwn);
    if (!store.del(key)) ++removals_refused;
    if (n % 5 != 0) (void)store.set(key, "");
    if (n % 8 == 0) std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
  over = true;
  writer.join();
  std::printf("[tern] %u of %u removals refused; %u batches committed, %u refused\n", removals_refused, rounds, committed.load(),
              refused.load());
  EXPECT_LE(removals_refused * 500, rounds);
  EXPECT_GT(committed + refused, 0u);
  EXPECT_TRUE(whole(store));
}

// What the full-store test of eviction asks (eviction_test.cc), where batches write and views hold what they replace: none is
// refused for long, the store stays a full one, and what a view shows stays.
TEST(BatchThreads, EightOnAFullStoreBesideViews) {
  Options options = small_options();
  options.memory_bytes = 64 * kMiB;
  Store store = open_or_fail(options);
  for (unsigned i = 0; i != 400'000; ++i) ASSERT_TRUE(store.set(numbered("k", i), std::string(100, 'v')));
  const Stats before = store.stats();
  constexpr unsigned kThreads = 8, kSets = 8;
  const unsigned rounds = quick_or_long(kSanitized ? 500u : 4'000u, 200'000u);
  std::atomic<std::uint64_t> refused{0}, looked{0}, ended{0};
  {
    std::vector<std::jthread> threads;
    for (unsigned t = 0; t != kThreads; ++t) {
      threads.emplace_back([&, t] {
        WriteBatch batch;
        View view;
        std::string seen, of;
        for (unsigned n = 0; n != rounds; ++n) {
          batch.clear();
          for (unsigned i = 0; i != kSets - 1; ++i) batch.set(numbered("t", t * 100'000'000ull + n * kSets + i), std::string(100, 'b'));
          // All of a thread's batches set it: it is replaced under each view.
          batch.set(numbered("own", t), std::to_string(n), {.evictable = false});
          if (!store.write(batch)) ++refused;
          if (t >= 2) continue;
          if (n % 64 == 0) {
            view = View();
            if (auto opened = store.view()) view = std::move(*opened);
            of = numbered("own", t);
            seen.clear();
          }
          if (const auto value = view.get(of)) {
            if (seen.empty()) seen = value->view();
            EXPECT_EQ(value->view(), seen);
            ++looked;
          } else {
            EXPECT_EQ(value.status(), Status::kViewExpired);
            ++ended;
          }
        }
      });
    }
  }
  const Stats s = store.stats();
  const std::uint64_t inserts = s.inserts - before.inserts, evicted = s.evicted - before.evicted;
  std::printf("[tern] inserts %llu, evicted %llu, refused %llu batches, entries %llu, looks %llu, of ended views %llu\n",
              static_cast<unsigned long long>(inserts), static_cast<unsigned long long>(evicted),
              static_cast<unsigned long long>(refused.load()), static_cast<unsigned long long>(s.entries),
              static_cast<unsigned long long>(looked.load()), static_cast<unsigned long long>(ended.load()));
  EXPECT_LE(refused * 1'000, static_cast<std::uint64_t>(kThreads) * rounds);
  // And once what the threads' limbo comes to hold, half a MiB each.
  EXPECT_LE(static_cast<double>(evicted), static_cast<double>(inserts) * 1.1 + kThreads * 4'500);
  EXPECT_GT(s.entries, 300'000u) << "emptied";
  EXPECT_GT(looked, rounds / 4);
  EXPECT_TRUE(whole(store));
}

}  // namespace
}  // namespace tern::test
