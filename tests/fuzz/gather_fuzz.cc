// Batches whose changes come in any order, gaps between: what a gathering watch holds back and tells, beside a model.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/engine/parts/gather_sequence.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 4'000) return 0;
  const std::string wrong = tern::test::run_gather(data, size);
  if (!wrong.empty()) {
    std::fprintf(stderr, "\n%s\n", wrong.c_str());
    std::abort();
  }
  return 0;
}
