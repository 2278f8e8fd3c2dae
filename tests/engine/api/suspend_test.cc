// The machine was suspended: time that counts suspend (CLOCK_BOOTTIME) has gone on, time that doesn't (CLOCK_MONOTONIC) hasn't.
// A namespace of time that the process enters while its store is open does just that.
#include <fcntl.h>
#include <sched.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string>

#include "tests/engine/api/store_fixture.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

namespace tern::test {
namespace {

constexpr unsigned kEntries = 20'000;
constexpr std::int64_t kSuspendedSeconds = 10 * 3600;

std::int64_t seconds_of(clockid_t clock) {
  timespec t{};
  return ::clock_gettime(clock, &t) == 0 ? std::int64_t{t.tv_sec} : -1;
}

// The calling process, which has one thread. False: it may not, or this kernel has no such thing.
bool suspend() {
  if (::unshare(CLONE_NEWTIME) != 0 && ::unshare(CLONE_NEWUSER | CLONE_NEWTIME) != 0) return false;
  std::FILE* offsets = std::fopen("/proc/self/timens_offsets", "w");
  if (offsets == nullptr) return false;
  std::fprintf(offsets, "boottime %lld 0\n", static_cast<long long>(kSuspendedSeconds));
  if (std::fclose(offsets) != 0) return false;
  const int ns = ::open("/proc/self/ns/time_for_children", O_RDONLY | O_CLOEXEC);
  if (ns == -1) return false;
  const bool entered = ::setns(ns, CLONE_NEWTIME) == 0;
  ::close(ns);
  return entered;
}

enum : int { kRight, kNotOpened, kNoNamespace, kClocksWrong, kReadAfterItsEnd, kLost, kNotReclaimed, kNotVerified, kNewOneGone };

int sleep_through_deadlines() {
  const Result<Store> store = Store::open(small_options());
  if (!store) return kNotOpened;
  for (unsigned i = 0; i != kEntries; ++i) {
    const milliseconds life = i % 2 == 0 ? 1h : 20h;
    if (!store->set(numbered("k", i), "v", {.ttl = life})) return kNotOpened;
  }
  if (!store->set("forever", "v")) return kNotOpened;
  const std::int64_t boot = seconds_of(CLOCK_BOOTTIME), monotonic = seconds_of(CLOCK_MONOTONIC);
  if (!suspend()) return kNoNamespace;
  const bool jumped = seconds_of(CLOCK_BOOTTIME) >= boot + kSuspendedSeconds && seconds_of(CLOCK_MONOTONIC) < monotonic + 60;
  if (!jumped) return kClocksWrong;
  for (unsigned i = 0; i != kEntries; ++i) {
    const bool found = store->get(numbered("k", i)).found();
    if (found && i % 2 == 0) return kReadAfterItsEnd;
    if (!found && i % 2 != 0) return kLost;
  }
  if (!store->get("forever").found()) return kLost;
  // Half of them expire at one instant, for maintenance; a short tick each, whatever has piled up.
  for (unsigned n = 0; n != 10'000 && store->stats().entries != kEntries / 2 + 1; ++n) (void)store->tick(200us);
  if (store->stats().entries != kEntries / 2 + 1 || store->stats().expired != kEntries / 2) return kNotReclaimed;
  if (!store->set("new", "v", {.ttl = 1h}) || !store->get("new").found()) return kNewOneGone;
  return store->verify().ok() ? kRight : kNotVerified;
}

TEST(SuspendTest, WhatEndedMeanwhileIsGoneAndNothingElse) {
  std::fflush(nullptr);
  const pid_t pid = ::fork();
  ASSERT_NE(pid, -1);
  if (pid == 0) ::_exit(sleep_through_deadlines());
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  ASSERT_TRUE(WIFEXITED(status)) << "killed by signal " << WTERMSIG(status);
  if (WEXITSTATUS(status) == kNoNamespace) GTEST_SKIP() << "no namespace of time can be made here (not root, or an old kernel)";
  EXPECT_EQ(WEXITSTATUS(status), kRight);
}

}  // namespace
}  // namespace tern::test
