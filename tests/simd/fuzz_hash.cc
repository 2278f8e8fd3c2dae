// Keys cut out of the input at lengths that the input says: hash_batch equals hash_bytes on each,
// key_equal equals memcmp, copy_bytes equals memcpy. Each key lies in a block of its own, so that
// AddressSanitizer sees a byte read too far.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "simd/hash.h"
#include "simd/key_equal.h"

namespace {

void require(bool good) {
  if (!good) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::uint64_t seed = 0;
  if (size < sizeof(seed)) return 0;
  std::memcpy(&seed, data, sizeof(seed));
  std::size_t at = sizeof(seed);
  std::vector<std::unique_ptr<char[]>> blocks;
  std::vector<std::string_view> keys;
  while (at < size) {
    // Lengths above 127 come from two bytes.
    std::size_t length = data[at++];
    if (length > 127 && at < size) length = (length & 127) << 4 | (data[at++] & 15);
    length = length < size - at ? length : size - at;
    blocks.push_back(std::make_unique<char[]>(length));
    tern::simd::copy_bytes(blocks.back().get(), data + at, length);
    require(length == 0 || std::memcmp(blocks.back().get(), data + at, length) == 0);
    keys.emplace_back(blocks.back().get(), length);
    at += length;
  }
  std::vector<std::uint64_t> out(keys.size());
  tern::simd::hash_batch(keys.data(), keys.size(), seed, out.data());
  for (std::size_t index = 0; index < keys.size(); ++index) {
    const std::string_view key = keys[index];
    require(out[index] == tern::simd::hash_bytes(key.data(), key.size(), seed));
    const std::string_view other = keys[index / 2];
    const std::size_t common = key.size() < other.size() ? key.size() : other.size();
    require(tern::simd::key_equal(key.data(), other.data(), common) ==
            (common == 0 || std::memcmp(key.data(), other.data(), common) == 0));
    if (common != 0) {
      // A copy that differs in one bit.
      auto changed = std::make_unique<char[]>(common);
      tern::simd::copy_bytes(changed.get(), key.data(), common);
      require(tern::simd::key_equal(key.data(), changed.get(), common));
      changed[seed % common] = static_cast<char>(changed[seed % common] ^ (1 << (seed >> 32) % 8));
      require(!tern::simd::key_equal(key.data(), changed.get(), common));
    }
  }
  return 0;
}
