// Store::save: a view walked by one thread or several (walker.h), then directory and header, then the file's own name.
#include <algorithm>
#include <cstring>
#include <new>

#include <tern/store.h>

#include "alloc/platform.h"
#include "alloc/platform_worker.h"
#include "alloc/private_memory.h"
#include "engine/store_core.h"
#include "engine/views.h"
#include "persist/codec.h"
#include "persist/fault.h"
#include "persist/format.h"
#include "persist/generations.h"
#include "persist/ownership.h"
#include "persist/reader.h"
#include "persist/save.h"
#include "persist/walker.h"
#include "simd/checksum.h"

namespace tern::persist {

using Sync = detail::StdSync;

namespace {

namespace platform = alloc::platform;
using ViewsNow = detail::Views<Sync>;

constexpr unsigned kSaveThreadsMax = 16;
constexpr unsigned kSaveThreadsByDefaultMax = 4;
// Fewer are saved sooner than a thread begins.
constexpr std::uint64_t kEntriesOfAThread = 64 << 10;
constexpr std::uint64_t kLookNs = 2'000'000;  // while the other threads end

class Saver {
 public:
  Saver(detail::StoreCore& store, const SaveOptions& options, Generations& generations, std::uint64_t last_generation,
        Trouble& trouble) noexcept
      : store_(store),
        core_(store.core),
        options_(options),
        generations_(generations),
        last_generation_(last_generation),
        trouble_(trouble) {}
  ~Saver() {
    for (unsigned i = 0; i != walker_count_; ++i) {
      walkers_[i]->~Walker();
      alloc::private_free(walkers_[i]);
    }
    platform::close_file(work_.file);
    if (made_) platform::remove_file(temporary_.text);
    alloc::private_free(work_.shards);
    alloc::private_free(directory_);
    if (work_.view.opened.ok()) ViewsNow(core_).close(store_.is_closed() ? nullptr : store_.thread(), work_.view);
  }
  Saver(const Saver&) = delete;
  Saver& operator=(const Saver&) = delete;

  Error run(SaveReport& report) noexcept {
    if (Error e = begin(); e.status != Status::kOk) return e;
    if (Error e = walk(); e.status != Status::kOk) return e;
    if (Error e = finish(); e.status != Status::kOk) return e;
    report = {header_.generation, header_.entries, header_.file_bytes};
    return {};
  }

 private:
  Error refuse(Error why, const char* what) noexcept { return trouble_.refused(temporary_.text, why, what); }
  Error no_memory() noexcept { return refuse({Status::kOutOfMemory, Field::kNone}, "no memory for the save's own work"); }

  Error not_synchronised(int error) noexcept { return trouble_.system(temporary_.text, "the file can't be synchronised", error); }

  Error begin() noexcept {
    temporary_ = generations_.temporary();
    const unsigned shards = core_.table.shard_count();
    work_.shards = static_cast<SaveWork::ShardDone*>(alloc::private_allocate(sizeof(SaveWork::ShardDone) * shards));
    if (work_.shards == nullptr) return no_memory();
    work_.codec = static_cast<Codec>(options_.codec);
    for (unsigned i = 0; i != shards; ++i) new (work_.shards + i) SaveWork::ShardDone{};
    expected_ = core_.live_entries();
    if (!add_walker()) return no_memory();
    for (unsigned n = threads(); walker_count_ < n && add_walker();) {
    }
    header_.generation = std::max(newest_generation(generations_), last_generation_) + 1;
    int error = 0;
    work_.file = platform::open_file(temporary_.text, platform::OpenMode::kCreate, &error);
    if (error != 0) return trouble_.system(temporary_.text, "the temporary file can't be made", error);
    made_ = true;
    std::memcpy(header_.magic, kMagic, sizeof kMagic);
    header_.format_version = version_of(work_.codec);
    header_.byte_order = kByteOrder;
    header_.header_bytes = kHeaderBytes;
    header_.shard_count = shards;
    header_.version_base = core_.space.version_base;
    header_.hash_seed = core_.space.seed;
    header_.birth_wall_ms = store_.birth_wall_ms;
    header_.memory_bytes = core_.space.heap.budget_bytes();
    static_assert(sizeof(TERN_VERSION_TEXT) <= sizeof header_.engine);
    std::memcpy(header_.engine, TERN_VERSION_TEXT, sizeof(TERN_VERSION_TEXT) - 1);
    std::memcpy(header_.name, store_.name, sizeof header_.name);
    // Nothing has been kept for it until now.
    work_.view = ViewsNow(core_).open();
    if (!work_.view.opened.ok()) return refuse({Status::kTooLarge, Field::kViews}, "too many views are open");
    work_.wall_ms = options_.wall_now ? static_cast<std::uint64_t>(options_.wall_now->count()) : platform::wall_ns() / 1'000'000;
    header_.view_stamp = work_.view.opened.stamp;
    header_.wall_ms = work_.wall_ms;
    if (header_.birth_wall_ms == 0 || header_.birth_wall_ms > work_.wall_ms) header_.birth_wall_ms = work_.wall_ms;
    work_.started_ns = platform::monotonic_ns();
    return {};
  }

  unsigned threads() const noexcept {
    std::uint64_t n = options_.threads;
    if (n == 0) {
      // Half of the processors stay with those who are served, where there are more than two.
      const unsigned processors = platform::hardware_threads();
      n = std::min({std::max(processors / 2, 2U), processors, kSaveThreadsByDefaultMax});
      n = std::min(n, expected_ / kEntriesOfAThread);
      if (core_.space.upkeep.keeper == nullptr) n = 1;
    }
    return static_cast<unsigned>(std::clamp<std::uint64_t>(n, 1, core_.table.shard_count()));
  }

  // With less memory there are fewer.
  bool add_walker() noexcept {
    void* memory = alloc::private_allocate_aligned(sizeof(Walker), alignof(Walker));
    if (memory == nullptr) return false;
    auto* walker = new (memory) Walker(work_, walker_count_);
    if (walker->prepare()) {
      walkers_[walker_count_++] = walker;
      return true;
    }
    walker->~Walker();
    alloc::private_free(memory);
    return false;
  }

  Error walk() noexcept {
    detail::Thread<Sync>* t = store_.thread();
    if (t == nullptr) return no_memory();
    struct Turn {
      Saver* saver;
      Walker* walker;
    } turns[kSaveThreadsMax];
    platform::Worker workers[kSaveThreadsMax];
    // Not for a file of a few pieces, as far as that can be told, nor where the store may have no threads.
    if (core_.space.upkeep.keeper != nullptr && core_.space.heap.used_bytes() >= 2 * EarlySync::kBytes) {
      work_.early_sync.start(work_.file, work_.stops);
    }
    for (unsigned i = 1; i < walker_count_; ++i) {
      turns[i] = {this, walkers_[i]};
      work_.at_work.fetch_add(1, std::memory_order_relaxed);  // a count
      const bool started = workers[i].start([](void* turn) noexcept {
        Turn& mine = *static_cast<Turn*>(turn);
        mine.saver->help(*mine.walker);
        return platform::Worker::kEnd;
      }, &turns[i], "tern-save");
      // The system may refuse one: the others do its part.
      if (!started) work_.at_work.fetch_sub(1, std::memory_order_relaxed);  // as above
    }
    walkers_[0]->run(*t, [this]() noexcept { return tell(); });
    while (work_.at_work.load(std::memory_order_relaxed) != 0) {  // a hint: stop() below waits for them
      if (walkers_[0]->trouble().ok() && !tell()) {
        work_.stops.store(true, std::memory_order_relaxed);  // a hint
        break;
      }
      platform::sleep_ns(kLookNs);
    }
    for (auto& w : workers) w.stop();  // from here on this thread has seen what they did
    const int sync_error = work_.early_sync.stop();
    for (unsigned i = 0; i != walker_count_; ++i) {
      if (walkers_[i]->trouble().ok()) continue;
      trouble_ = walkers_[i]->trouble();
      return trouble_.error;
    }
    if (sync_error != 0) return not_synchronised(sync_error);
    if (!tell()) return refuse({Status::kCancelled, Field::kNone}, "given up by its progress function");
    return {};
  }

  void help(Walker& walker) noexcept {
    detail::Thread<Sync>* t = core_.space.register_thread(platform::thread_id() + 1);
    if (t != nullptr) {  // without memory for it, the others do its part
      walker.run(*t, []() noexcept { return true; });
      core_.release_thread(*t);
    }
    work_.at_work.fetch_sub(1, std::memory_order_relaxed);  // a count
  }

  // On the caller's thread. False: it is to be given up.
  bool tell() noexcept {
    if (options_.progress == nullptr) return true;
    const SaveProgress now{work_.entries_written.load(std::memory_order_relaxed), expected_,  // see SaveWork
                           work_.bytes_written.load(std::memory_order_relaxed)};
    if (now.bytes == told_bytes_ && options_.bytes_per_second == 0) return true;
    told_bytes_ = now.bytes;
    return options_.progress(options_.progress_user, now);
  }

  // Shards in order, each with its blocks in the order of their places.
  Error gather() noexcept {
    header_.directory_at = work_.end.load(std::memory_order_relaxed);  // the threads have ended
    for (unsigned i = 0; i != walker_count_; ++i) {
      header_.block_count += walkers_[i]->blocks().count();
      header_.version_max = std::max(header_.version_max, walkers_[i]->version_max());
      if (walkers_[i]->has_metadata()) header_.format_version = kMetadataFormatVersion;
    }
    const std::uint64_t of_shards = std::uint64_t{header_.shard_count} * sizeof(ShardEntry);
    header_.directory_bytes = of_shards + header_.block_count * sizeof(BlockEntry);
    header_.file_bytes = header_.directory_at + header_.directory_bytes;
    directory_ = static_cast<char*>(alloc::private_allocate(header_.directory_bytes));
    if (directory_ == nullptr) return no_memory();
    std::uint64_t blocks = 0;
    for (unsigned i = 0; i != header_.shard_count; ++i) {
      const SaveWork::ShardDone& done = work_.shards[i];
      ShardEntry s = done.entry;
      if (s.block_count != 0) {
        std::memcpy(directory_ + of_shards + blocks * sizeof(BlockEntry), walkers_[done.walker]->blocks().data() + s.first_block,
                    s.block_count * sizeof(BlockEntry));
      }
      s.first_block = blocks;
      blocks += s.block_count;
      header_.entries += s.entries;
      std::memcpy(directory_ + i * sizeof s, &s, sizeof s);
    }
    header_.directory_checksum = simd::checksum(directory_, header_.directory_bytes, directory_salt(header_));
    header_.checksum = header_checksum(header_);
    return {};
  }

  Error finish() noexcept {
    ViewsNow(core_).close(store_.thread(), work_.view);  // nothing need be kept any more
    work_.view = {};
    if (Error e = gather(); e.status != Status::kOk) return e;
    int error = write_all(work_.file, directory_, header_.directory_bytes, header_.directory_at);
    if (error == 0) error = write_all(work_.file, &header_, sizeof header_, 0);
    if (error != 0) return trouble_.system(temporary_.text, "the directory can't be written", error);
    // Once: after a failure the kernel may have dropped what it could not write, and a second call would lie.
    if (error = platform::sync_file(work_.file); error != 0) return not_synchronised(error);
    platform::close_file(work_.file);
    if (Error e = generations_.take_place(options_.keep, trouble_); e.status != Status::kOk) return e;
    made_ = false;
    return generations_.sync_folder(trouble_);
  }

  detail::StoreCore& store_;
  detail::Core<Sync>& core_;
  const SaveOptions& options_;
  Generations& generations_;
  const std::uint64_t last_generation_;
  Trouble& trouble_;
  FileName temporary_{};
  Header header_{};
  bool made_ = false;
  SaveWork work_{store_, options_, temporary_, header_};
  Walker* walkers_[kSaveThreadsMax] = {};  // the first is the caller's
  unsigned walker_count_ = 0;
  char* directory_ = nullptr;
  std::uint64_t expected_ = 0;
  std::uint64_t told_bytes_ = 0;
};

}  // namespace

Error save(detail::StoreCore& store, std::string_view path, const SaveOptions& options, SaveReport& report, Trouble& trouble) noexcept {
  Ownership* const owner = Ownership::of(store);
  Generations generations(path);
  if (Error e = generations.check_names(options.keep, trouble); e.status != Status::kOk) return e;
  const bool is_own = owner != nullptr && owner->generations.path() == generations.path();
  void* memory = alloc::private_allocate_aligned(sizeof(Saver), alignof(Saver));
  if (memory == nullptr) return trouble.refused("", {Status::kOutOfMemory, Field::kNone}, "no memory for the save's own work");
  Error e;
  if (is_own) {
    if (!owner->begin_save()) {
      e = trouble.refused(owner->generations.lock_name().text, {Status::kUnavailable, Field::kPath}, "the store is being saved there already");
    } else {
      auto* saver = new (memory) Saver(store, options, owner->generations, owner->generation, trouble);
      e = saver->run(report);
      if (e.status == Status::kOk) owner->generation = report.generation;
      saver->~Saver();
      owner->end_save();
    }
  } else {
    e = generations.lock(trouble);
    if (e.status == Status::kOk) {
      auto* saver = new (memory) Saver(store, options, generations, 0, trouble);
      e = saver->run(report);
      saver->~Saver();
    }
  }
  alloc::private_free(memory);
  return e;
}

Error check_save(std::string_view path, const SaveOptions& options) noexcept {
  if (!Generations::is_path(path)) return {Status::kInvalidArgument, Field::kPath};
  if (options.keep == 0 || options.keep > kGenerationsMax) return {Status::kInvalidArgument, Field::kKeep};
  if (options.threads > kSaveThreadsMax) return {Status::kOutOfRange, Field::kThreads};
  if (options.codec > SnapshotCodec::kZstd) return {Status::kInvalidArgument, Field::kCodec};
  if (!is_built_in(static_cast<Codec>(options.codec))) return {Status::kUnsupported, Field::kCodec};
  if (options.wall_now && (options.wall_now->count() < 0 ||
                           static_cast<std::uint64_t>(options.wall_now->count()) > detail::Deadline::kNever)) {
    return {Status::kOutOfRange, Field::kClock};
  }
  return {};
}

}  // namespace tern::persist

namespace tern {

Result<SaveReport> Store::save(std::string_view path, const SaveOptions& options) const noexcept {
  const detail::Call call(context());
  if (!call.ok()) return call.error();
  if (const Error e = persist::check_save(path, options); e.status != Status::kOk) return e;
  SaveReport report;
  persist::Trouble trouble;
  const Error e = persist::save(call.store(), path, options, report, trouble);
  if (e.status == Status::kOk) return report;
  if (options.fault != nullptr) *options.fault = trouble.fault;
  if (e.status != Status::kCancelled) call.store().log(persist::TroubleText(trouble.fault).text);
  return e;
}

}  // namespace tern
