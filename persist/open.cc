// Store::open of a snapshot: every block is read, verified and its records placed in a new store, by several threads that
// each take whole shards; if one finds damage, the store is thrown away and the generation before is tried.
#include <algorithm>
#include <cerrno>
#include <new>
#include <utility>

#include <tern/store.h>

#include "alloc/platform.h"
#include "alloc/private_memory.h"
#include "engine/store_core.h"
#include "persist/fault.h"
#include "persist/format.h"
#include "persist/generations.h"
#include "persist/ownership.h"
#include "persist/placing.h"
#include "persist/reader.h"
#include "persist/shard_load.h"

namespace tern::persist {
namespace {

namespace platform = alloc::platform;
using Sync = detail::StdSync;

// A packed block says in 64 bytes of the file that it holds forty thousand records. A table is made at once for as many as the
// file could hold plain, and so many: 15 MiB. It grows where more of them come.
constexpr std::uint64_t kEntriesTakenOnTrust = 1 << 20;

// A file's blocks, for ShardLoad.
struct FileShards {
  const Reader& reader;
  detail::StoreCore& store;
  const Instant opened;

  class Taker {
   public:
    explicit Taker(const FileShards& from) noexcept : from_(from) {}
    bool take(detail::Thread<Sync>& t, unsigned shard, Loaded& loaded, Trouble& trouble) noexcept {
      const ShardEntry& s = from_.reader.shard(shard);
      Placing placing(from_.reader, from_.store, from_.opened);
      for (std::uint64_t b = s.first_block; trouble.ok() && b != s.first_block + s.block_count; ++b) {
        if (from_.reader.read_block(b, buffer_, trouble).status != Status::kOk) break;
        placing.place_block(t, shard, b, buffer_, Placing::Others::kNone, trouble);
      }
      loaded.placed += placing.placed;
      loaded.expired += placing.expired;
      loaded.left_out += placing.left_out;
      return trouble.ok();
    }

   private:
    const FileShards& from_;
    BlockBuffer buffer_;
  };
};

// No removed key of the shard, in any life, had a greater version.
void raise_floors(const Reader& reader, detail::Core<Sync>& core) noexcept {
  const unsigned of_file = reader.header().shard_count, of_store = core.table.shard_count();
  for (unsigned i = 0; i != of_store; ++i) {
    std::uint64_t floor = core.space.version_base;
    const unsigned first = of_file >= of_store ? i * (of_file / of_store) : i / (of_store / of_file);
    const unsigned count = of_file >= of_store ? of_file / of_store : 1;
    for (unsigned f = first; f != first + count; ++f) {
      if (reader.shard(f).version_floor > floor) floor = reader.shard(f).version_floor;
    }
    core.table.shard(i).version_floor.store(floor, std::memory_order_seq_cst);  // [floor] seq_cst
  }
}

struct Opened {
  detail::StoreCore* store = nullptr;
  OpenReport report;
};

// A new store with what the file holds, or that will have it.
Error load(Arrivals& arrivals, const Options& options, const SnapshotOptions& how, std::uint64_t version_base, Opened& out,
           Trouble& trouble) noexcept {
  const Reader& reader = arrivals.reader();
  const Header& h = reader.header();
  Options o = options;
  if (o.hash_seed && *o.hash_seed != h.hash_seed) {
    return trouble.refused(reader.name(), {Status::kInvalidArgument, Field::kHashSeed}, "its keys are hashed with another seed than hash_seed");
  }
  o.hash_seed = h.hash_seed;
  o.maintenance = Maintenance::kTick;  // nobody else is inside until all is there
  // What doesn't fit for certain is refused now; what a call brings later answers out_of_memory.
  if (!how.copy && !o.eviction && o.memory == nullptr && h.directory_at - kHeaderBytes > o.memory_bytes) {
    return trouble.refused(reader.name(), {Status::kOutOfRange, Field::kMemoryBytes}, "its contents don't fit into memory_bytes");
  }
  // A table made at its size is quicker to fill, and takes its time to make: 8 of the 9 ms to a first get among a million. One
  // that serves at once grows with the blocks that come.
  if (how.copy && o.entries_expected == 0) {
    const std::uint64_t budget = o.memory != nullptr ? o.memory_size / 2 : o.memory_bytes;
    o.entries_expected = std::min({h.entries, budget / 64, h.file_bytes / detail::kRecordHeaderBytes + kEntriesTakenOnTrust});
  }
  const Result<detail::StoreCore*> made = detail::StoreCore::open(o, how.copy ? detail::StoreCore::FirstTable::kOfExpectedEntries
                                                                                      : detail::StoreCore::FirstTable::kSmall);
  if (!made) return trouble.refused(reader.name(), made.error(), "the store can't be opened with these options");
  detail::StoreCore& store = **made;
  std::uint64_t wall_ms = how.wall_now ? static_cast<std::uint64_t>(how.wall_now->count()) : platform::wall_ns() / 1'000'000;
  if (wall_ms < h.wall_ms) wall_ms = h.wall_ms;  // a clock that was set back gives no entry a longer life
  const Instant opened{wall_ms, store.core.time.now()};
  out.report = {h.generation, h.entries, 0, 0, 0};
  store.core.space.version_base = version_base;  // before the leases come, whose ids are counted from it
  if (how.copy) {
    const FileShards shards{reader, store, opened};
    ShardLoad<FileShards> work(shards, h.shard_count, store, reader.name());
    Loaded loaded;
    trouble = {};
    if (const Error e = work.run(load_threads(how.threads, options), loaded, trouble); e.status != Status::kOk) {
      store.drop_handle();
      return e;
    }
    out.report = {h.generation, loaded.placed, loaded.expired, loaded.left_out, 0};
  }
  raise_floors(reader, store.core);
  store.birth_wall_ms = h.birth_wall_ms;
  if (how.copy) {
    arrivals.let_go();
  } else {
    arrivals.serve(store, opened);
  }
  out.store = &store;
  return {};
}

// Whether the generation before is to be tried: this one is damaged, on the disk or in the reading.
bool is_damage(const Trouble& trouble) noexcept {
  return trouble.error.status == Status::kCorrupt || (trouble.error.status == Status::kIo && trouble.fault.system_error == EIO);
}

bool is_there(const FileName& name) noexcept {
  int error = 0;
  platform::File file = platform::open_file(name.text, platform::OpenMode::kRead, &error);
  platform::close_file(file);
  return error != ENOENT;
}

Error open(std::string_view path, const Options& options, const SnapshotOptions& how, Opened& out, Trouble& trouble) noexcept {
  void* memory = alloc::private_allocate_aligned(sizeof(Ownership), alignof(Ownership));
  if (memory == nullptr) return trouble.refused("", {Status::kOutOfMemory, Field::kNone}, "no memory for the path's names");
  auto* owner = new (memory) Ownership(path);
  Generations& files = owner->generations;
  Error e;
  // A path where nothing was ever saved stays as it is: no lock file.
  if (!is_there(files.file(0)) && !is_there(files.file(1))) {
    e = trouble.refused(files.file(0).text, {Status::kNotFound, Field::kPath}, "there is no snapshot");
  } else if (how.own) {
    e = files.lock(trouble);
  }
  Trouble first;
  unsigned missing = 0;
  for (unsigned back = 0; e.status == Status::kOk && out.store == nullptr; ++back) {
    if (back != 0) {  // a fresh one for each file
      owner->arrivals.~Arrivals();
      new (&owner->arrivals) Arrivals;
    }
    const Reader& reader = owner->arrivals.reader();
    std::uint64_t version_base = 0;
    e = owner->arrivals.open(files.file(back), trouble);
    // Before the store: a base that was given out and not used does no harm.
    if (e.status == Status::kOk && how.own) {
      const Header& h = reader.header();
      e = files.begin_life(h.version_max > h.version_base ? h.version_max : h.version_base, version_base, trouble);
    }
    if (e.status == Status::kOk) e = load(owner->arrivals, options, how, version_base, out, trouble);
    if (e.status == Status::kOk) {
      out.report.fallbacks = back;
      break;
    }
    const bool is_missing = e.status == Status::kNotFound;
    if (!is_missing && !is_damage(trouble)) break;
    if (first.ok() || (first.error.status == Status::kNotFound && !is_missing)) first = trouble;
    if (options.log != nullptr && !is_missing) options.log(options.log_user, TroubleText(trouble.fault).text);
    // One may be missing where a save was interrupted between two renames.
    missing = is_missing ? missing + 1 : 0;
    if (missing == 2 || back == kGenerationsMax) break;
    e = {};
  }
  if (out.store != nullptr && !first.ok()) {
    trouble = first;  // for who asks why it wasn't the newest
  } else if (e.status != Status::kOk && !first.ok()) {
    trouble = first;
    e = first.error;
  }
  if (out.store != nullptr && (how.own || !how.copy)) {
    owner->generation = out.report.generation;
    out.store->attachment = owner;
  } else {
    owner->~Ownership();
    alloc::private_free(memory);
  }
  return out.store != nullptr ? Error{} : e;
}

}  // namespace
}  // namespace tern::persist

namespace tern {

Result<Store> Store::open_snapshot(std::string_view path, const Options& options, const SnapshotOptions& how) noexcept {
  if (!persist::Generations::is_path(path)) return {Status::kInvalidArgument, Field::kPath};
  if (how.threads > persist::kLoadThreadsMax) return {Status::kOutOfRange, Field::kThreads};
  if (how.wall_now && (how.wall_now->count() < 0 ||
                       static_cast<std::uint64_t>(how.wall_now->count()) > detail::Deadline::kNever)) {
    return {Status::kOutOfRange, Field::kClock};
  }
  persist::Trouble trouble;
  persist::Opened opened;
  const Error e = persist::open(path, options, how, opened, trouble);
  if (how.fault != nullptr) *how.fault = trouble.fault;
  if (e.status != Status::kOk) {
    if (options.log != nullptr) options.log(options.log_user, persist::TroubleText(trouble.fault).text);
    return e;
  }
  detail::StoreCore& store = *opened.store;
  if (how.report != nullptr) *how.report = opened.report;
  persist::tell_left_out(store, opened.report.left_out);
  if (how.copy) store.sweep_what_came();
  if (options.maintenance == Maintenance::kBackground) {
    store.keeper.open();
    store.core.space.upkeep.ask();
    store.core.space.upkeep.pass_on();
  }
  return Result<Store>(Store(&store));
}

}  // namespace tern
