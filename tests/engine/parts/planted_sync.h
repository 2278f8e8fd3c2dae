// The engine's policy as it is, with a bug that is planted when a test runs: so that the engine is compiled once.
#ifndef TERN_TESTS_ENGINE_PARTS_PLANTED_SYNC_H_
#define TERN_TESTS_ENGINE_PARTS_PLANTED_SYNC_H_

#include "alloc/sync.h"

namespace tern::test {

struct PlantedSync : detail::StdSync {
  static inline detail::Mutant mutant = detail::Mutant::kNone;
};

}  // namespace tern::test

#endif  // TERN_TESTS_ENGINE_PARTS_PLANTED_SYNC_H_
