#include "persist/fault.h"

#include <cstdio>
#include <cstring>

namespace tern::persist {

namespace {

// The end of a name says more than its beginning.
void copy_tail(char* to, std::size_t size, const char* from) noexcept {
  const std::size_t length = std::strlen(from);
  const std::size_t skip = length < size ? 0 : length - size + 1;
  std::memcpy(to, from + skip, length - skip + 1);
}

}  // namespace

Error Trouble::set(const char* file, std::uint64_t offset, const char* what, int system_error, Error why) noexcept {
  fault = {};
  copy_tail(fault.file, sizeof fault.file, file);
  copy_tail(fault.reason, sizeof fault.reason, what);
  fault.offset = offset;
  fault.system_error = system_error;
  return error = why;
}

Error Trouble::system(const char* file, const char* what, int system_error) noexcept {
  return set(file, 0, what, system_error, {Status::kIo, Field::kPath});
}
Error Trouble::damaged(const char* file, std::uint64_t offset, const char* what) noexcept {
  return set(file, offset, what, 0, {Status::kCorrupt, Field::kPath});
}
Error Trouble::refused(const char* file, Error why, const char* what) noexcept { return set(file, 0, what, 0, why); }

TroubleText::TroubleText(const SnapshotFault& f) noexcept {
  if (f.system_error != 0) {
    std::snprintf(text, sizeof text, "snapshot %s: %s (errno %d)", f.file, f.reason, f.system_error);
  } else if (f.offset != 0) {
    std::snprintf(text, sizeof text, "snapshot %s: at byte %llu: %s", f.file, static_cast<unsigned long long>(f.offset), f.reason);
  } else {
    std::snprintf(text, sizeof text, "snapshot %s: %s", f.file, f.reason);
  }
}

}  // namespace tern::persist
