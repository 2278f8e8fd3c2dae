// Store: an in-process cache engine under one memory budget. Start here.
//
//   auto store = tern::Store::open({.memory_bytes = 256 << 20});
//   if (!store) return report(store.error());
//   store->set("player:17", bytes);
//   if (auto hit = store->get("player:17", buffer)) use(buffer.first(*hit));
//
// The operations on keys are in operations.h. A Store is a handle, cheap to copy, usable from any thread; the last
// one closes. A Session is one thread's own handle for its hottest loop.
#ifndef TERN_STORE_H_
#define TERN_STORE_H_

#include <tern/attach.h>
#include <tern/lease.h>
#include <tern/lock.h>
#include <tern/operations.h>
#include <tern/options.h>
#include <tern/result.h>
#include <tern/scan.h>
#include <tern/snapshot.h>
#include <tern/value.h>
#include <tern/view.h>
#include <tern/watch.h>

#include <array>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace tern {

namespace detail {
enum class ViewOwner : std::uint8_t;
}
class Namespace;
struct NamespaceOptions;

// What maintenance has to do now.
struct Owed {
  std::uint64_t room_bytes = 0;  // to be made by eviction, so that writes find memory ready
  std::uint64_t buckets_to_split = 0;
  std::uint64_t limbo_bytes = 0;
  std::uint64_t shards_with_kept_keys = 0;  // that hold versions which were kept for a view
  // A write of this size found no room although other sizes have enough to spare; records are being moved for it.
  // Write again when it is 0.
  std::uint64_t unplaced_bytes = 0;
  // What the budget has yet to fall by to reach what resize() was asked for.
  std::uint64_t shrink_bytes = 0;
  std::uint64_t shards_with_expired = 0;    // where entries may be past their deadline
  std::uint64_t invalidations = 0;          // clear, del_prefix, del_tag: those whose entries are not all swept, or whom a view needs
  std::uint64_t lease_ends = 0;             // leases that have ended: those whose entries are not all swept
  std::uint64_t snapshot_blocks = 0;        // of a snapshot that is being loaded (SnapshotOptions::copy = false)
};

// Counters since open and the state of the budget; a sum over threads and shards that is exact when nobody writes.
struct Stats {
  // Of all namespaces; includes entries past their deadline, or cleared, that nobody has removed yet.
  std::uint64_t entries = 0;
  std::uint64_t namespaces = 0;         // that were opened, or have come from a snapshot
  std::uint64_t namespace_entries = 0;  // of `entries`, those that lie in them
  std::uint64_t hits = 0;
  std::uint64_t misses = 0;
  std::uint64_t sets = 0;
  std::uint64_t deletes = 0;
  std::uint64_t expired = 0;             // removed past their deadline, by maintenance or by a write that met them
  std::uint64_t expiring = 0;            // entries with a deadline
  std::uint64_t tickets = 0;             // entries of the timing wheels: at most 2 x expiring + 1,024 a shard, or soon so
  std::uint64_t refused = 0;             // writes that found no room: out_of_memory, or dropped
  std::uint64_t moves = 0;               // records moved so that their memory can serve other sizes
  std::uint64_t dropped = 0;             // of them, those that answered ok (WhenFull::kDrop)
  std::uint64_t inserts = 0;             // entries that appeared; counted where something is evicted
  std::uint64_t evicted = 0;             // entries that made room
  std::uint64_t ghost_hits = 0;          // inserts of keys that were evicted lately: what about twice the memory would have kept
  std::uint64_t cleared = 0;             // entries that clear, del_prefix or del_tag removed, as far as they are swept
  std::uint64_t leases = 0;              // those past their deadline included until they are removed
  std::uint64_t unevictable = 0;         // entries there now that are never evicted
  std::uint64_t queue_small = 0;         // entries of eviction's queues, void ones included
  std::uint64_t queue_main = 0;
  std::uint64_t memory_bytes = 0;        // the budget
  std::uint64_t memory_used_bytes = 0;   // of it: table + records + overhead, in whole spans
  std::uint64_t table_bytes = 0;
  std::uint64_t record_bytes = 0;        // spans and extents that hold records, free blocks in them included
  std::uint64_t overhead_bytes = 0;
  std::uint64_t index_bytes = 0;         // of record_bytes: what the ordered index takes (Options::ordered)
  std::uint64_t limbo_bytes = 0;         // replaced or removed, waiting until no reader can hold them
  std::uint64_t limbo_bytes_max = 0;     // past it writes answer out_of_memory
  std::uint64_t held_bytes = 0;
  std::uint64_t held_values = 0;
  std::uint64_t views = 0;               // not closed yet, those that the store opened for itself included
  std::uint64_t views_ended = 0;         // before they were closed, to make room
  std::uint64_t kept_versions = 0;       // older versions that stay for views
  std::uint64_t kept_bytes = 0;          // what they take of the budget
  std::uint64_t watches = 0;             // that listen now; a set counts as one
  std::uint64_t event_bytes = 0;         // replaced or removed records that events, watches or held values keep
  std::uint64_t events_shortened = 0;    // how often want of memory took events that nobody had read yet
  std::uint64_t watch_lag = 0;           // changes that the slowest watch has yet to look at
  std::uint64_t watch_gaps = 0;          // gaps that watches were told of, since open
  std::uint64_t watch_lost = 0;          // changes lost in them: each watch's own, added up
  std::uint64_t huge_page_bytes = 0;     // what the system granted when last asked
  std::uint64_t buckets = 0;
  std::uint64_t threads = 0;             // registered thread states
  std::uint64_t epoch = 0;
  Owed owed;
  std::uint64_t keeper_turns = 0;          // of the thread that does maintenance; 0: it was not needed yet, or isn't wanted
  std::uint64_t keeper_failed_starts = 0;  // the system refused that thread
  std::uint64_t periodic_saves = 0;        // that went well (Store::save_periodically)
  std::uint64_t periodic_save_errors = 0;
  Status periodic_save_status = Status::kOk;      // of the last one
  std::chrono::milliseconds periodic_saved_at{};  // since 1970, the end of the last one that went well
};

// Where a key's record lies and what it costs.
struct Inspection {
  std::uint64_t version = 0;
  std::uint64_t stamp = 0;          // where views order this change
  std::size_t key_bytes = 0;
  std::size_t value_bytes = 0;
  std::size_t block_bytes = 0;      // what the record takes of the budget
  unsigned shard = 0;
  std::uint64_t bucket = 0;
  unsigned slot = 0;                // 0 to 6 in the bucket itself, 7 and more in its overflow chain
  unsigned older_versions = 0;      // kept for open views
  unsigned holds = 0;
  std::optional<std::chrono::milliseconds> ttl{};
};

// How entries are spread over the table, and how much they are read.
struct Census {
  std::uint64_t entries = 0;
  std::uint64_t buckets = 0;                       // homes, of all shards
  std::array<std::uint64_t, 16> by_entries{};      // homes with so many entries in their chain; the last: 15 and more
  std::array<std::uint64_t, 4> by_overflow{};      // homes with so many overflow buckets; the last: 3 and more
  // Entries that were read so often, as eviction counts it: up to 3 (up to 2 of one key in many, and of every key of a small
  // store), one less each time that a full store passes an entry over. With eviction off nobody counts: all are 3.
  std::array<std::uint64_t, 4> by_reads{};
};

// Something that keeps memory from being reused.
struct Holder {
  enum class Kind : std::uint8_t { kHeldValues, kView, kParkedThread, kSlowWatch };
  Kind kind = Kind::kHeldValues;
  std::uint64_t id = 0;           // thread: the system's thread id; view: its stamp; watch: Watch::id, WatchSet::id
  // Held values: bytes kept. Thread: bytes in limbo. View: older versions that it needs, those included that another view
  // needs, too; 0 once it was ended to make room. Watch: of the replaced records that the rings keep, the part that falls on
  // changes which it has yet to look at, an estimate; others may have to look at them, too.
  std::uint64_t bytes = 0;
  std::uint64_t epochs_behind = 0;  // thread: how old the epoch is that it announces
  std::chrono::milliseconds age{0};  // view: since it was opened; watch: since it last looked at a change, or began
  std::uint64_t behind = 0;  // watch: changes that it has yet to look at, those included that it has lost by now
};

// operations.h, and the scans of scan.h as a Store's.
class TERN_API Session : public Operations<Session>, public InOrder<Session> {
 public:
  Session() noexcept = default;
  Session(Session&& other) noexcept;
  Session& operator=(Session&& other) noexcept;
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session();

  detail::Context context() const noexcept { return context_; }

 private:
  friend class Store;
  friend class InOrder<Session>;
  Result<bool> scan_entries(const ScanOptions& options, ScanCursor* cursor, detail::EntryFn fn) const noexcept;
  PatternOptions pattern_options(const PatternOptions& asked) const noexcept { return asked; }

  detail::Context context_;
};

// scan, iterate, keys, get_pattern, get_subtree: see scan.h. Each shows a view of the call.
class TERN_API Store : public Operations<Store>, public InOrder<Store> {
 public:
  // Errors: invalid_argument and out_of_range (field: the option), out_of_memory (the mapping was refused).
  static Result<Store> open(const Options& options = {}) noexcept;
  // A store with the contents of a snapshot (snapshot.h). Every byte is verified; what has expired meanwhile is left out;
  // the rest is as it was saved: values, versions, deadlines by the wall clock, idle times, whether it is evictable. Errors
  // beside those above: not_found (no generation there), corrupt (damaged, none older), unsupported (written by a newer
  // version), unavailable (another store or process has it open for writing), out_of_range (it doesn't fit the budget),
  // invalid_argument (hash_seed: not the file's), io. SnapshotOptions::fault says which file, where and why.
  // O(bytes of the file), on several threads.
  template <std::convertible_to<std::string_view> Path>
  static Result<Store> open(const Path& path, const Options& options = {}, const SnapshotOptions& how = {}) noexcept {
    return open_snapshot(std::string_view(path), options, how);
  }

  // A store that lies in the file PATH, in shared memory, and goes on where the one before it ended, however that was (attach.h). The
  // entries are brought over into a new file, which then takes the old one's place: so nothing that a killed process may have left
  // half-done is gone on with, a call that is killed itself leaves all as it was, and budget, shards, order and eviction may be others
  // than before. It takes as much memory as both files until it returns, and O(entries) time: persist/README.md has figures. Not
  // together with Options::memory. With Options::clock, the clock must go on from one life to the next. Errors beside
  // those of open(): unavailable (path: another store or process has it), corrupt (path: no store's, or damaged), unsupported (path: laid out
  // by another version, made before the machine started last, or on a file system that can't), invalid_argument (hash_seed or clock: not
  // the file's), out_of_range (memory_bytes, entries_max or value_bytes_max: the entries don't fit), out_of_memory (the file
  // system is full), io. AttachOptions::fault says which file and why; after an error the file is as it was.
  static Result<Store> attach(std::string_view path, const Options& options = {}, const AttachOptions& how = {}) noexcept;

  Store() noexcept = default;  // closed
  Store(const Store& other) noexcept;
  Store& operator=(const Store& other) noexcept;
  Store(Store&& other) noexcept;
  Store& operator=(Store&& other) noexcept;
  ~Store();

  // From here on every call on every handle answers `closed`. Memory is given back when the last handle, session,
  // draft and held value are gone. Idempotent.
  void close() noexcept;
  bool is_open() const noexcept;

  // The calling thread's own handle: saves the look-up of thread-local state, about 1 ns a call. Belongs to the
  // calling thread; counts as a handle.
  Result<Session> session() const noexcept;

  // The store as it is at one moment during this call; see view.h. One addition to the clock that orders changes: waits
  // for nobody, whatever the size of the store. At most kViewsMax at once: else too_large (views).
  Result<View> view() const noexcept;

  // The namespace of this name; include <tern/namespace.h>. It is made if there is none, in the first form with what
  // NamespaceOptions says without being told. Errors: invalid_argument (name: empty; separator, fold_case, check_paths,
  // normalise_paths, share_percent: there is a namespace of this name, and with another one; or paths both checked and
  // normalised), too_large (name: more than 63 bytes; namespaces: there are 1,024), out_of_range (share_percent: past 100, alone
  // or all together), out_of_memory, and those of Store::set. A look-up among the names: keep the handle.
  // In a store that still serves from a snapshot's file (SnapshotOptions::copy = false) one that is made first brings the directory's blocks.
  Result<Namespace> ns(std::string_view name) const noexcept;
  Result<Namespace> ns(std::string_view name, const NamespaceOptions& options) const noexcept;

  // Removes what the pattern, the expression, or a node of a hierarchy and all below it, stands for at one moment during the
  // call, and was not changed or removed since; answers how many. An entry that is set meanwhile stays. Not at one moment
  // themselves: one removal after the other. Costs a scan (scan.h), a copy of the keys outside the budget, and a del of
  // each. Errors: as of scan and of del; after out_of_memory and closed some may be gone.
  Result<std::uint64_t> del_pattern(const Pattern& pattern) const noexcept;
  Result<std::uint64_t> del_pattern(std::string_view pattern, const PatternOptions& how = {}) const noexcept;
  Result<std::uint64_t> del_regex(const Regex& regex) const noexcept;
  Result<std::uint64_t> del_subtree(std::string_view node, char separator = '.') const noexcept;

  // Every change from here on of one key, of the keys that begin with `prefix` (all, if it is empty), that a glob
  // (pattern.h) or a regular expression (regex.h) stands for; see watch.h. out_of_memory (ring_bytes): there is no room for
  // the rings; (watches): as many watch as can. The errors of Pattern::compile and Regex::compile.
  Result<Watch> watch_key(std::string_view key, const WatchOptions& options = {}) const noexcept {
    return watch(context(), detail::WatchKind::kKey, key, options);
  }
  Result<Watch> watch_prefix(std::string_view prefix, const WatchOptions& options = {}) const noexcept {
    return watch(context(), detail::WatchKind::kPrefix, prefix, options);
  }
  Result<Watch> watch_glob(std::string_view glob, const WatchOptions& options = {}) const noexcept {
    return watch(context(), detail::WatchKind::kGlob, glob, options);
  }
  Result<Watch> watch_regex(std::string_view expression, const WatchOptions& options = {}) const noexcept {
    return watch(context(), detail::WatchKind::kRegex, expression, options);
  }

  // A lease that ends in `ttl` (1 ms to 139 years), unless it is kept alive; see lease.h. Never evicted. invalid_argument,
  // out_of_range (ttl); out_of_memory (leases): there are as many as may be.
  Result<Lease> lease(std::chrono::milliseconds ttl) const noexcept;
  // One that was granted before, by its id; whether it is alive, its calls say.
  Lease lease_of(LeaseId id) const noexcept;

  // Gets the lock of this name (1 to 65,521 bytes), waiting for it as long as the options say; see lock.h. timed_out (lock):
  // somebody else has it, or comes before. not_found (lease): options.lease has ended. The errors of lease() and of a set; with
  // options.wait also those of a watch.
  Result<Lock> lock(std::string_view name, const LockOptions& options = {}) const noexcept;
  // The same without waiting.
  Result<Lock> try_lock(std::string_view name, LockOptions options = {}) const noexcept {
    options.wait = std::chrono::milliseconds(0);
    return lock(name, options);
  }
  // For who has only the token. mismatch (token): the lock is held with another, or not at all.
  Result<void> unlock(std::string_view name, std::uint64_t token) const noexcept;
  // Who has it now; a miss: nobody.
  Lookup<LockInfo> lock_info(std::string_view name) const noexcept;

  // Removes every entry that is past its deadline now, and answers how many there were. Lock-free; safe from any
  // thread, at any time; O(entries that are due). Reads miss them whether or not they are removed: this gives their
  // memory back at once instead of with the next ticks. What get_or_load still gives out as stale stays.
  Result<std::uint64_t> cleanup_expired() const noexcept;

  // Does owed work (reclamation, growth, expiry, versions that closed views no longer need) for about `budget` and says
  // what remains. Bounded steps; safe from any thread, at any time, also beside the background thread
  // (Options::maintenance), which does the same by itself. Then dispatchers that were opened for it call back (DispatchOn::kTick).
  Result<Owed> tick(std::chrono::microseconds budget) const noexcept;

  // Writes the store as it stands at one moment during this call to a snapshot (snapshot.h) at `path`, in the calling
  // thread, while others go on. Versions that are replaced meanwhile stay for it, as for a view: a save that keeps more of
  // them than Options::view_bytes_max, or that stands in the way of room, ends with view_expired. Errors beside that:
  // unavailable (somebody else saves there, or owns it), invalid_argument (path, keep), io, cancelled, out_of_memory. Every one leaves what
  // was there before. A failed synchronisation is never tried again.
  // Extra memory: 1.3 MiB a thread and a 500th of the file, outside the budget. Time: about that of writing the file.
  Result<SaveReport> save(std::string_view path, const SaveOptions& options = {}) const noexcept;
  // From now on, until the store is closed, a thread of the store's own saves to `path` again and again. What becomes of it
  // is in Stats (periodic_saves and what follows); after an error it tries again when the time has come. Once in the life of
  // a store: exists. Errors beside that: invalid_argument (path, keep), out_of_range (every, threads), out_of_memory and
  // unavailable (no thread). Dropping the last handle ends a save that is under way, and waits for the file operation that it is in.
  Result<void> save_periodically(std::string_view path, const PeriodicSave& how = {}) const noexcept;

  // O(threads, shards and watches).
  Stats stats() const noexcept;
  // Bytes of the budget that the key's record takes.
  Lookup<std::size_t> memory_usage(std::string_view key) const noexcept;
  Lookup<Inspection> inspect(std::string_view key) const noexcept;

  // Goes over the whole table, some 30 ns an entry. fn(key, reads) for each key of the default namespace, in no order: keep the
  // hottest or the coldest. It may read the store but not write to it, and holds back the reuse of memory while it runs. A key that
  // is written meanwhile may be missed or come twice. Errors: closed, out_of_memory (for the thread's state). Lock-free.
  Result<Census> census(FunctionRef<void(std::string_view key, unsigned reads)> fn) const noexcept;
  Result<Census> census() const noexcept { return census([](std::string_view, unsigned) {}); }
  // Calls fn(const Holder&) for each; O(threads, shards and watches). A watch that has looked at everything is none; one that is a
  // few changes behind for a moment is: look at `behind` and `age`. fn may call the store.
  template <class Fn>
  void holders(Fn&& fn) const noexcept {
    visit_holders(FunctionRef<void(const Holder&)>(fn));
  }
  // Changes the budget within Options::memory_bytes_max. Downwards, what is free goes at once, and its memory back to
  // the system; what lies between records is freed by moving them, in tick(): until then Stats::memory_bytes is what is
  // still used, sinks, and Owed::shrink_bytes says how far it has to go. out_of_range (memory_bytes) if less than what
  // the records take, or more than was reserved; nothing changes then.
  Result<void> resize(std::size_t memory_bytes) const noexcept;
  // Walks the whole store and checks every invariant, with no other thread of the program inside (the store's own waits
  // meanwhile). ok, or corrupt; `report` (if not
  // null) gets a line for each finding.
  Result<void> (verify)(LogHook report = nullptr, void* user = nullptr) const noexcept;  // in brackets: some hosts have a macro of this name

  detail::Context context() const noexcept { return {core_, nullptr}; }

 private:
  friend class InOrder<Store>;
  friend class Session;
  friend class Namespace;
  explicit Store(detail::StoreCore* core) noexcept : core_(core) {}
  // Of a namespace: that of the context.
  static Result<View> view_of_call(const detail::Context& c) noexcept;
  static Result<View> open_view(const detail::Context& c, detail::ViewOwner owner) noexcept;
  Result<bool> scan_entries(const ScanOptions& options, ScanCursor* cursor, detail::EntryFn fn) const noexcept;
  PatternOptions pattern_options(const PatternOptions& asked) const noexcept { return asked; }
  static Result<std::uint64_t> del_scanned(const detail::Context& c, const ScanOptions& options) noexcept;
  Result<Namespace> open_namespace(std::string_view name, const NamespaceOptions* options) const noexcept;
  static Result<Store> open_snapshot(std::string_view path, const Options& options, const SnapshotOptions& how) noexcept;
  static Result<Watch> watch(const detail::Context& c, detail::WatchKind kind, std::string_view text,
                             const WatchOptions& options) noexcept;
  static Result<Lock> lock(const detail::Context& c, std::string_view name, const LockOptions& options) noexcept;
  static Result<void> unlock(const detail::Context& c, std::string_view name, std::uint64_t token) noexcept;
  static Lookup<LockInfo> lock_info(const detail::Context& c, std::string_view name) noexcept;
  void visit_holders(FunctionRef<void(const Holder&)> fn) const noexcept;

  detail::StoreCore* core_ = nullptr;
};

}  // namespace tern

#endif  // TERN_STORE_H_
