// Bytes as filters that come and go and keys that are asked for: the set answers what its filters answer one by one.
#ifndef TERN_TESTS_ENGINE_PARTS_FILTER_SEQUENCE_H_
#define TERN_TESTS_ENGINE_PARTS_FILTER_SEQUENCE_H_

#include <cstddef>
#include <cstdint>
#include <string>

namespace tern::test {

struct FilterCounts {
  std::uint64_t added = 0, removed = 0, refused = 0, matches = 0, keys = 0;
};
// Empty, or what was wrong.
std::string run_filters(const std::uint8_t* data, std::size_t size, FilterCounts* counts = nullptr);

}  // namespace tern::test

#endif  // TERN_TESTS_ENGINE_PARTS_FILTER_SEQUENCE_H_
