#include "bench/process.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>

namespace tern::bench {
namespace {

constexpr char kRun = 'r';
constexpr char kDescribe = 'd';

}  // namespace

struct StoreProcess::Shared {
  // The command: indexes and numbers only, the strings were inherited.
  std::size_t workload = 0;
  Mode mode = Mode::kPlain;
  unsigned threads = 1;
  unsigned batch = 1;
  double warm_up_seconds = 0;
  double seconds = 0;
  std::uint64_t operations = 0;
  std::uint64_t seed = 0;
  // The answers.
  SliceResult result;
  Memory memory;
};

StoreProcess::StoreProcess(const StoreKind& kind, const StoreConfig& config, const World& world) {
  void* const at =
      mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  int ends[2];
  if (at == MAP_FAILED || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    std::perror("tern bench: shared memory for a store's process");
    std::exit(1);
  }
  shared_ = new (at) Shared;
  std::fflush(nullptr);
  const pid_t parent = getpid();
  child_ = fork();
  if (child_ < 0) {
    std::perror("tern bench: fork");
    std::exit(1);
  }
  if (child_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) std::_Exit(1);
    close(ends[0]);
    serve(kind, config, world, ends[1]);
  }
  close(ends[1]);
  socket_ = ends[0];
}

StoreProcess::~StoreProcess() {
  // Killed rather than asked: tearing down ten million strings one by one takes longer than the
  // measurement.
  if (socket_ >= 0) close(socket_);
  if (child_ > 0) {
    kill(child_, SIGKILL);
    waitpid(child_, nullptr, 0);
  }
  if (shared_ != nullptr) munmap(shared_, sizeof(Shared));
}

void StoreProcess::serve(const StoreKind& kind, const StoreConfig& config, const World& world,
                         int socket) {
  try {
    const MemoryUse before = memory_use();
    const std::unique_ptr<StoreRunner> runner = kind.make(config, *world.maker, *world.draws);
    for (char what = 0; read(socket, &what, 1) == 1;) {
      if (what == kRun) {
        SliceSpec spec{.workload = world.workloads[shared_->workload],
                       .mode = shared_->mode,
                       .threads = shared_->threads,
                       .batch = shared_->batch,
                       .warm_up_seconds = shared_->warm_up_seconds,
                       .seconds = shared_->seconds,
                       .operations = shared_->operations,
                       .seed = shared_->seed};
        runner->run(spec, shared_->result);
      } else {
        Memory memory;
        runner->describe(memory);
        const MemoryUse now = memory_use();
        const auto growth = [](std::uint64_t a, std::uint64_t b) { return a > b ? a - b : 0; };
        if (memory.used_bytes == 0) memory.used_bytes = growth(now.heap_bytes, before.heap_bytes);
        memory.resident_bytes = growth(now.resident_bytes, before.resident_bytes);
        memory.huge_bytes = now.huge_bytes;
        shared_->memory = memory;
      }
      if (write(socket, &what, 1) != 1) break;
    }
  } catch (const std::exception& e) {
    std::fprintf(stderr, "tern bench: %s: %s\n", kind.name, e.what());
    std::_Exit(1);
  }
  std::_Exit(0);
}

bool StoreProcess::order(char what) {
  char answer = 0;
  // MSG_NOSIGNAL: a process that was killed for memory is an answer, not a signal to this one.
  return send(socket_, &what, 1, MSG_NOSIGNAL) == 1 && read(socket_, &answer, 1) == 1 &&
         answer == what;
}

const SliceResult& StoreProcess::run(std::size_t workload, const SliceSpec& spec) {
  shared_->workload = workload;
  shared_->mode = spec.mode;
  shared_->threads = spec.threads;
  shared_->batch = spec.batch;
  shared_->warm_up_seconds = spec.warm_up_seconds;
  shared_->seconds = spec.seconds;
  shared_->operations = spec.operations;
  shared_->seed = spec.seed;
  shared_->result.failed = false;
  if (!order(kRun)) {
    int status = 0;
    waitpid(child_, &status, 0);
    child_ = -1;
    shared_->result.failed = true;
    if (WIFSIGNALED(status)) {
      std::snprintf(shared_->result.error, sizeof shared_->result.error,
                    "its process was ended by signal %d%s", WTERMSIG(status),
                    WTERMSIG(status) == SIGKILL ? " (out of memory?)" : "");
    } else {
      std::snprintf(shared_->result.error, sizeof shared_->result.error,
                    "its process ended with status %d", WEXITSTATUS(status));
    }
  }
  return shared_->result;
}

const Memory& StoreProcess::memory() {
  if (!order(kDescribe)) shared_->memory = Memory{};
  return shared_->memory;
}

}  // namespace tern::bench
