// Any bytes are a sequence of deadlines and clock steps: each comes up at its instant, and the
// wheel's memory is accounted for.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "tests/engine/parts/wheel_sequence.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 1024) return 0;  // what matters happens within a few hundred operations
  const std::string difference = tern::test::run_wheel_operations({data, size});
  if (!difference.empty()) {
    std::fprintf(stderr, "\n%s\n", difference.c_str());
    std::abort();
  }
  return 0;
}
