#include "tests/engine/schedules/weak_rig.h"

#include "tests/engine/schedules/rig-inl.h"

namespace tern::concurrency {

template class RigOf<OneWeakSync>;

}  // namespace tern::concurrency
