// Dispatch of hash_batch to the best target of the machine, once for each array.
#include "simd/hash.h"

// The lanes' state is kept in structs of vectors, which the sizeless vectors of SVE can't be: NEON there.
#if defined(__aarch64__)
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/hash.cc"
#include "hwy/foreach_target.h"
//
#include "hwy/highway.h"
#include "simd/hash-inl.h"

#if HWY_ONCE
namespace tern::simd {

HWY_EXPORT(hash_array);

void hash_batch(const std::string_view* keys, std::size_t count, const HashKeys& derived,
                std::uint64_t* out) noexcept {
  HWY_DYNAMIC_DISPATCH(hash_array)(keys, count, derived, out);
}

}  // namespace tern::simd
#endif  // HWY_ONCE
