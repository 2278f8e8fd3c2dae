// A snapshot's bytes, changed by hand, with checksums made right again: what damage can't do and malice can.
#ifndef TERN_TESTS_PERSIST_FORGED_FILE_H_
#define TERN_TESTS_PERSIST_FORGED_FILE_H_

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "persist/format.h"
#include "simd/checksum.h"
#include "simd/hash.h"

namespace tern::test {

// Where the parts of a file are, as far as it has them. Never outside of it.
inline persist::Header header_of(const std::string& file) {
  persist::Header h{};
  std::memcpy(&h, file.data(), file.size() < sizeof h ? file.size() : sizeof h);
  return h;
}

// Every checksum right, whatever the bytes say.
inline void reseal(std::string& file) {
  if (file.size() < persist::kHeaderBytes) return;
  persist::Header h = header_of(file);
  const std::uint64_t shards = std::uint64_t{h.shard_count} * sizeof(persist::ShardEntry);
  if (h.directory_at <= file.size() && h.directory_bytes <= file.size() - h.directory_at) {
    for (std::uint64_t i = 0; i < h.block_count; ++i) {
      const std::uint64_t at = shards + i * sizeof(persist::BlockEntry);
      if (at + sizeof(persist::BlockEntry) > h.directory_bytes) break;
      char* entry = file.data() + h.directory_at + at;
      persist::BlockEntry b;
      std::memcpy(&b, entry, sizeof b);
      if (b.at > file.size() || b.bytes > file.size() - b.at) continue;
      b.checksum = simd::checksum(file.data() + b.at, b.bytes, persist::block_salt(h, i, b.at));
      std::memcpy(entry, &b, sizeof b);
    }
    h.directory_checksum = simd::checksum(file.data() + h.directory_at, h.directory_bytes, persist::directory_salt(h));
  }
  h.checksum = persist::header_checksum(h);
  std::memcpy(file.data(), &h, sizeof h);
}

// One shard and one block around these bytes, cut down to a multiple of 8. With a codec they are what it made of so many.
inline std::string file_around(std::string_view block, std::uint32_t records, persist::Codec codec = persist::Codec::kNone,
                               std::uint64_t unpacked_bytes = 0) {
  block = block.substr(0, block.size() / 8 * 8);
  persist::Header h{};
  std::memcpy(h.magic, persist::kMagic, sizeof h.magic);
  h.format_version = persist::kFormatVersion;
  h.byte_order = persist::kByteOrder;
  h.header_bytes = persist::kHeaderBytes;
  h.shard_count = 1;
  h.generation = 1;
  h.version_max = detail::kVersionMask;
  h.hash_seed = 42;
  h.entries = records;
  h.block_count = 1;
  h.directory_at = persist::kHeaderBytes + block.size();
  h.directory_bytes = sizeof(persist::ShardEntry) + sizeof(persist::BlockEntry);
  h.file_bytes = h.directory_at + h.directory_bytes;
  const persist::ShardEntry s{records, 0, 0, 1};
  const persist::BlockEntry b{persist::kHeaderBytes, block.size(), codec != persist::Codec::kNone ? unpacked_bytes : block.size(), 0,
                              ~std::uint64_t{0}, 0, records, static_cast<std::uint32_t>(codec)};
  std::string file(reinterpret_cast<const char*>(&h), sizeof h);
  file += block;
  file.append(reinterpret_cast<const char*>(&s), sizeof s);
  file.append(reinterpret_cast<const char*>(&b), sizeof b);
  reseal(file);
  return file;
}

inline std::string record_bytes(const persist::FileRecord& r) {
  char head[persist::kRecordHeadMax];
  std::string bytes(head, persist::put_head(head, r));
  bytes += r.key;
  bytes += r.value;
  bytes += r.tags;
  bytes.resize(r.bytes());
  return bytes;
}

}  // namespace tern::test

#endif  // TERN_TESTS_PERSIST_FORGED_FILE_H_
