// R11: watches beside writers, batches that commit and that fail, removals of many keys at one moment, expiry, eviction, growth
// and views of other threads. One validator for each property:
//   Order       the versions of a key ascend in what a watch is told
//   Positions   of each shard every position is told, or is in a gap that says how many: no silent hole, nothing twice
//   Truth       a put that is told was made, with this value; a batch that failed is never told
//   Readable    what is told could be read by then: a get finds no older version
//   Whole       without a gap, what was told adds up to what the store has
//   Complete    without a gap, every set that returned is told
// with watches that poll at once, that poll seldom, that come and go (with a view's contents first), and callbacks that write.
#include <tern/batch.h>
#include <tern/dispatcher.h>
#include <tern/store.h>
#include <tern/watch.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <map>
#include <random>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

constexpr unsigned kWriters = 2;
constexpr unsigned kKeys = 300;
constexpr std::string_view kNever = "never";

std::string key_of(unsigned k) { return (k % 3 == 0 ? "app." : "k.") + std::to_string(k); }

// What the writers did: values carry the writer and a number of its own.
struct Made {
  std::string key;
  std::uint64_t version = 0;  // 0: of a batch, not known
};
struct Log {
  std::vector<Made> made;  // by the number in the value
};

class Validator {
 public:
  // Of a watch that began before any change: one that began later passes over what was stamped before it, wherever that lies.
  Validator(const Store& store, unsigned shards, bool from_the_start) : store_(store), next_(shards), is_strict_(from_the_start) {}

  void hear(const Change& c) {
    if (c.kind == ChangeKind::kSynced) return;
    if (!c.initial) positions(c);
    if (c.kind == ChangeKind::kGap) return;
    ++told_;
    if (c.kind == ChangeKind::kInvalidate) return invalidated(c);
    const std::string key(c.key);
    order(key, c);
    if (c.kind == ChangeKind::kPut) {
      truth(c);
      if (told_ % 8 == 0) readable(key, c);
      present_[key] = {std::string(c.value), c.shard};
    } else {
      present_.erase(key);
    }
  }

  // After the last change. `from_nothing`: the watch began with the store, or with its contents.
  void whole() {
    std::size_t seen = 0;
    const Result<View> view = store_.view();
    ASSERT_TRUE(view.ok());
    ASSERT_TRUE(view->for_each([&](std::string_view key, std::string_view value) {
      const auto at = present_.find(std::string(key));
      if (at == present_.end() || at->second.value != value) say("what was told isn't what the store has: " + std::string(key));
      ++seen;
      return true;
    }).ok());
    if (seen != present_.size()) say("what was told has keys that the store has not");
  }
  void complete(const std::vector<Log>& logs) {
    for (unsigned w = 0; w != logs.size(); ++w) {
      for (unsigned n = 0; n != logs[w].made.size(); ++n) {
        const Made& m = logs[w].made[n];
        if (m.version != 0 && puts_.count({w, n}) == 0 && !is_hidden(m)) say("a set was never told");
      }
    }
  }
  void check_truth(const std::vector<Log>& logs) {
    for (const auto& [id, told] : puts_) {
      const auto& [w, n] = id;
      if (w >= logs.size() || n >= logs[w].made.size()) {
        say("a put is told that nobody made");
        continue;
      }
      const Made& m = logs[w].made[n];
      if (m.key != told.key || (m.version != 0 && m.version != told.version)) say("a put is told of another key or version");
    }
  }

  std::uint64_t told() const { return told_; }
  std::uint64_t lost() const { return lost_; }
  std::uint64_t gaps() const { return gaps_; }
  std::string wrong() const { return wrong_; }

 private:
  void say(const std::string& what) {
    if (wrong_.empty()) wrong_ = what;
  }
  void positions(const Change& c) {
    auto& next = next_[c.shard];
    if (is_strict_ && c.sequence != next.position) say("a position is missing, or comes twice");
    next = {c.sequence + (c.kind == ChangeKind::kGap ? c.lost : 1)};
    if (c.kind != ChangeKind::kGap) return;
    ++gaps_;
    lost_ += c.lost;
    if (c.lost == 0) say("a gap of nothing");
  }
  // What is told of this shard up to here, of the scope, is gone.
  void invalidated(const Change& c) {
    ++points_;
    std::erase_if(present_, [&](const auto& p) { return p.second.shard == c.shard && (c.scope == ChangeScope::kAll || p.first.starts_with(c.key)); });
    for (auto& [key, history] : history_) {
      if (c.scope == ChangeScope::kAll || key.starts_with(c.key)) history.push_back(kPoint);
    }
  }
  // A put that was on its way when a point came: the point stands for it. Then it lies between what was told before and after.
  bool is_hidden(const Made& m) const {
    const auto at = history_.find(m.key);
    if (at == history_.end()) return points_ != 0;
    std::uint64_t before = 0;
    for (std::size_t i = 0; i != at->second.size(); ++i) {
      const std::uint64_t version = at->second[i];
      if (version != kPoint) {
        before = version;
        continue;
      }
      std::size_t next = i;
      while (next != at->second.size() && at->second[next] == kPoint) ++next;
      if (before < m.version && (next == at->second.size() || m.version < at->second[next])) return true;
    }
    return false;
  }
  void order(const std::string& key, const Change& c) {
    std::uint64_t& last = versions_[key];
    if (c.version <= last) say("versions don't ascend: " + key);
    last = c.version;
    const auto [at, is_new] = history_.try_emplace(key);
    if (is_new && points_ != 0) at->second.push_back(kPoint);
    at->second.push_back(c.version);
  }
  void truth(const Change& c) {
    if (c.value.starts_with(kNever)) return say("a batch that failed is told");
    unsigned w = 0, n = 0;
    const char* const end = c.value.data() + c.value.size();
    const auto first = std::from_chars(c.value.data(), end, w);
    if (first.ec != std::errc() || first.ptr == end || std::from_chars(first.ptr + 1, end, n).ec != std::errc()) return say("a value that nobody wrote");
    if (!puts_.emplace(std::pair{w, n}, Told{std::string(c.key), c.version}).second) say("a put is told twice");
  }
  void readable(const std::string& key, const Change& c) {
    const auto now = store_.get_entry(key);
    if (now.found() && now->version < c.version) say("told before it can be read: " + key);
  }

  struct Next {
    std::uint64_t position = 0;
  };
  struct Told {
    std::string key;
    std::uint64_t version;
  };
  const Store& store_;
  std::vector<Next> next_;
  bool is_strict_;
  std::unordered_map<std::string, std::uint64_t> versions_;
  static constexpr std::uint64_t kPoint = ~std::uint64_t{0};
  struct Present {
    std::string value;
    unsigned shard;
  };
  std::unordered_map<std::string, Present> present_;
  std::unordered_map<std::string, std::vector<std::uint64_t>> history_;  // versions that were told, and points
  std::uint64_t points_ = 0;
  std::map<std::pair<unsigned, unsigned>, Told> puts_;
  std::uint64_t told_ = 0, lost_ = 0, gaps_ = 0;
  std::string wrong_;
};

class Watching {
 public:
  Watching(bool tiny_rings, unsigned writes) : writes_(writes), tiny_(tiny_rings), logs_(kWriters) {
    Options o = small_options(&clock_);
    o.memory_bytes = 64 * kMiB;
    o.shard_count = kShards;
    o.entries_max = kKeys * 2 / 3;  // so that some are evicted
    o.ring_bytes = tiny_rings ? kShards * 64 * 64 : 16 * kMiB;
    store_ = open_or_fail(o);
  }

  void run() {
    Watch all = std::move(*store_.watch_prefix("", {.kinds = kEveryKind}));
    Watch slow = std::move(*store_.watch_prefix("", {.kinds = kEveryKind}));
    Validator of_all(store_, kShards, true), of_slow(store_, kShards, true);
    std::atomic<bool> stops{false};
    std::uint64_t comers = 0;
    std::string of_comers;
    {
      Result<Dispatcher> dispatcher = Dispatcher::open(store_);
      ASSERT_TRUE(dispatcher.ok());
      std::atomic<std::uint64_t> called{0};
      // A callback that writes: to a key that it isn't told of.
      auto echo = dispatcher->on_prefix("k.1", [&](const Change&) {
        if (called.fetch_add(1) % 16 == 0) (void)store_.del("echo");
      });
      ASSERT_TRUE(echo.ok());
      std::thread listener([&] {
        while (!stops.load()) lag_.store(poll(all, of_all, 256) == 0 ? all.lag() : std::max<std::uint64_t>(all.lag(), 1));
      });
      std::thread seldom([&] {
        while (!stops.load()) {
          for (int i = 0; i != 50 && !stops.load(); ++i) std::this_thread::yield();
          poll(slow, of_slow, 7);
        }
      });
      std::thread comer([&] {
        while (!stops.load()) {
          Result<Watch> w = store_.watch_prefix("", {.initial = comers % 2 == 0});
          ASSERT_TRUE(w.ok());
          Validator v(store_, kShards, false);
          for (int i = 0; i != 20; ++i) poll(*w, v, 32);
          if (of_comers.empty()) of_comers = v.wrong();
          ++comers;
        }
      });
      std::thread keeper([&] {
        for (unsigned n = 0; !stops.load(); ++n) {
          if (n % 4 == 0) clock_.advance(1ms);
          ASSERT_TRUE(store_.tick(1ms).ok());
          if (n % 50 == 0) {
            ASSERT_TRUE((n % 100 == 0 ? store_.clear() : store_.del_prefix("app.")).ok());
          }
          const Result<View> view = store_.view();
          std::this_thread::yield();
        }
      });
      std::vector<std::thread> writers;
      for (unsigned w = 0; w != kWriters; ++w) writers.emplace_back([&, w] { write(w); });
      for (std::thread& t : writers) t.join();
      stops.store(true);
      for (std::thread* t : {&listener, &seldom, &comer, &keeper}) t->join();
      EXPECT_GT(called.load(), 0u);
    }
    clock_.advance(1h);
    do {
      ASSERT_TRUE(store_.tick(100ms).ok());
      ASSERT_TRUE(store_.cleanup_expired().ok());
    } while (store_.stats().owed.invalidations != 0);
    while (poll(all, of_all, 256) != 0) {
    }
    while (poll(slow, of_slow, 256) != 0) {
    }
    of_all.check_truth(logs_);
    of_slow.check_truth(logs_);
    if (of_all.lost() == 0) {
      of_all.whole();
      of_all.complete(logs_);
    }
    EXPECT_EQ(of_all.wrong(), "");
    EXPECT_EQ(of_slow.wrong(), "");
    EXPECT_EQ(of_comers, "");
    EXPECT_EQ(of_all.lost(), all.lost());
    EXPECT_GT(comers, 0u);
    EXPECT_LT(refused_.load(), kWriters * writes_ / 4);
    std::printf("    %llu told, %llu lost in %llu gaps; the slow one %llu, %llu in %llu; %llu came and went\n", ull(of_all.told()), ull(of_all.lost()),
                ull(of_all.gaps()), ull(of_slow.told()), ull(of_slow.lost()), ull(of_slow.gaps()), ull(comers));
    if (tiny_) {
      EXPECT_GT(of_slow.gaps(), 0u);
      EXPECT_EQ(of_all.told() + of_all.lost(), of_slow.told() + of_slow.lost());
    } else {
      EXPECT_EQ(of_all.lost(), 0u);
    }
    all.close();
    slow.close();
    EXPECT_TRUE(whole(store_));
  }

 private:
  static constexpr unsigned kShards = 4;
  static constexpr std::uint64_t kLagMax = 2'000;
  static unsigned long long ull(std::uint64_t n) { return n; }

  std::size_t poll(Watch& w, Validator& v, std::size_t at_once) {
    std::vector<Change> changes(at_once);
    const auto n = w.poll(changes);
    EXPECT_TRUE(n.ok() || n.status() == Status::kViewExpired);
    if (!n) return 0;
    for (const Change& c : std::span(changes).first(*n)) v.hear(c);
    return *n;
  }

  // A full store may refuse a write within its bound: then nothing was done.
  bool was_done(Status status) {
    if (status == Status::kOk) return true;
    EXPECT_EQ(status, Status::kOutOfMemory);
    refused_.fetch_add(1);
    return false;
  }

  void write(unsigned w) {
    std::mt19937 random(w + 7);
    const auto pick = [&](unsigned n) { return std::uniform_int_distribution<unsigned>(0, n - 1)(random); };
    Log& log = logs_[w];
    const auto value = [&](const std::string& key) {
      log.made.push_back({key, 0});
      return std::to_string(w) + "." + std::to_string(log.made.size() - 1) + "." + std::string(pick(200), 'x');
    };
    for (unsigned n = 0; n != writes_; ++n) {
      // What nobody has polled is bounded where nothing is to be lost.
      while (!tiny_ && lag_.load() > kLagMax) std::this_thread::yield();
      const std::string key = key_of(pick(kKeys));
      switch (pick(8)) {
        case 0: ASSERT_TRUE(store_.del(key).ok()); break;
        case 1: {
          WriteBatch batch;
          for (int i = 0; i != 3; ++i) {
            const std::string k = key_of(pick(kKeys / 3) * 3 + static_cast<unsigned>(i));
            batch.set(k, value(k));
          }
          (void)was_done(store_.write(batch).status());
          break;
        }
        case 2: {
          WriteBatch batch;
          batch.set(key, kNever);
          batch.set(key_of(pick(kKeys)), kNever);
          batch.require_value("nobody", "has this");
          const Status status = store_.write(batch).status();
          ASSERT_TRUE(status == Status::kConflict || !was_done(status)) << "a condition that doesn't hold was passed over";
          break;
        }
        case 3: {
          const std::string v = value(key);
          const auto version = store_.set(key, v, {.ttl = milliseconds(1 + pick(20))});
          if (was_done(version.status())) log.made.back().version = *version;
          break;
        }
        default: {
          const std::string v = value(key);
          const auto version = store_.set(key, v);
          if (was_done(version.status())) log.made.back().version = *version;
          break;
        }
      }
    }
  }

  unsigned writes_;
  bool tiny_;
  ManualClock clock_;
  Store store_;
  std::vector<Log> logs_;
  std::atomic<std::uint64_t> lag_{0}, refused_{0};
};

// Batches beside each other and beside sets of the same keys, to watches that gather: each comes in a row and as a whole, each
// key's changes in order, and what was told adds up to what the store has.
class Gathered {
 public:
  explicit Gathered(Watch watch) : watch_(std::move(watch)) {}

  void poll(std::size_t at_a_time) {
    changes_.resize(at_a_time);
    const Result<std::size_t> n = watch_.poll(changes_);
    ASSERT_TRUE(n.ok());
    for (std::size_t i = 0; i != *n; ++i) hear(changes_[i]);
  }
  void check(const Store& store) {
    while (watch_.lag() != 0 || !watch_.token().ok()) poll(64);
    poll(64);
    EXPECT_EQ(wrong_, "");
    EXPECT_EQ(left_, 0u) << "of a batch some are missing";
    EXPECT_EQ(watch_.lost(), 0u);
    std::size_t entries = 0;
    ASSERT_TRUE(store.view()->for_each([&](std::string_view key, std::string_view value) {
      EXPECT_EQ(last_[std::string(key)].second, value) << key;
      ++entries;
      return true;
    }).ok());
    EXPECT_EQ(last_.size(), entries);
  }
  std::size_t batches() const { return over_.size(); }

 private:
  void hear(const Change& c) {
    if (c.kind != ChangeKind::kPut) return say("something else than a put");
    auto& [version, value] = last_[std::string(c.key)];
    if (c.version <= version) say("a key's changes are out of order");
    version = c.version;
    value = c.value;
    if (left_ == 0 && c.batch != 0) {
      if (!over_.insert(c.batch).second) say("a batch comes twice");
      now_ = c.batch;
      left_ = c.batch_size;
    }
    if (left_ == 0) return;
    if (c.batch != now_) say("something lies between");
    --left_;
  }
  void say(const char* what) {
    if (wrong_.empty()) wrong_ = what;
  }

  Watch watch_;
  std::vector<Change> changes_;
  std::map<std::string, std::pair<std::uint64_t, std::string>> last_;
  std::set<std::uint64_t> over_;
  std::uint64_t now_ = 0;
  std::uint32_t left_ = 0;
  std::string wrong_;
};

TEST(WatchThreads, GatheredBatchesComeAsAWhole) {
  Options o = small_options();
  o.memory_bytes = 64 * kMiB;
  o.ring_bytes = 16 * kMiB;
  const Store store = open_or_fail(o);
  const auto gathers = [&] { return std::move(*store.watch_prefix("", {.gather = true})); };
  Gathered at_once(gathers()), seldom(gathers());
  // Few enough that the one who seldom looks misses none, however slow this machine is.
  const unsigned writes = quick_or_long(300u, 200'000u);
  std::atomic<unsigned> ended{0};
  std::vector<std::thread> threads;
  for (unsigned w = 0; w != 2; ++w) {
    threads.emplace_back([&, w] {
      std::mt19937 random(w);
      const auto pick = [&](unsigned below) { return static_cast<unsigned>(random() % below); };
      for (unsigned n = 0; n != writes; ++n) {
        const std::string value = std::to_string(w) + "." + std::to_string(n);
        if (pick(2) == 0) {
          ASSERT_TRUE(store.set(key_of(pick(40)), value).ok());
          continue;
        }
        WriteBatch batch;
        for (unsigned i = 2 + pick(6); i-- != 0;) batch.set(key_of(pick(40)), value);
        batch.require_absent("nobody");
        ASSERT_TRUE(store.write(batch).ok());
      }
      ++ended;
    });
  }
  threads.emplace_back([&] {
    while (ended != 2) at_once.poll(64);
  });
  while (ended != 2) {
    for (int i = 0; i != 20; ++i) std::this_thread::yield();
    seldom.poll(5);
  }
  for (std::thread& t : threads) t.join();
  at_once.check(store);
  seldom.check(store);
  EXPECT_GT(at_once.batches(), writes / 2);
  EXPECT_EQ(at_once.batches(), seldom.batches());
  EXPECT_TRUE(whole(store));
}

// By the million, with validators of a few words a key. Each writer has keys of its own and counts its changes of each: every eighth
// is a removal, the others are sets of the number. So what is told of a key is the next number, exactly, unless its shard had a gap.
class Counting {
 public:
  Counting(bool tiny_rings, std::uint64_t changes) : each_(changes / kWriters), tiny_(tiny_rings), last_(kWriters * kOfEach) {
    Options o = small_options();
    o.memory_bytes = 64 * kMiB;
    o.shard_count = kShards;
    o.ring_bytes = tiny_rings ? kShards * 64 * 64 : 8 * kMiB;
    store_ = open_or_fail(o);
  }
  void run() {
    Watch fast = std::move(*store_.watch_prefix("")), slow = std::move(*store_.watch_prefix(""));
    Counts of_fast(last_.size()), of_slow(last_.size());
    std::atomic<unsigned> writing{kWriters};
    std::vector<std::thread> threads;
    for (unsigned w = 0; w != kWriters; ++w) {
      threads.emplace_back([&, w] {
        write(w);
        --writing;
      });
    }
    threads.emplace_back([&] {
      while (writing != 0) {
        of_fast.poll(fast, 256);
        lag_ = fast.lag();
      }
    });
    while (writing != 0) {
      for (int i = 0; i != 50; ++i) std::this_thread::yield();
      of_slow.poll(slow, tiny_ ? 16 : 256);
    }
    for (std::thread& t : threads) t.join();
    for (auto [watch, counts] : {std::pair{&fast, &of_fast}, std::pair{&slow, &of_slow}}) {
      while (counts->poll(*watch, 256) != 0) {
      }
      EXPECT_EQ(counts->wrong, "");
      EXPECT_EQ(counts->told + counts->lost, each_ * kWriters);
      EXPECT_EQ(counts->lost, watch->lost());
      for (unsigned k = 0; k != last_.size() && counts->lost == 0; ++k) EXPECT_EQ(counts->of_key[k].last, last_[k]) << k;
    }
    EXPECT_EQ(store_.stats().watch_lost, fast.lost() + slow.lost());
    if (tiny_) {
      EXPECT_GT(slow.lost(), 0u);
    } else {
      EXPECT_EQ(fast.lost(), 0u);
    }
  }

 private:
  static constexpr unsigned kShards = 4, kOfEach = 512;
  static constexpr std::uint64_t kLagMax = 4'000;

  struct Counts {
    explicit Counts(std::size_t keys) : of_key(keys) {}
    struct Key {
      std::uint64_t last = 0;
      std::uint64_t gaps = 0;  // of its shard, by then
      bool is_guessed = false;  // a removal after a gap doesn't say which it is
    };
    std::vector<Key> of_key;
    std::uint64_t position[kShards] = {}, gaps[kShards] = {};
    std::uint64_t told = 0, lost = 0;
    std::string wrong;

    std::size_t poll(Watch& watch, std::size_t most) {
      Change changes[Watch::kPollMax];
      const Result<std::size_t> n = watch.poll(std::span(changes).first(most));
      if (!n) return say("a poll fails");
      for (const Change& c : std::span(changes).first(*n)) hear(c);
      return *n;
    }
    std::size_t say(const char* what) {
      if (wrong.empty()) wrong = what;
      return 0;
    }
    void hear(const Change& c) {
      if (c.sequence != position[c.shard]) say("a position is missing, or comes twice");
      position[c.shard] = c.sequence + (c.kind == ChangeKind::kGap ? c.lost : 1);
      if (c.kind == ChangeKind::kGap) {
        ++gaps[c.shard];
        lost += c.lost;
        return;
      }
      ++told;
      unsigned k = 0;
      if (c.key.size() != sizeof k) return void(say("a key that nobody has"));
      std::memcpy(&k, c.key.data(), sizeof k);
      Key& key = of_key[k];
      const bool lost_some = std::exchange(key.gaps, gaps[c.shard]) != gaps[c.shard];
      std::uint64_t number = key.last + 1;
      if (c.kind == ChangeKind::kPut) {
        std::memcpy(&number, c.value.data(), sizeof number);
      } else if (lost_some) {
        number = (number + 7) / 8 * 8;  // one of them
      }
      if ((number % 8 == 0) != (c.kind == ChangeKind::kDelete)) say("a change of another kind than was made");
      if (number <= key.last) say("a change comes twice, or out of order");
      if (key.is_guessed && !lost_some ? number % 8 != 1 : number != key.last + 1 && !lost_some) say("a change is missing");
      key.is_guessed = lost_some && c.kind == ChangeKind::kDelete;
      key.last = number;
    }
  };

  void write(unsigned w) {
    std::uint64_t random = w + 1;
    for (std::uint64_t n = 0; n != each_; ++n) {
      while (!tiny_ && n % 64 == 0 && lag_ > kLagMax) std::this_thread::yield();
      random = random * 6'364'136'223'846'793'005u + 1'442'695'040'888'963'407u;
      const unsigned k = static_cast<unsigned>(random >> 33) % kOfEach * kWriters + w;
      char key[sizeof k], value[sizeof(std::uint64_t)];
      std::memcpy(key, &k, sizeof k);
      const std::uint64_t number = ++last_[k];
      std::memcpy(value, &number, sizeof value);
      if (number % 8 == 0) {
        ASSERT_TRUE(*store_.del({key, sizeof key}));
      } else {
        ASSERT_TRUE(store_.set({key, sizeof key}, {value, sizeof value}).ok());
      }
    }
  }

  std::uint64_t each_;
  bool tiny_;
  std::vector<std::uint64_t> last_;  // by key, of its writer alone
  Store store_;
  std::atomic<std::uint64_t> lag_{0};
};

const unsigned kChanges = kSanitized ? 200'000u : quick_or_long(2'500'000u, 500'000'000u);
TEST(WatchThreads, MillionsOfChangesExactlyOnce) { Counting(false, kChanges).run(); }
TEST(WatchThreads, MillionsOfChangesOrTheirNumber) { Counting(true, kChanges).run(); }
TEST(WatchThreads, EverythingIsToldOnce) { Watching(false, quick_or_long(4'000u, 2'000'000u)).run(); }
TEST(WatchThreads, TinyRingsTellWhatIsLost) { Watching(true, quick_or_long(8'000u, 4'000'000u)).run(); }

}  // namespace
}  // namespace tern::test
