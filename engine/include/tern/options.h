// Options of a store and of a write. Each field says its unit, range and default; a value out of range is an error
// that names the field, never clamped.
#ifndef TERN_OPTIONS_H_
#define TERN_OPTIONS_H_

#include <tern/status.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace tern {

class Value;

// Where time comes from. The default counts suspend (CLOCK_BOOTTIME). Replace it for tests and for deterministic
// replay; it is read only by batches and by operations on records that have a lifetime. Thread-safe, must not go backwards.
class TERN_API Clock {
 public:
  virtual ~Clock() = default;
  virtual std::chrono::milliseconds now() const noexcept = 0;  // since an arbitrary fixed instant, >= 0
};

// How much memory there is around the store.
struct MemoryReading {
  std::uint64_t used_bytes = 0;
  std::uint64_t limit_bytes = 0;  // 0: no bound, or unknown
  unsigned stalled_permille = 0;  // of the last ten seconds somebody waited for memory
};

// Where readings come from. The default reads the container's control group. Replace it for tests, or for a host that
// knows better. Called in maintenance, at most once a second; thread-safe.
class TERN_API MemoryGauge {
 public:
  virtual ~MemoryGauge() = default;
  virtual MemoryReading read() const noexcept = 0;
};

// What the library reports when something degrades; called outside of hot paths, from the thread that met it.
using LogHook = void (*)(void* user, const char* message);

// Why an entry is no longer there.
enum class RemovalCause : std::uint8_t {
  kEvicted,  // made room
  kExpired,  // its deadline passed; told when it is removed or replaced, which may be later
  kDeleted,  // del and its kin
  kCleared,  // clear, del_prefix, del_tag; told when it is swept or replaced, which is later
};

// Gets what was removed. Runs in the thread that removed it (a write's, or whoever does maintenance), after its work is
// done; must not throw; may call the store. `key` and `value` are good during the call.
using RemovedFn = void (*)(void* user, std::string_view key, std::string_view value, RemovalCause cause);

// What an entry counts against Options::entries_max, at least 1. Asked when the entry enters and when it leaves, so it
// must give one answer for one key and value; must not call the store.
using WeigherFn = std::uint32_t (*)(void* user, std::string_view key, std::string_view value);

// What a full store does with a write that it can't make room for.
enum class WhenFull : std::uint8_t {
  kError,  // out_of_memory; the old value stays
  kDrop,   // ok with version 0, counted (Stats::dropped): what most caches want. The key's old value is removed, so that
           // nobody reads it after the write.
};

// Who removes what has expired, makes room ahead of need, takes replaced memory back, moves records.
enum class Maintenance : std::uint8_t {
  // A thread of the store's own, started when there is something to look after for the first time (a deadline, a budget that
  // is nearly used up, fresh memory that a store of 8 MiB or more grows into): at most 500 us at a time and half of a processor;
  // what has expired is reclaimed within 50 ms as a rule. It
  // runs on_removed, asks clock and memory_gauge, and has all signals blocked. Dropping the last handle waits for what it is
  // doing: don't drop that while holding what on_removed waits for. If the system refuses the thread, that is
  // logged, and the store works as with kTick.
  kBackground,
  // The caller's, by tick(): once a frame, say. No thread; what happens depends on the calls alone.
  kTick,
};

struct Options {
  // The hard budget over everything the store owns: table, records, what is retired but not yet reusable.
  // 4 MiB to 8 TiB.
  std::size_t memory_bytes = std::size_t{64} << 20;
  // Address space reserved for a later resize(); 0: memory_bytes.
  std::size_t memory_bytes_max = 0;
  // Bound on live entries beside the bytes; 0: none. An insert past it makes room, or answers out_of_memory with eviction
  // off. With several threads it may be passed by at most one entry a thread.
  std::size_t entries_max = 0;
  // Whether a full store makes room by removing what is least likely to be asked for. Off: writes are refused.
  bool eviction = true;
  // Whether size counts when a full store decides who stays: an entry that takes at most half of what entries take in the mean
  // goes one round further than its reads have earned. For a cache whose values differ much in size and that is judged by
  // hits, not by bytes. Costs nothing but at an eviction; entries of one size fare as without it. Not with eviction off.
  bool size_aware = false;
  // Keeps the keys in the order of their bytes, too: scan, iterate and keys() then seek to their first key instead of
  // going over the whole store (view.h). Costs an entry its key and about 45 bytes more of the budget; the set that
  // brings a key in, and the removal that takes it out, a descent of the index and a node's copy (a fill with a million keys
  // in no order takes two and a half to three times as long); an overwrite and a read nothing. Fixed for the store's life.
  bool ordered = false;
  // How many threads a scan of a store that isn't `ordered` may use, the caller's among them; 1 to 64. Above 1 they are
  // oneTBB's, which starts them in this process when the first such scan comes; a library that was built without it
  // answers unsupported.
  unsigned scan_threads = 1;
  WhenFull full = WhenFull::kError;
  // In a child process after fork a store is closed: there nobody does it.
  Maintenance maintenance = Maintenance::kBackground;
  // Not with entries_max = 0. Null: each entry counts 1.
  WeigherFn weigher = nullptr;
  void* weigher_user = nullptr;
  // Gets what was evicted, expired, deleted or cleared, each once; not what was replaced, nor leases and locks themselves.
  RemovedFn on_removed = nullptr;
  void* on_removed_user = nullptr;
  // Opens the table at the size for so many entries (about 15 bytes of the budget each) instead of letting it grow
  // there: a fill is then half as fast again. A hint: more entries fit. Out of range if it takes more than a quarter of
  // the budget. 0: start small.
  std::size_t entries_expected = 0;
  // Power of two, 1 to 1,024, and at most one for each 64 KiB of the budget; 0: one for each 4 MiB, at most 256.
  unsigned shard_count = 0;
  // Longest value; 0: the lesser of 64 MiB and half of what the budget can hold. Up to 4 GiB - 64 KiB.
  std::size_t value_bytes_max = 0;
  // Bound on bytes kept by HeldValue; past it hold() gives a copy. 0: an eighth of the budget.
  std::size_t held_bytes_max = 0;
  // Operations of one WriteBatch; 1 to 4,096. The most that a write of another thread may have to finish.
  std::size_t max_batch = 4'096;
  // Bound on what older versions that are kept for open views may take of the budget; past it the oldest view is ended
  // (view_expired). 0: an eighth of the budget.
  std::size_t view_bytes_max = 0;
  // Of the budget, what changes that nobody has read yet may take (watch.h): a ring for each shard or a few, and the values in it
  // that were replaced meanwhile. What every watch has read goes earlier, until somebody takes a token (Watch::token). Taken when somebody watches for the first time. 128 bytes a shard to a quarter of the
  // budget; 0: a 64th of it.
  std::size_t ring_bytes = 0;
  // Seed of the key hash; by default from the operating system's randomness, one for each store. Fix it only for
  // reproducible runs: it is what keeps crafted keys from colliding.
  std::optional<std::uint64_t> hash_seed{};
  // Not owned; must outlive the store. Null: the system's.
  const Clock* clock = nullptr;
  // Ask for transparent huge pages (a third more throughput on tables past the last cache). Refusal is logged.
  bool huge_pages = true;
  // Touch the whole budget at open, so that no write pays a page fault later.
  bool prefault = false;
  // Records of up to 128 bytes on 128-byte boundaries: two cache lines a hit instead of up to three, for about 12
  // to 16 bytes more an entry.
  bool align_records = false;
  // The caller's own memory instead of a mapping; it must outlive the store and its held values. memory_bytes is
  // then ignored.
  void* memory = nullptr;
  std::size_t memory_size = 0;
  // Let the budget give way, in maintenance, when the container's memory is short (a sixteenth of its bound left, or a tenth
  // of the time spent waiting for memory), by a sixteenth a second, and come back when there is plenty. It gives up what
  // is free and what lies between records; never records. Not with the caller's own memory.
  bool shrink_on_pressure = false;
  // What the budget never sinks below; 4 MiB to memory_bytes. 0: a quarter of memory_bytes, at least 4 MiB.
  std::size_t shrink_floor_bytes = 0;
  // Not owned; must outlive the store. Null: the container's.
  const MemoryGauge* memory_gauge = nullptr;
  // Shown by stats; copied, at most 63 bytes.
  std::string_view name{};
  LogHook log = nullptr;
  void* log_user = nullptr;
};

// Names a lease (lease.h); 0: none.
using LeaseId = std::uint64_t;

// A lock (lock.h) and the token that its owner got.
struct Fence {
  std::string_view lock{};
  std::uint64_t token = 0;
  // In which namespace, by a number that Lock::fence() knows; absent: in that of the write.
  std::optional<std::uint16_t> ns{};
};

// Of a namespace (namespace.h); fixed when it is made.
struct NamespaceOptions {
  // Of patterns, subtrees and paths in this namespace, whatever the options of a call say.
  char separator = '.';
  // ASCII letters of keys, prefixes and patterns count, and are kept, in lower case.
  bool fold_case = false;
  // A key that is no path (path.h) is refused: invalid_key, and the position of the byte that is to blame.
  bool check_paths = false;
  // Keys lose their empty segments, "//a//b/" is "a/b". Not together with check_paths.
  bool normalise_paths = false;
  // What the namespace may keep where the store is full and has to evict: 1 to 100 per cent of what all entries take, 100 for
  // all namespaces together. Who has most of his share loses first, in turn with others who have as much of theirs; the
  // namespaces without a share, the default one among them, are one in this, with what the shares leave. So nobody
  // loses his share to another's writes, and what somebody doesn't use others may. Bytes are counted.
  unsigned share_percent = 0;
};

inline constexpr std::size_t kMetadataBytesMax = 4'096;

// What a write asks for beside its value. Conditions are judged on the key's state at the moment of the write.
struct SetOptions {
  // Lifetime from now, > 0 and up to 139 years. Absent: the entry lives until it is removed.
  std::optional<std::chrono::milliseconds> ttl{};
  // Time to idle: the entry lives until it has not been read or written for so long; > 0 and up to 8.6 years, rounded up
  // by less than a 63rd. get, get_entry, get_metadata, exists, visit, hold, get_or_load, get_many (not at one moment) are reads. The deadline
  // is moved only when an eighth of the time has gone by since it was last, so an entry lives 7/8 to 1 of `idle` past its
  // last read. Costs an entry 16 bytes, and such a read a look at the clock. expire() and persist() take it away. Not
  // together with ttl or keep_ttl, nor with Draft::publish.
  std::optional<std::chrono::milliseconds> idle{};
  // Keep the deadline or the idle time that the key has. Not together with ttl.
  bool keep_ttl = false;
  bool if_absent = false;   // else: exists
  bool if_present = false;  // else: not_found
  std::optional<std::uint64_t> if_version{};  // else: mismatch (also for a missing key)
  // Whether the entry may be evicted. One that may not stays until it is removed or expires, and keeps that through
  // append, increment, update and compare_and_swap.
  bool evictable = true;
  // Names by which del_tag finds the entry: up to 16, of 1 to 255 bytes each, 1,000 bytes together. The bytes are copied.
  // A set replaces those that the entry had; append, increment, update, compare_and_swap and expire keep them. Cost 8 bytes
  // an entry, 2 more and each tag's bytes and one. Not with Draft::publish.
  std::span<const std::string_view> tags{};
  // The entry goes when this lease ends (lease.h): not_found (lease) if it has. A set without it detaches the entry; append,
  // increment, update, compare_and_swap and expire keep it attached. Costs an entry 19 bytes (9 beside tags), and its reads a
  // second look-up. Not with Draft::publish.
  LeaseId lease = 0;
  // Bytes of the user's own beside the value, up to 4,096: too_large (metadata) past that. They are copied. What they mean is the
  // user's affair; metadata.h has names and values in them. A set without them clears those that the entry had; append, increment,
  // update, compare_and_swap, expire and Lease::attach keep them; set_metadata changes them alone. Cost 8 bytes an entry and 4 more
  // (2 beside tags or a lease), and nothing where there are none. Not together with keep_metadata, nor with Draft::publish.
  std::string_view metadata{};
  // Keep those that the key has at the moment of the write. Not with Draft::publish.
  bool keep_metadata = false;
  // Only while this lock is held with this token, at the moment of the write: else mismatch (fence), and nothing was changed.
  // The set is a batch of two then (WriteBatch::require_fence), with an allocation of private memory. Not with
  // return_previous, in a batch, nor with Draft::publish.
  std::optional<Fence> if_fence{};
  // Receives the value that was replaced (empty if there was none), of the same moment.
  Value* return_previous = nullptr;
};

}  // namespace tern

#endif  // TERN_OPTIONS_H_
