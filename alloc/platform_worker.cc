#include "alloc/platform_worker.h"

#include <atomic>
#include <csignal>
#include <new>

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "alloc/platform.h"
#include "alloc/private_memory.h"

namespace tern::alloc::platform {

struct Worker::Control {
  // Bit 0: no other turn. The rest counts wakes: a sleep begins only if there was none since its turn began.
  std::atomic<std::uint32_t> calls{0};
  bool abandoned = false;  // the thread's own; from then on all of this is
  const Worker* worker = nullptr;
  Turn turn = nullptr;
  void* user = nullptr;
  pid_t process = 0;
  pthread_t thread{};
};

namespace {

constexpr std::uint32_t kStop = 1;
constexpr std::uint32_t kOneWake = 2;

thread_local constinit const Worker* current_worker __attribute__((tls_model("initial-exec"))) = nullptr;

void sleep_on(const std::atomic<std::uint32_t>& word, std::uint32_t seen, std::uint64_t ns) noexcept {
  static_assert(sizeof(word) == sizeof(std::uint32_t), "the kernel looks at the word itself");
  timespec t{};
  t.tv_sec = static_cast<time_t>(ns / 1'000'000'000u);
  t.tv_nsec = static_cast<long>(ns % 1'000'000'000u);
  // However it ends (woken, changed, in time, interrupted), another turn is in order.
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, seen, &t, nullptr, 0);
}

void wake_sleeper(const std::atomic<std::uint32_t>& word) noexcept {
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

// Blocks what the host may want to handle in its own threads.
class SignalsBlocked {
 public:
  SignalsBlocked() noexcept {
    sigset_t all;
    sigfillset(&all);
    // A thread's own faults can't wait, and a profiler wants to see every thread.
    for (const int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS, SIGPROF}) sigdelset(&all, own);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

}  // namespace

void* Worker::run(void* argument) noexcept {
  auto* c = static_cast<Control*>(argument);
  current_worker = c->worker;
  for (;;) {
    const std::uint32_t seen = c->calls.load(std::memory_order_acquire);  // [worker] acquire
    if ((seen & kStop) != 0) break;
    const std::uint64_t ns = c->turn(c->user);
    if (c->abandoned) {
      private_free(c);
      break;
    }
    if (ns == kEnd) break;
    if (ns == 0) {
      sched_yield();
    } else {
      sleep_on(c->calls, seen, ns);
    }
  }
  current_worker = nullptr;
  return nullptr;
}

bool Worker::start(Turn turn, void* user, const char* name) noexcept {
  if (fault(Site::kStartThread) != 0) return false;
  void* memory = private_allocate(sizeof(Control));
  if (memory == nullptr) return false;
  control_ = new (memory) Control;
  control_->worker = this;
  control_->turn = turn;
  control_->user = user;
  control_->process = getpid();
  const SignalsBlocked blocked;
  if (pthread_create(&control_->thread, nullptr, run, control_) != 0) {
    private_free(control_);
    control_ = nullptr;
    return false;
  }
  pthread_setname_np(control_->thread, name);
  return true;
}

void Worker::wake() noexcept {
  if (control_ == nullptr) return;
  control_->calls.fetch_add(kOneWake, std::memory_order_release);  // [worker] release
  wake_sleeper(control_->calls);
}

void Worker::stop() noexcept {
  Control* c = control_;
  if (c == nullptr) return;
  control_ = nullptr;
  if (c->process == getpid()) {
    c->calls.fetch_or(kStop, std::memory_order_release);  // [worker] release
    wake_sleeper(c->calls);
    pthread_join(c->thread, nullptr);
  }
  private_free(c);
}

void Worker::abandon() noexcept {
  Control* c = control_;
  control_ = nullptr;
  if (c->process == getpid()) pthread_detach(c->thread);
  c->abandoned = true;
  current_worker = nullptr;
}

bool Worker::is_current() const noexcept { return current_worker == this; }

}  // namespace tern::alloc::platform
