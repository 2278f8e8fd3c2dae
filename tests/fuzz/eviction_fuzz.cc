// Any bytes are a sequence of operations on a full store: who leaves, when, and what the queues hold must be as the
// model says.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "tests/engine/parts/eviction_sequence.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 4096) return 0;
  const std::string difference = tern::test::EvictionSequence<tern::detail::StdSync>().run({data, size});
  if (!difference.empty()) {
    std::fprintf(stderr, "\n%s\n", difference.c_str());
    std::abort();
  }
  return 0;
}
