#include "persist/reader.h"

#include <cerrno>
#include <cstring>

#include "alloc/private_memory.h"
#include "simd/checksum.h"
#include "simd/hash.h"

namespace tern::persist {

namespace platform = alloc::platform;

namespace {

char* grown(char*& at, std::uint64_t& room, std::uint64_t bytes) noexcept {
  if (bytes > room) {
    alloc::private_free(at);
    room = bytes < 2 * kBlockBytes ? 2 * kBlockBytes : bytes;
    at = static_cast<char*>(alloc::private_allocate_aligned(room, 64));
    if (at == nullptr) room = 0;
  }
  return at;
}

}  // namespace

BlockBuffer::~BlockBuffer() {
  alloc::private_free(bytes_);
  alloc::private_free(packed_);
}
char* BlockBuffer::room_for(std::uint64_t bytes) noexcept { return grown(bytes_, room_, bytes); }
char* BlockBuffer::packed_room_for(std::uint64_t bytes) noexcept { return grown(packed_, packed_room_, bytes); }

Reader::~Reader() {
  platform::close_file(file_);
  alloc::private_free(directory_);
}

Error Reader::open(const FileName& name, Trouble& trouble) noexcept {
  name_ = name;
  int error = 0;
  file_ = platform::open_file(name.text, platform::OpenMode::kRead, &error);
  if (error == ENOENT) return trouble.refused(name.text, {Status::kNotFound, Field::kPath}, "there is no such file");
  if (error != 0) return trouble.system(name.text, "the file can't be opened", error);
  const auto size = platform::file_size(file_);
  if (!size.ok()) return trouble.system(name.text, "the file's size is unknown", size.error);
  if (size.count < kHeaderBytes) return trouble.damaged(name.text, size.count, "the file is shorter than a header");
  const ReadAll read = read_all(file_, &header_, sizeof header_, 0);
  if (read.error != 0) return trouble.system(name.text, "the header can't be read", read.error);
  if (read.ended) return trouble.damaged(name.text, 0, "the file has become shorter");
  bool newer = false;
  if (const char* wrong = check_header(header_, newer)) {
    if (newer) return trouble.refused(name.text, {Status::kUnsupported, Field::kPath}, wrong);
    return trouble.damaged(name.text, 0, wrong);
  }
  if (header_.file_bytes != size.count) {
    return trouble.damaged(name.text, size.count < header_.file_bytes ? size.count : header_.file_bytes,
                           size.count < header_.file_bytes ? "the file is cut off" : "the file goes on after its end");
  }
  // No more than the file has, as was just seen.
  directory_ = static_cast<char*>(alloc::private_allocate(header_.directory_bytes));
  if (directory_ == nullptr) return trouble.refused(name.text, {Status::kOutOfMemory, Field::kNone}, "no memory for the directory");
  const ReadAll got = read_all(file_, directory_, header_.directory_bytes, header_.directory_at);
  if (got.error != 0) return trouble.system(name.text, "the directory can't be read", got.error);
  if (got.ended) return trouble.damaged(name.text, header_.directory_at, "the file has become shorter");
  if (simd::checksum(directory_, header_.directory_bytes, directory_salt(header_)) != header_.directory_checksum) {
    return trouble.damaged(name.text, header_.directory_at, "the directory's checksum is wrong");
  }
  shards_ = reinterpret_cast<const ShardEntry*>(directory_);
  blocks_ = reinterpret_cast<const BlockEntry*>(directory_ + sizeof(ShardEntry) * header_.shard_count);
  std::uint64_t at = 0;
  auto* order = static_cast<std::uint64_t*>(alloc::private_allocate(header_.block_count * sizeof(std::uint64_t) + 1));
  if (order == nullptr) return trouble.refused(name.text, {Status::kOutOfMemory, Field::kNone}, "no memory for the directory");
  const char* wrong = check_directory(header_, shards_, blocks_, order, at);
  alloc::private_free(order);
  if (wrong != nullptr) {
    return trouble.damaged(name.text, header_.directory_at + at, wrong);
  }
  for (std::uint64_t b = 0; header_.format_version >= 3 && b != header_.block_count; ++b) {
    const auto codec = static_cast<Codec>(blocks_[b].codec);
    if (!is_built_in(codec)) {
      return trouble.refused(name.text, {Status::kUnsupported, Field::kCodec},
                             codec == Codec::kLz4 ? "its blocks are packed by LZ4, which this build of Tern has not"
                                                  : "its blocks are packed by Zstd, which this build of Tern has not");
    }
  }
  return {};
}

Error Reader::read_block(std::uint64_t i, BlockBuffer& buffer, Trouble& trouble) const noexcept {
  const BlockEntry& b = blocks_[i];
  const auto codec = static_cast<Codec>(b.codec);
  const bool packed = codec != Codec::kNone;
  char* const plain = buffer.room_for(b.plain_bytes);
  char* const to = packed ? buffer.packed_room_for(b.bytes) : plain;
  if (plain == nullptr || to == nullptr || !buffer.unpacker().prepare(codec)) {
    return trouble.refused(name_.text, {Status::kOutOfMemory, Field::kNone}, "no memory for a block");
  }
  const ReadAll read = read_all(file_, to, b.bytes, b.at);
  if (read.error != 0) return trouble.system(name_.text, "a block can't be read", read.error);
  if (read.ended) return trouble.damaged(name_.text, b.at, "the file has become shorter");
  if (simd::checksum(to, b.bytes, block_salt(header_, i, b.at)) != b.checksum) {
    return trouble.damaged(name_.text, b.at, "a block's checksum is wrong");
  }
  if (!packed) return {};
  if (const char* wrong = buffer.unpacker().unpack(codec, to, b.bytes, plain, b.plain_bytes)) {
    return trouble.damaged(name_.text, b.at, wrong);
  }
  return {};
}

const char* Reader::check_record(const BlockEntry& b, unsigned shard, std::uint64_t hash, const FileRecord& r) const noexcept {
  if (r.version > header_.version_max) return "a record's version is out of range";
  if (shard_of(hash, header_.shard_count) != shard) return "a record is in another shard than its key's";
  const std::uint64_t place = place_of(hash);
  if (place < b.first_place || place > b.last_place) return "a record is in another block than its key's";
  return nullptr;
}

std::uint64_t newest_generation(const Generations& generations) noexcept {
  std::uint64_t newest = 0;
  for (unsigned back = 0; back != 2; ++back) {
    int error = 0;
    platform::File file = platform::open_file(generations.file(back).text, platform::OpenMode::kRead, &error);
    if (error != 0) continue;
    Header header;
    bool newer = false;
    const bool read = read_all(file, &header, sizeof header, 0).ok();
    platform::close_file(file);
    if (read && check_header(header, newer) == nullptr && header.generation > newest) newest = header.generation;
  }
  return newest;
}

}  // namespace tern::persist
