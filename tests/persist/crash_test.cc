// R7: a process that is killed, and a power cut, at any point of a save or of the opening that follows.
//
// Kills: a child saves, or opens as the owner; it is killed before its n-th call on a file, for every n, and with the
// call half done where it is a write. Power cuts: the calls of one save are recorded, and disks are built as a power cut
// after any of them may leave it: of what wasn't synchronised, each write and each change of a folder is there, or not, or
// (a write) torn at a sector. The expected contents are the parent's, outside of both.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <random>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "alloc/platform.h"
#include "tests/persist/snapshot_fixture.h"

namespace tern::test {
namespace {

namespace platform = alloc::platform;
using platform::FaultPlan;
using platform::FileCall;
using platform::Site;

constexpr std::uint32_t kFileSites =
    platform::site_bit(Site::kOpen) | platform::site_bit(Site::kRead) | platform::site_bit(Site::kWrite) |
    platform::site_bit(Site::kSync) | platform::site_bit(Site::kRename) | platform::site_bit(Site::kTruncate) |
    platform::site_bit(Site::kRemove) | platform::site_bit(Site::kFileSize) | platform::site_bit(Site::kLock) |
    platform::site_bit(Site::kWriteback);

void fill(const Store& store, const std::string& what, unsigned entries) {
  for (unsigned i = 0; i != entries; ++i) ASSERT_TRUE(store.set(numbered(what, i), pattern(90, i)).ok());
  ASSERT_TRUE(store.set("what", what).ok());
}

class SnapshotCrash : public SnapshotTest {
 protected:
  SnapshotCrash() : SnapshotTest(folder_in_memory()), options(small_options(&clock)) {
    options.memory_bytes = 4 * kMiB;
    const Store first = open_or_fail(options), second = open_or_fail(options);
    fill(first, "first", 3'000);
    fill(second, "second", 3'000);
    of_first = contents_of(first);
    of_second = contents_of(second);
    save_or_fail(first);
    pristine = bytes_of_file(path);
  }
  // What was there: the first, as PATH alone.
  void begin() {
    for (const auto& entry : std::filesystem::directory_iterator(folder.path())) std::filesystem::remove(entry);
    write_file(path, pristine);
  }

  // In a child that dies before its n-th call on a file. Answers whether it did.
  template <class Work>
  bool killed_at(std::uint64_t n, bool tears, Work work, std::uint32_t sites = kFileSites) {
    const pid_t child = ::fork();
    if (child == 0) {
      struct Killer {
        std::atomic<std::uint64_t> left;
        bool tears;
      } killer{n, tears};
      FaultPlan plan;
      plan.sites = sites;
      plan.watch_user = &killer;
      plan.watch = [](void* user, const FileCall& call) {
        Killer& k = *static_cast<Killer*>(user);
        if (k.left.fetch_sub(1, std::memory_order_relaxed) != 1) return;
        if (k.tears && call.site == Site::kWrite) {
          const ssize_t ignored = ::pwrite(call.descriptor, call.data, call.bytes / 2, static_cast<off_t>(call.at));
          static_cast<void>(ignored);
        }
        ::kill(::getpid(), SIGKILL);
      };
      platform::FaultScope scope(plan);
      work();
      ::_exit(0);
    }
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0) << status;
    return WIFSIGNALED(status);
  }

  Options options;
  Contents of_first;
  Contents of_second;
  std::string pristine;
};

TEST_F(SnapshotCrash, KilledInASaveTheFileIsTheOldOneOrTheNew) {
  unsigned kills = 0, old_ones = 0, new_ones = 0;
  // By three threads their calls come in an order of their own, so that the n-th is another each time.
  const struct {
    unsigned threads;
    bool tears;
  } cases[] = {{1, false}, {1, true}, {3, true}};
  for (const auto& [threads, tears] : cases) {
    for (std::uint64_t n = 1;; ++n) {
      begin();
      const bool killed = killed_at(n, tears, [&, threads = threads] {
        Result<Store> second = Store::open(options);
        if (!second.ok()) ::_exit(3);
        for (const auto& [key, saved] : of_second) {
          if (!second->set(key, saved.value).ok()) ::_exit(4);
        }
        if (!second->save(path, {.threads = threads, .wall_now = kSavedAt}).ok()) ::_exit(5);
      });
      const Store found = reopen_or_fail(options);
      const bool is_new = value_of(found, "what") == "second";
      EXPECT_EQ(contents_of(found), is_new ? of_second : of_first) << "call " << n;
      EXPECT_TRUE(whole(found));
      // Whatever was left lying about, it can be saved again.
      EXPECT_TRUE(found.save(path).ok());
      kills += killed;
      (is_new ? new_ones : old_ones) += killed;
      if (!killed) break;
    }
  }
  EXPECT_GE(kills, 30u);
  EXPECT_GT(old_ones, 10u);
  EXPECT_GT(new_ones, 0u);
  RecordProperty("kills", static_cast<int>(kills));
}

// A large file is synchronised while it is written, too.
TEST_F(SnapshotCrash, KilledAtASyncTheFileIsTheOldOneOrTheNew) {
  Options large;
  large.memory_bytes = 256 * kMiB;
  unsigned kills = 0, old_ones = 0;
  for (bool killed = true; killed; kills += killed) {
    begin();
    killed = killed_at(kills + 1, false, [&] {
      Result<Store> store = Store::open(large);
      if (!store.ok() || !store->set("what", "second").ok()) ::_exit(3);
      for (unsigned i = 0; i != 48; ++i) {
        if (!store->set(numbered("k", i), pattern(kMiB - 100, i)).ok()) ::_exit(4);
      }
      // The walk waits for the first of them, as it would on a machine with a processor to spare.
      const auto waits = [](void*, const SaveProgress& now) {
        if (now.bytes > 20 * kMiB) wait_for([] { return platform::fault_plan.load()->calls != 0; });
        return true;
      };
      if (!store->save(path, {.threads = 1, .progress = waits, .wall_now = kSavedAt}).ok()) ::_exit(5);
    }, platform::site_bit(Site::kSync));
    const bool is_new = inspect_snapshot(path)->entries == 49;
    if (is_new) {
      const Store found = reopen_or_fail(large, {.own = false});
      EXPECT_EQ(value_of(found, "what"), "second");
      EXPECT_EQ(value_of(found, "k47"), pattern(kMiB - 100, 47));
    } else {
      EXPECT_EQ(contents_of(reopen_or_fail(options, {.own = false})), of_first);
      ++old_ones;
    }
  }
  EXPECT_GE(kills, 3u) << "one while the walk went on, the file, the folder";
  EXPECT_EQ(old_ones, kills - 1);
}

TEST_F(SnapshotCrash, KilledWhileItOpensTheNextOneOpens) {
  std::uint64_t last = 0;
  for (const bool tears : {false, true}) {
    for (std::uint64_t n = 1;; ++n) {
      const bool killed = killed_at(n, tears, [&] {
        const Result<Store> store = Store::open(path, options, {.wall_now = kSavedAt});
        if (!store.ok()) ::_exit(3);
      });
      const Store found = reopen_or_fail(options);
      EXPECT_EQ(contents_of(found), of_first) << "call " << n;
      const std::uint64_t version = *found.set("first0", "changed");
      EXPECT_GT(version, last) << "a version that an earlier life may have given out";
      last = version;
      if (!killed) break;
    }
  }
}

// Who owns the path is another process: it is said, nothing is changed, and its end is the end of that.
TEST_F(SnapshotCrash, WhatAnotherProcessOwnsIsRefused) {
  int opened[2], ends[2];
  ASSERT_EQ(::pipe(opened), 0);
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const Result<Store> store = Store::open(path, options, {.wall_now = kSavedAt});
    char byte = store.ok() ? 1 : 0;
    static_cast<void>(!::write(opened[1], &byte, 1));
    static_cast<void>(!::read(ends[0], &byte, 1));
    ::kill(::getpid(), SIGKILL);  // not even closed
  }
  char byte = 0;
  ASSERT_EQ(::read(opened[0], &byte, 1), 1);
  ASSERT_EQ(byte, 1) << "the other process couldn't open it";
  EXPECT_EQ(reopen(options).error(), (Error{Status::kUnavailable, Field::kPath}));
  EXPECT_NE(std::string(fault.reason).find("another store or process"), std::string::npos) << fault.reason;
  const Store other = open_or_fail(options);
  EXPECT_EQ(other.save(path, {.fault = &fault}).error(), (Error{Status::kUnavailable, Field::kPath}));
  EXPECT_EQ(bytes_of_file(path), pristine);
  EXPECT_EQ(contents_of(reopen_or_fail(options, {.own = false})), of_first) << "a copy is anybody's";
  ASSERT_EQ(::write(ends[1], &byte, 1), 1);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(contents_of(reopen_or_fail(options)), of_first);
  for (const int descriptor : {opened[0], opened[1], ends[0], ends[1]}) ::close(descriptor);
}

// A forked child has a copy of the lock's file. What it closes lets nobody in while the parent has the path, and once the parent
// has closed, the next owner doesn't wait for it.
TEST_F(SnapshotCrash, AForkedChildNeitherLetsGoOfThePathNorKeepsIt) {
  std::optional<Store> owner(reopen_or_fail(options));
  const auto waiting_child = [&](int (&to)[2], int (&from)[2], bool closes) {
    EXPECT_TRUE(::pipe(to) == 0 && ::pipe(from) == 0);
    const pid_t child = ::fork();
    if (child == 0) {
      if (closes) owner.reset();
      ::close(to[1]);
      char byte = 0;
      (void)!::write(from[1], &byte, 1);
      (void)!::read(to[0], &byte, 1);  // until the parent's end is closed
      ::_exit(0);
    }
    ::close(from[1]);
    char byte = 0;
    EXPECT_EQ(::read(from[0], &byte, 1), 1);
    return child;
  };
  int to[2][2], from[2][2];
  const pid_t children[] = {waiting_child(to[0], from[0], true), waiting_child(to[1], from[1], false)};
  EXPECT_EQ(reopen(options).error(), (Error{Status::kUnavailable, Field::kPath}));
  owner.reset();
  EXPECT_TRUE(reopen(options).ok());
  for (unsigned i = 2; i-- != 0;) {
    ::close(to[i][1]);
    int status = 0;
    EXPECT_EQ(::waitpid(children[i], &status, 0), children[i]);
    EXPECT_EQ(status, 0);
    ::close(to[i][0]);
    ::close(from[i][0]);
  }
}

// At random moments instead of at calls: a child that saves again and again.
TEST_F(SnapshotCrash, KilledAtAnyMomentTheFileIsWhole) {
  std::mt19937 random(7);
  int kills = 0;
  for (int round = 0; round != quick_or_long(kSanitized ? 20 : 300, 10'000); ++round) {
    const pid_t child = ::fork();
    if (child == 0) {
      Result<Store> store = Store::open(path, options, {.wall_now = kSavedAt});
      if (!store.ok()) ::_exit(3);
      for (unsigned i = 0; i != 2'000; ++i) {
        // Each saved state has one number in all of these.
        WriteBatch batch;
        for (const char* key : {"a", "b", "c", "d"}) batch.set(key, std::to_string(i));
        if (!store->write(batch).ok() || !store->save(path, {.wall_now = kSavedAt}).ok()) ::_exit(4);
      }
      ::_exit(0);
    }
    ::usleep(static_cast<useconds_t>(random() % 15'000));
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0) << WEXITSTATUS(status);
    const Store found = reopen_or_fail(options);
    const auto a = value_of(found, "a");
    for (const char* key : {"b", "c", "d"}) EXPECT_EQ(value_of(found, key), a);
    EXPECT_EQ(value_of(found, "first7"), of_first.at("first7").value);
    EXPECT_TRUE(whole(found));
    kills += WIFSIGNALED(status);
  }
  EXPECT_GE(kills, quick_or_long(kSanitized ? 10 : 250, 9'000)) << "it was to be in the midst of it";
}

// --- power cuts ----------------------------------------------------------------------------------------------------

struct Write {
  std::uint64_t at;
  std::string bytes;
};
// Bytes that are on the disk, and what has been written since the last synchronisation.
struct Inode {
  std::string durable;
  std::vector<Write> pending;
};
using InodePtr = std::shared_ptr<Inode>;
// One change of the folder: `name` is `inode` from now on (null: gone), and `also_gone` isn't there any more.
struct NameChange {
  std::string name;
  InodePtr inode;
  std::string also_gone;
};

// The disk as the calls make it: what is durable, and what only the system's memory has.
class Disk {
 public:
  explicit Disk(const std::filesystem::path& folder) : folder_(folder.string()) {
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      auto inode = std::make_shared<Inode>();
      inode->durable = bytes_of_file(entry.path());
      durable_names_[entry.path().filename().string()] = inode;
    }
    names_ = durable_names_;
  }

  bool syncs_files = true;  // false: the planted mistake

  void see(const FileCall& call) {
    switch (call.site) {
      case Site::kOpen: return open(call);
      case Site::kWrite:
        if (const InodePtr inode = of(call.descriptor)) {
          inode->pending.push_back({call.at, std::string(static_cast<const char*>(call.data), call.bytes)});
        }
        return;
      case Site::kSync:
        if (const InodePtr inode = of(call.descriptor)) {
          if (syncs_files) apply_all(*inode);
        } else {
          durable_names_ = names_;
          changes_.clear();
        }
        return;
      case Site::kRename:
        if (const std::string from = name_of(call.path); names_.contains(from)) {
          const InodePtr inode = names_[from];
          names_.erase(from);
          names_[name_of(call.to)] = inode;
          changes_.push_back({name_of(call.to), inode, from});
        }
        return;
      case Site::kRemove:
        if (names_.erase(name_of(call.path)) != 0) changes_.push_back({name_of(call.path), nullptr, {}});
        return;
      default: return;
    }
  }

  // What a power cut now may leave: the files' bytes by their names.
  using Image = std::map<std::string, std::string>;
  template <class Random>
  Image cut(Random& random) const {
    std::map<std::string, InodePtr> names = durable_names_;
    const bool in_order = random() % 2 == 0;  // a journal keeps a beginning of the changes; without one, any of them
    bool over = false;
    for (const NameChange& c : changes_) {
      const bool kept = random() % 3 != 0;
      over = over || (in_order && !kept);
      if (over || !kept) continue;
      if (!c.also_gone.empty()) names.erase(c.also_gone);
      if (c.inode == nullptr) {
        names.erase(c.name);
      } else {
        names[c.name] = c.inode;
      }
    }
    Image image;
    for (const auto& [name, inode] : names) {
      std::string& bytes = image[name] = inode->durable;
      for (const Write& w : inode->pending) {
        switch (random() % 4) {
          case 0: break;  // not there
          case 1: {       // torn at a sector, either end
            const std::size_t cut_at = w.bytes.size() / 512 == 0 ? 0 : random() % (w.bytes.size() / 512 + 1) * 512;
            if (random() % 2 == 0) {
              put(bytes, w.at, w.bytes.substr(0, cut_at));
            } else {
              put(bytes, w.at + cut_at, w.bytes.substr(cut_at));
            }
            break;
          }
          default: put(bytes, w.at, w.bytes);
        }
      }
    }
    return image;
  }

 private:
  static void put(std::string& bytes, std::uint64_t at, const std::string& what) {
    if (what.empty()) return;
    if (bytes.size() < at + what.size()) bytes.resize(at + what.size());
    bytes.replace(at, what.size(), what);
  }
  static void apply_all(Inode& inode) {
    for (const Write& w : inode.pending) put(inode.durable, w.at, w.bytes);
    inode.pending.clear();
  }
  std::string name_of(const char* path) const { return std::filesystem::path(path).filename().string(); }
  // Null: the folder itself.
  InodePtr of(int descriptor) {
    std::error_code error;
    const auto path = std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(descriptor), error);
    if (error || path.string() == folder_) return nullptr;
    return names_.at(path.filename().string());
  }
  void open(const FileCall& call) {
    const auto mode = static_cast<platform::OpenMode>(call.bytes);
    if (mode != platform::OpenMode::kCreate && mode != platform::OpenMode::kKeep) return;
    const std::string name = name_of(call.path);
    if (names_.contains(name)) {
      EXPECT_EQ(mode, platform::OpenMode::kKeep) << "a file is overwritten in its place: " << name;
      return;
    }
    names_[name] = std::make_shared<Inode>();
    changes_.push_back({name, names_[name], {}});
  }

  std::string folder_;
  std::map<std::string, InodePtr> durable_names_;
  std::map<std::string, InodePtr> names_;
  std::vector<NameChange> changes_;
};

class PowerCut : public SnapshotCrash {
 protected:
  struct Recorder {
    Disk* disk;
    PowerCut* test;
    unsigned cuts_a_call;
    std::mt19937 random{11};
    std::uint64_t calls = 0;
    bool is_watching = true;
  };

  // Saves the second over the first and cuts the power around each call. Answers how many disks didn't hold one of the two.
  unsigned cut_around_a_save(bool syncs_files, unsigned cuts_a_call, unsigned& disks) {
    const Store second = open_or_fail(options);
    for (const auto& [key, saved] : of_second) EXPECT_TRUE(second.set(key, saved.value).ok());
    Disk disk(folder.path());
    disk.syncs_files = syncs_files;
    Recorder recorder{&disk, this, cuts_a_call};
    FaultPlan plan;
    plan.sites = kFileSites;
    plan.watch_user = &recorder;
    plan.watch = [](void* user, const FileCall& call) {
      Recorder& r = *static_cast<Recorder*>(user);
      if (!r.is_watching) return;
      r.is_watching = false;  // what the cuts do themselves is no part of the save
      for (unsigned i = 0; i != r.cuts_a_call; ++i) r.test->cut(*r.disk, r.random);
      r.disk->see(call);
      ++r.calls;
      r.is_watching = true;
    };
    {
      platform::FaultScope scope(plan);
      EXPECT_TRUE(second.save(path, {.wall_now = kSavedAt}).ok());
      recorder.is_watching = false;
    }
    // After it was acknowledged nothing but the new one will do.
    finished_ = true;
    for (unsigned i = 0; i != cuts_a_call; ++i) cut(disk, recorder.random);
    EXPECT_GE(recorder.calls, 15u);
    disks = disks_;
    return bad_;
  }

  // The store's own saves; close() comes before the n-th call on a file, and the power goes when they have stopped. Answers
  // whether there was an n-th.
  bool cut_after_a_close(std::uint64_t n, std::mt19937& random) {
    begin();
    std::filesystem::remove(path + ".lock");
    Store second = open_or_fail(options);
    for (const auto& [key, saved] : of_second) EXPECT_TRUE(second.set(key, saved.value).ok());
    Disk disk(folder.path());
    struct Closer {
      Disk* disk;
      Store* store;
      std::uint64_t n;
      std::uint64_t calls = 0;  // of the thread that saves; looked at when it has ended
    } closer{&disk, &second, n};
    FaultPlan plan;
    plan.sites = kFileSites;
    plan.watch_user = &closer;
    plan.watch = [](void* user, const FileCall& call) {
      Closer& c = *static_cast<Closer*>(user);
      if (++c.calls == c.n) c.store->close();
      c.disk->see(call);
    };
    {
      platform::FaultScope scope(plan);
      EXPECT_TRUE(second.save_periodically(path, {.every = 10ms, .threads = 1}).ok());
      wait_for([&] { return !second.is_open() || second.stats().periodic_saves != 0; });
      second = Store();  // and waits for that thread
    }
    EXPECT_FALSE(std::filesystem::exists(path + ".tmp"));
    for (unsigned i = 0; i != 3; ++i) cut(disk, random);
    return closer.calls >= n;
  }

  // What has been looked at once needs no second look.
  void cut(const Disk& disk, std::mt19937& random) {
    const Disk::Image image = disk.cut(random);
    ++disks_;
    std::size_t hash = finished_;
    const auto add = [&hash](std::string_view text) { hash = hash * 0x9E3779B97F4A7C15u + std::hash<std::string_view>()(text); };
    for (const auto& [name, bytes] : image) add(name), add(bytes);
    const auto [seen, is_new] = seen_.try_emplace(hash, false);
    if (is_new) seen->second = holds_one_of_the_two(image);
    bad_ += !seen->second;
  }
  bool holds_one_of_the_two(const Disk::Image& image) {
    for (const auto& entry : std::filesystem::directory_iterator(after.path())) std::filesystem::remove(entry);
    for (const auto& [name, bytes] : image) write_file(after.path() / name, bytes);
    SnapshotFault why;
    const Result<Store> found = Store::open(after.file(), options, {.wall_now = kSavedAt, .fault = &why});
    if (!found) {
      last_reason = why.reason;
      return false;
    }
    const Contents contents = contents_of(*found);
    return contents == of_second || (!finished_ && contents == of_first);
  }

  Folder after{"after", folder_in_memory()};
  std::unordered_map<std::size_t, bool> seen_;  // by an image's hash: whether it is good
  bool finished_ = false;
  unsigned disks_ = 0;
  unsigned bad_ = 0;
  std::string last_reason;
};

TEST_F(PowerCut, LeavesTheOldOneOrTheNew) {
  unsigned disks = 0;
  const unsigned each = quick_or_long(kSanitized ? 12u : 640u, 60'000u);
  EXPECT_EQ(cut_around_a_save(true, each, disks), 0u) << last_reason;
  EXPECT_GE(disks, 15 * each);
  std::printf("[tern] %u power cuts, %zu different disks\n", disks, seen_.size());
}

TEST_F(PowerCut, OfAStoreThatWasClosedInItsOwnSaveLeavesTheOldOneOrTheNew) {
  std::mt19937 random(12);
  std::uint64_t n = 1;
  while (cut_after_a_close(n, random)) ++n;
  EXPECT_EQ(bad_, 0u) << last_reason;
  EXPECT_GE(n, 15u) << "as many calls";
}

TEST_F(PowerCut, WouldBeSeenIfTheFileWereNotSynchronised) {
  unsigned disks = 0;
  EXPECT_GT(cut_around_a_save(false, 12, disks), 0u);
}

}  // namespace
}  // namespace tern::test
