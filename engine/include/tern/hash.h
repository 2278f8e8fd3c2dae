// The key hash as free functions, for callers that shard their own work the way a store does.
#ifndef TERN_HASH_H_
#define TERN_HASH_H_

#include <tern/status.h>

#include <cstdint>
#include <span>
#include <string_view>

namespace tern {

// 64 well-mixed bits of a key of any length. The same value on every processor, compiler and release with the same
// major version. Not cryptographic; a secret seed makes crafted collisions impractical. Thread-safe; never fails.
TERN_API std::uint64_t hash_key(std::string_view key, std::uint64_t seed) noexcept;

// out[i] = hash_key(keys[i], seed), several keys at a time in SIMD lanes. `out` has room for keys.size() values.
TERN_API void hash_keys_batch(std::span<const std::string_view> keys, std::uint64_t seed,
                              std::uint64_t* out) noexcept;

}  // namespace tern

#endif  // TERN_HASH_H_
