// Any bytes are a sequence of operations: the store must answer as the model does.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "tests/engine/api/operation_sequence.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const tern::test::SequenceResult r = tern::test::run_operations({data, size});
  if (!r.difference.empty()) {
    std::fprintf(stderr, "\n%s\n", r.difference.c_str());
    std::abort();
  }
  return 0;
}
