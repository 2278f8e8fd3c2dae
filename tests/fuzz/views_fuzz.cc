// Any bytes are a sequence of writes and views: each view must show the model of its moment.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "tests/engine/api/view_sequence.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string difference = tern::test::run_views({data, size});
  if (!difference.empty()) {
    std::fprintf(stderr, "\n%s\n", difference.c_str());
    std::abort();
  }
  return 0;
}
