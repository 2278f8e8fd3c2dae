// Synthetic traces for `tern replay`: workloads whose behaviour is known, deterministic in their
// seed.
#ifndef TERN_BENCH_SYNTHETIC_H_
#define TERN_BENCH_SYNTHETIC_H_

#include <string>
#include <string_view>

#include "bench/traces.h"

namespace tern::bench {

// "NAME" or "NAME:parameter=value,...". Names:
//   uniform   every object alike
//   zipf      probability falls with the rank's power `theta`
//   loop      one object after the other, again and again
//   scan      zipf, and after each `period` requests a run of a tenth as many objects that never
//   return shift     zipf whose ranks move on by a tenth of all objects after each `period`
//   requests sized     zipf with sizes 64 to 256 for nine tenths of the objects, 4,096 to 65,536
//   for the rest
// Parameters: objects (10000), requests (1000000), theta (0.9; 0 < theta < 1), period (50000), seed
// (1), sizes (1; a size, or ranges with weights and + between them: 64-256:0.9+4096-65536:0.1). A
// bad one is named in the trace's `error`.
Trace synthetic_trace(std::string_view spec);

}  // namespace tern::bench

#endif  // TERN_BENCH_SYNTHETIC_H_
