// Vector half of hash_batch, compiled once for each target. hash.h says what is computed; here one
// lane is one key.
#if defined(TERN_SIMD_HASH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TERN_SIMD_HASH_INL_H_
#undef TERN_SIMD_HASH_INL_H_
#else
#define TERN_SIMD_HASH_INL_H_
#endif

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <type_traits>

#include "hwy/highway.h"
#include "simd/hash.h"

#if HWY_MAJOR == 1 && HWY_MINOR == 0 && HWY_PATCH == 4
#error "Highway 1.0.4 miscompiles; use 1.0.3, or 1.0.5 and newer"
#endif

HWY_BEFORE_NAMESPACE();
namespace tern::simd {
namespace HWY_NAMESPACE {

inline void hash_one_by_one(const std::string_view* keys, std::size_t count,
                            const HashKeys& derived, std::uint64_t* out) {
  for (std::size_t index = 0; index < count; ++index) {
    out[index] = hash_bytes(keys[index].data(), keys[index].size(), derived);
  }
}

#if HWY_TARGET == HWY_SCALAR

inline void hash_array(const std::string_view* keys, std::size_t count, const HashKeys& derived,
                       std::uint64_t* out) {
  hash_one_by_one(keys, count, derived, out);
}

#else

namespace hn = hwy::HWY_NAMESPACE;

// The rows of a vector are put together block by block, so its size is known when compiling.
#if HWY_HAVE_SCALABLE
using Lanes = hn::FixedTag<std::uint64_t, 2>;
#else
using Lanes = hn::ScalableTag<std::uint64_t>;
#endif
using Halves = hn::Repartition<std::uint32_t, Lanes>;
using V = hn::Vec<Lanes>;
inline constexpr std::size_t kLanes = hn::MaxLanes(Lanes());

struct ComplexLanes {
  V re;
  V im;
};

HWY_INLINE V multiply_low_halves(V a, V b) {
  const Halves halves;
  return hn::MulEven(hn::BitCast(halves, a), hn::BitCast(halves, b));
}

HWY_INLINE V add_halves(V a, V b) {
  const Halves halves;
  return hn::BitCast(Lanes(), hn::Add(hn::BitCast(halves, a), hn::BitCast(halves, b)));
}

HWY_INLINE ComplexLanes multiply_complex(V x, V y) {
  const V b = hn::ShiftRight<32>(x);
  const V d = hn::ShiftRight<32>(y);
  return {hn::Sub(multiply_low_halves(x, y), multiply_low_halves(b, d)),
          hn::Add(multiply_low_halves(x, d), multiply_low_halves(b, y))};
}

HWY_INLINE V mix_words(V w0, V w1, V w2, V w3, V size, V k0, V k1, V k2, V k3) {
  const Lanes lanes;
  const ComplexLanes p = multiply_complex(add_halves(w0, k0), add_halves(w2, k2));
  const ComplexLanes q = multiply_complex(add_halves(w1, k1), add_halves(w3, k3));
  const V length = multiply_low_halves(size, hn::Set(lanes, hash_parts::kSizeFactor));
  const ComplexLanes h =
      multiply_complex(hn::Xor(hn::Add(p.re, q.re), length), hn::Add(p.im, q.im));
  const V rotated = hn::BitCast(lanes, hn::Shuffle2301(hn::BitCast(Halves(), h.im)));
  return hn::Xor(h.re, rotated);
}

// Words 0 and 1, and words 2 and 3, of each second key from `keys` on, one key a block.
template <class D>
struct Rows {
  hn::Vec<D> first;
  hn::Vec<D> last;
};

// Loads of 16 (or twice 8) bytes and inserts, both ends of a key at once so that its address stays
// in a register. Rejected: words stored to an array by lane (the wide load waits for the stores),
// gathers (more instructions inside than these), masked 16-byte loads for short keys (building the
// masks costs what they save).
template <bool kFrom16, class D>
HWY_INLINE Rows<D> load_rows(D d, const std::string_view* keys) {
  if constexpr (hn::MaxLanes(D()) > 2) {
    const hn::Half<D> half;
    const auto low = load_rows<kFrom16>(half, keys);
    const auto high = load_rows<kFrom16>(half, keys + hn::MaxLanes(half));
    return {hn::Combine(d, high.first, low.first), hn::Combine(d, high.last, low.last)};
  } else {
    const auto* const p = reinterpret_cast<const unsigned char*>(keys->data());
    const auto words = [](const unsigned char* at) {
      return reinterpret_cast<const std::uint64_t*>(at);
    };
    if constexpr (kFrom16) {
      return {hn::LoadU(d, words(p)), hn::LoadU(d, words(p + keys->size() - 16))};
    } else {
      const hn::Half<D> one;
      const std::size_t inner = hash_parts::inner_offset(keys->size());
      const unsigned char* const last = p + keys->size() - hash_parts::kWordBytes;
      return {hn::Combine(d, hn::LoadU(one, words(p + inner)), hn::LoadU(one, words(p))),
              hn::Combine(d, hn::LoadU(one, words(last)), hn::LoadU(one, words(last - inner)))};
    }
  }
}

// Blocks of even and of odd keys interleave to lanes in the order of the keys.
template <bool kFrom16>
HWY_INLINE V hash_lanes(const std::string_view* keys, V size, V k0, V k1, V k2, V k3) {
  const Lanes lanes;
  const Rows<Lanes> even = load_rows<kFrom16>(lanes, keys);
  const Rows<Lanes> odd = load_rows<kFrom16>(lanes, keys + 1);
  return mix_words(hn::InterleaveLower(lanes, even.first, odd.first),
                   hn::InterleaveUpper(lanes, even.first, odd.first),
                   hn::InterleaveLower(lanes, even.last, odd.last),
                   hn::InterleaveUpper(lanes, even.last, odd.last), size, k0, k1, k2, k3);
}

// libstdc++ keeps a view as {size, pointer}, libc++ as {pointer, size}. Folded when compiling.
static_assert(sizeof(std::string_view) == 2 * sizeof(std::uint64_t) &&
                  std::is_trivially_copyable_v<std::string_view>,
              "sizes are loaded from the views as every second 64-bit word");
HWY_INLINE bool size_is_first() {
  const std::string_view probe("a", 1);
  std::uint64_t words[2];
  std::memcpy(words, &probe, sizeof(words));
  return words[0] == 1;
}

HWY_INLINE V load_sizes(const std::string_view* keys) {
  const Lanes lanes;
  const auto* const words = reinterpret_cast<const std::uint64_t*>(keys);
  const V low = hn::LoadU(lanes, words);
  const V high = hn::LoadU(lanes, words + kLanes);
  return size_is_first() ? hn::ConcatEven(lanes, high, low) : hn::ConcatOdd(lanes, high, low);
}

HWY_INLINE bool all_between(V size, std::uint64_t least, std::uint64_t most) {
  const Lanes lanes;
  const hn::RebindToSigned<Lanes> with_sign;
  const V outside =
      hn::Or(hn::Sub(size, hn::Set(lanes, least)), hn::Sub(hn::Set(lanes, most), size));
  return hn::AllFalse(with_sign, hn::Lt(hn::BitCast(with_sign, outside), hn::Zero(with_sign)));
}

inline void hash_array(const std::string_view* keys, std::size_t count, const HashKeys& derived,
                       std::uint64_t* out) {
  const Lanes lanes;
  const V k0 = hn::Set(lanes, derived.key[0]);
  const V k1 = hn::Set(lanes, derived.key[1]);
  const V k2 = hn::Set(lanes, derived.key[2]);
  const V k3 = hn::Set(lanes, derived.key[3]);
  if (count < kLanes) {
    hash_one_by_one(keys, count, derived, out);
    return;
  }
  // The last vector overlaps the one before: it writes the same values again.
  for (std::size_t next = 0; next < count; next += kLanes) {
    const std::size_t index = next + kLanes <= count ? next : count - kLanes;
    const V size = load_sizes(keys + index);
    if (all_between(size, 2 * hash_parts::kWordBytes, hash_parts::kShortBytesMax)) {
      hn::StoreU(hash_lanes<true>(keys + index, size, k0, k1, k2, k3), lanes, out + index);
    } else if (all_between(size, hash_parts::kWordBytes, hash_parts::kShortBytesMax)) {
      hn::StoreU(hash_lanes<false>(keys + index, size, k0, k1, k2, k3), lanes, out + index);
    } else {
      hash_one_by_one(keys + index, kLanes, derived, out + index);
    }
  }
}

#endif  // HWY_TARGET == HWY_SCALAR

}  // namespace HWY_NAMESPACE
}  // namespace tern::simd
HWY_AFTER_NAMESPACE();

#endif  // TERN_SIMD_HASH_INL_H_
