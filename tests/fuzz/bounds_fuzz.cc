// Any bytes are a sequence of operations on a full store that evicts and expires, and tells what it has removed.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "tests/engine/api/bounds_sequence.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const tern::test::BoundsResult r = tern::test::run_bounds({data, size});
  if (!r.difference.empty()) {
    std::fprintf(stderr, "\n%s\n", r.difference.c_str());
    std::abort();
  }
  return 0;
}
