// What the tests of stores in shared memory share: a folder on a tmpfs, pages that parent and child have together, a child that is killed.
#ifndef TERN_TESTS_PERSIST_ATTACH_FIXTURE_H_
#define TERN_TESTS_PERSIST_ATTACH_FIXTURE_H_

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <new>
#include <random>
#include <string>

#include "tests/persist/snapshot_fixture.h"

namespace tern::test {

// Gone after the test. Where there is no /dev/shm, or a container's of 64 MiB, any folder does.
class SharedFolder {
 public:
  explicit SharedFolder(const std::string& name)
      : path_(base() / ("tern-" + name + "-" + std::to_string(::getpid()))) {
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  ~SharedFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  SharedFolder(const SharedFolder&) = delete;
  SharedFolder& operator=(const SharedFolder&) = delete;
  std::string file(const std::string& name) const { return (path_ / name).string(); }

 private:
  static std::filesystem::path base() {
    const std::filesystem::path shared = "/dev/shm";
    std::error_code error;
    const bool has_room = ::access(shared.c_str(), W_OK) == 0 && std::filesystem::space(shared, error).available >= 512 * kMiB;
    return has_room ? shared : std::filesystem::path(testing::TempDir());
  }
  std::filesystem::path path_;
};

// A page (or more) that parent and child have together.
template <class T>
class Shared {
 public:
  Shared() {
    void* const at = ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) std::abort();
    value_ = new (at) T;
  }
  ~Shared() { ::munmap(value_, sizeof(T)); }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  T* operator->() const { return value_; }
  T& operator*() const { return *value_; }

 private:
  T* value_;
};

// True: it was killed. Anything else than that and a good end is a failure.
inline bool in_child(const std::function<void()>& work) {
  const pid_t child = ::fork();
  if (child == 0) {
    work();
    ::_exit(0);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  const bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  EXPECT_TRUE(killed || (WIFEXITED(status) && WEXITSTATUS(status) == 0)) << status;
  return killed;
}

class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}
  unsigned operator()() { return static_cast<unsigned>(engine_()); }

 private:
  std::mt19937 engine_;
};

inline Options crash_options(const Clock* clock) {
  Options options = small_options(clock);
  options.memory_bytes = 4 * kMiB;
  options.shard_count = 1;
  options.eviction = false;
  return options;
}

class KillTest : public testing::Test {
 protected:
  KillTest() : folder("kill"), path(folder.file("store")), options(crash_options(&*clock)) {}

  Result<Store> attach() { return Store::attach(path, options, {.threads = threads, .report = &report, .fault = &fault}); }
  std::string why() const {
    return std::string(fault.reason) + " at " + std::to_string(fault.offset) + " errno " + std::to_string(fault.system_error);
  }

  SharedFolder folder;
  std::string path;
  Shared<ManualClock> clock;  // for who attaches it is as late as for who died
  Options options;
  unsigned threads = 1;
  AttachReport report;
  SnapshotFault fault;
};

}  // namespace tern::test

#endif  // TERN_TESTS_PERSIST_ATTACH_FIXTURE_H_
