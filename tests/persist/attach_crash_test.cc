// A store in shared memory whose process is killed: at each named step of each operation, at random among several threads, and
// while it brings over what a life before has left. What must be there is kept outside, in a page that a kill doesn't reach.
//
// A kill stops all threads at one state of the memory. So the steps of one thread that lie next to each other differ by one
// atomic operation or a few, and a kill at each named step, for each operation, meets each kind of half-done state; kills at random
// meet those of several threads together.
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <tern/batch.h>
#include <tern/namespace.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "alloc/platform.h"
#include "alloc/sync.h"
#include "persist/dead_arena.h"
#include "tests/persist/attach_fixture.h"

namespace tern::test {
namespace {

namespace platform = alloc::platform;
using detail::StdSync;
using persist::DeadBug;

// The n-th named step of whoever counts kills the process.
struct Steps {
  static inline thread_local bool counts = false;
  static inline std::atomic<std::uint64_t> passed{0};
  static inline std::uint64_t kill_at = 0;  // 0: never
  static inline void (*seen)(const char* point) = nullptr;
  static void hook(const char* point) {
    if (!counts) return;
    const std::uint64_t n = passed.fetch_add(1, std::memory_order_relaxed) + 1;
    if (seen != nullptr) seen(point);
    if (n == kill_at) ::kill(::getpid(), SIGKILL);
  }
};

// --- each step of each operation -------------------------------------------------------------------------------

// What operations leave behind for others.
struct Hands {
  ManualClock* clock = nullptr;
  std::optional<View> view;
  std::optional<Watch> watch;
  std::optional<Lock> lock;
  LeaseId lease = 0;
};
struct Operation {
  const char* name;
  void (*run)(const Store&, Hands&);
};

template <class R>
void must(const R& r) {
  if (!r.ok()) ::_exit(9);
}

constexpr std::string_view kTag[] = {"tag"};

// One after the other; each changes the contents at one moment, or not at all.
const Operation kOperations[] = {
    {"insert", [](const Store& s, Hands&) { must(s.set("a", pattern(50, 1))); }},
    {"overwrite", [](const Store& s, Hands&) { must(s.set("a", pattern(60, 2))); }},
    {"insert of a large value", [](const Store& s, Hands&) { must(s.set("large", pattern(100'000, 3))); }},
    {"overwrite of a large value", [](const Store& s, Hands&) { must(s.set("large", pattern(90'000, 4))); }},
    {"insert of a long key", [](const Store& s, Hands&) { must(s.set(std::string(300, 'l'), "1")); }},
    {"removal of a long key", [](const Store& s, Hands&) { must(s.del(std::string(300, 'l'))); }},
    {"removal", [](const Store& s, Hands&) { must(s.del("a")); }},
    {"insert again", [](const Store& s, Hands&) { must(s.set("a", "again")); }},
    {"append", [](const Store& s, Hands&) { must(s.append("a", "more")); }},
    {"increment of nothing", [](const Store& s, Hands&) { must(s.increment("n", 5)); }},
    {"increment", [](const Store& s, Hands&) { must(s.increment("n", 5)); }},
    {"with a lifetime", [](const Store& s, Hands&) { must(s.set("ttl", "1", {.ttl = 10s})); }},
    {"another lifetime", [](const Store& s, Hands&) { must(s.expire("ttl", 5s)); }},
    {"longer", [](const Store& s, Hands&) { must(s.expire("ttl", 50s)); }},
    {"for good", [](const Store& s, Hands&) { must(s.persist("ttl")); }},
    {"short", [](const Store& s, Hands&) { must(s.set("short", "1", {.ttl = 1s})); }},
    {"time goes by", [](const Store&, Hands& h) { h.clock->advance(2s); }},
    {"set of what expired", [](const Store& s, Hands&) { must(s.set("short", "2", {.ttl = 1s})); }},
    {"more time", [](const Store&, Hands& h) { h.clock->advance(2s); }},
    {"expiry", [](const Store& s, Hands&) { must(s.cleanup_expired()); }},
    {"batch", [](const Store& s, Hands&) {
       WriteBatch b;
       b.set("a", "in a batch");
       b.set("b1", "1");
       b.set("b2", pattern(200, 5));
       b.del("n");
       b.require_present("ttl");
       must(s.write(b));
     }},
    {"batch that replaces", [](const Store& s, Hands&) {
       WriteBatch b;
       b.set("a", "in another");
       b.set("b1", "2");
       b.set("b2", "2");
       must(s.write(b));
     }},
    {"batch that fails", [](const Store& s, Hands&) {
       WriteBatch b;
       b.set("a", "never");
       b.set("b3", "never");
       b.require_absent("b1");
       if (s.write(b).ok()) ::_exit(8);
     }},
    {"set after a husk", [](const Store& s, Hands&) { must(s.set("b3", "after")); }},
    {"tagged", [](const Store& s, Hands&) { must(s.set("tagged", "1", {.tags = kTag})); }},
    {"tagged, too", [](const Store& s, Hands&) { must(s.set("tagged2", pattern(300, 1), {.ttl = 1h, .tags = kTag})); }},
    {"removal by tag", [](const Store& s, Hands&) { must(s.del_tag("tag")); }},
    {"set of what died", [](const Store& s, Hands&) { must(s.set("tagged", "2", {.tags = kTag})); }},
    {"removal by prefix", [](const Store& s, Hands&) { must(s.del_prefix("b")); }},
    {"append to what died", [](const Store& s, Hands&) { must(s.append("b1", "new")); }},
    {"sweep", [](const Store& s, Hands&) { must(s.tick(100ms)); }},
    {"a view", [](const Store& s, Hands& h) { h.view.emplace(std::move(*s.view())); }},
    {"overwrite beside a view", [](const Store& s, Hands&) { must(s.set("a", "beside")); }},
    {"removal beside a view", [](const Store& s, Hands&) { must(s.del("ttl")); }},
    {"batch beside a view", [](const Store& s, Hands&) {
       WriteBatch b;
       b.set("a", "batched beside");
       b.del("tagged");
       b.set("b9", "9");
       must(s.write(b));
     }},
    {"clear beside a view", [](const Store& s, Hands&) { must(s.clear()); }},
    {"insert beside a view", [](const Store& s, Hands&) { must(s.set("a", "after the clear")); }},
    {"the view ends", [](const Store&, Hands& h) { h.view.reset(); }},
    {"maintenance", [](const Store& s, Hands&) { must(s.tick(100ms)); }},
    {"a watch", [](const Store& s, Hands& h) { h.watch.emplace(std::move(*s.watch_prefix(""))); }},
    {"overwrite that is told", [](const Store& s, Hands&) { must(s.set("a", "told")); }},
    {"batch that is told", [](const Store& s, Hands&) {
       WriteBatch b;
       b.set("a", "told, too");
       b.set("w1", "1");
       b.del("w2");
       must(s.write(b));
     }},
    {"clear that is told", [](const Store& s, Hands&) { must(s.del_prefix("w")); }},
    {"the watch ends", [](const Store&, Hands& h) { h.watch.reset(); }},
    {"a lease", [](const Store& s, Hands& h) { h.lease = s.lease(1h)->id(); }},
    {"a member", [](const Store& s, Hands& h) { must(s.set("member", "1", {.lease = h.lease})); }},
    {"its end", [](const Store& s, Hands& h) { must(s.lease_of(h.lease).revoke()); }},
    {"a lock", [](const Store& s, Hands& h) { h.lock.emplace(std::move(*s.try_lock("lock"))); }},
    {"fenced", [](const Store& s, Hands& h) {
       SetOptions o;
       o.if_fence = h.lock->fence();
       must(s.set("fenced", "1", o));
     }},
    {"unlock", [](const Store&, Hands& h) { must(h.lock->unlock()); }},
};
constexpr std::size_t kOperationCount = std::size(kOperations);
// Growth, at each point of it: these come before, and each may split a bucket.
constexpr unsigned kInserts = 80;

void run_operation(const Store& store, Hands& hands, std::size_t n) {
  if (n < kInserts) return must(store.set(numbered("grow", n), numbered("", n)));
  kOperations[n - kInserts].run(store, hands);
}

struct StepLog {
  std::atomic<std::uint64_t> done{0};  // operations that have returned
  std::atomic<std::uint64_t> steps{0};
  static constexpr std::uint64_t kMost = 1 << 16;
  std::uint32_t name[kMost];  // of the n-th step: which point, and in which operation
  std::uint32_t operation[kMost];
  std::uint64_t version_max = 0;
};

class AttachKill : public KillTest {
 protected:
  ~AttachKill() override { persist::planted_bug<DeadBug> = DeadBug::kNone; }

  // The contents after each number of operations.
  std::vector<Contents> all_states() {
    std::vector<Contents> states;
    ManualClock own;
    Options o = options;
    o.clock = &own;
    const Store store = open_or_fail(o);
    Hands hands;
    hands.clock = &own;
    states.push_back({});
    for (std::size_t n = 0; n != kInserts + kOperationCount; ++n) {
      run_operation(store, hands, n);
      states.push_back(versionless(contents_of(store)));
    }
    return states;
  }
  static Contents versionless(Contents contents) {
    for (auto& [key, saved] : contents) {
      saved.version = 0;
      saved.ttl.reset();
    }
    return contents;
  }

  void begin() {
    std::filesystem::remove(path);
    log->done = 0;
    new (&*clock) ManualClock;
  }
  // The life of one who dies at the n-th step; 0: never.
  void live(StepLog& l, std::uint64_t kill_at, bool records) {
    static StepLog* recording = nullptr;
    static std::map<std::string, std::uint32_t> names;
    const Result<Store> store = attach();
    if (!store.ok()) ::_exit(7);
    recording = records ? &l : nullptr;
    Steps::passed = 0;
    Steps::kill_at = kill_at;
    Steps::seen = !records ? nullptr : +[](const char* point) {
      const std::uint64_t n = recording->steps.fetch_add(1);
      if (n >= StepLog::kMost) ::_exit(6);
      recording->name[n] = names.emplace(point, names.size()).first->second;
      recording->operation[n] = static_cast<std::uint32_t>(recording->done.load());
    };
    StdSync::hook = &Steps::hook;
    Steps::counts = true;
    Hands hands;
    hands.clock = &*clock;
    for (std::size_t n = 0; n != kInserts + kOperationCount; ++n) {
      run_operation(*store, hands, n);
      l.done.store(n + 1);
    }
    Steps::counts = false;
    StdSync::hook = nullptr;
    // No destructors: the child's end is a kill, too.
    ::_exit(0);
  }

  // Runs the life that is killed at step `n`, attaches, and compares. Answers what is wrong.
  std::string check_kill(const std::vector<Contents>& states, std::uint64_t n) {
    begin();
    in_child([&] { live(*log, n, false); });
    const std::uint64_t done = log->done.load();
    Result<Store> store = attach();
    if (!store.ok()) return "attach: " + why();
    if (!whole(*store)) return "verify";
    if (report.was_closed) return "it was never closed";
      const Contents found = versionless(contents_of(*store));
    Contents before = states[done], after = states[std::min<std::size_t>(done + 1, states.size() - 1)];
    if (found == before || found == after) return "";
    std::string difference;
    for (const auto& [key, saved] : found) {
      if (!before.contains(key) && !after.contains(key)) difference += " has " + key.substr(0, 20);
      if (before.contains(key) && !(before[key] == saved) && !(after.contains(key) && after[key] == saved)) difference += " value of " + key.substr(0, 20);
    }
    for (const auto& [key, saved] : before) {
      if (!found.contains(key) && after.contains(key)) difference += " lacks " + key.substr(0, 20);
    }
    return "contents:" + difference;
  }

  // Each named point in each operation, up to `most` times; all of it in the slow tests.
  std::vector<std::uint64_t> chosen_steps(unsigned most) {
    begin();
    log->steps = 0;
    in_child([&] { live(*log, 0, true); });
    std::map<std::pair<std::uint32_t, std::uint32_t>, unsigned> times;
    std::map<std::uint32_t, unsigned> in_growth;
    std::vector<std::uint64_t> steps;
    for (std::uint64_t n = 0; n != log->steps.load(); ++n) {
      const bool grows = log->operation[n] < kInserts;
      if (long_run() || (grows ? ++in_growth[log->name[n]] <= 6 : ++times[{log->operation[n], log->name[n]}] <= most)) steps.push_back(n + 1);
    }
    return steps;
  }

  Shared<StepLog> log;
};

TEST_F(AttachKill, AtEachStepOfEachOperationAllIsThereOrNothing) {
  const std::vector<Contents> states = all_states();
  const std::vector<std::uint64_t> steps = chosen_steps(1);
  EXPECT_GT(steps.size(), 300u);
  for (std::size_t i = 0; i < steps.size(); i += kSanitized ? 7 : 1) {
    const std::uint64_t n = steps[i];
    const std::string wrong = check_kill(states, n);
    const std::uint64_t done = log->done.load();
    ASSERT_EQ(wrong, "") << "step " << n << ", after " << done << " operations"
                         << (done >= kInserts && done < kInserts + kOperationCount ? kOperations[done - kInserts].name : "");
  }
  RecordProperty("kills", static_cast<int>(steps.size()));
}

TEST_F(AttachKill, AtEachStepInOrder) {
  options.ordered = true;
  const std::vector<Contents> states = all_states();
  const std::vector<std::uint64_t> steps = chosen_steps(1);
  for (std::size_t i = 0; i < steps.size(); i += long_run() ? 1 : kSanitized ? 29 : 4) ASSERT_EQ(check_kill(states, steps[i]), "") << "step " << steps[i];
}

TEST_F(AttachKill, EachPlantedBugIsFound) {
  const std::vector<Contents> states = all_states();
  const std::vector<std::uint64_t> steps = chosen_steps(1);
  const struct {
    DeadBug bug;
    const char* name;
    const char* from;  // the operation where it shows; null: in growth
  } bugs[] = {{DeadBug::kTentativeCounts, "a tentative entry counts", "overwrite"},
              {DeadBug::kUndecidedCounts, "an undecided batch counts", "batch"},
              {DeadBug::kFrozenPasses, "what is frozen is taken for moved", nullptr},
              {DeadBug::kUninitialisedCounts, "a bucket counts that isn't complete", nullptr},
              {DeadBug::kTombPasses, "a tomb is passed over", "removal beside a view"},
              {DeadBug::kPointPasses, "points are passed over", "removal by tag"}};
  for (const auto& [bug, name, from] : bugs) {
    persist::planted_bug<DeadBug> = bug;
    std::size_t first = 0;
    for (std::size_t n = 0; from != nullptr && n != kOperationCount; ++n) {
      if (std::string_view(kOperations[n].name) == from) first = kInserts + n;
    }
    bool found = false;
    for (std::size_t i = 0; i < steps.size() && !found; ++i) {
      found = log->operation[steps[i] - 1] >= first && check_kill(states, steps[i]) != "";
    }
    EXPECT_TRUE(found) << name;
  }
}

// A write that has replaced its key's record and isn't stamped yet, when another thread's removal of many keys returns: what it was
// made from is gone by then, and so is it.
TEST_F(AttachKill, WhatWasMadeFromWhatIsClearedGoesWithIt) {
  struct Case {
    const char* name;
    void (*write)(const Store&);
    void (*clear)(const Store&);
  };
  const Case cases[] = {
      {"append, cleared", [](const Store& s) { (void)s.append("k", "more"); }, [](const Store& s) { must(s.clear()); }},
      {"append, its prefix", [](const Store& s) { (void)s.append("k", "more"); }, [](const Store& s) { must(s.del_prefix("k")); }},
      {"another tag, on condition that it is there", [](const Store& s) { (void)s.set("k", "new", {.if_present = true}); },
       [](const Store& s) { must(s.del_tag("tag")); }},
  };
  for (const DeadBug bug : {DeadBug::kNone, DeadBug::kMadeOutlives}) {
    for (const Case& c : cases) {
      begin();
      const bool killed = in_child([&] {
        const Result<Store> store = attach();
        must(store->set("k", "1", {.tags = kTag}));
        must(store->set("other", "1"));
        static std::atomic<bool> is_there;
        StdSync::hook = +[](const char* point) {
          if (!Steps::counts || std::string_view(point) != "version.stamp_own") return;
          is_there = true;
          for (;;) ::pause();
        };
        std::thread writer([&] {
          Steps::counts = true;
          c.write(*store);
          ::_exit(4);
        });
        while (!is_there.load()) ::usleep(100);
        c.clear(*store);
        ::kill(::getpid(), SIGKILL);
      });
      EXPECT_TRUE(killed);
      persist::planted_bug<DeadBug> = bug;
      const Result<Store> store = attach();
      ASSERT_TRUE(store.ok()) << why();
      EXPECT_EQ(value_of(*store, "k").has_value(), bug != DeadBug::kNone) << c.name;
      EXPECT_TRUE(whole(*store));
    }
  }
}

// --- in the middle of attaching --------------------------------------------------------------------------------

class AttachKillAgain : public AttachKill {
 protected:
  static bool is_zero(const std::string& bytes, std::size_t at) {
    static const std::string zeros(4096, '\0');
    return bytes.compare(at, 4096, zeros) == 0;
  }
  // As sparse as it was.
  void write_dead(const std::string& bytes) {
    std::filesystem::remove(path);
    std::ofstream file(path, std::ios::binary);
    for (std::size_t at = 0; at < bytes.size(); at += 4096) {
      if (is_zero(bytes, at)) continue;
      file.seekp(static_cast<std::streamoff>(at));
      file.write(bytes.data() + at, 4096);
    }
    file.close();
    std::filesystem::resize_file(path, bytes.size());
  }
  // A life that was killed half-way through a batch, with growth, points and versions under way.
  Contents prepare() {
    begin();
    in_child([&] {
      const Result<Store> store = attach();
      Hands hands;
      hands.clock = &*clock;
      for (std::size_t n = 0; n != kInserts + 34; ++n) run_operation(*store, hands, n);
      Steps::kill_at = Steps::passed.load() + 12;
      StdSync::hook = &Steps::hook;
      Steps::counts = true;
      run_operation(*store, hands, kInserts + 34);  // "batch beside a view"
      ::_exit(5);
    });
    pristine = bytes_of_file(path);
    const Result<Store> store = attach();
    EXPECT_TRUE(store.ok()) << why();
    return versionless(contents_of(*store));
  }
  std::string pristine;
};

TEST_F(AttachKillAgain, WhatWasThereIsThereStill) {
  const Contents expected = prepare();
  EXPECT_GT(expected.size(), 60u);
  unsigned kills = 0;
  // Before each call on a file, the last of which lets the new file take its place.
  for (std::uint64_t n = 1;; ++n) {
    write_dead(pristine);
    const bool killed = in_child([&] {
      static std::atomic<std::uint64_t> left;
      left = n;
      platform::FaultPlan plan;
      plan.watch = [](void*, const platform::FileCall&) {
        if (left.fetch_sub(1) == 1) ::kill(::getpid(), SIGKILL);
      };
      platform::FaultScope scope(plan);
      const Result<Store> store = attach();
      ::_exit(store.ok() ? 0 : 3);
    });
    const Result<Store> store = attach();
    ASSERT_TRUE(store.ok()) << n << " " << why();
    EXPECT_EQ(versionless(contents_of(*store)), expected) << n;
    EXPECT_TRUE(whole(*store)) << n;
    kills += killed;
    if (!killed) break;
  }
  EXPECT_GT(kills, 15u);
  // And at named steps of bringing the entries over.
  for (std::uint64_t n = 1;; n += quick_or_long(kSanitized ? 211u : 37u, 3u)) {
    write_dead(pristine);
    const bool killed = in_child([&] {
      StdSync::hook = &Steps::hook;
      Steps::passed = 0;
      Steps::counts = true;
      Steps::kill_at = n;
      const Result<Store> store = attach();
      ::_exit(store.ok() ? 0 : 3);
    });
    StdSync::hook = nullptr;
    const Result<Store> store = attach();
    ASSERT_TRUE(store.ok()) << n << " " << why();
    EXPECT_EQ(versionless(contents_of(*store)), expected) << n;
    if (!killed) break;
  }
}

// Bytes of a dead store's file that changed, anywhere: an error that says where, or a store that is whole. Never a fault.
TEST_F(AttachKillAgain, AFileThatIsDamagedIsAnErrorOrAStoreThatIsWhole) {
  prepare();
  // Where something is read: pages that hold anything, the table's words, the records that those lead to, and the roots.
  std::vector<std::size_t> pages, words, records;
  for (std::size_t at = 4096; at + 4096 <= pristine.size(); at += 4096) {
    if (!is_zero(pristine, at)) pages.push_back(at);
  }
  for (std::size_t at = persist::kHeapAt; at != persist::kHeapAt + 64 * 64; at += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, pristine.data() + at, 8);
    if (word == 0 || detail::SlotWord(word).is_empty()) continue;
    words.push_back(at);
    if (detail::SlotWord(word).is_current()) records.push_back(persist::kHeapAt + detail::SlotWord(word).offset() * 8);
  }
  Random random(11);
  unsigned refused = 0, taken = 0;
  std::map<std::string, unsigned> reasons;
  for (unsigned n = 0; n != quick_or_long(kSanitized ? 120u : 250u, 5'000u); ++n) {
    std::vector<std::pair<std::size_t, char>> changes;
    const unsigned count = 1 + random() % 8;
    for (unsigned i = 0; i != count; ++i) {
      std::size_t at = pages[random() % pages.size()] + random() % 4096;
      const unsigned where = random() % 16;
      if (where < 4) at = words[random() % words.size()] + random() % 8;
      if (where >= 4 && where < 12) at = records[random() % records.size()] + random() % 48;
      if (where == 12) at = persist::kRootsAt + random() % 512;
      if (where == 13) at = persist::kRootsAt + detail::Roots<StdSync>::kHeadsAt + random() % 16;
      char byte = static_cast<char>(random());
      if (random() % 3 == 0) byte = static_cast<char>(pristine[at] ^ (1 << random() % 8));
      changes.emplace_back(at, byte);
    }
    std::string bad = pristine;
    for (const auto& [at, byte] : changes) bad[at] = byte;
    write_dead(bad);
    const Result<Store> store = attach();
    if (!store.ok()) {
      ++refused;
      ++reasons[fault.reason];
      EXPECT_TRUE(store.error().status == Status::kCorrupt || store.error().status == Status::kOutOfRange ||
                  store.error().status == Status::kUnsupported)
          << testing::PrintToString(store.error());
      continue;
    }
    ++taken;
    EXPECT_TRUE(whole(*store)) << n;
  }
  EXPECT_GT(refused, 30u);
  EXPECT_GT(taken, 10u);
  EXPECT_GT(reasons.size(), 6u);
}

}  // namespace
}  // namespace tern::test
