// What packs a block: the one door to LZ4. A build without it saves and reads plain blocks, and refuses the others by name.
//
// A packed block in the file:   u32 bytes of what LZ4 made | those | zeros up to a multiple of 8
//
// Source: Y. Collet, LZ4 block format, 1.9.
#ifndef TERN_PERSIST_CODEC_H_
#define TERN_PERSIST_CODEC_H_

#include <cstddef>
#include <cstdint>

#include "persist/format.h"

namespace tern::persist {

bool is_built_in(Codec codec) noexcept;

// Room that pack needs for `plain_bytes`, at most kPackedPlainMax.
std::uint64_t packed_room(std::uint64_t plain_bytes) noexcept;

// Answers the bytes of the packed block; 0 if they would be no fewer than a sixteenth below the plain ones: not worth it.
std::uint64_t pack(Codec codec, const char* plain, std::uint64_t plain_bytes, char* to) noexcept;

// What is wrong with the packed block, null: nothing, and `plain_bytes` are at `to`. Whatever the bytes are, nothing outside of
// the two ranges is touched.
const char* unpack(Codec codec, const char* packed, std::uint64_t bytes, char* to, std::uint64_t plain_bytes) noexcept;

}  // namespace tern::persist

#endif  // TERN_PERSIST_CODEC_H_
