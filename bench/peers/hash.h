// The key hash of the peers that come without one of their own: XXH3, in place, so that nobody pays
// for std::hash.
#ifndef TERN_BENCH_PEERS_HASH_H_
#define TERN_BENCH_PEERS_HASH_H_

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstddef>
#include <string_view>

namespace tern::bench {

inline std::size_t peer_hash(std::string_view key) noexcept {
  return XXH3_64bits(key.data(), key.size());
}

struct StringHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view key) const noexcept { return peer_hash(key); }
};

}  // namespace tern::bench

#endif  // TERN_BENCH_PEERS_HASH_H_
