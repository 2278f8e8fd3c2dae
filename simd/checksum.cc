#include "simd/checksum.h"

#include <new>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace tern::simd {

static_assert(sizeof(XXH3_state_t) <= sizeof(Checksum) && alignof(XXH3_state_t) <= alignof(Checksum));

std::uint64_t checksum(const void* data, std::size_t bytes, std::uint64_t salt) noexcept {
  return XXH3_64bits_withSeed(data, bytes, salt);
}

Checksum::Checksum(std::uint64_t salt) noexcept {
  auto* state = new (state_) XXH3_state_t;
  XXH3_INITSTATE(state);
  XXH3_64bits_reset_withSeed(state, salt);
}

void Checksum::add(const void* data, std::size_t bytes) noexcept {
  XXH3_64bits_update(reinterpret_cast<XXH3_state_t*>(state_), data, bytes);
}

std::uint64_t Checksum::value() const noexcept {
  return XXH3_64bits_digest(reinterpret_cast<const XXH3_state_t*>(state_));
}

}  // namespace tern::simd
