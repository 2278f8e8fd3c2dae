#include "persist/codec.h"

#include <cstring>

#include "alloc/private_memory.h"

#if TERN_HAS_LZ4
#include <lz4.h>
#endif
#if TERN_HAS_ZSTD
#define ZSTD_STATIC_LINKING_ONLY  // contexts in memory of the caller's choice
#include <zstd.h>
#endif

namespace tern::persist {

namespace {

constexpr std::uint64_t kLengthBytes = sizeof(std::uint32_t);

// Of each library: the bytes that it made, 0 if they would be more than `room`; whether `bytes` of its own are what they should be.
#if TERN_HAS_LZ4
constexpr bool kHasLz4 = true;
static_assert(kPackedPlainMax <= LZ4_MAX_INPUT_SIZE, "sizes fit LZ4's integers");

std::uint64_t pack_lz4(const char* plain, std::uint64_t plain_bytes, char* to, std::uint64_t room) noexcept {
  const int made = LZ4_compress_default(plain, to, static_cast<int>(plain_bytes), static_cast<int>(room));
  return made > 0 ? static_cast<std::uint64_t>(made) : 0;
}
bool unpack_lz4(const char* from, std::uint64_t bytes, char* to, std::uint64_t plain_bytes) noexcept {
  const int made = LZ4_decompress_safe(from, to, static_cast<int>(bytes), static_cast<int>(plain_bytes));
  return made >= 0 && static_cast<std::uint64_t>(made) == plain_bytes;
}
#else
constexpr bool kHasLz4 = false;
std::uint64_t pack_lz4(const char*, std::uint64_t, char*, std::uint64_t) noexcept { return 0; }
bool unpack_lz4(const char*, std::uint64_t, char*, std::uint64_t) noexcept { return false; }
#endif

#if TERN_HAS_ZSTD
constexpr bool kHasZstd = true;
constexpr int kZstdLevel = 1;  // 3 is no smaller for blocks of small entries (a million of JSON: 24.0 MB for 22.4), and takes as long
constexpr ZSTD_customMem kZstdMemory{[](void*, std::size_t bytes) { return alloc::private_allocate(bytes); },
                                     [](void*, void* at) { alloc::private_free(at); }, nullptr};

void* new_zstd_packer() noexcept { return ZSTD_createCCtx_advanced(kZstdMemory); }
void* new_zstd_unpacker() noexcept { return ZSTD_createDCtx_advanced(kZstdMemory); }
void free_zstd_packer(void* context) noexcept { ZSTD_freeCCtx(static_cast<ZSTD_CCtx*>(context)); }
void free_zstd_unpacker(void* context) noexcept { ZSTD_freeDCtx(static_cast<ZSTD_DCtx*>(context)); }

std::uint64_t pack_zstd(void* context, const char* plain, std::uint64_t plain_bytes, char* to, std::uint64_t room) noexcept {
  const std::size_t made = ZSTD_compressCCtx(static_cast<ZSTD_CCtx*>(context), to, room, plain, plain_bytes, kZstdLevel);
  return ZSTD_isError(made) ? 0 : made;  // want of memory, too: the block stays plain
}
bool unpack_zstd(void* context, const char* from, std::uint64_t bytes, char* to, std::uint64_t plain_bytes) noexcept {
  // The library would also take several frames, skippable ones, and those of its first versions.
  std::uint32_t magic = 0;
  if (bytes < sizeof magic) return false;
  std::memcpy(&magic, from, sizeof magic);
  if (magic != ZSTD_MAGICNUMBER || ZSTD_findFrameCompressedSize(from, bytes) != bytes) return false;
  return ZSTD_decompressDCtx(static_cast<ZSTD_DCtx*>(context), to, plain_bytes, from, bytes) == plain_bytes;
}
#else
constexpr bool kHasZstd = false;
void* new_zstd_packer() noexcept { return nullptr; }
void* new_zstd_unpacker() noexcept { return nullptr; }
void free_zstd_packer(void*) noexcept {}
void free_zstd_unpacker(void*) noexcept {}
std::uint64_t pack_zstd(void*, const char*, std::uint64_t, char*, std::uint64_t) noexcept { return 0; }
bool unpack_zstd(void*, const char*, std::uint64_t, char*, std::uint64_t) noexcept { return false; }
#endif

}  // namespace

bool is_built_in(Codec codec) noexcept {
  switch (codec) {
    case Codec::kNone: return true;
    case Codec::kLz4: return kHasLz4;
    case Codec::kZstd: return kHasZstd;
  }
  return false;
}

Packer::~Packer() {
  free_zstd_packer(context_);
  alloc::private_free(packed_);
}

bool Packer::prepare(Codec codec) noexcept {
  codec_ = codec;
  if (codec == Codec::kNone) return true;
  packed_ = static_cast<char*>(alloc::private_allocate(kPackedPlainMax));
  if (codec == Codec::kZstd) context_ = new_zstd_packer();
  return packed_ != nullptr && (codec != Codec::kZstd || context_ != nullptr);
}

std::uint64_t Packer::pack(const char* plain, std::uint64_t plain_bytes) noexcept {
  const std::uint64_t worth_it = plain_bytes - plain_bytes / 16;
  if (codec_ == Codec::kNone || plain_bytes > kPackedPlainMax || worth_it <= kLengthBytes + 8) return 0;
  const std::uint64_t room = worth_it - kLengthBytes - 8;  // the library gives up when it needs more
  char* const to = packed_ + kLengthBytes;
  const std::uint64_t made = codec_ == Codec::kLz4 ? pack_lz4(plain, plain_bytes, to, room) : pack_zstd(context_, plain, plain_bytes, to, room);
  if (made == 0) return 0;
  const auto length = static_cast<std::uint32_t>(made);
  std::memcpy(packed_, &length, sizeof length);
  const std::uint64_t end = kLengthBytes + length;
  const std::uint64_t bytes = (end + 7) / 8 * 8;
  std::memset(packed_ + end, 0, bytes - end);
  return bytes;
}

Unpacker::~Unpacker() { free_zstd_unpacker(context_); }

bool Unpacker::prepare(Codec codec) noexcept {
  if (codec == Codec::kZstd && context_ == nullptr) context_ = new_zstd_unpacker();
  return codec != Codec::kZstd || context_ != nullptr;
}

const char* Unpacker::unpack(Codec codec, const char* packed, std::uint64_t bytes, char* to, std::uint64_t plain_bytes) noexcept {
  std::uint32_t length = 0;
  if (bytes < 8) return "a packed block has no length";
  std::memcpy(&length, packed, sizeof length);
  if (length > bytes - kLengthBytes || bytes - kLengthBytes - length >= 8) return "a packed block's length isn't its own";
  for (std::uint64_t i = kLengthBytes + length; i != bytes; ++i) {
    if (packed[i] != 0) return "bytes after a packed block are not zero";
  }
  const char* const from = packed + kLengthBytes;
  const bool good = codec == Codec::kLz4 ? unpack_lz4(from, length, to, plain_bytes) : unpack_zstd(context_, from, length, to, plain_bytes);
  return good ? nullptr : "a packed block can't be unpacked to its size";
}

}  // namespace tern::persist
