#include "persist/format.h"

#include <algorithm>
#include <cstring>

#include "simd/checksum.h"

namespace tern::persist {

using detail::Deadline;
using detail::Ext;
using detail::Hold;
using detail::Link;
using detail::Span;
using detail::Stamp;

namespace {

constexpr std::size_t kKeyBytesMax = 65'530;  // of a stored key: with its namespace's mark (engine/names.h)
constexpr std::uint64_t kValueBytesMax = (std::uint64_t{1} << 32) - (64 << 10);
constexpr std::uint64_t kXAllowed = Deadline::kNever << Deadline::kShift;
constexpr std::uint64_t kExtAllowed = ~(Ext::kExtent | Ext::kKeyRef | Ext::kKeyInExtent);
// As in an arena, of a record that has no extent.
constexpr std::uint64_t kTags = Ext::tags_with(0, false);

std::uint64_t word_at(const char* from) noexcept {
  std::uint64_t word;
  std::memcpy(&word, from, sizeof word);
  return word;
}

}  // namespace

std::size_t put_head(char* to, const FileRecord& r) noexcept {
  std::uint64_t words[5];
  std::size_t n = 3;
  const bool ext = r.has_ext();
  const std::uint64_t klen8 = r.key.size() > detail::kShortKeyMax ? 255 : r.key.size();
  words[0] = kStampedKind | (r.has_deadline ? Stamp::kHasX : 0) | (ext ? Stamp::kHasExt : 0) | klen8 << Stamp::kKeyShift;
  words[1] = Link::first(r.value.size() > detail::kShortValueMax ? Link::kLengthMask : r.value.size()).of_type(r.type).word();
  words[2] = Hold(0).with_version(r.version).with_access(r.access).kept(r.keep).word();
  if (r.has_deadline) words[n++] = Deadline::at(r.deadline_wall_ms).word();
  if (ext) words[n++] = Ext::of(r.key.size(), r.value.size(), r.span.bits() << Ext::kSpanShift | (r.tags.empty() ? 0 : kTags)).word();
  std::memcpy(to, words, n * sizeof words[0]);
  return n * sizeof words[0];
}

const char* parse_record(const char* from, std::uint64_t left, std::uint32_t format_version, FileRecord& r) noexcept {
  if (left < detail::kRecordHeaderBytes) return "a record is cut off";
  const std::uint64_t w0 = word_at(from), link = word_at(from + 8), meta = word_at(from + 16);
  const Stamp s(w0);
  if ((w0 & ~kFlagsAllowed) != 0 || !s.stamped()) return "a record's first word has bits that a file has not";
  if ((link & ~kLinkAllowed) != 0) return "a record's second word has bits that a file has not";
  if ((meta & ~kMetaAllowed) != 0) return "a record's third word has bits that a file has not";
  r = {};
  r.version = Hold(meta).version();
  r.access = Hold(meta).access();
  r.keep = Hold(meta).keep();
  r.type = Link(link).type();
  if (r.version == 0) return "a record has no version";
  std::uint64_t at = detail::kRecordHeaderBytes;
  const std::uint64_t words = (s.has_x() ? 8u : 0u) + (s.has_ext() ? 8u : 0u);
  if (left - at < words) return "a record is cut off";
  if (s.has_x()) {
    const std::uint64_t x = word_at(from + at);
    at += 8;
    r.has_deadline = true;
    r.deadline_wall_ms = Deadline(x).ms();
    if ((x & ~kXAllowed) != 0 || Deadline(x).never()) return "a record's deadline is none";
  }
  std::uint64_t key_size = s.klen8();
  std::uint64_t value_size = Link(link).length18();
  bool tagged = false;
  if (s.has_ext()) {
    const Ext e(word_at(from + at));
    at += 8;
    if ((e.word() & ~(kExtAllowed | (format_version == 1 ? 0 : kTags))) != 0) {
      return "a record's lengths have bits that a file has not";
    }
    tagged = (e.word() & kTags) != 0;
    r.span = e.span();
    if (r.span.bits() != 0 && !r.has_deadline) return "a record has a lifetime without a deadline";
    const bool long_key = key_size == 255, long_value = value_size == Link::kLengthMask;
    if (long_key ? e.key_size() <= detail::kShortKeyMax : e.key_size() != key_size) return "a record has two key lengths";
    if (long_value ? e.value_size() <= detail::kShortValueMax : e.value_size() != value_size) {
      return "a record has two value lengths";
    }
    if (!long_key && !long_value && r.span.bits() == 0 && !tagged) return "a record has a word too many";
    key_size = e.key_size();
    value_size = e.value_size();
  } else if (key_size == 255 || value_size == Link::kLengthMask) {
    return "a record's lengths are missing";
  }
  if (key_size == 0 || key_size > kKeyBytesMax) return "a record's key has a length that no key has";
  if (value_size > kValueBytesMax) return "a record's value has a length that no value has";
  if (left - at < key_size + value_size) return "a record is cut off";
  r.key = {from + at, key_size};
  r.value = {from + at + key_size, value_size};
  if (tagged) {
    at += key_size + value_size;
    if (left - at < sizeof(std::uint16_t)) return "a record is cut off";
    r.tags = {from + at, detail::tag_block_bytes(from + at)};
    if (left - at < r.tags.size()) return "a record is cut off";
    if (!detail::is_tag_block(r.tags, format_version >= kMetadataFormatVersion)) return "a record's tags are none";
  }
  const std::uint64_t end = r.unpadded_bytes();
  if (left < r.bytes()) return "a record is cut off";
  for (std::uint64_t i = end; i != r.bytes(); ++i) {
    if (from[i] != 0) return "bytes between records are not zero";
  }
  return nullptr;
}

std::uint64_t header_checksum(const Header& h) noexcept { return simd::checksum(&h, offsetof(Header, checksum), header_salt(h)); }

const char* check_header(const Header& h, bool& newer) noexcept {
  newer = false;
  if (std::memcmp(h.magic, kMagic, sizeof kMagic) != 0) return "this is no snapshot: its first bytes are others";
  // What a later version lays out otherwise can't be judged, its checksum neither.
  if (h.byte_order != kByteOrder) return "the byte order is not this machine's";
  if (h.format_version > kFormatVersion) {
    newer = true;
    return "it was written by a newer version of Tern than this one; open it with that";
  }
  if (h.format_version == 0 || h.header_bytes != kHeaderBytes) return "the format version is none";
  if (h.checksum != header_checksum(h)) return "the header's checksum is wrong";
  for (const char c : h.zero) {
    if (c != 0) return "the header has a field that this version doesn't know";
  }
  if (h.shard_count == 0 || h.shard_count > kShardsMax || !std::has_single_bit(h.shard_count)) return "the number of shards is none";
  if (h.generation == 0) return "the generation is none";
  if (h.version_max > detail::kVersionMask || h.version_base > detail::kVersionMask) return "a version is out of range";
  if (h.wall_ms > Deadline::kNever || h.birth_wall_ms > Deadline::kNever) return "a time is out of range";
  if (h.file_bytes < kHeaderBytes || h.directory_at < kHeaderBytes || h.directory_at % 8 != 0 ||
      h.directory_at > h.file_bytes || h.directory_bytes != h.file_bytes - h.directory_at) {
    return "the directory is outside of the file";
  }
  const std::uint64_t of_shards = std::uint64_t{h.shard_count} * sizeof(ShardEntry);
  if (h.directory_bytes < of_shards || (h.directory_bytes - of_shards) % sizeof(BlockEntry) != 0 ||
      (h.directory_bytes - of_shards) / sizeof(BlockEntry) != h.block_count) {
    return "the directory's size doesn't fit the number of blocks";
  }
  return nullptr;
}

const char* check_directory(const Header& h, const ShardEntry* shards, const BlockEntry* blocks, std::uint64_t* order,
                            std::uint64_t& at) noexcept {
  std::uint64_t next_block = 0;
  std::uint64_t entries = 0;
  for (unsigned i = 0; i != h.shard_count; ++i) {
    at = i * sizeof(ShardEntry);
    const ShardEntry& s = shards[i];
    if (s.first_block != next_block || s.block_count > h.block_count - next_block) return "a shard's blocks are not its own";
    if (s.version_floor > h.version_max) return "a shard's versions are out of range";
    std::uint64_t records = 0;
    for (std::uint64_t b = s.first_block; b != s.first_block + s.block_count; ++b) {
      at = h.shard_count * sizeof(ShardEntry) + b * sizeof(BlockEntry);
      const BlockEntry& e = blocks[b];
      const bool packed = e.codec != static_cast<std::uint32_t>(Codec::kNone);
      if (packed && (e.codec > static_cast<std::uint32_t>(Codec::kZstd) || version_of(static_cast<Codec>(e.codec)) > h.format_version)) {
        return "a block is packed in a way that this version doesn't know";
      }
      if (e.at < kHeaderBytes || e.at > h.directory_at || e.bytes % 8 != 0 || e.bytes > h.directory_at - e.at) {
        return "a block is outside of the file";
      }
      if (!packed && e.plain_bytes != e.bytes) return "a block has two sizes";
      if (packed && (e.plain_bytes % 8 != 0 || e.plain_bytes <= e.bytes || e.plain_bytes > kPackedPlainMax)) return "a packed block has a size that none has";
      if (e.records == 0 || e.records > e.plain_bytes / detail::kRecordHeaderBytes) return "a block can't hold so many records";
      if (e.first_place > e.last_place) return "a block's places are upside down";
      if (b != s.first_block && e.first_place < blocks[b - 1].first_place) return "blocks are out of order";
      order[b] = b;
      records += e.records;
    }
    if (records != s.entries) return "a shard's entries are not as many as its blocks hold";
    next_block += s.block_count;
    entries += records;
  }
  at = 0;
  if (next_block != h.block_count) return "blocks belong to no shard";
  if (h.format_version != 1) std::sort(order, order + h.block_count, [&](std::uint64_t a, std::uint64_t b) { return blocks[a].at < blocks[b].at; });
  std::uint64_t next_at = kHeaderBytes;
  for (std::uint64_t i = 0; i != h.block_count; ++i) {
    if (blocks[order[i]].at != next_at) {
      at = h.shard_count * sizeof(ShardEntry) + order[i] * sizeof(BlockEntry);
      return "blocks don't follow one another";
    }
    next_at += blocks[order[i]].bytes;
  }
  if (next_at != h.directory_at) return "bytes lie between the blocks and the directory";
  if (entries != h.entries) return "the entries are not as many as the shards hold";
  return nullptr;
}

}  // namespace tern::persist
