// A store in shared memory: what the next process finds, who may have it, and what is refused.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <tern/namespace.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "alloc/platform.h"
#include "tests/persist/attach_fixture.h"

namespace tern::test {
namespace {

namespace platform = alloc::platform;
using platform::FaultPlan;
using platform::Site;

class AttachTest : public testing::Test {
 protected:
  AttachTest() : folder("attach"), path(folder.file("store")), options(small_options(&clock)) {
    options.memory_bytes = 4 * kMiB;
    options.eviction = false;
  }

  Result<Store> attach() { return Store::attach(path, options, {.report = &report, .fault = &fault}); }
  Store attach_or_fail() {
    Result<Store> store = attach();
    EXPECT_TRUE(store.ok()) << testing::PrintToString(store.error()) << ": " << fault.file << ": " << fault.reason << " at "
                            << fault.offset << ", errno " << fault.system_error;
    if (!store.ok()) std::abort();
    return std::move(*store);
  }
  void expect_refused(Status status, Field field, const char* why) {
    const Result<Store> store = attach();
    EXPECT_EQ(store.error(), (Error{status, field}));
    EXPECT_NE(std::strstr(fault.reason, why), nullptr) << fault.reason;
  }
  bool is_there(const char* end) const { return std::filesystem::exists(path + end); }

  SharedFolder folder;
  std::string path;
  ManualClock clock;
  Options options;
  AttachReport report;
  SnapshotFault fault;
};

TEST_F(AttachTest, TheFirstMakesTheFileAndTheNextFindsIt) {
  {
    const Store store = attach_or_fail();
    EXPECT_FALSE(report.found);
    EXPECT_TRUE(store.set("a", "1").ok());
    EXPECT_TRUE(is_there(""));
    EXPECT_TRUE(is_there(".lock"));
    EXPECT_FALSE(is_there(".new"));
    struct stat about {};
    ASSERT_EQ(::stat(path.c_str(), &about), 0);
    EXPECT_EQ(about.st_mode & 0777, 0600u);
    // Sparse: the addresses cost nothing.
    EXPECT_LT(about.st_blocks * 512, 2 << 20);
  }
  const Store store = attach_or_fail();
  EXPECT_TRUE(report.found);
  EXPECT_TRUE(report.was_closed);
  EXPECT_EQ(report.entries, 1u);
  EXPECT_EQ(value_of(store, "a"), "1");
  EXPECT_TRUE(whole(store));
}

// In a folder that others may write to.
TEST_F(AttachTest, WhatHasANameOfItsOwnIsNotWrittenTo) {
  const std::string others = folder.file("others");
  for (const bool symbolic : {true, false}) {
    write_file(others, "somebody's");
    symbolic ? std::filesystem::create_symlink(others, path + ".new") : std::filesystem::create_hard_link(others, path + ".new");
    const Store store = attach_or_fail();
    EXPECT_TRUE(store.set("a", "1").ok());
    EXPECT_EQ(bytes_of_file(others), "somebody's");
    EXPECT_FALSE(is_there(".new"));
  }
  EXPECT_EQ(value_of(attach_or_fail(), "a"), "1");
  std::filesystem::remove(path + ".lock");
  std::filesystem::create_symlink(others, path + ".lock");
  EXPECT_EQ(attach().status(), Status::kIo);
  EXPECT_EQ(bytes_of_file(others), "somebody's");
}

TEST_F(AttachTest, EverythingAnEntryHasComesBack) {
  Contents before;
  std::uint64_t version = 0;
  LeaseId lease = 0;
  std::uint64_t token = 0, unevictable = 0;
  const std::string long_key(3'000, 'k'), longer_key(40'000, 'K');
  {
    options.memory_bytes = 16 * kMiB;
    const Store store = attach_or_fail();
    for (unsigned i = 0; i != 2'000; ++i) ASSERT_TRUE(store.set(numbered("k", i), pattern(i % 300, i)).ok());
    for (unsigned i = 0; i < 2'000; i += 3) ASSERT_TRUE(store.set(numbered("k", i), pattern(i % 200, i + 1)).ok());
    for (unsigned i = 0; i < 2'000; i += 7) ASSERT_TRUE(store.del(numbered("k", i)).ok());
    ASSERT_TRUE(store.set("large", pattern(300'000, 1)).ok());
    ASSERT_TRUE(store.set(long_key, pattern(10, 2)).ok());
    ASSERT_TRUE(store.set(longer_key, pattern(100, 3)).ok());
    ASSERT_TRUE(store.set("ttl", "t", {.ttl = 10s}).ok());
    ASSERT_TRUE(store.set("soon", "t", {.ttl = 1s}).ok());
    ASSERT_TRUE(store.set("idle", "i", {.idle = 20s}).ok());
    const std::string_view tags[] = {"red", "blue"};
    ASSERT_TRUE(store.set("tagged", "x", {.evictable = false, .tags = tags, .metadata = "about it"}).ok());
    ASSERT_TRUE(store.set("described", pattern(150'000, 6), {.metadata = std::string(4'096, 'm')}).ok());
    ASSERT_TRUE(store.set("tagged with lifetime", "x", {.ttl = 1h, .tags = tags}).ok());
    ASSERT_TRUE(store.set("large and tagged", pattern(200'000, 5), {.tags = tags}).ok());
    ASSERT_TRUE(store.append("log", "abc").ok());
    ASSERT_TRUE(store.increment("n", 7).ok());
    ASSERT_TRUE(store.set("empty", "").ok());
    // A value of which its owner wrote only some pages.
    auto draft = store.allocate("draft", 200'000);
    ASSERT_TRUE(draft.ok());
    std::memcpy(draft->bytes().data() + 150'000, "middle", 6);
    ASSERT_TRUE(draft->publish().ok());
    lease = store.lease(1h)->id();
    ASSERT_TRUE(store.set("member", "m", {.lease = lease}).ok());
    auto ns = store.ns("world", {.fold_case = true, .share_percent = 10});
    ASSERT_TRUE(ns.ok());
    ASSERT_TRUE(ns->set("Key", "in the world").ok());
    auto lock = store.lock("mine", {.ttl = 1h});
    ASSERT_TRUE(lock.ok());
    token = lock->token();
    before = contents_of(store);
    version = *store.set("last", "1");
    before["last"] = {"1", version, std::nullopt};
    unevictable = store.stats().unevictable;
    lock->release();  // it stays locked
  }
  clock.advance(2s);
  const Store store = attach_or_fail();
  EXPECT_EQ(report.expired, 1u);
  EXPECT_TRUE(whole(store));
  before.erase("soon");
  for (auto& [key, saved] : before) {
    if (saved.ttl) *saved.ttl -= 2s;
  }
  EXPECT_EQ(contents_of(store), before);
  EXPECT_EQ(value_of(store, "draft")->substr(150'000, 6), "middle");
  EXPECT_FALSE(value_of(store, "soon"));
  EXPECT_EQ(*store.increment("n"), 8);
  EXPECT_EQ(store.get_metadata("tagged")->view(), "about it");
  EXPECT_EQ(store.get_metadata("described")->view(), std::string(4'096, 'm'));
  auto ns = store.ns("world");
  ASSERT_TRUE(ns.ok());
  EXPECT_EQ(value_of(*ns, "KEY"), "in the world");
  EXPECT_EQ(store.stats().unevictable, unevictable);
  EXPECT_EQ(store.stats().leases, 2u);
  // Versions, tokens and leases' ids go on above what was given out.
  EXPECT_GT(*store.set("last", "2"), version);
  EXPECT_GT(*store.set("new", "2"), version);
  EXPECT_EQ(store.try_lock("mine").error().status, Status::kTimedOut);
  ASSERT_TRUE(store.unlock("mine", token).ok());
  auto lock = store.try_lock("mine");
  ASSERT_TRUE(lock.ok());
  EXPECT_GT(lock->token(), token);
  EXPECT_GT(store.lease(1h)->id(), lease);
  // What hangs together still does.
  EXPECT_EQ(value_of(store, "member"), "m");
  ASSERT_TRUE(store.lease_of(lease).revoke().ok());
  EXPECT_FALSE(value_of(store, "member"));
  ASSERT_TRUE(store.del_tag("red").ok());
  EXPECT_FALSE(value_of(store, "tagged"));
  EXPECT_FALSE(value_of(store, "large and tagged"));
  clock.advance(9s);
  EXPECT_FALSE(value_of(store, "ttl"));
  EXPECT_EQ(value_of(store, "idle"), "i");
  clock.advance(21s);  // an idle time is rounded up
  EXPECT_FALSE(value_of(store, "idle"));
  while (store.tick(100ms)->invalidations != 0) {
  }
  EXPECT_TRUE(whole(store));
}

// What was cleared is nowhere swept yet; what came after it stays.
TEST_F(AttachTest, WhatWasClearedStaysCleared) {
  const std::string long_prefix = "p" + std::string(20'000, 'q');
  const std::string_view tag[] = {"t"};
  {
    const Store store = attach_or_fail();
    for (unsigned i = 0; i != 200; ++i) {
      ASSERT_TRUE(store.set(numbered("a", i), "1").ok());
      ASSERT_TRUE(store.set(numbered("b", i), "1", {.tags = tag}).ok());
      ASSERT_TRUE(store.set(numbered("c", i), "1").ok());
    }
    ASSERT_TRUE(store.set(long_prefix + "1", "1").ok());
    ASSERT_TRUE(store.set("p2", "1").ok());
    ASSERT_TRUE(store.set("d", "1").ok());
    ASSERT_TRUE(store.del_prefix("a").ok());
    ASSERT_TRUE(store.del_prefix(long_prefix).ok());
    ASSERT_TRUE(store.del_tag("t").ok());
    ASSERT_TRUE(store.set("a1", "2").ok());
    ASSERT_TRUE(store.set("b1", "2", {.tags = tag}).ok());
    ASSERT_TRUE(store.append("a2", "2").ok());
  }
  {
    const Store store = attach_or_fail();
    EXPECT_EQ(report.entries, 200u + 5u);
    EXPECT_EQ(value_of(store, "a1"), "2");
    EXPECT_EQ(value_of(store, "b1"), "2");
    EXPECT_EQ(value_of(store, "a2"), "2");
    EXPECT_EQ(value_of(store, "p2"), "1");
    EXPECT_FALSE(value_of(store, "a3"));
    EXPECT_FALSE(value_of(store, "b3"));
    EXPECT_FALSE(value_of(store, long_prefix + "1"));
    EXPECT_TRUE(whole(store));
    ASSERT_TRUE(store.clear().ok());
  }
  const Store store = attach_or_fail();
  EXPECT_EQ(report.entries, 0u);
}

TEST_F(AttachTest, ViewsWatchesAndHeldValuesAreThePrologue) {
  std::optional<HeldValue> held;
  {
    const Store store = attach_or_fail();
    ASSERT_TRUE(store.set("a", "1").ok());
    ASSERT_TRUE(store.set("gone", std::string(300, 'g')).ok());
    auto watch = store.watch_prefix("");
    ASSERT_TRUE(watch.ok());
    const auto view = store.view();
    ASSERT_TRUE(store.set("a", "2").ok());
    ASSERT_TRUE(store.del("gone").ok());
    held.emplace(std::move(*store.hold("a")));
    ASSERT_TRUE(store.set("a", "3").ok());
  }
  // A value that is held keeps the memory, and with it the file.
  expect_refused(Status::kUnavailable, Field::kPath, "another store or process");
  EXPECT_EQ(held->view(), "2");
  held.reset();
  const Store store = attach_or_fail();
  EXPECT_EQ(report.entries, 1u);
  EXPECT_EQ(value_of(store, "a"), "3");
  EXPECT_FALSE(value_of(store, "gone"));
  EXPECT_TRUE(whole(store));
}

TEST_F(AttachTest, ManyLivesWithOtherOptionsEachTime) {
  std::map<std::string, std::string> expected;
  std::uint64_t last_version = 0;
  for (unsigned life = 0; life != 12; ++life) {
    options.memory_bytes = (4 + life % 3 * 12) * kMiB;
    options.shard_count = 1u << life % 5;
    options.ordered = life % 2 == 1;
    options.eviction = life % 4 == 3;
    options.maintenance = life % 2 == 0 ? Maintenance::kTick : Maintenance::kBackground;
    options.hash_seed = life == 0 ? std::optional<std::uint64_t>(7) : std::nullopt;
    const Store store = attach_or_fail();
    EXPECT_EQ(report.entries, expected.size());
    EXPECT_TRUE(whole(store));
    for (const auto& [key, value] : expected) EXPECT_EQ(value_of(store, key), value) << life;
    for (unsigned i = 0; i != 400; ++i) {
      const std::string key = numbered("k", (i * 7 + life * 131) % 1'500), value = pattern((i * 13 + life) % 400, life);
      if (i % 5 == 4) {
        ASSERT_TRUE(store.del(key).ok());
        expected.erase(key);
        continue;
      }
      const Result<std::uint64_t> version = store.set(key, value);
      ASSERT_TRUE(version.ok());
      EXPECT_GT(*version, last_version);
      expected[key] = value;
    }
    last_version = *store.set("last", "");
    expected["last"] = "";
  }
}

TEST_F(AttachTest, TheTableIsTakenAtAnySize) {
  options.memory_bytes = 32 * kMiB;
  options.shard_count = 2;
  for (const unsigned entries : {0u, 1u, 69u, 70u, 71u, 5'000u, 60'000u}) {
    std::filesystem::remove(path);
    {
      const Store store = attach_or_fail();
      for (unsigned i = 0; i != entries; ++i) ASSERT_TRUE(store.set(numbered("key ", i), numbered("", i)).ok());
    }
    const Store store = attach_or_fail();
    EXPECT_EQ(report.entries, entries);
    for (unsigned i = 0; i != entries; ++i) ASSERT_EQ(value_of(store, numbered("key ", i)), numbered("", i));
    EXPECT_TRUE(whole(store));
  }
}

TEST_F(AttachTest, WhatDoesNotFitIsNamedAndStaysAsItWas) {
  options.memory_bytes = 16 * kMiB;
  {
    const Store store = attach_or_fail();
    for (unsigned i = 0; i != 40'000; ++i) ASSERT_TRUE(store.set(numbered("k", i), pattern(150, i)).ok());
  }
  options.memory_bytes = 4 * kMiB;
  expect_refused(Status::kOutOfRange, Field::kMemoryBytes, "don't fit");
  EXPECT_FALSE(is_there(".new"));
  options.memory_bytes = 16 * kMiB;
  options.entries_max = 1'000;
  expect_refused(Status::kOutOfRange, Field::kEntriesMax, "entries_max");
  options.entries_max = 0;
  options.value_bytes_max = 100;
  expect_refused(Status::kOutOfRange, Field::kValueBytesMax, "value_bytes_max");
  options.value_bytes_max = 0;
  {
    const Store store = attach_or_fail();
    EXPECT_EQ(report.entries, 40'000u);
  }
  // A cache leaves out what has no room.
  options.memory_bytes = 4 * kMiB;
  options.eviction = true;
  const Store store = attach_or_fail();
  EXPECT_GT(report.entries, 5'000u);
  EXPECT_EQ(report.entries + report.left_out, 40'000u);
  EXPECT_TRUE(whole(store));
}

TEST_F(AttachTest, OneOwnerAtATime) {
  Store store = attach_or_fail();
  ASSERT_TRUE(store.set("a", "1").ok());
  expect_refused(Status::kUnavailable, Field::kPath, "another store or process");
  // Another process, too.
  const pid_t child = ::fork();
  if (child == 0) {
    const Result<Store> second = attach();
    ::_exit(second.error() == Error{Status::kUnavailable, Field::kPath} ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(value_of(store, "a"), "1");
  store = Store();
  EXPECT_EQ(value_of(attach_or_fail(), "a"), "1");
}

// A child has the mapping, and must not do anything to it, whatever it does with its handles; nor does it keep the file
// from the next owner.
TEST_F(AttachTest, AForkedChildLeavesTheStoreAlone) {
  std::array<int, 2> pipe{}, ready{};
  ASSERT_EQ(::pipe(pipe.data()), 0);
  ASSERT_EQ(::pipe(ready.data()), 0);
  pid_t child = 0;
  {
    Store store = attach_or_fail();
    for (unsigned i = 0; i != 500; ++i) ASSERT_TRUE(store.set(numbered("k", i), pattern(100, i)).ok());
    std::optional<HeldValue> held(std::move(*store.hold("k1")));
    std::optional<View> view(std::move(*store.view()));
    for (unsigned i = 0; i != 100; ++i) ASSERT_TRUE(store.set(numbered("k", i), pattern(101, i)).ok());
    child = ::fork();
    if (child == 0) {
      ::close(pipe[1]);
      if (store.set("k1", "of the child").error().status != Status::kClosed) ::_exit(1);
      if (held->view() != pattern(100, 1)) ::_exit(2);
      view.reset();
      held.reset();
      store = Store();
      char byte = 0;
      (void)!::write(ready[1], &byte, 1);
      (void)!::read(pipe[0], &byte, 1);  // lives on until the parent's end of it is closed
      ::_exit(0);
    }
    for (unsigned i = 0; i != 500; ++i) ASSERT_TRUE(store.set(numbered("k", i), pattern(102, i)).ok());
    view.reset();
    held.reset();
    EXPECT_TRUE(whole(store));
    ::close(ready[1]);
    char byte = 0;
    (void)!::read(ready[0], &byte, 1);  // or it has ended: its status says why
    ::close(ready[0]);
    expect_refused(Status::kUnavailable, Field::kPath, "another store or process");  // the child's end of it is nobody else's
  }
  {
    const Store store = attach_or_fail();
    EXPECT_EQ(report.entries, 500u);
    for (unsigned i = 0; i != 500; ++i) EXPECT_EQ(value_of(store, numbered("k", i)), pattern(102, i));
  }
  ::close(pipe[1]);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  ::close(pipe[0]);
}

// A child that has run nothing yet, as one between fork and exec, has a copy of the lock's file; whoever closes lets go for both.
TEST_F(AttachTest, ACloseLetsGoWhateverAChildHas) {
  Store store = attach_or_fail();
  ASSERT_TRUE(store.set("k", "v").ok());
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe(pipe.data()), 0);
  // Without what pthread_atfork has the child do.
  const auto child = static_cast<pid_t>(::syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, nullptr));
  ASSERT_GE(child, 0);
  if (child == 0) {
    char byte = 0;
    ::syscall(SYS_close, pipe[1]);
    ::syscall(SYS_read, pipe[0], &byte, 1);  // until the parent's end is closed
    ::syscall(SYS_exit_group, 0);
  }
  store = Store();
  store = attach_or_fail();
  EXPECT_TRUE(report.was_closed);
  EXPECT_EQ(value_of(store, "k"), "v");
  ::close(pipe[1]);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  ::close(pipe[0]);
}

TEST_F(AttachTest, OtherOptionsThanTheFilesAreNamed) {
  options.hash_seed = 5;
  { attach_or_fail(); }
  options.hash_seed = 6;
  expect_refused(Status::kInvalidArgument, Field::kHashSeed, "hash_seed");
  options.hash_seed = 5;
  options.clock = nullptr;
  expect_refused(Status::kInvalidArgument, Field::kClock, "clock");
  options.clock = &clock;
  options.memory = folder.file("").data();
  options.memory_size = 4 * kMiB;
  EXPECT_EQ(attach().error(), (Error{Status::kInvalidArgument, Field::kMemory}));
  options.memory = nullptr;
  options.memory_size = 0;
  options.shard_count = 3;
  EXPECT_EQ(attach().error(), (Error{Status::kInvalidArgument, Field::kShardCount}));
  options.shard_count = 0;
  EXPECT_EQ(Store::attach("", options).error(), (Error{Status::kInvalidArgument, Field::kPath}));
  EXPECT_EQ(Store::attach(path, options, {.threads = 17}).error(), (Error{Status::kOutOfRange, Field::kThreads}));
  EXPECT_EQ(Store::attach("/nowhere/at/all", options).error(), (Error{Status::kIo, Field::kPath}));
  attach_or_fail();
}

TEST_F(AttachTest, WhatIsNoStoreIsNamed) {
  write_file(path, "");
  expect_refused(Status::kCorrupt, Field::kPath, "no store");
  write_file(path, std::string(100'000, 'x'));
  expect_refused(Status::kCorrupt, Field::kPath, "no store");
  EXPECT_EQ(bytes_of_file(path), std::string(100'000, 'x'));
  std::filesystem::remove(path);
  ASSERT_TRUE(open_or_fail(options).save(path).ok());
  expect_refused(Status::kCorrupt, Field::kPath, "no store");
  std::filesystem::remove(path);
  std::filesystem::remove(path + ".lock");
  { ASSERT_TRUE(attach_or_fail().set("a", "1").ok()); }
  const std::string good = bytes_of_file(path);
  const auto with = [&](std::size_t at, char byte) {
    std::string bad = good;
    bad[at] = byte;
    write_file(path, bad);
  };
  with(8, 9);
  expect_refused(Status::kUnsupported, Field::kPath, "another version");
  with(16, 1);
  expect_refused(Status::kUnsupported, Field::kPath, "another version");
  with(40, static_cast<char>(good[40] ^ 1));
  expect_refused(Status::kCorrupt, Field::kPath, "header");
  write_file(path, good.substr(0, good.size() - 4096));
  expect_refused(Status::kCorrupt, Field::kPath, "size");
  write_file(path, good);
  EXPECT_EQ(value_of(attach_or_fail(), "a"), "1");
}

// A store in memory of its own, saved beside the one that is attached and the other way round.
TEST_F(AttachTest, ItIsSavedAndOpenedLikeAnyOther) {
  const std::string snapshot = folder.file("snapshot");
  Contents before;
  {
    const Store store = attach_or_fail();
    for (unsigned i = 0; i != 300; ++i) ASSERT_TRUE(store.set(numbered("k", i), pattern(i, i)).ok());
    ASSERT_TRUE(store.save(snapshot).ok());
    before = contents_of(store);
  }
  const Result<Store> opened = Store::open(snapshot, options);
  ASSERT_TRUE(opened.ok());
  EXPECT_EQ(contents_of(*opened), before);
  EXPECT_EQ(contents_of(attach_or_fail()), before);
}

// The file system has no room for the n-th piece: the call says so, nothing is lost, and no touch of a page is a fault.
TEST_F(AttachTest, AFullFileSystemIsAWriteThatIsRefused) {
  for (std::uint64_t n = 1;; n += n < 12 ? 1 : 6) {
    FaultPlan plan;
    plan.sites = platform::site_bit(Site::kBack);
    plan.fail_at = n;
    plan.fail_count = ~std::uint64_t{0} >> 1;
    std::map<std::string, std::string> expected;
    {
      platform::FaultScope scope(plan);
      const Result<Store> store = attach();
      if (!store.ok()) {
        EXPECT_EQ(store.error().status, Status::kOutOfMemory) << n;
        EXPECT_FALSE(is_there(".new"));
        EXPECT_FALSE(is_there(""));
        continue;
      }
      unsigned refused = 0;
      for (unsigned i = 0; i != 3'000; ++i) {
        const std::string key = numbered("k", i), value = pattern(i % 13 == 0 ? 70'000 : i % 500, i);
        const Result<std::uint64_t> r = store->set(key, value);
        if (r.ok()) {
          expected[key] = value;
        } else {
          ASSERT_EQ(r.status(), Status::kOutOfMemory);
          ++refused;
        }
      }
      EXPECT_GT(refused, 0u);
      EXPECT_TRUE(whole(*store)) << n;
    }
    const Store store = attach_or_fail();
    EXPECT_EQ(report.entries, expected.size());
    unsigned wrong = 0;
    for (const auto& [key, value] : expected) wrong += value_of(store, key) != value;
    EXPECT_EQ(wrong, 0u) << n;
    EXPECT_TRUE(whole(store));
    std::filesystem::remove(path);
    if (plan.failed.load() == 0 || n > 50) break;
  }
}

// Each call on a file fails once while it is attached: an error, and the next attach has everything.
TEST_F(AttachTest, EachCallOnAFileFailsOnce) {
  Contents before;
  {
    const Store store = attach_or_fail();
    for (unsigned i = 0; i != 300; ++i) ASSERT_TRUE(store.set(numbered("k", i), pattern(i, i)).ok());
    before = contents_of(store);
  }
  unsigned failed = 0;
  for (std::uint64_t n = 1;; ++n) {
    FaultPlan plan;
    plan.sites = ~0u & ~platform::site_bit(Site::kPinThread);
    plan.fail_at = n;
    bool worked = false;
    {
      platform::FaultScope scope(plan);
      worked = attach().ok();
    }
    failed += !worked;
    EXPECT_EQ(contents_of(attach_or_fail()), before) << n;
    EXPECT_FALSE(is_there(".new"));
    if (plan.failed.load() == 0) break;
  }
  EXPECT_GT(failed, 20u);
}

TEST_F(AttachTest, PrefaultTakesItAllAtOnce) {
  options.prefault = true;
  const Store store = attach_or_fail();
  struct stat about {};
  ASSERT_EQ(::stat(path.c_str(), &about), 0);
  EXPECT_GT(static_cast<std::size_t>(about.st_blocks) * 512, 7 * kMiB / 2);
  for (unsigned i = 0; i != 1'000; ++i) ASSERT_TRUE(store.set(numbered("k", i), pattern(500, i)).ok());
  EXPECT_TRUE(whole(store));
}

// The budget moves, and what is given back leaves the file.
TEST_F(AttachTest, MemoryGoesBackToTheFileSystem) {
  options.memory_bytes = 32 * kMiB;
  const auto blocks = [&] {
    struct stat about {};
    EXPECT_EQ(::stat(path.c_str(), &about), 0);
    return static_cast<std::size_t>(about.st_blocks) * 512;
  };
  const Store store = attach_or_fail();
  for (unsigned i = 0; i != 100'000; ++i) ASSERT_TRUE(store.set(numbered("k", i), pattern(150, 1)).ok());
  const std::size_t full = blocks();
  EXPECT_GT(full, 16 * kMiB);
  EXPECT_LT(full, 40 * kMiB);
  ASSERT_TRUE(store.clear().ok());
  while (store.tick(100ms)->invalidations != 0) {
  }
  ASSERT_TRUE(store.resize(8 * kMiB).ok());
  while (store.tick(100ms)->shrink_bytes != 0) {
  }
  EXPECT_LT(blocks(), full / 2);
  for (unsigned i = 0; i != 10'000; ++i) ASSERT_TRUE(store.set(numbered("k", i), pattern(150, 1)).ok());
  EXPECT_TRUE(whole(store));
}

}  // namespace
}  // namespace tern::test
