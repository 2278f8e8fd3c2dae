#include "persist/dead_arena.h"

#include <bit>
#include <cerrno>
#include <cstddef>
#include <new>

#include "alloc/platform_shared.h"
#include "alloc/private_memory.h"
#include "engine/batch_descriptor.h"
#include "engine/record.h"
#include "engine/tags.h"

namespace tern::persist {

namespace platform = alloc::platform;
using detail::Ext;
using detail::Link;
using detail::SlotWord;
using detail::Stamp;

namespace {
using Pt = detail::Point<detail::StdSync>;
constexpr std::uint64_t kKeyBytesMost = detail::kStoredKeyBytesMax;
}  // namespace

DeadArena::Scratch::~Scratch() { alloc::private_free(bytes_); }

char* DeadArena::Scratch::room_for(std::uint64_t bytes) noexcept {
  if (bytes <= room_) return bytes_;
  alloc::private_free(bytes_);
  bytes_ = static_cast<char*>(alloc::private_allocate(bytes));
  room_ = bytes_ != nullptr ? bytes : 0;
  return bytes_;
}

DeadArena::~DeadArena() {
  if (map_ != nullptr) platform::release(const_cast<char*>(map_), file_bytes_);
  platform::close_file(file_);
  alloc::private_free(data_);
  alloc::private_free(sizes_);
}

Error DeadArena::open(const FileName& name, Trouble& trouble) noexcept {
  name_ = name;
  int error = 0;
  file_ = platform::open_file(name.text, platform::OpenMode::kRead, &error);
  if (error == ENOENT) return trouble.refused(name.text, {Status::kNotFound, Field::kPath}, "there is no store");
  if (error != 0) return trouble.system(name.text, "the store's file can't be opened", error);
  const auto size = platform::file_size(file_);
  if (!size.ok()) return trouble.system(name.text, "the store's file has a size that is unknown", size.error);
  file_bytes_ = size.count;
  const ReadAll read = read_all(file_, &header_, sizeof header_, 0);
  if (read.error != 0) return trouble.system(name.text, "the store's file can't be read", read.error);
  if (read.ended || std::memcmp(header_.magic, kArenaMagic, sizeof kArenaMagic) != 0) {
    return damaged(0, trouble, "it is no store in shared memory");
  }
  if (header_.layout != kArenaLayout || header_.fingerprint != layout_fingerprint()) {
    return trouble.refused(name.text, {Status::kUnsupported, Field::kPath}, "another version of the library laid it out");
  }
  if (header_.checksum != header_.sum()) return damaged(0, trouble, "its header is damaged");
  char boot[platform::kBootIdBytes];
  if (!platform::boot_id(boot) || std::memcmp(boot, header_.boot, sizeof boot) != 0) {
    return trouble.refused(name.text, {Status::kUnsupported, Field::kPath},
                           "it was made before the machine started last: what it holds may not be whole");
  }
  if (header_.heap_bytes > std::uint64_t{1} << 44 || file_bytes_ != kHeapAt + header_.heap_bytes) {
    return damaged(0, trouble, "the file hasn't the size that it should have");
  }
  if (!std::has_single_bit(header_.shard_count) || header_.shard_count > detail::Roots<Sync>::kShardsMax || header_.chunk_shift < 12 ||
      header_.chunk_shift > 16 || header_.version_base > detail::kVersionMask || header_.own_clock > 1) {
    return damaged(0, trouble, "its header says what can't be");
  }
  map_ = static_cast<const char*>(platform::map_for_reading(file_, file_bytes_));
  data_ = static_cast<std::uint64_t*>(alloc::private_allocate((file_bytes_ >> kPageShift) / 8 + 16));
  sizes_ = static_cast<detail::ShardSize*>(alloc::private_allocate(header_.shard_count * sizeof(detail::ShardSize)));
  if (map_ == nullptr || data_ == nullptr || sizes_ == nullptr) return no_memory(trouble);
  if (const char* const wrong = read_pages()) return trouble.system(name.text, wrong, EIO);
  if (const char* const wrong = read_roots()) return damaged(kRootsAt, trouble, wrong);
  if (const char* const wrong = read_points()) return damaged(kRootsAt, trouble, wrong);
  return {};
}

const char* DeadArena::read_pages() noexcept {
  std::memset(data_, 0, (file_bytes_ >> kPageShift) / 8 + 16);
  for (std::uint64_t from = 0; from < file_bytes_;) {
    std::uint64_t begin = 0, end = 0;
    const int error = platform::next_data(file_, from, &begin, &end);
    if (error == ENXIO) break;
    if (error != 0) return "which pages the store's file has is unknown";
    if (end > file_bytes_) end = file_bytes_;
    for (std::uint64_t page = begin >> kPageShift; page < (end + 4095) >> kPageShift; ++page) data_[page / 64] |= std::uint64_t{1} << page % 64;
    if (end <= from) break;
    from = end;
  }
  return nullptr;
}

const char* DeadArena::read_roots() noexcept {
  using Roots = detail::Roots<Sync>;
  version_max_ = header_.version_base;
  const char* const state = at(kStateAt, 8);
  was_closed_ = state != nullptr && word_at(state) == ArenaFile::kClosed;
  for (unsigned i = 0; i != header_.shard_count; ++i) {
    const char* const head = at(kRootsAt + Roots::kHeadsAt + i * sizeof(detail::ShardHead<Sync>), 8);
    const char* const shard = at(kRootsAt + Roots::kShardsAt + i * sizeof(detail::Shard<Sync>), sizeof(detail::Shard<Sync>));
    if (head == nullptr || shard == nullptr) return "a shard is missing";
    const std::uint64_t size = word_at(head + offsetof(detail::ShardHead<Sync>, size));
    const auto buckets = static_cast<std::uint32_t>(size);
    if (buckets < detail::kFirstBuckets || buckets > 1u << 31 || detail::ShardSize::of(buckets).word() != size) {
      return "a shard has a size that no shard has";
    }
    new (sizes_ + i) detail::ShardSize(size);
    entries_ += word_at(shard + offsetof(detail::Shard<Sync>, live));
    const std::uint64_t floor = word_at(shard + offsetof(detail::Shard<Sync>, version_floor));
    if (floor > detail::kVersionMask) return "a version is out of range";
    if (floor > version_max_) version_max_ = floor;
  }
  return nullptr;
}

const char* DeadArena::read_points() noexcept {
  std::uint64_t homes[detail::Points<Sync>::kMax];
  if (!read_all(file_, homes, sizeof homes, kRootsAt).ok()) return "its points can't be read";  // a page that holds nothing, as a rule
  for (const std::uint64_t offset : homes) {
    if (offset == 0) continue;
    const char* wrong = nullptr;
    Words words;
    if (!words_at(offset, words, wrong)) return wrong;
    // In the value of a record (points.h).
    Scratch scratch;
    detail::TakenIn in;
    if (!read_record(words, &scratch, in, wrong) || in.value.size() < sizeof(Pt)) return "a point lies nowhere";
    const char* const p = in.value.data();
    if (p < map_ || p >= map_ + file_bytes_) return "a point lies nowhere";
    const std::uint64_t state = word_at(p + offsetof(Pt, state));
    if ((state & Pt::kPending) != 0) continue;
    std::uint32_t size = 0, whose = 0;
    std::memcpy(&size, p + offsetof(Pt, bytes_size), sizeof size);
    std::memcpy(&whose, p + offsetof(Pt, name), sizeof whose);
    std::uint8_t kind = 0;
    std::memcpy(&kind, p + offsetof(Pt, kind), sizeof kind);
    if (size > in.value.size() - sizeof(Pt) || kind > static_cast<std::uint8_t>(detail::PointScope::Kind::kTag)) {
      return "a point has no scope";
    }
    points_[point_count_++] = {state, whose, static_cast<detail::PointScope::Kind>(kind), {p + sizeof(Pt), size}};
  }
  return nullptr;
}

bool DeadArena::words_at(std::uint64_t offset, Words& words, const char*& wrong) const noexcept {
  words.at = heap_place(offset);
  const char* const found = words.at != kNowhere ? at(words.at, detail::kRecordHeaderBytes) : nullptr;
  if (found == nullptr) {
    wrong = "a record lies nowhere";
    return false;
  }
  words.stamp = Stamp(word_at(found));
  words.link = Link(word_at(found + 8));
  words.hold = detail::Hold(word_at(found + 16));
  return true;
}

bool DeadArena::resolve(Words& words, std::uint64_t& stamp, const char*& wrong) const noexcept {
  for (unsigned steps = 0; steps != kChainMax; ++steps) {
    const Stamp s = words.stamp;
    switch (s.kind()) {
      case Stamp::Kind::kPending:
        stamp = ~std::uint64_t{0};  // it comes last
        return true;
      case Stamp::Kind::kStamped:
        stamp = s.stamp();
        if (!s.tomb() || !planted(DeadBug::kTombPasses)) return true;
        break;
      case Stamp::Kind::kBatch: {
        const std::uint64_t place = heap_place(s.descriptor());
        const char* const d = place != kNowhere ? at(place, sizeof(detail::BatchDescriptor<Sync>)) : nullptr;
        if (d == nullptr) {
          wrong = "a batch lies nowhere";
          return false;
        }
        const detail::BatchState state(word_at(d + offsetof(detail::BatchDescriptor<Sync>, state)));
        if (s.only_asks()) break;
        stamp = state.stamp();
        if (state.committed()) return true;
        if (planted(DeadBug::kUndecidedCounts) && !state.aborted()) return true;
        break;
      }
      case Stamp::Kind::kAborted: break;
    }
    if (s.nolink() || words.link.older() == 0) return false;
    if (!words_at(words.link.older(), words, wrong)) return false;
  }
  wrong = "a key has records without end";
  return false;
}

bool DeadArena::covers(const Point& point, const detail::TakenIn& in) const noexcept {
  if (point.name != detail::kAnyName && detail::cleared_with(in.key) != point.name) return false;
  switch (point.kind) {
    case detail::PointScope::Kind::kStore: return true;
    case detail::PointScope::Kind::kPrefix: return in.key.starts_with(point.bytes);
    case detail::PointScope::Kind::kTag: return !in.tags.empty() && detail::has_tag(in.tags, point.bytes);
  }
  return false;
}

bool DeadArena::is_dead(const Words& words, std::uint64_t stamp, const detail::TakenIn& in, const char*& wrong) const noexcept {
  if (point_count_ == 0 || planted(DeadBug::kPointPasses)) return false;
  const Stamp s = words.stamp;
  const bool is_made = s.kind() == Stamp::Kind::kPending && s.is_made() && !planted(DeadBug::kMadeOutlives);
  // What it was made from, if it is that which may have died since (Versions::decided).
  detail::TakenIn older;
  bool has_older = false;
  if (is_made && words.link.older() != 0) {
    Words below;
    std::uint64_t ignored = 0;
    if (!words_at(words.link.older(), below, wrong)) return false;
    has_older = resolve(below, ignored, wrong) && !below.stamp.tomb() && read_record(below, nullptr, older, wrong);
    if (wrong != nullptr) return false;
  }
  const std::uint64_t from = is_made ? s.made_at() : stamp;
  for (unsigned i = 0; i != point_count_; ++i) {
    if (points_[i].stamp < from) continue;
    if (covers(points_[i], in) || (has_older && covers(points_[i], older))) return true;
  }
  return false;
}

// A value may lie in pages of which some were never written: a draft's that its owner has filled in part.
const char* DeadArena::bytes_at(std::uint64_t from, std::uint64_t size, Scratch& scratch, const char*& wrong) const noexcept {
  if (size == 0) return map_;
  if (const char* const found = at(from, size)) return found;
  if (from > file_bytes_ || size > file_bytes_ - from) {
    wrong = "a value lies nowhere";
    return nullptr;
  }
  char* const room = scratch.room_for(size);
  if (room != nullptr && !read_all(file_, room, size, from).ok()) wrong = "a value can't be read";
  return room;
}

bool DeadArena::read_record(const Words& words, Scratch* scratch, detail::TakenIn& in, const char*& wrong) const noexcept {
  const Stamp s = words.stamp;
  const std::uint64_t head_bytes = detail::kRecordHeaderBytes + (s.has_x() ? 8u : 0u) + (s.has_ext() ? 8u : 0u);
  const char* const head = at(words.at, head_bytes);
  wrong = head == nullptr ? "a record is cut off" : nullptr;
  if (head == nullptr) return false;
  in.version = words.hold.version();
  in.access = words.hold.access();
  in.keep = words.hold.keep();
  in.type = words.link.type();
  if (s.has_x()) {
    const detail::Deadline x(word_at(head + detail::kRecordHeaderBytes));
    in.has_deadline = !x.never();
    in.deadline_ms = x.ms();
  }
  std::uint64_t key_size = s.klen8(), value_size = words.link.length18();
  std::uint64_t key_at = words.at + head_bytes;
  if (!s.has_ext()) {
    if (key_size == 255 || value_size == Link::kLengthMask) wrong = "a record's lengths are missing";
  } else {
    const Ext e(word_at(head + head_bytes - 8));
    if (key_size == 255) key_size = e.key_size();
    if (value_size == Link::kLengthMask) value_size = e.value_size();
    if (e.key_ref()) {
      wrong = "a record has its key elsewhere";
      return false;
    }
    if (in.has_deadline) in.span = e.span();
    std::uint64_t value_at = key_at + key_size;
    std::uint64_t tags_at = value_at + value_size;
    if (e.extent()) {
      const char* const ref = at(key_at, 8);
      const std::uint64_t extent = ref != nullptr ? heap_place(word_at(ref)) : kNowhere;
      if (extent == kNowhere) {
        wrong = "a value lies nowhere";
        return false;
      }
      key_at += 8;
      value_at = extent + sizeof(detail::Space<Sync>::ExtentHeader);
      tags_at = key_at + key_size;
      if (e.key_in_extent()) {
        tags_at = key_at;
        key_at = value_at;
        value_at += key_size;
      }
    }
    if (e.tags()) {
      const char* const size = at(tags_at, 2);
      const std::uint64_t bytes = size != nullptr ? detail::tag_block_bytes(size) : 0;
      const char* const tags = bytes != 0 ? at(tags_at, bytes) : nullptr;
      if (tags == nullptr || !detail::is_tag_block({tags, bytes})) {
        wrong = "a record's tags are none";
        return false;
      }
      in.tags = {tags, bytes};
    }
    if (scratch != nullptr) {
      const char* const value = bytes_at(value_at, value_size, *scratch, wrong);
      if (value == nullptr || wrong != nullptr) return false;
      in.value = {value, value_size};
    }
  }
  const char* const key = key_size != 0 && key_size <= kKeyBytesMost ? at(key_at, key_size) : nullptr;
  if (key == nullptr) wrong = "a record's key is none";
  if (wrong != nullptr) return false;
  in.key = {key, key_size};
  if (!s.has_ext() && scratch != nullptr) {
    const char* const value = bytes_at(key_at + key_size, value_size, *scratch, wrong);
    if (value == nullptr || wrong != nullptr) return false;
    in.value = {value, value_size};
  }
  return true;
}

DeadArena::Counts DeadArena::look(SlotWord w, unsigned shard, detail::ShardSize size, std::uint32_t b, const simd::HashKeys& keys,
                                  Scratch& scratch, std::uint64_t& version_max, detail::TakenIn& in, std::uint64_t& hash,
                                  const char*& wrong) const noexcept {
  if (!w.is_current() && !(w.is_tentative() && planted(DeadBug::kTentativeCounts))) return Counts::kNo;
  Words words;
  if (!words_at(w.offset(), words, wrong)) return Counts::kNo;
  if (words.hold.version() > version_max) version_max = words.hold.version();
  std::uint64_t stamp = 0;
  const bool some = resolve(words, stamp, wrong);
  if (!some || words.stamp.tomb() || words.stamp.absent()) return Counts::kNo;
  if (words.hold.version() > version_max) version_max = words.hold.version();
  if (!read_record(words, &scratch, in, wrong)) return wrong != nullptr ? Counts::kNo : Counts::kNoMemory;
  hash = simd::hash_bytes(in.key.data(), in.key.size(), keys);
  const unsigned bits = static_cast<unsigned>(std::countr_zero(header_.shard_count));
  if (detail::tag_of(hash) != w.tag() || (bits != 0 && hash >> (64 - bits) != shard)) {
    wrong = "a key lies where it doesn't belong";
    return Counts::kNo;
  }
  const std::uint32_t home = size.home(hash);
  if (home != b) {
    // On its way to a bucket that is being made: there, once that is initialised, and here before.
    if (home < detail::kFirstBuckets || detail::split_source(home) != b || home + detail::kSplitsOpenMax < size.buckets()) {
      wrong = "a key lies where it doesn't belong";
      return Counts::kNo;
    }
    Lines target;
    if (is_authority(shard, size, home, target) || planted(DeadBug::kFrozenPasses)) {
      if (!w.is_frozen() && !planted(DeadBug::kFrozenPasses)) wrong = "a key is in a bucket that it has left";
      return Counts::kNo;
    }
  }
  if (in.version == 0) wrong = "a record has no version";
  return wrong == nullptr && !is_dead(words, stamp, in, wrong) && wrong == nullptr ? Counts::kYes : Counts::kNo;
}

}  // namespace tern::persist
