// R8: each call on a file fails once, for every call that a save or an open makes.
#include <signal.h>
#include <sys/resource.h>

#include <cerrno>
#include <vector>

#include "alloc/platform.h"
#include "tests/persist/snapshot_fixture.h"

namespace tern::test {
namespace {

namespace platform = alloc::platform;
using platform::FaultPlan;
using platform::Site;

constexpr std::uint32_t kFileSites =
    platform::site_bit(Site::kOpen) | platform::site_bit(Site::kRead) | platform::site_bit(Site::kWrite) |
    platform::site_bit(Site::kSync) | platform::site_bit(Site::kRename) | platform::site_bit(Site::kTruncate) |
    platform::site_bit(Site::kRemove) | platform::site_bit(Site::kFileSize) | platform::site_bit(Site::kLock) |
    platform::site_bit(Site::kWriteback) | platform::site_bit(Site::kPrivateAllocate);

// Two stores: one was saved, the other is to be saved over it.
class SnapshotFaults : public SnapshotTest {
 protected:
  SnapshotFaults() : options(small_options(&clock)), first(open_or_fail(options)), second(open_or_fail(options)) {
    options.memory_bytes = 4 * kMiB;
    for (unsigned i = 0; i != 2'000; ++i) {
      EXPECT_TRUE(first.set(numbered("k", i), pattern(60, i)).ok());
      EXPECT_TRUE(second.set(numbered("k", i), pattern(61, i)).ok());
    }
    EXPECT_TRUE(second.set("long", pattern(300'000)).ok());
    of_first = contents_of(first);
    of_second = contents_of(second);
  }
  void begin() {
    for (const auto& entry : std::filesystem::directory_iterator(folder.path())) std::filesystem::remove(entry);
    save_or_fail(first);
  }
  Options options;
  Store first;
  Store second;
  Contents of_first;
  Contents of_second;
};

TEST_F(SnapshotFaults, OfASaveLeaveWhatWasThere) {
  unsigned sites_seen = 0;
  const struct {
    int error;
    unsigned threads;
    SnapshotCodec codec;
  } cases[] = {{EIO, 1, SnapshotCodec::kNone}, {ENOSPC, 1, SnapshotCodec::kNone}, {ENOSPC, 3, SnapshotCodec::kNone},
               {EIO, 1, SnapshotCodec::kLz4}, {EIO, 1, SnapshotCodec::kZstd}};
  for (const auto& [error, threads, codec] : cases) {
    if (!has_codec(codec)) continue;
    for (std::uint64_t n = 1;; ++n) {
      begin();
      FaultPlan plan;
      plan.sites = kFileSites | platform::site_bit(Site::kStartThread);
      plan.fail_at = n;
      plan.error = error;
      Error answer;
      {
        platform::FaultScope scope(plan);
        answer = second.save(path, {.threads = threads, .fault = &fault, .codec = codec}).error();
      }
      if (plan.failed == 0) {
        EXPECT_EQ(answer, Error{});
        EXPECT_GE(n, 15u);
        sites_seen += static_cast<unsigned>(n);
        break;
      }
      SCOPED_TRACE("call " + std::to_string(n));
      const auto there = inspect_snapshot(path);  // in place of the old one, or not
      const bool is_new = there.ok() && there->entries > of_first.size();
      if (answer.status != Status::kOk) {
        EXPECT_TRUE(answer.status == Status::kIo || answer.status == Status::kOutOfMemory) << testing::PrintToString(answer);
        if (answer.status == Status::kIo) {
          EXPECT_EQ(fault.system_error, error) << fault.reason;
        }
        if (is_new) {
          EXPECT_TRUE(std::string(fault.reason) == "the folder can't be synchronised") << fault.reason;
        }
      } else {
        EXPECT_TRUE(is_new);
      }
      {
        const Store again = reopen_or_fail(options, {.own = false});
        EXPECT_EQ(contents_of(again), is_new ? of_second : of_first);
      }
      EXPECT_FALSE(answer.status == Status::kOk && std::filesystem::exists(path + ".tmp"));
      EXPECT_EQ(second.stats().views, 0u);
      // And it goes on: the same save again.
      ASSERT_TRUE(second.save(path).ok());
      EXPECT_EQ(contents_of(reopen_or_fail(options, {.own = false})), of_second);
    }
  }
  EXPECT_TRUE(whole(second));
  RecordProperty("calls", static_cast<int>(sites_seen));
}

TEST_F(SnapshotFaults, OfItsOwnSavesAreCountedAndTheNextOneIsWhole) {
  std::uint64_t n = 1;
  for (bool failed = true; failed; ++n) {
    SCOPED_TRACE("call " + std::to_string(n));
    begin();
    Contents saved;
    {
      Store store = open_or_fail(options);
      for (unsigned i = 0; i != 300; ++i) ASSERT_TRUE(store.set(numbered("k", i), pattern(60, i)).ok());
      saved = contents_of(store);
      FaultPlan plan;
      plan.sites = kFileSites & ~platform::site_bit(Site::kPrivateAllocate);  // others need that, too
      plan.fail_at = n;
      plan.error = n % 2 == 0 ? EIO : ENOSPC;
      {
        platform::FaultScope scope(plan);
        ASSERT_TRUE(store.save_periodically(path, {.every = std::chrono::milliseconds(10), .threads = 1}).ok());
        wait_for([&] { return store.stats().periodic_saves + store.stats().periodic_save_errors != 0; });
        failed = plan.failed != 0;
        if (store.stats().periodic_save_errors != 0) {
          EXPECT_TRUE(failed);
        }
        wait_for([&] { return store.stats().periodic_saves != 0; });
        store.close();
      }
    }  // it has stopped
    EXPECT_FALSE(std::filesystem::exists(path + ".tmp"));
    EXPECT_EQ(contents_of(reopen_or_fail(options, {.own = false})), saved);
  }
  EXPECT_GE(n, 15u);
}

TEST_F(SnapshotFaults, OfADiskThatIsGoneLeaveTheStoreServing) {
  begin();
  FaultPlan plan;
  plan.sites = platform::site_bit(Site::kWrite) | platform::site_bit(Site::kSync);
  plan.fail_at = 1;
  plan.fail_count = ~std::uint64_t{0} >> 1;
  {
    platform::FaultScope scope(plan);
    const Store store = open_or_fail(options);
    ASSERT_TRUE(store.set("k", "v").ok());
    ASSERT_TRUE(store.save_periodically(path, {.every = std::chrono::milliseconds(10)}).ok());
    wait_for([&] { return store.stats().periodic_save_errors >= 3; });
    EXPECT_EQ(store.stats().periodic_save_status, Status::kIo);
    EXPECT_EQ(store.stats().periodic_saves, 0u);
    EXPECT_TRUE(store.set("k", "w").ok());
    EXPECT_EQ(value_of(store, "k"), "w");
    EXPECT_EQ(store.stats().views, 0u);
  }
  EXPECT_EQ(contents_of(reopen_or_fail(options, {.own = false})), of_first);
}

TEST_F(SnapshotFaults, OfASyncAreReportedAndNotRepeated) {
  begin();
  FaultPlan plan;
  plan.sites = platform::site_bit(Site::kSync);
  plan.fail_at = 1;
  {
    platform::FaultScope scope(plan);
    EXPECT_EQ(second.save(path, {.fault = &fault}).status(), Status::kIo);
  }
  EXPECT_STREQ(fault.reason, "the file can't be synchronised");
  EXPECT_EQ(plan.calls, 1u);
  EXPECT_FALSE(std::filesystem::exists(path + ".tmp"));
  begin();
  FaultPlan folder_plan;
  folder_plan.sites = platform::site_bit(Site::kSync);
  folder_plan.fail_at = 2;
  {
    platform::FaultScope scope(folder_plan);
    EXPECT_EQ(second.save(path, {.fault = &fault}).status(), Status::kIo);
  }
  EXPECT_STREQ(fault.reason, "the folder can't be synchronised");
  EXPECT_EQ(folder_plan.calls, 2u);
}

// A large file is synchronised while the walk goes on, too: whichever of these fails, none follows, and the save has failed.
TEST_F(SnapshotFaults, OfASyncWhileTheWalkGoesOnEndTheSave) {
  Options large;
  large.memory_bytes = 256 * kMiB;
  const Store store = open_or_fail(large);
  for (unsigned i = 0; i != 48; ++i) ASSERT_TRUE(store.set(numbered("k", i), pattern(kMiB - 100, i)).ok());
  std::uint64_t n = 1;
  for (bool failed = true; failed; ++n) {
    SCOPED_TRACE("sync " + std::to_string(n));
    begin();
    FaultPlan plan;
    plan.sites = platform::site_bit(Site::kSync);
    plan.fail_at = n;
    Status answer;
    {
      platform::FaultScope scope(plan);
      // The walk waits for the first of them, as it would on a machine with a processor to spare.
      const auto waits = [](void* user, const SaveProgress& now) {
        if (now.bytes > 20 * kMiB) wait_for([&] { return static_cast<FaultPlan*>(user)->calls != 0; });
        return true;
      };
      answer = store.save(path, {.threads = 1, .progress = waits, .progress_user = &plan, .fault = &fault}).status();
    }
    failed = plan.failed != 0;
    EXPECT_EQ(answer, failed ? Status::kIo : Status::kOk);
    EXPECT_FALSE(std::filesystem::exists(path + ".tmp"));
    const bool is_new = inspect_snapshot(path)->entries == 48;
    if (!failed) {
      EXPECT_TRUE(is_new);
      continue;
    }
    EXPECT_EQ(plan.calls, n) << "nothing is synchronised after one has failed";
    EXPECT_STREQ(fault.reason, is_new ? "the folder can't be synchronised" : "the file can't be synchronised");
    if (!is_new) {
      EXPECT_EQ(contents_of(reopen_or_fail(options, {.own = false})), of_first);
    }
  }
  EXPECT_GE(n, 5u) << "one while the walk went on, the file, the folder, and a save that no call failed";
}

TEST_F(SnapshotFaults, OfAnOpenAreErrorsAndNothingIsChanged) {
  begin();
  { ASSERT_TRUE(second.save(path).ok()); }
  const std::string newest = bytes_of_file(path), before = bytes_of_file(path + ".1");
  for (std::uint64_t n = 1;; ++n) {
    FaultPlan plan;
    plan.sites = kFileSites | platform::site_bit(Site::kReserve) | platform::site_bit(Site::kStartThread);
    plan.fail_at = n;
    Result<Store> store;
    {
      platform::FaultScope scope(plan);
      store = reopen(options, {.threads = 2});
    }
    SCOPED_TRACE("call " + std::to_string(n));
    if (store) {
      // A failed read is as damage is: the generation before.
      EXPECT_EQ(contents_of(*store), report.fallbacks == 0 ? of_second : of_first);
      EXPECT_TRUE(whole(*store));
    } else {
      EXPECT_TRUE(store.status() == Status::kIo || store.status() == Status::kOutOfMemory) << testing::PrintToString(store.error());
      EXPECT_NE(fault.reason[0], 0);
    }
    store = Result<Store>(Status::kClosed);  // its handle goes
    EXPECT_EQ(contents_of(reopen_or_fail(options)), of_second);
    EXPECT_EQ(bytes_of_file(path), newest);
    EXPECT_EQ(bytes_of_file(path + ".1"), before);
    if (plan.failed == 0) {
      EXPECT_GE(n, 15u);
      break;
    }
  }
}

// In a folder that others may write to, or where a backup links what it finds.
TEST_F(SnapshotFaults, WhatHasANameOfTheSavesOwnIsNotWrittenTo) {
  const std::string others = folder.file("others");
  for (const bool symbolic : {true, false}) {
    begin();
    write_file(others, "somebody's");
    symbolic ? std::filesystem::create_symlink(others, path + ".tmp") : std::filesystem::create_hard_link(others, path + ".tmp");
    EXPECT_TRUE(second.save(path, {.fault = &fault}).ok()) << fault.reason;
    EXPECT_EQ(bytes_of_file(others), "somebody's");
    EXPECT_TRUE(std::filesystem::is_regular_file(std::filesystem::symlink_status(path)));
    EXPECT_EQ(contents_of(reopen_or_fail(options, {.own = false})), of_second);
  }
  begin();
  std::filesystem::remove(path + ".lock");
  write_file(others, "");
  std::filesystem::create_symlink(others, path + ".lock");
  EXPECT_EQ(second.save(path, {.fault = &fault}).status(), Status::kIo);
  EXPECT_EQ(fault.system_error, ELOOP);
  EXPECT_EQ(reopen(options).status(), Status::kIo);
  EXPECT_EQ(bytes_of_file(others), "");
  EXPECT_EQ(contents_of(reopen_or_fail(options, {.own = false})), of_first);
  std::filesystem::remove(path + ".lock");
  std::filesystem::create_directory(path + ".tmp");
  EXPECT_EQ(second.save(path, {.fault = &fault}).status(), Status::kIo);
  EXPECT_TRUE(std::filesystem::is_directory(path + ".tmp"));
}

TEST_F(SnapshotFaults, ALinkIsReplacedAndItsEndStays) {
  begin();
  const std::string end = folder.file("end");
  std::filesystem::rename(path, end);
  std::filesystem::create_symlink(end, path);
  const std::string before = bytes_of_file(end);
  EXPECT_EQ(contents_of(reopen_or_fail(options, {.own = false})), of_first);
  EXPECT_EQ(second.save(path)->generation, 2u);
  EXPECT_EQ(bytes_of_file(end), before);
  EXPECT_TRUE(std::filesystem::is_symlink(path + ".1"));
  EXPECT_EQ(contents_of(reopen_or_fail(options, {.own = false})), of_second);
}

// No file of this process grows past so many bytes: the kernel writes what fits, then refuses, as on a disk that has so much left.
class FileLimit {
 public:
  explicit FileLimit(std::uint64_t bytes) : handler_(::signal(SIGXFSZ, SIG_IGN)) {
    EXPECT_EQ(::getrlimit(RLIMIT_FSIZE, &before_), 0);
    const rlimit limit{bytes, before_.rlim_max};
    EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  }
  ~FileLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    ::signal(SIGXFSZ, handler_);
  }
  FileLimit(const FileLimit&) = delete;
  FileLimit& operator=(const FileLimit&) = delete;

 private:
  rlimit before_{};
  sighandler_t handler_;
};

TEST_F(SnapshotFaults, AFullDiskAtAnyByteOfTheFile) {
  begin();
  const std::uint64_t bytes = second.save(folder.file("elsewhere"))->bytes;
  std::vector<std::uint64_t> rooms = {0, 1, 4'095, 4'096, 4'097, bytes - 1};
  for (std::uint64_t room = 5'000; room < bytes; room += bytes / 37) rooms.push_back(room);
  begin();
  for (const std::uint64_t room : rooms) {
    SCOPED_TRACE("room for " + std::to_string(room) + " bytes of " + std::to_string(bytes));
    Error answer;
    {
      const FileLimit limit(room);
      answer = second.save(path, {.threads = room % 2 == 0 ? 1u : 3u, .fault = &fault}).error();
    }
    EXPECT_EQ(answer.status, Status::kIo);
    EXPECT_EQ(fault.system_error, EFBIG) << fault.reason;
    EXPECT_FALSE(std::filesystem::exists(path + ".tmp"));
    EXPECT_EQ(second.stats().views, 0u);
    EXPECT_EQ(contents_of(reopen_or_fail(options, {.own = false})), of_first);
  }
  {
    const FileLimit limit(bytes);
    EXPECT_TRUE(second.save(path, {.threads = 1}).ok());
  }
  EXPECT_EQ(contents_of(reopen_or_fail(options, {.own = false})), of_second);
}

TEST_F(SnapshotFaults, AFolderThatCantBeWrittenStillServes) {
  begin();
  FaultPlan plan;
  plan.sites = platform::site_bit(Site::kWrite) | platform::site_bit(Site::kRename) | platform::site_bit(Site::kRemove) |
               platform::site_bit(Site::kSync);
  plan.fail_at = 1;
  plan.fail_count = ~std::uint64_t{0};
  plan.error = EROFS;
  platform::FaultScope scope(plan);
  EXPECT_EQ(second.save(path).status(), Status::kIo);
  EXPECT_EQ(reopen(options).status(), Status::kIo) << "the version base can't be made durable";
  EXPECT_EQ(contents_of(reopen_or_fail(options, {.own = false})), of_first);
}

}  // namespace
}  // namespace tern::test
