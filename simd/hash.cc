// Dispatch of hash_batch to the best target of the machine, once for each array.
#include "simd/hash.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/hash.cc"
#include "hwy/foreach_target.h"
//
#include "hwy/highway.h"
#include "simd/hash-inl.h"

#if HWY_ONCE
namespace tern::simd {

HWY_EXPORT(hash_array);

void hash_batch(const std::string_view* keys, std::size_t count, std::uint64_t seed,
                std::uint64_t* out) noexcept {
  HWY_DYNAMIC_DISPATCH(hash_array)(keys, count, derive_keys(seed), out);
}

}  // namespace tern::simd
#endif  // HWY_ONCE
