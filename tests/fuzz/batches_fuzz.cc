// Any bytes are a sequence of batches and transactions beside single writes, on stores that are full or bounded.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "tests/engine/api/batch_sequence.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string difference = tern::test::run_batches({data, size});
  if (!difference.empty()) {
    std::fprintf(stderr, "\n%s\n", difference.c_str());
    std::abort();
  }
  return 0;
}
