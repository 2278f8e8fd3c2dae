#include "persist/walker.h"

#include <algorithm>
#include <cstring>

#include "alloc/private_memory.h"
#include "simd/checksum.h"

namespace tern::persist {

namespace platform = alloc::platform;
using Sync = detail::StdSync;

namespace {

constexpr std::uint64_t kWritebackBytes = 8 << 20;
constexpr std::uint64_t kSleepNsMax = 50'000'000;  // of the bandwidth limit, between looks at whether to go on

void put_record(char* to, const FileRecord& r) noexcept {
  std::memset(to + r.bytes() - 8, 0, 8);  // what isn't written over pads it
  to += put_head(to, r);
  std::memcpy(to, r.key.data(), r.key.size());
  to += r.key.size();
  std::memcpy(to, r.value.data(), r.value.size());
  if (!r.tags.empty()) std::memcpy(to + r.value.size(), r.tags.data(), r.tags.size());
}

// One that lies in the arena as it will in the file. Answers its bytes there.
std::uint64_t put_whole(char* to, const detail::Record<Sync>& r, detail::Hold meta) noexcept {
  const detail::Stamp s = r.stamp_word();
  const detail::Link link = r.link_word();
  std::uint64_t words[3] = {s.word() & kFlagsAllowed, link.word() & kLinkAllowed, meta.word() & kMetaAllowed};
  static_assert(sizeof words == detail::kRecordHeaderBytes);
  if (planted(WalkBug::kCopiesUnmasked)) words[0] = s.word(), words[1] = link.word(), words[2] = meta.word();
  const std::uint64_t key_and_value = s.klen8() + link.length18();
  const std::uint64_t bytes = (sizeof words + key_and_value + 7) / 8 * 8;
  std::memset(to + bytes - 8, 0, 8);  // what isn't written over pads it
  std::memcpy(to, words, sizeof words);
  std::memcpy(to + sizeof words, r.bytes() + sizeof words, key_and_value);
  return bytes;
}

}  // namespace

BlockList::~BlockList() { alloc::private_free(entries_); }

bool BlockList::add(const BlockEntry& e) noexcept {
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

Walker::~Walker() { alloc::private_free(buffer_); }

bool Walker::prepare() noexcept {
  buffer_ = static_cast<char*>(alloc::private_allocate_aligned(kBufferBytes, 4096));
  return buffer_ != nullptr && packer_.prepare(work_.codec);
}

bool Walker::refuse(Error why, const char* what) noexcept {
  trouble_.refused(work_.temporary.text, why, what);
  return false;
}
bool Walker::failed(const char* what, int system_error) noexcept {
  trouble_.system(work_.temporary.text, what, system_error);
  return false;
}

void Walker::run(Thr& t, FunctionRef<bool()> goes_on) noexcept {
  for (;;) {
    const unsigned shard = work_.next_shard.fetch_add(1, std::memory_order_relaxed);  // whose turn it is; nothing else
    const bool ends = shard >= core_.table.shard_count();
    if (ends ? !write_out() : !walk(t, shard, goes_on)) {
      work_.stops.store(true, std::memory_order_relaxed);  // a hint for the others
      return;
    }
    if (ends) return;
  }
}

bool Walker::walk(Thr& t, unsigned shard, FunctionRef<bool()> goes_on) noexcept {
  const std::uint64_t first_block = blocks_.count();
  entries_ = 0;
  detail::ViewCursor cursor{shard, 0};
  while (cursor.shard == shard) {
    unsigned held = 0;
    std::uint64_t first = 0;
    {
      const detail::Guard<Sync> guard(core_.space, t);
      for (unsigned i = 0; i != kStepsAGuard && cursor.shard == shard && held == 0 && open_bytes() < kBlockBytes; ++i) {
        first = cursor.place;
        look_ahead_.before(core_, cursor, work_.view.opened.stamp);
        bool ended = false;
        ViewsNow(core_).step<ViewsNow::PlainRecords::kWhole>(work_.view, cursor, step_, ended);
        if (ended) {
          return refuse({Status::kViewExpired, Field::kNone},
                        "writers replaced more than may be kept for the save's view; raise view_bytes_max or save when it is quieter");
        }
        if (planted(WalkBug::kCopiesUnguarded)) break;
        if ((held = take(t, first)) == kNotHeld) {
          return refuse({Status::kConflict, Field::kNone}, "a long value is held by as many as can hold it");
        }
      }
    }
    Sync::point("save.walked");
    if (planted(WalkBug::kCopiesUnguarded)) held = take(t, first);
    last_place_ = cursor.place - 1;  // the step's end; of the line's last piece: all ones
    bool good = true;
    if (open_bytes() >= kBlockBytes || held != 0) good = end_block(goes_on);
    std::sort(long_, long_ + held, [](const Long& a, const Long& b) { return a.place < b.place; });
    for (unsigned i = 0; i != held; ++i) {
      good = good && write_long(long_[i], goes_on);
      core_.space.drop_hold(t, long_[i].offset);
    }
    if (!good || (cursor.shard != shard && !end_block(goes_on))) return false;
    if (work_.stops.load(std::memory_order_relaxed)) return false;  // a hint
    if (work_.store.is_closed()) return refuse({Status::kClosed, Field::kNone}, "the store was closed while it was saved");
  }
  SaveWork::ShardDone& done = work_.shards[shard];
  // Read after the view was opened, so it is at least what it was then.
  const std::uint64_t floor = core_.table.shard(shard).version_floor.load(std::memory_order_relaxed);  // a bound
  version_max_ = std::max(version_max_, floor);
  done.entry = {entries_, floor, first_block, blocks_.count() - first_block};
  done.walker = number_;
  done.written.store(true, std::memory_order_release);  // [shard-written] release
  give_up(t);
  return true;
}

// What was kept of shards that are written may go at once. The view gives up those before a number, so one that is slow
// holds back those after it, as many as there are threads. Two that end at once may each leave the other's to the next.
void Walker::give_up(Thr& t) noexcept {
  unsigned next = work_.given_up.load(std::memory_order_relaxed);  // the swap decides
  while (next != core_.table.shard_count() && work_.shards[next].written.load(std::memory_order_acquire)) {  // [shard-written] acquire
    if (!work_.given_up.compare_exchange_strong(next, next + 1, std::memory_order_acq_rel)) continue;  // [shard-written] acquire, release
    const unsigned shard = next++;
    // One that comes late may put back the number; then the shard's versions go when the view does.
    core_.space.views.give_up(work_.view.opened, next);
    auto& s = core_.table.shard(shard);
    core_.kept_keys()->ask_again(s);
    // As many as there are now: others may add to them.
    for (std::uint64_t left = s.kept.count(); left != 0;) {
      const detail::Guard<Sync> guard(core_.space, t);
      detail::look_ahead_of_kept(core_, s);
      const unsigned looked = core_.kept_keys()->review(t, s, detail::kKeptAhead);
      if (looked == 0) break;
      left -= looked < left ? looked : left;
    }
  }
}

FileRecord Walker::file_record(const detail::Head<Sync>& h, std::string_view key) const noexcept {
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
    const std::uint64_t now_ms = work_.view.now_ms;
    std::uint64_t wall = h.deadline_ms > now_ms ? h.deadline_ms - now_ms + work_.wall_ms : work_.wall_ms;
    if (wall >= detail::Deadline::kNever) wall = detail::Deadline::kNever - 1;
    r.deadline_wall_ms = wall;
  }
  return r;
}

// Inside the guard.
unsigned Walker::take(Thr& t, std::uint64_t first) noexcept {
  unsigned held = 0;
  if (open_bytes() == 0) first_place_ = first;
  for (unsigned i = 0; i != step_.count; ++i) {
    if (const auto* whole = step_.whole[i]) {
      static_assert(ViewsNow::kWholeBytesMax <= kRecordInBlockMax, "it needs no block for itself");
      const detail::Hold meta = whole->hold_word();
      version_max_ = std::max(version_max_, meta.version());
      used_ += put_whole(buffer_ + used_, *whole, meta);
      ++records_;
      continue;
    }
    const FileRecord r = file_record(step_.head[i], step_.key[i]);
    if (r.version > version_max_) version_max_ = r.version;
    if (r.has_metadata()) has_metadata_ = true;
    const std::uint64_t bytes = r.bytes();
    if (bytes > kRecordInBlockMax) {
      if (!core_.space.try_hold(*step_.head[i].record)) {
        while (held != 0) core_.space.drop_hold(t, long_[--held].offset);
        return kNotHeld;
      }
      long_[held++] = {r, step_.record[i], step_.place(i)};
      continue;
    }
    put_record(buffer_ + used_, r);
    used_ += bytes;
    ++records_;
  }
  entries_ += step_.count;
  return held;
}

bool Walker::end_block(FunctionRef<bool()> goes_on) noexcept {
  const std::uint64_t bytes = open_bytes();
  if (bytes == 0) return true;
  const BlockEntry b{0, bytes, bytes, first_place_, last_place_, 0, records_, static_cast<std::uint32_t>(Codec::kNone)};
  records_ = 0;
  return put_block(b, goes_on);
}

// Its plain bytes are in the buffer, from block_at_ on.
bool Walker::put_block(BlockEntry b, FunctionRef<bool()> goes_on) noexcept {
  if (const std::uint64_t packed = packer_.pack(buffer_ + block_at_, b.plain_bytes); packed != 0) {
    std::memcpy(buffer_ + block_at_, packer_.packed(), packed);
    b.bytes = packed;
    b.codec = static_cast<std::uint32_t>(work_.codec);
  }
  block_at_ += b.bytes;
  used_ = block_at_;
  if (!add(b) || (used_ >= kWriteBytes && !write_some())) return false;
  return after_block(b, goes_on);
}

// The system writes to a file for one thread at a time, and another would wait there with its processor: it walks on meanwhile.
bool Walker::write_some() noexcept {
  const bool others = work_.is_written_to.exchange(true, std::memory_order_relaxed);  // a hint
  if (others && used_ < kWriteBytesMax && !planted(WalkBug::kWaitsToWrite)) return true;
  const bool good = write_out();
  if (!others) work_.is_written_to.store(false, std::memory_order_relaxed);  // as above
  return good;
}

// The blocks in the buffer get their places in the file, and their checksums, which those are part of.
bool Walker::write_out() noexcept {
  const std::uint64_t bytes = block_at_;
  if (bytes == 0) return true;
  const std::uint64_t at = work_.end.fetch_add(bytes, std::memory_order_relaxed);  // a place of their own; nothing else
  std::uint64_t in_buffer = 0;
  for (; unplaced_ != blocks_.count(); ++unplaced_) {
    BlockEntry& b = blocks_[unplaced_];
    if (b.at != 0) continue;  // a long value's, which went its own way
    b.at = at + in_buffer;
    b.checksum = simd::checksum(buffer_ + in_buffer, b.bytes, block_salt(work_.header, unplaced_, b.at));
    in_buffer += b.bytes;
  }
  used_ = block_at_ = 0;
  if (const int error = write_all(work_.file, buffer_, bytes, at)) return failed("blocks can't be written", error);
  send(at, bytes);
  return true;
}

// Pieces of the file go on their way as they fill, so that little is left for the sync. What another thread is still to write
// of one waits for that.
void Walker::send(std::uint64_t at, std::uint64_t bytes) noexcept {
  const std::uint64_t from = at / kWritebackBytes, to = (at + bytes) / kWritebackBytes;
  if (from != to) platform::begin_writeback(work_.file, from * kWritebackBytes, (to - from) * kWritebackBytes);
  work_.early_sync.wrote(at, bytes);
}

bool Walker::add(const BlockEntry& b) noexcept {
  return blocks_.add(b) || refuse({Status::kOutOfMemory, Field::kNone}, "no memory for the save's own work");
}

bool Walker::write_long(const Long& l, FunctionRef<bool()> goes_on) noexcept {
  const FileRecord& r = l.record;
  const std::uint64_t bytes = r.bytes();
  if (work_.codec != Codec::kNone && bytes <= kPackedPlainMax) {  // no block is open: it was ended before
    put_record(buffer_ + block_at_, r);
    return put_block({0, bytes, bytes, l.place, l.place, 0, 1, static_cast<std::uint32_t>(Codec::kNone)}, goes_on);
  }
  std::uint64_t at = work_.end.fetch_add(bytes, std::memory_order_relaxed);  // as in write_out
  BlockEntry b{at, bytes, bytes, l.place, l.place, 0, 1, static_cast<std::uint32_t>(Codec::kNone)};
  char head[kRecordHeadMax];
  const std::size_t head_bytes = put_head(head, r);
  static constexpr char kZeros[8] = {};
  simd::Checksum sum(block_salt(work_.header, blocks_.count(), at));
  const auto put = [&](const char* from, std::uint64_t count) noexcept {
    sum.add(from, count);
    const int error = write_all(work_.file, from, count, at);
    at += count;
    return error;
  };
  int error = put(head, head_bytes);
  if (error == 0) error = put(r.key.data(), r.key.size());
  if (error == 0) error = put(r.value.data(), r.value.size());
  if (error == 0 && !r.tags.empty()) error = put(r.tags.data(), r.tags.size());
  if (error == 0) error = put(kZeros, bytes - r.unpadded_bytes());
  if (error != 0) return failed("a long value can't be written", error);
  b.checksum = sum.value();
  send(b.at, b.bytes);
  return add(b) && after_block(b, goes_on);
}

// It is in the file, or will be with the next that is written.
bool Walker::after_block(const BlockEntry& b, FunctionRef<bool()> goes_on) noexcept {
  work_.entries_written.fetch_add(b.records, std::memory_order_relaxed);  // see SaveWork
  const std::uint64_t written = work_.bytes_written.fetch_add(b.bytes, std::memory_order_relaxed) + b.bytes;  // as above
  if (!goes_on()) return refuse({Status::kCancelled, Field::kNone}, "given up by its progress function");
  const std::uint64_t rate = work_.options.bytes_per_second;
  if (rate == 0) return true;
  const auto due_ns = static_cast<std::uint64_t>(static_cast<double>(written) * 1e9 / static_cast<double>(rate));
  for (;;) {
    const std::uint64_t gone = platform::monotonic_ns() - work_.started_ns;
    if (gone >= due_ns || work_.store.is_closed() || work_.stops.load(std::memory_order_relaxed)) return true;  // a hint
    platform::sleep_ns(due_ns - gone < kSleepNsMax ? due_ns - gone : kSleepNsMax);
    if (!goes_on()) return refuse({Status::kCancelled, Field::kNone}, "given up by its progress function");
  }
}

}  // namespace tern::persist
