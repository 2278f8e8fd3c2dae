// The only place with system calls: mapping, clock, randomness, threads, files.
//
// Every function is noexcept and answers with a value or an error number, never by a signal, an
// exception or a message. Nothing here is called on the path of a read or a write in a steady
// state; the clock goes through the vDSO and is the one exception.
//
// Faults. A test installs a `FaultPlan`, and the n-th call it watches fails with the error it
// names, as if the kernel had refused. The hook is compiled in always, because a build that differs
// from the shipped one proves nothing about it: it costs one load of a null pointer for each system
// call, nothing anywhere else.
#ifndef TERN_ALLOC_PLATFORM_H_
#define TERN_ALLOC_PLATFORM_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace tern::alloc::platform {

// --- faults ----------------------------------------------------------------------------

enum class Site : std::uint8_t {
  kReserve,     // mapping of address space
  kDecommit,    // giving memory back to the kernel
  kAdviseHuge,  // asking for huge pages
  kPopulate,    // faulting memory in
  kRandom,
  kPinThread,
  kStartThread,  // a thread of the library's own (platform_worker.h)
  kAtFork,
  kOpen,
  kRead,
  kWrite,
  kSync,
  kRename,
  kTruncate,
  kRemove,
  kFileSize,
  kLock,
  kWriteback,  // asking that writing begins; only advice
  kBack,       // room for a mapped file's pages (platform_shared.h)
  kPrivateAllocate,  // process-private memory (private_memory.h)
  kCount,
};

// What a call on a file is about to do, for who watches (FaultPlan::watch).
struct FileCall {
  Site site = Site::kOpen;
  int descriptor = -1;
  const char* path = nullptr;   // of open, rename, remove
  const char* to = nullptr;     // of rename
  const void* data = nullptr;   // of write
  std::uint64_t bytes = 0;      // of read and write; of truncate: the size
  std::uint64_t at = 0;
};

constexpr std::uint32_t site_bit(Site site) { return 1u << static_cast<unsigned>(site); }

// Makes the call number `fail_at` (from 1; 0 fails none) among the calls at the sites in `sites`
// fail, and `fail_count` - 1 further ones after it. `calls` counts what was watched, so that a test
// knows when it has been through every n.
struct FaultPlan {
  std::uint32_t sites = ~0u;
  std::uint64_t fail_at = 0;
  std::uint64_t fail_count = 1;
  int error = 0;  // 0: ENOMEM for memory, EAGAIN for a thread, EIO for the rest
  // Called before each call on a file at the sites in `sites`, failing or not; null: nobody watches.
  void (*watch)(void* user, const FileCall& call) = nullptr;
  void* watch_user = nullptr;
  std::atomic<std::uint64_t> calls{0};
  std::atomic<std::uint64_t> failed{0};
};

inline std::atomic<FaultPlan*> fault_plan{nullptr};

int planned_fault(FaultPlan& plan, Site site, const FileCall* call = nullptr) noexcept;

// The error number that a plan wants at this site now; 0 when the call may go on.
inline int fault(Site site) noexcept {
  FaultPlan* plan = fault_plan.load(std::memory_order_acquire);  // [fault-plan] acquire
  return plan == nullptr ? 0 : planned_fault(*plan, site);
}

inline int fault(const FileCall& call) noexcept {
  FaultPlan* plan = fault_plan.load(std::memory_order_acquire);  // [fault-plan] acquire
  return plan == nullptr ? 0 : planned_fault(*plan, call.site, &call);
}

// Installs a plan for the life of this object. Test hook.
class FaultScope {
 public:
  explicit FaultScope(FaultPlan& plan) noexcept {
    fault_plan.store(&plan, std::memory_order_release);  // [fault-plan] release
  }
  ~FaultScope() { fault_plan.store(nullptr, std::memory_order_release); }  // [fault-plan] release
  FaultScope(const FaultScope&) = delete;
  FaultScope& operator=(const FaultScope&) = delete;
};

// --- memory ----------------------------------------------------------------------------

inline constexpr std::size_t kPageBytes = 4096;  // unit of accounts; a kernel page may be larger
inline constexpr std::size_t kHugePageBytes = 2u << 20;

// Reserves `bytes` of zero-filled, readable and writable address space at a multiple of `alignment`
// (a power of two). The kernel commits a page when it is touched first. nullptr when it refuses.
void* reserve(std::size_t bytes, std::size_t alignment) noexcept;
void release(void* at, std::size_t bytes) noexcept;

// Gives the pages' memory back; the range stays reserved and reads as zero. False when the kernel
// refuses: then nothing has changed.
bool decommit(void* at, std::size_t bytes) noexcept;

// Asks for huge pages on the range. False when the kernel refuses (no support); never an error to
// the caller.
bool advise_huge(void* at, std::size_t bytes) noexcept;

// Rewrites a populated range with huge pages where the kernel can (Linux 6.1 on). Only advice.
bool collapse_huge(void* at, std::size_t bytes) noexcept;

// Faults the range in for writing without changing its contents; falls back to touching each page
// where the kernel has no call for it. False: memory ran out.
bool populate(void* at, std::size_t bytes) noexcept;

// Bytes of [at, at + bytes) that huge pages back now, from the kernel's own account. Slow (reads a
// file that describes the whole process): for statistics. 0 when it can't be known.
std::size_t huge_bytes(const void* at, std::size_t bytes) noexcept;

// Bytes of [at, at + bytes), page-aligned and mapped, that have memory behind them now. O(pages):
// for statistics.
std::size_t resident_bytes(const void* at, std::size_t bytes) noexcept;

// --- clock -----------------------------------------------------------------------------

// Nanoseconds that never go back and go on while the machine is suspended (CLOCK_BOOTTIME), so that
// a deadline doesn't move because a laptop slept. Through the vDSO: see README.md for what it
// costs.
std::uint64_t monotonic_ns() noexcept;

// Nanoseconds that the calling thread has run. A system call.
std::uint64_t thread_cpu_ns() noexcept;

// Nanoseconds since 1970. May jump; for metadata only, never for deadlines.
std::uint64_t wall_ns() noexcept;

// --- randomness, threads ---------------------------------------------------------------

// Fills the buffer from the kernel's generator. False when it refuses.
bool random_bytes(void* to, std::size_t bytes) noexcept;

// Hardware threads this process may run on; at least 1.
unsigned hardware_threads() noexcept;

// Binds the calling thread to the n-th of the hardware threads it may run on (modulo their number).
bool pin_thread(unsigned n) noexcept;

// The kernel's number of the calling thread; reused by the kernel after the thread has ended.
std::uint64_t thread_id() noexcept;
void sleep_ns(std::uint64_t ns) noexcept;
// Lets other threads that are ready to run have this processor; returns at once if there are none.
void yield_processor() noexcept;

// Calls `before` in the process that forks, then `in_parent` there and `in_child` in the copy. For
// the life of the process; false when there is no memory for the entry.
bool at_fork(void (*before)(), void (*in_parent)(), void (*in_child)()) noexcept;

// --- files -----------------------------------------------------------------------------

// A count or an error number (0: none). One call of the kernel each: a short count is the caller's
// business.
struct IoResult {
  std::size_t count = 0;
  int error = 0;
  bool ok() const noexcept { return error == 0; }
};

struct File {
  int descriptor = -1;
  bool is_open() const noexcept { return descriptor >= 0; }
};

enum class OpenMode : std::uint8_t {
  kRead,
  kCreate,  // a new file; what had the name is removed, and a link's end isn't touched
  kReadWrite,
  kDirectory,
  kKeep,  // for reading and writing, made if it isn't there
};

// Opens `path`; `*error` is the error number (0: none). Descriptors aren't inherited by child
// processes; a new file is for its owner alone.
File open_file(const char* path, OpenMode mode, int* error) noexcept;
// Errors of close are those of writes that nobody synced: synchronise first if they matter.
void close_file(File& file) noexcept;
// Interrupted calls are repeated; a short count at the end of the file or disk is returned as it
// is.
IoResult read_file(File file, void* to, std::size_t bytes, std::uint64_t at) noexcept;
IoResult write_file(File file, const void* from, std::size_t bytes, std::uint64_t at) noexcept;
// 0 or the error number. After an error the file's pages are unknown: never repeat it as if it
// could heal.
int sync_file(File file) noexcept;
int truncate_file(File file, std::uint64_t bytes) noexcept;
int rename_file(const char* from, const char* to) noexcept;
int remove_file(const char* path) noexcept;
IoResult file_size(File file) noexcept;
// Takes the file's lock for this descriptor, until it is closed, in the whole system: 0, EWOULDBLOCK
// if another descriptor has it (of this process or another), or another error number. Waits for nobody.
int lock_file(File file) noexcept;
// Asks the kernel to begin writing the range, so that a later sync has less to do. Only advice.
void begin_writeback(File file, std::uint64_t at, std::uint64_t bytes) noexcept;

}  // namespace tern::alloc::platform

#endif  // TERN_ALLOC_PLATFORM_H_
