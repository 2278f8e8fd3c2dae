// Snapshots: a store's contents in a file, saved while writers go on, opened again later.
//
//   auto saved = store.save("/var/lib/game/world.tern");
//   ...
//   auto store = tern::Store::open("/var/lib/game/world.tern", {.memory_bytes = 1 << 30});
//
// A save writes the store as it stood at one moment: to a temporary file beside the path, which is synchronised and then
// takes the path's place, so that a crash or a full disk at any point leaves a whole snapshot there, the new one or the
// one before. Opening verifies every byte before it is used. Whatever the file holds, the answer is a store or an error
// that says where and why; a damaged file is never changed, and the generation before it is opened if there is one.
//
// Beside PATH lie PATH.1, PATH.2, ... (older generations), PATH.lock (who may write, and which versions were given out:
// keep it with the snapshot) and, while a save runs or after a crash in one, PATH.tmp. These are names: a symbolic link called PATH
// is opened through, but renamed and replaced by a save as a file would be, its end untouched; what is called PATH.tmp is removed.
// The format is described in persist/README.md.
#ifndef TERN_SNAPSHOT_H_
#define TERN_SNAPSHOT_H_

#include <tern/function_ref.h>
#include <tern/options.h>
#include <tern/result.h>
#include <tern/status.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace tern {

// Why a call on a snapshot failed, in more words than an Error has.
struct SnapshotFault {
  char file[512] = {};         // which one; shortened from the left if it is longer
  std::uint64_t offset = 0;    // in the file, where there is a place
  int system_error = 0;        // errno, if the system refused something
  char reason[192] = {};
};

struct SaveProgress {
  std::uint64_t entries = 0;           // written so far
  std::uint64_t entries_expected = 0;  // about
  std::uint64_t bytes = 0;             // written so far
};
// False: the save is given up, nothing is left of it, and it answers `cancelled`. Called from the saving thread after
// every piece of about 64 KiB that it has written itself; may call the store; must not throw.
using SaveProgressFn = bool (*)(void* user, const SaveProgress& progress);

// What makes the blocks of a file smaller.
enum class SnapshotCodec : std::uint32_t {
  kNone = 0,
  kLz4 = 1,   // where the library was built with it: has_codec; so is the next
  kZstd = 2,  // smaller than by LZ4, and more of the processor's time: persist/README.md has figures
};
TERN_API bool has_codec(SnapshotCodec codec) noexcept;

struct SaveOptions {
  // Generations there are afterwards, the new one included; 1 to 64. With 1 a file that is damaged later has no stand-in.
  unsigned keep = 2;
  // That walk the store and write, the caller's included, 16 at most; 0: half of the processors or 2, at most 4, one for each
  // 65,536 entries; the caller's alone with Maintenance::kTick. Each takes 1.3 MiB while it lasts.
  unsigned threads = 0;
  // Bound on the rate of writing; 0: none.
  std::uint64_t bytes_per_second = 0;
  SaveProgressFn progress = nullptr;
  void* progress_user = nullptr;
  // Wall-clock time since 1970 at the moment that is saved; by default the system's. For tests and replay.
  std::optional<std::chrono::milliseconds> wall_now{};
  SnapshotFault* fault = nullptr;  // filled in when the call fails
  // unsupported (codec) where the library was built without it. A block that it doesn't make a sixteenth smaller stays as it is, and so
  // does an entry of more than 1 MiB. Each thread takes 1 MiB more, and Zstd up to 0.6 MiB of its own. Versions of Tern that don't know the
  // codec refuse the file.
  SnapshotCodec codec = SnapshotCodec::kNone;
};

struct SaveReport {
  std::uint64_t generation = 0;  // 1, 2, ... of this path
  std::uint64_t entries = 0;
  std::uint64_t bytes = 0;       // of the file
};

// Saves that the store makes by itself, in a thread of its own.
struct PeriodicSave {
  // From the end of one save to the beginning of the next; 10 ms at least.
  std::chrono::milliseconds every{60'000};
  // A save is passed over as long as fewer entries were set or removed since the last of these that went well, or since the store began.
  std::uint64_t changes = 1;
  // As in SaveOptions.
  unsigned keep = 2;
  unsigned threads = 0;
  std::uint64_t bytes_per_second = 0;
  SnapshotCodec codec = SnapshotCodec::kNone;
};

struct OpenReport {
  std::uint64_t generation = 0;
  std::uint64_t entries = 0;     // that are in the store now; with copy = false, in the file
  std::uint64_t expired = 0;     // whose deadline passed between the save and this call: left out
  std::uint64_t left_out = 0;    // for want of room, where eviction is on; without it a file that doesn't fit is refused
  unsigned fallbacks = 0;        // newer generations that were damaged or missing
};

struct SnapshotOptions {
  // This store is the one that writes PATH: no other store or process opens it for writing or saves to it until the last
  // handle is gone (unavailable), and no version that a store of this path has ever given out is given out again. False:
  // a copy of what the file holds, for any number of processes, from a folder that may be read-only; what it
  // writes may get versions that others give out, too.
  bool own = true;
  // True: everything is read and verified before the call returns. False: header and directory are, and the store serves at once:
  // a call on a key first brings the block that the key's entry would be in (about 64 KiB, verified before its first use; it waits
  // if another thread is bringing that one), and calls on many keys, views and saves first bring all. Maintenance brings the
  // rest. Damage in a block is met when it is brought: calls on its keys answer corrupt, and the generation before isn't
  // fallen back to. Until all has come, statistics count what has; the file may be renamed and removed, not written to. The table
  // begins small and grows with the blocks, in the end to Options::entries_expected.
  bool copy = true;
  // Threads that read and verify, with copy; 0: one for each processor, at most 8, and one alone with Maintenance::kTick.
  unsigned threads = 0;
  // As SaveOptions::wall_now: when this is, for deadlines. Never before the moment that was saved.
  std::optional<std::chrono::milliseconds> wall_now{};
  OpenReport* report = nullptr;
  SnapshotFault* fault = nullptr;  // filled in when the call fails; after a fallback, with why the newer one wasn't taken
};

// --- a file by itself, without a store ---------------------------------------------------------------------------------

struct SnapshotInfo {
  unsigned format_version = 0;
  std::uint64_t generation = 0;
  std::uint64_t entries = 0;
  std::uint64_t file_bytes = 0;
  std::uint64_t blocks = 0;
  unsigned shards = 0;
  std::chrono::milliseconds saved_at{};     // since 1970, as is the next
  std::chrono::milliseconds first_saved_at{};
  std::uint64_t version_max = 0;
  std::uint64_t version_base = 0;           // below it lie the versions of earlier lives of the store that wrote it
  std::size_t memory_bytes = 0;             // the budget of the store that wrote it
  char engine[17] = {};                     // version of the library that wrote it
  char name[65] = {};                       // Options::name
  std::uint64_t packed_blocks = 0;
  SnapshotCodec codec = SnapshotCodec::kNone;  // that packed them
  std::uint64_t plain_bytes = 0;            // of all blocks, unpacked
};
// Reads and checks header and directory. not_found, io, corrupt, unsupported, invalid_argument (path); `fault`, if not null,
// says which file, where and why.
TERN_API Result<SnapshotInfo> inspect_snapshot(std::string_view path, SnapshotFault* fault = nullptr) noexcept;

// A namespace (namespace.h) that a file has.
struct SnapshotNamespace {
  std::string_view name{};
  NamespaceOptions options{};
};
struct SnapshotEntry {
  enum class Kind : std::uint8_t {
    kPlain,
    kLease,  // a lease itself (lease.h), without key and value
    kLock,   // a lock (lock.h): the key is its name, the version its token, the value its owner
  };
  std::string_view key{};  // as its owner knows it
  unsigned ns = 0;         // the number of its namespace; 0: the default one
  // Not null: this is no entry of anybody's, it says what the namespace number `ns` is. The key is empty then. May come after
  // entries of it.
  const SnapshotNamespace* made = nullptr;
  std::string_view value{};
  std::uint64_t version = 0;
  std::optional<std::chrono::milliseconds> expires_at{};  // since 1970, by the wall clock
  std::chrono::milliseconds idle{};                       // 0: none
  bool evictable = true;
  std::span<const std::string_view> tags{};
  std::string_view metadata{};
  Kind kind = Kind::kPlain;
  LeaseId lease = 0;  // that it is attached to; of a lease: its own id
};
// Calls fn for each entry, verified, in no order that means anything, until it answers false; fn must not throw, and what it
// is shown is good during the call. True: all were shown. Memory: the directory, and one block or one long entry at a time.
TERN_API Result<bool> read_snapshot(std::string_view path, FunctionRef<bool(const SnapshotEntry&)> fn,
                                    SnapshotFault* fault = nullptr) noexcept;

// Looks at every byte and goes on after damage in a block: `report` is called for each finding. ok, or the first finding's error.
// Answers the number of entries that are whole, in any case, through `whole` if it isn't null.
TERN_API Result<void> verify_snapshot(std::string_view path, FunctionRef<void(const SnapshotFault&)> report,
                                      std::uint64_t* whole = nullptr) noexcept;

}  // namespace tern

#endif  // TERN_SNAPSHOT_H_
