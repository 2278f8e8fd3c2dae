// Trouble: what went wrong with a file, told to whoever asked for it (SnapshotFault) and to the store's log.
#ifndef TERN_PERSIST_FAULT_H_
#define TERN_PERSIST_FAULT_H_

#include <cstdint>

#include <tern/snapshot.h>
#include <tern/status.h>

namespace tern::persist {

struct Trouble {
  SnapshotFault fault;
  Error error;

  bool ok() const noexcept { return error.status == Status::kOk; }
  // Each answers `error`.
  Error system(const char* file, const char* what, int system_error) noexcept;
  Error damaged(const char* file, std::uint64_t offset, const char* what) noexcept;
  Error refused(const char* file, Error why, const char* what) noexcept;

 private:
  Error set(const char* file, std::uint64_t offset, const char* what, int system_error, Error why) noexcept;
};

// One line for a log: the file, where, what, errno.
struct TroubleText {
  char text[900];
  explicit TroubleText(const SnapshotFault& fault) noexcept;
};

}  // namespace tern::persist

#endif  // TERN_PERSIST_FAULT_H_
