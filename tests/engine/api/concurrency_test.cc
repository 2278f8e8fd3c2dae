// Real threads on a store: growth under load, counters, exchanges, reads at one moment, full
// stores.
#include <tern/store.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <latch>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

constexpr unsigned kThreads = 8;

// fn(thread) on all threads at once.
template <class Fn>
void together(unsigned threads, Fn&& fn) {
  std::latch start(threads);
  std::vector<std::jthread> all;
  for (unsigned t = 0; t < threads; ++t) {
    all.emplace_back([&, t] {
      start.arrive_and_wait();
      fn(t);
    });
  }
}

// A write that may meet a limbo full of what a thread off the processor keeps from being reused:
// asks again. Bounded, so that a store that never recovers fails the test.
template <class Fn>
auto persistently(Fn&& write) {
  auto r = write();
  for (unsigned i = 0; i < 1'000'000 && r.status() == Status::kOutOfMemory; ++i) {
    std::this_thread::yield();
    r = write();
  }
  return r;
}

// A value that tells whose it is and whether it is whole.
std::string signed_value(std::string_view key, std::uint64_t n, std::size_t size) {
  std::string v(key);
  v += '#' + std::to_string(n) + '#';
  const char fill = static_cast<char>('a' + n % 26);
  if (v.size() < size) v.resize(size, fill);
  return v;
}
bool is_signed_by(std::string_view value, std::string_view key) {
  if (!value.starts_with(key) || value.size() <= key.size() || value[key.size()] != '#')
    return false;
  std::uint64_t n = 0;
  const char* end = value.data() + value.size();
  const auto parsed = std::from_chars(value.data() + key.size() + 1, end, n);
  if (parsed.ec != std::errc() || parsed.ptr == end || *parsed.ptr != '#') return false;
  return std::all_of(parsed.ptr + 1, end,
                     [&](char c) { return c == static_cast<char>('a' + n % 26); });
}

Options options_of(std::size_t memory_bytes) {
  Options options = small_options();
  options.memory_bytes = memory_bytes;
  return options;
}

TEST(GrowthUnderLoadTest, EveryKeyThatWasInsertedIsThereOnce) {
  Options options = options_of(64 * kMiB);
  options.shard_count = 2;  // much growth in few tables
  const Store store = open_or_fail(options);
  const unsigned own = quick_or_long(8'000u, 100'000u), shared = own / 2;
  std::atomic<std::uint64_t> inserted{0};
  together(kThreads, [&](unsigned t) {
    for (unsigned i = 0; i < own; ++i) {
      const std::string mine = numbered("own", std::uint64_t{t} * own + i);
      ASSERT_TRUE(store.set(mine, mine));
      if (i % 2 == 0) {
        // Everybody tries to be the one who inserts.
        const Result<bool> r = store.set_nx(numbered("shared", i / 2), numbered("t", t));
        ASSERT_TRUE(r);
        inserted += *r;
      }
      if (i % 8 == 7) {
        ASSERT_EQ(value_of(store, mine), mine);
      }
    }
  });
  EXPECT_EQ(inserted, shared) << "one inserter for each key";
  EXPECT_EQ(store.stats().entries, kThreads * own + shared);
  for (unsigned i = 0; i < kThreads * own; ++i)
    ASSERT_EQ(value_of(store, numbered("own", i)), numbered("own", i));
  for (unsigned i = 0; i < shared; ++i) ASSERT_TRUE(*store.exists(numbered("shared", i)));
  EXPECT_TRUE(whole(store));
}

TEST(GrowthUnderLoadTest, AKeyThatIsAlwaysThereIsNeverMissed) {
  Options options = options_of(64 * kMiB);
  options.shard_count = 1;
  const Store store = open_or_fail(options);
  constexpr unsigned kStable = 64;
  for (unsigned i = 0; i < kStable; ++i)
    ASSERT_TRUE(store.set(numbered("stable", i), signed_value(numbered("stable", i), 0, 40)));
  const unsigned count = quick_or_long(60'000u, 1'000'000u);
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> looks{0};
  std::vector<std::jthread> readers;
  for (unsigned t = 0; t < 3; ++t) {
    readers.emplace_back([&, t] {
      std::vector<std::string> names;
      for (unsigned i = 0; i < kStable; ++i) names.push_back(numbered("stable", i));
      const std::vector<std::string_view> keys(names.begin(), names.end());
      Values values;
      char buffer[256];
      for (unsigned n = t; !stop; ++n) {
        const std::string& key = names[n % kStable];
        const Lookup<std::size_t> r = store.get(key, std::span<char>(buffer));
        ASSERT_TRUE(r) << key;
        ASSERT_TRUE(is_signed_by({buffer, *r}, key));
        if (n % 16 == 0) {
          ASSERT_TRUE(store.get_many(keys, values));
          for (unsigned i = 0; i < kStable; ++i) {
            ASSERT_TRUE(values[i].found()) << keys[i];
            ASSERT_TRUE(is_signed_by(*values[i], keys[i]));
          }
          ASSERT_TRUE(*store.exists(key));
          ASSERT_TRUE(
              store.visit(key, [&](std::string_view v) { ASSERT_TRUE(is_signed_by(v, key)); }));
        }
        ++looks;
      }
    });
  }
  std::jthread overwriter([&] {
    for (unsigned n = 1; !stop; ++n) {
      const std::string key = numbered("stable", n % kStable);
      const auto r =
          persistently([&] { return store.set(key, signed_value(key, n, 30 + n % 100)); });
      ASSERT_TRUE(r) << status_name(r.status());
    }
  });
  for (unsigned i = 0; i < count; ++i) {
    const auto r = persistently([&] { return store.set(numbered("new", i), "v"); });
    ASSERT_TRUE(r) << status_name(r.status());
  }
  stop = true;
  readers.clear();
  overwriter.join();
  std::printf("%llu looks while %u keys came\n", static_cast<unsigned long long>(looks.load()),
              count);
  EXPECT_EQ(store.stats().entries, count + kStable);
  EXPECT_TRUE(whole(store));
}

TEST(CounterTest, IncrementsOfAllThreadsSumExactly) {
  const Store store = open_or_fail(options_of(32 * kMiB));
  const unsigned each = quick_or_long(10'000u, 500'000u);
  constexpr unsigned kCounters = 4;
  together(kThreads, [&](unsigned t) {
    for (unsigned i = 0; i < each; ++i) {
      const auto r =
          persistently([&] { return store.increment(numbered("c", (t + i) % kCounters)); });
      ASSERT_TRUE(r) << status_name(r.status());
    }
  });
  std::int64_t sum = 0;
  for (unsigned c = 0; c < kCounters; ++c) sum += *store.increment(numbered("c", c), 0);
  EXPECT_EQ(sum, std::int64_t{kThreads} * each);
  EXPECT_TRUE(whole(store));
}

TEST(CounterTest, AppendsOfAllThreadsAreAllThere) {
  const Store store = open_or_fail(options_of(64 * kMiB));
  constexpr unsigned kEach = 500;
  together(kThreads, [&](unsigned t) {
    const std::string mine(1, static_cast<char>('a' + t));
    for (unsigned i = 0; i < kEach; ++i) {
      const auto r = persistently([&] { return store.append("k", mine); });
      ASSERT_TRUE(r) << status_name(r.status());
    }
  });
  const std::string all = value_of(store, "k").value_or("");
  EXPECT_EQ(all.size(), kThreads * kEach);
  for (unsigned t = 0; t < kThreads; ++t) {
    EXPECT_EQ(std::count(all.begin(), all.end(), static_cast<char>('a' + t)), kEach);
  }
}

TEST(CounterTest, ExchangesByValueAndByVersionLoseNothing) {
  const Store store = open_or_fail(options_of(32 * kMiB));
  ASSERT_TRUE(store.set("by value", "0"));
  ASSERT_TRUE(store.set("by version", "0"));
  const unsigned each = quick_or_long(2'000u, 100'000u);
  std::atomic<std::uint64_t> failed{0};
  together(4, [&](unsigned) {
    for (unsigned i = 0; i < each; ++i) {
      for (;;) {
        const std::string old = value_of(store, "by value").value_or("?");
        const auto r = store.compare_and_swap("by value", old, std::to_string(std::stoll(old) + 1));
        if (r && *r) break;
        ++failed;
        ASSERT_TRUE(r.ok() || r.status() == Status::kOutOfMemory);
      }
      for (;;) {
        const Lookup<Entry> old = store.get_entry("by version");
        ASSERT_TRUE(old);
        const auto r = store.compare_and_swap_version(
            "by version", old->version,
            std::to_string(std::stoll(std::string(old->value.view())) + 1));
        if (r && *r) break;
        ++failed;
        ASSERT_TRUE(r.ok() || r.status() == Status::kOutOfMemory);
      }
    }
  });
  std::printf("%llu exchanges met another's\n", static_cast<unsigned long long>(failed.load()));
  EXPECT_EQ(value_of(store, "by value"), std::to_string(4 * each));
  EXPECT_EQ(value_of(store, "by version"), std::to_string(4 * each));
}

TEST(CounterTest, OneThreadWinsEachKey) {
  const Store store = open_or_fail(options_of(32 * kMiB));
  constexpr unsigned kKeys = 2'000;
  std::atomic<unsigned> inserted{0}, removed{0}, taken{0};
  together(kThreads, [&](unsigned t) {
    for (unsigned i = 0; i < kKeys; ++i)
      inserted += *store.set_nx(numbered("k", i), numbered("t", t));
  });
  EXPECT_EQ(inserted, kKeys);
  together(kThreads, [&](unsigned) {
    for (unsigned i = 0; i < kKeys; i += 2) removed += *store.del(numbered("k", i));
    for (unsigned i = 1; i < kKeys; i += 2) taken += store.get_and_del(numbered("k", i)).found();
  });
  EXPECT_EQ(removed, kKeys / 2);
  EXPECT_EQ(taken, kKeys / 2);
  EXPECT_EQ(store.stats().entries, 0u);
  EXPECT_TRUE(whole(store));
}

TEST(VersionsUnderLoadTest, VersionsOfAKeyAreDifferentAndGrowInEveryThread) {
  const Store store = open_or_fail(options_of(32 * kMiB));
  constexpr unsigned kEach = 5'000;
  std::vector<std::vector<std::uint64_t>> seen(4);
  together(4, [&](unsigned t) {
    seen[t].reserve(kEach);
    for (unsigned i = 0; i < kEach; ++i) {
      const auto r = persistently([&] { return store.set("k", numbered("v", i)); });
      ASSERT_TRUE(r);
      ASSERT_TRUE(seen[t].empty() || *r > seen[t].back());
      seen[t].push_back(*r);
      if (i % 5 == 0) {
        ASSERT_TRUE(store.del("k"));
      }
    }
  });
  std::vector<std::uint64_t> all;
  for (const auto& versions : seen) all.insert(all.end(), versions.begin(), versions.end());
  std::sort(all.begin(), all.end());
  EXPECT_EQ(std::adjacent_find(all.begin(), all.end()), all.end()) << "a version was given twice";
}

TEST(HoldUnderLoadTest, HeldValuesStayAsTheyWereWhileWritersGoOn) {
  const Store store = open_or_fail(options_of(32 * kMiB));
  constexpr unsigned kKeys = 16;
  for (unsigned k = 0; k < kKeys; ++k)
    ASSERT_TRUE(store.set(numbered("k", k), signed_value(numbered("k", k), 0, 200)));
  const unsigned rounds = quick_or_long(10'000u, 500'000u);
  together(4, [&](unsigned t) {
    std::mt19937 random(t);
    struct Kept {
      HeldValue held;
      std::string key, bytes;
    };
    std::vector<Kept> kept;
    for (unsigned i = 0; i < rounds; ++i) {
      const std::string key = numbered("k", random() % kKeys);
      if (t < 2) {
        const auto r = persistently(
            [&] { return store.set(key, signed_value(key, i, 100 + random() % 300)); });
        ASSERT_TRUE(r) << status_name(r.status());
        if (random() % 8 == 0) {
          ASSERT_TRUE(store.del(key));
        }
        continue;
      }
      Lookup<HeldValue> r = store.hold(key);
      if (!r) continue;
      ASSERT_TRUE(is_signed_by(r->view(), key));
      kept.push_back({std::move(*r), key, ""});
      kept.back().bytes = std::string(kept.back().held.view());
      if (kept.size() > 50) {
        const std::size_t at = random() % kept.size();
        ASSERT_EQ(kept[at].held.view(), kept[at].bytes);
        kept.erase(kept.begin() + static_cast<long>(at));
      }
    }
  });
  EXPECT_EQ(store.stats().held_values, 0u);
  EXPECT_EQ(store.stats().held_bytes, 0u);
  EXPECT_TRUE(whole(store));
}

TEST(HoldUnderLoadTest, ValuesHeldByOneThreadAreReleasedByAnother) {
  const Store store = open_or_fail(options_of(32 * kMiB));
  ASSERT_TRUE(store.set("k", signed_value("k", 0, 300)));
  std::array<std::atomic<HeldValue*>, 64> hand_over{};
  const unsigned rounds = quick_or_long(20'000u, 500'000u);
  together(4, [&](unsigned t) {
    for (unsigned i = 0; i < rounds; ++i) {
      if (t == 0) {
        (void)store.set("k", signed_value("k", i, 300));
        continue;
      }
      auto* mine = new HeldValue(std::move(*store.hold("k")));
      HeldValue* others = hand_over[(i * 7 + t) % hand_over.size()].exchange(mine);
      if (others != nullptr) {
        ASSERT_TRUE(is_signed_by(others->view(), "k"));
        delete others;
      }
    }
  });
  for (auto& h : hand_over) delete h.exchange(nullptr);
  EXPECT_EQ(store.stats().held_values, 0u);
  EXPECT_TRUE(whole(store));
}

TEST(OneMomentTest, TransfersNeverChangeTheSumThatAReaderSees) {
  // A transfer takes from one account and then gives to another: two writes. The reader's moment
  // may lie between them, so money is at most one transfer short for each writer, and never too
  // much.
  const Store store = open_or_fail(options_of(32 * kMiB));
  constexpr unsigned kAccounts = 24;
  constexpr std::int64_t kEach = 1'000;
  constexpr unsigned kWriters = 3;
  for (unsigned a = 0; a < kAccounts; ++a)
    ASSERT_TRUE(store.set(numbered("account", a), std::to_string(kEach)));
  std::vector<std::string> names;
  for (unsigned a = 0; a < kAccounts; ++a) names.push_back(numbered("account", a));
  const std::vector<std::string_view> keys(names.begin(), names.end());
  std::atomic<bool> stop{false};
  std::vector<std::jthread> writers;
  for (unsigned t = 0; t < kWriters; ++t) {
    writers.emplace_back([&, t] {
      std::mt19937 random(t);
      while (!stop) {
        const std::string from = names[random() % kAccounts], to = names[random() % kAccounts];
        ASSERT_TRUE(persistently([&] { return store.increment(from, -1); }));
        ASSERT_TRUE(persistently([&] { return store.increment(to, 1); }));
      }
    });
  }
  Values values;
  const unsigned looks = quick_or_long(3'000u, 200'000u);
  unsigned conflicts = 0;
  for (unsigned n = 0; n < looks; ++n) {
    const Result<void> r = store.get_many_at_one_moment(keys, values);
    if (!r) {
      ASSERT_EQ(r.status(), Status::kConflict);
      ++conflicts;
      continue;
    }
    std::int64_t sum = 0;
    for (unsigned a = 0; a < kAccounts; ++a) {
      ASSERT_TRUE(values[a].found());
      sum += std::stoll(std::string(*values[a]));
    }
    ASSERT_LE(sum, kAccounts * kEach) << "money from nowhere: the values aren't of one moment";
    ASSERT_GE(sum, kAccounts * kEach - kWriters) << "more than is under way is missing";
  }
  stop = true;
  writers.clear();
  EXPECT_EQ(conflicts, 0u);
  std::int64_t sum = 0;
  for (unsigned a = 0; a < kAccounts; ++a) sum += *store.increment(names[a], 0);
  EXPECT_EQ(sum, kAccounts * kEach);
  EXPECT_TRUE(whole(store));
}

TEST(FullStoreUnderLoadTest, WritersSeeOutOfMemoryOnlyAndReadersNeverWrongData) {
  Options options = options_of(4 * kMiB);
  options.eviction = false;
  const Store store = open_or_fail(options);
  const unsigned rounds = quick_or_long(20'000u, 1'000'000u);
  std::atomic<std::uint64_t> ok{0}, refused{0}, removals_refused{0};
  together(kThreads, [&](unsigned t) {
    std::mt19937 random(t + 1);
    char buffer[2'048];
    for (unsigned i = 0; i < rounds; ++i) {
      const std::string key = numbered("k", random() % 20'000);
      switch (random() % 8) {
        case 0: {
          // From the reserve; that too may be in limbo while a thread inside a call is off the
          // processor.
          const Result<bool> r = persistently([&] {
            const Result<bool> once = store.del(key);
            removals_refused += once.status() == Status::kOutOfMemory;
            return once;
          });
          ASSERT_TRUE(r) << "a removal: " << status_name(r.status());
          break;
        }
        case 1:
        case 2:
        case 3: {
          const Lookup<std::size_t> r = store.get(key, std::span<char>(buffer));
          ASSERT_FALSE(r.failed()) << status_name(r.status());
          if (r && *r <= sizeof(buffer)) {
            ASSERT_TRUE(is_signed_by({buffer, *r}, key));
          }
          break;
        }
        default: {
          const Result<std::uint64_t> r = store.set(key, signed_value(key, i, random() % 1'500));
          ASSERT_TRUE(r.ok() || r.status() == Status::kOutOfMemory) << status_name(r.status());
          (r.ok() ? ok : refused) += 1;
        }
      }
    }
  });
  std::printf("%llu writes, %llu refused; %llu removals had to ask again\n",
              static_cast<unsigned long long>(ok.load()),
              static_cast<unsigned long long>(refused.load()),
              static_cast<unsigned long long>(removals_refused.load()));
  EXPECT_GT(refused, 0u) << "the store was never full";
  EXPECT_GT(ok, 0u);
  const Stats s = store.stats();
  EXPECT_LE(s.memory_used_bytes, s.memory_bytes);
  EXPECT_TRUE(whole(store));
  for (unsigned k = 0; k < 20'000; ++k) ASSERT_TRUE(store.del(numbered("k", k)));
  EXPECT_EQ(store.stats().entries, 0u);
  EXPECT_TRUE(whole(store));
}

TEST(FullStoreUnderLoadTest, EntriesMaxIsPassedByAtMostAnEntryAThread) {
  Options options = options_of(32 * kMiB);
  options.entries_max = 1'000;
  const Store store = open_or_fail(options);
  together(kThreads, [&](unsigned t) {
    for (unsigned i = 0; i < 5'000; ++i) {
      const std::string key = numbered("k", (t * 7'919 + i) % 5'000);
      if (i % 3 == 0) {
        ASSERT_TRUE(store.del(key));
      } else {
        const Status s = store.set(key, "v").status();
        ASSERT_TRUE(s == Status::kOk || s == Status::kOutOfMemory);
      }
      if (i % 64 == 0) {
        ASSERT_LE(store.stats().entries, options.entries_max + kThreads);
      }
    }
  });
  EXPECT_LE(store.stats().entries, options.entries_max + kThreads);
  EXPECT_TRUE(whole(store));
}

TEST(MixedLoadTest, EveryOperationBesideEveryOtherKeepsTheStoreWhole) {
  ManualClock clock;
  Options options = options_of(16 * kMiB);
  options.clock = &clock;
  options.maintenance = Maintenance::kBackground;
  const Store store = open_or_fail(options);
  const unsigned rounds = quick_or_long(10'000u, 500'000u);
  together(kThreads, [&](unsigned t) {
    std::mt19937 random(t + 100);
    const Session session = std::move(*store.session());
    Values values;
    for (unsigned i = 0; i < rounds; ++i) {
      const std::string key = numbered("k", random() % 500);
      const std::string value = signed_value(key, i, random() % 600);
      const auto fine = [](Status s) {
        ASSERT_TRUE(s == Status::kOk || s == Status::kOutOfMemory || s == Status::kNotFound ||
                    s == Status::kExists || s == Status::kMismatch || s == Status::kConflict)
            << status_name(s);
      };
      switch (random() % 20) {
        case 0:
          fine(session.set(key, value).status());
          break;
        case 1:
          fine(session.set(key, value, {.ttl = milliseconds(1 + random() % 20)}).status());
          break;
        case 2:
          fine(session.set(key, value, {.if_absent = true}).status());
          break;
        case 3:
          fine(session.set(key, value, {.keep_ttl = true, .if_present = true}).status());
          break;
        case 4:
          fine(session.del(key).status());
          break;
        case 5:
          fine(session.get_and_del(key).status());
          break;
        case 6:
          fine(session.get_and_set(key, value).status());
          break;
        case 7:
          fine(session.expire(key, milliseconds(random() % 20)).status());
          break;
        case 8:
          fine(session.persist(key).status());
          break;
        case 9:
          clock.advance(1ms);
          break;
        case 10:
          fine(session.compare_and_delete(key, value).status());
          break;
        case 11:
          fine(session
                   .update(key,
                           [&](std::optional<std::string_view>) { return Update::replace(value); })
                   .status());
          break;
        case 12: {
          Result<Draft> draft = session.allocate(key, value.size());
          fine(draft.status());
          if (draft) {
            std::memcpy(draft->bytes().data(), value.data(), value.size());
            if (i % 3 != 0) fine(draft->publish().status());
          }
          break;
        }
        case 13: {
          std::vector<std::string> names;
          for (unsigned n = 0; n < 20; ++n) names.push_back(numbered("k", random() % 500));
          const std::vector<std::string_view> keys(names.begin(), names.end());
          ASSERT_TRUE(i % 2 == 0 ? session.get_many(keys, values)
                                 : session.get_many_at_one_moment(keys, values));
          for (unsigned n = 0; n < 20; ++n) {
            if (values[n]) {
              ASSERT_TRUE(is_signed_by(*values[n], keys[n]));
            }
          }
          break;
        }
        case 14: {
          const Item items[] = {{key, value, {}}, {key, value, milliseconds(5)}};
          Result<std::uint64_t> answers[2];
          ASSERT_TRUE(session.set_many(items, answers));
          fine(answers[0].status());
          fine(answers[1].status());
          break;
        }
        case 15: {
          const Lookup<HeldValue> held = session.hold(key);
          if (held) {
            ASSERT_TRUE(is_signed_by(held->view(), key));
          }
          break;
        }
        case 16:
          ASSERT_TRUE(store.tick(50us));
          break;
        case 17:
          (void)store.inspect(key);
          break;
        default: {
          const Lookup<Value> v = session.get(key);
          ASSERT_FALSE(v.failed());
          if (v) {
            ASSERT_TRUE(is_signed_by(v->view(), key));
          }
        }
      }
    }
  });
  EXPECT_TRUE(whole(store));
}

}  // namespace
}  // namespace tern::test
