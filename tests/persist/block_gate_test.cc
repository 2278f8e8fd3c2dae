// The gate of blocks under the scheduler: readers, writers, removers and maintenance that meet at a block; as it is, and with
// each planted bug.
#include "persist/block_gate.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "tests/sync/sched_sync.h"
#include "tests/sync/scheduler.h"

namespace tern::concurrency {
namespace {

using persist::GateBug;
using Sync = SchedSync<>;

constexpr unsigned kBlocks = 2;
constexpr std::uint64_t kAbsent = 0, kOfFile = 1, kWritten = 2;

// A store of one entry a block: a load places it if nothing is there, as Intake does.
template <GateBug kBug>
struct Serving {
  using Gate = persist::BlockGate<Sync, kBug>;
  Gate gate;
  typename Gate::Word state[kBlocks];
  Sync::Atomic<std::uint64_t> entry[kBlocks];
  Sync::Atomic<std::uint64_t> file_is_open{1};
  Sync::Atomic<std::uint64_t> memory{1};  // 0: the next load finds none
  unsigned loads[kBlocks];
  unsigned lasts = 0;

  void setup(std::uint64_t has_memory) {
    for (unsigned b = 0; b != kBlocks; ++b) {
      state[b].store(Gate::kWaiting);
      entry[b].store(kAbsent);
      loads[b] = 0;
    }
    gate.begin(kBlocks);
    file_is_open.store(1);
    memory.store(has_memory);
    lasts = 0;
  }
  typename Gate::State bring(unsigned b) {
    return gate.bring(
        state[b],
        [&] {
          if (memory.exchange(1) == 0) return Gate::kWaiting;
          require(file_is_open.load() == 1, "a file that was closed is read");
          std::uint64_t none = kAbsent;
          entry[b].compare_exchange_strong(none, kOfFile);
          require(file_is_open.load() == 1, "a file is closed while it is read");
          ++loads[b];
          return Gate::kDone;
        },
        [] { yield(); },
        [&] {
          ++lasts;
          file_is_open.store(0);
        });
  }
  // As a call does: again, if there was no memory.
  void need(unsigned b) {
    while (bring(b) != Gate::kDone) {
    }
  }
  void read(unsigned b, bool written_too) {
    need(b);
    const std::uint64_t v = entry[b].load();
    require(v == kOfFile || (written_too && v == kWritten), "an entry of the file is missed");
  }
  void write(unsigned b) {
    need(b);
    entry[b].store(kWritten);
  }
  void remove(unsigned b) {
    need(b);
    require(entry[b].exchange(kAbsent) == kOfFile, "there was nothing to remove");
  }
  void maintain() {
    for (unsigned b = 0; b != kBlocks; ++b) bring(b);
  }
  std::string check(std::uint64_t first_in_the_end) {
    for (unsigned b = 0; b != kBlocks; ++b) {
      if (loads[b] > 1) return "a block is brought twice";
    }
    if (entry[0].load() != first_in_the_end) return "a write is undone";
    if (gate.left() != 0 || lasts != 1 || file_is_open.load() != 0) return "the end is not told once";
    return "";
  }
};

template <GateBug kBug>
Result run(const std::string& name, const std::function<Body(Serving<kBug>&)>& body) {
  Serving<kBug> serving;
  Options o;
  o.name = name;
  o.preemptions = std::getenv("TERN_TEST_LONG") != nullptr ? 4 : 3;
  o.max_schedules = 200'000;
  o.trace_failure = false;
  o.shared_addresses_only = false;
  return Explorer(o).explore(body(serving));
}

template <GateBug kBug>
Body two_first_readers(Serving<kBug>& s) {
  return {[&s] { s.setup(1); },
          {[&s] { s.read(0, false); }, [&s] { s.read(0, false); }, [&s] { s.read(1, false); }},
          [&s] { return s.check(kOfFile); }};
}
// Never two that wait at one block: each would give way to the other for ever, which is no schedule of a machine.
template <GateBug kBug>
Body writer_and_loaders(Serving<kBug>& s) {
  return {[&s] { s.setup(1); },
          {[&s] { s.write(0); }, [&s] { s.maintain(); }, [&s] { s.read(1, false); }},
          [&s] { return s.check(kWritten); }};
}
template <GateBug kBug>
Body remover_and_loaders(Serving<kBug>& s) {
  return {[&s] { s.setup(1); }, {[&s] { s.remove(0); }, [&s] { s.maintain(); }}, [&s] { return s.check(kAbsent); }};
}
template <GateBug kBug>
Body want_of_memory(Serving<kBug>& s) {
  return {[&s] { s.setup(0); }, {[&s] { s.read(0, false); }, [&s] { s.maintain(); }}, [&s] { return s.check(kOfFile); }};
}

#define TERN_SCENES(Bug) \
  {{"two first readers", two_first_readers<Bug>}, {"a writer and loaders", writer_and_loaders<Bug>}, \
   {"a remover and loaders", remover_and_loaders<Bug>}, {"want of memory", want_of_memory<Bug>}}

template <GateBug kBug>
struct Scene {
  const char* name;
  std::function<Body(Serving<kBug>&)> body;
};

TEST(BlockGate, HoldsInEverySchedule) {
  const Scene<GateBug::kNone> scenes[] = TERN_SCENES(GateBug::kNone);
  for (const auto& scene : scenes) {
    const Result r = run<GateBug::kNone>(scene.name, scene.body);
    EXPECT_TRUE(r.ok) << scene.name << ": " << r.failure;
    EXPECT_GT(r.schedules, 100u);
  }
}

template <GateBug kBug>
void expect_found() {
  const Scene<kBug> scenes[] = TERN_SCENES(kBug);
  std::string found;
  for (const auto& scene : scenes) {
    const Result r = run<kBug>(scene.name, scene.body);
    if (!r.ok && found.empty()) found = std::string(scene.name) + ": " + r.failure.substr(0, r.failure.find('\n'));
  }
  EXPECT_FALSE(found.empty()) << "planted bug " << static_cast<int>(kBug) << " was not found";
  std::printf("[tern] planted bug %d: %s\n", static_cast<int>(kBug), found.c_str());
}

TEST(BlockGate, EachPlantedBugIsFound) {
  expect_found<GateBug::kClaimByStore>();
  expect_found<GateBug::kBusyIsDone>();
  expect_found<GateBug::kDoneFirst>();
  expect_found<GateBug::kCountedFirst>();
  expect_found<GateBug::kFailedIsDone>();
}

}  // namespace
}  // namespace tern::concurrency
