// What the system says about the memory that this process shares a bound on with others: its control
// group's, up to the root. Part of the platform interface (platform.h).
#ifndef TERN_ALLOC_PLATFORM_MEMORY_H_
#define TERN_ALLOC_PLATFORM_MEMORY_H_

#include <cstdint>

namespace tern::alloc::platform {

struct GroupMemory {
  std::uint64_t used_bytes = 0;   // without file pages that nobody has used lately
  std::uint64_t limit_bytes = 0;  // 0: none
  unsigned stalled_permille = 0;  // of the last 10 s somebody waited for memory (PSI); 0: or unknown
};

// Of the group, among this process's own and those above it, that has the least left. False: there
// is no group with a bound, or none can be read. Control groups of version 2 and 1. A dozen system
// calls: not more often than once a second. `groups` is where the groups' files are mounted, `self`
// the file that says which are this process's; tests have their own.
bool read_group_memory(GroupMemory& out, const char* groups = "/sys/fs/cgroup",
                       const char* self = "/proc/self/cgroup") noexcept;

}  // namespace tern::alloc::platform

#endif  // TERN_ALLOC_PLATFORM_MEMORY_H_
