// A sequence of operations written as bytes, run on a store and on a model side by side. The
// property tests make the bytes at random, the fuzzer by mutation, a failing case is kept as a
// file: one interpreter for all of them.
#ifndef TERN_TESTS_ENGINE_API_OPERATION_SEQUENCE_H_
#define TERN_TESTS_ENGINE_API_OPERATION_SEQUENCE_H_

#include <cstdint>
#include <span>
#include <string>

namespace tern::test {

struct SequenceResult {
  std::string difference;  // the first answer that the model doesn't give, with the operations
                           // before it; empty: none
  std::string transcript;  // a digest of every answer, version and inspection: equal for equal runs
  std::size_t operations = 0;
};

// Any bytes are a sequence. The first four choose the number of keys, shards and sizes. One thread,
// a fixed seed and an injected clock: the same bytes give the same answers, but where bit 2 of the fourth asks for
// ticks that end in the middle of their work.
SequenceResult run_operations(std::span<const std::uint8_t> bytes);

}  // namespace tern::test

#endif  // TERN_TESTS_ENGINE_API_OPERATION_SEQUENCE_H_
