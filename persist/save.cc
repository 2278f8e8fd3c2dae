// Store::save: a view's walk written down.
//
//   under a guard   a step of the walk; records that fit are copied to the open block, long ones are held
//   outside of it   the block goes to the file when it is full, held values go there from where they lie
//
// So no file operation delays reclamation, and memory is a block, its entries in the directory and nothing that grows
// with values. A block ends at the end of a step: its keys are all those of one piece of the walk's line.
#include <algorithm>
#include <cstring>
#include <new>

#include <tern/store.h>

#include "alloc/platform.h"
#include "alloc/private_memory.h"
#include "engine/store_core.h"
#include "engine/views.h"
#include "persist/format.h"
#include "persist/generations.h"
#include "persist/ownership.h"
#include "persist/reader.h"
#include "simd/checksum.h"

namespace tern::persist {
namespace {

namespace platform = alloc::platform;
using Sync = detail::StdSync;
using ViewsNow = detail::Views<Sync>;

constexpr std::size_t kBufferBytes = kBlockBytes + ViewsNow::kStepKeys * (kRecordInBlockMax + 8);
constexpr std::uint64_t kWritebackBytes = 8 << 20;
constexpr std::uint64_t kSleepNsMax = 50'000'000;  // of the bandwidth limit, between looks at whether to go on

// Entries of the directory as they come.
class BlockList {
 public:
  BlockList() = default;
  ~BlockList() { alloc::private_free(entries_); }
  BlockList(const BlockList&) = delete;
  BlockList& operator=(const BlockList&) = delete;

  bool add(const BlockEntry& e) noexcept {
    if (count_ == room_) {
      const std::uint64_t room = room_ == 0 ? 256 : room_ * 2;
      auto* more = static_cast<BlockEntry*>(alloc::private_allocate(room * sizeof(BlockEntry)));
      if (more == nullptr) return false;
      if (count_ != 0) std::memcpy(more, entries_, count_ * sizeof(BlockEntry));
      alloc::private_free(entries_);
      entries_ = more;
      room_ = room;
    }
    entries_[count_++] = e;
    return true;
  }
  std::uint64_t count() const noexcept { return count_; }
  const BlockEntry* data() const noexcept { return entries_; }

 private:
  BlockEntry* entries_ = nullptr;
  std::uint64_t count_ = 0;
  std::uint64_t room_ = 0;
};

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
    platform::close_file(file_);
    if (made_) platform::remove_file(temporary_.text);
    alloc::private_free(buffer_);
    alloc::private_free(shards_);
    if (view_.opened.ok()) ViewsNow(core_).close(store_.is_closed() ? nullptr : store_.thread(), view_);
  }
  Saver(const Saver&) = delete;
  Saver& operator=(const Saver&) = delete;

  Error run(SaveReport& report) noexcept {
    if (Error e = begin(); is_error(e)) return e;
    if (Error e = walk(); is_error(e)) return e;
    if (Error e = finish(); is_error(e)) return e;
    report = {header_.generation, header_.entries, header_.file_bytes};
    return {};
  }

 private:
  static bool is_error(const Error& e) noexcept { return e.status != Status::kOk; }
  Error refuse(Error why, const char* what) noexcept { return trouble_.refused(temporary_.text, why, what); }
  Error no_memory() noexcept { return refuse({Status::kOutOfMemory, Field::kNone}, "no memory for the save's own work"); }

  Error begin() noexcept {
    temporary_ = generations_.temporary();
    buffer_ = static_cast<char*>(alloc::private_allocate_aligned(kBufferBytes, 4096));
    shards_ = static_cast<ShardEntry*>(alloc::private_allocate(sizeof(ShardEntry) * core_.table.shard_count()));
    if (buffer_ == nullptr || shards_ == nullptr) return no_memory();
    header_.generation = std::max(newest_generation(generations_), last_generation_) + 1;
    int error = 0;
    platform::File folder = platform::open_file(generations_.file(0).text, platform::OpenMode::kDirectory, &error);
    platform::close_file(folder);
    if (error == 0) return refuse({Status::kInvalidArgument, Field::kPath}, "the path is a folder");
    file_ = platform::open_file(temporary_.text, platform::OpenMode::kCreate, &error);
    if (error != 0) return trouble_.system(temporary_.text, "the temporary file can't be made", error);
    made_ = true;
    std::memcpy(header_.magic, kMagic, sizeof kMagic);
    header_.format_version = kFormatVersion;
    header_.byte_order = kByteOrder;
    header_.header_bytes = kHeaderBytes;
    header_.shard_count = core_.table.shard_count();
    header_.version_base = core_.space.version_base;
    header_.hash_seed = core_.space.seed;
    header_.birth_wall_ms = store_.birth_wall_ms;
    header_.memory_bytes = core_.space.heap.budget_bytes();
    static_assert(sizeof(TERN_VERSION_TEXT) <= sizeof header_.engine);
    std::memcpy(header_.engine, TERN_VERSION_TEXT, sizeof(TERN_VERSION_TEXT) - 1);
    std::memcpy(header_.name, store_.name, sizeof header_.name);
    // Nothing has been kept for it until now.
    view_ = ViewsNow(core_).open();
    if (!view_.opened.ok()) return refuse({Status::kTooLarge, Field::kViews}, "too many views are open");
    wall_ms_ = options_.wall_now ? static_cast<std::uint64_t>(options_.wall_now->count()) : platform::wall_ns() / 1'000'000;
    header_.view_stamp = view_.opened.stamp;
    header_.wall_ms = wall_ms_;
    if (header_.birth_wall_ms == 0 || header_.birth_wall_ms > wall_ms_) header_.birth_wall_ms = wall_ms_;
    started_ns_ = platform::monotonic_ns();
    expected_ = core_.live_entries();
    return {};
  }

  Error walk() noexcept {
    detail::Thread<Sync>* t = store_.thread();
    if (t == nullptr) return no_memory();
    detail::ViewCursor cursor;
    begin_shard(0);
    for (bool more = true; more;) {
      unsigned held = 0;
      const unsigned shard = cursor.shard;
      const std::uint64_t first = cursor.place;
      {
        const detail::Guard<Sync> guard(core_.space, *t);
        bool ended = false;
        more = ViewsNow(core_).step(view_, cursor, step_, ended);
        if (ended) {
          return refuse({Status::kViewExpired, Field::kNone},
                        "writers replaced more than may be kept for the save's view; raise view_bytes_max or save when it is quieter");
        }
        if (more && (held = take(*t, shard, first)) == kNotHeld) {
          return refuse({Status::kConflict, Field::kNone}, "a long value is held by as many as can hold it");
        }
      }
      if (store_.is_closed()) return refuse({Status::kClosed, Field::kNone}, "the store was closed while it was saved");
      if (!more) break;
      last_place_ = cursor.place - 1;  // the step's end; of the line's last piece: all ones
      Error e;
      if (used_ >= kBlockBytes || (held != 0 && used_ != 0)) e = flush();
      std::sort(long_, long_ + held, [](const Long& a, const Long& b) { return a.place < b.place; });
      for (unsigned i = 0; i != held; ++i) {
        if (!is_error(e)) e = write_long(long_[i]);
        core_.space.drop_hold(*t, long_[i].offset);
      }
      if (is_error(e)) return e;
      if (cursor.shard != shard) {
        if (e = flush(); is_error(e)) return e;
        end_shard(shard);
        give_up(*t, shard);
        if (cursor.shard != core_.table.shard_count()) begin_shard(cursor.shard);
      }
    }
    return {};
  }

  void begin_shard(unsigned i) noexcept { shards_[i] = {0, 0, blocks_.count(), 0}; }
  void end_shard(unsigned i) noexcept {
    ShardEntry& s = shards_[i];
    s.block_count = blocks_.count() - s.first_block;
    // Read after the view was opened, so it is at least what it was then.
    s.version_floor = core_.table.shard(i).version_floor.load(std::memory_order_relaxed);  // a bound
    if (s.version_floor > header_.version_max) header_.version_max = s.version_floor;
    header_.entries += s.entries;
  }

  // What was kept of a shard that is written may go at once.
  void give_up(detail::Thread<Sync>& t, unsigned shard) noexcept {
    core_.space.views.give_up(view_.opened, shard + 1);
    auto& s = core_.table.shard(shard);
    core_.kept_keys()->ask_again(s);
    // As many as there are now: others may add to them.
    for (std::uint64_t left = s.kept.count(); left != 0;) {
      const detail::Guard<Sync> guard(core_.space, t);
      const unsigned looked = core_.kept_keys()->review(t, s, ViewsNow::kStepKeys);
      if (looked == 0) break;
      left -= looked < left ? looked : left;
    }
  }

  FileRecord file_record(const detail::Head<Sync>& h, std::string_view key) const noexcept {
    FileRecord r;
    r.key = key;
    r.value = h.bytes();
    if (h.stamp.has_ext()) r.tags = core_.space.tags_of(*h.record, h.stamp);
    const detail::Hold meta = h.record->hold_word();
    r.version = h.version;
    r.access = meta.access();
    r.keep = meta.keep();
    r.type = h.record->link_word().type();
    if (h.has_deadline) {
      r.has_deadline = true;
      r.span = h.span;
      // The view's moment is in both clocks. Neither end of 278 years is in reach of a lifetime of 139.
      std::uint64_t wall = h.deadline_ms > view_.now_ms ? h.deadline_ms - view_.now_ms + wall_ms_ : wall_ms_;
      if (wall >= detail::Deadline::kNever) wall = detail::Deadline::kNever - 1;
      r.deadline_wall_ms = wall;
    }
    return r;
  }

  // A step's records: copied, or held if they are long. Inside the guard. Answers how many are held; kNotHeld: one can't be.
  static constexpr unsigned kNotHeld = ~0u;
  unsigned take(detail::Thread<Sync>& t, unsigned shard, std::uint64_t first) noexcept {
    unsigned held = 0;
    if (used_ == 0) first_place_ = first;
    for (unsigned i = 0; i != step_.count; ++i) {
      const FileRecord r = file_record(step_.head[i], step_.key[i]);
      if (r.version > header_.version_max) header_.version_max = r.version;
      ++shards_[shard].entries;
      if (r.bytes() > kRecordInBlockMax) {
        if (!core_.space.try_hold(*step_.head[i].record)) {
          while (held != 0) core_.space.drop_hold(t, long_[--held].offset);
          return kNotHeld;
        }
        long_[held++] = {r, step_.record[i], step_.place[i]};
        continue;
      }
      char* to = buffer_ + used_;
      const std::size_t head = put_head(to, r);
      std::memcpy(to + head, r.key.data(), r.key.size());
      std::memcpy(to + head + r.key.size(), r.value.data(), r.value.size());
      if (!r.tags.empty()) std::memcpy(to + head + r.key.size() + r.value.size(), r.tags.data(), r.tags.size());
      const std::uint64_t end = r.unpadded_bytes();
      std::memset(to + end, 0, r.bytes() - end);
      used_ += r.bytes();
      ++records_;
    }
    return held;
  }

  Error flush() noexcept {
    if (used_ == 0) return {};
    BlockEntry b{at_, used_, used_, first_place_, last_place_, 0, records_, static_cast<std::uint32_t>(Codec::kNone)};
    b.checksum = simd::checksum(buffer_, used_, block_salt(header_, blocks_.count()));
    if (const int error = write_all(file_, buffer_, used_, at_)) return trouble_.system(temporary_.text, "a block can't be written", error);
    if (!blocks_.add(b)) return no_memory();
    at_ += used_;
    entries_written_ += records_;
    used_ = 0;
    records_ = 0;
    return after_block();
  }

  struct Long {
    FileRecord record;
    std::uint64_t offset;
    std::uint64_t place;
  };
  Error write_long(const Long& l) noexcept {
    const FileRecord& r = l.record;
    BlockEntry b{at_, r.bytes(), r.bytes(), l.place, l.place, 0, 1, static_cast<std::uint32_t>(Codec::kNone)};
    char head[kRecordHeadMax];
    const std::size_t head_bytes = put_head(head, r);
    static constexpr char kZeros[8] = {};
    simd::Checksum sum(block_salt(header_, blocks_.count()));
    std::uint64_t at = at_;
    const auto put = [&](const char* from, std::uint64_t bytes) noexcept {
      sum.add(from, bytes);
      const int error = write_all(file_, from, bytes, at);
      at += bytes;
      return error;
    };
    int error = put(head, head_bytes);
    if (error == 0) error = put(r.key.data(), r.key.size());
    if (error == 0) error = put(r.value.data(), r.value.size());
    if (error == 0 && !r.tags.empty()) error = put(r.tags.data(), r.tags.size());
    if (error == 0) error = put(kZeros, r.bytes() - r.unpadded_bytes());
    if (error != 0) return trouble_.system(temporary_.text, "a long value can't be written", error);
    b.checksum = sum.value();
    if (!blocks_.add(b)) return no_memory();
    at_ = at;
    ++entries_written_;
    return after_block();
  }

  Error after_block() noexcept {
    if (at_ - asked_ >= kWritebackBytes) {
      platform::begin_writeback(file_, asked_, at_ - asked_);
      asked_ = at_;
    }
    const auto goes_on = [&]() noexcept {
      return options_.progress == nullptr ||
             options_.progress(options_.progress_user, {entries_written_, expected_, at_});
    };
    if (!goes_on()) return refuse({Status::kCancelled, Field::kNone}, "given up by its progress function");
    if (options_.bytes_per_second == 0) return {};
    const auto due_ns = static_cast<std::uint64_t>(static_cast<double>(at_) * 1e9 / static_cast<double>(options_.bytes_per_second));
    for (;;) {
      const std::uint64_t gone = platform::monotonic_ns() - started_ns_;
      if (gone >= due_ns || store_.is_closed()) return {};
      platform::sleep_ns(due_ns - gone < kSleepNsMax ? due_ns - gone : kSleepNsMax);
      if (!goes_on()) return refuse({Status::kCancelled, Field::kNone}, "given up by its progress function");
    }
  }

  Error finish() noexcept {
    ViewsNow(core_).close(store_.thread(), view_);  // nothing need be kept any more
    view_ = {};
    header_.directory_at = at_;
    header_.block_count = blocks_.count();
    const std::uint64_t of_shards = std::uint64_t{header_.shard_count} * sizeof(ShardEntry);
    const std::uint64_t of_blocks = blocks_.count() * sizeof(BlockEntry);
    header_.directory_bytes = of_shards + of_blocks;
    header_.file_bytes = at_ + header_.directory_bytes;
    simd::Checksum sum(directory_salt(header_));
    sum.add(shards_, of_shards);
    sum.add(blocks_.data(), of_blocks);
    header_.directory_checksum = sum.value();
    header_.checksum = header_checksum(header_);
    int error = write_all(file_, shards_, of_shards, at_);
    if (error == 0) error = write_all(file_, blocks_.data(), of_blocks, at_ + of_shards);
    if (error == 0) error = write_all(file_, &header_, sizeof header_, 0);
    if (error != 0) return trouble_.system(temporary_.text, "the directory can't be written", error);
    // Once: after a failure the kernel may have dropped what it could not write, and a second call would lie.
    if (error = platform::sync_file(file_); error != 0) {
      return trouble_.system(temporary_.text, "the file can't be synchronised", error);
    }
    platform::close_file(file_);
    if (Error e = generations_.take_place(options_.keep, trouble_); is_error(e)) return e;
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
  platform::File file_;
  bool made_ = false;
  detail::ViewHandle<Sync> view_;
  std::uint64_t wall_ms_ = 0;
  Header header_{};
  char* buffer_ = nullptr;
  ShardEntry* shards_ = nullptr;
  BlockList blocks_;
  // The open block.
  std::uint64_t used_ = 0;
  std::uint32_t records_ = 0;
  std::uint64_t first_place_ = 0;
  std::uint64_t last_place_ = 0;
  std::uint64_t at_ = kHeaderBytes;
  std::uint64_t asked_ = kHeaderBytes;
  std::uint64_t started_ns_ = 0;
  std::uint64_t entries_written_ = 0;
  std::uint64_t expected_ = 0;
  ViewsNow::Step step_;
  Long long_[ViewsNow::kStepKeys];  // held, of the last step
};

Error save(detail::StoreCore& store, std::string_view path, const SaveOptions& options, SaveReport& report, Trouble& trouble) noexcept {
  Ownership* const owner = Ownership::of(store);
  const bool is_own = owner != nullptr && owner->generations.path() == path;
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
    Generations generations(path);
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

}  // namespace
}  // namespace tern::persist

namespace tern {

Result<SaveReport> Store::save(std::string_view path, const SaveOptions& options) const noexcept {
  const detail::Call call(context());
  if (!call.ok()) return call.error();
  if (!persist::Generations::is_path(path)) return {Status::kInvalidArgument, Field::kPath};
  if (options.keep == 0 || options.keep > persist::kGenerationsMax) return {Status::kInvalidArgument, Field::kKeep};
  if (options.wall_now && (options.wall_now->count() < 0 ||
                           static_cast<std::uint64_t>(options.wall_now->count()) > detail::Deadline::kNever)) {
    return {Status::kOutOfRange, Field::kClock};
  }
  SaveReport report;
  persist::Trouble trouble;
  const Error e = persist::save(call.store(), path, options, report, trouble);
  if (e.status == Status::kOk) return report;
  if (options.fault != nullptr) *options.fault = trouble.fault;
  if (e.status != Status::kCancelled) call.store().log(persist::TroubleText(trouble.fault).text);
  return e;
}

}  // namespace tern
