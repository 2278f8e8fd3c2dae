// A sequence of batches, transactions, single writes, views and a full store written as bytes, run on a store and on a
// model side by side: a batch answers as the model does and changes all of it or nothing.
#ifndef TERN_TESTS_ENGINE_API_BATCH_SEQUENCE_H_
#define TERN_TESTS_ENGINE_API_BATCH_SEQUENCE_H_

#include <cstdint>
#include <span>
#include <string>

namespace tern::test {

struct BatchCounts {
  std::uint64_t committed = 0, conflicts = 0, refused = 0;
};

// What differed first; empty: nothing. Any bytes are a sequence. What happened is added to `counts`.
std::string run_batches(std::span<const std::uint8_t> bytes, BatchCounts* counts = nullptr);

}  // namespace tern::test

#endif  // TERN_TESTS_ENGINE_API_BATCH_SEQUENCE_H_
