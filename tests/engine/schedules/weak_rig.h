// The rig under the weak memory machine: compiled once, too, in weak_rig.cc.
#ifndef TERN_TESTS_ENGINE_SCHEDULES_WEAK_RIG_H_
#define TERN_TESTS_ENGINE_SCHEDULES_WEAK_RIG_H_

#include "tests/engine/schedules/rig.h"
#include "tests/sync/weak_memory.h"

namespace tern::concurrency {

struct OneWeakSync : WeakSync<> {
  static inline Mutant mutant = Mutant::kNone;  // the rig's, as OneEngineSync's
};
template <Mutant>
using WeakEngineSync = OneWeakSync;

extern template class RigOf<OneWeakSync>;

}  // namespace tern::concurrency

#endif  // TERN_TESTS_ENGINE_SCHEDULES_WEAK_RIG_H_
