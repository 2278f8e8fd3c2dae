// The snapshot file, drawn to the byte. README.md has the words; what is written and read goes through these structures.
//
//   0        Header, 4,096 bytes, its checksum last
//   4096     blocks, one after the other, each a multiple of 8 bytes: records, each as it lies in an arena, padded to 8
//   ...      directory: ShardEntry[shard_count], BlockEntry[block_count]
//            end of the file: nothing follows, nothing lies between
//
// Every byte is under one checksum: the header's its own, the directory's in the header, a block's in the directory.
// All are salted with the seed and the generation, a block's also with its offset.
//
// A record in the file
//    0  w0    63..62 = 1 | 58 HAS_X | 57 HAS_EXT | 55..48 key length, 255: see EXT | the rest 0
//    8  link  60..58 type | 57..40 value length, all ones: see EXT | the rest 0
//   16  meta  62 KEEP | 49..48 access count | 47..0 version, at least 1 | the rest 0
//   24  [X]   62..20 deadline in milliseconds since 1970, by the wall clock | the rest 0
//       [EXT] 61 TAGS | 60..48 span (idle or stale time) | 47..32 key length | 31..0 value length; if one of the four is needed
//       key, value, [TAGS], zeros up to a multiple of 8
//       [TAGS] 15 METADATA | 12..0 bytes of it all, the lease if there is one, for each tag its length in a byte and its bytes,
//              metadata and their length if there are any (engine/tags.h); from version 2 on, metadata from version 5 on
// What an arena keeps outside of the record (extents) lies in it here. There is one way to write a record: any other is
// damage.
#ifndef TERN_PERSIST_FORMAT_H_
#define TERN_PERSIST_FORMAT_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "engine/record.h"
#include "engine/tags.h"

namespace tern::persist {

static_assert(std::endian::native == std::endian::little, "the file is little-endian, and so is what reads and writes it");

inline constexpr char kMagic[8] = {'T', 'E', 'R', 'N', 'S', 'N', 'A', 'P'};
// 1: no tags; blocks lie in the directory's order, and are salted with their number there. 2: tags; blocks lie as they were
// done, and are salted with their offset. What an older version wrote is read as it is.
// 3: blocks may be packed by LZ4 (codec.h).
// 4: blocks may be packed by Zstd, too. 5: entries may have metadata. What needs no newer version is written in an older one.
inline constexpr std::uint32_t kFormatVersion = 5;
inline constexpr std::uint32_t kMetadataFormatVersion = 5;
inline constexpr std::uint32_t kPlainFormatVersion = 2;
inline constexpr std::uint32_t kByteOrder = 0x01020304;
inline constexpr std::size_t kHeaderBytes = 4096;
inline constexpr unsigned kShardsMax = 1024;
// A block is closed when it has as much.
inline constexpr std::size_t kBlockBytes = 64 << 10;
// A record longer than this has a block for itself.
inline constexpr std::size_t kRecordInBlockMax = 16 << 10;

// The most that one packed block may unpack to, so that a small file can't ask for much memory. Longer records stay plain.
inline constexpr std::uint64_t kPackedPlainMax = 1 << 20;

enum class Codec : std::uint32_t { kNone = 0, kLz4 = 1, kZstd = 2 };
// The first version whose files may have it.
constexpr std::uint32_t version_of(Codec codec) noexcept { return kPlainFormatVersion + static_cast<std::uint32_t>(codec); }
static_assert(version_of(Codec::kZstd) < kMetadataFormatVersion && kMetadataFormatVersion == kFormatVersion);

struct Header {
  char magic[8];
  std::uint32_t format_version;
  std::uint32_t byte_order;
  std::uint32_t header_bytes;
  std::uint32_t shard_count;
  std::uint64_t file_bytes;
  std::uint64_t generation;
  std::uint64_t version_base;  // of the store that wrote it: see Generations
  std::uint64_t version_max;   // of its records and shards' floors
  std::uint64_t hash_seed;
  std::uint64_t view_stamp;
  std::uint64_t wall_ms;        // at the view's moment, since 1970
  std::uint64_t birth_wall_ms;  // when the store was first opened empty
  std::uint64_t entries;
  std::uint64_t block_count;
  std::uint64_t directory_at;
  std::uint64_t directory_bytes;
  std::uint64_t directory_checksum;
  std::uint64_t memory_bytes;  // the writer's budget
  char engine[16];             // version of the library that wrote it, for people
  char name[64];               // Options::name
  char zero[3872];
  std::uint64_t checksum;      // over all before it
};
static_assert(sizeof(Header) == kHeaderBytes && offsetof(Header, file_bytes) == 24 && offsetof(Header, engine) == 136 &&
                  offsetof(Header, checksum) == kHeaderBytes - 8,
              "no padding: the structure is the file's");

struct ShardEntry {
  std::uint64_t entries;
  std::uint64_t version_floor;
  std::uint64_t first_block;
  std::uint64_t block_count;
};

// Its keys' hashes, read from the lowest bit upwards, lie in [first_place, last_place], and no other block's of the shard
// do unless it holds a single long record: so the buckets that a block fills are found without reading it.
struct BlockEntry {
  std::uint64_t at;
  std::uint64_t bytes;        // in the file
  std::uint64_t plain_bytes;  // without the codec
  std::uint64_t first_place;
  std::uint64_t last_place;
  std::uint64_t checksum;  // of the bytes in the file
  std::uint32_t records;
  std::uint32_t codec;
};
static_assert(sizeof(ShardEntry) == 32 && sizeof(BlockEntry) == 56);

// Of checksums: a block in another's place, or of another generation, is noticed.
constexpr std::uint64_t header_salt(const Header& h) noexcept { return h.hash_seed ^ h.generation * 0xA0761D6478BD642Fu; }
constexpr std::uint64_t directory_salt(const Header& h) noexcept { return ~header_salt(h); }
constexpr std::uint64_t block_salt(const Header& h, std::uint64_t index, std::uint64_t at) noexcept {
  return header_salt(h) + ((h.format_version == 1 ? index : at) + 1) * 0x9E3779B97F4A7C15u;
}

// The place of a key on the line that a view's walk follows (engine/views.h).
constexpr std::uint64_t place_of(std::uint64_t hash) noexcept {
  std::uint64_t x = hash;
  x = (x >> 1 & 0x5555555555555555) | (x & 0x5555555555555555) << 1;
  x = (x >> 2 & 0x3333333333333333) | (x & 0x3333333333333333) << 2;
  x = (x >> 4 & 0x0F0F0F0F0F0F0F0F) | (x & 0x0F0F0F0F0F0F0F0F) << 4;
  return __builtin_bswap64(x);
}
constexpr unsigned shard_of(std::uint64_t hash, unsigned shard_count) noexcept {
  return shard_count == 1 ? 0 : static_cast<unsigned>(hash >> (64 - std::countr_zero(shard_count)));
}

// A record as the file has it.
struct FileRecord {
  std::string_view key;
  std::string_view value;
  std::string_view tags;  // a block (engine/tags.h)
  std::uint64_t version = 0;
  bool has_deadline = false;
  std::uint64_t deadline_wall_ms = 0;
  detail::Span span;
  unsigned access = 0;
  unsigned type = 0;
  bool keep = false;

  bool has_metadata() const noexcept { return !detail::metadata_in(tags).empty(); }
  bool has_ext() const noexcept {
    return key.size() > detail::kShortKeyMax || value.size() > detail::kShortValueMax || span.bits() != 0 || !tags.empty();
  }
  // Bytes before the key.
  std::size_t head_bytes() const noexcept { return detail::kRecordHeaderBytes + (has_deadline ? 8 : 0) + (has_ext() ? 8 : 0); }
  std::uint64_t unpadded_bytes() const noexcept { return head_bytes() + key.size() + value.size() + tags.size(); }
  std::uint64_t bytes() const noexcept { return (unpadded_bytes() + 7) / 8 * 8; }
};
inline constexpr std::size_t kRecordHeadMax = detail::kRecordHeaderBytes + 16;

// What the file has of a record's words; the other bits mean something in an arena alone.
inline constexpr std::uint64_t kStampedKind = std::uint64_t{1} << 62;
inline constexpr std::uint64_t kFlagsAllowed =
    kStampedKind | detail::Stamp::kHasX | detail::Stamp::kHasExt | std::uint64_t{255} << detail::Stamp::kKeyShift;
inline constexpr std::uint64_t kLinkAllowed =
    detail::Link::kTypeMask << detail::Link::kTypeShift | detail::Link::kLengthMask << detail::Link::kLengthShift;
inline constexpr std::uint64_t kMetaAllowed = detail::Hold::kKeep | detail::Hold::kAccessMask | detail::kVersionMask;

// Writes the words before the key; answers how many bytes.
std::size_t put_head(char* to, const FileRecord& r) noexcept;

// The record at `from` in a file of this version, of which `left` bytes (a multiple of 8) are there. Answers what is wrong with
// it, null if nothing.
const char* parse_record(const char* from, std::uint64_t left, std::uint32_t format_version, FileRecord& r) noexcept;

std::uint64_t header_checksum(const Header& h) noexcept;

// What is wrong with a header, beside the file's size; null: nothing. `newer`: it was written by a later version.
const char* check_header(const Header& h, bool& newer) noexcept;
// The same of a directory that lies after blocks which fill [kHeaderBytes, h.directory_at) without a gap; `at`: the entry's
// offset in the directory. `order` has room for as many as there are blocks.
const char* check_directory(const Header& h, const ShardEntry* shards, const BlockEntry* blocks, std::uint64_t* order,
                            std::uint64_t& at) noexcept;

}  // namespace tern::persist

#endif  // TERN_PERSIST_FORMAT_H_
