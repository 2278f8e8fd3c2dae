// Any bytes are a sequence of operations on several namespaces: each must answer as a map of its own does.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "tests/engine/api/namespace_sequence.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string difference = tern::test::run_namespaces({data, size});
  if (!difference.empty()) {
    std::fprintf(stderr, "\n%s\n", difference.c_str());
    std::abort();
  }
  return 0;
}
