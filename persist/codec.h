// What packs a block: the one door to LZ4 and to Zstd. A build without one of them refuses by name what it would need it for.
//
// A packed block in the file:   u32 bytes of what the library made | those | zeros up to a multiple of 8
// With Zstd those are one frame, no skippable ones and none of older formats.
//
// Sources: Y. Collet, LZ4 block format, 1.9; Y. Collet and M. Kucherawy, RFC 8878 (Zstandard).
#ifndef TERN_PERSIST_CODEC_H_
#define TERN_PERSIST_CODEC_H_

#include <cstddef>
#include <cstdint>

#include "persist/format.h"

namespace tern::persist {

bool is_built_in(Codec codec) noexcept;

// One thread's packing.
class Packer {
 public:
  Packer() = default;
  ~Packer();
  Packer(const Packer&) = delete;
  Packer& operator=(const Packer&) = delete;

  // Once; a codec that is built in. False: no memory.
  bool prepare(Codec codec) noexcept;
  Codec codec() const noexcept { return codec_; }
  // Answers the bytes of the packed block, which lies at packed(); 0: it wouldn't be a sixteenth smaller than the plain one, or that is more than
  // kPackedPlainMax.
  std::uint64_t pack(const char* plain, std::uint64_t plain_bytes) noexcept;
  const char* packed() const noexcept { return packed_; }

 private:
  Codec codec_ = Codec::kNone;
  char* packed_ = nullptr;
  void* context_ = nullptr;  // Zstd's
};

// One thread's unpacking.
class Unpacker {
 public:
  Unpacker() = default;
  ~Unpacker();
  Unpacker(const Unpacker&) = delete;
  Unpacker& operator=(const Unpacker&) = delete;

  // Before the first block of this codec. False: no memory.
  bool prepare(Codec codec) noexcept;
  // What is wrong with the packed block, null: nothing, and `plain_bytes` are at `to`. Whatever the bytes are, nothing outside of
  // the two ranges is touched.
  const char* unpack(Codec codec, const char* packed, std::uint64_t bytes, char* to, std::uint64_t plain_bytes) noexcept;

 private:
  void* context_ = nullptr;  // Zstd's
};

}  // namespace tern::persist

#endif  // TERN_PERSIST_CODEC_H_
