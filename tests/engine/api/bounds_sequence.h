// A sequence of operations on a store that is full, written as bytes, run on a store that evicts and on a model side by side:
// what goes is what on_removed tells, each entry once and with a cause that fits, and nothing goes untold.
#ifndef TERN_TESTS_ENGINE_API_BOUNDS_SEQUENCE_H_
#define TERN_TESTS_ENGINE_API_BOUNDS_SEQUENCE_H_

#include <cstdint>
#include <span>
#include <string>

namespace tern::test {

struct BoundsResult {
  std::string difference;  // what differed first; empty: nothing
  std::uint64_t operations = 0;
  std::uint64_t told[4] = {};  // by cause
};

// Any bytes are a sequence.
BoundsResult run_bounds(std::span<const std::uint8_t> bytes);

}  // namespace tern::test

#endif  // TERN_TESTS_ENGINE_API_BOUNDS_SEQUENCE_H_
