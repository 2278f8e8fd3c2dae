// Reads: how the way of almost every read (reads-inl.h) is entered.
//
// For the engine's own templates, over whatever atomics: namespace `base`. For the library's reads of a std::atomic
// store also for the instruction sets that the machine may have: `reads()` has the entry points of the best one.
#ifndef TERN_ENGINE_READS_H_
#define TERN_ENGINE_READS_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <tern/result.h>

#include "engine/core.h"
#include "engine/prefetch.h"
#include "simd/hash.h"
#include "simd/key_equal.h"
#include "simd/targets.h"

namespace tern::detail {

inline constexpr unsigned kGroupKeys = 64;
inline constexpr std::size_t kFastKeyMax = 64;
inline constexpr std::size_t kFastValueMax = 128;

// The instruction set of the library's gets (simd/targets.h): the best one from the first Store::open on. The tests
// choose others, while no other thread is in a call.
int best_reads() noexcept;
void choose_reads(int level) noexcept;

// A Lookup<std::size_t> or a Result<std::uint64_t> as one number in two registers: the value, and the error in the upper half. What is returned in
// parts is put together in memory, by instructions that keep a call from being a jump.
__extension__ using Answer = unsigned __int128;
static_assert(sizeof(Answer) == sizeof(Lookup<std::size_t>) && sizeof(Answer) == sizeof(Result<std::uint64_t>) && sizeof(Error) == 8);
constexpr Answer answer_of(std::uint64_t value, Error e = {}) noexcept {
  return Answer{static_cast<std::uint64_t>(e.status) | static_cast<std::uint64_t>(e.field) << 32 |
                std::uint64_t{e.position} << 48} << 64 | value;
}
static_assert(answer_of(7, {Status::kOk, Field::kNone}) == 7);

}  // namespace tern::detail

#define TERN_TARGET base
#define TERN_TARGET_LEVEL TERN_LEVEL_BASE
#include "engine/reads-inl.h"
#undef TERN_TARGET
#undef TERN_TARGET_LEVEL

#endif  // TERN_ENGINE_READS_H_
