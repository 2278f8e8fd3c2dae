// Writes: how the way of almost every set (writes-inl.h) is entered. As reads.h has it for reads: namespace `base` for the
// engine's own templates over whatever atomics, and the best instruction set of the machine for the library's sets.
#ifndef TERN_ENGINE_WRITES_H_
#define TERN_ENGINE_WRITES_H_

#include <cstdint>
#include <string_view>

#include "engine/changes.h"
#include "engine/core.h"
#include "engine/events.h"
#include "engine/reads.h"
#include "engine/versions.h"

namespace tern::detail {

class StoreCore;

// As choose_reads, which says when.
void choose_writes(int level) noexcept;

// One of a group's sets, inside its guard. Refused, it is to be tried again outside.
Committed set_in_group(StoreCore& store, Thread<StdSync>& t, std::uint64_t hash, std::string_view key, std::string_view value) noexcept;

}  // namespace tern::detail

#define TERN_TARGET base
#define TERN_TARGET_LEVEL TERN_LEVEL_BASE
#include "engine/writes-inl.h"
#undef TERN_TARGET
#undef TERN_TARGET_LEVEL

#endif  // TERN_ENGINE_WRITES_H_
