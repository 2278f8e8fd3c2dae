// A thread of the library's own: its turns, its sleep, its end.
#include "alloc/platform_worker.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <memory>
#include <semaphore>
#include <thread>

#include "alloc/platform.h"

namespace tern::alloc {
namespace {

using platform::Worker;
using namespace std::chrono_literals;

constexpr std::uint64_t kLong = 3'600'000'000'000;  // an hour: a test that waits for it hangs

struct Turns {
  std::counting_semaphore<> taken{0};
  std::atomic<std::uint64_t> sleep_ns{0};
  std::atomic<unsigned> count{0};
  static std::uint64_t take(void* self) {
    auto& t = *static_cast<Turns*>(self);
    ++t.count;
    t.taken.release();
    return t.sleep_ns.load();
  }
};

TEST(PlatformWorker, TakesTurnsUntilItIsStopped) {
  Turns turns;
  Worker worker;
  worker.stop();
  worker.wake();
  ASSERT_TRUE(worker.start(Turns::take, &turns, "worker"));
  for (int i = 0; i < 1'000; ++i) turns.taken.acquire();
  worker.stop();
  const unsigned count = turns.count;
  EXPECT_GE(count, 1'000u);
  worker.stop();
  worker.wake();
  EXPECT_EQ(turns.count, count);
}

TEST(PlatformWorker, AWakeEndsTheSleepAndIsNeverLost) {
  Turns turns;
  turns.sleep_ns = kLong;
  Worker worker;
  ASSERT_TRUE(worker.start(Turns::take, &turns, "worker"));
  turns.taken.acquire();
  // Some of these come before it sleeps, some in its sleep.
  for (int i = 0; i < 20'000; ++i) {
    worker.wake();
    turns.taken.acquire();
  }
  worker.stop();
}

TEST(PlatformWorker, StopEndsTheLongestSleep) {
  for (int i = 0; i < 200; ++i) {
    Turns turns;
    turns.sleep_ns = kLong;
    Worker worker;
    ASSERT_TRUE(worker.start(Turns::take, &turns, "worker"));
    if (i % 2 == 0) turns.taken.acquire();
  }
}

TEST(PlatformWorker, SleepsAsLongAsItWasTold) {
  Turns turns;
  turns.sleep_ns = 20'000'000;
  Worker worker;
  const std::uint64_t before = platform::monotonic_ns();
  ASSERT_TRUE(worker.start(Turns::take, &turns, "worker"));
  for (int i = 0; i < 4; ++i) turns.taken.acquire();
  EXPECT_GE(platform::monotonic_ns() - before, 3u * 20'000'000 - 1'000'000);
}

TEST(PlatformWorker, ATurnMayEndIt) {
  Turns turns;
  turns.sleep_ns = Worker::kEnd;
  Worker worker;
  ASSERT_TRUE(worker.start(Turns::take, &turns, "worker"));
  turns.taken.acquire();
  worker.wake();
  worker.stop();
  EXPECT_EQ(turns.count, 1u);
}

TEST(PlatformWorker, KnowsItsOwnThread) {
  struct Seen {
    Worker worker;
    std::atomic<bool> current{false};
    std::binary_semaphore done{0};
  } seen;
  ASSERT_TRUE(seen.worker.start(
      [](void* self) {
        auto& s = *static_cast<Seen*>(self);
        s.current = s.worker.is_current();
        s.done.release();
        return Worker::kEnd;
      },
      &seen, "worker"));
  seen.done.acquire();
  EXPECT_TRUE(seen.current);
  EXPECT_FALSE(seen.worker.is_current());
}

TEST(PlatformWorker, AnAbandonedWorkerGoesByItself) {
  struct Owner {
    Worker worker;
    std::binary_semaphore* gone;
    std::binary_semaphore* started;
  };
  for (int i = 0; i < 100; ++i) {
    std::binary_semaphore gone{0}, started{0};
    auto* owner = new Owner;
    owner->gone = &gone;
    owner->started = &started;
    ASSERT_TRUE(owner->worker.start(
        [](void* self) {
          auto* o = static_cast<Owner*>(self);
          std::binary_semaphore* last = o->gone;
          o->started->acquire();
          o->worker.abandon();
          delete o;
          last->release();
          return std::uint64_t{0};  // not heeded
        },
        owner, "worker"));
    started.release();
    gone.acquire();
  }
}

TEST(PlatformWorker, TheHostsSignalsGoElsewhere) {
  struct Mask {
    sigset_t set;
    std::binary_semaphore done{0};
  } mask;
  Worker worker;
  ASSERT_TRUE(worker.start(
      [](void* self) {
        auto& m = *static_cast<Mask*>(self);
        pthread_sigmask(SIG_SETMASK, nullptr, &m.set);
        m.done.release();
        return Worker::kEnd;
      },
      &mask, "worker"));
  mask.done.acquire();
  for (const int s : {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGCHLD, SIGALRM, SIGPIPE}) {
    EXPECT_EQ(sigismember(&mask.set, s), 1) << s;
  }
  for (const int s : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) EXPECT_EQ(sigismember(&mask.set, s), 0) << s;
  sigset_t own;
  pthread_sigmask(SIG_SETMASK, nullptr, &own);
  EXPECT_EQ(sigismember(&own, SIGTERM), 0) << "and this thread's mask is as it was";
}

TEST(PlatformWorker, TheSystemMayRefuseTheThread) {
  platform::FaultPlan plan;
  plan.sites = platform::site_bit(platform::Site::kStartThread);
  plan.fail_at = 1;
  Turns turns;
  Worker worker;
  {
    const platform::FaultScope scope(plan);
    EXPECT_FALSE(worker.start(Turns::take, &turns, "worker"));
    worker.wake();
    worker.stop();
    EXPECT_TRUE(worker.start(Turns::take, &turns, "worker")) << "the next one";
    worker.stop();
  }
  EXPECT_EQ(plan.failed, 1u);
  // And there may be no memory for it.
  platform::FaultPlan memory;
  memory.sites = platform::site_bit(platform::Site::kPrivateAllocate);
  memory.fail_at = 1;
  const platform::FaultScope scope(memory);
  EXPECT_FALSE(worker.start(Turns::take, &turns, "worker"));
  EXPECT_EQ(memory.failed, 1u);
}

TEST(PlatformWorker, AChildProcessHasNone) {
  Turns turns;
  turns.sleep_ns = 100'000;
  auto worker = std::make_unique<Worker>();
  ASSERT_TRUE(worker->start(Turns::take, &turns, "worker"));
  turns.taken.acquire();
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::alarm(20);  // a join would wait for ever
    worker->wake();
    const bool foreign = !worker->is_current();
    worker.reset();
    ::_exit(foreign ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  const unsigned before = turns.count;
  while (turns.count < before + 3) std::this_thread::yield();
}

}  // namespace
}  // namespace tern::alloc
