// Reader: a snapshot file, checked before it is believed. No byte of it is used before the checksum over it was found
// right, and nothing of what it says is taken for true without a look at whether it can be: a checksum keeps off damage,
// not malice. Memory: the directory and the blocks that the caller has read, so never more than the file's size.
#ifndef TERN_PERSIST_READER_H_
#define TERN_PERSIST_READER_H_

#include <cstdint>

#include "alloc/platform.h"
#include "persist/codec.h"
#include "persist/fault.h"
#include "persist/format.h"
#include "persist/generations.h"
#include "simd/hash.h"

namespace tern::persist {

// A block's bytes, in private memory that grows to the longest, and what unpacks them.
class BlockBuffer {
 public:
  BlockBuffer() = default;
  ~BlockBuffer();
  BlockBuffer(const BlockBuffer&) = delete;
  BlockBuffer& operator=(const BlockBuffer&) = delete;
  char* room_for(std::uint64_t bytes) noexcept;  // null: no memory
  const char* data() const noexcept { return bytes_; }
  // Beside it: as the file has them, of a block that is packed.
  char* packed_room_for(std::uint64_t bytes) noexcept;
  Unpacker& unpacker() noexcept { return unpacker_; }

 private:
  Unpacker unpacker_;
  char* bytes_ = nullptr;
  std::uint64_t room_ = 0;
  char* packed_ = nullptr;
  std::uint64_t packed_room_ = 0;
};

class Reader {
 public:
  Reader() = default;
  ~Reader();
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  // Header and directory. not_found, io, corrupt, unsupported (newer), out_of_memory.
  Error open(const FileName& name, Trouble& trouble) noexcept;

  // Nothing is read any more; header and directory stay.
  void close_file() noexcept { alloc::platform::close_file(file_); }

  const Header& header() const noexcept { return header_; }
  const ShardEntry& shard(unsigned i) const noexcept { return shards_[i]; }
  const BlockEntry& block(std::uint64_t i) const noexcept { return blocks_[i]; }

  // From here on from several threads, each with its own buffer and trouble.
  Error read_block(std::uint64_t i, BlockBuffer& buffer, Trouble& trouble) const noexcept;

  // fn(const FileRecord&, std::uint64_t hash) -> Error for each record of block `i`, which is in `buffer` and belongs to
  // `shard`; ends at the first error. `hash_keys` are derived from the header's seed.
  template <class Fn>
  Error for_each_record(std::uint64_t i, unsigned shard, const BlockBuffer& buffer, const simd::HashKeys& hash_keys,
                        Trouble& trouble, Fn&& fn) const noexcept {
    const BlockEntry& b = blocks_[i];
    std::uint64_t at = 0;
    std::uint32_t records = 0;
    while (at != b.plain_bytes) {
      FileRecord r;
      const char* wrong = parse_record(buffer.data() + at, b.plain_bytes - at, header_.format_version, r);
      std::uint64_t hash = 0;
      if (wrong == nullptr) {
        hash = simd::hash_bytes(r.key.data(), r.key.size(), hash_keys);
        wrong = check_record(b, shard, hash, r);
      }
      if (wrong != nullptr) return trouble.damaged(name_.text, b.at + (b.plain_bytes == b.bytes ? at : 0), wrong);
      if (const Error e = fn(static_cast<const FileRecord&>(r), hash); e.status != Status::kOk) return e;
      at += r.bytes();
      ++records;
    }
    if (records != b.records) return trouble.damaged(name_.text, b.at, "a block doesn't hold as many records as it should");
    return {};
  }
  // A finding about a record that the caller made.
  Error damaged(std::uint64_t block, Trouble& trouble, const char* what) const noexcept {
    return trouble.damaged(name_.text, blocks_[block].at, what);
  }
  const char* name() const noexcept { return name_.text; }

 private:
  const char* check_record(const BlockEntry& b, unsigned shard, std::uint64_t hash, const FileRecord& r) const noexcept;

  FileName name_{};
  alloc::platform::File file_;
  Header header_{};
  char* directory_ = nullptr;
  const ShardEntry* shards_ = nullptr;
  const BlockEntry* blocks_ = nullptr;
};

// Of what lies at the path now, as far as its headers can be read; 0: nothing.
std::uint64_t newest_generation(const Generations& generations) noexcept;

}  // namespace tern::persist

#endif  // TERN_PERSIST_READER_H_
