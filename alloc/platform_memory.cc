#include "alloc/platform_memory.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "alloc/platform.h"

namespace tern::alloc::platform {

namespace {

constexpr std::size_t kPathMax = 1024;
constexpr std::uint64_t kNoLimit = std::uint64_t{1} << 60;  // version 1 says "none" by a number past it

// A whole small file as text. False: it can't be read.
template <std::size_t N>
bool read_text(const char* path, char (&text)[N]) noexcept {
  int error = 0;
  File file = open_file(path, OpenMode::kRead, &error);
  if (!file.is_open()) return false;
  std::size_t size = 0;
  while (size < N - 1) {
    const IoResult got = read_file(file, text + size, N - 1 - size, size);
    if (!got.ok()) {
      close_file(file);
      return false;
    }
    if (got.count == 0) break;
    size += got.count;
  }
  close_file(file);
  text[size] = 0;
  return true;
}

template <std::size_t N>
bool read_in(const char* group, const char* name, char (&text)[N]) noexcept {
  char path[kPathMax];
  const int n = std::snprintf(path, sizeof path, "%s/%s", group, name);
  return n > 0 && static_cast<std::size_t>(n) < sizeof path && read_text(path, text);
}

// The number after `word` at the beginning of a line; 0: not there.
std::uint64_t number_after(const char* text, const char* word) noexcept {
  const std::size_t size = std::strlen(word);
  for (const char* at = std::strstr(text, word); at != nullptr; at = std::strstr(at + 1, word)) {
    if (at == text || at[-1] == '\n') return std::strtoull(at + size, nullptr, 10);
  }
  return 0;
}

struct Names {
  const char* used;
  const char* limit;
  const char* idle_files;  // in memory.stat
};
constexpr Names kVersion2{"memory.current", "memory.max", "inactive_file "};
constexpr Names kVersion1{"memory.usage_in_bytes", "memory.limit_in_bytes", "total_inactive_file "};

bool read_group(const char* group, const Names& names, GroupMemory& out) noexcept {
  char text[64];
  if (!read_in(group, names.limit, text) || std::strncmp(text, "max", 3) == 0) return false;
  out.limit_bytes = std::strtoull(text, nullptr, 10);
  if (out.limit_bytes == 0 || out.limit_bytes >= kNoLimit) return false;
  if (!read_in(group, names.used, text)) return false;
  out.used_bytes = std::strtoull(text, nullptr, 10);
  char stat[8192];
  if (read_in(group, "memory.stat", stat)) {
    const std::uint64_t idle = number_after(stat, names.idle_files);
    out.used_bytes -= idle < out.used_bytes ? idle : out.used_bytes;
  }
  out.stalled_permille = 0;
  if (read_in(group, "memory.pressure", stat)) {
    // "some avg10=1.25 avg60=..."
    if (const char* at = std::strstr(stat, "some avg10="); at != nullptr) {
      out.stalled_permille = static_cast<unsigned>(std::strtod(at + 11, nullptr) * 10);
    }
  }
  return true;
}

// From the group upwards to `root`; the one with the least left.
bool read_upwards(char* group, std::size_t root_size, const Names& names, GroupMemory& out) noexcept {
  bool found = false;
  for (;;) {
    GroupMemory here;
    if (read_group(group, names, here)) {
      const auto left = [](const GroupMemory& g) {
        return g.limit_bytes > g.used_bytes ? g.limit_bytes - g.used_bytes : 0;
      };
      if (!found || left(here) < left(out)) out = here;
      found = true;
    }
    char* slash = std::strrchr(group, '/');
    if (slash == nullptr || static_cast<std::size_t>(slash - group) < root_size) return found;
    *slash = 0;
  }
}

}  // namespace

bool read_group_memory(GroupMemory& out, const char* groups, const char* self) noexcept {
  char own[4096];
  if (!read_text(self, own)) return false;
  for (const char* line = own; *line != 0;) {
    const char* end = std::strchr(line, '\n');
    const std::size_t size = end != nullptr ? static_cast<std::size_t>(end - line) : std::strlen(line);
    // "0::/path" is version 2, "7:memory:/path" version 1.
    const char* names = static_cast<const char*>(std::memchr(line, ':', size));
    const char* path = names == nullptr
                           ? nullptr
                           : static_cast<const char*>(std::memchr(
                                 names + 1, ':', size - static_cast<std::size_t>(names + 1 - line)));
    if (path != nullptr) {
      const std::size_t names_size = static_cast<std::size_t>(path - names - 1);
      const bool version2 = names_size == 0;
      const bool memory = names_size == 6 && std::strncmp(names + 1, "memory", 6) == 0;
      if (version2 || memory) {
        ++path;
        int path_size = static_cast<int>(size - static_cast<std::size_t>(path - line));
        if (path_size == 1) path_size = 0;  // "/": the root itself
        char group[kPathMax];
        const int n = std::snprintf(group, sizeof group, "%s%s%.*s", groups, memory ? "/memory" : "",
                                    path_size, path);
        const std::size_t root = std::strlen(groups) + (memory ? 7u : 0u);
        if (n > 0 && static_cast<std::size_t>(n) < sizeof group &&
            read_upwards(group, root, memory ? kVersion1 : kVersion2, out)) {
          return true;
        }
      }
    }
    if (end == nullptr) break;
    line = end + 1;
  }
  return false;
}

}  // namespace tern::alloc::platform
