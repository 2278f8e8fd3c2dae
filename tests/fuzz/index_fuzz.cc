// Any bytes are a sequence of operations on an ordered index: it must answer as a std::map does, in both directions, and
// hold no memory when it is empty.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "tests/engine/parts/index_sequence.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 1024) return 0;  // what matters happens within a few hundred operations
  const std::string difference = tern::test::run_index_operations({data, size});
  if (!difference.empty()) {
    std::fprintf(stderr, "\n%s\n", difference.c_str());
    std::abort();
  }
  return 0;
}
