// A store in a container whose memory limit is a quarter more than the store's budget (R6): it fills, its sizes shift from
// 64 bytes to 64 KiB and back, and the process is never killed for memory. Without the right to make a memory group the
// kernel's own peak of the process is what is judged; with it, both.
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <string>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

constexpr std::size_t kBudget = 128 * kMiB;
constexpr unsigned kSmall = 1'400'000;  // of 64 bytes: more than fit
constexpr unsigned kLarge = 4'000;    // of 64 KiB: twice what fits

bool write_file(const std::string& path, const std::string& text) {
  std::FILE* f = std::fopen(path.c_str(), "r+");  // never made: where the folder is no group the file is missing
  if (f == nullptr) return false;
  const bool written = std::fwrite(text.data(), 1, text.size(), f) == text.size();
  return std::fclose(f) == 0 && written;
}

// A memory group of its own for one child, of either version of the kernel's interface.
class MemoryGroup {
 public:
  explicit MemoryGroup(std::size_t limit_bytes) {
    const std::string name = "/tern-test-" + std::to_string(::getpid());
    const struct {
      const char* root;
      const char* limit;
    } interfaces[] = {{"/sys/fs/cgroup", "/memory.max"}, {"/sys/fs/cgroup/memory", "/memory.limit_in_bytes"}};
    for (const auto& i : interfaces) {
      folder_ = i.root + name;
      if (::mkdir(folder_.c_str(), 0755) != 0) continue;
      made_ = write_file(folder_ + i.limit, std::to_string(limit_bytes));
      if (made_) return;
      ::rmdir(folder_.c_str());
    }
  }
  ~MemoryGroup() {
    if (made_) ::rmdir(folder_.c_str());
  }
  MemoryGroup(const MemoryGroup&) = delete;
  MemoryGroup& operator=(const MemoryGroup&) = delete;

  bool is_there() const { return made_; }
  // The calling process.
  bool enter() const { return write_file(folder_ + "/cgroup.procs", std::to_string(::getpid())); }

 private:
  std::string folder_;
  bool made_ = false;
};

std::size_t peak_bytes() {
  std::FILE* f = std::fopen("/proc/self/status", "r");
  if (f == nullptr) return ~std::size_t{0};
  char line[256];
  unsigned long kib = 0;
  while (std::fgets(line, sizeof line, f) != nullptr && std::sscanf(line, "VmHWM: %lu", &kib) != 1) {
  }
  std::fclose(f);
  return kib == 0 ? ~std::size_t{0} : std::size_t{kib} * 1024;
}

enum : int { kHeld, kNotOpened, kNotEntered, kTooManyRefused, kWrongValue, kPeakTooHigh };

int shift_sizes(const MemoryGroup& group, bool huge_pages) {
  if (group.is_there() && !group.enter()) return kNotEntered;
  const std::size_t before = peak_bytes();
  Options options = small_options();
  options.memory_bytes = kBudget;
  options.huge_pages = huge_pages;
  options.maintenance = Maintenance::kBackground;
  const Result<Store> store = Store::open(options);
  if (!store) return kNotOpened;
  const std::string small(64, 's'), large(64 << 10, 'l');
  unsigned refused = 0;
  for (int round = 0; round != 2; ++round) {
    for (unsigned i = 0; i != kSmall; ++i) refused += !store->set(numbered("s", i), small).ok();
    for (unsigned i = 0; i != kSmall; ++i) {
      if (i % 16 != 0) (void)store->del(numbered("s", i));
    }
    for (unsigned i = 0; i != kLarge; ++i) {
      refused += !store->set(numbered("l", i), large).ok();
      const Lookup<Value> got = store->get(numbered("l", i));
      if (got.found() && got->view() != large) return kWrongValue;
    }
  }
  if (refused > (kSmall + kLarge) / 1'000) return kTooManyRefused;
  return peak_bytes() - before <= kBudget * 11 / 10 + 16 * kMiB ? kHeld : kPeakTooHigh;
}

class ContainerTest : public testing::TestWithParam<bool> {};

TEST_P(ContainerTest, AQuarterMoreThanTheBudgetIsEnough) {
  const MemoryGroup group(kBudget * 5 / 4);
  if (!group.is_there()) std::puts("no memory group can be made here: judged by the peak of the resident set alone");
  std::fflush(nullptr);
  const pid_t pid = ::fork();
  ASSERT_NE(pid, -1);
  if (pid == 0) ::_exit(shift_sizes(group, GetParam()));
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  ASSERT_TRUE(WIFEXITED(status)) << "killed by signal " << WTERMSIG(status) << (WTERMSIG(status) == SIGKILL ? ": it took too much memory" : "");
  EXPECT_EQ(WEXITSTATUS(status), kHeld);
}

INSTANTIATE_TEST_SUITE_P(HugePages, ContainerTest, testing::Bool());

}  // namespace
}  // namespace tern::test
