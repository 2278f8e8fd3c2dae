#include "persist/codec.h"

#include <cstring>

#if TERN_HAS_LZ4
#include <lz4.h>
#endif

namespace tern::persist {

#if TERN_HAS_LZ4

namespace {

static_assert(kPackedPlainMax <= LZ4_MAX_INPUT_SIZE, "sizes fit LZ4's integers");
constexpr std::uint64_t kLengthBytes = sizeof(std::uint32_t);

}  // namespace

bool is_built_in(Codec codec) noexcept { return codec == Codec::kNone || codec == Codec::kLz4; }

std::uint64_t packed_room(std::uint64_t plain_bytes) noexcept {
  return kLengthBytes + static_cast<std::uint64_t>(LZ4_compressBound(static_cast<int>(plain_bytes))) + 8;
}

std::uint64_t pack(Codec, const char* plain, std::uint64_t plain_bytes, char* to) noexcept {
  const std::uint64_t worth_it = plain_bytes - plain_bytes / 16;
  if (worth_it <= kLengthBytes + 8) return 0;
  // LZ4 gives up when it needs more.
  const int made = LZ4_compress_default(plain, to + kLengthBytes, static_cast<int>(plain_bytes), static_cast<int>(worth_it - kLengthBytes - 8));
  if (made <= 0) return 0;
  const auto length = static_cast<std::uint32_t>(made);
  std::memcpy(to, &length, sizeof length);
  const std::uint64_t end = kLengthBytes + length;
  const std::uint64_t bytes = (end + 7) / 8 * 8;
  std::memset(to + end, 0, bytes - end);
  return bytes;
}

const char* unpack(Codec, const char* packed, std::uint64_t bytes, char* to, std::uint64_t plain_bytes) noexcept {
  std::uint32_t length = 0;
  if (bytes < 8) return "a packed block has no length";
  std::memcpy(&length, packed, sizeof length);
  if (length > bytes - kLengthBytes || bytes - kLengthBytes - length >= 8) return "a packed block's length isn't its own";
  for (std::uint64_t i = kLengthBytes + length; i != bytes; ++i) {
    if (packed[i] != 0) return "bytes after a packed block are not zero";
  }
  const int made = LZ4_decompress_safe(packed + kLengthBytes, to, static_cast<int>(length), static_cast<int>(plain_bytes));
  if (made < 0 || static_cast<std::uint64_t>(made) != plain_bytes) return "a packed block can't be unpacked to its size";
  return nullptr;
}

#else

bool is_built_in(Codec codec) noexcept { return codec == Codec::kNone; }
std::uint64_t packed_room(std::uint64_t) noexcept { return 0; }
std::uint64_t pack(Codec, const char*, std::uint64_t, char*) noexcept { return 0; }
const char* unpack(Codec, const char*, std::uint64_t, char*, std::uint64_t) noexcept { return "a block is packed as this build can't read"; }

#endif

}  // namespace tern::persist
