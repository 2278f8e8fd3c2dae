// What a name leads to, and where relative ones begin. Part of the platform interface (platform.h).
#ifndef TERN_ALLOC_PLATFORM_PATH_H_
#define TERN_ALLOC_PLATFORM_PATH_H_

#include <cstddef>
#include <cstdint>

namespace tern::alloc::platform {

enum class PathKind : std::uint8_t {
  kNothing,  // or it can't be looked at: the call that uses the name says why
  kFile,     // or a symbolic link, unless that leads to a folder
  kFolder,
  kOther,  // a device, a pipe, a socket
};
PathKind path_kind(const char* path) noexcept;

// Writes the current folder's path, which begins with a slash, and answers its bytes. 0: it is longer than `room`, or unknown.
std::size_t current_folder(char* to, std::size_t room) noexcept;

}  // namespace tern::alloc::platform

#endif  // TERN_ALLOC_PLATFORM_PATH_H_
