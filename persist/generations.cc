#include "persist/generations.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "alloc/platform_lock.h"
#include "alloc/platform_path.h"
#include "engine/record.h"
#include "simd/checksum.h"

namespace tern::persist {

namespace platform = alloc::platform;
using platform::OpenMode;

namespace {

struct LockSlot {
  char magic[8];
  std::uint64_t sequence;
  std::uint64_t version_base;
  char zero[32];
  std::uint64_t checksum;

  std::uint64_t sum() const noexcept { return simd::checksum(this, offsetof(LockSlot, checksum), 0x6B636F6C); }
};
static_assert(sizeof(LockSlot) == 64);
constexpr char kLockMagic[8] = {'T', 'E', 'R', 'N', 'L', 'O', 'C', 'K'};

}  // namespace

int write_all(platform::File file, const void* from, std::uint64_t bytes, std::uint64_t at) noexcept {
  const char* next = static_cast<const char*>(from);
  while (bytes != 0) {
    const auto r = platform::write_file(file, next, bytes < (1u << 30) ? bytes : (1u << 30), at);
    if (!r.ok()) return r.error;
    if (r.count == 0) return ENOSPC;
    next += r.count;
    at += r.count;
    bytes -= r.count;
  }
  return 0;
}

ReadAll read_all(platform::File file, void* to, std::uint64_t bytes, std::uint64_t at) noexcept {
  char* next = static_cast<char*>(to);
  while (bytes != 0) {
    const auto r = platform::read_file(file, next, bytes < (1u << 30) ? bytes : (1u << 30), at);
    if (!r.ok()) return {r.error, false};
    if (r.count == 0) return {0, true};
    next += r.count;
    at += r.count;
    bytes -= r.count;
  }
  return {};
}

bool Generations::is_path(std::string_view path) noexcept {
  return !path.empty() && path.size() <= kPathBytesMax && path.find('\0') == path.npos && path.back() != '/';
}

Generations::Generations(std::string_view path) noexcept {
  std::size_t size = 0;
  if (path.front() != '/') {
    size = platform::current_folder(path_text_, kPathBytesMax - path.size());
    if (size != 0 && path_text_[size - 1] != '/') path_text_[size++] = '/';
  }
  std::memcpy(path_text_ + size, path.data(), path.size());
  size += path.size();
  path_text_[size] = 0;
  path_ = {path_text_, size};
}

FileName Generations::named(const char* end) const noexcept {
  FileName name;
  std::snprintf(name.text, sizeof name.text, "%s%s", path_text_, end);
  return name;
}

FileName Generations::file(unsigned generation_back) const noexcept {
  if (generation_back == 0) return named("");
  char end[16];
  std::snprintf(end, sizeof end, ".%u", generation_back);
  return named(end);
}

Error Generations::check_names(unsigned keep, Trouble& trouble) const noexcept {
  for (unsigned back = 0; back != keep; ++back) {
    const FileName name = file(back);
    const platform::PathKind kind = platform::path_kind(name.text);
    if (kind == platform::PathKind::kNothing || kind == platform::PathKind::kFile) continue;
    return trouble.refused(name.text, {Status::kInvalidArgument, Field::kPath},
                           kind == platform::PathKind::kFolder ? "a folder has this name" : "what has this name is no file");
  }
  return {};
}

Error Generations::lock(Trouble& trouble) noexcept {
  if (is_locked()) return {};
  const FileName name = lock_name();
  int error = 0;
  lock_ = platform::open_file(name.text, OpenMode::kKeep, &error);
  if (error != 0) return trouble.system(name.text, "the lock file can't be opened", error);
  error = platform::lock_file(lock_);
  if (error == 0) {
    locked_by_ = platform::process_id();
    return {};
  }
  unlock();
  if (error == EWOULDBLOCK) {
    return trouble.refused(name.text, {Status::kUnavailable, Field::kPath},
                           "another store or process has this snapshot open for writing, or is saving to it");
  }
  return trouble.system(name.text, "the lock file can't be locked", error);
}

void Generations::unlock() noexcept {
  if (locked_by_ == platform::process_id()) platform::unlock_file(lock_);
  locked_by_ = 0;
  platform::close_file(lock_);
}

Error Generations::begin_life(std::uint64_t at_least, std::uint64_t& version_base, Trouble& trouble) noexcept {
  const FileName name = lock_name();
  const auto size = platform::file_size(lock_);
  if (!size.ok()) return trouble.system(name.text, "the lock file's size is unknown", size.error);
  LockSlot slots[2]{};
  const LockSlot* newest = nullptr;
  if (size.count != 0) {
    const auto read = platform::read_file(lock_, slots, sizeof slots, 0);
    if (!read.ok()) return trouble.system(name.text, "the lock file can't be read", read.error);
    for (const LockSlot& s : slots) {
      if (std::memcmp(s.magic, kLockMagic, sizeof kLockMagic) != 0 || s.checksum != s.sum()) continue;
      if (newest == nullptr || s.sequence > newest->sequence) newest = &s;
    }
    // A first slot that was torn while it was written: nobody has begun a life on it.
    if (newest == nullptr && size.count > sizeof(LockSlot)) {
      return trouble.damaged(name.text, 0, "it says nothing about which versions were given out; if it is removed, versions may repeat");
    }
  }
  std::uint64_t last = newest != nullptr ? newest->version_base : 0;
  if (last < at_least) last = at_least;
  if (last > detail::kVersionMask - 2 * kVersionsALife) {
    return trouble.refused(name.text, {Status::kOutOfRange, Field::kPath},
                           "all versions were given out: export the snapshot and import it into a new one");
  }
  LockSlot next{};
  std::memcpy(next.magic, kLockMagic, sizeof kLockMagic);
  next.sequence = (newest != nullptr ? newest->sequence : 0) + 1;
  next.version_base = last / kVersionsALife * kVersionsALife + kVersionsALife;
  next.checksum = next.sum();
  const std::uint64_t at = newest == nullptr || newest == &slots[1] ? 0 : sizeof(LockSlot);
  if (const int error = write_all(lock_, &next, sizeof next, at)) {
    return trouble.system(name.text, "the lock file can't be written", error);
  }
  if (const int error = platform::sync_file(lock_)) {
    return trouble.system(name.text, "the lock file can't be synchronised", error);
  }
  if (newest == nullptr) {
    if (const Error e = sync_folder(trouble); e.status != Status::kOk) return e;
  }
  version_base = next.version_base;
  return {};
}

Error Generations::take_place(unsigned keep, Trouble& trouble) noexcept {
  const FileName newest = file(0);
  bool moved = false;
  // From the oldest that stays, each takes the place behind it; one that isn't there is no error.
  for (unsigned back = keep - 1; back != 0; --back) {
    const FileName from = file(back - 1), to = file(back);
    const int error = platform::rename_file(from.text, to.text);
    if (error != 0 && error != ENOENT) return trouble.system(from.text, "an older generation can't be renamed", error);
    moved = back == 1 && error == 0;
  }
  const FileName temporary_name = temporary();
  if (const int error = platform::rename_file(temporary_name.text, newest.text)) {
    if (moved) platform::rename_file(file(1).text, newest.text);  // if that fails, too: an open finds it there
    return trouble.system(newest.text, "the new generation can't take its place", error);
  }
  for (unsigned back = keep; back <= kGenerationsMax; ++back) {
    if (platform::remove_file(file(back).text) != 0) break;
  }
  return {};
}

Error Generations::sync_folder(Trouble& trouble) noexcept {
  FileName folder;
  const std::size_t slash = path_.rfind('/');
  if (slash == path_.npos) {
    std::strcpy(folder.text, ".");
  } else {
    const std::size_t size = slash == 0 ? 1 : slash;
    std::memcpy(folder.text, path_text_, size);
    folder.text[size] = 0;
  }
  int error = 0;
  platform::File opened = platform::open_file(folder.text, OpenMode::kDirectory, &error);
  if (error == 0) error = platform::sync_file(opened);
  platform::close_file(opened);
  if (error != 0) return trouble.system(folder.text, "the folder can't be synchronised", error);
  return {};
}

}  // namespace tern::persist
