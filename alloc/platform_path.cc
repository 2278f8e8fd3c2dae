#include "alloc/platform_path.h"

#include <cstring>

#include <sys/stat.h>
#include <unistd.h>

namespace tern::alloc::platform {

PathKind path_kind(const char* path) noexcept {
  struct stat about {};
  if (::lstat(path, &about) != 0) return PathKind::kNothing;
  if (S_ISDIR(about.st_mode)) return PathKind::kFolder;
  if (S_ISLNK(about.st_mode)) return ::stat(path, &about) == 0 && S_ISDIR(about.st_mode) ? PathKind::kFolder : PathKind::kFile;
  return S_ISREG(about.st_mode) ? PathKind::kFile : PathKind::kOther;
}

std::size_t current_folder(char* to, std::size_t room) noexcept {
  // One that was removed, or lies outside of this process's root, has a name that begins otherwise.
  return ::getcwd(to, room) != nullptr && *to == '/' ? std::strlen(to) : 0;
}

}  // namespace tern::alloc::platform
