// Generations: the files around one path, and who may write them.
//
//   PATH         the newest            PATH.tmp   being written; of no meaning to anybody else
//   PATH.1 ...   older ones            PATH.lock  locked (flock) by whoever saves, or by the store that owns the path
//
// The lock file also remembers which versions were given out. A store that owns the path gives out none below its
// version base; the base is 2^32 above that of the last owner, and is on the disk before the store's first write. So a
// version token of a life that went on after its last save never names other bytes of a later life, as long as no life
// changes one key more than 2^32 times. There are 2^16 lives. Two slots of 64 bytes are written in turn, so that one
// is whole whatever happens:
//
//   slot   magic "TERNLOCK" | sequence u64 | version base u64 | zeros | XXH3 of the 56 bytes before, salted with "lock"
//
// The locks of one process exclude each other too: each belongs to a descriptor.
#ifndef TERN_PERSIST_GENERATIONS_H_
#define TERN_PERSIST_GENERATIONS_H_

#include <cstdint>
#include <string_view>

#include "alloc/platform.h"
#include "persist/fault.h"

namespace tern::persist {

inline constexpr unsigned kGenerationsMax = 64;
inline constexpr std::size_t kPathBytesMax = 4000;
inline constexpr std::uint64_t kVersionsALife = std::uint64_t{1} << 32;

struct FileName {
  char text[kPathBytesMax + 16];
};

class Generations {
 public:
  // invalid_argument (path): empty, too long, or with a zero in it.
  static bool is_path(std::string_view path) noexcept;

  // A relative path is one of the folder that is current now, wherever the process goes.
  explicit Generations(std::string_view path) noexcept;
  ~Generations() { unlock(); }
  Generations(const Generations&) = delete;
  Generations& operator=(const Generations&) = delete;

  std::string_view path() const noexcept { return path_; }  // absolute, unless that is unknown or too long
  FileName file(unsigned generation_back) const noexcept;  // 0: PATH
  FileName temporary() const noexcept { return named(".tmp"); }
  FileName renewed() const noexcept { return named(".new"); }  // of a store in shared memory (arena_file.h)
  FileName lock_name() const noexcept { return named(".lock"); }

  // invalid_argument (path): one of the names that `keep` generations take is a folder's or a device's, which a rename would put away.
  Error check_names(unsigned keep, Trouble& trouble) const noexcept;

  // unavailable: somebody else has it. Idempotent.
  Error lock(Trouble& trouble) noexcept;
  // In a forked child only its copy of the file goes: the lock stays the parent's.
  void unlock() noexcept;
  bool is_locked() const noexcept { return lock_.is_open(); }

  // Under the lock: the base of a new life, at least 2^32 above `at_least` and that of the last one; on the disk when it
  // returns.
  Error begin_life(std::uint64_t at_least, std::uint64_t& version_base, Trouble& trouble) noexcept;

  // PATH.tmp, which is synchronised, becomes PATH, and `keep` generations stay.
  Error take_place(unsigned keep, Trouble& trouble) noexcept;
  // Names on the disk are as they are now.
  Error sync_folder(Trouble& trouble) noexcept;

 private:
  FileName named(const char* end) const noexcept;

  char path_text_[kPathBytesMax + 1];
  std::string_view path_;
  alloc::platform::File lock_;
  std::uint64_t locked_by_ = 0;  // the process; 0: none
};

// All of it, or an error: a short write is a full disk, a short read a file that ends early.
int write_all(alloc::platform::File file, const void* from, std::uint64_t bytes, std::uint64_t at) noexcept;
struct ReadAll {
  int error = 0;
  bool ended = false;
  bool ok() const noexcept { return error == 0 && !ended; }
};
ReadAll read_all(alloc::platform::File file, void* to, std::uint64_t bytes, std::uint64_t at) noexcept;

}  // namespace tern::persist

#endif  // TERN_PERSIST_GENERATIONS_H_
