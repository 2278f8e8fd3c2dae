// In a steady state get, set, del, get_many and set_many neither allocate nor make a system call; nor do they while somebody watches,
// nor does a poll.
//
// Allocations are counted by operator new and malloc of this program, through which the library's
// process-private memory goes too if it was built with TERN_ALLOCATOR=system; with mimalloc it
// would need a system call sooner or later. System calls are forbidden by a filter of the kernel,
// in a forked process that opens its own store.
#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <tern/store.h>
#include <tern/watch.h>
#include <tern/watch_set.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "tests/engine/api/store_fixture.h"

namespace {
std::atomic<std::uint64_t> allocations{0};
}

extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);

void* malloc(std::size_t n) noexcept {
  allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_malloc(n);
}
void* calloc(std::size_t n, std::size_t size) noexcept {
  allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_calloc(n, size);
}
void* realloc(void* p, std::size_t n) noexcept {
  allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_realloc(p, n);
}
void* memalign(std::size_t alignment, std::size_t n) noexcept {
  allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_memalign(alignment, n);
}
void* aligned_alloc(std::size_t alignment, std::size_t n) noexcept {
  return memalign(alignment, n);
}
int posix_memalign(void** out, std::size_t alignment, std::size_t n) noexcept {
  *out = memalign(alignment, n);
  return *out != nullptr ? 0 : ENOMEM;
}
}

namespace tern::test {
namespace {

constexpr unsigned kKeys = 4'096;
constexpr unsigned kGroup = 64;
constexpr std::size_t kValueBytes = 100;

// Everything that the operations need is made before; then `run` touches no memory but the store's.
class Workload {
 public:
  explicit Workload(const Store& store, bool watched = false) : store_(store), session_(std::move(*store.session())), changes_(64) {
    for (unsigned i = 0; i < kKeys; ++i) names_.push_back(numbered("some key ", i));
    value_ = pattern(kValueBytes);
    keys_.resize(kGroup);
    items_.resize(kGroup);
    sizes_.resize(kGroup);
    versions_.resize(kGroup);
    removed_.resize(kGroup);
    out_.resize(kGroup * kValueBytes);
    if (!watched) return;
    all_ = std::move(*store.watch_prefix(""));
    glob_ = std::move(*store.watch_glob("some key *7", {.coalesce = true}));
    set_ = std::move(*WatchSet::open(store));
    for (unsigned i = 0; i < kKeys; i += 64) EXPECT_TRUE(set_.add_prefix(names_[i]));
  }
  std::uint64_t told() const { return told_; }

  // The number of answers that were wrong.
  unsigned run(unsigned operations) {
    unsigned wrong = 0;
    char buffer[kValueBytes];
    std::uint64_t state = 88'172'645'463'325'252u;
    const auto next = [&](unsigned n) {
      state ^= state << 13;
      state ^= state >> 7;
      state ^= state << 17;
      return static_cast<unsigned>(state % n);
    };
    const auto wrote = [](Status s) { return s == Status::kOk; };
    for (unsigned n = 0; n < operations; ++n) {
      const std::string_view key = names_[next(kKeys)];
      if (all_.is_open() && n % 8 == 0) wrong += poll(all_) + poll(glob_) + poll(set_);
      switch (next(12)) {
        case 0:
          wrong += store_.get(key, std::span<char>(buffer)).failed();
          break;
        case 1:
          wrong += session_.get(key, std::span<char>(buffer)).failed();
          break;
        case 2:
          wrong +=
              !wrote(store_.set(key, std::string_view(value_).substr(next(kValueBytes))).status());
          break;
        case 3:
          wrong += !wrote(session_.set(key, value_).status());
          break;
        case 4:
          wrong += !store_.del(key).ok();
          break;
        case 5:
          wrong += !store_.exists(key).ok();
          break;
        case 6:
          wrong += store_.visit(key, [](std::string_view) {}).failed();
          break;
        case 7:
          wrong += !wrote(store_.set(key, value_, {.ttl = 1h}).status());
          break;
        case 8: {
          const Lookup<HeldValue> held = store_.hold(key);
          wrong += held.failed();
          break;
        }
        case 9:
          for (std::string_view& k : keys_) k = names_[next(kKeys)];
          wrong += !store_.get_many(keys_, out_.data(), kValueBytes, sizes_).ok();
          break;
        case 10:
          for (Item& item : items_) item = {names_[next(kKeys)], value_, {}};
          wrong += !store_.set_many(items_, versions_).ok();
          for (const auto& v : versions_) wrong += !wrote(v.status());
          break;
        default:
          if (next(16) != 0) break;
          for (std::string_view& k : keys_) k = names_[next(kKeys)];
          wrong += !store_.del_many(keys_, removed_).ok();
          break;
      }
    }
    return wrong;
  }

 private:
  template <class W>
  unsigned poll(W& watch) {
    for (;;) {
      const Result<std::size_t> n = watch.poll(changes_);
      if (!n.ok()) return 1;
      told_ += *n;
      if (*n != changes_.size()) return 0;
    }
  }

  const Store& store_;
  Session session_;
  Watch all_, glob_;
  WatchSet set_;
  std::vector<Change> changes_;
  std::uint64_t told_ = 0;
  std::vector<std::string> names_;
  std::string value_;
  std::vector<std::string_view> keys_;
  std::vector<Item> items_;
  std::vector<Lookup<std::size_t>> sizes_;
  std::vector<Result<std::uint64_t>> versions_;
  std::vector<Result<bool>> removed_;
  std::vector<char> out_;
};

TEST(SteadyStateTest, TheCountersOfThisTestCount) {
  const std::uint64_t before = allocations;
  void* volatile p = std::malloc(10);
  std::free(p);
  int* volatile q = new int(1);
  delete q;
  EXPECT_EQ(allocations - before, 2u);
}

TEST(SteadyStateTest, NothingIsAllocated) {
  const Store store = open_or_fail(small_options());
  Workload workload(store);
  ASSERT_EQ(workload.run(200'000), 0u);
  const std::uint64_t before = allocations;
  const unsigned wrong = workload.run(100'000);
  const std::uint64_t after = allocations;
  EXPECT_EQ(wrong, 0u);
  EXPECT_EQ(after - before, 0u);
  EXPECT_TRUE(whole(store));
}

TEST(SteadyStateTest, NothingIsAllocatedWhileItIsWatched) {
  const Store store = open_or_fail(small_options());
  Workload workload(store, true);
  ASSERT_EQ(workload.run(60'000), 0u);
  const std::uint64_t told = workload.told();
  const std::uint64_t before = allocations;
  const unsigned wrong = workload.run(30'000);
  const std::uint64_t after = allocations;
  EXPECT_EQ(wrong, 0u);
  EXPECT_EQ(after - before, 0u);
  EXPECT_GT(workload.told() - told, 30'000u);
}

TEST(SteadyStateTest, AnOwnedValueThatFitsTheObjectIsNotAllocated) {
  const Store store = open_or_fail(small_options());
  ASSERT_TRUE(store.set("k", pattern(Value::kInlineBytes)));
  ASSERT_TRUE(store.get("k"));
  const std::uint64_t before = allocations;
  bool found = true;
  for (int i = 0; i < 1'000; ++i) found = found && store.get("k").found();
  const std::uint64_t after = allocations;
  EXPECT_TRUE(found);
  EXPECT_EQ(after - before, 0u);
}

TEST(SteadyStateTest, ValuesThatAreKeptAllocateNothing) {
  const Store store = open_or_fail(small_options());
  std::vector<std::string> names;
  for (unsigned i = 0; i < 64; ++i) {
    names.push_back(numbered("k", i));
    ASSERT_TRUE(store.set(names.back(), pattern(i * 10)));
  }
  const std::vector<std::string_view> keys(names.begin(), names.end());
  Values values;
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(store.get_many(keys, values));
  const std::uint64_t before = allocations;
  bool ok = true;
  for (int i = 0; i < 1'000; ++i) ok = ok && store.get_many(keys, values).ok();
  const std::uint64_t after = allocations;
  EXPECT_TRUE(ok);
  EXPECT_EQ(after - before, 0u);
}

// In the forked process: the number of the call goes out by the only call that is still allowed.
void forbidden(int, siginfo_t* info, void*) {
  char line[] = "system call 0000 in a steady state\n";
  const int number = info->si_syscall;
  for (int i = 0, n = number; i < 4; ++i, n /= 10) line[15 - i] = static_cast<char>('0' + n % 10);
  [[maybe_unused]] const ssize_t written = ::write(2, line, sizeof(line) - 1);
  ::_exit(77);
}

bool forbid_system_calls() {
  struct sigaction action = {};
  action.sa_sigaction = forbidden;
  action.sa_flags = SA_SIGINFO;
  if (::sigaction(SIGSYS, &action, nullptr) != 0) return false;
  constexpr unsigned kNumberAt = offsetof(seccomp_data, nr);
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kNumberAt),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 3, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 2, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigreturn, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program = {static_cast<unsigned short>(std::size(filter)), filter};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

constexpr int kNoFilter = 78;

int without_system_calls(bool call_one, bool watched) {
  const Result<Store> store = Store::open(small_options());
  if (!store) return 2;
  Workload workload(*store, watched);
  if (workload.run(watched ? 60'000 : 300'000) != 0) return 3;
  if (!forbid_system_calls()) return kNoFilter;
  if (call_one) (void)::syscall(SYS_getppid);
  const int code = workload.run(watched ? 30'000 : 200'000) == 0 ? 0 : 4;
  ::_exit(code);  // before anything is destroyed: giving back memory is a call
}

int in_child(bool call_one, bool watched = false) {
  std::fflush(nullptr);
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(without_system_calls(call_one, watched));
  int status = 0;
  EXPECT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_TRUE(WIFEXITED(status)) << "killed by signal " << WTERMSIG(status);
  return WEXITSTATUS(status);
}

TEST(SteadyStateTest, NoSystemCallIsMade) {
  const int expected_to_be_caught = in_child(true);
  if (expected_to_be_caught == kNoFilter)
    GTEST_FAIL() << "this kernel has no filter for system calls: can't be tested";
  ASSERT_EQ(expected_to_be_caught, 77) << "the filter catches a call";
  EXPECT_EQ(in_child(false), 0);
  EXPECT_EQ(in_child(false, true), 0) << "while it is watched";
}

}  // namespace
}  // namespace tern::test
