// R2, R3: clear and del_prefix beside sets, appends, batches, gets and views of other threads, swept meanwhile. Each key has
// one writer; each write has a number of its own, and an append adds its number to those that it found. Nothing else
// removes, so of all that is read
//   no number is older than a removal that began after its write had returned and returned before the read began
//   a key is missing only if there was a removal that its last write before, and the read, leave room for
// judged by a count of calls, not by time.
#include <tern/store.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstdio>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

constexpr unsigned kWriters = 2;
constexpr unsigned kRemovalsMin = 40;
constexpr unsigned kKeys = 24;  // of each writer; the last third aren't under the prefix

struct Span {
  std::uint64_t begin = 0, end = 0;
};
struct Seen {
  Span span;
  unsigned writer = 0, key = 0;
  std::string value;
  bool present = false;
};

class Clearing {
 public:
  explicit Clearing(const Store& store) : store_(store), writes_(kWriters) {}

  static std::string key(unsigned w, unsigned k) { return (k < kKeys * 2 / 3 ? "in:" : "out:") + std::to_string(w) + "." + std::to_string(k); }

  void write(unsigned w, unsigned count) {
    std::mt19937 random(w + 1);
    auto& writes = writes_[w];
    // Until there were enough removals beside them, however seldom the thread that removes gets its turn.
    for (unsigned n = 0; n < count || (removed_.load() < kRemovalsMin && n < 200 * count); ++n) {
      const std::string id = std::to_string(n) + ",";
      const unsigned k = pick(random, kKeys - 1);
      const unsigned how = pick(random, 4);
      Write write{{clock_.fetch_add(1), 0}, k, how == 0 ? k + 1 : k, how >= 2};
      if (how == 0) {
        WriteBatch batch;
        batch.set(key(w, k), id);
        batch.set(key(w, k + 1), id);
        ASSERT_TRUE(store_.write(batch));
      } else if (how == 1) {
        ASSERT_TRUE(store_.set(key(w, k), id));
      } else {
        ASSERT_TRUE(store_.append(key(w, k), id));
      }
      write.span.end = clock_.fetch_add(1);
      writes.push_back(write);
      // An append grows what it finds.
      if (n % 16 == 0) {
        const unsigned again = pick(random, kKeys);
        Write fresh{{clock_.fetch_add(1), 0}, again, again, false};
        ASSERT_TRUE(store_.set(key(w, again), std::to_string(++n) + ","));
        fresh.span.end = clock_.fetch_add(1);
        writes.push_back(fresh);
      }
    }
    ++finished_;
  }
  void remove() {
    for (unsigned n = 0; finished_.load() != kWriters; ++n) {
      Span span{clock_.fetch_add(1), 0};
      ASSERT_TRUE(n % 3 == 0 ? store_.clear() : store_.del_prefix("in:"));
      span.end = clock_.fetch_add(1);
      (n % 3 == 0 ? clears_ : prefixes_).push_back(span);
      ++removed_;
      for (unsigned i = 0; i != 8; ++i) ASSERT_TRUE(store_.tick(std::chrono::microseconds(20)));
      std::this_thread::yield();
    }
  }
  void read(unsigned seed, std::vector<Seen>& out) {
    std::mt19937 random(seed);
    while (finished_.load() != kWriters) {
      Seen s;
      s.writer = pick(random, kWriters);
      s.key = pick(random, kKeys);
      s.span.begin = clock_.fetch_add(1);
      const Lookup<Value> r = store_.get(key(s.writer, s.key));
      s.span.end = clock_.fetch_add(1);
      ASSERT_TRUE(r.found() || r.missing());
      s.present = r.found();
      if (r) s.value = r->view();
      out.push_back(std::move(s));
    }
  }
  // Each key of a view twice.
  void look(std::vector<Seen>& out) {
    while (finished_.load() != kWriters) {
      Span span{clock_.fetch_add(1), 0};
      auto view = store_.view();
      span.end = clock_.fetch_add(1);
      ASSERT_TRUE(view);
      std::vector<Seen> first;
      for (int pass = 0; pass != 2; ++pass) {
        for (unsigned i = 0; i != kWriters * kKeys; ++i) {
          const Lookup<Value> r = view->get(key(i / kKeys, i % kKeys));
          if (r.error().status == Status::kViewExpired) break;
          Seen s{span, i / kKeys, i % kKeys, r ? std::string(r->view()) : std::string(), r.found()};
          if (pass == 0) {
            first.push_back(std::move(s));
          } else {
            ASSERT_EQ(first[i].value, s.value) << "a view has changed";
            ASSERT_EQ(first[i].present, s.present);
          }
        }
      }
      for (Seen& s : first) out.push_back(std::move(s));
    }
  }

  std::size_t removals() const { return clears_.size() + prefixes_.size(); }
  void check(const std::vector<Seen>& all) {
    // Of each writer: by number.
    std::vector<std::vector<const Write*>> by_number(kWriters);
    for (unsigned w = 0; w != kWriters; ++w) {
      for (const Write& write : writes_[w]) by_number[w].push_back(&write);
    }
    for (const Seen& s : all) {
      if (s.present) {
        for (const char *at = s.value.data(), *end = at + s.value.size(); at != end;) {
          unsigned n = 0;
          at = std::from_chars(at, end, n).ptr + 1;
          const Write& write = *by_number[s.writer].at(n);
          ASSERT_TRUE(write.key == s.key || write.second == s.key);
          ASSERT_FALSE(between(s.key, write.span.end, s.span.begin)) << key(s.writer, s.key) << " has " << n << ", which was removed";
          ASSERT_LT(write.span.begin, s.span.end) << "from the future";
        }
        continue;
      }
      const Write* last = nullptr;
      for (const Write& write : writes_[s.writer]) {
        if ((write.key == s.key || write.second == s.key) && write.span.end < s.span.begin) last = &write;
      }
      if (last == nullptr) continue;
      ASSERT_TRUE(overlaps(s.key, last->span.begin, s.span.end)) << key(s.writer, s.key) << " has gone without a removal";
    }
  }

 private:
  static unsigned pick(std::mt19937& random, unsigned n) { return static_cast<unsigned>(random() % n); }
  struct Write {
    Span span;
    unsigned key, second;
    bool appends;
  };
  static bool any(const std::vector<Span>& spans, auto&& fits) { return std::ranges::any_of(spans, fits); }
  // A removal of the key that began after `from` and had returned before `to`.
  bool between(unsigned k, std::uint64_t from, std::uint64_t to) const {
    const auto fits = [=](const Span& s) { return s.begin > from && s.end < to; };
    return any(clears_, fits) || (k < kKeys * 2 / 3 && any(prefixes_, fits));
  }
  bool overlaps(unsigned k, std::uint64_t from, std::uint64_t to) const {
    const auto fits = [=](const Span& s) { return s.end > from && s.begin < to; };
    return any(clears_, fits) || (k < kKeys * 2 / 3 && any(prefixes_, fits));
  }

  const Store& store_;
  std::atomic<std::uint64_t> clock_{1};
  std::atomic<unsigned> finished_{0};
  std::atomic<unsigned> removed_{0};
  std::vector<std::vector<Write>> writes_;
  std::vector<Span> clears_, prefixes_;
};

TEST(ClearThreads, NothingOlderIsReadAndNothingNewerDies) {
  Options options;
  options.memory_bytes = 16 * kMiB;
  options.hash_seed = 42;
  const Store store = open_or_fail(options);
  Clearing c(store);
  std::vector<Seen> seen[3];
  std::vector<std::thread> threads;
  for (unsigned w = 0; w != kWriters; ++w) threads.emplace_back([&, w] { c.write(w, quick_or_long(3'000u, 40'000u)); });
  threads.emplace_back([&] { c.remove(); });
  for (unsigned r = 0; r != 2; ++r) threads.emplace_back([&, r] { c.read(r + 10, seen[r]); });
  threads.emplace_back([&] { c.look(seen[2]); });
  for (std::thread& t : threads) t.join();
  std::size_t present = 0, missing = 0;
  for (auto& some : seen) {
    // A part of what was read is judged: the check is by pairs.
    const std::size_t most = quick_or_long<std::size_t>(4'000, 40'000);
    std::vector<Seen> judged;
    for (std::size_t i = 0; i < some.size(); i += 1 + some.size() / most) {
      (some[i].present ? present : missing)++;
      judged.push_back(some[i]);
    }
    c.check(judged);
  }
  std::printf("[tern] %zu removals beside them; of what was read %zu were there, %zu were not\n", c.removals(), present, missing);
  EXPECT_GE(c.removals(), kRemovalsMin);
  for (int n = 0; n != 100'000 && store.stats().owed.invalidations != 0; ++n) ASSERT_TRUE(store.tick(milliseconds(1)));
  EXPECT_EQ(store.stats().owed.invalidations, 0u);
  EXPECT_TRUE(whole(store));
}

}  // namespace
}  // namespace tern::test
