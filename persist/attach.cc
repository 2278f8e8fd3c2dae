// Store::attach: a store in shared memory. What the one before it has left is brought over into a new file, shard by shard.
#include <cerrno>
#include <new>
#include <utility>

#include <tern/store.h>

#include "alloc/private_memory.h"
#include "engine/store_core.h"
#include "persist/arena_file.h"
#include "persist/dead_arena.h"
#include "persist/generations.h"
#include "persist/placing.h"
#include "persist/shard_load.h"

namespace tern::persist {
namespace {

using Sync = detail::StdSync;

// A dead store's shards, for ShardLoad.
struct DeadShards {
  const DeadArena& dead;
  detail::StoreCore& store;
  const std::uint64_t now_ms;

  class Taker {
   public:
    explicit Taker(const DeadShards& from) noexcept : from_(from) {}
    bool take(detail::Thread<Sync>& t, unsigned shard, Loaded& loaded, Trouble& trouble) noexcept {
      const auto put = [&](const detail::TakenIn& in, std::uint64_t hash) noexcept { return place(t, in, hash, loaded, trouble); };
      const auto& keys = from_.store.core.space.geometry.hash_keys;
      return from_.dead.for_each_entry(shard, keys, scratch_, loaded.version_max, trouble, put).status == Status::kOk;
    }

   private:
    Error place(detail::Thread<Sync>& t, const detail::TakenIn& in, std::uint64_t hash, Loaded& loaded, Trouble& trouble) noexcept {
      using Outcome = detail::Intake<Sync>::Outcome;
      const char* const file = from_.dead.name();
      if (in.has_deadline && in.deadline_ms <= from_.now_ms) {
        ++loaded.expired;
        return {};
      }
      if (in.value.size() > from_.store.value_bytes_max) {
        return trouble.refused(file, {Status::kOutOfRange, Field::kValueBytesMax}, "a value is longer than value_bytes_max");
      }
      detail::Intake<Sync> intake(from_.store.core);
      const Outcome outcome = intake.has_room() ? intake.place(t, hash, in) : Outcome::kNoMemory;
      if (outcome == Outcome::kPlaced) {
        ++loaded.placed;
        return {};
      }
      if (outcome == Outcome::kTwice) return from_.dead.damaged(0, trouble, "a key is there twice");
      if (from_.store.core.evicts) {
        ++loaded.left_out;
        return {};
      }
      if (outcome == Outcome::kFull) {
        return trouble.refused(file, {Status::kOutOfRange, Field::kEntriesMax}, "it has more entries than entries_max");
      }
      return trouble.refused(file, {Status::kOutOfRange, Field::kMemoryBytes}, "its contents don't fit into memory_bytes");
    }

    const DeadShards& from_;
    DeadArena::Scratch scratch_;
  };
};

// Brings over what the dead store has. The new one gives out no version and no lease's id that was given out before.
Error bring_over(const DeadArena& dead, detail::StoreCore& store, unsigned threads, AttachReport& report, Trouble& trouble) noexcept {
  auto& core = store.core;
  const DeadShards shards{dead, store, core.time.now()};
  ShardLoad<DeadShards> work(shards, dead.header().shard_count, store, dead.name());
  Loaded loaded;
  if (const Error e = work.run(threads, loaded, trouble); e.status != Status::kOk) return e;
  const std::uint64_t last = loaded.version_max > dead.version_max() ? loaded.version_max : dead.version_max();
  if (last > detail::kVersionMask - 2 * kVersionsALife) {
    return trouble.refused(dead.name(), {Status::kOutOfRange, Field::kPath},
                           "all versions were given out: versions can only begin anew in a new file");
  }
  core.space.version_base = planted(DeadBug::kBaseStays) ? 0 : last / kVersionsALife * kVersionsALife + kVersionsALife;
  for (unsigned i = 0; i != core.table.shard_count(); ++i) {
    core.table.shard(i).version_floor.store(core.space.version_base, std::memory_order_seq_cst);  // [floor] seq_cst
  }
  store.birth_wall_ms = dead.header().birth_wall_ms;
  report = {true, dead.was_closed(), loaded.placed, loaded.expired, loaded.left_out};
  return {};
}

// `file`, in private memory, is the store's after ok.
Error attach(ArenaFile& file, const Options& options, const AttachOptions& how, AttachReport& report, detail::StoreCore*& out,
             Trouble& trouble) noexcept {
  DeadArena dead;
  if (const Error e = file.lock(trouble); e.status != Status::kOk) return e;
  const Error found = dead.open(file.path(), trouble);
  if (found.status != Status::kOk && found.status != Status::kNotFound) return found;
  const bool is_there = found.status == Status::kOk;
  trouble = {};
  Options o = options;
  o.maintenance = Maintenance::kTick;  // nobody else is inside until all is there
  if (is_there) {
    const ArenaHeader& h = dead.header();
    if (o.hash_seed && *o.hash_seed != h.hash_seed) {
      return trouble.refused(dead.name(), {Status::kInvalidArgument, Field::kHashSeed}, "its keys are hashed with another seed than hash_seed");
    }
    if ((o.clock != nullptr) != (h.own_clock != 0)) {
      return trouble.refused(dead.name(), {Status::kInvalidArgument, Field::kClock},
                             h.own_clock != 0 ? "its deadlines are by a clock of the caller's" : "its deadlines are by the system's clock");
    }
    o.hash_seed = h.hash_seed;
    const std::uint64_t most = o.memory_bytes / 64;
    if (o.entries_expected == 0) o.entries_expected = dead.entries() < most ? dead.entries() : most;
  }
  if (const Error e = file.create(trouble); e.status != Status::kOk) return e;
  const Result<detail::StoreCore*> made = detail::StoreCore::open(o, detail::StoreCore::FirstTable::kOfExpectedEntries, &file);
  if (!made) return trouble.refused(file.path().text, made.error(), "the store can't be opened with these options, or its file system is full");
  out = *made;
  if (is_there) {
    if (const Error e = bring_over(dead, *out, load_threads(how.threads, options), report, trouble); e.status != Status::kOk) return e;
  }
  return file.take_place(*out, options.clock != nullptr, trouble);
}

}  // namespace
}  // namespace tern::persist

namespace tern {

Result<Store> Store::attach(std::string_view path, const Options& options, const AttachOptions& how) noexcept {
  if (!persist::Generations::is_path(path)) return {Status::kInvalidArgument, Field::kPath};
  if (how.threads > persist::kLoadThreadsMax) return {Status::kOutOfRange, Field::kThreads};
  if (options.memory != nullptr) return {Status::kInvalidArgument, Field::kMemory};
  void* const memory = alloc::private_allocate_aligned(sizeof(persist::ArenaFile), alignof(persist::ArenaFile));
  if (memory == nullptr) return Status::kOutOfMemory;
  auto* const file = new (memory) persist::ArenaFile(path);
  persist::Trouble trouble;
  AttachReport report;
  detail::StoreCore* store = nullptr;
  const Error e = persist::attach(*file, options, how, report, store, trouble);
  if (how.fault != nullptr) *how.fault = trouble.fault;
  if (e.status != Status::kOk) {
    if (options.log != nullptr) options.log(options.log_user, persist::TroubleText(trouble.fault).text);
    if (store != nullptr) {
      store->drop_handle();  // and the file with it
    } else {
      file->~ArenaFile();
      alloc::private_free(memory);
    }
    return e;
  }
  if (how.report != nullptr) *how.report = report;
  persist::tell_left_out(*store, report.left_out);
  store->sweep_what_came();
  if (options.maintenance == Maintenance::kBackground) {
    store->keeper.open();
    store->core.space.upkeep.ask();
    store->core.space.upkeep.pass_on();
  }
  return Result<Store>(Store(store));
}

}  // namespace tern
