// Filters that come and go, keys that are asked for: a set of filters beside the filters one by one.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/engine/parts/filter_sequence.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 2'000) return 0;
  const std::string wrong = tern::test::run_filters(data, size);
  if (!wrong.empty()) {
    std::fprintf(stderr, "\n%s\n", wrong.c_str());
    std::abort();
  }
  return 0;
}
