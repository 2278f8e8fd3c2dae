// Bytes as batches and single changes that are seen in some order: a Gather beside a list that is searched from the beginning each time.
#ifndef TERN_TESTS_ENGINE_PARTS_GATHER_SEQUENCE_H_
#define TERN_TESTS_ENGINE_PARTS_GATHER_SEQUENCE_H_

#include <cstddef>
#include <cstdint>
#include <string>

namespace tern::test {

struct GatherCounts {
  std::uint64_t told = 0, whole_batches = 0, given_up = 0, gaps = 0;
};
// Empty, or what was wrong.
std::string run_gather(const std::uint8_t* data, std::size_t size, GatherCounts* counts = nullptr);

}  // namespace tern::test

#endif  // TERN_TESTS_ENGINE_PARTS_GATHER_SEQUENCE_H_
