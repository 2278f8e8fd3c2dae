// A sequence of batches, transactions, single writes, views and a full store written as bytes, run on a store and on a
// model side by side: a batch answers as the model does and changes all of it or nothing.
#ifndef TERN_TESTS_ENGINE_API_BATCH_SEQUENCE_H_
#define TERN_TESTS_ENGINE_API_BATCH_SEQUENCE_H_

#include <cstdint>
#include <span>
#include <string>

namespace tern::test {

// What differed first; empty: nothing. Any bytes are a sequence.
std::string run_batches(std::span<const std::uint8_t> bytes);

}  // namespace tern::test

#endif  // TERN_TESTS_ENGINE_API_BATCH_SEQUENCE_H_
